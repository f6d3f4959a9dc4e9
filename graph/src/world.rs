// SPDX-License-Identifier: Apache-2.0
//! All graphs of the process, behind one lock: calls are short, and launches leave it at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::{
    CUcontext, CUdeviceptr, CUgraph, CUgraphExec, CUgraphNode, CUresult, CUuserObject,
};

use crate::capture::Captures;
use crate::edges::Edge;
use crate::exec::Exec;
use crate::memory::{self, GraphMemory};
use crate::objects::{Destructor, UserObject};
use crate::payload::{Conditional, Payload};
use crate::platform::platform;
use crate::process::state;

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// Names a graph; the value of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GraphId(pub u64);

/// Names a node; the value of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl GraphId {
    pub(crate) const fn handle(self) -> CUgraph {
        CUgraph(self.0)
    }
}

impl NodeId {
    pub(crate) const fn handle(self) -> CUgraphNode {
        CUgraphNode(self.0)
    }
}

/// A graph.
#[derive(Default)]
pub(crate) struct Graph {
    /// In the order in which they were added.
    pub(crate) nodes: Vec<NodeId>,
    /// As `cuGraphGetId` says.
    pub(crate) number: u32,
    /// The node that owns it: of a child graph or of the body of a condition.
    pub(crate) owner: Option<NodeId>,
    /// Whether it is the body of a condition.
    pub(crate) is_body: bool,
    /// Of a clone.
    pub(crate) original: Option<GraphId>,
    /// Whether a stream is being captured into it.
    pub(crate) is_capturing: bool,
    /// How often it keeps which user objects.
    pub(crate) objects: Vec<(CUuserObject, Arc<Destructor>, u32)>,
    /// Handles of conditions that were made for it.
    pub(crate) conditions: Vec<u64>,
    next_node: u32,
}

/// A node.
pub(crate) struct Node {
    pub(crate) graph: GraphId,
    /// As `cuGraphNodeGetLocalId` says.
    pub(crate) number: u32,
    pub(crate) payload: Payload,
    pub(crate) dependencies: Vec<(NodeId, Edge)>,
    /// Of a node of a clone.
    pub(crate) original: Option<NodeId>,
    /// What `CUDA_CONDITIONAL_NODE_PARAMS::phGraph_out` points to.
    bodies: Box<[CUgraph]>,
}

/// A number in device memory that kernels set and conditional nodes read.
pub(crate) struct Condition {
    pub(crate) graph: GraphId,
    /// What it is at the beginning of a launch, if it is set then.
    pub(crate) default: Option<u32>,
    pub(crate) is_used: bool,
    pub(crate) cell: Arc<GraphMemory>,
}

/// Everything.
pub(crate) struct World {
    next_graph: u32,
    pub(crate) graphs: BTreeMap<GraphId, Graph>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) execs: BTreeMap<u64, Exec>,
    pub(crate) objects: BTreeMap<u64, UserObject>,
    pub(crate) conditions: BTreeMap<u64, Condition>,
    pub(crate) captures: Captures,
}

/// Counts handles, on through forks: a child must not take its parent's for its own.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Works on all graphs; what must not happen under their lock happens behind it.
pub(crate) fn with<R>(work: impl FnOnce(&mut World) -> R) -> R {
    // A forked child finds out here, before it takes a lock of its parent's.
    let _ = platform().and_then(|platform| platform.ready());
    let result = work(&mut state().world.lock());
    crate::objects::run_destructors();
    crate::memory::give_back();
    result
}

/// What the number of a handle tells of it.
#[derive(Clone, Copy)]
#[repr(u64)]
pub(crate) enum Kind {
    Graph = 0,
    Node = 1,
    Exec = 2,
    Object = 3,
}

/// No handle of another kind of object begins so, neither of the client nor of the device.
const MARK: u64 = 0x6000_0000_0000;
const KIND_SHIFT: u32 = 40;
const NUMBER_SHIFT: u32 = 4;

impl World {
    pub(crate) const fn new() -> Self {
        Self {
            next_graph: 1,
            graphs: BTreeMap::new(),
            nodes: BTreeMap::new(),
            execs: BTreeMap::new(),
            objects: BTreeMap::new(),
            conditions: BTreeMap::new(),
            captures: Captures::new(),
        }
    }

    /// A handle that was never used and never will be.
    pub(crate) fn new_handle(&self, kind: Kind) -> u64 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        MARK | ((kind as u64) << KIND_SHIFT) | (number << NUMBER_SHIFT)
    }

    /// As `cuGraphGetId` and `cuGraphExecGetId` say.
    pub(crate) fn new_number(&mut self) -> u32 {
        self.next_graph += 1;
        self.next_graph - 1
    }

    pub(crate) fn new_graph(&mut self) -> GraphId {
        let id = GraphId(self.new_handle(Kind::Graph));
        let graph = Graph {
            number: self.new_number(),
            ..Graph::default()
        };
        self.graphs.insert(id, graph);
        id
    }

    pub(crate) fn graph(&self, handle: CUgraph) -> Result<(GraphId, &Graph), CUresult> {
        let id = GraphId(handle.0);
        self.graphs.get(&id).map(|graph| (id, graph)).ok_or(INVALID)
    }

    pub(crate) fn graph_mut(&mut self, id: GraphId) -> Result<&mut Graph, CUresult> {
        self.graphs.get_mut(&id).ok_or(INVALID)
    }

    pub(crate) fn node(&self, handle: CUgraphNode) -> Result<(NodeId, &Node), CUresult> {
        let id = NodeId(handle.0);
        self.nodes.get(&id).map(|node| (id, node)).ok_or(INVALID)
    }

    pub(crate) fn node_mut(&mut self, handle: CUgraphNode) -> Result<&mut Node, CUresult> {
        self.nodes.get_mut(&NodeId(handle.0)).ok_or(INVALID)
    }

    pub(crate) fn exec(&mut self, handle: CUgraphExec) -> Result<&mut Exec, CUresult> {
        self.execs.get_mut(&handle.0).ok_or(INVALID)
    }

    /// Adds a node behind others of the same graph.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for a graph that is gone, or dependencies that are of another
    /// graph, named twice, or of a kind that the nodes cannot have; `CUDA_ERROR_NOT_SUPPORTED` for
    /// what the body of a condition cannot do.
    pub(crate) fn add(
        &mut self,
        graph: GraphId,
        dependencies: Vec<(NodeId, Edge)>,
        payload: Payload,
    ) -> Result<NodeId, CUresult> {
        self.check_dependencies(graph, &dependencies, &payload)?;
        self.check_body(graph, &payload)?;
        let id = NodeId(self.new_handle(Kind::Node));
        let place = self.graph_mut(graph)?;
        let number = place.next_node;
        place.next_node += 1;
        place.nodes.push(id);
        let node = Node {
            graph,
            number,
            payload,
            dependencies,
            original: None,
            bodies: Box::default(),
        };
        self.nodes.insert(id, node);
        Ok(id)
    }

    fn check_dependencies(
        &self,
        graph: GraphId,
        dependencies: &[(NodeId, Edge)],
        payload: &Payload,
    ) -> Result<(), CUresult> {
        if !self.graphs.contains_key(&graph) {
            return Err(INVALID);
        }
        for (index, (id, edge)) in dependencies.iter().enumerate() {
            let node = self.nodes.get(id).ok_or(INVALID)?;
            let is_twice = dependencies[..index].iter().any(|(other, _)| other == id);
            if node.graph != graph || is_twice {
                return Err(INVALID);
            }
            edge.check(&node.payload, payload)?;
        }
        Ok(())
    }

    fn check_body(&self, graph: GraphId, payload: &Payload) -> Result<(), CUresult> {
        let is_body = self.graphs.get(&graph).is_some_and(|graph| graph.is_body);
        let is_allowed = matches!(
            payload,
            Payload::Kernel(_)
                | Payload::Memcpy(_)
                | Payload::Memset(_)
                | Payload::Child(_)
                | Payload::Empty
                | Payload::Conditional(_)
        );
        match is_body && !is_allowed {
            true => Err(CUresult::CUDA_ERROR_NOT_SUPPORTED),
            false => Ok(()),
        }
    }

    /// Only what an allocation node allocates can be freed by a node, and in a graph only once.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE`.
    pub(crate) fn check_free(&self, graph: GraphId, address: CUdeviceptr) -> Result<(), CUresult> {
        let frees =
            |payload: &Payload| matches!(payload, Payload::Free(freed) if *freed == address);
        match memory::is_of_node(address) && !self.any_node(graph, &frees) {
            true => Ok(()),
            false => Err(INVALID),
        }
    }

    /// Ends a node and what it owns.
    pub(crate) fn remove_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes.remove(&id) else {
            return;
        };
        if let Some(graph) = self.graphs.get_mut(&node.graph) {
            graph.nodes.retain(|other| *other != id);
            for other in graph.nodes.clone() {
                if let Some(other) = self.nodes.get_mut(&other) {
                    other.dependencies.retain(|(from, _)| *from != id);
                }
            }
        }
        self.remove_owned(&node.payload);
    }

    fn remove_owned(&mut self, payload: &Payload) {
        match payload {
            Payload::Child(graph) => self.remove_graph(*graph),
            Payload::Conditional(Conditional { bodies, .. }) => {
                for body in bodies {
                    self.remove_graph(*body);
                }
            }
            _ => {}
        }
    }

    /// Ends a graph with all its nodes.
    pub(crate) fn remove_graph(&mut self, id: GraphId) {
        let Some(graph) = self.graphs.remove(&id) else {
            return;
        };
        for node in graph.nodes {
            if let Some(node) = self.nodes.remove(&node) {
                self.remove_owned(&node.payload);
            }
        }
        for condition in graph.conditions {
            self.conditions.remove(&condition);
        }
    }

    /// Whether a graph or one inside of it has a node of that kind.
    pub(crate) fn any_node(&self, graph: GraphId, is_wanted: &dyn Fn(&Payload) -> bool) -> bool {
        let Some(graph) = self.graphs.get(&graph) else {
            return false;
        };
        graph.nodes.iter().any(|id| {
            let payload = &self.nodes[id].payload;
            is_wanted(payload)
                || match payload {
                    Payload::Child(child) => self.any_node(*child, is_wanted),
                    Payload::Conditional(conditional) => conditional
                        .bodies
                        .iter()
                        .any(|body| self.any_node(*body, is_wanted)),
                    _ => false,
                }
        })
    }

    /// A copy of a graph with copies of all its nodes.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for a graph that is gone, `CUDA_ERROR_NOT_SUPPORTED` for one
    /// with memory or conditional nodes, of which there can be only one.
    pub(crate) fn clone_graph(&mut self, from: GraphId) -> Result<GraphId, CUresult> {
        let is_unique = |payload: &Payload| {
            matches!(
                payload,
                Payload::Allocate(_) | Payload::Free(_) | Payload::Conditional(_)
            )
        };
        if self.any_node(from, &is_unique) {
            return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
        }
        self.copy_graph(from)
    }

    fn copy_graph(&mut self, from: GraphId) -> Result<GraphId, CUresult> {
        let original = self.graphs.get(&from).ok_or(INVALID)?;
        let (nodes, objects) = (original.nodes.clone(), original.objects.clone());
        let next_node = original.next_node;
        let id = self.new_graph();
        let mut copies = BTreeMap::new();
        for old in &nodes {
            copies.insert(*old, NodeId(self.new_handle(Kind::Node)));
        }
        for old in &nodes {
            let (payload, number) = (self.nodes[old].payload.clone(), self.nodes[old].number);
            let payload = match payload {
                Payload::Child(child) => {
                    let child = self.copy_graph(child)?;
                    self.graph_mut(child)?.owner = Some(copies[old]);
                    Payload::Child(child)
                }
                payload => payload,
            };
            let dependencies = self.nodes[old].dependencies.iter();
            let dependencies = dependencies.map(|(from, edge)| (copies[from], *edge));
            let node = Node {
                graph: id,
                number,
                payload,
                dependencies: dependencies.collect(),
                original: Some(*old),
                bodies: Box::default(),
            };
            self.nodes.insert(copies[old], node);
        }
        let graph = self.graph_mut(id)?;
        graph.original = Some(from);
        graph.nodes = nodes.iter().map(|old| copies[old]).collect();
        (graph.objects, graph.next_node) = (objects, next_node);
        Ok(id)
    }

    /// Whether a graph is another one or part of it, however deep.
    pub(crate) fn is_inside(&self, graph: GraphId, outer: GraphId) -> bool {
        let owner = self.graphs.get(&graph).and_then(|graph| graph.owner);
        let owner = owner.and_then(|owner| self.nodes.get(&owner));
        graph == outer || owner.is_some_and(|owner| self.is_inside(owner.graph, outer))
    }

    /// Keeps the list of a conditional node's bodies for as long as the node, because the
    /// application has a pointer to it.
    pub(crate) fn keep_bodies(&mut self, node: NodeId, mut bodies: Box<[CUgraph]>) -> *mut CUgraph {
        let list = bodies.as_mut_ptr();
        if let Some(node) = self.nodes.get_mut(&node) {
            node.bodies = bodies;
        }
        list
    }

    /// Ends what belonged to a context.
    pub(crate) fn forget_context(&mut self, context: CUcontext) {
        self.captures.forget_context(context);
        memory::forget_context(context);
    }
}
