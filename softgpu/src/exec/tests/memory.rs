// SPDX-License-Identifier: Apache-2.0
//! Loads, stores and atomics in all spaces.

use super::*;
use crate::limits::SHARED_WINDOW_BASE;

fn copy_kernel(ty: MemType, count: usize, wide: bool) -> Vec<Op> {
    let size = match ty {
        MemType::U8 | MemType::S8 => 1,
        MemType::U16 | MemType::S16 => 2,
        MemType::U32 | MemType::S32 => 4,
        MemType::B64 => 8,
    };
    let reg = |index| if wide { rd(8 + index) } else { r(8 + index) };
    let regs: Vec<Reg> = (0..count as u32).map(reg).collect();
    let bytes = imm(size * count as u64);
    vec![
        tid(r(0)),
        load(Space::Param, MemType::B64, rd(0), Address::absolute(0)),
        load(Space::Param, MemType::B64, rd(1), Address::absolute(8)),
        // Lanes go through memory in the order of the permutation tid * parameter 2 mod 64.
        load(Space::Param, MemType::U32, r(1), Address::absolute(16)),
        binary(BinaryOp::MulLow(IntType::U32), r(1), r(1), r(0)),
        binary(BinaryOp::And(Width::B32), r(1), r(1), imm(63)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(0),
            r(1).into(),
            bytes,
            rd(0).into(),
        ),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(1),
            r(1).into(),
            bytes,
            rd(1).into(),
        ),
        Op::Load {
            space: Space::Generic,
            ty,
            order: MemoryOrder::Weak,
            dst: regs.iter().copied().map(Some).collect(),
            address: Address::new(rd(1), 0),
        },
        Op::Store {
            space: Space::Global,
            ty,
            order: MemoryOrder::Weak,
            address: Address::new(rd(0), 0),
            src: regs.iter().copied().map(Src::from).collect(),
        },
    ]
}

#[test]
fn every_width_and_vector_length_copies() {
    let types = [
        (MemType::U8, 1, false),
        (MemType::S16, 2, false),
        (MemType::U32, 4, false),
        (MemType::S32, 4, true),
        (MemType::B64, 8, true),
    ];
    for (ty, size, wide) in types {
        for count in [1, 2, 4] {
            for stride in [1, 5, 63] {
                for threads in [64, 50] {
                    let device = Device::new();
                    let words: Vec<u32> = (0..64 * 8_u32)
                        .map(|n| n.wrapping_mul(0x9e37_79b9))
                        .collect();
                    let (from, to) = (device.filled(&words), device.words(64 * 8));
                    let code = copy_kernel(ty, count, wide);
                    device
                        .run(TestKernel::ops(code), 1, threads, &[to, from, stride])
                        .unwrap();
                    let element = size * count;
                    let (mut source, mut copied) = (vec![0; 64 * 32], vec![0; 64 * 32]);
                    device.memory.read(from, &mut source).unwrap();
                    device.memory.read(to, &mut copied).unwrap();
                    let touched: Vec<usize> = (0..threads as usize)
                        .map(|lane| lane * stride as usize % 64)
                        .collect();
                    for index in 0..64 {
                        let range = index * element..(index + 1) * element;
                        if touched.contains(&index) {
                            assert_eq!(copied[range.clone()], source[range]);
                        } else {
                            assert!(copied[range].iter().all(|byte| *byte == 0));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn narrow_loads_extend() {
    let device = Device::new();
    let from = device.filled(&[0x8081_8283]);
    let to = device.words(32 * 4);
    let at = |offset| Address::new(rd(2), offset);
    let mut code = prologue();
    code.extend([
        load(Space::Param, MemType::B64, rd(2), Address::absolute(8)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(0),
            r(0).into(),
            imm(16),
            rd(1).into(),
        ),
        load(Space::Global, MemType::U8, r(1), at(1)),
        load(Space::Global, MemType::S8, r(2), at(1)),
        load(Space::Global, MemType::S16, r(3), at(2)),
        load(Space::Global, MemType::S32, rd(4), at(0)),
        unary(UnaryOp::HighHalf64, r(4), rd(4)),
        Op::Store {
            space: Space::Global,
            ty: MemType::U32,
            order: MemoryOrder::Weak,
            address: Address::new(rd(0), 0),
            src: vec![r(1).into(), r(2).into(), r(3).into(), r(4).into()],
        },
    ]);
    device
        .run(TestKernel::ops(code), 1, 32, &[to, from])
        .unwrap();
    for lane in device.read(to, 128).chunks(4) {
        assert_eq!(lane, [0x82, 0xffff_ff82, 0xffff_8081, 0xffff_ffff]);
    }
}

#[test]
fn shared_memory_in_every_pattern_and_through_generic_addresses() {
    // shared[(tid * 7) & 63] = tid through shared, read back through generic.
    let mut code = prologue();
    code.extend([
        binary(BinaryOp::MulLow(IntType::U32), r(1), r(0), imm(7)),
        binary(BinaryOp::And(Width::B32), r(1), r(1), imm(63)),
        binary(BinaryOp::Shl(Width::B32), r(1), r(1), imm(2)),
        store(Space::Shared, MemType::U32, Address::new(r(1), 64), r(0)),
        Op::Barrier {
            id: imm(0),
            count: None,
            kind: BarrierKind::Sync,
        },
        Op::ConvertAddress {
            space: Space::Shared,
            to_generic: true,
            dst: rd(2),
            a: r(1).into(),
        },
        load(Space::Generic, MemType::U32, r(2), Address::new(rd(2), 64)),
        Op::IsSpace {
            space: Space::Shared,
            dst: p(0),
            a: rd(2).into(),
        },
        Op::IsSpace {
            space: Space::Global,
            dst: p(1),
            a: rd(0).into(),
        },
        Op::PredicateLogic {
            op: BoolOp::And,
            dst: p(0),
            a: p(0).into(),
            b: p(1).into(),
        },
        Op::Select {
            width: Width::B32,
            dst: r(2),
            a: r(2).into(),
            b: imm(999),
            pred: p(0).into(),
        },
        Op::ConvertAddress {
            space: Space::Shared,
            to_generic: false,
            dst: rd(3),
            a: rd(2).into(),
        },
        unary(UnaryOp::LowHalf64, r(3), rd(3)),
        binary(BinaryOp::Sub(IntType::U32), r(3), r(3), r(1)),
        binary(BinaryOp::Add(IntType::U32), r(2), r(2), r(3)),
    ]);
    code.extend(epilogue(r(2)));
    let device = Device::new();
    let out = device.words(64);
    let kernel = TestKernel {
        shared_bytes: 64 * 4 + 64,
        ..TestKernel::ops(code)
    };
    device.run(kernel, 1, 64, &[out]).unwrap();
    assert_eq!(device.read(out, 64), (0..64).collect::<Vec<_>>());
}

#[test]
fn dynamic_shared_memory_follows_the_static_part() {
    let mut code = prologue();
    code.extend([
        binary(BinaryOp::Shl(Width::B32), r(1), r(0), imm(2)),
        binary(
            BinaryOp::Add(IntType::U32),
            r(1),
            r(1),
            Src::DynamicShared(0),
        ),
        store(Space::Shared, MemType::U32, Address::new(r(1), 0), r(0)),
        special(r(2), SpecialRegister::DynamicSharedBytes),
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(2)),
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(32);
    let module = TestKernel {
        shared_bytes: 20,
        ..TestKernel::ops(code)
    }
    .module();
    let config = LaunchConfig {
        dynamic_shared_bytes: 128,
        ..config(1, 32)
    };
    device
        .run_module(module.clone(), config, &out.to_le_bytes())
        .unwrap();
    assert_eq!(
        device.read(out, 32),
        (0..32).map(|n| 32 + n * 4 + 128).collect::<Vec<_>>()
    );
    let config = LaunchConfig {
        dynamic_shared_bytes: 64,
        ..config
    };
    assert!(
        device
            .run_module(module, config, &out.to_le_bytes())
            .is_err()
    );
}

#[test]
fn local_memory_is_private_and_addressable() {
    // local[8 + 4 * (tid & 3)] = tid through a generic address; the frame starts at 0.
    let mut code = prologue();
    code.extend([
        Op::FrameAddress {
            dst: rd(2),
            address: Address::frame(8),
        },
        Op::ConvertAddress {
            space: Space::Local,
            to_generic: true,
            dst: rd(3),
            a: rd(2).into(),
        },
        binary(BinaryOp::And(Width::B32), r(1), r(0), imm(3)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(4),
            r(1).into(),
            imm(4),
            rd(3).into(),
        ),
        store(Space::Generic, MemType::U32, Address::new(rd(4), 0), r(0)),
        ternary(
            TernaryOp::MadWide(IntType::U32),
            rd(5),
            r(1).into(),
            imm(4),
            rd(2).into(),
        ),
        load(Space::Local, MemType::U32, r(2), Address::new(rd(5), 0)),
        // An eight-byte value, and one byte of it.
        unary(UnaryOp::Move(Width::B64), rd(6), imm(0x1122_3344_5566_7788)),
        store(Space::Local, MemType::B64, Address::frame(32), rd(6)),
        load(Space::Local, MemType::U8, r(3), Address::frame(36)),
        load(Space::Local, MemType::B64, rd(7), Address::frame(32)),
        unary(UnaryOp::HighHalf64, r(4), rd(7)),
        binary(BinaryOp::Sub(IntType::U32), r(4), r(4), imm(0x1122_3344)),
        binary(BinaryOp::Add(IntType::U32), r(2), r(2), r(3)),
        binary(BinaryOp::Add(IntType::U32), r(2), r(2), r(4)),
    ]);
    code.extend(epilogue(r(2)));
    let device = Device::new();
    let out = device.words(64);
    let kernel = TestKernel {
        local_bytes: 40,
        ..TestKernel::ops(code)
    };
    device.run(kernel, 1, 64, &[out]).unwrap();
    assert_eq!(
        device.read(out, 64),
        (0..64).map(|n| n + 0x44).collect::<Vec<_>>()
    );
}

#[test]
fn variables_are_initialised_and_relocated() {
    let variable = |name: &str, initializer: Vec<u8>, relocations| Variable {
        name: name.into(),
        space: Space::Global,
        size: 16,
        alignment: 8,
        initializer,
        relocations,
        visible: true,
        managed: false,
    };
    let pointer = Relocation {
        offset: 8,
        bytes: 8,
        shift: 0,
        target: Symbol::Variable(VariableId(0)),
        addend: 4,
    };
    let byte = |offset, shift| Relocation {
        offset,
        bytes: 1,
        shift,
        ..pointer
    };
    let values = variable("values", vec![1, 0, 0, 0, 42, 0, 0, 0], vec![]);
    let relocations = vec![pointer, byte(0, 0), byte(1, 8)];
    let mut code = prologue();
    code.extend([
        load(
            Space::Global,
            MemType::B64,
            rd(2),
            Address {
                base: AddressBase::Src(Src::Variable(VariableId(1), 8)),
                offset: 0,
            },
        ),
        load(Space::Global, MemType::U32, r(1), Address::new(rd(2), 0)),
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(1);
    let kernel = TestKernel {
        variables: vec![values, variable("pointer", vec![], relocations)],
        ..TestKernel::ops(code)
    };
    let loaded = LoadedModule::instantiate(kernel.module(), &device.memory).unwrap();
    let (address, size) = loaded.variable("values").unwrap();
    let (other, _) = loaded.variable("pointer").unwrap();
    assert_eq!(size, 16);
    assert_eq!(device.read(address, 4), [1, 42, 0, 0]);
    assert_eq!(
        device.read(other, 1)[0] & 0xffff,
        (address + 4) as u32 & 0xffff
    );
    let options = LaunchOptions::new(&device.printed);
    let kernel = loaded.kernel("k").unwrap();
    launch(&loaded, kernel, &config(1, 1), &out.to_le_bytes(), &options).unwrap();
    assert_eq!(device.read(out, 1), [42]);
    let before = device.memory.info().0;
    drop(loaded);
    assert!(device.memory.info().0 > before);
}

fn atomic_kernel(space: Space, op: AtomicOp, ty: AtomicType, a: Src, address: Address) -> Op {
    Op::Atomic {
        space,
        op,
        ty,
        order: MemoryOrder::Relaxed,
        dst: None,
        address,
        a,
        b: None,
    }
}

#[test]
fn atomics_add_up_across_blocks() {
    let at = |offset| Address::new(rd(1), offset);
    let global = |op, ty, a, offset| atomic_kernel(Space::Global, op, ty, a, at(offset));
    let code = vec![
        tid(r(0)),
        load(Space::Param, MemType::B64, rd(1), Address::absolute(0)),
        global(AtomicOp::Add, AtomicType::U32, r(0).into(), 0),
        global(AtomicOp::Add, AtomicType::F32, f32_imm(0.5), 4),
        global(AtomicOp::Max, AtomicType::S32, r(0).into(), 8),
        global(AtomicOp::Inc, AtomicType::U32, imm(99), 12),
        global(AtomicOp::Or, AtomicType::U32, r(0).into(), 16),
        global(AtomicOp::Add, AtomicType::U64, imm(1 << 33), 24),
        global(AtomicOp::Add, AtomicType::F16x2, imm(0x3c00_3c00), 32),
        atomic_kernel(
            Space::Generic,
            AtomicOp::Add,
            AtomicType::F64,
            imm(1.0_f64.to_bits()),
            at(40),
        ),
        atomic_kernel(
            Space::Shared,
            AtomicOp::Add,
            AtomicType::U32,
            imm(1),
            Address::absolute(0),
        ),
        Op::Barrier {
            id: imm(0),
            count: None,
            kind: BarrierKind::Sync,
        },
        load(Space::Shared, MemType::U32, r(2), Address::absolute(0)),
        global(AtomicOp::Min, AtomicType::U32, r(2).into(), 20),
    ];
    let device = Device::new();
    let out = device.words(16);
    device.memory.write(out + 20, &[0xff; 4]).unwrap();
    let (blocks, threads) = (20, 96);
    let kernel = TestKernel {
        shared_bytes: 4,
        ..TestKernel::ops(code)
    };
    device.run(kernel, blocks, threads, &[out]).unwrap();
    let words = device.read(out, 12);
    let lanes = blocks * threads;
    assert_eq!(words[0], blocks * (0..threads).sum::<u32>());
    assert_eq!(f32::from_bits(words[1]), lanes as f32 * 0.5);
    assert_eq!(words[2], threads - 1);
    assert_eq!(words[3], lanes % 100);
    assert_eq!(words[4], 127);
    assert!(words[5] >= threads);
    assert_eq!(
        u64::from(words[6]) | u64::from(words[7]) << 32,
        u64::from(lanes) << 33
    );
    assert_eq!(words[8], 0x6780_6780, "1920 in f16, twice");
    let sum = u64::from(words[10]) | u64::from(words[11]) << 32;
    assert_eq!(f64::from_bits(sum), f64::from(lanes));
}

#[test]
fn asynchronous_copies_fill_up_with_zeros() {
    let mut code = prologue();
    code.extend([
        load(Space::Param, MemType::B64, rd(2), Address::absolute(8)),
        binary(BinaryOp::Shl(Width::B32), r(1), r(0), imm(4)),
        unary(UnaryOp::Move(Width::B32), r(5), imm(0xffff_ffff)),
        store(Space::Shared, MemType::U32, Address::new(r(1), 12), r(5)),
        Op::CopyAsync {
            dst: Address::new(r(1), 0),
            src: Address::new(rd(2), 0),
            bytes: 16,
            source_bytes: Some(imm(8)),
        },
        load(Space::Shared, MemType::U32, r(2), Address::new(r(1), 4)),
        load(Space::Shared, MemType::U32, r(3), Address::new(r(1), 12)),
        binary(BinaryOp::Add(IntType::U32), r(2), r(2), r(3)),
    ]);
    code.extend(epilogue(r(2)));
    let device = Device::new();
    let (from, out) = (device.filled(&[5, 6, 7, 8]), device.words(32));
    let kernel = TestKernel {
        shared_bytes: 512,
        ..TestKernel::ops(code)
    };
    device.run(kernel, 1, 32, &[out, from]).unwrap();
    assert_eq!(device.read(out, 32), vec![6; 32]);
}

#[test]
fn generic_accesses_of_one_warp_may_go_to_different_spaces() {
    // Even lanes write to global, odd lanes to shared memory.
    let mut code = prologue();
    code.extend([
        binary(BinaryOp::Shl(Width::B32), r(1), r(0), imm(2)),
        binary(BinaryOp::And(Width::B32), r(2), r(0), imm(1)),
        compare(CompareOp::Eq, U32, p(0), r(2), imm(1)),
        Op::ConvertAddress {
            space: Space::Shared,
            to_generic: true,
            dst: rd(2),
            a: r(1).into(),
        },
        Op::Select {
            width: Width::B64,
            dst: rd(3),
            a: rd(2).into(),
            b: rd(0).into(),
            pred: p(0).into(),
        },
        store(Space::Generic, MemType::U32, Address::new(rd(3), 0), r(0)),
        load(Space::Generic, MemType::U32, r(4), Address::new(rd(3), 0)),
        binary(BinaryOp::Add(IntType::U32), r(4), r(4), imm(1)),
    ]);
    code.extend(epilogue(r(4)));
    let device = Device::new();
    let out = device.words(32);
    let kernel = TestKernel {
        shared_bytes: 128,
        ..TestKernel::ops(code)
    };
    device.run(kernel, 1, 32, &[out]).unwrap();
    assert_eq!(device.read(out, 32), (1..=32).collect::<Vec<_>>());
    const { assert!(SHARED_WINDOW_BASE > 1 << 48) };
}
