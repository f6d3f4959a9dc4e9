// SPDX-License-Identifier: Apache-2.0
//! Measured figures beside their limits, as JSON and as a table.

use std::fmt::Write as _;

use serde::Serialize;

/// Which way a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Higher,
    Lower,
}

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: f64,
    /// What the value must not be worse than, where the project promises something.
    pub(super) limit: Option<f64>,
    /// The same without us: a bare socket, or the device in the program's own process.
    pub(super) bare: Option<f64>,
    /// Value by bare value; without one, value by limit.
    pub(super) ratio: Option<f64>,
    pub(super) better: Better,
    /// Whether the limit is kept.
    pub(super) met: Option<bool>,
}

/// Everything that was measured in one run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: super::machine::Machine,
    /// How it was called.
    pub(super) command: String,
    pub(super) figures: Vec<Figure>,
    /// What could not be measured, and why.
    pub(super) notes: Vec<String>,
}

impl Figure {
    /// A figure without limit and comparison.
    pub(super) fn new(name: impl Into<String>, unit: &'static str, better: Better) -> Self {
        Self {
            name: name.into(),
            unit,
            value: 0.0,
            limit: None,
            bare: None,
            ratio: None,
            better,
            met: None,
        }
    }

    /// With its value.
    pub(super) const fn value(mut self, value: f64) -> Self {
        self.value = value;
        self
    }

    /// With a fixed limit.
    pub(super) fn limit(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self.ratio = self.ratio.or(Some(self.value / limit));
        self.met = Some(match self.better {
            Better::Higher => self.value >= limit,
            Better::Lower => self.value <= limit,
        });
        self
    }

    /// With the value without us.
    pub(super) fn bare(mut self, bare: f64) -> Self {
        self.bare = Some(bare);
        self.ratio = (bare > 0.0).then(|| self.value / bare);
        self
    }

    /// With a limit that is `factor` times the bare value.
    pub(super) fn limit_by_bare(self, factor: f64) -> Self {
        match self.bare {
            Some(bare) => self.limit(bare * factor),
            None => self,
        }
    }
}

impl Report {
    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{}\n{}\n\n", self.machine, self.command);
        let width = self.figures.iter().map(|f| f.name.len()).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "{:<width$}  {:>10}  {:<10}  {:>10}  {:>6}  {:>10}",
            "figure", "value", "unit", "bare", "ratio", "limit"
        );
        for figure in &self.figures {
            let _ = writeln!(
                text,
                "{:<width$}  {:>10}  {:<10}  {:>10}  {:>6}  {:>10}  {}",
                figure.name,
                number(Some(figure.value)),
                figure.unit,
                number(figure.bare),
                figure.ratio.map_or_else(String::new, |r| format!("{r:.2}")),
                number(figure.limit),
                match figure.met {
                    Some(true) => "kept",
                    Some(false) => "MISSED",
                    None => "",
                }
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "\nnote: {note}");
        }
        text
    }
}

/// Four digits or whole numbers.
fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 100.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept_in_the_right_direction() {
        let lower = Figure::new("a", "us", Better::Lower).value(14.0).bare(10.0);
        assert_eq!(lower.clone().limit_by_bare(1.5).met, Some(true));
        assert_eq!(lower.limit_by_bare(1.2).met, Some(false));
        let higher = Figure::new("b", "GB/s", Better::Higher).value(3.0);
        assert_eq!(higher.clone().limit_by_bare(0.8).met, None);
        let higher = higher.bare(4.0).limit_by_bare(0.8);
        assert_eq!((higher.met, higher.ratio), (Some(false), Some(0.75)));
        let fixed = Figure::new("c", "ns", Better::Lower)
            .value(200.0)
            .limit(400.0);
        assert_eq!((fixed.met, fixed.ratio), (Some(true), Some(0.5)));
    }
}
