// SPDX-License-Identifier: Apache-2.0
//! The buffer between kernels that print and the program's standard output
//! (`CU_LIMIT_PRINTF_FIFO_SIZE`; CUDA programming guide, "Formatted Output").

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::PrintfSink;

/// Keeps what kernels print until [`Fifo::flush`] writes it to C's `stdout`, in order with the
/// program's own output. When it is full, the oldest output is lost, as CUDA documents.
#[derive(Debug)]
pub struct Fifo {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit_bytes: usize,
    /// Bytes that the records take on a device.
    used_bytes: usize,
    /// The texts of all records that are left.
    text: VecDeque<u8>,
    records: VecDeque<Record>,
}

/// What one call of `printf` left.
#[derive(Clone, Copy, Debug)]
struct Record {
    stored_bytes: usize,
    text_bytes: usize,
}

unsafe extern "C" {
    static mut stdout: *mut libc::FILE;
}

impl Fifo {
    /// An empty one of so many bytes.
    #[must_use]
    pub const fn new(limit_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                limit_bytes,
                used_bytes: 0,
                text: VecDeque::new(),
                records: VecDeque::new(),
            }),
        }
    }

    /// Changes its size.
    pub fn set_limit(&self, limit_bytes: usize) {
        let mut state = self.state.lock();
        state.limit_bytes = limit_bytes;
        state.shrink();
    }

    /// Writes what has been kept back.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        if state.records.is_empty() {
            return;
        }
        let text = state.text.make_contiguous();
        // SAFETY: `stdout` is C's; stdio locks it. A program that closed it gets nothing, as in C.
        unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), stdout) };
        state.text.clear();
        state.records.clear();
        state.used_bytes = 0;
    }
}

impl State {
    /// Loses the oldest output until the rest fits.
    fn shrink(&mut self) {
        while self.used_bytes > self.limit_bytes
            && let Some(oldest) = self.records.pop_front()
        {
            self.used_bytes -= oldest.stored_bytes;
            self.text.drain(..oldest.text_bytes);
        }
    }
}

impl PrintfSink for Fifo {
    fn write(&self, text: &[u8], stored_bytes: usize) {
        let mut state = self.state.lock();
        state.text.extend(text);
        state.records.push_back(Record {
            stored_bytes,
            text_bytes: text.len(),
        });
        state.used_bytes += stored_bytes;
        state.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fifo: &Fifo) -> String {
        let state = fifo.state.lock();
        String::from_utf8(state.text.iter().copied().collect()).unwrap()
    }

    #[test]
    fn the_oldest_output_is_overwritten() {
        let fifo = Fifo::new(100);
        for n in 0..10 {
            fifo.write(format!("{n};").as_bytes(), 24);
        }
        assert_eq!(text(&fifo), "6;7;8;9;");
        fifo.set_limit(50);
        assert_eq!(text(&fifo), "8;9;");
        fifo.write(b"too long for it", 51);
        assert_eq!(text(&fifo), "");
        fifo.set_limit(1000);
        fifo.write(b"all ", 500);
        fifo.write(b"of it", 500);
        assert_eq!(text(&fifo), "all of it");
    }
}
