// SPDX-License-Identifier: Apache-2.0
//! Memory, pools and events that several sessions have in common. Handles of `cuIpc*` are the
//! driver's own, which opens them itself; descriptors go from worker to worker.

use std::ffi::c_void;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use gvirtus_abi::{
    CUdeviceptr, CUevent, CUipcEventHandle, CUipcMem_flags, CUipcMemHandle,
    CUmemAllocationHandleType, CUmemPool_attribute, CUmemPoolPtrExportData, CUmemoryPool,
    CUpointer_attribute, CUresult, bytes_of, characters_of,
};
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::little_endian::U64 as Word;

use super::descriptors::{Purpose, TOKEN_BYTES, Token, fetch};
use super::handles::Owned;
use super::memory::{INVALID_VALUE, Input, Words, narrow};
use super::session::Session;
use crate::driver::check;

const FILE_DESCRIPTOR: CUmemAllocationHandleType =
    CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;

/// The bytes of words.
fn bytes(words: &[u64]) -> [u8; TOKEN_BYTES] {
    let mut bytes = [0; TOKEN_BYTES];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn words(bytes: [u8; TOKEN_BYTES]) -> Vec<Word> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|word| Word::from_bytes(*word)).collect()
}

fn file_descriptor(word: u64) -> Result<CUmemAllocationHandleType, CUresult> {
    match CUmemAllocationHandleType(narrow(word)?) {
        FILE_DESCRIPTOR => Ok(FILE_DESCRIPTOR),
        _ => Err(INVALID_VALUE),
    }
}

impl Session {
    pub(super) fn sharing(&mut self, opcode: Opcode, input: Input<'_>) -> Words {
        match opcode {
            opcode::cuIpcGetMemHandle => {
                let [address] = input.exactly()?;
                let mut handle = CUipcMemHandle { reserved: [0; 64] };
                // SAFETY: the output is a local; the driver refuses other addresses than its own.
                check(unsafe {
                    (self.driver).cuIpcGetMemHandle(&raw mut handle, CUdeviceptr(address))
                })?;
                Ok(words(bytes_of(handle.reserved)))
            }
            opcode::cuIpcOpenMemHandle_v2 => {
                let reserved = characters_of(bytes(&input.exactly::<8>()?));
                let (mut address, handle) = (CUdeviceptr::default(), CUipcMemHandle { reserved });
                let flags = CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.0;
                // SAFETY: the output is a local.
                check(unsafe {
                    (self.driver).cuIpcOpenMemHandle_v2(&raw mut address, handle, flags)
                })?;
                self.imported(address)
            }
            opcode::cuIpcCloseMemHandle => {
                let [address] = input.exactly()?;
                // SAFETY: the driver refuses what was not opened.
                check(unsafe { self.driver.cuIpcCloseMemHandle(CUdeviceptr(address)) })?;
                Ok(Vec::new())
            }
            opcode::cuIpcGetEventHandle => {
                let [number] = input.exactly()?;
                let event = (self.handles.events)
                    .get(narrow(number)?)
                    .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
                let mut handle = CUipcEventHandle { reserved: [0; 64] };
                // SAFETY: the output is a local, the event the session's own.
                check(unsafe { (self.driver).cuIpcGetEventHandle(&raw mut handle, event.handle) })?;
                Ok(words(bytes_of(handle.reserved)))
            }
            opcode::cuIpcOpenEventHandle => self.open_event(input.exactly()?),
            _ => self.share_descriptor(opcode, input),
        }
    }

    fn open_event(&mut self, [number, handle @ ..]: [u64; 9]) -> Words {
        let number = narrow(number)?;
        self.handles.events.check(number)?;
        let reserved = characters_of(bytes(&handle));
        let (mut event, opened) = (CUevent::NULL, CUipcEventHandle { reserved });
        // SAFETY: the output is a local.
        check(unsafe { self.driver.cuIpcOpenEventHandle(&raw mut event, opened) })?;
        let (handle, context) = (event, self.handles.current);
        (self.handles.events).insert(number, Owned { handle, context })?;
        Ok(Vec::new())
    }

    /// Address, bytes and device of what was mapped.
    fn imported(&self, address: CUdeviceptr) -> Words {
        let (mut base, mut bytes, mut device) = (CUdeviceptr::default(), 0, 0_i32);
        // SAFETY: the outputs are locals.
        check(unsafe {
            (self.driver).cuMemGetAddressRange_v2(&raw mut base, &raw mut bytes, address)
        })?;
        let attribute = CUpointer_attribute::CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL;
        // SAFETY: the attribute is an int.
        check(unsafe {
            let place = (&raw mut device).cast::<c_void>();
            self.driver.cuPointerGetAttribute(place, attribute, address)
        })?;
        let offset = address.0.saturating_sub(base.0);
        let device = u64::from(device.unsigned_abs());
        let words = [address.0, (bytes as u64).saturating_sub(offset), device];
        Ok(words.map(Word::new).to_vec())
    }

    fn share_descriptor(&mut self, opcode: Opcode, input: Input<'_>) -> Words {
        match opcode {
            opcode::cuMemExportToShareableHandle => {
                let [handle, kind, flags] = input.exactly()?;
                if !self.handles.allocations.contains_key(&handle) {
                    return Err(INVALID_VALUE.into());
                }
                let (kind, mut number) = (file_descriptor(kind)?, -1_i32);
                let place = (&raw mut number).cast();
                // SAFETY: the output is a local, a descriptor's size; the handle the session's.
                check(unsafe {
                    (self.driver).cuMemExportToShareableHandle(place, handle, kind, flags)
                })?;
                self.keep(number, Purpose::Memory)
            }
            opcode::cuMemImportFromShareableHandle => {
                let [kind, token @ ..] = input.exactly::<9>()?;
                let kind = file_descriptor(kind)?;
                let descriptor = fetched(&token, Purpose::Memory)?;
                let mut handle = 0;
                // SAFETY: the output is a local, the descriptor is open during the call.
                check(unsafe {
                    let given = os_handle(&descriptor);
                    (self.driver).cuMemImportFromShareableHandle(&raw mut handle, given, kind)
                })?;
                *self.handles.allocations.entry(handle).or_default() += 1;
                Ok(vec![Word::new(handle)])
            }
            _ => self.share_pool(opcode, input),
        }
    }

    fn share_pool(&mut self, opcode: Opcode, input: Input<'_>) -> Words {
        match opcode {
            opcode::cuMemPoolExportToShareableHandle => {
                let [pool, kind, flags] = input.exactly()?;
                let (pool, kind) = (self.handles.pool(pool)?, file_descriptor(kind)?);
                let mut number = -1_i32;
                let place = (&raw mut number).cast();
                // SAFETY: the output is a local, a descriptor's size.
                check(unsafe {
                    (self.driver).cuMemPoolExportToShareableHandle(place, pool, kind, flags)
                })?;
                self.keep(number, Purpose::Pool)
            }
            opcode::cuMemPoolImportFromShareableHandle => self.import_pool(input.exactly()?),
            opcode::cuMemPoolExportPointer => {
                let [address] = input.exactly()?;
                let mut data = CUmemPoolPtrExportData { reserved: [0; 64] };
                // SAFETY: the output is a local; the driver refuses other addresses than a pool's.
                check(unsafe {
                    (self.driver).cuMemPoolExportPointer(&raw mut data, CUdeviceptr(address))
                })?;
                Ok(words(data.reserved))
            }
            opcode::cuMemPoolImportPointer => {
                let [pool, data @ ..] = input.exactly::<9>()?;
                let pool = self.handles.pool(pool)?;
                let reserved = bytes(&data);
                let (mut address, mut data) =
                    (CUdeviceptr::default(), CUmemPoolPtrExportData { reserved });
                // SAFETY: the output and the data are locals.
                check(unsafe {
                    (self.driver).cuMemPoolImportPointer(&raw mut address, pool, &raw mut data)
                })?;
                self.imported(address)
            }
            _ => Err(input.malformed().into()),
        }
    }

    fn import_pool(&mut self, [number, kind, flags, token @ ..]: [u64; 11]) -> Words {
        let (number, kind) = (narrow(number)?, file_descriptor(kind)?);
        self.handles.pools.check(number)?;
        let descriptor = fetched(&token, Purpose::Pool)?;
        let mut pool = CUmemoryPool::NULL;
        // SAFETY: the output is a local, the descriptor is open during the call.
        check(unsafe {
            let given = os_handle(&descriptor);
            (self.driver).cuMemPoolImportFromShareableHandle(&raw mut pool, given, kind, flags)
        })?;
        self.handles.pools.insert(number, pool)?;
        let mut device = 0_u64;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_LOCATION_ID;
        // SAFETY: the attribute is an int. Drivers of before CUDA 13 do not know it.
        let status = unsafe {
            let place = (&raw mut device).cast::<c_void>();
            self.driver.cuMemPoolGetAttribute(pool, attribute, place)
        };
        let device = if status == CUresult::CUDA_SUCCESS {
            device
        } else {
            0
        };
        Ok(vec![Word::new(device)])
    }

    /// Keeps what the driver has exported; the reply is the token.
    fn keep(&mut self, number: i32, purpose: Purpose) -> Words {
        if number < 0 {
            return Err(CUresult::CUDA_ERROR_UNKNOWN.into());
        }
        // SAFETY: the driver made it for this call.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        match self.exports.add(descriptor, purpose) {
            Ok(token) => Ok(words(token.to_bytes())),
            Err(error) => {
                tracing::warn!(%error, "memory is not exported");
                Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY.into())
            }
        }
    }
}

/// The descriptor that a token is of.
fn fetched(token: &[u64], purpose: Purpose) -> Result<OwnedFd, CUresult> {
    let token = Token::parse(&bytes(token), purpose).ok_or(INVALID_VALUE)?;
    fetch(&token).map_err(|error| {
        tracing::warn!(%error, "memory is not imported");
        INVALID_VALUE
    })
}

/// As `cuda.h` wants it.
fn os_handle(descriptor: &OwnedFd) -> *mut c_void {
    std::ptr::without_provenance_mut(descriptor.as_raw_fd().unsigned_abs() as usize)
}
