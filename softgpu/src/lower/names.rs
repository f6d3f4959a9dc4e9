// SPDX-License-Identifier: Apache-2.0
//! Names of one function: registers, variables, parameters and labels, in nested scopes.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::ir::{Pred, Reg, VariableId};
use crate::ptx::ScalarType;

/// A fast hash for short names. The table sizes are bounded by the text, so a crafted text can
/// make its own load slower but nothing else.
#[derive(Clone, Copy, Default)]
pub(super) struct NameHasher(u64);

impl NameHasher {
    fn mix(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u8(&mut self, value: u8) {
        self.mix(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(value.into());
    }

    fn finish(&self) -> u64 {
        // The table takes its index from the top bits and the rest from the low ones.
        self.0.rotate_left(26)
    }
}

/// A map from names.
pub(super) type NameMap<'a, V> = HashMap<&'a str, V, BuildHasherDefault<NameHasher>>;

/// A virtual register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slot {
    /// A predicate.
    Pred(Pred),
    /// 8 to 64 bits.
    Reg(Reg),
    /// 128 bits: the halves, low first, in 64-bit slots.
    Wide([Reg; 2]),
}

/// A register with its declared type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Register {
    pub(super) slot: Slot,
    pub(super) ty: ScalarType,
}

/// A `.param` of the function itself or of a call it makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ParamPlace {
    /// Index into the call-site parameters of the function being lowered.
    CallSite(u32),
    /// In a device function's own frame, at this byte offset.
    Frame(u32),
    /// In the kernel's parameter block, at this byte offset.
    Kernel(u32),
}

/// What a local name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named {
    /// Extern shared memory, sized at launch.
    DynamicShared,
    /// `.local`, at this byte offset of the frame.
    Local(u32),
    /// `.param`.
    Param(ParamPlace),
    /// A scalar register.
    Register(Register),
    /// Static shared memory, at this byte offset.
    Shared(u32),
    /// `.global` or `.const`.
    Variable(VariableId),
    /// A `.v2` or `.v4` register: its first element; the others follow.
    Vector(Register, u32),
}

/// `%r<10>`
struct Range<'a> {
    prefix: &'a str,
    ty: ScalarType,
    /// For each register its first slot plus one, or 0 before it is first mentioned: a text may
    /// declare many more registers than it uses.
    slots: Vec<Cell<u32>>,
    scope: u32,
}

/// How many virtual registers of each kind there are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct VirtualCounts {
    pub(super) w32: u32,
    pub(super) w64: u32,
    pub(super) predicates: u32,
}

/// Most registers that the ranges of one function may declare, all together.
const DECLARED_MAX: u32 = 1 << 22;

/// The names that are visible at one point of a function.
#[derive(Default)]
pub(super) struct Names<'a> {
    table: NameMap<'a, (u32, Named)>,
    ranges: Vec<Range<'a>>,
    /// What to put back at the end of each scope, and where each scope's entries begin.
    shadowed: Vec<(&'a str, Option<(u32, Named)>)>,
    scopes: Vec<(usize, usize)>,
    counts: Cell<VirtualCounts>,
    declared: u32,
}

impl<'a> Names<'a> {
    pub(super) fn counts(&self) -> VirtualCounts {
        self.counts.get()
    }

    fn depth(&self) -> u32 {
        self.scopes.len() as u32
    }

    pub(super) fn enter(&mut self) {
        self.scopes.push((self.shadowed.len(), self.ranges.len()));
    }

    pub(super) fn leave(&mut self) {
        let Some((shadowed, ranges)) = self.scopes.pop() else {
            return;
        };
        self.ranges.truncate(ranges);
        for (name, before) in self.shadowed.drain(shadowed..).rev() {
            match before {
                Some(entry) => self.table.insert(name, entry),
                None => self.table.remove(name),
            };
        }
    }

    /// Adds a name to the innermost scope; false where that scope has it already.
    pub(super) fn declare(&mut self, name: &'a str, named: Named) -> bool {
        let depth = self.depth();
        let before = self.table.insert(name, (depth, named));
        if depth > 0 {
            self.shadowed.push((name, before));
        }
        before.is_none_or(|(scope, _)| scope < depth)
    }

    /// Declares the registers `prefix0` … `prefix<count-1>`.
    pub(super) fn declare_range(
        &mut self,
        prefix: &'a str,
        ty: ScalarType,
        count: u32,
    ) -> Option<()> {
        self.declared = self
            .declared
            .checked_add(count)
            .filter(|&all| all <= DECLARED_MAX)?;
        let slots = vec![Cell::new(0); count as usize];
        let scope = self.depth();
        self.ranges.push(Range {
            prefix,
            ty,
            slots,
            scope,
        });
        Some(())
    }

    /// A new register of a type, or `None` where there are too many.
    pub(super) fn register(&self, ty: ScalarType) -> Option<Register> {
        let slots = if ty == ScalarType::B128 { 2 } else { 1 };
        let mut counts = self.counts.get();
        let counter = match ty {
            ScalarType::Pred => &mut counts.predicates,
            _ if ty.size_bytes() > 4 => &mut counts.w64,
            _ => &mut counts.w32,
        };
        let first = *counter;
        *counter = first.checked_add(slots).filter(|&all| all < u32::MAX / 4)?;
        self.counts.set(counts);
        Some(numbered(ty, first, 0))
    }

    pub(super) fn find(&self, name: &str) -> Option<Named> {
        let exact = if self.table.is_empty() {
            None
        } else {
            self.table.get(name)
        };
        let ranged = self.find_in_ranges(name);
        match (exact, ranged) {
            (Some((scope, named)), Some((range_scope, register))) => {
                Some(if *scope >= range_scope {
                    *named
                } else {
                    Named::Register(register)
                })
            }
            (Some((_, named)), None) => Some(*named),
            (None, Some((_, register))) => Some(Named::Register(register)),
            (None, None) => None,
        }
    }

    fn find_in_ranges(&self, name: &str) -> Option<(u32, Register)> {
        let bytes = name.as_bytes();
        let digits = bytes
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 || digits > 9 {
            return None;
        }
        let mut split = bytes.len() - digits;
        // `%r007` is no register of a range, and `%f10` may be of `%f1<3>`: try every split.
        loop {
            let prefix = name.get(..split)?;
            let range = self
                .ranges
                .iter()
                .rev()
                .find(|range| range.prefix == prefix);
            let leading_zero = bytes.get(split) == Some(&b'0') && split + 1 < bytes.len();
            if let Some(range) = range
                && !leading_zero
                && let Ok(number) = name.get(split..)?.parse::<usize>()
                && let Some(slot) = range.slots.get(number)
            {
                if slot.get() == 0 {
                    slot.set(first_slot(self.register(range.ty)?) + 1);
                }
                return Some((range.scope, numbered(range.ty, slot.get() - 1, 0)));
            }
            split += 1;
            if split >= bytes.len() {
                return None;
            }
        }
    }
}

/// The number of a register's first slot.
pub(super) fn first_slot(register: Register) -> u32 {
    match register.slot {
        Slot::Pred(pred) => pred.0,
        Slot::Reg(Reg::W32(number) | Reg::W64(number)) => number,
        Slot::Wide([Reg::W32(number) | Reg::W64(number), _]) => number,
    }
}

/// The `number`th register of a run of slots that begins at `first`.
pub(super) fn numbered(ty: ScalarType, first: u32, number: u32) -> Register {
    let slot = match ty {
        ScalarType::Pred => Slot::Pred(Pred(first + number)),
        ScalarType::B128 => {
            let low = first + 2 * number;
            Slot::Wide([Reg::W64(low), Reg::W64(low + 1)])
        }
        _ if ty.size_bytes() > 4 => Slot::Reg(Reg::W64(first + number)),
        _ => Slot::Reg(Reg::W32(first + number)),
    };
    Register { slot, ty }
}
