// SPDX-License-Identifier: Apache-2.0
//! Devices and what can be asked about them without a context.

use core::ffi::c_char;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};

use gvirtus_abi::{
    CUarray_format, CUdevice, CUdevice_attribute, CUdevprop, CUexecAffinityType, CUmemoryPool,
    CUresult, CUuuid,
};
use gvirtus_driver_face::export_tables::DeviceIdentity;
use gvirtus_driver_face::{VISIBLE_DEVICES, visible_devices};
use parking_lot::Mutex;

use super::arguments::{out, read_text, write_text};
use super::context::Primary;
use super::limits::{DEVICE_NAME, TEXTURE_1D_LINEAR_WIDTH_MAX};
use super::pool::{self, Pool};
use super::{array, attributes};
use crate::limits::{
    DEVICES_MAX, MAX_BLOCK_DIMENSIONS, MAX_GRID_DIMENSIONS, MAX_THREADS_PER_BLOCK,
    SHARED_BYTES_PER_BLOCK, WARP_SIZE,
};
use crate::memory::Memory;
use crate::usage;

/// PCI bus of the first device.
const FIRST_PCI_BUS: i32 = 1;

/// One software device. It lives as long as the process.
pub(crate) struct Device {
    pub(crate) ordinal: i32,
    /// Its place among all devices of the machine, whichever of them this process sees.
    pub(crate) number: i32,
    /// Bytes of device memory.
    pub(crate) total_bytes: u64,
    pub(super) multiprocessors: u32,
    pub(super) primary: Mutex<Primary>,
    memory: OnceLock<Option<Arc<Memory>>>,
    default_pool: OnceLock<Arc<Pool>>,
    /// The one that `cuMemAllocAsync` takes from; the default one if there is none.
    current_pool: Mutex<CUmemoryPool>,
}

impl Device {
    fn new(ordinal: i32, number: i32, total_bytes: u64) -> Self {
        Self {
            ordinal,
            number,
            total_bytes,
            multiprocessors: std::thread::available_parallelism()
                .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
            primary: Mutex::default(),
            memory: OnceLock::new(),
            default_pool: OnceLock::new(),
            current_pool: Mutex::default(),
        }
    }

    /// The device's memory, whose addresses are reserved at the first use.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY` if they cannot be.
    pub(super) fn memory(&self) -> Result<&Arc<Memory>, CUresult> {
        self.memory
            .get_or_init(|| {
                let memory = Memory::new(self.total_bytes).ok()?;
                if let Some(meter) = usage::memory_meter(self.number) {
                    memory.set_meter(meter);
                }
                Some(Arc::new(memory))
            })
            .as_ref()
            .ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)
    }

    /// The memory, if it has been used.
    pub(super) fn memory_in_use(&self) -> Option<&Arc<Memory>> {
        self.memory.get()?.as_ref()
    }

    /// The pool that the device has from the start.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY` if there are too many pools.
    pub(super) fn default_pool(&'static self) -> Result<&'static Arc<Pool>, CUresult> {
        if let Some(pool) = self.default_pool.get() {
            return Ok(pool);
        }
        let mut made = self.current_pool.lock();
        if self.default_pool.get().is_none() {
            let properties = pool::Properties::default();
            let pool = pool::create(self, properties, true)?;
            *made = pool.handle;
            let _ = self.default_pool.set(pool);
        }
        drop(made);
        self.default_pool
            .get()
            .ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)
    }

    /// The pool that `cuMemAllocAsync` takes from.
    ///
    /// # Errors
    ///
    /// As [`Device::default_pool`].
    pub(super) fn current_pool(&'static self) -> Result<Arc<Pool>, CUresult> {
        let default = self.default_pool()?;
        let current = *self.current_pool.lock();
        Ok(pool::find(current).unwrap_or_else(|_| Arc::clone(default)))
    }

    pub(super) fn set_current_pool(&self, pool: &Pool) {
        *self.current_pool.lock() = pool.handle;
    }

    /// A pool ends: the default one takes its place.
    pub(super) fn forget_pool(&self, handle: CUmemoryPool) {
        let mut current = self.current_pool.lock();
        if *current == handle
            && let Some(default) = self.default_pool.get()
        {
            *current = default.handle;
        }
    }

    pub(crate) fn uuid(&self) -> [u8; 16] {
        uuid(self.number)
    }

    pub(super) fn identity(&self) -> DeviceIdentity {
        DeviceIdentity {
            uuid: self.uuid(),
            pci_domain: 0,
            pci_bus: self.pci_bus(),
            pci_device: 0,
        }
    }

    pub(crate) fn pci_bus(&self) -> i32 {
        FIRST_PCI_BUS + self.number
    }

    pub(super) fn handle(&self) -> CUdevice {
        CUdevice(self.ordinal)
    }
}

/// The same for each process and machine, different for each device.
fn uuid(number: i32) -> [u8; 16] {
    let mut uuid = *b"gvirtus-softgpu0";
    uuid[15] += number.unsigned_abs() as u8;
    uuid
}

/// Those of the machine.
static INSTALLED: OnceLock<Box<[Device]>> = OnceLock::new();
/// Those that `CUDA_VISIBLE_DEVICES` leaves.
static VISIBLE: OnceLock<Box<[Device]>> = OnceLock::new();
static INITIALIZED: Once = Once::new();
static IS_FORKED_CHILD: AtomicBool = AtomicBool::new(false);

/// `cuInit`.
pub(super) fn initialize() -> Result<(), CUresult> {
    if IS_FORKED_CHILD.load(Ordering::Relaxed) {
        return Err(CUresult::CUDA_ERROR_NOT_INITIALIZED);
    }
    if visible().is_empty() {
        return Err(CUresult::CUDA_ERROR_NO_DEVICE);
    }
    INITIALIZED.call_once(|| {
        // SAFETY: the function lives as long as the library, which is never unmapped.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
        usage::publish();
    });
    Ok(())
}

/// All devices of the machine, whether or not the driver is initialized. Only their identity means
/// anything.
pub(crate) fn installed() -> &'static [Device] {
    INSTALLED.get_or_init(|| {
        let total_bytes = memory_bytes();
        let count =
            number("GVIRTUS_SOFTGPU_DEVICES").map_or(1, |count| count.clamp(1, DEVICES_MAX as u64));
        (0..count as i32)
            .map(|number| Device::new(number, number, total_bytes))
            .collect()
    })
}

fn visible() -> &'static [Device] {
    VISIBLE.get_or_init(|| {
        let uuids: Vec<_> = installed().iter().map(Device::uuid).collect();
        let numbers = match std::env::var_os(VISIBLE_DEVICES) {
            Some(list) => visible_devices(&list.to_string_lossy(), &uuids),
            None => (0..uuids.len()).collect(),
        };
        let total_bytes = memory_bytes();
        (0..)
            .zip(numbers)
            .map(|(ordinal, number)| Device::new(ordinal, number as i32, total_bytes))
            .collect()
    })
}

/// The threads that the library needs stay behind in the parent, and its locks may be held by them,
/// so the child of a fork has no CUDA any more, as with a real driver.
extern "C" fn after_fork_in_child() {
    IS_FORKED_CHILD.store(true, Ordering::Relaxed);
}

fn memory_bytes() -> u64 {
    match number("GVIRTUS_SOFTGPU_MEMORY_MIB") {
        Some(mebibytes) => mebibytes.max(2).saturating_mul(1 << 20),
        None => Memory::default_bytes(),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

/// All devices that the process sees.
///
/// # Errors
///
/// `CUDA_ERROR_NOT_INITIALIZED` before `cuInit`, and in the child of a fork.
pub(super) fn devices() -> Result<&'static [Device], CUresult> {
    match INITIALIZED.is_completed() && !IS_FORKED_CHILD.load(Ordering::Relaxed) {
        true => Ok(visible()),
        false => Err(CUresult::CUDA_ERROR_NOT_INITIALIZED),
    }
}

/// The device of that ordinal.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_DEVICE` if there is none.
pub(super) fn device(handle: CUdevice) -> Result<&'static Device, CUresult> {
    usize::try_from(handle.0)
        .ok()
        .and_then(|ordinal| devices().map(|devices| devices.get(ordinal)).transpose())
        .unwrap_or(Err(CUresult::CUDA_ERROR_INVALID_DEVICE))
}

/// The device that has this number in another process.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_DEVICE` if this process does not see it.
pub(super) fn device_numbered(number: i32) -> Result<&'static Device, CUresult> {
    let mut devices = devices()?.iter();
    devices
        .find(|device| device.number == number)
        .ok_or(CUresult::CUDA_ERROR_INVALID_DEVICE)
}

/// The device in whose memory an address lies.
pub(super) fn device_of(address: u64) -> Option<&'static Device> {
    devices().ok()?.iter().find(|device| {
        device
            .memory_in_use()
            .is_some_and(|memory| memory.contains(address))
    })
}

pub(crate) unsafe fn cuDeviceGetCount(count: *mut i32) -> Result<(), CUresult> {
    out!(count = devices()?.len() as i32);
    Ok(())
}

pub(crate) unsafe fn cuDeviceGet(device: *mut CUdevice, ordinal: i32) -> Result<(), CUresult> {
    out!(device = self::device(CUdevice(ordinal))?.handle());
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetName(
    name: *mut c_char,
    len: i32,
    dev: CUdevice,
) -> Result<(), CUresult> {
    device(dev)?;
    // SAFETY: the contract of cuda.h: `name` has room for `len` bytes.
    unsafe { write_text(name, len, DEVICE_NAME) }
}

pub(crate) unsafe fn cuDeviceGetUuid(uuid: *mut CUuuid, dev: CUdevice) -> Result<(), CUresult> {
    let bytes = device(dev)?.uuid().map(|byte| byte as c_char);
    out!(uuid = CUuuid { bytes });
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetUuid_v2(uuid: *mut CUuuid, dev: CUdevice) -> Result<(), CUresult> {
    // SAFETY: the same contract.
    unsafe { cuDeviceGetUuid(uuid, dev) }
}

/// Only Windows has these.
pub(crate) fn cuDeviceGetLuid(_: *mut c_char, _: *mut u32, dev: CUdevice) -> Result<(), CUresult> {
    device(dev)?;
    Err(CUresult::CUDA_ERROR_NOT_SUPPORTED)
}

pub(crate) unsafe fn cuDeviceTotalMem_v2(bytes: *mut usize, dev: CUdevice) -> Result<(), CUresult> {
    out!(bytes = device(dev)?.total_bytes as usize);
    Ok(())
}

/// As many as fit, whatever their format.
pub(crate) unsafe fn cuDeviceGetTexture1DLinearMaxWidth(
    maxWidthInElements: *mut usize,
    format: CUarray_format,
    numChannels: u32,
    dev: CUdevice,
) -> Result<(), CUresult> {
    device(dev)?;
    array::format(format, numChannels)?;
    out!(maxWidthInElements = TEXTURE_1D_LINEAR_WIDTH_MAX as usize);
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetAttribute(
    pi: *mut i32,
    attrib: CUdevice_attribute,
    dev: CUdevice,
) -> Result<(), CUresult> {
    let value = attributes::value(device(dev)?, attrib);
    out!(pi = value.ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?);
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetExecAffinitySupport(
    pi: *mut i32,
    type_: CUexecAffinityType,
    dev: CUdevice,
) -> Result<(), CUresult> {
    device(dev)?;
    if type_ != CUexecAffinityType::CU_EXEC_AFFINITY_TYPE_SM_COUNT {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    out!(pi = 0);
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetProperties(
    prop: *mut CUdevprop,
    dev: CUdevice,
) -> Result<(), CUresult> {
    let device = device(dev)?;
    let value = |attribute| attributes::value(device, attribute).unwrap_or(0);
    out!(
        prop = CUdevprop {
            maxThreadsPerBlock: MAX_THREADS_PER_BLOCK as i32,
            maxThreadsDim: MAX_BLOCK_DIMENSIONS.map(|length| length as i32),
            maxGridSize: MAX_GRID_DIMENSIONS.map(|length| length as i32),
            sharedMemPerBlock: SHARED_BYTES_PER_BLOCK as i32,
            totalConstantMemory: value(
                CUdevice_attribute::CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY
            ),
            SIMDWidth: WARP_SIZE as i32,
            memPitch: value(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_PITCH),
            regsPerBlock: value(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK),
            clockRate: value(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE),
            textureAlign: value(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT),
        }
    );
    Ok(())
}

pub(crate) unsafe fn cuDeviceComputeCapability(
    major: *mut i32,
    minor: *mut i32,
    dev: CUdevice,
) -> Result<(), CUresult> {
    device(dev)?;
    let architecture = super::architecture::current();
    out!(major = architecture.major as i32);
    out!(minor = architecture.minor as i32);
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetByPCIBusId(
    dev: *mut CUdevice,
    pciBusId: *const c_char,
) -> Result<(), CUresult> {
    // SAFETY: the contract of cuda.h: a C string.
    let text = unsafe { read_text(pciBusId)? };
    let bus = pci_bus(text).ok_or(CUresult::CUDA_ERROR_INVALID_VALUE)?;
    let found = devices()?.iter().find(|device| device.pci_bus() == bus);
    out!(dev = found.ok_or(CUresult::CUDA_ERROR_INVALID_DEVICE)?.handle());
    Ok(())
}

pub(crate) unsafe fn cuDeviceGetPCIBusId(
    pciBusId: *mut c_char,
    len: i32,
    dev: CUdevice,
) -> Result<(), CUresult> {
    let text = format!("0000:{:02X}:00.0", device(dev)?.pci_bus());
    // SAFETY: the contract of cuda.h: `pciBusId` has room for `len` bytes.
    unsafe { write_text(pciBusId, len, &text) }
}

/// The bus of `[domain:]bus:device[.function]`, all hexadecimal; the rest must be zero.
fn pci_bus(text: &str) -> Option<i32> {
    let (head, device) = text.rsplit_once(':')?;
    let (domain, bus) = head.rsplit_once(':').unwrap_or(("0", head));
    let (device, function) = device.split_once('.').unwrap_or((device, "0"));
    let hex = |digits| i32::from_str_radix(digits, 16).ok();
    let is_zero = [domain, device, function].map(hex) == [Some(0); 3];
    hex(bus).filter(|_| is_zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_are_read_in_all_forms() {
        assert_eq!(pci_bus("0000:01:00.0"), Some(1));
        assert_eq!(pci_bus("0:1f:0"), Some(31));
        assert_eq!(pci_bus("0A:00"), Some(10));
        for wrong in ["", "01", "0001:01:00.0", "0:1:2.0", "x:y:z", "0:1:0.1"] {
            assert_eq!(pci_bus(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn uuids_differ() {
        let [one, two] = [0, 1].map(|number| Device::new(0, number, 1 << 20).uuid());
        assert_ne!(one, two);
        assert_eq!(&one, b"gvirtus-softgpu0");
    }
}
