// SPDX-License-Identifier: Apache-2.0
//! The seam to the engine: instances of programs on a device, and runs of their kernels.

use std::sync::Arc;

use gvirtus_abi::{CUdevice_attribute, CUfunction_attribute, CUlimit, CUresult};
use parking_lot::Mutex;

use super::allocations::{self, Allocation, Kind};
use super::attributes;
use super::context::Context;
use super::context_settings::{LaunchLimits, Settings};
use super::device::{self, Device};
use super::limits::{SHORT_LAUNCH_STEPS, STEPS_PER_BLOCK};
use super::managed_variables::ManagedVariables;
use super::occupancy::Demand;
use super::program::Program;
use super::{function, managed};
use crate::exec::{
    DeviceFacts, Fault, Heap, KernelId, LaunchConfig, LaunchOptions, LoadError, LoadedModule,
    launch,
};
use crate::ir::{self, OpaqueType, VariableId};
use crate::memory::{MemoryError, share, unshare};
use crate::printf::Fifo;
use crate::usage;

/// A program on a device, with its variables in the device's memory.
pub(super) struct Instance {
    program: Arc<Program>,
    module: LoadedModule,
    workers: usize,
    facts: Facts,
    /// Variables that all instances of the program have in common.
    managed: Option<Arc<ManagedVariables>>,
    /// The context's.
    heap: Arc<Heap>,
    printed: Arc<Fifo>,
}

/// What kernels can ask of their device.
struct Facts {
    device: &'static Device,
    program: Arc<Program>,
    /// The context's.
    settings: Arc<Mutex<Settings>>,
}

impl Facts {
    fn kernel(&self, kernel: KernelId) -> Option<&ir::Kernel> {
        self.program.module().kernels.get(kernel.0 as usize)
    }
}

impl DeviceFacts for Facts {
    fn ordinal(&self) -> i32 {
        self.device.ordinal
    }

    fn count(&self) -> i32 {
        device::devices().map_or(0, |devices| devices.len() as i32)
    }

    fn attribute(&self, number: i32) -> Option<i32> {
        let number = u32::try_from(number).ok()?;
        attributes::value(self.device, CUdevice_attribute(number))
    }

    fn limit(&self, number: u32) -> Option<u64> {
        let limit = self.settings.lock().limit(CUlimit(number)).ok()?;
        Some(limit as u64)
    }

    /// What the host sets on a function is its own: kernels see what was compiled.
    fn function_attribute(&self, kernel: KernelId, number: u32) -> Option<i32> {
        let kernel = self.kernel(kernel)?;
        let settings = function::Settings::new(kernel);
        let number = CUfunction_attribute(number);
        function::attribute(&self.program, kernel, &settings, number).ok()
    }

    fn occupancy(&self, kernel: KernelId, threads: u32, shared_bytes: u64) -> u32 {
        let Some(kernel) = self.kernel(kernel) else {
            return 0;
        };
        let settings = function::Settings::new(kernel);
        Demand::of_kernel(&self.program, kernel, &settings).blocks(threads, shared_bytes as usize)
    }
}

impl Instance {
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY`, or `CUDA_ERROR_INVALID_IMAGE` for variables that make no sense.
    pub(super) fn load(
        context: &Context,
        program: Arc<Program>,
        managed: Option<Arc<ManagedVariables>>,
    ) -> Result<Self, CUresult> {
        let module = program.module().as_ref().clone();
        let memory = context.device.memory()?;
        let module = match &managed {
            Some(managed) => LoadedModule::instantiate_around(module, memory, managed.addresses()),
            None => LoadedModule::instantiate(module, memory),
        };
        let module = module.map_err(|error| {
            gvirtus_driver_face::log!(Error, "cannot load a module: {error}");
            match error {
                LoadError::Memory(MemoryError::OutOfMemory) => CUresult::CUDA_ERROR_OUT_OF_MEMORY,
                LoadError::Memory(_) | LoadError::BadVariable { .. } => {
                    CUresult::CUDA_ERROR_INVALID_IMAGE
                }
            }
        })?;
        let facts = Facts {
            device: context.device,
            program: Arc::clone(&program),
            settings: Arc::clone(&context.settings),
        };
        let instance = Self {
            program,
            module,
            workers: context.device.multiprocessors as usize,
            facts,
            managed,
            heap: context.heap.clone(),
            printed: context.printed.clone(),
        };
        for (base, bytes, is_managed) in instance.variables() {
            let kind = Kind::Variable { is_managed };
            allocations::insert(Allocation::new(context, kind, base, bytes, 0));
            if is_managed {
                // SAFETY: device memory stays mapped.
                unsafe { share(base, bytes) };
            }
        }
        Ok(instance)
    }

    pub(super) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Whether a kernel prints, and whether it allocates.
    pub(super) fn side_effects(&self, kernel: usize) -> (bool, bool) {
        self.module.side_effects(KernelId(kernel as u32))
    }

    /// Address and length of a variable in bytes.
    pub(super) fn variable(&self, name: &str) -> Option<(u64, u64)> {
        self.module.variable(name)
    }

    /// Address of the variable that is a reference of this type.
    pub(super) fn reference(&self, name: &str, ty: OpaqueType) -> Option<u64> {
        let module = self.module.module();
        let named = |id: VariableId| module.variables[id.0 as usize].name == name;
        let mut references = module.references.iter();
        references.find(|(id, own)| *own == ty && named(*id))?;
        self.variable(name).map(|(address, _)| address)
    }

    /// Those with a length.
    fn variables(&self) -> impl Iterator<Item = (u64, u64, bool)> {
        let variables = &self.module.module().variables;
        variables
            .iter()
            .filter(|variable| variable.size > 0)
            .filter(|variable| !variable.managed || self.managed.is_none())
            .filter_map(|variable| {
                let (base, bytes) = self.module.variable(&variable.name)?;
                Some((base, bytes, variable.managed))
            })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        for (base, bytes, is_managed) in self.variables() {
            allocations::remove(base, |kind| matches!(kind, Kind::Variable { .. }));
            if is_managed {
                unshare(base);
                managed::forget_advice(base, bytes);
            }
        }
    }
}

/// A launch that has been checked.
pub(super) struct Launch {
    pub(super) instance: Arc<Instance>,
    /// Index of the kernel in the program.
    pub(super) kernel: usize,
    pub(super) config: LaunchConfig,
    /// The parameter block.
    pub(super) parameters: Vec<u8>,
    /// Smaller is more urgent.
    pub(super) priority: i32,
    pub(super) limits: LaunchLimits,
}

impl Launch {
    /// Whether it surely takes less time than handing it to another thread would.
    pub(super) fn is_short(&self) -> bool {
        let Some(length) = self.instance.program.straight_length(self.kernel) else {
            return false;
        };
        let [blocks, threads] = [self.config.grid, self.config.block]
            .map(|lengths| lengths.iter().map(|length| u64::from(*length)).product());
        // A block has at most 1024 threads, so only the number of blocks can be too large to count.
        let steps: u64 = threads * u64::from(length) + STEPS_PER_BLOCK;
        u64::checked_mul(blocks, steps).is_some_and(|steps| steps <= SHORT_LAUNCH_STEPS)
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// What the kernel did wrong, or why it could not begin.
    pub(super) fn run(&self) -> Result<(), Fault> {
        let options = LaunchOptions {
            workers: self.instance.workers,
            priority: self.priority,
            device: Some(&self.instance.facts),
            heap: Some(&self.instance.heap),
            stack_bytes: self.limits.stack_bytes,
            pending_launches_max: self.limits.pending_launches,
            ..LaunchOptions::new(&*self.instance.printed)
        };
        let kernel = KernelId(self.kernel as u32);
        let module = &self.instance.module;
        let _busy = usage::busy(self.instance.facts.device.number);
        launch(module, kernel, &self.config, &self.parameters, &options).map(drop)
    }
}

/// The code that CUDA has for a fault.
pub(super) fn status(fault: &Fault) -> CUresult {
    match fault {
        Fault::IllegalAddress { .. } => CUresult::CUDA_ERROR_ILLEGAL_ADDRESS,
        Fault::MisalignedAddress { .. } => CUresult::CUDA_ERROR_MISALIGNED_ADDRESS,
        Fault::InvalidAddressSpace { .. } => CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE,
        Fault::Trap { .. } | Fault::Deadlock { .. } => CUresult::CUDA_ERROR_LAUNCH_FAILED,
        Fault::Assert { .. } => CUresult::CUDA_ERROR_ASSERT,
        Fault::IllegalInstruction { .. } => CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION,
        Fault::InvalidTarget { .. } => CUresult::CUDA_ERROR_INVALID_PC,
        Fault::StackOverflow { .. } => CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR,
        Fault::Cancelled { .. } => CUresult::CUDA_ERROR_LAUNCH_TIMEOUT,
        Fault::Configuration { .. } => CUresult::CUDA_ERROR_INVALID_VALUE,
        Fault::OutOfMemory { .. } => CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
    }
}

/// Whether the kernel never began, so that its context stays usable.
pub(super) fn is_refusal(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Configuration { .. } | Fault::OutOfMemory { .. }
    )
}
