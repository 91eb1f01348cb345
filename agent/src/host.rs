//! Owns this host's side of the conversation, whoever is on the other: it answers commands, keeps a supervisor for
//! each VM, compares all VMs with the hypervisor at each poll, and makes the full report.
//!
//! ```text
//!   commands ─▶ Host::answer ─▶ request policy ─▶ roster ─▶ supervisors ─▶ outbox ─▶ events
//!   hypervisor's events ─▶ mailboxes, or attention ─▶ Host::keep_watch ─▶ reconciler
//! ```
//!
//! Must not: know how the coordinator is reached. It goes on without one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::ids::{Epoch, Generation, PoolName, RealmName, VmId};
use reeve_common::protocol::{Command, CommandBody, HostReport, Refusal, Reply, ReplyBody};
use reeve_common::realm::RealmSettings;
use reeve_common::storage::PoolReport;
use reeve_common::text::chain;
use reeve_common::vm::{DesiredVm, ForeignDomain, ObservedVm, VmObservation};
use reeve_common::wire::limits::FOREIGN_DOMAINS_MAX;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::hypervisor::{Hypervisor, HypervisorError, HypervisorEvent};
use crate::outbox::Outbox;
use crate::reconciler::{Reconciliation, reconcile};
use crate::roster::Roster;
use crate::state_directory::{StateDirectory, StateError};
use crate::vm::driver::{CallKind, Driver};
use crate::vm::known::{Disk, Known, Tombstone};
use crate::vm::request_policy::{ForgetVerdict, Standing, Verdict, check_epoch, judge, judge_forget};
use crate::vm::supervisor::{Surroundings, supervise};

/// How often all VMs are compared with the hypervisor before a coordinator has said how often.
const POLL_INTERVAL_UNTOLD: Duration = Duration::from_secs(30);

/// The shortest poll interval obeyed; each poll lists every domain.
const POLL_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long events that call for a comparison are gathered, so that a hundred of somebody else's domains starting at
/// once are one comparison.
const GATHERING: Duration = Duration::from_millis(100);

/// How soon the hypervisor is tried again when listing failed and no event says that it is back.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(5);

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
    supervisors: Mutex<BTreeMap<VmId, AbortHandle>>,
    attention: Notify,
}

/// What was last seen of the host besides our VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    reachable: bool,
    foreign: Vec<ForeignDomain>,
    pools: Vec<PoolReport>,
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
        let surroundings = Surroundings {
            driver: Driver::new(hypervisor, Arc::clone(&state)),
            clock,
            roster: Arc::new(Roster::default()),
            outbox: Arc::new(Outbox::default()),
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
            supervisors: Mutex::new(BTreeMap::new()),
            attention: Notify::new(),
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

    /// Takes over the realm's settings.
    pub fn configure(&self, settings: RealmSettings) {
        let changed = self.inner.settings.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&settings);
            *current = Some(settings);
            changed
        });
        if changed {
            self.inner.attention.notify_one();
        }
    }

    /// Takes over the hypervisor's events from now on, in a thread of its own that ends with the hypervisor.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn listen(&self, hypervisor: &dyn Hypervisor) -> std::io::Result<()> {
        let (sender, events) = std::sync::mpsc::channel();
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
                None => self.inner.attention.notify_one(),
            },
            HypervisorEvent::GuestAgent { vm, connected } => {
                if let Some(mailbox) = roster.mailbox(*vm) {
                    mailbox.guest_agent(*connected);
                }
            }
            HypervisorEvent::Pools => self.inner.attention.notify_one(),
            HypervisorEvent::Disconnected | HypervisorEvent::Connected => {
                roster.look_at_all();
                self.inner.attention.notify_one();
            }
        }
    }

    /// Compares everything with the hypervisor now and whenever something calls for it, for ever.
    pub async fn keep_watch(&self) {
        let mut settings = self.inner.settings.subscribe();
        loop {
            let reachable = self.compare().await;
            let told = settings.borrow_and_update().as_ref().map(|settings| settings.poll_frequency);
            let interval = told.unwrap_or(POLL_INTERVAL_UNTOLD).max(POLL_INTERVAL_MIN);
            let interval = if reachable { interval } else { interval.min(UNREACHABLE_RETRY) };
            tokio::select! {
                () = self.inner.attention.notified() => tokio::time::sleep(GATHERING).await,
                () = tokio::time::sleep(interval) => {}
            }
        }
    }

    /// Compares everything with the hypervisor once: takes in VMs that nobody keeps, makes supervisors look again, and
    /// tells what else has changed. Returns whether the hypervisor answered.
    pub async fn compare(&self) -> bool {
        let _one_at_a_time = self.inner.comparing.lock().await;
        let driver = &self.inner.surroundings.driver;
        let listed = driver.call(CallKind::Ordinary, |hypervisor| hypervisor.domains()).await;
        let now_seen = match listed {
            Err(error) => {
                self.warn_unreachable(&error);
                Seen::default()
            }
            Ok(domains) => {
                let result = reconcile(
                    domains,
                    &self.inner.surroundings.roster.last_seen(),
                    &self.inner.state.tombstones(),
                    &self.inner.state.preparations(),
                    self.inner.surroundings.clock.now(),
                );
                let foreign = self.act_on(result).await;
                Seen { reachable: true, foreign, pools: self.pools().await }
            }
        };
        let reachable = now_seen.reachable;
        if reachable && self.inner.warned.swap(false, Ordering::AcqRel) {
            log::info!("the domains can be listed again");
        }
        let before = std::mem::replace(&mut *self.seen(), now_seen.clone());
        let first = reachable && !self.inner.listed.swap(true, Ordering::AcqRel);
        if first || (before != now_seen && reachable) {
            // A report says that the hypervisor is back, too.
            self.outbox().report_due();
        } else if before.reachable && !reachable {
            self.outbox().hypervisor_changed(false);
        }
        reachable
    }

    /// Said once, and again after it was reachable in between.
    fn warn_unreachable(&self, error: &HypervisorError) {
        if !self.inner.warned.swap(true, Ordering::AcqRel) {
            log::warn!(
                "the domains cannot be listed: {}. VMs run on; the agent goes on trying. Check that libvirtd runs and that \
                 the agent's user may use it (group libvirt)",
                chain(error)
            );
        }
    }

    async fn act_on(&self, result: Reconciliation) -> Vec<ForeignDomain> {
        let roster = &self.inner.surroundings.roster;
        let highest = result.adopt.iter().map(|known| known.epoch).max();
        if let Some(epoch) = highest
            && let Err(error) =
                self.inner.surroundings.driver.remember(move |state| state.raise_epoch(epoch)).await
        {
            log::error!("{}", chain(&error));
        }
        for known in result.adopt {
            self.keep(known);
        }
        for vm in result.look_again {
            if let Some(mailbox) = roster.mailbox(vm) {
                mailbox.look();
            }
        }
        self.inner.state.settle_preparations(&result.settled);
        result.foreign
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
            host.inner.surroundings.roster.leave(vm);
            if let Err(error) = ended
                && error.is_panic()
            {
                log::error!(REEVE_VM:% = vm; "the task that keeps VM {vm} failed ({error}); it is begun again");
                host.inner.attention.notify_one();
            }
        });
        true
    }

    /// Lets go of all VMs as they are: they run on, and whoever comes next finds them.
    pub fn let_go(&self) {
        for supervisor in lock(&self.inner.supervisors).values() {
            supervisor.abort();
        }
    }

    async fn pools(&self) -> Vec<PoolReport> {
        let names = self.inner.settings.borrow().as_ref().map(pool_names);
        let Some(names) = names else { return Vec::new() };
        let driver = &self.inner.surroundings.driver;
        match driver.call(CallKind::Ordinary, move |hypervisor| hypervisor.pools(&names)).await {
            Ok(pools) => pools,
            Err(error) => {
                log::warn!("the realm's pools cannot be looked at: {}", chain(&error));
                self.seen().pools.clone()
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.inner.seen)
    }

    /// Whether more than a tombstone is left of a VM that has one.
    fn is_being_removed(&self, vm: VmId) -> bool {
        let told = self.inner.surroundings.roster.observation(vm);
        told.is_some_and(|observation| !matches!(observation.observed, ObservedVm::Gone(_)))
    }

    pub(crate) fn is_kept(&self, vm: VmId) -> bool {
        self.inner.surroundings.roster.mailbox(vm).is_some()
    }

    pub(crate) fn owner_of_disk(&self, disk: &Disk) -> Option<VmId> {
        self.inner.surroundings.roster.owner_of_disk(disk)
    }

    /// Everything this host has, as last seen.
    #[must_use]
    pub fn report(&self) -> HostReport {
        let seen = self.seen().clone();
        let mut vms = self.inner.surroundings.roster.observations();
        for tombstone in self.inner.state.tombstones().into_values() {
            if !vms.iter().any(|observation| observation.vm == tombstone.vm) {
                vms.push(tombstone.observation());
            }
        }
        if !seen.reachable {
            vms.iter_mut().for_each(unknown_unless_gone);
        }
        let mut foreign = seen.foreign;
        // As many as fit a message.
        foreign.truncate(FOREIGN_DOMAINS_MAX);
        HostReport { hypervisor_reachable: seen.reachable, vms, foreign, pools: seen.pools }
    }

    /// Answers a command.
    pub async fn answer(&self, command: Command) -> Reply {
        let operation = command.operation;
        let outcome = match self.take_epoch(command.epoch).await {
            Ok(()) => self.obey(command.epoch, command.body).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &outcome {
            log::warn!(REEVE_OPERATION:% = operation; "a command was refused: {refusal}");
        }
        Reply { operation, outcome }
    }

    async fn obey(&self, epoch: Epoch, body: CommandBody) -> Result<ReplyBody, Refusal> {
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
                self.outbox().report_due();
                Ok(ReplyBody::Accepted)
            }
            CommandBody::ReadConsole { vm, length_max } => self.read_console(vm, length_max).await,
            CommandBody::ListVolumes { pool } => self.list_volumes(pool).await,
            CommandBody::CreateVolume(volume) => self.create_volume(volume).await,
            CommandBody::DeleteVolume { pool, volume } => self.delete_volume(pool, volume).await,
            // The session's: it holds the identity.
            CommandBody::InstallCertificate { .. } => {
                Err(Refusal::Invalid("no certificate was asked for".to_owned()))
            }
        }
    }

    /// Lets an epoch pass, recording it durably when it is the highest so far.
    ///
    /// # Errors
    /// [`Refusal::StaleEpoch`] for a lower one; [`Refusal::Failed`] when it cannot be recorded.
    pub async fn take_epoch(&self, epoch: Epoch) -> Result<(), Refusal> {
        if !check_epoch(epoch, self.highest_epoch())? {
            return Ok(());
        }
        let recorded = self.driver().remember(move |state| state.raise_epoch(epoch)).await;
        recorded.map_err(|error| not_recorded(&error))
    }

    async fn ensure(
        &self,
        vm: VmId,
        epoch: Epoch,
        generation: Generation,
        desired: DesiredVm,
    ) -> Result<ReplyBody, Refusal> {
        let _one_at_a_time = self.inner.judging.lock().await;
        let roster = &self.inner.surroundings.roster;
        let standing = self.standing(vm);
        if standing == Standing::Unknown && !self.inner.listed.load(Ordering::Acquire) {
            let why =
                "this host's libvirt could not be asked yet which VMs it has; repeat the command when it can";
            return Err(Refusal::Failed(why.to_owned()));
        }
        let vms_known = roster.len() + self.inner.state.tombstone_count();
        let owner = |disk: &Disk| self.owner_of_disk(disk);
        match judge(generation, &desired, &standing, &self.inner.realm, vms_known, owner) {
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Superseded { current } => Ok(ReplyBody::Superseded { current }),
            Verdict::AlreadyGone => self.repeat_end(vm, epoch, generation).await,
            Verdict::Accept | Verdict::AlreadySo => {
                let now = self.inner.surroundings.clock.now();
                let fresh = standing == Standing::Unknown
                    && self.keep(Known::wished(vm, generation, epoch, desired.clone(), now));
                if !fresh {
                    roster.hand_on(vm, generation, epoch, desired);
                }
                Ok(ReplyBody::Accepted)
            }
        }
    }

    fn standing(&self, vm: VmId) -> Standing {
        if let Some(tombstone) = self.inner.state.tombstone(vm) {
            return Standing::Gone { generation: tombstone.generation };
        }
        if let Some(standing) = self.inner.surroundings.roster.standing(vm) {
            return standing;
        }
        match self.inner.state.forgotten(vm) {
            Some(generation) => Standing::Forgotten { generation },
            None => Standing::Unknown,
        }
    }

    /// A wish for a VM that is gone: says so again, at the wish's generation.
    async fn repeat_end(&self, vm: VmId, epoch: Epoch, generation: Generation) -> Result<ReplyBody, Refusal> {
        let Some(found) = self.inner.state.tombstone(vm) else { return Ok(ReplyBody::Accepted) };
        let raised = Tombstone {
            generation: found.generation.max(generation),
            epoch: found.epoch.max(epoch),
            ..found.clone()
        };
        if raised != found {
            let tombstone = raised.clone();
            let recorded = self.driver().remember(move |state| state.bury(tombstone)).await;
            recorded.map_err(|error| not_recorded(&error))?;
        }
        // While the last of it is being removed, its supervisor tells the rest.
        let being_removed = self.inner.surroundings.roster.observation(vm);
        self.outbox().vm_changed(being_removed.unwrap_or_else(|| raised.observation()));
        Ok(ReplyBody::Accepted)
    }

    async fn forget(&self, vm: VmId, generation: Generation) -> Result<ReplyBody, Refusal> {
        let _one_at_a_time = self.inner.judging.lock().await;
        match judge_forget(generation, &self.standing(vm)) {
            ForgetVerdict::NothingKnown => Ok(ReplyBody::Accepted),
            ForgetVerdict::Refuse(refusal) => Err(refusal),
            ForgetVerdict::Forget if self.is_being_removed(vm) => {
                Err(Refusal::Failed("the last of the VM is still being removed".to_owned()))
            }
            ForgetVerdict::Forget => {
                let recorded = self.driver().remember(move |state| state.forget(vm)).await;
                recorded.map_err(|error| not_recorded(&error))?;
                Ok(ReplyBody::Accepted)
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside changes in one assignment or one map operation; a panic cannot have left it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown_unless_gone(observation: &mut VmObservation) {
    if !matches!(observation.observed, ObservedVm::Gone(_)) {
        observation.observed = ObservedVm::Unknown;
    }
}

/// The realm's three pools.
pub(crate) fn pool_names(settings: &RealmSettings) -> Vec<PoolName> {
    vec![settings.volumes_pool.clone(), settings.drives_pool.clone(), settings.bricks_pool.clone()]
}

pub(crate) fn not_recorded(error: &StateError) -> Refusal {
    Refusal::Failed(format!("this host cannot record it: {}", chain(error)))
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
