// SPDX-License-Identifier: Apache-2.0
//! A graph as text for Graphviz (`cuGraphDebugDotPrint`).

use std::fmt::Write as _;

use gvirtus_abi::CUgraphDebugDot_flags as Flags;

use crate::payload::Payload;
use crate::world::{GraphId, World};

impl World {
    /// The graph and all graphs inside of it.
    pub(crate) fn dot(&self, graph: GraphId, flags: u32) -> String {
        let mut text = String::from("digraph dot {\n");
        self.write_graph(&mut text, graph, flags);
        text.push_str("}\n");
        text
    }

    fn write_graph(&self, text: &mut String, id: GraphId, flags: u32) {
        let Some(graph) = self.graphs.get(&id) else {
            return;
        };
        let number = graph.number;
        // Writing to a string does not fail.
        let _ = writeln!(text, "subgraph cluster_{number} {{");
        let _ = writeln!(text, "label=\"graph_{number}\" graph[style=\"dashed\"];");
        for node in &graph.nodes {
            let node = &self.nodes[node];
            let label = label(&node.payload, flags);
            let name = format!("graph_{number}_node_{}", node.number);
            let _ = writeln!(
                text,
                "\"{name}\" [shape=\"rectangle\" label=\"{}\\n{label}\"];",
                node.number
            );
            for (from, _) in &node.dependencies {
                let from = self.nodes[from].number;
                let _ = writeln!(text, "\"graph_{number}_node_{from}\" -> \"{name}\";");
            }
        }
        for node in &graph.nodes {
            match &self.nodes[node].payload {
                Payload::Child(child) => self.write_graph(text, *child, flags),
                Payload::Conditional(conditional) => {
                    for body in &conditional.bodies {
                        self.write_graph(text, *body, flags);
                    }
                }
                _ => {}
            }
        }
        text.push_str("}\n");
    }
}

fn label(payload: &Payload, flags: u32) -> String {
    let has = |flag: Flags| flags & (flag.0 | Flags::CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE.0) != 0;
    match payload {
        Payload::Kernel(kernel) if has(Flags::CU_GRAPH_DEBUG_DOT_FLAGS_KERNEL_NODE_PARAMS) => {
            let ([gx, gy, gz], [bx, by, bz]) = (kernel.grid, kernel.block);
            let shared = kernel.shared_bytes;
            format!("KERNEL\\n<<<({gx},{gy},{gz}),({bx},{by},{bz}),{shared}>>>")
        }
        Payload::Memcpy(memcpy) if has(Flags::CU_GRAPH_DEBUG_DOT_FLAGS_MEMCPY_NODE_PARAMS) => {
            let copy = &memcpy.copy;
            let (width, height, depth) = (copy.WidthInBytes, copy.Height, copy.Depth);
            format!("MEMCPY\\n{width} x {height} x {depth}")
        }
        Payload::Memset(memset) if has(Flags::CU_GRAPH_DEBUG_DOT_FLAGS_MEMSET_NODE_PARAMS) => {
            let (value, width, height) = (memset.value, memset.width, memset.height);
            format!("MEMSET\\n{value:#x}, {width} x {height}")
        }
        payload => {
            let name = payload
                .kind()
                .name()
                .unwrap_or("CU_GRAPH_NODE_TYPE_UNKNOWN");
            name.trim_start_matches("CU_GRAPH_NODE_TYPE_").to_owned()
        }
    }
}
