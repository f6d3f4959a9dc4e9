// SPDX-License-Identifier: Apache-2.0
//! The layout of what a process tells: written by its own threads, read by others at any time.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `GVusage1` |
//! | 8 | 8 | process id as the process itself sees it |
//! | 16 + 80 d | 8 | device d: bytes of memory in use |
//! | 24 + 80 d | 8 | since when kernels are at work, 0: none is; in ns of the monotonic clock |
//! | 32 + 80 d | 16 × 4 | the last seconds: their number, and for how many ns kernels were at work |
//!
//! Numbers are in the machine's byte order. A reader may see a second that is being written; the
//! one it asks for is over, so that only its last nanoseconds can lack.

use std::sync::atomic::{AtomicU64, Ordering};

use super::NANOSECONDS_PER_SECOND;
use crate::limits::DEVICES_MAX;

const MAGIC: u64 = u64::from_ne_bytes(*b"GVusage1");
/// Seconds that are kept: readers ask for the last whole one.
const SECONDS: u64 = 4;

#[repr(C)]
pub(super) struct Page {
    magic: AtomicU64,
    pid: AtomicU64,
    pub(super) devices: [DeviceUsage; DEVICES_MAX],
}

#[repr(C)]
pub(super) struct DeviceUsage {
    pub(super) memory_bytes: AtomicU64,
    running_since_ns: AtomicU64,
    seconds: [Second; SECONDS as usize],
}

#[repr(C)]
struct Second {
    number: AtomicU64,
    busy_ns: AtomicU64,
}

impl Page {
    /// Makes a page of zeros one of this process.
    pub(super) fn begin(&self) {
        self.pid.store(std::process::id().into(), Ordering::Relaxed);
        self.magic.store(MAGIC, Ordering::Release);
    }
}

impl DeviceUsage {
    /// Kernels are at work from now on.
    pub(super) fn begin(&self, now_ns: u64) {
        self.running_since_ns.store(now_ns, Ordering::Relaxed);
    }

    /// No kernel is any more.
    pub(super) fn end(&self, since_ns: u64, now_ns: u64) {
        let [first, last] = [since_ns, now_ns].map(|time| time / NANOSECONDS_PER_SECOND);
        for number in first.max(last.saturating_sub(SECONDS - 1))..=last {
            let second = &self.seconds[(number % SECONDS) as usize];
            if second.number.load(Ordering::Relaxed) != number {
                second.busy_ns.store(0, Ordering::Relaxed);
                second.number.store(number, Ordering::Relaxed);
            }
            let busy_ns = overlap_ns(number, since_ns, now_ns);
            second.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
        }
        self.running_since_ns.store(0, Ordering::Relaxed);
    }
}

/// For how long an interval lies in a second.
fn overlap_ns(second: u64, since_ns: u64, until_ns: u64) -> u64 {
    let start = second * NANOSECONDS_PER_SECOND;
    let end = until_ns.min(start + NANOSECONDS_PER_SECOND);
    end.saturating_sub(since_ns.max(start))
}

/// What another process's page says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) pid: u32,
    pub(super) memory_bytes: u64,
    /// In the last whole second.
    pub(super) busy_ns: u64,
}

/// Reads a copy of a page; nothing if it is none.
pub(super) fn read(bytes: &[u8; size_of::<Page>()], device: usize, now_ns: u64) -> Option<Reading> {
    let word = |index: usize| {
        let word = bytes.get(index * 8..)?.first_chunk()?;
        Some(u64::from_ne_bytes(*word))
    };
    if device >= DEVICES_MAX || word(0)? != MAGIC {
        return None;
    }
    let first = 2 + device * (size_of::<DeviceUsage>() / 8);
    let asked = (now_ns / NANOSECONDS_PER_SECOND).checked_sub(1)?;
    let since_ns = word(first + 1)?;
    let mut busy_ns = match since_ns {
        0 => 0,
        since_ns => overlap_ns(asked, since_ns, now_ns),
    };
    for index in 0..SECONDS as usize {
        let at = first + 2 + 2 * index;
        if word(at)? == asked {
            busy_ns = busy_ns.saturating_add(word(at + 1)?);
        }
    }
    Some(Reading {
        pid: u32::try_from(word(1)?).ok()?,
        memory_bytes: word(first)?,
        busy_ns: busy_ns.min(NANOSECONDS_PER_SECOND),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = NANOSECONDS_PER_SECOND;

    fn snapshot(page: &Page) -> [u8; size_of::<Page>()] {
        // SAFETY: a page is made of integers without padding, and nobody writes to it here.
        unsafe {
            std::ptr::from_ref(page)
                .cast::<[u8; size_of::<Page>()]>()
                .read()
        }
    }

    fn page() -> Box<Page> {
        // SAFETY: zeros are valid atomics.
        let page: Box<Page> = unsafe { Box::new(std::mem::zeroed()) };
        page.begin();
        page
    }

    #[test]
    fn time_is_counted_in_the_seconds_where_it_passed() {
        let page = page();
        let device = &page.devices[3];
        device.memory_bytes.store(77, Ordering::Relaxed);
        device.begin(10 * SECOND + 900_000_000);
        device.end(10 * SECOND + 900_000_000, 12 * SECOND + 100_000_000);
        device.begin(12 * SECOND + 500_000_000);
        let busy = |now| read(&snapshot(&page), 3, now).map(|reading| reading.busy_ns);
        assert_eq!(busy(11 * SECOND), Some(100_000_000));
        assert_eq!(busy(12 * SECOND), Some(SECOND));
        // The kernel that is still at work counts too.
        assert_eq!(busy(13 * SECOND), Some(600_000_000));
        assert_eq!(busy(14 * SECOND), Some(SECOND));
        device.end(12 * SECOND + 500_000_000, 30 * SECOND);
        assert_eq!(busy(30 * SECOND), Some(SECOND));
        assert_eq!(busy(31 * SECOND), Some(0));
        let reading = read(&snapshot(&page), 3, 0);
        assert_eq!(reading, None, "no second is over yet");
        let reading = read(&snapshot(&page), 3, 40 * SECOND).expect("a page");
        assert_eq!(
            (reading.pid, reading.memory_bytes),
            (std::process::id(), 77)
        );
    }

    #[test]
    fn other_files_are_no_pages() {
        assert_eq!(read(&[0; size_of::<Page>()], 0, SECOND), None);
        assert_eq!(read(&[0xff; size_of::<Page>()], 0, SECOND), None);
        let page = page();
        assert_eq!(read(&snapshot(&page), DEVICES_MAX, 5 * SECOND), None);
    }
}
