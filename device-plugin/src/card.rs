// SPDX-License-Identifier: Apache-2.0
//! Cards, and the names of their parts.

use std::fmt;
use std::str::FromStr;

/// Bytes of a UUID.
const UUID_BYTES: usize = 16;
/// Where the text form of a UUID has a dash, in bytes before it.
const DASHES: [usize; 4] = [4, 6, 8, 10];
const PREFIX: &str = "GPU-";
/// Characters of a UUID's text.
const TEXT_CHARACTERS: usize = PREFIX.len() + 2 * UUID_BYTES + DASHES.len();

/// A card's UUID; its text is `GPU-` and hexadecimal digits, as NVML prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; UUID_BYTES]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        for (at, byte) in self.0.iter().enumerate() {
            if DASHES.contains(&at) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A text that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a virtual device")]
pub struct IdError(String);

impl FromStr for Uuid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError(text.to_owned());
        let digits = text.strip_prefix(PREFIX).ok_or_else(error)?;
        let digits: Vec<u8> = digits.bytes().filter(|byte| *byte != b'-').collect();
        let mut bytes = [0; UUID_BYTES];
        if digits.len() != 2 * UUID_BYTES {
            return Err(error());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| error())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
        }
        let uuid = Self(bytes);
        // One card has one text.
        if uuid.to_string() == text {
            Ok(uuid)
        } else {
            Err(error())
        }
    }
}

/// One of the equal parts of a card: `<UUID>-<number>`, below 63 characters as the kubelet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualId {
    /// Whose part it is.
    pub card: Uuid,
    /// From 0.
    pub number: u32,
}

impl fmt::Display for VirtualId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.card, self.number)
    }
}

impl FromStr for VirtualId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError(text.to_owned());
        let (card, rest) = text.split_at_checked(TEXT_CHARACTERS).ok_or_else(error)?;
        let number = rest.strip_prefix('-').ok_or_else(error)?;
        let id = Self {
            card: card.parse().map_err(|_| error())?,
            number: number.parse().map_err(|_| error())?,
        };
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(error())
        }
    }
}

/// A GPU of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Which.
    pub uuid: Uuid,
    /// What it has, in MiB.
    pub memory_mib: u64,
    /// Whether the daemon answers and has it.
    pub is_healthy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "GPU-00112233-4455-6677-8899-aabbccddeeff";

    #[test]
    fn an_id_and_its_text_are_one_to_one() {
        let card: Uuid = TEXT.parse().expect("a UUID");
        assert_eq!(card.to_string(), TEXT);
        let id = VirtualId {
            card,
            number: 59_999,
        };
        assert_eq!(id.to_string(), format!("{TEXT}-59999"));
        assert!(id.to_string().len() <= 63);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            TEXT,
            "GPU-0011",
            &format!("{TEXT}-"),
            &format!("{TEXT}--1"),
            &format!("{TEXT}-01"),
            &format!("{TEXT}-4294967296"),
            &format!("{}-1", TEXT.to_uppercase()),
            &format!("{}é-1", &TEXT[..39]),
        ] {
            assert!(text.parse::<VirtualId>().is_err(), "{text}");
        }
    }
}
