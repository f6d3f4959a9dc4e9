// SPDX-License-Identifier: Apache-2.0
//! The backend: executes the commands of remote clients on a CUDA driver.

mod control;
pub mod daemon;
pub mod driver;
pub mod limits;
pub mod worker;
