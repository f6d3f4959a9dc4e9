// SPDX-License-Identifier: Apache-2.0
//! Barriers, fences, `mbarrier`, and what the lanes of a warp do together.

use crate::ir::{
    Address, BarrierKind, IntType, MemoryBarrierOp, Op, PredSrc, ReduceOp, ShuffleMode, Space, Src,
    VoteMode,
};
use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::instruction::Inst;
use super::operand::{int_type, width};

const U32: ScalarType = ScalarType::U32;
const B32: ScalarType = ScalarType::B32;

/// `bar barrier membar fence nanosleep`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    if inst.opcode == "bar" && inst.take("warp") {
        if !inst.take("sync") {
            return Err("it needs .sync".to_owned());
        }
        let [mask] = inst.finish()?;
        let member_mask = l.source(mask, B32)?;
        l.emit(Op::WarpSync { member_mask });
        return Ok(());
    }
    match inst.opcode {
        "bar" => lower_barrier(l, inst),
        "barrier" => match inst.take("cluster") {
            true => super::cluster::lower_barrier(l, inst),
            false => lower_barrier(l, inst),
        },
        "nanosleep" => {
            let ty = inst.take_type()?;
            let [duration] = inst.finish()?;
            let duration_ns = l.source(duration, ty)?;
            l.emit(Op::Nanosleep { duration_ns });
            Ok(())
        }
        // Every fence is as strong as the strongest.
        "membar" => {
            inst.take_all(|m| matches!(m, "cta" | "gl" | "sys") || is_proxy(m));
            let [] = inst.finish()?;
            l.emit(Op::Fence);
            Ok(())
        }
        _ => {
            inst.take_all(|m| {
                matches!(m, "sc" | "acq_rel" | "acquire" | "release")
                    || matches!(m, "cta" | "cluster" | "gpu" | "sys" | "mbarrier_init")
                    || m.starts_with("sync_restrict::")
                    || is_proxy(m)
            });
            // A fence between proxies may name the memory that it is about.
            inst.finish_between(0, 2)?;
            l.emit(Op::Fence);
            Ok(())
        }
    }
}

/// What names a kind of access to memory; all are the same here.
fn is_proxy(modifier: &str) -> bool {
    matches!(modifier, "proxy" | "alias" | "async" | "async::generic")
        || matches!(modifier, "tensormap::generic" | "global")
        || matches!(modifier, "shared::cta" | "shared::cluster")
}

fn lower_barrier<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    inst.take("cta");
    // Without `.aligned` the lanes of a warp may arrive one by one, which they may here anyway.
    inst.take("aligned");
    if inst.take("red") {
        return lower_barrier_reduction(l, inst);
    }
    let kind = if inst.take("sync") {
        BarrierKind::Sync
    } else if inst.take("arrive") {
        BarrierKind::Arrive
    } else {
        return Err("it needs .sync, .arrive or .red".to_owned());
    };
    let [id, rest @ ..] = inst.finish_between(1, 2)? else {
        return Err("it names no barrier".to_owned());
    };
    if kind == BarrierKind::Arrive && rest.is_empty() {
        return Err("it needs a thread count".to_owned());
    }
    let id = l.source(id, U32)?;
    let count = rest.first().map(|count| l.source(count, U32)).transpose()?;
    l.emit(Op::Barrier { id, count, kind });
    Ok(())
}

/// `bar.red.popc.u32 d, id{, count}, {!}p` and `bar.red.and.pred q, …`
fn lower_barrier_reduction<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let (population, and, or) = (inst.take("popc"), inst.take("and"), inst.take("or"));
    let ty = inst.take_type()?;
    let (d, id, count, p) = match inst.finish_between(3, 4)? {
        [d, id, p] => (d, id, None, p),
        [d, id, count, p] => (d, id, Some(count), p),
        _ => return Err("it has another number of operands".to_owned()),
    };
    let id = l.source(id, U32)?;
    let count = count.map(|count| l.source(count, U32)).transpose()?;
    let src = l.predicate_source(p)?;
    let kind = match (population, and, or, ty) {
        (true, false, false, U32) => BarrierKind::ReducePopulation {
            dst: l.destination(d, U32)?,
            src,
        },
        (false, true, false, ScalarType::Pred) => BarrierKind::ReduceAnd {
            dst: l.predicate_result(d)?,
            src,
        },
        (false, false, true, ScalarType::Pred) => BarrierKind::ReduceOr {
            dst: l.predicate_result(d)?,
            src,
        },
        _ => return Err("it needs .popc.u32, .and.pred or .or.pred".to_owned()),
    };
    l.emit(Op::Barrier { id, count, kind });
    Ok(())
}

/// `mbarrier.*` on a 64-bit object in shared memory.
pub(super) fn lower_memory_barrier<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    const OPERATIONS: [&str; 9] = [
        "init",
        "inval",
        "arrive",
        "arrive_drop",
        "test_wait",
        "try_wait",
        "pending_count",
        "expect_tx",
        "complete_tx",
    ];
    let operation = inst.take_any(|m| OPERATIONS.into_iter().find(|&operation| operation == m));
    let operation = operation.ok_or("this operation is not supported")?;
    let space = super::memory::take_space(inst);
    if !matches!(space, Space::Shared | Space::Generic) {
        return Err("a barrier lies in shared memory".to_owned());
    }
    let parity = inst.take("parity");
    let expects = matches!(operation, "arrive" | "arrive_drop") && inst.take("expect_tx");
    inst.take_all(|m| {
        matches!(m, "noComplete" | "release" | "acquire" | "relaxed")
            || matches!(m, "cta" | "cluster")
    });
    if inst.take_type()? != ScalarType::B64 {
        return Err("it needs .b64".to_owned());
    }
    let (address, op) = match operation {
        "init" => {
            let [address, count] = inst.finish()?;
            (
                address,
                MemoryBarrierOp::Init {
                    count: l.source(count, U32)?,
                },
            )
        }
        "inval" => {
            let [address] = inst.finish()?;
            (address, MemoryBarrierOp::Invalidate)
        }
        "arrive" | "arrive_drop" => {
            let [d, address, rest @ ..] = inst.finish_between(2, 3)? else {
                return Err("it has too few operands".to_owned());
            };
            let mut count = rest.first().map(|count| l.source(count, U32)).transpose()?;
            let expected_bytes = if expects { count.take() } else { None };
            if expects && expected_bytes.is_none() {
                return Err("it does not say how many bytes it expects".to_owned());
            }
            let dst = match d {
                Operand::Sink => None,
                _ => Some(l.destination(d, ScalarType::B64)?),
            };
            (
                address,
                MemoryBarrierOp::Arrive {
                    dst,
                    count,
                    drop: operation == "arrive_drop",
                    expected_bytes,
                },
            )
        }
        "expect_tx" | "complete_tx" => {
            let [address, bytes] = inst.finish()?;
            let bytes = l.source(bytes, U32)?;
            let op = match operation {
                "expect_tx" => MemoryBarrierOp::ExpectBytes(bytes),
                _ => MemoryBarrierOp::CompleteBytes(bytes),
            };
            (address, op)
        }
        "pending_count" => {
            let [d, state] = inst.finish()?;
            let state = l.source(state, ScalarType::B64)?;
            let dst = l.destination(d, U32)?;
            let op = MemoryBarrierOp::PendingCount { dst, state };
            l.emit(Op::MemoryBarrier {
                space,
                address: Address::absolute(0),
                op,
            });
            return Ok(());
        }
        _ => {
            let most = if operation == "try_wait" { 4 } else { 3 };
            let [d, address, state, hint @ ..] = inst.finish_between(3, most)? else {
                return Err("it has too few operands".to_owned());
            };
            // How long to wait at most, which is a hint.
            hint.first().map(|hint| l.source(hint, U32)).transpose()?;
            let op = if parity {
                let parity = l.source(state, U32)?;
                MemoryBarrierOp::TestWaitParity {
                    dst: l.predicate_result(d)?,
                    parity,
                }
            } else {
                let state = l.source(state, ScalarType::B64)?;
                MemoryBarrierOp::TestWait {
                    dst: l.predicate_result(d)?,
                    state,
                }
            };
            (address, op)
        }
    };
    let (space, address) = l.address(address, space)?;
    l.emit(Op::MemoryBarrier { space, address, op });
    Ok(())
}

/// `shfl vote match redux activemask elect`
pub(super) fn lower_warp<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
) -> Result<()> {
    let sync = inst.take("sync");
    match inst.opcode {
        "shfl" => return lower_shuffle(l, inst, sync),
        "vote" => return lower_vote(l, inst, sync),
        "activemask" => {
            let ty = inst.take_type()?;
            let [d] = inst.finish()?;
            let dst = l.destination(d, ty)?;
            l.emit(Op::ActiveMask { dst });
            return Ok(());
        }
        _ => {}
    }
    if !sync {
        return Err("it needs .sync".to_owned());
    }
    match inst.opcode {
        "match" => lower_match(l, inst),
        "redux" => lower_redux(l, inst),
        _ => {
            let [d, mask] = inst.finish()?;
            let member_mask = l.source(mask, B32)?;
            let (Operand::Symbol { .. } | Operand::Sink, Some(p)) = l.pair(d) else {
                return Err("it needs a predicate result".to_owned());
            };
            let dst = match l.pair(d).0 {
                Operand::Sink => None,
                lane => Some(l.destination(&lane, B32)?),
            };
            let dst_pred = l.predicate_result(&p)?;
            l.emit(Op::Elect {
                dst,
                dst_pred,
                member_mask,
            });
            Ok(())
        }
    }
}

/// `shfl.sync.mode.b32 d|p, a, b, c, mask`
fn lower_shuffle<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    sync: bool,
) -> Result<()> {
    let mode = inst.take_any(|modifier| {
        Some(match modifier {
            "up" => ShuffleMode::Up,
            "down" => ShuffleMode::Down,
            "bfly" => ShuffleMode::Butterfly,
            "idx" => ShuffleMode::Index,
            _ => return None,
        })
    });
    let mode = mode.ok_or("it has no mode")?;
    if inst.take_type()? != B32 {
        return Err("it needs .b32".to_owned());
    }
    let (d, a, b, c, mask) = match inst.finish_between(4, 5)? {
        [d, a, b, c] if !sync => (d, a, b, c, None),
        [d, a, b, c, mask] if sync => (d, a, b, c, Some(mask)),
        _ => return Err("it has another number of operands".to_owned()),
    };
    let (a, b, c) = (l.source(a, B32)?, l.source(b, B32)?, l.source(c, B32)?);
    let member_mask = mask.map(|mask| l.source(mask, B32)).transpose()?;
    let (d, p) = l.pair(d);
    let dst = l.destination(&d, B32)?;
    let dst_pred = p
        .map(|p| l.predicate_destination(&p))
        .transpose()?
        .flatten();
    l.emit(Op::Shuffle {
        mode,
        dst,
        dst_pred,
        a,
        b,
        c,
        member_mask,
    });
    Ok(())
}

fn lower_vote<'m, 'a>(
    l: &mut Lowering<'_, 'm, 'a>,
    inst: &mut Inst<'m, 'a>,
    sync: bool,
) -> Result<()> {
    let mode = inst.take_any(|modifier| {
        Some(match modifier {
            "all" => Some(VoteMode::All),
            "any" => Some(VoteMode::Any),
            "uni" => Some(VoteMode::Uniform),
            "ballot" => None,
            _ => return None,
        })
    });
    let mode = mode.ok_or("it has no mode")?;
    let expected = if mode.is_some() {
        ScalarType::Pred
    } else {
        B32
    };
    if inst.take_type()? != expected {
        return Err("its type does not fit its mode".to_owned());
    }
    let (d, p, mask) = match inst.finish_between(2, 3)? {
        [d, p] if !sync => (d, p, None),
        [d, p, mask] if sync => (d, p, Some(mask)),
        _ => return Err("it has another number of operands".to_owned()),
    };
    let src: PredSrc = l.predicate_source(p)?;
    let member_mask = mask.map(|mask| l.source(mask, B32)).transpose()?;
    let op = match mode {
        Some(mode) => Op::Vote {
            mode,
            dst: l.predicate_result(d)?,
            src,
            member_mask,
        },
        None => Op::Ballot {
            dst: l.destination(d, B32)?,
            src,
            member_mask,
        },
    };
    l.emit(op);
    Ok(())
}

fn lower_match<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let all = inst.take("all");
    if !all && !inst.take("any") {
        return Err("it needs .any or .all".to_owned());
    }
    let ty = inst.take_type()?;
    let width = width(ty)?;
    let [d, a, mask] = inst.finish()?;
    let a = l.source(a, ty)?;
    let member_mask: Src = l.source(mask, B32)?;
    let (d, p) = l.pair(d);
    let dst = l.destination(&d, B32)?;
    let dst_pred = p
        .map(|p| l.predicate_destination(&p))
        .transpose()?
        .flatten();
    l.emit(match (all, dst_pred) {
        (true, _) => Op::MatchAll {
            width,
            dst,
            dst_pred,
            a,
            member_mask,
        },
        (false, None) => Op::MatchAny {
            width,
            dst,
            a,
            member_mask,
        },
        (false, Some(_)) => return Err("only .all has a predicate result".to_owned()),
    });
    Ok(())
}

fn lower_redux<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    let op = inst.take_any(|modifier| {
        Some(match modifier {
            "add" => ReduceOp::Add,
            "min" => ReduceOp::Min,
            "max" => ReduceOp::Max,
            "and" => ReduceOp::And,
            "or" => ReduceOp::Or,
            "xor" => ReduceOp::Xor,
            _ => return None,
        })
    });
    let op = op.ok_or("it has no operation")?;
    let ty = inst.take_type()?;
    let int = int_type(ty)?;
    if !matches!(int, IntType::U32 | IntType::S32) {
        return Err(format!("no reduction of {ty:?}"));
    }
    let [d, a, mask] = inst.finish()?;
    let a = l.source(a, ty)?;
    let member_mask = l.source(mask, B32)?;
    let dst = l.destination(d, ty)?;
    l.emit(Op::Redux {
        op,
        ty: int,
        dst,
        a,
        member_mask,
    });
    Ok(())
}
