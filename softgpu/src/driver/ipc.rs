// SPDX-License-Identifier: Apache-2.0
//! Memory and events that several processes of one user have in common (`cuda.h`: "Memory
//! Management", `cuIpc*`).
//!
//! What a process imports lies in the range of the device that it is memory of, at addresses of
//! its own.

use std::collections::BTreeMap;
use std::ffi::c_char;
use std::sync::Arc;

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUevent, CUevent_flags, CUipcEventHandle, CUipcMem_flags,
    CUipcMemHandle, CUresult, bytes_of, characters_of,
};
use parking_lot::Mutex;

use super::allocations::{self, Allocation, Kind};
use super::arguments::out;
use super::context::{self, Context};
use super::device::{device, device_numbered};
use super::memory::Failure;
use super::scheduler::{SCHEDULER, StreamId};
use super::{event, shared_event};
use crate::memory::{Imported, Memory, Purpose, Rights, SharedFile, Token};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// What was imported, by its address.
struct Import {
    token: Token,
    imported: Imported,
    home: CUdevice,
    /// The device whose kernels may use it, if it is another one.
    guest: Option<CUdevice>,
    context_id: u64,
    /// Times that it has to be closed.
    references: u32,
}

static IMPORTS: Mutex<BTreeMap<u64, Import>> = Mutex::new(BTreeMap::new());

impl Import {
    /// Maps it for the kernels of a context.
    fn new(context: &Context, file: &SharedFile, token: Token) -> Result<Self, CUresult> {
        let device = device_numbered(file.number)?;
        let (home, memory) = (device.handle(), device.memory()?);
        let imported = memory.import(file, &token).map_err(Failure::from)?;
        let guest = (context.device.handle() != home).then(|| context.device.handle());
        let import = Self {
            token,
            imported,
            home,
            guest,
            context_id: context.id,
            references: 1,
        };
        import.set_guest_rights(Rights::ReadWrite)?;
        Ok(import)
    }

    fn set_guest_rights(&self, rights: Rights) -> Result<(), CUresult> {
        if let Some(guest) = self.guest {
            let Imported { address, bytes } = self.imported;
            let memory = device(guest)?.memory()?;
            memory.set_rights_elsewhere(address, bytes, rights);
        }
        Ok(())
    }

    fn allocation(&self, context: &Context, kind: Kind) -> Allocation {
        Allocation {
            device_ordinal: self.home.0,
            ..Allocation::new(context, kind, self.imported.address, self.imported.bytes, 0)
        }
    }

    /// Nothing uses it any more.
    fn end(self) -> Result<(), CUresult> {
        self.set_guest_rights(Rights::None)?;
        device(self.home)?.memory()?.end_import(self.imported);
        Ok(())
    }
}

/// Ends what a context has imported.
pub(super) fn forget_context(context: &Context) {
    let is_imported = |kind| matches!(kind, Kind::Imported | Kind::PoolImported);
    for gone in allocations::remove_context(context, is_imported) {
        let import = IMPORTS.lock().remove(&gone.base);
        if let Some(import) = import {
            // The devices exist: it has been mapped.
            let _ = import.end();
        }
    }
}

/// Lets other processes use an allocation; waits until no kernel runs.
///
/// # Errors
///
/// `CUDA_ERROR_OUT_OF_MEMORY` if the system refuses.
pub(super) fn export(memory: &Memory, allocation: &Allocation) -> Result<Token, CUresult> {
    let (base, bytes) = (allocation.base, allocation.bytes);
    let number = device(CUdevice(allocation.device_ordinal))?.number;
    let token = SCHEDULER.quietly(|| memory.export(base, bytes, number));
    Ok(token.map_err(Failure::from)?)
}

pub(crate) unsafe fn cuIpcGetMemHandle(
    pHandle: *mut CUipcMemHandle,
    dptr: CUdeviceptr,
) -> Result<(), CUresult> {
    context::usable()?;
    if pHandle.is_null() {
        return Err(INVALID);
    }
    let allocation = allocations::find(dptr.0)
        .filter(|allocation| allocation.kind == Kind::Device)
        .ok_or(INVALID)?;
    let memory = device(CUdevice(allocation.device_ordinal))?.memory()?;
    let bytes = export(memory, &allocation)?.to_bytes();
    let reserved = characters_of(bytes);
    out!(pHandle = CUipcMemHandle { reserved });
    Ok(())
}

/// A handle's token.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for what is none, `CUDA_ERROR_INVALID_CONTEXT` for one of this
/// process.
fn foreign_token(reserved: [c_char; 64], purpose: Purpose) -> Result<Token, CUresult> {
    let bytes = bytes_of(reserved);
    let token = Token::parse(&bytes, purpose).ok_or(INVALID)?;
    match token.process == std::process::id() {
        true => Err(CUresult::CUDA_ERROR_INVALID_CONTEXT),
        false => Ok(token),
    }
}

pub(crate) unsafe fn cuIpcOpenMemHandle(
    pdptr: *mut CUdeviceptr,
    handle: CUipcMemHandle,
    Flags: u32,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    let is_flag = Flags == CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.0;
    if pdptr.is_null() || !is_flag {
        return Err(INVALID);
    }
    let token = foreign_token(handle.reserved, Purpose::Memory)?;
    let mut imports = IMPORTS.lock();
    let known =
        (imports.values_mut()).find(|known| known.token == token && known.context_id == context.id);
    let address = match known {
        Some(known) => {
            known.references = (known.references.checked_add(1)).ok_or(INVALID)?;
            known.imported.address
        }
        None => {
            let file = SharedFile::open(&token).map_err(|_| INVALID)?;
            let import = Import::new(&context, &file, token)?;
            let address = import.imported.address;
            allocations::insert(import.allocation(&context, Kind::Imported));
            imports.insert(address, import);
            address
        }
    };
    drop(imports);
    out!(pdptr = CUdeviceptr(address));
    Ok(())
}

pub(crate) unsafe fn cuIpcOpenMemHandle_v2(
    pdptr: *mut CUdeviceptr,
    handle: CUipcMemHandle,
    Flags: u32,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { cuIpcOpenMemHandle(pdptr, handle, Flags) }
}

/// Waits for all work, so that none uses what goes.
pub(crate) fn cuIpcCloseMemHandle(dptr: CUdeviceptr) -> Result<(), CUresult> {
    let context = context::usable()?;
    close(dptr.0, Kind::Imported)?;
    context.error.check()
}

/// Frees what [`import_pointer`] has mapped, which nothing uses any more.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` if it is no such pointer.
pub(super) fn end_pointer(address: u64) -> Result<(), CUresult> {
    close(address, Kind::PoolImported)
}

/// As [`end_pointer`], when the stream has got so far. Whether it is such a pointer.
///
/// # Errors
///
/// As [`end_pointer`].
pub(super) fn end_pointer_in_order(address: u64, stream: StreamId) -> Result<bool, CUresult> {
    if allocations::remove(address, |kind| kind == Kind::PoolImported).is_none() {
        return Ok(false);
    }
    let import = IMPORTS.lock().remove(&address).ok_or(INVALID)?;
    SCHEDULER.submit_always(stream, move |_| {
        // The devices exist: it has been mapped.
        let _ = import.end();
    });
    Ok(true)
}

fn close(address: u64, kind: Kind) -> Result<(), CUresult> {
    let is_known = |known: &Allocation| known.base == address && known.kind == kind;
    (allocations::find(address).filter(is_known)).ok_or(INVALID)?;
    let mut imports = IMPORTS.lock();
    let import = imports.get_mut(&address).ok_or(INVALID)?;
    import.references -= 1;
    if import.references > 0 {
        return Ok(());
    }
    let import = imports.remove(&address).ok_or(INVALID)?;
    drop(imports);
    allocations::remove(address, |known| known == kind);
    if kind == Kind::Imported {
        context::wait_for_all();
    }
    import.end()
}

/// Maps an allocation of another process's pool for the kernels of a context.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for what is no pointer of the pool.
pub(super) fn import_pointer(
    context: &Context,
    file: &Arc<SharedFile>,
    data: &[u8; 64],
) -> Result<CUdeviceptr, CUresult> {
    let token = Token::parse(data, Purpose::Memory).ok_or(INVALID)?;
    let import = Import::new(context, file, token)?;
    let address = import.imported.address;
    allocations::insert(import.allocation(context, Kind::PoolImported));
    IMPORTS.lock().insert(address, import);
    Ok(CUdeviceptr(address))
}

pub(crate) unsafe fn cuIpcGetEventHandle(
    pHandle: *mut CUipcEventHandle,
    event: CUevent,
) -> Result<(), CUresult> {
    let event = event::find(event)?;
    if pHandle.is_null() {
        return Err(INVALID);
    }
    let shared = (event.shared()).ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
    let bytes = shared.token().to_bytes();
    let reserved = characters_of(bytes);
    out!(pHandle = CUipcEventHandle { reserved });
    Ok(())
}

pub(crate) unsafe fn cuIpcOpenEventHandle(
    phEvent: *mut CUevent,
    handle: CUipcEventHandle,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    if phEvent.is_null() {
        return Err(INVALID);
    }
    let token = foreign_token(handle.reserved, Purpose::Event)?;
    let shared = shared_event::SharedEvent::open(&token).map_err(|_| INVALID)?;
    let flags = CUevent_flags::CU_EVENT_INTERPROCESS.0 | CUevent_flags::CU_EVENT_DISABLE_TIMING.0;
    out!(phEvent = event::create(context, flags, Some(Arc::new(shared)))?);
    Ok(())
}
