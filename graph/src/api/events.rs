// SPDX-License-Identifier: Apache-2.0
//! Nodes that record and await events.

use gvirtus_abi::{CUevent, CUgraph, CUgraphExec, CUgraphNode};

use super::{Status, append, set_payload, tell};
use crate::payload::Payload;
use crate::platform::platform;
use crate::world::with;

macro_rules! event_nodes {
    ($($kind:ident => $add:ident, $get:ident, $set:ident, $set_executable:ident;)*) => {$(
        pub unsafe fn $add(
            phGraphNode: *mut CUgraphNode,
            hGraph: CUgraph,
            dependencies: *const CUgraphNode,
            numDependencies: usize,
            event: CUevent,
        ) -> Status {
            platform()?.check_event(event)?;
            let payload = Payload::$kind(event);
            // SAFETY: the contract of cuda.h.
            unsafe { append(phGraphNode, hGraph, dependencies, numDependencies, payload) }
        }

        pub unsafe fn $get(hNode: CUgraphNode, event_out: *mut CUevent) -> Status {
            let read = |payload: &Payload| match payload {
                Payload::$kind(event) => Some(*event),
                _ => None,
            };
            // SAFETY: the contract of cuda.h.
            unsafe { tell(hNode, event_out, read) }
        }

        pub unsafe fn $set(hNode: CUgraphNode, event: CUevent) -> Status {
            platform()?.check_event(event)?;
            set_payload(hNode, Payload::$kind(event))
        }

        pub unsafe fn $set_executable(
            hGraphExec: CUgraphExec,
            hNode: CUgraphNode,
            event: CUevent,
        ) -> Status {
            platform()?.check_event(event)?;
            with(|world| world.set_step(hGraphExec, hNode, &Payload::$kind(event)))
        }
    )*};
}

event_nodes! {
    EventRecord => cuGraphAddEventRecordNode, cuGraphEventRecordNodeGetEvent,
        cuGraphEventRecordNodeSetEvent, cuGraphExecEventRecordNodeSetEvent;
    EventWait => cuGraphAddEventWaitNode, cuGraphEventWaitNodeGetEvent,
        cuGraphEventWaitNodeSetEvent, cuGraphExecEventWaitNodeSetEvent;
}
