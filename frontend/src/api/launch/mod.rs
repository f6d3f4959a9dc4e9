// SPDX-License-Identifier: Apache-2.0
//! Launches: posted. The parameters are gathered straight into the command queue.
//!
//! What CUDA refuses at the call is refused at the call where the client knows enough. A launch
//! that the driver may refuse waits for its judgement, which costs a round trip, for most kernels
//! never and for a few once. Everything else is told by a later call.

mod attributes;
mod parameters;

use std::ffi::c_void;

use gvirtus_abi::{
    CUfunction, CUlaunchAttribute, CUlaunchAttributeID as Attribute, CUlaunchAttributeValue,
    CUlaunchConfig, CUresult, CUstream,
};
use gvirtus_graph::{KernelCall, Payload, capture};
use gvirtus_protocol::command::Launch;
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, graph_stream, required};
use crate::context::Context;
use crate::device::LaunchLimits;
use crate::handle::{Key, Kind};
use crate::image::{AttributesOf, ImageKind, Kernel, KernelLimits};
use crate::limits::{PORTABLE_CLUSTER_BLOCKS, UNASKED_SHARED_BYTES_MAX, UNASKED_THREADS_MAX};
use crate::process::session;
use crate::session::{Session, StreamRef};
use crate::wire::Command;

use self::attributes::{append_attribute, check_attributes, is_ignored};
use self::parameters::{EXTRA_BUFFER_POINTER, EXTRA_BUFFER_SIZE, EXTRA_END, Parameters};

/// What `cuLaunchKernel` of a `CUkernel` with an impossible shape answers; of a `CUfunction`, and
/// with `cuLaunchKernelEx`, it is `CUDA_ERROR_INVALID_VALUE`. `cuda.h` has no name for it: NVIDIA's
/// runtime passes `CUkernel`s and makes `cudaErrorInvalidConfiguration` of it, which has this
/// number.
const INVALID_CONFIGURATION: CUresult = CUresult(9);

/// The size of a launch.
#[derive(Clone, Copy, Debug)]
struct Shape {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
}

/// `cuLaunchKernel`.
#[inline]
pub unsafe fn cuLaunchKernel(
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
) -> Status {
    let shape = Shape {
        grid: [gridDimX, gridDimY, gridDimZ],
        block: [blockDimX, blockDimY, blockDimZ],
        shared_bytes: sharedMemBytes,
    };
    // SAFETY: the caller's promise.
    unsafe { launch(default_stream, hStream, f, shape, &[], kernelParams, extra) }
}

/// `cuLaunchCooperativeKernel`.
pub unsafe fn cuLaunchCooperativeKernel(
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
) -> Status {
    let shape = Shape {
        grid: [gridDimX, gridDimY, gridDimZ],
        block: [blockDimX, blockDimY, blockDimZ],
        shared_bytes: sharedMemBytes,
    };
    let mut value = CUlaunchAttributeValue { pad: [0; 64] };
    value.cooperative = 1;
    let cooperative = CUlaunchAttribute {
        id: Attribute::CU_LAUNCH_ATTRIBUTE_COOPERATIVE,
        pad: [0; 4],
        value,
    };
    // SAFETY: the caller's promise.
    unsafe {
        launch(
            default_stream,
            hStream,
            f,
            shape,
            &[cooperative],
            kernelParams,
            std::ptr::null_mut(),
        )
    }
}

/// `cuLaunchKernelEx`.
pub unsafe fn cuLaunchKernelEx(
    default_stream: CUstream,
    config: *const CUlaunchConfig,
    f: CUfunction,
    kernelParams: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    // SAFETY: the caller's promise.
    let (config, attributes) = unsafe { launch_config(config)? };
    let shape = Shape::of(&config);
    // SAFETY: the caller's promise.
    unsafe {
        launch(
            default_stream,
            config.hStream,
            f,
            shape,
            attributes,
            kernelParams,
            extra,
        )
        .map_err(|status| match status {
            INVALID_CONFIGURATION => INVALID_VALUE,
            other => other,
        })
    }
}

/// A launch configuration and its attributes.
///
/// # Safety
///
/// `config` is null or a whole structure with as many attributes as it says.
pub(super) unsafe fn launch_config<'a>(
    config: *const CUlaunchConfig,
) -> Result<(CUlaunchConfig, &'a [CUlaunchAttribute]), CUresult> {
    let config = required(config.cast_mut())?;
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let config = unsafe { config.read() };
    let attributes: &[CUlaunchAttribute] = match config.numAttrs {
        0 => &[],
        count => {
            let attributes = required(config.attrs)?;
            // SAFETY: the caller promises `numAttrs` attributes.
            unsafe { std::slice::from_raw_parts(attributes, count as usize) }
        }
    };
    Ok((config, attributes))
}

/// A launch without parameters, as questions about one want it.
pub(super) fn append_launch(
    buffer: &mut Vec<u8>,
    session: &Session,
    context: Context,
    kernel: &Kernel,
    config: &CUlaunchConfig,
    attributes: &[CUlaunchAttribute],
) -> Status {
    let limits = &session.devices[context.device as usize].launch_limits;
    let shape = Shape::of(config);
    let body = Launch {
        function: U64::new(kernel.number.to_word()),
        stream: U64::new(0),
        grid: shape.grid.map(U32::new),
        block: shape.block.map(U32::new),
        shared_bytes: U32::new(shape.shared_bytes),
        attribute_count: U32::new(check_attributes(attributes, limits)?),
        parameter_bytes: U32::new(0),
    };
    buffer.extend_from_slice(body.as_bytes());
    for attribute in attributes.iter().filter(|a| !is_ignored(a)) {
        append_attribute(buffer, attribute);
    }
    Ok(())
}

/// # Safety
///
/// As `cuLaunchKernel`.
#[inline]
unsafe fn launch(
    default: CUstream,
    stream: CUstream,
    function: CUfunction,
    shape: Shape,
    attributes: &[CUlaunchAttribute],
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    let session = session()?;
    let context = session.current_or_deferred()?;
    let reference = session.capturable(default, stream)?;
    if capture::is_possible() {
        let stream = graph_stream(session, default, stream)?;
        let call = KernelCall {
            function,
            context: stream.context,
            grid: shape.grid,
            block: shape.block,
            shared_bytes: shape.shared_bytes,
            parameters: params,
            extra,
        };
        // SAFETY: the caller's promise.
        let make = || unsafe { call.read(attributes) }.map(Payload::Kernel);
        if capture::record_kernel(&stream, attributes, make)? {
            return Ok(());
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        launch_now(
            session, context, reference, function, shape, attributes, params, extra,
        )
    }
}

/// A launch that is not captured.
///
/// # Safety
///
/// As `cuLaunchKernel`.
#[inline]
unsafe fn launch_now(
    session: &Session,
    context: Context,
    stream: StreamRef,
    function: CUfunction,
    shape: Shape,
    attributes: &[CUlaunchAttribute],
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Status {
    let kernel = session.kernel(function.0)?;
    let foreign = matches!(kernel.kind, ImageKind::Module(owner) if owner != context.number);
    if foreign || stream.context != context.number {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    let limits = &session.devices[context.device as usize].launch_limits;
    check_shape(shape, limits, function)?;
    let is_doubtful = shape.is_doubtful(kernel.limits())
        || attributes.iter().any(|a| shape.is_doubtful_with(a, limits));
    let attribute_count = check_attributes(attributes, limits)?;
    // SAFETY: the caller's promise.
    let parameters = unsafe { Parameters::new(&kernel, params, extra)? };
    session.before_work(stream)?;
    let body = Launch {
        function: U64::new(kernel.number.to_word()),
        stream: U64::new(stream.number.into()),
        grid: shape.grid.map(U32::new),
        block: shape.block.map(U32::new),
        shared_bytes: U32::new(shape.shared_bytes),
        attribute_count: U32::new(attribute_count),
        parameter_bytes: U32::new(kernel.parameter_bytes),
    };
    let command = Command {
        opcode: opcode::cuLaunchKernel,
        context: context.number,
    };
    session.wire.post(command, |buffer| {
        buffer.extend_from_slice(body.as_bytes());
        for attribute in attributes.iter().filter(|a| !is_ignored(a)) {
            append_attribute(buffer, attribute);
        }
        // SAFETY: the caller's promise.
        unsafe { parameters.append_to(buffer, &kernel) };
    })?;
    if is_doubtful {
        judge(session, &kernel, context)?;
    }
    Ok(())
}

fn check_shape(shape: Shape, limits: &LaunchLimits, function: CUfunction) -> Status {
    shape.check_device(limits).map_err(|status| {
        let is_kernel = Key::of(function.0, Kind::Kernel).is_some();
        if is_kernel {
            INVALID_CONFIGURATION
        } else {
            status
        }
    })
}

fn shape_of(kernel: &gvirtus_graph::Kernel) -> Shape {
    Shape {
        grid: kernel.grid,
        block: kernel.block,
        shared_bytes: kernel.shared_bytes,
    }
}

/// Whether a kernel can be a node of a graph, as far as the client can tell.
///
/// # Errors
///
/// What a launch would answer.
pub(super) fn check_node(session: &Session, node: &gvirtus_graph::Kernel) -> Status {
    let context = session.contexts.find(node.context)?;
    let kernel = session.kernel(node.function.0)?;
    if matches!(kernel.kind, ImageKind::Module(owner) if owner != context.number) {
        return Err(CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
    let limits = &session.devices[context.device as usize].launch_limits;
    check_shape(shape_of(node), limits, node.function)?;
    let attributes: Vec<_> = node.attributes.iter().map(|a| a.0).collect();
    check_attributes(&attributes, limits)?;
    let id = Attribute::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    let Some(attribute) = node.attribute(id) else {
        return Ok(());
    };
    // SAFETY: the id tells which field is meant; all are plain numbers.
    let cluster = unsafe { attribute.0.value.clusterDim };
    let cluster = [cluster.x, cluster.y, cluster.z];
    let mut axes = node.grid.iter().zip(cluster);
    // A grid has blocks, so no axis of a cluster that divides it is zero.
    match axes.all(|(size, cluster)| size.is_multiple_of(cluster)) {
        true => Ok(()),
        false => Err(CUresult::CUDA_ERROR_INVALID_CLUSTER_SIZE),
    }
}

/// Launches a kernel of a graph.
///
/// # Errors
///
/// As `cuLaunchKernel`.
pub(super) fn launch_node(
    session: &Session,
    stream: StreamRef,
    node: &gvirtus_graph::Kernel,
) -> Status {
    let context = session.contexts.find(node.context)?;
    let attributes: Vec<_> = node.attributes.iter().map(|a| a.0).collect();
    let block = node.parameters.block();
    let mut bytes = block.len();
    let mut extra = [
        std::ptr::without_provenance_mut(EXTRA_BUFFER_POINTER),
        block.as_ptr().cast_mut().cast(),
        std::ptr::without_provenance_mut(EXTRA_BUFFER_SIZE),
        (&raw mut bytes).cast(),
        std::ptr::without_provenance_mut(EXTRA_END),
    ];
    let extra = match block.is_empty() {
        true => std::ptr::null_mut(),
        false => extra.as_mut_ptr(),
    };
    let (shape, params) = (shape_of(node), std::ptr::null_mut());
    let function = node.function;
    // SAFETY: the block is as long as the kernel's parameters.
    unsafe {
        launch_now(
            session,
            context,
            stream,
            function,
            shape,
            &attributes,
            params,
            extra,
        )
    }
}

/// Waits until the driver has judged a launch. That costs a round trip; where the kernel's limits
/// are not known, it brings them, so that it need not be done again.
#[cold]
fn judge(session: &Session, kernel: &Kernel, context: Context) -> Status {
    let number = context.number;
    if kernel.limits() == KernelLimits::default() {
        session.ask_attributes(kernel, AttributesOf::Function(number))?;
    } else {
        session.call(opcode::PING, number, &[])?;
    }
    session.wire.faults().take_deferred()
}

impl Shape {
    fn of(config: &CUlaunchConfig) -> Self {
        Self {
            grid: [config.gridDimX, config.gridDimY, config.gridDimZ],
            block: [config.blockDimX, config.blockDimY, config.blockDimZ],
            shared_bytes: config.sharedMemBytes,
        }
    }

    /// Whether a device can have such a grid at all.
    #[inline]
    fn check_device(&self, limits: &LaunchLimits) -> Status {
        let fits = |size: &[u32; 3], limits: &[u32; 3]| {
            size.iter()
                .zip(limits)
                .all(|(size, limit)| (1..=*limit).contains(size))
        };
        if !fits(&self.grid, &limits.grid)
            || !fits(&self.block, &limits.block)
            || self.threads() > limits.threads_per_block
        {
            return Err(INVALID_VALUE);
        }
        Ok(())
    }

    /// Whether the driver may refuse it for this kernel. Of limits that are not known, only large
    /// launches are doubted.
    #[inline]
    fn is_doubtful(&self, limits: KernelLimits) -> bool {
        let shared_max = limits.shared_bytes.unwrap_or(UNASKED_SHARED_BYTES_MAX);
        let threads_max = limits
            .threads_per_block
            .map_or(UNASKED_THREADS_MAX, u64::from);
        self.shared_bytes > shared_max || self.threads() > threads_max
    }

    /// Whether the driver may refuse it for an attribute.
    fn is_doubtful_with(&self, attribute: &CUlaunchAttribute, limits: &LaunchLimits) -> bool {
        match attribute.id {
            Attribute::CU_LAUNCH_ATTRIBUTE_COOPERATIVE => {
                let blocks = self.grid.iter().map(|size| u64::from(*size));
                blocks.fold(1, u64::saturating_mul) > u64::from(limits.multiprocessors)
            }
            Attribute::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION => {
                // SAFETY: the id tells which field is meant; all are plain numbers.
                let cluster = unsafe { attribute.value.clusterDim };
                let cluster = [cluster.x, cluster.y, cluster.z];
                let blocks = cluster.iter().map(|size| u64::from(*size));
                let mut axes = self.grid.iter().zip(cluster);
                !(1..=PORTABLE_CLUSTER_BLOCKS).contains(&blocks.fold(1, u64::saturating_mul))
                    || axes.any(|(size, cluster)| !size.is_multiple_of(cluster))
            }
            _ => false,
        }
    }

    fn threads(&self) -> u64 {
        let sizes = self.block.iter().map(|size| u64::from(*size));
        sizes.fold(1, u64::saturating_mul)
    }
}
