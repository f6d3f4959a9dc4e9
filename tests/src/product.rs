// SPDX-License-Identifier: Apache-2.0
//! The built programs and libraries, found beside the test itself.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where everything is.
#[derive(Debug)]
pub struct Product {
    /// The program `gvirtus`.
    pub gvirtus: PathBuf,
    /// Holds our client library as `libcuda.so.1`.
    pub shim_folder: PathBuf,
    /// Our client library.
    pub shim: PathBuf,
    /// Holds softgpu as `libcuda.so.1`.
    pub softgpu_folder: PathBuf,
    /// Holds our CUDA runtimes under their own names.
    pub runtime_folder: PathBuf,
    /// Our library for `LD_PRELOAD`.
    pub preload: PathBuf,
    /// The compiled example in Rust.
    pub cudarc_example: PathBuf,
    examples: PathBuf,
    programs: PathBuf,
}

/// The product that was built with the profile of this test.
///
/// # Panics
///
/// If it was not built.
pub fn product() -> &'static Product {
    static PRODUCT: OnceLock<Product> = OnceLock::new();
    PRODUCT.get_or_init(Product::find)
}

impl Product {
    fn find() -> Self {
        let test = std::env::current_exe().expect("Linux tells the path of a program");
        // target/release/deps/test-0123456789abcdef
        let profile = test
            .parent()
            .and_then(Path::parent)
            .expect("cargo puts tests two folders deep");
        let target = profile.parent().expect("profiles are in the target folder");
        let examples = std::env::var_os("GVIRTUS_EXAMPLES")
            .map_or_else(|| target.join("examples"), PathBuf::from);
        let built = |name: &str| {
            let path = profile.join(name);
            assert!(
                path.exists(),
                "{} is not there; run `cargo build --release --workspace` first",
                path.display()
            );
            path
        };
        let shim = built("libgvirtus_cuda.so");
        let softgpu = built("libgvirtus_softgpu.so");
        let libraries = profile.join("test-libraries");
        Self {
            gvirtus: built("gvirtus"),
            shim_folder: library_folder(&libraries.join("shim"), &shim),
            shim,
            softgpu_folder: library_folder(&libraries.join("softgpu"), &softgpu),
            runtime_folder: built("cudart"),
            preload: built("preload/libgvirtus.so"),
            cudarc_example: built("cudarc-example"),
            programs: examples.with_file_name("test-programs"),
            examples,
        }
    }

    /// Every compiled example, the one in Rust included, sorted by name.
    ///
    /// # Panics
    ///
    /// If none was compiled.
    pub fn examples(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = fs::read_dir(&self.examples)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        paths.retain(|path| is_program(path));
        assert!(
            !paths.is_empty(),
            "there are no compiled examples in {}; run `cargo xtask examples` first",
            self.examples.display()
        );
        paths.push(self.cudarc_example.clone());
        paths.sort();
        paths
    }

    /// The example `name`.
    ///
    /// # Panics
    ///
    /// If it was not compiled.
    pub fn example(&self, name: &str) -> PathBuf {
        compiled(self.examples.join(name))
    }

    /// The example linked with a shared cudart, if it is one in CUDA C++.
    pub fn with_shared_runtime(&self, example: &Path) -> Option<PathBuf> {
        let name = example.file_name()?;
        let program = self.examples.join("shared-cudart").join(name);
        is_program(&program).then_some(program)
    }

    /// The program made from `tests/programs/<name>.cu`.
    ///
    /// # Panics
    ///
    /// If it was not compiled.
    pub fn program(&self, name: &str) -> PathBuf {
        compiled(self.programs.join(name))
    }
}

fn compiled(path: PathBuf) -> PathBuf {
    assert!(
        is_program(&path),
        "{} is not there; run `cargo xtask examples` first",
        path.display()
    );
    path
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// A folder that holds `library` as `libcuda.so.1`. Tests run at once in several processes, so the
/// link comes into being in one step.
fn library_folder(folder: &Path, library: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("the target folder is writable");
    let partial = folder.join(format!("partial-{}", std::process::id()));
    symlink(library, &partial).expect("the target folder is writable");
    fs::rename(&partial, folder.join("libcuda.so.1")).expect("the target folder is writable");
    folder.to_owned()
}
