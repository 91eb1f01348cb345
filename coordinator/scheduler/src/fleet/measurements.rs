//! Owns the order in time of what was measured, so that what is too old is found without looking at every host.

use std::collections::BTreeSet;

use reeve_common::clock::Timestamp;
use reeve_common::ids::HostId;

use super::Fleet;
use crate::host::Measured;

/// When each host was measured, the oldest first; hosts without a measurement are not here.
#[derive(Debug, Clone, Default)]
pub(super) struct Measurements {
    by_time: BTreeSet<(Timestamp, HostId)>,
}

impl Measurements {
    /// The host's measurement of `old` is replaced by one of `new`.
    pub(super) fn replace(&mut self, host: HostId, old: Option<Timestamp>, new: Option<Timestamp>) {
        if let Some(old) = old {
            self.by_time.remove(&(old, host));
        }
        self.by_time.extend(new.map(|new| (new, host)));
    }

    /// The host with the oldest measurement, if that is from before `moment`.
    pub(super) fn oldest_before(&self, moment: Timestamp) -> Option<HostId> {
        let (at, host) = self.by_time.first()?;
        (*at < moment).then_some(*host)
    }
}

impl Fleet {
    /// Replaces what was measured on a host; none when the last measurement is too old to be believed.
    pub fn set_measured(&mut self, host: HostId, measured: Option<Measured>) {
        if let Some(place) = self.places.get(host) {
            let realm = &mut self.realms[place.realm];
            let at = |measured: Measured| measured.at;
            self.measurements.replace(host, realm.measured(place.slot).map(at), measured.map(at));
            realm.set_measured(place.slot, measured, &self.book);
        }
    }

    /// Forgets what was measured before `moment`, and says on how many hosts. Only those are looked at.
    pub fn forget_measured_before(&mut self, moment: Timestamp) -> usize {
        let mut count = 0;
        while let Some(host) = self.measurements.oldest_before(moment) {
            self.set_measured(host, None);
            count += 1;
        }
        count
    }
}
