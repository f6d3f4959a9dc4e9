// SPDX-License-Identifier: Apache-2.0
//! `gvirtus bench`: what remoting costs on this machine, each figure beside its limit and beside
//! what the same costs without us.
//!
//! This process starts backends, bare peers and measuring processes ([`measure`]) and collects
//! their figures. Round trips and launches go to a driver that does nothing, copies to the software
//! device, which really stores what it gets, or to the given endpoint.

mod bare;
mod children;
mod cuda;
mod examples;
mod figure;
mod machine;
mod measure;
mod placement;
mod statistics;

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use gvirtus_transport::Endpoint;

use self::figure::{Better, Figure, Report};
use self::machine::Machine;
use self::measure::{Measured, Plan, What};
use crate::installation;

/// A round trip may take so many times as long as a bare one.
const ROUND_TRIP_RATIO: f64 = 1.5;
/// The caller's time of a launch, in nanoseconds.
const LAUNCH_NS: f64 = 400.0;
/// Launches that a backend executes in a second.
const LAUNCHES_PER_SECOND: f64 = 1e6;
/// Copies reach this part of a bare socket's bandwidth …
const BANDWIDTH_RATIO: f64 = 0.8;
/// … from this size on, in bytes.
const BANDWIDTH_FROM: usize = 1 << 20;
/// From the start of a process to the end of its first call, in milliseconds.
const FIRST_CALL_MS: f64 = 60.0;

/// Measures what remoting costs on this machine.
///
/// Each figure stands beside its limit and beside what the same costs without GVirtuS: a round trip
/// and a copy on a bare socket of the same type, an example straight on the software device.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gvirtus bench
  gvirtus bench --quick --transport unix
  gvirtus bench --endpoint unix:///run/gvirtus.sock --json")]
pub(crate) struct BenchArgs {
    /// Copy to and from this backend's device instead of the software device
    #[arg(long, env = "GVIRTUS_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,

    /// What to measure on, without an endpoint
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "unix,tcp",
        value_name = "NAME,…"
    )]
    transport: Vec<Transport>,

    /// Measure only this
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    only: Vec<Part>,

    /// A tenth of the time, and less exact
    #[arg(long)]
    quick: bool,

    /// Prints JSON instead of a table
    #[arg(long)]
    json: bool,

    /// What this process is within a measurement
    #[arg(long, hide = true)]
    role: Option<Role>,
}

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Transport {
    Tcp,
    Unix,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Copies,
    Examples,
    Launches,
    RoundTrips,
    Start,
}

/// What a process does within a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Client,
    Peer,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
        }
    }
}

impl Transport {
    const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
        }
    }

    /// A place that nobody listens on.
    fn free_endpoint(self, scratch: &Path, purpose: &str) -> Result<String> {
        Ok(match self {
            Self::Tcp => {
                let listener = TcpListener::bind(("127.0.0.1", 0))?;
                format!("tcp://{}", listener.local_addr()?)
            }
            Self::Unix => format!("unix://{}", scratch.join(purpose).display()),
        })
    }
}

impl BenchArgs {
    /// Measures and prints; fails only if something cannot be measured, not if a limit is missed.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.role {
            Some(Role::Client) => measure::run()?,
            Some(Role::Peer) => {
                let endpoint = self.endpoint.context("a peer has an endpoint")?;
                bare::serve(&endpoint.parse()?)?;
            }
            None => {
                let report = self.measure_all()?;
                if self.json {
                    print(&serde_json::to_string_pretty(&report)?);
                } else {
                    print(report.table().trim_end());
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn measure_all(&self) -> Result<Report> {
        let scratch = tempfile::Builder::new().prefix("gvirtus-").tempdir()?;
        let mut report = Report {
            machine: Machine::this(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            figures: Vec::new(),
            notes: Vec::new(),
        };
        let endpoint = self.endpoint.as_deref().filter(|url| !url.is_empty());
        match endpoint {
            Some(url) => {
                let endpoint: Endpoint = url.parse()?;
                let transport = match endpoint {
                    Endpoint::Tcp { .. } => Transport::Tcp,
                    Endpoint::Unix { .. } => Transport::Unix,
                };
                self.measure_one(transport, Some(&endpoint), scratch.path(), &mut report)?;
            }
            None => {
                for transport in &self.transport {
                    self.measure_one(*transport, None, scratch.path(), &mut report)?;
                }
            }
        }
        Ok(report)
    }

    /// Everything on one kind of socket.
    fn measure_one(
        &self,
        transport: Transport,
        given: Option<&Endpoint>,
        scratch: &Path,
        report: &mut Report,
    ) -> Result<()> {
        let name = transport.name();
        let scratch = &scratch.join(name);
        std::fs::create_dir(scratch)?;
        let noop = transport.free_endpoint(scratch, "noop")?;
        let _noop = children::backend("noop", std::slice::from_ref(&noop))?;
        let (device, _softgpu) = match given {
            Some(endpoint) => (endpoint.to_string(), None),
            None => {
                let endpoint = transport.free_endpoint(scratch, "softgpu")?;
                let backend = children::backend("softgpu", std::slice::from_ref(&endpoint))?;
                (endpoint, Some(backend))
            }
        };
        let bare = transport.free_endpoint(scratch, "bare")?;
        let _peer = children::peer(&bare)?;
        // A bare socket on this machine says nothing about a backend on another.
        let is_local = given.is_none_or(Endpoint::is_local);
        let client = Client {
            quick: self.quick,
            library: installation::client_library()?,
        };
        let figures = &mut report.figures;

        let wants = |part| self.only.is_empty() || self.only.contains(&part);
        if wants(Part::RoundTrips) {
            progress(&format!("{name}: round trips"));
            round_trips(transport, scratch, &client, figures)?;
        }
        if wants(Part::Launches) {
            progress(&format!("{name}: launches"));
            let measured = client.measure(What::Launches, None, &noop)?;
            launch_figures(name, &measured, figures);
        }
        if wants(Part::Start) {
            progress(&format!("{name}: start"));
            first_call_figure(name, &client, &device, figures)?;
        }
        if wants(Part::Copies) {
            progress(&format!("{name}: copies"));
            let measured = client.measure(What::Copies, is_local.then_some(&bare), &device)?;
            copy_figures(name, &measured, figures);
        }
        if !wants(Part::Examples) {
            return Ok(());
        }
        if given.is_some() {
            report.notes.push(
                "examples are compared with the software device, so only without --endpoint".into(),
            );
            return Ok(());
        }
        self.measure_examples(name, &device, scratch, report)
    }

    fn measure_examples(
        &self,
        transport: &str,
        endpoint: &str,
        scratch: &Path,
        report: &mut Report,
    ) -> Result<()> {
        let examples = examples::find()?;
        if examples.is_empty() {
            let note = "there are no compiled examples; `cargo xtask examples` makes them";
            report.notes.push(note.into());
            return Ok(());
        }
        let working = scratch.join("working");
        std::fs::create_dir(&working)?;
        let softgpu = scratch.join("softgpu-library");
        std::fs::create_dir(&softgpu)?;
        symlink(software_device()?, softgpu.join("libcuda.so.1"))?;
        let client = installation::client_library_folder(scratch)?;
        let folders = examples::Folders {
            client: &client,
            softgpu: &softgpu,
            working: &working,
        };
        let place = (transport, endpoint);
        examples::measure(&examples, &folders, place, self.quick, report, &progress)
    }
}

/// How measuring processes are started.
struct Client {
    quick: bool,
    library: PathBuf,
}

impl Client {
    fn measure(&self, what: What, bare: Option<&String>, endpoint: &str) -> Result<Measured> {
        Ok(children::measure(&self.plan(what, bare), Some(endpoint))?.0)
    }

    fn plan(&self, what: What, bare: Option<&String>) -> Plan {
        Plan {
            what,
            library: self.library.clone(),
            bare: bare.cloned(),
            quick: self.quick,
        }
    }
}

/// Round trips to a process on the same core and on another one.
fn round_trips(
    transport: Transport,
    scratch: &Path,
    client: &Client,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let cores = placement::cores()?;
    let home = *cores.first().context("this runs on some core")?;
    let endpoint = transport.free_endpoint(scratch, "noop-at-home")?;
    let bare = transport.free_endpoint(scratch, "bare-at-home")?;
    let others = placement::on_core(home, || {
        let backend = children::backend("noop", std::slice::from_ref(&endpoint))?;
        Ok([backend, children::peer(&bare)?])
    })?;
    let places = [("same_core", Some(&home)), ("other_core", cores.get(1))];
    for (place, core) in places {
        let Some(core) = core else { continue };
        let measured = placement::on_core(*core, || {
            client.measure(What::RoundTrips, Some(&bare), &endpoint)
        })?;
        round_trip_figures(
            &format!("{}.round_trip_{place}", transport.name()),
            &measured,
            figures,
        );
    }
    drop(others);
    Ok(())
}

fn round_trip_figures(name: &str, measured: &Measured, figures: &mut Vec<Figure>) {
    let Some(times) = &measured.round_trips else {
        return;
    };
    let figure = |what, value, bare: Option<f64>| {
        let figure = Figure::new(format!("{name}_{what}"), "us", Better::Lower).value(value);
        bare.map_or(figure.clone(), |bare| figure.bare(bare))
    };
    figures.push(figure("p50", times.p50, times.bare_p50).limit_by_bare(ROUND_TRIP_RATIO));
    figures.push(figure("p99", times.p99, times.bare_p99));
}

fn launch_figures(transport: &str, measured: &Measured, figures: &mut Vec<Figure>) {
    let Some(launches) = &measured.launches else {
        return;
    };
    let figure =
        |what, value| Figure::new(format!("{transport}.{what}"), "ns", Better::Lower).value(value);
    figures.push(figure("launch_call_p50", launches.call_p50_ns).limit(LAUNCH_NS));
    figures.push(figure("launch_call_p99", launches.call_p99_ns));
    figures.push(figure("launch_batch_p50", launches.batch_p50_ns).limit(LAUNCH_NS));
    figures.push(figure("clock_p50", launches.clock_ns));
    figures.push(
        Figure::new(format!("{transport}.launches"), "1/s", Better::Higher)
            .value(launches.per_second)
            .limit(LAUNCHES_PER_SECOND),
    );
}

fn copy_figures(transport: &str, measured: &Measured, figures: &mut Vec<Figure>) {
    for copy in &measured.copies {
        let ways = [
            ("h2d", copy.to_device, copy.bare_to_device),
            ("d2h", copy.to_host, copy.bare_to_host),
        ];
        for (way, value, bare) in ways {
            let name = format!("{transport}.{way}_{}", size(copy.bytes));
            let mut figure = Figure::new(name, "GB/s", Better::Higher).value(value);
            if let Some(bare) = bare {
                figure = figure.bare(bare);
            }
            if copy.bytes >= BANDWIDTH_FROM {
                figure = figure.limit_by_bare(BANDWIDTH_RATIO);
            }
            figures.push(figure);
        }
    }
}

/// From the start of a process until its first calls are answered, with us and without us in turn.
fn first_call_figure(
    transport: &str,
    client: &Client,
    endpoint: &str,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let rounds = if client.quick { 5 } else { 21 };
    let plan = client.plan(What::FirstCall, None);
    let straight = Plan {
        library: software_device()?,
        ..plan.clone()
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (_, elapsed) = children::measure(&plan, Some(endpoint))?;
        ours.push(elapsed.as_secs_f64() * 1e3);
        let (_, elapsed) = children::measure(&straight, None)?;
        theirs.push(elapsed.as_secs_f64() * 1e3);
    }
    figures.push(
        Figure::new(format!("{transport}.first_call"), "ms", Better::Lower)
            .value(statistics::median(&mut ours))
            .bare(statistics::median(&mut theirs))
            .limit(FIRST_CALL_MS),
    );
    Ok(())
}

/// The software device's library: beside the program in cargo's target folder, or installed.
fn software_device() -> Result<PathBuf> {
    let program = installation::program()?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let candidates = [
        folder.join("libgvirtus_softgpu.so"),
        folder.join("../lib/gvirtus/softgpu/libcuda.so.1"),
    ];
    let found = candidates.iter().find(|path| path.exists());
    ensure!(found.is_some(), "there is no {}", candidates[0].display());
    found
        .context("found above")?
        .canonicalize()
        .context("the software device")
}

/// A size as people write it.
fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 20 => format!("{}MiB", bytes >> 20),
        _ => format!("{}KiB", bytes >> 10),
    }
}

#[allow(clippy::print_stderr, reason = "a person waits")]
fn progress(what: &str) {
    eprintln!("{what}");
}

#[allow(clippy::print_stdout, reason = "this is what the user asked")]
fn print(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(4 << 10), "4KiB");
        assert_eq!(size(256 << 20), "256MiB");
    }
}
