// SPDX-License-Identifier: Apache-2.0
//! Where the backend is and by what right it is used.
//!
//! `GVIRTUS_ENDPOINT` names it, or with `broker://` who chooses it. Where that is not set, the `properties.json` of a classic GVirtuS
//! installation is read: the file that `GVIRTUS_CONFIG` names, or
//! `$GVIRTUS_HOME/etc/properties.json`. `GVIRTUS_TOKEN`, or the contents of the file
//! `GVIRTUS_TOKEN_FILE`, proves the right to connect.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gvirtus_transport::{Endpoint, EndpointError, parse_list};

use crate::limits::{BROKER_WAIT_DEFAULT, PROPERTIES_BYTES_MAX, TOKEN_BYTES_MAX};

/// What is wrong with the configuration. The user's fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The endpoint cannot be read.
    #[error("GVIRTUS_ENDPOINT: {0}")]
    Endpoint(#[from] EndpointError),
    /// More than one backend.
    #[error(
        "GVIRTUS_ENDPOINT names {0} backends; this release uses one at a time, so name only one"
    )]
    Several(usize),
    /// Not a number.
    #[error("GVIRTUS_WAIT_S: {0:?} is not a number of seconds")]
    Wait(String),
    /// No backend.
    #[error(
        "no backend is named; set GVIRTUS_ENDPOINT (for example tcp://gpu-host:9999) or start the \
         program with `gvirtus run`"
    )]
    Unset,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file says something else than expected.
    #[error("{}: {reason}", path.display())]
    Properties {
        /// Which.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
}

/// The environment variables that matter, apart from the environment so that tests can set them.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `GVIRTUS_ENDPOINT`.
    pub endpoint: Option<String>,
    /// `GVIRTUS_CONFIG`.
    pub config: Option<PathBuf>,
    /// `GVIRTUS_HOME`.
    pub home: Option<PathBuf>,
    /// `GVIRTUS_TOKEN`.
    pub token: Option<String>,
    /// `GVIRTUS_TOKEN_FILE`.
    pub token_file: Option<PathBuf>,
    /// `GVIRTUS_WAIT_S`.
    pub wait_s: Option<String>,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The backend itself.
    At(Endpoint),
    /// Somebody who knows backends.
    Broker(Endpoint),
}

/// What a broker's address begins with.
const BROKER_SCHEME: &str = "broker://";
/// The port of `broker://host` without one.
const BROKER_PORT: u16 = 34568;

impl Environment {
    /// That of this process. Empty variables count as unset.
    #[cfg_attr(test, allow(dead_code, reason = "tests have their own"))]
    pub fn read() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        Self {
            endpoint: text("GVIRTUS_ENDPOINT"),
            config: path("GVIRTUS_CONFIG"),
            home: path("GVIRTUS_HOME"),
            token: text("GVIRTUS_TOKEN"),
            token_file: path("GVIRTUS_TOKEN_FILE"),
            wait_s: text("GVIRTUS_WAIT_S"),
        }
    }

    /// The backend or its broker.
    pub fn backend(&self) -> Result<Backend, ConfigError> {
        let broker = self.endpoint.as_deref().map(str::trim);
        match broker.and_then(|text| text.strip_prefix(BROKER_SCHEME)) {
            Some(address) => Ok(Backend::Broker(broker_endpoint(address)?)),
            None => self.endpoint().map(Backend::At),
        }
    }

    /// How long to wait for a backend that a broker chooses.
    pub fn wait(&self) -> Result<Duration, ConfigError> {
        let Some(text) = &self.wait_s else {
            return Ok(BROKER_WAIT_DEFAULT);
        };
        match text.trim().parse::<u32>() {
            Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
            Err(_) => Err(ConfigError::Wait(text.clone())),
        }
    }

    fn endpoint(&self) -> Result<Endpoint, ConfigError> {
        if let Some(list) = &self.endpoint {
            let mut endpoints = parse_list(list)?;
            return match (endpoints.pop(), endpoints.len()) {
                (Some(endpoint), 0) => Ok(endpoint),
                (Some(_), others) => Err(ConfigError::Several(others + 1)),
                (None, _) => Err(ConfigError::Unset),
            };
        }
        if let Some(path) = &self.config {
            return properties(path);
        }
        if let Some(home) = &self.home {
            let path = home.join("etc/properties.json");
            if path.exists() {
                return properties(&path);
            }
        }
        Err(ConfigError::Unset)
    }

    /// What proves the right to connect; empty if nothing is configured.
    pub fn credentials(&self) -> Result<Vec<u8>, ConfigError> {
        if let Some(token) = &self.token {
            return Ok(token.trim().as_bytes().to_vec());
        }
        let Some(path) = &self.token_file else {
            return Ok(Vec::new());
        };
        let text = read(path, TOKEN_BYTES_MAX)?;
        Ok(text.trim().as_bytes().to_vec())
    }
}

/// A broker's address has the form of a TCP endpoint's, with another port where there is none.
fn broker_endpoint(address: &str) -> Result<Endpoint, EndpointError> {
    let has_port = match address.rsplit_once(']') {
        Some((_, port)) => !port.is_empty(),
        None => address.contains(':'),
    };
    match has_port {
        true => format!("tcp://{address}").parse(),
        false => format!("tcp://{address}:{BROKER_PORT}").parse(),
    }
}

/// The endpoint that a `properties.json` names: `communicator[0].endpoint` with the suite `tcp/ip`.
fn properties(path: &Path) -> Result<Endpoint, ConfigError> {
    let text = read(path, PROPERTIES_BYTES_MAX)?;
    let wrong = |reason: String| ConfigError::Properties {
        path: path.to_owned(),
        reason,
    };
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let endpoint = &json["communicator"][0]["endpoint"];
    if endpoint.is_null() {
        return Err(wrong("communicator[0].endpoint is missing".to_owned()));
    }
    let suite = endpoint["suite"].as_str().unwrap_or("tcp/ip");
    if suite != "tcp/ip" {
        return Err(wrong(format!(
            "the suite {suite:?} is not supported; use tcp/ip, or set GVIRTUS_ENDPOINT"
        )));
    }
    let host = endpoint["server_address"]
        .as_str()
        .ok_or_else(|| wrong("communicator[0].endpoint.server_address is missing".to_owned()))?;
    // Older files write the port as text.
    let port = match &endpoint["port"] {
        serde_json::Value::Number(port) => port.to_string(),
        serde_json::Value::String(port) => port.trim().to_owned(),
        _ => return Err(wrong("communicator[0].endpoint.port is missing".to_owned())),
    };
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    format!("tcp://{host}:{port}")
        .parse()
        .map_err(|error: EndpointError| wrong(error.to_string()))
}

fn read(path: &Path, bytes_max: u64) -> Result<String, ConfigError> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(bytes_max).read_to_string(&mut text))
        .map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_properties(text: &str) -> Result<String, String> {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("properties.json");
        std::fs::write(&path, text).expect("writable");
        let environment = Environment {
            config: Some(path),
            ..Environment::default()
        };
        environment
            .endpoint()
            .map(|endpoint| endpoint.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_endpoint_variable_comes_first() {
        let mut environment = Environment {
            endpoint: Some("tcp://gpu-1".into()),
            config: Some("/nonexistent".into()),
            ..Environment::default()
        };
        let endpoint = environment.endpoint().expect("valid");
        assert_eq!(endpoint.to_string(), "tcp://gpu-1:9999");
        environment.endpoint = Some("tcp://a,tcp://b".into());
        let error = environment.endpoint().expect_err("two").to_string();
        assert!(error.contains("2 backends"), "{error}");
        environment.endpoint = None;
        let error = environment.endpoint().expect_err("no file").to_string();
        assert!(error.contains("/nonexistent"), "{error}");
    }

    #[test]
    fn a_broker_has_a_scheme_of_its_own() {
        let backend = |text: &str| {
            let environment = Environment {
                endpoint: Some(text.into()),
                ..Environment::default()
            };
            environment.backend().map_err(|error| error.to_string())
        };
        let broker = |text: &str| Ok(Backend::Broker(text.parse().expect(text)));
        assert_eq!(backend("broker://b"), broker("tcp://b:34568"));
        assert_eq!(backend("broker://b:1"), broker("tcp://b:1"));
        assert_eq!(backend("broker://[::1]"), broker("tcp://[::1]:34568"));
        assert_eq!(backend("broker://[::1]:2"), broker("tcp://[::1]:2"));
        assert!(
            backend("broker://")
                .expect_err("no host")
                .contains("no host")
        );
        let at = Backend::At("tcp://a:1".parse().expect("valid"));
        assert_eq!(backend("tcp://a:1"), Ok(at));
    }

    #[test]
    fn nothing_configured_says_what_to_do() {
        let error = Environment::default().endpoint().expect_err("unset");
        let text = error.to_string();
        assert!(text.contains("GVIRTUS_ENDPOINT") && text.contains("gvirtus run"));
    }

    #[test]
    fn classic_properties_are_understood() {
        let classic = r#"{
            "communicator": [
                { "endpoint": { "suite": "tcp/ip", "protocol": "oldtcp",
                                "server_address": "10.0.0.7", "port": "8888" },
                  "plugins": ["cudart", "cudadr"] }
            ],
            "secure_application": false
        }"#;
        assert_eq!(with_properties(classic), Ok("tcp://10.0.0.7:8888".into()));
        let number = r#"{"communicator":[{"endpoint":{"server_address":"::1","port":9999}}]}"#;
        assert_eq!(with_properties(number), Ok("tcp://[::1]:9999".into()));
        for (text, word) in [
            ("{", "EOF"),
            ("{}", "communicator[0].endpoint is missing"),
            (
                r#"{"communicator":[{"endpoint":{"suite":"infiniband-rdma"}}]}"#,
                "infiniband",
            ),
            (
                r#"{"communicator":[{"endpoint":{"server_address":"a"}}]}"#,
                "port",
            ),
            (
                r#"{"communicator":[{"endpoint":{"server_address":"a","port":0}}]}"#,
                "port",
            ),
        ] {
            let error = with_properties(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn tokens_lose_their_line_end() {
        let folder = tempfile::tempdir().expect("writable");
        let path = folder.path().join("token");
        std::fs::write(&path, "secret\n").expect("writable");
        let mut environment = Environment {
            token_file: Some(path),
            ..Environment::default()
        };
        assert_eq!(environment.credentials().expect("readable"), b"secret");
        environment.token = Some("other".into());
        assert_eq!(environment.credentials().expect("set"), b"other");
        environment.token = None;
        environment.token_file = Some("/nonexistent".into());
        assert!(environment.credentials().is_err());
    }
}
