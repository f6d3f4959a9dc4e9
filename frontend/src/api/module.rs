// SPDX-License-Identifier: Apache-2.0
//! Modules: images that belong to a context, and the modules that libraries are in one.

use std::ffi::{c_char, c_void};

use gvirtus_abi::{CUdeviceptr, CUfunction, CUjit_option, CUmodule, CUmoduleLoadingMode, CUresult};
use gvirtus_protocol::opcode;

use super::image::{Options, Source};
use super::{Status, put, required, text};
use crate::context::Context;
use crate::handle::Kind;
use crate::image::ImageKind;
use crate::process::session;

/// `cuModuleLoad`.
pub unsafe fn cuModuleLoad(module: *mut CUmodule, fname: *const c_char) -> Status {
    // SAFETY: the caller's promise.
    unsafe { load(module, Source::File(text(fname)?), Options::NONE) }
}

/// `cuModuleLoadData`.
pub unsafe fn cuModuleLoadData(module: *mut CUmodule, image: *const c_void) -> Status {
    required(image.cast_mut())?;
    // SAFETY: the caller's promise.
    unsafe { load(module, Source::Pointer(image), Options::NONE) }
}

/// `cuModuleLoadDataEx`.
pub unsafe fn cuModuleLoadDataEx(
    module: *mut CUmodule,
    image: *const c_void,
    numOptions: u32,
    options: *mut CUjit_option,
    optionValues: *mut *mut c_void,
) -> Status {
    required(image.cast_mut())?;
    // SAFETY: the caller's promise.
    unsafe {
        let options = Options::new(numOptions, options, optionValues)?;
        load(module, Source::Pointer(image), options)
    }
}

/// `cuModuleLoadFatBinary`.
pub unsafe fn cuModuleLoadFatBinary(module: *mut CUmodule, fatCubin: *const c_void) -> Status {
    // SAFETY: the caller's promise.
    unsafe { cuModuleLoadData(module, fatCubin) }
}

/// # Safety
///
/// As `cuModuleLoadDataEx`.
unsafe fn load(module: *mut CUmodule, source: Source<'_>, options: Options) -> Status {
    let session = session()?;
    let context = session.current()?;
    let module = required(module)?;
    // SAFETY: the caller's promise.
    let key = unsafe { session.load(ImageKind::Module(context.number), source, options)? };
    // SAFETY: the caller's promise.
    unsafe { put(module, CUmodule(key.handle(Kind::Module))) }
}

/// `cuModuleUnload`. A library's module goes with its library.
pub unsafe fn cuModuleUnload(hmod: CUmodule) -> Status {
    let session = session()?;
    let (key, image) = session.image(hmod.0, Kind::Module)?;
    let ImageKind::Module(context) = image.kind else {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    };
    session.unload(key, opcode::cuModuleUnload, context)
}

/// `cuModuleGetLoadingMode`: lazy. A program that hears anything else loads all its modules at the
/// start.
pub unsafe fn cuModuleGetLoadingMode(mode: *mut CUmoduleLoadingMode) -> Status {
    // SAFETY: the caller's promise.
    unsafe { put(mode, CUmoduleLoadingMode::CU_MODULE_LAZY_LOADING) }
}

/// `cuModuleGetFunction`.
pub unsafe fn cuModuleGetFunction(
    hfunc: *mut CUfunction,
    hmod: CUmodule,
    name: *const c_char,
) -> Status {
    let session = session()?;
    let (_, image) = session.image(hmod.0, Kind::Module)?;
    // SAFETY: the caller's promise.
    let name = unsafe { text(name)? };
    let key = image.kernel(name)?.key(&session.kernels)?;
    // SAFETY: the caller's promise.
    unsafe { put(hfunc, CUfunction(key.handle(Kind::Function))) }
}

/// `cuModuleGetFunctionCount`.
pub unsafe fn cuModuleGetFunctionCount(count: *mut u32, mod_: CUmodule) -> Status {
    let (_, image) = session()?.image(mod_.0, Kind::Module)?;
    let kernels = u32::try_from(image.kernels.len()).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(count, kernels) }
}

/// `cuModuleEnumerateFunctions`.
pub unsafe fn cuModuleEnumerateFunctions(
    functions: *mut CUfunction,
    numFunctions: u32,
    mod_: CUmodule,
) -> Status {
    let session = session()?;
    let (_, image) = session.image(mod_.0, Kind::Module)?;
    let functions = required(functions)?;
    for (index, kernel) in image.kernels.iter().take(numFunctions as usize).enumerate() {
        let key = kernel.key(&session.kernels)?;
        // SAFETY: the caller promises room for `numFunctions` handles.
        unsafe { put(functions.add(index), CUfunction(key.handle(Kind::Function)))? };
    }
    Ok(())
}

/// `cuModuleGetGlobal_v2`.
pub unsafe fn cuModuleGetGlobal_v2(
    dptr: *mut CUdeviceptr,
    bytes: *mut usize,
    hmod: CUmodule,
    name: *const c_char,
) -> Status {
    let session = session()?;
    let (key, image) = session.image(hmod.0, Kind::Module)?;
    let context = match image.kind {
        ImageKind::Library => session.current()?,
        ImageKind::Module(number) => {
            session.wire.faults().check()?;
            let device = session.contexts.lock().entry(number).device;
            Context { number, device }
        }
    };
    // SAFETY: the caller's promise.
    unsafe { session.variable((key, &image), context, text(name)?, dptr, bytes) }
}
