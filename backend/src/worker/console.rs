// SPDX-License-Identifier: Apache-2.0
//! What kernels print.
//!
//! A driver writes the output of a kernel's `printf` to the process's standard output, and failed
//! assertions to standard error. In a worker both are files in memory, and the client writes what
//! they gain where its program's output belongs.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_protocol::frame::ReplyKind;
use gvirtus_protocol::limits::CONSOLE_BYTES_MAX;
use rustix::fs::{FallocateFlags, MemfdFlags, OFlags};

use crate::limits::CONSOLE_READ_BYTES;

/// Both outputs of the process.
#[derive(Debug)]
pub(super) struct Console {
    output: Captured,
    error: Captured,
}

#[derive(Debug)]
struct Captured {
    file: File,
    /// Up to where it has been read.
    read: AtomicU64,
}

impl Console {
    /// Replaces the process's standard output and standard error; returns the former standard
    /// error.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub(super) fn capture() -> io::Result<(Self, OwnedFd)> {
        let former = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
        let output = Captured::new(c"gvirtus-stdout")?;
        let error = Captured::new(c"gvirtus-stderr")?;
        rustix::stdio::dup2_stdout(&output.file)?;
        rustix::stdio::dup2_stderr(&error.file)?;
        Ok((Self { output, error }, former))
    }

    /// Gives `send` what was printed since the last time, in pieces.
    pub(super) fn take(
        &self,
        mut send: impl FnMut(ReplyKind, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        // SAFETY: a null stream means all streams, which is always allowed.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        self.output
            .take(|text| send(ReplyKind::StandardOutput, text))?;
        self.error.take(|text| send(ReplyKind::StandardError, text))
    }
}

impl Captured {
    fn new(name: &std::ffi::CStr) -> io::Result<Self> {
        let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC)?;
        // What was read is cut out of the file, and its length never goes back.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
        Ok(Self {
            file: file.into(),
            read: AtomicU64::new(0),
        })
    }

    fn take(&self, mut send: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        const { assert!(CONSOLE_READ_BYTES <= CONSOLE_BYTES_MAX) };
        loop {
            let length = self.file.metadata()?.len();
            let start = self.read.load(Ordering::Acquire);
            if length <= start {
                return Ok(());
            }
            let end = length.min(start + CONSOLE_READ_BYTES as u64);
            // Another waiter may be here too: each piece is sent by one of them.
            let claim = self
                .read
                .compare_exchange(start, end, Ordering::AcqRel, Ordering::Acquire);
            if claim.is_err() {
                continue;
            }
            let mut text = vec![0; (end - start) as usize];
            self.file.read_exact_at(&mut text, start)?;
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Memory that cannot be given back early is given back when the session ends.
            let _ = rustix::fs::fallocate(self.file.as_fd(), hole, start, end - start);
            send(&text)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_written_is_taken_once() {
        let captured = Captured::new(c"test").expect("memory");
        let mut writer = captured.file.try_clone().expect("a descriptor");
        let mut got: Vec<u8> = Vec::new();
        let long = vec![b'x'; CONSOLE_READ_BYTES + 5];
        for text in [&b"one\n"[..], b"two", &long] {
            writer.write_all(text).expect("memory");
            got.clear();
            captured
                .take(|text| {
                    got.extend(text);
                    Ok(())
                })
                .expect("readable");
            assert_eq!(got, text);
        }
        captured
            .take(|_| panic!("nothing is left"))
            .expect("readable");
    }
}
