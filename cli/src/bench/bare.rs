// SPDX-License-Identifier: Apache-2.0
//! What the same bytes cost without us: two processes, one socket, plain reads and writes.
//!
//! The messages are as long as ours. The peer obeys requests of [`REQUEST_BYTES`], whose first
//! three words are one of the constants below, a size and a count.

use std::io::{self, IoSlice};

use anyhow::{Context, Result};
use gvirtus_protocol::frame::{COMMAND_HEADER_BYTES, REPLY_HEADER_BYTES};
use gvirtus_transport::{Endpoint, Listener, Stream, connect, write_all_vectored};

const REQUEST_BYTES: usize = COMMAND_HEADER_BYTES;
const REPLY_BYTES: usize = REPLY_HEADER_BYTES;

/// Answer at once.
const PING: u64 = 0;
/// Read so many messages of a header and so many bytes, then answer.
const UP: u64 = 1;
/// Answer with so many bytes.
const DOWN: u64 = 2;

/// The side that measures.
pub(super) struct Bare {
    stream: Box<dyn Stream>,
}

impl Bare {
    pub(super) fn connect(endpoint: &Endpoint) -> Result<Self> {
        let stream = connect(endpoint)?;
        Ok(Self { stream })
    }

    /// A round trip without a payload.
    pub(super) fn ping(&self) -> io::Result<()> {
        self.request(PING, 0, 0)?;
        self.reply()
    }

    /// Sends `count` times a header and `bytes`, and waits until the last has been read.
    pub(super) fn up(&self, bytes: &[u8], count: usize) -> io::Result<()> {
        self.request(UP, bytes.len(), count)?;
        let header = [0; REQUEST_BYTES];
        for _ in 0..count {
            let mut parts = [IoSlice::new(&header), IoSlice::new(bytes)];
            write_all_vectored(&*self.stream, &mut parts)?;
        }
        self.reply()
    }

    /// Asks `count` times for as many bytes as there is room for, and reads them.
    pub(super) fn down(&self, room: &mut [u8], count: usize) -> io::Result<()> {
        for _ in 0..count {
            self.request(DOWN, room.len(), 1)?;
            self.reply()?;
            read_exact(&*self.stream, room)?;
        }
        Ok(())
    }

    fn request(&self, what: u64, bytes: usize, count: usize) -> io::Result<()> {
        let mut request = [0; REQUEST_BYTES];
        let words = [what, bytes as u64, count as u64];
        for (place, word) in request.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        write_all_vectored(&*self.stream, &mut [IoSlice::new(&request)])
    }

    fn reply(&self) -> io::Result<()> {
        read_exact(&*self.stream, &mut [0; REPLY_BYTES])
    }
}

/// The other side: serves one connection after the other until its standard input is closed.
pub(super) fn serve(endpoint: &Endpoint) -> Result<()> {
    let listener =
        Listener::bind(endpoint).with_context(|| format!("cannot listen on {endpoint}"))?;
    super::print("listening");
    std::thread::spawn(|| {
        // Nothing is ever written there: it ends with the process that holds the other end.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    loop {
        let stream = listener.accept().context("cannot accept")?;
        match obey(&*stream) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(error).context("the bare connection failed");
            }
            _ => {}
        }
    }
}

fn obey(stream: &dyn Stream) -> io::Result<()> {
    let mut request = [0; REQUEST_BYTES];
    let reply = [0; REPLY_BYTES];
    let mut memory: Vec<u8> = Vec::new();
    loop {
        read_exact(stream, &mut request)?;
        let word = |index: usize| {
            let bytes = request[index * 8..].first_chunk().copied();
            usize::try_from(u64::from_le_bytes(bytes.unwrap_or_default())).unwrap_or(0)
        };
        let (what, bytes, count) = (word(0) as u64, word(1), word(2));
        // Buffers are there before a measurement begins: the first round is not counted.
        if memory.len() != bytes {
            memory = vec![1; bytes];
        }
        let mut parts = [IoSlice::new(&reply), IoSlice::new(&[])];
        match what {
            UP => {
                for _ in 0..count {
                    read_exact(stream, &mut request)?;
                    read_exact(stream, &mut memory)?;
                }
            }
            DOWN => parts[1] = IoSlice::new(&memory),
            _ => {}
        }
        write_all_vectored(stream, &mut parts)?;
    }
}

fn read_exact(stream: &dyn Stream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match stream.read(buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}
