// SPDX-License-Identifier: Apache-2.0
//! PTX syntax trees to the executor's intermediate representation.
//!
//! [`lower`] links one or more parsed modules and lowers every function that a kernel can reach. It
//! understands each instruction completely or refuses the module: an unknown instruction, modifier
//! or operand form is an error that names it, its function and its line; nothing is guessed.
//!
//! Steps: collect and link names (`program`), lay out shared memory by call graph (`shared`), turn
//! each statement into operations on virtual registers (`function` and the instruction files),
//! propagate constants and copies (`propagate`), and assign slots by liveness (`allocate`).

mod allocate;
mod arithmetic;
mod bulk;
mod call;
mod cluster;
mod compare;
mod control;
mod convert;
mod data;
mod error;
mod flow;
mod fragment;
mod function;
mod image;
mod instruction;
mod integer;
mod matrix;
mod memory;
mod multimem;
mod names;
mod operand;
mod pair;
mod program;
mod propagate;
mod shared;
mod special;
mod stack;
mod synchronize;
mod tensor;
#[cfg(test)]
mod tests;
mod variable;
mod video;
mod visit;

pub use error::LowerError;
pub use program::lower;
