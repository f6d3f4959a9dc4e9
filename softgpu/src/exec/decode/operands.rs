// SPDX-License-Identifier: Apache-2.0
//! Operands: registers, constants, predicates, addresses.

use super::super::access::{AddressCode, Base, Element};
use super::super::code::{Combine, Operand, PredicateSource};
use super::{Decoder, Frame, Mismatch};
use crate::ir::{
    Address, AddressBase, BarrierKind, BoolOp, Callee, Guard, MemoryBarrierOp, Op, Pred, PredSrc,
    Reg, Src,
};

fn mismatch<T>(text: impl Into<String>) -> Result<T, Mismatch> {
    Err(Mismatch(text.into()))
}

/// Whether a register has 64 bits.
pub(super) fn is_wide(reg: Reg) -> bool {
    matches!(reg, Reg::W64(_))
}

impl Decoder<'_> {
    fn register(&self, frame: Frame, reg: Reg) -> Result<Operand, Mismatch> {
        let counts = frame.registers;
        match reg {
            Reg::W32(slot) if slot < counts.w32 => Ok(Operand::register(slot)),
            Reg::W64(slot) if slot < counts.w64 => Ok(Operand::register(counts.w32 + 2 * slot)),
            _ => mismatch(format!("register {reg:?} is not declared")),
        }
    }

    /// A destination of the given width.
    pub(super) fn target(&self, frame: Frame, reg: Reg, wide: bool) -> Result<Operand, Mismatch> {
        if is_wide(reg) != wide {
            return mismatch(format!("destination {reg:?} has the wrong width"));
        }
        self.register(frame, reg)
    }

    /// A source of the given width.
    pub(super) fn source(
        &mut self,
        frame: Frame,
        src: Src,
        wide: bool,
    ) -> Result<Operand, Mismatch> {
        if let Src::Reg(reg) = src {
            if is_wide(reg) != wide {
                return mismatch(format!("source {reg:?} has the wrong width"));
            }
            return self.register(frame, reg);
        }
        let value = self.constant(src)?;
        Ok(if wide {
            self.constants.add64(value)
        } else {
            self.constants.add32(value as u32)
        })
    }

    /// The value of an operand that is no register.
    fn constant(&self, src: Src) -> Result<u64, Mismatch> {
        Ok(match src {
            Src::Reg(reg) => return mismatch(format!("{reg:?} is not a constant")),
            Src::Imm(value) => value,
            Src::Variable(id, offset) => match self.surroundings.variables.get(id.0 as usize) {
                Some(address) => address.wrapping_add_signed(offset),
                None => return mismatch(format!("variable {} does not exist", id.0)),
            },
            Src::Function(id) => self.surroundings.function_pointer(id),
            Src::DynamicShared(offset) => {
                let kernel = self.kernel;
                let alignment = kernel.dynamic_shared_alignment.max(1);
                let start = kernel.static_shared_bytes.next_multiple_of(alignment);
                u64::from(start).wrapping_add_signed(offset)
            }
        })
    }

    /// A source of whatever width it has; constants get the given one.
    pub(super) fn element(
        &mut self,
        frame: Frame,
        src: Src,
        constant_is_wide: bool,
    ) -> Result<Element, Mismatch> {
        let wide = match src {
            Src::Reg(reg) => is_wide(reg),
            _ => constant_is_wide,
        };
        Ok(Element {
            operand: self.source(frame, src, wide)?,
            wide,
        })
    }

    /// A source of the given width, with it.
    pub(super) fn sized(
        &mut self,
        frame: Frame,
        src: Src,
        wide: bool,
    ) -> Result<Element, Mismatch> {
        Ok(Element {
            operand: self.source(frame, src, wide)?,
            wide,
        })
    }

    /// A destination of whatever width it has.
    pub(super) fn any_target(&self, frame: Frame, reg: Reg) -> Result<Element, Mismatch> {
        Ok(Element {
            operand: self.register(frame, reg)?,
            wide: is_wide(reg),
        })
    }

    pub(super) fn predicate(&self, frame: Frame, pred: Pred) -> Result<u32, Mismatch> {
        if pred.0 < frame.registers.predicates {
            Ok(pred.0)
        } else {
            mismatch(format!("predicate {} is not declared", pred.0))
        }
    }

    pub(super) fn predicate_target(
        &self,
        frame: Frame,
        pred: Option<Pred>,
    ) -> Result<Operand, Mismatch> {
        match pred {
            Some(pred) => Ok(Operand::register(self.predicate(frame, pred)?)),
            None => Ok(Operand::NONE),
        }
    }

    pub(super) fn predicate_source(
        &self,
        frame: Frame,
        source: PredSrc,
    ) -> Result<PredicateSource, Mismatch> {
        Ok(match source {
            PredSrc::Const(value) => PredicateSource {
                index: u32::MAX,
                invert: if value { !0 } else { 0 },
            },
            PredSrc::Reg { pred, negate } => PredicateSource {
                index: self.predicate(frame, pred)?,
                invert: if negate { !0 } else { 0 },
            },
        })
    }

    pub(super) fn combine(
        &self,
        frame: Frame,
        combine: Option<(BoolOp, PredSrc)>,
    ) -> Result<Option<Combine>, Mismatch> {
        match combine {
            Some((op, source)) => Ok(Some(Combine {
                op,
                source: self.predicate_source(frame, source)?,
            })),
            None => Ok(None),
        }
    }

    pub(super) fn guard(
        &self,
        frame: Frame,
        guard: Guard,
    ) -> Result<Option<PredicateSource>, Mismatch> {
        let (pred, negate) = match guard {
            Guard::Always => return Ok(None),
            Guard::If(pred) => (pred, false),
            Guard::IfNot(pred) => (pred, true),
        };
        self.predicate_source(frame, PredSrc::Reg { pred, negate })
            .map(Some)
    }

    pub(super) fn address(
        &mut self,
        frame: Frame,
        address: Address,
    ) -> Result<AddressCode, Mismatch> {
        let offset = address.offset;
        Ok(match address.base {
            AddressBase::Frame => AddressCode {
                base: Base::Frame,
                offset,
            },
            AddressBase::CalleeFrame => AddressCode {
                base: Base::CalleeFrame,
                offset,
            },
            AddressBase::Src(Src::Reg(reg)) => {
                let operand = self.register(frame, reg)?;
                let base = if is_wide(reg) {
                    Base::Wide(operand)
                } else {
                    Base::Narrow(operand)
                };
                AddressCode { base, offset }
            }
            AddressBase::Src(src) => {
                let value = self.constant(src)?;
                AddressCode {
                    base: Base::Absolute,
                    offset: (value as i64).wrapping_add(offset),
                }
            }
        })
    }
}

/// Calls `f` with every source operand of an operation that may be a function pointer: those of
/// moves, stores, selections and calls.
pub(super) fn for_each_source(op: &Op, f: &mut dyn FnMut(Src)) {
    match op {
        Op::Unary { a, .. } => f(*a),
        Op::Binary { a, b, .. } | Op::Select { a, b, .. } => [*a, *b].into_iter().for_each(f),
        Op::Ternary { a, b, c, .. } => [*a, *b, *c].into_iter().for_each(f),
        Op::Convert { a, .. } | Op::ConvertAddress { a, .. } => f(*a),
        Op::Store { src, .. } => src.iter().copied().for_each(f),
        Op::Atomic { a, b, .. } => [Some(*a), *b].into_iter().flatten().for_each(f),
        Op::Call {
            callee: Callee::Indirect(src),
        } => f(*src),
        Op::Shuffle { a, .. } => f(*a),
        Op::MemoryBarrier {
            op: MemoryBarrierOp::TestWait { state, .. },
            ..
        } => f(*state),
        Op::Barrier {
            kind: BarrierKind::Sync,
            ..
        } => {}
        _ => {}
    }
}
