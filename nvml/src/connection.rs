// SPDX-License-Identifier: Apache-2.0
//! One connection that all threads of the process use.
//!
//! A thread that waits for its reply reads the connection itself; with several, one reads for all.
//! So a thread that waits for an event does not keep another one from asking.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;

use gvirtus_driver_face::log;
use gvirtus_nvml_abi::Status;
use gvirtus_protocol::management::{
    Input, LENGTH_BYTES, ManagementError, Reply, Request, body_bytes,
};
use gvirtus_transport::{Stream, write_all_vectored};
use parking_lot::{Condvar, Mutex};

/// What a broken connection answers: no device can be reached any more.
const LOST: Status = Status::GPU_IS_LOST;

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    /// Number of the last request; held while one is written.
    last: Mutex<u64>,
    replies: Mutex<Replies>,
    changed: Condvar,
}

#[derive(Default)]
struct Replies {
    /// Whether a thread reads.
    reading: bool,
    lost: bool,
    /// Those that nobody has taken yet.
    ready: HashMap<u64, Reply>,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Message(#[from] ManagementError),
}

impl Connection {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            last: Mutex::new(0),
            replies: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The socket, to be closed in a forked child.
    pub(crate) fn descriptor(&self) -> i32 {
        self.stream.descriptor().as_raw_fd()
    }

    /// Whether it is of no use any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.replies.lock().lost
    }

    /// Ends it; threads that wait return.
    pub(crate) fn close(&self) {
        self.replies.lock().lost = true;
        self.stream.shutdown();
        self.changed.notify_all();
    }

    /// Calls a function of the table.
    pub(crate) fn call(&self, function: u16, arguments: Vec<Input>) -> Result<Reply, Status> {
        let number = self.send(function, arguments)?;
        let mut replies = self.replies.lock();
        loop {
            if let Some(reply) = replies.ready.remove(&number) {
                return Ok(reply);
            }
            if replies.lost {
                return Err(LOST);
            }
            if replies.reading {
                self.changed.wait(&mut replies);
                continue;
            }
            replies.reading = true;
            drop(replies);
            let read = self.read();
            replies = self.replies.lock();
            replies.reading = false;
            match read {
                Ok(reply) => drop(replies.ready.insert(reply.number, reply)),
                Err(error) => {
                    if !replies.lost {
                        log!(Error, "NVML: the connection to the backend breaks: {error}");
                    }
                    replies.lost = true;
                }
            }
            self.changed.notify_all();
        }
    }

    /// The peer does what no backend does.
    pub(crate) fn fail(&self) -> Status {
        log!(Error, "NVML: the backend answers what cannot be");
        self.close();
        LOST
    }

    fn send(&self, function: u16, arguments: Vec<Input>) -> Result<u64, Status> {
        let mut last = self.last.lock();
        *last += 1;
        let number = *last;
        let request = Request {
            number,
            function,
            arguments,
        };
        let message = request.encode().map_err(|_| Status::INVALID_ARGUMENT)?;
        if let Err(error) = write_all_vectored(&*self.stream, &mut [IoSlice::new(&message)]) {
            log!(Error, "NVML: the connection to the backend breaks: {error}");
            self.close();
            return Err(LOST);
        }
        Ok(number)
    }

    fn read(&self) -> Result<Reply, Broken> {
        let mut length = [0; LENGTH_BYTES];
        self.read_exactly(&mut length)?;
        let mut body = vec![0; body_bytes(length)?];
        self.read_exactly(&mut body)?;
        Ok(Reply::decode(&body)?)
    }

    fn read_exactly(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
