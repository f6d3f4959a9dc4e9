// SPDX-License-Identifier: Apache-2.0
//! One connection for NVML: a worker process that asks an NVML on a client's behalf.
//!
//! [`library`] is the NVML, [`handles`] what the client's tokens mean, [`call`] a function call
//! made from a request, [`processes`] whose the processes are that NVML names, [`share`] what a
//! client with a ticket sees of it all. [`figures`] is a worker without a client, which tells the
//! daemon what the devices do. Only functions that
//! change nothing are called. A request that no client of ours makes ends the connection.

mod call;
mod figures;
mod handles;
mod library;
mod processes;
mod serve;
mod share;

pub(crate) use figures::report as report_figures;
pub(crate) use library::Nvml;
pub(crate) use serve::{ManagementEnd, serve};
pub(crate) use share::Share;

#[cfg(test)]
mod tests;
