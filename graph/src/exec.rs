// SPDX-License-Identifier: Apache-2.0
//! Executable graphs.

use std::sync::Arc;

use gvirtus_abi::{
    CUdeviceptr, CUgraph, CUgraphExec, CUgraphInstantiate_flags as Flags, CUgraphNode, CUresult,
    CUstream,
};

use crate::capture;
use crate::payload::{Batch, Memcpy, Memset, Payload};
use crate::plan::{Action, Plan, Refusal, Step};
use crate::platform::{Launch, Stream, platform};
use crate::process::state;
use crate::world::{GraphId, Kind, NodeId, World, with};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// An executable graph.
pub(crate) struct Exec {
    /// As `cuGraphExecGetId` says.
    pub(crate) number: u32,
    pub(crate) flags: u64,
    pub(crate) plan: Arc<Plan>,
    /// Where it was launched last.
    last: Option<Stream>,
}

impl Exec {
    pub(crate) fn uses_priorities(&self) -> bool {
        self.flags & u64::from(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY.0) != 0
    }

    fn frees_on_launch(&self) -> bool {
        self.flags & u64::from(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH.0) != 0
    }
}

/// Frees what an allocation node allocated, for `cuMemFree` and `cuMemFreeAsync`. Whether it was
/// such memory.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for memory of a node that is not allocated now.
pub fn free_outside(address: CUdeviceptr) -> Result<bool, CUresult> {
    let memory = state().live.lock().remove(&address.0);
    let Some(memory) = memory else {
        return match crate::memory::is_of_node(address) {
            true => Err(INVALID),
            false => Ok(false),
        };
    };
    memory.set_allocated(false);
    drop(memory);
    crate::memory::give_back();
    Ok(true)
}

/// To be called, under no lock, when a launch is over and its plan dropped.
pub fn launch_finished() {
    crate::objects::run_destructors();
    crate::memory::give_back();
}

impl World {
    /// # Errors
    ///
    /// What the graph has that cannot be executed.
    pub(crate) fn instantiate(&mut self, graph: CUgraph, flags: u64) -> Result<u64, Refusal> {
        let known = u64::from(
            Flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH.0
                | Flags::CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD.0
                | Flags::CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH.0
                | Flags::CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY.0,
        );
        let (id, found) = self.graph(graph)?;
        if flags & !known != 0 || found.is_capturing || self.captures.is_into(id) {
            return Err(INVALID.into());
        }
        if flags & u64::from(Flags::CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH.0) != 0 {
            return Err(gvirtus_driver_face::unsupported("launching a graph from a kernel").into());
        }
        let is_unique = |payload: &Payload| matches!(payload, Payload::Allocate(_));
        if self.any_node(id, &is_unique) && self.is_instantiated(id) {
            return Err(INVALID.into());
        }
        let plan = self.plan(id)?;
        platform()?.check_plan(&plan)?;
        let handle = self.new_handle(Kind::Exec);
        let exec = Exec {
            number: self.new_number(),
            flags,
            plan: Arc::new(plan),
            last: None,
        };
        self.execs.insert(handle, exec);
        Ok(handle)
    }

    /// Whether there is an executable graph of that graph.
    fn is_instantiated(&self, graph: GraphId) -> bool {
        let Some(graph) = self.graphs.get(&graph) else {
            return false;
        };
        self.execs.values().any(|exec| {
            let mut steps = exec.plan.steps.iter();
            steps.any(|step| graph.nodes.contains(&step.node))
        })
    }

    /// The step that a node of the original graph became.
    pub(crate) fn step(
        &mut self,
        exec: CUgraphExec,
        node: CUgraphNode,
    ) -> Result<&mut Step, CUresult> {
        let plan = Arc::make_mut(&mut self.exec(exec)?.plan);
        plan.step_mut(NodeId(node.0)).ok_or(INVALID)
    }

    /// Gives a step of an executable graph new parameters.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for parameters that only another graph can have.
    pub(crate) fn set_step(
        &mut self,
        exec: CUgraphExec,
        node: CUgraphNode,
        payload: &Payload,
    ) -> Result<(), CUresult> {
        let action = self.action(payload).map_err(|refusal| refusal.status)?;
        let step = self.step(exec, node)?;
        if !can_become(&step.action, &action) {
            return Err(INVALID);
        }
        step.action = action;
        Ok(())
    }

    /// Gives a child graph node of an executable graph the parameters of another graph.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for a graph of another shape.
    pub(crate) fn set_child(
        &mut self,
        exec: CUgraphExec,
        node: CUgraphNode,
        graph: GraphId,
    ) -> Result<(), CUresult> {
        let new = self.plan(graph).map_err(|refusal| refusal.status)?;
        let Action::Child(old) = &mut self.step(exec, node)?.action else {
            return Err(INVALID);
        };
        match crate::update::replace(Arc::make_mut(old), new) {
            true => Ok(()),
            false => Err(INVALID),
        }
    }

    /// Allocates and frees what the launch of a plan does.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if something is still allocated from the launch before.
    fn account(&mut self, plan: &Plan, frees_on_launch: bool) -> Result<(), CUresult> {
        let mut live = state().live.lock();
        let mut allocated = Vec::new();
        plan.for_each(&mut |step| {
            if let Action::Allocate(memory) = &step.action {
                allocated.push(memory.clone());
            }
        });
        if !frees_on_launch && allocated.iter().any(|memory| memory.is_allocated()) {
            return Err(INVALID);
        }
        for memory in allocated {
            memory.set_allocated(true);
            live.insert(memory.address().0, memory);
        }
        plan.for_each(&mut |step| {
            if let Action::Free(address) = step.action
                && let Some(memory) = live.remove(&address.0)
            {
                memory.set_allocated(false);
            }
        });
        Ok(())
    }
}

/// Whether the parameters of an executable node may become others.
pub(crate) fn can_become(old: &Action, new: &Action) -> bool {
    match (old, new) {
        (Action::Kernel(old), Action::Kernel(new)) => old.context == new.context,
        (Action::Memcpy(old), Action::Memcpy(new)) => is_same_kind_of_copy(old, new),
        (Action::Memset(old), Action::Memset(new)) => is_same_kind_of_memset(old, new),
        (Action::Child(old), Action::Child(new)) => is_same_shape(old, new),
        (Action::Batch(old), Action::Batch(new)) => is_same_kind_of_batch(old, new),
        (Action::Host(_), Action::Host(_))
        | (Action::Empty, Action::Empty)
        | (Action::EventRecord(_), Action::EventRecord(_))
        | (Action::EventWait(_), Action::EventWait(_)) => true,
        _ => false,
    }
}

/// "The source and destination memory must be allocated from the same contexts as the original",
/// of the same kinds, and the shape one-dimensional or unchanged.
fn is_same_kind_of_copy(old: &Memcpy, new: &Memcpy) -> bool {
    let kinds = |copy: &Memcpy| {
        (
            copy.copy.srcMemoryType,
            copy.copy.dstMemoryType,
            copy.context,
        )
    };
    let shape = |copy: &Memcpy| [copy.copy.WidthInBytes, copy.copy.Height, copy.copy.Depth];
    let is_line = |copy: &Memcpy| copy.copy.Height <= 1 && copy.copy.Depth <= 1;
    kinds(old) == kinds(new) && (is_line(old) && is_line(new) || shape(old) == shape(new))
}

fn is_same_kind_of_memset(old: &Memset, new: &Memset) -> bool {
    let is_line = |memset: &Memset| memset.height <= 1;
    let shape = |memset: &Memset| (memset.element_bytes, memset.width, memset.height);
    old.context == new.context && (is_line(old) && is_line(new) || shape(old) == shape(new))
}

fn is_same_kind_of_batch(old: &Batch, new: &Batch) -> bool {
    let mut pairs = old.operations.iter().zip(&*new.operations);
    old.context == new.context
        && old.operations.len() == new.operations.len()
        && pairs.all(|(old, new)| old.can_become(new))
}

fn is_same_shape(old: &Plan, new: &Plan) -> bool {
    let mut pairs = old.steps.iter().zip(&new.steps);
    old.steps.len() == new.steps.len()
        && pairs.all(|(old, new)| {
            old.dependencies == new.dependencies && can_become(&old.action, &new.action)
        })
}

/// `cuGraphLaunch`.
pub(crate) fn launch(
    exec: CUgraphExec,
    default: CUstream,
    handle: CUstream,
) -> Result<(), CUresult> {
    let platform = platform()?;
    let stream = platform.stream(default, handle)?;
    if capture::is_possible() {
        // A launch cannot be a node.
        capture::check_uncaptured(&stream)?;
    }
    let (plan, before) = with(|world| {
        let found = world.exec(exec)?;
        let (plan, frees) = (found.plan.clone(), found.frees_on_launch());
        world.account(&plan, frees)?;
        let before = world.exec(exec)?.last.replace(stream);
        Ok::<_, CUresult>((plan, before))
    })?;
    platform.launch(Launch {
        exec: exec.0,
        plan,
        stream,
        before,
    })
}
