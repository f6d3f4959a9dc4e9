// SPDX-License-Identifier: Apache-2.0
//! A random kernel as a tree. Everything that executes it (PTX, CUDA C, the evaluator) works from
//! this.

use super::types::{Operation, Table, Type};

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Constant(Type, u64),
    /// Index of a variable of the running function.
    Variable(usize),
    Special(Special),
    /// Index of an operation of the table.
    Operation(usize, Vec<Self>),
}

/// What the hardware tells a thread, as a `u32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Number of the thread in its block, counted by x, then y.
    Thread,
    ThreadX,
    ThreadY,
    Block,
    Lane,
    BlockSizeX,
    Grid,
}

/// Commutative operations, whose result does not depend on the order of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduction {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
}

impl Reduction {
    pub(crate) const ALL: [Self; 6] = [
        Self::Add,
        Self::Min,
        Self::Max,
        Self::And,
        Self::Or,
        Self::Xor,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Min => "min",
            Self::Max => "max",
            Self::And => "and",
            Self::Or => "or",
            Self::Xor => "xor",
        }
    }

    /// Whether PTX gives it no signedness.
    pub(crate) fn is_bitwise(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Xor)
    }

    pub(crate) fn apply(self, ty: Type, a: u64, b: u64) -> u64 {
        let (x, y) = (ty.value(a), ty.value(b));
        match self {
            Self::Add => ty.wrap(x + y),
            Self::Min => ty.wrap(x.min(y)),
            Self::Max => ty.wrap(x.max(y)),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
        }
    }
}

/// Where a shuffle reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Index,
    Up,
    Down,
    Butterfly,
    /// By index, in a region where some lanes are missing; those give zero.
    Guarded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierReduction {
    Count,
    And,
    Or,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Statement {
    Assign {
        to: usize,
        value: Expression,
    },
    If {
        condition: Expression,
        then: Vec<Self>,
        otherwise: Vec<Self>,
        /// Guard the instructions instead of branching; only assignments inside.
        predicated: bool,
    },
    /// `count & 7` times, counting in a variable.
    Loop {
        count: Expression,
        counter: usize,
        body: Vec<Self>,
        /// All leave together or at its head, so that the lanes inside are known.
        known: bool,
    },
    /// At most 5 times, at least once, while the condition holds.
    DoWhile {
        condition: Expression,
        body: Vec<Self>,
    },
    Switch {
        selector: Expression,
        cases: Vec<Vec<Self>>,
        /// By a table of branch targets.
        indexed: bool,
    },
    Break(Expression),
    Continue(Expression),
    /// Ends the function if the condition holds.
    Return(Expression),
    /// An element of a local array.
    LocalStore {
        array: usize,
        index: Expression,
        value: Expression,
    },
    LocalLoad {
        to: usize,
        array: usize,
        index: Expression,
    },
    /// All put a value into shared memory, wait, and read somebody's.
    Exchange {
        array: usize,
        to: usize,
        value: Expression,
        index: Expression,
    },
    /// Into a counter in shared memory.
    Reduce {
        slot: usize,
        value: Expression,
    },
    /// All wait and read the counter.
    ReadReduced {
        slot: usize,
        to: usize,
    },
    /// An atomic on the thread's own word in global memory.
    Atomic {
        to: usize,
        reduction: Reduction,
        value: Expression,
    },
    /// Exchange or compare-and-swap there.
    Swap {
        to: usize,
        compare: Option<Expression>,
        value: Expression,
    },
    Shuffle {
        to: usize,
        /// `|p`, if wanted.
        in_range: Option<usize>,
        mode: Shuffle,
        value: Expression,
        lane: Expression,
        /// Clamp and segment mask.
        clamp: u32,
    },
    Vote {
        to: usize,
        mode: Vote,
        value: Expression,
    },
    Match {
        to: usize,
        value: Expression,
    },
    WarpReduce {
        to: usize,
        reduction: Reduction,
        value: Expression,
    },
    BarrierReduce {
        to: usize,
        reduction: BarrierReduction,
        value: Expression,
    },
    Call {
        to: usize,
        function: usize,
        arguments: Vec<Expression>,
        indirect: bool,
    },
}

/// An array of a thread's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalArray {
    pub(crate) ty: Type,
    /// A power of two.
    pub(crate) length: u32,
}

/// A device function, or the kernel's body.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Function {
    pub(crate) variables: Vec<Type>,
    /// The first ones are given from outside.
    pub(crate) inputs: usize,
    pub(crate) arrays: Vec<LocalArray>,
    pub(crate) body: Vec<Statement>,
    /// Of a device function: its value.
    pub(crate) result: Option<Expression>,
}

/// A kernel with its launch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Program {
    pub(crate) kernel: Function,
    /// Each may call those before it.
    pub(crate) functions: Vec<Function>,
    /// Element types of the shared arrays, one element a thread.
    pub(crate) exchanges: Vec<Type>,
    /// Counters in shared memory, zero at first.
    pub(crate) reductions: Vec<(Reduction, Type)>,
    pub(crate) grid: u32,
    pub(crate) block: [u32; 2],
    /// Seed of the inputs.
    pub(crate) input_seed: u64,
}

impl Program {
    pub(crate) fn threads(&self) -> usize {
        (self.block[0] * self.block[1]) as usize
    }

    /// Values that the kernel takes, by thread of the whole grid.
    pub(crate) fn inputs(&self) -> Vec<Vec<u64>> {
        let mut random = super::random::Random(self.input_seed);
        (0..self.threads() * self.grid as usize)
            .map(|_| {
                let inputs = &self.kernel.variables[..self.kernel.inputs];
                inputs.iter().map(|ty| random.value(*ty)).collect()
            })
            .collect()
    }
}

impl Function {
    pub(crate) fn type_of(&self, expression: &Expression, table: &Table) -> Type {
        match expression {
            Expression::Constant(ty, _) => *ty,
            Expression::Variable(index) => self.variables[*index],
            Expression::Special(_) => Type::U32,
            Expression::Operation(index, _) => operation(table, *index).result,
        }
    }
}

pub(crate) fn operation(table: &Table, index: usize) -> &Operation {
    &table.operations[index]
}
