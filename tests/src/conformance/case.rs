// SPDX-License-Identifier: Apache-2.0
//! A PTX file with its inputs and expected outputs.

use std::fs;
use std::path::{Path, PathBuf};

use super::image::Image;
use super::value::{Expected, Tolerance, Type};

/// A file that is not what the format asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct CaseError {
    /// Group and file.
    pub file: String,
    /// What is wrong.
    pub reason: String,
}

/// How the kernel is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks.
    pub grid: u32,
    /// Threads of a block.
    pub block: u32,
    /// Blocks of a cluster; one if there are no clusters.
    pub cluster: u32,
    /// Dynamic shared memory in bytes.
    pub shared_bytes: u32,
}

/// An array that the kernel gets the address of.
#[derive(Clone, Debug)]
pub struct Array {
    /// As the file calls it.
    pub name: String,
    /// Of its elements.
    pub element: Type,
    /// What must be there at the end; nothing if it is input only.
    pub(super) expected: Vec<Expected>,
    /// What is there at the start.
    pub(super) initial: Vec<u8>,
    /// How exact it must be.
    pub tolerance: Tolerance,
}

/// How a case ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With the expected values.
    Values,
    /// The launch, or the wait for it, answers this error.
    Fails(String),
    /// The module does not load, with this error.
    Invalid(String),
}

/// One file.
#[derive(Clone, Debug)]
pub struct Case {
    /// The folder it is in.
    pub group: String,
    /// Group and file, without the ending.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The whole text.
    pub ptx: String,
    /// How its kernel is launched.
    pub launch: Launch,
    /// The kernel's first parameters.
    pub arrays: Vec<Array>,
    /// Textures and surfaces: parameters after the arrays, but for references.
    pub images: Vec<Image>,
    /// How it ends.
    pub ending: Ending,
    /// What softgpu's log of the load must hold.
    pub log: Vec<String>,
    /// Ten times the major and once the minor compute capability of its target.
    pub target: u32,
}

/// The folder with all files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// Reads every file in the groups of `folder`, sorted by name.
///
/// # Errors
///
/// The first file that cannot be read or has not the form.
pub fn cases(folder: &Path) -> Result<Vec<Case>, CaseError> {
    let mut paths = Vec::new();
    for group in entries(folder)? {
        if group.is_dir() {
            paths.extend(entries(&group)?);
        }
    }
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "ptx"));
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, CaseError> {
    let entries = fs::read_dir(folder).map_err(|error| CaseError {
        file: folder.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

impl Case {
    /// Reads one file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or has not the form.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let part = |path: Option<&Path>| {
            let name = path.and_then(Path::file_stem).unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        // Names have dots of their own: only the ending goes.
        let group = path.parent().and_then(Path::file_name).unwrap_or_default();
        let group = group.to_string_lossy().into_owned();
        let name = format!("{group}/{}", part(Some(path)));
        let fail = |reason: String| CaseError {
            file: name.clone(),
            reason,
        };
        let ptx = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
        let mut case = Self {
            group,
            name: name.clone(),
            path: path.to_owned(),
            launch: Launch {
                grid: 1,
                block: 0,
                cluster: 1,
                shared_bytes: 0,
            },
            arrays: Vec::new(),
            images: Vec::new(),
            ending: Ending::Values,
            log: Vec::new(),
            target: target(&ptx).ok_or_else(|| fail("it has no .target sm_…".to_owned()))?,
            ptx,
        };
        for line in header(&case.ptx) {
            case.take_line(&line)
                .map_err(|reason| fail(format!("`{line}`: {reason}")))?;
        }
        case.finish().map_err(fail)?;
        Ok(case)
    }

    fn take_line(&mut self, line: &str) -> Result<(), String> {
        let Some((head, rest)) = line.split_once(':') else {
            return Ok(());
        };
        let words: Vec<_> = head.split_whitespace().collect();
        match words[..] {
            ["launch"] => self.launch = Launch::parse(rest).ok_or("not GRID x BLOCK …")?,
            ["fails"] => self.ending = Ending::Fails(rest.trim().to_owned()),
            ["invalid"] => self.ending = Ending::Invalid(rest.trim().to_owned()),
            ["log"] => self.log.push(rest.trim().to_owned()),
            ["in" | "out" | "inout", ..] => {
                let array = Array::parse(&words, rest)?;
                if self.arrays.iter().any(|other| other.name == array.name) {
                    return Err("there are two of this name".to_owned());
                }
                self.arrays.push(array);
            }
            ["texture" | "surface", _, _, _, ..] => {
                self.images.push(Image::parse(&words, rest)?);
            }
            // A sentence for readers.
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        if self.launch.block == 0 {
            let longest = self.arrays.iter().map(Array::count).max().unwrap_or(1);
            self.launch.block = u32::try_from(longest).map_err(|error| error.to_string())?;
        }
        let texels = self.images.iter().map(|image| &image.texels);
        let mut all = self.arrays.iter().chain(texels);
        let checks = all.any(|array| !array.expected.is_empty());
        match self.ending {
            Ending::Values if !checks => Err("it expects nothing".to_owned()),
            Ending::Invalid(_) if !self.arrays.is_empty() => {
                Err("what does not load has no arrays".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Launch {
    fn parse(text: &str) -> Option<Self> {
        let words: Vec<_> = text.split_whitespace().collect();
        let [grid, "x", block, options @ ..] = &words[..] else {
            return None;
        };
        let mut launch = Self {
            grid: grid.parse().ok()?,
            block: block.parse().ok()?,
            cluster: 1,
            shared_bytes: 0,
        };
        for option in options.chunks(2) {
            match option {
                ["cluster", blocks] => launch.cluster = blocks.parse().ok()?,
                ["shared", bytes] => launch.shared_bytes = bytes.parse().ok()?,
                _ => return None,
            }
        }
        Some(launch)
    }
}

impl Array {
    /// What the memory of an `out` array holds before the launch.
    const FILL: u8 = 0xa5;

    pub(super) fn parse(head: &[&str], values: &str) -> Result<Self, String> {
        let (direction, element, name, tolerance) = match head {
            [direction, element, name] => (direction, element, name, None),
            [direction, element, name, tolerance] => (direction, element, name, Some(tolerance)),
            _ => return Err("not DIRECTION TYPE NAME [~TOLERANCE]: values".to_owned()),
        };
        let element = Type::from_name(element).ok_or_else(|| format!("no type {element}"))?;
        let tolerance = match tolerance {
            None => Tolerance::Exact,
            Some(text) => Tolerance::parse(text).ok_or_else(|| format!("no tolerance {text}"))?,
        };
        let read = |text: &str| {
            let mut all = Vec::new();
            for word in text.split_whitespace() {
                let some = element.parse(word);
                all.extend(some.ok_or_else(|| format!("{word} is no value of the type"))?);
            }
            if all.is_empty() {
                return Err("no values".to_owned());
            }
            Ok(all)
        };
        let bytes = |values: &[Expected]| -> Vec<u8> {
            let bytes = values
                .iter()
                .map(|value| value.bits().to_le_bytes())
                .flat_map(|bytes| bytes.into_iter().take(element.bytes));
            bytes.collect()
        };
        let (initial, expected) = match *direction {
            "in" => (bytes(&read(values)?), Vec::new()),
            "out" => {
                let expected = read(values)?;
                (vec![Self::FILL; expected.len() * element.bytes], expected)
            }
            _ => {
                let (before, after) = values.split_once("=>").ok_or("not before => after")?;
                (bytes(&read(before)?), read(after)?)
            }
        };
        if !expected.is_empty() && initial.len() != expected.len() * element.bytes {
            return Err("as many values after as before".to_owned());
        }
        Ok(Self {
            name: (*name).to_owned(),
            element,
            expected,
            initial,
            tolerance,
        })
    }

    /// Elements.
    pub fn count(&self) -> usize {
        self.initial.len() / self.element.bytes
    }

    /// The element at `index` of this array's memory.
    pub(super) fn element_of(&self, memory: &[u8], index: usize) -> u128 {
        let mut bytes = [0; 16];
        let start = index * self.element.bytes;
        bytes[..self.element.bytes].copy_from_slice(&memory[start..start + self.element.bytes]);
        u128::from_le_bytes(bytes)
    }
}

/// The leading comments, each with the lines that go on with it.
fn header(ptx: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in ptx.lines().map_while(|line| line.strip_prefix("//")) {
        match lines.last_mut() {
            Some(last) if line.starts_with("   ") => last.push_str(line),
            _ => lines.push(line.trim().to_owned()),
        }
    }
    lines
}

fn target(ptx: &str) -> Option<u32> {
    let line = ptx.lines().find_map(|line| line.strip_prefix(".target"))?;
    let digits = line.trim().strip_prefix("sm_")?;
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_with_three_spaces_goes_on() {
        let lines = header("// SPDX\n// in s32 a: 1\n//    2 3\n\n// not this\n");
        assert_eq!(lines, ["SPDX", "in s32 a: 1    2 3"]);
    }

    #[test]
    fn launches_are_read() {
        let launch = Launch::parse(" 4 x 32 cluster 2 shared 1024").expect("right");
        let expected = Launch {
            grid: 4,
            block: 32,
            cluster: 2,
            shared_bytes: 1024,
        };
        assert_eq!(launch, expected);
        assert_eq!(Launch::parse("4 x 32 cluster"), None);
        assert_eq!(Launch::parse("4 32"), None);
    }

    #[test]
    fn wrong_arrays_are_refused() {
        let parse = |line: &str| {
            let (head, values) = line.split_once(':').expect("written so");
            Array::parse(&head.split_whitespace().collect::<Vec<_>>(), values)
        };
        assert_eq!(parse("in s32 a: 1 2").map(|a| a.count()), Ok(2));
        let inout = parse("inout u32 a: 1 2 => 3 4").map(|a| (a.initial, a.expected.len()));
        assert_eq!(inout, Ok((vec![1, 0, 0, 0, 2, 0, 0, 0], 2)));
        assert!(parse("inout u32 a: 1 2 => 3").is_err());
        assert!(parse("in s33 a: 1").is_err());
        assert!(parse("in s32 a:").is_err());
        assert!(parse("out f32 a ~2: 1").is_err());
        assert!(parse("out f32 a ~2ulp: 1").is_ok());
    }
}
