//! A VM that waited has a place on a host, and its record does not say so yet: the host is neither taken for empty nor
//! deleted meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reeve_common::ids::{HostId, HostName};
use reeve_scheduler::HostState;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::Service;
use super::workflows_tests::{Stage, name, tell_gone, the_workflow};
use crate::records::VMS;
use crate::store::{Batch, Key, MemoryStore, Store, StoreFuture, Stored, Version, Watch};
use crate::workflow::{StepState, WorkflowState};

/// A store that writes records of one kind when it is let, one for each permit, and everything else at once: writes
/// overtake each other where more than one is under way.
#[derive(Debug)]
pub(crate) struct Overtaken {
    inner: Arc<MemoryStore>,
    held_prefix: &'static str,
    pub(crate) permits: Semaphore,
    /// How many writes wait.
    pub(crate) waiting: AtomicUsize,
}

impl Overtaken {
    pub(crate) fn new(inner: Arc<MemoryStore>, held_prefix: &'static str) -> Arc<Self> {
        Arc::new(Self { inner, held_prefix, permits: Semaphore::new(1), waiting: AtomicUsize::new(0) })
    }

    /// Everything is written from now on.
    pub(crate) fn let_all(&self) {
        self.permits.add_permits(1000);
    }
}

impl Store for Overtaken {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Option<Stored>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.list(prefix)
    }

    fn apply(&self, batch: Batch) -> StoreFuture<'_, Version> {
        Box::pin(async move {
            if batch.operations().iter().any(|operation| operation.key.is_under(self.held_prefix)) {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.permits.acquire().await.unwrap().forget();
                self.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            self.inner.apply(batch).await
        })
    }

    fn watch<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Watch> {
        self.inner.watch(prefix)
    }
}

struct Arriving {
    stage: Stage,
    store: Arc<Overtaken>,
    service: Service,
    placement: JoinHandle<()>,
    node_2: HostId,
}

impl Arriving {
    /// A VM waited, and its placement on node-2 is being written.
    async fn new() -> Self {
        let stage = Stage::with_vms(1).await;
        let store = Overtaken::new(stage.store().await, VMS.prefix());
        let service = stage.open(Arc::clone(&store) as Arc<dyn Store>).await;
        let set = async |host: &str, state| {
            service.set_host_state(&name::<HostName>(host), state, &stage.actor).await.unwrap();
        };
        set("node-1", HostState::NoScheduler).await;
        set("node-2", HostState::NoScheduler).await;
        let waiting = service.start_vm(&name("web-0"), &stage.actor).await.unwrap();
        assert_eq!(waiting.view.vm.host, None);
        set("node-2", HostState::Enabled).await;
        let placing = service.clone();
        let placement = tokio::spawn(async move { placing.place_waiting().await });
        let node_2 = service.host_id(&name::<HostName>("node-2")).unwrap();
        // Its record is with the store, which does not write it.
        while store.waiting.load(Ordering::SeqCst) == 0 {
            assert!(!placement.is_finished(), "it found no place");
            tokio::task::yield_now().await;
        }
        Self { stage, store, service, placement, node_2 }
    }

    async fn record(&mut self) {
        self.store.let_all();
        (&mut self.placement).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_is_not_empty_while_a_vm_is_being_placed_on_it() {
    let mut arriving = Arriving::new().await;
    let service = arriving.service.clone();
    service.drain_host(&name("node-2"), None, &arriving.stage.actor).await.unwrap();
    service.advance_workflows().await;
    let workflow = the_workflow(&service).unwrap();
    assert_eq!(workflow.state, WorkflowState::Running, "nothing is recorded there, and something comes");
    let looking = workflow.steps.last().unwrap();
    assert_eq!(looking.state, StepState::Begun);
    assert!(looking.note.as_deref().unwrap_or_default().contains("is being placed on it"), "{looking:?}");
    arriving.record().await;
    assert_eq!(service.host(&name("node-2")).unwrap().vms.len(), 1);
    for _ in 0..3 {
        service.advance_workflows().await;
        tell_gone(&service).await;
    }
    service.advance_workflows().await;
    assert_eq!(the_workflow(&service).unwrap().state, WorkflowState::Done);
    assert_eq!(service.host(&name("node-2")).unwrap().vms, [], "what came was stopped too");
}

#[tokio::test]
async fn a_host_on_which_a_vm_is_being_placed_is_not_deleted() {
    let mut arriving = Arriving::new().await;
    let service = arriving.service.clone();
    let refused = service.delete_host(&name("node-2"), &arriving.stage.actor).await.unwrap_err();
    assert!(refused.message.contains("host node-2 is used by VM"), "{refused}");
    arriving.record().await;
    assert_eq!(service.host(&name("node-2")).unwrap().vms.len(), 1);
    assert_eq!(
        service.core().fleet.usage(arriving.node_2).unwrap().vms,
        1,
        "and it holds its capacity there"
    );
}
