// SPDX-License-Identifier: Apache-2.0
use std::fs;

use super::lower;
use crate::ir::{
    Address, AddressBase, Callee, Guard, Instruction, Module, Op, Reg, Space, Src, UnaryOp, Width,
};
use crate::ptx;

const HEAD: &str = ".version 8.0\n.target sm_80\n.address_size 64\n";

fn module(text: &str) -> Module {
    let source = format!("{HEAD}{text}");
    lower(&[ptx::parse(&source).unwrap()]).unwrap_or_else(|error| panic!("{error}"))
}

fn error(text: &str) -> String {
    let source = format!("{HEAD}{text}");
    lower(&[ptx::parse(&source).unwrap()])
        .map(|m| m.kernels.len())
        .unwrap_err()
        .to_string()
}

/// The code of a kernel that has these registers and this body.
fn code(body: &str) -> Vec<Instruction> {
    let registers = ".reg .pred %p<9>; .reg .b16 %h<9>; .reg .b32 %r<9>; .reg .b64 %d<9>;";
    module(&format!(".entry k(.param .u64 a) {{ {registers} {body} }}")).functions[0]
        .code
        .clone()
}

/// Every allocation is checked by `verify` in test builds: see `allocate::run`.
#[test]
fn slots_of_compiled_code_never_mix_registers() {
    for folder in ["tests/ptx", "tests/ptx/corpus"] {
        let folder = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            let text = match fs::read(&path) {
                Ok(bytes) if name.ends_with(".ptx.zst") => {
                    zstd::bulk::decompress(&bytes, 64 << 20).unwrap()
                }
                Ok(bytes) if name.ends_with(".ptx") => bytes,
                _ => continue,
            };
            let text = String::from_utf8(text).unwrap();
            assert!(lower(&[ptx::parse(&text).unwrap()]).is_ok(), "{name}");
        }
    }
}

#[test]
fn constants_and_addresses_reach_their_users() {
    let code = code(
        "ld.param.u64 %d1, [a]; cvta.to.global.u64 %d2, %d1; mov.u32 %r1, 7; mov.u32 %r2, %r1;
         add.u64 %d3, %d2, 16; st.global.u32 [%d3+4], %r2; ret;",
    );
    // A load, an add, a store and a return: the moves are gone.
    assert_eq!(code.len(), 4, "{code:#?}");
    let Op::Store { src, address, .. } = &code[2].op else {
        panic!("{code:#?}")
    };
    assert_eq!(src.as_slice(), [Src::Imm(7)]);
    assert_eq!(*address, Address::new(Reg::W64(0), 4));
}

#[test]
fn local_variables_are_addressed_by_the_frame() {
    let code = code(
        ".local .align 8 .b8 depot[32]; mov.u64 %d1, depot; add.u64 %d2, %d1, 8;
         st.local.u32 [%d2+4], 1; cvta.local.u64 %d3, %d2; st.u32 [%d3], 2; ret;",
    );
    assert!(matches!(
        &code[0].op,
        Op::FrameAddress {
            address: Address {
                base: AddressBase::Frame,
                offset: 8
            },
            ..
        }
    ));
    let Op::Store {
        space: Space::Local,
        address,
        ..
    } = &code[1].op
    else {
        panic!("{code:#?}")
    };
    assert_eq!(*address, Address::frame(12));
}

#[test]
fn a_variable_written_twice_is_no_constant() {
    let code = code(
        "mov.u32 %r1, 1; @%p1 mov.u32 %r1, 2; ld.param.u64 %d1, [a]; st.global.u32 [%d1], %r1; ret;",
    );
    let moves: Vec<_> = code
        .iter()
        .filter(|i| {
            matches!(
                i.op,
                Op::Unary {
                    op: UnaryOp::Move(Width::B32),
                    ..
                }
            )
        })
        .map(|i| matches!(i.guard, Guard::If(_)))
        .collect();
    assert_eq!(moves, [false, true]);
    let Op::Store { src, .. } = &code[3].op else {
        panic!("{code:#?}")
    };
    assert!(matches!(src[0], Src::Reg(Reg::W32(_))));
}

#[test]
fn a_copy_ends_where_its_source_is_written() {
    // %r2 keeps the old value of %r1, which the loop changes.
    let code = code(
        "ld.param.u64 %d1, [a]; ld.global.u32 %r1, [%d1]; mov.u32 %r2, %r1;
         add.u32 %r1, %r1, 1; st.global.u32 [%d1], %r2; st.global.u32 [%d1+4], %r1; ret;",
    );
    let stored: Vec<Src> = code
        .iter()
        .filter_map(|i| match &i.op {
            Op::Store { src, .. } => Some(src[0]),
            _ => None,
        })
        .collect();
    assert_ne!(stored[0], stored[1], "{code:#?}");
}

#[test]
fn moves_between_loop_variables_vanish() {
    let code = code(
        "mov.u32 %r1, 0; ld.param.u64 %d1, [a];
         L: add.u32 %r2, %r1, 1; st.global.u32 [%d1], %r2; mov.u32 %r1, %r2;
         setp.lt.u32 %p1, %r1, 10; @%p1 bra L; ret;",
    );
    let moves = code.iter().filter(|i| {
        matches!(
            i.op,
            Op::Unary {
                op: UnaryOp::Move(_),
                a: Src::Reg(_),
                ..
            }
        )
    });
    assert_eq!(moves.count(), 0, "{code:#?}");
    let Op::Branch { target } = code[code.len() - 2].op else {
        panic!("{code:#?}")
    };
    assert!(
        matches!(code[target as usize].op, Op::Binary { .. }),
        "{code:#?}"
    );
}

const CALLEE: &str = ".func (.param .b64 r) f(.param .b32 x, .param .align 16 .b8 y[20])
    { .reg .b32 %r; ld.param.u32 %r, [y+16]; st.param.u64 [r], 1; ret; }";

#[test]
fn arguments_go_where_the_callee_reads_them() {
    let module = module(&format!(
        "{CALLEE} .entry k(.param .u64 a) {{ .reg .b32 %r<3>; .reg .b64 %d<3>;
         {{ .param .b32 p0; .param .align 16 .b8 p1[20]; .param .b64 q;
            st.param.b32 [p0+0], 5; st.param.b32 [p1+16], %r1;
            call.uni (q), f, (p0, p1); ld.param.b64 %d1, [q+0]; }}
         ld.param.u64 %d2, [a]; st.global.u64 [%d2], %d1; ret; }}"
    ));
    let places: Vec<(AddressBase, i64)> = module.functions[1]
        .code
        .iter()
        .filter_map(|i| match &i.op {
            Op::Store {
                space: Space::Local,
                address,
                ..
            }
            | Op::Load {
                space: Space::Local,
                address,
                ..
            } => Some((address.base, address.offset)),
            _ => None,
        })
        .collect();
    // x at 0, y at 16, the result at 40: after 36, aligned to 8.
    let callee = AddressBase::CalleeFrame;
    assert_eq!(places, [(callee, 0), (callee, 32), (callee, 40)]);
    let Op::Load { address, .. } = &module.functions[0].code[0].op else {
        panic!()
    };
    assert_eq!(*address, Address::frame(32));
}

#[test]
fn parameters_that_serve_two_calls_are_kept_in_the_frame() {
    let module = module(
        ".func (.param .b32 r) f(.param .b32 x) { st.param.b32 [r], 1; ret; }
         .entry k() { .reg .b32 %r<3>; .param .b32 p; .param .b32 q;
         st.param.b32 [p], 5; call (q), f, (p); call (q), f, (p); ld.param.b32 %r1, [q];
         st.param.b32 [p], %r1; ret; }",
    );
    let kernel = &module.functions[1];
    assert_eq!(kernel.local_bytes, 16);
    let calls = kernel.code.iter().filter(|i| {
        matches!(
            i.op,
            Op::Call {
                callee: Callee::Function(_)
            }
        )
    });
    assert_eq!(calls.count(), 2);
    let into = |base: AddressBase| {
        kernel
            .code
            .iter()
            .filter(move |i| matches!(&i.op, Op::Store { address, .. } if address.base == base))
    };
    // Two stores of p to the frame, two copies of q out; two copies of p into the callee's.
    assert_eq!(into(AddressBase::Frame).count(), 4);
    assert_eq!(into(AddressBase::CalleeFrame).count(), 2);
}

#[test]
fn shared_variables_of_different_kernels_overlap() {
    let module = module(
        ".shared .align 4 .b8 both[100]; .shared .align 16 .b8 first[1000];
         .shared .align 16 .b8 second[2000];
         .func f() { .reg .b32 %r; ld.shared.u32 %r, [both]; st.shared.u32 [both], 1; ret; }
         .entry a() { st.shared.u32 [first], 1; call f; ret; }
         .entry b() { .shared .u32 own; st.shared.u32 [second], 1; st.shared.u32 [own], 1;
                      call f; ret; }
         .entry c() { ret; }",
    );
    let sizes: Vec<u32> = module
        .kernels
        .iter()
        .map(|k| k.static_shared_bytes)
        .collect();
    assert_eq!(sizes, [112 + 1000, 112 + 2000, 0]);
}

#[test]
fn frames_are_as_aligned_as_the_most_aligned_variable() {
    let module = module(
        ".func f() { .local .align 64 .b8 x[8]; .reg .u64 %d; mov.u64 %d, x; st.local.u32 [%d], 1; ret; }
         .entry k() { .local .align 4 .b8 y[4]; st.local.u32 [y], 1; call f; ret; }",
    );
    assert!(
        module.functions.iter().all(|f| f.local_bytes == 64),
        "{module:#?}"
    );
}

#[test]
fn functions_no_kernel_reaches_are_left_out() {
    let module = module(
        ".func unused() { some.unknown.instruction; ret; }
         .func pointed() { ret; } .global .u64 table[1] = { pointed };
         .entry k() { ret; }",
    );
    let names: Vec<&str> = module.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["pointed", "k"]);
}

#[test]
fn modules_link_by_name() {
    let one = format!(
        "{HEAD} .extern .func (.param .b32 r) f(.param .b32 x); .extern .global .u32 v;
         .func hidden() {{ ret; }}
         .visible .entry k() {{ .reg .b32 %r; .param .b32 p; .param .b32 q;
           ld.global.u32 %r, [v]; st.param.b32 [p], %r; call (q), f, (p); call hidden; ret; }}"
    );
    let two = format!(
        "{HEAD} .visible .global .u32 v = 5; .func hidden() {{ trap; }}
         .weak .func (.param .b32 r) f(.param .b32 x) {{ call hidden; st.param.b32 [r], 1; ret; }}"
    );
    let modules = [ptx::parse(&one).unwrap(), ptx::parse(&two).unwrap()];
    let linked = lower(&modules).unwrap();
    assert_eq!((linked.functions.len(), linked.variables.len()), (4, 1));
    assert_eq!(linked.variables[0].initializer, [5, 0, 0, 0]);
    let alone = lower(&modules[..1]).map(|m| m.kernels.len()).unwrap_err();
    assert!(
        alone
            .to_string()
            .contains("v is declared, but no module defines it"),
        "{alone}"
    );
    let again = ptx::parse(&two).unwrap();
    let [one, two] = modules;
    let twice = lower(&[one, two, again])
        .map(|m| m.kernels.len())
        .unwrap_err();
    assert!(
        twice.to_string().contains("v is defined by two modules"),
        "{twice}"
    );
}

#[test]
fn initializers_become_bytes_and_relocations() {
    let module = module(
        ".global .align 4 .u32 a[2][2] = {{1, 2}, {3}}; .global .f32 b = 0f3F800000;
         .const .v2 .s16 c[2] = {{-1, 2}, {3, 4}};
         .global .u64 d[2] = { generic(a) + 4, k2 }; .global .u8 e[] = { 0xff(a), 0xff00(a) };
         .func k2() { ret; } .entry k() { ret; }",
    );
    let bytes: Vec<&[u8]> = module
        .variables
        .iter()
        .map(|v| v.initializer.as_slice())
        .collect();
    assert_eq!(bytes[0], [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
    assert_eq!(module.variables[0].size, 16);
    assert_eq!(bytes[1], 1f32.to_le_bytes());
    assert_eq!(bytes[2], [0xff, 0xff, 2, 0, 3, 0, 4, 0]);
    assert_eq!(module.variables[2].space, Space::Const);
    let relocations = &module.variables[3].relocations;
    assert_eq!(
        (
            relocations[0].offset,
            relocations[0].addend,
            relocations[0].bytes
        ),
        (0, 4, 8)
    );
    let parts: Vec<_> = module.variables[4]
        .relocations
        .iter()
        .map(|r| (r.bytes, r.shift))
        .collect();
    assert_eq!(parts, [(1, 0), (1, 8)]);
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let in_kernel = |text: &str| {
        error(&format!(
            ".entry kernel_name()\n{{\n.reg .b32 %r<9>;\n.reg .f32 %f<9>;\n{text}\nret;\n}}"
        ))
    };
    let message = in_kernel("frobnicate.u32 %r1, %r2;");
    assert_eq!(
        message,
        "Instruction frobnicate.u32: it is not supported in kernel_name at line 8, column 1: \
         `frobnicate.u32 %r1, %r2;`"
    );
    for (text, part) in [
        ("add.weird.u32 %r1, %r2, %r3;", ".weird is not supported"),
        ("add.u32 %r1, %r2;", "2 operands instead of 3"),
        ("add.u64 %r1, %r2, %r3;", "declared as B32"),
        ("add.u32 %r1, %r2, %r77;", "%r77 is not declared"),
        ("add.f32 %f1, %f2, 1;", "integer literal"),
        ("div.f32 %f1, %f2, %f3;", "rounding mode"),
        ("cvt.s32.f32 %r1, %f1;", "no such rounding"),
        ("setp.ltu.s32 %p1, %r1, %r2;", "no such comparison"),
        ("bra nowhere;", "nowhere is no label"),
        ("call nobody;", "nobody is no function"),
        ("@%r1 ret;", "%r1 is no predicate"),
        ("ld.global.u32 %r1, [nothing];", "nothing is not declared"),
        ("atom.global.add.f64 %r1, [%r2], %r3;", "declared as B32"),
        (
            "tex.2d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [t, {%f5, %f6}];",
            "t is not declared",
        ),
        (
            "tex.2dms.v4.f32.s32 {%f1, %f2, %f3, %f4}, [t, {%r1, %r2, %r3, %r3}];",
            "no geometry that is supported",
        ),
    ] {
        let message = in_kernel(text);
        assert!(message.contains(part), "{text}: {message}");
        assert!(
            message.contains("kernel_name") && message.contains("line 8"),
            "{message}"
        );
    }
}
