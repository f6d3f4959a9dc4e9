// SPDX-License-Identifier: Apache-2.0
//! The log of a backend, on standard error.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What sets the levels, as `tracing-subscriber`'s filters: `debug`, `warn,gvirtus_backend=trace`,
/// …
const VARIABLE: &str = "GVIRTUS_LOG";

const DEFAULT: &str = "info";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

impl Format {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
        }
    }
}

/// Logs to `writer` from now on.
pub(crate) fn init<W>(format: Format, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let filter = EnvFilter::new(filter.as_deref().unwrap_or(DEFAULT));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false);
    match format {
        Format::Json => builder.json().flatten_event(true).init(),
        Format::Text => builder.with_ansi(false).init(),
    }
}
