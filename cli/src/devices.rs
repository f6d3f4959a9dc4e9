// SPDX-License-Identifier: Apache-2.0
//! `gvirtus devices`: what an endpoint offers.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use gvirtus_protocol::snapshot::Device;
use gvirtus_protocol::status::DeviceFigures;
use gvirtus_transport::{Endpoint, parse_list};
use serde_json::{Value, json};

use crate::connection::StatusConnection;
use crate::private_backend::PrivateBackend;
use crate::text::{self, Align, compute_capability, cuda_version, uuid};

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

/// How this program calls itself.
const PROGRAM: &str = "gvirtus devices";

/// A device and where it is.
struct Offer {
    endpoint: String,
    index: usize,
    driver_version: i32,
    device: Device,
    figures: DeviceFigures,
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
    let (connection, snapshot) = StatusConnection::open(endpoint, PROGRAM)?;
    // Not every backend has NVML.
    let figures = connection.ask()?.devices;
    let driver_version = snapshot.driver_version;
    let devices = snapshot.devices.into_iter().enumerate();
    offers.extend(devices.map(|(index, device)| Offer {
        endpoint: shown_as.clone(),
        index,
        driver_version,
        device,
        figures: figures.get(index).copied().unwrap_or_default(),
    }));
    Ok(())
}

fn to_json(offers: &[Offer]) -> Result<String> {
    let devices: Vec<Value> = offers
        .iter()
        .map(|offer| {
            json!({
                "endpoint": offer.endpoint,
                "index": offer.index,
                "name": offer.device.name,
                "uuid": uuid(&offer.device),
                "total_memory_bytes": offer.device.total_memory_bytes,
                "memory_used_bytes": offer.figures.memory_used_bytes,
                "utilisation_percent": offer.figures.utilisation_percent,
                "compute_capability": compute_capability(&offer.device),
                "pci_bus_id": offer.device.pci_bus_id,
                "cuda_version": cuda_version(offer.driver_version),
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
        "INDEX", "NAME", "MEMORY", "USED", "UTIL", "COMPUTE", "CUDA", "UUID", "ENDPOINT",
    ];
    let unknown = || "–".to_owned();
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(offers.iter().map(|offer| {
        let DeviceFigures {
            memory_used_bytes,
            utilisation_percent,
        } = offer.figures;
        vec![
            offer.index.to_string(),
            offer.device.name.clone(),
            format!("{} MiB", offer.device.total_memory_bytes >> 20),
            memory_used_bytes.map_or_else(unknown, |bytes| format!("{} MiB", bytes >> 20)),
            utilisation_percent.map_or_else(unknown, |percent| format!("{percent}%")),
            compute_capability(&offer.device),
            cuda_version(offer.driver_version),
            uuid(&offer.device),
            offer.endpoint.clone(),
        ]
    }));
    text::table(&[Align::Left; 9], &rows)
}
