//! Holds the restart elsewhere to starting nothing without a proof, and nothing twice: the real service on a clock that
//! the test moves and a store that dies at every write.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reeve_common::ids::{Generation, HostId, HostName, VmId};
use reeve_common::protocol::{Command, CommandBody, Reply};
use reeve_common::vm::{DesiredVm, ObservedVm, StopReason};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use reeve_scheduler::HostState;

use super::Service;
use super::workflows_tests::{DyingStore, Stage, name, seen, tell_running, the_workflow};
use crate::agents::{AgentHandle, AgentLink, LinkFuture, Task};
use crate::model::vm::Vm;
use crate::model::vm_state::VmState;
use crate::store::{MemoryStore, Store};
use crate::workflow::{Purpose, WorkflowState};

pub(super) fn id_of(service: &Service, host: &str) -> HostId {
    service.host_id(&name::<HostName>(host)).unwrap()
}

/// Every host has joined once: one that never has is not missed.
pub(super) async fn join_all(service: &Service) {
    let hosts: Vec<HostId> = service.core().hosts.keys().copied().collect();
    for host in hosts {
        let now = service.now();
        service.change_host(host, |record| record.joined_at = Some(now)).await.unwrap();
    }
}

/// The host falls silent, and stays so until it is lost.
pub(super) fn lose(service: &Service, stage: &Stage, hosts: &[HostId]) {
    let now = service.steady_now();
    for host in hosts {
        if let Some(entry) = service.core().hosts.get_mut(host) {
            entry.life.disconnect(Duration::ZERO, now);
        }
    }
    stage.clock.pass(service.config().lost_after + Duration::from_secs(1));
    // The others are heard all the time.
    let heard = service.steady_now();
    for (host, entry) in &mut service.core().hosts {
        if !hosts.contains(host) {
            entry.life.sign(heard);
        }
    }
    service.watch_hosts();
}

/// Somebody has seen that the host is off.
fn prove(service: &Service, host: HostId) {
    let at = service.now();
    if let Some(entry) = service.core().hosts.get_mut(&host) {
        entry.life.see_off(at, "ann");
    }
}

pub(super) async fn work(service: &Service) {
    let mut braked = BTreeSet::new();
    for _ in 0..4 {
        service.fail_over(&mut braked).await;
        service.advance_workflows().await;
        service.place_waiting().await;
    }
}

fn configuration_of(vm: &Vm) -> String {
    vm.configuration.as_ref().unwrap().to_string()
}

fn vms(service: &Service) -> Vec<Arc<Vm>> {
    let mut vms: Vec<Arc<Vm>> = service.core().living().map(|current| current.vm).collect();
    vms.sort_by_key(|vm| configuration_of(vm));
    vms
}

pub(super) fn on(service: &Service, host: HostId) -> Vec<String> {
    vms(service).iter().filter(|vm| vm.host == Some(host)).map(|vm| configuration_of(vm)).collect()
}

async fn opened(stage: &Stage) -> (Service, Arc<MemoryStore>) {
    let store = stage.store().await;
    let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
    join_all(&service).await;
    (service, store)
}

/// Its connection is given up only a while after nothing comes any more.
#[tokio::test]
async fn a_host_that_is_lost_is_so_by_hand_too_while_its_connection_stands() {
    let stage = Stage::with_vms(1).await;
    let (service, _store) = opened(&stage).await;
    let node_1 = id_of(&service, "node-1");
    let (vm, now) = (vms(&service)[0].id, service.steady_now());
    if let Some(entry) = service.core().hosts.get_mut(&node_1) {
        entry.life.connect(now);
    }
    let refused = service.restart_elsewhere(&vm, &stage.actor).await.unwrap_err();
    assert!(refused.message.contains("host node-1 is not lost"), "{refused}");
    stage.clock.pass(Duration::from_secs(3600));
    let refused = service.restart_elsewhere(&vm, &stage.actor).await.unwrap_err();
    assert!(refused.message.contains("nothing proves that host node-1"), "{refused}");
}

#[tokio::test]
async fn without_a_proof_nothing_is_started_elsewhere_and_with_one_each_once() {
    let stage = Stage::with_vms(6).await;
    let (service, _store) = opened(&stage).await;
    let (node_1, node_2) = (id_of(&service, "node-1"), id_of(&service, "node-2"));
    lose(&service, &stage, &[node_1]);
    work(&service).await;
    stage.clock.pass(Duration::from_secs(3600));
    work(&service).await;
    assert_eq!(on(&service, node_1).len(), 6, "an hour of silence proves nothing");
    let workflow = the_workflow(&service).unwrap();
    assert!(matches!(workflow.purpose, Purpose::Failover { .. }));
    let note = workflow.steps[0].note.clone().unwrap();
    assert!(note.contains("reeve host confirm-off node-1"), "{note}");
    // Nor by hand.
    let asked = vms(&service).iter().find(|vm| configuration_of(vm) == "web-0").unwrap().id;
    let refused = service.restart_elsewhere(&asked, &stage.actor).await.unwrap_err();
    assert!(refused.message.contains("nothing proves that host node-1"), "{refused}");
    assert!(refused.advice.unwrap().contains("reeve host confirm-off node-1"));
    prove(&service, node_1);
    work(&service).await;
    // Those whose configuration says restart, and no others.
    assert_eq!(on(&service, node_2), ["web-1", "web-3", "web-5"]);
    assert_eq!(on(&service, node_1), ["web-0", "web-2", "web-4"]);
    let view = service.vm_detail(asked).unwrap().view;
    assert!(view.decision_wanted && view.state == VmState::Unknown);
    let restarted = service.restart_elsewhere(&asked, &stage.actor).await.unwrap();
    assert_eq!(restarted.host.unwrap().0, node_2);
    let generations: Vec<Generation> = vms(&service).iter().map(|vm| vm.generation).collect();
    assert_eq!(generations, [2, 2, 1, 2, 1, 2].map(Generation), "each moved once");
    work(&service).await;
    assert_eq!(service.workflows().len(), 1, "nothing is begun anew");
    assert_eq!(
        service.core().fleet.usage(node_2).unwrap().vms,
        4,
        "what was held there is free, and held here"
    );
    assert_eq!(service.core().fleet.usage(node_1).unwrap().vms, 2);
}

#[tokio::test]
async fn the_urgent_are_placed_first_when_not_all_fit() {
    let stage = Stage::with_vms(6).await;
    let (service, _store) = opened(&stage).await;
    let (node_1, node_2) = (id_of(&service, "node-1"), id_of(&service, "node-2"));
    // Each has two of 64 cores: there is room for two more on node-2.
    service.set_host_state(&name("node-1"), HostState::NoScheduler, &stage.actor).await.unwrap();
    for _ in 0..30 {
        service.start_vm(&name("web-0"), &stage.actor).await.unwrap();
    }
    assert_eq!(service.core().fleet.usage(node_2).unwrap().vms, 30);
    lose(&service, &stage, &[node_1]);
    prove(&service, node_1);
    work(&service).await;
    let waiting: Vec<String> =
        vms(&service).iter().filter(|vm| vm.host.is_none()).map(|vm| configuration_of(vm)).collect();
    assert_eq!(waiting, ["web-3"], "the priorities are 1, 0 and 2");
}

#[tokio::test]
async fn a_host_that_returns_keeps_what_it_has_and_stops_what_has_moved() {
    let stage = Stage::with_vms(2).await;
    let (service, _store) = opened(&stage).await;
    let (node_1, node_2) = (id_of(&service, "node-1"), id_of(&service, "node-2"));
    // It returns before there is a proof: nothing moves.
    lose(&service, &stage, &[node_1]);
    work(&service).await;
    stage.connect(&service);
    work(&service).await;
    assert_eq!(on(&service, node_1), ["web-0", "web-1"]);
    assert_eq!(the_workflow(&service).unwrap().state, WorkflowState::Done);
    // It is lost again, is off, and returns when its VM runs elsewhere.
    let old = vms(&service)[1].clone();
    lose(&service, &stage, &[node_1]);
    prove(&service, node_1);
    work(&service).await;
    tell_running(&service).await;
    let moved = vms(&service)[1].clone();
    assert_eq!((moved.host, moved.state), (Some(node_2), VmState::Running));
    let disk = |vm: &Vm| vm.definition.made().unwrap().system_disk.volume.clone();
    assert_ne!(disk(&moved), disk(&old));
    stage.connect(&service);
    let now = service.now();
    let running = ObservedVm::Running { started_at: now, registered_at: now };
    for observed in [running, ObservedVm::Ended(StopReason::FoundStopped), ObservedVm::Paused] {
        service.follow_vm(node_1, &seen(&old, observed)).await;
        assert_eq!(*vms(&service)[1], *moved, "what the old host says changes nothing of the new place");
    }
    let wish = service.wish_for(node_1, moved.id);
    let Some(CommandBody::EnsureVm { generation, desired: DesiredVm::Stopped { .. }, .. }) = wish else {
        panic!("the old host is told {wish:?}");
    };
    assert_eq!(generation, moved.generation, "newer than all it was told before");
    let Some(CommandBody::EnsureVm { desired: DesiredVm::Running(_), .. }) =
        service.wish_for(node_2, moved.id)
    else {
        panic!("the new place is to run it");
    };
    service.follow_vm(node_1, &seen(&moved, ObservedVm::Gone(StopReason::Destroyed))).await;
    let after = vms(&service)[1].clone();
    assert!(after.displaced_from.is_empty() && after.host == Some(node_2) && after.state == VmState::Running);
    assert_eq!(service.wish_for(node_1, moved.id), None, "nothing is left to be told");
    let (_, records) = service.last_audit_records(1).await.unwrap();
    let event = &records[0].event;
    assert_eq!((&*event.what, &*event.object), ("confirm-gone", &*format!("vm {}", moved.name)));
}

#[tokio::test]
async fn a_vm_that_is_being_taken_off_its_host_is_not_told_to_it() {
    let stage = Stage::with_vms(1).await;
    let (service, _store) = opened(&stage).await;
    let (node_1, vm) = (id_of(&service, "node-1"), vms(&service)[0].id);
    assert!(service.wish_for(node_1, vm).is_some());
    service.core().displacing.insert(vm);
    assert_eq!(service.wish_for(node_1, vm), None);
}

/// A connection on which nothing is said: what is to be told waits in its queue.
#[derive(Debug)]
struct Unspoken;

impl AgentLink for Unspoken {
    fn request(&self, _: Command, _: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(std::future::pending())
    }

    fn received(&self) -> u64 {
        0
    }

    fn close(&self, _: RefusalCode, _: &str) {}

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        Box::pin(std::future::pending())
    }
}

/// The next thing that the host's agent is to be told; none when nothing is.
async fn next_task(agent: &AgentHandle) -> Option<Task> {
    tokio::time::timeout(Duration::ZERO, agent.queue().next()).await.ok()
}

/// A stage whose store takes nothing more from when `left` is zero, with an agent at node-1.
async fn with_agent(stage: &Stage) -> (Service, Arc<DyingStore>, AgentHandle) {
    let inner = stage.store().await;
    let store = Arc::new(DyingStore { inner, left: AtomicUsize::new(usize::MAX), last_happens: false });
    let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
    join_all(&service).await;
    let node_1 = id_of(&service, "node-1");
    let agent = AgentHandle::over(1, Arc::new(Unspoken));
    lose(&service, stage, &[node_1]);
    prove(&service, node_1);
    service.core().hosts.get_mut(&node_1).unwrap().agent = Some(agent.clone());
    (service, store, agent)
}

#[tokio::test]
async fn a_host_that_returns_while_its_vm_could_not_be_taken_off_is_told_its_wish() {
    let stage = Stage::with_vms(2).await;
    let (service, store, agent) = with_agent(&stage).await;
    let (node_1, vm) = (id_of(&service, "node-1"), vms(&service)[1].id);
    store.left.store(0, Ordering::SeqCst);
    assert!(service.displace_vm(vm, node_1).await.is_err());
    assert!(service.wish_for(node_1, vm).is_some(), "it is still its host's");
    assert_eq!(next_task(&agent).await, Some(Task::Wish(vm)));
}

#[tokio::test]
async fn that_nothing_is_left_is_heard_again_when_it_could_not_be_recorded() {
    let stage = Stage::with_vms(2).await;
    let (service, store, agent) = with_agent(&stage).await;
    let node_1 = id_of(&service, "node-1");
    work(&service).await;
    let moved = vms(&service)[1].clone();
    assert_eq!(moved.displaced_from.len(), 1);
    while next_task(&agent).await.is_some() {}
    let left = store.left.swap(0, Ordering::SeqCst);
    let gone = seen(&moved, ObservedVm::Gone(StopReason::Destroyed));
    service.follow_vm(node_1, &gone).await;
    assert_eq!(vms(&service)[1].displaced_from.len(), 1);
    assert_eq!(next_task(&agent).await, Some(Task::Report), "it must not forget what is not recorded");
    store.left.store(left, Ordering::SeqCst);
    service.follow_vm(node_1, &gone).await;
    assert!(vms(&service)[1].displaced_from.is_empty());
    assert_eq!(next_task(&agent).await, Some(Task::Forget(moved.id, moved.generation)));
}

#[tokio::test]
async fn half_a_fleet_that_is_silent_restarts_nobody_even_with_proofs() {
    let stage = Stage::with_vms(2).await;
    let (service, _store) = opened(&stage).await;
    for number in 3..=6 {
        stage.add_host(&service, &format!("node-{number}")).await;
    }
    stage.connect(&service);
    join_all(&service).await;
    let lost = ["node-1", "node-3", "node-4"].map(|host| id_of(&service, host));
    lose(&service, &stage, &lost);
    lost.iter().for_each(|host| prove(&service, *host));
    work(&service).await;
    assert!(service.workflows().is_empty(), "three of six are silent");
    assert_eq!(on(&service, lost[0]).len(), 2);
    // By hand it is possible all the same.
    let by_hand = vms(&service)[0].id;
    let view = service.restart_elsewhere(&by_hand, &stage.actor).await.unwrap();
    assert!(view.host.is_some_and(|(host, _)| !lost.contains(&host)));
}

#[tokio::test]
async fn a_brake_that_comes_later_holds_what_was_begun() {
    let stage = Stage::with_vms(2).await;
    let (service, _store) = opened(&stage).await;
    for number in 3..=6 {
        stage.add_host(&service, &format!("node-{number}")).await;
    }
    stage.connect(&service);
    join_all(&service).await;
    let lost = ["node-1", "node-3", "node-4"].map(|host| id_of(&service, host));
    lose(&service, &stage, &lost[..1]);
    work(&service).await;
    assert_eq!(service.workflows().len(), 1);
    lose(&service, &stage, &lost);
    prove(&service, lost[0]);
    work(&service).await;
    assert_eq!(on(&service, lost[0]).len(), 2, "three of six are silent by now");
    let note = the_workflow(&service).unwrap().steps[0].note.clone().unwrap();
    assert!(note.starts_with("3 of 6 hosts are silent at once"), "{note}");
    let back = service.steady_now();
    for host in &lost[1..] {
        service.core().hosts.get_mut(host).unwrap().life.connect(back);
    }
    service.watch_hosts();
    work(&service).await;
    assert_eq!(on(&service, lost[0]), ["web-0"], "the others are back, and it goes on");
}

#[tokio::test]
async fn a_coordinator_that_has_just_started_takes_no_host_for_lost() {
    let stage = Stage::with_vms(2).await;
    let (service, store) = opened(&stage).await;
    drop(service);
    let service = stage.open_unheard(Arc::clone(&store) as Arc<dyn Store>).await;
    service.watch_hosts();
    work(&service).await;
    assert!(service.workflows().is_empty(), "its hosts are on their way back");
    stage.clock.pass(Duration::from_secs(61));
    work(&service).await;
    assert_eq!(service.workflows().len(), 1, "by now they would be back");
}

#[tokio::test]
async fn a_coordinator_that_has_just_started_goes_on_with_no_failover_before_enough_are_heard() {
    let stage = Stage::with_vms(2).await;
    let (service, store) = opened(&stage).await;
    for number in 3..=6 {
        stage.add_host(&service, &format!("node-{number}")).await;
    }
    stage.connect(&service);
    join_all(&service).await;
    let node_1 = id_of(&service, "node-1");
    lose(&service, &stage, &[node_1]);
    work(&service).await;
    assert_eq!(service.workflows().len(), 1);
    drop(service);
    let service = stage.open_unheard(Arc::clone(&store) as Arc<dyn Store>).await;
    prove(&service, node_1);
    service.watch_hosts();
    work(&service).await;
    assert_eq!(on(&service, node_1).len(), 2, "nobody is heard yet");
    let back = service.steady_now();
    for (host, entry) in &mut service.core().hosts {
        if *host != node_1 {
            entry.life.connect(back);
        }
    }
    service.watch_hosts();
    work(&service).await;
    assert_eq!(on(&service, node_1), ["web-0"], "all others are back, and it goes on");
}

#[tokio::test]
async fn a_failover_that_is_called_off_is_not_begun_again_by_itself() {
    let stage = Stage::with_vms(2).await;
    let (service, _store) = opened(&stage).await;
    let node_1 = id_of(&service, "node-1");
    lose(&service, &stage, &[node_1]);
    work(&service).await;
    let begun = the_workflow(&service).unwrap().id;
    stage.clock.pass(Duration::from_secs(1));
    service.cancel_workflow(begun, &stage.actor).await.unwrap();
    work(&service).await;
    prove(&service, node_1);
    work(&service).await;
    assert_eq!((service.workflows().len(), on(&service, node_1).len()), (1, 2));
}

/// The story of a failover that dies at write `dies_at` and is resumed.
async fn failover_story(stage: &Stage, dies_at: usize, last_happens: bool) -> bool {
    let inner = stage.store().await;
    let prepared = stage.open(Arc::clone(&inner) as Arc<dyn Store>).await;
    join_all(&prepared).await;
    drop(prepared);
    let store = DyingStore { inner: Arc::clone(&inner), left: AtomicUsize::new(dies_at + 2), last_happens };
    let store = Arc::new(store);
    let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
    let node_1 = id_of(&service, "node-1");
    for round in 0..2 {
        lose(&service, stage, &[node_1]);
        if round == 1 {
            prove(&service, node_1);
        }
        work(&service).await;
    }
    let died = store.left.load(Ordering::SeqCst) == 0;
    let placed_before: Vec<(VmId, Option<HostId>, Generation)> =
        vms(&service).iter().map(|vm| (vm.id, vm.host, vm.generation)).collect();
    drop(service);
    let service = stage.open(Arc::clone(&inner) as Arc<dyn Store>).await;
    lose(&service, stage, &[node_1]);
    prove(&service, node_1);
    work(&service).await;
    let story = format!("write {dies_at}, happened: {last_happens}");
    let node_2 = id_of(&service, "node-2");
    assert_eq!(on(&service, node_1), ["web-0", "web-2"], "{story}");
    assert_eq!(on(&service, node_2), ["web-1", "web-3"], "{story}");
    for vm in vms(&service).iter().filter(|vm| vm.host == Some(node_2)) {
        assert_eq!(vm.generation, Generation(2), "{story}: it has moved once");
        assert_eq!(vm.displaced_from.len(), 1, "{story}");
        let before = placed_before.iter().find(|(id, ..)| *id == vm.id).unwrap();
        assert!(
            before.1 != Some(node_2) || before.2 == vm.generation,
            "{story}: what was placed stays placed"
        );
    }
    let core = service.core();
    assert_eq!(core.fleet.usage(node_1).unwrap().vms + core.fleet.usage(node_2).unwrap().vms, 4, "{story}");
    died
}

#[tokio::test]
async fn a_failover_survives_a_crash_before_and_after_every_write() {
    let stage = Stage::with_vms(4).await;
    for last_happens in [false, true] {
        let mut writes = 0;
        while failover_story(&stage, writes, last_happens).await {
            writes += 1;
        }
        assert!(writes > 6, "the story has {writes} writes: it was not told to its end");
    }
}
