//! Holds VMs that are started together to costing less than one after the other, and to being VMs like any other.

use std::sync::Arc;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, DriveName, RealmName, SetupName, VolumeName};
use reeve_common::storage::DiskFormat;
use reeve_common::units::{Bytes, Mebibytes};

use super::super::core::Kept;
use super::super::workflows_tests::{Stage, name};
use super::*;
use crate::model::configuration::{Configuration, DriveUse};
use crate::model::drive::Drive;
use crate::model::fixture;
use crate::model::vm_state::VmState;
use crate::service::Service;
use crate::store::{Store, Version};

/// Two hosts of 64 cores, and configurations named after the cores that each takes.
async fn service(stage: &Stage, sizes: &[u32]) -> Service {
    let service = stage.open(stage.store().await as Arc<dyn Store>).await;
    stage.connect(&service);
    for cores in sizes {
        let setup = crate::model::setup::Setup {
            name: name::<SetupName>(&format!("of-{cores}")),
            cores: *cores,
            memory: Mebibytes(64),
            ..fixture::setup()
        };
        service.create_setup(setup.clone(), &stage.actor).await.unwrap();
        let configuration = Configuration {
            name: name::<ConfigurationName>(&format!("takes-{cores}")),
            setup: setup.name,
            ..fixture::configuration()
        };
        service.create_configuration(configuration, &stage.actor).await.unwrap();
    }
    service
}

fn names(names: &[&str]) -> Vec<ConfigurationName> {
    names.iter().map(|text| name(text)).collect()
}

#[tokio::test]
async fn each_has_its_own_result_in_the_order_asked_and_its_own_record() {
    let stage = Stage::with_vms(0).await;
    let service = service(&stage, &[40, 30]).await;
    let asked = names(&["takes-40", "nobody", "takes-30", "takes-40", "takes-40"]);
    let started = service.start_vms(&asked, &stage.actor).await.unwrap();
    let told: Vec<String> = started
        .iter()
        .map(|started| match started {
            Ok(detail) => {
                let configuration = detail.view.vm.configuration.as_ref().map(ToString::to_string);
                format!("{} {}", configuration.unwrap_or_default(), detail.view.state.as_str())
            }
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(told.len(), 5);
    assert!(told[1].contains("nobody"), "{told:?}");
    // No two fit on one host: whoever stands behind is not served before them.
    assert_eq!(
        [&told[0], &told[2], &told[3], &told[4]],
        ["takes-40 placed", "takes-30 placed", "takes-40 unplaceable", "takes-40 unplaceable"],
    );
    let decision = started[0].as_ref().unwrap().decision.as_ref().expect("a decision stands beside each");
    assert_eq!(decision.at_once, None, "its place is where it would have gone alone");
    let (_, records) = service.last_audit_records(20).await.unwrap();
    let starts: Vec<&str> = records
        .iter()
        .filter(|record| record.event.what == "start-vm")
        .map(|record| record.event.object.as_str())
        .collect();
    assert_eq!(starts.len(), 5, "{starts:?}");
    assert!(starts.contains(&"configuration nobody"), "{starts:?}");
}

#[tokio::test]
async fn nobody_is_left_out_who_would_fit_by_a_plan() {
    let stage = Stage::with_vms(0).await;
    // One by one, by a cost that spreads, 20 and 20 go to one host each, and then 60 fits nowhere.
    let service = service(&stage, &[20, 60]).await;
    let started =
        service.start_vms(&names(&["takes-20", "takes-20", "takes-60"]), &stage.actor).await.unwrap();
    let hosts: Vec<String> = started
        .iter()
        .map(|started| started.as_ref().unwrap().view.host.as_ref().expect("a place").1.to_string())
        .collect();
    assert!(hosts[0] == hosts[1] && hosts[1] != hosts[2], "{hosts:?}");
    assert!(started.iter().all(|started| started.as_ref().unwrap().view.state == VmState::Placed));
}

#[tokio::test]
async fn a_drive_has_one_writer_also_among_those_started_together() {
    let stage = Stage::with_vms(0).await;
    let service = service(&stage, &[1]).await;
    let drive = Drive {
        name: name::<DriveName>("results"),
        realm: name::<RealmName>("primary"),
        volume: name::<VolumeName>("results"),
        format: DiskFormat::Raw,
        size: Bytes(1 << 30),
        owner: fixture::configuration().owner,
        team: fixture::configuration().team,
        created_at: Timestamp(4),
        ready: true,
    };
    let uses = DriveUse { drive: drive.name.clone(), read_only: false };
    let kept = Kept { version: Version::default(), value: Arc::new(drive) };
    service.core().drives.insert(uses.drive.clone(), kept);
    for writer in ["writes-1", "writes-2"] {
        let configuration = Configuration {
            name: name::<ConfigurationName>(writer),
            drives: vec![uses.clone()],
            ..fixture::configuration()
        };
        service.create_configuration(configuration, &stage.actor).await.unwrap();
    }
    let started = service.start_vms(&names(&["writes-1", "writes-2"]), &stage.actor).await.unwrap();
    assert_eq!(started.iter().filter(|started| started.is_ok()).count(), 1, "{started:?}");
    let refused = started.iter().find_map(|started| started.as_ref().err()).unwrap();
    assert!(refused.message.contains("is in use by VM"), "{refused}");
}

#[tokio::test]
async fn none_and_too_many_are_refused() {
    let stage = Stage::with_vms(0).await;
    let service = service(&stage, &[1]).await;
    let many = names(&["takes-1"; STARTED_TOGETHER_MAX + 1]);
    for asked in [&many[..0], &many] {
        let refused = service.start_vms(asked, &stage.actor).await.unwrap_err();
        assert!(refused.message.contains("at least 1 and at most 1000"), "{refused}");
    }
    // More than are planned at once, and each is held.
    let started = service.start_vms(&many[..BATCH_MAX + 8], &stage.actor).await.unwrap();
    assert!(started.len() == BATCH_MAX + 8 && started.iter().all(Result::is_ok));
}
