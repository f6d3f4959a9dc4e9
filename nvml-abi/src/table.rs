// SPDX-License-Identifier: Apache-2.0
//! The table of NVML: `nvml.table` as data.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

/// The table's text; its head explains the columns.
pub const NVML: &str = include_str!("nvml.table");

/// Most arguments of a function.
pub const ARGUMENTS_MAX: usize = 6;

/// How a function is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// In the client.
    Local,
    /// By the backend's own NVML.
    Query,
    /// With `NVML_ERROR_NOT_SUPPORTED`.
    Unsupported,
}

/// What an opaque pointer stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "nvmlDevice_t and so on")]
pub enum HandleKind {
    Device = 1,
    Unit,
    GpuInstance,
    ComputeInstance,
    EventSet,
    GpmSample,
}

/// What is at an offset within a structure, and is not only bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A handle of 8 bytes.
    Handle(HandleKind, usize),
    /// A process id of 4 bytes.
    Pid(usize),
    /// A pointer of 8 bytes to a list of the caller's.
    List(List),
}

/// A list that a structure points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Where the pointer is in the structure.
    pub pointer: usize,
    /// Where the count of elements is in the structure, 4 bytes: before the call how many fit,
    /// after it how many there are.
    pub count: usize,
    /// Bytes of an element.
    pub element: usize,
    /// What is in each element.
    pub repairs: Vec<Repair>,
}

/// How much fits into what a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// As much as the argument with this index says.
    Argument(usize),
    /// This much.
    Fixed(usize),
}

/// What a pointer points to. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An opaque pointer, by value.
    Handle(HandleKind),
    /// A number of 32 bits, by value.
    U32,
    /// A number of 64 bits, by value.
    U64,
    /// A process id, by value.
    Pid,
    /// A string that ends with a zero byte.
    Text,
    /// A structure.
    Structure {
        /// Its size; if there are several, the low 24 bits of its first word tell which.
        sizes: Vec<usize>,
        /// Whether the callee reads it.
        input: bool,
        /// Whether the callee writes it.
        output: bool,
        /// Whether the first word is a version with the size.
        versioned: bool,
        /// What is in it.
        repairs: Vec<Repair>,
    },
    /// How many elements fit, and then how many there are: 4 bytes.
    Count,
    /// Elements to write.
    Array {
        /// Bytes of one.
        element: usize,
        /// How many fit.
        room: Room,
        /// Whether the callee reads them too.
        input: bool,
        /// What is in each.
        repairs: Vec<Repair>,
    },
    /// Elements to write, of which nobody says how many fit.
    Unbounded {
        /// Bytes of one.
        element: usize,
        /// The argument that says how many there are.
        count: usize,
        /// What is in each.
        repairs: Vec<Repair>,
    },
    /// A string to write.
    Chars(Room),
}

impl Kind {
    /// Whether the C argument is a pointer to the caller's memory.
    pub const fn is_pointer(&self) -> bool {
        !matches!(self, Self::Handle(_) | Self::U32 | Self::U64 | Self::Pid)
    }
}

/// One function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The exported symbol.
    pub symbol: &'static str,
    /// How it is answered.
    pub travel: Travel,
    /// In the order of the C declaration; empty for those that do not travel.
    pub arguments: Vec<Kind>,
    /// Names of the arguments.
    pub names: Vec<&'static str>,
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
        write!(f, "line {} of the NVML table: {}", self.line, self.reason)
    }
}

impl std::error::Error for TableError {}

/// All functions; the index of one is its number between client and backend.
///
/// # Panics
///
/// If the table that this crate was built with is not well formed, which its tests exclude.
pub fn functions() -> &'static [Function] {
    static FUNCTIONS: OnceLock<Vec<Function>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| parse(NVML).unwrap_or_else(|error| panic!("{error}")))
}

/// The number of a function, by its symbol.
pub fn number(symbol: &str) -> Option<u16> {
    static NUMBERS: OnceLock<HashMap<&'static str, u16>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let symbols = functions().iter().map(|f| f.symbol);
        symbols.zip(0..).collect()
    });
    numbers.get(symbol).copied()
}

/// Reads a table.
///
/// # Errors
///
/// The first row that is not well formed.
pub fn parse(text: &'static str) -> Result<Vec<Function>, TableError> {
    let mut functions: Vec<Function> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fail = |reason: String| TableError {
            line: index + 1,
            reason,
        };
        functions.push(row(line).map_err(fail)?);
    }
    Ok(functions)
}

fn row(line: &'static str) -> Result<Function, String> {
    let columns: Vec<&str> = line.splitn(3, '|').map(str::trim).collect();
    let [symbol, travel, arguments] = columns[..] else {
        return Err("a row has three columns".to_owned());
    };
    let pairs = arguments
        .split(", ")
        .filter(|text| !text.is_empty())
        .map(|text| text.split_once(": ").ok_or(format!("{text:?} has no kind")))
        .collect::<Result<Vec<_>, _>>()?;
    if pairs.len() > ARGUMENTS_MAX {
        return Err("too many arguments".to_owned());
    }
    let names: Vec<&str> = pairs.iter().map(|(name, _)| *name).collect();
    let arguments = pairs
        .iter()
        .map(|(_, text)| kind(text, &names))
        .collect::<Result<_, _>>()?;
    Ok(Function {
        symbol,
        travel: match travel {
            "local" => Travel::Local,
            "query" => Travel::Query,
            "unsupported" => Travel::Unsupported,
            other => return Err(format!("{other:?} is not a way to travel")),
        },
        arguments,
        names,
    })
}

fn kind(text: &str, names: &[&str]) -> Result<Kind, String> {
    let mut words = text.split_whitespace();
    let first = words.next().ok_or("no kind")?;
    let structure = |words: &mut dyn Iterator<Item = &str>, input, output| {
        let sizes = words.next().ok_or("no size")?;
        let sizes: Vec<usize> = sizes.split(',').map(size).collect::<Result<_, _>>()?;
        let versioned = first == "versioned";
        if !versioned && sizes.len() > 1 {
            return Err("only a versioned structure has several sizes".to_owned());
        }
        Ok(Kind::Structure {
            sizes,
            input,
            output,
            versioned,
            repairs: repairs(words)?,
        })
    };
    let kind = match first {
        "u32" => Kind::U32,
        "u64" => Kind::U64,
        "pid" => Kind::Pid,
        "text" => Kind::Text,
        "count" => Kind::Count,
        "in" => structure(&mut words, true, false)?,
        "out" => structure(&mut words, false, true)?,
        "inout" | "versioned" => structure(&mut words, true, true)?,
        "array" | "inout_array" => Kind::Array {
            element: size(words.next().ok_or("no size")?)?,
            room: Room::Argument(of(&mut words, names)?),
            input: first == "inout_array",
            repairs: repairs(&mut words)?,
        },
        "unbounded" => Kind::Unbounded {
            element: size(words.next().ok_or("no size")?)?,
            count: of(&mut words, names)?,
            repairs: repairs(&mut words)?,
        },
        "chars" => match words.clone().next() {
            Some("of") => Kind::Chars(Room::Argument(of(&mut words, names)?)),
            _ => Kind::Chars(Room::Fixed(size(words.next().ok_or("no size")?)?)),
        },
        handle => Kind::Handle(handle_kind(handle)?),
    };
    match words.next() {
        None => Ok(kind),
        Some(rest) => Err(format!("{rest:?} is too much")),
    }
}

fn of<'a>(words: &mut impl Iterator<Item = &'a str>, names: &[&str]) -> Result<usize, String> {
    match (words.next(), words.next()) {
        (Some("of"), Some(name)) => names
            .iter()
            .position(|other| *other == name)
            .ok_or_else(|| format!("there is no argument {name:?}")),
        _ => Err("an argument that says how many is missing".to_owned()),
    }
}

fn repairs<'a>(
    words: &mut (impl Iterator<Item = &'a str> + ?Sized),
) -> Result<Vec<Repair>, String> {
    words.map(repair).collect()
}

fn repair(text: &str) -> Result<Repair, String> {
    let (what, place) = text
        .split_once('@')
        .ok_or_else(|| format!("{text:?} has no offset"))?;
    Ok(match what {
        "pid" => Repair::Pid(size(place)?),
        "list" => {
            let parts: Vec<&str> = place.splitn(4, ':').collect();
            let (Some(pointer), Some(count), Some(element)) =
                (parts.first(), parts.get(1), parts.get(2))
            else {
                return Err(format!("{text:?} is no list"));
            };
            Repair::List(List {
                pointer: size(pointer)?,
                count: size(count)?,
                element: size(element)?,
                repairs: parts[3..]
                    .iter()
                    .map(|part| repair(part))
                    .collect::<Result<_, _>>()?,
            })
        }
        handle => Repair::Handle(handle_kind(handle)?, size(place)?),
    })
}

fn handle_kind(text: &str) -> Result<HandleKind, String> {
    Ok(match text {
        "device" => HandleKind::Device,
        "unit" => HandleKind::Unit,
        "gpu_instance" => HandleKind::GpuInstance,
        "compute_instance" => HandleKind::ComputeInstance,
        "event_set" => HandleKind::EventSet,
        "gpm_sample" => HandleKind::GpmSample,
        other => return Err(format!("{other:?} is not a kind")),
    })
}

fn size(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_read_and_no_symbol_is_listed_twice() {
        let functions = functions();
        let symbols: BTreeSet<_> = functions.iter().map(|f| f.symbol).collect();
        assert_eq!(symbols.len(), functions.len());
        assert_eq!(functions.len(), 439);
        let count = |travel| functions.iter().filter(|f| f.travel == travel).count();
        assert_eq!(count(Travel::Local), 6);
        assert_eq!(count(Travel::Query), 322 + 2);
        let index = usize::from(number("nvmlDeviceGetName").expect("listed"));
        assert_eq!(functions[index].symbol, "nvmlDeviceGetName");
        assert_eq!(number("nvmlDeviceGetNames"), None);
    }

    #[test]
    fn offsets_lie_within_their_structures() {
        for function in functions() {
            for kind in &function.arguments {
                let (bytes, repairs) = match kind {
                    Kind::Structure { sizes, repairs, .. } => (sizes[0], repairs),
                    Kind::Array {
                        element, repairs, ..
                    }
                    | Kind::Unbounded {
                        element, repairs, ..
                    } => (*element, repairs),
                    _ => continue,
                };
                assert!(bytes > 0);
                for repair in repairs {
                    let end = match repair {
                        Repair::Handle(_, at) => at + 8,
                        Repair::Pid(at) => at + 4,
                        Repair::List(list) => (list.pointer + 8).max(list.count + 4),
                    };
                    assert!(end <= bytes, "{}", function.symbol);
                }
            }
        }
    }

    #[test]
    fn nothing_that_sets_a_state_travels() {
        for function in functions().iter().filter(|f| f.travel == Travel::Query) {
            let name = function.symbol;
            for word in [
                "Reset",
                "Clear",
                "Modify",
                "Destroy",
                "DeviceCreate",
                "Freeze",
            ] {
                assert!(!name.contains(word), "{name}");
            }
            for (at, _) in name.match_indices("Set") {
                let sets = name[at + 3..].starts_with(|c: char| c.is_ascii_uppercase());
                assert!(!sets || name[..at].ends_with("Event"), "{name}");
            }
        }
    }

    #[test]
    fn bad_rows_are_named() {
        for (row, reason) in [
            ("nvmlA | query", "three columns"),
            ("nvmlA | posted | ", "travel"),
            ("nvmlA | query | a", "no kind"),
            ("nvmlA | query | a: thing", "not a kind"),
            ("nvmlA | query | a: out x", "not a number"),
            ("nvmlA | query | a: array 4 of b", "no argument"),
            ("nvmlA | query | a: out 4,8", "several sizes"),
            ("nvmlA | query | a: u32 4", "too much"),
        ] {
            let error = parse(row).expect_err(row);
            assert!(error.reason.contains(reason), "{row}: {error}");
        }
    }
}
