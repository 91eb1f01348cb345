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
//! | a VM that ran ends only by wish, by its QEMU's death, or with its host's power | domains, over time |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use reeve_agent::hypervisor::simulated::{DomainInside, SimulatedHypervisor};
use reeve_common::ids::{HostId, PoolName, VmId};
use reeve_coordinator::model::vm::{Vm, Wish};
use reeve_coordinator::records::{PAST_VMS, Record, VMS};
use reeve_coordinator::service::{Booking, Service};
use reeve_coordinator::store::{MemoryStore, Store as _};

use super::estate::{DRIVE, VOLUMES_POOL};
use super::trace::{Trace, short, violated};

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
    service: Option<Service>,
    broken: bool,
}

/// Looks after each event.
pub struct Checker {
    memory: Mutex<Memory>,
    trace: Trace,
}

impl Checker {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(trace: Trace) -> Arc<Self> {
        Arc::new(Self { memory: Mutex::default(), trace })
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

    /// Looks at everything.
    pub fn look(&self) {
        let mut memory = self.memory();
        if memory.broken {
            return;
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
        for booking in &bookings {
            let vm = short(booking.vm);
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
        for (host, hypervisor) in &memory.hosts {
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
const ENDS: &str = "a VM ends by wish or by misfortune";

impl Memory {
    fn domains_on(&self, host: HostId) -> Vec<DomainInside> {
        self.hosts.get(&host).map(|hypervisor| hypervisor.look_inside()).unwrap_or_default()
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
        for (host, hypervisor) in &self.hosts {
            for domain in hypervisor.look_inside() {
                let DomainInside { vm, running: runs, starts, disks } = domain;
                let (ran, before) = self.seen.get(&(*host, vm)).copied().unwrap_or_default();
                if starts > before {
                    let all = self.starts.entry(vm).or_default();
                    *all += starts - before;
                    if *all > 1 {
                        broken.push((
                            TWICE,
                            format!("VM {} was started {all} times, last on host {host}", short(vm)),
                        ));
                    }
                }
                if ran && !runs && self.promised.get(&vm) == Some(&false) && !self.excused.contains(&vm) {
                    broken.push((
                        ENDS,
                        format!("VM {} was ended on host {host}, and nobody wished it", short(vm)),
                    ));
                }
                now.insert((*host, vm), (runs, starts));
                if let Some(bookings) = &bookings {
                    let held = bookings.get(&vm).and_then(|booking| booking.held_on);
                    if held != Some(*host) {
                        let held =
                            held.map_or_else(|| "nowhere".to_owned(), |held| format!("on host {held}"));
                        broken.push((
                            HELD,
                            format!("VM {} is on host {host}, and its capacity is held {held}", short(vm)),
                        ));
                    }
                }
                if !runs {
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
