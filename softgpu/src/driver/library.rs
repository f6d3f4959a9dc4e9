// SPDX-License-Identifier: Apache-2.0
//! Libraries: programs that are loaded in each context that uses them (`cuda.h`: "Library
//! Management").

use core::ffi::{c_char, c_void};
use std::sync::Arc;

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUfunc_cache, CUfunction, CUfunction_attribute, CUjit_option, CUkernel,
    CUlibrary, CUlibraryOption, CUmodule, CUresult,
};
use parking_lot::Mutex;

use super::arguments::{optional_out, out, read_text};
use super::context::{self, Context};
use super::context_settings::check_cache_config;
use super::device::device;
use super::function::{self, Function, KernelSettings, Settings};
use super::handles::{Handles, Kind};
use super::image::{self, JitOptions};
use super::managed_variables::ManagedVariables;
use super::module::Module;
use super::program::Program;

/// A program without a context.
pub(super) struct Library {
    handle: CUlibrary,
    program: Arc<Program>,
    /// By index; made when first asked for.
    kernels: Mutex<Vec<CUkernel>>,
    /// By the context's number; loaded when first used there.
    modules: Mutex<Vec<(u64, Arc<Module>)>>,
    managed: Mutex<Option<Arc<ManagedVariables>>>,
    settings: Arc<KernelSettings>,
}

/// A kernel of a library.
pub(super) struct Kernel {
    handle: CUkernel,
    library: Arc<Library>,
    index: usize,
}

static LIBRARIES: Handles<Library> = Handles::new(Kind::Library);
static KERNELS: Handles<Kernel> = Handles::new(Kind::Kernel);

impl Library {
    fn insert(program: Program) -> Result<CUlibrary, CUresult> {
        let kernels = vec![CUkernel::NULL; program.kernel_count()];
        let library = LIBRARIES.insert(|handle| Self {
            handle: CUlibrary(handle),
            program: Arc::new(program),
            kernels: Mutex::new(kernels),
            modules: Mutex::default(),
            managed: Mutex::default(),
            settings: Arc::default(),
        })?;
        Ok(library.handle)
    }

    fn kernel(self: &Arc<Self>, index: usize) -> Result<CUkernel, CUresult> {
        let mut kernels = self.kernels.lock();
        let known = kernels
            .get_mut(index)
            .ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
        if known.is_null() {
            *known = KERNELS
                .insert(|handle| Kernel {
                    handle: CUkernel(handle),
                    library: self.clone(),
                    index,
                })?
                .handle;
        }
        Ok(*known)
    }

    /// The variables that all contexts have in common, if there are any.
    fn managed(&self) -> Result<Option<Arc<ManagedVariables>>, CUresult> {
        let mut managed = self.managed.lock();
        if managed.is_none() {
            *managed = ManagedVariables::place(self.program.module())?.map(Arc::new);
        }
        Ok(managed.clone())
    }

    /// The library's module in a context.
    fn module(&self, context: &Arc<Context>) -> Result<Arc<Module>, CUresult> {
        let mut modules = self.modules.lock();
        if let Some((_, module)) = modules.iter().find(|(id, _)| *id == context.id) {
            return Ok(module.clone());
        }
        let managed = self.managed()?;
        let settings = self.settings.clone();
        let module = Module::load(context, self.program.clone(), managed, settings)?;
        modules.push((context.id, module.clone()));
        Ok(module)
    }

    fn settings(&self, index: usize, device_ordinal: i32) -> Arc<Settings> {
        self.settings.of(&self.program, index, device_ordinal)
    }
}

impl Kernel {
    /// The kernel in a context.
    pub(super) fn function(&self, context: &Arc<Context>) -> Result<Arc<Function>, CUresult> {
        self.library.module(context)?.function(self.index)
    }
}

/// Ends what libraries have loaded in a context.
pub(super) fn forget_context(context: &Context) {
    for library in LIBRARIES.all() {
        library.modules.lock().retain(|(id, _)| *id != context.id);
    }
}

/// What the use of an unknown kernel answers. `cuda.h` has no name for it: cudart passes addresses
/// that it does not know as kernels, and makes `cudaErrorInvalidDeviceFunction` of it, which has
/// this number.
pub(super) const NO_SUCH_KERNEL: CUresult = CUresult(98);

/// The kernel with that handle.
///
/// # Errors
///
/// [`NO_SUCH_KERNEL`].
pub(super) fn find_kernel(handle: u64) -> Result<Arc<Kernel>, CUresult> {
    super::device::devices()?;
    KERNELS.get(handle).ok_or(NO_SUCH_KERNEL)
}

fn find(handle: CUlibrary) -> Result<Arc<Library>, CUresult> {
    super::device::devices()?;
    LIBRARIES
        .get(handle.0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
}

/// Library options are about copies of the image, of which none is kept, and about host functions
/// in tables, which only managed memory could use.
pub(crate) unsafe fn cuLibraryLoadData(
    library: *mut CUlibrary,
    code: *const c_void,
    jitOptions: *mut CUjit_option,
    jitOptionsValues: *mut *mut c_void,
    numJitOptions: u32,
    _: *mut CUlibraryOption,
    _: *mut *mut c_void,
    _: u32,
) -> Result<(), CUresult> {
    super::device::devices()?;
    // SAFETY: the contract of cuda.h.
    let jit = unsafe { JitOptions::read(numJitOptions, jitOptions, jitOptionsValues)? };
    // SAFETY: the contract of cuda.h.
    let program = unsafe { image::load(code, &jit)? };
    out!(library = Library::insert(program)?);
    Ok(())
}

pub(crate) unsafe fn cuLibraryLoadFromFile(
    library: *mut CUlibrary,
    fileName: *const c_char,
    jitOptions: *mut CUjit_option,
    jitOptionsValues: *mut *mut c_void,
    numJitOptions: u32,
    _: *mut CUlibraryOption,
    _: *mut *mut c_void,
    _: u32,
) -> Result<(), CUresult> {
    super::device::devices()?;
    // SAFETY: the contract of cuda.h.
    let jit = unsafe { JitOptions::read(numJitOptions, jitOptions, jitOptionsValues)? };
    // SAFETY: the contract of cuda.h: a C string.
    let path = unsafe { read_text(fileName)? };
    out!(library = Library::insert(image::load_file(path, &jit)?)?);
    Ok(())
}

/// Waits for the work of all contexts that have loaded it.
pub(crate) fn cuLibraryUnload(library: CUlibrary) -> Result<(), CUresult> {
    super::device::devices()?;
    let library = LIBRARIES
        .remove(library.0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)?;
    drop(KERNELS.remove_where(|kernel| Arc::ptr_eq(&kernel.library, &library)));
    let modules = std::mem::take(&mut *library.modules.lock());
    let mut result = Ok(());
    for (_, module) in modules {
        result = result.and(module.context.synchronize());
        module.unload();
    }
    result
}

pub(crate) unsafe fn cuLibraryGetKernel(
    pKernel: *mut CUkernel,
    library: CUlibrary,
    name: *const c_char,
) -> Result<(), CUresult> {
    let library = find(library)?;
    // SAFETY: the contract of cuda.h: a C string.
    let name = unsafe { read_text(name)? };
    let index = library.program.find_kernel(name);
    out!(pKernel = library.kernel(index.ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?)?);
    Ok(())
}

pub(crate) unsafe fn cuLibraryGetKernelCount(
    count: *mut u32,
    lib: CUlibrary,
) -> Result<(), CUresult> {
    out!(count = find(lib)?.program.kernel_count() as u32);
    Ok(())
}

pub(crate) unsafe fn cuLibraryEnumerateKernels(
    kernels: *mut CUkernel,
    numKernels: u32,
    lib: CUlibrary,
) -> Result<(), CUresult> {
    let library = find(lib)?;
    let count = library.program.kernel_count().min(numKernels as usize);
    if kernels.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    for index in 0..count {
        let handle = library.kernel(index)?;
        // SAFETY: the contract of cuda.h: an array of `numKernels` elements, and not null.
        unsafe { kernels.add(index).write(handle) };
    }
    Ok(())
}

pub(crate) unsafe fn cuLibraryGetModule(
    pMod: *mut CUmodule,
    library: CUlibrary,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    out!(pMod = find(library)?.module(&context)?.handle);
    Ok(())
}

pub(crate) unsafe fn cuKernelGetFunction(
    pFunc: *mut CUfunction,
    kernel: CUkernel,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    out!(pFunc = find_kernel(kernel.0)?.function(&context)?.handle);
    Ok(())
}

pub(crate) unsafe fn cuKernelGetLibrary(
    pLib: *mut CUlibrary,
    kernel: CUkernel,
) -> Result<(), CUresult> {
    out!(pLib = find_kernel(kernel.0)?.library.handle);
    Ok(())
}

pub(crate) unsafe fn cuLibraryGetGlobal(
    dptr: *mut CUdeviceptr,
    bytes: *mut usize,
    library: CUlibrary,
    name: *const c_char,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    let module = find(library)?.module(&context)?;
    // SAFETY: the contract of cuda.h: a C string.
    let (address, length) = module.global(unsafe { read_text(name)? })?;
    optional_out!(dptr = CUdeviceptr(address));
    optional_out!(bytes = length as usize);
    Ok(())
}

/// Needs no context: the variable belongs to all of them.
pub(crate) unsafe fn cuLibraryGetManaged(
    dptr: *mut CUdeviceptr,
    bytes: *mut usize,
    library: CUlibrary,
    name: *const c_char,
) -> Result<(), CUresult> {
    let managed = find(library)?.managed()?;
    // SAFETY: the contract of cuda.h: a C string.
    let name = unsafe { read_text(name)? };
    let found = managed.and_then(|managed| managed.find(name));
    let (address, length) = found.ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
    optional_out!(dptr = CUdeviceptr(address));
    optional_out!(bytes = length as usize);
    Ok(())
}

pub(crate) unsafe fn cuKernelGetAttribute(
    pi: *mut i32,
    attrib: CUfunction_attribute,
    kernel: CUkernel,
    dev: CUdevice,
) -> Result<(), CUresult> {
    let kernel = find_kernel(kernel.0)?;
    let settings = kernel.library.settings(kernel.index, device(dev)?.ordinal);
    let program = &kernel.library.program;
    out!(pi = function::attribute(program, program.kernel(kernel.index), &settings, attrib)?);
    Ok(())
}

pub(crate) fn cuKernelSetAttribute(
    attrib: CUfunction_attribute,
    val: i32,
    kernel: CUkernel,
    dev: CUdevice,
) -> Result<(), CUresult> {
    let kernel = find_kernel(kernel.0)?;
    let settings = kernel.library.settings(kernel.index, device(dev)?.ordinal);
    let code = kernel.library.program.kernel(kernel.index);
    function::set_attribute(code, &settings, attrib, val)
}

/// There are no caches to prefer.
pub(crate) fn cuKernelSetCacheConfig(
    kernel: CUkernel,
    config: CUfunc_cache,
    dev: CUdevice,
) -> Result<(), CUresult> {
    find_kernel(kernel.0)?;
    device(dev)?;
    check_cache_config(config)
}

pub(crate) unsafe fn cuKernelGetName(
    name: *mut *const c_char,
    hfunc: CUkernel,
) -> Result<(), CUresult> {
    let kernel = find_kernel(hfunc.0)?;
    out!(name = kernel.library.program.kernel_name(kernel.index).as_ptr());
    Ok(())
}

pub(crate) unsafe fn cuKernelGetParamInfo(
    kernel: CUkernel,
    paramIndex: usize,
    paramOffset: *mut usize,
    paramSize: *mut usize,
) -> Result<(), CUresult> {
    let kernel = find_kernel(kernel.0)?;
    let code = kernel.library.program.kernel(kernel.index);
    let (offset, size) = function::parameter(code, paramIndex)?;
    out!(paramOffset = offset);
    optional_out!(paramSize = size);
    Ok(())
}

pub(crate) unsafe fn cuKernelGetParamCount(
    kernel: CUkernel,
    paramCount: *mut usize,
) -> Result<(), CUresult> {
    let kernel = find_kernel(kernel.0)?;
    out!(paramCount = kernel.library.program.kernel(kernel.index).parameters.len());
    Ok(())
}
