// SPDX-License-Identifier: Apache-2.0
//! Graphs: built, captured, changed, run.

mod captures;
mod changes;
mod conditions;
mod lifetimes;
mod nodes;

use std::ffi::CStr;

use gvirtus_abi::{
    CUDA_KERNEL_NODE_PARAMS, CUDA_MEMSET_NODE_PARAMS, CUcontext, CUdeviceptr, CUfunction, CUgraph,
    CUgraphExec, CUgraphNode, CUhostFn, CUkernel, CUmodule, CUresult, CUstream,
    CUstreamCaptureMode as Mode,
};

use super::*;

const PTX: &[u8] = concat!(include_str!("kernels.ptx"), "\0").as_bytes();
const NOT_SUPPORTED: CUresult = CUresult::CUDA_ERROR_NOT_SUPPORTED;

/// A word of device memory, and kernels that change it.
struct Bench {
    _context: TestContext,
    module: CUmodule,
    word: CUdeviceptr,
}

impl Bench {
    fn new() -> Self {
        let context = TestContext::new();
        Self {
            _context: context,
            module: get!(cuModuleLoadData(_, PTX.as_ptr().cast())),
            word: allocate(4),
        }
    }

    fn function(&self, name: &CStr) -> CUfunction {
        get!(cuModuleGetFunction(_, self.module, name.as_ptr()))
    }

    /// Adds a node: `word = word * factor + summand`.
    fn step(&self, graph: CUgraph, before: &[CUgraphNode], numbers: [u32; 2]) -> CUgraphNode {
        let params = |params: &CUDA_KERNEL_NODE_PARAMS| {
            let (nodes, count) = (before.as_ptr(), before.len());
            get!(cuGraphAddKernelNode_v2(
                _,
                graph,
                nodes,
                count,
                std::ptr::from_ref(params)
            ))
        };
        with_step(self.function(c"step"), self.word, numbers, params)
    }

    /// Adds a node: `word = value`.
    fn set(&self, graph: CUgraph, before: &[CUgraphNode], value: u32) -> CUgraphNode {
        let params = self.setting(value);
        let (nodes, count) = (before.as_ptr(), before.len());
        get!(cuGraphAddMemsetNode(
            _,
            graph,
            nodes,
            count,
            &raw const params,
            CUcontext::NULL
        ))
    }

    fn setting(&self, value: u32) -> CUDA_MEMSET_NODE_PARAMS {
        CUDA_MEMSET_NODE_PARAMS {
            dst: self.word,
            pitch: 0,
            value,
            elementSize: 4,
            width: 1,
            height: 1,
        }
    }

    /// Launches, waits, and reads the word.
    fn run(&self, exec: CUgraphExec) -> u32 {
        assert_eq!(call!(cuGraphLaunch(exec, CUstream::NULL)), SUCCESS);
        self.read()
    }

    fn read(&self) -> u32 {
        let bytes = download(self.word, 4);
        u32::from_le_bytes(bytes.try_into().expect("four bytes"))
    }

    fn write(&self, value: u32) {
        upload(self.word, &value.to_le_bytes());
    }
}

/// The parameters of a kernel `step` or one like it.
fn with_step<R>(
    function: CUfunction,
    mut word: CUdeviceptr,
    [mut factor, mut summand]: [u32; 2],
    work: impl FnOnce(&CUDA_KERNEL_NODE_PARAMS) -> R,
) -> R {
    let mut parameters = [
        (&raw mut word).cast(),
        (&raw mut factor).cast(),
        (&raw mut summand).cast(),
    ];
    work(&CUDA_KERNEL_NODE_PARAMS {
        func: function,
        gridDimX: 1,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: 1,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: 0,
        kernelParams: parameters.as_mut_ptr(),
        extra: std::ptr::null_mut(),
        kern: CUkernel::NULL,
        ctx: CUcontext::NULL,
    })
}

fn graph() -> CUgraph {
    get!(cuGraphCreate(_, 0))
}

fn empty(graph: CUgraph, before: &[CUgraphNode]) -> CUgraphNode {
    get!(cuGraphAddEmptyNode(_, graph, before.as_ptr(), before.len()))
}

fn instantiate(graph: CUgraph) -> CUgraphExec {
    get!(cuGraphInstantiateWithFlags(_, graph, 0))
}

fn nodes(graph: CUgraph) -> Vec<CUgraphNode> {
    let mut count = 0;
    let none = std::ptr::null_mut();
    assert_eq!(call!(cuGraphGetNodes(graph, none, &raw mut count)), SUCCESS);
    let mut nodes = vec![CUgraphNode::NULL; count];
    assert_eq!(
        call!(cuGraphGetNodes(graph, nodes.as_mut_ptr(), &raw mut count)),
        SUCCESS
    );
    nodes
}

fn begin(stream: CUstream) {
    let mode = Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    assert_eq!(call!(cuStreamBeginCapture_v2(stream, mode)), SUCCESS);
}

fn end(stream: CUstream) -> CUgraph {
    let mut graph = CUgraph::NULL;
    assert_eq!(call!(cuStreamEndCapture(stream, &raw mut graph)), SUCCESS);
    graph
}

/// A function of the application, as `cuda.h` has it.
fn host_function(function: unsafe extern "C" fn(*mut std::ffi::c_void)) -> CUhostFn {
    // SAFETY: the driver calls it with its one argument.
    unsafe {
        std::mem::transmute::<unsafe extern "C" fn(*mut std::ffi::c_void), CUhostFn>(function)
    }
}
