// SPDX-License-Identifier: Apache-2.0
//! Figures and tables as people read them.

use std::fmt::Write as _;
use std::time::Duration;

use gvirtus_abi::CUdevice_attribute as Attribute;
use gvirtus_protocol::snapshot::Device;
use unicode_width::UnicodeWidthStr as _;

/// A device's compute capability, `major.minor`.
pub(crate) fn compute_capability(device: &Device) -> String {
    let part = |attribute: Attribute| device.attribute(attribute.0).unwrap_or(0);
    let major = part(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    let minor = part(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    format!("{major}.{minor}")
}

/// A device's uuid as NVIDIA's tools write it.
pub(crate) fn uuid(device: &Device) -> String {
    let mut text = String::from("GPU-");
    for (index, byte) in device.uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `major.minor` of a driver's version.
pub(crate) fn cuda_version(driver_version: i32) -> String {
    format!("{}.{}", driver_version / 1000, driver_version % 1000 / 10)
}

/// Memory in units of 1024, as NVIDIA's tools show it.
pub(crate) fn memory(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Bytes a second.
pub(crate) fn bandwidth(bytes_per_s: f64) -> String {
    scaled(
        bytes_per_s,
        1000.0,
        &["B/s", "kB/s", "MB/s", "GB/s", "TB/s"],
    )
}

/// So many a second.
pub(crate) fn rate(per_s: f64) -> String {
    match per_s {
        rate if rate < 9_999.5 => format!("{rate:.0}"),
        rate if rate < 999_500.0 => format!("{:.1}k", rate / 1e3),
        rate => format!("{:.1}M", rate / 1e6),
    }
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut value, mut unit) = (value, 0);
    // What would be rounded up to a whole step is one.
    while value >= step - 0.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    match unit {
        0 => format!("{value:.0} {}", units[0]),
        _ if value < 99.95 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

/// The two largest units of a time.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of cells below each other, the first row being the titles.
pub(crate) fn table(alignments: &[Align], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..alignments.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].width())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), align) in row.iter().zip(&widths).zip(alignments) {
            let blanks = " ".repeat(width - cell.width());
            if !line.is_empty() {
                line.push_str("  ");
            }
            let (before, after) = match align {
                Align::Left => ("", &*blanks),
                Align::Right => (&*blanks, ""),
            };
            let _ = write!(line, "{before}{cell}{after}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(memory(0), "0 B");
        assert_eq!(memory(1023), "1023 B");
        assert_eq!(memory(1024), "1.0 KiB");
        assert_eq!(memory(150_754_820_096), "140 GiB");
        assert_eq!(bandwidth(0.0), "0 B/s");
        assert_eq!(bandwidth(999.9), "1.0 kB/s");
        assert_eq!(bandwidth(12_345_678_901.0), "12.3 GB/s");
        assert_eq!(rate(0.2), "0");
        assert_eq!(rate(9_999.0), "9999");
        assert_eq!(rate(123_456.0), "123.5k");
        assert_eq!(rate(1_999_999.0), "2.0M");
        let ages = [5, 65, 3_725, 90_000].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["5s", "1m05s", "1h02m", "1d01h"]);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["NAME", "N"], ["日本", "10"], ["a", "9"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        let text = table(&[Align::Left, Align::Right], &rows);
        assert_eq!(text, "NAME   N\n日本  10\na      9\n");
    }
}
