//! An agent that comes back: a coordinator that heard it at its address gave it its word, and that is believed once, also
//! by the coordinator's next life, and by nobody else.

use std::sync::{Arc, Mutex};

use reeve_common::quic::client_endpoint;
use reeve_common::tls::agent_client_config;
use reeve_common::wire::agent_end::AgentEnd;
use reeve_common::wire::coordinator_end::accept;

use crate::restart::open;
use crate::support::{Fleet, clock, hello, host, loopback, now, welcome};

/// An agent's configuration, which it keeps for as long as its certificate.
fn configuration(fleet: &Fleet) -> quinn::ClientConfig {
    agent_client_config(&fleet.host_credentials(&host(1), now()), clock()).unwrap()
}

/// Connects once. Answers whether the agent's address counted as proved by its first datagram.
async fn is_proved_at_first(coordinator: &quinn::Endpoint, configuration: &quinn::ClientConfig) -> bool {
    let address = coordinator.local_addr().unwrap();
    let socket = client_endpoint(loopback()).unwrap();
    let dialling = AgentEnd::connect_with(&socket, address, configuration.clone(), hello(&host(1)));
    let letting_in = async {
        let incoming = coordinator.accept().await.unwrap();
        let is_proved = incoming.remote_address_validated();
        let end = accept(incoming).await.unwrap().welcome(welcome(), now()).await.unwrap();
        (is_proved, end)
    };
    let (dialled, (is_proved, _end)) = tokio::join!(dialling, letting_in);
    dialled.unwrap();
    is_proved
}

#[tokio::test]
async fn who_was_heard_at_its_address_need_not_prove_it_again_also_after_a_restart() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let agent = configuration(&fleet);
    let keys = fleet.authority.lasting_keys();
    let first = open(&fleet, &keys);
    assert!(!is_proved_at_first(&first, &agent).await, "it was never heard");
    assert!(is_proved_at_first(&first, &agent).await);
    let second = open(&fleet, &keys);
    assert!(is_proved_at_first(&second, &agent).await, "its next life");
    // Who does not know the secret lets it in all the same, and asks for the proof if it is busy.
    let stranger = open(&fleet, &other.authority.lasting_keys());
    assert!(!is_proved_at_first(&stranger, &agent).await);
    assert!(!is_proved_at_first(&second, &configuration(&fleet)).await, "another agent has no word");
}

/// Says the first word that it was given again and again.
#[derive(Debug, Default)]
struct OneWord(Mutex<Option<bytes::Bytes>>);

impl quinn::TokenStore for OneWord {
    fn insert(&self, _server_name: &str, token: bytes::Bytes) {
        self.0.lock().unwrap().get_or_insert(token);
    }

    fn take(&self, _server_name: &str) -> Option<bytes::Bytes> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_word_counts_once() {
    let fleet = Fleet::new();
    let coordinator = open(&fleet, &fleet.authority.lasting_keys());
    let mut agent = configuration(&fleet);
    agent.token_store(Arc::new(OneWord::default()));
    let mut proved = Vec::new();
    for _ in 0..4 {
        proved.push(is_proved_at_first(&coordinator, &agent).await);
    }
    assert_eq!(proved, [false, true, false, false]);
}

#[tokio::test]
async fn a_dial_that_nobody_answers_spends_no_word() {
    let fleet = Fleet::new();
    let (agent, keys) = (configuration(&fleet), fleet.authority.lasting_keys());
    let coordinator = open(&fleet, &keys);
    is_proved_at_first(&coordinator, &agent).await;
    let nobody = std::net::UdpSocket::bind(loopback()).unwrap();
    let socket = client_endpoint(loopback()).unwrap();
    let address = nobody.local_addr().unwrap();
    for _ in 0..3 {
        let dialling = AgentEnd::connect_with(&socket, address, agent.clone(), hello(&host(1)));
        let heard = async {
            let nobody = tokio::net::UdpSocket::from_std(nobody.try_clone().unwrap()).unwrap();
            nobody.recv(&mut [0; 2048]).await.unwrap();
        };
        nobody.set_nonblocking(true).unwrap();
        tokio::select! {
            _ = dialling => panic!("nobody has answered"),
            () = heard => {}
        }
    }
    assert!(is_proved_at_first(&open(&fleet, &keys), &agent).await);
}
