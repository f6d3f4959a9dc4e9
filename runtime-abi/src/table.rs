// SPDX-License-Identifier: Apache-2.0
//! The table of the runtime API: `runtime_api.table` as data, for build scripts, the linking of the
//! libraries and the coverage report.

use std::fmt;

use gvirtus_abi::table::Argument;

/// The table's text; its head explains the columns.
pub const RUNTIME_API: &str = include_str!("runtime_api.table");

/// The libraries that exist, by major version: `libcudart.so.11.0`, `.12` and `.13`.
pub const RELEASES: [Release; 3] = [Release(11), Release(12), Release(13)];

/// A major version of libcudart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release(pub u32);

impl Release {
    /// The library's file name, which is also the version of all its symbols.
    pub const fn soname(self) -> &'static str {
        match self.0 {
            11 => "libcudart.so.11.0",
            12 => "libcudart.so.12",
            _ => "libcudart.so.13",
        }
    }
}

/// Which default stream a function's second symbol means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerThread {
    /// `_ptds`: the implicit stream.
    Implicit,
    /// `_ptsz`: a stream argument of zero.
    Argument,
}

impl PerThread {
    /// What the second symbol ends with, after an underscore.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Implicit => "ptds",
            Self::Argument => "ptsz",
        }
    }
}

/// How a function is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// By the driver function of this symbol, which has the same arguments.
    Driver(String),
    /// By a handler that is written by hand.
    Implemented,
    /// With `cudaErrorNotSupported`.
    Unsupported,
}

/// One form of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The exported symbol, for example `cudaMemAdvise`.
    pub symbol: String,
    /// The libraries that export this form.
    pub releases: Vec<Release>,
    /// The second symbol for the per-thread default stream.
    pub per_thread: Option<PerThread>,
    /// The function that answers, for example `cudaMemAdvise_r12`.
    pub handler: String,
    /// How it does.
    pub state: State,
    /// In the order of the C declaration; empty for a function that is not implemented and whose
    /// header needs other products.
    pub arguments: Vec<Argument>,
    /// The C result, in Rust.
    pub result: String,
}

impl Function {
    /// The suffixes of all symbols: none and, where there is a second symbol, its own.
    pub fn suffixes(&self) -> impl Iterator<Item = String> {
        let second = self.per_thread.map(|kind| format!("_{}", kind.suffix()));
        std::iter::once(String::new()).chain(second)
    }

    /// The arguments as Rust parameters.
    pub fn parameters(&self) -> String {
        let list: Vec<String> = self
            .arguments
            .iter()
            .map(|a| format!("{}: {}", a.name, a.ty))
            .collect();
        list.join(", ")
    }
}

/// A row that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub struct TableError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {} of the runtime table: {}",
            self.line, self.reason
        )
    }
}

impl std::error::Error for TableError {}

/// The rows of [`RUNTIME_API`].
///
/// # Panics
///
/// If the table that this crate was built with is not well formed, which its tests exclude.
pub fn runtime_api() -> Vec<Function> {
    parse(RUNTIME_API).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads a table.
///
/// # Errors
///
/// The first row that is not well formed, that gives a release a symbol for the second time, or
/// that repeats a handler.
pub fn parse(text: &str) -> Result<Vec<Function>, TableError> {
    let mut functions: Vec<Function> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fail = |reason: String| TableError {
            line: index + 1,
            reason,
        };
        let function = row(line).map_err(fail)?;
        let twice = functions.iter().any(|f| {
            f.symbol == function.symbol && f.releases.iter().any(|r| function.releases.contains(r))
        });
        if twice {
            return Err(fail(format!("{} is listed twice", function.symbol)));
        }
        if functions.iter().any(|f| f.handler == function.handler) {
            return Err(fail(format!("{} is a handler twice", function.handler)));
        }
        functions.push(function);
    }
    Ok(functions)
}

fn row(line: &str) -> Result<Function, String> {
    let columns: Vec<&str> = line.splitn(3, '|').map(str::trim).collect();
    let [head, state, signature] = columns[..] else {
        return Err("a row has three columns".to_owned());
    };
    let mut words = head.split_whitespace().peekable();
    let symbol = words.next().ok_or("no symbol")?.to_owned();
    let releases = releases(words.next().ok_or("no releases")?)?;
    let per_thread = match words.next_if(|word| *word != "=") {
        None => None,
        Some("ptds") => Some(PerThread::Implicit),
        Some("ptsz") => Some(PerThread::Argument),
        Some(other) => return Err(format!("{other:?} is neither ptsz nor ptds")),
    };
    let handler = match words.next() {
        Some(_) => words.next().ok_or("no handler after =")?.to_owned(),
        None => symbol.clone(),
    };
    let (arguments, result) = match signature.split_once("->") {
        Some((arguments, result)) => (arguments.trim(), result.trim()),
        None => (signature, "cudaError"),
    };
    Ok(Function {
        symbol,
        releases,
        per_thread,
        handler,
        state: match state {
            "implemented" => State::Implemented,
            "unsupported" => State::Unsupported,
            driver if driver.starts_with("cu") => State::Driver(driver.to_owned()),
            other => return Err(format!("{other:?} is not a state")),
        },
        arguments: arguments
            .split(", ")
            .filter(|a| !a.is_empty())
            .map(argument)
            .collect::<Result<_, _>>()?,
        result: result.to_owned(),
    })
}

fn releases(text: &str) -> Result<Vec<Release>, String> {
    text.split(',')
        .map(|word| {
            RELEASES
                .into_iter()
                .find(|release| release.0.to_string() == word)
                .ok_or_else(|| format!("{word:?} is not a release"))
        })
        .collect()
}

fn argument(text: &str) -> Result<Argument, String> {
    let (name, ty) = text
        .split_once(": ")
        .ok_or_else(|| format!("{text:?} has no type"))?;
    let name = match name {
        "type" | "ref" | "in" | "use" | "mod" | "fn" | "move" | "match" => format!("{name}_"),
        other => other.to_owned(),
    };
    Ok(Argument {
        name,
        ty: ty.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exported(release: Release) -> usize {
        runtime_api()
            .iter()
            .filter(|f| f.releases.contains(&release))
            .map(|f| f.suffixes().count())
            .sum()
    }

    #[test]
    fn each_release_has_as_many_symbols_as_nvidias() {
        assert_eq!(exported(Release(11)), 395);
        assert_eq!(exported(Release(12)), 435);
        assert_eq!(exported(Release(13)), 458);
    }

    #[test]
    fn bad_rows_are_named() {
        for (row, reason) in [
            ("cudaA 13 | implemented", "three columns"),
            ("cudaA 10 | implemented | ", "release"),
            ("cudaA 13 ptxx | implemented | ", "neither"),
            ("cudaA 13 | done | ", "state"),
            ("cudaA 13 | implemented | a", "no type"),
        ] {
            let error = parse(row).expect_err(row);
            assert!(error.reason.contains(reason), "{row}: {error}");
        }
        let twice = parse("cudaA 12,13 | unsupported | \ncudaA 13 = cudaB | unsupported | ");
        assert_eq!(twice.expect_err("listed twice").line, 2);
    }
}
