// SPDX-License-Identifier: Apache-2.0
//! What calls on captured streams become.

use gvirtus_abi::{
    CUDA_ARRAY_DESCRIPTOR, CUDA_MEM_ALLOC_NODE_PARAMS, CUDA_MEMCPY2D, CUDA_MEMCPY3D, CUarray,
    CUarray_format, CUgraphMem_attribute as Attribute, CUgraphNodeType, CUmemorytype,
    CUstreamCaptureStatus,
};

use super::*;

fn kinds(graph: CUgraph) -> Vec<CUgraphNodeType> {
    let nodes = nodes(graph).into_iter();
    nodes
        .map(|node| {
            let mut kind = CUgraphNodeType(99);
            let status = call!(cuGraphNodeGetType(node, &raw mut kind));
            assert_eq!(status, SUCCESS);
            kind
        })
        .collect()
}

/// How a capture stands, as its number.
fn status(stream: CUstream) -> u32 {
    let mut status = CUstreamCaptureStatus(9);
    let asked = call!(cuStreamIsCapturing(stream, &raw mut status));
    assert_eq!(asked, SUCCESS);
    status.0
}

#[test]
fn nothing_runs_before_the_launch() {
    let bench = Bench::new();
    let stream = stream(1);
    bench.write(1);
    begin(stream);
    assert_eq!(status(stream), 1);
    assert_eq!(call!(cuMemsetD32Async(bench.word, 9, 1, stream)), SUCCESS);
    let mut summand = 0_u32;
    let status_of_copy = call!(cuMemcpyDtoHAsync_v2(
        (&raw mut summand).cast(),
        bench.word,
        4,
        stream
    ));
    assert_eq!(status_of_copy, SUCCESS);
    let graph = end(stream);
    assert_eq!((status(stream), summand, bench.read()), (0, 0, 1));
    let expected = [
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMSET,
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEMCPY,
    ];
    assert_eq!(kinds(graph), expected);
    assert_eq!((bench.run(instantiate(graph)), summand), (9, 9));
}

#[test]
fn a_call_that_waits_ends_the_capture() {
    let _bench = Bench::new();
    let stream = stream(1);
    begin(stream);
    let unsupported = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    assert_eq!(call!(cuStreamSynchronize(stream)), unsupported);
    assert_eq!(status(stream), 2);
    let mut graph = CUgraph(1);
    let ended = call!(cuStreamEndCapture(stream, &raw mut graph));
    assert_eq!(ended, CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    assert_eq!((graph, status(stream)), (CUgraph::NULL, 0));
}

fn attribute(attribute: Attribute) -> u64 {
    let mut value = u64::MAX;
    let status = call!(cuDeviceGetGraphMemAttribute(
        DEVICE,
        attribute,
        (&raw mut value).cast()
    ));
    assert_eq!(status, SUCCESS);
    value
}

#[test]
fn allocations_belong_to_the_graph() {
    let bench = Bench::new();
    let stream = stream(1);
    begin(stream);
    let memory: CUdeviceptr = get!(cuMemAllocAsync(_, 1000, stream));
    assert_eq!(call!(cuMemsetD32Async(memory, 6, 1, stream)), SUCCESS);
    let copied = call!(cuMemcpyDtoDAsync_v2(bench.word, memory, 4, stream));
    assert_eq!(copied, SUCCESS);
    let graph = end(stream);
    // SAFETY: numbers and null pointers.
    let mut params: CUDA_MEM_ALLOC_NODE_PARAMS = unsafe { std::mem::zeroed() };
    let node = nodes(graph)[0];
    let told = call!(cuGraphMemAllocNodeGetParams(node, &raw mut params));
    assert_eq!(
        (told, params.dptr, params.bytesize),
        (SUCCESS, memory, 1000)
    );
    // It is no memory before the launch, nor twice after it.
    assert_eq!(call!(cuMemFree_v2(memory)), INVALID_VALUE);
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), INVALID_VALUE);
    let exec = instantiate(graph);
    let mut second = CUgraphExec::NULL;
    let twice = call!(cuGraphInstantiateWithFlags(&raw mut second, graph, 0));
    assert_eq!(twice, INVALID_VALUE);
    assert_eq!(bench.run(exec), 6);
    assert!(attribute(Attribute::CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT) >= 1000);
    assert!(attribute(Attribute::CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) >= 1000);
    let again = call!(cuGraphLaunch(exec, stream));
    assert_eq!(again, INVALID_VALUE);
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), SUCCESS);
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), INVALID_VALUE);
    bench.write(0);
    assert_eq!(bench.run(exec), 6);
    // It stays behind its graph.
    assert_eq!(call!(cuGraphExecDestroy(exec)), SUCCESS);
    assert_eq!(call!(cuGraphDestroy(graph)), SUCCESS);
    assert_eq!(download(memory, 1), [6]);
    assert_eq!(call!(cuMemFree_v2(memory)), SUCCESS);
    assert_eq!(call!(cuMemFree_v2(memory)), INVALID_VALUE);
}

#[test]
fn a_graph_frees_what_a_graph_has_allocated_and_nothing_else() {
    let _bench = Bench::new();
    let stream = stream(1);
    let plain = allocate(16);
    begin(stream);
    let memory: CUdeviceptr = get!(cuMemAllocAsync(_, 16, stream));
    let pool = get!(cuDeviceGetDefaultMemPool(_, DEVICE));
    let pooled: CUdeviceptr = get!(cuMemAllocFromPoolAsync(_, 16, pool, stream));
    assert_ne!(memory, pooled);
    assert_eq!(call!(cuMemFreeAsync(plain, stream)), INVALID_VALUE);
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), SUCCESS);
    assert_eq!(call!(cuMemFreeAsync(memory, stream)), INVALID_VALUE);
    let graph = end(stream);
    let expected = [
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEM_ALLOC,
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEM_ALLOC,
        CUgraphNodeType::CU_GRAPH_NODE_TYPE_MEM_FREE,
    ];
    assert_eq!(kinds(graph), expected);
    begin(stream);
    assert_eq!(call!(cuMemFreeAsync(pooled, stream)), SUCCESS);
    let free = instantiate(end(stream));
    let exec = instantiate(graph);
    for _ in 0..3 {
        assert_eq!(call!(cuGraphLaunch(exec, stream)), SUCCESS);
        assert_eq!(call!(cuGraphLaunch(free, stream)), SUCCESS);
    }
    assert_eq!(call!(cuMemFree_v2(plain)), SUCCESS);
}

fn array(width: usize, height: usize) -> CUarray {
    let description = CUDA_ARRAY_DESCRIPTOR {
        Width: width,
        Height: height,
        Format: CUarray_format::CU_AD_FORMAT_UNSIGNED_INT8,
        NumChannels: 1,
    };
    get!(cuArrayCreate_v2(_, &raw const description))
}

#[test]
fn copies_with_arrays_become_nodes() {
    let _bench = Bench::new();
    let (stream, array) = (stream(1), array(8, 4));
    let from: Vec<u8> = (0..32).collect();
    let mut to = vec![0_u8; 6];
    // SAFETY: numbers, null handles and null pointers.
    let mut up: CUDA_MEMCPY2D = unsafe { std::mem::zeroed() };
    up.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_HOST;
    up.srcHost = from.as_ptr().cast();
    up.srcPitch = 8;
    up.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_ARRAY;
    up.dstArray = array;
    (up.WidthInBytes, up.Height) = (8, 4);
    // SAFETY: as above.
    let mut down: CUDA_MEMCPY3D = unsafe { std::mem::zeroed() };
    down.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_ARRAY;
    down.srcArray = array;
    (down.srcXInBytes, down.srcY) = (2, 1);
    down.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_HOST;
    down.dstHost = to.as_mut_ptr().cast();
    down.dstPitch = 3;
    (down.WidthInBytes, down.Height, down.Depth) = (3, 2, 1);
    begin(stream);
    assert_eq!(call!(cuMemcpy2DAsync_v2(&raw const up, stream)), SUCCESS);
    assert_eq!(call!(cuMemcpy3DAsync_v2(&raw const down, stream)), SUCCESS);
    let graph = end(stream);
    assert_eq!(to, [0; 6]);
    let exec = instantiate(graph);
    assert_eq!(call!(cuGraphLaunch(exec, stream)), SUCCESS);
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
    assert_eq!(to, [10, 11, 12, 18, 19, 20]);
    // SAFETY: numbers, null handles and null pointers.
    let mut known: CUDA_MEMCPY3D = unsafe { std::mem::zeroed() };
    let node = nodes(graph)[1];
    let told = call!(cuGraphMemcpyNodeGetParams(node, &raw mut known));
    assert_eq!(told, SUCCESS);
    assert_eq!(
        (known.srcArray, known.srcXInBytes, known.srcY),
        (array, 2, 1)
    );
    // Elsewhere in the same array.
    known.srcXInBytes = 5;
    let changed = call!(cuGraphExecMemcpyNodeSetParams(
        exec,
        node,
        &raw const known,
        CUcontext::NULL
    ));
    assert_eq!(changed, SUCCESS);
    assert_eq!(call!(cuGraphLaunch(exec, stream)), SUCCESS);
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
    assert_eq!(to, [13, 14, 15, 21, 22, 23]);
    known.srcXInBytes = 6;
    let outside = call!(cuGraphMemcpyNodeSetParams(node, &raw const known));
    assert_eq!(outside, INVALID_VALUE);
}

#[test]
fn stream_memory_operations_become_nodes() {
    let bench = Bench::new();
    let (stream, other) = (stream(1), stream(1));
    begin(stream);
    assert_eq!(
        call!(cuStreamWaitValue32_v2(stream, bench.word, 1, 0)),
        SUCCESS
    );
    assert_eq!(
        call!(cuStreamWriteValue32_v2(stream, bench.word, 50, 0)),
        SUCCESS
    );
    let odd = CUdeviceptr(bench.word.0 + 1);
    assert_eq!(
        call!(cuStreamWriteValue32_v2(stream, odd, 50, 0)),
        INVALID_VALUE
    );
    let graph = end(stream);
    assert_eq!(
        kinds(graph),
        [CUgraphNodeType::CU_GRAPH_NODE_TYPE_BATCH_MEM_OP; 2]
    );
    bench.write(0);
    let exec = instantiate(graph);
    assert_eq!(call!(cuGraphLaunch(exec, stream)), SUCCESS);
    assert_eq!(call!(cuStreamQuery(stream)), CUresult::CUDA_ERROR_NOT_READY);
    assert_eq!(
        call!(cuStreamWriteValue32_v2(other, bench.word, 1, 0)),
        SUCCESS
    );
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
    assert_eq!(bench.read(), 50);
}
