//! Owns what an observer from outside may see of the coordinator's books in one look: which VMs it knows, and what is
//! held for whom. The simulation compares it with what really runs.
//!
//! Must not: change anything.

use reeve_common::ids::{Generation, HostId, VmId};
use reeve_scheduler::Contact;

use super::Service;
use super::core::HostEntry;
use crate::model::host::may_be_told;
use crate::model::host_life::{Ownership, ownership};
use crate::model::vm::Wish;
use crate::model::vm_state::VmState;

/// A VM in the coordinator's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booking {
    /// Which.
    pub vm: VmId,
    /// Where it is in its life; none when capacity is held for a VM that is not known.
    pub state: Option<VmState>,
    /// The version of its wish.
    pub generation: Generation,
    /// The host that its record names.
    pub host: Option<HostId>,
    /// The host on which capacity is held for it.
    pub held_on: Option<HostId>,
    /// Whether its record is in the store.
    pub durable: bool,
    /// Whether it is to run, and not to stop.
    pub is_to_run: bool,
    /// The hosts that it has left and that have not confirmed that nothing of it is left there.
    pub left: Vec<HostId>,
}

/// Whether what was on a host may be started elsewhere, as the coordinator's books have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostBooking {
    /// Which.
    pub host: HostId,
    /// It is taken for proved that nothing of its runs.
    pub is_released: bool,
    /// Nothing new is placed on it since it is being emptied, or was.
    pub is_draining: bool,
    /// It has not been heard for a moment or longer.
    pub is_silent: bool,
    /// It is missed when it is silent: it has joined, and is not left alone by an administrator's wish.
    pub counts: bool,
}

impl Service {
    /// Every VM whose life is not over, and all that is held.
    #[must_use]
    pub fn bookings(&self) -> Vec<Booking> {
        let core = self.core();
        let booked = core.vms().iter().map(|(id, entry)| {
            let vm = &entry.current.borrow().vm;
            Booking {
                vm: *id,
                state: Some(vm.state),
                generation: vm.generation,
                host: vm.host,
                held_on: core.fleet.host_of(*id),
                durable: entry.durable,
                is_to_run: vm.wish == Wish::Run,
                left: vm.displaced_from.iter().map(|displaced| displaced.host).collect(),
            }
        });
        let unknown = core.fleet.hosts().flat_map(|host| {
            let strangers = core.fleet.vms_on(host.id).filter(|vm| !core.vms().contains_key(vm));
            strangers.map(|vm| Booking {
                vm,
                state: None,
                generation: Generation::default(),
                host: None,
                held_on: Some(host.id),
                durable: false,
                is_to_run: false,
                left: Vec::new(),
            })
        });
        booked.chain(unknown).collect()
    }

    /// Every host.
    #[must_use]
    pub fn host_bookings(&self) -> Vec<HostBooking> {
        let now = self.steady_now();
        let core = self.core();
        let booking = |(id, entry): (&HostId, &HostEntry)| HostBooking {
            host: *id,
            is_released: matches!(ownership(&entry.life, now), Ownership::Released(_)),
            is_draining: entry.kept.value.draining,
            is_silent: entry.contact != Contact::Connected,
            counts: entry.kept.value.joined_at.is_some() && may_be_told(entry.kept.value.state),
        };
        core.hosts.iter().map(booking).collect()
    }
}
