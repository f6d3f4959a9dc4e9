// SPDX-License-Identifier: Apache-2.0
//! Linking. Files are read here; all else is the driver's, but for the image and the logs, which
//! the application reads in its own memory.

use std::ffi::{CStr, c_char, c_void};
use std::sync::{Arc, OnceLock};

use gvirtus_abi::{CUjit_option, CUjitInputType, CUlinkState, CUresult};
use gvirtus_protocol::command::{LinkAdd, LinkReply, Load, LoadOption, Word};
use gvirtus_protocol::limits::IMAGE_BYTES_MAX;
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::image::{Options, read_image};
use super::{INVALID_VALUE, Status, put, put_optional, required, text};
use crate::handle::{Key, Kind};
use crate::process::session;
use crate::session::Session;
use crate::wire::{Command, Payload, Rows};

/// A linker.
pub(crate) struct Link {
    /// Where its logs go, which is valid until it is destroyed.
    options: Options,
    log_bytes: [usize; 2],
    image: OnceLock<Vec<u8>>,
}

// SAFETY: the addresses in the options are followed only by calls that name this linker, under the
// promise that the application made when it created it.
unsafe impl Send for Link {}
// SAFETY: as above.
unsafe impl Sync for Link {}

impl Session {
    fn linker(&self, handle: CUlinkState) -> Result<(Key, Arc<Link>), CUresult> {
        let find = || {
            let key = Key::of(handle.0, Kind::Link)?;
            Some((key, self.links.get(key)?))
        };
        find().ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
    }

    /// One round trip to the linker, whose logs are written whatever comes of it.
    fn ask_linker(
        &self,
        opcode: Opcode,
        link: &Link,
        body: &[u8],
        data: &[u8],
    ) -> Result<LinkReply, CUresult> {
        let command = Command {
            opcode,
            context: self.current_number(),
        };
        let parts: &[&[u8]] = &[data];
        let payload = match data {
            [] => Payload::None,
            _ => Payload::Parts(parts),
        };
        let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body);
        // SAFETY: the payload is borrowed, and there is no destination.
        let outcome = unsafe { self.wire.call(command, fill, payload, Rows::default())? };
        let reply = LinkReply::decode(outcome.body.bytes());
        if let Some(reply) = &reply {
            link.options
                .write_logs(link.log_bytes, &reply.error_log, &reply.info_log);
        }
        match outcome.status {
            CUresult::CUDA_SUCCESS => reply.ok_or(CUresult::CUDA_ERROR_UNKNOWN),
            status => Err(status),
        }
    }

    fn link_data(
        &self,
        state: CUlinkState,
        kind: CUjitInputType,
        data: &[u8],
        name: &CStr,
        options: &[LoadOption],
    ) -> Status {
        let (key, link) = self.linker(state)?;
        if data.len() as u64 >= IMAGE_BYTES_MAX {
            return Err(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        }
        let add = LinkAdd {
            link: U32::new(key.number()),
            kind: U32::new(kind.0),
            option_count: U32::new(u32::try_from(options.len()).map_err(|_| INVALID_VALUE)?),
        };
        let body = [add.as_bytes(), options.as_bytes(), name.to_bytes()].concat();
        self.ask_linker(opcode::cuLinkAddData_v2, &link, &body, data)?;
        Ok(())
    }
}

/// `cuLinkCreate`.
pub unsafe fn cuLinkCreate(
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
    stateOut: *mut CUlinkState,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuLinkCreate_v2(numOptions, options, optionValues, stateOut) }
}

/// `cuLinkCreate_v2`.
pub unsafe fn cuLinkCreate_v2(
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
    stateOut: *mut CUlinkState,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    let stateOut = required(stateOut)?;
    // SAFETY: the caller's promise, which lasts until the linker is destroyed.
    let options = unsafe { Options::new(numOptions, options, optionValues)? };
    let numbers = options.numbers()?;
    let key = session
        .links
        .insert(Arc::new(Link {
            options,
            log_bytes: options.log_bytes(),
            image: OnceLock::new(),
        }))
        .ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
    let create = Load {
        image: U32::new(key.number()),
        option_count: U32::new(u32::try_from(numbers.len()).map_err(|_| INVALID_VALUE)?),
    };
    let body = [create.as_bytes(), numbers.as_bytes()].concat();
    let created = session.call(opcode::cuLinkCreate_v2, context.number, &body);
    if let Err(status) = created {
        session.links.retire(key);
        session.links.release(key);
        return Err(status);
    }
    // SAFETY: the caller's promise.
    unsafe { put(stateOut, CUlinkState(key.handle(Kind::Link))) }
}

/// `cuLinkAddData`.
pub unsafe fn cuLinkAddData(
    state: CUlinkState,
    type_: CUjitInputType,
    data: *mut c_void,
    size: usize,
    name: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe {
        cuLinkAddData_v2(
            state,
            type_,
            data,
            size,
            name,
            numOptions,
            options,
            optionValues,
        )
    }
}

/// `cuLinkAddData_v2`.
pub unsafe fn cuLinkAddData_v2(
    state: CUlinkState,
    type_: CUjitInputType,
    data: *mut c_void,
    size: usize,
    name: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Status {
    let session = session()?;
    let data = required(data)?;
    if size == 0 {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    let options = unsafe { Options::new(numOptions, options, optionValues)? }.numbers()?;
    let name = match name.is_null() {
        true => c"",
        // SAFETY: the caller's promise: a C string.
        false => unsafe { text(name)? },
    };
    // SAFETY: the caller's promise: so many bytes.
    let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>().cast_const(), size) };
    session.link_data(state, type_, data, name, &options)
}

/// `cuLinkAddFile`.
pub unsafe fn cuLinkAddFile(
    state: CUlinkState,
    type_: CUjitInputType,
    path: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuLinkAddFile_v2(state, type_, path, numOptions, options, optionValues) }
}

/// `cuLinkAddFile_v2`. The file is the client's.
pub unsafe fn cuLinkAddFile_v2(
    state: CUlinkState,
    type_: CUjitInputType,
    path: *const c_char,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Status {
    let session = session()?;
    // SAFETY: the caller's promise.
    let options = unsafe { Options::new(numOptions, options, optionValues)? }.numbers()?;
    // SAFETY: the caller's promise: a C string.
    let path = unsafe { text(path)? };
    session.linker(state)?;
    let data = read_image(path)?;
    if data.is_empty() {
        return Err(CUresult::CUDA_ERROR_INVALID_IMAGE);
    }
    session.link_data(state, type_, &data, path, &options)
}

/// `cuLinkComplete`. The image lives as long as the linker.
pub unsafe fn cuLinkComplete(
    state: CUlinkState,
    cubinOut: *mut *mut c_void,
    sizeOut: *mut usize,
) -> Status {
    let session = session()?;
    let (key, link) = session.linker(state)?;
    let cubinOut = required(cubinOut)?;
    if link.image.get().is_none() {
        let body = Word {
            word: U64::new(key.number().into()),
        };
        let reply = session.ask_linker(opcode::cuLinkComplete, &link, body.as_bytes(), &[])?;
        let _ = link.image.set(reply.image);
    }
    let image = link.image.get().ok_or(CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put_optional(sizeOut, image.len()) };
    // SAFETY: the caller's promise.
    unsafe { put(cubinOut, image.as_ptr().cast_mut().cast()) }
}

/// `cuLinkDestroy`.
pub unsafe fn cuLinkDestroy(state: CUlinkState) -> Status {
    let session = session()?;
    let (key, _) = session.linker(state)?;
    session.links.retire(key);
    let number = key.number().into();
    session.post_word(opcode::cuLinkDestroy, session.current_number(), number)?;
    session.links.release(key);
    Ok(())
}
