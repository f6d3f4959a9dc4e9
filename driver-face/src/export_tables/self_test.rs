// SPDX-License-Identifier: Apache-2.0
//! The self-test by which cudart makes sure that it talks to the driver that it was linked for.

use hmac::{Hmac, KeyInit, Mac};
use md2::Md2;

use super::DeviceIdentity;

/// What the self-test is about. cudart computes the same answer and fails every call with
/// "integrity checks failed" if the two differ.
///
/// The answer to a `version` that ends in 0 or 1 is a constant. Otherwise it is the HMAC-MD2 (RFC
/// 2104, RFC 1319) of a little-endian record: driver version, `version`, process id and thread id
/// as u32; the three table addresses and the time as u64; then for each device its uuid and PCI
/// domain, bus and device as i32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfTest {
    /// As `cuDriverGetVersion` says.
    pub driver_version: u32,
    /// What cudart asks for.
    pub version: u32,
    /// Of this process.
    pub process_id: u32,
    /// The low 32 bits of `pthread_self()`.
    pub thread_id: u32,
    /// Of the tables that cudart was given.
    pub tables: TableAddresses,
    /// What cudart takes for the time.
    pub unix_seconds: u64,
    /// All of them, in the order of their ordinals.
    pub devices: Vec<DeviceIdentity>,
}

/// Where the tables lie that the self-test covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableAddresses {
    /// The table `6bd5fb6c…`.
    pub cudart_interface: u64,
    /// The table `d4082055…`.
    pub self_test: u64,
    /// The function in slot 1 of that table.
    pub self_test_function: u64,
}

impl SelfTest {
    /// The 16 bytes that cudart expects.
    pub fn answer(&self) -> [u8; 16] {
        match self.version % 10 {
            0 => constant(0x3341_181C_03CB_675C),
            1 => constant(0x1841_181C_03CB_675C),
            _ => self.hmac(),
        }
    }

    fn hmac(&self) -> [u8; 16] {
        let mut mac =
            Hmac::<Md2>::new_from_slice(&KEY).expect("HMAC takes keys of any length (RFC 2104)");
        for word in [
            self.driver_version,
            self.version,
            self.process_id,
            self.thread_id,
        ] {
            mac.update(&word.to_le_bytes());
        }
        for word in [
            self.tables.cudart_interface,
            self.tables.self_test,
            self.tables.self_test_function,
            self.unix_seconds,
        ] {
            mac.update(&word.to_le_bytes());
        }
        for device in &self.devices {
            mac.update(&device.uuid);
            for number in [device.pci_domain, device.pci_bus, device.pci_device] {
                mac.update(&number.to_le_bytes());
            }
        }
        mac.finalize().into_bytes().into()
    }
}

fn constant(first: u64) -> [u8; 16] {
    let mut answer = [0; 16];
    answer[..8].copy_from_slice(&first.to_le_bytes());
    answer[8..].copy_from_slice(&0x8ED3_83AA_1F4C_D1E8_u64.to_le_bytes());
    answer
}

const KEY: [u8; 16] = [
    0x14, 0x6A, 0xDD, 0xAE, 0x53, 0xA9, 0xA7, 0x52, 0xAA, 0x08, 0x41, 0x36, 0x0B, 0xF5, 0x5A, 0x9F,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn example(version: u32) -> SelfTest {
        SelfTest {
            driver_version: 13050,
            version,
            process_id: 4711,
            thread_id: 0xF7D8_9740,
            tables: TableAddresses {
                cudart_interface: 0x7F00_1234_5000,
                self_test: 0x7F00_1234_6000,
                self_test_function: 0x7F00_0BAD_CAFE,
            },
            unix_seconds: 1_760_000_000,
            devices: vec![
                DeviceIdentity {
                    uuid: *b"gvirtus softgpu0",
                    pci_domain: 0,
                    pci_bus: 1,
                    pci_device: 0,
                },
                DeviceIdentity {
                    uuid: *b"gvirtus softgpu1",
                    pci_domain: 1,
                    pci_bus: -1,
                    pci_device: 31,
                },
            ],
        }
    }

    #[test]
    fn two_versions_have_constant_answers() {
        assert_eq!(example(12080).answer()[..4], [0x5C, 0x67, 0xCB, 0x03]);
        assert_eq!(example(12080).answer()[7], 0x33);
        assert_eq!(example(12081).answer()[7], 0x18);
        assert_eq!(example(12081).answer()[8..], example(12080).answer()[8..]);
    }

    #[test]
    fn other_versions_are_hmac_md2_of_the_record() {
        let test = example(13052);
        assert_eq!(test.answer(), reference(&test));
        let fewer = SelfTest {
            devices: Vec::new(),
            ..example(13052)
        };
        assert_eq!(fewer.answer(), reference(&fewer));
        assert_ne!(fewer.answer(), test.answer());
    }

    #[test]
    fn the_reference_is_md2() {
        // RFC 1319, A.5.
        assert_eq!(
            md2(b"abc"),
            0xDA85_3B0D_3F88_D99B_3028_3A69_E6DE_D6BB_u128.to_be_bytes()
        );
        assert_eq!(
            md2(b"abcdefghijklmnopqrstuvwxyz"),
            0x4E8D_DFF3_6502_92AB_5A41_08C3_AA47_940B_u128.to_be_bytes()
        );
    }

    /// The record spelled out, under RFC 2104's definition with a 16-byte block.
    fn reference(test: &SelfTest) -> [u8; 16] {
        let mut record = Vec::new();
        record.extend(test.driver_version.to_le_bytes());
        record.extend(test.version.to_le_bytes());
        record.extend(test.process_id.to_le_bytes());
        record.extend(test.thread_id.to_le_bytes());
        record.extend(test.tables.cudart_interface.to_le_bytes());
        record.extend(test.tables.self_test.to_le_bytes());
        record.extend(test.tables.self_test_function.to_le_bytes());
        record.extend(test.unix_seconds.to_le_bytes());
        for device in &test.devices {
            record.extend(device.uuid);
            record.extend(device.pci_domain.to_le_bytes());
            record.extend(device.pci_bus.to_le_bytes());
            record.extend(device.pci_device.to_le_bytes());
        }
        let mut inner: Vec<u8> = KEY.iter().map(|byte| byte ^ 0x36).collect();
        inner.extend(&record);
        let mut outer: Vec<u8> = KEY.iter().map(|byte| byte ^ 0x5C).collect();
        outer.extend(md2(&inner));
        md2(&outer)
    }

    /// RFC 1319, step by step.
    fn md2(message: &[u8]) -> [u8; 16] {
        let table = substitution();
        let mut text = message.to_vec();
        let padding = 16 - message.len() % 16;
        text.extend(std::iter::repeat_n(padding as u8, padding));
        let mut checksum = [0_u8; 16];
        let mut last = 0_u8;
        for block in text.chunks(16) {
            for (sum, byte) in checksum.iter_mut().zip(block) {
                *sum ^= table[usize::from(byte ^ last)];
                last = *sum;
            }
        }
        text.extend(checksum);
        let mut state = [0_u8; 48];
        for block in text.chunks(16) {
            for (index, byte) in block.iter().enumerate() {
                state[16 + index] = *byte;
                state[32 + index] = byte ^ state[index];
            }
            let mut last = 0_u8;
            for round in 0..18_u8 {
                for byte in &mut state {
                    *byte ^= table[usize::from(last)];
                    last = *byte;
                }
                last = last.wrapping_add(round);
            }
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&state[..16]);
        digest
    }

    /// MD2's table is a Fisher-Yates shuffle of 0..256 driven by the decimal digits of pi, so it is
    /// computed here (the digits by Rabinowitz and Wagon's spigot).
    fn substitution() -> [u8; 256] {
        let mut digits = pi_digits(800).into_iter();
        let mut below = |limit: usize| {
            let (mut value, mut range) = (0_usize, 1_usize);
            while range < limit {
                value = value * 10 + digits.next().expect("enough digits");
                range *= 10;
            }
            (value, range)
        };
        let mut table: [u8; 256] = std::array::from_fn(|index| index as u8);
        for index in 2..=256 {
            let draw = loop {
                let (value, range) = below(index);
                if value < index * (range / index) {
                    break value % index;
                }
            };
            table.swap(draw, index - 1);
        }
        table
    }

    fn pi_digits(count: usize) -> Vec<usize> {
        let mut remainders = vec![2_usize; count * 10 / 3 + 1];
        let mut digits = Vec::new();
        for _ in 0..count {
            let mut carry = 0;
            for index in (0..remainders.len()).rev() {
                let value = remainders[index] * 10 + carry * (index + 1);
                let divisor = 2 * index + 1;
                if index == 0 {
                    remainders[0] = value % 10;
                    carry = value / 10;
                } else {
                    remainders[index] = value % divisor;
                    carry = value / divisor;
                }
            }
            digits.push(carry);
        }
        for index in (1..digits.len()).rev() {
            digits[index - 1] += digits[index] / 10;
            digits[index] %= 10;
        }
        digits
    }
}
