// SPDX-License-Identifier: Apache-2.0
//! Random kernels, run on the software device and evaluated by a plain interpreter of the same
//! trees: `cargo test --release -p gvirtus-softgpu --test differential -- --help`.

#![allow(
    clippy::precedence,
    clippy::cast_lossless,
    clippy::print_stdout,
    reason = "formulas as the PTX manual writes them; a program for people at a terminal"
)]

mod compare;
mod compiled;
mod convert;
mod cuda;
mod evaluate;
mod exact;
mod float;
mod generate;
mod integer;
mod options;
mod program;
mod ptx;
mod random;
mod run;
mod shrink;
mod single;
mod types;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use generate::{Choices, Target};
use options::Options;
use program::Program;
use random::Random;
use run::Machine;
use types::Table;

/// Failing cases that are shrunk and shown before the rest is given up.
const FAILURES_MAX: u32 = 5;
/// Rounds in which the evaluator's arithmetic is compared with the CPU's.
const SELF_CHECK_ROUNDS: u32 = 100_000;

fn main() -> ExitCode {
    let options = match Options::from_arguments() {
        Ok(options) => options,
        Err(message) => {
            println!("{message}");
            return ExitCode::FAILURE;
        }
    };
    if !options::is_inside() {
        return options::run_each(&options);
    }
    let session = Session {
        table: Table::new(),
        machine: Machine::new(),
        seed: options.seeds[0],
        level: options.levels.join(", "),
        options,
    };
    session.run()
}

struct Session {
    table: Table,
    machine: Machine,
    options: Options,
    seed: u64,
    level: String,
}

impl Session {
    fn run(&self) -> ExitCode {
        let mut random = Random(self.seed);
        exact::self_check(|| random.next(), SELF_CHECK_ROUNDS);
        let watch = watch::Watch::start();
        let choices = Choices::new(&self.table, Target::Ptx);
        if let Some(seed) = self.options.case {
            watch.begin(seed);
            let program = generate::generate(&self.table, &choices, seed);
            println!("{}", ptx::write(&program, &self.table));
            return self.verdict(1, u32::from(!self.check(&program, seed)));
        }
        let (mut cases, mut failures) = (0, 0);
        if self.options.singles {
            for (index, program) in single::programs(&self.table, self.seed).enumerate() {
                watch.begin(index as u64);
                cases += 1;
                let text = ptx::write(&program, &self.table);
                self.dump(&format!("operation_{index}"), &text);
                if let Err(error) = self.machine.check(&program, &self.table, &text) {
                    failures += 1;
                    let operation = &self.table.operations[index];
                    println!("operation {index}: {}: {error}", operation.ptx);
                }
            }
        }
        if let Some(path) = &self.options.compiled {
            failures += self.compiled(path, &watch);
            cases += self.options.cuda;
        }
        let mut seeds = Random(self.seed);
        for _ in 0..self.options.cases {
            if failures >= FAILURES_MAX {
                println!("giving up after {failures} failures");
                break;
            }
            let seed = seeds.next();
            watch.begin(seed);
            let program = generate::generate(&self.table, &choices, seed);
            cases += 1;
            self.dump(&format!("{seed:016x}"), &ptx::write(&program, &self.table));
            failures += u32::from(!self.check(&program, seed));
        }
        self.verdict(cases, failures)
    }

    /// The kernels that nvcc has compiled; answers how many fail.
    fn compiled(&self, path: &Path, watch: &watch::Watch) -> u32 {
        let programs = compiled::programs(&self.table, self.seed, self.options.cuda);
        let module = std::fs::read_to_string(path)
            .map_err(|error| error.to_string())
            .and_then(|text| self.machine.load(&text));
        let module = match module {
            Ok(module) => module,
            Err(error) => {
                println!("{}: {error}", path.display());
                return self.options.cuda;
            }
        };
        let mut failures = 0;
        for (number, program) in programs.iter().enumerate() {
            watch.begin(number as u64);
            let kernel = cuda::kernel_name(number);
            let checked = self
                .machine
                .check_kernel(program, &self.table, &module, &kernel);
            if let Err(error) = checked {
                println!("{kernel} of {}: {error}", path.display());
                println!("its source and PTX are left there; seed {:#x}\n", self.seed);
                failures += 1;
            }
        }
        failures
    }

    fn dump(&self, name: &str, text: &str) {
        let Some(folder) = &self.options.dump else {
            return;
        };
        if let Err(error) = std::fs::write(folder.join(format!("{name}.ptx")), text) {
            println!("cannot write {name}: {error}");
        }
    }

    fn verdict(&self, cases: u32, failures: u32) -> ExitCode {
        println!(
            "differential, CPU level {}, seed {:#x}: {} operations, {} of {cases} random kernels \
             as computed",
            self.level,
            self.seed,
            self.table.operations.len(),
            cases - failures,
        );
        if failures == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    /// Runs one case; shows it shrunk if it fails.
    fn check(&self, program: &Program, seed: u64) -> bool {
        let outcome = |program: &Program| {
            let text = ptx::write(program, &self.table);
            self.machine.check(program, &self.table, &text)
        };
        let Err(first) = outcome(program) else {
            return true;
        };
        println!("case {seed:#x}: {first}");
        let shrunk = shrink::shrink(program.clone(), &self.table, |program| {
            outcome(program).is_err()
        });
        println!("{}", ptx::write(&shrunk, &self.table));
        println!("shrunk: {shrunk:?}");
        let error = outcome(&shrunk).err().unwrap_or(first);
        println!("shrunk: {error}");
        println!(
            "again: cargo test --release -p gvirtus-softgpu --test differential -- \
             --level {} --case {seed:#x}\n",
            self.level
        );
        false
    }
}
