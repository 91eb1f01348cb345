//! Owns the hypervisor that runs real VMs: libvirt's QEMU driver, through the `virt` crate. No other part of the
//! product names that crate.
//!
//! Must not: decide anything the agent decides. Here the trait's calls are let into their lanes, each with its limit;
//! what they do is in the files below.
//!
//! ```text
//!   trait calls ─▶ lanes ─▶ connection ─▶ libvirtd            connection.rs  lanes.rs  failure.rs
//!                    │                        │
//!   domains.rs  foreign.rs  storage.rs        └─ events ─▶ ffi.rs ─▶ events.rs ─▶ the agent
//!   console.rs  guest_agent.rs  statistics.rs  capabilities.rs  examination.rs (event_loop.rs) ▲
//!   kvm_probe.rs  lock_probe.rs ── what has to be tried                                           │
//!   sizes.rs (asking_turns.rs) ── what libvirt does not tell ────────────────────────────────────┘
//!   saved_definitions.rs ── the kernel's hints at it
//!   pure: domain_xml.rs  probe_domain.rs  foreign_xml.rs  host_xml.rs  volume_xml.rs  image_header.rs
//!         definition_folders.rs
//! ```

mod asking_turns;
mod capabilities;
mod connection;
mod console;
mod definition_folders;
mod domain_xml;
mod domains;
mod event_loop;
mod events;
mod examination;
mod failure;
#[allow(unsafe_code)] // what `virt` lacks has to be called as C; each block says why it is sound
mod ffi;
mod foreign;
mod foreign_xml;
mod guest_agent;
mod host_xml;
mod image_header;
mod kvm_probe;
mod lanes;
mod lock_probe;
mod probe_domain;
mod saved_definitions;
mod sizes;
mod statistics;
mod storage;
mod volume_xml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reeve_common::clock::Clock;
use reeve_common::ids::{PoolName, VmId, VolumeName};
use reeve_common::logging::messages;
use reeve_common::storage::{LockManager, NewVolume, PoolReport, Volume};
use reeve_common::utilization::VmSample;
use reeve_common::vm::{DomainDisk, ForeignDomain, VirtType, VmSpec};

pub use capabilities::{KvmTrust, ProbeEnd};
pub use connection::ConnectionError;
pub use definition_folders::DefinitionFolders;
pub use event_loop::EventLoopError;
pub use examination::Examined;

use super::ledger_xml::UnreadableLedger;
use super::{Domains, EventSender, Hypervisor, HypervisorFacts, HypervisorResult, LedgerEntry, OwnDomain};
use capabilities::KvmVerdict;
use connection::Connection;
use domains::{Ownership, Seen};
use lanes::{CallKind, Lane};
use lock_probe::LockVerdict;
use saved_definitions::SavedDefinitions;
use storage::JudgedImages;

/// libvirt answers what it knows by itself at once; half a minute is its own patience with a busy domain.
const SHORT: Duration = Duration::from_secs(40);
/// QEMU's start: libvirt gives it half a minute and more for much memory; destroying takes up to as long.
const START: Duration = Duration::from_secs(120);
/// Filling a volume of hundreds of GiB.
const FILL: Duration = Duration::from_secs(1800);
/// Listing a large pool on a slow network.
const LIST: Duration = Duration::from_secs(120);
/// Statistics are taken every few seconds; late ones are worth nothing.
const SAMPLE: Duration = Duration::from_secs(10);
/// Pressing the power button and hearing the guest agent out.
const SHUTDOWN: Duration = Duration::from_secs(30);
/// What a ping takes besides its patience: libvirt first makes sure that the agent is in step, with a limit of 5 s.
const PING_OVERHEAD: Duration = Duration::from_secs(10);
/// Pools are looked at anew at most so often; in between, libvirt's own book-keeping is good enough.
const POOL_REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// How long the host's description waits for the verdict on KVM: a guest under working KVM needs a second.
const VERDICT_PATIENCE_FACTS: Duration = Duration::from_secs(3);
/// How long defining a VM waits for it: the probe's own limit and its overhead.
const VERDICT_PATIENCE_DEFINE: Duration = Duration::from_secs(15);
/// Domains whose spoilt ledger has been logged; beyond this many it is logged again.
const REPORTED_MAX: usize = 1024;

const fn quick(doing: &'static str) -> CallKind {
    CallKind { doing, lane: Lane::Quick, limit: SHORT }
}

/// How libvirt is reached.
#[derive(Debug, Clone)]
pub struct LibvirtSettings {
    /// Such as `qemu:///system` or `qemu+unix:///system?socket=PATH`.
    pub uri: String,
    /// Whether `Auto` may mean KVM.
    pub kvm: KvmTrust,
    /// Whether it is found out by itself if there is a lock manager, with a guest that is started and ended.
    pub looks_for_lock_manager: bool,
    /// Where it saves its domains' definitions; `None` stands for where the libvirt of that URI usually does.
    pub definition_folders: Option<DefinitionFolders>,
}

impl Default for LibvirtSettings {
    fn default() -> Self {
        Self {
            uri: "qemu:///system".to_owned(),
            kvm: KvmTrust::default(),
            looks_for_lock_manager: true,
            definition_folders: None,
        }
    }
}

/// libvirt on this host.
pub struct LibvirtHypervisor {
    connection: Arc<Connection>,
    kvm: Arc<KvmVerdict>,
    lock_manager: Arc<LockVerdict>,
    clock: Arc<dyn Clock>,
    judged_images: Arc<JudgedImages>,
    /// Whether a running domain is ours, so that statistics need not ask for each.
    running: Arc<Mutex<BTreeMap<VmId, bool>>>,
    reported: Mutex<BTreeSet<VmId>>,
    pools_refreshed: Mutex<BTreeMap<PoolName, Instant>>,
}

impl fmt::Debug for LibvirtHypervisor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LibvirtHypervisor").finish_non_exhaustive()
    }
}

impl LibvirtHypervisor {
    /// Starts to connect. A libvirt that cannot be reached is no error: calls say so until it can.
    ///
    /// # Errors
    /// The URI is none, or threads cannot be started.
    pub fn start(settings: &LibvirtSettings, clock: Arc<dyn Clock>) -> Result<Self, ConnectionError> {
        let connection = Arc::new(Connection::start(&settings.uri)?);
        let kvm = Arc::new(KvmVerdict::default());
        kvm.pursue(settings.kvm, &connection).map_err(ConnectionError::Thread)?;
        let lock_manager = Arc::new(LockVerdict::default());
        if settings.looks_for_lock_manager {
            lock_manager.pursue(&connection).map_err(ConnectionError::Thread)?;
        }
        let folders = settings.definition_folders.clone();
        let folders = folders.unwrap_or_else(|| saved_definitions::usual_folders(&settings.uri));
        sizes::watch(&connection, SavedDefinitions::new(folders), Arc::clone(&clock))
            .map_err(ConnectionError::Thread)?;
        Ok(Self {
            connection,
            kvm,
            lock_manager,
            clock,
            judged_images: Arc::default(),
            running: Arc::default(),
            reported: Mutex::default(),
            pools_refreshed: Mutex::default(),
        })
    }

    /// Runs the guest by which KVM is proven, under a domain type of the caller's choice (`kvm`, `qemu`), and tells how
    /// it ended.
    ///
    /// # Errors
    /// As for all calls; among them that no pool of files is started.
    pub fn probe(&self, domain_type: &'static str) -> HypervisorResult<ProbeEnd> {
        capabilities::run_probe(&self.connection, domain_type)
    }

    /// Finds out now whether libvirt's lock manager is on, with a guest that is started and ended.
    ///
    /// # Errors
    /// As for all calls; among them that no guest can be started.
    pub fn try_lock_manager(&self) -> HypervisorResult<LockManager> {
        lock_probe::try_out(&self.connection)
    }

    /// What the doctor asks.
    ///
    /// # Errors
    /// As for all calls.
    pub fn examine(&self) -> HypervisorResult<Examined> {
        self.connection.call(quick("looking at libvirt"), examination::examine)
    }

    fn uses_kvm(&self, wanted: VirtType) -> bool {
        match wanted {
            VirtType::Kvm => true,
            VirtType::Qemu => false,
            // While libvirt is away there is nothing to wait for: the call will say so.
            VirtType::Auto => self.connection.is_up() && self.kvm.is_usable_within(VERDICT_PATIENCE_DEFINE),
        }
    }

    /// Says once of each domain that its ledger is spoilt.
    fn report_unreadable(&self, vm: VmId, why: &UnreadableLedger) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() >= REPORTED_MAX {
            reported.clear();
        }
        if reported.insert(vm) {
            log::warn!(MESSAGE_ID:% = messages::LEDGER_SPOILT, REEVE_VM:% = vm;
                "the domain {vm} has a ledger entry that cannot be used, so it is left alone: {why}");
        }
    }

    /// Whether one of these pools has not been looked at for a while; if so they all count as looked at now.
    fn is_refresh_due(&self, names: &[PoolName]) -> bool {
        let now = self.clock.monotonic();
        let mut refreshed = self.pools_refreshed.lock().unwrap_or_else(PoisonError::into_inner);
        refreshed.retain(|_, at| now.saturating_duration_since(*at) < POOL_REFRESH_INTERVAL);
        let due = names.iter().any(|name| !refreshed.contains_key(name));
        if due {
            refreshed.extend(names.iter().map(|name| (name.clone(), now)));
        }
        due
    }
}

impl Hypervisor for LibvirtHypervisor {
    fn subscribe(&self, events: EventSender) {
        self.connection.subscribe(events);
    }

    fn facts(&self) -> HypervisorResult<HypervisorFacts> {
        // While libvirt is away there is nothing to wait for: the call will say so.
        let usable = self.connection.is_up() && self.kvm.is_usable_within(VERDICT_PATIENCE_FACTS);
        let automatic_virt_type = if usable { VirtType::Kvm } else { VirtType::Qemu };
        let kind = quick("asking for the host's description");
        self.connection.call(kind, move |connect| capabilities::facts(connect, automatic_virt_type))
    }

    fn lock_manager(&self) -> LockManager {
        self.lock_manager.get()
    }

    fn domains(&self) -> HypervisorResult<Domains> {
        let seen = self.connection.call(quick("listing the domains"), domains::list)?;
        Ok(domains::sort(seen, |vm, why| self.report_unreadable(vm, why)))
    }

    fn domain(&self, vm: VmId) -> HypervisorResult<Option<OwnDomain>> {
        let kind = quick("looking at the domain");
        match self.connection.call(kind, move |connect| domains::find(connect, vm))? {
            Some(Seen::Own(own)) => Ok(Some(own)),
            Some(Seen::Foreign(_, why)) => {
                if let Some(why) = why {
                    self.report_unreadable(vm, &why);
                }
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn define(&self, vm: VmId, spec: &VmSpec, ledger: &LedgerEntry) -> HypervisorResult<()> {
        let kvm = self.uses_kvm(spec.virt_type);
        let (spec, ledger) = (spec.clone(), ledger.clone());
        self.connection.call(quick("defining the domain"), move |connect| {
            domains::define(connect, vm, &spec, &ledger, kvm)
        })
    }

    fn write_ledger(&self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()> {
        let ledger = ledger.clone();
        let kind = quick("writing the ledger");
        self.connection.call(kind, move |connect| domains::write_ledger(connect, vm, &ledger))
    }

    fn describe_foreign(&self, id: VmId) -> HypervisorResult<Option<(ForeignDomain, Vec<DomainDisk>)>> {
        self.connection.call(quick("looking at the domain"), move |connect| foreign::describe(connect, id))
    }

    fn adopt(&self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()> {
        let ledger = ledger.clone();
        self.connection
            .call(quick("adopting the domain"), move |connect| foreign::adopt(connect, vm, &ledger))
    }

    fn release(&self, vm: VmId) -> HypervisorResult<()> {
        self.connection.call(quick("releasing the domain"), move |connect| foreign::release(connect, vm))
    }

    fn start(&self, vm: VmId) -> HypervisorResult<()> {
        let kind = CallKind { doing: "starting the domain", lane: Lane::Quick, limit: START };
        self.connection.call(kind, move |connect| domains::start(connect, vm))
    }

    fn shutdown(&self, vm: VmId) -> HypervisorResult<()> {
        let kind = CallKind { doing: "asking the guest to shut down", lane: Lane::Guest, limit: SHUTDOWN };
        self.connection.call(kind, move |connect| guest_agent::shut_down(connect, vm))
    }

    fn destroy(&self, vm: VmId) -> HypervisorResult<()> {
        let kind = CallKind { doing: "destroying the domain", lane: Lane::Quick, limit: START };
        self.connection.call(kind, move |connect| domains::destroy(connect, vm))
    }

    fn undefine(&self, vm: VmId) -> HypervisorResult<()> {
        let kind = quick("removing the domain's definition");
        self.connection.call(kind, move |connect| domains::undefine(connect, vm))
    }

    fn guest_ping(&self, vm: VmId, patience: Duration) -> HypervisorResult<bool> {
        let limit = Duration::from_secs(guest_agent::whole_seconds(patience)) + PING_OVERHEAD;
        let kind = CallKind { doing: "asking the guest agent", lane: Lane::Guest, limit };
        self.connection.call(kind, move |connect| guest_agent::ping(connect, vm, patience))
    }

    fn statistics(&self) -> HypervisorResult<Vec<VmSample>> {
        let kind = CallKind { doing: "taking statistics", lane: Lane::Quick, limit: SAMPLE };
        let running = Arc::clone(&self.running);
        self.connection.call(kind, move |connect| {
            let samples = statistics::samples(connect)?;
            let before = std::mem::take(&mut *running.lock().unwrap_or_else(PoisonError::into_inner));
            let mut now = BTreeMap::new();
            for sample in &samples {
                let ours = match before.get(&sample.vm) {
                    Some(ours) => *ours,
                    None => match domains::lookup(connect, sample.vm)? {
                        Some(domain) => matches!(domains::ownership(&domain)?, Ownership::Own(_)),
                        None => false,
                    },
                };
                now.insert(sample.vm, ours);
            }
            let own = samples.into_iter().filter(|sample| now.get(&sample.vm) == Some(&true)).collect();
            *running.lock().unwrap_or_else(PoisonError::into_inner) = now;
            Ok(own)
        })
    }

    fn pools(&self, names: &[PoolName]) -> HypervisorResult<Vec<PoolReport>> {
        let refresh = self.is_refresh_due(names);
        let lane = if refresh { Lane::Slow } else { Lane::Quick };
        let kind = CallKind { doing: "looking at the pools", lane, limit: LIST };
        let names = names.to_vec();
        self.connection.call(kind, move |connect| storage::reports(connect, &names, refresh))
    }

    fn volumes(&self, pool: &PoolName) -> HypervisorResult<Vec<Volume>> {
        let kind = CallKind { doing: "listing the pool", lane: Lane::Slow, limit: LIST };
        let pool = pool.clone();
        self.connection.call(kind, move |connect| storage::list(connect, &pool))
    }

    fn create_volume(&self, volume: &NewVolume) -> HypervisorResult<()> {
        let kind = CallKind { doing: "creating the volume", lane: Lane::Fill, limit: FILL };
        let volume = volume.clone();
        self.connection.call(kind, move |connect| storage::create(connect, &volume))
    }

    fn create_system_disk(&self, spec: &VmSpec) -> HypervisorResult<()> {
        let (spec, judged) = (spec.clone(), Arc::clone(&self.judged_images));
        self.connection.call(quick("creating the system disk"), move |connect| {
            storage::create_system_disk(connect, &spec, &judged)
        })
    }

    fn delete_volume(&self, pool: &PoolName, volume: &VolumeName) -> HypervisorResult<()> {
        let (pool, volume) = (pool.clone(), volume.clone());
        let kind = quick("deleting the volume");
        self.connection.call(kind, move |connect| storage::delete(connect, &pool, &volume))
    }

    fn console(&self, vm: VmId, length_max: u32) -> HypervisorResult<Vec<u8>> {
        let kind = CallKind { doing: "reading the console", lane: Lane::Slow, limit: SHORT };
        self.connection.call(kind, move |connect| console::read_end(connect, vm, length_max))
    }
}
