// SPDX-License-Identifier: Apache-2.0
//! Real compiler output, from text to results, against what the same program computes here.

mod common;

use common::{Device, Random};
use gvirtus_softgpu::exec::{Fault, LaunchConfig};

const KERNELS: &str = include_str!("ptx/kernels.ptx");

fn numbers(count: usize, below: u64) -> Vec<i32> {
    let mut random = Random(count as u64);
    (0..count).map(|_| (random.next() % below) as i32).collect()
}

#[test]
fn vector_add() {
    let device = Device::new(KERNELS);
    let n = 10_000;
    let a: Vec<f32> = (0..n).map(|i| i as f32 * 0.25).collect();
    let b: Vec<f32> = (0..n).map(|i| 1.0 / (i + 1) as f32).collect();
    let out = device.zeroed::<f32>(n + 1);
    let arguments = device.arguments("vector_add");
    let arguments = arguments
        .add(device.upload(&a))
        .add(device.upload(&b))
        .add(out)
        .add(n as i32);
    device.run("vector_add", (n as u32).div_ceil(256), 256, arguments);
    let result = device.download::<f32>(out, n + 1);
    for i in 0..n {
        assert_eq!(result[i], a[i] + b[i], "{i}");
    }
    assert_eq!(result[n], 0.0);
}

#[test]
fn reduction_with_shuffles() {
    let device = Device::new(KERNELS);
    let values = numbers(100_003, 1 << 31);
    let expected: i64 = values.iter().map(|&v| i64::from(v)).sum();
    for block in [32, 96, 256, 1024] {
        let out = device.zeroed::<i64>(1);
        let arguments = device.arguments("reduce_shuffle");
        let arguments = arguments
            .add(device.upload(&values))
            .add(out)
            .add(values.len() as i32);
        device.run("reduce_shuffle", 13, block, arguments);
        assert_eq!(device.download::<i64>(out, 1)[0], expected, "{block}");
    }
}

#[test]
fn matrix_multiplication_in_shared_memory() {
    let device = Device::new(KERNELS);
    let n = 64;
    let mut random = Random(1);
    let mut matrix = || {
        (0..n * n)
            .map(|_| random.unit() as f32 - 0.5)
            .collect::<Vec<f32>>()
    };
    let (a, b) = (matrix(), matrix());
    let out = device.zeroed::<f32>(n * n);
    let arguments = device.arguments("matrix_multiply");
    let arguments = arguments
        .add(device.upload(&a))
        .add(device.upload(&b))
        .add(out)
        .add(n as i32);
    let config = LaunchConfig {
        grid: [n as u32 / 16, n as u32 / 16, 1],
        block: [16, 16, 1],
        dynamic_shared_bytes: 0,
        cooperative: false,
        cluster: None,
    };
    device
        .try_run("matrix_multiply", &config, arguments)
        .unwrap();
    let result = device.download::<f32>(out, n * n);
    for row in 0..n {
        for column in 0..n {
            // The compiler contracts to fused multiply-add, in this order.
            let sum = (0..n).fold(0f32, |s, k| a[row * n + k].mul_add(b[k * n + column], s));
            assert_eq!(result[row * n + column], sum, "{row} {column}");
        }
    }
}

#[test]
fn divergent_loops() {
    let device = Device::new(KERNELS);
    let values: Vec<u32> = numbers(1000, 100_000).iter().map(|&v| v as u32).collect();
    let n = values.len();
    let (steps, peak) = (device.zeroed::<u32>(n), device.zeroed::<u32>(n));
    let arguments = device.arguments("collatz").add(device.upload(&values));
    device.run(
        "collatz",
        8,
        128,
        arguments.add(steps).add(peak).add(n as i32),
    );
    let (steps, peak) = (
        device.download::<u32>(steps, n),
        device.download::<u32>(peak, n),
    );
    for (i, &start) in values.iter().enumerate() {
        let (mut value, mut count, mut highest) = (start, 0, start);
        while value > 1 {
            value = if value % 2 == 1 {
                value.wrapping_mul(3).wrapping_add(1)
            } else {
                value / 2
            };
            highest = highest.max(value);
            count += 1;
            if count > 10_000 {
                break;
            }
        }
        assert_eq!((steps[i], peak[i]), (count, highest), "{start}");
    }
}

fn fibonacci(n: i32) -> i32 {
    if n < 2 {
        n
    } else {
        fibonacci(n - 1) + fibonacci(n - 2)
    }
}

#[test]
fn recursion_differs_by_thread() {
    let device = Device::new(KERNELS);
    let out = device.zeroed::<i32>(64);
    device.run("recursion", 1, 64, device.arguments("recursion").add(out));
    let result = device.download::<i32>(out, 64);
    for (t, value) in result.iter().enumerate() {
        let t = t as i32;
        // Ackermann's function at 2 is 2n + 3.
        assert_eq!(*value, fibonacci(t % 12) + 2 * (t % 5) + 3, "{t}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Packed {
    c: i8,
    s: i16,
    i: i32,
    d: f64,
    tail: [u8; 5],
}

impl Packed {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![self.c as u8, 0];
        bytes.extend(self.s.to_le_bytes());
        bytes.extend(self.i.to_le_bytes());
        bytes.extend(self.d.to_le_bytes());
        bytes.extend(self.tail);
        bytes.resize(24, 0);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self {
            c: bytes[0] as i8,
            s: i16::from_le_bytes(bytes[2..4].try_into().unwrap()),
            i: i32::from_le_bytes(bytes[4..8].try_into().unwrap()),
            d: f64::from_le_bytes(bytes[8..16].try_into().unwrap()),
            tail: bytes[16..21].try_into().unwrap(),
        }
    }

    fn change(mut self, by: i32, scale: f32) -> Self {
        self.c = self.c.wrapping_add(by as i8);
        self.s = self.s.wrapping_mul(2);
        self.i = self.i.wrapping_sub(by);
        self.d *= f64::from(scale);
        for (k, byte) in self.tail.iter_mut().enumerate() {
            *byte = byte.wrapping_add((by + k as i32) as u8);
        }
        self
    }
}

#[test]
fn structures_by_value() {
    let device = Device::new(KERNELS);
    let input = Packed {
        c: 100,
        s: -20_000,
        i: 1 << 30,
        d: 3.25,
        tail: [250, 1, 2, 3, 4],
    };
    let out = device.zeroed::<u8>(32 * 24);
    let mut arguments = device.arguments("structs");
    arguments.bytes(&input.to_bytes());
    device.run("structs", 1, 32, arguments.add(out));
    let result = device.download::<u8>(out, 32 * 24);
    for (t, bytes) in result.chunks(24).enumerate() {
        let mut expected = input.change(t as i32, 0.5);
        if t % 2 == 1 {
            expected = expected.change(3, 4.0);
        }
        assert_eq!(Packed::from_bytes(bytes), expected, "{t}");
    }
}

#[test]
fn calls_through_pointers_and_virtual_functions() {
    let device = Device::new(KERNELS);
    let out = device.zeroed::<i32>(192);
    device.run("indirect", 1, 96, device.arguments("indirect").add(out));
    let result = device.download::<i32>(out, 192);
    for t in 0..96i32 {
        let expected = [t + 7, t * 7, t - 7][t as usize % 3];
        assert_eq!(result[t as usize], expected, "{t}");
        let area = if t % 2 == 1 { t * t } else { t * 3 };
        assert_eq!(result[t as usize + 96], area, "{t}");
    }
}

#[test]
fn constant_and_global_variables() {
    let device = Device::new(KERNELS);
    let out = device.zeroed::<i32>(40);
    device.run("globals", 1, 40, device.arguments("globals").add(out));
    let result = device.download::<i32>(out, 40);
    for (t, &value) in result.iter().enumerate() {
        let table = [3, 1, 4, 1, 5, 9, 2, 6][t % 8];
        assert_eq!(
            value,
            table * 10 + i32::from(b"pointer to text"[t % 8]),
            "{t}"
        );
    }
    assert_eq!(
        device.download::<i32>(device.variable("counter"), 1)[0],
        140
    );
}

#[test]
fn printf_formats_as_c_does() {
    let device = Device::new(KERNELS);
    device.run("print", 1, 32, device.arguments("print").add(3i32));
    assert_eq!(
        device.printed(),
        "thread 0 of text:  0.00 a 0x123456789abc 7%\n\
         thread 1 of text:  1.50 b 0x123456789abd 7%\n\
         thread 2 of text:  3.00 c 0x123456789abe 7%\n"
    );
}

#[test]
fn switches_and_early_returns() {
    let device = Device::new(KERNELS);
    let values: Vec<i32> = (0..64).map(|i| i % 11).collect();
    let out = device.upload(&[-77i32; 64]);
    let arguments = device
        .arguments("switches")
        .add(device.upload(&values))
        .add(out);
    device.run("switches", 1, 64, arguments);
    let result = device.download::<i32>(out, 64);
    for (t, &v) in values.iter().enumerate() {
        let expected = match v {
            0 => 5,
            1 => 17,
            2 => -98,
            3 => 8,
            4 => 2 * t as i32 + 4,
            // Reads a variable that nothing has set.
            5 => continue,
            6 => !6,
            7 => -77,
            8 => 2,
            _ => -1,
        };
        assert_eq!(result[t], expected, "{t}: {v}");
    }
}

#[test]
fn dynamic_shared_memory_after_static() {
    let device = Device::new(KERNELS);
    let values = numbers(200, 1000);
    let out = device.zeroed::<i32>(256);
    let arguments = device
        .arguments("scan_dynamic")
        .add(device.upload(&values))
        .add(out);
    let config = LaunchConfig {
        grid: [1, 1, 1],
        block: [256, 1, 1],
        dynamic_shared_bytes: 1024,
        cooperative: false,
        cluster: None,
    };
    device
        .try_run("scan_dynamic", &config, arguments.add(200i32))
        .unwrap();
    let result = device.download::<i32>(out, 256);
    let mut sum = 1000;
    for (i, value) in values.iter().enumerate() {
        sum += value;
        assert_eq!(result[i], sum, "{i}");
    }
}

#[test]
fn groups_of_lanes() {
    let device = Device::new(KERNELS);
    let values = numbers(64, 100);
    let out = device.zeroed::<i32>(384);
    let arguments = device
        .arguments("groups")
        .add(device.upload(&values))
        .add(out);
    device.run("groups", 1, 64, arguments);
    let result = device.download::<i32>(out, 384);
    for t in 0..64 {
        let warp = &values[t / 32 * 32..][..32];
        let tile = &values[t / 4 * 4..][..4];
        assert_eq!(result[t], warp.iter().sum::<i32>(), "{t}");
        assert_eq!(result[t + 64], *tile.iter().max().unwrap(), "{t}");
        let thirds = |lanes: &[i32]| lanes.iter().filter(|&v| v % 3 == 0).count() as i32;
        let rank = if values[t] % 3 == 0 {
            thirds(warp) * 100 + thirds(&warp[..t % 32])
        } else {
            -1
        };
        assert_eq!(result[t + 128], rank, "{t}");
        let mask = |accept: &dyn Fn(i32) -> bool| {
            warp.iter()
                .rev()
                .fold(0u32, |mask, &v| mask << 1 | u32::from(accept(v)))
        };
        assert_eq!(result[t + 192] as u32, mask(&|v| v & 1 != 0), "{t}");
        assert_eq!(
            result[t + 256] as u32,
            mask(&|v| v % 4 == values[t] % 4),
            "{t}"
        );
        assert_eq!(
            result[t + 320],
            values.iter().filter(|&&v| v > 50).count() as i32,
            "{t}"
        );
    }
}

#[test]
fn arrays_in_local_memory() {
    let device = Device::new(KERNELS);
    let values = numbers(100, 1000);
    let out = device.zeroed::<i32>(50);
    let arguments = device
        .arguments("local_array")
        .add(device.upload(&values))
        .add(out);
    device.run("local_array", 1, 50, arguments.add(100i32));
    let result = device.download::<i32>(out, 50);
    for (t, &value) in result.iter().enumerate() {
        let mut histogram = [0; 16];
        for (i, v) in values.iter().enumerate() {
            histogram[(*v as usize + t) % 16] += i as i32;
        }
        let best = (0..16).fold(0, |best, i| {
            if histogram[i] > histogram[best] {
                i
            } else {
                best
            }
        });
        assert_eq!(value, best as i32 * 1000 + histogram[best], "{t}");
    }
}

#[test]
fn arithmetic_of_128_bits() {
    let device = Device::new(KERNELS);
    let mut random = Random(7);
    let mut values: Vec<u64> = (0..67).map(|_| random.next()).collect();
    values[3..9].copy_from_slice(&[u64::MAX, u64::MAX, 0, 1, u64::MAX, 0]);
    let out = device.zeroed::<u64>(64 * 6);
    let arguments = device
        .arguments("wide")
        .add(device.upload(&values))
        .add(out);
    device.run("wide", 1, 64, arguments);
    let result = device.download::<u64>(out, 64 * 6);
    for (t, words) in result.chunks(6).enumerate() {
        let pair = |i: usize| u128::from(values[i]) << 64 | u128::from(values[i + 1]);
        let (a, b) = (pair(t), pair(t + 2));
        let computed = |i: usize| u128::from(words[i + 1]) << 64 | u128::from(words[i]);
        assert_eq!(computed(0), a.wrapping_add(b), "{t}");
        assert_eq!(computed(2), a.wrapping_sub(b), "{t}");
        assert_eq!(computed(4), a.wrapping_mul(b), "{t}");
    }
}

#[test]
fn memory_from_the_device_heap() {
    let device = Device::new(KERNELS);
    let out = device.zeroed::<i32>(100);
    device.run("heap", 1, 100, device.arguments("heap").add(out));
    let result = device.download::<i32>(out, 100);
    assert!((0..100).all(|t| result[t as usize] == 4 * t), "{result:?}");
}

#[test]
fn allocations_on_the_stack() {
    let device = Device::new(KERNELS);
    let out = device.zeroed::<i32>(64);
    device.run(
        "stack_allocation",
        1,
        64,
        device.arguments("stack_allocation").add(out).add(13i32),
    );
    let result = device.download::<i32>(out, 64);
    for (t, &value) in result.iter().enumerate() {
        let expected: i32 = (0..13).map(|i| (12 - i) * t as i32 * (i + 1)).sum();
        assert_eq!(value, expected, "{t}");
    }
    let arguments = device
        .arguments("stack_allocation")
        .add(out)
        .add(100_000i32);
    let config = LaunchConfig {
        grid: [1; 3],
        block: [1; 3],
        dynamic_shared_bytes: 0,
        cooperative: false,
        cluster: None,
    };
    let fault = device
        .try_run("stack_allocation", &config, arguments)
        .unwrap_err();
    assert!(matches!(fault, Fault::Trap { .. }), "{fault}");
}

#[test]
fn shared_addresses_wrap_at_32_bits() {
    let device = Device::new(KERNELS);
    let out = device.zeroed::<i32>(128);
    device.run("mirrored", 1, 128, device.arguments("mirrored").add(out));
    let result = device.download::<i32>(out, 128);
    for t in 0..128i32 {
        let expected = if t < 64 { 63 - t } else { 191 - t } * 2;
        assert_eq!(result[t as usize], expected, "{t}");
    }
}

#[test]
fn a_spin_lock_in_diverged_lanes_makes_progress() {
    let device = Device::new(KERNELS);
    let (lock, count) = (device.zeroed::<i32>(1), device.zeroed::<i32>(1));
    device.run(
        "lock_and_count",
        4,
        64,
        device.arguments("lock_and_count").add(lock).add(count),
    );
    assert_eq!(device.download::<i32>(count, 1)[0], 256);
}

#[test]
fn a_bad_address_is_a_fault_that_names_the_line() {
    let device = Device::new(KERNELS);
    let arguments = device.arguments("recursion").add(0x10u64);
    let config = LaunchConfig {
        grid: [1; 3],
        block: [1; 3],
        dynamic_shared_bytes: 0,
        cooperative: false,
        cluster: None,
    };
    let fault = device.try_run("recursion", &config, arguments).unwrap_err();
    let Fault::IllegalAddress { location, .. } = fault else {
        panic!("{fault}")
    };
    let line = KERNELS.lines().nth(location.line as usize - 1).unwrap();
    assert!(line.contains("st.global.u32"), "{line}");
}
