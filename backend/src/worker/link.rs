// SPDX-License-Identifier: Apache-2.0
//! The worker's side of the connection: replies of several threads, one after the other.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use gvirtus_abi::CUresult;
use gvirtus_protocol::frame::{ReplyHeader, ReplyKind, TRAILER_BYTES};
use gvirtus_transport::{Stream, write_all_vectored};
use parking_lot::{Mutex, MutexGuard};
use zerocopy::IntoBytes;

use super::ahead::{self, Ahead};
use super::console::Console;
use super::host_functions::Calls;
use super::usage::Usage;

/// What executor and waiters share.
pub(super) struct Link {
    /// The client.
    pub(super) stream: Box<dyn Stream>,
    writer: Mutex<()>,
    deferred: AtomicU32,
    console: Option<Console>,
    /// Functions that run in the client.
    pub(super) calls: Calls,
    ahead: OnceLock<Arc<Ahead>>,
    pub(super) usage: Arc<Usage>,
}

/// A reply whose payload is being written; nobody else can write meanwhile.
pub(super) struct PayloadReply<'a> {
    link: &'a Link,
    header: ReplyHeader,
    begun: bool,
    _writer: MutexGuard<'a, ()>,
}

impl Link {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        console: Option<Console>,
        usage: Arc<Usage>,
    ) -> Self {
        Self {
            stream,
            writer: Mutex::new(()),
            deferred: AtomicU32::new(CUresult::CUDA_SUCCESS.0),
            console,
            calls: Calls::default(),
            ahead: OnceLock::new(),
            usage,
        }
    }

    /// Reads what the client sends, for the executor.
    pub(super) fn read(&self, to: &mut [u8]) -> io::Result<usize> {
        match self.ahead.get() {
            None => self.read_stream(to),
            Some(ahead) => Ok(ahead.read(to)),
        }
    }

    /// Reads the connection itself.
    pub(super) fn read_stream(&self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(to)?;
        self.usage.received(count);
        Ok(count)
    }

    /// Writes all of it; the caller holds the writer.
    fn write(&self, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.usage.sent(parts.iter().map(|part| part.len()).sum());
        write_all_vectored(&*self.stream, parts)
    }

    /// From now on somebody else reads the connection, and [`Link::read`] gets it from there.
    /// `pending` came already and begins with the command `expected`.
    pub(super) fn read_ahead(self: &Arc<Self>, pending: &[u8], expected: u64) -> io::Result<()> {
        let _ = self.ahead.set(ahead::start(self, pending, expected)?);
        Ok(())
    }

    pub(super) fn reads_ahead(&self) -> bool {
        self.ahead.get().is_some()
    }

    /// A function is called in the client.
    pub(super) fn notice_call(&self) {
        if let Some(ahead) = self.ahead.get() {
            ahead.notice_call();
        }
    }

    /// Asks the client to run a function.
    pub(super) fn call(&self, function: u64, call: u64, status: CUresult) -> io::Result<()> {
        let _writer = self.writer.lock();
        let header = ReplyHeader::host_function(call, status);
        let function = function.to_le_bytes();
        self.write(&mut [IoSlice::new(header.as_bytes()), IoSlice::new(&function)])
    }

    /// A posted command failed: the next reply tells it, unless an earlier failure is still untold.
    pub(super) fn defer(&self, status: CUresult) {
        // Ordering: the value is all there is.
        let _ = self.deferred.compare_exchange(
            CUresult::CUDA_SUCCESS.0,
            status.0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// Answers the command `sequence`.
    pub(super) fn reply(&self, sequence: u64, status: CUresult, body: &[u8]) -> io::Result<()> {
        let _writer = self.writer.lock();
        let length = u32::try_from(body.len()).expect("bodies are far below 4 GiB");
        let header = ReplyHeader::new(sequence, status, self.take_deferred(), length, 0);
        self.usage.answered();
        self.write(&mut [IoSlice::new(header.as_bytes()), IoSlice::new(body)])
    }

    /// Begins to answer the command `sequence` with `payload_bytes` of payload; nothing is written
    /// before the first part of it.
    pub(super) fn reply_with_payload(&self, sequence: u64, payload_bytes: u64) -> PayloadReply<'_> {
        let writer = self.writer.lock();
        let success = CUresult::CUDA_SUCCESS;
        self.usage.answered();
        PayloadReply {
            link: self,
            header: ReplyHeader::new(sequence, success, self.take_deferred(), 0, payload_bytes),
            begun: false,
            _writer: writer,
        }
    }

    /// Sends what kernels printed. For calls after which CUDA has printed it, before their reply.
    pub(super) fn send_console(&self) -> io::Result<()> {
        let Some(console) = &self.console else {
            return Ok(());
        };
        console.take(|kind, text| self.write_console(kind, text))
    }

    /// Whether there is a console at all.
    pub(super) const fn has_console(&self) -> bool {
        self.console.is_some()
    }

    fn write_console(&self, kind: ReplyKind, text: &[u8]) -> io::Result<()> {
        let _writer = self.writer.lock();
        let length = u32::try_from(text.len()).expect("pieces are short");
        let header = ReplyHeader::console(kind, length);
        self.write(&mut [IoSlice::new(header.as_bytes()), IoSlice::new(text)])
    }

    fn take_deferred(&self) -> CUresult {
        CUresult(
            self.deferred
                .swap(CUresult::CUDA_SUCCESS.0, Ordering::Relaxed),
        )
    }
}

impl PayloadReply<'_> {
    /// Writes the next part of the payload; after the last one comes `last`, the final status.
    pub(super) fn write(&mut self, part: &[u8], last: Option<CUresult>) -> io::Result<()> {
        let header: &[u8] = if self.begun {
            &[]
        } else {
            self.header.as_bytes()
        };
        let trailer: [u8; TRAILER_BYTES] = last.unwrap_or_default().0.to_le_bytes();
        let trailer: &[u8] = if last.is_some() { &trailer } else { &[] };
        (self.link).write(&mut [header, part, trailer].map(IoSlice::new))?;
        self.begun = true;
        Ok(())
    }
}
