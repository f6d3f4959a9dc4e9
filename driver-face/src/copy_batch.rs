// SPDX-License-Identifier: Apache-2.0
//! The arguments of `cuMemcpyBatchAsync`, `cuMemcpy3DBatchAsync` and their relatives (`cuda.h`:
//! "Memory Management"), as plain copies.

use gvirtus_abi::{
    CUDA_MEMCPY3D, CUDA_MEMCPY3D_BATCH_OP, CUarray, CUdeviceptr, CUmemcpy3DOperand,
    CUmemcpy3DOperandType, CUmemcpyAttributes, CUmemcpyFlags, CUmemcpySrcAccessOrder, CUmemorytype,
    CUresult, CUstream,
};

const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;
/// `CU_STREAM_LEGACY`.
const LEGACY: CUstream = CUstream(1);
/// Copies of one batch; more than any program can mean.
const COPIES_MAX: usize = 1 << 24;

/// When the source of a copy is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceAccess {
    /// When the stream comes to the copy.
    InStreamOrder,
    /// Before the call returns.
    DuringCall,
}

impl SourceAccess {
    fn new(order: CUmemcpySrcAccessOrder, flags: u32) -> Result<Self, CUresult> {
        if flags & !CUmemcpyFlags::CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE.0 != 0 {
            return Err(INVALID);
        }
        use CUmemcpySrcAccessOrder as O;
        match order {
            // In any order is in this order too.
            O::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM | O::CU_MEMCPY_SRC_ACCESS_ORDER_ANY => {
                Ok(Self::InStreamOrder)
            }
            O::CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL => Ok(Self::DuringCall),
            _ => Err(INVALID),
        }
    }
}

/// A copy of consecutive bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the bytes go.
    pub to: CUdeviceptr,
    /// Where they are.
    pub from: CUdeviceptr,
    /// How many there are.
    pub bytes: usize,
    /// When they are read.
    pub access: SourceAccess,
}

/// Refuses the legacy stream, in which there are no batches.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`.
pub fn check_stream(default: CUstream, stream: CUstream) -> Result<(), CUresult> {
    let stream = if stream.is_null() { default } else { stream };
    match stream {
        LEGACY => Err(INVALID),
        _ => Ok(()),
    }
}

/// `cuMemcpyWithAttributesAsync`.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`.
///
/// # Safety
///
/// `attributes` is null or a whole structure.
pub unsafe fn line(
    to: CUdeviceptr,
    from: CUdeviceptr,
    bytes: usize,
    attributes: *const CUmemcpyAttributes,
) -> Result<Line, CUresult> {
    if attributes.is_null() {
        return Err(INVALID);
    }
    // SAFETY: not null, and then a whole structure by the caller's promise.
    let attributes = unsafe { attributes.read_unaligned() };
    let access = SourceAccess::new(attributes.srcAccessOrder, attributes.flags)?;
    Ok(Line {
        to,
        from,
        bytes,
        access,
    })
}

/// The pointers to the lists of `cuMemcpyBatchAsync`, and the lengths of the lists.
#[derive(Clone, Copy, Debug)]
pub struct Lists {
    /// Destinations, one a copy.
    pub to: *const CUdeviceptr,
    /// Sources, one a copy.
    pub from: *const CUdeviceptr,
    /// Bytes, one a copy.
    pub sizes: *const usize,
    /// Copies.
    pub count: usize,
    /// Attributes, each of a run of copies.
    pub attributes: *const CUmemcpyAttributes,
    /// The first copy of each run.
    pub first_copies: *const usize,
    /// Runs.
    pub runs: usize,
}

impl Lists {
    /// The copies of the batch.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE`.
    ///
    /// # Safety
    ///
    /// The lists are as long as they are said to be, if they are not null.
    pub unsafe fn lines(&self) -> Result<Vec<Line>, CUresult> {
        let lists = [self.to.cast::<u8>(), self.from.cast(), self.sizes.cast()];
        let more = [self.attributes.cast::<u8>(), self.first_copies.cast()];
        if !(1..=COPIES_MAX).contains(&self.count)
            || !(1..=self.count).contains(&self.runs)
            || lists.iter().chain(&more).any(|list| list.is_null())
        {
            return Err(INVALID);
        }
        let mut lines = Vec::with_capacity(self.count);
        for run in 0..self.runs {
            // SAFETY: not null, and as long as the caller promises.
            let first = unsafe { self.first_copies.add(run).read_unaligned() };
            let end = match run + 1 < self.runs {
                // SAFETY: as above.
                true => unsafe { self.first_copies.add(run + 1).read_unaligned() },
                false => self.count,
            };
            if first != lines.len() || end <= first || end > self.count {
                return Err(INVALID);
            }
            for copy in first..end {
                // SAFETY: as above, and a whole structure.
                lines.push(unsafe {
                    line(
                        self.to.add(copy).read_unaligned(),
                        self.from.add(copy).read_unaligned(),
                        self.sizes.add(copy).read_unaligned(),
                        self.attributes.add(run),
                    )?
                });
            }
        }
        Ok(lines)
    }
}

/// The copies of `cuMemcpy3DBatchAsync`; `element_bytes` tells the size of an array's elements.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`, and those of `element_bytes`.
///
/// # Safety
///
/// `operations` is null or as long as `count` says.
pub unsafe fn boxes(
    operations: *const CUDA_MEMCPY3D_BATCH_OP,
    count: usize,
    flags: u64,
    element_bytes: impl Fn(CUarray) -> Result<usize, CUresult>,
) -> Result<Vec<(CUDA_MEMCPY3D, SourceAccess)>, CUresult> {
    if operations.is_null() || !(1..=COPIES_MAX).contains(&count) || flags != 0 {
        return Err(INVALID);
    }
    let read = |index| {
        // SAFETY: not null, and as long as the caller promises.
        let operation = unsafe { operations.add(index).read_unaligned() };
        let access = SourceAccess::new(operation.srcAccessOrder, operation.flags)?;
        Ok((copy_3d(&operation, &element_bytes)?, access))
    };
    (0..count).map(read).collect()
}

/// One side of a copy, in the terms of `CUDA_MEMCPY3D`.
struct Side {
    memory: CUmemorytype,
    address: CUdeviceptr,
    array: CUarray,
    at: [usize; 3],
    pitch_bytes: usize,
    height: usize,
}

fn copy_3d(
    operation: &CUDA_MEMCPY3D_BATCH_OP,
    element_bytes: &impl Fn(CUarray) -> Result<usize, CUresult>,
) -> Result<CUDA_MEMCPY3D, CUresult> {
    let extent = operation.extent;
    if [extent.width, extent.height, extent.depth].contains(&0) {
        return Err(INVALID);
    }
    let size_of = |operand: &CUmemcpy3DOperand| match array_of(operand) {
        Some(array) => element_bytes(array).map(Some),
        None => Ok(None),
    };
    let element = match (size_of(&operation.src)?, size_of(&operation.dst)?) {
        (Some(from), Some(to)) if from != to => return Err(INVALID),
        (from, to) => from.or(to).unwrap_or(1),
    };
    let side = |operand| side(operand, extent.width, extent.height, element);
    let (from, to) = (side(&operation.src)?, side(&operation.dst)?);
    // SAFETY: all fields are numbers, addresses and handles, for which zero is a value.
    let mut copy: CUDA_MEMCPY3D = unsafe { core::mem::zeroed() };
    copy.srcMemoryType = from.memory;
    copy.srcDevice = from.address;
    copy.srcArray = from.array;
    [copy.srcXInBytes, copy.srcY, copy.srcZ] = from.at;
    copy.srcPitch = from.pitch_bytes;
    copy.srcHeight = from.height;
    copy.dstMemoryType = to.memory;
    copy.dstDevice = to.address;
    copy.dstArray = to.array;
    [copy.dstXInBytes, copy.dstY, copy.dstZ] = to.at;
    copy.dstPitch = to.pitch_bytes;
    copy.dstHeight = to.height;
    copy.WidthInBytes = extent.width.checked_mul(element).ok_or(INVALID)?;
    copy.Height = extent.height;
    copy.Depth = extent.depth;
    Ok(copy)
}

fn array_of(operand: &CUmemcpy3DOperand) -> Option<CUarray> {
    let is_array = operand.r#type == CUmemcpy3DOperandType::CU_MEMCPY_OPERAND_TYPE_ARRAY;
    if !is_array {
        return None;
    }
    // SAFETY: the type says which variant it is.
    Some(unsafe { operand.op.array.array })
}

fn side(
    operand: &CUmemcpy3DOperand,
    width: usize,
    height: usize,
    element: usize,
) -> Result<Side, CUresult> {
    match operand.r#type {
        CUmemcpy3DOperandType::CU_MEMCPY_OPERAND_TYPE_POINTER => {
            // SAFETY: the type says which variant it is.
            let place = unsafe { operand.op.ptr };
            let or_packed = |length: usize, least: usize| match length {
                0 => Ok(least),
                length if length >= least => Ok(length),
                _ => Err(INVALID),
            };
            let row = or_packed(place.rowLength, width)?;
            Ok(Side {
                memory: CUmemorytype::CU_MEMORYTYPE_UNIFIED,
                address: place.ptr,
                array: CUarray::NULL,
                at: [0; 3],
                pitch_bytes: row.checked_mul(element).ok_or(INVALID)?,
                height: or_packed(place.layerHeight, height)?,
            })
        }
        CUmemcpy3DOperandType::CU_MEMCPY_OPERAND_TYPE_ARRAY => {
            // SAFETY: the type says which variant it is.
            let place = unsafe { operand.op.array };
            let x = place.offset.x.checked_mul(element).ok_or(INVALID)?;
            Ok(Side {
                memory: CUmemorytype::CU_MEMORYTYPE_ARRAY,
                address: CUdeviceptr(0),
                array: place.array,
                at: [x, place.offset.y, place.offset.z],
                pitch_bytes: 0,
                height: 0,
            })
        }
        _ => Err(INVALID),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(order: CUmemcpySrcAccessOrder) -> CUmemcpyAttributes {
        // SAFETY: all fields are numbers.
        let mut attributes: CUmemcpyAttributes = unsafe { core::mem::zeroed() };
        attributes.srcAccessOrder = order;
        attributes
    }

    #[test]
    fn runs_of_copies_have_their_attributes() {
        use CUmemcpySrcAccessOrder as O;
        let to: [CUdeviceptr; 3] = std::array::from_fn(|n| CUdeviceptr(100 + n as u64));
        let from: [CUdeviceptr; 3] = std::array::from_fn(|n| CUdeviceptr(200 + n as u64));
        let sizes = [1, 2, 3];
        let attributes = [
            attributes(O::CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL),
            attributes(O::CU_MEMCPY_SRC_ACCESS_ORDER_ANY),
        ];
        let lines = |first_copies: &[usize]| {
            let lists = Lists {
                to: to.as_ptr(),
                from: from.as_ptr(),
                sizes: sizes.as_ptr(),
                count: 3,
                attributes: attributes.as_ptr(),
                first_copies: first_copies.as_ptr(),
                runs: first_copies.len(),
            };
            // SAFETY: the lists are that long.
            unsafe { lists.lines() }
        };
        let found = lines(&[0, 2]).unwrap();
        let access: Vec<_> = found.iter().map(|line| line.access).collect();
        let (during, later) = (SourceAccess::DuringCall, SourceAccess::InStreamOrder);
        assert_eq!(access, [during, during, later]);
        assert_eq!(
            (found[2].to.0, found[2].from.0, found[2].bytes),
            (102, 202, 3)
        );
        for wrong in [&[1, 2][..], &[0, 3], &[0, 0], &[0, 2, 1], &[]] {
            assert_eq!(lines(wrong), Err(INVALID), "{wrong:?}");
        }
    }

    #[test]
    fn elements_become_bytes() {
        // SAFETY: all fields are numbers, addresses and handles.
        let mut operation: CUDA_MEMCPY3D_BATCH_OP = unsafe { core::mem::zeroed() };
        operation.srcAccessOrder = CUmemcpySrcAccessOrder::CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
        operation.src.r#type = CUmemcpy3DOperandType::CU_MEMCPY_OPERAND_TYPE_POINTER;
        operation.src.op.ptr.ptr = CUdeviceptr(4096);
        operation.src.op.ptr.rowLength = 10;
        operation.dst.r#type = CUmemcpy3DOperandType::CU_MEMCPY_OPERAND_TYPE_ARRAY;
        operation.dst.op.array = gvirtus_abi::CUmemcpy3DOperand_v1_op_array {
            array: CUarray(7),
            offset: gvirtus_abi::CUoffset3D_v1 { x: 2, y: 3, z: 4 },
        };
        operation.extent = gvirtus_abi::CUextent3D_v1 {
            width: 8,
            height: 5,
            depth: 6,
        };
        // SAFETY: one operation.
        let read = |operation: &_| unsafe { boxes(operation, 1, 0, |_| Ok(4)) };
        let (copy, access) = read(&operation).unwrap()[0];
        assert_eq!(access, SourceAccess::InStreamOrder);
        assert_eq!((copy.WidthInBytes, copy.Height, copy.Depth), (32, 5, 6));
        assert_eq!((copy.srcPitch, copy.srcHeight), (40, 5));
        assert_eq!([copy.dstXInBytes, copy.dstY, copy.dstZ], [8, 3, 4]);
        operation.src.op.ptr.rowLength = 7;
        assert_eq!(read(&operation).err(), Some(INVALID));
        operation.src.op.ptr.rowLength = 0;
        operation.extent.depth = 0;
        assert_eq!(read(&operation).err(), Some(INVALID));
    }
}
