//! Holds sessions to their cost when a whole fleet comes back: what a host that has what its record says costs the store.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, HostId, OperationId, RealmName};
use reeve_common::inventory::HostInventory;
use reeve_common::protocol::{Command, Event, Hello, HostReport, Refusal, Reply, ReplyBody, Welcome};
use reeve_common::tls::Identity;
use reeve_common::utilization::HostSample;
use reeve_common::vm::{ObservedVm, VmObservation};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::super::{AgentHandle, AgentLink, GreetingAgent, LinkFuture, Welcomed, teller};
use super::serve;
use crate::model::vm_state::VmState;
use crate::service::workflows_tests::Stage;
use crate::service::{HostView, Service};
use crate::store::{MemoryStore, Store};

/// When the certificates expire by which agents prove who they are.
const CERTIFICATE_ENDS: Timestamp = Timestamp(1_700_000_000_000);

/// An agent that says hello and reports, and answers nothing.
struct Returning {
    identity: Identity,
    hello: Hello,
    events: mpsc::Receiver<Box<Event>>,
    samples: watch::Receiver<Option<Arc<HostSample>>>,
    over: watch::Receiver<bool>,
}

impl GreetingAgent for Returning {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn hello(&self) -> &Hello {
        &self.hello
    }

    fn remote(&self) -> String {
        "192.0.2.7:4433".to_owned()
    }

    fn certificate_ends(&self) -> Option<Timestamp> {
        Some(CERTIFICATE_ENDS)
    }

    async fn welcome(self, _welcome: Welcome, _now: Timestamp) -> Result<Welcomed, LinkError> {
        let link = Arc::new(Silent { over: self.over });
        Ok(Welcomed { link, events: self.events, samples: self.samples })
    }

    fn refuse(self, code: RefusalCode, text: &str) {
        panic!("it was turned away ({code}): {text}");
    }
}

#[derive(Debug)]
struct Silent {
    over: watch::Receiver<bool>,
}

impl AgentLink for Silent {
    fn request(&self, command: Command, patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(async move {
            tokio::time::sleep(patience).await;
            Err(LinkError::NoReply { operation: command.operation, seconds: patience.as_secs() })
        })
    }

    fn received(&self) -> u64 {
        0
    }

    fn close(&self, _code: RefusalCode, _text: &str) {}

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        let mut over = self.over.clone();
        Box::pin(async move {
            let _ = over.wait_for(|over| *over).await;
            CloseReason::Silent
        })
    }
}

/// What a host reports that has just what the records say.
fn report(service: &Service, host: HostId) -> HostReport {
    let now = Timestamp(1);
    let observed = ObservedVm::Running { started_at: now, registered_at: now };
    let on_it = service.bookings().into_iter().filter(|booking| booking.host == Some(host));
    let vms = on_it.map(|booking| VmObservation {
        vm: booking.vm,
        generation: booking.generation,
        epoch: Epoch(1),
        observed: observed.clone(),
    });
    HostReport {
        hypervisor_reachable: true,
        vms: vms.collect(),
        foreign: Vec::new(),
        pools: Vec::new(),
        sizes: Vec::new(),
        answers: Vec::new(),
        lock_manager: reeve_common::storage::LockManager::Unknown,
    }
}

/// An agent's end of a session.
struct AgentEnd {
    session: JoinHandle<()>,
    event: mpsc::Sender<Box<Event>>,
    sample: watch::Sender<Option<Arc<HostSample>>>,
}

impl AgentEnd {
    async fn end(self) {
        drop((self.event, self.sample));
        self.session.await.unwrap();
    }
}

fn connect(service: &Service, view: &HostView, connection: u64, is_over: &watch::Receiver<bool>) -> AgentEnd {
    let host = view.host.id;
    let (event, events) = mpsc::channel(1);
    let (sample, samples) = watch::channel(None);
    let realm: RealmName = view.host.realm.clone();
    let hello = Hello {
        host,
        realm: realm.clone(),
        name: view.host.name.clone(),
        instance: OperationId::random(),
        highest_epoch: Epoch(1),
        inventory: HostInventory::default(),
    };
    let identity = Identity::Host { realm, host };
    let agent = Returning { identity, hello, events, samples, over: is_over.clone() };
    let session = tokio::spawn(serve(service.clone(), agent, connection));
    AgentEnd { session, event, sample }
}

/// Waits until the connection is the host's.
async fn taken_up(service: &Service, host: HostId, connection: u64) {
    while service.agent_of(host).is_none_or(|agent| agent.connection() != connection) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_replaced_connection_still_holds_is_not_followed() {
    let stage = Stage::with_vms(1).await;
    let service = stage.open_unheard(stage.store().await as Arc<dyn Store>).await;
    let (_over, is_over) = watch::channel(false);
    let view = service.hosts().into_iter().next().unwrap();
    let host = view.host.id;
    let state = || service.vms().into_iter().next().unwrap().vm.state;
    let paused = || {
        let mut paused = report(&service, host);
        paused.vms.iter_mut().for_each(|seen| seen.observed = ObservedVm::Paused);
        Event::Report(paused)
    };
    let before = connect(&service, &view, 1, &is_over);
    taken_up(&service, host, 1).await;
    let after = connect(&service, &view, 2, &is_over);
    taken_up(&service, host, 2).await;
    after.event.send(Box::new(Event::Report(report(&service, host)))).await.unwrap();
    // It is read late: the agent said it in another life.
    let _ = before.event.send(Box::new(paused())).await;
    let _ = before.event.send(Box::new(paused())).await;
    assert_eq!(state(), VmState::Running, "an older word counts for more than a newer one");
    after.event.send(Box::new(paused())).await.unwrap();
    while state() != VmState::Paused {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_new_connection_is_followed_when_the_last_word_of_the_old_one_is() {
    let stage = Stage::with_vms(1).await;
    let service = stage.open_unheard(stage.store().await as Arc<dyn Store>).await;
    let (over, is_over) = watch::channel(false);
    let host = service.hosts().into_iter().next().unwrap().host;
    let hello = || Hello {
        host: host.id,
        realm: host.realm.clone(),
        name: host.name.clone(),
        instance: OperationId::random(),
        highest_epoch: Epoch(1),
        inventory: HostInventory::default(),
    };
    let link = || Arc::new(Silent { over: is_over.clone() });
    service.agent_connected(host.id, AgentHandle::over(1, link()), hello());
    let turn = service.listen_to(host.id, 1).await.unwrap();
    service.agent_connected(host.id, AgentHandle::over(2, link()), hello());
    let waits = tokio::time::timeout(Duration::ZERO, service.listen_to(host.id, 2)).await;
    assert!(waits.is_err(), "two are followed at once");
    drop(turn);
    assert!(service.listen_to(host.id, 1).await.is_none(), "it has been replaced");
    assert!(service.listen_to(host.id, 2).await.is_some());
    drop(over);
}

#[tokio::test]
async fn a_host_that_comes_back_with_what_it_had_costs_the_store_nothing() {
    let stage = Stage::with_vms(4).await;
    let store: Arc<MemoryStore> = stage.store().await;
    let service = stage.open_unheard(Arc::clone(&store) as Arc<dyn Store>).await;
    let mut writes = store.watch("").await.unwrap();
    let (over, is_over) = watch::channel(false);
    let mut sessions = Vec::new();
    for view in service.hosts() {
        let session = connect(&service, &view, u64::from(view.host.id.0), &is_over);
        session.event.send(Box::new(Event::Report(report(&service, view.host.id)))).await.unwrap();
        sessions.push(session);
    }
    let all = service.hosts().len();
    while service.status().hosts.reported < all {
        tokio::task::yield_now().await;
    }
    let ends: Vec<_> = service.hosts().iter().map(|view| service.certificate_ends(view.host.id)).collect();
    assert_eq!(ends, vec![Some(CERTIFICATE_ENDS); all], "it is known until when each host is let in");
    over.send_replace(true);
    for session in sessions {
        session.end().await;
    }
    let written = tokio::time::timeout(Duration::ZERO, writes.next()).await;
    assert!(written.is_err(), "a host came back, and {written:?} was written");
}

/// An agent that does all it is told, or nothing.
#[derive(Debug)]
struct Obeying(bool);

impl AgentLink for Obeying {
    fn request(&self, command: Command, _patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        let outcome = if self.0 {
            Ok(ReplyBody::Accepted)
        } else {
            Err(Refusal::Failed("the disk is full".to_owned()))
        };
        Box::pin(async move { Ok(Reply { operation: command.operation, outcome }) })
    }

    fn received(&self) -> u64 {
        0
    }

    fn close(&self, _code: RefusalCode, _text: &str) {}

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_certificate_counts_from_the_moment_in_which_its_host_has_put_it_to_use() {
    let stage = Stage::with_vms(1).await;
    let service = stage.open_unheard(stage.store().await as Arc<dyn Store>).await;
    let host = service.hosts()[0].host.id;
    let known = || service.certificate_ends(host);
    for (obeys, expected) in [(false, None), (true, Some(Timestamp(7)))] {
        let agent = AgentHandle::over(1, Arc::new(Obeying(obeys)));
        agent.queue().push_certificate("PEM".to_owned(), Timestamp(7));
        let telling = tokio::spawn(teller::tell(service.clone(), host, agent.clone()));
        // It is told and answered within this thread.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(known(), expected);
        telling.abort();
    }
}
