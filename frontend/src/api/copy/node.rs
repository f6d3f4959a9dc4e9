// SPDX-License-Identifier: Apache-2.0
//! Copies as nodes of graphs.

use gvirtus_abi::{CUDA_MEMCPY3D, CUmemorytype, CUresult};
use gvirtus_graph::{Memcpy, Payload as Node};

use super::transfer::{check_host, copy_now};
use super::{Returns, Shape, Side};
use crate::api::{INVALID_VALUE, Status, copy_box};
use crate::session::{Session, StreamRef};
use crate::wire::Rows;

/// A copy as a node of a graph.
pub(super) fn payload(
    session: &Session,
    stream: &gvirtus_graph::Stream,
    from: Side,
    to: Side,
) -> Result<Node, CUresult> {
    let place = |side: Side| match side {
        Side::Device(rows) => (CUmemorytype::CU_MEMORYTYPE_DEVICE, rows),
        Side::Host(rows) => (CUmemorytype::CU_MEMORYTYPE_HOST, rows),
    };
    for side in [from, to] {
        match side {
            Side::Device(rows) => session.check_rows(rows)?,
            Side::Host(rows) => check_host(rows)?,
        }
    }
    let ((from_kind, from), (to_kind, to)) = (place(from), place(to));
    // Of two sides, one may have become a single row.
    let shape = match from.height >= to.height {
        true => from,
        false => to,
    };
    let pitch = |rows: Rows| match rows.height == shape.height {
        true => rows.pitch_bytes,
        false => shape.width_bytes,
    };
    let (to_side, from_side) = (
        (to_kind, to.address as u64),
        (from_kind, from.address as u64),
    );
    let mut memcpy = Memcpy::line(to_side, from_side, shape.width_bytes, stream.context);
    memcpy.copy.Height = shape.height;
    memcpy.copy.dstPitch = pitch(to);
    memcpy.copy.srcPitch = pitch(from);
    Ok(Node::Memcpy(memcpy))
}

/// The slices of a copy in up to three dimensions.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` for ranges that are no memory.
fn slices(session: &Session, copy: &CUDA_MEMCPY3D) -> Result<Vec<(Side, Side)>, CUresult> {
    let shape = Shape {
        width_bytes: copy.WidthInBytes,
        height: copy.Height,
    };
    let mut slices = Vec::new();
    if copy.WidthInBytes == 0 || copy.Height == 0 {
        return Ok(slices);
    }
    let row = |z: usize, slice: usize, y: usize, height: usize| {
        let height = match height {
            0 => y.checked_add(copy.Height)?,
            height => height,
        };
        z.checked_add(slice)?.checked_mul(height)?.checked_add(y)
    };
    for slice in 0..copy.Depth {
        let from_y = row(copy.srcZ, slice, copy.srcY, copy.srcHeight).ok_or(INVALID_VALUE)?;
        let to_y = row(copy.dstZ, slice, copy.dstY, copy.dstHeight).ok_or(INVALID_VALUE)?;
        let from = shape.side(
            session,
            copy.srcMemoryType,
            (copy.srcHost as usize, copy.srcDevice),
            (copy.srcXInBytes, from_y, copy.srcPitch),
        )?;
        let to = shape.side(
            session,
            copy.dstMemoryType,
            (copy.dstHost as usize, copy.dstDevice),
            (copy.dstXInBytes, to_y, copy.dstPitch),
        )?;
        for side in [from, to] {
            match side {
                Side::Device(rows) => session.check_rows(rows)?,
                Side::Host(rows) => check_host(rows)?,
            }
        }
        slices.push((from, to));
    }
    Ok(slices)
}

/// Whether a copy can be a node of a graph.
///
/// # Errors
///
/// As [`slices`].
pub(in crate::api) fn check_3d(session: &Session, copy: &CUDA_MEMCPY3D) -> Status {
    if has_array(copy) {
        return copy_box::check_node(session, copy);
    }
    slices(session, copy).map(drop)
}

fn has_array(copy: &CUDA_MEMCPY3D) -> bool {
    [copy.srcMemoryType, copy.dstMemoryType].contains(&CUmemorytype::CU_MEMORYTYPE_ARRAY)
}

/// Does the copy of a node. What goes to the host is there on return; what comes from it is read.
///
/// # Safety
///
/// Host memory is as CUDA asks.
pub(in crate::api) unsafe fn copy_3d(
    session: &Session,
    stream: StreamRef,
    copy: &CUDA_MEMCPY3D,
) -> Status {
    if has_array(copy) {
        // SAFETY: the caller's promise.
        return unsafe { copy_box::run_node(session, stream, copy) };
    }
    for (from, to) in slices(session, copy)? {
        // A graph reads its memory, of whatever kind, when it comes to the copy.
        if matches!(from, Side::Host(_)) && session.wire.has_host_functions() {
            session.wait_for_stream(stream)?;
        }
        // SAFETY: the caller's promise.
        unsafe { copy_now(session, stream, from, to, Returns::AtOnce)? };
    }
    Ok(())
}
