// SPDX-License-Identifier: Apache-2.0
//! The command line.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};

/// The executor's variable that lowers the CPU level.
const LEVEL_VARIABLE: &str = "GVIRTUS_SOFTGPU_CPU";
/// Set in the processes that run the cases.
const INSIDE_VARIABLE: &str = "GVIRTUS_DIFFERENTIAL_INSIDE";
const LEVELS: [&str; 3] = ["portable", "v3", "v4"];
/// Among its kernels from CUDA C is one that a fault of the compiler made wait forever.
const FIXED_SEED: u64 = 0x18ea_2187_a18f_0d20;
const HELP: &str = "\
usage: differential [--cases N] [--seed S] [--level portable|v3|v4|all] [--case S]

  --cases N   random kernels of each seed and CPU level (8000)
  --seed S    where they begin (one that never changes, and one of now)
  --level L   the executor's CPU level (all)
  --case S    only the kernel of this seed, shown and run
  --nvcc PATH  compile some kernels from CUDA C with this compiler, too
  --cuda N    how many of these of each seed (300)
  --dump FOLDER  write the text of each kernel there (one level only)
  --no-singles  leave out the kernels of one operation each";

/// What to run.
pub(crate) struct Options {
    pub(crate) cases: u32,
    pub(crate) seeds: Vec<u64>,
    pub(crate) levels: Vec<String>,
    pub(crate) case: Option<u64>,
    pub(crate) singles: bool,
    /// Programs that go through CUDA C.
    pub(crate) cuda: u32,
    /// The compiler for those.
    pub(crate) nvcc: Option<PathBuf>,
    /// What it made of them.
    pub(crate) compiled: Option<PathBuf>,
    /// Folder for the text of every kernel.
    pub(crate) dump: Option<PathBuf>,
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text} is no number\n{HELP}"))
}

fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| now.as_nanos() as u64)
}

impl Options {
    /// # Errors
    ///
    /// How to use it.
    pub(crate) fn from_arguments() -> Result<Self, String> {
        let mut options = Self {
            cases: 8000,
            seeds: vec![FIXED_SEED, fresh_seed()],
            levels: LEVELS.map(str::to_owned).to_vec(),
            case: None,
            singles: true,
            cuda: 300,
            nvcc: None,
            compiled: None,
            dump: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if argument == "--no-singles" {
                options.singles = false;
                continue;
            }
            let value = arguments.next().ok_or(HELP)?;
            match argument.as_str() {
                "--cases" => options.cases = number(&value)? as u32,
                "--seed" => options.seeds = vec![number(&value)?],
                "--case" => {
                    options.case = Some(number(&value)?);
                    options.seeds.truncate(1);
                }
                "--cuda" => options.cuda = number(&value)? as u32,
                "--nvcc" => options.nvcc = Some(value.into()),
                "--compiled" => options.compiled = Some(value.into()),
                "--dump" => options.dump = Some(value.into()),
                "--level" if value == "all" => {}
                "--level" if LEVELS.contains(&value.as_str()) => options.levels = vec![value],
                _ => return Err(HELP.to_owned()),
            }
        }
        Ok(options)
    }
}

/// Each level by each seed. A level is chosen once in a process, so each has its own.
pub(crate) fn run_each(options: &Options) -> ExitCode {
    let Ok(program) = std::env::current_exe() else {
        return ExitCode::FAILURE;
    };
    let mut result = ExitCode::SUCCESS;
    let mut compiled = Vec::new();
    if let (Some(nvcc), None) = (&options.nvcc, options.case) {
        for seed in &options.seeds {
            match super::compiled::compile(nvcc, *seed, options.cuda) {
                Ok(path) => compiled.push(path),
                Err(message) => {
                    println!("{message}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    for level in &options.levels {
        for (index, seed) in options.seeds.iter().enumerate() {
            let mut command = Command::new(&program);
            command.env(LEVEL_VARIABLE, level);
            command.args(["--level", level]);
            command.args(["--seed", &seed.to_string()]);
            command.args(["--cases", &options.cases.to_string()]);
            if let Some(case) = options.case {
                command.args(["--case", &case.to_string()]);
            }
            if let Some(path) = compiled.get(index) {
                command.arg("--compiled").arg(path);
                command.args(["--cuda", &options.cuda.to_string()]);
            }
            if let Some(folder) = &options.dump {
                command.arg("--dump").arg(folder);
            }
            if index > 0 || !options.singles {
                command.arg("--no-singles");
            }
            command.env(INSIDE_VARIABLE, "1");
            if !command.status().is_ok_and(|status| status.success()) {
                result = ExitCode::FAILURE;
            }
        }
    }
    if result == ExitCode::SUCCESS
        && let Some(folder) = compiled.first().and_then(|path| path.parent())
    {
        // What is left there is only clutter.
        let _ = std::fs::remove_dir_all(folder);
    }
    result
}

/// Whether this process is one of those that [`run_each`] starts.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE_VARIABLE).is_some()
}
