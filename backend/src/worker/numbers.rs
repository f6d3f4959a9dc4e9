// SPDX-License-Identifier: Apache-2.0
//! The client's numbers for the driver's handles.

use gvirtus_abi::CUresult;

/// What the client's numbers name. Numbers are small, so a plain array is the map.
#[derive(Debug)]
pub(super) struct Numbers<T> {
    slots: Vec<Option<T>>,
    limit: u32,
}

impl<T> Numbers<T> {
    /// No numbers yet, and only those below `limit` ever.
    pub(super) const fn new(limit: u32) -> Self {
        Self {
            slots: Vec::new(),
            limit,
        }
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// Whether `number` may name something: 0 means nothing.
    pub(super) const fn check(&self, number: u32) -> Result<(), CUresult> {
        match number {
            1.. if number < self.limit => Ok(()),
            _ => Err(CUresult::CUDA_ERROR_INVALID_HANDLE),
        }
    }

    /// `number` names `value` from now on.
    pub(super) fn insert(&mut self, number: u32, value: T) -> Result<(), CUresult> {
        self.check(number)?;
        let index = number as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(value);
        Ok(())
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        self.slots.get_mut(number as usize)?.take()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for slot in &mut self.slots {
            slot.take_if(|value| !keep(value));
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }

    /// Numbers and what they name.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_in_bounds_name_something() {
        let mut numbers = Numbers::new(10);
        assert_eq!(
            numbers.insert(0, 'a'),
            Err(CUresult::CUDA_ERROR_INVALID_HANDLE)
        );
        assert_eq!(
            numbers.insert(10, 'a'),
            Err(CUresult::CUDA_ERROR_INVALID_HANDLE)
        );
        numbers.insert(9, 'b').expect("in bounds");
        assert_eq!(numbers.get(9), Some(&'b'));
        assert_eq!(numbers.get(8), None);
        assert_eq!(numbers.get(u32::MAX), None);
        assert_eq!(numbers.remove(9), Some('b'));
        assert_eq!(numbers.remove(9), None);
    }

    #[test]
    fn what_is_not_kept_is_gone() {
        let mut numbers = Numbers::new(10);
        numbers.insert(1, 1).expect("in bounds");
        numbers.insert(2, 2).expect("in bounds");
        numbers.retain(|value| *value == 2);
        assert_eq!(numbers.pairs().collect::<Vec<_>>(), [(2, &2)]);
    }
}
