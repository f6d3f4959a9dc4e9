// SPDX-License-Identifier: Apache-2.0
//! A connection to a daemon that tells what it has and what it does.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use gvirtus_protocol::handshake::{
    ClientIdentity, Hello, PREAMBLE_BYTES, Purpose, Welcome, read_server_preamble,
};
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::{LENGTH_BYTES, Picture, QUESTION, displayable};
use gvirtus_transport::{Endpoint, Stream, connect, read_exact, write_all_vectored};

/// Within this time a daemon answers; its worker may have to start a driver first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection for which the daemon answers by itself: no worker is started for it.
pub(crate) struct StatusConnection {
    stream: Box<dyn Stream>,
}

impl StatusConnection {
    /// Connects; also returns what the backend offers. `program` is how this one calls itself.
    pub(crate) fn open(endpoint: &Endpoint, program: &str) -> Result<(Self, Snapshot)> {
        let connected = connect(endpoint).map_err(anyhow::Error::from);
        let opened = connected.and_then(|stream| {
            let welcome = handshake(&*stream, Purpose::Status, program)
                .with_context(|| format!("cannot ask {endpoint}"))?;
            Ok((Self { stream }, welcome.snapshot))
        });
        let (connection, mut snapshot) = opened?;
        for device in &mut snapshot.devices {
            device.name = displayable(&device.name);
            device.pci_bus_id = displayable(&device.pci_bus_id);
        }
        Ok((connection, snapshot))
    }

    /// What the sessions do now.
    pub(crate) fn ask(&self) -> Result<Picture> {
        write_all_vectored(&*self.stream, &mut [IoSlice::new(&QUESTION)])?;
        let mut length = [0; LENGTH_BYTES];
        read_answer(&*self.stream, &mut length)?;
        let mut body = vec![0; Picture::length(length)?];
        read_answer(&*self.stream, &mut body)?;
        Ok(Picture::decode(&body)?)
    }
}

/// Says who this is; the connection is for `purpose` from then on.
pub(crate) fn handshake(stream: &dyn Stream, purpose: Purpose, program: &str) -> Result<Welcome> {
    let identity = ClientIdentity {
        pid: std::process::id(),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        program: program.to_owned(),
        container: String::new(),
    };
    let hello = Hello::with_purpose(purpose, identity, credentials()?).encode();
    write_all_vectored(stream, &mut [IoSlice::new(&hello)])?;
    let mut preamble = [0; PREAMBLE_BYTES];
    read_answer(stream, &mut preamble)?;
    let announced = read_server_preamble(&preamble)?;
    let mut body = vec![0; announced.length];
    read_answer(stream, &mut body)?;
    Ok(Welcome::decode(announced, &body)?)
}

/// The token that the client library would show too.
fn credentials() -> Result<Vec<u8>> {
    if let Some(token) = std::env::var_os("GVIRTUS_TOKEN") {
        return Ok(token.into_encoded_bytes());
    }
    match std::env::var_os("GVIRTUS_TOKEN_FILE") {
        Some(path) => std::fs::read(&path)
            .with_context(|| format!("cannot read GVIRTUS_TOKEN_FILE {}", path.display())),
        None => Ok(Vec::new()),
    }
}

/// Fills the buffer; fails if the backend takes too long.
pub(crate) fn read_answer(stream: &dyn Stream, buffer: &mut [u8]) -> Result<()> {
    Ok(read_exact(stream, buffer, Instant::now() + ANSWER_TIMEOUT)?)
}
