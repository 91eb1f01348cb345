//! Bytes from anywhere: nothing they say may make the decoder panic, hang, or take memory beyond its limits.

use proptest::prelude::*;
use reeve_common::protocol::{Event, Reply};
use reeve_common::utilization::HostSample;
use reeve_common::wire::arbitrary_bytes::{check, check_frame};
use reeve_common::wire::frame::frame;
use reeve_common::wire::message::Message;
use reeve_common::wire::version::CURRENT;
use reeve_common::wire::{DecodeError, MESSAGE_LENGTH_MAX, MessageError};

use super::golden::recorded;
use super::samples;

/// A small generator with a fixed seed, so that each run tries the same spoiled messages.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % sides.max(1)
    }
}

#[test]
fn spoiled_messages_are_refused_or_are_other_good_messages() {
    let mut dice = Dice(0x5eed);
    let messages: Vec<_> = recorded().into_iter().map(|(_, _, bytes)| bytes).collect();
    for message in &messages {
        assert!(check_frame(message).unwrap() >= 1);
        for length in 0..message.len() {
            check_frame(&message[..length]).unwrap();
        }
        for position in 0..message.len() {
            for value in [0x00, 0x01, 0x7f, 0xfa, 0xfb, 0xfc, 0xfd, 0xff] {
                let mut spoiled = message.clone();
                spoiled[position] = value;
                check_frame(&spoiled).unwrap();
            }
        }
        for _ in 0..200 {
            let other = &messages[dice.roll(messages.len())];
            let mut spliced = message[..dice.roll(message.len())].to_vec();
            spliced.extend_from_slice(&other[dice.roll(other.len())..]);
            check_frame(&spliced).unwrap();
        }
    }
}

#[test]
fn a_stream_of_good_messages_is_understood_in_pieces_of_any_size() {
    let mut stream = Vec::new();
    let messages = recorded();
    for (_, _, bytes) in &messages {
        stream.extend(frame(bytes, MESSAGE_LENGTH_MAX).unwrap());
    }
    for piece in [1, 2, 3, 7, 64, 255] {
        let mut bytes = vec![piece];
        bytes.extend_from_slice(&stream);
        assert!(check(&bytes).unwrap() >= messages.len());
    }
}

/// The lengths inside a message that an outsider chooses, each made huge.
#[test]
fn announced_lengths_are_refused_before_they_are_believed() {
    // bincode: 0xfd announces a length in the eight bytes that follow.
    let huge = |length: u64| {
        let mut bytes = vec![0xfd];
        bytes.extend(length.to_le_bytes());
        bytes
    };
    let operation = [0; 16];
    for length in [1 << 22, 1 << 32, 1 << 40, u64::MAX] {
        let mut report = vec![0, 1];
        report.extend(huge(length));
        assert!(matches!(
            Event::decode(CURRENT, &report),
            Err(MessageError::Decode(DecodeError::Malformed { .. }))
        ));
        let mut console = operation.to_vec();
        console.push(2);
        console.extend(huge(length));
        assert!(Reply::decode(CURRENT, &console).is_err());
        let mut volumes = operation.to_vec();
        volumes.push(3);
        volumes.extend(huge(length));
        assert!(Reply::decode(CURRENT, &volumes).is_err());
        let mut failed = operation.to_vec();
        failed.push(6);
        failed.extend(huge(length));
        assert!(Reply::decode(CURRENT, &failed).is_err());
    }
    assert!(matches!(
        Event::decode(CURRENT, &vec![0; MESSAGE_LENGTH_MAX + 1]),
        Err(MessageError::Decode(DecodeError::TooLong { .. }))
    ));
}

#[test]
fn nothing_may_follow_a_message() {
    for (_, sample) in samples::host_samples() {
        let mut bytes = sample.encode(CURRENT).unwrap();
        bytes.push(0);
        assert_eq!(
            HostSample::decode(CURRENT, &bytes),
            Err(MessageError::Decode(DecodeError::TrailingBytes { count: 1 }))
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_break_a_rule(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(check(&bytes).is_ok());
        prop_assert!(check_frame(&bytes).is_ok());
    }

    #[test]
    fn arbitrary_bytes_behind_a_good_start_never_break_a_rule(
        which in any::<prop::sample::Index>(),
        kept in any::<prop::sample::Index>(),
        tail in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        let messages = recorded();
        let (_, _, message) = which.get(&messages);
        let mut bytes = message[..kept.index(message.len() + 1)].to_vec();
        bytes.extend(tail);
        prop_assert!(check_frame(&bytes).is_ok());
    }
}
