//! The comparison of both sides, case by case.

use std::time::Duration;

use reeve_common::ids::{Epoch, Generation, PoolName, VmName, VolumeName};
use reeve_common::units::Mebibytes;
use reeve_common::vm::{ObservedVm, StopReason};

use super::*;
use crate::hypervisor::{InactiveCause, LedgerEntry, LedgerWish, OwnDomain};
use crate::vm::sample_values::vm;

const NOW: Timestamp = Timestamp(50_000);

fn domain(number: u128, state: DomainState) -> OwnDomain {
    let ledger = LedgerEntry {
        generation: Generation(2),
        epoch: Epoch(1),
        wish: LedgerWish::Running,
        registration_deadline: Some(Timestamp(90_000)),
        started_at: Some(Timestamp(30_000)),
        registered_at: Some(Timestamp(40_000)),
        system_disk: Some(disk()),
        registration_timeout: Duration::from_secs(60),
        origin: String::new(),
    };
    let name = VmName::new(format!("vm-{number}")).unwrap();
    OwnDomain { vm: vm(number), name, state, vcpus: 2, memory: Mebibytes(512), ledger }
}

fn disk() -> (PoolName, VolumeName) {
    (PoolName::new("volumes").unwrap(), VolumeName::new("disk").unwrap())
}

fn tombstone(number: u128) -> Tombstone {
    let reason = StopReason::Crashed;
    Tombstone { vm: vm(number), generation: Generation(3), epoch: Epoch(1), reason }
}

fn preparation(number: u128) -> Preparation {
    Preparation { vm: vm(number), generation: Generation(1), epoch: Epoch(1), disk: disk() }
}

fn check(
    own: Vec<OwnDomain>,
    kept: &[(u128, Option<DomainState>)],
    tombstones: &[u128],
    preparations: &[u128],
) -> Reconciliation {
    let kept = kept.iter().map(|(number, state)| (vm(*number), *state)).collect();
    let tombstones = tombstones.iter().map(|number| (vm(*number), tombstone(*number))).collect();
    let preparations = preparations.iter().map(|number| (vm(*number), preparation(*number))).collect();
    reconcile(Domains { own, foreign: Vec::new() }, &kept, &tombstones, &preparations, NOW)
}

#[test]
fn a_restarted_agent_adopts_all_it_finds() {
    let found =
        vec![domain(1, DomainState::Active), domain(2, DomainState::Inactive(InactiveCause::Unknown))];
    let result = check(found, &[], &[9], &[2, 3, 9]);
    let told: Vec<_> = result.adopt.iter().map(|known| (known.vm, known.observation().observed)).collect();
    let running = ObservedVm::Running { started_at: Timestamp(30_000), registered_at: Timestamp(40_000) };
    assert_eq!(told[0], (vm(1), running));
    assert_eq!(told[1], (vm(2), ObservedVm::Ended(StopReason::FoundStopped)));
    assert_eq!(told[2], (vm(3), ObservedVm::Defining), "so that the coordinator repeats its wish");
    assert_eq!(result.settled, [vm(2), vm(9)]);
}

#[test]
fn a_preparation_beside_an_unreadable_domain_of_its_id_is_unknown() {
    let somebody = ForeignDomain {
        id: vm(3),
        name: "vm-3".to_owned(),
        active: true,
        vcpus: 1,
        memory: Mebibytes(1),
        paused: false,
        obstacle: None,
    };
    let domains = Domains { own: Vec::new(), foreign: vec![somebody] };
    let preparations = BTreeMap::from([(vm(3), preparation(3))]);
    let result = reconcile(domains, &BTreeMap::new(), &BTreeMap::new(), &preparations, NOW);
    assert_eq!(result.adopt[0].observation().observed, ObservedVm::Unknown);
}

#[test]
fn a_domain_with_a_tombstone_is_adopted_to_be_removed() {
    let result = check(vec![domain(1, DomainState::Inactive(InactiveCause::Crashed))], &[], &[1], &[]);
    assert_eq!(result.adopt[0].buried, Some(StopReason::Crashed));
    assert_eq!(result.adopt[0].generation, Generation(3));
}

#[test]
fn what_is_as_it_was_last_seen_is_left_alone() {
    let result =
        check(vec![domain(1, DomainState::Active)], &[(1, Some(DomainState::Active)), (2, None)], &[], &[]);
    // What it may take of the host is told of every domain that is ours.
    assert_eq!(result.sizes.len(), 1);
    assert_eq!(Reconciliation { sizes: Vec::new(), ..result }, Reconciliation::default());
}

#[test]
fn differences_make_the_supervisor_look_for_itself() {
    let kept = [(1, Some(DomainState::Paused)), (2, Some(DomainState::Active)), (3, None)];
    let found = vec![domain(1, DomainState::Active), domain(3, DomainState::Active)];
    let result = check(found, &kept, &[], &[]);
    assert_eq!(result.look_again, [vm(1), vm(3), vm(2)]);
    assert!(result.adopt.is_empty());
}
