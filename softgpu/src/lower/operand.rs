// SPDX-License-Identifier: Apache-2.0
//! Operands: names and numbers to registers, constants and addresses.

use crate::ir::{
    Address, FloatType, IntType, Op, Pred, PredSrc, Reg, ScalarType as IrType, Space,
    SpecialRegister, Src, UnaryOp, Width,
};
use crate::ptx::{self, Immediate, Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::names::{Named, ParamPlace, Register, Slot};
use super::program::Global;
use super::special;

/// How closely a register's declared size must match the type that an instruction gives it
/// ("Operand Size Exceeding Instruction-Type Size").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fit {
    /// The same size.
    Exact,
    /// The same size or wider: `ld`, `st`, `cvt`.
    Wider,
}

impl<'m, 'a> Lowering<'_, 'm, 'a> {
    // === sources ===

    /// A value of type `ty`, from a register of exactly that size.
    pub(super) fn source(&mut self, operand: &Operand<'a>, ty: ScalarType) -> Result<Src> {
        self.source_fit(operand, ty, Fit::Exact)
    }

    /// A value of type `ty`. With [`Fit::Wider`] a 64-bit register may hold a narrower value: the
    /// answer is then the 64-bit register, whose low bits count.
    pub(super) fn source_fit(
        &mut self,
        operand: &Operand<'a>,
        ty: ScalarType,
        fit: Fit,
    ) -> Result<Src> {
        match operand {
            Operand::Immediate(value) => immediate(*value, ty).map(Src::Imm),
            Operand::Symbol { name, addend } => match self.names.find(name) {
                Some(Named::Register(register)) => {
                    no_addend(name, *addend)?;
                    self.register_source(name, register, ty, fit)
                }
                Some(Named::Vector(..)) => Err(format!("{name} is a vector register")),
                _ => self.named_source(name, *addend, ty),
            },
            _ => Err("An operand has a form that this instruction does not take".to_owned()),
        }
    }

    fn register_source(
        &mut self,
        name: &str,
        register: Register,
        ty: ScalarType,
        fit: Fit,
    ) -> Result<Src> {
        check_fit(name, register, ty, fit)?;
        match register.slot {
            Slot::Reg(reg) => Ok(reg.into()),
            _ => Err(format!(
                "{name} has a type that this instruction does not take"
            )),
        }
    }

    /// A special register, an element of a vector register, or an address.
    fn named_source(&mut self, name: &str, addend: i64, ty: ScalarType) -> Result<Src> {
        if let Some(register) = self.selected_element(name) {
            no_addend(name, addend)?;
            return self.register_source(name, register, ty, Fit::Exact);
        }
        if let Some((register, bits)) = special::register(name) {
            no_addend(name, addend)?;
            return self.special_source(name, register, bits, ty);
        }
        if ty.size_bytes() < 4 {
            return Err(format!("{name} is not declared as a register"));
        }
        self.address_source(name, addend, ty.size_bytes() > 4)
    }

    /// `v.x`, where `v` is a vector register.
    pub(super) fn selected_element(&self, name: &str) -> Option<Register> {
        let (vector, selector) = name.rsplit_once('.')?;
        let Some(Named::Vector(first, count)) = self.names.find(vector) else {
            return None;
        };
        let index = match selector {
            "x" | "r" => 0,
            "y" | "g" => 1,
            "z" | "b" => 2,
            "w" | "a" => 3,
            _ => return None,
        };
        (index < count).then(|| Self::vector_element(first, index))
    }

    fn special_source(
        &mut self,
        name: &str,
        register: SpecialRegister,
        bits: u32,
        ty: ScalarType,
    ) -> Result<Src> {
        // `%tid.x` and its like were 16 bits wide once and may still be read as such.
        let wanted = ty.size_bytes() * 8;
        let dst = match (bits, wanted) {
            (64, 64) => self.temporary64()?,
            (_, 16 | 32) => self.temporary32()?,
            _ => return Err(format!("{name} is not {wanted} bits wide")),
        };
        self.emit(Op::ReadSpecial { dst, register });
        Ok(dst.into())
    }

    /// The address of a variable or function, in its own state space.
    fn address_source(&mut self, name: &str, addend: i64, is_wide: bool) -> Result<Src> {
        let offset = |base: u32| Src::Imm(i64::from(base).wrapping_add(addend).cast_unsigned());
        Ok(match self.names.find(name) {
            Some(Named::Shared(base)) => offset(base),
            Some(Named::DynamicShared) => Src::DynamicShared(addend),
            Some(Named::Variable(id)) if is_wide => Src::Variable(id, addend),
            Some(Named::Local(base)) => self.frame_address(
                Address::frame(i64::from(base).wrapping_add(addend)),
                is_wide,
            )?,
            Some(Named::Param(ParamPlace::Kernel(base))) => offset(base),
            Some(Named::Param(place)) => {
                let address = self.param_address(name, place, addend)?;
                self.frame_address(address, is_wide)?
            }
            Some(_) => return Err(format!("{name} has no address")),
            None => match self.global(name) {
                Some(Global::Variable(id)) if is_wide => Src::Variable(id, addend),
                Some(Global::Shared(index)) => offset(self.program.shared[index].offset),
                Some(Global::DynamicShared { .. }) => Src::DynamicShared(addend),
                Some(Global::Function(index)) if is_wide && addend == 0 => {
                    match self.program.definitions[index].id {
                        Some(id) => Src::Function(id),
                        None => return Err(format!("internal: {name} was dropped")),
                    }
                }
                Some(Global::Variable(_) | Global::Function(_)) => {
                    return Err(format!("The address of {name} does not fit 32 bits"));
                }
                global => return Err(unresolved(name, global)),
            },
        })
    }

    fn frame_address(&mut self, address: Address, is_wide: bool) -> Result<Src> {
        let dst = if is_wide {
            self.temporary64()?
        } else {
            self.temporary32()?
        };
        self.emit(Op::FrameAddress { dst, address });
        Ok(dst.into())
    }

    /// A predicate operand: `p`, `!p` or a constant.
    pub(super) fn predicate_source(&self, operand: &Operand<'a>) -> Result<PredSrc> {
        match operand {
            Operand::Immediate(Immediate::Int(value)) => Ok(PredSrc::Const(*value != 0)),
            Operand::Negated(name) => {
                let pred = self.named_predicate(name)?;
                Ok(PredSrc::Reg { pred, negate: true })
            }
            Operand::Symbol { name, addend: 0 } => self.named_predicate(name).map(PredSrc::from),
            _ => Err("An operand is no predicate".to_owned()),
        }
    }

    fn named_predicate(&self, name: &str) -> Result<Pred> {
        match self.names.find(name) {
            Some(Named::Register(Register {
                slot: Slot::Pred(pred),
                ..
            })) => Ok(pred),
            _ => Err(format!("{name} is no predicate")),
        }
    }

    // === destinations ===

    /// The register that receives a result of type `ty`; a sink gets one that nobody reads.
    pub(super) fn destination(&mut self, operand: &Operand<'a>, ty: ScalarType) -> Result<Reg> {
        self.destination_fit(operand, ty, Fit::Exact)
            .map(|(reg, _)| reg)
    }

    /// As [`Lowering::destination`], with the type that the register was declared with.
    pub(super) fn destination_fit(
        &mut self,
        operand: &Operand<'a>,
        ty: ScalarType,
        fit: Fit,
    ) -> Result<(Reg, ScalarType)> {
        let register = match operand {
            Operand::Sink => self.new_register(ty)?,
            Operand::Symbol { name, addend } => {
                no_addend(name, *addend)?;
                let register = self.named_register(name)?;
                check_fit(name, register, ty, fit)?;
                register
            }
            _ => return Err("The result operand is no register".to_owned()),
        };
        match register.slot {
            Slot::Reg(reg) => Ok((reg, register.ty)),
            _ => Err("The result operand has a type this instruction does not take".to_owned()),
        }
    }

    pub(super) fn named_register(&self, name: &str) -> Result<Register> {
        match self.names.find(name) {
            Some(Named::Register(register)) => Ok(register),
            _ => self
                .selected_element(name)
                .ok_or_else(|| format!("{name} is not declared as a register")),
        }
    }

    /// The register behind an operand, if it is one.
    pub(super) fn operand_register(&self, operand: &Operand<'a>) -> Option<Register> {
        match operand {
            Operand::Symbol { name, addend: 0 } => self.named_register(name).ok(),
            _ => None,
        }
    }

    /// `None` for a sink.
    pub(super) fn predicate_destination(&self, operand: &Operand<'a>) -> Result<Option<Pred>> {
        match operand {
            Operand::Sink => Ok(None),
            Operand::Symbol { name, addend: 0 } => self.named_predicate(name).map(Some),
            _ => Err("The result operand is no predicate".to_owned()),
        }
    }

    /// As [`Lowering::predicate_destination`]; a sink gets a predicate that nobody reads.
    pub(super) fn predicate_result(&mut self, operand: &Operand<'a>) -> Result<Pred> {
        match self.predicate_destination(operand)? {
            Some(pred) => Ok(pred),
            None => self.temporary_predicate(),
        }
    }

    /// `p|q`, or `p` alone.
    pub(super) fn pair(&self, operand: &Operand<'a>) -> (Operand<'a>, Option<Operand<'a>>) {
        match operand {
            Operand::Pair(range) => match range.of(&self.function.operands) {
                [first, second] => (*first, Some(*second)),
                _ => (*operand, None),
            },
            _ => (*operand, None),
        }
    }

    /// The elements of `{a, b}`, of a vector register, or of anything else as one.
    pub(super) fn elements(&self, operand: &Operand<'a>) -> Vec<Operand<'a>> {
        match operand {
            Operand::Vector(range) => range.of(&self.function.operands).to_vec(),
            _ => vec![*operand],
        }
    }

    /// The registers of a vector register that is named as a whole.
    pub(super) fn whole_vector(&self, operand: &Operand<'a>) -> Option<Vec<Register>> {
        let Operand::Symbol { name, addend: 0 } = operand else {
            return None;
        };
        match self.names.find(name) {
            Some(Named::Vector(first, count)) => Some(
                (0..count)
                    .map(|index| Self::vector_element(first, index))
                    .collect(),
            ),
            _ => None,
        }
    }

    // === addresses ===

    /// A memory operand of an instruction on `space`. Parameters of device functions and calls
    /// lie in local memory, so the space that comes back may be another.
    pub(super) fn address(
        &mut self,
        operand: &Operand<'a>,
        space: Space,
    ) -> Result<(Space, Address)> {
        let Operand::Address(ptx::Address {
            base,
            displacement,
            coordinates,
        }) = operand
        else {
            return Err("The memory operand is no address".to_owned());
        };
        if coordinates.len > 0 {
            return Err("A texture or tensor address is not supported".to_owned());
        }
        let name = match base {
            ptx::AddressBase::Absolute => return Ok((space, Address::absolute(*displacement))),
            ptx::AddressBase::Symbol(name) => *name,
        };
        let is_kernel = self.function.kind == ptx::FunctionKind::Entry;
        match self.names.find(name) {
            Some(Named::Register(register)) => {
                let Slot::Reg(reg) = register.slot else {
                    return Err(format!("{name} cannot hold an address"));
                };
                if register.ty.size_bytes() < 4 {
                    return Err(format!("{name} is too narrow for an address"));
                }
                let space = if space == Space::Param && !is_kernel {
                    Space::Local
                } else {
                    space
                };
                Ok((space, Address::new(reg, *displacement)))
            }
            Some(named) => self.variable_address(name, named, *displacement, space),
            None => self.global_address(name, *displacement, space),
        }
    }

    fn variable_address(
        &mut self,
        name: &str,
        named: Named,
        displacement: i64,
        space: Space,
    ) -> Result<(Space, Address)> {
        let absolute = |base: u32| Address::absolute(i64::from(base).wrapping_add(displacement));
        match (named, space) {
            (Named::Shared(base), Space::Shared) => Ok((space, absolute(base))),
            (Named::DynamicShared, Space::Shared) => {
                Ok((space, Address::new(Src::DynamicShared(0), displacement)))
            }
            (Named::Variable(id), Space::Global | Space::Const | Space::Generic) => {
                Ok((space, Address::new(Src::Variable(id, 0), displacement)))
            }
            (Named::Local(base), Space::Local) => Ok((
                space,
                Address::frame(i64::from(base).wrapping_add(displacement)),
            )),
            (Named::Param(ParamPlace::Kernel(base)), Space::Param) => Ok((space, absolute(base))),
            (Named::Param(place), Space::Param) => {
                Ok((Space::Local, self.param_address(name, place, displacement)?))
            }
            _ => Err(format!(
                "{name} does not lie in the instruction's state space"
            )),
        }
    }

    fn global_address(
        &mut self,
        name: &str,
        displacement: i64,
        space: Space,
    ) -> Result<(Space, Address)> {
        let absolute = |base: u32| Address::absolute(i64::from(base).wrapping_add(displacement));
        match (self.global(name), space) {
            (Some(Global::Shared(index)), Space::Shared) => {
                Ok((space, absolute(self.program.shared[index].offset)))
            }
            (Some(Global::DynamicShared { .. }), Space::Shared) => {
                Ok((space, Address::new(Src::DynamicShared(0), displacement)))
            }
            (Some(Global::Variable(id)), Space::Global | Space::Const | Space::Generic) => {
                Ok((space, Address::new(Src::Variable(id, 0), displacement)))
            }
            (global @ (None | Some(Global::Undefined | Global::Unsupported)), _) => {
                Err(unresolved(name, global))
            }
            _ => Err(format!(
                "{name} does not lie in the instruction's state space"
            )),
        }
    }

    /// Where a parameter that is not a kernel's lies in local memory.
    pub(super) fn param_address(
        &mut self,
        name: &str,
        place: ParamPlace,
        displacement: i64,
    ) -> Result<Address> {
        match place {
            ParamPlace::Frame(base) => {
                Ok(Address::frame(i64::from(base).wrapping_add(displacement)))
            }
            ParamPlace::CallSite(index) => self.call_site_address(index, displacement),
            ParamPlace::Kernel(_) => Err(format!("internal: {name} is a kernel parameter")),
        }
    }

    // === small helpers ===

    /// A value whose low 32 bits count, in a 32-bit register.
    pub(super) fn narrowed(&mut self, src: Src) -> Result<Src> {
        let Src::Reg(Reg::W64(_)) = src else {
            return Ok(src);
        };
        let dst = self.temporary32()?;
        self.emit(Op::Unary {
            op: UnaryOp::LowHalf64,
            dst,
            a: src,
        });
        Ok(dst.into())
    }
}

fn unresolved(name: &str, global: Option<Global>) -> String {
    match global {
        None => format!("{name} is not declared"),
        Some(Global::Undefined) => format!("{name} is declared, but no module defines it"),
        Some(Global::Unsupported) => format!("{name} is of a kind that is not supported"),
        Some(_) => format!("{name} is no value"),
    }
}

fn no_addend(name: &str, addend: i64) -> Result<()> {
    if addend == 0 {
        Ok(())
    } else {
        Err(format!("{name} is a register: nothing is added to it"))
    }
}

fn check_fit(name: &str, register: Register, ty: ScalarType, fit: Fit) -> Result<()> {
    let declared = if register.ty == ScalarType::Pred {
        0
    } else {
        register.ty.size_bytes()
    };
    let wanted = ty.size_bytes();
    let fits = match fit {
        Fit::Exact => declared == wanted,
        Fit::Wider => declared >= wanted,
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "{name} is declared as {:?}, the instruction takes {ty:?}",
        register.ty
    ))
}

/// The bits of a number as a value of type `ty`.
pub(super) fn immediate(value: Immediate, ty: ScalarType) -> Result<u64> {
    let size = ty.size_bytes();
    match (value, ty) {
        (Immediate::F64(value), ScalarType::F32) => Ok((value as f32).to_bits().into()),
        (Immediate::F32(value), ScalarType::F64) => Ok(f64::from(value).to_bits()),
        (Immediate::F32(value), _) if size == 4 => Ok(value.to_bits().into()),
        (Immediate::F64(value), _) if size == 8 => Ok(value.to_bits()),
        (Immediate::F32(_) | Immediate::F64(_), _) => {
            Err("A floating-point literal stands where an integer is taken".to_owned())
        }
        // Zero is the one integer whose meaning for a float is beyond doubt.
        (Immediate::Int(value), ScalarType::F32 | ScalarType::F64) if value != 0 => {
            Err("An integer literal stands where a floating-point value is taken".to_owned())
        }
        (Immediate::Int(value), _) => {
            let mask = if size >= 8 {
                u64::MAX
            } else {
                (1 << (size * 8)) - 1
            };
            Ok(value.cast_unsigned() & mask)
        }
    }
}

// === types ===

/// The integer type of operations; untyped bits count as unsigned.
pub(super) fn int_type(ty: ScalarType) -> Result<IntType> {
    Ok(match ty {
        ScalarType::U8 | ScalarType::B8 => IntType::U8,
        ScalarType::S8 => IntType::S8,
        ScalarType::U16 | ScalarType::B16 => IntType::U16,
        ScalarType::S16 => IntType::S16,
        ScalarType::U32 | ScalarType::B32 => IntType::U32,
        ScalarType::S32 => IntType::S32,
        ScalarType::U64 | ScalarType::B64 => IntType::U64,
        ScalarType::S64 => IntType::S64,
        _ => return Err(format!("Type {ty:?} where an integer type is needed")),
    })
}

pub(super) fn float_type(ty: ScalarType) -> Result<FloatType> {
    Ok(match ty {
        ScalarType::F16 => FloatType::F16,
        ScalarType::Bf16 => FloatType::Bf16,
        ScalarType::F16x2 => FloatType::F16x2,
        ScalarType::Bf16x2 => FloatType::Bf16x2,
        ScalarType::F32 => FloatType::F32,
        ScalarType::F64 => FloatType::F64,
        _ => return Err(format!("Type {ty:?} where a floating-point type is needed")),
    })
}

pub(super) fn is_float(ty: ScalarType) -> bool {
    float_type(ty).is_ok()
}

pub(super) fn scalar_type(ty: ScalarType) -> Result<IrType> {
    if is_float(ty) {
        float_type(ty).map(IrType::Float)
    } else {
        int_type(ty).map(IrType::Int)
    }
}

/// The width of an operation on bits.
pub(super) fn width(ty: ScalarType) -> Result<Width> {
    match ty.size_bytes() {
        2 => Ok(Width::B16),
        4 => Ok(Width::B32),
        8 => Ok(Width::B64),
        _ => Err(format!(
            "Type {ty:?} has no width that this instruction takes"
        )),
    }
}
