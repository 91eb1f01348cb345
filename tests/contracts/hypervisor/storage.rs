//! What is promised of pools and volumes.

use reeve_agent::hypervisor::HypervisorError;
use reeve_common::storage::{DiskFormat, NewVolume, PoolState, Volume};
use reeve_common::units::Bytes;

use crate::subject::{
    ABSENT, BRICKS, EMPTY, IMAGE_LENGTH, SLEEPER, SPEAKER, Subject, VMS, pool, spec, volume,
};

fn find(subject: &dyn Subject, pool_name: &str, name: &str) -> Option<Volume> {
    let listed = subject.hypervisor().volumes(&pool(pool_name)).unwrap();
    listed.into_iter().find(|volume| volume.name.as_str() == name)
}

fn new(name: &str, capacity: Bytes, format: DiskFormat, lazy: bool) -> NewVolume {
    NewVolume { pool: pool(VMS), name: volume(name), capacity, format, lazy }
}

#[allow(clippy::needless_pass_by_value)] // so that a call stands inside the brackets
fn assert_refused<T: std::fmt::Debug>(result: Result<T, HypervisorError>) {
    assert!(matches!(&result, Err(HypervisorError::Refused { .. })), "{result:?}");
}

pub(crate) fn a_system_disk_is_a_child_of_its_image(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    for (name, image, format) in
        [("child-qcow2", EMPTY, DiskFormat::Qcow2), ("child-raw", SPEAKER, DiskFormat::Raw)]
    {
        let mut spec = spec(name);
        spec.system_disk.image_volume = volume(image);
        spec.system_disk.image_format = format;
        hypervisor.create_system_disk(&spec).unwrap();
        hypervisor.create_system_disk(&spec).unwrap();
        let disk = find(subject, VMS, name).unwrap();
        assert_eq!((disk.format.as_str(), disk.capacity), ("qcow2", IMAGE_LENGTH));
    }
    // Whatever else has the name is not taken for it.
    let mut other = spec("child-qcow2");
    other.system_disk.image_volume = volume(SPEAKER);
    other.system_disk.image_format = DiskFormat::Raw;
    assert_refused(hypervisor.create_system_disk(&other));
    hypervisor.create_volume(&new("not-a-child", IMAGE_LENGTH, DiskFormat::Qcow2, true)).unwrap();
    assert_refused(hypervisor.create_system_disk(&spec("not-a-child")));
}

pub(crate) fn an_image_that_is_not_what_it_claims_is_refused(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    subject.add_image_with_backing("backed.qcow2");
    let cases = [(EMPTY, DiskFormat::Raw), (SPEAKER, DiskFormat::Qcow2), ("backed.qcow2", DiskFormat::Qcow2)];
    for (image, format) in cases {
        let mut claimed = spec("claimed");
        claimed.system_disk.image_volume = volume(image);
        claimed.system_disk.image_format = format;
        let refused = hypervisor.create_system_disk(&claimed);
        let Err(HypervisorError::Refused { why, .. }) = &refused else { panic!("{image}: {refused:?}") };
        assert!(why.contains(image) && why.contains(BRICKS), "{why}");
        assert_eq!(find(subject, VMS, "claimed"), None);
    }
}

pub(crate) fn volumes_come_and_go(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let size = Bytes(8 << 20);
    for (name, format, lazy) in [
        ("lazy-raw", DiskFormat::Raw, true),
        ("full-raw", DiskFormat::Raw, false),
        ("lazy-qcow2", DiskFormat::Qcow2, true),
        ("full-qcow2", DiskFormat::Qcow2, false),
    ] {
        let wanted = new(name, size, format, lazy);
        hypervisor.create_volume(&wanted).unwrap();
        hypervisor.create_volume(&wanted).unwrap();
        let made = find(subject, VMS, name).unwrap();
        assert_eq!((made.capacity, made.format.as_str()), (size, format.as_str()));
        assert_eq!(made.allocation >= size, !lazy, "{made:?}");
        assert_refused(
            hypervisor.create_volume(&NewVolume { capacity: Bytes(size.0 * 2), ..wanted.clone() }),
        );
        let other = if format == DiskFormat::Raw { DiskFormat::Qcow2 } else { DiskFormat::Raw };
        assert_refused(hypervisor.create_volume(&NewVolume { format: other, ..wanted.clone() }));
        hypervisor.delete_volume(&wanted.pool, &wanted.name).unwrap();
        hypervisor.delete_volume(&wanted.pool, &wanted.name).unwrap();
        assert_eq!(find(subject, VMS, name), None);
    }
}

pub(crate) fn a_full_pool_says_so_and_keeps_nothing(subject: &dyn Subject) {
    let huge = new("huge", Bytes(1 << 50), DiskFormat::Raw, false);
    let failed = subject.hypervisor().create_volume(&huge);
    let Err(error @ HypervisorError::Failed { .. }) = &failed else { panic!("{failed:?}") };
    assert!(error.is_retryable() && error.to_string().contains("1 PiB"), "{error}");
    assert_eq!(find(subject, VMS, "huge"), None);
}

pub(crate) fn pools_say_what_they_are(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    let reports = hypervisor.pools(&[pool(VMS), pool(ABSENT)]).unwrap();
    match &reports[..] {
        [vms, absent] => {
            assert_eq!((vms.name.as_str(), absent.name.as_str()), (VMS, ABSENT));
            assert_eq!(absent.state, PoolState::Missing);
            let PoolState::Active { capacity, available } = vms.state else { panic!("{vms:?}") };
            assert!(capacity >= available && available > Bytes(0));
        }
        other => panic!("{other:?}"),
    }
    let lost = NewVolume { pool: pool(ABSENT), ..new("x", Bytes(512), DiskFormat::Raw, true) };
    for missing in [
        hypervisor.volumes(&pool(ABSENT)).map(drop),
        hypervisor.create_volume(&lost),
        hypervisor.delete_volume(&lost.pool, &lost.name),
    ] {
        assert!(
            matches!(&missing, Err(HypervisorError::NotFound { what }) if what.contains(ABSENT)),
            "{missing:?}"
        );
    }
}

pub(crate) fn a_pool_that_stops_is_told(subject: &dyn Subject) {
    let hypervisor = subject.hypervisor();
    // A pool of this test's own, as others are asleep for other tests.
    let name = pool(SLEEPER);
    subject.set_pool_active(name.as_str(), true);
    assert_eq!(hypervisor.volumes(&name).unwrap(), []);
    subject.set_pool_active(name.as_str(), false);
    assert_eq!(hypervisor.pools(std::slice::from_ref(&name)).unwrap()[0].state, PoolState::Inactive);
    let volume = NewVolume { pool: name.clone(), ..new("x", Bytes(512), DiskFormat::Raw, true) };
    for asleep in [
        hypervisor.volumes(&name).map(drop),
        hypervisor.create_volume(&volume),
        hypervisor.delete_volume(&name, &volume.name),
    ] {
        let Err(error @ HypervisorError::Failed { .. }) = &asleep else { panic!("{asleep:?}") };
        assert!(error.to_string().contains("virsh pool-start"), "{error}");
    }
}
