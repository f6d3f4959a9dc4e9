// SPDX-License-Identifier: Apache-2.0
//! The connection: requests in, replies out.
//!
//! Functions run one after the other on the thread that reads, but for those that wait for events:
//! each has a thread of its own, so that other threads of the client go on asking.

use std::io::{self, IoSlice};
use std::sync::OnceLock;

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::{Function, HandleKind, Travel, functions, number};
use gvirtus_protocol::limits::{DEVICES_MAX, MANAGEMENT_TEXT_BYTES_MAX};
use gvirtus_protocol::management::{
    Input, LENGTH_BYTES, ManagementError, Reply, Request, body_bytes,
};
use gvirtus_transport::{Stream, write_all_vectored};
use parking_lot::Mutex;

use super::Nvml;
use super::call::{Call, Meanings, Refusal, token_of};
use super::handles::Handles;
use super::processes::{Process, Processes};
use super::share::Share;
use crate::control::WorkerControl;

/// Why a connection for NVML ends before the client says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagementEnd {
    /// The connection breaks.
    #[error("the connection breaks: {0}")]
    Io(#[from] io::Error),
    /// Not a message.
    #[error(transparent)]
    Message(#[from] ManagementError),
    /// A request that no client of ours makes.
    #[error("the client calls {0} as nobody can")]
    Malformed(&'static str),
    /// A function that the table does not have, or that must not be called.
    #[error("the client calls the function {0}, which may not be called")]
    Forbidden(u16),
}

/// One connection, for as long as the process lives.
pub(super) struct Connection {
    /// Nothing if the backend has no NVML.
    pub(super) nvml: Option<Nvml>,
    pub(super) handles: Mutex<Handles>,
    pub(super) processes: Processes,
    share: Share,
    started: OnceLock<Status>,
}

/// Serves one client until it closes the connection.
///
/// # Errors
///
/// What the client did wrong, or the operating system's.
pub(crate) fn serve(
    nvml: Option<Nvml>,
    daemon: WorkerControl,
    share: Share,
    stream: Box<dyn Stream>,
) -> Result<(), ManagementEnd> {
    // The process ends with the connection.
    let connection: &'static Connection = Box::leak(Box::new(Connection::new(nvml, daemon, share)));
    let output: &'static Output = Box::leak(Box::new(Output {
        stream,
        writing: Mutex::new(()),
    }));
    while let Some(request) = output.receive()? {
        let number = request.number;
        if !is_wait(request.function) {
            output.send(number, connection.answer(&request)?)?;
            continue;
        }
        let Some(token) = connection.begin_wait(&request) else {
            output.send(number, Answer::failure(Status::INVALID_ARGUMENT))?;
            continue;
        };
        let waiting = move || {
            let answer = connection.answer(&request);
            connection.handles.lock().end_wait(token);
            // A connection that breaks is noticed by the thread that reads.
            if let Ok(answer) = answer {
                let _ = output.send(number, answer);
            }
        };
        std::thread::Builder::new()
            .name("gvirtus-events".into())
            .spawn(waiting)?;
    }
    Ok(())
}

/// What a function answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Status,
    pub(super) outputs: Vec<Vec<u8>>,
}

impl Answer {
    pub(super) const fn failure(status: Status) -> Self {
        Self {
            status,
            outputs: Vec::new(),
        }
    }
}

impl Connection {
    pub(super) fn new(nvml: Option<Nvml>, daemon: WorkerControl, share: Share) -> Self {
        Self {
            nvml,
            handles: Mutex::default(),
            processes: Processes::new(daemon),
            share,
            started: OnceLock::new(),
        }
    }

    /// Calls what the client asks for.
    pub(super) fn answer(&self, request: &Request) -> Result<Answer, ManagementEnd> {
        let forbidden = ManagementEnd::Forbidden(request.function);
        let Some(function) = functions().get(usize::from(request.function)) else {
            return Err(forbidden);
        };
        let malformed = ManagementEnd::Malformed(function.symbol);
        let Some(nvml) = &self.nvml else {
            return Ok(Answer::failure(Status::LIBRARY_NOT_FOUND));
        };
        if function.symbol == "nvmlInitWithFlags" {
            let [Input::Word(flags)] = request.arguments[..] else {
                return Err(malformed);
            };
            let status = *self.started.get_or_init(|| self.start(nvml, flags as u32));
            return Ok(Answer::failure(status));
        }
        if function.travel != Travel::Query {
            return Err(forbidden);
        }
        match self.started.get() {
            Some(&Status::SUCCESS) => {}
            Some(failed) => return Ok(Answer::failure(*failed)),
            None => return Ok(Answer::failure(Status::UNINITIALIZED)),
        }
        match self.call(nvml, function, request) {
            Ok(answer) => Ok(answer),
            Err(Refusal::Status(status)) => Ok(Answer::failure(status)),
            Err(Refusal::Malformed) => Err(malformed),
        }
    }

    fn call(
        &self,
        nvml: &Nvml,
        function: &'static Function,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let meanings = Meanings {
            handles: &self.handles,
            processes: self.processes.view(),
        };
        if function.symbol == "nvmlSystemGetProcessName"
            && let Some(answer) = process_name(&meanings, &request.arguments)?
        {
            return Ok(answer);
        }
        let handles = self.handles.lock();
        if let Some(answer) = self.share.answer(function, &request.arguments, &handles) {
            return Ok(answer);
        }
        drop(handles);
        self.check_handles(function, &request.arguments)?;
        let call = Call::new(function, &request.arguments, &meanings)?;
        // SAFETY: the words are made after the table, and point to memory that `call` owns.
        let status = unsafe { nvml.call(request.function, call.words()) };
        let outputs = call.outputs(status, &meanings)?;
        let freed = match function.symbol {
            "nvmlEventSetFree" => Some(HandleKind::EventSet),
            "nvmlGpmSampleFree" => Some(HandleKind::GpmSample),
            _ => None,
        };
        if let Some(kind) = freed.filter(|_| status == Status::SUCCESS)
            && let Some(token) = token_of(function, &request.arguments, kind)
        {
            self.handles.lock().remove(kind, token);
        }
        let mut answer = Answer { status, outputs };
        self.share.limit(function, &request.arguments, &mut answer);
        Ok(answer)
    }

    /// What would leak a handle, or pull it from under a thread.
    fn check_handles(&self, function: &Function, inputs: &[Input]) -> Result<(), Status> {
        let handles = self.handles.lock();
        match function.symbol {
            "nvmlEventSetCreate" | "nvmlGpmSampleAlloc" if handles.is_full() => {
                Err(Status::INSUFFICIENT_RESOURCES)
            }
            "nvmlEventSetFree" => match token_of(function, inputs, HandleKind::EventSet) {
                Some(token) if handles.is_waited_for(token) => Err(Status::IN_USE),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The event set that a request waits for, with the wait noted.
    fn begin_wait(&self, request: &Request) -> Option<u64> {
        let function = functions().get(usize::from(request.function))?;
        let token = token_of(function, &request.arguments, HandleKind::EventSet)?;
        self.handles.lock().begin_wait(token).ok()?;
        Some(token)
    }

    /// Starts NVML, and gives all devices their tokens.
    fn start(&self, nvml: &Nvml, flags: u32) -> Status {
        // SAFETY: neither takes a pointer.
        let status = unsafe {
            match flags {
                0 => nvml.call_symbol("nvmlInit_v2", &[]),
                flags => nvml.call_symbol("nvmlInitWithFlags", &[flags as usize]),
            }
        };
        if status != Status::SUCCESS {
            return status;
        }
        if !self.share.devices.is_empty() {
            return self.start_share(nvml);
        }
        let mut count: u32 = 0;
        let place = (&raw mut count).expose_provenance();
        // SAFETY: the function writes a number to a local.
        let counted = unsafe { nvml.call_symbol("nvmlDeviceGetCount_v2", &[place]) };
        let count = if counted == Status::SUCCESS {
            count as usize
        } else {
            0
        };
        for index in 0..count.min(DEVICES_MAX) {
            let mut device: usize = 0;
            let place = (&raw mut device).expose_provenance();
            // SAFETY: the function writes a pointer to a local.
            let found =
                unsafe { nvml.call_symbol("nvmlDeviceGetHandleByIndex_v2", &[index, place]) };
            if found == Status::SUCCESS {
                // There is room for them.
                let _ = self.handles.lock().token(HandleKind::Device, device);
            }
        }
        status
    }
}

impl Connection {
    /// Gives the devices of a share their tokens, and no other device one ever.
    fn start_share(&self, nvml: &Nvml) -> Status {
        let mut handles = self.handles.lock();
        for name in &self.share.devices {
            let token = nvml.device(name);
            let token = token.and_then(|device| handles.token(HandleKind::Device, device));
            if let Err(status) = token {
                return status;
            }
        }
        handles.hide_other_devices();
        Status::SUCCESS
    }
}

/// The name of a client's program; nothing if NVML is to be asked.
fn process_name(meanings: &Meanings<'_>, inputs: &[Input]) -> Result<Option<Answer>, Refusal> {
    let [Input::Word(pid), name, Input::Word(length)] = inputs else {
        return Err(Refusal::Malformed);
    };
    let program = match meanings.processes.find(*pid as u32) {
        Process::Local => return Ok(None),
        Process::Unknown => return Err(Status::NOT_FOUND.into()),
        Process::Program(program) => program,
    };
    let room = (*length as u32 as usize).min(MANAGEMENT_TEXT_BYTES_MAX);
    if *name == Input::Null || room == 0 {
        return Err(Status::INVALID_ARGUMENT.into());
    }
    let mut text = program.into_bytes();
    text.retain(|byte| *byte != 0);
    // As NVML does, which cuts a long name.
    text.truncate(room - 1);
    text.push(0);
    Ok(Some(Answer {
        status: Status::SUCCESS,
        outputs: vec![Vec::new(), text, Vec::new()],
    }))
}

fn is_wait(function: u16) -> bool {
    static WAITS: OnceLock<[Option<u16>; 2]> = OnceLock::new();
    WAITS
        .get_or_init(|| ["nvmlEventSetWait", "nvmlEventSetWait_v2"].map(number))
        .contains(&Some(function))
}

/// The client's side.
struct Output {
    stream: Box<dyn Stream>,
    writing: Mutex<()>,
}

impl Output {
    fn send(&self, number: u64, answer: Answer) -> Result<(), ManagementEnd> {
        let reply = Reply {
            number,
            status: answer.status.0,
            outputs: answer.outputs,
        };
        let message = reply.encode()?;
        let _writing = self.writing.lock();
        write_all_vectored(&*self.stream, &mut [IoSlice::new(&message)])?;
        Ok(())
    }

    /// The next request; nothing if the client has closed.
    fn receive(&self) -> Result<Option<Request>, ManagementEnd> {
        let mut length = [0; LENGTH_BYTES];
        if !self.read(&mut length)? {
            return Ok(None);
        }
        let mut body = vec![0; body_bytes(length)?];
        if !self.read(&mut body)? {
            return Ok(None);
        }
        Ok(Some(Request::decode(&body)?))
    }

    /// Whether the buffer was filled before the client closed.
    fn read(&self, mut buffer: &mut [u8]) -> io::Result<bool> {
        while !buffer.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
