//! Owns the judgement when all is quiet: every acknowledged start runs or has ended with a reason, every acknowledged stop has
//! left nothing, what runs is what the records say, capacity is held for what runs and for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;
use uuid::Uuid;

use super::processes::{Qemu, qemus};
use crate::lab::{Lab, Place};

/// The pool in which running VMs' disks live.
const VOLUMES_POOL: &str = "ticrypt-vm";

/// VMs that are over and shown; of older ones the coordinator says nothing.
const PAST_SHOWN: usize = 100;

/// The last thing that the coordinator took note of for a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// That it starts.
    Start,
    /// That it stops.
    Stop,
}

/// What is wrong with a lab in which nothing is under way any more. `acknowledged` is what whoever used it was promised;
/// `millicores` is what each VM is promised.
///
/// # Errors
/// When something cannot be looked at.
pub fn misdeeds_at_rest(
    lab: &Lab,
    acknowledged: &BTreeMap<Uuid, Acknowledged>,
    millicores: u64,
) -> Result<Vec<String>> {
    let seen = Seen::of(lab)?;
    let mut found = seen.processes_against_libvirt();
    found.extend(seen.volumes_without_a_guest());
    let living = by_id(&lab.reeve_json(&["vm", "list"])?)?;
    let past = by_id(&lab.reeve_json(&["vm", "past"])?)?;
    for (vm, last) in acknowledged {
        let forgotten = past.len() >= PAST_SHOWN && !past.contains_key(vm);
        if forgotten && *last == Acknowledged::Stop && !living.contains_key(vm) {
            continue;
        }
        found.extend(seen.broken_promise(*vm, *last, living.get(vm), past.get(vm)));
    }
    found.extend(seen.records_against_processes(&living));
    for host in &lab.description().hosts {
        let shown = lab.reeve_json(&["host", "show", &host.name])?;
        let held = shown["used"]["millicores"].as_u64().context("a host without usage")?;
        let on_it = living.values().filter(|vm| vm["host"] == host.name.as_str()).count();
        let expected = millicores * u64::try_from(on_it)?;
        if held != expected {
            found.push(format!("{} holds {held} millicores for {on_it} VMs", host.name));
        }
    }
    Ok(found)
}

/// What was looked at.
struct Seen {
    qemus: Vec<Qemu>,
    /// Each domain of each libvirt, by host.
    domains: BTreeSet<(String, Uuid)>,
    volumes: BTreeSet<String>,
}

impl Seen {
    fn of(lab: &Lab) -> Result<Self> {
        let mut domains = BTreeSet::new();
        for host in &lab.description().hosts {
            let listed = lab.virsh(&Place::Host(host.name.clone()), &["list", "--all", "--uuid"])?;
            let ids = listed.split_whitespace().filter_map(|word| Uuid::try_parse(word).ok());
            domains.extend(ids.map(|id| (host.name.clone(), id)));
        }
        let pool = lab.description().shared().join(VOLUMES_POOL);
        let files = fs::read_dir(&pool).with_context(|| format!("cannot read {}", pool.display()))?;
        let volumes = files.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
        Ok(Self { qemus: qemus(lab), domains, volumes: volumes.collect::<Result<_>>()? })
    }

    fn processes_against_libvirt(&self) -> Vec<String> {
        let running: BTreeSet<(String, Uuid)> =
            self.qemus.iter().map(|qemu| (qemu.host.clone(), qemu.vm)).collect();
        let without_domain = running
            .difference(&self.domains)
            .map(|(host, vm)| format!("VM {vm} has a QEMU on {host}, and libvirt there does not know it"));
        let without_process = self.domains.difference(&running);
        let without_process = without_process
            .map(|(host, vm)| format!("VM {vm} is defined on {host} and does not run: it was left behind"));
        without_domain.chain(without_process).collect()
    }

    /// A guest's files in the pool are called alike: its disk and what its console said.
    fn volumes_without_a_guest(&self) -> Vec<String> {
        let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
        let written: BTreeSet<String> =
            self.qemus.iter().flat_map(|qemu| &qemu.writes).map(|disk| stem(&disk.name)).collect();
        let idle = self.volumes.iter().filter(|volume| !written.contains(&stem(volume)));
        idle.map(|volume| format!("the disk {volume} was left behind")).collect()
    }

    fn broken_promise(
        &self,
        vm: Uuid,
        last: Acknowledged,
        living: Option<&Value>,
        past: Option<&Value>,
    ) -> Option<String> {
        let runs = self.qemus.iter().any(|qemu| qemu.vm == vm);
        match (last, living, past) {
            (_, None, None) => Some(format!("VM {vm} was acknowledged, and no record knows it")),
            (Acknowledged::Start, Some(_), _) if runs => None,
            (Acknowledged::Start, Some(record), _) if record["state"] == "unplaceable" => None,
            (Acknowledged::Start, Some(record), _) => {
                Some(format!("VM {vm} is {}, and does not run", record["state"]))
            }
            (Acknowledged::Start, None, Some(record)) if record["reason"].is_string() && !runs => None,
            (Acknowledged::Stop, None, Some(_)) if !runs => None,
            (_, living, _) => {
                Some(format!("VM {vm}: {last:?} was acknowledged, and it runs: {runs}; record {living:?}"))
            }
        }
    }

    fn records_against_processes(&self, living: &BTreeMap<Uuid, Value>) -> Vec<String> {
        let mut found = Vec::new();
        for qemu in &self.qemus {
            match living.get(&qemu.vm) {
                None => found.push(format!("VM {} runs on {}, and no record knows it", qemu.vm, qemu.host)),
                Some(record) if record["host"] != qemu.host.as_str() => {
                    found.push(format!(
                        "VM {} runs on {}; its record says {}",
                        qemu.vm, qemu.host, record["host"]
                    ));
                }
                Some(_) => {}
            }
        }
        for (vm, record) in living.iter().filter(|(_, record)| record["state"] == "running") {
            if !self.qemus.iter().any(|qemu| qemu.vm == *vm) {
                found.push(format!(
                    "VM {vm} is running by its record ({}), and nowhere in truth",
                    record["host"]
                ));
            }
        }
        found
    }
}

fn by_id(listed: &Value) -> Result<BTreeMap<Uuid, Value>> {
    let vms = listed.as_array().context("no list of VMs")?;
    vms.iter()
        .map(|vm| {
            let id = vm["id"].as_str().context("a VM without an id")?;
            Ok((Uuid::try_parse(id)?, vm.clone()))
        })
        .collect()
}
