//! Digests say what explanations say, of fewer hosts.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use proptest::prelude::*;
use reeve_common::ids::HostId;
use reeve_scheduler::{Fleet, HostExplanation, HostsTold, Reason, Request};

use crate::decisions::{both, cost, describe, seed, shape};
use crate::fixture::{host, preset, request, vm};

const TOLD: HostsTold = HostsTold { feasible: 3, refused: 5 };

fn agree(fleet: &Fleet, request: &Request) {
    let (digest, explanation) = (fleet.digest(request, TOLD), fleet.explain(request));
    let kind = |host: HostId| discriminant(&fleet.fits(host, request).unwrap_err());
    let (mut able, unable): (Vec<&HostExplanation>, Vec<&HostExplanation>) =
        explanation.hosts.iter().partition(|host| host.feasible);
    assert_eq!((digest.considered, digest.feasible), (explanation.hosts.len(), able.len()));
    assert_eq!((digest.explanation.chosen, digest.explanation.rule), (explanation.chosen, explanation.rule));
    able.sort_by(|one, other| {
        one.score().partial_cmp(&other.score()).unwrap().then(one.host.cmp(&other.host))
    });
    let mut counts: HashMap<Discriminant<Reason>, (usize, &HostExplanation)> = HashMap::new();
    for host in &unable {
        counts.entry(kind(host.host)).or_insert((0, host)).0 += 1;
    }
    assert_eq!(digest.refusals.len(), counts.len());
    for refusal in &digest.refusals {
        let example = unable.iter().find(|host| host.name == refusal.example).unwrap();
        let (count, first) = counts[&kind(example.host)];
        assert_eq!((refusal.hosts, &refusal.example), (count, &first.name));
        assert_eq!(Some(&refusal.reason), example.reason.as_ref());
    }
    let (told_able, told_unable): (Vec<&HostExplanation>, Vec<&HostExplanation>) =
        digest.explanation.hosts.iter().partition(|host| host.feasible);
    // As text, since a cost that is not a number is not equal to itself.
    assert_eq!(format!("{told_able:?}"), format!("{:?}", &able[..able.len().min(TOLD.feasible)]));
    assert_eq!(told_unable.len(), unable.len().min(TOLD.refused));
    assert!(told_unable.windows(2).all(|pair| pair[0].host < pair[1].host));
    for host in &told_unable {
        assert!(unable.iter().any(|known| format!("{known:?}") == format!("{host:?}")), "{host:?}");
    }
    let told: Vec<_> = told_unable.iter().map(|host| kind(host.host)).collect();
    if counts.len() <= TOLD.refused {
        assert!(counts.keys().all(|kind| told.contains(kind)), "{told:?} of {counts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_digest_is_exact(
        costs in proptest::collection::vec(cost(), 1..3),
        hosts in proptest::collection::vec(seed(), 0..40),
        shapes in proptest::collection::vec(shape(), 1..12),
    ) {
        let functions: Vec<_> = costs.iter().filter_map(both).collect();
        prop_assume!(!functions.is_empty());
        let mut fleet = Fleet::new();
        for (id, seed) in hosts.iter().enumerate().rev() {
            fleet.upsert_host(describe(u32::try_from(id).unwrap(), seed, &functions[id % functions.len()]));
        }
        for (number, request) in shapes.iter().enumerate() {
            let decided = fleet.decide(request);
            // From the second time on its scores are kept, and a digest reads them.
            for _ in 0..number % 3 {
                prop_assert_eq!(fleet.decide(request), decided);
            }
            agree(&fleet, request);
            prop_assert_eq!(fleet.digest(request, TOLD).explanation.chosen, decided);
            for host in fleet.explain(request).hosts {
                let alone = fleet.explain_host(host.host, request).unwrap();
                prop_assert_eq!(format!("{alone:?}"), format!("{host:?}"));
            }
            if let Some(host) = decided {
                fleet.reserve(vm(number as u128), host, request).unwrap();
            }
        }
    }
}

#[test]
fn a_vm_is_left_out_of_the_account_and_comes_back() {
    let mut fleet = Fleet::new();
    fleet.upsert_host(host(1, 8, 8, &preset("balanced")));
    let wanted = request(6, 6);
    let alone = fleet.explain_host(HostId(1), &wanted).unwrap();
    fleet.reserve(vm(1), HostId(1), &wanted).unwrap();
    let usage = fleet.usage(HostId(1));
    assert!(!fleet.explain_host(HostId(1), &wanted).unwrap().feasible);
    let without = fleet.without(vm(1), |fleet| fleet.explain_host(HostId(1), &wanted).unwrap());
    assert_eq!(without, alone);
    assert_eq!((fleet.usage(HostId(1)), fleet.host_of(vm(1))), (usage, Some(HostId(1))));
    // Of a VM that is nowhere nothing is left out.
    let unknown = fleet.without(vm(9), |fleet| fleet.explain_host(HostId(1), &wanted).unwrap());
    assert!(!unknown.feasible);
    assert_eq!(fleet.explain_host(HostId(2), &wanted), None);
}
