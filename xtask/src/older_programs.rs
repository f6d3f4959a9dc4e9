// SPDX-License-Identifier: Apache-2.0
//! The CUDA programs as of older releases: examples and test programs, compiled with the headers of
//! CUDA 12.9 and 11.8 by today's compiler and linked with that release's shared libcudart.
//!
//! What the compiler made of a source, or why it refused it, is kept in the user's cache folder
//! under a hash of all that it was made from. Only PTX is made: the software device wants no more,
//! and it halves the time.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use gvirtus_runtime_abi::table::Release;

use crate::examples::{self, further_files, own_flags, resolve};
use crate::nvidia_runtimes::NvidiaRuntime;
use crate::process::{self, Stream};
use crate::toolkit::{self, Toolkit};
use crate::workspace::Workspace;
use crate::{budget, cache, scratch::Scratch};

/// Of the GPU that is told by a source that asks for none.
const ARCHITECTURE: &str = "75";
const LIMIT: Duration = Duration::from_secs(10 * 60);
/// More than most sources take.
const USUAL: Duration = Duration::from_secs(30);
/// The files in a cache entry: there is one of them.
const PROGRAM: &str = "program";
const REFUSAL: &str = "refusal";

/// The sources of one release, with what they are compiled with.
pub(crate) struct OlderCompiler<'a> {
    pub(crate) release: Release,
    pub(crate) toolkit: &'a Toolkit,
    pub(crate) runtime: &'a NvidiaRuntime,
    workspace: &'a Workspace,
    /// Of all programs, as bytes.
    headers: Vec<Vec<u8>>,
    /// Has `libcudart.so`.
    library: Scratch,
}

/// What became of a source.
pub(crate) enum Compiled {
    Program(PathBuf),
    /// What the compiler said.
    Refused(String),
    /// This run of all tests has no time left for it.
    Postponed,
}

impl<'a> OlderCompiler<'a> {
    pub(crate) fn new(
        workspace: &'a Workspace,
        toolkit: &'a Toolkit,
        release: Release,
        runtime: &'a NvidiaRuntime,
    ) -> Result<Self> {
        let library = Scratch::temporary("older-runtime")?;
        symlink(&runtime.library, library.path().join("libcudart.so"))
            .context("cannot make a link")?;
        let mut headers = examples::headers(workspace)?;
        if let Some(header) = forced_header(workspace, release) {
            let read = fs::read(&header);
            headers.push(read.with_context(|| format!("cannot read {}", header.display()))?);
        }
        Ok(Self {
            release,
            toolkit,
            runtime,
            workspace,
            headers,
            library,
        })
    }

    /// Compiles a source, or finds what was made of it before.
    pub(crate) fn compile(&self, source: &Path) -> Result<Compiled> {
        let name = source
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or_else(|| anyhow!("{} has no name", source.display()))?;
        let flags = self.flags(source)?;
        let place = toolkit::cache_folder()?
            .join("older-programs")
            .join(format!(
                "{}-{name}-{:016x}",
                self.release.0,
                self.key(source, &flags)?
            ));
        if !place.exists() && budget::grant(USUAL).is_none() {
            return Ok(Compiled::Postponed);
        }
        let announcement = format!("  {name} with CUDA {}", self.release.0);
        cache::once(&place, &announcement, |scratch| {
            let entry = scratch.join("entry");
            fs::create_dir(&entry).context("cannot make a folder")?;
            self.run_compiler(source, &flags, scratch, &entry)?;
            Ok(entry)
        })?;
        let program = place.join(PROGRAM);
        if program.exists() {
            return Ok(Compiled::Program(program));
        }
        let refusal = place.join(REFUSAL);
        fs::read_to_string(&refusal)
            .map(Compiled::Refused)
            .with_context(|| format!("cannot read {}", refusal.display()))
    }

    fn flags(&self, source: &Path) -> Result<Vec<String>> {
        let text = fs::read_to_string(source)
            .with_context(|| format!("cannot read {}", source.display()))?;
        let folder = source.parent().unwrap_or_else(|| Path::new("."));
        let own: Vec<String> = own_flags(&text)
            .iter()
            .map(|flag| resolve(flag, folder))
            .collect();
        let mut flags = ptx_only(own);
        if let Some(header) = forced_header(self.workspace, self.release) {
            flags.extend(["-include".to_owned(), header.display().to_string()]);
        }
        Ok(flags)
    }

    fn key(&self, source: &Path, flags: &[String]) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        // Flags name files by their paths, and the same files may be elsewhere next time.
        let root = self.workspace.root().display().to_string();
        for flag in flags {
            flag.replace(&root, "").hash(&mut hasher);
        }
        (&self.headers, &self.toolkit.version, self.runtime.version).hash(&mut hasher);
        for file in std::iter::once(source.to_owned()).chain(further_files(source)) {
            let read = fs::read(&file);
            read.with_context(|| format!("cannot read {}", file.display()))?
                .hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    /// Makes one of the files of an entry.
    fn run_compiler(
        &self,
        source: &Path,
        flags: &[String],
        scratch: &Path,
        entry: &Path,
    ) -> Result<()> {
        let mut command: Command = self.toolkit.command();
        for headers in &self.runtime.headers {
            command.arg("-I").arg(headers);
        }
        command
            // Old headers were written before today's compilers.
            .args([
                "-allow-unsupported-compiler",
                "-Wno-deprecated-declarations",
            ])
            .args(["-cudart=shared", "-L"])
            .arg(self.library.path())
            .arg("-o")
            .arg(entry.join(PROGRAM))
            .arg(source)
            .args(flags)
            .env("TMPDIR", scratch);
        let mut said = String::new();
        let outcome = process::lines(&mut command, LIMIT, |stream, line| {
            if stream == Stream::Error {
                said.push_str(line);
                said.push('\n');
            }
        })?;
        match outcome {
            process::Outcome::Exited(status) if status.success() => Ok(()),
            // A compiler that was killed has refused nothing.
            process::Outcome::Exited(status) if status.code().is_some() => {
                fs::write(entry.join(REFUSAL), said).context("cannot write to the cache")
            }
            _ => Err(anyhow!("{}: {outcome}", process::describe(&command))),
        }
    }
}

/// What is included before a source of this release: CUDA 12's names in CUDA 11.
fn forced_header(workspace: &Workspace, release: Release) -> Option<PathBuf> {
    let header = workspace.root().join("examples/cuda11/as_in_12.h");
    (release == Release(11)).then_some(header)
}

/// The flags of a source, but for PTX alone; device code of several files can only be linked as
/// machine code.
fn ptx_only(own: Vec<String>) -> Vec<String> {
    if own.iter().any(|flag| flag == "-rdc=true") {
        return own;
    }
    let architecture = own
        .iter()
        .find_map(|flag| flag.strip_prefix("-arch=sm_"))
        .unwrap_or(ARCHITECTURE);
    let code = format!("-gencode=arch=compute_{architecture},code=compute_{architecture}");
    let others = own.iter().filter(|flag| !flag.starts_with("-arch="));
    others.cloned().chain([code]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(of: &[&str]) -> Vec<String> {
        ptx_only(of.iter().map(|flag| (*flag).to_owned()).collect())
    }

    #[test]
    fn a_program_is_made_of_ptx_where_it_can_be() {
        assert_eq!(flags(&[]), ["-gencode=arch=compute_75,code=compute_75"]);
        assert_eq!(
            flags(&["-arch=sm_90", "-std=c++17"]),
            ["-std=c++17", "-gencode=arch=compute_90,code=compute_90"]
        );
        let linked = ["-arch=sm_90", "-rdc=true"];
        assert_eq!(flags(&linked), linked);
    }
}
