// SPDX-License-Identifier: Apache-2.0
//! Whole numbers as Kubernetes writes quantities: the API server gives back `2k` for `2000`.

/// Thousands and their powers.
const SUFFIXES: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
const THOUSAND: u64 = 1000;

/// The number as the API server gives it back.
pub fn quantity(number: u64) -> String {
    let (mut digits, mut suffix) = (number, "");
    for next in SUFFIXES {
        if digits == 0 || digits % THOUSAND != 0 {
            break;
        }
        (digits, suffix) = (digits / THOUSAND, next);
    }
    format!("{digits}{suffix}")
}

/// The number that is meant; nothing for fractions, and for binary and other multiples.
pub fn whole(text: &str) -> Option<u64> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, suffix) = text.split_at(end);
    let number: u64 = digits.parse().ok()?;
    if suffix.is_empty() {
        return Some(number);
    }
    let power = SUFFIXES.iter().position(|known| *known == suffix)? + 1;
    let factor = THOUSAND.checked_pow(u32::try_from(power).ok()?)?;
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_the_api_server_does() {
        for (number, text) in [
            (0, "0"),
            (1, "1"),
            (1024, "1024"),
            (2000, "2k"),
            (1500, "1500"),
            (3_000_000, "3M"),
        ] {
            assert_eq!(quantity(number), text);
        }
        for text in ["", "k", "1Ki", "1.5", "1m", "-1", "1e3", "20E", "1 k"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: u64, zeros in 0_u32..12) {
            let number = number / 10_u64.pow(zeros) * 10_u64.pow(zeros);
            prop_assert_eq!(whole(&quantity(number)), Some(number));
        }
    }
}
