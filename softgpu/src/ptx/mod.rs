// SPDX-License-Identifier: Apache-2.0
//! PTX text to a syntax tree ("PTX ISA", the language that `nvcc`, NVRTC, numba and clang emit).
//!
//! [`parse`] checks form only: names are not resolved and instructions are not understood here; an
//! instruction is a dotted name and a list of operands. Everything borrows from the source text.

mod ast;
mod error;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

pub use ast::{
    Address, AddressBase, Declaration, Dimension, Function, FunctionKind, Immediate, Initializer,
    Instruction, Item, Linkage, Module, Operand, OperandRange, Performance, Predicate, Prototype,
    RegisterDeclaration, ScalarType, StateSpace, Statement,
};
pub use error::{ParseError, Position};
pub use parser::parse;
