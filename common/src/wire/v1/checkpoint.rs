//! Owns signed checkpoints of the audit log as they are on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointKey, LogHash, LogHead, Signature, SignedCheckpoint as Domain};
use crate::clock::Timestamp;
use crate::ids::Epoch;

/// A signature is 64 bytes; a derived form knows arrays of up to 32.
type Half = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::wire) struct SignedCheckpoint {
    size: u64,
    hash: [u8; 32],
    at: u64,
    epoch: u64,
    key: [u8; 32],
    signature: (Half, Half),
}

impl From<Domain> for SignedCheckpoint {
    fn from(signed: Domain) -> Self {
        let Checkpoint { head, at, epoch } = signed.checkpoint;
        let (mut first, mut second): (Half, Half) = ([0; 32], [0; 32]);
        let bytes = first.iter_mut().chain(second.iter_mut());
        bytes.zip(signed.signature.0).for_each(|(to, from)| *to = from);
        Self {
            size: head.size,
            hash: head.hash.0,
            at: at.0,
            epoch: epoch.0,
            key: signed.key.0,
            signature: (first, second),
        }
    }
}

impl From<SignedCheckpoint> for Domain {
    fn from(signed: SignedCheckpoint) -> Self {
        let mut signature = [0; 64];
        let (first, second) = signed.signature;
        signature.iter_mut().zip(first.into_iter().chain(second)).for_each(|(to, from)| *to = from);
        let head = LogHead { size: signed.size, hash: LogHash(signed.hash) };
        Self {
            checkpoint: Checkpoint { head, at: Timestamp(signed.at), epoch: Epoch(signed.epoch) },
            key: CheckpointKey(signed.key),
            signature: Signature(signature),
        }
    }
}
