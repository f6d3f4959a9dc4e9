// SPDX-License-Identifier: Apache-2.0
//! A device for tests: PTX text in, kernels run, buffers compared.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::sync::Arc;

use gvirtus_softgpu::exec::{Fault, LaunchConfig, LaunchOptions, LoadedModule, launch};
use gvirtus_softgpu::memory::Memory;
use gvirtus_softgpu::printf::PrintfSink;
use gvirtus_softgpu::{ir, lower, ptx};
use parking_lot::Mutex;

/// Device memory of a test, in bytes.
const MEMORY_BYTES: u64 = 256 << 20;

/// A number that can lie in device memory.
pub(crate) trait Plain: Copy + Default {
    /// Its size in bytes.
    const BYTES: usize;
    /// Appends its bytes.
    fn push(self, bytes: &mut Vec<u8>);
    /// From its bytes.
    fn take(bytes: &[u8]) -> Self;
}

macro_rules! plain {
    ($($ty:ty),*) => {$(
        impl Plain for $ty {
            const BYTES: usize = size_of::<$ty>();
            fn push(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &[u8]) -> Self {
                Self::from_le_bytes(bytes.try_into().unwrap())
            }
        }
    )*};
}

plain!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// Parses and lowers PTX, with the error's text where that fails.
pub(crate) fn lower_text(text: &str) -> ir::Module {
    let parsed = ptx::parse(text).unwrap_or_else(|error| panic!("{error}"));
    lower::lower(&[parsed]).unwrap_or_else(|error| panic!("{error}"))
}

/// Keeps what kernels print.
#[derive(Default)]
pub(crate) struct Printed {
    text: Mutex<Vec<u8>>,
    errors: Mutex<Vec<u8>>,
}

impl PrintfSink for Printed {
    fn write(&self, text: &[u8], _: usize) {
        self.text.lock().extend_from_slice(text);
    }

    fn write_error(&self, text: &[u8]) {
        self.errors.lock().extend_from_slice(text);
    }
}

/// A module on a device of its own.
pub(crate) struct Device {
    memory: Arc<Memory>,
    module: LoadedModule,
    printed: Printed,
}

/// The arguments of a kernel, laid out as it wants them.
pub(crate) struct Arguments<'d> {
    parameters: &'d [ir::Parameter],
    block: Vec<u8>,
}

impl Arguments<'_> {
    /// The next argument.
    pub(crate) fn add(mut self, value: impl Plain) -> Self {
        let mut bytes = Vec::new();
        value.push(&mut bytes);
        self.bytes(&bytes);
        self
    }

    /// The next argument, as its bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let (parameter, rest) = self.parameters.split_first().expect("another parameter");
        assert_eq!(parameter.size as usize, bytes.len());
        self.block.resize(parameter.offset as usize, 0);
        self.block.extend_from_slice(bytes);
        self.parameters = rest;
    }
}

impl Device {
    /// Loads a module.
    pub(crate) fn new(text: &str) -> Self {
        let memory = Arc::new(Memory::new(MEMORY_BYTES).unwrap());
        let module = LoadedModule::instantiate(lower_text(text), &memory).unwrap();
        Self {
            memory,
            module,
            printed: Printed::default(),
        }
    }

    /// A buffer that holds these values.
    pub(crate) fn upload<T: Plain>(&self, values: &[T]) -> u64 {
        let mut bytes = Vec::with_capacity(values.len() * T::BYTES);
        values.iter().for_each(|value| value.push(&mut bytes));
        let address = self.memory.alloc(bytes.len().max(1) as u64).unwrap();
        self.memory.write(address, &bytes).unwrap();
        address
    }

    /// A zeroed buffer.
    pub(crate) fn zeroed<T: Plain>(&self, count: usize) -> u64 {
        self.upload(&vec![T::default(); count])
    }

    /// What a buffer holds.
    pub(crate) fn download<T: Plain>(&self, address: u64, count: usize) -> Vec<T> {
        let mut bytes = vec![0; count * T::BYTES];
        self.memory.read(address, &mut bytes).unwrap();
        bytes.chunks(T::BYTES).map(T::take).collect()
    }

    /// Address of a variable.
    pub(crate) fn variable(&self, name: &str) -> u64 {
        self.module
            .variable(name)
            .unwrap_or_else(|| panic!("no variable {name}"))
            .0
    }

    /// Arguments for a kernel, to be filled.
    pub(crate) fn arguments(&self, kernel: &str) -> Arguments<'_> {
        let id = self
            .module
            .kernel(kernel)
            .unwrap_or_else(|| panic!("no kernel {kernel}"));
        let parameters = &self.module.kernel_info(id).unwrap().parameters;
        Arguments {
            parameters,
            block: Vec::new(),
        }
    }

    /// Runs a kernel; all must go well.
    pub(crate) fn run(&self, kernel: &str, grid: u32, block: u32, arguments: Arguments<'_>) {
        let config = LaunchConfig {
            grid: [grid, 1, 1],
            block: [block, 1, 1],
            dynamic_shared_bytes: 0,
            cooperative: false,
            cluster: None,
        };
        self.try_run(kernel, &config, arguments)
            .unwrap_or_else(|fault| panic!("{kernel}: {fault}"));
    }

    /// Runs a kernel.
    pub(crate) fn try_run(
        &self,
        kernel: &str,
        config: &LaunchConfig,
        arguments: Arguments<'_>,
    ) -> Result<(), Fault> {
        assert!(
            arguments.parameters.is_empty(),
            "{kernel} takes more arguments"
        );
        let id = self.module.kernel(kernel).unwrap();
        let options = LaunchOptions {
            workers: 2,
            ..LaunchOptions::new(&self.printed)
        };
        launch(&self.module, id, config, &arguments.block, &options).map(|_| ())
    }

    /// What kernels have printed so far.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8(self.printed.text.lock().clone()).unwrap()
    }

    /// What failed assertions have printed so far.
    pub(crate) fn printed_errors(&self) -> String {
        String::from_utf8(self.printed.errors.lock().clone()).unwrap()
    }
}

/// A small generator of pseudo-random numbers (splitmix64), the same in each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
