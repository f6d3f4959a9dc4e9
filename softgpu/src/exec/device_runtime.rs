// SPDX-License-Identifier: Apache-2.0
//! The functions of the device runtime library that kernels call: launches of grids, streams,
//! events, copies (`cuda_device_runtime_api.h`).

use core::ffi::CStr;

use gvirtus_runtime_abi::{cudaError, error_name, error_string};

use super::builtin::Call;
use super::grids::{Child, Grids, Item, StreamKey};
use super::launch::{Launch, LaunchConfig, check};
use super::module::KernelId;
use crate::device_call::DeviceCall;
use crate::memory::Memory;

/// `cudaError_t` as kernels see it.
type Code = u32;
const SUCCESS: Code = 0;
const INVALID_VALUE: Code = 1;
const MEMORY_ALLOCATION: Code = 2;
const INVALID_CONFIGURATION: Code = 9;
const LAUNCH_PENDING_COUNT_EXCEEDED: Code = 69;
const INVALID_DEVICE_FUNCTION: Code = 98;
const INVALID_DEVICE: Code = 101;
const UNSUPPORTED_LIMIT: Code = 215;
const INVALID_RESOURCE_HANDLE: Code = 400;
const NOT_SUPPORTED: Code = 801;

/// `cudaStreamNonBlocking`: the only streams that kernels can make.
const NON_BLOCKING: u64 = 1;
/// `cudaEventDisableTiming`: the only events that kernels can make.
const DISABLE_TIMING: u64 = 2;
/// Stream arguments with a meaning.
const STREAM_NULL: u64 = 0;
const STREAM_LEGACY: u64 = 1;
const STREAM_PER_THREAD: u64 = 2;
const STREAM_TAIL_LAUNCH: u64 = 3;
const STREAM_FIRE_AND_FORGET: u64 = 4;
/// Handles of streams and events are their numbers times this.
const HANDLE_STEP: u64 = 0x1000;
/// The `CUfunction_attribute`s of a `cudaFuncAttributes`: sizes of static shared, constant and
/// local memory.
const FUNCTION_SIZES: [u32; 3] = [1, 2, 3];
/// Threads, registers, versions of PTX and binary, cache mode, dynamic shared memory, carveout,
/// whether a cluster must be set, its required shape, scheduling policy, non-portable sizes.
const FUNCTION_NUMBERS: [u32; 13] = [0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 14];
/// What `cudaRuntimeGetVersion` says: 1000 × major + 10 × minor.
const RUNTIME_VERSION: u32 = 13_050;

/// What kernels can ask of their device.
pub trait DeviceFacts: Sync {
    /// Its ordinal.
    fn ordinal(&self) -> i32;
    /// Devices there are.
    fn count(&self) -> i32;
    /// A `CUdevice_attribute`.
    fn attribute(&self, number: i32) -> Option<i32>;
    /// A `CUlimit` of the context.
    fn limit(&self, number: u32) -> Option<u64>;
    /// A `CUfunction_attribute` of a kernel of the module.
    fn function_attribute(&self, kernel: KernelId, number: u32) -> Option<i32>;
    /// Blocks of so many threads and bytes of dynamic shared memory that a multiprocessor holds.
    fn occupancy(&self, kernel: KernelId, threads: u32, shared_bytes: u64) -> u32;
}

/// One lane's call.
struct Caller<'a, 'b> {
    launch: &'a Launch<'a>,
    grids: &'a dyn Grids,
    call: &'a mut Call<'b>,
    offsets: Vec<u32>,
}

/// Runs a function for one lane. What it answers with is in the lane's parameter area.
pub(super) fn run(launch: &Launch<'_>, call: &mut Call<'_>, function: DeviceCall) {
    let (offsets, result) = function.offsets();
    let Some(grids) = launch.grids else {
        // Whoever runs modules with such calls gives a tree; without one, nothing can be launched.
        call.set_result(result.into(), NOT_SUPPORTED.into(), 4);
        return;
    };
    let mut caller = Caller {
        launch,
        grids,
        call,
        offsets,
    };
    let value = match function {
        DeviceCall::GetParameterBuffer => caller.parameter_buffer(),
        DeviceCall::GetParameterBufferV2 => caller.parameter_buffer_of_launch(),
        DeviceCall::GetErrorName => caller.error_text(error_name),
        DeviceCall::GetErrorString => caller.error_text(error_string),
        DeviceCall::GetLastError => caller.last_error(true).into(),
        DeviceCall::PeekAtLastError => caller.last_error(false).into(),
        other => {
            let code = caller.answer(other).err().unwrap_or(SUCCESS);
            if code != SUCCESS {
                caller.set_last_error(code);
            }
            code.into()
        }
    };
    let (bytes, _) = function.result();
    call.set_result(result.into(), value, bytes as usize);
}

impl Caller<'_, '_> {
    fn long(&self, index: usize) -> u64 {
        self.call.argument(self.offsets[index].into(), 8)
    }

    fn word(&self, index: usize) -> u32 {
        self.call.argument(self.offsets[index].into(), 4) as u32
    }

    fn dim3(&self, index: usize) -> [u32; 3] {
        std::array::from_fn(|axis| {
            let offset = u64::from(self.offsets[index]) + 4 * axis as u64;
            self.call.argument(offset, 4) as u32
        })
    }

    fn write(&mut self, index: usize, value: &[u8]) -> Result<(), Code> {
        let place = self.long(index);
        match self.call.write(place, value) {
            true => Ok(()),
            false => Err(INVALID_VALUE),
        }
    }

    /// Grid, block and lane.
    fn thread(&self) -> (u64, u64, u32) {
        let lane = self.call.lane() as u32;
        (self.grids.number(), self.call.block(), lane)
    }

    fn last_error(&mut self, is_taken: bool) -> Code {
        let thread = self.thread();
        let errors = &mut self.grids.state().errors;
        let error = match is_taken {
            true => errors.remove(&thread),
            false => errors.get(&thread).copied(),
        };
        error.unwrap_or(SUCCESS)
    }

    fn set_last_error(&mut self, code: Code) {
        let thread = self.thread();
        self.grids.state().errors.insert(thread, code);
    }

    fn stream(&self, index: usize) -> Result<StreamKey, Code> {
        let (_, block, lane) = self.thread();
        Ok(match self.long(index) {
            STREAM_NULL | STREAM_LEGACY => StreamKey::Block(block),
            STREAM_PER_THREAD => StreamKey::Thread(block, lane),
            STREAM_TAIL_LAUNCH => StreamKey::Tail,
            STREAM_FIRE_AND_FORGET => StreamKey::Once(self.grids.state().number()),
            stream if self.grids.state().streams.contains(&stream) => StreamKey::Named(stream),
            _ => return Err(INVALID_RESOURCE_HANDLE),
        })
    }

    fn submit(&self, key: StreamKey, item: Item) -> Result<(), Code> {
        match self.grids.submit(key, item) {
            true => Ok(()),
            false => Err(LAUNCH_PENDING_COUNT_EXCEEDED),
        }
    }

    fn answer(&mut self, function: DeviceCall) -> Result<(), Code> {
        match function {
            DeviceCall::LaunchDevice => self.launch_device(),
            DeviceCall::LaunchDeviceV2 => {
                let launch = self.take_buffer(self.long(0))?;
                let (kernel, config) = launch.ok_or(INVALID_VALUE)?;
                self.submit_grid(self.long(0), kernel, config, 1)
            }
            DeviceCall::StreamCreateWithFlags => self.create_stream(),
            DeviceCall::StreamDestroy => {
                let is_known = self.grids.state().streams.remove(&self.long(0));
                is_known.then_some(()).ok_or(INVALID_RESOURCE_HANDLE)
            }
            DeviceCall::EventCreateWithFlags => self.create_event(),
            DeviceCall::EventDestroy => {
                let known = self.grids.state().events.remove(&self.long(0));
                known.map(drop).ok_or(INVALID_RESOURCE_HANDLE)
            }
            DeviceCall::EventRecord | DeviceCall::EventRecordWithFlags => self.record(),
            DeviceCall::StreamWaitEvent => self.wait_event(),
            DeviceCall::Malloc => {
                let address = self.launch.allocate(self.long(1));
                let address = address.ok_or(MEMORY_ALLOCATION)?;
                self.write(0, &address.to_le_bytes())
            }
            DeviceCall::Free => match self.long(0) {
                0 => Ok(()),
                address => self.launch.free(address).then_some(()).ok_or(INVALID_VALUE),
            },
            DeviceCall::MemcpyAsync | DeviceCall::Memcpy2DAsync => self.copy(function),
            DeviceCall::MemsetAsync | DeviceCall::Memset2DAsync => self.fill(function),
            DeviceCall::DeviceGetLimit => self.get_limit(),
            DeviceCall::FuncGetAttributes => self.function_attributes(),
            DeviceCall::OccupancyMaxActiveBlocks => self.occupancy(),
            DeviceCall::OccupancyMaxActiveBlocksWithFlags => match self.word(4) {
                // The second is about caches, of which there are none.
                0 | 1 => self.occupancy(),
                _ => Err(INVALID_VALUE),
            },
            DeviceCall::RuntimeGetVersion => self.write(0, &RUNTIME_VERSION.to_le_bytes()),
            _ => self.ask_device(function),
        }
    }

    /// The address of an error's name or text.
    fn error_text(&self, text: fn(cudaError) -> &'static CStr) -> u64 {
        let text = text(cudaError(self.word(0))).to_str().unwrap_or_default();
        self.grids.module().text(text).unwrap_or(0)
    }

    fn get_limit(&mut self) -> Result<(), Code> {
        let facts = self.launch.device.ok_or(NOT_SUPPORTED)?;
        let limit = facts.limit(self.word(1)).ok_or(UNSUPPORTED_LIMIT)?;
        self.write(0, &limit.to_le_bytes())
    }

    /// `cudaFuncAttributes` up to what concerns graphs: three `size_t`, then `int`s.
    fn function_attributes(&mut self) -> Result<(), Code> {
        let facts = self.launch.device.ok_or(NOT_SUPPORTED)?;
        let kernel = self.kernel(self.long(1))?;
        let ask = |number| {
            let value = facts.function_attribute(kernel, number);
            value.ok_or(INVALID_DEVICE_FUNCTION)
        };
        let mut bytes = Vec::new();
        for number in FUNCTION_SIZES {
            bytes.extend(i64::from(ask(number)?).to_le_bytes());
        }
        for number in FUNCTION_NUMBERS {
            bytes.extend(ask(number)?.to_le_bytes());
        }
        self.write(0, &bytes)
    }

    fn occupancy(&mut self) -> Result<(), Code> {
        let facts = self.launch.device.ok_or(NOT_SUPPORTED)?;
        let kernel = self.kernel(self.long(1))?;
        let threads = self.word(2);
        if threads == 0 || threads.cast_signed() < 0 {
            return Err(INVALID_VALUE);
        }
        let blocks = facts.occupancy(kernel, threads, self.long(3));
        self.write(0, &blocks.to_le_bytes())
    }

    fn ask_device(&mut self, function: DeviceCall) -> Result<(), Code> {
        let facts = self.launch.device.ok_or(NOT_SUPPORTED)?;
        let value = match function {
            DeviceCall::GetDevice => facts.ordinal(),
            DeviceCall::GetDeviceCount => facts.count(),
            DeviceCall::DeviceGetAttribute => {
                if self.word(2).cast_signed() != facts.ordinal() {
                    return Err(INVALID_DEVICE);
                }
                let attribute = facts.attribute(self.word(1).cast_signed());
                attribute.ok_or(INVALID_VALUE)?
            }
            _ => return Err(NOT_SUPPORTED),
        };
        self.write(0, &value.to_le_bytes())
    }

    fn kernel(&self, pointer: u64) -> Result<KernelId, Code> {
        let function = self.launch.function_id_of(pointer);
        let kernel = function.and_then(|id| self.grids.module().kernel_of(id));
        kernel.ok_or(INVALID_DEVICE_FUNCTION)
    }

    fn parameter_buffer(&mut self) -> u64 {
        let (alignment, bytes) = (self.long(0), self.long(1));
        match alignment <= PARAMETER_ALIGNMENT_MAX {
            true => self.allocate(bytes, None),
            false => 0,
        }
    }

    fn parameter_buffer_of_launch(&mut self) -> u64 {
        let kernel = match self.kernel(self.long(0)) {
            Ok(kernel) => kernel,
            Err(code) => {
                self.set_last_error(code);
                return 0;
            }
        };
        let config = config(self.dim3(1), self.dim3(2), self.word(3));
        let bytes = self.parameter_bytes(kernel);
        self.allocate(bytes, Some((kernel, config)))
    }

    fn parameter_bytes(&self, kernel: KernelId) -> u64 {
        let kernel = self.grids.module().kernel_info(kernel);
        kernel.map_or(0, |kernel| kernel.parameter_bytes.into())
    }

    fn allocate(&mut self, bytes: u64, launch: Option<(KernelId, LaunchConfig)>) -> u64 {
        let Ok(address) = self.launch.memory.alloc(bytes.max(1)) else {
            self.set_last_error(MEMORY_ALLOCATION);
            return 0;
        };
        self.grids.state().buffers.insert(address, launch);
        address
    }

    fn take_buffer(&self, address: u64) -> Result<Option<(KernelId, LaunchConfig)>, Code> {
        let taken = self.grids.state().buffers.remove(&address);
        taken.ok_or(INVALID_VALUE)
    }

    fn launch_device(&mut self) -> Result<(), Code> {
        let kernel = self.kernel(self.long(0))?;
        let config = config(self.dim3(2), self.dim3(3), self.word(4));
        if self.parameter_bytes(kernel) > 0 {
            self.take_buffer(self.long(1))?;
        }
        self.submit_grid(self.long(1), kernel, config, 5)
    }

    /// Launches with the parameters in a buffer, which is given back.
    fn submit_grid(
        &self,
        buffer: u64,
        kernel: KernelId,
        config: LaunchConfig,
        stream: usize,
    ) -> Result<(), Code> {
        let mut parameters = vec![0; self.parameter_bytes(kernel) as usize];
        let read = self.launch.memory.read(buffer, &mut parameters);
        if buffer != 0 {
            // It was allocated here; nobody else frees it.
            let _ = self.launch.memory.free(buffer);
        }
        if !parameters.is_empty() {
            read.map_err(|_| INVALID_VALUE)?;
        }
        let info = self.grids.module().kernel_info(kernel);
        let info = info.ok_or(INVALID_DEVICE_FUNCTION)?;
        check(info, &config, &parameters).map_err(|_| INVALID_CONFIGURATION)?;
        let key = self.stream(stream)?;
        let child = Child {
            kernel,
            config,
            parameters,
        };
        self.submit(key, Item::Grid(child))
    }

    fn create_stream(&mut self) -> Result<(), Code> {
        if u64::from(self.word(1)) != NON_BLOCKING {
            return Err(INVALID_VALUE);
        }
        let stream = {
            let mut state = self.grids.state();
            let stream = state.number() * HANDLE_STEP;
            state.streams.insert(stream);
            stream
        };
        self.write(0, &stream.to_le_bytes())
    }

    fn create_event(&mut self) -> Result<(), Code> {
        if u64::from(self.word(1)) != DISABLE_TIMING {
            return Err(INVALID_VALUE);
        }
        let event = {
            let mut state = self.grids.state();
            let event = state.number() * HANDLE_STEP;
            state.events.insert(event, None);
            event
        };
        self.write(0, &event.to_le_bytes())
    }

    fn record(&self) -> Result<(), Code> {
        let key = self.stream(1)?;
        let record = {
            let mut state = self.grids.state();
            let record = state.number();
            let event = state.events.get_mut(&self.long(0));
            *event.ok_or(INVALID_RESOURCE_HANDLE)? = Some(record);
            record
        };
        self.submit(key, Item::Record(record))
    }

    fn wait_event(&self) -> Result<(), Code> {
        let key = self.stream(0)?;
        let record = {
            let state = self.grids.state();
            let event = state.events.get(&self.long(1));
            *event.ok_or(INVALID_RESOURCE_HANDLE)?
        };
        match record {
            Some(record) => self.submit(key, Item::Wait(record)),
            None => Ok(()),
        }
    }

    fn copy(&self, function: DeviceCall) -> Result<(), Code> {
        let (to, from, width, height, pitches, stream) = match function {
            DeviceCall::MemcpyAsync => (self.long(0), self.long(1), self.long(2), 1, [0; 2], 4),
            _ => {
                let pitches = [self.long(1), self.long(3)];
                let (width, height) = (self.long(4), self.long(5));
                if pitches.iter().any(|pitch| *pitch < width) {
                    return Err(INVALID_VALUE);
                }
                (self.long(0), self.long(2), width, height, pitches, 7)
            }
        };
        let transfer = move |memory: &Memory| {
            (0..height).all(|row| {
                let to = to.wrapping_add(row.wrapping_mul(pitches[0]));
                let from = from.wrapping_add(row.wrapping_mul(pitches[1]));
                memory.copy(to, from, width).is_ok()
            })
        };
        self.submit(self.stream(stream)?, Item::Transfer(Box::new(transfer)))
    }

    fn fill(&self, function: DeviceCall) -> Result<(), Code> {
        let (to, value, width, height, pitch, stream) = match function {
            DeviceCall::MemsetAsync => (self.long(0), self.word(1), self.long(2), 1, 0, 3),
            _ => {
                let (pitch, width, height) = (self.long(1), self.long(3), self.long(4));
                if pitch < width {
                    return Err(INVALID_VALUE);
                }
                (self.long(0), self.word(2), width, height, pitch, 5)
            }
        };
        let transfer = move |memory: &Memory| {
            (0..height).all(|row| {
                let to = to.wrapping_add(row.wrapping_mul(pitch));
                memory.fill(to, &[value as u8], width).is_ok()
            })
        };
        self.submit(self.stream(stream)?, Item::Transfer(Box::new(transfer)))
    }
}

/// Largest alignment of a parameter buffer in bytes (`cudaGetParameterBuffer`).
const PARAMETER_ALIGNMENT_MAX: u64 = 64;

fn config(grid: [u32; 3], block: [u32; 3], dynamic_shared_bytes: u32) -> LaunchConfig {
    LaunchConfig {
        grid,
        block,
        dynamic_shared_bytes,
        cooperative: false,
        cluster: None,
    }
}
