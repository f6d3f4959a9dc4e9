// SPDX-License-Identifier: Apache-2.0
//! What kernels print appears where a local device's output would: in C's `stdout`, so that it
//! keeps its place among what the application prints, and on descriptor 2.

use gvirtus_protocol::frame::ReplyKind;

unsafe extern "C" {
    #[link_name = "stdout"]
    static STDOUT: *mut libc::FILE;
}

/// Writes a piece of console output. A closed output is no reason to fail the application.
pub(crate) fn write(kind: ReplyKind, text: &[u8]) {
    if kind == ReplyKind::StandardOutput {
        // SAFETY: C's own variable, which an application may assign only while nobody prints.
        let stream = unsafe { STDOUT };
        if !stream.is_null() {
            // SAFETY: `text` is readable for its length, and the stream is open or answers an
            // error.
            unsafe { libc::fwrite(text.as_ptr().cast(), 1, text.len(), stream) };
        }
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        // SAFETY: `rest` is readable for its length.
        let written = unsafe { libc::write(2, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => rest = &rest[written..],
            _ => return,
        }
    }
}
