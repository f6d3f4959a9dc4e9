// SPDX-License-Identifier: Apache-2.0
//! The compute capability that the devices say they have, and the sizes that come with it (CUDA
//! programming guide, "Technical Specifications per Compute Capability").
//!
//! It decides which PTX an application brings along, so programs for a newer one may need it set;
//! what the executor runs does not depend on it.

use std::sync::OnceLock;

use gvirtus_driver_face::log;

/// The environment variable that chooses: `7.5`, `8.0`, … `9.0`.
const VARIABLE: &str = "GVIRTUS_SOFTGPU_COMPUTE_CAPABILITY";

/// A compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Shared memory of a block with the opt-in attribute, in bytes.
    pub(super) shared_bytes_per_block: u32,
    /// Shared memory of a multiprocessor, in bytes.
    pub(super) shared_bytes_per_multiprocessor: u32,
    /// Shared memory that the system keeps of each block, in bytes.
    pub(super) reserved_shared_bytes: u32,
    pub(super) threads_per_multiprocessor: u32,
    pub(super) blocks_per_multiprocessor: u32,
    /// Shared memory is given to blocks in pieces of this size, in bytes.
    pub(super) shared_granule_bytes: u32,
    /// How much of what it has in common with the L1 cache can be shared memory, in KiB, ascending.
    shared_carveouts_kib: &'static [u32],
}

const fn architecture(version: [u32; 2], shared_kib: [u32; 2], resident: [u32; 2]) -> Architecture {
    Architecture {
        major: version[0],
        minor: version[1],
        shared_bytes_per_block: shared_kib[0] << 10,
        shared_bytes_per_multiprocessor: shared_kib[1] << 10,
        reserved_shared_bytes: (shared_kib[1] - shared_kib[0]) << 10,
        threads_per_multiprocessor: resident[0],
        blocks_per_multiprocessor: resident[1],
        shared_granule_bytes: if version[0] < 8 { 256 } else { 128 },
        shared_carveouts_kib: match shared_kib[1] {
            64 => &[32, 64],
            100 => &[0, 8, 16, 32, 64, 100],
            164 => &[0, 8, 16, 32, 64, 100, 132, 164],
            _ => &[0, 8, 16, 32, 64, 100, 132, 164, 196, 228],
        },
    }
}

const KNOWN: [Architecture; 6] = [
    architecture([7, 5], [64, 64], [1024, 16]),
    architecture([8, 0], [163, 164], [2048, 32]),
    architecture([8, 6], [99, 100], [1536, 16]),
    architecture([8, 7], [163, 164], [1536, 16]),
    architecture([8, 9], [99, 100], [1536, 24]),
    architecture([9, 0], [227, 228], [2048, 32]),
];

/// What is reported where nobody chooses.
pub(super) const DEFAULT: Architecture = KNOWN[1];

impl Architecture {
    /// Whether its blocks form clusters.
    pub(super) fn has_clusters(&self) -> bool {
        self.major >= 9
    }

    /// Shared memory of a multiprocessor that is split so that it has so many bytes at least.
    pub(super) fn shared_bytes_with(&self, bytes: u32) -> u32 {
        let mut carveouts = self.shared_carveouts_kib.iter().map(|kib| kib << 10);
        let fitting = carveouts.find(|carveout| *carveout >= bytes);
        fitting.unwrap_or(self.shared_bytes_per_multiprocessor)
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        let version = (major.parse().ok()?, minor.parse().ok()?);
        KNOWN
            .into_iter()
            .find(|known| (known.major, known.minor) == version)
    }
}

/// The one of this process, read from the environment when first asked for.
pub(crate) fn current() -> &'static Architecture {
    static CURRENT: OnceLock<Architecture> = OnceLock::new();
    CURRENT.get_or_init(|| {
        let Ok(text) = std::env::var(VARIABLE) else {
            return DEFAULT;
        };
        Architecture::parse(&text).unwrap_or_else(|| {
            log::write_always(format_args!(
                "{VARIABLE}={text} is none of 7.5, 8.0, 8.6, 8.7, 8.9 and 9.0; using 8.0"
            ));
            DEFAULT
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_versions_are_taken() {
        let version = |text: &str| Architecture::parse(text).map(|a| (a.major, a.minor));
        assert_eq!(version("9.0"), Some((9, 0)));
        assert_eq!(version(" 7.5\n"), Some((7, 5)));
        assert_eq!(version("10.0"), None);
        assert_eq!(version("90"), None);
        assert_eq!((DEFAULT.major, DEFAULT.minor), (8, 0));
        assert_eq!(DEFAULT.reserved_shared_bytes, 1024);
    }
}
