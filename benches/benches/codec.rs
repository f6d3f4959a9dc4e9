// SPDX-License-Identifier: Apache-2.0
//! What encoding and decoding cost: the launch, which is the hot message, and the two lists that
//! are read at the start.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use gvirtus_protocol::command::{FunctionNumber, Kernel, Launch, LoadedImage};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::handshake::{Answer, PREAMBLE_BYTES, Welcome, read_server_preamble};
use gvirtus_protocol::opcode;
use gvirtus_protocol::snapshot::{Device, Snapshot};
use gvirtus_protocol::stream::ReceiveBuffer;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// As many launches as one flush of the queue holds, more or less.
const LAUNCHES: u64 = 512;
const PARAMETER_BYTES: usize = 24;

fn append_launch(buffer: &mut Vec<u8>, sequence: u64) {
    let function = FunctionNumber {
        image: 1,
        kernel: 2,
    };
    let launch = Launch {
        function: U64::new(function.to_word()),
        stream: U64::new(3),
        grid: [U32::new(64), U32::new(1), U32::new(1)],
        block: [U32::new(256), U32::new(1), U32::new(1)],
        shared_bytes: U32::new(0),
        attribute_count: U32::new(0),
        parameter_bytes: U32::new(24),
    };
    let body_bytes = (size_of::<Launch>() + PARAMETER_BYTES) as u32;
    let header = CommandHeader::new(opcode::cuLaunchKernel, 1, sequence, body_bytes, 0);
    buffer.extend_from_slice(header.as_bytes());
    buffer.extend_from_slice(launch.as_bytes());
    buffer.extend_from_slice(&[7; PARAMETER_BYTES]);
}

fn launches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("launch");
    group.throughput(Throughput::Elements(LAUNCHES));
    let mut wire = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            wire.clear();
            for sequence in 1..=LAUNCHES {
                append_launch(&mut wire, black_box(sequence));
            }
            wire.len()
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter_batched_ref(
            || {
                let mut buffer = ReceiveBuffer::new(wire.len());
                buffer.spare()[..wire.len()].copy_from_slice(&wire);
                buffer.filled(wire.len());
                buffer
            },
            |buffer| {
                let mut blocks = 0;
                for sequence in 1..=LAUNCHES {
                    let command = buffer.command(sequence).expect("valid").expect("whole");
                    let (launch, _) = Launch::ref_from_prefix(command.body).expect("long enough");
                    blocks += u64::from(launch.grid[0].get());
                }
                blocks
            },
            BatchSize::SmallInput,
        );
    });
}

/// A library as big as those of deep learning.
fn image(criterion: &mut Criterion) {
    let kernels = (0..2000)
        .map(|index| Kernel {
            name: format!("_ZN2at6native29vectorized_elementwise_kernelILi4E{index:060}EEviT0_T1_"),
            parameters: (0..6).map(|p| (8 * p, 8)).collect(),
        })
        .collect();
    let bytes = LoadedImage { kernels }.encode();
    let mut group = criterion.benchmark_group("library");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| LoadedImage::decode(black_box(&bytes)).expect("valid"));
    });
}

fn welcome(criterion: &mut Criterion) {
    let device = Device {
        name: "NVIDIA H200".into(),
        attributes: (1..150).map(|id| (id, 65_536)).collect(),
        ..Device::default()
    };
    let snapshot = Snapshot {
        driver_version: 13_000,
        devices: vec![device; 8],
    };
    let bytes = Answer::Welcome(Welcome {
        session_id: 1,
        snapshot,
    })
    .encode();
    criterion.bench_function("welcome/decode", |bencher| {
        bencher.iter(|| {
            let preamble = black_box(&bytes).first_chunk().expect("long enough");
            let announced = read_server_preamble(preamble).expect("valid");
            Welcome::decode(announced, &bytes[PREAMBLE_BYTES..]).expect("valid")
        });
    });
}

criterion_group!(benches, launches, image, welcome);
criterion_main!(benches);
