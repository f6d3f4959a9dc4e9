// SPDX-License-Identifier: Apache-2.0
//! Kernel launches (`cuda.h`: "Execution Control").

use core::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gvirtus_abi::{
    CUevent, CUfunction, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchAttributeValue,
    CUlaunchConfig, CUresult, CUstream,
};
use gvirtus_driver_face::log;
use gvirtus_graph::{Kernel, KernelCall, Payload, capture};

use super::arguments::read_array;
use super::context::{self, Context};
use super::engine::{self, Launch};
use super::event;
use super::function::{self, Function};
use super::graph::stream_of;
use super::occupancy::Demand;
use super::scheduler::{Placement, SCHEDULER};
use super::stream::{self, Target};
use crate::exec::{Fault, LaunchConfig};
use crate::ir;
use crate::limits::{MAX_BLOCK_DIMENSIONS, MAX_GRID_DIMENSIONS, MAX_THREADS_PER_BLOCK};

/// Keys of the `extra` list (`CU_LAUNCH_PARAM_…`).
const EXTRA_END: usize = 0;
const EXTRA_BUFFER_POINTER: usize = 1;
const EXTRA_BUFFER_SIZE: usize = 2;
/// Longest `extra` list that makes sense, in pairs.
const EXTRA_PAIRS_MAX: usize = 8;
/// Launch attributes that make sense.
const ATTRIBUTES_MAX: u32 = 64;

/// What `cuLaunchKernel` of a `CUkernel` with an impossible shape answers. `cuda.h` has no name for
/// it; cudart passes `CUkernel`s and makes `cudaErrorInvalidConfiguration` of it, which has this
/// number. A launch of a `CUfunction`, and `cuLaunchKernelEx`, answer `CUDA_ERROR_INVALID_VALUE`.
const INVALID_CONFIGURATION: CUresult = CUresult(9);

/// The shape of a launch.
#[derive(Clone, Copy)]
struct Shape {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared_bytes: u32,
    is_cooperative: bool,
    /// Blocks of a cluster in x, y, z, where the launch says it.
    cluster: Option<[u32; 3]>,
    /// If it is not the stream's.
    priority: Option<i32>,
}

/// Attributes that are more than hints.
#[derive(Default)]
pub(super) struct Attributes {
    is_cooperative: bool,
    pub(super) cluster: Option<[u32; 3]>,
    priority: Option<i32>,
    /// To be recorded when the kernel is complete, which is never too early.
    events: Vec<CUevent>,
}

impl Shape {
    /// The shape in blocks, where the kernel's launches count clusters; their block is then the
    /// kernel's own, which the launch may leave at one thread.
    fn in_blocks(mut self, function: &Function) -> Self {
        let kernel = function.kernel();
        let (true, Some(cluster)) = (kernel.blocks_are_clusters, kernel.required_cluster) else {
            return self;
        };
        for (length, blocks) in self.grid.iter_mut().zip(cluster) {
            *length = length.saturating_mul(blocks);
        }
        if self.block == [1; 3] {
            self.block = kernel.required_threads.unwrap_or(self.block);
        }
        self
    }

    /// # Errors
    ///
    /// The status that CUDA gives a launch which can never run: `impossible` for a shape that no
    /// kernel can have.
    fn check(&self, function: &Function, impossible: CUresult) -> Result<(), CUresult> {
        let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
        let is_inside = |lengths: [u32; 3], limits: [u32; 3]| {
            let mut pairs = lengths.iter().zip(limits);
            pairs.all(|(length, limit)| (1..=limit).contains(length))
        };
        if !is_inside(self.grid, MAX_GRID_DIMENSIONS)
            || !is_inside(self.block, MAX_BLOCK_DIMENSIONS)
        {
            return Err(impossible);
        }
        // Each length is at most 1024 now.
        let threads: u32 = self.block.iter().product();
        let kernel = function.kernel();
        let is_required = kernel
            .required_threads
            .is_none_or(|required| required == self.block);
        if threads > MAX_THREADS_PER_BLOCK {
            return Err(impossible);
        }
        if threads > function::max_threads(kernel) || !is_required {
            return Err(invalid);
        }
        if self.dynamic_shared_bytes > function.settings.max_dynamic_shared_bytes() {
            return Err(invalid);
        }
        if self.is_cooperative {
            self.check_cooperative(function, threads)?;
        }
        self.check_cluster(function)
    }

    fn check_cluster(&self, function: &Function) -> Result<(), CUresult> {
        let invalid = CUresult::CUDA_ERROR_INVALID_CLUSTER_SIZE;
        let required = function.settings.required_cluster();
        let Some(cluster) = self.cluster.or(required) else {
            return match function.kernel().is_cluster_explicit {
                true => Err(invalid),
                false => Ok(()),
            };
        };
        let blocks: u64 = cluster.iter().map(|length| u64::from(*length)).product();
        let limit = function.settings.max_cluster_blocks();
        let limit = limit.min(function.kernel().max_cluster_blocks.unwrap_or(limit));
        let is_required = required.is_none_or(|required| required == cluster);
        let mut axes = self.grid.iter().zip(cluster);
        if !(1..=u64::from(limit)).contains(&blocks)
            || !is_required
            || axes.any(|(length, cluster)| !length.is_multiple_of(cluster))
        {
            return Err(invalid);
        }
        Ok(())
    }

    /// All blocks of a cooperative grid have to be resident at once.
    fn check_cooperative(&self, function: &Function, threads: u32) -> Result<(), CUresult> {
        let each = Demand::of(function).blocks(threads, self.dynamic_shared_bytes as usize);
        let resident = u64::from(each) * u64::from(function.context.device.multiprocessors);
        let blocks = self.grid.iter().map(|length| u128::from(*length));
        match blocks.product::<u128>() <= u128::from(resident) {
            true => Ok(()),
            false => Err(CUresult::CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE),
        }
    }
}

/// A launch that the kernel can be used for.
fn check(
    context: &Context,
    function: &Function,
    shape: Shape,
    parameters: Vec<u8>,
    impossible: CUresult,
) -> Result<Launch, CUresult> {
    if function.context.id != context.id {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    let shape = shape.in_blocks(function);
    shape.check(function, impossible)?;
    let (prints, allocates) = function.instance.side_effects(function.index);
    context.has_printed.fetch_or(prints, Ordering::Relaxed);
    context.has_allocated.fetch_or(allocates, Ordering::Relaxed);
    Ok(Launch {
        instance: function.instance.clone(),
        kernel: function.index,
        config: LaunchConfig {
            grid: shape.grid,
            block: shape.block,
            dynamic_shared_bytes: shape.dynamic_shared_bytes,
            cooperative: shape.is_cooperative,
            cluster: shape.cluster.or(function.settings.required_cluster()),
        },
        parameters,
        priority: shape.priority.unwrap_or_default(),
        limits: context.settings.lock().launch_limits(),
    })
}

/// The launch that a node of a graph is.
///
/// # Errors
///
/// What a launch in a stream would answer.
pub(super) fn prepare(kernel: &Kernel) -> Result<Launch, CUresult> {
    let context = context::find(kernel.context)?;
    let function = function::find_in(kernel.function, &context)?;
    let attributes: Vec<_> = kernel.attributes.iter().map(|a| a.0).collect();
    let attributes = read_attributes(&attributes)?;
    if !attributes.events.is_empty() {
        return Err(gvirtus_driver_face::unsupported(
            "an event of a kernel node",
        ));
    }
    let shape = Shape {
        grid: kernel.grid,
        block: kernel.block,
        dynamic_shared_bytes: kernel.shared_bytes,
        is_cooperative: attributes.is_cooperative,
        priority: attributes.priority,
        cluster: attributes.cluster,
    };
    let impossible = impossible(kernel.function, &function);
    let parameters = kernel.parameters.block().to_vec();
    check(&context, &function, shape, parameters, impossible)
}

/// What a launch with a shape that no kernel can have answers.
fn impossible(handle: CUfunction, function: &Function) -> CUresult {
    match handle == function.handle {
        true => CUresult::CUDA_ERROR_INVALID_VALUE,
        false => INVALID_CONFIGURATION,
    }
}

/// What `cuLaunchKernelEx` answers where `cuLaunchKernel` answers this.
fn extended(status: CUresult) -> CUresult {
    match status {
        INVALID_CONFIGURATION => CUresult::CUDA_ERROR_INVALID_VALUE,
        other => other,
    }
}

/// Runs a kernel as part of a graph.
///
/// # Errors
///
/// What ends the context.
pub(super) fn run_whole(launch: &Launch) -> Result<(), CUresult> {
    run(launch).map_err(|failure| match failure {
        Failure::Sticky(status) | Failure::Refused(status) => status,
    })
}

fn launch(
    target: &Target,
    function: Arc<Function>,
    shape: Shape,
    parameters: Vec<u8>,
    impossible: CUresult,
) -> Result<(), CUresult> {
    let shape = Shape {
        priority: shape.priority.or(Some(target.priority())),
        ..shape
    };
    target.context().printed.flush();
    let mut launch = Some(check(
        target.context(),
        &function,
        shape,
        parameters,
        impossible,
    )?);
    let mut outcome = Ok(());
    if launch.as_ref().is_some_and(Launch::is_short) {
        let here = || match launch.take() {
            Some(launch) => run(&launch).or_else(|failure| match failure {
                Failure::Sticky(status) => Err(status),
                Failure::Refused(status) => {
                    outcome = Err(status);
                    Ok(())
                }
            }),
            None => Ok(()),
        };
        SCHEDULER.run_here(target.id(), here);
    }
    if let Some(launch) = launch {
        SCHEDULER.submit(target.id(), Placement::Worker, move || run_whole(&launch));
    }
    // What this kernel did wrong is for later calls to report, even if it has already run.
    outcome
}

/// Why a kernel did not end well.
enum Failure {
    /// It did something wrong, and its context is lost.
    Sticky(CUresult),
    /// It never began.
    Refused(CUresult),
}

fn run(launch: &Launch) -> Result<(), Failure> {
    let Err(fault) = launch.run() else {
        return Ok(());
    };
    // The one line that says more than an error code can; a failed assertion has said it.
    if !matches!(fault, Fault::Assert { .. }) {
        log::write_always(format_args!("{fault}"));
    }
    let status = engine::status(&fault);
    Err(match engine::is_refusal(&fault) {
        true => Failure::Refused(status),
        false => Failure::Sticky(status),
    })
}

/// The parameter block, from a pointer to each parameter or from the `extra` list.
///
/// # Safety
///
/// The contract of `cuLaunchKernel`: `parameters` is null or points to as many pointers as the
/// kernel has parameters, each to a value of the parameter's size; `extra` is null or a terminated
/// list.
unsafe fn parameter_block(
    kernel: &ir::Kernel,
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<Vec<u8>, CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    let mut block = vec![0_u8; kernel.parameter_bytes as usize];
    if !extra.is_null() {
        if !parameters.is_null() {
            return Err(invalid);
        }
        // SAFETY: the caller's promise.
        let given = unsafe { extra_buffer(extra)? };
        if given.len() < block.len() {
            // The end of a block may be padding that the caller leaves out.
            let needed = kernel.parameters.iter().map(|p| p.offset + p.size).max();
            if needed.is_some_and(|needed| given.len() < needed as usize) {
                return Err(invalid);
            }
        }
        let length = given.len().min(block.len());
        block[..length].copy_from_slice(&given[..length]);
        return Ok(block);
    }
    if kernel.parameters.is_empty() {
        return Ok(block);
    }
    // SAFETY: the caller's promise.
    let values = unsafe { read_array(parameters.cast_const(), kernel.parameters.len()) };
    if values.is_empty() {
        return Err(invalid);
    }
    for (parameter, value) in kernel.parameters.iter().zip(values) {
        if value.is_null() {
            return Err(invalid);
        }
        let (offset, size) = (parameter.offset as usize, parameter.size as usize);
        // SAFETY: the caller's promise: a value of that size.
        let bytes = unsafe { read_array(value.cast::<u8>().cast_const(), size) };
        block
            .get_mut(offset..offset + size)
            .ok_or(invalid)?
            .copy_from_slice(bytes);
    }
    Ok(block)
}

/// # Safety
///
/// `extra` is a list of keys and values that ends with `CU_LAUNCH_PARAM_END`.
unsafe fn extra_buffer<'a>(extra: *mut *mut c_void) -> Result<&'a [u8], CUresult> {
    let invalid = CUresult::CUDA_ERROR_INVALID_VALUE;
    let (mut buffer, mut bytes) = (std::ptr::null::<u8>(), 0);
    for pair in 0..EXTRA_PAIRS_MAX {
        // SAFETY: no key before this one ended the list.
        let key = unsafe { extra.add(2 * pair).read() }.addr();
        if key == EXTRA_END {
            // SAFETY: the caller's promise: a buffer of that many bytes.
            return Ok(unsafe { read_array(buffer, bytes) });
        }
        // SAFETY: every key but the last has a value.
        let value = unsafe { extra.add(2 * pair + 1).read() };
        match key {
            EXTRA_BUFFER_POINTER => buffer = value.cast(),
            EXTRA_BUFFER_SIZE if !value.is_null() => {
                // SAFETY: the caller's promise: the value points to the size.
                bytes = unsafe { value.cast::<usize>().read() };
            }
            _ => return Err(invalid),
        }
    }
    Err(invalid)
}

/// A launch configuration and its attributes.
///
/// # Safety
///
/// `config` is null or a whole structure with as many attributes as it says.
pub(super) unsafe fn read_config<'a>(
    config: *const CUlaunchConfig,
) -> Result<(CUlaunchConfig, &'a [CUlaunchAttribute]), CUresult> {
    if config.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller's promise: not null, and then a whole structure.
    let config = unsafe { config.read_unaligned() };
    if config.numAttrs > ATTRIBUTES_MAX || (config.numAttrs > 0 && config.attrs.is_null()) {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: the caller's promise: as many attributes as it says.
    let attributes = unsafe { read_array(config.attrs.cast_const(), config.numAttrs as usize) };
    Ok((config, attributes))
}

pub(super) fn read_attributes(attributes: &[CUlaunchAttribute]) -> Result<Attributes, CUresult> {
    use CUlaunchAttributeID as A;
    let mut read = Attributes::default();
    for attribute in attributes {
        let value = &attribute.value;
        match attribute.id {
            A::CU_LAUNCH_ATTRIBUTE_COOPERATIVE => {
                // SAFETY: the id says which field it is.
                read.is_cooperative = unsafe { value.cooperative } != 0;
            }
            A::CU_LAUNCH_ATTRIBUTE_PRIORITY => {
                // SAFETY: the id says which field it is.
                read.priority = Some(unsafe { value.priority });
            }
            A::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION => {
                // SAFETY: the id says which field it is.
                let cluster = unsafe { value.clusterDim };
                read.cluster = Some([cluster.x, cluster.y, cluster.z]);
            }
            A::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT => {
                // SAFETY: the id says which field it is.
                read.events.push(unsafe { value.programmaticEvent.event });
            }
            A::CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT => {
                // SAFETY: the id says which field it is.
                read.events
                    .push(unsafe { value.launchCompletionEvent.event });
            }
            A::CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE => {
                return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
            }
            other if other.name().is_none() => return Err(CUresult::CUDA_ERROR_INVALID_VALUE),
            // Hints about order, caches and placement.
            _ => {}
        }
    }
    Ok(read)
}

/// # Safety
///
/// That of [`parameter_block`].
unsafe fn launch_checked(
    streams: (CUstream, CUstream),
    handle: CUfunction,
    shape: Shape,
    attributes: &[CUlaunchAttribute],
    parameters: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<Option<Target>, CUresult> {
    let target = stream::capturable(streams.0, streams.1)?;
    if capture::is_possible() {
        let call = KernelCall {
            function: handle,
            context: target.context().handle,
            grid: shape.grid,
            block: shape.block,
            shared_bytes: shape.dynamic_shared_bytes,
            parameters,
            extra,
        };
        // SAFETY: the caller's promise.
        let make = || unsafe { call.read(attributes) }.map(Payload::Kernel);
        if capture::record_kernel(&stream_of(&target), attributes, make)? {
            return Ok(None);
        }
    }
    let function = function::find_in(handle, target.context())?;
    // SAFETY: the caller's promise.
    let block = unsafe { parameter_block(function.kernel(), parameters, extra)? };
    let impossible = impossible(handle, &function);
    launch(&target, function, shape, block, impossible)?;
    Ok(Some(target))
}

pub(crate) unsafe fn cuLaunchKernel(
    default_stream: CUstream,
    f: CUfunction,
    gridDimX: u32,
    gridDimY: u32,
    gridDimZ: u32,
    blockDimX: u32,
    blockDimY: u32,
    blockDimZ: u32,
    sharedMemBytes: u32,
    hStream: CUstream,
    kernelParams: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<(), CUresult> {
    let shape = Shape {
        grid: [gridDimX, gridDimY, gridDimZ],
        block: [blockDimX, blockDimY, blockDimZ],
        dynamic_shared_bytes: sharedMemBytes,
        is_cooperative: false,
        cluster: None,
        priority: None,
    };
    // SAFETY: the same contract.
    unsafe {
        launch_checked(
            (default_stream, hStream),
            f,
            shape,
            &[],
            kernelParams,
            extra,
        )
    }
    .map(drop)
}

pub(crate) unsafe fn cuLaunchCooperativeKernel(
    default_stream: CUstream,
    f: CUfunction,
    gridDimX: u32,
    gridDimY: u32,
    gridDimZ: u32,
    blockDimX: u32,
    blockDimY: u32,
    blockDimZ: u32,
    sharedMemBytes: u32,
    hStream: CUstream,
    kernelParams: *mut *mut c_void,
) -> Result<(), CUresult> {
    let shape = Shape {
        grid: [gridDimX, gridDimY, gridDimZ],
        block: [blockDimX, blockDimY, blockDimZ],
        dynamic_shared_bytes: sharedMemBytes,
        is_cooperative: true,
        cluster: None,
        priority: None,
    };
    let (streams, extra) = ((default_stream, hStream), std::ptr::null_mut());
    let mut value = CUlaunchAttributeValue { pad: [0; 64] };
    value.cooperative = 1;
    let cooperative = CUlaunchAttribute {
        id: CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
        pad: [0; 4],
        value,
    };
    // SAFETY: the same contract.
    unsafe { launch_checked(streams, f, shape, &[cooperative], kernelParams, extra) }.map(drop)
}

pub(crate) unsafe fn cuLaunchKernelEx(
    default_stream: CUstream,
    config: *const CUlaunchConfig,
    f: CUfunction,
    kernelParams: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    let (config, given) = unsafe { read_config(config)? };
    let attributes = read_attributes(given)?;
    let shape = Shape {
        grid: [config.gridDimX, config.gridDimY, config.gridDimZ],
        block: [config.blockDimX, config.blockDimY, config.blockDimZ],
        dynamic_shared_bytes: config.sharedMemBytes,
        is_cooperative: attributes.is_cooperative,
        cluster: attributes.cluster,
        priority: attributes.priority,
    };
    let streams = (default_stream, config.hStream);
    // SAFETY: the same contract.
    let target = unsafe { launch_checked(streams, f, shape, given, kernelParams, extra) };
    let target = target.map_err(extended)?;
    let Some(target) = target else {
        return Ok(());
    };
    for handle in attributes.events {
        event::record_on(handle, &target)?;
    }
    Ok(())
}
