// SPDX-License-Identifier: Apache-2.0
//! The driver API as a program sees it: a library opened by its path, functions found by name.

use core::ffi::{CStr, c_int, c_uint, c_void};
use std::mem::transmute_copy;
use std::path::Path;
use std::ptr::null_mut;

use anyhow::{Context as _, Result, ensure};
use libloading::os::unix::{Library, RTLD_NOW, Symbol};

/// A kernel that does nothing. The driver `noop` takes every image for this one.
const PTX: &CStr = c"
.version 7.0
.target sm_52
.address_size 64
.visible .entry noop(.param .u64 address, .param .u32 count)
{
    ret;
}
";

macro_rules! functions {
    ($($field:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// A driver with a current context.
        pub(super) struct Cuda {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Cuda {
            fn resolve(library: &Library) -> Result<Self> {
                Ok(Self {
                    // SAFETY: the types are those of cuda.h, with handles as pointers, addresses
                    // as 64-bit and enumerations as 32-bit integers.
                    $($field: unsafe { symbol(library, $symbol)? },)*
                })
            }
        }
    };
}

functions! {
    init = "cuInit"(c_uint);
    retain_context = "cuDevicePrimaryCtxRetain"(*mut *mut c_void, c_int);
    set_context = "cuCtxSetCurrent"(*mut c_void);
    synchronize = "cuCtxSynchronize"();
    load_module = "cuModuleLoadData"(*mut *mut c_void, *const c_void);
    find_function = "cuModuleGetFunction"(*mut *mut c_void, *mut c_void, *const core::ffi::c_char);
    launch = "cuLaunchKernel"(
        *mut c_void, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, *mut c_void,
        *mut *mut c_void, *mut *mut c_void
    );
    allocate = "cuMemAlloc_v2"(*mut u64, usize);
    free = "cuMemFree_v2"(u64);
    copy_to_device = "cuMemcpyHtoD_v2"(u64, *const c_void, usize);
    copy_to_host = "cuMemcpyDtoH_v2"(*mut c_void, u64, usize);
}

/// A function of a loaded module.
#[derive(Clone, Copy)]
pub(super) struct Kernel(*mut c_void);

/// # Safety
///
/// `F` is the type of the function.
unsafe fn symbol<F>(library: &Library, name: &str) -> Result<F> {
    // SAFETY: only the address is taken here.
    let symbol: Symbol<*mut c_void> = unsafe { library.get(name.as_bytes()) }?;
    let address = symbol.into_raw();
    ensure!(!address.is_null(), "{name} has no address");
    // SAFETY: the caller's promise; a function pointer is as long as the address.
    Ok(unsafe { transmute_copy(&address) })
}

fn check(status: c_int, call: &str) -> Result<()> {
    ensure!(status == 0, "{call} answers CUDA error {status}");
    Ok(())
}

impl Cuda {
    /// Opens the library, and makes the first device's context current.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // SAFETY: a driver library has no initialiser that a program must prepare for.
        let library = unsafe { Library::open(Some(path), RTLD_NOW) }
            .with_context(|| format!("cannot open {}", path.display()))?;
        let cuda = Self::resolve(&library)?;
        // Like every driver, it stays until the process ends.
        std::mem::forget(library);
        let mut context = null_mut();
        // SAFETY: as cuda.h declares it.
        check(unsafe { (cuda.init)(0) }, "cuInit")?;
        // SAFETY: the output is a local.
        let status = unsafe { (cuda.retain_context)(&raw mut context, 0) };
        check(status, "cuDevicePrimaryCtxRetain")?;
        // SAFETY: the context is the one above.
        check(unsafe { (cuda.set_context)(context) }, "cuCtxSetCurrent")?;
        Ok(cuda)
    }

    /// Waits until the device has nothing left to do.
    pub(super) fn synchronize(&self) -> Result<()> {
        // SAFETY: takes nothing.
        check(unsafe { (self.synchronize)() }, "cuCtxSynchronize")
    }

    /// The kernel that does nothing.
    pub(super) fn noop_kernel(&self) -> Result<Kernel> {
        let (mut module, mut function) = (null_mut(), null_mut());
        // SAFETY: the image is text with a zero at its end.
        let status = unsafe { (self.load_module)(&raw mut module, PTX.as_ptr().cast()) };
        check(status, "cuModuleLoadData")?;
        // SAFETY: the module is the one above.
        let status = unsafe { (self.find_function)(&raw mut function, module, c"noop".as_ptr()) };
        check(status, "cuModuleGetFunction")?;
        Ok(Kernel(function))
    }

    /// Launches it with one thread.
    #[inline]
    pub(super) fn launch(&self, kernel: Kernel, mut address: u64, mut count: u32) -> Result<()> {
        let mut parameters = [(&raw mut address).cast(), (&raw mut count).cast()];
        // SAFETY: the kernel's parameters are a 64-bit and a 32-bit word, and are read at once.
        let status = unsafe {
            (self.launch)(
                kernel.0,
                1,
                1,
                1,
                1,
                1,
                1,
                0,
                null_mut(),
                parameters.as_mut_ptr(),
                null_mut(),
            )
        };
        check(status, "cuLaunchKernel")
    }

    /// Device memory.
    pub(super) fn allocate(&self, bytes: usize) -> Result<u64> {
        let mut address = 0;
        // SAFETY: the output is a local.
        let status = unsafe { (self.allocate)(&raw mut address, bytes) };
        check(status, "cuMemAlloc")?;
        Ok(address)
    }

    /// Gives device memory back.
    pub(super) fn free(&self, address: u64) -> Result<()> {
        // SAFETY: takes a number; the driver knows what it allocated.
        check(unsafe { (self.free)(address) }, "cuMemFree")
    }

    /// Copies to the device.
    pub(super) fn copy_to_device(&self, address: u64, from: &[u8]) -> Result<()> {
        // SAFETY: the source is as long as it says.
        let status = unsafe { (self.copy_to_device)(address, from.as_ptr().cast(), from.len()) };
        check(status, "cuMemcpyHtoD")
    }

    /// Copies from the device.
    pub(super) fn copy_to_host(&self, to: &mut [u8], address: u64) -> Result<()> {
        // SAFETY: the destination is as long as it says.
        let status = unsafe { (self.copy_to_host)(to.as_mut_ptr().cast(), address, to.len()) };
        check(status, "cuMemcpyDtoH")
    }
}
