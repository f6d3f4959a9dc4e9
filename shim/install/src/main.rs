// SPDX-License-Identifier: Apache-2.0
//! `gvirtus-install FOLDER`: copies the client libraries of its image into a volume.
//!
//! The only program of the shim image, which has neither a shell nor a C library: it is linked
//! statically. An init container may be started again, so what is there is replaced, and each file
//! appears under its name when it is whole.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;

/// Where the image has the libraries.
const LIBRARIES: &str = "/libraries";
const HELP: &str = "usage: gvirtus-install FOLDER

Copies the client libraries of this image (/libraries) into FOLDER.";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [folder] = arguments.as_slice() else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    if folder == OsStr::new("--help") {
        eprintln!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match copy(Path::new(LIBRARIES), Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let folder = folder.display();
            eprintln!("gvirtus-install: cannot copy {LIBRARIES} to {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Copies what is in `from` into `to`; any user may read it there, whatever the umask.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            if !target.is_dir() {
                fs::create_dir(&target)?;
            }
            fs::set_permissions(&target, Permissions::from_mode(0o755))?;
            copy(&source, &target)?;
        } else {
            let mut partial = target.clone().into_os_string();
            partial.push(".partial");
            // An older one may be unwritable.
            let _ = fs::remove_file(&partial);
            fs::copy(&source, &partial)?;
            fs::set_permissions(&partial, Permissions::from_mode(0o555))?;
            fs::rename(&partial, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_copy_replaces_the_first() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("lib")).expect("created");
        fs::create_dir(&to).expect("created");
        for text in ["first", "second"] {
            fs::write(from.join("lib/a.so"), text).expect("written");
            copy(&from, &to).expect("copied");
            let target = to.join("lib/a.so");
            assert_eq!(fs::read_to_string(&target).expect("readable"), text);
            let mode = fs::metadata(&target).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o555);
            assert_eq!(fs::read_dir(to.join("lib")).expect("there").count(), 1);
        }
    }
}
