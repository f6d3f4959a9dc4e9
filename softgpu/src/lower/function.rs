// SPDX-License-Identifier: Apache-2.0
//! One function: its names, labels and statements.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::ir::{self, Guard, MemType, MemoryOrder, Op, Pred, Reg, Space, VariableId};
use crate::ptx::{
    Declaration, Function, FunctionKind, Instruction, Linkage, Operand, Prototype,
    RegisterDeclaration, ScalarType, StateSpace, Statement,
};

use super::call::CallSiteParam;
use super::error::{LowerError, Result};
use super::instruction;
use super::names::{NameHasher, Named, Names, ParamPlace, Register, Slot, first_slot, numbered};
use super::program::{Global, Program, parameter_layout};
use super::stack::{self, Stack};
use super::{allocate, propagate};

/// Largest frame of one activation, in bytes.
const FRAME_BYTES_MAX: u32 = 1 << 26;

/// A label, as an index into [`Lowering::labels`].
pub(super) type Label = u32;

/// What a name before a colon stands for.
#[derive(Clone, Copy)]
pub(super) enum Labelled<'m, 'a> {
    /// `.calltargets`
    Callees(&'m [&'a str]),
    Code(Label),
    Prototype(&'m Prototype<'a>),
    /// `.branchtargets`
    Targets(&'m [&'a str]),
}

/// The state of lowering one function.
pub(super) struct Lowering<'p, 'm, 'a> {
    pub(super) program: &'p Program<'m, 'a>,
    pub(super) module: usize,
    pub(super) function: &'m Function<'a>,
    pub(super) names: Names<'a>,
    /// Operations on virtual registers. Branch targets are labels.
    pub(super) code: Vec<ir::Instruction>,
    pub(super) lines: Vec<u32>,
    /// The guard of the instruction being lowered.
    pub(super) guard: Guard,
    /// `CC.CF`
    carry: Option<Pred>,
    /// Where each label stands in `code`.
    labels: Vec<u32>,
    labelled: HashMap<(u32, &'a str), Labelled<'m, 'a>, BuildHasherDefault<NameHasher>>,
    /// The scopes around the current statement, innermost last, and how many there have been.
    scopes: Vec<u32>,
    scope_count: u32,
    pub(super) frame: ir::ParameterArea,
    /// Bytes of the frame that are `.local` variables.
    variable_bytes: u32,
    pub(super) call_site_params: Vec<CallSiteParam>,
    next_local_shared: usize,
    next_local_variable: usize,
    /// Frame offsets and registers of `.reg` return values, stored before each return.
    register_returns: Vec<(u32, Register)>,
    /// Of a function that allocates on its stack.
    pub(super) stack: Option<Stack>,
    line: LineCounter<'a>,
}

/// Lowers a definition.
pub(super) fn lower(
    program: &Program<'_, '_>,
    index: usize,
    frame_alignment: u32,
) -> std::result::Result<ir::Function, LowerError> {
    let definition = &program.definitions[index];
    let source = program.modules[definition.module].source;
    let mut lowering = Lowering {
        program,
        module: definition.module,
        function: definition.function,
        names: Names::default(),
        code: Vec::new(),
        lines: Vec::new(),
        guard: Guard::Always,
        carry: None,
        labels: Vec::new(),
        labelled: HashMap::default(),
        scopes: vec![0],
        scope_count: 1,
        frame: ir::ParameterArea::default(),
        variable_bytes: 0,
        call_site_params: Vec::new(),
        next_local_shared: program.first_local_shared[index],
        next_local_variable: program.first_local_variable[index],
        register_returns: Vec::new(),
        stack: None,
        line: LineCounter {
            source: source.as_bytes(),
            offset: 0,
            line: 1,
        },
    };
    let mut offset = definition.function.offset;
    lowering.run(&mut offset).map_err(|message| {
        let mut error = program.error(definition.module, offset, message);
        error.function = definition.function.name.to_owned();
        error
    })?;
    Ok(lowering.finish(frame_alignment))
}

/// What the frames of all functions are rounded up to, so that each frame is as aligned as the most
/// demanding variable in any of them: frames are stacked on each other.
pub(super) fn frame_alignment_bytes(program: &Program<'_, '_>) -> u32 {
    let mut alignment = 16;
    for definition in program
        .definitions
        .iter()
        .filter(|definition| definition.id.is_some())
    {
        let function = definition.function;
        let own = function.parameters.iter().chain(&function.returns);
        let inside = function
            .body
            .iter()
            .flatten()
            .filter_map(|statement| match statement {
                Statement::Variable(v)
                    if matches!(v.space, StateSpace::Local | StateSpace::Param) =>
                {
                    Some(&**v)
                }
                _ => None,
            });
        for declaration in own.chain(inside) {
            alignment = alignment.max(declaration.align.unwrap_or(0));
        }
    }
    alignment
}

impl<'m, 'a> Lowering<'_, 'm, 'a> {
    /// On failure `offset` is that of the statement at fault.
    fn run(&mut self, offset: &mut u32) -> Result<()> {
        let body: &'m [Statement<'a>] = self.function.body.as_deref().unwrap_or_default();
        self.collect_labels(body, offset)?;
        self.declare_parameters(offset)?;
        if stack::is_used(body) {
            self.begin_stack()?;
        }
        for (index, statement) in body.iter().enumerate() {
            match statement {
                Statement::Instruction(instruction) => {
                    *offset = instruction.offset;
                    self.line.advance(instruction.offset);
                    self.instruction(instruction)?;
                }
                Statement::Label { name, offset: at } => {
                    *offset = *at;
                    if let Some(Labelled::Code(label)) = self.find_label(name) {
                        self.labels[label as usize] = self.code.len() as u32;
                    }
                }
                Statement::Registers(registers) => {
                    *offset = registers.offset;
                    self.registers(registers)?;
                }
                Statement::Variable(variable) => {
                    *offset = variable.offset;
                    self.variable(variable, &body[index + 1..])?;
                }
                Statement::ScopeBegin => {
                    self.names.enter();
                    self.scopes.push(self.scope_count);
                    self.scope_count += 1;
                }
                Statement::ScopeEnd => {
                    self.names.leave();
                    self.scopes.pop();
                }
                Statement::BranchTargets { .. }
                | Statement::CallTargets { .. }
                | Statement::Prototype(_) => {}
            }
        }
        // A body that runs off its end returns.
        self.line.line = 0;
        self.guard = Guard::Always;
        self.store_register_returns();
        self.call_site_params
            .iter()
            .try_for_each(CallSiteParam::check)
    }

    fn finish(mut self, frame_alignment: u32) -> ir::Function {
        propagate::run(&mut self.code, self.names.counts(), &self.labels);
        let registers = allocate::run(
            &mut self.code,
            &mut self.lines,
            self.names.counts(),
            &mut self.labels,
        );
        ir::Function {
            name: self.function.name.to_owned(),
            registers,
            local_bytes: self.frame.bytes().next_multiple_of(frame_alignment),
            variable_bytes: self.variable_bytes,
            code: self.code,
            lines: self.lines,
        }
    }

    /// Labels may be used before they stand, so all are found first.
    fn collect_labels(&mut self, body: &'m [Statement<'a>], offset: &mut u32) -> Result<()> {
        let mut scopes = vec![0];
        let mut count = 1;
        for statement in body {
            let (name, labelled) = match statement {
                Statement::ScopeBegin => {
                    scopes.push(count);
                    count += 1;
                    continue;
                }
                Statement::ScopeEnd => {
                    scopes.pop();
                    continue;
                }
                Statement::Label { name, offset: at } => {
                    *offset = *at;
                    self.labels.push(0);
                    (*name, Labelled::Code(self.labels.len() as u32 - 1))
                }
                Statement::BranchTargets { name, targets } => (*name, Labelled::Targets(targets)),
                Statement::CallTargets { name, targets } => (*name, Labelled::Callees(targets)),
                Statement::Prototype(prototype) => (prototype.name, Labelled::Prototype(prototype)),
                _ => continue,
            };
            let scope = scopes.last().copied().unwrap_or(0);
            if self.labelled.insert((scope, name), labelled).is_some() {
                return Err(format!("Label {name} stands twice"));
            }
        }
        Ok(())
    }

    pub(super) fn find_label(&self, name: &str) -> Option<Labelled<'m, 'a>> {
        self.scopes
            .iter()
            .rev()
            .find_map(|&scope| self.labelled.get(&(scope, name)).copied())
    }

    // === declarations ===

    fn declare(&mut self, name: &'a str, named: Named) -> Result<()> {
        if self.names.declare(name, named) {
            return Ok(());
        }
        Err(format!("{name} is declared twice in one scope"))
    }

    fn declare_parameters(&mut self, offset: &mut u32) -> Result<()> {
        let is_kernel = self.function.kind == FunctionKind::Entry;
        let mut kernel_block = ir::ParameterArea::default();
        let function: &'m Function<'a> = self.function;
        let declarations = function.parameters.iter().map(|p| (p, false));
        let declarations = declarations.chain(function.returns.iter().map(|r| (r, true)));
        for (declaration, is_return) in declarations {
            *offset = declaration.offset;
            let (size, alignment) = parameter_layout(declaration)
                .ok_or_else(|| format!("Parameter {} is too large", declaration.name))?;
            if is_kernel {
                let at = kernel_block.push(size, alignment);
                if declaration.space != StateSpace::Param || is_return {
                    return Err("A kernel has parameters in .param space only".to_owned());
                }
                self.declare(declaration.name, Named::Param(ParamPlace::Kernel(at)))?;
                continue;
            }
            let at = self.allocate_frame(size, alignment)?;
            match declaration.space {
                StateSpace::Param => {
                    self.declare(declaration.name, Named::Param(ParamPlace::Frame(at)))?;
                }
                StateSpace::Reg => self.register_parameter(declaration, at, is_return)?,
                _ => return Err("A parameter is in .param or .reg space".to_owned()),
            }
        }
        Ok(())
    }

    /// The old form `.func (.reg .u32 r) f (.reg .u32 a)`: registers, passed in the frame too.
    fn register_parameter(
        &mut self,
        declaration: &Declaration<'a>,
        at: u32,
        is_return: bool,
    ) -> Result<()> {
        let register = self.new_register(declaration.ty)?;
        self.declare(declaration.name, Named::Register(register))?;
        if is_return {
            self.register_returns.push((at, register));
            return Ok(());
        }
        let Slot::Reg(reg) = register.slot else {
            return Err(format!("Register parameter of type {:?}", declaration.ty));
        };
        self.emit(Op::Load {
            space: Space::Local,
            ty: memory_type(declaration.ty)?,
            order: MemoryOrder::Weak,
            dst: vec![Some(reg)],
            address: ir::Address::frame(at.into()),
        });
        Ok(())
    }

    /// Before a return: what the caller reads out of the frame.
    pub(super) fn store_register_returns(&mut self) {
        for (at, register) in self.register_returns.clone() {
            let (Slot::Reg(reg), Ok(ty)) = (register.slot, memory_type(register.ty)) else {
                continue;
            };
            self.emit(Op::Store {
                space: Space::Local,
                ty,
                order: MemoryOrder::Weak,
                address: ir::Address::frame(at.into()),
                src: vec![reg.into()],
            });
        }
    }

    pub(super) fn allocate_frame(&mut self, size: u32, alignment: u32) -> Result<u32> {
        if u64::from(self.frame.bytes()) + u64::from(size) + u64::from(alignment)
            > u64::from(FRAME_BYTES_MAX)
        {
            return Err("The function needs too much local memory".to_owned());
        }
        Ok(self.frame.push(size, alignment))
    }

    fn registers(&mut self, declaration: &RegisterDeclaration<'a>) -> Result<()> {
        let RegisterDeclaration {
            ty,
            vector,
            name,
            count,
            ..
        } = *declaration;
        let too_many = || "The function declares too many registers".to_owned();
        match (count, vector) {
            (None, 1) => {
                let register = self.new_register(ty)?;
                self.declare(name, Named::Register(register))
            }
            (None, _) => {
                let first = self.new_register(ty)?;
                for _ in 1..vector {
                    self.new_register(ty)?;
                }
                self.declare(name, Named::Vector(first, vector))
            }
            (Some(count), 1) => self
                .names
                .declare_range(name, ty, count)
                .ok_or_else(too_many),
            (Some(_), _) => Err("A range of vector registers is not supported".to_owned()),
        }
    }

    fn variable(
        &mut self,
        variable: &'m Declaration<'a>,
        following: &'m [Statement<'a>],
    ) -> Result<()> {
        match variable.space {
            StateSpace::Local => {
                let size = variable
                    .size_bytes()
                    .and_then(|size| u32::try_from(size).ok());
                let size = size.filter(|&size| size <= FRAME_BYTES_MAX);
                let alignment = u32::try_from(variable.alignment_bytes()).unwrap_or(u32::MAX);
                let (Some(size), 1..=0x10000) = (size, alignment) else {
                    return Err(format!("Local variable {} is too large", variable.name));
                };
                let offset = self.allocate_frame(size, alignment)?;
                self.variable_bytes = self.variable_bytes.saturating_add(size);
                self.declare(variable.name, Named::Local(offset))
            }
            StateSpace::Shared if variable.linkage == Linkage::Extern => {
                self.declare(variable.name, Named::DynamicShared)
            }
            StateSpace::Shared => {
                let offset = self.program.shared[self.next_local_shared].offset;
                self.next_local_shared += 1;
                self.declare(variable.name, Named::Shared(offset))
            }
            StateSpace::Param => {
                let param = CallSiteParam::new(variable, following)?;
                let index = self.call_site_params.len() as u32;
                self.call_site_params.push(param);
                self.declare(variable.name, Named::Param(ParamPlace::CallSite(index)))
            }
            StateSpace::Global | StateSpace::Const => {
                let id = VariableId(self.next_local_variable as u32);
                self.next_local_variable += 1;
                self.declare(variable.name, Named::Variable(id))
            }
            _ => Err(format!(
                "{} cannot be declared inside a function",
                variable.name
            )),
        }
    }

    // === registers and emission ===

    pub(super) fn new_register(&mut self, ty: ScalarType) -> Result<Register> {
        self.names
            .register(ty)
            .ok_or_else(|| "The function declares too many registers".to_owned())
    }

    pub(super) fn temporary32(&mut self) -> Result<Reg> {
        match self.new_register(ScalarType::B32)?.slot {
            Slot::Reg(reg) => Ok(reg),
            _ => Err("internal: a 32-bit register of another class".to_owned()),
        }
    }

    pub(super) fn temporary64(&mut self) -> Result<Reg> {
        match self.new_register(ScalarType::B64)?.slot {
            Slot::Reg(reg) => Ok(reg),
            _ => Err("internal: a 64-bit register of another class".to_owned()),
        }
    }

    pub(super) fn temporary_predicate(&mut self) -> Result<Pred> {
        match self.new_register(ScalarType::Pred)?.slot {
            Slot::Pred(pred) => Ok(pred),
            _ => Err("internal: a predicate of another class".to_owned()),
        }
    }

    /// The predicate that stands for `CC.CF`.
    pub(super) fn carry_flag(&mut self) -> Result<Pred> {
        match self.carry {
            Some(carry) => Ok(carry),
            None => {
                let carry = self.temporary_predicate()?;
                self.carry = Some(carry);
                Ok(carry)
            }
        }
    }

    /// Element `index` of a vector register.
    pub(super) fn vector_element(first: Register, index: u32) -> Register {
        numbered(first.ty, first_slot(first), index)
    }

    /// Appends an operation under the current guard.
    pub(super) fn emit(&mut self, op: Op) {
        self.code.push(ir::Instruction {
            guard: self.guard,
            op,
        });
        self.lines.push(self.line.line);
    }

    fn instruction(&mut self, instruction: &Instruction<'a>) -> Result<()> {
        self.guard = match instruction.predicate {
            None => Guard::Always,
            Some(predicate) => {
                let Some(Named::Register(Register {
                    slot: Slot::Pred(pred),
                    ..
                })) = self.names.find(predicate.name)
                else {
                    return Err(format!("{} is no predicate", predicate.name));
                };
                if predicate.negated {
                    Guard::IfNot(pred)
                } else {
                    Guard::If(pred)
                }
            }
        };
        let operands: &'m [Operand<'a>] = instruction.operands.of(&self.function.operands);
        instruction::lower(self, instruction.name, operands)
    }

    /// What a name means at module scope.
    pub(super) fn global(&self, name: &str) -> Option<Global> {
        self.program.scopes[self.module].get(name).copied()
    }

    /// The label of a branch operand.
    pub(super) fn branch_label(&self, name: &str) -> Result<Label> {
        match self.find_label(name) {
            Some(Labelled::Code(label)) => Ok(label),
            _ => Err(format!("{name} is no label")),
        }
    }

    /// The labels of a `.branchtargets` list.
    pub(super) fn branch_targets(&self, name: &str) -> Result<Arc<[u32]>> {
        match self.find_label(name) {
            Some(Labelled::Targets(names)) => {
                names.iter().map(|name| self.branch_label(name)).collect()
            }
            _ => Err(format!("{name} is no list of branch targets")),
        }
    }

    /// Whether a name is that of the target of a call, resolved at module scope.
    pub(super) fn is_local(&self, name: &str) -> bool {
        self.names.find(name).is_some()
    }
}

/// The memory type that holds a register type.
pub(super) fn memory_type(ty: ScalarType) -> Result<MemType> {
    Ok(match ty {
        ScalarType::B8 | ScalarType::U8 => MemType::U8,
        ScalarType::S8 => MemType::S8,
        ScalarType::B16
        | ScalarType::U16
        | ScalarType::F16
        | ScalarType::Bf16
        | ScalarType::E4m3x2
        | ScalarType::E5m2x2 => MemType::U16,
        ScalarType::S16 => MemType::S16,
        ScalarType::B32
        | ScalarType::U32
        | ScalarType::F32
        | ScalarType::Tf32
        | ScalarType::F16x2
        | ScalarType::Bf16x2
        | ScalarType::U16x2
        | ScalarType::S16x2 => MemType::U32,
        ScalarType::S32 => MemType::S32,
        ScalarType::B64 | ScalarType::U64 | ScalarType::S64 | ScalarType::F64 => MemType::B64,
        _ => return Err(format!("Type {ty:?} cannot be loaded or stored")),
    })
}

/// Line numbers of offsets that only grow.
struct LineCounter<'a> {
    source: &'a [u8],
    offset: usize,
    line: u32,
}

impl LineCounter<'_> {
    fn advance(&mut self, offset: u32) {
        let offset = offset as usize;
        if let Some(between) = self.source.get(self.offset..offset) {
            self.line += between.iter().filter(|&&byte| byte == b'\n').count() as u32;
            self.offset = offset;
        }
    }
}
