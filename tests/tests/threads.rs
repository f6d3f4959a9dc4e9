// SPDX-License-Identifier: Apache-2.0
//! Programs with threads, forks and much to print.

use gvirtus_tests::{Daemon, Way, product, run};

/// The program does the same straight, over Unix and over TCP.
fn same_everywhere(name: &str) -> String {
    let daemon = Daemon::start();
    let program = product().program(name);
    let straight = run(&mut Way::Straight.command(&program)).successful();
    for endpoint in [daemon.unix(), daemon.tcp()] {
        let remoted = run(&mut Way::Remoted(&endpoint).command(&program)).successful();
        assert_eq!(remoted.stdout, straight.stdout, "over {endpoint}");
    }
    straight.stdout
}

#[test]
fn a_thread_that_waits_does_not_stop_the_others() {
    let output = same_everywhere("waiting_threads");
    assert!(output.ends_with("ok waiting_threads\n"), "{output}");
}

#[test]
fn many_threads_with_streams_and_events_get_right_results() {
    let output = same_everywhere("many_threads");
    assert!(output.ends_with("ok many_threads\n"), "{output}");
}

#[test]
fn copies_of_all_sizes_arrive_whole_and_in_order() {
    let output = same_everywhere("copies");
    assert!(output.ends_with("ok copies\n"), "{output}");
}

#[test]
fn interrupted_system_calls_are_taken_up_again() {
    let output = same_everywhere("interrupted");
    assert!(output.ends_with("ok interrupted\n"), "{output}");
}

#[test]
fn what_kernels_print_is_complete_and_in_its_place() {
    let output = same_everywhere("printing");
    // 40 headings, a last line, 3 lines a round and 0, 25, 50 or 75 more in turn.
    assert_eq!(
        output.lines().count(),
        40 + 1 + 40 * 3 + 10 * (25 + 50 + 75)
    );
}

#[test]
fn a_forked_child_gets_a_session_of_its_own() {
    let daemon = Daemon::start();
    let program = product().program("fork_after_use");
    for endpoint in [daemon.unix(), daemon.tcp()] {
        let finished = run(&mut Way::Remoted(&endpoint).command(&program)).successful();
        assert!(
            finished.stdout.ends_with("ok fork_after_use\n"),
            "{}",
            finished.stdout
        );
    }
}
