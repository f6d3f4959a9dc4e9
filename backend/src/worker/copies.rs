// SPDX-License-Identifier: Apache-2.0
//! Copies between the client and the device.
//!
//! Both directions go through pinned chunks, so that the socket and the device work at the same
//! time: while one chunk is on its way to or from the device, the next one is received or sent.

use std::collections::VecDeque;
use std::io;
use std::slice;
use std::sync::Arc;

use gvirtus_abi::{CUcontext, CUresult, CUstream};
use gvirtus_protocol::command::{Copy2D, CopyBox};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::opcode::{self, Opcode};
use gvirtus_protocol::stream::ReceiveBuffer;

use super::error::{Failure, SessionError};
use super::link::Link;
use super::rows::{Piece, Rows};
use super::session::{Session, read};
use super::staging::{Chunk, Staging};
use super::waiters::Wait;
use crate::driver::{Driver, check};
use crate::limits::{
    DIRECT_READ_BYTES_MIN, DOWNLOAD_CHUNKS, INLINE_DOWNLOAD_BYTES_MAX, PARKED_DOWNLOAD_BYTES_MAX,
    STAGING_CHUNK_BYTES,
};

/// A copy between the client and the device.
pub(super) struct Request {
    rows: Result<Rows, CUresult>,
    /// Number.
    stream: u32,
    is_synchronous: bool,
}

impl Request {
    /// Reads the body of one of the messages of such copies.
    pub(super) fn read(opcode: Opcode, body: &[u8]) -> Result<Self, SessionError> {
        match opcode {
            opcode::cuMemcpyHtoAAsync_v2 | opcode::cuMemcpyAtoHAsync_v2 => {
                let copy = read::<CopyBox>(opcode, body)?;
                Ok(Self {
                    rows: Rows::parse_box(&copy),
                    stream: copy.stream.get(),
                    is_synchronous: copy.synchronous.get() != 0,
                })
            }
            _ => {
                let copy = read::<Copy2D>(opcode, body)?;
                Ok(Self {
                    rows: Rows::parse(&copy),
                    stream: copy.stream.get(),
                    is_synchronous: copy.synchronous.get() != 0,
                })
            }
        }
    }
}

impl Session {
    /// `cuMemcpyHtoDAsync`, `cuMemcpyHtoAAsync`: posted.
    pub(super) fn upload(
        &mut self,
        header: &CommandHeader,
        copy: &Request,
        received: &mut ReceiveBuffer,
    ) -> Result<(), SessionError> {
        let bytes = header.payload_bytes.get();
        let mut taken = 0;
        let result = self.upload_pieces(header, copy, received, &mut taken);
        if result.is_err() {
            self.discard(bytes - taken, received)?;
        }
        self.posted(result)
    }

    fn upload_pieces(
        &mut self,
        header: &CommandHeader,
        copy: &Request,
        received: &mut ReceiveBuffer,
        taken: &mut u64,
    ) -> Result<(), Failure> {
        let rows = copy.rows?;
        self.handles.opaque(rows.array())?;
        let bytes = rows.bytes();
        if bytes != header.payload_bytes.get() {
            return Err(SessionError::Body(header.opcode()).into());
        }
        let number = copy.stream;
        self.handles
            .enter_of_stream(self.driver, header.context.get(), number)?;
        let stream = self.handles.stream(self.driver, u64::from(number))?;
        if let Some(memory) = rows.host_memory(self.driver)
            && self.handles.is_idle(self.driver)
        {
            *taken = bytes;
            // SAFETY: the bytes are allocated, and nobody uses them: no stream is busy, and what
            // frees them comes after this. Whole bytes of any value are valid.
            let memory = unsafe { slice::from_raw_parts_mut(memory.as_ptr(), bytes as usize) };
            receive(&self.link, memory, received)?;
            return Ok(());
        }
        while *taken < bytes {
            let uploads = &mut self.handles.current()?.uploads;
            let space = uploads.space(bytes - *taken)?;
            let piece = rows.piece(*taken, space.len());
            let space = &mut space[..piece.bytes()];
            receive(&self.link, space, received)?;
            *taken += space.len() as u64;
            // SAFETY: the chunk is not used again before an event on the stream has passed.
            let status = unsafe { piece.upload(self.driver, space.as_ptr().cast(), stream) };
            uploads.used(piece.bytes(), stream);
            check(status)?;
        }
        if copy.is_synchronous && bytes > 0 {
            self.handles.raise_fence(self.driver, number, stream)?;
        }
        Ok(())
    }

    /// Reads a part of a payload.
    pub(super) fn receive(
        &self,
        to: &mut [u8],
        received: &mut ReceiveBuffer,
    ) -> Result<(), SessionError> {
        receive(&self.link, to, received)
    }

    /// Reads a payload that nobody wants.
    fn discard(&self, mut bytes: u64, received: &mut ReceiveBuffer) -> Result<(), SessionError> {
        let mut nowhere = vec![0; bytes.min(STAGING_CHUNK_BYTES as u64) as usize];
        while bytes > 0 {
            let count = bytes.min(nowhere.len() as u64);
            self.receive(&mut nowhere[..count as usize], received)?;
            bytes -= count;
        }
        Ok(())
    }

    /// `cuMemcpyDtoHAsync`, `cuMemcpyAtoHAsync`: the reply's payload are the rows.
    pub(super) fn download(
        &mut self,
        header: &CommandHeader,
        copy: &Request,
        more: bool,
    ) -> Result<(), Failure> {
        let rows = copy.rows?;
        self.handles.opaque(rows.array())?;
        let number = copy.stream;
        self.handles
            .enter_of_stream(self.driver, header.context.get(), number)?;
        let (context_number, number) = (self.handles.current, u64::from(number));
        let stream = self.handles.stream(self.driver, number)?;
        let sequence = header.sequence.get();
        if rows.bytes() == 0 {
            self.link.reply(sequence, CUresult::CUDA_SUCCESS, &[])?;
            return Ok(());
        }
        if let Some(memory) = rows.host_memory(self.driver)
            && self.handles.is_idle(self.driver)
        {
            // SAFETY: as for an upload.
            let bytes = unsafe { slice::from_raw_parts(memory.as_ptr(), rows.bytes() as usize) };
            if self.launched.somewhere() {
                // Returns at once; CUDA shows here what kernels have printed.
                // SAFETY: the context is current.
                check(unsafe { self.driver.cuCtxSynchronize() })?;
                self.link.send_console()?;
                self.launched.sent(context_number, None);
            }
            self.link
                .reply_with_payload(sequence, rows.bytes())
                .write(bytes, Some(CUresult::CUDA_SUCCESS))?;
            return Ok(());
        }
        let context = self.handles.current()?;
        let mut download = Download {
            driver: self.driver,
            link: Arc::clone(&self.link),
            staging: Arc::clone(&context.staging),
            rows,
            stream,
            sequence,
            printed: self.launched.somewhere(),
            queued: 0,
            under_way: VecDeque::new(),
        };
        let context: CUcontext = context.handle;
        download.begin(DOWNLOAD_CHUNKS)?;
        let bytes = rows.bytes();
        let driver = self.driver;
        // The rows are those of one moment: nothing may be queued between the first chunk and the
        // last. So either the executor sends them all itself, or all are queued before it goes on.
        let inline = bytes > PARKED_DOWNLOAD_BYTES_MAX
            || (bytes <= INLINE_DOWNLOAD_BYTES_MAX
                // The stream is as busy as the first chunk.
                && self.settle(more, || download.first_is_done(driver)));
        if inline {
            if download.printed {
                self.launched.sent(context_number, Some(number));
            }
            download.finish()?;
            return Ok(());
        }
        download.begin(usize::MAX)?;
        let run = Box::new(move || {
            let link = Arc::clone(&download.link);
            if let Err(error) = download.finish() {
                tracing::debug!(%error, "cannot reply");
                link.stream.shutdown();
            }
        });
        self.waiters.submit(Wait { context, run });
        Ok(())
    }
}

/// Reads a part of a payload: first what came with the command.
fn receive(link: &Link, to: &mut [u8], received: &mut ReceiveBuffer) -> Result<(), SessionError> {
    let mut filled = 0;
    loop {
        let taken = received.take(to.len() - filled);
        to[filled..filled + taken.len()].copy_from_slice(taken);
        filled += taken.len();
        let rest = &mut to[filled..];
        if rest.is_empty() {
            return Ok(());
        }
        let count = if rest.len() < DIRECT_READ_BYTES_MIN {
            let count = link.read(received.spare())?;
            received.filled(count);
            count
        } else {
            let count = link.read(rest)?;
            filled += count;
            count
        };
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
}

/// One copy to the host: chunks that the device fills, and what is done with them.
struct Download {
    driver: &'static Driver,
    link: Arc<Link>,
    staging: Arc<Staging>,
    rows: Rows,
    stream: CUstream,
    sequence: u64,
    /// Whether kernels may have printed something that belongs before the reply.
    printed: bool,
    /// Bytes of the rows that are copied or under way.
    queued: u64,
    under_way: VecDeque<(Chunk, Piece)>,
}

impl Download {
    /// Starts copies until `chunks` are under way, or all; the context is current.
    fn begin(&mut self, chunks: usize) -> Result<(), CUresult> {
        while self.queued < self.rows.bytes() && self.under_way.len() < chunks {
            let chunk = match self.staging.take() {
                Some(chunk) => chunk,
                None => self.staging.allocate()?,
            };
            if let Err(status) = self.queue(chunk) {
                self.abandon();
                return Err(status);
            }
        }
        Ok(())
    }

    /// Starts the next copy.
    fn queue(&mut self, mut chunk: Chunk) -> Result<(), CUresult> {
        let piece = self.rows.piece(self.queued, STAGING_CHUNK_BYTES);
        chunk.clear();
        // SAFETY: the chunk is used again only after its event.
        let queued = check(unsafe { piece.download(self.driver, chunk.pointer(), self.stream) })
            .and_then(|()| chunk.record(self.driver, self.stream));
        self.queued += piece.bytes() as u64;
        self.under_way.push_back((chunk, piece));
        queued
    }

    fn first_is_done(&self, driver: &Driver) -> bool {
        let first = self.under_way.front();
        first.is_none_or(|(chunk, _)| chunk.is_done(driver))
    }

    /// Sends what arrives until all is sent; the context is current.
    fn finish(mut self) -> io::Result<()> {
        let mut result = match self.under_way.front() {
            Some((chunk, _)) => chunk.wait(self.driver),
            None => Ok(()),
        };
        if self.printed {
            self.link.send_console()?;
        }
        if let Err(status) = result {
            self.abandon();
            return self.link.reply(self.sequence, status, &[]);
        }
        let link = Arc::clone(&self.link);
        let mut reply = link.reply_with_payload(self.sequence, self.rows.bytes());
        while let Some((chunk, piece)) = self.under_way.pop_front() {
            result = result.and(chunk.wait(self.driver));
            let all_queued = self.queued == self.rows.bytes();
            let last = all_queued && self.under_way.is_empty();
            let status = result.err().unwrap_or(CUresult::CUDA_SUCCESS);
            // The length is promised: after a failure the bytes mean nothing, and the status says
            // so.
            reply.write(chunk.bytes(piece.bytes()), last.then_some(status))?;
            if all_queued {
                self.staging.give_back(chunk);
            } else {
                result = result.and(self.queue(chunk));
            }
        }
        Ok(())
    }

    /// Ends what is under way before any of it is promised.
    fn abandon(&mut self) {
        for (chunk, _) in self.under_way.drain(..) {
            let _ = chunk.wait(self.driver);
            self.staging.give_back(chunk);
        }
    }
}
