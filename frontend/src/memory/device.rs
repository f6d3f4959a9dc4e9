// SPDX-License-Identifier: Apache-2.0
//! The device memory that the application knows of: allocations, and the variables of modules.

use std::collections::BTreeMap;

use gvirtus_abi::CUresult;

use super::reserve::Pages;

/// A piece of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceRange {
    /// First address.
    pub(crate) base: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Number of its context.
    pub(crate) context: u16,
    /// Ordinal of its device.
    pub(crate) device: u32,
    /// As `CU_POINTER_ATTRIBUTE_BUFFER_ID` says; unique in a session.
    pub(crate) id: u64,
    /// What it is.
    pub(crate) kind: RangeKind,
    /// Whether its pages are reserved in the application's process.
    pub(crate) is_reserved: bool,
}

/// What a piece of device memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeKind {
    /// An allocation.
    Memory,
    /// An allocation from the pool with this number; without one, from the device's default pool.
    Pooled(Option<u32>),
    /// A variable of the module or library with this number.
    Variable(u32),
    /// An allocation that the application uses too.
    Managed,
    /// Such a variable of the module or library with this number.
    ManagedVariable(u32),
    /// Page-locked memory of the application, which is there at the same address.
    Mapped,
    /// The device's copy of page-locked memory that the application has elsewhere.
    Mirror,
    /// Mapped in a reservation; one bit a device that may access it.
    Virtual {
        /// Bit of ordinal modulo 64.
        users: u64,
    },
    /// Another process's allocation.
    Imported {
        /// Times that it has to be closed.
        references: u32,
    },
}

impl RangeKind {
    /// Whether `cuMemFree` and `cuMemFreeAsync` free it.
    pub(crate) const fn is_freed_as_memory(self) -> bool {
        matches!(self, Self::Memory | Self::Pooled(_) | Self::Managed)
    }

    /// Whether it is managed memory.
    pub(crate) const fn is_managed(self) -> bool {
        matches!(self, Self::Managed | Self::ManagedVariable(_))
    }

    /// Whether it is mapped in a reservation.
    pub(crate) const fn is_virtual(self) -> bool {
        matches!(self, Self::Virtual { .. })
    }

    /// Whether it is a variable of this module or library.
    pub(crate) fn is_variable_of(self, image: u32) -> bool {
        self == Self::Variable(image) || self == Self::ManagedVariable(image)
    }
}

impl DeviceRange {
    /// Whether it lies in these bytes.
    pub(crate) const fn is_in(&self, address: u64, bytes: u64) -> bool {
        self.base >= address && self.base - address < bytes
    }

    const fn pages(&self) -> Pages {
        Pages::touched(self.base, self.bytes)
    }
}

/// All device memory, by address.
#[derive(Debug, Default)]
pub(crate) struct DeviceRanges {
    by_base: BTreeMap<u64, DeviceRange>,
    /// Addresses that the application has reserved, which no other range touches.
    reservations: BTreeMap<u64, Pages>,
}

impl DeviceRanges {
    /// The piece that holds `address`.
    pub(crate) fn find(&self, address: u64) -> Option<&DeviceRange> {
        let (_, range) = self.by_base.range(..=address).next_back()?;
        (address - range.base < range.bytes).then_some(range)
    }

    /// The piece that begins at `address`.
    pub(crate) fn starting_at(&self, address: u64) -> Option<&DeviceRange> {
        self.by_base.get(&address)
    }

    /// Whether `bytes` bytes from `address` on lie in one piece, or in mapped ones side by side
    /// that some device may access.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if they do not.
    #[inline]
    pub(crate) fn check(&self, address: u64, bytes: u64) -> Result<(), CUresult> {
        if bytes == 0 {
            return Ok(());
        }
        match self.find(address) {
            Some(range) if range.kind.is_virtual() => self.check_virtual(address, bytes),
            Some(range) if bytes <= range.bytes - (address - range.base) => Ok(()),
            _ => Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        }
    }

    fn check_virtual(&self, mut address: u64, mut bytes: u64) -> Result<(), CUresult> {
        loop {
            let range = self.find(address);
            let rest = match range {
                Some(range) => match range.kind {
                    RangeKind::Virtual { users: 1.. } => range.bytes - (address - range.base),
                    _ => return Err(CUresult::CUDA_ERROR_INVALID_VALUE),
                },
                None => return Err(CUresult::CUDA_ERROR_INVALID_VALUE),
            };
            if bytes <= rest {
                return Ok(());
            }
            (address, bytes) = (address + rest, bytes - rest);
        }
    }

    /// Keeps addresses that the worker has reserved. Whether the application had them free.
    pub(crate) fn reserve(&mut self, address: u64, bytes: u64) -> bool {
        let pages = Pages::touched(address, bytes);
        let is_reserved = pages.reserve();
        if is_reserved {
            self.reservations.insert(address, pages);
        }
        is_reserved
    }

    /// Whether an address is the device's, with memory behind it or only reserved.
    pub(crate) fn is_device(&self, address: u64) -> bool {
        let reserved = self.reservations.range(..=address).next_back();
        self.find(address).is_some() || reserved.is_some_and(|(_, pages)| pages.hold(address))
    }

    /// Ends [`DeviceRanges::reserve`].
    pub(crate) fn end_reservation(&mut self, address: u64) {
        if let Some(pages) = self.reservations.remove(&address) {
            pages.release();
        }
    }

    /// Remembers whether a device may access what is mapped in these bytes.
    pub(crate) fn set_access(&mut self, address: u64, bytes: u64, ordinal: u64, is_user: bool) {
        let end = address.saturating_add(bytes);
        for range in self.by_base.range_mut(address..end) {
            if let RangeKind::Virtual { users } = &mut range.1.kind {
                let bit = 1 << (ordinal % 64);
                *users = *users & !bit | if is_user { bit } else { 0 };
            }
        }
    }

    /// Adds a piece and reserves its addresses. Whether the application had them free.
    pub(crate) fn insert(&mut self, range: DeviceRange) -> bool {
        let own = range.pages();
        let missing = own.without(self.pages_below(range.base), self.pages_above(range.base));
        let is_reserved = missing.reserve();
        let range = DeviceRange {
            is_reserved,
            ..range
        };
        if let Some(former) = self.by_base.insert(range.base, range) {
            // A variable that is asked for again: its pages are reserved already.
            let is_reserved = former.is_reserved || is_reserved;
            let kind = match former.kind.is_managed() {
                true => former.kind,
                false => range.kind,
            };
            self.by_base.insert(
                range.base,
                DeviceRange {
                    is_reserved,
                    kind,
                    id: former.id,
                    ..range
                },
            );
            return is_reserved;
        }
        is_reserved
    }

    /// Lets the application use the addresses of a piece, if they are reserved.
    pub(crate) fn open(&mut self, base: u64) -> bool {
        let range = self.by_base.get(&base);
        range.is_some_and(|range| range.is_reserved && range.pages().open())
    }

    /// Removes the piece that begins at `base` and gives its addresses back.
    pub(crate) fn remove(&mut self, base: u64) -> Option<DeviceRange> {
        let range = self.by_base.remove(&base)?;
        if range.is_reserved {
            let (below, above) = (self.pages_below(base), self.pages_above(base));
            range.pages().without(below, above).release();
        }
        Some(range)
    }

    /// Removes all pieces that `belongs` tells.
    /// Their addresses.
    pub(crate) fn remove_all(&mut self, belongs: impl Fn(&DeviceRange) -> bool) -> Vec<u64> {
        let bases: Vec<u64> = self
            .by_base
            .values()
            .filter(|range| belongs(range))
            .map(|range| range.base)
            .collect();
        for base in &bases {
            self.remove(*base);
        }
        bases
    }

    fn pages_below(&self, base: u64) -> Option<Pages> {
        let (_, range) = self.by_base.range(..base).next_back()?;
        Some(range.pages())
    }

    fn pages_above(&self, base: u64) -> Option<Pages> {
        let (_, range) = self.by_base.range(base.checked_add(1)?..).next()?;
        Some(range.pages())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(base: u64, bytes: u64) -> DeviceRange {
        DeviceRange {
            base,
            bytes,
            context: 1,
            device: 0,
            id: base,
            kind: RangeKind::Memory,
            is_reserved: false,
        }
    }

    #[test]
    fn addresses_find_their_piece() {
        let base = 0x2345_0000_0000;
        let mut ranges = DeviceRanges::default();
        assert!(ranges.insert(range(base, 256)));
        assert!(ranges.insert(range(base + 256, 256)));
        assert_eq!(ranges.find(base + 255).map(|r| r.base), Some(base));
        assert_eq!(ranges.find(base + 511).map(|r| r.base), Some(base + 256));
        assert_eq!(
            (ranges.find(base - 1), ranges.find(base + 512)),
            (None, None)
        );
        assert_eq!(ranges.check(base + 8, 248), Ok(()));
        for (address, bytes) in [(base + 8, 249), (base - 1, 1), (base, u64::MAX)] {
            let error = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            assert_eq!(ranges.check(address, bytes), error);
        }
        assert_eq!(ranges.check(0, 0), Ok(()));
        assert!(ranges.remove(base + 8).is_none());
        assert!(ranges.remove(base).is_some());
        assert_eq!(ranges.find(base), None);
        ranges.remove_all(|range| range.context == 1);
        assert_eq!(ranges.find(base + 256), None);
    }

    #[test]
    fn mapped_pieces_side_by_side_are_one_range_where_they_may_be_accessed() {
        let (base, bytes) = (0x2456_0000_0000, 2 << 20);
        let mut ranges = DeviceRanges::default();
        assert!(ranges.reserve(base, 3 * bytes));
        assert!(ranges.is_device(base + 3 * bytes - 1) && !ranges.is_device(base + 3 * bytes));
        for address in [base, base + bytes] {
            ranges.insert(DeviceRange {
                kind: RangeKind::Virtual { users: 0 },
                ..range(address, bytes)
            });
        }
        let error = Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(ranges.check(base, 1), error);
        ranges.set_access(base, 2 * bytes, 0, true);
        ranges.set_access(base, bytes, 1, true);
        assert_eq!(ranges.check(base + 1, 2 * bytes - 1), Ok(()));
        assert_eq!(ranges.check(base + 1, 2 * bytes), error);
        ranges.set_access(base, 2 * bytes, 0, false);
        assert_eq!(ranges.check(base, bytes), Ok(()));
        assert_eq!(ranges.check(base, bytes + 1), error);
        let gone = ranges.remove_all(|range| range.is_in(base, bytes));
        assert_eq!(gone, [base]);
        assert_eq!(ranges.check(base, 1), error);
        // The application cannot have the addresses before the reservation ends.
        assert!(!ranges.reserve(base, bytes));
        ranges.end_reservation(base);
        assert!(!ranges.is_device(base) && ranges.reserve(base, bytes));
    }
}
