// SPDX-License-Identifier: Apache-2.0
//! Why a module cannot be lowered.

use std::error::Error;
use std::fmt;

use crate::ptx::Position;

/// A module that parses but cannot be run: it is not valid PTX, names something that no module
/// defines, or uses an instruction that this device does not have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LowerError {
    /// What is wrong.
    pub message: String,
    /// The kernel or device function it is in; empty at module scope.
    pub function: String,
    /// Where.
    pub position: Position,
}

impl fmt::Display for LowerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.function.is_empty() {
            write!(f, " in {}", self.function)?;
        }
        write!(f, " at {}", self.position)
    }
}

impl Error for LowerError {}

/// What the code inside one instruction says is wrong with it; the place is added further up.
pub(super) type Result<T> = std::result::Result<T, String>;
