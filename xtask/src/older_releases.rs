// SPDX-License-Identifier: Apache-2.0
//! Programs of older CUDA releases: some examples, compiled with the headers of CUDA 12.9 and 11.8,
//! must print the same with NVIDIA's libcudart of that release and with ours. So structures that
//! have changed since, and names that meant something else, are tried as programs use them.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use gvirtus_runtime_abi::table::Release;

use crate::nvidia_runtimes::NvidiaRuntime;
use crate::process;
use crate::product::{self, Product};
use crate::scratch::Scratch;
use crate::steps::Tally;
use crate::toolkit::{self, Toolkit};
use crate::workspace::Workspace;

/// Examples that the headers of CUDA 12.9 compile.
const PROGRAMS_12: [&str; 16] = [
    "error_handling",
    "error_strings",
    "function_attributes",
    "graph_clone_and_edges",
    "graph_conditional",
    "graph_explicit",
    "graph_memcpy_nodes",
    "graph_update",
    "memory_pools",
    "prefetch_and_advise",
    "runtime_copies",
    "runtime_devices",
    "surface_write_2d",
    "texture_mipmap",
    "texture_pitch2d",
    "unified_pointer_attributes",
];
/// Those of CUDA 11.8 know less, and some things that later ones do not.
const PROGRAMS_11: [&str; 5] = [
    "cuda11/bound_textures",
    "error_handling",
    "runtime_copies",
    "texture_2d_filter",
    "vector_add",
];
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    let toolkit = toolkit::get()?;
    let device = Scratch::temporary("older-releases")?;
    symlink(&product.softgpu, device.path().join("libcuda.so.1")).context("cannot make a link")?;
    for (release, programs) in [
        (Release(12), PROGRAMS_12.as_slice()),
        (Release(11), PROGRAMS_11.as_slice()),
    ] {
        let theirs = NvidiaRuntime::get(release)?;
        let folder = device.path().join(release.0.to_string());
        fs::create_dir(&folder).context("cannot make a folder")?;
        symlink(&theirs.library, folder.join("libcudart.so")).context("cannot make a link")?;
        for name in programs {
            let program = compile(workspace, &toolkit, &theirs, &folder, name)?;
            compare(&program, &theirs.folder, &product, device.path())
                .with_context(|| format!("{name}, CUDA {}", release.0))?;
            tally.add_counts([1, 0, 0]);
        }
        println!(
            "{}: {} programs do the same with ours",
            release.soname(),
            programs.len()
        );
    }
    Ok(())
}

fn compile(
    workspace: &Workspace,
    toolkit: &Toolkit,
    runtime: &NvidiaRuntime,
    folder: &Path,
    name: &str,
) -> Result<PathBuf> {
    let program = folder.join(name.replace('/', "-"));
    let source = workspace.root().join("examples").join(format!("{name}.cu"));
    let mut command = toolkit.command();
    for headers in &runtime.headers {
        command.arg("-I").arg(headers);
    }
    command
        // CUDA 11's headers were written before today's compilers.
        .args([
            "-allow-unsupported-compiler",
            "-Wno-deprecated-declarations",
        ])
        .args(["-cudart=shared", "-L"])
        .arg(folder)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .env("TMPDIR", folder);
    process::capture(&mut command, LIMIT)?;
    Ok(program)
}

fn compare(program: &Path, theirs: &Path, product: &Product, device: &Path) -> Result<()> {
    let ours = product
        .runtimes
        .first()
        .and_then(|library| library.parent());
    let ours = ours.context("there is no runtime of ours")?;
    let [expected, found] = [theirs, ours].map(|runtime| {
        let mut folders = OsString::from(runtime);
        folders.push(":");
        folders.push(device);
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", folders);
        process::capture(&mut command, LIMIT)
    });
    let expected = expected.context("with NVIDIA's runtime")?;
    let found = found.context("with ours")?;
    ensure!(
        expected == found,
        "with NVIDIA's runtime:\n{expected}\nwith ours:\n{found}"
    );
    Ok(())
}
