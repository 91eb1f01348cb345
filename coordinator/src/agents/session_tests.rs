//! Holds sessions to their cost when a whole fleet comes back: what a host that has what its record says costs the store.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, HostId, OperationId, RealmName};
use reeve_common::inventory::HostInventory;
use reeve_common::protocol::{Command, Event, Hello, HostReport, Refusal, Reply, ReplyBody, Welcome};
use reeve_common::tls::Identity;
use reeve_common::vm::{ObservedVm, VmObservation};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use tokio::sync::{mpsc, watch};

use super::super::{AgentHandle, AgentLink, GreetingAgent, LinkFuture, Welcomed, teller};
use super::serve;
use crate::service::Service;
use crate::service::workflows_tests::Stage;
use crate::store::{MemoryStore, Store};

/// When the certificates expire by which agents prove who they are.
const CERTIFICATE_ENDS: Timestamp = Timestamp(1_700_000_000_000);

/// An agent that says hello and reports, and answers nothing.
struct Returning {
    identity: Identity,
    hello: Hello,
    events: mpsc::Receiver<Event>,
    samples: watch::Receiver<Option<Arc<reeve_common::utilization::HostSample>>>,
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
    fn request(&self, _command: Command, _patience: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(std::future::pending())
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

#[tokio::test]
async fn a_host_that_comes_back_with_what_it_had_costs_the_store_nothing() {
    let stage = Stage::with_vms(4).await;
    let store: Arc<MemoryStore> = stage.store().await;
    let service = stage.open_unheard(Arc::clone(&store) as Arc<dyn Store>).await;
    let mut writes = store.watch("").await.unwrap();
    let (over, is_over) = watch::channel(false);
    let mut sessions = Vec::new();
    for view in service.hosts() {
        let host = view.host.id;
        let (event, events) = mpsc::channel(1);
        let (_sample, samples) = watch::channel(None);
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
        let session = tokio::spawn(serve(service.clone(), agent, u64::from(host.0)));
        event.send(Event::Report(report(&service, host))).await.unwrap();
        sessions.push((session, event, _sample));
    }
    let all = service.hosts().len();
    while service.status().hosts.reported < all {
        tokio::task::yield_now().await;
    }
    let ends: Vec<_> = service.hosts().iter().map(|view| service.certificate_ends(view.host.id)).collect();
    assert_eq!(ends, vec![Some(CERTIFICATE_ENDS); all], "it is known until when each host is let in");
    over.send_replace(true);
    for (session, event, sample) in sessions {
        drop((event, sample));
        session.await.unwrap();
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
