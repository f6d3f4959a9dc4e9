// SPDX-License-Identifier: Apache-2.0
//! `gvirtus devices`: what an endpoint offers.

use std::fmt::Write as _;
use std::io::{IoSlice, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use gvirtus_abi::CUdevice_attribute as Attribute;
use gvirtus_protocol::handshake::{
    ClientIdentity, Hello, PREAMBLE_BYTES, Welcome, read_server_preamble,
};
use gvirtus_protocol::snapshot::Device;
use gvirtus_transport::{Endpoint, Stream, connect, parse_list, write_all_vectored};
use serde_json::{Value, json};

use crate::private_backend::PrivateBackend;

/// Lists the devices that an endpoint offers.
///
/// Without an endpoint, those that `gvirtus run` would use on this machine.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gvirtus devices
  gvirtus devices --endpoint tcp://gpu-1:9999 --json")]
pub(crate) struct DevicesArgs {
    /// Where the backend listens: tcp://host:port or unix:///path; several with commas
    #[arg(long, env = "GVIRTUS_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,

    /// The driver to look at without an endpoint: auto, softgpu, or the path of a libcuda.so.1
    #[arg(long, default_value = "auto", value_name = "DRIVER")]
    driver: String,

    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// A device and where it is.
struct Offer {
    endpoint: String,
    index: usize,
    driver_version: i32,
    device: Device,
}

impl DevicesArgs {
    /// Prints the list; fails if an endpoint does not answer.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut offers = Vec::new();
        match self.endpoint.as_deref().filter(|url| !url.is_empty()) {
            Some(url) => {
                for endpoint in parse_list(url)? {
                    ask(&endpoint, endpoint.to_string(), &mut offers)?;
                }
            }
            None => {
                let scratch = tempfile::Builder::new().prefix("gvirtus-").tempdir()?;
                let backend = PrivateBackend::start(scratch.path(), &self.driver)?;
                ask(backend.endpoint(), "this machine".to_owned(), &mut offers)?;
            }
        }
        let text = if self.json {
            to_json(&offers)?
        } else {
            to_table(&offers)
        };
        // A reader that has seen enough, like `head`, is no error.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(ExitCode::SUCCESS)
    }
}

fn ask(endpoint: &Endpoint, shown_as: String, offers: &mut Vec<Offer>) -> Result<()> {
    let stream = connect(endpoint)?;
    let welcome = handshake(&*stream).with_context(|| format!("cannot ask {endpoint}"))?;
    let driver_version = welcome.snapshot.driver_version;
    offers.extend(
        welcome
            .snapshot
            .devices
            .into_iter()
            .enumerate()
            .map(|(index, device)| Offer {
                endpoint: shown_as.clone(),
                index,
                driver_version,
                device,
            }),
    );
    Ok(())
}

fn handshake(stream: &dyn Stream) -> Result<Welcome> {
    let identity = ClientIdentity {
        pid: std::process::id(),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        program: "gvirtus devices".to_owned(),
    };
    let hello = Hello::new(identity, credentials()?).encode();
    write_all_vectored(stream, &mut [IoSlice::new(&hello)])?;
    let mut preamble = [0; PREAMBLE_BYTES];
    read_exact(stream, &mut preamble)?;
    let announced = read_server_preamble(&preamble)?;
    let mut body = vec![0; announced.length];
    read_exact(stream, &mut body)?;
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

fn read_exact(stream: &dyn Stream, mut buffer: &mut [u8]) -> Result<()> {
    while !buffer.is_empty() {
        match stream.read(buffer)? {
            0 => bail!("the backend closed the connection"),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}

impl Offer {
    fn compute_capability(&self) -> String {
        let part = |attribute: Attribute| self.device.attribute(attribute.0).unwrap_or(0);
        let major = part(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
        let minor = part(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
        format!("{major}.{minor}")
    }

    /// As NVIDIA's tools write it.
    fn uuid(&self) -> String {
        let mut text = String::from("GPU-");
        for (index, byte) in self.device.uuid.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    fn cuda_version(&self) -> String {
        format!(
            "{}.{}",
            self.driver_version / 1000,
            self.driver_version % 1000 / 10
        )
    }
}

fn to_json(offers: &[Offer]) -> Result<String> {
    let devices: Vec<Value> = offers
        .iter()
        .map(|offer| {
            json!({
                "endpoint": offer.endpoint,
                "index": offer.index,
                "name": offer.device.name,
                "uuid": offer.uuid(),
                "total_memory_bytes": offer.device.total_memory_bytes,
                "compute_capability": offer.compute_capability(),
                "pci_bus_id": offer.device.pci_bus_id,
                "cuda_version": offer.cuda_version(),
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({ "devices": devices }))? + "\n")
}

fn to_table(offers: &[Offer]) -> String {
    if offers.is_empty() {
        return "no devices\n".to_owned();
    }
    let head = [
        "INDEX", "NAME", "MEMORY", "COMPUTE", "CUDA", "UUID", "ENDPOINT",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(offers.iter().map(|offer| {
        [
            offer.index.to_string(),
            offer.device.name.clone(),
            format!("{} MiB", offer.device.total_memory_bytes >> 20),
            offer.compute_capability(),
            offer.cuda_version(),
            offer.uuid(),
            offer.endpoint.clone(),
        ]
    }));
    let widths: Vec<usize> = (0..head.len())
        .map(|c| rows.iter().map(|row| row[c].len()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
