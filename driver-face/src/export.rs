// SPDX-License-Identifier: Apache-2.0
//! What every exported function runs through.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::CUresult;

use crate::fork::Renewable;
use crate::log;

/// What a handler may return: a status, or a `Result` with `?` inside.
pub trait Outcome {
    /// What the C caller gets.
    fn status(self) -> CUresult;
}

impl Outcome for CUresult {
    fn status(self) -> CUresult {
        self
    }
}

impl<E: Into<CUresult>> Outcome for Result<(), E> {
    fn status(self) -> CUresult {
        match self {
            Ok(()) => CUresult::CUDA_SUCCESS,
            Err(error) => error.into(),
        }
    }
}

/// Runs a handler so that no unwinding crosses the C edge: a panic becomes `CUDA_ERROR_UNKNOWN` and
/// one line on standard error. With `GVIRTUS_LOG=debug` failing calls are named, with `trace` all.
#[inline]
pub fn guard<T: Outcome>(symbol: &str, handler: impl FnOnce() -> T) -> CUresult {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // Locks of the libraries do not poison, so what a panic leaves behind stays usable.
    match catch_unwind(AssertUnwindSafe(|| handler().status())) {
        Ok(status) => {
            if log::enabled(log::Level::Debug) {
                log_status(symbol, status);
            }
            status
        }
        Err(_) => {
            log::write_always(format_args!("{symbol} failed inside (this is a bug)"));
            CUresult::CUDA_ERROR_UNKNOWN
        }
    }
}

#[cold]
fn log_status(symbol: &str, status: CUresult) {
    let level = match status {
        CUresult::CUDA_SUCCESS | CUresult::CUDA_ERROR_NOT_READY => log::Level::Trace,
        _ => log::Level::Debug,
    };
    log::write(level, format_args!("{symbol} = {status:?}"));
}

static CALLS: AtomicU64 = AtomicU64::new(0);

/// How many exported functions were called so far.
pub fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

pub(crate) static UNSUPPORTED: Renewable<BTreeMap<&'static str, u64>> = Renewable::new();

/// Counts a call that this library cannot do and names it once on standard error, because a
/// program that ignores the status would otherwise go wrong in silence.
///
/// Always returns `CUDA_ERROR_NOT_SUPPORTED`.
#[cold]
pub fn unsupported(name: &'static str) -> CUresult {
    let first = {
        let mut calls = UNSUPPORTED.get().lock();
        let count = calls.entry(name).or_insert(0);
        *count += 1;
        *count == 1
    };
    if first {
        log::write_always(format_args!("{name} is not supported"));
    }
    CUresult::CUDA_ERROR_NOT_SUPPORTED
}

/// The names given to [`unsupported`] so far, each with its number of calls, sorted by name.
pub fn unsupported_calls() -> Vec<(&'static str, u64)> {
    UNSUPPORTED
        .get()
        .lock()
        .iter()
        .map(|(&n, &c)| (n, c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_code() {
        let status = guard("cuTest", || -> CUresult { panic!("as the test wants") });
        assert_eq!(status, CUresult::CUDA_ERROR_UNKNOWN);
    }

    #[test]
    fn results_and_statuses_are_both_outcomes() {
        assert_eq!(
            guard("cuTest", || CUresult::CUDA_ERROR_NOT_READY),
            CUresult::CUDA_ERROR_NOT_READY
        );
        let fails = || -> Result<(), CUresult> { Err(CUresult::CUDA_ERROR_NOT_FOUND) };
        assert_eq!(guard("cuTest", fails), CUresult::CUDA_ERROR_NOT_FOUND);
        let works = || -> Result<(), CUresult> { Ok(()) };
        assert_eq!(guard("cuTest", works), CUresult::CUDA_SUCCESS);
    }

    #[test]
    fn unsupported_calls_are_counted_by_name() {
        assert_eq!(
            unsupported("cuTestNothing"),
            CUresult::CUDA_ERROR_NOT_SUPPORTED
        );
        unsupported("cuTestNothing");
        assert!(unsupported_calls().contains(&("cuTestNothing", 2)));
    }
}
