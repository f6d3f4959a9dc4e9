// SPDX-License-Identifier: Apache-2.0
//! From C arguments to a request, and from a reply to the caller's memory, by the table.

use core::ffi::{CStr, c_char};
use std::ptr;

use gvirtus_nvml_abi::Status;
use gvirtus_nvml_abi::table::{Function, Kind, List, Repair, Room};
use gvirtus_protocol::limits::{
    MANAGEMENT_ARRAY_BYTES_MAX, MANAGEMENT_BYTES_MAX, MANAGEMENT_TEXT_BYTES_MAX,
};
use gvirtus_protocol::management::Input;

use crate::connection::Connection;
use crate::handle::{handle, token};

/// Where the output of a pointer argument goes.
struct Place {
    address: usize,
    /// Bytes that may be written there.
    room: usize,
    list: Option<CallersList>,
}

/// A list that a structure points to.
struct CallersList {
    address: usize,
    room: usize,
}

/// Calls a function on the backend.
///
/// # Safety
///
/// The words are the function's C arguments; what they point to is as its declaration says.
pub(crate) unsafe fn call(
    connection: &Connection,
    number: u16,
    function: &Function,
    words: &[usize],
) -> Result<(), Status> {
    let mut inputs = Vec::with_capacity(words.len());
    let mut places = Vec::with_capacity(words.len());
    for (index, kind) in function.arguments.iter().enumerate() {
        // SAFETY: the caller's promise.
        let (input, place) = unsafe { argument(kind, index, function, words)? };
        inputs.push(input);
        places.push(place);
    }
    let reply = connection.call(number, inputs)?;
    if !reply.outputs.is_empty() && reply.outputs.len() != places.len() {
        return Err(connection.fail());
    }
    let kinds = function.arguments.iter();
    for ((kind, place), mut output) in kinds.zip(&places).zip(reply.outputs) {
        if output.is_empty() {
            continue;
        }
        let Some(place) = place else {
            return Err(connection.fail());
        };
        // SAFETY: the place is the caller's, with its room.
        unsafe { write(kind, place, &mut output) }.map_err(|()| connection.fail())?;
    }
    match Status(reply.status) {
        Status::SUCCESS => Ok(()),
        status => Err(status),
    }
}

/// # Safety
///
/// That of [`call`].
unsafe fn argument(
    kind: &Kind,
    index: usize,
    function: &Function,
    words: &[usize],
) -> Result<(Input, Option<Place>), Status> {
    let word = words[index];
    match kind {
        Kind::Handle(kind) => return Ok((Input::Word(token(*kind, word as u64)?), None)),
        Kind::U32 | Kind::Pid => return Ok((Input::Word(word as u32 as u64), None)),
        Kind::U64 => return Ok((Input::Word(word as u64), None)),
        _ if word == 0 => return Ok((Input::Null, None)),
        _ => {}
    }
    let mut contents = Vec::new();
    let mut list = None;
    let elements = |room: &Room| match room {
        // SAFETY: the caller's promise.
        Room::Argument(other) => unsafe { count(&function.arguments[*other], words[*other]) },
        Room::Fixed(size) => *size,
    };
    let room = match kind {
        Kind::Text => {
            // SAFETY: a string that ends with a zero byte.
            let text = unsafe { CStr::from_ptr(word as *const c_char) };
            contents.extend(text.to_bytes());
            if contents.len() > MANAGEMENT_TEXT_BYTES_MAX {
                return Err(Status::INVALID_ARGUMENT);
            }
            0
        }
        Kind::Structure {
            sizes,
            input,
            output,
            versioned,
            repairs,
        } => {
            // SAFETY: a structure of the size that it says, or of the only size.
            let size = unsafe { structure_size(sizes, *versioned, word)? };
            if *input {
                // SAFETY: as above.
                contents = unsafe { bytes(word, size) };
                list = to_backend(&mut contents, repairs)?;
            }
            if *output { size } else { 0 }
        }
        Kind::Count => {
            // SAFETY: a number.
            contents = unsafe { bytes(word, 4) };
            4
        }
        Kind::Array {
            element,
            room,
            input,
            ..
        } => {
            let size = elements(room).saturating_mul(*element);
            if *input && size > MANAGEMENT_ARRAY_BYTES_MAX {
                return Err(Status::INVALID_ARGUMENT);
            }
            if *input {
                // SAFETY: as many elements as the caller says.
                contents = unsafe { bytes(word, size) };
            }
            size
        }
        Kind::Chars(room) => elements(room),
        // As NVML, which does not know either.
        Kind::Unbounded { .. } => MANAGEMENT_BYTES_MAX,
        Kind::Handle(_) | Kind::U32 | Kind::U64 | Kind::Pid => 0,
    };
    let place = Place {
        address: word,
        room,
        list,
    };
    Ok((Input::Memory(contents), Some(place)))
}

/// How many elements fit, by the argument that says so.
///
/// # Safety
///
/// A pointer to a count points to one.
unsafe fn count(kind: &Kind, word: usize) -> usize {
    match kind {
        Kind::Count if word == 0 => 0,
        // SAFETY: the caller's promise.
        Kind::Count => unsafe { ptr::read_unaligned(word as *const u32) as usize },
        _ => word as u32 as usize,
    }
}

/// # Safety
///
/// The address is that of a structure, which begins with its version if it has one.
unsafe fn structure_size(sizes: &[usize], versioned: bool, word: usize) -> Result<usize, Status> {
    if !versioned {
        return Ok(sizes[0]);
    }
    // SAFETY: the caller's promise.
    let version = unsafe { ptr::read_unaligned(word as *const u32) };
    let size = (version & 0xff_ffff) as usize;
    match sizes.contains(&size) {
        true => Ok(size),
        false => Err(Status::ARGUMENT_VERSION_MISMATCH),
    }
}

/// # Safety
///
/// There are as many bytes to read at the address.
unsafe fn bytes(address: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    // SAFETY: the caller's promise, and a vector of that size.
    unsafe { ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), size) };
    bytes
}

/// Puts tokens for handles, and for a pointer whether it is one; returns the list.
fn to_backend(bytes: &mut [u8], repairs: &[Repair]) -> Result<Option<CallersList>, Status> {
    let mut list = None;
    for repair in repairs {
        match repair {
            Repair::Handle(kind, at) => {
                let value = match word(bytes, *at) {
                    0 => 0,
                    handle => token(*kind, handle)?,
                };
                set_word(bytes, *at, value);
            }
            Repair::List(place) => {
                let address = word(bytes, place.pointer) as usize;
                set_word(bytes, place.pointer, u64::from(address != 0));
                let room = list_count(bytes, place).saturating_mul(place.element);
                list = Some(CallersList { address, room });
            }
            Repair::Pid(_) => {}
        }
    }
    Ok(list)
}

/// Writes what the function has written on the backend; an error if that cannot be.
///
/// # Safety
///
/// There is as much room at the place as it says.
unsafe fn write(kind: &Kind, place: &Place, output: &mut [u8]) -> Result<(), ()> {
    let (element, repairs) = match kind {
        Kind::Structure { repairs, .. } => {
            // SAFETY: the caller's promise.
            return unsafe { write_structure(repairs, place, output) };
        }
        Kind::Array {
            element, repairs, ..
        }
        | Kind::Unbounded {
            element, repairs, ..
        } => (*element, &repairs[..]),
        _ => (1, &[][..]),
    };
    if output.len() > place.room || !output.len().is_multiple_of(element) {
        return Err(());
    }
    for element in output.chunks_exact_mut(element) {
        to_caller(element, repairs);
    }
    // SAFETY: checked above against the caller's promise.
    unsafe { copy(output, place.address) };
    Ok(())
}

/// # Safety
///
/// That of [`write()`].
unsafe fn write_structure(repairs: &[Repair], place: &Place, output: &mut [u8]) -> Result<(), ()> {
    let (structure, elements) = output.split_at_mut_checked(place.room).ok_or(())?;
    to_caller(structure, repairs);
    let list = repairs.iter().find_map(|repair| match repair {
        Repair::List(list) => Some(list),
        _ => None,
    });
    match (list, &place.list) {
        (Some(list), Some(callers)) => {
            set_word(structure, list.pointer, callers.address as u64);
            let fits = callers.address != 0 && elements.len() <= callers.room;
            if !elements.is_empty() && !fits {
                return Err(());
            }
            // SAFETY: checked above against the caller's promise.
            unsafe { copy(elements, callers.address) };
        }
        _ if !elements.is_empty() => return Err(()),
        _ => {}
    }
    // SAFETY: the structure is as long as its room.
    unsafe { copy(structure, place.address) };
    Ok(())
}

/// # Safety
///
/// There is room for the bytes at the address, if there are any.
unsafe fn copy(bytes: &[u8], address: usize) {
    if !bytes.is_empty() {
        // SAFETY: the caller's promise.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    }
}

/// Puts handles for tokens.
fn to_caller(bytes: &mut [u8], repairs: &[Repair]) {
    for repair in repairs {
        if let Repair::Handle(kind, at) = repair {
            let value = handle(*kind, word(bytes, *at));
            set_word(bytes, *at, value);
        }
    }
}

fn list_count(bytes: &[u8], list: &List) -> usize {
    let count = bytes[list.count..]
        .first_chunk()
        .expect("offsets are within");
    u32::from_le_bytes(*count) as usize
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes[at..].first_chunk().expect("offsets are within");
    u64::from_le_bytes(*word)
}

fn set_word(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}
