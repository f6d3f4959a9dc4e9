// SPDX-License-Identifier: Apache-2.0
//! What processes use of the software devices: each one tells it in a small shared file, and NVML
//! reads those of all processes of the user.
//!
//! The file has no name and is found under `/proc`, so that nothing is left behind when a process
//! ends, however it does.

mod page;
mod processes;

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::time::{ClockId, clock_gettime};

use crate::limits::DEVICES_MAX;
use page::{DeviceUsage, Page};
pub(crate) use processes::{ProcessUsage, processes};

/// What the file is called in `/proc`.
const NAME: &str = "gvirtus-usage";

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// This process's page, with the file that keeps it to be found.
struct Published {
    page: NonNull<Page>,
    /// Kernels at work, by device.
    running: [Mutex<Running>; DEVICES_MAX],
    _file: OwnedFd,
}

/// Kernels of one device that are at work.
#[derive(Default)]
struct Running {
    count: u32,
    since_ns: u64,
}

// SAFETY: the page is made of atomics and stays mapped for as long as the process lives.
unsafe impl Send for Published {}
// SAFETY: as above.
unsafe impl Sync for Published {}

static PUBLISHED: OnceLock<Option<Published>> = OnceLock::new();

/// Begins to tell what this process uses. Where the system does not allow that, nothing is told.
pub(crate) fn publish() {
    PUBLISHED.get_or_init(|| {
        let published = Published::new();
        if let Err(error) = &published {
            gvirtus_driver_face::log!(Warn, "NVML will not show this process: {error}");
        }
        published.ok()
    });
}

fn published() -> Option<&'static Published> {
    PUBLISHED.get()?.as_ref()
}

/// Where a device's bytes in use are told.
pub(crate) fn memory_meter(ordinal: i32) -> Option<&'static AtomicU64> {
    Some(
        &published()?
            .device(usize::try_from(ordinal).ok()?)?
            .memory_bytes,
    )
}

/// While this lives, the device is busy.
pub(crate) struct Busy(Option<(&'static Published, usize)>);

/// A kernel begins on a device.
pub(crate) fn busy(ordinal: i32) -> Busy {
    let device = usize::try_from(ordinal)
        .ok()
        .filter(|index| *index < DEVICES_MAX);
    let Some((published, device)) = published().zip(device) else {
        return Busy(None);
    };
    let mut running = published.running[device].lock();
    running.count += 1;
    if running.count == 1 {
        running.since_ns = now_ns();
        published.page().devices[device].begin(running.since_ns);
    }
    Busy(Some((published, device)))
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some((published, device)) = self.0 else {
            return;
        };
        let mut running = published.running[device].lock();
        running.count -= 1;
        if running.count == 0 {
            published.page().devices[device].end(running.since_ns, now_ns());
        }
    }
}

impl Published {
    fn new() -> rustix::io::Result<Self> {
        let file = rustix::fs::memfd_create(NAME, MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, size_of::<Page>() as u64)?;
        // SAFETY: a new mapping at an address that the system chooses.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                size_of::<Page>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )?
        };
        let page = NonNull::new(address.cast::<Page>()).ok_or(rustix::io::Errno::NOMEM)?;
        let published = Self {
            page,
            running: Default::default(),
            _file: file,
        };
        published.page().begin();
        Ok(published)
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped in `new` with the size of a page and zeros, which are valid atomics; never
        // unmapped.
        unsafe { self.page.as_ref() }
    }

    fn device(&self, index: usize) -> Option<&DeviceUsage> {
        self.page().devices.get(index)
    }
}

/// Time that all processes of the machine share.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * NANOSECONDS_PER_SECOND + now.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_finds_itself() {
        publish();
        let device = 11;
        let meter = memory_meter(device).expect("published");
        meter.store(4096, std::sync::atomic::Ordering::Relaxed);
        let busy = busy(device);
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let own: Vec<ProcessUsage> = processes(device as usize)
            .into_iter()
            .filter(|process| process.pid == std::process::id())
            .collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].memory_bytes, 4096);
        // A whole second has passed in which the kernel ran.
        assert_eq!(own[0].busy_ns, NANOSECONDS_PER_SECOND);
        drop(busy);
        assert!(memory_meter(-1).is_none());
    }
}
