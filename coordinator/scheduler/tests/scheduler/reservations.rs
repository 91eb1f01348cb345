//! Reservations: what is promised, what is counted, and what comes back.

use reeve_common::ids::HostId;
use reeve_common::units::Mebibytes;
use reeve_scheduler::{Fleet, Measured, Reason};

use crate::fixture::{function, host, preset, request, vm, whole};

const FIRST: HostId = HostId(1);
const SECOND: HostId = HostId(2);

fn fleet() -> Fleet {
    let mut fleet = Fleet::new();
    for id in [1, 2] {
        fleet.upsert_host(host(id, 8, 8, &preset("balanced")));
    }
    fleet
}

#[test]
fn a_reservation_is_made_once_and_given_back_once() {
    let mut fleet = fleet();
    fleet.reserve(vm(1), FIRST, &request(4, 4)).unwrap();
    fleet.reserve(vm(1), FIRST, &request(4, 4)).unwrap();
    assert_eq!(fleet.usage(FIRST).unwrap().used.cores.0, 4000);
    assert_eq!(fleet.reserve(vm(1), SECOND, &request(4, 4)), Err(Reason::PlacedElsewhere { host: FIRST }));
    assert_eq!(fleet.host_of(vm(1)), Some(FIRST));
    assert_eq!(fleet.release(vm(1)), Some(FIRST));
    assert_eq!(fleet.release(vm(1)), None);
    assert_eq!(fleet.usage(FIRST).unwrap().used.cores.0, 0);
}

#[test]
fn other_amounts_for_the_same_vm_replace_the_old_ones_or_leave_them() {
    let mut fleet = fleet();
    fleet.reserve(vm(1), FIRST, &request(6, 4)).unwrap();
    fleet.reserve(vm(1), FIRST, &request(8, 8)).unwrap();
    assert_eq!(fleet.usage(FIRST).unwrap().used.memory, Mebibytes(8 << 10));
    assert!(matches!(fleet.reserve(vm(1), FIRST, &request(9, 1)), Err(Reason::Cores { .. })));
    assert_eq!(fleet.usage(FIRST).unwrap().used.memory, Mebibytes(8 << 10));
    assert_eq!(fleet.vms_on(FIRST).collect::<Vec<_>>(), [vm(1)]);
}

#[test]
fn a_reservation_is_checked_again() {
    let mut fleet = fleet();
    let wanted = request(8, 8);
    assert_eq!(fleet.decide(&wanted), Some(FIRST));
    fleet.reserve(vm(1), FIRST, &request(1, 1)).unwrap();
    let refusal = fleet.reserve(vm(2), FIRST, &wanted).unwrap_err();
    assert_eq!(refusal.to_string(), "cores: 8 asked, 7 free of 8");
    assert_eq!(fleet.decide(&wanted), Some(SECOND));
    assert_eq!(fleet.reserve(vm(2), HostId(9), &wanted), Err(Reason::UnknownHost { host: HostId(9) }));
}

#[test]
fn what_runs_is_counted_whether_it_fits_or_not() {
    let mut fleet = fleet();
    fleet.restore(vm(1), FIRST, &request(20, 4));
    let usage = fleet.usage(FIRST).unwrap();
    assert_eq!((usage.used.cores.0, usage.capacity.cores.0, usage.vms), (20_000, 8_000, 1));
    assert_eq!(fleet.fits(FIRST, &request(1, 1)).unwrap_err().to_string(), "cores: 1 asked, 0 free of 8");
    fleet.restore(vm(1), SECOND, &request(2, 2));
    assert_eq!(fleet.usage(FIRST).unwrap().vms, 0);
    assert_eq!(fleet.host_of(vm(1)), Some(SECOND));
}

#[test]
fn vms_wait_for_their_host() {
    let mut fleet = Fleet::new();
    fleet.restore(vm(2), FIRST, &request(2, 2));
    fleet.restore(vm(1), FIRST, &request(1, 1));
    fleet.restore(vm(3), FIRST, &request(1, 1));
    assert_eq!(fleet.vms_on(FIRST).collect::<Vec<_>>(), [vm(1), vm(2), vm(3)]);
    assert_eq!(fleet.release(vm(3)), Some(FIRST));
    fleet.upsert_host(host(1, 8, 8, &preset("pack")));
    assert_eq!(fleet.usage(FIRST).unwrap().used.cores.0, 3000);
    fleet.remove_host(FIRST);
    assert_eq!(fleet.usage(FIRST), None);
    assert_eq!(fleet.decide(&request(1, 1)), None);
    assert_eq!(fleet.vms_on(FIRST).count(), 2);
    fleet.upsert_host(host(1, 8, 8, &preset("pack")));
    assert_eq!(fleet.usage(FIRST).unwrap().vms, 2);
    assert_eq!(fleet.decide(&request(1, 1)), Some(FIRST));
}

#[test]
fn a_host_that_changes_its_realm_takes_everything_along() {
    let mut fleet = fleet();
    fleet.upsert_host(host(1, 8, 8, &function(&[("heat", "measured.known ? measured.cpu.load : 9")])));
    fleet.reserve(vm(1), FIRST, &request(2, 2)).unwrap();
    fleet.set_measured(FIRST, Some(Measured { cpu_load: 0.5, ..Measured::default() }));
    let mut moved = fleet.host(FIRST).unwrap().clone();
    moved.realm = reeve_common::ids::RealmName::new("other").unwrap();
    fleet.upsert_host(moved);
    assert_eq!(fleet.decide(&request(1, 1)), Some(SECOND));
    let mut wanted = request(1, 1);
    wanted.realm = reeve_common::ids::RealmName::new("other").unwrap();
    assert_eq!(fleet.decide(&wanted), Some(FIRST));
    assert_eq!(fleet.usage(FIRST).unwrap().vms, 1);
    assert!((fleet.explain(&wanted).hosts[0].after - 0.5).abs() < 1e-12);
}

#[test]
fn amounts_beyond_all_measure_do_no_harm() {
    let mut fleet = fleet();
    let mut huge = request(1, 1);
    huge.cores.0 = u64::MAX;
    huge.memory.0 = u64::MAX;
    huge.devices = whole("a100", u32::MAX);
    for number in 0..40 {
        fleet.restore(vm(number), FIRST, &huge);
    }
    assert!(fleet.fits(FIRST, &request(1, 1)).is_err() && fleet.fits(SECOND, &huge).is_err());
    let mut endless = host(3, 8, 8, &preset("spread"));
    endless.capacity.cores.0 = u64::MAX;
    endless.capacity.memory.0 = u64::MAX;
    endless.foreign.cores.0 = u64::MAX;
    fleet.upsert_host(endless);
    assert!(fleet.fits(HostId(3), &huge).is_err());
    assert!(fleet.fits(HostId(3), &request(1, 1)).is_err());
    for number in 0..40 {
        assert_eq!(fleet.release(vm(number)), Some(FIRST));
    }
    assert_eq!(fleet.usage(FIRST).unwrap().used.cores.0, 0);
    assert_eq!(fleet.decide(&request(8, 8)), Some(FIRST));
}

#[test]
fn zero_of_everything_fits_wherever_the_host_is_open() {
    let mut fleet = fleet();
    fleet.restore(vm(1), FIRST, &request(20, 20));
    assert_eq!(fleet.fits(FIRST, &request(0, 0)), Ok(()));
    assert_eq!(fleet.decide(&request(0, 0)), fleet.explain(&request(0, 0)).chosen);
}
