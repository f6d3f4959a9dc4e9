// SPDX-License-Identifier: Apache-2.0
//! Libraries and modules, and the kernels in them.
//!
//! A kernel has two handles, `CUkernel` and `CUfunction`; both lead to the same place, and the same
//! number travels. So do a library and the module that `cuLibraryGetModule` makes of it.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gvirtus_abi::{CUfunction_attribute, CUresult};
use gvirtus_protocol::command::{FunctionNumber, LoadedImage};
use gvirtus_protocol::limits::PARAMETER_BYTES_MAX;
use parking_lot::Mutex;

use crate::handle::{Key, Slab};
use crate::limits::OCCUPANCY_ANSWERS_MAX;

/// What a library or module was loaded as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageKind {
    /// `cuLibraryLoadData`: belongs to no context.
    Library,
    /// `cuModuleLoadData`: belongs to the context with this number.
    Module(u16),
}

/// A library or module.
#[derive(Debug)]
pub(crate) struct Image {
    /// What it was loaded as.
    pub(crate) kind: ImageKind,
    /// In the driver's order.
    pub(crate) kernels: Vec<Arc<Kernel>>,
    by_name: HashMap<Box<CStr>, usize>,
    variables: Mutex<HashMap<Box<CStr>, Vec<Variable>>>,
}

/// Where a variable of an image is in one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Number of the context.
    pub(crate) context: u16,
    /// Of its first byte.
    pub(crate) address: u64,
    /// Its size.
    pub(crate) bytes: u64,
}

/// A kernel.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// What travels.
    pub(crate) number: FunctionNumber,
    /// The library or module.
    pub(crate) image: Key,
    /// What that was loaded as.
    pub(crate) kind: ImageKind,
    /// As it is in the image. Applications keep pointers to it.
    pub(crate) name: CString,
    /// Offset and size in bytes of every parameter.
    pub(crate) parameters: Vec<(u32, u32)>,
    /// Bytes of the parameters together, holes included.
    pub(crate) parameter_bytes: u32,
    /// Place in the session's kernels plus one, and generation; 0 before the first handle.
    key: AtomicU64,
    /// Answers of the driver that stay true until somebody sets an attribute.
    pub(crate) answers: Mutex<Answers>,
    /// What launches are compared with, once attributes were asked for.
    limits: Mutex<KernelLimits>,
}

/// What a kernel allows a launch to ask for, as far as the driver has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelLimits {
    /// Most threads of a block.
    pub(crate) threads_per_block: Option<u32>,
    /// Most dynamic shared memory of a block, in bytes.
    pub(crate) shared_bytes: Option<u32>,
}

/// Answers about a kernel.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    attributes: Vec<(AttributesOf, Arc<[i32]>)>,
    occupancy: HashMap<OccupancyQuestion, u64>,
}

/// Whose attributes: those of the kernel on a device, or those of the function in a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttributesOf {
    /// `cuFuncGetAttribute`, in the context with this number.
    Function(u16),
    /// `cuKernelGetAttribute`, on the device with this ordinal.
    Kernel(u32),
}

/// A question about a kernel's occupancy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OccupancyQuestion {
    /// The opcode.
    pub(crate) opcode: u16,
    /// Number of the current context.
    pub(crate) context: u16,
    /// The arguments after the function.
    pub(crate) arguments: [u64; 3],
}

impl Image {
    /// From what the worker tells. An error if that makes no sense.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_UNKNOWN`: the worker's fault.
    pub(crate) fn new(key: Key, kind: ImageKind, loaded: LoadedImage) -> Result<Self, CUresult> {
        let mut image = Self {
            kind,
            kernels: Vec::with_capacity(loaded.kernels.len()),
            by_name: HashMap::with_capacity(loaded.kernels.len()),
            variables: Mutex::default(),
        };
        for (index, kernel) in loaded.kernels.into_iter().enumerate() {
            let bytes = kernel.parameter_bytes();
            let name = CString::new(kernel.name).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?;
            if bytes > PARAMETER_BYTES_MAX {
                return Err(CUresult::CUDA_ERROR_UNKNOWN);
            }
            let number = FunctionNumber {
                image: key.number(),
                kernel: u32::try_from(index).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?,
            };
            image.by_name.insert(name.clone().into_boxed_c_str(), index);
            image.kernels.push(Arc::new(Kernel {
                number,
                image: key,
                kind,
                name,
                parameters: kernel.parameters,
                parameter_bytes: u32::try_from(bytes).map_err(|_| CUresult::CUDA_ERROR_UNKNOWN)?,
                key: AtomicU64::new(0),
                answers: Mutex::default(),
                limits: Mutex::default(),
            }));
        }
        Ok(image)
    }

    /// Where a variable was when it was asked for; the context may have ended since.
    pub(crate) fn variable(&self, name: &CStr, context: u16) -> Option<Variable> {
        let variables = self.variables.lock();
        let known = variables.get(name)?;
        known.iter().find(|v| v.context == context).copied()
    }

    /// Remembers where a variable is.
    pub(crate) fn set_variable(&self, name: &CStr, variable: Variable) {
        let mut variables = self.variables.lock();
        let known = variables.entry(name.into()).or_default();
        known.retain(|v| v.context != variable.context);
        known.push(variable);
    }

    /// The kernel with this name.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_NOT_FOUND`.
    pub(crate) fn kernel(&self, name: &CStr) -> Result<&Arc<Kernel>, CUresult> {
        let index = self
            .by_name
            .get(name)
            .ok_or(CUresult::CUDA_ERROR_NOT_FOUND)?;
        Ok(&self.kernels[*index])
    }
}

impl Kernel {
    /// The kernel's place among the session's, taken at the first need: a library may hold
    /// thousands of kernels of which a program uses few.
    pub(crate) fn key(self: &Arc<Self>, kernels: &Slab<Arc<Self>>) -> Result<Key, CUresult> {
        // The lock makes sure that the kernel gets only one place.
        let _answers = self.answers.lock();
        if let Some(key) = self.known_key() {
            return Ok(key);
        }
        let key = kernels
            .insert(self.clone())
            .ok_or(CUresult::CUDA_ERROR_OUT_OF_MEMORY)?;
        let word = (u64::from(key.generation) << 32) | u64::from(key.index + 1);
        self.key.store(word, Ordering::Release);
        Ok(key)
    }

    /// The kernel's place, if it has one.
    #[allow(clippy::cast_possible_truncation, reason = "the halves are meant")]
    pub(crate) fn known_key(&self) -> Option<Key> {
        let word = self.key.load(Ordering::Acquire);
        Some(Key {
            index: (word as u32).checked_sub(1)?,
            generation: (word >> 32) as u32,
        })
    }

    /// What launches are compared with.
    pub(crate) fn limits(&self) -> KernelLimits {
        *self.limits.lock()
    }

    /// The attributes, if they have been asked for.
    pub(crate) fn attributes(&self, of: AttributesOf) -> Option<Arc<[i32]>> {
        let answers = self.answers.lock();
        let known = answers.attributes.iter().find(|(known, _)| *known == of)?;
        Some(known.1.clone())
    }

    /// Remembers attributes.
    pub(crate) fn set_attributes(&self, of: AttributesOf, attributes: Arc<[i32]>) {
        let known = |attribute: CUfunction_attribute| {
            let value = attributes.get(attribute.0 as usize)?;
            u32::try_from(*value).ok()
        };
        *self.limits.lock() = KernelLimits {
            threads_per_block: known(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
            shared_bytes: known(
                CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            ),
        };
        let mut answers = self.answers.lock();
        answers.attributes.retain(|(known, _)| *known != of);
        answers.attributes.push((of, attributes));
    }

    /// The answer to a question that was asked before.
    pub(crate) fn occupancy(&self, question: &OccupancyQuestion) -> Option<u64> {
        self.answers.lock().occupancy.get(question).copied()
    }

    /// Remembers an answer.
    pub(crate) fn set_occupancy(&self, question: OccupancyQuestion, answer: u64) {
        let mut answers = self.answers.lock();
        if answers.occupancy.len() >= OCCUPANCY_ANSWERS_MAX {
            answers.occupancy.clear();
        }
        answers.occupancy.insert(question, answer);
    }

    /// Forgets what an attribute's new value may change.
    pub(crate) fn forget_answers(&self) {
        *self.answers.lock() = Answers::default();
        *self.limits.lock() = KernelLimits::default();
    }
}
