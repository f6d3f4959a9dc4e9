// SPDX-License-Identifier: Apache-2.0
//! What a node does when its graph is launched.

use core::ffi::c_void;
use std::sync::Arc;

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUcontext, CUdevice, CUdeviceptr, CUevent, CUfunction,
    CUgraphConditionalNodeType, CUgraphNodeType, CUhostFn, CUlaunchAttribute, CUlaunchAttributeID,
    CUmemorytype, CUresult, CUstreamBatchMemOpParams, CUstreamBatchMemOpType as Operation,
    CUstreamWaitValue_flags,
};

use crate::memory::GraphMemory;
use crate::world::GraphId;

/// What a node does.
#[derive(Clone)]
pub enum Payload {
    /// A kernel.
    Kernel(Kernel),
    /// A copy.
    Memcpy(Memcpy),
    /// A memset.
    Memset(Memset),
    /// A function of the application.
    Host(Host),
    /// All that another graph does.
    Child(GraphId),
    /// Nothing.
    Empty,
    /// Records an event.
    EventRecord(CUevent),
    /// Waits for an event.
    EventWait(CUevent),
    /// Makes memory usable.
    Allocate(Arc<GraphMemory>),
    /// Ends the use of memory of an allocation node, of whichever graph.
    Free(CUdeviceptr),
    /// Writes words of memory, or waits for them.
    Batch(Batch),
    /// Another graph, as often as a number in device memory says.
    Conditional(Conditional),
}

/// A kernel with its arguments.
#[derive(Clone)]
pub struct Kernel {
    /// A `CUfunction` or `CUkernel`, as the application gave it.
    pub function: CUfunction,
    /// Whether it was given as a `CUkernel`.
    pub is_library_kernel: bool,
    /// The context that it runs in.
    pub context: CUcontext,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub shared_bytes: u32,
    /// The parameter block.
    pub parameters: Arc<Parameters>,
    /// At most one of each kind.
    pub attributes: Vec<Attribute>,
}

impl Kernel {
    /// The attribute of that kind.
    pub fn attribute(&self, id: CUlaunchAttributeID) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.0.id == id)
    }

    /// Whether all its blocks run at once.
    pub(crate) fn is_cooperative(&self) -> bool {
        let attribute = self.attribute(CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE);
        // SAFETY: the id says which field it is; all are plain numbers.
        attribute.is_some_and(|attribute| unsafe { attribute.0.value.cooperative } != 0)
    }

    /// As its attribute says; zero without.
    pub(crate) fn priority(&self) -> i32 {
        let attribute = self.attribute(CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PRIORITY);
        // SAFETY: the id says which field it is; all are plain numbers.
        attribute.map_or(0, |attribute| unsafe { attribute.0.value.priority })
    }
}

/// A launch attribute.
#[derive(Clone, Copy)]
pub struct Attribute(pub CUlaunchAttribute);

// SAFETY: the pointers in it are addresses that nobody follows.
unsafe impl Send for Attribute {}
// SAFETY: as above.
unsafe impl Sync for Attribute {}

/// A parameter block, and the pointers to each parameter that the application can ask for.
pub struct Parameters {
    words: Box<[u64]>,
    bytes: usize,
    pointers: Box<[*mut c_void]>,
}

// SAFETY: the pointers point into `words`, which lives as long and is only read.
unsafe impl Send for Parameters {}
// SAFETY: as above.
unsafe impl Sync for Parameters {}

impl Parameters {
    /// A copy of a block with the parameters at these offsets.
    pub fn new(block: &[u8], offsets: impl Iterator<Item = usize>) -> Self {
        let mut words = vec![0_u64; block.len().div_ceil(8)].into_boxed_slice();
        let base = words.as_mut_ptr().cast::<u8>();
        // SAFETY: as many words as the bytes need.
        unsafe { base.copy_from_nonoverlapping(block.as_ptr(), block.len()) };
        let pointers = offsets
            .map(|offset| base.wrapping_add(offset).cast())
            .collect();
        Self {
            words,
            bytes: block.len(),
            pointers,
        }
    }

    /// The block.
    pub fn block(&self) -> &[u8] {
        // SAFETY: as many bytes as were copied.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast(), self.bytes) }
    }

    /// A pointer to each parameter; null if there is none.
    pub fn pointers(&self) -> *mut *mut c_void {
        match self.pointers.is_empty() {
            true => std::ptr::null_mut(),
            false => self.pointers.as_ptr().cast_mut(),
        }
    }
}

/// A copy in up to three dimensions.
#[derive(Clone, Copy)]
pub struct Memcpy {
    /// As in `cuMemcpy3D`.
    pub copy: CUDA_MEMCPY3D,
    /// The context that it runs in.
    pub context: CUcontext,
}

// SAFETY: the pointers in it are the application's; whoever follows them answers for it.
unsafe impl Send for Memcpy {}
// SAFETY: as above.
unsafe impl Sync for Memcpy {}

impl Memcpy {
    /// A copy of `bytes` bytes; each side is a kind of memory and an address.
    pub fn line(
        to: (CUmemorytype, u64),
        from: (CUmemorytype, u64),
        bytes: usize,
        context: CUcontext,
    ) -> Self {
        // SAFETY: numbers, null handles and null pointers.
        let mut copy: CUDA_MEMCPY3D = unsafe { core::mem::zeroed() };
        (copy.WidthInBytes, copy.Height, copy.Depth) = (bytes, 1, 1);
        copy.dstMemoryType = to.0;
        match to.0 {
            CUmemorytype::CU_MEMORYTYPE_HOST => {
                copy.dstHost = std::ptr::with_exposed_provenance_mut(to.1 as usize);
            }
            _ => copy.dstDevice = CUdeviceptr(to.1),
        }
        copy.srcMemoryType = from.0;
        match from.0 {
            CUmemorytype::CU_MEMORYTYPE_HOST => {
                copy.srcHost = std::ptr::with_exposed_provenance(from.1 as usize);
            }
            _ => copy.srcDevice = CUdeviceptr(from.1),
        }
        Self { copy, context }
    }
}

/// A memset in one or two dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memset {
    /// The first element.
    pub address: CUdeviceptr,
    /// From row to row; of one row, without meaning.
    pub pitch_bytes: usize,
    /// What the elements become.
    pub value: u32,
    /// 1, 2 or 4.
    pub element_bytes: u32,
    /// Elements of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The context that it runs in.
    pub context: CUcontext,
}

/// Stream memory operations, in their order.
#[derive(Clone)]
pub struct Batch {
    /// What `cuStreamBatchMemOp` takes.
    pub operations: Arc<[MemoryOperation]>,
    /// The context that it runs in.
    pub context: CUcontext,
}

impl Batch {
    /// Whether any of them waits.
    pub fn waits(&self) -> bool {
        self.operations.iter().any(|operation| operation.waits())
    }
}

/// One stream memory operation.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct MemoryOperation(pub CUstreamBatchMemOpParams);

// SAFETY: plain data; the pointers in it are addresses that nobody follows.
unsafe impl Send for MemoryOperation {}
// SAFETY: as above.
unsafe impl Sync for MemoryOperation {}

impl MemoryOperation {
    /// A write of 32 or 64 bits, as `cuStreamWriteValue32` takes it.
    pub fn write(address: CUdeviceptr, bits: u32, value: u64, flags: u32) -> Self {
        // SAFETY: numbers and null handles.
        let mut operation: CUstreamBatchMemOpParams = unsafe { core::mem::zeroed() };
        operation.writeValue.operation = match bits {
            32 => Operation::CU_STREAM_MEM_OP_WRITE_VALUE_32,
            _ => Operation::CU_STREAM_MEM_OP_WRITE_VALUE_64,
        };
        operation.writeValue.address = address;
        operation.writeValue.anonymous0.value64 = value;
        operation.writeValue.flags = flags;
        Self(operation)
    }

    /// A wait for 32 or 64 bits, as `cuStreamWaitValue32` takes it.
    pub fn wait(address: CUdeviceptr, bits: u32, value: u64, flags: u32) -> Self {
        // SAFETY: numbers and null handles.
        let mut operation: CUstreamBatchMemOpParams = unsafe { core::mem::zeroed() };
        operation.waitValue.operation = match bits {
            32 => Operation::CU_STREAM_MEM_OP_WAIT_VALUE_32,
            _ => Operation::CU_STREAM_MEM_OP_WAIT_VALUE_64,
        };
        operation.waitValue.address = address;
        operation.waitValue.anonymous0.value64 = value;
        operation.waitValue.flags = flags;
        Self(operation)
    }

    /// What it is.
    pub const fn kind(&self) -> Operation {
        // SAFETY: every variant begins with the operation.
        unsafe { self.0.operation }
    }

    /// Whether it waits.
    pub fn waits(&self) -> bool {
        matches!(
            self.kind(),
            Operation::CU_STREAM_MEM_OP_WAIT_VALUE_32 | Operation::CU_STREAM_MEM_OP_WAIT_VALUE_64
        )
    }

    /// Whether the operation of an executable node may become the other: addresses and values may
    /// change, and which comparison a wait makes.
    pub(crate) fn can_become(&self, other: &Self) -> bool {
        let flush = CUstreamWaitValue_flags::CU_STREAM_WAIT_VALUE_FLUSH.0;
        // SAFETY: all variants are numbers; a wait's flags are looked at of waits only.
        let flags = |operation: &Self| unsafe { operation.0.waitValue.flags };
        // SAFETY: as above, of writes.
        let write_flags = |operation: &Self| unsafe { operation.0.writeValue.flags };
        self.kind() == other.kind()
            && match self.waits() {
                true => flags(self) & flush == flags(other) & flush,
                false => write_flags(self) == write_flags(other),
            }
    }
}

/// A call of a function of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its address, which is not null.
    pub(crate) function: usize,
    /// What it is given.
    pub(crate) data: usize,
    /// As `cuLaunchHostFunc_v2` takes it.
    pub sync_mode: u32,
}

impl Host {
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` without a function.
    pub fn new(function: CUhostFn, data: *mut c_void) -> Result<Self, CUresult> {
        let function = function.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        Ok(Self {
            function: function as usize,
            data: data.expose_provenance(),
            sync_mode: 0,
        })
    }

    /// As `cuLaunchHostFunc` takes it.
    pub fn function(&self) -> CUhostFn {
        // SAFETY: the address came from such a pointer.
        unsafe { core::mem::transmute::<usize, CUhostFn>(self.function) }
    }

    /// As `cuLaunchHostFunc` takes it.
    pub fn data(&self) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.data)
    }
}

/// A graph that runs under a condition.
#[derive(Clone, Debug)]
pub struct Conditional {
    /// As `cuGraphConditionalHandleCreate` gave it.
    pub handle: u64,
    /// `IF`, `WHILE` or `SWITCH`.
    pub kind: CUgraphConditionalNodeType,
    /// What may run.
    pub bodies: Vec<GraphId>,
    /// The context that it runs in.
    pub context: CUcontext,
}

/// What an allocation node was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocationRequest {
    /// The context that asks; the memory may be of another device.
    pub context: CUcontext,
    /// Where.
    pub device: CUdevice,
    /// How many bytes.
    pub bytes: usize,
}

impl Payload {
    /// As `cuGraphNodeGetType` says.
    pub const fn kind(&self) -> CUgraphNodeType {
        match self {
            Self::Kernel(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_KERNEL,
            Self::Memcpy(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMCPY,
            Self::Memset(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMSET,
            Self::Host(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_HOST,
            Self::Child(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_GRAPH,
            Self::Empty => CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY,
            Self::EventRecord(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_EVENT_RECORD,
            Self::EventWait(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_WAIT_EVENT,
            Self::Allocate(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEM_ALLOC,
            Self::Free(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEM_FREE,
            Self::Batch(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_BATCH_MEM_OP,
            Self::Conditional(_) => CUgraphNodeType::CU_GRAPH_NODE_TYPE_CONDITIONAL,
        }
    }
}
