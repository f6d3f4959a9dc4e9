// SPDX-License-Identifier: Apache-2.0
//! Device memory that several sessions share up to a limit.
//!
//! A quota belongs to an account, not to a session: a program that forks must not get it twice.
//! The daemon makes a [`Ledger`] for each account, and every worker of the account writes into a
//! row of its own what it holds. An allocation is entered first and taken back if the sum of all
//! rows is over the limit then, so there is never more than the limit; of two that ask at the same
//! moment, both may be refused. The daemon clears the row of a session that has ended, however it
//! ended. What a worker that a client has taken over writes harms its own account only.

mod allowance;
mod ledger;

pub(crate) use allowance::{Allowance, Columns, NO_COLUMN};
pub(crate) use ledger::{Ledger, ROWS};
