// SPDX-License-Identifier: Apache-2.0
//! What kind of image some bytes begin, and how long it is.
//!
//! `cuModuleLoadData` and `cuLibraryLoadData` take a pointer and no length. Each kind of image says
//! itself where it ends: a fatbin in its header, an ELF file in its tables, PTX with a NUL.

use crate::bytes::{u16_at, u32_at, u64_at, within};
use crate::limits::{ELF_TABLE_COUNT_MAX, IMAGE_BYTES_MAX};
use crate::{FATBIN_MAGIC, FatbinError, WRAPPER_MAGIC};

/// Bytes that [`image_kind`] needs to see, unless the image is shorter.
pub const IMAGE_KIND_BYTES: usize = 4;

const FATBIN_HEADER_BYTES: u64 = 16;
const ELF_HEADER_BYTES: u64 = 64;
const ELF_MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");
const ELF_CLASS_64: u8 = 2;
const SECTION_HEADER_BYTES: u64 = 64;
const SEGMENT_HEADER_BYTES: u64 = 56;
const SECTION_TYPE_NOBITS: u32 = 8;

/// A kind of device image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ImageKind {
    /// An ELF file: a cubin.
    Elf,
    /// A raw fatbin, `0xBA55ED50`.
    Fatbin,
    /// PTX text, NUL-terminated.
    Ptx,
    /// The wrapper structure that points to a fatbin, `0x466243B1`.
    Wrapper,
}

/// What is known about an image's length after seeing its beginning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ImageSize {
    /// The image is this many bytes long, a terminating NUL included.
    Known(u64),
    /// Call again with at least this many of its first bytes.
    NeedsPrefix(u64),
}

/// Tells the kind of an image from its first [`IMAGE_KIND_BYTES`] bytes, or `None` where it is no
/// known kind.
#[must_use]
pub fn image_kind(prefix: &[u8]) -> Option<ImageKind> {
    match u32_at(prefix, 0, "magic") {
        Ok(FATBIN_MAGIC) => return Some(ImageKind::Fatbin),
        Ok(WRAPPER_MAGIC) => return Some(ImageKind::Wrapper),
        Ok(ELF_MAGIC) => return Some(ImageKind::Elf),
        _ => {}
    }
    // PTX begins with white space, a comment or a directive.
    let first = prefix.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'.' | b'/') => Some(ImageKind::Ptx),
        None if !prefix.is_empty() => Some(ImageKind::Ptx),
        _ => None,
    }
}

/// Total size of a raw fatbin in bytes, from its first 16 bytes.
///
/// # Errors
/// [`FatbinError`] where the bytes are too few or are no fatbin header.
pub fn fatbin_total_size(prefix: &[u8]) -> Result<u64, FatbinError> {
    let magic = u32_at(prefix, 0, "fatbin header")?;
    if magic != FATBIN_MAGIC {
        return Err(FatbinError::UnknownImage);
    }
    let header = u64::from(u16_at(prefix, 6, "fatbin header")?);
    if header < FATBIN_HEADER_BYTES {
        return Err(FatbinError::BadField {
            what: "fatbin header size",
            value: header,
        });
    }
    let body = within(
        "fatbin size",
        u64_at(prefix, 8, "fatbin header")?,
        IMAGE_BYTES_MAX,
    )?;
    Ok(header + body)
}

/// Total size of the image that `prefix` begins.
///
/// A wrapper's size is that of the structure, not of what it points to.
///
/// # Errors
/// [`FatbinError`] where the bytes are those of no image or hold impossible values.
pub fn image_size(prefix: &[u8]) -> Result<ImageSize, FatbinError> {
    if prefix.len() < IMAGE_KIND_BYTES {
        // A PTX text may be shorter, but none that holds anything is.
        return Ok(ImageSize::NeedsPrefix(IMAGE_KIND_BYTES as u64));
    }
    match image_kind(prefix).ok_or(FatbinError::UnknownImage)? {
        ImageKind::Wrapper => Ok(ImageSize::Known(crate::WRAPPER_BYTES)),
        ImageKind::Fatbin if (prefix.len() as u64) < FATBIN_HEADER_BYTES => {
            Ok(ImageSize::NeedsPrefix(FATBIN_HEADER_BYTES))
        }
        ImageKind::Fatbin => fatbin_total_size(prefix).map(ImageSize::Known),
        ImageKind::Elf => elf_size(prefix),
        ImageKind::Ptx => match prefix.iter().position(|&byte| byte == 0) {
            Some(nul) => Ok(ImageSize::Known(nul as u64 + 1)),
            None => {
                let next = within("PTX length", prefix.len() as u64 + 1, IMAGE_BYTES_MAX)?;
                Ok(ImageSize::NeedsPrefix(next))
            }
        },
    }
}

/// The end of the furthest thing an ELF file's tables name.
fn elf_size(prefix: &[u8]) -> Result<ImageSize, FatbinError> {
    let seen = prefix.len() as u64;
    if seen < ELF_HEADER_BYTES {
        return Ok(ImageSize::NeedsPrefix(ELF_HEADER_BYTES));
    }
    if prefix[4] != ELF_CLASS_64 {
        return Err(FatbinError::BadField {
            what: "ELF class",
            value: u64::from(prefix[4]),
        });
    }
    let header = "ELF header";
    let segments = Table {
        what: "ELF segment table",
        offset: u64_at(prefix, 32, header)?,
        entry_bytes: u64::from(u16_at(prefix, 54, header)?),
        count: u64::from(u16_at(prefix, 56, header)?),
    };
    let mut sections = Table {
        what: "ELF section table",
        offset: u64_at(prefix, 40, header)?,
        entry_bytes: u64::from(u16_at(prefix, 58, header)?),
        count: u64::from(u16_at(prefix, 60, header)?),
    };
    if sections.count == 0 && sections.offset != 0 {
        // More than 0xff00 sections: the count is the size field of section 0.
        sections.count = 1;
        let end = sections.end(SECTION_HEADER_BYTES)?;
        if seen < end {
            return Ok(ImageSize::NeedsPrefix(end));
        }
        sections.count = u64_at(prefix, sections.offset + 32, sections.what)?;
    }
    let tables_end = ELF_HEADER_BYTES
        .max(segments.end(SEGMENT_HEADER_BYTES)?)
        .max(sections.end(SECTION_HEADER_BYTES)?);
    if seen < tables_end {
        return Ok(ImageSize::NeedsPrefix(tables_end));
    }
    let mut size = tables_end;
    for at in segments.offsets() {
        let start = u64_at(prefix, at + 8, segments.what)?;
        let len = u64_at(prefix, at + 32, segments.what)?;
        size = size.max(extent(segments.what, start, len)?);
    }
    for at in sections.offsets() {
        if u32_at(prefix, at + 4, sections.what)? == SECTION_TYPE_NOBITS {
            continue;
        }
        let start = u64_at(prefix, at + 24, sections.what)?;
        let len = u64_at(prefix, at + 32, sections.what)?;
        // Section 0 of a file with very many sections holds a count where others hold a size.
        if at != sections.offset {
            size = size.max(extent(sections.what, start, len)?);
        }
    }
    Ok(ImageSize::Known(size))
}

struct Table {
    what: &'static str,
    offset: u64,
    entry_bytes: u64,
    count: u64,
}

impl Table {
    fn end(&self, entry_bytes_min: u64) -> Result<u64, FatbinError> {
        if self.count == 0 {
            return Ok(0);
        }
        if self.entry_bytes < entry_bytes_min {
            return Err(FatbinError::BadField {
                what: self.what,
                value: self.entry_bytes,
            });
        }
        within(self.what, self.count, ELF_TABLE_COUNT_MAX)?;
        extent(self.what, self.offset, self.entry_bytes * self.count)
    }

    fn offsets(&self) -> impl Iterator<Item = u64> + use<'_> {
        (0..self.count).map(|index| self.offset + index * self.entry_bytes)
    }
}

fn extent(what: &'static str, start: u64, len: u64) -> Result<u64, FatbinError> {
    within(what, start.saturating_add(len), IMAGE_BYTES_MAX)
}
