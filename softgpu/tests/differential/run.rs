// SPDX-License-Identifier: Apache-2.0
//! Runs programs on the software device and compares.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gvirtus_softgpu::exec::{LaunchConfig, LaunchOptions, LoadedModule, launch};
use gvirtus_softgpu::memory::Memory;
use gvirtus_softgpu::printf::Fifo;
use gvirtus_softgpu::{lower, ptx};

use super::evaluate::{Outcome, evaluate};
use super::program::Program;
use super::ptx::{KERNEL, VALUE_BYTES};
use super::types::Table;

const MEMORY_BYTES: u64 = 64 << 20;
const BUFFER_BYTES: u64 = 4 << 20;

/// A device with the buffers that all programs use.
pub(crate) struct Machine {
    memory: Arc<Memory>,
    inputs: u64,
    results: u64,
    words: u64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let memory = Arc::new(Memory::new(MEMORY_BYTES).expect("a small device"));
        let buffer = || memory.alloc(BUFFER_BYTES).expect("an empty device");
        let (inputs, results, words) = (buffer(), buffer(), buffer());
        Self {
            memory,
            inputs,
            results,
            words,
        }
    }

    /// Runs a program whose text is given and says how it differs from what it must give.
    pub(crate) fn check(&self, program: &Program, table: &Table, text: &str) -> Result<(), String> {
        let load = AssertUnwindSafe(|| self.load(text));
        let module = catch_unwind(load).unwrap_or_else(|_| Err("loading panics".to_owned()))?;
        self.check_kernel(program, table, &module, KERNEL)
    }

    fn upload(&self, address: u64, values: impl Iterator<Item = u64>) {
        let bytes: Vec<u8> = values.flat_map(u64::to_le_bytes).collect();
        self.memory
            .write(address, &bytes)
            .expect("inside the buffer");
    }

    fn download(&self, address: u64, count: usize) -> Vec<u64> {
        let mut bytes = vec![0; count * VALUE_BYTES];
        self.memory
            .read(address, &mut bytes)
            .expect("inside the buffer");
        let values = bytes.chunks_exact(VALUE_BYTES);
        values
            .map(|value| u64::from_le_bytes(value.try_into().expect("eight bytes")))
            .collect()
    }

    /// Loads a text.
    pub(crate) fn load(&self, text: &str) -> Result<LoadedModule, String> {
        let parsed = ptx::parse(text).map_err(|error| format!("it does not parse: {error}"))?;
        let lowered =
            lower::lower(&[parsed]).map_err(|error| format!("it is not lowered: {error}"))?;
        LoadedModule::instantiate(lowered, &self.memory)
            .map_err(|error| format!("it cannot be loaded: {error}"))
    }

    /// Runs a kernel of a loaded text and says how it differs from what it must give.
    pub(crate) fn check_kernel(
        &self,
        program: &Program,
        table: &Table,
        module: &LoadedModule,
        kernel: &str,
    ) -> Result<(), String> {
        let run = AssertUnwindSafe(|| self.run(program, module, kernel));
        let got = catch_unwind(run).unwrap_or_else(|_| Err("it panics".to_owned()))?;
        let expected = evaluate(program, table);
        compare(program, &expected, &got)
    }

    fn run(
        &self,
        program: &Program,
        module: &LoadedModule,
        kernel: &str,
    ) -> Result<Outcome, String> {
        let threads = program.threads() * program.grid as usize;
        let variables = program.kernel.variables.len();
        self.upload(self.inputs, program.inputs().into_iter().flatten());
        self.upload(self.results, std::iter::repeat_n(0, threads * variables));
        self.upload(self.words, std::iter::repeat_n(0, threads));
        let parameters: Vec<u8> = [self.inputs, self.results, self.words]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        let kernel = module.kernel(kernel).ok_or("there is no kernel")?;
        let config = LaunchConfig {
            grid: [program.grid, 1, 1],
            block: [program.block[0], program.block[1], 1],
            dynamic_shared_bytes: 0,
            cooperative: false,
            cluster: None,
        };
        let cancel = AtomicBool::new(false);
        let fifo = Fifo::new(1 << 20);
        let options = LaunchOptions {
            cancel: Some(&cancel),
            ..LaunchOptions::new(&fifo)
        };
        launch(module, kernel, &config, &parameters, &options)
            .map_err(|fault| format!("it faults: {fault}"))?;
        let results = self.download(self.results, threads * variables);
        Ok(Outcome {
            variables: results.chunks(variables).map(<[u64]>::to_vec).collect(),
            words: self.download(self.words, threads),
        })
    }
}

fn compare(program: &Program, expected: &Outcome, got: &Outcome) -> Result<(), String> {
    let types = &program.kernel.variables;
    let threads = expected.variables.iter().zip(&got.variables).enumerate();
    for (thread, (expected, got)) in threads {
        for (index, ty) in types.iter().enumerate() {
            let got = got[index];
            if !ty.same(expected[index], got) {
                return Err(format!(
                    "thread {thread} (of the grid), variable {index} ({ty:?}): expected {:#x}, \
                     got {got:#x}; its inputs: {:x?}",
                    expected[index],
                    program.inputs()[thread]
                ));
            }
        }
    }
    for (thread, (expected, got)) in expected.words.iter().zip(&got.words).enumerate() {
        if expected != got {
            return Err(format!(
                "thread {thread} (of the grid), its word: expected {expected:#x}, got {got:#x}"
            ));
        }
    }
    Ok(())
}
