// SPDX-License-Identifier: Apache-2.0
//! Lines on standard error, of a library that lives in somebody else's process.
//!
//! Nothing is written unless the environment variable `GVIRTUS_LOG` names a level: `error`, `warn`,
//! `info`, `debug` or `trace`. It is read once.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;

/// How much a line matters; a level shows itself and those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The library cannot do what it was asked for.
    Error,
    /// The program probably does not get what it expects.
    Warn,
    /// Once a process or a connection.
    Info,
    /// Once a rare call.
    Debug,
    /// Once a call.
    Trace,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_lowercase().as_str() {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            "trace" => Self::Trace,
            _ => return None,
        })
    }
}

/// Whether lines of this level are asked for.
pub fn enabled(level: Level) -> bool {
    static WANTED: OnceLock<Option<Level>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| Level::parse(&std::env::var("GVIRTUS_LOG").ok()?));
    wanted.is_some_and(|wanted| level <= wanted)
}

/// Writes one line if its level is asked for; [`log!`](crate::log!) is the short form.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if enabled(level) {
        write_always(message);
    }
}

/// Writes one line in any case: only for what a user must see without asking.
pub fn write_always(message: fmt::Arguments<'_>) {
    // One write, so that lines of several threads do not mix. A closed standard error is no reason
    // to fail somebody else's program.
    let line = format!("gvirtus: {message}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// `log!(Warn, "format", …)`: one line on standard error, if `GVIRTUS_LOG` asks for its level.
#[macro_export]
macro_rules! log {
    ($level:ident, $($message:tt)+) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write_always(::core::format_args!($($message)+));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_shows_the_ones_above_it() {
        assert!(Level::Error < Level::Trace);
        assert_eq!(Level::parse(" Warn "), Some(Level::Warn));
        assert_eq!(Level::parse("loud"), None);
    }
}
