// SPDX-License-Identifier: Apache-2.0
//! Computes what a program must give: statement by statement, thread by thread.

use std::collections::BTreeMap;

use super::program::{
    BarrierReduction, Expression, Function, Program, Shuffle, Special, Statement, Vote, operation,
};
use super::types::Table;

const WARP: usize = 32;

/// What a program leaves behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The kernel's variables, by thread of the grid.
    pub(crate) variables: Vec<Vec<u64>>,
    /// The word of each thread that atomics work on.
    pub(crate) words: Vec<u64>,
}

/// Variables and arrays of one activation of a function, by thread.
struct Frame<'p> {
    function: &'p Function,
    variables: Vec<Vec<u64>>,
    arrays: Vec<Vec<Vec<u64>>>,
    loops: Vec<Left>,
}

/// Threads that have left a loop's body.
#[derive(Default)]
struct Left {
    broken: Vec<usize>,
    continued: Vec<usize>,
}

struct Block<'p> {
    program: &'p Program,
    table: &'p Table,
    index: u64,
    words: Vec<u64>,
    exchanges: Vec<Vec<u64>>,
    reductions: Vec<u64>,
}

/// Runs a program.
pub(crate) fn evaluate(program: &Program, table: &Table) -> Outcome {
    let inputs = program.inputs();
    let threads = program.threads();
    let mut outcome = Outcome {
        variables: Vec::new(),
        words: Vec::new(),
    };
    for index in 0..program.grid as usize {
        let mut block = Block {
            program,
            table,
            index: index as u64,
            words: vec![0; threads],
            exchanges: vec![vec![0; threads]; program.exchanges.len()],
            reductions: vec![0; program.reductions.len()],
        };
        let all: Vec<_> = (0..threads).collect();
        let mut frame = Frame::new(&program.kernel, threads);
        for thread in 0..threads {
            let given = &inputs[index * threads + thread];
            frame.variables[thread][..given.len()].copy_from_slice(given);
        }
        block.run(&mut frame, &program.kernel.body, all);
        outcome.variables.append(&mut frame.variables);
        outcome.words.append(&mut block.words);
    }
    outcome
}

impl<'p> Frame<'p> {
    fn new(function: &'p Function, threads: usize) -> Self {
        let arrays: Vec<_> = function
            .arrays
            .iter()
            .map(|a| vec![0; a.length as usize])
            .collect();
        Self {
            function,
            variables: vec![vec![0; function.variables.len()]; threads],
            arrays: vec![arrays; threads],
            loops: Vec::new(),
        }
    }
}

fn warps(active: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut warps: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for thread in active {
        warps.entry(thread / WARP).or_default().push(*thread);
    }
    warps
}

impl Block<'_> {
    fn special(&self, thread: usize, special: Special) -> u64 {
        let [x, _] = self.program.block;
        let thread = thread as u64;
        match special {
            Special::Thread => thread,
            Special::ThreadX => thread % u64::from(x),
            Special::ThreadY => thread / u64::from(x),
            Special::Block => self.index,
            Special::Lane => thread % WARP as u64,
            Special::BlockSizeX => x.into(),
            Special::Grid => self.program.grid.into(),
        }
    }

    fn value(&self, frame: &Frame<'_>, thread: usize, expression: &Expression) -> u64 {
        match expression {
            Expression::Constant(_, bits) => *bits,
            Expression::Variable(index) => frame.variables[thread][*index],
            Expression::Special(special) => self.special(thread, *special),
            Expression::Operation(index, arguments) => {
                let values: Vec<_> = arguments
                    .iter()
                    .map(|argument| self.value(frame, thread, argument))
                    .collect();
                (operation(self.table, *index).evaluate)(&values)
            }
        }
    }

    fn values(&self, frame: &Frame<'_>, threads: &[usize], of: &Expression) -> Vec<u64> {
        threads
            .iter()
            .map(|thread| self.value(frame, *thread, of))
            .collect()
    }

    fn split(
        &self,
        frame: &Frame<'_>,
        threads: &[usize],
        condition: &Expression,
    ) -> (Vec<usize>, Vec<usize>) {
        let threads = threads.iter().copied();
        threads.partition(|thread| self.value(frame, *thread, condition) != 0)
    }

    /// Runs statements for some threads; answers those that come to their end.
    fn run<'p>(
        &mut self,
        frame: &mut Frame<'p>,
        statements: &'p [Statement],
        threads: Vec<usize>,
    ) -> Vec<usize> {
        let mut active = threads;
        for statement in statements {
            if active.is_empty() {
                break;
            }
            active = self.statement(frame, statement, active);
        }
        active
    }

    fn statement<'p>(
        &mut self,
        frame: &mut Frame<'p>,
        statement: &'p Statement,
        active: Vec<usize>,
    ) -> Vec<usize> {
        match statement {
            Statement::If {
                condition,
                then,
                otherwise,
                ..
            } => {
                let (yes, no) = self.split(frame, &active, condition);
                let mut left = self.run(frame, then, yes);
                left.extend(self.run(frame, otherwise, no));
                left.sort_unstable();
                left
            }
            Statement::Loop {
                count,
                counter,
                body,
                ..
            } => self.repeat(frame, count, *counter, body, active),
            Statement::DoWhile { condition, body } => {
                self.repeat_while(frame, condition, body, active)
            }
            Statement::Switch {
                selector, cases, ..
            } => {
                let selected = self.values(frame, &active, selector);
                let mut left = Vec::new();
                for (number, case) in cases.iter().enumerate() {
                    let inside = active
                        .iter()
                        .zip(&selected)
                        .filter(|(_, value)| **value as usize % cases.len() == number)
                        .map(|(thread, _)| *thread)
                        .collect();
                    left.extend(self.run(frame, case, inside));
                }
                left.sort_unstable();
                left
            }
            Statement::Break(condition) => {
                let (gone, left) = self.split(frame, &active, condition);
                frame
                    .loops
                    .last_mut()
                    .expect("in a loop")
                    .broken
                    .extend(gone);
                left
            }
            Statement::Continue(condition) => {
                let (gone, left) = self.split(frame, &active, condition);
                frame
                    .loops
                    .last_mut()
                    .expect("in a loop")
                    .continued
                    .extend(gone);
                left
            }
            Statement::Return(condition) => self.split(frame, &active, condition).1,
            _ => {
                self.simple(frame, statement, &active);
                active
            }
        }
    }

    fn repeat<'p>(
        &mut self,
        frame: &mut Frame<'p>,
        count: &Expression,
        counter: usize,
        body: &'p [Statement],
        active: Vec<usize>,
    ) -> Vec<usize> {
        let counts: BTreeMap<_, _> = active
            .iter()
            .map(|thread| (*thread, self.value(frame, *thread, count) & 7))
            .collect();
        let mut after = Vec::new();
        let mut inside = active;
        for round in 0..8 {
            let (more, done): (Vec<_>, Vec<_>) = inside
                .iter()
                .copied()
                .partition(|thread| round < counts[thread]);
            after.extend(done);
            for thread in &more {
                frame.variables[*thread][counter] = round;
            }
            frame.loops.push(Left::default());
            inside = self.run(frame, body, more);
            let left = frame.loops.pop().expect("just pushed");
            after.extend(left.broken);
            inside.extend(left.continued);
            inside.sort_unstable();
        }
        after.sort_unstable();
        after
    }

    fn repeat_while<'p>(
        &mut self,
        frame: &mut Frame<'p>,
        condition: &Expression,
        body: &'p [Statement],
        active: Vec<usize>,
    ) -> Vec<usize> {
        let mut after = Vec::new();
        let mut inside = active;
        for round in 1..=5 {
            frame.loops.push(Left::default());
            inside = self.run(frame, body, inside);
            let left = frame.loops.pop().expect("just pushed");
            after.extend(left.broken);
            inside.extend(left.continued);
            inside.sort_unstable();
            let (more, done) = self.split(frame, &inside, condition);
            after.extend(done);
            inside = more;
            if round == 5 {
                after.append(&mut inside);
            }
        }
        after.sort_unstable();
        after
    }

    fn simple<'p>(&mut self, frame: &mut Frame<'p>, statement: &'p Statement, active: &[usize]) {
        match statement {
            Statement::Assign { to, value } => {
                for thread in active {
                    frame.variables[*thread][*to] = self.value(frame, *thread, value);
                }
            }
            Statement::LocalStore {
                array,
                index,
                value,
            } => {
                let length = u64::from(frame.function.arrays[*array].length);
                for thread in active {
                    let at = self.value(frame, *thread, index) % length;
                    let value = self.value(frame, *thread, value);
                    frame.arrays[*thread][*array][at as usize] = value;
                }
            }
            Statement::LocalLoad { to, array, index } => {
                let length = u64::from(frame.function.arrays[*array].length);
                for thread in active {
                    let at = self.value(frame, *thread, index) % length;
                    frame.variables[*thread][*to] = frame.arrays[*thread][*array][at as usize];
                }
            }
            Statement::Atomic { .. } | Statement::Swap { .. } => {
                self.atomic(frame, statement, active);
            }
            Statement::Call {
                to,
                function,
                arguments,
                ..
            } => {
                let results = self.call(frame, *function, arguments, active);
                for (thread, result) in active.iter().zip(results) {
                    frame.variables[*thread][*to] = result;
                }
            }
            Statement::Exchange { .. }
            | Statement::Reduce { .. }
            | Statement::ReadReduced { .. }
            | Statement::BarrierReduce { .. } => self.block_wide(frame, statement, active),
            _ => {
                for lanes in warps(active).values() {
                    self.warp(frame, statement, lanes);
                }
            }
        }
    }

    fn call(
        &mut self,
        frame: &Frame<'_>,
        function: usize,
        arguments: &[Expression],
        active: &[usize],
    ) -> Vec<u64> {
        let program = self.program;
        let callee = &program.functions[function];
        let mut inner = Frame::new(callee, program.threads());
        for thread in active {
            for (index, argument) in arguments.iter().enumerate() {
                inner.variables[*thread][index] = self.value(frame, *thread, argument);
            }
        }
        self.run(&mut inner, &callee.body, active.to_vec());
        let result = callee.result.as_ref().expect("device functions have one");
        self.values(&inner, active, result)
    }

    fn atomic(&mut self, frame: &mut Frame<'_>, statement: &Statement, active: &[usize]) {
        for thread in active {
            let (to, new) = match statement {
                Statement::Atomic {
                    to,
                    reduction,
                    value,
                } => {
                    let ty = frame.function.variables[*to];
                    let value = self.value(frame, *thread, value);
                    let old = self.words[*thread] & ty.mask();
                    (*to, reduction.apply(ty, old, value))
                }
                Statement::Swap { to, compare, value } => {
                    let ty = frame.function.variables[*to];
                    let old = self.words[*thread] & ty.mask();
                    let same = compare
                        .as_ref()
                        .is_none_or(|compare| self.value(frame, *thread, compare) == old);
                    let value = self.value(frame, *thread, value);
                    (*to, if same { value } else { old })
                }
                _ => continue,
            };
            let mask = frame.function.variables[to].mask();
            frame.variables[*thread][to] = self.words[*thread] & mask;
            self.words[*thread] = self.words[*thread] & !mask | new;
        }
    }

    fn block_wide(&mut self, frame: &mut Frame<'_>, statement: &Statement, active: &[usize]) {
        let threads = self.program.threads() as u64;
        match statement {
            Statement::Exchange {
                array,
                to,
                value,
                index,
            } => {
                for thread in active {
                    self.exchanges[*array][*thread] = self.value(frame, *thread, value);
                }
                for thread in active {
                    let from = self.value(frame, *thread, index) % threads;
                    frame.variables[*thread][*to] = self.exchanges[*array][from as usize];
                }
            }
            Statement::Reduce { slot, value } => {
                let (reduction, ty) = self.program.reductions[*slot];
                for thread in active {
                    let value = self.value(frame, *thread, value);
                    self.reductions[*slot] = reduction.apply(ty, self.reductions[*slot], value);
                }
            }
            Statement::ReadReduced { slot, to } => {
                for thread in active {
                    frame.variables[*thread][*to] = self.reductions[*slot];
                }
            }
            Statement::BarrierReduce {
                to,
                reduction,
                value,
            } => {
                let values = self.values(frame, active, value);
                let count = values.iter().sum();
                let result = match reduction {
                    BarrierReduction::Count => count,
                    BarrierReduction::And => u64::from(count == active.len() as u64),
                    BarrierReduction::Or => u64::from(count > 0),
                };
                for thread in active {
                    frame.variables[*thread][*to] = result;
                }
            }
            _ => {}
        }
    }

    /// One warp's part of a statement that its lanes do together.
    fn warp(&self, frame: &mut Frame<'_>, statement: &Statement, lanes: &[usize]) {
        let bits = |values: &[u64], wanted: &dyn Fn(u64) -> bool| -> u64 {
            lanes
                .iter()
                .zip(values)
                .filter(|(_, value)| wanted(**value))
                .map(|(thread, _)| 1 << (thread % WARP))
                .sum()
        };
        let set = |frame: &mut Frame<'_>, to: usize, results: &[u64]| {
            for (thread, result) in lanes.iter().zip(results) {
                frame.variables[*thread][to] = *result;
            }
        };
        match statement {
            Statement::Vote { to, mode, value } => {
                let values = self.values(frame, lanes, value);
                let count: u64 = values.iter().sum();
                let all = count == lanes.len() as u64;
                let result = match mode {
                    Vote::All => all.into(),
                    Vote::Any => u64::from(count > 0),
                    Vote::Uniform => u64::from(all || count == 0),
                    Vote::Ballot => bits(&values, &|value| value != 0),
                };
                set(frame, *to, &vec![result; lanes.len()]);
            }
            Statement::Match { to, value } => {
                let values = self.values(frame, lanes, value);
                let results: Vec<_> = values
                    .iter()
                    .map(|own| bits(&values, &|value| value == *own))
                    .collect();
                set(frame, *to, &results);
            }
            Statement::WarpReduce {
                to,
                reduction,
                value,
            } => {
                let ty = frame.function.variables[*to];
                let values = self.values(frame, lanes, value);
                let result = values.into_iter().reduce(|a, b| reduction.apply(ty, a, b));
                set(frame, *to, &vec![result.unwrap_or(0); lanes.len()]);
            }
            Statement::Shuffle {
                to,
                in_range,
                mode,
                value,
                lane,
                clamp,
            } => {
                let values = self.values(frame, lanes, value);
                let selectors = self.values(frame, lanes, lane);
                let sources: Vec<_> = lanes
                    .iter()
                    .zip(selectors)
                    .map(|(thread, by)| source(*mode, (thread % WARP) as i64, by, *clamp))
                    .collect();
                let of = |lane: i64| {
                    let at = lanes
                        .iter()
                        .position(|thread| (thread % WARP) as i64 == lane);
                    at.map_or(0, |at| values[at])
                };
                let results: Vec<_> = sources.iter().map(|(lane, _)| of(*lane)).collect();
                let ranges: Vec<_> = sources.iter().map(|(_, inside)| (*inside).into()).collect();
                set(frame, *to, &results);
                if let Some(to) = in_range {
                    set(frame, *to, &ranges);
                }
            }
            _ => {}
        }
    }
}

/// Which lane a shuffle reads and whether it is in range: the pseudocode of `shfl`.
fn source(mode: Shuffle, lane: i64, by: u64, clamp: u32) -> (i64, bool) {
    let by = (by & 31) as i64;
    let (limit, segment) = (i64::from(clamp & 31), i64::from(clamp >> 8 & 31));
    let least = lane & segment;
    let most = least | limit & !segment;
    let (at, inside) = match mode {
        Shuffle::Up => (lane - by, lane - by >= most),
        Shuffle::Down => (lane + by, lane + by <= most),
        Shuffle::Butterfly => (lane ^ by, lane ^ by <= most),
        Shuffle::Index | Shuffle::Guarded => {
            let at = least | by & !segment;
            (at, at <= most)
        }
    };
    (if inside { at } else { lane }, inside)
}
