// SPDX-License-Identifier: Apache-2.0
//! Which backend and which of its devices a program gets: a pure function of what there is, what is
//! asked for, and a seed.
//!
//! Three kinds of requests exist. A *share* has memory or compute of its own on one or more
//! devices; together, shares never exceed a device. A *whole* device has no other user. A request
//! for nothing in particular uses all devices of a backend that nobody has whole, beside others
//! and without a limit; it takes what shares leave.

mod choose;
mod order;
mod reason;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZero;
use std::str::FromStr;
use std::sync::Arc;

use gvirtus_kubernetes::{Policy, Request};

pub use choose::choose;
pub use reason::Unplaced;

/// All compute time of a device.
pub const PERCENT_MAX: u8 = 100;

/// A device's UUID, as CUDA says it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

/// A backend's name for ever: the UID of its pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub Arc<str>);

/// Where something runs; what is not known is empty, and near to nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    /// The node's name.
    pub node: Arc<str>,
    /// Label `topology.kubernetes.io/zone` of the node.
    pub zone: Arc<str>,
    /// Label `topology.kubernetes.io/region` of the node.
    pub region: Arc<str>,
}

/// Whether a backend takes new programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Yes.
    #[default]
    Ready,
    /// No: it ends when its sessions have ended.
    Draining,
    /// No: it has as many sessions as it may.
    Full,
    /// No: it does not answer.
    Silent,
}

/// A backend with what is granted on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name.
    pub id: BackendId,
    /// Where it runs.
    pub location: Location,
    /// Whether it takes new programs.
    pub state: State,
    /// In the order of their ordinals.
    pub devices: Vec<Device>,
}

/// A device with what is granted on it. Whoever uses it counts once, however many sessions it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub uuid: Uuid,
    /// All its memory.
    pub memory_bytes: u64,
    /// Memory that shares have of it, used or not.
    pub granted_memory_bytes: u64,
    /// Compute that shares have of it.
    pub granted_percent: u8,
    /// Whether somebody has it whole.
    pub is_whole: bool,
    /// Who uses it, or may.
    pub users: u32,
    /// Memory that is in use, as the backend tells.
    pub used_memory_bytes: u64,
    /// Part of the time in which kernels ran lately, in percent, as the backend tells.
    pub busy_percent: u8,
}

/// Who asks for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What is asked for.
    pub request: Request,
    /// How to choose.
    pub policy: Policy,
    /// Where the program was before: it stays there if it can.
    pub previous: Option<BackendId>,
    /// Where the program runs.
    pub location: Location,
    /// The node whose backend it must be, where somebody else has chosen it.
    pub node: Option<Arc<str>>,
}

/// A backend and some of its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub backend: BackendId,
    /// What is taken.
    pub share: Share,
}

/// What somebody has of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which devices, in the order of their ordinals.
    pub devices: Vec<Uuid>,
    /// Memory of each; nothing is no limit.
    pub memory_bytes: Option<u64>,
    /// Compute of each; nothing is no limit.
    pub percent: Option<u8>,
    /// Whether nobody else uses them.
    pub is_whole: bool,
}

impl Device {
    /// One that nobody uses.
    pub const fn idle(uuid: Uuid, memory_bytes: u64) -> Self {
        Self {
            uuid,
            memory_bytes,
            granted_memory_bytes: 0,
            granted_percent: 0,
            is_whole: false,
            users: 0,
            used_memory_bytes: 0,
            busy_percent: 0,
        }
    }

    /// Whether the request fits beside what is granted.
    pub fn has_room(&self, request: &Request) -> bool {
        if request.is_whole() {
            return self.users == 0;
        }
        let memory = request.memory_bytes().unwrap_or(0);
        let percent = request.percent.map_or(0, NonZero::get);
        !self.is_whole && memory <= self.free_memory_bytes() && percent <= self.free_percent()
    }

    /// Memory that no share has.
    pub const fn free_memory_bytes(&self) -> u64 {
        self.memory_bytes.saturating_sub(self.granted_memory_bytes)
    }

    /// Compute that no share has.
    pub const fn free_percent(&self) -> u8 {
        PERCENT_MAX.saturating_sub(self.granted_percent)
    }

    fn take(&mut self, share: &Share) {
        self.users += 1;
        self.is_whole |= share.is_whole;
        if share.is_whole {
            self.granted_memory_bytes = self.memory_bytes;
            self.granted_percent = PERCENT_MAX;
        } else {
            let memory = share.memory_bytes.unwrap_or(0);
            self.granted_memory_bytes = self.granted_memory_bytes.saturating_add(memory);
            // A sum over the device is a mistake of who reports it, and leaves no room.
            let percent = share.percent.unwrap_or(0);
            self.granted_percent = self.granted_percent.saturating_add(percent);
        }
    }
}

impl Share {
    /// Whether it takes what others leave.
    pub const fn is_unlimited(&self) -> bool {
        self.memory_bytes.is_none() && self.percent.is_none()
    }
}

impl Backend {
    /// Counts one more user with this share. Devices that the backend does not have are ignored.
    pub fn take(&mut self, share: &Share) {
        for device in &mut self.devices {
            if share.devices.contains(&device.uuid) {
                device.take(share);
            }
        }
    }

    /// Counts nobody any more.
    pub fn clear(&mut self) {
        for device in &mut self.devices {
            *device = Device::idle(device.uuid, device.memory_bytes);
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = [&self.0[..4], &self.0[4..6], &self.0[6..8], &self.0[8..10]];
        write!(f, "GPU-")?;
        for (separator, part) in ["", "-", "-", "-", "-"]
            .iter()
            .zip([a, b, c, d, &self.0[10..]])
        {
            write!(f, "{separator}")?;
            part.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// A text that is no UUID of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no UUID of a device")]
pub struct NoUuid;

impl FromStr for Uuid {
    type Err = NoUuid;

    fn from_str(text: &str) -> Result<Self, NoUuid> {
        let digits: String = text.chars().filter(|c| c.is_ascii_hexdigit()).collect();
        let digits = text.starts_with("GPU-").then_some(digits).ok_or(NoUuid)?;
        let number = u128::from_str_radix(&digits, 16).map_err(|_| NoUuid)?;
        let uuid = Self(number.to_be_bytes());
        (uuid.to_string() == text).then_some(uuid).ok_or(NoUuid)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&str> for BackendId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
