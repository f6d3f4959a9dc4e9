// SPDX-License-Identifier: Apache-2.0
//! Accesses of 128 bits, each a single one: `ld st atom` of `.b128`.

use super::access::{AddressCode, Element};
use super::atomic::put;
use super::code::{Code, More};
use super::fault::Access;
use super::lanes::{Lanes, Step, WARP};
use super::scalar;
use crate::ir::Space;

/// A decoded access of 128 bits.
#[derive(Debug)]
pub(crate) struct AtomicWide {
    pub(crate) space: Space,
    pub(crate) is_strong: bool,
    pub(crate) address: AddressCode,
    /// None: a store.
    pub(crate) dst: Option<[Element; 2]>,
    pub(crate) compare: Option<[Element; 2]>,
    /// None: a load.
    pub(crate) new: Option<[Element; 2]>,
}

impl AtomicWide {
    fn access(&self) -> Access {
        match (self.dst, self.new) {
            (_, None) => Access::Read,
            (None, _) => Access::Write,
            _ => Access::Atomic,
        }
    }
}

/// Executes accesses of 128 bits, lane after lane.
///
/// # Safety
/// `code` was decoded for the running function.
pub(crate) unsafe fn run_atomic_wide(lanes: &mut Lanes, code: &Code) -> Step {
    let More::AtomicWide(atomic) = &code.more else {
        return Step::Fault;
    };
    // SAFETY: the interpreter owns the block and holds no other reference while code runs.
    let block = unsafe { &mut *lanes.block };
    let access = atomic.access();
    match access {
        Access::Read => block.note_load(atomic.is_strong),
        Access::Write => block.note_store(),
        Access::Atomic => block.note_load(false),
    }
    if atomic.is_strong && access == Access::Write {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }
    for warp in 0..lanes.warps {
        // SAFETY: one word a warp; operands of the running function.
        let (mask, addresses, compare, new) = unsafe {
            let pair = |[low, high]: [Element; 2]| {
                let (low, high) = (
                    scalar::read(lanes, low, warp),
                    scalar::read(lanes, high, warp),
                );
                std::array::from_fn::<_, WARP, _>(|lane| {
                    u128::from(low[lane]) | u128::from(high[lane]) << 64
                })
            };
            (
                *lanes.active.add(warp),
                atomic.address.warp(lanes, warp),
                atomic.compare.map(pair),
                atomic.new.map(pair),
            )
        };
        let (mut low, mut high) = ([0; WARP], [0; WARP]);
        for lane in (0..WARP).filter(|lane| mask >> lane & 1 != 0) {
            let at = (warp * WARP + lane) as u32;
            let Some(place) = block.resolve(atomic.space, addresses[lane], 16, access, at) else {
                return Step::Fault;
            };
            let compare = compare.as_ref().map(|compare| compare[lane]);
            let new = new.as_ref().map(|new| new[lane]);
            // SAFETY: `resolve` checked sixteen aligned bytes.
            let old = unsafe {
                match (access, new) {
                    (Access::Write, Some(new)) => {
                        store(place.cast(), new);
                        continue;
                    }
                    (Access::Atomic, Some(new)) => exchange(place.cast(), compare, new),
                    _ => load(place.cast()),
                }
            };
            if new.is_some_and(|new| old != new && compare.is_none_or(|compare| compare == old)) {
                block.progress.stored = true;
            } else if access == Access::Atomic {
                block.progress.polled = true;
            }
            (low[lane], high[lane]) = (old as u64, (old >> 64) as u64);
        }
        if let Some([to_low, to_high]) = atomic.dst {
            // SAFETY: destinations of the running function.
            unsafe {
                put(lanes, to_low, warp, mask, &low);
                put(lanes, to_high, warp, mask, &high);
            }
        }
    }
    Step::Next
}

/// What the CPU has. With AVX, aligned moves of 16 bytes are single accesses (Intel SDM, volume 3,
/// "Guaranteed Atomic Operations"; AMD says the same); it implies `cmpxchg16b` on all CPUs there
/// are, but that is asked for too.
#[cfg(target_arch = "x86_64")]
fn is_single() -> bool {
    std::arch::is_x86_feature_detected!("avx") && std::arch::is_x86_feature_detected!("cmpxchg16b")
}

/// Serves CPUs without accesses of this length.
static LOCK: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// # Safety
/// `place` is valid for reads of 16 bytes and aligned to them.
unsafe fn load(place: *const u128) -> u128 {
    #[cfg(target_arch = "x86_64")]
    if is_single() {
        let value: std::arch::x86_64::__m128i;
        // SAFETY: the caller's contract. Written as assembly so that it stays one access.
        unsafe {
            std::arch::asm!(
                "vmovdqa {value}, xmmword ptr [{place}]",
                value = out(xmm_reg) value,
                place = in(reg) place,
                options(nostack, preserves_flags, readonly),
            );
            return std::mem::transmute::<std::arch::x86_64::__m128i, u128>(value);
        }
    }
    let _guard = LOCK.lock();
    // SAFETY: the caller's contract.
    unsafe { place.read_volatile() }
}

/// # Safety
/// `place` is valid for writes of 16 bytes and aligned to them.
unsafe fn store(place: *mut u128, new: u128) {
    #[cfg(target_arch = "x86_64")]
    if is_single() {
        // SAFETY: the caller's contract. Written as assembly so that it stays one access.
        unsafe {
            let value = std::mem::transmute::<u128, std::arch::x86_64::__m128i>(new);
            std::arch::asm!(
                "vmovdqa xmmword ptr [{place}], {value}",
                value = in(xmm_reg) value,
                place = in(reg) place,
                options(nostack, preserves_flags),
            );
        }
        return;
    }
    let _guard = LOCK.lock();
    // SAFETY: the caller's contract.
    unsafe { place.write_volatile(new) }
}

/// Writes a value, if there is the one to compare with; answers the old one.
///
/// # Safety
/// `place` is valid for reads and writes of 16 bytes and aligned to them.
unsafe fn exchange(place: *mut u128, compare: Option<u128>, new: u128) -> u128 {
    #[cfg(target_arch = "x86_64")]
    if is_single() {
        // SAFETY: the caller's contract; the CPU has the instruction.
        return unsafe { exchange_at_once(place, compare, new) };
    }
    let _guard = LOCK.lock();
    // SAFETY: the caller's contract.
    unsafe {
        let old = place.read_volatile();
        if compare.is_none_or(|compare| compare == old) {
            place.write_volatile(new);
        }
        old
    }
}

/// # Safety
/// That of [`exchange`]; the CPU has `cmpxchg16b`.
#[cfg(target_arch = "x86_64")]
unsafe fn exchange_at_once(place: *mut u128, compare: Option<u128>, new: u128) -> u128 {
    // SAFETY: the caller's contract.
    let swap = |old: u128| unsafe { compare_exchange(place, old, new) };
    let Some(compare) = compare else {
        // Whatever is there; a wrong guess changes nothing.
        let mut guess = 0;
        loop {
            let old = swap(guess);
            if old == guess {
                return old;
            }
            guess = old;
        }
    };
    swap(compare)
}

/// # Safety
/// As [`exchange_at_once`].
#[cfg(target_arch = "x86_64")]
unsafe fn compare_exchange(place: *mut u128, compare: u128, new: u128) -> u128 {
    let (mut low, mut high) = (compare as u64, (compare >> 64) as u64);
    // SAFETY: the caller's contract; `rbx`, which cannot be named as an operand, gets its value
    // back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, rsi",
            "lock cmpxchg16b [rdi]",
            "xchg rbx, rsi",
            in("rdi") place,
            inout("rsi") new as u64 => _,
            in("rcx") (new >> 64) as u64,
            inout("rax") low,
            inout("rdx") high,
            options(nostack),
        );
    }
    u128::from(low) | u128::from(high) << 64
}
