//! Signs of life: what an agent sends when it hears nothing, and after it was held up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use reeve_common::clock::{Clock, SystemClock};
use reeve_common::quic::KEEP_ALIVE_INTERVAL;
use reeve_common::wire::agent_end::AgentEnd;
use reeve_common::wire::coordinator_end::CoordinatorEnd;
use tokio::net::UdpSocket;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::support::{AgentPort, Fleet, PATIENCE, dial, hello, host, now, welcome};

/// A direction between an agent and the coordinator.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    ToCoordinator,
    ToAgent,
}

/// Passes datagrams on between one agent and the coordinator, each way until it is told not to.
pub(crate) struct Relay {
    address: SocketAddr,
    held_back: Arc<[AtomicBool; 2]>,
}

impl Relay {
    pub(crate) async fn open(coordinator: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(coordinator).await.unwrap();
        let address = near.local_addr().unwrap();
        let held_back = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let holds = Arc::clone(&held_back);
        let passes = move |way: Way| !holds[way as usize].load(Ordering::Relaxed);
        tokio::spawn(async move {
            let mut agent = None;
            let (mut out, mut back) = ([0; 2048], [0; 2048]);
            loop {
                tokio::select! {
                    received = near.recv_from(&mut out) => {
                        let (length, from) = received.unwrap();
                        agent = Some(from);
                        if passes(Way::ToCoordinator) {
                            far.send(&out[..length]).await.unwrap();
                        }
                    }
                    received = far.recv(&mut back) => {
                        let length = received.unwrap();
                        if let (Some(agent), true) = (agent, passes(Way::ToAgent)) {
                            near.send_to(&back[..length], agent).await.unwrap();
                        }
                    }
                }
            }
        });
        Self { address, held_back }
    }

    pub(crate) fn hold_back(&self, way: Way) {
        self.held_back[way as usize].store(true, Ordering::Relaxed);
    }
}

/// Both ends of a connection that goes through the relay.
pub(crate) async fn connected_through(
    relay: &Relay,
    fleet: &Fleet,
    port: &mut AgentPort,
) -> (AgentEnd, CoordinatorEnd) {
    let (address, identity) = (relay.address, host(1));
    let credentials = fleet.host_credentials(&identity, now());
    let dialling = tokio::spawn(async move { dial(address, &credentials, hello(&identity)).await });
    let coordinator = port.next().await.unwrap().welcome(welcome(), now()).await.unwrap();
    let (agent, _) = dialling.await.unwrap().unwrap();
    (agent, coordinator)
}

#[tokio::test]
async fn an_agent_that_hears_nothing_is_heard_as_often_as_ever() {
    const WATCHED_FOR: Duration = Duration::from_secs(6);
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let relay = Relay::open(port.address).await;
    let (_agent, coordinator) = connected_through(&relay, &fleet, &mut port).await;
    relay.hold_back(Way::ToAgent);

    let begun = SystemClock.monotonic();
    let (mut received, mut heard, mut longest) = (coordinator.received(), begun, Duration::ZERO);
    while begun.elapsed() < WATCHED_FOR {
        // A span of silence is what is measured: there is no event.
        tokio::time::sleep(Duration::from_millis(20)).await;
        longest = longest.max(heard.elapsed());
        if coordinator.received() != received {
            (received, heard) = (coordinator.received(), SystemClock.monotonic());
        }
    }
    assert!(longest < KEEP_ALIVE_INTERVAL * 3 / 2, "it was silent for {longest:?}");
}

/// Where a silent host is to be lost sooner than an agent's own signs would allow, the coordinator asks.
#[tokio::test]
async fn an_agent_that_is_asked_gives_a_sign_at_once() {
    const AT_ONCE: Duration = Duration::from_secs(1);
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let relay = Relay::open(port.address).await;
    let (_agent, coordinator) = connected_through(&relay, &fleet, &mut port).await;
    let comes = async |before: u64| {
        while coordinator.received() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..3 {
        // Its own sign has just come, so the next thing that comes so soon is an answer.
        tokio::time::timeout(PATIENCE, comes(coordinator.received())).await.unwrap();
        tokio::time::sleep(AT_ONCE / 4).await;
        let before = coordinator.received();
        coordinator.nudge();
        tokio::time::timeout(AT_ONCE, comes(before)).await.unwrap();
    }
}

/// One packet after a pause could be the one of twenty that a bad network loses.
#[tokio::test]
async fn an_agent_that_was_held_up_says_several_times_that_it_is_there() {
    const HELD_UP_FOR: Duration = Duration::from_secs(2);
    const SIGNS: u64 = 5;
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (address, identity) = (port.address, host(1));
    let credentials = fleet.host_credentials(&identity, now());
    let (hold_up, held_up) = oneshot::channel::<()>();
    let (go_on, goes_on) = oneshot::channel::<()>();
    // An agent with a thread of its own, which is what stands still.
    let agent = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (agent, _) = dial(address, &credentials, hello(&identity)).await.unwrap();
            held_up.await.unwrap();
            // Whatever the connection has begun waits for its time by now.
            tokio::task::yield_now().await;
            thread::sleep(HELD_UP_FOR);
            go_on.send(()).unwrap();
            agent.closed().await
        })
    });
    let coordinator = port.next().await.unwrap().welcome(welcome(), now()).await.unwrap();
    hold_up.send(()).unwrap();
    goes_on.await.unwrap();
    let before = coordinator.received();
    tokio::time::timeout(PATIENCE, async {
        while coordinator.signs() < SIGNS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(coordinator.received() > before);
    drop(coordinator);
    agent.join().unwrap();
}
