// SPDX-License-Identifier: Apache-2.0
//! What can be asked about devices.

use gvirtus_abi::{CUdevice, CUdevice_attribute, CUresult, CUuuid};

use super::*;

fn attribute(attribute: CUdevice_attribute) -> i32 {
    get!(cuDeviceGetAttribute(_, attribute, DEVICE))
}

#[test]
fn a_device_describes_itself() {
    assert_eq!(call!(cuInit(0)), SUCCESS);
    assert_eq!(call!(cuInit(1)), INVALID_VALUE);
    let count: i32 = get!(cuDeviceGetCount(_));
    assert!(count >= 1);
    let mut name = [1_i8; 32];
    assert_eq!(
        call!(cuDeviceGetName(name.as_mut_ptr(), 32, DEVICE)),
        SUCCESS
    );
    let name: Vec<u8> = name.iter().map(|byte| *byte as u8).collect();
    assert_eq!(&name[..16], b"gvirtus softgpu\0");
    let mut short = [1_i8; 4];
    assert_eq!(
        call!(cuDeviceGetName(short.as_mut_ptr(), 4, DEVICE)),
        SUCCESS
    );
    assert_eq!(short, [b'g', b'v', b'i', 0].map(|byte| byte as i8));
    let uuid: CUuuid = get!(cuDeviceGetUuid_v2(_, DEVICE));
    assert_eq!(uuid.bytes[0], b'g' as i8);
    let total: usize = get!(cuDeviceTotalMem_v2(_, DEVICE));
    assert!(total >= 256 << 20);
}

#[test]
fn attributes_name_abilities_and_sizes() {
    use CUdevice_attribute as A;
    assert_eq!(call!(cuInit(0)), SUCCESS);
    assert_eq!(
        attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
        8
    );
    assert_eq!(attribute(A::CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
    assert_eq!(
        attribute(A::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK),
        1024
    );
    assert_eq!(attribute(A::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING), 1);
    assert_eq!(attribute(A::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED), 1);
    assert_eq!(attribute(A::CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY), 1);
    for wrong in [0, A::CU_DEVICE_ATTRIBUTE_MAX.0, u32::MAX] {
        let mut value = 0;
        let status = call!(cuDeviceGetAttribute(&raw mut value, A(wrong), DEVICE));
        assert_eq!(status, INVALID_VALUE);
    }
}

#[test]
fn devices_that_do_not_exist_are_refused() {
    assert_eq!(call!(cuInit(0)), SUCCESS);
    let mut value = 0;
    for wrong in [-1, 999] {
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE;
        let status = call!(cuDeviceGetAttribute(
            &raw mut value,
            attribute,
            CUdevice(wrong)
        ));
        assert_eq!(status, CUresult::CUDA_ERROR_INVALID_DEVICE);
    }
    assert_eq!(call!(cuDeviceGetCount(std::ptr::null_mut())), INVALID_VALUE);
}

#[test]
fn a_device_is_found_by_its_pci_address() {
    assert_eq!(call!(cuInit(0)), SUCCESS);
    let mut text = [0_i8; 16];
    let status = call!(cuDeviceGetPCIBusId(text.as_mut_ptr(), 16, DEVICE));
    assert_eq!(status, SUCCESS);
    let found: CUdevice = get!(cuDeviceGetByPCIBusId(_, text.as_ptr()));
    assert_eq!(found, DEVICE);
    let mut device = CUdevice(0);
    let missing = c"0000:7f:00.0".as_ptr();
    assert_eq!(
        call!(cuDeviceGetByPCIBusId(&raw mut device, missing)),
        CUresult::CUDA_ERROR_INVALID_DEVICE
    );
}
