// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask images`: the images that the chart names, from programs built on this machine.
//!
//! An image has one layer with the C library of this machine, as far as its programs need it, and
//! one with the programs: no shell, no package manager. The shim image has no C library: its
//! program is linked statically, and its libraries run in other images. For another machine the
//! C library is that of Debian's compiler for it.
//!
//! `images/Containerfile` makes the same images, from folders that this writes.

#[cfg(test)]
mod containerfile;
mod contents;
mod system;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::architecture::Architecture;
use crate::examples::{self, Flavour};
use crate::oci::Image;
use crate::process;
use crate::product::{self, Product};
use crate::scratch::Scratch;
use crate::terminal;
use crate::toolkit;
use crate::workspace::Workspace;
pub(crate) use contents::Contents;
use contents::{Layer, Root};
pub(crate) use system::linked;
use table::{Definition, IMAGES, PREFIX, Source, USER, labels};

const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
/// What the image with examples has: enough to see that a GPU works.
const EXAMPLES: [&str; 8] = [
    "fft",
    "illegal_address",
    "matrix_multiply",
    "monte_carlo_pi",
    "n_body",
    "reduction",
    "scan",
    "stream_ordered_allocation",
];

const REGISTRY: &str = "ghcr.io/gvirtus";
const TAG: &str = env!("CARGO_PKG_VERSION");

/// How the images are called, and for what they are.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What stands before each name
    #[arg(long, default_value = REGISTRY, value_name = "REGISTRY/PATH")]
    registry: String,
    /// Their tag
    #[arg(long, default_value = TAG)]
    tag: String,
    /// For which machines; for another than this one with Debian's gcc-aarch64-linux-gnu or
    /// gcc-x86-64-linux-gnu and Rust's target
    #[arg(long, value_enum)]
    architecture: Option<Architecture>,
    /// Write the root folder of each image there instead of archives, as images/Containerfile does
    #[arg(long, value_name = "FOLDER", conflicts_with = "examples")]
    folders: Option<PathBuf>,
    /// Also one with some of the CUDA examples, which examples/k8s/ uses; for this machine only
    #[arg(long, conflicts_with = "architecture")]
    examples: bool,
}

impl Options {
    /// The names that the chart and the examples use, and the image with the examples too.
    pub(crate) fn with_examples() -> Self {
        Self {
            registry: REGISTRY.to_owned(),
            tag: TAG.to_owned(),
            architecture: None,
            folders: None,
            examples: true,
        }
    }
}

/// An image's files and what else is said of it.
struct Filled {
    name: &'static str,
    about: &'static str,
    entrypoint: &'static str,
    layers: Vec<Layer>,
}

/// Builds all images into `target/images/`, for another machine into `target/<target>/images/`, and
/// returns the archives.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Vec<PathBuf>> {
    let architecture = options.architecture.map_or_else(Architecture::host, Ok)?;
    let workspace = &workspace.for_architecture(architecture)?;
    let built = Built {
        product: product::build(workspace)?,
        workspace,
    };
    built.programs()?;
    let scratch = Scratch::temporary("images")?;
    let mut images = Vec::new();
    for image in &IMAGES {
        images.push(Filled {
            name: image.name,
            about: image.about,
            entrypoint: image.entrypoint,
            layers: built.fill(image, scratch.path())?,
        });
    }
    if options.examples {
        images.push(Filled {
            name: "examples",
            about: "CUDA programs that tell whether a GPU computes well",
            entrypoint: "/examples/matrix_multiply",
            layers: example_programs(workspace, scratch.path())?,
        });
    }
    if let Some(folder) = &options.folders {
        for image in images {
            write_root(&folder.join(image.name), &image.layers)?;
        }
        return Ok(Vec::new());
    }
    let folder = workspace.release().with_file_name("images");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut archives = Vec::new();
    for filled in images {
        let Filled { name, about, .. } = filled;
        let full_name = format!("{}/{PREFIX}{name}:{}", options.registry, options.tag);
        let image = Image {
            name: &full_name,
            architecture: architecture.oci(),
            entrypoint: &[filled.entrypoint],
            user: USER,
            labels: &labels(name, about),
            layers: filled
                .layers
                .iter()
                .map(Layer::tar)
                .collect::<Result<_>>()?,
        };
        let path = folder.join(format!("{PREFIX}{name}.tar"));
        let archive = image.archive()?;
        let size = terminal::bytes(archive.len() as u64);
        fs::write(&path, archive).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{} ({size}) {full_name}", path.display());
        archives.push(path);
    }
    Ok(archives)
}

fn write_root(folder: &Path, layers: &[Layer]) -> Result<()> {
    ensure!(
        !folder.exists(),
        "{} exists; name a new folder",
        folder.display()
    );
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for layer in layers {
        layer.write(&mut Root(folder))?;
    }
    println!("{}", folder.display());
    Ok(())
}

/// What images are filled from.
struct Built<'a> {
    workspace: &'a Workspace,
    product: Product,
}

impl Built<'_> {
    /// Builds the programs that only images have.
    fn programs(&self) -> Result<()> {
        let mut command = self.workspace.cargo();
        command.args(["build", "--release", "--locked"]);
        let packages = IMAGES.iter().flat_map(Definition::packages);
        for package in packages.filter(|package| !product::PACKAGES.contains(package)) {
            command.args(["--package", package]);
        }
        process::require(&mut command, BUILD_LIMIT)
    }

    fn fill(&self, image: &Definition, scratch: &Path) -> Result<Vec<Layer>> {
        let mut contents = Contents::new(scratch, self.workspace.tools());
        for (path, source) in image.files {
            let from = match source {
                Source::Program(package) => self.workspace.release().join(package),
                Source::Static(package) => build_static(self.workspace, package)?,
                Source::Driver => self.product.shim.clone(),
                Source::Management => self.product.management.clone(),
                Source::Softgpu => self.product.softgpu.clone(),
                Source::Runtimes => {
                    for runtime in &self.product.runtimes {
                        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
                        contents = contents.program(&format!("{path}/{name}"), runtime)?;
                    }
                    continue;
                }
            };
            contents = contents.program(path, &from)?;
        }
        match image.system {
            Some(also) => contents.with_system(also),
            None => Ok(vec![contents.layer()]),
        }
    }
}

/// A program of ours that runs where there is no C library.
pub(crate) fn build_static(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", workspace.tools().machine());
    let mut command = workspace.cargo();
    // With a target named, the flags are not those of build scripts.
    command
        .args(["build", "--release", "--locked", "--package", package])
        .args(["--target", &target])
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    process::require(&mut command, BUILD_LIMIT)?;
    let program = workspace.built_for(&target).join(package);
    ensure!(program.exists(), "{} was not built", program.display());
    Ok(program)
}

fn example_programs(workspace: &Workspace, scratch: &Path) -> Result<Vec<Layer>> {
    let toolkit = toolkit::get()?;
    let compiled = examples::compile(workspace, &toolkit, &Flavour::plain(workspace))?;
    let mut contents = Contents::new(scratch, workspace.tools());
    for name in EXAMPLES {
        let example = compiled.iter().find(|example| example.name == name);
        let example = example.with_context(|| format!("there is no example {name}"))?;
        contents = contents.program(&format!("/examples/{name}"), &example.program)?;
    }
    // The client library asks for it, and is not here yet.
    contents.with_system(&["libgcc_s.so.1"])
}
