// SPDX-License-Identifier: Apache-2.0
//! What a client with a ticket sees of NVML: its devices, and its quota as their memory.

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::{Function, HandleKind};
use gvirtus_protocol::management::Input;

use super::handles::Handles;
use super::serve::Answer;
use crate::quota::Allowance;

/// What is left of a backend for one client; by default all.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Names of the devices as NVML knows them, `GPU-…`, in the client's order; empty means all.
    pub(crate) devices: Vec<String>,
    /// What limits the memory.
    pub(crate) allowance: Option<Allowance>,
}

impl Share {
    /// The answer to a question for the devices that there are; nothing if NVML is to be asked.
    pub(super) fn answer(
        &self,
        function: &Function,
        inputs: &[Input],
        handles: &Handles,
    ) -> Option<Answer> {
        if self.devices.is_empty() {
            return None;
        }
        let success = |outputs| {
            Some(Answer {
                status: Status::SUCCESS,
                outputs,
            })
        };
        match (function.symbol, inputs) {
            ("nvmlDeviceGetCount" | "nvmlDeviceGetCount_v2", [Input::Memory(_)]) => {
                let count = self.devices.len() as u32;
                success(vec![count.to_le_bytes().to_vec()])
            }
            (
                "nvmlDeviceGetHandleByIndex" | "nvmlDeviceGetHandleByIndex_v2",
                [Input::Word(index), Input::Memory(_)],
            ) => {
                // Devices have the first tokens, in their order.
                let token = index.checked_add(1)?;
                match handles.find(HandleKind::Device, token) {
                    Ok(_) => success(vec![Vec::new(), token.to_le_bytes().to_vec()]),
                    Err(status) => Some(Answer::failure(status)),
                }
            }
            _ => None,
        }
    }

    /// Shows the quota in what NVML says about a device's memory.
    pub(super) fn limit(&self, function: &Function, inputs: &[Input], answer: &mut Answer) {
        // Offsets of total, free and used in `nvmlMemory_t` and `nvmlMemory_v2_t`.
        let offsets = match function.symbol {
            "nvmlDeviceGetMemoryInfo" => [0, 8, 16],
            "nvmlDeviceGetMemoryInfo_v2" => [8, 24, 32],
            _ => return,
        };
        let (Some(allowance), [Input::Word(token), _], [_, memory]) =
            (&self.allowance, inputs, &mut answer.outputs[..])
        else {
            return;
        };
        let Some(device) = token.checked_sub(1).and_then(|d| u32::try_from(d).ok()) else {
            return;
        };
        let Some(total) = word(memory, offsets[0]) else {
            return;
        };
        let total_bytes = u64::from_le_bytes(*total).min(allowance.limit_bytes());
        let free_bytes = allowance.left_bytes(device).min(total_bytes);
        let figures = [total_bytes, free_bytes, total_bytes - free_bytes];
        for (offset, bytes) in offsets.into_iter().zip(figures) {
            if let Some(word) = word(memory, offset) {
                *word = bytes.to_le_bytes();
            }
        }
    }
}

fn word(memory: &mut [u8], offset: usize) -> Option<&mut [u8; 8]> {
    memory.get_mut(offset..)?.first_chunk_mut()
}
