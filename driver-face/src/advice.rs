// SPDX-License-Identifier: Apache-2.0
//! Hints about managed memory: what `cuMemAdvise` and `cuMemPrefetchAsync` have told, and what
//! `cuMemRangeGetAttribute` tells of it (`cuda.h`: "Unified Addressing").
//!
//! Hints change no result. Here they are only kept, page by page, for the program that asks.

use core::ffi::c_void;
use core::ops::Range;
use std::collections::BTreeMap;

use gvirtus_abi::{
    CUdevice, CUdeviceptr, CUmem_advise, CUmem_range_attribute, CUmemLocation,
    CUmemLocation_v1_anonymous0, CUmemLocationType, CUresult,
};

const PAGE_BYTES: u64 = 4096;
/// `CU_DEVICE_CPU` and `CU_DEVICE_INVALID`.
const DEVICE_CPU: i32 = -1;
const DEVICE_INVALID: i32 = -2;
const INVALID: CUresult = CUresult::CUDA_ERROR_INVALID_VALUE;

/// Where memory can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Memory of the host; of a NUMA node where one is named.
    Host(Option<i32>),
    /// Memory of the device with this ordinal.
    Device(i32),
}

impl Place {
    /// From an ordinal, or `CU_DEVICE_CPU`.
    pub const fn of_device(device: CUdevice) -> Self {
        match device.0 {
            DEVICE_CPU => Self::Host(None),
            ordinal => Self::Device(ordinal),
        }
    }

    /// From a location.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for one that is no place.
    pub fn of_location(location: &CUmemLocation) -> Result<Self, CUresult> {
        use CUmemLocationType as T;
        // SAFETY: both variants are plain numbers, and an id is the larger.
        let id = unsafe { location.anonymous0.id };
        Ok(match location.r#type {
            T::CU_MEM_LOCATION_TYPE_DEVICE => Self::Device(id),
            T::CU_MEM_LOCATION_TYPE_HOST | T::CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT => {
                Self::Host(None)
            }
            T::CU_MEM_LOCATION_TYPE_HOST_NUMA => Self::Host(Some(id)),
            _ => return Err(INVALID),
        })
    }

    /// As a structure.
    pub const fn location(self) -> CUmemLocation {
        let (kind, id) = match self {
            Self::Device(ordinal) => (CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE, ordinal),
            Self::Host(None) => (CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST, 0),
            Self::Host(Some(node)) => (CUmemLocationType::CU_MEM_LOCATION_TYPE_HOST_NUMA, node),
        };
        CUmemLocation {
            r#type: kind,
            anonymous0: CUmemLocation_v1_anonymous0 { id },
        }
    }

    const fn device(self) -> i32 {
        match self {
            Self::Device(ordinal) => ordinal,
            Self::Host(_) => DEVICE_CPU,
        }
    }
}

/// What was told about some pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Advice {
    is_read_mostly: bool,
    preferred: Option<Place>,
    accessed_by: Vec<Place>,
    last_prefetch: Option<Place>,
}

/// What was told about all pages.
#[derive(Debug, Default)]
pub struct Advised {
    /// By first address: the end, and the advice. Pages that are not here have none.
    segments: BTreeMap<u64, (u64, Advice)>,
}

impl Advised {
    /// Nothing was told.
    pub const fn new() -> Self {
        Self {
            segments: BTreeMap::new(),
        }
    }

    /// `cuMemAdvise`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for advice that does not exist.
    pub fn advise(
        &mut self,
        range: Range<u64>,
        advice: CUmem_advise,
        place: Place,
    ) -> Result<(), CUresult> {
        use CUmem_advise as A;
        match advice {
            A::CU_MEM_ADVISE_SET_READ_MOSTLY => self.change(range, |a| a.is_read_mostly = true),
            A::CU_MEM_ADVISE_UNSET_READ_MOSTLY => self.change(range, |a| a.is_read_mostly = false),
            A::CU_MEM_ADVISE_SET_PREFERRED_LOCATION => {
                self.change(range, |a| a.preferred = Some(place));
            }
            A::CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION => self.change(range, |a| a.preferred = None),
            A::CU_MEM_ADVISE_SET_ACCESSED_BY => self.change(range, |a| {
                if let Err(index) = a.accessed_by.binary_search(&place) {
                    a.accessed_by.insert(index, place);
                }
            }),
            A::CU_MEM_ADVISE_UNSET_ACCESSED_BY => {
                self.change(range, |a| a.accessed_by.retain(|other| *other != place));
            }
            _ => return Err(INVALID),
        }
        Ok(())
    }

    /// `cuMemPrefetchAsync`.
    pub fn prefetch(&mut self, range: Range<u64>, place: Place) {
        self.change(range, |advice| advice.last_prefetch = Some(place));
    }

    /// The memory is freed.
    pub fn forget(&mut self, range: Range<u64>) {
        if !self.segments.is_empty() {
            self.split(pages(&range).start);
            self.split(pages(&range).end);
            let pages = pages(&range);
            self.segments.retain(|start, _| !pages.contains(start));
        }
    }

    /// `cuMemRangeGetAttribute`.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` for an attribute that does not exist, or that has another size.
    ///
    /// # Safety
    ///
    /// `data` is null or valid for writing `bytes` bytes.
    pub unsafe fn write(
        &self,
        data: *mut c_void,
        bytes: usize,
        attribute: CUmem_range_attribute,
        range: Range<u64>,
    ) -> Result<(), CUresult> {
        use CUmem_range_attribute as A;
        let count = bytes / 4;
        if data.is_null() || count == 0 || !bytes.is_multiple_of(4) {
            return Err(INVALID);
        }
        if attribute != A::CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY && count != 1 {
            return Err(INVALID);
        }
        let all = self.all(&range);
        let preferred = common(all.iter().map(|a| a.preferred));
        let prefetched = common(all.iter().map(|a| a.last_prefetch));
        let device = |place: Option<Place>| place.map_or(DEVICE_INVALID, Place::device);
        let kind = |place: Option<Place>| {
            let kind = place.map_or(CUmemLocationType::CU_MEM_LOCATION_TYPE_INVALID, |place| {
                place.location().r#type
            });
            kind.0.cast_signed()
        };
        let id = |place: Option<Place>| {
            place.map_or(0, |place| match place {
                Place::Device(id) | Place::Host(Some(id)) => id,
                Place::Host(None) => 0,
            })
        };
        let value = match attribute {
            A::CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY => {
                i32::from(all.iter().all(|advice| advice.is_read_mostly))
            }
            A::CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION => device(preferred),
            A::CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION => device(prefetched),
            A::CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE => kind(preferred),
            A::CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE => kind(prefetched),
            A::CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID => id(preferred),
            A::CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID => id(prefetched),
            A::CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY => {
                let first = all.first().map_or(&[][..], |advice| &advice.accessed_by);
                let mut by_all = first
                    .iter()
                    .filter(|place| all.iter().all(|advice| advice.accessed_by.contains(place)))
                    .map(|place| place.device());
                for index in 0..count {
                    let value = by_all.next().unwrap_or(DEVICE_INVALID);
                    // SAFETY: the caller promises room for `count` numbers.
                    unsafe { data.cast::<i32>().add(index).write_unaligned(value) };
                }
                return Ok(());
            }
            _ => return Err(INVALID),
        };
        // SAFETY: the caller promises room for one number.
        unsafe { data.cast::<i32>().write_unaligned(value) };
        Ok(())
    }

    /// What was told about all pages of a range, one for each segment and each gap.
    fn all(&self, range: &Range<u64>) -> Vec<Advice> {
        let pages = pages(range);
        let mut found = Vec::new();
        let mut covered = pages.start;
        for (&start, (end, advice)) in self.segments.range(..pages.end) {
            if *end <= pages.start {
                continue;
            }
            if start > covered {
                found.push(Advice::default());
            }
            found.push(advice.clone());
            covered = *end;
        }
        if covered < pages.end {
            found.push(Advice::default());
        }
        found
    }

    fn change(&mut self, range: Range<u64>, change: impl Fn(&mut Advice)) {
        let pages = pages(&range);
        self.split(pages.start);
        self.split(pages.end);
        let mut at = pages.start;
        while at < pages.end {
            let next = self.segments.range(at..pages.end).next();
            let next = next.map(|(start, (end, _))| (*start, *end));
            match next {
                Some((start, end)) if start == at => {
                    if let Some((_, advice)) = self.segments.get_mut(&start) {
                        change(advice);
                    }
                    at = end;
                }
                other => {
                    let end = other.map_or(pages.end, |(start, _)| start);
                    let mut advice = Advice::default();
                    change(&mut advice);
                    self.segments.insert(at, (end, advice));
                    at = end;
                }
            }
        }
    }

    /// Makes a segment begin at an address if one goes over it.
    fn split(&mut self, at: u64) {
        let Some((_, (end, advice))) = self.segments.range_mut(..at).next_back() else {
            return;
        };
        if *end > at {
            let rest = (*end, advice.clone());
            *end = at;
            self.segments.insert(at, rest);
        }
    }
}

fn pages(range: &Range<u64>) -> Range<u64> {
    let end = range.end.saturating_add(PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    range.start / PAGE_BYTES * PAGE_BYTES..end
}

/// What all have in common.
fn common(mut places: impl Iterator<Item = Option<Place>>) -> Option<Place> {
    let first = places.next()??;
    places.all(|place| place == Some(first)).then_some(first)
}

/// The ranges of a batch (`cuMemPrefetchBatchAsync` and its relatives); `managed` checks each.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`, and those of `managed`.
///
/// # Safety
///
/// Null, or arrays of `count` elements.
pub unsafe fn batch_ranges(
    addresses: *const CUdeviceptr,
    sizes: *const usize,
    count: usize,
    managed: impl Fn(CUdeviceptr, usize) -> Result<Range<u64>, CUresult>,
) -> Result<Vec<Range<u64>>, CUresult> {
    if addresses.is_null() || sizes.is_null() || count == 0 {
        return Err(INVALID);
    }
    let element = |index| {
        // SAFETY: not null, and then `count` elements by the caller's promise.
        unsafe {
            (
                addresses.add(index).read_unaligned(),
                sizes.add(index).read_unaligned(),
            )
        }
    };
    let ranges = (0..count).map(|index| {
        let (address, bytes) = element(index);
        managed(address, bytes)
    });
    ranges.collect()
}

/// Where each of `count` ranges of a batch is to go: location `n` is that of the ranges from
/// `starts[n]` on.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`.
///
/// # Safety
///
/// Null, or arrays of `number` elements.
pub unsafe fn batch_places(
    count: usize,
    locations: *const CUmemLocation,
    starts: *const usize,
    number: usize,
) -> Result<Vec<Place>, CUresult> {
    if locations.is_null() || starts.is_null() || !(1..=count).contains(&number) {
        return Err(INVALID);
    }
    let mut places = Vec::with_capacity(count);
    for index in 0..number {
        // SAFETY: not null, and then `number` elements by the caller's promise.
        let (location, start) = unsafe {
            (
                locations.add(index).read_unaligned(),
                starts.add(index).read_unaligned(),
            )
        };
        let end = match index + 1 < number {
            // SAFETY: as above.
            true => unsafe { starts.add(index + 1).read_unaligned() },
            false => count,
        };
        if start != places.len() || end <= start || end > count {
            return Err(INVALID);
        }
        places.resize(end, Place::of_location(&location)?);
    }
    Ok(places)
}

/// Whether an advice is about a place; the others ignore theirs.
pub fn has_place(advice: CUmem_advise) -> bool {
    use CUmem_advise as A;
    matches!(
        advice,
        A::CU_MEM_ADVISE_SET_PREFERRED_LOCATION
            | A::CU_MEM_ADVISE_SET_ACCESSED_BY
            | A::CU_MEM_ADVISE_UNSET_ACCESSED_BY
    )
}

/// The questions of `cuMemRangeGetAttributes`, one after another.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_VALUE`, and those of `ask`.
///
/// # Safety
///
/// Null, or arrays of `count` elements.
pub unsafe fn each_attribute(
    data: *const *mut c_void,
    sizes: *const usize,
    attributes: *const CUmem_range_attribute,
    count: usize,
    mut ask: impl FnMut(*mut c_void, usize, CUmem_range_attribute) -> Result<(), CUresult>,
) -> Result<(), CUresult> {
    if data.is_null() || sizes.is_null() || attributes.is_null() || count == 0 {
        return Err(INVALID);
    }
    for index in 0..count {
        // SAFETY: not null, and then `count` elements by the caller's promise.
        let (place, bytes, attribute) = unsafe {
            (
                data.add(index).read_unaligned(),
                sizes.add(index).read_unaligned(),
                attributes.add(index).read_unaligned(),
            )
        };
        ask(place, bytes, attribute)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn places_of_a_batch_are_runs() {
        let location = |ordinal| Place::Device(ordinal).location();
        let locations = [location(3), location(5)];
        let places = |starts: &[usize], count| {
            // SAFETY: two locations, and as many starts.
            unsafe { batch_places(count, locations.as_ptr(), starts.as_ptr(), starts.len()) }
        };
        let [three, five] = [Place::Device(3), Place::Device(5)];
        assert_eq!(places(&[0, 2], 3), Ok(vec![three, three, five]));
        for (starts, count) in [(&[1, 2][..], 3), (&[0, 0], 3), (&[0, 3], 3), (&[0, 1], 1)] {
            assert_eq!(places(starts, count), Err(INVALID), "{starts:?}");
        }
    }

    use super::*;

    fn get(advised: &Advised, attribute: CUmem_range_attribute, range: Range<u64>) -> [i32; 3] {
        let mut values = [77; 3];
        let is_list = attribute == CUmem_range_attribute::CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY;
        let bytes = if is_list { 12 } else { 4 };
        // SAFETY: the array has that many bytes.
        let status = unsafe { advised.write(values.as_mut_ptr().cast(), bytes, attribute, range) };
        assert_eq!(status, Ok(()));
        values
    }

    #[test]
    fn an_attribute_is_that_of_all_pages() {
        use CUmem_advise as Set;
        use CUmem_range_attribute as Get;
        const PAGE: u64 = PAGE_BYTES;
        let mut advised = Advised::default();
        let device = Place::Device(1);
        advised
            .advise(PAGE..3 * PAGE, Set::CU_MEM_ADVISE_SET_READ_MOSTLY, device)
            .expect("known");
        let read_mostly = Get::CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY;
        assert_eq!(get(&advised, read_mostly, PAGE..3 * PAGE)[0], 1);
        assert_eq!(get(&advised, read_mostly, PAGE + 5..PAGE + 6)[0], 1);
        assert_eq!(get(&advised, read_mostly, 0..PAGE + 1)[0], 0);
        assert_eq!(get(&advised, read_mostly, PAGE..4 * PAGE)[0], 0);
        let by = Set::CU_MEM_ADVISE_SET_ACCESSED_BY;
        advised.advise(0..PAGE, by, device).expect("known");
        advised
            .advise(0..2 * PAGE, by, Place::Host(None))
            .expect("known");
        let list = Get::CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY;
        assert_eq!(get(&advised, list, 0..PAGE), [-1, 1, -2]);
        assert_eq!(get(&advised, list, 0..2 * PAGE), [-1, -2, -2]);
        advised.prefetch(0..8 * PAGE, Place::Device(0));
        let last = Get::CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION;
        assert_eq!(get(&advised, last, 0..8 * PAGE)[0], 0);
        advised.prefetch(7 * PAGE..8 * PAGE, Place::Host(None));
        assert_eq!(get(&advised, last, 7 * PAGE..8 * PAGE)[0], -1);
        assert_eq!(get(&advised, last, 0..8 * PAGE)[0], -2);
        advised.forget(0..8 * PAGE);
        assert!(advised.segments.is_empty());
        assert_eq!(get(&advised, read_mostly, PAGE..3 * PAGE)[0], 0);
    }

    #[test]
    fn wrong_sizes_and_attributes_are_refused() {
        let advised = Advised::default();
        let mut value = 0_i32;
        let read_mostly = CUmem_range_attribute::CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY;
        for (bytes, attribute) in [
            (0, read_mostly),
            (8, read_mostly),
            (4, CUmem_range_attribute(99)),
        ] {
            // SAFETY: what is refused is not written.
            let status = unsafe { advised.write((&raw mut value).cast(), bytes, attribute, 0..1) };
            assert_eq!(status, Err(INVALID));
        }
    }
}
