// SPDX-License-Identifier: Apache-2.0
//! Cubemaps: which face a direction meets, and where.
//!
//! The table is that of the "Cubemap Textures" section of the CUDA C++ Programming Guide: faces in
//! the order +x, -x, +y, -y, +z, -z.

/// A place on a face: the face, and coordinates from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OnFace {
    pub(crate) face: u32,
    pub(crate) position: [f32; 2],
}

/// The largest component's place, and the other two as the face sees them: m, s, t.
fn projected(face: u32, [x, y, z]: [f32; 3]) -> [f32; 3] {
    match face {
        0 => [x, -z, -y],
        1 => [-x, z, -y],
        2 => [y, x, z],
        3 => [-y, x, -z],
        4 => [z, x, -y],
        _ => [-z, -x, -y],
    }
}

fn face_of([x, y, z]: [f32; 3]) -> u32 {
    let [ax, ay, az] = [x, y, z].map(f32::abs);
    let (first, component) = if ax >= ay && ax >= az {
        (0, x)
    } else if ay >= az {
        (2, y)
    } else {
        (4, z)
    };
    first + u32::from(component < 0.0)
}

impl OnFace {
    /// Where a direction meets the cube.
    pub(crate) fn of(direction: [f32; 3]) -> Self {
        let face = face_of(direction);
        let [m, s, t] = projected(face, direction);
        Self {
            face,
            position: [s, t].map(|coordinate| (coordinate / m + 1.0) / 2.0),
        }
    }

    /// How fast the place moves when the direction does.
    pub(crate) fn derivative(&self, direction: [f32; 3], change: [f32; 3]) -> [f32; 2] {
        let [m, s, t] = projected(self.face, direction);
        let [dm, ds, dt] = projected(self.face, change);
        [(s, ds), (t, dt)].map(|(value, change)| (change * m - value * dm) / (2.0 * m * m))
    }

    /// The direction of a texel, which may lie beside its face.
    fn direction(face: u32, [column, row]: [i64; 2], length: u32) -> [f32; 3] {
        let centre = |index: i64| (2 * index + 1) as f32 / length as f32 - 1.0;
        let (s, t) = (centre(column), centre(row));
        match face {
            0 => [1.0, -t, -s],
            1 => [-1.0, -t, s],
            2 => [s, 1.0, t],
            3 => [s, -1.0, -t],
            4 => [s, -t, 1.0],
            _ => [-s, -t, -1.0],
        }
    }

    /// The texel that continues a face over one of its edges.
    pub(crate) fn beside(face: u32, index: [i64; 2], length: u32) -> (u32, [u32; 2]) {
        let there = Self::of(Self::direction(face, index, length));
        let texel = |position: f32| ((position * length as f32) as u32).min(length - 1);
        (there.face, there.position.map(texel))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_axis_meets_the_middle_of_its_face() {
        let axes = [
            [1.0, 0.0, 0.0],
            [-1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, -1.0, 0.0],
            [0.0, 0.0, 1.0],
            [0.0, 0.0, -1.0],
        ];
        for (face, axis) in (0..).zip(axes) {
            let place = OnFace::of(axis.map(|component: f32| component * 3.0));
            assert_eq!((place.face, place.position), (face, [0.5, 0.5]));
        }
    }

    #[test]
    fn texels_of_a_face_have_directions_that_meet_them() {
        for face in 0..6 {
            for (row, column) in [(0, 0), (1, 3), (3, 2)] {
                assert_eq!(
                    OnFace::beside(face, [column, row], 4),
                    (face, [column as u32, row as u32])
                );
            }
        }
    }

    #[test]
    fn an_edge_leads_to_the_neighbouring_face() {
        // Left of +z lies the right column of -x: s of +z is x, and s of -x is z.
        assert_eq!(OnFace::beside(4, [-1, 1], 4), (1, [3, 1]));
        // Above +z, where y grows, lies +y, whose t is z.
        assert_eq!(OnFace::beside(4, [2, -1], 4), (2, [2, 3]));
    }
}
