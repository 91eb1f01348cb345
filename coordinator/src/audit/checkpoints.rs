//! Owns a checkpoint as it is kept in the store, and when one is due.
//!
//! Pure: what is signed comes from `pki`, the time is an argument.

use std::time::Duration;

use reeve_common::checkpoint::{Checkpoint, CheckpointKey, LogHash, LogHead, Signature, SignedCheckpoint};
use reeve_common::clock::Timestamp;
use reeve_common::ids::Epoch;
use serde::{Deserialize, Serialize};

use crate::records::Record;

/// A checkpoint is due after so many records.
pub const CHECKPOINT_AFTER_RECORDS: u64 = 100;
/// It is due after so long when there is any record that the last one does not cover.
pub const CHECKPOINT_AFTER_TIME: Duration = Duration::from_secs(10);

/// A signed checkpoint in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckpointRecord {
    size: u64,
    hash: LogHash,
    at: Timestamp,
    epoch: Epoch,
    key: CheckpointKey,
    signature: Signature,
}

impl Record for CheckpointRecord {
    const KIND: &'static str = "audit-checkpoint";
}

impl From<SignedCheckpoint> for CheckpointRecord {
    fn from(signed: SignedCheckpoint) -> Self {
        let Checkpoint { head, at, epoch } = signed.checkpoint;
        Self { size: head.size, hash: head.hash, at, epoch, key: signed.key, signature: signed.signature }
    }
}

impl From<CheckpointRecord> for SignedCheckpoint {
    fn from(record: CheckpointRecord) -> Self {
        let head = LogHead { size: record.size, hash: record.hash };
        let checkpoint = Checkpoint { head, at: record.at, epoch: record.epoch };
        Self { checkpoint, key: record.key, signature: record.signature }
    }
}

/// Whether a checkpoint is due for a log of `size` records, when the last one is of `signed` records and was made
/// `since` ago.
#[must_use]
pub const fn is_due(size: u64, signed: u64, since: Duration) -> bool {
    let unsigned = size.saturating_sub(signed);
    unsigned >= CHECKPOINT_AFTER_RECORDS
        || (unsigned > 0 && since.as_millis() >= CHECKPOINT_AFTER_TIME.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_due_after_a_hundred_records_or_ten_seconds_with_one() {
        let moment = Duration::from_millis(1);
        assert!(!is_due(99, 0, moment) && is_due(100, 0, moment) && is_due(350, 250, moment));
        assert!(!is_due(1, 0, Duration::from_millis(9_999)) && is_due(1, 0, CHECKPOINT_AFTER_TIME));
        assert!(!is_due(7, 7, Duration::from_secs(3600)) && !is_due(0, 0, Duration::MAX));
        // A log that is shorter than its last checkpoint is for the verification to speak of.
        assert!(!is_due(3, 7, Duration::MAX));
    }

    #[test]
    fn the_form_of_a_checkpoint() {
        let head = LogHead { size: 3, hash: LogHash::of("x") };
        let signed = SignedCheckpoint {
            checkpoint: Checkpoint { head, at: Timestamp(5), epoch: Epoch(2) },
            key: CheckpointKey([1; 32]),
            signature: Signature([2; 64]),
        };
        let text = CheckpointRecord::from(signed).encode().unwrap();
        insta::assert_snapshot!(text);
        let stored = crate::store::Stored {
            key: super::super::CHECKPOINTS.key(&3_u64),
            version: crate::store::Version(1),
            value: text,
        };
        assert_eq!(SignedCheckpoint::from(CheckpointRecord::decode(&stored).unwrap()), signed);
    }
}
