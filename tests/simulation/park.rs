//! Owns the list of all simulated hosts, which grows when one is added.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_common::ids::{HostId, HostName};

use super::machine::Machine;

/// All simulated hosts. Clones are one.
#[derive(Clone, Default)]
pub struct Park(Arc<Mutex<BTreeMap<HostId, Arc<Machine>>>>);

impl Park {
    fn machines(&self) -> MutexGuard<'_, BTreeMap<HostId, Arc<Machine>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a host more.
    pub fn add(&self, machine: Arc<Machine>) {
        self.machines().insert(machine.host, machine);
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, host: HostId) -> Option<Arc<Machine>> {
        self.machines().get(&host).cloned()
    }

    /// The one that is called so; the latest, when one was removed and another added in its name.
    #[must_use]
    pub fn named(&self, name: &HostName) -> Option<Arc<Machine>> {
        self.machines().values().rev().find(|machine| machine.name == *name).cloned()
    }

    /// Lets go of all of them: whoever watches a machine is watched by it.
    pub fn let_go(&self) {
        let machines = std::mem::take(&mut *self.machines());
        drop(machines);
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Machine>> {
        self.machines().values().cloned().collect()
    }
}
