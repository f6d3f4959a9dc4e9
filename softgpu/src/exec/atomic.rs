// SPDX-License-Identifier: Apache-2.0
//! `atom` and `red`.
//!
//! Lanes are served in ascending order. Global memory is shared with the blocks on other threads
//! and gets real atomics; shared memory belongs to the one thread that runs the block.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst, fence};

use super::access::{AddressCode, Element, same_space, same_window};
use super::cluster::SharedWindow;
use super::code::{Code, More};
use super::fault::Access;
use super::half;
use super::lanes::{Lanes, Step, WARP};
use super::state::{BlockState, RawFault};
use crate::ir::{AtomicOp, AtomicType, MemoryOrder, Space};
use crate::limits::CLUSTER_SHARED_STRIDE;

/// A decoded atomic.
#[derive(Debug)]
pub(crate) struct Atomic {
    pub(crate) space: Space,
    pub(crate) address: AddressCode,
    pub(crate) op: AtomicOp,
    pub(crate) ty: AtomicType,
    pub(crate) order: MemoryOrder,
    /// Slot in the range cache.
    pub(crate) slot: usize,
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
pub(crate) fn combine(op: AtomicOp, ty: AtomicType, old: u64, a: u64, b: u64) -> u64 {
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
pub(crate) unsafe fn update_global(place: *mut u8, bytes: u32, f: impl Fn(u64) -> u64) -> u64 {
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
pub(crate) unsafe fn update_shared(place: *mut u8, bytes: u32, f: impl Fn(u64) -> u64) -> u64 {
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
    block.refresh_ranges();
    let mut has_changed = false;
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        let done = unsafe {
            let mask = *lanes.active.add(warp);
            if mask == 0 {
                continue;
            }
            let addresses = atomic.address.warp(lanes, warp);
            run_spaces(
                lanes,
                block,
                atomic,
                warp,
                &addresses,
                mask,
                &mut has_changed,
            )
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

/// Each space among the generic addresses by itself.
///
/// # Safety
/// As [`run_atomic`].
unsafe fn run_spaces(
    lanes: &Lanes,
    block: &mut BlockState,
    atomic: &Atomic,
    warp: usize,
    addresses: &[u64; WARP],
    mask: u32,
    has_changed: &mut bool,
) -> Result<(), ()> {
    let mut left = mask;
    while left != 0 {
        let (mut part, space, base) = match atomic.space {
            Space::Generic => same_space(addresses, left),
            space => (left, space, 0),
        };
        let mut relative = addresses.map(|address| address.wrapping_sub(base));
        let mut window = block.own_window();
        if space == Space::Shared && is_remote(&relative, part) {
            (part, window, relative) = same_window(block, &relative, part);
        }
        let warp_part = WarpPart {
            warp,
            mask: part,
            space,
            window,
        };
        // SAFETY: the caller's contract.
        unsafe { run_warp(lanes, block, atomic, &warp_part, &relative, has_changed)? };
        left &= !part;
    }
    Ok(())
}

/// Whether one of the shared addresses names another block of the cluster.
fn is_remote(addresses: &[u64; WARP], mask: u32) -> bool {
    let mut lanes = (0..WARP).filter(|lane| mask >> lane & 1 != 0);
    lanes.any(|lane| addresses[lane] >= CLUSTER_SHARED_STRIDE)
}

/// Lanes of a warp whose addresses are in one memory.
struct WarpPart {
    warp: usize,
    mask: u32,
    space: Space,
    /// The shared memory that addresses of [`Space::Shared`] count from.
    window: SharedWindow,
}

/// # Safety
/// As [`run_atomic`].
unsafe fn run_warp(
    lanes: &Lanes,
    block: &mut BlockState,
    atomic: &Atomic,
    part: &WarpPart,
    addresses: &[u64; WARP],
    has_changed: &mut bool,
) -> Result<(), ()> {
    let WarpPart {
        warp, mask, space, ..
    } = *part;
    let base = check(block, atomic, part, addresses)?;
    // SAFETY: operands of the running function.
    let (a, b) = unsafe {
        let b = atomic.b.map(|b| values(lanes, b, warp));
        (values(lanes, atomic.a, warp), b.unwrap_or([0; WARP]))
    };
    let job = Job {
        atomic,
        space,
        base,
        addresses,
        mask,
        a: &a,
        b: &b,
    };
    let mut old = [0_u64; WARP];
    // SAFETY: `check` has looked at every active lane's address.
    unsafe { job.run(&mut old, has_changed) };
    if let Some(dst) = atomic.dst {
        // SAFETY: a destination of the running function.
        unsafe { put(lanes, dst, warp, mask, &old) };
    }
    Ok(())
}

/// Checks the address of every active lane; answers what to add to it.
fn check(
    block: &mut BlockState,
    atomic: &Atomic,
    part: &WarpPart,
    addresses: &[u64; WARP],
) -> Result<*mut u8, ()> {
    let WarpPart {
        warp,
        mask,
        space,
        window,
    } = *part;
    let bytes = u64::from(atomic.ty.bytes());
    let (start, end, base) = match space {
        Space::Shared => (0, u64::from(window.bytes), window.base),
        _ => {
            let (start, end) = block.ranges.get(atomic.slot);
            (start, end, std::ptr::null_mut())
        }
    };
    let room = (end - start + 1).saturating_sub(bytes);
    let is_inside = |lane: usize| {
        let address = addresses[lane];
        address.wrapping_sub(start) < room && address & (bytes - 1) == 0
    };
    let is_known = matches!(space, Space::Shared | Space::Global);
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        if is_known && is_inside(lane) {
            continue;
        }
        let (address, at) = (addresses[lane], (warp * WARP + lane) as u32);
        if !is_known {
            block.fault = Some(RawFault::wrong_space(address, Access::Atomic, at));
            return Err(());
        }
        if space == Space::Shared {
            block.fault = Some(if address.is_multiple_of(bytes) {
                RawFault::illegal(address, bytes as u32, Access::Atomic, space, at)
            } else {
                RawFault::misaligned(address, bytes as u32, Access::Atomic, at)
            });
            return Err(());
        }
        block
            .resolve(space, address, bytes as u32, Access::Atomic, at)
            .ok_or(())?;
        // SAFETY: the launch keeps the memory alive while blocks run.
        block
            .ranges
            .miss(atomic.slot, unsafe { &*block.memory }, address);
    }
    Ok(base)
}

/// One warp's checked atomics.
struct Job<'a> {
    atomic: &'a Atomic,
    space: Space,
    base: *mut u8,
    addresses: &'a [u64; WARP],
    mask: u32,
    a: &'a [u64; WARP],
    b: &'a [u64; WARP],
}

impl Job<'_> {
    /// # Safety
    /// Every active lane's address is valid and aligned.
    unsafe fn run(&self, old: &mut [u64; WARP], has_changed: &mut bool) {
        let Atomic { op, ty, .. } = *self.atomic;
        let is_shared = self.space == Space::Shared;
        // Flushed on global memory only, as the device does.
        let flush = ty == AtomicType::F32 && op == AtomicOp::Add && !is_shared;
        // SAFETY: the caller's contract.
        unsafe {
            match (is_shared, op, ty) {
                (true, AtomicOp::Add, AtomicType::U32 | AtomicType::S32) => {
                    self.each(old, has_changed, |place, a, _| {
                        let before = place.cast::<u32>().read();
                        place.cast::<u32>().write(before.wrapping_add(a as u32));
                        (before.into(), a as u32 != 0)
                    });
                }
                (true, ..) => self.each(old, has_changed, |place, a, b| {
                    let new = |old| combine(op, ty, old, a, b);
                    let before = update_shared(place, ty.bytes(), new);
                    (before, new(before) != before)
                }),
                (_, AtomicOp::Add, AtomicType::U32 | AtomicType::S32) => {
                    self.each(old, has_changed, |place, a, _| {
                        let cell = AtomicU32::from_ptr(place.cast());
                        (cell.fetch_add(a as u32, SeqCst).into(), a as u32 != 0)
                    });
                }
                (_, AtomicOp::Add, AtomicType::U64 | AtomicType::S64) => {
                    self.each(old, has_changed, |place, a, _| {
                        (
                            AtomicU64::from_ptr(place.cast()).fetch_add(a, SeqCst),
                            a != 0,
                        )
                    });
                }
                (_, AtomicOp::CompareAndSwap, AtomicType::U32) => {
                    self.each(old, has_changed, |place, a, b| {
                        let cell = AtomicU32::from_ptr(place.cast());
                        let done = cell.compare_exchange(a as u32, b as u32, SeqCst, SeqCst);
                        let before = done.unwrap_or_else(|before| before);
                        (before.into(), done.is_ok() && a as u32 != b as u32)
                    });
                }
                _ => self.each(old, has_changed, |place, a, b| {
                    let new = |old: u64| {
                        if flush {
                            let old = flushed(old as u32);
                            return flushed(add_f32(old, flushed(a as u32))).into();
                        }
                        combine(op, ty, old, a, b)
                    };
                    let before = update_global(place, ty.bytes(), new);
                    (before, new(before) != before)
                }),
            }
        }
    }

    /// Applies `f` to the place and operands of each active lane; it answers the old value and
    /// whether it changed.
    ///
    /// # Safety
    /// As [`Job::run`].
    #[inline(always)]
    unsafe fn each(
        &self,
        old: &mut [u64; WARP],
        has_changed: &mut bool,
        f: impl Fn(*mut u8, u64, u64) -> (u64, bool),
    ) {
        let ty = self.atomic.ty;
        let mut left = self.mask;
        while left != 0 {
            let lane = left.trailing_zeros() as usize;
            left &= left - 1;
            let place = if self.space == Space::Shared {
                self.base.wrapping_add(self.addresses[lane] as usize)
            } else {
                std::ptr::with_exposed_provenance_mut(self.addresses[lane] as usize)
            };
            let (a, b) = (truncate(self.a[lane], ty), truncate(self.b[lane], ty));
            let (before, is_changed) = f(place, a, b);
            old[lane] = before;
            *has_changed |= is_changed;
        }
    }
}

pub(crate) fn flushed(bits: u32) -> u32 {
    super::float::flush(f32::from_bits(bits)).to_bits()
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
            let mut narrow = [0; WARP];
            for lane in 0..WARP {
                narrow[lane] = values[lane] as u32;
            }
            let target = lanes.target::<u32>(dst.operand).add(warp * WARP);
            store::<Portable, u32>(mask, &narrow, target);
        }
    }
}
