// SPDX-License-Identifier: Apache-2.0
//! Reserved addresses, memory without an address, and what is mapped where. The client has the
//! driver's own handles; only those that the session was given reach the driver.

use gvirtus_abi::{
    CUdeviceptr, CUmemAccess_flags, CUmemAccessDesc, CUmemAllocationGranularity_flags,
    CUmemAllocationHandleType, CUmemAllocationProp, CUmemAllocationProp_v1_allocFlags,
    CUmemAllocationType, CUmemGenericAllocationHandle, CUmemLocation, CUmemLocationType, CUresult,
};
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::little_endian::U64 as Word;

use super::error::Failure;
use super::memory::{INVALID_VALUE, Input, Words, location, narrow};
use super::session::Session;
use crate::driver::check;

/// Properties from four words: type, location, and the flags' bytes.
fn properties(words: [u64; 4]) -> Result<CUmemAllocationProp, CUresult> {
    let [kind, location_kind, id, flags] = words;
    let [compression, capable, usage_low, usage_high, ..] = flags.to_le_bytes();
    Ok(CUmemAllocationProp {
        r#type: CUmemAllocationType(narrow(kind)?),
        requestedHandleTypes: CUmemAllocationHandleType(narrow(flags >> 32)?),
        location: location(location_kind, id)?,
        win32HandleMetaData: std::ptr::null_mut(),
        allocFlags: CUmemAllocationProp_v1_allocFlags {
            compressionType: compression,
            gpuDirectRDMACapable: capable,
            usage: u16::from_le_bytes([usage_low, usage_high]),
            reserved: [0; 4],
        },
    })
}

fn word(value: u64) -> Words {
    Ok(vec![Word::new(value)])
}

impl Session {
    pub(super) fn virtual_memory(&mut self, opcode: Opcode, input: Input<'_>) -> Words {
        match opcode {
            opcode::cuMemAddressReserve => {
                let [bytes, alignment, wish, flags] = input.exactly()?;
                let (mut address, wish) = (CUdeviceptr::default(), CUdeviceptr(wish));
                let (bytes, alignment) = (bytes as usize, alignment as usize);
                // SAFETY: the output is a local.
                check(unsafe {
                    (self.driver).cuMemAddressReserve(
                        &raw mut address,
                        bytes,
                        alignment,
                        wish,
                        flags,
                    )
                })?;
                word(address.0)
            }
            opcode::cuMemAddressFree => {
                let [address, bytes] = input.exactly()?;
                let address = CUdeviceptr(address);
                // SAFETY: the driver refuses what is no reservation.
                check(unsafe { self.driver.cuMemAddressFree(address, bytes as usize) })?;
                Ok(Vec::new())
            }
            opcode::cuMemUnmap => {
                let [address, bytes] = input.exactly()?;
                let start = CUdeviceptr(address);
                // SAFETY: the driver refuses what is not mapped.
                check(unsafe { self.driver.cuMemUnmap(start, bytes as usize) })?;
                self.holdings.unmap(address, bytes);
                Ok(Vec::new())
            }
            opcode::cuMemSetAccess => self.set_access(input),
            opcode::cuMemGetAccess => {
                let [kind, id, address] = input.exactly()?;
                let (place, mut flags) = (location(kind, id)?, 0);
                // SAFETY: the output and the location are locals.
                check(unsafe {
                    (self.driver).cuMemGetAccess(
                        &raw mut flags,
                        &raw const place,
                        CUdeviceptr(address),
                    )
                })?;
                word(flags)
            }
            opcode::cuMemGetAllocationGranularity => {
                let [option, kind, place, id, flags] = input.exactly()?;
                let properties = properties([kind, place, id, flags])?;
                let option = CUmemAllocationGranularity_flags(narrow(option)?);
                let mut bytes = 0;
                // SAFETY: the output and the properties are locals.
                check(unsafe {
                    (self.driver).cuMemGetAllocationGranularity(
                        &raw mut bytes,
                        &raw const properties,
                        option,
                    )
                })?;
                word(bytes as u64)
            }
            _ => self.allocation_handle(opcode, input),
        }
    }

    fn allocation_handle(&mut self, opcode: Opcode, input: Input<'_>) -> Words {
        match opcode {
            opcode::cuMemCreate => {
                let [bytes, flags, kind, place, id, property_flags] = input.exactly()?;
                let properties = properties([kind, place, id, property_flags])?;
                let create = |session: &mut Self| {
                    let (mut handle, size) = (0, bytes as usize);
                    let properties = &raw const properties;
                    // SAFETY: the output and the properties are locals.
                    check(unsafe {
                        (session.driver).cuMemCreate(&raw mut handle, size, properties, flags)
                    })?;
                    *session.handles.allocations.entry(handle).or_default() += 1;
                    Ok::<_, Failure>(handle)
                };
                let (CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, Ok(device)) =
                    (properties.location.r#type, narrow(id))
                else {
                    return word(create(self)?);
                };
                self.within_quota_of(device, bytes, |session| {
                    let handle = create(session)?;
                    session.holdings.create(handle, device, bytes);
                    word(handle)
                })
            }
            opcode::cuMemRelease => {
                let [handle] = input.exactly()?;
                let references = self.handles.allocations.get_mut(&handle);
                let references = references.ok_or(INVALID_VALUE)?;
                // SAFETY: a handle of the session's that has not been released.
                check(unsafe { self.driver.cuMemRelease(handle) })?;
                *references -= 1;
                if *references == 0 {
                    self.handles.allocations.remove(&handle);
                    self.holdings.release(handle);
                }
                Ok(Vec::new())
            }
            opcode::cuMemMap => {
                let [address, bytes, offset, handle, flags] = input.exactly()?;
                let device = self.allocation_properties(handle)?.location;
                let (size, offset) = (bytes as usize, offset as usize);
                let start = CUdeviceptr(address);
                // SAFETY: a handle of the session's; the driver refuses other addresses than
                // reserved ones.
                check(unsafe { (self.driver).cuMemMap(start, size, offset, handle, flags) })?;
                self.holdings.map(address, bytes, handle);
                word(id(&device))
            }
            opcode::cuMemGetAllocationPropertiesFromHandle => {
                let [handle] = input.exactly()?;
                let found = self.allocation_properties(handle)?;
                let flags = found.allocFlags;
                let [low, high] = flags.usage.to_le_bytes();
                let bytes = [flags.compressionType, flags.gpuDirectRDMACapable, low, high];
                let words = [
                    found.r#type.0.into(),
                    found.location.r#type.0.into(),
                    id(&found.location),
                    u64::from(u32::from_le_bytes(bytes))
                        | u64::from(found.requestedHandleTypes.0) << 32,
                ];
                Ok(words.map(Word::new).to_vec())
            }
            opcode::cuMemRetainAllocationHandle => {
                let [address] = input.exactly()?;
                let mut handle = 0;
                let mapped = std::ptr::with_exposed_provenance_mut(address as usize);
                // SAFETY: the output is a local; the address is only looked up.
                check(unsafe {
                    (self.driver).cuMemRetainAllocationHandle(&raw mut handle, mapped)
                })?;
                self.holdings.retain(handle, address);
                *self.handles.allocations.entry(handle).or_default() += 1;
                word(handle)
            }
            _ => Err(input.malformed().into()),
        }
    }

    fn allocation_properties(
        &self,
        handle: CUmemGenericAllocationHandle,
    ) -> Result<CUmemAllocationProp, CUresult> {
        if !self.handles.allocations.contains_key(&handle) {
            return Err(INVALID_VALUE);
        }
        let mut found = properties([0; 4])?;
        // SAFETY: the output is a local, the handle the session's.
        check(unsafe {
            (self.driver).cuMemGetAllocationPropertiesFromHandle(&raw mut found, handle)
        })?;
        Ok(found)
    }

    fn set_access(&self, input: Input<'_>) -> Words {
        let ([address, bytes], wishes) = input.groups::<2, 3>()?;
        let wishes = wishes.into_iter().map(|[kind, id, flags]| {
            Ok(CUmemAccessDesc {
                location: location(kind, id)?,
                flags: CUmemAccess_flags(narrow(flags)?),
            })
        });
        let wishes: Vec<CUmemAccessDesc> = wishes.collect::<Result<_, CUresult>>()?;
        let (address, bytes) = (CUdeviceptr(address), bytes as usize);
        // SAFETY: the elements are locals.
        check(unsafe {
            (self.driver).cuMemSetAccess(address, bytes, wishes.as_ptr(), wishes.len())
        })?;
        Ok(Vec::new())
    }
}

fn id(location: &CUmemLocation) -> u64 {
    // SAFETY: all variants of the union lie in the id.
    unsafe { location.anonymous0.id }.cast_unsigned().into()
}
