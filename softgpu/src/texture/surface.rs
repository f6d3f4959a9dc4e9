// SPDX-License-Identifier: Apache-2.0
//! Surfaces: an image's texels, read and written in place.

use std::sync::Arc;

use super::image::{Image, Kind, OutOfBounds};

/// What happens outside the surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// The kernel fails.
    Trap,
    /// The nearest place inside is used.
    Clamp,
    /// Reads give zero, writes do nothing.
    Zero,
}

/// A level of an image.
#[derive(Clone)]
pub(crate) struct Surface {
    pub(crate) image: Arc<Image>,
}

impl Surface {
    /// The host address of `bytes` bytes at byte `x` of a row, row `y` and slice `z`; `None` where
    /// nothing is to be done. Faces and layers are slices.
    ///
    /// # Errors
    ///
    /// Outside the surface, for [`Bounds::Trap`].
    pub(crate) fn place(
        &self,
        [x, y, z]: [i32; 3],
        bytes: u32,
        bounds: Bounds,
    ) -> Result<Option<*mut u8>, OutOfBounds> {
        let image = &self.image;
        let level = &image.levels[0];
        let row_bytes = u64::from(level.extent[0]) * u64::from(image.format.bytes());
        // Where the last access of a row, column or slice begins.
        let last = [
            row_bytes.checked_sub(bytes.into()),
            Some(u64::from(level.extent[1]) - 1),
            Some(u64::from(image.slices(level)) - 1),
        ];
        let mut inside = [0_u64; 3];
        for axis in 0..3 {
            let wanted = i64::from([x, y, z][axis]);
            let last = last[axis].and_then(|last| i64::try_from(last).ok());
            let is_inside = last.is_some_and(|last| (0..=last).contains(&wanted));
            let taken = match (bounds, last) {
                _ if is_inside => wanted,
                (Bounds::Clamp, Some(last)) => wanted.clamp(0, last),
                (Bounds::Zero, _) => return Ok(None),
                _ => {
                    let address = level.address.wrapping_add_signed(wanted);
                    return Err(OutOfBounds { address, bytes });
                }
            };
            inside[axis] = taken.cast_unsigned();
        }
        image.place(level, inside, bytes).map(Some)
    }

    /// Whether slices are layers rather than a third dimension.
    pub(crate) fn is_layered(&self) -> bool {
        match self.image.kind {
            Kind::Grid { is_layered, .. } => is_layered,
            Kind::Cube { .. } => true,
        }
    }
}
