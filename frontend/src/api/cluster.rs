// SPDX-License-Identifier: Apache-2.0
//! Occupancy of thread block clusters, which the driver is asked for each time.

use gvirtus_abi::{CUfunction, CUlaunchConfig, CUresult};
use gvirtus_protocol::opcode::{self, Opcode};

use super::launch::{append_launch, launch_config};
use super::{Status, put};
use crate::process::session;

/// `cuOccupancyMaxPotentialClusterSize`.
pub unsafe fn cuOccupancyMaxPotentialClusterSize(
    clusterSize: *mut i32,
    func: CUfunction,
    config: *const CUlaunchConfig,
) -> Status {
    let opcode = opcode::cuOccupancyMaxPotentialClusterSize;
    // SAFETY: the caller's promise.
    unsafe { put(clusterSize, ask(opcode, func, config)?) }
}

/// `cuOccupancyMaxActiveClusters`.
pub unsafe fn cuOccupancyMaxActiveClusters(
    numClusters: *mut i32,
    func: CUfunction,
    config: *const CUlaunchConfig,
) -> Status {
    let opcode = opcode::cuOccupancyMaxActiveClusters;
    // SAFETY: the caller's promise.
    unsafe { put(numClusters, ask(opcode, func, config)?) }
}

/// # Safety
///
/// `config` is null or a whole structure with as many attributes as it says.
unsafe fn ask(
    opcode: Opcode,
    func: CUfunction,
    config: *const CUlaunchConfig,
) -> Result<i32, CUresult> {
    // SAFETY: the caller's promise.
    let (config, attributes) = unsafe { launch_config(config)? };
    let session = session()?;
    let context = session.current()?;
    let kernel = session.kernel(func.0)?;
    let mut body = Vec::new();
    append_launch(&mut body, session, context, &kernel, &config, attributes)?;
    session.wire.faults().check()?;
    let reply = session.call(opcode, context.number, &body)?;
    i32::try_from(reply.promised_word(0)?).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)
}
