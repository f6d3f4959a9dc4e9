// SPDX-License-Identifier: Apache-2.0
//! The linker of the driver, fed with a client's PTX and objects.

use std::ptr;

use gvirtus_abi::{CUjitInputType, CUlinkState, CUresult};
use gvirtus_protocol::command::{LinkAdd, LinkReply, Load, LoadOption};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::limits::{IMAGE_BYTES_MAX, REPLY_BODY_BYTES_MAX};
use gvirtus_protocol::stream::ReceiveBuffer;
use zerocopy::FromBytes as _;
use zerocopy::little_endian::U64 as Word;

use super::error::{Failure, SessionError};
use super::images::{Options, c_name};
use super::session::Session;
use crate::driver::{Driver, check};
use crate::limits::ERROR_LOG_BYTES;

/// A linker.
pub(super) struct Linking {
    handle: CUlinkState,
    /// The driver writes to its logs until the linker is destroyed.
    options: Options,
}

impl Linking {
    /// What the linker has said so far, and an image.
    fn reply(&self, image: Vec<u8>) -> LinkReply {
        LinkReply {
            error_log: self.options.error_log(),
            info_log: self.options.info_log(),
            image,
        }
    }

    fn add(&self, driver: &Driver, add: &LinkAdd, data: &mut [u8], rest: &[u8]) -> Added {
        let (options, name) = split(rest, add.option_count.get())?;
        let name = c_name(name)?;
        // Logs of a single input go to those of the link.
        let mut options = Options::new(options)?;
        // SAFETY: the linker is alive, the data is as long as told, the name is terminated, and
        // options and values are as many as told.
        let status = unsafe {
            driver.cuLinkAddData_v2(
                self.handle,
                CUjitInputType(add.kind.get()),
                data.as_mut_ptr().cast(),
                data.len(),
                name.as_ptr(),
                options.count() - Options::LOGS,
                options.names().add(Options::LOGS as usize),
                options.values().add(Options::LOGS as usize),
            )
        };
        Ok(check(status)?)
    }

    fn complete(&self, driver: &Driver) -> Result<Vec<u8>, CUresult> {
        let (mut image, mut bytes) = (ptr::null_mut(), 0);
        // SAFETY: the linker is alive and the outputs are locals.
        check(unsafe { driver.cuLinkComplete(self.handle, &raw mut image, &raw mut bytes) })?;
        if image.is_null() || bytes > REPLY_BODY_BYTES_MAX - 4 * ERROR_LOG_BYTES {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        // SAFETY: the driver promises so many bytes, until the linker is destroyed.
        Ok(unsafe { std::slice::from_raw_parts(image.cast::<u8>(), bytes) }.to_vec())
    }
}

type Added = Result<(), Failure>;

/// Options and the name that follows them.
fn split(rest: &[u8], count: u32) -> Result<(&[LoadOption], &[u8]), CUresult> {
    <[LoadOption]>::ref_from_prefix_with_elems(rest, count as usize)
        .map_err(|_| CUresult::CUDA_ERROR_INVALID_VALUE)
}

impl Session {
    /// `cuLinkCreate`.
    pub(super) fn link_create(
        &mut self,
        header: &CommandHeader,
        create: &Load,
        options: &[u8],
    ) -> Result<Vec<Word>, Failure> {
        let malformed = || SessionError::Body(header.opcode());
        let options = <[LoadOption]>::ref_from_bytes(options).map_err(|_| malformed())?;
        if options.len() != create.option_count.get() as usize {
            return Err(malformed().into());
        }
        self.handles.links.check(create.image.get())?;
        self.handles.enter(self.driver, header.context.get())?;
        let mut options = Options::new(options)?;
        let (count, names, values) = (options.count(), options.names(), options.values());
        let mut handle = CUlinkState::NULL;
        // SAFETY: options and values are as many as told, and live as long as the linker.
        check(unsafe {
            self.driver
                .cuLinkCreate_v2(count, names, values, &raw mut handle)
        })?;
        let linking = Linking { handle, options };
        self.handles.links.insert(create.image.get(), linking)?;
        Ok(Vec::new())
    }

    /// `cuLinkAddData`.
    pub(super) fn link_add(
        &mut self,
        header: &CommandHeader,
        add: &LinkAdd,
        rest: &[u8],
        received: &mut ReceiveBuffer,
    ) -> Result<(), SessionError> {
        let bytes = header.payload_bytes.get();
        if bytes > IMAGE_BYTES_MAX {
            return Err(SessionError::Body(header.opcode()));
        }
        let mut data = self.receive_image(bytes as usize, received)?;
        let entered = self.handles.enter(self.driver, header.context.get());
        let link = self.handles.links.get(add.link.get());
        let (result, reply) = match (entered, link) {
            (Ok(()), Some(link)) => {
                let result = link.add(self.driver, add, &mut data, rest);
                (result, link.reply(Vec::new()))
            }
            (Err(status), _) => (Err(status.into()), LinkReply::default()),
            (_, None) => (
                Err(CUresult::CUDA_ERROR_INVALID_HANDLE.into()),
                LinkReply::default(),
            ),
        };
        self.answer_link(header, result, &reply)
    }

    /// `cuLinkComplete`.
    pub(super) fn link_complete(
        &mut self,
        header: &CommandHeader,
        word: u64,
    ) -> Result<(), SessionError> {
        let entered = self.handles.enter(self.driver, header.context.get());
        let link = u32::try_from(word)
            .ok()
            .and_then(|number| self.handles.links.get(number));
        let (result, reply) = match (entered, link) {
            (Ok(()), Some(link)) => match link.complete(self.driver) {
                Ok(image) => (Ok(()), link.reply(image)),
                Err(status) => (Err(status.into()), link.reply(Vec::new())),
            },
            (Err(status), _) => (Err(status.into()), LinkReply::default()),
            (_, None) => (
                Err(CUresult::CUDA_ERROR_INVALID_HANDLE.into()),
                LinkReply::default(),
            ),
        };
        self.answer_link(header, result, &reply)
    }

    fn answer_link(
        &self,
        header: &CommandHeader,
        result: Result<(), Failure>,
        reply: &LinkReply,
    ) -> Result<(), SessionError> {
        let status = match result {
            Ok(()) => CUresult::CUDA_SUCCESS,
            Err(Failure::Status(status)) => status,
            Err(Failure::Session(error)) => return Err(error),
        };
        if self.link.has_console() {
            self.link.send_console()?;
        }
        self.link
            .reply(header.sequence.get(), status, &reply.encode())?;
        Ok(())
    }

    /// `cuLinkDestroy`.
    pub(super) fn link_destroy(&mut self, word: u64) -> Result<Vec<Word>, Failure> {
        let invalid = CUresult::CUDA_ERROR_INVALID_HANDLE;
        let number = u32::try_from(word).map_err(|_| invalid)?;
        let link = self.handles.links.remove(number).ok_or(invalid)?;
        // SAFETY: the linker is alive and no longer known.
        check(unsafe { self.driver.cuLinkDestroy(link.handle) })?;
        Ok(Vec::new())
    }
}
