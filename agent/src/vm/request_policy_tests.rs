//! The policy against a tiny model, with commands at random, duplicated, reordered and late.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reeve_common::ids::{NetworkName, PoolName, VolumeName};
use reeve_common::storage::{DiskCache, DiskFormat};
use reeve_common::units::Mebibytes;
use reeve_common::vm::{DriveAttachment, NetworkInterface};

use super::*;
use crate::vm::sample_values::{realm, running, spec, stopped, vm};

/// What a host would do: the model keeps for each VM what it was last allowed to, and never less.
#[derive(Debug, Default)]
struct Host {
    highest: Epoch,
    standings: BTreeMap<u128, Standing>,
    started: BTreeMap<u128, u32>,
    buried: BTreeMap<u128, Generation>,
}

#[derive(Debug, Clone)]
enum Incoming {
    Ensure {
        epoch: u64,
        vm: u128,
        generation: u64,
        stop: bool,
    },
    Forget {
        epoch: u64,
        vm: u128,
        generation: u64,
    },
    /// The supervisor has removed it.
    Finished {
        vm: u128,
    },
}

impl Host {
    fn standing(&self, vm: u128) -> Standing {
        self.standings.get(&vm).cloned().unwrap_or(Standing::Unknown)
    }

    fn take(&mut self, incoming: &Incoming) {
        match *incoming {
            Incoming::Ensure { epoch, vm, generation, stop } => {
                if !self.take_epoch(epoch) {
                    return;
                }
                let generation = Generation(generation);
                let desired = if stop { stopped(10) } else { running(vm) };
                let before = self.standing(vm);
                let verdict = judge(generation, &desired, &before, &realm(), 0, |_| None);
                self.check(vm, generation, stop, &before, &verdict);
            }
            Incoming::Forget { epoch, vm, generation } => {
                if !self.take_epoch(epoch) {
                    return;
                }
                if judge_forget(Generation(generation), &self.standing(vm)) == ForgetVerdict::Forget {
                    let generation = self.buried[&vm];
                    self.standings.insert(vm, Standing::Forgotten { generation });
                }
            }
            Incoming::Finished { vm } => {
                if let Standing::Kept { generation, stopping: true, .. } = self.standing(vm) {
                    self.standings.insert(vm, Standing::Gone { generation });
                    self.buried.insert(vm, generation);
                }
            }
        }
    }

    fn take_epoch(&mut self, epoch: u64) -> bool {
        let result = check_epoch(Epoch(epoch), self.highest);
        assert_eq!(result.is_err(), epoch < self.highest.0, "an older epoch was obeyed, or a newer refused");
        if let Ok(higher) = result {
            assert_eq!(higher, epoch > self.highest.0);
            self.highest = Epoch(epoch);
        }
        result.is_ok()
    }

    fn check(&mut self, vm: u128, generation: Generation, stop: bool, before: &Standing, verdict: &Verdict) {
        let known = before.generation();
        match verdict {
            Verdict::Accept => {
                assert!(known.is_none_or(|known| generation > known), "an older generation was obeyed");
                if !stop {
                    assert!(!self.buried.contains_key(&vm), "a VM was started after its end");
                    if known.is_none() {
                        *self.started.entry(vm).or_default() += 1;
                    }
                    assert!(self.started[&vm] <= 1, "a VM was started twice");
                }
                let stopping = stop || matches!(before, Standing::Kept { stopping: true, .. });
                self.standings.insert(vm, Standing::Kept { generation, stopping, disk: None });
            }
            Verdict::AlreadyGone => {
                assert!(self.buried.contains_key(&vm));
                self.buried.insert(vm, generation);
                self.standings.insert(vm, Standing::Gone { generation });
            }
            Verdict::AlreadySo => assert!(known.is_some_and(|known| generation >= known)),
            Verdict::Superseded { current } => assert!(generation < *current && known == Some(*current)),
            Verdict::Refuse(refusal) => assert!(!stop && !refusal.is_retryable(), "{refusal}"),
        }
    }
}

fn incoming() -> impl Strategy<Value = Incoming> {
    let ensure = (0..4_u64, 0..3_u128, 0..5_u64, any::<bool>())
        .prop_map(|(epoch, vm, generation, stop)| Incoming::Ensure { epoch, vm, generation, stop });
    let forget = (0..4_u64, 0..3_u128, 0..5_u64).prop_map(|(epoch, vm, generation)| Incoming::Forget {
        epoch,
        vm,
        generation,
    });
    let finished = (0..3_u128).prop_map(|vm| Incoming::Finished { vm });
    prop_oneof![4 => ensure, 1 => forget, 2 => finished]
}

proptest! {
    #[test]
    fn commands_in_any_order_and_number_start_nothing_twice(
        commands in prop::collection::vec(incoming(), 0..60),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut host = Host::default();
        for command in &commands {
            host.take(command);
        }
        for index in again {
            if !commands.is_empty() {
                host.take(index.get(&commands));
            }
        }
    }
}

fn verdict(generation: u64, desired: &DesiredVm, standing: &Standing) -> Verdict {
    judge(Generation(generation), desired, standing, &realm(), 0, |_| None)
}

fn kept(generation: u64, stopping: bool) -> Standing {
    let system = spec(1).system_disk;
    let disk = Some((system.pool, system.volume));
    Standing::Kept { generation: Generation(generation), stopping, disk }
}

#[test]
fn what_was_adopted_is_not_started_and_what_was_made_is_not_released() {
    let adopted = Standing::Kept { generation: Generation(5), stopping: false, disk: None };
    for generation in [5, 6] {
        let refused = verdict(generation, &running(1), &adopted);
        assert!(matches!(refused, Verdict::Refuse(Refusal::Invalid(_))), "{refused:?}");
    }
    assert_eq!(verdict(6, &DesiredVm::Released, &adopted), Verdict::Accept);
    let refused = verdict(6, &DesiredVm::Released, &kept(5, false));
    assert!(matches!(refused, Verdict::Refuse(Refusal::Invalid(_))), "{refused:?}");
}

#[test]
fn generations_decide() {
    let gone = Standing::Gone { generation: Generation(5) };
    assert_eq!(verdict(1, &running(1), &Standing::Unknown), Verdict::Accept);
    assert_eq!(verdict(5, &running(1), &kept(5, false)), Verdict::AlreadySo);
    assert_eq!(verdict(6, &stopped(1), &kept(5, false)), Verdict::Accept);
    assert_eq!(verdict(4, &stopped(0), &kept(5, false)), Verdict::Superseded { current: Generation(5) });
    assert_eq!(verdict(5, &running(1), &gone), Verdict::AlreadyGone);
    assert_eq!(verdict(6, &stopped(1), &gone), Verdict::AlreadyGone);
    assert_eq!(verdict(4, &running(1), &gone), Verdict::Superseded { current: Generation(5) });
    for standing in [gone, kept(5, true), Standing::Forgotten { generation: Generation(5) }] {
        let refused = verdict(6, &running(1), &standing);
        assert!(matches!(refused, Verdict::Refuse(Refusal::Invalid(_))), "{refused:?}");
    }
}

#[test]
fn a_full_host_takes_no_new_vm_and_still_stops_those_it_has() {
    let full = |desired: &DesiredVm, standing: &Standing| {
        judge(Generation(9), desired, standing, &realm(), VMS_MAX, |_| None)
    };
    assert!(matches!(full(&running(1), &Standing::Unknown), Verdict::Refuse(Refusal::Failed(_))));
    assert_eq!(full(&stopped(1), &kept(1, false)), Verdict::Accept);
}

type Spoil = fn(&mut VmSpec);

#[test]
fn what_cannot_be_meant_is_refused_with_the_reason() {
    let cases: [(&str, Spoil); 11] = [
        ("realms never mix", |spec| spec.realm = RealmName::new("other").unwrap()),
        ("0 virtual processors", |spec| spec.vcpus = 0),
        ("289 virtual processors", |spec| spec.vcpus = 289),
        ("of memory", |spec| spec.memory = Mebibytes(0)),
        ("of memory", |spec| spec.memory = Mebibytes(u64::MAX)),
        ("registration timeout", |spec| spec.registration_timeout = Duration::ZERO),
        ("title", |spec| spec.title = "a\u{1b}[2J".to_owned()),
        ("processor model", |spec| spec.cpu_model = CpuModel::Named("</model>".to_owned())),
        ("image itself", |spec| {
            spec.system_disk.pool = spec.system_disk.image_pool.clone();
            spec.system_disk.volume = spec.system_disk.image_volume.clone();
        }),
        ("attached twice", |spec| {
            let drive = DriveAttachment {
                pool: PoolName::new("drives").unwrap(),
                volume: VolumeName::new("mine").unwrap(),
                format: DiskFormat::Raw,
                cache: DiskCache::Default,
                read_only: true,
            };
            spec.drives = vec![drive.clone(), drive];
        }),
        ("networks", |spec| {
            let network = NetworkInterface { network: NetworkName::new("default").unwrap(), filter: None };
            spec.networks = vec![network; 9];
        }),
    ];
    for (expected, spoil) in cases {
        let mut spoiled = spec(1);
        spoil(&mut spoiled);
        let refused = verdict(1, &DesiredVm::Running(Box::new(spoiled)), &Standing::Unknown);
        match refused {
            Verdict::Refuse(Refusal::Invalid(why)) => assert!(why.contains(expected), "{why}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let endless = DesiredVm::Stopped { grace: GRACE_MAX * 2 };
    assert!(matches!(verdict(2, &endless, &kept(1, false)), Verdict::Refuse(Refusal::Invalid(_))));
}

#[test]
fn two_vms_never_share_a_system_disk() {
    let owner = |_: &Disk| Some(vm(7));
    let refused = judge(Generation(1), &running(1), &Standing::Unknown, &realm(), 1, owner);
    assert!(matches!(&refused, Verdict::Refuse(Refusal::Invalid(why)) if why.contains(&vm(7).to_string())));
    let disk = (PoolName::new("volumes").unwrap(), VolumeName::new("other").unwrap());
    let standing = Standing::Kept { generation: Generation(1), stopping: false, disk: Some(disk) };
    assert!(matches!(verdict(2, &running(1), &standing), Verdict::Refuse(Refusal::Invalid(_))));
}
