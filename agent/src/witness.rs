//! Owns what a witness of the audit log agrees to keep: only what goes on from what it has.
//!
//! ```text
//!   nothing ──signed──▶ a checkpoint ──a longer log, the same key──▶ that one
//!                          └──a shorter log, another end, another key, no signature──▶ refused, kept as it was
//! ```
//!
//! A longer log cannot be told from another one by its head alone: the coordinator compares what is kept here with its log
//! each time this host connects, and says so when they differ.
//!
//! Pure.

use reeve_common::checkpoint::{BadSignature, SignedCheckpoint};
use reeve_common::clock::Timestamp;

/// What becomes of a checkpoint that is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It takes the place of the one before.
    Keep,
    /// It says what is kept already.
    Same,
    /// It contradicts what is kept.
    Refused(Contradiction),
}

/// Why a checkpoint is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// It is not signed.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Another key signed it.
    #[error("another key signed it than the one of {} records that is kept here: another coordinator sent it", .0)]
    Key(u64),
    /// It is of a shorter log.
    #[error(
        "it is of {offered} records, and one of {held}, signed at {at}, is kept here: the log was cut, or restored from an old backup"
    )]
    Shorter {
        /// What was offered.
        offered: u64,
        /// What is kept.
        held: u64,
        /// When that was signed.
        at: Timestamp,
    },
    /// It is of another log of the same length.
    #[error("of the same {size} records another end was signed at {at}: there are two logs")]
    Fork {
        /// The length of both.
        size: u64,
        /// When the one that is kept was signed.
        at: Timestamp,
    },
}

/// Judges a checkpoint by what is kept.
#[must_use]
pub fn judge(held: Option<&SignedCheckpoint>, offered: &SignedCheckpoint) -> Judgement {
    match check(held, offered) {
        Ok(judgement) => judgement,
        Err(contradiction) => Judgement::Refused(contradiction),
    }
}

fn check(held: Option<&SignedCheckpoint>, offered: &SignedCheckpoint) -> Result<Judgement, Contradiction> {
    offered.prove()?;
    let Some(held) = held else { return Ok(Judgement::Keep) };
    let (before, after, at) = (held.head(), offered.head(), held.checkpoint.at);
    if held.key != offered.key {
        return Err(Contradiction::Key(before.size));
    }
    if after.size < before.size {
        return Err(Contradiction::Shorter { offered: after.size, held: before.size, at });
    }
    if after.size > before.size {
        return Ok(Judgement::Keep);
    }
    if after.hash == before.hash {
        Ok(Judgement::Same)
    } else {
        Err(Contradiction::Fork { size: after.size, at })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use reeve_common::checkpoint::{Checkpoint, CheckpointKey, LogHash, LogHead, Signature};
    use reeve_common::ids::Epoch;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    pub(crate) fn signed(key: u8, size: u64, end: &str) -> SignedCheckpoint {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[key; 32]).unwrap();
        let head = LogHead { size, hash: LogHash::of(end) };
        let checkpoint = Checkpoint { head, at: Timestamp(1_700_000_000_000), epoch: Epoch(1) };
        SignedCheckpoint {
            checkpoint,
            key: CheckpointKey(pair.public_key().as_ref().try_into().unwrap()),
            signature: Signature(pair.sign(checkpoint.signed_text().as_bytes()).as_ref().try_into().unwrap()),
        }
    }

    fn refusal(held: Option<&SignedCheckpoint>, offered: &SignedCheckpoint) -> String {
        match judge(held, offered) {
            Judgement::Refused(why) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_log_that_goes_on_is_kept() {
        let first = signed(1, 9, "a");
        assert_eq!(judge(None, &first), Judgement::Keep);
        assert_eq!(judge(Some(&first), &first), Judgement::Same);
        assert_eq!(judge(Some(&first), &signed(1, 10, "b")), Judgement::Keep);
    }

    #[test]
    fn what_contradicts_what_is_kept_is_refused_with_the_reason() {
        let held = signed(1, 9, "a");
        assert!(refusal(Some(&held), &signed(1, 8, "z")).contains("of 8 records, and one of 9"));
        assert!(refusal(Some(&held), &signed(1, 9, "b")).contains("two logs"));
        assert!(refusal(Some(&held), &signed(2, 99, "b")).contains("another key"));
        let mut edited = signed(1, 10, "b");
        edited.checkpoint.head.size = 11;
        assert!(refusal(Some(&held), &edited).contains("signature"));
        assert!(refusal(None, &edited).contains("signature"));
    }
}
