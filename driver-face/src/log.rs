// SPDX-License-Identifier: Apache-2.0
//! Lines on standard error, of a library that lives in somebody else's process.
//!
//! Nothing is written unless the environment variable `GVIRTUS_LOG` names a level: `error`, `warn`,
//! `info`, `debug` or `trace`. With `GVIRTUS_LOG=debug,file=/path` the lines are appended to a file
//! instead. It is read once.

use std::fmt;
use std::fs::{File, OpenOptions};
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

/// What `GVIRTUS_LOG` asks for.
#[derive(Debug, Default)]
struct Wanted {
    level: Option<Level>,
    /// Instead of standard error.
    file: Option<File>,
}

impl Wanted {
    fn parse(text: &str) -> (Option<Level>, Option<&str>) {
        let (level, rest) = text.split_once(',').unwrap_or((text, ""));
        (Level::parse(level), rest.trim().strip_prefix("file="))
    }

    fn read() -> Self {
        let text = std::env::var("GVIRTUS_LOG").unwrap_or_default();
        let (level, path) = Self::parse(&text);
        // A file that cannot be opened leaves the lines where they can be seen.
        let open = |path| OpenOptions::new().append(true).create(true).open(path).ok();
        let file = level.and(path).and_then(open);
        Self { level, file }
    }
}

fn wanted() -> &'static Wanted {
    static WANTED: OnceLock<Wanted> = OnceLock::new();
    WANTED.get_or_init(Wanted::read)
}

/// Whether lines of this level are asked for.
pub fn enabled(level: Level) -> bool {
    wanted().level.is_some_and(|wanted| level <= wanted)
}

/// Writes one line if its level is asked for; [`log!`](crate::log!) is the short form.
pub fn write(level: Level, message: fmt::Arguments<'_>) {
    if enabled(level) {
        write_wanted(message);
    }
}

/// Writes one line whose level has been compared already.
#[doc(hidden)]
pub fn write_wanted(message: fmt::Arguments<'_>) {
    match &wanted().file {
        Some(file) => write_line(file, message),
        None => write_always(message),
    }
}

/// Writes one line on standard error in any case: only for what a user must see without asking.
pub fn write_always(message: fmt::Arguments<'_>) {
    write_line(std::io::stderr().lock(), message);
}

fn write_line(mut output: impl Write, message: fmt::Arguments<'_>) {
    // One write, so that lines of several threads do not mix. A closed output is no reason to fail
    // somebody else's program.
    let _ = output.write_all(format!("gvirtus: {message}\n").as_bytes());
}

/// `log!(Warn, "format", …)`: one line on standard error, if `GVIRTUS_LOG` asks for its level.
#[macro_export]
macro_rules! log {
    ($level:ident, $($message:tt)+) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write_wanted(::core::format_args!($($message)+));
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
        assert_eq!(
            Wanted::parse("debug,file=/tmp/a,b"),
            (Some(Level::Debug), Some("/tmp/a,b"))
        );
        assert_eq!(Wanted::parse("info"), (Some(Level::Info), None));
    }
}
