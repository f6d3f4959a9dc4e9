// SPDX-License-Identifier: Apache-2.0
//! Tar archives that are the same byte for byte whenever their files are: sorted by whoever adds
//! them, owned by root, from 1970.
//!
//! The format is POSIX's ustar: a header of 512 bytes a file, its numbers in octal digits, then the
//! file's bytes, filled up to a multiple of 512.

use anyhow::{Result, ensure};

const BLOCK: usize = 512;
/// What ustar has for a name without a prefix, in bytes.
const NAME_BYTES: usize = 100;

/// An archive in memory.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds a folder.
    pub(crate) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.header(&format!("{path}/"), mode, 0, b'5')
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.header(path, mode, content.len(), b'0')?;
        self.bytes.extend_from_slice(content);
        let end = self.bytes.len().next_multiple_of(BLOCK);
        self.bytes.resize(end, 0);
        Ok(())
    }

    /// The archive, with its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let end = self.bytes.len() + 2 * BLOCK;
        self.bytes.resize(end, 0);
        self.bytes
    }

    fn header(&mut self, path: &str, mode: u32, size: usize, kind: u8) -> Result<()> {
        ensure!(
            path.len() <= NAME_BYTES,
            "{path} is too long for a tar header"
        );
        let mut header = [0_u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{size:011o}").as_bytes());
        put(136, b"00000000000");
        // The sum counts its own field as blanks.
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn tar_lists_what_was_added() {
        let mut archive = Archive::default();
        archive.folder("a", 0o755).expect("short");
        archive.file("a/b", 0o644, b"text").expect("short");
        assert!(archive.file(&"x".repeat(101), 0, b"").is_err());
        let bytes = archive.finish();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut tar = Command::new("tar")
            .args(["--utc", "-tvf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar");
        let mut input = tar.stdin.take().expect("piped");
        input.write_all(&bytes).expect("read");
        drop(input);
        let output = tar.wait_with_output().expect("ended");
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).expect("text");
        let names: Vec<_> = text
            .lines()
            .map(|line| line.split_once("00:00 ").expect("a time").1)
            .collect();
        assert_eq!(names, ["a/", "a/b"]);
        assert!(text.starts_with("drwxr-xr-x"));
    }
}
