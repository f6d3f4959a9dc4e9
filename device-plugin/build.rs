// SPDX-License-Identifier: Apache-2.0
//! Makes the bindings of the kubelet's API. protox reads the definition: no `protoc` is needed.

use std::error::Error;

const DEFINITION: &str = "proto/device_plugin.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={DEFINITION}");
    let definition = protox::compile([DEFINITION], ["proto"])?;
    // The test stands in for the kubelet: both sides of both services.
    tonic_prost_build::configure().compile_fds(definition)?;
    Ok(())
}
