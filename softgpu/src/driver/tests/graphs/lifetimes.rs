// SPDX-License-Identifier: Apache-2.0
//! Clones, graphs inside of graphs, what outlives what, and the text for Graphviz.

use std::sync::atomic::{AtomicU32, Ordering};

use gvirtus_abi::{CUuserObject, CUuserObject_flags, CUuserObjectRetain_flags};

use super::*;

#[test]
fn a_clone_has_nodes_of_its_own() {
    let bench = Bench::new();
    let graph = graph();
    let first = bench.set(graph, &[], 4);
    let second = bench.step(graph, &[first], [2, 1]);
    let clone: CUgraph = get!(cuGraphClone(_, graph));
    let copy: CUgraphNode = get!(cuGraphNodeFindInClone(_, second, clone));
    assert_ne!(copy, second);
    let changed = with_step(bench.function(c"step"), bench.word, [10, 0], |params| {
        call!(cuGraphKernelNodeSetParams_v2(
            copy,
            std::ptr::from_ref(params)
        ))
    });
    assert_eq!(changed, SUCCESS);
    assert_eq!(bench.run(instantiate(graph)), 9);
    assert_eq!(bench.run(instantiate(clone)), 40);
    // The clone lives on without the original, and cannot be asked about its nodes any more.
    assert_eq!(call!(cuGraphDestroy(graph)), SUCCESS);
    assert_eq!(bench.run(instantiate(clone)), 40);
    let mut found = CUgraphNode::NULL;
    let status = call!(cuGraphNodeFindInClone(&raw mut found, second, clone));
    assert_eq!(status, INVALID_VALUE);
}

#[test]
fn a_child_graph_is_a_copy_inside_of_a_node() {
    let bench = Bench::new();
    let inner = graph();
    bench.step(inner, &[], [3, 0]);
    let outer = graph();
    let first = bench.set(outer, &[], 5);
    let none = &raw const first;
    let child = get!(cuGraphAddChildGraphNode(_, outer, none, 1, inner));
    bench.step(outer, &[child], [1, 1]);
    let copy: CUgraph = {
        let mut copy = CUgraph::NULL;
        let status = call!(cuGraphChildGraphNodeGetGraph(child, &raw mut copy));
        assert_eq!(status, SUCCESS);
        copy
    };
    assert_ne!(copy, inner);
    assert_eq!(call!(cuGraphDestroy(copy)), INVALID_VALUE);
    assert_eq!(call!(cuGraphDestroy(inner)), SUCCESS);
    let exec = instantiate(outer);
    assert_eq!(bench.run(exec), 16);
    // The copy can be changed, and an executable graph be given another.
    bench.step(copy, &nodes(copy), [1, 100]);
    assert_eq!(bench.run(instantiate(outer)), 116);
    let other = graph();
    bench.step(other, &[], [7, 0]);
    let status = call!(cuGraphExecChildGraphNodeSetParams(exec, child, other));
    assert_eq!(status, SUCCESS);
    assert_eq!(bench.run(exec), 36);
    bench.step(other, &[], [7, 0]);
    let status = call!(cuGraphExecChildGraphNodeSetParams(exec, child, other));
    assert_eq!(status, INVALID_VALUE);
    // With the node goes the copy.
    assert_eq!(call!(cuGraphDestroyNode(child)), SUCCESS);
    let mut count = 0;
    let status = call!(cuGraphGetNodes(copy, std::ptr::null_mut(), &raw mut count));
    assert_eq!(status, INVALID_VALUE);
}

static DESTROYED: AtomicU32 = AtomicU32::new(0);

unsafe extern "C" fn destroyed(data: *mut std::ffi::c_void) {
    DESTROYED.fetch_add(data.addr() as u32, Ordering::SeqCst);
}

#[test]
fn what_a_graph_keeps_goes_with_its_last_copy() {
    let bench = Bench::new();
    let graph = graph();
    bench.set(graph, &[], 1);
    let mut object = CUuserObject::NULL;
    let flags = CUuserObject_flags::CU_USER_OBJECT_NO_DESTRUCTOR_SYNC.0;
    let data = std::ptr::without_provenance_mut(1000);
    let place = &raw mut object;
    let made = call!(cuUserObjectCreate(
        place,
        data,
        host_function(destroyed),
        1,
        flags
    ));
    assert_eq!(made, SUCCESS);
    let moves = CUuserObjectRetain_flags::CU_GRAPH_USER_OBJECT_MOVE.0;
    let kept = call!(cuGraphRetainUserObject(graph, object, 1, moves));
    assert_eq!(kept, SUCCESS);
    let exec = instantiate(graph);
    let clone: CUgraph = get!(cuGraphClone(_, graph));
    assert_eq!(call!(cuGraphDestroy(graph)), SUCCESS);
    assert_eq!(bench.run(exec), 1);
    assert_eq!(call!(cuGraphExecDestroy(exec)), SUCCESS);
    assert_eq!(call!(cuCtxSynchronize()), SUCCESS);
    assert_eq!(DESTROYED.load(Ordering::SeqCst), 0);
    assert_eq!(call!(cuGraphDestroy(clone)), SUCCESS);
    assert_eq!(DESTROYED.load(Ordering::SeqCst), 1000);
    assert_eq!(call!(cuUserObjectRelease(object, 1)), INVALID_VALUE);
}

#[test]
fn a_launch_ends_after_all_its_graphs_are_destroyed() {
    let bench = Bench::new();
    let stream = stream(1);
    bench.write(0);
    let graph = graph();
    let mut last = Vec::new();
    for _ in 0..200 {
        last = vec![bench.step(graph, &last, [1, 1])];
    }
    let exec = instantiate(graph);
    assert_eq!(call!(cuGraphDestroy(graph)), SUCCESS);
    assert_eq!(call!(cuGraphDestroy(graph)), INVALID_VALUE);
    for _ in 0..3 {
        assert_eq!(call!(cuGraphLaunch(exec, stream)), SUCCESS);
    }
    assert_eq!(call!(cuGraphExecDestroy(exec)), SUCCESS);
    assert_eq!(call!(cuGraphLaunch(exec, stream)), INVALID_VALUE);
    assert_eq!(call!(cuGraphExecDestroy(exec)), INVALID_VALUE);
    assert_eq!(call!(cuStreamSynchronize(stream)), SUCCESS);
    assert_eq!(bench.read(), 600);
}

#[test]
fn a_launch_waits_for_the_one_before_in_another_stream() {
    let bench = Bench::new();
    let (first, second) = (stream(1), stream(1));
    bench.write(0);
    let graph = graph();
    let mut last = Vec::new();
    for _ in 0..50 {
        last = vec![bench.step(graph, &last, [1, 1])];
    }
    let exec = instantiate(graph);
    for stream in [first, second, first, second] {
        assert_eq!(call!(cuGraphLaunch(exec, stream)), SUCCESS);
    }
    assert_eq!(call!(cuStreamSynchronize(second)), SUCCESS);
    assert_eq!(bench.read(), 200);
}

#[test]
fn the_text_for_graphviz_has_all_nodes_and_edges() {
    let bench = Bench::new();
    let inner = graph();
    bench.step(inner, &[], [3, 0]);
    let outer = graph();
    let first = bench.set(outer, &[], 5);
    let before = &raw const first;
    let child: CUgraphNode = get!(cuGraphAddChildGraphNode(_, outer, before, 1, inner));
    assert_ne!(child, first);
    let name = format!("softgpu-graph-{}.dot", std::process::id());
    let path = std::env::temp_dir().join(name);
    let text = std::ffi::CString::new(path.to_str().expect("UTF-8")).expect("no zero");
    assert_eq!(
        call!(cuGraphDebugDotPrint(outer, text.as_ptr(), 0)),
        SUCCESS
    );
    let written = std::fs::read_to_string(&path).expect("written");
    std::fs::remove_file(&path).expect("ours");
    assert!(written.starts_with("digraph"), "{written}");
    for kind in ["MEMSET", "GRAPH", "KERNEL"] {
        assert_eq!(written.matches(kind).count(), 1, "{written}");
    }
    assert_eq!(written.matches("->").count(), 1, "{written}");
    assert_eq!(written.matches("subgraph").count(), 2, "{written}");
    assert_eq!(written.matches('{').count(), written.matches('}').count());
    let nowhere = c"/nowhere/graph.dot".as_ptr();
    assert_ne!(call!(cuGraphDebugDotPrint(outer, nowhere, 0)), SUCCESS);
}
