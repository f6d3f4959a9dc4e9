// SPDX-License-Identifier: Apache-2.0
//! What the webhook tells Prometheus.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::review::Outcome;

/// Counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<[(&'static str, &'static str); 1], Counter>,
    duration: Histogram,
    certificate_end: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("gvirtus_webhook");
        let reviews = Family::default();
        // 20 µs to 0.3 s.
        let duration = Histogram::new(exponential_buckets(20e-6, 2.0, 14));
        let certificate_end = Gauge::default();
        registry.register("reviews", "Admission reviews by outcome", reviews.clone());
        registry.register_with_unit(
            "review_duration",
            "Time from a review's last byte to its answer",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register_with_unit(
            "certificate_end_timestamp",
            "When the certificate that is shown ends, since 1970",
            Unit::Seconds,
            certificate_end.clone(),
        );
        Self {
            registry,
            reviews,
            duration,
            certificate_end,
        }
    }
}

impl Metrics {
    /// Counts an answered review.
    pub fn reviewed(&self, outcome: Outcome, duration: Duration) {
        self.reviews
            .get_or_create(&[("outcome", outcome.name())])
            .inc();
        self.duration.observe(duration.as_secs_f64());
    }

    /// Tells when the certificate ends.
    pub fn certificate_ends(&self, end_s: u64) {
        self.certificate_end
            .set(i64::try_from(end_s).unwrap_or(i64::MAX));
    }

    /// All of them in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
