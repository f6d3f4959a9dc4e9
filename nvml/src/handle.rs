// SPDX-License-Identifier: Apache-2.0
//! Handles as the program sees them: addresses that no memory can have, so that a program that
//! looks behind one fails at once.
//!
//! | bits | what |
//! |---|---|
//! | 48–63 | a mark that makes the address impossible |
//! | 32–39 | the kind |
//! | 0–31 | the backend's token |

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::HandleKind;

const MARK: u64 = 0x4756;

/// The handle for a token; that of none is null.
pub(crate) const fn handle(kind: HandleKind, token: u64) -> u64 {
    match token as u32 {
        0 => 0,
        token => MARK << 48 | (kind as u64) << 32 | token as u64,
    }
}

/// The token of a handle of this kind.
///
/// # Errors
///
/// `NVML_ERROR_INVALID_ARGUMENT` for what is none.
pub(crate) fn token(kind: HandleKind, value: u64) -> Result<u64, Status> {
    let token = value & 0xffff_ffff;
    if token == 0 || handle(kind, token) != value {
        return Err(Status::INVALID_ARGUMENT);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_handles_of_the_kind_have_tokens() {
        let device = handle(HandleKind::Device, 7);
        assert_eq!(token(HandleKind::Device, device), Ok(7));
        for wrong in [0, 7, device + (1 << 32), device | 1 << 40, u64::MAX] {
            let result = token(HandleKind::Device, wrong);
            assert_eq!(result, Err(Status::INVALID_ARGUMENT), "{wrong:#x}");
        }
        assert!(token(HandleKind::Unit, device).is_err());
        assert_eq!(handle(HandleKind::Device, 0), 0);
    }
}
