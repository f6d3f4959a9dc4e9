// SPDX-License-Identifier: Apache-2.0
//! The attributes of a launch, as they travel.

use gvirtus_abi::{CUlaunchAttribute, CUlaunchAttributeID as Attribute, CUresult};
use gvirtus_protocol::command::ATTRIBUTE_BYTES;
use gvirtus_protocol::limits::LAUNCH_ATTRIBUTES_MAX;

use crate::api::INVALID_VALUE;
use crate::device::LaunchLimits;

const _: () = assert!(size_of::<CUlaunchAttribute>() == ATTRIBUTE_BYTES);

pub(super) fn is_ignored(attribute: &CUlaunchAttribute) -> bool {
    attribute.id == Attribute::CU_LAUNCH_ATTRIBUTE_IGNORE
}

/// How many attributes travel.
pub(super) fn check_attributes(
    attributes: &[CUlaunchAttribute],
    limits: &LaunchLimits,
) -> Result<u32, CUresult> {
    let mut count = 0;
    for attribute in attributes.iter().filter(|a| !is_ignored(a)) {
        count += 1;
        match attribute.id {
            Attribute::CU_LAUNCH_ATTRIBUTE_COOPERATIVE if !limits.is_cooperative => {
                return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
            }
            Attribute::CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
            | Attribute::CU_LAUNCH_ATTRIBUTE_COOPERATIVE
            | Attribute::CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY
            | Attribute::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            | Attribute::CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE
            | Attribute::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
            | Attribute::CU_LAUNCH_ATTRIBUTE_PRIORITY
            | Attribute::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP
            | Attribute::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN
            | Attribute::CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION
            | Attribute::CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT
            | Attribute::CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING
            | Attribute::CU_LAUNCH_ATTRIBUTE_PORTABLE_CLUSTER_SIZE_MODE
            | Attribute::CU_LAUNCH_ATTRIBUTE_SHARED_MEMORY_MODE => {}
            Attribute::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT
            | Attribute::CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT
            | Attribute::CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE => {
                return Err(gvirtus_driver_face::unsupported(
                    "a launch attribute with an event or a graph node",
                ));
            }
            _ => {
                return Err(gvirtus_driver_face::unsupported(
                    "an unknown launch attribute",
                ));
            }
        }
    }
    if count as usize > LAUNCH_ATTRIBUTES_MAX {
        return Err(INVALID_VALUE);
    }
    Ok(count)
}

pub(super) fn append_attribute(buffer: &mut Vec<u8>, attribute: &CUlaunchAttribute) {
    buffer.extend_from_slice(&attribute.id.0.to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    // SAFETY: the union is plain data of this size, of which the application filled what the
    // attribute needs; the rest is sent as it is.
    let value: [u8; 64] = unsafe { std::mem::transmute(attribute.value) };
    buffer.extend_from_slice(&value);
}
