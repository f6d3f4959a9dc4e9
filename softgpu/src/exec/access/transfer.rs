// SPDX-License-Identifier: Apache-2.0
//! One warp's data on its way between registers and memory.

mod space;

use super::super::code::Operand;
use super::super::lanes::{Lanes, WARP, store};
use super::super::level::Level;
use super::{Access, Element, Request};
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
