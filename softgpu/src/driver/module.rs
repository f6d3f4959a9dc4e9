// SPDX-License-Identifier: Apache-2.0
//! Modules: programs loaded in a context (`cuda.h`: "Module Management").

use core::ffi::{c_char, c_void};
use std::sync::Arc;

use gvirtus_abi::{CUdeviceptr, CUfunction, CUjit_option, CUmodule, CUmoduleLoadingMode, CUresult};
use parking_lot::Mutex;

use super::arguments::{optional_out, out, read_text};
use super::context::{self, Context};
use super::engine::Instance;
use super::function::{self, Function, KernelSettings};
use super::handles::{Handles, Kind};
use super::image::{self, JitOptions};
use super::managed_variables::ManagedVariables;
use super::program::Program;
use super::{library, reference};
use crate::ir::OpaqueType;

/// A program in a context.
pub(super) struct Module {
    pub(super) handle: CUmodule,
    pub(super) context: Arc<Context>,
    instance: Arc<Instance>,
    settings: Arc<KernelSettings>,
    /// By kernel; made when first asked for.
    functions: Mutex<Vec<Option<Arc<Function>>>>,
}

static MODULES: Handles<Module> = Handles::new(Kind::Module);

impl Module {
    /// Loads a program; `settings` are those of its library's kernels, if it is one's.
    pub(super) fn load(
        context: &Arc<Context>,
        program: Arc<Program>,
        managed: Option<Arc<ManagedVariables>>,
        settings: Arc<KernelSettings>,
    ) -> Result<Arc<Self>, CUresult> {
        let functions = vec![None; program.kernel_count()];
        let instance = Arc::new(Instance::load(context, program, managed)?);
        MODULES.insert(|handle| Self {
            handle: CUmodule(handle),
            context: context.clone(),
            instance,
            settings,
            functions: Mutex::new(functions),
        })
    }

    pub(super) fn program(&self) -> &Arc<Program> {
        self.instance.program()
    }

    /// The function of a kernel.
    pub(super) fn function(&self, index: usize) -> Result<Arc<Function>, CUresult> {
        let mut functions = self.functions.lock();
        let known = functions
            .get_mut(index)
            .ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
        if let Some(function) = known {
            return Ok(function.clone());
        }
        let ordinal = self.context.device.ordinal;
        let settings = self.settings.of(self.program(), index, ordinal);
        let function = function::insert(|handle| Function {
            handle: CUfunction(handle),
            module: self.handle,
            context: self.context.clone(),
            instance: self.instance.clone(),
            index,
            settings,
        })?;
        *known = Some(function.clone());
        Ok(function)
    }

    /// Address and length of a variable in bytes.
    pub(super) fn global(&self, name: &str) -> Result<(u64, u64), CUresult> {
        self.instance
            .variable(name)
            .ok_or(CUresult::CUDA_ERROR_NOT_FOUND)
    }

    /// Address of the variable that is a reference of this type.
    pub(super) fn reference(&self, name: &str, ty: OpaqueType) -> Result<u64, CUresult> {
        self.instance
            .reference(name, ty)
            .ok_or(CUresult::CUDA_ERROR_NOT_FOUND)
    }

    /// Ends the module's handles; its memory is freed when the last running kernel has ended.
    pub(super) fn unload(&self) {
        reference::forget_module(self.handle);
        function::forget_module(self.handle);
        drop(MODULES.remove(self.handle.0));
    }
}

/// Ends all modules of a context.
pub(super) fn forget_context(context: &Context) {
    library::forget_context(context);
    for module in MODULES.remove_where(|module| module.context.id == context.id) {
        function::forget_module(module.handle);
    }
}

/// The module with that handle.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE`.
pub(super) fn find(handle: CUmodule) -> Result<Arc<Module>, CUresult> {
    super::device::devices()?;
    MODULES
        .get(handle.0)
        .ok_or(CUresult::CUDA_ERROR_INVALID_HANDLE)
}

/// Loads the image behind a pointer into the current context.
///
/// # Safety
///
/// `image` is null or points to a whole image.
pub(super) unsafe fn load_image(
    image: *const c_void,
    jit: &JitOptions,
) -> Result<CUmodule, CUresult> {
    let context = context::usable()?;
    // SAFETY: the caller's promise.
    let program = unsafe { image::load(image, jit)? };
    Ok(Module::load(&context, Arc::new(program), None, Arc::default())?.handle)
}

pub(crate) unsafe fn cuModuleLoad(
    module: *mut CUmodule,
    fname: *const c_char,
) -> Result<(), CUresult> {
    let context = context::usable()?;
    // SAFETY: the contract of cuda.h: a C string.
    let path = unsafe { read_text(fname)? };
    let program = image::load_file(path, &JitOptions::NONE)?;
    out!(module = Module::load(&context, Arc::new(program), None, Arc::default())?.handle);
    Ok(())
}

pub(crate) unsafe fn cuModuleLoadData(
    module: *mut CUmodule,
    image: *const c_void,
) -> Result<(), CUresult> {
    // SAFETY: the contract of cuda.h.
    out!(module = unsafe { load_image(image, &JitOptions::NONE)? });
    Ok(())
}

pub(crate) unsafe fn cuModuleLoadDataEx(
    module: *mut CUmodule,
    image: *const c_void,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Result<(), CUresult> {
    // SAFETY: the contract of cuda.h.
    let jit = unsafe { JitOptions::read(numOptions, options, optionValues)? };
    // SAFETY: the contract of cuda.h.
    out!(module = unsafe { load_image(image, &jit)? });
    Ok(())
}

pub(crate) unsafe fn cuModuleLoadFatBinary(
    module: *mut CUmodule,
    fatCubin: *const c_void,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { cuModuleLoadData(module, fatCubin) }
}

/// Waits for the context's work, which may use the module's variables.
pub(crate) fn cuModuleUnload(hmod: CUmodule) -> Result<(), CUresult> {
    let module = find(hmod)?;
    let result = module.context.synchronize();
    module.unload();
    result
}

/// Lazy: with anything else PyTorch loads all of its modules at once.
pub(crate) unsafe fn cuModuleGetLoadingMode(
    mode: *mut CUmoduleLoadingMode,
) -> Result<(), CUresult> {
    out!(mode = CUmoduleLoadingMode::CU_MODULE_LAZY_LOADING);
    Ok(())
}

pub(crate) unsafe fn cuModuleGetFunction(
    hfunc: *mut CUfunction,
    hmod: CUmodule,
    name: *const c_char,
) -> Result<(), CUresult> {
    context::usable()?;
    let module = find(hmod)?;
    // SAFETY: the contract of cuda.h: a C string.
    let name = unsafe { read_text(name)? };
    let index = module.program().find_kernel(name);
    let index = index.ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
    out!(hfunc = module.function(index)?.handle);
    Ok(())
}

pub(crate) unsafe fn cuModuleGetFunctionCount(
    count: *mut u32,
    mod_: CUmodule,
) -> Result<(), CUresult> {
    out!(count = find(mod_)?.program().kernel_count() as u32);
    Ok(())
}

pub(crate) unsafe fn cuModuleEnumerateFunctions(
    functions: *mut CUfunction,
    numFunctions: u32,
    mod_: CUmodule,
) -> Result<(), CUresult> {
    let module = find(mod_)?;
    let count = module.program().kernel_count().min(numFunctions as usize);
    for index in 0..count {
        let handle = module.function(index)?.handle;
        if functions.is_null() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        // SAFETY: the contract of cuda.h: an array of `numFunctions` elements.
        unsafe { functions.add(index).write(handle) };
    }
    Ok(())
}

pub(crate) unsafe fn cuModuleGetGlobal_v2(
    dptr: *mut CUdeviceptr,
    bytes: *mut usize,
    hmod: CUmodule,
    name: *const c_char,
) -> Result<(), CUresult> {
    context::usable()?;
    let module = find(hmod)?;
    // SAFETY: the contract of cuda.h: a C string.
    let (address, length) = module.global(unsafe { read_text(name)? })?;
    optional_out!(dptr = CUdeviceptr(address));
    optional_out!(bytes = length as usize);
    Ok(())
}
