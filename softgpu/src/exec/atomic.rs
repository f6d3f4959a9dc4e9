// SPDX-License-Identifier: Apache-2.0
//! `atom` and `red`.
//!
//! Lanes are served in ascending order. Global memory is shared with the blocks on other threads and
//! gets real atomics; shared memory belongs to the one thread that runs the block.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst, fence};

use super::access::{AddressCode, Element, by_space};
use super::code::{Code, More, Operand};
use super::fault::Access;
use super::half;
use super::lanes::{Lanes, Step, WARP};
use super::state::{BlockState, RawFault};
use crate::ir::{AtomicOp, AtomicType, MemoryOrder, Space};

/// A decoded atomic.
#[derive(Debug)]
pub(crate) struct Atomic {
    pub(crate) space: Space,
    pub(crate) address: AddressCode,
    pub(crate) op: AtomicOp,
    pub(crate) ty: AtomicType,
    pub(crate) order: MemoryOrder,
    pub(crate) dst: Option<Element>,
    pub(crate) a: Element,
    pub(crate) b: Option<Element>,
}

impl AtomicType {
    /// Bytes of an element.
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::S32 | Self::F32 | Self::F16x2 | Self::Bf16x2 => 4,
            Self::U64 | Self::S64 | Self::F64 => 8,
        }
    }
}

/// The new value, in the low bits.
#[inline(always)]
fn combine(op: AtomicOp, ty: AtomicType, old: u64, a: u64, b: u64) -> u64 {
    use AtomicType as T;
    let new = match op {
        AtomicOp::Add => match ty {
            T::F32 => add_f32(old as u32, a as u32).into(),
            T::F64 => (f64::from_bits(old) + f64::from_bits(a)).to_bits(),
            T::F16 | T::F16x2 => half::add_f16x2(old as u32, a as u32).into(),
            T::Bf16 | T::Bf16x2 => half::add_bf16x2(old as u32, a as u32).into(),
            _ => old.wrapping_add(a),
        },
        AtomicOp::Min | AtomicOp::Max => return min_max(op == AtomicOp::Max, ty, old, a),
        AtomicOp::Inc if ty.bytes() == 8 => {
            if old >= a {
                0
            } else {
                old + 1
            }
        }
        AtomicOp::Inc => {
            if old as u32 >= a as u32 {
                0
            } else {
                old + 1
            }
        }
        AtomicOp::Dec if ty.bytes() == 8 => {
            if old == 0 || old > a {
                a
            } else {
                old - 1
            }
        }
        AtomicOp::Dec => {
            if old as u32 == 0 || old as u32 > a as u32 {
                a
            } else {
                old - 1
            }
        }
        AtomicOp::And => old & a,
        AtomicOp::Or => old | a,
        AtomicOp::Xor => old ^ a,
        AtomicOp::Exchange => a,
        AtomicOp::CompareAndSwap => {
            let unused = 64 - 8 * ty.bytes();
            if (old ^ a) << unused == 0 { b } else { old }
        }
    };
    truncate(new, ty)
}

fn truncate(value: u64, ty: AtomicType) -> u64 {
    value & (u64::MAX >> (64 - 8 * ty.bytes()))
}

fn add_f32(old: u32, a: u32) -> u32 {
    super::float::canonical(f32::from_bits(old) + f32::from_bits(a)).to_bits()
}

fn min_max(is_max: bool, ty: AtomicType, old: u64, a: u64) -> u64 {
    use AtomicType as T;
    let takes = match ty {
        T::S32 => (a as i32) < old as i32,
        T::S64 => (a as i64) < old as i64,
        T::U32 => (a as u32) < old as u32,
        T::U16 => (a as u16) < old as u16,
        T::U64 => a < old,
        T::F32 => return half::min_max_f32(is_max, old as u32, a as u32).into(),
        T::F64 => return half::min_max_f64(is_max, old, a),
        T::F16 | T::F16x2 => return half::min_max_f16x2(is_max, old as u32, a as u32).into(),
        T::Bf16 | T::Bf16x2 => return half::min_max_bf16x2(is_max, old as u32, a as u32).into(),
    };
    // Equal values are the same bits.
    truncate(if takes != is_max { a } else { old }, ty)
}

/// Applies `f` to memory that other threads may use too; answers the old value.
///
/// # Safety
/// `place` is valid and aligned for `bytes`.
#[inline(always)]
unsafe fn update_global(place: *mut u8, bytes: u32, f: impl Fn(u64) -> u64) -> u64 {
    // SAFETY: the caller's contract.
    unsafe {
        match bytes {
            2 => {
                let cell = AtomicU16::from_ptr(place.cast());
                let new = |old: u16| Some(f(u64::from(old)) as u16);
                cell.fetch_update(SeqCst, SeqCst, new)
                    .unwrap_or_else(|old| old)
                    .into()
            }
            4 => {
                let cell = AtomicU32::from_ptr(place.cast());
                let new = |old: u32| Some(f(u64::from(old)) as u32);
                cell.fetch_update(SeqCst, SeqCst, new)
                    .unwrap_or_else(|old| old)
                    .into()
            }
            _ => {
                let cell = AtomicU64::from_ptr(place.cast());
                cell.fetch_update(SeqCst, SeqCst, |old| Some(f(old)))
                    .unwrap_or_else(|old| old)
            }
        }
    }
}

/// Applies `f` to memory of this thread alone.
///
/// # Safety
/// As [`update_global`].
#[inline(always)]
unsafe fn update_shared(place: *mut u8, bytes: u32, f: impl Fn(u64) -> u64) -> u64 {
    // SAFETY: the caller's contract.
    unsafe {
        match bytes {
            2 => {
                let old = place.cast::<u16>().read();
                place.cast::<u16>().write(f(u64::from(old)) as u16);
                old.into()
            }
            4 => {
                let old = place.cast::<u32>().read();
                place.cast::<u32>().write(f(u64::from(old)) as u32);
                old.into()
            }
            _ => {
                let old = place.cast::<u64>().read();
                place.cast::<u64>().write(f(old));
                old
            }
        }
    }
}

/// The fetch-and-op that the CPU has, for 32-bit integers in global memory.
///
/// # Safety
/// As [`update_global`].
#[inline(always)]
unsafe fn fetch_u32(op: AtomicOp, place: *mut u8, a: u32) -> Option<u32> {
    // SAFETY: the caller's contract.
    let cell = unsafe { AtomicU32::from_ptr(place.cast()) };
    Some(match op {
        AtomicOp::Add => cell.fetch_add(a, SeqCst),
        AtomicOp::Exchange => cell.swap(a, SeqCst),
        _ => return None,
    })
}

/// As [`fetch_u32`] for 64 bits.
///
/// # Safety
/// As [`update_global`].
#[inline(always)]
unsafe fn fetch_u64(op: AtomicOp, place: *mut u8, a: u64) -> Option<u64> {
    // SAFETY: the caller's contract.
    let cell = unsafe { AtomicU64::from_ptr(place.cast()) };
    Some(match op {
        AtomicOp::Add => cell.fetch_add(a, SeqCst),
        AtomicOp::Exchange => cell.swap(a, SeqCst),
        _ => return None,
    })
}

/// # Safety
/// The element was decoded for the running function.
unsafe fn values(lanes: &Lanes, element: Element, warp: usize) -> [u64; WARP] {
    // SAFETY: the caller's contract.
    unsafe {
        if element.wide {
            let (from, stride) = lanes.source::<u64>(element.operand);
            *from.add(warp * stride).cast::<[u64; WARP]>()
        } else {
            let (from, stride) = lanes.source::<u32>(element.operand);
            (*from.add(warp * stride).cast::<[u32; WARP]>()).map(u64::from)
        }
    }
}

/// Executes an atomic.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_atomic(lanes: &mut Lanes, code: &Code) -> Step {
    let More::Atomic(atomic) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    block.progress.loaded = true;
    let mut has_changed = false;
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        let done = unsafe {
            let mask = *lanes.active.add(warp);
            if mask == 0 {
                continue;
            }
            let addresses = atomic.address.warp(lanes, warp);
            by_space(atomic.space, &addresses, mask, |space, addresses, mask| {
                run_warp(
                    lanes,
                    block,
                    atomic,
                    warp,
                    space,
                    addresses,
                    mask,
                    &mut has_changed,
                )
            })
        };
        if done.is_err() {
            return Step::Fault;
        }
    }
    if has_changed {
        block.progress.stored = true;
    } else {
        block.progress.polled = true;
    }
    if atomic.order != MemoryOrder::Weak && atomic.order != MemoryOrder::Relaxed {
        fence(SeqCst);
    }
    Step::Next
}

/// # Safety
/// As [`run_atomic`].
#[allow(clippy::too_many_arguments, reason = "one warp of one instruction")]
unsafe fn run_warp(
    lanes: &Lanes,
    block: &mut BlockState,
    atomic: &Atomic,
    warp: usize,
    space: Space,
    addresses: &[u64; WARP],
    mask: u32,
    has_changed: &mut bool,
) -> Result<(), ()> {
    let Atomic { op, ty, .. } = *atomic;
    let bytes = ty.bytes();
    // SAFETY: operands of the running function.
    let (a, b) = unsafe {
        let b = atomic.b.map(|b| values(lanes, b, warp));
        (values(lanes, atomic.a, warp), b.unwrap_or([0; WARP]))
    };
    let mut old = [0_u64; WARP];
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        let at = (warp * WARP + lane) as u32;
        if space != Space::Global && space != Space::Shared {
            let address = addresses[lane];
            block.fault = Some(RawFault::wrong_space(address, Access::Atomic, at));
            return Err(());
        }
        let place = block
            .resolve(space, addresses[lane], bytes, Access::Atomic, at)
            .ok_or(())?;
        let (a, b) = (truncate(a[lane], ty), truncate(b[lane], ty));
        let new = |old: u64| combine(op, ty, old, a, b);
        let is_integer = !matches!(
            ty,
            AtomicType::F32
                | AtomicType::F64
                | AtomicType::F16
                | AtomicType::F16x2
                | AtomicType::Bf16
                | AtomicType::Bf16x2
        ) || op == AtomicOp::Exchange;
        // SAFETY: `resolve` checked the address and its alignment.
        let before = unsafe {
            if space == Space::Shared {
                update_shared(place, bytes, new)
            } else {
                let fetched = match bytes {
                    4 if is_integer => fetch_u32(op, place, a as u32).map(u64::from),
                    8 if is_integer => fetch_u64(op, place, a),
                    _ => None,
                };
                fetched.unwrap_or_else(|| update_global(place, bytes, new))
            }
        };
        *has_changed |= new(before) != before;
        old[lane] = before;
    }
    if let Some(dst) = atomic.dst
        && dst.operand != Operand::NONE
    {
        // SAFETY: a destination of the running function.
        unsafe { put(lanes, dst, warp, mask, &old) };
    }
    Ok(())
}

/// # Safety
/// The element is a destination of the running function.
pub(crate) unsafe fn put(
    lanes: &Lanes,
    dst: Element,
    warp: usize,
    mask: u32,
    values: &[u64; WARP],
) {
    use super::lanes::store;
    use super::level::Portable;
    // SAFETY: the caller's contract; the portable level runs everywhere.
    unsafe {
        if dst.wide {
            let target = lanes.target::<u64>(dst.operand).add(warp * WARP);
            store::<Portable, u64>(mask, values, target);
        } else {
            let target = lanes.target::<u32>(dst.operand).add(warp * WARP);
            store::<Portable, u32>(mask, &values.map(|value| value as u32), target);
        }
    }
}
