//! A coordinator that died and came back: its agents learn so from it, and not from a long silence.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reeve_common::clock::{Clock, SystemClock};
use reeve_common::lasting_keys::LastingKeys;
use reeve_common::network_thread::NetworkThread;
use reeve_common::quic::IDLE_TIMEOUT;
use reeve_common::wire::CloseReason;
use reeve_common::wire::coordinator_end::{CoordinatorEnd, accept};
use reeve_coordinator::agents;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::{Fleet, PATIENCE, clock, dial, hello, host, loopback, now, welcome};

/// A coordinator's port, as the coordinator opens it, with the authority's lasting keys or with others.
pub(crate) fn open(fleet: &Fleet, keys: &LastingKeys) -> quinn::Endpoint {
    open_at(fleet, keys, clock())
}

/// The same by another clock.
pub(crate) fn open_at(fleet: &Fleet, keys: &LastingKeys, clock: Arc<dyn Clock>) -> quinn::Endpoint {
    let credentials = fleet.authority.server_credentials(now()).unwrap();
    agents::listen(loopback(), &credentials, keys, clock).unwrap()
}

/// One address behind which one coordinator is replaced by another: the first goes on, and nobody reaches it any more,
/// as if it had been killed without a word.
async fn stand_in(mut to: watch::Receiver<SocketAddr>) -> SocketAddr {
    let near = UdpSocket::bind(loopback()).await.unwrap();
    let address = near.local_addr().unwrap();
    tokio::spawn(async move {
        let mut agent = None;
        let (mut out, mut back) = ([0; 2048], [0; 2048]);
        loop {
            let coordinator = *to.borrow_and_update();
            let far = UdpSocket::bind(loopback()).await.unwrap();
            far.connect(coordinator).await.unwrap();
            loop {
                tokio::select! {
                    changed = to.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    received = near.recv_from(&mut out) => {
                        let (length, from) = received.unwrap();
                        agent = Some(from);
                        far.send(&out[..length]).await.unwrap();
                    }
                    received = far.recv(&mut back) => {
                        let length = received.unwrap();
                        if let Some(agent) = agent {
                            near.send_to(&back[..length], agent).await.unwrap();
                        }
                    }
                }
            }
        }
    });
    address
}

async fn welcomed(endpoint: &quinn::Endpoint) -> CoordinatorEnd {
    let incoming = endpoint.accept().await.unwrap();
    accept(incoming).await.unwrap().welcome(welcome(), now()).await.unwrap()
}

/// How long an agent takes to notice that the coordinator was replaced by one with these keys, and what it makes of it.
async fn notices_after(fleet: &Fleet, keys_after: &LastingKeys) -> (Duration, CloseReason) {
    let first = open(fleet, &fleet.authority.lasting_keys());
    let (behind, target) = watch::channel(first.local_addr().unwrap());
    let address = stand_in(target).await;
    let credentials = fleet.host_credentials(&host(1), now());
    let dialling = tokio::spawn(async move { dial(address, &credentials, hello(&host(1))).await });
    let _unreachable_soon = welcomed(&first).await;
    let (agent, _) = dialling.await.unwrap().unwrap();

    let second = open(fleet, keys_after);
    behind.send(second.local_addr().unwrap()).unwrap();
    let replaced_at: Instant = SystemClock.monotonic();
    let reason = timeout(PATIENCE, agent.closed()).await.expect("it never noticed");
    (SystemClock.monotonic().duration_since(replaced_at), reason)
}

#[tokio::test]
async fn a_restarted_coordinator_tells_its_agents_at_their_next_keep_alive() {
    let fleet = Fleet::new();
    let (noticed, reason) = notices_after(&fleet, &fleet.authority.lasting_keys()).await;
    assert_eq!(reason, CloseReason::Forgotten);
    assert!(noticed < IDLE_TIMEOUT / 2, "{noticed:?}");
}

/// A fleet's first words to the successor come within one interval of keeping alive, many of them in the same moment.
const WORDS_AT_ONCE: u8 = 100;
/// About as long as a keep-alive.
const WORD_LENGTH: usize = 43;

#[tokio::test]
async fn a_whole_fleet_is_told_at_its_first_word_and_nobody_is_left_to_a_long_silence() {
    let fleet = Fleet::new();
    let endpoint = open(&fleet, &fleet.authority.lasting_keys());
    let agents = UdpSocket::bind(loopback()).await.unwrap();
    agents.connect(endpoint.local_addr().unwrap()).await.unwrap();
    for number in 1..=WORDS_AT_ONCE {
        // The first bit says that a connection stands, and its id, which nobody knows, follows.
        let mut word = [number; WORD_LENGTH];
        word[0] = 0b0100_0000;
        agents.send(&word).await.unwrap();
    }
    let mut answer = [0; 2048];
    for told in 0..WORDS_AT_ONCE {
        let length = timeout(PATIENCE, agents.recv(&mut answer)).await;
        let length = length.unwrap_or_else(|_| panic!("only {told} of {WORDS_AT_ONCE} were told")).unwrap();
        assert!(length < WORD_LENGTH, "an answer of {length} bytes would make a flood worse");
    }
}

#[tokio::test]
async fn a_port_is_read_while_all_workers_are_busy() {
    let fleet = Fleet::new();
    let network = NetworkThread::start("test-port").unwrap();
    let endpoint = network.open(|| open(&fleet, &fleet.authority.lasting_keys()));
    let agent = std::net::UdpSocket::bind(loopback()).unwrap();
    agent.set_read_timeout(Some(PATIENCE)).unwrap();
    agent.connect(endpoint.local_addr().unwrap()).unwrap();
    let mut word = [1; WORD_LENGTH];
    word[0] = 0b0100_0000;
    agent.send(&word).unwrap();
    // This test's runtime has one worker, and here it stands still.
    agent.recv(&mut [0; 2048]).expect("nobody has read the port");
}

#[tokio::test]
async fn somebody_else_at_its_address_cannot_end_the_connection() {
    let fleet = Fleet::new();
    let (noticed, reason) = notices_after(&fleet, &LastingKeys::of(b"another secret")).await;
    assert_eq!(reason, CloseReason::Silent);
    assert!(noticed >= IDLE_TIMEOUT / 2, "{noticed:?}");
    assert!(noticed < IDLE_TIMEOUT + A_LOOK, "{noticed:?}");
}

/// Much longer than it takes until somebody looks whether anything was heard, which is a second.
const A_LOOK: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_coordinator_gives_up_an_agent_that_it_hears_no_more() {
    let fleet = Fleet::new();
    let coordinator = open(&fleet, &fleet.authority.lasting_keys());
    let (behind, target) = watch::channel(coordinator.local_addr().unwrap());
    let address = stand_in(target).await;
    let credentials = fleet.host_credentials(&host(1), now());
    let dialling = tokio::spawn(async move { dial(address, &credentials, hello(&host(1))).await });
    let end = welcomed(&coordinator).await;
    let _agent = dialling.await.unwrap().unwrap();
    let nobody = UdpSocket::bind(loopback()).await.unwrap();
    behind.send(nobody.local_addr().unwrap()).unwrap();
    let gone_at: Instant = SystemClock.monotonic();
    assert_eq!(timeout(PATIENCE, end.closed()).await.expect("it never noticed"), CloseReason::Silent);
    let noticed = gone_at.elapsed();
    assert!(noticed >= IDLE_TIMEOUT / 2 && noticed < IDLE_TIMEOUT + A_LOOK, "{noticed:?}");
}

/// Long enough for the datagrams that repeat a first one.
const WAITS_IN_LINE: Duration = Duration::from_secs(3);
/// Of full size each, and ten thousand hosts wait at once after a restart.
const DATAGRAMS_OF_WHO_WAITS: usize = 5;

#[tokio::test]
async fn who_waits_in_line_sends_little() {
    let fleet = Fleet::new();
    let coordinator = UdpSocket::bind(loopback()).await.unwrap();
    let address = coordinator.local_addr().unwrap();
    let credentials = fleet.host_credentials(&host(1), now());
    let dialling = dial(address, &credentials, hello(&host(1)));
    tokio::pin!(dialling);
    let (mut datagrams, mut datagram) = (0, [0; 2048]);
    let counting = async {
        while coordinator.recv(&mut datagram).await.is_ok() {
            datagrams += 1;
        }
    };
    tokio::select! {
        _ = &mut dialling => panic!("nobody has answered"),
        () = counting => {}
        () = tokio::time::sleep(WAITS_IN_LINE) => {}
    }
    assert!((1..=DATAGRAMS_OF_WHO_WAITS).contains(&datagrams), "{datagrams} were sent in {WAITS_IN_LINE:?}");
}
