// SPDX-License-Identifier: Apache-2.0
//! Asks backends again and again, each on a thread of its own.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use gvirtus_transport::Endpoint;

use super::model::News;
use crate::connection::StatusConnection;

/// News that wait while nobody looks; then the backends are not asked any more.
const NEWS_MAX: usize = 8;

/// How this program calls itself.
pub(crate) const PROGRAM: &str = "gvirtus top";

/// Starts the threads; they end with the process. The numbers are places in `endpoints`.
pub(crate) fn watch(endpoints: Vec<Endpoint>, interval: Duration) -> Receiver<(usize, News)> {
    let (sender, news) = sync_channel(NEWS_MAX);
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            // Until nobody listens.
            while let Some(problem) = follow(index, &endpoint, interval, &sender) {
                if sender.send((index, News::Problem(problem))).is_err() {
                    return;
                }
                std::thread::sleep(interval);
            }
        });
    }
    news
}

/// Tells news until the backend fails, and why it did; nothing if nobody listens.
fn follow(
    index: usize,
    endpoint: &Endpoint,
    interval: Duration,
    sender: &SyncSender<(usize, News)>,
) -> Option<String> {
    let (connection, snapshot) = match StatusConnection::open(endpoint, PROGRAM) {
        Ok(opened) => opened,
        Err(error) => return Some(format!("{error:#}")),
    };
    sender.send((index, News::Connected(snapshot))).ok()?;
    loop {
        let news = match connection.ask() {
            Ok(picture) => News::Picture(picture),
            Err(error) => return Some(format!("{error:#}")),
        };
        sender.send((index, news)).ok()?;
        std::thread::sleep(interval);
    }
}
