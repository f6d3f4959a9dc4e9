// SPDX-License-Identifier: Apache-2.0
//! Reserved addresses, memory without an address, and what is mapped where (`cuda.h`: "Virtual
//! Memory Management").
//!
//! A reservation lies in the range of one device; memory of any device may be mapped in it, for any
//! devices to use. All of it belongs to the process, not to a context. Rights are those of a whole
//! mapping.

use core::ffi::c_void;
use std::collections::BTreeMap;
use std::sync::Arc;

use gvirtus_abi::{
    CUcontext, CUdevice, CUdeviceptr, CUmemAccess_flags, CUmemAccessDesc,
    CUmemAllocationGranularity_flags, CUmemAllocationHandleType, CUmemAllocationProp,
    CUmemAllocationProp_v1_allocFlags, CUmemAllocationType, CUmemGenericAllocationHandle,
    CUmemLocation, CUmemLocation_v1_anonymous0, CUmemLocationType, CUresult,
};
use parking_lot::Mutex;

use super::allocations::{self, Allocation, Kind};
use super::arguments::{out, read_array};
use super::device::{Device, device, device_numbered, devices};
use super::limits::VIRTUAL_GRANULARITY_BYTES as GRANULARITY;
use super::memory::Failure;
use super::{context, host_function, shareable};
use crate::memory::{Memory, Physical, Purpose, Rights};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
const FILE_DESCRIPTOR: CUmemAllocationHandleType =
    CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
/// The first handle; a multiple of 16 is not needed, but a number that nothing else is helps.
const HANDLES_BASE: u64 = 0x7600_0000_0000;

/// What `cuMemCreate` makes.
struct Object {
    handle: u64,
    physical: Physical,
    device: CUdevice,
    /// As what it can be exported.
    handle_types: CUmemAllocationHandleType,
}

struct Handle {
    object: Arc<Object>,
    /// Times that it has to be released.
    references: u32,
}

struct Reservation {
    bytes: u64,
    /// The device in whose range it lies.
    home: CUdevice,
}

struct Mapping {
    bytes: u64,
    home: CUdevice,
    object: Arc<Object>,
    /// By ordinal; the others have none.
    rights: BTreeMap<i32, Rights>,
}

#[derive(Default)]
struct State {
    handles: BTreeMap<u64, Handle>,
    made: u64,
    reservations: BTreeMap<u64, Reservation>,
    mappings: BTreeMap<u64, Mapping>,
}

static STATE: Mutex<State> = Mutex::new(State {
    handles: BTreeMap::new(),
    made: 0,
    reservations: BTreeMap::new(),
    mappings: BTreeMap::new(),
});

impl State {
    /// A new object, which has to be released once.
    fn add(
        &mut self,
        physical: Physical,
        device: CUdevice,
        handle_types: CUmemAllocationHandleType,
    ) -> u64 {
        self.made += 1;
        let handle = HANDLES_BASE + self.made;
        let object = Arc::new(Object {
            handle,
            physical,
            device,
            handle_types,
        });
        let references = 1;
        (self.handles).insert(handle, Handle { object, references });
        handle
    }

    fn object(&self, handle: u64) -> Result<&Arc<Object>, CUresult> {
        (self.handles.get(&handle).map(|handle| &handle.object)).ok_or(INVALID)
    }

    /// The home of a range that reservations cover, one after the other.
    fn reserved(&self, address: u64, bytes: u64) -> Result<CUdevice, CUresult> {
        let end = address.checked_add(bytes).ok_or(INVALID)?;
        let mut covered = address;
        let mut home = None;
        while covered < end {
            let (base, reservation) = (self.reservations.range(..=covered).next_back())
                .filter(|(base, reservation)| covered - **base < reservation.bytes)
                .ok_or(INVALID)?;
            if home.is_some_and(|home| home != reservation.home) {
                return Err(INVALID);
            }
            home = Some(reservation.home);
            covered = base + reservation.bytes;
        }
        home.ok_or(INVALID)
    }

    fn has_mapping_in(&self, address: u64, bytes: u64) -> bool {
        let last = self.mappings.range(..address + bytes).next_back();
        last.is_some_and(|(base, mapping)| base + mapping.bytes > address)
    }

    /// The mappings that fill a range without gaps, whole ones only.
    fn mapped(&self, address: u64, bytes: u64) -> Result<Vec<u64>, CUresult> {
        let end = address.checked_add(bytes).ok_or(INVALID)?;
        let mut next = address;
        let mut bases = Vec::new();
        while next < end {
            bases.push(next);
            next += self.mappings.get(&next).ok_or(INVALID)?.bytes;
        }
        match next == end && !bases.is_empty() {
            true => Ok(bases),
            false => Err(INVALID),
        }
    }
}

impl Mapping {
    fn set_rights(&mut self, base: u64, ordinal: i32, rights: Rights) -> Result<(), CUresult> {
        let memory = device(CUdevice(ordinal))?.memory()?;
        match self.home.0 == ordinal {
            true => memory.set_rights(base, self.bytes, rights),
            false => memory.set_rights_elsewhere(base, self.bytes, rights),
        }
        self.rights.insert(ordinal, rights);
        let most = self.rights.values().copied().max().unwrap_or_default();
        allocations::set_rights(base, most);
        Ok(())
    }
}

fn memory_of(home: CUdevice) -> Result<&'static Arc<Memory>, CUresult> {
    device(home)?.memory()
}

/// That calls are possible at all.
fn check_initialized() -> Result<(), CUresult> {
    devices()?;
    match host_function::is_running() {
        true => Err(CUresult::CUDA_ERROR_NOT_PERMITTED),
        false => Ok(()),
    }
}

fn granular(bytes: u64) -> Result<u64, CUresult> {
    match bytes > 0 && bytes.is_multiple_of(GRANULARITY) {
        true => Ok(bytes),
        false => Err(INVALID),
    }
}

/// # Safety
///
/// `location` is a whole structure.
unsafe fn device_at(location: &CUmemLocation) -> Result<&'static Device, CUresult> {
    match location.r#type {
        // SAFETY: the union holds an id for this type.
        CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE => unsafe {
            device(CUdevice(location.anonymous0.id))
        },
        CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST
        | CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST_NUMA
        | CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT => Err(
            gvirtus_driver_face::unsupported("virtual memory of the host"),
        ),
        _ => Err(INVALID),
    }
}

/// The device whose memory the properties describe, and as what it can be exported.
///
/// # Safety
///
/// `properties` is null or valid for reading.
unsafe fn described(
    properties: *const CUmemAllocationProp,
) -> Result<(&'static Device, CUmemAllocationHandleType), CUresult> {
    if properties.is_null() {
        return Err(INVALID);
    }
    // SAFETY: not null, and then a structure by the caller's promise.
    let properties = unsafe { properties.read() };
    if properties.r#type != CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED {
        return Err(INVALID);
    }
    // SAFETY: part of a whole structure.
    let device = unsafe { device_at(&properties.location)? };
    match properties.requestedHandleTypes {
        types @ (CUmemAllocationHandleType::CU_MEM_HANDLE_TYPE_NONE | FILE_DESCRIPTOR) => {
            Ok((device, types))
        }
        _ => Err(gvirtus_driver_face::unsupported(
            "memory with other handle types than file descriptors",
        )),
    }
}

pub(crate) unsafe fn cuMemAddressReserve(
    ptr: *mut CUdeviceptr,
    size: usize,
    alignment: usize,
    addr: CUdeviceptr,
    flags: u64,
) -> Result<(), CUresult> {
    check_initialized()?;
    let bytes = granular(size as u64)?;
    let is_alignment = alignment == 0 || alignment.is_power_of_two();
    if ptr.is_null() || flags != 0 || !is_alignment {
        return Err(INVALID);
    }
    let wished = super::device::device_of(addr.0);
    let current = || context::current().ok().map(|context| context.device);
    let home = wished.or_else(current).map_or(CUdevice(0), Device::handle);
    let mut state = STATE.lock();
    let base = memory_of(home)?
        .reserve_addresses(bytes, alignment as u64, addr.0)
        .map_err(Failure::from)?;
    (state.reservations).insert(base, Reservation { bytes, home });
    drop(state);
    out!(ptr = CUdeviceptr(base));
    Ok(())
}

pub(crate) fn cuMemAddressFree(ptr: CUdeviceptr, size: usize) -> Result<(), CUresult> {
    check_initialized()?;
    let mut state = STATE.lock();
    let reservation = state.reservations.get(&ptr.0).ok_or(INVALID)?;
    let (bytes, home) = (reservation.bytes, reservation.home);
    if bytes != size as u64 || state.has_mapping_in(ptr.0, bytes) {
        return Err(INVALID);
    }
    memory_of(home)?.release_addresses(ptr.0);
    state.reservations.remove(&ptr.0);
    Ok(())
}

pub(crate) unsafe fn cuMemCreate(
    handle: *mut CUmemGenericAllocationHandle,
    size: usize,
    prop: *const CUmemAllocationProp,
    flags: u64,
) -> Result<(), CUresult> {
    check_initialized()?;
    if handle.is_null() || flags != 0 {
        return Err(INVALID);
    }
    let bytes = granular(size as u64)?;
    // SAFETY: the contract of cuda.h.
    let (device, handle_types) = unsafe { described(prop)? };
    let physical =
        (device.memory()?.create_physical(bytes, device.number)).map_err(Failure::from)?;
    out!(handle = STATE.lock().add(physical, device.handle(), handle_types));
    Ok(())
}

pub(crate) unsafe fn cuMemExportToShareableHandle(
    shareableHandle: *mut c_void,
    handle: CUmemGenericAllocationHandle,
    handleType: CUmemAllocationHandleType,
    flags: u64,
) -> Result<(), CUresult> {
    check_initialized()?;
    let object = Arc::clone(STATE.lock().object(handle)?);
    let is_possible = handleType == FILE_DESCRIPTOR && object.handle_types == FILE_DESCRIPTOR;
    if shareableHandle.is_null() || flags != 0 || !is_possible {
        return Err(INVALID);
    }
    let place = shareableHandle.cast::<i32>();
    out!(place = shareable::descriptor(object.physical.file())?);
    Ok(())
}

/// The descriptor stays the caller's.
pub(crate) unsafe fn cuMemImportFromShareableHandle(
    handle: *mut CUmemGenericAllocationHandle,
    osHandle: *mut c_void,
    shHandleType: CUmemAllocationHandleType,
) -> Result<(), CUresult> {
    check_initialized()?;
    if handle.is_null() || shHandleType != FILE_DESCRIPTOR {
        return Err(INVALID);
    }
    let file = shareable::file(osHandle, Purpose::Physical)?;
    let device = device_numbered(file.number).map_err(|_| INVALID)?;
    let physical = Physical::import(file).map_err(Failure::from)?;
    out!(handle = STATE.lock().add(physical, device.handle(), FILE_DESCRIPTOR));
    Ok(())
}

pub(crate) fn cuMemRelease(handle: CUmemGenericAllocationHandle) -> Result<(), CUresult> {
    check_initialized()?;
    let mut state = STATE.lock();
    let known = state.handles.get_mut(&handle).ok_or(INVALID)?;
    known.references -= 1;
    if known.references == 0 {
        state.handles.remove(&handle);
    }
    Ok(())
}

pub(crate) fn cuMemMap(
    ptr: CUdeviceptr,
    size: usize,
    offset: usize,
    handle: CUmemGenericAllocationHandle,
    flags: u64,
) -> Result<(), CUresult> {
    check_initialized()?;
    let bytes = granular(size as u64)?;
    if flags != 0 || offset != 0 || !ptr.0.is_multiple_of(GRANULARITY) {
        return Err(INVALID);
    }
    let mut state = STATE.lock();
    let object = Arc::clone(state.object(handle)?);
    let home = state.reserved(ptr.0, bytes)?;
    if bytes > object.physical.bytes() || state.has_mapping_in(ptr.0, bytes) {
        return Err(INVALID);
    }
    memory_of(home)?
        .map_physical(ptr.0, bytes, &object.physical)
        .map_err(Failure::from)?;
    let kind = Kind::Virtual(Rights::None);
    let ordinal = object.device.0;
    allocations::insert(Allocation::of_device(
        CUcontext::NULL,
        ordinal,
        kind,
        ptr.0,
        bytes,
    ));
    let mapping = Mapping {
        bytes,
        home,
        object,
        rights: BTreeMap::new(),
    };
    state.mappings.insert(ptr.0, mapping);
    Ok(())
}

/// Waits for all work, so that none uses what goes.
pub(crate) fn cuMemUnmap(ptr: CUdeviceptr, size: usize) -> Result<(), CUresult> {
    check_initialized()?;
    let bytes = granular(size as u64)?;
    STATE.lock().mapped(ptr.0, bytes)?;
    context::wait_for_all();
    let mut state = STATE.lock();
    for base in state.mapped(ptr.0, bytes)? {
        let Some(mut mapping) = state.mappings.remove(&base) else {
            continue;
        };
        let users: Vec<i32> = mapping.rights.keys().copied().collect();
        for ordinal in users {
            mapping.set_rights(base, ordinal, Rights::None)?;
        }
        allocations::remove(base, |kind| matches!(kind, Kind::Virtual(_)));
        memory_of(mapping.home)?
            .unmap_physical(base, mapping.bytes)
            .map_err(Failure::from)?;
    }
    Ok(())
}

pub(crate) unsafe fn cuMemSetAccess(
    ptr: CUdeviceptr,
    size: usize,
    desc: *const CUmemAccessDesc,
    count: usize,
) -> Result<(), CUresult> {
    check_initialized()?;
    let bytes = granular(size as u64)?;
    if desc.is_null() || count == 0 {
        return Err(INVALID);
    }
    // SAFETY: the contract of cuda.h: so many elements.
    let wishes = unsafe { read_array(desc, count) };
    let wishes = wishes.iter().map(|wish| {
        // SAFETY: part of a whole structure.
        let device = unsafe { device_at(&wish.location)? };
        let rights = match wish.flags {
            CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_NONE => Rights::None,
            CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READ => Rights::Read,
            CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE => Rights::ReadWrite,
            _ => return Err(INVALID),
        };
        Ok((device.ordinal, rights))
    });
    let wishes: Vec<(i32, Rights)> = wishes.collect::<Result<_, CUresult>>()?;
    let mut state = STATE.lock();
    for base in state.mapped(ptr.0, bytes)? {
        if let Some(mapping) = state.mappings.get_mut(&base) {
            for (ordinal, rights) in &wishes {
                mapping.set_rights(base, *ordinal, *rights)?;
            }
        }
    }
    Ok(())
}

pub(crate) unsafe fn cuMemGetAccess(
    flags: *mut u64,
    location: *const CUmemLocation,
    ptr: CUdeviceptr,
) -> Result<(), CUresult> {
    check_initialized()?;
    if flags.is_null() || location.is_null() {
        return Err(INVALID);
    }
    // SAFETY: not null, and then a structure by the contract of cuda.h.
    let device = unsafe { device_at(&location.read())? };
    let state = STATE.lock();
    let (base, mapping) = state.mappings.range(..=ptr.0).next_back().ok_or(INVALID)?;
    if ptr.0 - base >= mapping.bytes {
        return Err(INVALID);
    }
    let rights = mapping.rights.get(&device.ordinal).copied();
    let rights = match rights.unwrap_or_default() {
        Rights::None => CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_NONE,
        Rights::Read => CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READ,
        Rights::ReadWrite => CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    };
    drop(state);
    out!(flags = u64::from(rights.0));
    Ok(())
}

pub(crate) unsafe fn cuMemGetAllocationGranularity(
    granularity: *mut usize,
    prop: *const CUmemAllocationProp,
    option: CUmemAllocationGranularity_flags,
) -> Result<(), CUresult> {
    check_initialized()?;
    // SAFETY: the contract of cuda.h.
    unsafe { described(prop)? };
    if option.name().is_none() {
        return Err(INVALID);
    }
    out!(granularity = GRANULARITY as usize);
    Ok(())
}

pub(crate) unsafe fn cuMemGetAllocationPropertiesFromHandle(
    prop: *mut CUmemAllocationProp,
    handle: CUmemGenericAllocationHandle,
) -> Result<(), CUresult> {
    check_initialized()?;
    let object = Arc::clone(STATE.lock().object(handle)?);
    out!(
        prop = CUmemAllocationProp {
            r#type: CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
            requestedHandleTypes: object.handle_types,
            location: CUmemLocation {
                r#type: CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE,
                anonymous0: CUmemLocation_v1_anonymous0 {
                    id: object.device.0,
                },
            },
            win32HandleMetaData: std::ptr::null_mut(),
            allocFlags: CUmemAllocationProp_v1_allocFlags {
                compressionType: 0,
                gpuDirectRDMACapable: 0,
                usage: 0,
                reserved: [0; 4],
            },
        }
    );
    Ok(())
}

/// One more time that the handle of what is mapped has to be released.
pub(crate) unsafe fn cuMemRetainAllocationHandle(
    handle: *mut CUmemGenericAllocationHandle,
    addr: *mut c_void,
) -> Result<(), CUresult> {
    check_initialized()?;
    if handle.is_null() {
        return Err(INVALID);
    }
    let address = addr.addr() as u64;
    let mut state = STATE.lock();
    let (base, mapping) = state
        .mappings
        .range(..=address)
        .next_back()
        .ok_or(INVALID)?;
    if address - base >= mapping.bytes {
        return Err(INVALID);
    }
    let object = Arc::clone(&mapping.object);
    let number = object.handle;
    let references = 0;
    let known = (state.handles)
        .entry(number)
        .or_insert(Handle { object, references });
    known.references += 1;
    drop(state);
    out!(handle = number);
    Ok(())
}
