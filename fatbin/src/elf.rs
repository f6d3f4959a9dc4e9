// SPDX-License-Identifier: Apache-2.0
//! What a linker is given besides PTX and fatbins: sections of ELF files, members of archives.

use crate::bytes::{slice, u16_at, u32_at, u64_at, within};
use crate::limits::ELF_TABLE_COUNT_MAX;
use crate::{FatbinError, ImageKind, image_kind};

const SECTION_HEADER_BYTES: u64 = 64;
const SECTION_TYPE_NOBITS: u32 = 8;
const ARCHIVE_MAGIC: &[u8] = b"!<arch>\n";
const MEMBER_HEADER_BYTES: u64 = 60;
const MEMBER_END: &[u8] = b"`\n";

/// A section of an ELF file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ElfSection<'a> {
    /// Empty where the file gives none.
    pub name: &'a [u8],
    /// Empty for sections that take no room in the file.
    pub bytes: &'a [u8],
}

/// The sections of a 64-bit ELF file (System V ABI, "Sections").
///
/// # Errors
///
/// [`FatbinError`] where it is no such file, or says what cannot be.
pub fn elf_sections(file: &[u8]) -> Result<Vec<ElfSection<'_>>, FatbinError> {
    let header = "ELF header";
    if image_kind(file) != Some(ImageKind::Elf) {
        return Err(FatbinError::UnknownImage);
    }
    let table = u64_at(file, 40, header)?;
    let entry_bytes = u64::from(u16_at(file, 58, header)?);
    let count = u64::from(u16_at(file, 60, header)?);
    let names_index = u64::from(u16_at(file, 62, header)?);
    if count == 0 {
        return Ok(Vec::new());
    }
    let what = "ELF section table";
    if entry_bytes < SECTION_HEADER_BYTES {
        return Err(FatbinError::BadField {
            what,
            value: entry_bytes,
        });
    }
    within(what, count, ELF_TABLE_COUNT_MAX)?;
    let table = slice(file, table, entry_bytes * count, what)?;
    let contents = |index: u64| -> Result<&[u8], FatbinError> {
        let at = index * entry_bytes;
        if u32_at(table, at + 4, what)? == SECTION_TYPE_NOBITS {
            return Ok(&[]);
        }
        let (offset, bytes) = (u64_at(table, at + 24, what)?, u64_at(table, at + 32, what)?);
        slice(file, offset, bytes, "ELF section")
    };
    let names = match names_index < count {
        true => contents(names_index)?,
        false => &[],
    };
    (0..count)
        .map(|index| {
            let name = u32_at(table, index * entry_bytes, what)?;
            let name = names.get(name as usize..).unwrap_or_default();
            let end = name.iter().position(|byte| *byte == 0);
            Ok(ElfSection {
                name: &name[..end.unwrap_or(name.len())],
                bytes: contents(index)?,
            })
        })
        .collect()
}

/// Whether some bytes begin as an archive of object files does.
#[must_use]
pub fn is_archive(file: &[u8]) -> bool {
    file.starts_with(ARCHIVE_MAGIC)
}

/// The object files of an archive (`ar`); its tables of symbols and names are left out.
///
/// # Errors
///
/// [`FatbinError`] where it is none, or ends early.
pub fn archive_members(file: &[u8]) -> Result<Vec<&[u8]>, FatbinError> {
    let what = "archive member";
    if !is_archive(file) {
        return Err(FatbinError::UnknownImage);
    }
    let mut members = Vec::new();
    let mut at = ARCHIVE_MAGIC.len() as u64;
    while at < file.len() as u64 {
        let header = slice(file, at, MEMBER_HEADER_BYTES, what)?;
        if &header[58..] != MEMBER_END {
            return Err(FatbinError::Truncated { what, offset: at });
        }
        let digits = header[48..58].trim_ascii();
        let bytes = std::str::from_utf8(digits)
            .ok()
            .and_then(|d| d.parse().ok());
        let bytes: u64 = bytes.ok_or(FatbinError::Truncated { what, offset: at })?;
        let start = at + MEMBER_HEADER_BYTES;
        let member = slice(file, start, bytes, what)?;
        if !header.starts_with(b"/ ") && !header.starts_with(b"//") {
            members.push(member);
        }
        // Members start at even offsets.
        at = start + bytes + bytes % 2;
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_list_or_an_error(
            mut bytes in prop::collection::vec(any::<u8>(), 64..400),
        ) {
            bytes[..5].copy_from_slice(b"\x7fELF\x02");
            // Small numbers, so that the tables are sometimes inside.
            let [table, count, names] = [bytes[40], bytes[60] % 4, bytes[62] % 4];
            bytes[40..48].copy_from_slice(&u64::from(table).to_le_bytes());
            bytes[58..60].copy_from_slice(&[64, 0]);
            bytes[60..64].copy_from_slice(&[count, 0, names, 0]);
            let _ = elf_sections(&bytes);
            bytes[..8].copy_from_slice(ARCHIVE_MAGIC);
            let _ = archive_members(&bytes);
        }
    }

    #[test]
    fn archives_give_their_objects() {
        let member = |name: &str, contents: &str| {
            let mut text = format!("{name:<48}{:<10}`\n{contents}", contents.len());
            if contents.len() % 2 == 1 {
                text.push('\n');
            }
            text
        };
        let archive = [
            "!<arch>\n".to_owned(),
            member("/", "symbols"),
            member("//", "names"),
            member("a.o/", "one"),
            member("/12", "four"),
        ]
        .concat();
        let members = archive_members(archive.as_bytes()).expect("valid");
        assert_eq!(members, [&b"one"[..], b"four"]);
        assert!(archive_members(&archive.as_bytes()[..archive.len() - 3]).is_err());
        assert!(archive_members(b"\x7fELF").is_err());
    }
}
