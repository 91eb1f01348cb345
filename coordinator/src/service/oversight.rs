//! Owns what an observer from outside may see of the coordinator's books in one look: which VMs it knows, and what is
//! held for whom. The simulation compares it with what really runs.
//!
//! Must not: change anything.

use reeve_common::ids::{Generation, HostId, VmId};

use super::Service;
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
            })
        });
        booked.chain(unknown).collect()
    }
}
