// SPDX-License-Identifier: Apache-2.0
//! What a client learns of a backend's devices once, at the handshake, and answers from afterwards.

use serde::{Deserialize, Serialize};

use crate::limits::DEVICES_MAX;

/// Everything that does not change while a session lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// As `cuDriverGetVersion` says: 1000 × major + 10 × minor.
    pub driver_version: i32,
    /// In the order of their ordinals.
    pub devices: Vec<Device>,
}

impl Snapshot {
    /// As a worker tells its daemon.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data in memory serialises")
    }

    /// Reads what a worker tells; nothing if it is none.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let (snapshot, rest) = postcard::take_from_bytes::<Self>(body).ok()?;
        (rest.is_empty() && snapshot.devices.len() <= DEVICES_MAX).then_some(snapshot)
    }
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// As `cuDeviceGetName` says.
    pub name: String,
    /// As `cuDeviceGetUuid` says.
    pub uuid: [u8; 16],
    /// As `cuDeviceGetUuid_v2` says.
    pub uuid_v2: [u8; 16],
    /// As `cuDeviceGetLuid` says, where it answers: the id and the node mask.
    pub luid: Option<([u8; 8], u32)>,
    /// As `cuDeviceTotalMem` says.
    pub total_memory_bytes: u64,
    /// As `cuDeviceGetPCIBusId` says.
    pub pci_bus_id: String,
    /// `CUdevice_attribute` and value, ascending; attributes that the driver refuses are absent.
    pub attributes: Vec<(u32, i32)>,
}

impl Device {
    /// The value of an attribute, or nothing if the driver refuses it.
    pub fn attribute(&self, attribute: u32) -> Option<i32> {
        let index = self
            .attributes
            .binary_search_by_key(&attribute, |(id, _)| *id)
            .ok()?;
        Some(self.attributes[index].1)
    }
}
