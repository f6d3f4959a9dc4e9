// SPDX-License-Identifier: Apache-2.0
//! `/etc/ld.so.cache`: where the dynamic linker would find a library.
//!
//! glibc's format (`dl-cache.h`): a header of 48 bytes that begins `glibc-ld.so.cache1.1`, entries
//! of 24 bytes (flags, offset of the name, offset of the path, …), then the texts; offsets count
//! from the header. An older cache may stand in front of it.

use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;

/// The paths that the cache lists for the library `name`; none if there is no cache.
pub(crate) fn paths(name: &str) -> Vec<PathBuf> {
    std::fs::read("/etc/ld.so.cache").map_or_else(|_| Vec::new(), |cache| search(&cache, name))
}

fn search(file: &[u8], name: &str) -> Vec<PathBuf> {
    let Some(start) = file.windows(MAGIC.len()).position(|w| w == MAGIC) else {
        return Vec::new();
    };
    let cache = &file[start..];
    let count = word(cache, MAGIC.len()).unwrap_or(0);
    let mut found: Vec<PathBuf> = Vec::new();
    for index in 0..count {
        let entry = HEADER_BYTES + index * ENTRY_BYTES;
        let Some(key) = text_at(cache, entry + 4) else {
            break;
        };
        if key == name
            && let Some(path) = text_at(cache, entry + 8).map(Path::new)
            && path.is_absolute()
            && !found.iter().any(|f| f == path)
        {
            found.push(path.to_owned());
        }
    }
    found
}

fn word(cache: &[u8], at: usize) -> Option<usize> {
    let bytes = cache.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes) as usize)
}

fn text_at(cache: &[u8], at: usize) -> Option<&str> {
    let text = cache.get(word(cache, at)?..)?;
    std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend((entries.len() as u32).to_le_bytes());
        head.resize(HEADER_BYTES, 0);
        let mut texts = Vec::new();
        let base = HEADER_BYTES + entries.len() * ENTRY_BYTES;
        for (name, path) in entries {
            head.extend(3_u32.to_le_bytes());
            for text in [name, path] {
                head.extend(((base + texts.len()) as u32).to_le_bytes());
                texts.extend(text.as_bytes());
                texts.push(0);
            }
            head.extend([0; 12]);
        }
        [b"older cache".to_vec(), head, texts].concat()
    }

    #[test]
    fn listed_paths_are_found() {
        let bytes = cache(&[
            ("libc.so.6", "/lib/libc.so.6"),
            ("libcuda.so.1", "/a/libcuda.so.1"),
            ("libcuda.so.1", "/b/libcuda.so.1"),
        ]);
        let found = search(&bytes, "libcuda.so.1");
        assert_eq!(
            found,
            [Path::new("/a/libcuda.so.1"), Path::new("/b/libcuda.so.1")]
        );
        for cut in 0..bytes.len() {
            let _ = search(&bytes[..cut], "libcuda.so.1");
        }
    }

    #[test]
    fn the_cache_of_this_machine_knows_its_c_library() {
        if Path::new("/etc/ld.so.cache").exists() {
            assert!(!paths("libc.so.6").is_empty());
        }
    }
}
