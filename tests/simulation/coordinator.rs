//! Owns a simulated coordinator's machine: the real service, its agents' sessions and its waiting VMs, through as many
//! lives as it has. One that finds out that another has followed it ends, as the daemon does.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_common::clock::Clock;
use reeve_coordinator::agents::serve_agent;
use reeve_coordinator::service::Service;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::chance::Chance;
use super::clock::MachineClock;
use super::coordinator_side::Greeting;
use super::estate::{Care, Estate};
use super::fences::SimulatedFences;
use super::freeze::Freezer;
use super::network::{Network, Number};
use super::park::Park;
use super::signal::Signal;
use super::store::{Disk, DiskDoor};
use super::trace::{Place, Trace, violated};

/// A life of the coordinator, for those who use it.
#[derive(Clone)]
pub struct Office {
    /// What it does.
    pub service: Service,
    /// Which coordinator's.
    pub number: Number,
    dead: Signal<bool>,
}

impl Office {
    /// Waits for the end of this life.
    pub async fn death(&self) {
        self.dead.until(|dead| *dead).await;
    }
}

/// What every coordinator of a story has.
#[derive(Clone)]
pub struct Surroundings {
    /// What there is at first.
    pub estate: &'static Estate,
    /// How the realm takes care of its lost hosts.
    pub care: Care,
    /// The story's seed.
    pub seed: u64,
    /// The network.
    pub network: Arc<Network>,
    /// All hosts.
    pub park: Park,
}

/// A coordinator's machine.
pub struct CoordinatorMachine {
    /// Which of those that there are.
    pub number: Number,
    surroundings: Surroundings,
    /// Its clock.
    pub clock: Arc<MachineClock>,
    /// Its disk.
    pub disk: Arc<Disk>,
    trace: Trace,
    office: Signal<Option<Office>>,
    life: Mutex<Option<Life>>,
    lives: AtomicU64,
    /// Another has followed it: it is not started any more.
    followed: AtomicBool,
    frozen: Signal<bool>,
    freezer: Freezer,
}

struct Life {
    work: AbortHandle,
    door_closed: Arc<AtomicBool>,
    dead: Signal<bool>,
}

impl CoordinatorMachine {
    /// A machine on which no coordinator runs yet.
    #[must_use]
    pub fn new(number: Number, surroundings: Surroundings, disk: Arc<Disk>) -> Arc<Self> {
        let trace = surroundings.network.trace.clone();
        Arc::new(Self {
            number,
            surroundings,
            clock: Arc::new(MachineClock::right()),
            disk,
            trace,
            office: Signal::new(None),
            life: Mutex::new(None),
            lives: AtomicU64::new(0),
            followed: AtomicBool::new(false),
            frozen: Signal::new(false),
            freezer: Freezer::default(),
        })
    }

    fn life(&self) -> MutexGuard<'_, Option<Life>> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life there is now, once it has taken up its work.
    #[must_use]
    pub fn office(&self) -> Option<Office> {
        self.office.get()
    }

    /// Waits until a coordinator is there and answers.
    pub async fn until_open(&self) -> Option<Office> {
        self.frozen.until(|frozen| !frozen).await;
        self.office.until(Option::is_some).await
    }

    /// Another takes over; this one runs on until it finds out or is ended, and is not started again.
    pub fn be_followed(&self) {
        self.followed.store(true, Ordering::Relaxed);
    }

    /// Starts a coordinator, unless one runs or another has taken over.
    pub fn start(self: &Arc<Self>) {
        let mut life = self.life();
        if life.is_some() || self.followed.load(Ordering::Relaxed) {
            return;
        }
        self.trace.tell(Place::Coordinator, "starts", format!("number {}", self.number));
        let dead = Signal::new(false);
        let is_dead = dead.clone();
        let door_closed = Arc::new(AtomicBool::new(false));
        let door = Arc::new(DiskDoor::new(Arc::clone(&self.disk), Arc::clone(&door_closed)));
        let chance = Chance::new(
            self.surroundings.seed,
            400 + u64::from(self.number) * 100 + self.lives.fetch_add(1, Ordering::Relaxed),
        );
        let fences = SimulatedFences {
            coordinator: self.number,
            park: self.surroundings.park.clone(),
            chance: Mutex::new(chance),
            dead: Arc::clone(&door_closed),
            freezer: self.freezer.clone(),
        };
        let machine = Arc::clone(self);
        let work = tokio::spawn(async move { machine.run(door, Arc::new(fences), is_dead).await });
        let work = work.abort_handle();
        *life = Some(Life { work, door_closed, dead });
    }

    /// Opens the service; the service manager tries again until it can.
    async fn open(&self, door: &Arc<DiskDoor>, fences: &Arc<SimulatedFences>) -> Service {
        let Surroundings { estate, care, .. } = &self.surroundings;
        loop {
            let (clock, store): (Arc<dyn Clock>, _) = (Arc::clone(&self.clock) as _, Arc::clone(door) as _);
            let opened = match estate.config(*care) {
                Ok(config) => {
                    let (authority, fences) = (Arc::clone(&estate.authority), Arc::clone(fences) as _);
                    let opened = Service::open_with(config.clone(), store, clock, authority, fences).await;
                    opened.map_err(|error| reeve_coordinator::chain(&error))
                }
                Err(error) => Err(error.to_string()),
            };
            match opened {
                Ok(service) => return service,
                Err(why) => {
                    self.trace.tell(Place::Coordinator, "cannot start", why);
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn run(self: Arc<Self>, door: Arc<DiskDoor>, fences: Arc<SimulatedFences>, dead: Signal<bool>) {
        let service = self.open(&door, &fences).await;
        self.trace.tell(Place::Coordinator, "takes up its work", format!("epoch {}", service.epoch()));
        let (listener, mut greetings) = mpsc::unbounded_channel::<Greeting>();
        let network = &self.surroundings.network;
        network.set_listener(self.number, Some(listener));
        network.disown(self.number);
        let office = Office { service: service.clone(), number: self.number, dead };
        self.office.change(|current| *current = Some(office));
        let mut tasks = JoinSet::new();
        let freezer = &self.freezer;
        tasks.spawn(freezer.work(service.clone().keep_placing()));
        tasks.spawn(freezer.work(service.clone().keep_watching_hosts()));
        tasks.spawn(freezer.work(service.clone().keep_working()));
        tasks.spawn(freezer.work(service.clone().keep_failing_over()));
        tasks.spawn(freezer.work(service.clone().keep_checkpoints()));
        tasks.spawn({
            let (machine, service) = (Arc::clone(&self), service.clone());
            freezer.work(async move {
                service.deposed().await;
                machine.trace.tell(
                    Place::Coordinator,
                    "finds that it was followed",
                    machine.number.to_string(),
                );
                machine.kill();
            })
        });
        let mut connection = 0;
        while let Some(greeting) = greetings.recv().await {
            connection += 1;
            tasks.spawn(freezer.work(serve_agent(service.clone(), greeting, connection)));
            while let Some(ended) = tasks.try_join_next() {
                if ended.is_err_and(|error| error.is_panic()) {
                    violated(&self.trace, "nothing panics", "a task of the coordinator has");
                }
            }
        }
    }

    /// Ends the coordinator as `kill -9` does.
    pub fn kill(&self) {
        let Some(life) = self.life().take() else { return };
        self.trace.tell(Place::Coordinator, "is gone", format!("number {}", self.number));
        life.door_closed.store(true, Ordering::Relaxed);
        self.surroundings.network.set_listener(self.number, None);
        self.surroundings.network.vanish_coordinator(self.number);
        self.office.change(|office| *office = None);
        life.dead.change(|dead| *dead = true);
        life.work.abort();
    }

    /// Stops the coordinator's process in the middle of whatever it does, or lets it go on.
    pub fn set_frozen(&self, frozen: bool) {
        self.trace.note(Place::Coordinator, if frozen { "is stopped" } else { "goes on" }, None);
        self.surroundings.network.set_frozen(self.number, frozen);
        self.disk.set_frozen(frozen);
        self.freezer.set_frozen(frozen);
        self.frozen.change(|is_frozen| *is_frozen = frozen);
    }
}
