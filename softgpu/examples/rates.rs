// SPDX-License-Identifier: Apache-2.0
//! Measures how fast kernels run: `rates [--workers N] [NAME…]`. Kernels are in `rates.cu`.
//!
//! Prints, for each kernel, the processor time of a launch, executed lane-instructions per second
//! of it, and the average lanes an instruction was executed for. Processor time, because on a busy
//! machine the time on the clock says nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gvirtus_softgpu::exec::{LaunchConfig, LaunchOptions, LoadedModule, launch};
use gvirtus_softgpu::memory::Memory;
use gvirtus_softgpu::printf::Fifo;

struct Case {
    name: &'static str,
    grid: [u32; 3],
    block: [u32; 3],
    parameters: Vec<u8>,
}

fn case(name: &'static str, grid: [u32; 2], block: [u32; 2], parameters: &[&[u8]]) -> Case {
    let [gx, gy] = grid;
    let [bx, by] = block;
    let mut bytes = Vec::new();
    for parameter in parameters {
        bytes.resize(bytes.len().next_multiple_of(parameter.len()), 0);
        bytes.extend_from_slice(parameter);
    }
    Case {
        name,
        grid: [gx, gy, 1],
        block: [bx, by, 1],
        parameters: bytes,
    }
}

fn cases(memory: &Memory) -> Vec<Case> {
    let buffer = |bytes: u64| {
        let address = memory.alloc(bytes).expect("the example's buffers fit");
        memory
            .fill(address, &[0x11], bytes)
            .expect("just allocated");
        address.to_le_bytes()
    };
    let (out, a, b) = (buffer(16 << 20), buffer(16 << 20), buffer(16 << 20));
    let index = buffer(4 << 20);
    let address = u64::from_le_bytes(index);
    for i in 0..1_u32 << 20 {
        let value = i.wrapping_mul(2_654_435_761) & 0xf_ffff;
        memory
            .write(address + u64::from(i) * 4, &value.to_le_bytes())
            .expect("inside");
    }
    let (n1m, n512) = ((1_u32 << 20).to_le_bytes(), 512_u32.to_le_bytes());
    let f = |value: f32| value.to_le_bytes();
    let d = |value: f64| value.to_le_bytes();
    let half = [0x00, 0x38, 0x00, 0x34_u8];
    vec![
        case("nothing", [1, 1], [256, 1], &[]),
        case("fp32", [64, 1], [256, 1], &[&out, &f(0.999), &f(0.001)]),
        case("fp64", [64, 1], [256, 1], &[&out, &d(0.999), &d(0.001)]),
        case("integers", [64, 1], [256, 1], &[&out]),
        case("halves", [16, 1], [256, 1], &[&out, &half, &half]),
        case("vector_add", [4096, 1], [256, 1], &[&out, &a, &b, &n1m]),
        case("matmul16", [32, 32], [16, 16], &[&out, &a, &b, &n512]),
        case("matmul32", [16, 16], [32, 32], &[&out, &a, &b, &n512]),
        case("matmul_naive", [32, 32], [16, 16], &[&out, &a, &b, &n512]),
        case(
            "bodies",
            [4, 1],
            [256, 1],
            &[&out, &a, &1024_u32.to_le_bytes()],
        ),
        case("reduce", [128, 1], [256, 1], &[&out, &a, &n1m]),
        case("shuffles", [64, 1], [256, 1], &[&out]),
        case("histogram", [64, 1], [256, 1], &[&out, &a, &n1m]),
        case(
            "mandelbrot",
            [32, 32],
            [16, 16],
            &[&out, &n512, &200_u32.to_le_bytes()],
        ),
        case("gather", [256, 1], [256, 1], &[&out, &a, &index, &n1m]),
        case("transcendental", [64, 1], [256, 1], &[&out]),
        case("calls", [16, 1], [256, 1], &[&out]),
        case("local_array", [16, 1], [256, 1], &[&out, &n512]),
        case("bytes", [64, 1], [256, 1], &[&out, &a, &n1m]),
        case(
            "copy4",
            [64, 1],
            [256, 1],
            &[&out, &a, &(1_u32 << 18).to_le_bytes()],
        ),
        case("transpose", [16, 16], [32, 8], &[&out, &a, &n512]),
        case("bitonic", [16, 1], [1024, 1], &[&b]),
        case("diverge", [16, 1], [256, 1], &[&out]),
        case("atomics", [64, 1], [256, 1], &[&out, &n1m]),
    ]
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[expect(clippy::print_stdout, reason = "this is a command-line tool")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut workers = 1;
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--workers" {
            workers = arguments
                .next()
                .ok_or("--workers needs a number")?
                .parse()?;
        } else {
            wanted.push(argument);
        }
    }
    let source = include_str!("rates.ptx");
    let module = gvirtus_softgpu::lower::lower(&[gvirtus_softgpu::ptx::parse(source)?])?;
    let memory = Arc::new(Memory::new(256 << 20)?);
    let loaded = LoadedModule::instantiate(module, &memory)?;
    let sink = Fifo::new(1 << 20);
    let options = LaunchOptions {
        workers,
        ..LaunchOptions::new(&sink)
    };
    println!(
        "{:<16}{:>12}{:>14}{:>12}{:>8}",
        "kernel", "time", "lane-instr", "Glane/s", "lanes"
    );
    for case in cases(&memory) {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == case.name) {
            continue;
        }
        let kernel = loaded.kernel(case.name).ok_or("no such kernel")?;
        let config = LaunchConfig {
            grid: case.grid,
            block: case.block,
            dynamic_shared_bytes: 0,
            cooperative: false,
            cluster: None,
        };
        let run = || launch(&loaded, kernel, &config, &case.parameters, &options);
        let statistics = run()?;
        let mut best = f64::INFINITY;
        let begin = Instant::now();
        while begin.elapsed().as_millis() < 300 {
            let start = processor_time();
            run()?;
            best = best.min((processor_time() - start).as_secs_f64());
        }
        let lanes = statistics.lane_instructions as f64;
        println!(
            "{:<16}{:>9.1} us{:>14}{:>12.2}{:>8.1}",
            case.name,
            best * 1e6,
            statistics.lane_instructions,
            lanes / best / 1e9,
            lanes / statistics.instructions as f64,
        );
    }
    Ok(())
}
