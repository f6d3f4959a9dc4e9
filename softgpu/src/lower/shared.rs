// SPDX-License-Identifier: Apache-2.0
//! The layout of static shared memory.
//!
//! A shared variable has one address in the whole program, because device functions that use it
//! serve many kernels. Variables that no kernel can reach together may overlap, so that a module
//! of a hundred kernels needs no more than its hungriest one.

use crate::ptx::Declaration;

use super::flow::Reach;

/// Largest shared variable, in bytes: far above what any device has.
const SIZE_BYTES_MAX: u64 = 1 << 24;

/// Largest alignment of a shared variable, in bytes.
const ALIGNMENT_BYTES_MAX: u64 = 1 << 16;

/// A static shared variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedVariable {
    size: u32,
    alignment: u32,
    /// From the start of the block's shared memory, in bytes.
    pub(super) offset: u32,
}

impl SharedVariable {
    /// `None` where it is over the limits.
    pub(super) fn new(declaration: &Declaration<'_>) -> Option<Self> {
        let size = declaration
            .size_bytes()
            .filter(|&size| size <= SIZE_BYTES_MAX)?;
        let alignment = declaration.alignment_bytes();
        if alignment > ALIGNMENT_BYTES_MAX || !alignment.is_power_of_two() {
            return None;
        }
        // Programs read arrays of `float` as `float4` and get away with it on real devices.
        let alignment = if size >= 16 {
            alignment.max(16)
        } else {
            alignment
        };
        Some(Self {
            size: size as u32,
            alignment: alignment as u32,
            offset: 0,
        })
    }

    /// First byte after it.
    pub(super) fn end(&self) -> u32 {
        self.offset + self.size
    }
}

/// Gives each variable the lowest offset at which it overlaps none that a kernel can use with it.
pub(super) fn assign_offsets(variables: &mut [SharedVariable], reach: &Reach) {
    let mut users = vec![Vec::new(); variables.len()];
    for (kernel, (_, set)) in reach.kernels().iter().enumerate() {
        for &variable in &set.shared {
            users[variable].push(kernel);
        }
    }
    let mut placed = vec![false; variables.len()];
    let mut taken: Vec<(u32, u32)> = Vec::new();
    for (variable, kernels) in users.iter().enumerate() {
        taken.clear();
        for &kernel in kernels {
            let set = &reach.kernels()[kernel].1;
            for &other in set.shared.iter().filter(|&&other| placed[other]) {
                taken.push((variables[other].offset, variables[other].end()));
            }
        }
        taken.sort_unstable();
        let SharedVariable {
            size, alignment, ..
        } = variables[variable];
        let mut offset = 0;
        for &(start, end) in &taken {
            if offset + size <= start {
                break;
            }
            offset = offset.max(end.next_multiple_of(alignment));
        }
        variables[variable].offset = offset;
        placed[variable] = true;
    }
}
