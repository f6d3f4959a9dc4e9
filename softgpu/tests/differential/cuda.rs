// SPDX-License-Identifier: Apache-2.0
//! Writes programs as CUDA C, many kernels in one file.

use std::fmt::Write as _;

use super::program::{
    BarrierReduction, Expression, Function, Program, Shuffle, Special, Statement, Vote, operation,
};
use super::types::{Table, Type};

/// What all kernels of a file use: values in buffers are 8 bytes long.
const PRELUDE: &str = "\
typedef unsigned long long u64;
#define LOAD(T, from) (*(const T *)&(from))
__device__ inline unsigned lanes_of(unsigned mask, bool p) { return __ballot_sync(mask, p); }
";

/// A file with one kernel a program, named by its place.
pub(crate) fn write(programs: &[Program], table: &Table) -> String {
    let mut text = String::from(PRELUDE);
    for (number, program) in programs.iter().enumerate() {
        for index in 0..program.functions.len() {
            Writer::new(program, table, number).device_function(index, &mut text);
        }
        Writer::new(program, table, number).kernel(&mut text);
    }
    text
}

/// The name of a program's kernel.
pub(crate) fn kernel_name(number: usize) -> String {
    format!("kernel_{number}")
}

fn name(ty: Type) -> &'static str {
    ty.cuda().expect("the generator takes plain types only")
}

struct Writer<'a> {
    program: &'a Program,
    table: &'a Table,
    number: usize,
    function: &'a Function,
    body: String,
    /// Name of the variable that holds the lanes known to be here.
    mask: Option<String>,
    names: usize,
    in_function: bool,
}

impl<'a> Writer<'a> {
    fn new(program: &'a Program, table: &'a Table, number: usize) -> Self {
        Self {
            program,
            table,
            number,
            function: &program.kernel,
            body: String::new(),
            mask: None,
            names: 0,
            in_function: false,
        }
    }

    fn line(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.body, "  {}", text.as_ref());
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn locals(&mut self) {
        for (index, ty) in self.function.variables.iter().enumerate() {
            let value = match (index < self.function.inputs, self.in_function) {
                (true, true) => format!("i{index}"),
                (true, false) if *ty == Type::Pred => {
                    format!("LOAD(unsigned, inputs[{index}]) != 0")
                }
                (true, false) => format!("LOAD({}, inputs[{index}])", name(*ty)),
                _ => "0".to_owned(),
            };
            let line = format!("{} v{index} = {value};", name(*ty));
            self.line(line);
        }
        for (index, array) in self.function.arrays.iter().enumerate() {
            let line = format!("{} a{index}[{}] = {{}};", name(array.ty), array.length);
            self.line(line);
        }
    }

    fn device_function(mut self, index: usize, text: &mut String) {
        self.function = &self.program.functions[index];
        self.in_function = true;
        let result = self
            .function
            .result
            .as_ref()
            .expect("device functions have one");
        let ty = name(self.function.type_of(result, self.table));
        let parameters: Vec<_> = (0..self.function.inputs)
            .map(|index| format!("{} i{index}", name(self.function.variables[index])))
            .collect();
        self.locals();
        self.statements(&self.function.body);
        self.line("leave:;");
        let value = self.expression(result);
        self.line(format!("return {value};"));
        let _ = writeln!(
            text,
            "__device__ __noinline__ {ty} function_{}_{index}({}) {{\n{}}}",
            self.number,
            parameters.join(", "),
            self.body
        );
    }

    fn kernel(mut self, text: &mut String) {
        let (inputs, variables) = (self.function.inputs, self.function.variables.len());
        let threads = self.program.threads();
        for (index, ty) in self.program.exchanges.iter().enumerate() {
            let line = format!("__shared__ {} exchange_{index}[{threads}];", name(*ty));
            self.line(line);
        }
        for (index, (_, ty)) in self.program.reductions.iter().enumerate() {
            let line = format!("__shared__ {} reduction_{index};", name(*ty));
            self.line(line);
        }
        self.line("unsigned thread = threadIdx.y * blockDim.x + threadIdx.x, lane = thread & 31;");
        self.line(format!(
            "unsigned number = blockIdx.x * {threads} + thread;"
        ));
        self.line(format!(
            "inputs += number * {inputs}; results += number * {variables};"
        ));
        self.line("words += number;");
        self.locals();
        for index in 0..self.program.exchanges.len() {
            self.line(format!("exchange_{index}[thread] = 0;"));
        }
        for index in 0..self.program.reductions.len() {
            self.line(format!("reduction_{index} = 0;"));
        }
        self.line("__syncthreads();");
        self.line("unsigned mask = lanes_of(0xffffffffu, true);");
        self.mask = Some("mask".to_owned());
        self.statements(&self.function.body);
        self.line("leave:;");
        for index in 0..variables {
            let ty = self.function.variables[index];
            let as_type = if ty == Type::Pred {
                "unsigned"
            } else {
                name(ty)
            };
            self.line(format!("*({as_type} *)&results[{index}] = v{index};"));
        }
        let _ = writeln!(
            text,
            "extern \"C\" __global__ void {}(const u64 *inputs, u64 *results, u64 *words) {{\n{}}}",
            kernel_name(self.number),
            self.body
        );
    }

    fn expression(&self, expression: &Expression) -> String {
        match expression {
            Expression::Constant(ty, bits) => match ty {
                Type::Pred => format!("({bits} != 0)"),
                Type::F32 => format!("__uint_as_float({bits:#x}u)"),
                Type::F64 => format!("__longlong_as_double((long long){bits:#x}ull)"),
                _ => format!("(({}){bits:#x}ull)", name(*ty)),
            },
            Expression::Variable(index) => format!("v{index}"),
            Expression::Special(special) => match special {
                Special::Thread => "(threadIdx.y * blockDim.x + threadIdx.x)",
                Special::ThreadX => "threadIdx.x",
                Special::ThreadY => "threadIdx.y",
                Special::Block => "blockIdx.x",
                Special::Lane => "((threadIdx.y * blockDim.x + threadIdx.x) & 31u)",
                Special::BlockSizeX => "blockDim.x",
                Special::Grid => "gridDim.x",
            }
            .to_owned(),
            Expression::Operation(index, arguments) => {
                let operation = operation(self.table, *index);
                let mut text = operation
                    .cuda
                    .clone()
                    .expect("the generator takes these only");
                for (index, argument) in arguments.iter().enumerate() {
                    text = text.replace(&format!("{{{index}}}"), &self.expression(argument));
                }
                format!("(({}){text})", name(operation.result))
            }
        }
    }

    fn statements(&mut self, statements: &[Statement]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    /// A new mask: those of the present one for which a condition holds.
    fn narrow(&mut self, condition: &str) -> Option<String> {
        let outer = self.mask.clone()?;
        let mask = self.fresh("m");
        self.line(format!("unsigned {mask} = lanes_of({outer}, {condition});"));
        Some(mask)
    }

    fn condition(&mut self, expression: &Expression) -> String {
        let condition = self.fresh("c");
        let value = self.expression(expression);
        self.line(format!("bool {condition} = {value};"));
        condition
    }

    fn statement(&mut self, statement: &Statement) {
        // Declarations within may not be jumped over.
        self.line("{");
        match statement {
            Statement::If {
                condition,
                then,
                otherwise,
                ..
            } => {
                let outer = self.mask.clone();
                let condition = self.condition(condition);
                let yes = self.narrow(&condition);
                let no = self.narrow(&format!("!{condition}"));
                self.line(format!("if ({condition}) {{"));
                self.mask = yes;
                self.statements(then);
                self.line("} else {");
                self.mask = no;
                self.statements(otherwise);
                self.line("}");
                self.rejoin(outer);
            }
            Statement::Loop { .. } | Statement::DoWhile { .. } => self.repeat(statement),
            Statement::Switch {
                selector, cases, ..
            } => {
                let outer = self.mask.take();
                let selector = self.expression(selector);
                self.line(format!("switch ({selector} % {}u) {{", cases.len()));
                for (index, case) in cases.iter().enumerate() {
                    self.line(format!("case {index}: {{"));
                    self.statements(case);
                    self.line("} break;");
                }
                self.line("}");
                self.rejoin(outer);
            }
            Statement::Break(condition) => self.leave(condition, "break"),
            Statement::Continue(condition) => self.leave(condition, "continue"),
            Statement::Return(condition) => self.leave(condition, "goto leave"),
            _ => self.simple(statement),
        }
        self.line("}");
    }

    fn rejoin(&mut self, outer: Option<String>) {
        if let Some(mask) = &outer {
            self.line(format!("__syncwarp({mask});"));
        }
        self.mask = outer;
    }

    /// A mask outlives this statement's braces, so it is changed in place.
    fn leave(&mut self, condition: &Expression, how: &str) {
        let condition = self.condition(condition);
        if let Some(mask) = self.mask.clone() {
            self.line(format!("{mask} = lanes_of({mask}, !{condition});"));
        }
        self.line(format!("if ({condition}) {how};"));
    }

    fn repeat(&mut self, statement: &Statement) {
        let outer = self.mask.clone();
        let round = self.fresh("k");
        match statement {
            Statement::Loop {
                count,
                counter,
                body,
                known,
            } => {
                let limit = self.fresh("n");
                let count = self.expression(count);
                self.line(format!("unsigned {limit} = {count} & 7u;"));
                if !known {
                    self.mask = None;
                }
                let inside = self.fresh("m");
                if let Some(outer) = &self.mask {
                    let line = format!("unsigned {inside} = {outer};");
                    self.line(line);
                }
                self.line(format!("for (unsigned {round} = 0; ; {round}++) {{"));
                if self.mask.is_some() {
                    self.line(format!("{inside} = lanes_of({inside}, {round} < {limit});"));
                    self.mask = Some(inside);
                }
                self.line(format!("if ({round} >= {limit}) break;"));
                self.line(format!("v{counter} = {round};"));
                self.statements(body);
                self.line("}");
            }
            Statement::DoWhile { condition, body } => {
                self.mask = None;
                self.line(format!("unsigned {round} = 0;"));
                self.line("do {");
                self.line(format!("{round}++;"));
                self.statements(body);
                let condition = self.expression(condition);
                self.line(format!("}} while ({round} < 5u && {condition});"));
            }
            _ => {}
        }
        self.rejoin(outer);
    }

    fn simple(&mut self, statement: &Statement) {
        let line = match statement {
            Statement::Assign { to, value } => format!("v{to} = {};", self.expression(value)),
            Statement::LocalStore {
                array,
                index,
                value,
            } => format!(
                "a{array}[{} & {}u] = {};",
                self.expression(index),
                self.function.arrays[*array].length - 1,
                self.expression(value)
            ),
            Statement::LocalLoad { to, array, index } => format!(
                "v{to} = a{array}[{} & {}u];",
                self.expression(index),
                self.function.arrays[*array].length - 1
            ),
            Statement::Exchange {
                array,
                to,
                value,
                index,
            } => format!(
                "exchange_{array}[thread] = {}; unsigned from = {} % {}u; __syncthreads(); \
                 v{to} = exchange_{array}[from]; __syncthreads();",
                self.expression(value),
                self.expression(index),
                self.program.threads()
            ),
            Statement::Reduce { slot, value } => {
                let reduction = self.program.reductions[*slot].0.name();
                let (first, rest) = reduction.split_at(1);
                format!(
                    "atomic{}{rest}(&reduction_{slot}, {});",
                    first.to_uppercase(),
                    self.expression(value)
                )
            }
            Statement::ReadReduced { slot, to } => {
                format!("__syncthreads(); v{to} = reduction_{slot}; __syncthreads();")
            }
            Statement::BarrierReduce {
                to,
                reduction,
                value,
            } => {
                let name = match reduction {
                    BarrierReduction::Count => "count",
                    BarrierReduction::And => "and",
                    BarrierReduction::Or => "or",
                };
                format!("v{to} = __syncthreads_{name}({});", self.expression(value))
            }
            Statement::Atomic { .. } | Statement::Swap { .. } => self.atomic(statement),
            Statement::Call {
                to,
                function,
                arguments,
                ..
            } => {
                let values: Vec<_> = arguments.iter().map(|a| self.expression(a)).collect();
                let values = values.join(", ");
                format!("v{to} = function_{}_{function}({values});", self.number)
            }
            _ => self.warp(statement),
        };
        self.line(line);
    }

    fn atomic(&self, statement: &Statement) -> String {
        // Addition knows no signed 64 bits.
        let plain = |ty: Type, bare: bool| match ty {
            Type::S64 if bare => "u64",
            _ => name(ty),
        };
        match statement {
            Statement::Atomic {
                to,
                reduction,
                value,
            } => {
                let (first, rest) = reduction.name().split_at(1);
                let ordered = matches!(rest, "in" | "ax");
                let ty = plain(self.function.variables[*to], !ordered);
                format!(
                    "v{to} = atomic{}{rest}(({ty} *)words, ({ty}){});",
                    first.to_uppercase(),
                    self.expression(value)
                )
            }
            Statement::Swap { to, compare, value } => {
                let ty = plain(self.function.variables[*to], true);
                let value = self.expression(value);
                match compare {
                    Some(compare) => format!(
                        "v{to} = atomicCAS(({ty} *)words, ({ty}){}, ({ty}){value});",
                        self.expression(compare)
                    ),
                    None => format!("v{to} = atomicExch(({ty} *)words, ({ty}){value});"),
                }
            }
            _ => String::new(),
        }
    }

    fn warp(&self, statement: &Statement) -> String {
        let mask = self
            .mask
            .as_deref()
            .expect("the generator knows the lanes here");
        match statement {
            Statement::Vote { to, mode, value } => {
                let value = self.expression(value);
                match mode {
                    Vote::All => format!("v{to} = __all_sync({mask}, {value});"),
                    Vote::Any => format!("v{to} = __any_sync({mask}, {value});"),
                    Vote::Uniform => format!("v{to} = __uni_sync({mask}, {value});"),
                    Vote::Ballot => format!("v{to} = __ballot_sync({mask}, {value});"),
                }
            }
            Statement::Match { to, value } => {
                format!(
                    "v{to} = __match_any_sync({mask}, {});",
                    self.expression(value)
                )
            }
            Statement::WarpReduce {
                to,
                reduction,
                value,
            } => {
                let name = reduction.name();
                format!(
                    "v{to} = __reduce_{name}_sync({mask}, {});",
                    self.expression(value)
                )
            }
            Statement::Shuffle {
                to,
                mode,
                value,
                lane,
                clamp,
                ..
            } => {
                let (value, lane) = (self.expression(value), self.expression(lane));
                let width = 32 - (clamp >> 8);
                match mode {
                    Shuffle::Guarded => format!(
                        "unsigned from = {lane} & 31u; v{to} = __shfl_sync({mask}, {value}, from); \
                         if (!({mask} >> from & 1)) v{to} = 0;"
                    ),
                    Shuffle::Index => {
                        format!("v{to} = __shfl_sync({mask}, {value}, {lane} & 31u, {width});")
                    }
                    Shuffle::Up => {
                        format!("v{to} = __shfl_up_sync({mask}, {value}, {lane} & 31u, {width});")
                    }
                    Shuffle::Down => {
                        format!("v{to} = __shfl_down_sync({mask}, {value}, {lane} & 31u, {width});")
                    }
                    Shuffle::Butterfly => {
                        format!("v{to} = __shfl_xor_sync({mask}, {value}, {lane} & 31u, {width});")
                    }
                }
            }
            _ => String::new(),
        }
    }
}
