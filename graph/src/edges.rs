// SPDX-License-Identifier: Apache-2.0
//! Dependencies between nodes.

use gvirtus_abi::{CUgraphDependencyType, CUgraphEdgeData, CUgraphNode, CUresult};

use crate::payload::Payload;
use crate::world::{GraphId, NodeId, World};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
const PROGRAMMATIC: u8 = CUgraphDependencyType::CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC.0 as u8;
/// `CU_GRAPH_KERNEL_NODE_PORT_LAUNCH_ORDER`: when all blocks of a kernel have begun.
const PORT_LAUNCH_ORDER: u8 = 2;

/// How one node depends on another: `CUgraphEdgeData`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edge {
    from_port: u8,
    to_port: u8,
    kind: u8,
}

impl Edge {
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for one that no CUDA version knows.
    pub(crate) fn parse(data: &CUgraphEdgeData) -> Result<Self, CUresult> {
        if data.reserved != [0; 5]
            || data.r#type > PROGRAMMATIC
            || data.from_port > PORT_LAUNCH_ORDER
            || data.to_port != 0
        {
            return Err(INVALID);
        }
        Ok(Self {
            from_port: data.from_port,
            to_port: data.to_port,
            kind: data.r#type,
        })
    }

    pub(crate) const fn data(self) -> CUgraphEdgeData {
        CUgraphEdgeData {
            from_port: self.from_port,
            to_port: self.to_port,
            r#type: self.kind,
            reserved: [0; 5],
        }
    }

    pub(crate) fn is_default(self) -> bool {
        self == Self::default()
    }

    /// Only kernels have ports, and programmatic dependencies are between two of them.
    pub(crate) const fn check(self, from: &Payload, to: &Payload) -> Result<(), CUresult> {
        let is_from_kernel = matches!(from, Payload::Kernel(_));
        let is_to_kernel = matches!(to, Payload::Kernel(_));
        if (self.from_port != 0 && !is_from_kernel)
            || (self.kind == PROGRAMMATIC && !(is_from_kernel && is_to_kernel))
        {
            return Err(INVALID);
        }
        Ok(())
    }
}

impl World {
    /// Adds edges, all or none.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for nodes of another graph, an edge that is there already, or
    /// one from a node to itself.
    pub(crate) fn add_edges(
        &mut self,
        graph: GraphId,
        edges: &[(CUgraphNode, CUgraphNode, Edge)],
    ) -> Result<(), CUresult> {
        for (index, (from, to, edge)) in edges.iter().enumerate() {
            let (from_id, from_node) = self.node(*from)?;
            let (to_id, to_node) = self.node(*to)?;
            let mut before = edges[..index].iter();
            let is_twice = before.any(|(f, t, _)| (f, t) == (from, to));
            let mut known = to_node.dependencies.iter();
            let is_known = known.any(|(known, _)| *known == from_id);
            let is_foreign = from_node.graph != graph || to_node.graph != graph;
            if is_foreign || from_id == to_id || is_twice || is_known {
                return Err(INVALID);
            }
            edge.check(&from_node.payload, &to_node.payload)?;
        }
        for (from, to, edge) in edges {
            let dependencies = &mut self.node_mut(*to)?.dependencies;
            dependencies.push((NodeId(from.0), *edge));
        }
        Ok(())
    }

    /// Removes edges, all or none.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for an edge that is not there.
    pub(crate) fn remove_edges(
        &mut self,
        graph: GraphId,
        edges: &[(CUgraphNode, CUgraphNode, Edge)],
    ) -> Result<(), CUresult> {
        for (from, to, edge) in edges {
            let (from, _) = self.node(*from)?;
            let (_, node) = self.node(*to)?;
            let mut known = node.dependencies.iter();
            if node.graph != graph || !known.any(|known| *known == (from, *edge)) {
                return Err(INVALID);
            }
        }
        for (from, to, _) in edges {
            let from = NodeId(from.0);
            let dependencies = &mut self.node_mut(*to)?.dependencies;
            dependencies.retain(|(known, _)| *known != from);
        }
        Ok(())
    }

    /// All edges of a graph, by the order of their later nodes.
    pub(crate) fn edges(&self, graph: GraphId) -> Vec<(NodeId, NodeId, Edge)> {
        let Some(graph) = self.graphs.get(&graph) else {
            return Vec::new();
        };
        let of_node = |to: &NodeId| {
            let dependencies = self.nodes[to].dependencies.clone();
            let to = *to;
            dependencies
                .into_iter()
                .map(move |(from, edge)| (from, to, edge))
        };
        graph.nodes.iter().flat_map(of_node).collect()
    }

    /// The nodes that depend on one.
    pub(crate) fn dependents(&self, node: NodeId) -> Vec<(NodeId, Edge)> {
        let Some(found) = self.nodes.get(&node) else {
            return Vec::new();
        };
        let edges = self.edges(found.graph).into_iter();
        let mine = edges.filter(|(from, _, _)| *from == node);
        mine.map(|(_, to, edge)| (to, edge)).collect()
    }
}
