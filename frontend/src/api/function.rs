// SPDX-License-Identifier: Apache-2.0
//! Functions: what the client knows since their image was loaded, and attributes, which are asked
//! for once.

use std::ffi::c_char;
use std::sync::Arc;

use gvirtus_abi::{CUfunction, CUfunction_attribute, CUfunctionLoadingState, CUmodule, CUresult};
use gvirtus_protocol::command::FunctionAttributes;
use gvirtus_protocol::opcode;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U32, U64};

use super::{INVALID_VALUE, Status, put, put_optional, required};
use crate::handle::Kind;
use crate::image::{AttributesOf, ImageKind, Kernel};
use crate::process::session;
use crate::session::Session;

/// `cuFuncGetAttribute`.
pub unsafe fn cuFuncGetAttribute(
    pi: *mut i32,
    attrib: CUfunction_attribute,
    hfunc: CUfunction,
) -> Status {
    let session = session()?;
    let kernel = session.kernel(hfunc.0)?;
    let context = match kernel.kind {
        ImageKind::Module(context) => context,
        ImageKind::Library => session.current()?.number,
    };
    let value = session.function_attribute(&kernel, AttributesOf::Function(context), attrib)?;
    // SAFETY: the caller's promise.
    unsafe { put(pi, value) }
}

/// `cuFuncGetModule`.
pub unsafe fn cuFuncGetModule(hmod: *mut CUmodule, hfunc: CUfunction) -> Status {
    let kernel = session()?.kernel(hfunc.0)?;
    // SAFETY: the caller's promise.
    unsafe { put(hmod, CUmodule(kernel.image.handle(Kind::Module))) }
}

/// `cuFuncGetName`. The text lives as long as the image is loaded.
pub unsafe fn cuFuncGetName(name: *mut *const c_char, hfunc: CUfunction) -> Status {
    let kernel = session()?.kernel(hfunc.0)?;
    // SAFETY: the caller's promise.
    unsafe { put(name, kernel.name.as_ptr()) }
}

/// `cuFuncGetParamInfo`.
pub unsafe fn cuFuncGetParamInfo(
    func: CUfunction,
    paramIndex: usize,
    paramOffset: *mut usize,
    paramSize: *mut usize,
) -> Status {
    let kernel = session()?.kernel(func.0)?;
    let paramOffset = required(paramOffset)?;
    let (offset, size) = kernel.parameters.get(paramIndex).ok_or(INVALID_VALUE)?;
    // SAFETY: the caller's promise.
    unsafe { put(paramOffset, *offset as usize)? };
    // SAFETY: the caller's promise.
    unsafe { put_optional(paramSize, *size as usize) };
    Ok(())
}

/// `cuFuncGetParamCount`.
pub unsafe fn cuFuncGetParamCount(func: CUfunction, paramCount: *mut usize) -> Status {
    let kernel = session()?.kernel(func.0)?;
    // SAFETY: the caller's promise.
    unsafe { put(paramCount, kernel.parameters.len()) }
}

/// `cuFuncIsLoaded`: the backend loads it when it is used, at the latest.
pub unsafe fn cuFuncIsLoaded(state: *mut CUfunctionLoadingState, function: CUfunction) -> Status {
    session()?.kernel(function.0)?;
    // SAFETY: the caller's promise.
    unsafe {
        put(
            state,
            CUfunctionLoadingState::CU_FUNCTION_LOADING_STATE_LOADED,
        )
    }
}

/// `cuFuncLoad`.
pub unsafe fn cuFuncLoad(function: CUfunction) -> Status {
    session()?.kernel(function.0).map(drop)
}

impl Session {
    /// An attribute of a kernel.
    pub(super) fn function_attribute(
        &self,
        kernel: &Kernel,
        of: AttributesOf,
        attribute: CUfunction_attribute,
    ) -> Result<i32, CUresult> {
        let all = match kernel.attributes(of) {
            Some(all) => all,
            None => self.ask_attributes(kernel, of)?,
        };
        let value = all.get(attribute.0 as usize).copied();
        value.ok_or(INVALID_VALUE)
    }

    /// Asks for all attributes and remembers them.
    pub(super) fn ask_attributes(
        &self,
        kernel: &Kernel,
        of: AttributesOf,
    ) -> Result<Arc<[i32]>, CUresult> {
        self.wire.faults().check()?;
        let (opcode, context, device) = match of {
            AttributesOf::Function(context) => (opcode::cuFuncGetAttribute, context, 0),
            AttributesOf::Kernel(device) => {
                (opcode::cuKernelGetAttribute, self.current_number(), device)
            }
        };
        let body = FunctionAttributes {
            function: U64::new(kernel.number.to_word()),
            device: U32::new(device),
        };
        let reply = self.call(opcode, context, body.as_bytes())?;
        let (words, rest) = reply.bytes().as_chunks::<8>();
        if !rest.is_empty() {
            return Err(CUresult::CUDA_ERROR_UNKNOWN);
        }
        let attributes: Arc<[i32]> = words
            .iter()
            .map(|word| gvirtus_abi::Scalar::from_word(u64::from_le_bytes(*word)))
            .collect::<Option<_>>()
            .ok_or(CUresult::CUDA_ERROR_UNKNOWN)?;
        kernel.set_attributes(of, attributes.clone());
        Ok(attributes)
    }
}
