// SPDX-License-Identifier: Apache-2.0
//! Makes random programs. Whatever CUDA leaves undefined or unordered is not made: lanes that
//! shuffle or vote are known, barriers are reached by all threads.

use super::program::{
    BarrierReduction, Expression, Function, LocalArray, Program, Reduction, Shuffle, Special,
    Statement, Vote,
};
use super::random::Random;
use super::types::{Table, Type};
use Type::{Pred, S32, S64, U32, U64};

/// What language a program must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Ptx,
    Cuda,
}

/// Operations that a target has, by result.
pub(crate) struct Choices {
    by_result: Vec<(Type, Vec<usize>)>,
    types: Vec<Type>,
    target: Target,
}

impl Choices {
    pub(crate) fn new(table: &Table, target: Target) -> Self {
        let types: Vec<_> = Type::ALL
            .into_iter()
            .filter(|ty| target == Target::Ptx || ty.cuda().is_some())
            .collect();
        let by_result = types
            .iter()
            .map(|ty| {
                let operations = table.operations.iter().enumerate();
                let fitting = operations
                    .filter(|(_, op)| op.result == *ty)
                    .filter(|(_, op)| target == Target::Ptx || op.cuda.is_some())
                    .map(|(index, _)| index);
                (*ty, fitting.collect())
            })
            .collect();
        Self {
            by_result,
            types,
            target,
        }
    }

    fn of(&self, ty: Type) -> &[usize] {
        let row = self.by_result.iter().find(|(result, _)| *result == ty);
        row.map_or(&[], |(_, operations)| operations)
    }
}

/// Where a statement stands.
#[derive(Clone, Copy)]
struct Place {
    depth: u32,
    /// All threads that have not returned come here together.
    uniform: bool,
    /// The lanes that come here are known.
    known: bool,
    /// Every lane of every warp comes here.
    full: bool,
    /// Directly in the body of a loop that keeps its lanes known.
    loop_known: bool,
    in_loop: bool,
    in_switch: bool,
    in_function: bool,
}

struct Generator<'a> {
    random: Random,
    table: &'a Table,
    choices: &'a Choices,
    program: Program,
    function: Function,
    /// Expression nodes that may still be made.
    budget: usize,
    /// Loops around this place multiply what they hold.
    loops: u32,
    /// Some thread may have returned.
    returned: bool,
}

/// The program of a seed.
pub(crate) fn generate(table: &Table, choices: &Choices, seed: u64) -> Program {
    let mut random = Random(seed);
    let block = *random.pick(&[
        [1, 1],
        [7, 1],
        [31, 1],
        [32, 1],
        [32, 1],
        [33, 1],
        [64, 1],
        [64, 1],
        [8, 8],
        [10, 5],
        [96, 1],
        [128, 1],
    ]);
    let program = Program {
        kernel: Function::default(),
        functions: Vec::new(),
        exchanges: Vec::new(),
        reductions: Vec::new(),
        grid: 1 + random.below(2) as u32,
        block,
        input_seed: random.next(),
    };
    let budget = 20 + random.below(160);
    let generator = Generator {
        random,
        table,
        choices,
        program,
        function: Function::default(),
        budget,
        loops: 0,
        returned: false,
    };
    generator.program()
}

impl Generator<'_> {
    fn program(mut self) -> Program {
        for _ in 0..self.random.below(3) {
            let function = self.device_function();
            self.program.functions.push(function);
        }
        for _ in 0..2 {
            let slot = (
                *self.random.pick(&Reduction::ALL),
                *self.random.pick(&[U32, S32, U64]),
            );
            // 64-bit signed minima have the same form.
            self.program.reductions.push(slot);
            let ty = *self.random.pick(&self.choices.types);
            self.program.exchanges.push(ty);
        }
        self.begin_function(6, 4);
        let full = self.program.threads().is_multiple_of(32);
        let place = Place {
            depth: 0,
            uniform: true,
            known: true,
            full,
            loop_known: false,
            in_loop: false,
            in_switch: false,
            in_function: false,
        };
        let count = 3 + self.random.below(8);
        let body = self.statements(place, count);
        self.function.body = body;
        self.program.kernel = std::mem::take(&mut self.function);
        self.program
    }

    fn begin_function(&mut self, inputs: usize, others: usize) {
        let types = self.choices.types.clone();
        let mut function = Function {
            inputs: 1 + self.random.below(inputs),
            ..Function::default()
        };
        for _ in 0..function.inputs + 1 + self.random.below(others) {
            function.variables.push(*self.random.pick(&types));
        }
        for _ in 0..self.random.below(3) {
            let plain: Vec<_> = types.iter().filter(|ty| **ty != Pred).collect();
            function.arrays.push(LocalArray {
                ty: **self.random.pick(&plain),
                length: *self.random.pick(&[2, 4, 8]),
            });
        }
        self.function = function;
    }

    fn device_function(&mut self) -> Function {
        self.begin_function(3, 3);
        for ty in &mut self.function.variables {
            if *ty == Pred {
                *ty = U32;
            }
        }
        let place = Place {
            depth: 1,
            uniform: false,
            known: false,
            full: false,
            loop_known: false,
            in_loop: false,
            in_switch: false,
            in_function: true,
        };
        let count = self.random.below(4);
        self.function.body = self.statements(place, count);
        let variable = self.random.below(self.function.variables.len());
        let ty = self.function.variables[variable];
        self.function.result = Some(self.expression(ty, 2));
        std::mem::take(&mut self.function)
    }

    fn statements(&mut self, place: Place, count: usize) -> Vec<Statement> {
        let mut place = place;
        let mut statements = Vec::new();
        for _ in 0..count {
            let statement = self.statement(&mut place);
            statements.push(statement);
        }
        statements
    }

    fn target(&mut self, accepts: impl Fn(Type) -> bool) -> Option<usize> {
        let fitting: Vec<_> = (0..self.function.variables.len())
            .filter(|index| accepts(self.function.variables[*index]))
            .collect();
        (!fitting.is_empty()).then(|| *self.random.pick(&fitting))
    }

    fn assign(&mut self) -> Statement {
        let to = self.random.below(self.function.variables.len());
        let ty = self.function.variables[to];
        Statement::Assign {
            to,
            value: self.expression(ty, 4),
        }
    }

    fn statement(&mut self, place: &mut Place) -> Statement {
        let choice = self.random.below(100);
        let made = match choice {
            0..28 => None,
            28..40 => self.branch(*place),
            40..50 => self.repeat(*place),
            50..55 => self.switch(*place),
            55..60 => self.leave(place),
            60..68 => self.local(),
            68..74 => self.call(),
            74..78 => self.atomic(*place),
            78..92 => self.warp(*place),
            _ => self.block_wide(*place),
        };
        made.unwrap_or_else(|| self.assign())
    }

    fn inner(&mut self, place: Place) -> Option<(Place, usize)> {
        if place.depth >= 4 || self.budget < 8 {
            return None;
        }
        let inner = Place {
            depth: place.depth + 1,
            uniform: false,
            full: false,
            loop_known: false,
            ..place
        };
        Some((inner, 1 + self.random.below(3)))
    }

    fn branch(&mut self, place: Place) -> Option<Statement> {
        let (inner, count) = self.inner(place)?;
        let condition = self.expression(Pred, 3);
        if self.random.percent(25) {
            let then = (0..count).map(|_| self.assign()).collect();
            return Some(Statement::If {
                condition,
                then,
                otherwise: Vec::new(),
                predicated: true,
            });
        }
        let then = self.statements(inner, count);
        let otherwise = if self.random.percent(50) {
            let count = 1 + self.random.below(2);
            self.statements(inner, count)
        } else {
            Vec::new()
        };
        Some(Statement::If {
            condition,
            then,
            otherwise,
            predicated: false,
        })
    }

    fn repeat(&mut self, place: Place) -> Option<Statement> {
        if self.loops >= 2 {
            return None;
        }
        let (inner, count) = self.inner(place)?;
        let known = place.known && self.random.percent(60);
        let inner = Place {
            known,
            loop_known: known,
            in_loop: true,
            in_switch: false,
            ..inner
        };
        self.loops += 1;
        let statement = if self.random.percent(25) {
            let inner = Place {
                known: false,
                loop_known: false,
                ..inner
            };
            let body = self.statements(inner, count);
            Statement::DoWhile {
                condition: self.expression(Pred, 2),
                body,
            }
        } else {
            let count_expression = self.expression(U32, 2);
            self.function.variables.push(U32);
            let counter = self.function.variables.len() - 1;
            let uniform_count = place.uniform && self.random.percent(30);
            // A constant number of rounds keeps everybody together.
            let (count_expression, inner) = if uniform_count {
                let rounds = self.random.next() & 7;
                let inner = Place {
                    uniform: known,
                    full: place.full && known,
                    ..inner
                };
                (Expression::Constant(U32, rounds), inner)
            } else {
                (count_expression, inner)
            };
            Statement::Loop {
                count: count_expression,
                counter,
                body: self.statements(inner, count),
                known,
            }
        };
        self.loops -= 1;
        Some(statement)
    }

    fn switch(&mut self, place: Place) -> Option<Statement> {
        let (inner, _) = self.inner(place)?;
        let inner = Place {
            known: false,
            in_switch: true,
            ..inner
        };
        let cases = (0..2 + self.random.below(3))
            .map(|_| {
                let count = self.random.below(3);
                self.statements(inner, count)
            })
            .collect();
        Some(Statement::Switch {
            selector: self.expression(U32, 2),
            cases,
            indexed: self.random.percent(60),
        })
    }

    fn leave(&mut self, place: &mut Place) -> Option<Statement> {
        if place.in_loop && !place.in_switch {
            // Below, the lanes that are left are known only if this is the loop's own body.
            if place.known && (!place.loop_known || place.uniform) {
                return None;
            }
            let condition = self.expression(Pred, 2);
            return Some(if self.random.percent(60) {
                Statement::Break(condition)
            } else {
                if place.known {
                    return None;
                }
                Statement::Continue(condition)
            });
        }
        if place.in_function && !place.in_loop || place.depth == 0 {
            if !place.in_function {
                if self.random.percent(60) {
                    return None;
                }
                place.full = false;
                self.returned = true;
            }
            return Some(Statement::Return(self.expression(Pred, 2)));
        }
        None
    }

    fn local(&mut self) -> Option<Statement> {
        if self.function.arrays.is_empty() {
            return None;
        }
        let array = self.random.below(self.function.arrays.len());
        let ty = self.function.arrays[array].ty;
        let index = self.expression(U32, 2);
        if self.random.percent(50) {
            let value = self.expression(ty, 3);
            return Some(Statement::LocalStore {
                array,
                index,
                value,
            });
        }
        let to = self.target(|of| of == ty)?;
        Some(Statement::LocalLoad { to, array, index })
    }

    fn call(&mut self) -> Option<Statement> {
        if self.program.functions.is_empty() {
            return None;
        }
        let function = self.random.below(self.program.functions.len());
        let callee = self.program.functions[function].clone();
        let result = callee.result.as_ref()?;
        let ty = callee.type_of(result, self.table);
        let to = self.target(|of| of == ty)?;
        let arguments = callee.variables[..callee.inputs]
            .iter()
            .map(|ty| self.expression(*ty, 2))
            .collect();
        Some(Statement::Call {
            to,
            function,
            arguments,
            indirect: self.random.percent(30),
        })
    }

    fn atomic(&mut self, place: Place) -> Option<Statement> {
        if place.in_function {
            return None;
        }
        if self.random.percent(40) {
            let slot = self.random.below(self.program.reductions.len());
            let ty = self.program.reductions[slot].1;
            return Some(Statement::Reduce {
                slot,
                value: self.expression(ty, 3),
            });
        }
        let to = self.target(|ty| matches!(ty, U32 | S32 | U64 | S64))?;
        let ty = self.function.variables[to];
        if self.random.percent(30) {
            let compare = self.random.percent(50).then(|| self.expression(ty, 2));
            return Some(Statement::Swap {
                to,
                compare,
                value: self.expression(ty, 2),
            });
        }
        let reduction = *self.random.pick(&Reduction::ALL);
        Some(Statement::Atomic {
            to,
            reduction,
            value: self.expression(ty, 3),
        })
    }

    fn warp(&mut self, place: Place) -> Option<Statement> {
        if !place.known || place.in_function {
            return None;
        }
        match self.random.below(10) {
            0..5 => self.shuffle(place),
            5..7 => {
                let mode = *self
                    .random
                    .pick(&[Vote::All, Vote::Any, Vote::Uniform, Vote::Ballot]);
                let wanted = if mode == Vote::Ballot { U32 } else { Pred };
                let to = self.target(|ty| ty == wanted)?;
                Some(Statement::Vote {
                    to,
                    mode,
                    value: self.expression(Pred, 3),
                })
            }
            7 => {
                let to = self.target(|ty| ty == U32)?;
                let ty = *self.random.pick(&[U32, U64]);
                Some(Statement::Match {
                    to,
                    value: self.expression(ty, 1),
                })
            }
            _ => {
                let reduction = *self.random.pick(&Reduction::ALL);
                let to = self.target(|ty| ty == U32 || ty == S32 && !reduction.is_bitwise())?;
                let ty = self.function.variables[to];
                Some(Statement::WarpReduce {
                    to,
                    reduction,
                    value: self.expression(ty, 3),
                })
            }
        }
    }

    fn shuffle(&mut self, place: Place) -> Option<Statement> {
        let to = self.target(|ty| ty.bits() == 32)?;
        let ty = self.function.variables[to];
        let value = self.expression(ty, 3);
        let lane = self.expression(U32, 2);
        let mode = if place.full {
            *self.random.pick(&[
                Shuffle::Index,
                Shuffle::Up,
                Shuffle::Down,
                Shuffle::Butterfly,
            ])
        } else {
            Shuffle::Guarded
        };
        let clamp = match (self.choices.target, mode) {
            (_, Shuffle::Guarded) => 0x1f,
            // The intrinsics know segments of a power of two.
            (Target::Cuda, _) => {
                let width = 1_u32 << self.random.below(6);
                let segments = (32 - width) << 8;
                segments | if mode == Shuffle::Up { 0 } else { 0x1f }
            }
            _ => self.random.next() as u32 & 0x1f1f,
        };
        let in_range = if mode != Shuffle::Guarded && self.choices.target == Target::Ptx {
            self.target(|ty| ty == Pred)
        } else {
            None
        };
        Some(Statement::Shuffle {
            to,
            in_range,
            mode,
            value,
            lane,
            clamp,
        })
    }

    fn block_wide(&mut self, place: Place) -> Option<Statement> {
        if !place.uniform || place.in_function {
            return None;
        }
        match self.random.below(10) {
            0..6 => {
                let array = self.random.below(self.program.exchanges.len());
                let ty = self.program.exchanges[array];
                let to = self.target(|of| of == ty)?;
                Some(Statement::Exchange {
                    array,
                    to,
                    value: self.expression(ty, 3),
                    index: self.expression(U32, 2),
                })
            }
            6..9 => {
                let slot = self.random.below(self.program.reductions.len());
                let ty = self.program.reductions[slot].1;
                let to = self.target(|of| of == ty)?;
                Some(Statement::ReadReduced { slot, to })
            }
            // With threads gone, whom it counts is not said.
            _ if self.returned => None,
            _ => {
                let reduction = *self.random.pick(&[
                    BarrierReduction::Count,
                    BarrierReduction::And,
                    BarrierReduction::Or,
                ]);
                let wanted = if reduction == BarrierReduction::Count {
                    U32
                } else {
                    Pred
                };
                let to = self.target(|ty| ty == wanted)?;
                Some(Statement::BarrierReduce {
                    to,
                    reduction,
                    value: self.expression(Pred, 3),
                })
            }
        }
    }

    fn expression(&mut self, ty: Type, depth: u32) -> Expression {
        let leaf = depth == 0 || self.budget == 0 || self.random.percent(12);
        if !leaf {
            let operations = self.choices.of(ty);
            if !operations.is_empty() {
                self.budget -= 1;
                let index = *self.random.pick(operations);
                let arguments = self.table.operations[index].arguments.clone();
                let arguments = arguments
                    .iter()
                    .map(|ty| self.expression(*ty, depth - 1))
                    .collect();
                return Expression::Operation(index, arguments);
            }
        }
        if ty == U32 && self.random.percent(15) {
            return Expression::Special(*self.random.pick(&[
                Special::Thread,
                Special::ThreadX,
                Special::ThreadY,
                Special::Block,
                Special::Lane,
                Special::BlockSizeX,
                Special::Grid,
            ]));
        }
        if self.random.percent(75)
            && let Some(variable) = self.target(|of| of == ty)
        {
            return Expression::Variable(variable);
        }
        Expression::Constant(ty, self.random.value(ty))
    }
}
