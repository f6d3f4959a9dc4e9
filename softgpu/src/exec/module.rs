// SPDX-License-Identifier: Apache-2.0
//! A module on a device: variables in device memory, code decoded when first launched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::decode::{Program, Surroundings, decode, function_pointer};
use super::level::CpuLevel;
use crate::ir::{Builtin, Callee, FunctionId, Kernel, Module, Op, Relocation, Symbol, Variable};
use crate::memory::{Memory, MemoryError};

/// Index of a kernel in a [`LoadedModule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelId(pub u32);

/// Why a module cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Device memory (`CUDA_ERROR_OUT_OF_MEMORY`).
    #[error("no device memory for the module's variables")]
    Memory(#[from] MemoryError),
    /// The module contradicts itself (`CUDA_ERROR_INVALID_IMAGE`).
    #[error("variable {variable}: {reason}")]
    BadVariable {
        /// Which.
        variable: String,
        /// Why.
        reason: &'static str,
    },
}

/// A module whose variables have addresses. Dropping it frees them.
pub struct LoadedModule {
    module: Module,
    memory: Arc<Memory>,
    addresses: Vec<u64>,
    /// Allocations to free.
    owned: Vec<u64>,
    number: u32,
    level: CpuLevel,
    programs: Vec<OnceLock<Program>>,
    kernels: HashMap<String, KernelId>,
    variables: HashMap<String, u32>,
    launches_grids: bool,
    /// Texts that kernels have asked for, with a final zero, in device memory.
    texts: Mutex<HashMap<&'static str, u64>>,
}

impl LoadedModule {
    /// Places the variables in device memory and fills them.
    pub fn instantiate(module: Module, memory: &Arc<Memory>) -> Result<Self, LoadError> {
        Self::instantiate_around(module, memory, &HashMap::new())
    }

    /// As [`LoadedModule::instantiate`], but for variables, by index, that are there already.
    pub fn instantiate_around(
        module: Module,
        memory: &Arc<Memory>,
        placed: &HashMap<usize, u64>,
    ) -> Result<Self, LoadError> {
        static NEXT_NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed) & 0x00ff_ffff;
        let kernels = module.kernels.iter().zip(0..);
        let kernels = kernels
            .map(|(kernel, index)| (kernel.name.clone(), KernelId(index)))
            .collect();
        let variables = module.variables.iter().zip(0..);
        let variables = variables
            .map(|(variable, index)| (variable.name.clone(), index))
            .collect();
        let mut loaded = Self {
            programs: module.kernels.iter().map(|_| OnceLock::new()).collect(),
            memory: Arc::clone(memory),
            addresses: Vec::with_capacity(module.variables.len()),
            owned: Vec::new(),
            number,
            level: CpuLevel::detect(),
            kernels,
            variables,
            launches_grids: launches_grids(&module),
            texts: Mutex::default(),
            module,
        };
        loaded.place(placed)?;
        for index in 0..loaded.addresses.len() {
            if !placed.contains_key(&index) {
                loaded.fill(index)?;
            }
        }
        Ok(loaded)
    }

    /// Runs kernels at a lower CPU level than the machine has.
    #[cfg(test)]
    pub(super) fn set_level(&mut self, level: CpuLevel) {
        assert!(level <= CpuLevel::detect() && self.programs.iter().all(|p| p.get().is_none()));
        self.level = level;
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The memory it lives in.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The kernel of that (mangled) name.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<KernelId> {
        self.kernels.get(name).copied()
    }

    /// The kernel whose code is this function.
    pub(crate) fn kernel_of(&self, function: FunctionId) -> Option<KernelId> {
        let mut kernels = self.module.kernels.iter().zip(0..);
        let (_, index) = kernels.find(|(kernel, _)| kernel.function == function)?;
        Some(KernelId(index))
    }

    /// Whether any function may launch grids.
    pub(crate) fn launches_grids(&self) -> bool {
        self.launches_grids
    }

    /// The address of a text; `None` if there is no memory for it.
    pub(crate) fn text(&self, text: &'static str) -> Option<u64> {
        let mut texts = self.texts.lock();
        if let Some(address) = texts.get(text) {
            return Some(*address);
        }
        let address = self.memory.alloc(text.len() as u64 + 1).ok()?;
        let bytes = [text.as_bytes(), &[0]].concat();
        self.memory.write(address, &bytes).ok()?;
        texts.insert(text, address);
        Some(address)
    }

    /// A kernel's description.
    #[must_use]
    pub fn kernel_info(&self, id: KernelId) -> Option<&Kernel> {
        self.module.kernels.get(id.0 as usize)
    }

    /// Address and length of a variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<(u64, u64)> {
        let index = *self.variables.get(name)? as usize;
        Some((self.addresses[index], self.module.variables[index].size))
    }

    /// What a kernel needs, in the terms of `cuFuncGetAttribute`.
    #[must_use]
    pub fn requirements(&self, id: KernelId) -> Option<Requirements> {
        let kernel = self.kernel_info(id)?;
        let function = self.module.functions.get(kernel.function.0 as usize)?;
        let registers = function.registers;
        Some(Requirements {
            // A device would give each thread at most 255.
            registers: (registers.w32 + 2 * registers.w64).clamp(8, 255),
            local_bytes: function.local_bytes,
            static_shared_bytes: kernel.static_shared_bytes,
        })
    }

    /// The decoded code of a kernel.
    pub(crate) fn program(&self, id: KernelId) -> Option<(&Kernel, &Program)> {
        let kernel = self.kernel_info(id)?;
        let program = self.programs.get(id.0 as usize)?.get_or_init(|| {
            let surroundings = Surroundings {
                module: &self.module,
                variables: &self.addresses,
                module_number: self.number,
                level: self.level,
            };
            decode(&surroundings, kernel)
        });
        Some((kernel, program))
    }

    /// Whether a kernel calls `printf`, and whether it calls `malloc` or `free`.
    #[must_use]
    pub fn side_effects(&self, id: KernelId) -> (bool, bool) {
        self.program(id).map_or((false, false), |(_, program)| {
            (program.needs.prints, program.needs.allocates)
        })
    }

    /// One allocation for all small variables, so that a module with thousands of them stays small.
    fn place(&mut self, placed: &HashMap<usize, u64>) -> Result<(), LoadError> {
        let mut offsets = Vec::with_capacity(self.module.variables.len());
        let mut end = 0_u64;
        for (index, variable) in self.module.variables.iter().enumerate() {
            if placed.contains_key(&index) {
                offsets.push(0);
                continue;
            }
            let alignment = u64::from(variable.alignment.max(1));
            let bad = |reason| LoadError::BadVariable {
                variable: variable.name.clone(),
                reason,
            };
            if !alignment.is_power_of_two() || alignment > 4096 {
                return Err(bad("alignment is no power of two"));
            }
            if variable.initializer.len() as u64 > variable.size {
                return Err(bad("initializer is too long"));
            }
            // Variables never share sixteen bytes: vector copies may run over a short end.
            let start = end.next_multiple_of(alignment.max(16));
            offsets.push(start);
            let length = variable.size.max(1);
            end = start.checked_add(length).ok_or_else(|| bad("too large"))?;
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let mut base = 0;
        if end > 0 {
            base = self.memory.alloc_aligned(end, 4096)?;
            self.owned.push(base);
            self.memory.fill(base, &[0], end)?;
        }
        let addresses = offsets.into_iter().enumerate();
        self.addresses.extend(
            addresses.map(|(index, offset)| placed.get(&index).copied().unwrap_or(base + offset)),
        );
        Ok(())
    }

    fn fill(&self, index: usize) -> Result<(), LoadError> {
        let variable = &self.module.variables[index];
        let address = self.addresses[index];
        self.memory.write(address, &variable.initializer)?;
        for relocation in &variable.relocations {
            self.relocate(variable, address, relocation)?;
        }
        Ok(())
    }

    fn relocate(
        &self,
        variable: &Variable,
        address: u64,
        relocation: &Relocation,
    ) -> Result<(), LoadError> {
        let bad = |reason| LoadError::BadVariable {
            variable: variable.name.clone(),
            reason,
        };
        let Relocation {
            offset,
            bytes,
            shift,
            target,
            addend,
        } = *relocation;
        let target = match target {
            Symbol::Function(id) if (id.0 as usize) < self.module.functions.len() => {
                function_pointer(self.number, id)
            }
            Symbol::Variable(id) => {
                let address = self.addresses.get(id.0 as usize).copied();
                address.ok_or_else(|| bad("relocation against an unknown variable"))?
            }
            Symbol::Function(_) => return Err(bad("relocation against an unknown function")),
        };
        let is_inside = offset
            .checked_add(bytes.into())
            .is_some_and(|end| end <= variable.size);
        if !(1..=8).contains(&bytes) || shift >= 64 || !is_inside {
            return Err(bad("relocation outside the variable"));
        }
        let value = target.wrapping_add_signed(addend) >> shift;
        self.memory
            .write(address + offset, &value.to_le_bytes()[..usize::from(bytes)])?;
        Ok(())
    }
}

fn launches_grids(module: &Module) -> bool {
    let functions = module.functions.iter();
    let code = functions.flat_map(|function| &function.code);
    let mut operations = code.map(|instruction| &instruction.op);
    operations.any(|op| {
        let is_device = |callee: &Callee| matches!(callee, Callee::Builtin(Builtin::Device(_)));
        matches!(op, Op::Call { callee } if is_device(callee))
    })
}

impl Drop for LoadedModule {
    fn drop(&mut self) {
        for &address in self.owned.iter().chain(self.texts.get_mut().values()) {
            // The memory may have been reset as a whole.
            let _ = self.memory.free(address);
        }
    }
}

/// What a kernel needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Registers of a thread (an estimate).
    pub registers: u32,
    /// Local memory of a thread in bytes, without callees.
    pub local_bytes: u32,
    /// Static shared memory of a block in bytes.
    pub static_shared_bytes: u32,
}
