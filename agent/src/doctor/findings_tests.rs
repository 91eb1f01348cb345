//! Tests of the doctor's words: every fact that is not as it should be says what it means and what to do.

use std::path::PathBuf;

use reeve_common::check::{Verdict, worst};
use reeve_common::clock::Timestamp;

use super::*;

const HOUR: u64 = 3_600_000;

fn good() -> HostFacts {
    HostFacts {
        user: UserFacts { name: "reeve-agent".to_owned(), is_root: false, in_libvirt_group: Some(true) },
        identity: IdentityFacts::Joined {
            who: "host node-1 (1) of realm primary".to_owned(),
            not_before: Timestamp(100 * HOUR),
            not_after: Timestamp(124 * HOUR),
        },
        state_directory: (PathBuf::from("/var/lib/reeve-agent"), Some(1 << 30)),
        libvirt: Ok(Examined {
            version: "libvirt 9.0.0, QEMU 7.2.19".to_owned(),
            library: 9_000_000,
            pools: vec![("vms".to_owned(), true)],
            networks: vec![("default".to_owned(), true)],
        }),
        libvirt_uri: "qemu:///system".to_owned(),
        kvm: KvmFacts::Probed(ProbeEnd::Marked),
        lock_manager: LockManager::Named("lockd".to_owned()),
        clock: ClockFacts { now: Timestamp(102 * HOUR), synchronised: Some(true) },
        coordinator: Some(("c.example:7443".to_owned(), Answer::Welcome { milliseconds: 3 })),
        huge_pages: vec![HugePages { size_kib: 1 << 20, all: 4, free: 3 }],
        cgroups: CgroupFacts::Unified(["cpu", "cpuset", "io", "memory"].map(str::to_owned).to_vec()),
        journal: JournalFacts::Readable,
    }
}

fn check(facts: &HostFacts, about: &str) -> Check {
    judge(facts).into_iter().find(|check| check.about == about).unwrap()
}

#[test]
fn a_good_host_is_well_in_every_respect() {
    let checks = judge(&good());
    assert_eq!(worst(&checks), Verdict::Ok, "{checks:?}");
    assert_eq!(checks.len(), 13);
    assert!(checks.iter().all(|check| check.advice.is_none()));
    assert_eq!(
        check(&good(), "certificate").found,
        "host node-1 (1) of realm primary, good for 22h more and renewed by itself"
    );
    assert_eq!(check(&good(), "huge pages").found, "4 of 1 GiB (3 free)");
}

#[test]
fn each_trouble_has_its_verdict_and_says_what_to_do() {
    type Spoil = fn(&mut HostFacts);
    let troubles: [(&str, Verdict, &str, Spoil); 26] = [
        ("user", Verdict::Failure, "not in the group", |facts| facts.user.in_libvirt_group = Some(false)),
        ("user", Verdict::Failure, "not installed", |facts| facts.user.in_libvirt_group = None),
        ("libvirt", Verdict::Failure, "does not answer", |facts| facts.libvirt = Err("no socket".to_owned())),
        ("libvirt", Verdict::Warning, "never tried", |facts| {
            facts.libvirt = Ok(Examined { library: 8_000_000, ..good().libvirt.unwrap() });
        }),
        ("pools", Verdict::Warning, "not started: drives", |facts| {
            facts.libvirt.as_mut().unwrap().pools.push(("drives".to_owned(), false));
        }),
        ("pools", Verdict::Warning, "no storage pool", |facts| facts.libvirt.as_mut().unwrap().pools.clear()),
        ("networks", Verdict::Warning, "not started: lan", |facts| {
            facts.libvirt.as_mut().unwrap().networks.push(("lan".to_owned(), false));
        }),
        ("KVM", Verdict::Failure, "no /dev/kvm", |facts| facts.kvm = KvmFacts::NoDevice),
        ("KVM", Verdict::Failure, "made no progress", |facts| {
            facts.kvm = KvmFacts::Probed(ProbeEnd::TooSlow)
        }),
        ("KVM", Verdict::Failure, "does not offer it", |facts| {
            facts.kvm = KvmFacts::Probed(ProbeEnd::NotOffered("no accelerator".to_owned()));
        }),
        ("KVM", Verdict::Warning, "could not be tried", |facts| {
            facts.kvm = KvmFacts::NotProbed("x".to_owned())
        }),
        ("lock manager", Verdict::Warning, "none", |facts| facts.lock_manager = LockManager::None),
        ("lock manager", Verdict::Warning, "goes without it", |facts| {
            facts.lock_manager = LockManager::NotInForce("lockd".to_owned());
        }),
        ("lock manager", Verdict::Failure, "no guest can be started", |facts| {
            facts.lock_manager = LockManager::NoGuest("virtlockd is dead".to_owned());
        }),
        ("lock manager", Verdict::Warning, "could not be found out: x", |facts| {
            facts.lock_manager = LockManager::Unknown("x".to_owned());
        }),
        ("state directory", Verdict::Failure, "is not there", |facts| facts.state_directory.1 = None),
        ("state directory", Verdict::Failure, "has 1 MiB left", |facts| {
            facts.state_directory.1 = Some(1 << 20)
        }),
        ("certificate", Verdict::Failure, "chmod 0600 key.pem", |facts| {
            facts.identity = IdentityFacts::WrongFile("run chmod 0600 key.pem".to_owned());
        }),
        ("certificate", Verdict::Warning, "has not joined", |facts| {
            facts.identity = IdentityFacts::NotJoined
        }),
        ("certificate", Verdict::Failure, "expired at", |facts| facts.clock.now = Timestamp(124 * HOUR)),
        ("certificate", Verdict::Failure, "clock says", |facts| facts.clock.now = Timestamp(99 * HOUR)),
        ("certificate", Verdict::Warning, "should have been renewed", |facts| {
            facts.clock.now = Timestamp(119 * HOUR);
        }),
        ("time", Verdict::Warning, "not synchronised", |facts| facts.clock.synchronised = Some(false)),
        ("cgroups", Verdict::Warning, "without cpuset", |facts| {
            facts.cgroups = CgroupFacts::Legacy(["cpu", "memory"].map(str::to_owned).to_vec());
        }),
        ("cgroups", Verdict::Warning, "no control groups", |facts| facts.cgroups = CgroupFacts::Missing),
        ("journal", Verdict::Warning, "cannot be read", |facts| facts.journal = JournalFacts::NotReadable),
    ];
    for (about, verdict, words, spoil) in troubles {
        let mut facts = good();
        spoil(&mut facts);
        let found = check(&facts, about);
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert!(found.found.contains(words), "{words} is not in {found:?}");
        assert!(found.advice.is_some(), "{found:?} says not what to do");
    }
}

#[test]
fn a_firewalls_silence_is_told_from_a_refusal() {
    let answered = |answer| {
        let facts = HostFacts { coordinator: Some(("c.example:7443".to_owned(), answer)), ..good() };
        check(&facts, "coordinator")
    };
    let silence = answered(Answer::Silence { seconds: 5 });
    assert!(silence.found.contains("a firewall drops UDP") && silence.verdict == Verdict::Failure);
    let closed = answered(Answer::NothingListens);
    assert!(closed.found.contains("nothing listens") && closed.advice.unwrap().contains("systemctl status"));
    let refused = answered(Answer::Refused("the certificate is unknown".to_owned()));
    assert!(refused.found.contains("answers, and refuses this host"));
    assert_eq!(answered(Answer::Stranger("another authority".to_owned())).verdict, Verdict::Failure);
    assert_eq!(answered(Answer::Unnamed("no such name".to_owned())).verdict, Verdict::Failure);
}

#[test]
fn what_nobody_may_look_at_is_no_failure() {
    let facts = HostFacts {
        identity: IdentityFacts::NotReadable("permission denied".to_owned()),
        lock_manager: LockManager::Unnamed,
        coordinator: None,
        huge_pages: Vec::new(),
        ..good()
    };
    assert_eq!(worst(&judge(&facts)), Verdict::Warning);
}
