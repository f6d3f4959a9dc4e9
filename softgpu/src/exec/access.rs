// SPDX-License-Identifier: Apache-2.0
//! Loads and stores.
//!
//! Each warp's addresses are formed first. Then the usual patterns (consecutive, all equal) become
//! one check and one copy; the rest is gathered lane by lane. Nothing is touched before its address
//! has been checked.
//!
//! Loops are written out instead of using closures: a closure is compiled for the portable CPU
//! level unless it happens to be inlined.

mod transfer;

use super::cluster::SharedWindow;
use super::code::{Code, More, Operand};
use super::fault::Access as Kind;
use super::lanes::{Lanes, Step, WARP};
use super::level::Level;
use super::state::{BlockState, RawFault};
use crate::ir::{MemoryOrder, Space};
use crate::limits::{
    CLUSTER_SHARED_STRIDE, LOCAL_WINDOW_BASE, PARAM_WINDOW_BASE, SHARED_WINDOW_BASE, WINDOW_BYTES,
};
use transfer::{Pattern, Transfer};

/// Where the addresses come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    /// 64-bit lanes.
    Wide(Operand),
    /// 32-bit lanes; the address is computed in 32 bits.
    Narrow(Operand),
    /// The same for all lanes.
    Absolute,
    /// The local frame.
    Frame,
    /// The end of the local frame.
    CalleeFrame,
}

/// An address operand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressCode {
    pub(crate) base: Base,
    pub(crate) offset: i64,
}

impl AddressCode {
    /// The address, when all lanes have the same by construction.
    #[inline(always)]
    pub(crate) fn uniform(&self, lanes: &Lanes) -> Option<u64> {
        let base = match self.base {
            Base::Wide(_) | Base::Narrow(_) => return None,
            Base::Absolute => 0,
            Base::Frame => u64::from(lanes.local_base),
            Base::CalleeFrame => u64::from(lanes.local_end),
        };
        Some(base.wrapping_add_signed(self.offset))
    }

    /// The addresses of one warp.
    ///
    /// # Safety
    /// Decoded for the running function.
    #[inline(always)]
    pub(crate) unsafe fn warp(&self, lanes: &Lanes, warp: usize) -> [u64; WARP] {
        let mut out = [0; WARP];
        // SAFETY: the operand belongs to the running function.
        unsafe {
            match self.base {
                Base::Wide(operand) => {
                    let (base, stride) = lanes.source::<u64>(operand);
                    let base = &*base.add(warp * stride).cast::<[u64; WARP]>();
                    for lane in 0..WARP {
                        out[lane] = base[lane].wrapping_add_signed(self.offset);
                    }
                }
                Base::Narrow(operand) => {
                    let (base, stride) = lanes.source::<u32>(operand);
                    let base = &*base.add(warp * stride).cast::<[u32; WARP]>();
                    for lane in 0..WARP {
                        out[lane] = u64::from(base[lane].wrapping_add(self.offset as u32));
                    }
                }
                _ => out = [self.uniform(lanes).unwrap_or(0); WARP],
            }
        }
        out
    }
}

/// A register or constant of an access: one element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    pub(crate) operand: Operand,
    /// 64-bit lanes.
    pub(crate) wide: bool,
}

/// A decoded load or store.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) space: Space,
    pub(crate) address: AddressCode,
    /// Sign-extend.
    pub(crate) signed: bool,
    pub(crate) order: MemoryOrder,
    /// Slot in the range cache.
    pub(crate) slot: usize,
    /// Destinations or sources; `Operand::NONE` for `_`.
    pub(crate) elements: Vec<Element>,
}

/// One warp of an access.
#[derive(Clone, Copy)]
struct Request {
    /// Executing lanes, at least one.
    mask: u32,
    warp: usize,
}

impl Request {
    #[inline(always)]
    fn first(&self) -> usize {
        self.mask.trailing_zeros() as usize
    }

    #[inline(always)]
    fn last(&self) -> usize {
        31 - self.mask.leading_zeros() as usize
    }
}

/// The space that a generic address belongs to, with the base to subtract.
#[inline(always)]
pub(crate) fn classify(address: u64) -> (Space, u64) {
    match address & !(WINDOW_BYTES - 1) {
        SHARED_WINDOW_BASE => (Space::Shared, SHARED_WINDOW_BASE),
        LOCAL_WINDOW_BASE => (Space::Local, LOCAL_WINDOW_BASE),
        PARAM_WINDOW_BASE => (Space::Param, PARAM_WINDOW_BASE),
        _ => (Space::Global, 0),
    }
}

/// The lanes among `mask` whose generic address is in the same space as the lowest one's, that
/// space, and its base.
#[inline(always)]
pub(crate) fn same_space(addresses: &[u64; WARP], mask: u32) -> (u32, Space, u64) {
    let (space, base) = classify(addresses[mask.trailing_zeros() as usize]);
    let mut same = 0;
    for lane in 0..WARP {
        same |= u32::from(classify(addresses[lane]).0 == space) << lane;
    }
    (mask & same, space, base)
}

/// Offsets below this leave room for an access.
#[inline(always)]
fn room(length: u32, bytes: u64) -> u64 {
    (u64::from(length) + 1).saturating_sub(bytes)
}

impl BlockState {
    /// Records the fault of the first active lane whose access is misaligned or out of bounds.
    #[cold]
    #[inline(never)]
    fn fail(
        &mut self,
        request: &Request,
        addresses: &[u64; WARP],
        space: Space,
        bytes: u64,
        access: Kind,
    ) {
        let space = if space == Space::Const {
            Space::Global
        } else {
            space
        };
        let is_legal = |address: u64| match space {
            Space::Shared => self.shared_place(address, bytes).is_some(),
            Space::Param if access == Kind::Read => address < room(self.parameter_bytes, bytes),
            Space::Param => false,
            Space::Local => address < room(self.local_bytes, bytes),
            _ if access == Kind::Read => self.memory().is_accessible(address, bytes),
            _ => self.memory().is_writable(address, bytes),
        };
        let mut lanes = (0..WARP).filter(|lane| request.mask >> lane & 1 != 0);
        let bad = lanes
            .find(|&lane| !addresses[lane].is_multiple_of(bytes) || !is_legal(addresses[lane]));
        let lane = bad.unwrap_or(request.first());
        let (address, at) = (addresses[lane], (request.warp * WARP + lane) as u32);
        self.fault = Some(if address % bytes != 0 {
            RawFault::misaligned(address, bytes as u32, access, at)
        } else {
            RawFault::illegal(address, bytes as u32, access, space, at)
        });
    }
}

// === Instructions ===

/// What a load or store instruction is instantiated over.
pub(crate) trait AccessOp {
    const SIZE: usize;
    const LOAD: bool;
}

/// A load of `SIZE`-byte elements.
pub(crate) struct Load<const SIZE: usize>;
/// A store of `SIZE`-byte elements.
pub(crate) struct Store<const SIZE: usize>;

impl<const SIZE: usize> AccessOp for Load<SIZE> {
    const SIZE: usize = SIZE;
    const LOAD: bool = true;
}

impl<const SIZE: usize> AccessOp for Store<SIZE> {
    const SIZE: usize = SIZE;
    const LOAD: bool = false;
}

/// # Safety
/// `code` was decoded for the running function; the CPU has level `L`.
#[inline(always)]
unsafe fn run_access<L: Level, O: AccessOp>(lanes: &mut Lanes, code: &Code) -> Step {
    // SAFETY: the caller's contract. The match turns associated constants into generic arguments.
    unsafe {
        match (O::SIZE, O::LOAD) {
            (1, true) => run_sized::<L, 1, true>(lanes, code),
            (2, true) => run_sized::<L, 2, true>(lanes, code),
            (4, true) => run_sized::<L, 4, true>(lanes, code),
            (_, true) => run_sized::<L, 8, true>(lanes, code),
            (1, false) => run_sized::<L, 1, false>(lanes, code),
            (2, false) => run_sized::<L, 2, false>(lanes, code),
            (4, false) => run_sized::<L, 4, false>(lanes, code),
            (_, false) => run_sized::<L, 8, false>(lanes, code),
        }
    }
}

/// # Safety
/// As [`run_access`].
#[inline(always)]
unsafe fn run_sized<L: Level, const SIZE: usize, const LOAD: bool>(
    lanes: &mut Lanes,
    code: &Code,
) -> Step {
    let More::Access(access) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    let is_strong = access.order != MemoryOrder::Weak;
    if LOAD {
        block.note_load(is_strong);
    } else {
        if access.space != Space::Local {
            block.note_store();
        }
        if is_strong {
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        }
    }
    block.refresh_ranges();
    let transfer = Transfer::<SIZE, LOAD>::new(lanes, access);
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; decoded for the running function; the CPU has level `L`.
        let is_done = unsafe {
            let mask = *lanes.active.add(warp);
            if mask == 0 {
                continue;
            }
            let request = Request { mask, warp };
            run_regular::<L, SIZE, LOAD>(&transfer, lanes, block, request)
                || run_scattered::<L, SIZE, LOAD>(&transfer, lanes, block, request)
                || run_any::<SIZE, LOAD>(&transfer, lanes, block, request)
        };
        if !is_done {
            return Step::Fault;
        }
    }
    Step::Next
}

/// One warp whose addresses are consecutive or equal; false: nothing done.
///
/// # Safety
/// As [`run_access`].
#[inline(always)]
unsafe fn run_regular<L: Level, const SIZE: usize, const LOAD: bool>(
    transfer: &Transfer<'_, SIZE, LOAD>,
    lanes: &Lanes,
    block: &mut BlockState,
    request: Request,
) -> bool {
    let address = &transfer.access.address;
    // SAFETY: the caller's contract.
    let (pattern, first) = unsafe {
        match address.base {
            Base::Wide(operand) => {
                let (values, stride) = lanes.source::<u64>(operand);
                let values = values.add(request.warp * stride);
                let (pattern, first) = transfer.look64::<L>(values, request.mask);
                (pattern, first.wrapping_add_signed(address.offset))
            }
            Base::Narrow(operand) => {
                let (values, stride) = lanes.source::<u32>(operand);
                let values = values.add(request.warp * stride);
                let (pattern, first) = transfer.look32::<L>(values, request.mask);
                (
                    pattern,
                    u64::from(first.wrapping_add(address.offset as u32)),
                )
            }
            _ => (Pattern::Uniform, address.uniform(lanes).unwrap_or(0)),
        }
    };
    if pattern == Pattern::Scattered {
        return false;
    }
    let (space, first) = match transfer.access.space {
        Space::Generic => {
            let (space, base) = classify(first);
            (space, first.wrapping_sub(base))
        }
        space => (space, first),
    };
    // SAFETY: the block's pointers are valid for their lengths.
    unsafe {
        match space {
            Space::Shared => {
                let (base, length) = (block.shared, block.shared_bytes);
                transfer.regular::<L>(&request, pattern, first, base, length)
            }
            Space::Param => {
                let length = if LOAD { block.parameter_bytes } else { 0 };
                let base = block.parameters.cast_mut();
                transfer.regular::<L>(&request, pattern, first, base, length)
            }
            Space::Local if pattern == Pattern::Uniform && SIZE >= 4 => {
                let (base, length) = (block.local, block.local_bytes);
                transfer.regular_local::<L>(&request, first, base, length)
            }
            // Local memory is not laid out like that.
            Space::Local => false,
            _ if transfer.access.order != MemoryOrder::Weak => false,
            _ => transfer.regular_global::<L>(&request, pattern, first, &*block.memory),
        }
    }
}

/// One warp with other addresses in shared memory, or in the allocation that the instruction
/// touched last; false: nothing done.
///
/// # Safety
/// As [`run_access`].
#[inline(always)]
unsafe fn run_scattered<L: Level, const SIZE: usize, const LOAD: bool>(
    transfer: &Transfer<'_, SIZE, LOAD>,
    lanes: &Lanes,
    block: &mut BlockState,
    request: Request,
) -> bool {
    let Access {
        space,
        address,
        order,
        slot,
        ..
    } = transfer.access;
    // SAFETY: the caller's contract.
    unsafe {
        match (address.base, space) {
            (Base::Narrow(operand), Space::Shared) => {
                let (values, stride) = lanes.source::<u32>(operand);
                let values = values.add(request.warp * stride);
                let (base, length) = (block.shared, block.shared_bytes);
                transfer.scattered_narrow::<L>(&request, values, address.offset, base, length)
            }
            (Base::Wide(operand), Space::Global | Space::Const | Space::Generic)
                if *order == MemoryOrder::Weak =>
            {
                let (values, stride) = lanes.source::<u64>(operand);
                let values = values.add(request.warp * stride);
                let (start, end) = block.ranges.get(*slot);
                transfer.scattered_wide::<L>(&request, values, address.offset, start, end)
            }
            _ => false,
        }
    }
}

/// One warp with any addresses; false: a fault has been recorded.
///
/// # Safety
/// As [`run_access`].
#[inline(never)]
unsafe fn run_any<const SIZE: usize, const LOAD: bool>(
    transfer: &Transfer<'_, SIZE, LOAD>,
    lanes: &Lanes,
    block: &mut BlockState,
    request: Request,
) -> bool {
    // SAFETY: the caller's contract.
    let addresses = unsafe { transfer.access.address.warp(lanes, request.warp) };
    let mut left = request.mask;
    let mut high_bits = 0;
    for lane in 0..WARP {
        high_bits |= addresses[lane];
    }
    // Inactive lanes may hold anything; then the slower way is as right.
    let is_plain = transfer.access.space != Space::Generic || high_bits >> 56 == 0;
    loop {
        let (mask, space, base) = match transfer.access.space {
            Space::Generic if is_plain => (left, Space::Global, 0),
            Space::Generic => same_space(&addresses, left),
            space => (left, space, 0),
        };
        let mut relative = [0; WARP];
        for lane in 0..WARP {
            relative[lane] = addresses[lane].wrapping_sub(base);
        }
        let part = Request {
            mask,
            warp: request.warp,
        };
        // SAFETY: the caller's contract.
        if !unsafe { run_space::<SIZE, LOAD>(transfer, block, &part, &relative, space) } {
            return false;
        }
        left &= !mask;
        if left == 0 {
            return true;
        }
    }
}

/// One warp with any addresses in one space; false: a fault has been recorded.
///
/// # Safety
/// As [`run_access`].
#[inline(always)]
unsafe fn run_space<const SIZE: usize, const LOAD: bool>(
    transfer: &Transfer<'_, SIZE, LOAD>,
    block: &mut BlockState,
    request: &Request,
    addresses: &[u64; WARP],
    space: Space,
) -> bool {
    // SAFETY: the block's pointers are valid for their lengths.
    let is_done = unsafe {
        match space {
            Space::Global | Space::Const | Space::Generic => {
                if transfer.access.order == MemoryOrder::Weak {
                    let memory = &*block.memory;
                    transfer.in_global(request, addresses, memory, &mut block.ranges)
                } else {
                    transfer.strong(request, addresses, block.memory())
                }
            }
            Space::Shared => {
                transfer.in_window(request, addresses, block.shared, block.shared_bytes)
                    || in_cluster(transfer, block, request, addresses)
            }
            Space::Param => {
                let length = if LOAD { block.parameter_bytes } else { 0 };
                transfer.in_window(request, addresses, block.parameters.cast_mut(), length)
            }
            Space::Local => transfer.in_local(request, addresses, block.local, block.local_bytes),
        }
    };
    if !is_done {
        let kind = if LOAD { Kind::Read } else { Kind::Write };
        block.fail(request, addresses, space, transfer.bytes, kind);
    }
    is_done
}

/// One warp with any addresses in the shared memory of the cluster. False: some lane's access is
/// illegal; the lanes before it may have been served.
///
/// # Safety
/// As [`run_access`].
#[cold]
#[inline(never)]
unsafe fn in_cluster<const SIZE: usize, const LOAD: bool>(
    transfer: &Transfer<'_, SIZE, LOAD>,
    block: &BlockState,
    request: &Request,
    addresses: &[u64; WARP],
) -> bool {
    let mut left = request.mask;
    while left != 0 {
        let (mask, window, offsets) = same_window(block, addresses, left);
        let part = Request {
            mask,
            warp: request.warp,
        };
        // SAFETY: the window of a running block is valid for its length.
        if !unsafe { transfer.in_window(&part, &offsets, window.base, window.bytes) } {
            return false;
        }
        left &= !mask;
    }
    true
}

/// The lanes among `mask` whose shared address is in the same block's memory as the lowest one's,
/// that memory, and the offsets in it.
pub(crate) fn same_window(
    block: &BlockState,
    addresses: &[u64; WARP],
    mask: u32,
) -> (u32, SharedWindow, [u64; WARP]) {
    let first = addresses[mask.trailing_zeros() as usize];
    let (window, offset) = block.shared_window(first);
    let base = first - offset;
    let mut same = 0;
    let mut offsets = [0; WARP];
    for lane in 0..WARP {
        let is_same = addresses[lane] / CLUSTER_SHARED_STRIDE == first / CLUSTER_SHARED_STRIDE;
        same |= u32::from(is_same) << lane;
        offsets[lane] = addresses[lane].wrapping_sub(base);
    }
    (mask & same, window, offsets)
}

super::lanes::versions!(
    run_access,
    AccessOp,
    pick_access,
    access_v4,
    access_v3,
    access_portable
);
