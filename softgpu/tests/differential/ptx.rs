// SPDX-License-Identifier: Apache-2.0
//! Writes a program as PTX.

use std::fmt::Write as _;

use super::program::{
    BarrierReduction, Expression, Function, Program, Reduction, Shuffle, Special, Statement, Vote,
    operation,
};
use super::types::{Table, Type};

/// Name of the kernel; its parameters are the addresses of inputs, results and the threads' words.
pub(crate) const KERNEL: &str = "kernel";
/// Bytes of a value in the buffers.
pub(crate) const VALUE_BYTES: usize = 8;

/// The program's text.
pub(crate) fn write(program: &Program, table: &Table) -> String {
    let mut text = String::from(".version 8.6\n.target sm_90\n.address_size 64\n\n");
    for (index, ty) in program.exchanges.iter().enumerate() {
        let bytes = program.threads() as u32 * ty.bytes();
        let _ = writeln!(text, ".shared .align 8 .b8 exchange_{index}[{bytes}];");
    }
    for index in 0..program.reductions.len() {
        let _ = writeln!(text, ".shared .align 8 .b64 reduction_{index};");
    }
    for (index, function) in program.functions.iter().enumerate() {
        let mut writer = Writer::new(program, table, function);
        writer.device_function();
        let _ = write!(text, "\n{}\n", signature(function, table, index));
        writer.finish(&mut text);
    }
    let mut writer = Writer::new(program, table, &program.kernel);
    writer.kernel();
    let _ = write!(
        text,
        "\n.visible .entry {KERNEL}(.param .u64 inputs, .param .u64 results, .param .u64 words)\n"
    );
    writer.finish(&mut text);
    text
}

fn result_type(function: &Function, table: &Table) -> Type {
    let result = function.result.as_ref().expect("device functions have one");
    function.type_of(result, table)
}

fn parameters(function: &Function, names: bool) -> String {
    let parameters: Vec<_> = (0..function.inputs)
        .map(|index| {
            let ty = function.variables[index].untyped();
            if names {
                format!(".param .{ty} input_{index}")
            } else {
                format!(".param .{ty} _")
            }
        })
        .collect();
    parameters.join(", ")
}

fn signature(function: &Function, table: &Table, index: usize) -> String {
    let result = result_type(function, table).untyped();
    format!(
        ".func (.param .{result} result) function_{index}({})",
        parameters(function, true)
    )
}

struct Writer<'a> {
    program: &'a Program,
    table: &'a Table,
    function: &'a Function,
    body: String,
    /// Registers used, of predicates, 16, 32 and 64 bits.
    registers: [usize; 4],
    labels: usize,
    /// `@%p1 ` before each instruction.
    guard: String,
    /// Register that holds the lanes known to be here.
    mask: Option<String>,
    /// Labels of the loops around, and the register of their own mask: break, continue.
    loops: Vec<(String, String)>,
    is_kernel: bool,
    prototypes: usize,
}

fn class(ty: Type) -> usize {
    match ty.bits() {
        1 => 0,
        16 => 1,
        32 => 2,
        _ => 3,
    }
}

const CLASSES: [(&str, &str); 4] = [("p", "pred"), ("h", "b16"), ("r", "b32"), ("d", "b64")];

impl<'a> Writer<'a> {
    fn new(program: &'a Program, table: &'a Table, function: &'a Function) -> Self {
        Self {
            program,
            table,
            function,
            body: String::new(),
            registers: [0; 4],
            labels: 0,
            guard: String::new(),
            mask: None,
            loops: Vec::new(),
            is_kernel: false,
            prototypes: 0,
        }
    }

    fn finish(self, text: &mut String) {
        text.push_str("{\n");
        for ((letter, ty), count) in CLASSES.iter().zip(self.registers) {
            if count > 0 {
                let _ = writeln!(text, "    .reg .{ty} %{letter}<{count}>;");
            }
        }
        for (index, ty) in self.function.variables.iter().enumerate() {
            let _ = writeln!(text, "    .reg .{} %v{index};", ty.untyped());
        }
        for (index, array) in self.function.arrays.iter().enumerate() {
            let bytes = array.length * array.ty.bytes();
            let _ = writeln!(text, "    .local .align 8 .b8 array_{index}[{bytes}];");
        }
        text.push_str(&self.body);
        text.push_str("}\n");
    }

    /// A fresh register.
    fn fresh(&mut self, class: usize) -> String {
        self.registers[class] += 1;
        format!("%{}{}", CLASSES[class].0, self.registers[class] - 1)
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("L{}", self.labels)
    }

    fn line(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.body, "    {}{}", self.guard, text.as_ref());
    }

    fn place(&mut self, label: &str) {
        let _ = writeln!(self.body, "{label}:");
    }

    fn mask(&self) -> String {
        self.mask
            .clone()
            .expect("the generator knows the lanes here")
    }

    // --- functions ---

    fn initialise(&mut self) {
        for index in self.function.inputs..self.function.variables.len() {
            let ty = self.function.variables[index];
            self.line(format!("mov.{} %v{index}, 0;", ty.untyped()));
        }
        for (index, array) in self.function.arrays.iter().enumerate() {
            for element in 0..array.length {
                let offset = element * array.ty.bytes();
                let ty = array.ty.untyped();
                let zero = self.fresh(class(array.ty));
                self.line(format!("mov.{ty} {zero}, 0;"));
                self.line(format!("st.local.{ty} [array_{index}+{offset}], {zero};"));
            }
        }
    }

    fn device_function(&mut self) {
        for index in 0..self.function.inputs {
            let ty = self.function.variables[index].untyped();
            self.line(format!("ld.param.{ty} %v{index}, [input_{index}];"));
        }
        self.initialise();
        self.statements(&self.function.body);
        self.place("LEAVE");
        let result = self
            .function
            .result
            .as_ref()
            .expect("device functions have one");
        let register = self.expression(result);
        let ty = result_type(self.function, self.table).untyped();
        self.line(format!("st.param.{ty} [result], {register};"));
        self.line("ret;");
    }

    fn kernel(&mut self) {
        self.is_kernel = true;
        let (inputs, variables) = (self.function.inputs, self.function.variables.len());
        for name in ["%thread", "%lane", "%number"] {
            let _ = writeln!(self.body, "    .reg .b32 {name};");
        }
        for name in ["%inputs", "%results", "%word"] {
            let _ = writeln!(self.body, "    .reg .b64 {name};");
        }
        let x = self.fresh(2);
        self.line(format!("mov.u32 {x}, %tid.y;"));
        self.line(format!("mov.u32 %number, %ntid.x;"));
        self.line(format!("mov.u32 %thread, %tid.x;"));
        self.line(format!("mad.lo.u32 %thread, {x}, %number, %thread;"));
        self.line("mov.u32 %lane, %laneid;");
        self.line(format!("mov.u32 {x}, %ctaid.x;"));
        let threads = self.program.threads();
        self.line(format!("mad.lo.u32 %number, {x}, {threads}, %thread;"));
        for (name, values) in [("inputs", inputs), ("results", variables), ("words", 1)] {
            let register = if name == "words" {
                "%word".into()
            } else {
                format!("%{name}")
            };
            let address = self.fresh(3);
            self.line(format!("ld.param.u64 {address}, [{name}];"));
            self.line(format!("cvta.to.global.u64 {address}, {address};"));
            let bytes = values * VALUE_BYTES;
            self.line(format!(
                "mad.wide.u32 {register}, %number, {bytes}, {address};"
            ));
        }
        for index in 0..inputs {
            let ty = self.function.variables[index];
            let offset = index * VALUE_BYTES;
            if ty == Type::Pred {
                self.line(format!("ld.global.u32 {x}, [%inputs+{offset}];"));
                self.line(format!("setp.ne.u32 %v{index}, {x}, 0;"));
            } else {
                self.line(format!(
                    "ld.global.{} %v{index}, [%inputs+{offset}];",
                    ty.untyped()
                ));
            }
        }
        self.initialise();
        self.clear_shared();
        let mask = self.fresh(2);
        let always = self.fresh(0);
        self.line(format!("setp.eq.u32 {always}, %lane, %lane;"));
        self.line(format!("vote.sync.ballot.b32 {mask}, {always}, -1;"));
        self.mask = Some(mask);
        self.statements(&self.function.body);
        self.place("LEAVE");
        for index in 0..variables {
            let ty = self.function.variables[index];
            let offset = index * VALUE_BYTES;
            if ty == Type::Pred {
                self.line(format!("selp.u32 {x}, 1, 0, %v{index};"));
                self.line(format!("st.global.u32 [%results+{offset}], {x};"));
            } else {
                self.line(format!(
                    "st.global.{} [%results+{offset}], %v{index};",
                    ty.untyped()
                ));
            }
        }
        self.line("ret;");
    }

    fn clear_shared(&mut self) {
        for (index, ty) in self.program.exchanges.iter().enumerate() {
            let address = self.exchange(index, "%thread");
            let zero = self.fresh(class(*ty).max(1));
            let zero = if *ty == Type::Pred {
                self.fresh(2)
            } else {
                zero
            };
            let name = if *ty == Type::Pred {
                "b32"
            } else {
                ty.untyped()
            };
            self.line(format!("mov.{name} {zero}, 0;"));
            self.line(format!("st.shared.{name} [{address}], {zero};"));
        }
        let zero = self.fresh(3);
        self.line(format!("mov.b64 {zero}, 0;"));
        for index in 0..self.program.reductions.len() {
            self.line(format!("st.shared.b64 [reduction_{index}], {zero};"));
        }
        self.line("bar.sync 0;");
    }

    /// Address of a thread's element of a shared array.
    fn exchange(&mut self, array: usize, thread: &str) -> String {
        let bytes = self.program.exchanges[array].bytes();
        let (base, address) = (self.fresh(2), self.fresh(2));
        self.line(format!("mov.u32 {base}, exchange_{array};"));
        self.line(format!("mad.lo.u32 {address}, {thread}, {bytes}, {base};"));
        address
    }

    // --- expressions ---

    fn constant(&mut self, ty: Type, bits: u64) -> String {
        match ty {
            Type::Pred => {
                let register = self.fresh(0);
                self.line(format!("setp.eq.u32 {register}, {bits}, 1;"));
                register
            }
            Type::F16 | Type::Bf16 | Type::F16x2 | Type::Bf16x2 => {
                let register = self.fresh(class(ty));
                self.line(format!("mov.{} {register}, {bits:#x};", ty.untyped()));
                register
            }
            Type::F32 => format!("0f{bits:08x}"),
            Type::F64 => format!("0d{bits:016x}"),
            _ => ty.value(bits).to_string(),
        }
    }

    fn special(&mut self, special: Special) -> String {
        let name = match special {
            Special::Thread if self.is_kernel => return "%thread".into(),
            Special::Lane if self.is_kernel => return "%lane".into(),
            Special::Thread => {
                let [a, b, c] = [0; 3].map(|_| self.fresh(2));
                self.line(format!("mov.u32 {a}, %tid.x;"));
                self.line(format!("mov.u32 {b}, %tid.y;"));
                self.line(format!("mov.u32 {c}, %ntid.x;"));
                self.line(format!("mad.lo.u32 {a}, {b}, {c}, {a};"));
                return a;
            }
            Special::Lane => "%laneid",
            Special::ThreadX => "%tid.x",
            Special::ThreadY => "%tid.y",
            Special::Block => "%ctaid.x",
            Special::BlockSizeX => "%ntid.x",
            Special::Grid => "%nctaid.x",
        };
        let register = self.fresh(2);
        self.line(format!("mov.u32 {register}, {name};"));
        register
    }

    /// Writes what computes an expression; answers its register or its constant.
    fn expression(&mut self, expression: &Expression) -> String {
        match expression {
            Expression::Constant(ty, bits) => self.constant(*ty, *bits),
            Expression::Variable(index) => format!("%v{index}"),
            Expression::Special(special) => self.special(*special),
            Expression::Operation(index, arguments) => {
                let operation = operation(self.table, *index);
                let values: Vec<_> = arguments.iter().map(|a| self.expression(a)).collect();
                let result = self.fresh(class(operation.result));
                self.operation(&operation.ptx, &result, &values);
                result
            }
        }
    }

    fn operation(&mut self, template: &str, result: &str, values: &[String]) {
        let mut text = template.replace("{d}", result);
        for (index, value) in values.iter().enumerate() {
            text = text.replace(&format!("{{{index}}}"), value);
        }
        for (kind, (letter, _)) in CLASSES.iter().enumerate() {
            for index in 0..4 {
                let scratch = format!("{{{letter}{index}}}");
                if text.contains(&scratch) {
                    text = text.replace(&scratch, &self.fresh(kind));
                }
            }
        }
        for instruction in text.split_inclusive(';') {
            self.line(instruction.trim());
        }
    }

    /// An expression in a register.
    fn register(&mut self, expression: &Expression) -> String {
        let value = self.expression(expression);
        if value.starts_with('%') {
            return value;
        }
        let ty = self.function.type_of(expression, self.table);
        let register = self.fresh(class(ty));
        self.line(format!(
            "mov.{} {register}, {value};",
            ty.ptx().replace("pred", "pred")
        ));
        register
    }

    fn assign(&mut self, to: usize, value: &str) {
        let ty = self.function.variables[to].untyped();
        self.line(format!("mov.{ty} %v{to}, {value};"));
    }

    // --- statements ---

    fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    /// The lanes of the mask for which a predicate holds, as the new mask.
    fn narrow(&mut self, predicate: &str) {
        if let Some(mask) = self.mask.clone() {
            let narrowed = self.fresh(2);
            self.line(format!(
                "vote.sync.ballot.b32 {narrowed}, {predicate}, {mask};"
            ));
            self.mask = Some(narrowed);
        }
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Assign { to, value } => {
                let value = self.expression(value);
                self.assign(*to, &value);
            }
            Statement::If {
                condition,
                then,
                otherwise,
                predicated,
            } => {
                let condition = self.register(condition);
                if *predicated {
                    // The body may change the condition's variable.
                    let guard = self.fresh(0);
                    self.line(format!("mov.pred {guard}, {condition};"));
                    self.guard = format!("@{guard} ");
                    self.statements(then);
                    self.guard.clear();
                } else {
                    self.branch(&condition, then, otherwise);
                }
            }
            Statement::Loop { .. } | Statement::DoWhile { .. } => self.repeat(statement),
            Statement::Switch {
                selector,
                cases,
                indexed,
            } => self.switch(selector, cases, *indexed),
            Statement::Break(condition) => self.leave_loop(condition, true),
            Statement::Continue(condition) => self.leave_loop(condition, false),
            Statement::Return(condition) => {
                let condition = self.register(condition);
                if self.mask.is_some() {
                    let stays = self.fresh(0);
                    self.line(format!("not.pred {stays}, {condition};"));
                    let gone = condition;
                    // The ballot may not be asked of those who have left.
                    self.narrow(&stays);
                    self.line(format!("@{gone} bra LEAVE;"));
                } else {
                    self.line(format!("@{condition} bra LEAVE;"));
                }
            }
            Statement::LocalStore { .. } | Statement::LocalLoad { .. } => self.local(statement),
            Statement::Exchange { .. }
            | Statement::Reduce { .. }
            | Statement::ReadReduced { .. }
            | Statement::BarrierReduce { .. } => self.block_wide(statement),
            Statement::Atomic { .. } | Statement::Swap { .. } => self.atomic(statement),
            Statement::Call {
                to,
                function,
                arguments,
                indirect,
            } => self.call(*to, *function, arguments, *indirect),
            _ => self.warp(statement),
        }
    }

    fn branch(&mut self, condition: &str, then: &[Statement], otherwise: &[Statement]) {
        let before = self.mask.clone();
        let (middle, end) = (self.label(), self.label());
        let inverse = self.fresh(0);
        self.line(format!("not.pred {inverse}, {condition};"));
        // Both masks are taken before anybody branches.
        self.narrow(condition);
        let then_mask = std::mem::replace(&mut self.mask, before.clone());
        self.narrow(&inverse);
        let otherwise_mask = std::mem::replace(&mut self.mask, then_mask);
        self.line(format!("@{inverse} bra {middle};"));
        self.statements(then);
        if otherwise.is_empty() {
            self.place(&middle);
        } else {
            self.line(format!("bra {end};"));
            self.place(&middle);
            self.mask = otherwise_mask;
            self.statements(otherwise);
            self.place(&end);
        }
        self.mask = before.clone();
        self.rejoin();
    }

    /// Brings the lanes of the mask together again, as the next instruction may need them.
    fn rejoin(&mut self) {
        if let Some(mask) = self.mask.clone() {
            self.line(format!("bar.warp.sync {mask};"));
        }
    }

    fn repeat(&mut self, statement: &Statement) {
        let before = self.mask.clone();
        let [head, next, end] = [0; 3].map(|_| self.label());
        let round = self.fresh(2);
        self.loops.push((end.clone(), next.clone()));
        self.line(format!("mov.u32 {round}, 0;"));
        match statement {
            Statement::Loop {
                count,
                counter,
                body,
                known,
            } => {
                let (limit, inside) = (self.fresh(2), self.fresh(0));
                let count = self.expression(count);
                self.line(format!("and.b32 {limit}, {count}, 7;"));
                if !known {
                    self.mask = None;
                }
                // One register for the mask of all rounds.
                let mask = self.fresh(2);
                if let Some(outer) = self.mask.clone() {
                    self.line(format!("mov.b32 {mask}, {outer};"));
                    self.mask = Some(mask.clone());
                }
                self.place(&head);
                self.line(format!("setp.lt.u32 {inside}, {round}, {limit};"));
                if self.mask.is_some() {
                    self.line(format!("vote.sync.ballot.b32 {mask}, {inside}, {mask};"));
                }
                self.line(format!("@!{inside} bra {end};"));
                self.assign(*counter, &round);
                self.statements(body);
                self.place(&next);
                // A break has made a new mask.
                if let Some(last) = self.mask.clone()
                    && last != mask
                {
                    self.line(format!("mov.b32 {mask}, {last};"));
                }
                self.line(format!("add.u32 {round}, {round}, 1;"));
                self.line(format!("bra {head};"));
            }
            Statement::DoWhile { condition, body } => {
                self.mask = None;
                let again = self.fresh(0);
                self.place(&head);
                self.line(format!("add.u32 {round}, {round}, 1;"));
                self.statements(body);
                self.place(&next);
                let condition = self.register(condition);
                self.line(format!("setp.lt.and.u32 {again}, {round}, 5, {condition};"));
                self.line(format!("@{again} bra {head};"));
            }
            _ => {}
        }
        self.place(&end);
        self.loops.pop();
        self.mask = before;
        self.rejoin();
    }

    fn leave_loop(&mut self, condition: &Expression, breaks: bool) {
        let condition = self.register(condition);
        let (end, next) = self.loops.last().cloned().expect("in a loop");
        if self.mask.is_some() {
            let stays = self.fresh(0);
            self.line(format!("not.pred {stays}, {condition};"));
            self.narrow(&stays);
        }
        let to = if breaks { end } else { next };
        self.line(format!("@{condition} bra {to};"));
    }

    fn switch(&mut self, selector: &Expression, cases: &[Vec<Statement>], indexed: bool) {
        let before = self.mask.take();
        let end = self.label();
        let labels: Vec<_> = cases.iter().map(|_| self.label()).collect();
        let selector = self.expression(selector);
        let which = self.fresh(2);
        self.line(format!("rem.u32 {which}, {selector}, {};", cases.len()));
        if indexed {
            let targets = self.label();
            let _ = writeln!(
                self.body,
                "{targets}: .branchtargets {};",
                labels.join(", ")
            );
            self.line(format!("brx.idx {which}, {targets};"));
        } else {
            for (index, label) in labels.iter().enumerate() {
                let here = self.fresh(0);
                self.line(format!("setp.eq.u32 {here}, {which}, {index};"));
                self.line(format!("@{here} bra {label};"));
            }
            self.line(format!("bra {end};"));
        }
        for (case, label) in cases.iter().zip(&labels) {
            self.place(label);
            self.statements(case);
            self.line(format!("bra {end};"));
        }
        self.place(&end);
        self.mask = before;
        self.rejoin();
    }

    fn local(&mut self, statement: &Statement) {
        let (Statement::LocalStore { array, index, .. }
        | Statement::LocalLoad { array, index, .. }) = statement
        else {
            return;
        };
        let of = self.function.arrays[*array];
        let index = self.expression(index);
        let at = self.fresh(2);
        self.line(format!("and.b32 {at}, {index}, {};", of.length - 1));
        let (base, address) = (self.fresh(3), self.fresh(3));
        self.line(format!("mov.u64 {base}, array_{array};"));
        self.line(format!(
            "mad.wide.u32 {address}, {at}, {}, {base};",
            of.ty.bytes()
        ));
        let ty = of.ty.untyped();
        // Every other array is reached through generic addresses.
        let space = if array % 2 == 0 { ".local" } else { "" };
        if space.is_empty() {
            self.line(format!("cvta.local.u64 {address}, {address};"));
        }
        match statement {
            Statement::LocalStore { value, .. } => {
                let value = self.register(value);
                self.line(format!("st{space}.{ty} [{address}], {value};"));
            }
            Statement::LocalLoad { to, .. } => {
                self.line(format!("ld{space}.{ty} %v{to}, [{address}];"));
            }
            _ => {}
        }
    }

    fn atomic(&mut self, statement: &Statement) {
        match statement {
            Statement::Atomic {
                to,
                reduction,
                value,
            } => {
                let ty = atomic_type(*reduction, self.function.variables[*to]);
                let value = self.register(value);
                let name = reduction.name();
                self.line(format!("atom.global.{name}.{ty} %v{to}, [%word], {value};"));
            }
            Statement::Swap { to, compare, value } => {
                let ty = self.function.variables[*to].untyped();
                let compare = compare.as_ref().map(|compare| self.register(compare));
                let value = self.register(value);
                match compare {
                    Some(compare) => {
                        self.line(format!(
                            "atom.global.cas.{ty} %v{to}, [%word], {compare}, {value};"
                        ));
                    }
                    None => self.line(format!("atom.global.exch.{ty} %v{to}, [%word], {value};")),
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, to: usize, function: usize, arguments: &[Expression], indirect: bool) {
        let callee = &self.program.functions[function];
        let values: Vec<_> = arguments.iter().map(|a| self.register(a)).collect();
        let result = result_type(callee, self.table).untyped();
        self.line("{");
        self.line(format!(".param .{result} value;"));
        let mut names = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let ty = callee.variables[index].untyped();
            self.line(format!(".param .{ty} argument_{index};"));
            self.line(format!("st.param.{ty} [argument_{index}], {value};"));
            names.push(format!("argument_{index}"));
        }
        let names = names.join(", ");
        if indirect {
            let pointer = self.fresh(3);
            self.prototypes += 1;
            let prototype = format!("prototype_{}", self.prototypes);
            self.line(format!("mov.u64 {pointer}, function_{function};"));
            self.line(format!(
                "{prototype}: .callprototype (.param .{result} _) _ ({});",
                parameters(callee, false)
            ));
            self.line(format!("call (value), {pointer}, ({names}), {prototype};"));
        } else {
            self.line(format!("call.uni (value), function_{function}, ({names});"));
        }
        if self.function.variables[to] == Type::Pred {
            unreachable!("device functions do not answer predicates");
        }
        self.line(format!("ld.param.{result} %v{to}, [value];"));
        self.line("}");
    }

    fn block_wide(&mut self, statement: &Statement) {
        match statement {
            Statement::Exchange {
                array,
                to,
                value,
                index,
            } => {
                let value = self.register(value);
                let index = self.expression(index);
                let from = self.fresh(2);
                self.line(format!(
                    "rem.u32 {from}, {index}, {};",
                    self.program.threads()
                ));
                let (own, other) = (
                    self.exchange(*array, "%thread"),
                    self.exchange(*array, &from),
                );
                let ty = self.program.exchanges[*array];
                if ty == Type::Pred {
                    let word = self.fresh(2);
                    self.line(format!("selp.b32 {word}, 1, 0, {value};"));
                    self.line(format!("st.shared.b32 [{own}], {word};"));
                    self.line("bar.sync 0;");
                    self.line(format!("ld.shared.b32 {word}, [{other}];"));
                    self.line(format!("setp.ne.u32 %v{to}, {word}, 0;"));
                } else {
                    let ty = ty.untyped();
                    self.line(format!("st.shared.{ty} [{own}], {value};"));
                    self.line("barrier.sync 0;");
                    self.line(format!("ld.shared.{ty} %v{to}, [{other}];"));
                }
                self.line("bar.sync 0;");
            }
            Statement::Reduce { slot, value } => {
                let (reduction, ty) = self.program.reductions[*slot];
                let ty = atomic_type(reduction, ty);
                let value = self.register(value);
                let name = reduction.name();
                self.line(format!(
                    "red.shared.{name}.{ty} [reduction_{slot}], {value};"
                ));
            }
            Statement::ReadReduced { slot, to } => {
                let ty = self.function.variables[*to].untyped();
                self.line("bar.sync 0;");
                self.line(format!("ld.shared.{ty} %v{to}, [reduction_{slot}];"));
                self.line("bar.sync 0;");
            }
            Statement::BarrierReduce {
                to,
                reduction,
                value,
            } => {
                let value = self.register(value);
                let name = match reduction {
                    BarrierReduction::Count => "popc.u32",
                    BarrierReduction::And => "and.pred",
                    BarrierReduction::Or => "or.pred",
                };
                self.line(format!("bar.red.{name} %v{to}, 0, {value};"));
            }
            _ => {}
        }
    }

    fn warp(&mut self, statement: &Statement) {
        let mask = self.mask();
        match statement {
            Statement::Vote { to, mode, value } => {
                let value = self.register(value);
                let name = match mode {
                    Vote::All => "all.pred",
                    Vote::Any => "any.pred",
                    Vote::Uniform => "uni.pred",
                    Vote::Ballot => "ballot.b32",
                };
                self.line(format!("vote.sync.{name} %v{to}, {value}, {mask};"));
            }
            Statement::Match { to, value } => {
                let ty = self.function.type_of(value, self.table).untyped();
                let value = self.register(value);
                self.line(format!("match.any.sync.{ty} %v{to}, {value}, {mask};"));
            }
            Statement::WarpReduce {
                to,
                reduction,
                value,
            } => {
                let ty = self.function.variables[*to];
                let ty = if reduction.is_bitwise() {
                    "b32"
                } else {
                    ty.ptx()
                };
                let value = self.register(value);
                let name = reduction.name();
                self.line(format!("redux.sync.{name}.{ty} %v{to}, {value}, {mask};"));
            }
            Statement::Shuffle {
                to,
                in_range,
                mode,
                value,
                lane,
                clamp,
            } => {
                let value = self.register(value);
                let lane = self.expression(lane);
                let name = match mode {
                    Shuffle::Index | Shuffle::Guarded => "idx",
                    Shuffle::Up => "up",
                    Shuffle::Down => "down",
                    Shuffle::Butterfly => "bfly",
                };
                let range = in_range.map_or(String::new(), |to| format!("|%v{to}"));
                let got = self.fresh(2);
                self.line(format!(
                    "shfl.sync.{name}.b32 {got}{range}, {value}, {lane}, {clamp:#x}, {mask};"
                ));
                if *mode == Shuffle::Guarded {
                    let (bit, there) = (self.fresh(2), self.fresh(0));
                    self.line(format!("and.b32 {bit}, {lane}, 31;"));
                    self.line(format!("shr.u32 {bit}, {mask}, {bit};"));
                    self.line(format!("and.b32 {bit}, {bit}, 1;"));
                    self.line(format!("setp.eq.u32 {there}, {bit}, 1;"));
                    self.line(format!("selp.b32 {got}, {got}, 0, {there};"));
                }
                self.assign(*to, &got);
            }
            _ => {}
        }
    }
}

/// The type that atomics take for an operation on a variable.
fn atomic_type(reduction: Reduction, ty: Type) -> &'static str {
    match (reduction, ty) {
        _ if reduction.is_bitwise() => ty.untyped(),
        (Reduction::Add, Type::S64) => "u64",
        _ => ty.ptx(),
    }
}
