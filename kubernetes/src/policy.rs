// SPDX-License-Identifier: Apache-2.0
//! How a backend is chosen among those with room.

use std::str::FromStr;

use thiserror::Error;

/// Written in the annotation `gvirtus.io/backend-policy` of a pod or its namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The device of which the least is taken.
    #[default]
    LeastLoaded,
    /// The same node, else the same zone, else the same region; then the least loaded.
    Nearest,
    /// The device of which the most is taken: others stay free for large requests.
    Binpack,
    /// The zone, the node and the device with the fewest users.
    Spread,
    /// Any.
    Random,
}

/// A policy that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no policy; write one of least-loaded, nearest, binpack, spread, random")]
pub struct UnknownPolicy(pub String);

impl Policy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::LeastLoaded,
        Self::Nearest,
        Self::Binpack,
        Self::Spread,
        Self::Random,
    ];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastLoaded => "least-loaded",
            Self::Nearest => "nearest",
            Self::Binpack => "binpack",
            Self::Spread => "spread",
            Self::Random => "random",
        }
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let text = text.trim();
        let policy = Self::ALL.into_iter().find(|policy| policy.name() == text);
        policy.ok_or_else(|| UnknownPolicy(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_read_as_it_is_written() {
        for policy in Policy::ALL {
            assert_eq!(format!(" {} ", policy.name()).parse(), Ok(policy));
        }
        assert!("fastest".parse::<Policy>().is_err());
    }
}
