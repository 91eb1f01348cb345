//! Owns keeping the lease: asks for it, grants and questions in, and sees to it that nothing runs when it has run out.
//!
//! ```text
//!   unbound  ── watchdog disarmed, if it ever was armed
//!   held     ── watchdog armed, a sign each tick
//!   run out  ── every VM of ours destroyed, again and again; a sign only when none runs and no start is under way
//! ```
//!
//! What runs out is looked at each tick and at each start (`start_gate`), by the time since boot: an agent that was
//! stopped for minutes finds out before it does anything else. If this task does not run, the watchdog gets no sign.
//!
//! The lease outlives the agent in a file (`lease_file`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use reeve_common::clock::BootClock;
use reeve_common::ids::VmId;
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;
use reeve_common::protocol::AgentRequest;
use reeve_common::text::chain;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::host::Host;
use crate::hypervisor::{DomainState, Hypervisor, HypervisorResult};
use crate::lease::{Lease, Standing};
use crate::lease_file::{self, LeaseFile, LeaseFileIn};
use crate::start_gate::StartPermission;
use crate::vm::driver::CallKind;
use crate::watchdog::{ArmedWatchdog, WatchdogDevice, WatchdogFile};

/// How often the lease is looked at: a small part of the shortest watchdog's time, which is ten seconds.
const TICK: Duration = Duration::from_secs(1);

/// A start that an earlier life of the agent asked for may come up as late as this: libvirt gives a start half a minute.
const EARLIER_STARTS: Duration = Duration::from_secs(60);

/// How long the end of the agent waits for the coordinator's word that it may disarm the watchdog.
const GIVE_UP_PATIENCE: Duration = Duration::from_secs(3);

/// Which watchdog stands behind the lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchdogChoice {
    /// Its device; none when there is none.
    pub device: Option<PathBuf>,
    /// Its time, where the kernel does not tell it.
    pub timeout: Option<Duration>,
}

/// Keeps this host's lease.
pub struct LeaseKeeper {
    clock: Arc<dyn BootClock>,
    began: Duration,
    file: Arc<dyn LeaseFile>,
    boot: String,
    device: Option<Arc<dyn WatchdogDevice>>,
    kept: Mutex<Kept>,
    changed: Notify,
    answered: Notify,
    host: OnceLock<Host>,
}

struct Kept {
    lease: Lease,
    watchdog: Option<Box<dyn ArmedWatchdog>>,
    /// What was said of the watchdog, so that it is said once.
    complaint: Option<String>,
    /// That VMs are being stopped was said.
    told_run_out: bool,
}

impl LeaseKeeper {
    /// Takes up the lease of an earlier life of the agent, if it was of this boot. One that cannot be read has run out.
    #[must_use]
    pub fn open(
        state_directory: &Path,
        clock: Arc<dyn BootClock>,
        choice: WatchdogChoice,
        first_number: u64,
    ) -> Arc<Self> {
        let WatchdogChoice { device, timeout } = choice;
        let device = device.map(|path| Arc::new(WatchdogFile { path, timeout }) as Arc<dyn WatchdogDevice>);
        Self::on(Arc::new(LeaseFileIn::directory(state_directory)), clock, device, first_number)
    }

    /// The same, with a file and a watchdog of one's own.
    #[must_use]
    pub fn on(
        file: Arc<dyn LeaseFile>,
        clock: Arc<dyn BootClock>,
        device: Option<Arc<dyn WatchdogDevice>>,
        first_number: u64,
    ) -> Arc<Self> {
        let (boot, began) = (clock.boot_id(), clock.since_boot());
        let lease = lease_file::take_up(file.as_ref(), &boot, first_number);
        let kept = Kept { lease, watchdog: None, complaint: None, told_run_out: false };
        Arc::new(Self {
            clock,
            began,
            file,
            boot,
            device,
            kept: Mutex::new(kept),
            changed: Notify::new(),
            answered: Notify::new(),
            host: OnceLock::new(),
        })
    }

    /// Binds a host to its lease: from now on it starts nothing without one.
    pub fn bind(self: &Arc<Self>, host: &Host) {
        let _ = self.host.set(host.clone());
        host.start_gate().keep(Arc::new(Permission(Arc::downgrade(self))));
        host.go_by(Arc::downgrade(self));
    }

    /// The coordinator is there: it is asked at once.
    pub fn connected(&self) {
        self.ask();
    }

    /// The coordinator says whether the realm asks for leases.
    pub fn told(&self, length: Option<Duration>) {
        let now = self.clock.since_boot();
        let mut kept = self.kept();
        let before = kept.lease.terms();
        kept.lease.told(length, now);
        if kept.lease.terms() != before {
            self.store(&kept.lease);
        }
        drop(kept);
        self.changed.notify_one();
    }

    /// The coordinator has answered.
    pub fn granted(&self, number: u64, length: Duration) {
        let mut kept = self.kept();
        if kept.lease.grant(number, length) {
            self.store(&kept.lease);
            drop(kept);
            self.changed.notify_one();
            self.answered.notify_one();
        }
    }

    /// How this host stands now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let now = self.clock.since_boot();
        match self.kept().lease.standing(now) {
            Standing::RunOut if Mutation::IgnoreLease.is_active() => Standing::Held { left: Duration::ZERO },
            standing => standing,
        }
    }

    /// Keeps the lease for ever.
    pub async fn keep(self: &Arc<Self>) {
        loop {
            self.look().await;
            // A host without a lease has nothing that could run out: a realm that asks for leases says so, and that is a change.
            if self.standing() == Standing::Unbound {
                self.changed.notified().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Looks once, and does what follows.
    pub async fn look(self: &Arc<Self>) {
        let now = self.clock.since_boot();
        let due = self.kept().lease.due_in(now) == Some(Duration::ZERO);
        match self.standing() {
            Standing::Unbound => self.disarm(),
            Standing::Held { .. } => {
                self.kept().told_run_out = false;
                self.arm();
                self.sign_while(|standing| matches!(standing, Standing::Held { .. }));
            }
            Standing::RunOut => {
                if self.stop_all().await || Mutation::SignWithoutStopping.is_active() {
                    // Not before: to open a watchdog is a sign, too.
                    self.arm();
                    self.sign_while(|standing| standing != Standing::Unbound);
                }
            }
        }
        if due {
            self.ask();
        }
    }

    /// Asks to be let go: from the coordinator's answer on it does not count on this host to stop by itself, and the
    /// watchdog can be disarmed. Without an answer it stays armed unless nothing runs here.
    pub async fn give_up(&self) {
        if self.standing() == Standing::Unbound {
            return self.disarm();
        }
        self.told(None);
        self.ask();
        let answered = tokio::time::timeout(GIVE_UP_PATIENCE, async {
            while self.standing() != Standing::Unbound {
                self.answered.notified().await;
            }
        });
        if answered.await.is_ok() || self.nothing_runs().await {
            return self.disarm();
        }
        if let Some(watchdog) = &self.kept().watchdog {
            log::warn!(
                "the coordinator does not answer, so the watchdog stays armed: unless the agent is started again, it resets \
                 this machine in {} s and ends its VMs, as the realm's self-fencing demands",
                watchdog.timeout().as_secs()
            );
        }
    }

    fn ask(&self) {
        let now = self.clock.since_boot();
        let mut kept = self.kept();
        let Some(question) = kept.lease.ask(now) else { return };
        let watchdog = kept.watchdog.as_ref().map(|armed| armed.timeout()).filter(|_| !question.gives_up);
        drop(kept);
        if let Some(host) = self.host.get() {
            host.outbox().lease_wanted(AgentRequest::RenewLease { number: question.number, watchdog });
        }
    }

    /// Arms the watchdog unless it is; tried again each time, so that a driver that is loaded later is found.
    fn arm(&self) {
        let Some(device) = &self.device else { return };
        let mut kept = self.kept();
        if kept.watchdog.is_some() || kept.lease.is_given_up() {
            return;
        }
        match device.arm() {
            Ok(watchdog) => {
                log::info!(
                    "the watchdog {} is armed: without a sign for {} s it resets this machine",
                    device.place(),
                    watchdog.timeout().as_secs()
                );
                kept.watchdog = Some(watchdog);
                kept.complaint = None;
                drop(kept);
                // The coordinator is to know.
                self.ask();
            }
            Err(error) => {
                let words = chain(&error);
                if kept.complaint.as_deref() != Some(words.as_str()) {
                    log::error!(
                        MESSAGE_ID:% = messages::WATCHDOG_MISSING;
                        "no watchdog stands behind this host's lease, so its VMs cannot be started elsewhere when it \
                                 is lost: {words}"
                    );
                    kept.complaint = Some(words);
                }
            }
        }
    }

    /// Gives the watchdog a sign if the host stands as `wanted` at this very moment.
    fn sign_while(&self, wanted: impl Fn(Standing) -> bool) {
        let mut kept = self.kept();
        if !wanted(kept.lease.standing(self.clock.since_boot())) && !Mutation::IgnoreLease.is_active() {
            return;
        }
        if let Some(watchdog) = &mut kept.watchdog
            && let Err(error) = watchdog.sign()
        {
            log::error!(MESSAGE_ID:% = messages::WATCHDOG_FAILING;
                "the watchdog takes no sign: {error}; it may reset this machine soon");
        }
    }

    fn disarm(&self) {
        if let Some(watchdog) = self.kept().watchdog.take()
            && let Err(error) = watchdog.disarm()
        {
            log::error!(MESSAGE_ID:% = messages::WATCHDOG_FAILING;
                "the watchdog cannot be disarmed: {error}; it may reset this machine soon");
        }
    }

    /// Destroys every VM of ours. Returns whether it is certain that none runs and none is coming up.
    ///
    /// A lease may be granted while libvirt is slow to list or to destroy them: what is still there then may run on, and
    /// what was started under the new lease is none of those that had to go. So each is destroyed only while the lease has
    /// run out, which is asked where nothing lies between the question and the act.
    async fn stop_all(self: &Arc<Self>) -> bool {
        let Some(host) = self.host.get() else { return false };
        let under_way = host.start_gate().under_way();
        let active = active(host).await;
        let Ok(active) = active else { return false };
        {
            let mut kept = self.kept();
            let is_over = kept.lease.standing(self.clock.since_boot()) == Standing::RunOut;
            if !active.is_empty() && is_over && !kept.told_run_out {
                log::error!(
                    MESSAGE_ID:% = messages::LEASE_RAN_OUT;
                    "the coordinator has not answered for the length of this host's lease: its {} VMs are destroyed now, since \
                     they may be started elsewhere soon (self-fencing in the realm's configuration)",
                    active.len()
                );
                kept.told_run_out = true;
            }
        }
        if active.is_empty() {
            let earlier_are_over = self.clock.since_boot() >= self.began.saturating_add(EARLIER_STARTS);
            return under_way == 0 && earlier_are_over;
        }
        let mut ending = JoinSet::new();
        for vm in active {
            let (driver, keeper) = (host.driver().clone(), Arc::clone(self));
            // All of them at once, as far as the driver lets them.
            ending.spawn(async move {
                let destroy = move |hypervisor: &dyn Hypervisor| match keeper.standing() {
                    Standing::RunOut => hypervisor.destroy(vm),
                    Standing::Unbound | Standing::Held { .. } => Ok(()),
                };
                let done = driver.call(CallKind::Ordinary, destroy).await;
                done.map_err(|error| (vm, chain(&error)))
            });
        }
        let mut all_ended = true;
        while let Some(ended) = ending.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err((vm, why))) => {
                    all_ended = false;
                    log::error!(MESSAGE_ID:% = messages::VM_NOT_DESTROYED, REEVE_VM:% = vm;
                        "VM {vm} cannot be destroyed, and this host's lease has run out: {why}");
                }
                Err(error) => {
                    all_ended = false;
                    log::error!(MESSAGE_ID:% = messages::VM_NOT_DESTROYED;
                        "a VM may not be destroyed, and this host's lease has run out: {error}");
                }
            }
        }
        if all_ended {
            // Whether it was enough is seen at once.
            self.changed.notify_one();
        }
        false
    }

    async fn nothing_runs(&self) -> bool {
        let Some(host) = self.host.get() else { return true };
        host.start_gate().under_way() == 0 && active(host).await.is_ok_and(|active| active.is_empty())
    }

    fn store(&self, lease: &Lease) {
        if let Err(error) = lease_file::keep(self.file.as_ref(), &self.boot, lease) {
            // The next life of the agent then goes by the shorter one before it.
            log::error!(MESSAGE_ID:% = messages::STATE_NOT_WRITTEN;
                "{} cannot be written: {error}", self.file.place());
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // What is inside changes in whole steps; a panic elsewhere cannot have left it half done.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the start gate asks. The keeper holds its host and not the other way round.
struct Permission(Weak<LeaseKeeper>);

impl StartPermission for Permission {
    fn may_start(&self) -> Result<(), String> {
        let Some(keeper) = self.0.upgrade() else { return Err("the agent is ending".to_owned()) };
        match keeper.standing() {
            Standing::Unbound | Standing::Held { .. } => Ok(()),
            Standing::RunOut => Err(
                "this host's lease has run out, and nothing is started before the coordinator has granted another"
                    .to_owned(),
            ),
        }
    }
}

/// Our VMs that have a QEMU, whatever it does.
async fn active(host: &Host) -> HypervisorResult<Vec<VmId>> {
    let domains = host.driver().call(CallKind::Ordinary, |hypervisor| hypervisor.domains()).await?;
    let runs = |state: &DomainState| !matches!(state, DomainState::Inactive(_));
    Ok(domains.own.iter().filter(|domain| runs(&domain.state)).map(|domain| domain.vm).collect())
}

#[cfg(test)]
#[path = "self_fencing_tests.rs"]
mod tests;
