// SPDX-License-Identifier: Apache-2.0
//! The executor: reads commands and executes them in their order.

use std::sync::Arc;

use gvirtus_abi::CUresult;
use gvirtus_protocol::command::{HostFunction, LinkAdd, Load};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::opcode::{self, Opcode};
use gvirtus_protocol::stream::{Command, ReceiveBuffer};
use gvirtus_transport::Stream;
use zerocopy::little_endian::U64 as Word;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::console::Console;
use super::copies::Request;
use super::descriptors::Exports;
use super::error::{Failure, SessionError};
use super::handles::Handles;
use super::holdings::{Holdings, Owner};
use super::link::Link;
use super::named::word;
use super::regular::{Outputs, dispatch};
use super::usage::Usage;
use super::wait::Launched;
use super::waiters::Waiters;
use crate::driver::Driver;
use crate::limits::RECEIVE_BUFFER_BYTES;
use crate::quota::Allowance;

/// One client's session, on the thread that executes its commands.
pub(super) struct Session {
    pub(super) driver: &'static Driver,
    pub(super) handles: Handles,
    pub(super) holdings: Holdings,
    pub(super) link: Arc<Link>,
    pub(super) waiters: Waiters,
    pub(super) launched: Launched,
    /// Aligned copy of a launch's parameters.
    pub(super) parameters: Vec<u64>,
    /// What other sessions may import.
    pub(super) exports: Exports,
}

/// Executes a client's commands until it closes the connection. The handshake is over.
///
/// # Errors
///
/// Why the session ended otherwise.
pub(super) fn serve(
    driver: &'static Driver,
    stream: Box<dyn Stream>,
    console: Option<Console>,
    usage: &Arc<Usage>,
    allowance: Option<Allowance>,
) -> Result<(), SessionError> {
    let mut session = Session {
        driver,
        handles: Handles::new(),
        holdings: Holdings::new(Arc::clone(usage), allowance),
        link: Arc::new(Link::new(stream, console, Arc::clone(usage))),
        waiters: Waiters::new(driver),
        launched: Launched::default(),
        parameters: Vec::new(),
        exports: Exports::default(),
    };
    let mut received = ReceiveBuffer::new(RECEIVE_BUFFER_BYTES);
    let mut expected = 1;
    loop {
        while let Some(command) = received.command(expected)? {
            usage.commands(expected);
            expected += 1;
            let Command { header, body } = command;
            let opcode = header.opcode();
            match opcode {
                opcode::cuMemcpyHtoDAsync_v2 | opcode::cuMemcpyHtoAAsync_v2 => {
                    let copy = Request::read(opcode, body)?;
                    session.upload(&header, &copy, &mut received)?;
                }
                opcode::cuLibraryLoadData | opcode::cuModuleLoadData => {
                    let (load, options) = read_prefix::<Load>(opcode, body)?;
                    let options = options.to_vec();
                    session.load(&header, &load, &options, &mut received)?;
                }
                opcode::cuLinkAddData_v2 => {
                    let (add, rest) = read_prefix::<LinkAdd>(opcode, body)?;
                    let rest = rest.to_vec();
                    session.link_add(&header, &add, &rest, &mut received)?;
                }
                _ if header.payload_bytes.get() != 0 => return Err(SessionError::Body(opcode)),
                opcode::cuStreamSynchronize | opcode::cuEventSynchronize => {
                    let word = word(&header, body)?;
                    let more = !received.pending().is_empty();
                    let result = session.synchronize(&header, word, more);
                    session.refused(&header, result)?;
                }
                opcode::cuCtxSynchronize if body.is_empty() => {
                    let more = !received.pending().is_empty();
                    let result = session.synchronize(&header, 0, more);
                    session.refused(&header, result)?;
                }
                opcode::cuMemcpyDtoHAsync_v2 | opcode::cuMemcpyAtoHAsync_v2 => {
                    let copy = Request::read(opcode, body)?;
                    let more = !received.pending().is_empty();
                    let result = session.download(&header, &copy, more);
                    session.refused(&header, result)?;
                }
                opcode::cuLaunchHostFunc | opcode::cuStreamAddCallback => {
                    let launch = read::<HostFunction>(opcode, body)?;
                    session.read_ahead(&mut received, expected)?;
                    session.host_function(&header, &launch)?;
                }
                _ => session.execute(&header, body)?,
            }
        }
        let count = session.link.read(received.spare())?;
        if count == 0 {
            return Ok(());
        }
        received.filled(count);
    }
}

impl Session {
    /// To whom memory belongs that is allocated in the current context.
    pub(super) fn owner(&mut self) -> Option<Owner> {
        let context = self.handles.current;
        let device = self.handles.current().ok()?.device;
        let device = u32::try_from(device.0).ok()?;
        Some(Owner { device, context })
    }

    /// Free and all memory as the session may use it.
    fn show_quota(&mut self, words: &mut [Word]) {
        let device = self.owner().map(|owner| owner.device);
        if let (Some(device), Some(allowance), [free, total]) =
            (device, self.holdings.allowance(), words)
        {
            free.set(free.get().min(allowance.left_bytes(device)));
            total.set(total.get().min(allowance.limit_bytes()));
        }
    }

    /// Lets another thread read the connection, so that the end of a function in the client is
    /// heard whatever the executor is doing.
    pub(super) fn read_ahead(
        &self,
        received: &mut ReceiveBuffer,
        expected: u64,
    ) -> Result<(), SessionError> {
        if !self.link.reads_ahead() {
            let pending = received.take(usize::MAX);
            self.link.read_ahead(pending, expected)?;
        }
        Ok(())
    }

    fn host_function(
        &mut self,
        header: &CommandHeader,
        launch: &HostFunction,
    ) -> Result<(), SessionError> {
        let entered = self.handles.enter(self.driver, header.context.get());
        let result = entered.map_err(Failure::from).and_then(|()| {
            self.launched
                .add(self.handles.current, launch.stream.get().into());
            match header.opcode() {
                opcode::cuStreamAddCallback => self.add_callback(launch),
                _ => self.launch_host_function(launch),
            }
        });
        self.posted(result)
    }

    fn execute(&mut self, header: &CommandHeader, body: &[u8]) -> Result<(), SessionError> {
        match header.opcode() {
            opcode::cuLaunchKernel => {
                let result = self.launch(header, body);
                self.posted(result)
            }
            opcode::cuLinkCreate_v2 => {
                let (create, options) = read_prefix::<Load>(header.opcode(), body)?;
                let result = self.link_create(header, &create, options);
                self.answer(header, result)
            }
            opcode::cuLinkComplete => self.link_complete(header, word(header, body)?),
            opcode if opcode.shape().is_some() => self.regular(header, body),
            opcode if opcode.is_posted() => {
                let result = self.named(header, body).map(drop);
                self.posted(result)
            }
            _ => {
                let result = self.named(header, body);
                self.answer(header, result)
            }
        }
    }

    fn regular(&mut self, header: &CommandHeader, body: &[u8]) -> Result<(), SessionError> {
        let opcode = header.opcode();
        let words = <[Word]>::ref_from_bytes(body).map_err(|_| SessionError::Body(opcode))?;
        if opcode
            .shape()
            .is_none_or(|shape| shape.inputs != words.len())
        {
            return Err(SessionError::Body(opcode));
        }
        let mut outputs = Outputs::default();
        let result = self
            .handles
            .enter(self.driver, header.context.get())
            .and_then(|()| {
                dispatch(
                    opcode.0,
                    self.driver,
                    &mut self.handles,
                    words,
                    &mut outputs,
                )
            });
        if opcode.is_posted() {
            if let Err(status) = result {
                self.link.defer(status);
            }
            return Ok(());
        }
        if opcode == opcode::cuMemGetInfo_v2 {
            self.show_quota(outputs.words_mut());
        }
        let (status, words): (_, &[Word]) = match result {
            Ok(()) => (CUresult::CUDA_SUCCESS, outputs.words()),
            Err(status) => (status, &[]),
        };
        self.link
            .reply(header.sequence.get(), status, words.as_bytes())?;
        Ok(())
    }

    /// The end of a posted command.
    pub(super) fn posted(&self, result: Result<(), Failure>) -> Result<(), SessionError> {
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Status(status)) => {
                self.link.defer(status);
                Ok(())
            }
            Err(Failure::Session(error)) => Err(error),
        }
    }

    /// The end of a sync command that has the words of its reply.
    fn answer(
        &self,
        header: &CommandHeader,
        result: Result<Vec<Word>, Failure>,
    ) -> Result<(), SessionError> {
        let (status, words) = match result {
            Ok(words) => (CUresult::CUDA_SUCCESS, words),
            Err(Failure::Status(status)) => (status, Vec::new()),
            Err(Failure::Session(error)) => return Err(error),
        };
        self.link
            .reply(header.sequence.get(), status, words.as_bytes())?;
        Ok(())
    }

    /// The end of a sync command that replies itself, now or later, unless it cannot be begun.
    fn refused(
        &self,
        header: &CommandHeader,
        result: Result<(), Failure>,
    ) -> Result<(), SessionError> {
        match result {
            Ok(()) => Ok(()),
            Err(Failure::Status(status)) => {
                self.link.reply(header.sequence.get(), status, &[])?;
                Ok(())
            }
            Err(Failure::Session(error)) => Err(error),
        }
    }
}

/// A body that is exactly a `T`.
pub(super) fn read<T>(opcode: Opcode, body: &[u8]) -> Result<T, SessionError>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    T::read_from_bytes(body).map_err(|_| SessionError::Body(opcode))
}

/// A body that begins with a `T`, and what follows it.
pub(super) fn read_prefix<T>(opcode: Opcode, body: &[u8]) -> Result<(T, &[u8]), SessionError>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    T::read_from_prefix(body).map_err(|_| SessionError::Body(opcode))
}
