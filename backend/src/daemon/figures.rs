// SPDX-License-Identifier: Apache-2.0
//! What the devices do, told by a worker that looks at them while somebody asks.

use gvirtus_protocol::status::DeviceFigures;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::workers::Workers;
use crate::limits::{FIGURES_FIRST, FIGURES_IDLE, FIGURES_PAUSE};

/// The figures, and who wants them.
pub(super) struct Figures {
    /// Nothing while nobody looks; empty where they cannot be had.
    now: watch::Sender<Option<Vec<DeviceFigures>>>,
    asked: watch::Sender<Instant>,
}

impl Figures {
    pub(super) fn new() -> Self {
        Self {
            now: watch::Sender::new(None),
            asked: watch::Sender::new(Instant::now()),
        }
    }

    /// What all devices did at the last look. The first question waits for a look, not for long.
    pub(super) async fn ask(&self) -> Vec<DeviceFigures> {
        self.asked.send_replace(Instant::now());
        let mut now = self.now.subscribe();
        if let Ok(Ok(figures)) = timeout(FIGURES_FIRST, now.wait_for(Option::is_some)).await {
            return figures.clone().unwrap_or_default();
        }
        // The next question does not wait.
        self.now.send_if_modified(|now| {
            let is_late = now.is_none();
            now.get_or_insert_default();
            is_late
        });
        Vec::new()
    }

    /// Has somebody look whenever there are questions, for ever.
    pub(super) async fn look(&self, workers: &Workers) {
        let mut asked = self.asked.subscribe();
        let mut told = None;
        while asked.changed().await.is_ok() {
            if let Err(reason) = self.follow(workers).await {
                if told.as_ref() != Some(&reason) {
                    tracing::info!(reason, "what the devices do cannot be told");
                }
                told = Some(reason);
                self.now.send_replace(Some(Vec::new()));
                sleep(FIGURES_PAUSE).await;
            }
            self.now.send_replace(None);
            // Questions until here are answered: only another one is a reason to look again.
            asked.mark_unchanged();
        }
    }

    /// Takes what a worker says until nobody asks any more.
    async fn follow(&self, workers: &Workers) -> Result<(), String> {
        let mut looker = workers.looker().await?;
        loop {
            tokio::select! {
                figures = looker.next() => match figures {
                    Some(figures) => drop(self.now.send_replace(Some(figures))),
                    None => return Err("the worker that looks at them has ended".to_owned()),
                },
                () = self.silence() => return Ok(()),
            }
        }
    }

    async fn silence(&self) {
        loop {
            let since = self.asked.borrow().elapsed();
            match FIGURES_IDLE.checked_sub(since) {
                Some(left) if !left.is_zero() => sleep(left).await,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_first_question_waits() {
        let figures = Figures::new();
        let start = Instant::now();
        assert_eq!(figures.ask().await, []);
        assert_eq!(start.elapsed(), FIGURES_FIRST);
        assert_eq!(figures.ask().await, []);
        assert_eq!(start.elapsed(), FIGURES_FIRST);
        let known = vec![DeviceFigures::default()];
        figures.now.send_replace(Some(known.clone()));
        assert_eq!(figures.ask().await, known);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_no_question_for_a_while() {
        let figures = Figures::new();
        let start = Instant::now();
        tokio::join!(figures.silence(), async {
            sleep(FIGURES_IDLE / 2).await;
            figures.ask().await;
        });
        assert_eq!(start.elapsed(), FIGURES_IDLE / 2 + FIGURES_IDLE);
    }
}
