//! Adoption over the simulated hypervisor: nothing of the domain but its ledger is ever changed, whatever dies when; and
//! what is done by hand to VMs of ours is told within a second.

use std::time::Duration;

use reeve_common::ids::{Epoch, Generation, PoolName, VmName, VolumeName};
use reeve_common::protocol::{CommandBody, Refusal, ReplyBody};
use reeve_common::units::Mebibytes;
use reeve_common::vm::{AdoptedVm, DesiredVm, DomainDisk, ObservedVm, StopReason};

use crate::hypervisor::simulated::{Call, Fault};
use crate::hypervisor::{Hypervisor as _, LedgerWish};
use crate::outbox::Due;
use crate::test_machine::Machine;
use crate::vm::sample_values::{realm, running, spec, stopped, vm};

const SOON: Duration = Duration::from_secs(1);

fn disk() -> (PoolName, VolumeName) {
    (PoolName::new("volumes").unwrap(), VolumeName::new("theirs").unwrap())
}

fn adopted() -> DesiredVm {
    adopted_with(vec![DomainDisk {
        source: "volumes/theirs".to_owned(),
        volume: Some(disk()),
        read_only: false,
    }])
}

fn adopted_with(disks: Vec<DomainDisk>) -> DesiredVm {
    DesiredVm::Adopted(Box::new(AdoptedVm {
        name: VmName::new("legacy").unwrap(),
        title: "Legacy".to_owned(),
        realm: realm(),
        vcpus: 1,
        memory: Mebibytes(128),
        disks,
        origin: r#"{"from":"here"}"#.to_owned(),
    }))
}

/// A machine on which somebody else's domain 1 runs, with a disk in our pool.
async fn with_legacy() -> Machine {
    let machine = Machine::automatic().await;
    let (pool, name) = disk();
    let volume = reeve_common::storage::NewVolume {
        pool,
        name,
        capacity: reeve_common::units::Bytes(1 << 30),
        format: reeve_common::storage::DiskFormat::Qcow2,
        lazy: true,
    };
    machine.hypervisor.create_volume(&volume).unwrap();
    machine.hypervisor.add_foreign_domain(vm(1), "legacy", true);
    assert!(machine.hypervisor.give_disks(vm(1), vec![disk()]));
    machine
}

/// The domain as it really is: running or not, started once and by nobody here, with its disk.
fn assert_untouched(machine: &Machine, runs: bool) {
    let inside = machine.hypervisor.look_inside();
    let domain = inside.iter().find(|domain| domain.vm == vm(1)).expect("its definition is gone");
    assert_eq!((domain.running, domain.starts, domain.disks.clone()), (runs, 1, vec![disk()]));
    let volumes = machine.hypervisor.volumes_inside(&disk().0);
    assert!(volumes.contains(&disk().1), "its disk is gone");
}

#[tokio::test(start_paused = true)]
async fn a_domain_is_adopted_as_it_runs_and_told_as_ours() {
    let machine = with_legacy().await;
    let described = machine.send(CommandBody::DescribeDomain { domain: vm(1) }).await;
    match described {
        Ok(ReplyBody::Domain(Some(found))) => {
            assert_eq!((found.domain.obstacle, found.last_generation), (None, Generation(0)));
            assert_eq!(found.disks[0].volume, Some(disk()));
        }
        other => panic!("{other:?}"),
    }
    for _ in 0..2 {
        assert_eq!(machine.ensure(1, 1, adopted()).await, Ok(ReplyBody::Accepted));
    }
    machine.until_running(1).await;
    assert_untouched(&machine, true);
    let own = machine.hypervisor.domain(vm(1)).unwrap().unwrap();
    assert!(own.ledger.is_adopted() && own.ledger.wish == LedgerWish::Running);
    assert_eq!(
        own.ledger.origin, r#"{"from":"here"}"#,
        "a coordinator that lost its records learns it from here"
    );
    machine.host().compare().await;
    let report = machine.host().report();
    assert!(report.foreign.is_empty() && report.sizes.len() == 1, "it is counted once: {report:?}");
    assert_eq!(
        machine.send(CommandBody::DescribeDomain { domain: vm(1) }).await,
        Ok(ReplyBody::Domain(None))
    );
    let refused = machine.ensure(1, 2, running(1)).await;
    assert!(matches!(&refused, Err(Refusal::Invalid(why)) if why.contains("adopted")), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn its_end_leaves_its_domain_and_its_disk() {
    for grace in [0, 30] {
        let mut machine = with_legacy().await;
        machine.ensure(1, 1, adopted()).await.unwrap();
        machine.until_running(1).await;
        machine.kill_agent();
        machine.boot_agent().await;
        machine.ensure(1, 2, stopped(grace)).await.unwrap();
        machine.until_gone(1).await;
        assert_untouched(&machine, false);
        assert_eq!(machine.hypervisor.domain(vm(1)).unwrap(), None, "it is ours no longer");
        let foreign = machine.hypervisor.domains().unwrap().foreign;
        assert_eq!(foreign.len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_given_back_running_and_can_be_adopted_again() {
    let machine = with_legacy().await;
    machine.ensure(1, 1, adopted()).await.unwrap();
    machine.until_running(1).await;
    machine.ensure(1, 2, DesiredVm::Released).await.unwrap();
    assert_eq!(machine.until_gone(1).await, StopReason::Released);
    assert_untouched(&machine, true);
    assert_eq!(machine.ensure(1, 2, DesiredVm::Released).await, Ok(ReplyBody::Accepted));
    let early = machine.ensure(1, 3, adopted()).await;
    assert!(matches!(early, Err(Refusal::Failed(_))), "its end is not recorded yet: {early:?}");
    machine.send(CommandBody::ForgetVm { vm: vm(1), generation: Generation(2) }).await.unwrap();
    let late = machine.ensure(1, 1, adopted()).await;
    assert_eq!(late, Ok(ReplyBody::Superseded { current: Generation(2) }), "an adoption that comes late");
    match machine.send(CommandBody::DescribeDomain { domain: vm(1) }).await {
        Ok(ReplyBody::Domain(Some(found))) => assert_eq!(found.last_generation, Generation(2)),
        other => panic!("{other:?}"),
    }
    machine.ensure(1, 3, adopted()).await.unwrap();
    machine.until_running(1).await;
    assert_untouched(&machine, true);
}

#[tokio::test(start_paused = true)]
async fn the_agent_may_die_at_any_moment_of_an_adoption_a_release_and_a_stop() {
    for end in [DesiredVm::Released, stopped(0)] {
        for deadly_call in 0..40 {
            let mut machine = with_legacy().await;
            let already = machine.hypervisor.calls();
            let _ = machine.ensure(1, 1, adopted()).await;
            let _ = machine.ensure(1, 2, end.clone()).await;
            for _ in 0..2000 {
                if machine.hypervisor.calls() - already >= deadly_call {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
            machine.kill_agent();
            machine.boot_agent().await;
            machine.ensure(1, 2, end.clone()).await.unwrap();
            machine.until_gone(1).await;
            assert_untouched(&machine, end == DesiredVm::Released);
            assert_eq!(machine.hypervisor.domain(vm(1)).unwrap(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_failures_are_survived() {
    for call in [Call::DescribeForeign, Call::Adopt, Call::Domain, Call::Release] {
        for fault in [Fault::answer_lost(), Fault::failed("try again")] {
            let machine = with_legacy().await;
            machine.hypervisor.plan_fault(call, fault);
            while machine.ensure(1, 1, adopted()).await.is_err() {}
            machine.until_running(1).await;
            machine.ensure(1, 2, DesiredVm::Released).await.unwrap();
            machine.until_gone(1).await;
            assert_untouched(&machine, true);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_adopted_is_refused_with_the_reason_and_left_alone() {
    let machine = with_legacy().await;
    let refused = |outcome: Result<ReplyBody, Refusal>| match outcome {
        Err(Refusal::Invalid(why)) => why,
        other => panic!("{other:?}"),
    };
    let changed = refused(machine.ensure(1, 1, adopted_with(Vec::new())).await);
    assert!(changed.contains("changed since"), "{changed}");
    assert!(refused(machine.ensure(9, 1, adopted()).await).contains("no such domain"));
    machine.hypervisor.add_foreign_domain(vm(2), "legacy-off", false);
    assert!(refused(machine.ensure(2, 1, adopted()).await).contains("does not run"));
    machine.hypervisor.add_foreign_domain(vm(3), "no name of ours", true);
    assert!(refused(machine.ensure(3, 1, adopted()).await).contains("name"));
    machine.hypervisor.overwrite_ledger(vm(1), "<vm version='999'/>");
    assert!(refused(machine.ensure(1, 1, adopted()).await).contains("ledger"));
    machine.hypervisor.remove_ledger(vm(1)).unwrap();
    // Whose disk is the system disk of a VM of ours.
    machine.ensure(4, 1, running(4)).await.unwrap();
    machine.until_running(4).await;
    let system = spec(4).system_disk;
    machine.hypervisor.give_disks(vm(1), vec![(system.pool.clone(), system.volume.clone())]);
    let theirs = DomainDisk {
        source: format!("{}/{}", system.pool, system.volume),
        volume: Some((system.pool, system.volume)),
        read_only: false,
    };
    assert!(refused(machine.ensure(1, 1, adopted_with(vec![theirs])).await).contains("system disk of VM"));
    let other_realm = DesiredVm::Adopted(Box::new(AdoptedVm {
        realm: "other".parse().unwrap(),
        ..match adopted() {
            DesiredVm::Adopted(adopted) => *adopted,
            other => panic!("{other:?}"),
        }
    }));
    assert!(refused(machine.ensure(1, 1, other_realm).await).contains("realms never mix"));
    let ours = refused(machine.ensure(4, 2, DesiredVm::Released).await);
    assert!(ours.contains("only what was adopted"), "{ours}");
    let stale = machine.send_from(Epoch(1), CommandBody::DescribeDomain { domain: vm(1) }).await;
    assert!(matches!(stale, Err(Refusal::StaleEpoch { .. })));
    let own = machine.hypervisor.domains().unwrap().own;
    assert_eq!(own.len(), 1, "nobody else's was touched");
}

/// Waits, for at most a second, until the outbox tells something that fits. In real time: events come from a thread that
/// virtual time does not wait for.
async fn told_soon(machine: &Machine, what: &str, fits: impl Fn(&Due, &Machine) -> bool) {
    let telling = async { while !fits(&machine.host().outbox().next().await, machine) {} };
    let told = tokio::time::timeout(SOON, telling).await;
    told.unwrap_or_else(|_| panic!("{what} was not told within {SOON:?}"));
}

fn observed(due: &Due, wanted: impl Fn(&ObservedVm) -> bool) -> bool {
    matches!(due, Due::Vm(told) if told.vm == vm(1) && wanted(&told.observed))
}

#[tokio::test]
async fn what_is_done_by_hand_is_told_within_a_second() {
    let machine = Machine::automatic().await;
    machine.ensure(1, 1, running(1)).await.unwrap();
    machine.until_running(1).await;
    let drain = || while machine.host().outbox().take().is_some() {};
    let hypervisor = &machine.hypervisor;

    drain();
    hypervisor.set_paused(vm(1), true);
    told_soon(&machine, "a suspension", |due, _| observed(due, |told| *told == ObservedVm::Paused)).await;
    hypervisor.set_paused(vm(1), false);
    let runs = |told: &ObservedVm| matches!(told, ObservedVm::Running { .. });
    told_soon(&machine, "a resumption", |due, _| observed(due, runs)).await;

    hypervisor.resize(vm(1), 3, Mebibytes(256));
    let resized = |due: &Due, machine: &Machine| {
        let size = |report: &reeve_common::protocol::HostReport| report.sizes[0].clone();
        *due == Due::Report
            && (size(&machine.host().report()).vcpus, size(&machine.host().report()).memory)
                == (3, Mebibytes(256))
    };
    told_soon(&machine, "another size", resized).await;

    let ledger = hypervisor.remove_ledger(vm(1)).unwrap();
    told_soon(&machine, "a lost ledger", |due, machine| {
        *due == Due::Report && machine.host().report().foreign.iter().any(|foreign| foreign.id == vm(1))
    })
    .await;
    assert_eq!(machine.observed(1), Some(ObservedVm::Unknown));
    hypervisor.overwrite_ledger(vm(1), &ledger);
    told_soon(&machine, "a ledger that was put back", |due, machine| {
        *due == Due::Report && machine.host().report().foreign.is_empty()
    })
    .await;
    machine.until_running(1).await;

    drain();
    hypervisor.destroy_by_hand(vm(1));
    let destroyed = ObservedVm::Ended(StopReason::Destroyed);
    told_soon(&machine, "an end", |due, _| observed(due, |told| *told == destroyed)).await;
    hypervisor.start_by_hand(vm(1));
    told_soon(&machine, "a start", |due, _| observed(due, runs)).await;
    hypervisor.destroy_by_hand(vm(1));
    told_soon(&machine, "another end", |due, _| observed(due, |told| *told == destroyed)).await;
    hypervisor.undefine_by_hand(vm(1));
    told_soon(&machine, "that its definition is gone", |due, _| {
        observed(due, |told| *told == ObservedVm::Unknown)
    })
    .await;
    assert_eq!(machine.until_gone(1).await, StopReason::Destroyed);
}

#[tokio::test(start_paused = true)]
async fn what_is_destroyed_while_it_is_started_is_not_started_again() {
    let machine = Machine::automatic().await;
    // Its start comes to nothing, as somebody destroys it in the middle.
    machine.hypervisor.plan_fault(Call::Start, Fault::answer_lost());
    machine.ensure(1, 1, running(1)).await.unwrap();
    for _ in 0..100_000 {
        if machine.hypervisor.destroy_by_hand(vm(1)) {
            break;
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    let ended = ObservedVm::Ended(StopReason::Destroyed);
    machine.until(1, |told| told == Some(&ended)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let inside = machine.hypervisor.look_inside();
    assert_eq!((inside[0].starts, inside[0].running), (1, false));
}
