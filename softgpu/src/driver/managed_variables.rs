// SPDX-License-Identifier: Apache-2.0
//! The managed variables of a library, of which there is one for all contexts and devices.

use std::collections::HashMap;
use std::sync::Arc;

use gvirtus_abi::{CUcontext, CUresult};

use super::allocations::{self, Allocation, Kind};
use super::device::devices;
use super::managed;
use super::memory::Failure;
use crate::ir::Module;
use crate::memory::{Memory, share, unshare};

/// See the module.
pub(super) struct ManagedVariables {
    memory: Arc<Memory>,
    /// By index in the module.
    addresses: HashMap<usize, u64>,
    /// Name, address and bytes.
    variables: Vec<(String, u64, u64)>,
}

impl ManagedVariables {
    /// Puts them into the memory of the first device; nothing if there are none.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY`; `CUDA_ERROR_NOT_SUPPORTED` for an initial value that is an
    /// address, which would differ between contexts.
    pub(super) fn place(module: &Module) -> Result<Option<Self>, CUresult> {
        if !module.variables.iter().any(|variable| variable.managed) {
            return Ok(None);
        }
        let device = devices()?.first().ok_or(CUresult::CUDA_ERROR_NO_DEVICE)?;
        let mut placed = Self {
            memory: Arc::clone(device.memory()?),
            addresses: HashMap::new(),
            variables: Vec::new(),
        };
        let managed = module.variables.iter().enumerate();
        for (index, variable) in managed.filter(|(_, variable)| variable.managed) {
            if !variable.relocations.is_empty() {
                return Err(gvirtus_driver_face::unsupported(
                    "a managed variable that begins as an address",
                ));
            }
            let bytes = variable.size.max(1);
            let alignment = u64::from(variable.alignment.max(1));
            let base = (placed.memory)
                .alloc_pages(bytes, alignment)
                .map_err(Failure::from)?;
            placed.addresses.insert(index, base);
            placed
                .variables
                .push((variable.name.clone(), base, variable.size));
            allocations::insert(Allocation::of_device(
                CUcontext::NULL,
                device.ordinal,
                Kind::Variable { is_managed: true },
                base,
                bytes,
            ));
            // SAFETY: device memory stays mapped.
            unsafe { share(base, bytes) };
            placed
                .memory
                .fill(base, &[0], bytes)
                .map_err(Failure::from)?;
            let initial = &variable.initializer;
            placed.memory.write(base, initial).map_err(Failure::from)?;
        }
        Ok(Some(placed))
    }

    pub(super) fn addresses(&self) -> &HashMap<usize, u64> {
        &self.addresses
    }

    /// Address and bytes of a variable.
    pub(super) fn find(&self, name: &str) -> Option<(u64, u64)> {
        let found = self.variables.iter().find(|(known, ..)| known == name);
        found.map(|(_, base, bytes)| (*base, *bytes))
    }
}

impl Drop for ManagedVariables {
    fn drop(&mut self) {
        for base in self.addresses.values() {
            if let Some(gone) = allocations::remove(*base, Kind::is_managed) {
                managed::forget(&gone);
            } else {
                unshare(*base);
            }
            // It was allocated by `place`.
            let _ = self.memory.free(*base);
        }
    }
}
