// SPDX-License-Identifier: Apache-2.0
//! A program for each operation, so that each is run, and a mistake names its instruction.

use super::program::{Expression, Function, Program, Statement};
use super::types::Table;

/// Threads that each operation is run for.
const THREADS: u32 = 256;

/// One program for each operation of the table.
pub(crate) fn programs(table: &Table, seed: u64) -> impl Iterator<Item = Program> {
    table
        .operations
        .iter()
        .enumerate()
        .map(move |(index, operation)| {
            let inputs = operation.arguments.len();
            let mut variables = operation.arguments.clone();
            variables.push(operation.result);
            let arguments = (0..inputs).map(Expression::Variable).collect();
            Program {
                kernel: Function {
                    variables,
                    inputs,
                    body: vec![Statement::Assign {
                        to: inputs,
                        value: Expression::Operation(index, arguments),
                    }],
                    ..Function::default()
                },
                functions: Vec::new(),
                exchanges: Vec::new(),
                reductions: Vec::new(),
                grid: 1,
                block: [THREADS, 1],
                input_seed: seed ^ index as u64,
            }
        })
}
