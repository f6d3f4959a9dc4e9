// SPDX-License-Identifier: Apache-2.0
//! Loads and stores.
//!
//! Each warp's addresses are formed first. Then the usual patterns (consecutive, all equal) become one
//! check and one copy; the rest is gathered lane by lane. Nothing is touched before its address has been
//! checked.

use super::code::{Code, Operand};
use super::fault::Access as Kind;
use super::lanes::{Lanes, Step, WARP, store};
use super::level::Level;
use super::state::{BlockState, RawFault};
use crate::ir::{MemoryOrder, Space};
use crate::limits::{LOCAL_WINDOW_BASE, PARAM_WINDOW_BASE, SHARED_WINDOW_BASE, WINDOW_BYTES};

/// Longest span that a warp's scattered accesses may have to be checked as one range.
const GATHER_SPAN_BYTES: u64 = 64 << 10;

/// Where the addresses come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    /// 64-bit lanes.
    Wide(Operand),
    /// 32-bit lanes, zero-extended.
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
        // SAFETY: the operand belongs to the running function.
        unsafe {
            match self.base {
                Base::Wide(operand) => {
                    let (base, stride) = lanes.source::<u64>(operand);
                    let base = &*base.add(warp * stride).cast::<[u64; WARP]>();
                    std::array::from_fn(|lane| base[lane].wrapping_add_signed(self.offset))
                }
                Base::Narrow(operand) => {
                    let (base, stride) = lanes.source::<u32>(operand);
                    let base = &*base.add(warp * stride).cast::<[u32; WARP]>();
                    std::array::from_fn(|lane| {
                        u64::from(base[lane]).wrapping_add_signed(self.offset)
                    })
                }
                _ => [self.uniform(lanes).unwrap_or(0); WARP],
            }
        }
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
    /// Destinations or sources; `Operand::NONE` for `_`.
    pub(crate) elements: Vec<Element>,
}

/// One warp's addresses in one space.
struct Request<'a> {
    /// Byte offsets in shared, local or param memory; addresses in global memory.
    addresses: &'a [u64; WARP],
    /// Executing lanes, at least one.
    mask: u32,
    /// Bytes of all elements.
    bytes: u64,
    warp: usize,
}

impl Request<'_> {
    #[inline(always)]
    fn first(&self) -> usize {
        self.mask.trailing_zeros() as usize
    }

    fn active(&self) -> impl Iterator<Item = usize> {
        let mask = self.mask;
        (0..WARP).filter(move |lane| mask >> lane & 1 != 0)
    }
}

/// What a warp's addresses look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// One after the other, all lanes active.
    Consecutive,
    /// All the same.
    Uniform,
    Scattered,
}

#[inline(always)]
fn pattern(request: &Request<'_>) -> Pattern {
    let addresses = request.addresses;
    let step = addresses[1].wrapping_sub(addresses[0]);
    if request.mask == !0 && (step == request.bytes || step == 0) {
        let mut different = 0;
        for (lane, address) in addresses.iter().enumerate() {
            different |= address ^ addresses[0].wrapping_add(step.wrapping_mul(lane as u64));
        }
        if different == 0 {
            return if step == 0 {
                Pattern::Uniform
            } else {
                Pattern::Consecutive
            };
        }
    }
    Pattern::Scattered
}

/// Puts an active lane's address into the inactive lanes, so that whole vectors can be used.
#[inline(always)]
fn fill(addresses: &[u64; WARP], mask: u32) -> [u64; WARP] {
    if mask == !0 {
        return *addresses;
    }
    let usable = addresses[mask.trailing_zeros() as usize];
    std::array::from_fn(|lane| {
        let keep = 0_u64.wrapping_sub(u64::from(mask >> lane & 1));
        (addresses[lane] & keep) | (usable & !keep)
    })
}

/// The space that a generic address belongs to, with the base to subtract.
pub(crate) fn classify(address: u64) -> (Space, u64) {
    if address & !(WINDOW_BYTES - 1) == SHARED_WINDOW_BASE {
        (Space::Shared, SHARED_WINDOW_BASE)
    } else if address & !(WINDOW_BYTES - 1) == LOCAL_WINDOW_BASE {
        (Space::Local, LOCAL_WINDOW_BASE)
    } else if address & !(WINDOW_BYTES - 1) == PARAM_WINDOW_BASE {
        (Space::Param, PARAM_WINDOW_BASE)
    } else {
        (Space::Global, 0)
    }
}

/// Calls `each` for every space among the active lanes' generic addresses, with the lanes of that space
/// and the addresses relative to it.
#[inline(always)]
pub(crate) fn by_space<E>(
    space: Space,
    addresses: &[u64; WARP],
    mask: u32,
    mut each: impl FnMut(Space, &[u64; WARP], u32) -> Result<(), E>,
) -> Result<(), E> {
    match space {
        Space::Generic => {}
        Space::Const => return each(Space::Global, addresses, mask),
        _ => return each(space, addresses, mask),
    }
    let mut outside = 0;
    for address in fill(addresses, mask) {
        outside |= address >> 56;
    }
    if outside == 0 {
        return each(Space::Global, addresses, mask);
    }
    let mut left = mask;
    while left != 0 {
        let (space, base) = classify(addresses[left.trailing_zeros() as usize]);
        let mut same = 0;
        for lane in 0..WARP {
            same |= u32::from(classify(addresses[lane]).0 == space) << lane;
        }
        let relative = addresses.map(|address| address.wrapping_sub(base));
        each(space, &relative, left & same)?;
        left &= !same;
    }
    Ok(())
}

// === Memory of one space ===

/// Contiguous memory with a bound: shared and param memory.
#[derive(Clone, Copy)]
struct Window {
    base: *mut u8,
    bytes: u64,
}

impl BlockState {
    /// Records a fault of the first active lane for which `bad` holds.
    #[cold]
    #[inline(never)]
    fn fail(
        &mut self,
        request: &Request<'_>,
        space: Space,
        access: Kind,
        bad: impl Fn(&Self, u64) -> bool,
    ) -> Bad {
        let bytes = request.bytes as u32;
        for lane in request.active() {
            let address = request.addresses[lane];
            let at = (request.warp * WARP + lane) as u32;
            if address % request.bytes != 0 {
                self.fault = Some(RawFault::misaligned(address, bytes, access, at));
                return Bad;
            }
            if bad(self, address) {
                self.fault = Some(RawFault::illegal(address, bytes, access, space, at));
                return Bad;
            }
        }
        let at = (request.warp * WARP + request.first()) as u32;
        let address = request.addresses[request.first()];
        self.fault = Some(RawFault::illegal(address, bytes, access, space, at));
        Bad
    }

    fn window(&self, space: Space) -> Window {
        match space {
            Space::Param => Window {
                base: self.parameters.cast_mut(),
                bytes: u64::from(self.parameter_bytes),
            },
            _ => Window {
                base: self.shared,
                bytes: u64::from(self.shared_bytes),
            },
        }
    }
}

/// A fault has been recorded.
struct Bad;

/// Elements of one access of one warp on their way between memory and registers.
trait Transfer<L: Level> {
    /// All lanes: consecutive bytes from `memory` on.
    ///
    /// # Safety
    /// `memory` is valid for 32 accesses.
    unsafe fn consecutive(&mut self, memory: *mut u8);
    /// All lanes share one access.
    ///
    /// # Safety
    /// `memory` is valid for one access.
    unsafe fn uniform(&mut self, memory: *mut u8);
    /// `memory + offsets[lane]`; inactive lanes have usable offsets too.
    ///
    /// # Safety
    /// Every address is valid for one access.
    unsafe fn scattered(&mut self, memory: *mut u8, offsets: &[u64; WARP]);
}

// === Loads ===

struct LoadInto<'a, const SIZE: usize> {
    lanes: &'a Lanes,
    access: &'a Access,
    warp: usize,
    mask: u32,
}

impl<const SIZE: usize> LoadInto<'_, SIZE> {
    #[inline(always)]
    fn elements(&self) -> impl Iterator<Item = (usize, Element)> {
        let elements = self.access.elements.iter().copied().enumerate();
        elements.filter(|(_, element)| element.operand != Operand::NONE)
    }

    /// # Safety
    /// The element was decoded for the running function.
    #[inline(always)]
    unsafe fn put<L: Level>(&self, element: Element, values: &[u64; WARP]) {
        // SAFETY: the caller's contract.
        unsafe {
            let values = values.map(|value| extend::<SIZE>(value, self.access.signed));
            if element.wide {
                let target = self
                    .lanes
                    .target::<u64>(element.operand)
                    .add(self.warp * WARP);
                store::<L, u64>(self.mask, &values, target);
            } else {
                let target = self
                    .lanes
                    .target::<u32>(element.operand)
                    .add(self.warp * WARP);
                store::<L, u32>(self.mask, &values.map(|value| value as u32), target);
            }
        }
    }

    /// # Safety
    /// As [`LoadInto::put`].
    #[inline(always)]
    unsafe fn put32<L: Level>(&self, element: Element, values: &[u32; WARP]) {
        // SAFETY: the caller's contract.
        unsafe {
            if element.wide {
                self.put::<L>(element, &values.map(u64::from));
            } else {
                let target = self
                    .lanes
                    .target::<u32>(element.operand)
                    .add(self.warp * WARP);
                store::<L, u32>(self.mask, values, target);
            }
        }
    }
}

#[inline(always)]
fn extend<const SIZE: usize>(value: u64, signed: bool) -> u64 {
    let unused = 64 - 8 * SIZE as u32;
    if signed {
        ((value << unused) as i64 >> unused) as u64
    } else {
        value
    }
}

/// One element at `memory`, zero-extended.
///
/// # Safety
/// `memory` is readable for `SIZE` bytes.
#[inline(always)]
unsafe fn read<const SIZE: usize>(memory: *const u8) -> u64 {
    // SAFETY: the caller's contract.
    unsafe {
        match SIZE {
            1 => u64::from(memory.read()),
            2 => u64::from(memory.cast::<u16>().read_unaligned()),
            4 => u64::from(memory.cast::<u32>().read_unaligned()),
            _ => memory.cast::<u64>().read_unaligned(),
        }
    }
}

/// # Safety
/// `memory` is writable for `SIZE` bytes.
#[inline(always)]
unsafe fn write<const SIZE: usize>(memory: *mut u8, value: u64) {
    // SAFETY: the caller's contract.
    unsafe {
        match SIZE {
            1 => memory.write(value as u8),
            2 => memory.cast::<u16>().write_unaligned(value as u16),
            4 => memory.cast::<u32>().write_unaligned(value as u32),
            _ => memory.cast::<u64>().write_unaligned(value),
        }
    }
}

impl<L: Level, const SIZE: usize> Transfer<L> for LoadInto<'_, SIZE> {
    #[inline(always)]
    unsafe fn consecutive(&mut self, memory: *mut u8) {
        let count = self.access.elements.len();
        // SAFETY: the caller's contract.
        unsafe {
            if count == 1 {
                let Element { operand, wide } = self.access.elements[0];
                if operand == Operand::NONE {
                    return;
                }
                if SIZE == 4 && !wide {
                    let values = memory.cast::<[u32; WARP]>().read_unaligned();
                    return self.put32::<L>(self.access.elements[0], &values);
                }
                if SIZE == 8 {
                    let values = memory.cast::<[u64; WARP]>().read_unaligned();
                    return self.put::<L>(self.access.elements[0], &values);
                }
            }
            for (index, element) in self.elements() {
                let start = memory.add(index * SIZE);
                if SIZE == 4 && !element.wide {
                    let values: [u32; WARP] = std::array::from_fn(|lane| {
                        start
                            .add(lane * SIZE * count)
                            .cast::<u32>()
                            .read_unaligned()
                    });
                    self.put32::<L>(element, &values);
                } else {
                    let values =
                        std::array::from_fn(|lane| read::<SIZE>(start.add(lane * SIZE * count)));
                    self.put::<L>(element, &values);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn uniform(&mut self, memory: *mut u8) {
        // SAFETY: the caller's contract.
        unsafe {
            for (index, element) in self.elements() {
                let value = read::<SIZE>(memory.add(index * SIZE));
                if SIZE == 4 && !element.wide {
                    self.put32::<L>(element, &[value as u32; WARP]);
                } else {
                    self.put::<L>(element, &[value; WARP]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn scattered(&mut self, memory: *mut u8, offsets: &[u64; WARP]) {
        // SAFETY: the caller's contract.
        unsafe {
            for (index, element) in self.elements() {
                let start = memory.wrapping_add(index * SIZE);
                if SIZE == 4 && !element.wide {
                    let base = start.expose_provenance() as u64;
                    let values = L::gather32_at(&offsets.map(|offset| base.wrapping_add(offset)));
                    self.put32::<L>(element, &values);
                } else {
                    let values =
                        offsets.map(|offset| read::<SIZE>(start.wrapping_add(offset as usize)));
                    self.put::<L>(element, &values);
                }
            }
        }
    }
}

// === Stores ===

struct StoreFrom<'a, const SIZE: usize> {
    lanes: &'a Lanes,
    access: &'a Access,
    warp: usize,
    mask: u32,
}

impl<const SIZE: usize> StoreFrom<'_, SIZE> {
    /// # Safety
    /// The element was decoded for the running function.
    #[inline(always)]
    unsafe fn values(&self, element: Element) -> [u64; WARP] {
        // SAFETY: the caller's contract.
        unsafe {
            if element.wide {
                let (from, stride) = self.lanes.source::<u64>(element.operand);
                *from.add(self.warp * stride).cast::<[u64; WARP]>()
            } else {
                let (from, stride) = self.lanes.source::<u32>(element.operand);
                (*from.add(self.warp * stride).cast::<[u32; WARP]>()).map(u64::from)
            }
        }
    }
}

impl<L: Level, const SIZE: usize> Transfer<L> for StoreFrom<'_, SIZE> {
    #[inline(always)]
    unsafe fn consecutive(&mut self, memory: *mut u8) {
        let count = self.access.elements.len();
        // SAFETY: the caller's contract.
        unsafe {
            if count == 1 {
                let Element { operand, wide } = self.access.elements[0];
                if SIZE == 4 && !wide {
                    let (from, stride) = self.lanes.source::<u32>(operand);
                    let values = *from.add(self.warp * stride).cast::<[u32; WARP]>();
                    return memory.cast::<[u32; WARP]>().write_unaligned(values);
                }
                if SIZE == 8 && wide {
                    let (from, stride) = self.lanes.source::<u64>(operand);
                    let values = *from.add(self.warp * stride).cast::<[u64; WARP]>();
                    return memory.cast::<[u64; WARP]>().write_unaligned(values);
                }
            }
            for (index, &element) in self.access.elements.iter().enumerate() {
                let values = self.values(element);
                for (lane, value) in values.into_iter().enumerate() {
                    write::<SIZE>(memory.add((lane * count + index) * SIZE), value);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn uniform(&mut self, memory: *mut u8) {
        let last = 31 - self.mask.leading_zeros() as usize;
        // SAFETY: the caller's contract. One lane wins; which one is undefined in PTX.
        unsafe {
            for (index, &element) in self.access.elements.iter().enumerate() {
                write::<SIZE>(memory.add(index * SIZE), self.values(element)[last]);
            }
        }
    }

    #[inline(always)]
    unsafe fn scattered(&mut self, memory: *mut u8, offsets: &[u64; WARP]) {
        // SAFETY: the caller's contract.
        unsafe {
            for (index, &element) in self.access.elements.iter().enumerate() {
                let values = self.values(element);
                let start = memory.wrapping_add(index * SIZE);
                if self.mask == !0 {
                    for lane in 0..WARP {
                        write::<SIZE>(start.wrapping_add(offsets[lane] as usize), values[lane]);
                    }
                    continue;
                }
                let mut left = self.mask;
                while left != 0 {
                    let lane = left.trailing_zeros() as usize;
                    write::<SIZE>(start.wrapping_add(offsets[lane] as usize), values[lane]);
                    left &= left - 1;
                }
            }
        }
    }
}

// === One warp in one space ===

/// Shared and param memory.
#[inline(always)]
fn in_window<L: Level>(
    block: &mut BlockState,
    request: &Request<'_>,
    space: Space,
    kind: Kind,
    transfer: &mut impl Transfer<L>,
) -> Result<(), Bad> {
    let window = block.window(space);
    let end = window.bytes.saturating_sub(request.bytes - 1);
    let offsets = fill(request.addresses, request.mask);
    let (mut low_bits, mut highest) = (0, 0);
    for offset in offsets {
        low_bits |= offset;
        highest = highest.max(offset);
    }
    if low_bits & (request.bytes - 1) != 0 || highest >= end {
        let bad = |_: &BlockState, offset: u64| offset >= end;
        return Err(block.fail(request, space, kind, bad));
    }
    // SAFETY: every offset leaves room for an access below the window's end.
    unsafe {
        match pattern(request) {
            Pattern::Consecutive => {
                transfer.consecutive(window.base.add(request.addresses[0] as usize));
            }
            Pattern::Uniform => transfer.uniform(window.base.add(request.addresses[0] as usize)),
            Pattern::Scattered => transfer.scattered(window.base, &offsets),
        }
    }
    Ok(())
}

/// Global and const memory.
#[inline(always)]
fn in_global<L: Level>(
    block: &mut BlockState,
    request: &Request<'_>,
    kind: Kind,
    transfer: &mut impl Transfer<L>,
) -> Result<(), Bad> {
    let bytes = request.bytes;
    let first = request.addresses[request.first()];
    let shape = pattern(request);
    let aligned = first & (bytes - 1) == 0;
    let covered = match shape {
        Pattern::Consecutive => aligned && block.memory().is_accessible(first, bytes * 32),
        Pattern::Uniform => aligned && block.memory().is_accessible(first, bytes),
        Pattern::Scattered => false,
    };
    // SAFETY: `is_accessible` covers the bytes; a device address is a host address.
    unsafe {
        match shape {
            Pattern::Consecutive if covered => transfer.consecutive(host(first)),
            Pattern::Uniform if covered => transfer.uniform(host(first)),
            _ => {
                let addresses = fill(request.addresses, request.mask);
                if !scattered_are_accessible(block, &addresses, bytes) {
                    let bad = |block: &BlockState, address: u64| {
                        !block.memory().is_accessible(address, bytes)
                    };
                    return Err(block.fail(request, Space::Global, kind, bad));
                }
                transfer.scattered(std::ptr::null_mut(), &addresses);
            }
        }
    }
    Ok(())
}

#[inline(always)]
fn scattered_are_accessible(block: &BlockState, addresses: &[u64; WARP], bytes: u64) -> bool {
    let (mut low_bits, mut lowest, mut highest) = (0, u64::MAX, 0);
    for &address in addresses {
        low_bits |= address;
        lowest = lowest.min(address);
        highest = highest.max(address);
    }
    if low_bits & (bytes - 1) != 0 {
        return false;
    }
    let span = highest - lowest;
    (span < GATHER_SPAN_BYTES && block.memory().is_accessible(lowest, span + bytes))
        || addresses
            .iter()
            .all(|&address| block.memory().is_accessible(address, bytes))
}

fn host(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

/// Volatile and ordered accesses: one lane after the other, each a single atomic access.
#[inline(never)]
fn strong<const SIZE: usize>(
    lanes: &Lanes,
    block: &mut BlockState,
    access: &Access,
    request: &Request<'_>,
    is_load: bool,
) -> Result<(), Bad> {
    let kind = if is_load { Kind::Read } else { Kind::Write };
    let bytes = request.bytes;
    let bad = |block: &BlockState, address: u64| !block.memory().is_accessible(address, bytes);
    if request.active().any(|lane| {
        let address = request.addresses[lane];
        address % bytes != 0 || bad(block, address)
    }) {
        return Err(block.fail(request, Space::Global, kind, bad));
    }
    for (index, &element) in access.elements.iter().enumerate() {
        if element.operand == Operand::NONE {
            continue;
        }
        let transfer = StoreFrom::<SIZE> {
            lanes,
            access,
            warp: request.warp,
            mask: request.mask,
        };
        // SAFETY: decoded for the running function; destination registers can be read as well.
        let mut values = unsafe { transfer.values(element) };
        for lane in request.active() {
            let address = request.addresses[lane] + (index * SIZE) as u64;
            // SAFETY: checked above: accessible and aligned.
            unsafe {
                if is_load {
                    values[lane] = atomic_read::<SIZE>(address);
                } else {
                    atomic_write::<SIZE>(address, values[lane]);
                }
            }
        }
        if is_load {
            let into = LoadInto::<SIZE> {
                lanes,
                access,
                warp: request.warp,
                mask: request.mask,
            };
            // SAFETY: decoded for the running function; the portable level runs everywhere.
            unsafe { into.put::<super::level::Portable>(element, &values) };
        }
    }
    Ok(())
}

/// # Safety
/// `address` is accessible and aligned.
unsafe fn atomic_read<const SIZE: usize>(address: u64) -> u64 {
    use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Acquire};
    let place = host(address);
    // SAFETY: the caller's contract.
    unsafe {
        match SIZE {
            1 => u64::from(AtomicU8::from_ptr(place).load(Acquire)),
            2 => u64::from(AtomicU16::from_ptr(place.cast()).load(Acquire)),
            4 => u64::from(AtomicU32::from_ptr(place.cast()).load(Acquire)),
            _ => AtomicU64::from_ptr(place.cast()).load(Acquire),
        }
    }
}

/// # Safety
/// `address` is accessible and aligned.
unsafe fn atomic_write<const SIZE: usize>(address: u64, value: u64) {
    use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Release};
    let place = host(address);
    // SAFETY: the caller's contract.
    unsafe {
        match SIZE {
            1 => AtomicU8::from_ptr(place).store(value as u8, Release),
            2 => AtomicU16::from_ptr(place.cast()).store(value as u16, Release),
            4 => AtomicU32::from_ptr(place.cast()).store(value as u32, Release),
            _ => AtomicU64::from_ptr(place.cast()).store(value, Release),
        }
    }
}

// === Local memory: word w of lane l is at (w * lanes + l) * 4 ===

#[inline(always)]
fn in_local<L: Level, const SIZE: usize>(
    lanes: &Lanes,
    block: &mut BlockState,
    access: &Access,
    request: &Request<'_>,
    is_load: bool,
) -> Result<(), Bad> {
    let kind = if is_load { Kind::Read } else { Kind::Write };
    let end = u64::from(block.local_bytes).saturating_sub(request.bytes - 1);
    let offsets = fill(request.addresses, request.mask);
    let first = offsets[0];
    let (mut low_bits, mut highest, mut different) = (0, 0, 0);
    for offset in offsets {
        low_bits |= offset;
        highest = highest.max(offset);
        different |= offset ^ first;
    }
    if low_bits & (request.bytes - 1) != 0 || highest >= end {
        let bad = |_: &BlockState, offset: u64| offset >= end;
        return Err(block.fail(request, Space::Local, kind, bad));
    }
    let row = lanes.warps * WARP;
    let column = request.warp * WARP;
    let (warp, mask) = (request.warp, request.mask);
    let base = block.local;
    for (index, &element) in access.elements.iter().enumerate() {
        if element.operand == Operand::NONE {
            continue;
        }
        let skip = (index * SIZE) as u64;
        let into = LoadInto::<SIZE> {
            lanes,
            access,
            warp,
            mask,
        };
        let from = StoreFrom::<SIZE> {
            lanes,
            access,
            warp,
            mask,
        };
        // SAFETY: all offsets are inside the local memory of each lane.
        unsafe {
            if different == 0 && SIZE >= 4 {
                let place = base
                    .cast::<u32>()
                    .add(((first + skip) / 4) as usize * row + column);
                if is_load {
                    let low = place.cast::<[u32; WARP]>().read_unaligned();
                    if SIZE == 4 {
                        into.put32::<L>(element, &low);
                    } else {
                        let high = place.add(row).cast::<[u32; WARP]>().read_unaligned();
                        let values = std::array::from_fn(|lane| {
                            u64::from(low[lane]) | u64::from(high[lane]) << 32
                        });
                        into.put::<L>(element, &values);
                    }
                } else {
                    let values = from.values(element);
                    store::<L, u32>(mask, &values.map(|value| value as u32), place);
                    if SIZE == 8 {
                        let high = values.map(|value| (value >> 32) as u32);
                        store::<L, u32>(mask, &high, place.add(row));
                    }
                }
                continue;
            }
            let at = |offset: u64, lane: usize| {
                let word = (offset / 4) as usize * row + column + lane;
                base.add(word * 4 + (offset % 4) as usize)
            };
            if is_load {
                let values = std::array::from_fn(|lane| {
                    let offset = offsets[lane] + skip;
                    if SIZE == 8 {
                        read::<4>(at(offset, lane)) | read::<4>(at(offset + 4, lane)) << 32
                    } else {
                        read::<SIZE>(at(offset, lane))
                    }
                });
                into.put::<L>(element, &values);
            } else {
                let values = from.values(element);
                for lane in request.active() {
                    let offset = offsets[lane] + skip;
                    if SIZE == 8 {
                        write::<4>(at(offset, lane), values[lane]);
                        write::<4>(at(offset + 4, lane), values[lane] >> 32);
                    } else {
                        write::<SIZE>(at(offset, lane), values[lane]);
                    }
                }
            }
        }
    }
    Ok(())
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
    // SAFETY: the caller's contract. The match turns an associated constant into a generic argument.
    unsafe {
        match O::SIZE {
            1 => run_sized::<L, O, 1>(lanes, code),
            2 => run_sized::<L, O, 2>(lanes, code),
            4 => run_sized::<L, O, 4>(lanes, code),
            _ => run_sized::<L, O, 8>(lanes, code),
        }
    }
}

/// # Safety
/// As [`run_access`].
#[inline(always)]
unsafe fn run_sized<L: Level, O: AccessOp, const SIZE: usize>(
    lanes: &mut Lanes,
    code: &Code,
) -> Step {
    let super::code::More::Access(access) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    let lanes = &*lanes;
    let kind = if O::LOAD { Kind::Read } else { Kind::Write };
    let is_strong = access.order != MemoryOrder::Weak;
    let bytes = (SIZE * access.elements.len()) as u64;
    if O::LOAD {
        block.note_load(is_strong);
    } else if is_strong {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp.
        let mask = unsafe { *lanes.active.add(warp) };
        if mask == 0 {
            continue;
        }
        // SAFETY: decoded for the running function.
        let addresses = unsafe { access.address.warp(lanes, warp) };
        let done = by_space(access.space, &addresses, mask, |space, addresses, mask| {
            let request = Request {
                addresses,
                mask,
                bytes,
                warp,
            };
            if space == Space::Local {
                return in_local::<L, SIZE>(lanes, block, access, &request, O::LOAD);
            }
            if !O::LOAD {
                block.note_store();
                if space == Space::Param {
                    return Err(block.fail(&request, space, kind, |_, _| true));
                }
            }
            if is_strong && space == Space::Global {
                return strong::<SIZE>(lanes, block, access, &request, O::LOAD);
            }
            if O::LOAD {
                let mut into = LoadInto::<SIZE> {
                    lanes,
                    access,
                    warp,
                    mask,
                };
                if space == Space::Global {
                    in_global::<L>(block, &request, kind, &mut into)
                } else {
                    in_window::<L>(block, &request, space, kind, &mut into)
                }
            } else {
                let mut from = StoreFrom::<SIZE> {
                    lanes,
                    access,
                    warp,
                    mask,
                };
                if space == Space::Global {
                    in_global::<L>(block, &request, kind, &mut from)
                } else {
                    in_window::<L>(block, &request, space, kind, &mut from)
                }
            }
        });
        if done.is_err() {
            return Step::Fault;
        }
    }
    Step::Next
}

super::lanes::versions!(
    run_access,
    AccessOp,
    pick_access,
    access_v4,
    access_v3,
    access_portable
);
