// SPDX-License-Identifier: Apache-2.0
//! Memory aligned for vector instructions that grows and is used again.

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Zero-initialised memory that keeps its contents when it grows.
#[derive(Default)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
}

/// No memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutOfMemory;

impl Buffer {
    /// Makes it at least `bytes` long.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let lines = bytes.div_ceil(64);
        if lines > self.lines.len() {
            let more = lines - self.lines.len();
            self.lines.try_reserve(more).map_err(|_| OutOfMemory)?;
            self.lines.resize(lines, Line([0; 64]));
        }
        Ok(())
    }

    /// Its start; valid until it grows.
    pub(crate) fn pointer(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * 64
    }
}
