// SPDX-License-Identifier: Apache-2.0
//! Parses PTX files and says how fast, or what is wrong with them: `ptx_check FILE…`

use std::process::ExitCode;
use std::time::Instant;

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
        let start = Instant::now();
        match gvirtus_softgpu::ptx::parse(&source) {
            Ok(module) => {
                let parse_time = start.elapsed();
                println!(
                    "{path}: {} items, parsed at {:.1} MB/s",
                    module.items.len(),
                    source.len() as f64 / parse_time.as_secs_f64() / 1e6
                );
            }
            Err(error) => {
                println!("{path}: {error}");
                failed += 1;
            }
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
