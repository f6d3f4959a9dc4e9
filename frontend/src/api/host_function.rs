// SPDX-License-Identifier: Apache-2.0
//! Functions of the application that run in a stream's order. The worker asks for them when their
//! turn has come (see [`crate::wire`]).

use std::ffi::c_void;

use gvirtus_abi::{CUhostFn, CUresult, CUstream, CUstreamCallback};
use gvirtus_graph::{Host, Payload, capture};
use gvirtus_protocol::command::HostFunction;
use gvirtus_protocol::opcode::{self, Opcode};
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, graph_stream};
use crate::process::session;
use crate::wire::Registered;

/// As `cuda.h` declares `CUhostFn`.
pub(crate) type Function = unsafe extern "C" fn(*mut c_void);
/// As `cuda.h` declares `CUstreamCallback`.
pub(crate) type Callback = unsafe extern "C" fn(CUstream, CUresult, *mut c_void);

/// The function behind a `CUhostFn`.
///
/// # Safety
///
/// It is what `cuda.h` declares.
pub(crate) unsafe fn host_function(function: CUhostFn) -> Result<Function, CUresult> {
    let function = function.ok_or(INVALID_VALUE)?;
    // SAFETY: only the type is changed, to the one that the caller promises.
    Ok(unsafe { std::mem::transmute::<unsafe extern "C" fn(), Function>(function) })
}

/// `cuLaunchHostFunc`.
pub unsafe fn cuLaunchHostFunc(
    default_stream: CUstream,
    hStream: CUstream,
    fn_: CUhostFn,
    userData: *mut c_void,
) -> Status {
    if capture::is_possible() {
        let stream = graph_stream(session()?, default_stream, hStream)?;
        let node = || Ok(Payload::Host(Host::new(fn_, userData)?));
        if capture::record(&stream, node)? {
            return Ok(());
        }
    }
    // SAFETY: the caller's promise.
    let function = unsafe { host_function(fn_)? };
    let registered = Registered::function(function, userData);
    post(
        default_stream,
        hStream,
        opcode::cuLaunchHostFunc,
        registered,
    )
}

/// `cuLaunchHostFunc_v2`. How the driver's thread waits for work makes no difference.
pub unsafe fn cuLaunchHostFunc_v2(
    default_stream: CUstream,
    hStream: CUstream,
    fn_: CUhostFn,
    userData: *mut c_void,
    syncMode: u32,
) -> Status {
    if gvirtus_abi::CUhostTaskSyncMode(syncMode).name().is_none() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { cuLaunchHostFunc(default_stream, hStream, fn_, userData) }
}

/// `cuStreamAddCallback`.
pub unsafe fn cuStreamAddCallback(
    default_stream: CUstream,
    hStream: CUstream,
    callback: CUstreamCallback,
    userData: *mut c_void,
    flags: u32,
) -> Status {
    let callback = callback.ok_or(INVALID_VALUE)?;
    if flags != 0 {
        return Err(INVALID_VALUE);
    }
    // SAFETY: only the type is changed, to the one that cuda.h declares.
    let callback = unsafe { std::mem::transmute::<unsafe extern "C" fn(), Callback>(callback) };
    let registered = Registered::callback(callback, hStream, userData);
    post(
        default_stream,
        hStream,
        opcode::cuStreamAddCallback,
        registered,
    )
}

fn post(
    default_stream: CUstream,
    hStream: CUstream,
    opcode: Opcode,
    registered: Registered,
) -> Status {
    let session = session()?;
    let stream = session.stream(default_stream, hStream)?;
    let number = session.wire.register_host_function(registered)?;
    let body = HostFunction {
        stream: U32::new(stream.number),
        function: U64::new(number),
    };
    let posted = session.post(opcode, stream.context, body.as_bytes());
    if posted.is_err() {
        session.wire.forget_host_function(number);
    }
    posted?;
    session.wire.faults().take_deferred()
}
