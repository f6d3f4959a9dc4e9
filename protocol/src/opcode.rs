// SPDX-License-Identifier: Apache-2.0
//! Message numbers: those of the call table and a few that belong to no function.

#![allow(
    non_upper_case_globals,
    reason = "a message is named like its CUDA function"
)]

/// The number of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Opcode(pub u16);

/// How many 64-bit words a regular call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Words of the command.
    pub inputs: usize,
    /// Words of a successful reply.
    pub outputs: usize,
}

/// Tells the worker that the call of a host function has returned; the body is the number of the
/// call. Posted.
pub const HOST_FUNCTION_RETURNED: Opcode = Opcode(0x0812);

/// Answers at once with success and nothing else: measures a round trip, keeps a session alive.
pub const PING: Opcode = Opcode(0x0001);

include!(concat!(env!("OUT_DIR"), "/opcodes.rs"));

impl Opcode {
    /// The CUDA function, or the word for a message without one; nothing for an unknown number.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            PING => Some("ping"),
            HOST_FUNCTION_RETURNED => Some("host function returned"),
            Self(number) => table_name(number),
        }
    }

    /// Whether the message has no reply. What an unknown number would have is meaningless.
    pub const fn is_posted(self) -> bool {
        matches!(
            self,
            cuArrayDestroy
                | cuCtxCreate_v4
                | cuCtxDestroy_v2
                | cuCtxSetFlags
                | cuDevicePrimaryCtxRelease_v2
                | cuDevicePrimaryCtxRetain
                | cuEventCreate
                | cuEventDestroy_v2
                | HOST_FUNCTION_RETURNED
                | cuLaunchHostFunc
                | cuLaunchKernel
                | cuStreamAddCallback
                | cuLibraryUnload
                | cuMemFreeAsync
                | cuLinkDestroy
                | cuMemFree_v2
                | cuMemcpy3DAsync_v2
                | cuMemcpyHtoAAsync_v2
                | cuMemcpyHtoDAsync_v2
                | cuMipmappedArrayDestroy
                | cuModuleUnload
                | cuStreamCreateWithPriority
                | cuStreamDestroy_v2
                | cuSurfObjectDestroy
                | cuTexObjectDestroy
        ) || table_posted(self.0)
    }

    /// Whether the message is one of those about arrays, textures and surfaces, which have numbers
    /// of their own.
    pub const fn is_of_images(self) -> bool {
        self.0 >> 8 == 0x05
    }

    /// The words of a regular call; nothing for all other messages.
    pub const fn shape(self) -> Option<Shape> {
        table_shape(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_have_names_and_shapes() {
        assert_eq!(cuLaunchKernel.name(), Some("cuLaunchKernel"));
        assert_eq!(cuLaunchKernel.shape(), None);
        assert_eq!(
            cuMemsetD32Async.shape(),
            Some(Shape {
                inputs: 4,
                outputs: 0
            })
        );
        assert_eq!(
            cuMemGetInfo_v2.shape(),
            Some(Shape {
                inputs: 0,
                outputs: 2
            })
        );
        assert_eq!(Opcode(0xffff).name(), None);
        assert!(cuLaunchKernel.is_posted() && cuMemsetD32Async.is_posted());
        assert!(!cuMemGetInfo_v2.is_posted() && !cuStreamSynchronize.is_posted());
    }
}
