// SPDX-License-Identifier: Apache-2.0
//! Giving an executable graph the parameters of another graph of the same shape
//! (`cuGraphExecUpdate`). Nodes are paired in the order in which they were added.

use std::sync::Arc;

use gvirtus_abi::{
    CUgraph, CUgraphExec, CUgraphExecUpdateResult as Outcome, CUgraphExecUpdateResultInfo,
    CUgraphNode, CUresult,
};

use crate::exec::can_become;
use crate::plan::{Action, Plan, Step};
use crate::world::{NodeId, World};

/// How an update went.
pub(crate) struct Update {
    pub(crate) outcome: Outcome,
    node: Option<NodeId>,
    from: Option<NodeId>,
}

impl Update {
    const fn refused(outcome: Outcome, node: Option<NodeId>) -> Self {
        Self {
            outcome,
            node,
            from: None,
        }
    }

    pub(crate) fn info(&self) -> CUgraphExecUpdateResultInfo {
        let handle = |node: Option<NodeId>| node.map_or(CUgraphNode::NULL, NodeId::handle);
        CUgraphExecUpdateResultInfo {
            result: self.outcome,
            errorNode: handle(self.node),
            errorFromNode: handle(self.from),
        }
    }
}

impl World {
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for what is no graph; whether the update was made is in the
    /// result.
    pub(crate) fn update(
        &mut self,
        handle: CUgraphExec,
        graph: CUgraph,
    ) -> Result<Update, CUresult> {
        let (id, _) = self.graph(graph)?;
        let new = match self.plan(id) {
            Ok(new) => new,
            Err(refusal) => {
                let outcome = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR;
                self.exec(handle)?;
                return Ok(Update::refused(outcome, refusal.node));
            }
        };
        let exec = self.exec(handle)?;
        if let Some(refused) = compare(&exec.plan, &new) {
            return Ok(refused);
        }
        take_over(Arc::make_mut(&mut exec.plan), new);
        Ok(Update::refused(Outcome::CU_GRAPH_EXEC_UPDATE_SUCCESS, None))
    }
}

/// Gives a plan the parameters of another one, if it has the same shape.
pub(crate) fn replace(old: &mut Plan, new: Plan) -> bool {
    let fits = compare(old, &new).is_none();
    if fits {
        take_over(old, new);
    }
    fits
}

/// What keeps one plan from becoming the other.
fn compare(old: &Plan, new: &Plan) -> Option<Update> {
    let topology = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED;
    for (index, step) in new.steps.iter().enumerate() {
        let Some(pair) = old.steps.get(index) else {
            return Some(Update::refused(topology, Some(step.node)));
        };
        if let Some(refused) = compare_steps(pair, step, new) {
            return Some(refused);
        }
    }
    // A node that the new graph lacks has no name in it.
    (old.steps.len() > new.steps.len()).then(|| Update::refused(topology, None))
}

fn compare_steps(old: &Step, new: &Step, plan: &Plan) -> Option<Update> {
    let refused = |outcome| Some(Update::refused(outcome, Some(new.node)));
    if std::mem::discriminant(&old.action) != std::mem::discriminant(&new.action) {
        return refused(Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
    }
    let sorted = |step: &Step| {
        let mut dependencies = step.dependencies.clone();
        dependencies.sort_unstable();
        dependencies
    };
    let (before, now) = (sorted(old), sorted(new));
    if before != now {
        let added = now.iter().find(|index| !before.contains(index));
        return Some(Update {
            outcome: Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED,
            node: Some(new.node),
            from: added.map(|index| plan.steps[*index].node),
        });
    }
    match (&old.action, &new.action) {
        (Action::Child(old), Action::Child(new)) => compare(old, new),
        (Action::Conditional(old), Action::Conditional(new)) => {
            if old.kind != new.kind || !Arc::ptr_eq(&old.cell, &new.cell) {
                return refused(Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED);
            }
            let mut bodies = old.bodies.iter().zip(&new.bodies);
            bodies.find_map(|(old, new)| compare(old, new))
        }
        (Action::Allocate(old), Action::Allocate(new)) => match Arc::ptr_eq(old, new) {
            true => None,
            false => refused(Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED),
        },
        (Action::Free(old), Action::Free(new)) => match old == new {
            true => None,
            false => refused(Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED),
        },
        (Action::Kernel(before), Action::Kernel(after)) => {
            let attributes = |kernel: &crate::payload::Kernel| {
                let ids = kernel.attributes.iter().map(|attribute| attribute.0.id);
                let mut ids: Vec<_> = ids.collect();
                ids.sort_unstable();
                ids
            };
            if before.context != after.context {
                return refused(Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_FUNCTION_CHANGED);
            }
            match attributes(before) == attributes(after) {
                true => None,
                false => refused(Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED),
            }
        }
        (old, new) if !can_become(old, new) => {
            refused(Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED)
        }
        _ => None,
    }
}

/// Nodes keep the names of the graph that was made executable, and stay disabled.
fn take_over(old: &mut Plan, new: Plan) {
    for (step, new) in old.steps.iter_mut().zip(new.steps) {
        match (&mut step.action, new.action) {
            (Action::Child(old), Action::Child(new)) => {
                take_over(Arc::make_mut(old), Arc::unwrap_or_clone(new));
            }
            (Action::Conditional(old), Action::Conditional(new)) => {
                for (old, new) in old.bodies.iter_mut().zip(new.bodies) {
                    take_over(Arc::make_mut(old), Arc::unwrap_or_clone(new));
                }
            }
            (old, new) => *old = new,
        }
    }
    old.objects = new.objects;
}
