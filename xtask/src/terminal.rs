// SPDX-License-Identifier: Apache-2.0
//! How things are written for a person to read.

use std::io::IsTerminal;
use std::time::Duration;

/// `42 ms`, `1.23 s`, `12.3 s`, `3 min 05 s`.
pub(crate) fn seconds(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if elapsed.as_millis() < 1000 {
        format!("{} ms", elapsed.as_millis())
    } else if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        let whole = elapsed.as_secs();
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// `17 B`, `1.5 kB`, `62.9 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its thousands apart: `12 345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `text` in bold where standard output is a terminal.
pub(crate) fn strong(text: &str) -> String {
    paint("1", text)
}

/// PASS in green or FAIL in red where standard output is a terminal.
pub(crate) fn verdict(passed: bool) -> String {
    if passed {
        paint("1;32", "PASS")
    } else {
        paint("1;31", "FAIL")
    }
}

/// Whether colours are understood.
pub(crate) fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

fn paint(style: &str, text: &str) -> String {
    if has_colours() {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_chosen_by_size() {
        assert_eq!(seconds(Duration::from_millis(421)), "421 ms");
        assert_eq!(seconds(Duration::from_millis(1421)), "1.42 s");
        assert_eq!(seconds(Duration::from_millis(12_345)), "12.3 s");
        assert_eq!(seconds(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(1536), "1.5 kB");
        assert_eq!(bytes(60 << 20), "62.9 MB");
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1 234 567");
    }
}
