// SPDX-License-Identifier: Apache-2.0
//! Our CUDA runtime by the two ways in which users get it: `gvirtus run --cudart`, and preloaded.
//! (That every example does the same with it is in `examples.rs`.)

use gvirtus_tests::{Daemon, Way, prepare, product, run};

/// Programs that use much of the runtime.
const PROGRAMS: [&str; 4] = [
    "runtime_copies",
    "runtime_functions",
    "runtime_graphs",
    "texture_2d_filter",
];

#[test]
fn a_preloaded_library_is_driver_and_runtime() {
    let daemon = Daemon::start();
    for name in PROGRAMS {
        let example = product().example(name);
        let shared = product().with_shared_runtime(&example).expect("compiled");
        let straight = run(&mut Way::Straight.command(&example)).successful();
        let mut command = prepare(&shared);
        // The loader wants a file of the runtime's name, but no driver is to be found.
        command
            .env("LD_LIBRARY_PATH", &product().runtime_folder)
            .env("LD_PRELOAD", &product().preload)
            .env("GVIRTUS_ENDPOINT", daemon.unix());
        let preloaded = run(&mut command).successful();
        assert_eq!(preloaded.stdout, straight.stdout, "{name}");
    }
}

#[test]
fn gvirtus_run_gives_a_program_our_runtime() {
    let shared = product()
        .with_shared_runtime(&product().example("vector_add"))
        .expect("compiled");
    let mut without = prepare(&product().gvirtus);
    without
        .args(["run", "--driver", "softgpu", "--"])
        .arg(&shared);
    let without = run(&mut without);
    assert!(
        without.stderr.contains("libcudart.so.13"),
        "a runtime was found where none was given: {}",
        without.stderr
    );
    let mut with = prepare(&product().gvirtus);
    with.args(["run", "--driver", "softgpu", "--cudart", "--"])
        .arg(&shared);
    let with = run(&mut with).successful();
    assert!(with.stdout.ends_with("ok vector_add\n"), "{}", with.stdout);
}
