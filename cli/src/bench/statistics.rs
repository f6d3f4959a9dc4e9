// SPDX-License-Identifier: Apache-2.0
//! Medians and percentiles of samples.

/// The sample that `percent` per cent of all are not above; 0 of none.
pub(super) fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    let rank = (samples.len() * percent)
        .div_ceil(100)
        .clamp(1, samples.len());
    let (_, sample, _) = samples.select_nth_unstable_by(rank - 1, f64::total_cmp);
    *sample
}

/// The middle sample.
pub(super) fn median(samples: &mut [f64]) -> f64 {
    percentile(samples, 50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&mut samples), 3.0);
        assert_eq!(percentile(&mut samples, 0), 1.0);
        assert_eq!(percentile(&mut samples, 99), 5.0);
        assert_eq!(percentile(&mut samples, 20), 1.0);
        assert_eq!(percentile(&mut samples, 21), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }
}
