// SPDX-License-Identifier: Apache-2.0
//! Tests of device memory.

use super::*;

const TOTAL: u64 = 64 << 20;

#[test]
fn allocations_are_aligned_disjoint_and_counted() {
    let memory = Memory::new(TOTAL).unwrap();
    assert_eq!(memory.info(), (TOTAL, TOTAL));
    let small: Vec<u64> = (1..100).map(|n| memory.alloc(n * 7).unwrap()).collect();
    let large = memory.alloc(3 << 20).unwrap();
    assert_eq!(large % CHUNK_BYTES, 0);
    for pair in small.windows(2) {
        assert_eq!(pair[0] % GRANULE, 0);
        assert!(pair[1] >= pair[0] + GRANULE || pair[0] >= pair[1] + GRANULE);
    }
    assert!(memory.info().0 <= TOTAL - (3 << 20) - 99 * GRANULE);
    for address in small {
        memory.free(address).unwrap();
    }
    memory.free(large).unwrap();
    assert_eq!(memory.info(), (TOTAL, TOTAL));
    assert_eq!(memory.allocator.lock().free.len(), 1);
}

#[test]
fn only_allocated_bytes_are_accessible() {
    let memory = Memory::new(TOTAL).unwrap();
    let a = memory.alloc(1024).unwrap();
    let b = memory.alloc(100).unwrap();
    assert_eq!(b, a + 1024);
    assert!(memory.is_accessible(a, 1));
    assert!(memory.is_accessible(a + 1020, 8));
    assert!(memory.is_accessible(b + 508, 4));
    assert!(!memory.is_accessible(b + 508, 8));
    assert!(!memory.is_accessible(a - 1, 4));
    assert!(!memory.is_accessible(0, 4));
    assert!(!memory.is_accessible(u64::MAX - 2, 4));
    memory.free(a).unwrap();
    assert!(!memory.is_accessible(a + 1020, 8));
    assert!(memory.is_accessible(b, 8));
    assert_eq!(memory.free(a), Err(MemoryError::InvalidValue));
    assert_eq!(memory.free(b + 1), Err(MemoryError::InvalidValue));
}

#[test]
fn ranges_know_their_requested_length() {
    let memory = Memory::new(TOTAL).unwrap();
    let a = memory.alloc(1000).unwrap();
    assert_eq!(memory.range_of(a + 999), Some((a, 1000)));
    assert_eq!(memory.range_of(a + 5000), None);
    assert_eq!(memory.range_of(12), None);
}

#[test]
fn running_out_fails_and_leaves_everything_usable() {
    let memory = Memory::new(TOTAL).unwrap();
    assert_eq!(memory.alloc(TOTAL + 1), Err(MemoryError::OutOfMemory));
    assert_eq!(memory.alloc(0), Err(MemoryError::InvalidValue));
    let all = memory.alloc(TOTAL).unwrap();
    assert_eq!(memory.alloc(1), Err(MemoryError::OutOfMemory));
    memory.free(all).unwrap();
    assert!(memory.alloc(1).is_ok());
}

#[test]
fn host_side_copies_round_trip_and_are_checked() {
    let memory = Memory::new(TOTAL).unwrap();
    let a = memory.alloc(4096).unwrap();
    memory.fill(a, &[1, 2, 3, 4], 1024).unwrap();
    memory.copy(a + 2, a, 1000).unwrap();
    let mut bytes = [0; 8];
    memory.read(a, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 1, 2, 3, 4, 1, 2]);
    memory.fill(a, &[9], 3).unwrap();
    memory.write(a + 3, &[7]).unwrap();
    memory.read(a, &mut bytes).unwrap();
    assert_eq!(bytes, [9, 9, 9, 7, 3, 4, 1, 2]);
    assert!(memory.write(a + 4090, &bytes).is_err());
    assert!(memory.read(a - 1, &mut bytes).is_err());
    assert!(memory.copy(a, a + 1, 4096).is_err());
}

#[test]
fn freed_memory_comes_back_zeroed_and_stays_unreadable_until_reallocated() {
    let memory = Memory::new(TOTAL).unwrap();
    let a = memory.alloc(8 << 20).unwrap();
    memory.fill(a, &[0xaa], 8 << 20).unwrap();
    memory.free(a).unwrap();
    assert!(memory.read(a, &mut [0; 4]).is_err());
    assert_eq!(memory.alloc(8 << 20), Ok(a));
    let mut bytes = [1; 4];
    memory.read(a, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 4]);
}

#[test]
fn two_devices_live_side_by_side_and_see_each_other_only_as_peers() {
    let one = Memory::new(TOTAL).unwrap();
    let two = Arc::new(Memory::new(TOTAL).unwrap());
    let address = two.alloc(512).unwrap();
    assert!(!one.contains(address));
    assert!(!one.is_accessible(address, 4));
    one.enable_peer(&two);
    assert!(one.is_accessible(address, 4));
    assert!(!one.is_accessible(address + 510, 4));
    one.disable_peer(&two);
    assert!(!one.is_accessible(address, 4));
}

#[test]
fn registered_host_memory_is_accessible() {
    let memory = Memory::new(TOTAL).unwrap();
    let host = [0_u8; 64];
    let address = host.as_ptr().expose_provenance() as u64;
    // SAFETY: the array outlives the registration, and nothing is written.
    unsafe { memory.register(address, 64) };
    assert!(memory.is_accessible(address + 60, 4));
    assert!(!memory.is_accessible(address + 61, 4));
    assert_eq!(memory.range_of(address + 1), Some((address, 64)));
    assert!(memory.unregister(address));
    assert!(!memory.is_accessible(address, 1));
}

#[test]
fn reservations_can_be_mapped_in_part() {
    let memory = Memory::new(TOTAL).unwrap();
    let a = memory.reserve(4 << 20, 2 << 20).unwrap();
    assert!(!memory.is_accessible(a, 1));
    assert_eq!(memory.info().0, TOTAL);
    memory.map(a, 2 << 20).unwrap();
    assert!(memory.is_accessible(a, 2 << 20));
    assert!(!memory.is_accessible(a, (2 << 20) + 1));
    assert_eq!(memory.info().0, TOTAL - (2 << 20));
    assert_eq!(
        memory.map(a + (2 << 20), 4 << 20),
        Err(MemoryError::InvalidValue)
    );
    memory.unmap(a, 2 << 20).unwrap();
    assert!(!memory.is_accessible(a, 1));
    memory.free(a).unwrap();
    assert_eq!(memory.info().0, TOTAL);
}

#[test]
fn hidden_allocations_are_accessible_in_the_parts_that_are_shown() {
    let memory = Memory::new(TOTAL).unwrap();
    let base = memory.alloc_hidden(100).unwrap();
    assert_eq!(memory.info().0, TOTAL - CHUNK_BYTES);
    assert!(!memory.is_accessible(base, 1));
    memory.show(base + 512, 1024);
    assert!(memory.is_accessible(base + 512, 1024));
    assert!(!memory.is_accessible(base + 511, 2) && !memory.is_accessible(base + 1535, 2));
    assert_eq!(
        memory.whole_range_of(base + 600),
        Some((base + 512, base + 1536))
    );
    assert_eq!(memory.whole_range_of(base), None);
    memory.hide(base + 512, 1024);
    assert!(!memory.is_accessible(base + 512, 1));
    memory.show(base, 512);
    memory.free_hidden(base).unwrap();
    assert_eq!(memory.info(), (TOTAL, TOTAL));
    assert_eq!(memory.whole_range_of(base), None);
}
