// SPDX-License-Identifier: Apache-2.0
//! Variables, parameters, registers and initializers.

use super::super::ast::{
    Declaration, Immediate, Initializer, Linkage, RegisterDeclaration, ScalarType, StateSpace,
};
use super::super::lexer::Kind;
use super::{Parser, Result};

/// Largest alignment PTX allows, in bytes, with a wide margin.
const ALIGNMENT_BYTES_MAX: u32 = 1 << 16;

/// Most registers in one `%r<N>` range.
const REGISTER_COUNT_MAX: u32 = 1 << 24;

pub(super) fn state_space(directive: &str) -> Option<StateSpace> {
    Some(match directive {
        ".const" => StateSpace::Const,
        ".global" => StateSpace::Global,
        ".local" => StateSpace::Local,
        ".param" => StateSpace::Param,
        ".reg" => StateSpace::Reg,
        ".shared" => StateSpace::Shared,
        ".tex" => StateSpace::Tex,
        _ => return None,
    })
}

/// What comes before a declared name.
#[derive(Clone, Copy)]
struct Specifiers {
    space: StateSpace,
    align: Option<u32>,
    vector: u32,
    ty: ScalarType,
    managed: bool,
}

impl<'a> Parser<'a> {
    /// `.param .u64 name, …` between parentheses.
    pub(super) fn parameters(&mut self) -> Result<Vec<Declaration<'a>>> {
        let mut parameters = Vec::new();
        self.expect(b'(')?;
        while !self.accept(b')') {
            if !parameters.is_empty() {
                self.expect(b',')?;
            }
            let specifiers = self.specifiers()?;
            parameters.push(self.declarator(Linkage::Private, specifiers)?);
        }
        Ok(parameters)
    }

    /// `.global .align 4 .b8 name[16] = …, …;`
    pub(super) fn variables(
        &mut self,
        linkage: Linkage,
        push: &mut dyn FnMut(Declaration<'a>),
    ) -> Result<()> {
        let specifiers = self.specifiers()?;
        loop {
            push(self.declarator(linkage, specifiers)?);
            if !self.accept(b',') {
                return self.expect(b';');
            }
        }
    }

    /// `.reg .b32 a, b<4>;`
    pub(super) fn registers(
        &mut self,
        push: &mut dyn FnMut(RegisterDeclaration<'a>),
    ) -> Result<()> {
        let Specifiers { ty, vector, .. } = self.specifiers()?;
        loop {
            let offset = self.token.start;
            let name = self.word()?;
            let mut count = None;
            if self.accept(b'<') {
                let value = self.small_integer()?;
                if value > REGISTER_COUNT_MAX {
                    return Err(self.unexpected("a smaller register count"));
                }
                count = Some(value);
                self.expect(b'>')?;
            }
            push(RegisterDeclaration {
                ty,
                vector,
                name,
                count,
                offset,
            });
            if !self.accept(b',') {
                return self.expect(b';');
            }
        }
    }

    /// `.attribute(.managed, .unified(a, b))`, after the directive; true for `.managed`.
    pub(super) fn attributes(&mut self) -> Result<bool> {
        let mut managed = false;
        self.expect(b'(')?;
        let mut depth = 1;
        while depth > 0 {
            match self.token.kind {
                Kind::Punctuation(b'(') => depth += 1,
                Kind::Punctuation(b')') => depth -= 1,
                Kind::Directive if self.text() == ".managed" => managed = true,
                Kind::Directive | Kind::Number | Kind::Word | Kind::Punctuation(b',') => {}
                _ => return Err(self.unexpected("an attribute")),
            }
            self.advance();
        }
        Ok(managed)
    }

    fn specifiers(&mut self) -> Result<Specifiers> {
        let Some(space) = self.directive().and_then(state_space) else {
            return Err(self.unexpected("a state space"));
        };
        self.advance();
        let mut align = None;
        let mut vector = 1;
        let mut ty = None;
        let mut managed = false;
        while let Some(directive) = self.directive() {
            self.advance();
            match directive {
                ".align" => {
                    let value = self.small_integer()?;
                    if !value.is_power_of_two() || value > ALIGNMENT_BYTES_MAX {
                        return Err(self.unexpected("an alignment before this"));
                    }
                    align = Some(value);
                }
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                ".v8" => vector = 8,
                ".attribute" => managed |= self.attributes()?,
                // A kernel parameter's pointee: `.ptr .global .align 8`.
                ".ptr" => self.pointee()?,
                _ => match ScalarType::from_name(&directive[1..]) {
                    Some(found) if ty.is_none() => ty = Some(found),
                    _ => return Err(self.unexpected("a type before this")),
                },
            }
        }
        let ty = ty.ok_or_else(|| self.unexpected("a type"))?;
        Ok(Specifiers {
            space,
            align,
            vector,
            ty,
            managed,
        })
    }

    fn pointee(&mut self) -> Result<()> {
        if matches!(
            self.directive(),
            Some(".global" | ".const" | ".shared" | ".local")
        ) {
            self.advance();
        }
        if self.directive() == Some(".align") {
            self.advance();
            self.small_integer()?;
        }
        Ok(())
    }

    fn declarator(&mut self, linkage: Linkage, specifiers: Specifiers) -> Result<Declaration<'a>> {
        let Specifiers {
            space,
            align,
            vector,
            ty,
            managed,
        } = specifiers;
        let offset = self.token.start;
        let mut declaration = Declaration {
            linkage,
            space,
            align,
            vector,
            ty,
            name: self.word()?,
            dimensions: Vec::new(),
            initializer: None,
            managed,
            offset,
        };
        while self.accept(b'[') {
            let dimension = if self.at(b']') {
                None
            } else {
                Some(self.size()?)
            };
            declaration.dimensions.push(dimension);
            self.expect(b']')?;
        }
        if self.accept(b'=') {
            declaration.initializer = Some(self.initializer()?);
        }
        Ok(declaration)
    }

    fn initializer(&mut self) -> Result<Initializer<'a>> {
        if self.accept(b'{') {
            self.enter()?;
            let mut list = Vec::new();
            while !self.accept(b'}') {
                if !list.is_empty() {
                    self.expect(b',')?;
                }
                list.push(self.initializer()?);
            }
            self.leave();
            return Ok(Initializer::List(list));
        }
        if self.token.kind != Kind::Word {
            let value = self.immediate()?;
            return match value {
                Immediate::Int(mask) if self.at(b'(') => self.masked(mask.cast_unsigned()),
                _ => Ok(Initializer::Immediate(value)),
            };
        }
        let word = self.word()?;
        let generic = word == "generic" && self.accept(b'(');
        let name = if generic { self.word()? } else { word };
        // `generic(a + 8)` and `generic(a) + 8` are the same.
        let mut addend = self.addend()?;
        if generic {
            self.expect(b')')?;
            addend = addend.wrapping_add(self.addend()?);
        }
        Ok(Initializer::Symbol {
            name,
            generic,
            addend,
            mask: None,
        })
    }

    /// `(symbol)` after the mask of `0xff00(symbol)`.
    fn masked(&mut self, mask: u64) -> Result<Initializer<'a>> {
        self.enter()?;
        self.expect(b'(')?;
        let mut inner = self.initializer()?;
        self.expect(b')')?;
        self.leave();
        match &mut inner {
            Initializer::Symbol {
                mask: slot @ None, ..
            } => *slot = Some(mask),
            _ => return Err(self.unexpected("an address under the mask before this")),
        }
        Ok(inner)
    }

    /// `+ 8`, `-8`, `+-8` or nothing.
    pub(super) fn addend(&mut self) -> Result<i64> {
        match self.token.kind {
            Kind::Punctuation(b'+') => {
                self.advance();
                self.integer()
            }
            Kind::Punctuation(b'-') => self.integer(),
            _ => Ok(0),
        }
    }
}
