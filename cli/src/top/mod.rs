// SPDX-License-Identifier: Apache-2.0
//! `gvirtus top`: what backends and their sessions do.

mod columns;
mod model;
mod report;
mod view;
mod watch;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use crossterm::event::{self, Event, KeyEventKind};
use gvirtus_transport::{Endpoint, parse_list};
use ratatui::DefaultTerminal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::connection::StatusConnection;
use columns::Order;
use model::{LONGEST_INTERVAL, Model, News};
use view::{View, Wish};
use watch::PROGRAM;

/// How long the screen waits for a key before it looks for news.
const KEY_TIMEOUT: Duration = Duration::from_millis(100);

/// Shows what backends and the programs on them do, until q is pressed.
///
/// Everybody who may use a backend may watch it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  gvirtus top --endpoint tcp://gpu-1:9999
  gvirtus top --endpoint tcp://gpu-1:9999,tcp://gpu-2:9999
  gvirtus top --endpoint unix:///run/gvirtus.sock --once
  gvirtus top --endpoint tcp://gpu-1:9999 --json | jq '.backends[].sessions[].program'")]
pub(crate) struct TopArgs {
    /// Where the backends listen: tcp://host:port or unix:///path; several with commas
    #[arg(long, env = "GVIRTUS_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,

    /// Seconds between two looks
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = interval)]
    interval_s: Duration,

    /// Looks twice, 1.25 seconds apart at least, prints one table and ends; as without a terminal
    #[arg(long)]
    once: bool,

    /// The same as JSON, with all counters
    #[arg(long)]
    json: bool,
}

impl TopArgs {
    /// Shows or prints; fails if, printing, a backend does not answer.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let Some(url) = self.endpoint.as_deref().filter(|url| !url.is_empty()) else {
            bail!("which backend? name it with --endpoint or GVIRTUS_ENDPOINT");
        };
        let endpoints = parse_list(url)?;
        if self.once || self.json || !std::io::stdout().is_terminal() {
            // Between two pictures there has to be a report of everybody who does something.
            let interval = self.interval_s.max(LONGEST_INTERVAL);
            return print_once(&endpoints, interval, self.json);
        }
        let names = endpoints.iter().map(Endpoint::to_string);
        let model = Model::new(names);
        let news = watch::watch(endpoints, self.interval_s);
        let asked_to_end = signals()?;
        let mut terminal = ratatui::try_init().context("cannot use this terminal")?;
        let shown = show(&mut terminal, model, &news, &asked_to_end);
        ratatui::restore();
        shown?;
        Ok(ExitCode::SUCCESS)
    }
}

fn interval(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse()?;
    if !(0.1..=3600.0).contains(&seconds) {
        bail!("between 0.1 and 3600 seconds, please");
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Becomes true when a signal asks this to end, so that the terminal is left as it was.
fn signals() -> Result<Arc<AtomicBool>> {
    let asked = Arc::<AtomicBool>::default();
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(asked)
}

fn show(
    terminal: &mut DefaultTerminal,
    mut model: Model,
    news: &Receiver<(usize, News)>,
    asked_to_end: &AtomicBool,
) -> Result<()> {
    let mut view = View::default();
    loop {
        terminal.draw(|frame| view.draw(frame, &model))?;
        if event::poll(KEY_TIMEOUT)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
            && view.press(key, &model) == Wish::End
        {
            return Ok(());
        }
        if asked_to_end.load(Ordering::Relaxed) {
            return Ok(());
        }
        // A held screen holds the news back, so that nothing is lost of the rates after it.
        if !view.is_paused {
            for (index, news) in news.try_iter() {
                model.update(index, news);
            }
        }
    }
}

#[allow(clippy::print_stderr, reason = "this is what the user asked")]
fn print_once(endpoints: &[Endpoint], interval: Duration, json: bool) -> Result<ExitCode> {
    let mut model = Model::new(endpoints.iter().map(Endpoint::to_string));
    let mut connections = Vec::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let opened = StatusConnection::open(endpoint, PROGRAM);
        let connection = opened.map(|(connection, snapshot)| {
            model.update(index, News::Connected(snapshot));
            (index, connection)
        });
        match connection {
            Ok(connection) => connections.push(connection),
            Err(error) => model.update(index, News::Problem(format!("{error:#}"))),
        }
    }
    for look in 0..2 {
        if look > 0 && !connections.is_empty() {
            std::thread::sleep(interval);
        }
        connections.retain(|(index, connection)| match connection.ask() {
            Ok(picture) => {
                model.update(*index, News::Picture(picture));
                true
            }
            Err(error) => {
                model.update(*index, News::Problem(format!("{error:#}")));
                false
            }
        });
    }
    let text = if json {
        serde_json::to_string_pretty(&report::to_json(&model))? + "\n"
    } else {
        report::to_table(&model, Order::default())
    };
    // A reader that has seen enough, like `head`, is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let mut code = ExitCode::SUCCESS;
    for backend in &model.backends {
        if let Some(problem) = &backend.problem {
            eprintln!("gvirtus: {}: {problem}", backend.endpoint);
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests;
