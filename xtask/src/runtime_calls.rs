// SPDX-License-Identifier: Apache-2.0
//! What a call of the CUDA runtime costs, with NVIDIA's runtime and with ours on our client:
//! instructions, counted by callgrind, and round trips.
//!
//! Each number is the difference of two runs that make a different number of calls, divided by the
//! difference of their lengths: what starting and ending costs is not in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use gvirtus_runtime_abi::table::RELEASES;

use crate::examples::{self, SHARED_RUNTIME};
use crate::nvidia_runtimes::NvidiaRuntime;
use crate::process;
use crate::product::{self, Backend, Product};
use crate::scratch::Scratch;
use crate::workspace::Workspace;

/// What `tests/programs/runtime_calls.cu` can repeat, and what that is.
const CALLS: [(&str, &str); 9] = [
    ("malloc", "cudaMalloc + cudaFree"),
    ("copy-to-device", "cudaMemcpy, 4 bytes to the device"),
    ("copy-to-host", "cudaMemcpy, 4 bytes to the host"),
    ("launch", "`<<<…>>>`"),
    ("memset", "cudaMemsetAsync"),
    ("event", "cudaEventRecord"),
    ("last-error", "cudaGetLastError"),
    ("device", "cudaGetDevice + cudaSetDevice"),
    ("synchronize", "cudaStreamSynchronize"),
];

const SHORT: u64 = 200;
const LONG: u64 = 1200;
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What a run took as a whole, or a call.
#[derive(Clone, Copy)]
struct Cost {
    instructions: f64,
    round_trips: f64,
}

/// `cargo xtask runtime-calls`: prints a table; an error if ours is not below NVIDIA's everywhere.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    ensure!(
        process::on_path("valgrind").is_some(),
        "there is no valgrind on PATH; install it (on Debian or Ubuntu: apt-get install valgrind)"
    );
    let product = product::build(workspace)?;
    examples::run(workspace)?;
    let program = workspace
        .compiled_test_programs()
        .join(SHARED_RUNTIME)
        .join("runtime_calls");
    let scratch = Scratch::temporary("runtime-calls")?;
    let client = scratch.path().join("client");
    fs::create_dir(&client).context("cannot make a folder")?;
    symlink(&product.shim, client.join("libcuda.so.1")).context("cannot make a link")?;
    let bench = Bench {
        program,
        client,
        backend: Backend::start(&product.gvirtus)?,
        scratch,
    };
    let [.., newest] = RELEASES;
    let runtimes = [NvidiaRuntime::get(newest)?.folder, folder_of(&product)?];
    println!(
        "| call | instructions, NVIDIA's | ours | round trips, NVIDIA's | ours |\n\
         |---|---|---|---|---|"
    );
    let mut worse = Vec::new();
    for (call, name) in CALLS {
        let theirs = bench.per_call(&runtimes[0], call)?;
        let ours = bench.per_call(&runtimes[1], call)?;
        println!(
            "| {name} | {:.0} | {:.0} | {:.3} | {:.3} |",
            theirs.instructions, ours.instructions, theirs.round_trips, ours.round_trips
        );
        if ours.instructions >= theirs.instructions || ours.round_trips > theirs.round_trips {
            worse.push(name);
        }
    }
    ensure!(worse.is_empty(), "ours costs more: {}", worse.join(", "));
    Ok(())
}

/// The folder of our runtimes.
fn folder_of(product: &Product) -> Result<PathBuf> {
    let folder = product
        .runtimes
        .first()
        .and_then(|library| library.parent());
    folder
        .map(Path::to_owned)
        .ok_or_else(|| anyhow!("there is no runtime of ours"))
}

struct Bench {
    program: PathBuf,
    client: PathBuf,
    // Dropped before the folder.
    backend: Backend,
    scratch: Scratch,
}

impl Bench {
    fn per_call(&self, runtime: &Path, call: &str) -> Result<Cost> {
        let [short, long] = [SHORT, LONG].map(|count| self.once(runtime, call, count));
        let (short, long) = (short?, long?);
        let calls = (LONG - SHORT) as f64;
        Ok(Cost {
            instructions: (long.instructions - short.instructions) / calls,
            round_trips: (long.round_trips - short.round_trips) / calls,
        })
    }

    fn once(&self, runtime: &Path, call: &str, count: u64) -> Result<Cost> {
        let statistics = self.scratch.path().join("statistics");
        let mut folders = runtime.as_os_str().to_owned();
        folders.push(":");
        folders.push(&self.client);
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.program)
            .arg(call)
            .arg(count.to_string())
            .env("LD_LIBRARY_PATH", folders)
            .env("GVIRTUS_ENDPOINT", self.backend.endpoint())
            .env("GVIRTUS_STATISTICS", &statistics);
        let mut instructions = None;
        let outcome = process::lines(&mut command, LIMIT, |_, line| {
            if let Some((_, number)) = line.split_once("Collected : ") {
                instructions = number.trim().parse::<f64>().ok();
            }
        })?;
        ensure!(
            outcome.success(),
            "{}: {outcome}",
            process::describe(&command)
        );
        let text = fs::read_to_string(&statistics).context("the client wrote no statistics")?;
        let counted: serde_json::Value =
            serde_json::from_str(&text).context("the client's statistics are not JSON")?;
        Ok(Cost {
            instructions: instructions.ok_or_else(|| anyhow!("callgrind counted nothing"))?,
            round_trips: counted["round_trips"]
                .as_f64()
                .ok_or_else(|| anyhow!("the statistics have no round trips: {text}"))?,
        })
    }
}
