//! The host over the simulated hypervisor, in virtual time: whole lives, deaths of the agent at every point, and an
//! unreachable hypervisor.

use std::time::Duration;

use reeve_common::ids::{Generation, VolumeName};
use reeve_common::storage::{DiskFormat, LockManager, NewVolume};
use reeve_common::units::Bytes;
use reeve_common::vm::{DesiredVm, ObservedVm, StopReason};

use super::*;
use crate::hypervisor::simulated::{Call, Fault, FaultKind, GuestMode};
use crate::outbox::Due;
use crate::test_machine::{EPOCH, Machine};
use crate::vm::sample_values::{REGISTRATION_TIMEOUT, running, spec, stopped, vm};

#[tokio::test(start_paused = true)]
async fn a_vm_lives_is_stopped_and_forgotten() {
    let machine = Machine::automatic().await;
    assert_eq!(machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    machine.until_running(1).await;
    assert_eq!(machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    assert_eq!(machine.disks().len(), 1);
    assert_eq!(machine.ensure(1, 2, stopped(30)).await, Ok(ReplyBody::Accepted));
    assert_eq!(machine.until_gone(1).await, StopReason::ShutDown);
    machine.assert_nothing_left();
    let forget = CommandBody::ForgetVm { vm: vm(1), generation: Generation(2) };
    assert_eq!(machine.send(forget).await, Ok(ReplyBody::Accepted));
    assert_eq!(machine.observed(1), None);
    let late = machine.ensure(1, 1, running(1)).await;
    assert_eq!(late, Ok(ReplyBody::Superseded { current: Generation(2) }));
    machine.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_says_nothing_before_the_domains_could_be_listed() {
    let mut machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until_running(1).await;
    // The agent dies between the tombstone and the last of the domain, and libvirt does not answer the next one.
    let fault = Fault { after_effect: false, kind: FaultKind::Unreachable };
    machine.hypervisor.plan_fault(Call::Undefine, fault);
    machine.ensure(1, 2, stopped(0)).await.unwrap();
    while machine.host().inner.state.tombstone(vm(1)).is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        machine.hypervisor.advance();
    }
    machine.kill_agent();
    assert_eq!(machine.hypervisor.domains().unwrap().own.len(), 1, "its domain is there still");
    machine.hypervisor.set_reachable(false);
    machine.boot_agent().await;
    assert_eq!(machine.observed(1), None, "what cannot be asked is unknown");
    let forget = CommandBody::ForgetVm { vm: vm(1), generation: Generation(2) };
    for refused in [machine.send(forget.clone()).await, machine.ensure(1, 3, stopped(0)).await] {
        assert!(refused.is_err_and(|refusal| refusal.is_retryable()));
    }
    assert!(machine.host().inner.state.tombstone(vm(1)).is_some());
    machine.hypervisor.set_reachable(true);
    machine.until_gone(1).await;
    machine.assert_nothing_left();
    assert_eq!(machine.send(forget).await, Ok(ReplyBody::Accepted));
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_in_order() {
    let machine = Machine::automatic().await;
    while machine.host().outbox().take().is_some() {}
    machine.ensure(1, 1, running(1)).await.unwrap();
    let mut told = Vec::new();
    while !matches!(told.last(), Some(ObservedVm::Running { .. })) {
        match machine.host().outbox().next().await {
            Due::Vm(observation) => told.push(observation.observed),
            Due::Report => {}
            other => panic!("{other:?}"),
        }
        machine.hypervisor.advance();
    }
    let registering = told.iter().position(|told| matches!(told, ObservedVm::Registering { .. }));
    assert!(registering.is_some_and(|at| at + 2 == told.len()), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_first_listing_and_each_return_make_a_report() {
    let machine = Machine::automatic().await;
    machine.hypervisor.add_foreign_domain(vm(77), "somebody", true);
    assert_eq!(machine.host().outbox().take(), Some(Due::Report));
    machine.host().compare().await;
    assert_eq!(machine.host().outbox().take(), Some(Due::Report), "a foreign domain appeared");
    let report = machine.host().report();
    assert!(report.hypervisor_reachable && report.foreign[0].id == vm(77) && report.pools.len() == 3);
    machine.host().compare().await;
    assert_eq!(machine.host().outbox().take(), None);
    assert_eq!(report.lock_manager, LockManager::On);
    machine.hypervisor.set_lock_manager(LockManager::Off);
    machine.host().compare().await;
    assert_eq!(machine.host().outbox().take(), Some(Due::Report), "it was switched off");
    assert_eq!(machine.host().report().lock_manager, LockManager::Off);
    machine.hypervisor.set_reachable(false);
    machine.host().compare().await;
    assert_eq!(machine.host().outbox().take(), Some(Due::Hypervisor(false)));
    let report = machine.host().report();
    assert!(!report.hypervisor_reachable && report.foreign.is_empty());
    machine.hypervisor.set_reachable(true);
    machine.host().compare().await;
    assert_eq!(machine.host().outbox().take(), Some(Due::Report));
}

#[tokio::test(start_paused = true)]
async fn the_agent_may_die_at_any_moment_of_a_start() {
    for deadly_call in 0..45 {
        let mut machine = Machine::automatic().await;
        let already = machine.hypervisor.calls();
        machine.ensure(1, 1, running(1)).await.unwrap();
        for _ in 0..4000 {
            if machine.hypervisor.calls() - already >= deadly_call {
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        machine.kill_agent();
        machine.boot_agent().await;
        assert_eq!(machine.host().highest_epoch(), EPOCH);
        // What a coordinator makes of the first report: it repeats its wish for a VM that is not there or not started.
        if matches!(machine.observed(1), None | Some(ObservedVm::Defining | ObservedVm::Starting)) {
            machine.ensure(1, 1, running(1)).await.unwrap();
        }
        let settled = |told: Option<&ObservedVm>| {
            matches!(told, Some(ObservedVm::Running { .. } | ObservedVm::Gone(_)))
        };
        let end = machine.until(1, settled).await;
        if let Some(ObservedVm::Gone(reason)) = end {
            assert!(matches!(reason, StopReason::StartFailed(_)), "{reason:?}");
        } else {
            assert_eq!(machine.disks().len(), 1);
            machine.ensure(1, 2, stopped(0)).await.unwrap();
            assert_eq!(machine.until_gone(1).await, StopReason::Destroyed);
        }
        machine.assert_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn the_agent_may_die_at_any_moment_of_a_stop() {
    for deadly_call in 0..30 {
        let mut machine = Machine::automatic().await;
        machine.ensure(1, 1, running(1)).await.unwrap();
        machine.until_running(1).await;
        let already = machine.hypervisor.calls();
        machine.ensure(1, 2, stopped(20)).await.unwrap();
        for _ in 0..4000 {
            if machine.hypervisor.calls() - already >= deadly_call {
                break;
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        machine.kill_agent();
        machine.boot_agent().await;
        machine.ensure(1, 2, stopped(20)).await.unwrap();
        let reason = machine.until_gone(1).await;
        assert!(matches!(reason, StopReason::ShutDown), "{reason:?}");
        machine.assert_nothing_left();
        assert_eq!(
            machine.ensure(1, 1, running(1)).await,
            Ok(ReplyBody::Superseded { current: Generation(2) })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_failures_of_each_call_of_a_start_are_survived() {
    let calls =
        [Call::Domain, Call::CreateSystemDisk, Call::Define, Call::WriteLedger, Call::Start, Call::GuestPing];
    for call in calls {
        for fault in [Fault::answer_lost(), Fault::failed("try again")] {
            let machine = Machine::automatic().await;
            machine.hypervisor.plan_fault(call, fault);
            machine.ensure(1, 1, running(1)).await.unwrap();
            machine.until_running(1).await;
            machine.ensure(1, 2, stopped(0)).await.unwrap();
            machine.until_gone(1).await;
            machine.assert_nothing_left();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_fails_with_its_reason_and_leaves_nothing() {
    for call in [Call::CreateSystemDisk, Call::Define, Call::Start] {
        let machine = Machine::automatic().await;
        machine.hypervisor.plan_fault(call, Fault::refused("no room"));
        machine.ensure(1, 1, running(1)).await.unwrap();
        match machine.until_gone(1).await {
            StopReason::StartFailed(why) => assert!(why.contains("no room"), "{why}"),
            other => panic!("{other:?}"),
        }
        machine.assert_nothing_left();
        machine.ensure(1, 1, running(1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        machine.assert_nothing_left();
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_removed_is_told_and_tried_again() {
    let machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until_running(1).await;
    for _ in 0..3 {
        machine.hypervisor.plan_fault(Call::DeleteVolume, Fault::refused("in use"));
    }
    machine.ensure(1, 2, stopped(0)).await.unwrap();
    machine.until(1, |told| matches!(told, Some(ObservedVm::Ended(StopReason::Destroyed)))).await;
    machine.until_gone(1).await;
    machine.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_hypervisor_is_unknown_and_never_off() {
    let mut machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until_running(1).await;
    machine.hypervisor.set_reachable(false);
    machine.until(1, |told| told == Some(&ObservedVm::Unknown)).await;
    tokio::time::sleep(REGISTRATION_TIMEOUT * 4).await;
    let unsure = machine.ensure(1, 2, stopped(0)).await;
    assert_eq!(unsure, Ok(ReplyBody::Accepted), "a known VM's wish is taken");
    machine.hypervisor.set_reachable(true);
    machine.until_gone(1).await;

    machine.ensure(2, 1, running(2)).await.unwrap();
    machine.until_running(2).await;
    machine.hypervisor.set_reachable(false);
    machine.kill_agent();
    machine.boot_agent().await;
    let refused = machine.ensure(2, 2, stopped(0)).await;
    assert!(
        matches!(refused, Err(Refusal::Failed(_))),
        "an agent that has seen nothing decides nothing: {refused:?}"
    );
    assert!(!machine.host().report().hypervisor_reachable);
    machine.hypervisor.set_reachable(true);
    machine.until_running(2).await;
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_a_vm_without_us_is_seen() {
    let machine = Machine::automatic().await;
    for number in 1..=4 {
        machine.ensure(number, 1, running(number)).await.unwrap();
        machine.until_running(number).await;
    }
    machine.hypervisor.crash(vm(1));
    machine.until(1, |told| told == Some(&ObservedVm::Ended(StopReason::Crashed))).await;
    machine.hypervisor.let_guest_power_off(vm(2));
    machine.until(2, |told| told == Some(&ObservedVm::Ended(StopReason::GuestPowerOff))).await;
    machine.hypervisor.set_paused(vm(3), true);
    machine.until(3, |told| told == Some(&ObservedVm::Paused)).await;
    // No event tells of this one: the poll finds it.
    machine.hypervisor.lose_power();
    machine.until(4, |told| told == Some(&ObservedVm::Ended(StopReason::FoundStopped))).await;
    for number in 1..=4 {
        machine.ensure(number, 2, stopped(10)).await.unwrap();
        machine.until_gone(number).await;
    }
    machine.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_never_registers_is_terminated_and_others_are_not() {
    let machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until(1, |told| matches!(told, Some(ObservedVm::Registering { .. }))).await;
    machine.hypervisor.mute_guest(vm(1));
    machine.ensure(2, 1, running(2)).await.unwrap();
    machine.until_running(2).await;
    assert_eq!(machine.until_gone(1).await, StopReason::RegistrationTimeout);
    assert!(matches!(machine.observed(2), Some(ObservedVm::Running { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stepped_guest_registers_when_it_answers_and_is_destroyed_when_it_does_not_obey() {
    let mut machine = Machine::new(GuestMode::Stepped);
    machine.boot_agent().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until(1, |told| matches!(told, Some(ObservedVm::Registering { .. }))).await;
    assert!(machine.hypervisor.let_guest_answer(vm(1)));
    machine.until_running(1).await;
    machine.ensure(1, 2, stopped(30)).await.unwrap();
    assert_eq!(machine.until_gone(1).await, StopReason::DestroyedAfterGrace);
    machine.assert_nothing_left();
}

#[tokio::test(start_paused = true)]
async fn a_vm_whose_ledger_somebody_spoilt_is_left_alone() {
    let machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until_running(1).await;
    machine.hypervisor.overwrite_ledger(vm(1), "<nothing/>");
    machine.until(1, |told| told == Some(&ObservedVm::Unknown)).await;
    machine.ensure(1, 2, stopped(0)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(machine.disks().len(), 1, "its disk was removed");
    let foreign = machine.hypervisor.domains().unwrap().foreign;
    assert!(foreign[0].id == vm(1) && foreign[0].active, "it was stopped");
}

#[tokio::test(start_paused = true)]
async fn older_epochs_and_other_realms_are_refused() {
    let mut machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    let stop = CommandBody::EnsureVm { vm: vm(1), generation: Generation(9), desired: stopped(0) };
    let stale = Refusal::StaleEpoch { sent: Epoch(4), highest: EPOCH };
    assert_eq!(machine.send_from(Epoch(4), stop.clone()).await, Err(stale.clone()));
    machine.until_running(1).await;
    machine.kill_agent();
    machine.boot_agent().await;
    assert_eq!(machine.send_from(Epoch(4), stop).await, Err(stale));
    let mut foreign = spec(2);
    foreign.realm = RealmName::new("other").unwrap();
    let refused = machine.ensure(2, 1, DesiredVm::Running(Box::new(foreign))).await;
    assert!(matches!(refused, Err(Refusal::Invalid(_))));
    assert!(matches!(machine.ensure(1, 0, stopped(0)).await, Ok(ReplyBody::Superseded { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_console_can_be_read_while_the_vm_runs_and_after_it_is_gone() {
    let machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until_running(1).await;
    let read = CommandBody::ReadConsole { vm: vm(1), length_max: 4096 };
    let live = machine.send(read.clone()).await.unwrap();
    assert!(matches!(&live, ReplyBody::Console(output) if !output.is_empty()), "{live:?}");
    machine.ensure(1, 2, stopped(0)).await.unwrap();
    machine.until_gone(1).await;
    let kept = machine.send(read).await.unwrap();
    assert!(matches!(&kept, ReplyBody::Console(output) if !output.is_empty()), "{kept:?}");
    let nobody = machine.send(CommandBody::ReadConsole { vm: vm(9), length_max: 9 }).await;
    assert_eq!(nobody, Ok(ReplyBody::Console(Vec::new())));
}

#[tokio::test(start_paused = true)]
async fn volumes_are_worked_on_in_the_realms_pools_alone() {
    let machine = Machine::automatic().await;
    let volume = NewVolume {
        pool: PoolName::new("drives").unwrap(),
        name: VolumeName::new("mine").unwrap(),
        capacity: Bytes(1 << 30),
        format: DiskFormat::Qcow2,
        lazy: true,
    };
    for _ in 0..2 {
        assert_eq!(machine.send(CommandBody::CreateVolume(volume.clone())).await, Ok(ReplyBody::Accepted));
    }
    let list = CommandBody::ListVolumes { pool: volume.pool.clone() };
    match machine.send(list.clone()).await {
        Ok(ReplyBody::Volumes(volumes)) => assert_eq!(volumes[0].name, volume.name),
        other => panic!("{other:?}"),
    }
    let delete = CommandBody::DeleteVolume { pool: volume.pool.clone(), volume: volume.name.clone() };
    for _ in 0..2 {
        assert_eq!(machine.send(delete.clone()).await, Ok(ReplyBody::Accepted));
    }
    let elsewhere = PoolName::new("default").unwrap();
    let empty = NewVolume { capacity: Bytes(0), ..volume.clone() };
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until_running(1).await;
    let system_disk = spec(1).system_disk;
    for refused in [
        CommandBody::ListVolumes { pool: elsewhere.clone() },
        CommandBody::CreateVolume(NewVolume { pool: elsewhere.clone(), ..volume.clone() }),
        CommandBody::CreateVolume(empty),
        CommandBody::DeleteVolume { pool: elsewhere, volume: volume.name },
        CommandBody::DeleteVolume { pool: system_disk.pool, volume: system_disk.volume },
    ] {
        let answer = machine.send(refused.clone()).await;
        assert!(matches!(answer, Err(Refusal::Invalid(_))), "{refused:?}: {answer:?}");
    }
}
