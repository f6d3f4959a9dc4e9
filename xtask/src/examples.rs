// SPDX-License-Identifier: Apache-2.0
//! The CUDA programs: `examples/*.cu` and the tests' own `tests/programs/*.cu`, compiled when they
//! or the compiler have changed.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::process::{self, Outcome};
use crate::scratch::{self, Scratch};
use crate::terminal;
use crate::toolkit::{self, Toolkit};
use crate::workspace::Workspace;

const EXAMPLES: &str = "examples";
const TEST_PROGRAMS: &str = "tests/programs";
/// The folder of the programs that are linked with a shared cudart.
pub(crate) const SHARED_RUNTIME: &str = "shared-cudart";
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Which programs are compiled, and how.
pub(crate) struct Flavour {
    /// The folder of the sources, relative to the workspace's root.
    sources: &'static str,
    /// Where the programs go.
    folder: PathBuf,
    /// Each program is linked a second time, with a shared cudart, into the folder
    /// [`SHARED_RUNTIME`] of that one.
    shared_runtime: bool,
}

impl Flavour {
    /// nvcc's default flags, as a user would compile.
    pub(crate) fn plain(workspace: &Workspace) -> Self {
        Self {
            sources: EXAMPLES,
            folder: workspace.compiled_examples(),
            shared_runtime: true,
        }
    }

    /// The programs that only tests run.
    pub(crate) fn test_programs(workspace: &Workspace) -> Self {
        Self {
            sources: TEST_PROGRAMS,
            folder: workspace.compiled_test_programs(),
            shared_runtime: true,
        }
    }
}

/// A compiled example.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The same, linked with a shared cudart.
    pub(crate) shared: Option<PathBuf>,
}

/// `cargo xtask examples`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let toolkit = toolkit::get()?;
    for flavour in [Flavour::plain(workspace), Flavour::test_programs(workspace)] {
        for example in compile(workspace, &toolkit, &flavour)? {
            println!("{}", example.program.display());
        }
    }
    Ok(())
}

/// Compiles what has changed; the result is sorted by name and has every example.
pub(crate) fn compile(
    workspace: &Workspace,
    toolkit: &Toolkit,
    flavour: &Flavour,
) -> Result<Vec<Example>> {
    let sources = sources(workspace, flavour.sources)?;
    let headers = headers(workspace)?;
    fs::create_dir_all(&flavour.folder)
        .with_context(|| format!("cannot create {}", flavour.folder.display()))?;
    let _lock = scratch::lock(&flavour.folder.join(".lock"), "another compilation")?;
    let mut examples = Vec::new();
    let mut stale = Vec::new();
    for source in sources {
        let job = Job::new(&source, &headers, toolkit, flavour)?;
        examples.push(Example {
            name: job.name.clone(),
            program: job.program.clone(),
            shared: job.shared.clone(),
        });
        if !job.is_done() {
            stale.push(job);
        }
    }
    if stale.is_empty() {
        return Ok(examples);
    }
    println!(
        "Compiling {} of {} programs of {}/ ({})",
        stale.len(),
        examples.len(),
        flavour.sources,
        toolkit.version
    );
    let scratch = Scratch::create(flavour.folder.join(".scratch"))?;
    if flavour.shared_runtime {
        let folder = flavour.folder.join(SHARED_RUNTIME);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        toolkit.link_shared_runtime(scratch.path())?;
    }
    compile_all(&stale, scratch.path())?;
    Ok(examples)
}

/// Runs the jobs on all cores; after a failure none is begun.
fn compile_all(jobs: &[Job], scratch: &Path) -> Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            job.compile(scratch)
                .inspect_err(|_| next.store(jobs.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow!("a compilation panicked"))?
        })
    })
}

/// One program to compile.
struct Job {
    name: String,
    source: PathBuf,
    program: PathBuf,
    /// The same, linked with a shared cudart.
    shared: Option<PathBuf>,
    /// Holds [`Self::fingerprint`] once the program is compiled.
    stamp: PathBuf,
    fingerprint: String,
    toolkit: Toolkit,
    flags: Vec<String>,
}

impl Job {
    fn new(
        source: &Path,
        headers: &[Vec<u8>],
        toolkit: &Toolkit,
        flavour: &Flavour,
    ) -> Result<Self> {
        let name = source
            .file_stem()
            .and_then(|stem| stem.to_str())
            .ok_or_else(|| anyhow!("{} has no name", source.display()))?;
        let text = fs::read_to_string(source)
            .with_context(|| format!("cannot read {}", source.display()))?;
        let folder = source.parent().unwrap_or_else(|| Path::new("."));
        let flags: Vec<String> = own_flags(&text)
            .into_iter()
            .map(|flag| resolve(&flag, folder))
            .collect();
        let mut hasher = DefaultHasher::new();
        (&text, headers, &toolkit.nvcc, &toolkit.version, &flags).hash(&mut hasher);
        for file in further_files(source) {
            let further = fs::read(&file);
            further
                .with_context(|| format!("cannot read {}", file.display()))?
                .hash(&mut hasher);
        }
        Ok(Self {
            name: name.to_owned(),
            source: source.to_owned(),
            program: flavour.folder.join(name),
            shared: flavour
                .shared_runtime
                .then(|| flavour.folder.join(SHARED_RUNTIME).join(name)),
            stamp: flavour.folder.join(format!(".{name}.stamp")),
            fingerprint: format!("{:016x}\n", hasher.finish()),
            toolkit: toolkit.clone(),
            flags,
        })
    }

    fn is_done(&self) -> bool {
        self.program.exists()
            && self.shared.as_ref().is_none_or(|program| program.exists())
            && fs::read_to_string(&self.stamp).is_ok_and(|text| text == self.fingerprint)
    }

    fn compile(&self, scratch: &Path) -> Result<()> {
        let start = Instant::now();
        match &self.shared {
            None => self.nvcc(scratch, &[], &self.source, &self.program)?,
            Some(shared) => self.compile_and_link_twice(scratch, shared)?,
        }
        fs::write(&self.stamp, &self.fingerprint)
            .with_context(|| format!("cannot write {}", self.stamp.display()))?;
        println!("  {} ({})", self.name, terminal::seconds(start.elapsed()));
        Ok(())
    }

    /// Compiling takes the time, so both programs are linked from one object; but a program of
    /// several sources has no one object.
    fn compile_and_link_twice(&self, scratch: &Path, shared: &Path) -> Result<()> {
        let several = self.flags.iter().any(|flag| flag.ends_with(".cu"));
        let object = scratch.join(format!("{}.o", self.name));
        let input = if several { &self.source } else { &object };
        if !several {
            self.nvcc(scratch, &["-c"], &self.source, &object)?;
        }
        let library_folder = format!("-L{}", scratch.display());
        self.nvcc(scratch, &[], input, &self.program)?;
        self.nvcc(scratch, &["-cudart=shared", &library_folder], input, shared)
    }

    fn nvcc(&self, scratch: &Path, mode: &[&str], input: &Path, output: &Path) -> Result<()> {
        let partial = scratch.join(&self.name);
        let mut command: Command = self.toolkit.command();
        command
            .args(mode)
            .arg(input)
            .arg("-o")
            .arg(&partial)
            .args(&self.flags)
            // nvcc leaves its intermediate files behind when it is killed.
            .env("TMPDIR", scratch);
        let mut said = Vec::new();
        let outcome: Outcome =
            process::lines(&mut command, LIMIT, |_, line| said.push(line.to_owned()))?;
        ensure!(
            outcome.success(),
            "{}: {outcome}\n{}",
            process::describe(&command),
            said.join("\n")
        );
        for line in said {
            println!("    {line}");
        }
        fs::rename(&partial, output).with_context(|| format!("cannot write {}", output.display()))
    }
}

/// What a source asks for itself, in a line `// nvcc: -lfoo`.
pub(crate) fn own_flags(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("// nvcc:"))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// A flag that names a source means one in the example's folder.
pub(crate) fn resolve(flag: &str, folder: &Path) -> String {
    match flag.ends_with(".cu") {
        true => folder.join(flag).display().to_string(),
        false => flag.to_owned(),
    }
}

/// The files in the folder that has an example's name, sorted.
pub(crate) fn further_files(source: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(source.with_extension(""));
    let mut files: Vec<PathBuf> = entries
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

pub(crate) fn sources(workspace: &Workspace, folder: &str) -> Result<Vec<PathBuf>> {
    let sources = with_extension(workspace, folder, &["cu"])?;
    ensure!(!sources.is_empty(), "there is no .cu file in {folder}/");
    Ok(sources)
}

/// All programs include from the examples' folder only.
pub(crate) fn headers(workspace: &Workspace) -> Result<Vec<Vec<u8>>> {
    with_extension(workspace, EXAMPLES, &["cuh", "h", "hpp"])?
        .iter()
        .map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display())))
        .collect()
}

fn with_extension(
    workspace: &Workspace,
    folder: &str,
    extensions: &[&str],
) -> Result<Vec<PathBuf>> {
    let folder = workspace.root().join(folder);
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.context("cannot read a folder")?.path();
        let extension = path.extension().and_then(|e| e.to_str());
        if extension.is_some_and(|e| extensions.contains(&e)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolkit(version: &str) -> Toolkit {
        Toolkit {
            nvcc: "/bin/true".into(),
            library_folder: None,
            version: version.into(),
        }
    }

    #[test]
    fn a_program_is_stale_when_anything_it_is_made_from_changes() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let source = folder.path().join("a.cu");
        fs::write(&source, "int main() {}\n").expect("written");
        let flavour = |shared_runtime| Flavour {
            sources: EXAMPLES,
            folder: folder.path().into(),
            shared_runtime,
        };
        let job = |version: &str, headers: &[Vec<u8>], shared_runtime: bool| {
            let flavour = flavour(shared_runtime);
            Job::new(&source, headers, &toolkit(version), &flavour).expect("readable")
        };
        let first = job("1", &[], false);
        assert!(!first.is_done());
        fs::write(&first.program, "").expect("written");
        fs::write(&first.stamp, &first.fingerprint).expect("written");
        assert!(job("1", &[], false).is_done());
        assert!(!job("2", &[], false).is_done());
        assert!(!job("1", &[b"x".to_vec()], false).is_done());
        assert!(!job("1", &[], true).is_done());
        fs::write(&source, "int main() { return 1; }\n").expect("written");
        assert!(!job("1", &[], false).is_done());
    }

    #[test]
    fn a_source_may_ask_for_flags() {
        assert_eq!(
            own_flags("// SPDX\n// nvcc: -la -lb\nint x;\n"),
            ["-la", "-lb"]
        );
        assert!(own_flags("int x; // nvcc: -la\n").is_empty());
        assert_eq!(resolve("more/a.cu", Path::new("/x")), "/x/more/a.cu");
        assert_eq!(resolve("-O3", Path::new("/x")), "-O3");
    }
}
