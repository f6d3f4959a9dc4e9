// SPDX-License-Identifier: Apache-2.0
//! Measures the figures that the software device promises, each next to its goal: `goals`.
//!
//! Rates are by processor time, because on a busy machine the time on the clock says nothing; where
//! cores must work together both are given.

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gvirtus_softgpu::exec::{LaunchConfig, LaunchOptions, LoadedModule, launch};
use gvirtus_softgpu::memory::Memory;
use gvirtus_softgpu::printf::Fifo;
use gvirtus_softgpu::{ir, lower, ptx};

const KERNELS: &str = include_str!("rates.ptx");
/// CUB's sorts and scans as nvcc compiles them: the largest text in the tree.
const LARGE: &[u8] = include_bytes!("../tests/ptx/corpus/cub.80.ptx.zst");
/// How long each figure is measured.
const PERIOD: Duration = Duration::from_secs(1);
/// CUDA's `matrixMul`: height and width of a, width of b.
const MATRIX: [u32; 3] = [320, 320, 640];
const TILE: u32 = 32;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Counts what is allocated.
struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Processor time of the calling thread.
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The least processor time of a run, and the time on the clock of the run that was fastest by it.
fn best(mut run: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    run()?;
    let (mut processor, mut clock) = (f64::INFINITY, f64::INFINITY);
    let begin = Instant::now();
    while begin.elapsed() < PERIOD {
        let (start, wall) = (processor_time(), Instant::now());
        run()?;
        processor = processor.min((processor_time() - start).as_secs_f64());
        clock = clock.min(wall.elapsed().as_secs_f64());
    }
    Ok((processor, clock))
}

#[expect(clippy::print_stdout, reason = "this is a command-line tool")]
fn say(figure: &str, value: &str, goal: &str) {
    println!("{figure:<58}{value:>18}   {goal}");
}

fn load(text: &str) -> Result<ir::Module> {
    Ok(lower::lower(&[ptx::parse(text)?])?)
}

struct Device {
    memory: Arc<Memory>,
    module: LoadedModule,
}

impl Device {
    fn new() -> Result<Self> {
        let memory = Arc::new(Memory::new(256 << 20)?);
        let module = LoadedModule::instantiate(load(KERNELS)?, &memory)?;
        Ok(Self { memory, module })
    }

    fn buffer(&self, bytes: u64) -> Result<u64> {
        let address = self.memory.alloc(bytes)?;
        self.memory.fill(address, &[0x11], bytes)?;
        Ok(address)
    }

    /// Runs a kernel; answers the lane-instructions.
    fn run(
        &self,
        name: &str,
        shape: [[u32; 3]; 2],
        arguments: &[u8],
        workers: usize,
    ) -> Result<u64> {
        let kernel = self.module.kernel(name).ok_or("no such kernel")?;
        let config = LaunchConfig {
            grid: shape[0],
            block: shape[1],
            dynamic_shared_bytes: 0,
            cooperative: false,
            cluster: None,
        };
        let fifo = Fifo::new(1 << 20);
        let options = LaunchOptions {
            workers,
            ..LaunchOptions::new(&fifo)
        };
        let statistics = launch(&self.module, kernel, &config, arguments, &options)?;
        Ok(statistics.lane_instructions)
    }
}

fn rates(device: &Device, cores: usize) -> Result<()> {
    let buffers = [0; 3].map(|_| device.buffer(1 << 20));
    let [out, a, b] = buffers;
    let (out, a, b) = (out?.to_le_bytes(), a?.to_le_bytes(), b?.to_le_bytes());
    let factors = [0.999_f32.to_le_bytes(), 0.001_f32.to_le_bytes()].concat();
    let fp32 = [&out[..], &factors].concat();
    let block = [256, 1, 1];
    let measure = |name: &str, shape, arguments: &[u8]| -> Result<f64> {
        let lanes = device.run(name, shape, arguments, 1)?;
        let (time, _) = best(|| device.run(name, shape, arguments, 1).map(drop))?;
        Ok(lanes as f64 / time / 1e9)
    };
    let rate = measure("fp32", [[64, 1, 1], block], &fp32)?;
    say(
        "straight-line FP32, lane-instructions a second a core",
        &format!("{rate:.2}e9"),
        "at least 2e9",
    );
    let matmul = [&out[..], &a, &b, &512_u32.to_le_bytes()].concat();
    let rate = measure("matmul32", [[16, 16, 1], [32, 32, 1]], &matmul)?;
    say(
        "tiled matrix multiply, lane-instructions a second a core",
        &format!("{rate:.2}e9"),
        "at least 1e9",
    );
    let blocks = 2 * cores as u32;
    let shape = [[blocks, 1, 1], [1024, 1, 1]];
    let (all, own) = (processor_time(), own_time());
    best(|| device.run("fp32", shape, &fp32, cores).map(drop))?;
    let (all, own) = (processor_time() - all, own_time() - own);
    let threads = all.as_secs_f64() / own.as_secs_f64();
    say(
        &format!("{blocks} blocks: all processor time by that of one of the threads"),
        &format!("{threads:.2}"),
        &format!("{cores}, all cores used"),
    );
    Ok(())
}

fn front_end() -> Result<()> {
    let large = String::from_utf8(zstd::decode_all(LARGE)?)?;
    for (name, text) in [("CUB's PTX", large.as_str()), ("rates.ptx", KERNELS)] {
        let (time, _) = best(|| load(text).map(drop))?;
        let (parse, _) = best(|| {
            ptx::parse(text)?;
            Ok(())
        })?;
        let megabytes = text.len() as f64 / 1e6;
        say(
            &format!("{name} ({megabytes:.2} MB): parse and lower (parse alone)"),
            &format!("{:.0} ({:.0}) MB/s", megabytes / time, megabytes / parse),
            "at least 20 MB/s",
        );
        let before = LIVE_BYTES.load(Ordering::Relaxed);
        PEAK_BYTES.store(before, Ordering::Relaxed);
        let module = load(text)?;
        let device = Arc::new(Memory::new(64 << 20)?);
        let loaded = LoadedModule::instantiate(module, &device)?;
        let of_text = |bytes: usize| (bytes - before) as f64 / text.len() as f64;
        let live = of_text(LIVE_BYTES.load(Ordering::Relaxed));
        let peak = of_text(PEAK_BYTES.load(Ordering::Relaxed));
        drop(loaded);
        say(
            &format!("{name}: memory of the loaded module (peak) by its text"),
            &format!("{live:.1} ({peak:.1}) times"),
            "at most 20 times",
        );
    }
    Ok(())
}

fn matrix(cores: usize) -> Result<()> {
    let [height, depth, width] = MATRIX.map(u64::from);
    let mut kernel_time = f64::INFINITY;
    let whole = || -> Result<()> {
        let device = Device::new()?;
        let buffers = [height * width, height * depth, depth * width].map(|n| device.buffer(4 * n));
        let mut arguments = Vec::new();
        for buffer in buffers {
            arguments.extend(buffer?.to_le_bytes());
        }
        arguments.extend(MATRIX[1].to_le_bytes());
        arguments.extend(MATRIX[2].to_le_bytes());
        let grid = [MATRIX[2] / TILE, MATRIX[0] / TILE, 1];
        let start = Instant::now();
        device.run("matmul_sizes", [grid, [TILE, TILE, 1]], &arguments, cores)?;
        kernel_time = kernel_time.min(start.elapsed().as_secs_f64());
        let mut out = vec![0; (4 * height * width) as usize];
        let address = u64::from_le_bytes(arguments[..8].try_into()?);
        Ok(device.memory.read(address, &mut out)?)
    };
    let (processor, clock) = best(whole)?;
    say(
        &format!("matrixMul's sizes, {cores} workers: whole (kernel alone)"),
        &format!("{clock:.3} ({kernel_time:.3}) s"),
        "at most 0.15 s on two cores",
    );
    say(
        "the same, processor time of all workers, whole",
        &format!("{processor:.3} s"),
        "",
    );
    Ok(())
}

fn main() -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let device = Device::new()?;
    rates(&device, cores)?;
    front_end()?;
    matrix(cores)
}
