// SPDX-License-Identifier: Apache-2.0
//! Executable graphs that change: one node, or all at once, and what is refused.

use gvirtus_abi::{
    CUgraphExecUpdateResult as Updated, CUgraphExecUpdateResultInfo, CUgraphInstantiate_flags,
    CUgraphInstantiateResult, CUlaunchAttributeID, CUlaunchAttributeValue,
};

use super::*;

fn update(exec: CUgraphExec, graph: CUgraph) -> CUgraphExecUpdateResultInfo {
    let mut info = CUgraphExecUpdateResultInfo {
        result: Updated(99),
        errorNode: CUgraphNode(1),
        errorFromNode: CUgraphNode(1),
    };
    let status = call!(cuGraphExecUpdate_v2(exec, graph, &raw mut info));
    let expected = match info.result {
        Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS => SUCCESS,
        _ => CUresult::CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
    };
    assert_eq!(status, expected);
    info
}

/// What an update said: result, node, and the node it depends on.
fn told(exec: CUgraphExec, graph: CUgraph) -> (Updated, CUgraphNode, CUgraphNode) {
    let info = update(exec, graph);
    (info.result, info.errorNode, info.errorFromNode)
}

/// A memset and two steps in a row.
fn chain(bench: &Bench, value: u32, numbers: [[u32; 2]; 2]) -> (CUgraph, [CUgraphNode; 3]) {
    let graph = graph();
    let first = bench.set(graph, &[], value);
    let second = bench.step(graph, &[first], numbers[0]);
    let third = bench.step(graph, &[second], numbers[1]);
    (graph, [first, second, third])
}

const NULL: CUgraphNode = CUgraphNode::NULL;

#[test]
fn all_parameters_change_at_once() {
    let bench = Bench::new();
    let (first, [_, middle, _]) = chain(&bench, 1, [[2, 3], [4, 5]]);
    let exec = instantiate(first);
    assert_eq!(bench.run(exec), 25);
    let (second, _) = chain(&bench, 10, [[1, 1], [1, 1]]);
    let expected = (Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS, NULL, NULL);
    assert_eq!(told(exec, second), expected);
    assert_eq!(bench.run(exec), 12);
    // What is left out stays left out, and single nodes are named as in the first graph.
    assert_eq!(call!(cuGraphNodeSetEnabled(exec, middle, 0)), SUCCESS);
    assert_eq!(bench.run(exec), 11);
    assert_eq!(told(exec, first), expected);
    assert_eq!(bench.run(exec), 9);
    let mut is_enabled = 7;
    let status = call!(cuGraphNodeGetEnabled(exec, middle, &raw mut is_enabled));
    assert_eq!((status, is_enabled), (SUCCESS, 0));
    assert_eq!(call!(cuGraphNodeSetEnabled(exec, middle, 1)), SUCCESS);
    let other = bench.function(c"other_step");
    let status = with_step(other, bench.word, [3, 5], |params| {
        let params = std::ptr::from_ref(params);
        call!(cuGraphExecKernelNodeSetParams_v2(exec, middle, params))
    });
    assert_eq!(status, SUCCESS);
    assert_eq!(bench.run(exec), (1 + 5) * 3 * 4 + 5);
}

#[test]
fn an_update_names_what_changed_in_the_shape() {
    let bench = Bench::new();
    let topology = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    let exec = instantiate(chain(&bench, 1, [[1, 1], [1, 1]]).0);
    // Another number of nodes.
    let more = chain(&bench, 1, [[1, 1], [1, 1]]).0;
    empty(more, &[]);
    assert_eq!(told(exec, more), (topology, NULL, NULL));
    assert_eq!(told(exec, graph()), (topology, NULL, NULL));
    // More ends.
    let wide = graph();
    let first = bench.set(wide, &[], 1);
    bench.step(wide, &[first], [1, 1]);
    let end = bench.step(wide, &[first], [1, 1]);
    assert_eq!(told(exec, wide), (topology, end, NULL));
    // More dependencies.
    let (tight, [first, _, third]) = chain(&bench, 1, [[1, 1], [1, 1]]);
    let edge = (&raw const first, &raw const third);
    let status = call!(cuGraphAddDependencies(tight, edge.0, edge.1, 1));
    assert_eq!(status, SUCCESS);
    assert_eq!(told(exec, tight), (topology, third, NULL));
    // As many dependencies, of others.
    let diamond = |crossed: bool| {
        let graph = graph();
        let roots = [empty(graph, &[]), empty(graph, &[])];
        let middle = [
            empty(graph, &roots[..1]),
            empty(graph, &roots[if crossed { 0..1 } else { 1..2 }]),
        ];
        let end = empty(graph, &[middle[0], middle[1], roots[1]]);
        (graph, roots, middle, end)
    };
    let exec = instantiate(diamond(false).0);
    let (crossed, roots, middle, end) = diamond(true);
    let info = update(exec, crossed);
    assert_eq!(info.result, topology);
    assert!(middle.contains(&info.errorNode) || info.errorNode == end);
    assert!(roots.contains(&info.errorFromNode));
    let same = Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS;
    assert_eq!(update(exec, diamond(false).0).result, same);
}

#[test]
fn an_update_names_what_changed_in_a_node() {
    let bench = Bench::new();
    let (original, [_, _, third]) = chain(&bench, 1, [[1, 1], [1, 1]]);
    let exec = instantiate(original);
    // Another kind.
    let kinds = graph();
    let first = bench.set(kinds, &[], 1);
    let second = empty(kinds, &[first]);
    bench.step(kinds, &[second], [1, 1]);
    let kind = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
    assert_eq!(told(exec, kinds), (kind, second, NULL));
    // Other parameters than a memset may have.
    let (wider, [first, _, _]) = chain(&bench, 1, [[1, 1], [1, 1]]);
    let block = allocate(64);
    let mut setting = bench.setting(1);
    (setting.dst, setting.pitch, setting.width, setting.height) = (block, 16, 2, 3);
    let status = call!(cuGraphMemsetNodeSetParams(first, &raw const setting));
    assert_eq!(status, SUCCESS);
    let parameters = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED;
    assert_eq!(told(exec, wider), (parameters, first, NULL));
    // A cooperative kernel instead of a usual one.
    let (cooperative, [_, _, last]) = chain(&bench, 1, [[1, 1], [1, 1]]);
    let mut value = CUlaunchAttributeValue { pad: [0; 64] };
    value.cooperative = 1;
    let id = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
    let status = call!(cuGraphKernelNodeSetAttribute(last, id, &raw const value));
    assert_eq!(status, SUCCESS);
    let attributes = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED;
    assert_eq!(told(exec, cooperative), (attributes, last, NULL));
    // A kernel of another context.
    let other = TestContext::new();
    let module: CUmodule = get!(cuModuleLoadData(_, PTX.as_ptr().cast()));
    let function = get!(cuModuleGetFunction(_, module, c"step".as_ptr()));
    assert_eq!(call!(cuCtxSetCurrent(bench._context.0)), SUCCESS);
    let (foreign, [_, _, last]) = chain(&bench, 1, [[1, 1], [1, 1]]);
    assert_eq!(call!(cuCtxSetCurrent(other.0)), SUCCESS);
    let status = with_step(function, bench.word, [1, 1], |params| {
        call!(cuGraphKernelNodeSetParams_v2(
            last,
            std::ptr::from_ref(params)
        ))
    });
    assert_eq!(status, SUCCESS);
    let unsupported = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE;
    assert_eq!(told(exec, foreign), (unsupported, last, NULL));
    assert_eq!(call!(cuCtxSetCurrent(bench._context.0)), SUCCESS);
    // What cannot be executed at all.
    let (circle, [first, _, third_of_circle]) = chain(&bench, 1, [[1, 1], [1, 1]]);
    let edge = (&raw const third_of_circle, &raw const first);
    let status = call!(cuGraphAddDependencies(circle, edge.0, edge.1, 1));
    assert_eq!(status, SUCCESS);
    let error = Updated::CU_GRAPH_EXEC_UPDATE_ERROR;
    assert_eq!(update(exec, circle).result, error);
    // After all that it is what it was.
    assert_eq!(bench.run(exec), 3);
    assert_eq!(call!(cuGraphDestroyNode(third)), SUCCESS);
    assert_eq!(bench.run(exec), 3);
    assert_eq!(call!(cuCtxSetCurrent(other.0)), SUCCESS);
}

#[test]
fn memory_of_a_graph_is_not_exchanged() {
    let _bench = Bench::new();
    let stream = stream(1);
    let make = || {
        begin(stream);
        let memory: CUdeviceptr = get!(cuMemAllocAsync(_, 64, stream));
        assert_eq!(call!(cuMemFreeAsync(memory, stream)), SUCCESS);
        end(stream)
    };
    let (first, second) = (make(), make());
    let exec = instantiate(first);
    let expected = Updated::CU_GRAPH_EXEC_UPDATE_SUCCESS;
    assert_eq!(update(exec, first).result, expected);
    let expected = Updated::CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED;
    assert_eq!(update(exec, second).result, expected);
}

#[test]
fn instantiation_tells_what_is_wrong() {
    let bench = Bench::new();
    let (graph, [first, _, third]) = chain(&bench, 1, [[1, 1], [1, 1]]);
    let edge = (&raw const third, &raw const first);
    let status = call!(cuGraphAddDependencies(graph, edge.0, edge.1, 1));
    assert_eq!(status, SUCCESS);
    // SAFETY: numbers and null handles.
    let mut params: gvirtus_abi::CUDA_GRAPH_INSTANTIATE_PARAMS = unsafe { std::mem::zeroed() };
    let mut exec = CUgraphExec::NULL;
    let place = &raw mut exec;
    let status = call!(cuGraphInstantiateWithParams(place, graph, &raw mut params));
    assert_eq!(status, INVALID_VALUE);
    assert_eq!(
        params.result_out,
        CUgraphInstantiateResult::CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE
    );
    assert!(nodes(graph).contains(&params.hErrNode_out));
    params.flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY
        .0
        .into();
    let (good, _) = chain(&bench, 1, [[1, 1], [1, 1]]);
    let status = call!(cuGraphInstantiateWithParams(place, good, &raw mut params));
    assert_eq!(
        (status, params.result_out),
        (
            SUCCESS,
            CUgraphInstantiateResult::CUDA_GRAPH_INSTANTIATE_SUCCESS
        )
    );
    let mut flags = 0;
    assert_eq!(call!(cuGraphExecGetFlags(exec, &raw mut flags)), SUCCESS);
    assert_eq!(flags, params.flags);
    let status = call!(cuGraphInstantiateWithFlags(place, good, 1 << 20));
    assert_eq!(status, INVALID_VALUE);
}
