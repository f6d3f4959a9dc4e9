// SPDX-License-Identifier: Apache-2.0
//! Choosing entries: what a device runs, and what is worth sending to it.

use crate::entry::{ComputeCapability, Entry, EntryKind, Fatbin};
use crate::{FatbinError, Portability};

impl<'a> Fatbin<'a> {
    /// The PTX that fits the device best: the newest that runs on it.
    ///
    /// Architecture- and family-specific PTX is never taken: it may hold instructions of hardware
    /// units that a device which only executes PTX does not have.
    ///
    /// # Errors
    /// [`FatbinError::NoBinaryForGpu`] where there is none, for example in a cubin-only fatbin.
    pub fn select_ptx(&self, device: ComputeCapability) -> Result<&Entry<'a>, FatbinError> {
        self.entries()
            .iter()
            .filter(|entry| entry.kind() == EntryKind::Ptx)
            .filter(|entry| entry.portability() == Portability::Portable && entry.runs_on(device))
            .max_by_key(|entry| entry.compute_capability())
            .ok_or_else(|| self.no_binary(device))
    }

    /// The PTX that a device in software may run where [`Self::select_ptx`] finds none: the oldest
    /// for newer devices. A GPU would refuse it; what it means does not depend on the device.
    pub fn select_newer_ptx(&self) -> Option<&Entry<'a>> {
        self.entries()
            .iter()
            .filter(|entry| entry.kind() == EntryKind::Ptx)
            .filter(|entry| entry.portability() == Portability::Portable)
            .min_by_key(|entry| entry.compute_capability())
    }

    /// A fatbin that holds only what one of the devices may use: for each, the best ELF cubins and
    /// the best PTX. Entries are copied as they are stored.
    ///
    /// `None` where nothing can be left out: the original is then as good. Kinds that are neither
    /// PTX nor ELF are left out. The PTX is kept beside a cubin that runs, because
    /// `CUDA_FORCE_PTX_JIT` and the linker may ask for it; where no PTX runs, that of
    /// [`Self::select_newer_ptx`].
    #[must_use]
    pub fn reduced_for(&self, devices: &[ComputeCapability]) -> Option<Vec<u8>> {
        let mut wanted = vec![false; self.entries().len()];
        for &device in devices {
            self.mark_best(EntryKind::Elf, device, &mut wanted);
            self.mark_best(EntryKind::Ptx, device, &mut wanted);
            if self.select_ptx(device).is_err() {
                self.mark_newer_ptx(&mut wanted);
            }
        }
        let kept = |entries: &std::ops::Range<usize>| wanted[entries.clone()].iter().any(|&w| w);
        if self.stored().iter().all(|stored| kept(&stored.entries)) {
            return None;
        }
        let mut bytes = self.header().to_vec();
        let header_len = bytes.len();
        for stored in self.stored().iter().filter(|stored| kept(&stored.entries)) {
            bytes.extend_from_slice(stored.bytes);
        }
        let body_len = (bytes.len() - header_len) as u64;
        bytes[8..16].copy_from_slice(&body_len.to_le_bytes());
        Some(bytes)
    }

    fn mark_best(&self, kind: EntryKind, device: ComputeCapability, wanted: &mut [bool]) {
        let runs = |entry: &Entry<'_>| entry.kind() == kind && entry.runs_on(device);
        let best = self
            .entries()
            .iter()
            .filter(|e| runs(e))
            .map(Entry::compute_capability)
            .max();
        for (entry, wanted) in self.entries().iter().zip(wanted) {
            *wanted |= runs(entry) && Some(entry.compute_capability()) == best;
        }
    }

    fn mark_newer_ptx(&self, wanted: &mut [bool]) {
        let newer = self.select_newer_ptx().map(Entry::compute_capability);
        for (entry, wanted) in self.entries().iter().zip(wanted) {
            let is_portable = entry.portability() == Portability::Portable;
            *wanted |= entry.kind() == EntryKind::Ptx
                && is_portable
                && Some(entry.compute_capability()) == newer;
        }
    }

    fn no_binary(&self, device: ComputeCapability) -> FatbinError {
        const SHOWN_MAX: usize = 16;
        let mut held: Vec<String> = self
            .entries()
            .iter()
            .take(SHOWN_MAX)
            .map(ToString::to_string)
            .collect();
        if self.entries().len() > SHOWN_MAX {
            held.push("…".to_owned());
        }
        FatbinError::NoBinaryForGpu {
            major: device.major,
            minor: device.minor,
            held: if held.is_empty() {
                "nothing".to_owned()
            } else {
                held.join(", ")
            },
        }
    }
}
