#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks NVML everything that nvidia-ml-py can ask, and prints one line an answer: `question = answer`.

`cargo xtask test --only nvml` runs it on an NVML in its own process and through a backend, and compares the lines.
What moves by itself is printed as `~`. With `--cuda` it uses the device through libcuda.so.1 and looks for itself
among the processes.
"""
import ctypes
import inspect
import os
import sys
import threading
import time

import pynvml

# Figures that move: of these only whether there is an answer is told.
MOVING = {
    "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryInfo v2", "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetTemperature 0", "nvmlDeviceGetTemperatureV 0", "nvmlDeviceGetTotalEnergyConsumption",
    "nvmlDeviceGetBAR1MemoryInfo", "nvmlDeviceGetFieldValues", "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetEncoderUtilization", "nvmlDeviceGetDecoderUtilization", "nvmlDeviceGetPcieThroughput 0",
    "nvmlDeviceGetPcieThroughput 1", "nvmlDeviceGetSamples",
}
# Those that a device of figures that stand still answers the same way each time are compared all the same.
STEADY = "--steady" in sys.argv

# What asks nothing, changes something, or wants an argument that a rule below does not give.
SKIPPED = {"nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByPciBusId", "nvmlDeviceGetHandleBySerial",
           "nvmlDeviceGetHandleByUUID", "nvmlSystemGetProcessName", "nvmlUnitGetHandleByIndex"}


def shown(value):
    """A value in words: structures by their fields, handles as such."""
    if isinstance(value, (ctypes.Structure, ctypes.Union)):
        return {f[0]: shown(getattr(value, f[0])) for f in value._fields_}
    if isinstance(value, ctypes.Array):
        return [shown(item) for item in value]
    if isinstance(value, (list, tuple)):
        return [shown(item) for item in value]
    if isinstance(value, ctypes._Pointer):
        return "handle" if value else None
    if isinstance(value, ctypes._SimpleCData):
        return value.value
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return {name: shown(item) for name, item in sorted(vars(value).items())}
    return value


def ask(question, function, *arguments):
    """Prints a question and its answer; returns the answer."""
    try:
        answer = function(*arguments)
    except pynvml.NVMLError as error:
        print(f"{question} = {error!r}")
        return None
    except Exception as error:  # pylint: disable=broad-except
        # A mistake of the package itself, or a function that the library is too old for.
        print(f"{question} = {type(error).__name__}")
        return None
    name = question.split(": ", 1)[-1]
    moves = not STEADY and name in MOVING
    print(f"{question} = {'~' if moves else shown(answer)}")
    return answer


def functions():
    """The functions that only ask, with the names of their required parameters."""
    for name, function in sorted(vars(pynvml).items()):
        if not name.startswith("nvml") or not inspect.isfunction(function) or name in SKIPPED:
            continue
        if not any(word in name for word in ("Get", "Is", "Query")) or "EventSet" in name:
            continue
        parameters = inspect.signature(function).parameters.values()
        yield name, function, [p.name for p in parameters if p.default is p.empty]


def ask_all(where, names, handle=None):
    for name, function, required in functions():
        if required == names or (names and len(required) == 1 and required[0] in names):
            ask(f"{where}: {name}", function, *([handle] if names else []))


def ask_with_numbers(where, device):
    """Functions of a device and numbers."""
    for kind in range(5):
        for name in ("ClockInfo", "MaxClockInfo", "ApplicationsClock", "DefaultApplicationsClock"):
            ask(f"{where}: nvmlDeviceGet{name} {kind}", getattr(pynvml, f"nvmlDeviceGet{name}"), device, kind)
    for kind in range(6):
        ask(f"{where}: nvmlDeviceGetTemperatureThreshold {kind}", pynvml.nvmlDeviceGetTemperatureThreshold, device, kind)
    for sensor in range(2):
        ask(f"{where}: nvmlDeviceGetTemperature {sensor}", pynvml.nvmlDeviceGetTemperature, device, sensor)
        ask(f"{where}: nvmlDeviceGetTemperatureV {sensor}", pynvml.nvmlDeviceGetTemperatureV, device, sensor)
    for error in range(2):
        for counter in range(2):
            ask(f"{where}: nvmlDeviceGetTotalEccErrors {error} {counter}",
                pynvml.nvmlDeviceGetTotalEccErrors, device, error, counter)
    for link in range(20):
        ask(f"{where}: nvmlDeviceGetNvLinkState {link}", pynvml.nvmlDeviceGetNvLinkState, device, link)
    for item in range(3):
        ask(f"{where}: nvmlDeviceGetInforomVersion {item}", pynvml.nvmlDeviceGetInforomVersion, device, item)
        ask(f"{where}: nvmlDeviceGetPcieThroughput {item}", pynvml.nvmlDeviceGetPcieThroughput, device, item)
    ask(f"{where}: nvmlDeviceGetMemoryInfo v2", pynvml.nvmlDeviceGetMemoryInfo, device, pynvml.nvmlMemory_v2)
    ask(f"{where}: nvmlDeviceGetSupportedGraphicsClocks", pynvml.nvmlDeviceGetSupportedGraphicsClocks, device, 2619)
    ask(f"{where}: nvmlDeviceGetRetiredPages", pynvml.nvmlDeviceGetRetiredPages, device, 0)
    ask(f"{where}: nvmlDeviceGetSamples", pynvml.nvmlDeviceGetSamples, device, 0, 1000)
    ask(f"{where}: nvmlDeviceGetFieldValues", pynvml.nvmlDeviceGetFieldValues, device, [1, 150, (160, 2), 230])
    ask(f"{where}: nvmlDeviceGetCpuAffinity", pynvml.nvmlDeviceGetCpuAffinity, device, 4)
    ask(f"{where}: nvmlDeviceGetProcessUtilization", pynvml.nvmlDeviceGetProcessUtilization, device, 0)
    ask(f"{where}: nvmlDeviceGetTopologyNearestGpus", pynvml.nvmlDeviceGetTopologyNearestGpus, device, 30)
    ask(f"{where}: running process details", pynvml.nvmlDeviceGetRunningProcessDetailList, device,
        pynvml.nvmlProcessDetailList_v1, 0)
    for number in range(2):
        ask(f"{where}: nvmlDeviceGetMigDeviceHandleByIndex {number}",
            pynvml.nvmlDeviceGetMigDeviceHandleByIndex, device, number)


def ask_for_handles(device):
    """A device is found by all of its names, and is the same each time."""
    index = pynvml.nvmlDeviceGetIndex(device)
    for name, of in (("UUID", pynvml.nvmlDeviceGetUUID), ("Serial", pynvml.nvmlDeviceGetSerial),
                     ("PciBusId", lambda d: pynvml.nvmlDeviceGetPciInfo(d).busId)):
        try:
            found = getattr(pynvml, f"nvmlDeviceGetHandleBy{name}")(of(device))
            print(f"device {index} by {name} = {ctypes.addressof(found.contents) == ctypes.addressof(device.contents)}")
        except pynvml.NVMLError as error:
            print(f"device {index} by {name} = {error!r}")
    for name in ("UUID", "Serial", "PciBusId"):
        ask(f"nobody by {name}", getattr(pynvml, f"nvmlDeviceGetHandleBy{name}"), "nobody")


def ask_for_parts(where, device):
    """MIG: the parts of a device, and the way back."""
    part = ask(f"{where}: part", pynvml.nvmlDeviceGetMigDeviceHandleByIndex, device, 0)
    if not part:
        return
    ask_all(f"{where}: part", ("handle", "device", "migDevice"), part)
    whole = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)
    print(f"{where}: part of = {ctypes.addressof(whole.contents) == ctypes.addressof(device.contents)}")
    instance = pynvml.nvmlDeviceGetGpuInstanceById(device, pynvml.nvmlDeviceGetGpuInstanceId(part))
    ask(f"{where}: instance", pynvml.nvmlGpuInstanceGetInfo, instance)
    compute = pynvml.nvmlGpuInstanceGetComputeInstanceById(instance, pynvml.nvmlDeviceGetComputeInstanceId(part))
    ask(f"{where}: compute instance", pynvml.nvmlComputeInstanceGetInfo_v2, compute)


def ask_for_events(device):
    """Waits for an event, while another thread goes on asking."""
    events = ask("events: set", pynvml.nvmlEventSetCreate)
    if not events:
        return
    ask("events: other kinds", pynvml.nvmlDeviceRegisterEvents, device, 1 << 40, events)
    ask("events: nothing registered", pynvml.nvmlEventSetWait_v2, events, 10)
    ask("events: register", pynvml.nvmlDeviceRegisterEvents, device, pynvml.nvmlEventTypeXidCriticalError, events)
    counts = []
    started = time.monotonic()
    asking = threading.Thread(target=lambda: counts.extend(pynvml.nvmlDeviceGetCount() for _ in range(5)))
    asking.start()
    ask("events: wait", pynvml.nvmlEventSetWait_v2, events, 1000)
    asking.join()
    print(f"events: questions meanwhile = {counts} {time.monotonic() - started < 60}")
    ask("events: free", pynvml.nvmlEventSetFree, events)


def ask_in_a_child(device):
    """A forked child may go on with what its parent has started."""
    name = pynvml.nvmlDeviceGetName(device)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        good = pynvml.nvmlDeviceGetName(device) == name and pynvml.nvmlDeviceGetCount() > 0
        os._exit(0 if good else 1)
    print(f"a child asks the same = {os.waitpid(child, 0)[1] == 0}")
    ask("its parent goes on", pynvml.nvmlDeviceGetName, device)


def ask_for_processes(device):
    """This process is found among those that use the device, with the memory that it has."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, memory, size = ctypes.c_void_p(), ctypes.c_void_p(), 64 << 20
    calls = [cuda.cuInit(0), cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), cuda.cuCtxSetCurrent(context),
             cuda.cuMemAlloc_v2(ctypes.byref(memory), ctypes.c_size_t(size)), cuda.cuCtxSynchronize()]
    print(f"CUDA = {calls}")
    # Figures of other processes of the backend may be told a little later.
    for _ in range(100):
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        own = [process for process in processes if process.pid == os.getpid()]
        if own and (own[0].usedGpuMemory or 0) >= size:
            break
        time.sleep(0.05)
    print(f"processes: this one = {len(own)}, with its memory = {own[0].usedGpuMemory >= size if own else None}")
    name = ask("processes: name", lambda: os.path.basename(pynvml.nvmlSystemGetProcessName(os.getpid())))
    print(f"processes: the name is right = {str(name).startswith('python')}")
    used = pynvml.nvmlDeviceGetMemoryInfo(device).used
    print(f"memory: used = {used >= size}")


def main():
    ask("before init", pynvml.nvmlDeviceGetCount)
    ask("before init: shutdown", pynvml.nvmlShutdown)
    pynvml.nvmlInit()
    pynvml.nvmlInit()
    ask("shutdown once", pynvml.nvmlShutdown)
    # The texts of newer codes are not the same in all releases.
    for code in [*range(1, 28), 999, 1000]:
        print(f"text {code} = {pynvml.nvmlErrorString(code)}")
    ask_all("system", [])
    for unit in range(2):
        ask(f"unit {unit}", pynvml.nvmlUnitGetHandleByIndex, unit)
    devices = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    ask("no such device", pynvml.nvmlDeviceGetHandleByIndex, len(devices))
    ask("no such process", pynvml.nvmlSystemGetProcessName, 0x7fff_fff7)
    for index, device in enumerate(devices):
        ask_all(f"device {index}", ("handle", "device"), device)
        ask_with_numbers(f"device {index}", device)
        ask_for_handles(device)
        ask_for_parts(f"device {index}", device)
        for other in devices:
            ask(f"device {index}: common ancestor", pynvml.nvmlDeviceGetTopologyCommonAncestor, device, other)
            ask(f"device {index}: on the same board", pynvml.nvmlDeviceOnSameBoard, device, other)
    ask_for_events(devices[-1])
    if "--cuda" in sys.argv:
        ask_for_processes(devices[0])
    ask_in_a_child(devices[0])
    ask("shutdown", pynvml.nvmlShutdown)
    ask("after shutdown", pynvml.nvmlDeviceGetCount)
    pynvml.nvmlInit()
    ask("again: an old handle", pynvml.nvmlDeviceGetName, devices[0])
    pynvml.nvmlShutdown()


main()
