// SPDX-License-Identifier: Apache-2.0
//! The driver API as a program sees it: a library opened by its path, functions found by name.

#![allow(unsafe_code, reason = "the driver API is a C library")]

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ffi::CString;
use std::mem::transmute_copy;
use std::path::Path;
use std::ptr::{null, null_mut};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};

use super::case::Launch;
use super::image_driver::Images;

/// Why the driver did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DriverError {
    /// The library cannot be opened or has no such function.
    #[error("{0}")]
    Library(String),
    /// A function answered an error.
    #[error("{call}: {error}{}{log}", if log.is_empty() { "" } else { ": " })]
    Call {
        /// The function.
        call: &'static str,
        /// The error's name.
        error: String,
        /// What the compiler said.
        log: String,
    },
}

/// The functions of a file, each found by its symbol.
macro_rules! functions {
    ($($field:ident = $symbol:literal ($($argument:ty),*);)*) => {
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            fn resolve(library: &Library) -> Result<Self, DriverError> {
                Ok(Self {
                    // SAFETY: the types are those of cuda.h, with handles as pointers, addresses
                    // as 64-bit and enumerations as 32-bit integers.
                    $($field: unsafe { symbol(library, $symbol)? },)*
                })
            }
        }
    };
}

pub(super) use functions;

functions! {
    init = "cuInit"(c_uint);
    error_name = "cuGetErrorName"(c_int, *mut *const c_char);
    device_name = "cuDeviceGetName"(*mut c_char, c_int, c_int);
    attribute = "cuDeviceGetAttribute"(*mut c_int, c_int, c_int);
    retain_context = "cuDevicePrimaryCtxRetain"(*mut *mut c_void, c_int);
    set_context = "cuCtxSetCurrent"(*mut c_void);
    synchronize = "cuCtxSynchronize"();
    load = "cuModuleLoadDataEx"(
        *mut *mut c_void, *const c_void, c_uint, *mut c_int, *mut *mut c_void
    );
    unload = "cuModuleUnload"(*mut c_void);
    find_function = "cuModuleGetFunction"(*mut *mut c_void, *mut c_void, *const c_char);
    set_function_attribute = "cuFuncSetAttribute"(*mut c_void, c_int, c_int);
    launch = "cuLaunchKernelEx"(
        *const LaunchConfig, *mut c_void, *mut *mut c_void, *mut *mut c_void
    );
    allocate = "cuMemAlloc_v2"(*mut u64, usize);
    free = "cuMemFree_v2"(u64);
    copy_to_device = "cuMemcpyHtoD_v2"(u64, *const c_void, usize);
    copy_to_host = "cuMemcpyDtoH_v2"(*mut c_void, u64, usize);
}

const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
const ERROR_LOG_BUFFER: c_int = 5;
const ERROR_LOG_BUFFER_SIZE_BYTES: c_int = 6;
const MAX_DYNAMIC_SHARED_SIZE_BYTES: c_int = 8;
const NON_PORTABLE_CLUSTER_SIZE_ALLOWED: c_int = 13;
/// More dynamic shared memory than this needs a permission.
const SHARED_BYTES: u32 = 48 << 10;
/// A larger cluster needs a permission.
const PORTABLE_CLUSTER_BLOCKS: u32 = 8;
const LOG_BYTES: usize = 16 << 10;

/// `CUlaunchConfig`.
#[repr(C)]
struct LaunchConfig {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared_bytes: c_uint,
    stream: *mut c_void,
    attributes: *const LaunchAttribute,
    attribute_count: c_uint,
}

/// `CUlaunchAttribute` with the dimensions of a cluster, number 4.
#[repr(C, align(8))]
struct LaunchAttribute {
    id: c_uint,
    padding: c_uint,
    cluster: [c_uint; 3],
    rest: [c_uint; 13],
}

/// # Safety
///
/// `F` is the type of the function.
pub(super) unsafe fn symbol<F>(library: &Library, name: &str) -> Result<F, DriverError> {
    // SAFETY: only the address is taken here.
    let symbol: Symbol<*mut c_void> = unsafe { library.get(name.as_bytes()) }
        .map_err(|error| DriverError::Library(error.to_string()))?;
    let address = symbol.into_raw();
    if address.is_null() {
        return Err(DriverError::Library(format!("{name} has no address")));
    }
    // SAFETY: the caller's promise; a function pointer is as long as the address.
    Ok(unsafe { transmute_copy(&address) })
}

/// A driver with the primary context of its first device current on this thread.
pub struct Driver {
    functions: Functions,
    pub(super) images: Images,
    /// The device's name.
    pub device: String,
    /// Ten times the major and once the minor compute capability.
    pub capability: u32,
}

/// A module with a kernel `test`.
pub(super) struct Module {
    pub(super) module: *mut c_void,
    function: *mut c_void,
}

impl Driver {
    /// Opens a library for the rest of the process.
    ///
    /// # Errors
    ///
    /// If it is not there, lacks a function or has no device.
    pub fn open(path: &Path) -> Result<Self, DriverError> {
        // SAFETY: opening runs the library's constructors, as for every program that is linked
        // with it.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| DriverError::Library(error.to_string()))?;
        let functions = Functions::resolve(&library)?;
        let images = Images::resolve(&library)?;
        // Drivers have threads: they are not unloaded.
        std::mem::forget(library);
        let mut driver = Self {
            functions,
            images,
            device: String::new(),
            capability: 0,
        };
        driver.start()?;
        Ok(driver)
    }

    fn start(&mut self) -> Result<(), DriverError> {
        let (mut context, mut name) = (null_mut(), [0_u8; 256]);
        let (mut major, mut minor) = (0, 0);
        let f = &self.functions;
        // SAFETY: the pointers are to locals of the sizes that are told.
        unsafe {
            self.check("cuInit", (f.init)(0))?;
            let length = name.len() as c_int;
            let status = (f.device_name)(name.as_mut_ptr().cast(), length, 0);
            self.check("cuDeviceGetName", status)?;
            let status = (f.attribute)(&raw mut major, CAPABILITY_MAJOR, 0);
            self.check("cuDeviceGetAttribute", status)?;
            let status = (f.attribute)(&raw mut minor, CAPABILITY_MINOR, 0);
            self.check("cuDeviceGetAttribute", status)?;
            let status = (f.retain_context)(&raw mut context, 0);
            self.check("cuDevicePrimaryCtxRetain", status)?;
            self.check("cuCtxSetCurrent", (f.set_context)(context))?;
        }
        let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
        self.device = name.to_string_lossy().into_owned();
        self.capability = (major * 10 + minor).unsigned_abs();
        Ok(())
    }

    pub(super) fn check(&self, call: &'static str, status: c_int) -> Result<(), DriverError> {
        if status == 0 {
            return Ok(());
        }
        let mut name = null();
        // SAFETY: the name goes to a local.
        let known = unsafe { (self.functions.error_name)(status, &raw mut name) };
        let error = if known != 0 || name.is_null() {
            format!("CUDA error {status}")
        } else {
            // SAFETY: names of errors are strings that live for ever.
            let name = unsafe { CStr::from_ptr(name) };
            name.to_string_lossy().into_owned()
        };
        Err(DriverError::Call {
            call,
            error,
            log: String::new(),
        })
    }

    /// Loads a module and finds its kernel `test`.
    pub(super) fn load(&self, ptx: &str) -> Result<Module, DriverError> {
        let text = CString::new(ptx).map_err(|error| DriverError::Library(error.to_string()))?;
        let mut log = vec![0_u8; LOG_BYTES];
        let mut options = [ERROR_LOG_BUFFER, ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values: [*mut c_void; 2] = [
            log.as_mut_ptr().cast(),
            std::ptr::without_provenance_mut(LOG_BYTES),
        ];
        let (mut module, mut function) = (null_mut(), null_mut());
        // SAFETY: the text ends with a zero; the arrays have two elements each, and the log is as
        // long as it says.
        let status = unsafe {
            (self.functions.load)(
                &raw mut module,
                text.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        self.check("cuModuleLoadDataEx", status)
            .map_err(|error| with_log(error, &log))?;
        // SAFETY: the module was just loaded.
        let status =
            unsafe { (self.functions.find_function)(&raw mut function, module, c"test".as_ptr()) };
        self.check("cuModuleGetFunction", status)?;
        Ok(Module { module, function })
    }

    /// Unloads a module.
    pub(super) fn unload(&self, module: Module) -> Result<(), DriverError> {
        // SAFETY: the module was loaded, and nobody else has it.
        self.check("cuModuleUnload", unsafe {
            (self.functions.unload)(module.module)
        })
    }

    /// Allocates memory with these contents.
    pub(super) fn upload(&self, bytes: &[u8]) -> Result<u64, DriverError> {
        let mut address = 0;
        // SAFETY: the address goes to a local, and the bytes are as many as there are.
        unsafe {
            let status = (self.functions.allocate)(&raw mut address, bytes.len());
            self.check("cuMemAlloc", status)?;
            let from = bytes.as_ptr().cast();
            let status = (self.functions.copy_to_device)(address, from, bytes.len());
            self.check("cuMemcpyHtoD", status)?;
        }
        Ok(address)
    }

    /// Reads memory and frees it.
    pub(super) fn download(&self, address: u64, length: usize) -> Result<Vec<u8>, DriverError> {
        let mut bytes = vec![0_u8; length];
        // SAFETY: the memory is as long as the buffer, and is not used afterwards.
        unsafe {
            let to = bytes.as_mut_ptr().cast();
            let status = (self.functions.copy_to_host)(to, address, length);
            self.check("cuMemcpyDtoH", status)?;
            self.check("cuMemFree", (self.functions.free)(address))?;
        }
        Ok(bytes)
    }

    /// Launches the kernel with these addresses and handles and waits for its end.
    pub(super) fn run(
        &self,
        module: &Module,
        launch: Launch,
        addresses: &mut [u64],
    ) -> Result<(), DriverError> {
        self.permit(module, launch)?;
        let cluster = LaunchAttribute {
            id: 4,
            padding: 0,
            cluster: [launch.cluster, 1, 1],
            rest: [0; 13],
        };
        let config = LaunchConfig {
            grid: [launch.grid, 1, 1],
            block: [launch.block, 1, 1],
            shared_bytes: launch.shared_bytes,
            stream: null_mut(),
            attributes: &raw const cluster,
            attribute_count: u32::from(launch.cluster > 1),
        };
        let mut parameters: Vec<*mut c_void> = addresses
            .iter_mut()
            .map(|address| (&raw mut *address).cast())
            .collect();
        // SAFETY: the kernel's parameters are 64 bits wide and as many as the file
        // has arrays and objects.
        let status = unsafe {
            (self.functions.launch)(
                &raw const config,
                module.function,
                parameters.as_mut_ptr(),
                null_mut(),
            )
        };
        self.check("cuLaunchKernelEx", status)?;
        // SAFETY: it has no arguments.
        self.check("cuCtxSynchronize", unsafe {
            (self.functions.synchronize)()
        })
    }

    /// Asks for what a launch needs beyond the usual.
    fn permit(&self, module: &Module, launch: Launch) -> Result<(), DriverError> {
        let set = |attribute, value| {
            // SAFETY: the function belongs to a loaded module.
            let status = unsafe {
                (self.functions.set_function_attribute)(module.function, attribute, value)
            };
            self.check("cuFuncSetAttribute", status)
        };
        if launch.shared_bytes > SHARED_BYTES {
            set(MAX_DYNAMIC_SHARED_SIZE_BYTES, launch.shared_bytes as c_int)?;
        }
        if launch.cluster > PORTABLE_CLUSTER_BLOCKS {
            set(NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)?;
        }
        Ok(())
    }
}

fn with_log(error: DriverError, bytes: &[u8]) -> DriverError {
    let text = CStr::from_bytes_until_nul(bytes).unwrap_or_default();
    match error {
        DriverError::Call { call, error, .. } => DriverError::Call {
            call,
            error,
            log: text.to_string_lossy().trim().to_owned(),
        },
        other => other,
    }
}
