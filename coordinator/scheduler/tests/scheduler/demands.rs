//! What requests demand besides amounts, as the tests make it up and as the naive scheduler answers it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use reeve_common::ids::{HostId, PoolName};
use reeve_scheduler::{
    Affinity, AffinityRule, Companions, CpuAbilities, CpuDemand, HostDescription, HostLabelRule, Request,
};

use crate::fixture::vm;
use crate::naive::{Host, Naive};

/// What a host has beyond amounts, by small numbers.
#[derive(Debug, Clone)]
pub(crate) struct Equipment {
    cpu: Option<u8>,
    zone: u8,
    pools: u8,
}

/// Any; most hosts have no trouble with their pools.
pub(crate) fn equipment() -> impl Strategy<Value = Equipment> {
    let pools = prop_oneof![4 => Just(0_u8), 1 => 0_u8..4];
    (proptest::option::weighted(0.8, 0_u8..16), 0_u8..4, pools).prop_map(|(cpu, zone, pools)| Equipment {
        cpu,
        zone,
        pools,
    })
}

fn named(prefix: &str, bits: u8) -> BTreeSet<String> {
    (0..2).filter(|bit| bits >> bit & 1 == 1).map(|bit| format!("{prefix}{bit}")).collect()
}

fn pools(bits: u8) -> BTreeSet<PoolName> {
    named("pool", bits).into_iter().map(|name| PoolName::new(name).unwrap()).collect()
}

impl Equipment {
    /// Fits a host out with it.
    pub(crate) fn give(&self, host: &mut HostDescription) {
        let abilities =
            |bits: u8| CpuAbilities { models: named("model", bits), features: named("feature", bits >> 2) };
        host.cpu = self.cpu.map(abilities);
        if self.zone > 0 {
            host.labels.insert("zone".to_owned(), format!("zone{}", self.zone));
            host.labels.insert("app".to_owned(), format!("app-{}", self.zone));
            host.labels.insert("who".to_owned(), format!("owner-{}", self.zone));
        }
        host.pool_problems = pools(self.pools).into_iter().map(|pool| (pool, "not active".into())).collect();
    }
}

/// What a request demands. A third of the requests are ordinary.
pub(crate) fn demands() -> impl Strategy<Value = Request> {
    let realm = reeve_common::ids::RealmName::new("a").unwrap();
    let plain = Request::new(realm, reeve_common::units::Millicores(0), reeve_common::units::Mebibytes(0));
    let companions = prop_oneof![
        Just(Companions::Owner),
        Just(Companions::Team),
        (1_u8..3).prop_map(|app| Companions::Label { key: "app".to_owned(), value: format!("app-{app}") }),
        (0..8_u128).prop_map(|number| Companions::Vm(vm(number))),
    ];
    let kind = prop_oneof![Just(Affinity::Together), Just(Affinity::Apart)];
    let rule = (kind, companions).prop_map(|(kind, companions)| AffinityRule { kind, companions });
    let cpu = prop_oneof![2 => Just((None, 0)), 1 => (proptest::option::of(0_u8..2), 0_u8..4)];
    let label = (0_u8..3, any::<bool>()).prop_map(|(zones, wanted)| HostLabelRule {
        key: "zone".to_owned(),
        values: named("zone", zones + 1),
        wanted,
    });
    let affinity = prop_oneof![2 => Just(Vec::new()), 2 => proptest::collection::vec(rule, 1..3)];
    let labels = prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(label, 1..3)];
    let left = prop_oneof![4 => Just(Vec::new()), 1 => proptest::collection::vec(1..6_u32, 1..3)];
    let some = (cpu, labels, affinity, 0_u8..4, left).prop_map({
        let plain = plain.clone();
        move |((model, features), host_labels, affinity, bits, left)| Request {
            cpu: CpuDemand {
                model: model.map(|model| format!("model{model}")),
                features: named("feature", features),
            },
            host_labels,
            affinity,
            pools: pools(bits),
            left: left.into_iter().map(HostId).collect(),
            ..plain.clone()
        }
    });
    prop_oneof![1 => Just(plain), 2 => some]
}

impl Naive {
    /// Whether the host meets what is demanded.
    pub(crate) fn meets(&self, host: &Host, request: &Request) -> bool {
        let description = &host.description;
        let CpuDemand { model, features } = &request.cpu;
        let cpu = match &description.cpu {
            None => model.is_none() && features.is_empty(),
            Some(can) => {
                model.as_ref().is_none_or(|model| can.models.contains(model))
                    && features.iter().all(|feature| can.features.contains(feature))
            }
        };
        let label = |rule: &HostLabelRule| {
            let is_one = match description.labels.get(&rule.key) {
                None => false,
                Some(value) => rule.values.contains(value),
            };
            if rule.wanted { is_one } else { !is_one }
        };
        let was_there = request.left.contains(&description.id);
        !was_there
            && cpu
            && request.host_labels.iter().all(label)
            && request.pools.iter().all(|pool| !description.pool_problems.contains_key(pool))
            && request.affinity.iter().all(|rule| self.is_followed(host, rule, request))
    }

    fn is_followed(&self, host: &Host, rule: &AffinityRule, request: &Request) -> bool {
        let is_meant = |number, other: &Request| match &rule.companions {
            Companions::Owner => !request.owner.is_empty() && other.owner == request.owner,
            Companions::Team => !request.team.is_empty() && other.team == request.team,
            Companions::Label { key, value } => other.labels.get(key) == Some(value),
            Companions::Vm(vm) => *vm == number,
        };
        let HostDescription { id, realm, .. } = &host.description;
        let realm_of = |place| self.hosts.get(place).map(|host| &host.description.realm);
        let meant = self.vms.iter().filter(|(vm, (_, other))| is_meant(**vm, other));
        let here = meant.clone().any(|(_, (place, _))| place == id);
        let anywhere = meant.clone().any(|(_, (place, _))| realm_of(place) == Some(realm));
        match rule.kind {
            Affinity::Apart => !here,
            Affinity::Together => here || (!anywhere && !matches!(rule.companions, Companions::Vm(_))),
        }
    }
}
