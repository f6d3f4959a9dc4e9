// SPDX-License-Identifier: Apache-2.0
//! What one session may still allocate.

use std::sync::atomic::Ordering::SeqCst;

use gvirtus_protocol::limits::DEVICES_MAX;

use super::ledger::Ledger;

/// The column of a ledger for each device of a session, by the session's own ordinal: sessions of
/// an account may see their devices in different orders. A device that is not there has
/// [`NO_COLUMN`].
pub(crate) type Columns = [u8; DEVICES_MAX];

/// No column of a ledger.
pub(crate) const NO_COLUMN: u8 = u8::MAX;

/// A session's row in its account's ledger, and the account's limit.
#[derive(Debug)]
pub(crate) struct Allowance {
    ledger: Ledger,
    row: usize,
    columns: Columns,
    /// Bytes on each device, of all sessions of the account together.
    limit_bytes: u64,
}

impl Allowance {
    pub(crate) const fn new(
        ledger: Ledger,
        row: usize,
        columns: Columns,
        limit_bytes: u64,
    ) -> Self {
        Self {
            ledger,
            row,
            columns,
            limit_bytes,
        }
    }

    /// Bytes on each device.
    pub(crate) const fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What the account has left on a device, in bytes.
    pub(crate) fn left_bytes(&self, device: u32) -> u64 {
        match self.column(device) {
            Some(column) => self.limit_bytes.saturating_sub(self.ledger.total(column)),
            None => 0,
        }
    }

    /// Takes so many bytes, or none.
    pub(crate) fn reserve(&self, device: u32, bytes: u64) -> bool {
        let Some(column) = self.column(device) else {
            return false;
        };
        if bytes > self.limit_bytes {
            return false;
        }
        self.charge(device, bytes);
        let fits = self.ledger.total(column) <= self.limit_bytes;
        if !fits {
            self.release(device, bytes);
        }
        fits
    }

    /// Takes so many bytes that are allocated already.
    pub(crate) fn charge(&self, device: u32, bytes: u64) {
        self.change(device, |held| held.saturating_add(bytes));
    }

    /// Gives so many bytes back.
    pub(crate) fn release(&self, device: u32, bytes: u64) {
        self.change(device, |held| held.saturating_sub(bytes));
    }

    fn change(&self, device: u32, change: impl Fn(u64) -> u64) {
        let column = self.column(device);
        if let Some(cell) = column.and_then(|column| self.ledger.cell(self.row, column)) {
            // Only this session writes its row while it lasts.
            cell.store(change(cell.load(SeqCst)), SeqCst);
        }
    }

    fn column(&self, device: u32) -> Option<u32> {
        let column = *self.columns.get(device as usize)?;
        (column != NO_COLUMN).then_some(column.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    fn two(limit_bytes: u64) -> (Allowance, Allowance) {
        let ledger = Ledger::create().expect("memory");
        let other = ledger.as_fd().try_clone_to_owned().expect("descriptors");
        let other = Ledger::open(other).expect("a ledger");
        (
            Allowance::new(ledger, 0, columns(&[0, 1]), limit_bytes),
            Allowance::new(other, 1, columns(&[0, 1]), limit_bytes),
        )
    }

    fn columns(of: &[u8]) -> Columns {
        let mut columns = [NO_COLUMN; DEVICES_MAX];
        columns[..of.len()].copy_from_slice(of);
        columns
    }

    #[test]
    fn a_device_counts_whatever_its_ordinal_is() {
        let ledger = Ledger::create().expect("memory");
        let other = ledger.as_fd().try_clone_to_owned().expect("descriptors");
        let other = Ledger::open(other).expect("a ledger");
        let both = Allowance::new(ledger, 0, columns(&[0, 1]), 100);
        let second = Allowance::new(other, 1, columns(&[1]), 100);
        assert!(both.reserve(1, 60));
        assert!(!second.reserve(0, 41), "it is the same device");
        assert!(second.reserve(0, 40));
        assert_eq!((both.left_bytes(0), both.left_bytes(1)), (100, 0));
        for absent in [1, DEVICES_MAX as u32, u32::MAX] {
            assert!(!second.reserve(absent, 1), "there is no such device");
            assert_eq!(second.left_bytes(absent), 0);
        }
    }

    #[test]
    fn sessions_of_an_account_share_its_limit() {
        let (first, second) = two(100);
        assert!(first.reserve(0, 60));
        assert!(!second.reserve(0, 41));
        assert!(second.reserve(1, 100), "each device has its own");
        assert!(second.reserve(0, 40));
        assert_eq!(first.left_bytes(0), 0);
        first.release(0, 60);
        assert_eq!(second.left_bytes(0), 60);
        assert!(!second.reserve(0, u64::MAX), "no sum overflows");
        second.charge(0, 90);
        assert_eq!(
            first.left_bytes(0),
            0,
            "what is allocated counts, limit or not"
        );
    }

    #[test]
    fn two_that_ask_at_once_never_get_more_than_there_is() {
        let (first, second) = two(1000);
        let take = |allowance: &Allowance| {
            let mut taken = 0_u64;
            for _ in 0..10_000 {
                if allowance.reserve(0, 7) {
                    taken += 7;
                    assert!(allowance.left_bytes(0) <= 1000 - taken);
                    if taken > 400 {
                        allowance.release(0, taken);
                        taken = 0;
                    }
                }
            }
            taken
        };
        let taken = std::thread::scope(|scope| {
            let other = scope.spawn(|| take(&second));
            take(&first) + other.join().expect("no panic")
        });
        assert_eq!(first.left_bytes(0), 1000 - taken);
    }
}
