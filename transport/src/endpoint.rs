// SPDX-License-Identifier: Apache-2.0
//! Addresses of backends: `tcp://host:port`, `unix:///path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The port of `tcp://host` without one.
const DEFAULT_PORT: u16 = 9999;

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `tcp://host:port`; the host is a name, an IPv4 address or a bracketed IPv6 address.
    Tcp {
        /// Without brackets.
        host: String,
        /// 9999 where none is written.
        port: u16,
    },
    /// `unix:///path/of/socket`.
    Unix {
        /// Absolute.
        path: PathBuf,
    },
}

/// What is wrong with an address. The user's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Nothing between two commas, or nothing at all.
    #[error("an empty endpoint; write for example tcp://gpu-host:9999 or unix:///run/gvirtus.sock")]
    Empty,
    /// No host in a TCP address.
    #[error("{0:?} names no host; write tcp://host:port")]
    Host(String),
    /// A Unix path that depends on the working directory.
    #[error("{0:?} is not an absolute path; write unix:///path/of/socket with three slashes")]
    Path(String),
    /// Not a number from 1 to 65535.
    #[error("{0:?} has no valid port; write tcp://host:port with a port from 1 to 65535")]
    Port(String),
    /// A scheme that this build does not speak.
    #[error("{0:?} is not an endpoint; write tcp://host:port or unix:///path/of/socket")]
    Scheme(String),
}

/// Reads a comma list, as in `GVIRTUS_ENDPOINT`.
///
/// # Errors
///
/// The first address that is wrong.
pub fn parse_list(text: &str) -> Result<Vec<Endpoint>, EndpointError> {
    text.split(',').map(|part| part.trim().parse()).collect()
}

impl Endpoint {
    /// Whether only processes of this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => {
                host == "localhost"
                    || host
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|ip| ip.is_loopback())
            }
            Self::Unix { .. } => true,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix { path } => write!(f, "unix://{}", path.display()),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        match text.split_once("://") {
            Some(("tcp", address)) => tcp(text, address),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix { path: path.into() }),
            Some(("unix", _)) => Err(EndpointError::Path(text.to_owned())),
            _ => Err(EndpointError::Scheme(text.to_owned())),
        }
    }
}

fn tcp(text: &str, address: &str) -> Result<Endpoint, EndpointError> {
    let bad_port = || EndpointError::Port(text.to_owned());
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest
            .split_once(']')
            .ok_or(EndpointError::Host(text.to_owned()))?;
        let port = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(':').ok_or_else(bad_port)?),
        };
        (host, port)
    } else {
        match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    if host.is_empty() || host.contains('/') {
        return Err(EndpointError::Host(text.to_owned()));
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|p| *p != 0).ok_or_else(bad_port)?,
        None => DEFAULT_PORT,
    };
    Ok(Endpoint::Tcp {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_return() {
        for text in [
            "tcp://gpu-1:9999",
            "tcp://[::1]:12",
            "unix:///run/gvirtus.sock",
        ] {
            assert_eq!(text.parse::<Endpoint>().expect(text).to_string(), text);
        }
        let list = parse_list("tcp://a, unix:///b").expect("valid");
        assert_eq!(list[0].to_string(), "tcp://a:9999");
        assert_eq!(list.len(), 2);
    }

    #[test]
    fn mistakes_are_explained() {
        for (text, word) in [
            ("", "empty"),
            ("gpu-1:9999", "not an endpoint"),
            ("http://gpu", "not an endpoint"),
            ("tcp://", "no host"),
            ("tcp://:1", "no host"),
            ("tcp://a:b", "port"),
            ("tcp://a:0", "port"),
            ("tcp://[::1]9", "port"),
            ("unix://run/x", "absolute"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(parse_list("tcp://a,,tcp://b").is_err());
    }

    #[test]
    fn only_loopback_is_local() {
        let local = |text: &str| text.parse::<Endpoint>().expect(text).is_local();
        assert!(local("tcp://127.0.0.1:1") && local("tcp://[::1]:1") && local("unix:///x"));
        assert!(!local("tcp://0.0.0.0:1") && !local("tcp://gpu:1"));
    }
}
