// SPDX-License-Identifier: Apache-2.0
//! Tokens to a syntax tree, by recursive descent with one token of look-ahead.

mod body;
mod declaration;
mod expression;

use super::ast::{Function, FunctionKind, Item, Linkage, Module, Performance, StateSpace};
use super::error::{ParseError, Position};
use super::lexer::{Kind, Lexer, Token};

/// Longest PTX text that is parsed, in bytes. Offsets are 32 bits wide.
const SOURCE_BYTES_MAX: usize = 1 << 30;

/// Deepest nesting of expressions, initializers and vectors. Compilers nest two deep.
const NESTING_MAX: u32 = 64;

type Result<T> = std::result::Result<T, ParseError>;

/// Parses a PTX module.
///
/// # Errors
/// [`ParseError`] with the place where the text stops being PTX.
pub fn parse(source: &str) -> Result<Module<'_>> {
    if source.len() > SOURCE_BYTES_MAX {
        let message = format!("PTX text of {} bytes is over the limit", source.len());
        return Err(ParseError {
            message,
            position: Position::of("", 0),
        });
    }
    let mut lexer = Lexer::new(source);
    let token = lexer.next();
    let mut parser = Parser {
        source,
        lexer,
        token,
        nesting: 0,
        in_call: false,
        operands: Vec::new(),
    };
    parser.module()
}

struct Parser<'a> {
    source: &'a str,
    lexer: Lexer<'a>,
    token: Token,
    nesting: u32,
    /// Inside a `call`, where parentheses hold arguments; elsewhere they group an expression.
    in_call: bool,
    /// The operands of the function being parsed.
    operands: Vec<super::ast::Operand<'a>>,
}

impl<'a> Parser<'a> {
    fn module(&mut self) -> Result<Module<'a>> {
        let mut module = Module {
            source: self.source,
            address_size: 32,
            ..Module::default()
        };
        while self.token.kind != Kind::End {
            match self.directive() {
                Some(".version") => {
                    self.advance();
                    module.version = self.version()?;
                }
                Some(".target") => {
                    self.advance();
                    module.target.push(self.word()?);
                    while self.accept(b',') {
                        module.target.push(self.word()?);
                    }
                }
                Some(".address_size") => {
                    self.advance();
                    module.address_size = self.small_integer()?;
                }
                Some(_) => self.item(&mut module.items)?,
                None if self.accept(b';') => {}
                None => return Err(self.unexpected("a directive")),
            }
        }
        Ok(module)
    }

    fn version(&mut self) -> Result<(u32, u32)> {
        let text = self.text();
        let version = text.split_once('.').and_then(|(major, minor)| {
            Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
        });
        let version = version.ok_or_else(|| self.unexpected("a version number"))?;
        self.advance();
        Ok(version)
    }

    /// Something at module scope that may begin with linkage directives.
    fn item(&mut self, items: &mut Vec<Item<'a>>) -> Result<()> {
        if self.skip_debug_directive()? {
            return Ok(());
        }
        let mut linkage = Linkage::Private;
        loop {
            linkage = match self.directive() {
                Some(".visible") => Linkage::Visible,
                Some(".extern") => Linkage::Extern,
                Some(".weak") => Linkage::Weak,
                Some(".common") => Linkage::Common,
                _ => break,
            };
            self.advance();
        }
        let offset = self.token.start;
        match self.directive() {
            Some(".entry") => {
                self.advance();
                items.push(Item::Function(self.function(
                    FunctionKind::Entry,
                    linkage,
                    offset,
                )?));
            }
            Some(".func") => {
                self.advance();
                items.push(Item::Function(self.function(
                    FunctionKind::Func,
                    linkage,
                    offset,
                )?));
            }
            Some(".alias") => {
                self.advance();
                let name = self.word()?;
                self.expect(b',')?;
                let aliasee = self.word()?;
                self.expect(b';')?;
                items.push(Item::Alias {
                    name,
                    aliasee,
                    offset,
                });
            }
            Some(text) => {
                let Some(space) = declaration::state_space(text) else {
                    return Err(self.unexpected("a declaration"));
                };
                if matches!(space, StateSpace::Param | StateSpace::Reg) {
                    return Err(self.unexpected("a module-scope declaration"));
                }
                self.variables(linkage, &mut |variable| {
                    items.push(Item::Variable(variable))
                })?;
            }
            None => return Err(self.unexpected("a declaration")),
        }
        Ok(())
    }

    fn function(
        &mut self,
        kind: FunctionKind,
        linkage: Linkage,
        offset: u32,
    ) -> Result<Function<'a>> {
        let mut function = Function {
            linkage,
            kind,
            name: "",
            returns: Vec::new(),
            parameters: Vec::new(),
            no_return: false,
            performance: Performance::default(),
            body: None,
            operands: Vec::new(),
            offset,
        };
        // `.attribute(…)` may stand before the return parameters.
        self.function_directives(&mut function)?;
        if self.at(b'(') {
            function.returns = self.parameters()?;
        }
        function.name = self.word()?;
        if self.at(b'(') {
            function.parameters = self.parameters()?;
        }
        self.function_directives(&mut function)?;
        if self.accept(b';') {
            return Ok(function);
        }
        self.expect(b'{')?;
        self.operands.clear();
        function.body = Some(self.body()?);
        function.operands = std::mem::take(&mut self.operands);
        function.operands.shrink_to_fit();
        Ok(function)
    }

    fn function_directives(&mut self, function: &mut Function<'a>) -> Result<()> {
        let performance = &mut function.performance;
        while let Some(directive) = self.directive() {
            if directive == ".pragma" {
                self.skip_debug_directive()?;
                continue;
            }
            self.advance();
            match directive {
                ".noreturn" => function.no_return = true,
                ".maxntid" => performance.max_threads = self.up_to_three()?,
                ".reqntid" => performance.required_threads = self.up_to_three()?,
                ".reqnctapercluster" => performance.required_cluster = self.up_to_three()?,
                ".minnctapersm" => performance.min_blocks_per_sm = self.small_integer()?,
                ".maxnctapersm" | ".abi_preserve" | ".abi_preserve_control" => {
                    self.small_integer()?;
                }
                ".maxnreg" => performance.max_registers = self.small_integer()?,
                ".maxclusterrank" => performance.max_cluster_rank = self.small_integer()?,
                ".explicitcluster" => performance.explicit_cluster = true,
                ".blocksareclusters" => performance.blocks_are_clusters = true,
                ".attribute" => {
                    self.attributes()?;
                }
                _ => return Err(self.unexpected("a function directive known to this parser")),
            }
        }
        Ok(())
    }

    fn up_to_three(&mut self) -> Result<[u32; 3]> {
        let mut sizes = [self.small_integer()?, 1, 1];
        for size in &mut sizes[1..] {
            if !self.accept(b',') {
                break;
            }
            *size = self.small_integer()?;
        }
        Ok(sizes)
    }

    /// Skips `.file`, `.loc`, `.section`, `.pragma` and the like; false where none is here.
    fn skip_debug_directive(&mut self) -> Result<bool> {
        match self.directive() {
            Some(".file") => {
                self.advance();
                self.small_integer()?;
                self.expect_kind(Kind::String, "a file name")?;
                while self.accept(b',') {
                    self.expect_kind(Kind::Number, "a number")?;
                }
            }
            Some(".loc") => {
                self.advance();
                for _ in 0..3 {
                    self.expect_kind(Kind::Number, "a number")?;
                }
                while self.accept(b',') {
                    match self.word()? {
                        "function_name" => {
                            self.word()?;
                            self.addend()?;
                        }
                        "inlined_at" => {
                            for _ in 0..3 {
                                self.expect_kind(Kind::Number, "a number")?;
                            }
                        }
                        _ => return Err(self.unexpected("function_name or inlined_at before this")),
                    }
                }
            }
            Some(".pragma") => {
                self.advance();
                self.expect_kind(Kind::String, "a pragma")?;
                while self.accept(b',') {
                    self.expect_kind(Kind::String, "a pragma")?;
                }
                self.expect(b';')?;
            }
            Some(".section") => {
                self.advance();
                // `.section .debug_str {` or `.section "name" {`
                self.advance();
                if !self.at(b'{') {
                    return Err(self.unexpected("`{`"));
                }
                if !self.lexer.skip_section() {
                    return Err(self.unexpected("a section with an end"));
                }
                self.advance();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    // === tokens ===

    fn advance(&mut self) {
        self.token = self.lexer.next();
    }

    fn text(&self) -> &'a str {
        self.slice(self.token.start, self.token.end)
    }

    fn slice(&self, start: u32, end: u32) -> &'a str {
        // Tokens end where the next begins with ASCII, so the range is always whole characters.
        self.source
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    fn directive(&self) -> Option<&'a str> {
        (self.token.kind == Kind::Directive).then(|| self.text())
    }

    fn at(&self, byte: u8) -> bool {
        self.token.kind == Kind::Punctuation(byte)
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.at(byte);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.accept(byte) {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{}`", char::from(byte))))
    }

    fn expect_kind(&mut self, kind: Kind, what: &str) -> Result<()> {
        if self.token.kind != kind {
            return Err(self.unexpected(what));
        }
        self.advance();
        Ok(())
    }

    fn word(&mut self) -> Result<&'a str> {
        if self.token.kind != Kind::Word {
            return Err(self.unexpected("a name"));
        }
        let text = self.text();
        self.advance();
        Ok(text)
    }

    fn enter(&mut self) -> Result<()> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(self.unexpected("something less deeply nested"));
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.nesting -= 1;
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        let found = match self.token.kind {
            Kind::End => "the end of the text".to_owned(),
            _ => format!("`{}`", self.text().chars().take(40).collect::<String>()),
        };
        ParseError {
            message: format!("Expected {expected}, found {found}"),
            position: Position::of(self.source, self.token.start),
        }
    }
}
