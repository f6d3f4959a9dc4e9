// SPDX-License-Identifier: Apache-2.0
//! `mma.sync` in every shape and type against plain loops, on random tiles. The fragments are laid
//! out here as the PTX ISA documents them ("Matrix Fragments for mma").

mod common;

use common::{Device, Random};

/// Tiles of each form.
const ROUNDS: u64 = 12;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    S32,
    Signed(u32),
    Unsigned(u32),
}
use Type::{Bf16, F16, F32, F64, S32, Signed, Tf32, Unsigned};

impl Type {
    fn bits(self) -> u32 {
        match self {
            F16 | Bf16 => 16,
            Tf32 | F32 | S32 => 32,
            F64 => 64,
            Signed(bits) | Unsigned(bits) => bits,
        }
    }

    fn name(self) -> String {
        match self {
            F16 => "f16".into(),
            Bf16 => "bf16".into(),
            Tf32 => "tf32".into(),
            F32 => "f32".into(),
            F64 => "f64".into(),
            S32 => "s32".into(),
            Signed(bits) => format!("s{bits}"),
            Unsigned(1) => "b1".into(),
            Unsigned(bits) => format!("u{bits}"),
        }
    }

    /// Small whole numbers for floats, so that every sum is exact; any value for integers.
    fn random(self, random: &mut Random) -> i64 {
        let bits = random.next() >> 11;
        match self {
            Signed(width) => ((bits << (64 - width)) as i64) >> (64 - width),
            Unsigned(width) => (bits & ((1 << width) - 1)) as i64,
            S32 => i64::from(bits as i32 >> 8),
            _ => (bits % 13) as i64 - 6,
        }
    }

    fn encode(self, value: i64) -> u64 {
        match self {
            F16 => u64::from(half(value as f32)),
            Bf16 => u64::from((value as f32).to_bits() >> 16),
            Tf32 | F32 => u64::from((value as f32).to_bits()),
            F64 => (value as f64).to_bits(),
            _ => value as u64 & (u64::MAX >> (64 - self.bits())),
        }
    }

    /// How PTX declares a register of it.
    fn register(self) -> &'static str {
        match self {
            F64 => "f64",
            F32 => "f32",
            _ => "b32",
        }
    }
}

/// To half precision; whole numbers up to 2048.
fn half(value: f32) -> u16 {
    if value == 0.0 {
        return 0;
    }
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) - 127 + 15;
    (bits >> 16 & 0x8000) as u16 | (exponent << 10) as u16 | (bits >> 13 & 0x3ff) as u16
}

#[derive(Clone, Copy, Debug)]
struct Form {
    shape: [usize; 3],
    a: Type,
    b: Type,
    c: Type,
    d: Type,
    /// `.satfinite`, `.xor.popc`, `.and.popc`, or nothing.
    modifier: &'static str,
}

impl Form {
    fn instruction(&self) -> String {
        let [m, n, k] = self.shape;
        let types = [self.d, self.a, self.b, self.c].map(Type::name).join(".");
        let (saturate, bits) = match self.modifier {
            ".satfinite" => (".satfinite", ""),
            other => ("", other),
        };
        format!("mma.sync.aligned.m{m}n{n}k{k}.row.col{saturate}.{types}{bits}")
    }

    /// Registers of A, B, C and D.
    fn registers(&self) -> [usize; 4] {
        let [m, _, k] = self.shape;
        let inner = k / (4 * per_register(self.a));
        let sums = |ty: Type| if ty == F16 { m / 8 } else { m / 4 };
        [m / 8 * inner, inner, sums(self.c), sums(self.d)]
    }

    fn kernel(&self) -> String {
        let counts = self.registers();
        let mut body = String::new();
        let mut lists = Vec::new();
        for (operand, (ty, count)) in [self.a, self.b, self.c, self.d]
            .iter()
            .zip(counts)
            .enumerate()
        {
            let name = ["a", "b", "c", "d"][operand];
            let (register, bytes) = (ty.register(), if *ty == F64 { 8 } else { 4 });
            body += &format!(
                ".reg .{register} %{name}<{count}>;\n.reg .b64 %p{name};\n\
                 ld.param.u64 %p{name}, [{name}];\nmad.wide.u32 %p{name}, %lane, {}, %p{name};\n",
                count * bytes
            );
            let each = (0..count).map(|index| format!("%{name}{index}"));
            lists.push(format!(
                "{{{}}}",
                each.clone().collect::<Vec<_>>().join(", ")
            ));
            for (index, each) in each.enumerate().filter(|_| operand < 3) {
                body += &format!(
                    "ld.global.{register} {each}, [%p{name}+{}];\n",
                    index * bytes
                );
            }
        }
        body += &format!(
            "{} {}, {}, {}, {};\n",
            self.instruction(),
            lists[3],
            lists[0],
            lists[1],
            lists[2]
        );
        let (register, bytes) = (self.d.register(), if self.d == F64 { 8 } else { 4 });
        for index in 0..counts[3] {
            body += &format!("st.global.{register} [%pd+{}], %d{index};\n", index * bytes);
        }
        format!(
            ".version 8.6\n.target sm_90\n.address_size 64\n\
             .visible .entry test(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)\n{{\n\
             .reg .b32 %lane;\nmov.u32 %lane, %tid.x;\n{body}ret;\n}}\n"
        )
    }

    /// `C + A * B` of one element.
    fn element(&self, c: i64, products: impl Iterator<Item = (i64, i64)>) -> i64 {
        let sum: i64 = products
            .map(|(a, b)| match self.modifier {
                ".xor.popc" => a ^ b,
                ".and.popc" => a & b,
                _ => a * b,
            })
            .sum();
        match (self.modifier, self.d) {
            (".satfinite", _) => (c + sum).clamp(i32::MIN.into(), i32::MAX.into()),
            (_, S32) => i64::from((c + sum) as i32),
            _ => c + sum,
        }
    }

    fn check(&self, seed: u64) {
        let [m, n, k] = self.shape;
        let mut random = Random(seed);
        let mut tile = |ty: Type, count: usize| -> Vec<i64> {
            (0..count).map(|_| ty.random(&mut random)).collect()
        };
        let (a, b, mut c) = (
            tile(self.a, m * k),
            tile(self.b, k * n),
            tile(self.c, m * n),
        );
        if self.modifier == ".satfinite" {
            c[0] = i32::MAX.into();
            c[1] = i32::MIN.into();
        }
        let mut d = vec![0; m * n];
        for (at, d) in d.iter_mut().enumerate() {
            let (row, column) = (at / n, at % n);
            let products = (0..k).map(|i| (a[row * k + i], b[i * n + column]));
            *d = self.element(c[at], products);
        }
        let device = Device::new(&self.kernel());
        let [fa, fb, fc, fd] = self.registers();
        let per = per_register(self.a);
        let blocks = m / 8;
        let words_a = fragment(self.a, fa, |group, thread, register, element| {
            let (row, column) = (
                group + 8 * (register % blocks),
                (register / blocks * 4 + thread) * per + element,
            );
            a[row * k + column]
        });
        let words_b = fragment(self.b, fb, |group, thread, register, element| {
            b[((register * 4 + thread) * per + element) * n + group]
        });
        let sums = |values: &[i64], ty: Type, count| {
            let values = values.to_vec();
            let each = if ty == F16 { 1 } else { 2 };
            fragment(ty, count, move |group, thread, register, element| {
                let (block, column) = (register / each, register % each + element);
                values[(group + 8 * block) * n + 2 * thread + column]
            })
        };
        let out = device.zeroed::<u32>(sums(&d, self.d, fd).len());
        let arguments = device
            .arguments("test")
            .add(device.upload(&words_a))
            .add(device.upload(&words_b))
            .add(device.upload(&sums(&c, self.c, fc)))
            .add(out);
        device.run("test", 1, 32, arguments);
        let expected = sums(&d, self.d, fd);
        let found = device.download::<u32>(out, expected.len());
        assert_eq!(found, expected, "{}, seed {seed}", self.instruction());
    }
}

fn per_register(ty: Type) -> usize {
    (32 / ty.bits().min(32)) as usize
}

/// The registers of all lanes, as 32-bit words: what `value(group, thread, register, element)` is
/// where.
fn fragment(
    ty: Type,
    registers: usize,
    value: impl Fn(usize, usize, usize, usize) -> i64,
) -> Vec<u32> {
    let mut words = Vec::new();
    for lane in 0..32 {
        for register in 0..registers {
            let mut bits = 0_u64;
            for element in 0..per_register(ty) {
                let one = ty.encode(value(lane / 4, lane % 4, register, element));
                bits |= one << (ty.bits() as usize * element);
            }
            words.push(bits as u32);
            if ty == F64 {
                words.push((bits >> 32) as u32);
            }
        }
    }
    words
}

fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    let mut add = |shape, [d, a, b, c]: [Type; 4], modifier| {
        forms.push(Form {
            shape,
            a,
            b,
            c,
            d,
            modifier,
        });
    };
    for shape in [[16, 8, 8], [16, 8, 16]] {
        add(shape, [F32, F16, F16, F32], "");
        add(shape, [F16, F16, F16, F16], "");
        add(shape, [F32, Bf16, Bf16, F32], "");
    }
    add([16, 8, 4], [F32, Tf32, Tf32, F32], "");
    add([16, 8, 8], [F32, Tf32, Tf32, F32], "");
    for shape in [[8, 8, 4], [16, 8, 4], [16, 8, 8], [16, 8, 16]] {
        add(shape, [F64; 4], "");
    }
    for (bits, shapes) in [
        (8, [[8, 8, 16], [16, 8, 16], [16, 8, 32]]),
        (4, [[8, 8, 32], [16, 8, 32], [16, 8, 64]]),
    ] {
        for shape in shapes {
            for a in [Signed(bits), Unsigned(bits)] {
                for b in [Signed(bits), Unsigned(bits)] {
                    add(shape, [S32, a, b, S32], "");
                    add(shape, [S32, a, b, S32], ".satfinite");
                }
            }
        }
    }
    for shape in [[8, 8, 128], [16, 8, 128], [16, 8, 256]] {
        for modifier in [".xor.popc", ".and.popc"] {
            add(shape, [S32, Unsigned(1), Unsigned(1), S32], modifier);
        }
    }
    forms
}

#[test]
fn random_tiles_are_as_plain_loops_make_them() {
    let forms = forms();
    for form in &forms {
        for seed in 0..ROUNDS {
            form.check(seed);
        }
    }
    println!("{} forms, {ROUNDS} tiles each", forms.len());
    assert_eq!(forms.len(), 66);
}
