//! Tests of the gathering for metrics: what a service says of itself, and that a large fleet takes bounded time.

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostName, ProfileName, RealmName};
use reeve_scheduler::HostState;

use crate::metrics::Picture;
use crate::model::fixture;
use crate::model::host::{Connection, NewHost};
use crate::model::vm_state::VmState;
use crate::service::core::{Core, HostEntry, Kept, VmVersion};
use crate::service::observing::take_in;
use crate::service::{Actor, test_service};
use crate::store::Version;

fn new_host(number: u32) -> NewHost {
    NewHost {
        name: HostName::new(format!("node-{number}")).unwrap(),
        realm: RealmName::new("r").unwrap(),
        uri: "qemu:///system".to_owned(),
        profile: ProfileName::new("p").unwrap(),
        state: HostState::Enabled,
        labels: BTreeMap::new(),
    }
}

#[tokio::test]
async fn hosts_and_their_capacity_are_told() {
    let (service, _directory) = test_service().await;
    let actor = Actor { uid: 0, name: "root".to_owned() };
    for number in 1..=3 {
        service.add_host(new_host(number), &actor).await.unwrap();
    }
    let text = service.metrics_text();
    for line in [
        "reeve_hosts{realm=\"r\",state=\"enabled\",connection=\"never-joined\"} 3",
        "reeve_capacity_cores{realm=\"r\",profile=\"p\"} 12",
        "reeve_used_memory_bytes{realm=\"r\",profile=\"p\"} 0",
        "reeve_host_connected{host=\"node-2\"} 0",
        "reeve_store_write_duration_seconds_count 3",
        "reeve_store_writes_failed_total 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn of_the_hosts_certificates_the_first_to_expire_that_is_in_use_is_told() {
    let (service, _directory) = test_service().await;
    let actor = Actor { uid: 0, name: "root".to_owned() };
    let mut picture = Picture::default();
    for (number, hours) in [(1, 20), (2, 9), (3, 15)] {
        let host = service.add_host(new_host(number), &actor).await.unwrap().host.id;
        service.note_certificate(host, Timestamp(hours));
        let since = Timestamp(0);
        let connection =
            if number == 2 { Connection::Suspected { since } } else { Connection::Connected { since } };
        let core = service.core();
        take_in(&mut picture, &core, &core.hosts[&host], connection);
    }
    assert_eq!(picture.host_certificate, Some(Timestamp(15)));
}

#[tokio::test]
async fn a_fleet_of_ten_thousand_is_gathered_in_bounded_time_and_told_in_bounded_length() {
    let (service, _directory) = test_service().await;
    let actor = Actor { uid: 0, name: "root".to_owned() };
    let host = service.add_host(new_host(1), &actor).await.unwrap().host;
    {
        let mut core = service.core();
        for number in 2..=10_000 {
            let value = crate::model::host::Host {
                id: reeve_common::ids::HostId(number),
                name: HostName::new(format!("node-{number}")).unwrap(),
                ..host.clone()
            };
            let kept = Kept { version: Version(1), value: std::sync::Arc::new(value) };
            core.hosts.insert(reeve_common::ids::HostId(number), HostEntry::new(kept, service.steady_now()));
        }
    }
    service.describe_all_hosts();
    let begun = service.monotonic();
    let text = service.metrics_text();
    let took = service.monotonic().duration_since(begun);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(text.contains("reeve_host_series_left_out 8000\n"), "hosts are told without a limit");
    assert!(text.contains("connection=\"never-joined\"} 10000\n"));
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
}

#[test]
fn vms_are_counted_as_they_change() {
    let mut core = Core::new();
    let told =
        |core: &Core| core.vm_tally().counts().map(|(_, state, count)| (state, count)).collect::<Vec<_>>();
    let mut vm = fixture::vm();
    let version = |vm: &crate::model::vm::Vm| VmVersion {
        version: Version::default(),
        vm: std::sync::Arc::new(vm.clone()),
    };
    vm.enter(VmState::Placed, None, Timestamp(1));
    core.take_in(version(&vm), true);
    core.take_in(version(&vm), true);
    assert_eq!(told(&core), [(VmState::Placed, 1)]);
    vm.enter(VmState::Running, None, Timestamp(2));
    core.show(version(&vm));
    assert_eq!(told(&core), [(VmState::Running, 1)]);
    vm.enter(VmState::Stopped, None, Timestamp(3));
    core.show(version(&vm));
    assert_eq!(told(&core), []);
}
