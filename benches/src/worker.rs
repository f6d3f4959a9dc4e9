// SPDX-License-Identifier: Apache-2.0
//! A worker that executes nothing: what it cannot avoid is reading and answering.

use std::io::{self, IoSlice};

use gvirtus_abi::{CUdevice_attribute, CUresult};
use gvirtus_protocol::command::{Kernel, LoadedImage};
use gvirtus_protocol::frame::{CommandHeader, ReplyHeader};
use gvirtus_protocol::handshake::{Answer, Hello, PREAMBLE_BYTES, Welcome, read_client_preamble};
use gvirtus_protocol::opcode::{self, Opcode};
use gvirtus_protocol::snapshot::{Device, Snapshot};
use gvirtus_protocol::stream::ReceiveBuffer;
use gvirtus_transport::{Stream, write_all_vectored};
use zerocopy::IntoBytes as _;

const RECEIVE_BYTES: usize = 256 << 10;
const MEMORY_BYTES: u64 = 64 << 30;

/// Serves a client until it leaves: posted commands are dropped, all others succeed at once. Every
/// image has one kernel `kernel(address, count)`, and memory lies wherever the next gigabyte is.
///
/// # Errors
///
/// The connection's, and what the client did wrong.
pub fn serve(stream: &dyn Stream) -> io::Result<()> {
    welcome(stream)?;
    let mut buffer = ReceiveBuffer::new(RECEIVE_BYTES);
    let mut address = 0x7000_0000_0000;
    for sequence in 1.. {
        let header = loop {
            let command = buffer.command(sequence).map_err(io::Error::other)?;
            if let Some(command) = command {
                break command.header;
            }
            if !fill(stream, &mut buffer)? {
                return Ok(());
            }
        };
        skip(stream, &mut buffer, header.payload_bytes.get())?;
        if !header.opcode().is_posted() {
            address += 1 << 30;
            reply(stream, &header, sequence, address)?;
        }
    }
    Ok(())
}

fn welcome(stream: &dyn Stream) -> io::Result<()> {
    let mut preamble = [0; PREAMBLE_BYTES];
    read_exact(stream, &mut preamble)?;
    let announced = read_client_preamble(&preamble).map_err(io::Error::other)?;
    let mut body = vec![0; announced.length];
    read_exact(stream, &mut body)?;
    Hello::decode(&body).map_err(io::Error::other)?;
    let limit = |attribute: CUdevice_attribute, value| (attribute.0, value);
    let device = Device {
        name: "nothing".into(),
        total_memory_bytes: MEMORY_BYTES,
        attributes: vec![
            limit(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK,
                1024,
            ),
            limit(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X,
                1024,
            ),
            limit(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y,
                1024,
            ),
            limit(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z, 64),
            limit(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X,
                i32::MAX,
            ),
            limit(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y,
                65_535,
            ),
            limit(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z,
                65_535,
            ),
            limit(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK,
                48 << 10,
            ),
        ],
        ..Device::default()
    };
    let welcome = Welcome {
        session_id: 1,
        snapshot: Snapshot {
            driver_version: 13_000,
            devices: vec![device],
        },
    };
    let answer = Answer::Welcome(welcome).encode();
    write_all_vectored(stream, &mut [IoSlice::new(&answer)])
}

fn reply(
    stream: &dyn Stream,
    header: &CommandHeader,
    sequence: u64,
    address: u64,
) -> io::Result<()> {
    let body = body(header.opcode(), address);
    let success = CUresult::CUDA_SUCCESS;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let header = ReplyHeader::new(sequence, success, success, length, 0);
    let mut parts = [IoSlice::new(header.as_bytes()), IoSlice::new(&body)];
    write_all_vectored(stream, &mut parts)
}

fn body(opcode: Opcode, address: u64) -> Vec<u8> {
    match opcode {
        opcode::cuLibraryLoadData | opcode::cuModuleLoadData => {
            let kernel = Kernel {
                name: "kernel".into(),
                parameters: vec![(0, 8), (8, 4)],
            };
            LoadedImage {
                kernels: vec![kernel],
            }
            .encode()
        }
        opcode::cuMemAlloc_v2 => address.to_le_bytes().to_vec(),
        other => vec![0; 8 * other.shape().map_or(0, |shape| shape.outputs)],
    }
}

fn skip(stream: &dyn Stream, buffer: &mut ReceiveBuffer, bytes: u64) -> io::Result<()> {
    let mut left = usize::try_from(bytes).map_err(io::Error::other)?;
    loop {
        left -= buffer.take(left).len();
        if left == 0 {
            return Ok(());
        }
        if !fill(stream, buffer)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whether more came.
fn fill(stream: &dyn Stream, buffer: &mut ReceiveBuffer) -> io::Result<bool> {
    let count = stream.read(buffer.spare())?;
    buffer.filled(count);
    Ok(count > 0)
}

fn read_exact(stream: &dyn Stream, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.read(bytes)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes = &mut bytes[count..],
        }
    }
    Ok(())
}
