// SPDX-License-Identifier: Apache-2.0
//! The call table: `driver_api.table` as data, for build scripts, tests and the coverage report.

use std::fmt;

/// The table's text; its head explains the columns.
pub const DRIVER_API: &str = include_str!("driver_api.table");

/// How the client library answers a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// Written by hand on both sides. Without an opcode it uses another row's message.
    Custom(Option<u16>),
    /// In the client, from what it knows.
    Local,
    /// Queued without a reply; generated from the row.
    Posted(u16),
    /// One round trip; generated from the row.
    Sync(u16),
    /// Answers `CUDA_ERROR_NOT_SUPPORTED`.
    Unsupported,
}

impl Travel {
    /// The opcode of the row's own message.
    pub const fn opcode(self) -> Option<u16> {
        match self {
            Self::Custom(opcode) => opcode,
            Self::Posted(opcode) | Self::Sync(opcode) => Some(opcode),
            Self::Local | Self::Unsupported => None,
        }
    }
}

/// Which default stream a function's second symbol means, and since when it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerThread {
    /// `ptsz` (a stream argument of zero) or `ptds` (the implicit stream).
    pub suffix: String,
    /// First CUDA version, as 1000 × major + 10 × minor.
    pub since: u32,
}

/// One argument of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name in `cuda.h`, not a Rust keyword.
    pub name: String,
    /// Its type, in Rust, as `gvirtus_abi` spells it.
    pub ty: String,
}

impl Argument {
    /// The type of the value that a regular function writes behind this argument, if it is an
    /// output.
    pub fn output(&self) -> Option<&str> {
        self.ty.strip_prefix("*mut ")
    }
}

/// One version of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The exported symbol, for example `cuMemAlloc_v2`.
    pub symbol: String,
    /// What `cuGetProcAddress` is asked for, for example `cuMemAlloc`.
    pub base: String,
    /// First CUDA version that means this symbol by `base`, as 1000 × major + 10 × minor.
    pub since: u32,
    /// The second symbol for the per-thread default stream.
    pub per_thread: Option<PerThread>,
    /// How the client library answers.
    pub travel: Travel,
    /// Whether the software device implements it.
    pub soft: bool,
    /// In the order of the C declaration.
    pub arguments: Vec<Argument>,
}

impl Function {
    /// All exported symbols: the function's own and, where there is one, its per-thread variant.
    pub fn symbols(&self) -> impl Iterator<Item = String> {
        let variant = self
            .per_thread
            .as_ref()
            .map(|v| format!("{}_{}", self.symbol, v.suffix));
        std::iter::once(self.symbol.clone()).chain(variant)
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
        write!(f, "line {} of the call table: {}", self.line, self.reason)
    }
}

impl std::error::Error for TableError {}

/// The rows of [`DRIVER_API`].
///
/// # Panics
///
/// If the table that this crate was built with is not well formed, which its tests exclude.
pub fn driver_api() -> Vec<Function> {
    parse(DRIVER_API).unwrap_or_else(|error| panic!("{error}"))
}

/// Reads a table.
///
/// # Errors
///
/// The first row that is not well formed, or that repeats a symbol or an opcode.
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
        if functions.iter().any(|f| f.symbol == function.symbol) {
            return Err(fail(format!("{} is listed twice", function.symbol)));
        }
        let opcode = function.travel.opcode();
        if opcode.is_some() && functions.iter().any(|f| f.travel.opcode() == opcode) {
            return Err(fail(format!("{} reuses an opcode", function.symbol)));
        }
        functions.push(function);
    }
    Ok(functions)
}

fn row(line: &str) -> Result<Function, String> {
    let columns: Vec<&str> = line.splitn(4, '|').map(str::trim).collect();
    let [head, travel, soft, arguments] = columns[..] else {
        return Err("a row has four columns".to_owned());
    };
    let mut words = head.split_whitespace().peekable();
    let symbol = words.next().ok_or("no symbol")?.to_owned();
    let base = match words.next_if_eq(&"=") {
        Some(_) => words.next().ok_or("no base name after =")?.to_owned(),
        None => symbol.clone(),
    };
    let since = words
        .next()
        .and_then(|w| w.strip_prefix('@'))
        .ok_or("no version")?;
    let per_thread = words.next().map(per_thread).transpose()?;
    Ok(Function {
        symbol,
        base,
        since: number(since)?,
        per_thread,
        travel: self::travel(travel)?,
        soft: match soft {
            "soft" => true,
            "" => false,
            other => return Err(format!("{other:?} is not `soft`")),
        },
        arguments: arguments
            .split(", ")
            .filter(|a| !a.is_empty())
            .map(argument)
            .collect::<Result<_, _>>()?,
    })
}

fn number(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a version"))
}

fn per_thread(word: &str) -> Result<PerThread, String> {
    match word.split_once('@') {
        Some((suffix @ ("ptsz" | "ptds"), since)) => Ok(PerThread {
            suffix: suffix.to_owned(),
            since: number(since)?,
        }),
        _ => Err(format!("{word:?} is neither ptsz@ nor ptds@")),
    }
}

fn travel(column: &str) -> Result<Travel, String> {
    let mut words = column.split_whitespace();
    let kind = words.next().unwrap_or_default();
    let opcode = words
        .next()
        .map(|w| {
            w.strip_prefix("0x")
                .and_then(|hex| u16::from_str_radix(hex, 16).ok())
                .ok_or(w)
        })
        .transpose()
        .map_err(|w| format!("{w:?} is not an opcode"))?;
    match (kind, opcode) {
        ("custom", opcode) => Ok(Travel::Custom(opcode)),
        ("posted", Some(opcode)) => Ok(Travel::Posted(opcode)),
        ("sync", Some(opcode)) => Ok(Travel::Sync(opcode)),
        ("local", None) => Ok(Travel::Local),
        ("unsupported", None) => Ok(Travel::Unsupported),
        _ => Err(format!("{column:?} is not a way to travel")),
    }
}

fn argument(text: &str) -> Result<Argument, String> {
    let (name, ty) = text
        .split_once(": ")
        .ok_or_else(|| format!("{text:?} has no type"))?;
    let name = match name {
        "fn" | "type" | "ref" | "in" | "use" | "mod" | "move" | "match" => format!("{name}_"),
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

    #[test]
    fn the_table_is_well_formed() {
        let functions = driver_api();
        assert!(functions.len() > 540, "only {} rows", functions.len());
        let launch = functions
            .iter()
            .find(|f| f.symbol == "cuLaunchKernel")
            .expect("listed");
        assert_eq!(launch.arguments.len(), 11);
        assert_eq!(
            launch.symbols().collect::<Vec<_>>(),
            ["cuLaunchKernel", "cuLaunchKernel_ptsz"]
        );
    }

    #[test]
    fn newer_symbols_of_a_base_name_have_later_versions() {
        let functions = driver_api();
        for pair in functions.windows(2).filter(|p| p[0].base == p[1].base) {
            assert!(
                pair[0].since <= pair[1].since,
                "{} after {}",
                pair[1].symbol,
                pair[0].symbol
            );
        }
    }

    #[test]
    fn bad_rows_are_named() {
        for (row, reason) in [
            ("cuA @1 | local", "four columns"),
            ("cuA @1 | posted | | ", "way to travel"),
            ("cuA @x | local | | ", "version"),
            ("cuA @1 | local | hard | ", "soft"),
            ("cuA @1 | local | | a", "no type"),
        ] {
            let error = parse(row).expect_err(row);
            assert!(error.reason.contains(reason), "{row}: {error}");
        }
        let twice =
            parse("cuA @1 | sync 0x0001 | | \ncuB @1 | sync 0x0001 | | ").expect_err("opcode");
        assert_eq!(twice.line, 2);
    }
}
