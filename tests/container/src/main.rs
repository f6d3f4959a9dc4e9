// SPDX-License-Identifier: Apache-2.0
//! What containers of the tests run beside CUDA programs: by the name that it is called by, `echo`
//! prints its arguments, `env` its environment, and `pause` keeps a pod's namespaces until it is
//! killed.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "that is what echo is for")]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args();
    let called = words.next().unwrap_or_default();
    match Path::new(&called)
        .file_name()
        .and_then(|name| name.to_str())
    {
        Some("echo") => {
            println!("{}", words.collect::<Vec<_>>().join(" "));
            ExitCode::SUCCESS
        }
        Some("env") => {
            for (name, value) in std::env::vars() {
                println!("{name}={value}");
            }
            ExitCode::SUCCESS
        }
        Some("pause") => loop {
            std::thread::park();
        },
        _ => {
            eprintln!("error: {called} is not echo, env or pause");
            ExitCode::from(2)
        }
    }
}
