//! Peers with a good certificate and bad manners. Whatever they send, the other side tells them so, in bounded time, and
//! goes on serving the rest.

use std::time::Duration;

use quinn::{Connection, SendStream};
use reeve_common::ids::OperationId;
use reeve_common::protocol::{Event, Hello, Welcome};
use reeve_common::quic::{HandshakeGate, server_endpoint};
use reeve_common::wire::agent_end::ConnectError;
use reeve_common::wire::coordinator_end::{AcceptError, CoordinatorEnd, HANDSHAKE_TIMEOUT, accept};
use reeve_common::wire::frame::{FrameReader, frame, write_frame};
use reeve_common::wire::limits::HANDSHAKE_FRAME_MAX;
use reeve_common::wire::message::Message;
use reeve_common::wire::version::ProtocolVersion;
use reeve_common::wire::{CloseReason, RefusalCode};
use tokio::time::{Instant, timeout};

use crate::support::{
    AgentPort, Fleet, PATIENCE, clock, connected, dial, dial_refused, hello, host, loopback, now,
    raw_connection, says, welcome,
};

const V1: ProtocolVersion = ProtocolVersion(1);

fn close_of(error: &quinn::ConnectionError) -> (RefusalCode, String) {
    match CloseReason::at_host(error) {
        CloseReason::ByPeer { code, text } => (code, text),
        other => panic!("{other}"),
    }
}

async fn closed(connection: &Connection) -> (RefusalCode, String) {
    close_of(&timeout(PATIENCE, connection.closed()).await.expect("the connection was left open"))
}

fn offer(minimum: u16, maximum: u16) -> Vec<u8> {
    let mut bytes = b"reeve".to_vec();
    bytes.extend(minimum.to_be_bytes());
    bytes.extend(maximum.to_be_bytes());
    bytes
}

/// First words that are none, each with what the coordinator calls them.
fn bad_first_words() -> Vec<(&'static str, Vec<u8>, RefusalCode, &'static str)> {
    let mut garbled_hello = frame(&offer(1, 1), 256).unwrap();
    garbled_hello.extend(frame(&[0xff; 200], 256).unwrap());
    let mut long_hello = frame(&offer(1, 1), 256).unwrap();
    long_hello.extend(u32::try_from(HANDSHAKE_FRAME_MAX + 1).unwrap().to_be_bytes());
    let mut trailing = frame(&offer(1, 1), 256).unwrap();
    let mut hello = hello(&host(1)).encode(V1).unwrap();
    hello.push(0);
    trailing.extend(frame(&hello, HANDSHAKE_FRAME_MAX).unwrap());
    vec![
        ("garbage", vec![0x55; 4096], RefusalCode::ProtocolViolation, "announced"),
        ("4 GiB", vec![0xff; 4], RefusalCode::ProtocolViolation, "frame of 4294967295 bytes"),
        ("an empty frame", vec![0; 4], RefusalCode::ProtocolViolation, "does not speak this protocol"),
        ("http", frame(b"GET / HTTP/1.1", 256).unwrap(), RefusalCode::ProtocolViolation, "does not speak"),
        (
            "a cut offer",
            frame(b"reeve\0\x01\0", 256).unwrap(),
            RefusalCode::ProtocolViolation,
            "does not speak",
        ),
        (
            "a later release",
            frame(&offer(9, 12), 256).unwrap(),
            RefusalCode::VersionMismatch,
            "versions 9 to 12",
        ),
        (
            "a reversed range",
            frame(&offer(2, 0), 256).unwrap(),
            RefusalCode::VersionMismatch,
            "upgrade the older",
        ),
        ("a garbled hello", garbled_hello, RefusalCode::ProtocolViolation, "hello makes no sense"),
        ("a long hello", long_hello, RefusalCode::ProtocolViolation, "frame of 262145 bytes"),
        ("bytes behind the hello", trailing, RefusalCode::ProtocolViolation, "1 bytes follow"),
    ]
}

#[tokio::test]
async fn bad_first_words_are_refused_with_the_reason() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    for (what, bytes, code, reason) in bad_first_words() {
        let connection = raw_connection(&fleet, port.address, 1).await;
        let (mut sender, _receiver) = connection.open_bi().await.unwrap();
        sender.write_all(&bytes).await.unwrap();
        let (told, _) = closed(&connection).await;
        assert_eq!(told, code, "{what}");
        let said = port.refusal().await;
        assert!(said.contains(reason), "{what}: {said:?}");
    }
    // And after all of them an honest agent is let in.
    drop(connected(&fleet, &mut port, 1).await);
}

#[tokio::test]
async fn first_words_that_end_in_the_middle() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let connection = raw_connection(&fleet, port.address, 1).await;
    let (mut sender, _receiver) = connection.open_bi().await.unwrap();
    sender.write_all(&[0, 0, 0, 9, b'r']).await.unwrap();
    sender.finish().unwrap();
    assert_eq!(closed(&connection).await.0, RefusalCode::ProtocolViolation);
    says(&port.refusal().await, &["in the middle of a frame"]);
}

#[tokio::test]
async fn first_words_that_drip_or_never_come() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let started = Instant::now();
    let silent = raw_connection(&fleet, port.address, 1).await;
    let dripping = raw_connection(&fleet, port.address, 2).await;
    let (mut sender, _receiver) = dripping.open_bi().await.unwrap();
    let drip = tokio::spawn(async move {
        for byte in frame(&offer(1, 1), 256).unwrap().into_iter().cycle() {
            if sender.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    });
    assert_eq!(closed(&silent).await.0, RefusalCode::TooSlow);
    assert_eq!(closed(&dripping).await.0, RefusalCode::TooSlow);
    assert!(started.elapsed() < HANDSHAKE_TIMEOUT * 2);
    says(&port.refusal().await, &["did not complete its first words"]);
    says(&port.refusal().await, &["did not complete its first words"]);
    drip.await.unwrap();
}

/// An agent that was welcomed, with its bare streams.
async fn welcomed_raw(fleet: &Fleet, port: &mut AgentPort) -> (Connection, SendStream, CoordinatorEnd) {
    let connection = raw_connection(fleet, port.address, 1).await;
    let (mut sender, receiver) = connection.open_bi().await.unwrap();
    let mut reader = FrameReader::new(receiver, HANDSHAKE_FRAME_MAX);
    write_frame(&mut sender, &offer(1, 1), 256).await.unwrap();
    reader.next().await.unwrap().unwrap();
    write_frame(&mut sender, &hello(&host(1)).encode(V1).unwrap(), HANDSHAKE_FRAME_MAX).await.unwrap();
    let coordinator = port.next().await.unwrap().welcome(welcome(), now()).await.unwrap();
    Welcome::decode(V1, &reader.next().await.unwrap().unwrap()).unwrap();
    (connection, sender, coordinator)
}

#[tokio::test]
async fn bad_replies_events_and_streams_close_the_connection() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let event = Event::Hypervisor { reachable: true }.encode(V1).unwrap();
    let events = frame(&[1], 64).unwrap();
    let mut spoiled_event = events.clone();
    spoiled_event.extend(frame(&event[..event.len() - 1], 1024).unwrap());
    let mut long_event = events.clone();
    long_event.extend([0xff, 0xff, 0xff, 0xff]);
    let mut cut_event = events.clone();
    cut_event.extend([0, 0, 1]);
    for (what, one_way, reason) in [
        ("a garbled event", Some(spoiled_event), "event"),
        ("an event of 4 GiB", Some(long_event), "frame of 4294967295 bytes"),
        ("an event that is cut", Some(cut_event), "in the middle of a frame"),
        ("a stream of no kind", Some(frame(&[9], 64).unwrap()), "no known kind"),
        ("a stream with nothing", Some(Vec::new()), "no known kind"),
        ("a garbled reply", None, "reply"),
    ] {
        let (connection, mut control, coordinator) = welcomed_raw(&fleet, &mut port).await;
        match one_way {
            Some(bytes) => {
                let mut stream = connection.open_uni().await.unwrap();
                stream.write_all(&bytes).await.unwrap();
                stream.finish().unwrap();
            }
            None => write_frame(&mut control, &[0xff; 30], 64).await.unwrap(),
        }
        let (code, text) = closed(&connection).await;
        assert_eq!(code, RefusalCode::ProtocolViolation, "{what}");
        assert!(text.contains(reason), "{what}: {text}");
        assert!(matches!(coordinator.closed().await, CloseReason::Here { .. }), "{what}");
    }
}

#[tokio::test]
async fn there_is_one_stream_of_each_kind_and_no_third() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (connection, _control, _coordinator) = welcomed_raw(&fleet, &mut port).await;
    // The second control stream is not granted at all.
    assert!(timeout(Duration::from_millis(200), connection.open_bi()).await.is_err());
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = connection.open_uni().await.unwrap();
        write_frame(&mut stream, &[1], 64).await.unwrap();
        kept.push(stream);
    }
    let (code, text) = closed(&connection).await;
    assert_eq!((code, text.as_str()), (RefusalCode::ProtocolViolation, "a second event stream"));
}

#[tokio::test]
async fn a_peer_cannot_make_the_coordinator_hold_more_than_its_window() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let (connection, _control, coordinator) = welcomed_raw(&fleet, &mut port).await;
    let mut stream = connection.open_uni().await.unwrap();
    write_frame(&mut stream, &[1], 64).await.unwrap();
    // Good events without end, and nobody takes them: writing must come to a stop.
    let event = frame(&Event::Hypervisor { reachable: true }.encode(V1).unwrap(), 64).unwrap();
    let burst = event.repeat(10_000);
    let mut written = 0;
    while let Ok(result) = timeout(Duration::from_millis(500), stream.write_all(&burst)).await {
        result.unwrap();
        written += burst.len();
        assert!(written < 8 << 20, "the coordinator took {written} bytes that nobody reads");
    }
    drop(coordinator);
}

/// A coordinator with the right certificate that answers with `bytes`.
async fn answered_with(fleet: &Fleet, bytes: Vec<u8>) -> (ConnectError, quinn::ConnectionError) {
    let credentials = fleet.authority.server_credentials(now()).unwrap();
    let config = reeve_common::tls::coordinator_server_config(&credentials, clock()).unwrap();
    let endpoint = server_endpoint(loopback(), config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut sender, _receiver) = connection.accept_bi().await.unwrap();
        sender.write_all(&bytes).await.unwrap();
        connection.closed().await
    });
    let agent = fleet.host_credentials(&host(1), now());
    let error = dial(address, &agent, hello(&host(1))).await.unwrap_err();
    (error, answering.await.unwrap())
}

#[tokio::test]
async fn an_agent_does_not_trust_what_a_coordinator_answers() {
    let fleet = Fleet::new();
    let choice = |chosen: u16| {
        let mut bytes = offer(chosen, 1);
        bytes.extend(1_u16.to_be_bytes());
        frame(&bytes, 256).unwrap()
    };
    let mut garbled_welcome = choice(1);
    garbled_welcome.extend(frame(&[0xff; 40], 64).unwrap());
    for (what, bytes, reason) in [
        ("4 GiB", vec![0xff; 4], "do not understand each other"),
        ("garbage", frame(b"hello", 64).unwrap(), "does not speak this protocol"),
        ("an unoffered version", choice(7), "version 7, which was not offered"),
        ("no version", choice(0), "no protocol version in common"),
        ("a garbled welcome", garbled_welcome, "welcome makes no sense"),
    ] {
        let (error, told) = answered_with(&fleet, bytes).await;
        let text = reeve_common::text::chain(&error);
        assert!(text.contains(reason), "{what}: {text}");
        assert!(!error.is_retryable(), "{what}");
        let told = CloseReason::at_coordinator(&told);
        assert!(matches!(told, CloseReason::ByPeer { .. }), "{what}: {told}");
    }
}

#[tokio::test]
async fn an_agent_gives_up_on_commands_that_are_none() {
    let fleet = Fleet::new();
    let credentials = fleet.authority.server_credentials(now()).unwrap();
    let config = reeve_common::tls::coordinator_server_config(&credentials, clock()).unwrap();
    let endpoint = server_endpoint(loopback(), config).unwrap();
    let address = endpoint.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut sender, receiver) = connection.accept_bi().await.unwrap();
        let mut reader = FrameReader::new(receiver, HANDSHAKE_FRAME_MAX);
        reader.next().await.unwrap().unwrap();
        let mut choice = offer(1, 1);
        choice.extend(1_u16.to_be_bytes());
        write_frame(&mut sender, &choice, 256).await.unwrap();
        Hello::decode(V1, &reader.next().await.unwrap().unwrap()).unwrap();
        write_frame(&mut sender, &welcome().encode(V1).unwrap(), 4096).await.unwrap();
        write_frame(&mut sender, &[0xff; 16], 64).await.unwrap();
        connection.closed().await
    });
    let (mut agent, _) =
        dial(address, &fleet.host_credentials(&host(1), now()), hello(&host(1))).await.unwrap();
    agent.next_command().await.unwrap_err();
    let told = CloseReason::at_coordinator(&answering.await.unwrap());
    assert!(matches!(told, CloseReason::ByPeer { code: RefusalCode::ProtocolViolation, .. }), "{told}");
}

#[tokio::test]
async fn a_crowd_that_knocks_and_says_nothing_does_not_shut_an_agent_out() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    // Initial datagrams of nobody: right length, wrong contents.
    let socket = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    for number in 0..2_000_u32 {
        let mut datagram = vec![0; 1200];
        datagram[0] = 0xc3;
        datagram[4] = 1;
        datagram[5] = 8;
        datagram[6..10].copy_from_slice(&number.to_be_bytes());
        datagram[14] = 8;
        socket.send_to(&datagram, port.address).await.unwrap();
    }
    drop(connected(&fleet, &mut port, 1).await);
}

#[tokio::test]
async fn a_full_gate_turns_away_at_once_and_lets_in_again() {
    let fleet = Fleet::new();
    let credentials = fleet.authority.server_credentials(now()).unwrap();
    let config = reeve_common::tls::coordinator_server_config(&credentials, clock()).unwrap();
    let endpoint = server_endpoint(loopback(), config).unwrap();
    let address = endpoint.local_addr().unwrap();
    // One place, and from the first peer on an address must be proved.
    let gate = HandshakeGate::with_places(1, 0);
    let admit = async || loop {
        let incoming = endpoint.accept().await.unwrap();
        let proved = incoming.remote_address_validated();
        if let Some((incoming, permit)) = gate.admit(incoming) {
            assert!(proved, "a peer came in that had not proved its address");
            return (incoming, permit);
        }
    };
    let agent = |number: u32| {
        let credentials = fleet.host_credentials(&host(number), now());
        tokio::spawn(async move { dial(address, &credentials, hello(&host(number))).await })
    };
    let first = agent(1);
    let (incoming, permit) = admit().await;
    let second = agent(2);
    let turned_away = tokio::select! {
        result = second => result.unwrap().unwrap_err(),
        _ = admit() => panic!("a second peer was let in where there is one place"),
    };
    assert!(turned_away.is_retryable(), "{turned_away}");
    let _one = accept(incoming).await.unwrap().welcome(welcome(), now()).await.unwrap();
    first.await.unwrap().unwrap();
    drop(permit);
    let third = agent(3);
    let (incoming, _permit) = admit().await;
    let _other = accept(incoming).await.unwrap().welcome(welcome(), now()).await.unwrap();
    third.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_coordinator_that_is_not_there() {
    let fleet = Fleet::new();
    let credentials = fleet.host_credentials(&host(1), now());
    let nobody = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let text = dial_refused(nobody.local_addr().unwrap(), &credentials, hello(&host(1))).await;
    says(&text, &["no answer from the coordinator", "UDP"]);
}

#[tokio::test]
async fn an_accepted_agent_can_be_left_waiting_and_then_refused() {
    // The coordinator looks the host up between hello and welcome; a copy of the host may be connected already.
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let credentials = fleet.host_credentials(&host(1), now());
    let address = port.address;
    let mut said = hello(&host(1));
    said.instance = OperationId::random();
    let instance = said.instance;
    let dialling = tokio::spawn(async move { dial(address, &credentials, said).await });
    let pending = port.next().await.unwrap();
    assert_eq!(pending.hello.instance, instance);
    assert_eq!(pending.identity, host(1));
    assert!(pending.certificate.for_clients && !pending.certificate.for_servers);
    pending.refuse(RefusalCode::DuplicateAgent, "the first one connects from 192.0.2.1");
    let text = reeve_common::text::chain(&dialling.await.unwrap().unwrap_err());
    says(&text, &["another agent is connected with this host's identity", "cloning a disk", "192.0.2.1"]);
}

/// Keeps the error's shape: the integrator matches on it.
#[tokio::test]
async fn a_peer_that_leaves_before_its_hello() {
    let fleet = Fleet::new();
    let mut port = fleet.agent_port();
    let connection = raw_connection(&fleet, port.address, 1).await;
    connection.close(7_u32.into(), b"never mind");
    let error = port.next().await.unwrap_err();
    assert!(matches!(error, AcceptError::Broken { .. }), "{error}");
}
