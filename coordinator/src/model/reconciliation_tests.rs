//! The comparison of both sides, case by case.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{Epoch, Generation};
use reeve_common::units::Mebibytes;
use reeve_common::vm::StopReason;
use uuid::Uuid;

use super::super::fixture;
use super::super::vm::Wish;
use super::super::vm_state::VmState;
use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const HERE: HostId = HostId(1);

fn running() -> ObservedVm {
    ObservedVm::Running { started_at: NOW, registered_at: NOW }
}

fn record(state: VmState) -> Vm {
    let mut vm = fixture::vm();
    vm.host = Some(HERE);
    vm.registered_at = Some(NOW);
    vm.enter(state, None, NOW);
    vm
}

fn report(vm: &Vm, observed: Option<ObservedVm>) -> HostReport {
    let seen = |observed| VmObservation { vm: vm.id, generation: vm.generation, epoch: Epoch(1), observed };
    HostReport {
        hypervisor_reachable: true,
        vms: observed.map(seen).into_iter().collect(),
        foreign: Vec::new(),
        pools: Vec::new(),
        sizes: vec![DomainSize {
            vm: vm.id,
            name: vm.name.clone(),
            vcpus: vm.definition.vcpus(),
            memory: vm.definition.memory(),
        }],
        answers: Vec::new(),
        lock_manager: reeve_common::storage::LockManager::Unknown,
    }
}

fn compare(vm: Option<&Vm>, report: &HostReport) -> HostComparison {
    let here: Vec<VmId> = vm.iter().filter(|vm| vm.holds_capacity()).map(|vm| vm.id).collect();
    let record = |id| vm.filter(|vm| vm.id == id).cloned().map(Arc::new);
    Recorded { host: HERE, host_name: "node-1", here: &here, leftovers: &[], record }.compare(report, NOW)
}

/// The only difference: its words, and the repair or none for a decision.
fn only(comparison: &HostComparison) -> (String, Option<Repair>) {
    let [one] = comparison.differences.as_slice() else { panic!("{comparison:?}") };
    let repair = match &one.treatment {
        Treatment::Repaired { repair, words } => {
            assert!(!words.is_empty());
            Some(*repair)
        }
        Treatment::Decision { choices } => {
            assert!(!choices.is_empty());
            None
        }
        Treatment::Failed { why } => panic!("{why}"),
    };
    (one.words.clone(), repair)
}

#[test]
fn what_is_as_recorded_is_the_same() {
    for (state, observed) in [
        (VmState::Running, running()),
        (VmState::Registering, ObservedVm::Registering { started_at: NOW, deadline: NOW }),
        // It could not be asked: nothing differs, and nothing is concluded.
        (VmState::Running, ObservedVm::Unknown),
    ] {
        let vm = record(state);
        let comparison = compare(Some(&vm), &report(&vm, Some(observed)));
        assert_eq!((comparison.same, comparison.differences), (1, Vec::new()));
    }
}

#[test]
fn the_record_follows_what_its_host_sees() {
    let vm = record(VmState::Running);
    let (words, repair) = only(&compare(Some(&vm), &report(&vm, Some(ObservedVm::Paused))));
    assert_eq!((words.as_str(), repair), ("recorded as running, suspended there", Some(Repair::Follow)));
    let ended = ObservedVm::Ended(StopReason::Destroyed);
    assert_eq!(only(&compare(Some(&vm), &report(&vm, Some(ended)))).1, Some(Repair::Follow));
    let placed = record(VmState::Placed);
    let defining = compare(Some(&placed), &report(&placed, Some(ObservedVm::Defining)));
    assert_eq!(only(&defining).1, Some(Repair::FollowAndTell));
}

#[test]
fn a_host_that_is_behind_is_told_again() {
    let mut vm = record(VmState::Stopping);
    let report = report(&vm, Some(running()));
    vm.wish = Wish::Stop { grace: Duration::ZERO };
    vm.generation = Generation(2);
    let comparison = compare(Some(&vm), &report);
    assert_eq!(only(&comparison).1, Some(Repair::Follow));
    let Treatment::Repaired { words, .. } = &comparison.differences[0].treatment else { panic!() };
    assert_eq!(words, "the host is told its wish");
}

#[test]
fn silence_means_something_only_when_libvirt_was_asked() {
    let vm = record(VmState::Running);
    let mut silent = report(&vm, None);
    assert_eq!(only(&compare(Some(&vm), &silent)).1, Some(Repair::FollowAbsence));
    silent.hypervisor_reachable = false;
    let comparison = compare(Some(&vm), &silent);
    assert!(comparison.differences.is_empty() && !comparison.hypervisor_reachable);
}

#[test]
fn what_nobody_can_know_needs_a_decision() {
    let vm = record(VmState::Running);
    let (words, repair) = only(&compare(None, &report(&vm, Some(running()))));
    assert_eq!((words.as_str(), repair), ("running there, and no record knows it", None));
    let elsewhere = Vm { host: Some(HostId(2)), ..vm.clone() };
    assert_eq!(only(&compare(Some(&elsewhere), &report(&vm, Some(running())))).1, None);
    let over = record(VmState::Stopped);
    let (words, repair) = only(&compare(Some(&over), &report(&vm, Some(running()))));
    assert_eq!((words.as_str(), repair), ("over (stopped), and running there", None));
}

#[test]
fn what_is_left_of_a_vm_that_was_started_elsewhere_is_removed() {
    let moved =
        super::super::displacement::displace(&record(VmState::Running), "its host was fenced", NOW).unwrap();
    let back = report(&record(VmState::Running), Some(running()));
    assert_eq!(only(&compare(Some(&moved), &back)).1, Some(Repair::FollowLeftover));
    let known = |id| (id == moved.id).then(|| Arc::new(moved.clone()));
    let silent = HostReport { vms: Vec::new(), ..back };
    let recorded =
        Recorded { host: HERE, host_name: "node-1", here: &[], leftovers: &[moved.id], record: known };
    assert_eq!(only(&recorded.compare(&silent, NOW)).1, Some(Repair::FollowLeftover));
}

#[test]
fn what_is_gone_may_be_forgotten_once_its_end_is_recorded() {
    let vm = record(VmState::Running);
    let gone = report(&vm, Some(ObservedVm::Gone(StopReason::ShutDown)));
    assert_eq!(only(&compare(Some(&record(VmState::Stopped)), &gone)).1, Some(Repair::LetForget));
    assert_eq!(only(&compare(None, &gone)).1, Some(Repair::LetForget));
    assert_eq!(only(&compare(Some(&vm), &gone)).1, Some(Repair::Follow), "first the end is recorded");
    // It has been started elsewhere, and that nothing is left here is recorded already.
    let elsewhere = Vm { host: Some(HostId(HERE.0 + 1)), ..vm };
    assert_eq!(only(&compare(Some(&elsewhere), &gone)).1, Some(Repair::LetForget));
}

#[test]
fn a_domain_that_was_given_more_by_hand_is_told() {
    let vm = record(VmState::Running);
    let mut report = report(&vm, Some(running()));
    report.sizes[0].vcpus = 8;
    report.sizes[0].memory = Mebibytes(4096);
    let (words, repair) = only(&compare(Some(&vm), &report));
    assert_eq!(repair, None);
    assert_eq!(words, "had 2 processors and 2 GiB, reconfigured there to 8 and 4 GiB");
}

#[test]
fn a_domain_whose_ledger_is_gone_is_told() {
    let vm = record(VmState::Running);
    let mut report = report(&vm, Some(ObservedVm::Unknown));
    report.sizes.clear();
    report.foreign.push(ForeignDomain {
        id: vm.id,
        name: "web".to_owned(),
        active: true,
        vcpus: 2,
        memory: Mebibytes(2048),
        paused: false,
        obstacle: None,
    });
    let (words, repair) = only(&compare(Some(&vm), &report));
    assert!(words.contains("ledger") && repair.is_none(), "{words}");
}

#[test]
fn a_domain_without_a_record_has_its_name_from_libvirt() {
    let vm = record(VmState::Running);
    let mut report = report(&vm, Some(running()));
    report.vms[0].vm = VmId(Uuid::from_u128(7));
    report.sizes[0].vm = report.vms[0].vm;
    let comparison = compare(None, &report);
    assert_eq!(comparison.differences[0].name.as_deref(), Some("web-5f0c0000"));
}
