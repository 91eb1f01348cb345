//! Owns the key that signs checkpoints of the audit log. It signs nothing else.
//!
//! Must not: show the key, or decide what is signed.

use reeve_common::checkpoint::{Checkpoint, CheckpointKey, Signature, SignedCheckpoint};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// Signs checkpoints.
pub struct CheckpointSigner {
    pair: Ed25519KeyPair,
    key: CheckpointKey,
}

impl CheckpointSigner {
    /// The signer made of these 32 secret bytes; none when they are not as many.
    #[must_use]
    pub fn from_seed(seed: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let key = CheckpointKey(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { pair, key })
    }

    /// The key by which its signatures are proved.
    #[must_use]
    pub const fn key(&self) -> CheckpointKey {
        self.key
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, checkpoint: Checkpoint) -> SignedCheckpoint {
        let signature = self.pair.sign(checkpoint.signed_text().as_bytes());
        let mut bytes = [0; reeve_common::checkpoint::SIGNATURE_LENGTH];
        // Both are 64 bytes long; the shorter would end the copying.
        for (to, from) in bytes.iter_mut().zip(signature.as_ref()) {
            *to = *from;
        }
        SignedCheckpoint { checkpoint, key: self.key, signature: Signature(bytes) }
    }
}

impl std::fmt::Debug for CheckpointSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CheckpointSigner").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::checkpoint::LogHead;
    use reeve_common::clock::Timestamp;
    use reeve_common::ids::Epoch;

    use super::super::Authority;
    use super::*;

    #[test]
    fn the_key_is_the_same_after_each_start_and_another_authoritys_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp(1_700_000_000_000);
        let path = directory.path().join("pki");
        let made = Authority::create(&path, now).unwrap().checkpoint_signer().unwrap();
        let opened = Authority::open(&path, now).unwrap().checkpoint_signer().unwrap();
        assert_eq!(made.key(), opened.key());
        let other = Authority::create(&directory.path().join("other"), now).unwrap();
        assert_ne!(other.checkpoint_signer().unwrap().key(), made.key());
        let signed = made.sign(Checkpoint { head: LogHead::EMPTY, at: now, epoch: Epoch(1) });
        assert_eq!((signed.prove(), signed.key), (Ok(()), opened.key()));
        assert!(!format!("{made:?}").contains("pair"));
    }
}
