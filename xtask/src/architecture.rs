// SPDX-License-Identifier: Apache-2.0
//! The machines that images are made for, and the tools that build for them.

use anyhow::{Result, bail};

/// As OCI names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Architecture {
    /// x86-64.
    Amd64,
    /// `AArch64`.
    Arm64,
}

impl Architecture {
    /// That of this machine.
    pub(crate) fn host() -> Result<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self::Amd64),
            "aarch64" => Ok(Self::Arm64),
            other => bail!("there are no images for {other}"),
        }
    }

    /// In an image's configuration.
    pub(crate) fn oci(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// How Rust and GNU call it.
    pub(crate) fn rust(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// Rust's name of the platform.
    pub(crate) fn triple(self) -> String {
        format!("{}-unknown-linux-gnu", self.rust())
    }

    /// Debian's folder of libraries, below `/lib`.
    pub(crate) fn libraries(self) -> String {
        format!("{}-linux-gnu", self.rust())
    }

    /// The loader of programs, which is written into each of them.
    pub(crate) fn loader(self) -> &'static str {
        match self {
            Self::Amd64 => "/lib64/ld-linux-x86-64.so.2",
            Self::Arm64 => "/lib/ld-linux-aarch64.so.1",
        }
    }
}

/// A compiler driver and its binutils.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tools {
    /// For which machine, where that is not this one.
    cross: Option<Architecture>,
}

impl Tools {
    /// This machine's own.
    pub(crate) const NATIVE: Self = Self { cross: None };

    /// Those for `architecture`, by Debian's names where it is not this machine's.
    pub(crate) fn for_architecture(architecture: Architecture) -> Result<Self> {
        let is_native = architecture == Architecture::host()?;
        Ok(Self {
            cross: (!is_native).then_some(architecture),
        })
    }

    /// For which machine, where that is not this one.
    pub(crate) fn cross(self) -> Option<Architecture> {
        self.cross
    }

    /// How Rust calls the machine.
    pub(crate) fn machine(self) -> &'static str {
        self.cross
            .map_or(std::env::consts::ARCH, Architecture::rust)
    }

    pub(crate) fn compiler(self) -> String {
        self.cross
            .map_or_else(|| "cc".to_owned(), |cross| named(cross, "gcc"))
    }

    pub(crate) fn strip(self) -> String {
        self.cross
            .map_or_else(|| "strip".to_owned(), |cross| named(cross, "strip"))
    }

    pub(crate) fn readelf(self) -> String {
        self.cross
            .map_or_else(|| "readelf".to_owned(), |cross| named(cross, "readelf"))
    }
}

fn named(architecture: Architecture, tool: &str) -> String {
    format!("{}-{tool}", architecture.libraries())
}
