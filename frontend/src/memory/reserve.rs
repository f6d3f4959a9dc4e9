// SPDX-License-Identifier: Apache-2.0
//! Keeping the application's own memory off the device's addresses.
//!
//! Device addresses are those of the worker's process. Where the application's process has them
//! free, they are reserved without access rights: then no host allocation gets them, a pointer's
//! value tells whose memory it is, and a stray access from the host faults as it would on a real
//! device.

/// Bytes of a page.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// Whole pages, from the first address to the one behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    start: u64,
    end: u64,
}

impl Pages {
    /// The pages that `bytes` bytes at `address` touch.
    pub(super) const fn touched(address: u64, bytes: u64) -> Self {
        let end = address.saturating_add(bytes);
        Self {
            start: address / PAGE_BYTES * PAGE_BYTES,
            end: end.saturating_add(PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES,
        }
    }

    /// Without those that the neighbours touch.
    pub(super) fn without(self, below: Option<Self>, above: Option<Self>) -> Self {
        let start = below.map_or(self.start, |pages| self.start.max(pages.end));
        let end = above.map_or(self.end, |pages| self.end.min(pages.start));
        Self { start, end }
    }

    /// Whether an address lies in them.
    pub(super) const fn hold(self, address: u64) -> bool {
        address >= self.start && address < self.end
    }

    fn length(self) -> usize {
        usize::try_from(self.end.saturating_sub(self.start)).unwrap_or(0)
    }

    /// Takes the pages out of the process's free address space. Whether that was possible; it is
    /// not where the process uses one of them.
    pub(super) fn reserve(self) -> bool {
        if self.length() == 0 {
            return true;
        }
        let place = self.start as *mut libc::c_void;
        // SAFETY: a mapping that replaces no other and gives no access.
        let mapped = unsafe {
            libc::mmap(
                place,
                self.length(),
                libc::PROT_NONE,
                libc::MAP_PRIVATE
                    | libc::MAP_ANONYMOUS
                    | libc::MAP_NORESERVE
                    | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        if mapped == libc::MAP_FAILED {
            return false;
        }
        if mapped != place {
            // A system that does not know the flag takes the address for a wish.
            // SAFETY: the mapping made above.
            unsafe { libc::munmap(mapped, self.length()) };
            return false;
        }
        true
    }

    /// Makes reserved pages readable and writable.
    pub(super) fn open(self) -> bool {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: reserved by `reserve`, so they hold nothing of anybody else.
        unsafe { libc::mprotect(self.start as *mut libc::c_void, self.length(), rights) == 0 }
    }

    /// Gives reserved pages back.
    pub(super) fn release(self) {
        if self.length() > 0 {
            // SAFETY: reserved by `reserve`, without access rights, so nobody uses them.
            unsafe { libc::munmap(self.start as *mut libc::c_void, self.length()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_addresses_cannot_be_reserved() {
        let own = 7_u64;
        let pages = Pages::touched((&raw const own) as u64, 8);
        assert!(!pages.reserve());
        let free = 0x1234_5600_0000;
        let pages = Pages::touched(free + 100, 2 * PAGE_BYTES);
        assert_eq!(pages.length(), 3 * PAGE_BYTES as usize);
        assert!(pages.reserve());
        assert!(!pages.reserve());
        pages.release();
        assert!(pages.reserve());
        pages.release();
    }

    #[test]
    fn neighbours_keep_their_pages() {
        let page = |n: u64| n * PAGE_BYTES;
        let pages = Pages::touched(page(10), page(5));
        let below = Pages::touched(page(9), page(1) + 1);
        let above = Pages::touched(page(14) + 8, 8);
        let inner = pages.without(Some(below), Some(above));
        let expected = Pages {
            start: page(11),
            end: page(14),
        };
        assert_eq!(inner, expected);
        let covered = Pages::touched(page(10) + 8, 8).without(Some(below), None);
        assert_eq!(covered.length(), 0);
    }
}
