//! Owns `reeve-coordinator verify`: whether a store or a backup is whole, and whether what is in it holds together.
//!
//! Must not: repair. What is wrong is said record by record; an administrator decides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reeve_common::ids::{Epoch, HostId, VmId};
use reeve_common::units::{Mebibytes, Millicores};

use super::MADE_AT;
use crate::config::CoordinatorConfig;
use crate::model::configuration::Configuration;
use crate::model::drive::Drive;
use crate::model::explanation::PlacementDecision;
use crate::model::fence::Fence;
use crate::model::host::Host;
use crate::model::image::Image;
use crate::model::setup::Setup;
use crate::model::vm::Vm;
use crate::model::warning::Warning;
use crate::records::{
    CONFIGURATIONS, DECISIONS, DRIVES, FENCES, HOSTS, IMAGES, PAST_VMS, Record, SETUPS, VMS, WARNINGS,
    WORKFLOWS,
};
use crate::recovery::PendingRecovery;
use crate::store::{
    BackupError, Collection, Contents, RecordError, Stored, decode, present_form, read_contents,
};
use crate::workflow::Workflow;

/// Problems that are told one by one; what is behind so many is one cause.
const PROBLEMS_SHOWN: usize = 100;

/// Why it could not be looked at, or is not whole.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file is not whole, or none of ours.
    #[error("it is not whole")]
    File(#[from] BackupError),
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What is there, a line each.
    pub facts: Vec<String>,
    /// What is wrong, a line each; nothing when all is well.
    pub problems: Vec<String>,
}

/// Proves a store or a backup whole: its structure, each record's digest and form, and what records say of each other.
/// Of a store that is in use the state at one moment is looked at.
///
/// # Errors
/// [`VerifyError`] when the file is damaged or none of ours.
pub fn verify(path: &Path, config: &CoordinatorConfig) -> Result<Verdict, VerifyError> {
    Ok(judge(&read_contents(path)?, config))
}

/// All records, decoded.
#[derive(Debug, Default)]
struct Records {
    hosts: BTreeMap<HostId, Host>,
    images: Vec<Image>,
    setups: Vec<Setup>,
    configurations: Vec<Configuration>,
    drives: Vec<Drive>,
    vms: Vec<Vm>,
    past: BTreeSet<VmId>,
    epoch: Epoch,
    pending: Option<PendingRecovery>,
    others: usize,
    problems: Vec<String>,
}

impl Records {
    /// The record in its form, or a problem.
    fn read<T: Record>(&mut self, stored: &Stored) -> Option<T> {
        self.taken(T::decode(stored))
    }

    fn taken<T>(&mut self, result: Result<T, RecordError>) -> Option<T> {
        result.map_err(|error| self.problems.push(crate::chain(&error))).ok()
    }

    fn take(&mut self, stored: &Stored) {
        let under = |collection: Collection| stored.key.is_under(collection.prefix());
        if under(HOSTS) {
            if let Some(host) = self.read::<Host>(stored) {
                self.hosts.insert(host.id, host);
            }
        } else if under(IMAGES) {
            let image = self.read(stored);
            self.images.extend(image);
        } else if under(SETUPS) {
            let setup = self.read(stored);
            self.setups.extend(setup);
        } else if under(CONFIGURATIONS) {
            let configuration = self.read(stored);
            self.configurations.extend(configuration);
        } else if under(DRIVES) {
            let drive = self.read(stored);
            self.drives.extend(drive);
        } else if under(VMS) {
            let vm = self.read(stored);
            self.vms.extend(vm);
        } else if under(PAST_VMS) {
            if let Some(vm) = self.read::<Vm>(stored) {
                self.past.insert(vm.id);
            }
        } else if under(DECISIONS) {
            self.read::<PlacementDecision>(stored);
        } else if under(WORKFLOWS) {
            self.read::<Workflow>(stored);
        } else if under(FENCES) {
            self.read::<Fence>(stored);
        } else if under(WARNINGS) {
            self.read::<Warning>(stored);
        } else if stored.key.as_str() == "counters/epoch" {
            let epoch = self.taken(decode(stored, "counter", 1..=1));
            self.epoch = Epoch(epoch.unwrap_or(0));
        } else if stored.key.as_str() == "recovery/pending" {
            self.pending = self.read(stored);
        } else {
            self.others += 1;
        }
    }
}

fn judge(contents: &Contents, config: &CoordinatorConfig) -> Verdict {
    let mut records = Records::default();
    for stored in &contents.records {
        records.take(stored);
    }
    check_references(&mut records);
    check_capacity(&mut records, config);
    let mut problems = std::mem::take(&mut records.problems);
    if problems.len() > PROBLEMS_SHOWN {
        let more = problems.len() - PROBLEMS_SHOWN;
        problems.truncate(PROBLEMS_SHOWN);
        problems.push(format!("and {more} more"));
    }
    Verdict { facts: facts(contents, &records), problems }
}

fn facts(contents: &Contents, records: &Records) -> Vec<String> {
    let kind = if contents.is_backup { "backup" } else { "store" };
    let mut facts = vec![
        format!(
            "form {} of a {kind} (this release writes {}), version {}",
            contents.form,
            present_form(),
            contents.version
        ),
        format!(
            "{} hosts, {} VMs, {} VMs that are over, {} configurations, {} setups, {} images, {} drives, {} other records",
            records.hosts.len(),
            records.vms.len(),
            records.past.len(),
            records.configurations.len(),
            records.setups.len(),
            records.images.len(),
            records.drives.len(),
            records.others
        ),
        format!("the last coordinator's epoch was {}", records.epoch),
    ];
    let made_at = contents.attachments.iter().find(|(name, _)| name == MADE_AT);
    if let Some(made_at) = made_at.and_then(|(_, text)| text.parse().ok()) {
        facts.push(format!("made at {}", reeve_common::clock::Timestamp(made_at)));
    }
    if let Some(pending) = &records.pending {
        facts.push(format!(
            "waits for `reeve-coordinator recover` since {}: no coordinator runs on it before that",
            pending.since
        ));
    }
    facts
}

/// Whatever one record says of another.
fn check_references(records: &mut Records) {
    let mut problems = Vec::new();
    for vm in &records.vms {
        if let Some(host) = vm.host.filter(|host| !records.hosts.contains_key(host)) {
            problems.push(format!("VM {} is on host {host}, of which there is no record", vm.name));
        }
        if vm.state.is_final() {
            problems.push(format!("VM {} is over ({}) and lies among the living", vm.name, vm.state));
        }
        if records.past.contains(&vm.id) {
            problems.push(format!("VM {} lies among the living and among the past", vm.name));
        }
    }
    let mut writers: BTreeMap<(String, String, String), &str> = BTreeMap::new();
    for vm in &records.vms {
        for drive in vm.definition.used_volumes().filter(|drive| !drive.read_only) {
            let volume = (vm.realm.to_string(), drive.pool.to_string(), drive.volume.to_string());
            if let Some(other) = writers.insert(volume, vm.name.as_str()) {
                problems.push(format!("VMs {other} and {} both write drive {}", vm.name, drive.volume));
            }
        }
    }
    let setups: BTreeSet<_> = records.setups.iter().map(|setup| &setup.name).collect();
    let images: BTreeSet<_> = records.images.iter().map(|image| &image.name).collect();
    let drives: BTreeSet<_> = records.drives.iter().map(|drive| &drive.name).collect();
    for setup in records.setups.iter().filter(|setup| !images.contains(&setup.image)) {
        problems.push(format!("setup {} is made of image {}, which is not there", setup.name, setup.image));
    }
    for configuration in &records.configurations {
        let name = &configuration.name;
        if !setups.contains(&configuration.setup) {
            problems.push(format!(
                "configuration {name} is of setup {}, which is not there",
                configuration.setup
            ));
        }
        for wanted in configuration.drives.iter().filter(|wanted| !drives.contains(&wanted.drive)) {
            problems.push(format!("configuration {name} uses drive {}, which is not there", wanted.drive));
        }
    }
    records.problems.extend(problems);
}

/// No host is promised to VMs beyond what its hardware profile in the configuration has.
fn check_capacity(records: &mut Records, config: &CoordinatorConfig) {
    let mut promised: BTreeMap<HostId, (Millicores, Mebibytes)> = BTreeMap::new();
    for vm in records.vms.iter().filter(|vm| vm.holds_capacity()) {
        let Some(host) = vm.host else { continue };
        let (cores, memory) = promised.entry(host).or_default();
        cores.0 = cores.0.saturating_add(vm.request.cores.0);
        if vm.request.huge_pages.is_none() {
            memory.0 = memory.0.saturating_add(vm.request.memory.0);
        }
    }
    let mut problems = Vec::new();
    for (host, (cores, memory)) in promised {
        let Some(host) = records.hosts.get(&host) else { continue };
        let Some(profile) = config.hardware_profiles.get(&host.profile) else {
            problems.push(format!(
                "host {} has the hardware profile {}, which is not in the configuration",
                host.name, host.profile
            ));
            continue;
        };
        let capacity = profile.capacity();
        if cores > capacity.cores {
            problems.push(format!(
                "host {} has {} millicores to give and {} are promised",
                host.name, capacity.cores.0, cores.0
            ));
        }
        if memory > capacity.memory {
            problems.push(format!(
                "host {} has {} to give and {memory} of memory are promised",
                host.name, capacity.memory
            ));
        }
    }
    records.problems.extend(problems);
}
