// SPDX-License-Identifier: Apache-2.0
//! One warp's accesses in one state space: checked, then carried out.

use super::{
    NO_STEPS, Pattern, Transfer, are_accessible, fill, host, is_legal, neighbours, read, write,
};
use crate::exec::access::{Request, room};
use crate::exec::code::Operand;
use crate::exec::lanes::{WARP, store};
use crate::exec::level::{Level, Portable};
use crate::exec::state::RangeCache;
use crate::memory::Memory;

impl<const SIZE: usize, const LOAD: bool> Transfer<'_, SIZE, LOAD> {
    /// What one warp's addresses look like, and the first active lane's base value.
    ///
    /// # Safety
    /// `values` is valid for 32 lanes; the CPU has level `L`.
    #[inline(always)]
    pub(in super::super) unsafe fn look32<L: Level>(
        &self,
        values: *const u32,
        mask: u32,
    ) -> (Pattern, u32) {
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
    pub(in super::super) unsafe fn look64<L: Level>(
        &self,
        values: *const u64,
        mask: u32,
    ) -> (Pattern, u64) {
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
    pub(in super::super) unsafe fn regular<L: Level>(
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
    pub(in super::super) unsafe fn regular_global<L: Level>(
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
    pub(in super::super) unsafe fn scattered_narrow<L: Level>(
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
    pub(in super::super) unsafe fn scattered_wide<L: Level>(
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
    pub(in super::super) unsafe fn regular_local<L: Level>(
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
    pub(in super::super) unsafe fn in_window(
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
    pub(in super::super) fn in_global(
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
    pub(in super::super) unsafe fn in_local(
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
    pub(in super::super) fn strong(
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
