//! Owns what is stranded on the hosts of a realm, as they are and with a VM.
//!
//! Must not: say what is stranded (`stranded`), or make room for each answer: this is asked for every host and class.

use std::cell::RefCell;

use reeve_common::ids::HostId;

use super::Fleet;
use super::scoring::Ground;
use crate::constraint::Amount;
use crate::cost::StrandedPart;
use crate::device_choice::{Entry, HostDevices};
use crate::stranded::{Room, Stranded};

/// What a VM would take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken<'a> {
    /// Millicores.
    pub(super) cores: u64,
    /// MiB.
    pub(super) memory: u64,
    /// Devices.
    pub(super) devices: &'a [Entry],
}

impl Ground<'_> {
    /// How much of `what` is stranded on the host in a slot once `taken` is. `devices` is room to work in.
    pub(super) fn stranded(
        &self,
        slot: usize,
        what: StrandedPart,
        taken: Taken<'_>,
        devices: &RefCell<HostDevices>,
    ) -> f64 {
        let Some(catalogue) = self.catalogue else { return 0.0 };
        let with = |Amount { total, used }: Amount, taken| Amount { total, used: used.saturating_add(taken) };
        let cores = with(self.columns.cores(slot), taken.cores);
        let memory = with(self.columns.memory(slot), taken.memory);
        let as_it_is = &self.columns.host_devices[slot];
        if taken.devices.is_empty() {
            return catalogue.stranded(what, &Room { cores, memory, devices: as_it_is });
        }
        let mut devices = devices.borrow_mut();
        devices.become_with(as_it_is, taken.devices);
        catalogue.stranded(what, &Room { cores, memory, devices: &devices })
    }
}

impl Fleet {
    /// What is stranded on a host as it is, by its realm's catalogue: nothing where there is none.
    #[must_use]
    pub fn stranded(&self, host: HostId) -> Option<Stranded> {
        let (realm, slot) = self.find(host)?;
        let ground = realm.ground(&self.book);
        let part = |part| ground.stranded(slot, part, Taken::default(), &RefCell::default());
        Some(Stranded {
            cores: part(StrandedPart::Cores),
            memory: part(StrandedPart::Memory),
            devices: part(StrandedPart::Devices),
        })
    }
}
