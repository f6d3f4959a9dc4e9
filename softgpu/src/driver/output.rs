// SPDX-License-Identifier: Apache-2.0
//! What kernels print.

use super::device::Device;
use crate::printf::StdoutSink;

/// The program has one standard output, whatever the number of its devices.
static SINK: StdoutSink = StdoutSink::new();

/// Where kernels print to.
pub(super) fn sink() -> &'static StdoutSink {
    &SINK
}

/// Shows what kernels of the device have printed so far. Called where CUDA shows it: at
/// synchronization, and when memory, modules or contexts go away.
pub(super) fn flush(_: &Device) {
    SINK.flush();
}
