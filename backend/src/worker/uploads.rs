// SPDX-License-Identifier: Apache-2.0
//! Staging memory of copies to the device, of one context.
//!
//! Copies fill a chunk one after the other, small ones together. A full chunk is closed with an
//! event on each stream that reads from it, and is used again when they have passed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use gvirtus_abi::{CUresult, CUstream};

use super::staging::{Chunk, Staging};
use crate::driver::Driver;
use crate::limits::{
    STAGING_ALIGNMENT_BYTES, STAGING_CHUNK_BYTES, STAGING_CHUNKS_FEW, STAGING_CHUNKS_MAX,
    STAGING_PATIENCE, STAGING_PIECE_BYTES_MIN,
};

/// See the module.
pub(super) struct Uploads {
    driver: &'static Driver,
    staging: Arc<Staging>,
    open: Option<Open>,
    /// In the order in which they were closed.
    closed: VecDeque<Chunk>,
}

struct Open {
    chunk: Chunk,
    used: usize,
    streams: Vec<CUstream>,
}

impl Uploads {
    pub(super) const fn new(driver: &'static Driver, staging: Arc<Staging>) -> Self {
        Self {
            driver,
            staging,
            open: None,
            closed: VecDeque::new(),
        }
    }

    /// Where the next bytes of a payload go, of which `wanted` are left: at least one byte.
    /// The context is current.
    pub(super) fn space(&mut self, wanted: u64) -> Result<&mut [u8], CUresult> {
        let enough = wanted.min(STAGING_PIECE_BYTES_MIN as u64) as usize;
        let left = |open: &Open| STAGING_CHUNK_BYTES - open.used;
        if self.open.as_ref().is_none_or(|open| left(open) < enough) {
            self.close()?;
            let chunk = self.acquire()?;
            self.open = Some(Open {
                chunk,
                used: 0,
                streams: Vec::new(),
            });
        }
        let open = self.open.as_mut().expect("opened above");
        let count = left(open).min(usize::try_from(wanted).unwrap_or(usize::MAX));
        Ok(open.chunk.bytes_mut(open.used, count))
    }

    /// The first `count` bytes of the last [`Uploads::space`] are read by what is queued on
    /// `stream`.
    pub(super) fn used(&mut self, count: usize, stream: CUstream) {
        let open = self.open.as_mut().expect("space comes before use");
        open.used = (open.used + count)
            .next_multiple_of(STAGING_ALIGNMENT_BYTES)
            .min(STAGING_CHUNK_BYTES);
        if !open.streams.contains(&stream) {
            open.streams.push(stream);
        }
    }

    /// `stream` is about to be destroyed; its context is current.
    pub(super) fn forget_stream(&mut self, stream: CUstream) -> Result<(), CUresult> {
        match &self.open {
            Some(open) if open.streams.contains(&stream) => self.close(),
            _ => Ok(()),
        }
    }

    /// The context, which is current, is about to end: waits for what is under way.
    pub(super) fn end(&mut self) {
        // A context that failed has nothing under way.
        let _ = self.close();
        for chunk in self.closed.drain(..) {
            let _ = chunk.wait(self.driver);
            self.staging.give_back(chunk);
        }
        self.staging.close();
    }

    fn close(&mut self) -> Result<(), CUresult> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let mut result = Ok(());
        for stream in &open.streams {
            result = result.and(open.chunk.record(self.driver, *stream));
        }
        if result.is_err() {
            // Without the event, only an idle context is known not to read the chunk.
            // SAFETY: the context is current.
            let _ = unsafe { self.driver.cuCtxSynchronize() };
        }
        self.closed.push_back(open.chunk);
        result
    }

    fn acquire(&mut self) -> Result<Chunk, CUresult> {
        while self.closed.front().is_some_and(|c| c.is_done(self.driver)) {
            self.staging
                .give_back(self.closed.pop_front().expect("seen above"));
        }
        if let Some(chunk) = self.staging.take() {
            return Ok(chunk);
        }
        if self.staging.chunks() < STAGING_CHUNKS_FEW {
            return self.staging.allocate();
        }
        let Some(mut oldest) = self.closed.pop_front() else {
            return self.staging.allocate();
        };
        let start = Instant::now();
        while !oldest.is_done(self.driver) {
            if start.elapsed() < STAGING_PATIENCE {
                std::thread::yield_now();
            } else if self.staging.chunks() < STAGING_CHUNKS_MAX {
                self.closed.push_front(oldest);
                return self.staging.allocate();
            } else {
                // So much is queued that the client has to be slowed down. A failed wait means a
                // failed context, which reads nothing any more.
                let _ = oldest.wait(self.driver);
            }
        }
        oldest.clear();
        Ok(oldest)
    }
}
