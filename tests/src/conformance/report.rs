// SPDX-License-Identifier: Apache-2.0
//! One case on a driver, and the counts of all.

use std::collections::BTreeMap;
use std::fmt;

use super::case::{Array, Case, Ending};
use super::driver::{Driver, DriverError};

/// Mismatches of one array that are shown.
const SHOWN: usize = 8;

/// How a case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// The device is older than the instruction.
    Skipped,
    /// What was wrong.
    Failed(String),
}

/// Counts of a group or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    skipped: usize,
    failed: usize,
}

/// How many cases of each group passed.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    groups: BTreeMap<String, Counts>,
}

impl Tally {
    /// Adds a case.
    pub fn add(&mut self, group: &str, outcome: &Outcome) {
        let counts = self.groups.entry(group.to_owned()).or_default();
        match outcome {
            Outcome::Passed => counts.passed += 1,
            Outcome::Skipped => counts.skipped += 1,
            Outcome::Failed(_) => counts.failed += 1,
        }
    }

    /// Whether there is a case and none failed.
    pub fn is_success(&self) -> bool {
        !self.groups.is_empty() && self.groups.values().all(|counts| counts.failed == 0)
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.groups.values() {
            total.passed += counts.passed;
            total.skipped += counts.skipped;
            total.failed += counts.failed;
        }
        total
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            skipped,
            failed,
        } = self;
        write!(f, "{passed:>4} passed {failed:>4} failed")?;
        if *skipped > 0 {
            write!(f, " {skipped:>4} skipped")?;
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, counts) in &self.groups {
            writeln!(f, "{group:<16} {counts}")?;
        }
        write!(f, "{:<16} {}", "all", self.total())
    }
}

/// Runs a case.
pub fn run_case(driver: &Driver, case: &Case) -> Outcome {
    match (attempt(driver, case), &case.ending) {
        (Ok(None), Ending::Values) => Outcome::Passed,
        (Ok(Some(mismatch)), _) => Outcome::Failed(mismatch),
        (Ok(None), Ending::Fails(error)) => Outcome::Failed(format!("it ends without {error}")),
        (Ok(None), Ending::Invalid(error)) => Outcome::Failed(format!("it loads without {error}")),
        (Err(error), ending) => judge(driver, case, &error, ending),
    }
}

fn judge(driver: &Driver, case: &Case, error: &DriverError, ending: &Ending) -> Outcome {
    let DriverError::Call {
        call, error: name, ..
    } = error
    else {
        return Outcome::Failed(error.to_string());
    };
    let is_load = *call == "cuModuleLoadDataEx";
    match ending {
        Ending::Invalid(expected) if is_load && name == expected => check_log(driver, case, error),
        _ if is_load && case.target > driver.capability && !is_softgpu(driver) => Outcome::Skipped,
        Ending::Fails(expected) if !is_load && (name == expected || expected == "any") => {
            Outcome::Passed
        }
        _ => Outcome::Failed(error.to_string()),
    }
}

/// Our own device knows every instruction, whatever its compute capability.
fn is_softgpu(driver: &Driver) -> bool {
    driver.device.contains("softgpu")
}

/// Only our own words are known.
fn check_log(driver: &Driver, case: &Case, error: &DriverError) -> Outcome {
    let DriverError::Call { log, .. } = error else {
        return Outcome::Passed;
    };
    match case.log.iter().find(|text| !log.contains(*text)) {
        Some(missing) if is_softgpu(driver) => {
            Outcome::Failed(format!("the log does not hold `{missing}`: {log}"))
        }
        _ => Outcome::Passed,
    }
}

/// Loads, runs and compares; the mismatches, if there are any.
fn attempt(driver: &Driver, case: &Case) -> Result<Option<String>, DriverError> {
    let module = driver.load(&case.ptx)?;
    if let Ending::Invalid(_) = case.ending {
        driver.unload(module)?;
        return Ok(None);
    }
    let uploads = case.arrays.iter().map(|a| driver.upload(&a.initial));
    let mut addresses = uploads.collect::<Result<Vec<_>, _>>()?;
    let made = case.images.iter().map(|image| driver.make(&module, image));
    let made = made.collect::<Result<Vec<_>, _>>()?;
    let arrays = addresses.len();
    addresses.extend(made.iter().filter_map(|made| made.handle));
    driver.run(&module, case.launch, &mut addresses)?;
    addresses.truncate(arrays);
    let mut memories = Vec::new();
    for (array, address) in case.arrays.iter().zip(addresses) {
        memories.push(driver.download(address, array.initial.len())?);
    }
    let mut wrong = Vec::new();
    for (image, made) in case.images.iter().zip(&made) {
        let texels = driver.read_back(image, made)?;
        wrong.extend(mismatches(case, &image.texels, &texels, &[]));
    }
    driver.unload(module)?;
    let of_arrays = case
        .arrays
        .iter()
        .zip(&memories)
        .flat_map(|(array, memory)| mismatches(case, array, memory, &memories));
    wrong.extend(of_arrays);
    Ok((!wrong.is_empty()).then(|| wrong.join("\n")))
}

fn mismatches(case: &Case, array: &Array, memory: &[u8], memories: &[Vec<u8>]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut count = 0;
    for (index, expected) in array.expected.iter().enumerate() {
        let got = array.element_of(memory, index);
        if array.element.same(got, *expected, array.tolerance) {
            continue;
        }
        count += 1;
        if count <= SHOWN {
            lines.push(format!(
                "  {}[{index}]: expected {}, got {}{}",
                array.name,
                array.element.show(expected.bits()),
                array.element.show(got),
                inputs(case, index, memories)
            ));
        }
    }
    if count > SHOWN {
        lines.push(format!("  {}: {count} differ", array.name));
    }
    lines
}

/// The inputs at the same index.
fn inputs(case: &Case, index: usize, memories: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for (array, memory) in case.arrays.iter().zip(memories) {
        if array.expected.is_empty() && index < array.count() {
            let value = array.element.show(array.element_of(memory, index));
            text.push_str(&format!(", {} = {value}", array.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_tally_is_no_success() {
        let mut tally = Tally::default();
        assert!(!tally.is_success());
        tally.add("a", &Outcome::Passed);
        tally.add("b", &Outcome::Skipped);
        assert!(tally.is_success());
        tally.add("b", &Outcome::Failed(String::new()));
        assert!(!tally.is_success());
        let text = tally.to_string();
        assert!(text.ends_with("all                 1 passed    1 failed    1 skipped"));
    }
}
