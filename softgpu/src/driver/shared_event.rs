// SPDX-License-Identifier: Apache-2.0
//! The state of an event that several processes record and wait for: a page that all of them map.
//!
//! Each record takes the next number, from 1 on, and is *done* when its stream has got there. The
//! last [`SHARED_EVENT_RECORDS`] records can be told apart; of an older one it is known that it is
//! done once its place was taken over. A record of a process that has ended is done.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags};

use super::limits::SHARED_EVENT_RECORDS;
use crate::memory::{Purpose, Secret, SharedFile, Token, new_secret};

const PAGE_BYTES: usize = 4096;

/// What the page holds; all of it zero before the first record but the secret.
#[repr(C)]
struct Page {
    secret: [AtomicU32; 4],
    /// Number of the last record, 0 for none. Numbers wrap around and leave 0 out.
    last: AtomicU32,
    /// By the number's remainder.
    records: [Place; SHARED_EVENT_RECORDS as usize],
}

#[repr(C)]
struct Place {
    /// Number of the last record that is done here.
    done: AtomicU32,
    /// The process that makes the last one.
    process: AtomicU32,
}

const _: () = assert!(size_of::<Page>() <= PAGE_BYTES);

/// An event of several processes.
pub(super) struct SharedEvent {
    file: SharedFile,
    page: NonNull<Page>,
    secret: Secret,
}

// SAFETY: the page is made of atomics and lives as long as the value.
unsafe impl Send for SharedEvent {}
// SAFETY: as above.
unsafe impl Sync for SharedEvent {}

impl SharedEvent {
    /// A new one, not recorded.
    pub(super) fn create(number: i32) -> std::io::Result<Self> {
        let file = SharedFile::create(Purpose::Event, number, PAGE_BYTES as u64)?;
        let event = Self::map(file, new_secret()?)?;
        for (place, word) in event.page().secret.iter().zip(words(event.secret)) {
            place.store(word, Ordering::Relaxed);
        }
        Ok(event)
    }

    /// Another process's.
    pub(super) fn open(token: &Token) -> std::io::Result<Self> {
        let file = SharedFile::open(token)?;
        if file.bytes != PAGE_BYTES as u64 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let event = Self::map(file, token.secret)?;
        let secret = event.page().secret.iter();
        match secret
            .map(|word| word.load(Ordering::Relaxed))
            .eq(words(token.secret))
        {
            true => Ok(event),
            false => Err(std::io::ErrorKind::InvalidData.into()),
        }
    }

    fn map(file: SharedFile, secret: Secret) -> std::io::Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place of the system's choice, of a file that does not shrink.
        let page = unsafe {
            let place = std::ptr::null_mut();
            rustix::mm::mmap(place, PAGE_BYTES, rights, MapFlags::SHARED, file.file(), 0)?
        };
        let page = NonNull::new(page.cast()).ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Self { file, page, secret })
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped by `map` with at least its size; every bit pattern is a value.
        unsafe { self.page.as_ref() }
    }

    pub(super) fn token(&self) -> Token {
        self.file.token(Purpose::Event, 0, self.secret)
    }

    fn place(&self, number: u32) -> &Place {
        &self.page().records[(number % SHARED_EVENT_RECORDS) as usize]
    }

    /// Begins a record; [`SharedEvent::finish`] ends it.
    pub(super) fn begin(&self) -> u32 {
        let next = |last: u32| Some(last.wrapping_add(1).max(1));
        let page = self.page();
        let last = page
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| {
                let number = next(last)?;
                (self.place(number).process).store(std::process::id(), Ordering::Release);
                Some(number)
            });
        last.ok().and_then(next).unwrap_or(1)
    }

    pub(super) fn finish(&self, number: u32) {
        let place = self.place(number);
        let newer = |done: u32| is_at_least(number, done).then_some(number);
        let _ = (place.done).fetch_update(Ordering::AcqRel, Ordering::Acquire, newer);
    }

    /// The last record, if there was one.
    pub(super) fn last(&self) -> Option<u32> {
        match self.page().last.load(Ordering::Acquire) {
            0 => None,
            number => Some(number),
        }
    }

    pub(super) fn is_done(&self, number: u32) -> bool {
        let place = self.place(number);
        let done = place.done.load(Ordering::Acquire);
        done != 0 && is_at_least(done, number)
    }

    /// As [`SharedEvent::is_done`], also if nobody is left who could finish it.
    pub(super) fn is_done_or_left(&self, number: u32) -> bool {
        let process = self.place(number).process.load(Ordering::Acquire);
        let is_left = || {
            let process = i32::try_from(process)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            let is_gone = |process| {
                rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH)
            };
            process.is_none_or(is_gone)
        };
        self.is_done(number) || is_left()
    }
}

/// Of numbers that wrap around.
fn is_at_least(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() >= 0
}

fn words(secret: Secret) -> [u32; 4] {
    let word = |index: usize| std::array::from_fn(|byte| secret[index * 4 + byte]);
    std::array::from_fn(|index| u32::from_le_bytes(word(index)))
}

impl Drop for SharedEvent {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length; nothing borrows from it now.
        let _ = unsafe { rustix::mm::munmap(self.page.as_ptr().cast(), PAGE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart() {
        let event = SharedEvent::create(0).expect("memfd");
        let other = SharedEvent::open(&event.token()).expect("the same");
        assert_eq!(other.last(), None);
        let (one, two) = (event.begin(), other.begin());
        assert_eq!((one, two, event.last()), (1, 2, Some(2)));
        other.finish(two);
        assert!(event.is_done(two) && !event.is_done(one));
        assert!(!event.is_done_or_left(one));
        event.finish(one);
        assert!(other.is_done(one));
    }

    #[test]
    fn a_wrong_secret_opens_nothing() {
        let event = SharedEvent::create(0).expect("memfd");
        let mut token = event.token();
        token.secret[15] ^= 1;
        assert!(SharedEvent::open(&token).is_err());
    }
}
