// SPDX-License-Identifier: Apache-2.0
//! The examples' time remoted against their time straight on the software device.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::children;
use super::figure::{Better, Figure, Report};
use super::statistics::median;
use crate::installation;

/// The whole set remoted may take so much longer than straight, starts excluded.
const RATIO_LIMIT: f64 = 1.15;

/// An example with so little to do that its time is that of starting.
const SMALLEST: (&str, [&str; 1]) = ("vector_add", ["1"]);

/// The folders that hold each library as `libcuda.so.1`.
pub(super) struct Folders<'a> {
    pub(super) client: &'a Path,
    pub(super) softgpu: &'a Path,
    pub(super) working: &'a Path,
}

/// The compiled examples, sorted; empty if there are none.
pub(super) fn find() -> Result<Vec<PathBuf>> {
    let folder = match std::env::var_os("GVIRTUS_EXAMPLES") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let program = installation::program()?;
            let folder = program.parent().unwrap_or(Path::new("/"));
            folder.join("../examples")
        }
    };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| {
        let metadata = std::fs::metadata(path);
        metadata.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    });
    paths.sort();
    Ok(paths)
}

/// Milliseconds of one program, straight and remoted.
struct Times {
    straight: f64,
    remoted: f64,
}

/// Runs all of them both ways, in turn.
pub(super) fn measure(
    examples: &[PathBuf],
    folders: &Folders<'_>,
    (transport, endpoint): (&str, &str),
    quick: bool,
    report: &mut Report,
    progress: &dyn Fn(&str),
) -> Result<()> {
    let figures = &mut report.figures;
    let rounds = if quick { 1 } else { 5 };
    let mut start = None;
    if let Some(path) = examples.iter().find(|path| path.ends_with(SMALLEST.0)) {
        let times = both(path, &SMALLEST.1, folders, endpoint, 4 * rounds)?;
        figures.push(
            Figure::new(format!("{transport}.program_start"), "ms", Better::Lower)
                .value(times.remoted)
                .bare(times.straight),
        );
        start = Some(times);
    }
    let (mut straight, mut remoted, mut count) = (0.0, 0.0, 0.0);
    for path in examples {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        progress(&format!("{transport}: example {name}"));
        let times = match both(path, &[], folders, endpoint, rounds) {
            Ok(times) => times,
            Err(error) => {
                report.notes.push(format!("not measured: {error:#}"));
                continue;
            }
        };
        straight += times.straight;
        remoted += times.remoted;
        count += 1.0;
        figures.push(
            Figure::new(format!("{transport}.example.{name}"), "ms", Better::Lower)
                .value(times.remoted)
                .bare(times.straight),
        );
    }
    figures.push(
        Figure::new(format!("{transport}.examples"), "ms", Better::Lower)
            .value(remoted)
            .bare(straight),
    );
    if let Some(start) = start {
        let name = format!("{transport}.examples_without_start");
        figures.push(
            Figure::new(name, "ms", Better::Lower)
                .value(remoted - count * start.remoted)
                .bare(straight - count * start.straight)
                .limit_by_bare(RATIO_LIMIT),
        );
    }
    Ok(())
}

fn both(
    path: &Path,
    arguments: &[&str],
    folders: &Folders<'_>,
    endpoint: &str,
    rounds: usize,
) -> Result<Times> {
    let (mut straight, mut remoted) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let run = |folder, endpoint| {
            children::program(path, arguments, folder, endpoint, folders.working)
        };
        straight.push(run(folders.softgpu, None)?.as_secs_f64() * 1e3);
        remoted.push(run(folders.client, Some(endpoint))?.as_secs_f64() * 1e3);
    }
    Ok(Times {
        straight: median(&mut straight),
        remoted: median(&mut remoted),
    })
}
