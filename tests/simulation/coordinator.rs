//! Owns the simulated coordinator's machine: the real service, its agents' sessions and its waiting VMs, through as many
//! lives as it has.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_common::clock::Clock;
use reeve_coordinator::agents::serve_agent;
use reeve_coordinator::service::Service;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::clock::MachineClock;
use super::coordinator_side::Greeting;
use super::estate::Estate;
use super::network::Network;
use super::signal::Signal;
use super::store::{Disk, DiskDoor};
use super::trace::{Place, Trace, violated};

/// A life of the coordinator, for those who use it.
#[derive(Clone)]
pub struct Office {
    /// What it does.
    pub service: Service,
    dead: Signal<bool>,
}

impl Office {
    /// Waits for the end of this life.
    pub async fn death(&self) {
        self.dead.until(|dead| *dead).await;
    }
}

/// The coordinator's machine.
pub struct CoordinatorMachine {
    estate: &'static Estate,
    /// Its clock.
    pub clock: Arc<MachineClock>,
    /// Its disk.
    pub disk: Arc<Disk>,
    network: Arc<Network>,
    trace: Trace,
    office: Signal<Option<Office>>,
    life: Mutex<Option<Life>>,
    frozen: Signal<bool>,
}

struct Life {
    work: AbortHandle,
    door_closed: Arc<AtomicBool>,
    dead: Signal<bool>,
}

impl CoordinatorMachine {
    /// A machine on which no coordinator runs yet.
    #[must_use]
    pub fn new(estate: &'static Estate, disk: Arc<Disk>, network: Arc<Network>) -> Arc<Self> {
        let trace = network.trace.clone();
        Arc::new(Self {
            estate,
            clock: Arc::new(MachineClock::right()),
            disk,
            network,
            trace,
            office: Signal::new(None),
            life: Mutex::new(None),
            frozen: Signal::new(false),
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

    /// Starts a coordinator, unless one runs.
    pub fn start(self: &Arc<Self>) {
        let mut life = self.life();
        if life.is_some() {
            return;
        }
        self.trace.note(Place::Coordinator, "starts", None);
        let dead = Signal::new(false);
        let is_dead = dead.clone();
        let door_closed = Arc::new(AtomicBool::new(false));
        let door = Arc::new(DiskDoor::new(Arc::clone(&self.disk), Arc::clone(&door_closed)));
        let machine = Arc::clone(self);
        let work = tokio::spawn(async move { machine.run(door, is_dead).await }).abort_handle();
        *life = Some(Life { work, door_closed, dead });
    }

    async fn run(self: Arc<Self>, door: Arc<DiskDoor>, dead: Signal<bool>) {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let service = loop {
            let config = self.estate.config.clone();
            let authority = Arc::clone(&self.estate.authority);
            let store = Arc::clone(&door) as _;
            match Service::open(config, store, Arc::clone(&clock), authority).await {
                Ok(service) => break service,
                // The service manager starts it again.
                Err(error) => {
                    self.trace.tell(Place::Coordinator, "cannot start", reeve_coordinator::chain(&error));
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        };
        self.trace.tell(Place::Coordinator, "takes up its work", format!("epoch {}", service.epoch()));
        let (listener, mut greetings) = mpsc::unbounded_channel::<Greeting>();
        self.network.set_listener(Some(listener));
        self.network.disown();
        let office = Office { service: service.clone(), dead };
        self.office.change(|current| *current = Some(office));
        let mut tasks = JoinSet::new();
        tasks.spawn(service.clone().keep_placing());
        tasks.spawn(service.clone().keep_watching_hosts());
        tasks.spawn(service.clone().keep_working());
        tasks.spawn(service.clone().keep_failing_over());
        tasks.spawn(service.clone().keep_checkpoints());
        let mut connection = 0;
        while let Some(greeting) = greetings.recv().await {
            connection += 1;
            tasks.spawn(serve_agent(service.clone(), greeting, connection));
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
        self.trace.note(Place::Coordinator, "is killed", None);
        life.door_closed.store(true, Ordering::Relaxed);
        self.network.set_listener(None);
        self.network.vanish(None);
        self.office.change(|office| *office = None);
        life.dead.change(|dead| *dead = true);
        life.work.abort();
    }

    /// Stops the coordinator's process in the middle of whatever it does, or lets it go on.
    pub fn set_frozen(&self, frozen: bool) {
        self.trace.note(Place::Coordinator, if frozen { "is stopped" } else { "goes on" }, None);
        self.network.set_frozen(frozen);
        self.disk.set_frozen(frozen);
        self.frozen.change(|is_frozen| *is_frozen = frozen);
    }
}
