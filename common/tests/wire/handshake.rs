//! The greeting over a stream that is not QUIC.

use std::time::Duration;

use reeve_common::protocol::Hello;
use reeve_common::wire::frame::FrameReader;
use reeve_common::wire::handshake::{HandshakeError, greet, receive_hello, send_welcome};
use reeve_common::wire::version::{CURRENT, ProtocolVersion, VersionRange};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::samples::{hello, welcomes};

type End = (FrameReader<ReadHalf<DuplexStream>>, WriteHalf<DuplexStream>);

fn ends() -> (End, End) {
    // Smaller than a message, so that everything arrives in pieces.
    ends_of(16)
}

fn ends_of(length: usize) -> (End, End) {
    let (near, far) = duplex(length);
    let end = |stream| {
        let (reader, writer) = split(stream);
        (FrameReader::new(reader, 64), writer)
    };
    (end(near), end(far))
}

const fn range(minimum: u16, maximum: u16) -> VersionRange {
    VersionRange { minimum: ProtocolVersion(minimum), maximum: ProtocolVersion(maximum) }
}

#[tokio::test]
async fn both_sides_agree_and_greet() {
    let (mut agent, mut coordinator) = ends();
    let welcome = welcomes().remove(0).1;
    let answering = async {
        let (agreed, received) =
            receive_hello(&mut coordinator.0, &mut coordinator.1, VersionRange::SUPPORTED).await.unwrap();
        send_welcome(&mut coordinator.1, agreed, welcome.clone()).await.unwrap();
        received
    };
    let (greeted, received): (_, Hello) =
        tokio::join!(greet(&mut agent.0, &mut agent.1, hello(), VersionRange::SUPPORTED), answering);
    assert_eq!(greeted.unwrap(), (CURRENT, welcome));
    assert_eq!(received, hello());
}

#[tokio::test]
async fn without_a_common_version_both_sides_say_what_they_speak() {
    let (mut agent, mut coordinator) = ends();
    let (greeted, received) = tokio::join!(
        greet(&mut agent.0, &mut agent.1, hello(), range(3, 5)),
        receive_hello(&mut coordinator.0, &mut coordinator.1, range(1, 2)),
    );
    let (greeted, received) = (greeted.unwrap_err(), received.unwrap_err());
    assert!(matches!(greeted, HandshakeError::NoCommonVersion { .. }));
    let said = greeted.to_string();
    assert!(said.contains("speaks versions 3 to 5") && said.contains("the other versions 1 to 2"), "{said}");
    let said = received.to_string();
    assert!(said.contains("speaks versions 1 to 2") && said.contains("the other versions 3 to 5"), "{said}");
}

#[tokio::test]
async fn a_newer_agent_and_an_older_coordinator_speak_the_older_version() {
    let (mut agent, mut coordinator) = ends();
    let answering = async {
        let (agreed, _) = receive_hello(&mut coordinator.0, &mut coordinator.1, range(0, 1)).await.unwrap();
        let version = agreed.version;
        send_welcome(&mut coordinator.1, agreed, welcomes().remove(0).1).await.unwrap();
        version
    };
    let (greeted, version) = tokio::join!(greet(&mut agent.0, &mut agent.1, hello(), range(1, 4)), answering);
    assert_eq!(version, ProtocolVersion(1));
    assert_eq!(greeted.unwrap().0, ProtocolVersion(1));
}

#[tokio::test]
async fn each_side_says_all_that_it_can_say_at_once() {
    let (mut agent, mut coordinator) = ends_of(64 << 10);
    let welcome = welcomes().remove(0).1;
    let greeting = greet(&mut agent.0, &mut agent.1, hello(), VersionRange::SUPPORTED);
    tokio::pin!(greeting);
    let waits = tokio::time::timeout(Duration::ZERO, &mut greeting).await;
    assert!(waits.is_err(), "nobody has answered yet");
    let receiving = receive_hello(&mut coordinator.0, &mut coordinator.1, VersionRange::SUPPORTED);
    let receiving = tokio::time::timeout(Duration::ZERO, receiving).await;
    let (agreed, received) = receiving.expect("the hello waits for an answer to the offer").unwrap();
    assert_eq!(received, hello());
    send_welcome(&mut coordinator.1, agreed, welcome.clone()).await.unwrap();
    assert_eq!(greeting.await.unwrap(), (CURRENT, welcome));
}

#[tokio::test]
async fn a_choice_that_nobody_waits_for_leaves_with_the_welcome() {
    let (mut agent, mut coordinator) = ends_of(64 << 10);
    let greeting = greet(&mut agent.0, &mut agent.1, hello(), VersionRange::SUPPORTED);
    assert!(tokio::time::timeout(Duration::ZERO, greeting).await.is_err());
    let receiving = receive_hello(&mut coordinator.0, &mut coordinator.1, VersionRange::SUPPORTED);
    let (agreed, _) = receiving.await.unwrap();
    let said = tokio::time::timeout(Duration::ZERO, agent.0.next()).await;
    assert!(said.is_err(), "the choice needs no datagram of its own: {said:?}");
    send_welcome(&mut coordinator.1, agreed, welcomes().remove(0).1).await.unwrap();
    assert!(agent.0.next().await.unwrap().is_some());
}

#[tokio::test]
async fn an_agent_that_waits_for_the_choice_hears_it_before_its_hello() {
    let (mut agent, mut coordinator) = ends_of(64 << 10);
    let welcome = welcomes().remove(0).1;
    // Of a version that is not known here nobody knows the hello, so it is said when the version is agreed on.
    let answering = async {
        let (agreed, received) =
            receive_hello(&mut coordinator.0, &mut coordinator.1, VersionRange::SUPPORTED).await.unwrap();
        send_welcome(&mut coordinator.1, agreed, welcome.clone()).await.unwrap();
        received
    };
    let newer = range(1, CURRENT.0 + 1);
    let (greeted, received) = tokio::join!(greet(&mut agent.0, &mut agent.1, hello(), newer), answering);
    assert_eq!(greeted.unwrap(), (CURRENT, welcome));
    assert_eq!(received, hello());
}
