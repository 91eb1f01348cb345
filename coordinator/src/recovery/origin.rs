//! Owns what each VM's host keeps for the coordinator: all of the VM's record that the host cannot tell by itself, as
//! text that an agent stores and never reads.
//!
//! Must not: hold what changes in a VM's life. The same VM has the same origin from its placement to its end, since
//! another one would make its host define it anew.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, DriveName, Generation, HostId, SetupName, VmId};
use reeve_common::vm::DriveAttachment;
use reeve_common::vm::limits::ORIGIN_LENGTH_MAX;
use reeve_scheduler::{Assignment, Request};
use serde::{Deserialize, Serialize};

use crate::model::configuration::{Configuration, DriveUse};
use crate::model::definition::Definition;
use crate::model::vm::{Transition, Vm, Wish};
use crate::model::vm_state::VmState;
use crate::records::Record;
use crate::store::{Collection, RecordError, Stored, Version};

/// The place of an origin in messages about it; it is never stored here.
const ORIGINS: Collection = Collection::new("origins");

/// Where a VM comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Origin {
    /// What it is a run of; none when it was adopted.
    pub configuration: Option<ConfigurationName>,
    /// The setup it was made from; none when it was adopted.
    pub setup: Option<SetupName>,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    pub project: Option<String>,
    /// What it needs of a host.
    pub request: Request,
    /// What its domain is made of, without the origin itself.
    #[serde(rename = "spec")]
    pub definition: Definition,
    /// The host it was placed on.
    pub host: Option<HostId>,
    /// Which of its host's devices and NUMA nodes it has.
    pub assignment: Assignment,
    /// When it was asked for.
    pub requested_at: Timestamp,
}

impl Record for Origin {
    const KIND: &'static str = "vm-origin";
    /// 2: of what was adopted, too.
    const VERSION: u32 = 2;
}

/// A VM's origin as its agent is told it; empty in the case that it is longer than an agent keeps.
#[must_use]
pub fn origin_text(vm: &Vm) -> String {
    Origin::of(vm)
        .encode()
        .ok()
        .filter(|text| text.len() <= ORIGIN_LENGTH_MAX)
        .map_or_else(String::new, |text| text.to_string())
}

impl Origin {
    /// The origin of a VM.
    #[must_use]
    pub fn of(vm: &Vm) -> Self {
        Self {
            configuration: vm.configuration.clone(),
            setup: vm.setup.clone(),
            owner: vm.owner.clone(),
            team: vm.team.clone(),
            project: vm.project.clone(),
            request: vm.request.clone(),
            definition: vm.definition.with_origin(String::new()),
            host: vm.host,
            assignment: vm.assignment.clone(),
            requested_at: vm.requested_at,
        }
    }

    /// Reads what a host has kept for `vm`.
    ///
    /// # Errors
    /// [`RecordError`] when it is no origin, or one of a later release.
    pub fn read(vm: VmId, text: &str) -> Result<Self, RecordError> {
        Self::decode(&Stored { key: ORIGINS.key(&vm), version: Version::default(), value: text.into() })
    }

    /// The record of the VM as far as its origin tells it: on this host, wished to run, its state not yet known. It counts
    /// as started, so that a host which does not have it any more is never told to start it.
    #[must_use]
    pub fn into_vm(self, id: VmId, host: HostId, generation: Generation, now: Timestamp) -> Vm {
        let reason = Some("taken in from its host's ledger".to_owned());
        let told = Transition { at: self.requested_at, state: VmState::Requested, reason: None };
        let taken_in = Transition { at: now, state: VmState::Starting, reason: reason.clone() };
        Vm {
            id,
            name: self.definition.name().clone(),
            configuration: self.configuration,
            setup: self.setup,
            realm: self.definition.realm().clone(),
            owner: self.owner,
            team: self.team,
            project: self.project,
            request: self.request,
            definition: self.definition,
            state: VmState::Starting,
            reason,
            host: Some(host),
            assignment: self.assignment,
            // A host that still has a leftover says so, and is told again then.
            displaced_from: Vec::new(),
            wish: Wish::Run,
            generation,
            end: None,
            ended_unasked: false,
            requested_at: self.requested_at,
            registered_at: None,
            ended_at: None,
            history: vec![told, taken_in],
        }
    }

    /// The configuration it is a run of, as far as its runs tell it; none when it was adopted. A drive's volume bears the
    /// drive's name.
    #[must_use]
    pub fn configuration(&self) -> Option<Configuration> {
        let spec = self.definition.made()?;
        let drive = |attached: &DriveAttachment| {
            let drive = DriveName::new(attached.volume.as_str()).ok()?;
            Some(DriveUse { drive, read_only: attached.read_only })
        };
        Some(Configuration {
            name: self.configuration.clone()?,
            title: spec.title.clone(),
            setup: self.setup.clone()?,
            owner: self.owner.clone(),
            team: self.team.clone(),
            project: self.project.clone(),
            drives: spec.drives.iter().filter_map(drive).collect(),
            when_host_lost: None,
            priority: 0,
            created_at: self.requested_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fixture;

    fn placed() -> Vm {
        Vm { host: Some(HostId(4)), state: VmState::Placed, ..fixture::vm() }
    }

    #[test]
    fn the_form_of_an_origin() {
        let value: serde_json::Value = serde_json::from_str(&origin_text(&placed())).unwrap();
        insta::assert_json_snapshot!(value);
    }

    #[test]
    fn a_vm_comes_back_with_all_that_its_host_cannot_tell() {
        let vm = placed();
        let origin = Origin::read(vm.id, &origin_text(&vm)).unwrap();
        let back = origin.clone().into_vm(vm.id, HostId(4), Generation(7), Timestamp(99));
        assert_eq!(
            (&back.request, &back.definition, &back.name, back.host),
            (&vm.request, &vm.definition, &vm.name, vm.host)
        );
        assert_eq!((back.generation, back.requested_at), (Generation(7), vm.requested_at));
        let configuration = origin.configuration().unwrap();
        assert_eq!((Some(configuration.name), configuration.owner), (vm.configuration, vm.owner));
    }

    #[test]
    fn it_is_the_same_throughout_a_life() {
        let mut vm = placed();
        let before = origin_text(&vm);
        vm.enter(VmState::Running, None, Timestamp(50));
        vm.registered_at = Some(Timestamp(50));
        vm.generation = Generation(9);
        vm.definition = vm.definition.with_origin(before.clone());
        assert_eq!(origin_text(&vm), before);
    }

    #[test]
    fn what_is_no_origin_is_said_with_the_vm() {
        let vm = fixture::vm();
        for bad in ["", "{}", r#"{"version":1,"kind":"vm","record":{}}"#] {
            assert!(Origin::read(vm.id, bad).is_err(), "{bad:?} was read");
        }
        let newer = origin_text(&vm).replace("\"version\":2", "\"version\":9");
        let error = Origin::read(vm.id, &newer).unwrap_err().to_string();
        assert!(error.contains("version 9") && error.contains(&vm.id.to_string()), "{error}");
    }

    #[test]
    fn what_no_agent_would_keep_is_not_told() {
        let mut vm = placed();
        vm.request.labels.insert("long".to_owned(), "x".repeat(ORIGIN_LENGTH_MAX));
        assert_eq!(origin_text(&vm), "");
    }
}
