//! Owns asking for the next run of a VM that its host found stopped, where its configuration wants it restarted when its
//! host is lost. The rule is `model/succession`'s.
//!
//! Must not: ask for one outside of the transaction that records the end of the run before it.

use std::sync::Arc;

use reeve_common::ids::VmId;

use super::Service;
use super::core::VmVersion;
use super::failing_over::failover_rules;
use crate::model::succession::{may_be_followed, successor};
use crate::model::vm::Vm;
use crate::store::Version;

impl Service {
    /// The next run of a VM that is over, held but not yet durable; none when none is to follow.
    pub(super) fn hold_successor(&self, ended: &Vm) -> Option<Vm> {
        if !may_be_followed(ended) {
            return None;
        }
        let (config, now) = (self.config(), self.now());
        let mut core = self.core();
        // A host that is being emptied has its own list of who is started again.
        let draining =
            ended.host.and_then(|host| core.hosts.get(&host)).is_some_and(|entry| entry.kept.value.draining);
        if draining || !failover_rules(&core, &config, ended).restarts() {
            return None;
        }
        let next = successor(ended, VmId::random(), now)?;
        // Its drives are its from now on: nobody else takes them between the two runs.
        let current = VmVersion { version: Version::default(), vm: Arc::new(next.clone()) };
        core.take_in(current, false);
        Some(next)
    }

    /// The next run could not be made durable.
    pub(super) fn drop_successor(&self, id: VmId) {
        self.core().drop_vm(id);
    }

    /// The next run is durable.
    pub(super) fn show_successor(&self, version: Version, next: Vm, ended: &Vm) {
        self.core().mark_durable(next.id);
        log::warn!(REEVE_VM:% = next.id, REEVE_REALM:% = next.realm;
            "VM {} was found stopped, and its configuration wants it restarted: its next run is {}", ended.name, next.name);
        self.show_vm(version, next);
        self.inner.fleet_changed.notify_one();
    }
}
