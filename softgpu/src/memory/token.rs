// SPDX-License-Identifier: Apache-2.0
//! Files of the system's without a name that processes of one user share, and the 64 bytes by which
//! one process tells another of a thing in such a file.
//!
//! A token names the process, its descriptor and the file's number, so that another process can
//! open the file under `/proc`, which the system allows to the same user only; the secret is
//! compared with what the file holds, so that only who was given a token can use it.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

/// Tells these tokens from those of other drivers, and from other versions.
const MAGIC: [u8; 7] = *b"GVsgpu1";
/// What `/proc` says of such a file before what it is, and behind it.
const LINK_HEAD: &str = "/memfd:gvirtus-";
const LINK_TAIL: &str = " (deleted)";

/// What a file or a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The exported part of a device's memory; a token is that of an allocation.
    Memory,
    /// One physical allocation.
    Physical,
    /// An event.
    Event,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Physical => "physical",
            Self::Event => "event",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Memory => 1,
            Self::Physical => 2,
            Self::Event => 3,
        }
    }
}

/// A number that nobody guesses.
pub type Secret = [u8; 16];

/// # Errors
///
/// If the system has no random numbers.
pub fn new_secret() -> std::io::Result<Secret> {
    let mut secret = [0; 16];
    // SAFETY: so many bytes of a local.
    let count = unsafe { libc::getrandom(secret.as_mut_ptr().cast(), secret.len(), 0) };
    match usize::try_from(count) {
        Ok(count) if count == secret.len() => Ok(secret),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A file of fixed size that may be mapped by several processes.
#[derive(Debug)]
pub struct SharedFile {
    file: OwnedFd,
    /// Of the device that it belongs to, in its machine.
    pub number: i32,
    /// Bytes.
    pub bytes: u64,
    inode: u64,
}

impl SharedFile {
    /// A new file, all zeros.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn create(purpose: Purpose, number: i32, bytes: u64) -> std::io::Result<Self> {
        let name = format!("gvirtus-{}-{number}", purpose.name());
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create(name, flags)?;
        rustix::fs::ftruncate(&file, bytes)?;
        rustix::fs::fcntl_add_seals(&file, seals())?;
        Self::new(file, number)
    }

    fn new(file: OwnedFd, number: i32) -> std::io::Result<Self> {
        let status = rustix::fs::fstat(&file)?;
        Ok(Self {
            file,
            number,
            bytes: status.st_size.unsigned_abs(),
            inode: status.st_ino,
        })
    }

    /// A file that another process has made, from a descriptor of this one.
    ///
    /// # Errors
    ///
    /// If it is no such file, or one whose size could be changed.
    pub fn adopt(file: OwnedFd, purpose: Purpose) -> std::io::Result<Self> {
        let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let number = (link.to_str())
            .and_then(|link| link.strip_prefix(LINK_HEAD)?.strip_suffix(LINK_TAIL))
            .and_then(|name| name.strip_prefix(purpose.name())?.strip_prefix('-'))
            .and_then(|number| number.parse().ok())
            .filter(|number| *number >= 0)
            .ok_or(std::io::ErrorKind::InvalidData)?;
        if !rustix::fs::fcntl_get_seals(&file)?.contains(seals()) {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        Self::new(file, number)
    }

    /// The file that a token tells of.
    ///
    /// # Errors
    ///
    /// If this process cannot reach it or it is another one.
    pub fn open(token: &Token) -> std::io::Result<Self> {
        let path = format!("/proc/{}/fd/{}", token.process, token.descriptor);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        // Nothing else is opened for writing, which could have effects.
        let link = fs::read_link(&path)?;
        if !link
            .to_str()
            .is_some_and(|link| link.starts_with(LINK_HEAD))
        {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let file = Self::adopt(file, token.purpose)?;
        match file.inode == token.inode {
            true => Ok(file),
            false => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }

    /// What tells other processes of the thing with this number and secret.
    #[must_use]
    pub fn token(&self, purpose: Purpose, index: u32, secret: Secret) -> Token {
        Token {
            purpose,
            process: std::process::id(),
            descriptor: self.file.as_raw_fd(),
            inode: self.inode,
            index,
            secret,
        }
    }

    /// The file itself.
    #[must_use]
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Whether a token is of this file.
    #[must_use]
    pub fn is_of(&self, token: &Token) -> bool {
        self.inode == token.inode
    }
}

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL
}

/// What a process tells others of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub purpose: Purpose,
    /// Whose it is.
    pub process: u32,
    descriptor: i32,
    inode: u64,
    /// Which one in the file.
    pub index: u32,
    /// As the file has it.
    pub secret: Secret,
}

impl Token {
    /// | bytes | meaning |
    /// |---|---|
    /// | 0–6 | `GVsgpu1` |
    /// | 7 | purpose |
    /// | 8–11, 12–15 | process, descriptor |
    /// | 16–23 | number of the file |
    /// | 24–27 | index |
    /// | 28–43 | secret |
    /// | 44–63 | zero |
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..7].copy_from_slice(&MAGIC);
        bytes[7] = self.purpose.number();
        bytes[8..12].copy_from_slice(&self.process.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.descriptor.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.inode.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.index.to_le_bytes());
        bytes[28..44].copy_from_slice(&self.secret);
        bytes
    }

    /// Reads [`Token::to_bytes`]; nothing if it is not one of this purpose.
    #[must_use]
    pub fn parse(bytes: &[u8; 64], purpose: Purpose) -> Option<Self> {
        let is_token = bytes.starts_with(&MAGIC)
            && bytes[7] == purpose.number()
            && bytes[44..].iter().all(|byte| *byte == 0);
        let field = |start: usize| bytes[start..].first_chunk::<4>().copied();
        is_token.then_some(Self {
            purpose,
            process: u32::from_le_bytes(field(8)?),
            descriptor: i32::from_le_bytes(field(12)?),
            inode: u64::from_le_bytes(*bytes[16..].first_chunk::<8>()?),
            index: u32::from_le_bytes(field(24)?),
            secret: *bytes[28..].first_chunk::<16>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written() {
        let file = SharedFile::create(Purpose::Event, 3, 4096).expect("memfd");
        let secret = new_secret().expect("random");
        let token = file.token(Purpose::Event, 7, secret);
        let bytes = token.to_bytes();
        assert_eq!(Token::parse(&bytes, Purpose::Event), Some(token));
        assert_eq!(Token::parse(&bytes, Purpose::Memory), None);
        let mut wrong = bytes;
        wrong[0] ^= 1;
        assert_eq!(Token::parse(&wrong, Purpose::Event), None);
        let again = SharedFile::open(&token).expect("own file");
        assert_eq!((again.number, again.bytes), (3, 4096));
        assert!(again.is_of(&token));
    }

    #[test]
    fn other_files_are_refused() {
        let file = SharedFile::create(Purpose::Event, 0, 4096).expect("memfd");
        let token = file.token(Purpose::Event, 0, [0; 16]);
        let wrong = [
            Token {
                descriptor: 0,
                ..token
            },
            Token {
                inode: token.inode + 1,
                ..token
            },
            Token {
                process: u32::MAX,
                ..token
            },
            Token {
                purpose: Purpose::Memory,
                ..token
            },
        ];
        for token in wrong {
            assert!(SharedFile::open(&token).is_err(), "{token:?}");
        }
        let unsealed = rustix::fs::memfd_create("gvirtus-event-0", MemfdFlags::CLOEXEC);
        let unsealed = unsealed.expect("memfd");
        assert!(SharedFile::adopt(unsealed, Purpose::Event).is_err());
    }
}
