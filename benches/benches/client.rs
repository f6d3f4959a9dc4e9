// SPDX-License-Identifier: Apache-2.0
//! What a call costs the application: with the real client in this process and a worker that
//! executes nothing in another.
//!
//! The client reads its endpoint from the environment, so this program plays the worker and starts
//! itself once more, with that variable, to measure.

#![allow(
    missing_docs,
    reason = "criterion's macro makes a function that has none"
)]

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::ptr::null_mut;

use criterion::{Criterion, Throughput, criterion_group};
use gvirtus_abi::{CUcontext, CUdevice, CUdeviceptr, CUfunction, CUmodule, CUresult, CUstream};
use gvirtus_frontend::api::*;
use gvirtus_transport::{Endpoint, Listener};

const ENDPOINT: &str = "GVIRTUS_ENDPOINT";

/// The default stream that a symbol without suffix means.
const LEGACY: CUstream = gvirtus_abi::CU_STREAM_LEGACY;

fn main() -> ExitCode {
    if std::env::var_os(ENDPOINT).is_some() {
        benches();
        Criterion::default().configure_from_args().final_summary();
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("the temporary folder is writable");
    let endpoint = Endpoint::Unix {
        path: folder.path().join("socket"),
    };
    let listener = Listener::bind(&endpoint).expect("the folder is new");
    std::thread::spawn(move || {
        while let Ok(stream) = listener.accept() {
            // The client's end is a broken connection, too.
            let _ = gvirtus_benches::serve(&*stream);
        }
    });
    let program = std::env::current_exe().expect("Linux tells the path of a program");
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(ENDPOINT, endpoint.to_string())
        .status()
        .expect("this program starts");
    ExitCode::from(u8::from(!status.success()))
}

/// A context, memory and the worker's kernel.
fn start() -> (CUdeviceptr, CUfunction) {
    let (mut context, mut module) = (CUcontext::NULL, CUmodule::NULL);
    let (mut address, mut function) = (CUdeviceptr(0), CUfunction::NULL);
    let image = c".version 7.0\n.target sm_52\n.address_size 64\n";
    // SAFETY: the outputs are locals, and the image and the name are text with a zero at its end.
    let started = unsafe {
        cuInit(0)
            .and_then(|()| cuDevicePrimaryCtxRetain(&raw mut context, CUdevice(0)))
            .and_then(|()| cuCtxSetCurrent(context))
            .and_then(|()| cuMemAlloc_v2(&raw mut address, 1 << 20))
            .and_then(|()| cuModuleLoadData(&raw mut module, image.as_ptr().cast()))
            .and_then(|()| cuModuleGetFunction(&raw mut function, module, c"kernel".as_ptr()))
    };
    started.expect("the worker says yes to everything");
    (address, function)
}

fn launch(function: CUfunction, address: CUdeviceptr, count: u32) -> Result<(), CUresult> {
    let (mut address, mut count) = (address.0, count);
    let mut parameters = [(&raw mut address).cast(), (&raw mut count).cast()];
    // SAFETY: the kernel has a 64-bit and a 32-bit parameter, which are read at once.
    unsafe {
        cuLaunchKernel(
            LEGACY,
            function,
            1,
            1,
            1,
            32,
            1,
            1,
            0,
            CUstream::NULL,
            parameters.as_mut_ptr(),
            null_mut(),
        )
    }
}

fn posted(criterion: &mut Criterion) {
    let (address, function) = start();
    let mut group = criterion.benchmark_group("posted");
    group.bench_function("launch", |bencher| {
        bencher.iter(|| launch(black_box(function), address, 7));
    });
    group.bench_function("memset", |bencher| {
        // SAFETY: takes numbers.
        bencher.iter(|| unsafe { cuMemsetD32Async(LEGACY, address, 7, 100, CUstream::NULL) });
    });
    let host = vec![7_u8; 1 << 20];
    for bytes in [1 << 10, 64 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("copy to device, {} KiB", bytes >> 10), |bencher| {
            let from = host[..bytes].as_ptr().cast();
            // SAFETY: the source is as long as it says.
            bencher.iter(|| unsafe { cuMemcpyHtoD_v2(LEGACY, address, from, bytes) });
        });
    }
}

fn round_trip(criterion: &mut Criterion) {
    start();
    criterion.bench_function("round trip", |bencher| {
        // SAFETY: takes nothing.
        bencher.iter(|| unsafe { cuCtxSynchronize() });
    });
}

criterion_group!(benches, posted, round_trip);
