// SPDX-License-Identifier: Apache-2.0
//! Page-locked memory of the application: allocated here, or its own and registered.
//!
//! The memory is ordinary memory: a network has no use for pages that a device could reach. What
//! remains is what programs see: the alignment, the flags, the pointer attributes.

use std::collections::BTreeMap;

use gvirtus_abi::CUresult;

use super::reserve::PAGE_BYTES;

/// How memory came to be page-locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PinnedBy {
    /// `cuMemHostAlloc`, `cuMemAllocHost`.
    Allocation,
    /// `cuMemHostRegister`.
    Registration,
    /// `cuMemHostAlloc` of memory that kernels use; its pages belong to the device's range.
    Mapping,
}

/// A piece of page-locked memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostRange {
    /// First address.
    pub(crate) base: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// As `cuMemHostGetFlags` says.
    pub(crate) flags: u32,
    /// How it came to be.
    pub(crate) pinned_by: PinnedBy,
    /// Number of the context in which it was made.
    pub(crate) context: u16,
    /// Ordinal of its device.
    pub(crate) device: u32,
    /// As `CU_POINTER_ATTRIBUTE_BUFFER_ID` says; unique in a session.
    pub(crate) id: u64,
}

/// All page-locked memory, by address.
#[derive(Debug, Default)]
pub(crate) struct HostRanges {
    by_base: BTreeMap<u64, HostRange>,
}

impl HostRanges {
    /// The piece that holds `address`.
    pub(crate) fn find(&self, address: u64) -> Option<&HostRange> {
        let (_, range) = self.by_base.range(..=address).next_back()?;
        (address - range.base < range.bytes).then_some(range)
    }

    /// Maps new memory; `describe` gets its address.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    pub(crate) fn allocate(
        &mut self,
        bytes: usize,
        describe: impl FnOnce(u64) -> HostRange,
    ) -> Result<u64, CUresult> {
        // SAFETY: a new private mapping.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        let address = memory as u64;
        self.by_base.insert(address, describe(address));
        Ok(address)
    }

    /// Adds memory that is mapped already.
    pub(crate) fn insert(&mut self, range: HostRange) {
        self.by_base.insert(range.base, range);
    }

    /// Unmaps the allocation that begins at `address`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if there is none.
    pub(crate) fn free(&mut self, address: u64) -> Result<(), CUresult> {
        match self.by_base.get(&address) {
            Some(range) if range.pinned_by != PinnedBy::Registration => {
                if range.pinned_by == PinnedBy::Allocation {
                    unmap(range);
                }
                self.by_base.remove(&address);
                Ok(())
            }
            _ => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        }
    }

    /// Notes that the application's own memory is page-locked.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED` if some of it already is.
    pub(crate) fn register(&mut self, range: HostRange) -> Result<(), CUresult> {
        let end = range
            .base
            .checked_add(range.bytes)
            .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        let last_before_end = self.by_base.range(..end).next_back();
        if last_before_end.is_some_and(|(_, other)| other.base + other.bytes > range.base) {
            return Err(CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        }
        self.by_base.insert(range.base, range);
        Ok(())
    }

    /// Forgets the registration that begins at `address`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED` if there is none.
    pub(crate) fn unregister(&mut self, address: u64) -> Result<(), CUresult> {
        match self.by_base.get(&address) {
            Some(range) if range.pinned_by == PinnedBy::Registration => {
                self.by_base.remove(&address);
                Ok(())
            }
            _ => Err(CUresult::CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED),
        }
    }

    /// Frees all allocations and forgets all registrations of a context.
    pub(crate) fn remove_context(&mut self, context: u16) {
        self.by_base.retain(|_, range| {
            let goes = range.context == context;
            if goes && range.pinned_by == PinnedBy::Allocation {
                unmap(range);
            }
            !goes
        });
    }
}

fn unmap(range: &HostRange) {
    let pages = range.bytes.next_multiple_of(PAGE_BYTES);
    let Ok(length) = usize::try_from(pages) else {
        return;
    };
    // SAFETY: mapped by `allocate` with this length and not unmapped since; whoever frees it says
    // that nobody uses it.
    unsafe { libc::munmap(range.base as *mut libc::c_void, length) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(base: u64, bytes: u64, pinned_by: PinnedBy) -> HostRange {
        HostRange {
            base,
            bytes,
            flags: 1,
            pinned_by,
            context: 1,
            device: 0,
            id: 1,
        }
    }

    #[test]
    fn allocations_are_pages_and_are_freed_once() {
        let mut ranges = HostRanges::default();
        let address = ranges
            .allocate(100, |base| range(base, 100, PinnedBy::Allocation))
            .expect("memory");
        assert!(address.is_multiple_of(PAGE_BYTES));
        // SAFETY: just allocated.
        unsafe { (address as *mut u8).write_bytes(7, 100) };
        assert!(ranges.find(address + 99).is_some() && ranges.find(address + 100).is_none());
        assert!(ranges.unregister(address).is_err() && ranges.free(address + 1).is_err());
        assert_eq!(ranges.free(address), Ok(()));
        assert_eq!(
            ranges.free(address),
            Err(CUresult::CUDA_ERROR_INVALID_VALUE)
        );
    }

    #[test]
    fn registrations_do_not_overlap() {
        let mut ranges = HostRanges::default();
        let registered = |base, bytes| range(base, bytes, PinnedBy::Registration);
        assert_eq!(ranges.register(registered(1000, 100)), Ok(()));
        for (base, bytes) in [(1000, 1), (950, 51), (1099, 10), (900, 1000)] {
            let error = Err(CUresult::CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
            assert_eq!(ranges.register(registered(base, bytes)), error, "{base}");
        }
        assert_eq!(ranges.register(registered(1100, 8)), Ok(()));
        assert!(ranges.free(1000).is_err());
        assert_eq!(ranges.unregister(1000), Ok(()));
        assert!(ranges.find(1000).is_none());
        ranges.remove_context(1);
        assert!(ranges.find(1100).is_none());
    }
}
