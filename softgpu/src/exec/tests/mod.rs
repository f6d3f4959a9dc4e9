// SPDX-License-Identifier: Apache-2.0
//! Whole kernels, built by hand.

mod arithmetic;
mod control;
mod faults;
mod memory;
mod warps;

use std::sync::Arc;

use parking_lot::Mutex;

use super::level::CpuLevel;
use super::{Fault, LaunchConfig, LaunchOptions, LaunchStatistics, LoadedModule, launch};
use crate::ir::*;
use crate::memory::Memory;
use crate::printf::PrintfSink;

/// Keeps what is printed.
#[derive(Default)]
pub(super) struct Captured {
    text: Mutex<Vec<u8>>,
    errors: Mutex<Vec<u8>>,
}

impl PrintfSink for Captured {
    fn write(&self, text: &[u8], _: usize) {
        self.text.lock().extend_from_slice(text);
    }

    fn write_error(&self, text: &[u8]) {
        self.errors.lock().extend_from_slice(text);
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock()).into_owned()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.errors.lock()).into_owned()
    }
}

/// 32-bit register.
pub(super) fn r(slot: u32) -> Reg {
    Reg::W32(slot)
}

/// 64-bit register.
pub(super) fn rd(slot: u32) -> Reg {
    Reg::W64(slot)
}

/// Predicate.
pub(super) fn p(index: u32) -> Pred {
    Pred(index)
}

pub(super) fn imm(value: u64) -> Src {
    Src::Imm(value)
}

pub(super) fn f32_imm(value: f32) -> Src {
    Src::Imm(value.to_bits().into())
}

pub(super) fn unary(op: UnaryOp, dst: Reg, a: impl Into<Src>) -> Op {
    Op::Unary {
        op,
        dst,
        a: a.into(),
    }
}

pub(super) fn binary(op: BinaryOp, dst: Reg, a: impl Into<Src>, b: impl Into<Src>) -> Op {
    Op::Binary {
        op,
        dst,
        a: a.into(),
        b: b.into(),
    }
}

pub(super) fn ternary(op: TernaryOp, dst: Reg, a: Src, b: Src, c: Src) -> Op {
    Op::Ternary { op, dst, a, b, c }
}

pub(super) fn special(dst: Reg, register: SpecialRegister) -> Op {
    Op::ReadSpecial { dst, register }
}

pub(super) fn tid(dst: Reg) -> Op {
    special(dst, SpecialRegister::ThreadIndex(0))
}

pub(super) fn load(space: Space, ty: MemType, dst: Reg, address: Address) -> Op {
    Op::Load {
        space,
        ty,
        order: MemoryOrder::Weak,
        dst: vec![Some(dst)],
        address,
    }
}

pub(super) fn store(space: Space, ty: MemType, address: Address, src: impl Into<Src>) -> Op {
    Op::Store {
        space,
        ty,
        order: MemoryOrder::Weak,
        address,
        src: vec![src.into()],
    }
}

pub(super) fn compare(
    op: CompareOp,
    ty: ScalarType,
    dst: Pred,
    a: impl Into<Src>,
    b: impl Into<Src>,
) -> Op {
    let compare = Compare {
        op,
        ty,
        flush: false,
        a: a.into(),
        b: b.into(),
    };
    Op::SetPredicate {
        compare,
        combine: None,
        dst: Some(dst),
        dst_not: None,
    }
}

pub(super) const U32: ScalarType = ScalarType::Int(IntType::U32);

pub(super) fn jump(target: u32) -> Op {
    Op::Branch { target }
}

pub(super) fn when(pred: Pred, op: Op) -> Instruction {
    Instruction {
        guard: Guard::If(pred),
        op,
    }
}

pub(super) fn unless(pred: Pred, op: Op) -> Instruction {
    Instruction {
        guard: Guard::IfNot(pred),
        op,
    }
}

/// A device with one module of one kernel.
pub(super) struct Device {
    pub(super) memory: Arc<Memory>,
    pub(super) printed: Captured,
    pub(super) workers: usize,
    pub(super) level: CpuLevel,
}

impl Device {
    pub(super) fn new() -> Self {
        let memory = Arc::new(Memory::new(64 << 20).unwrap());
        let level = CpuLevel::detect();
        Self {
            memory,
            printed: Captured::default(),
            workers: 2,
            level,
        }
    }

    pub(super) fn run_module(
        &self,
        module: Module,
        config: LaunchConfig,
        parameters: &[u8],
    ) -> Result<LaunchStatistics, Fault> {
        let mut loaded = LoadedModule::instantiate(module, &self.memory).unwrap();
        loaded.set_level(self.level);
        let kernel = loaded.kernel("k").unwrap();
        let options = LaunchOptions {
            workers: self.workers,
            ..LaunchOptions::new(&self.printed)
        };
        launch(&loaded, kernel, &config, parameters, &options)
    }

    pub(super) fn run(
        &self,
        kernel: TestKernel,
        blocks: u32,
        threads: u32,
        parameters: &[u64],
    ) -> Result<LaunchStatistics, Fault> {
        let bytes: Vec<u8> = parameters
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.run_module(kernel.module(), config(blocks, threads), &bytes)
    }

    pub(super) fn words(&self, count: usize) -> u64 {
        let address = self.memory.alloc(count as u64 * 4).unwrap();
        self.memory.fill(address, &[0], count as u64 * 4).unwrap();
        address
    }

    pub(super) fn filled(&self, words: &[u32]) -> u64 {
        let address = self.words(words.len());
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.memory.write(address, &bytes).unwrap();
        address
    }

    pub(super) fn read(&self, address: u64, count: usize) -> Vec<u32> {
        let mut bytes = vec![0; count * 4];
        self.memory.read(address, &mut bytes).unwrap();
        bytes
            .chunks(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    }
}

pub(super) fn config(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig {
        grid: [blocks, 1, 1],
        block: [threads, 1, 1],
        dynamic_shared_bytes: 0,
        cooperative: false,
        cluster: None,
    }
}

/// The CPU levels of this machine, worst first.
pub(super) fn levels() -> Vec<CpuLevel> {
    let mut levels = vec![CpuLevel::Portable];
    #[cfg(target_arch = "x86_64")]
    levels.extend([CpuLevel::V3, CpuLevel::V4]);
    levels.retain(|level| *level <= CpuLevel::detect());
    levels
}

/// Code with room for 16 registers of each kind.
#[derive(Default)]
pub(super) struct TestKernel {
    pub(super) code: Vec<Instruction>,
    pub(super) shared_bytes: u32,
    pub(super) local_bytes: u32,
    pub(super) others: Vec<Function>,
    pub(super) variables: Vec<Variable>,
}

impl TestKernel {
    pub(super) fn new(code: Vec<Instruction>) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    pub(super) fn ops(code: Vec<Op>) -> Self {
        Self::new(code.into_iter().map(Instruction::from).collect())
    }

    pub(super) fn module(self) -> Module {
        let mut functions = vec![function("k", self.code, self.local_bytes)];
        functions.extend(self.others);
        let kernel = Kernel {
            name: "k".into(),
            function: FunctionId(0),
            parameters: Vec::new(),
            parameter_bytes: 0,
            static_shared_bytes: self.shared_bytes,
            dynamic_shared_alignment: 16,
            max_threads: None,
            required_threads: None,
            min_blocks_per_multiprocessor: None,
            max_registers: None,
            required_cluster: None,
            blocks_are_clusters: false,
            is_cluster_explicit: false,
            max_cluster_blocks: None,
        };
        Module {
            functions,
            kernels: vec![kernel],
            variables: self.variables,
            ..Module::default()
        }
    }
}

pub(super) fn function(name: &str, code: Vec<Instruction>, local_bytes: u32) -> Function {
    let lines = (1..=code.len() as u32).collect();
    Function {
        name: name.into(),
        registers: RegisterCounts {
            w32: 16,
            w64: 16,
            predicates: 16,
        },
        local_bytes,
        variable_bytes: local_bytes,
        code,
        lines,
    }
}

/// `rd0 = parameter 0 + 4 * tid`, `r0 = tid`.
pub(super) fn prologue() -> Vec<Op> {
    vec![
        tid(r(0)),
        load(Space::Param, MemType::B64, rd(1), Address::absolute(0)),
        Op::Ternary {
            op: TernaryOp::MadWide(IntType::U32),
            dst: rd(0),
            a: r(0).into(),
            b: imm(4),
            c: rd(1).into(),
        },
    ]
}

/// Stores a 32-bit register to `rd0`.
pub(super) fn epilogue(reg: Reg) -> Vec<Op> {
    vec![
        store(Space::Global, MemType::U32, Address::new(rd(0), 0), reg),
        Op::Exit,
    ]
}
