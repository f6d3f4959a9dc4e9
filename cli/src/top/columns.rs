// SPDX-License-Identifier: Apache-2.0
//! The columns of the two tables.

use std::cmp::{Ordering, Reverse};

use super::model::{Device, Rates, Session};
use crate::text::{self, Align};

/// What is shown of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Session,
    Program,
    Host,
    Pid,
    Age,
    Memory,
    Launches,
    In,
    Out,
    RoundTrips,
    Backend,
}

/// In their order on the screen; the last one only where there are several backends.
const COLUMNS: [Column; 11] = [
    Column::Session,
    Column::Program,
    Column::Host,
    Column::Pid,
    Column::Age,
    Column::Memory,
    Column::Launches,
    Column::In,
    Column::Out,
    Column::RoundTrips,
    Column::Backend,
];

/// Titles of the devices' columns; the last one only where there are several backends.
const DEVICE_TITLES: [(&str, Align); 6] = [
    ("DEVICE", Align::Left),
    ("NAME", Align::Left),
    ("MEMORY", Align::Right),
    ("UTIL", Align::Right),
    ("SESSIONS", Align::Right),
    ("BACKEND", Align::Left),
];

/// By what the sessions are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) column: Column,
    pub(crate) is_reversed: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            column: Column::Launches,
            is_reversed: false,
        }
    }
}

/// The columns for this many backends.
pub(crate) fn columns(backends: usize) -> &'static [Column] {
    with_backend(&COLUMNS, backends)
}

/// The devices' columns for this many backends.
pub(crate) fn device_titles(backends: usize) -> &'static [(&'static str, Align)] {
    with_backend(&DEVICE_TITLES, backends)
}

fn with_backend<T>(all: &'static [T], backends: usize) -> &'static [T] {
    if backends > 1 {
        all
    } else {
        &all[..all.len() - 1]
    }
}

impl Column {
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Session => "SESSION",
            Self::Program => "PROGRAM",
            Self::Host => "HOST",
            Self::Pid => "PID",
            Self::Age => "AGE",
            Self::Memory => "MEMORY",
            Self::Launches => "LAUNCH/S",
            Self::In => "IN",
            Self::Out => "OUT",
            Self::RoundTrips => "TRIPS/S",
            Self::Backend => "BACKEND",
        }
    }

    pub(crate) const fn align(self) -> Align {
        match self {
            Self::Program | Self::Host | Self::Backend => Align::Left,
            _ => Align::Right,
        }
    }

    pub(crate) fn cell(self, session: &Session<'_>) -> String {
        let status = session.status;
        let rate = |show: fn(f64) -> String, field: fn(Rates) -> f64| match session.rates {
            Some(rates) => show(field(rates)),
            None => "–".to_owned(),
        };
        match self {
            Self::Session => status.session_id.to_string(),
            Self::Program => status.program.clone(),
            Self::Host => status.host.clone(),
            Self::Pid => status.pid.to_string(),
            Self::Age => text::age(session.age()),
            Self::Memory => text::memory(status.counters.memory_bytes()),
            Self::Launches => rate(text::rate, |rates| rates.launches_per_s),
            Self::In => rate(text::bandwidth, |rates| rates.received_bytes_per_s),
            Self::Out => rate(text::bandwidth, |rates| rates.sent_bytes_per_s),
            Self::RoundTrips => rate(text::rate, |rates| rates.round_trips_per_s),
            Self::Backend => session.backend.endpoint.clone(),
        }
    }

    /// Names ascend, figures descend: what is of interest comes first.
    fn compare(self, a: &Session<'_>, b: &Session<'_>) -> Ordering {
        let rate = |field: fn(Rates) -> f64| {
            let [a, b] = [a, b].map(|session| session.rates.map_or(0.0, field));
            b.total_cmp(&a)
        };
        let (left, right) = (a.status, b.status);
        match self {
            Self::Session => left.session_id.cmp(&right.session_id),
            Self::Program => left.program.cmp(&right.program),
            Self::Host => left.host.cmp(&right.host),
            Self::Pid => left.pid.cmp(&right.pid),
            Self::Age => Reverse(a.age()).cmp(&Reverse(b.age())),
            Self::Memory => {
                let [a, b] = [left, right].map(|status| Reverse(status.counters.memory_bytes()));
                a.cmp(&b)
            }
            Self::Launches => rate(|rates| rates.launches_per_s),
            Self::In => rate(|rates| rates.received_bytes_per_s),
            Self::Out => rate(|rates| rates.sent_bytes_per_s),
            Self::RoundTrips => rate(|rates| rates.round_trips_per_s),
            Self::Backend => a.backend.endpoint.cmp(&b.backend.endpoint),
        }
    }
}

impl Order {
    /// Sorts; equals stay in the order of their numbers.
    pub(crate) fn sort(self, sessions: &mut [Session<'_>]) {
        sessions.sort_by(|a, b| match self.column.compare(a, b) {
            order if self.is_reversed => order.reverse(),
            order => order,
        });
    }

    /// By the column so many to the right.
    pub(crate) fn moved(self, by: isize, backends: usize) -> Self {
        let columns = columns(backends);
        let now = columns.iter().position(|column| *column == self.column);
        let count = columns.len().cast_signed();
        let next = (now.unwrap_or(0).cast_signed() + by).rem_euclid(count);
        Self {
            column: columns[next.cast_unsigned()],
            ..self
        }
    }
}

/// The cells of a device's row.
pub(crate) fn device_cells(device: &Device<'_>, backends: usize) -> Vec<String> {
    let utilisation = device.figures.utilisation_percent;
    let mut cells = vec![
        device.index.to_string(),
        device.device.name.clone(),
        format!(
            "{} / {}",
            text::memory(device.used_memory_bytes()),
            text::memory(device.device.total_memory_bytes)
        ),
        utilisation.map_or("–".to_owned(), |percent| format!("{percent}%")),
        device.session_count.to_string(),
        device.backend.endpoint.clone(),
    ];
    cells.truncate(device_titles(backends).len());
    cells
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::{picture, session, snapshot};
    use super::super::model::{Model, News};
    use super::*;

    fn model() -> Model {
        let mut model = Model::new(["a".to_owned(), "b".to_owned()]);
        for backend in 0..2 {
            model.update(backend, News::Connected(snapshot()));
        }
        let pictures = [(2_000_000, [0, 0]), (3_000_000, [50, 200])];
        for (now_us, launches) in pictures {
            let sessions = [1, 2].map(|n| session(n, now_us, launches[n as usize - 1]));
            model.update(0, picture(now_us, sessions.to_vec()));
        }
        model.update(1, picture(1, vec![session(3, 1, 0)]));
        model
    }

    fn sorted(model: &Model, order: Order) -> Vec<u64> {
        let mut sessions = model.sessions();
        order.sort(&mut sessions);
        sessions.iter().map(|s| s.status.session_id).collect()
    }

    #[test]
    fn the_busiest_come_first_and_a_key_changes_that() {
        let model = model();
        let order = Order::default();
        assert_eq!(sorted(&model, order), [2, 1, 3]);
        let reversed = Order {
            is_reversed: true,
            ..order
        };
        assert_eq!(sorted(&model, reversed), [3, 1, 2]);
        let by_memory = order.moved(-1, 2);
        assert_eq!(by_memory.column, Column::Memory);
        assert_eq!(sorted(&model, by_memory), [3, 2, 1]);
        let by_name = order.moved(-5, 2);
        assert_eq!(sorted(&model, by_name), [1, 2, 3]);
    }

    #[test]
    fn the_order_goes_round() {
        let mut order = Order::default();
        for _ in 0..COLUMNS.len() {
            order = order.moved(1, 2);
        }
        assert_eq!(order, Order::default());
        for _ in 0..COLUMNS.len() - 1 {
            order = order.moved(-1, 1);
            assert_ne!(order.column, Column::Backend);
        }
        assert_eq!(order, Order::default().moved(-10, 1));
    }

    #[test]
    fn a_rate_that_is_not_known_is_not_zero() {
        let model = model();
        let sessions = model.sessions();
        assert_eq!(Column::Launches.cell(&sessions[0]), "50");
        assert_eq!(Column::In.cell(&sessions[1]), "200 kB/s");
        assert_eq!(Column::Launches.cell(&sessions[2]), "–");
        assert_eq!(Column::Backend.cell(&sessions[2]), "b");
    }
}
