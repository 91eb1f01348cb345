//! Owns the coordinator's doings: what the API asks for and what agents report end up here, one method each.
//!
//! ```text
//!   API ──▶ Service ◀── agent sessions
//!             │ 1. decide, on values, under a lock held for microseconds (`core`)
//!             │ 2. make it durable (`store`)
//!             │ 3. show it, and only then tell the agents
//! ```
//!
//! Must not: speak HTTP or QUIC, or change a VM other than by the pure rules in `model`.

mod acting;
mod adopting;
#[cfg(test)]
pub(crate) mod arriving_tests;
mod auditing;
#[cfg(test)]
mod automatic_fencing_tests;
mod catalogue;
mod comparing;
pub(crate) mod core;
mod description;
mod draining;
mod drives;
mod error;
mod failing_over;
#[cfg(test)]
mod failing_over_tests;
mod fencing;
mod following;
mod hosts;
mod journals;
mod leases;
mod lives;
mod measuring;
mod observing;
mod oversight;
mod placing;
mod pulse;
mod reading;
mod realm_rules;
mod reconciling;
mod simulating;
mod starting;
mod starting_together;
mod status;
mod stopping;
mod succeeding;
#[cfg(test)]
mod succeeding_tests;
mod tokens;
mod views;
mod vm_index;
mod warnings;
mod workflows;
#[cfg(test)]
pub(crate) mod workflows_tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use reeve_common::clock::{Clock, Timestamp};
use reeve_common::ids::Epoch;
use reeve_common::mutation::Mutation;
use tokio::sync::{Notify, watch};

use self::auditing::AuditState;
use self::core::{Core, HostEntry, Kept, VmVersion};
use self::warnings::StandingWarning;
use crate::config::CoordinatorConfig;
use crate::fencing::{FenceCommands, Programs};
use crate::metrics::Recorder;
use crate::model::configuration::Configuration;
use crate::model::drive::Drive;
use crate::model::fence::Fence;
use crate::model::host::Host;
use crate::model::image::Image;
use crate::model::setup::Setup;
use crate::model::vm::Vm;
use crate::model::warning::Warning;
use crate::pki::{Authority, IssueError};
use crate::records::{self, Record};
use crate::recovery;
use crate::store::{Collection, CounterError, RecordError, Store, StoreError, Term};
use crate::workflow::Workflow;

pub(crate) use self::acting::Act;
pub use self::adopting::UnmanagedDomain;
pub use self::auditing::{AUDIT_PAGE_MAX, AuditVerification, WitnessView};
pub use self::comparing::{Comparison, Judgement};
pub use self::drives::NewDrive;
pub use self::error::{ErrorKind, ServiceError};
pub use self::fencing::FenceTrial;
pub use self::journals::HostJournal;
pub use self::oversight::{Booking, HostBooking};
pub use self::simulating::{AddedHosts, SimulatedHost, SimulationAnswer, SimulationQuestion, User};
pub use self::status::{HostCounts, Status};
pub use self::tokens::StoredTokens;
pub(crate) use self::tokens::agent_address;
pub use self::views::{HostView, JoinToken, ProfileView, RealmView, VmDetail, VmLog, VmView};
pub use self::warnings::OpenWarnings;
pub use self::workflows::WorkflowVersion;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Their user id on the coordinator's machine.
    pub uid: u32,
    /// Their user name, or the id as text.
    pub name: String,
}

/// Why the coordinator could not take up its work.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// A record cannot be understood.
    #[error("the store holds something that cannot be used")]
    Record(#[from] RecordError),
    /// The hosts have to be asked first.
    #[error(
        "the store waits for its recovery since {since}: run `reeve-coordinator recover`, which asks the hosts what is really there; VMs run on meanwhile"
    )]
    RecoveryPending {
        /// Since when.
        since: Timestamp,
    },
    /// The recovery's mark cannot be read.
    #[error("the store cannot be read")]
    Recovery(#[from] recovery::WritingError),
    /// The audit log could not be signed.
    #[error("the audit log's checkpoints cannot be signed")]
    Signer(#[from] IssueError),
    /// The term of office could not be advanced.
    #[error("the epoch cannot be advanced")]
    Epoch(#[from] CounterError),
}

/// The coordinator. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    config: RwLock<Arc<CoordinatorConfig>>,
    /// The store, as long as no other coordinator has taken it over.
    term: Term,
    clock: Arc<dyn Clock>,
    authority: Arc<Authority>,
    /// What is counted for whoever watches.
    metrics: Recorder,
    /// What fences hosts.
    fence_commands: Arc<dyn FenceCommands>,
    epoch: Epoch,
    audit: AuditState,
    started_at: Timestamp,
    /// The same on a clock that is never set.
    opened: Instant,
    core: Mutex<Core>,
    /// Held while a record of the catalogue or a host is being changed; VMs have a lock each.
    catalogue_writer: tokio::sync::Mutex<()>,
    /// Something happened that may let a waiting VM be placed.
    fleet_changed: Notify,
    /// Held while warnings are changed.
    warning_writer: tokio::sync::Mutex<()>,
    /// Held while a workflow is begun, taken further or cancelled: one after the other.
    workflow_writer: tokio::sync::Mutex<()>,
    /// Something happened that a workflow may wait for.
    workflow_due: Notify,
    token_round: tokens::Round,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Service").field("epoch", &self.inner.epoch).finish_non_exhaustive()
    }
}

impl Service {
    /// Takes up the work where the store left it, in a new epoch.
    ///
    /// # Errors
    /// [`OpenError`] when the store cannot be read or holds what this release does not understand. Nothing is guessed.
    pub async fn open(
        config: CoordinatorConfig,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        authority: Arc<Authority>,
    ) -> Result<Self, OpenError> {
        Self::open_with(config, store, clock, authority, Arc::new(Programs)).await
    }

    /// The same, with something of one's own that fences hosts.
    ///
    /// # Errors
    /// As [`Service::open`].
    pub async fn open_with(
        config: CoordinatorConfig,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        authority: Arc<Authority>,
        fence_commands: Arc<dyn FenceCommands>,
    ) -> Result<Self, OpenError> {
        if let Some(pending) = recovery::pending_recovery(store.as_ref()).await? {
            return Err(OpenError::RecoveryPending { since: pending.since });
        }
        let term = Term::begin(store).await?;
        let epoch = term.epoch();
        let (started_at, opened) = (clock.now(), clock.monotonic());
        let audit = AuditState::new(authority.checkpoint_signer()?);
        let mut core = Core::new();
        load(&term, &mut core, started_at).await?;
        let service = Self {
            inner: Arc::new(Inner {
                config: RwLock::new(Arc::new(config)),
                term,
                clock,
                authority,
                metrics: Recorder::default(),
                fence_commands,
                epoch,
                audit,
                started_at,
                opened,
                core: Mutex::new(core),
                catalogue_writer: tokio::sync::Mutex::new(()),
                fleet_changed: Notify::new(),
                warning_writer: tokio::sync::Mutex::new(()),
                workflow_writer: tokio::sync::Mutex::new(()),
                workflow_due: Notify::new(),
                token_round: tokens::Round::default(),
            }),
        };
        service.rebuild_fleet();
        Ok(service)
    }

    /// This coordinator's epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// Returns when it has shown that another coordinator has taken over: this one must stop.
    pub async fn deposed(&self) {
        self.inner.term.deposed().await;
    }

    /// Returns when the store cannot be gone on with: this coordinator must stop, since what it holds in memory may be
    /// something else than what is kept.
    pub async fn store_failed(&self) -> StoreError {
        self.inner.term.failed().await
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<CoordinatorConfig> {
        Arc::clone(&self.inner.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The certificate authority.
    #[must_use]
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.inner.authority)
    }

    /// Takes a new configuration into use and tells the hosts what of it concerns them.
    pub fn reconfigure(&self, config: CoordinatorConfig) {
        *self.inner.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.describe_all_hosts();
        self.apply_realm_rules();
        self.configure_agents();
        self.inner.fleet_changed.notify_one();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        // A panic under the lock is a bug; what it protects is rebuilt from the store at the next start, and
        // refusing all service until then would be worse than going on.
        self.inner.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> &dyn Store {
        &self.inner.term
    }

    /// Puts the hosts and what runs on them into the scheduler's picture.
    fn rebuild_fleet(&self) {
        self.describe_all_hosts();
        self.apply_realm_rules();
        let mut core = self.core();
        if Mutation::ForgetReservations.is_active() {
            return;
        }
        let holding: Vec<Arc<Vm>> = core.holding().filter(|vm| vm.holds_capacity()).collect();
        for vm in holding {
            if let Some(host) = vm.host {
                core.fleet.restore_with(vm.id, host, &vm.request, &vm.assignment);
            }
        }
    }
}

/// A service with a store in memory, a realm `r` and a profile `p`, and the directory that it lives in.
#[cfg(test)]
pub(crate) async fn test_service() -> (Service, tempfile::TempDir) {
    test_service_on(Arc::new(crate::store::MemoryStore::new())).await
}

/// The same with a store of the test's.
#[cfg(test)]
pub(crate) async fn test_service_on(store: Arc<dyn Store>) -> (Service, tempfile::TempDir) {
    use reeve_common::clock::SystemClock;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("coordinator.conf");
    let text = format!(
        "state-directory = {:?}\nadvertised-address = \"192.0.2.1\"\nrealms {{ r {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 4, memory = 8 GiB }} }}",
        directory.path()
    );
    std::fs::write(&file, text).unwrap();
    let (config, _) = crate::config::check(&file).unwrap_or_else(|errors| panic!("{errors}"));
    let authority = Authority::create(&config.pki_directory(), SystemClock.now()).unwrap();
    let service = Service::open(config, store, Arc::new(SystemClock), Arc::new(authority)).await.unwrap();
    (service, directory)
}

async fn records_of<T: Record>(store: &dyn Store, collection: Collection) -> Result<Vec<Kept<T>>, OpenError> {
    let mut records = Vec::new();
    for stored in store.list(collection.prefix()).await? {
        records.push(Kept { version: stored.version, value: Arc::new(T::decode(&stored)?) });
    }
    Ok(records)
}

async fn load(store: &dyn Store, core: &mut Core, opened: Timestamp) -> Result<(), OpenError> {
    for kept in records_of::<Host>(store, records::HOSTS).await? {
        core.hosts.insert(kept.value.id, HostEntry::new(kept, opened));
    }
    for kept in records_of::<Fence>(store, records::FENCES).await? {
        fencing::take_in(core, &kept, opened);
    }
    for kept in records_of::<Image>(store, records::IMAGES).await? {
        core.images.insert(kept.value.name.clone(), kept);
    }
    for kept in records_of::<Setup>(store, records::SETUPS).await? {
        core.setups.insert(kept.value.name.clone(), kept);
    }
    for kept in records_of::<Configuration>(store, records::CONFIGURATIONS).await? {
        core.configurations.insert(kept.value.name.clone(), kept);
    }
    for kept in records_of::<Drive>(store, records::DRIVES).await? {
        core.drives.insert(kept.value.name.clone(), kept);
    }
    for Kept { version, mut value } in records_of::<Vm>(store, records::VMS).await? {
        Arc::make_mut(&mut value).complete();
        core.take_in(VmVersion { version, vm: value }, true);
    }
    for kept in records_of::<Warning>(store, records::WARNINGS).await? {
        let standing = StandingWarning::new((*kept.value).clone(), kept.version);
        core.warnings.insert(kept.value.id(), standing);
    }
    for kept in records_of::<Workflow>(store, records::WORKFLOWS).await? {
        let current = WorkflowVersion { version: kept.version, workflow: kept.value };
        core.workflows.insert(current.workflow.id, watch::Sender::new(current));
    }
    for stored in store.last(records::PAST_VMS.prefix(), core::PAST_SHOWN).await? {
        core.past.push_back(VmVersion { version: stored.version, vm: Arc::new(Vm::decode(&stored)?) });
    }
    Ok(())
}
