// SPDX-License-Identifier: Apache-2.0
//! Which cards there are: those that the daemon of this node offers.

use std::io::IoSlice;
use std::time::Instant;

use anyhow::Result;
use gvirtus_protocol::handshake::{
    ClientIdentity, Hello, PREAMBLE_BYTES, Purpose, Welcome, read_server_preamble,
};
use gvirtus_transport::{Endpoint, connect, read_exact, write_all_vectored};
use tokio::sync::watch;

use crate::card::{Card, Uuid};
use crate::limits::{DAEMON_INTERVAL, DAEMON_TIMEOUT};

const MIB: u64 = 1 << 20;

/// Keeps `cards` in step with the daemon for as long as the future is polled. While it does not
/// answer, all cards are unhealthy; one that it has no longer stays in the list as unhealthy.
pub async fn watch(endpoint: &Endpoint, cards: &watch::Sender<Vec<Card>>) {
    let mut last_error = None;
    loop {
        let place = endpoint.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&place)).await;
        let answer = asked.unwrap_or_else(|error| Err(error.into()));
        let error = answer.as_ref().err().map(|error| format!("{error:#}"));
        if error != last_error {
            match &error {
                Some(error) => tracing::warn!(error, "the daemon does not answer"),
                None => tracing::info!("the daemon answers"),
            }
            last_error = error;
        }
        let offered = answer.unwrap_or_default();
        cards.send_if_modified(|known| {
            let now = merge(known, &offered);
            let is_changed = now != *known;
            *known = now;
            is_changed
        });
        tokio::time::sleep(DAEMON_INTERVAL).await;
    }
}

/// Known cards with what the daemon says now, ascending.
fn merge(known: &[Card], offered: &[Card]) -> Vec<Card> {
    let lost = known.iter().filter(|old| {
        let mut uuids = offered.iter().map(|card| card.uuid);
        !uuids.any(|uuid| uuid == old.uuid)
    });
    let lost = lost.map(|old| Card {
        is_healthy: false,
        ..old.clone()
    });
    let mut all: Vec<_> = offered.iter().cloned().chain(lost).collect();
    all.sort_by_key(|card| card.uuid);
    all
}

fn ask(endpoint: &Endpoint) -> Result<Vec<Card>> {
    let stream = connect(endpoint)?;
    let identity = ClientIdentity {
        pid: std::process::id(),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        program: env!("CARGO_PKG_NAME").to_owned(),
        container: String::new(),
    };
    let hello = Hello::with_purpose(Purpose::Status, identity, Vec::new()).encode();
    write_all_vectored(&*stream, &mut [IoSlice::new(&hello)])?;
    let deadline = Instant::now() + DAEMON_TIMEOUT;
    let mut preamble = [0; PREAMBLE_BYTES];
    read_exact(&*stream, &mut preamble, deadline)?;
    let announced = read_server_preamble(&preamble)?;
    let mut body = vec![0; announced.length];
    read_exact(&*stream, &mut body, deadline)?;
    let devices = Welcome::decode(announced, &body)?.snapshot.devices;
    let card = |device: &gvirtus_protocol::snapshot::Device| Card {
        uuid: Uuid(device.uuid_v2),
        memory_mib: device.total_memory_bytes / MIB,
        is_healthy: true,
    };
    Ok(devices.iter().map(card).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(byte: u8, is_healthy: bool) -> Card {
        Card {
            uuid: Uuid([byte; 16]),
            memory_mib: 1,
            is_healthy,
        }
    }

    #[test]
    fn what_is_lost_is_unhealthy_until_it_is_back() {
        let both = [card(1, true), card(2, true)];
        assert_eq!(merge(&[], &both), both);
        let one_lost = merge(&both, &both[1..]);
        assert_eq!(one_lost, [card(1, false), card(2, true)]);
        let all_lost = merge(&one_lost, &[]);
        assert_eq!(all_lost, [card(1, false), card(2, false)]);
        assert_eq!(merge(&all_lost, &both), both);
    }
}
