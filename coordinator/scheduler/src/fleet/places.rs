//! Owns in which realm and slot each host is kept.
//!
//! Hosts are numbered as they are added, so that most numbers are given; a list by number is a fraction of the size of a map
//! and is read in one go. Numbers far beyond are kept in a map, so that a few large ones take no memory.

use reeve_common::ids::HostId;

use super::id_hash::IdMap;

/// The list is at most so many times as long as there are hosts in it.
const SPARSENESS_MAX: usize = 4;
/// Numbers below this are always in the list.
const LIST_MIN: usize = 1024;

/// Where a host is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the realm.
    pub(super) realm: usize,
    /// In the realm.
    pub(super) slot: usize,
}

/// The same in less memory.
#[derive(Debug, Clone, Copy)]
struct Packed {
    realm: u32,
    slot: u32,
}

impl Packed {
    const NONE: Self = Self { realm: u32::MAX, slot: u32::MAX };

    fn of(place: Place) -> Self {
        // There are fewer realms and slots than that, since each takes more than a byte.
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { realm: number(place.realm), slot: number(place.slot) }
    }

    #[inline]
    fn place(self) -> Option<Place> {
        let Self { realm, slot } = self;
        (realm != u32::MAX).then_some(Place { realm: realm as usize, slot: slot as usize })
    }
}

/// Where the hosts are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    list: Vec<Packed>,
    /// How many hosts are in the list.
    listed: usize,
    far: IdMap<HostId, Packed>,
}

impl Places {
    /// Where a host is.
    #[inline]
    pub(super) fn get(&self, host: HostId) -> Option<Place> {
        match self.list.get(host.0 as usize) {
            Some(packed) => packed.place(),
            None => self.far.get(&host).and_then(|packed| packed.place()),
        }
    }

    /// Notes where a host is now.
    pub(super) fn insert(&mut self, host: HostId, place: Place) {
        let number = host.0 as usize;
        if number >= self.list.len() {
            if number >= LIST_MIN.max(SPARSENESS_MAX * (self.listed + 1)) {
                self.far.insert(host, Packed::of(place));
                return;
            }
            self.lengthen(number + 1);
        }
        if let Some(packed) = self.list.get_mut(number) {
            self.listed += usize::from(packed.place().is_none());
            *packed = Packed::of(place);
        }
    }

    /// Has the list take in so many numbers, and whoever of them was far.
    fn lengthen(&mut self, length: usize) {
        self.list.resize(length, Packed::NONE);
        let Self { list, listed, far } = self;
        far.retain(|host, packed| match list.get_mut(host.0 as usize) {
            Some(place) => {
                *place = *packed;
                *listed += 1;
                false
            }
            None => true,
        });
    }

    /// Forgets a host, and says where it was.
    pub(super) fn remove(&mut self, host: HostId) -> Option<Place> {
        let Some(packed) = self.list.get_mut(host.0 as usize) else {
            return self.far.remove(&host).and_then(Packed::place);
        };
        let place = std::mem::replace(packed, Packed::NONE).place();
        self.listed -= usize::from(place.is_some());
        place
    }

    /// The hosts, in no order.
    pub(super) fn hosts(&self) -> impl Iterator<Item = HostId> {
        let listed = (0_u32..).zip(&self.list).filter(|(_, packed)| packed.place().is_some());
        listed.map(|(number, _)| HostId(number)).chain(self.far.keys().copied())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whoever_was_put_somewhere_is_found_there(
            events in proptest::collection::vec((0_u32..40, 0_usize..4, any::<bool>()), 1..200),
            scale in prop_oneof![Just(1_u32), Just(100), Just(107_374_182)],
        ) {
            let (mut places, mut naive) = (Places::default(), BTreeMap::new());
            for (slot, (number, realm, is_put)) in events.into_iter().enumerate() {
                let host = HostId(number * scale);
                let place = Place { realm, slot };
                if is_put {
                    places.insert(host, place);
                    naive.insert(host, place);
                } else {
                    prop_assert_eq!(places.remove(host), naive.remove(&host));
                }
                let mut all: Vec<HostId> = places.hosts().collect();
                all.sort_unstable();
                prop_assert!(all.iter().eq(naive.keys()));
                prop_assert!(naive.iter().all(|(host, place)| places.get(*host) == Some(*place)));
            }
        }
    }

    #[test]
    fn few_hosts_with_large_numbers_take_little_memory() {
        let mut places = Places::default();
        for number in [u32::MAX, 1_000_000, 5000] {
            places.insert(HostId(number), Place { realm: 1, slot: 2 });
        }
        assert!(places.list.len() <= LIST_MIN && places.far.len() == 3);
        for number in 0..2000 {
            places.insert(HostId(number), Place { realm: 0, slot: 0 });
        }
        places.insert(HostId(5001), Place { realm: 0, slot: 7 });
        assert!(places.list.len() == 5002 && places.far.len() == 2, "the list takes in who was far");
        assert_eq!(places.get(HostId(5000)), Some(Place { realm: 1, slot: 2 }));
    }
}
