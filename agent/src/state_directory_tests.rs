//! What is remembered through a restart, and what is refused.

use reeve_common::ids::{PoolName, VolumeName};
use reeve_common::vm::StopReason;
use tempfile::TempDir;

use super::*;
use crate::vm::sample_values::vm;

fn tombstone(number: u128, generation: u64) -> Tombstone {
    Tombstone {
        vm: vm(number),
        generation: Generation(generation),
        epoch: Epoch(2),
        reason: StopReason::StartFailed("no such image".to_owned()),
    }
}

fn preparation(number: u128) -> Preparation {
    let disk = (PoolName::new("volumes").unwrap(), VolumeName::new("disk").unwrap());
    Preparation { vm: vm(number), generation: Generation(1), epoch: Epoch(2), disk }
}

fn open(directory: &TempDir) -> StateDirectory {
    StateDirectory::open(directory.path()).unwrap()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let state = open(&directory);
    state.raise_epoch(Epoch(9)).unwrap();
    state.raise_epoch(Epoch(4)).unwrap();
    state.prepare(preparation(1)).unwrap();
    state.prepare(preparation(2)).unwrap();
    state.bury(tombstone(2, 3)).unwrap();
    state.bury(tombstone(3, 1)).unwrap();
    state.forget(vm(3)).unwrap();
    state.forget(vm(99)).unwrap();
    drop(state);
    let state = open(&directory);
    assert_eq!(state.highest_epoch(), Epoch(9));
    assert_eq!(state.tombstone(vm(2)), Some(tombstone(2, 3)));
    assert_eq!(state.tombstones().len(), 1);
    assert_eq!(state.forgotten(vm(3)), Some(Generation(1)));
    assert_eq!(state.preparations().get(&vm(1)), Some(&preparation(1)));
}

#[test]
fn a_second_agent_is_refused() {
    let directory = TempDir::new().unwrap();
    let _first = open(&directory);
    let error = StateDirectory::open(directory.path()).unwrap_err();
    assert!(matches!(error, StateError::InUse { .. }), "{error}");
}

#[test]
fn damaged_files_are_refused_with_their_name() {
    for (name, content) in [
        ("epoch", "x"),
        ("tombstones.json", "{}"),
        ("tombstones.json", "{\"version\":2,\"tombstones\":[],\"forgotten\":[]}"),
        ("preparations.json", "[1,2"),
        (
            "preparations.json",
            "{\"version\":1,\"preparations\":[{\"vm\":\"00000000-0000-0000-0000-000000000001\",\"generation\":1,\
             \"epoch\":1,\"pool\":\"../x\",\"volume\":\"v\"}]}",
        ),
    ] {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(name), content).unwrap();
        let error = StateDirectory::open(directory.path()).unwrap_err();
        assert!(matches!(&error, StateError::Damaged { .. }) && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_leftover_of_a_crash_while_writing_is_no_harm() {
    let directory = TempDir::new().unwrap();
    open(&directory).raise_epoch(Epoch(5)).unwrap();
    fs::write(directory.path().join("epoch.new"), "99").unwrap();
    fs::write(directory.path().join("tombstones.json.new"), "{\"vers").unwrap();
    let state = open(&directory);
    assert_eq!(state.highest_epoch(), Epoch(5));
    state.bury(tombstone(1, 1)).unwrap();
}

#[test]
fn what_cannot_be_written_is_not_remembered_either() {
    let directory = TempDir::new().unwrap();
    let state = open(&directory);
    // A directory in the place of the temporary file makes writing fail, for root as well.
    fs::create_dir(directory.path().join("epoch.new")).unwrap();
    fs::create_dir(directory.path().join("tombstones.json.new")).unwrap();
    assert!(state.raise_epoch(Epoch(5)).is_err() && state.bury(tombstone(1, 1)).is_err());
    assert_eq!(state.highest_epoch(), Epoch(0));
    assert_eq!(state.tombstone_count(), 0);
}

#[test]
fn a_preparation_does_not_outlive_the_tombstone_that_took_its_place() {
    let directory = TempDir::new().unwrap();
    let state = open(&directory);
    state.prepare(preparation(1)).unwrap();
    state.prepare(preparation(2)).unwrap();
    state.settle_preparations(&[vm(2)]);
    for number in 1..=2 {
        state.bury(tombstone(number, 2)).unwrap();
        state.forget(vm(number)).unwrap();
    }
    drop(state);
    assert!(open(&directory).preparations().is_empty());
}

#[test]
fn only_the_newest_forgotten_vms_are_remembered() {
    let directory = TempDir::new().unwrap();
    let state = open(&directory);
    let many = u128::try_from(FORGOTTEN_MAX).unwrap() + 3;
    for number in 0..many {
        // Each write is synced, so the file is written only where the bound shows.
        let mut memory = state.memory();
        memory.forgotten.push((vm(number), Generation(1)));
    }
    state.bury(tombstone(many, 1)).unwrap();
    state.forget(vm(many)).unwrap();
    assert_eq!(state.memory().forgotten.len(), FORGOTTEN_MAX);
    assert_eq!(state.forgotten(vm(0)), None);
    assert_eq!(state.forgotten(vm(many)), Some(Generation(1)));
}

#[test]
fn the_end_of_a_console_is_kept_and_the_oldest_are_dropped() {
    let directory = TempDir::new().unwrap();
    let state = open(&directory);
    let long = vec![b'x'; usize::try_from(CONSOLE_LENGTH_MAX).unwrap() + 10];
    state.save_console(vm(1), &long).unwrap();
    state.save_console(vm(2), b"Linux version\nlogin:").unwrap();
    assert_eq!(state.console(vm(2), 6).unwrap().unwrap(), b"login:");
    assert_eq!(state.console(vm(3), 6).unwrap(), None);
    let kept = state.console(vm(1), u32::MAX).unwrap().unwrap();
    assert_eq!(kept.len(), usize::try_from(CONSOLE_LENGTH_MAX).unwrap());
    let consoles = directory.path().join("consoles");
    drop_oldest(&consoles, 1).unwrap();
    assert_eq!(fs::read_dir(consoles).unwrap().count(), 1);
    assert!(state.console(vm(2), 1).unwrap().is_some());
}

#[test]
fn the_highest_checkpoint_outlives_the_agent_and_a_lower_one_changes_nothing() {
    use crate::witness::{Judgement, judge, tests::signed};
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path()).unwrap();
    assert_eq!(state.witness(None, judge).unwrap(), (None, None));
    let (first, second) = (signed(1, 9, "a"), signed(1, 12, "b"));
    assert_eq!(state.witness(Some(first), judge).unwrap().0, Some(first));
    assert_eq!(state.witness(Some(second), judge).unwrap(), (Some(second), Some(Judgement::Keep)));
    drop(state);
    let state = StateDirectory::open(directory.path()).unwrap();
    let (held, judgement) = state.witness(Some(first), judge).unwrap();
    assert!(matches!(judgement, Some(Judgement::Refused(_))) && held == Some(second));
    assert_eq!(state.witness(Some(second), judge).unwrap(), (Some(second), Some(Judgement::Same)));
    drop(state);
    assert_eq!(StateDirectory::open(directory.path()).unwrap().witness(None, judge).unwrap().0, Some(second));
    fs::write(directory.path().join("checkpoint.json"), "{}").unwrap();
    assert!(matches!(StateDirectory::open(directory.path()), Err(StateError::Damaged { .. })));
}

#[test]
fn a_tombstone_never_goes_back_to_an_older_wish() {
    let directory = TempDir::new().unwrap();
    let state = open(&directory);
    state.bury(tombstone(1, 2)).unwrap();
    state.bury(tombstone(1, 3)).unwrap();
    state.bury(Tombstone { epoch: Epoch(1), ..tombstone(1, 2) }).unwrap();
    assert_eq!(state.tombstone(vm(1)), Some(tombstone(1, 3)));
    drop(state);
    assert_eq!(open(&directory).tombstone(vm(1)), Some(tombstone(1, 3)));
}
