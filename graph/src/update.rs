// SPDX-License-Identifier: Apache-2.0
//! Giving an executable graph the parameters of another graph of the same shape
//! (`cuGraphExecUpdate`).
//!
//! Nodes are paired as the driver API reference says: those that nothing depends on in the order
//! in which they were added, and from there the dependencies of each pair in their order.

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
        let keeps_priorities = exec.uses_priorities();
        if let Err(refused) = compare(&exec.plan, &new, keeps_priorities) {
            return Ok(refused);
        }
        take_over(Arc::make_mut(&mut exec.plan), new);
        Ok(Update::refused(Outcome::CU_GRAPH_EXEC_UPDATE_SUCCESS, None))
    }
}

/// Gives a plan the parameters of another one, if it has the same shape.
pub(crate) fn replace(old: &mut Plan, new: Plan) -> bool {
    let fits = compare(old, &new, false).is_ok();
    if fits {
        take_over(old, new);
    }
    fits
}

/// For each step of the old plan the one of the new plan that takes its place.
fn pair(old: &Plan, new: &Plan) -> Result<Vec<usize>, Update> {
    let refused = |node: Option<usize>, from: Option<usize>| Update {
        outcome: Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED,
        node: node.map(|index| new.steps[index].node),
        from: from.map(|index| new.steps[index].node),
    };
    let count = new.steps.len();
    if old.steps.len() != count {
        return Err(refused(None, None));
    }
    let (old_exits, new_exits) = (exits(old), exits(new));
    if let Some(more) = new_exits.get(old_exits.len()) {
        return Err(refused(Some(*more), None));
    }
    let (mut news, mut olds) = (vec![None; count], vec![None; count]);
    let mut open: Vec<(usize, usize)> = old_exits.into_iter().zip(new_exits).collect();
    for (before, now) in &open {
        (news[*before], olds[*now]) = (Some(*now), Some(*before));
    }
    while let Some((before, now)) = open.pop() {
        let (was, is) = (&old.steps[before], &new.steps[now]);
        if std::mem::discriminant(&was.action) != std::mem::discriminant(&is.action) {
            let outcome = Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED;
            return Err(Update::refused(outcome, Some(is.node)));
        }
        if was.dependencies.len() != is.dependencies.len() {
            return Err(refused(Some(now), None));
        }
        for (old_from, new_from) in was.dependencies.iter().zip(&is.dependencies) {
            match (news[*old_from], olds[*new_from]) {
                (None, None) => {
                    (news[*old_from], olds[*new_from]) = (Some(*new_from), Some(*old_from));
                    open.push((*old_from, *new_from));
                }
                (Some(paired), _) if paired == *new_from => {}
                _ => return Err(refused(Some(now), Some(*new_from))),
            }
        }
    }
    // Of as many nodes, fewer are exits: then some depend on nothing that was looked at.
    let all: Option<Vec<usize>> = news.into_iter().collect();
    all.ok_or_else(|| refused(None, None))
}

/// The steps that none depends on.
fn exits(plan: &Plan) -> Vec<usize> {
    let mut is_exit = vec![true; plan.steps.len()];
    for step in &plan.steps {
        for from in &step.dependencies {
            is_exit[*from] = false;
        }
    }
    (0..plan.steps.len())
        .filter(|index| is_exit[*index])
        .collect()
}

/// What keeps one plan from becoming the other.
fn compare(old: &Plan, new: &Plan, keeps_priorities: bool) -> Result<(), Update> {
    for (before, now) in old.steps.iter().zip(pair(old, new)?) {
        compare_steps(before, &new.steps[now], keeps_priorities)?;
    }
    Ok(())
}

/// Two steps of one kind.
fn compare_steps(old: &Step, new: &Step, keeps_priorities: bool) -> Result<(), Update> {
    let check = |fits: bool, outcome| match fits {
        true => Ok(()),
        false => Err(Update::refused(outcome, Some(new.node))),
    };
    match (&old.action, &new.action) {
        (Action::Child(old), Action::Child(new)) => compare(old, new, keeps_priorities),
        (Action::Conditional(old), Action::Conditional(new)) => {
            let is_same = old.kind == new.kind
                && Arc::ptr_eq(&old.cell, &new.cell)
                && old.bodies.len() == new.bodies.len();
            check(
                is_same,
                Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED,
            )?;
            let mut bodies = old.bodies.iter().zip(&new.bodies);
            bodies.try_for_each(|(old, new)| compare(old, new, keeps_priorities))
        }
        (Action::Allocate(old), Action::Allocate(new)) => check(
            Arc::ptr_eq(old, new),
            Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED,
        ),
        (Action::Free(old), Action::Free(new)) => check(
            old == new,
            Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_NOT_SUPPORTED,
        ),
        (Action::Kernel(old), Action::Kernel(new)) => {
            check(
                old.context == new.context,
                Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_UNSUPPORTED_FUNCTION_CHANGE,
            )?;
            let is_kept = old.is_cooperative() == new.is_cooperative()
                && (!keeps_priorities || old.priority() == new.priority());
            check(
                is_kept,
                Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_ATTRIBUTES_CHANGED,
            )
        }
        (old, new) => check(
            can_become(old, new),
            Outcome::CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED,
        ),
    }
}

/// Steps keep the names of the graph that was made executable, and stay disabled.
fn take_over(old: &mut Plan, mut new: Plan) {
    let Ok(pairs) = pair(old, &new) else {
        return;
    };
    for (step, now) in old.steps.iter_mut().zip(pairs) {
        let action = std::mem::replace(&mut new.steps[now].action, Action::Empty);
        match (&mut step.action, action) {
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
