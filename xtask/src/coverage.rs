// SPDX-License-Identifier: Apache-2.0
//! `docs/coverage.md`: what becomes of every function of `cuda.h`, from the call table.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use gvirtus_abi::table::{Function, Travel, driver_api};

use crate::workspace::Workspace;

const HEAD: &str = "\
# Coverage of the CUDA driver API

Made from the call table (`abi/src/driver_api.table`) by `cargo xtask coverage`; not to be edited.

Every function of `cuda.h` 13.5 is exported. One that is not supported answers
`CUDA_ERROR_NOT_SUPPORTED` and is named once in the log. How a call travels:

- **local**: answered in the client, no message;
- **posted**: queued without a reply; its first failure is reported by a later call;
- **sync**: one round trip;
- **custom**: written by hand on both sides, because it needs more than one of the above;
- **no**: not supported.

*Software device* tells whether softgpu, the device without a GPU, implements the function; on a
real GPU the backend calls NVIDIA's driver for everything that travels.
";

/// `cargo xtask coverage`.
pub(crate) fn run(workspace: &Workspace, check: bool) -> Result<()> {
    let path = file(workspace);
    if check {
        if is_current(workspace) {
            println!("{} is up to date", path.display());
            return Ok(());
        }
        bail!(
            "{} is not what the call table says; run `cargo xtask coverage`",
            path.display()
        );
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(&path, report(&driver_api()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// Whether the file says what the table says.
pub(crate) fn is_current(workspace: &Workspace) -> bool {
    fs::read_to_string(file(workspace)).is_ok_and(|text| text == report(&driver_api()))
}

fn file(workspace: &Workspace) -> PathBuf {
    workspace.root().join("docs/coverage.md")
}

fn report(functions: &[Function]) -> String {
    let mut text = HEAD.to_owned();
    summary(&mut text, functions);
    text.push_str("\n## Functions\n\n");
    text.push_str("| function | since CUDA | client | software device |\n");
    text.push_str("| --- | --- | --- | --- |\n");
    for function in functions {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            names(function),
            version(function.since),
            way(function.travel),
            if function.soft { "yes" } else { "no" },
        );
    }
    text
}

fn summary(text: &mut String, functions: &[Function]) {
    let total = functions.len();
    let symbols: usize = functions.iter().map(|f| f.symbols().count()).sum();
    let of = |wanted: &str| functions.iter().filter(|f| way(f.travel) == wanted).count();
    let client = total - of("no");
    let soft = functions.iter().filter(|f| f.soft).count();
    let share = |part: usize| format!("{part} of {total} ({} %)", part * 100 / total.max(1));
    let _ = write!(
        text,
        "\n## Summary\n\n{total} functions (with their versions), {symbols} symbols.\n\n\
         | | functions |\n| --- | --- |\n\
         | client: supported | {} |\n",
        share(client)
    );
    for kind in ["local", "posted", "sync", "custom"] {
        let _ = writeln!(text, "| client: {kind} | {} |", of(kind));
    }
    let _ = writeln!(text, "| client: not supported | {} |", of("no"));
    let _ = writeln!(text, "| software device: supported | {} |", share(soft));
}

fn names(function: &Function) -> String {
    let names: Vec<_> = function.symbols().map(|s| format!("`{s}`")).collect();
    names.join(", ")
}

/// The column's word for a way to travel.
const fn way(travel: Travel) -> &'static str {
    match travel {
        Travel::Custom(_) => "custom",
        Travel::Local => "local",
        Travel::Posted(_) => "posted",
        Travel::Sync(_) => "sync",
        Travel::Unsupported => "no",
    }
}

/// `12080` is CUDA 12.8.
fn version(since: u32) -> String {
    format!("{}.{}", since / 1000, since % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gvirtus_abi::table::parse;

    #[test]
    fn the_report_counts_and_lists() {
        let functions = parse(
            "cuA @12080 | local | soft | \n\
             cuB @2000 ptsz@7000 | posted 0x0001 | | \n\
             cuC @2000 | unsupported | | ",
        )
        .expect("well formed");
        let report = report(&functions);
        for line in [
            "3 functions (with their versions), 4 symbols.",
            "| client: supported | 2 of 3 (66 %) |",
            "| client: posted | 1 |",
            "| client: not supported | 1 |",
            "| software device: supported | 1 of 3 (33 %) |",
            "| `cuA` | 12.8 | local | yes |",
            "| `cuB`, `cuB_ptsz` | 2.0 | posted | no |",
            "| `cuC` | 2.0 | no | no |",
        ] {
            assert!(report.lines().any(|l| l == line), "{line}\n{report}");
        }
    }
}
