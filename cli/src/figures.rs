// SPDX-License-Identifier: Apache-2.0
//! What devices do, as the backend's NVML tells.

use std::io::IoSlice;

use anyhow::{Context as _, Result, bail};
use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::number;
use gvirtus_protocol::handshake::Purpose;
use gvirtus_protocol::management::{Input, LENGTH_BYTES, Reply, Request, body_bytes};
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_transport::{Endpoint, Stream, connect, write_all_vectored};

use crate::connection::{handshake, read_answer};
use crate::text::uuid;

/// What a device does now; what cannot be told is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceFigures {
    /// What is used of its memory, by whomever.
    pub(crate) memory_used_bytes: Option<u64>,
    /// Part of the time in which a kernel ran, in percent.
    pub(crate) utilisation_percent: Option<u32>,
}

/// A connection to the NVML of a backend.
pub(crate) struct FiguresConnection {
    stream: Box<dyn Stream>,
    requests: u64,
    /// What NVML calls each device of the snapshot, if it knows it.
    devices: Vec<Option<u64>>,
}

impl FiguresConnection {
    /// Connects; fails if the backend has no NVML. `program` is how this one calls itself.
    pub(crate) fn open(endpoint: &Endpoint, snapshot: &Snapshot, program: &str) -> Result<Self> {
        let stream = connect(endpoint)?;
        handshake(&*stream, Purpose::Management, program)?;
        let mut connection = Self {
            stream,
            requests: 0,
            devices: Vec::new(),
        };
        let started = connection.call("nvmlInitWithFlags", vec![Input::Word(0)])?;
        if started.is_none() {
            bail!("the backend's NVML does not start");
        }
        for device in &snapshot.devices {
            // The order of devices may be another one in NVML.
            let uuid = Input::Memory(uuid(device).into_bytes());
            let arguments = vec![uuid, Input::Memory(Vec::new())];
            let outputs = connection.call("nvmlDeviceGetHandleByUUID", arguments)?;
            let handle = outputs.and_then(|outputs| word(outputs.get(1)?, 0));
            connection.devices.push(handle);
        }
        Ok(connection)
    }

    /// What each device of the snapshot does now.
    pub(crate) fn ask(&mut self) -> Result<Vec<DeviceFigures>> {
        (0..self.devices.len())
            .map(|index| match self.devices[index] {
                Some(device) => self.device(device),
                None => Ok(DeviceFigures::default()),
            })
            .collect()
    }

    fn device(&mut self, device: u64) -> Result<DeviceFigures> {
        // nvmlMemory_t: total, free, used. nvmlUtilization_t: gpu, memory.
        let memory = self.query("nvmlDeviceGetMemoryInfo", device)?;
        let utilisation = self.query("nvmlDeviceGetUtilizationRates", device)?;
        let percent = utilisation.and_then(|bytes| bytes.first_chunk().copied());
        Ok(DeviceFigures {
            memory_used_bytes: memory.and_then(|bytes| word(&bytes, 2)),
            utilisation_percent: percent.map(u32::from_le_bytes),
        })
    }

    /// The structure that a question about a device answers; nothing if there is no answer.
    fn query(&mut self, function: &str, device: u64) -> Result<Option<Vec<u8>>> {
        let arguments = vec![Input::Word(device), Input::Memory(Vec::new())];
        let outputs = self.call(function, arguments)?;
        Ok(outputs.and_then(|outputs| outputs.into_iter().nth(1)))
    }

    /// What a function wrote for each argument; nothing if it failed.
    fn call(&mut self, function: &str, arguments: Vec<Input>) -> Result<Option<Vec<Vec<u8>>>> {
        self.requests += 1;
        let request = Request {
            number: self.requests,
            function: number(function).context("the table of NVML has the function")?,
            arguments,
        };
        let message = request.encode()?;
        write_all_vectored(&*self.stream, &mut [IoSlice::new(&message)])?;
        let mut length = [0; LENGTH_BYTES];
        read_answer(&*self.stream, &mut length)?;
        let mut body = vec![0; body_bytes(length)?];
        read_answer(&*self.stream, &mut body)?;
        let reply = Reply::decode(&body)?;
        if reply.number != request.number {
            bail!("the backend answers another question");
        }
        Ok((Status(reply.status) == Status::SUCCESS).then_some(reply.outputs))
    }
}

/// The word of 8 bytes at a place.
fn word(bytes: &[u8], index: usize) -> Option<u64> {
    let (words, _) = bytes.as_chunks();
    words.get(index).map(|word| u64::from_le_bytes(*word))
}
