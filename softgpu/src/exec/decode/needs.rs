// SPDX-License-Identifier: Apache-2.0
//! What a kernel is known to need of its context before it runs.

use super::FunctionCode;
use crate::exec::code::{Code, Flow, More};
use crate::ir::Builtin;

/// Bytes of the stack that a call takes beside the variables of the caller: the return address.
pub(crate) const CALL_STACK_BYTES: u32 = 8;

/// What a kernel with all functions that it can reach uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Bytes of stack that a thread needs for each function being active once.
    pub(crate) stack_bytes: u32,
    /// It calls `printf`.
    pub(crate) prints: bool,
    /// It calls `malloc` or `free`.
    pub(crate) allocates: bool,
}

impl Needs {
    pub(super) fn of(codes: &[Code], functions: &[FunctionCode]) -> Self {
        let mut needs = Self::default();
        for code in codes {
            match code.more {
                More::Builtin(Builtin::Printf) => needs.prints = true,
                More::Builtin(Builtin::Malloc | Builtin::Free) => needs.allocates = true,
                _ => {}
            }
        }
        let mut graph = Graph {
            codes,
            functions,
            deepest: vec![Visit::New; functions.len()],
        };
        // Where the depth is known at run time only, each function counts once.
        needs.stack_bytes = graph.deepest(0).unwrap_or_else(|| {
            let each = functions
                .iter()
                .map(|f| f.stack_bytes.saturating_add(CALL_STACK_BYTES));
            each.fold(0, u32::saturating_add)
        });
        needs
    }
}

#[derive(Clone, Copy)]
enum Visit {
    New,
    Open,
    /// Bytes of the deepest stack that begins here.
    Done(u32),
}

struct Graph<'a> {
    codes: &'a [Code],
    functions: &'a [FunctionCode],
    deepest: Vec<Visit>,
}

impl Graph<'_> {
    /// Bytes of the deepest stack that begins with this function; nothing if it is not bounded.
    fn deepest(&mut self, first: usize) -> Option<u32> {
        // With a stack of its own, as a chain of calls may be long.
        let mut open = vec![first];
        while let Some(&function) = open.last() {
            let end = self
                .functions
                .get(function + 1)
                .map(|next| next.entry as usize);
            let entry = self.functions[function].entry as usize;
            let body = &self.codes[entry..end.unwrap_or(self.codes.len())];
            let is_new = matches!(self.deepest[function], Visit::New);
            self.deepest[function] = Visit::Open;
            let mut callees = 0;
            let mut is_ready = true;
            for code in body {
                let callee = match code.flow {
                    Flow::CallIndirect => return None,
                    Flow::Call(callee) => callee as usize,
                    _ => continue,
                };
                match self.deepest[callee] {
                    Visit::Done(bytes) => {
                        callees = callees.max(bytes.saturating_add(CALL_STACK_BYTES))
                    }
                    Visit::New => {
                        open.push(callee);
                        is_ready = false;
                    }
                    Visit::Open if is_new => return None,
                    Visit::Open => {}
                }
            }
            if is_ready {
                let own = self.functions[function].stack_bytes;
                self.deepest[function] = Visit::Done(own.saturating_add(callees));
                open.pop();
            }
        }
        match self.deepest[first] {
            Visit::Done(bytes) => Some(bytes),
            _ => None,
        }
    }
}
