// SPDX-License-Identifier: Apache-2.0
//! What the broker tells Prometheus, and by that autoscalers.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::ledger::Totals;

type Label = [(&'static str, &'static str); 1];

/// Figures of this process.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    leading: Gauge,
    /// Clients that wait for a backend.
    pub(super) waiting: Gauge<i64, AtomicI64>,
    /// Pods that wait for a backend.
    pub(super) gated: Gauge<i64, AtomicI64>,
    answers: Family<Label, Counter>,
    decision: Histogram,
    backends: Family<Label, Gauge>,
    sessions: Gauge,
    devices: Gauge,
    memory: Family<Label, Gauge>,
    granted_percent: Gauge,
    busy_percent: Gauge,
    missing: Gauge,
    scaled: Family<Label, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::with_prefix("gvirtus_broker");
        // 1 µs to 16 ms.
        let decision = Histogram::new(exponential_buckets(1e-6, 2.0, 15));
        let metrics = Self {
            leading: Gauge::default(),
            waiting: Gauge::default(),
            gated: Gauge::default(),
            answers: Family::default(),
            decision,
            backends: Family::default(),
            sessions: Gauge::default(),
            devices: Gauge::default(),
            memory: Family::default(),
            granted_percent: Gauge::default(),
            busy_percent: Gauge::default(),
            missing: Gauge::default(),
            scaled: Family::default(),
            registry: Registry::default(),
        };
        let leading = metrics.leading.clone();
        all.register(
            "leading",
            "Whether this replica works; others tell nothing",
            leading,
        );
        let help = "Programs that run and wait for a backend";
        all.register("waiting_clients", help, metrics.waiting.clone());
        let help = "Pods whose scheduling waits for a backend";
        all.register("gated_pods", help, metrics.gated.clone());
        all.register(
            "answers",
            "Answers to clients by outcome",
            metrics.answers.clone(),
        );
        let help = "Time to choose a backend";
        let decision = metrics.decision.clone();
        all.register_with_unit("decision_duration", help, Unit::Seconds, decision);
        all.register("backends", "Backends by state", metrics.backends.clone());
        all.register("sessions", "Sessions that run", metrics.sessions.clone());
        all.register(
            "devices",
            "Devices of backends that answer",
            metrics.devices.clone(),
        );
        let help = "Memory of devices: in all, granted to shares, and in use";
        all.register_with_unit("memory", help, Unit::Bytes, metrics.memory.clone());
        let help = "Compute granted to shares, in percent of one device";
        all.register("granted_percent", help, metrics.granted_percent.clone());
        let help = "Time in which kernels ran lately, in percent of one device";
        all.register("busy_percent", help, metrics.busy_percent.clone());
        let help = "Backends that would give all who wait what they ask for";
        all.register("missing_backends", help, metrics.missing.clone());
        let help = "Backends that the autoscaler has started and stopped";
        all.register("scaled_backends", help, metrics.scaled.clone());
        Self {
            registry: all,
            ..metrics
        }
    }
}

impl Metrics {
    /// Counts an answer.
    pub(super) fn answered(&self, outcome: &'static str) {
        self.answers.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Tells how many backends would be enough for those who wait.
    pub(super) fn missing(&self, backends: usize) {
        self.missing
            .set(i64::try_from(backends).unwrap_or(i64::MAX));
    }

    /// Counts what the autoscaler does.
    pub(super) fn scaled(&self, started: usize, stopped: usize) {
        for (direction, number) in [("up", started), ("down", stopped)] {
            let counter = self.scaled.get_or_create(&[("direction", direction)]);
            counter.inc_by(number as u64);
        }
    }

    /// Counts a decision.
    pub(super) fn decided(&self, duration: Duration) {
        self.decision.observe(duration.as_secs_f64());
    }

    /// All of them in the OpenMetrics text format; with the leader's sums.
    pub(super) fn text(&self, totals: Option<Totals>) -> String {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.leading.set(i64::from(totals.is_some()));
        if let Some(totals) = totals {
            for (state, number) in [
                ("ready", totals.ready),
                ("draining", totals.draining),
                ("full", totals.full),
                ("silent", totals.silent),
            ] {
                self.backends
                    .get_or_create(&[("state", state)])
                    .set(signed(number));
            }
            for (kind, number) in [
                ("total", totals.memory_bytes),
                ("granted", totals.granted_memory_bytes),
                ("used", totals.used_memory_bytes),
            ] {
                self.memory
                    .get_or_create(&[("kind", kind)])
                    .set(signed(number));
            }
            self.sessions.set(signed(totals.sessions));
            self.devices.set(signed(totals.devices));
            self.granted_percent.set(signed(totals.granted_percent));
            self.busy_percent.set(signed(totals.busy_percent));
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_autoscalers_need_is_there() {
        let metrics = Metrics::default();
        metrics.waiting.inc();
        metrics.answered("granted");
        let totals = Totals {
            ready: 2,
            granted_memory_bytes: 7,
            ..Totals::default()
        };
        let text = metrics.text(Some(totals));
        for line in [
            "gvirtus_broker_leading 1",
            "gvirtus_broker_waiting_clients 1",
            "gvirtus_broker_answers_total{outcome=\"granted\"} 1",
            "gvirtus_broker_backends{state=\"ready\"} 2",
            "gvirtus_broker_memory_bytes{kind=\"granted\"} 7",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}:\n{text}");
        }
    }
}
