//! Each constraint: the reason it gives, and that `fits`, `explain`, `decide` and `reserve` agree on it.

use std::collections::{BTreeMap, BTreeSet};

use reeve_common::ids::{HostId, PoolName};
use reeve_scheduler::{
    Affinity, AffinityRule, Companions, CpuAbilities, CpuDemand, Fleet, HostDescription, HostLabelRule,
    Request,
};

use crate::fixture::{host, preset, request, vm};

/// Expects that host 1 refuses `wanted` for `reason`, whoever is asked, or takes it where there is none.
pub(crate) fn expect(fleet: &mut Fleet, wanted: &Request, reason: Option<&str>) {
    let found = fleet.fits(HostId(1), wanted).err().map(|found| found.to_string());
    assert_eq!(found.as_deref(), reason, "fits");
    let explanation = fleet.explain(wanted);
    let explained = explanation.hosts.iter().find(|host| host.host == HostId(1)).unwrap();
    assert_eq!(explained.reason.as_deref(), reason, "explain");
    // A scan, a new class, a kept class.
    for round in 0..3 {
        assert_eq!(fleet.decide(wanted), explanation.chosen, "decide, round {round}");
    }
    let reserved = fleet.reserve(vm(999), HostId(1), wanted).err().map(|found| found.to_string());
    assert_eq!(reserved.as_deref(), reason, "reserve");
    fleet.release(vm(999));
}

fn fleet_of(change: impl FnOnce(&mut HostDescription)) -> Fleet {
    let mut fleet = Fleet::new();
    let mut described = host(1, 16, 64, &preset("balanced"));
    change(&mut described);
    fleet.upsert_host(described);
    fleet
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn a_processor_must_be_able_to_do_what_is_asked() {
    let asking = |model: Option<&str>, features: &[&str]| Request {
        cpu: CpuDemand { model: model.map(str::to_owned), features: set(features) },
        ..request(1, 1)
    };
    let mut fleet = fleet_of(|host| {
        host.cpu =
            Some(CpuAbilities { models: set(&["Nehalem", "Skylake"]), features: set(&["avx", "avx2"]) });
    });
    expect(&mut fleet, &asking(Some("Skylake"), &["avx2"]), None);
    let reason = "cpu: model EPYC asked, it is not among the 2 the host can give";
    expect(&mut fleet, &asking(Some("EPYC"), &["avx2"]), Some(reason));
    let reason = "cpu: 2 of 3 features missing: amx-tile, avx512f";
    expect(&mut fleet, &asking(None, &["avx", "avx512f", "amx-tile"]), Some(reason));
    let reason =
        "cpu: model EPYC asked, it is not among the 2 the host can give; 1 of 1 features missing: sse9";
    expect(&mut fleet, &asking(Some("EPYC"), &["sse9"]), Some(reason));
    let mut silent = fleet_of(|_| {});
    let reason = "cpu: model EPYC with avx asked, and the host has not said what its processor can do";
    expect(&mut silent, &asking(Some("EPYC"), &["avx"]), Some(reason));
    expect(&mut silent, &request(1, 1), None);
}

#[test]
fn a_hosts_labels_must_say_what_is_asked() {
    let asking = |values: &[&str], wanted: bool| Request {
        host_labels: vec![HostLabelRule { key: "zone".to_owned(), values: set(values), wanted }],
        ..request(1, 1)
    };
    let mut fleet = fleet_of(|host| host.labels = BTreeMap::from([("zone".to_owned(), "b".to_owned())]));
    expect(&mut fleet, &asking(&["a", "b"], true), None);
    expect(&mut fleet, &asking(&["a", "c"], true), Some("host label zone: a or c asked, the host has b"));
    expect(&mut fleet, &asking(&["a"], false), None);
    expect(
        &mut fleet,
        &asking(&["a", "b"], false),
        Some("host label zone: a or b not wanted, the host has b"),
    );
    let mut bare = fleet_of(|_| {});
    expect(&mut bare, &asking(&["a"], true), Some("host label zone: a asked, the host has none"));
    expect(&mut bare, &asking(&["a"], false), None);
}

#[test]
fn a_vm_never_goes_back_to_a_host_that_it_was_moved_away_from() {
    let asking = |left: &[u32]| Request { left: left.iter().copied().map(HostId).collect(), ..request(1, 1) };
    let mut fleet = fleet_of(|_| {});
    expect(&mut fleet, &asking(&[2, 3]), None);
    expect(
        &mut fleet,
        &asking(&[1, 2]),
        Some("left: the VM has been on this host, and a host starts a VM once"),
    );
}

#[test]
fn a_pool_that_cannot_be_used_bars_only_those_who_need_it() {
    let pool = |name: &str| PoolName::new(name).unwrap();
    let asking =
        |names: &[&str]| Request { pools: names.iter().map(|name| pool(name)).collect(), ..request(1, 1) };
    let mut fleet = fleet_of(|host| {
        host.pool_problems = BTreeMap::from([(pool("fast"), "it is not started".to_owned())]);
    });
    expect(&mut fleet, &asking(&["slow"]), None);
    let reason = "storage: 1 of 2 pools cannot be used, pool fast: it is not started";
    expect(&mut fleet, &asking(&["fast", "slow"]), Some(reason));
    // As soon as it can be used again, also for a class of requests that was refused before.
    fleet.upsert_host(host(1, 16, 64, &preset("balanced")));
    expect(&mut fleet, &asking(&["fast", "slow"]), None);
}

#[test]
fn affinity_looks_at_whom_the_host_and_the_realm_have() {
    let asking = |kind, companions, owner: &str| Request {
        affinity: vec![AffinityRule { kind, companions }],
        owner: owner.to_owned(),
        team: "blue".to_owned(),
        labels: BTreeMap::from([("app".to_owned(), "db".to_owned())]),
        ..request(1, 1)
    };
    let (together, apart) = (Affinity::Together, Affinity::Apart);
    let db = || Companions::Label { key: "app".to_owned(), value: "db".to_owned() };
    let mut fleet = fleet_of(|_| {});
    fleet.upsert_host(host(2, 16, 64, &preset("balanced")));
    // Nobody is anywhere yet.
    for companions in [Companions::Owner, Companions::Team, db()] {
        expect(&mut fleet, &asking(together, companions.clone(), "ann"), None);
        expect(&mut fleet, &asking(apart, companions, "ann"), None);
    }
    let ann = Request { affinity: Vec::new(), ..asking(apart, Companions::Owner, "ann") };
    fleet.reserve(vm(1), HostId(2), &ann).unwrap();
    let away = |who: &str| format!("affinity: together with {who} asked, none is here and 1 elsewhere");
    expect(&mut fleet, &asking(together, Companions::Owner, "ann"), Some(&away("VMs of owner ann")));
    expect(&mut fleet, &asking(together, Companions::Owner, "bob"), None);
    expect(&mut fleet, &asking(together, Companions::Owner, ""), None);
    expect(&mut fleet, &asking(together, Companions::Team, "bob"), Some(&away("VMs of team blue")));
    expect(&mut fleet, &asking(together, db(), "bob"), Some(&away("VMs with label app=db")));
    let one = "VM 00000000-0000-0000-0000-000000000001";
    expect(&mut fleet, &asking(together, Companions::Vm(vm(1)), "bob"), Some(&away(one)));
    expect(&mut fleet, &asking(apart, Companions::Owner, "ann"), None);
    // It moves to the first host.
    fleet.restore(vm(1), HostId(1), &ann);
    fleet.reserve(vm(2), HostId(1), &Request { owner: "ann".to_owned(), ..request(1, 1) }).unwrap();
    expect(&mut fleet, &asking(together, Companions::Owner, "ann"), None);
    expect(&mut fleet, &asking(together, Companions::Vm(vm(1)), "bob"), None);
    let reason = "anti-affinity: apart from VMs of owner ann asked, 2 here";
    expect(&mut fleet, &asking(apart, Companions::Owner, "ann"), Some(reason));
    let reason = format!("anti-affinity: apart from {one} asked, 1 here");
    expect(&mut fleet, &asking(apart, Companions::Vm(vm(1)), "bob"), Some(&reason));
    // When they have left, any host will do again, but for the VM that is not placed.
    fleet.release(vm(1));
    fleet.release(vm(2));
    expect(&mut fleet, &asking(together, Companions::Owner, "ann"), None);
    let reason = format!("affinity: together with {one} asked, none is here and 0 elsewhere");
    expect(&mut fleet, &asking(together, Companions::Vm(vm(1)), "bob"), Some(&reason));
}

/// Requests that differ in nothing but whose they are do not share scores when their rules ask whose.
#[test]
fn each_owner_and_each_team_keeps_apart_from_its_own() {
    for (companions, differ) in [
        (Companions::Owner, (|request, name| request.owner = name) as fn(&mut Request, String)),
        (Companions::Team, |request, name| request.team = name),
    ] {
        let rule = AffinityRule { kind: Affinity::Apart, companions };
        let wanted = Request { affinity: vec![rule], ..request(1, 1) };
        let [mut ann, mut bob] = [wanted.clone(), wanted];
        differ(&mut ann, "ann".to_owned());
        differ(&mut bob, "bob".to_owned());
        let mut fleet = fleet_of(|_| {});
        fleet.upsert_host(host(2, 16, 64, &preset("balanced")));
        fleet.reserve(vm(1), HostId(1), &ann).unwrap();
        fleet.reserve(vm(2), HostId(2), &bob).unwrap();
        for round in 0..3 {
            let chosen = (fleet.decide(&ann), fleet.decide(&bob));
            assert_eq!(chosen, (Some(HostId(2)), Some(HostId(1))), "round {round}");
        }
    }
}

#[test]
fn a_vm_is_not_its_own_companion() {
    let mut fleet = fleet_of(|_| {});
    let rule = AffinityRule { kind: Affinity::Apart, companions: Companions::Owner };
    let alone = Request { owner: "ann".to_owned(), affinity: vec![rule], ..request(1, 1) };
    fleet.reserve(vm(1), HostId(1), &alone).unwrap();
    assert_eq!(fleet.reserve(vm(1), HostId(1), &alone), Ok(()));
    let grown = Request { cores: reeve_common::units::Millicores(2000), ..alone };
    assert_eq!(fleet.reserve(vm(1), HostId(1), &grown), Ok(()), "other amounts for the same VM");
    assert!(fleet.reserve(vm(2), HostId(1), &grown).is_err());
}
