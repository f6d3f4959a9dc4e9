// SPDX-License-Identifier: Apache-2.0
//! Which registers an operation reads and writes.

use crate::ir::{
    Address, AddressBase, BarrierKind, Callee, Compare, Guard, Instruction, MemoryBarrierOp, Op,
    Pred, PredSrc, Reg, Src,
};

/// Receives the register operands of an instruction, to look at or to replace.
pub(super) trait Visitor {
    /// A value that is read. It may be a constant.
    fn source(&mut self, src: &mut Src);
    /// A predicate that is read. It may be a constant.
    fn predicate_source(&mut self, src: &mut PredSrc);
    /// A predicate that is read where a constant is not possible.
    fn predicate_use(&mut self, pred: &mut Pred);
    /// A register that is written.
    fn definition(&mut self, reg: &mut Reg);
    /// A predicate that is written.
    fn predicate_definition(&mut self, pred: &mut Pred);

    /// A memory address, whose base may be a value that is read.
    fn address(&mut self, address: &mut Address) {
        if let AddressBase::Src(src) = &mut address.base {
            self.source(src);
        }
    }
}

/// Shows `visitor` every source of the instruction, the guard included, then every destination.
pub(super) fn visit(instruction: &mut Instruction, visitor: &mut impl Visitor) {
    match &mut instruction.guard {
        Guard::Always => {}
        Guard::If(pred) | Guard::IfNot(pred) => visitor.predicate_use(pred),
    }
    visit_op(&mut instruction.op, visitor);
}

fn compare(value: &mut Compare, visitor: &mut impl Visitor) {
    visitor.source(&mut value.a);
    visitor.source(&mut value.b);
}

fn each<'s>(sources: impl IntoIterator<Item = &'s mut Src>, visitor: &mut impl Visitor) {
    for src in sources {
        visitor.source(src);
    }
}

fn visit_op(op: &mut Op, visitor: &mut impl Visitor) {
    match op {
        Op::Unary { dst, a, .. }
        | Op::ConvertAddress { dst, a, .. }
        | Op::Convert { dst, a, .. } => {
            visitor.source(a);
            visitor.definition(dst);
        }
        Op::ConvertTf32 { dst, a, .. } => {
            visitor.source(a);
            visitor.definition(dst);
        }
        Op::Binary { dst, a, b, .. } => {
            each([a, b], visitor);
            visitor.definition(dst);
        }
        Op::ConvertPack { dst, high, low, .. } => {
            each([high, low], visitor);
            visitor.definition(dst);
        }
        Op::Ternary { dst, a, b, c, .. } => {
            each([a, b, c], visitor);
            visitor.definition(dst);
        }
        Op::ConvertPackInt { dst, a, b, c, .. } => {
            each([a, b].into_iter().chain(c), visitor);
            visitor.definition(dst);
        }
        Op::BitFieldInsert {
            dst,
            a,
            b,
            position,
            length,
            ..
        } => {
            each([a, b, position, length], visitor);
            visitor.definition(dst);
        }
        Op::Carry {
            dst,
            a,
            b,
            carry_in,
            carry_out,
            ..
        } => {
            each([a, b], visitor);
            carry_in
                .iter_mut()
                .for_each(|pred| visitor.predicate_use(pred));
            visitor.definition(dst);
            carry_out
                .iter_mut()
                .for_each(|pred| visitor.predicate_definition(pred));
        }
        Op::ReadSpecial { dst, .. } | Op::ActiveMask { dst } => visitor.definition(dst),
        Op::FrameAddress { dst, address } => {
            visitor.address(address);
            visitor.definition(dst);
        }
        Op::Select {
            dst, a, b, pred, ..
        } => {
            each([a, b], visitor);
            visitor.predicate_source(pred);
            visitor.definition(dst);
        }
        Op::SetPredicate { .. }
        | Op::SetPredicatePacked { .. }
        | Op::Set { .. }
        | Op::TestFloat { .. }
        | Op::PredicateLogic { .. }
        | Op::PredicateMove { .. }
        | Op::IsSpace { .. } => visit_predicate_op(op, visitor),
        Op::Load { .. }
        | Op::Store { .. }
        | Op::Atomic { .. }
        | Op::CopyAsync { .. }
        | Op::CopyBulk(_)
        | Op::CopyTensor(_)
        | Op::AtomicWide { .. }
        | Op::Image { .. }
        | Op::MemoryBarrier { .. } => visit_memory_op(op, visitor),
        Op::Barrier { .. }
        | Op::WarpSync { .. }
        | Op::Shuffle { .. }
        | Op::Vote { .. }
        | Op::Ballot { .. }
        | Op::MatchAny { .. }
        | Op::MatchAll { .. }
        | Op::Redux { .. }
        | Op::Elect { .. } => visit_group_op(op, visitor),
        Op::BranchIndexed { index, .. } => visitor.source(index),
        Op::Call {
            callee: Callee::Indirect(target),
        } => visitor.source(target),
        Op::Nanosleep { duration_ns } => visitor.source(duration_ns),
        Op::Call {
            callee: Callee::Function(_) | Callee::Builtin(_),
        }
        | Op::Fence
        | Op::ClusterArrive
        | Op::ClusterWait
        | Op::Branch { .. }
        | Op::Return
        | Op::Exit
        | Op::Trap
        | Op::Breakpoint
        | Op::Nop
        | Op::Unsupported { .. } => {}
    }
}

fn visit_predicate_op(op: &mut Op, visitor: &mut impl Visitor) {
    match op {
        Op::SetPredicate {
            compare: value,
            combine,
            dst: first,
            dst_not: second,
        }
        | Op::SetPredicatePacked {
            compare: value,
            combine,
            low: first,
            high: second,
        } => {
            compare(value, visitor);
            combine
                .iter_mut()
                .for_each(|(_, src)| visitor.predicate_source(src));
            for pred in first.iter_mut().chain(second) {
                visitor.predicate_definition(pred);
            }
        }
        Op::Set {
            compare: value,
            combine,
            dst,
            ..
        } => {
            compare(value, visitor);
            combine
                .iter_mut()
                .for_each(|(_, src)| visitor.predicate_source(src));
            visitor.definition(dst);
        }
        Op::TestFloat { dst, a, .. } | Op::IsSpace { dst, a, .. } => {
            visitor.source(a);
            visitor.predicate_definition(dst);
        }
        Op::PredicateLogic { dst, a, b, .. } => {
            visitor.predicate_source(a);
            visitor.predicate_source(b);
            visitor.predicate_definition(dst);
        }
        Op::PredicateMove { dst, a } => {
            visitor.predicate_source(a);
            visitor.predicate_definition(dst);
        }
        _ => unreachable!("visit_op passes only predicate operations"),
    }
}

fn visit_memory_op(op: &mut Op, visitor: &mut impl Visitor) {
    match op {
        Op::Load { dst, address, .. } => {
            visitor.address(address);
            dst.iter_mut()
                .flatten()
                .for_each(|reg| visitor.definition(reg));
        }
        Op::Store { address, src, .. } => {
            visitor.address(address);
            each(src, visitor);
        }
        Op::Atomic {
            dst, address, a, b, ..
        } => {
            visitor.address(address);
            each([a].into_iter().chain(b), visitor);
            dst.iter_mut().for_each(|reg| visitor.definition(reg));
        }
        Op::CopyAsync {
            dst,
            src,
            source_bytes,
            ..
        } => {
            visitor.address(dst);
            visitor.address(src);
            each(source_bytes, visitor);
        }
        Op::CopyBulk(copy) => {
            visitor.address(&mut copy.dst);
            visitor.address(&mut copy.src);
            copy.barrier
                .iter_mut()
                .for_each(|barrier| visitor.address(barrier));
            each(
                [&mut copy.bytes].into_iter().chain(&mut copy.multicast),
                visitor,
            );
        }
        Op::CopyTensor(copy) => {
            visitor.address(&mut copy.map);
            visitor.address(&mut copy.shared);
            copy.barrier
                .iter_mut()
                .for_each(|barrier| visitor.address(barrier));
            let scalars = copy.coordinates.iter_mut().chain(&mut copy.offsets);
            each(scalars.chain(&mut copy.multicast), visitor);
        }
        Op::AtomicWide {
            address,
            dst,
            compare,
            new,
            ..
        } => {
            visitor.address(address);
            each(compare.iter_mut().chain(new).flatten(), visitor);
            let targets = dst.iter_mut().flatten();
            targets.for_each(|reg| visitor.definition(reg));
        }
        Op::Image {
            handle,
            dst,
            dst_pred,
            sources,
            ..
        } => {
            visitor.source(handle);
            each(sources, visitor);
            dst.iter_mut()
                .flatten()
                .for_each(|reg| visitor.definition(reg));
            dst_pred
                .iter_mut()
                .for_each(|pred| visitor.predicate_definition(pred));
        }
        Op::MemoryBarrier { address, op, .. } => {
            visitor.address(address);
            match op {
                MemoryBarrierOp::Init { count } => visitor.source(count),
                MemoryBarrierOp::ExpectBytes(bytes) | MemoryBarrierOp::CompleteBytes(bytes) => {
                    visitor.source(bytes);
                }
                MemoryBarrierOp::Arrive {
                    dst,
                    count,
                    expected_bytes,
                    ..
                } => {
                    each(count.iter_mut().chain(expected_bytes), visitor);
                    dst.iter_mut().for_each(|reg| visitor.definition(reg));
                }
                MemoryBarrierOp::TestWait { dst, state: src }
                | MemoryBarrierOp::TestWaitParity { dst, parity: src } => {
                    visitor.source(src);
                    visitor.predicate_definition(dst);
                }
                MemoryBarrierOp::PendingCount { dst, state } => {
                    visitor.source(state);
                    visitor.definition(dst);
                }
                MemoryBarrierOp::Invalidate | MemoryBarrierOp::CopyAsyncArrive { .. } => {}
            }
        }
        _ => unreachable!("visit_op passes only memory operations"),
    }
}

fn visit_group_op(op: &mut Op, visitor: &mut impl Visitor) {
    match op {
        Op::Barrier { id, count, kind } => {
            each([id].into_iter().chain(count), visitor);
            match kind {
                BarrierKind::Sync | BarrierKind::Arrive => {}
                BarrierKind::ReducePopulation { dst, src } => {
                    visitor.predicate_source(src);
                    visitor.definition(dst);
                }
                BarrierKind::ReduceAnd { dst, src } | BarrierKind::ReduceOr { dst, src } => {
                    visitor.predicate_source(src);
                    visitor.predicate_definition(dst);
                }
            }
        }
        Op::WarpSync { member_mask } => visitor.source(member_mask),
        Op::Shuffle {
            dst,
            dst_pred,
            a,
            b,
            c,
            member_mask,
            ..
        } => {
            each([a, b, c].into_iter().chain(member_mask), visitor);
            visitor.definition(dst);
            dst_pred
                .iter_mut()
                .for_each(|pred| visitor.predicate_definition(pred));
        }
        Op::Vote {
            dst,
            src,
            member_mask,
            ..
        } => {
            visitor.predicate_source(src);
            each(member_mask, visitor);
            visitor.predicate_definition(dst);
        }
        Op::Ballot {
            dst,
            src,
            member_mask,
        } => {
            visitor.predicate_source(src);
            each(member_mask, visitor);
            visitor.definition(dst);
        }
        Op::MatchAny {
            dst,
            a,
            member_mask,
            ..
        }
        | Op::Redux {
            dst,
            a,
            member_mask,
            ..
        } => {
            each([a, member_mask], visitor);
            visitor.definition(dst);
        }
        Op::MatchAll {
            dst,
            dst_pred,
            a,
            member_mask,
            ..
        } => {
            each([a, member_mask], visitor);
            visitor.definition(dst);
            dst_pred
                .iter_mut()
                .for_each(|pred| visitor.predicate_definition(pred));
        }
        Op::Elect {
            dst,
            dst_pred,
            member_mask,
        } => {
            visitor.source(member_mask);
            dst.iter_mut().for_each(|reg| visitor.definition(reg));
            visitor.predicate_definition(dst_pred);
        }
        _ => unreachable!("visit_op passes only group operations"),
    }
}
