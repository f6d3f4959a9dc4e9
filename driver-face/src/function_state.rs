// SPDX-License-Identifier: Apache-2.0
//! The launch API of before CUDA 4 (`cuda.h`: "Execution Control", deprecated): block shape,
//! shared memory and parameters are set on a function, one call each, and a launch takes what is
//! set.

use core::ffi::c_void;
use std::collections::HashMap;

use gvirtus_abi::CUresult;
use parking_lot::Mutex;

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// Most bytes of parameters (CUDA programming guide, "Kernel parameters").
const PARAMETER_BYTES_MAX: usize = 32_764;

/// `CU_LAUNCH_PARAM_BUFFER_POINTER`, `_BUFFER_SIZE` and `_END` of `cuLaunchKernel`.
const BUFFER_POINTER: usize = 1;
const BUFFER_SIZE: usize = 2;
const END: usize = 0;

/// What is set on a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionState {
    /// Threads in x, y, z; zeros if it was never set.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block.
    pub shared_bytes: u32,
    parameters: Vec<u8>,
    /// `cuParamSetSize`.
    parameter_bytes: usize,
}

/// What is set on the functions of a process, by their handles.
#[derive(Debug, Default)]
pub struct FunctionStates(Mutex<HashMap<u64, FunctionState>>);

impl FunctionStates {
    /// `cuFuncSetBlockShape`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for a length below 1.
    pub fn set_block(&self, function: u64, lengths: [i32; 3]) -> Result<(), CUresult> {
        let mut block = [0; 3];
        for (to, length) in block.iter_mut().zip(lengths) {
            *to = positive(length)?;
        }
        self.change(function, |state| state.block = block);
        Ok(())
    }

    /// `cuFuncSetSharedSize`.
    pub fn set_shared(&self, function: u64, bytes: u32) {
        self.change(function, |state| state.shared_bytes = bytes);
    }

    /// `cuParamSetSize`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if there are too many.
    pub fn set_parameter_bytes(&self, function: u64, bytes: u32) -> Result<(), CUresult> {
        let bytes = bytes as usize;
        if bytes > PARAMETER_BYTES_MAX {
            return Err(INVALID_VALUE);
        }
        self.change(function, |state| state.parameter_bytes = bytes);
        Ok(())
    }

    /// `cuParamSeti`, `cuParamSetf`, `cuParamSetv`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if it does not lie within the bytes that parameters may have.
    pub fn set_parameter(&self, function: u64, offset: i32, value: &[u8]) -> Result<(), CUresult> {
        let start = usize::try_from(offset).map_err(|_| INVALID_VALUE)?;
        let end = start.checked_add(value.len()).ok_or(INVALID_VALUE)?;
        if end > PARAMETER_BYTES_MAX {
            return Err(INVALID_VALUE);
        }
        self.change(function, |state| {
            let length = state.parameters.len().max(end);
            state.parameters.resize(length, 0);
            state.parameters[start..end].copy_from_slice(value);
        });
        Ok(())
    }

    /// What is set on a function.
    pub fn get(&self, function: u64) -> FunctionState {
        self.0.lock().get(&function).cloned().unwrap_or_default()
    }

    fn change(&self, function: u64, change: impl FnOnce(&mut FunctionState)) {
        change(self.0.lock().entry(function).or_default());
    }
}

impl FunctionState {
    /// Calls `launch` with the argument `extra` of `cuLaunchKernel` that passes the parameters.
    pub fn with_parameters<T>(mut self, launch: impl FnOnce(*mut *mut c_void) -> T) -> T {
        self.parameters.resize(self.parameter_bytes, 0);
        let mut bytes = self.parameter_bytes;
        let mut extra: [*mut c_void; 5] = [
            core::ptr::without_provenance_mut(BUFFER_POINTER),
            self.parameters.as_mut_ptr().cast(),
            core::ptr::without_provenance_mut(BUFFER_SIZE),
            (&raw mut bytes).cast(),
            core::ptr::without_provenance_mut(END),
        ];
        launch(extra.as_mut_ptr())
    }
}

/// A length of a grid or block.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE` below 1.
pub fn positive(length: i32) -> Result<u32, CUresult> {
    match u32::try_from(length) {
        Ok(length) if length > 0 => Ok(length),
        _ => Err(INVALID_VALUE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_as_long_as_they_were_said_to_be() {
        let states = FunctionStates::default();
        assert_eq!(states.set_parameter(1, 4, &[1, 2]), Ok(()));
        assert_eq!(states.set_parameter(1, 0, &[9]), Ok(()));
        assert_eq!(states.set_parameter_bytes(1, 8), Ok(()));
        states.get(1).with_parameters(|extra| {
            // SAFETY: five elements, of which the second points to as many bytes as the fourth
            // says.
            unsafe {
                assert_eq!(extra.add(3).read().cast::<usize>().read(), 8);
                let bytes = extra.add(1).read().cast::<[u8; 8]>().read();
                assert_eq!(bytes, [9, 0, 0, 0, 1, 2, 0, 0]);
            }
        });
        assert_eq!(states.get(2), FunctionState::default());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let states = FunctionStates::default();
        assert_eq!(states.set_block(1, [4, 0, 1]), Err(INVALID_VALUE));
        assert_eq!(states.set_block(1, [4, 2, 1]), Ok(()));
        assert_eq!(states.get(1).block, [4, 2, 1]);
        assert_eq!(states.set_parameter(1, -1, &[0]), Err(INVALID_VALUE));
        assert_eq!(states.set_parameter(1, 32_764, &[0]), Err(INVALID_VALUE));
        assert_eq!(states.set_parameter_bytes(1, 1 << 20), Err(INVALID_VALUE));
    }
}
