// SPDX-License-Identifier: Apache-2.0
//! The private tables behind `cuGetExportTable`, as far as NVIDIA's libraries need them.
//!
//! A table is an array of pointer-sized slots; slot 0 holds the table's size in bytes, unless
//! noted. A slot that no client was seen to use answers `CUDA_ERROR_NOT_SUPPORTED`; a table that is
//! not listed here does not exist (`CUDA_ERROR_NOT_FOUND`), because clients such as NVRTC work
//! without it but crash on a made-up one.
//!
//! | uuid | purpose | slots |
//! |---|---|---|
//! | `6bd5fb6c-5bf4-e74a-8987-d93912fd9df9` | cudart interface | 1, 6, 8 module from a fatbin; 2 primary context; 7 nothing (cudart 11 calls it at a reset); 12 load compilers |
//! | `a094798c-2e74-2e74-93f2-0800200c0a66` | tools' callback hooks | 2, 6 zeroed buffers; 1, 4 nothing |
//! | `42d85a81-23f6-cb47-8298-f6e78a3aecdc` | tools' thread-local storage | 2 nothing |
//! | `c693336e-1121-df11-a8c3-68f355d89593` | context-local storage, without a size slot | 0 put, 1 delete, 2 get |
//! | `263e8860-7cd2-6143-92f6-bbd5006dfa7e` | context checks | 2, 3 nothing to report |
//! | `d4082055-bde6-704b-8d34-ba123c66e1f2` | self-test of the driver | 1, see [`SelfTest`] |
//! | `21318c60-9714-3248-8ca6-41ff7324c8f2` | asked for by cudart 13.5 | all: nothing |
//!
//! What the tables need from the library is its [`Driver`].

mod local_storage;
mod self_test;
mod tables;

use core::ffi::c_void;
use std::sync::OnceLock;

use gvirtus_abi::{CUcontext, CUdevice, CUmodule, CUresult, CUuuid};

pub use local_storage::{Destructor, context_destroyed};
pub use self_test::{SelfTest, TableAddresses};

/// What the private tables need from the library that exports them.
pub trait Driver: Sync {
    /// As `cuDriverGetVersion` says: 1000 × major + 10 × minor.
    ///
    /// # Errors
    ///
    /// As `cuDriverGetVersion`.
    fn driver_version(&self) -> Result<u32, CUresult>;

    /// All devices, in the order of their ordinals.
    ///
    /// # Errors
    ///
    /// As `cuDeviceGetUuid_v2`.
    fn devices(&self) -> Result<Vec<DeviceIdentity>, CUresult>;

    /// The handle of a device's primary context, which is not retained by this.
    ///
    /// # Errors
    ///
    /// As `cuDevicePrimaryCtxRetain`.
    fn primary_context(&self, device: CUdevice) -> Result<CUcontext, CUresult>;

    /// The calling thread's current context, or null.
    ///
    /// # Errors
    ///
    /// As `cuCtxGetCurrent`.
    fn current_context(&self) -> Result<CUcontext, CUresult>;

    /// Loads a module into the current context, as `cuModuleLoadData`.
    ///
    /// # Errors
    ///
    /// As `cuModuleLoadData`.
    ///
    /// # Safety
    ///
    /// `image` points to a whole fatbin wrapper or fatbin.
    unsafe fn module_from_fatbin(&self, image: *const c_void) -> Result<CUmodule, CUresult>;
}

/// How the self-test knows a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// As `cuDeviceGetUuid_v2` says.
    pub uuid: [u8; 16],
    /// `CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID`.
    pub pci_domain: i32,
    /// `CU_DEVICE_ATTRIBUTE_PCI_BUS_ID`.
    pub pci_bus: i32,
    /// `CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID`.
    pub pci_device: i32,
}

/// `cuGetExportTable`. The first call's `driver` serves the tables from then on.
///
/// # Safety
///
/// `table` and `id` are null or valid for writing and reading.
pub unsafe fn write_export_table(
    driver: &'static dyn Driver,
    table: *mut *const c_void,
    id: *const CUuuid,
) -> CUresult {
    if table.is_null() || id.is_null() {
        return CUresult::CUDA_ERROR_INVALID_VALUE;
    }
    // SAFETY: not null, and then valid for reading by the caller's promise.
    let id = unsafe { id.read_unaligned() }.bytes.map(|byte| byte as u8);
    let found = export_table(driver, id);
    crate::log!(Trace, "cuGetExportTable({id:02x?}) = {found:?}");
    // SAFETY: not null, and then valid for writing by the caller's promise.
    unsafe { table.write(found.unwrap_or(core::ptr::null())) };
    match found {
        Some(_) => CUresult::CUDA_SUCCESS,
        None => CUresult::CUDA_ERROR_NOT_FOUND,
    }
}

/// The table with this uuid, if there is one.
pub fn export_table(driver: &'static dyn Driver, id: [u8; 16]) -> Option<*const c_void> {
    DRIVER.get_or_init(|| driver);
    tables::find(id)
}

/// Forgets what was stored for contexts, without a word to anybody.
pub(crate) fn forget_storage() {
    local_storage::STORAGE.renew();
}

fn driver() -> Result<&'static dyn Driver, CUresult> {
    // A table's function can be called only by somebody who has been given the table.
    DRIVER
        .get()
        .copied()
        .ok_or(CUresult::CUDA_ERROR_NOT_INITIALIZED)
}

static DRIVER: OnceLock<&'static dyn Driver> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;

    struct NoDriver;

    impl Driver for NoDriver {
        fn driver_version(&self) -> Result<u32, CUresult> {
            Ok(13050)
        }

        fn devices(&self) -> Result<Vec<DeviceIdentity>, CUresult> {
            Ok(vec![DeviceIdentity {
                uuid: [7; 16],
                pci_domain: 0,
                pci_bus: 1,
                pci_device: 2,
            }])
        }

        fn primary_context(&self, device: CUdevice) -> Result<CUcontext, CUresult> {
            match device {
                CUdevice(0) => Ok(CUcontext(0x1234)),
                _ => Err(CUresult::CUDA_ERROR_INVALID_DEVICE),
            }
        }

        fn current_context(&self) -> Result<CUcontext, CUresult> {
            Ok(CUcontext(0x1234))
        }

        unsafe fn module_from_fatbin(&self, _: *const c_void) -> Result<CUmodule, CUresult> {
            Ok(CUmodule(0x77))
        }
    }

    type Slot = unsafe extern "C" fn(u64, u64, u64) -> CUresult;

    fn table(text: &str) -> *const usize {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let id = u128::from_str_radix(&digits, 16).expect("a uuid");
        export_table(&NoDriver, id.to_be_bytes())
            .expect("a table")
            .cast()
    }

    fn slot(table: *const usize, index: usize) -> Slot {
        // SAFETY: the tests ask only for slots that the table has.
        let address = unsafe { *table.add(index) };
        // SAFETY: the slot holds a C function with at most three register arguments.
        unsafe { core::mem::transmute::<usize, Slot>(address) }
    }

    #[test]
    fn the_cudart_interface_knows_the_primary_context() {
        let table = table("6bd5fb6c-5bf4-e74a-8987-d93912fd9df9");
        let mut context = CUcontext::NULL;
        let out = (&raw mut context) as u64;
        // SAFETY: slot 2 takes a place for a context and a device.
        let status = unsafe { slot(table, 2)(out, 0, 0) };
        assert_eq!(
            (status, context),
            (CUresult::CUDA_SUCCESS, CUcontext(0x1234))
        );
        // SAFETY: as above.
        let status = unsafe { slot(table, 2)(out, 9, 0) };
        assert_eq!(status, CUresult::CUDA_ERROR_INVALID_DEVICE);
        let mut module = CUmodule::NULL;
        let out = (&raw mut module) as u64;
        let image = [0u8; 64];
        // SAFETY: slot 8 takes an image and a place for a module; the rest is zero.
        let status = unsafe { slot(table, 8)(image.as_ptr() as u64, out, 0) };
        assert_eq!((status, module), (CUresult::CUDA_SUCCESS, CUmodule(0x77)));
        // SAFETY: a slot without a meaning takes nothing.
        let status = unsafe { slot(table, 3)(0, 0, 0) };
        assert_eq!(status, CUresult::CUDA_ERROR_NOT_SUPPORTED);
    }

    #[test]
    fn sized_tables_begin_with_their_size() {
        for (uuid, slots) in [
            ("6bd5fb6c-5bf4-e74a-8987-d93912fd9df9", 13),
            ("a094798c-2e74-2e74-93f2-0800200c0a66", 7),
            ("d4082055-bde6-704b-8d34-ba123c66e1f2", 3),
        ] {
            // SAFETY: every table has a slot 0.
            assert_eq!(unsafe { *table(uuid) }, slots * 8, "{uuid}");
        }
    }

    #[test]
    fn the_hooks_hand_out_zeroed_buffers() {
        let table = table("a094798c-2e74-2e74-93f2-0800200c0a66");
        for (index, bytes) in [(2, 1024), (6, 14)] {
            let (mut buffer, mut size) = (core::ptr::null::<u8>(), 0_usize);
            let (out, out_size) = ((&raw mut buffer) as u64, (&raw mut size) as u64);
            // SAFETY: both slots take two places to write to.
            unsafe { slot(table, index)(out, out_size, 0) };
            assert_eq!(size, bytes);
            // SAFETY: the buffer is a static of at least `size` bytes.
            let buffer = unsafe { core::slice::from_raw_parts(buffer, size) };
            assert!(buffer.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn unlisted_tables_do_not_exist() {
        let refused = 0xda91_51d3_3ae6_cc41_a5c0_4f26_d533_e328_u128;
        assert!(export_table(&NoDriver, refused.to_be_bytes()).is_none());
        let id = CUuuid { bytes: [1; 16] };
        let mut table = core::ptr::dangling();
        // SAFETY: both are valid.
        let status = unsafe { write_export_table(&NoDriver, &raw mut table, &raw const id) };
        assert_eq!(status, CUresult::CUDA_ERROR_NOT_FOUND);
        assert!(table.is_null());
    }

    #[test]
    fn the_self_test_answers_for_the_tables_handed_out() {
        let interface = table("6bd5fb6c-5bf4-e74a-8987-d93912fd9df9");
        let table = table("d4082055-bde6-704b-8d34-ba123c66e1f2");
        let mut answer = [0_u8; 16];
        let out = answer.as_mut_ptr() as u64;
        // SAFETY: slot 1 takes a version, a time, and a place for 16 bytes.
        let status = unsafe { slot(table, 1)(13052, 1_700_000_000, out) };
        assert_eq!(status, CUresult::CUDA_SUCCESS);
        let expected = SelfTest {
            driver_version: 13050,
            version: 13052,
            process_id: std::process::id(),
            // SAFETY: no preconditions.
            thread_id: unsafe { libc::pthread_self() } as u32,
            tables: TableAddresses {
                cudart_interface: interface as u64,
                self_test: table as u64,
                // SAFETY: the table has a slot 1.
                self_test_function: unsafe { *table.add(1) } as u64,
            },
            unix_seconds: 1_700_000_000,
            devices: NoDriver.devices().expect("one device"),
        };
        assert_eq!(answer, expected.answer());
    }

    #[test]
    fn local_storage_belongs_to_a_context() {
        let table = table("c693336e-1121-df11-a8c3-68f355d89593");
        let mut value = 0_u64;
        let out = (&raw mut value) as u64;
        // SAFETY: slot 0 takes context, key, value and a destructor, which may be null; the fourth
        // argument's register holds whatever, so it is passed by the fuller type.
        let put: unsafe extern "C" fn(u64, u64, u64, u64) -> CUresult =
            unsafe { core::mem::transmute::<usize, _>(*table) };
        // SAFETY: as above.
        assert_eq!(unsafe { put(0, 42, 7, 0) }, CUresult::CUDA_SUCCESS);
        // SAFETY: slot 2 takes a place for the value, context and key.
        let status = unsafe { slot(table, 2)(out, 0x1234, 42) };
        assert_eq!((status, value), (CUresult::CUDA_SUCCESS, 7));
        // SAFETY: slot 1 takes context and key.
        let status = unsafe { slot(table, 1)(0x1234, 42, 0) };
        assert_eq!(status, CUresult::CUDA_SUCCESS);
        // SAFETY: as above.
        let status = unsafe { slot(table, 2)(out, 0, 42) };
        assert_eq!(status, CUresult::CUDA_ERROR_INVALID_HANDLE);
    }
}
