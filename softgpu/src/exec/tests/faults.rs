// SPDX-License-Identifier: Apache-2.0
//! Faults name what happened and where; printing and assertions.

use super::*;
use crate::exec::Access;

fn write_at(offset: i64) -> TestKernel {
    let mut code = prologue();
    code.push(store(
        Space::Global,
        MemType::U32,
        Address::new(rd(0), offset),
        r(0),
    ));
    TestKernel::ops(code)
}

#[test]
fn memory_that_was_never_allocated() {
    let device = Device::new();
    let fault = device.run(write_at(0), 1, 64, &[0x1000]).unwrap_err();
    let Fault::IllegalAddress {
        address: 0x1000,
        bytes: 4,
        access: Access::Write,
        location,
        ..
    } = &fault
    else {
        panic!("{fault}")
    };
    assert_eq!((location.line, location.thread), (4, [0; 3]));
    assert!(
        fault
            .to_string()
            .contains("kernel k, block [0,0,0], thread [0,0,0], PTX line 4")
    );
}

#[test]
fn the_first_lane_past_the_end_is_named() {
    let device = Device::new();
    let out = device.words(128);
    let fault = device.run(write_at(0), 1, 200, &[out]).unwrap_err();
    let Fault::IllegalAddress { location, .. } = fault else {
        panic!("{fault}")
    };
    assert_eq!(location.thread, [128, 0, 0]);
}

#[test]
fn freed_memory() {
    let device = Device::new();
    let out = device.words(64);
    device.run(write_at(0), 1, 64, &[out]).unwrap();
    device.memory.free(out).unwrap();
    assert!(matches!(
        device.run(write_at(0), 1, 64, &[out]).unwrap_err(),
        Fault::IllegalAddress { .. }
    ));
}

#[test]
fn misaligned_accesses() {
    let device = Device::new();
    let out = device.words(64);
    let fault = device.run(write_at(2), 1, 32, &[out]).unwrap_err();
    assert!(matches!(fault, Fault::MisalignedAddress { .. }), "{fault}");
    let mut code = prologue();
    code.push(load(
        Space::Shared,
        MemType::U32,
        r(1),
        Address::new(r(0), 0),
    ));
    let kernel = TestKernel {
        shared_bytes: 64,
        ..TestKernel::ops(code)
    };
    let fault = device.run(kernel, 1, 32, &[out]).unwrap_err();
    let Fault::MisalignedAddress { location, .. } = fault else {
        panic!("{fault}")
    };
    assert_eq!(location.thread, [1, 0, 0]);
}

#[test]
fn shared_local_and_param_memory_end() {
    let device = Device::new();
    let cases = [
        load(Space::Shared, MemType::U32, r(1), Address::absolute(64)),
        load(Space::Shared, MemType::B64, rd(1), Address::absolute(-8)),
        load(Space::Local, MemType::U32, r(1), Address::absolute(1 << 20)),
        load(Space::Param, MemType::U32, r(1), Address::absolute(8)),
        load(
            Space::Generic,
            MemType::U32,
            r(1),
            Address::absolute(0x0200_0000_1000_0000),
        ),
        store(Space::Param, MemType::U32, Address::absolute(0), imm(1)),
    ];
    for op in cases {
        let kernel = TestKernel {
            shared_bytes: 64,
            ..TestKernel::ops(vec![op.clone()])
        };
        let fault = device.run(kernel, 1, 32, &[0]).unwrap_err();
        assert!(
            matches!(fault, Fault::IllegalAddress { .. }),
            "{op:?}: {fault}"
        );
    }
}

#[test]
fn atomics_on_local_memory() {
    let op = Op::Atomic {
        space: Space::Generic,
        op: AtomicOp::Add,
        ty: AtomicType::U32,
        order: MemoryOrder::Relaxed,
        dst: None,
        address: Address::absolute(0x0200_0000_0000_0000),
        a: imm(1),
        b: None,
    };
    let fault = Device::new()
        .run(TestKernel::ops(vec![op]), 1, 32, &[])
        .unwrap_err();
    assert!(
        matches!(fault, Fault::InvalidAddressSpace { .. }),
        "{fault}"
    );
}

#[test]
fn traps_name_their_lane() {
    let code = vec![
        tid(r(0)).into(),
        compare(CompareOp::Eq, U32, p(0), r(0), imm(37)).into(),
        when(p(0), Op::Trap),
    ];
    let fault = Device::new()
        .run(TestKernel::new(code), 3, 64, &[])
        .unwrap_err();
    let Fault::Trap { location } = fault else {
        panic!("{fault}")
    };
    assert_eq!((location.thread, location.line), ([37, 0, 0], 3));
}

#[test]
fn unknown_instructions_fault_only_when_executed() {
    let unknown = Op::Unsupported {
        text: "tex.2d".into(),
    };
    let skipped = TestKernel::ops(vec![Op::Exit, unknown.clone()]);
    Device::new().run(skipped, 1, 32, &[]).unwrap();
    let fault = Device::new()
        .run(TestKernel::ops(vec![unknown]), 1, 32, &[])
        .unwrap_err();
    let Fault::IllegalInstruction { text, .. } = fault else {
        panic!("{fault}")
    };
    assert_eq!(text, "tex.2d");
}

#[test]
fn bad_operands_fault_instead_of_running_wild() {
    let cases = [
        unary(UnaryOp::Move(Width::B32), r(99), imm(1)),
        unary(UnaryOp::Move(Width::B64), r(1), imm(1)),
        binary(BinaryOp::Add(IntType::U64), rd(1), r(1), imm(1)),
        compare(CompareOp::Eq, U32, p(16), r(0), imm(1)),
        jump(1000),
        load(Space::Global, MemType::B64, r(1), Address::absolute(0)),
        Op::Call {
            callee: Callee::Indirect(Src::Variable(VariableId(7), 0)),
        },
    ];
    for op in cases {
        let fault = Device::new()
            .run(TestKernel::ops(vec![op]), 1, 32, &[])
            .unwrap_err();
        assert!(matches!(fault, Fault::IllegalInstruction { .. }), "{fault}");
    }
}

#[test]
fn waiting_for_threads_that_are_gone_is_a_deadlock() {
    // Warp 1 waits at barrier 1 for 96 threads, of which there are only 64.
    let op = Op::Barrier {
        id: imm(1),
        count: Some(imm(96)),
        kind: BarrierKind::Sync,
    };
    let fault = Device::new()
        .run(TestKernel::ops(vec![op]), 1, 64, &[])
        .unwrap_err();
    let Fault::Deadlock { location, reason } = fault else {
        panic!("{fault}")
    };
    assert_eq!(location.line, 1);
    assert!(reason.contains("barrier 1"));
}

#[test]
fn shapes_are_checked() {
    let device = Device::new();
    let kernel = || TestKernel::ops(vec![Op::Exit]).module();
    for (blocks, threads) in [(0, 1), (1, 0), (1, 1025)] {
        let result = device.run_module(kernel(), config(blocks, threads), &[]);
        assert!(matches!(result, Err(Fault::Configuration { .. })));
    }
    let big = LaunchConfig {
        dynamic_shared_bytes: 228 << 10,
        ..config(1, 1)
    };
    assert!(device.run_module(kernel(), big, &[]).is_err());
    let statistics = device
        .run_module(kernel(), config(70_000, 33), &[])
        .unwrap();
    assert_eq!(statistics.blocks, 70_000);
    assert_eq!(statistics.lane_instructions, 70_000 * 33);
}

fn string(name: &str, text: &str) -> Variable {
    let mut initializer = text.as_bytes().to_vec();
    initializer.push(0);
    Variable {
        name: name.into(),
        space: Space::Global,
        size: initializer.len() as u64,
        alignment: 1,
        initializer,
        relocations: Vec::new(),
        visible: false,
        managed: false,
    }
}

fn text(index: u32) -> Src {
    Src::Variable(VariableId(index), 0)
}

#[test]
fn threads_print_in_order() {
    let code = vec![
        tid(r(0)),
        Op::Convert {
            to: ScalarType::Float(FloatType::F64),
            from: U32,
            dst: rd(1),
            a: r(0).into(),
            rounding: Rounding::NearestEven,
            integral: false,
            flush: false,
            saturate: false,
            relu: false,
        },
        store(Space::Local, MemType::U32, Address::frame(0), r(0)),
        store(Space::Local, MemType::B64, Address::frame(8), rd(1)),
        store(Space::Local, MemType::B64, Address::frame(16), text(1)),
        Op::FrameAddress {
            dst: rd(2),
            address: Address::frame(0),
        },
        Op::ConvertAddress {
            space: Space::Local,
            to_generic: true,
            dst: rd(2),
            a: rd(2).into(),
        },
        store(Space::Local, MemType::B64, Address::callee(0), text(0)),
        store(Space::Local, MemType::B64, Address::callee(8), rd(2)),
        Op::Call {
            callee: Callee::Builtin(Builtin::Printf),
        },
        load(Space::Local, MemType::U32, r(1), Address::callee(16)),
        compare(CompareOp::Ne, U32, p(0), r(1), imm(3)),
    ];
    let mut code: Vec<Instruction> = code.into_iter().map(Instruction::from).collect();
    code.push(when(p(0), Op::Trap));
    let device = Device::new();
    let kernel = TestKernel {
        local_bytes: 24,
        variables: vec![string("format", "%d: %.1f %s\n"), string("word", "hello")],
        ..TestKernel::new(code)
    };
    device.run(kernel, 1, 3, &[]).unwrap();
    assert_eq!(
        device.printed.text(),
        "0: 0.0 hello\n1: 1.0 hello\n2: 2.0 hello\n"
    );
}

#[test]
fn assertions_print_like_cuda_and_stop() {
    let code = vec![
        store(Space::Local, MemType::B64, Address::callee(0), text(0)),
        store(Space::Local, MemType::B64, Address::callee(8), text(1)),
        store(Space::Local, MemType::U32, Address::callee(16), imm(12)),
        store(Space::Local, MemType::B64, Address::callee(24), text(2)),
        Op::Call {
            callee: Callee::Builtin(Builtin::AssertFail),
        },
    ];
    let device = Device::new();
    let kernel = TestKernel {
        variables: vec![
            string("m", "x > 0"),
            string("f", "a.cu"),
            string("g", "void f(int)"),
        ],
        ..TestKernel::ops(code)
    };
    let fault = device.run(kernel, 1, 1, &[]).unwrap_err();
    let line = "a.cu:12: void f(int): block: [0,0,0], thread: [0,0,0] Assertion `x > 0` failed.";
    assert_eq!(device.printed.errors(), format!("{line}\n"));
    let Fault::Assert { message, .. } = fault else {
        panic!("{fault}")
    };
    assert_eq!(message, line);
}

#[test]
fn kernels_allocate_and_free() {
    let mut code = prologue();
    code.extend([
        store(Space::Local, MemType::B64, Address::callee(0), imm(64)),
        Op::Call {
            callee: Callee::Builtin(Builtin::Malloc),
        },
        load(Space::Local, MemType::B64, rd(2), Address::callee(8)),
        store(Space::Global, MemType::U32, Address::new(rd(2), 60), r(0)),
        load(Space::Global, MemType::U32, r(1), Address::new(rd(2), 60)),
        store(Space::Local, MemType::B64, Address::callee(0), rd(2)),
        Op::Call {
            callee: Callee::Builtin(Builtin::Free),
        },
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(40);
    let before = device.memory.info();
    device.run(TestKernel::ops(code), 1, 40, &[out]).unwrap();
    assert_eq!(device.read(out, 40), (0..40).collect::<Vec<_>>());
    assert_eq!(device.memory.info(), before);
}
