// SPDX-License-Identifier: Apache-2.0
//! Fatbins that CUDA's own tool wrote, and broken ones.

use std::ffi::c_void;
use std::ptr;

use gvirtus_fatbin::{
    ComputeCapability, EntryKind, FATBIN_MAGIC, Fatbin, FatbinError, ImageKind, ImageSize,
    Portability, WRAPPER_MAGIC, fatbin_total_size, image_at, image_kind, image_size,
};
use proptest::prelude::*;

const SAMPLES: [(&str, &[u8]); 5] = [
    ("none", include_bytes!("data/none.fatbin")),
    ("speed", include_bytes!("data/speed.fatbin")),
    ("balance", include_bytes!("data/balance.fatbin")),
    ("concat-speed", include_bytes!("data/concat-speed.fatbin")),
    (
        "concat-balance",
        include_bytes!("data/concat-balance.fatbin"),
    ),
];
const CUBIN_ONLY: &[u8] = include_bytes!("data/cubin-only.fatbin");

const CC_75: ComputeCapability = ComputeCapability { major: 7, minor: 5 };
const CC_80: ComputeCapability = ComputeCapability { major: 8, minor: 0 };

fn text_of(entry: &gvirtus_fatbin::Entry<'_>) -> String {
    String::from_utf8(entry.text().unwrap().into_owned()).unwrap()
}

#[test]
fn every_form_holds_the_same_entries() {
    for (name, bytes) in SAMPLES {
        let fatbin = Fatbin::parse(bytes).unwrap();
        let mut names: Vec<String> = fatbin.entries().iter().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(
            names,
            [
                "ELF sm_75",
                "PTX compute_100f",
                "PTX compute_75",
                "PTX compute_80",
                "PTX compute_90a"
            ],
            "{name}"
        );
        for entry in fatbin.entries() {
            match entry.kind() {
                EntryKind::Ptx => {
                    let text = text_of(entry);
                    assert!(text.contains(".visible .entry scale("), "{name}");
                    let target = entry.to_string().replace("PTX compute_", ".target sm_");
                    assert!(text.contains(&target), "{name}: {target}");
                    assert!(text.trim_end().ends_with('}'), "{name}");
                }
                _ => assert!(entry.data().unwrap().starts_with(b"\x7fELF"), "{name}"),
            }
        }
    }
}

#[test]
fn the_newest_ptx_that_runs_is_selected() {
    for (name, bytes) in SAMPLES {
        let fatbin = Fatbin::parse(bytes).unwrap();
        let selected = |cc| fatbin.select_ptx(cc).map(ToString::to_string);
        assert_eq!(selected(CC_80).unwrap(), "PTX compute_80", "{name}");
        assert_eq!(selected(CC_75).unwrap(), "PTX compute_75", "{name}");
        // Suffixed PTX is for other devices even where the number matches.
        let hopper = ComputeCapability::from_arch(90);
        assert_eq!(selected(hopper).unwrap(), "PTX compute_80", "{name}");
        let volta = selected(ComputeCapability::from_arch(70));
        assert!(
            matches!(volta, Err(FatbinError::NoBinaryForGpu { .. })),
            "{name}"
        );
        let newer = fatbin.select_newer_ptx().map(ToString::to_string);
        assert_eq!(newer.as_deref(), Some("PTX compute_75"), "{name}");
    }
}

#[test]
fn ptx_for_newer_devices_is_kept_where_there_is_no_other() {
    let volta = [ComputeCapability::from_arch(70)];
    for (name, bytes) in SAMPLES {
        let fatbin = Fatbin::parse(bytes).unwrap();
        let reduced = fatbin.reduced_for(&volta).expect("cubins are left out");
        let reduced = Fatbin::parse(&reduced).unwrap();
        let newer = reduced.select_newer_ptx().map(ToString::to_string);
        assert_eq!(newer.as_deref(), Some("PTX compute_75"), "{name}");
    }
}

#[test]
fn a_cubin_alone_is_no_binary_for_a_ptx_device() {
    let fatbin = Fatbin::parse(CUBIN_ONLY).unwrap();
    let error = fatbin.select_ptx(CC_80).unwrap_err();
    let held = "ELF sm_75".to_owned();
    assert_eq!(
        error,
        FatbinError::NoBinaryForGpu {
            major: 8,
            minor: 0,
            held
        }
    );
}

#[test]
fn compatibility_follows_the_programming_guide() {
    let fatbin = Fatbin::parse(SAMPLES[0].1).unwrap();
    let entry = |name: &str| {
        fatbin
            .entries()
            .iter()
            .find(|e| e.to_string() == name)
            .unwrap()
    };
    let runs = |name: &str, arch| entry(name).runs_on(ComputeCapability::from_arch(arch));
    assert!(runs("ELF sm_75", 75) && !runs("ELF sm_75", 80) && !runs("ELF sm_75", 72));
    assert!(runs("PTX compute_80", 80) && runs("PTX compute_80", 120));
    assert!(!runs("PTX compute_80", 75));
    assert!(runs("PTX compute_90a", 90) && !runs("PTX compute_90a", 100));
    assert!(runs("PTX compute_100f", 103) && !runs("PTX compute_100f", 120));
    assert_eq!(
        entry("PTX compute_90a").portability(),
        Portability::ArchSpecific
    );
}

#[test]
fn reduction_keeps_what_the_devices_use() {
    let fatbin = Fatbin::parse(SAMPLES[0].1).unwrap();
    let names = |bytes: &[u8]| -> Vec<String> {
        Fatbin::parse(bytes)
            .unwrap()
            .entries()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let reduced = fatbin.reduced_for(&[CC_75]).unwrap();
    assert_eq!(fatbin_total_size(&reduced).unwrap(), reduced.len() as u64);
    assert_eq!(names(&reduced), ["ELF sm_75", "PTX compute_75"]);
    let reduced = fatbin.reduced_for(&[CC_75, CC_80]).unwrap();
    assert_eq!(names(&reduced).len(), 3);
    assert!(
        Fatbin::parse(&reduced)
            .unwrap()
            .reduced_for(&[CC_75, CC_80])
            .is_none()
    );
    assert!(names(&fatbin.reduced_for(&[]).unwrap()).is_empty());
}

#[test]
fn kinds_and_sizes_are_told_from_the_beginning() {
    let elf = Fatbin::parse(CUBIN_ONLY).unwrap().entries()[0]
        .data()
        .unwrap()
        .into_owned();
    assert_eq!(image_kind(&elf), Some(ImageKind::Elf));
    // The payload is padded, so the ELF image itself may end a few bytes earlier.
    let ImageSize::NeedsPrefix(prefix) = image_size(&elf[..64]).unwrap() else {
        panic!()
    };
    let ImageSize::Known(size) = image_size(&elf[..prefix as usize]).unwrap() else {
        panic!()
    };
    assert!(
        size <= elf.len() as u64 && size + 8 > elf.len() as u64,
        "{size} {}",
        elf.len()
    );
    assert_eq!(
        image_kind(&FATBIN_MAGIC.to_le_bytes()),
        Some(ImageKind::Fatbin)
    );
    assert_eq!(
        image_size(CUBIN_ONLY).unwrap(),
        ImageSize::Known(CUBIN_ONLY.len() as u64)
    );
    assert_eq!(image_kind(b"\n\n.version 8.0"), Some(ImageKind::Ptx));
    assert_eq!(
        image_size(b"//\n.version\0rest").unwrap(),
        ImageSize::Known(12)
    );
    assert_eq!(
        image_size(b"//\n.version").unwrap(),
        ImageSize::NeedsPrefix(12)
    );
    assert_eq!(image_kind(b"BC\xc0\xde"), None);
    assert_eq!(image_size(b"BC\xc0\xde"), Err(FatbinError::UnknownImage));
}

#[repr(C)]
struct Wrapper {
    magic: u32,
    version: u32,
    data: *const c_void,
    more: *const c_void,
}

#[test]
fn pointers_are_followed() {
    let elf = Fatbin::parse(CUBIN_ONLY).unwrap().entries()[0]
        .data()
        .unwrap()
        .into_owned();
    let mut fatbin = SAMPLES[2].1.to_vec();
    let fatbin_len = fatbin.len();
    fatbin.extend_from_slice(b"what follows in memory");
    let list: [*const c_void; 3] = [
        fatbin.as_ptr().cast(),
        CUBIN_ONLY.as_ptr().cast(),
        ptr::null(),
    ];
    let wrapper = |version, data: *const u8| Wrapper {
        magic: WRAPPER_MAGIC,
        version,
        data: data.cast(),
        more: list.as_ptr().cast(),
    };
    let plain = wrapper(1, fatbin.as_ptr());
    let linked = wrapper(2, CUBIN_ONLY.as_ptr());
    let empty = wrapper(1, ptr::null());
    // SAFETY: each pointer is null or leads to a whole image in a local variable or a constant.
    unsafe {
        let image = image_at(fatbin.as_ptr().cast()).unwrap();
        assert_eq!(
            (image.kind, image.bytes.len()),
            (ImageKind::Fatbin, fatbin_len)
        );
        let image = image_at(ptr::from_ref(&plain).cast()).unwrap();
        assert_eq!(
            (image.kind, image.bytes.len()),
            (ImageKind::Fatbin, fatbin_len)
        );
        assert!(image.prelinked.is_empty());
        let image = image_at(ptr::from_ref(&linked).cast()).unwrap();
        assert_eq!(image.bytes, CUBIN_ONLY);
        assert_eq!(image.prelinked.len(), 2);
        assert_eq!(image.prelinked[1], CUBIN_ONLY);
        let image = image_at(elf.as_ptr().cast()).unwrap();
        assert_eq!(image.kind, ImageKind::Elf);
        let image = image_at(c"//\n.version 8.0\n".as_ptr().cast()).unwrap();
        assert_eq!(
            (image.kind, image.bytes),
            (ImageKind::Ptx, &b"//\n.version 8.0\n"[..])
        );
        let null = Err(FatbinError::NullPointer("image"));
        assert_eq!(image_at(ptr::null()).map(|image| image.bytes), null);
        assert_eq!(
            image_at(ptr::from_ref(&empty).cast()).map(|image| image.bytes),
            null
        );
        let junk = image_at(c"hello".as_ptr().cast()).map(|image| image.bytes);
        assert_eq!(junk, Err(FatbinError::UnknownImage));
    }
}

/// Everything that reads bytes, on bytes that may be anything.
fn read_all(bytes: &[u8]) {
    let _ = image_kind(bytes);
    let _ = image_size(bytes);
    let Ok(fatbin) = Fatbin::parse(bytes) else {
        return;
    };
    for entry in fatbin.entries() {
        let _ = entry.text();
    }
    let _ = fatbin.select_ptx(CC_80);
    if let Some(reduced) = fatbin.reduced_for(&[CC_80]) {
        assert!(Fatbin::parse(&reduced).is_ok());
    }
}

proptest! {
    #[test]
    fn truncation_is_an_error(sample in 0..SAMPLES.len(), cut in any::<prop::sample::Index>()) {
        let bytes = SAMPLES[sample].1;
        let cut = cut.index(bytes.len());
        prop_assert!(Fatbin::parse(&bytes[..cut]).is_err());
        read_all(&bytes[..cut]);
    }

    #[test]
    fn mutation_never_panics(
        sample in 0..SAMPLES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        in_headers in any::<bool>(),
    ) {
        let mut bytes = SAMPLES[sample].1.to_vec();
        let reach = if in_headers { 400 } else { bytes.len() };
        for (at, value) in changes {
            let at = at.index(reach);
            bytes[at] = value;
        }
        read_all(&bytes);
    }

    #[test]
    fn elf_mutation_never_panics(
        changes in prop::collection::vec((0usize..64, any::<u8>()), 1..6),
    ) {
        let mut elf = Fatbin::parse(CUBIN_ONLY).unwrap().entries()[0].data().unwrap().into_owned();
        for (at, value) in changes {
            elf[at] = value;
        }
        read_all(&elf);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&bytes);
        let mut with_magic = FATBIN_MAGIC.to_le_bytes().to_vec();
        with_magic.extend_from_slice(&bytes);
        read_all(&with_magic);
    }
}
