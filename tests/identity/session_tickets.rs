//! An agent that comes back goes on with its session: certificates are not looked at again then, and all else is.
//!
//! Whether they are is seen by a trap: a coordinator that knows the keys of the one before it and proves itself with the
//! certificate of another authority, which takes no host of this one. No full handshake with it succeeds.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::ids::{HostId, NAME_LENGTH_MAX};
use reeve_common::quic::client_endpoint;
use reeve_common::text::chain;
use reeve_common::tls::{Identity, agent_client_config};
use reeve_common::wire::RefusalCode;
use reeve_common::wire::agent_end::{AgentEnd, ConnectError};
use reeve_common::wire::coordinator_end::{AcceptError, accept, accept_wanted};
use reeve_coordinator::pki::{Authority, ServedPort, ServerCertificate};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::restart::{open, open_at};
use crate::support::{
    Fleet, HOUR, HandSetClock, PATIENCE, before, clock, hello, host, loopback, now, realm, says, welcome,
};

/// An agent's configuration, which it keeps for as long as its certificate, and the ticket with it.
fn agent_of(fleet: &Fleet) -> quinn::ClientConfig {
    agent_client_config(&fleet.host_credentials(&host(1), now()), clock()).unwrap()
}

type Refused = (ConnectError, Option<AcceptError>);

/// Connects once, and says what both sides make of it when it does not work.
async fn connects_if(
    coordinator: &quinn::Endpoint,
    agent: &quinn::ClientConfig,
    clock: &dyn Clock,
    wanted: impl FnOnce(HostId) -> Result<(), (RefusalCode, String)>,
) -> Result<(), Refused> {
    let socket = client_endpoint(loopback()).unwrap();
    let address = coordinator.local_addr().unwrap();
    let dialling = AgentEnd::connect_with(&socket, address, agent.clone(), hello(&host(1)));
    let letting_in = async {
        match accept_wanted(coordinator.accept().await.unwrap(), clock, wanted).await {
            Ok(pending) => (pending.welcome(welcome(), clock.now()).await.ok(), None),
            Err(error) => (None, Some(error)),
        }
    };
    let (dialled, (_end, error)) = tokio::join!(dialling, letting_in);
    dialled.map(|_| ()).map_err(|dialling| (dialling, error))
}

async fn connects(coordinator: &quinn::Endpoint, agent: &quinn::ClientConfig) -> Result<(), Refused> {
    connects_if(coordinator, agent, clock().as_ref(), |_| Ok(())).await
}

#[tokio::test]
async fn an_agent_goes_on_with_its_session_with_the_coordinators_next_life_and_with_nobody_else() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let (agent, keys) = (agent_of(&fleet), fleet.authority.lasting_keys());
    let trap = open(&other, &fleet.authority.lasting_keys());
    let (untrusting, _) = connects(&trap, &agent).await.unwrap_err();
    assert!(matches!(untrusting, ConnectError::CoordinatorRefused { .. }), "the trap works: {untrusting}");

    let first = open(&fleet, &keys);
    connects(&first, &agent).await.unwrap();
    for life in 2..=4 {
        connects(&trap, &agent).await.unwrap_or_else(|_| panic!("the session ends with life {life}"));
    }
    let reopened = Authority::open(&fleet.path().join("pki"), now()).unwrap().lasting_keys();
    connects(&open(&other, &reopened), &agent).await.unwrap();
    let stranger = open(&other, &other.authority.lasting_keys());
    assert!(connects(&stranger, &agent).await.is_err(), "who cannot open the ticket proves nothing");
    connects(&first, &agent).await.unwrap();
    assert!(connects(&trap, &agent_of(&fleet)).await.is_err(), "another agent has no session");
}

#[tokio::test]
async fn a_renewed_certificate_of_the_coordinator_ends_no_session_and_no_proof_of_address() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let (agent, keys) = (agent_of(&fleet), fleet.authority.lasting_keys());
    connects(&open(&fleet, &keys), &agent).await.unwrap();
    let trap = open(&other, &keys);
    let later = HandSetClock::at(now());
    let (authority, shared) = (Arc::clone(&other.authority), Arc::clone(&later) as Arc<dyn Clock>);
    let ports = vec![ServedPort::Agents(trap.clone(), keys)];
    let current = authority.server_credentials(now()).unwrap();
    let mut certificate = ServerCertificate::new(authority, ports, current, shared);
    later.advance(20 * HOUR);
    assert!(certificate.renew_when_due().unwrap());
    let socket = client_endpoint(loopback()).unwrap();
    let dialling =
        AgentEnd::connect_with(&socket, trap.local_addr().unwrap(), agent.clone(), hello(&host(1)));
    let letting_in = async {
        let incoming = trap.accept().await.unwrap();
        assert!(incoming.remote_address_validated(), "its address is to be proved anew");
        accept_wanted(incoming, later.as_ref(), |_| Ok(())).await.unwrap().welcome(welcome(), now()).await
    };
    let (dialled, _end) = tokio::join!(dialling, letting_in);
    dialled.unwrap();
}

#[tokio::test]
async fn a_session_does_not_outlive_its_certificate() {
    let fleet = Fleet::new();
    let later = HandSetClock::at(now());
    let credentials = fleet.host_credentials(&host(1), before(23 * HOUR));
    let [behind, agent] = [clock(), Arc::clone(&later) as Arc<dyn Clock>]
        .map(|clock| agent_client_config(&credentials, clock).unwrap());
    let coordinator = open_at(&fleet, &fleet.authority.lasting_keys(), Arc::clone(&later) as Arc<dyn Clock>);
    for agent in [&behind, &agent] {
        connects_if(&coordinator, agent, later.as_ref(), |_| Ok(())).await.unwrap();
    }
    later.advance(2 * HOUR);
    let expect_nobody = |_| panic!("a host with an expired certificate was asked for");
    let (dialling, accepting) =
        connects_if(&coordinator, &behind, later.as_ref(), expect_nobody).await.unwrap_err();
    // TLS goes on with the session and the coordinator does not; who knows the time does not try.
    assert!(matches!(dialling, ConnectError::Refused { code: RefusalCode::CertificateExpired, .. }));
    says(&chain(&accepting.unwrap()), &["has expired"]);
    let (dialling, accepting) =
        connects_if(&coordinator, &agent, later.as_ref(), expect_nobody).await.unwrap_err();
    assert!(matches!(dialling, ConnectError::CertificateRefused { .. }), "{dialling}");
    says(&chain(&accepting.unwrap()), &["has expired"]);
}

#[tokio::test]
async fn a_host_that_was_removed_is_refused_whatever_session_it_had() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let (agent, keys) = (agent_of(&fleet), fleet.authority.lasting_keys());
    connects(&open(&fleet, &keys), &agent).await.unwrap();
    let trap = open(&other, &keys);
    let removed = |_| Err((RefusalCode::RemovedHost, "host 1 was removed at noon".to_owned()));
    let (dialling, accepting) = connects_if(&trap, &agent, clock().as_ref(), removed).await.unwrap_err();
    says(&chain(&dialling), &["has been removed", "removed at noon"]);
    assert!(matches!(accepting, Some(AcceptError::NotWanted { .. })));
}

#[tokio::test]
async fn a_dial_that_nobody_answers_spends_the_ticket_and_not_the_way_in() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let (agent, keys) = (agent_of(&fleet), fleet.authority.lasting_keys());
    let coordinator = open(&fleet, &keys);
    connects(&coordinator, &agent).await.unwrap();
    let nobody = UdpSocket::bind(loopback()).await.unwrap();
    let socket = client_endpoint(loopback()).unwrap();
    let dialling =
        AgentEnd::connect_with(&socket, nobody.local_addr().unwrap(), agent.clone(), hello(&host(1)));
    tokio::select! {
        _ = dialling => panic!("nobody has answered"),
        heard = nobody.readable() => heard.unwrap(),
    }
    assert!(connects(&open(&other, &keys), &agent).await.is_err(), "a ticket was used twice");
    connects(&coordinator, &agent).await.unwrap();
    connects(&open(&other, &keys), &agent).await.unwrap_or_else(|_| panic!("no new ticket"));
}

/// What a whole fleet in the line sends and the door keeps for each: more than one datagram would double both.
#[tokio::test]
async fn the_first_word_of_an_agent_that_comes_back_fits_into_one_datagram_whatever_its_realm_is_called() {
    let fleet = Fleet::new();
    let longest = Identity::Host { realm: realm(&"r".repeat(NAME_LENGTH_MAX)), host: HostId(u32::MAX) };
    let agent = agent_client_config(&fleet.host_credentials(&longest, now()), clock()).unwrap();
    let coordinator = open(&fleet, &fleet.authority.lasting_keys());
    let socket = client_endpoint(loopback()).unwrap();
    let dial = |address| AgentEnd::connect_with(&socket, address, agent.clone(), hello(&longest));
    let letting_in =
        async { accept(coordinator.accept().await.unwrap()).await.unwrap().welcome(welcome(), now()).await };
    let (dialled, _end) = tokio::join!(dial(coordinator.local_addr().unwrap()), letting_in);
    dialled.unwrap();

    let nobody = UdpSocket::bind(loopback()).await.unwrap();
    let mut datagram = [0; 2048];
    let heard = async {
        let length = nobody.recv(&mut datagram).await.unwrap();
        // The next one would follow at once; what is asked again comes after three quarters of a second.
        let next = timeout(Duration::from_millis(300), nobody.recv(&mut [0; 2048])).await;
        (length, next.is_err())
    };
    tokio::select! {
        _ = dial(nobody.local_addr().unwrap()) => panic!("nobody has answered"),
        heard = timeout(PATIENCE, heard) => assert_eq!(heard.unwrap(), (1200, true)),
    }
}
