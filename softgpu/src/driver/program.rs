// SPDX-License-Identifier: Apache-2.0
//! Compiled programs, which belong to no device.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::ir::{Builtin, Callee, Function, FunctionId, Module, Op, Space};
use crate::{ir, lower, ptx};

/// What NVIDIA's device runtime has as a library, as far as code calls it by name.
const RUNTIME: &str = include_str!("device_runtime.ptx");
/// Begins all names in it.
const RUNTIME_PREFIX: &str = "cudaCG";

/// PTX, compiled and linked.
pub(super) struct Program {
    module: Arc<Module>,
    kernel_names: Vec<CString>,
    kernels: HashMap<String, usize>,
    /// What `.target` says: 75 for `sm_75`.
    target: u32,
    constant_bytes: u32,
    /// Most registers of a thread, as the options of the compilation say.
    register_limit: Option<u32>,
    /// Of each kernel, see [`Program::straight_length`].
    straight_lengths: Vec<Option<u32>>,
}

impl Program {
    /// Compiles and links PTX texts.
    ///
    /// # Errors
    ///
    /// What is wrong with them, for the application's log.
    pub(super) fn compile(texts: &[&str]) -> Result<Self, String> {
        let runtime = texts.iter().any(|text| text.contains(RUNTIME_PREFIX));
        let runtime = runtime.then_some(RUNTIME);
        let parsed = texts
            .iter()
            .chain(&runtime)
            .map(|text| ptx::parse(text).map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let module = lower::lower(&parsed).map_err(|error| error.to_string())?;
        let target = parsed
            .iter()
            .flat_map(|module| &module.target)
            .filter_map(|name| target(name))
            .max();
        Self::new(module, target.unwrap_or(0))
    }

    fn new(module: Module, target: u32) -> Result<Self, String> {
        let kernels = module.kernels.iter();
        let kernel_names = kernels
            .clone()
            .map(|kernel| CString::new(kernel.name.as_str()))
            .collect::<Result<_, _>>()
            .map_err(|_| "a kernel's name contains a zero".to_owned())?;
        let constant_bytes = module
            .variables
            .iter()
            .filter(|variable| variable.space == Space::Const)
            .map(|variable| variable.size)
            .sum::<u64>();
        Ok(Self {
            kernels: kernels
                .clone()
                .enumerate()
                .map(|(index, kernel)| (kernel.name.clone(), index))
                .collect(),
            straight_lengths: kernels
                .map(|kernel| Lengths::of(&module).function(kernel.function))
                .collect(),
            register_limit: None,
            constant_bytes: u32::try_from(constant_bytes).unwrap_or(u32::MAX),
            kernel_names,
            module: Arc::new(module),
            target,
        })
    }

    pub(super) fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Limits the registers that its kernels say to have.
    pub(super) fn limit_registers(&mut self, limit: u32) {
        self.register_limit = Some(limit);
    }

    /// Most registers of a thread, where the compilation was told.
    pub(super) fn register_limit(&self) -> Option<u32> {
        self.register_limit
    }

    /// What is in it, for a verbose log.
    pub(super) fn description(&self) -> String {
        let mut text = format!("info    : {} bytes cmem[3]", self.constant_bytes);
        for kernel in &self.module.kernels {
            let name = &kernel.name;
            text.push_str(&format!("\ninfo    : Compiled entry function '{name}'"));
        }
        text
    }

    pub(super) fn kernel_count(&self) -> usize {
        self.module.kernels.len()
    }

    pub(super) fn kernel(&self, index: usize) -> &ir::Kernel {
        &self.module.kernels[index]
    }

    /// The code of a kernel's entry function.
    pub(super) fn code(&self, kernel: &ir::Kernel) -> &Function {
        &self.module.functions[kernel.function.0 as usize]
    }

    pub(super) fn kernel_name(&self, index: usize) -> &CStr {
        &self.kernel_names[index]
    }

    pub(super) fn find_kernel(&self, name: &str) -> Option<usize> {
        self.kernels.get(name).copied()
    }

    /// The architecture that the PTX was made for: 75 for `sm_75`.
    pub(super) fn target(&self) -> u32 {
        self.target
    }

    /// Bytes of all constant variables.
    pub(super) fn constant_bytes(&self) -> u32 {
        self.constant_bytes
    }

    /// Instructions that a thread of the kernel executes at most; nothing where it may go round in
    /// a loop, call itself, or call what nobody knows.
    pub(super) fn straight_length(&self, kernel: usize) -> Option<u32> {
        self.straight_lengths[kernel]
    }
}

/// The number of `sm_80` or `sm_90a`.
fn target(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("sm_")?;
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

/// Lengths of functions without loops.
struct Lengths<'a> {
    module: &'a Module,
    /// None: being computed, so that a function which calls itself is seen.
    known: HashMap<FunctionId, Option<u32>>,
}

impl<'a> Lengths<'a> {
    fn of(module: &'a Module) -> Self {
        Self {
            module,
            known: HashMap::new(),
        }
    }

    fn function(&mut self, id: FunctionId) -> Option<u32> {
        if let Some(known) = self.known.get(&id) {
            return *known;
        }
        self.known.insert(id, None);
        let length = self.code(self.module.functions.get(id.0 as usize)?);
        self.known.insert(id, length);
        length
    }

    fn code(&mut self, function: &Function) -> Option<u32> {
        let mut length = u32::try_from(function.code.len()).ok()?;
        for (index, instruction) in function.code.iter().enumerate() {
            let is_forward = |target: &u32| *target as usize > index;
            match &instruction.op {
                Op::Branch { target } if !is_forward(target) => return None,
                Op::BranchIndexed { targets, .. } if !targets.iter().all(is_forward) => {
                    return None;
                }
                Op::Nanosleep { .. } => return None,
                Op::Call { callee } => match callee {
                    Callee::Function(id) => length = length.checked_add(self.function(*id)?)?,
                    // Other grids may follow.
                    Callee::Indirect(_) | Callee::Builtin(Builtin::Device(_)) => return None,
                    Callee::Builtin(_) => length = length.checked_add(BUILTIN_LENGTH)?,
                },
                _ => {}
            }
        }
        Some(length)
    }
}

/// What a call of the device runtime counts for.
const BUILTIN_LENGTH: u32 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = ".version 8.0\n.target sm_75, debug\n.address_size 64\n";

    fn compile(body: &str) -> Program {
        Program::compile(&[&format!("{HEAD}{body}")]).expect("valid PTX")
    }

    #[test]
    fn a_program_knows_its_kernels_and_constants() {
        let program = compile(
            ".const .b32 limit;\n.global .b64 counter;\n\
             .visible .entry first() { ret; }\n.entry second(.param .u64 p) { ret; }",
        );
        assert_eq!((program.kernel_count(), program.target()), (2, 75));
        assert_eq!(program.find_kernel("second"), Some(1));
        assert_eq!(program.kernel_name(0), c"first");
        assert_eq!(program.find_kernel("third"), None);
        assert_eq!(program.constant_bytes(), 4);
    }

    #[test]
    fn only_code_without_loops_has_a_length() {
        let program = compile(
            ".visible .entry straight() { .reg .pred %p; @%p bra DONE; bar.sync 0; DONE: ret; }\n\
             .visible .entry loop() { AGAIN: bra AGAIN; }",
        );
        assert!(program.straight_length(0).is_some_and(|length| length < 10));
        assert_eq!(program.straight_length(1), None);
    }

    #[test]
    fn errors_say_where_they_are() {
        let error = Program::compile(&[".version 8.0\n.target sm_75\nnonsense"]);
        assert!(error.err().is_some_and(|text| text.contains("line 3")));
    }
}
