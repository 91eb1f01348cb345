//! Owns which records the coordinator keeps, under which keys, and in which version of their form.
//!
//! A record's form is part of the product: once released it is never changed in place. A change gets the next
//! version, and reading the one before stays possible. The golden tests below hold every form.

use reeve_common::ids::HostId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::configuration::Configuration;
use crate::model::drive::Drive;
use crate::model::explanation::PlacementDecision;
use crate::model::fence::Fence;
use crate::model::host::Host;
use crate::model::image::Image;
use crate::model::setup::Setup;
use crate::model::vm::Vm;
use crate::model::warning::{Warning, WarningId};
use crate::store::{Collection, InvalidKey, Key, RecordError, Stored, decode, encode};
use crate::workflow::Workflow;

/// Hosts by id.
pub const HOSTS: Collection = Collection::new("hosts");
/// Images by name.
pub const IMAGES: Collection = Collection::new("images");
/// Hardware setups by name.
pub const SETUPS: Collection = Collection::new("setups");
/// VM configurations by name.
pub const CONFIGURATIONS: Collection = Collection::new("configurations");
/// Drives by name.
pub const DRIVES: Collection = Collection::new("drives");
/// VMs whose life is not over, by id.
pub const VMS: Collection = Collection::new("vms");
/// VMs whose life is over, by the time of its end and id.
pub const PAST_VMS: Collection = Collection::new("past-vms");
/// Join tokens, by the hash of their secret.
pub const TOKENS: Collection = Collection::new("join-tokens");
/// The decision that placed a VM, by the VM's id.
pub const DECISIONS: Collection = Collection::new("decisions");

/// Actions of several steps, by number.
pub const WORKFLOWS: Collection = Collection::new("workflows");

/// Fencings, by host and number.
pub const FENCES: Collection = Collection::new("fences");

/// Standing warnings, by kind and subject.
pub const WARNINGS: Collection = Collection::new("warnings");

/// The counter that numbers fencings.
pub const FENCE_COUNTER: &str = "fence";
/// The counter that numbers hosts.
pub const HOST_COUNTER: &str = "host";
/// The counter that numbers workflows.
pub const WORKFLOW_COUNTER: &str = "workflow";

/// Something kept in the store.
pub trait Record: Serialize + DeserializeOwned {
    /// What it is called inside its envelope.
    const KIND: &'static str;
    /// The version of its form that is written.
    const VERSION: u32 = 1;
    /// The oldest version that is read: forms from there on differ in keys that were added, and say so by defaults.
    const OLDEST_VERSION: u32 = 1;

    /// The record's text.
    ///
    /// # Errors
    /// [`RecordError`] when it cannot be said in JSON.
    fn encode(&self) -> Result<std::sync::Arc<str>, RecordError> {
        encode(Self::KIND, Self::VERSION, self)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// [`RecordError`] names the record and what is wrong with it.
    fn decode(stored: &Stored) -> Result<Self, RecordError> {
        decode(stored, Self::KIND, Self::OLDEST_VERSION..=Self::VERSION)
    }
}

impl Record for Host {
    const KIND: &'static str = "host";
    /// 2: whether it is being emptied.
    const VERSION: u32 = 2;
}
impl Record for Image {
    const KIND: &'static str = "image";
}
impl Record for Setup {
    const KIND: &'static str = "setup";
    /// 2: devices by selector and share, and where its VMs may live.
    const VERSION: u32 = 2;
}
impl Record for Configuration {
    const KIND: &'static str = "configuration";
    /// 2: what becomes of its VMs when their host is lost, and their priority.
    const VERSION: u32 = 2;
}
impl Record for Drive {
    const KIND: &'static str = "drive";
}
impl Record for Vm {
    const KIND: &'static str = "vm";
    /// 2: what is asked of the host as the setup says it, processor features and huge pages. 3: the hosts it was moved
    /// away from. 4: what was adopted, and whether it ended unasked.
    const VERSION: u32 = 4;
}
impl Record for Workflow {
    const KIND: &'static str = "workflow";
}
impl Record for PlacementDecision {
    const KIND: &'static str = "decision";
}

impl Record for Fence {
    const KIND: &'static str = "fence";
}

impl Record for Warning {
    const KIND: &'static str = "warning";
}

/// Where a warning's record lies.
///
/// # Errors
/// The subject is none that was checked.
pub fn warning_key(id: &WarningId) -> Result<Key, InvalidKey> {
    Key::new(format!("{}/{}/{}", WARNINGS.prefix(), id.kind, id.subject))
}

/// Where a fencing's record lies: beside the others of its host, in the order of their numbers.
///
/// # Errors
/// Never; the store's rule for keys is asked all the same.
pub fn fence_key(fence: &Fence) -> Result<Key, InvalidKey> {
    Key::new(format!("{}/{:010}-{:020}", FENCES.prefix(), fence.host.0, fence.number))
}

/// Where a VM's record lies: among the living, or among the past in the order of their ends.
///
/// # Errors
/// Never for a VM that was made here; the store's rule for keys is asked all the same.
pub fn vm_key(vm: &Vm) -> Result<Key, InvalidKey> {
    match vm.ended_at {
        None => Ok(VMS.key(&vm.id)),
        Some(ended_at) => Key::new(format!("{}/{:020}-{}", PAST_VMS.prefix(), ended_at.0, vm.id)),
    }
}

/// Where a host's record lies.
#[must_use]
pub fn host_key(host: HostId) -> Key {
    HOSTS.key(&host)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reeve_common::clock::Timestamp;
    use reeve_common::device::DeviceAmount;
    use reeve_common::ids::{HostName, OperationId, ProfileName, RealmName};
    use reeve_scheduler::{Assignment, HostState};

    use super::*;
    use crate::model::displacement::Displaced;
    use crate::model::fence::FenceState;
    use crate::model::fixture;
    use crate::model::vm_state::VmState;
    use crate::model::warning::{Severity, WarningKind, WarningState};
    use crate::store::Version;
    use crate::workflow::{Purpose, StartAgain, Step, StepRecord, WorkflowId, WorkflowState};

    fn stored(key: Key, value: std::sync::Arc<str>) -> Stored {
        Stored { key, version: Version(1), value }
    }

    /// Writes a record, reads it back, and shows its form.
    fn form<T: Record + PartialEq + std::fmt::Debug>(key: Key, record: &T) -> serde_json::Value {
        let text = record.encode().unwrap();
        assert_eq!(T::decode(&stored(key, std::sync::Arc::clone(&text))).unwrap(), *record);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_form_of_a_host() {
        let host = Host {
            id: HostId(7),
            name: HostName::new("node-7").unwrap(),
            realm: RealmName::new("primary").unwrap(),
            uri: "qemu:///system".to_owned(),
            profile: ProfileName::new("r750").unwrap(),
            state: HostState::NoScheduler,
            labels: [("rack".to_owned(), "3".to_owned())].into(),
            added_at: Timestamp(1),
            joined_at: Some(Timestamp(2)),
            draining: false,
        };
        insta::assert_json_snapshot!(form(host_key(host.id), &host));
    }

    #[test]
    fn the_form_of_a_fencing() {
        let fence = Fence {
            number: 3,
            host: HostId(7),
            host_name: HostName::new("node-7").unwrap(),
            requested_at: Timestamp(1),
            requested_by: "ann".to_owned(),
            command: Some("/usr/sbin/fence_ipmilan".to_owned()),
            instance: Some(OperationId(uuid::Uuid::from_u128(5))),
            state: FenceState::NotBelieved,
            reason: Some("its agent answers".to_owned()),
            attempts: 1,
            ended_at: Some(Timestamp(2)),
            output: "Success: Powered OFF".to_owned(),
            returned_at: None,
        };
        let key = fence_key(&fence).unwrap();
        assert_eq!(key.as_str(), "fences/0000000007-00000000000000000003");
        insta::assert_json_snapshot!(form(key, &fence));
    }

    #[test]
    fn the_form_of_a_warning() {
        let warning = Warning {
            kind: WarningKind::SilentHost,
            subject: "node-7".to_owned(),
            severity: Severity::Failure,
            message: "it has not been heard".to_owned(),
            advice: "look at it".to_owned(),
            count: 2,
            first_seen: Timestamp(1),
            last_seen: Timestamp(3),
            state: WarningState::Acknowledged { by: "ann".to_owned(), at: Timestamp(2) },
        };
        let key = warning_key(&warning.id()).unwrap();
        assert_eq!(key.as_str(), "warnings/silent-host/node-7");
        let form_of = |warning: &Warning| form(warning_key(&warning.id()).unwrap(), warning);
        assert_eq!(
            form_of(&warning),
            serde_json::json!({"version": 1, "kind": "warning", "record": {
                "kind": "silent-host", "subject": "node-7", "severity": "failure",
                "message": "it has not been heard", "advice": "look at it", "count": 2,
                "first-seen": 1, "last-seen": 3, "state": "acknowledged", "by": "ann", "at": 2,
            }})
        );
        let gone = form_of(&Warning { state: WarningState::Gone { at: Timestamp(4) }, ..warning.clone() });
        assert_eq!((&gone["record"]["state"], &gone["record"]["at"]), (&"gone".into(), &4.into()));
        assert_eq!(form_of(&Warning { state: WarningState::Open, ..warning })["record"]["state"], "open");
    }

    #[test]
    fn the_form_of_the_catalogue() {
        let image = fixture::image();
        insta::assert_json_snapshot!(form(IMAGES.key(&image.name), &image));
        let setup = fixture::setup();
        insta::assert_json_snapshot!(form(SETUPS.key(&setup.name), &setup));
        let configuration = fixture::configuration();
        insta::assert_json_snapshot!(form(CONFIGURATIONS.key(&configuration.name), &configuration));
    }

    #[test]
    fn the_form_of_a_vm() {
        let mut vm = fixture::vm();
        vm.enter(VmState::Unplaceable, Some("no host can take it".to_owned()), Timestamp(11));
        insta::assert_json_snapshot!(form(vm_key(&vm).unwrap(), &vm));
    }

    /// Records as they were written in version 1.
    #[test]
    fn older_forms_stay_readable() {
        let setup: Setup = Record::decode(&stored(
            SETUPS.key(&fixture::setup().name),
            include_str!("snapshots/setup-1.json").into(),
        ))
        .unwrap();
        let devices = [("nvidia-a100".parse().unwrap(), DeviceAmount::Whole(2))].into();
        assert_eq!(setup, Setup { devices, ..fixture::setup() });
        let vm: Vm =
            Record::decode(&stored(VMS.key(&fixture::vm().id), include_str!("snapshots/vm-1.json").into()))
                .unwrap();
        assert_eq!((vm.definition.clone(), vm.host), (fixture::vm().definition, Some(HostId(4))));
        assert_eq!(vm.request.devices.len(), 1);
        assert!(
            vm.request.pools.is_empty()
                && vm.request.affinity.is_empty()
                && vm.assignment == Assignment::default()
        );
        let mut complete = vm.clone();
        complete.complete();
        assert_eq!(complete.request.pools.len(), 2, "the pools of its disk and of its image");
        assert!(vm.encode().unwrap().starts_with(r#"{"version":4,"#), "written anew in the form of now");
    }

    /// Every older form that is still read, as it was written: `snapshots/KIND-VERSION.json`.
    #[test]
    fn every_older_version_of_every_record_is_readable() {
        fn check<T: Record>(key: &str) {
            for version in T::OLDEST_VERSION..T::VERSION {
                let name = format!("{}/src/snapshots/{}-{version}.json", env!("CARGO_MANIFEST_DIR"), T::KIND);
                let text = std::fs::read_to_string(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert!(text.starts_with(&format!("{{\"version\":{version},")), "{name}");
                T::decode(&stored(Key::new(key).unwrap(), text.into())).unwrap();
            }
        }
        check::<Host>("hosts/1");
        check::<Image>("images/a");
        check::<Setup>("setups/a");
        check::<Configuration>("configurations/a");
        check::<Drive>("drives/a");
        check::<Vm>("vms/a");
        check::<PlacementDecision>("decisions/a");
        check::<crate::recovery::Origin>("origins/a");
        check::<crate::recovery::PendingRecovery>("recovery/pending");
        check::<Workflow>("workflows/1");
        check::<Fence>("fences/1");
        check::<Warning>("warnings/silent-host/node-1");
    }

    /// Hosts and configurations as they were written in version 1.
    #[test]
    fn what_was_not_said_then_is_as_it_was_then() {
        let text = r#"{"version":1,"kind":"host","record":{"id":7,"name":"node-7","realm":"primary","uri":"qemu:///system","profile":"r750","state":"enabled","labels":{},"added-at":1,"joined-at":null}}"#;
        let host: Host = Record::decode(&stored(host_key(HostId(7)), text.into())).unwrap();
        assert!(!host.draining);
        let text = r#"{"version":1,"kind":"configuration","record":{"name":"web","title":"Web server","setup":"small","owner":"ada","team":"engines","project":null,"drives":[],"created-at":3}}"#;
        let configuration = fixture::configuration();
        let read: Configuration =
            Record::decode(&stored(CONFIGURATIONS.key(&configuration.name), text.into())).unwrap();
        assert_eq!(read, configuration, "the realm says what becomes of its VMs, and it has no priority");
    }

    #[test]
    fn the_form_of_a_workflow() {
        let start = StartAgain { configuration: fixture::configuration().name, vm: fixture::vm().id };
        let steps = [
            Step::MarkDraining { host: HostId(7) },
            Step::StopVm {
                vm: fixture::vm().id,
                name: fixture::vm().name,
                grace: Duration::from_secs(5),
                then: Some(start.clone()),
            },
            Step::StartVm { start },
            Step::ConfirmEmpty { host: HostId(7) },
            Step::ProveStopped { host: HostId(7) },
            Step::Displace { vm: fixture::vm().id, name: fixture::vm().name, host: HostId(7) },
        ];
        let workflow = Workflow {
            id: WorkflowId(3),
            purpose: Purpose::Drain {
                host: HostId(7),
                name: HostName::new("node-7").unwrap(),
                grace: Duration::from_secs(5),
            },
            state: WorkflowState::Running,
            steps: steps.into_iter().map(StepRecord::new).collect(),
            problem: None,
            by: "ann".to_owned(),
            started_at: Timestamp(1),
            ended_at: None,
        };
        insta::assert_json_snapshot!(form(WORKFLOWS.key(&workflow.id.0), &workflow));
    }

    #[test]
    fn a_vm_of_version_2_was_moved_from_nowhere() {
        let mut vm = fixture::vm();
        vm.displaced_from.push(Displaced { host: HostId(4), generation: vm.generation, at: Timestamp(5) });
        vm.request.left.insert(HostId(4));
        let key = || vm_key(&fixture::vm()).unwrap();
        let mut form = form(key(), &vm);
        form["version"] = 2.into();
        form["record"].as_object_mut().unwrap().remove("displaced-from").unwrap();
        form["record"]["request"].as_object_mut().unwrap().remove("left").unwrap();
        let read: Vm = Record::decode(&stored(key(), form.to_string().into())).unwrap();
        assert_eq!(read, fixture::vm());
    }

    #[test]
    fn past_vms_lie_in_the_order_of_their_ends() {
        let ended = |at| {
            let mut vm = fixture::vm();
            vm.enter(VmState::Stopped, None, Timestamp(at));
            vm_key(&vm).unwrap()
        };
        assert!(ended(9) < ended(10));
        assert!(ended(9).is_under(PAST_VMS.prefix()) && !ended(9).is_under(VMS.prefix()));
    }
}
