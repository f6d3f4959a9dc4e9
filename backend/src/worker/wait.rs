// SPDX-License-Identifier: Apache-2.0
//! Waiting for the device without keeping other threads of the client from their work.
//!
//! The executor asks whether the device is ready, again and again for a moment, and replies itself
//! if it is: that is the usual case, and a change of thread would cost more than the wait.
//! Otherwise a waiter waits and replies.

use std::sync::Arc;
use std::time::Instant;

use gvirtus_abi::{CUevent, CUresult, CUstream};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::opcode;

use super::error::Failure;
use super::session::Session;
use super::waiters::Wait;
use crate::driver::Driver;
use crate::limits::{QUERIED_STREAMS_MAX, SPIN};

/// Questions to the driver between two looks at the clock and the socket.
const QUERIES: u32 = 8;

/// Where kernels were launched since what they printed was last known to be complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Launched {
    /// Nothing was launched.
    #[default]
    Nowhere,
    /// On one stream of the context.
    Stream(u16, u64),
    /// On several streams of the context.
    Context(u16),
    /// In several contexts.
    Everywhere,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
enum Target {
    Context,
    Event(CUevent),
    Stream(CUstream),
}

impl Launched {
    /// A kernel was launched.
    pub(super) const fn add(&mut self, context: u16, stream: u64) {
        *self = match *self {
            Self::Nowhere => Self::Stream(context, stream),
            Self::Stream(c, s) if c == context && s == stream => return,
            Self::Stream(c, _) | Self::Context(c) if c == context => Self::Context(context),
            _ => Self::Everywhere,
        };
    }

    /// The stream, or without one the context, is idle, and what was printed is sent.
    pub(super) const fn sent(&mut self, context: u16, stream: Option<u64>) {
        match (*self, stream) {
            (Self::Stream(c, s), Some(stream)) if c == context && s == stream => {}
            (Self::Stream(c, _) | Self::Context(c), None) if c == context => {}
            _ => return,
        }
        *self = Self::Nowhere;
    }

    /// Whether there may be something to send.
    pub(super) const fn somewhere(self) -> bool {
        !matches!(self, Self::Nowhere)
    }
}

impl Session {
    /// `cuStreamSynchronize` and `cuEventSynchronize` of the number `word`, `cuCtxSynchronize`.
    pub(super) fn synchronize(
        &mut self,
        header: &CommandHeader,
        word: u64,
        more: bool,
    ) -> Result<(), Failure> {
        self.handles.enter(self.driver, header.context.get())?;
        let context = self.handles.current()?.handle;
        let mut streams = Some(Vec::new());
        let target = match header.opcode() {
            opcode::cuStreamSynchronize => Target::Stream(self.handles.stream(self.driver, word)?),
            opcode::cuEventSynchronize => Target::Event(self.handles.event(word)?),
            _ => {
                streams = self.handles.streams_of_current(QUERIED_STREAMS_MAX);
                Target::Context
            }
        };
        let sequence = header.sequence.get();
        let driver = self.driver;
        let ready =
            streams.is_some_and(|streams| self.settle(more, || target.is_ready(driver, &streams)));
        let printed = self.launched.somewhere();
        if !ready {
            let link = Arc::clone(&self.link);
            let run = Box::new(move || {
                let status = target.wait(driver);
                let sent = if printed { link.send_console() } else { Ok(()) };
                if let Err(error) = sent.and_then(|()| link.reply(sequence, status, &[])) {
                    tracing::debug!(%error, "cannot reply");
                    link.stream.shutdown();
                }
            });
            self.waiters.submit(Wait { context, run });
            return Ok(());
        }
        let status = target.wait(driver);
        if printed {
            self.link.send_console()?;
            let stream = match target {
                Target::Context => None,
                Target::Event(_) => Some(u64::MAX),
                Target::Stream(_) => Some(word),
            };
            self.launched.sent(header.context.get(), stream);
        }
        self.link.reply(sequence, status, &[])?;
        Ok(())
    }

    /// Asks `ready` for a moment; false if it takes longer, or if there is something else to do:
    /// `more` commands, or input on the socket.
    pub(super) fn settle(&self, more: bool, ready: impl Fn() -> bool) -> bool {
        if ready() {
            return true;
        }
        if more {
            return false;
        }
        let start = Instant::now();
        loop {
            for _ in 0..QUERIES {
                std::thread::yield_now();
                if ready() {
                    return true;
                }
            }
            if start.elapsed() > SPIN || self.link.stream.is_readable().unwrap_or(true) {
                return false;
            }
        }
    }
}

impl Target {
    /// Whether [`Target::wait`] returns at once; `streams` are all of the context but the default.
    fn is_ready(self, driver: &Driver, streams: &[CUstream]) -> bool {
        // SAFETY: here and below, handles come from the session's tables on the executor's thread.
        let busy =
            |stream| unsafe { driver.cuStreamQuery(stream) } == CUresult::CUDA_ERROR_NOT_READY;
        match self {
            Self::Context => !busy(CUstream::NULL) && !streams.iter().any(|stream| busy(*stream)),
            Self::Event(event) => {
                // SAFETY: as above.
                (unsafe { driver.cuEventQuery(event) }) != CUresult::CUDA_ERROR_NOT_READY
            }
            Self::Stream(stream) => !busy(stream),
        }
    }

    /// Waits; the context is current. CUDA itself prints what kernels have printed here.
    fn wait(self, driver: &Driver) -> CUresult {
        // SAFETY: a client that destroys what it waits for gets what it would get without us, and
        // the process is its own.
        unsafe {
            match self {
                Self::Context => driver.cuCtxSynchronize(),
                Self::Event(event) => driver.cuEventSynchronize(event),
                Self::Stream(stream) => driver.cuStreamSynchronize(stream),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_are_forgotten_only_when_all_are_covered() {
        let mut launched = Launched::default();
        launched.add(1, 5);
        launched.sent(1, Some(6));
        assert_eq!(launched, Launched::Stream(1, 5));
        launched.add(1, 5);
        launched.sent(1, Some(5));
        assert_eq!(launched, Launched::Nowhere);

        launched.add(1, 5);
        launched.add(1, 6);
        launched.sent(1, Some(6));
        assert_eq!(launched, Launched::Context(1));
        launched.add(1, 7);
        launched.sent(2, None);
        launched.sent(1, None);
        assert_eq!(launched, Launched::Nowhere);

        launched.add(1, 5);
        launched.add(2, 5);
        launched.sent(1, None);
        assert!(launched.somewhere());
    }
}
