//! Tests of the coordinator's standing warnings: raised from how things are, durable, acknowledged by an audited act.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::{SystemClock, Timestamp};
use reeve_common::ids::{HostId, HostName, ProfileName, RealmName};
use reeve_common::protocol::HostReport;
use reeve_common::storage::LockManager;
use reeve_common::utilization::HostSample;
use reeve_scheduler::HostState;

use crate::audit::Who;
use crate::model::host::NewHost;
use crate::model::warning::{Severity, WarningId, WarningKind, WarningState};
use crate::service::{Actor, ErrorKind, OpenWarnings, Service, test_service};
use crate::store::{MemoryStore, Store};

fn root() -> Actor {
    Actor { uid: 0, name: "root".to_owned() }
}

async fn with_host() -> (Service, HostId, tempfile::TempDir) {
    let (service, directory) = test_service().await;
    let host = add_host(&service).await;
    (service, host, directory)
}

async fn add_host(service: &Service) -> HostId {
    let new = NewHost {
        name: HostName::new("node-1").unwrap(),
        realm: RealmName::new("r").unwrap(),
        uri: "qemu:///system".to_owned(),
        profile: ProfileName::new("p").unwrap(),
        state: HostState::Enabled,
        labels: BTreeMap::new(),
    };
    service.add_host(new, &root()).await.unwrap().host.id
}

#[tokio::test]
async fn a_refused_agent_stands_until_it_is_let_in_and_an_acknowledgement_is_audited() {
    let (service, host, _directory) = with_host().await;
    service.look_for_warnings().await.unwrap();
    assert!(
        service.warnings().is_empty(),
        "a host that never joined is no trouble: {:?}",
        service.warnings()
    );
    service.agent_refused(host, "another agent with this host's identity is connected");
    service.look_for_warnings().await.unwrap();
    service.look_for_warnings().await.unwrap();
    let [warning] = service.warnings().try_into().unwrap();
    assert_eq!(
        (warning.kind, warning.severity, warning.count),
        (WarningKind::AgentRefused, Severity::Failure, 1)
    );
    assert_eq!(service.status().open_warnings, OpenWarnings { failures: 1, warnings: 0 });
    assert_eq!(service.host(&"node-1".parse().unwrap()).unwrap().standing_warnings, 1);
    assert!(service.metrics_text().contains("reeve_warnings{severity=\"failure\"} 1\n"));

    let id = warning.id();
    let who = Who::Operator { uid: 0, name: "root".to_owned() };
    let act = service.begin_act(who, "acknowledge-warning", "warnings");
    let known = act.scope(service.acknowledge_warning(&id, &root())).await.unwrap();
    assert!(matches!(known.state, WarningState::Acknowledged { ref by, .. } if by == "root"));
    assert_eq!(service.status().open_warnings, OpenWarnings::default());
    assert_eq!(service.host(&"node-1".parse().unwrap()).unwrap().standing_warnings, 0, "somebody knows");
    let (_, records) = service.last_audit_records(1).await.unwrap();
    assert_eq!(
        (&*records[0].event.what, &*records[0].event.object),
        ("acknowledge-warning", "warning agent-refused/node-1")
    );
    let twice = service.acknowledge_warning(&id, &root()).await.unwrap_err();
    assert_eq!(twice.kind, ErrorKind::Conflict);
    let none = service.acknowledge_warning(&"clock-skew/node-1".parse().unwrap(), &root()).await.unwrap_err();
    assert_eq!(none.kind, ErrorKind::NotFound);

    let now = service.steady_now();
    if let Some(entry) = service.core().hosts.get_mut(&host) {
        entry.refused = None;
        entry.life.connect(now);
    }
    service.look_for_warnings().await.unwrap();
    assert!(matches!(service.warnings()[0].state, WarningState::Gone { .. }));
}

#[tokio::test]
async fn warnings_outlive_the_coordinator() {
    let (first, directory) = test_service().await;
    let config = (*first.config()).clone();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let open = || Service::open(config.clone(), Arc::clone(&store), Arc::new(SystemClock), first.authority());
    let service = open().await.unwrap();
    let host = add_host(&service).await;
    service.agent_refused(host, "a twin");
    service.look_for_warnings().await.unwrap();
    let id = service.warnings()[0].id();
    service.acknowledge_warning(&id, &root()).await.unwrap();
    let before = service.warnings();
    let next = open().await.unwrap();
    assert_eq!(next.warnings(), before);
    // The agent has not tried again yet: that it was not refused since the start says nothing.
    next.look_for_warnings().await.unwrap();
    assert_eq!(next.warnings()[0].state, before[0].state);
    drop(directory);
}

#[tokio::test]
async fn a_hosts_clock_is_held_against_ours_when_its_sample_comes() {
    let (service, host, _directory) = with_host().await;
    let ahead = |service: &Service| service.core().hosts[&host].clock_ahead_ms;
    assert_eq!(ahead(&service), None);
    let at = Timestamp(service.now().0 + 60_000);
    service.follow_sample(host, Arc::new(HostSample { at, ..HostSample::default() }));
    assert!(ahead(&service).is_some_and(|ahead| (55_000..=60_000).contains(&ahead)), "{:?}", ahead(&service));
    // The same sample again is no news of the clock: it would seem to fall behind.
    let before = ahead(&service);
    service.follow_sample(host, Arc::new(HostSample { at, ..HostSample::default() }));
    assert_eq!(ahead(&service), before);
}

#[tokio::test]
async fn a_lock_manager_that_is_off_stands_until_the_host_says_otherwise() {
    let (service, host, _directory) = with_host().await;
    let now = service.steady_now();
    if let Some(entry) = service.core().hosts.get_mut(&host) {
        entry.life.connect(now);
    }
    let report = |lock_manager| HostReport {
        hypervisor_reachable: true,
        vms: Vec::new(),
        foreign: Vec::new(),
        pools: Vec::new(),
        sizes: Vec::new(),
        answers: Vec::new(),
        lock_manager,
    };
    let state = async |said: LockManager| {
        service.follow_report(host, report(said)).await;
        service.look_for_warnings().await.unwrap();
        let id: WarningId = "lock-manager-off/node-1".parse().unwrap();
        service.warnings().into_iter().find(|warning| warning.id() == id).map(|warning| warning.state)
    };
    assert_eq!(state(LockManager::Unknown).await, None, "an agent of before says nothing");
    assert_eq!(state(LockManager::Off).await, Some(WarningState::Open));
    // libvirt was restarted, and it is not found out yet: that is no end of it.
    assert_eq!(state(LockManager::Unknown).await, Some(WarningState::Open));
    assert!(matches!(state(LockManager::On).await, Some(WarningState::Gone { .. })));
}

#[tokio::test]
async fn a_certificate_that_goes_unrenewed_stands_until_a_new_one_is_in_use() {
    let (service, host, _directory) = with_host().await;
    let now = service.steady_now();
    if let Some(entry) = service.core().hosts.get_mut(&host) {
        entry.life.connect(now);
    }
    let state = async |hours: u32| {
        service.note_certificate(host, service.now().after(Duration::from_secs(3600) * hours));
        service.look_for_warnings().await.unwrap();
        let found = service.warnings();
        found.into_iter().find(|warning| warning.kind == WarningKind::HostCertificateEnds)
    };
    assert_eq!(state(12).await, None);
    let warning = state(3).await.unwrap();
    assert_eq!((warning.severity, warning.subject.as_str()), (Severity::Warning, "node-1"));
    assert!(matches!(state(24).await.unwrap().state, WarningState::Gone { .. }));
}
