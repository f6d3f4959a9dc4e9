// SPDX-License-Identifier: Apache-2.0
//! Regular calls: one word an input, one word an output. The functions are made from the call table
//! by the build script; here is what they call.

#![allow(
    non_snake_case,
    reason = "functions and arguments are named like those of cuda.h"
)]
#![allow(
    unreachable_pub,
    reason = "one of the functions is used only by the one that stands in for it"
)]

use gvirtus_abi::*;
use gvirtus_protocol::opcode::{self, Opcode};

use crate::image::{Kernel, OccupancyQuestion};
use crate::process;
use crate::session::Session;
use crate::wire::{Body, Command};

include!(concat!(env!("OUT_DIR"), "/regular.rs"));

/// Queues a command, unless there is an error of an earlier one to tell.
#[inline]
fn post(session: &Session, opcode: Opcode, context: u16, words: &[u64]) -> Result<(), CUresult> {
    session.wire.faults().take_deferred()?;
    if session.shared.is_used() {
        before_memory_work(session, opcode, context, words)?;
    }
    session.wire.post(Command { opcode, context }, |buffer| {
        for word in words {
            buffer.extend_from_slice(&word.to_le_bytes());
        }
    })
}

/// Copies and memsets may use memory that the application has changed.
#[cold]
fn before_memory_work(
    session: &Session,
    opcode: Opcode,
    context: u16,
    words: &[u64],
) -> Result<(), CUresult> {
    let name = opcode.name().unwrap_or_default();
    if !name.starts_with("cuMem") && !name.starts_with("cuGraphLaunch") {
        return Ok(());
    }
    // The stream is the last argument, where there is one.
    let stream = match name.ends_with("Async") || name.ends_with("Async_v2") {
        true => words.last().copied().unwrap_or(0),
        false => 0,
    };
    let number = u32::try_from(stream).unwrap_or(0);
    session.before_work(crate::session::StreamRef { number, context })
}

/// One round trip.
fn call(session: &Session, opcode: Opcode, context: u16, words: &[u64]) -> Result<Body, CUresult> {
    session.wire.faults().check()?;
    let mut body = Vec::with_capacity(size_of_val(words));
    for word in words {
        body.extend_from_slice(&word.to_le_bytes());
    }
    session.call_or_deferred(opcode, context, &body)
}

/// A question about a kernel's occupancy, whose answer stays true until an attribute is set.
fn occupancy(
    session: &Session,
    kernel: &Kernel,
    opcode: Opcode,
    context: u16,
    words: &[u64],
) -> Result<Body, CUresult> {
    let mut arguments = [0; 3];
    for (place, word) in arguments.iter_mut().zip(&words[1..]) {
        *place = *word;
    }
    let question = OccupancyQuestion {
        opcode: opcode.0,
        context,
        arguments,
    };
    if let Some(answer) = kernel.occupancy(&question) {
        return Ok(Body::of_word(answer));
    }
    let reply = call(session, opcode, context, words)?;
    kernel.set_occupancy(question, reply.promised_word(0)?);
    Ok(reply)
}

/// Writes an output.
///
/// # Safety
///
/// `place` is null or valid for writing.
unsafe fn write<T: Scalar>(reply: &Body, index: usize, place: *mut T) -> Result<(), CUresult> {
    let value = T::from_word(reply.promised_word(index)?).ok_or(CUresult::CUDA_ERROR_UNKNOWN)?;
    if !place.is_null() {
        // SAFETY: not null, and then valid for writing by the caller's promise.
        unsafe { place.write(value) };
    }
    Ok(())
}

/// What CUDA refuses at the call, checked before a command is sent whose failure would come later.
mod checks {
    use gvirtus_abi::{CUdeviceptr, CUresult, CUstreamWaitValue_flags, CUstreamWriteValue_flags};

    use crate::handle::Key;
    use crate::session::{Event, Session, StreamRef};

    const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

    pub(super) fn memset(
        session: &Session,
        address: CUdeviceptr,
        count: usize,
        element_bytes: u64,
    ) -> Result<(), CUresult> {
        memset_2d(session, address, 0, count, 1, element_bytes)
    }

    pub(super) fn memset_2d(
        session: &Session,
        address: CUdeviceptr,
        pitch_bytes: usize,
        width: usize,
        height: usize,
        element_bytes: u64,
    ) -> Result<(), CUresult> {
        let width_bytes = (width as u64).checked_mul(element_bytes).ok_or(INVALID)?;
        let pitch_bytes = pitch_bytes as u64;
        if height > 1 && pitch_bytes < width_bytes || !address.0.is_multiple_of(element_bytes) {
            return Err(INVALID);
        }
        session.check_device_rows(address.0, width_bytes, height as u64, pitch_bytes)
    }

    pub(super) fn copy(
        session: &Session,
        destination: CUdeviceptr,
        source: CUdeviceptr,
        bytes: usize,
    ) -> Result<(), CUresult> {
        let ranges = session.device_ranges.read();
        ranges.check(destination.0, bytes as u64)?;
        ranges.check(source.0, bytes as u64)
    }

    pub(super) fn write_value(
        session: &Session,
        address: CUdeviceptr,
        bytes: u64,
        flags: u32,
    ) -> Result<(), CUresult> {
        if flags & !CUstreamWriteValue_flags::CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER.0 != 0 {
            return Err(INVALID);
        }
        word(session, address, bytes)
    }

    pub(super) fn wait_value(
        session: &Session,
        address: CUdeviceptr,
        bytes: u64,
        flags: u32,
    ) -> Result<(), CUresult> {
        let condition = flags & !CUstreamWaitValue_flags::CU_STREAM_WAIT_VALUE_FLUSH.0;
        if condition > CUstreamWaitValue_flags::CU_STREAM_WAIT_VALUE_NOR.0 {
            return Err(INVALID);
        }
        word(session, address, bytes)
    }

    /// An aligned word that the device can reach.
    fn word(session: &Session, address: CUdeviceptr, bytes: u64) -> Result<(), CUresult> {
        if address.0 == 0 || !address.0.is_multiple_of(bytes) {
            return Err(INVALID);
        }
        session.device_ranges.read().check(address.0, bytes)
    }

    pub(super) fn same_context(event: &(Key, Event), stream: &StreamRef) -> Result<(), CUresult> {
        if event.1.context != stream.context {
            return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
        }
        Ok(())
    }
}
