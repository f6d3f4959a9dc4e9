// SPDX-License-Identifier: Apache-2.0
//! Kernels of a module that is loaded in a context (`cuda.h`: "Execution Control").

use core::ffi::c_char;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

use gvirtus_abi::{
    CUfunc_cache, CUfunction, CUfunction_attribute, CUfunctionLoadingState, CUmodule, CUresult,
    CUsharedconfig,
};
use parking_lot::Mutex;

use super::architecture::{self, Architecture};
use super::arguments::{optional_out, out};
use super::context::{self, Context};
use super::context_settings::{check_cache_config, check_shared_config};
use super::engine::Instance;
use super::handles::{Handles, Kind};
use super::library;
use super::limits::{REGISTERS_PER_MULTIPROCESSOR, REGISTERS_PER_THREAD_MAX};
use super::program::Program;
use crate::ir;
use crate::limits::{
    MAX_CLUSTER_BLOCKS, MAX_THREADS_PER_BLOCK, PORTABLE_CLUSTER_BLOCKS, SHARED_BYTES_PER_BLOCK,
    WARP_SIZE,
};

/// A kernel in a context.
pub(super) struct Function {
    pub(super) handle: CUfunction,
    pub(super) module: CUmodule,
    pub(super) context: Arc<Context>,
    pub(super) instance: Arc<Instance>,
    /// Index of the kernel in its program.
    pub(super) index: usize,
    pub(super) settings: Arc<Settings>,
}

impl Function {
    pub(super) fn kernel(&self) -> &ir::Kernel {
        self.program().kernel(self.index)
    }

    pub(super) fn program(&self) -> &Arc<Program> {
        self.instance.program()
    }
}

/// What the application can set.
pub(super) struct Settings {
    max_dynamic_shared_bytes: AtomicU32,
    carveout: AtomicI32,
    is_large_cluster_allowed: AtomicBool,
    /// In x, y, z; 0 where nothing is required.
    required_cluster: [AtomicU32; 3],
}

impl Settings {
    pub(super) fn new(kernel: &ir::Kernel) -> Self {
        let bytes = SHARED_BYTES_PER_BLOCK.saturating_sub(kernel.static_shared_bytes);
        Self {
            max_dynamic_shared_bytes: AtomicU32::new(bytes),
            carveout: AtomicI32::new(-1),
            is_large_cluster_allowed: AtomicBool::new(false),
            required_cluster: kernel
                .required_cluster
                .unwrap_or_default()
                .map(AtomicU32::new),
        }
    }

    /// Blocks that a cluster may have.
    pub(super) fn max_cluster_blocks(&self) -> u32 {
        match self.is_large_cluster_allowed.load(Ordering::Relaxed) {
            true => MAX_CLUSTER_BLOCKS,
            false => PORTABLE_CLUSTER_BLOCKS,
        }
    }

    /// What the kernel or the application requires of every launch.
    pub(super) fn required_cluster(&self) -> Option<[u32; 3]> {
        let cluster =
            [0, 1, 2].map(|axis: usize| self.required_cluster[axis].load(Ordering::Relaxed));
        (cluster != [0; 3]).then(|| cluster.map(|length| length.max(1)))
    }

    /// What a kernel was compiled with cannot be changed.
    fn require_cluster(
        &self,
        kernel: &ir::Kernel,
        axis: usize,
        value: i32,
    ) -> Result<(), CUresult> {
        let length = u32::try_from(value).map_err(|_| CUresult::CUDA_ERROR_INVALID_VALUE)?;
        if kernel.required_cluster.is_some() {
            return Err(CUresult::CUDA_ERROR_NOT_PERMITTED);
        }
        if length > MAX_CLUSTER_BLOCKS {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        self.required_cluster[axis].store(length, Ordering::Relaxed);
        Ok(())
    }

    /// Percentage of the largest shared memory that a multiprocessor should have.
    pub(super) fn carveout_percent(&self) -> Option<u32> {
        u32::try_from(self.carveout.load(Ordering::Relaxed)).ok()
    }

    pub(super) fn max_dynamic_shared_bytes(&self) -> u32 {
        self.max_dynamic_shared_bytes.load(Ordering::Relaxed)
    }
}

/// Those of a program's kernels, by index and the device's number. The modules of a library have
/// them in common, so a kernel's function is the same however the application came to it.
#[derive(Default)]
pub(super) struct KernelSettings(Mutex<BTreeMap<(usize, i32), Arc<Settings>>>);

impl KernelSettings {
    pub(super) fn of(&self, program: &Program, index: usize, ordinal: i32) -> Arc<Settings> {
        let mut settings = self.0.lock();
        let new = || Arc::new(Settings::new(program.kernel(index)));
        let settings = settings.entry((index, ordinal)).or_insert_with(new);
        settings.clone()
    }
}

static FUNCTIONS: Handles<Function> = Handles::new(Kind::Function);

/// Makes the function of a kernel.
pub(super) fn insert(make: impl FnOnce(u64) -> Function) -> Result<Arc<Function>, CUresult> {
    FUNCTIONS.insert(make)
}

/// Ends all functions of a module.
pub(super) fn forget_module(module: CUmodule) {
    drop(FUNCTIONS.remove_where(|function| function.module == module));
}

/// The function with that handle; a kernel of a library means its function in `context`.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_HANDLE`, [`library::NO_SUCH_KERNEL`], or why the kernel cannot be loaded
/// there.
pub(super) fn find_in(
    handle: CUfunction,
    context: &Arc<Context>,
) -> Result<Arc<Function>, CUresult> {
    match FUNCTIONS.get(handle.0) {
        Some(function) => Ok(function),
        None if handle.is_null() || FUNCTIONS.is_ours(handle.0) => {
            Err(CUresult::CUDA_ERROR_INVALID_HANDLE)
        }
        None => library::find_kernel(handle.0)?.function(context),
    }
}

/// The function with that handle; a kernel means its function in the current context.
///
/// # Errors
///
/// As [`find_in`], and why there is no current context.
pub(super) fn find(handle: CUfunction) -> Result<Arc<Function>, CUresult> {
    find_in(handle, &context::usable()?)
}

/// Threads that a block of the kernel may have.
pub(super) fn max_threads(kernel: &ir::Kernel) -> u32 {
    let limit = kernel.required_threads.or(kernel.max_threads);
    let product = limit.map_or(u64::MAX, |threads| {
        threads.iter().map(|length| u64::from(*length)).product()
    });
    u32::try_from(product).map_or(MAX_THREADS_PER_BLOCK, |threads| {
        threads.min(MAX_THREADS_PER_BLOCK)
    })
}

/// Registers of a thread as occupancy counts them. The device has no register file; the number is
/// that of the lowered code, cut so that a block of the largest size still fits, because it does
/// run.
pub(super) fn registers(program: &Program, kernel: &ir::Kernel) -> u32 {
    let counts = program.code(kernel).registers;
    let used = counts.w32.saturating_add(counts.w64.saturating_mul(2));
    let threads = max_threads(kernel)
        .next_multiple_of(WARP_SIZE)
        .max(WARP_SIZE);
    let fitting = REGISTERS_PER_MULTIPROCESSOR / threads / 8 * 8;
    let limit = kernel
        .max_registers
        .unwrap_or(REGISTERS_PER_THREAD_MAX)
        .min(REGISTERS_PER_THREAD_MAX)
        .min(program.register_limit().unwrap_or(u32::MAX));
    used.saturating_add(8).min(limit).min(fitting)
}

/// `cuFuncGetAttribute` and `cuKernelGetAttribute`.
pub(super) fn attribute(
    program: &Program,
    kernel: &ir::Kernel,
    settings: &Settings,
    attribute: CUfunction_attribute,
) -> Result<i32, CUresult> {
    use CUfunction_attribute as A;
    let value = match attribute {
        A::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK => max_threads(kernel),
        A::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES => kernel.static_shared_bytes,
        A::CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES => program.constant_bytes(),
        A::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES => program.code(kernel).local_bytes,
        A::CU_FUNC_ATTRIBUTE_NUM_REGS => registers(program, kernel),
        A::CU_FUNC_ATTRIBUTE_PTX_VERSION => program.target(),
        A::CU_FUNC_ATTRIBUTE_BINARY_VERSION => {
            let &Architecture { major, minor, .. } = architecture::current();
            major * 10 + minor
        }
        A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES => settings.max_dynamic_shared_bytes(),
        A::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT => {
            return Ok(settings.carveout.load(Ordering::Relaxed));
        }
        A::CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET => {
            (kernel.is_cluster_explicit || kernel.required_cluster.is_some()).into()
        }
        A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH => {
            settings.required_cluster[0].load(Ordering::Relaxed)
        }
        A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT => {
            settings.required_cluster[1].load(Ordering::Relaxed)
        }
        A::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH => {
            settings.required_cluster[2].load(Ordering::Relaxed)
        }
        A::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED => settings
            .is_large_cluster_allowed
            .load(Ordering::Relaxed)
            .into(),
        A::CU_FUNC_ATTRIBUTE_CACHE_MODE_CA
        | A::CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE
        | A::CU_FUNC_ATTRIBUTE_DEVICE_NODE_UPDATE_SUPPORTED
        | A::CU_FUNC_ATTRIBUTE_SHARED_MEMORY_MODE => 0,
        _ => return Err(CUresult::CUDA_ERROR_INVALID_VALUE),
    };
    i32::try_from(value).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)
}

/// `cuFuncSetAttribute` and `cuKernelSetAttribute`.
pub(super) fn set_attribute(
    kernel: &ir::Kernel,
    settings: &Settings,
    attribute: CUfunction_attribute,
    value: i32,
) -> Result<(), CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    match attribute {
        CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES => {
            let bytes = u32::try_from(value).map_err(|_| invalid)?;
            let room = architecture::current()
                .shared_bytes_per_block
                .saturating_sub(kernel.static_shared_bytes);
            if bytes > room {
                return Err(invalid);
            }
            settings
                .max_dynamic_shared_bytes
                .store(bytes, Ordering::Relaxed);
        }
        CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT => {
            if !(-1..=100).contains(&value) {
                return Err(invalid);
            }
            settings.carveout.store(value, Ordering::Relaxed);
        }
        CUfunction_attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED => {
            let is_allowed = match value {
                0 => false,
                1 => true,
                _ => return Err(invalid),
            };
            settings
                .is_large_cluster_allowed
                .store(is_allowed, Ordering::Relaxed);
        }
        CUfunction_attribute::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH => {
            settings.require_cluster(kernel, 0, value)?;
        }
        CUfunction_attribute::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT => {
            settings.require_cluster(kernel, 1, value)?;
        }
        CUfunction_attribute::CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH => {
            settings.require_cluster(kernel, 2, value)?;
        }
        // Hints for a scheduler that has nothing to choose.
        CUfunction_attribute::CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE => {
            if !(0..=2).contains(&value) {
                return Err(invalid);
            }
        }
        _ => return Err(invalid),
    }
    Ok(())
}

/// Offset and size of a parameter in bytes.
pub(super) fn parameter(kernel: &ir::Kernel, index: usize) -> Result<(usize, usize), CUresult> {
    let parameter = kernel
        .parameters
        .get(index)
        .ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
    Ok((parameter.offset as usize, parameter.size as usize))
}

pub(crate) unsafe fn cuFuncGetAttribute(
    pi: *mut i32,
    attrib: CUfunction_attribute,
    hfunc: CUfunction,
) -> Result<(), CUresult> {
    let function = find(hfunc)?;
    out!(
        pi = attribute(
            function.program(),
            function.kernel(),
            &function.settings,
            attrib
        )?
    );
    Ok(())
}

pub(crate) fn cuFuncSetAttribute(
    hfunc: CUfunction,
    attrib: CUfunction_attribute,
    value: i32,
) -> Result<(), CUresult> {
    let function = find(hfunc)?;
    set_attribute(function.kernel(), &function.settings, attrib, value)
}

/// There are no caches to prefer.
pub(crate) fn cuFuncSetCacheConfig(
    hfunc: CUfunction,
    config: CUfunc_cache,
) -> Result<(), CUresult> {
    find(hfunc)?;
    check_cache_config(config)
}

/// The bank size is fixed, as it is on real devices of this compute capability.
pub(crate) fn cuFuncSetSharedMemConfig(
    hfunc: CUfunction,
    config: CUsharedconfig,
) -> Result<(), CUresult> {
    find(hfunc)?;
    check_shared_config(config)
}

pub(crate) unsafe fn cuFuncGetModule(
    hmod: *mut CUmodule,
    hfunc: CUfunction,
) -> Result<(), CUresult> {
    out!(hmod = find(hfunc)?.module);
    Ok(())
}

pub(crate) unsafe fn cuFuncGetName(
    name: *mut *const c_char,
    hfunc: CUfunction,
) -> Result<(), CUresult> {
    let function = find(hfunc)?;
    out!(name = function.program().kernel_name(function.index).as_ptr());
    Ok(())
}

pub(crate) unsafe fn cuFuncGetParamInfo(
    func: CUfunction,
    paramIndex: usize,
    paramOffset: *mut usize,
    paramSize: *mut usize,
) -> Result<(), CUresult> {
    let (offset, size) = parameter(find(func)?.kernel(), paramIndex)?;
    out!(paramOffset = offset);
    optional_out!(paramSize = size);
    Ok(())
}

pub(crate) unsafe fn cuFuncGetParamCount(
    func: CUfunction,
    paramCount: *mut usize,
) -> Result<(), CUresult> {
    out!(paramCount = find(func)?.kernel().parameters.len());
    Ok(())
}

/// A function exists only when its module is loaded.
pub(crate) unsafe fn cuFuncIsLoaded(
    state: *mut CUfunctionLoadingState,
    function: CUfunction,
) -> Result<(), CUresult> {
    find(function)?;
    out!(state = CUfunctionLoadingState::CU_FUNCTION_LOADING_STATE_LOADED);
    Ok(())
}

pub(crate) fn cuFuncLoad(function: CUfunction) -> Result<(), CUresult> {
    find(function).map(drop)
}
