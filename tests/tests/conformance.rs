// SPDX-License-Identifier: Apache-2.0
//! Every PTX conformance file gives what PTX's documentation says, straight on softgpu (or on the
//! driver that `GVIRTUS_TEST_DRIVER` names) and through the network.

use std::path::Path;

use gvirtus_tests::{Daemon, Way, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");
/// The newest that softgpu can be, so that no file is left out.
const NEWEST: (&str, &str) = ("GVIRTUS_SOFTGPU_COMPUTE_CAPABILITY", "9.0");

fn check(way: Way<'_>, driver: Option<std::ffi::OsString>) {
    let mut command = way.command(Path::new(PROGRAM));
    command.env(NEWEST.0, NEWEST.1);
    if let Some(driver) = driver {
        command.env("GVIRTUS_TEST_DRIVER", driver);
    }
    let finished = run(&mut command).successful();
    eprintln!("{way:?}\n{}", finished.stdout);
}

#[test]
fn instruction_forms_straight() {
    check(Way::Straight, std::env::var_os("GVIRTUS_TEST_DRIVER"));
}

#[test]
fn instruction_forms_remoted() {
    let daemon = Daemon::start_in(&[NEWEST], &[]);
    check(Way::Remoted(&daemon.unix()), None);
}
