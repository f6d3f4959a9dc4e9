// SPDX-License-Identifier: Apache-2.0
//! From bytes as they arrive to frames: a receive buffer that never trusts an announced length.

use zerocopy::FromBytes;

use crate::frame::{
    COMMAND_HEADER_BYTES, CommandHeader, FrameError, REPLY_HEADER_BYTES, ReplyHeader, ReplyKind,
};

/// Bytes that came and are not used yet.
///
/// The owner reads into [`ReceiveBuffer::spare`], tells how much came with
/// [`ReceiveBuffer::filled`], and takes frames off the front until there is no complete one.
#[derive(Debug)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// A command without its payload.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Checked.
    pub header: CommandHeader,
    /// As long as the header says.
    pub body: &'a [u8],
}

/// A reply or console output without its payload.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Which of the two.
    pub kind: ReplyKind,
    /// Checked.
    pub header: ReplyHeader,
    /// As long as the header says.
    pub body: &'a [u8],
}

impl ReceiveBuffer {
    /// An empty buffer that takes in up to `capacity` bytes at once.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity.max(REPLY_HEADER_BYTES)],
            start: 0,
            end: 0,
        }
    }

    /// Where the next bytes go; never empty.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 && self.end > self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            // Doubling follows the bytes that really came, not what a header promises.
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// `count` bytes came into [`ReceiveBuffer::spare`].
    ///
    /// # Panics
    ///
    /// If that is more than there was room for.
    pub fn filled(&mut self, count: usize) {
        assert!(
            count <= self.bytes.len() - self.end,
            "more bytes came than there was room for"
        );
        self.end += count;
    }

    /// The bytes that came and are not used yet.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Uses up to `count` bytes, as part of a payload.
    pub fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start += count.min(self.end - start);
        &self.bytes[start..self.start]
    }

    /// The next command, whose number must be `expected`, if all of its header and body is there.
    /// Its payload follows in the stream.
    ///
    /// # Errors
    ///
    /// What the client did wrong; the connection is of no use after it.
    pub fn command(&mut self, expected: u64) -> Result<Option<Command<'_>>, FrameError> {
        let Ok((header, rest)) = CommandHeader::read_from_prefix(self.pending()) else {
            return Ok(None);
        };
        header.check(expected)?;
        if rest.len() < header.body_len() {
            return Ok(None);
        }
        let body = self.start + COMMAND_HEADER_BYTES;
        self.start = body + header.body_len();
        Ok(Some(Command {
            header,
            body: &self.bytes[body..self.start],
        }))
    }

    /// The next reply, if all of its header and body is there. Its payload follows in the stream.
    ///
    /// # Errors
    ///
    /// What the worker did wrong; the connection is of no use after it.
    pub fn reply(&mut self) -> Result<Option<Reply<'_>>, FrameError> {
        let Ok((header, rest)) = ReplyHeader::read_from_prefix(self.pending()) else {
            return Ok(None);
        };
        let kind = header.check()?;
        if rest.len() < header.body_len() {
            return Ok(None);
        }
        let body = self.start + REPLY_HEADER_BYTES;
        self.start = body + header.body_len();
        Ok(Some(Reply {
            kind,
            header,
            body: &self.bytes[body..self.start],
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;
    use crate::limits::COMMAND_BODY_BYTES_MAX;
    use crate::opcode;

    fn command(sequence: u64, body: &[u8], payload: u64) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("short");
        let header = CommandHeader::new(opcode::cuMemsetD8Async, 3, sequence, length, payload);
        [header.as_bytes(), body].concat()
    }

    proptest! {
        #[test]
        fn commands_arrive_whole_however_they_are_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
            cuts in prop::collection::vec(1_usize..200, 1..50),
        ) {
            let mut wire = Vec::new();
            for (sequence, body) in (1..).zip(&bodies) {
                wire.extend(command(sequence, body, 0));
            }
            let mut buffer = ReceiveBuffer::new(64);
            let (mut sent, mut got) = (0, Vec::new());
            for cut in cuts.iter().cycle() {
                let spare = buffer.spare();
                let count = (*cut).min(spare.len()).min(wire.len() - sent);
                spare[..count].copy_from_slice(&wire[sent..sent + count]);
                buffer.filled(count);
                sent += count;
                while let Some(command) = buffer.command(got.len() as u64 + 1).expect("valid") {
                    got.push(command.body.to_vec());
                }
                if sent == wire.len() {
                    break;
                }
            }
            prop_assert_eq!(got, bodies);
            prop_assert!(buffer.pending().is_empty());
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error_and_never_grow_the_buffer(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            for reply in [false, true] {
                let mut buffer = ReceiveBuffer::new(256);
                buffer.spare()[..bytes.len()].copy_from_slice(&bytes);
                buffer.filled(bytes.len());
                let before = buffer.bytes.len();
                if reply {
                    while let Ok(Some(_)) = buffer.reply() {}
                } else {
                    while let Ok(Some(_)) = buffer.command(1) {}
                }
                prop_assert_eq!(buffer.bytes.len(), before);
            }
        }
    }

    #[test]
    fn wrong_commands_are_refused() {
        let mut long = command(1, &[], 0);
        let length = u32::try_from(COMMAND_BODY_BYTES_MAX + 1).expect("fits");
        long[..4].copy_from_slice(&length.to_le_bytes());
        let mut unknown = command(1, &[], 0);
        unknown[4..6].copy_from_slice(&[0xff, 0xff]);
        let cases = [
            (long, FrameError::BodyTooLong(length)),
            (unknown, FrameError::UnknownOpcode(opcode::Opcode(0xffff))),
            (
                command(2, &[], 0),
                FrameError::Sequence {
                    expected: 1,
                    found: 2,
                },
            ),
            (
                command(1, &[], u64::MAX),
                FrameError::PayloadTooLong(u64::MAX),
            ),
        ];
        for (bytes, error) in cases {
            let mut buffer = ReceiveBuffer::new(1024);
            buffer.spare()[..bytes.len()].copy_from_slice(&bytes);
            buffer.filled(bytes.len());
            assert_eq!(buffer.command(1).expect_err("refused"), error);
        }
    }

    #[test]
    fn a_payload_is_taken_as_it_comes() {
        let mut buffer = ReceiveBuffer::new(256);
        let wire = [
            command(1, b"body", 5),
            b"paylo".to_vec(),
            command(2, b"", 0),
        ]
        .concat();
        buffer.spare()[..wire.len()].copy_from_slice(&wire);
        buffer.filled(wire.len());
        assert_eq!(
            buffer.command(1).expect("valid").expect("whole").body,
            b"body"
        );
        assert_eq!(buffer.take(3), b"pay");
        assert_eq!(buffer.take(2), b"lo");
        assert_eq!(buffer.command(2).expect("valid").expect("whole").body, b"");
        assert_eq!(buffer.take(9), b"");
    }
}
