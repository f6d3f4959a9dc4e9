// SPDX-License-Identifier: Apache-2.0
//! Memory management beyond plain allocations: messages whose bodies are words.

use gvirtus_abi::{CUdevice, CUdeviceptr, CUmemLocation, CUmemLocation_v1_anonymous0, CUresult};
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::FromBytes as _;
use zerocopy::little_endian::U64 as Word;

use super::error::{Failure, SessionError};
use super::holdings::Place;
use super::session::Session;
use crate::driver::check;

/// The words of a reply.
pub(super) type Words = Result<Vec<Word>, Failure>;

pub(super) const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// The words of a body.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    opcode: Opcode,
    words: &'a [Word],
}

impl<'a> Input<'a> {
    pub(super) fn parse(opcode: Opcode, body: &'a [u8]) -> Result<Self, SessionError> {
        match <[Word]>::ref_from_bytes(body) {
            Ok(words) => Ok(Self { opcode, words }),
            Err(_) => Err(SessionError::Body(opcode)),
        }
    }

    /// A body of exactly so many words.
    pub(super) fn exactly<const COUNT: usize>(self) -> Result<[u64; COUNT], SessionError> {
        let words: [Word; COUNT] = (self.words.try_into()).map_err(|_| self.malformed())?;
        Ok(words.map(Word::get))
    }

    /// So many words, and those after them in groups.
    pub(super) fn groups<const COUNT: usize, const GROUP: usize>(
        self,
    ) -> Result<([u64; COUNT], Vec<[u64; GROUP]>), SessionError> {
        let (head, tail) = (self.words)
            .split_first_chunk::<COUNT>()
            .ok_or_else(|| self.malformed())?;
        let (groups, rest) = tail.as_chunks::<GROUP>();
        if !rest.is_empty() {
            return Err(self.malformed());
        }
        let groups = groups.iter().map(|group| group.map(Word::get));
        Ok((head.map(Word::get), groups.collect()))
    }

    pub(super) fn opcode(self) -> Opcode {
        self.opcode
    }

    pub(super) fn malformed(self) -> SessionError {
        SessionError::Body(self.opcode)
    }
}

/// A word that must fit.
pub(super) fn narrow<T: TryFrom<u64>>(word: u64) -> Result<T, CUresult> {
    T::try_from(word).map_err(|_| INVALID_VALUE)
}

pub(super) fn device(word: u64) -> Result<CUdevice, CUresult> {
    let ordinal = i32::try_from(word).map_err(|_| CUresult::CUDA_ERROR_INVALID_DEVICE)?;
    Ok(CUdevice(ordinal))
}

/// A location from two words: type, and id as an `int`.
pub(super) fn location(kind: u64, id: u64) -> Result<CUmemLocation, CUresult> {
    let id: u32 = narrow(id)?;
    Ok(CUmemLocation {
        r#type: gvirtus_abi::CUmemLocationType(narrow(kind)?),
        anonymous0: CUmemLocation_v1_anonymous0 {
            id: id.cast_signed(),
        },
    })
}

impl Session {
    /// Executes one of them in the context that is current.
    pub(super) fn memory(&mut self, opcode: Opcode, body: &[u8]) -> Words {
        let input = Input::parse(opcode, body)?;
        match opcode {
            opcode::cuMemAllocAsync => {
                let [bytes, stream] = input.exactly()?;
                let stream = self.handles.stream(self.driver, stream)?;
                let mut address = CUdeviceptr::default();
                self.within_quota(bytes, |session| {
                    // SAFETY: the output is a local, the stream the session's own.
                    check(unsafe {
                        (session.driver).cuMemAllocAsync(&raw mut address, bytes as usize, stream)
                    })?;
                    session.hold(Place::Address(address.0), bytes);
                    Ok(vec![Word::new(address.0)])
                })
            }
            opcode::cuMemAllocFromPoolAsync => {
                let [bytes, pool, stream] = input.exactly()?;
                self.allocate_from_pool(bytes, pool, stream)
            }
            opcode::cuMemFreeAsync => {
                let [address, stream] = input.exactly()?;
                let stream = self.handles.stream(self.driver, stream)?;
                // SAFETY: what is not an allocation of this session's driver is refused by it.
                check(unsafe { self.driver.cuMemFreeAsync(CUdeviceptr(address), stream) })?;
                self.holdings.free(Place::Address(address));
                Ok(Vec::new())
            }
            opcode::cuMemAddressReserve
            | opcode::cuMemAddressFree
            | opcode::cuMemCreate
            | opcode::cuMemRelease
            | opcode::cuMemMap
            | opcode::cuMemUnmap
            | opcode::cuMemSetAccess
            | opcode::cuMemGetAccess
            | opcode::cuMemGetAllocationGranularity
            | opcode::cuMemGetAllocationPropertiesFromHandle
            | opcode::cuMemRetainAllocationHandle => self.virtual_memory(opcode, input),
            opcode::cuIpcGetMemHandle
            | opcode::cuIpcOpenMemHandle_v2
            | opcode::cuIpcCloseMemHandle
            | opcode::cuIpcGetEventHandle
            | opcode::cuIpcOpenEventHandle
            | opcode::cuMemExportToShareableHandle
            | opcode::cuMemImportFromShareableHandle
            | opcode::cuMemPoolExportToShareableHandle
            | opcode::cuMemPoolImportFromShareableHandle
            | opcode::cuMemPoolExportPointer
            | opcode::cuMemPoolImportPointer => self.sharing(opcode, input),
            _ => self.pool(opcode, input),
        }
    }
}
