// SPDX-License-Identifier: Apache-2.0
//! Images as an application or a peer gives them: fatbins, ELF files, archives.

#![no_main]

use gvirtus_fatbin::{
    ComputeCapability, Fatbin, archive_members, elf_sections, image_kind, image_size, is_archive,
};
use libfuzzer_sys::fuzz_target;

/// Memory that any image may take, in bytes; a compressed payload may announce a large size.
const FREE_BYTES: usize = 1 << 30;
/// Bytes of memory a byte of image.
const FACTOR: usize = 512;

const DEVICES: [(u32, u32); 3] = [(7, 5), (8, 0), (9, 0)];

fn read(bytes: &[u8]) {
    let _ = image_kind(bytes);
    let _ = image_size(bytes);
    let _ = elf_sections(bytes);
    if is_archive(bytes) {
        let _ = archive_members(bytes);
    }
    let Ok(fatbin) = Fatbin::parse(bytes) else {
        return;
    };
    let devices = DEVICES.map(|(major, minor)| ComputeCapability { major, minor });
    for device in devices {
        if let Ok(entry) = fatbin.select_ptx(device) {
            let _ = entry.text();
        }
    }
    let _ = fatbin.reduced_for(&devices);
    for entry in fatbin.entries() {
        let _ = (entry.kind(), entry.portability());
        if let Ok(data) = entry.data() {
            let _ = elf_sections(&data);
        }
    }
}

fuzz_target!(|input: &[u8]| gvirtus_fuzz::bounded(input, FREE_BYTES, FACTOR, read));
