//! Owns the coordinator at a glance: how many hosts and VMs are in which state. It looks at each once and copies nothing,
//! for it is asked often and the fleet may be large.

use reeve_common::clock::Timestamp;
use reeve_common::ids::Epoch;

use super::Service;
use super::lives::connection;
use super::reading::{shown_state, warnings};
use super::warnings::{OpenWarnings, open_warnings};
use crate::model::host::Connection;
use crate::model::vm_state::VmState;

/// How many warnings are told; the hosts' own documents have them all.
const WARNINGS_MAX: usize = 20;

/// Hosts by connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HostCounts {
    /// All.
    pub total: usize,
    /// Connected now.
    pub connected: usize,
    /// Of those, the ones that have told all they have since they connected: they take new VMs.
    pub reported: usize,
    /// Not heard for a moment.
    pub suspected: usize,
    /// Lost.
    pub lost: usize,
    /// Seen to be off, or fenced by themselves.
    pub fenced: usize,
    /// Never joined.
    pub never_joined: usize,
}

/// The coordinator at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its version.
    pub version: &'static str,
    /// Its term of office.
    pub epoch: Epoch,
    /// When it started.
    pub started_at: Timestamp,
    /// Realms configured.
    pub realms: usize,
    /// Hosts by connection.
    pub hosts: HostCounts,
    /// VMs that are not over, by state in the order of a life; states without any are left out.
    pub vms: Vec<(VmState, usize)>,
    /// Standing warnings that nobody has acknowledged.
    pub open_warnings: OpenWarnings,
    /// What an administrator should know, in words; the first twenty.
    pub warnings: Vec<String>,
}

impl Service {
    /// The coordinator at a glance.
    #[must_use]
    pub fn status(&self) -> Status {
        let (config, now) = (self.config(), self.both_clocks());
        let core = self.core();
        let mut hosts = HostCounts { total: core.hosts.len(), ..HostCounts::default() };
        let mut words = Vec::new();
        for entry in core.hosts.values() {
            match connection(entry, &config, now) {
                Connection::Connected { .. } => {
                    hosts.connected += 1;
                    hosts.reported += usize::from(entry.report.is_some());
                }
                Connection::Suspected { .. } => hosts.suspected += 1,
                Connection::Fenced { .. } | Connection::SelfFenced { .. } => hosts.fenced += 1,
                Connection::Lost { .. } => hosts.lost += 1,
                Connection::NeverJoined => hosts.never_joined += 1,
            }
            if words.len() < WARNINGS_MAX {
                let name = &entry.kept.value.name;
                words
                    .extend(warnings(entry, &config).iter().map(|warning| format!("host {name}: {warning}")));
            }
        }
        words.truncate(WARNINGS_MAX);
        let mut vms: Vec<(VmState, usize)> = VmState::ALL.into_iter().map(|state| (state, 0)).collect();
        for entry in core.vms().values().filter(|entry| entry.durable) {
            let state = shown_state(&core, &config, now, &entry.current.borrow().vm);
            if let Some((_, count)) = vms.iter_mut().find(|(known, _)| *known == state) {
                *count += 1;
            }
        }
        vms.retain(|(_, count)| *count > 0);
        Status {
            version: env!("CARGO_PKG_VERSION"),
            epoch: self.inner.epoch,
            started_at: self.inner.started_at,
            realms: config.realms.len(),
            hosts,
            vms,
            open_warnings: open_warnings(&core),
            warnings: words,
        }
    }
}
