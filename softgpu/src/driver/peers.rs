// SPDX-License-Identifier: Apache-2.0
//! Access of one device to the memory of another (`cuda.h`: "Peer Context Memory Access"), and
//! copies between them.
//!
//! A context is given access to another one; the devices' memories check it device by device, so a
//! second context of the same device has it too.

use gvirtus_abi::{CUcontext, CUdevice, CUdevice_P2PAttribute, CUdeviceptr, CUresult, CUstream};

use super::arguments::out;
use super::context::{self, Context};
use super::copy;
use super::device::device;
use super::scheduler::SCHEDULER;

/// A context ends: what it had access to, and who had access to it, needs none any more.
pub(super) fn forget_context(context: &Context) {
    let peers = std::mem::take(&mut *context.peers.lock());
    for peer in peers {
        disable(context, peer.1);
    }
}

fn disable(context: &Context, peer_ordinal: i32) {
    let Ok(peer) = device(CUdevice(peer_ordinal)) else {
        return;
    };
    if let (Some(own), Some(other)) = (context.device.memory_in_use(), peer.memory_in_use()) {
        own.disable_peer(other);
    }
}

/// All devices lie in one process, so each reaches each other one.
pub(crate) unsafe fn cuDeviceCanAccessPeer(
    canAccessPeer: *mut i32,
    dev: CUdevice,
    peerDev: CUdevice,
) -> Result<(), CUresult> {
    device(dev)?;
    device(peerDev)?;
    out!(canAccessPeer = i32::from(dev != peerDev));
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetP2PAttribute(
    value: *mut i32,
    attrib: CUdevice_P2PAttribute,
    srcDevice: CUdevice,
    dstDevice: CUdevice,
) -> Result<(), CUresult> {
    use CUdevice_P2PAttribute as A;
    device(srcDevice)?;
    device(dstDevice)?;
    if srcDevice == dstDevice {
        return Err(CUresult::CUDA_ERROR_INVALID_DEVICE);
    }
    out!(
        value = match attrib {
            A::CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED
            | A::CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED => 1,
            // All are equally near, and arrays stay on their device.
            other if other.name().is_some() => 0,
            _ => return Err(CUresult::CUDA_ERROR_INVALID_VALUE),
        }
    );
    Ok(())
}

pub(crate) fn cuCtxEnablePeerAccess(peerContext: CUcontext, Flags: u32) -> Result<(), CUresult> {
    let context = context::usable()?;
    let peer = context::find(peerContext)?;
    if Flags != 0 {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    if peer.id == context.id {
        return Err(CUresult::CUDA_ERROR_INVALID_CONTEXT);
    }
    if peer.device.ordinal == context.device.ordinal {
        return Err(CUresult::CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
    }
    let mut peers = context.peers.lock();
    if peers.iter().any(|(id, _)| *id == peer.id) {
        return Err(CUresult::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
    }
    context.device.memory()?.enable_peer(peer.device.memory()?);
    peers.push((peer.id, peer.device.ordinal));
    Ok(())
}

pub(crate) fn cuCtxDisablePeerAccess(peerContext: CUcontext) -> Result<(), CUresult> {
    let context = context::usable()?;
    let peer = context::find(peerContext)?;
    let mut peers = context.peers.lock();
    let Some(index) = peers.iter().position(|(id, _)| *id == peer.id) else {
        return Err(CUresult::CUDA_ERROR_PEER_ACCESS_NOT_ENABLED);
    };
    let (_, ordinal) = peers.swap_remove(index);
    drop(peers);
    // Kernels that were launched before may still use it.
    SCHEDULER.wait_domain(context.domain);
    disable(&context, ordinal);
    Ok(())
}

/// Comes after all work of both contexts.
pub(crate) unsafe fn cuMemcpyPeer(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    dstContext: CUcontext,
    srcDevice: CUdeviceptr,
    srcContext: CUcontext,
    ByteCount: usize,
) -> Result<(), CUresult> {
    for context in [dstContext, srcContext] {
        SCHEDULER.wait_domain(context::find(context)?.domain);
    }
    // SAFETY: the same contract.
    unsafe { copy::cuMemcpyDtoD_v2(default_stream, dstDevice, srcDevice, ByteCount)? };
    SCHEDULER.wait_domain(context::usable()?.domain);
    Ok(())
}

pub(crate) unsafe fn cuMemcpyPeerAsync(
    default_stream: CUstream,
    dstDevice: CUdeviceptr,
    dstContext: CUcontext,
    srcDevice: CUdeviceptr,
    srcContext: CUcontext,
    ByteCount: usize,
    hStream: CUstream,
) -> Result<(), CUresult> {
    context::find(dstContext)?;
    context::find(srcContext)?;
    // SAFETY: the same contract.
    unsafe { copy::cuMemcpyDtoDAsync_v2(default_stream, dstDevice, srcDevice, ByteCount, hStream) }
}
