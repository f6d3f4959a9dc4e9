// SPDX-License-Identifier: Apache-2.0
//! What the graphs need of the driver that they are part of.

use std::sync::{Arc, OnceLock};

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction, CUresult, CUstream,
};

use crate::payload::{AllocationRequest, Kernel, MemoryOperation, Memset};
use crate::plan::Plan;

/// A stream, as far as captures need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Names the stream for as long as the process lives; of legacy streams, that of the context.
    pub id: u64,
    /// Its context.
    pub context: CUcontext,
    /// What kind it is.
    pub kind: StreamKind,
    /// A handle with which the platform finds the stream again on the same thread.
    pub handle: CUstream,
}

/// How a stream goes together with its context's legacy stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// It is the legacy stream.
    Legacy,
    /// They wait for each other.
    Blocking,
    /// They do not.
    NonBlocking,
}

/// Where a kernel's parameters are.
#[derive(Clone, Debug, Default)]
pub struct KernelLayout {
    /// Offset and size in bytes of each.
    pub parameters: Vec<(u32, u32)>,
    /// Bytes of the block.
    pub bytes: usize,
}

/// The driver around the graphs. No function of it may call back into this crate, except for
/// [`Platform::launch`].
pub trait Platform: Send + Sync {
    /// That the driver works at all.
    ///
    /// # Errors
    ///
    /// Why it does not.
    fn ready(&self) -> Result<(), CUresult>;

    /// The context with that handle; of null, the calling thread's.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_CONTEXT` and its kin.
    fn context(&self, handle: CUcontext) -> Result<CUcontext, CUresult>;

    /// The stream with that handle; `default` is what null stands for.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_HANDLE` and its kin.
    fn stream(&self, default: CUstream, handle: CUstream) -> Result<Stream, CUresult>;

    /// The layout of a kernel's parameters; a library's kernel is meant in `context`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_HANDLE` and its kin.
    fn kernel(&self, function: CUfunction, context: CUcontext) -> Result<KernelLayout, CUresult>;

    /// Whether a kernel can be launched so.
    ///
    /// # Errors
    ///
    /// What a launch would answer.
    fn check_kernel(&self, kernel: &Kernel) -> Result<(), CUresult>;

    /// Whether a copy can be done.
    ///
    /// # Errors
    ///
    /// What the copy would answer.
    fn check_copy(&self, copy: &CUDA_MEMCPY3D) -> Result<(), CUresult>;

    /// Whether a memset can be done; its shape makes sense.
    ///
    /// # Errors
    ///
    /// What the memset would answer.
    fn check_memset(&self, memset: &Memset) -> Result<(), CUresult>;

    /// Whether a context can do these stream memory operations.
    ///
    /// # Errors
    ///
    /// What `cuStreamBatchMemOp` would answer.
    fn check_operations(&self, operations: &[MemoryOperation]) -> Result<(), CUresult>;

    /// Whether there is such an event.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_HANDLE`.
    fn check_event(&self, event: CUevent) -> Result<(), CUresult>;

    /// Whether there is such a device.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_DEVICE`.
    fn check_device(&self, device: CUdevice) -> Result<(), CUresult>;

    /// Memory for an allocation node, or the cell of a condition.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    fn allocate(&self, request: AllocationRequest) -> Result<CUdeviceptr, CUresult>;

    /// Gives memory back that nobody uses any more.
    fn free(&self, address: CUdeviceptr);

    /// The device of a context.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_CONTEXT`.
    fn device_of(&self, context: CUcontext) -> Result<CUdevice, CUresult>;

    /// Whether all nodes of a plan can be run here.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_NOT_SUPPORTED`.
    fn check_plan(&self, plan: &Plan) -> Result<(), CUresult>;

    /// Runs a plan in a stream, after all runs of the same graph before it.
    ///
    /// # Errors
    ///
    /// Why it cannot begin.
    fn launch(&self, launch: Launch) -> Result<(), CUresult>;
}

/// One launch of an executable graph.
pub struct Launch {
    /// Which one: a number that is never used again.
    pub exec: u64,
    /// What it does.
    pub plan: Arc<Plan>,
    /// Where.
    pub stream: Stream,
    /// Where it was launched last.
    pub before: Option<Stream>,
}

static PLATFORM: OnceLock<&'static dyn Platform> = OnceLock::new();

/// Says what the graphs of this process are part of. Only the first call counts.
pub fn set_platform(platform: &'static dyn Platform) {
    let _ = PLATFORM.set(platform);
}

/// # Errors
///
/// `CUDA_ERROR_NOT_INITIALIZED` before [`set_platform`].
pub(crate) fn platform() -> Result<&'static dyn Platform, CUresult> {
    let platform = PLATFORM.get().copied();
    platform.ok_or(CUresult::CUDA_ERROR_NOT_INITIALIZED)
}
