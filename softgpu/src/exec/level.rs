// SPDX-License-Identifier: Apache-2.0
//! What the CPU can do, and the few lane operations that compilers do not vectorise by themselves.
//!
//! Every lane loop is compiled once per [`CpuLevel`]; the right one is picked when a module is
//! decoded. A [`Level`] gives those loops the operations that need intrinsics: compares into bit
//! masks, blends by bit mask, and gathers.

use super::half::{F16, Half};
use super::lanes::WARP;

/// Instruction set levels, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CpuLevel {
    /// Whatever the target guarantees.
    Portable,
    /// AVX2, FMA, BMI, F16C.
    #[cfg(target_arch = "x86_64")]
    V3,
    /// AVX-512 F, VL, BW, DQ.
    #[cfg(target_arch = "x86_64")]
    V4,
}

impl CpuLevel {
    /// The best level of this machine. `GVIRTUS_SOFTGPU_CPU` = `portable` or `v3` lowers it, for
    /// tests.
    pub(crate) fn detect() -> Self {
        static LEVEL: std::sync::OnceLock<CpuLevel> = std::sync::OnceLock::new();
        *LEVEL.get_or_init(|| {
            let wanted = std::env::var("GVIRTUS_SOFTGPU_CPU").unwrap_or_default();
            let best = Self::available();
            match wanted.as_str() {
                "portable" => Self::Portable,
                #[cfg(target_arch = "x86_64")]
                "v3" => best.min(Self::V3),
                _ => best,
            }
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn available() -> Self {
        use std::arch::is_x86_feature_detected as has;
        let v3 = has!("avx2")
            && has!("fma")
            && has!("bmi1")
            && has!("bmi2")
            && has!("lzcnt")
            && has!("popcnt")
            && has!("f16c");
        let v4 = has!("avx512f") && has!("avx512vl") && has!("avx512bw") && has!("avx512dq");
        match (v3, v4) {
            (true, true) => Self::V4,
            (true, false) => Self::V3,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn available() -> Self {
        Self::Portable
    }
}

/// Comparison predicates as const generic arguments.
pub(crate) mod predicate {
    pub(crate) const EQ: u8 = 0;
    pub(crate) const NE: u8 = 1;
    pub(crate) const LT: u8 = 2;
    pub(crate) const LE: u8 = 3;
    pub(crate) const GT: u8 = 4;
    pub(crate) const GE: u8 = 5;
    pub(crate) const EQU: u8 = 6;
    pub(crate) const NEU: u8 = 7;
    pub(crate) const LTU: u8 = 8;
    pub(crate) const LEU: u8 = 9;
    pub(crate) const GTU: u8 = 10;
    pub(crate) const GEU: u8 = 11;
    pub(crate) const NUM: u8 = 12;
    pub(crate) const NAN: u8 = 13;
}

/// One lane's value in a register slot: 4 or 8 bytes of plain data.
pub(crate) trait Lane: Copy + Default + 'static {}
impl Lane for u32 {}
impl Lane for i32 {}
impl Lane for f32 {}
impl Lane for u64 {}
impl Lane for i64 {}
impl Lane for f64 {}

/// A lane type with comparisons. Integers know only the first six predicates.
pub(crate) trait CompareLane: Lane + PartialOrd {
    /// # Safety
    /// The CPU has AVX-512 F, VL, BW, DQ.
    #[cfg(target_arch = "x86_64")]
    unsafe fn compare_v4<const P: u8>(a: &[Self; WARP], b: &[Self; WARP]) -> u32;
    /// # Safety
    /// The CPU has AVX2.
    #[cfg(target_arch = "x86_64")]
    unsafe fn compare_v3<const P: u8>(a: &[Self; WARP], b: &[Self; WARP]) -> u32;
}

/// The meaning of a predicate.
#[inline(always)]
pub(crate) fn holds<const P: u8, T: PartialOrd>(a: &T, b: &T) -> bool {
    let order = a.partial_cmp(b);
    use std::cmp::Ordering::{Equal, Greater, Less};
    match P {
        predicate::EQ => order == Some(Equal),
        predicate::NE => matches!(order, Some(Less | Greater)),
        predicate::LT => order == Some(Less),
        predicate::LE => matches!(order, Some(Less | Equal)),
        predicate::GT => order == Some(Greater),
        predicate::GE => matches!(order, Some(Greater | Equal)),
        predicate::EQU => matches!(order, Some(Equal) | None),
        predicate::NEU => order != Some(Equal),
        predicate::LTU => matches!(order, Some(Less) | None),
        predicate::LEU => order != Some(Greater),
        predicate::GTU => matches!(order, Some(Greater) | None),
        predicate::GEU => order != Some(Less),
        predicate::NUM => order.is_some(),
        _ => order.is_none(),
    }
}

/// The lane operations that differ by level.
pub(crate) trait Level {
    /// Bit i = `a[i] P b[i]`.
    ///
    /// # Safety
    /// The CPU has this level.
    unsafe fn compare<T: CompareLane, const P: u8>(a: &[T; WARP], b: &[T; WARP]) -> u32;

    /// `to[i] = mask bit i ? from[i] : to[i]` on 32-bit lanes.
    ///
    /// # Safety
    /// The CPU has this level; `to` is valid for 32 lanes.
    unsafe fn blend32(mask: u32, from: &[u32; WARP], to: *mut u32);

    /// The same on 64-bit lanes.
    ///
    /// # Safety
    /// As [`Level::blend32`].
    unsafe fn blend64(mask: u32, from: &[u64; WARP], to: *mut u64);

    /// `base[offsets[i]]`, byte offsets, four bytes each.
    ///
    /// # Safety
    /// The CPU has this level; every offset is inside the allocation of `base`, and below 2³¹.
    unsafe fn gather32(base: *const u8, offsets: &[u32; WARP]) -> [u32; WARP];

    /// Four bytes at each address.
    ///
    /// # Safety
    /// The CPU has this level; every address is readable.
    unsafe fn gather32_at(addresses: &[u64; WARP]) -> [u32; WARP];

    /// Bit i = `values[i] == origin + steps[i]`.
    ///
    /// # Safety
    /// The CPU has this level; `values` is valid for 32 lanes.
    unsafe fn matches32(values: *const u32, origin: u32, steps: &[u32; WARP]) -> u32;

    /// The same on 64-bit lanes.
    ///
    /// # Safety
    /// As [`Level::matches32`].
    unsafe fn matches64(values: *const u64, origin: u64, steps: &[u64; WARP]) -> u32;

    /// `values[i] + offset` for the lanes of `mask` (at least one), something usable for the
    /// others; `None` if one is not below `limit` or has a bit of `low_bits`.
    ///
    /// # Safety
    /// The CPU has this level; `values` is valid for 32 lanes.
    unsafe fn offsets32(
        values: *const u32,
        offset: u32,
        mask: u32,
        limit: u32,
        low_bits: u32,
    ) -> Option<[u32; WARP]>;

    /// The same on 64-bit lanes, for addresses of which `address - start` must be below `limit`.
    ///
    /// # Safety
    /// As [`Level::offsets32`].
    unsafe fn offsets64(
        values: *const u64,
        offset: u64,
        mask: u32,
        start: u64,
        limit: u64,
        low_bits: u64,
    ) -> Option<[u64; WARP]>;

    /// The f16 in the low halves.
    ///
    /// # Safety
    /// The CPU has this level.
    unsafe fn widen_f16(values: &[u32; WARP]) -> [f32; WARP];

    /// Rounds to f16, to nearest even; NaN becomes 0x7fff.
    ///
    /// # Safety
    /// The CPU has this level.
    unsafe fn narrow_f16(values: &[f32; WARP]) -> [u32; WARP];

    /// `values[index[i] % 32]`.
    ///
    /// # Safety
    /// The CPU has this level.
    unsafe fn permute32(values: &[u32; WARP], index: &[u32; WARP]) -> [u32; WARP];
}

/// Whatever the target guarantees.
pub(crate) struct Portable;

impl Level for Portable {
    #[inline(always)]
    unsafe fn compare<T: CompareLane, const P: u8>(a: &[T; WARP], b: &[T; WARP]) -> u32 {
        let mut bits = 0;
        for lane in 0..WARP {
            bits |= u32::from(holds::<P, T>(&a[lane], &b[lane])) << lane;
        }
        bits
    }

    #[inline(always)]
    unsafe fn blend32(mask: u32, from: &[u32; WARP], to: *mut u32) {
        // SAFETY: the caller gives 32 lanes.
        let to = unsafe { &mut *to.cast::<[u32; WARP]>() };
        for lane in 0..WARP {
            let keep = 0_u32.wrapping_sub(mask >> lane & 1);
            to[lane] = (from[lane] & keep) | (to[lane] & !keep);
        }
    }

    #[inline(always)]
    unsafe fn blend64(mask: u32, from: &[u64; WARP], to: *mut u64) {
        // SAFETY: the caller gives 32 lanes.
        let to = unsafe { &mut *to.cast::<[u64; WARP]>() };
        for lane in 0..WARP {
            let keep = 0_u64.wrapping_sub(u64::from(mask >> lane & 1));
            to[lane] = (from[lane] & keep) | (to[lane] & !keep);
        }
    }

    #[inline(always)]
    unsafe fn gather32(base: *const u8, offsets: &[u32; WARP]) -> [u32; WARP] {
        let mut out = [0; WARP];
        for lane in 0..WARP {
            // SAFETY: the caller gives offsets inside the allocation.
            out[lane] = unsafe {
                base.add(offsets[lane] as usize)
                    .cast::<u32>()
                    .read_unaligned()
            };
        }
        out
    }

    #[inline(always)]
    unsafe fn gather32_at(addresses: &[u64; WARP]) -> [u32; WARP] {
        let mut out = [0; WARP];
        for lane in 0..WARP {
            let place = std::ptr::with_exposed_provenance::<u32>(addresses[lane] as usize);
            // SAFETY: the caller gives readable addresses.
            out[lane] = unsafe { place.read_unaligned() };
        }
        out
    }

    #[inline(always)]
    unsafe fn offsets32(
        values: *const u32,
        offset: u32,
        mask: u32,
        limit: u32,
        low_bits: u32,
    ) -> Option<[u32; WARP]> {
        // SAFETY: the caller gives 32 lanes.
        let values = unsafe { &*values.cast::<[u32; WARP]>() };
        let usable = values[mask.trailing_zeros() as usize].wrapping_add(offset);
        let mut out = [usable; WARP];
        let mut is_good = true;
        for lane in 0..WARP {
            if mask >> lane & 1 != 0 {
                out[lane] = values[lane].wrapping_add(offset);
            }
            is_good &= out[lane] < limit && out[lane] & low_bits == 0;
        }
        is_good.then_some(out)
    }

    #[inline(always)]
    unsafe fn offsets64(
        values: *const u64,
        offset: u64,
        mask: u32,
        start: u64,
        limit: u64,
        low_bits: u64,
    ) -> Option<[u64; WARP]> {
        // SAFETY: the caller gives 32 lanes.
        let values = unsafe { &*values.cast::<[u64; WARP]>() };
        let usable = values[mask.trailing_zeros() as usize].wrapping_add(offset);
        let mut out = [usable; WARP];
        let mut is_good = true;
        for lane in 0..WARP {
            if mask >> lane & 1 != 0 {
                out[lane] = values[lane].wrapping_add(offset);
            }
            is_good &= out[lane].wrapping_sub(start) < limit && out[lane] & low_bits == 0;
        }
        is_good.then_some(out)
    }

    #[inline(always)]
    unsafe fn widen_f16(values: &[u32; WARP]) -> [f32; WARP] {
        let mut out = [0.0; WARP];
        for lane in 0..WARP {
            out[lane] = F16::widen(values[lane] as u16);
        }
        out
    }

    #[inline(always)]
    unsafe fn narrow_f16(values: &[f32; WARP]) -> [u32; WARP] {
        let mut out = [0; WARP];
        for lane in 0..WARP {
            out[lane] = F16::narrow(values[lane]).into();
        }
        out
    }

    #[inline(always)]
    unsafe fn matches32(values: *const u32, origin: u32, steps: &[u32; WARP]) -> u32 {
        // SAFETY: the caller gives 32 lanes.
        let values = unsafe { &*values.cast::<[u32; WARP]>() };
        let mut bits = 0;
        for lane in 0..WARP {
            bits |= u32::from(values[lane] == origin.wrapping_add(steps[lane])) << lane;
        }
        bits
    }

    #[inline(always)]
    unsafe fn matches64(values: *const u64, origin: u64, steps: &[u64; WARP]) -> u32 {
        // SAFETY: the caller gives 32 lanes.
        let values = unsafe { &*values.cast::<[u64; WARP]>() };
        let mut bits = 0;
        for lane in 0..WARP {
            bits |= u32::from(values[lane] == origin.wrapping_add(steps[lane])) << lane;
        }
        bits
    }

    #[inline(always)]
    unsafe fn permute32(values: &[u32; WARP], index: &[u32; WARP]) -> [u32; WARP] {
        let mut out = [0; WARP];
        for lane in 0..WARP {
            out[lane] = values[index[lane] as usize % WARP];
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{V3, V4};

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(
        clippy::undocumented_unsafe_blocks,
        reason = "one contract: the CPU has the level"
    )]
    use std::arch::x86_64::*;

    use super::super::half::NAN_16;
    use super::predicate as p;
    use super::{CompareLane, Level, WARP};

    /// AVX-512 F, VL, BW, DQ.
    pub(crate) struct V4;
    /// AVX2, FMA, BMI, F16C.
    pub(crate) struct V3;

    impl Level for V4 {
        #[inline(always)]
        unsafe fn compare<T: CompareLane, const P: u8>(a: &[T; WARP], b: &[T; WARP]) -> u32 {
            unsafe { T::compare_v4::<P>(a, b) }
        }

        #[inline(always)]
        unsafe fn blend32(mask: u32, from: &[u32; WARP], to: *mut u32) {
            unsafe {
                for half in 0..2 {
                    let value = _mm512_loadu_epi32(from.as_ptr().add(half * 16).cast());
                    let bits = (mask >> (half * 16)) as __mmask16;
                    _mm512_mask_storeu_epi32(to.add(half * 16).cast(), bits, value);
                }
            }
        }

        #[inline(always)]
        unsafe fn blend64(mask: u32, from: &[u64; WARP], to: *mut u64) {
            unsafe {
                for part in 0..4 {
                    let value = _mm512_loadu_epi64(from.as_ptr().add(part * 8).cast());
                    let bits = (mask >> (part * 8)) as __mmask8;
                    _mm512_mask_storeu_epi64(to.add(part * 8).cast(), bits, value);
                }
            }
        }

        /// Half a warp at a time: a broadcast or a plain load where the offsets allow.
        #[inline(always)]
        unsafe fn gather32(base: *const u8, offsets: &[u32; WARP]) -> [u32; WARP] {
            let mut out = [0; WARP];
            unsafe {
                let steps =
                    _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60);
                for half in 0..2 {
                    let index = _mm512_loadu_epi32(offsets.as_ptr().add(half * 16).cast());
                    let start = base.add(offsets[half * 16] as usize);
                    let first = _mm512_broadcastd_epi32(_mm512_castsi512_si128(index));
                    let value = if _mm512_cmpeq_epi32_mask(index, first) == !0 {
                        _mm512_set1_epi32(start.cast::<i32>().read_unaligned())
                    } else if _mm512_cmpeq_epi32_mask(index, _mm512_add_epi32(first, steps)) == !0 {
                        _mm512_loadu_epi32(start.cast())
                    } else {
                        _mm512_i32gather_epi32::<1>(index, base.cast())
                    };
                    _mm512_storeu_epi32(out.as_mut_ptr().add(half * 16).cast(), value);
                }
            }
            out
        }

        /// A quarter of a warp at a time, as above.
        #[inline(always)]
        unsafe fn gather32_at(addresses: &[u64; WARP]) -> [u32; WARP] {
            let mut out = [0; WARP];
            unsafe {
                let steps = _mm512_setr_epi64(0, 4, 8, 12, 16, 20, 24, 28);
                for part in 0..4 {
                    let index = _mm512_loadu_epi64(addresses.as_ptr().add(part * 8).cast());
                    let first = _mm512_broadcastq_epi64(_mm512_castsi512_si128(index));
                    let start =
                        std::ptr::with_exposed_provenance::<i32>(addresses[part * 8] as usize);
                    let value = if _mm512_cmpeq_epi64_mask(index, first) == !0 {
                        _mm256_set1_epi32(start.read_unaligned())
                    } else if _mm512_cmpeq_epi64_mask(index, _mm512_add_epi64(first, steps)) == !0 {
                        _mm256_loadu_epi32(start)
                    } else {
                        _mm512_i64gather_epi32::<1>(index, std::ptr::null())
                    };
                    _mm256_storeu_epi32(out.as_mut_ptr().add(part * 8).cast(), value);
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn offsets32(
            values: *const u32,
            offset: u32,
            mask: u32,
            limit: u32,
            low_bits: u32,
        ) -> Option<[u32; WARP]> {
            let mut out = [0; WARP];
            let mut bad = 0_u16;
            unsafe {
                let usable = (*values.add(mask.trailing_zeros() as usize)).wrapping_add(offset);
                let usable = _mm512_set1_epi32(usable as i32);
                let offset = _mm512_set1_epi32(offset as i32);
                let limit = _mm512_set1_epi32(limit as i32);
                let low_bits = _mm512_set1_epi32(low_bits as i32);
                for half in 0..2 {
                    let here = (mask >> (half * 16)) as __mmask16;
                    let value = _mm512_loadu_epi32(values.add(half * 16).cast());
                    let value = _mm512_mask_add_epi32(usable, here, value, offset);
                    bad |= _mm512_cmpge_epu32_mask(value, limit);
                    bad |= _mm512_test_epi32_mask(value, low_bits);
                    _mm512_storeu_epi32(out.as_mut_ptr().add(half * 16).cast(), value);
                }
            }
            (bad == 0).then_some(out)
        }

        #[inline(always)]
        unsafe fn offsets64(
            values: *const u64,
            offset: u64,
            mask: u32,
            start: u64,
            limit: u64,
            low_bits: u64,
        ) -> Option<[u64; WARP]> {
            let mut out = [0; WARP];
            let mut bad = 0_u8;
            unsafe {
                let usable = (*values.add(mask.trailing_zeros() as usize)).wrapping_add(offset);
                let usable = _mm512_set1_epi64(usable as i64);
                let offset = _mm512_set1_epi64(offset as i64);
                let start = _mm512_set1_epi64(start as i64);
                let limit = _mm512_set1_epi64(limit as i64);
                let low_bits = _mm512_set1_epi64(low_bits as i64);
                for part in 0..4 {
                    let here = (mask >> (part * 8)) as __mmask8;
                    let value = _mm512_loadu_epi64(values.add(part * 8).cast());
                    let value = _mm512_mask_add_epi64(usable, here, value, offset);
                    bad |= _mm512_cmpge_epu64_mask(_mm512_sub_epi64(value, start), limit);
                    bad |= _mm512_test_epi64_mask(value, low_bits);
                    _mm512_storeu_epi64(out.as_mut_ptr().add(part * 8).cast(), value);
                }
            }
            (bad == 0).then_some(out)
        }

        #[inline(always)]
        unsafe fn widen_f16(values: &[u32; WARP]) -> [f32; WARP] {
            let mut out = [0.0; WARP];
            unsafe {
                for half in 0..2 {
                    let value = _mm512_loadu_epi32(values.as_ptr().add(half * 16).cast());
                    let value = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(value));
                    _mm512_storeu_ps(out.as_mut_ptr().add(half * 16), value);
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn narrow_f16(values: &[f32; WARP]) -> [u32; WARP] {
            let mut out = [0; WARP];
            unsafe {
                for half in 0..2 {
                    let value = _mm512_loadu_ps(values.as_ptr().add(half * 16));
                    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
                    let narrow = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value);
                    let narrow = _mm512_cvtepu16_epi32(narrow);
                    let narrow = _mm512_mask_set1_epi32(narrow, nan, NAN_16.into());
                    _mm512_storeu_epi32(out.as_mut_ptr().add(half * 16).cast(), narrow);
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn matches32(values: *const u32, origin: u32, steps: &[u32; WARP]) -> u32 {
            let mut bits = 0;
            unsafe {
                let origin = _mm512_set1_epi32(origin as i32);
                for half in 0..2 {
                    let value = _mm512_loadu_epi32(values.add(half * 16).cast());
                    let step = _mm512_loadu_epi32(steps.as_ptr().add(half * 16).cast());
                    let mask = _mm512_cmpeq_epi32_mask(value, _mm512_add_epi32(origin, step));
                    bits |= u32::from(mask) << (half * 16);
                }
            }
            bits
        }

        #[inline(always)]
        unsafe fn matches64(values: *const u64, origin: u64, steps: &[u64; WARP]) -> u32 {
            let mut bits = 0;
            unsafe {
                let origin = _mm512_set1_epi64(origin as i64);
                for part in 0..4 {
                    let value = _mm512_loadu_epi64(values.add(part * 8).cast());
                    let step = _mm512_loadu_epi64(steps.as_ptr().add(part * 8).cast());
                    let mask = _mm512_cmpeq_epi64_mask(value, _mm512_add_epi64(origin, step));
                    bits |= u32::from(mask) << (part * 8);
                }
            }
            bits
        }

        #[inline(always)]
        unsafe fn permute32(values: &[u32; WARP], index: &[u32; WARP]) -> [u32; WARP] {
            let mut out = [0; WARP];
            unsafe {
                let low = _mm512_loadu_epi32(values.as_ptr().cast());
                let high = _mm512_loadu_epi32(values.as_ptr().add(16).cast());
                for half in 0..2 {
                    let index = _mm512_loadu_epi32(index.as_ptr().add(half * 16).cast());
                    let value = _mm512_permutex2var_epi32(low, index, high);
                    _mm512_storeu_epi32(out.as_mut_ptr().add(half * 16).cast(), value);
                }
            }
            out
        }
    }

    impl Level for V3 {
        #[inline(always)]
        unsafe fn compare<T: CompareLane, const P: u8>(a: &[T; WARP], b: &[T; WARP]) -> u32 {
            unsafe { T::compare_v3::<P>(a, b) }
        }

        #[inline(always)]
        unsafe fn blend32(mask: u32, from: &[u32; WARP], to: *mut u32) {
            unsafe {
                let select = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                for part in 0..4 {
                    let bits = _mm256_set1_epi32((mask >> (part * 8)) as i32);
                    let keep = _mm256_cmpeq_epi32(_mm256_and_si256(bits, select), select);
                    let value = _mm256_loadu_si256(from.as_ptr().add(part * 8).cast());
                    _mm256_maskstore_epi32(to.add(part * 8).cast(), keep, value);
                }
            }
        }

        #[inline(always)]
        unsafe fn blend64(mask: u32, from: &[u64; WARP], to: *mut u64) {
            unsafe {
                let select = _mm256_setr_epi64x(1, 2, 4, 8);
                for part in 0..8 {
                    let bits = _mm256_set1_epi64x(i64::from(mask >> (part * 4)));
                    let keep = _mm256_cmpeq_epi64(_mm256_and_si256(bits, select), select);
                    let value = _mm256_loadu_si256(from.as_ptr().add(part * 4).cast());
                    _mm256_maskstore_epi64(to.add(part * 4).cast(), keep, value);
                }
            }
        }

        /// A quarter of a warp at a time: a broadcast or a plain load where the offsets allow.
        #[inline(always)]
        unsafe fn gather32(base: *const u8, offsets: &[u32; WARP]) -> [u32; WARP] {
            let mut out = [0; WARP];
            unsafe {
                let steps = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
                for part in 0..4 {
                    let index = _mm256_loadu_si256(offsets.as_ptr().add(part * 8).cast());
                    let start = base.add(offsets[part * 8] as usize);
                    let first = _mm256_broadcastd_epi32(_mm256_castsi256_si128(index));
                    let is_flat = _mm256_cmpeq_epi32(index, first);
                    let is_stepping = _mm256_cmpeq_epi32(index, _mm256_add_epi32(first, steps));
                    let value = if _mm256_movemask_epi8(is_flat) == !0 {
                        _mm256_set1_epi32(start.cast::<i32>().read_unaligned())
                    } else if _mm256_movemask_epi8(is_stepping) == !0 {
                        _mm256_loadu_si256(start.cast())
                    } else {
                        _mm256_i32gather_epi32::<1>(base.cast(), index)
                    };
                    _mm256_storeu_si256(out.as_mut_ptr().add(part * 8).cast(), value);
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn gather32_at(addresses: &[u64; WARP]) -> [u32; WARP] {
            unsafe { <super::Portable as Level>::gather32_at(addresses) }
        }

        #[inline(always)]
        unsafe fn offsets32(
            values: *const u32,
            offset: u32,
            mask: u32,
            limit: u32,
            low_bits: u32,
        ) -> Option<[u32; WARP]> {
            unsafe { <super::Portable as Level>::offsets32(values, offset, mask, limit, low_bits) }
        }

        #[inline(always)]
        unsafe fn offsets64(
            values: *const u64,
            offset: u64,
            mask: u32,
            start: u64,
            limit: u64,
            low_bits: u64,
        ) -> Option<[u64; WARP]> {
            unsafe {
                <super::Portable as Level>::offsets64(values, offset, mask, start, limit, low_bits)
            }
        }

        #[inline(always)]
        unsafe fn widen_f16(values: &[u32; WARP]) -> [f32; WARP] {
            let mut out = [0.0; WARP];
            unsafe {
                // Gathers the low halves of eight lanes into 128 bits.
                let pick = _mm256_setr_epi8(
                    0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 4, 5, 8, 9, 12,
                    13, -1, -1, -1, -1, -1, -1, -1, -1,
                );
                for part in 0..4 {
                    let value = _mm256_loadu_si256(values.as_ptr().add(part * 8).cast());
                    let value =
                        _mm256_permute4x64_epi64::<0b1000>(_mm256_shuffle_epi8(value, pick));
                    let value = _mm256_cvtph_ps(_mm256_castsi256_si128(value));
                    _mm256_storeu_ps(out.as_mut_ptr().add(part * 8), value);
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn narrow_f16(values: &[f32; WARP]) -> [u32; WARP] {
            let mut out = [0; WARP];
            unsafe {
                let replacement = _mm256_set1_epi32(NAN_16.into());
                for part in 0..4 {
                    let value = _mm256_loadu_ps(values.as_ptr().add(part * 8));
                    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
                    let narrow = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(value);
                    let narrow = _mm256_cvtepu16_epi32(narrow);
                    let narrow = _mm256_blendv_epi8(narrow, replacement, nan);
                    _mm256_storeu_si256(out.as_mut_ptr().add(part * 8).cast(), narrow);
                }
            }
            out
        }

        #[inline(always)]
        unsafe fn matches32(values: *const u32, origin: u32, steps: &[u32; WARP]) -> u32 {
            let mut bits = 0;
            unsafe {
                let origin = _mm256_set1_epi32(origin as i32);
                for part in 0..4 {
                    let value = _mm256_loadu_si256(values.add(part * 8).cast());
                    let step = _mm256_loadu_si256(steps.as_ptr().add(part * 8).cast());
                    let mask = _mm256_cmpeq_epi32(value, _mm256_add_epi32(origin, step));
                    bits |= bits32(mask) << (part * 8);
                }
            }
            bits
        }

        #[inline(always)]
        unsafe fn matches64(values: *const u64, origin: u64, steps: &[u64; WARP]) -> u32 {
            let mut bits = 0;
            unsafe {
                let origin = _mm256_set1_epi64x(origin as i64);
                for part in 0..8 {
                    let value = _mm256_loadu_si256(values.add(part * 4).cast());
                    let step = _mm256_loadu_si256(steps.as_ptr().add(part * 4).cast());
                    let mask = _mm256_cmpeq_epi64(value, _mm256_add_epi64(origin, step));
                    bits |= bits64(mask) << (part * 4);
                }
            }
            bits
        }

        #[inline(always)]
        unsafe fn permute32(values: &[u32; WARP], index: &[u32; WARP]) -> [u32; WARP] {
            unsafe { <super::Portable as Level>::permute32(values, index) }
        }
    }

    macro_rules! integer_compare {
        ($lane:ty, $count4:literal, $load4:ident, $eq4:ident, $lt4:ident, $le4:ident,
         $count3:literal, $eq3:ident, $gt3:ident, $flip:expr, $bits3:ident) => {
            impl CompareLane for $lane {
                #[inline(always)]
                unsafe fn compare_v4<const P: u8>(a: &[Self; WARP], b: &[Self; WARP]) -> u32 {
                    let mut bits = 0_u32;
                    for part in 0..WARP / $count4 {
                        unsafe {
                            let x = $load4(a.as_ptr().add(part * $count4).cast());
                            let y = $load4(b.as_ptr().add(part * $count4).cast());
                            let mask = match P {
                                p::EQ | p::NE => $eq4(x, y),
                                p::LT | p::GE => $lt4(x, y),
                                _ => $le4(x, y),
                            };
                            bits |= u32::from(mask) << (part * $count4);
                        }
                    }
                    if matches!(P, p::NE | p::GE | p::GT) {
                        !bits
                    } else {
                        bits
                    }
                }

                #[inline(always)]
                unsafe fn compare_v3<const P: u8>(a: &[Self; WARP], b: &[Self; WARP]) -> u32 {
                    let mut bits = 0_u32;
                    for part in 0..WARP / $count3 {
                        unsafe {
                            let x = _mm256_loadu_si256(a.as_ptr().add(part * $count3).cast());
                            let y = _mm256_loadu_si256(b.as_ptr().add(part * $count3).cast());
                            let (x, y) = $flip(x, y);
                            let mask = match P {
                                p::EQ | p::NE => $eq3(x, y),
                                p::LT | p::GE => $gt3(y, x),
                                _ => $gt3(x, y),
                            };
                            bits |= $bits3(mask) << (part * $count3);
                        }
                    }
                    if matches!(P, p::NE | p::GE | p::LE) {
                        !bits
                    } else {
                        bits
                    }
                }
            }
        };
    }

    #[inline(always)]
    unsafe fn bits32(mask: __m256i) -> u32 {
        unsafe { _mm256_movemask_ps(_mm256_castsi256_ps(mask)) as u32 }
    }

    #[inline(always)]
    unsafe fn bits64(mask: __m256i) -> u32 {
        unsafe { _mm256_movemask_pd(_mm256_castsi256_pd(mask)) as u32 }
    }

    #[inline(always)]
    unsafe fn as_is(x: __m256i, y: __m256i) -> (__m256i, __m256i) {
        (x, y)
    }

    #[inline(always)]
    unsafe fn flip32(x: __m256i, y: __m256i) -> (__m256i, __m256i) {
        unsafe {
            let sign = _mm256_set1_epi32(i32::MIN);
            (_mm256_xor_si256(x, sign), _mm256_xor_si256(y, sign))
        }
    }

    #[inline(always)]
    unsafe fn flip64(x: __m256i, y: __m256i) -> (__m256i, __m256i) {
        unsafe {
            let sign = _mm256_set1_epi64x(i64::MIN);
            (_mm256_xor_si256(x, sign), _mm256_xor_si256(y, sign))
        }
    }

    integer_compare!(
        i32,
        16,
        _mm512_loadu_epi32,
        _mm512_cmpeq_epi32_mask,
        _mm512_cmplt_epi32_mask,
        _mm512_cmple_epi32_mask,
        8,
        _mm256_cmpeq_epi32,
        _mm256_cmpgt_epi32,
        as_is,
        bits32
    );
    integer_compare!(
        u32,
        16,
        _mm512_loadu_epi32,
        _mm512_cmpeq_epu32_mask,
        _mm512_cmplt_epu32_mask,
        _mm512_cmple_epu32_mask,
        8,
        _mm256_cmpeq_epi32,
        _mm256_cmpgt_epi32,
        flip32,
        bits32
    );
    integer_compare!(
        i64,
        8,
        _mm512_loadu_epi64,
        _mm512_cmpeq_epi64_mask,
        _mm512_cmplt_epi64_mask,
        _mm512_cmple_epi64_mask,
        4,
        _mm256_cmpeq_epi64,
        _mm256_cmpgt_epi64,
        as_is,
        bits64
    );
    integer_compare!(
        u64,
        8,
        _mm512_loadu_epi64,
        _mm512_cmpeq_epu64_mask,
        _mm512_cmplt_epu64_mask,
        _mm512_cmple_epu64_mask,
        4,
        _mm256_cmpeq_epi64,
        _mm256_cmpgt_epi64,
        flip64,
        bits64
    );

    macro_rules! float_predicate {
        ($compare:ident, $p:expr, $x:expr, $y:expr) => {
            match $p {
                p::EQ => $compare::<_CMP_EQ_OQ>($x, $y),
                p::NE => $compare::<_CMP_NEQ_OQ>($x, $y),
                p::LT => $compare::<_CMP_LT_OQ>($x, $y),
                p::LE => $compare::<_CMP_LE_OQ>($x, $y),
                p::GT => $compare::<_CMP_GT_OQ>($x, $y),
                p::GE => $compare::<_CMP_GE_OQ>($x, $y),
                p::EQU => $compare::<_CMP_EQ_UQ>($x, $y),
                p::NEU => $compare::<_CMP_NEQ_UQ>($x, $y),
                p::LTU => $compare::<_CMP_NGE_UQ>($x, $y),
                p::LEU => $compare::<_CMP_NGT_UQ>($x, $y),
                p::GTU => $compare::<_CMP_NLE_UQ>($x, $y),
                p::GEU => $compare::<_CMP_NLT_UQ>($x, $y),
                p::NUM => $compare::<_CMP_ORD_Q>($x, $y),
                _ => $compare::<_CMP_UNORD_Q>($x, $y),
            }
        };
    }

    macro_rules! float_compare {
        ($lane:ty, $count4:literal, $load4:ident, $compare4:ident,
         $count3:literal, $load3:ident, $compare3:ident, $bits3:ident) => {
            impl CompareLane for $lane {
                #[inline(always)]
                unsafe fn compare_v4<const P: u8>(a: &[Self; WARP], b: &[Self; WARP]) -> u32 {
                    let mut bits = 0_u32;
                    for part in 0..WARP / $count4 {
                        unsafe {
                            let x = $load4(a.as_ptr().add(part * $count4));
                            let y = $load4(b.as_ptr().add(part * $count4));
                            let mask = float_predicate!($compare4, P, x, y);
                            bits |= u32::from(mask) << (part * $count4);
                        }
                    }
                    bits
                }

                #[inline(always)]
                unsafe fn compare_v3<const P: u8>(a: &[Self; WARP], b: &[Self; WARP]) -> u32 {
                    let mut bits = 0_u32;
                    for part in 0..WARP / $count3 {
                        unsafe {
                            let x = $load3(a.as_ptr().add(part * $count3));
                            let y = $load3(b.as_ptr().add(part * $count3));
                            let mask = float_predicate!($compare3, P, x, y);
                            bits |= ($bits3(mask) as u32) << (part * $count3);
                        }
                    }
                    bits
                }
            }
        };
    }

    float_compare!(
        f32,
        16,
        _mm512_loadu_ps,
        _mm512_cmp_ps_mask,
        8,
        _mm256_loadu_ps,
        _mm256_cmp_ps,
        _mm256_movemask_ps
    );
    float_compare!(
        f64,
        8,
        _mm512_loadu_pd,
        _mm512_cmp_pd_mask,
        4,
        _mm256_loadu_pd,
        _mm256_cmp_pd,
        _mm256_movemask_pd
    );
}

#[cfg(not(target_arch = "x86_64"))]
mod other {
    use super::CompareLane;
    impl CompareLane for i32 {}
    impl CompareLane for u32 {}
    impl CompareLane for f32 {}
    impl CompareLane for i64 {}
    impl CompareLane for u64 {}
    impl CompareLane for f64 {}
}
