// SPDX-License-Identifier: Apache-2.0
//! Texture and surface instructions.

use super::super::code::{Code, More};
use super::super::image::{self, ImageCode};
use super::{Decoder, Frame, Mismatch, lanes};
use crate::ir::{Op, Src};

impl Decoder<'_> {
    pub(super) fn image(&mut self, frame: Frame, op: &Op) -> Result<Code, Mismatch> {
        let Op::Image {
            op,
            handle,
            dst,
            dst_pred,
            sources,
        } = op
        else {
            return Err(Mismatch("not an image instruction".into()));
        };
        let mut decoded = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let wide = match source {
                // A value to store may lie in a wider register than its type.
                Src::Reg(reg) => super::operands::is_wide(*reg),
                _ => ImageCode::is_wide(*op, index),
            };
            decoded.push(self.sized(frame, *source, wide)?);
        }
        let mut results = Vec::with_capacity(dst.len());
        for reg in dst {
            results.push(match reg {
                Some(reg) => Some(self.any_target(frame, *reg)?),
                None => None,
            });
        }
        let code = ImageCode {
            op: *op,
            handle: self.sized(frame, *handle, true)?,
            sources: decoded,
            dst: results,
            dst_predicate: dst_pred
                .map(|pred| self.predicate(frame, pred))
                .transpose()?,
        };
        if !code.is_complete() {
            return Err(Mismatch("wrong number of operands".into()));
        }
        Ok(Code {
            more: More::Image(Box::new(code)),
            ..lanes(image::run_image)
        })
    }
}
