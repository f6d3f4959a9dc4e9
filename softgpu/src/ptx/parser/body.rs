// SPDX-License-Identifier: Apache-2.0
//! Function bodies: statements, instructions, operands.

use super::super::ast::{
    Address, AddressBase, Instruction, Linkage, Operand, OperandRange, Predicate, Prototype,
    Statement,
};
use super::super::lexer::Kind;
use super::{Parser, Result};

impl<'a> Parser<'a> {
    /// The statements after a function's `{`, to its `}`.
    pub(super) fn body(&mut self) -> Result<Vec<Statement<'a>>> {
        let mut statements = Vec::new();
        let mut depth = 0u32;
        loop {
            match self.token.kind {
                Kind::Word => self.labelled(&mut statements)?,
                Kind::Punctuation(b'@') => {
                    let instruction = self.guarded()?;
                    statements.push(instruction);
                }
                Kind::Directive => self.local_directive(&mut statements)?,
                Kind::Punctuation(b'{') => {
                    depth += 1;
                    self.advance();
                    statements.push(Statement::ScopeBegin);
                }
                Kind::Punctuation(b'}') => {
                    self.advance();
                    if depth == 0 {
                        return Ok(statements);
                    }
                    depth -= 1;
                    statements.push(Statement::ScopeEnd);
                }
                Kind::Punctuation(b';') => self.advance(),
                _ => return Err(self.unexpected("a statement")),
            }
        }
    }

    fn local_directive(&mut self, statements: &mut Vec<Statement<'a>>) -> Result<()> {
        if self.skip_debug_directive()? {
            return Ok(());
        }
        if self.directive() == Some(".reg") {
            return self.registers(&mut |registers| {
                statements.push(Statement::Registers(registers));
            });
        }
        let mut linkage = Linkage::Private;
        if self.directive() == Some(".extern") {
            linkage = Linkage::Extern;
            self.advance();
        }
        self.variables(linkage, &mut |variable| {
            statements.push(Statement::Variable(Box::new(variable)));
        })
    }

    /// A label and what belongs to it, or an instruction.
    fn labelled(&mut self, statements: &mut Vec<Statement<'a>>) -> Result<()> {
        let first = self.token;
        let name = self.word()?;
        if !self.at(b':') {
            let instruction = self.instruction(None, first.start, first.start, first.end)?;
            statements.push(instruction);
            return Ok(());
        }
        self.advance();
        match self.directive() {
            Some(".branchtargets") => {
                self.advance();
                statements.push(Statement::BranchTargets {
                    name,
                    targets: self.names()?,
                });
            }
            Some(".calltargets") => {
                self.advance();
                statements.push(Statement::CallTargets {
                    name,
                    targets: self.names()?,
                });
            }
            Some(".callprototype") => {
                self.advance();
                statements.push(Statement::Prototype(Box::new(self.prototype(name)?)));
            }
            _ => statements.push(Statement::Label {
                name,
                offset: first.start,
            }),
        }
        Ok(())
    }

    fn names(&mut self) -> Result<Vec<&'a str>> {
        let mut names = vec![self.word()?];
        while self.accept(b',') {
            names.push(self.word()?);
        }
        self.expect(b';')?;
        Ok(names)
    }

    /// `(.param .b32 _) _ (.param .b64 _) .noreturn;`
    fn prototype(&mut self, name: &'a str) -> Result<Prototype<'a>> {
        let returns = if self.at(b'(') {
            self.parameters()?
        } else {
            Vec::new()
        };
        self.word()?;
        let parameters = if self.at(b'(') {
            self.parameters()?
        } else {
            Vec::new()
        };
        let mut no_return = false;
        while let Some(directive) = self.directive() {
            self.advance();
            match directive {
                ".noreturn" => no_return = true,
                ".abi_preserve" | ".abi_preserve_control" => {
                    self.small_integer()?;
                }
                _ => return Err(self.unexpected("a prototype directive known to this parser")),
            }
        }
        self.expect(b';')?;
        Ok(Prototype {
            name,
            returns,
            parameters,
            no_return,
        })
    }

    fn guarded(&mut self) -> Result<Statement<'a>> {
        let offset = self.token.start;
        self.advance();
        let negated = self.accept(b'!');
        let predicate = Predicate {
            name: self.word()?,
            negated,
        };
        let first = self.token;
        self.word()?;
        self.instruction(Some(predicate), offset, first.start, first.end)
    }

    /// The rest of an instruction whose name's first word lies at `start..end`.
    fn instruction(
        &mut self,
        predicate: Option<Predicate<'a>>,
        offset: u32,
        start: u32,
        mut end: u32,
    ) -> Result<Statement<'a>> {
        // Modifiers may be set apart by white space: `ld.global .f32`.
        while self.token.kind == Kind::Directive {
            end = self.token.end;
            self.advance();
        }
        let name = self.slice(start, end);
        self.in_call = name == "call" || name.starts_with("call.");
        let mut buffer = OperandBuffer::default();
        while !self.at(b';') {
            if buffer.len > 0 {
                self.expect(b',')?;
            }
            let operand = self.operand()?;
            if !buffer.push(operand) {
                return Err(self.unexpected("fewer operands"));
            }
        }
        self.advance();
        let operands = self.store(&buffer);
        Ok(Statement::Instruction(Instruction {
            predicate,
            name,
            operands,
            offset,
        }))
    }

    fn operand(&mut self) -> Result<Operand<'a>> {
        let operand = match self.token.kind {
            Kind::Word => return self.word_operand(),
            Kind::Punctuation(b'[') => self.address()?,
            Kind::Punctuation(b'{') => {
                let vector = Operand::Vector(self.list(b'}')?);
                if self.at(b'|') {
                    return self.pair(vector);
                }
                vector
            }
            Kind::Punctuation(b'(') if self.in_call => Operand::List(self.list(b')')?),
            Kind::Punctuation(b'!') => {
                self.advance();
                if self.token.kind == Kind::Word {
                    Operand::Negated(self.word()?)
                } else {
                    let value = self.integer()?;
                    Operand::Immediate(super::super::ast::Immediate::Int(i64::from(value == 0)))
                }
            }
            Kind::Punctuation(b'-') if self.minus_of_register() => {
                self.advance();
                Operand::Minus(self.word()?)
            }
            _ => Operand::Immediate(self.immediate()?),
        };
        Ok(operand)
    }

    /// Whether a register follows the minus sign, not a number.
    fn minus_of_register(&self) -> bool {
        let rest = self.source.get(self.token.end as usize..);
        let rest = rest.unwrap_or_default().trim_start();
        let is_name = rest.starts_with(|c: char| c.is_alphabetic() || "_$%".contains(c));
        is_name && !rest.starts_with("WARP_SZ")
    }

    fn word_operand(&mut self) -> Result<Operand<'a>> {
        let name = self.text();
        if name == "WARP_SZ" {
            return Ok(Operand::Immediate(self.immediate()?));
        }
        self.advance();
        let operand = match name {
            "_" => Operand::Sink,
            _ => Operand::Symbol {
                name,
                addend: self.addend()?,
            },
        };
        if self.at(b'|') {
            self.pair(operand)
        } else {
            Ok(operand)
        }
    }

    fn pair(&mut self, first: Operand<'a>) -> Result<Operand<'a>> {
        self.expect(b'|')?;
        let name = self.word()?;
        let second = if name == "_" {
            Operand::Sink
        } else {
            Operand::Symbol { name, addend: 0 }
        };
        let mut buffer = OperandBuffer::default();
        if !buffer.push(first) || !buffer.push(second) {
            return Err(self.unexpected("fewer operands"));
        }
        Ok(Operand::Pair(self.store(&buffer)))
    }

    /// Operands up to `close`, the opening bracket included.
    fn list(&mut self, close: u8) -> Result<OperandRange> {
        self.enter()?;
        self.advance();
        let mut buffer = OperandBuffer::default();
        while !self.accept(close) {
            if buffer.len > 0 {
                self.expect(b',')?;
            }
            let operand = self.operand()?;
            if !buffer.push(operand) {
                return Err(self.unexpected("fewer operands"));
            }
        }
        self.leave();
        Ok(self.store(&buffer))
    }

    fn address(&mut self) -> Result<Operand<'a>> {
        self.enter()?;
        self.advance();
        let (base, displacement) = if self.token.kind == Kind::Word {
            (AddressBase::Symbol(self.word()?), self.addend()?)
        } else {
            (AddressBase::Absolute, self.integer()?)
        };
        let mut coordinates = OperandRange::default();
        let mut buffer = OperandBuffer::default();
        while self.accept(b',') {
            let operand = self.operand()?;
            if !buffer.push(operand) {
                return Err(self.unexpected("fewer operands"));
            }
        }
        if buffer.len > 0 {
            coordinates = self.store(&buffer);
        }
        self.expect(b']')?;
        self.leave();
        Ok(Operand::Address(Address {
            base,
            displacement,
            coordinates,
        }))
    }

    fn store(&mut self, buffer: &OperandBuffer<'a>) -> OperandRange {
        let start = self.operands.len() as u32;
        self.operands
            .extend_from_slice(&buffer.few[..buffer.len.min(FEW)]);
        self.operands.extend_from_slice(&buffer.more);
        OperandRange {
            start,
            len: buffer.len as u32,
        }
    }
}

/// Operands that most instructions have at most.
const FEW: usize = 6;

/// Most operands of one instruction; a call of a function with very many parameters has them.
const OPERANDS_MAX: usize = 1 << 16;

/// Operands of one list, held until those nested in them are stored.
struct OperandBuffer<'a> {
    few: [Operand<'a>; FEW],
    more: Vec<Operand<'a>>,
    len: usize,
}

impl Default for OperandBuffer<'_> {
    fn default() -> Self {
        Self {
            few: [Operand::Sink; FEW],
            more: Vec::new(),
            len: 0,
        }
    }
}

impl<'a> OperandBuffer<'a> {
    /// False where there are too many.
    fn push(&mut self, operand: Operand<'a>) -> bool {
        match self.few.get_mut(self.len) {
            Some(slot) => *slot = operand,
            None => self.more.push(operand),
        }
        self.len += 1;
        self.len <= OPERANDS_MAX
    }
}
