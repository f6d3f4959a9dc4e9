// SPDX-License-Identifier: Apache-2.0
//! What an executable graph does: a copy of the graph, ordered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gvirtus_abi::{
    CUdeviceptr, CUevent, CUgraphConditionalNodeType, CUgraphInstantiateResult as Outcome, CUresult,
};

use crate::memory::GraphMemory;
use crate::objects::Destructor;
use crate::payload::{Batch, Host, Kernel, Memcpy, Memset, Payload};
use crate::platform::platform;
use crate::world::{GraphId, NodeId, World};

/// An executable copy of a graph.
#[derive(Clone, Default)]
pub struct Plan {
    /// In the order in which the nodes were added to the graph.
    pub steps: Vec<Step>,
    /// Indices of `steps` in an order in which each comes after what it depends on.
    pub order: Vec<usize>,
    /// Where in device memory numbers are to be set at the beginning, and to what.
    pub conditions: Vec<(Arc<GraphMemory>, Option<u32>)>,
    pub(crate) objects: Vec<Arc<Destructor>>,
}

/// A node of an executable graph.
#[derive(Clone)]
pub struct Step {
    /// The node that it was made from.
    pub node: NodeId,
    /// Whether it is to be done.
    pub is_enabled: bool,
    /// Indices of those before it.
    pub dependencies: Vec<usize>,
    /// What it does.
    pub action: Action,
}

/// What a node of an executable graph does.
#[derive(Clone)]
pub enum Action {
    /// A kernel.
    Kernel(Kernel),
    /// A copy.
    Memcpy(Memcpy),
    /// A memset.
    Memset(Memset),
    /// A function of the application.
    Host(Host),
    /// All that another graph does.
    Child(Arc<Plan>),
    /// Nothing.
    Empty,
    /// Records an event.
    EventRecord(CUevent),
    /// Waits for an event.
    EventWait(CUevent),
    /// Memory is in use from here on.
    Allocate(Arc<GraphMemory>),
    /// Memory is not in use any more.
    Free(CUdeviceptr),
    /// Words of memory are written or waited for.
    Batch(Batch),
    /// Other graphs.
    Conditional(Switch),
}

/// The bodies of a conditional node and what chooses among them.
#[derive(Clone)]
pub struct Switch {
    /// Where the number is, 32 bits wide.
    pub cell: Arc<GraphMemory>,
    /// `IF`: the first body if the number is not zero, else the second. `WHILE`: the first as
    /// long as it is not zero. `SWITCH`: that with the number as its index.
    pub kind: CUgraphConditionalNodeType,
    /// What may run.
    pub bodies: Vec<Arc<Plan>>,
}

impl Switch {
    /// What the number chooses of something that there is one of a body.
    pub fn body<'a, T>(&self, number: u32, bodies: &'a [T]) -> Option<&'a T> {
        let index = match self.kind {
            CUgraphConditionalNodeType::CU_GRAPH_COND_TYPE_SWITCH => number as usize,
            _ => usize::from(number == 0),
        };
        bodies.get(index)
    }

    /// Whether the number is looked at again after the body.
    pub fn repeats(&self) -> bool {
        self.kind == CUgraphConditionalNodeType::CU_GRAPH_COND_TYPE_WHILE
    }
}

/// Why a graph cannot be made executable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: CUresult,
    pub(crate) outcome: Outcome,
    pub(crate) node: Option<NodeId>,
}

impl From<CUresult> for Refusal {
    fn from(status: CUresult) -> Self {
        Self {
            status,
            outcome: Outcome::CUDA_GRAPH_INSTANTIATE_ERROR,
            node: None,
        }
    }
}

impl Plan {
    /// All steps, also those of graphs inside.
    pub fn for_each(&self, visit: &mut dyn FnMut(&Step)) {
        for step in &self.steps {
            visit(step);
            match &step.action {
                Action::Child(plan) => plan.for_each(visit),
                Action::Conditional(switch) => {
                    for body in &switch.bodies {
                        body.for_each(visit);
                    }
                }
                _ => {}
            }
        }
    }

    /// The step that was made from a node, also of a graph inside.
    pub(crate) fn step(&self, node: NodeId) -> Option<&Step> {
        if let Some(step) = self.steps.iter().find(|step| step.node == node) {
            return Some(step);
        }
        self.steps.iter().find_map(|step| match &step.action {
            Action::Child(plan) => plan.step(node),
            Action::Conditional(switch) => switch.bodies.iter().find_map(|body| body.step(node)),
            _ => None,
        })
    }

    /// As [`Plan::step`], to change it.
    pub(crate) fn step_mut(&mut self, node: NodeId) -> Option<&mut Step> {
        if let Some(index) = self.steps.iter().position(|step| step.node == node) {
            return self.steps.get_mut(index);
        }
        self.steps
            .iter_mut()
            .find_map(|step| match &mut step.action {
                Action::Child(plan) if plan.step(node).is_some() => {
                    Arc::make_mut(plan).step_mut(node)
                }
                Action::Conditional(switch) => {
                    let mut bodies = switch.bodies.iter_mut();
                    let body = bodies.find(|body| body.step(node).is_some())?;
                    Arc::make_mut(body).step_mut(node)
                }
                _ => None,
            })
    }
}

impl World {
    /// An executable copy of a graph.
    pub(crate) fn plan(&self, id: GraphId) -> Result<Plan, Refusal> {
        let graph = self.graphs.get(&id);
        let graph = graph.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
        let indices: BTreeMap<NodeId, usize> = (0..)
            .zip(&graph.nodes)
            .map(|(index, id)| (*id, index))
            .collect();
        let mut plan = Plan::default();
        for id in &graph.nodes {
            let node = &self.nodes[id];
            let dependencies = node.dependencies.iter();
            plan.steps.push(Step {
                node: *id,
                is_enabled: true,
                dependencies: dependencies.map(|(from, _)| indices[from]).collect(),
                action: self.action(&node.payload).map_err(|refusal| Refusal {
                    node: refusal.node.or(Some(*id)),
                    ..refusal
                })?,
            });
        }
        plan.order = order(&plan.steps)?;
        for handle in &graph.conditions {
            let condition = &self.conditions[handle];
            if !condition.is_used {
                return Err(Refusal {
                    status: CUresult::CUDA_ERROR_INVALID_VALUE,
                    outcome: Outcome::CUDA_GRAPH_INSTANTIATE_CONDITIONAL_HANDLE_UNUSED,
                    node: None,
                });
            }
            plan.conditions
                .push((condition.cell.clone(), condition.default));
        }
        let objects = graph.objects.iter();
        plan.objects = objects.map(|(_, object, _)| object.clone()).collect();
        Ok(plan)
    }

    pub(crate) fn action(&self, payload: &Payload) -> Result<Action, Refusal> {
        Ok(match payload {
            Payload::Kernel(kernel) => {
                platform()?.check_kernel(kernel)?;
                Action::Kernel(kernel.clone())
            }
            Payload::Memcpy(memcpy) => Action::Memcpy(*memcpy),
            Payload::Memset(memset) => Action::Memset(*memset),
            Payload::Host(host) => Action::Host(*host),
            Payload::Child(child) => Action::Child(Arc::new(self.plan(*child)?)),
            Payload::Empty => Action::Empty,
            Payload::EventRecord(event) => Action::EventRecord(*event),
            Payload::EventWait(event) => Action::EventWait(*event),
            Payload::Allocate(memory) => Action::Allocate(memory.clone()),
            Payload::Free(address) => Action::Free(*address),
            Payload::Batch(batch) => Action::Batch(batch.clone()),
            Payload::Conditional(conditional) => {
                let condition = self.conditions.get(&conditional.handle);
                let condition = condition.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
                let bodies = conditional.bodies.iter();
                let bodies = bodies.map(|body| self.plan(*body).map(Arc::new));
                Action::Conditional(Switch {
                    cell: condition.cell.clone(),
                    kind: conditional.kind,
                    bodies: bodies.collect::<Result<_, _>>()?,
                })
            }
        })
    }
}

/// An order in which every step comes after what it depends on; of several, that of their making,
/// but what waits for memory last: something beside it may be what it waits for.
fn order(steps: &[Step]) -> Result<Vec<usize>, Refusal> {
    let mut open: Vec<usize> = steps.iter().map(|step| step.dependencies.len()).collect();
    let mut after = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        for from in &step.dependencies {
            after[*from].push(index);
        }
    }
    let waits = |index: usize| matches!(&steps[index].action, Action::Batch(b) if b.waits());
    let roots = (0..steps.len()).filter(|index| open[*index] == 0);
    let mut ready: BTreeSet<(bool, usize)> = roots.map(|index| (waits(index), index)).collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some((_, index)) = ready.pop_first() {
        order.push(index);
        for next in &after[index] {
            open[*next] -= 1;
            if open[*next] == 0 {
                ready.insert((waits(*next), *next));
            }
        }
    }
    let in_cycle = (0..steps.len()).find(|index| open[*index] != 0);
    match in_cycle {
        None => Ok(order),
        Some(index) => Err(Refusal {
            status: CUresult::CUDA_ERROR_INVALID_VALUE,
            outcome: Outcome::CUDA_GRAPH_INSTANTIATE_INVALID_STRUCTURE,
            node: Some(steps[index].node),
        }),
    }
}
