#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads NVIDIA's runtime headers of several CUDA versions and writes ../src/types/generated.rs, and for functions
that the table does not list yet, rows for ../src/runtime_api.table on standard output.

Run by hand when a new CUDA version appears; the build never needs it:

    python3 -m venv v && v/bin/pip install libclang
    v/bin/python read_runtime_headers.py 11:INCLUDE:NAMES 12:INCLUDE:NAMES 13:INCLUDE:NAMES

INCLUDE holds the headers of the wheels nvidia-cuda-runtime… and of nvidia-cuda-crt or nvidia-cuda-nvcc-cu…; NAMES is
a file with the symbols that the real libcudart exports, one a line (`nm -D --defined-only`).
"""
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "abi" / "generate"))
from read_cuda_header import RECORDS, SAME, CursorKind, TypeKind, Types, parse  # noqa: E402

# What `gvirtus_abi` has already: the runtime's handles are the driver's.
HANDLES = {
    "cudaStream_t": "CUstream", "cudaEvent_t": "CUevent", "cudaGraph_t": "CUgraph", "cudaGraphNode_t": "CUgraphNode",
    "cudaGraphExec_t": "CUgraphExec", "cudaMemPool_t": "CUmemoryPool", "cudaKernel_t": "CUkernel",
    "cudaFunction_t": "CUfunction", "cudaLibrary_t": "CUlibrary", "cudaArray_t": "CUarray",
    "cudaArray_const_t": "CUarray", "cudaMipmappedArray_t": "CUmipmappedArray",
    "cudaMipmappedArray_const_t": "CUmipmappedArray", "cudaUserObject_t": "CUuserObject",
    "cudaExternalMemory_t": "CUexternalMemory", "cudaExternalSemaphore_t": "CUexternalSemaphore",
    "cudaGraphicsResource_t": "CUgraphicsResource", "cudaGraphDeviceNode_t": "CUgraphDeviceNode",
    "cudaAsyncCallbackHandle_t": "CUasyncCallbackHandle", "cudaExecutionContext_t": "CUgreenCtx",
    "cudaDevResourceDesc_t": "CUdevResourceDesc", "cudaLogsCallbackHandle": "CUlogsCallbackHandle",
    "CUuuid": "CUuuid", "cudaUUID_t": "CUuuid", "cudaLogIterator": "CUlogIterator",
}
POINTEES = {"struct CUstream_st": "CUstream", "struct cudaArray": "CUarray"}


class RuntimeTypes(Types):
    """The types that the functions of one version use; the values of `records` say how a structure is laid out."""

    def __init__(self, version):
        super().__init__()
        self.version, self.records, self.enums, self.aliases, self.suffix = version, {}, {}, {}, {}

    def name(self, t):
        spelling = re.sub(r"\b(const|struct|enum|union) ", "", t.spelling).strip()
        decl = t.get_declaration()
        if spelling in HANDLES:
            return HANDLES[spelling]
        canonical = t.get_canonical()
        if t.kind == TypeKind.POINTER or canonical.kind == TypeKind.POINTER and spelling not in SAME:
            inner = t.get_pointee() if t.kind == TypeKind.POINTER else canonical.get_pointee()
            if inner.spelling.replace("const ", "") in ("struct cudaArray", "struct cudaMipmappedArray"):
                return "CUarray" if "Mip" not in inner.spelling else "CUmipmappedArray"
            if inner.spelling.replace("const ", "") == "struct cudaGraphicsResource":
                return "CUgraphicsResource"
            return self.pointer(inner)
        if canonical.kind == TypeKind.RECORD:
            if canonical.get_declaration().type.get_size() < 0:
                return "c_void"
            if spelling == "CUuuid_st":
                return "CUuuid"
            rust = self.known_name(canonical.get_declaration(), spelling)
            return rust + self.suffix.get(rust, "")
        if canonical.kind == TypeKind.ENUM:
            d = canonical.get_declaration()
            rust = d.spelling or spelling
            self.enums.setdefault(rust, d)
            return rust
        if spelling in SAME:
            return SAME[spelling]
        if t.kind in (TypeKind.ELABORATED, TypeKind.TYPEDEF):
            return self.name(decl.underlying_typedef_type) if decl.kind == CursorKind.TYPEDEF_DECL else super().name(canonical)
        return super().name(t)

    def known_name(self, cursor, spelling):
        rust = cursor.spelling if cursor.spelling and "(" not in cursor.spelling else spelling
        rust = re.sub(r"_st$", "", rust)
        if rust not in self.records:
            self.records[rust] = None
            self.lay_out(rust, cursor)
        return rust

    def lay_out(self, rust, cursor):
        fields, t = [], cursor.type
        members = [f for f in cursor.get_children()]
        anonymous = 0
        for f in members:
            if f.kind == CursorKind.FIELD_DECL:
                el, arr = f.type, None
                if el.get_canonical().kind == TypeKind.CONSTANTARRAY:
                    arr, el = el.get_canonical().get_array_size(), el.get_canonical().get_array_element_type()
                d = el.get_declaration()
                if el.get_canonical().kind == TypeKind.RECORD and ("unnamed" in d.type.spelling or "anonymous" in d.type.spelling):
                    rt = self.nested(f"{rust}_{f.spelling}", d)
                else:
                    rt = self.name(el)
                if arr is not None:
                    rt = f"[{rt}; {arr}]"
                fields.append((f.spelling, rt, t.get_offset(f.spelling) // 8))
            elif f.kind in RECORDS and f.is_anonymous():
                if any(g.kind == CursorKind.FIELD_DECL and g.type.get_declaration() == f for g in members):
                    continue
                nested = self.nested(f"{rust}_anonymous{anonymous}", f)
                first = next(g for g in f.get_children() if g.kind == CursorKind.FIELD_DECL)
                fields.append((f"anonymous{anonymous}", nested, t.get_offset(first.spelling) // 8))
                anonymous += 1
        self.records[rust] = (cursor.kind == CursorKind.UNION_DECL, t.get_size(), t.get_align(), tuple(fields))

    def nested(self, rust, cursor):
        self.records[rust] = None
        self.lay_out(rust, cursor)
        return rust

    def same(self, rust, newest):
        """Whether programs of this version may be handed the newest structure."""
        old, new = self.records.get(rust), newest.records.get(rust)
        if old is None or new is None or old[:3] != new[:3]:
            return False
        there = {(n, o): t for n, t, o in new[3]}
        for n, t, o in old[3]:
            if "reserved" in n.lower() or "pad" in n.lower():
                continue
            if (n, o) not in there:
                # A member that newer versions put into an unnamed union.
                if any(name.startswith("anonymous") and at == o for name, at in there):
                    continue
                return False
            if re.search(r"cuda\w+|dim3", t):
                for inner in re.findall(r"cuda\w+", t):
                    if inner in self.records and not self.same(inner, newest):
                        return False
            elif there[(n, o)] != t:
                return False
        return True


def record_text(rust, record, field, rename):
    union, size, align, fields = record
    # A structure that asks for more than its members do.
    extra = f", align({align})" if align > 8 or rust.startswith(("float2", "float4", "int4", "uint4")) else ""
    lines = [f"#[derive(Clone, Copy)]\n#[repr(C{extra})]\npub {'union' if union else 'struct'} {rename(rust)} {{"]
    lines += [f"    pub {field(n)}: {re.sub(r'[A-Za-z_0-9]+', lambda m: rename(m[0]), rt)}," for n, rt, _ in fields]
    lines.append("}\n")
    offsets = ", ".join(f"{field(n)} = {o}" for n, _, o in fields)
    return "\n".join(lines), f"layout!({rename(rust)}, {size}, {align}, {offsets});"


def declarations(include, names):
    """Symbol -> (result, [(argument name, type)]) of what the header declares, the internal forms included."""
    found = {}
    for defines in ([], ["-D__CUDA_API_VERSION_INTERNAL"]):
        unit = parse(include, "#include <cuda_runtime_api.h>\n#include <stdint.h>\n", *defines)
        for c in unit.cursor.get_children():
            if c.kind == CursorKind.FUNCTION_DECL and c.spelling in names:
                found.setdefault(c.spelling, (c.result_type, [(a.spelling, a.type) for a in c.get_arguments()]))
    return found


def main():
    versions, exported, declared, types = [], {}, {}, {}
    for argument in sys.argv[1:]:
        version, include, names = argument.split(":")
        version = int(version)
        versions.append(version)
        exported[version] = set(Path(names).read_text().split())
        declared[version] = declarations(include, exported[version])
        types[version] = RuntimeTypes(version)
        for result, arguments in declared[version].values():
            types[version].name(result)
            for _, t in arguments:
                types[version].name(t)
    newest = types[max(versions)]
    for version in versions[:-1]:
        old = types[version]
        for rust in old.records:
            if not old.same(rust, newest):
                old.suffix[rust] = f"_v{version}"
    # A structure that only older versions have needs no suffix; of two old forms that are alike one is listed.
    known = set(newest.records)
    for version in reversed(versions[:-1]):
        for rust, record in types[version].records.items():
            suffix = types[version].suffix
            if rust in suffix and rust not in known:
                known.add(rust)
                suffix[rust] = ""
            elif rust in suffix and version == 11 and types[12].records.get(rust) == record:
                suffix[rust] = types[12].suffix[rust]
    texts, layouts, written = [], [], set()
    for version in reversed(versions):
        suffix = types[version].suffix
        for rust, record in types[version].records.items():
            if version != max(versions) and rust not in suffix or rust + suffix.get(rust, "") in written:
                continue
            written.add(rust + suffix.get(rust, ""))
            text, layout = record_text(rust, record, newest.field, lambda n, s=suffix: n + s.get(n, ""))
            texts.append(text)
            layouts.append(layout)
    enums = {}
    for version in reversed(versions):
        for rust, d in types[version].enums.items():
            values = enums.setdefault(rust, {})
            for c in d.get_children():
                if c.kind == CursorKind.ENUM_CONSTANT_DECL:
                    values.setdefault(c.spelling, c.enum_value)
    out = ["// SPDX-License-Identifier: Apache-2.0",
           "//! The enumerations and structures of `cuda_runtime_api.h`, with their measured layouts.", "//!",
           "//! Written by `runtime-abi/generate/read_runtime_headers.py`; do not edit by hand.", "",
           "use core::ffi::{c_char, c_void};", "", "use gvirtus_abi::*;", "", "use super::{c_enum, layout};", ""]
    for rust, values in sorted(enums.items()):
        if rust.startswith("CU"):
            continue
        rep = "i32" if any(v < 0 for v in values.values()) else "u32"
        constants = "\n".join(f"        {n} = {v if rep == 'i32' else v & 0xFFFFFFFF}," for n, v in values.items())
        out.append(f"c_enum! {{\n    {rust}: {rep} {{\n{constants}\n    }}\n}}\n")
    out += texts + layouts
    (HERE.parent / "src" / "types" / "generated.rs").write_text("\n".join(out) + "\n")
    rows(versions, exported, declared, types)


def rows(versions, exported, declared, types):
    table = HERE.parent / "src" / "runtime_api.table"
    listed = set()
    if table.exists():
        for line in table.read_text().splitlines():
            if line and line[0] != "#":
                listed.update(line.split("|")[0].split()[0:1])
    order = []
    for version in reversed(versions):
        order += [s for s in declared[version] if s not in order]
    others = sorted(set().union(*exported.values()) - set(order))
    for symbol in order + others:
        if symbol in listed or re.search(r"_pt[sd][sz]$", symbol):
            continue
        kinds = {}
        for version in versions:
            if symbol not in exported[version]:
                continue
            variant = next((k for k in ("ptsz", "ptds") if f"{symbol}_{k}" in exported[version]), "")
            result, arguments = declared[version].get(symbol, (None, None))
            if arguments is None:
                text = "?"
            else:
                names = types[version]
                text = ", ".join(f"{n or f'argument{i}'}: {names.name(t)}" for i, (n, t) in enumerate(arguments))
                back = names.name(result)
                text += "" if back == "cudaError" else f" -> {back}"
            # Names of arguments differ between versions, which makes no difference.
            key = (re.sub(r"\w+: ", "", text), variant)
            kinds.setdefault(key, [text, variant, []])[2].append(version)
        for text, variant, those in kinds.values():
            handler = f" = {symbol}_r{those[-1]}" if len(kinds) > 1 and max(versions) not in those else ""
            print(f"{symbol} {','.join(map(str, those))}{' ' + variant if variant else ''}{handler} | no | {text}")


if __name__ == "__main__":
    main()
