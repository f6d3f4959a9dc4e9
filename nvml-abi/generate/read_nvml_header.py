#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads NVIDIA's nvml.h and prints rows for ../src/nvml.table: those of functions that the table does not list yet, or
with --all of every function.

With --check it tells instead which rows of the table are not those of this header; `cargo xtask test --only nvml` runs
it. Run by hand when a new nvml.h appears; the build never needs it:

    python3 -m venv v && v/bin/pip install libclang
    v/bin/python read_nvml_header.py INCLUDE/nvml.h [--all | --check]

INCLUDE holds the header of the wheel nvidia-nvml-dev. A row of a function that a rule below does not understand says
so in its last column, and is finished by hand.
"""
import re
import subprocess
import sys
from pathlib import Path

from clang.cindex import CursorKind, Index, TypeKind

TABLE = Path(__file__).resolve().parent.parent / "src" / "nvml.table"

LOCAL = {"nvmlInit", "nvmlInit_v2", "nvmlInitWithFlags", "nvmlShutdown", "nvmlErrorString"}
HANDLES = {
    "nvmlDevice_t": "device", "nvmlUnit_t": "unit", "nvmlGpuInstance_t": "gpu_instance",
    "nvmlComputeInstance_t": "compute_instance", "nvmlEventSet_t": "event_set", "nvmlGpmSample_t": "gpm_sample",
}
# What changes the state of a device or of its driver, by the words of a name.
CHANGES = re.compile(
    r"(?<!Event)(Set(?=[A-Z])|Clear|Reset|Create(?!d)|Destroy|Freeze|Modify|Remove|Discover|Update|Activate|ReadWrite"
    r"|ReadPRM|SystemEvent|SystemRegister)"
)
UNCHANGED = {"nvmlEventSetCreate", "nvmlEventSetWait", "nvmlEventSetWait_v2", "nvmlEventSetFree"}
# Layouts of before a function got its second version, which this header does not have: its declarations of the old
# names have today's structures. Sizes are those of the fields that the old structures had for sure.
OLD_SIZES = {
    ("nvmlDeviceGetPciInfo", "pci"): 32, ("nvmlDeviceGetPciInfo_v2", "pci"): 36,
    ("nvmlDeviceGetNvLinkRemotePciInfo", "pci"): 36, ("nvmlEventSetWait", "data"): 24,
    ("nvmlComputeInstanceGetInfo", "info"): 24,
}
# What a name does not tell: these change something too, hand out keys, or wait with a structure of their own.
REFUSED = {
    "nvmlDeviceLockNvlinkRemapTable_v1", "nvmlDeviceSetupNvlinkNvleEncryptionKey_v1", "nvmlDeviceVgpuForceGspUnload",
    "nvmlDeviceGetNvlinkNvlePrivateInfo_v1", "nvmlEventSetRegisterGpuOperationalEvents_v1", "nvmlEventSetWait_v3",
    "nvmlEventSetGetContextCount_v1", "nvmlEventSetGetContextInfo_v1",
    "nvmlEventSetGetGpuOperationalEventContextLegacyXid_v1",
}
# Arguments of which the rules make something else, after the header's own description.
ARGUMENTS = {
    ("nvmlSystemGetDriverBranch", "branchInfo"): "versioned 84",
    ("nvmlDeviceGetEncoderStats", "sessionCount"): "out 4", ("nvmlDeviceGetEncoderStats", "averageFps"): "out 4",
    ("nvmlVgpuInstanceGetEncoderStats", "sessionCount"): "out 4",
    ("nvmlVgpuInstanceGetEncoderStats", "averageFps"): "out 4",
    ("nvmlDeviceGetSamples", "sampleValType"): "out 4", ("nvmlDeviceGetVgpuUtilization", "sampleValType"): "inout 4",
    ("nvmlDeviceGetRetiredPages", "pageCount"): "count", ("nvmlDeviceGetRetiredPages_v2", "pageCount"): "count",
    ("nvmlDeviceGetRetiredPages_v2", "timestamps"): "array 8 of pageCount",
    ("nvmlVgpuInstanceGetVmID", "vmIdType"): "out 4",
    ("nvmlVgpuInstanceGetMetadata", "vgpuMetadata"): "array 1 of bufferSize",
    ("nvmlDeviceGetVgpuMetadata", "pgpuMetadata"): "array 1 of bufferSize",
    ("nvmlDeviceGetSupportedPerformanceStates", "pstates"): "array 1 of size",
    ("nvmlDeviceQueryDrainState", "pciInfo"): "in 68",
    ("nvmlDeviceGetGspFirmwareVersion", "version"): "chars 64",
    ("nvmlDeviceGetGpuFabricInfoV", "gpuFabricInfo"): "versioned 36,40",
    ("nvmlDeviceGetHandleByUUIDV", "uuid"): "in 52",
}
UNKNOWN_LAYOUT = {
    "nvmlDeviceGetAttributes", "nvmlDeviceGetGridLicensableFeatures", "nvmlDeviceGetGridLicensableFeatures_v2",
    "nvmlDeviceGetGridLicensableFeatures_v3", "nvmlVgpuInstanceGetLicenseInfo",
}
# Arrays whose room the caller does not tell: the count is only an output.
UNBOUNDED = {
    "nvmlDeviceGetGpuInstances", "nvmlGpuInstanceGetComputeInstances", "nvmlDeviceGetGpuInstancePossiblePlacements",
    "nvmlDeviceGetGpuInstancePossiblePlacements_v2", "nvmlGpuInstanceGetComputeInstancePossiblePlacements",
}
# Structures that point to a list of the caller's: offset of the pointer, offset of the count, bytes of an element.
LISTS = {
    "nvmlProcessDetailList": ("procArray", "numProcArrayEntries"),
    "nvmlProcessesUtilizationInfo": ("procUtilArray", "processSamplesCount"),
    "nvmlEccSramUniqueUncorrectedErrorCounts": ("entries", "entryCount"),
}


class Header:
    def __init__(self, path):
        include = subprocess.run(["gcc", "-print-file-name=include"], capture_output=True, text=True, check=True)
        arguments = ["-x", "c", "-DNVML_NO_UNVERSIONED_FUNC_DEFS", "-I" + include.stdout.strip()]
        self.unit = Index.create().parse(path, args=arguments)
        if any(d.severity >= 3 for d in self.unit.diagnostics):
            sys.exit("\n".join(str(d) for d in self.unit.diagnostics))
        cursors = list(self.unit.cursor.get_children())
        self.types = {c.spelling: c.type for c in cursors if c.kind == CursorKind.TYPEDEF_DECL}
        self.functions = [c for c in cursors if c.kind == CursorKind.FUNCTION_DECL and c.spelling.startswith("nvml")]
        self.versions = {}
        for family, version in re.findall(r"NVML_STRUCT_VERSION\((\w+), (\d+)\)", Path(path).read_text()):
            t = self.types.get(f"nvml{family}_v{version}_t") or self.types.get(f"nvml{family}_t")
            self.versions.setdefault(family, {})[int(version)] = t.get_size()

    def sizes(self, spelling):
        """The sizes of all versions of a versioned structure, or nothing."""
        family = re.sub(r"^nvml|(_v\d+)?_t$", "", spelling)
        return sorted(set(self.versions.get(family, {}).values()))


def fields(record):
    return list(record.get_canonical().get_fields()) if record.get_canonical().kind == TypeKind.RECORD else []


def repairs(record, only=None):
    """Handles, process ids and lists within a structure; None for a pointer that nobody translates."""
    found = []
    for field in fields(record):
        at = record.get_canonical().get_offset(field.spelling) // 8
        t = field.type
        if only is not None and at >= only:
            continue
        if t.spelling in HANDLES:
            found.append(f"{HANDLES[t.spelling]}@{at}")
        elif field.spelling == "pid" and t.get_canonical().kind == TypeKind.UINT:
            found.append(f"pid@{at}")
        elif t.get_canonical().kind == TypeKind.POINTER:
            family = re.sub(r"^nvml|(_v\d+)?_t$", "", record.spelling)
            names = LISTS.get("nvml" + family)
            if not names or names[0] != field.spelling:
                return None
            count = record.get_canonical().get_offset(names[1]) // 8
            element = t.get_canonical().get_pointee()
            inner = repairs(element)
            if inner is None:
                return None
            found.append(":".join([f"list@{at}", str(count), str(element.get_size()), *inner]))
        elif t.get_canonical().kind in (TypeKind.RECORD, TypeKind.CONSTANTARRAY):
            inner = t.get_canonical()
            while inner.kind == TypeKind.CONSTANTARRAY:
                inner = inner.element_type.get_canonical()
            if repairs(inner) is None or repairs(inner):
                return None
    return found


def has_inputs(record):
    return any(re.search(r"\[ *(in|IN)|\bIN\b|[iI]nput", f.raw_comment or "") for f in fields(record))


def scalar(t):
    kind = t.get_canonical().kind
    if kind in (TypeKind.UINT, TypeKind.INT, TypeKind.ENUM):
        return "u32"
    if kind in (TypeKind.ULONG, TypeKind.ULONGLONG, TypeKind.LONGLONG):
        return "u64"
    return None


def words(*parts):
    return " ".join(str(p) for p in parts if p != "")


def kinds(header, function):
    """One `name: kind` an argument; raises ValueError for what no rule understands."""
    arguments = list(function.get_arguments())
    pointees = [a.type.get_pointee() if a.type.get_canonical().kind == TypeKind.POINTER else None for a in arguments]
    for a, i in zip(arguments, range(len(arguments))):
        if a.type.spelling in HANDLES:
            pointees[i] = None
    is_count = [
        p is not None and scalar(p) == "u32" and bool(re.search(r"count$|size$|length$", a.spelling, re.I))
        for a, p in zip(arguments, pointees)
    ]
    result = []
    for i, (a, p) in enumerate(zip(arguments, pointees)):
        name = a.spelling
        if (function.spelling, name) in ARGUMENTS:
            result.append((name, ARGUMENTS[function.spelling, name]))
            continue
        if p is None:
            kind = HANDLES.get(a.type.spelling) or ("pid" if name == "pid" else scalar(a.type))
            if not kind:
                raise ValueError(f"{name}: {a.type.spelling}")
            result.append((name, kind))
            continue
        record = p.get_canonical().kind == TypeKind.RECORD
        fixes = repairs(p, OLD_SIZES.get((function.spelling, name))) if record else []
        if fixes is None:
            raise ValueError(f"{name}: {p.spelling} has pointers")
        if p.spelling in HANDLES:
            fixes = [HANDLES[p.spelling] + "@0"]
        if name == "pids":
            fixes = ["pid@0"]
        size = OLD_SIZES.get((function.spelling, name), p.get_size())
        counts = [b.spelling for b, c in zip(arguments, is_count) if c and b.spelling != name]
        near = [b for b in (arguments[i - 1 : i] if i else []) + arguments[i + 1 : i + 2]]
        by_value = [b.spelling for b in near if scalar(b.type) and re.search(r"count$|size$|length$|^size$", b.spelling, re.I)]
        if p.get_canonical().kind in (TypeKind.CHAR_S, TypeKind.SCHAR):
            if p.is_const_qualified():
                result.append((name, "text"))
            elif by_value:
                result.append((name, f"chars of {by_value[-1]}"))
            elif counts:
                result.append((name, f"array 1 of {counts[0]}"))
            else:
                raise ValueError(f"{name}: text without a length")
        elif is_count[i] and not counts and any(
            q is not None and j != i and abs(j - i) == 1 and scalar(q) != "u64" for j, q in enumerate(pointees)
        ):
            result.append((name, "out 4" if function.spelling in UNBOUNDED else "count"))
        elif counts and abs([b.spelling for b in arguments].index(counts[0]) - i) == 1:
            how = "unbounded" if function.spelling in UNBOUNDED else "array"
            result.append((name, words(how, size, "of", counts[0], *fixes)))
        elif by_value:
            how = "inout_array" if has_inputs(p) or "FieldValue" in p.spelling else "array"
            result.append((name, words(how, size, "of", by_value[-1], *fixes)))
        elif record and header.sizes(p.spelling) and fields(p)[0].spelling == "version":
            result.append((name, words("versioned", ",".join(map(str, header.sizes(p.spelling))), *fixes)))
        elif p.is_const_qualified():
            result.append((name, words("in", size, *fixes)))
        elif record and (has_inputs(p) or fields(p)[0].spelling == "version" or re.search(r"_v\d+_t$", p.spelling)):
            result.append((name, words("inout", size, *fixes)))
        else:
            result.append((name, words("out", size, *fixes)))
    return result


def row(header, function):
    name = function.spelling
    if name in LOCAL:
        return f"{name} | local |"
    changes = name not in UNCHANGED and CHANGES.search(name.removeprefix("nvml"))
    if changes or name in UNKNOWN_LAYOUT | REFUSED:
        return f"{name} | unsupported |"
    try:
        return f"{name} | query | " + ", ".join(f"{n}: {k}" for n, k in kinds(header, function))
    except ValueError as error:
        return f"{name} | unsupported | # {error}"


def main():
    header = Header(sys.argv[1])
    rows = {f.spelling: row(header, f) for f in header.functions}
    listed = {}
    if TABLE.exists():
        lines = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
        listed = {line.split(" ", 1)[0]: line for line in lines}
    if "--check" in sys.argv:
        wrong = [name for name, line in rows.items() if listed.get(name, "").strip() != line.split("#")[0].strip()]
        for name in wrong:
            print(f"header: {rows[name]}\ntable:  {listed.get(name)}\n")
        sys.exit(1 if wrong else 0)
    for name, line in rows.items():
        if "--all" in sys.argv or name not in listed:
            print(line)


main()
