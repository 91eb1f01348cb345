//! Owns what becomes of the records when the hosts have said what is there. Pure: records and answers in, records out.
//!
//! ```text
//!   found on a host, not in the records        taken in from its ledger
//!   found where the record says                the later wish of the two counts
//!   found elsewhere, or recorded as waiting    it is where it was found
//!   found on two hosts                         it is where it runs; told loudly
//!   over in the records                        stays over; left alone on the host; told
//!   not found, its host has its tombstone      over, for the reason on it; one being made there goes on
//!   not found, its host has answered           over: it is not there any more
//!   not found, its host has not answered       unknown; never started by what the record wished
//!   not found, it was waiting for a place      over: it may have run since; whoever wants it starts it again
//! ```
//!
//! Must not: guess. What cannot be taken in is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, HostId, HostName, ProfileName, VmId};
use reeve_common::vm::{ObservedVm, StopReason, VmDescription};
use reeve_scheduler::HostState;

use super::gathering::HostAnswer;
use super::origin::Origin;
use crate::model::configuration::Configuration;
use crate::model::host::Host;
use crate::model::vm::{Vm, Wish};
use crate::model::vm_life;
use crate::model::vm_state::VmState;

/// Where libvirt is on every host unless said otherwise; the agents know better.
const URI: &str = "qemu:///system";

/// What the store had before.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Hosts by id.
    pub hosts: BTreeMap<HostId, Host>,
    /// VMs whose life is not over.
    pub vms: BTreeMap<VmId, Vm>,
    /// VMs whose life is over.
    pub past: BTreeSet<VmId>,
    /// The names of the configurations.
    pub configurations: BTreeSet<ConfigurationName>,
}

/// A VM as one host has it.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundVm {
    /// Where.
    pub host: HostId,
    /// What its ledger says.
    pub description: VmDescription,
}

/// The records as they are to be from now on; what is not mentioned stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    /// Hosts that were not known.
    pub hosts: Vec<Host>,
    /// VMs that are new or have changed, and are not over.
    pub vms: Vec<Vm>,
    /// VMs that are over now and were not before.
    pub ended: Vec<Vm>,
    /// Configurations that were not known.
    pub configurations: Vec<Configuration>,
    /// What an administrator must hear.
    pub findings: Findings,
}

/// What could not be settled, or was settled in a way that somebody may want to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// One line each.
    pub lines: Vec<String>,
}

impl Findings {
    pub(super) fn add(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }
}

/// Brings the records together with what the hosts have answered. `profile_of` says which hardware profile a host that
/// was not known has.
#[must_use]
pub fn merge(
    known: &Known,
    answers: &[HostAnswer],
    profile_of: impl Fn(&HostName) -> ProfileName,
    now: Timestamp,
) -> Merged {
    let mut merged = Merged::default();
    take_in_hosts(known, answers, profile_of, now, &mut merged);
    let found = found_by_id(answers);
    for (id, places) in &found {
        take_in_vm(known, *id, places, now, &mut merged);
    }
    let answered: BTreeSet<HostId> =
        answers.iter().filter(|answer| answer.hypervisor_reachable).map(|answer| answer.host).collect();
    for (id, vm) in known.vms.iter().filter(|(id, _)| !found.contains_key(id)) {
        let told = answers
            .iter()
            .find(|answer| vm.host == Some(answer.host))
            .and_then(|answer| answer.others.iter().find(|observation| observation.vm == *id));
        match told {
            Some(observation) => {
                let changed = vm_life::apply_observation(vm, observation, now).changed;
                record(Some(vm), changed.map_or_else(|| vm.clone(), |vm| *vm), &mut merged);
            }
            None => miss_vm(vm, &answered, now, &mut merged),
        }
    }
    for host in known.hosts.values().filter(|host| host.joined_at.is_some() && !answered.contains(&host.id)) {
        merged.findings.add(format!(
            "host {} has not told what is on it: run `reeve-coordinator recover` again when it can",
            host.name
        ));
    }
    merged
}

fn take_in_hosts(
    known: &Known,
    answers: &[HostAnswer],
    profile_of: impl Fn(&HostName) -> ProfileName,
    now: Timestamp,
    merged: &mut Merged,
) {
    let mut names: BTreeSet<HostName> = known.hosts.values().map(|host| host.name.clone()).collect();
    for answer in answers.iter().filter(|answer| !known.hosts.contains_key(&answer.host)) {
        let mut name = answer.name.clone();
        if names.contains(&name) {
            // Two hosts of one name cannot be told apart in any command; numbers are never given out twice.
            let numbered = HostName::new(format!("host-{}", answer.host)).unwrap_or_else(|_| name.clone());
            merged.findings.add(format!(
                "host {} says that it is called {name}, which another host is called already; it is called {numbered} now",
                answer.host
            ));
            name = numbered;
        }
        names.insert(name.clone());
        merged.hosts.push(Host {
            id: answer.host,
            profile: profile_of(&name),
            name,
            realm: answer.realm.clone(),
            uri: URI.to_owned(),
            // Nothing new is placed there before somebody has looked at it.
            state: HostState::NoScheduler,
            labels: BTreeMap::new(),
            added_at: now,
            joined_at: Some(now),
            draining: false,
        });
    }
}

fn found_by_id(answers: &[HostAnswer]) -> BTreeMap<VmId, Vec<FoundVm>> {
    let mut found: BTreeMap<VmId, Vec<FoundVm>> = BTreeMap::new();
    for answer in answers {
        for description in &answer.vms {
            let place = FoundVm { host: answer.host, description: description.clone() };
            found.entry(description.observation.vm).or_default().push(place);
        }
    }
    found
}

fn take_in_vm(known: &Known, id: VmId, places: &[FoundVm], now: Timestamp, merged: &mut Merged) {
    if known.past.contains(&id) {
        for place in places {
            merged.findings.add(format!(
                "VM {id} is over, and host {} still has a domain of it: it is left alone, look at it there",
                place.host
            ));
        }
        return;
    }
    let recorded = known.vms.get(&id);
    let Some(place) = choose_place(recorded, places) else { return };
    if places.len() > 1 {
        let hosts: Vec<String> = places.iter().map(|place| place.host.to_string()).collect();
        merged.findings.add(format!(
            "VM {id} is on hosts {}: it is recorded on host {}; look at the others at once",
            hosts.join(" and "),
            place.host
        ));
    }
    let origin = Origin::read(id, &place.description.origin);
    let observation = &place.description.observation;
    let mut vm = match (recorded, &origin) {
        (Some(recorded), _) => recorded.clone(),
        (None, Ok(origin)) => {
            if let Some(configuration) = origin.configuration()
                && !known.configurations.contains(&configuration.name)
                && !merged.configurations.iter().any(|taken_in| taken_in.name == configuration.name)
            {
                merged.configurations.push(configuration);
            }
            origin.clone().into_vm(id, place.host, observation.generation, now)
        }
        (None, Err(error)) => {
            merged.findings.add(format!(
                "VM {id} on host {} cannot be taken in, it runs on: {}",
                place.host,
                crate::chain(error)
            ));
            return;
        }
    };
    if vm.host != Some(place.host) {
        let before =
            vm.host.map_or_else(|| "waiting for a place".to_owned(), |host| format!("on host {host}"));
        merged.findings.add(format!(
            "VM {} was recorded as {before} and is on host {}: it is recorded there now",
            vm.name, place.host
        ));
        vm.host = Some(place.host);
        if let Ok(origin) = origin {
            vm.assignment = origin.assignment;
        }
        let reason = Some("found on another host than its record said".to_owned());
        vm.enter(VmState::Starting, reason, now);
    }
    follow_ledger(&mut vm, &place.description);
    let vm = match vm_life::apply_observation(&vm, observation, now).changed {
        Some(changed) => *changed,
        None => vm,
    };
    record(recorded, vm, merged);
}

/// Where a VM counts as being: where it runs, and if that is no one place, where its record says.
fn choose_place<'a>(recorded: Option<&Vm>, places: &'a [FoundVm]) -> Option<&'a FoundVm> {
    let runs = |place: &&FoundVm| !matches!(place.description.observation.observed, ObservedVm::Ended(_));
    let as_recorded = |place: &&FoundVm| recorded.is_some_and(|vm| vm.host == Some(place.host));
    places
        .iter()
        .filter(runs)
        .find(as_recorded)
        .or_else(|| places.iter().find(runs))
        .or_else(|| places.iter().find(as_recorded))
        .or_else(|| places.first())
}

/// The later wish counts: the ledger's, when the record is older than it.
fn follow_ledger(vm: &mut Vm, description: &VmDescription) {
    let generation = description.observation.generation;
    let is_later = generation > vm.generation;
    vm.generation = vm.generation.max(generation);
    match description.stopping_within {
        // A wish to stop is never taken back, whichever of the two says it.
        Some(grace) if vm.wish == Wish::Run => vm.wish = Wish::Stop { grace },
        None if is_later && vm.wish != Wish::Run => vm.generation = vm.generation.next(),
        _ => {}
    }
}

fn miss_vm(vm: &Vm, answered: &BTreeSet<HostId>, now: Timestamp, merged: &mut Merged) {
    let mut next = vm.clone();
    match vm.host {
        None => {
            next.end = Some(StopReason::FoundStopped);
            next.wish = Wish::Stop { grace: Duration::ZERO };
            let reason = "it was waiting for a place when its record was saved, and may have run since; start it again if it is wanted";
            next.enter(VmState::Failed, Some(reason.to_owned()), now);
        }
        Some(host) if answered.contains(&host) => {
            next.end.get_or_insert(StopReason::FoundStopped);
            next.wish = Wish::Stop { grace: Duration::ZERO };
            let reason = format!("it is not on host {host} any more, whose record of it was older");
            next.enter(VmState::Failed, Some(reason), now);
        }
        Some(_) => {
            if matches!(vm.state, VmState::Requested | VmState::Placed | VmState::Defining) {
                // It counts as started, so that its host is asked for it and never told to start it anew.
                let reason = "its host has not told yet what is on it";
                next.enter(VmState::Starting, Some(reason.to_owned()), now);
            }
        }
    }
    record(Some(vm), next, merged);
}

fn record(before: Option<&Vm>, vm: Vm, merged: &mut Merged) {
    if vm.state.is_final() {
        merged.findings.add(format!(
            "VM {} ({}) is over: {}",
            vm.name,
            vm.id,
            vm.reason.as_deref().unwrap_or("it has ended")
        ));
        merged.ended.push(vm);
    } else if before != Some(&vm) {
        merged.vms.push(vm);
    }
}

#[cfg(test)]
#[path = "merging_tests.rs"]
mod tests;
