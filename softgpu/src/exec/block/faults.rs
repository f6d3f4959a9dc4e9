// SPDX-License-Identifier: Apache-2.0
//! What went wrong in a block, with the place where it did.

use super::Block;
use crate::exec::fault::{Fault, Location};
use crate::exec::group::State;
use crate::exec::state::RawFaultKind;
use crate::ir::Space;

impl Block<'_> {
    pub(super) fn location(&self, pc: u32, lane: u32) -> Location {
        let (function, line) = self.launch.program.place(pc);
        let special = &self.state.special;
        Location {
            kernel: self.launch.kernel.name.clone(),
            function: function.name.to_string(),
            block: special.block_index,
            thread: std::array::from_fn(|axis| special.tables.thread[axis][lane as usize]),
            line,
        }
    }

    #[cold]
    pub(super) fn fault(&mut self, pc: u32) -> Fault {
        let Some(raw) = self.state.fault.take() else {
            let text = "an instruction without operands".into();
            return Fault::IllegalInstruction {
                text,
                location: self.location(pc, 0),
            };
        };
        let location = self.location(pc, raw.lane);
        match raw.kind {
            RawFaultKind::Illegal {
                address,
                bytes,
                access,
                space,
            } => {
                let space = space_name(space);
                Fault::IllegalAddress {
                    address,
                    bytes,
                    access,
                    space,
                    location,
                }
            }
            RawFaultKind::Misaligned {
                address,
                bytes,
                access,
            } => Fault::MisalignedAddress {
                address,
                bytes,
                access,
                location,
            },
            RawFaultKind::WrongSpace { address, access } => Fault::InvalidAddressSpace {
                address,
                access,
                location,
            },
        }
    }

    #[cold]
    pub(super) fn builtin_fault(
        &self,
        pc: u32,
        error: crate::exec::builtin::BuiltinError,
    ) -> Fault {
        use crate::exec::builtin::BuiltinError;
        match error {
            BuiltinError::Assert { lane, message } => Fault::Assert {
                message,
                location: self.location(pc, lane),
            },
            BuiltinError::BadPointer { lane, address } => Fault::IllegalAddress {
                address,
                bytes: 1,
                access: crate::exec::fault::Access::Read,
                space: "generic",
                location: self.location(pc, lane),
            },
        }
    }

    #[cold]
    pub(super) fn deadlock(&self) -> Fault {
        let Some(group) = self.buffers.groups.first() else {
            return Fault::Deadlock {
                reason: String::new(),
                location: Location::default(),
            };
        };
        let reason = match group.state {
            State::AtBarrier { id, .. } => {
                format!("threads wait at barrier {id} for others that do not come")
            }
            _ => "lanes wait at a warp operation for others that do not come".into(),
        };
        let pc = match group.state {
            State::AtBarrier { instruction, .. } => instruction,
            _ => group.pc,
        };
        let lane = group.mask.lowest().unwrap_or(0);
        Fault::Deadlock {
            reason,
            location: self.location(pc, lane),
        }
    }
}

fn space_name(space: Space) -> &'static str {
    match space {
        Space::Global | Space::Const => "global",
        Space::Shared => "shared",
        Space::Local => "local",
        Space::Param => "param",
        Space::Generic => "generic",
    }
}
