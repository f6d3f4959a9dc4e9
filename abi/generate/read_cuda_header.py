#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads NVIDIA's cuda.h and cudaTypedefs.h and writes ../src/types/generated.rs, and for functions that the
table does not list yet, rows for ../src/driver_api.table on standard output.

Run by hand when a new CUDA version appears; the build never needs it:

    python3 -m venv v && v/bin/pip install libclang nvidia-cuda-runtime nvidia-cuda-crt
    v/bin/python read_cuda_header.py INCLUDE_FOLDER
"""
import re
import subprocess
import sys
from pathlib import Path

from clang.cindex import Config, CursorKind, Index, TypeKind  # noqa: F401

HERE = Path(__file__).resolve().parent
INTEGERS = {
    TypeKind.CHAR_S: "c_char", TypeKind.SCHAR: "i8", TypeKind.UCHAR: "u8", TypeKind.SHORT: "i16",
    TypeKind.USHORT: "u16", TypeKind.INT: "i32", TypeKind.UINT: "u32", TypeKind.LONG: "i64",
    TypeKind.ULONG: "u64", TypeKind.LONGLONG: "i64", TypeKind.ULONGLONG: "u64",
    TypeKind.FLOAT: "f32", TypeKind.DOUBLE: "f64", TypeKind.BOOL: "bool",
}
KEYWORDS = {"type", "ref", "in", "use", "mod", "fn", "move", "match", "box"}
# `CUdeviceptr_v2` is one type with `CUdeviceptr`; `_v1` kinds of plain typedefs are their base.
SAME = {"CUdeviceptr_v2": "CUdeviceptr", "CUdevice_v1": "CUdevice", "cuuint32_t": "u32", "cuuint64_t": "u64",
        "size_t": "usize", "uint64_t": "u64", "uint32_t": "u32", "int32_t": "i32", "int64_t": "i64"}
RECORDS = (CursorKind.STRUCT_DECL, CursorKind.UNION_DECL)


def parse(include, text, *defines):
    gcc = subprocess.run(["gcc", "-print-file-name=include"], capture_output=True, text=True, check=True).stdout.strip()
    unit = Index.create().parse("x.c", args=["-I", include, "-I", gcc, *defines], unsaved_files=[("x.c", text)])
    bad = [d for d in unit.diagnostics if d.severity >= 3]
    if bad:
        sys.exit(f"cannot parse: {bad[:3]}")
    return unit


class Types:
    """Collects every type of the header and writes Rust for it."""

    def __init__(self):
        self.out, self.asserts, self.done, self.handles = [], [], set(), []

    def name(self, t):
        """Rust for a C type."""
        if t.kind == TypeKind.ELABORATED:
            t = t.get_named_type() if t.get_declaration().kind != CursorKind.TYPEDEF_DECL else t
        decl = t.get_declaration()
        spelling = t.spelling.replace("const ", "").replace("struct ", "").replace("enum ", "").replace("union ", "").strip()
        if spelling in SAME:
            return SAME[spelling]
        if decl.kind == CursorKind.TYPEDEF_DECL:
            return self.typedef_name(decl)
        if t.kind == TypeKind.POINTER:
            return self.pointer(t.get_pointee())
        if t.kind in (TypeKind.CONSTANTARRAY,):
            return f"[{self.name(t.get_array_element_type())}; {t.get_array_size()}]"
        if t.kind == TypeKind.INCOMPLETEARRAY:
            return self.pointer(t.get_array_element_type())
        if t.kind in INTEGERS:
            return INTEGERS[t.kind]
        if t.kind == TypeKind.VOID:
            return "c_void"
        if t.kind == TypeKind.ENUM:
            return self.base(spelling)
        if t.kind == TypeKind.RECORD:
            return self.base(spelling)
        sys.exit(f"no Rust for the C type {t.spelling!r} ({t.kind})")

    @staticmethod
    def base(spelling):
        return re.sub(r"_(enum|st|union)$", "", spelling)

    def pointer(self, pointee):
        if pointee.get_canonical().kind == TypeKind.FUNCTIONPROTO:
            return "CUhostPointer"
        inner = self.name(pointee)
        return ("*const " if pointee.is_const_qualified() else "*mut ") + inner

    def typedef_name(self, decl):
        spelling = decl.spelling
        under = decl.underlying_typedef_type
        canonical = under.get_canonical()
        if canonical.kind == TypeKind.POINTER:
            return spelling if spelling.startswith("CU") else self.name(under)
        if canonical.kind in (TypeKind.RECORD, TypeKind.ENUM):
            return spelling
        if spelling == "CUdeviceptr" or spelling == "CUdevice":
            return spelling
        if spelling.startswith("CU"):
            return spelling
        return self.name(under)

    def field(self, name):
        return f"r#{name}" if name in KEYWORDS else name

    def enum(self, rust, cursor):
        if rust in self.done:
            return
        self.done.add(rust)
        signed = any(c.enum_value < 0 for c in cursor.get_children() if c.kind == CursorKind.ENUM_CONSTANT_DECL)
        rep = "i32" if signed else "u32"
        rows, seen = [], set()
        for c in cursor.get_children():
            if c.kind != CursorKind.ENUM_CONSTANT_DECL or c.spelling in seen:
                continue
            seen.add(c.spelling)
            v = c.enum_value & 0xFFFFFFFF if not signed else c.enum_value
            rows.append(f"        {c.spelling} = {v},")
        self.out.append(f"c_enum! {{\n    {rust}: {rep} {{\n" + "\n".join(rows) + "\n    }\n}\n")

    def record(self, rust, cursor, union):
        if rust in self.done:
            return
        self.done.add(rust)
        t = cursor.type
        fields, anonymous, lines = [], 0, []
        for f in cursor.get_children():
            if f.kind == CursorKind.FIELD_DECL:
                if f.is_bitfield():
                    sys.exit(f"bit field in {rust}")
                ft = f.type
                arr = None
                if ft.kind == TypeKind.CONSTANTARRAY:
                    arr, el = ft.get_array_size(), ft.get_array_element_type()
                else:
                    el = ft
                d = el.get_declaration()
                if el.get_canonical().kind == TypeKind.RECORD and (d.is_anonymous() or "unnamed" in d.type.spelling or "anonymous" in d.type.spelling):
                    nested = f"{rust}_{f.spelling}"
                    self.record(nested, d, d.kind == CursorKind.UNION_DECL)
                    rt = nested if arr is None else f"[{nested}; {arr}]"
                elif d.kind in RECORDS:
                    rt = self.base(d.spelling)
                    self.record(rt, d, d.kind == CursorKind.UNION_DECL)
                else:
                    rt = self.name(ft)
                fields.append((f.spelling, rt, t.get_offset(f.spelling) // 8))
            elif f.kind in RECORDS and f.is_anonymous():
                # `is_anonymous` holds for unnamed member records too: those are met through their field.
                if any(g.kind == CursorKind.FIELD_DECL and g.type.get_declaration() == f for g in cursor.get_children()):
                    continue
                nested = f"{rust}_anonymous{anonymous}"
                self.record(nested, f, f.kind == CursorKind.UNION_DECL)
                first = next(g for g in f.get_children() if g.kind == CursorKind.FIELD_DECL)
                fields.append((f"anonymous{anonymous}", nested, t.get_offset(first.spelling) // 8))
                anonymous += 1
        kind = "union" if union else "struct"
        # Beyond 8 bytes no member asks for the alignment: the declaration does.
        align = f", align({t.get_align()})" if t.get_align() > 8 else ""
        lines.append(f"#[derive(Clone, Copy)]\n#[repr(C{align})]\npub {kind} {rust} {{")
        lines += [f"    pub {self.field(n)}: {rt}," for n, rt, _ in fields]
        if not fields:
            lines.append("    _opaque: [u8; 0],")
        lines.append("}\n")
        self.out.append("\n".join(lines))
        if fields:
            offsets = ", ".join(f"{self.field(n)} = {o}" for n, _, o in fields)
            self.asserts.append(f"layout!({rust}, {t.get_size()}, {t.get_align()}, {offsets});")

    def collect(self, unit):
        for c in unit.cursor.get_children():
            if c.location.file is None or Path(c.location.file.name).name != "cuda.h":
                continue
            if c.kind == CursorKind.TYPEDEF_DECL:
                under = c.underlying_typedef_type
                canonical = under.get_canonical()
                name = c.spelling
                if canonical.kind == TypeKind.ENUM and under.get_declaration().kind != CursorKind.TYPEDEF_DECL:
                    self.enum(name, canonical.get_declaration())
                elif canonical.kind == TypeKind.RECORD:
                    d = under.get_declaration()
                    if d.kind == CursorKind.TYPEDEF_DECL:
                        if name not in SAME and name not in self.done:
                            self.done.add(name)
                            self.out.append(f"pub type {name} = {d.spelling};\n")
                    else:
                        cd = canonical.get_declaration()
                        self.record(name, cd.get_definition() or cd, cd.kind == CursorKind.UNION_DECL)
                elif canonical.kind == TypeKind.POINTER:
                    p = canonical.get_pointee()
                    if p.get_canonical().kind == TypeKind.FUNCTIONPROTO:
                        self.out.append(f"pub type {name} = CUhostPointer;\n")
                    elif name.startswith("CU"):
                        if under.get_declaration().kind == CursorKind.TYPEDEF_DECL:
                            self.out.append(f"pub type {name} = {under.get_declaration().spelling};\n")
                        else:
                            self.handles.append(name)
                elif name.startswith("CU") and name not in ("CUdeviceptr", "CUdevice") and name not in SAME:
                    self.out.append(f"pub type {name} = {self.name(under)};\n")

    def write(self, path):
        text = ["// SPDX-License-Identifier: Apache-2.0", "//! The enumerations, handles and structures of `cuda.h`, with their measured layouts.",
                "//!", "//! Written by `abi/generate/read_cuda_header.py`; do not edit by hand.", "",
                "use core::ffi::{c_char, c_void};", "", "use super::{CUdevice, CUdeviceptr, CUhostPointer, c_enum, handle, layout};", ""]
        text += [f"handle!({', '.join(self.handles)});", ""]
        text += self.out + self.asserts
        path.write_text("\n".join(text) + "\n")


def functions(unit):
    """Symbol name -> (argument name, Rust type) list of every `CUresult cu…(…)` declaration."""
    types, found = Types(), {}
    for c in unit.cursor.get_children():
        if c.kind == CursorKind.FUNCTION_DECL and re.match(r"cu[A-Z]", c.spelling):
            found[c.spelling] = [(a.spelling, types.name(a.type)) for a in c.get_arguments()]
    return found


def versions(include):
    """Base name -> {"": [versions], "ptds": […], "ptsz": […]} from cudaTypedefs.h."""
    found = {}
    for m in re.finditer(r"\*PFN_(cu\w+?)_v(\d+)(?:_(ptds|ptsz))?\)", (Path(include) / "cudaTypedefs.h").read_text()):
        found.setdefault(m[1], {}).setdefault(m[3] or "", []).append(int(m[2]))
    return found


def rows(found, released):
    """One table row a function version, all `unsupported` until somebody writes them."""
    plain = [s for s in found if not re.search(r"_(ptds|ptsz)$", s)]
    bases = {}
    for s in plain:
        bases.setdefault(re.sub(r"_v\d+$", "", s), []).append(s)
    def order(s):
        m = re.search(r"_v(\d+)$", s)
        return int(m[1]) if m else 1
    for base, symbols in bases.items():
        symbols.sort(key=order)
        known = released.get(base, {})
        numbers = sorted(set(known.get("", [])))
        thread = {k: sorted(set(known.get(k, []))) for k in ("ptds", "ptsz")}
        if len(numbers) > len(symbols):
            numbers = numbers[-len(symbols):]
        missing = len(symbols) - len(numbers)
        numbers = [None] * missing + numbers
        for symbol, version in zip(symbols, numbers):
            variant = ""
            for k in ("ptds", "ptsz"):
                if f"{symbol}_{k}" in found and thread[k]:
                    later = [v for v in thread[k] if v >= (version or 0)]
                    variant = f" {k}@{(later or thread[k])[0]}"
            note = "" if version else " (version unknown)"
            alias = f" = {base}" if symbol != base else ""
            arguments = ", ".join(f"{n or f'argument{i}'}: {t}" for i, (n, t) in enumerate(found[symbol]))
            yield f"{symbol}{alias} @{version or 2000}{variant} | unsupported | | {arguments}{note}"


def main():
    include = sys.argv[1]
    plain = parse(include, "#include <cuda.h>\n")
    types = Types()
    types.collect(plain)
    types.write(HERE.parent / "src" / "types" / "generated.rs")
    internal = parse(include, "#include <cuda.h>\n", "-D__CUDA_API_VERSION_INTERNAL")
    found = functions(internal)
    table = HERE.parent / "src" / "driver_api.table"
    listed = {line.split()[0] for line in table.read_text().splitlines() if line and line[0] != "#"} if table.exists() else set()
    for row in rows(found, versions(include)):
        if row.split()[0] not in listed:
            print(row)


if __name__ == "__main__":
    main()
