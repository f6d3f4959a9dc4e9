// SPDX-License-Identifier: Apache-2.0
//! The parameters of a launch, from a pointer to each or from a list.

use std::ffi::c_void;

use gvirtus_abi::CUresult;

use crate::api::{INVALID_VALUE, required};
use crate::image::Kernel;

/// `CU_LAUNCH_PARAM_END`, `_BUFFER_POINTER`, `_BUFFER_SIZE` of the `extra` argument.
pub(super) const EXTRA_END: usize = 0;
pub(super) const EXTRA_BUFFER_POINTER: usize = 1;
pub(super) const EXTRA_BUFFER_SIZE: usize = 2;

/// Where the parameters are.
#[derive(Clone, Copy)]
pub(super) enum Parameters {
    /// A pointer to each.
    Each(*mut *mut c_void),
    /// All together, with their gaps.
    Together(*const u8),
    /// The kernel has none.
    None,
}

impl Parameters {
    /// # Safety
    ///
    /// As `cuLaunchKernel`.
    #[inline]
    pub(super) unsafe fn new(
        kernel: &Kernel,
        params: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> Result<Self, CUresult> {
        match (params.is_null(), extra.is_null()) {
            (false, false) => Err(INVALID_VALUE),
            (false, true) => Ok(Self::Each(params)),
            (true, true) if kernel.parameters.is_empty() => Ok(Self::None),
            (true, true) => Err(INVALID_VALUE),
            // SAFETY: the caller's promise.
            (true, false) => unsafe { Self::from_extra(kernel, extra) },
        }
    }

    /// # Safety
    ///
    /// `extra` is a list that CUDA's documentation describes.
    #[cold]
    unsafe fn from_extra(kernel: &Kernel, extra: *mut *mut c_void) -> Result<Self, CUresult> {
        let (mut buffer, mut bytes) = (std::ptr::null::<u8>(), None);
        let mut index = 0;
        loop {
            // SAFETY: the list has not ended before this element.
            let what = unsafe { extra.add(index).read() } as usize;
            if what == EXTRA_END {
                break;
            }
            // SAFETY: a value follows every name.
            let value = unsafe { extra.add(index + 1).read() };
            match what {
                EXTRA_BUFFER_POINTER => buffer = value.cast(),
                EXTRA_BUFFER_SIZE => {
                    // SAFETY: the value is a pointer to a size by CUDA's documentation.
                    bytes = Some(unsafe { required(value.cast::<usize>())?.read() });
                }
                _ => return Err(INVALID_VALUE),
            }
            index += 2;
        }
        if kernel.parameter_bytes == 0 {
            return Ok(Self::None);
        }
        match bytes {
            Some(bytes) if bytes >= kernel.parameter_bytes as usize && !buffer.is_null() => {
                Ok(Self::Together(buffer))
            }
            _ => Err(INVALID_VALUE),
        }
    }

    /// # Safety
    ///
    /// The parameters are readable.
    #[inline]
    pub(super) unsafe fn append_to(self, buffer: &mut Vec<u8>, kernel: &Kernel) {
        let bytes = kernel.parameter_bytes as usize;
        match self {
            Self::None => {}
            Self::Together(parameters) => {
                // SAFETY: `from_extra` has compared the sizes; the caller promises the rest.
                buffer.extend_from_slice(unsafe { std::slice::from_raw_parts(parameters, bytes) });
            }
            Self::Each(parameters) => {
                let start = buffer.len();
                buffer.resize(start + bytes, 0);
                for (index, (offset, size)) in kernel.parameters.iter().enumerate() {
                    let place = &mut buffer[start + *offset as usize..][..*size as usize];
                    // SAFETY: the caller promises a pointer to each parameter.
                    unsafe {
                        let from = parameters.add(index).read().cast::<u8>();
                        std::ptr::copy_nonoverlapping(from, place.as_mut_ptr(), place.len());
                    }
                }
            }
        }
    }
}
