// SPDX-License-Identifier: Apache-2.0
//! Memory pools. The client mints their numbers; the pools that a device has from the start get one
//! when they are first asked for.

use gvirtus_abi::{
    CUdeviceptr, CUmemAccess_flags, CUmemAccessDesc, CUmemAllocationHandleType,
    CUmemAllocationType, CUmemLocationType, CUmemPool_attribute, CUmemPoolProps, CUmemoryPool,
    CUresult,
};
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::little_endian::U64 as Word;

use super::holdings::{Owner, Place};
use super::memory::{Input, Words, device, location, narrow};
use super::session::Session;
use crate::driver::check;

impl Session {
    pub(super) fn pool(&mut self, opcode: Opcode, input: Input<'_>) -> Words {
        match opcode {
            opcode::cuMemPoolCreate => self.create_pool(input.exactly()?),
            opcode::cuMemPoolDestroy => {
                let [number] = input.exactly()?;
                let pool = self.handles.pool(number)?;
                // SAFETY: no preconditions.
                check(unsafe { self.driver.cuMemPoolDestroy(pool) })?;
                self.handles.pools.remove(narrow(number)?);
                Ok(Vec::new())
            }
            opcode::cuMemPoolTrimTo => {
                let [pool, bytes] = input.exactly()?;
                let pool = self.handles.pool(pool)?;
                // SAFETY: no preconditions.
                check(unsafe { self.driver.cuMemPoolTrimTo(pool, bytes as usize) })?;
                Ok(Vec::new())
            }
            opcode::cuMemPoolSetAttribute => {
                let [pool, attribute, mut value] = input.exactly()?;
                let pool = self.handles.pool(pool)?;
                let attribute = CUmemPool_attribute(narrow(attribute)?);
                // SAFETY: no attribute is larger than the word.
                check(unsafe {
                    (self.driver).cuMemPoolSetAttribute(pool, attribute, (&raw mut value).cast())
                })?;
                Ok(Vec::new())
            }
            opcode::cuMemPoolGetAttribute => {
                let [pool, attribute] = input.exactly()?;
                let pool = self.handles.pool(pool)?;
                let attribute = CUmemPool_attribute(narrow(attribute)?);
                let mut value = 0_u64;
                // SAFETY: no attribute is larger than the word.
                check(unsafe {
                    (self.driver).cuMemPoolGetAttribute(pool, attribute, (&raw mut value).cast())
                })?;
                Ok(vec![Word::new(value)])
            }
            opcode::cuMemPoolSetAccess => self.set_pool_access(input),
            opcode::cuMemPoolGetAccess => {
                let [pool, kind, id] = input.exactly()?;
                let (pool, mut location) = (self.handles.pool(pool)?, location(kind, id)?);
                let mut flags = CUmemAccess_flags::default();
                // SAFETY: the output and the location are locals.
                check(unsafe {
                    (self.driver).cuMemPoolGetAccess(&raw mut flags, pool, &raw mut location)
                })?;
                Ok(vec![Word::new(flags.0.into())])
            }
            opcode::cuDeviceSetMemPool => {
                let [ordinal, pool] = input.exactly()?;
                let pool = self.handles.pool(pool)?;
                // SAFETY: no preconditions.
                check(unsafe { self.driver.cuDeviceSetMemPool(device(ordinal)?, pool) })?;
                Ok(Vec::new())
            }
            opcode::cuDeviceGetMemPool | opcode::cuDeviceGetDefaultMemPool => {
                let [ordinal, number] = input.exactly()?;
                self.device_pool(opcode, ordinal, number)
            }
            _ => Err(input.malformed().into()),
        }
    }

    pub(super) fn allocate_from_pool(&mut self, bytes: u64, number: u64, stream: u64) -> Words {
        let pool = self.handles.pool(number)?;
        let stream = self.handles.stream(self.driver, stream)?;
        let place = self.holdings.device_of_pool(narrow(number)?);
        // An imported pool is where the context is, as far as is known.
        let Some(owner) = self.owner() else {
            return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT.into());
        };
        let owner = Owner {
            device: place.unwrap_or(owner.device),
            ..owner
        };
        let (mut address, size) = (CUdeviceptr::default(), bytes as usize);
        self.within_quota_of(owner.device, bytes, |session| {
            // SAFETY: the output is a local, pool and stream are the session's own.
            check(unsafe {
                (session.driver).cuMemAllocFromPoolAsync(&raw mut address, size, pool, stream)
            })?;
            let place = Place::Address(address.0);
            session.holdings.allocate(place, owner, bytes);
            Ok(vec![Word::new(address.0)])
        })
    }

    fn create_pool(&mut self, words: [u64; 7]) -> Words {
        let [
            number,
            kind,
            handle_types,
            location_kind,
            id,
            max_bytes,
            usage,
        ] = words;
        let number = narrow(number)?;
        self.handles.pools.check(number)?;
        let properties = CUmemPoolProps {
            allocType: CUmemAllocationType(narrow(kind)?),
            handleTypes: CUmemAllocationHandleType(narrow(handle_types)?),
            location: location(location_kind, id)?,
            win32SecurityAttributes: std::ptr::null_mut(),
            maxSize: max_bytes as usize,
            usage: narrow(usage)?,
            gpuDirectRDMACapable: 0,
            reserved: [0; 53],
        };
        let mut pool = CUmemoryPool::NULL;
        // SAFETY: the output and the properties are locals.
        check(unsafe { (self.driver).cuMemPoolCreate(&raw mut pool, &raw const properties) })?;
        self.handles.pools.insert(number, pool)?;
        if location_kind == u64::from(CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE.0) {
            self.holdings.pool(number, narrow(id)?);
        }
        Ok(Vec::new())
    }

    fn set_pool_access(&self, input: Input<'_>) -> Words {
        let ([pool], wishes) = input.groups::<1, 3>()?;
        let pool = self.handles.pool(pool)?;
        let wishes = wishes.into_iter().map(|[kind, id, flags]| {
            Ok(CUmemAccessDesc {
                location: location(kind, id)?,
                flags: CUmemAccess_flags(narrow(flags)?),
            })
        });
        let wishes: Vec<CUmemAccessDesc> = wishes.collect::<Result<_, CUresult>>()?;
        // SAFETY: the elements are locals.
        check(unsafe { (self.driver).cuMemPoolSetAccess(pool, wishes.as_ptr(), wishes.len()) })?;
        Ok(Vec::new())
    }

    /// The number of one of a device's pools: `number` if it had none.
    fn device_pool(&mut self, opcode: Opcode, ordinal: u64, number: u64) -> Words {
        let device = device(ordinal)?;
        let mut pool = CUmemoryPool::NULL;
        // SAFETY: the output is a local.
        check(unsafe {
            if opcode == opcode::cuDeviceGetMemPool {
                self.driver.cuDeviceGetMemPool(&raw mut pool, device)
            } else {
                self.driver.cuDeviceGetDefaultMemPool(&raw mut pool, device)
            }
        })?;
        let known = self
            .handles
            .pools
            .pairs()
            .find(|(_, known)| **known == pool);
        let number = match known {
            Some((known, _)) => known,
            None => {
                let number = narrow(number)?;
                self.handles.pools.insert(number, pool)?;
                self.holdings.pool(number, narrow(ordinal)?);
                number
            }
        };
        Ok(vec![Word::new(number.into())])
    }
}
