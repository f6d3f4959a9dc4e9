// SPDX-License-Identifier: Apache-2.0
//! Warp operations in running kernels.

use super::*;

const ALL: Src = Src::Imm(0xffff_ffff);

fn shuffle(mode: ShuffleMode, dst: Reg, a: Reg, b: Src, c: u64, members: Src) -> Op {
    Op::Shuffle {
        mode,
        dst,
        dst_pred: None,
        a: a.into(),
        b,
        c: imm(c),
        member_mask: Some(members),
    }
}

#[test]
fn a_butterfly_reduction_sums_each_warp() {
    let mut code = prologue();
    code.push(unary(UnaryOp::Move(Width::B32), r(1), r(0)));
    for distance in [16, 8, 4, 2, 1] {
        code.push(shuffle(
            ShuffleMode::Butterfly,
            r(2),
            r(1),
            imm(distance),
            31,
            ALL,
        ));
        code.push(binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(2)));
    }
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(96);
    device.run(TestKernel::ops(code), 1, 96, &[out]).unwrap();
    for (lane, value) in device.read(out, 96).into_iter().enumerate() {
        let first = lane as u32 / 32 * 32;
        assert_eq!(value, (first..first + 32).sum::<u32>());
    }
}

#[test]
fn parts_of_a_warp_shuffle_by_themselves() {
    // Lanes 0-15 and 16-31 are in different branches, each with its own member mask.
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        compare(CompareOp::Lt, U32, p(0), r(0), imm(16)).into(),
        when(p(0), jump(7)),
        shuffle(
            ShuffleMode::Index,
            r(1),
            r(0),
            imm(20),
            31,
            imm(0xffff_0000),
        )
        .into(),
        jump(8).into(),
        shuffle(ShuffleMode::Index, r(1), r(0), imm(3), 31, imm(0xffff)).into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(32);
    device.run(TestKernel::new(code), 1, 32, &[out]).unwrap();
    let expected: Vec<u32> = (0..32).map(|lane| if lane < 16 { 3 } else { 20 }).collect();
    assert_eq!(device.read(out, 32), expected);
}

#[test]
fn lanes_wait_for_their_partners_in_another_branch() {
    // Both branches execute a ballot over the whole warp at different instructions; it sees all
    // lanes.
    let ballot = |dst| Op::Ballot {
        dst,
        src: p(1).into(),
        member_mask: Some(ALL),
    };
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        compare(CompareOp::Lt, U32, p(0), r(0), imm(8)).into(),
        compare(CompareOp::Ge, U32, p(1), r(0), imm(4)).into(),
        when(p(0), jump(9)),
        ballot(r(1)).into(),
        unary(UnaryOp::Move(Width::B32), r(2), imm(1)).into(),
        jump(11).into(),
        ballot(r(1)).into(),
        unary(UnaryOp::Move(Width::B32), r(2), imm(2)).into(),
        Op::WarpSync { member_mask: ALL }.into(),
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(2)).into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(32);
    device.run(TestKernel::new(code), 1, 32, &[out]).unwrap();
    for (lane, value) in device.read(out, 32).into_iter().enumerate() {
        assert_eq!(
            value,
            0xffff_fff0_u32.wrapping_add(if lane < 8 { 2 } else { 1 }),
            "{lane}"
        );
    }
}

#[test]
fn exited_lanes_are_not_waited_for() {
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        compare(CompareOp::Ge, U32, p(0), r(0), imm(20)).into(),
        when(p(0), Op::Exit),
        Op::Ballot {
            dst: r(1),
            src: PredSrc::Const(true),
            member_mask: Some(ALL),
        }
        .into(),
    ]);
    code.extend(epilogue(r(1)).into_iter().map(Instruction::from));
    let device = Device::new();
    let out = device.words(32);
    device.run(TestKernel::new(code), 1, 32, &[out]).unwrap();
    assert_eq!(device.read(out, 20), vec![0xf_ffff; 20]);
}

#[test]
fn votes_matches_and_reductions_reach_the_lanes() {
    let mut code = prologue();
    code.extend([
        binary(BinaryOp::And(Width::B32), r(5), r(0), imm(3)),
        Op::MatchAny {
            width: Width::B32,
            dst: r(1),
            a: r(5).into(),
            member_mask: ALL,
        },
        Op::Redux {
            op: ReduceOp::Max,
            ty: IntType::U32,
            dst: r(2),
            a: r(0).into(),
            member_mask: ALL,
        },
        compare(CompareOp::Lt, U32, p(0), r(5), imm(4)),
        Op::Vote {
            mode: VoteMode::All,
            dst: p(1),
            src: p(0).into(),
            member_mask: Some(ALL),
        },
        Op::Select {
            width: Width::B32,
            dst: r(3),
            a: imm(1),
            b: imm(0),
            pred: p(1).into(),
        },
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(2)),
        binary(BinaryOp::Add(IntType::U32), r(1), r(1), r(3)),
    ]);
    code.extend(epilogue(r(1)));
    let device = Device::new();
    let out = device.words(32);
    device.run(TestKernel::ops(code), 1, 32, &[out]).unwrap();
    for (lane, value) in device.read(out, 32).into_iter().enumerate() {
        assert_eq!(value, (0x1111_1111_u32 << (lane % 4)).wrapping_add(31 + 1));
    }
}

#[test]
fn partners_that_never_come_are_a_deadlock() {
    let mut code: Vec<Instruction> = prologue().into_iter().map(Instruction::from).collect();
    code.extend([
        compare(CompareOp::Lt, U32, p(0), r(0), imm(8)).into(),
        unless(p(0), jump(6)),
        Op::WarpSync { member_mask: ALL }.into(),
        Op::Barrier {
            id: imm(0),
            count: None,
            kind: BarrierKind::Sync,
        }
        .into(),
    ]);
    let fault = Device::new()
        .run(TestKernel::new(code), 1, 32, &[0])
        .unwrap_err();
    assert!(matches!(fault, Fault::Deadlock { .. }), "{fault}");
}
