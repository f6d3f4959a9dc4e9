// SPDX-License-Identifier: Apache-2.0
//! From the intermediate representation to decoded code: one kernel with all functions it can
//! reach.
//!
//! An instruction whose operands do not fit together becomes one that faults when executed, so a
//! bad function that nobody calls does no harm. Everything that the lane loops rely on (register
//! numbers, slot widths, branch targets) is checked here.

mod bulk;
mod image;
mod needs;
mod operands;
mod operations;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::code::{Code, ConstantPool, Flow, More, Operand};
use super::lanes::{Execute, Lanes, Step};
use super::level::CpuLevel;
pub(crate) use needs::{CALL_STACK_BYTES, Needs};

use crate::ir::{
    AddressBase, Function, FunctionId, Instruction, Kernel, Module, Op, RegisterCounts, Src, Symbol,
};

/// Bytes past a frame that calls of the device runtime need.
const OUTGOING_BYTES_MIN: u32 = 64;

/// A decoded kernel.
pub(crate) struct Program {
    pub(crate) codes: Vec<Code>,
    pub(crate) functions: Vec<FunctionCode>,
    pub(crate) constants: ConstantPool,
    /// Program functions by their number in the module.
    pub(crate) by_id: HashMap<FunctionId, u32>,
    /// Memory accesses in it: slots of the range cache.
    pub(crate) accesses: usize,
    /// Upper 32 bits of this module's function pointers, without the window base.
    pub(crate) module_number: u32,
    pub(crate) needs: Needs,
}

/// A function of a program; number 0 is the kernel.
#[derive(Debug)]
pub(crate) struct FunctionCode {
    pub(crate) name: Arc<str>,
    /// First instruction.
    pub(crate) entry: u32,
    /// Register units of a frame.
    pub(crate) units: u32,
    /// Predicates of a frame.
    pub(crate) predicates: u32,
    /// Bytes of a local frame, a multiple of 16.
    pub(crate) local_bytes: u32,
    /// Bytes of the thread's stack that an activation takes.
    pub(crate) stack_bytes: u32,
    /// Bytes past the frame that calls may use.
    pub(crate) outgoing_bytes: u32,
    lines: Vec<u32>,
}

impl Program {
    /// The function that a program counter belongs to, and its PTX line (0: unknown).
    pub(crate) fn place(&self, pc: u32) -> (&FunctionCode, u32) {
        let after = self
            .functions
            .partition_point(|function| function.entry <= pc);
        let function = &self.functions[after.saturating_sub(1)];
        let line = function
            .lines
            .get((pc - function.entry) as usize)
            .copied()
            .unwrap_or(0);
        (function, line)
    }
}

/// Everything decoding needs to know about the surroundings.
pub(crate) struct Surroundings<'a> {
    pub(crate) module: &'a Module,
    /// Address of each variable.
    pub(crate) variables: &'a [u64],
    pub(crate) module_number: u32,
    pub(crate) level: CpuLevel,
}

impl Surroundings<'_> {
    /// The function pointer of a function.
    pub(crate) fn function_pointer(&self, id: FunctionId) -> u64 {
        function_pointer(self.module_number, id)
    }
}

/// The function pointer of a function of a module.
pub(crate) fn function_pointer(module_number: u32, id: FunctionId) -> u64 {
    crate::limits::FUNCTION_WINDOW_BASE | u64::from(module_number) << 32 | u64::from(id.0) << 4
}

/// Decodes a kernel.
pub(crate) fn decode(surroundings: &Surroundings<'_>, kernel: &Kernel) -> Program {
    let mut decoder = Decoder {
        surroundings,
        kernel,
        constants: ConstantPool::default(),
        codes: Vec::new(),
        functions: Vec::new(),
        by_id: HashMap::new(),
        queue: Vec::new(),
        calls_pointers: false,
        accesses: 0,
    };
    decoder.number(kernel.function);
    let mut next = 0;
    loop {
        while let Some(&id) = decoder.queue.get(next) {
            decoder.function(id);
            next += 1;
        }
        if !decoder.calls_pointers {
            break;
        }
        decoder.calls_pointers = false;
        for id in address_taken(surroundings.module) {
            decoder.number(id);
        }
    }
    let Decoder {
        constants,
        codes,
        functions,
        by_id,
        accesses,
        ..
    } = decoder;
    let module_number = surroundings.module_number;
    let needs = Needs::of(&codes, &functions);
    Program {
        needs,
        codes,
        functions,
        constants,
        by_id,
        accesses,
        module_number,
    }
}

/// Functions that a function pointer can point to.
fn address_taken(module: &Module) -> HashSet<FunctionId> {
    let relocations = module
        .variables
        .iter()
        .flat_map(|variable| &variable.relocations);
    let mut taken: HashSet<FunctionId> = relocations
        .filter_map(|relocation| match relocation.target {
            Symbol::Function(id) => Some(id),
            Symbol::Variable(_) => None,
        })
        .collect();
    let code = module.functions.iter().flat_map(|function| &function.code);
    for instruction in code {
        operands::for_each_source(&instruction.op, &mut |src| {
            if let Src::Function(id) = src {
                taken.insert(id);
            }
        });
    }
    taken
}

/// Why an instruction cannot be decoded.
#[derive(Debug)]
struct Mismatch(String);

struct Decoder<'a> {
    surroundings: &'a Surroundings<'a>,
    kernel: &'a Kernel,
    constants: ConstantPool,
    codes: Vec<Code>,
    functions: Vec<FunctionCode>,
    by_id: HashMap<FunctionId, u32>,
    queue: Vec<FunctionId>,
    calls_pointers: bool,
    accesses: usize,
}

/// The function being decoded.
#[derive(Clone, Copy)]
struct Frame {
    registers: RegisterCounts,
    entry: u32,
    length: u32,
}

impl Decoder<'_> {
    /// The program number of a function, which is queued at first sight.
    fn number(&mut self, id: FunctionId) -> u32 {
        if let Some(&number) = self.by_id.get(&id) {
            return number;
        }
        let number = self.queue.len() as u32;
        self.queue.push(id);
        self.by_id.insert(id, number);
        number
    }

    fn function(&mut self, id: FunctionId) {
        let missing = Function {
            name: format!("function {}", id.0),
            ..Function::default()
        };
        let module = self.surroundings.module;
        let function = module.functions.get(id.0 as usize).unwrap_or(&missing);
        let entry = self.codes.len() as u32;
        let registers = function.registers;
        let frame = Frame {
            registers,
            entry,
            length: function.code.len() as u32,
        };
        for instruction in &function.code {
            let code = self
                .instruction(frame, instruction)
                .unwrap_or_else(|mismatch| {
                    unsupported(&format!("{} in {:?}", mismatch.0, instruction.op))
                });
            self.codes.push(code);
        }
        self.codes.push(plain(Flow::Return));
        self.functions.push(FunctionCode {
            name: function.name.as_str().into(),
            entry,
            units: registers.w32 + 2 * registers.w64,
            predicates: registers.predicates,
            local_bytes: function.local_bytes.next_multiple_of(16),
            stack_bytes: function.variable_bytes,
            outgoing_bytes: outgoing_bytes(function),
            lines: function.lines.clone(),
        });
    }

    fn instruction(&mut self, frame: Frame, instruction: &Instruction) -> Result<Code, Mismatch> {
        let guard = self.guard(frame, instruction.guard)?;
        let mut code = self.operation(frame, &instruction.op)?;
        code.guard = guard;
        Ok(code)
    }
}

/// The furthest byte past its frame that a function touches.
fn outgoing_bytes(function: &Function) -> u32 {
    let furthest = function.code.iter().filter_map(|instruction| {
        let address = match &instruction.op {
            Op::Load { address, .. } | Op::Store { address, .. } => address,
            Op::FrameAddress { address, .. } => address,
            _ => return None,
        };
        // The longest access is 64 bytes.
        let end = address
            .offset
            .clamp(0, i64::from(crate::limits::MAX_PARAMETER_BYTES))
            + 64;
        (address.base == AddressBase::CalleeFrame).then_some(end as u32)
    });
    furthest
        .max()
        .unwrap_or(0)
        .max(OUTGOING_BYTES_MIN)
        .next_multiple_of(16)
}

/// Code without operands.
fn plain(flow: Flow) -> Code {
    Code {
        execute: nothing,
        dst: Operand::NONE,
        second: Operand::NONE,
        a: Operand::NONE,
        b: Operand::NONE,
        c: Operand::NONE,
        guard: None,
        combine: None,
        imm: 0,
        flow,
        more: More::None,
    }
}

/// A lane loop.
fn lanes(execute: Execute) -> Code {
    Code {
        execute,
        ..plain(Flow::Lanes)
    }
}

fn unsupported(text: &str) -> Code {
    Code {
        more: More::Text(text.into()),
        ..plain(Flow::Unsupported)
    }
}

unsafe fn nothing(_: &mut Lanes, _: &Code) -> Step {
    Step::Next
}
