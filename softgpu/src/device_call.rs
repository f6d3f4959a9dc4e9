// SPDX-License-Identifier: Apache-2.0
//! The functions that `libcudadevrt` gives to device code (`cuda_device_runtime_api.h`; CUDA
//! programming guide, "CUDA Dynamic Parallelism"), by their names in PTX.

use crate::ir::ParameterArea;

/// Size and alignment of a parameter in bytes.
type Size = (u32, u32);

const WORD: Size = (4, 4);
const LONG: Size = (8, 8);
const DIM3: Size = (12, 4);

/// A function of the device runtime. Those with a stream have a second name with `_ptsz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceCall {
    /// `(alignment, size) -> pointer`.
    GetParameterBuffer,
    /// `(function, grid, block, shared bytes) -> pointer`.
    GetParameterBufferV2,
    /// `(function, buffer, grid, block, shared bytes, stream) -> error`.
    LaunchDevice,
    /// `(buffer, stream) -> error`.
    LaunchDeviceV2,
    /// `() -> error`.
    GetLastError,
    /// `() -> error`.
    PeekAtLastError,
    /// `(&stream, flags) -> error`.
    StreamCreateWithFlags,
    /// `(stream) -> error`.
    StreamDestroy,
    /// `(stream, event, flags) -> error`.
    StreamWaitEvent,
    /// `(&event, flags) -> error`.
    EventCreateWithFlags,
    /// `(event, stream) -> error`.
    EventRecord,
    /// `(event, stream, flags) -> error`.
    EventRecordWithFlags,
    /// `(event) -> error`.
    EventDestroy,
    /// `(&pointer, size) -> error`.
    Malloc,
    /// `(pointer) -> error`.
    Free,
    /// `(destination, source, bytes, kind, stream) -> error`.
    MemcpyAsync,
    /// `(destination, pitch, source, pitch, width, height, kind, stream) -> error`.
    Memcpy2DAsync,
    /// `(destination, value, bytes, stream) -> error`.
    MemsetAsync,
    /// `(destination, pitch, value, width, height, stream) -> error`.
    Memset2DAsync,
    /// `(&device) -> error`.
    GetDevice,
    /// `(&count) -> error`.
    GetDeviceCount,
    /// `(&value, attribute, device) -> error`.
    DeviceGetAttribute,
    /// `(&version) -> error`.
    RuntimeGetVersion,
    /// `(&value, limit) -> error`.
    DeviceGetLimit,
    /// `(&attributes, function) -> error`.
    FuncGetAttributes,
    /// `(&blocks, function, threads, dynamic shared bytes) -> error`.
    OccupancyMaxActiveBlocks,
    /// `(&blocks, function, threads, dynamic shared bytes, flags) -> error`.
    OccupancyMaxActiveBlocksWithFlags,
    /// `(error) -> pointer`.
    GetErrorName,
    /// `(error) -> pointer`.
    GetErrorString,
}

impl DeviceCall {
    /// The function of that name in PTX: `__cudaCDP2…` since CUDA 12, `cuda…` before.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let since_12 = name.strip_prefix("__cudaCDP2");
        if since_12 == Some("FuncGetAttributes") {
            // What it writes was shorter before CUDA 12.
            return Some(Self::FuncGetAttributes);
        }
        let name = since_12.or_else(|| name.strip_prefix("cuda"))?;
        Some(match name.strip_suffix("_ptsz").unwrap_or(name) {
            "GetParameterBuffer" => Self::GetParameterBuffer,
            "GetParameterBufferV2" => Self::GetParameterBufferV2,
            "LaunchDevice" => Self::LaunchDevice,
            "LaunchDeviceV2" => Self::LaunchDeviceV2,
            "GetLastError" => Self::GetLastError,
            "PeekAtLastError" => Self::PeekAtLastError,
            "StreamCreateWithFlags" => Self::StreamCreateWithFlags,
            "StreamDestroy" => Self::StreamDestroy,
            "StreamWaitEvent" => Self::StreamWaitEvent,
            "EventCreateWithFlags" => Self::EventCreateWithFlags,
            "EventRecord" => Self::EventRecord,
            "EventRecordWithFlags" => Self::EventRecordWithFlags,
            "EventDestroy" => Self::EventDestroy,
            "Malloc" => Self::Malloc,
            "Free" => Self::Free,
            "MemcpyAsync" => Self::MemcpyAsync,
            "Memcpy2DAsync" => Self::Memcpy2DAsync,
            "MemsetAsync" => Self::MemsetAsync,
            "Memset2DAsync" => Self::Memset2DAsync,
            "GetDevice" => Self::GetDevice,
            "GetDeviceCount" => Self::GetDeviceCount,
            "DeviceGetAttribute" => Self::DeviceGetAttribute,
            "RuntimeGetVersion" => Self::RuntimeGetVersion,
            "DeviceGetLimit" => Self::DeviceGetLimit,
            "OccupancyMaxActiveBlocksPerMultiprocessor" => Self::OccupancyMaxActiveBlocks,
            "OccupancyMaxActiveBlocksPerMultiprocessorWithFlags" => {
                Self::OccupancyMaxActiveBlocksWithFlags
            }
            "GetErrorName" => Self::GetErrorName,
            "GetErrorString" => Self::GetErrorString,
            _ => return None,
        })
    }

    /// Size and alignment of each parameter, in bytes.
    #[must_use]
    pub const fn parameters(self) -> &'static [(u32, u32)] {
        match self {
            Self::GetLastError | Self::PeekAtLastError => &[],
            Self::StreamDestroy
            | Self::EventDestroy
            | Self::Free
            | Self::GetDevice
            | Self::GetDeviceCount
            | Self::RuntimeGetVersion => &[LONG],
            Self::StreamCreateWithFlags | Self::EventCreateWithFlags | Self::DeviceGetLimit => {
                &[LONG, WORD]
            }
            Self::GetParameterBuffer
            | Self::LaunchDeviceV2
            | Self::EventRecord
            | Self::Malloc
            | Self::FuncGetAttributes => &[LONG, LONG],
            Self::OccupancyMaxActiveBlocks => &[LONG, LONG, WORD, LONG],
            Self::OccupancyMaxActiveBlocksWithFlags => &[LONG, LONG, WORD, LONG, WORD],
            Self::GetErrorName | Self::GetErrorString => &[WORD],
            Self::DeviceGetAttribute => &[LONG, WORD, WORD],
            Self::StreamWaitEvent | Self::EventRecordWithFlags => &[LONG, LONG, WORD],
            Self::GetParameterBufferV2 => &[LONG, DIM3, DIM3, WORD],
            Self::LaunchDevice => &[LONG, LONG, DIM3, DIM3, WORD, LONG],
            Self::MemcpyAsync => &[LONG, LONG, LONG, WORD, LONG],
            Self::Memcpy2DAsync => &[LONG, LONG, LONG, LONG, LONG, LONG, WORD, LONG],
            Self::MemsetAsync => &[LONG, WORD, LONG, LONG],
            Self::Memset2DAsync => &[LONG, LONG, WORD, LONG, LONG, LONG],
        }
    }

    /// Size and alignment of the result, in bytes.
    #[must_use]
    pub const fn result(self) -> (u32, u32) {
        match self {
            Self::GetParameterBuffer
            | Self::GetParameterBufferV2
            | Self::GetErrorName
            | Self::GetErrorString => LONG,
            _ => WORD,
        }
    }

    /// Offsets of the parameters in the parameter area, and of the result.
    #[must_use]
    pub fn offsets(self) -> (Vec<u32>, u32) {
        let mut area = ParameterArea::default();
        let parameters = self.parameters().iter();
        let offsets = parameters
            .map(|&(size, alignment)| area.push(size, alignment))
            .collect();
        let (size, alignment) = self.result();
        (offsets, area.push(size, alignment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_generations_are_known() {
        let call = Some(DeviceCall::LaunchDeviceV2);
        assert_eq!(DeviceCall::named("__cudaCDP2LaunchDeviceV2"), call);
        assert_eq!(DeviceCall::named("__cudaCDP2LaunchDeviceV2_ptsz"), call);
        assert_eq!(DeviceCall::named("cudaLaunchDeviceV2"), call);
        assert_eq!(DeviceCall::named("cudaDeviceSynchronize"), None);
        assert_eq!(DeviceCall::named("LaunchDeviceV2"), None);
    }

    #[test]
    fn parameters_are_laid_out_like_a_structure() {
        let (offsets, result) = DeviceCall::GetParameterBufferV2.offsets();
        assert_eq!((offsets.as_slice(), result), (&[0, 8, 20, 32][..], 40));
    }
}
