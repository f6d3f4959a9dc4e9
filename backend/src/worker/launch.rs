// SPDX-License-Identifier: Apache-2.0
//! Kernel launches.

use core::ffi::c_void;
use core::marker::PhantomData;

use gvirtus_abi::{
    CUfunction, CUlaunchAttribute, CUlaunchAttributeID, CUlaunchConfig, CUresult, CUstream,
};
use gvirtus_protocol::command::{ATTRIBUTE_BYTES, Launch};
use gvirtus_protocol::frame::CommandHeader;
use gvirtus_protocol::limits::{LAUNCH_ATTRIBUTES_MAX, PARAMETER_BYTES_MAX};
use gvirtus_protocol::opcode::{self, Opcode};

use zerocopy::little_endian::U64 as Word;

use super::error::{Failure, SessionError};
use super::handles::Handles;
use super::session::{Session, read_prefix};
use crate::driver::check;

/// Keys of the `extra` argument in `cuda.h`.
const CU_LAUNCH_PARAM_END: usize = 0;
const CU_LAUNCH_PARAM_BUFFER_POINTER: usize = 1;
const CU_LAUNCH_PARAM_BUFFER_SIZE: usize = 2;

const INVALID_VALUE: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

impl Session {
    /// `cuLaunchKernel` and its kin.
    pub(super) fn launch(&mut self, header: &CommandHeader, body: &[u8]) -> Result<(), Failure> {
        let malformed = || SessionError::Body(header.opcode());
        let (launch, rest) = read_prefix::<Launch>(header.opcode(), body)?;
        let attribute_count = launch.attribute_count.get() as usize;
        let parameter_bytes = launch.parameter_bytes.get() as usize;
        if attribute_count > LAUNCH_ATTRIBUTES_MAX || parameter_bytes > PARAMETER_BYTES_MAX {
            return Err(malformed().into());
        }
        if rest.len() != attribute_count * ATTRIBUTE_BYTES + parameter_bytes {
            return Err(malformed().into());
        }
        let (attributes, parameters) = rest.split_at(attribute_count * ATTRIBUTE_BYTES);
        self.handles.enter(self.driver, header.context.get())?;
        let number = launch.stream.get();
        let stream = self.handles.stream(self.driver, number)?;
        let context = self.handles.current;
        let kernel = self.handles.kernel_entry(launch.function.get())?;
        // The driver reads as many bytes as the kernel has parameters, whatever it is told.
        if kernel.parameter_bytes != parameter_bytes {
            return Err(INVALID_VALUE.into());
        }
        let function = kernel.function(self.driver, context)?;
        self.launched.add(context, number);
        self.link.usage.launched();
        self.keep_parameters(parameters);
        if attributes.is_empty() {
            self.launch_plain(&launch, function, stream, parameter_bytes)?;
        } else {
            let attributes = parse_attributes(&self.handles, attributes)?;
            self.launch_extended(&launch, function, stream, parameter_bytes, attributes)?;
        }
        Ok(())
    }

    /// `cuOccupancyMaxPotentialClusterSize` and `cuOccupancyMaxActiveClusters`, in the current
    /// context.
    pub(super) fn cluster_occupancy(
        &mut self,
        opcode: Opcode,
        body: &[u8],
    ) -> Result<Vec<Word>, Failure> {
        let (launch, rest) = read_prefix::<Launch>(opcode, body)?;
        let attribute_count = launch.attribute_count.get() as usize;
        if attribute_count > LAUNCH_ATTRIBUTES_MAX
            || rest.len() != attribute_count * ATTRIBUTE_BYTES
        {
            return Err(SessionError::Body(opcode).into());
        }
        let function = self.handles.function(self.driver, launch.function.get())?;
        let mut attributes = parse_attributes(&self.handles, rest)?;
        let config = config(&launch, CUstream::NULL, &mut attributes);
        let mut count = 0;
        // SAFETY: the output is a local, the function belongs to the current context; the
        // attributes are as many as told.
        check(unsafe {
            match opcode {
                opcode::cuOccupancyMaxPotentialClusterSize => {
                    self.driver.cuOccupancyMaxPotentialClusterSize(
                        &raw mut count,
                        function,
                        &raw const config,
                    )
                }
                _ => self.driver.cuOccupancyMaxActiveClusters(
                    &raw mut count,
                    function,
                    &raw const config,
                ),
            }
        })?;
        Ok(vec![Word::new(u64::try_from(count).unwrap_or(0))])
    }

    /// In a body they are at any address, a driver may want them aligned.
    fn keep_parameters(&mut self, parameters: &[u8]) {
        let words = parameters.len().div_ceil(size_of::<u64>());
        if self.parameters.len() < words {
            self.parameters.resize(words, 0);
        }
        zerocopy::IntoBytes::as_mut_bytes(&mut self.parameters[..])[..parameters.len()]
            .copy_from_slice(parameters);
    }

    fn launch_plain(
        &mut self,
        launch: &Launch,
        function: CUfunction,
        stream: CUstream,
        mut parameter_bytes: usize,
    ) -> Result<(), CUresult> {
        let [grid_x, grid_y, grid_z] = launch.grid.map(|n| n.get());
        let [block_x, block_y, block_z] = launch.block.map(|n| n.get());
        let mut extra = Extra::new(&mut self.parameters, &mut parameter_bytes);
        // SAFETY: function and stream belong to the current context; the parameters are as long as
        // the kernel's, and the driver copies them before it returns.
        check(unsafe {
            self.driver.cuLaunchKernel(
                function,
                grid_x,
                grid_y,
                grid_z,
                block_x,
                block_y,
                block_z,
                launch.shared_bytes.get(),
                stream,
                std::ptr::null_mut(),
                extra.pointer(),
            )
        })
    }

    fn launch_extended(
        &mut self,
        launch: &Launch,
        function: CUfunction,
        stream: CUstream,
        mut parameter_bytes: usize,
        mut attributes: Vec<CUlaunchAttribute>,
    ) -> Result<(), CUresult> {
        let config = config(launch, stream, &mut attributes);
        let mut extra = Extra::new(&mut self.parameters, &mut parameter_bytes);
        // SAFETY: as above; the attributes are as many as told and hold no pointers of the
        // client's.
        check(unsafe {
            self.driver.cuLaunchKernelEx(
                &raw const config,
                function,
                std::ptr::null_mut(),
                extra.pointer(),
            )
        })
    }
}

/// Points to the attributes, which must outlive it.
fn config(
    launch: &Launch,
    stream: CUstream,
    attributes: &mut [CUlaunchAttribute],
) -> CUlaunchConfig {
    CUlaunchConfig {
        gridDimX: launch.grid[0].get(),
        gridDimY: launch.grid[1].get(),
        gridDimZ: launch.grid[2].get(),
        blockDimX: launch.block[0].get(),
        blockDimY: launch.block[1].get(),
        blockDimZ: launch.block[2].get(),
        sharedMemBytes: launch.shared_bytes.get(),
        hStream: stream,
        attrs: attributes.as_mut_ptr(),
        numAttrs: launch.attribute_count.get(),
    }
}

/// The `extra` argument of a launch with packed parameters.
struct Extra<'a> {
    list: [*mut c_void; 5],
    is_needed: bool,
    _borrowed: PhantomData<&'a mut u64>,
}

impl<'a> Extra<'a> {
    fn new(parameters: &'a mut [u64], bytes: &'a mut usize) -> Self {
        Self {
            is_needed: *bytes > 0,
            list: [
                std::ptr::without_provenance_mut(CU_LAUNCH_PARAM_BUFFER_POINTER),
                parameters.as_mut_ptr().cast(),
                std::ptr::without_provenance_mut(CU_LAUNCH_PARAM_BUFFER_SIZE),
                (&raw mut *bytes).cast(),
                std::ptr::without_provenance_mut(CU_LAUNCH_PARAM_END),
            ],
            _borrowed: PhantomData,
        }
    }

    /// As the driver takes it; null for a kernel without parameters.
    const fn pointer(&mut self) -> *mut *mut c_void {
        if self.is_needed {
            self.list.as_mut_ptr()
        } else {
            std::ptr::null_mut()
        }
    }
}

fn parse_attributes(handles: &Handles, bytes: &[u8]) -> Result<Vec<CUlaunchAttribute>, CUresult> {
    const { assert!(size_of::<CUlaunchAttribute>() == ATTRIBUTE_BYTES) };
    bytes
        .chunks_exact(ATTRIBUTE_BYTES)
        .map(|bytes| {
            // SAFETY: the bytes are as many as the structure has, whose fields are plain numbers.
            let attribute = unsafe { bytes.as_ptr().cast::<CUlaunchAttribute>().read_unaligned() };
            resolve_attribute(handles, attribute)
        })
        .collect()
}

/// Replaces the client's numbers by handles; refuses what would be a pointer.
fn resolve_attribute(
    handles: &Handles,
    mut attribute: CUlaunchAttribute,
) -> Result<CUlaunchAttribute, CUresult> {
    type Id = CUlaunchAttributeID;
    match attribute.id {
        Id::CU_LAUNCH_ATTRIBUTE_IGNORE
        | Id::CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW
        | Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE
        | Id::CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY
        | Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        | Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE
        | Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
        | Id::CU_LAUNCH_ATTRIBUTE_PRIORITY
        | Id::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP
        | Id::CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN
        | Id::CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION
        | Id::CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT
        | Id::CU_LAUNCH_ATTRIBUTE_NVLINK_UTIL_CENTRIC_SCHEDULING
        | Id::CU_LAUNCH_ATTRIBUTE_PORTABLE_CLUSTER_SIZE_MODE
        | Id::CU_LAUNCH_ATTRIBUTE_SHARED_MEMORY_MODE => {}
        Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT => {
            // SAFETY: the id tells which field is meant; all are plain numbers.
            let number = unsafe { attribute.value.programmaticEvent.event };
            attribute.value.programmaticEvent.event = handles.event(number.0)?;
        }
        Id::CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT => {
            // SAFETY: as above.
            let number = unsafe { attribute.value.launchCompletionEvent.event };
            attribute.value.launchCompletionEvent.event = handles.event(number.0)?;
        }
        id => {
            tracing::warn!(attribute = ?id, "a launch attribute that is not supported");
            return Err(CUresult::CUDA_ERROR_NOT_SUPPORTED);
        }
    }
    Ok(attribute)
}
