//! Owns the list of the VMs being kept on this host: how to reach each one's supervisor, what was accepted for it,
//! and what it last told. Supervisors, the host and the hypervisor's events meet here, each for a moment.
//!
//! Must not: wait, decide, or call anybody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_common::ids::{Epoch, Generation, VmId};
use reeve_common::vm::{DesiredVm, VmObservation};
use tokio::sync::Notify;

use crate::hypervisor::DomainState;
use crate::vm::known::{Disk, Known};
use crate::vm::request_policy::Standing;

/// What a supervisor is to hear. It holds the latest of each kind and so never overflows: a newer wish replaces an
/// older one, and looking once is enough.
#[derive(Debug, Default)]
pub struct Mailbox {
    post: Mutex<Post>,
    arrived: Notify,
}

/// What arrived since the supervisor last looked.
#[derive(Debug, Default)]
pub struct Post {
    /// The latest wish.
    pub wish: Option<(Generation, Epoch, DesiredVm)>,
    /// Whether something happened to the domain.
    pub look: bool,
    /// Whether the guest's agent opened or closed its channel.
    pub guest_agent: Option<bool>,
}

impl Post {
    /// Whether nothing arrived.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.wish.is_none() && !self.look && self.guest_agent.is_none()
    }
}

impl Mailbox {
    /// A wish that the request policy let through.
    pub fn wish(&self, generation: Generation, epoch: Epoch, desired: DesiredVm) {
        let mut post = lock(&self.post);
        if post.wish.as_ref().is_none_or(|(waiting, _, _)| generation >= *waiting) {
            post.wish = Some((generation, epoch, desired));
        }
        drop(post);
        self.arrived.notify_one();
    }

    /// Something happened to the domain.
    pub fn look(&self) {
        lock(&self.post).look = true;
        self.arrived.notify_one();
    }

    /// The guest's agent opened or closed its channel.
    pub fn guest_agent(&self, connected: bool) {
        lock(&self.post).guest_agent = Some(connected);
        self.arrived.notify_one();
    }

    /// Takes what has arrived, perhaps nothing.
    pub fn take(&self) -> Post {
        std::mem::take(&mut *lock(&self.post))
    }

    /// Waits until something may have arrived.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }
}

/// One VM being kept.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// Its supervisor's.
    pub mailbox: Arc<Mailbox>,
    /// The highest generation accepted.
    pub generation: Generation,
    /// Whether the wish is that it stops.
    pub stopping: bool,
    /// The disk that goes with it.
    pub disk: Option<Disk>,
    /// What it last told.
    pub observation: VmObservation,
    /// The state of its domain when it last looked; none when there was none or it could not be asked.
    pub last_seen: Option<DomainState>,
}

/// The VMs being kept.
#[derive(Debug, Default)]
pub struct Roster {
    keepings: Mutex<BTreeMap<VmId, Keeping>>,
}

impl Roster {
    /// Takes a VM in, unless it is there. Returns the mailbox for its supervisor if it was not.
    pub fn enter(&self, known: &Known) -> Option<Arc<Mailbox>> {
        let mut keepings = lock(&self.keepings);
        if keepings.contains_key(&known.vm) {
            return None;
        }
        let mailbox = Arc::new(Mailbox::default());
        let keeping = Keeping {
            mailbox: Arc::clone(&mailbox),
            generation: known.generation,
            stopping: known.is_stopping(),
            disk: known.disk.clone(),
            observation: known.observation(),
            last_seen: known.seen.state(),
        };
        keepings.insert(known.vm, keeping);
        Some(mailbox)
    }

    /// Strikes a VM off.
    pub fn leave(&self, vm: VmId) {
        lock(&self.keepings).remove(&vm);
    }

    /// Takes over what a supervisor knows. Returns whether what is told of the VM has changed.
    pub fn update(&self, known: &Known) -> bool {
        let observation = known.observation();
        let mut keepings = lock(&self.keepings);
        let Some(keeping) = keepings.get_mut(&known.vm) else { return false };
        keeping.generation = keeping.generation.max(known.generation);
        keeping.stopping |= known.is_stopping();
        keeping.disk.clone_from(&known.disk);
        keeping.last_seen = known.seen.state();
        let changed = keeping.observation != observation;
        keeping.observation = observation;
        changed
    }

    /// Notes an accepted wish and hands it to the VM's supervisor. Returns whether there is one.
    pub fn hand_on(&self, vm: VmId, generation: Generation, epoch: Epoch, desired: DesiredVm) -> bool {
        let mut keepings = lock(&self.keepings);
        let Some(keeping) = keepings.get_mut(&vm) else { return false };
        keeping.generation = keeping.generation.max(generation);
        keeping.stopping |= matches!(desired, DesiredVm::Stopped { .. } | DesiredVm::Released);
        keeping.mailbox.wish(generation, epoch, desired);
        true
    }

    /// A VM's mailbox, if it is kept.
    #[must_use]
    pub fn mailbox(&self, vm: VmId) -> Option<Arc<Mailbox>> {
        lock(&self.keepings).get(&vm).map(|keeping| Arc::clone(&keeping.mailbox))
    }

    /// Lets every supervisor look again.
    pub fn look_at_all(&self) {
        for keeping in lock(&self.keepings).values() {
            keeping.mailbox.look();
        }
    }

    /// How a VM stands with the request policy, if it is kept.
    #[must_use]
    pub fn standing(&self, vm: VmId) -> Option<Standing> {
        lock(&self.keepings).get(&vm).map(|keeping| Standing::Kept {
            generation: keeping.generation,
            stopping: keeping.stopping,
            disk: keeping.disk.clone(),
        })
    }

    /// Whose system disk a volume is.
    #[must_use]
    pub fn owner_of_disk(&self, disk: &Disk) -> Option<VmId> {
        let keepings = lock(&self.keepings);
        keepings.iter().find(|(_, keeping)| keeping.disk.as_ref() == Some(disk)).map(|(vm, _)| *vm)
    }

    /// What was last told of each VM.
    #[must_use]
    pub fn observations(&self) -> Vec<VmObservation> {
        lock(&self.keepings).values().map(|keeping| keeping.observation.clone()).collect()
    }

    /// What was last told of one VM.
    #[must_use]
    pub fn observation(&self, vm: VmId) -> Option<VmObservation> {
        lock(&self.keepings).get(&vm).map(|keeping| keeping.observation.clone())
    }

    /// In which state each VM's domain was last seen.
    #[must_use]
    pub fn last_seen(&self) -> BTreeMap<VmId, Option<DomainState>> {
        lock(&self.keepings).iter().map(|(vm, keeping)| (*vm, keeping.last_seen)).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.keepings).len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here can be left half done by a panic: each change is one assignment or one map operation.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
