// SPDX-License-Identifier: Apache-2.0
//! `cuGetProcAddress`: which exported function a base name means to a client built for a given CUDA
//! version (CUDA driver API, "Driver Entry Point Access").

use core::ffi::{CStr, c_char, c_void};

use gvirtus_abi::{CUdriverProcAddress_flags, CUdriverProcAddressQueryResult, CUresult};

/// The default stream of an entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DefaultStream {
    /// The plain symbol: the legacy default stream, or none at all.
    Legacy,
    /// A `_ptsz` or `_ptds` symbol: the calling thread's.
    PerThread,
}

/// One exported symbol.
#[derive(Clone, Copy, Debug)]
pub struct ProcEntry {
    /// What clients ask for, for example `cuMemAlloc`.
    pub base: &'static str,
    /// First CUDA version (1000 × major + 10 × minor) that means this symbol by `base`.
    pub since: u32,
    /// Which default stream it uses.
    pub default_stream: DefaultStream,
    /// The exported name, for example `cuMemAlloc_v2`.
    pub symbol: &'static str,
    /// Its address.
    pub address: *const c_void,
}

// SAFETY: the address of a function, which all threads may call; everything else is plain data.
unsafe impl Sync for ProcEntry {}

/// The answer for `name`, asked for by a client built for CUDA `version` with `flags`
/// (`CUdriverProcAddress_flags`).
///
/// `table` is sorted by base name. The newest entry that is not newer than `version` wins; with the
/// per-thread flag a `_ptsz`/`_ptds` entry wins over the plain one of the same function. A name
/// that is no base name is looked up as an exported symbol.
///
/// # Errors
///
/// Why there is no address.
pub fn proc_address(
    table: &[ProcEntry],
    name: &str,
    version: u32,
    flags: u64,
) -> Result<*const c_void, CUdriverProcAddressQueryResult> {
    let first = table.partition_point(|entry| entry.base < name);
    let versions = &table[first..];
    let versions = &versions[..versions.partition_point(|entry| entry.base == name)];
    if versions.is_empty() {
        let exact = table.iter().find(|entry| entry.symbol == name);
        let exact =
            exact.ok_or(CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND)?;
        return Ok(exact.address);
    }
    let per_thread = flags
        & u64::from(CUdriverProcAddress_flags::CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM.0)
        != 0;
    versions
        .iter()
        .filter(|entry| per_thread || entry.default_stream == DefaultStream::Legacy)
        .filter(|entry| entry.since <= version)
        .max_by_key(|entry| (entry.since, entry.default_stream))
        .map(|entry| entry.address)
        .ok_or(CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT)
}

/// `cuGetProcAddress` before CUDA 12: a name without an address is `CUDA_ERROR_NOT_FOUND`.
///
/// # Safety
///
/// `symbol` is null or a C string, `function` null or valid for writing.
pub unsafe fn write_proc_address_v1(
    table: &[ProcEntry],
    symbol: *const c_char,
    function: *mut *mut c_void,
    version: i32,
    flags: u64,
) -> CUresult {
    // SAFETY: the caller's promise.
    match unsafe { write(table, symbol, function, version, flags) } {
        Ok(Ok(())) => CUresult::CUDA_SUCCESS,
        Ok(Err(_)) => CUresult::CUDA_ERROR_NOT_FOUND,
        Err(status) => status,
    }
}

/// `cuGetProcAddress_v2`: a name without an address is a success that writes null and says why in
/// `symbol_status`.
///
/// # Safety
///
/// `symbol` is null or a C string; `function` and `symbol_status` are null or valid for writing.
pub unsafe fn write_proc_address_v2(
    table: &[ProcEntry],
    symbol: *const c_char,
    function: *mut *mut c_void,
    version: i32,
    flags: u64,
    symbol_status: *mut CUdriverProcAddressQueryResult,
) -> CUresult {
    // SAFETY: the caller's promise.
    let found = match unsafe { write(table, symbol, function, version, flags) } {
        Ok(found) => found,
        Err(status) => return status,
    };
    if !symbol_status.is_null() {
        let status = match found {
            Ok(()) => CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS,
            Err(status) => status,
        };
        // SAFETY: not null, and then valid for writing by the caller's promise.
        unsafe { symbol_status.write(status) };
    }
    CUresult::CUDA_SUCCESS
}

unsafe fn write(
    table: &[ProcEntry],
    symbol: *const c_char,
    function: *mut *mut c_void,
    version: i32,
    flags: u64,
) -> Result<Result<(), CUdriverProcAddressQueryResult>, CUresult> {
    let known_flags = CUdriverProcAddress_flags::CU_GET_PROC_ADDRESS_LEGACY_STREAM.0
        | CUdriverProcAddress_flags::CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM.0;
    let (Ok(version), false) = (u32::try_from(version), flags & !u64::from(known_flags) != 0)
    else {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    };
    if symbol.is_null() || function.is_null() {
        return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
    }
    // SAFETY: not null, and then a C string by the caller's promise.
    let name = unsafe { CStr::from_ptr(symbol) };
    // Exported names are ASCII, so anything else is simply not one of them.
    let found = proc_address(table, name.to_str().unwrap_or(""), version, flags);
    crate::log!(
        Trace,
        "cuGetProcAddress({name:?}, {version}, {flags}) = {found:?}"
    );
    // SAFETY: not null, and then valid for writing by the caller's promise.
    unsafe { function.write(found.map_or(core::ptr::null_mut(), <*const c_void>::cast_mut)) };
    Ok(found.map(|_| ()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::codegen;

    const NOT_FOUND: CUdriverProcAddressQueryResult =
        CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    const TOO_NEW: CUdriverProcAddressQueryResult =
        CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;

    /// The real table; the address of a symbol is its name's.
    fn table() -> Vec<ProcEntry> {
        let functions = gvirtus_abi::table::driver_api();
        codegen::entries(&functions)
            .into_iter()
            .map(|entry| {
                let symbol: &'static str = entry.symbol.leak();
                ProcEntry {
                    base: entry.base.to_owned().leak(),
                    since: entry.since,
                    default_stream: entry.default_stream,
                    symbol,
                    address: symbol.as_ptr().cast(),
                }
            })
            .collect()
    }

    fn ask(
        table: &[ProcEntry],
        name: &str,
        version: u32,
        flags: u64,
    ) -> Result<&'static str, CUdriverProcAddressQueryResult> {
        let address = proc_address(table, name, version, flags)?;
        Ok(table
            .iter()
            .find(|entry| entry.address == address)
            .expect("an address of the table")
            .symbol)
    }

    #[test]
    fn the_newest_version_that_is_not_too_new_wins() {
        let table = table();
        assert_eq!(ask(&table, "cuMemAlloc", 2000, 0), Ok("cuMemAlloc"));
        assert_eq!(ask(&table, "cuMemAlloc", 13050, 1), Ok("cuMemAlloc_v2"));
        assert_eq!(
            ask(&table, "cuGetProcAddress", 11080, 0),
            Ok("cuGetProcAddress")
        );
        assert_eq!(
            ask(&table, "cuGetProcAddress", 12000, 0),
            Ok("cuGetProcAddress_v2")
        );
        assert_eq!(
            ask(&table, "cuCtxGetDevice", 13000, 0),
            Ok("cuCtxGetDevice_v2")
        );
        assert_eq!(ask(&table, "cuLibraryLoadData", 11080, 0), Err(TOO_NEW));
        assert_eq!(ask(&table, "cuMakeCoffee", 13050, 0), Err(NOT_FOUND));
        assert_eq!(ask(&table, "", 13050, 0), Err(NOT_FOUND));
    }

    #[test]
    fn the_per_thread_flag_prefers_the_variant() {
        let table = table();
        assert_eq!(
            ask(&table, "cuLaunchKernel", 7000, 2),
            Ok("cuLaunchKernel_ptsz")
        );
        assert_eq!(ask(&table, "cuLaunchKernel", 7000, 1), Ok("cuLaunchKernel"));
        assert_eq!(ask(&table, "cuLaunchKernel", 4000, 2), Ok("cuLaunchKernel"));
        assert_eq!(
            ask(&table, "cuMemcpyHtoD", 13050, 2),
            Ok("cuMemcpyHtoD_v2_ptds")
        );
        assert_eq!(ask(&table, "cuMemAlloc", 13050, 2), Ok("cuMemAlloc_v2"));
    }

    #[test]
    fn explicit_symbols_are_found_too() {
        let table = table();
        assert_eq!(ask(&table, "cuMemAlloc_v2", 13050, 0), Ok("cuMemAlloc_v2"));
        assert_eq!(
            ask(&table, "cuStreamQuery_ptsz", 13050, 0),
            Ok("cuStreamQuery_ptsz")
        );
    }

    #[test]
    fn the_newest_variant_belongs_to_the_newest_function() {
        let table = table();
        let mut newest = BTreeMap::new();
        for function in gvirtus_abi::table::driver_api() {
            newest.insert(function.base.clone(), function);
        }
        for (base, function) in newest {
            let symbols: Vec<String> = function.symbols().collect();
            assert_eq!(ask(&table, &base, u32::MAX, 1), Ok(symbols[0].as_str()));
            let variant = symbols.last().map(String::as_str).ok_or(NOT_FOUND);
            assert_eq!(ask(&table, &base, u32::MAX, 2), variant);
        }
    }

    #[test]
    fn the_two_versions_report_a_missing_name_differently() {
        let table = table();
        let name = c"cuMakeCoffee".as_ptr();
        let mut function = core::ptr::dangling_mut::<c_void>();
        let mut status = CUdriverProcAddressQueryResult::CU_GET_PROC_ADDRESS_SUCCESS;
        // SAFETY: a C string, and two places valid for writing.
        let result = unsafe {
            write_proc_address_v2(&table, name, &raw mut function, 13050, 0, &raw mut status)
        };
        assert_eq!((result, status), (CUresult::CUDA_SUCCESS, NOT_FOUND));
        assert!(function.is_null());
        // SAFETY: as above.
        let result = unsafe { write_proc_address_v1(&table, name, &raw mut function, 13050, 0) };
        assert_eq!(result, CUresult::CUDA_ERROR_NOT_FOUND);
        // SAFETY: as above.
        let result = unsafe { write_proc_address_v1(&table, name, &raw mut function, 13050, 4) };
        assert_eq!(result, CUresult::CUDA_ERROR_INVALID_VALUE);
    }
}
