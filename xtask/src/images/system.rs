// SPDX-License-Identifier: Apache-2.0
//! What programs need of the C library: this machine's own, or that of Debian's compiler for
//! another machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::architecture::{Architecture, Tools};
use crate::process;

const QUERY_LIMIT: Duration = Duration::from_secs(60);

/// Where each library is in an image, and where it is copied from: those that `programs` are linked
/// to, the loader, and `also`.
pub(super) fn libraries<'a>(
    tools: Tools,
    programs: impl Iterator<Item = &'a PathBuf>,
    also: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    match tools.cross() {
        Some(architecture) => foreign(tools, architecture, programs, also),
        None => native(programs, also),
    }
}

fn native<'a>(
    programs: impl Iterator<Item = &'a PathBuf>,
    also: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    let mut libraries = linked(programs)?;
    let folder = libraries
        .keys()
        .find_map(|path| path.strip_suffix("/libc.so.6"))
        .context("no program is linked to a C library")?
        .to_owned();
    for name in also {
        let path = format!("{folder}/{name}");
        libraries.insert(path.clone(), path.into());
    }
    Ok(libraries)
}

/// The shared objects that programs of this machine are linked to, and the loader, as `ldd` names
/// them.
pub(crate) fn linked<'a>(
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

/// The same where nothing can be run: by what each object says that it needs.
fn foreign<'a>(
    tools: Tools,
    architecture: Architecture,
    programs: impl Iterator<Item = &'a PathBuf>,
    also: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    let loader = architecture.loader();
    let loader_name = loader.rsplit('/').next().unwrap_or(loader);
    let mut names: BTreeSet<String> = also.iter().map(|name| (*name).to_owned()).collect();
    names.insert(loader_name.to_owned());
    for program in programs {
        names.extend(needed(tools, program)?);
    }
    let mut libraries = BTreeMap::new();
    while let Some(name) = names.pop_first() {
        let path = if name == loader_name {
            loader.to_owned()
        } else {
            format!("/lib/{}/{name}", architecture.libraries())
        };
        if libraries.contains_key(&path) {
            continue;
        }
        let from = find(tools, &name)?;
        names.extend(needed(tools, &from)?);
        libraries.insert(path, from);
    }
    Ok(libraries)
}

/// The names in an object's dynamic section.
fn needed(tools: Tools, object: &Path) -> Result<Vec<String>> {
    let mut command = Command::new(tools.readelf());
    command.args(["--dynamic", "--wide"]).arg(object);
    let listed = process::capture(&mut command, QUERY_LIMIT)?;
    Ok(needed_names(&listed).map(str::to_owned).collect())
}

fn needed_names(listed: &str) -> impl Iterator<Item = &str> {
    let lines = listed.lines().filter(|line| line.contains("(NEEDED)"));
    lines.filter_map(|line| line.split_once('[')?.1.strip_suffix(']'))
}

/// Where the compiler has a library.
fn find(tools: Tools, name: &str) -> Result<PathBuf> {
    let mut command = Command::new(tools.compiler());
    command.arg(format!("-print-file-name={name}"));
    let path = process::capture(&mut command, QUERY_LIMIT)?;
    let path = PathBuf::from(path.trim());
    ensure!(path.is_absolute(), "{} has no {name}", tools.compiler());
    Ok(path)
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

    #[test]
    fn readelf_names_what_is_needed() {
        let listed = " 0x0001 (NEEDED)   Shared library: [libc.so.6]\n\
                      \x20 0x000e (SONAME)   Library soname: [libcuda.so.1]\n\
                      \x20 0x0001 (NEEDED)   Shared library: [ld-linux-aarch64.so.1]\n";
        let names: Vec<_> = needed_names(listed).collect();
        assert_eq!(names, ["libc.so.6", "ld-linux-aarch64.so.1"]);
    }

    #[test]
    fn the_loader_is_where_programs_look_for_it() {
        let this = std::env::current_exe().expect("a program");
        let found = linked([this].iter()).expect("listed");
        let loader = Architecture::host().expect("known").loader();
        assert!(found.contains_key(loader), "{found:?}");
    }
}
