// SPDX-License-Identifier: Apache-2.0
//! What a container asks for: from its resources, or from what the webhook made of them.
//!
//! As text: `gpu-count=2,gpu-memory=1024,gpu-core=50`; what is not asked for is absent.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use thiserror::Error;

use crate::names::{GPU_CORE, GPU_COUNT, GPU_MEMORY, REQUEST, RESOURCE_PREFIX};
use crate::quantity::whole;

/// Most devices of one backend.
const DEVICES_MAX: u64 = gvirtus_protocol::limits::DEVICES_MAX as u64;
/// 1 TiB is more than any device has; a larger number is bytes where MiB were meant.
const MEMORY_MIB_MAX: u64 = 1 << 20;
const PERCENT_MAX: u64 = 100;

/// Memory and compute are those of each device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Request {
    /// How many devices; one where only a part of one is asked for.
    pub count: Option<NonZero<u8>>,
    /// Memory in MiB.
    pub memory_mib: Option<NonZero<u32>>,
    /// Compute time in percent, at most 100.
    pub percent: Option<NonZero<u8>>,
}

/// What nobody can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No whole number from 1.
    #[error("{name} is {value:?}; write a whole number from 1")]
    Number {
        /// The resource.
        name: String,
        /// As written.
        value: String,
    },
    /// More compute than a device has.
    #[error(
        "{GPU_CORE} is {0}, and a device has 100 percent; write 1 to 100, and \
         {GPU_COUNT}: \"N\" for several devices"
    )]
    Percent(u64),
    /// More memory than any device has.
    #[error("{GPU_MEMORY} is {0}, and its unit is MiB: no device has so much; 1024 is 1 GiB")]
    Memory(u64),
    /// More devices than any backend has.
    #[error("{GPU_COUNT} is {0}; no backend has more than {DEVICES_MAX} devices")]
    Count(u64),
    /// A resource that does not exist.
    #[error(
        "{0} is no resource of GVirtuS; write {GPU_MEMORY} (MiB), {GPU_CORE} (percent) or \
         {GPU_COUNT} (devices)"
    )]
    Unknown(String),
    /// Kubernetes does not overcommit such resources.
    #[error("{0} stands in requests and not, with the same number, in limits; write it in limits")]
    NotInLimits(String),
    /// Not as the webhook writes it.
    #[error("{REQUEST} is {0:?}, which is not as GVirtuS writes it")]
    Text(String),
}

impl Request {
    /// What the container's resources ask for.
    ///
    /// # Errors
    /// Where a resource of ours does not exist or cannot be given.
    pub fn from_resources(container: &Container) -> Result<Self, RequestError> {
        let empty = BTreeMap::new();
        let resources = container.resources.as_ref();
        let limits = resources.and_then(|r| r.limits.as_ref()).unwrap_or(&empty);
        let requests = resources.and_then(|r| r.requests.as_ref());
        for (name, value) in requests.unwrap_or(&empty) {
            if name.starts_with(RESOURCE_PREFIX) && limits.get(name) != Some(value) {
                return Err(RequestError::NotInLimits(name.clone()));
            }
        }
        let mut request = Self::default();
        for (name, Quantity(value)) in limits {
            if name.starts_with(RESOURCE_PREFIX) {
                request.set(name, value)?;
            }
        }
        Ok(request)
    }

    /// What a container of an admitted pod may have: the webhook's variable, else its resources.
    ///
    /// # Errors
    /// As [`Self::from_resources`], and where the variable is not as the webhook writes it.
    pub fn of_container(container: &Container) -> Result<Self, RequestError> {
        let variables = container.env.iter().flatten();
        // Of several with one name the last counts.
        let written = variables.rev().find(|variable| variable.name == REQUEST);
        match written {
            Some(variable) => {
                let text = variable.value.as_deref();
                text.ok_or_else(|| RequestError::Text(String::new()))?
                    .parse()
            }
            None => Self::from_resources(container),
        }
    }

    /// Whether nothing is asked for: the container shares what there is.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whole devices, which nobody else uses meanwhile: a number of devices without parts of them,
    /// or all their compute.
    pub fn is_whole(&self) -> bool {
        let is_all = |percent: NonZero<u8>| u64::from(percent.get()) == PERCENT_MAX;
        self.memory_mib.is_none() && self.percent.map_or(self.count.is_some(), is_all)
    }

    /// Memory of each device in bytes.
    pub fn memory_bytes(&self) -> Option<u64> {
        self.memory_mib.map(|mib| u64::from(mib.get()) << 20)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), RequestError> {
        let number = || {
            let number = whole(value).and_then(NonZero::new);
            number
                .map(NonZero::get)
                .ok_or_else(|| RequestError::Number {
                    name: name.to_owned(),
                    value: value.to_owned(),
                })
        };
        // Each is within its type once it is within its limit.
        match name {
            GPU_MEMORY => match number()? {
                mib if mib > MEMORY_MIB_MAX => return Err(RequestError::Memory(mib)),
                mib => self.memory_mib = u32::try_from(mib).ok().and_then(NonZero::new),
            },
            GPU_CORE => match number()? {
                percent if percent > PERCENT_MAX => return Err(RequestError::Percent(percent)),
                percent => self.percent = u8::try_from(percent).ok().and_then(NonZero::new),
            },
            GPU_COUNT => match number()? {
                count if count > DEVICES_MAX => return Err(RequestError::Count(count)),
                count => self.count = u8::try_from(count).ok().and_then(NonZero::new),
            },
            _ => return Err(RequestError::Unknown(name.to_owned())),
        }
        Ok(())
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (GPU_COUNT, self.count.map(|count| u32::from(count.get()))),
            (GPU_MEMORY, self.memory_mib.map(NonZero::get)),
            (
                GPU_CORE,
                self.percent.map(|percent| u32::from(percent.get())),
            ),
        ];
        let parts = parts.into_iter().filter_map(|(name, number)| {
            let name = name.strip_prefix(RESOURCE_PREFIX).unwrap_or(name);
            number.map(|number| format!("{name}={number}"))
        });
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Request {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let mut request = Self::default();
        for part in text.split(',') {
            let parts = part.split_once('=');
            let (name, value) = parts.ok_or_else(|| RequestError::Text(text.to_owned()))?;
            request.set(&format!("{RESOURCE_PREFIX}{name}"), value)?;
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(limits: Value, requests: Value) -> Result<Request, RequestError> {
        let container = json!({"name": "c",
            "resources": {"limits": limits, "requests": requests}});
        Request::from_resources(&serde_json::from_value(container).expect("a container"))
    }

    #[test]
    fn resources_are_read_with_their_units() {
        let request = read(
            json!({"cpu": "1", GPU_MEMORY: "1024", GPU_CORE: "50"}),
            json!({GPU_MEMORY: "1024"}),
        )
        .expect("valid");
        assert_eq!(request.memory_bytes(), Some(1 << 30));
        assert_eq!(request.to_string(), "gpu-memory=1024,gpu-core=50");
        assert!(!request.is_whole());
        let whole = read(json!({GPU_COUNT: "2"}), json!({})).expect("valid");
        assert!(whole.is_whole());
        // As the API server writes 2000.
        let round = read(json!({GPU_MEMORY: "2k"}), json!({})).expect("valid");
        assert_eq!(round.to_string(), "gpu-memory=2000");
        assert!(
            read(json!({"cpu": "1"}), json!({}))
                .expect("valid")
                .is_empty()
        );
    }

    #[test]
    fn what_nobody_can_have_is_refused_with_a_sentence() {
        for (name, value, said) in [
            (GPU_CORE, "101", "write 1 to 100"),
            (GPU_CORE, "0", "whole number from 1"),
            (GPU_MEMORY, "1Gi", "whole number from 1"),
            (GPU_MEMORY, "1073741824", "its unit is MiB"),
            (GPU_COUNT, "65", "no backend has more than 64"),
            ("gvirtus.io/vgpu", "1", "is no resource of GVirtuS"),
        ] {
            let error = read(json!({name: value}), json!({})).expect_err(name);
            assert!(error.to_string().contains(said), "{error}");
        }
        let error = read(json!({}), json!({GPU_CORE: "5"})).expect_err("no limit");
        assert!(error.to_string().contains("write it in limits"), "{error}");
    }

    #[test]
    fn the_variable_counts_before_the_resources() {
        let container = json!({"name": "c", "env": [{"name": REQUEST, "value": "gpu-core=5"}],
            "resources": {"limits": {GPU_CORE: "50"}}});
        let container = serde_json::from_value(container).expect("a container");
        let request = Request::of_container(&container).expect("valid");
        assert_eq!(request.percent.map(NonZero::get), Some(5));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            count in 0_u8..=64,
            memory in 0_u32..=1 << 20,
            percent in 0_u8..=100,
        ) {
            let request = Request {
                count: NonZero::new(count),
                memory_mib: NonZero::new(memory),
                percent: NonZero::new(percent),
            };
            if !request.is_empty() {
                prop_assert_eq!(request.to_string().parse(), Ok(request));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<Request>();
        }
    }
}
