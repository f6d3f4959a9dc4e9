#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NVML through ctypes, as monitors use it, and whether it means the devices that CUDA means."""
import ctypes
import time

import harness

np = harness.need("numpy")
try:
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    harness.skip("no NVML or no driver: %s" % harness.shorten(error))
if nvml.nvmlInit_v2() != 0:
    harness.skip("NVML does not start")


def need(status, what):
    if status != 0:
        raise RuntimeError("%s answers %d" % (what, status))


def device(index=0):
    handle = ctypes.c_void_p()
    need(nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)), "GetHandleByIndex")
    return handle


def text(function, *arguments):
    buffer = ctypes.create_string_buffer(96)
    need(getattr(nvml, function)(*arguments, buffer, 96), function)
    return buffer.value.decode()


def number(function, *arguments, kind=ctypes.c_uint):
    value = kind()
    need(getattr(nvml, function)(*arguments, ctypes.byref(value)), function)
    return value.value


def letters(word):
    return [float(ord(letter)) for letter in word]


@harness.check(0)
def system():
    driver, library = text("nvmlSystemGetDriverVersion"), text("nvmlSystemGetNVMLVersion")
    version = number("nvmlSystemGetCudaDriverVersion", kind=ctypes.c_int)
    return letters(driver) + letters(library) + [version, number("nvmlDeviceGetCount_v2")]


@harness.check(0)
def identity():
    name, uuid = (text(function, device()) for function in
                  ("nvmlDeviceGetName", "nvmlDeviceGetUUID"))
    return letters(name) + letters(uuid)


@harness.check(0)
def memory():
    sizes = (ctypes.c_ulonglong * 3)()
    need(nvml.nvmlDeviceGetMemoryInfo(device(), sizes), "GetMemoryInfo")
    total, free, used = sizes
    assert 0 < free <= total and used <= total, list(sizes)
    return [total]


@harness.check(0)
def figures_that_change():
    rates = (ctypes.c_uint * 2)()
    need(nvml.nvmlDeviceGetUtilizationRates(device(), rates), "GetUtilizationRates")
    assert rates[0] <= 100 and rates[1] <= 100, list(rates)
    celsius, milliwatts = ctypes.c_uint(), ctypes.c_uint()
    # Whether there are sensors, not what they say at this moment.
    return [nvml.nvmlDeviceGetTemperature(device(), 0, ctypes.byref(celsius)),
            nvml.nvmlDeviceGetPowerUsage(device(), ctypes.byref(milliwatts))]


@harness.check(0)
def the_same_device_as_in_cuda():
    need(cuda.cuInit(0), "cuInit")
    first, identity_bytes = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    need(cuda.cuDeviceGet(ctypes.byref(first), 0), "cuDeviceGet")
    need(cuda.cuDeviceGetUuid_v2(identity_bytes, first), "cuDeviceGetUuid")
    digits = bytes(identity_bytes).hex()
    handle, groups = ctypes.c_void_p(), (8, 12, 16, 20, 32)
    parts = [digits[start:end] for start, end in zip((0,) + groups, groups)]
    name = ("GPU-" + "-".join(parts)).encode()
    need(nvml.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)), "GetHandleByUUID")
    return [number("nvmlDeviceGetIndex", handle)]


@harness.check(1)
def a_hundred_questions():
    start = time.perf_counter()
    for _ in range(100):
        number("nvmlDeviceGetIndex", device())
    assert time.perf_counter() - start < 60
    return [100]


if __name__ == "__main__":
    harness.main(package="NVML " + text("nvmlSystemGetNVMLVersion"),
                 device=text("nvmlDeviceGetName", device()))
