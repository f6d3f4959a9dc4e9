// SPDX-License-Identifier: Apache-2.0
//! Graphs that are built node by node.

use gvirtus_abi::{
    CUDA_BATCH_MEM_OP_NODE_PARAMS, CUDA_HOST_NODE_PARAMS, CUDA_MEMCPY3D, CUevent, CUgraphNodeType,
    CUlaunchAttributeID, CUlaunchAttributeValue, CUmemorytype, CUstreamBatchMemOpParams,
    CUstreamBatchMemOpType,
};

use super::*;

#[test]
fn nodes_run_after_what_they_depend_on() {
    let bench = Bench::new();
    let graph = graph();
    // Added in another order than that in which they run.
    let third = bench.step(graph, &[], [3, 0]);
    let second = bench.step(graph, &[], [10, 4]);
    let first = bench.set(graph, &[], 2);
    let (from, to) = ([first, second], [second, third]);
    let added = call!(cuGraphAddDependencies(graph, from.as_ptr(), to.as_ptr(), 2));
    assert_eq!(added, SUCCESS);
    let exec = instantiate(graph);
    assert_eq!((bench.run(exec), bench.run(exec)), (72, 72));
    let removed = call!(cuGraphRemoveDependencies(
        graph,
        from.as_ptr(),
        to.as_ptr(),
        2
    ));
    assert_eq!(removed, SUCCESS);
    // The executable graph is a copy.
    assert_eq!(bench.run(exec), 72);
    let (mut count, none) = (7, std::ptr::null_mut());
    let status = call!(cuGraphGetEdges(graph, none, none, &raw mut count));
    assert_eq!((status, count), (SUCCESS, 0));
}

unsafe extern "C" fn double(data: *mut std::ffi::c_void) {
    // SAFETY: the node's argument is this number.
    unsafe { *data.cast::<u32>() *= 2 };
}

#[test]
fn the_host_works_between_copies() {
    let bench = Bench::new();
    let graph = graph();
    let mut number = 0_u32;
    // SAFETY: numbers, null handles and null pointers.
    let mut copy: CUDA_MEMCPY3D = unsafe { std::mem::zeroed() };
    (copy.WidthInBytes, copy.Height, copy.Depth) = (4, 1, 1);
    copy.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = bench.word;
    copy.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_HOST;
    copy.dstHost = (&raw mut number).cast();
    let context = CUcontext::NULL;
    let set = bench.set(graph, &[], 21);
    let copies = |before: CUgraphNode, copy: &CUDA_MEMCPY3D| {
        let (before, copy) = (&raw const before, std::ptr::from_ref(copy));
        get!(cuGraphAddMemcpyNode(_, graph, before, 1, copy, context))
    };
    let out = copies(set, &copy);
    let host = CUDA_HOST_NODE_PARAMS {
        r#fn: host_function(double),
        userData: (&raw mut number).cast(),
    };
    let called = get!(cuGraphAddHostNode(
        _,
        graph,
        &raw const out,
        1,
        &raw const host
    ));
    copy.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_HOST;
    copy.srcHost = (&raw const number).cast();
    copy.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_UNIFIED;
    copy.dstDevice = bench.word;
    let back = copies(called, &copy);
    bench.step(graph, &[back], [1, 100]);
    assert_eq!(bench.run(instantiate(graph)), 142);
    assert_eq!(number, 42);
    copy.dstDevice = CUdeviceptr(bench.word.0 + (1 << 40));
    copy.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_DEVICE;
    let status = call!(cuGraphMemcpyNodeSetParams(back, &raw const copy));
    assert_eq!(status, INVALID_VALUE);
}

#[test]
fn events_are_recorded_and_waited_for_where_their_nodes_are() {
    let bench = Bench::new();
    let (graph, event): (_, CUevent) = (graph(), get!(cuEventCreate(_, 0)));
    let set = bench.set(graph, &[], 5);
    let record = get!(cuGraphAddEventRecordNode(
        _,
        graph,
        &raw const set,
        1,
        event
    ));
    let wait = get!(cuGraphAddEventWaitNode(
        _,
        graph,
        &raw const record,
        1,
        event
    ));
    bench.step(graph, &[wait], [2, 0]);
    let mut known = CUevent::NULL;
    let status = call!(cuGraphEventWaitNodeGetEvent(wait, &raw mut known));
    assert_eq!((status, known), (SUCCESS, event));
    let status = call!(cuGraphEventRecordNodeGetEvent(wait, &raw mut known));
    assert_eq!(status, INVALID_VALUE);
    assert_eq!(bench.run(instantiate(graph)), 10);
    assert_eq!(call!(cuEventQuery(event)), SUCCESS);
    let other: CUevent = get!(cuEventCreate(_, 0));
    assert_eq!(
        call!(cuGraphEventRecordNodeSetEvent(record, other)),
        SUCCESS
    );
    assert_eq!(call!(cuEventDestroy_v2(other)), SUCCESS);
    assert_eq!(
        call!(cuGraphEventRecordNodeSetEvent(record, other)),
        INVALID_HANDLE
    );
}

#[test]
fn words_are_written_and_waited_for() {
    let bench = Bench::new();
    let graph = graph();
    // SAFETY: numbers and null handles.
    let mut operations: [CUstreamBatchMemOpParams; 2] = unsafe { std::mem::zeroed() };
    operations[0].writeValue.operation = CUstreamBatchMemOpType::CU_STREAM_MEM_OP_WRITE_VALUE_32;
    operations[0].writeValue.address = bench.word;
    operations[0].writeValue.anonymous0.value64 = 30;
    operations[1].waitValue.operation = CUstreamBatchMemOpType::CU_STREAM_MEM_OP_WAIT_VALUE_32;
    operations[1].waitValue.address = bench.word;
    operations[1].waitValue.anonymous0.value64 = 30;
    let mut params = CUDA_BATCH_MEM_OP_NODE_PARAMS {
        ctx: CUcontext::NULL,
        count: 2,
        paramArray: operations.as_mut_ptr(),
        flags: 0,
    };
    let none = std::ptr::null();
    let node = get!(cuGraphAddBatchMemOpNode(
        _,
        graph,
        none,
        0,
        &raw const params
    ));
    bench.step(graph, &[node], [1, 3]);
    assert_eq!(bench.run(instantiate(graph)), 33);
    params.count = 0;
    let status = call!(cuGraphBatchMemOpNodeSetParams(node, &raw const params));
    assert_eq!(status, INVALID_VALUE);
    params.count = 1;
    operations[0].writeValue.address = CUdeviceptr(bench.word.0 + 2);
    params.paramArray = operations.as_mut_ptr();
    let status = call!(cuGraphBatchMemOpNodeSetParams(node, &raw const params));
    assert_eq!(status, INVALID_VALUE);
    let mut known = params;
    let status = call!(cuGraphBatchMemOpNodeGetParams(node, &raw mut known));
    assert_eq!((status, known.count), (SUCCESS, 2));
}

#[test]
fn what_waits_for_memory_runs_after_what_is_beside_it() {
    let bench = Bench::new();
    bench.write(0);
    let graph = graph();
    // SAFETY: numbers and null handles.
    let mut operation: CUstreamBatchMemOpParams = unsafe { std::mem::zeroed() };
    operation.waitValue.operation = CUstreamBatchMemOpType::CU_STREAM_MEM_OP_WAIT_VALUE_32;
    operation.waitValue.address = bench.word;
    operation.waitValue.anonymous0.value64 = 8;
    let params = CUDA_BATCH_MEM_OP_NODE_PARAMS {
        ctx: CUcontext::NULL,
        count: 1,
        paramArray: &raw mut operation,
        flags: 0,
    };
    let none = std::ptr::null();
    let wait = get!(cuGraphAddBatchMemOpNode(
        _,
        graph,
        none,
        0,
        &raw const params
    ));
    let beside = bench.step(graph, &[], [0, 8]);
    bench.step(graph, &[wait, beside], [1, 1]);
    assert_eq!(bench.run(instantiate(graph)), 9);
}

#[test]
fn attributes_of_kernels_are_kept_and_obeyed() {
    let bench = Bench::new();
    let graph = graph();
    let (first, second) = (
        bench.step(graph, &[], [0, 1]),
        bench.step(graph, &[], [0, 1]),
    );
    let priority = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PRIORITY;
    let mut value = CUlaunchAttributeValue { pad: [0; 64] };
    value.priority = -2;
    let (place, none) = (
        &raw const value,
        CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_IGNORE,
    );
    assert_eq!(
        call!(cuGraphKernelNodeSetAttribute(first, priority, place)),
        SUCCESS
    );
    assert_eq!(
        call!(cuGraphKernelNodeSetAttribute(first, none, place)),
        INVALID_VALUE
    );
    assert_eq!(
        call!(cuGraphKernelNodeCopyAttributes(second, first)),
        SUCCESS
    );
    let mut known = CUlaunchAttributeValue { pad: [0; 64] };
    let status = call!(cuGraphKernelNodeGetAttribute(
        second,
        priority,
        &raw mut known
    ));
    // SAFETY: the attribute that was asked for.
    assert_eq!((status, unsafe { known.priority }), (SUCCESS, -2));
    // The device that the tests see has no clusters.
    let cluster = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    value.clusterDim.x = 2;
    value.clusterDim.y = 1;
    value.clusterDim.z = 1;
    let place = &raw const value;
    assert_eq!(
        call!(cuGraphKernelNodeSetAttribute(first, cluster, place)),
        SUCCESS
    );
    let mut exec = CUgraphExec::NULL;
    let status = call!(cuGraphInstantiateWithFlags(&raw mut exec, graph, 0));
    assert_ne!(status, SUCCESS);
}

#[test]
fn every_node_tells_its_type() {
    let bench = Bench::new();
    let graph = graph();
    let kernel = bench.step(graph, &[], [1, 1]);
    let set = bench.set(graph, &[], 1);
    let none = empty(graph, &[]);
    let child = get!(cuGraphAddChildGraphNode(
        _,
        graph,
        std::ptr::null(),
        0,
        super::graph()
    ));
    let kinds = nodes(graph).into_iter().map(|node| {
        let mut kind = CUgraphNodeType(99);
        let status = call!(cuGraphNodeGetType(node, &raw mut kind));
        assert_eq!(status, SUCCESS);
        kind
    });
    let expected = [
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_KERNEL,
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMSET,
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY,
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_GRAPH,
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
    assert_eq!(nodes(graph), [kernel, set, none, child]);
}
