//! Owns the simulated host's state and its rules, in the likeness of libvirt's: what each call does to it, and what
//! guests do as time passes.
//!
//! Must not: read a clock, lock, log or touch files; `now` is an argument. Storage is in `storage.rs`.
//!
//! ```text
//!   (absent) ──define──▶ Inactive ──start──▶ Active ⇄ Paused
//!      ▲                   ▲  │                 │
//!      └────undefine───────┼──┘                 │
//!                          └── destroy, power off, crash, obeyed shutdown
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{PoolName, VmId, VmName, VolumeName};
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::utilization::VmSample;
use reeve_common::vm::VmSpec;
use serde::{Deserialize, Serialize};

use super::super::{
    DomainState, Domains, HypervisorError, HypervisorEvent, HypervisorResult, InactiveCause, LedgerEntry,
    OwnDomain, ledger_xml,
};
use super::settings::{GuestMode, GuestPace};
use super::storage::SimulatedPool;

/// The most console output kept of one guest; the oldest is dropped, as virtlogd does.
const CONSOLE_LENGTH_MAX: usize = 64 * 1024;

/// Everything on a simulated host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct World {
    pub(super) domains: BTreeMap<VmId, SimulatedDomain>,
    pub(super) pools: BTreeMap<PoolName, SimulatedPool>,
}

/// A simulated domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SimulatedDomain {
    pub(super) name: String,
    pub(super) vcpus: u32,
    pub(super) memory: Mebibytes,
    /// The metadata element, as text: somebody may have spoilt it. None in a foreign domain.
    pub(super) ledger: Option<String>,
    pub(super) disks: Vec<(PoolName, VolumeName)>,
    pub(super) run: Run,
    /// The guest agent never answers.
    pub(super) mute: bool,
    /// How often the power button was pressed since the start.
    pub(super) shutdown_requests: u32,
    /// How often it was started since it was defined.
    #[serde(default)]
    pub(super) starts: u32,
    pub(super) keeps_console: bool,
    pub(super) console: String,
}

/// Whether it runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Run {
    /// Not.
    Inactive(Ending),
    /// It has a QEMU.
    Active { started_at: Timestamp, answering: bool, shutdown_at: Option<Timestamp>, paused: bool },
}

/// [`InactiveCause`] in a form that can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Ending {
    ShutDown,
    Destroyed,
    Crashed,
    Failed,
    Unknown,
}

impl From<Ending> for InactiveCause {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::ShutDown => Self::ShutDown,
            Ending::Destroyed => Self::Destroyed,
            Ending::Crashed => Self::Crashed,
            Ending::Failed => Self::Failed,
            Ending::Unknown => Self::Unknown,
        }
    }
}

impl SimulatedDomain {
    pub(super) const fn is_active(&self) -> bool {
        matches!(self.run, Run::Active { .. })
    }

    pub(super) fn ledger(&self) -> Option<LedgerEntry> {
        self.ledger.as_deref().and_then(|text| ledger_xml::from_metadata(text).ok())
    }

    fn state(&self) -> DomainState {
        match self.run {
            Run::Inactive(ending) => DomainState::Inactive(ending.into()),
            Run::Active { paused: true, .. } => DomainState::Paused,
            Run::Active { .. } => DomainState::Active,
        }
    }

    fn own(&self, vm: VmId) -> Option<OwnDomain> {
        let name = VmName::new(self.name.clone()).ok()?;
        let (state, vcpus, memory) = (self.state(), self.vcpus, self.memory);
        Some(OwnDomain { vm, name, state, vcpus, memory, ledger: self.ledger()? })
    }

    fn print(&mut self, line: &str) {
        if self.keeps_console {
            self.console.push_str(line);
            self.console.push_str("\r\n");
            let excess = self.console.len().saturating_sub(CONSOLE_LENGTH_MAX);
            let cut = self.console.char_indices().map(|(at, _)| at).find(|at| *at >= excess).unwrap_or(0);
            self.console.drain(..cut);
        }
    }
}

impl World {
    pub(super) fn domains(&self) -> Domains {
        let mut domains = Domains::default();
        for (vm, domain) in &self.domains {
            match domain.own(*vm) {
                Some(own) => domains.own.push(own),
                None => domains.foreign.push(domain.foreign(*vm)),
            }
        }
        domains
    }

    pub(super) fn domain(&self, vm: VmId) -> Option<OwnDomain> {
        self.domains.get(&vm).and_then(|domain| domain.own(vm))
    }

    /// Our domain of this id: `None` when there is none.
    fn own_mut(&mut self, doing: &'static str, vm: VmId) -> HypervisorResult<Option<&mut SimulatedDomain>> {
        match self.domains.get_mut(&vm) {
            None => Ok(None),
            Some(domain) if domain.ledger().is_some() => Ok(Some(domain)),
            Some(_) => Err(not_ours(doing, vm)),
        }
    }

    fn existing_mut(&mut self, doing: &'static str, vm: VmId) -> HypervisorResult<&mut SimulatedDomain> {
        self.own_mut(doing, vm)?.ok_or_else(|| HypervisorError::NotFound { what: format!("the domain {vm}") })
    }

    pub(super) fn define(&mut self, vm: VmId, spec: &VmSpec, ledger: &LedgerEntry) -> HypervisorResult<()> {
        const DOING: &str = "defining the domain";
        let same_name =
            |(id, domain): (&VmId, &SimulatedDomain)| *id != vm && domain.name == spec.name.as_str();
        if let Some((other, _)) = self.domains.iter().find(|entry| same_name(*entry)) {
            let why = format!("the domain {other} has the name {:?} already", spec.name.as_str());
            return Err(HypervisorError::Refused { doing: DOING, why });
        }
        let system = (spec.system_disk.pool.clone(), spec.system_disk.volume.clone());
        let drives = spec.drives.iter().map(|drive| (drive.pool.clone(), drive.volume.clone()));
        let disks: Vec<_> = std::iter::once(system).chain(drives).collect();
        for (pool, volume) in &disks {
            self.volume(pool, volume)?;
        }
        let fresh = SimulatedDomain {
            name: spec.name.as_str().to_owned(),
            vcpus: spec.vcpus,
            memory: spec.memory,
            ledger: Some(ledger_xml::to_metadata(ledger)),
            disks,
            run: Run::Inactive(Ending::Unknown),
            mute: false,
            shutdown_requests: 0,
            starts: 0,
            keeps_console: spec.console,
            console: String::new(),
        };
        match self.own_mut(DOING, vm)? {
            Some(domain) if domain.is_active() => domain.ledger = fresh.ledger,
            Some(domain) => {
                *domain =
                    SimulatedDomain { run: domain.run, mute: domain.mute, starts: domain.starts, ..fresh }
            }
            None => drop(self.domains.insert(vm, fresh)),
        }
        Ok(())
    }

    pub(super) fn write_ledger(&mut self, vm: VmId, ledger: &LedgerEntry) -> HypervisorResult<()> {
        self.existing_mut("writing the ledger", vm)?.ledger = Some(ledger_xml::to_metadata(ledger));
        Ok(())
    }

    /// Whether it was started by this call.
    pub(super) fn start(&mut self, vm: VmId, now: Timestamp) -> HypervisorResult<bool> {
        const DOING: &str = "starting the domain";
        let domain = self.existing_mut(DOING, vm)?;
        if domain.is_active() {
            return Ok(false);
        }
        let disks = domain.disks.clone();
        for (pool, volume) in &disks {
            if let Err(error) = self.volume(pool, volume) {
                self.existing_mut(DOING, vm)?.run = Run::Inactive(Ending::Failed);
                return Err(HypervisorError::Failed { doing: DOING, why: error.to_string() });
            }
        }
        let domain = self.existing_mut(DOING, vm)?;
        domain.run = Run::Active { started_at: now, answering: false, shutdown_at: None, paused: false };
        domain.shutdown_requests = 0;
        domain.starts = domain.starts.saturating_add(1);
        domain.print("simulated firmware");
        Ok(true)
    }

    /// The power button: obeyed by an automatic guest that has booted, otherwise only counted.
    pub(super) fn shutdown(&mut self, vm: VmId, now: Timestamp, mode: GuestMode) -> HypervisorResult<()> {
        let Some(domain) = self.own_mut("asking the guest to shut down", vm)? else { return Ok(()) };
        domain.shutdown_requests = domain.shutdown_requests.saturating_add(1);
        if let (Run::Active { answering: true, shutdown_at, .. }, GuestMode::Automatic(pace)) =
            (&mut domain.run, mode)
        {
            shutdown_at.get_or_insert(now.after(pace.shutdown));
        }
        Ok(())
    }

    /// Whether it was running.
    pub(super) fn destroy(&mut self, vm: VmId) -> HypervisorResult<bool> {
        let Some(domain) = self.own_mut("destroying the domain", vm)? else { return Ok(false) };
        let was_active = domain.is_active();
        if was_active {
            domain.run = Run::Inactive(Ending::Destroyed);
        }
        Ok(was_active)
    }

    /// Whether it was defined.
    pub(super) fn undefine(&mut self, vm: VmId) -> HypervisorResult<bool> {
        const DOING: &str = "removing the domain's definition";
        let Some(domain) = self.own_mut(DOING, vm)? else { return Ok(false) };
        if domain.is_active() {
            return Err(HypervisorError::Refused { doing: DOING, why: "the domain is running".to_owned() });
        }
        self.domains.remove(&vm);
        Ok(true)
    }

    pub(super) fn guest_answers(&mut self, vm: VmId) -> HypervisorResult<bool> {
        let domain = self.existing_mut("asking the guest agent", vm)?;
        Ok(!domain.mute && matches!(domain.run, Run::Active { answering: true, paused: false, .. }))
    }

    pub(super) fn console(&mut self, vm: VmId, length_max: u32) -> HypervisorResult<Vec<u8>> {
        let console = self.existing_mut("reading the console", vm)?.console.as_bytes();
        let length_max = usize::try_from(length_max).unwrap_or(usize::MAX);
        Ok(console.get(console.len().saturating_sub(length_max)..).unwrap_or_default().to_vec())
    }

    pub(super) fn statistics(&self, now: Timestamp) -> Vec<VmSample> {
        let own = self.domains.iter().filter(|(_, domain)| domain.ledger().is_some());
        own.filter_map(|(vm, domain)| match domain.run {
            Run::Active { started_at, .. } => Some(sample(*vm, domain, now.since(started_at))),
            Run::Inactive(_) => None,
        })
        .collect()
    }

    /// Lets guests do what is due by `now`, and tells what happened.
    pub(super) fn advance(&mut self, now: Timestamp, mode: GuestMode) -> Vec<HypervisorEvent> {
        let GuestMode::Automatic(pace) = mode else { return Vec::new() };
        let mut events = Vec::new();
        for (vm, domain) in &mut self.domains {
            match due(domain.run, pace) {
                Some((at, Due::PowerOff)) if at <= now => {
                    domain.run = Run::Inactive(Ending::ShutDown);
                    domain.print("power down");
                    events.push(HypervisorEvent::Domain(*vm));
                }
                Some((at, Due::Answer)) if at <= now && !domain.mute => {
                    if let Run::Active { answering, .. } = &mut domain.run {
                        *answering = true;
                    }
                    domain.print("guest agent ready");
                    events.push(HypervisorEvent::GuestAgent { vm: *vm, connected: true });
                }
                _ => {}
            }
        }
        events
    }

    /// When a guest will do something by itself next.
    pub(super) fn next_transition(&self, mode: GuestMode) -> Option<Timestamp> {
        let GuestMode::Automatic(pace) = mode else { return None };
        let audible = |domain: &&SimulatedDomain, step: &Due| !(domain.mute && matches!(step, Due::Answer));
        self.domains
            .values()
            .filter_map(|domain| due(domain.run, pace).filter(|(_, step)| audible(&domain, step)))
            .map(|(at, _)| at)
            .min()
    }
}

enum Due {
    Answer,
    PowerOff,
}

fn due(run: Run, pace: GuestPace) -> Option<(Timestamp, Due)> {
    match run {
        Run::Active { paused: false, shutdown_at: Some(at), .. } => Some((at, Due::PowerOff)),
        Run::Active { paused: false, answering: false, started_at, .. } => {
            Some((started_at.after(pace.boot), Due::Answer))
        }
        _ => None,
    }
}

/// A guest that is busy for a tenth of the time and holds half of its memory.
fn sample(vm: VmId, domain: &SimulatedDomain, up: Duration) -> VmSample {
    VmSample {
        vm,
        cpu_milliseconds: u64::try_from(up.as_millis()).unwrap_or(u64::MAX) / 10,
        memory_resident: Mebibytes(domain.memory.0 / 2),
        disk_read: Bytes(up.as_secs().saturating_mul(1 << 20)),
        disk_written: Bytes(up.as_secs().saturating_mul(1 << 16)),
        network_received: Bytes(up.as_secs().saturating_mul(1 << 10)),
        network_sent: Bytes(up.as_secs().saturating_mul(1 << 10)),
    }
}

fn not_ours(doing: &'static str, vm: VmId) -> HypervisorError {
    HypervisorError::Refused {
        doing,
        why: format!(
            "the domain {vm} carries no ledger entry of ours that can be read; rename or remove it with virsh if it must go"
        ),
    }
}
