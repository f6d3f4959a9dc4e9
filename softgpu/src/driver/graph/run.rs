// SPDX-License-Identifier: Apache-2.0
//! Runs of graphs.
//!
//! A graph is one operation of its stream, which does the nodes one after the other in an order
//! that satisfies their dependencies; a kernel already uses all cores. Only event nodes divide it,
//! because an event is complete, and waited for, where its node is, and stream memory operations,
//! because they wait on threads of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use gvirtus_abi::{CUevent, CUresult};
use gvirtus_graph::{Action, Batch, MemoryOperation, Memset, Plan, Switch, launch_finished};
use parking_lot::Mutex;

use super::copies::transfers;
use crate::driver::copy::Transfer;
use crate::driver::engine::Launch;
use crate::driver::host_function::{HostCall, HostFunction};
use crate::driver::limits::SHORT_COPY_BYTES;
use crate::driver::scheduler::{Marker, Placement, SCHEDULER};
use crate::driver::stream::{self, Target};
use crate::driver::stream_memory::Operation as MemoryCall;
use crate::driver::{event, launch, memset};

/// Operations of a graph that is run on the launching thread if nothing is before it.
const SHORT_OPERATIONS_MAX: usize = 8;
/// Executable graphs whose last run is remembered before those that are over are forgotten.
const REMEMBERED_RUNS: usize = 64;

/// A node, ready to run.
enum Operation {
    Kernel(Launch),
    Copy(Vec<Transfer>),
    Memset(Memset),
    Host(HostCall<HostFunction>),
    Conditional(Switch, Vec<Vec<Self>>),
}

/// What a launch does, in its order.
enum Part {
    Run(Vec<Operation>),
    Record(CUevent),
    Wait(CUevent),
    Batch(Batch),
}

/// Ends of the last runs, by the number of the executable graph.
static LAST: Mutex<BTreeMap<u64, Marker>> = Mutex::new(BTreeMap::new());

pub(super) fn launch(launch: gvirtus_graph::Launch) -> Result<(), CUresult> {
    let target = stream::target(launch.stream.handle, launch.stream.handle)?;
    let mut parts = vec![Part::Run(Vec::new())];
    divide(&launch.plan, &mut parts)?;
    // The graph may be destroyed while it runs; what it keeps stays until the end.
    let plan = launch.plan;
    let mut last = LAST.lock();
    if let Some(before) = last.get(&launch.exec)
        && before.stream != target.id()
    {
        SCHEDULER.depend(target.id(), *before);
    }
    let mut end = set_conditions(&target, &plan);
    for part in parts {
        match part {
            Part::Record(event) => event::record_on(event, &target)?,
            Part::Wait(event) => event::find(event)?.hold_back(&target),
            Part::Batch(batch) => {
                for MemoryOperation(operation) in &*batch.operations {
                    end = MemoryCall::parse(operation)?.submit(&target).or(end);
                }
            }
            Part::Run(operations) => end = Some(submit(&target, operations, plan.clone())),
        }
    }
    if let Some(end) = end {
        if last.len() > REMEMBERED_RUNS {
            last.retain(|_, marker| !SCHEDULER.is_complete(*marker));
        }
        last.insert(launch.exec, end);
    }
    drop(last);
    target.context().error.check()
}

fn submit(target: &Target, operations: Vec<Operation>, plan: Arc<Plan>) -> Marker {
    let is_short = operations.len() <= SHORT_OPERATIONS_MAX
        && operations.iter().all(|operation| match operation {
            Operation::Kernel(launch) => launch.is_short(),
            Operation::Copy(transfers) => {
                transfers.iter().map(Transfer::bytes).sum::<usize>() <= SHORT_COPY_BYTES
            }
            Operation::Memset(memset) => memset.width * memset.height <= SHORT_COPY_BYTES,
            Operation::Host(_) | Operation::Conditional(..) => false,
        });
    let placement = match is_short {
        true => Placement::Here,
        false => Placement::Worker,
    };
    SCHEDULER.submit(target.id(), placement, move || {
        let result = run(&operations);
        drop((operations, plan));
        launch_finished();
        result
    })
}

/// Conditions with a default get it before anything else runs.
fn set_conditions(target: &Target, plan: &Plan) -> Option<Marker> {
    let mut cells = Vec::new();
    collect_conditions(plan, &mut cells);
    if cells.is_empty() {
        return None;
    }
    Some(SCHEDULER.submit(target.id(), Placement::Here, move || {
        for (address, value) in cells {
            cell(address).store(value, std::sync::atomic::Ordering::SeqCst);
        }
        Ok(())
    }))
}

fn collect_conditions(plan: &Plan, cells: &mut Vec<(u64, u32)>) {
    let with_default = plan.conditions.iter();
    cells.extend(with_default.filter_map(|(cell, default)| Some((cell.address().0, (*default)?))));
    for step in &plan.steps {
        match &step.action {
            Action::Child(plan) => collect_conditions(plan, cells),
            Action::Conditional(switch) => {
                for body in &switch.bodies {
                    collect_conditions(body, cells);
                }
            }
            _ => {}
        }
    }
}

/// The number of a condition, which the plan keeps allocated.
fn cell(address: u64) -> &'static std::sync::atomic::AtomicU32 {
    let place = std::ptr::with_exposed_provenance::<std::sync::atomic::AtomicU32>(address as usize);
    // SAFETY: device memory stays mapped, allocations are aligned, and the plan owns this one.
    unsafe { &*place }
}

/// Makes the steps of a plan ready and puts them in their order behind the last part.
fn divide(plan: &Plan, parts: &mut Vec<Part>) -> Result<(), CUresult> {
    for index in &plan.order {
        let step = &plan.steps[*index];
        if !step.is_enabled {
            continue;
        }
        match &step.action {
            Action::EventRecord(event) => parts.push(Part::Record(*event)),
            Action::EventWait(event) => parts.push(Part::Wait(*event)),
            Action::Batch(batch) => parts.push(Part::Batch(batch.clone())),
            Action::Child(plan) => divide(plan, parts)?,
            action => {
                let Some(operation) = operation(action)? else {
                    continue;
                };
                match parts.last_mut() {
                    Some(Part::Run(operations)) => operations.push(operation),
                    _ => parts.push(Part::Run(vec![operation])),
                }
            }
        }
    }
    Ok(())
}

/// A step other than an event or a graph; nothing for one that does nothing.
fn operation(action: &Action) -> Result<Option<Operation>, CUresult> {
    Ok(Some(match action {
        Action::Kernel(kernel) => Operation::Kernel(launch::prepare(kernel)?),
        Action::Memcpy(memcpy) => Operation::Copy(transfers(&memcpy.copy)?),
        Action::Memset(memset) => {
            memset::check(memset)?;
            Operation::Memset(*memset)
        }
        Action::Host(host) => {
            let (function, data) = (host.function(), host.data());
            // SAFETY: the application promises that it can be called for as long as a graph does.
            Operation::Host(unsafe { HostCall::<HostFunction>::new(function, data)? })
        }
        Action::Conditional(switch) => {
            let bodies = switch.bodies.iter().map(|body| body_operations(body));
            Operation::Conditional(switch.clone(), bodies.collect::<Result<_, _>>()?)
        }
        Action::Child(_)
        | Action::Empty
        | Action::EventRecord(_)
        | Action::EventWait(_)
        | Action::Allocate(_)
        | Action::Batch(_)
        | Action::Free(_) => return Ok(None),
    }))
}

/// The body of a condition has no event nodes and no stream memory operations.
fn body_operations(plan: &Plan) -> Result<Vec<Operation>, CUresult> {
    let mut parts = vec![Part::Run(Vec::new())];
    divide(plan, &mut parts)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(Part::Run(operations)), true) => Ok(operations),
        _ => Err(CUresult::CUDA_ERROR_NOT_SUPPORTED),
    }
}

fn run(operations: &[Operation]) -> Result<(), CUresult> {
    for operation in operations {
        match operation {
            Operation::Kernel(kernel) => launch::run_whole(kernel)?,
            Operation::Copy(transfers) => transfers.iter().for_each(|transfer| transfer.run()),
            Operation::Memset(memset) => memset::run(memset),
            Operation::Host(call) => call.run(),
            Operation::Conditional(switch, bodies) => run_conditional(switch, bodies)?,
        }
    }
    Ok(())
}

fn run_conditional(switch: &Switch, bodies: &[Vec<Operation>]) -> Result<(), CUresult> {
    let cell = cell(switch.cell.address().0);
    loop {
        let number = cell.load(std::sync::atomic::Ordering::SeqCst);
        let Some(body) = switch.body(number, bodies) else {
            return Ok(());
        };
        run(body)?;
        if !switch.repeats() {
            return Ok(());
        }
    }
}
