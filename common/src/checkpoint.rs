//! Owns what is said of the audit log outside of it: the hash of a record, how long the log is and with which hash it
//! ends, and that said with a signature (a checkpoint), which agents keep as witnesses.
//!
//! Must not: know the log's records, or hold a key that signs; that is the coordinator's.

use std::fmt;
use std::str::FromStr;

use ring::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::Epoch;
use crate::tls::sha256;

/// Bytes of a hash.
pub const LOG_HASH_LENGTH: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_LENGTH: usize = 64;
/// Bytes of the key that proves a signature.
pub const CHECKPOINT_KEY_LENGTH: usize = ED25519_PUBLIC_KEY_LEN;

/// Why a text is not such bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} hexadecimal digits are expected")]
pub struct InvalidBytes(usize);

macro_rules! bytes_type {
    ($(#[$doc:meta])* $name:ident, $length:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; $length]);

        impl fmt::Display for $name {
            /// Lower-case hexadecimal digits.
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&to_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl FromStr for $name {
            type Err = InvalidBytes;

            fn from_str(text: &str) -> Result<Self, InvalidBytes> {
                from_hex(text).map(Self).ok_or(InvalidBytes(2 * $length))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidBytes;

            fn try_from(text: String) -> Result<Self, InvalidBytes> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(bytes: $name) -> Self {
                bytes.to_string()
            }
        }
    };
}

bytes_type!(
    /// SHA-256 over one record of a log as it is kept, which holds the hash of the record before it.
    LogHash, LOG_HASH_LENGTH
);
bytes_type!(
    /// An Ed25519 signature.
    Signature, SIGNATURE_LENGTH
);
bytes_type!(
    /// The Ed25519 key by which a coordinator's checkpoints are proved.
    CheckpointKey, CHECKPOINT_KEY_LENGTH
);

impl LogHash {
    /// What a log's first record names as the hash of the one before it.
    pub const BEFORE_THE_FIRST: Self = Self([0; LOG_HASH_LENGTH]);

    /// The hash of a record's text.
    #[must_use]
    pub fn of(record: &str) -> Self {
        Self(sha256(record.as_bytes()))
    }
}

/// How long a log is and how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogHead {
    /// How many records there are; the last one's number, which begin with 1.
    pub size: u64,
    /// The hash of the last one.
    pub hash: LogHash,
}

impl LogHead {
    /// The head of a log without records.
    pub const EMPTY: Self = Self { size: 0, hash: LogHash::BEFORE_THE_FIRST };
}

impl Default for LogHead {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// What the coordinator says of its audit log at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The log's length and end.
    pub head: LogHead,
    /// When.
    pub at: Timestamp,
    /// In which term of office.
    pub epoch: Epoch,
}

impl Checkpoint {
    /// The text that is signed: every value in it, each on a line of its own, under a line that says what it is, so that
    /// a signature for anything else is none for a checkpoint.
    #[must_use]
    pub fn signed_text(&self) -> String {
        let Self { head, at, epoch } = self;
        format!(
            "reeve audit checkpoint 1\nsize {}\nhash {}\nat {}\nepoch {epoch}\n",
            head.size, head.hash, at.0
        )
    }
}

/// A checkpoint with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCheckpoint {
    /// What is said.
    pub checkpoint: Checkpoint,
    /// By whom.
    pub key: CheckpointKey,
    /// The signature over [`Checkpoint::signed_text`].
    pub signature: Signature,
}

/// The signature is not the key's over this checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint of size {size} does not carry the signature of the key it names")]
pub struct BadSignature {
    /// The size it says.
    pub size: u64,
}

impl SignedCheckpoint {
    /// How long the log was and how it ended.
    #[must_use]
    pub const fn head(&self) -> LogHead {
        self.checkpoint.head
    }

    /// Proves the signature by the key that is named. Whether that key is the right one is the caller's question.
    ///
    /// # Errors
    /// [`BadSignature`] when it is not the key's.
    pub fn prove(&self) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, &self.key.0)
            .verify(self.checkpoint.signed_text().as_bytes(), &self.signature.0)
            .map_err(|_| BadSignature { size: self.checkpoint.head.size })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// One spelling only: lower-case digits.
fn from_hex<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    if text.len() != 2 * LENGTH {
        return None;
    }
    let mut out = [0; LENGTH];
    for (byte, digits) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = digits else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

const fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn signed() -> SignedCheckpoint {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let head = LogHead { size: 3, hash: LogHash::of("a record") };
        let checkpoint = Checkpoint { head, at: Timestamp(5), epoch: Epoch(2) };
        let signature = pair.sign(checkpoint.signed_text().as_bytes());
        SignedCheckpoint {
            checkpoint,
            key: CheckpointKey(pair.public_key().as_ref().try_into().unwrap()),
            signature: Signature(signature.as_ref().try_into().unwrap()),
        }
    }

    #[test]
    fn hashes_have_one_spelling() {
        let hash = LogHash::of("abc");
        // SHA-256 of "abc", from FIPS 180-2.
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse(), Ok(hash));
        for bad in ["", "ba", &text.to_uppercase(), &text.replace('b', "g"), &format!("{text}00")] {
            assert!(bad.parse::<LogHash>().is_err(), "{bad:?} was taken as a hash");
        }
    }

    #[test]
    fn what_is_signed_is_one_text() {
        let text = signed().checkpoint.signed_text();
        let hash = LogHash::of("a record");
        assert_eq!(text, format!("reeve audit checkpoint 1\nsize 3\nhash {hash}\nat 5\nepoch 2\n"));
    }

    #[test]
    fn a_signature_holds_for_these_words_and_this_key_alone() {
        let good = signed();
        assert_eq!(good.prove(), Ok(()));
        let changed = |change: &dyn Fn(&mut SignedCheckpoint)| {
            let mut bad = good;
            change(&mut bad);
            bad.prove()
        };
        assert_eq!(changed(&|bad| bad.checkpoint.head.size = 4), Err(BadSignature { size: 4 }));
        assert!(changed(&|bad| bad.checkpoint.head.hash.0[0] ^= 1).is_err());
        assert!(changed(&|bad| bad.checkpoint.at = Timestamp(6)).is_err());
        assert!(changed(&|bad| bad.checkpoint.epoch = Epoch(3)).is_err());
        assert!(changed(&|bad| bad.signature.0[9] ^= 1).is_err());
        assert!(changed(&|bad| bad.key.0[9] ^= 1).is_err());
    }
}
