// SPDX-License-Identifier: Apache-2.0
//! When memory that both sides use travels. Programs that have none pay one load of a flag.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use gvirtus_abi::{CUresult, CUstream_flags};
use gvirtus_driver_face::advice::Advised;
use gvirtus_protocol::command::Copy2D;
use gvirtus_protocol::opcode::{self, Opcode};
use parking_lot::Mutex;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use crate::context::Context;
use crate::memory::{Mirror, Mirrors, PIECE_BYTES, Upload};
use crate::session::{Session, StreamRef};
use crate::wire::{Command, Payload, Rows};

/// Memory that both sides use.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    is_used: AtomicBool,
    pub(crate) mirrors: Mutex<Mirrors>,
    /// By context: the stream on which bytes come back, which waits for nothing.
    streams: Mutex<BTreeMap<u16, u32>>,
    /// Hints about managed memory.
    pub(crate) advised: Mutex<Advised>,
}

/// What a call waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    since: u64,
    context: Option<u16>,
    stream: Option<u32>,
}

impl Shared {
    /// Whether the program has ever had such memory.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Adds some.
    pub(crate) fn insert(&self, mirror: Mirror) {
        self.mirrors.lock().insert(mirror);
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// A context has ended, and its memory with it.
    pub(crate) fn forget_context(&self, context: u16) {
        if self.is_used() {
            self.mirrors.lock().remove_context(context);
            self.streams.lock().remove(&context);
        }
    }
}

impl Session {
    /// To be called before work is queued that may use shared memory: sends what the application
    /// has changed.
    #[inline]
    pub(crate) fn before_work(&self, stream: StreamRef) -> Result<(), CUresult> {
        match self.shared.is_used() {
            true => self.send_changes(stream),
            false => Ok(()),
        }
    }

    #[cold]
    fn send_changes(&self, stream: StreamRef) -> Result<(), CUresult> {
        let mut mirrors = self.shared.mirrors.lock();
        // SAFETY: the memory of mirrors is mapped until they are removed.
        let uploads = unsafe { mirrors.before_work((stream.context, stream.number)) };
        for upload in uploads {
            self.upload(upload, stream)?;
        }
        Ok(())
    }

    /// To be called before a copy or memset is queued that names this memory on the device: it may
    /// be memory that kernels must not use now. Tells whether the host has it too, so that a call
    /// which the caller waits for has to wait for the stream.
    #[inline]
    pub(crate) fn before_use(
        &self,
        stream: StreamRef,
        addresses: &[u64],
    ) -> Result<bool, CUresult> {
        match self.shared.is_used() {
            true => self.send_named(stream, addresses),
            false => Ok(false),
        }
    }

    #[cold]
    fn send_named(&self, stream: StreamRef, addresses: &[u64]) -> Result<bool, CUresult> {
        let mut mirrors = self.shared.mirrors.lock();
        let mut is_shared = false;
        for address in addresses {
            // SAFETY: the memory of mirrors is mapped until they are removed.
            let uploads = unsafe { mirrors.before_use((stream.context, stream.number), *address) };
            is_shared |= uploads.is_some();
            for upload in uploads.into_iter().flatten() {
                self.upload(upload, stream)?;
            }
        }
        Ok(is_shared)
    }

    fn upload(&self, upload: Upload, stream: StreamRef) -> Result<(), CUresult> {
        let number = match stream.context == upload.context {
            true => stream.number,
            false => 0,
        };
        let copy = Copy2D {
            // Whatever comes after it, on any stream, sees the bytes.
            synchronous: U32::new(1),
            ..line(upload.device, upload.bytes, number)
        };
        let command = Command {
            opcode: opcode::cuMemcpyHtoDAsync_v2,
            context: upload.context,
        };
        let length = usize::try_from(upload.bytes).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
        let rows = Rows::line(upload.host as usize, length);
        let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(copy.as_bytes());
        // SAFETY: the memory of mirrors is mapped until they are removed.
        unsafe { self.wire.post_payload(command, fill, Payload::Rows(rows)) }
    }

    /// To be called before a message that waits for something.
    #[inline]
    pub(crate) fn wait_begins(&self, opcode: Opcode, context: u16, body: &[u8]) -> Option<Wait> {
        match self.shared.is_used() {
            true => self.wait(opcode, context, body),
            false => None,
        }
    }

    #[cold]
    fn wait(&self, opcode: Opcode, context: u16, body: &[u8]) -> Option<Wait> {
        let word = || {
            let bytes = body.get(..8)?.try_into().ok()?;
            u32::try_from(u64::from_le_bytes(bytes)).ok()
        };
        let (context, stream) = match opcode {
            opcode::cuCtxSynchronize => (Some(context), None),
            opcode::cuStreamSynchronize | opcode::cuStreamQuery => (Some(context), word()),
            opcode::cuEventSynchronize | opcode::cuEventQuery => (None, None),
            _ => return None,
        };
        Some(Wait {
            since: self.shared.mirrors.lock().now(),
            context,
            stream,
        })
    }

    /// The wait has succeeded: brings what the device may have changed.
    pub(crate) fn after_wait(&self, wait: Wait) -> Result<(), CUresult> {
        let mut mirrors = self.shared.mirrors.lock();
        mirrors.waited(wait.since, wait.context, wait.stream);
        let stale = mirrors.stale();
        for host in stale {
            if let Some(mirror) = mirrors.find_mut(host) {
                self.download(mirror)?;
            }
        }
        Ok(())
    }

    /// A copy has completed, whatever it waited for.
    #[inline]
    pub(crate) fn after_copy(&self) -> Result<(), CUresult> {
        if !self.shared.is_used() {
            return Ok(());
        }
        self.after_wait(Wait {
            since: 0,
            context: None,
            stream: None,
        })
    }

    /// A function of the application has run in a stream's order: what comes after it in the stream
    /// sees what it has changed.
    pub(crate) fn after_host_function(&self) -> Result<(), CUresult> {
        if !self.shared.is_used() {
            return Ok(());
        }
        let mut mirrors = self.shared.mirrors.lock();
        // SAFETY: the memory of mirrors is mapped until they are removed.
        let uploads = unsafe { mirrors.host_changes() };
        for upload in uploads {
            let context = upload.context;
            // Not behind the stream that waits for the function.
            let number = self.return_stream(context)?;
            self.upload(upload, StreamRef { number, context })?;
            let word = U64::new(number.into());
            self.call(opcode::cuStreamSynchronize, context, word.as_bytes())?;
        }
        Ok(())
    }

    /// Waits until all contexts with shared memory are idle, which brings what the device changed.
    #[inline]
    pub(crate) fn settle_shared(&self) -> Result<(), CUresult> {
        match self.shared.is_used() {
            true => self.wait_for_all(),
            false => Ok(()),
        }
    }

    #[cold]
    fn wait_for_all(&self) -> Result<(), CUresult> {
        let contexts = self.shared.mirrors.lock().contexts();
        for context in contexts {
            self.call_or_deferred(opcode::cuCtxSynchronize, context, &[])?;
        }
        Ok(())
    }

    /// Brings the device's bytes and merges them.
    pub(crate) fn download(&self, mirror: &mut Mirror) -> Result<(), CUresult> {
        let stream = self.return_stream(mirror.context)?;
        let total = usize::try_from(mirror.bytes()).unwrap_or(0);
        let mut buffer = vec![0_u8; total.min(PIECE_BYTES)];
        let mut at = 0;
        while at < total {
            let length = buffer.len().min(total - at);
            let copy = line(mirror.device + at as u64, length as u64, stream);
            let command = Command {
                opcode: opcode::cuMemcpyDtoHAsync_v2,
                context: mirror.context,
            };
            let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(copy.as_bytes());
            let rows = Rows::line(buffer.as_mut_ptr() as usize, length);
            // SAFETY: the buffer is writable, and nobody else's.
            let outcome = unsafe { self.wire.call(command, fill, Payload::None, rows)? };
            outcome.successful()?;
            // SAFETY: the memory of mirrors is mapped until they are removed.
            unsafe { mirror.merge(at, &buffer[..length]) };
            at += length;
        }
        Ok(())
    }

    fn return_stream(&self, context: u16) -> Result<u32, CUresult> {
        let mut streams = self.shared.streams.lock();
        if let Some(number) = streams.get(&context) {
            return Ok(*number);
        }
        let handle = self.contexts.lock().entry(context).handle();
        // A primary context that only the worker has retained yet has its device's number plus one.
        let device = self.contexts.device_of(context);
        let device = device.unwrap_or(u32::from(context).saturating_sub(1));
        let owner = Context {
            number: context,
            device,
        };
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING.0;
        let number = self.create_stream(owner, handle, flags, 0)?.number();
        streams.insert(context, number);
        Ok(number)
    }
}

const fn line(device: u64, bytes: u64, stream: u32) -> Copy2D {
    Copy2D {
        device_address: U64::new(device),
        device_pitch_bytes: U64::new(bytes),
        width_bytes: U64::new(bytes),
        height: U64::new(1),
        stream: U32::new(stream),
        synchronous: U32::new(1),
    }
}
