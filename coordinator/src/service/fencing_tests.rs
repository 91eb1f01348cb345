//! Fencings of hosts that no agent speaks for: what is recorded, what outlives the coordinator, and what a clock that is
//! set changes. What an agent that answers changes is tried with real ones, in the lab.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reeve_common::clock::{Clock, SystemClock, Timestamp};
use reeve_common::ids::{Epoch, HostId, HostName, OperationId, ProfileName, RealmName};
use reeve_common::inventory::HostInventory;
use reeve_common::protocol::{Command, Hello, Reply};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use reeve_scheduler::HostState;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::agents::{AgentHandle, AgentLink, LinkFuture};
use crate::audit::Who;
use crate::config::CoordinatorConfig;
use crate::model::fence::FenceState;
use crate::model::host::{Connection, NewHost};
use crate::model::host_life::{Ownership, Proof};
use crate::pki::Authority;
use crate::records::FENCES;
use crate::service::arriving_tests::Overtaken;
use crate::service::workflows_tests::Stage;
use crate::service::{Actor, ErrorKind, Service};
use crate::store::MemoryStore;

/// A wall clock that is set at will, and monotonic time that passes when the test says so.
struct TestClock {
    begin: Instant,
    passed: Mutex<Duration>,
    wall: Mutex<Timestamp>,
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.wall.lock().unwrap()
    }
    fn monotonic(&self) -> Instant {
        self.begin + *self.passed.lock().unwrap()
    }
}

struct Fixture {
    directory: TempDir,
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    authority: Arc<Authority>,
    service: Service,
    host: HostId,
}

fn node() -> HostName {
    HostName::new("node-1").unwrap()
}

fn ann() -> Actor {
    Actor { uid: 7, name: "ann".to_owned() }
}

fn config(directory: &TempDir, realm: &str) -> CoordinatorConfig {
    let file = directory.path().join("coordinator.conf");
    let text = format!(
        "state-directory = {:?}\nrealms {{ r {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on\n{realm} }} }}\nhardware-profiles {{ p {{ cores = 4, memory = 8 GiB }} }}",
        directory.path()
    );
    std::fs::write(&file, text).unwrap();
    let (config, _) = crate::config::check(&file).unwrap_or_else(|errors| panic!("{errors}"));
    config
}

impl Fixture {
    async fn new(realm: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let config = config(&directory, realm);
        let clock = Arc::new(TestClock {
            begin: SystemClock.monotonic(),
            passed: Mutex::default(),
            wall: Mutex::new(Timestamp(1_700_000_000_000)),
        });
        let authority = Arc::new(Authority::create(&config.pki_directory(), SystemClock.now()).unwrap());
        let store = Arc::new(MemoryStore::new());
        let service =
            Service::open(config, Arc::clone(&store) as _, Arc::clone(&clock) as _, Arc::clone(&authority))
                .await
                .unwrap();
        let new = NewHost {
            name: node(),
            realm: RealmName::new("r").unwrap(),
            uri: "qemu:///system".to_owned(),
            profile: ProfileName::new("p").unwrap(),
            state: HostState::Enabled,
            labels: std::collections::BTreeMap::new(),
        };
        let host = service.add_host(new, &ann()).await.unwrap().host.id;
        Self { directory, store, clock, authority, service, host }
    }

    /// A coordinator that starts anew on the same store.
    async fn restarted(&self, realm: &str) -> Service {
        let config = config(&self.directory, realm);
        let store = Arc::clone(&self.store);
        Service::open(config, store as _, Arc::clone(&self.clock) as _, Arc::clone(&self.authority))
            .await
            .unwrap()
    }

    fn proof(&self) -> Option<Proof> {
        self.service.ownership(self.host).unwrap().proof().cloned()
    }

    /// A fence command with this text, and the realm's section that names it.
    fn command(&self, script: &str) -> String {
        let path = self.directory.path().join("fence_test");
        let text = format!("#!/bin/sh\ncd {}\n{script}\n", self.directory.path().display());
        let mut writer = std::process::Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut writer.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(writer.wait().unwrap().success());
        format!("fence {{ command = {path:?}, timeout = 30 s, hosts {{ node-1 {{ }} }} }}")
    }
}

#[tokio::test]
async fn a_statement_outlives_the_coordinator_and_ends_when_the_host_returns() {
    let fixture = Fixture::new("").await;
    assert_eq!(fixture.proof(), None);
    let fence = fixture.service.confirm_off(&node(), &ann()).await.unwrap();
    assert_eq!((fence.state, fence.command.as_deref()), (FenceState::Off, None));
    let proof = Proof::Fenced { at: Timestamp(1_700_000_000_000), by: "ann".to_owned() };
    assert_eq!(fixture.proof(), Some(proof.clone()));
    let view = fixture.service.host(&node()).unwrap();
    assert_eq!(view.connection, Connection::Fenced { at: Timestamp(1_700_000_000_000) });

    let service = fixture.restarted("").await;
    assert_eq!(service.ownership(fixture.host), Some(Ownership::Released(proof)));
    service.end_proofs(fixture.host, OperationId::random()).await.unwrap();
    let service = fixture.restarted("").await;
    let ownership = service.ownership(fixture.host).unwrap();
    assert_eq!(ownership.proof(), None, "it has returned: that it was off then says nothing of now");
    let fences = service.host(&node()).unwrap().fences;
    assert!(fences.len() == 1 && fences[0].returned_at.is_some() && fences[0].state == FenceState::Off);
}

#[tokio::test]
async fn a_command_is_carried_out_and_recorded() {
    let fixture = Fixture::new("").await;
    let refused = fixture.service.fence(fixture.host, "ann").await.unwrap_err();
    assert!(refused.kind == ErrorKind::Conflict && refused.message.contains("node-1"), "{refused}");
    let realm = fixture.command("case \"$(cat)\" in *action=status*) exit 2;; esac; echo powered off");
    fixture.service.reconfigure(config(&fixture.directory, &realm));
    let trial = fixture.service.try_fence(&node()).await.unwrap();
    assert_eq!(trial.is_on, Some(false));
    assert_eq!(fixture.proof(), None, "a trial proves nothing");
    let fence = fixture.service.fence(fixture.host, "ann").await.unwrap();
    assert_eq!((fence.state, fence.attempts, fence.output.as_str()), (FenceState::Off, 1, "powered off"));
    assert!(matches!(fixture.proof(), Some(Proof::Fenced { by, .. }) if by == "ann"));
    let kept = fixture.restarted(&realm).await.host(&node()).unwrap().fences;
    assert_eq!(kept, [fence]);
    let (_, records) = fixture.service.last_audit_records(9).await.unwrap();
    let told: Vec<&str> = records.iter().map(|record| &*record.event.object).collect();
    assert_eq!(told, ["host node-1: requested", "host node-1: running", "host node-1: off"]);
    assert!(records.iter().all(|record| record.event.who == Who::Coordinator));
}

#[tokio::test]
async fn a_command_that_hangs_proves_nothing_and_another_can_be_asked_for() {
    let fixture = Fixture::new("").await;
    let realm = fixture.command("cat > /dev/null; [ -e mended ] || sleep 1000\ncat told 2>/dev/null; exit 1");
    let realm = realm.replace("30 s", "1 s");
    fixture.service.reconfigure(config(&fixture.directory, &realm));
    let begun = fixture.service.begin_fence(&node(), "ann").await.unwrap();
    assert_eq!(begun.state, FenceState::Requested);
    let second = fixture.service.begin_fence(&node(), "bob").await.unwrap_err();
    assert!(second.message.contains("already, asked for by ann"), "{second}");
    // A coordinator that dies meanwhile leaves something that nobody knows the end of.
    let service = fixture.restarted(&realm).await;
    assert_eq!(service.host(&node()).unwrap().fences[0].state, FenceState::Unknown);
    assert_eq!(service.ownership(fixture.host).unwrap().proof(), None);
    std::fs::write(fixture.directory.path().join("mended"), "").unwrap();
    let ended = service.fence(fixture.host, "bob").await.unwrap();
    assert_eq!((ended.state, ended.attempts), (FenceState::Failed, 3));
    assert_eq!(service.ownership(fixture.host).unwrap().proof(), None);
}

#[tokio::test]
async fn an_agent_that_runs_on_disproves_the_fence() {
    let fixture = Fixture::new("").await;
    let instance = OperationId::random();
    fixture.service.core().hosts.get_mut(&fixture.host).unwrap().instance = Some(instance);
    fixture.service.confirm_off(&node(), &ann()).await.unwrap();
    fixture.service.end_proofs(fixture.host, instance).await.unwrap();
    let fences = fixture.service.host(&node()).unwrap().fences;
    assert_eq!(fences[0].state, FenceState::NotBelieved, "the same life of the agent: it never was off");
}

#[tokio::test]
async fn only_the_latest_fencings_are_kept_and_none_of_a_deleted_host() {
    let fixture = Fixture::new("").await;
    for _ in 0..12 {
        fixture.service.confirm_off(&node(), &ann()).await.unwrap();
    }
    let fences = fixture.service.host(&node()).unwrap().fences;
    assert_eq!(fences.len(), super::FENCES_KEPT);
    assert!(fences.windows(2).all(|pair| pair[0].number > pair[1].number), "the latest first");
    fixture.service.delete_host(&node(), &ann()).await.unwrap();
    let left = crate::store::Store::list(fixture.store.as_ref(), FENCES.prefix()).await.unwrap();
    assert!(left.is_empty());
}

#[tokio::test]
async fn setting_the_clock_changes_no_ownership() {
    let fixture = Fixture::new("").await;
    let lease = Duration::from_secs(30);
    let steady = fixture.service.steady_now();
    {
        let mut core = fixture.service.core();
        let life = &mut core.hosts.get_mut(&fixture.host).unwrap().life;
        life.connect(steady);
        life.grant(lease, Some(Duration::from_secs(10)), steady);
        life.disconnect(Duration::ZERO, steady);
    }
    let hour = 3_600_000;
    for wall in [1_700_000_000_000 + hour, 1_700_000_000_000 - hour, 0, u64::MAX / 2] {
        *fixture.clock.wall.lock().unwrap() = Timestamp(wall);
        assert_eq!(fixture.proof(), None, "at {wall}");
        let connection = fixture.service.host(&node()).unwrap().connection;
        assert!(matches!(connection, Connection::Suspected { .. }), "{connection:?} at {wall}");
    }
    *fixture.clock.passed.lock().unwrap() += Duration::from_secs(11);
    assert!(matches!(fixture.service.host(&node()).unwrap().connection, Connection::Lost { since: Some(_) }));
    *fixture.clock.passed.lock().unwrap() += Duration::from_secs(600);
    assert!(matches!(fixture.proof(), Some(Proof::SelfFenced { .. })), "real time has passed");
}

#[tokio::test]
async fn a_silent_host_is_avoided_before_it_is_lost() {
    let fixture = Fixture::new("").await;
    let describe = |service: &Service| {
        service.watch_hosts();
        service.core().hosts[&fixture.host].contact
    };
    let steady = fixture.service.steady_now();
    fixture.service.core().hosts.get_mut(&fixture.host).unwrap().life.connect(steady);
    assert_eq!(describe(&fixture.service), reeve_scheduler::Contact::Connected);
    *fixture.clock.passed.lock().unwrap() += Duration::from_secs(6);
    assert_eq!(describe(&fixture.service), reeve_scheduler::Contact::Suspected);
    *fixture.clock.passed.lock().unwrap() += Duration::from_secs(6);
    assert_eq!(describe(&fixture.service), reeve_scheduler::Contact::Lost);
}

#[tokio::test]
async fn a_lease_is_noted_for_the_connection_of_now_alone() {
    let fixture = Fixture::new("self-fencing { lease = 30 s }").await;
    // Without a connection there is nobody to grant it to.
    assert_eq!(fixture.service.note_lease(fixture.host, 1, Some(Duration::from_secs(10))), None);
    let view = fixture.service.host(&node()).unwrap();
    assert_eq!(view.stops_by_itself_at, None);
}

/// Agents give signs by themselves, often enough for the default; where a silent host is lost sooner than that, it is asked
/// in time, from the moment that the configuration says so.
#[tokio::test]
async fn a_silent_host_is_asked_for_a_sign_where_it_is_lost_soon() {
    let fixture = Fixture::new("").await;
    let agent = Arc::new(Mute::default());
    let handle = AgentHandle::over(1, Arc::clone(&agent) as _);
    fixture.service.agent_connected(fixture.host, handle, hello(fixture.host, OperationId::random()));
    let asked_after = |silence: u64| {
        let steady = fixture.service.steady_now();
        fixture.service.core().hosts.get_mut(&fixture.host).unwrap().life.sign(steady);
        *fixture.clock.passed.lock().unwrap() += Duration::from_millis(silence);
        let before = agent.nudges.load(Ordering::Relaxed);
        fixture.service.watch_hosts();
        agent.nudges.load(Ordering::Relaxed) - before
    };
    assert_eq!([500, 2600, 4900].map(&asked_after), [0, 0, 0]);
    let config = (*fixture.service.config()).clone();
    let soon = |suspect_after, lost_after| {
        let [suspect_after, lost_after] = [suspect_after, lost_after].map(Duration::from_secs);
        fixture.service.reconfigure(CoordinatorConfig { suspect_after, lost_after, ..config.clone() });
    };
    soon(4, 4);
    assert_eq!([500, 990, 1010, 3900].map(&asked_after), [0, 0, 1, 1]);
    soon(2, 10);
    assert_eq!([990, 1010].map(&asked_after), [0, 1]);
}

/// An agent that is connected and answers nothing, and how often it was asked whether it is there.
#[derive(Debug, Default)]
struct Mute {
    nudges: AtomicU64,
}

impl AgentLink for Mute {
    fn request(&self, _command: Command, _patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(std::future::pending())
    }

    fn received(&self) -> u64 {
        0
    }

    fn nudge(&self) {
        self.nudges.fetch_add(1, Ordering::Relaxed);
    }

    fn close(&self, _code: RefusalCode, _text: &str) {}

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        Box::pin(std::future::pending())
    }
}

/// The agent of node-1 connects, and answers nothing. Answers which life of it this is.
fn connect(service: &Service, host: HostId, connection: u64) -> OperationId {
    let instance = OperationId::random();
    let agent = AgentHandle::over(connection, Arc::new(Mute::default()));
    service.agent_connected(host, agent, hello(host, instance));
    instance
}

fn hello(host: HostId, instance: OperationId) -> Hello {
    Hello {
        host,
        name: node(),
        realm: RealmName::new("r").unwrap(),
        instance,
        highest_epoch: Epoch(0),
        inventory: HostInventory::default(),
    }
}

#[tokio::test]
async fn a_host_that_returns_while_it_is_being_recorded_as_off_is_not_proved_to_be() {
    let stage = Stage::with_vms(1).await;
    let records = stage.store().await;
    let store = Overtaken::new(Arc::clone(&records), FENCES.prefix());
    let service = stage.open_unheard(Arc::clone(&store) as _).await;
    let host = service.host_id(&node()).unwrap();
    let stating = service.clone();
    let statement = tokio::spawn(async move { stating.confirm_off(&node(), &ann()).await });
    // That it was asked for is written; what has come of it is being written.
    while store.permits.available_permits() > 0 || store.waiting.load(Ordering::SeqCst) == 0 {
        assert!(!statement.is_finished());
        tokio::task::yield_now().await;
    }
    let instance = connect(&service, host, 1);
    let returning = service.clone();
    let mut returned = tokio::spawn(async move { returning.end_proofs(host, instance).await });
    assert!(
        timeout(Duration::from_millis(50), &mut returned).await.is_err(),
        "it is told nothing before that"
    );
    store.let_all();
    assert_eq!(statement.await.unwrap().unwrap().state, FenceState::Off);
    returned.await.unwrap().unwrap();
    assert_eq!(service.ownership(host), Some(Ownership::Holds));
    let next = stage.open_unheard(records as _).await;
    assert_eq!(next.ownership(host).unwrap().proof(), None, "it has returned, and runs what it likes");
}

#[tokio::test]
async fn a_lease_proves_something_only_with_a_watchdog_behind_it() {
    let fixture = Fixture::new("self-fencing { lease = 30 s }").await;
    let watchdog = Some(Duration::from_secs(10));
    let stories: [(&[Option<Duration>], bool); 4] =
        [(&[None], false), (&[watchdog], true), (&[watchdog, None], false), (&[None, watchdog], true)];
    for (connection, (asked, proves)) in (1..).zip(stories) {
        connect(&fixture.service, fixture.host, connection);
        for watchdog in asked {
            let granted = fixture.service.note_lease(fixture.host, connection, *watchdog);
            assert_eq!(granted, Some(Duration::from_secs(30)), "it is granted all the same");
        }
        fixture.service.agent_disconnected(fixture.host, connection, Duration::ZERO, "it was cut off");
        *fixture.clock.passed.lock().unwrap() += Duration::from_secs(600);
        assert_eq!(fixture.proof().is_some(), proves, "asked with {asked:?}");
    }
}
