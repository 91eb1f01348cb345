//! Owns placing on trial: VMs are reserved as in earnest, by the same rule, and everything is given back at the end,
//! however it ends.

use std::collections::HashSet;

use reeve_common::ids::{HostId, VmId};
use uuid::Uuid;

use super::Fleet;
use crate::request::Request;

/// A fleet with VMs on it that leave when this is dropped.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    fleet: &'a mut Fleet,
    placed: HashSet<VmId>,
    /// The number of the next VM that is made up.
    next: u128,
}

impl<'a> Trial<'a> {
    pub(super) fn on(fleet: &'a mut Fleet) -> Self {
        Self { fleet, placed: HashSet::new(), next: u128::MAX }
    }

    /// The fleet with the VMs that are on trial.
    pub(super) fn fleet(&mut self) -> &mut Fleet {
        self.fleet
    }

    /// An id that no VM of the fleet has. UUIDs with all their bits set are of no version, so no rule about a single VM
    /// means such a one either.
    pub(super) fn make_up_vm(&mut self) -> VmId {
        loop {
            let vm = VmId(Uuid::from_u128(self.next));
            self.next -= 1;
            if !self.fleet.vms.contains_key(&vm) {
                return vm;
            }
        }
    }

    /// Places a VM where it would be placed; none when no host can take it, or when it has its place already.
    pub(super) fn place(&mut self, vm: VmId, request: &Request) -> Option<(HostId, f64)> {
        let host = self.fleet.decide(request)?;
        self.put(vm, host, request).map(|rise| (host, rise))
    }

    /// Puts a VM on a host if it fits, and says by how much that makes the host's cost rise.
    pub(super) fn put(&mut self, vm: VmId, host: HostId, request: &Request) -> Option<f64> {
        if self.fleet.vms.contains_key(&vm) || self.fleet.fits_quickly(host, request).is_err() {
            return None;
        }
        let rise = self.fleet.rise(host, request);
        self.fleet.admit(vm, host, request);
        self.placed.insert(vm);
        Some(rise)
    }

    /// Takes a VM away again, if it is on trial.
    pub(super) fn take(&mut self, vm: VmId) {
        if self.placed.remove(&vm) {
            self.fleet.release(vm);
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        for vm in &self.placed {
            self.fleet.release(*vm);
        }
    }
}
