// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask images`: the images that the chart names, from programs built on this machine.
//!
//! An image has one layer with the C library of this machine, as far as its programs need it, and
//! one with the programs: no shell, no package manager. The shim image has no C library: its
//! program is linked statically, and its libraries run in other images.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::dist;
use crate::examples::{self, Flavour};
use crate::oci::Image;
use crate::process;
use crate::product::{self, Product};
use crate::scratch::Scratch;
use crate::tar::Archive;
use crate::terminal;
use crate::toolkit;
use crate::workspace::Workspace;

const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
const QUERY_LIMIT: Duration = Duration::from_secs(60);
/// The user that owns nothing, as in distroless images.
const USER: &str = "65532:65532";
/// Libraries that NVIDIA's driver asks for, although they are empty in a new C library.
const DRIVER_NEEDS: [&str; 3] = ["libdl.so.2", "libpthread.so.0", "librt.so.1"];
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

/// How the images are called.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What stands before each name
    #[arg(long, default_value = REGISTRY, value_name = "REGISTRY/PATH")]
    registry: String,
    /// Their tag
    #[arg(long, default_value = TAG)]
    tag: String,
    /// Also one with some of the CUDA examples, which examples/k8s/ uses
    #[arg(long)]
    examples: bool,
}

impl Options {
    /// The names that the chart and the examples use, and the image with the examples too.
    pub(crate) fn with_examples() -> Self {
        Self {
            registry: REGISTRY.to_owned(),
            tag: TAG.to_owned(),
            examples: true,
        }
    }
}

/// Builds all images into `target/images/` and returns the archives.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<Vec<PathBuf>> {
    let product = product::build(workspace)?;
    build_cluster_programs(workspace)?;
    let installer = build_static(workspace, "gvirtus-install")?;
    let release = workspace.release();
    let scratch = Scratch::temporary("images")?;
    let backend = Contents::new(scratch.path())
        .program("/usr/bin/gvirtus", &product.gvirtus)?
        .program("/usr/lib/gvirtus/softgpu/libcuda.so.1", &product.softgpu)?;
    let mut images = vec![
        (
            "backend",
            "/usr/bin/gvirtus",
            backend.with_system(&DRIVER_NEEDS)?,
        ),
        (
            "shim",
            "/gvirtus-install",
            shim(&product, &installer, scratch.path())?,
        ),
        (
            "webhook",
            "/usr/bin/gvirtus-webhook",
            Contents::new(scratch.path())
                .program("/usr/bin/gvirtus-webhook", &release.join("gvirtus-webhook"))?
                .with_system(&[])?,
        ),
        (
            "cluster",
            "/usr/bin/gvirtus-cluster",
            Contents::new(scratch.path())
                .program("/usr/bin/gvirtus-cluster", &release.join("gvirtus-cluster"))?
                .with_system(&[])?,
        ),
    ];
    images.push((
        "device-plugin",
        "/usr/bin/gvirtus-device-plugin",
        Contents::new(scratch.path())
            .program(
                "/usr/bin/gvirtus-device-plugin",
                &release.join("gvirtus-device-plugin"),
            )?
            .with_system(&[])?,
    ));
    if options.examples {
        let layers = example_programs(workspace, scratch.path())?;
        images.push(("examples", "/examples/matrix_multiply", layers));
    }
    let folder = workspace.release().with_file_name("images");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut archives = Vec::new();
    for (name, entrypoint, layers) in images {
        let full_name = format!("{}/gvirtus-{name}:{}", options.registry, options.tag);
        let image = Image {
            name: &full_name,
            architecture: architecture()?,
            entrypoint: &[entrypoint],
            user: USER,
            layers,
        };
        let path = folder.join(format!("gvirtus-{name}.tar"));
        let archive = image.archive()?;
        let size = terminal::bytes(archive.len() as u64);
        fs::write(&path, archive).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{} ({size}) {full_name}", path.display());
        archives.push(path);
    }
    Ok(archives)
}

pub(crate) fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => anyhow::bail!("there are no images for {other}"),
    }
}

fn build_cluster_programs(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo();
    command.args(["build", "--release", "--locked"]).args([
        "--package",
        "gvirtus-cluster",
        "--package",
        "gvirtus-device-plugin",
        "--package",
        "gvirtus-webhook",
    ]);
    process::require(&mut command, BUILD_LIMIT)
}

/// A program of ours that runs where there is no C library.
pub(crate) fn build_static(workspace: &Workspace, package: &str) -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = workspace.cargo();
    // With a target named, the flags are not those of build scripts.
    command
        .args(["build", "--release", "--locked", "--package", package])
        .args(["--target", &target])
        .env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    process::require(&mut command, BUILD_LIMIT)?;
    let folder = workspace.release().with_file_name(target);
    let program = folder.join("release").join(package);
    ensure!(program.exists(), "{} was not built", program.display());
    Ok(program)
}

fn shim(product: &Product, installer: &Path, scratch: &Path) -> Result<Vec<Vec<u8>>> {
    let mut contents = Contents::new(scratch)
        .program("/gvirtus-install", installer)?
        .program("/libraries/lib/libcuda.so.1", &product.shim)?
        .program("/libraries/lib/libnvidia-ml.so.1", &product.management)?;
    for runtime in &product.runtimes {
        let name = runtime.file_name().unwrap_or_default().to_string_lossy();
        contents = contents.program(&format!("/libraries/cudart/{name}"), runtime)?;
    }
    Ok(vec![contents.layer()?])
}

fn example_programs(workspace: &Workspace, scratch: &Path) -> Result<Vec<Vec<u8>>> {
    let toolkit = toolkit::get()?;
    let compiled = examples::compile(workspace, &toolkit, &Flavour::plain(workspace))?;
    let mut contents = Contents::new(scratch);
    for name in EXAMPLES {
        let example = compiled.iter().find(|example| example.name == name);
        let example = example.with_context(|| format!("there is no example {name}"))?;
        contents = contents.program(&format!("/examples/{name}"), &example.program)?;
    }
    // The client library asks for it, and is not here yet.
    contents.with_system(&["libgcc_s.so.1"])
}

/// Files of an image, each under its absolute path.
pub(crate) struct Contents<'a> {
    scratch: &'a Path,
    files: BTreeMap<String, PathBuf>,
}

impl<'a> Contents<'a> {
    pub(crate) fn new(scratch: &'a Path) -> Self {
        Self {
            scratch,
            files: BTreeMap::new(),
        }
    }

    /// Adds a program or library without what only a debugger needs.
    pub(crate) fn program(mut self, path: &str, from: &Path) -> Result<Self> {
        let copy = self
            .scratch
            .join(path.trim_start_matches('/').replace('/', "!"));
        fs::copy(from, &copy).with_context(|| format!("cannot copy {}", from.display()))?;
        dist::strip(&copy)?;
        self.files.insert(path.to_owned(), copy);
        Ok(self)
    }

    /// Layers with the files and what they need of this machine's C library.
    pub(crate) fn with_system(self, also: &[&str]) -> Result<Vec<Vec<u8>>> {
        let mut system = system_libraries(self.files.values())?;
        let folder = system
            .keys()
            .find_map(|path| path.strip_suffix("/libc.so.6"))
            .context("no program is linked to a C library")?
            .to_owned();
        for name in also {
            let path = format!("{folder}/{name}");
            system.insert(path.clone(), path.into());
        }
        let base = Self {
            scratch: self.scratch,
            files: system,
        };
        Ok(vec![base.system_layer()?, self.layer()?])
    }

    fn system_layer(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.folder("etc", 0o755)?;
        let user = "root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n";
        archive.file("etc/passwd", 0o644, user.as_bytes())?;
        archive.file("etc/group", 0o644, b"root:x:0:\nnonroot:x:65532:\n")?;
        archive.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
        archive.folder("tmp", 0o1777)?;
        self.write(&mut archive)?;
        Ok(archive.finish())
    }

    pub(crate) fn layer(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        self.write(&mut archive)?;
        Ok(archive.finish())
    }

    fn write(&self, archive: &mut Archive) -> Result<()> {
        let mut folders = BTreeSet::new();
        for (path, from) in &self.files {
            let path = path.trim_start_matches('/');
            for (at, _) in path.match_indices('/') {
                if folders.insert(path[..at].to_owned()) {
                    archive.folder(&path[..at], 0o755)?;
                }
            }
            let content =
                fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
            let mode = fs::metadata(from)?.permissions().mode() & 0o111;
            archive.file(path, 0o444 | mode | 0o111, &content)?;
        }
        Ok(())
    }
}

/// The shared objects that programs are linked to, and the loader, as `ldd` names them.
pub(crate) fn system_libraries<'a>(
    programs: impl Iterator<Item = &'a PathBuf>,
) -> Result<BTreeMap<String, PathBuf>> {
    let mut libraries = BTreeMap::new();
    for program in programs {
        let listed = process::capture(Command::new("ldd").arg(program), QUERY_LIMIT)?;
        for path in ldd_paths(&listed) {
            libraries.insert(path.to_owned(), PathBuf::from(path));
        }
    }
    Ok(libraries)
}

/// The absolute paths in the output of `ldd`.
fn ldd_paths(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| {
        let line = line.trim();
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split_once(" (").map_or(path, |(path, _)| path);
        path.starts_with('/').then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_libraries_and_the_loader() {
        let listed = "\tlinux-vdso.so.1 (0x00007f81)\n\
                      \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f81)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f81)\n";
        let paths: Vec<_> = ldd_paths(listed).collect();
        assert_eq!(
            paths,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert_eq!(ldd_paths("\tstatically linked\n").count(), 0);
    }
}
