// SPDX-License-Identifier: Apache-2.0
//! The functions of `cuda.h` on a driver that only keeps count.

use std::collections::BTreeMap;

use gvirtus_abi::{
    CUDA_KERNEL_NODE_PARAMS_v1, CUDA_MEM_ALLOC_NODE_PARAMS, CUDA_MEMCPY3D, CUcontext, CUdevice,
    CUdeviceptr, CUevent, CUfunction, CUgraph, CUgraphExec, CUgraphExecUpdateResult as Updated,
    CUgraphNode, CUlaunchAttribute, CUlaunchAttributeID, CUmemAllocationType, CUmemLocationType,
    CUresult, CUstream, CUstreamCaptureMode as Mode,
};
use parking_lot::Mutex;

use crate::api::*;
use crate::capture;
use crate::platform::{KernelLayout, Launch, Platform, Stream, StreamKind, set_platform};
use crate::{AllocationRequest, Kernel, MemoryOperation, Memset, Payload, Plan};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
const RELAXED: Mode = Mode::CU_STREAM_CAPTURE_MODE_RELAXED;
const FUNCTION: CUfunction = CUfunction(77);

/// Streams are numbers: below 100 blocking, else not; number and context are one hundred apart.
struct Counting;

static LAUNCHES: Mutex<BTreeMap<u64, usize>> = Mutex::new(BTreeMap::new());
static ALLOCATED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

impl Platform for Counting {
    fn ready(&self) -> Result<(), CUresult> {
        Ok(())
    }

    fn context(&self, handle: CUcontext) -> Result<CUcontext, CUresult> {
        Ok(CUcontext(handle.0.max(1)))
    }

    fn stream(&self, _: CUstream, handle: CUstream) -> Result<Stream, CUresult> {
        Ok(stream(handle.0))
    }

    fn kernel(&self, function: CUfunction, _: CUcontext) -> Result<KernelLayout, CUresult> {
        match function {
            FUNCTION => Ok(KernelLayout {
                parameters: vec![(0, 4), (8, 8)],
                bytes: 16,
            }),
            _ => Err(CUresult::CUDA_ERROR_INVALID_HANDLE),
        }
    }

    fn check_kernel(&self, kernel: &Kernel) -> Result<(), CUresult> {
        match kernel.grid[0] {
            0 => Err(INVALID),
            _ => Ok(()),
        }
    }

    fn check_copy(&self, _: &CUDA_MEMCPY3D) -> Result<(), CUresult> {
        Ok(())
    }

    fn check_memset(&self, _: &Memset) -> Result<(), CUresult> {
        Ok(())
    }

    fn check_operations(&self, _: &[MemoryOperation]) -> Result<(), CUresult> {
        Ok(())
    }

    fn check_event(&self, _: CUevent) -> Result<(), CUresult> {
        Ok(())
    }

    fn check_device(&self, _: CUdevice) -> Result<(), CUresult> {
        Ok(())
    }

    fn allocate(&self, _: AllocationRequest) -> Result<CUdeviceptr, CUresult> {
        let mut allocated = ALLOCATED.lock();
        let address = 0x1000 + allocated.len() as u64 * 0x1000;
        allocated.push(address);
        Ok(CUdeviceptr(address))
    }

    fn free(&self, address: CUdeviceptr) {
        let mut allocated = ALLOCATED.lock();
        let place = allocated.iter_mut().find(|known| **known == address.0);
        *place.expect("freed once") = 0;
    }

    fn device_of(&self, _: CUcontext) -> Result<CUdevice, CUresult> {
        Ok(CUdevice(0))
    }

    fn check_plan(&self, _: &Plan) -> Result<(), CUresult> {
        Ok(())
    }

    fn launch(&self, launch: Launch) -> Result<(), CUresult> {
        let steps = launch.plan.order.len();
        *LAUNCHES.lock().entry(launch.exec).or_default() += steps;
        Ok(())
    }
}

/// Number 100 × context is the context's legacy stream; odd ones block, even ones do not.
fn stream(number: u64) -> Stream {
    Stream {
        id: number,
        context: CUcontext(number / 100),
        kind: match (number % 100, number % 2) {
            (0, _) => StreamKind::Legacy,
            (_, 1) => StreamKind::Blocking,
            _ => StreamKind::NonBlocking,
        },
        handle: CUstream(number),
    }
}

/// `call!(cuFunction(arguments…))`: its status as a result.
macro_rules! call {
    ($function:ident($($argument:expr),* $(,)?)) => {{
        set_platform(&Counting);
        // SAFETY: the tests pass what cuda.h asks for, or what is to be refused.
        unsafe { $function($($argument),*) }
    }};
}

fn graph() -> CUgraph {
    let mut graph = CUgraph::NULL;
    call!(cuGraphCreate(&raw mut graph, 0)).expect("a graph");
    graph
}

fn empty(graph: CUgraph, before: &[CUgraphNode]) -> Result<CUgraphNode, CUresult> {
    let mut node = CUgraphNode::NULL;
    let (nodes, count) = (before.as_ptr(), before.len());
    call!(cuGraphAddEmptyNode(&raw mut node, graph, nodes, count))?;
    Ok(node)
}

fn kernel(graph: CUgraph, function: CUfunction, number: i32) -> Result<CUgraphNode, CUresult> {
    let (mut number, mut word, mut node) = (number, 5_u64, CUgraphNode::NULL);
    let mut parameters = [(&raw mut number).cast(), (&raw mut word).cast()];
    let params = CUDA_KERNEL_NODE_PARAMS_v1 {
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
    };
    let none = std::ptr::null();
    call!(cuGraphAddKernelNode(
        &raw mut node,
        graph,
        none,
        0,
        &raw const params
    ))?;
    Ok(node)
}

fn instantiate(graph: CUgraph) -> Result<CUgraphExec, CUresult> {
    let mut exec = CUgraphExec::NULL;
    call!(cuGraphInstantiateWithFlags(&raw mut exec, graph, 0))?;
    Ok(exec)
}

fn captured(number: u64) -> Result<bool, CUresult> {
    capture::record(&stream(number), || Ok(Payload::Empty))
}

fn begin(number: u64) {
    call!(cuStreamBeginCapture_v2(
        CUstream::NULL,
        CUstream(number),
        RELAXED
    ))
    .expect("a capture");
}

fn end(number: u64) -> Result<CUgraph, CUresult> {
    let mut graph = CUgraph(1);
    let ended = call!(cuStreamEndCapture(
        CUstream::NULL,
        CUstream(number),
        &raw mut graph
    ));
    assert_eq!(ended.is_err(), graph.is_null());
    ended.map(|()| graph)
}

fn edges(graph: CUgraph) -> usize {
    let (mut count, null) = (0, std::ptr::null_mut());
    call!(cuGraphGetEdges(graph, null, null, &raw mut count)).expect("a count");
    count
}

#[test]
fn dependencies_are_of_one_graph_and_named_once() {
    let (one, other) = (graph(), graph());
    let node = empty(one, &[]).expect("a node");
    assert_eq!(empty(one, &[node, node]), Err(INVALID));
    assert_eq!(empty(other, &[node]), Err(INVALID));
    assert_eq!(empty(one, &[CUgraphNode(1)]), Err(INVALID));
    let next = empty(one, &[node]).expect("a node");
    assert_eq!(edges(one), 1);
    assert_eq!(call!(cuGraphDestroyNode(node)), Ok(()));
    assert_eq!(
        (edges(one), call!(cuGraphDestroyNode(node))),
        (0, Err(INVALID))
    );
    assert_eq!(call!(cuGraphDestroy(one)), Ok(()));
    assert_eq!(call!(cuGraphDestroyNode(next)), Err(INVALID));
    assert_eq!(call!(cuGraphDestroy(one)), Err(INVALID));
}

#[test]
fn nodes_in_a_circle_are_refused() {
    let graph = graph();
    let first = empty(graph, &[]).expect("a node");
    let second = empty(graph, &[first]).expect("a node");
    let add = |from: CUgraphNode, to: CUgraphNode| {
        call!(cuGraphAddDependencies(
            graph,
            &raw const from,
            &raw const to,
            1
        ))
    };
    assert_eq!(add(first, second), Err(INVALID));
    assert_eq!(add(first, first), Err(INVALID));
    assert_eq!(add(second, first), Ok(()));
    assert_eq!(instantiate(graph), Err(INVALID));
    let (from, to) = (second, first);
    let removed = call!(cuGraphRemoveDependencies(
        graph,
        &raw const from,
        &raw const to,
        1
    ));
    assert_eq!(removed, Ok(()));
    let exec = instantiate(graph).expect("no circle any more");
    assert_eq!(call!(cuGraphExecDestroy(exec)), Ok(()));
    assert_eq!(call!(cuGraphExecDestroy(exec)), Err(INVALID));
}

#[test]
fn parameters_of_kernels_are_copied_and_given_back() {
    let graph = graph();
    assert!(kernel(graph, CUfunction(1), 3).is_err());
    let node = kernel(graph, FUNCTION, 3).expect("a node");
    // SAFETY: numbers, null handles and null pointers.
    let mut params: CUDA_KERNEL_NODE_PARAMS_v1 = unsafe { core::mem::zeroed() };
    call!(cuGraphKernelNodeGetParams(node, &raw mut params)).expect("parameters");
    assert_eq!(params.func, FUNCTION);
    // SAFETY: a pointer to each of the two parameters.
    let number = unsafe { params.kernelParams.read().cast::<i32>().read() };
    // SAFETY: as above.
    let word = unsafe { params.kernelParams.add(1).read().cast::<u64>().read() };
    assert_eq!((number, word), (3, 5));
    params.gridDimX = 0;
    let set = call!(cuGraphKernelNodeSetParams(node, &raw const params));
    assert_eq!(set, Err(INVALID));
}

#[test]
fn a_capture_follows_events_between_streams() {
    begin(1001);
    assert_eq!(captured(1001), Ok(true));
    let (fork, join) = (CUevent(71), CUevent(72));
    assert_eq!(capture::record_event(&stream(1001), fork, false), Ok(true));
    assert_eq!(captured(1002), Ok(false));
    assert_eq!(
        capture::wait_event(&stream(1002), fork, false, true),
        Ok(true)
    );
    assert_eq!((captured(1002), captured(1001)), (Ok(true), Ok(true)));
    assert_eq!(capture::record_event(&stream(1002), join, false), Ok(true));
    assert_eq!(
        capture::wait_event(&stream(1001), join, false, true),
        Ok(true)
    );
    assert_eq!(captured(1001), Ok(true));
    let graph = end(1001).expect("a graph");
    assert_eq!((edges(graph), captured(1002)), (4, Ok(false)));
    // The events stay what they were recorded as.
    let captured_event = CUresult::CUDA_ERROR_CAPTURED_EVENT;
    assert_eq!(capture::check_event_wait(join), Err(captured_event));
    assert_eq!(capture::record_event(&stream(1002), join, false), Ok(false));
    assert_eq!(capture::check_event_wait(join), Ok(()));
    capture::forget_event(fork);
}

#[test]
fn mistakes_end_a_capture() {
    let (one, two) = (stream(2001), stream(2002));
    let invalidated = Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    // Joined by nothing.
    begin(2001);
    let event = CUevent(81);
    assert_eq!(capture::record_event(&one, event, false), Ok(true));
    assert_eq!(capture::wait_event(&two, event, false, true), Ok(true));
    assert_eq!(captured(2002), Ok(true));
    assert_eq!(
        end(2002),
        Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNMATCHED)
    );
    assert_eq!(end(2001), invalidated);
    // The legacy stream of the context waits for a blocking stream.
    begin(2001);
    assert_eq!(
        captured(2000),
        Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_IMPLICIT)
    );
    assert_eq!(
        (captured(2001), end(2001)),
        (invalidated.map(|_: CUgraph| true), invalidated)
    );
    begin(2002);
    assert_eq!(captured(2000), Ok(false));
    assert!(end(2002).is_ok());
    // Work outside, other captures, waiting.
    begin(2001);
    let waited = capture::wait_event(&one, CUevent(82), false, true);
    assert_eq!(waited, Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_ISOLATION));
    assert_eq!(end(2001), invalidated);
    begin(2001);
    assert_eq!(
        capture::wait_event(&one, CUevent(82), false, false),
        Ok(true)
    );
    begin(2002);
    assert_eq!(capture::record_event(&two, event, false), Ok(true));
    let merged = capture::wait_event(&one, event, false, true);
    assert_eq!(merged, Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_MERGE));
    assert_eq!((end(2001), end(2002)), (invalidated, invalidated));
    begin(2001);
    let unsupported = Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    assert_eq!(capture::check_context_wait(CUcontext(20)), unsupported);
    assert_eq!(end(2001), invalidated);
    assert_eq!(end(2001), Err(CUresult::CUDA_ERROR_ILLEGAL_STATE));
    capture::forget_event(event);
}

#[test]
fn a_bound_capture_ends_on_its_thread() {
    let (none, handle) = (CUstream::NULL, CUstream(3001));
    let mode = Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    call!(cuStreamBeginCapture_v2(none, handle, mode)).expect("a capture");
    assert_eq!(
        capture::check_unsafe(),
        Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(capture::check_unsafe(), Ok(()));
            assert_eq!(
                end(3001),
                Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD)
            );
        });
    });
    let lost = Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_eq!(end(3001), lost);
}

#[test]
fn an_update_needs_the_same_shape() {
    let made = graph();
    let node = kernel(made, FUNCTION, 1).expect("a node");
    empty(made, &[node]).expect("a node");
    let exec = instantiate(made).expect("executable");
    let update = |graph| {
        let (mut node, mut outcome) = (CUgraphNode::NULL, Updated(99));
        let updated = call!(cuGraphExecUpdate(
            exec,
            graph,
            &raw mut node,
            &raw mut outcome
        ));
        assert_eq!(
            updated.is_ok(),
            outcome == Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS
        );
        (outcome, node)
    };
    assert_eq!(update(made).0, Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS);
    let other = graph();
    let same = kernel(other, FUNCTION, 2).expect("a node");
    let topology = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    assert_eq!(update(other), (topology, CUgraphNode::NULL));
    let loose = empty(other, &[]).expect("a node");
    assert_eq!(update(other), (topology, loose));
    let added = call!(cuGraphAddDependencies(
        other,
        &raw const same,
        &raw const loose,
        1
    ));
    assert_eq!(added, Ok(()));
    assert_eq!(update(other).0, Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS);
    // In which order they were added does not matter.
    let backwards = graph();
    let last = empty(backwards, &[]).expect("a node");
    let first = kernel(backwards, FUNCTION, 3).expect("a node");
    let edge = (&raw const first, &raw const last);
    let added = call!(cuGraphAddDependencies(backwards, edge.0, edge.1, 1));
    assert_eq!(added, Ok(()));
    assert_eq!(update(backwards).0, Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS);
    empty(other, &[]).expect("a node");
    assert_eq!(update(other), (topology, CUgraphNode::NULL));
    let reversed = graph();
    let first = empty(reversed, &[]).expect("a node");
    let last = empty(reversed, &[first]).expect("a node");
    let kind = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    assert_eq!(update(reversed), (kind, first));
    assert_ne!(first, last);
    let launched = call!(cuGraphLaunch(CUstream::NULL, exec, CUstream(4002)));
    assert_eq!(launched, Ok(()));
    assert_eq!(LAUNCHES.lock().get(&exec.0), Some(&2));
}

#[test]
fn memory_of_a_graph_is_freed_before_it_is_allocated_again() {
    let graph = graph();
    // SAFETY: numbers and null pointers.
    let mut params: CUDA_MEM_ALLOC_NODE_PARAMS = unsafe { core::mem::zeroed() };
    params.poolProps.allocType = CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
    params.poolProps.location.r#type = CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
    params.bytesize = 64;
    let (mut node, none) = (CUgraphNode::NULL, std::ptr::null());
    let place = &raw mut node;
    call!(cuGraphAddMemAllocNode(
        place,
        graph,
        none,
        0,
        &raw mut params
    ))
    .expect("memory");
    let mut clone = CUgraph::NULL;
    let cloned = call!(cuGraphClone(&raw mut clone, graph));
    assert_eq!(cloned, Err(CUresult::CUDA_ERROR_NOT_SUPPORTED));
    let exec = instantiate(graph).expect("executable");
    assert_eq!(instantiate(graph), Err(INVALID));
    let launch = || call!(cuGraphLaunch(CUstream::NULL, exec, CUstream(5002)));
    assert_eq!((launch(), launch()), (Ok(()), Err(INVALID)));
    assert_eq!(crate::free_outside(params.dptr), Ok(true));
    assert_eq!(crate::free_outside(params.dptr), Err(INVALID));
    assert_eq!(launch(), Ok(()));
    // What is allocated outlives its graph.
    assert_eq!(call!(cuGraphExecDestroy(exec)), Ok(()));
    assert_eq!(call!(cuGraphDestroy(graph)), Ok(()));
    assert!(ALLOCATED.lock().contains(&params.dptr.0));
    assert_eq!(crate::free_outside(params.dptr), Ok(true));
    assert!(!ALLOCATED.lock().contains(&params.dptr.0));
}

#[test]
fn a_kernel_records_the_events_that_its_attributes_name() {
    let (mine, other, event) = (stream(6001), stream(6002), CUevent(61));
    // SAFETY: numbers and null handles.
    let mut attribute: CUlaunchAttribute = unsafe { core::mem::zeroed() };
    attribute.id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT;
    attribute.value.launchCompletionEvent.event = event;
    let make = || Ok(Payload::Empty);
    begin(6001);
    let recorded = capture::record_kernel(&mine, &[attribute], make);
    assert_eq!(recorded, Ok(true));
    assert_eq!(capture::wait_event(&other, event, false, true), Ok(true));
    assert_eq!((captured(6002), captured(6001)), (Ok(true), Ok(true)));
    let join = CUevent(62);
    assert_eq!(capture::record_event(&other, join, false), Ok(true));
    assert_eq!(capture::wait_event(&mine, join, false, true), Ok(true));
    assert_eq!(captured(6001), Ok(true));
    let graph = end(6001).expect("joined");
    assert_eq!(edges(graph), 4);
    capture::forget_event(event);
    capture::forget_event(join);
}

#[test]
fn captured_memory_is_freed_once_in_a_graph() {
    let stream = stream(7001);
    let request = AllocationRequest {
        context: stream.context,
        device: CUdevice(0),
        bytes: 100,
    };
    assert_eq!(capture::record_allocation(&stream, request), Ok(None));
    begin(7001);
    let address = capture::record_allocation(&stream, request);
    let address = address.expect("memory").expect("a node");
    assert!(ALLOCATED.lock().contains(&address.0));
    let nothing = AllocationRequest {
        bytes: 0,
        ..request
    };
    assert_eq!(capture::record_allocation(&stream, nothing), Err(INVALID));
    assert_eq!(crate::free_outside(address), Err(INVALID));
    let unknown = CUdeviceptr(address.0 + 1);
    assert_eq!(capture::record_free(&stream, unknown), Err(INVALID));
    assert_eq!(capture::record_free(&stream, address), Ok(true));
    assert_eq!(capture::record_free(&stream, address), Err(INVALID));
    let graph = end(7001).expect("a graph");
    assert_eq!(call!(cuGraphDestroy(graph)), Ok(()));
    assert!(!ALLOCATED.lock().contains(&address.0));
}

#[test]
fn memory_of_a_graph_goes_with_its_context() {
    let stream = stream(8001);
    let request = AllocationRequest {
        context: stream.context,
        device: CUdevice(0),
        bytes: 100,
    };
    begin(8001);
    let address = capture::record_allocation(&stream, request);
    let address = address.expect("memory").expect("a node");
    let graph = end(8001).expect("a graph");
    capture::forget_context(stream.context);
    // The address may be another's now.
    assert_eq!(crate::free_outside(address), Ok(false));
    assert_eq!(call!(cuGraphDestroy(graph)), Ok(()));
    assert!(ALLOCATED.lock().contains(&address.0), "it was freed twice");
}
