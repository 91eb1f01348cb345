//! Holds the coordinator's starts and workflows to leaving nothing behind: the real service on a store that fails, or
//! dies, before and after every write; every action and undo twice; cancelled at every point.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reeve_common::clock::{Clock, SystemClock, Timestamp};
use reeve_common::ids::{ConfigurationName, Epoch, HostId, HostName, ProfileName, RealmName, VmId};
use reeve_common::vm::{ObservedVm, StopReason, VmObservation};
use reeve_scheduler::{Contact, HostState};

use super::core::LastReport;
use super::{Actor, Service};
use crate::config::CoordinatorConfig;
use crate::fencing::FenceCommands;
use crate::model::configuration::Configuration;
use crate::model::failover::WhenHostLost;
use crate::model::fixture;
use crate::model::host::NewHost;
use crate::model::vm::Wish;
use crate::model::vm_state::VmState;
use crate::pki::Authority;
use crate::records::{DECISIONS, PAST_VMS, VMS};
use crate::store::{Batch, Key, MemoryStore, Store, StoreError, StoreFuture, Stored, Version, Watch};
use crate::workflow::{Direction, Workflow, WorkflowState};

const GRACE: Duration = Duration::from_secs(5);

/// A store whose process dies at a certain write.
#[derive(Debug)]
pub(super) struct DyingStore {
    pub(super) inner: Arc<MemoryStore>,
    /// How many writes succeed before it dies; it is dead below zero.
    pub(super) left: AtomicUsize,
    /// Whether the last write still happens.
    pub(super) last_happens: bool,
}

impl Store for DyingStore {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.list(prefix)
    }

    fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        let left = left.unwrap_or_default();
        Box::pin(async move {
            if left > 1 || (left == 1 && self.last_happens) {
                let version = self.inner.apply(batch).await?;
                if left > 1 {
                    return Ok(version);
                }
            }
            Err(StoreError::Closed)
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
        self.inner.watch(prefix)
    }
}

/// A clock that the test moves.
#[derive(Debug)]
pub(super) struct TestClock {
    begin: Instant,
    passed: Mutex<Duration>,
}

impl TestClock {
    pub(super) fn pass(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).after(*self.passed.lock().unwrap())
    }

    fn monotonic(&self) -> Instant {
        self.begin + *self.passed.lock().unwrap()
    }
}

/// A realm with two hosts, and VMs on the first.
pub(crate) struct Stage {
    pub(super) config: CoordinatorConfig,
    authority: Arc<Authority>,
    _directory: tempfile::TempDir,
    /// Everything before the story, to begin each telling anew.
    prepared: Vec<Stored>,
    pub(super) actor: Actor,
    pub(super) clock: Arc<TestClock>,
}

pub(super) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

impl Stage {
    /// With `vms` VMs running on node-1; every second is to be started again elsewhere.
    pub(crate) async fn with_vms(vms: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("coordinator.conf");
        let text = format!(
            "state-directory = {:?}\nrealms {{ primary {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 64, memory = 64 GiB }} }}",
            directory.path()
        );
        std::fs::write(&file, text).unwrap();
        let (config, _) = crate::config::check(&file).unwrap_or_else(|errors| panic!("{errors}"));
        let authority = Arc::new(Authority::create(&config.pki_directory(), SystemClock.now()).unwrap());
        let actor = Actor { uid: 0, name: "ann".to_owned() };
        let clock = Arc::new(TestClock { begin: SystemClock.monotonic(), passed: Mutex::default() });
        let mut stage = Self { config, authority, _directory: directory, prepared: Vec::new(), actor, clock };
        let store = Arc::new(MemoryStore::new());
        let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
        stage.add_host(&service, "node-1").await;
        service.create_image(fixture::image(), &stage.actor).await.unwrap();
        service.create_setup(fixture::setup(), &stage.actor).await.unwrap();
        for number in 0..vms.max(1) {
            let configuration = Configuration {
                name: name::<ConfigurationName>(&format!("web-{number}")),
                when_host_lost: (number % 2 == 1).then_some(WhenHostLost::Restart),
                priority: number % 3,
                ..fixture::configuration()
            };
            service.create_configuration(configuration, &stage.actor).await.unwrap();
        }
        stage.connect(&service);
        for number in 0..vms {
            stage.clock.pass(Duration::from_secs(1));
            service.start_vm(&name(&format!("web-{number}")), &stage.actor).await.unwrap();
        }
        tell_running(&service).await;
        stage.add_host(&service, "node-2").await;
        stage.prepared = store.list("").await.unwrap();
        stage
    }

    pub(super) async fn add_host(&self, service: &Service, host: &str) {
        let new = NewHost {
            name: name::<HostName>(host),
            realm: name::<RealmName>("primary"),
            uri: "qemu:///system".to_owned(),
            profile: name::<ProfileName>("p"),
            state: HostState::Enabled,
            labels: std::collections::BTreeMap::new(),
        };
        service.add_host(new, &self.actor).await.unwrap();
    }

    pub(super) async fn open(&self, store: Arc<dyn Store>) -> Service {
        let service = self.open_unheard(store).await;
        self.connect(&service);
        service
    }

    /// A coordinator that has heard of no host yet.
    pub(crate) async fn open_unheard(&self, store: Arc<dyn Store>) -> Service {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Service::open(self.config.clone(), store, clock, Arc::clone(&self.authority)).await.unwrap()
    }

    /// A coordinator that fences by these commands, and has heard of every host.
    pub(super) async fn open_fencing(
        &self,
        store: Arc<dyn Store>,
        config: CoordinatorConfig,
        commands: Arc<dyn FenceCommands>,
    ) -> Service {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let authority = Arc::clone(&self.authority);
        let service = Service::open_with(config, store, clock, authority, commands).await.unwrap();
        self.connect(&service);
        service
    }

    /// Every host is heard and has told what it has.
    pub(super) fn connect(&self, service: &Service) {
        let hosts: Vec<HostId> = service.core().hosts.keys().copied().collect();
        for host in hosts {
            let now = service.steady_now();
            if let Some(entry) = service.core().hosts.get_mut(&host) {
                entry.life.connect(now);
                entry.life.report(now);
                entry.contact = Contact::Connected;
                entry.report = Some(LastReport {
                    hypervisor_reachable: true,
                    foreign: Vec::new(),
                    pools: Vec::new(),
                    sizes: Vec::new(),
                });
            }
            service.describe_host(host);
        }
    }

    /// The store as it was before the story.
    pub(crate) async fn store(&self) -> Arc<MemoryStore> {
        let store = MemoryStore::new();
        for stored in &self.prepared {
            let batch = Batch::new().put(
                stored.key.clone(),
                crate::store::Precondition::Absent,
                Arc::clone(&stored.value),
            );
            store.apply(batch).await.unwrap();
        }
        Arc::new(store)
    }
}

pub(super) fn seen(vm: &crate::model::vm::Vm, observed: ObservedVm) -> VmObservation {
    VmObservation { vm: vm.id, generation: vm.generation, epoch: Epoch(1), observed }
}

/// The hosts tell that what is to run runs.
pub(super) async fn tell_running(service: &Service) {
    let vms: Vec<_> = service.core().living().map(|current| current.vm).collect();
    let now = SystemClock.now();
    for vm in vms.iter().filter(|vm| vm.wish == Wish::Run) {
        if let Some(host) = vm.host {
            let running = ObservedVm::Running { started_at: now, registered_at: now };
            service.follow_vm(host, &seen(vm, running)).await;
        }
    }
}

/// The hosts tell that what is to stop is gone.
pub(super) async fn tell_gone(service: &Service) {
    let vms: Vec<_> = service.core().living().map(|current| current.vm).collect();
    for vm in vms.iter().filter(|vm| vm.wish != Wish::Run) {
        if let Some(host) = vm.host {
            service.follow_vm(host, &seen(vm, ObservedVm::Gone(StopReason::GuestPowerOff))).await;
        }
    }
}

pub(super) fn the_workflow(service: &Service) -> Option<Arc<Workflow>> {
    service.workflows().last().map(|current| Arc::clone(&current.workflow))
}

/// Carries out each due step twice besides, as after a crash before its outcome was recorded.
async fn repeat_due(service: &Service) {
    let Some(workflow) = the_workflow(service) else { return };
    for due in workflow.due() {
        let record = &workflow.steps[due.index];
        if record.state == crate::workflow::StepState::Waiting {
            continue; // nothing is done before it is recorded as begun
        }
        for _ in 0..2 {
            let _ = match due.direction {
                Direction::Act => service.act(&workflow, &record.step).await,
                Direction::Undo => service.undo(&record.step).await,
            };
        }
    }
}

/// Until nothing moves any more; cancels after so many rounds.
pub(super) async fn work(service: &Service, actor: &Actor, cancel_after: usize) {
    for round in 0..40 {
        if round == cancel_after
            && let Some(workflow) = the_workflow(service)
        {
            let _ = service.cancel_workflow(workflow.id, actor).await;
        }
        service.advance_workflows().await;
        repeat_due(service).await;
        tell_gone(service).await;
        service.place_waiting().await;
        if the_workflow(service).is_some_and(|workflow| workflow.state.is_final()) {
            return;
        }
    }
}

/// After the end, what must be true whatever happened on the way.
async fn check_nothing_is_left(service: &Service, store: &MemoryStore, vms: usize, story: &str) {
    let node_1 = service.host(&name("node-1")).unwrap();
    let workflow = the_workflow(service);
    let living: Vec<_> = service.core().living().map(|current| current.vm).collect();
    let past = store.list(PAST_VMS.prefix()).await.unwrap().len();
    match workflow.as_ref().map(|workflow| workflow.state) {
        Some(WorkflowState::Done) => {
            assert!(node_1.host.draining && node_1.vms.is_empty(), "{story}");
            assert_eq!(past, vms, "{story}: each was stopped once");
            assert_eq!(living.len(), vms / 2, "{story}: those that are to run again do, and each once");
        }
        Some(WorkflowState::Undone) => {
            assert!(!node_1.host.draining, "{story}");
            let on_it = living.iter().filter(|vm| vm.host == Some(node_1.host.id)).count();
            assert_eq!(past + on_it, vms, "{story}: each was stopped or is where it was");
            assert!(living.iter().all(|vm| vm.wish == Wish::Run), "{story}: who was not stopped runs on");
        }
        None => {
            assert!(!node_1.host.draining && past == 0 && living.len() == vms, "{story}: it was never begun");
        }
        other => panic!("{story}: {other:?}"),
    }
    // What is reserved is what lives.
    let core = service.core();
    let reserved: usize =
        core.hosts.keys().filter_map(|host| core.fleet.usage(*host)).map(|usage| usage.vms).sum();
    assert_eq!(reserved, living.iter().filter(|vm| vm.host.is_some()).count(), "{story}");
}

/// A drain of node-1 that dies at write `dies_at`, is resumed, and cancelled after so many rounds.
async fn drain_story(
    stage: &Stage,
    vms: usize,
    dies_at: usize,
    last_happens: bool,
    cancel_after: usize,
) -> bool {
    let inner = stage.store().await;
    // One write more, for the epoch.
    let store = DyingStore { inner: Arc::clone(&inner), left: AtomicUsize::new(dies_at + 2), last_happens };
    let store = Arc::new(store);
    let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
    let begun = service.drain_host(&name("node-1"), Some(GRACE), &stage.actor).await.is_ok();
    if begun {
        work(&service, &stage.actor, cancel_after).await;
    }
    let died = store.left.load(Ordering::SeqCst) == 0;
    drop(service);
    let service = stage.open(Arc::clone(&inner) as Arc<dyn Store>).await;
    work(&service, &stage.actor, cancel_after).await;
    let story = format!("write {dies_at}, happened: {last_happens}, cancelled after {cancel_after}");
    check_nothing_is_left(&service, &inner, vms, &story).await;
    died
}

#[tokio::test]
async fn a_drain_survives_a_crash_before_and_after_every_write() {
    const VMS: u32 = 6;
    let stage = Stage::with_vms(VMS).await;
    for last_happens in [false, true] {
        let mut writes = 0;
        while drain_story(&stage, VMS as usize, writes, last_happens, usize::MAX).await {
            writes += 1;
        }
        assert!(writes > 20, "the story has {writes} writes: it was not told to its end");
    }
}

#[tokio::test]
async fn a_drain_can_be_cancelled_at_every_point_and_crash_meanwhile() {
    const VMS: u32 = 6;
    let stage = Stage::with_vms(VMS).await;
    for cancel_after in 0..5 {
        for dies_at in [3, 5, 8, 13, 21, usize::MAX - 2] {
            drain_story(&stage, VMS as usize, dies_at, dies_at % 2 == 0, cancel_after).await;
        }
    }
}

#[tokio::test]
async fn vms_are_stopped_in_order_a_few_at_once_and_a_drain_of_the_same_host_is_refused() {
    let stage = Stage::with_vms(6).await;
    let store = stage.store().await;
    let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
    service.drain_host(&name("node-1"), Some(GRACE), &stage.actor).await.unwrap();
    service.advance_workflows().await;
    let stopping = |service: &Service| {
        let core = service.core();
        let mut stopping: Vec<String> = core
            .living()
            .filter(|current| current.vm.state == VmState::Stopping)
            .map(|current| current.vm.configuration.clone().unwrap().to_string())
            .collect();
        stopping.sort();
        stopping
    };
    // The priorities are 0, 1, 2, 0, 1, 2; of one priority the newest goes first.
    assert_eq!(stopping(&service), ["web-0", "web-1", "web-3", "web-4"]);
    let order: Vec<String> =
        the_workflow(&service).unwrap().steps.iter().map(|record| record.step.to_string()).collect();
    let order: Vec<&str> =
        order.iter().filter_map(|step| step.strip_prefix("stop ")).map(|step| &step[..5]).collect();
    assert_eq!(order, ["web-3", "web-0", "web-4", "web-1", "web-5", "web-2"]);
    let refused = service.drain_host(&name("node-1"), None, &stage.actor).await.unwrap_err();
    assert!(refused.message.contains("is running already"), "{refused}");
    assert!(service.undrain_host(&name("node-1"), &stage.actor).await.is_err());
    // Whoever starts meanwhile goes elsewhere.
    let started = service.start_vm(&name("web-0"), &stage.actor).await.unwrap();
    assert_eq!(started.view.host.unwrap().1.as_str(), "node-2");
    service.cancel_drain(&name("node-1"), &stage.actor).await.unwrap();
    work(&service, &stage.actor, usize::MAX).await;
    assert_eq!(the_workflow(&service).unwrap().state, WorkflowState::Undone);
    let kept: Vec<String> = service
        .host(&name("node-1"))
        .unwrap()
        .vms
        .iter()
        .map(|vm| service.core().vm(*vm).unwrap().vm.configuration.clone().unwrap().to_string())
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}: who was not asked to stop stays");
    assert!(service.cancel_drain(&name("node-1"), &stage.actor).await.is_err());
}

#[tokio::test]
async fn a_host_that_was_emptied_is_not_chosen_until_somebody_says_so() {
    let stage = Stage::with_vms(1).await;
    let store = stage.store().await;
    let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
    service.drain_host(&name("node-1"), Some(GRACE), &stage.actor).await.unwrap();
    service.drain_host(&name("node-2"), Some(GRACE), &stage.actor).await.unwrap();
    work(&service, &stage.actor, usize::MAX).await;
    service.advance_workflows().await;
    let started = service.start_vm(&name("web-0"), &stage.actor).await.unwrap();
    assert_eq!(started.view.state, VmState::Unplaceable);
    assert!(
        started.view.vm.reason.as_deref().unwrap_or_default().contains("draining"),
        "{:?}",
        started.view.vm.reason
    );
    let host = service.undrain_host(&name("node-1"), &stage.actor).await.unwrap();
    assert!(!host.host.draining);
    service.place_waiting().await;
    assert_eq!(service.host(&name("node-1")).unwrap().vms, [started.view.vm.id]);
}

#[tokio::test]
async fn a_vm_that_refuses_to_stop_is_told() {
    let stage = Stage::with_vms(1).await;
    let store = stage.store().await;
    let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
    service.drain_host(&name("node-1"), Some(GRACE), &stage.actor).await.unwrap();
    service.advance_workflows().await;
    let note = the_workflow(&service).unwrap().steps[1].note.clone().unwrap();
    assert!(note.contains("its host is not connected"), "{note}");
}

/// A start is one transaction: at each write it either happened whole or left nothing, and a repetition finds it.
#[tokio::test]
async fn a_start_that_fails_or_crashes_at_any_write_leaves_nothing_or_a_vm() {
    let stage = Stage::with_vms(0).await;
    for (dies_at, last_happens) in [(0, false), (0, true), (1, false)] {
        let inner = stage.store().await;
        let store = Arc::new(DyingStore {
            inner: Arc::clone(&inner),
            left: AtomicUsize::new(dies_at + 2),
            last_happens,
        });
        let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
        let id = VmId::random();
        let result = service.start_vm_as(id, &name("web-0"), &stage.actor).await;
        let lives = dies_at > 0 || last_happens;
        assert_eq!(result.is_ok(), dies_at > 0, "write {dies_at}");
        if result.is_err() {
            let core = service.core();
            let reserved: usize =
                core.hosts.keys().filter_map(|host| core.fleet.usage(*host)).map(|usage| usage.vms).sum();
            assert_eq!((reserved, core.vms().len()), (0, 0), "what was held is released");
        }
        let written = (
            inner.list(VMS.prefix()).await.unwrap().len(),
            inner.list(DECISIONS.prefix()).await.unwrap().len(),
        );
        assert_eq!(written, if lives { (1, 1) } else { (0, 0) }, "all of it or nothing");
        let service = stage.open(Arc::clone(&inner) as Arc<dyn Store>).await;
        let start = crate::workflow::StartAgain { configuration: name("web-0"), vm: id };
        for _ in 0..2 {
            service.start_again(&start, "ann").await.unwrap();
        }
        assert_eq!(
            service.core().living().count(),
            1,
            "a repetition finds it, and the first makes it if it is not there"
        );
    }
}
