//! Owns the proof of the audit log: given its records in order, its head and its checkpoints, says what is wrong and
//! where. It goes on after a fault, so that all of them are found.
//!
//! ```text
//!   record n ──its number, its place, the hash of n-1──▶ n+1 … last ──▶ head
//!                  └── a checkpoint of size n signs the hash of n
//! ```
//!
//! Must not: read anything, or repair. Pure; hashes and signatures are values.

use std::collections::BTreeMap;

use reeve_common::checkpoint::{CheckpointKey, LogHash, LogHead, SignedCheckpoint};
use reeve_common::clock::Timestamp;

use super::AUDIT;
use crate::store::{Link, RecordError, Stored, link_key, read_link};

/// Faults that are told; the first says enough, the rest shows the extent.
pub const FINDINGS_MAX: usize = 100;

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A record cannot be read.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// Its key, or which one.
        what: String,
        /// Why.
        why: String,
    },
    /// Records are not there.
    #[error("{} missing before record {found}: removed, or never there", missing(*expected, *found))]
    Missing {
        /// The number that should have come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A record lies where another belongs.
    #[error("the record at place {place} says that it is record {sequence}: it was put there from elsewhere")]
    Misplaced {
        /// By its key.
        place: u64,
        /// By its own words.
        sequence: u64,
    },
    /// A record does not name the one before it by its hash.
    #[error("record {sequence} does not follow record {} as it is now: one of the two was edited, exchanged or put in", sequence.saturating_sub(1))]
    Broken {
        /// The later one.
        sequence: u64,
    },
    /// The head says less than there is.
    #[error(
        "the log's head counts {size} records, and record {sequence} is there: it was put in, or the head was set back"
    )]
    BeyondHead {
        /// What the head says.
        size: u64,
        /// What is there.
        sequence: u64,
    },
    /// The head says more than there is.
    #[error(
        "the log's head counts {size} records, and the last one is record {found}: records were cut off at the end"
    )]
    Truncated {
        /// What the head says.
        size: u64,
        /// What is there.
        found: u64,
    },
    /// The head has another hash than the last record.
    #[error("the log's head does not have the hash of record {sequence}: the record or the head was edited")]
    HeadHash {
        /// The last record.
        sequence: u64,
    },
    /// A checkpoint's signature is none.
    #[error("the checkpoint of size {size} is not signed by the key that it names: it was edited")]
    Signature {
        /// Its size.
        size: u64,
    },
    /// A checkpoint is of another key.
    #[error(
        "the checkpoint of size {size} is signed by another key ({found}) than this coordinator's: somebody else signed it"
    )]
    ForeignKey {
        /// Its size.
        size: u64,
        /// Whose it is.
        found: CheckpointKey,
    },
    /// A checkpoint lies where another belongs.
    #[error(
        "the checkpoint at place {place} says that it is of size {size}: it was put there from elsewhere"
    )]
    MisplacedCheckpoint {
        /// By its key.
        place: u64,
        /// By its own words.
        size: u64,
    },
    /// A checkpoint covers more than there is.
    #[error(
        "a checkpoint signed at {at} covers {size} records, and the log has {found}: records were cut off at the end"
    )]
    CutBelowCheckpoint {
        /// Its size.
        size: u64,
        /// When it was signed.
        at: Timestamp,
        /// How many there are.
        found: u64,
    },
    /// A checkpoint signs another record than there is.
    #[error(
        "record {size} is not the one that the checkpoint of {at} signs: the log was rewritten at or before it"
    )]
    Rewritten {
        /// The record.
        size: u64,
        /// When it was signed.
        at: Timestamp,
    },
    /// A witness knows a longer log.
    #[error(
        "host {host} keeps a checkpoint of {size} records, signed at {at}, and the log here has {found}: it was cut, or restored from an old backup"
    )]
    WitnessAhead {
        /// Which host.
        host: String,
        /// What it keeps.
        size: u64,
        /// When that was signed.
        at: Timestamp,
        /// What is here.
        found: u64,
    },
    /// A witness knows another log.
    #[error(
        "host {host} keeps a checkpoint signed at {at} that record {size} here does not match: the log was rewritten or goes on from an old backup"
    )]
    WitnessDisagrees {
        /// Which host.
        host: String,
        /// The record.
        size: u64,
        /// When it was signed.
        at: Timestamp,
    },
    /// A witness has a checkpoint of another key.
    #[error(
        "host {host} keeps a checkpoint of size {size} that this coordinator's key did not sign: another coordinator has spoken to it, or the key was exchanged"
    )]
    WitnessForeign {
        /// Which host.
        host: String,
        /// Its size.
        size: u64,
    },
}

fn missing(expected: u64, found: u64) -> String {
    match found.saturating_sub(expected) {
        1 => format!("record {expected} is"),
        _ => format!("records {expected} to {} are", found.saturating_sub(1)),
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationReport {
    /// How many records were read.
    pub records: u64,
    /// The log's head as it is kept.
    pub head: LogHead,
    /// How many checkpoints were proved or refuted.
    pub checkpoints: u64,
    /// The highest good one.
    pub latest: Option<SignedCheckpoint>,
    /// What is wrong, at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub further: u64,
}

impl VerificationReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    /// Adds what a witness showed.
    pub fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.further = self.further.saturating_add(1);
        }
    }
}

/// A verification under way.
#[derive(Debug)]
pub struct Verification {
    report: VerificationReport,
    /// The last record that was read, or the one to go on from.
    last: LogHead,
    /// Checkpoints by the record that they sign, until it has come.
    expected: BTreeMap<u64, SignedCheckpoint>,
}

impl Verification {
    /// Begins with the checkpoints that there are, each with the number in its key. `key` is the one that must have signed
    /// them; none when it is not known.
    #[must_use]
    pub fn new(
        head: LogHead,
        checkpoints: impl IntoIterator<Item = (u64, SignedCheckpoint)>,
        key: Option<CheckpointKey>,
    ) -> Self {
        let report = VerificationReport {
            records: 0,
            head,
            checkpoints: 0,
            latest: None,
            findings: Vec::new(),
            further: 0,
        };
        let mut begun = Self { report, last: LogHead::EMPTY, expected: BTreeMap::new() };
        for (place, signed) in checkpoints {
            begun.report.checkpoints += 1;
            let size = signed.head().size;
            if signed.prove().is_err() {
                begun.report.add(Finding::Signature { size });
            } else if key.is_some_and(|key| key != signed.key) {
                begun.report.add(Finding::ForeignKey { size, found: signed.key });
            } else if place != size {
                begun.report.add(Finding::MisplacedCheckpoint { place, size });
            } else {
                begun.expected.insert(size, signed);
            }
        }
        begun
    }

    /// Notes that a record of the store could not be read.
    pub fn unreadable(&mut self, what: impl Into<String>, error: &RecordError) {
        let why = crate::chain(error);
        self.report.add(Finding::Unreadable { what: what.into(), why });
    }

    /// Takes the next record, in the order of the keys.
    pub fn take(&mut self, stored: &Stored) {
        self.report.records += 1;
        let place = stored.key.last_segment().parse::<u64>().unwrap_or(0);
        let link = match read_link(stored) {
            Ok(link) => link,
            Err(error) => {
                self.unreadable(stored.key.as_str(), &error);
                self.went_to(place, LogHash::of(&stored.value));
                return;
            }
        };
        self.place(place, &link);
        self.went_to(place, link.hash);
    }

    fn place(&mut self, place: u64, link: &Link) {
        let expected = self.last.size.saturating_add(1);
        if place > expected {
            self.report.add(Finding::Missing { expected, found: place });
        }
        if link.sequence != place || link.entry.key != link_key(AUDIT, place) {
            self.report.add(Finding::Misplaced { place, sequence: link.sequence });
        } else if place == expected && link.previous != self.last.hash {
            self.report.add(Finding::Broken { sequence: place });
        }
        // The first of them says it for all.
        if place > self.report.head.size && self.last.size <= self.report.head.size {
            self.report.add(Finding::BeyondHead { size: self.report.head.size, sequence: place });
        }
    }

    fn went_to(&mut self, sequence: u64, hash: LogHash) {
        self.last = LogHead { size: sequence, hash };
        let Some(signed) = self.expected.remove(&sequence) else { return };
        if signed.head().hash == hash {
            self.report.latest = Some(signed);
        } else {
            self.report.add(Finding::Rewritten { size: sequence, at: signed.checkpoint.at });
        }
    }

    /// No more records come.
    #[must_use]
    pub fn finish(mut self) -> VerificationReport {
        let (head, last) = (self.report.head, self.last);
        if head.size > last.size {
            self.report.add(Finding::Truncated { size: head.size, found: last.size });
        } else if head.size == last.size && head.hash != last.hash {
            self.report.add(Finding::HeadHash { sequence: last.size });
        }
        // A checkpoint of a record that is missing in the middle is told by that record; those beyond the end are told here.
        for signed in std::mem::take(&mut self.expected).into_values() {
            let (size, at) = (signed.head().size, signed.checkpoint.at);
            if size > last.size {
                self.report.add(Finding::CutBelowCheckpoint { size, at, found: last.size });
            }
        }
        self.report
    }
}

/// What a witness's checkpoint shows to be wrong, given this coordinator's key, the length of its log, and the hash of the
/// record that the checkpoint is of, if it is there.
#[must_use]
pub fn contradiction(
    host: &str,
    held: &SignedCheckpoint,
    key: CheckpointKey,
    here: LogHead,
    record: Option<LogHash>,
) -> Option<Finding> {
    let (head, at, host) = (held.head(), held.checkpoint.at, host.to_owned());
    if held.key != key || held.prove().is_err() {
        return Some(Finding::WitnessForeign { host, size: head.size });
    }
    if head.size > here.size {
        return Some(Finding::WitnessAhead { host, size: head.size, at, found: here.size });
    }
    match record {
        Some(hash) if hash == head.hash => None,
        _ => Some(Finding::WitnessDisagrees { host, size: head.size, at }),
    }
}

#[cfg(test)]
#[path = "verification_tests.rs"]
mod tests;
