// SPDX-License-Identifier: Apache-2.0
//! The seam to the engine: programs, their instances on a device, and runs of their kernels.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use gvirtus_abi::CUresult;

use super::context::Context;
use crate::exec::Fault;
use crate::ir;

/// A compiled program, which belongs to no device.
pub(super) struct Program {
    module: Arc<ir::Module>,
    kernel_names: Vec<CString>,
    kernels: HashMap<String, usize>,
    target: u32,
    constant_bytes: u32,
}

impl Program {
    /// Compiles and links PTX texts.
    pub(super) fn compile(_texts: &[&str]) -> Result<Self, String> {
        Err("PTX cannot be compiled yet".to_owned())
    }

    pub(super) fn module(&self) -> &ir::Module {
        &self.module
    }

    pub(super) fn kernel_count(&self) -> usize {
        self.module.kernels.len()
    }

    pub(super) fn kernel(&self, index: usize) -> &ir::Kernel {
        &self.module.kernels[index]
    }

    pub(super) fn kernel_name(&self, index: usize) -> &CStr {
        &self.kernel_names[index]
    }

    pub(super) fn find_kernel(&self, name: &str) -> Option<usize> {
        self.kernels.get(name).copied()
    }

    /// What `.target` says: 75 for `sm_75`.
    pub(super) fn target(&self) -> u32 {
        self.target
    }

    /// Bytes of all constant variables.
    pub(super) fn constant_bytes(&self) -> u32 {
        self.constant_bytes
    }
}

/// A program on a device.
pub(super) struct Instance {
    program: Arc<Program>,
}

impl Instance {
    pub(super) fn load(_context: &Context, program: Arc<Program>) -> Result<Self, CUresult> {
        Ok(Self { program })
    }

    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    pub(super) fn variable(&self, _name: &str) -> Option<(u64, u64)> {
        None
    }
}

/// A launch that has been checked.
pub(super) struct Launch {
    pub(super) instance: Arc<Instance>,
    pub(super) kernel: usize,
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) dynamic_shared_bytes: u32,
    pub(super) is_cooperative: bool,
    pub(super) parameters: Vec<u8>,
}

impl Launch {
    pub(super) fn is_short(&self) -> bool {
        false
    }

    pub(super) fn run(&self) -> Result<(), Fault> {
        Err(Fault::OutOfMemory {
            what: "everything".to_owned(),
        })
    }
}

pub(super) fn status(_fault: &Fault) -> CUresult {
    CUresult::CUDA_ERROR_LAUNCH_FAILED
}

pub(super) fn is_sticky(_fault: &Fault) -> bool {
    true
}
