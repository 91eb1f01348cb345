//! Neighbouring releases over real QUIC: an agent of the version before at this coordinator, and this agent at a coordinator
//! of the version before. Each report is understood; what the older side has no word for is not known, and nothing else
//! is lost.

use reeve_common::protocol::{Event, Hello, HostReport, Welcome};
use reeve_common::quic::server_endpoint;
use reeve_common::storage::LockManager;
use reeve_common::tls::coordinator_server_config;
use reeve_common::wire::frame::{FrameReader, write_frame};
use reeve_common::wire::limits::{EVENT_FRAME_MAX, HANDSHAKE_FRAME_MAX};
use reeve_common::wire::message::Message as _;
use reeve_common::wire::version::{CURRENT, MIN_SUPPORTED, ProtocolVersion};

use crate::support::{Fleet, clock, connected, dial, hello, host, loopback, now, raw_connection, welcome};

const BEFORE: ProtocolVersion = ProtocolVersion(CURRENT.0 - 1);
/// The first byte of a stream of events.
const EVENTS: u8 = 1;

fn report() -> HostReport {
    HostReport {
        hypervisor_reachable: true,
        vms: Vec::new(),
        foreign: Vec::new(),
        pools: Vec::new(),
        sizes: Vec::new(),
        answers: Vec::new(),
        lock_manager: LockManager::Off,
    }
}

/// `reeve`, and the versions that are spoken.
fn opening(versions: &[ProtocolVersion]) -> Vec<u8> {
    let numbers = versions.iter().flat_map(|version| version.0.to_be_bytes());
    b"reeve".iter().copied().chain(numbers).collect()
}

#[tokio::test]
async fn an_agent_of_the_version_before_is_let_in_and_understood() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let connection = raw_connection(&fleet, port.address, 1).await;
    let (mut control, receiver) = connection.open_bi().await.unwrap();
    let mut reader = FrameReader::new(receiver, HANDSHAKE_FRAME_MAX);
    write_frame(&mut control, &opening(&[MIN_SUPPORTED, BEFORE]), 256).await.unwrap();
    let choice = reader.next().await.unwrap().unwrap();
    assert_eq!(choice, opening(&[BEFORE, MIN_SUPPORTED, CURRENT]));
    write_frame(&mut control, &hello(&host(1)).encode(BEFORE).unwrap(), HANDSHAKE_FRAME_MAX).await.unwrap();
    let pending = port.next().await.unwrap();
    assert_eq!(pending.version(), BEFORE);
    let mut coordinator = pending.welcome(welcome(), now()).await.unwrap();
    Welcome::decode(BEFORE, &reader.next().await.unwrap().unwrap()).unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    write_frame(&mut stream, &[EVENTS], 64).await.unwrap();
    let event = Event::Report(report()).encode(BEFORE).unwrap();
    write_frame(&mut stream, &event, EVENT_FRAME_MAX).await.unwrap();
    let told = coordinator.take_events().unwrap().recv().await.unwrap();
    assert_eq!(told, Event::Report(HostReport { lock_manager: LockManager::Unknown, ..report() }));

    // An agent of this version says it.
    let (agent, mut coordinator) = connected(&fleet, &mut port, 2).await;
    agent.send_event(Event::Report(report())).await.unwrap();
    assert_eq!(coordinator.take_events().unwrap().recv().await.unwrap(), Event::Report(report()));
}

#[tokio::test]
async fn this_agent_speaks_as_a_coordinator_of_the_version_before_understands() {
    let fleet = Fleet::new();
    let credentials = fleet.authority.server_credentials(now()).unwrap();
    let config = coordinator_server_config(&credentials, clock()).unwrap();
    let endpoint = server_endpoint(loopback(), config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let older = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut sender, receiver) = connection.accept_bi().await.unwrap();
        let mut reader = FrameReader::new(receiver, HANDSHAKE_FRAME_MAX);
        let offered = reader.next().await.unwrap().unwrap();
        assert_eq!(offered, opening(&[MIN_SUPPORTED, CURRENT]));
        write_frame(&mut sender, &opening(&[BEFORE, MIN_SUPPORTED, BEFORE]), 256).await.unwrap();
        Hello::decode(BEFORE, &reader.next().await.unwrap().unwrap()).unwrap();
        write_frame(&mut sender, &welcome().encode(BEFORE).unwrap(), HANDSHAKE_FRAME_MAX).await.unwrap();
        let mut events = FrameReader::new(connection.accept_uni().await.unwrap(), EVENT_FRAME_MAX);
        assert_eq!(events.next().await.unwrap().unwrap(), [EVENTS]);
        Event::decode(BEFORE, &events.next().await.unwrap().unwrap()).unwrap()
    });
    let (agent, _) = dial(address, &fleet.host_credentials(&host(1), now()), hello(&host(1))).await.unwrap();
    agent.send_event(Event::Report(report())).await.unwrap();
    let told = older.await.unwrap();
    assert_eq!(told, Event::Report(HostReport { lock_manager: LockManager::Unknown, ..report() }));
}
