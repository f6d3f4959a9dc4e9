// SPDX-License-Identifier: Apache-2.0
//! What a program registers before `main`: device code, and the host addresses that stand for
//! kernels and variables in it. Code is given to the driver when something in it is first used.

use core::ffi::{CStr, c_char, c_void};
use std::collections::{BTreeSet, HashMap};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gvirtus_abi::{CUdeviceptr, CUkernel, CUlibrary, CUlibraryOption, CUmodule, CUresult};
use gvirtus_driver_face::log;
use gvirtus_runtime_abi::cudaError;
use parking_lot::{Mutex, RwLock};

use crate::context::{ensure_current, initialized};
use crate::driver::{Driver, driver};
use crate::error::{Result, check};
use crate::thread::{remember_kernel, remembered_kernel};

/// A registered fat binary: one translation unit's device code, or all of a linked program's.
pub(crate) struct Fatbin {
    /// `struct __fatBinC_Wrapper_t` in the program's image.
    wrapper: usize,
    library: Mutex<Option<Result<CUlibrary>>>,
    managed: Mutex<Vec<Managed>>,
}

/// A `__managed__` variable.
#[derive(Clone, Copy)]
struct Managed {
    name: Name,
    /// Where the program keeps the variable's address.
    host_pointer: usize,
}

/// A device name in the program's image, which lasts as long as the registration.
#[derive(Clone, Copy)]
struct Name(usize);

impl Name {
    /// # Safety
    ///
    /// The registration that it came with has not been taken back.
    unsafe fn as_ptr(self) -> *const c_char {
        self.0 as *const c_char
    }
}

struct Kernel {
    fatbin: &'static Fatbin,
    name: Name,
    /// Of the driver; zero until the first use.
    handle: AtomicU64,
}

#[derive(Clone, Copy)]
struct Variable {
    fatbin: &'static Fatbin,
    name: Name,
    managed: bool,
}

/// A texture or surface reference of CUDA 11.
pub(crate) struct Reference {
    fatbin: &'static Fatbin,
    name: Name,
    /// Integers are read as numbers from 0 to 1, or from -1.
    pub(crate) reads_normalized: bool,
    /// Where the bound memory begins, as texture fetches must count it; nothing if none is bound.
    pub(crate) offset_bytes: Mutex<Option<usize>>,
}

static KERNELS: RwLock<Option<HashMap<usize, Kernel>>> = RwLock::new(None);
static VARIABLES: RwLock<Option<HashMap<usize, Variable>>> = RwLock::new(None);
static REFERENCES: RwLock<Option<HashMap<usize, Arc<Reference>>>> = RwLock::new(None);
static FATBINS: Mutex<Vec<&'static Fatbin>> = Mutex::new(Vec::new());

/// Changes whenever a registration is taken back: then nobody's remembered kernels are good.
static GENERATION: AtomicU32 = AtomicU32::new(1);

/// The handle that the program gets for a fat binary.
pub(crate) fn handle_of(fatbin: &'static Fatbin) -> *mut *mut c_void {
    std::ptr::from_ref(fatbin).cast_mut().cast()
}

/// The fat binary of a handle.
///
/// # Safety
///
/// The handle is null or from [`handle_of`], and not taken back.
pub(crate) unsafe fn fatbin_of(handle: *mut *mut c_void) -> Option<&'static Fatbin> {
    // SAFETY: fat binaries are leaked, so the reference is good for ever.
    unsafe { handle.cast::<Fatbin>().as_ref() }
}

/// Registers a fat binary.
pub(crate) fn register(wrapper: *mut c_void) -> &'static Fatbin {
    let fatbin: &'static Fatbin = Box::leak(Box::new(Fatbin {
        wrapper: wrapper as usize,
        library: Mutex::new(None),
        managed: Mutex::new(Vec::new()),
    }));
    FATBINS.lock().push(fatbin);
    fatbin
}

/// Takes a registration back; the answer says whether it was the last one.
pub(crate) fn unregister(fatbin: &'static Fatbin) -> bool {
    GENERATION.fetch_add(1, Ordering::AcqRel);
    let is_ours = |other: &&'static Fatbin| std::ptr::eq(*other, fatbin);
    if let Some(kernels) = KERNELS.write().as_mut() {
        kernels.retain(|_, kernel| !is_ours(&kernel.fatbin));
    }
    if let Some(variables) = VARIABLES.write().as_mut() {
        variables.retain(|_, variable| !is_ours(&variable.fatbin));
    }
    if let Some(references) = REFERENCES.write().as_mut() {
        references.retain(|_, reference| !is_ours(&reference.fatbin));
    }
    if let (Some(Ok(library)), Ok(driver)) = (fatbin.library.lock().take(), driver()) {
        // SAFETY: the library was loaded here and nobody is told of it any more.
        unsafe { driver.cuLibraryUnload(library) };
    }
    let mut fatbins = FATBINS.lock();
    fatbins.retain(|other| !is_ours(other));
    fatbins.is_empty()
}

/// Registers a kernel under the address of its host function.
///
/// # Safety
///
/// The name lasts as long as the fat binary's registration.
pub(crate) unsafe fn register_kernel(fatbin: &'static Fatbin, host: *const c_void, name: &CStr) {
    let kernel = Kernel {
        fatbin,
        name: Name(name.as_ptr() as usize),
        handle: AtomicU64::new(0),
    };
    KERNELS
        .write()
        .get_or_insert_with(HashMap::new)
        .insert(host as usize, kernel);
}

/// Registers a variable under its host address.
///
/// # Safety
///
/// The name lasts as long as the fat binary's registration.
pub(crate) unsafe fn register_variable(fatbin: &'static Fatbin, host: *const c_void, name: &CStr) {
    let variable = Variable {
        fatbin,
        name: Name(name.as_ptr() as usize),
        managed: false,
    };
    insert_variable(host, variable);
}

/// Registers a managed variable: the program reads its address from `host_pointer`.
///
/// # Safety
///
/// The name and the pointer last as long as the fat binary's registration.
pub(crate) unsafe fn register_managed(
    fatbin: &'static Fatbin,
    host_pointer: *mut *mut c_void,
    name: &CStr,
) {
    let name = Name(name.as_ptr() as usize);
    fatbin.managed.lock().push(Managed {
        name,
        host_pointer: host_pointer as usize,
    });
    let variable = Variable {
        fatbin,
        name,
        managed: true,
    };
    insert_variable(host_pointer.cast(), variable);
}

/// Registers a texture or surface reference under its host variable.
///
/// # Safety
///
/// The name lasts as long as the fat binary's registration.
pub(crate) unsafe fn register_reference(
    fatbin: &'static Fatbin,
    host: *const c_void,
    name: &CStr,
    reads_normalized: bool,
) {
    let reference = Reference {
        fatbin,
        name: Name(name.as_ptr() as usize),
        reads_normalized,
        offset_bytes: Mutex::new(None),
    };
    REFERENCES
        .write()
        .get_or_insert_with(HashMap::new)
        .insert(host as usize, Arc::new(reference));
}

/// The reference of a host variable.
pub(crate) fn reference(host: *const c_void) -> Option<Arc<Reference>> {
    REFERENCES.read().as_ref()?.get(&(host as usize)).cloned()
}

impl Reference {
    /// Its module in the current context, and its name there.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub(crate) fn place(&self) -> Result<(CUmodule, *const c_char)> {
        let library = self.fatbin.library()?;
        ensure_current()?;
        let mut module = CUmodule::NULL;
        // SAFETY: the output is a local.
        check(unsafe { driver()?.cuLibraryGetModule(&raw mut module, library) })?;
        // SAFETY: the registration stood a moment ago; a program that takes it back while it uses
        // the reference has the same race with NVIDIA's library.
        Ok((module, unsafe { self.name.as_ptr() }))
    }
}

fn insert_variable(host: *const c_void, variable: Variable) {
    VARIABLES
        .write()
        .get_or_insert_with(HashMap::new)
        .insert(host as usize, variable);
}

impl Fatbin {
    /// The driver's library for this code, loaded at the first use, its managed variables in place.
    ///
    /// # Errors
    ///
    /// The driver's, again at each use.
    pub(crate) fn library(&self) -> Result<CUlibrary> {
        let mut library = self.library.lock();
        *library.get_or_insert_with(|| self.load())
    }

    #[cold]
    fn load(&self) -> Result<CUlibrary> {
        ensure_current()?;
        let (driver, _) = initialized()?;
        let mut library = CUlibrary::NULL;
        // The program's image keeps the code, so the driver needs no copy.
        let mut options = [CUlibraryOption::CU_LIBRARY_BINARY_IS_PRESERVED];
        let mut values = [std::ptr::without_provenance_mut::<c_void>(1)];
        // SAFETY: the program registered the wrapper and has not taken it back; the options are
        // locals of as many entries as said.
        check(unsafe {
            driver.cuLibraryLoadData(
                &raw mut library,
                self.wrapper as *const c_void,
                null_mut(),
                null_mut(),
                0,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
                1,
            )
        })?;
        for managed in self.managed.lock().iter() {
            self.place(driver, library, managed)?;
        }
        Ok(library)
    }

    fn place(&self, driver: &Driver, library: CUlibrary, managed: &Managed) -> Result<()> {
        let (mut address, mut bytes) = (CUdeviceptr::default(), 0);
        // SAFETY: the registration stands, since its library is being loaded; outputs are locals.
        check(unsafe {
            driver.cuLibraryGetManaged(
                &raw mut address,
                &raw mut bytes,
                library,
                managed.name.as_ptr(),
            )
        })?;
        // SAFETY: the program registered this pointer for the variable's address.
        unsafe { *(managed.host_pointer as *mut u64) = address.0 };
        Ok(())
    }
}

/// The driver's kernel for a host function.
///
/// # Errors
///
/// `cudaErrorInvalidDeviceFunction` if nothing is registered there, and the driver's.
#[inline]
pub(crate) fn kernel(host: *const c_void) -> Result<CUkernel> {
    let generation = GENERATION.load(Ordering::Acquire);
    match remembered_kernel(host as usize, generation) {
        Some(kernel) => Ok(kernel),
        None => find_kernel(host as usize, generation),
    }
}

#[cold]
fn find_kernel(host: usize, generation: u32) -> Result<CUkernel> {
    let kernels = KERNELS.read();
    let Some(kernel) = kernels.as_ref().and_then(|kernels| kernels.get(&host)) else {
        return library_kernel(host as u64);
    };
    let known = kernel.handle.load(Ordering::Acquire);
    let handle = if known != 0 {
        CUkernel(known)
    } else {
        let found = load_kernel(kernel)?;
        kernel.handle.store(found.0, Ordering::Release);
        found
    };
    remember_kernel(host, generation, handle);
    Ok(handle)
}

/// Kernels that the program has got from a library of its own: it may launch them by their handles.
static LIBRARY_KERNELS: RwLock<BTreeSet<u64>> = RwLock::new(BTreeSet::new());

/// Lets a handle stand for its kernel.
pub(crate) fn know_kernel(kernel: CUkernel) {
    LIBRARY_KERNELS.write().insert(kernel.0);
}

fn library_kernel(handle: u64) -> Result<CUkernel> {
    match LIBRARY_KERNELS.read().contains(&handle) {
        true => Ok(CUkernel(handle)),
        false => Err(cudaError::cudaErrorInvalidDeviceFunction),
    }
}

fn load_kernel(kernel: &Kernel) -> Result<CUkernel> {
    let library = kernel.fatbin.library()?;
    let mut handle = CUkernel::NULL;
    // SAFETY: the registration stands, since it was found under the registry's lock.
    let status =
        unsafe { driver()?.cuLibraryGetKernel(&raw mut handle, library, kernel.name.as_ptr()) };
    match status {
        CUresult::CUDA_ERROR_NOT_FOUND => {
            // SAFETY: as above.
            let name = unsafe { CStr::from_ptr(kernel.name.as_ptr()) };
            log::write(
                log::Level::Warn,
                format_args!("the device code has no kernel {}", name.to_string_lossy()),
            );
            Err(cudaError::cudaErrorInvalidDeviceFunction)
        }
        other => check(other).map(|()| handle),
    }
}

/// Where a variable is in the current context's device memory, and its size in bytes.
///
/// # Errors
///
/// `cudaErrorInvalidSymbol` if nothing is registered there, and the driver's.
pub(crate) fn variable(host: *const c_void) -> Result<(CUdeviceptr, usize)> {
    let registered = VARIABLES
        .read()
        .as_ref()
        .and_then(|variables| variables.get(&(host as usize)).copied());
    let variable = registered
        .or_else(|| managed_at(host))
        .ok_or(cudaError::cudaErrorInvalidSymbol)?;
    let library = variable.fatbin.library()?;
    ensure_current()?;
    let driver = driver()?;
    let (mut address, mut bytes) = (CUdeviceptr::default(), 0);
    // SAFETY: the registration stood a moment ago; a program that takes it back while it uses the
    // variable has the same race with NVIDIA's library.
    let status = unsafe {
        let (address, bytes, name) = (&raw mut address, &raw mut bytes, variable.name.as_ptr());
        if variable.managed {
            driver.cuLibraryGetManaged(address, bytes, library, name)
        } else {
            driver.cuLibraryGetGlobal(address, bytes, library, name)
        }
    };
    match status {
        CUresult::CUDA_ERROR_NOT_FOUND => Err(cudaError::cudaErrorInvalidSymbol),
        other => check(other).map(|()| (address, bytes)),
    }
}

/// The managed variable at an address: in host code its name means the variable itself, not what it
/// was registered with.
fn managed_at(address: *const c_void) -> Option<Variable> {
    let fatbins = FATBINS.lock();
    fatbins.iter().find_map(|fatbin| {
        if fatbin.managed.lock().is_empty() {
            return None;
        }
        // Without a library the variables have no addresses yet.
        fatbin.library().ok()?;
        let managed = fatbin.managed.lock();
        // SAFETY: the registration stands, since its fat binary is listed.
        let found = managed
            .iter()
            .find(|managed| unsafe { *(managed.host_pointer as *const *const c_void) } == address);
        found.map(|managed| Variable {
            fatbin,
            name: managed.name,
            managed: true,
        })
    })
}

/// No fat binary, for a null handle.
pub(crate) const fn no_fatbin() -> *mut *mut c_void {
    null::<*mut c_void>().cast_mut()
}

/// The host function of a driver's kernel; the handle itself for a kernel that no host function
/// stands for.
pub(crate) fn host_function(kernel: CUkernel) -> *const c_void {
    let kernels = KERNELS.read();
    let found = kernels.iter().flatten().find_map(|(host, registered)| {
        (registered.handle.load(Ordering::Acquire) == kernel.0).then_some(*host)
    });
    found.unwrap_or(kernel.0 as usize) as *const c_void
}
