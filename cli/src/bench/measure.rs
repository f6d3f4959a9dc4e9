// SPDX-License-Identifier: Apache-2.0
//! The measuring process: a CUDA program that is also the client of a bare connection.
//!
//! Rounds with us and rounds without us alternate in one process, so that whatever else the machine
//! does meets both alike.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use gvirtus_transport::Endpoint;
use serde::{Deserialize, Serialize};

use super::bare::Bare;
use super::cuda::Cuda;
use super::statistics::{median, percentile};

/// What to measure; the process reads it from its standard input.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Plan {
    pub(super) what: What,
    /// The libcuda to open.
    pub(super) library: PathBuf,
    /// Where the bare peer listens; none if there is nothing to compare with.
    pub(super) bare: Option<String>,
    /// Less exact, and fast.
    pub(super) quick: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum What {
    Copies,
    FirstCall,
    Launches,
    RoundTrips,
}

/// What came out; each kind of measurement fills its own part.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Measured {
    pub(super) round_trips: Option<RoundTrips>,
    pub(super) launches: Option<Launches>,
    pub(super) copies: Vec<Copy>,
}

/// Microseconds, ours and bare.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct RoundTrips {
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) bare_p50: Option<f64>,
    pub(super) bare_p99: Option<f64>,
}

/// Launches that nobody waits for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Launches {
    /// Median nanoseconds of one call, each with its own two looks at the clock.
    pub(super) call_p50_ns: f64,
    /// The same, 99 per cent.
    pub(super) call_p99_ns: f64,
    /// Median nanoseconds a launch, of batches.
    pub(super) batch_p50_ns: f64,
    /// Until the backend has executed all.
    pub(super) per_second: f64,
    /// Median nanoseconds of two looks at the clock.
    pub(super) clock_ns: f64,
}

/// Copies of one size, in GB/s.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Copy {
    pub(super) bytes: usize,
    pub(super) to_device: f64,
    pub(super) to_host: f64,
    pub(super) bare_to_device: Option<f64>,
    pub(super) bare_to_host: Option<f64>,
}

/// The sizes of copies, in bytes.
const COPY_BYTES: [usize; 6] = [4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20, 256 << 20];

/// Reads a plan, measures, writes what was measured.
pub(super) fn run() -> Result<()> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read the plan")?;
    let plan: Plan = serde_json::from_str(&text).context("not a plan")?;
    let cuda = Cuda::open(&plan.library)?;
    let bare = match &plan.bare {
        Some(endpoint) => Some(Bare::connect(&endpoint.parse::<Endpoint>()?)?),
        None => None,
    };
    let bare = bare.as_ref();
    let mut measured = Measured::default();
    match plan.what {
        What::FirstCall => {
            let address = cuda.allocate(1 << 20)?;
            cuda.copy_to_host(&mut [0; 4], address)?;
        }
        What::RoundTrips => measured.round_trips = Some(round_trips(&cuda, bare, plan.quick)?),
        What::Launches => measured.launches = Some(launches(&cuda, plan.quick)?),
        What::Copies => {
            for bytes in COPY_BYTES {
                measured
                    .copies
                    .push(copies(&cuda, bare, bytes, plan.quick)?);
            }
        }
    }
    super::print(&serde_json::to_string(&measured)?);
    Ok(())
}

fn round_trips(cuda: &Cuda, bare: Option<&Bare>, quick: bool) -> Result<RoundTrips> {
    let (rounds, calls) = if quick { (10, 200) } else { (60, 500) };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        for _ in 0..calls {
            let start = Instant::now();
            cuda.synchronize()?;
            ours.push(start.elapsed().as_secs_f64() * 1e6);
        }
        if let Some(bare) = bare {
            for _ in 0..calls {
                let start = Instant::now();
                bare.ping()?;
                theirs.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        if round == 0 {
            // Warm now.
            (ours, theirs) = (Vec::new(), Vec::new());
        }
    }
    Ok(RoundTrips {
        p50: median(&mut ours),
        p99: percentile(&mut ours, 99),
        bare_p50: bare.map(|_| median(&mut theirs)),
        bare_p99: bare.map(|_| percentile(&mut theirs, 99)),
    })
}

fn launches(cuda: &Cuda, quick: bool) -> Result<Launches> {
    const BATCH: u32 = 1000;
    let (batches, sustained, runs) = if quick {
        (100, 300_000, 3)
    } else {
        (1000, 1_000_000, 5)
    };
    let kernel = cuda.noop_kernel()?;
    for index in 0..BATCH {
        cuda.launch(kernel, 0, index)?;
    }
    cuda.synchronize()?;

    let (mut clock, mut calls, mut batch_times) = (Vec::new(), Vec::new(), Vec::new());
    for batch in 0..batches {
        let start = Instant::now();
        clock.push(start.elapsed().as_secs_f64() * 1e9);
        // A burst each time, after which the backend catches up: the caller's own cost.
        for index in 0..BATCH {
            let start = Instant::now();
            cuda.launch(kernel, batch, index)?;
            calls.push(start.elapsed().as_secs_f64() * 1e9);
        }
        cuda.synchronize()?;
        let start = Instant::now();
        for index in 0..BATCH {
            cuda.launch(kernel, batch, index)?;
        }
        batch_times.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH));
        cuda.synchronize()?;
    }

    let mut rates = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        for index in 0..sustained {
            cuda.launch(kernel, 0, index)?;
        }
        cuda.synchronize()?;
        rates.push(f64::from(sustained) / start.elapsed().as_secs_f64());
    }
    Ok(Launches {
        call_p50_ns: median(&mut calls),
        call_p99_ns: percentile(&mut calls, 99),
        batch_p50_ns: median(&mut batch_times),
        per_second: median(&mut rates),
        clock_ns: median(&mut clock),
    })
}

/// Copies of `bytes` up and down, with us and without us in turn.
fn copies(cuda: &Cuda, bare: Option<&Bare>, bytes: usize, quick: bool) -> Result<Copy> {
    // A round moves some tens of MiB, and a few for the smallest, whose cost is that of a call.
    let per_round = (64 << 20) / bytes;
    let count = per_round.clamp(1, if quick { 300 } else { 2000 });
    let rounds = if quick { 4 } else { 12 };
    let mut host = vec![7_u8; bytes];
    let address = cuda.allocate(bytes)?;
    let speed = |start: Instant| (bytes * count) as f64 / start.elapsed().as_secs_f64() / 1e9;
    let [mut up, mut down, mut bare_up, mut bare_down] = [const { Vec::new() }; 4];
    for round in 0..=rounds {
        host.fill(u8::try_from(round % 251).unwrap_or(0));
        let start = Instant::now();
        for _ in 0..count {
            cuda.copy_to_device(address, &host)?;
        }
        cuda.synchronize()?;
        up.push(speed(start));
        if let Some(bare) = bare {
            let start = Instant::now();
            bare.up(&host, count)?;
            bare_up.push(speed(start));
        }
        let expected = host[0];
        host.fill(!expected);
        let start = Instant::now();
        for _ in 0..count {
            cuda.copy_to_host(&mut host, address)?;
        }
        down.push(speed(start));
        ensure!(
            host[0] == expected && host[bytes - 1] == expected && host[bytes / 2] == expected,
            "the device returned other bytes than it was given"
        );
        if let Some(bare) = bare {
            let start = Instant::now();
            bare.down(&mut host, count)?;
            bare_down.push(speed(start));
        }
        if round == 0 {
            for samples in [&mut up, &mut down, &mut bare_up, &mut bare_down] {
                samples.clear();
            }
        }
    }
    cuda.free(address)?;
    Ok(Copy {
        bytes,
        to_device: median(&mut up),
        to_host: median(&mut down),
        bare_to_device: bare.map(|_| median(&mut bare_up)),
        bare_to_host: bare.map(|_| median(&mut bare_down)),
    })
}
