// SPDX-License-Identifier: Apache-2.0
//! Opens a libcuda.

use core::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};

use gvirtus_abi::{CUdriverProcAddressQueryResult, CUresult};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::{CLIENT_LIBRARY_MARKER, Driver, Entries, Function, HostMemory, check};

/// The oldest driver that tells kernels' parameter layouts: CUDA 12.4.
pub const MINIMUM_VERSION: i32 = 12_040;

/// Why a library is of no use as a driver.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// It is GVirtuS's own client library: calls would come back to where they came from.
    #[error("{} is the GVirtuS client library, not a driver; name the path of NVIDIA's libcuda.so.1, or softgpu", .0.display())]
    ClientLibrary(PathBuf),
    /// It cannot be opened.
    #[error("cannot open the driver {}: {reason}", path.display())]
    Open {
        /// What was tried.
        path: PathBuf,
        /// The dynamic linker's reason.
        reason: String,
    },
    /// A path that depends on the working directory or the search path.
    #[error("{} is not an absolute path", .0.display())]
    Relative(PathBuf),
    /// It opens but does not work.
    #[error("the driver does not start: {function} answers {status:?}")]
    Start {
        /// What was called.
        function: &'static str,
        /// What it answered.
        status: CUresult,
    },
    /// It is too old.
    #[error(
        "the driver is for CUDA {}.{}; GVirtuS needs CUDA 12.4 (driver 550) or newer, because older \
         drivers do not tell the layout of kernel parameters",
        .0 / 1000, .0 % 1000 / 10
    )]
    TooOld(i32),
}

impl Driver {
    /// Opens the library at an absolute path. It stays open for the life of the process.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, is the client library, or is too old.
    pub fn load(path: &Path) -> Result<Self, DriverError> {
        if !path.is_absolute() {
            return Err(DriverError::Relative(path.to_owned()));
        }
        let opened = |error: libloading::Error| DriverError::Open {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        // SAFETY: a driver's constructors are trusted like the driver itself: the operator chose
        // it.
        let library =
            unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(opened)?;
        if !symbol(&library, CLIENT_LIBRARY_MARKER).is_null() {
            return Err(DriverError::ClientLibrary(path.to_owned()));
        }
        let look_up = LookUp::of(&library);
        // SAFETY: the library is a libcuda, whose functions have the types that cuda.h declares.
        let mut entries = unsafe {
            Entries::resolve(|function| {
                let address = symbol(&library, function.symbol);
                if address.is_null() {
                    look_up.find(function)
                } else {
                    address
                }
            })
        };
        // Newer than the oldest driver, and with the same arguments as the older form.
        entries.cuEventElapsedTime_v2 =
            entries.cuEventElapsedTime_v2.or(entries.cuEventElapsedTime);
        // SAFETY: null is None, all else the function of that name, which only softgpu has.
        let host_memory = unsafe {
            let address = symbol(&library, c"gvirtus_host_memory");
            std::mem::transmute::<*const c_void, Option<HostMemory>>(address)
        };
        // Threads of the driver may run until the process ends.
        std::mem::forget(library);
        let driver = Self {
            host_memory,
            ..Self::new(entries)
        };
        driver.check_version()?;
        Ok(driver)
    }

    /// `cuInit`.
    ///
    /// # Errors
    ///
    /// The driver's, for example that there is no device.
    pub fn initialize(&self) -> Result<(), DriverError> {
        // SAFETY: no preconditions.
        check(unsafe { self.cuInit(0) }).map_err(|status| DriverError::Start {
            function: "cuInit",
            status,
        })
    }

    /// As `cuDriverGetVersion` says: 1000 × major + 10 × minor.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub fn version(&self) -> Result<i32, DriverError> {
        let mut version = 0;
        // SAFETY: the output is a local.
        let status = unsafe { self.cuDriverGetVersion(&raw mut version) };
        match check(status) {
            Ok(()) => Ok(version),
            Err(status) => Err(DriverError::Start {
                function: "cuDriverGetVersion",
                status,
            }),
        }
    }

    fn check_version(&self) -> Result<(), DriverError> {
        match self.version()? {
            version if version < MINIMUM_VERSION => Err(DriverError::TooOld(version)),
            _ => Ok(()),
        }
    }
}

/// `cuGetProcAddress_v2`, for functions that a library has but does not export by name.
struct LookUp(Option<GetProcAddress>);

type GetProcAddress = unsafe extern "C" fn(
    *const c_char,
    *mut *mut c_void,
    i32,
    u64,
    *mut CUdriverProcAddressQueryResult,
) -> CUresult;

impl LookUp {
    fn of(library: &Library) -> Self {
        let address = symbol(library, c"cuGetProcAddress_v2");
        // SAFETY: null is None, all else the function of that name.
        Self(unsafe { std::mem::transmute::<*const c_void, Option<GetProcAddress>>(address) })
    }

    fn find(&self, function: &Function) -> *const c_void {
        let (mut address, mut found) = (std::ptr::null_mut(), Default::default());
        let Some(get_proc_address) = self.0 else {
            return address;
        };
        // SAFETY: the name is terminated, the outputs are locals.
        let status = unsafe {
            get_proc_address(
                function.base.as_ptr(),
                &raw mut address,
                function.since,
                0,
                &raw mut found,
            )
        };
        match status {
            CUresult::CUDA_SUCCESS => address,
            _ => std::ptr::null_mut(),
        }
    }
}

fn symbol(library: &Library, name: &CStr) -> *const c_void {
    // SAFETY: only the address is taken here; whoever calls it knows its type.
    let symbol = unsafe { library.get::<*const c_void>(name.to_bytes_with_nul()) };
    symbol.map_or(std::ptr::null(), |symbol| symbol.into_raw().cast_const())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_driver_is_refused_in_words() {
        let relative = Driver::load(Path::new("libcuda.so.1")).expect_err("relative");
        assert!(relative.to_string().contains("not an absolute path"));
        let missing = Driver::load(Path::new("/nonexistent/libcuda.so.1")).expect_err("missing");
        assert!(
            missing.to_string().contains("/nonexistent/libcuda.so.1"),
            "{missing}"
        );
        let old = DriverError::TooOld(11_080);
        assert!(old.to_string().contains("for CUDA 11.8;"), "{old}");
    }

    #[test]
    fn the_noop_driver_is_new_enough() {
        let driver = Driver::noop();
        driver.initialize().expect("always");
        driver.check_version().expect("new enough");
    }
}
