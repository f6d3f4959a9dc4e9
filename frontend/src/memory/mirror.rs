// SPDX-License-Identifier: Apache-2.0
//! Memory that both the application and kernels use: managed memory and mapped host memory.
//!
//! Each side has its own copy, the application's at an address that it was given, the device's in
//! device memory. A *shadow* holds what both had when they were last made equal. What differs from
//! it on one side only is that side's change, so the two can be merged byte by byte, and memory
//! that both sides change in different places stays right.
//!
//! Changes of the application travel before work is queued that might read them, changes of the
//! device when the application may know that work is complete. Between these moments a side does
//! not see the other's changes.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes that are compared at a time.
const PAGE_BYTES: usize = 4096;
/// Bytes of a download at a time.
pub(crate) const PIECE_BYTES: usize = 16 << 20;

/// Who may use a piece of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Managed memory of all streams: the host uses it only while the device is idle.
    Global,
    /// Managed memory of the host: no kernel uses it.
    Host,
    /// Managed memory of one stream, by context and number.
    Stream(u16, u32),
    /// Mapped host memory: host and kernels use it at any time, but not the same bytes.
    Mapped,
}

/// A piece of memory that both sides use.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Where the application has it.
    pub(crate) host: u64,
    /// Where kernels have it; often the same number.
    pub(crate) device: u64,
    /// Number of the context of the device memory.
    pub(crate) context: u16,
    /// Who may use it.
    pub(crate) attachment: Attachment,
    shadow: Vec<u8>,
    /// The device has never had the application's bytes.
    is_fresh: bool,
    /// The device may have changed it since it was last downloaded.
    is_stale: bool,
}

/// All such memory of a session, by the application's address.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    by_host: BTreeMap<u64, Mirror>,
    /// Streams, by context and number, that have had work since they were last known to be idle,
    /// and when.
    busy: BTreeMap<(u16, u32), u64>,
    /// Counts work.
    clock: u64,
    /// The application may have changed memory since it was last compared.
    is_touched: bool,
}

/// Bytes to be sent: where they are, and where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// In the application's process.
    pub(crate) host: u64,
    /// In device memory.
    pub(crate) device: u64,
    /// How many.
    pub(crate) bytes: u64,
    /// Number of the context.
    pub(crate) context: u16,
}

impl Mirror {
    /// Both sides' memory is there; the application's bytes count.
    pub(crate) fn new(
        host: u64,
        device: u64,
        bytes: u64,
        context: u16,
        attachment: Attachment,
    ) -> Self {
        Self {
            host,
            device,
            context,
            attachment,
            shadow: vec![0; usize::try_from(bytes).unwrap_or(0)],
            is_fresh: true,
            is_stale: false,
        }
    }

    /// The device's bytes count: they are to be downloaded.
    pub(crate) const fn of_device(mut self) -> Self {
        self.is_fresh = false;
        self.is_stale = true;
        self
    }

    /// Sets the application's bytes to zero.
    ///
    /// # Safety
    ///
    /// The application's memory is mapped, and not used yet.
    pub(crate) unsafe fn clear(&mut self) {
        // SAFETY: the caller's promise.
        unsafe { (self.host as *mut u8).write_bytes(0, self.shadow.len()) };
    }

    /// Bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.shadow.len() as u64
    }

    fn is_used_by(&self, stream: (u16, u32)) -> bool {
        match self.attachment {
            Attachment::Global | Attachment::Mapped => true,
            Attachment::Host => false,
            Attachment::Stream(context, number) => (context, number) == stream,
        }
    }

    /// What the application has changed, as pieces to be sent; notes it as sent.
    ///
    /// # Safety
    ///
    /// The application's memory is mapped.
    unsafe fn changes(&mut self, uploads: &mut Vec<Upload>) {
        // SAFETY: the caller's promise; the application does not change what it hands over.
        let host = unsafe { std::slice::from_raw_parts(self.host as *const u8, self.shadow.len()) };
        let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
        let mut add = |run: std::ops::Range<usize>| match runs.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => runs.push(run),
        };
        let pages = host.chunks(PAGE_BYTES).zip(self.shadow.chunks(PAGE_BYTES));
        for (index, (now, before)) in pages.enumerate() {
            let start = index * PAGE_BYTES;
            if self.is_fresh {
                add(start..start + now.len());
            } else if now != before {
                if self.is_stale {
                    // The bytes between belong to the device.
                    for (at, (a, b)) in now.iter().zip(before).enumerate() {
                        if a != b {
                            add(start + at..start + at + 1);
                        }
                    }
                } else {
                    add(start..start + now.len());
                }
            }
        }
        self.is_fresh = false;
        for run in runs {
            self.shadow[run.clone()].copy_from_slice(&host[run.clone()]);
            uploads.push(Upload {
                host: self.host + run.start as u64,
                device: self.device + run.start as u64,
                bytes: run.len() as u64,
                context: self.context,
            });
        }
    }

    /// Merges what the device has from byte `at` on.
    ///
    /// # Safety
    ///
    /// The application's memory is mapped.
    pub(crate) unsafe fn merge(&mut self, at: usize, device: &[u8]) {
        let end = self.shadow.len().min(at + device.len());
        let shadow = &mut self.shadow[at..end];
        // SAFETY: the caller's promise.
        let host =
            unsafe { std::slice::from_raw_parts_mut((self.host as *mut u8).add(at), shadow.len()) };
        let pages = (host.chunks_mut(PAGE_BYTES))
            .zip(shadow.chunks_mut(PAGE_BYTES))
            .zip(device.chunks(PAGE_BYTES));
        for ((host, shadow), device) in pages {
            if device == shadow {
                continue;
            }
            if self.attachment != Attachment::Mapped && host == shadow {
                host.copy_from_slice(device);
            } else {
                for ((host, shadow), device) in host.iter_mut().zip(shadow.iter()).zip(device) {
                    if device != shadow && host == shadow {
                        *host = *device;
                    }
                }
            }
            shadow.copy_from_slice(device);
        }
    }
}

impl Mirrors {
    /// Adds one.
    pub(crate) fn insert(&mut self, mirror: Mirror) {
        self.is_touched = true;
        self.by_host.insert(mirror.host, mirror);
    }

    /// Removes the one that begins at the application's address.
    pub(crate) fn remove(&mut self, host: u64) -> Option<Mirror> {
        self.by_host.remove(&host)
    }

    /// Removes those of a context.
    pub(crate) fn remove_context(&mut self, context: u16) {
        self.by_host.retain(|_, mirror| mirror.context != context);
        self.busy.retain(|(of, _), _| *of != context);
    }

    /// The one around an address of the application's.
    pub(crate) fn find(&self, host: u64) -> Option<&Mirror> {
        let (_, mirror) = self.by_host.range(..=host).next_back()?;
        (host - mirror.host < mirror.bytes()).then_some(mirror)
    }

    /// As [`Mirrors::find`], to be changed.
    pub(crate) fn find_mut(&mut self, host: u64) -> Option<&mut Mirror> {
        let (_, mirror) = self.by_host.range_mut(..=host).next_back()?;
        (host - mirror.host < mirror.bytes()).then_some(mirror)
    }

    /// Work is about to be queued on a stream: what is to be sent before it.
    ///
    /// # Safety
    ///
    /// The application's memory is mapped.
    pub(crate) unsafe fn before_work(&mut self, stream: (u16, u32)) -> Vec<Upload> {
        let mut uploads = Vec::new();
        for mirror in self.by_host.values_mut().filter(|m| m.is_used_by(stream)) {
            if self.is_touched || mirror.is_fresh || mirror.attachment == Attachment::Mapped {
                // SAFETY: the caller's promise.
                unsafe { mirror.changes(&mut uploads) };
            }
            mirror.is_stale = true;
        }
        let is_elsewhere = |m: &Mirror| !m.is_used_by(stream);
        // What no such work uses is still to be compared.
        self.is_touched &= self.by_host.values().any(is_elsewhere);
        self.clock += 1;
        self.busy.insert(stream, self.clock);
        uploads
    }

    /// A call names memory that the device uses for it, whoever may use it else: what is to be sent
    /// before. Nothing if there is no such memory around the address.
    ///
    /// # Safety
    ///
    /// The application's memory is mapped.
    pub(crate) unsafe fn before_use(
        &mut self,
        stream: (u16, u32),
        address: u64,
    ) -> Option<Vec<Upload>> {
        let mirror = self.find_mut(address)?;
        let mut uploads = Vec::new();
        // SAFETY: the caller's promise.
        unsafe { mirror.changes(&mut uploads) };
        mirror.is_stale = true;
        self.clock += 1;
        self.busy.insert(stream, self.clock);
        Some(uploads)
    }

    /// What the application has changed at a time when it may use all memory.
    ///
    /// # Safety
    ///
    /// The application's memory is mapped.
    pub(crate) unsafe fn host_changes(&mut self) -> Vec<Upload> {
        let mut uploads = Vec::new();
        for mirror in self.by_host.values_mut().filter(|mirror| !mirror.is_fresh) {
            // SAFETY: the caller's promise.
            unsafe { mirror.changes(&mut uploads) };
        }
        uploads
    }

    /// The moment from which on work is not covered by a wait that begins now.
    pub(crate) const fn now(&self) -> u64 {
        self.clock
    }

    /// A wait that began at `since` has ended: for a stream, or for a whole context, or, without
    /// either, for something.
    pub(crate) fn waited(&mut self, since: u64, context: Option<u16>, stream: Option<u32>) {
        self.busy.retain(|(of, number), work| {
            let is_covered = context == Some(*of) && stream.is_none_or(|s| s == *number);
            !is_covered || *work > since
        });
        self.is_touched = true;
    }

    /// Application's addresses of those whose bytes the device may have changed. They count as
    /// equal from then on if all streams are idle.
    pub(crate) fn stale(&mut self) -> Vec<u64> {
        let is_idle = self.busy.is_empty();
        let mut found = Vec::new();
        for mirror in self.by_host.values_mut().filter(|m| m.is_stale) {
            found.push(mirror.host);
            mirror.is_stale = !is_idle;
        }
        found
    }

    /// Contexts that have such memory.
    pub(crate) fn contexts(&self) -> BTreeSet<u16> {
        self.by_host.values().map(|mirror| mirror.context).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: (u16, u32) = (1, 0);

    fn mirrors(host: &[u8], attachment: Attachment) -> Mirrors {
        let mut mirrors = Mirrors::default();
        let address = host.as_ptr().expose_provenance() as u64;
        let bytes = host.len() as u64;
        mirrors.insert(Mirror::new(address, 0x1000, bytes, 1, attachment));
        mirrors
    }

    fn before(mirrors: &mut Mirrors) -> Vec<(u64, u64)> {
        // SAFETY: the tests' arrays outlive their mirrors.
        let uploads = unsafe { mirrors.before_work(STREAM) };
        uploads
            .iter()
            .map(|u| (u.device - 0x1000, u.bytes))
            .collect()
    }

    #[test]
    fn only_what_changed_travels() {
        let mut host = vec![0_u8; 3 * PAGE_BYTES];
        let mut mirrors = mirrors(&host, Attachment::Global);
        let page = PAGE_BYTES as u64;
        assert_eq!(before(&mut mirrors), [(0, 3 * page)]);
        assert_eq!(before(&mut mirrors), []);
        host[5000] = 1;
        // The application must not change it before it has waited.
        assert_eq!(before(&mut mirrors), []);
        let since = mirrors.now();
        mirrors.waited(since, Some(1), None);
        assert_eq!(mirrors.stale().len(), 1);
        assert_eq!(before(&mut mirrors), [(page, page)]);
        // Another stream may still be at work: the bytes around it may be the device's.
        mirrors.waited(mirrors.now(), Some(1), Some(9));
        assert_eq!(mirrors.stale().len(), 1);
        host[7] = 2;
        host[9] = 2;
        assert_eq!(before(&mut mirrors), [(7, 1), (9, 1)]);
    }

    #[test]
    fn both_sides_may_change_different_bytes() {
        let mut host = vec![0_u8; 8];
        let mut mirrors = mirrors(&host, Attachment::Mapped);
        assert_eq!(before(&mut mirrors), [(0, 8)]);
        host[3] = 7;
        let address = host.as_ptr().expose_provenance() as u64;
        let mirror = mirrors.find_mut(address).expect("added");
        // SAFETY: the array outlives its mirror.
        unsafe { mirror.merge(0, &[1, 0, 0, 0, 0, 0, 0, 2]) };
        assert_eq!(host, [1, 0, 0, 7, 0, 0, 0, 2]);
        assert_eq!(before(&mut mirrors), [(3, 1)]);
    }

    #[test]
    fn memory_of_the_host_or_of_another_stream_stays_where_it_is() {
        let host = vec![0_u8; 8];
        let mut mirrors = mirrors(&host, Attachment::Stream(1, 5));
        assert_eq!(before(&mut mirrors), []);
        let address = host.as_ptr().expose_provenance() as u64;
        mirrors.find_mut(address).expect("added").attachment = Attachment::Host;
        assert_eq!(before(&mut mirrors), []);
        mirrors.find_mut(address).expect("added").attachment = Attachment::Global;
        assert_eq!(before(&mut mirrors), [(0, 8)]);
        assert_eq!(mirrors.contexts().len(), 1);
    }

    #[test]
    fn a_call_may_name_memory_of_the_host() {
        let mut host = vec![0_u8; 8];
        let mut mirrors = mirrors(&host, Attachment::Host);
        let address = host.as_ptr().expose_provenance() as u64;
        // SAFETY: the array outlives its mirror.
        let name = |mirrors: &mut Mirrors, address| unsafe { mirrors.before_use(STREAM, address) };
        assert_eq!(name(&mut mirrors, address + 8), None);
        assert!(mirrors.stale().is_empty());
        let bytes = |uploads: Option<Vec<Upload>>| {
            let uploads = uploads.expect("it is known");
            uploads.iter().map(|u| u.bytes).collect::<Vec<_>>()
        };
        assert_eq!(bytes(name(&mut mirrors, address + 3)), [8]);
        assert_eq!(mirrors.stale(), [address]);
        host[2] = 1;
        // Only what the host has changed, as the device may have changed the rest.
        assert_eq!(bytes(name(&mut mirrors, address)), [1]);
        let since = mirrors.now();
        mirrors.waited(since, Some(1), Some(0));
        assert_eq!(mirrors.stale(), [address]);
        assert!(mirrors.stale().is_empty());
        assert_eq!(before(&mut mirrors), []);
    }

    #[test]
    fn what_is_removed_is_not_found() {
        let host = vec![0_u8; 8];
        let mut mirrors = mirrors(&host, Attachment::Global);
        let address = host.as_ptr().expose_provenance() as u64;
        assert!(mirrors.remove(address).is_some() && mirrors.find(address).is_none());
    }
}
