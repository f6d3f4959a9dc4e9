// SPDX-License-Identifier: Apache-2.0
//! Makes a failing program smaller while it still fails.

use std::time::{Duration, Instant};

use super::program::{Expression, Function, Program, Statement};
use super::types::Table;

/// Longest search.
const LIMIT: Duration = Duration::from_secs(20);

/// A program that still fails, from which nothing more can be taken.
pub(crate) fn shrink(program: Program, table: &Table, fails: impl Fn(&Program) -> bool) -> Program {
    let start = Instant::now();
    let mut best = program;
    loop {
        let mut improved = false;
        let mut number = 0;
        while start.elapsed() < LIMIT {
            let mut candidate = best.clone();
            if !Cut::new(table, number).apply(&mut candidate) {
                break;
            }
            if candidate != best && fails(&candidate) {
                best = candidate;
                improved = true;
            } else {
                number += 1;
            }
        }
        if !improved || start.elapsed() >= LIMIT {
            return best;
        }
    }
}

/// The change of a certain number, counted in the order of a walk over the program.
struct Cut<'a> {
    table: &'a Table,
    left: usize,
}

impl<'a> Cut<'a> {
    fn new(table: &'a Table, number: usize) -> Self {
        Self {
            table,
            left: number,
        }
    }

    /// Whether it is this change's turn.
    fn now(&mut self) -> bool {
        if self.left == 0 {
            self.left = usize::MAX;
            return true;
        }
        self.left -= 1;
        false
    }

    fn done(&self) -> bool {
        self.left > usize::MAX / 2
    }

    /// Makes the change; false if there is none of this number.
    fn apply(&mut self, program: &mut Program) -> bool {
        if self.launch(program) {
            return true;
        }
        self.function(&mut program.kernel);
        for function in &mut program.functions {
            if !self.done() {
                self.function(function);
            }
        }
        self.done()
    }

    fn launch(&mut self, program: &mut Program) -> bool {
        if program.grid > 1 && self.now() {
            program.grid = 1;
            return true;
        }
        for block in [[1, 1], [32, 1], [64, 1]] {
            if block[0] < program.block[0] * program.block[1] && self.now() {
                program.block = block;
                return true;
            }
        }
        if program.block[1] > 1 && self.now() {
            program.block = [program.block[0] * program.block[1], 1];
            return true;
        }
        false
    }

    fn function(&mut self, function: &mut Function) {
        let shape = function.clone();
        self.statements(&mut function.body, &shape);
        if let Some(result) = &mut function.result
            && !self.done()
        {
            self.expression(result, &shape);
        }
    }

    fn statements(&mut self, statements: &mut Vec<Statement>, function: &Function) {
        // Halves first, then single ones.
        let half = statements.len() / 2;
        if half > 1 {
            if self.now() {
                statements.truncate(half);
                return;
            }
            if self.now() {
                statements.drain(..half);
                return;
            }
        }
        let mut index = 0;
        while index < statements.len() && !self.done() {
            if self.now() {
                statements.remove(index);
                return;
            }
            if let Some(inner) = self.hoisted(&statements[index]) {
                statements.splice(index..=index, inner);
                return;
            }
            self.statement(&mut statements[index], function);
            index += 1;
        }
    }

    /// What a compound statement holds, in its place.
    fn hoisted(&mut self, statement: &Statement) -> Option<Vec<Statement>> {
        match statement {
            Statement::If {
                then, otherwise, ..
            } => {
                if self.now() {
                    return Some(then.clone());
                }
                (!otherwise.is_empty() && self.now()).then(|| otherwise.clone())
            }
            Statement::Loop { body, .. } | Statement::DoWhile { body, .. }
                if !leaves(body) && self.now() =>
            {
                Some(body.clone())
            }
            Statement::Switch { cases, .. } => cases.iter().find(|_| self.now()).cloned(),
            _ => None,
        }
    }

    fn statement(&mut self, statement: &mut Statement, function: &Function) {
        let mut expressions: Vec<&mut Expression> = Vec::new();
        let mut bodies: Vec<&mut Vec<Statement>> = Vec::new();
        match statement {
            Statement::Assign { value, .. }
            | Statement::Reduce { value, .. }
            | Statement::Atomic { value, .. }
            | Statement::Vote { value, .. }
            | Statement::Match { value, .. }
            | Statement::WarpReduce { value, .. }
            | Statement::BarrierReduce { value, .. }
            | Statement::Break(value)
            | Statement::Continue(value)
            | Statement::Return(value)
            | Statement::LocalLoad { index: value, .. } => expressions.push(value),
            Statement::If {
                condition,
                then,
                otherwise,
                ..
            } => {
                expressions.push(condition);
                bodies.extend([then, otherwise]);
            }
            Statement::Loop { count, body, .. } => {
                expressions.push(count);
                bodies.push(body);
            }
            Statement::DoWhile { condition, body } => {
                expressions.push(condition);
                bodies.push(body);
            }
            Statement::Switch {
                selector, cases, ..
            } => {
                expressions.push(selector);
                bodies.extend(cases);
            }
            Statement::LocalStore { index, value, .. }
            | Statement::Exchange { index, value, .. } => expressions.extend([index, value]),
            Statement::Swap { compare, value, .. } => {
                expressions.extend(compare);
                expressions.push(value);
            }
            Statement::Shuffle { value, lane, .. } => expressions.extend([value, lane]),
            Statement::Call { arguments, .. } => expressions.extend(arguments),
            Statement::ReadReduced { .. } => {}
        }
        for expression in expressions {
            if !self.done() {
                self.expression(expression, function);
            }
        }
        for body in bodies {
            if !self.done() {
                self.statements(body, function);
            }
        }
    }

    fn expression(&mut self, expression: &mut Expression, function: &Function) {
        let ty = function.type_of(expression, self.table);
        let Expression::Operation(_, arguments) = expression else {
            return;
        };
        let fitting = arguments
            .iter()
            .filter(|argument| function.type_of(argument, self.table) == ty);
        for argument in fitting {
            if self.now() {
                *expression = argument.clone();
                return;
            }
        }
        let variable = function.variables.iter().position(|of| *of == ty);
        let simple = [
            Some(Expression::Constant(ty, 0)),
            variable.map(Expression::Variable),
        ];
        for simple in simple.into_iter().flatten() {
            if self.now() {
                *expression = simple;
                return;
            }
        }
        for argument in arguments {
            if !self.done() {
                self.expression(argument, function);
            }
        }
    }
}

/// Whether statements leave the loop that they stand in.
fn leaves(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| match statement {
        Statement::Break(_) | Statement::Continue(_) => true,
        Statement::If {
            then, otherwise, ..
        } => leaves(then) || leaves(otherwise),
        Statement::Switch { cases, .. } => cases.iter().any(|case| leaves(case)),
        _ => false,
    })
}
