//! Owns the device classes of one realm: each has a number, given once and for all, and a place by its name.
//!
//! Must not: know which host has what.

use reeve_common::device::{DeviceAmount, DeviceSelector};
use reeve_common::ids::DeviceClass;

use crate::device_choice::Entry;

/// Device classes by number.
#[derive(Debug, Clone, Default)]
pub(super) struct DeviceTable {
    names: Vec<DeviceClass>,
    by_name: Vec<usize>,
}

impl DeviceTable {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The number of a class, a new one if it has none.
    pub(super) fn number(&mut self, class: &DeviceClass) -> usize {
        match self.by_name.binary_search_by(|number| self.names[*number].cmp(class)) {
            Ok(place) => self.by_name[place],
            Err(place) => {
                self.names.push(class.clone());
                self.by_name.insert(place, self.names.len() - 1);
                self.names.len() - 1
            }
        }
    }

    /// The number of a class, if it has one.
    pub(super) fn find(&self, class: &DeviceClass) -> Option<usize> {
        let place = self.by_name.binary_search_by(|number| self.names[*number].cmp(class)).ok()?;
        self.by_name.get(place).copied()
    }

    /// The name behind a number.
    pub(super) fn name(&self, number: usize) -> Option<&DeviceClass> {
        self.names.get(number)
    }

    /// What is asked for, by numbers.
    pub(super) fn entry(&self, selector: &DeviceSelector, amount: DeviceAmount) -> Entry {
        let alternatives = selector.alternatives();
        let is_for_any = alternatives.is_empty();
        let classes = if is_for_any {
            self.by_name.iter().copied().map(Some).collect()
        } else {
            alternatives.iter().map(|class| self.find(class)).collect()
        };
        Entry { classes, is_for_any, amount }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_names_are_tried_in_order() {
        let class = |name: &str| DeviceClass::new(name).unwrap();
        let mut table = DeviceTable::default();
        assert_eq!([table.number(&class("h100")), table.number(&class("a100"))], [0, 1]);
        assert_eq!((table.number(&class("h100")), table.find(&class("t4"))), (0, None));
        assert_eq!(table.name(1), Some(&class("a100")));
        let any = table.entry(&DeviceSelector::any(), DeviceAmount::Whole(1));
        assert_eq!((any.classes, any.is_for_any), (vec![Some(1), Some(0)], true));
        let either = table.entry(&"t4|h100".parse().unwrap(), DeviceAmount::Whole(1));
        assert_eq!((either.classes, either.is_for_any), (vec![Some(0), None], false));
    }
}
