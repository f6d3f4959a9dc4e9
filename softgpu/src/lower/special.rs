// SPDX-License-Identifier: Apache-2.0
//! Special registers ("Special Registers" of the PTX ISA).

use crate::ir::SpecialRegister;

/// The names of the four parts of a special register that is a vector.
pub(super) fn parts(name: &str) -> Option<[&'static str; 4]> {
    macro_rules! known {
        ($($vector:literal)*) => {
            match name {
                $($vector => Some([
                    concat!($vector, ".x"),
                    concat!($vector, ".y"),
                    concat!($vector, ".z"),
                    concat!($vector, ".w"),
                ]),)*
                _ => None,
            }
        };
    }
    known!("%tid" "%ntid" "%ctaid" "%nctaid" "%clusterid" "%nclusterid" "%cluster_ctaid" "%cluster_nctaid")
}

/// The special register of a name, and its width in bits.
pub(super) fn register(name: &str) -> Option<(SpecialRegister, u32)> {
    let plain = |register| Some((register, 32));
    if let Some((vector, selector)) = name.split_once('.') {
        let index = match selector {
            "x" => 0,
            "y" => 1,
            "z" => 2,
            "w" => 3,
            _ => return None,
        };
        const VECTORS: [&str; 8] = [
            "%tid",
            "%ntid",
            "%ctaid",
            "%nctaid",
            "%clusterid",
            "%nclusterid",
            "%cluster_ctaid",
            "%cluster_nctaid",
        ];
        if index == 3 {
            // These have no fourth dimension.
            return VECTORS
                .contains(&vector)
                .then_some((SpecialRegister::Zero, 32));
        }
        return plain(match vector {
            "%tid" => SpecialRegister::ThreadIndex(index),
            "%ntid" => SpecialRegister::BlockDimension(index),
            "%ctaid" => SpecialRegister::BlockIndex(index),
            "%nctaid" => SpecialRegister::GridDimension(index),
            "%clusterid" => SpecialRegister::ClusterIndex(index),
            "%nclusterid" => SpecialRegister::ClusterGridDimension(index),
            "%cluster_ctaid" => SpecialRegister::BlockInCluster(index),
            "%cluster_nctaid" => SpecialRegister::ClusterDimension(index),
            _ => return None,
        });
    }
    if let Some(number) = name.strip_prefix("%envreg") {
        let number = number.parse().ok().filter(|&number| number < 32)?;
        return plain(SpecialRegister::Environment(number));
    }
    if let Some(counter) = name.strip_prefix("%pm") {
        let (number, bits) = match counter.strip_suffix("_64") {
            Some(number) => (number, 64),
            None => (counter, 32),
        };
        return matches!(number, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7")
            .then_some((SpecialRegister::Zero, bits));
    }
    Some(match name {
        "%cluster_ctarank" => (SpecialRegister::ClusterRank, 32),
        "%cluster_nctarank" => (SpecialRegister::ClusterBlocks, 32),
        "%aggr_smem_size" => (SpecialRegister::TotalSharedBytes, 32),
        "%current_graph_exec" => (SpecialRegister::Zero, 64),
        "%reserved_smem_offset_begin"
        | "%reserved_smem_offset_end"
        | "%reserved_smem_offset_cap"
        | "%reserved_smem_offset_0"
        | "%reserved_smem_offset_1" => (SpecialRegister::Zero, 32),
        "%laneid" => (SpecialRegister::LaneId, 32),
        "%warpid" => (SpecialRegister::WarpId, 32),
        "%nwarpid" => (SpecialRegister::WarpCount, 32),
        "%smid" => (SpecialRegister::MultiprocessorId, 32),
        "%nsmid" => (SpecialRegister::MultiprocessorCount, 32),
        "%gridid" => (SpecialRegister::GridId, 64),
        "%lanemask_eq" => (SpecialRegister::LaneMaskEq, 32),
        "%lanemask_le" => (SpecialRegister::LaneMaskLe, 32),
        "%lanemask_lt" => (SpecialRegister::LaneMaskLt, 32),
        "%lanemask_ge" => (SpecialRegister::LaneMaskGe, 32),
        "%lanemask_gt" => (SpecialRegister::LaneMaskGt, 32),
        "%clock" => (SpecialRegister::Clock, 32),
        "%clock_hi" => (SpecialRegister::ClockHigh, 32),
        "%clock64" => (SpecialRegister::Clock64, 64),
        "%globaltimer" => (SpecialRegister::GlobalTimer, 64),
        "%globaltimer_lo" => (SpecialRegister::GlobalTimerLow, 32),
        "%globaltimer_hi" => (SpecialRegister::GlobalTimerHigh, 32),
        "%dynamic_smem_size" => (SpecialRegister::DynamicSharedBytes, 32),
        "%total_smem_size" => (SpecialRegister::TotalSharedBytes, 32),
        _ => return None,
    })
}
