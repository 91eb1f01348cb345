//! Measured values in the cost: never yesterday's, and gone when they are too old.

use reeve_common::clock::Timestamp;
use reeve_common::ids::HostId;
use reeve_scheduler::{Fleet, Measured};

use crate::fixture::{function, host as plain_host, preset, request, vm};
use proptest::prelude::*;

/// Measured load moves a decision at once, also one that was made before and is kept.
#[test]
fn measurements_are_never_served_from_yesterday() {
    let cost = function(&[("heat", "10 * measured.cpu.load"), ("cpu", "cores.load")]);
    let mut fleet = Fleet::new();
    for id in 1..=20 {
        fleet.upsert_host(plain_host(id, 8, 8, &cost));
    }
    let wanted = request(1, 1);
    assert_eq!(fleet.decide(&wanted), None, "nothing is known of any host");
    for round in 0..100_u32 {
        let cool = 1 + round * 7 % 20;
        for id in 1..=20 {
            let cpu_load = if id == cool { 0.1 } else { 0.5 };
            fleet.set_measured(HostId(id), Some(Measured { cpu_load, ..Measured::default() }));
        }
        assert_eq!(fleet.decide(&wanted), Some(HostId(cool)), "round {round}");
    }
    fleet.set_measured(HostId(1 + 99 * 7 % 20), None);
    assert_ne!(fleet.decide(&wanted), Some(HostId(1 + 99 * 7 % 20)));
}

#[test]
fn what_is_too_old_is_forgotten_and_nothing_else() {
    let cost = function(&[("heat", "measured.known ? measured.cpu.load : 1")]);
    let mut fleet = Fleet::new();
    for id in 1..=3 {
        fleet.upsert_host(plain_host(id, 8, 8, &cost));
    }
    let measure = |at: u64, cpu_load| Some(Measured { at: Timestamp(at), cpu_load, ..Measured::default() });
    fleet.set_measured(HostId(1), measure(100, 0.5));
    fleet.set_measured(HostId(2), measure(200, 0.25));
    fleet.set_measured(HostId(2), measure(300, 0.75));
    let wanted = request(1, 1);
    assert_eq!(fleet.decide(&wanted), Some(HostId(1)));
    let measured_at =
        |fleet: &Fleet| fleet.explain(&wanted).hosts.iter().map(|host| host.measured_at).collect::<Vec<_>>();
    assert_eq!(measured_at(&fleet), [Some(Timestamp(100)), Some(Timestamp(300)), None]);
    assert_eq!(fleet.forget_measured_before(Timestamp(100)), 0);
    assert_eq!(fleet.forget_measured_before(Timestamp(201)), 1);
    assert_eq!(measured_at(&fleet), [None, Some(Timestamp(300)), None]);
    assert_eq!(fleet.decide(&wanted), Some(HostId(2)));
    // A host that comes again is not measured yet, and what it once was is not there to be forgotten.
    fleet.remove_host(HostId(2));
    fleet.upsert_host(plain_host(2, 8, 8, &preset("balanced")));
    assert_eq!(fleet.forget_measured_before(Timestamp(u64::MAX)), 0);
    fleet.set_measured(HostId(2), measure(400, 0.5));
    assert_eq!(measured_at(&fleet), [None; 3], "its cost function does not ask");
    let text = serde_json::to_string(&fleet.explain(&wanted)).unwrap();
    assert!(!text.contains("measured-at"));
}

/// What happens to a fleet whose cost is all measured.
#[derive(Debug, Clone)]
enum Event {
    Measure { host: u32, at: u64, load: u8 },
    Forget { before: u64 },
    Place { vm: u128, size: u32 },
    Release { vm: u128 },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_u32..12, 0_u64..20, 0_u8..20).prop_map(|(host, at, load)| Event::Measure { host, at, load }),
        1 => (0_u64..21).prop_map(|before| Event::Forget { before }),
        3 => (0_u128..30, 1_u32..4).prop_map(|(vm, size)| Event::Place { vm, size }),
        1 => (0_u128..30).prop_map(|vm| Event::Release { vm }),
    ]
}

proptest! {
    /// With nothing but classes that are kept, over many hosts' measurements that come and go.
    #[test]
    fn kept_scores_follow_every_measurement(events in proptest::collection::vec(event(), 1..120)) {
        let cost = function(&[
            ("heat", "measured.known ? 4 * measured.cpu.load : 2"),
            ("cpu", "cores.load"),
        ]);
        let mut fleet = Fleet::new();
        for id in 0..12 {
            fleet.upsert_host(plain_host(id, 8, 8, &cost));
        }
        let mut known: [Option<(u64, u8)>; 12] = [None; 12];
        for event in events {
            match event {
                Event::Measure { host, at, load } => {
                    let cpu_load = f64::from(load) / 20.0;
                    let measured = Measured { at: Timestamp(at), cpu_load, ..Measured::default() };
                    fleet.set_measured(HostId(host), Some(measured));
                    known[host as usize] = Some((at, load));
                }
                Event::Forget { before } => {
                    let old = |known: &&mut Option<(u64, u8)>| known.is_some_and(|(at, _)| at < before);
                    let count = known.iter_mut().filter(old).map(|known| *known = None).count();
                    prop_assert_eq!(fleet.forget_measured_before(Timestamp(before)), count);
                }
                Event::Place { vm: number, size } => {
                    let wanted = request(size, 1);
                    let place = fleet.decide(&wanted);
                    prop_assert_eq!(place, fleet.explain(&wanted).chosen);
                    // By hand: a charge that placement does not change, and the rise of the load.
                    let score = |host: u32| {
                        let used = fleet.usage(HostId(host)).unwrap().used.cores.0;
                        let heat = known[host as usize].map_or(2.0, |(_, load)| 4.0 * (f64::from(load) / 20.0));
                        let load = |used: u64| if used == 0 { 0.0 } else { used as f64 / 8000.0 };
                        let after = used + u64::from(size) * 1000;
                        #[allow(clippy::cast_possible_truncation)] // to as many digits as count
                        (after <= 8000).then(|| (heat + load(after) - load(used)) as f32)
                    };
                    let mut best: Option<(f32, u32)> = None;
                    for (score, host) in (0..12).filter_map(|host| Some((score(host)?, host))) {
                        best = if best.is_none_or(|(lowest, _)| score < lowest) { Some((score, host)) } else { best };
                    }
                    prop_assert_eq!(place, best.map(|(_, host)| HostId(host)));
                    if let Some(host) = place {
                        let _ = fleet.reserve(vm(number), host, &wanted);
                    }
                }
                Event::Release { vm: number } => {
                    fleet.release(vm(number));
                }
            }
        }
    }
}
