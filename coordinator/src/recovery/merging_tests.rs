//! Each case of what hosts may say beside what the records say.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, Generation, HostId, ProfileName, RealmName, VmId};
use reeve_common::vm::{ObservedVm, StopReason, VmDescription, VmObservation};
use reeve_scheduler::HostState;
use uuid::Uuid;

use super::*;
use crate::model::fixture;
use crate::recovery::origin_text;

const NOW: Timestamp = Timestamp(1_000_000);

fn vm(number: u128) -> Vm {
    Vm { id: VmId(Uuid::from_u128(number)), ..fixture::vm() }
}

fn placed(number: u128, host: u32, state: VmState) -> Vm {
    Vm { host: Some(HostId(host)), state, ..vm(number) }
}

fn running() -> ObservedVm {
    ObservedVm::Running { started_at: NOW, registered_at: NOW }
}

fn described(vm: &Vm, generation: u64, observed: ObservedVm) -> VmDescription {
    VmDescription {
        observation: VmObservation {
            vm: vm.id,
            generation: Generation(generation),
            epoch: Epoch(3),
            observed,
        },
        stopping_within: None,
        origin: origin_text(vm),
    }
}

fn answer(host: u32, vms: Vec<VmDescription>) -> HostAnswer {
    HostAnswer {
        host: HostId(host),
        realm: RealmName::new("primary").unwrap(),
        name: format!("node-{host}").parse().unwrap(),
        highest_epoch: Epoch(3),
        hypervisor_reachable: true,
        vms,
        others: Vec::new(),
    }
}

fn host(number: u32) -> Host {
    let new = merge(&Known::default(), &[answer(number, Vec::new())], profile, NOW);
    new.hosts.into_iter().next().unwrap()
}

fn profile(_: &HostName) -> ProfileName {
    ProfileName::new("r750").unwrap()
}

/// Records of these VMs and of hosts 1 and 2.
fn records(vms: &[Vm]) -> Known {
    Known {
        hosts: [1, 2].map(|number| (HostId(number), host(number))).into(),
        vms: vms.iter().map(|vm| (vm.id, vm.clone())).collect(),
        ..Known::default()
    }
}

fn merged(known: &Known, answers: &[HostAnswer]) -> Merged {
    merge(known, answers, profile, NOW)
}

fn said(merged: &Merged, words: &str) -> bool {
    merged.findings.lines.iter().any(|line| line.contains(words))
}

#[test]
fn out_of_nothing_hosts_vms_and_their_configurations_are_taken_in() {
    let there = placed(1, 7, VmState::Running);
    let merged = merged(&Known::default(), &[answer(7, vec![described(&there, 4, running())])]);
    let host = &merged.hosts[0];
    assert_eq!((host.id, host.name.as_str(), host.state), (HostId(7), "node-7", HostState::NoScheduler));
    let vm = &merged.vms[0];
    assert_eq!((vm.id, vm.host, vm.state), (there.id, Some(HostId(7)), VmState::Running));
    assert_eq!(
        (vm.generation, &vm.request, &vm.definition),
        (Generation(4), &there.request, &there.definition)
    );
    assert_eq!(Some(&merged.configurations[0].name), there.configuration.as_ref());
    assert!(merged.findings.lines.is_empty(), "{:?}", merged.findings);
}

#[test]
fn a_vm_whose_origin_cannot_be_read_is_named_and_left_alone() {
    let mut description = described(&vm(1), 1, running());
    description.origin = String::new();
    let merged = merged(&Known::default(), &[answer(7, vec![description])]);
    assert!(merged.vms.is_empty() && said(&merged, "cannot be taken in"));
}

#[test]
fn two_hosts_of_one_name_are_told_apart() {
    let mut twin = answer(8, Vec::new());
    twin.name = "node-7".parse().unwrap();
    let merged = merged(&Known::default(), &[answer(7, Vec::new()), twin]);
    assert_eq!(merged.hosts[1].name.as_str(), "host-8");
    assert!(said(&merged, "called already"));
}

#[test]
fn a_vm_that_was_placed_since_the_backup_is_where_it_runs_and_is_not_placed_again() {
    let waiting = Vm { state: VmState::Unplaceable, ..vm(1) };
    let there = placed(1, 2, VmState::Running);
    let merged = merged(
        &records(&[waiting]),
        &[answer(1, Vec::new()), answer(2, vec![described(&there, 1, running())])],
    );
    assert_eq!((merged.vms[0].host, merged.vms[0].state), (Some(HostId(2)), VmState::Running));
    assert!(said(&merged, "waiting for a place"));
}

#[test]
fn what_an_old_record_wishes_is_never_started() {
    let waiting = Vm { state: VmState::Unplaceable, ..vm(1) };
    let not_there = placed(2, 1, VmState::Placed);
    let unheard = placed(3, 2, VmState::Placed);
    let merged = merged(&records(&[waiting, not_there, unheard]), &[answer(1, Vec::new())]);
    let over: Vec<u128> = merged.ended.iter().map(|vm| vm.id.0.as_u128()).collect();
    assert_eq!(over, [1, 2]);
    let unheard = &merged.vms[0];
    // Its host would be told to start a placed VM that it does not know; one that counts as started it is not.
    assert!(!vm_life::apply_absence(unheard, NOW).changed.unwrap().state.is_final());
    assert_eq!(
        vm_life::apply_absence(unheard, NOW).changed.unwrap().wish,
        Wish::Stop { grace: Duration::ZERO }
    );
    assert!(said(&merged, "node-2 has not told"));
}

#[test]
fn a_host_whose_libvirt_does_not_answer_has_not_answered() {
    let mut mute = answer(1, Vec::new());
    mute.hypervisor_reachable = false;
    let merged = merged(&records(&[placed(1, 1, VmState::Running)]), &[mute, answer(2, Vec::new())]);
    assert!(merged.ended.is_empty() && merged.vms.is_empty() && said(&merged, "node-1 has not told"));
}

#[test]
fn the_later_wish_counts_and_a_wish_to_stop_is_never_taken_back() {
    let recorded = placed(1, 1, VmState::Running);
    let mut stopping = described(&recorded, 2, ObservedVm::Stopping);
    stopping.stopping_within = Some(Duration::from_secs(9));
    let later = merged(&records(std::slice::from_ref(&recorded)), &[answer(1, vec![stopping])]);
    assert_eq!(later.vms[0].wish, Wish::Stop { grace: Duration::from_secs(9) });
    assert_eq!(later.vms[0].generation, Generation(2));

    let asked_to_stop =
        Vm { wish: Wish::Stop { grace: Duration::ZERO }, generation: Generation(3), ..recorded };
    let behind = described(&asked_to_stop, 2, running());
    let later = merged(&records(std::slice::from_ref(&asked_to_stop)), &[answer(1, vec![behind])]);
    assert_eq!((&later.vms[0].wish, later.vms[0].generation), (&asked_to_stop.wish, Generation(3)));
}

#[test]
fn a_vm_on_two_hosts_is_told_and_counts_where_it_runs() {
    let recorded = placed(1, 1, VmState::Running);
    let places = [
        answer(1, vec![described(&recorded, 1, ObservedVm::Ended(StopReason::Crashed))]),
        answer(2, vec![described(&recorded, 1, running())]),
    ];
    let merged = merged(&records(&[recorded]), &places);
    assert_eq!(merged.vms[0].host, Some(HostId(2)));
    assert!(said(&merged, "on hosts 1 and 2"));
}

#[test]
fn what_is_over_stays_over() {
    let there = placed(1, 1, VmState::Running);
    let known = Known { past: [there.id].into(), ..records(&[]) };
    let merged = merged(&known, &[answer(1, vec![described(&there, 1, running())]), answer(2, Vec::new())]);
    assert!(merged.vms.is_empty() && said(&merged, "is over"));
}

#[test]
fn a_tombstone_says_why_it_ended_and_what_is_being_made_goes_on() {
    let (ended, made) = (placed(1, 1, VmState::Running), placed(2, 1, VmState::Placed));
    let mut told = answer(1, Vec::new());
    let observation = |vm: &Vm, observed| described(vm, 1, observed).observation;
    told.others = vec![
        observation(&ended, ObservedVm::Gone(StopReason::GuestPowerOff)),
        observation(&made, ObservedVm::Defining),
    ];
    let merged = merged(&records(&[ended, made.clone()]), &[told, answer(2, Vec::new())]);
    assert_eq!(merged.ended[0].end, Some(StopReason::GuestPowerOff));
    assert_eq!((merged.vms[0].id, merged.vms[0].state), (made.id, VmState::Defining));
}

#[test]
fn asking_twice_changes_nothing_more() {
    let there = placed(1, 1, VmState::Running);
    let answers = [answer(1, vec![described(&there, 4, running())])];
    let first = merged(&Known::default(), &answers);
    let known = Known {
        hosts: first.hosts.iter().map(|host| (host.id, host.clone())).collect(),
        vms: first.vms.iter().map(|vm| (vm.id, vm.clone())).collect(),
        configurations: first.configurations.iter().map(|one| one.name.clone()).collect(),
        ..Known::default()
    };
    assert_eq!(merged(&known, &answers), Merged::default());
}
