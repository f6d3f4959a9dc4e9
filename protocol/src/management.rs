// SPDX-License-Identifier: Apache-2.0
//! What follows the handshake of a connection for NVML: requests and replies.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | bytes of the body, at most [`MANAGEMENT_BYTES_MAX`], little-endian |
//! | 4 | | body: a [`Request`] or [`Reply`] in postcard |
//!
//! A function is named by its place in the table of NVML, which both sides were built from. The
//! first request of a connection is `nvmlInitWithFlags`. Replies of functions that wait may be
//! overtaken by others, so a reply names its request.

use serde::{Deserialize, Serialize};

use crate::limits::MANAGEMENT_BYTES_MAX;

/// Bytes before the body.
pub const LENGTH_BYTES: usize = 4;

/// What a function gets for one of its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A number by value, or the token of a handle.
    Word(u64),
    /// A pointer to nothing.
    Null,
    /// A pointer, and what the function reads there; handles within are tokens, and pointers within
    /// are 0 or 1.
    Memory(Vec<u8>),
}

/// Calls a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Names the request.
    pub number: u64,
    /// Place of the function in the table.
    pub function: u16,
    /// One for each argument.
    pub arguments: Vec<Input>,
}

/// What a function answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// That of the request.
    pub number: u64,
    /// An `nvmlReturn_t`.
    pub status: u32,
    /// What the function wrote for each argument; empty where it wrote nothing.
    pub outputs: Vec<Vec<u8>>,
}

/// A message that the peer must not send. The connection is of no use after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManagementError {
    /// The peer announces too much.
    #[error("the peer announces a message of {0} bytes, which is over the limit")]
    TooLong(usize),
    /// The bytes are not what they should be.
    #[error("the peer's message cannot be read")]
    Malformed,
}

/// Bytes of the body that follows.
///
/// # Errors
///
/// [`ManagementError::TooLong`].
pub fn body_bytes(length: [u8; LENGTH_BYTES]) -> Result<usize, ManagementError> {
    match u32::from_le_bytes(length) as usize {
        length if length > MANAGEMENT_BYTES_MAX => Err(ManagementError::TooLong(length)),
        length => Ok(length),
    }
}

macro_rules! message {
    ($type:ty) => {
        impl $type {
            /// Length and body.
            ///
            /// # Errors
            ///
            /// [`ManagementError::TooLong`].
            pub fn encode(&self) -> Result<Vec<u8>, ManagementError> {
                encode(self)
            }

            /// Reads the body that [`body_bytes`] announced.
            ///
            /// # Errors
            ///
            /// [`ManagementError::Malformed`].
            pub fn decode(body: &[u8]) -> Result<Self, ManagementError> {
                match postcard::take_from_bytes(body) {
                    Ok((message, [])) => Ok(message),
                    _ => Err(ManagementError::Malformed),
                }
            }
        }
    };
}

message!(Request);
message!(Reply);

fn encode(message: &impl Serialize) -> Result<Vec<u8>, ManagementError> {
    let body = postcard::to_stdvec(message).expect("plain data in memory always serialises");
    if body.len() > MANAGEMENT_BYTES_MAX {
        return Err(ManagementError::TooLong(body.len()));
    }
    let length = u32::try_from(body.len()).expect("the limit fits");
    Ok([&length.to_le_bytes()[..], &body].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> Request {
        Request {
            number: 7,
            function: 300,
            arguments: vec![Input::Word(1), Input::Null, Input::Memory(vec![1, 2, 3])],
        }
    }

    fn body(message: &[u8]) -> &[u8] {
        let (length, body) = message.split_first_chunk().expect("a length");
        assert_eq!(body_bytes(*length), Ok(body.len()));
        body
    }

    #[test]
    fn messages_return_as_they_were() {
        let message = request().encode().expect("short");
        assert_eq!(Request::decode(body(&message)), Ok(request()));
        let reply = Reply {
            number: 7,
            status: 999,
            outputs: vec![Vec::new(), b"text".to_vec()],
        };
        let message = reply.encode().expect("short");
        assert_eq!(Reply::decode(body(&message)), Ok(reply));
    }

    #[test]
    fn what_is_too_long_is_neither_sent_nor_read() {
        let mut request = request();
        request.arguments = vec![Input::Memory(vec![0; MANAGEMENT_BYTES_MAX])];
        assert!(matches!(request.encode(), Err(ManagementError::TooLong(_))));
        let announced = body_bytes([0xff; 4]);
        assert_eq!(announced, Err(ManagementError::TooLong(u32::MAX as usize)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_message(bytes: Vec<u8>, cut in 0_usize..20) {
            let _ = (Request::decode(&bytes), Reply::decode(&bytes));
            let message = request().encode().expect("short");
            let body = body(&message);
            let cut = cut.min(body.len() - 1);
            prop_assert_eq!(Request::decode(&body[..cut]), Err(ManagementError::Malformed));
        }
    }
}
