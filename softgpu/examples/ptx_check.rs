// SPDX-License-Identifier: Apache-2.0
//! Parses and lowers PTX files and says how fast, or what is wrong with them: `ptx_check FILE…`

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[expect(clippy::print_stdout, reason = "this is a command-line tool")]
fn main() -> ExitCode {
    let mut failed = 0;
    for path in std::env::args().skip(1) {
        let source = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                println!("{path}: {error}");
                failed += 1;
                continue;
            }
        };
        match check(&source) {
            Ok(report) => println!("{path}: {report}"),
            Err(error) => {
                println!("{path}: {error}");
                failed += 1;
            }
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn check(source: &str) -> Result<String, Box<dyn Error>> {
    let start = Instant::now();
    let module = gvirtus_softgpu::ptx::parse(source)?;
    let parse_time = start.elapsed();
    let program = gvirtus_softgpu::lower::lower(&[module])?;
    let time = start.elapsed();
    let instructions: usize = program.functions.iter().map(|f| f.code.len()).sum();
    let slots = program
        .functions
        .iter()
        .map(|f| f.registers.w32 + f.registers.w64)
        .max();
    let rate = |time: Duration| source.len() as f64 / time.as_secs_f64() / 1e6;
    Ok(format!(
        "{} kernels, {} functions, {instructions} instructions, at most {} slots; parsed at {:.0} \
         MB/s, parsed and lowered at {:.0} MB/s",
        program.kernels.len(),
        program.functions.len(),
        slots.unwrap_or(0),
        rate(parse_time),
        rate(time),
    ))
}
