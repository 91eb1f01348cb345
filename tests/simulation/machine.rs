//! Owns a simulated host: its hypervisor, its small files, its clock, and the real agent that lives and dies on it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::Result;
use reeve_agent::host::Host;
use reeve_agent::hypervisor::simulated::{
    GuestMode, GuestPace, PoolSetting, SimulatedHypervisor, SimulationSettings,
};
use reeve_agent::hypervisor::{EventReceiver, Hypervisor, HypervisorEvent, event_queue};
use reeve_agent::inventory::InventorySource;
use reeve_agent::lease::Standing;
use reeve_agent::sampler::SampleSource;
use reeve_agent::self_fencing::LeaseKeeper;
use reeve_agent::session::{AgentIdentity, CertificateRenewal, Session};
use reeve_agent::state_directory::StateDirectory;
use reeve_agent::steady_clock::SteadyClock;
use reeve_agent::vm::driver::Driver;
use reeve_agent::vm::workers::{Job, Work, Workers};
use reeve_common::clock::Clock;
use reeve_common::ids::{HostId, HostName, OperationId, PoolName, RealmName, VolumeName};
use reeve_common::inventory::HostInventory;
use reeve_common::storage::DiskFormat;
use reeve_common::units::Bytes;
use reeve_common::utilization::HostSample;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::agent_side::SimulatedDial;
use super::chance::Chance;
use super::checker::Checker;
use super::clock::{MachineBoot, MachineClock};
use super::estate::{DRIVE, DRIVES_POOL};
use super::fences::FenceManner;
use super::files::{Files, LeaseAmong};
use super::freeze::Freezer;
use super::network::{Network, Number};
use super::trace::{Place, Trace, violated};
use super::watchdog::Watchdog;

/// How often guests are looked after and the hypervisor's events are handed on, besides after each call.
const TICK: Duration = Duration::from_millis(300);
/// The calls an agent may make in one story. The busiest makes a few thousand: one that makes more goes round in circles.
const CALLS_MAX: u32 = 30_000;
/// As in the daemon.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// A host.
pub struct Machine {
    /// Which.
    pub host: HostId,
    /// Its hypervisor.
    pub hypervisor: Arc<SimulatedHypervisor>,
    /// Its clock.
    pub clock: Arc<MachineClock>,
    /// Its small files.
    pub files: Arc<Files>,
    /// Its name.
    pub name: HostName,
    pub(super) trace: Trace,
    boot: Arc<MachineBoot>,
    watchdog: Watchdog,
    freezer: Freezer,
    realm: RealmName,
    network: Arc<Network>,
    inside: Mutex<Inside>,
    checker: Arc<Checker>,
}

struct Inside {
    chance: Chance,
    agent: Option<Life>,
    /// So many more calls until the agent dies, and whether the last of them is still made.
    death: Option<(u32, bool)>,
    powered: bool,
    fence_manner: FenceManner,
    calls: u32,
}

/// One life of an agent.
struct Life {
    host: Host,
    state: Arc<StateDirectory>,
    lease: Arc<LeaseKeeper>,
    events: EventReceiver,
    dead: Arc<AtomicBool>,
    work: AbortHandle,
}

impl Machine {
    /// A host that has power and no agent yet.
    ///
    /// # Errors
    /// Never.
    pub fn new(
        host: HostId,
        name: HostName,
        realm: RealmName,
        seed: u64,
        network: Arc<Network>,
        checker: Arc<Checker>,
    ) -> Result<Arc<Self>> {
        let trace = network.trace.clone();
        // What a machine is like: not all have a watchdog, and no two clocks run alike.
        let mut nature = nature(seed, host);
        let watchdog = Watchdog::new(draw_watchdog(&mut nature).then(|| nature.milliseconds(0..=4000)));
        let boot = Arc::new(MachineBoot::new(u32::try_from(nature.within(0..=19)).unwrap_or_default()));
        let drive = (VolumeName::new(DRIVE)?, Bytes(1 << 30), DiskFormat::Qcow2);
        let pool = PoolSetting {
            name: PoolName::new(DRIVES_POOL)?,
            active: true,
            capacity: Bytes(1 << 40),
            volumes: vec![drive],
        };
        let pace = GuestPace { boot: Duration::from_secs(2), shutdown: Duration::from_secs(1) };
        let settings = SimulationSettings {
            guests: GuestMode::Automatic(pace),
            pools: vec![pool],
            ..SimulationSettings::default()
        };
        let hypervisor = Arc::new(SimulatedHypervisor::new(settings, Arc::new(MachineClock::right()))?);
        let inside = Inside {
            chance: Chance::new(seed, 100 + u64::from(host.0)),
            agent: None,
            death: None,
            powered: true,
            fence_manner: FenceManner::default(),
            calls: 0,
        };
        let machine = Arc::new(Self {
            host,
            hypervisor,
            clock: Arc::new(MachineClock::right()),
            files: Arc::default(),
            name,
            trace,
            boot,
            watchdog,
            freezer: Freezer::default(),
            realm,
            network,
            inside: Mutex::new(inside),
            checker,
        });
        tokio::spawn(tick(Arc::downgrade(&machine)));
        Ok(machine)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened: events are handed on, and whoever watches looks.
    fn settle(&self) {
        self.hypervisor.advance();
        let heard: Vec<(Host, HypervisorEvent)> = {
            let inside = self.inside();
            match &inside.agent {
                Some(life) if !self.freezer.is_frozen() => {
                    life.events.try_iter().map(|event| (life.host.clone(), event)).collect()
                }
                _ => Vec::new(),
            }
        };
        for (host, event) in heard {
            host.hear(&event);
        }
        self.checker.look();
    }

    /// What is destroyed because the lease has run out is what the realm asked for.
    fn excuse_if_run_out(&self) {
        let lease = self.inside().agent.as_ref().map(|life| Arc::clone(&life.lease));
        if lease.is_some_and(|lease| lease.standing() == Standing::RunOut) {
            self.checker.excuse_all_on(self.host);
        }
    }

    /// Starts an agent, unless one runs or there is no power.
    pub fn start_agent(self: &Arc<Self>) {
        let mut inside = self.inside();
        if inside.agent.is_some() || !inside.powered {
            return;
        }
        let state = match StateDirectory::on(Arc::clone(&self.files) as _) {
            Ok(state) => Arc::new(state),
            Err(error) => {
                violated(&self.trace, "an agent can read what it wrote", error.to_string());
                return;
            }
        };
        let (sender, events) = event_queue();
        self.hypervisor.subscribe(sender);
        let dead = Arc::new(AtomicBool::new(false));
        let workers = SimulatedWorkers { machine: Arc::downgrade(self), dead: Arc::clone(&dead) };
        let hypervisor: Arc<dyn Hypervisor> = Arc::clone(&self.hypervisor) as _;
        let driver = Driver::with_workers(hypervisor, Arc::clone(&state), Arc::new(workers));
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let steady = Arc::new(SteadyClock::of_this_boot(Arc::clone(&clock), self.boot.as_ref(), &state));
        let host = Host::with_driver(self.realm.clone(), driver, Arc::clone(&state), steady);
        let lease = LeaseKeeper::on(
            Arc::new(LeaseAmong(Arc::clone(&self.files))),
            Arc::clone(&self.boot) as _,
            Some(Arc::new(self.watchdog.clone())),
            inside.chance.number(),
        );
        lease.bind(&host);
        let session = Session {
            dial: SimulatedDial { network: Arc::clone(&self.network), host: self.host },
            identity: AgentIdentity {
                host: self.host,
                name: self.name.clone(),
                realm: self.realm.clone(),
                instance: OperationId::random(),
            },
            host: host.clone(),
            inventory: Arc::new(PlainInventory),
            samples: Arc::new(NoSamples),
            certificates: Arc::new(LastingCertificate),
            clock,
            seed: inside.chance.number(),
        };
        self.trace.note(Place::Host(self.host), "the agent starts", None);
        let (kept, keeper) = (host.clone(), Arc::clone(&lease));
        let work = tokio::spawn(self.freezer.work(async move {
            let talk = async {
                let _ = timeout(FIRST_LOOK, kept.compare()).await;
                tokio::join!(kept.keep_watch(), session.run());
            };
            tokio::join!(biased; keeper.keep(), talk);
        }));
        let work = work.abort_handle();
        inside.agent = Some(Life { host, state, lease, events, dead, work });
    }

    /// Ends the agent as `kill -9` does.
    pub fn kill_agent(&self) {
        let Some(life) = self.inside().agent.take() else { return };
        self.trace.note(Place::Host(self.host), "the agent is killed", None);
        life.dead.store(true, Ordering::Relaxed);
        // Its process is gone before its tasks are: nothing is said any more while they are dropped.
        self.network.vanish_agent(self.host);
        life.work.abort();
        life.host.let_go();
        self.checker.disturb(self.host);
        // Another process is not frozen.
        self.freezer.set_frozen(false);
        self.network.set_agent_frozen(self.host, false);
    }

    /// Ends the agent in good order, as `systemctl restart` does: the next starts after `pause`, and not before this one
    /// has ended, however long that takes one that is frozen.
    pub fn end_agent(self: &Arc<Self>, pause: Duration) {
        let (machine, next_start) = (Arc::clone(self), Instant::now() + pause);
        let lease = self.inside().agent.as_ref().map(|life| Arc::clone(&life.lease));
        if lease.is_some() {
            self.trace.note(Place::Host(self.host), "the agent is told to end", None);
        }
        tokio::spawn(async move {
            if let Some(lease) = lease {
                machine.freezer.work(lease.give_up()).await;
                let is_same =
                    machine.inside().agent.as_ref().is_some_and(|life| Arc::ptr_eq(&life.lease, &lease));
                if is_same {
                    machine.kill_agent();
                }
            }
            sleep_until(next_start).await;
            machine.start_agent();
        });
    }

    /// Stops the agent's process in the middle of whatever it does, or lets it go on.
    pub fn set_frozen(&self, frozen: bool) {
        if frozen == self.freezer.is_frozen() || (frozen && self.inside().agent.is_none()) {
            return;
        }
        self.trace.note(
            Place::Host(self.host),
            if frozen { "the agent is stopped" } else { "the agent goes on" },
            None,
        );
        self.network.set_agent_frozen(self.host, frozen);
        self.freezer.set_frozen(frozen);
        self.checker.disturb(self.host);
    }

    /// How the command that fences this host behaves.
    pub fn set_fence_manner(&self, manner: FenceManner) {
        self.inside().fence_manner = manner;
    }

    pub(super) fn fence_manner(&self) -> FenceManner {
        self.inside().fence_manner
    }

    /// Whether it has power.
    #[must_use]
    pub fn is_powered(&self) -> bool {
        self.inside().powered
    }

    /// It is switched off, and somebody switches it on again when they have seen to it.
    pub fn be_fenced(self: &Arc<Self>) {
        if self.is_powered() {
            self.trace.note(Place::Host(self.host), "is switched off", None);
            self.be_off_for(15_000..=60_000);
        }
    }

    fn be_off_for(self: &Arc<Self>, milliseconds: std::ops::RangeInclusive<u64>) {
        self.lose_power();
        let time = self.inside().chance.milliseconds(milliseconds);
        let machine = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            machine.power_up();
            machine.start_agent();
        });
    }

    /// Somebody tells a coordinator that this host is off, and it is on. Where its agent can answer that, nobody may
    /// believe it; where it cannot, nobody can tell, and its VMs may run twice.
    pub fn lied_about(&self, coordinator: Number) {
        let has_agent = self.inside().agent.is_some();
        self.checker
            .be_lied_to(self.host, has_agent && self.network.is_well_connected(self.host, coordinator));
    }

    /// The agent dies after so many more calls; `made`: the last of them still has its effect.
    pub fn die_after(&self, calls: u32, made: bool) {
        self.inside().death = Some((calls, made));
    }

    /// It does not die after all.
    pub fn forget_death(&self) {
        self.inside().death = None;
    }

    /// The power goes: nothing runs any more.
    pub fn lose_power(&self) {
        self.trace.note(Place::Host(self.host), "the power is lost", None);
        self.checker.excuse_all_on(self.host);
        self.kill_agent();
        self.inside().powered = false;
        self.watchdog.lose_power();
        self.hypervisor.set_reachable(false);
        self.hypervisor.lose_power();
    }

    /// The power is back, and libvirt runs.
    pub fn power_up(&self) {
        let was_off = !std::mem::replace(&mut self.inside().powered, true);
        if was_off {
            self.boot.boot();
        }
        self.hypervisor.set_reachable(true);
    }

    /// What keeps the agent from having nothing more to do, in words; none when it has nothing.
    #[must_use]
    pub fn unfinished(&self) -> Option<String> {
        let inside = self.inside();
        let Some(life) = &inside.agent else { return Some(format!("no agent runs on host {}", self.host)) };
        let (tombstones, preparations) = (life.state.tombstone_count(), life.state.preparations().len());
        let left = tombstones + preparations;
        (left > 0).then(|| {
            format!(
                "host {} still remembers {tombstones} VMs that are gone and {preparations} preparations",
                self.host
            )
        })
    }
}

/// What decides what a machine is like, in the order in which it is asked.
fn nature(seed: u64, host: HostId) -> Chance {
    Chance::new(seed, 300 + u64::from(host.0))
}

/// One in five has no watchdog.
const fn draw_watchdog(nature: &mut Chance) -> bool {
    !nature.permille(200)
}

/// Whether a host of this story has a watchdog.
#[must_use]
pub fn has_watchdog(seed: u64, host: HostId) -> bool {
    draw_watchdog(&mut nature(seed, host))
}

async fn tick(machine: Weak<Machine>) {
    loop {
        sleep(TICK).await;
        let Some(machine) = machine.upgrade() else { return };
        if machine.watchdog.bites() {
            machine.trace.note(Place::Host(machine.host), "its watchdog resets it", None);
            machine.be_off_for(5_000..=20_000);
        }
        machine.settle();
    }
}

/// Carries out an agent's calls in virtual time. What libvirt was asked it does, also when the agent dies meanwhile.
struct SimulatedWorkers {
    machine: Weak<Machine>,
    dead: Arc<AtomicBool>,
}

impl std::fmt::Debug for SimulatedWorkers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SimulatedWorkers").finish_non_exhaustive()
    }
}

impl Workers for SimulatedWorkers {
    fn give(&self, work: Work, job: Job) {
        let Some(machine) = self.machine.upgrade() else { return };
        let dead = Arc::clone(&self.dead);
        let (time, on_its_way) = {
            let mut inside = machine.inside();
            inside.calls += 1;
            if inside.calls >= CALLS_MAX {
                if inside.calls == CALLS_MAX {
                    let how = format!("the agent of host {} has made {CALLS_MAX} calls", machine.host);
                    violated(&machine.trace, "nothing goes round in circles", how);
                }
                return;
            }
            let slow = machine.files.is_slow() && work == Work::Memory;
            let chance = &mut inside.chance;
            let time = if slow {
                chance.milliseconds(100..=1500)
            } else if chance.permille(30) {
                chance.milliseconds(20..=800)
            } else {
                chance.milliseconds(0..=3)
            };
            (time, work != Work::Memory && chance.permille(500))
        };
        tokio::spawn(async move {
            sleep(time).await;
            if !on_its_way {
                machine.freezer.until_thawed().await;
            }
            if dead.load(Ordering::Relaxed) && !on_its_way {
                return;
            }
            let dies = {
                let mut inside = machine.inside();
                match &mut inside.death {
                    Some((0, made)) => {
                        let made = *made;
                        inside.death = None;
                        Some(made)
                    }
                    Some((left, _)) => {
                        *left -= 1;
                        None
                    }
                    None => None,
                }
            };
            machine.excuse_if_run_out();
            match dies {
                None => job(),
                Some(true) => {
                    job();
                    machine.kill_agent();
                }
                Some(false) => machine.kill_agent(),
            }
            machine.settle();
        });
    }
}

struct PlainInventory;

impl InventorySource for PlainInventory {
    fn current(&self) -> Pin<Box<dyn Future<Output = HostInventory> + Send + '_>> {
        let inventory = HostInventory {
            logical_cpus: 64,
            memory: reeve_common::units::Mebibytes(512 << 10),
            kvm_usable: true,
            ..HostInventory::default()
        };
        Box::pin(std::future::ready(inventory))
    }
}

struct NoSamples;

impl SampleSource for NoSamples {
    fn take<'a>(&'a self, _driver: &'a Driver) -> Pin<Box<dyn Future<Output = HostSample> + Send + 'a>> {
        Box::pin(std::future::ready(HostSample::default()))
    }
}

/// Certificates are not this simulation's matter.
struct LastingCertificate;

impl CertificateRenewal for LastingCertificate {
    fn is_due(&self) -> bool {
        false
    }

    fn request(&self) -> Result<String, String> {
        Err("certificates last in the simulation".to_owned())
    }

    fn install(&self, _certificate: &str) -> Result<(), String> {
        Err("certificates last in the simulation".to_owned())
    }
}
