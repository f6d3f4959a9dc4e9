// SPDX-License-Identifier: Apache-2.0
//! Programs of older CUDA releases: every example and test program that the headers of CUDA 12.9
//! and 11.8 compile does the same with NVIDIA's libcudart of that release and with ours, straight
//! on the software device and through a backend. So structures that have changed since, and names
//! that meant something else, are tried as programs use them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use gvirtus_runtime_abi::table::Release;

use crate::nvidia_runtimes::NvidiaRuntime;
use crate::older_programs::{Compiled, OlderCompiler};
use crate::process::{self, Outcome, Stream};
use crate::product::{self, Backend, Product};
use crate::scratch::Scratch;
use crate::steps::Tally;
use crate::workspace::Workspace;
use crate::{examples, terminal, toolkit};

/// Sources that the headers of a release do not compile, and what they lack, as the compiler says
/// it.
const REFUSED: [(Release, &[(&str, &str)]); 2] = [
    (
        Release(12),
        &[
            // It had one argument more.
            ("copy_batch", "cudaMemcpyBatchAsync"),
            // Its dependencies had no data.
            ("runtime_graphs", "cudaGraphAddNode"),
        ],
    ),
    (
        Release(11),
        &[
            ("bulk_copy", "cuda/ptx"),
            ("context_management", "cuCtxGetId_v12000"),
            ("copy_batch", "cudaMemcpyBatchAsync"),
            ("cub_block_primitives", "cuda::maximum"),
            ("driver_api", "CUdriverProcAddressQueryResult"),
            ("dynamic_parallelism", "cudaStreamFireAndForget"),
            ("dynamic_parallelism_queries", "__cudaLaunchKernel"),
            ("dynamic_parallelism_streams", "cudaStreamTailLaunch"),
            ("function_attributes", "cuFuncGetName_v12030"),
            // Its headers have a template of that name.
            (
                "graph_array_copies",
                "\"texture\" has already been declared",
            ),
            ("graph_conditional", "cudaGraphConditionalHandle"),
            // Its template took no function but `const` ones, which there are not.
            ("grid_sync", "cudaLaunchCooperativeKernel"),
            ("half_precision", "__hlt2_mask"),
            ("launch_attributes", "cudaLaunchAttributeMemSyncDomain"),
            ("memory_pools", "\"maxSize\""),
            ("prefetch_and_advise", "cudaMemLocationTypeHost"),
            ("runtime_devices", "\"clusterLaunch\""),
            ("runtime_functions", "cudaFuncGetName"),
            ("runtime_graphs", "cudaGraphInstantiateParams"),
            ("tensor_map", "CUtensorMap"),
            ("texture_references", "CUdriverProcAddressQueryResult"),
        ],
    ),
];

/// Programs that find something else than they expect, with NVIDIA's runtime as with ours, and why.
const UNEXPECTED: [(&str, &str); 2] = [
    (
        "fork_after_use",
        "a forked child cannot use a driver in its own process",
    ),
    (
        "occupancy_table",
        "cuda_occupancy.h computes otherwise than CUDA 13's drivers",
    ),
];

/// What programs that take commands are told: arguments, and a script to read.
const TOLD: [(&str, &[&str], &str); 2] = [
    (
        "obey",
        &[],
        "allocate 1000\nlaunch 3\nsynchronize\ncount\nto_device 5 100\nto_host 5 100\ncount\n",
    ),
    ("runtime_calls", &["launch", "10"], ""),
];

/// What the software device must be for some sources, by a line in them.
const SETUPS: [(&str, &[(&str, &str)]); 3] = [
    ("", &[]),
    (
        "// device: compute capability 9.0",
        &[("GVIRTUS_SOFTGPU_COMPUTE_CAPABILITY", "9.0")],
    ),
    ("// devices: 2", &[("GVIRTUS_SOFTGPU_DEVICES", "2")]),
];

const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What came of a program.
enum Comparison {
    Same,
    /// It is listed as one that cannot be compiled.
    LeftOut,
    /// There is no time for it.
    Postponed,
}

/// The step of `cargo xtask test`.
pub(crate) fn step(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    let product = product::build(workspace)?;
    let toolkit = toolkit::get()?;
    let places = Places::new(&product)?;
    for (release, refused) in REFUSED {
        let runtime = NvidiaRuntime::get(release)?;
        let compiler = OlderCompiler::new(workspace, &toolkit, release, &runtime)?;
        let start = Instant::now();
        let sources = sources(workspace, release)?;
        let results = on_all_cores(&sources, |source| {
            let compiled = compiler.compile(source)?;
            if let Compiled::Postponed = compiled {
                return Ok(Comparison::Postponed);
            }
            match expected(&name_of(source), compiled, refused)? {
                Some(program) => places
                    .compare(source, &program, &runtime.folder)
                    .map(|()| Comparison::Same),
                None => Ok(Comparison::LeftOut),
            }
        });
        let mut failures = Vec::new();
        let (mut same, mut left_out, mut postponed) = (0, 0, 0);
        for (source, result) in sources.iter().zip(results) {
            match result {
                Ok(Comparison::Same) => same += 1,
                Ok(Comparison::LeftOut) => left_out += 1,
                Ok(Comparison::Postponed) => postponed += 1,
                Err(problem) => failures.push(format!("{}: {problem:#}", name_of(source))),
            }
        }
        tally.add_counts([same, failures.len() as u64, postponed]);
        if postponed > 0 {
            println!("no time is left to compile {postponed} programs; the next run goes on");
        }
        println!(
            "{}: {same} programs do the same with ours, straight and remoted; \
             {left_out} cannot be compiled ({})",
            release.soname(),
            terminal::seconds(start.elapsed())
        );
        ensure!(
            failures.is_empty(),
            "CUDA {}:\n{}",
            release.0,
            failures.join("\n")
        );
    }
    Ok(())
}

/// All CUDA programs of the repository, and those of this release alone.
fn sources(workspace: &Workspace, release: Release) -> Result<Vec<PathBuf>> {
    let mut sources = examples::sources(workspace, "examples")?;
    sources.extend(examples::sources(workspace, "tests/programs")?);
    if release == Release(11) {
        sources.extend(examples::sources(workspace, "examples/cuda11")?);
    }
    let known = |name: &str| sources.iter().any(|source| name_of(source) == name);
    let listed = REFUSED.iter().flat_map(|(_, refused)| *refused);
    let listed = listed.map(|(name, _)| *name);
    let gone: Vec<&str> = listed
        .chain(UNEXPECTED.iter().map(|(name, _)| *name))
        .chain(TOLD.iter().map(|(name, ..)| *name))
        .filter(|name| !known(name))
        .collect();
    ensure!(gone.is_empty(), "there is no {}", gone.join(", "));
    Ok(sources)
}

fn name_of(source: &Path) -> String {
    let stem = source.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The program, if the source is not listed as refused; and that it is, if it was.
fn expected(name: &str, compiled: Compiled, refused: &[(&str, &str)]) -> Result<Option<PathBuf>> {
    let reason = refused.iter().find(|(listed, _)| *listed == name);
    match (compiled, reason) {
        (Compiled::Program(program), None) => Ok(Some(program)),
        (Compiled::Program(_), Some((_, reason))) => {
            bail!("it compiles, but is listed to lack {reason}")
        }
        (Compiled::Refused(said), Some((_, reason))) if said.contains(reason) => Ok(None),
        (Compiled::Refused(said), _) => bail!("it does not compile:\n{said}"),
        (Compiled::Postponed, _) => Ok(None),
    }
}

/// The results in the order of the items.
fn on_all_cores<T: Sync, R: Send>(items: &[T], function: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return done;
            };
            done.push((index, function(item)));
        }
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Where programs find a device.
struct Places {
    // Dropped before the folders.
    /// One for each of [`SETUPS`].
    backends: Vec<Backend>,
    /// Has softgpu.
    device: Scratch,
    /// Has the client.
    client: Scratch,
    /// Our runtimes.
    ours: PathBuf,
}

/// What can be compared.
#[derive(PartialEq, Eq)]
struct Seen {
    is_successful: bool,
    ending: String,
    output: String,
    files: BTreeMap<OsString, Vec<u8>>,
    errors: String,
}

impl Places {
    fn new(product: &Product) -> Result<Self> {
        let folder = |purpose: &str, driver: &Path| -> Result<Scratch> {
            let folder = Scratch::temporary(purpose)?;
            symlink(driver, folder.path().join("libcuda.so.1")).context("cannot make a link")?;
            Ok(folder)
        };
        let ours = product
            .runtimes
            .first()
            .and_then(|library| library.parent())
            .context("there is no runtime of ours")?;
        let backends = SETUPS
            .iter()
            .map(|(_, variables)| Backend::start_in(&product.gvirtus, "auto", variables));
        Ok(Self {
            backends: backends.collect::<Result<_>>()?,
            device: folder("older-device", &product.softgpu)?,
            client: folder("older-client", &product.shim)?,
            ours: ours.to_owned(),
        })
    }

    /// Whether a program does the same with NVIDIA's runtime, with ours, and with ours through a
    /// backend.
    fn compare(&self, source: &Path, program: &Path, theirs: &Path) -> Result<()> {
        let text = fs::read_to_string(source).context("cannot read the source")?;
        let is_wanted = |line: &str| text.lines().any(|other| other == line);
        let setup = SETUPS.iter().skip(1).position(|(line, _)| is_wanted(line));
        let setup = setup.map_or(0, |index| index + 1);
        let name = name_of(source);
        let run = |runtime: &Path, driver: &Path, endpoint: Option<&str>| {
            self.run(&name, program, [runtime, driver], endpoint, setup)
        };
        let expected = run(theirs, self.device.path(), None).context("with NVIDIA's runtime")?;
        let unexpected = UNEXPECTED.iter().find(|(listed, _)| *listed == name);
        if let (true, Some((_, reason))) = (expected.is_successful, unexpected) {
            bail!("it succeeds, although {reason}");
        }
        ensure!(
            expected.is_successful || unexpected.is_some(),
            "it fails with NVIDIA's runtime:\n{}",
            expected.describe()
        );
        let straight = run(&self.ours, self.device.path(), None).context("with ours")?;
        expected.ensure_same("with ours", &straight)?;
        // A client in another process is what such a program gets on with.
        if unexpected.is_none() {
            let endpoint = self.backends[setup].endpoint();
            let remoted = run(&self.ours, self.client.path(), Some(endpoint));
            expected.ensure_same("with ours, remoted", &remoted.context("remoted")?)?;
        }
        Ok(())
    }

    fn run(
        &self,
        name: &str,
        program: &Path,
        libraries: [&Path; 2],
        endpoint: Option<&str>,
        setup: usize,
    ) -> Result<Seen> {
        let folder = Scratch::temporary("older-run")?;
        let told = TOLD.iter().find(|(listed, ..)| *listed == name);
        let (arguments, script) = told.map_or((&[][..], ""), |(_, arguments, script)| {
            (*arguments, *script)
        });
        let mut command = Command::new("sh");
        command
            .args(["-c", "printf %s \"$0\" | exec \"$@\"", script])
            .arg(program)
            .args(arguments)
            .current_dir(folder.path())
            .env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?)
            .envs(SETUPS[setup].1.iter().copied())
            .env_remove("GVIRTUS_ENDPOINT");
        if let Some(endpoint) = endpoint {
            command.env("GVIRTUS_ENDPOINT", endpoint);
        }
        let (mut output, mut errors) = (String::new(), String::new());
        let outcome: Outcome = process::lines(&mut command, LIMIT, |stream, line| {
            let to = match stream {
                Stream::Output => &mut output,
                Stream::Error => &mut errors,
            };
            to.push_str(line);
            to.push('\n');
        })?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder.path()).context("cannot read a folder")? {
            let entry = entry.context("cannot read a folder")?;
            let bytes = fs::read(entry.path()).map_err(|error| anyhow!(error))?;
            files.insert(entry.file_name(), bytes);
        }
        Ok(Seen {
            is_successful: outcome.success(),
            ending: outcome.to_string(),
            output,
            files,
            errors,
        })
    }
}

impl Seen {
    /// What a program writes to standard error differs from run to run.
    fn ensure_same(&self, what: &str, other: &Self) -> Result<()> {
        let same =
            self.ending == other.ending && self.output == other.output && self.files == other.files;
        ensure!(
            same,
            "with NVIDIA's runtime:\n{}{what}:\n{}",
            self.describe(),
            other.describe()
        );
        Ok(())
    }

    fn describe(&self) -> String {
        let files: Vec<_> = self.files.iter().map(|(name, b)| (name, b.len())).collect();
        format!(
            "{}, files {files:?}\n{}{}",
            self.ending, self.output, self.errors
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_must_be_so() {
        let listed: &[(&str, &str)] = &[("a", "newThing")];
        let program = || Compiled::Program("p".into());
        let refused = |said: &str| Compiled::Refused(said.to_owned());
        assert!(expected("b", program(), listed).is_ok_and(|found| found.is_some()));
        assert!(expected("a", program(), listed).is_err());
        let said = refused("\"newThing\" is undefined");
        assert!(expected("a", said, listed).is_ok_and(|found| found.is_none()));
        assert!(expected("a", refused("disk full"), listed).is_err());
        assert!(expected("b", refused("newThing"), listed).is_err());
    }

    #[test]
    fn results_come_in_order() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(on_all_cores(&items, |item| *item), items);
    }
}
