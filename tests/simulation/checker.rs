//! Owns the rules that must hold after everything that happens. It looks at the simulated hosts themselves, never at what
//! they report, and compares that with the coordinator's books.
//!
//! | rule | how it is seen |
//! |---|---|
//! | no VM runs on two hosts, and none is started twice | QEMUs and starts, counted on all hosts |
//! | a drive has one writer | disks of all QEMUs on all hosts |
//! | what runs, or is there to run, holds its capacity on that host | domains against the books |
//! | nothing holds capacity that no VM has asked for | the books |
//! | what was acknowledged is kept | what users remember against the store |
//! | a VM that ran ends only by wish, by its QEMU's death, with its lease or its host's power | domains, over time |
//! | a host of which it is taken for proved that it runs nothing runs nothing | domains against the books |
//! | nothing of a host is restarted by itself while too many are silent | the books and workflows, over time |
//! | an emptied host is empty, a drain that was cancelled leaves its host open, and what was to be is started again | at rest |
//!
//! **Doubt.** When somebody says that a host is off, and it is on, and its agent cannot answer, nobody can know better, and
//! its VMs may run twice: the product says so, and the rules do not count for those VMs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use reeve_agent::hypervisor::simulated::{DomainInside, SimulatedHypervisor};
use reeve_common::ids::{HostId, PoolName, VmId};
use reeve_coordinator::model::failover::Brake;
use reeve_coordinator::model::vm::{Vm, Wish};
use reeve_coordinator::records::{PAST_VMS, Record, VMS};
use reeve_coordinator::service::{Booking, Service};
use reeve_coordinator::store::{MemoryStore, Store as _};
use reeve_coordinator::workflow::{Step, StepState, WorkflowId};
use tokio::time::Instant;

use super::estate::{DRIVE, VOLUMES_POOL};
use super::trace::{Trace, short, violated};

/// For so long after somebody was told a lie of a host it may be believed: a coordinator may be stopped meanwhile.
const LIE_COUNTS: Duration = Duration::from_secs(45);
/// What was begun before so much was silent is finished within this, also when the store is slow.
const BRAKING_DISTANCE: Duration = Duration::from_secs(15);

#[derive(Default)]
struct Memory {
    hosts: BTreeMap<HostId, Arc<SimulatedHypervisor>>,
    /// The domains as last seen, by host and VM: whether it ran, and its starts.
    seen: BTreeMap<(HostId, VmId), (bool, u32)>,
    /// How often each VM was started, anywhere.
    starts: BTreeMap<VmId, u32>,
    /// VMs that users know of, and whether they were promised that it stops.
    promised: BTreeMap<VmId, bool>,
    /// VMs whose end somebody or something other than the product has brought about.
    excused: BTreeSet<VmId>,
    /// Hosts that somebody wanted to be emptied: what was on them was stopped by wish.
    drained: BTreeSet<HostId>,
    /// Which hosts each VM has left, ever.
    left: BTreeMap<VmId, BTreeSet<HostId>>,
    /// Domains that do not run, on hosts of which that was proved: what a VM that was stopped meanwhile leaves there.
    proved_dead: BTreeSet<(HostId, VmId)>,
    /// VMs that may run twice, for nobody can know better.
    doubtful: BTreeSet<VmId>,
    /// Until when what is on a host becomes doubtful.
    in_doubt: BTreeMap<HostId, Instant>,
    /// When a lie was told of a host whose agent could disprove it.
    lies: BTreeMap<HostId, Instant>,
    /// Since when so much is silent that nothing is restarted by itself.
    braked_since: Option<Instant>,
    /// Failovers that have had their proof.
    proved: BTreeSet<WorkflowId>,
    service: Option<Service>,
    broken: bool,
}

/// Looks after each event.
pub struct Checker {
    memory: Mutex<Memory>,
    books: OnceLock<Box<dyn Fn() -> Option<Service> + Send + Sync>>,
    brake: Brake,
    trace: Trace,
}

impl Checker {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(brake: Brake, trace: Trace) -> Arc<Self> {
        Arc::new(Self { memory: Mutex::default(), books: OnceLock::new(), brake, trace })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a host more to look at.
    pub fn watch_host(&self, host: HostId, hypervisor: Arc<SimulatedHypervisor>) {
        self.memory().hosts.insert(host, hypervisor);
    }

    /// The coordinator whose books count from now on.
    pub fn watch_books(&self, service: Option<Service>) {
        self.memory().service = service;
    }

    /// A user was told that this VM is started.
    pub fn promise_start(&self, vm: VmId) {
        self.memory().promised.entry(vm).or_insert(false);
    }

    /// A user was told that this VM is being stopped.
    pub fn promise_stop(&self, vm: VmId) {
        self.memory().promised.insert(vm, true);
    }

    /// Whatever becomes of this VM from now on is not the product's doing.
    pub fn excuse(&self, vm: VmId) {
        self.memory().excused.insert(vm);
    }

    /// The same for all that run on a host.
    pub fn excuse_all_on(&self, host: HostId) {
        let mut memory = self.memory();
        let running: Vec<VmId> = memory.domains_on(host).into_iter().map(|domain| domain.vm).collect();
        memory.excused.extend(running);
    }

    /// Somebody wants a host to be emptied: what ends there from now on ends by wish.
    pub fn drain(&self, host: HostId) {
        self.memory().drained.insert(host);
    }

    /// Somebody was told that a host is off, and it is on. `answers`: its agent can disprove it.
    pub fn be_lied_to(&self, host: HostId, answers: bool) {
        if answers {
            self.memory().lies.insert(host, Instant::now());
        } else {
            self.doubt(host);
        }
    }

    /// Something goes wrong with a host that may have kept its agent from disproving a lie.
    pub fn disturb(&self, host: HostId) {
        if self.memory().lies.get(&host).is_some_and(|told| told.elapsed() < LIE_COUNTS) {
            self.doubt(host);
        }
    }

    fn doubt(&self, host: HostId) {
        self.trace.note(super::trace::Place::Host(host), "what runs there may run twice now", None);
        self.memory().in_doubt.insert(host, Instant::now() + LIE_COUNTS);
    }

    /// The coordinator was stopped meanwhile: what it had judged before it does now.
    pub fn forget_brake(&self) {
        self.memory().braked_since = None;
    }

    /// Looks at what is under way with lost hosts.
    pub fn look_at_failovers(&self) {
        let service = self.memory().service.clone();
        let Some(service) = service else { return self.forget_brake() };
        let hosts = service.host_bookings();
        let counted = || hosts.iter().filter(|host| host.counts);
        let silent = counted().filter(|host| host.is_silent).count();
        let is_braked = self.brake.judge(silent, counted().count()).is_some();
        let mut memory = self.memory();
        if is_braked {
            memory.braked_since.get_or_insert_with(Instant::now);
        } else {
            memory.braked_since = None;
        }
        let braked = memory.braked_since.is_some_and(|since| since.elapsed() >= BRAKING_DISTANCE);
        for current in service.workflows() {
            let proved = |record: &reeve_coordinator::workflow::StepRecord| {
                matches!(record.step, Step::ProveStopped { .. }) && record.state == StepState::Done
            };
            let steps = &current.workflow.steps;
            if steps.len() > 1
                && steps.first().is_some_and(proved)
                && memory.proved.insert(current.workflow.id)
                && braked
            {
                violated(
                    &self.trace,
                    BRAKED,
                    format!("{silent} hosts are silent, and workflow {} goes on", current.workflow.id),
                );
            }
        }
    }

    /// From where the books come when none are watched: a coordinator that has taken up its work may do much before
    /// anybody says that its books count.
    pub fn find_books_by(&self, books: impl Fn() -> Option<Service> + Send + Sync + 'static) {
        let _ = self.books.set(Box::new(books));
    }

    /// Looks at everything.
    pub fn look(&self) {
        let mut memory = self.memory();
        if memory.broken {
            return;
        }
        if memory.service.is_none() {
            memory.service = self.books.get().and_then(|books| books());
        }
        let broken = memory.look();
        memory.broken = !broken.is_empty();
        drop(memory);
        for (rule, how) in broken {
            violated(&self.trace, rule, how);
        }
    }

    /// Whether what users were told is in the store.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub async fn check_promises(&self, store: &MemoryStore) -> Result<()> {
        let mut kept = BTreeMap::new();
        for prefix in [VMS.prefix(), PAST_VMS.prefix()] {
            for stored in store.list(prefix).await? {
                let vm = Vm::decode(&stored)?;
                let stops = vm.state.is_final() || matches!(vm.wish, Wish::Stop { .. });
                kept.insert(vm.id, stops);
            }
        }
        let promised = self.memory().promised.clone();
        for (vm, stop) in promised {
            match kept.get(&vm) {
                None => violated(
                    &self.trace,
                    ACKNOWLEDGED,
                    format!("VM {} was acknowledged and is in no record", short(vm)),
                ),
                Some(false) if stop => violated(
                    &self.trace,
                    ACKNOWLEDGED,
                    format!("the stop of VM {} was acknowledged and is in no record", short(vm)),
                ),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// What is still to come before everything is as it should be, when nothing goes wrong any more; none when all is.
    #[must_use]
    pub fn unfinished(&self, service: &Service) -> Option<String> {
        let memory = self.memory();
        let bookings = service.bookings();
        let known: BTreeSet<HostId> = service.host_bookings().iter().map(|host| host.host).collect();
        if let Some(active) = service.workflows().iter().find(|current| !current.workflow.state.is_final()) {
            let workflow = &active.workflow;
            return Some(format!(
                "workflow {} ({}) is {}",
                workflow.id,
                workflow.purpose.as_str(),
                workflow.state.as_str()
            ));
        }
        for booking in &bookings {
            let vm = short(booking.vm);
            if let Some(host) = booking.left.iter().find(|host| known.contains(host)) {
                return Some(format!("VM {vm} is still to be cleared away from host {host}"));
            }
            let Some(state) = booking.state else {
                return Some(format!("capacity is held for VM {vm}, which is unknown"));
            };
            if booking.held_on != booking.host || !booking.durable {
                return Some(format!(
                    "VM {vm} is on {:?}, and its capacity is held on {:?}",
                    booking.host, booking.held_on
                ));
            }
            let Some(host) = booking.host else { continue };
            let running =
                memory.domains_on(host).iter().any(|domain| domain.vm == booking.vm && domain.running);
            if state != reeve_coordinator::model::vm_state::VmState::Running || !running {
                return Some(format!(
                    "VM {vm} is {state} on host {host}, and its domain is {}",
                    if running { "running" } else { "not running" }
                ));
            }
        }
        let Ok(pool) = PoolName::new(VOLUMES_POOL) else { return None };
        for (host, hypervisor) in memory.hosts.iter().filter(|(host, _)| known.contains(host)) {
            let here =
                |vm: VmId| bookings.iter().any(|booking| booking.vm == vm && booking.host == Some(*host));
            let domains = hypervisor.look_inside();
            if let Some(stray) = domains.iter().find(|domain| !here(domain.vm)) {
                return Some(format!("a domain of VM {} is left on host {host}", short(stray.vm)));
            }
            let used = |volume: &reeve_common::ids::VolumeName| {
                domains.iter().any(|domain| {
                    domain.disks.iter().any(|(pool, disk)| pool.as_str() == VOLUMES_POOL && disk == volume)
                })
            };
            if let Some(stray) = hypervisor.volumes_inside(&pool).into_iter().find(|volume| !used(volume)) {
                return Some(format!("the disk {stray} is left on host {host}"));
            }
        }
        None
    }
}

/// The system disks of VMs that only read the drive are called so.
const READER: &str = "reader-";

const TWICE: &str = "no VM runs twice";
const WRITERS: &str = "a drive has one writer";
const HELD: &str = "what is there holds its capacity";
const ASKED: &str = "what is held was asked for";
const ACKNOWLEDGED: &str = "what was acknowledged is kept";
const PROVED: &str = "what is proved to have stopped has stopped";
const BRAKED: &str = "nothing is restarted by itself while too many are silent";
const ENDS: &str = "a VM ends by wish or by misfortune";

impl Memory {
    fn domains_on(&self, host: HostId) -> Vec<DomainInside> {
        self.hosts.get(&host).map(|hypervisor| hypervisor.look_inside()).unwrap_or_default()
    }

    /// Takes in what the books say of VMs that have left hosts, and what is in doubt.
    fn follow_moves(&mut self, bookings: Option<&BTreeMap<VmId, Booking>>) {
        for booking in
            bookings.into_iter().flat_map(BTreeMap::values).filter(|booking| !booking.left.is_empty())
        {
            self.left.entry(booking.vm).or_default().extend(&booking.left);
        }
        let now = Instant::now();
        self.in_doubt.retain(|_, until| *until > now);
        let doubted: Vec<HostId> = self.in_doubt.keys().copied().collect();
        for host in doubted {
            self.doubtful.extend(self.domains_on(host).into_iter().map(|domain| domain.vm));
            let booked = bookings.into_iter().flat_map(BTreeMap::values);
            self.doubtful
                .extend(booked.filter(|booking| booking.host == Some(host)).map(|booking| booking.vm));
        }
        let drained: Vec<HostId> = self.drained.iter().copied().collect();
        for host in drained {
            self.excused.extend(self.domains_on(host).into_iter().map(|domain| domain.vm));
        }
    }

    fn has_left(&self, vm: VmId, host: HostId) -> bool {
        self.left.get(&vm).is_some_and(|hosts| hosts.contains(&host))
    }

    fn look(&mut self) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        let mut running: BTreeMap<VmId, HostId> = BTreeMap::new();
        let mut writer: Option<(VmId, HostId)> = None;
        let mut reading: Option<VmId> = None;
        let mut now = BTreeMap::new();
        let bookings: Option<BTreeMap<VmId, Booking>> = self
            .service
            .as_ref()
            .map(|service| service.bookings().into_iter().map(|booking| (booking.vm, booking)).collect());
        self.follow_moves(bookings.as_ref());
        let released: BTreeSet<HostId> = {
            let hosts = self.service.as_ref().map(Service::host_bookings).unwrap_or_default();
            hosts.iter().filter(|host| host.is_released).map(|host| host.host).collect()
        };
        for (host, hypervisor) in &self.hosts {
            for domain in hypervisor.look_inside() {
                let DomainInside { vm, running: runs, starts, disks } = domain;
                let is_doubtful = self.doubtful.contains(&vm);
                if runs && !is_doubtful && released.contains(host) {
                    broken.push((PROVED, format!("VM {} runs on host {host}, which is released", short(vm))));
                }
                let (ran, before) = self.seen.get(&(*host, vm)).copied().unwrap_or_default();
                if starts > before {
                    let all = self.starts.entry(vm).or_default();
                    *all += starts - before;
                    let moves = self.left.get(&vm).map_or(0, BTreeSet::len);
                    if usize::try_from(*all).is_ok_and(|all| all > 1 + moves) && !is_doubtful {
                        broken.push((
                            TWICE,
                            format!("VM {} was started {all} times, last on host {host}", short(vm)),
                        ));
                    }
                }
                let is_excused = is_doubtful || self.excused.contains(&vm);
                if ran && !runs && self.promised.get(&vm) == Some(&false) && !is_excused {
                    broken.push((
                        ENDS,
                        format!("VM {} was ended on host {host}, and nobody wished it", short(vm)),
                    ));
                }
                now.insert((*host, vm), (runs, starts));
                if !runs && released.contains(host) {
                    self.proved_dead.insert((*host, vm));
                } else if runs {
                    self.proved_dead.remove(&(*host, vm));
                }
                if let Some(bookings) = &bookings {
                    let held = bookings.get(&vm).and_then(|booking| booking.held_on);
                    // Where it was before, or was stopped by the proof that nothing runs there, something of it is left
                    // until its host has cleared it up.
                    let is_leftover =
                        !runs && (self.has_left(vm, *host) || self.proved_dead.contains(&(*host, vm)));
                    if held != Some(*host) && !is_leftover && !is_doubtful {
                        let held =
                            held.map_or_else(|| "nowhere".to_owned(), |held| format!("on host {held}"));
                        broken.push((
                            HELD,
                            format!("VM {} is on host {host}, and its capacity is held {held}", short(vm)),
                        ));
                    }
                }
                if !runs || is_doubtful {
                    continue;
                }
                if let Some(other) = running.insert(vm, *host) {
                    broken.push((TWICE, format!("VM {} runs on hosts {other} and {host}", short(vm))));
                }
                if !disks.iter().any(|(_, volume)| volume.as_str() == DRIVE) {
                    continue;
                }
                // A VM's disk is called after its configuration; users may know nothing of the VM.
                let reads = disks.iter().any(|(_, volume)| volume.as_str().starts_with(READER));
                if let Some((other, there)) = writer {
                    broken.push((
                        WRITERS,
                        format!(
                            "VM {} on host {there} writes the drive, and VM {} on host {host} uses it",
                            short(other),
                            short(vm)
                        ),
                    ));
                } else if let Some(other) = reading.filter(|_| !reads) {
                    broken.push((
                        WRITERS,
                        format!(
                            "VM {} reads the drive, and VM {} on host {host} writes it",
                            short(other),
                            short(vm)
                        ),
                    ));
                }
                if reads {
                    reading = Some(vm);
                } else {
                    writer = Some((vm, *host));
                }
            }
        }
        self.seen = now;
        for booking in bookings.iter().flat_map(BTreeMap::values) {
            let vm = short(booking.vm);
            match (booking.state, booking.host, booking.held_on) {
                (None, _, Some(host)) => broken
                    .push((ASKED, format!("capacity is held on host {host} for VM {vm}, which is unknown"))),
                (Some(state), _, _) if state.is_final() => {
                    broken.push((ASKED, format!("VM {vm} is over and still among the living")))
                }
                (Some(_), Some(host), held) if held != Some(host) => broken.push((
                    HELD,
                    format!("VM {vm} is placed on host {host}, and its capacity is held on {held:?}"),
                )),
                _ => {}
            }
        }
        broken
    }
}
