//! More agents at the door than may come in at once: they wait in a line, and nobody dials twice.

use std::time::Duration;

use reeve_common::admission::Admission;
use reeve_common::ids::HostId;
use reeve_common::quic::{HandshakeGate, IDLE_TIMEOUT, server_endpoint};
use reeve_common::tls::Identity;
use reeve_common::wire::agent_end::{AgentEnd, ConnectError};
use reeve_common::wire::coordinator_end::{CoordinatorEnd, accept};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{Fleet, PATIENCE, clock, dial, hello, host, loopback, now, welcome};

/// Longer than a knock takes on the loopback, with the proof of address.
const A_MOMENT: Duration = Duration::from_millis(300);

struct Door {
    fleet: Fleet,
    admission: Admission,
    address: std::net::SocketAddr,
}

impl Door {
    /// One handshake at a time, addresses always to be proved, and so long a line.
    fn open(line_max: usize) -> Self {
        let fleet = Fleet::new();
        let credentials = fleet.authority.server_credentials(now()).unwrap();
        let config = reeve_common::tls::coordinator_server_config(&credentials, clock()).unwrap();
        let endpoint = server_endpoint(loopback(), config).unwrap();
        let address = endpoint.local_addr().unwrap();
        let admission = Admission::with_line(endpoint, HandshakeGate::with_places(1, 0), line_max);
        Self { fleet, admission, address }
    }

    fn knock(&self, number: u32) -> JoinHandle<Result<AgentEnd, ConnectError>> {
        let credentials = self.fleet.host_credentials(&host(number), now());
        let address = self.address;
        tokio::spawn(async move {
            dial(address, &credentials, hello(&host(number))).await.map(|(agent, _)| agent)
        })
    }

    /// The next one's whole handshake; its place is free again after it.
    async fn let_in(&mut self) -> (HostId, CoordinatorEnd) {
        let (incoming, place) = timeout(PATIENCE, self.admission.next()).await.unwrap().unwrap();
        assert!(incoming.remote_address_validated(), "a peer came in that had not proved its address");
        let pending = accept(incoming).await.unwrap();
        let Identity::Host { host, .. } = pending.identity.clone() else { panic!("no host") };
        let end = pending.welcome(welcome(), now()).await.unwrap();
        drop(place);
        (host, end)
    }
}

#[tokio::test]
async fn who_finds_no_place_waits_and_comes_in_before_those_who_came_later() {
    let mut door = Door::open(8);
    let first = door.knock(1);
    let (incoming, place) = timeout(PATIENCE, door.admission.next()).await.unwrap().unwrap();
    let mut waiting = Vec::new();
    for number in 2..=3 {
        waiting.push(door.knock(number));
        let early = timeout(A_MOMENT, door.admission.next()).await;
        assert!(early.is_err(), "a second peer was let in where there is one place");
    }
    let _first = accept(incoming).await.unwrap().welcome(welcome(), now()).await.unwrap();
    drop(place);
    let mut came_in = Vec::new();
    let mut ends = Vec::new();
    for _ in 2..=3 {
        let (host, end) = door.let_in().await;
        came_in.push(host);
        ends.push(end);
    }
    assert_eq!(came_in, [HostId(2), HostId(3)]);
    for agent in [first].into_iter().chain(waiting) {
        agent.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_finds_the_line_full_comes_in_later_without_dialling_again() {
    let mut door = Door::open(1);
    let agents: Vec<_> = (1..=4).map(|number| door.knock(number)).collect();
    let mut ends = Vec::new();
    for _ in 1..=4 {
        ends.push(door.let_in().await);
    }
    for agent in agents {
        agent.await.unwrap().unwrap();
    }
}

/// A little longer than a connection may be silent.
const LONG: Duration = IDLE_TIMEOUT.saturating_add(Duration::from_secs(1));

#[tokio::test]
async fn who_waits_longer_than_a_connection_may_be_silent_comes_in_when_its_turn_is_there() {
    let mut door = Door::open(8);
    let first = door.knock(1);
    let (_being_served, place) = timeout(PATIENCE, door.admission.next()).await.unwrap().unwrap();
    let second = door.knock(2);
    assert!(timeout(LONG, door.admission.next()).await.is_err(), "there is one place");
    drop(place);
    let (host, end) = door.let_in().await;
    assert_eq!(host, HostId(2));
    let _agent = second.await.unwrap().unwrap();
    // Nor is it given up for the time that it has waited.
    assert!(timeout(A_MOMENT, end.closed()).await.is_err());
    first.abort();
}
