// SPDX-License-Identifier: Apache-2.0
//! What went wrong in a session and who is told.
//!
//! - A **deferred** error is the first failure of a posted command. The next function that may
//!   return asynchronous errors returns it, once.
//! - A **sticky** error leaves the context unusable; every call that needs one returns it, until
//!   the context is destroyed or reset.
//! - A **lost** connection makes every call return `CUDA_ERROR_DEVICE_UNAVAILABLE`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gvirtus_abi::CUresult;

const NOTHING: u32 = CUresult::CUDA_SUCCESS.0;
const LOST: CUresult = CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE;

/// The faults of one session.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// What every call returns: the sticky error, or that the connection is lost.
    stop: AtomicU32,
    deferred: AtomicU32,
    lost: AtomicBool,
}

impl Faults {
    /// A posted command failed with `status`.
    pub(crate) fn note_deferred(&self, status: CUresult) {
        if status == CUresult::CUDA_SUCCESS {
            return;
        }
        self.note(status);
        if !is_sticky(status) {
            // The first failure is the one to tell: what follows may be its consequence.
            let _ = self.deferred.compare_exchange(
                NOTHING,
                status.0,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// A call returned `status` to its caller.
    pub(crate) fn note(&self, status: CUresult) {
        if is_sticky(status) {
            let _ =
                self.stop
                    .compare_exchange(NOTHING, status.0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// The connection is gone. Whether this is the first to notice.
    pub(crate) fn note_lost(&self) -> bool {
        let first = !self.lost.swap(true, Ordering::AcqRel);
        self.stop.store(LOST.0, Ordering::Release);
        first
    }

    /// The error that every call on a context returns, if there is one.
    pub(crate) fn check(&self) -> Result<(), CUresult> {
        match self.stop.load(Ordering::Acquire) {
            NOTHING => Ok(()),
            status => Err(CUresult(status)),
        }
    }

    /// Whether the connection is still there.
    pub(crate) fn check_connection(&self) -> Result<(), CUresult> {
        if self.lost.load(Ordering::Acquire) {
            return Err(LOST);
        }
        Ok(())
    }

    /// Tells an error that every call returns, or else the deferred error, once.
    pub(crate) fn take_deferred(&self) -> Result<(), CUresult> {
        self.check()?;
        if self.deferred.load(Ordering::Relaxed) == NOTHING {
            return Ok(());
        }
        match self.deferred.swap(NOTHING, Ordering::AcqRel) {
            NOTHING => Ok(()),
            status => Err(CUresult(status)),
        }
    }

    /// A context was destroyed or reset: its errors went with it.
    pub(crate) fn forget(&self) {
        self.deferred.store(NOTHING, Ordering::Release);
        let stop = self.stop.load(Ordering::Acquire);
        if stop != LOST.0 {
            let _ = self
                .stop
                .compare_exchange(stop, NOTHING, Ordering::AcqRel, Ordering::Relaxed);
        }
    }
}

/// Whether CUDA returns this error from every call that follows (CUDA driver API, "CUresult").
const fn is_sticky(status: CUresult) -> bool {
    matches!(
        status,
        CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
            | CUresult::CUDA_ERROR_NVLINK_UNCORRECTABLE
            | CUresult::CUDA_ERROR_CONTAINED
            | CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
            | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
            | CUresult::CUDA_ERROR_ASSERT
            | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
            | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
            | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
            | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
            | CUresult::CUDA_ERROR_INVALID_PC
            | CUresult::CUDA_ERROR_LAUNCH_FAILED
            | CUresult::CUDA_ERROR_TENSOR_MEMORY_LEAK
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deferred_error_is_told_once_and_the_first_wins() {
        let faults = Faults::default();
        faults.note_deferred(CUresult::CUDA_SUCCESS);
        assert_eq!(faults.take_deferred(), Ok(()));
        faults.note_deferred(CUresult::CUDA_ERROR_INVALID_VALUE);
        faults.note_deferred(CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        assert_eq!(faults.check(), Ok(()));
        assert_eq!(
            faults.take_deferred(),
            Err(CUresult::CUDA_ERROR_INVALID_VALUE)
        );
        assert_eq!(faults.take_deferred(), Ok(()));
    }

    #[test]
    fn a_sticky_error_stays_until_the_context_goes() {
        let faults = Faults::default();
        faults.note_deferred(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        faults.note(CUresult::CUDA_ERROR_ASSERT);
        for _ in 0..2 {
            assert_eq!(faults.check(), Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS));
        }
        assert_eq!(faults.check_connection(), Ok(()));
        faults.forget();
        assert_eq!(faults.check(), Ok(()));
    }

    #[test]
    fn a_lost_connection_stays_lost() {
        let faults = Faults::default();
        assert!(faults.note_lost());
        assert!(!faults.note_lost());
        faults.forget();
        assert_eq!(faults.check(), Err(LOST));
        assert_eq!(faults.check_connection(), Err(LOST));
    }
}
