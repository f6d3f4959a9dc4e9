// SPDX-License-Identifier: Apache-2.0
//! Device `printf`: where the text goes, and how it is made.

mod fifo;

use std::ffi::{CString, c_char, c_void};

pub use fifo::Fifo;

/// Bytes that a `printf` takes in the buffer of the device beside its values: the address of the
/// format and the length.
const RECORD_BYTES: usize = 16;
/// Longest text of one conversion in bytes; longer ones are dropped.
const CONVERSION_BYTES_MAX: usize = 1 << 20;

/// Takes what kernels print.
pub trait PrintfSink: Sync {
    /// Text of one `printf` of one thread, and how many bytes a device's buffer needs for it.
    fn write(&self, text: &[u8], stored_bytes: usize);

    /// Text of a failed device assertion, a whole line.
    fn write_error(&self, text: &[u8]) {
        use std::io::Write;
        // Nobody can be told if standard error is gone.
        let _ = std::io::stderr().write_all(text);
    }
}

/// Where the values of a `printf` come from.
pub(crate) trait Arguments {
    /// The next `bytes` (4 or 8) bytes, aligned to their size; `None` if they cannot be read.
    fn next(&mut self, bytes: usize) -> Option<u64>;
    /// The string at a device address.
    fn string(&mut self, address: u64) -> Option<Vec<u8>>;
}

/// Bytes that a device's buffer needs for a `printf` with so many values and strings so long.
pub(crate) fn stored_bytes(values: u32, string_bytes: usize) -> usize {
    RECORD_BYTES + 8 * values as usize + string_bytes
}

/// Formats like C's `printf`; answers the number of values used.
pub(crate) fn format(text: &[u8], arguments: &mut dyn Arguments, out: &mut Vec<u8>) -> u32 {
    let mut used = 0;
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        out.extend_from_slice(&rest[..at]);
        let Some((conversion, length)) = Conversion::parse(&rest[at..]) else {
            // Not a conversion: printed as it stands.
            out.push(b'%');
            rest = &rest[at + 1..];
            continue;
        };
        rest = &rest[at + length..];
        if conversion.kind == b'%' {
            out.push(b'%');
        } else if conversion.print(arguments, out, &mut used).is_none() {
            return used;
        }
    }
    out.extend_from_slice(rest);
    used
}

/// `%[flags][width][.precision][length]kind`.
#[derive(Debug, PartialEq, Eq)]
struct Conversion {
    flags: Vec<u8>,
    width: Option<Amount>,
    precision: Option<Amount>,
    length: Length,
    kind: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Fixed(i32),
    Argument,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Char,
    Short,
    Int,
    Long,
}

impl Conversion {
    /// Reads one from `text`, which begins with `%`; answers its length too.
    fn parse(text: &[u8]) -> Option<(Self, usize)> {
        let mut at = 1;
        let mut flags = Vec::new();
        while text.get(at).is_some_and(|byte| b"-+ #0".contains(byte)) {
            if !flags.contains(&text[at]) {
                flags.push(text[at]);
            }
            at += 1;
        }
        let width = amount(text, &mut at);
        let precision = if text.get(at) == Some(&b'.') {
            at += 1;
            Some(amount(text, &mut at).unwrap_or(Amount::Fixed(0)))
        } else {
            None
        };
        let start = at;
        while text.get(at).is_some_and(|byte| b"hlLqjzt".contains(byte)) {
            at += 1;
        }
        let length = match &text[start..at] {
            b"hh" => Length::Char,
            b"h" => Length::Short,
            b"" | b"L" => Length::Int,
            _ => Length::Long,
        };
        let kind = *text.get(at)?;
        if !b"diouxXcsfFeEgGaAp%".contains(&kind) {
            return None;
        }
        Some((
            Self {
                flags,
                width,
                precision,
                length,
                kind,
            },
            at + 1,
        ))
    }

    /// Prints the next value. `None`: the values have run out.
    fn print(
        &self,
        arguments: &mut dyn Arguments,
        out: &mut Vec<u8>,
        used: &mut u32,
    ) -> Option<()> {
        let mut value = |bytes: usize| {
            *used += 1;
            arguments.next(bytes)
        };
        let mut spec = vec![b'%'];
        spec.extend_from_slice(&self.flags);
        for (lead, amount) in [(None, self.width), (Some(b'.'), self.precision)] {
            let amount = match amount {
                None => continue,
                Some(Amount::Fixed(amount)) => amount,
                Some(Amount::Argument) => value(4)? as i32,
            };
            // A negative precision counts as none; a negative width begins with its own `-`.
            if lead.is_none() || amount >= 0 {
                spec.extend(lead);
                spec.extend_from_slice(amount.to_string().as_bytes());
            }
        }
        match self.kind {
            b'd' | b'i' => {
                let bits = value(if self.length == Length::Long { 8 } else { 4 })?;
                let number = match self.length {
                    Length::Char => i64::from(bits as i8),
                    Length::Short => i64::from(bits as i16),
                    Length::Int => i64::from(bits as i32),
                    Length::Long => bits as i64,
                };
                spec.extend_from_slice(b"lld");
                print(&spec, out, |spec, to, room| {
                    // SAFETY: `spec` has one conversion, of a long long.
                    unsafe { libc::snprintf(to, room, spec, number) }
                });
            }
            b'o' | b'u' | b'x' | b'X' => {
                let bits = value(if self.length == Length::Long { 8 } else { 4 })?;
                let number = match self.length {
                    Length::Char => u64::from(bits as u8),
                    Length::Short => u64::from(bits as u16),
                    Length::Int => u64::from(bits as u32),
                    Length::Long => bits,
                };
                spec.extend_from_slice(&[b'l', b'l', self.kind]);
                print(&spec, out, |spec, to, room| {
                    // SAFETY: `spec` has one conversion, of an unsigned long long.
                    unsafe { libc::snprintf(to, room, spec, number) }
                });
            }
            b'c' => {
                let character = value(4)? as i32;
                spec.push(b'c');
                print(&spec, out, |spec, to, room| {
                    // SAFETY: `spec` has one conversion, of an int.
                    unsafe { libc::snprintf(to, room, spec, character) }
                });
            }
            b'p' => {
                let pointer = std::ptr::without_provenance::<c_void>(value(8)? as usize);
                spec.push(b'p');
                print(&spec, out, |spec, to, room| {
                    // SAFETY: `spec` has one conversion, of a pointer that is not followed.
                    unsafe { libc::snprintf(to, room, spec, pointer) }
                });
            }
            b's' => {
                let address = value(8)?;
                let string = if address == 0 {
                    b"(null)".to_vec()
                } else {
                    arguments.string(address)?
                };
                let string = CString::new(string).ok()?;
                spec.push(b's');
                print(&spec, out, |spec, to, room| {
                    // SAFETY: `spec` has one conversion, of a terminated string.
                    unsafe { libc::snprintf(to, room, spec, string.as_ptr()) }
                });
            }
            kind => {
                let number = f64::from_bits(value(8)?);
                spec.push(kind);
                print(&spec, out, |spec, to, room| {
                    // SAFETY: `spec` has one conversion, of a double.
                    unsafe { libc::snprintf(to, room, spec, number) }
                });
            }
        }
        Some(())
    }
}

fn amount(text: &[u8], at: &mut usize) -> Option<Amount> {
    if text.get(*at) == Some(&b'*') {
        *at += 1;
        return Some(Amount::Argument);
    }
    let mut number = None;
    while let Some(digit) = text.get(*at).filter(|byte| byte.is_ascii_digit()) {
        let so_far = number.unwrap_or(0_i32);
        number = Some(
            so_far
                .saturating_mul(10)
                .saturating_add(i32::from(digit - b'0')),
        );
        *at += 1;
    }
    number.map(Amount::Fixed)
}

/// Calls `snprintf` twice: for the length, then for the text. `%c` may print a zero byte.
fn print(spec: &[u8], out: &mut Vec<u8>, call: impl Fn(*const c_char, *mut c_char, usize) -> i32) {
    let Ok(spec) = CString::new(spec) else { return };
    let length = call(spec.as_ptr(), std::ptr::null_mut(), 0);
    let Ok(length) = usize::try_from(length) else {
        return;
    };
    if length > CONVERSION_BYTES_MAX {
        return;
    }
    let start = out.len();
    out.resize(start + length + 1, 0);
    call(spec.as_ptr(), out[start..].as_mut_ptr().cast(), length + 1);
    out.truncate(start + length);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Values(Vec<u64>);

    impl Arguments for Values {
        fn next(&mut self, _: usize) -> Option<u64> {
            (!self.0.is_empty()).then(|| self.0.remove(0))
        }

        fn string(&mut self, address: u64) -> Option<Vec<u8>> {
            (address == 64).then(|| b"text".to_vec())
        }
    }

    fn formatted(text: &str, values: &[u64]) -> (String, u32) {
        let mut out = Vec::new();
        let used = format(text.as_bytes(), &mut Values(values.to_vec()), &mut out);
        (String::from_utf8(out).unwrap(), used)
    }

    #[test]
    fn every_conversion_prints_like_c() {
        let minus = (-5_i32) as u32 as u64;
        for (text, values, expected) in [
            ("%d %i", vec![minus, 7], "-5 7"),
            (
                "%5d|%-5d|%05d|%+d",
                vec![1, 2, 3, 4],
                "    1|2    |00003|+4",
            ),
            (
                "%u %x %X %o",
                vec![minus, 255, 255, 8],
                "4294967291 ff FF 10",
            ),
            (
                "%lld %llu %lx",
                vec![u64::MAX, u64::MAX, u64::MAX],
                "-1 18446744073709551615 ffffffffffffffff",
            ),
            ("%hhd %hu", vec![0x1ff, 0x1_ffff], "-1 65535"),
            (
                "%f %.2f %e %g",
                vec![1.5_f64.to_bits(); 4],
                "1.500000 1.50 1.500000e+00 1.5",
            ),
            (
                "%8.3f|%-8.1f|",
                vec![2.0_f64.to_bits(); 2],
                "   2.000|2.0     |",
            ),
            ("%*d %.*f", vec![4, 9, 1, 0.25_f64.to_bits()], "   9 0.2"),
            ("%c%c", vec![65, 66], "AB"),
            ("%s|%6s|%.2s", vec![64, 64, 64], "text|  text|te"),
            ("%s", vec![0], "(null)"),
            ("%p", vec![0x20_0000], "0x200000"),
            ("%f", vec![f64::INFINITY.to_bits()], "inf"),
            ("100%% %#x", vec![16], "100% 0x10"),
        ] {
            let (out, used) = formatted(text, &values);
            assert_eq!(out, expected, "{text}");
            assert_eq!(used as usize, values.len(), "{text}");
        }
    }

    #[test]
    fn odd_formats_do_no_harm() {
        assert_eq!(formatted("50%! off %", &[]).0, "50%! off %");
        assert_eq!(formatted("%k %d", &[3]).0, "%k 3");
        assert_eq!(formatted("a %d b", &[]).0, "a ");
        assert_eq!(formatted("%2147483647d", &[3]).0, "");
        assert_eq!(formatted("%s", &[65]).0, "");
        assert_eq!(formatted("%c|", &[0]).0, "\0|");
    }
}
