// SPDX-License-Identifier: Apache-2.0
//! CUDA's math library, compiled by nvcc and NVRTC, against the C library in double precision,
//! within the error bounds of the CUDA C++ Programming Guide ("Mathematical Functions").

mod common;

use common::{Device, Random};

mod reference {
    unsafe extern "C" {
        pub(crate) safe fn erf(x: f64) -> f64;
        pub(crate) safe fn erfc(x: f64) -> f64;
        pub(crate) safe fn tgamma(x: f64) -> f64;
        pub(crate) safe fn lgamma(x: f64) -> f64;
        pub(crate) safe fn j0(x: f64) -> f64;
        pub(crate) safe fn j1(x: f64) -> f64;
        pub(crate) safe fn y0(x: f64) -> f64;
        pub(crate) safe fn y1(x: f64) -> f64;
        pub(crate) safe fn exp10(x: f64) -> f64;
        pub(crate) safe fn logb(x: f64) -> f64;
        pub(crate) safe fn rint(x: f64) -> f64;
        pub(crate) safe fn round(x: f64) -> f64;
        pub(crate) safe fn remainder(x: f64, y: f64) -> f64;
        pub(crate) safe fn fmod(x: f64, y: f64) -> f64;
        pub(crate) safe fn pow(x: f64, y: f64) -> f64;
        pub(crate) safe fn fdim(x: f64, y: f64) -> f64;
        pub(crate) safe fn fmax(x: f64, y: f64) -> f64;
        pub(crate) safe fn fmin(x: f64, y: f64) -> f64;
        pub(crate) safe fn log1p(x: f64) -> f64;
        pub(crate) safe fn expm1(x: f64) -> f64;
        pub(crate) safe fn asinh(x: f64) -> f64;
        pub(crate) safe fn acosh(x: f64) -> f64;
        pub(crate) safe fn atanh(x: f64) -> f64;
    }
}

/// Where arguments are taken from.
#[derive(Clone, Copy)]
enum Domain {
    /// All finite numbers and what is special.
    All,
    /// Uniformly between two numbers, plus what is special if it is between them.
    Between(f64, f64),
}

struct Unary {
    name: &'static str,
    reference: fn(f64) -> f64,
    /// Documented maximum errors in units in the last place, single and double.
    bounds: [f64; 2],
    domain: Domain,
}

const fn unary(
    name: &'static str,
    reference: fn(f64) -> f64,
    bounds: [f64; 2],
    domain: Domain,
) -> Unary {
    Unary {
        name,
        reference,
        bounds,
        domain,
    }
}

use Domain::{All, Between};

#[rustfmt::skip]
const UNARY: &[Unary] = &[
    unary("sin", f64::sin, [2.0, 2.0], All),
    unary("cos", f64::cos, [2.0, 2.0], All),
    unary("tan", f64::tan, [4.0, 2.0], All),
    unary("exp", f64::exp, [2.0, 1.0], Between(-110.0, 95.0)),
    unary("exp2", f64::exp2, [2.0, 1.0], Between(-150.0, 130.0)),
    unary("exp10", |x| reference::exp10(x), [2.0, 1.0], Between(-45.0, 40.0)),
    unary("expm1", |x| reference::expm1(x), [1.0, 1.0], Between(-30.0, 90.0)),
    unary("log", f64::ln, [1.0, 1.0], All),
    unary("log2", f64::log2, [1.0, 1.0], All),
    unary("log10", f64::log10, [2.0, 1.0], All),
    unary("log1p", |x| reference::log1p(x), [1.0, 1.0], All),
    unary("sqrt", f64::sqrt, [0.0, 0.0], All),
    unary("rsqrt", |x| 1.0 / x.sqrt(), [2.0, 1.0], All),
    unary("cbrt", f64::cbrt, [1.0, 1.0], All),
    unary("rcbrt", |x| 1.0 / x.cbrt(), [1.0, 1.0], All),
    unary("sinh", f64::sinh, [3.0, 2.0], Between(-90.0, 90.0)),
    unary("cosh", f64::cosh, [2.0, 1.0], Between(-90.0, 90.0)),
    unary("tanh", f64::tanh, [2.0, 1.0], Between(-30.0, 30.0)),
    unary("asin", f64::asin, [2.0, 2.0], Between(-1.1, 1.1)),
    unary("acos", f64::acos, [2.0, 2.0], Between(-1.1, 1.1)),
    unary("atan", f64::atan, [2.0, 2.0], All),
    unary("asinh", |x| reference::asinh(x), [3.0, 3.0], All),
    unary("acosh", |x| reference::acosh(x), [4.0, 3.0], All),
    unary("atanh", |x| reference::atanh(x), [3.0, 2.0], Between(-1.1, 1.1)),
    unary("erf", |x| reference::erf(x), [2.0, 2.0], Between(-6.0, 6.0)),
    unary("erfc", |x| reference::erfc(x), [4.0, 5.0], Between(-6.0, 9.0)),
    unary("tgamma", |x| reference::tgamma(x), [5.0, 10.0], Between(0.01, 33.0)),
    unary("lgamma", |x| reference::lgamma(x), [6.0, 4.0], Between(3.0, 1000.0)),
    unary("j0", |x| reference::j0(x), [9.0, 7.0], Between(-2.0, 2.0)),
    unary("j1", |x| reference::j1(x), [9.0, 7.0], Between(-3.0, 3.0)),
    unary("y0", |x| reference::y0(x), [9.0, 7.0], Between(1.2, 3.0)),
    unary("y1", |x| reference::y1(x), [9.0, 7.0], Between(0.1, 2.0)),
    unary("ceil", f64::ceil, [0.0, 0.0], All),
    unary("floor", f64::floor, [0.0, 0.0], All),
    unary("trunc", f64::trunc, [0.0, 0.0], All),
    unary("rint", |x| reference::rint(x), [0.0, 0.0], All),
    unary("nearbyint", |x| reference::rint(x), [0.0, 0.0], All),
    unary("round", |x| reference::round(x), [0.0, 0.0], All),
    unary("fabs", f64::abs, [0.0, 0.0], All),
    unary("logb", |x| reference::logb(x), [0.0, 0.0], All),
    unary("sinpi", |x| (x * std::f64::consts::PI).sin(), [1.0, 2.0], Between(-0.25, 0.25)),
    unary("cospi", |x| (x * std::f64::consts::PI).cos(), [1.0, 2.0], Between(-0.25, 0.25)),
    unary("normcdf", |x| 0.5 * reference::erfc(-x * std::f64::consts::FRAC_1_SQRT_2), [5.0, 5.0], Between(-1.0, 3.0)),
];

struct Binary {
    name: &'static str,
    reference: fn(f64, f64) -> f64,
    bounds: [f64; 2],
    domain: Domain,
}

const fn binary(
    name: &'static str,
    reference: fn(f64, f64) -> f64,
    bounds: [f64; 2],
    domain: Domain,
) -> Binary {
    Binary {
        name,
        reference,
        bounds,
        domain,
    }
}

#[rustfmt::skip]
const BINARY: &[Binary] = &[
    binary("pow", |x, y| reference::pow(x, y), [4.0, 2.0], Between(-20.0, 20.0)),
    binary("atan2", f64::atan2, [3.0, 2.0], All),
    binary("fmod", |x, y| reference::fmod(x, y), [0.0, 0.0], Between(-1000.0, 1000.0)),
    binary("remainder", |x, y| reference::remainder(x, y), [0.0, 0.0], Between(-1000.0, 1000.0)),
    binary("hypot", f64::hypot, [3.0, 2.0], Between(-1e18, 1e18)),
    binary("rhypot", |x, y| 1.0 / x.hypot(y), [2.0, 1.0], Between(-1e18, 1e18)),
    binary("copysign", f64::copysign, [0.0, 0.0], All),
    binary("fdim", |x, y| reference::fdim(x, y), [0.0, 0.0], All),
    binary("fmax", |x, y| reference::fmax(x, y), [0.0, 0.0], All),
    binary("fmin", |x, y| reference::fmin(x, y), [0.0, 0.0], All),
];

const COUNT: usize = 4096;

const SPECIAL: [f64; 18] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    -2.0,
    3.0,
    1e-30,
    -1e-30,
    1e-40,
    1e30,
    -1e30,
    105615.5,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

fn arguments(domain: Domain, seed: u64, single: bool) -> Vec<f64> {
    let mut random = Random(seed);
    let mut values: Vec<f64> = match domain {
        All => SPECIAL.to_vec(),
        Between(low, high) => SPECIAL
            .iter()
            .copied()
            .filter(|v| (low..=high).contains(v))
            .collect(),
    };
    while values.len() < COUNT {
        values.push(match domain {
            Between(low, high) => low + (high - low) * random.unit(),
            All if values.len().is_multiple_of(2) => 40.0 * random.unit() - 20.0,
            All if single => f64::from(f32::from_bits(random.next() as u32)),
            All => f64::from_bits(random.next()),
        });
    }
    if single {
        values
            .iter_mut()
            .for_each(|value| *value = f64::from(*value as f32));
    }
    values
}

/// Distance in units in the last place of the result's format.
fn distance(result: f64, expected: f64, single: bool) -> f64 {
    if result.is_nan() && expected.is_nan() || result == expected {
        return 0.0;
    }
    let rounded = if single {
        f64::from(expected as f32)
    } else {
        expected
    };
    if result == rounded {
        return 0.0;
    }
    if !result.is_finite() || !rounded.is_finite() {
        return f64::INFINITY;
    }
    let (digits, least) = if single { (23, -149) } else { (52, -1074) };
    let exponent = (rounded.abs().log2().floor() as i32)
        .saturating_sub(digits)
        .max(least);
    // In two steps: the smallest units are subnormal.
    let unit = 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
    (result - expected).abs() / unit
}

/// The C library's own error in double precision.
const REFERENCE_ULPS: f64 = 1.0;

fn check(
    what: &str,
    single: bool,
    bound: f64,
    arguments: impl Fn(usize) -> Vec<f64>,
    expected: impl Fn(usize) -> f64,
    results: &[f64],
) -> Option<String> {
    let slack = if bound == 0.0 || single {
        0.51
    } else {
        REFERENCE_ULPS
    };
    let worst = (0..COUNT)
        .map(|i| (distance(results[i], expected(i), single), i))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let (error, at) = worst?;
    // A single-precision bound is against the exact value, the reference is one rounding away.
    if error <= bound + if bound == 0.0 { 0.0 } else { slack } {
        return None;
    }
    let precision = if single { "f32" } else { "f64" };
    Some(format!(
        "{what} {precision}: {error} ulp at {:?}: {} instead of {}",
        arguments(at),
        results[at],
        expected(at)
    ))
}

/// Runs `k_NAME` on the same arguments in both precisions.
fn run(device: &Device, name: &str, singles: &[f64], doubles: &[f64]) -> [Vec<f64>; 2] {
    let kernel = format!("k_{name}");
    let singles: Vec<f32> = singles.iter().map(|&value| value as f32).collect();
    let (out, out_double) = (device.zeroed::<f32>(COUNT), device.zeroed::<f64>(COUNT));
    let arguments = device
        .arguments(&kernel)
        .add(out)
        .add(device.upload(&singles));
    let arguments = arguments
        .add(out_double)
        .add(device.upload(doubles))
        .add(COUNT as i32);
    device.run(&kernel, COUNT as u32 / 128, 128, arguments);
    let single = device
        .download::<f32>(out, COUNT)
        .into_iter()
        .map(f64::from)
        .collect();
    [single, device.download::<f64>(out_double, COUNT)]
}

fn corpus(name: &str) -> String {
    let path = format!(
        "{}/tests/ptx/corpus/{name}.ptx.zst",
        env!("CARGO_MANIFEST_DIR")
    );
    let bytes = std::fs::read(path).unwrap();
    String::from_utf8(zstd::bulk::decompress(&bytes, 64 << 20).unwrap()).unwrap()
}

/// `gamma_ulps` is the documented error of `tgammaf`, which a later toolkit made smaller.
fn check_library(module: &str, gamma_ulps: f64) {
    let device = Device::new(&corpus(module));
    let mut failures = Vec::new();
    for function in UNARY {
        let inputs = [true, false].map(|single| arguments(function.domain, 1, single));
        let results = run(&device, function.name, &inputs[0], &inputs[1]);
        for (precision, single) in [(0, true), (1, false)] {
            let is_gamma = function.name == "tgamma" && single;
            let bound = if is_gamma {
                gamma_ulps
            } else {
                function.bounds[precision]
            };
            let input = &inputs[precision];
            failures.extend(check(
                function.name,
                single,
                bound,
                |i| vec![input[i]],
                |i| (function.reference)(input[i]),
                &results[precision],
            ));
        }
    }
    for function in BINARY {
        let inputs = [true, false].map(|single| {
            let mut inputs = arguments(function.domain, 2, single);
            let mut second = arguments(function.domain, 3, single);
            second.rotate_left(7);
            inputs.extend(second);
            inputs
        });
        let results = run(&device, function.name, &inputs[0], &inputs[1]);
        for (precision, single) in [(0, true), (1, false)] {
            let input = &inputs[precision];
            failures.extend(check(
                function.name,
                single,
                function.bounds[precision],
                |i| vec![input[i], input[i + COUNT]],
                |i| (function.reference)(input[i], input[i + COUNT]),
                &results[precision],
            ));
        }
    }
    assert!(failures.is_empty(), "{module}:\n{}", failures.join("\n"));
}

#[test]
fn the_library_of_cuda_13_is_within_its_bounds() {
    check_library("math.75", 5.0);
}

#[test]
fn the_library_of_cuda_11_is_within_its_bounds() {
    check_library("nvrtc-math.118.52", 11.0);
}
