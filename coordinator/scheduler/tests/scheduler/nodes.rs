//! NUMA nodes and huge pages: who gets which, what comes back, and what the reasons say.

use std::collections::BTreeMap;

use reeve_common::hardware_profile::{HardwareProfile, HugePageSize, NumaNode, Overcommit};
use reeve_common::ids::{CostFunctionName, HostId, ProfileName};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_scheduler::{Assignment, Fleet, HostDescription, Request};

use crate::constraints::expect;
use crate::fixture::{function, host, preset, request, vm};

const GIANT: HugePageSize = HugePageSize(1024);
const FIRST: HostId = HostId(1);

/// Two nodes with 8 cores, 32 GiB and 4 giant pages each.
fn described() -> HostDescription {
    let mut described = host(1, 16, 64, &preset("balanced"));
    let node = NumaNode {
        cores: Millicores::from_cores(8),
        memory: Mebibytes(32 << 10),
        huge_pages: BTreeMap::from([(GIANT, 4)]),
    };
    described.capacity.huge_pages = BTreeMap::from([(GIANT, 8)]);
    described.capacity.numa_nodes = vec![node.clone(), node];
    described
}

fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.upsert_host(described());
    fleet
}

fn on(nodes: u32, cores: u32, memory_gib: u64) -> Request {
    Request { numa_nodes: Some(nodes), ..request(cores, memory_gib) }
}

fn in_pages(wanted: Request) -> Request {
    Request { huge_pages: Some(GIANT), ..wanted }
}

fn nodes(fleet: &Fleet, number: u128) -> Vec<u32> {
    fleet.assignment(vm(number)).numa_nodes
}

#[test]
fn a_vm_gets_nodes_and_gives_exactly_these_back() {
    let mut fleet = fleet();
    fleet.reserve(vm(1), FIRST, &on(1, 2, 8)).unwrap();
    fleet.reserve(vm(2), FIRST, &on(1, 2, 8)).unwrap();
    fleet.reserve(vm(3), FIRST, &on(1, 2, 20)).unwrap();
    assert_eq!((nodes(&fleet, 1), nodes(&fleet, 2), nodes(&fleet, 3)), (vec![0], vec![0], vec![1]));
    fleet.reserve(vm(4), FIRST, &on(2, 4, 16)).unwrap();
    assert_eq!(nodes(&fleet, 4), [0, 1]);
    // The first has 32 - 24 left, the second 32 - 28.
    let reason = "numa: 1 nodes with 1 cores and 9 GiB each asked, 0 of 2 have that free";
    expect(&mut fleet, &on(1, 1, 9), Some(reason));
    fleet.release(vm(3));
    expect(&mut fleet, &on(1, 1, 9), None);
    // Other amounts may mean another node, the same ones do not.
    fleet.reserve(vm(1), FIRST, &on(1, 2, 20)).unwrap();
    assert_eq!(nodes(&fleet, 1), [1]);
    fleet.reserve(vm(1), FIRST, &Request { owner: "ann".to_owned(), ..on(1, 2, 20) }).unwrap();
    assert_eq!(nodes(&fleet, 1), [1]);
    for number in [1, 2, 4] {
        fleet.release(vm(number));
    }
    expect(&mut fleet, &on(2, 16, 64), None);
    assert!(nodes(&fleet, 1).is_empty());
}

#[test]
fn reasons_tell_how_many_nodes_have_room() {
    let mut fleet = fleet();
    let reason = "numa: 4 nodes with 1 cores and 1 GiB each asked, 2 of 2 have that free";
    expect(&mut fleet, &on(4, 4, 4), Some(reason));
    fleet.reserve(vm(1), FIRST, &on(1, 6, 1)).unwrap();
    let reason = "numa: 2 nodes with 2.5 cores and 2 GiB each asked, 1 of 2 have that free";
    expect(&mut fleet, &on(2, 5, 4), Some(reason));
    // Who floats counts for the host alone, and so do nodes for who floats.
    expect(&mut fleet, &request(10, 4), None);
    expect(&mut fleet, &request(11, 4), Some("cores: 11 asked, 10 free of 16"));
    expect(&mut fleet, &on(0, 10, 4), None);
    let mut flat = Fleet::new();
    flat.upsert_host(host(1, 16, 64, &preset("balanced")));
    let reason = "numa: 1 nodes with 1 cores and 1 GiB each asked, 0 of 0 have that free";
    expect(&mut flat, &on(1, 1, 1), Some(reason));
}

#[test]
fn huge_pages_are_no_ordinary_memory() {
    let mut fleet = fleet();
    fleet.reserve(vm(1), FIRST, &in_pages(request(1, 6))).unwrap();
    let usage = fleet.usage(FIRST).unwrap();
    assert_eq!((usage.used.memory, usage.used.huge_pages), (Mebibytes(0), BTreeMap::from([(GIANT, 6)])));
    expect(&mut fleet, &request(1, 64), None);
    let reason = "huge pages: 3 of 1 GiB asked, 2 free of 8";
    expect(&mut fleet, &in_pages(request(1, 3)), Some(reason));
    let small = Request { huge_pages: Some(HugePageSize(2)), ..request(1, 1) };
    expect(&mut fleet, &small, Some("huge pages: 512 of 2 MiB asked, 0 free of 0"));
    fleet.release(vm(1));
    let reason = "numa: 1 nodes with 1 cores and 5 huge pages of 1 GiB each asked, 0 of 2 have that free";
    expect(&mut fleet, &in_pages(on(1, 1, 5)), Some(reason));
    fleet.reserve(vm(2), FIRST, &in_pages(on(1, 1, 3))).unwrap();
    fleet.reserve(vm(3), FIRST, &in_pages(on(1, 1, 1))).unwrap();
    assert_eq!(nodes(&fleet, 3), [0], "the node with the fewest pages left");
    expect(
        &mut fleet,
        &in_pages(on(2, 1, 2)),
        Some("numa: 2 nodes with 0.5 cores and 1 huge pages of 1 GiB each asked, 1 of 2 have that free"),
    );
}

#[test]
fn cost_is_about_ordinary_memory() {
    let cost = function(&[("memory", "memory.used + 1000 * vm.memory + before.memory.free")]);
    let mut fleet = Fleet::new();
    fleet.upsert_host(HostDescription { cost_function: cost, ..described() });
    let explanation = fleet.explain(&in_pages(request(1, 6)));
    assert!((explanation.hosts[0].after - f64::from(64 << 10)).abs() < 1e-9, "{explanation:?}");
}

#[test]
fn nodes_are_kept_while_the_host_is_away_and_when_it_changes() {
    let mut fleet = fleet();
    // Found running, more than fits: where the most is left.
    fleet.reserve(vm(1), FIRST, &on(1, 1, 10)).unwrap();
    fleet.restore(vm(2), FIRST, &on(1, 1, 40));
    assert_eq!(nodes(&fleet, 2), [1]);
    fleet.remove_host(FIRST);
    fleet.restore(vm(3), FIRST, &on(2, 2, 2));
    assert_eq!((nodes(&fleet, 1), nodes(&fleet, 3)), (vec![0], vec![]));
    fleet.upsert_host(described());
    assert_eq!((nodes(&fleet, 1), nodes(&fleet, 2), nodes(&fleet, 3)), (vec![0], vec![1], vec![0, 1]));
    // What came with the host is counted like what was placed there: 8 - 1 - 1 cores are left on each.
    let reason = "numa: 1 nodes with 7 cores and 1 GiB each asked, 0 of 2 have that free";
    expect(&mut fleet, &on(1, 7, 1), Some(reason));
    let mut single = described();
    single.capacity.numa_nodes.truncate(1);
    fleet.upsert_host(single);
    fleet.upsert_host(described());
    assert_eq!((nodes(&fleet, 2), nodes(&fleet, 3)), (vec![1], vec![0, 1]));
    fleet.release(vm(2));
    // 32 - 10 - 1 GiB, 32 - 1 GiB.
    expect(&mut fleet, &on(1, 1, 31), None);
    let reason = "numa: 2 nodes with 0.5 cores and 21.5 GiB each asked, 1 of 2 have that free";
    expect(&mut fleet, &on(2, 1, 43), Some(reason));
    // As told after a coordinator began anew.
    let told = Assignment { numa_nodes: vec![1, 1, 5000], ..Assignment::default() };
    fleet.restore_with(vm(4), FIRST, &on(1, 1, 1), &told);
    assert_eq!(nodes(&fleet, 4), [1]);
    let text = serde_json::to_string(&fleet.assignment(vm(4))).unwrap();
    assert_eq!(text, r#"{"numa-nodes":[1]}"#);
}

/// Whatever a profile says, no VM is placed where it does not fit, nothing overflows, and nothing grows without bound.
#[test]
fn absurd_profiles_and_requests_do_no_harm() {
    let numbers = [0, 1, 1 << 40, u64::MAX];
    let counts = [None, Some(0), Some(3), Some(1_000_000_000)];
    let profile = |whole: u64, size: u32, count: Option<u32>| HardwareProfile {
        name: ProfileName::new("p").unwrap(),
        cores: Millicores(whole),
        memory: Mebibytes(whole),
        devices: crate::fixture::devices("a100", u32::try_from(whole).unwrap_or(u32::MAX)),
        divisible_devices: std::collections::BTreeSet::new(),
        huge_pages: BTreeMap::from([(HugePageSize(size), whole), (GIANT, u64::MAX)]),
        numa_nodes: count,
        reserved_cores: Millicores(whole / 2),
        reserved_memory: Mebibytes(whole / 3),
        cores_overcommit: Overcommit(u32::MAX),
        memory_overcommit: Overcommit(u32::MAX),
        cost_function: CostFunctionName::new("c").unwrap(),
    };
    for (whole, count) in numbers.into_iter().flat_map(|whole| counts.map(|count| (whole, count))) {
        let mut fleet = Fleet::new();
        let capacity = profile(whole, 0, count).capacity();
        assert!(capacity.numa_nodes.len() <= 1024);
        fleet.upsert_host(HostDescription { capacity, ..described() });
        for (asked, pages) in numbers
            .into_iter()
            .flat_map(|asked| [None, Some(GIANT), Some(HugePageSize(0))].map(|pages| (asked, pages)))
        {
            for nodes in counts {
                let wanted = Request {
                    cores: Millicores(asked),
                    memory: Mebibytes(asked),
                    huge_pages: pages,
                    numa_nodes: nodes,
                    ..request(0, 0)
                };
                let place = fleet.decide(&wanted);
                assert_eq!(place, fleet.explain(&wanted).chosen, "{wanted:?}");
                let fits = fleet.fits(FIRST, &wanted).is_ok();
                for number in 0..3 {
                    fleet.restore(vm(number), FIRST, &wanted);
                }
                for number in 0..3 {
                    fleet.release(vm(number));
                }
                assert_eq!(fleet.fits(FIRST, &wanted).is_ok(), fits, "what was given back is there again");

                assert!(!fits || (asked <= 1 << 40 && asked <= fleet.usage(FIRST).unwrap().capacity.cores.0));
            }
        }
    }
}
