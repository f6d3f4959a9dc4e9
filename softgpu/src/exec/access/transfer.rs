// SPDX-License-Identifier: Apache-2.0
//! One warp's data on its way between registers and memory.

use super::super::code::Operand;
use super::super::lanes::{Lanes, WARP, store};
use super::super::level::{Level, Portable};
use super::super::state::RangeCache;
use super::{Access, Element, Request, room};
use crate::memory::Memory;

/// An access instruction, with what is the same for all its warps.
pub(super) struct Transfer<'a, const SIZE: usize, const LOAD: bool> {
    lanes: &'a Lanes,
    pub(super) access: &'a Access,
    /// Bytes of all elements.
    pub(super) bytes: u64,
    steps: &'static Steps,
}

/// Distances of consecutive accesses of a length.
struct Steps {
    narrow: [u32; WARP],
    wide: [u64; WARP],
}

/// For lengths of 1, 2, 4, … 64 bytes.
static STEPS: [Steps; 7] = [
    Steps::new(1),
    Steps::new(2),
    Steps::new(4),
    Steps::new(8),
    Steps::new(16),
    Steps::new(32),
    Steps::new(64),
];

static NO_STEPS: Steps = Steps::new(0);

impl Steps {
    const fn new(bytes: u32) -> Self {
        let mut steps = Self {
            narrow: [0; WARP],
            wide: [0; WARP],
        };
        let mut lane = 0;
        while lane < WARP {
            steps.narrow[lane] = lane as u32 * bytes;
            steps.wide[lane] = steps.narrow[lane] as u64;
            lane += 1;
        }
        steps
    }
}

/// What a warp's addresses look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// One after the other.
    Consecutive,
    /// All the same.
    Uniform,
    Scattered,
}

/// The first active lane, and another one that tells what the addresses may look like: the next, or
/// the last active one.
#[inline(always)]
fn neighbours(mask: u32) -> (usize, usize) {
    let last = 31 - mask.leading_zeros() as usize;
    (
        mask.trailing_zeros() as usize,
        if mask == !0 { 1 } else { last },
    )
}

/// Puts an active lane's address into the inactive lanes, so that whole vectors can be used.
#[inline(always)]
fn fill(addresses: &[u64; WARP], mask: u32) -> [u64; WARP] {
    if mask == !0 {
        return *addresses;
    }
    let usable = addresses[mask.trailing_zeros() as usize];
    let mut out = [0; WARP];
    for lane in 0..WARP {
        let keep = 0_u64.wrapping_sub(u64::from(mask >> lane & 1));
        out[lane] = (addresses[lane] & keep) | (usable & !keep);
    }
    out
}

#[inline(always)]
fn host(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
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

#[inline(always)]
fn is_legal<const LOAD: bool>(memory: &Memory, address: u64, bytes: u64) -> bool {
    match LOAD {
        true => memory.is_accessible(address, bytes),
        false => memory.is_writable(address, bytes),
    }
}

/// Whether all lanes' accesses are aligned and legal.
#[inline(never)]
fn are_accessible<const LOAD: bool>(memory: &Memory, addresses: &[u64; WARP], bytes: u64) -> bool {
    addresses
        .iter()
        .all(|&address| address & (bytes - 1) == 0 && is_legal::<LOAD>(memory, address, bytes))
}

/// One warp of a source register.
#[derive(Clone, Copy)]
enum Register {
    Narrow(*const u32),
    Wide(*const u64),
}

impl Register {
    /// # Safety
    /// The register is still there; `lane < 32`.
    #[inline(always)]
    unsafe fn lane(self, lane: usize) -> u64 {
        // SAFETY: the caller's contract.
        unsafe {
            match self {
                Self::Narrow(from) => u64::from(*from.add(lane)),
                Self::Wide(from) => *from.add(lane),
            }
        }
    }
}

// === Registers ===

impl<'a, const SIZE: usize, const LOAD: bool> Transfer<'a, SIZE, LOAD> {
    #[inline(always)]
    pub(super) fn new(lanes: &'a Lanes, access: &'a Access) -> Self {
        let bytes = (SIZE * access.elements.len()) as u64;
        // Lengths are powers of two up to 64: at most eight elements of at most eight bytes.
        let steps = &STEPS[(bytes.trailing_zeros() as usize).min(STEPS.len() - 1)];
        Self {
            lanes,
            access,
            bytes,
            steps,
        }
    }

    /// Writes 64-bit staged values to a destination.
    ///
    /// # Safety
    /// The element is a destination of the running function; the CPU has level `L`.
    #[inline(always)]
    unsafe fn put<L: Level>(&self, element: Element, warp: usize, mask: u32, values: &[u64; WARP]) {
        // SAFETY: the caller's contract.
        unsafe {
            if element.wide {
                let mut out = [0; WARP];
                for lane in 0..WARP {
                    out[lane] = extend::<SIZE>(values[lane], self.access.signed);
                }
                let target = self.lanes.target::<u64>(element.operand).add(warp * WARP);
                store::<L, u64>(mask, &out, target);
            } else {
                let mut out = [0; WARP];
                for lane in 0..WARP {
                    out[lane] = extend::<SIZE>(values[lane], self.access.signed) as u32;
                }
                let target = self.lanes.target::<u32>(element.operand).add(warp * WARP);
                store::<L, u32>(mask, &out, target);
            }
        }
    }

    /// Writes whole 32-bit values to a destination.
    ///
    /// # Safety
    /// As [`Transfer::put`].
    #[inline(always)]
    unsafe fn put32<L: Level>(
        &self,
        element: Element,
        warp: usize,
        mask: u32,
        values: &[u32; WARP],
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            if element.wide {
                let mut out = [0; WARP];
                for lane in 0..WARP {
                    out[lane] = u64::from(values[lane]);
                }
                self.put::<L>(element, warp, mask, &out);
            } else {
                let target = self.lanes.target::<u32>(element.operand).add(warp * WARP);
                store::<L, u32>(mask, values, target);
            }
        }
    }

    /// One warp of a source register.
    ///
    /// # Safety
    /// The element belongs to the running function.
    #[inline(always)]
    unsafe fn register(&self, element: Element, warp: usize) -> Register {
        // SAFETY: the caller's contract.
        unsafe {
            if element.wide {
                let (from, stride) = self.lanes.source::<u64>(element.operand);
                Register::Wide(from.add(warp * stride))
            } else {
                let (from, stride) = self.lanes.source::<u32>(element.operand);
                Register::Narrow(from.add(warp * stride))
            }
        }
    }

    /// Reads a register, zero-extended.
    ///
    /// # Safety
    /// The element belongs to the running function.
    #[inline(always)]
    unsafe fn values(&self, element: Element, warp: usize) -> [u64; WARP] {
        // SAFETY: the caller's contract.
        unsafe {
            if element.wide {
                let (from, stride) = self.lanes.source::<u64>(element.operand);
                *from.add(warp * stride).cast::<[u64; WARP]>()
            } else {
                let (from, stride) = self.lanes.source::<u32>(element.operand);
                let from = &*from.add(warp * stride).cast::<[u32; WARP]>();
                let mut out = [0; WARP];
                for lane in 0..WARP {
                    out[lane] = u64::from(from[lane]);
                }
                out
            }
        }
    }
}

// === Memory that has been checked ===

impl<const SIZE: usize, const LOAD: bool> Transfer<'_, SIZE, LOAD> {
    /// The first active lane at `memory`, the next ones after it.
    ///
    /// # Safety
    /// `memory` is valid up to the last active lane's access; the CPU has level `L`.
    #[inline(always)]
    unsafe fn consecutive<L: Level>(&self, request: &Request, memory: *mut u8) {
        let elements = self.access.elements.as_slice();
        let (warp, mask) = (request.warp, request.mask);
        // SAFETY: the caller's contract.
        unsafe {
            if mask != !0 {
                let start = memory.wrapping_sub(self.steps.wide[request.first()] as usize);
                let mut offsets = [0; WARP];
                for lane in 0..WARP {
                    let inside = lane.clamp(request.first(), request.last());
                    offsets[lane] = self.steps.wide[inside];
                }
                return self.scattered::<L>(warp, mask, start, &offsets);
            }
            if let [element] = elements
                && element.operand != Operand::NONE
                && (SIZE == 8 || (SIZE == 4 && !element.wide))
            {
                return self.whole(*element, warp, memory);
            }
            if SIZE == 4 && elements.len() == 4 {
                return self.quads::<L>(warp, memory);
            }
            self.strided::<L>(warp, memory);
        }
    }

    /// One element a lane that fills its register, all lanes: a copy.
    ///
    /// # Safety
    /// As [`Transfer::consecutive`].
    #[inline(always)]
    unsafe fn whole(&self, element: Element, warp: usize, memory: *mut u8) {
        // SAFETY: the caller's contract.
        unsafe {
            if SIZE == 4 {
                let memory = memory.cast::<[u32; WARP]>();
                if LOAD {
                    let target = self.lanes.target::<u32>(element.operand).add(warp * WARP);
                    target.cast::<[u32; WARP]>().write(memory.read_unaligned());
                } else {
                    let (from, stride) = self.lanes.source::<u32>(element.operand);
                    memory.write_unaligned(from.add(warp * stride).cast::<[u32; WARP]>().read());
                }
            } else {
                let memory = memory.cast::<[u64; WARP]>();
                if LOAD {
                    let target = self.lanes.target::<u64>(element.operand).add(warp * WARP);
                    target.cast::<[u64; WARP]>().write(memory.read_unaligned());
                } else {
                    let (from, stride) = self.lanes.source::<u64>(element.operand);
                    memory.write_unaligned(from.add(warp * stride).cast::<[u64; WARP]>().read());
                }
            }
        }
    }

    /// Four 32-bit elements a lane, all lanes: transposed four lanes at a time.
    ///
    /// # Safety
    /// As [`Transfer::consecutive`].
    #[inline(always)]
    unsafe fn quads<L: Level>(&self, warp: usize, memory: *mut u8) {
        let elements = self.access.elements.as_slice();
        // SAFETY: the caller's contract.
        unsafe {
            if LOAD {
                let mut columns = [[0_u32; WARP]; 4];
                for group in 0..WARP / 4 {
                    let rows = memory
                        .add(group * 64)
                        .cast::<[[u32; 4]; 4]>()
                        .read_unaligned();
                    for row in 0..4 {
                        for column in 0..4 {
                            columns[column][group * 4 + row] = rows[row][column];
                        }
                    }
                }
                for index in 0..4 {
                    if elements[index].operand != Operand::NONE {
                        self.put32::<L>(elements[index], warp, !0, &columns[index]);
                    }
                }
                return;
            }
            let mut columns = [[0_u64; WARP]; 4];
            for index in 0..4 {
                columns[index] = self.values(elements[index], warp);
            }
            for group in 0..WARP / 4 {
                let mut rows = [[0_u32; 4]; 4];
                for row in 0..4 {
                    for column in 0..4 {
                        rows[row][column] = columns[column][group * 4 + row] as u32;
                    }
                }
                memory
                    .add(group * 64)
                    .cast::<[[u32; 4]; 4]>()
                    .write_unaligned(rows);
            }
        }
    }

    /// Several elements a lane, or narrow ones, all lanes.
    ///
    /// # Safety
    /// As [`Transfer::consecutive`].
    #[inline(always)]
    unsafe fn strided<L: Level>(&self, warp: usize, memory: *mut u8) {
        let step = self.bytes as usize;
        // SAFETY: the caller's contract.
        unsafe {
            for (index, &element) in self.access.elements.iter().enumerate() {
                if element.operand == Operand::NONE {
                    continue;
                }
                let start = memory.add(index * SIZE);
                if LOAD {
                    let mut values = [0; WARP];
                    for lane in 0..WARP {
                        values[lane] = read::<SIZE>(start.add(lane * step));
                    }
                    self.put::<L>(element, warp, !0, &values);
                } else {
                    let values = self.values(element, warp);
                    for lane in 0..WARP {
                        write::<SIZE>(start.add(lane * step), values[lane]);
                    }
                }
            }
        }
    }

    /// All lanes of the mask share one access.
    ///
    /// # Safety
    /// `memory` is valid for one access; the CPU has level `L`.
    #[inline(always)]
    unsafe fn uniform<L: Level>(&self, request: &Request, memory: *mut u8) {
        let (warp, mask) = (request.warp, request.mask);
        // SAFETY: the caller's contract.
        unsafe {
            for (index, &element) in self.access.elements.iter().enumerate() {
                if element.operand == Operand::NONE {
                    continue;
                }
                let place = memory.add(index * SIZE);
                if !LOAD {
                    // One lane wins; which one is undefined in PTX.
                    write::<SIZE>(place, self.values(element, warp)[request.last()]);
                } else if SIZE == 4 && !element.wide {
                    self.put32::<L>(element, warp, mask, &[read::<4>(place) as u32; WARP]);
                } else {
                    self.put::<L>(element, warp, mask, &[read::<SIZE>(place); WARP]);
                }
            }
        }
    }

    /// `memory + offsets[lane]`; inactive lanes have usable offsets too.
    ///
    /// # Safety
    /// Every address is valid for one access; the CPU has level `L`.
    #[inline(always)]
    unsafe fn scattered<L: Level>(
        &self,
        warp: usize,
        mask: u32,
        memory: *mut u8,
        offsets: &[u64; WARP],
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            for (index, &element) in self.access.elements.iter().enumerate() {
                if element.operand == Operand::NONE {
                    continue;
                }
                let start = memory.wrapping_add(index * SIZE);
                if LOAD && SIZE == 4 && !element.wide {
                    let base = start.expose_provenance() as u64;
                    let mut addresses = [0; WARP];
                    for lane in 0..WARP {
                        addresses[lane] = base.wrapping_add(offsets[lane]);
                    }
                    let values = L::gather32_at(&addresses);
                    self.put32::<L>(element, warp, mask, &values);
                } else if LOAD {
                    let mut values = [0; WARP];
                    for lane in 0..WARP {
                        values[lane] = read::<SIZE>(start.wrapping_add(offsets[lane] as usize));
                    }
                    self.put::<L>(element, warp, mask, &values);
                } else {
                    let values = self.values(element, warp);
                    let mut left = mask;
                    while left != 0 {
                        let lane = left.trailing_zeros() as usize;
                        let place = start.wrapping_add(offsets[lane] as usize);
                        write::<SIZE>(place, values[lane]);
                        left &= left - 1;
                    }
                }
            }
        }
    }
}

// === One warp in one space ===

impl<const SIZE: usize, const LOAD: bool> Transfer<'_, SIZE, LOAD> {
    /// What one warp's addresses look like, and the first active lane's base value.
    ///
    /// # Safety
    /// `values` is valid for 32 lanes; the CPU has level `L`.
    #[inline(always)]
    pub(super) unsafe fn look32<L: Level>(&self, values: *const u32, mask: u32) -> (Pattern, u32) {
        let (first, other) = neighbours(mask);
        // SAFETY: the caller's contract.
        unsafe {
            let (start, next) = (*values.add(first), *values.add(other));
            let origin = start.wrapping_sub(self.steps.narrow[first]);
            let (pattern, origin, steps) =
                if next == origin.wrapping_add(self.steps.narrow[other]) && first != other {
                    (Pattern::Consecutive, origin, self.steps)
                } else if next == start {
                    (Pattern::Uniform, start, &NO_STEPS)
                } else {
                    return (Pattern::Scattered, start);
                };
            let is_right = L::matches32(values, origin, &steps.narrow) | !mask == !0;
            (
                if is_right {
                    pattern
                } else {
                    Pattern::Scattered
                },
                start,
            )
        }
    }

    /// As [`Transfer::look32`] on 64-bit lanes.
    ///
    /// # Safety
    /// As [`Transfer::look32`].
    #[inline(always)]
    pub(super) unsafe fn look64<L: Level>(&self, values: *const u64, mask: u32) -> (Pattern, u64) {
        let (first, other) = neighbours(mask);
        // SAFETY: the caller's contract.
        unsafe {
            let (start, next) = (*values.add(first), *values.add(other));
            let origin = start.wrapping_sub(self.steps.wide[first]);
            let (pattern, origin, steps) =
                if next == origin.wrapping_add(self.steps.wide[other]) && first != other {
                    (Pattern::Consecutive, origin, self.steps)
                } else if next == start {
                    (Pattern::Uniform, start, &NO_STEPS)
                } else {
                    return (Pattern::Scattered, start);
                };
            let is_right = L::matches64(values, origin, &steps.wide) | !mask == !0;
            (
                if is_right {
                    pattern
                } else {
                    Pattern::Scattered
                },
                start,
            )
        }
    }

    /// Carries out consecutive or uniform accesses in memory that is addressed directly:
    /// `start..end` may be used, and `base` is added. False: nothing done.
    ///
    /// # Safety
    /// The range is valid; the CPU has level `L`.
    #[inline(always)]
    pub(super) unsafe fn regular<L: Level>(
        &self,
        request: &Request,
        pattern: Pattern,
        first: u64,
        base: *mut u8,
        length: u32,
    ) -> bool {
        let lanes = match pattern {
            Pattern::Consecutive => (request.last() - request.first() + 1) as u64,
            _ => 1,
        };
        if first & (self.bytes - 1) != 0 || first >= room(length, self.bytes * lanes) {
            return false;
        }
        // SAFETY: all accesses are inside.
        unsafe { self.carry_out::<L>(request, pattern, base.add(first as usize)) };
        true
    }

    /// As [`Transfer::regular`], in global memory.
    ///
    /// # Safety
    /// The CPU has level `L`.
    #[inline(always)]
    pub(super) unsafe fn regular_global<L: Level>(
        &self,
        request: &Request,
        pattern: Pattern,
        first: u64,
        memory: &Memory,
    ) -> bool {
        let lanes = match pattern {
            Pattern::Consecutive => (request.last() - request.first() + 1) as u64,
            _ => 1,
        };
        if first & (self.bytes - 1) != 0 || !is_legal::<LOAD>(memory, first, self.bytes * lanes) {
            return false;
        }
        // SAFETY: all accesses are allocated; a device address is a host address.
        unsafe { self.carry_out::<L>(request, pattern, host(first)) };
        true
    }

    /// # Safety
    /// The memory is valid for the accesses; the CPU has level `L`.
    #[inline(always)]
    unsafe fn carry_out<L: Level>(&self, request: &Request, pattern: Pattern, memory: *mut u8) {
        // SAFETY: the caller's contract.
        unsafe {
            if pattern == Pattern::Consecutive {
                self.consecutive::<L>(request, memory);
            } else {
                self.uniform::<L>(request, memory);
            }
        }
    }

    /// Shared memory at any offsets: `length` bytes at `base`. False: nothing done.
    ///
    /// # Safety
    /// `base` is valid for `length` bytes, `values` for 32 lanes; the CPU has level `L`.
    #[inline(always)]
    pub(super) unsafe fn scattered_narrow<L: Level>(
        &self,
        request: &Request,
        values: *const u32,
        offset: i64,
        base: *mut u8,
        length: u32,
    ) -> bool {
        let (warp, mask) = (request.warp, request.mask);
        let (limit, low_bits) = (room(length, self.bytes) as u32, self.bytes as u32 - 1);
        // SAFETY: every offset has been checked.
        unsafe {
            let Some(offsets) = L::offsets32(values, offset as u32, mask, limit, low_bits) else {
                return false;
            };
            for (index, &element) in self.access.elements.iter().enumerate() {
                if element.operand == Operand::NONE {
                    continue;
                }
                let start = base.wrapping_add(index * SIZE);
                if LOAD && SIZE == 4 && !element.wide {
                    let values = L::gather32(start, &offsets);
                    let target = self.lanes.target::<u32>(element.operand).add(warp * WARP);
                    store::<L, u32>(mask, &values, target);
                } else if LOAD {
                    let mut values = [0; WARP];
                    for lane in 0..WARP {
                        values[lane] = read::<SIZE>(start.add(offsets[lane] as usize));
                    }
                    self.put::<L>(element, warp, mask, &values);
                } else {
                    let from = self.register(element, warp);
                    let mut left = mask;
                    while left != 0 {
                        let lane = left.trailing_zeros() as usize;
                        write::<SIZE>(start.add(offsets[lane] as usize), from.lane(lane));
                        left &= left - 1;
                    }
                }
            }
        }
        true
    }

    /// Global memory at any addresses from `start` to `end`, which is allocated. False: nothing
    /// done.
    ///
    /// # Safety
    /// `values` is valid for 32 lanes; the CPU has level `L`.
    #[inline(always)]
    pub(super) unsafe fn scattered_wide<L: Level>(
        &self,
        request: &Request,
        values: *const u64,
        offset: i64,
        start: u64,
        end: u64,
    ) -> bool {
        let (warp, mask) = (request.warp, request.mask);
        let limit = (end - start + 1).saturating_sub(self.bytes);
        let low_bits = self.bytes - 1;
        // SAFETY: every address has been checked; a device address is a host address.
        unsafe {
            let Some(mut addresses) =
                L::offsets64(values, offset as u64, mask, start, limit, low_bits)
            else {
                return false;
            };
            for (index, &element) in self.access.elements.iter().enumerate() {
                if index > 0 {
                    for address in &mut addresses {
                        *address += SIZE as u64;
                    }
                }
                if element.operand == Operand::NONE {
                    continue;
                }
                if LOAD && SIZE == 4 && !element.wide {
                    let values = L::gather32_at(&addresses);
                    let target = self.lanes.target::<u32>(element.operand).add(warp * WARP);
                    store::<L, u32>(mask, &values, target);
                } else if LOAD {
                    let mut values = [0; WARP];
                    for lane in 0..WARP {
                        values[lane] = read::<SIZE>(host(addresses[lane]));
                    }
                    self.put::<L>(element, warp, mask, &values);
                } else {
                    let from = self.register(element, warp);
                    let mut left = mask;
                    while left != 0 {
                        let lane = left.trailing_zeros() as usize;
                        write::<SIZE>(host(addresses[lane]), from.lane(lane));
                        left &= left - 1;
                    }
                }
            }
        }
        true
    }

    /// Local memory at the same offset in all lanes. False: nothing done.
    ///
    /// # Safety
    /// `base` is valid for `length` bytes of every lane; the CPU has level `L`.
    #[inline(always)]
    pub(super) unsafe fn regular_local<L: Level>(
        &self,
        request: &Request,
        offset: u64,
        base: *mut u8,
        length: u32,
    ) -> bool {
        if offset & (self.bytes - 1) != 0 || offset >= room(length, self.bytes) {
            return false;
        }
        // SAFETY: the offset is inside the local memory of each lane.
        unsafe { self.local_rows::<L>(request, base, offset) };
        true
    }

    /// Shared and param memory at any offsets: `length` bytes at `base`. False: some lane's access
    /// is illegal.
    ///
    /// # Safety
    /// `base` is valid for `length` bytes.
    pub(super) unsafe fn in_window(
        &self,
        request: &Request,
        addresses: &[u64; WARP],
        base: *mut u8,
        length: u32,
    ) -> bool {
        let offsets = fill(addresses, request.mask);
        let end = room(length, self.bytes);
        if !offsets
            .iter()
            .all(|offset| offset & (self.bytes - 1) == 0 && *offset < end)
        {
            return false;
        }
        // SAFETY: every offset has been checked; the portable level runs everywhere.
        unsafe { self.scattered::<Portable>(request.warp, request.mask, base, &offsets) };
        true
    }

    /// Global and const memory at any addresses. False: some lane's access is illegal.
    pub(super) fn in_global(
        &self,
        request: &Request,
        addresses: &[u64; WARP],
        memory: &Memory,
        ranges: &mut RangeCache,
    ) -> bool {
        let addresses = fill(addresses, request.mask);
        if !are_accessible::<LOAD>(memory, &addresses, self.bytes) {
            return false;
        }
        ranges.miss(self.access.slot, memory, addresses[0]);
        let null = std::ptr::null_mut();
        // SAFETY: `are_accessible` covers the bytes; a device address is a host address; the
        // portable level runs everywhere.
        unsafe { self.scattered::<Portable>(request.warp, request.mask, null, &addresses) };
        true
    }

    /// Local memory: word w of lane l is at `(w * lanes + l) * 4`. False: some lane's access is
    /// illegal.
    ///
    /// # Safety
    /// `base` is valid for `length` bytes of every lane.
    pub(super) unsafe fn in_local(
        &self,
        request: &Request,
        addresses: &[u64; WARP],
        base: *mut u8,
        length: u32,
    ) -> bool {
        let offsets = fill(addresses, request.mask);
        let end = room(length, self.bytes);
        if !offsets
            .iter()
            .all(|offset| offset & (self.bytes - 1) == 0 && *offset < end)
        {
            return false;
        }
        // SAFETY: all offsets are inside the local memory of each lane; the portable level runs
        // everywhere.
        unsafe { self.local_words::<Portable>(request, base, &offsets) };
        true
    }

    /// The same offset in all lanes: whole rows.
    ///
    /// # Safety
    /// The offset is inside the local memory; the CPU has level `L`.
    #[inline(always)]
    unsafe fn local_rows<L: Level>(&self, request: &Request, base: *mut u8, offset: u64) {
        let (warp, mask) = (request.warp, request.mask);
        let row = self.lanes.warps * WARP;
        for (index, &element) in self.access.elements.iter().enumerate() {
            if element.operand == Operand::NONE {
                continue;
            }
            let word = (offset as usize + index * SIZE) / 4;
            // SAFETY: the caller's contract.
            unsafe {
                let place = base.cast::<u32>().add(word * row + warp * WARP);
                if LOAD {
                    let low = place.cast::<[u32; WARP]>().read();
                    if SIZE == 4 {
                        self.put32::<L>(element, warp, mask, &low);
                        continue;
                    }
                    let high = place.add(row).cast::<[u32; WARP]>().read();
                    let mut values = [0; WARP];
                    for lane in 0..WARP {
                        values[lane] = u64::from(low[lane]) | u64::from(high[lane]) << 32;
                    }
                    self.put::<L>(element, warp, mask, &values);
                    continue;
                }
                let values = self.values(element, warp);
                let (mut low, mut high) = ([0; WARP], [0; WARP]);
                for lane in 0..WARP {
                    low[lane] = values[lane] as u32;
                    high[lane] = (values[lane] >> 32) as u32;
                }
                store::<L, u32>(mask, &low, place);
                if SIZE == 8 {
                    store::<L, u32>(mask, &high, place.add(row));
                }
            }
        }
    }

    /// Any offsets: lane by lane.
    ///
    /// # Safety
    /// The offsets are inside the local memory; the CPU has level `L`.
    #[inline(always)]
    unsafe fn local_words<L: Level>(
        &self,
        request: &Request,
        base: *mut u8,
        offsets: &[u64; WARP],
    ) {
        let (warp, mask) = (request.warp, request.mask);
        let row = self.lanes.warps * WARP;
        for (index, &element) in self.access.elements.iter().enumerate() {
            if element.operand == Operand::NONE {
                continue;
            }
            // SAFETY: the caller's contract.
            unsafe {
                let mut values = if LOAD {
                    [0; WARP]
                } else {
                    self.values(element, warp)
                };
                for lane in 0..WARP {
                    let offset = offsets[lane] as usize + index * SIZE;
                    let word = (offset / 4 * row + warp * WARP + lane) * 4;
                    let place = base.add(word + offset % 4);
                    let next = place.wrapping_add(row * 4);
                    if LOAD {
                        values[lane] = if SIZE == 8 {
                            read::<4>(place) | read::<4>(next) << 32
                        } else {
                            read::<SIZE>(place)
                        };
                    } else if mask >> lane & 1 != 0 {
                        if SIZE == 8 {
                            write::<4>(place, values[lane]);
                            write::<4>(next, values[lane] >> 32);
                        } else {
                            write::<SIZE>(place, values[lane]);
                        }
                    }
                }
                if LOAD {
                    self.put::<L>(element, warp, mask, &values);
                }
            }
        }
    }

    /// Volatile and ordered accesses to global memory: one lane after the other, each element a
    /// single atomic access. False: some lane's access is illegal.
    #[inline(never)]
    pub(super) fn strong(
        &self,
        request: &Request,
        addresses: &[u64; WARP],
        memory: &Memory,
    ) -> bool {
        let (warp, mask) = (request.warp, request.mask);
        let addresses = fill(addresses, mask);
        if !are_accessible::<LOAD>(memory, &addresses, self.bytes) {
            return false;
        }
        for (index, &element) in self.access.elements.iter().enumerate() {
            if element.operand == Operand::NONE {
                continue;
            }
            // SAFETY: decoded for the running function; destination registers can be read as well.
            // The addresses are accessible and aligned. The portable level runs everywhere.
            unsafe {
                let mut values = self.values(element, warp);
                for lane in (0..WARP).filter(|lane| mask >> lane & 1 != 0) {
                    let address = addresses[lane] + (index * SIZE) as u64;
                    if LOAD {
                        values[lane] = atomic_read::<SIZE>(address);
                    } else {
                        atomic_write::<SIZE>(address, values[lane]);
                    }
                }
                if LOAD {
                    self.put::<Portable>(element, warp, mask, &values);
                }
            }
        }
        true
    }
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
