// SPDX-License-Identifier: Apache-2.0
//! One call of an NVML function, from a request that may say anything.
//!
//! All memory that the function sees is allocated here, as large as the table says and a good deal
//! larger, zeroed, and aligned for every structure. What the client says about room is only ever
//! made smaller.

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::{Function, HandleKind, Kind, List, Repair, Room};
use gvirtus_protocol::limits::{MANAGEMENT_ARRAY_BYTES_MAX, MANAGEMENT_TEXT_BYTES_MAX};
use gvirtus_protocol::management::Input;
use parking_lot::Mutex;
use zerocopy::IntoBytes as _;

use super::handles::Handles;
use super::processes::View;
use crate::limits::{NVML_SLACK_BYTES, NVML_UNBOUNDED_ELEMENTS_MAX};

/// Why a function is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No client of ours makes such a request.
    Malformed,
    /// The program's mistake, or a limit.
    Status(Status),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// Who knows what handles and process ids mean.
pub(super) struct Meanings<'a> {
    pub(super) handles: &'a Mutex<Handles>,
    pub(super) processes: View<'a>,
}

/// A function with its arguments, ready to be called.
pub(super) struct Call {
    function: &'static Function,
    words: Vec<usize>,
    memory: Vec<Option<Memory>>,
}

/// What a pointer argument points to.
struct Memory {
    words: Vec<u64>,
    /// Bytes that the client gets at most.
    size: usize,
    list: Option<Box<Self>>,
}

impl Memory {
    fn new(size: usize, contents: &[u8]) -> Self {
        let mut memory = Self {
            words: vec![0; (size + NVML_SLACK_BYTES).div_ceil(8)],
            size,
            list: None,
        };
        memory.bytes_mut()[..contents.len()].copy_from_slice(contents);
        memory
    }

    fn bytes(&self) -> &[u8] {
        &self.words.as_bytes()[..self.size]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.words.as_mut_bytes()[..self.size]
    }

    fn address(&mut self) -> usize {
        self.words.as_mut_ptr().expose_provenance()
    }
}

impl Call {
    /// Makes the arguments.
    pub(super) fn new(
        function: &'static Function,
        inputs: &[Input],
        meanings: &Meanings<'_>,
    ) -> Result<Self, Refusal> {
        if inputs.len() != function.arguments.len() {
            return Err(Refusal::Malformed);
        }
        let rooms = rooms(function, inputs)?;
        let mut call = Self {
            function,
            words: Vec::with_capacity(inputs.len()),
            memory: Vec::with_capacity(inputs.len()),
        };
        for (index, (kind, input)) in function.arguments.iter().zip(inputs).enumerate() {
            let (word, memory) = match input {
                Input::Word(word) if !kind.is_pointer() => {
                    (by_value(kind, *word, rooms[index], meanings)?, None)
                }
                Input::Null if kind.is_pointer() => (0, None),
                Input::Memory(contents) if kind.is_pointer() => {
                    let room = match kind {
                        Kind::Array { room, .. } | Kind::Chars(room) => match room {
                            Room::Argument(other) => rooms[*other].unwrap_or(0),
                            Room::Fixed(bytes) => *bytes,
                        },
                        _ => rooms[index].unwrap_or(0),
                    };
                    let mut memory = pointee(kind, contents, room, meanings)?;
                    (memory.address(), Some(memory))
                }
                _ => return Err(Refusal::Malformed),
            };
            call.words.push(word);
            call.memory.push(memory);
        }
        Ok(call)
    }

    /// The arguments; they point into this call.
    pub(super) fn words(&self) -> &[usize] {
        &self.words
    }

    /// What the function has written, one for each argument.
    pub(super) fn outputs(
        mut self,
        status: Status,
        meanings: &Meanings<'_>,
    ) -> Result<Vec<Vec<u8>>, Status> {
        let counts: Vec<Option<usize>> = self.memory.iter().map(first_word).collect();
        let done = status == Status::SUCCESS;
        let mut outputs = Vec::with_capacity(self.memory.len());
        for (kind, memory) in self.function.arguments.iter().zip(&mut self.memory) {
            let output = match memory {
                Some(memory) => output(kind, memory, done, &counts, meanings)?,
                None => Vec::new(),
            };
            outputs.push(output);
        }
        Ok(outputs)
    }
}

/// How many elements or bytes fit, for each argument that says so: what the client claims, as far
/// as it is allowed.
fn rooms(function: &Function, inputs: &[Input]) -> Result<Vec<Option<usize>>, Refusal> {
    let claim = |index: usize| match (&function.arguments[index], &inputs[index]) {
        (Kind::Count, Input::Memory(bytes)) => {
            let bytes: [u8; 4] = bytes[..].try_into().map_err(|_| Refusal::Malformed)?;
            Ok(u32::from_le_bytes(bytes) as usize)
        }
        (Kind::U32, Input::Word(word)) => Ok(*word as u32 as usize),
        (Kind::Count, Input::Null) => Ok(0),
        _ => Err(Refusal::Malformed),
    };
    let mut rooms = vec![None; inputs.len()];
    for (index, kind) in function.arguments.iter().enumerate() {
        let (other, most) = match kind {
            Kind::Count => (index, usize::MAX),
            Kind::Array {
                room: Room::Argument(other),
                element,
                ..
            } => (*other, MANAGEMENT_ARRAY_BYTES_MAX / element),
            Kind::Chars(Room::Argument(other)) => (*other, MANAGEMENT_TEXT_BYTES_MAX),
            _ => continue,
        };
        let claimed = claim(other)?.min(most);
        let room = rooms[other].get_or_insert(claimed);
        *room = (*room).min(claimed);
    }
    Ok(rooms)
}

fn by_value(
    kind: &Kind,
    word: u64,
    room: Option<usize>,
    meanings: &Meanings<'_>,
) -> Result<usize, Refusal> {
    Ok(match kind {
        Kind::Handle(kind) => meanings.handles.lock().find(*kind, word)?,
        Kind::Pid => meanings.processes.on_this_machine(word as u32) as usize,
        Kind::U32 => room.unwrap_or(word as u32 as usize),
        _ => word as usize,
    })
}

fn pointee(
    kind: &Kind,
    contents: &[u8],
    room: usize,
    meanings: &Meanings<'_>,
) -> Result<Memory, Refusal> {
    let nothing = |memory| {
        let is_empty = contents.is_empty();
        is_empty.then_some(memory).ok_or(Refusal::Malformed)
    };
    match kind {
        Kind::Text => match contents {
            text if text.len() > MANAGEMENT_TEXT_BYTES_MAX || text.contains(&0) => {
                Err(Refusal::Malformed)
            }
            text => Ok(Memory::new(text.len() + 1, text)),
        },
        Kind::Count => {
            let room = u32::try_from(room).map_err(|_| Refusal::Malformed)?;
            Ok(Memory::new(4, &room.to_le_bytes()))
        }
        Kind::Structure {
            input: false,
            sizes,
            ..
        } => nothing(Memory::new(sizes[0], &[])),
        Kind::Structure {
            sizes,
            versioned,
            repairs,
            ..
        } => {
            let version = contents.first_chunk().map(|word| u32::from_le_bytes(*word));
            let says = version.map(|version| (version & 0xff_ffff) as usize);
            if !sizes.contains(&contents.len()) || (*versioned && says != Some(contents.len())) {
                return Err(Refusal::Malformed);
            }
            let mut memory = Memory::new(contents.len(), contents);
            memory.list = to_function(memory.bytes_mut(), repairs, meanings)?;
            Ok(memory)
        }
        Kind::Array {
            element,
            input: true,
            ..
        } => {
            // The room may have been made smaller than what the client has.
            let size = room * element;
            match contents.get(..size) {
                Some(contents) => Ok(Memory::new(size, contents)),
                None => Err(Refusal::Malformed),
            }
        }
        Kind::Array { element, .. } => nothing(Memory::new(room * element, &[])),
        Kind::Unbounded { element, .. } => {
            nothing(Memory::new(NVML_UNBOUNDED_ELEMENTS_MAX * element, &[]))
        }
        Kind::Chars(_) => nothing(Memory::new(room, &[])),
        Kind::Handle(_) | Kind::U32 | Kind::U64 | Kind::Pid => Err(Refusal::Malformed),
    }
}

/// Puts handles for tokens and pointers for what the client has lists for; returns the list.
fn to_function(
    bytes: &mut [u8],
    repairs: &[Repair],
    meanings: &Meanings<'_>,
) -> Result<Option<Box<Memory>>, Refusal> {
    let mut list = None;
    for repair in repairs {
        match repair {
            Repair::Handle(kind, at) => {
                let handle = match word(bytes, *at) {
                    0 => 0,
                    token => meanings.handles.lock().find(*kind, token)?,
                };
                set_word(bytes, *at, handle as u64);
            }
            Repair::Pid(at) => {
                let pid = meanings.processes.on_this_machine(half(bytes, *at));
                set_half(bytes, *at, pid);
            }
            Repair::List(place) => {
                if word(bytes, place.pointer) == 0 {
                    continue;
                }
                let most = MANAGEMENT_ARRAY_BYTES_MAX / place.element;
                let count = (half(bytes, place.count) as usize).min(most);
                set_half(bytes, place.count, count as u32);
                let mut memory = Box::new(Memory::new(count * place.element, &[]));
                set_word(bytes, place.pointer, memory.address() as u64);
                list = Some(memory);
            }
        }
    }
    Ok(list)
}

fn output(
    kind: &Kind,
    memory: &mut Memory,
    done: bool,
    counts: &[Option<usize>],
    meanings: &Meanings<'_>,
) -> Result<Vec<u8>, Status> {
    let (element, elements, repairs) = match kind {
        Kind::Count => return Ok(memory.bytes().to_vec()),
        Kind::Structure {
            output: true,
            input,
            repairs,
            ..
        } if done || *input => {
            return structure(memory, repairs, done, meanings);
        }
        Kind::Chars(_) if done => {
            let text = memory.bytes();
            let end = text.iter().position(|byte| *byte == 0);
            return Ok(text[..end.map_or(text.len(), |end| end + 1)].to_vec());
        }
        Kind::Array {
            element,
            room,
            repairs,
            ..
        } if done => {
            let count = match room {
                // Only a pointer to a count says how many there are.
                Room::Argument(count) => counts[*count],
                Room::Fixed(_) => None,
            };
            (*element, count.unwrap_or(usize::MAX), repairs)
        }
        Kind::Unbounded {
            element,
            count,
            repairs,
        } if done => (*element, counts[*count].unwrap_or(0), repairs),
        _ => return Ok(Vec::new()),
    };
    let size = elements.saturating_mul(element).min(memory.size);
    let mut bytes = memory.bytes()[..size].to_vec();
    for element in bytes.chunks_exact_mut(element) {
        to_client(element, repairs, meanings)?;
    }
    Ok(bytes)
}

/// A structure, and after it the elements of its list.
fn structure(
    memory: &mut Memory,
    repairs: &[Repair],
    done: bool,
    meanings: &Meanings<'_>,
) -> Result<Vec<u8>, Status> {
    let mut bytes = memory.bytes().to_vec();
    let mut elements = Vec::new();
    let list = repairs.iter().find_map(|repair| match repair {
        Repair::List(list) => Some(list),
        _ => None,
    });
    if let (Some(place), Some(list), true) = (list, &memory.list, done) {
        elements = list_elements(&bytes, place, list.bytes(), meanings)?;
    }
    to_client(&mut bytes, repairs, meanings)?;
    bytes.extend(elements);
    Ok(bytes)
}

fn list_elements(
    structure: &[u8],
    place: &List,
    list: &[u8],
    meanings: &Meanings<'_>,
) -> Result<Vec<u8>, Status> {
    let count = half(structure, place.count) as usize;
    let size = count.saturating_mul(place.element).min(list.len());
    let mut elements = list[..size].to_vec();
    for element in elements.chunks_exact_mut(place.element) {
        to_client(element, &place.repairs, meanings)?;
    }
    Ok(elements)
}

/// Puts tokens for handles, the client's process ids, and nothing for pointers.
fn to_client(bytes: &mut [u8], repairs: &[Repair], meanings: &Meanings<'_>) -> Result<(), Status> {
    for repair in repairs {
        match repair {
            Repair::Handle(kind, at) => {
                let handle = word(bytes, *at) as usize;
                let token = meanings.handles.lock().token(*kind, handle)?;
                set_word(bytes, *at, token.into());
            }
            Repair::Pid(at) => {
                let pid = meanings.processes.of_client(half(bytes, *at));
                set_half(bytes, *at, pid);
            }
            Repair::List(list) => set_word(bytes, list.pointer, 0),
        }
    }
    Ok(())
}

/// The argument that a function takes for a handle of this kind, if it takes one.
pub(super) fn token_of(function: &Function, inputs: &[Input], kind: HandleKind) -> Option<u64> {
    let index = function
        .arguments
        .iter()
        .position(|other| *other == Kind::Handle(kind))?;
    match inputs.get(index) {
        Some(Input::Word(token)) => Some(*token),
        _ => None,
    }
}

fn first_word(memory: &Option<Memory>) -> Option<usize> {
    let bytes = memory.as_ref()?.bytes().first_chunk()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes[at..].first_chunk().expect("offsets are within");
    u32::from_le_bytes(*bytes)
}

fn set_half(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..].first_chunk().expect("offsets are within");
    u64::from_le_bytes(*bytes)
}

fn set_word(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
