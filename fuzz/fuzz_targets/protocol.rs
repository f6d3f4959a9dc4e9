// SPDX-License-Identifier: Apache-2.0
//! What a peer sends: preambles, hello and welcome, frames, and the bodies that have a decoder.

#![no_main]

use gvirtus_protocol::command::{LinkReply, LoadedImage};
use gvirtus_protocol::handshake::{
    Hello, PREAMBLE_BYTES, Welcome, read_client_preamble, read_server_preamble,
};
use gvirtus_protocol::stream::ReceiveBuffer;
use libfuzzer_sys::fuzz_target;

const FREE_BYTES: usize = 1 << 20;
const FACTOR: usize = 64;
/// Bytes that come at once.
const PIECE_BYTES: usize = 61;

fn read(bytes: &[u8]) {
    let Some((selector, bytes)) = bytes.split_first() else {
        return;
    };
    match selector % 4 {
        0 => opening(bytes),
        1 => stream(bytes, |buffer, number| {
            let Ok(Some(command)) = buffer.command(number) else {
                return None;
            };
            Some(command.header.payload_bytes.get())
        }),
        2 => stream(bytes, |buffer, _| {
            let Ok(Some(reply)) = buffer.reply() else {
                return None;
            };
            Some(reply.header.payload_bytes.get())
        }),
        _ => bodies(bytes),
    }
}

fn opening(bytes: &[u8]) {
    let Some((preamble, body)) = bytes.split_first_chunk::<PREAMBLE_BYTES>() else {
        return;
    };
    if read_client_preamble(preamble).is_ok() {
        let _ = Hello::decode(body);
    }
    if let Ok(announced) = read_server_preamble(preamble) {
        let _ = Welcome::decode(announced, body);
    }
}

/// Bytes in pieces, frames off the front, payloads skipped.
fn stream(bytes: &[u8], next: impl Fn(&mut ReceiveBuffer, u64) -> Option<u64>) {
    let mut buffer = ReceiveBuffer::new(PIECE_BYTES);
    let (mut number, mut payload) = (1, 0_u64);
    for piece in bytes.chunks(PIECE_BYTES) {
        let mut left = piece;
        while !left.is_empty() {
            let spare = buffer.spare();
            let count = spare.len().min(left.len());
            spare[..count].copy_from_slice(&left[..count]);
            buffer.filled(count);
            left = &left[count..];
        }
        loop {
            let pending = buffer.pending().len() as u64;
            let skipped = payload.min(pending);
            buffer.take(skipped as usize);
            payload -= skipped;
            if payload > 0 {
                break;
            }
            let Some(bytes) = next(&mut buffer, number) else {
                break;
            };
            payload = bytes;
            number += 1;
        }
    }
}

fn bodies(bytes: &[u8]) {
    let _ = LoadedImage::decode(bytes);
    let _ = LinkReply::decode(bytes);
}

fuzz_target!(|input: &[u8]| gvirtus_fuzz::bounded(input, FREE_BYTES, FACTOR, read));
