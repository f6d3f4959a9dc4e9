// SPDX-License-Identifier: Apache-2.0
//! Who calls whom, and which shared variables each kernel can touch.

use crate::ptx::{
    AddressBase, Declaration, Function, Instruction, Operand, OperandRange, StateSpace, Statement,
};

use super::program::{Global, Program};

/// What a function's text mentions.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Functions, as indices of definitions.
    functions: Vec<usize>,
    /// Those of them whose address is taken.
    taken: Vec<usize>,
    /// Static shared variables.
    pub(super) shared: Vec<usize>,
    /// Largest alignment of extern shared arrays, 0 where none is used.
    pub(super) dynamic_shared_alignment: u32,
    /// Calls through a register.
    calls_indirectly: bool,
}

/// Looks through a function. Local names that hide module-scope ones are not told apart: the
/// answer may hold too much, never too little.
pub(super) fn uses(program: &Program<'_, '_>, module: usize, function: &Function<'_>) -> Uses {
    let mut uses = Uses::default();
    let mut seen = Vec::new();
    for statement in function.body.iter().flatten() {
        match statement {
            Statement::Instruction(instruction) => {
                let callee = call_target(function, instruction);
                uses.calls_indirectly |=
                    callee.is_some_and(|name| !program.scopes[module].contains_key(name));
                for_each_name(&function.operands, instruction.operands, 0, &mut |name| {
                    if !name.starts_with('%')
                        && let Some(&global) = program.scopes[module].get(name)
                    {
                        seen.push((global, callee == Some(name)));
                    }
                });
                for (global, is_callee) in seen.drain(..) {
                    uses.add(global, is_callee);
                }
            }
            Statement::CallTargets { targets, .. } => {
                for name in targets {
                    if let Some(&global) = program.scopes[module].get(name) {
                        uses.add(global, false);
                    }
                }
            }
            _ => {}
        }
    }
    uses
}

impl Uses {
    fn add(&mut self, global: Global, is_callee: bool) {
        match global {
            Global::Function(index) => {
                push_once(&mut self.functions, index);
                if !is_callee {
                    push_once(&mut self.taken, index);
                }
            }
            Global::Shared(index) => push_once(&mut self.shared, index),
            Global::DynamicShared { alignment } => {
                self.dynamic_shared_alignment = self.dynamic_shared_alignment.max(alignment);
            }
            _ => {}
        }
    }
}

fn push_once(list: &mut Vec<usize>, value: usize) {
    // Consecutive mentions are the usual repetition; the rest is removed by the graph walk.
    if list.last() != Some(&value) {
        list.push(value);
    }
}

/// The name that a `call` names as its target.
pub(super) fn call_target<'a>(
    function: &Function<'a>,
    instruction: &Instruction<'a>,
) -> Option<&'a str> {
    if !instruction.name.starts_with("call") {
        return None;
    }
    let operands = instruction.operands.of(&function.operands);
    operands.iter().find_map(|operand| match operand {
        Operand::Symbol { name, .. } => Some(*name),
        _ => None,
    })
}

fn for_each_name<'a>(
    pool: &[Operand<'a>],
    range: OperandRange,
    depth: u32,
    found: &mut dyn FnMut(&'a str),
) {
    for operand in range.of(pool) {
        match operand {
            Operand::Symbol { name, .. } => found(name),
            Operand::Address(address) => {
                if let AddressBase::Symbol(name) = address.base {
                    found(name);
                }
                if depth < 4 {
                    for_each_name(pool, address.coordinates, depth + 1, found);
                }
            }
            Operand::List(inner) | Operand::Vector(inner) | Operand::Pair(inner) if depth < 4 => {
                for_each_name(pool, *inner, depth + 1, found);
            }
            _ => {}
        }
    }
}

/// `.shared` variables declared in a function's body, in text order.
pub(super) fn local_shared<'f, 'a>(
    function: &'f Function<'a>,
) -> impl Iterator<Item = &'f Declaration<'a>> {
    function
        .body
        .iter()
        .flatten()
        .filter_map(|statement| match statement {
            Statement::Variable(variable) if variable.space == StateSpace::Shared => {
                Some(&**variable)
            }
            _ => None,
        })
}

/// `.global` and `.const` variables declared in a function's body, in text order.
pub(super) fn local_variables<'f, 'a>(
    function: &'f Function<'a>,
) -> impl Iterator<Item = &'f Declaration<'a>> {
    function
        .body
        .iter()
        .flatten()
        .filter_map(|statement| match statement {
            Statement::Variable(variable)
                if matches!(variable.space, StateSpace::Global | StateSpace::Const) =>
            {
                Some(&**variable)
            }
            _ => None,
        })
}

/// What one kernel can reach.
#[derive(Debug, Default)]
pub(super) struct KernelSet {
    /// Static shared variables, each once.
    pub(super) shared: Vec<usize>,
    /// Largest alignment of extern shared arrays.
    pub(super) dynamic_shared_alignment: u32,
}

/// What the kernels can reach.
pub(super) struct Reach {
    reached: Vec<bool>,
    kernels: Vec<(usize, KernelSet)>,
}

impl Reach {
    /// Walks the call graph from every kernel. A call through a register may go to any function
    /// whose address some reachable code or some variable holds.
    pub(super) fn new(program: &Program<'_, '_>, uses: &[Uses], pointed_to: &[usize]) -> Self {
        let mut taken = pointed_to.to_vec();
        taken.extend(uses.iter().flat_map(|uses| &uses.taken));
        taken.sort_unstable();
        taken.dedup();
        let mut reached = vec![false; uses.len()];
        let mut kernels = Vec::new();
        let mut visited = vec![usize::MAX; uses.len()];
        for (number, kernel) in program.entries().enumerate() {
            let mut set = KernelSet::default();
            let mut indirect = false;
            let mut pending = vec![kernel];
            while let Some(index) = pending.pop() {
                if std::mem::replace(&mut visited[index], number) == number {
                    continue;
                }
                reached[index] = true;
                let uses = &uses[index];
                set.shared.extend(&uses.shared);
                set.dynamic_shared_alignment = set
                    .dynamic_shared_alignment
                    .max(uses.dynamic_shared_alignment);
                pending.extend(&uses.functions);
                if uses.calls_indirectly && !std::mem::replace(&mut indirect, true) {
                    pending.extend(&taken);
                }
            }
            set.shared.sort_unstable();
            set.shared.dedup();
            kernels.push((kernel, set));
        }
        // Variables hold these functions' addresses, so they need one even if nobody calls them.
        let mut pending = pointed_to.to_vec();
        while let Some(index) = pending.pop() {
            if !std::mem::replace(&mut reached[index], true) {
                pending.extend(&uses[index].functions);
            }
        }
        Self { reached, kernels }
    }

    /// For each definition, whether it is needed.
    pub(super) fn reached(&self) -> &[bool] {
        &self.reached
    }

    /// The kernels in text order.
    pub(super) fn kernels(&self) -> &[(usize, KernelSet)] {
        &self.kernels
    }
}
