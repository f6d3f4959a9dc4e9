// SPDX-License-Identifier: Apache-2.0
//! The entries of a fatbin.

use std::borrow::Cow;
use std::fmt;

use crate::FatbinError;
use crate::bytes::{slice, u16_at, u32_at, u64_at, within};
use crate::limits::{ENTRY_COUNT_MAX, MEMBER_COUNT_MAX, UNCOMPRESSED_BYTES_MAX};
use crate::size::fatbin_total_size;

const KIND_PTX: u16 = 0x0001;
const KIND_ELF: u16 = 0x0002;
const KIND_CONCATENATED: u16 = 0x0100;

const FLAG_LZ4: u64 = 0x2000;
const FLAG_ZSTD: u64 = 0x8000;
const FLAG_ARCH_SPECIFIC: u64 = 0x0010_0000;
const FLAG_FAMILY_SPECIFIC: u64 = 0x0020_0000;

const ENTRY_HEADER_BYTES: u64 = 64;
const MEMBER_TABLE_HEADER_BYTES: u64 = 8;

/// What an entry holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryKind {
    /// An ELF cubin for one architecture.
    Elf,
    /// Something else, for example link-time optimisation IR: its number.
    Other(u16),
    /// PTX text.
    Ptx,
}

/// A compute capability: 8.0 is `ComputeCapability { major: 8, minor: 0 }`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ComputeCapability {
    /// Major number.
    pub major: u32,
    /// Minor number, below 10.
    pub minor: u32,
}

impl ComputeCapability {
    /// From the number of an `sm_` or `compute_` name: 80, 103.
    #[must_use]
    pub const fn from_arch(arch: u32) -> Self {
        Self {
            major: arch / 10,
            minor: arch % 10,
        }
    }
}

/// On which devices code for an architecture runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Portability {
    /// `sm_90a`: on that compute capability alone.
    ArchSpecific,
    /// `sm_100f`: on devices of the same family, here the same major number, not older.
    FamilySpecific,
    /// No suffix: PTX on all newer devices, ELF on newer ones of the same major number.
    Portable,
}

/// One PTX text, ELF cubin or other image inside a fatbin. Its payload may be compressed.
#[derive(Clone)]
pub struct Entry<'a> {
    kind: EntryKind,
    arch: u32,
    portability: Portability,
    payload: Payload<'a>,
}

impl<'a> Entry<'a> {
    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// The architecture it was made for.
    #[must_use]
    pub fn compute_capability(&self) -> ComputeCapability {
        ComputeCapability::from_arch(self.arch)
    }

    /// On which other devices it runs.
    #[must_use]
    pub fn portability(&self) -> Portability {
        self.portability
    }

    /// Whether a driver may run this entry on such a device ("Application Compatibility" of the
    /// CUDA C++ Programming Guide).
    #[must_use]
    pub fn runs_on(&self, device: ComputeCapability) -> bool {
        let made_for = self.compute_capability();
        match (self.kind, self.portability) {
            (EntryKind::Other(_), _) => false,
            (_, Portability::ArchSpecific) => made_for == device,
            (EntryKind::Ptx, Portability::Portable) => made_for <= device,
            (EntryKind::Elf, _) | (_, Portability::FamilySpecific) => {
                made_for.major == device.major && made_for.minor <= device.minor
            }
        }
    }

    /// The payload as it was before compression. An uncompressed one may end in padding.
    ///
    /// # Errors
    /// [`FatbinError`] where it does not decompress to its promised size.
    pub fn data(&self) -> Result<Cow<'a, [u8]>, FatbinError> {
        match self.payload {
            Payload::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
            Payload::Packed(packed) => packed.unpack().map(Cow::Owned),
            Payload::Member { outer, offset, len } => match outer {
                Container::Plain(bytes) => {
                    slice(bytes, offset, len, "concatenated member").map(Cow::Borrowed)
                }
                Container::Packed(packed) => {
                    let whole = packed.unpack()?;
                    slice(&whole, offset, len, "concatenated member")
                        .map(|bytes| Cow::Owned(bytes.to_vec()))
                }
            },
        }
    }

    /// The text of a PTX entry, without the terminating NUL and padding.
    ///
    /// # Errors
    /// As [`Entry::data`].
    pub fn text(&self) -> Result<Cow<'a, [u8]>, FatbinError> {
        let mut data = self.data()?;
        let len = data
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(data.len());
        match &mut data {
            Cow::Borrowed(bytes) => *bytes = &bytes[..len],
            Cow::Owned(bytes) => bytes.truncate(len),
        }
        Ok(data)
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `PTX compute_75`, `ELF sm_90a`.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arch = self.arch;
        match self.kind {
            EntryKind::Ptx => write!(f, "PTX compute_{arch}")?,
            EntryKind::Elf => write!(f, "ELF sm_{arch}")?,
            EntryKind::Other(kind) => write!(f, "kind {kind:#x} sm_{arch}")?,
        }
        match self.portability {
            Portability::ArchSpecific => write!(f, "a"),
            Portability::FamilySpecific => write!(f, "f"),
            Portability::Portable => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Payload<'a> {
    Plain(&'a [u8]),
    Packed(Packed<'a>),
    Member {
        outer: Container<'a>,
        offset: u64,
        len: u64,
    },
}

#[derive(Clone, Copy)]
enum Container<'a> {
    Plain(&'a [u8]),
    Packed(Packed<'a>),
}

#[derive(Clone, Copy)]
struct Packed<'a> {
    method: Method,
    bytes: &'a [u8],
    unpacked_len: usize,
}

#[derive(Clone, Copy)]
enum Method {
    Lz4,
    Zstd,
}

impl Packed<'_> {
    fn unpack(&self) -> Result<Vec<u8>, FatbinError> {
        let (method, result) = match self.method {
            Method::Zstd => (
                "zstd",
                zstd::bulk::decompress(self.bytes, self.unpacked_len).map_err(|e| e.to_string()),
            ),
            Method::Lz4 => (
                "LZ4",
                lz4_flex::block::decompress(self.bytes, self.unpacked_len)
                    .map_err(|e| e.to_string()),
            ),
        };
        let data = result.map_err(|reason| FatbinError::Decompress { method, reason })?;
        if data.len() != self.unpacked_len {
            let reason = format!("{} bytes instead of {}", data.len(), self.unpacked_len);
            return Err(FatbinError::Decompress { method, reason });
        }
        Ok(data)
    }
}

/// The stored form of one entry: header and payload, to be copied as they are.
pub(crate) struct StoredEntry<'a> {
    pub(crate) bytes: &'a [u8],
    /// Which of [`Fatbin::entries`] it holds.
    pub(crate) entries: std::ops::Range<usize>,
}

/// A parsed raw fatbin.
///
/// Layout, little endian: header (u32 magic `0xBA55ED50`, u16 version, u16 header size, u64 size of
/// what follows), then entries. An entry: u16 kind, u16 version, u32 header size, u64 payload size
/// with padding, u32 compressed size at +16, u32 offset of the options at +20, u32 architecture at
/// +28, u32 offset and u32 length of the file name at +32, u64 flags at +40, u64 uncompressed size
/// at +56. A concatenated entry (kind `0x100`) has, after the 64 bytes, u32 count and u32 table
/// size, then a header for each member in which +4 is the u32 offset and +8 the u64 size of the
/// member in the unpacked payload, each followed by its name and options.
/// (From what `fatbinary` of CUDA 11.8 to 13.5 writes.)
pub struct Fatbin<'a> {
    header: &'a [u8],
    entries: Vec<Entry<'a>>,
    stored: Vec<StoredEntry<'a>>,
}

impl<'a> Fatbin<'a> {
    /// Parses a raw fatbin; bytes after its end are ignored. Nothing is decompressed yet.
    ///
    /// # Errors
    /// [`FatbinError`] where it is cut short or malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FatbinError> {
        let total = fatbin_total_size(bytes)?;
        let header_len = u64::from(u16_at(bytes, 6, "fatbin header")?);
        let bytes = slice(bytes, 0, total, "fatbin")?;
        let header = slice(bytes, 0, header_len, "fatbin header")?;
        let mut fatbin = Self {
            header,
            entries: Vec::new(),
            stored: Vec::new(),
        };
        let mut offset = header_len;
        while offset < total {
            offset = fatbin.read_entry(bytes, offset)?;
        }
        Ok(fatbin)
    }

    /// The entries in file order, the members of concatenated ones included.
    #[must_use]
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    pub(crate) fn header(&self) -> &'a [u8] {
        self.header
    }

    pub(crate) fn stored(&self) -> &[StoredEntry<'a>] {
        &self.stored
    }

    fn read_entry(&mut self, bytes: &'a [u8], offset: u64) -> Result<u64, FatbinError> {
        let what = "fatbin entry";
        let header_len = u64::from(u32_at(bytes, offset + 4, what)?);
        if header_len < ENTRY_HEADER_BYTES {
            return Err(FatbinError::BadField {
                what: "entry header size",
                value: header_len,
            });
        }
        let header = slice(bytes, offset, header_len, what)?;
        let payload_len = u64_at(header, 8, what)?;
        let payload = slice(bytes, offset + header_len, payload_len, "fatbin payload")?;
        let first = self.entries.len();
        let container = read_container(header, payload)?;
        if u16_at(header, 0, what)? == KIND_CONCATENATED {
            self.read_members(header, container)?;
        } else {
            let payload = match container {
                Container::Plain(bytes) => Payload::Plain(bytes),
                Container::Packed(packed) => Payload::Packed(packed),
            };
            self.push(header, payload)?;
        }
        let stored = slice(bytes, offset, header_len + payload_len, what)?;
        self.stored.push(StoredEntry {
            bytes: stored,
            entries: first..self.entries.len(),
        });
        Ok(offset + header_len + payload_len)
    }

    fn read_members(&mut self, header: &[u8], outer: Container<'a>) -> Result<(), FatbinError> {
        let what = "concatenated entry";
        let count = u32_at(header, ENTRY_HEADER_BYTES, what)?;
        within(
            "member count",
            u64::from(count),
            u64::from(MEMBER_COUNT_MAX),
        )?;
        let mut at = ENTRY_HEADER_BYTES + MEMBER_TABLE_HEADER_BYTES;
        for _ in 0..count {
            let fixed = slice(header, at, ENTRY_HEADER_BYTES, what)?;
            let offset = u64::from(u32_at(fixed, 4, what)?);
            let len = u64_at(fixed, 8, what)?;
            self.push(fixed, Payload::Member { outer, offset, len })?;
            at += member_header_len(header, at)?;
        }
        Ok(())
    }

    fn push(&mut self, header: &[u8], payload: Payload<'a>) -> Result<(), FatbinError> {
        within(
            "entry count",
            self.entries.len() as u64 + 1,
            ENTRY_COUNT_MAX as u64,
        )?;
        let what = "fatbin entry";
        let kind = match u16_at(header, 0, what)? {
            KIND_PTX => EntryKind::Ptx,
            KIND_ELF => EntryKind::Elf,
            other => EntryKind::Other(other),
        };
        let flags = u64_at(header, 40, what)?;
        let portability = if flags & FLAG_ARCH_SPECIFIC != 0 {
            Portability::ArchSpecific
        } else if flags & FLAG_FAMILY_SPECIFIC != 0 {
            Portability::FamilySpecific
        } else {
            Portability::Portable
        };
        self.entries.push(Entry {
            kind,
            arch: u32_at(header, 28, what)?,
            portability,
            payload,
        });
        Ok(())
    }
}

/// Length of a member's header: the fixed part, a file name and the compiler's options, each
/// present or not, NUL-terminated and padded to 8 bytes.
fn member_header_len(table: &[u8], at: u64) -> Result<u64, FatbinError> {
    let what = "concatenated entry";
    let text_len = |len: u32| (u64::from(len) + 1).next_multiple_of(8);
    let mut len = ENTRY_HEADER_BYTES;
    if u32_at(table, at + 32, what)? != 0 {
        len += text_len(u32_at(table, at + 36, what)?);
    }
    let options = u64::from(u32_at(table, at + 20, what)?);
    if options != 0 {
        len += 8 + text_len(u32_at(table, at + options + 4, what)?);
    }
    Ok(len)
}

fn read_container<'a>(header: &[u8], payload: &'a [u8]) -> Result<Container<'a>, FatbinError> {
    let what = "fatbin entry";
    let flags = u64_at(header, 40, what)?;
    let method = match (flags & FLAG_ZSTD != 0, flags & FLAG_LZ4 != 0) {
        (false, false) => return Ok(Container::Plain(payload)),
        (true, false) => Method::Zstd,
        (false, true) => Method::Lz4,
        (true, true) => {
            return Err(FatbinError::BadField {
                what: "entry flags",
                value: flags,
            });
        }
    };
    let packed_len = u64::from(u32_at(header, 16, what)?);
    let unpacked_len = u64_at(header, 56, what)?;
    within("uncompressed size", unpacked_len, UNCOMPRESSED_BYTES_MAX)?;
    Ok(Container::Packed(Packed {
        method,
        bytes: slice(payload, 0, packed_len, "compressed payload")?,
        unpacked_len: usize::try_from(unpacked_len).map_err(|_| FatbinError::BadField {
            what,
            value: unpacked_len,
        })?,
    }))
}
