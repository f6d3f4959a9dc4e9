// SPDX-License-Identifier: Apache-2.0
//! The tables themselves: which slot holds which C function.

use core::ffi::c_void;

use gvirtus_abi::{CUcontext, CUdevice, CUmodule, CUresult};

use super::local_storage::{self, Destructor};
use super::{SelfTest, TableAddresses, driver};
use crate::guard;

/// The table with this uuid.
pub(super) fn find(id: [u8; 16]) -> Option<*const c_void> {
    let slots: &'static [Slot] = match u128::from_be_bytes(id) {
        0x6bd5fb6c_5bf4_e74a_8987_d93912fd9df9 => &CUDART_INTERFACE,
        0xa094798c_2e74_2e74_93f2_0800200c0a66 => &CALLBACK_HOOKS,
        0x42d85a81_23f6_cb47_8298_f6e78a3aecdc => &TOOLS_TLS,
        0xc693336e_1121_df11_a8c3_68f355d89593 => &LOCAL_STORAGE,
        0x263e8860_7cd2_6143_92f6_bbd5006dfa7e => &CONTEXT_CHECKS,
        0xd4082055_bde6_704b_8d34_ba123c66e1f2 => &SELF_TEST,
        0x21318c60_9714_3248_8ca6_41ff7324c8f2 => &NOTHING,
        _ => return None,
    };
    Some(slots.as_ptr().cast())
}

/// A pointer-sized slot: the table's size in bytes, or a function.
#[repr(transparent)]
struct Slot(*const c_void);

// SAFETY: an integer or the address of a function, both good for all threads.
unsafe impl Sync for Slot {}

impl Slot {
    const fn size(slots: usize) -> Self {
        Self(core::ptr::without_provenance(slots * size_of::<Self>()))
    }
}

static CUDART_INTERFACE: [Slot; 13] = [
    Slot::size(13),
    Slot(module_from_wrapper as *const c_void),
    Slot(primary_context as *const c_void),
    Slot(unknown_slot::<0x6bd5fb6c, 3> as *const c_void),
    Slot(unknown_slot::<0x6bd5fb6c, 4> as *const c_void),
    Slot(unknown_slot::<0x6bd5fb6c, 5> as *const c_void),
    Slot(module_from_wrapper as *const c_void),
    Slot(nothing as *const c_void),
    Slot(module_from_fatbin as *const c_void),
    Slot(unknown_slot::<0x6bd5fb6c, 9> as *const c_void),
    Slot(unknown_slot::<0x6bd5fb6c, 10> as *const c_void),
    Slot(unknown_slot::<0x6bd5fb6c, 11> as *const c_void),
    Slot(nothing as *const c_void),
];

static CALLBACK_HOOKS: [Slot; 7] = [
    Slot::size(7),
    Slot(nothing as *const c_void),
    Slot(large_buffer as *const c_void),
    Slot(unknown_slot::<0xa094798c, 3> as *const c_void),
    Slot(nothing as *const c_void),
    Slot(unknown_slot::<0xa094798c, 5> as *const c_void),
    Slot(small_buffer as *const c_void),
];

static TOOLS_TLS: [Slot; 4] = [
    Slot::size(4),
    Slot(unknown_slot::<0x42d85a81, 1> as *const c_void),
    Slot(nothing as *const c_void),
    Slot(unknown_slot::<0x42d85a81, 3> as *const c_void),
];

static LOCAL_STORAGE: [Slot; 4] = [
    Slot(put as *const c_void),
    Slot(delete as *const c_void),
    Slot(get as *const c_void),
    Slot(unknown_slot::<0xc693336e, 3> as *const c_void),
];

static CONTEXT_CHECKS: [Slot; 4] = [
    Slot::size(4),
    Slot(unknown_slot::<0x263e8860, 1> as *const c_void),
    Slot(check_context as *const c_void),
    Slot(nothing as *const c_void),
];

static SELF_TEST: [Slot; 3] = [
    Slot::size(3),
    Slot(self_test as *const c_void),
    Slot(unknown_slot::<0xd4082055, 2> as *const c_void),
];

static NOTHING: [Slot; 32] = {
    let mut slots = [const { Slot(nothing as *const c_void) }; 32];
    slots[0] = Slot::size(32);
    slots
};

/// A slot of the table whose uuid begins with `TABLE`, of which nothing is known.
extern "C" fn unknown_slot<const TABLE: u32, const SLOT: usize>() -> CUresult {
    crate::log!(
        Warn,
        "slot {SLOT} of the private table {TABLE:x}… is not known"
    );
    crate::unsupported("a slot of a private table")
}

extern "C" fn nothing() -> CUresult {
    CUresult::CUDA_SUCCESS
}

/// Slots 1 and 6. The further arguments of slot 6 are of unknown meaning and not looked at.
unsafe extern "C" fn module_from_wrapper(
    module: *mut CUmodule,
    wrapper: *const c_void,
) -> CUresult {
    guard("module from a fatbin", || {
        // SAFETY: the caller's promise.
        unsafe { load(module, wrapper) }
    })
}

/// Slot 8: slot 6 with the first two arguments changed over.
unsafe extern "C" fn module_from_fatbin(fatbin: *const c_void, module: *mut CUmodule) -> CUresult {
    guard("module from a fatbin", || {
        // SAFETY: the caller's promise.
        unsafe { load(module, fatbin) }
    })
}

unsafe fn load(module: *mut CUmodule, image: *const c_void) -> Result<(), CUresult> {
    if module.is_null() || image.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: not null, and then a whole image by the caller's promise.
    let loaded = unsafe { driver()?.module_from_fatbin(image)? };
    // SAFETY: not null, and then valid for writing by the caller's promise.
    unsafe { module.write(loaded) };
    Ok(())
}

unsafe extern "C" fn primary_context(context: *mut CUcontext, device: CUdevice) -> CUresult {
    guard("primary context of the cudart interface", || {
        if context.is_null() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let primary = driver()?.primary_context(device)?;
        // SAFETY: not null, and then valid for writing by the caller's promise.
        unsafe { context.write(primary) };
        Ok(())
    })
}

/// Zeroed memory that tools would hook into; larger than announced, to be safe from readers that
/// count in pointers.
#[repr(transparent)]
struct SharedBuffer(core::cell::UnsafeCell<[u128; 512]>);

// SAFETY: this library never reads or writes it; what its clients do is theirs.
unsafe impl Sync for SharedBuffer {}

static LARGE_BUFFER: SharedBuffer = SharedBuffer(core::cell::UnsafeCell::new([0; 512]));
static SMALL_BUFFER: SharedBuffer = SharedBuffer(core::cell::UnsafeCell::new([0; 512]));

unsafe extern "C" fn large_buffer(buffer: *mut *mut c_void, size: *mut usize) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { hand_out(&LARGE_BUFFER, 1024, buffer, size) }
}

unsafe extern "C" fn small_buffer(buffer: *mut *mut c_void, size: *mut usize) -> CUresult {
    // SAFETY: the caller's promise.
    unsafe { hand_out(&SMALL_BUFFER, 14, buffer, size) }
}

unsafe fn hand_out(
    shared: &'static SharedBuffer,
    bytes: usize,
    buffer: *mut *mut c_void,
    size: *mut usize,
) -> CUresult {
    if buffer.is_null() || size.is_null() {
        return CUresult::CUDA_ERROR_INVALID_VALUE;
    }
    // SAFETY: not null, and then valid for writing by the caller's promise.
    unsafe { buffer.write(shared.0.get().cast()) };
    // SAFETY: as above.
    unsafe { size.write(bytes) };
    CUresult::CUDA_SUCCESS
}

unsafe extern "C" fn put(
    context: CUcontext,
    key: *mut c_void,
    value: *mut c_void,
    destructor: Option<Destructor>,
) -> CUresult {
    guard("context-local storage", || {
        local_storage::put(context, key, value, destructor)
    })
}

unsafe extern "C" fn delete(context: CUcontext, key: *mut c_void) -> CUresult {
    guard("context-local storage", || {
        local_storage::delete(context, key)
    })
}

unsafe extern "C" fn get(
    value: *mut *mut c_void,
    context: CUcontext,
    key: *mut c_void,
) -> CUresult {
    guard("context-local storage", || {
        if value.is_null() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let stored = local_storage::get(context, key)?;
        // SAFETY: not null, and then valid for writing by the caller's promise.
        unsafe { value.write(stored) };
        Ok(())
    })
}

unsafe extern "C" fn check_context(
    _: CUcontext,
    result: *mut u32,
    detail: *mut *const c_void,
) -> CUresult {
    if !result.is_null() {
        // SAFETY: not null, and then valid for writing by the caller's promise.
        unsafe { result.write(0) };
    }
    if !detail.is_null() {
        // SAFETY: as above.
        unsafe { detail.write(core::ptr::null()) };
    }
    CUresult::CUDA_SUCCESS
}

unsafe extern "C" fn self_test(version: u32, unix_seconds: u64, answer: *mut [u8; 16]) -> CUresult {
    guard("self-test", || {
        if answer.is_null() {
            return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
        }
        let driver = driver()?;
        let test = SelfTest {
            driver_version: driver.driver_version()?,
            version,
            process_id: std::process::id(),
            // SAFETY: no preconditions.
            thread_id: unsafe { libc::pthread_self() } as u32,
            tables: TableAddresses {
                cudart_interface: CUDART_INTERFACE.as_ptr().addr() as u64,
                self_test: SELF_TEST.as_ptr().addr() as u64,
                self_test_function: SELF_TEST[1].0.addr() as u64,
            },
            unix_seconds,
            devices: driver.devices()?,
        };
        // SAFETY: not null, and then valid for writing by the caller's promise.
        unsafe { answer.write(test.answer()) };
        Ok(())
    })
}
