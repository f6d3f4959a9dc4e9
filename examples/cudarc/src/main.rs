// SPDX-License-Identifier: Apache-2.0
//! A Rust program that uses the GPU through the crate `cudarc`.
//!
//! It loads two kernels from PTX text, runs `y = a * x + y` in one stream, sums integers in
//! another, and compares both with the CPU. cudarc opens the CUDA driver by name at run time, so
//! the program needs neither a toolkit to build nor a driver to link with.

#![expect(clippy::print_stdout, reason = "an example shows its results")]

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cudarc::driver::{CudaContext, CudaModule, CudaStream, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;

/// Threads in a block; a power of two, as `block_sum` asks for.
const THREADS: u32 = 256;
/// How many elements are worked on when no argument says otherwise.
const USUAL_COUNT: u32 = 200_000;
/// The most elements that an argument may ask for.
const LARGEST_COUNT: u32 = 1 << 28;

fn main() -> Result<()> {
    let count = match std::env::args().nth(1) {
        None => USUAL_COUNT,
        Some(text) => text.parse().context("usage: cudarc-example [elements]")?,
    };
    ensure!(
        (1..=LARGEST_COUNT).contains(&count),
        "elements: 1 to {LARGEST_COUNT}"
    );

    let context = CudaContext::new(0)?;
    let module = context.load_module(Ptx::from_src(include_str!("kernels.ptx")))?;
    let stream = context.default_stream();
    let side_stream = context.new_stream()?;

    saxpy(&stream, &module, count)?;
    println!("y = a * x + y over {count} elements: as on the CPU");
    let total = block_sum(&side_stream, &module, count)?;
    println!("sum of {count} integers: {total}, as on the CPU");
    println!("ok cudarc");
    Ok(())
}

/// Runs `y = a * x + y` with small whole numbers, for which float arithmetic is exact.
fn saxpy(stream: &Arc<CudaStream>, module: &Arc<CudaModule>, count: u32) -> Result<()> {
    let a = 3.0_f32;
    let x: Vec<f32> = (0..count).map(|i| (i % 1024) as f32).collect();
    let y: Vec<f32> = (0..count).map(|i| (i % 7) as f32).collect();
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| a * x + y).collect();

    let kernel = module.load_function("saxpy")?;
    let device_x = stream.clone_htod(&x)?;
    let mut device_y = stream.clone_htod(&y)?;
    let mut launch = stream.launch_builder(&kernel);
    launch.arg(&mut device_y).arg(&device_x).arg(&a).arg(&count);
    // SAFETY: the arguments are those that the PTX declares, in its order, and both slices have
    // `count` elements, beyond which the kernel does not go.
    unsafe { launch.launch(config(count, 0)) }?;
    ensure!(
        stream.clone_dtoh(&device_y)? == expected,
        "saxpy differs from the CPU"
    );
    Ok(())
}

/// Sums integers: in each block through shared memory, over the blocks by an atomic addition.
fn block_sum(stream: &Arc<CudaStream>, module: &Arc<CudaModule>, count: u32) -> Result<u64> {
    let values: Vec<u32> = (0..count).map(|i| i.wrapping_mul(2_654_435_761)).collect();
    let expected: u64 = values.iter().copied().map(u64::from).sum();

    let kernel = module.load_function("block_sum")?;
    let device_values = stream.clone_htod(&values)?;
    let mut device_total = stream.alloc_zeros::<u64>(1)?;
    let shared_bytes = THREADS * size_of::<u64>() as u32;
    let mut launch = stream.launch_builder(&kernel);
    launch
        .arg(&mut device_total)
        .arg(&device_values)
        .arg(&count);
    // SAFETY: the arguments are those that the PTX declares, in its order; the slice has `count`
    // elements, and each thread has its eight bytes of shared memory.
    unsafe { launch.launch(config(count, shared_bytes)) }?;
    let total = stream.clone_dtoh(&device_total)?[0];
    ensure!(
        total == expected,
        "the sum is {total}, but the CPU's is {expected}"
    );
    Ok(total)
}

/// One thread for each element.
fn config(count: u32, shared_mem_bytes: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (count.div_ceil(THREADS), 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes,
    }
}
