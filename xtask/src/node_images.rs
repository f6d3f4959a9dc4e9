// SPDX-License-Identifier: Apache-2.0
//! Images that the tests on a node import: ours, the one with the examples, and two of other
//! people's kinds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::architecture::Architecture;
use crate::examples::{self, Flavour};
use crate::images::{self, Contents};
use crate::oci::Image;
use crate::scratch::Scratch;
use crate::toolkit;
use crate::workspace::Workspace;

const CONTAINER: &str = "gvirtus-test-container";
/// What keeps a pod's namespaces.
const PAUSE: &str = "tests.gvirtus.io/pause:1";
/// The name that examples/k8s/ uses.
const BUSYBOX: &str = "docker.io/library/busybox:1.37";

/// Archives with all of them.
pub(crate) fn build(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut archives = images::run(workspace, &images::Options::with_examples())?;
    let container = images::build_static(workspace, CONTAINER)?;
    let scratch = Scratch::temporary("node-images")?;
    let pause = Contents::new(scratch.path(), workspace.tools()).program("/pause", &container)?;
    let busybox = busybox(workspace, &container, scratch.path())?;
    let folder = workspace.release().with_file_name("images");
    for (file, name, user, layer) in [
        (
            "tests-pause.tar",
            PAUSE,
            "65535:65535",
            pause.layer().tar()?,
        ),
        ("tests-busybox.tar", BUSYBOX, "", busybox),
    ] {
        let image = Image {
            name,
            architecture: Architecture::host()?.oci(),
            entrypoint: &["/pause"],
            user,
            labels: &[],
            layers: vec![layer],
        };
        let path = folder.join(file);
        fs::write(&path, image.archive()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        archives.push(path);
    }
    Ok(archives)
}

/// As busybox's image with a C library: its libraries are in `/lib`, it has neither `/usr` nor
/// users, and what it runs, it runs as root.
fn busybox(workspace: &Workspace, container: &Path, scratch: &Path) -> Result<Vec<u8>> {
    let example = compiled(workspace, &Flavour::plain(workspace), "vector_add")?;
    let rounds = compiled(workspace, &Flavour::test_programs(workspace), "rounds")?;
    let mut contents = Contents::new(scratch, workspace.tools())
        .program("/bin/echo", container)?
        .program("/bin/env", container)?
        .program("/bin/vector_add", &example)?
        .program("/bin/rounds", &rounds)?;
    let libraries = images::linked([example, rounds].iter())?;
    let folder = libraries
        .keys()
        .find_map(|path| path.strip_suffix("/libc.so.6"))
        .context("the example is not linked to a C library")?;
    // The client library asks for it.
    let unwinder = Path::new(folder).join("libgcc_s.so.1");
    for path in libraries.values().chain([&unwinder]) {
        let is_loader = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("ld-"));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let place = if is_loader {
            path.display().to_string()
        } else {
            format!("/lib/{name}")
        };
        contents = contents.program(&place, path)?;
    }
    contents.layer().tar()
}

fn compiled(workspace: &Workspace, flavour: &Flavour, name: &str) -> Result<PathBuf> {
    let all = examples::compile(workspace, &toolkit::get()?, flavour)?;
    let program = all.into_iter().find(|example| example.name == name);
    Ok(program
        .with_context(|| format!("there is no program {name}"))?
        .program)
}
