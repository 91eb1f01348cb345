//! Owns a simulated host: its hypervisor, its small files, its clock, and the real agent that lives and dies on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
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
use reeve_agent::sampler::SampleSource;
use reeve_agent::session::{AgentIdentity, CertificateRenewal, Session};
use reeve_agent::state_directory::StateDirectory;
use reeve_agent::state_files::StateFiles;
use reeve_agent::steady_clock::SteadyClock;
use reeve_agent::vm::driver::Driver;
use reeve_agent::vm::workers::{Job, Work, Workers};
use reeve_common::clock::Clock;
use reeve_common::durable_file::FileError;
use reeve_common::ids::{HostId, HostName, OperationId, PoolName, RealmName, VolumeName};
use reeve_common::inventory::HostInventory;
use reeve_common::storage::DiskFormat;
use reeve_common::units::Bytes;
use reeve_common::utilization::HostSample;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::agent_side::SimulatedDial;
use super::chance::Chance;
use super::clock::MachineClock;
use super::estate::{DRIVE, DRIVES_POOL, host_name};
use super::network::Network;
use super::trace::{Place, Trace, violated};

/// How often guests are looked after and the hypervisor's events are handed on, besides after each call.
const TICK: Duration = Duration::from_millis(200);
/// The calls an agent may make in one story. The busiest makes a few thousand: one that makes more goes round in circles.
const CALLS_MAX: u32 = 30_000;
/// As in the daemon.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// What is called after each thing that happens on a machine.
pub type Watcher = Arc<dyn Fn() + Send + Sync>;

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
    name: HostName,
    realm: RealmName,
    network: Arc<Network>,
    trace: Trace,
    inside: Mutex<Inside>,
    watcher: Watcher,
}

struct Inside {
    chance: Chance,
    agent: Option<Life>,
    /// So many more calls until the agent dies, and whether the last of them is still made.
    death: Option<(u32, bool)>,
    powered: bool,
    calls: u32,
}

/// One life of an agent.
struct Life {
    host: Host,
    state: Arc<StateDirectory>,
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
        realm: RealmName,
        seed: u64,
        network: Arc<Network>,
        watcher: Watcher,
    ) -> Result<Arc<Self>> {
        let trace = network.trace.clone();
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
            calls: 0,
        };
        let machine = Arc::new(Self {
            host,
            hypervisor,
            clock: Arc::new(MachineClock::right()),
            files: Arc::default(),
            name: host_name(host)?,
            realm,
            network,
            trace,
            inside: Mutex::new(inside),
            watcher,
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
            let Some(life) = &inside.agent else { return (self.watcher)() };
            life.events.try_iter().map(|event| (life.host.clone(), event)).collect()
        };
        for (host, event) in heard {
            host.hear(&event);
        }
        (self.watcher)();
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
        let steady = Arc::new(SteadyClock::new(Arc::clone(&clock)));
        let host = Host::with_driver(self.realm.clone(), driver, Arc::clone(&state), steady);
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
        let kept = host.clone();
        let work = tokio::spawn(async move {
            let _ = timeout(FIRST_LOOK, kept.compare()).await;
            tokio::join!(kept.keep_watch(), session.run());
        });
        let work = work.abort_handle();
        inside.agent = Some(Life { host, state, events, dead, work });
    }

    /// Ends the agent as `kill -9` does.
    pub fn kill_agent(&self) {
        let Some(life) = self.inside().agent.take() else { return };
        self.trace.note(Place::Host(self.host), "the agent is killed", None);
        life.dead.store(true, Ordering::Relaxed);
        // Its process is gone before its tasks are: nothing is said any more while they are dropped.
        self.network.vanish(Some(self.host));
        life.work.abort();
        life.host.let_go();
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
        self.kill_agent();
        self.inside().powered = false;
        self.hypervisor.set_reachable(false);
        self.hypervisor.lose_power();
    }

    /// The power is back, and libvirt runs.
    pub fn power_up(&self) {
        self.inside().powered = true;
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

async fn tick(machine: Weak<Machine>) {
    loop {
        sleep(TICK).await;
        let Some(machine) = machine.upgrade() else { return };
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

/// A host's small files: what was replaced is on the disk, and outlives agents and power.
#[derive(Debug, Default)]
pub struct Files {
    files: Mutex<BTreeMap<String, String>>,
    full: AtomicBool,
    slow: AtomicBool,
}

impl Files {
    /// Fills the disk, or makes room.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Makes the disk slow, or quick again.
    pub fn set_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }
}

impl StateFiles for Files {
    fn read(&self, name: &str) -> Result<Option<String>, FileError> {
        Ok(self.files.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    fn replace(&self, name: &str, contents: &[u8]) -> Result<(), FileError> {
        if self.full.load(Ordering::Relaxed) {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(FileError::Io { path: self.place().join(name), doing: "writing", source });
        }
        let text = String::from_utf8_lossy(contents).into_owned();
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), text);
        Ok(())
    }

    fn place(&self) -> PathBuf {
        PathBuf::from("the simulated disk")
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
