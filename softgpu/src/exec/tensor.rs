// SPDX-License-Identifier: Apache-2.0
//! `cp.async.bulk.tensor` and `cp.reduce.async.bulk.tensor`, done at once.

use super::access::{AddressCode, Element};
use super::atomic::{combine, flushed, update_global};
use super::bulk::in_block;
use super::code::{Code, More};
use super::fault::Access;
use super::lanes::{Lanes, Step, WARP};
use super::mbarrier::tell_bytes;
use super::scalar;
use super::state::{BlockState, RawFault};
use crate::ir::{AtomicOp, AtomicType, Space, TensorDirection};
use crate::limits::MAX_CLUSTER_BLOCKS;
use crate::tensor_map::{
    CHUNK_BYTES, MAP_ALIGNMENT_BYTES, MAP_BYTES, RANK_MAX, Row, SHARED_ALIGNMENT_BYTES, Shape,
    TensorMap,
};

/// A decoded tensor copy.
#[derive(Debug)]
pub(crate) struct CopyTensorCode {
    pub(crate) direction: TensorDirection,
    pub(crate) is_im2col: bool,
    pub(crate) map: AddressCode,
    pub(crate) coordinates: Vec<Element>,
    pub(crate) offsets: Vec<Element>,
    pub(crate) shared: AddressCode,
    pub(crate) barrier: Option<AddressCode>,
    pub(crate) multicast: Option<Element>,
}

/// One lane's copy.
struct Job {
    map: TensorMap,
    rows: Vec<Row>,
    shared: u64,
    barrier: Option<u64>,
    lane: u32,
}

/// Executes a tensor copy, lane after lane.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_copy_tensor(lanes: &mut Lanes, code: &Code) -> Step {
    let More::CopyTensor(copy) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    block.note_load(false);
    block.note_store();
    let all = lanes.warps * WARP;
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        let (mask, maps, shared, barriers, blocks, coordinates, offsets) = unsafe {
            let read = |element: &Element| scalar::read(lanes, *element, warp);
            (
                *lanes.active.add(warp),
                copy.map.warp(lanes, warp),
                copy.shared.warp(lanes, warp),
                copy.barrier.map(|barrier| barrier.warp(lanes, warp)),
                copy.multicast.as_ref().map(read),
                copy.coordinates.iter().map(read).collect::<Vec<_>>(),
                copy.offsets.iter().map(read).collect::<Vec<_>>(),
            )
        };
        for lane in (0..WARP).filter(|lane| mask >> lane & 1 != 0) {
            let at = warp * WARP + lane;
            let Some(map) = read_map(block, copy, all, at, maps[lane]) else {
                return Step::Fault;
            };
            let mut place = [0; RANK_MAX];
            for (place, values) in place.iter_mut().zip(&coordinates) {
                *place = (values[lane] as u32).cast_signed();
            }
            let mut moved = [0; 3];
            for (moved, values) in moved.iter_mut().zip(&offsets) {
                *moved = values[lane] as u16;
            }
            let job = Job {
                rows: map.rows(place, moved),
                map,
                shared: shared[lane],
                barrier: barriers.map(|barriers| barriers[lane]),
                lane: at as u32,
            };
            let is_done = match &blocks {
                None => job.run(copy.direction, block).is_some(),
                Some(blocks) => job
                    .run_for_all(copy.direction, block, blocks[lane])
                    .is_some(),
            };
            if !is_done {
                return Step::Fault;
            }
        }
    }
    Step::Next
}

/// The map at a generic address, if it is one for this instruction; else a recorded fault.
fn read_map(
    block: &mut BlockState,
    copy: &CopyTensorCode,
    lanes: usize,
    lane: usize,
    address: u64,
) -> Option<TensorMap> {
    let mut bytes = [0; MAP_BYTES];
    let lane_number = lane as u32;
    if !address.is_multiple_of(MAP_ALIGNMENT_BYTES) {
        let length = MAP_BYTES as u32;
        block.fault = Some(RawFault::misaligned(
            address,
            length,
            Access::Read,
            lane_number,
        ));
        return None;
    }
    let map = match block.read_generic(lanes, lane, address, &mut bytes) {
        true => TensorMap::decode(&bytes),
        false => None,
    };
    let map = map.filter(|map| {
        let is_im2col = matches!(map.shape, Shape::Im2col { .. });
        let is_typed = match copy.direction {
            TensorDirection::Reduce(op) => map.element.reduction(op).is_some(),
            _ => true,
        };
        map.rank == copy.coordinates.len() && is_im2col == copy.is_im2col && is_typed
    });
    if map.is_none() {
        let length = MAP_BYTES as u32;
        let fault = RawFault::illegal(address, length, Access::Read, Space::Generic, lane_number);
        block.fault = Some(fault);
    }
    map
}

impl Job {
    /// A copy into each block of the cluster that is named.
    fn run_for_all(
        &self,
        direction: TensorDirection,
        block: &mut BlockState,
        blocks: u64,
    ) -> Option<()> {
        for rank in (0..u64::from(MAX_CLUSTER_BLOCKS)).filter(|rank| blocks >> rank & 1 != 0) {
            let one = Self {
                rows: self.rows.clone(),
                shared: in_block(self.shared, rank),
                barrier: self.barrier.map(|barrier| in_block(barrier, rank)),
                ..*self
            };
            one.run(direction, block)?;
        }
        Some(())
    }

    /// `None`: a fault has been recorded.
    fn run(&self, direction: TensorDirection, block: &mut BlockState) -> Option<()> {
        let (whole, lane) = (self.map.box_bytes(), self.lane);
        let access = match direction {
            TensorDirection::Load => Access::Write,
            _ => Access::Read,
        };
        if !self.shared.is_multiple_of(SHARED_ALIGNMENT_BYTES) {
            block.fault = Some(RawFault::misaligned(
                self.shared,
                whole as u32,
                access,
                lane,
            ));
            return None;
        }
        let Some(shared) = block.shared_place(self.shared, self.shared_bytes()) else {
            let fault = RawFault::illegal(self.shared, whole as u32, access, Space::Shared, lane);
            block.fault = Some(fault);
            return None;
        };
        for row in &self.rows {
            // SAFETY: `shared_place` checked the whole box.
            unsafe { self.copy_row(direction, block, shared, row)? };
        }
        match self.barrier {
            Some(barrier) => tell_bytes(block, barrier, whole as u64, lane).then_some(()),
            None => Some(()),
        }
    }

    /// Bytes in shared memory; chunks stay in their span.
    fn shared_bytes(&self) -> u64 {
        self.map.box_bytes() as u64
    }

    /// # Safety
    ///
    /// `shared` is the place of the box, valid for all of it.
    unsafe fn copy_row(
        &self,
        direction: TensorDirection,
        block: &mut BlockState,
        shared: *mut u8,
        row: &Row,
    ) -> Option<()> {
        let [first, end] = row.inside;
        let start = row.address.wrapping_add(first as u64);
        let length = end.saturating_sub(first) as u64;
        let is_load = direction == TensorDirection::Load;
        let memory = block.memory();
        let (is_allowed, access) = match direction {
            TensorDirection::Load => (memory.is_accessible(start, length.max(1)), Access::Read),
            TensorDirection::Store => (memory.is_writable(start, length.max(1)), Access::Write),
            TensorDirection::Reduce(_) => {
                (memory.is_writable(start, length.max(1)), Access::Atomic)
            }
        };
        if length > 0 && !is_allowed {
            let fault = RawFault::illegal(start, length as u32, access, Space::Global, self.lane);
            block.fault = Some(fault);
            return None;
        }
        for chunk in (0..row.bytes).step_by(CHUNK_BYTES) {
            let address = self.shared + (row.offset + chunk) as u64;
            let moved = self.map.swizzle.apply(address).wrapping_sub(self.shared);
            let from = first.clamp(chunk, chunk + CHUNK_BYTES);
            let to = end.clamp(from, chunk + CHUNK_BYTES);
            // SAFETY: the bytes from `from` to `to` are inside the row, which was checked, and the
            // chunk stays in the box.
            unsafe {
                let here = shared.add(moved as usize);
                if is_load {
                    let fill = self.map.fill();
                    std::ptr::copy_nonoverlapping(fill.as_ptr(), here, CHUNK_BYTES);
                }
                let here = here.add(from - chunk);
                let there = row.address.wrapping_add(from as u64) as usize;
                let there: *mut u8 = std::ptr::with_exposed_provenance_mut(there);
                match direction {
                    TensorDirection::Load => std::ptr::copy(there, here, to - from),
                    TensorDirection::Store => std::ptr::copy(here, there, to - from),
                    TensorDirection::Reduce(op) => {
                        let ty = self.map.element.reduction(op)?;
                        reduce(op, ty, there, here, to - from);
                    }
                }
            }
        }
        Some(())
    }
}

/// Combines elements of shared memory with those of global memory.
///
/// # Safety
///
/// Both places are valid for so many bytes, and aligned to the elements.
unsafe fn reduce(op: AtomicOp, ty: AtomicType, to: *mut u8, from: *const u8, bytes: usize) {
    let size = ty.bytes();
    for offset in (0..bytes).step_by(size as usize) {
        // SAFETY: the caller's contract.
        unsafe {
            let (to, from) = (to.add(offset), from.add(offset));
            let a = match size {
                2 => u64::from(from.cast::<u16>().read()),
                4 => u64::from(from.cast::<u32>().read()),
                _ => from.cast::<u64>().read(),
            };
            update_global(to, size, |old| {
                if (op, ty) == (AtomicOp::Add, AtomicType::F32) {
                    // As atomics on global memory do.
                    let (old, a) = (flushed(old as u32), flushed(a as u32));
                    flushed(combine(op, ty, old.into(), a.into(), 0) as u32).into()
                } else {
                    combine(op, ty, old, a, 0)
                }
            });
        }
    }
}
