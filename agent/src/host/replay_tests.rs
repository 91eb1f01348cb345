//! Commands that come twice, late, in another order, or from a coordinator that is not in office any more: the host ends
//! as if each had come once and in order.

use std::time::Duration;

use proptest::prelude::*;
use reeve_common::ids::{Epoch, Generation, OperationId, PoolName, VolumeName};
use reeve_common::protocol::{Command, CommandBody, Refusal, ReplyBody};
use reeve_common::storage::{DiskFormat, NewVolume};
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::vm::{AdoptedVm, DesiredVm, ObservedVm, StopReason};

use crate::test_machine::{EPOCH, Machine};
use crate::vm::sample_values::{realm, running, stopped, vm};
use crate::witness::tests::signed;

fn command(epoch: Epoch, body: CommandBody) -> Command {
    Command { epoch, operation: OperationId::random(), body }
}

fn volume() -> NewVolume {
    NewVolume {
        pool: PoolName::new("drives").unwrap(),
        name: VolumeName::new("mine").unwrap(),
        capacity: Bytes(1 << 30),
        format: DiskFormat::Qcow2,
        lazy: true,
    }
}

/// Everything a coordinator says in the lives of two VMs, of which one is stopped; one command of each kind.
fn story() -> Vec<Command> {
    let ensure = |number, generation, desired| CommandBody::EnsureVm {
        vm: vm(number),
        generation: Generation(generation),
        desired,
    };
    let bodies = [
        CommandBody::ConfigureRealm(crate::test_machine::settings()),
        ensure(1, 1, running(1)),
        ensure(2, 1, running(2)),
        ensure(1, 2, stopped(30)),
        ensure(1, 3, stopped(0)),
        CommandBody::Report,
        CommandBody::ReadReport,
        CommandBody::ReadConsole { vm: vm(1), length_max: 100 },
        CommandBody::ListVolumes { pool: volume().pool },
        CommandBody::InstallCertificate { certificate: "none".to_owned() },
        CommandBody::ForgetVm { vm: vm(2), generation: Generation(9) },
        // No lease is asked for here; where one is, `self_fencing_tests` jumbles its grants.
        CommandBody::GrantLease { number: 7, lease: Duration::from_secs(9) },
        CommandBody::DescribeVms { after: None },
        CommandBody::DescribeVms { after: Some(vm(1)) },
        CommandBody::Witness { checkpoint: Some(signed(1, 9, "first")) },
        CommandBody::Witness { checkpoint: Some(signed(1, 10, "second")) },
        CommandBody::Witness { checkpoint: None },
        CommandBody::DescribeDomain { domain: vm(3) },
        ensure(3, 1, adopted()),
        ensure(4, 1, adopted_as("legacy-4")),
        ensure(4, 2, DesiredVm::Released),
    ];
    bodies.map(|body| command(EPOCH, body)).to_vec()
}

/// The same in the words of a coordinator that has been succeeded, who wishes other things.
fn deposed() -> Vec<Command> {
    let old = Epoch(EPOCH.0 - 1);
    let ensure =
        |number, desired| CommandBody::EnsureVm { vm: vm(number), generation: Generation(99), desired };
    let bodies = [
        ensure(1, running(1)),
        ensure(2, stopped(0)),
        ensure(3, running(3)),
        ensure(3, DesiredVm::Released),
        ensure(4, adopted_as("legacy-4")),
        ensure(5, adopted_as("legacy-5")),
        CommandBody::GrantLease { number: 7, lease: Duration::from_secs(9) },
        CommandBody::DescribeVms { after: None },
        CommandBody::Witness { checkpoint: Some(signed(1, 99, "another")) },
        CommandBody::DescribeDomain { domain: vm(3) },
        CommandBody::ForgetVm { vm: vm(1), generation: Generation(99) },
        CommandBody::ConfigureRealm(crate::test_machine::settings()),
        CommandBody::CreateVolume(volume()),
        CommandBody::DeleteVolume { pool: volume().pool, volume: volume().name },
        CommandBody::Report,
        CommandBody::ReadReport,
    ];
    bodies.map(|body| command(old, body)).to_vec()
}

async fn say(machine: &Machine, command: &Command) -> Result<ReplyBody, Refusal> {
    machine.host().answer(command.clone()).await.outcome
}

/// A domain that somebody else made and that is to be ours.
fn adopted_as(name: &str) -> DesiredVm {
    DesiredVm::Adopted(Box::new(AdoptedVm {
        name: name.parse().unwrap(),
        title: String::new(),
        realm: realm(),
        vcpus: 1,
        memory: Mebibytes(128),
        disks: Vec::new(),
        origin: String::new(),
    }))
}

fn adopted() -> DesiredVm {
    adopted_as("legacy-3")
}

/// The host's end: VM 1 gone at its highest generation, VM 2 running; of somebody else's domains the third adopted, the
/// fourth given back, the fifth left alone, and all three running on; the longest log witnessed.
async fn assert_end(machine: &Machine) {
    machine.until_gone(1).await;
    machine.until_running(2).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let report = machine.host().report();
    assert_eq!(report.vms.len(), 4, "{report:?}");
    let first = report.vms.iter().find(|told| told.vm == vm(1)).unwrap();
    assert!(matches!(first.observed, ObservedVm::Gone(_)) && first.generation == Generation(3), "{first:?}");
    let told = |number: u128| report.vms.iter().find(|told| told.vm == vm(number)).unwrap();
    assert!(matches!(told(3).observed, ObservedVm::Running { .. }), "{report:?}");
    assert_eq!(told(4).observed, ObservedVm::Gone(StopReason::Released));
    let inside = machine.hypervisor.look_inside();
    let untouched = |number: u128| {
        inside.iter().any(|domain| domain.vm == vm(number) && domain.running && domain.starts == 1)
    };
    assert!([3, 4, 5].into_iter().all(untouched), "{inside:?}");
    let mut others: Vec<_> = report.foreign.iter().map(|domain| domain.id).collect();
    others.sort_unstable();
    assert_eq!(others, [vm(4), vm(5)]);
    assert_eq!(machine.disks().len(), 1);
    let asked = machine.send(CommandBody::Witness { checkpoint: None }).await;
    let held = Some(signed(1, 10, "second"));
    assert_eq!(asked, Ok(ReplyBody::Witnessed { held }));
    match machine.send(CommandBody::DescribeVms { after: None }).await {
        Ok(ReplyBody::Descriptions { vms, more: false }) => {
            let described: Vec<_> = vms.iter().map(|described| described.observation.vm).collect();
            assert_eq!(described, [vm(2), vm(3)]);
        }
        other => panic!("{other:?}"),
    }
}

/// Messages in any order, each one to three times, with pauses between them.
fn jumbled() -> impl Strategy<Value = Vec<(usize, u64)>> {
    let each: Vec<usize> = (0..story().len() + deposed().len()).collect();
    prop::collection::vec(1_usize..4, each.len()).prop_flat_map(move |times| {
        let all: Vec<usize> =
            each.iter().zip(&times).flat_map(|(index, times)| std::iter::repeat_n(*index, *times)).collect();
        let pauses = prop::collection::vec(prop_oneof![3 => Just(0_u64), 1 => 1_u64..4000], all.len());
        (Just(all).prop_shuffle(), pauses).prop_map(|(all, pauses)| all.into_iter().zip(pauses).collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_order_and_any_repetition_ends_as_in_order(jumble in jumbled()) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let machine = Machine::automatic().await;
            for number in 3..=5 {
                machine.hypervisor.add_foreign_domain(vm(number), &format!("legacy-{number}"), true);
            }
            // Whoever is in office now was heard first; from then on nobody before counts.
            say(&machine, &command(EPOCH, CommandBody::Report)).await.unwrap();
            let all: Vec<Command> = story().into_iter().chain(deposed()).collect();
            for (index, pause) in jumble {
                let command = &all[index];
                let answer = say(&machine, command).await;
                let stale = matches!(answer, Err(Refusal::StaleEpoch { .. }));
                assert_eq!(stale, command.epoch < EPOCH, "{command:?}: {answer:?}");
                tokio::time::sleep(Duration::from_millis(pause)).await;
                machine.hypervisor.advance();
            }
            assert_end(&machine).await;
        });
    }

    /// A volume that was made and removed does not come back because its making is heard again.
    #[test]
    fn what_is_done_once_is_not_done_again(again in prop::collection::vec(any::<bool>(), 1..8)) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let machine = Machine::automatic().await;
            let create = command(EPOCH, CommandBody::CreateVolume(volume()));
            let (pool, name) = (volume().pool, volume().name);
            let delete = command(EPOCH, CommandBody::DeleteVolume { pool: pool.clone(), volume: name });
            assert_eq!(say(&machine, &create).await, Ok(ReplyBody::Accepted));
            assert_eq!(say(&machine, &delete).await, Ok(ReplyBody::Accepted));
            for create_again in again {
                let repeated = if create_again { &create } else { &delete };
                assert_eq!(say(&machine, repeated).await, Ok(ReplyBody::Accepted), "the same answer");
                let listed = machine.send(CommandBody::ListVolumes { pool: pool.clone() }).await;
                assert_eq!(listed, Ok(ReplyBody::Volumes(Vec::new())));
            }
            // Asked for anew, it is made anew.
            assert_eq!(machine.send(CommandBody::CreateVolume(volume())).await, Ok(ReplyBody::Accepted));
            let listed = machine.send(CommandBody::ListVolumes { pool }).await;
            assert!(matches!(listed, Ok(ReplyBody::Volumes(volumes)) if volumes.len() == 1));
        });
    }
}
