//! Quotas: as the naive scheduler counts them, what they say, and that nobody ever gets more.

use proptest::prelude::*;
use reeve_common::ids::{HostId, RealmName};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{Fleet, QuotaHolder, QuotaLimits, QuotaStanding, QuotaUsage, Quotas, Request};

use crate::constraints::expect;
use crate::fixture::{devices, host, preset, request, vm, whole};
use crate::naive::Naive;

/// Limits that some VMs of the tests stay within.
fn limits() -> impl Strategy<Value = QuotaLimits> {
    let maybe = |most: u64| proptest::option::weighted(0.4, 0..most);
    (maybe(30), maybe(50), maybe(6), maybe(12)).prop_map(|(cores, memory, devices, vms)| QuotaLimits {
        cores: cores.map(|cores| Millicores(cores * 500)),
        memory: memory.map(|memory| Mebibytes(memory * 256)),
        devices_permille: devices.map(|devices| devices * 1000),
        vms,
    })
}

/// Quotas of a realm; often none at all.
pub(crate) fn quotas() -> impl Strategy<Value = Quotas> {
    let some = (limits(), limits(), limits(), limits()).prop_map(|(one, team, any_owner, any_team)| Quotas {
        owners: [("owner-1".to_owned(), one)].into(),
        teams: [("team-2".to_owned(), team)].into(),
        any_owner,
        any_team,
    });
    prop_oneof![1 => Just(Quotas::default()), 2 => some]
}

/// One limit of a request's owner or team: what is asked, what is used, what is allowed.
struct Limit {
    asked: u64,
    used: u64,
    allowed: u64,
}

impl Naive {
    fn limits(&self, request: &Request) -> Vec<Limit> {
        let Some(quotas) = self.quotas.get(&request.realm) else { return Vec::new() };
        let owner = quotas.owners.get(&request.owner).unwrap_or(&quotas.any_owner);
        let team = quotas.teams.get(&request.team).unwrap_or(&quotas.any_team);
        let mut found = Vec::new();
        let of_realm = || self.vms.values().map(|(_, vm)| vm).filter(|vm| vm.realm == request.realm);
        let mut add = |limits: &QuotaLimits, others: Vec<&Request>| {
            let mut one = |allowed: Option<u64>, of: &dyn Fn(&Request) -> u64| {
                let used = others.iter().map(|vm| of(vm)).sum();
                found.extend(allowed.map(|allowed| Limit { asked: of(request), used, allowed }));
            };
            one(limits.cores.map(|cores| cores.0), &|vm| vm.cores.0);
            one(limits.memory.map(|memory| memory.0), &|vm| vm.memory.0);
            one(limits.devices_permille, &|vm| vm.devices.values().map(|amount| amount.permille()).sum());
            one(limits.vms, &|_| 1);
        };
        if !request.owner.is_empty() {
            add(owner, of_realm().filter(|vm| vm.owner == request.owner).collect());
        }
        if !request.team.is_empty() {
            add(team, of_realm().filter(|vm| vm.team == request.team).collect());
        }
        found
    }

    /// Whether the VM's owner and team may have it.
    pub(crate) fn is_allowed(&self, request: &Request) -> bool {
        self.limits(request).iter().all(|limit| limit.asked == 0 || limit.used + limit.asked <= limit.allowed)
    }

    /// Fails if a VM that was just placed exceeds a limit.
    pub(crate) fn assert_within_quotas(&self, request: &Request) {
        for limit in self.limits(request).iter().filter(|limit| limit.asked > 0) {
            assert!(limit.used <= limit.allowed, "{} of {} for {request:?}", limit.used, limit.allowed);
        }
    }
}

fn realm() -> RealmName {
    RealmName::new("r").unwrap()
}

fn of_ann(cores: u32, memory_gib: u64) -> Request {
    Request { owner: "ann".to_owned(), team: "blue".to_owned(), ..request(cores, memory_gib) }
}

#[test]
fn a_quota_is_refused_with_who_and_how_much() {
    let mut fleet = Fleet::new();
    let mut described = host(1, 64, 64, &preset("balanced"));
    described.capacity.devices = devices("a100", 8);
    fleet.upsert_host(described);
    // What is there before the quotas counts, and may be more than they allow.
    fleet.reserve(vm(1), HostId(1), &of_ann(14, 30)).unwrap();
    let ann = QuotaLimits {
        cores: Some(Millicores::from_cores(16)),
        memory: Some(Mebibytes(32 << 10)),
        devices_permille: Some(1500),
        ..QuotaLimits::default()
    };
    let any_team = QuotaLimits { vms: Some(2), ..QuotaLimits::default() };
    let quotas = Quotas { owners: [("ann".to_owned(), ann)].into(), any_team, ..Quotas::default() };
    fleet.set_quotas(&realm(), quotas);
    expect(&mut fleet, &of_ann(2, 2), None);
    expect(&mut fleet, &of_ann(4, 1), Some("quota of owner ann: cores: 4 asked, 14 used of 16 allowed"));
    let reason = "quota of owner ann: memory: 2.5 GiB asked, 30 GiB used of 32 GiB allowed";
    expect(&mut fleet, &Request { memory: Mebibytes(2560), ..of_ann(1, 1) }, Some(reason));
    let reason = "quota of owner ann: devices: 2 asked, 0 used of 1.5 allowed";
    expect(&mut fleet, &Request { devices: whole("a100", 2), ..of_ann(1, 1) }, Some(reason));
    fleet.reserve(vm(2), HostId(1), &of_ann(1, 1)).unwrap();
    let bob = || Request { owner: "bob".to_owned(), ..of_ann(20, 20) };
    expect(&mut fleet, &bob(), Some("quota of team blue: VMs: 1 asked, 2 used of 2 allowed"));
    // Its own share is not in its way, and what is over the limit may stay, but not grow.
    assert_eq!(fleet.reserve(vm(2), HostId(1), &of_ann(2, 2)), Ok(()));
    assert!(fleet.reserve(vm(2), HostId(1), &of_ann(3, 2)).is_err());
    let holder = QuotaHolder::Owner("ann".to_owned());
    let usage = QuotaUsage {
        cores: Millicores::from_cores(16),
        memory: Mebibytes(32 << 10),
        devices_permille: 0,
        vms: 2,
    };
    assert_eq!(fleet.quota_usage(&realm(), &holder), Some(usage));
    let blue = QuotaUsage { vms: 2, ..usage };
    let standings = [
        QuotaStanding { holder: holder.clone(), limits: ann, usage },
        QuotaStanding { holder: QuotaHolder::Team("blue".to_owned()), limits: any_team, usage: blue },
    ];
    assert_eq!(fleet.quota_standings(&realm()), standings);
    assert_eq!(fleet.quota_standings(&RealmName::new("nowhere").unwrap()), []);
    // Nobody who has no owner or team is held to anybody's limits, nor are other realms.
    expect(&mut fleet, &request(20, 20), None);
    fleet.set_quotas(&RealmName::new("other").unwrap(), Quotas { any_owner: ann, ..Quotas::default() });
    fleet.release(vm(1));
    fleet.release(vm(2));
    assert_eq!(fleet.quota_usage(&realm(), &holder), Some(QuotaUsage::default()));
    fleet.set_quotas(&realm(), Quotas::default());
    assert_eq!(fleet.quota_usage(&realm(), &holder), None);
    expect(&mut fleet, &of_ann(60, 60), None);
}

#[test]
fn vms_of_hosts_that_are_not_there_count() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(host(1, 64, 64, &preset("balanced")));
    fleet.upsert_host(host(2, 64, 64, &preset("balanced")));
    let any_owner = QuotaLimits { vms: Some(2), ..QuotaLimits::default() };
    fleet.set_quotas(&realm(), Quotas { any_owner, ..Quotas::default() });
    fleet.reserve(vm(1), HostId(2), &of_ann(1, 1)).unwrap();
    fleet.restore(vm(2), HostId(7), &of_ann(1, 1));
    fleet.remove_host(HostId(2));
    let reason = "quota of owner ann: VMs: 1 asked, 2 used of 2 allowed";
    expect(&mut fleet, &of_ann(1, 1), Some(reason));
    fleet.release(vm(2));
    expect(&mut fleet, &of_ann(1, 1), None);
}
