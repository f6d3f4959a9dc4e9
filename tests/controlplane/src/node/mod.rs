// SPDX-License-Identifier: Apache-2.0
//! The chart, its images and the examples on a real node: kubelet, containerd, and a bridge.
//!
//! All of it runs in namespaces of its own, so that nothing of it is left however it ends, and its
//! files are where a cluster has them: a test that runs twice at once does not meet itself.

mod broker;
mod checks;
mod dns;
mod kai;
mod machine;
mod network;
mod parts;
mod pods;
mod replicas;
mod sandbox;
mod scaling;
mod services;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use machine::Machine;
use sandbox::Sandbox;

const PROGRAMS: [&str; 5] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
];

/// What a node is made of.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// The folder with etcd, kube-apiserver, -controller-manager, -scheduler and kubelet
    #[arg(long)]
    programs: PathBuf,
    /// The folder with containerd, containerd-shim-runc-v2 and ctr
    #[arg(long)]
    containerd: PathBuf,
    /// The folder with bridge, host-local and loopback
    #[arg(long)]
    network_plugins: PathBuf,
    #[arg(long)]
    runc: PathBuf,
    /// Archives with images, each
    #[arg(long = "image")]
    images: Vec<PathBuf>,
    /// What the chart renders
    #[arg(long)]
    manifests: PathBuf,
    /// The folder of this repository
    #[arg(long)]
    repository: PathBuf,
    /// What this program tells itself once it is in its namespaces
    #[arg(long, hide = true)]
    inside: Option<sandbox::Inside>,
}

/// Runs all checks and tells whether they passed.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    let Some(inside) = &arguments.inside else {
        crate::cluster::check_programs(&arguments.programs, &PROGRAMS)?;
        return Sandbox::start()?.wait().await;
    };
    let mut machine = Machine::start(arguments, inside).await?;
    let (mut passed, mut failed) = (0, 0);
    for name in checks::NAMES {
        match checks::run(name, &mut machine).await {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED\n{error:#}");
                if failed == 1 {
                    println!("{}", machine.report().await);
                }
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    Ok(failed == 0)
}
