// SPDX-License-Identifier: Apache-2.0
//! Bulk copies and 128-bit atomics.

use super::super::access::Element;
use super::super::bulk::{self, CopyBulkCode};
use super::super::code::{Code, More};
use super::super::tensor::{self, CopyTensorCode};
use super::super::wide::{self, AtomicWide};
use super::{Decoder, Frame, Mismatch, lanes};
use crate::ir::{Address, CopyBulk, CopyTensor, Reg, Space, Src};

impl Decoder<'_> {
    pub(super) fn copy_bulk(&mut self, frame: Frame, copy: &CopyBulk) -> Result<Code, Mismatch> {
        let multicast = copy.multicast;
        let code = CopyBulkCode {
            dst_space: copy.dst_space,
            dst: self.address(frame, copy.dst)?,
            src_space: copy.src_space,
            src: self.address(frame, copy.src)?,
            bytes: self.sized(frame, copy.bytes, false)?,
            barrier: copy
                .barrier
                .map(|barrier| self.address(frame, barrier))
                .transpose()?,
            reduction: copy.reduction,
            multicast: multicast
                .map(|mask| self.sized(frame, mask, false))
                .transpose()?,
        };
        Ok(Code {
            more: More::CopyBulk(Box::new(code)),
            ..lanes(bulk::run_copy_bulk)
        })
    }

    pub(super) fn copy_tensor(
        &mut self,
        frame: Frame,
        copy: &CopyTensor,
    ) -> Result<Code, Mismatch> {
        let mut each = |sources: &[Src]| -> Result<Vec<Element>, Mismatch> {
            let elements = sources.iter().map(|src| self.sized(frame, *src, false));
            elements.collect()
        };
        let (coordinates, offsets) = (each(&copy.coordinates)?, each(&copy.offsets)?);
        let multicast = copy.multicast.map(|mask| self.sized(frame, mask, false));
        let barrier = copy.barrier.map(|barrier| self.address(frame, barrier));
        let code = CopyTensorCode {
            direction: copy.direction,
            is_im2col: copy.is_im2col,
            map: self.address(frame, copy.map)?,
            coordinates,
            offsets,
            shared: self.address(frame, copy.shared)?,
            barrier: barrier.transpose()?,
            multicast: multicast.transpose()?,
        };
        Ok(Code {
            more: More::CopyTensor(Box::new(code)),
            ..lanes(tensor::run_copy_tensor)
        })
    }

    pub(super) fn atomic_wide(
        &mut self,
        frame: Frame,
        (space, is_strong): (Space, bool),
        address: Address,
        dst: Option<[Reg; 2]>,
        [compare, new]: [Option<[Src; 2]>; 2],
    ) -> Result<Code, Mismatch> {
        let target = |reg: Reg| {
            let operand = self.target(frame, reg, true)?;
            Ok(Element {
                operand,
                wide: true,
            })
        };
        let both = |[low, high]: [Reg; 2]| Ok::<_, Mismatch>([target(low)?, target(high)?]);
        let dst = dst.map(both).transpose()?;
        let mut pair = |[low, high]: [Src; 2]| {
            Ok::<_, Mismatch>([
                self.sized(frame, low, true)?,
                self.sized(frame, high, true)?,
            ])
        };
        let new = new.map(&mut pair).transpose()?;
        let compare = compare.map(pair).transpose()?;
        let atomic = AtomicWide {
            space,
            is_strong,
            address: self.address(frame, address)?,
            dst,
            compare,
            new,
        };
        Ok(Code {
            more: More::AtomicWide(Box::new(atomic)),
            ..lanes(wide::run_atomic_wide)
        })
    }
}
