// SPDX-License-Identifier: Apache-2.0
//! Tensor-core instructions against plain matrix multiplication.

mod common;

use common::{Device, Plain, Random};

const KERNELS: &str = include_str!("ptx/matrix.ptx");

/// Small numbers whose products and sums are exact in every format used here.
fn numbers(count: usize, seed: u64, signed: bool) -> Vec<f64> {
    let mut random = Random(seed);
    let number = |bits: u64| (bits % 9) as f64 - if signed { 4.0 } else { 0.0 };
    (0..count).map(|_| number(random.next())).collect()
}

/// `a[m][k] * b[k][n] + c[m][n]`, all row by row.
fn product(a: &[f64], b: &[f64], c: &[f64], [m, n, k]: [usize; 3]) -> Vec<f64> {
    let mut d = c.to_vec();
    for row in 0..m {
        for column in 0..n {
            d[row * n + column] += (0..k)
                .map(|i| a[row * k + i] * b[i * n + column])
                .sum::<f64>();
        }
    }
    d
}

fn transposed(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..columns * rows)
        .map(|at| matrix[at % rows * columns + at / rows])
        .collect()
}

/// To half precision; the numbers are small integers.
fn half(value: f64) -> u16 {
    if value == 0.0 {
        return 0;
    }
    let bits = (value as f32).to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    ((bits >> 16 & 0x8000) | (exponent as u32) << 10 | (bits >> 13 & 0x3ff)) as u16
}

fn bfloat(value: f64) -> u16 {
    ((value as f32).to_bits() >> 16) as u16
}

struct Case {
    kernel: &'static str,
    shape: [usize; 3],
    row_a: bool,
    row_b: bool,
    signed: bool,
}

fn check<I: Plain, O: Plain + PartialEq + std::fmt::Debug>(
    case: &Case,
    input: fn(f64) -> I,
    output: fn(f64) -> O,
) {
    let device = Device::new(KERNELS);
    let [m, n, k] = case.shape;
    let a = numbers(m * k, 1, case.signed);
    let b = numbers(k * n, 2, case.signed);
    let c = numbers(m * n, 3, true);
    let upload =
        |values: Vec<f64>| device.upload(&values.into_iter().map(input).collect::<Vec<I>>());
    let a_stored = upload(if case.row_a {
        a.clone()
    } else {
        transposed(&a, m, k)
    });
    let b_stored = upload(if case.row_b {
        b.clone()
    } else {
        transposed(&b, k, n)
    });
    let c_stored = device.upload(&c.iter().map(|&value| output(value)).collect::<Vec<O>>());
    let d_stored = device.zeroed::<O>(m * n);
    let arguments = device.arguments(case.kernel).add(a_stored).add(b_stored);
    device.run(case.kernel, 1, 32, arguments.add(c_stored).add(d_stored));
    let expected: Vec<O> = product(&a, &b, &c, case.shape)
        .into_iter()
        .map(output)
        .collect();
    assert_eq!(
        device.download::<O>(d_stored, m * n),
        expected,
        "{}",
        case.kernel
    );
}

const fn case(kernel: &'static str, shape: [usize; 3], row_a: bool, row_b: bool) -> Case {
    Case {
        kernel,
        shape,
        row_a,
        row_b,
        signed: true,
    }
}

#[test]
fn half_precision_tiles() {
    let single = |value: f64| value as f32;
    for case in [
        case("half_rr", [16, 16, 16], true, true),
        case("half_rc", [16, 16, 16], true, false),
        case("half_cr", [16, 16, 16], false, true),
        case("half_cc", [16, 16, 16], false, false),
        case("half_wide", [8, 32, 16], true, true),
        case("half_tall", [32, 8, 16], false, true),
        case("half_by_hand", [16, 8, 16], true, true),
    ] {
        check(&case, half, single);
    }
    check(&case("half_sum", [16, 16, 16], true, false), half, half);
}

#[test]
fn other_floating_point_tiles() {
    let single = |value: f64| value as f32;
    check(&case("brain", [16, 16, 16], true, true), bfloat, single);
    check(
        &case("brain_tall", [32, 8, 16], true, false),
        bfloat,
        single,
    );
    check(
        &case("tensor_float", [16, 16, 8], true, false),
        single,
        single,
    );
    check(
        &case("doubles", [8, 8, 4], true, false),
        |value| value,
        |value| value,
    );
}

#[test]
fn integer_tiles() {
    let int = |value: f64| value as i32;
    check(
        &case("signed_bytes", [16, 16, 16], true, false),
        |value| value as i8,
        int,
    );
    let unsigned = Case {
        signed: false,
        ..case("unsigned_bytes", [8, 32, 16], false, true)
    };
    check(&unsigned, |value| value as u8, int);
}

#[test]
fn sums_of_bytes_saturate() {
    let device = Device::new(KERNELS);
    let mut random = Random(9);
    let a: Vec<i8> = (0..16 * 32).map(|_| random.next() as i8).collect();
    // Column by column.
    let b: Vec<u8> = (0..8 * 32).map(|_| random.next() as u8).collect();
    let c: Vec<i32> = (0..16 * 8)
        .map(|i| [i32::MAX - 5, i32::MIN + 5, 0, random.next() as i32][i % 4])
        .collect();
    let d = device.zeroed::<i32>(16 * 8);
    let arguments = device.arguments("bytes_by_hand").add(device.upload(&a));
    let arguments = arguments
        .add(device.upload(&b))
        .add(device.upload(&c))
        .add(d);
    device.run("bytes_by_hand", 1, 32, arguments);
    let result = device.download::<i32>(d, 16 * 8);
    for row in 0..16 {
        for column in 0..8 {
            let products =
                (0..32).map(|k| i32::from(a[row * 32 + k]) * i32::from(b[column * 32 + k]));
            let expected = c[row * 8 + column].saturating_add(products.sum());
            assert_eq!(result[row * 8 + column], expected, "{row} {column}");
        }
    }
}

#[test]
fn a_matrix_of_registers_is_transposed() {
    let device = Device::new(KERNELS);
    let input: Vec<u16> = (0..64).map(|i| i * 257).collect();
    let out = device.zeroed::<u16>(64);
    let arguments = device
        .arguments("transpose")
        .add(device.upload(&input))
        .add(out);
    device.run("transpose", 1, 32, arguments);
    let result = device.download::<u16>(out, 64);
    for row in 0..8 {
        for column in 0..8 {
            assert_eq!(
                result[row * 8 + column],
                input[column * 8 + row],
                "{row} {column}"
            );
        }
    }
}
