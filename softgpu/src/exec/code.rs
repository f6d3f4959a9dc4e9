// SPDX-License-Identifier: Apache-2.0
//! The decoded form of an instruction, and the constant pool.

use std::collections::HashMap;

use super::lanes::{Execute, Lanes, WARP};
use crate::ir::BoolOp;

/// A register unit of the current frame, or a constant pool unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operand(u32);

impl Operand {
    /// No operand.
    pub(crate) const NONE: Self = Self(u32::MAX);
    const CONSTANT: u32 = 1 << 31;

    pub(crate) fn register(unit: u32) -> Self {
        debug_assert!(unit < Self::CONSTANT);
        Self(unit)
    }

    pub(crate) fn constant(unit: u32) -> Self {
        Self(unit | Self::CONSTANT)
    }

    #[inline(always)]
    pub(crate) fn is_constant(self) -> bool {
        self.0 & Self::CONSTANT != 0
    }

    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        (self.0 & !Self::CONSTANT) as usize
    }

    /// The index, unless absent.
    #[inline(always)]
    pub(crate) fn optional(self) -> Option<u32> {
        (self != Self::NONE).then_some(self.0)
    }
}

/// A predicate source: index, inversion, or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PredicateSource {
    /// `u32::MAX`: constant.
    pub(crate) index: u32,
    /// Xor mask; the value itself for constants.
    pub(crate) invert: u32,
}

impl PredicateSource {
    /// The bits of one warp.
    ///
    /// # Safety
    /// The predicate belongs to the running function.
    #[inline(always)]
    pub(crate) unsafe fn word(self, lanes: &Lanes, warp: usize) -> u32 {
        if self.index == u32::MAX {
            return self.invert;
        }
        // SAFETY: the caller's contract.
        unsafe { *lanes.predicate(self.index).add(warp) ^ self.invert }
    }
}

/// `result boolop source`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Combine {
    pub(crate) op: BoolOp,
    pub(crate) source: PredicateSource,
}

impl Combine {
    #[inline(always)]
    pub(crate) fn apply(self, a: u32, b: u32) -> u32 {
        match self.op {
            BoolOp::And => a & b,
            BoolOp::Or => a | b,
            BoolOp::Xor => a ^ b,
        }
    }
}

/// A decoded instruction.
pub(crate) struct Code {
    /// The lane loop ([`Flow::Lanes`] only).
    pub(crate) execute: Execute,
    pub(crate) dst: Operand,
    /// Second result: a predicate, mostly.
    pub(crate) second: Operand,
    pub(crate) a: Operand,
    pub(crate) b: Operand,
    pub(crate) c: Operand,
    /// Guard predicate.
    pub(crate) guard: Option<PredicateSource>,
    pub(crate) combine: Option<Combine>,
    /// Immediate: address offset, table, flags.
    pub(crate) imm: u64,
    /// What the interpreter does.
    pub(crate) flow: Flow,
    /// More, for instructions with many operands.
    pub(crate) more: More,
}

/// How the interpreter treats an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A lane loop.
    Lanes,
    /// Jump to this program counter.
    Branch(u32),
    /// See [`More::Targets`].
    BranchIndexed,
    /// Call this function.
    Call(u32),
    /// Call the function pointer in `a`.
    CallIndirect,
    /// Call the device runtime.
    Builtin,
    Return,
    Exit,
    Trap,
    Unsupported,
    Barrier,
    ClusterArrive,
    ClusterWait,
    /// Warp-wide operation.
    Warp,
}

/// Operands that few instructions have.
pub(crate) enum More {
    None,
    Access(Box<super::access::Access>),
    Atomic(Box<super::atomic::Atomic>),
    Targets(Box<[u32]>),
    Builtin(crate::ir::Builtin),
    Barrier(Box<super::barrier::BarrierCode>),
    Warp(Box<super::warp::WarpCode>),
    CopyAsync(Box<super::copy::CopyAsync>),
    CopyBulk(Box<super::bulk::CopyBulkCode>),
    AtomicWide(Box<super::wide::AtomicWide>),
    CopyTensor(Box<super::tensor::CopyTensorCode>),
    Image(Box<super::image::ImageCode>),
    MemoryBarrier(Box<super::mbarrier::MemoryBarrier>),
    Scalar(super::scalar::ScalarFn),
    Predicate(PredicateSource),
    Carry(Box<super::compare::Carry>),
    Special(Box<super::special::SpecialCode>),
    Window(Box<super::window::WindowCode>),
    Text(std::sync::Arc<str>),
}

/// Constants, each once, as one warp's worth of equal lanes.
#[derive(Default)]
pub(crate) struct ConstantPool {
    units: Vec<[u32; WARP]>,
    known32: HashMap<u32, u32>,
    known64: HashMap<u64, u32>,
}

impl ConstantPool {
    /// A 32-bit constant.
    pub(crate) fn add32(&mut self, value: u32) -> Operand {
        let unit = *self.known32.entry(value).or_insert_with(|| {
            self.units.push([value; WARP]);
            self.units.len() as u32 - 1
        });
        Operand::constant(unit)
    }

    /// A 64-bit constant.
    pub(crate) fn add64(&mut self, value: u64) -> Operand {
        let unit = *self.known64.entry(value).or_insert_with(|| {
            let (low, high) = (value as u32, (value >> 32) as u32);
            let pairs: [u32; WARP] =
                std::array::from_fn(|index| if index % 2 == 0 { low } else { high });
            self.units.extend([pairs, pairs]);
            self.units.len() as u32 - 2
        });
        Operand::constant(unit)
    }

    /// The units, for the lane loops.
    pub(crate) fn units(&self) -> &[[u32; WARP]] {
        &self.units
    }
}
