// SPDX-License-Identifier: Apache-2.0
//! An NVML as a table of functions.

use core::ffi::{CStr, c_void};
use std::ffi::CString;
use std::path::{Path, PathBuf};

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::{ARGUMENTS_MAX, functions, number};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::driver::{CLIENT_LIBRARY_MARKER, Candidate, linker_cache};

const NVML_LIBRARY: &str = "libnvidia-ml.so.1";

/// What NVML has for sure, whoever made it.
const REQUIRED: &CStr = c"nvmlInit_v2";

/// What our own `libnvidia-ml.so.1` exports.
const MANAGEMENT_CLIENT_MARKER: &CStr = c"gvirtus_management_client_library";

/// What only the software device has.
const SOFTGPU_MARKER: &CStr = c"gvirtus_host_memory";

/// The functions of one NVML, by their numbers in the table.
pub(crate) struct Nvml {
    addresses: Vec<usize>,
}

/// Why there is no NVML.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NvmlError {
    /// The driver is built in.
    #[error("the driver noop has no NVML")]
    Noop,
    /// Nowhere where it is looked for.
    #[error("there is no libnvidia-ml.so.1 for the driver {}", .0.display())]
    Absent(PathBuf),
    /// It is GVirtuS's own client library: calls would come back to where they came from.
    #[error("{} is the GVirtuS client library, not NVIDIA's libnvidia-ml.so.1", .0.display())]
    ClientLibrary(PathBuf),
    /// It cannot be opened.
    #[error("cannot open {}: {reason}", path.display())]
    Open {
        /// What was tried.
        path: PathBuf,
        /// The dynamic linker's reason.
        reason: String,
    },
}

impl Nvml {
    /// Opens the NVML that belongs to a driver: `libnvidia-ml.so.1` beside it; what the driver's
    /// own library exports, as the software device does; else the one that the dynamic linker
    /// knows.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn open(driver: &Candidate) -> Result<Self, NvmlError> {
        let path = match driver {
            Candidate::Noop => return Err(NvmlError::Noop),
            Candidate::Library(path) | Candidate::Softgpu(path) => path,
        };
        if let Some(sibling) = siblings(path).find(|sibling| sibling.exists()) {
            return Self::load(&sibling);
        }
        let library = open(path)?;
        if has(&library, CLIENT_LIBRARY_MARKER) {
            return Err(NvmlError::ClientLibrary(path.clone()));
        }
        if has(&library, REQUIRED) {
            return Ok(Self::of(library));
        }
        if has(&library, SOFTGPU_MARKER) {
            return Err(NvmlError::Absent(path.clone()));
        }
        match linker_cache::paths(NVML_LIBRARY).first() {
            Some(known) => Self::load(known),
            None => Err(NvmlError::Absent(path.clone())),
        }
    }

    /// A table of what `find` knows.
    pub(crate) fn resolve(mut find: impl FnMut(&str) -> usize) -> Self {
        let addresses = functions().iter().map(|f| find(f.symbol)).collect();
        Self { addresses }
    }

    fn load(path: &Path) -> Result<Self, NvmlError> {
        let library = open(path)?;
        let markers = [CLIENT_LIBRARY_MARKER, MANAGEMENT_CLIENT_MARKER];
        if markers.into_iter().any(|marker| has(&library, marker)) {
            return Err(NvmlError::ClientLibrary(path.to_owned()));
        }
        Ok(Self::of(library))
    }

    fn of(library: Library) -> Self {
        let nvml = Self::resolve(|symbol| {
            CString::new(symbol).map_or(0, |symbol| address(&library, &symbol).addr())
        });
        // Threads of the library may run until the process ends.
        std::mem::forget(library);
        nvml
    }

    /// Calls the function with this number in the table.
    ///
    /// # Safety
    ///
    /// The words must be the function's arguments: numbers as they are, pointers to memory that the
    /// function may use as its C declaration says.
    pub(crate) unsafe fn call(&self, number: u16, words: &[usize]) -> Status {
        let address = self.addresses.get(usize::from(number)).copied();
        let Some(address) = address.filter(|address| *address != 0) else {
            return Status::FUNCTION_NOT_FOUND;
        };
        let mut w = [0; ARGUMENTS_MAX];
        w[..words.len()].copy_from_slice(words);
        type Function = unsafe extern "C" fn(usize, usize, usize, usize, usize, usize) -> Status;
        // SAFETY: the address is the function's. Each of at most six integers and pointers is
        // passed in a register of its own on the machines that CUDA runs on, so a function with
        // fewer parameters finds its own and does not look at the others; narrower ones are in the
        // lower half. The rest is the caller's promise.
        unsafe {
            let function: Function = std::mem::transmute(address);
            function(w[0], w[1], w[2], w[3], w[4], w[5])
        }
    }

    /// The same, by the symbol of a function of the table.
    ///
    /// # Safety
    ///
    /// That of [`Nvml::call`].
    pub(crate) unsafe fn call_symbol(&self, symbol: &str, words: &[usize]) -> Status {
        match number(symbol) {
            // SAFETY: the caller's promise.
            Some(number) => unsafe { self.call(number, words) },
            None => Status::FUNCTION_NOT_FOUND,
        }
    }

    /// What this NVML calls the device of this name, `GPU-…`.
    ///
    /// # Errors
    ///
    /// That it knows none, or was not started.
    pub(crate) fn device(&self, name: &str) -> Result<usize, Status> {
        let name = CString::new(name).map_err(|_| Status::INVALID_ARGUMENT)?;
        let mut device: usize = 0;
        let place = (&raw mut device).expose_provenance();
        let name = name.as_ptr().expose_provenance();
        // SAFETY: the function reads a string and writes a pointer to a local.
        match unsafe { self.call_symbol("nvmlDeviceGetHandleByUUID", &[name, place]) } {
            Status::SUCCESS => Ok(device),
            status => Err(status),
        }
    }
}

impl std::fmt::Debug for Nvml {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nvml").finish_non_exhaustive()
    }
}

/// Where an NVML would be that was installed with the driver: beside it, or beside the file that
/// it is a link to.
fn siblings(driver: &Path) -> impl Iterator<Item = PathBuf> {
    let real = driver.canonicalize().ok();
    [Some(driver.to_owned()), real]
        .into_iter()
        .flatten()
        .filter_map(|path| Some(path.parent()?.join(NVML_LIBRARY)))
}

fn open(path: &Path) -> Result<Library, NvmlError> {
    // SAFETY: the operator chose the driver, and its libraries' constructors are trusted like it.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    library.map_err(|error| NvmlError::Open {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn has(library: &Library, name: &CStr) -> bool {
    !address(library, name).is_null()
}

fn address(library: &Library, name: &CStr) -> *const c_void {
    // SAFETY: only the address is taken here; whoever calls it knows its type.
    let symbol = unsafe { library.get::<*const c_void>(name.to_bytes_with_nul()) };
    symbol.map_or(std::ptr::null(), |symbol| symbol.into_raw().cast_const())
}
