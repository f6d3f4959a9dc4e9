// SPDX-License-Identifier: Apache-2.0
//! Libraries: images that belong to no context.

use std::ffi::{c_char, c_void};

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUfunction, CUfunction_attribute, CUjit_option, CUkernel, CUlibrary,
    CUlibraryOption, CUmodule, CUresult,
};
use gvirtus_protocol::opcode;

use super::image::{Options, Source};
use super::{INVALID_VALUE, Status, put, required, text};
use crate::handle::Kind;
use crate::image::{AttributesOf, ImageKind};
use crate::process::session;

/// `cuLibraryLoadData`. The options of the library are about memory of the application, which the
/// backend never sees.
pub unsafe fn cuLibraryLoadData(
    library: *mut CUlibrary,
    code: *const c_void,
    jitOptions: *mut CUjit_option,
    jitOptionsValues: *mut *mut c_void,
    numJitOptions: u32,
    _libraryOptions: *mut CUlibraryOption,
    _libraryOptionValues: *mut *mut c_void,
    _numLibraryOptions: u32,
) -> Status {
    required(code.cast_mut())?;
    // SAFETY: the caller's promise.
    unsafe {
        let options = Options::new(numJitOptions, jitOptions, jitOptionsValues)?;
        load(library, Source::Pointer(code), options)
    }
}

/// `cuLibraryLoadFromFile`.
pub unsafe fn cuLibraryLoadFromFile(
    library: *mut CUlibrary,
    fileName: *const c_char,
    jitOptions: *mut CUjit_option,
    jitOptionsValues: *mut *mut c_void,
    numJitOptions: u32,
    _libraryOptions: *mut CUlibraryOption,
    _libraryOptionValues: *mut *mut c_void,
    _numLibraryOptions: u32,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe {
        let name = text(fileName)?;
        let options = Options::new(numJitOptions, jitOptions, jitOptionsValues)?;
        load(library, Source::File(name), options)
    }
}

/// # Safety
///
/// As `cuLibraryLoadData`.
unsafe fn load(library: *mut CUlibrary, source: Source<'_>, options: Options) -> Status {
    let session = session()?;
    session.wire.faults().check()?;
    let library = required(library)?;
    // SAFETY: the caller's promise.
    let key = unsafe { session.load(ImageKind::Library, source, options)? };
    // SAFETY: the caller's promise.
    unsafe { put(library, CUlibrary(key.handle(Kind::Library))) }
}

/// `cuLibraryUnload`.
pub unsafe fn cuLibraryUnload(library: CUlibrary) -> Status {
    let session = session()?;
    let (key, _) = session.image(library.0, Kind::Library)?;
    session.unload(key, opcode::cuLibraryUnload, session.current_number())
}

/// `cuLibraryGetKernel`.
pub unsafe fn cuLibraryGetKernel(
    pKernel: *mut CUkernel,
    library: CUlibrary,
    name: *const c_char,
) -> Status {
    let session = session()?;
    let (_, image) = session.image(library.0, Kind::Library)?;
    // SAFETY: the caller's promise.
    let name = unsafe { text(name)? };
    let key = image.kernel(name)?.key(&session.kernels)?;
    // SAFETY: the caller's promise.
    unsafe { put(pKernel, CUkernel(key.handle(Kind::Kernel))) }
}

/// `cuLibraryGetKernelCount`.
pub unsafe fn cuLibraryGetKernelCount(count: *mut u32, lib: CUlibrary) -> Status {
    let (_, image) = session()?.image(lib.0, Kind::Library)?;
    let kernels = u32::try_from(image.kernels.len()).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
    // SAFETY: the caller's promise.
    unsafe { put(count, kernels) }
}

/// `cuLibraryEnumerateKernels`.
pub unsafe fn cuLibraryEnumerateKernels(
    kernels: *mut CUkernel,
    numKernels: u32,
    lib: CUlibrary,
) -> Status {
    let session = session()?;
    let (_, image) = session.image(lib.0, Kind::Library)?;
    let kernels = required(kernels)?;
    for (index, kernel) in image.kernels.iter().take(numKernels as usize).enumerate() {
        let key = kernel.key(&session.kernels)?;
        // SAFETY: the caller promises room for `numKernels` handles.
        unsafe { put(kernels.add(index), CUkernel(key.handle(Kind::Kernel)))? };
    }
    Ok(())
}

/// `cuLibraryGetModule`.
pub unsafe fn cuLibraryGetModule(pMod: *mut CUmodule, library: CUlibrary) -> Status {
    let session = session()?;
    session.current()?;
    let (key, _) = session.image(library.0, Kind::Library)?;
    // SAFETY: the caller's promise.
    unsafe { put(pMod, CUmodule(key.handle(Kind::Module))) }
}

/// `cuLibraryGetGlobal`, in the current context.
pub unsafe fn cuLibraryGetGlobal(
    dptr: *mut CUdeviceptr,
    bytes: *mut usize,
    library: CUlibrary,
    name: *const c_char,
) -> Status {
    let session = session()?;
    let context = session.current()?;
    let (key, image) = session.image(library.0, Kind::Library)?;
    // SAFETY: the caller's promise.
    unsafe { session.variable((key, &image), context, text(name)?, dptr, bytes) }
}

/// `cuKernelGetFunction`.
pub unsafe fn cuKernelGetFunction(pFunc: *mut CUfunction, kernel: CUkernel) -> Status {
    let session = session()?;
    session.current()?;
    let key = session.library_kernel(kernel)?.key(&session.kernels)?;
    // SAFETY: the caller's promise.
    unsafe { put(pFunc, CUfunction(key.handle(Kind::Function))) }
}

/// `cuKernelGetLibrary`.
pub unsafe fn cuKernelGetLibrary(pLib: *mut CUlibrary, kernel: CUkernel) -> Status {
    let kernel = session()?.library_kernel(kernel)?;
    if kernel.kind != ImageKind::Library {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    // SAFETY: the caller's promise.
    unsafe { put(pLib, CUlibrary(kernel.image.handle(Kind::Library))) }
}

/// `cuKernelGetAttribute`.
pub unsafe fn cuKernelGetAttribute(
    pi: *mut i32,
    attrib: CUfunction_attribute,
    kernel: CUkernel,
    dev: CUdevice,
) -> Status {
    let session = session()?;
    session.device(dev)?;
    let device = u32::try_from(dev.0).map_err(|_| INVALID_VALUE)?;
    let kernel = session.library_kernel(kernel)?;
    let value = session.function_attribute(&kernel, AttributesOf::Kernel(device), attrib)?;
    // SAFETY: the caller's promise.
    unsafe { put(pi, value) }
}

/// `cuKernelGetName`.
pub unsafe fn cuKernelGetName(name: *mut *const c_char, hfunc: CUkernel) -> Status {
    // SAFETY: the caller's promise.
    unsafe { super::cuFuncGetName(name, CUfunction(hfunc.0)) }
}

/// `cuKernelGetParamInfo`.
pub unsafe fn cuKernelGetParamInfo(
    kernel: CUkernel,
    paramIndex: usize,
    paramOffset: *mut usize,
    paramSize: *mut usize,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { super::cuFuncGetParamInfo(CUfunction(kernel.0), paramIndex, paramOffset, paramSize) }
}

/// `cuKernelGetParamCount`.
pub unsafe fn cuKernelGetParamCount(kernel: CUkernel, paramCount: *mut usize) -> Status {
    // SAFETY: the caller's promise.
    unsafe { super::cuFuncGetParamCount(CUfunction(kernel.0), paramCount) }
}
