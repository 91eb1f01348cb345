//! Owns this host's side of the conversation, whoever is on the other: it answers commands and gives each VM its
//! supervisor.
//!
//! ```text
//!   commands ─▶ Host::answer ─▶ request policy ─▶ roster ─▶ supervisors ─▶ outbox ─▶ events
//!                 (wishes.rs, volumes.rs)
//!   hypervisor's events ─▶ mailboxes, or attention ─▶ Host::keep_watch ─▶ reconciler
//!                                                       (comparison.rs)
//! ```
//!
//! Must not: know how the coordinator is reached. It goes on without one.

mod adopting;
mod comparison;
mod description;
mod operations;
mod volumes;
mod wishes;
mod witnessing;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use reeve_common::clock::Clock;
use reeve_common::ids::{Epoch, OperationId, PoolName, RealmName, VmId};
use reeve_common::logging::{self, messages};
use reeve_common::mutation::Mutation;
use reeve_common::protocol::{Command, CommandBody, Refusal, Reply, ReplyBody};
use reeve_common::realm::RealmSettings;
use reeve_common::storage::{LockManager, PoolReport};
use reeve_common::text::chain;
use reeve_common::vm::{DomainSize, ForeignDomain};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::operations::Operations;
use crate::hypervisor::{Hypervisor, HypervisorEvent, event_queue};
use crate::journal;
use crate::outbox::Outbox;
use crate::roster::Roster;
use crate::self_fencing::LeaseKeeper;
use crate::start_gate::StartGate;
use crate::state_directory::{StateDirectory, StateError};
use crate::vm::driver::Driver;
use crate::vm::known::{Disk, Known, Tombstone};
use crate::vm::request_policy::{Standing, check_epoch};
use crate::vm::supervisor::{Surroundings, supervise};

/// Handing an event on takes a few small frames; a thread's usual 2 MiB would only be address space.
const EVENTS_STACK: usize = 128 << 10;

/// A host's VMs and what is known of everything else on it.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    realm: RealmName,
    state: Arc<StateDirectory>,
    surroundings: Surroundings,
    settings: watch::Sender<Option<RealmSettings>>,
    /// One wish is judged and recorded at a time.
    judging: tokio::sync::Mutex<()>,
    /// One comparison at a time.
    comparing: tokio::sync::Mutex<()>,
    /// Whether all domains were listed once: before that, what is not known might be there all the same.
    listed: AtomicBool,
    /// Whether it was said that the domains cannot be listed.
    warned: AtomicBool,
    seen: Mutex<Seen>,
    /// What was done once and is not done again.
    operations: Operations,
    supervisors: Mutex<BTreeMap<VmId, AbortHandle>>,
    /// The lease that this host goes by, if it goes by any.
    lease: OnceLock<Weak<LeaseKeeper>>,
}

/// What was last seen of the host besides our VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    reachable: bool,
    foreign: Vec<ForeignDomain>,
    pools: Vec<PoolReport>,
    sizes: Vec<DomainSize>,
    lock_manager: LockManager,
}

impl Host {
    /// A host of `realm` with this hypervisor and this memory.
    #[must_use]
    pub fn new(
        realm: RealmName,
        hypervisor: Arc<dyn Hypervisor>,
        state: Arc<StateDirectory>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::with_driver(realm, Driver::new(hypervisor, Arc::clone(&state)), state, clock)
    }

    /// The same, with a driver of one's own for this memory.
    #[must_use]
    pub fn with_driver(
        realm: RealmName,
        driver: Driver,
        state: Arc<StateDirectory>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let surroundings = Surroundings {
            driver,
            clock,
            roster: Arc::new(Roster::default()),
            outbox: Arc::new(Outbox::default()),
            attention: Arc::default(),
        };
        let inner = Inner {
            realm,
            state,
            surroundings,
            settings: watch::Sender::new(None),
            judging: tokio::sync::Mutex::new(()),
            comparing: tokio::sync::Mutex::new(()),
            listed: AtomicBool::new(false),
            warned: AtomicBool::new(false),
            seen: Mutex::new(Seen::default()),
            operations: Operations::default(),
            supervisors: Mutex::new(BTreeMap::new()),
            lease: OnceLock::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What is to be told to the coordinator.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.inner.surroundings.outbox
    }

    /// Carries out calls to the hypervisor.
    #[must_use]
    pub fn driver(&self) -> &Driver {
        &self.inner.surroundings.driver
    }

    /// The highest epoch obeyed.
    #[must_use]
    pub fn highest_epoch(&self) -> Epoch {
        self.inner.state.highest_epoch()
    }

    /// The realm's settings as last told; none before a coordinator said them.
    #[must_use]
    pub fn settings(&self) -> watch::Receiver<Option<RealmSettings>> {
        self.inner.settings.subscribe()
    }

    /// The gate that every start goes through.
    #[must_use]
    pub fn start_gate(&self) -> &StartGate {
        self.driver().gate()
    }

    /// The host goes by this lease from now on; only the first counts.
    pub(crate) fn go_by(&self, lease: Weak<LeaseKeeper>) {
        let _ = self.inner.lease.set(lease);
    }

    /// The coordinator is there: it is asked for a lease, if this host goes by any.
    pub fn ask_for_lease(&self) {
        if let Some(lease) = self.lease() {
            lease.connected();
        }
    }

    fn lease(&self) -> Option<Arc<LeaseKeeper>> {
        self.inner.lease.get().and_then(Weak::upgrade)
    }

    /// Takes over the realm's settings.
    pub fn configure(&self, settings: RealmSettings) {
        if let Some(lease) = self.lease() {
            lease.told(settings.lease);
        }
        let changed = self.inner.settings.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&settings);
            *current = Some(settings);
            changed
        });
        if changed {
            self.inner.surroundings.attention.notify_one();
        }
    }

    /// Takes over the hypervisor's events from now on, in a thread of its own that ends with the hypervisor.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn listen(&self, hypervisor: &dyn Hypervisor) -> std::io::Result<()> {
        let (sender, events) = event_queue();
        hypervisor.subscribe(sender);
        let host = self.clone();
        let thread = std::thread::Builder::new().name("events".to_owned()).stack_size(EVENTS_STACK);
        thread.spawn(move || events.iter().for_each(|event| host.hear(&event)))?;
        Ok(())
    }

    /// Takes over a hypervisor's event. Cheap; called from the thread that receives them.
    pub fn hear(&self, event: &HypervisorEvent) {
        let roster = &self.inner.surroundings.roster;
        match event {
            HypervisorEvent::Domain(vm) => match roster.mailbox(*vm) {
                Some(mailbox) => mailbox.look(),
                // Somebody else's, or one of ours that somebody brought back.
                None => self.inner.surroundings.attention.notify_one(),
            },
            HypervisorEvent::GuestAgent { vm, connected } => {
                if let Some(mailbox) = roster.mailbox(*vm) {
                    mailbox.guest_agent(*connected);
                }
            }
            HypervisorEvent::Pools => self.inner.surroundings.attention.notify_one(),
            HypervisorEvent::Disconnected | HypervisorEvent::Connected | HypervisorEvent::Overflowed => {
                roster.look_at_all();
                self.inner.surroundings.attention.notify_one();
            }
        }
    }

    /// Gives a VM its supervisor, unless it has one. Returns whether it did.
    fn keep(&self, known: Known) -> bool {
        let vm = known.vm;
        let Some(mailbox) = self.inner.surroundings.roster.enter(&known) else { return false };
        let kept = tokio::spawn(supervise(known, mailbox, self.inner.surroundings.clone()));
        lock(&self.inner.supervisors).insert(vm, kept.abort_handle());
        let host = self.clone();
        tokio::spawn(async move {
            let ended = kept.await;
            lock(&host.inner.supervisors).remove(&vm);
            host.take_leave(vm).await;
            if let Err(error) = ended
                && error.is_panic()
            {
                log::error!(MESSAGE_ID:% = messages::VM_TASK_FAILED, REEVE_VM:% = vm;
                    "the task that keeps VM {vm} failed ({error}); it is begun again");
                host.inner.surroundings.attention.notify_one();
            }
        });
        true
    }

    /// Strikes a VM off that has no supervisor any more. Its tombstone may have been raised to a later wish's generation
    /// while the supervisor was still removing the last of it; or a later wish came when its tombstone was written and
    /// its supervisor was about to end: it counts as obeyed, and the tombstone says so.
    async fn take_leave(&self, vm: VmId) {
        let _one_at_a_time = self.inner.judging.lock().await;
        let roster = &self.inner.surroundings.roster;
        let standing = roster.standing(vm);
        if let (Some(Standing::Kept { generation, .. }), Some(tombstone)) =
            (&standing, self.inner.state.tombstone(vm))
            && *generation > tombstone.generation
        {
            let generation = *generation;
            let raised = Tombstone { generation, ..tombstone };
            if let Err(error) = self.driver().remember(move |state| state.bury(raised)).await {
                // The coordinator repeats a wish that it is not told to be obeyed.
                log::warn!(REEVE_VM:% = vm; "the end of VM {vm} is recorded for an older wish: {}", chain(&error));
            }
        }
        let told = roster.observation(vm);
        roster.leave(vm);
        if matches!(standing, Some(Standing::Kept { disk: None, .. })) {
            // What was adopted is still there, and nobody's of ours from now on.
            self.inner.surroundings.attention.notify_one();
        }
        if let (Some(told), Some(tombstone)) = (told, self.inner.state.tombstone(vm))
            && told.generation != tombstone.generation
        {
            self.outbox().vm_changed(tombstone.observation());
        }
    }

    /// Returns when the lock under which wishes are judged has been had: an agent that hangs there gives no sign of life.
    pub async fn pulse(&self) {
        drop(self.inner.judging.lock().await);
    }

    /// How many VMs are kept here.
    #[must_use]
    pub fn kept_count(&self) -> usize {
        lock(&self.inner.supervisors).len()
    }

    /// Whether the hypervisor answered when it was last asked for everything.
    #[must_use]
    pub fn is_hypervisor_reachable(&self) -> bool {
        self.seen().reachable
    }

    /// Whether a coordinator has told its settings since this agent began.
    #[must_use]
    pub fn is_told_by_coordinator(&self) -> bool {
        self.inner.settings.borrow().is_some()
    }

    /// Lets go of all VMs as they are: they run on, and whoever comes next finds them.
    pub fn let_go(&self) {
        for supervisor in lock(&self.inner.supervisors).values() {
            supervisor.abort();
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.inner.seen)
    }

    fn is_kept(&self, vm: VmId) -> bool {
        self.inner.surroundings.roster.mailbox(vm).is_some()
    }

    fn owner_of_disk(&self, disk: &Disk) -> Option<VmId> {
        self.inner.surroundings.roster.owner_of_disk(disk)
    }

    /// Answers a command.
    pub async fn answer(&self, command: Command) -> Reply {
        let operation = command.operation;
        let outcome = match self.take_epoch(command.epoch).await {
            Ok(()) => {
                let obeyed = self.obey(operation, command.epoch, command.body);
                logging::in_operation(operation, obeyed).await
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &outcome {
            log::warn!(REEVE_OPERATION:% = operation; "a command was refused: {refusal}");
        }
        Reply { operation, outcome }
    }

    async fn obey(
        &self,
        operation: OperationId,
        epoch: Epoch,
        body: CommandBody,
    ) -> Result<ReplyBody, Refusal> {
        match body {
            CommandBody::EnsureVm { vm, generation, desired } => {
                self.ensure(vm, epoch, generation, desired).await
            }
            CommandBody::ForgetVm { vm, generation } => self.forget(vm, generation).await,
            CommandBody::ConfigureRealm(settings) => {
                self.configure(settings);
                Ok(ReplyBody::Accepted)
            }
            CommandBody::Report => {
                self.compare().await;
                self.outbox().report_due_for(operation);
                Ok(ReplyBody::Accepted)
            }
            CommandBody::ReadReport => {
                self.compare().await;
                Ok(ReplyBody::Report(Box::new(self.report())))
            }
            CommandBody::DescribeVms { after } => self.describe_vms(after).await,
            CommandBody::DescribeDomain { domain } => self.describe_domain(domain).await,
            CommandBody::ReadConsole { vm, length_max } => self.read_console(vm, length_max).await,
            CommandBody::ReadJournal(query) => journal::answer(&query).await,
            CommandBody::ListVolumes { pool } => self.list_volumes(pool).await,
            CommandBody::CreateVolume(volume) => {
                let host = self.clone();
                self.once(operation, async move { host.create_volume(volume).await }).await
            }
            CommandBody::DeleteVolume { pool, volume } => {
                let host = self.clone();
                self.once(operation, async move { host.delete_volume(pool, volume).await }).await
            }
            CommandBody::GrantLease { number, lease } => {
                if let Some(keeper) = self.lease() {
                    keeper.granted(number, lease);
                }
                Ok(ReplyBody::Accepted)
            }
            CommandBody::Witness { checkpoint } => self.witness(checkpoint).await,
            // The session's: it holds the identity.
            CommandBody::InstallCertificate { .. } => {
                Err(Refusal::Invalid("no certificate was asked for".to_owned()))
            }
        }
    }

    /// Carries out what is done once per operation, or answers as it was answered before.
    pub(crate) async fn once(
        &self,
        operation: OperationId,
        work: impl Future<Output = Result<ReplyBody, Refusal>> + Send + 'static,
    ) -> Result<ReplyBody, Refusal> {
        self.inner.operations.once(operation, work).await
    }

    /// Whether such an operation was begun before.
    pub(crate) fn has_begun(&self, operation: OperationId) -> bool {
        self.inner.operations.has_begun(operation)
    }

    /// Lets an epoch pass, recording it durably when it is the highest so far.
    ///
    /// # Errors
    /// [`Refusal::StaleEpoch`] for a lower one; [`Refusal::Failed`] when it cannot be recorded.
    pub async fn take_epoch(&self, epoch: Epoch) -> Result<(), Refusal> {
        match check_epoch(epoch, self.highest_epoch()) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(_) if Mutation::SkipEpochCheck.is_active() => return Ok(()),
            Err(refusal) => return Err(refusal),
        }
        let recorded = self.driver().remember(move |state| state.raise_epoch(epoch)).await;
        recorded.map_err(|error| not_recorded(&error))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside changes in one assignment or one map operation; a panic cannot have left it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The realm's three pools.
fn pool_names(settings: &RealmSettings) -> Vec<PoolName> {
    vec![settings.volumes_pool.clone(), settings.drives_pool.clone(), settings.bricks_pool.clone()]
}

fn not_recorded(error: &StateError) -> Refusal {
    Refusal::Failed(format!("this host cannot record it: {}", chain(error)))
}

#[cfg(test)]
mod adopting_tests;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod replay_tests;
