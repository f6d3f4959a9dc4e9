// SPDX-License-Identifier: Apache-2.0
//! Conditional nodes.

use gvirtus_abi::{
    CUgraphConditionalHandle, CUgraphConditionalNodeType as Kind, CUgraphNodeParams,
    CUgraphNodeType,
};

use super::*;

/// `CU_GRAPH_COND_ASSIGN_DEFAULT`.
const ASSIGN_DEFAULT: u32 = 1;

fn condition(graph: CUgraph, default: Option<u32>) -> CUgraphConditionalHandle {
    let (value, flags) = match default {
        Some(value) => (value, ASSIGN_DEFAULT),
        None => (0, 0),
    };
    let context = CUcontext::NULL;
    get!(cuGraphConditionalHandleCreate(
        _,
        graph,
        context,
        value,
        flags
    ))
}

fn try_conditional(
    graph: CUgraph,
    before: &[CUgraphNode],
    condition: CUgraphConditionalHandle,
    (kind, size): (Kind, u32),
) -> Result<(CUgraphNode, Vec<CUgraph>), CUresult> {
    // SAFETY: numbers and null handles.
    let mut params: CUgraphNodeParams = unsafe { std::mem::zeroed() };
    params.r#type = CUgraphNodeType::CU_GRAPH_NODE_TYPE_CONDITIONAL;
    params.anonymous0.conditional.handle = condition;
    params.anonymous0.conditional.r#type = kind;
    params.anonymous0.conditional.size = size;
    let mut node = CUgraphNode::NULL;
    let status = call!(cuGraphAddNode_v2(
        &raw mut node,
        graph,
        before.as_ptr(),
        std::ptr::null(),
        before.len(),
        &raw mut params
    ));
    if status != SUCCESS {
        return Err(status);
    }
    // SAFETY: the call has written as many bodies as were asked for.
    let bodies = unsafe {
        let first = params.anonymous0.conditional.phGraph_out;
        std::slice::from_raw_parts(first, size as usize)
    };
    Ok((node, bodies.to_vec()))
}

fn conditional(
    graph: CUgraph,
    before: &[CUgraphNode],
    condition: CUgraphConditionalHandle,
    shape: (Kind, u32),
) -> (CUgraphNode, Vec<CUgraph>) {
    try_conditional(graph, before, condition, shape).expect("a conditional node")
}

impl Bench {
    /// Adds a node whose kernel sets a condition by what is in a word.
    fn decide(
        &self,
        kernel: &CStr,
        (graph, before): (CUgraph, &[CUgraphNode]),
        mut condition: CUgraphConditionalHandle,
        mut word: CUdeviceptr,
    ) -> CUgraphNode {
        with_step(self.function(kernel), word, [0, 0], |params| {
            let mut parameters = [(&raw mut condition).cast(), (&raw mut word).cast()];
            let params = CUDA_KERNEL_NODE_PARAMS {
                kernelParams: parameters.as_mut_ptr(),
                ..*params
            };
            let (nodes, count) = (before.as_ptr(), before.len());
            get!(cuGraphAddKernelNode_v2(
                _,
                graph,
                nodes,
                count,
                &raw const params
            ))
        })
    }
}

fn word(value: u32) -> CUdeviceptr {
    let word = allocate(4);
    upload(word, &value.to_le_bytes());
    word
}

#[test]
fn if_runs_one_of_its_bodies() {
    let bench = Bench::new();
    let (graph, choice) = (graph(), word(0));
    let handle = condition(graph, None);
    let decided = bench.decide(c"choose", (graph, &[]), handle, choice);
    let shape = (Kind::CU_GRAPH_COND_TYPE_IF, 2);
    let (node, bodies) = conditional(graph, &[decided], handle, shape);
    bench.set(bodies[0], &[], 100);
    bench.set(bodies[1], &[], 200);
    bench.step(graph, &[node], [1, 1]);
    let exec = instantiate(graph);
    for (value, expected) in [(0_u32, 201), (1, 101), (7, 101)] {
        upload(choice, &value.to_le_bytes());
        assert_eq!(bench.run(exec), expected, "{value}");
    }
    let (one, handle) = (super::graph(), 0);
    let refused = try_conditional(one, &[], handle, shape);
    assert_eq!(refused, Err(INVALID_VALUE));
}

#[test]
fn switch_runs_the_body_with_the_number() {
    let bench = Bench::new();
    let (graph, choice) = (graph(), word(0));
    let handle = condition(graph, None);
    let decided = bench.decide(c"choose", (graph, &[]), handle, choice);
    let shape = (Kind::CU_GRAPH_COND_TYPE_SWITCH, 3);
    let (_, bodies) = conditional(graph, &[decided], handle, shape);
    for (body, value) in bodies.iter().zip([10, 20, 30]) {
        bench.set(*body, &[], value);
    }
    let exec = instantiate(graph);
    for (value, expected) in [(2_u32, 30), (0, 10), (1, 20), (3, 5), (u32::MAX, 5)] {
        bench.write(5);
        upload(choice, &value.to_le_bytes());
        assert_eq!(bench.run(exec), expected, "{value}");
    }
}

#[test]
fn while_runs_its_body_until_the_kernel_says_so() {
    let bench = Bench::new();
    let (graph, count) = (graph(), word(0));
    let handle = condition(graph, Some(1));
    let (_, bodies) = conditional(graph, &[], handle, (Kind::CU_GRAPH_COND_TYPE_WHILE, 1));
    let step = bench.step(bodies[0], &[], [2, 1]);
    bench.decide(c"count_down", (bodies[0], &[step]), handle, count);
    let exec = instantiate(graph);
    for turns in [1_u32, 5, 10] {
        bench.write(0);
        upload(count, &turns.to_le_bytes());
        assert_eq!(bench.run(exec), (1 << turns) - 1);
    }
}

#[test]
fn a_loop_has_a_branch_inside() {
    let bench = Bench::new();
    let (graph, count, choice) = (graph(), word(4), word(1));
    let (outer, inner) = (condition(graph, Some(1)), condition(graph, None));
    let (_, bodies) = conditional(graph, &[], outer, (Kind::CU_GRAPH_COND_TYPE_WHILE, 1));
    let body = bodies[0];
    let decided = bench.decide(c"choose", (body, &[]), inner, choice);
    let (branch, branches) = conditional(body, &[decided], inner, (Kind::CU_GRAPH_COND_TYPE_IF, 1));
    bench.step(branches[0], &[], [1, 3]);
    bench.decide(c"count_down", (body, &[branch]), outer, count);
    bench.write(0);
    assert_eq!(bench.run(instantiate(graph)), 12);
}

#[test]
fn a_condition_is_used_once_and_its_bodies_are_limited() {
    let bench = Bench::new();
    let graph = graph();
    let handle = condition(graph, Some(1));
    let mut exec = CUgraphExec::NULL;
    // A condition without a node.
    let status = call!(cuGraphInstantiateWithFlags(&raw mut exec, graph, 0));
    assert_eq!(status, INVALID_VALUE);
    let wide = (Kind::CU_GRAPH_COND_TYPE_WHILE, 2);
    let refused = try_conditional(graph, &[], handle, wide);
    assert_eq!(refused, Err(INVALID_VALUE));
    let shape = (Kind::CU_GRAPH_COND_TYPE_IF, 1);
    let (node, bodies) = conditional(graph, &[], handle, shape);
    let again = try_conditional(graph, &[], handle, shape);
    assert_eq!(again, Err(INVALID_VALUE));
    // A body cannot be destroyed, cloned with its graph, or have nodes of the host.
    assert_eq!(call!(cuGraphDestroy(bodies[0])), INVALID_VALUE);
    let mut clone = CUgraph::NULL;
    assert_eq!(call!(cuGraphClone(&raw mut clone, graph)), NOT_SUPPORTED);
    let event: gvirtus_abi::CUevent = get!(cuEventCreate(_, 0));
    let mut record = CUgraphNode::NULL;
    let (none, count) = (std::ptr::null(), 0);
    let place = &raw mut record;
    let status = call!(cuGraphAddEventRecordNode(
        place, bodies[0], none, count, event
    ));
    assert_eq!(status, NOT_SUPPORTED);
    // A stream can be captured into it, with what it may have.
    let stream = stream(1);
    let mode = Mode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    let data = std::ptr::null();
    let status = call!(cuStreamBeginCaptureToGraph(
        stream, bodies[0], none, data, 0, mode
    ));
    assert_eq!(status, SUCCESS);
    let status = call!(cuMemsetD32Async(bench.word, 77, 1, stream));
    assert_eq!(status, SUCCESS);
    assert_eq!(end(stream), bodies[0]);
    assert_eq!(bench.run(instantiate(graph)), 77);
    assert_eq!(call!(cuGraphDestroyNode(node)), SUCCESS);
    let mut count = 0;
    let status = call!(cuGraphGetNodes(
        bodies[0],
        std::ptr::null_mut(),
        &raw mut count
    ));
    assert_eq!(status, INVALID_VALUE);
}
