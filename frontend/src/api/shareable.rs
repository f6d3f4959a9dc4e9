// SPDX-License-Identifier: Apache-2.0
//! Memory and pools as file descriptors. A descriptor of the backend's cannot travel, so the
//! application gets one of a file here that holds the worker's token for it; it can be handed to
//! other processes like any descriptor, and the worker of whoever imports it asks the exporter's
//! worker for the real one.

use std::ffi::c_void;
use std::os::fd::{FromRawFd as _, IntoRawFd as _, OwnedFd};

use gvirtus_abi::{
    CUdeviceptr, CUmemAllocationHandleType, CUmemGenericAllocationHandle, CUmemPoolPtrExportData,
    CUmemoryPool, CUresult,
};
use gvirtus_protocol::opcode;

use super::ipc::{Opaque, opaque, opaque_bytes};
use super::pool::Pool;
use super::{INVALID_VALUE, Status, put, required};
use crate::handle::Kind;
use crate::memory::RangeKind;
use crate::process::session;

/// What a file begins with.
const MAGIC: [u8; 16] = *b"GVirtuS handle 1";
const FILE_BYTES: usize = MAGIC.len() + 64;
const FILE_DESCRIPTOR: CUmemAllocationHandleType =
    CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

/// A descriptor of a file that holds a token.
fn descriptor(token: [u8; 64]) -> Result<OwnedFd, CUresult> {
    let out_of_memory = CUresult::CUDA_ERROR_OUT_OF_MEMORY;
    let mut bytes = [0; FILE_BYTES];
    bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
    bytes[MAGIC.len()..].copy_from_slice(&token);
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string.
    let file = unsafe { libc::memfd_create(c"gvirtus-handle".as_ptr(), flags) };
    if file < 0 {
        return Err(out_of_memory);
    }
    // SAFETY: just made here.
    let owned = unsafe { OwnedFd::from_raw_fd(file) };
    // SAFETY: so many bytes of a local.
    let written = unsafe { libc::pwrite(file, bytes.as_ptr().cast(), FILE_BYTES, 0) };
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: no pointers.
    let sealed = unsafe { libc::fcntl(file, libc::F_ADD_SEALS, seals) };
    match usize::try_from(written) {
        Ok(FILE_BYTES) if sealed == 0 => Ok(owned),
        _ => Err(out_of_memory),
    }
}

/// The token behind an application's descriptor.
fn token(handle: *mut c_void) -> Result<Opaque, CUresult> {
    let number = i32::try_from(handle.addr()).map_err(|_| INVALID_VALUE)?;
    let mut bytes = [0; FILE_BYTES];
    // A pipe or socket is not read by this.
    // SAFETY: so many bytes of a local; a descriptor of nothing is refused by the system.
    let read = unsafe { libc::pread(number, bytes.as_mut_ptr().cast(), FILE_BYTES, 0) };
    let (magic, token) = bytes.split_at(MAGIC.len());
    match usize::try_from(read) {
        Ok(FILE_BYTES) if magic == MAGIC => {
            let token = token.try_into().map_err(|_| INVALID_VALUE)?;
            Ok(opaque(token))
        }
        _ => Err(INVALID_VALUE),
    }
}

/// # Safety
///
/// `place` is null or valid for writing a descriptor.
unsafe fn put_descriptor(place: *mut c_void, descriptor: OwnedFd) -> Status {
    // SAFETY: the caller's promise.
    unsafe { put(place.cast::<i32>(), descriptor.into_raw_fd()) }
}

/// `cuMemExportToShareableHandle`.
pub unsafe fn cuMemExportToShareableHandle(
    shareableHandle: *mut c_void,
    handle: CUmemGenericAllocationHandle,
    handleType: CUmemAllocationHandleType,
    flags: u64,
) -> Status {
    let session = session()?;
    let place = required(shareableHandle)?;
    if handleType != FILE_DESCRIPTOR {
        return Err(INVALID_VALUE);
    }
    let opcode = opcode::cuMemExportToShareableHandle;
    let words = [handle, handleType.0.into(), flags];
    let reply = session.call_words(opcode, session.current_number(), &words)?;
    // SAFETY: the caller's promise.
    unsafe { put_descriptor(place, descriptor(opaque_bytes(&reply)?)?) }
}

/// `cuMemImportFromShareableHandle`: the descriptor stays the caller's.
pub unsafe fn cuMemImportFromShareableHandle(
    handle: *mut CUmemGenericAllocationHandle,
    osHandle: *mut c_void,
    shHandleType: CUmemAllocationHandleType,
) -> Status {
    let session = session()?;
    let place = required(handle)?;
    if shHandleType != FILE_DESCRIPTOR {
        return Err(INVALID_VALUE);
    }
    let mut words = vec![shHandleType.0.into()];
    words.extend(token(osHandle)?);
    let opcode = opcode::cuMemImportFromShareableHandle;
    let reply = session.call_words(opcode, session.current_number(), &words)?;
    // SAFETY: the caller's promise.
    unsafe { put(place, reply.promised_word(0)?) }
}

/// `cuMemPoolExportToShareableHandle`.
pub unsafe fn cuMemPoolExportToShareableHandle(
    handle_out: *mut c_void,
    pool: CUmemoryPool,
    handleType: CUmemAllocationHandleType,
    flags: u64,
) -> Status {
    let session = session()?;
    let (key, _) = session.pool(pool)?;
    let place = required(handle_out)?;
    if handleType != FILE_DESCRIPTOR {
        return Err(INVALID_VALUE);
    }
    let opcode = opcode::cuMemPoolExportToShareableHandle;
    let words = [key.number().into(), handleType.0.into(), flags];
    let reply = session.call_words(opcode, session.current_number(), &words)?;
    // SAFETY: the caller's promise.
    unsafe { put_descriptor(place, descriptor(opaque_bytes(&reply)?)?) }
}

/// `cuMemPoolImportFromShareableHandle`: the descriptor stays the caller's.
pub unsafe fn cuMemPoolImportFromShareableHandle(
    pool_out: *mut CUmemoryPool,
    handle: *mut c_void,
    handleType: CUmemAllocationHandleType,
    flags: u64,
) -> Status {
    let session = session()?;
    let place = required(pool_out)?;
    if handleType != FILE_DESCRIPTOR {
        return Err(INVALID_VALUE);
    }
    let token = token(handle)?;
    let key = session.pools.insert(Pool { device: 0 });
    let key = key.ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let mut words = vec![key.number().into(), handleType.0.into(), flags];
    words.extend(token);
    let opcode = opcode::cuMemPoolImportFromShareableHandle;
    let reply = session.call_words(opcode, session.current_number(), &words);
    let device = reply.and_then(|reply| reply.promised_word(0));
    let device = match device {
        Ok(device) => u32::try_from(device).unwrap_or(0),
        Err(status) => {
            session.pools.retire(key);
            session.pools.release(key);
            return Err(status);
        }
    };
    session.pools.set(key, Pool { device });
    // SAFETY: the caller's promise.
    unsafe { put(place, CUmemoryPool(key.handle(Kind::Pool))) }
}

/// `cuMemPoolExportPointer`.
pub unsafe fn cuMemPoolExportPointer(
    shareData_out: *mut CUmemPoolPtrExportData,
    ptr: CUdeviceptr,
) -> Status {
    let session = session()?;
    let place = required(shareData_out)?;
    let range = session.device_ranges.read().starting_at(ptr.0).copied();
    let range = range.filter(|range| matches!(range.kind, RangeKind::Pooled(_)));
    let context = range.ok_or(INVALID_VALUE)?.context;
    let reply = session.call_words(opcode::cuMemPoolExportPointer, context, &[ptr.0])?;
    let reserved = opaque_bytes(&reply)?;
    // SAFETY: the caller's promise.
    unsafe { put(place, CUmemPoolPtrExportData { reserved }) }
}

/// `cuMemPoolImportPointer`.
pub unsafe fn cuMemPoolImportPointer(
    ptr_out: *mut CUdeviceptr,
    pool: CUmemoryPool,
    shareData: *mut CUmemPoolPtrExportData,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    let (key, _) = session.pool(pool)?;
    let place = required(ptr_out)?;
    // SAFETY: not null, and then a structure by the caller's promise.
    let data = unsafe { required(shareData)?.read_unaligned() };
    let mut words = vec![key.number().into()];
    words.extend(opaque(data.reserved));
    let opcode = opcode::cuMemPoolImportPointer;
    let reply = session.call_words(opcode, context.number, &words)?;
    let kind = RangeKind::Pooled(Some(key.number()));
    let address = session.add_import(&reply, context.number, |_| kind)?;
    // SAFETY: the caller's promise.
    unsafe { put(place, address) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    fn as_handle(number: i32) -> *mut c_void {
        std::ptr::without_provenance_mut(usize::try_from(number).unwrap_or(usize::MAX))
    }

    #[test]
    fn tokens_come_back_from_descriptors() {
        let bytes: [u8; 64] = std::array::from_fn(|index| index as u8);
        let file = descriptor(bytes).expect("memfd");
        let copy = file.try_clone().expect("another descriptor");
        assert_eq!(token(as_handle(copy.as_raw_fd())), Ok(opaque(bytes)));
    }

    #[test]
    fn other_descriptors_are_refused() {
        let file = std::fs::File::open("/dev/zero").expect("there");
        for number in [file.as_raw_fd(), i32::MAX, -1] {
            assert_eq!(token(as_handle(number)), Err(INVALID_VALUE));
        }
    }
}
