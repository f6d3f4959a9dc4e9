// SPDX-License-Identifier: Apache-2.0
//! `call`: arguments into the callee's parameter area, results out of it.
//!
//! A `.param` variable at a call site usually serves one call: compilers wrap each in a scope of
//! its own. It then *is* the callee's parameter area, and stores to it go there at once. Anything
//! else gets a place in the caller's frame and is copied around each call.

use crate::ir::{
    Address, Builtin, Callee, DeviceCall, MemType, MemoryOrder, Op, ParameterArea, Reg, Space, Src,
};
use crate::ptx::{Declaration, Operand, ScalarType, Statement};

use super::error::Result;
use super::function::{Labelled, Lowering, memory_type};
use super::instruction::Inst;
use super::names::{Named, ParamPlace};
use super::operand::Fit;
use super::program::{Global, parameter_layout};

/// A `.param` variable declared inside a function.
pub(super) struct CallSiteParam {
    name: String,
    size: u32,
    alignment: u32,
    place: Place,
}

enum Place {
    /// In the callee's area of the only call that uses it; where exactly, its call will say.
    Callee {
        /// Set by the call.
        offset: Option<u32>,
        /// Instructions, by index, whose address or displacement waits for the offset.
        waiting: Vec<usize>,
    },
    /// In the caller's frame, once something uses it.
    Frame(Option<u32>),
}

impl CallSiteParam {
    /// `following` are the statements after the declaration.
    pub(super) fn new(declaration: &Declaration<'_>, following: &[Statement<'_>]) -> Result<Self> {
        let (size, alignment) = parameter_layout(declaration)
            .ok_or_else(|| format!("Parameter {} is too large", declaration.name))?;
        let place = if serves_one_call(following) {
            Place::Callee {
                offset: None,
                waiting: Vec::new(),
            }
        } else {
            Place::Frame(None)
        };
        Ok(Self {
            name: declaration.name.to_owned(),
            size,
            alignment,
            place,
        })
    }

    /// Every address must have got its offset.
    pub(super) fn check(&self) -> Result<()> {
        match &self.place {
            Place::Callee {
                offset: None,
                waiting,
            } if !waiting.is_empty() => Err(format!("No call takes parameter {}", self.name)),
            _ => Ok(()),
        }
    }
}

/// Whether the rest of the scope is straight-line code with one call.
fn serves_one_call(following: &[Statement<'_>]) -> bool {
    let mut depth = 0;
    let mut calls = 0;
    for statement in following {
        match statement {
            Statement::ScopeBegin => depth += 1,
            Statement::ScopeEnd if depth == 0 => return calls == 1,
            Statement::ScopeEnd => depth -= 1,
            Statement::Label { .. } => return false,
            Statement::Instruction(instruction) => {
                let opcode = instruction.name.split('.').next().unwrap_or_default();
                match opcode.trim() {
                    // A guarded call that does not happen leaves the variable as it is.
                    "call" if instruction.predicate.is_none() => calls += 1,
                    "call" | "bra" | "brx" | "ret" | "exit" => return false,
                    _ => {}
                }
            }
            _ => {}
        }
        if calls > 1 {
            return false;
        }
    }
    // The function's own scope ended, with the body.
    calls == 1
}

/// One formal parameter or return value of a callee.
#[derive(Clone, Copy)]
struct Formal {
    size: u32,
    alignment: u32,
    /// Of a register parameter.
    ty: ScalarType,
}

struct Signature {
    parameters: Vec<Formal>,
    returns: Vec<Formal>,
    /// Whether the function has no return value, and the caller expects one.
    is_unmet: bool,
}

impl Formal {
    fn of(ty: ScalarType) -> Self {
        let size = ty.size_bytes();
        Self {
            size,
            alignment: size,
            ty,
        }
    }
}

impl Signature {
    fn of(parameters: &[Declaration<'_>], returns: &[Declaration<'_>]) -> Result<Self> {
        let formal = |declaration: &Declaration<'_>| {
            let (size, alignment) = parameter_layout(declaration)
                .ok_or_else(|| format!("parameter {} is too large", declaration.name))?;
            Ok::<_, String>(Formal {
                size,
                alignment,
                ty: declaration.ty,
            })
        };
        Ok(Self {
            parameters: parameters.iter().map(formal).collect::<Result<_>>()?,
            returns: returns.iter().map(formal).collect::<Result<_>>()?,
            is_unmet: false,
        })
    }

    fn of_builtin(builtin: Builtin) -> Self {
        let (parameters, returns): (&[ScalarType], &[ScalarType]) = match builtin {
            Builtin::Printf => (&[ScalarType::B64; 2], &[ScalarType::B32]),
            Builtin::AssertFail => (
                &[
                    ScalarType::B64,
                    ScalarType::B64,
                    ScalarType::B32,
                    ScalarType::B64,
                    ScalarType::B64,
                ],
                &[],
            ),
            Builtin::Malloc => (&[ScalarType::B64], &[ScalarType::B64]),
            Builtin::Free => (&[ScalarType::B64], &[]),
            Builtin::SetConditional => (&[ScalarType::B64, ScalarType::B32], &[]),
            Builtin::Device(call) => return Self::of_device_call(call),
        };
        Self {
            parameters: parameters.iter().copied().map(Formal::of).collect(),
            returns: returns.iter().copied().map(Formal::of).collect(),
            is_unmet: false,
        }
    }

    fn of_device_call(call: DeviceCall) -> Self {
        let formal = |&(size, alignment): &(u32, u32)| {
            let ty = match size {
                4 => ScalarType::B32,
                8 => ScalarType::B64,
                _ => ScalarType::B8,
            };
            Formal {
                size,
                alignment,
                ty,
            }
        };
        Self {
            parameters: call.parameters().iter().map(formal).collect(),
            returns: vec![formal(&call.result())],
            is_unmet: false,
        }
    }

    /// As the caller sees it, if it declares one return value of a function that has none: CUDA's
    /// linker compares no signatures, and the value is undefined. Compilers of dynamic languages
    /// declare all functions so.
    fn with_unmet_returns(mut self, l: &Lowering<'_, '_, '_>, results: &[Operand<'_>]) -> Self {
        let [result] = results else { return self };
        let size = call_site_param(l, result).map(|index| l.call_site_params[index as usize].size);
        let ty = match size {
            Some(4) => ScalarType::B32,
            Some(8) => ScalarType::B64,
            _ => return self,
        };
        if self.returns.is_empty() {
            self.returns = vec![Formal::of(ty)];
            self.is_unmet = true;
        }
        self
    }

    /// Offsets of all parameters and return values in the callee's area.
    fn offsets(&self) -> (Vec<u32>, Vec<u32>) {
        let mut area = ParameterArea::default();
        let mut place = |formal: &Formal| area.push(formal.size, formal.alignment);
        let parameters = self.parameters.iter().map(&mut place).collect();
        (parameters, self.returns.iter().map(&mut place).collect())
    }
}

/// `call{.uni} {(results),} target{, (arguments)}{, prototype};`
pub(super) fn lower<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    inst.take("uni");
    let mut operands = inst.finish_between(1, 4)?;
    let pool = &l.function.operands;
    let mut results: &'m [Operand<'a>] = &[];
    let mut arguments: &'m [Operand<'a>] = &[];
    if let [Operand::List(range), rest @ ..] = operands {
        results = range.of(pool);
        operands = rest;
    }
    let [target @ Operand::Symbol { name, addend: 0 }, rest @ ..] = operands else {
        return Err("it names no function".to_owned());
    };
    operands = rest;
    if let [Operand::List(range), rest @ ..] = operands {
        arguments = range.of(pool);
        operands = rest;
    }
    let is_indirect = l.is_local(name);
    let (callee, signature) = if is_indirect {
        let [
            Operand::Symbol {
                name: prototype,
                addend: 0,
            },
        ] = operands
        else {
            return Err("an indirect call needs a prototype".to_owned());
        };
        let signature = match l.find_label(prototype) {
            Some(Labelled::Prototype(p)) => Signature::of(&p.parameters, &p.returns)?,
            // All of the possible callees have the same signature.
            Some(Labelled::Callees([first, ..])) => direct_callee(l, first)?.1,
            _ => {
                return Err(format!(
                    "{prototype} is no prototype and no list of call targets"
                ));
            }
        };
        (
            Callee::Indirect(l.source(target, ScalarType::U64)?),
            signature,
        )
    } else {
        direct_callee(l, name)?
    };
    let signature = signature.with_unmet_returns(l, results);
    if arguments.len() != signature.parameters.len() || results.len() != signature.returns.len() {
        return Err(format!(
            "{name} takes {} arguments and returns {} values, here are {} and {}",
            signature.parameters.len(),
            signature.returns.len(),
            arguments.len(),
            results.len()
        ));
    }
    let (parameter_offsets, return_offsets) = signature.offsets();
    for ((argument, formal), offset) in arguments
        .iter()
        .zip(&signature.parameters)
        .zip(parameter_offsets)
    {
        pass(l, argument, *formal, offset)?;
    }
    let mut copies = Vec::new();
    for ((result, formal), offset) in results.iter().zip(&signature.returns).zip(return_offsets) {
        receive(l, result, *formal, offset, &mut copies)?;
    }
    l.emit(Op::Call { callee });
    if signature.is_unmet {
        clear_callee_area(l, &signature)?;
    }
    for (from, formal, to) in copies {
        copy_out(l, from, formal, to)?;
    }
    Ok(())
}

fn direct_callee(l: &Lowering<'_, '_, '_>, name: &str) -> Result<(Callee, Signature)> {
    match l.global(name) {
        Some(Global::Function(index)) => {
            let definition = &l.program.definitions[index];
            let id = definition
                .id
                .ok_or_else(|| format!("internal: {name} was dropped"))?;
            let function = definition.function;
            let signature = Signature::of(&function.parameters, &function.returns)?;
            Ok((Callee::Function(id), signature))
        }
        Some(Global::Builtin(builtin)) => {
            Ok((Callee::Builtin(builtin), Signature::of_builtin(builtin)))
        }
        Some(Global::Undefined) => Err(format!("{name} is declared, but no module defines it")),
        _ => Err(format!("{name} is no function")),
    }
}

/// Zeros where a function without return value would have put the one that its caller expects.
fn clear_callee_area(l: &mut Lowering<'_, '_, '_>, signature: &Signature) -> Result<()> {
    let (_, offsets) = signature.offsets();
    for (formal, offset) in signature.returns.iter().zip(offsets) {
        l.emit(Op::Store {
            space: Space::Local,
            ty: memory_type(formal.ty)?,
            order: MemoryOrder::Weak,
            address: Address::callee(offset.into()),
            src: vec![Src::Imm(0)],
        });
    }
    Ok(())
}

/// Moves an argument to the callee's area.
fn pass<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    argument: &Operand<'a>,
    formal: Formal,
    offset: u32,
) -> Result<()> {
    if let Some(index) = call_site_param(l, argument) {
        return match bind(l, index, formal, offset)? {
            None => Ok(()),
            Some(frame) => copy_bytes(
                l,
                Address::frame(frame.into()),
                Address::callee(offset.into()),
                formal,
            ),
        };
    }
    // A register or a constant: the form without `.param` variables.
    let fit = if matches!(argument, Operand::Immediate(_)) {
        Fit::Wider
    } else {
        Fit::Exact
    };
    let value = l.source_fit(argument, formal.ty, fit)?;
    if formal.size != formal.ty.size_bytes() {
        return Err("an array is passed in a register".to_owned());
    }
    l.emit(Op::Store {
        space: Space::Local,
        ty: memory_type(formal.ty)?,
        order: MemoryOrder::Weak,
        address: Address::callee(offset.into()),
        src: vec![value],
    });
    Ok(())
}

/// Where a result goes after the call.
enum Receiver {
    Frame(u32),
    Register(Reg),
}

fn receive<'a>(
    l: &mut Lowering<'_, '_, 'a>,
    result: &Operand<'a>,
    formal: Formal,
    offset: u32,
    copies: &mut Vec<(u32, Formal, Receiver)>,
) -> Result<()> {
    if let Some(index) = call_site_param(l, result) {
        if let Some(frame) = bind(l, index, formal, offset)? {
            copies.push((offset, formal, Receiver::Frame(frame)));
        }
        return Ok(());
    }
    if *result == Operand::Sink {
        return Ok(());
    }
    let reg = l.destination(result, formal.ty)?;
    copies.push((offset, formal, Receiver::Register(reg)));
    Ok(())
}

fn copy_out(l: &mut Lowering<'_, '_, '_>, from: u32, formal: Formal, to: Receiver) -> Result<()> {
    let from = Address::callee(from.into());
    match to {
        Receiver::Frame(frame) => copy_bytes(l, from, Address::frame(frame.into()), formal),
        Receiver::Register(reg) => {
            l.emit(Op::Load {
                space: Space::Local,
                ty: memory_type(formal.ty)?,
                order: MemoryOrder::Weak,
                dst: vec![Some(reg)],
                address: from,
            });
            Ok(())
        }
    }
}

/// Copies a parameter within local memory, in pieces that its alignment allows.
fn copy_bytes(
    l: &mut Lowering<'_, '_, '_>,
    from: Address,
    to: Address,
    formal: Formal,
) -> Result<()> {
    let mut done = 0;
    while done < formal.size {
        let largest = formal.alignment.min(8);
        let mut piece = largest;
        while piece > formal.size - done {
            piece /= 2;
        }
        let (ty, value) = match piece {
            8 => (MemType::B64, l.temporary64()?),
            4 => (MemType::U32, l.temporary32()?),
            2 => (MemType::U16, l.temporary32()?),
            _ => (MemType::U8, l.temporary32()?),
        };
        let order = MemoryOrder::Weak;
        let moved = |address: Address| Address {
            base: address.base,
            offset: address.offset + i64::from(done),
        };
        let (space, dst) = (Space::Local, vec![Some(value)]);
        l.emit(Op::Load {
            space,
            ty,
            order,
            dst,
            address: moved(from),
        });
        let src = vec![Src::Reg(value)];
        l.emit(Op::Store {
            space,
            ty,
            order,
            address: moved(to),
            src,
        });
        done += piece.max(1);
    }
    Ok(())
}

fn call_site_param<'a>(l: &Lowering<'_, '_, 'a>, operand: &Operand<'a>) -> Option<u32> {
    let Operand::Symbol { name, addend: 0 } = operand else {
        return None;
    };
    match l.names.find(name) {
        Some(Named::Param(ParamPlace::CallSite(index))) => Some(index),
        _ => None,
    }
}

/// Ties a variable to a call's formal parameter. The answer is its place in the frame if it has
/// one, or `None` where it lies in the callee's area.
fn bind(
    l: &mut Lowering<'_, '_, '_>,
    index: u32,
    formal: Formal,
    area_offset: u32,
) -> Result<Option<u32>> {
    let param = &mut l.call_site_params[index as usize];
    if param.size != formal.size {
        return Err(format!(
            "parameter {} has {} bytes, the function takes {}",
            param.name, param.size, formal.size
        ));
    }
    match &mut param.place {
        Place::Callee {
            offset: offset @ None,
            waiting,
        } => {
            *offset = Some(area_offset);
            for at in std::mem::take(waiting) {
                let (Op::Load { address, .. }
                | Op::Store { address, .. }
                | Op::FrameAddress { address, .. }) = &mut l.code[at].op
                else {
                    return Err("internal: a parameter waits elsewhere".to_owned());
                };
                address.offset = address.offset.wrapping_add(area_offset.into());
            }
            Ok(None)
        }
        Place::Callee {
            offset: Some(_), ..
        } => Err(format!("parameter {} stands twice in a call", param.name)),
        Place::Frame(_) => l.frame_param(index).map(Some),
    }
}

impl Lowering<'_, '_, '_> {
    /// The address of a call-site parameter. The instruction that uses it must be the next one to
    /// be emitted.
    pub(super) fn call_site_address(&mut self, index: u32, displacement: i64) -> Result<Address> {
        let next = self.code.len();
        match &mut self.call_site_params[index as usize].place {
            Place::Callee {
                offset: Some(offset),
                ..
            } => Ok(Address::callee(
                i64::from(*offset).wrapping_add(displacement),
            )),
            Place::Callee {
                offset: None,
                waiting,
            } => {
                waiting.push(next);
                Ok(Address::callee(displacement))
            }
            Place::Frame(_) => {
                let base = self.frame_param(index)?;
                Ok(Address::frame(i64::from(base).wrapping_add(displacement)))
            }
        }
    }

    fn frame_param(&mut self, index: u32) -> Result<u32> {
        let param = &self.call_site_params[index as usize];
        let (size, alignment) = (param.size, param.alignment);
        if let Place::Frame(Some(offset)) = param.place {
            return Ok(offset);
        }
        let offset = self.allocate_frame(size, alignment)?;
        self.call_site_params[index as usize].place = Place::Frame(Some(offset));
        Ok(offset)
    }
}
