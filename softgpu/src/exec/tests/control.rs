// SPDX-License-Identifier: Apache-2.0
//! Divergence, calls, barriers, waiting.

use super::*;

#[test]
fn diverged_lanes_meet_again() {
    // odd lanes: r1 = 100 + tid; even lanes: r1 = 200 + tid; then r1 *= 2, r2 = active lanes.
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        binary(BinaryOp::And(Width::B32), r(3), r(0), imm(1)).into(),
        compare(CompareOp::Eq, U32, p(0), r(3), imm(1)).into(),
        when(p(0), jump(8)),
        binary(BinaryOp::Add(IntType::U32), r(1), r(0), imm(200)).into(),
        jump(9).into(),
        binary(BinaryOp::Add(IntType::U32), r(1), r(0), imm(100)).into(),
        binary(BinaryOp::Shl(Width::B32), r(1), r(1), imm(1)).into(),
        Op::ActiveMask { dst: r(2) }.into(),
        unary(UnaryOp::PopulationCount(Width::B32), r(2), r(2)).into(),
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(2)).into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(100);
    device.run(TestKernel::new(code), 1, 100, &[out]).unwrap();
    for (lane, value) in device.read(out, 100).into_iter().enumerate() {
        let lane = lane as u32;
        let active = if lane < 96 { 32 } else { 4 };
        let base = if lane % 2 == 1 {
            100 + lane
        } else {
            200 + lane
        };
        assert_eq!(value, base * 2 + active, "lane {lane}");
    }
}

#[test]
fn loops_of_different_length_reconverge() {
    // r1 = sum of 0..tid, one addition an iteration.
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        unary(UnaryOp::Move(Width::B32), r(1), imm(0)).into(),
        unary(UnaryOp::Move(Width::B32), r(2), imm(0)).into(),
        // 5:
        compare(CompareOp::Ge, U32, p(0), r(2), r(0)).into(),
        when(p(0), jump(10)),
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(2)).into(),
        binary(BinaryOp::Add(IntType::U32), r(2), r(2), imm(1)).into(),
        jump(5).into(),
        // 10:
        Op::ActiveMask { dst: r(3) }.into(),
        compare(CompareOp::Ne, U32, p(1), r(3), imm(0xffff_ffff)).into(),
        when(p(1), Op::Trap),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(64);
    device.run(TestKernel::new(code), 1, 64, &[out]).unwrap();
    let expected: Vec<u32> = (0..64_u32).map(|n| n * n.saturating_sub(1) / 2).collect();
    assert_eq!(device.read(out, 64), expected);
}

/// r1 = factorial-like recursion through local memory: f(n) = n == 0 ? 1 : n * f(n - 1).
fn recursive() -> Function {
    let n = Address::frame(0);
    let code = vec![
        load(Space::Local, MemType::U32, r(0), n).into(),
        compare(CompareOp::Eq, U32, p(0), r(0), imm(0)).into(),
        when(p(0), jump(9)),
        binary(BinaryOp::Sub(IntType::U32), r(1), r(0), imm(1)).into(),
        store(Space::Local, MemType::U32, Address::callee(0), r(1)).into(),
        Op::Call {
            callee: Callee::Function(FunctionId(1)),
        }
        .into(),
        load(Space::Local, MemType::U32, r(1), Address::callee(4)).into(),
        binary(BinaryOp::MulLow(IntType::U32), r(1), r(1), r(0)).into(),
        jump(10).into(),
        unary(UnaryOp::Move(Width::B32), r(1), imm(1)).into(),
        store(Space::Local, MemType::U32, Address::frame(4), r(1)).into(),
        Op::Return.into(),
    ];
    function("f", code, 8)
}

#[test]
fn recursion_of_different_depth_a_lane() {
    let mut code = prologue();
    code.extend([
        binary(BinaryOp::And(Width::B32), r(3), r(0), imm(7)),
        store(Space::Local, MemType::U32, Address::callee(0), r(3)),
        Op::Call {
            callee: Callee::Function(FunctionId(1)),
        },
        load(Space::Local, MemType::U32, r(1), Address::callee(4)),
        // Registers of the caller survive.
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(3)),
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(70);
    let kernel = TestKernel {
        others: vec![recursive()],
        ..TestKernel::ops(code)
    };
    device.run(kernel, 2, 70, &[out]).unwrap();
    let factorial = |n: u32| (1..=n).product::<u32>();
    for (lane, value) in device.read(out, 70).into_iter().enumerate() {
        let n = lane as u32 & 7;
        assert_eq!(value, factorial(n) + n);
    }
}

#[test]
fn endless_recursion_overflows_the_stack() {
    let forever = vec![
        Op::Call {
            callee: Callee::Function(FunctionId(1)),
        }
        .into(),
    ];
    let kernel = TestKernel {
        others: vec![function("f", forever, 64)],
        ..TestKernel::ops(vec![Op::Call {
            callee: Callee::Function(FunctionId(1)),
        }])
    };
    let fault = Device::new().run(kernel, 1, 32, &[]).unwrap_err();
    let Fault::StackOverflow { location } = fault else {
        panic!("{fault}")
    };
    assert_eq!((location.function.as_str(), location.line), ("f", 1));
}

#[test]
fn recursion_ends_where_the_stack_does() {
    let device = Device::new();
    let outcome = |depth: u32, stack_bytes| {
        let mut code = prologue();
        code.extend([
            store(
                Space::Local,
                MemType::U32,
                Address::callee(0),
                imm(depth.into()),
            ),
            Op::Call {
                callee: Callee::Function(FunctionId(1)),
            },
        ]);
        let kernel = TestKernel {
            others: vec![recursive()],
            ..TestKernel::ops(code)
        };
        let loaded = LoadedModule::instantiate(kernel.module(), &device.memory).unwrap();
        let options = LaunchOptions {
            stack_bytes,
            ..LaunchOptions::new(&device.printed)
        };
        let config = LaunchConfig {
            grid: [1; 3],
            block: [32, 1, 1],
            ..LaunchConfig::default()
        };
        let parameters = device.words(32).to_le_bytes();
        launch(
            &loaded,
            loaded.kernel("k").unwrap(),
            &config,
            &parameters,
            &options,
        )
    };
    // An activation takes 8 bytes for its variables, and 8 for the return address if it calls.
    assert!(outcome(62, 1000).is_ok());
    assert!(matches!(
        outcome(63, 1000),
        Err(Fault::StackOverflow { .. })
    ));
    assert!(outcome(63, 1024).is_ok());
    // What each function needs once is there whatever the limit is.
    assert!(outcome(0, 0).is_ok());
    assert!(matches!(outcome(2, 0), Err(Fault::StackOverflow { .. })));
}

#[test]
fn function_pointers_may_differ_from_lane_to_lane() {
    let constant = |value| {
        let store = store(Space::Local, MemType::U32, Address::frame(0), imm(value));
        function("c", vec![store.into(), Op::Return.into()], 4)
    };
    let table = Variable {
        name: "table".into(),
        space: Space::Global,
        size: 16,
        alignment: 8,
        initializer: Vec::new(),
        relocations: (0..2)
            .map(|n| Relocation {
                offset: n * 8,
                bytes: 8,
                shift: 0,
                target: Symbol::Function(FunctionId(1 + n as u32)),
                addend: 0,
            })
            .collect(),
        visible: true,
        managed: false,
    };
    let mut code = prologue();
    code.extend([
        binary(BinaryOp::And(Width::B32), r(3), r(0), imm(1)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(2),
            r(3).into(),
            imm(8),
            Src::Variable(VariableId(0), 0),
        ),
        load(Space::Global, MemType::B64, rd(2), Address::new(rd(2), 0)),
        Op::Call {
            callee: Callee::Indirect(rd(2).into()),
        },
        load(Space::Local, MemType::U32, r(1), Address::callee(0)),
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(64);
    let kernel = TestKernel {
        others: vec![constant(11), constant(22)],
        variables: vec![table],
        ..TestKernel::ops(code)
    };
    device.run(kernel, 1, 64, &[out]).unwrap();
    let expected: Vec<u32> = (0..64)
        .map(|lane| if lane % 2 == 0 { 11 } else { 22 })
        .collect();
    assert_eq!(device.read(out, 64), expected);
}

#[test]
fn a_wild_function_pointer_is_a_fault() {
    let kernel = TestKernel::ops(vec![Op::Call {
        callee: Callee::Indirect(imm(0x1234)),
    }]);
    let fault = Device::new().run(kernel, 1, 1, &[]).unwrap_err();
    assert!(matches!(fault, Fault::InvalidTarget { target: 0x1234, .. }));
}

#[test]
fn indexed_branches() {
    let mut code = prologue();
    code.extend([
        binary(BinaryOp::And(Width::B32), r(2), r(0), imm(3)),
        Op::BranchIndexed {
            index: r(2).into(),
            targets: vec![5, 7, 9, 11].into(),
        },
        unary(UnaryOp::Move(Width::B32), r(1), imm(10)),
        jump(12),
        unary(UnaryOp::Move(Width::B32), r(1), imm(11)),
        jump(12),
        unary(UnaryOp::Move(Width::B32), r(1), imm(12)),
        jump(12),
        unary(UnaryOp::Move(Width::B32), r(1), imm(13)),
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(32);
    device.run(TestKernel::ops(code), 1, 32, &[out]).unwrap();
    assert_eq!(
        device.read(out, 32),
        (0..32).map(|n| 10 + n % 4).collect::<Vec<_>>()
    );
}

fn barrier(kind: BarrierKind) -> Op {
    Op::Barrier {
        id: imm(0),
        count: None,
        kind,
    }
}

#[test]
fn barriers_order_shared_memory() {
    // shared[tid] = tid; barrier; r1 = shared[255 - tid]; half of the block arrives by another
    // branch.
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        binary(BinaryOp::Shl(Width::B32), r(2), r(0), imm(2)).into(),
        compare(CompareOp::Lt, U32, p(0), r(0), imm(100)).into(),
        store(Space::Shared, MemType::U32, Address::new(r(2), 0), r(0)).into(),
        when(p(0), jump(9)),
        barrier(BarrierKind::Sync).into(),
        jump(10).into(),
        barrier(BarrierKind::Sync).into(),
        binary(BinaryOp::Sub(IntType::U32), r(2), imm(1020), r(2)).into(),
        load(Space::Shared, MemType::U32, r(1), Address::new(r(2), 0)).into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(256);
    let kernel = TestKernel {
        shared_bytes: 1024,
        ..TestKernel::new(code)
    };
    device.run(kernel, 1, 256, &[out]).unwrap();
    assert_eq!(device.read(out, 256), (0..256).rev().collect::<Vec<_>>());
}

#[test]
fn barrier_reductions() {
    let mut code = prologue();
    code.extend([
        compare(CompareOp::Lt, U32, p(0), r(0), imm(37)),
        barrier(BarrierKind::ReducePopulation {
            dst: r(1),
            src: p(0).into(),
        }),
        barrier(BarrierKind::ReduceAnd {
            dst: p(1),
            src: p(0).into(),
        }),
        barrier(BarrierKind::ReduceOr {
            dst: p(2),
            src: p(0).into(),
        }),
        Op::Select {
            width: Width::B32,
            dst: r(2),
            a: imm(1000),
            b: imm(0),
            pred: p(1).into(),
        },
        Op::Select {
            width: Width::B32,
            dst: r(3),
            a: imm(2000),
            b: imm(0),
            pred: p(2).into(),
        },
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(2)),
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(3)),
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(80);
    device.run(TestKernel::ops(code), 1, 80, &[out]).unwrap();
    assert_eq!(device.read(out, 80), vec![2037; 80]);
}

#[test]
fn named_barriers_with_counts_pass_data_from_warp_to_warp() {
    // Warp 0: shared[lane] = lane + 1, arrive at 1. Warp 1: wait at 1, read.
    let pair = |kind| Op::Barrier {
        id: imm(1),
        count: Some(imm(64)),
        kind,
    };
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        special(r(5), SpecialRegister::LaneId).into(),
        binary(BinaryOp::Shl(Width::B32), r(2), r(5), imm(2)).into(),
        compare(CompareOp::Lt, U32, p(0), r(0), imm(32)).into(),
        when(p(0), jump(10)),
        pair(BarrierKind::Sync).into(),
        load(Space::Shared, MemType::U32, r(1), Address::new(r(2), 0)).into(),
        jump(13).into(),
        binary(BinaryOp::Add(IntType::U32), r(1), r(5), imm(1)).into(),
        store(Space::Shared, MemType::U32, Address::new(r(2), 0), r(1)).into(),
        pair(BarrierKind::Arrive).into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(64);
    let kernel = TestKernel {
        shared_bytes: 128,
        ..TestKernel::new(code)
    };
    device.run(kernel, 1, 64, &[out]).unwrap();
    let expected: Vec<u32> = (0..64).map(|lane| lane % 32 + 1).collect();
    assert_eq!(device.read(out, 64), expected);
}

#[test]
fn exited_threads_do_not_hold_up_a_barrier() {
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        compare(CompareOp::Ge, U32, p(0), r(0), imm(50)).into(),
        when(p(0), Op::Exit),
        barrier(BarrierKind::Sync).into(),
        unary(UnaryOp::Move(Width::B32), r(1), imm(7)).into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(64);
    device.run(TestKernel::new(code), 1, 64, &[out]).unwrap();
    let expected: Vec<u32> = (0..64).map(|lane| if lane < 50 { 7 } else { 0 }).collect();
    assert_eq!(device.read(out, 64), expected);
}

/// Spin lock: every thread of every block adds to an unprotected counter under the lock.
#[test]
fn a_spin_lock_hands_over_between_lanes_and_blocks() {
    let atomic = |op, a, b| Op::Atomic {
        space: Space::Global,
        op,
        ty: AtomicType::U32,
        order: MemoryOrder::Relaxed,
        dst: Some(r(2)),
        address: Address::new(rd(1), 0),
        a,
        b,
    };
    let code: Vec<Instruction> = vec![
        load(Space::Param, MemType::B64, rd(1), Address::absolute(0)).into(),
        // 1: try to take the lock.
        atomic(AtomicOp::CompareAndSwap, imm(0), Some(imm(1))).into(),
        compare(CompareOp::Ne, U32, p(0), r(2), imm(0)).into(),
        when(p(0), jump(1)),
        load(Space::Global, MemType::U32, r(3), Address::new(rd(1), 4)).into(),
        binary(BinaryOp::Add(IntType::U32), r(3), r(3), imm(1)).into(),
        store(Space::Global, MemType::U32, Address::new(rd(1), 4), r(3)).into(),
        Op::Fence.into(),
        atomic(AtomicOp::Exchange, imm(0), None).into(),
        Op::Exit.into(),
    ];
    let device = Device::new();
    let words = device.words(2);
    device.run(TestKernel::new(code), 4, 64, &[words]).unwrap();
    assert_eq!(device.read(words, 2), [0, 256]);
}

/// Every block waits until all blocks have arrived.
fn grid_barrier() -> Vec<Instruction> {
    vec![
        load(Space::Param, MemType::B64, rd(1), Address::absolute(0)).into(),
        special(r(4), SpecialRegister::GridDimension(0)).into(),
        tid(r(0)).into(),
        compare(CompareOp::Ne, U32, p(0), r(0), imm(0)).into(),
        when(p(0), jump(8)),
        Op::Atomic {
            space: Space::Global,
            op: AtomicOp::Add,
            ty: AtomicType::U32,
            order: MemoryOrder::Release,
            dst: None,
            address: Address::new(rd(1), 0),
            a: imm(1),
            b: None,
        }
        .into(),
        // 6: spin.
        Op::Load {
            space: Space::Global,
            ty: MemType::U32,
            order: MemoryOrder::Acquire,
            dst: vec![Some(r(2))],
            address: Address::new(rd(1), 0),
        }
        .into(),
        // 7: falls through to 8 when done.
        jump(9).into(),
        jump(11).into(),
        compare(CompareOp::Lt, U32, p(1), r(2), r(4)).into(),
        when(p(1), jump(6)),
        barrier(BarrierKind::Sync).into(),
        Op::Exit.into(),
    ]
}

#[test]
fn cooperative_blocks_wait_for_each_other_on_any_number_of_workers() {
    for workers in [1, 2, 4] {
        let device = Device {
            workers,
            ..Device::new()
        };
        let words = device.words(1);
        let module = TestKernel::new(grid_barrier()).module();
        let config = LaunchConfig {
            cooperative: true,
            cluster: None,
            ..config(200, 64)
        };
        device
            .run_module(module, config, &words.to_le_bytes())
            .unwrap();
        assert_eq!(device.read(words, 1), [200]);
    }
}

#[test]
fn an_endless_launch_can_be_cancelled() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let device = Device::new();
    let module = TestKernel::ops(vec![jump(0)]).module();
    let loaded = LoadedModule::instantiate(module, &device.memory).unwrap();
    let cancel = AtomicBool::new(false);
    let options = LaunchOptions {
        workers: 2,
        cancel: Some(&cancel),
        ..LaunchOptions::new(&device.printed)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            cancel.store(true, Ordering::Relaxed);
        });
        let kernel = loaded.kernel("k").unwrap();
        let result = launch(&loaded, kernel, &config(8, 64), &[], &options);
        assert!(matches!(result, Err(Fault::Cancelled { .. })));
    });
}

#[test]
fn guards_leave_other_lanes_alone() {
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        unary(UnaryOp::Move(Width::B32), r(1), imm(1)).into(),
        compare(CompareOp::Lt, U32, p(0), r(0), imm(5)).into(),
        when(
            p(0),
            binary(BinaryOp::Add(IntType::U32), r(1), r(1), imm(10)),
        ),
        unless(p(0), unary(UnaryOp::Move(Width::B32), r(1), r(0))),
        when(
            p(0),
            store(Space::Global, MemType::U32, Address::new(rd(0), 0), r(1)),
        ),
        unless(p(0), Op::Exit),
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), imm(100)).into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(40);
    device.run(TestKernel::new(code), 1, 40, &[out]).unwrap();
    let expected: Vec<u32> = (0..40).map(|lane| if lane < 5 { 111 } else { 0 }).collect();
    assert_eq!(device.read(out, 40), expected);
}
