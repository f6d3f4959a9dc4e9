// SPDX-License-Identifier: Apache-2.0
//! One instruction: its name and modifiers, and who lowers it.

use crate::ptx::{Operand, ScalarType};

use super::error::Result;
use super::function::Lowering;
use super::{
    arithmetic, call, cluster, compare, control, convert, data, fragment, image, integer, matrix,
};
use super::{memory, multimem, stack, synchronize, tensor, video};

/// Most dotted parts of an instruction's name.
const PARTS_MAX: usize = 16;

/// An instruction being understood: each modifier must be taken by somebody.
pub(super) struct Inst<'m, 'a> {
    /// The part before the first dot.
    pub(super) opcode: &'a str,
    modifiers: [&'a str; PARTS_MAX],
    count: usize,
    taken: u32,
    pub(super) operands: &'m [Operand<'a>],
}

impl<'m, 'a> Inst<'m, 'a> {
    fn new(name: &'a str, operands: &'m [Operand<'a>]) -> Result<Self> {
        let mut parts = name.split('.').map(str::trim);
        let opcode = parts.next().unwrap_or_default();
        let mut inst = Self {
            opcode,
            modifiers: [""; PARTS_MAX],
            count: 0,
            taken: 0,
            operands,
        };
        for part in parts {
            if inst.count == PARTS_MAX {
                return Err("it has too many modifiers".to_owned());
            }
            inst.modifiers[inst.count] = part;
            inst.count += 1;
        }
        Ok(inst)
    }

    /// The modifiers nobody has taken yet, with their places.
    fn open(&self) -> impl Iterator<Item = (usize, &'a str)> + '_ {
        let taken = self.taken;
        let modifiers = self.modifiers[..self.count].iter().copied().enumerate();
        modifiers.filter(move |(index, _)| taken & 1 << index == 0)
    }

    /// Takes a modifier if it is there.
    pub(super) fn take(&mut self, name: &str) -> bool {
        self.take_any(|modifier| (modifier == name).then_some(()))
            .is_some()
    }

    /// Whether a modifier is there and open.
    pub(super) fn has(&self, name: &str) -> bool {
        self.open().any(|(_, modifier)| modifier == name)
    }

    /// Takes the first modifier that means something to `meaning`.
    pub(super) fn take_any<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (index, value) = self
            .open()
            .find_map(|(index, modifier)| Some((index, meaning(modifier)?)))?;
        self.taken |= 1 << index;
        Some(value)
    }

    /// Takes the first modifier nobody has taken yet.
    pub(super) fn take_first(&mut self) -> Option<&'a str> {
        let (index, modifier) = self.open().next()?;
        self.taken |= 1 << index;
        Some(modifier)
    }

    /// Takes the first modifier that is a type.
    pub(super) fn take_type(&mut self) -> Result<ScalarType> {
        self.take_any(ScalarType::from_name)
            .ok_or_else(|| "it has no type".to_owned())
    }

    /// Takes everything that a predicate accepts.
    pub(super) fn take_all(&mut self, accept: impl Fn(&str) -> bool) {
        while self
            .take_any(|modifier| accept(modifier).then_some(()))
            .is_some()
        {}
    }

    /// All modifiers must have been taken and this many operands be there.
    pub(super) fn finish<const N: usize>(&self) -> Result<&'m [Operand<'a>; N]> {
        self.all_taken()?;
        let count = self.operands.len();
        self.operands
            .try_into()
            .map_err(|_| format!("it has {count} operands instead of {N}"))
    }

    /// As [`Inst::finish`], for a range of operand counts.
    pub(super) fn finish_between(&self, least: usize, most: usize) -> Result<&'m [Operand<'a>]> {
        self.all_taken()?;
        if (least..=most).contains(&self.operands.len()) {
            return Ok(self.operands);
        }
        Err(format!(
            "it has {} operands instead of {least} to {most}",
            self.operands.len()
        ))
    }

    fn all_taken(&self) -> Result<()> {
        match self.open().next() {
            None => Ok(()),
            Some((_, modifier)) => Err(format!("modifier .{modifier} is not supported here")),
        }
    }
}

/// Lowers the instruction of this dotted name.
pub(super) fn lower<'m, 'a>(
    lowering: &mut Lowering<'_, 'm, 'a>,
    name: &'a str,
    operands: &'m [Operand<'a>],
) -> Result<()> {
    let lowered = Inst::new(name, operands).and_then(|mut inst| dispatch(lowering, &mut inst));
    lowered.map_err(|reason| {
        let name: String = name.split_whitespace().collect();
        format!("Instruction {name}: {reason}")
    })
}

fn dispatch<'m, 'a>(l: &mut Lowering<'_, 'm, 'a>, inst: &mut Inst<'m, 'a>) -> Result<()> {
    match inst.opcode {
        "add" | "sub" | "mul" | "mad" | "fma" | "div" | "neg" | "abs" | "min" | "max" => {
            arithmetic::lower(l, inst)
        }
        "rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh" | "copysign"
        | "testp" => arithmetic::lower_special_function(l, inst),
        "rem" | "mul24" | "mad24" | "sad" | "popc" | "clz" | "bfind" | "fns" | "brev" | "bfe"
        | "bfi" | "szext" | "bmsk" | "dp4a" | "dp2a" | "addc" | "subc" | "madc" => {
            integer::lower(l, inst)
        }
        "and" | "or" | "xor" | "not" | "cnot" | "lop3" | "shf" | "shl" | "shr" | "prmt" => {
            integer::lower_logic(l, inst)
        }
        "setp" | "set" | "selp" | "slct" => compare::lower(l, inst),
        "cvt" => convert::lower(l, inst),
        "mov" => data::lower_move(l, inst),
        "cvta" | "isspacep" => data::lower_address(l, inst),
        "ld" | "ldu" | "st" | "prefetch" | "prefetchu" | "applypriority" | "discard"
        | "createpolicy" => memory::lower(l, inst),
        "atom" | "red" => memory::lower_atomic(l, inst),
        "cp" => memory::lower_copy(l, inst),
        "tensormap" => tensor::lower_map(l, inst),
        "multimem" => multimem::lower(l, inst),
        "mapa" | "getctarank" => cluster::lower_address(l, inst),
        "griddepcontrol" | "setmaxnreg" => control::lower_hint(inst),
        "mbarrier" => synchronize::lower_memory_barrier(l, inst),
        "bar" | "barrier" | "membar" | "fence" | "nanosleep" => synchronize::lower(l, inst),
        "shfl" | "vote" | "match" | "redux" | "activemask" | "elect" => {
            synchronize::lower_warp(l, inst)
        }
        "bra" | "brx" | "ret" | "exit" | "trap" | "brkpt" | "pmevent" => control::lower(l, inst),
        "alloca" | "stacksave" | "stackrestore" => stack::lower(l, inst),
        "call" => call::lower(l, inst),
        "mma" | "ldmatrix" | "stmatrix" | "movmatrix" => matrix::lower(l, inst),
        "wmma" => fragment::lower(l, inst),
        "tex" | "tld4" | "txq" | "suld" | "sust" | "sured" | "suq" | "istypep" => {
            image::lower(l, inst)
        }
        opcode if video::is_video(opcode) => video::lower(l, inst),
        _ => Err("it is not supported".to_owned()),
    }
}
