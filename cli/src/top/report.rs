// SPDX-License-Identifier: Apache-2.0
//! One picture for scripts and pipes: a table, or JSON.

use serde_json::{Value, json};

use super::columns::{Order, columns, device_cells, device_titles};
use super::model::{Backend, Device, Model, Session};
use crate::text::{self, Align, cuda_version};

/// Devices and sessions as two tables.
pub(crate) fn to_table(model: &Model, order: Order) -> String {
    let backends = model.backends.len();
    let titles = device_titles(backends);
    let mut rows = vec![
        titles
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect(),
    ];
    let devices = model.devices();
    rows.extend(devices.iter().map(|device| device_cells(device, backends)));
    let alignments: Vec<Align> = titles.iter().map(|(_, align)| *align).collect();
    let mut shown = text::table(&alignments, &rows);

    let columns = columns(backends);
    let mut sessions = model.sessions();
    order.sort(&mut sessions);
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|c| c.title().to_owned()).collect()];
    rows.extend(sessions.iter().map(|session| {
        let cells = columns.iter().map(|column| column.cell(session));
        cells.collect()
    }));
    let alignments: Vec<Align> = columns.iter().map(|column| column.align()).collect();
    shown.push('\n');
    shown.push_str(&match sessions.len() {
        0 => "no sessions\n".to_owned(),
        _ => text::table(&alignments, &rows),
    });
    let left_out: u64 = model.backends.iter().map(Backend::sessions_left_out).sum();
    if left_out > 0 {
        shown.push_str(&format!("and {left_out} more sessions\n"));
    }
    shown
}

/// Everything that is known.
pub(crate) fn to_json(model: &Model) -> Value {
    let backends: Vec<Value> = model.backends.iter().map(backend).collect();
    json!({ "backends": backends })
}

fn backend(backend: &Backend) -> Value {
    let snapshot = backend.snapshot.as_ref();
    json!({
        "endpoint": backend.endpoint,
        "problem": backend.problem,
        "uptime_s": backend.uptime().map(|uptime| uptime.as_secs_f64()),
        "cuda_version": snapshot.map(|snapshot| cuda_version(snapshot.driver_version)),
        "devices": backend.devices().map(|d| device(&d)).collect::<Vec<_>>(),
        "sessions": backend.sessions().map(|s| session(&s)).collect::<Vec<_>>(),
        "sessions_left_out": backend.sessions_left_out(),
    })
}

fn device(device: &Device<'_>) -> Value {
    json!({
        "index": device.index,
        "name": device.device.name,
        "uuid": text::uuid(device.device),
        "total_memory_bytes": device.device.total_memory_bytes,
        "memory_used_bytes": device.figures.memory_used_bytes,
        "utilisation_percent": device.figures.utilisation_percent,
        "session_count": device.session_count,
        "sessions_memory_bytes": device.sessions_memory_bytes,
    })
}

fn session(session: &Session<'_>) -> Value {
    let (status, counters) = (session.status, &session.status.counters);
    let memory = counters.memory.iter().map(|memory| {
        json!({
            "device": memory.device,
            "bytes": memory.bytes,
            "peak_bytes": memory.peak_bytes,
        })
    });
    let rates = session.rates.map(|rates| {
        json!({
            "launches_per_s": rates.launches_per_s,
            "round_trips_per_s": rates.round_trips_per_s,
            "received_bytes_per_s": rates.received_bytes_per_s,
            "sent_bytes_per_s": rates.sent_bytes_per_s,
        })
    });
    json!({
        "session": status.session_id,
        "program": status.program,
        "host": status.host,
        "pid": status.pid,
        "peer": status.peer,
        "age_s": session.age().as_secs_f64(),
        "worker_pid": status.worker_pid,
        "commands": counters.commands,
        "launches": counters.launches,
        "round_trips": counters.round_trips,
        "received_bytes": counters.received_bytes,
        "sent_bytes": counters.sent_bytes,
        "memory": memory.collect::<Vec<_>>(),
        "rates": rates,
    })
}

#[cfg(test)]
mod tests {
    use super::super::model::News;
    use super::super::model::tests::{picture, session, snapshot};
    use super::*;

    fn model() -> Model {
        let mut model = Model::new(["unix:///a".to_owned()]);
        model.update(0, News::Connected(snapshot()));
        model.update(0, picture(2_000_000, vec![session(1, 2_000_000, 0)]));
        let later = vec![session(1, 3_000_000, 1000), session(2, 3_000_000, 0)];
        model.update(0, picture(3_000_000, later));
        model
    }

    #[test]
    fn a_pipe_gets_tables() {
        let expected = "\
DEVICE  NAME                    MEMORY  UTIL  SESSIONS
0       NVIDIA H200  3.0 GiB / 140 GiB     –         2

SESSION  PROGRAM    HOST     PID  AGE   MEMORY  LAUNCH/S        IN       OUT  TRIPS/S
      1  program-1  node-1  4001   2s  1.0 GiB      1000  1.0 MB/s  100 kB/s      100
      2  program-2  node-1  4002   2s  2.0 GiB         0     0 B/s     0 B/s        0
";
        assert_eq!(to_table(&model(), Order::default()), expected);
        let nobody = Model::new(["unix:///a".to_owned()]);
        assert!(to_table(&nobody, Order::default()).ends_with("\nno sessions\n"));
    }

    #[test]
    fn a_script_gets_everything() {
        let value = to_json(&model());
        let backend = &value["backends"][0];
        assert_eq!(backend["endpoint"], "unix:///a");
        assert_eq!(backend["uptime_s"], 3.0);
        assert_eq!(backend["devices"][0]["sessions_memory_bytes"], 3_u64 << 30);
        assert_eq!(backend["devices"][0]["memory_used_bytes"], Value::Null);
        let session = &backend["sessions"][0];
        assert_eq!(session["launches"], 1000);
        assert_eq!(session["rates"]["launches_per_s"], 1000.0);
        assert_eq!(session["memory"][0]["peak_bytes"], 2_u64 << 30);
        let mut gone = model();
        gone.update(0, News::Problem("no answer".into()));
        assert_eq!(to_json(&gone)["backends"][0]["problem"], "no answer");
    }
}
