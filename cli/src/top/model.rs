// SPDX-License-Identifier: Apache-2.0
//! What is known of the backends, and what follows from two pictures of one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gvirtus_protocol::handshake::Purpose;
use gvirtus_protocol::limits::STATUS_INTERVAL;
use gvirtus_protocol::snapshot::Snapshot;
use gvirtus_protocol::status::{Counters, DeviceFigures, Picture, SessionStatus};

/// Who has reported nothing for this long does nothing: an interval may be somewhat longer than it
/// should be.
pub(crate) const LONGEST_INTERVAL: Duration = STATUS_INTERVAL
    .saturating_mul(5)
    .checked_div(4)
    .expect("four is not zero");

/// All backends that are watched.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) backends: Vec<Backend>,
}

/// A backend.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) endpoint: String,
    /// Why it does not answer, if it does not.
    pub(crate) problem: Option<String>,
    /// What it offers; nothing if it has never answered.
    pub(crate) snapshot: Option<Snapshot>,
    /// What its devices do, as far as it can be told.
    pub(crate) figures: Vec<DeviceFigures>,
    picture: Option<Picture>,
    rates: HashMap<u64, Rates>,
    pub(crate) answered: Option<Instant>,
}

/// News of a backend.
#[derive(Debug)]
pub(crate) enum News {
    /// It is there, and offers this.
    Connected(Snapshot),
    /// What its sessions and its devices do now.
    Picture(Picture),
    /// It does not answer.
    Problem(String),
}

/// How much a session does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) launches_per_s: f64,
    pub(crate) round_trips_per_s: f64,
    pub(crate) received_bytes_per_s: f64,
    pub(crate) sent_bytes_per_s: f64,
}

/// A session and its backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) status: &'a SessionStatus,
    /// Nothing until there are two pictures.
    pub(crate) rates: Option<Rates>,
}

/// A device and its backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) index: usize,
    pub(crate) device: &'a gvirtus_protocol::snapshot::Device,
    pub(crate) figures: DeviceFigures,
    /// Sessions that have memory on it.
    pub(crate) session_count: usize,
    /// What they have allocated.
    pub(crate) sessions_memory_bytes: u64,
}

impl Model {
    pub(crate) fn new(endpoints: impl IntoIterator<Item = String>) -> Self {
        let backends = endpoints.into_iter().map(|endpoint| Backend {
            endpoint,
            problem: None,
            snapshot: None,
            figures: Vec::new(),
            picture: None,
            rates: HashMap::new(),
            answered: None,
        });
        Self {
            backends: backends.collect(),
        }
    }

    /// Takes in news of the backend `index`.
    pub(crate) fn update(&mut self, index: usize, news: News) {
        let Some(backend) = self.backends.get_mut(index) else {
            return;
        };
        match news {
            News::Connected(snapshot) => {
                backend.snapshot = Some(snapshot);
                // It may be another daemon, whose clock and sessions are others.
                backend.forget_sessions();
            }
            News::Picture(mut picture) => {
                backend.figures = std::mem::take(&mut picture.devices);
                backend.take(picture);
                backend.answered = Some(Instant::now());
                backend.problem = None;
            }
            News::Problem(text) => {
                backend.forget_sessions();
                backend.figures.clear();
                backend.problem = Some(text);
            }
        }
    }

    /// Whether every backend has answered or failed.
    pub(crate) fn is_complete(&self) -> bool {
        let is_known = |backend: &Backend| backend.picture.is_some() || backend.problem.is_some();
        self.backends.iter().all(is_known)
    }

    /// Programs that use CUDA, in the order of backends and session numbers.
    pub(crate) fn sessions(&self) -> Vec<Session<'_>> {
        let sessions = self.backends.iter().flat_map(Backend::sessions);
        sessions.collect()
    }

    pub(crate) fn devices(&self) -> Vec<Device<'_>> {
        self.backends.iter().flat_map(Backend::devices).collect()
    }
}

impl Backend {
    /// Sessions that a picture had no place for.
    pub(crate) fn sessions_left_out(&self) -> u64 {
        self.picture.as_ref().map_or(0, |picture| {
            (picture.session_count).saturating_sub(picture.sessions.len() as u64)
        })
    }

    /// How long the daemon has run.
    pub(crate) fn uptime(&self) -> Option<Duration> {
        let picture = self.picture.as_ref()?;
        Some(Duration::from_micros(picture.now_us))
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = Session<'_>> {
        let sessions = self.picture.iter().flat_map(|picture| &picture.sessions);
        sessions
            .filter(|status| status.purpose == Purpose::Cuda)
            .map(|status| Session {
                backend: self,
                status,
                rates: self.rates.get(&status.session_id).copied(),
            })
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = Device<'_>> {
        let devices = self.snapshot.iter().flat_map(|snapshot| &snapshot.devices);
        devices.enumerate().map(|(index, device)| {
            let here = self.sessions().flat_map(|session| {
                let memory = session.status.counters.memory.iter();
                memory.filter(move |memory| memory.device as usize == index && memory.bytes > 0)
            });
            let (count, bytes) = here.fold((0, 0_u64), |(count, bytes), memory| {
                (count + 1, bytes.saturating_add(memory.bytes))
            });
            Device {
                backend: self,
                index,
                device,
                figures: self.figures.get(index).copied().unwrap_or_default(),
                session_count: count,
                sessions_memory_bytes: bytes,
            }
        })
    }

    fn forget_sessions(&mut self) {
        self.picture = None;
        self.rates.clear();
    }

    fn take(&mut self, picture: Picture) {
        if let Some(before) = self.picture.take() {
            let known: HashMap<u64, &SessionStatus> = before
                .sessions
                .iter()
                .map(|session| (session.session_id, session))
                .collect();
            let elapsed = since(picture.now_us, before.now_us);
            let rates = picture.sessions.iter().filter_map(|session| {
                let last = self.rates.get(&session.session_id).copied();
                let rates = match known.get(&session.session_id) {
                    Some(before) => rates(before, session, elapsed, picture.now_us, last),
                    None => {
                        let began = SessionStatus {
                            counted_us: session.began_us,
                            ..SessionStatus::default()
                        };
                        rates(&began, session, elapsed, picture.now_us, last)
                    }
                };
                Some((session.session_id, rates?))
            });
            self.rates = rates.collect();
        }
        self.picture = Some(picture);
    }
}

impl Session<'_> {
    /// How long it has gone on.
    pub(crate) fn age(&self) -> Duration {
        let now_us = self.backend.picture.as_ref().map_or(0, |p| p.now_us);
        since(now_us, self.status.began_us)
    }
}

impl Device<'_> {
    /// What is used of its memory: as the device says, else as the sessions have asked for.
    pub(crate) fn used_memory_bytes(&self) -> u64 {
        self.figures
            .memory_used_bytes
            .unwrap_or(self.sessions_memory_bytes)
    }
}

fn since(later_us: u64, earlier_us: u64) -> Duration {
    Duration::from_micros(later_us.saturating_sub(earlier_us))
}

/// What a session does, from two pictures of it that were taken `elapsed` after each other, the
/// newer one at `now_us`; `last` is what it did before.
///
/// A worker reports once an interval while its counters change, so they have changed during the
/// last intervals before the newer report, and not at all before those.
fn rates(
    before: &SessionStatus,
    now: &SessionStatus,
    elapsed: Duration,
    now_us: u64,
    last: Option<Rates>,
) -> Option<Rates> {
    if now.counted_us == before.counted_us {
        // The next report may be about to come.
        let is_idle = since(now_us, now.counted_us) >= LONGEST_INTERVAL;
        return if is_idle {
            Some(Rates::default())
        } else {
            last
        };
    }
    let reported = since(now.counted_us, before.counted_us);
    let watched = elapsed.max(STATUS_INTERVAL);
    let window = if reported <= watched * 3 / 2 {
        reported
    } else {
        watched
    };
    let seconds = window.as_secs_f64().max(1e-3);
    let per_s = |field: fn(&Counters) -> u64| {
        field(&now.counters).saturating_sub(field(&before.counters)) as f64 / seconds
    };
    Some(Rates {
        launches_per_s: per_s(|counters| counters.launches),
        round_trips_per_s: per_s(|counters| counters.round_trips),
        received_bytes_per_s: per_s(|counters| counters.received_bytes),
        sent_bytes_per_s: per_s(|counters| counters.sent_bytes),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use gvirtus_protocol::status::DeviceMemory;

    use super::*;

    const SECOND_US: u64 = 1_000_000;

    pub(crate) fn session(number: u64, counted_us: u64, launches: u64) -> SessionStatus {
        SessionStatus {
            session_id: number,
            grantee: None,
            program: format!("program-{number}"),
            host: "node-1".into(),
            pid: 4000 + number as u32,
            peer: "127.0.0.1:5000".into(),
            began_us: SECOND_US,
            worker_pid: 70,
            counted_us,
            counters: Counters {
                commands: 2 * launches,
                launches,
                round_trips: launches / 10,
                received_bytes: launches * 1000,
                sent_bytes: launches * 100,
                memory: vec![DeviceMemory {
                    device: 0,
                    bytes: number << 30,
                    peak_bytes: number << 31,
                }],
            },
            ..SessionStatus::default()
        }
    }

    pub(crate) fn snapshot() -> Snapshot {
        let device = gvirtus_protocol::snapshot::Device {
            name: "NVIDIA H200".into(),
            total_memory_bytes: 140 << 30,
            ..Default::default()
        };
        Snapshot {
            driver_version: 13_000,
            devices: vec![device],
        }
    }

    pub(crate) fn picture(now_us: u64, sessions: Vec<SessionStatus>) -> News {
        let picture = Picture {
            now_us,
            session_count: sessions.len() as u64,
            sessions,
            devices: Vec::new(),
        };
        News::Picture(picture)
    }

    /// Pictures one after the other, each with the time and what session 1 has reported.
    fn watch(pictures: &[(u64, u64, u64)]) -> Vec<Option<f64>> {
        let mut model = Model::new(["unix:///a".to_owned()]);
        model.update(0, News::Connected(snapshot()));
        pictures
            .iter()
            .map(|(now_ms, counted_ms, launches)| {
                let session = session(1, counted_ms * 1000, *launches);
                model.update(0, picture(now_ms * 1000, vec![session]));
                let rates = model.sessions()[0].rates;
                rates.map(|rates| rates.launches_per_s.round())
            })
            .collect()
    }

    #[test]
    fn a_rate_takes_two_pictures() {
        let seen = watch(&[(2000, 1900, 100), (3000, 2900, 600), (4000, 3950, 1650)]);
        assert_eq!(seen, [None, Some(500.0), Some(1000.0)]);
    }

    #[test]
    fn looking_more_often_than_there_are_reports_changes_nothing() {
        let seen = watch(&[
            (2000, 1900, 100),
            (2500, 1900, 100),
            (3000, 2900, 600),
            (3500, 2900, 600),
            (4000, 3900, 1100),
            (4500, 3900, 1100),
            (5500, 3900, 1100),
        ]);
        let (none, busy, idle) = (None, Some(500.0), Some(0.0));
        assert_eq!(seen, [none, none, busy, busy, busy, busy, idle]);
    }

    #[test]
    fn looking_less_often_tells_the_average() {
        let seen = watch(&[(2000, 1900, 0), (12_000, 11_900, 1000)]);
        assert_eq!(seen, [None, Some(100.0)]);
    }

    #[test]
    fn time_without_work_does_not_count() {
        let seen = watch(&[(61_000, 2000, 0), (62_000, 61_900, 500)]);
        assert_eq!(seen, [None, Some(500.0)]);
    }

    #[test]
    fn a_new_session_began_with_nothing_and_one_that_ended_is_gone() {
        let mut model = Model::new(["unix:///a".to_owned()]);
        model.update(0, News::Connected(snapshot()));
        model.update(0, picture(500_000, Vec::new()));
        let new = session(1, 3 * SECOND_US, 4000);
        model.update(0, picture(3 * SECOND_US, vec![new]));
        let rates = model.sessions()[0].rates.expect("two pictures");
        assert_eq!(rates.launches_per_s, 2000.0);
        assert_eq!(rates.received_bytes_per_s, 2e6);
        assert_eq!(model.devices()[0].session_count, 1);
        assert_eq!(model.devices()[0].used_memory_bytes(), 1 << 30);
        model.update(0, picture(4 * SECOND_US, Vec::new()));
        assert!(model.sessions().is_empty());
        assert_eq!(model.devices()[0].session_count, 0);
    }

    #[test]
    fn a_backend_that_comes_back_begins_anew() {
        let mut model = Model::new(["unix:///a".to_owned()]);
        assert!(!model.is_complete());
        model.update(0, News::Connected(snapshot()));
        model.update(
            0,
            picture(9 * SECOND_US, vec![session(1, 9 * SECOND_US, 9)]),
        );
        model.update(0, News::Problem("gone".into()));
        assert!(model.is_complete());
        assert!(model.sessions().is_empty());
        assert_eq!(model.backends[0].problem.as_deref(), Some("gone"));
        model.update(0, News::Connected(snapshot()));
        model.update(0, picture(SECOND_US, vec![session(1, SECOND_US, 5)]));
        assert_eq!(model.sessions()[0].rates, None);
        assert_eq!(model.backends[0].problem, None);
    }
}
