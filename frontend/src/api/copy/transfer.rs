// SPDX-License-Identifier: Apache-2.0
//! How the bytes of a copy travel.

use gvirtus_abi::CUresult;
use gvirtus_protocol::command::Copy2D;
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{Returns, Side};
use crate::api::{INVALID_VALUE, Status};
use crate::session::{Session, StreamRef};
use crate::wire::{Command, Payload, Rows};

/// A copy that is not captured.
///
/// # Safety
///
/// Host memory is as CUDA asks.
pub(super) unsafe fn copy_now(
    session: &Session,
    stream: StreamRef,
    from: Side,
    to: Side,
    returns: Returns,
) -> Status {
    session.before_work(stream)?;
    let (from, to, is_host) = session.as_device(from, to);
    let is_shared = session.before_use(stream, &device_addresses([from, to]))?;
    let is_host = is_host || is_shared;
    match (from, to) {
        // SAFETY: the caller's promise.
        (Side::Host(from), Side::Device(to)) => unsafe {
            host_to_device(session, stream, from, to, returns)?;
            // Such a copy waits for the device first.
            if returns == Returns::WhenDone && is_host {
                session.wait_for_stream(stream)?;
            }
            Ok(())
        },
        // SAFETY: the caller's promise.
        (Side::Device(from), Side::Host(to)) => unsafe {
            device_to_host(session, stream, from, to)?;
            session.after_copy()
        },
        (Side::Device(from), Side::Device(to)) => {
            device_to_device(session, stream, from, to)?;
            if is_host && returns == Returns::WhenDone {
                session.wait_for_stream(stream)?;
            }
            Ok(())
        }
        // SAFETY: the caller's promise.
        (Side::Host(from), Side::Host(to)) => unsafe { host_to_host(session, stream, from, to) },
    }
}

/// # Safety
///
/// `from` is readable.
unsafe fn host_to_device(
    session: &Session,
    stream: StreamRef,
    from: Rows,
    to: Rows,
    returns: Returns,
) -> Status {
    check_host(from)?;
    // CUDA reads page-locked memory when the stream comes to the copy; a function of the
    // application before it may still write what is to be copied.
    if returns == Returns::AtOnce
        && session.wire.has_host_functions()
        && session.is_page_locked(from.address)
    {
        session.wait_for_stream(stream)?;
    }
    let to = session.device_rows(to, from)?;
    let mut body = to.body(stream);
    body.synchronous = U32::new((returns == Returns::WhenDone).into());
    let command = Command {
        opcode: opcode::cuMemcpyHtoDAsync_v2,
        context: stream.context,
    };
    let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body.as_bytes());
    // SAFETY: the caller's promise.
    unsafe {
        session
            .wire
            .post_payload(command, fill, Payload::Rows(from))
    }
}

/// # Safety
///
/// `to` is writable.
unsafe fn device_to_host(session: &Session, stream: StreamRef, from: Rows, to: Rows) -> Status {
    check_host(to)?;
    let body = session.device_rows(from, to)?.body(stream);
    let command = Command {
        opcode: opcode::cuMemcpyDtoHAsync_v2,
        context: stream.context,
    };
    let fill = |buffer: &mut Vec<u8>| buffer.extend_from_slice(body.as_bytes());
    // SAFETY: the caller's promise; there is no payload to send.
    let outcome = unsafe { session.wire.call(command, fill, Payload::None, to)? };
    session.wire.faults().take_deferred()?;
    outcome.successful().map(drop)
}

fn device_to_device(session: &Session, stream: StreamRef, from: Rows, to: Rows) -> Status {
    session.check_rows(from)?;
    session.check_rows(to)?;
    let (width_bytes, rows) = common_rows(from, to);
    for (from, to) in rows {
        let words = [
            to as u64,
            from as u64,
            width_bytes as u64,
            stream.number.into(),
        ];
        session.wire.post(
            Command {
                opcode: opcode::cuMemcpyDtoDAsync_v2,
                context: stream.context,
            },
            |buffer| {
                for word in words {
                    buffer.extend_from_slice(&word.to_le_bytes());
                }
            },
        )?;
    }
    Ok(())
}

/// # Safety
///
/// `from` is readable and `to` writable.
unsafe fn host_to_host(session: &Session, stream: StreamRef, from: Rows, to: Rows) -> Status {
    check_host(from)?;
    check_host(to)?;
    let word = U64::new(stream.number.into());
    session.call_or_deferred(opcode::cuStreamSynchronize, stream.context, word.as_bytes())?;
    let (width_bytes, rows) = common_rows(from, to);
    for (from, to) in rows {
        // SAFETY: the caller's promise; the rows may overlap.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, width_bytes) };
    }
    Ok(())
}

/// Pairs of rows of equal length. Of two sides, one may have become a single row.
fn common_rows(from: Rows, to: Rows) -> (usize, impl Iterator<Item = (usize, usize)>) {
    let split = |rows: Rows, like: Rows| match rows.height == like.height {
        true => rows,
        false => Rows {
            width_bytes: like.width_bytes,
            height: like.height,
            pitch_bytes: like.width_bytes,
            ..rows
        },
    };
    let (from, to) = match from.height >= to.height {
        true => (from, split(to, from)),
        false => (split(from, to), to),
    };
    (from.width_bytes, from.addresses().zip(to.addresses()))
}

/// Rows in device memory, as they travel.
struct DeviceRows {
    address: u64,
    pitch_bytes: u64,
    width_bytes: u64,
    height: u64,
}

impl DeviceRows {
    const fn body(&self, stream: StreamRef) -> Copy2D {
        Copy2D {
            device_address: U64::new(self.address),
            device_pitch_bytes: U64::new(self.pitch_bytes),
            width_bytes: U64::new(self.width_bytes),
            height: U64::new(self.height),
            stream: U32::new(stream.number),
            synchronous: U32::new(1),
        }
    }
}

impl Session {
    /// The sides, of which host memory that the device has too becomes device memory: kernels may
    /// have changed it. The last tells whether there was any.
    fn as_device(&self, from: Side, to: Side) -> (Side, Side, bool) {
        if !self.shared.is_used() {
            return (from, to, false);
        }
        let mirrors = self.shared.mirrors.lock();
        let translate = |side: Side| match side {
            Side::Host(rows) => {
                let found = mirrors.find(rows.address as u64)?;
                let last = rows.pitch_bytes.checked_mul(rows.height - 1)?;
                let end = rows
                    .address
                    .checked_add(last)?
                    .checked_add(rows.width_bytes)?;
                let offset = rows.address - found.host as usize;
                let address = found.device as usize + offset;
                let is_inside = end as u64 <= found.host + found.bytes();
                is_inside.then_some(Side::Device(Rows { address, ..rows }))
            }
            Side::Device(_) => None,
        };
        let (new_from, new_to) = (translate(from), translate(to));
        let is_host = new_from.is_some() || new_to.is_some();
        (new_from.unwrap_or(from), new_to.unwrap_or(to), is_host)
    }

    pub(in crate::api) fn is_device(&self, address: usize) -> bool {
        self.device_ranges.read().is_device(address as u64)
    }

    fn is_page_locked(&self, address: usize) -> bool {
        self.host_ranges.read().find(address as u64).is_some()
    }

    pub(in crate::api) fn wait_for_stream(&self, stream: StreamRef) -> Status {
        let word = U64::new(stream.number.into());
        let body = gvirtus_protocol::command::Word { word };
        let body = body.as_bytes();
        self.call_or_deferred(opcode::cuStreamSynchronize, stream.context, body)
            .map(drop)
    }

    pub(super) fn check_rows(&self, rows: Rows) -> Status {
        self.check_device_rows(
            rows.address as u64,
            rows.width_bytes as u64,
            rows.height as u64,
            rows.pitch_bytes as u64,
        )
    }

    /// The device's side of a copy, if it is device memory.
    fn device_rows(&self, rows: Rows, host: Rows) -> Result<DeviceRows, CUresult> {
        self.check_rows(rows)?;
        debug_assert_eq!(rows.bytes(), host.bytes(), "both sides have one size");
        Ok(DeviceRows {
            address: rows.address as u64,
            pitch_bytes: rows.pitch_bytes as u64,
            width_bytes: rows.width_bytes as u64,
            height: rows.height as u64,
        })
    }
}

pub(in crate::api) fn check_host(rows: Rows) -> Status {
    let last = rows.pitch_bytes.checked_mul(rows.height - 1);
    let end = last
        .and_then(|last| last.checked_add(rows.width_bytes))
        .and_then(|bytes| bytes.checked_add(rows.address));
    // The memory of a process ends long before this.
    if rows.address == 0 || end.is_none_or(|end| end > isize::MAX as usize) {
        return Err(INVALID_VALUE);
    }
    Ok(())
}

/// Where the sides begin that are on the device.
fn device_addresses(sides: [Side; 2]) -> Vec<u64> {
    let on_device = sides.into_iter().filter_map(|side| match side {
        Side::Device(rows) => Some(rows.address as u64),
        Side::Host(_) => None,
    });
    on_device.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_and_without_gaps_are_paired() {
        let gaps = Rows::new(1000, 4, 3, 16);
        let dense = Rows::new(5000, 4, 3, 4);
        assert_eq!((dense.height, dense.width_bytes), (1, 12));
        for (from, to, expected) in [
            (gaps, dense, vec![(1000, 5000), (1016, 5004), (1032, 5008)]),
            (dense, gaps, vec![(5000, 1000), (5004, 1016), (5008, 1032)]),
        ] {
            let (width, rows) = common_rows(from, to);
            assert_eq!((width, rows.collect::<Vec<_>>()), (4, expected));
        }
        let (width, rows) = common_rows(dense, dense);
        assert_eq!((width, rows.count()), (12, 1));
    }

    #[test]
    fn host_rows_outside_of_all_memory_are_refused() {
        assert_eq!(check_host(Rows::line(4096, 10)), Ok(()));
        for rows in [
            Rows::line(0, 10),
            Rows::line(usize::MAX - 4, 10),
            Rows::new(4096, 8, usize::MAX / 2, 16),
        ] {
            assert_eq!(check_host(rows), Err(INVALID_VALUE));
        }
    }
}
