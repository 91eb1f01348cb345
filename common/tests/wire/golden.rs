//! The exact bytes of each protocol version. A line of `golden/v1.txt` that fails here is a broken release: peers in the
//! field speak the old bytes. New variants add lines; no line ever changes. `golden/v2.txt` has what version 2 says
//! otherwise.

use std::fmt::Write as _;

use reeve_common::protocol::{Event, Reply};
use reeve_common::storage::LockManager;
use reeve_common::wire::join::{decode_answer, decode_request, encode_answer, encode_request};
use reeve_common::wire::message::Message;
use reeve_common::wire::version::{CURRENT, MIN_SUPPORTED, ProtocolVersion};

use super::samples;

const V1: ProtocolVersion = ProtocolVersion(1);
const V2: ProtocolVersion = ProtocolVersion(2);
const GOLDEN: &str = include_str!("../golden/v1.txt");
const GOLDEN_2: &str = include_str!("../golden/v2.txt");

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The recorded messages: kind, name, bytes.
pub(crate) fn recorded() -> Vec<(String, String, Vec<u8>)> {
    GOLDEN
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let mut next = || words.next().unwrap();
            (next(), next(), from_hex(&next()))
        })
        .collect()
}

/// Every sample as it is written now, in the form of the file.
fn written() -> Vec<String> {
    let mut lines = Vec::new();
    let mut add =
        |kind: &str, name: &str, bytes: Vec<u8>| lines.push(format!("{kind} {name} {}", to_hex(&bytes)));
    add("hello", "hello", samples::hello().encode(V1).unwrap());
    for (name, welcome) in samples::welcomes() {
        add("welcome", name, welcome.encode(V1).unwrap());
    }
    for (name, command) in samples::commands() {
        add("command", name, command.encode(V1).unwrap());
    }
    for (name, reply) in samples::replies() {
        add("reply", name, reply.encode(V1).unwrap());
    }
    for (name, event) in samples::events() {
        add("event", name, event.encode(V1).unwrap());
    }
    for (name, sample) in samples::host_samples() {
        add("sample", name, sample.encode(V1).unwrap());
    }
    add("join-request", "join-request", encode_request(samples::join_request()).unwrap());
    for (name, answer) in samples::join_answers() {
        add("join-answer", name, encode_answer(answer).unwrap());
    }
    lines
}

#[test]
fn every_message_is_written_in_the_recorded_bytes() {
    let recorded: Vec<_> = GOLDEN.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let missing: Vec<String> =
        written().into_iter().filter(|line| !recorded.contains(&line.as_str())).collect();
    assert!(
        missing.is_empty(),
        "these bytes are not recorded; if a variant is new, add its line, and never change another:\n{}",
        missing.join("\n")
    );
    assert_eq!(recorded.len(), written().len(), "a recorded message has no sample any more");
}

#[test]
fn the_recorded_bytes_are_read_as_what_they_were() {
    fn read<M: Message + PartialEq>(bytes: &[u8], samples: &[M]) -> bool {
        samples.contains(&M::decode(V1, bytes).unwrap())
    }
    fn values<M>(named: Vec<(&'static str, M)>) -> Vec<M> {
        named.into_iter().map(|(_, value)| value).collect()
    }
    for (kind, name, bytes) in recorded() {
        let known = match kind.as_str() {
            "hello" => read(&bytes, &[samples::hello()]),
            "welcome" => read(&bytes, &values(samples::welcomes())),
            "command" => read(&bytes, &values(samples::commands())),
            "reply" => read(&bytes, &values(samples::replies())),
            "event" => read(&bytes, &values(samples::events())),
            "sample" => read(&bytes, &values(samples::host_samples())),
            "join-request" => decode_request(&bytes).unwrap() == samples::join_request(),
            "join-answer" => values(samples::join_answers()).contains(&decode_answer(&bytes).unwrap()),
            other => panic!("{other} is no kind of message"),
        };
        assert!(known, "{kind} {name} is read as something else");
    }
}

#[test]
fn version_2_puts_behind_events_and_replies_what_version_1_has_no_room_for() {
    let (events, replies) = (samples::events_of_version_2(), samples::replies_of_version_2());
    let line = |kind: &str, name: &str, bytes: &[u8]| format!("{kind} {name} {}", to_hex(bytes));
    let encoded = |event: &Event| event.clone().encode(V2).unwrap();
    let mut written: Vec<String> =
        events.iter().map(|(name, event)| line("event", name, &encoded(event))).collect();
    written
        .extend(replies.iter().map(|(name, reply)| line("reply", name, &reply.clone().encode(V2).unwrap())));
    let recorded: Vec<&str> = GOLDEN_2.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(recorded, written, "no line ever changes:\n{}", written.join("\n"));
    for (name, event) in &events {
        assert_eq!(Event::decode(V2, &encoded(event)).as_ref(), Ok(event), "{name}");
        // A report of before says nothing of it, and neither version is taken for the other.
        let older = event.clone().encode(V1).unwrap();
        match Event::decode(V1, &older).unwrap() {
            Event::Report(report) => assert_eq!(report.lock_manager, LockManager::Unknown),
            other => assert_eq!(&other, event),
        }
        assert!(Event::decode(V1, &encoded(event)).is_err() && Event::decode(V2, &older).is_err());
    }
    for (name, reply) in &replies {
        assert_eq!(Reply::decode(V2, &reply.clone().encode(V2).unwrap()).as_ref(), Ok(reply), "{name}");
        assert!(Reply::decode(V2, &reply.clone().encode(V1).unwrap()).is_err());
    }
    // Everything else is as it was.
    assert_eq!(samples::hello().encode(V1).unwrap(), samples::hello().encode(V2).unwrap());
}

#[test]
fn every_supported_version_is_spoken() {
    for version in MIN_SUPPORTED.0..=CURRENT.0 {
        samples::hello().encode(ProtocolVersion(version)).unwrap();
    }
    assert!(samples::hello().encode(ProtocolVersion(CURRENT.0 + 1)).is_err());
}
