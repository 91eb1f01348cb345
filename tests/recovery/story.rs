//! The stories: a backup is restored and the hosts are asked; nothing is left but the authority and the hosts are asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::ids::HostId;
use reeve_common::text::chain;
use reeve_coordinator::backup::{RestoreError, restore, save, verify};
use reeve_coordinator::recovery::{RecoverError, RecoverRequest, Recovered, recover};
use tokio::runtime::Runtime;

use crate::stage::{Coordinator, Host, PATIENCE, Place, actor};

fn request() -> RecoverRequest {
    RecoverRequest {
        wait: PATIENCE,
        hosts: Some(2),
        profile: None,
        profiles: BTreeMap::new(),
        again: false,
        dry_run: false,
    }
}

fn asked(place: &Place, request: &RecoverRequest) -> Result<Recovered, RecoverError> {
    Runtime::new().unwrap().block_on(recover(place.config(), request, Arc::new(SystemClock)))
}

fn domains(hosts: &[Host]) -> Vec<(String, Option<u64>)> {
    let mut all: Vec<_> = hosts.iter().flat_map(Host::domains).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_restored_backup_learns_what_has_happened_since_before_a_coordinator_runs_on_it() {
    let place = Place::new();
    let first = Coordinator::start(&place);
    first.furnish(2);
    let hosts = [1, 2].map(|number| Host::run(&place, number));
    first.wait_for_hosts(2);
    let early = first.start_vm();
    let gone = first.start_vm();
    // While it runs.
    let backup = place.path().join("monday");
    save(&place.config(), &backup, SystemClock.now()).unwrap();
    let again = save(&place.config(), &backup, SystemClock.now()).unwrap_err();
    assert!(chain(&again).contains("never overwrites"), "{}", chain(&again));
    let verdict = verify(&backup, &place.config()).unwrap();
    assert!(verdict.problems.is_empty() && verdict.facts[0].contains("backup"), "{verdict:?}");
    // What the backup does not know: one more VM, one that ended, and coordinators that were obeyed.
    let late = first.start_vm();
    first.block_on(first.service.destroy_vm(&gone.vm.id, &actor())).unwrap();
    first.wait_for_state(&gone.vm.id.to_string(), "stopped");
    first.kill(&place);
    let second = Coordinator::start(&place);
    second.wait_for_hosts(2);
    let before = domains(&hosts);
    assert_eq!(before.len(), 2);
    let epoch = second.service.epoch();

    let runtime = Runtime::new().unwrap();
    let try_restore =
        |replace| runtime.block_on(restore(&place.config(), &backup, replace, 7, SystemClock.now()));
    assert!(matches!(try_restore(false), Err(RestoreError::Exists { .. })));
    let in_use = try_restore(true).unwrap_err();
    assert!(chain(&in_use).contains("in use by process"), "{}", chain(&in_use));
    second.kill(&place);
    let restored = try_restore(true).unwrap();
    assert!(restored.set_aside.unwrap().exists() && !restored.authority_restored);
    assert!(restored.epoch > epoch, "the store that was replaced tells the epoch");
    let refused = Coordinator::try_start(&place).err().unwrap();
    assert!(refused.contains("reeve-coordinator recover"), "{refused}");

    let recovered = asked(&place, &request()).unwrap();
    assert_eq!(recovered.answers.len(), 2, "{:?}", recovered.lines);
    let third = Coordinator::start(&place);
    assert!(third.service.epoch() > restored.epoch);
    third.wait_for_hosts(2);
    for vm in [&early, &late] {
        let view = third.wait_for_state(&vm.vm.id.to_string(), "running");
        assert_eq!((view.vm.host, &view.vm.request), (vm.vm.host, &vm.vm.request));
    }
    assert!(third.service.vms().iter().all(|view| view.vm.id != gone.vm.id));
    assert!(
        third.service.past_vms().iter().any(|view| view.vm.id == gone.vm.id),
        "what is over is known to be over"
    );
    assert_eq!(domains(&hosts), before, "a guest was started, stopped or started anew");
    let verdict = verify(&place.config().store_path(), &place.config()).unwrap();
    assert_eq!(verdict.problems, Vec::<String>::new());
    // It is in office: what it wishes is obeyed.
    third.block_on(third.service.destroy_vm(&late.vm.id, &actor())).unwrap();
    third.wait_for_state(&late.vm.id.to_string(), "stopped");
    assert_eq!(domains(&hosts).len(), 1);
    third.kill(&place);
}

#[test]
fn with_nothing_but_the_authority_hosts_vms_and_configurations_come_from_the_agents() {
    let place = Place::new();
    let first = Coordinator::start(&place);
    first.furnish(2);
    let hosts = [1, 2].map(|number| Host::run(&place, number));
    first.wait_for_hosts(2);
    let vms = [first.start_vm(), first.start_vm()];
    let epoch = first.service.epoch();
    let refused = asked(&place, &request()).unwrap_err();
    assert!(chain(&refused).contains("in use by process"), "{}", chain(&refused));
    first.kill(&place);
    assert!(
        matches!(asked(&place, &request()), Err(RecoverError::InUse { .. })),
        "there is nothing to recover"
    );
    let before = domains(&hosts);
    let state = place.config().state_directory;
    for file in std::fs::read_dir(&state).unwrap().map(Result::unwrap) {
        if file.file_name().to_string_lossy().starts_with("store") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }

    let dry = RecoverRequest { dry_run: true, ..request() };
    assert_eq!(asked(&place, &dry).unwrap().merged.vms.len(), 2);
    assert!(!place.config().store_path().exists(), "a dry run writes nothing");
    let recovered = asked(&place, &request()).unwrap();
    let story = recovered.lines.join("\n");
    for part in ["node-1", "node-2", "small", "debian.qcow2", "web", "no-scheduler", "join tokens"] {
        assert!(story.contains(part), "{part} is not told:\n{story}");
    }
    let second = Coordinator::start(&place);
    assert!(second.service.epoch() > epoch);
    second.wait_for_hosts(2);
    for vm in &vms {
        let view = second.wait_for_state(&vm.vm.id.to_string(), "running");
        assert_eq!(
            (&view.vm.name, view.vm.host, &view.vm.request, &view.vm.definition),
            (&vm.vm.name, vm.vm.host, &vm.vm.request, &vm.vm.definition)
        );
        assert_eq!((view.vm.owner.as_str(), view.vm.project.as_deref()), ("ada", Some("difference")));
    }
    assert_eq!(second.service.configurations().len(), 1);
    assert_eq!(domains(&hosts), before, "a guest was started, stopped or started anew");
    second.block_on(async {
        let state = "enabled".parse().unwrap();
        second.service.set_host_state(&"node-1".parse().unwrap(), state, &actor()).await.unwrap();
        second.service.destroy_vm(&vms[0].vm.id, &actor()).await.unwrap();
    });
    second.wait_for_state(&vms[0].vm.id.to_string(), "stopped");
    assert!(second.service.hosts().iter().all(|host| host.host.id <= HostId(2)));
    second.kill(&place);
}

#[test]
fn without_an_answer_nothing_is_written() {
    let place = Place::new();
    std::fs::remove_file(place.config().store_path()).unwrap();
    let hasty = RecoverRequest { wait: Duration::from_millis(100), ..request() };
    let error = asked(&place, &hasty).unwrap_err();
    assert!(matches!(error, RecoverError::NobodyAnswered { .. }), "{error}");
    let unknown = RecoverRequest { profile: Some("none".parse().unwrap()), ..hasty };
    assert!(matches!(asked(&place, &unknown), Err(RecoverError::UnknownProfile { .. })));
}
