// SPDX-License-Identifier: Apache-2.0
//! Device memory that other processes of the same user may use too.
//!
//! Memory is the process's own until somebody wants to share it: then the pages that hold the
//! allocation are moved to a file, at the offset that they have in the device's range, and mapped
//! from there. They are the process's own again when nothing in them is allocated any more. What
//! follows the memory in the file are records of what was exported:
//!
//! | bytes | meaning |
//! |---|---|
//! | 0–7 | offset of the allocation; of one that has been freed the record is all zeros |
//! | 8–15 | its bytes |
//! | 16–31 | the secret of its tokens |

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::FallocateFlags;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::token::{Purpose, Secret, SharedFile, Token, new_secret};
use super::{
    Allocator, CHUNK_BYTES, GRANULE, Memory, MemoryError, PAGE_BYTES, Rights, WRITABLE, at,
    to_usize,
};

/// Allocations that a process can export at the same time.
const RECORDS_MAX: u32 = 1 << 16;
const RECORD_BYTES: u64 = 32;
const RECORDS_BYTES: u64 = RECORDS_MAX as u64 * RECORD_BYTES;

/// What a device has exported.
pub(super) struct Exports {
    file: Arc<SharedFile>,
    /// Per page: lies in the file.
    moved: Vec<bool>,
    /// Number of the record of each exported allocation.
    records: BTreeMap<u64, (u32, Secret)>,
    free_records: Vec<u32>,
    used_records: u32,
}

/// A record as it is in the file.
struct Record {
    offset: u64,
    bytes: u64,
    secret: Secret,
}

impl Record {
    fn write(&self, file: &SharedFile, index: u32) -> Result<(), MemoryError> {
        let mut bytes = [0; RECORD_BYTES as usize];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&self.secret);
        let place = Self::place(file, index).ok_or(MemoryError::InvalidValue)?;
        match rustix::io::pwrite(file.file(), &bytes, place) {
            Ok(written) if written == bytes.len() => Ok(()),
            _ => Err(MemoryError::OutOfMemory),
        }
    }

    fn read(file: &SharedFile, index: u32) -> Option<Self> {
        let mut bytes = [0; RECORD_BYTES as usize];
        let place = Self::place(file, index)?;
        let read = rustix::io::pread(file.file(), &mut bytes, place).ok()?;
        (read == bytes.len()).then_some(Self {
            offset: u64::from_le_bytes(*bytes.first_chunk()?),
            bytes: u64::from_le_bytes(*bytes[8..].first_chunk()?),
            secret: *bytes[16..].first_chunk()?,
        })
    }

    fn place(file: &SharedFile, index: u32) -> Option<u64> {
        let span = file.bytes.checked_sub(RECORDS_BYTES)?;
        (index < RECORDS_MAX).then_some(span + u64::from(index) * RECORD_BYTES)
    }
}

impl Exports {
    fn new(span: u64, number: i32) -> Result<Self, MemoryError> {
        let file = SharedFile::create(Purpose::Memory, number, span + RECORDS_BYTES);
        Ok(Self {
            file: Arc::new(file.map_err(|_| MemoryError::OutOfMemory)?),
            moved: vec![false; to_usize(span / PAGE_BYTES)],
            records: BTreeMap::new(),
            free_records: Vec::new(),
            used_records: 0,
        })
    }

    fn record(&mut self, offset: u64, bytes: u64) -> Result<(u32, Secret), MemoryError> {
        if let Some(known) = self.records.get(&offset) {
            return Ok(*known);
        }
        let secret = new_secret().map_err(|_| MemoryError::OutOfMemory)?;
        let index = match self.free_records.pop() {
            Some(index) => index,
            None if self.used_records < RECORDS_MAX => {
                self.used_records += 1;
                self.used_records - 1
            }
            None => return Err(MemoryError::OutOfMemory),
        };
        let record = Record {
            offset,
            bytes,
            secret,
        };
        record.write(&self.file, index)?;
        self.records.insert(offset, (index, secret));
        Ok((index, secret))
    }

    /// No token of this allocation is good any more.
    pub(super) fn forget(&mut self, offset: u64) {
        let Some((index, _)) = self.records.remove(&offset) else {
            return;
        };
        let gone = Record {
            offset: 0,
            bytes: 0,
            secret: [0; 16],
        };
        // A record that cannot be overwritten is not used again.
        if gone.write(&self.file, index).is_ok() {
            self.free_records.push(index);
        }
    }
}

/// Another process's memory, mapped here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Where it is.
    pub address: u64,
    /// As the exporter asked for.
    pub bytes: u64,
}

impl Memory {
    /// Lets processes that are given the token use `bytes` allocated bytes. Nothing writes to the
    /// memory of the device meanwhile but through this value's methods.
    ///
    /// # Errors
    ///
    /// `OutOfMemory` if the system refuses, `InvalidValue` for what is not in the memory.
    pub fn export(&self, address: u64, bytes: u64, number: i32) -> Result<Token, MemoryError> {
        let _moving = self.moving.write();
        let mut allocator = self.allocator.lock();
        if !self.is_accessible(address, bytes) || !self.contains(address) {
            return Err(MemoryError::InvalidValue);
        }
        let exports = self.exports_locked(&mut allocator, number)?;
        self.move_locked(exports, address, bytes)?;
        let (index, secret) = exports.record(address - self.base, bytes)?;
        Ok(exports.file.token(Purpose::Memory, index, secret))
    }

    /// Moves memory that nobody uses yet to the file that other processes may map, which is
    /// returned.
    ///
    /// # Errors
    ///
    /// As [`Memory::export`].
    pub fn prepare_export(
        &self,
        base: u64,
        bytes: u64,
        number: i32,
    ) -> Result<Arc<SharedFile>, MemoryError> {
        let _moving = self.moving.write();
        let mut allocator = self.allocator.lock();
        let exports = self.exports_locked(&mut allocator, number)?;
        if bytes > 0 {
            self.move_locked(exports, base, bytes)?;
        }
        Ok(Arc::clone(&exports.file))
    }

    fn exports_locked<'a>(
        &self,
        allocator: &'a mut Allocator,
        number: i32,
    ) -> Result<&'a mut Exports, MemoryError> {
        if allocator.exports.is_none() {
            allocator.exports = Some(Exports::new(self.span, number)?);
        }
        allocator.exports.as_mut().ok_or(MemoryError::OutOfMemory)
    }

    fn move_locked(
        &self,
        exports: &mut Exports,
        address: u64,
        bytes: u64,
    ) -> Result<(), MemoryError> {
        let offset = address - self.base;
        let pages = offset / PAGE_BYTES..(offset + bytes).div_ceil(PAGE_BYTES);
        for run in runs(pages, |page| !exports.moved[to_usize(page)]) {
            self.move_pages(&exports.file, run.clone())?;
            exports.moved[to_usize(run.start)..to_usize(run.end)].fill(true);
        }
        Ok(())
    }

    fn move_pages(&self, file: &SharedFile, pages: Range<u64>) -> Result<(), MemoryError> {
        let (offset, end) = (pages.start * PAGE_BYTES, pages.end * PAGE_BYTES);
        let length = to_usize(end - offset);
        // SAFETY: the pages hold allocations, so they are mapped and readable; the caller sees to
        // it that nothing writes to them.
        let bytes =
            unsafe { std::slice::from_raw_parts(at(self.base + offset).cast::<u8>(), length) };
        let mut written = 0;
        while written < length {
            let rest = &bytes[written..];
            match rustix::io::pwrite(file.file(), rest, offset + written as u64) {
                Ok(0) => return Err(MemoryError::OutOfMemory),
                Ok(count) => written += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err(MemoryError::OutOfMemory),
            }
        }
        // SAFETY: pages of this value's own reservation; the file shows the same bytes.
        unsafe { map_file(file, offset, self.base + offset, end - offset) }
    }

    /// Memory was freed: pages of which nothing is allocated are the process's own again.
    pub(super) fn end_exports(&self, allocator: &mut Allocator, address: u64, bytes: u64) {
        let Some(exports) = &mut allocator.exports else {
            return;
        };
        let offset = address - self.base;
        exports.forget(offset);
        let pages = offset / PAGE_BYTES..(offset + bytes).div_ceil(PAGE_BYTES);
        let is_left = |page: u64| {
            let granules = page * PAGE_BYTES / GRANULE..(page + 1) * PAGE_BYTES / GRANULE;
            let granules = &self.granules()[to_usize(granules.start)..to_usize(granules.end)];
            let is_free = |granule: &AtomicU8| granule.load(Ordering::Relaxed) == 0;
            exports.moved[to_usize(page)] && granules.iter().all(is_free)
        };
        for run in runs(pages, is_left) {
            let (start, length) = (run.start * PAGE_BYTES, (run.end - run.start) * PAGE_BYTES);
            // SAFETY: pages of this value's own reservation of which nothing is allocated.
            if unsafe { map_own(self.base + start, length) }.is_ok() {
                exports.moved[to_usize(run.start)..to_usize(run.end)].fill(false);
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let _ = rustix::fs::fallocate(exports.file.file(), flags, start, length);
            }
        }
    }

    /// Part of an allocation was freed that was exported by itself.
    pub(super) fn end_export_of_part(&self, allocator: &mut Allocator, address: u64) {
        if let Some(exports) = &mut allocator.exports {
            exports.forget(address - self.base);
        }
    }

    /// No token of this allocation is good any more.
    pub fn end_export(&self, address: u64) {
        self.end_export_of_part(&mut self.allocator.lock(), address);
    }

    /// Maps what another process has exported; kernels of this device may use it.
    ///
    /// # Errors
    ///
    /// `InvalidValue` if the token is not good (any more), `OutOfMemory` if the system refuses.
    pub fn import(&self, file: &SharedFile, token: &Token) -> Result<Imported, MemoryError> {
        let invalid = MemoryError::InvalidValue;
        let record = Record::read(file, token.index).ok_or(invalid)?;
        let end = record.offset.checked_add(record.bytes).ok_or(invalid)?;
        let is_good = record.bytes > 0
            && record.secret == token.secret
            && file.is_of(token)
            && record.offset.is_multiple_of(GRANULE)
            && end <= file.bytes - RECORDS_BYTES;
        if !is_good {
            return Err(invalid);
        }
        let first = record.offset / CHUNK_BYTES * CHUNK_BYTES;
        let length = end.next_multiple_of(CHUNK_BYTES) - first;
        let mut allocator = self.allocator.lock();
        let base = allocator.take(length, length, CHUNK_BYTES)?;
        let (from, to) = (
            record.offset / PAGE_BYTES * PAGE_BYTES,
            end.next_multiple_of(PAGE_BYTES),
        );
        // SAFETY: chunks of this value's own reservation that were free.
        let mapped = unsafe {
            let rights = MprotectFlags::READ | MprotectFlags::WRITE;
            rustix::mm::mprotect(at(base), to_usize(length), rights)
                .map_err(|_| MemoryError::OutOfMemory)
                .and_then(|()| map_file(file, from, base + (from - first), to - from))
        };
        if let Err(error) = mapped {
            allocator.release(base);
            return Err(error);
        }
        let chunks = to_usize((base - self.base) / CHUNK_BYTES);
        allocator.committed[chunks..chunks + to_usize(length / CHUNK_BYTES)].fill(true);
        let address = base + (record.offset - first);
        let granular = record.bytes.next_multiple_of(GRANULE);
        allocator.parts.insert(address, granular);
        self.set_granules(address, granular, WRITABLE);
        Ok(Imported {
            address,
            bytes: record.bytes,
        })
    }

    /// Ends [`Memory::import`].
    pub fn end_import(&self, imported: Imported) {
        let granular = imported.bytes.next_multiple_of(GRANULE);
        self.set_rights(imported.address, granular, Rights::None);
        let base = imported.address / CHUNK_BYTES * CHUNK_BYTES;
        let end = (imported.address + imported.bytes).next_multiple_of(CHUNK_BYTES);
        // A stale access reads zeros, as after any other release.
        // SAFETY: chunks that `import` took for itself.
        if unsafe { map_own(base, end - base) }.is_ok() {
            self.allocator.lock().release(base);
        }
    }
}

/// The longest runs of numbers that are `wanted`.
fn runs(all: Range<u64>, wanted: impl Fn(u64) -> bool) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in all.filter(|number| wanted(*number)) {
        match runs.last_mut() {
            Some(run) if run.end == number => run.end += 1,
            _ => runs.push(number..number + 1),
        }
    }
    runs
}

/// # Safety
///
/// The caller may replace whatever is mapped there.
unsafe fn map_file(
    file: &SharedFile,
    offset: u64,
    address: u64,
    bytes: u64,
) -> Result<(), MemoryError> {
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | MapFlags::FIXED;
    // SAFETY: the caller's promise.
    unsafe {
        rustix::mm::mmap(
            at(address),
            to_usize(bytes),
            rights,
            flags,
            file.file(),
            offset,
        )
    }
    .map(drop)
    .map_err(|_| MemoryError::OutOfMemory)
}

/// # Safety
///
/// As [`map_file`].
unsafe fn map_own(address: u64, bytes: u64) -> Result<(), MemoryError> {
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
    // SAFETY: the caller's promise.
    unsafe { rustix::mm::mmap_anonymous(at(address), to_usize(bytes), rights, flags) }
        .map(drop)
        .map_err(|_| MemoryError::OutOfMemory)
}
