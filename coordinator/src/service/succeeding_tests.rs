//! Holds the next run of a VM that its host found stopped to being asked for once, whichever write fails.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use reeve_common::ids::{HostId, VmId};
use reeve_common::vm::{ObservedVm, StopReason};

use super::Service;
use super::workflows_tests::{DyingStore, Stage, seen, tell_gone};
use crate::model::vm::Vm;
use crate::model::vm_state::VmState;
use crate::store::{MemoryStore, Store};

fn of(service: &Service, configuration: &str) -> Vec<Arc<Vm>> {
    let living = service.core().living().map(|current| current.vm).collect::<Vec<_>>();
    let is_run = |vm: &Arc<Vm>| vm.configuration.as_ref().is_some_and(|name| name.as_str() == configuration);
    living.into_iter().filter(is_run).collect()
}

/// The host has lost power, is back, and says of its VMs that they are stopped and nobody saw why; it clears up what it is
/// told to.
async fn lose_power(service: &Service, host: HostId) {
    let on_it: Vec<Arc<Vm>> =
        service.core().living().map(|current| current.vm).filter(|vm| vm.host == Some(host)).collect();
    for vm in on_it {
        service.follow_vm(host, &seen(&vm, ObservedVm::Ended(StopReason::FoundStopped))).await;
    }
    tell_gone(service).await;
}

async fn opened(stage: &Stage) -> (Service, Arc<MemoryStore>) {
    let store = stage.store().await;
    (stage.open(Arc::clone(&store) as Arc<dyn Store>).await, store)
}

fn first(service: &Service) -> (VmId, HostId) {
    let vm = of(service, "web-1").remove(0);
    (vm.id, vm.host.unwrap())
}

#[tokio::test]
async fn what_a_returned_host_found_stopped_runs_again_as_its_configuration_says() {
    let stage = Stage::with_vms(2).await;
    let (service, _store) = opened(&stage).await;
    let (before, host) = first(&service);
    lose_power(&service, host).await;
    assert!(of(&service, "web-0").is_empty(), "its realm asks a person");
    let next = of(&service, "web-1").remove(0);
    assert_ne!(next.id, before);
    let over = service.core().any_vm(before).unwrap().vm;
    assert_eq!((over.state, over.reason.as_deref()), (VmState::Failed, Some("was found stopped")));
    service.place_waiting().await;
    let placed = of(&service, "web-1").remove(0);
    assert!(placed.host.is_some() && placed.state == VmState::Placed, "{placed:?}");
    // The notice of the old run's end comes again, as it does until its host may forget: nothing more follows.
    service.follow_vm(host, &seen(&over, ObservedVm::Gone(StopReason::Destroyed))).await;
    assert_eq!(of(&service, "web-1").len(), 1);
}

#[tokio::test]
async fn nothing_follows_what_somebody_wished_to_stop_or_a_host_that_is_emptied() {
    let stage = Stage::with_vms(2).await;
    let (service, _store) = opened(&stage).await;
    let (id, host) = first(&service);
    service.shutdown_vm(&id, Some(Duration::from_secs(5)), &stage.actor).await.unwrap();
    lose_power(&service, host).await;
    assert!(of(&service, "web-1").is_empty());

    let (service, _store) = opened(&stage).await;
    let (_, host) = first(&service);
    service.change_host(host, |record| record.draining = true).await.unwrap();
    lose_power(&service, host).await;
    assert!(of(&service, "web-1").is_empty(), "who is started again is the drain's to say");
}

#[tokio::test]
async fn whichever_write_is_the_last_the_next_run_is_asked_for_once() {
    let stage = Stage::with_vms(2).await;
    let mut followed = 0;
    for last_happens in [false, true] {
        for writes in 0..8 {
            let inner = stage.store().await;
            let store =
                DyingStore { inner: Arc::clone(&inner), left: AtomicUsize::new(usize::MAX), last_happens };
            let store = Arc::new(store);
            let dying = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
            let (before, host) = first(&dying);
            store.left.store(writes, std::sync::atomic::Ordering::SeqCst);
            lose_power(&dying, host).await;
            drop(dying);
            // The next coordinator hears of it again.
            let service = stage.open(Arc::clone(&inner) as Arc<dyn Store>).await;
            lose_power(&service, host).await;
            lose_power(&service, host).await;
            let runs = of(&service, "web-1");
            assert_eq!(runs.len(), 1, "after {writes} writes: {runs:?}");
            followed += usize::from(runs[0].id != before);
        }
    }
    assert_eq!(followed, 16, "each of them was followed");
}
