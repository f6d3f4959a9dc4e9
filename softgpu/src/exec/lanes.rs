// SPDX-License-Identifier: Apache-2.0
//! The lane loops: how one decoded instruction is applied to all lanes of a block.
//!
//! # Layout
//! The register file of a block is an array of *units*; a unit holds 32 bits for each lane. A
//! 32-bit slot is one unit, a 64-bit slot is two units that hold 64-bit lanes one after the other.
//! The number of lanes is the block's threads rounded up to whole warps. Predicates hold one bit a
//! lane, one `u32` a warp. Constants live once in a pool, as one warp's worth of equal lanes that
//! every warp reads again: so an operand is a pointer and a stride a warp, and no instruction cares
//! which it is.
//!
//! # Masks
//! `masks` says which lanes an arithmetic instruction may write: the active ones and those that are
//! dead anyway (exited, or padding of the last warp); this makes the usual case a mask of all ones.
//! `active` are exactly the lanes that execute; memory operations look at these.

use super::code::{Code, Operand};
use super::level::{CompareLane, Lane, Level};
use super::state::BlockState;

/// Lanes of a warp.
pub(crate) const WARP: usize = 32;

/// What the interpreter does after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on.
    Next,
    /// The block state holds a fault.
    Fault,
}

/// A decoded instruction's code.
pub(crate) type Execute = unsafe fn(&mut Lanes, &Code) -> Step;

/// The running group's view of the block.
pub(crate) struct Lanes {
    /// Registers of the current frame.
    pub(crate) registers: *mut u8,
    /// Constant pool.
    pub(crate) constants: *const u8,
    /// Predicates of the current frame.
    pub(crate) predicates: *mut u32,
    /// Writable lanes, one word a warp.
    pub(crate) masks: *const u32,
    /// Executing lanes, one word a warp.
    pub(crate) active: *const u32,
    /// Warps of the block.
    pub(crate) warps: usize,
    /// Bytes of a unit.
    pub(crate) unit_bytes: usize,
    /// Start of the current local frame (bytes in each thread's local memory).
    pub(crate) local_base: u32,
    /// End of the current local frame.
    pub(crate) local_end: u32,
    /// Everything else of the block.
    pub(crate) block: *mut BlockState,
}

impl Lanes {
    /// Pointer to warp 0 of a source operand, and its stride in lanes.
    ///
    /// # Safety
    /// `operand` was decoded for the running function and has lanes of type `T`.
    #[inline(always)]
    pub(crate) unsafe fn source<T: Lane>(&self, operand: Operand) -> (*const T, usize) {
        // SAFETY: operands lie inside the register file or the constant pool.
        unsafe {
            if operand.is_constant() {
                (self.constants.add(operand.index() * WARP * 4).cast(), 0)
            } else {
                (
                    self.registers
                        .add(operand.index() * self.unit_bytes)
                        .cast_const()
                        .cast(),
                    WARP,
                )
            }
        }
    }

    /// Pointer to warp 0 of a destination register.
    ///
    /// # Safety
    /// As [`Lanes::source`].
    #[inline(always)]
    pub(crate) unsafe fn target<T: Lane>(&self, operand: Operand) -> *mut T {
        // SAFETY: destinations lie inside the register file.
        unsafe { self.registers.add(operand.index() * self.unit_bytes).cast() }
    }

    /// Pointer to the words of a predicate.
    ///
    /// # Safety
    /// `index` is a predicate of the running function.
    #[inline(always)]
    pub(crate) unsafe fn predicate(&self, index: u32) -> *mut u32 {
        // SAFETY: predicates lie inside the predicate file.
        unsafe { self.predicates.add(index as usize * self.warps) }
    }

    /// The block.
    #[inline(always)]
    pub(crate) fn block(&mut self) -> &mut BlockState {
        // SAFETY: the interpreter owns the block and holds no other reference while code runs.
        unsafe { &mut *self.block }
    }
}

/// Writes the lanes of `mask`.
///
/// # Safety
/// The CPU has level `L`; `to` is valid for 32 lanes.
#[inline(always)]
pub(crate) unsafe fn store<L: Level, T: Lane>(mask: u32, from: &[T; WARP], to: *mut T) {
    // SAFETY: lanes are 4 or 8 bytes of plain data.
    unsafe {
        if mask == !0 {
            to.cast::<[T; WARP]>().write_unaligned(*from);
        } else if size_of::<T>() == 4 {
            L::blend32(mask, &*std::ptr::from_ref(from).cast(), to.cast());
        } else {
            L::blend64(mask, &*std::ptr::from_ref(from).cast(), to.cast());
        }
    }
}

/// `r = f(a)` on one lane; `imm` is the instruction's immediate.
pub(crate) trait Op1 {
    type A: Lane;
    type R: Lane;
    fn f(a: Self::A, imm: u64) -> Self::R;
}

/// `r = f(a, b)`.
pub(crate) trait Op2 {
    type A: Lane;
    type B: Lane;
    type R: Lane;
    fn f(a: Self::A, b: Self::B, imm: u64) -> Self::R;
}

/// `r = f(a, b, c)`.
pub(crate) trait Op3 {
    type A: Lane;
    type B: Lane;
    type C: Lane;
    type R: Lane;
    fn f(a: Self::A, b: Self::B, c: Self::C, imm: u64) -> Self::R;
}

/// A comparison with predicate result.
pub(crate) trait CompareOp {
    type A: CompareLane;
    const PREDICATE: u8;
    /// Whether [`CompareOp::prepare`] does anything.
    const PREPARES: bool = false;
    /// Applied to both operands first.
    fn prepare(a: Self::A) -> Self::A {
        a
    }
}

/// # Safety
/// `code` was decoded for the running function; the CPU has level `L`.
#[inline(always)]
pub(crate) unsafe fn run1<L: Level, O: Op1>(lanes: &mut Lanes, code: &Code) -> Step {
    // SAFETY: the caller's contract.
    unsafe {
        let (mut a, step_a) = lanes.source::<O::A>(code.a);
        let mut target = lanes.target::<O::R>(code.dst);
        let imm = code.imm;
        for warp in 0..lanes.warps {
            let mask = *lanes.masks.add(warp);
            if mask != 0 {
                let x = &*a.cast::<[O::A; WARP]>();
                let mut out = [O::R::default(); WARP];
                for lane in 0..WARP {
                    out[lane] = O::f(x[lane], imm);
                }
                store::<L, O::R>(mask, &out, target);
            }
            a = a.wrapping_add(step_a);
            target = target.wrapping_add(WARP);
        }
    }
    Step::Next
}

/// # Safety
/// As [`run1`].
#[inline(always)]
pub(crate) unsafe fn run2<L: Level, O: Op2>(lanes: &mut Lanes, code: &Code) -> Step {
    // SAFETY: the caller's contract.
    unsafe {
        let (mut a, step_a) = lanes.source::<O::A>(code.a);
        let (mut b, step_b) = lanes.source::<O::B>(code.b);
        let mut target = lanes.target::<O::R>(code.dst);
        let imm = code.imm;
        for warp in 0..lanes.warps {
            let mask = *lanes.masks.add(warp);
            if mask != 0 {
                let x = &*a.cast::<[O::A; WARP]>();
                let y = &*b.cast::<[O::B; WARP]>();
                let mut out = [O::R::default(); WARP];
                for lane in 0..WARP {
                    out[lane] = O::f(x[lane], y[lane], imm);
                }
                store::<L, O::R>(mask, &out, target);
            }
            a = a.wrapping_add(step_a);
            b = b.wrapping_add(step_b);
            target = target.wrapping_add(WARP);
        }
    }
    Step::Next
}

/// # Safety
/// As [`run1`].
#[inline(always)]
pub(crate) unsafe fn run3<L: Level, O: Op3>(lanes: &mut Lanes, code: &Code) -> Step {
    // SAFETY: the caller's contract.
    unsafe {
        let (mut a, step_a) = lanes.source::<O::A>(code.a);
        let (mut b, step_b) = lanes.source::<O::B>(code.b);
        let (mut c, step_c) = lanes.source::<O::C>(code.c);
        let mut target = lanes.target::<O::R>(code.dst);
        let imm = code.imm;
        for warp in 0..lanes.warps {
            let mask = *lanes.masks.add(warp);
            if mask != 0 {
                let x = &*a.cast::<[O::A; WARP]>();
                let y = &*b.cast::<[O::B; WARP]>();
                let z = &*c.cast::<[O::C; WARP]>();
                let mut out = [O::R::default(); WARP];
                for lane in 0..WARP {
                    out[lane] = O::f(x[lane], y[lane], z[lane], imm);
                }
                store::<L, O::R>(mask, &out, target);
            }
            a = a.wrapping_add(step_a);
            b = b.wrapping_add(step_b);
            c = c.wrapping_add(step_c);
            target = target.wrapping_add(WARP);
        }
    }
    Step::Next
}

/// Compares and combines, see [`super::code::Combine`].
///
/// # Safety
/// As [`run1`].
#[inline(always)]
pub(crate) unsafe fn run_compare<L: Level, O: CompareOp>(lanes: &mut Lanes, code: &Code) -> Step {
    // SAFETY: the caller's contract.
    unsafe {
        let (mut a, step_a) = lanes.source::<O::A>(code.a);
        let (mut b, step_b) = lanes.source::<O::A>(code.b);
        for warp in 0..lanes.warps {
            let mask = *lanes.masks.add(warp);
            if mask != 0 {
                let (x, y) = (&*a.cast::<[O::A; WARP]>(), &*b.cast::<[O::A; WARP]>());
                let bits = if O::PREPARES {
                    let (mut px, mut py) = (*x, *y);
                    for lane in 0..WARP {
                        px[lane] = O::prepare(x[lane]);
                        py[lane] = O::prepare(y[lane]);
                    }
                    compare::<L, O>(&px, &py)
                } else {
                    compare::<L, O>(x, y)
                };
                write_predicates(lanes, code, warp, mask, bits);
            }
            a = a.wrapping_add(step_a);
            b = b.wrapping_add(step_b);
        }
    }
    Step::Next
}

/// # Safety
/// The CPU has level `L`.
#[inline(always)]
unsafe fn compare<L: Level, O: CompareOp>(x: &[O::A; WARP], y: &[O::A; WARP]) -> u32 {
    use super::level::predicate as p;
    // SAFETY: the caller's contract. The match turns an associated constant into a generic
    // argument.
    unsafe {
        match O::PREDICATE {
            p::EQ => L::compare::<O::A, { p::EQ }>(x, y),
            p::NE => L::compare::<O::A, { p::NE }>(x, y),
            p::LT => L::compare::<O::A, { p::LT }>(x, y),
            p::LE => L::compare::<O::A, { p::LE }>(x, y),
            p::GT => L::compare::<O::A, { p::GT }>(x, y),
            p::GE => L::compare::<O::A, { p::GE }>(x, y),
            p::EQU => L::compare::<O::A, { p::EQU }>(x, y),
            p::NEU => L::compare::<O::A, { p::NEU }>(x, y),
            p::LTU => L::compare::<O::A, { p::LTU }>(x, y),
            p::LEU => L::compare::<O::A, { p::LEU }>(x, y),
            p::GTU => L::compare::<O::A, { p::GTU }>(x, y),
            p::GEU => L::compare::<O::A, { p::GEU }>(x, y),
            p::NUM => L::compare::<O::A, { p::NUM }>(x, y),
            _ => L::compare::<O::A, { p::NAN }>(x, y),
        }
    }
}

/// Stores the result of a comparison of one warp: into `dst` and, inverted, `second`, each combined
/// with a third predicate if the instruction says so.
///
/// # Safety
/// `code` was decoded for the running function.
#[inline(always)]
pub(crate) unsafe fn write_predicates(
    lanes: &mut Lanes,
    code: &Code,
    warp: usize,
    mask: u32,
    bits: u32,
) {
    // SAFETY: predicates of the running function.
    unsafe {
        let (mut yes, mut no) = (bits, !bits);
        if let Some(combine) = code.combine {
            let other = combine.source.word(lanes, warp);
            yes = combine.apply(yes, other);
            no = combine.apply(no, other);
        }
        if let Some(dst) = code.dst.optional() {
            let word = lanes.predicate(dst).add(warp);
            *word = (*word & !mask) | (yes & mask);
        }
        if let Some(dst) = code.second.optional() {
            let word = lanes.predicate(dst).add(warp);
            *word = (*word & !mask) | (no & mask);
        }
    }
}

macro_rules! versions {
    ($run:ident, $trait:ident, $pick:ident, $v4:ident, $v3:ident, $portable:ident) => {
        /// The code of an operation at a CPU level.
        pub(crate) fn $pick<O: $trait>(
            level: $crate::exec::level::CpuLevel,
        ) -> $crate::exec::lanes::Execute {
            match level {
                #[cfg(target_arch = "x86_64")]
                $crate::exec::level::CpuLevel::V4 => $v4::<O>,
                #[cfg(target_arch = "x86_64")]
                $crate::exec::level::CpuLevel::V3 => $v3::<O>,
                $crate::exec::level::CpuLevel::Portable => $portable::<O>,
            }
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,f16c")]
        unsafe fn $v4<O: $trait>(
            lanes: &mut $crate::exec::lanes::Lanes,
            code: &$crate::exec::code::Code,
        ) -> $crate::exec::lanes::Step {
            // SAFETY: the caller's contract.
            unsafe { $run::<$crate::exec::level::V4, O>(lanes, code) }
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,f16c")]
        unsafe fn $v3<O: $trait>(
            lanes: &mut $crate::exec::lanes::Lanes,
            code: &$crate::exec::code::Code,
        ) -> $crate::exec::lanes::Step {
            // SAFETY: the caller's contract.
            unsafe { $run::<$crate::exec::level::V3, O>(lanes, code) }
        }

        unsafe fn $portable<O: $trait>(
            lanes: &mut $crate::exec::lanes::Lanes,
            code: &$crate::exec::code::Code,
        ) -> $crate::exec::lanes::Step {
            // SAFETY: the caller's contract.
            unsafe { $run::<$crate::exec::level::Portable, O>(lanes, code) }
        }
    };
}
pub(crate) use versions;

versions!(run1, Op1, pick1, run1_v4, run1_v3, run1_portable);
versions!(run2, Op2, pick2, run2_v4, run2_v3, run2_portable);
versions!(run3, Op3, pick3, run3_v4, run3_v3, run3_portable);
versions!(
    run_compare,
    CompareOp,
    pick_compare,
    compare_v4,
    compare_v3,
    compare_portable
);
