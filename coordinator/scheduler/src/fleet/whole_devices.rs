//! Owns the short answer to whether a host has the devices that a request asks for: most requests are for whole devices and
//! most hosts have one class of them, so that a few bytes tell.
//!
//! Must not: answer otherwise than the rule does (`device_choice.rs`).

use reeve_common::device::DeviceAmount;

use crate::device_choice::{Entry, HostDevices};

/// How many devices of a host's only class are wholly free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WholeDevices {
    /// The number of the class; [`NO_CLASS`] or [`SEVERAL`].
    class: u32,
    whole: u32,
}

/// The host has no devices, and none are promised.
const NO_CLASS: u32 = u32::MAX;
/// It must be asked itself.
const SEVERAL: u32 = u32::MAX - 1;

impl Default for WholeDevices {
    fn default() -> Self {
        Self { class: NO_CLASS, whole: 0 }
    }
}

impl WholeDevices {
    /// Of a host with `devices`.
    pub(super) fn of(devices: &HostDevices) -> Self {
        let [class] = devices.classes() else {
            let class = if devices.classes().is_empty() { NO_CLASS } else { SEVERAL };
            return Self { class, whole: 0 };
        };
        let number = u32::try_from(class.number).unwrap_or(SEVERAL);
        u32::try_from(class.whole())
            .map_or(Self { class: SEVERAL, whole: 0 }, |whole| Self { class: number.min(SEVERAL), whole })
    }

    /// Whether the devices can serve all of `entries`, if that can be told.
    #[inline]
    pub(super) fn can_serve(self, entries: &[Entry]) -> Option<bool> {
        let Self { class, whole } = self;
        match (entries, class) {
            ([], _) => Some(true),
            (_, NO_CLASS) => Some(false),
            (_, SEVERAL) => None,
            ([Entry { classes, amount: DeviceAmount::Whole(count), .. }], class) if *count > 0 => {
                let would_do = classes.contains(&Some(class as usize));
                Some(would_do && u64::from(whole) >= u64::from(*count))
            }
            _ => None,
        }
    }

    /// A number that means nothing: see `Columns::touch`.
    #[inline]
    pub(super) fn touch(self) -> f64 {
        f64::from(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reeve_common::device::{Share, WHOLE_PERMILLE};

    use super::*;

    #[test]
    fn as_many_as_are_free_are_served_and_no_more() {
        let mut devices = HostDevices::new([(1, 3, false)].into_iter());
        assert!(devices.take_again(1, &[0], WHOLE_PERMILLE));
        let asked = |class: usize, count: u32| Entry {
            classes: vec![Some(class)],
            is_for_any: false,
            amount: DeviceAmount::Whole(count),
        };
        let told = |class, count| WholeDevices::of(&devices).can_serve(&[asked(class, count)]);
        assert_eq!(
            [told(1, 1), told(1, 2), told(1, 3), told(0, 1)],
            [Some(true), Some(true), Some(false), Some(false)]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn the_short_answer_is_that_of_the_rule(
            classes in proptest::collection::vec((0_u32..4, any::<bool>()), 1..3),
            taken in proptest::collection::vec((0_usize..2, 1_u64..3000, 0_usize..4, 1_u16..=1000), 0..4),
            wanted in proptest::collection::vec((proptest::collection::vec(0_usize..3, 1..3), 0_u32..5), 1..3),
        ) {
            let numbered = classes.iter().enumerate().map(|(number, (count, is_divisible))| (number, *count, *is_divisible));
            let mut devices = HostDevices::new(numbered);
            for (class, permille, instance, each) in taken {
                // Instances that are taken, some that are not there, and promises without an instance.
                devices.take_again(class, &[instance], each);
                devices.give_back(Some(class), permille, &[], WHOLE_PERMILLE);
            }
            let entries: Vec<Entry> = wanted
                .into_iter()
                .map(|(classes, count)| Entry {
                    classes: classes.into_iter().map(Some).collect(),
                    is_for_any: false,
                    amount: match count {
                        0 => DeviceAmount::Share(Share::new(400).unwrap()),
                        count => DeviceAmount::Whole(count),
                    },
                })
                .collect();
            let told = WholeDevices::of(&devices).can_serve(&entries);
            prop_assert!(told.is_none_or(|told| told == devices.can_serve(&entries)), "{devices:?} {entries:?}");
            let is_simple = devices.classes().len() <= 1
                && entries.iter().all(|entry| matches!(entry.amount, DeviceAmount::Whole(_)));
            prop_assert!(told.is_some() || !is_simple || entries.len() > 1, "{devices:?} {entries:?}");
        }
    }
}
