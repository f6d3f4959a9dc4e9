// SPDX-License-Identifier: Apache-2.0
use super::*;

fn body(text: &str) -> String {
    format!(".version 8.0\n.target sm_80\n.address_size 64\n.entry k()\n{{\n{text}\n}}\n")
}

/// The only instruction of a kernel with this body, and its operands.
fn instruction<R>(text: &str, look: impl FnOnce(&Instruction<'_>, &[Operand<'_>]) -> R) -> R {
    let source = body(text);
    let module = parse(&source).unwrap();
    let Item::Function(function) = &module.items[0] else {
        panic!("no function")
    };
    let found = function
        .body
        .as_ref()
        .unwrap()
        .iter()
        .find_map(|statement| match statement {
            Statement::Instruction(instruction) => Some(instruction),
            _ => None,
        });
    let instruction = found.unwrap();
    look(instruction, instruction.operands.of(&function.operands))
}

fn immediate(text: &str) -> Immediate {
    instruction(
        &format!("mov.b64 d, {text};"),
        |_, operands| match operands[1] {
            Operand::Immediate(value) => value,
            other => panic!("{other:?}"),
        },
    )
}

fn error(text: &str) -> ParseError {
    parse(text).map(|module| module.items.len()).unwrap_err()
}

#[test]
fn literals_have_the_values_of_the_ptx_manual() {
    assert_eq!(immediate("42"), Immediate::Int(42));
    assert_eq!(immediate("42U"), Immediate::Int(42));
    assert_eq!(immediate("0x2aU"), Immediate::Int(42));
    assert_eq!(immediate("052"), Immediate::Int(42));
    assert_eq!(immediate("0b101010"), Immediate::Int(42));
    assert_eq!(immediate("-42"), Immediate::Int(-42));
    assert_eq!(immediate("0"), Immediate::Int(0));
    assert_eq!(immediate("0xFFFFFFFFFFFFFFFF"), Immediate::Int(-1));
    assert_eq!(immediate("-9223372036854775808"), Immediate::Int(i64::MIN));
    assert_eq!(immediate("0f3F800000"), Immediate::F32(1.0));
    assert_eq!(immediate("0d3FF0000000000000"), Immediate::F64(1.0));
    assert_eq!(immediate("1.5"), Immediate::F64(1.5));
    assert_eq!(immediate("-1.5e-3"), Immediate::F64(-1.5e-3));
    assert_eq!(immediate(".5"), Immediate::F64(0.5));
    assert_eq!(immediate("5.E+2"), Immediate::F64(500.0));
    assert_eq!(immediate("WARP_SZ"), Immediate::Int(32));
}

#[test]
fn constant_expressions_follow_c() {
    assert_eq!(immediate("1+2*3"), Immediate::Int(7));
    assert_eq!(immediate("(1+2)*3"), Immediate::Int(9));
    assert_eq!(immediate("10-2-3"), Immediate::Int(5));
    assert_eq!(immediate("1<<4|1"), Immediate::Int(17));
    assert_eq!(immediate("~0 & 0xff"), Immediate::Int(255));
    assert_eq!(immediate("7 % 4 == 3 && 2 > 1 ? 5 : 6"), Immediate::Int(5));
    assert_eq!(immediate("!5"), Immediate::Int(0));
    assert!(error(&body("mov.b64 d, 1/0;")).message.contains("division"));
}

#[test]
fn operands_of_every_form() {
    instruction(
        "@!%p1 ld.global.v2.f32 {%f1, _}, [%rd1+-8];",
        |i, operands| {
            assert_eq!(
                i.predicate,
                Some(Predicate {
                    name: "%p1",
                    negated: true
                })
            );
            assert_eq!(i.parts().collect::<Vec<_>>(), ["ld", "global", "v2", "f32"]);
            assert!(matches!(operands[0], Operand::Vector(range) if range.len == 2));
            let Operand::Address(address) = operands[1] else {
                panic!("{operands:?}")
            };
            assert_eq!(
                (address.base, address.displacement),
                (AddressBase::Symbol("%rd1"), -8)
            );
        },
    );
    instruction("setp.lt.and.s32 %p|%q, %a, 5, !%r;", |_, operands| {
        assert!(matches!(operands[0], Operand::Pair(range) if range.len == 2));
        assert_eq!(operands[3], Operand::Negated("%r"));
    });
    instruction("call.uni (ret0), f, (a, 3, b), proto;", |_, operands| {
        let list = |len| move |o: &Operand<'_>| matches!(o, Operand::List(r) if r.len == len);
        assert!(list(1)(&operands[0]) && list(3)(&operands[2]));
        assert_eq!(
            operands[1],
            Operand::Symbol {
                name: "f",
                addend: 0
            }
        );
        assert_eq!(
            operands[3],
            Operand::Symbol {
                name: "proto",
                addend: 0
            }
        );
    });
    instruction("mov.u64 %rd1, symbol+16;", |_, operands| {
        assert_eq!(
            operands[1],
            Operand::Symbol {
                name: "symbol",
                addend: 16
            }
        );
    });
    instruction("mov.u32 %r1, %tid.x;", |_, operands| {
        assert_eq!(
            operands[1],
            Operand::Symbol {
                name: "%tid.x",
                addend: 0
            }
        );
    });
    instruction(
        "ld.global.L1::no_allocate.L2::128B.u32 %r1, [16];",
        |i, operands| {
            assert_eq!(i.parts().nth(2), Some("L1::no_allocate"));
            assert!(matches!(operands[1], Operand::Address(a) if a.base == AddressBase::Absolute));
        },
    );
    instruction("ld.global .f32 %f1, [a];", |i, _| {
        assert_eq!(i.parts().last(), Some("f32"));
    });
}

#[test]
fn declarations_of_every_form() {
    let source = "
        .version 7.8
        .target sm_75, debug
        .address_size 64
        .file 1 \"a \\\" b.cu\", 1, 2
        .visible .global .attribute(.managed) .align 8 .v2 .f32 a[4][2];
        .const .u64 b[2] = { generic(a) + 8, 0 }, c = 0xffU;
        .global .u8 bytes[] = {0xff(b), 0xff00(b+4), -1};
        .extern .shared .align 16 .b8 dynamic[];
        .func (.param .align 4 .b8 r[12]) f (.param .b32 x, .param .f64 y) .noreturn;
        .visible .entry k (.param .u64 .ptr .global .align 16 p)
        .maxntid 16, 16 .minnctapersm 2 .pragma \"nounroll\";
        {
            .reg .pred %p<3>; .reg .b32 x, y<5>;
            .loc 1 5 3, function_name $info+8, inlined_at 1 2 3
            $L: bra.uni $L;
            t: .branchtargets $L, $L;
            pr: .callprototype (.param .b32 _) _ (.param .b64 _) .noreturn;
            { .shared .u32 s; }
        }
        .section .debug_str { $s: .b8 95, 0 }
        .alias g, f;";
    let module = parse(source).unwrap();
    assert_eq!((module.version, module.address_size), ((7, 8), 64));
    assert_eq!(module.target, ["sm_75", "debug"]);
    let [
        Item::Variable(a),
        Item::Variable(b),
        Item::Variable(c),
        Item::Variable(bytes),
        Item::Variable(dynamic),
        Item::Function(f),
        Item::Function(k),
        Item::Alias {
            name: "g",
            aliasee: "f",
            ..
        },
    ] = module.items.as_slice()
    else {
        panic!("{:?}", module.items)
    };
    assert!(a.managed && a.linkage == Linkage::Visible && a.vector == 2);
    assert_eq!((a.size_bytes(), a.alignment_bytes()), (Some(64), 8));
    assert!(matches!(
        b.initializer.as_ref().unwrap(),
        Initializer::List(list)
            if matches!(list[0], Initializer::Symbol { generic: true, addend: 8, .. })
    ));
    assert!(matches!(
        c.initializer,
        Some(Initializer::Immediate(Immediate::Int(255)))
    ));
    assert_eq!(bytes.size_bytes(), Some(3));
    assert!(matches!(
        bytes.initializer.as_ref().unwrap(),
        Initializer::List(list)
            if matches!(list[1], Initializer::Symbol { mask: Some(0xff00), addend: 4, .. })
    ));
    assert_eq!(
        (dynamic.size_bytes(), dynamic.linkage),
        (Some(0), Linkage::Extern)
    );
    assert!(f.no_return && f.body.is_none() && f.returns[0].size_bytes() == Some(12));
    assert_eq!(k.performance.max_threads, [16, 16, 1]);
    assert_eq!(k.performance.min_blocks_per_sm, 2);
    assert_eq!(k.body.as_ref().unwrap().len(), 10);
}

#[test]
fn errors_name_line_column_and_text() {
    let error = error(&body("    add.s32 %r1, ;"));
    assert_eq!(
        (error.position.line, error.position.column),
        (6, 18),
        "{error}"
    );
    assert_eq!(error.position.text, "add.s32 %r1, ;");
    assert!(
        error
            .to_string()
            .contains("line 6, column 18: `add.s32 %r1, ;`"),
        "{error}"
    );
}

#[test]
fn broken_texts_are_errors() {
    for text in [
        ".version",
        ".version eight",
        "hello",
        ".global .u32 a = ",
        ".global .u32 a[-1];",
        ".global .align 3 .u32 a;",
        ".global .u32 .u32 a;",
        ".entry k() { add.s32 a, b, c",
        ".entry k() { /* ",
        ".entry k() { ld.u32 a, [b; }",
        ".section .debug { ",
        ".file 1 \"abc",
        ".entry k() .unknown 5 { ret; }",
        ".param .u32 x;",
        "\u{1}",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    let deep = format!(
        ".global .u32 a = {}1{};",
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    assert!(error(&deep).message.contains("nested"));
    let deep = format!(".global .u32 a = {}1;", "-".repeat(100_000));
    assert!(error(&deep).message.contains("nested"));
    let deep = body(&format!(
        "mov.u32 a, {}1{};",
        "{".repeat(100_000),
        "}".repeat(100_000)
    ));
    assert!(error(&deep).message.contains("nested"));
}
