// SPDX-License-Identifier: Apache-2.0
//! The device runtime: `printf`, assertions, the heap.
//!
//! Arguments are in each lane's local memory, at the offsets that [`Builtin`] gives, counted from
//! the end of the caller's frame.

use super::device_runtime;
use super::group::Mask;
use super::lanes::{Lanes, WARP};
use super::launch::Launch;
use super::state::BlockState;
use crate::ir::Builtin;
use crate::printf::{self, Arguments};

/// Longest device string that is printed, in bytes.
const STRING_BYTES_MAX: usize = 1 << 16;

/// What can go wrong.
pub(crate) enum BuiltinError {
    /// An assertion failed; the line has been printed.
    Assert { lane: u32, message: String },
    /// A pointer leads nowhere.
    BadPointer { lane: u32, address: u64 },
}

/// One lane's call.
pub(super) struct Call<'a> {
    state: &'a mut BlockState,
    lanes: usize,
    lane: usize,
    /// Local address of the parameter area.
    area: u64,
}

impl Call<'_> {
    pub(super) fn argument(&self, offset: u64, bytes: usize) -> u64 {
        let mut value = [0; 8];
        // The area lies inside the local memory that every frame has past its end.
        self.state.read_local(
            self.lanes,
            self.lane,
            self.area + offset,
            &mut value[..bytes],
        );
        u64::from_le_bytes(value)
    }

    pub(super) fn set_result(&mut self, offset: u64, value: u64, bytes: usize) {
        let value = value.to_le_bytes();
        self.state
            .write_local(self.lanes, self.lane, self.area + offset, &value[..bytes]);
    }

    pub(super) fn lane(&self) -> usize {
        self.lane
    }

    /// The number of the block in its grid.
    pub(super) fn block(&self) -> u64 {
        let special = &self.state.special;
        let [x, y, z] = special.block_index.map(u64::from);
        let [width, height, _] = special.grid_dimension.map(u64::from);
        (z * height + y) * width + x
    }

    /// Writes through a generic address; false if it leads nowhere.
    pub(super) fn write(&mut self, address: u64, value: &[u8]) -> bool {
        self.state
            .write_generic(self.lanes, self.lane, address, value)
    }

    fn string(&self, address: u64) -> Result<Vec<u8>, BuiltinError> {
        let mut text = Vec::new();
        let mut byte = [0];
        while text.len() < STRING_BYTES_MAX {
            let at = address.wrapping_add(text.len() as u64);
            if !self
                .state
                .read_generic(self.lanes, self.lane, at, &mut byte)
            {
                return Err(BuiltinError::BadPointer {
                    lane: self.lane as u32,
                    address: at,
                });
            }
            if byte[0] == 0 {
                break;
            }
            text.push(byte[0]);
        }
        Ok(text)
    }
}

/// The values of a `printf`: packed like a C structure.
struct Packed<'a, 'b> {
    call: &'a Call<'b>,
    next: u64,
    /// Bytes of all strings.
    string_bytes: usize,
    error: Option<BuiltinError>,
}

impl Arguments for Packed<'_, '_> {
    fn next(&mut self, bytes: usize) -> Option<u64> {
        let at = self.next.next_multiple_of(bytes as u64);
        self.next = at + bytes as u64;
        let mut value = [0; 8];
        let Call {
            state, lanes, lane, ..
        } = self.call;
        if !state.read_generic(*lanes, *lane, at, &mut value[..bytes]) {
            self.error = Some(BuiltinError::BadPointer {
                lane: *lane as u32,
                address: at,
            });
            return None;
        }
        Some(u64::from_le_bytes(value))
    }

    fn string(&mut self, address: u64) -> Option<Vec<u8>> {
        let string = self.call.string(address);
        let string = string.map_err(|error| self.error = Some(error)).ok()?;
        self.string_bytes += string.len();
        Some(string)
    }
}

/// Runs a device runtime function for the lanes of `mask`, in ascending order.
pub(crate) fn run(
    launch: &Launch<'_>,
    lanes: &Lanes,
    state: &mut BlockState,
    mask: &Mask,
    builtin: Builtin,
) -> Result<(), BuiltinError> {
    let (mut failed, mut first_warp) = (None, 0);
    for lane in mask.lanes(lanes.warps) {
        let area = u64::from(lanes.local_end);
        let mut call = Call {
            state,
            lanes: lanes.warps * WARP,
            lane,
            area,
        };
        match builtin {
            Builtin::Printf => print(launch, &mut call)?,
            // The whole warp prints, then all is over.
            Builtin::AssertFail if failed.is_none() => {
                failed = Some(fail_assertion(launch, &call)?);
                first_warp = lane / WARP;
            }
            Builtin::AssertFail if lane / WARP == first_warp => {
                fail_assertion(launch, &call)?;
            }
            Builtin::AssertFail => break,
            Builtin::Device(function) => device_runtime::run(launch, &mut call, function),
            Builtin::Malloc => {
                let bytes = call.argument(0, 8);
                let address = launch.allocate(bytes);
                call.set_result(8, address.unwrap_or(0), 8);
            }
            Builtin::SetConditional => {
                let (address, value) = (call.argument(0, 8), call.argument(8, 4) as u32);
                if !call.write(address, &value.to_le_bytes()) {
                    return Err(BuiltinError::BadPointer {
                        lane: lane as u32,
                        address,
                    });
                }
            }
            Builtin::Free => {
                let address = call.argument(0, 8);
                if address != 0 && !launch.free(address) {
                    return Err(BuiltinError::BadPointer {
                        lane: lane as u32,
                        address,
                    });
                }
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

fn print(launch: &Launch<'_>, call: &mut Call<'_>) -> Result<(), BuiltinError> {
    let (text, values) = (call.argument(0, 8), call.argument(8, 8));
    let result = if text == 0 {
        -1
    } else {
        let text = call.string(text)?;
        let mut arguments = Packed {
            call,
            next: values,
            string_bytes: 0,
            error: None,
        };
        let mut out = Vec::new();
        let used = printf::format(&text, &mut arguments, &mut out);
        let stored_bytes = printf::stored_bytes(used, arguments.string_bytes);
        if let Some(error) = arguments.error {
            return Err(error);
        }
        launch.printf.write(&out, stored_bytes);
        used as i32
    };
    call.set_result(16, u64::from(result as u32), 4);
    Ok(())
}

/// Prints the line that CUDA prints.
fn fail_assertion(launch: &Launch<'_>, call: &Call<'_>) -> Result<BuiltinError, BuiltinError> {
    let text = |offset| -> Result<String, BuiltinError> {
        let string = call.string(call.argument(offset, 8))?;
        Ok(String::from_utf8_lossy(&string).into_owned())
    };
    let (message, file, function) = (text(0)?, text(8)?, text(24)?);
    let line = call.argument(16, 4);
    let special = &call.state.special;
    let [bx, by, bz] = special.block_index;
    let [tx, ty, tz]: [u32; 3] = std::array::from_fn(|axis| special.tables.thread[axis][call.lane]);
    let message = format!(
        "{file}:{line}: {function}: block: [{bx},{by},{bz}], thread: [{tx},{ty},{tz}] \
         Assertion `{message}` failed."
    );
    launch.printf.write_error(format!("{message}\n").as_bytes());
    Ok(BuiltinError::Assert {
        lane: call.lane as u32,
        message,
    })
}
