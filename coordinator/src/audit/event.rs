//! Owns what one record of the audit log says: who, what, to which thing, when, and what became of it.
//!
//! Must not: hold a secret or a text without bounds. Pure.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, OperationId};
use reeve_common::text::printable;
use serde::{Deserialize, Serialize};

use crate::records::Record;
use crate::store::{Action, Batch, Entry, Precondition, RecordError};

/// The longest reason, or object, that is kept: what a person reads of it. Records stay below 1 KiB but for the list of
/// what was changed, which is bounded by a batch.
const TEXT_LENGTH_MAX: usize = 300;

/// Who did it, or tried to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Somebody at the API.
    Operator {
        /// Their user id on the coordinator's machine.
        uid: u32,
        /// Their user name, or the id as text.
        name: String,
    },
    /// A host's agent, by its certificate.
    Host {
        /// Its number.
        id: HostId,
        /// Its name, or the number as text when it is not known.
        name: String,
    },
    /// The coordinator of its own accord.
    Coordinator,
    /// Somebody who has not proved who they are.
    Stranger {
        /// From where.
        address: String,
    },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done, in this record's own transaction.
    Done,
    /// It was refused; nothing was changed by it, unless an earlier record of the same operation says so.
    Refused {
        /// Which kind of no, such as `conflict`.
        kind: String,
        /// Why.
        reason: String,
    },
    /// It was to be done and did not succeed, or it is not known whether it did.
    Failed {
        /// Which kind of failure, such as `unavailable`.
        kind: String,
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// A no of this kind.
    #[must_use]
    pub fn refused(kind: &str, reason: impl Into<String>) -> Self {
        Self::Refused { kind: kind.to_owned(), reason: reason.into() }
    }

    /// A failure of this kind.
    #[must_use]
    pub fn failed(kind: &str, reason: impl Into<String>) -> Self {
        Self::Failed { kind: kind.to_owned(), reason: reason.into() }
    }
}

/// A record of the store that was written or removed in the same transaction. Its version since is the audit record's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordChange {
    /// Its key.
    pub record: String,
    /// The version that it had before, where the change depended on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Whether it was removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// One record's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuditEvent {
    /// When it was asked for.
    pub at: Timestamp,
    /// By whom.
    pub who: Who,
    /// What was asked: the API's name of the operation, such as `delete-host`, or a word for what hosts do.
    pub what: String,
    /// Of which thing.
    pub object: String,
    /// The same for all records of one request.
    pub operation: OperationId,
    /// What became of it.
    pub outcome: Outcome,
    /// What was written with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<RecordChange>,
    /// How many refusals of this sort were not recorded since the last that was, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

// Serde hands over references.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record for AuditEvent {
    const KIND: &'static str = "audit-event";
}

impl AuditEvent {
    /// The record's content as the log takes it. All its texts are made printable and cut to their bounds.
    ///
    /// # Errors
    /// [`RecordError`] when it cannot be said in JSON.
    pub fn entry(mut self) -> Result<Entry, RecordError> {
        let cut = |text: &mut String| *text = printable(text, TEXT_LENGTH_MAX);
        cut(&mut self.what);
        cut(&mut self.object);
        match &mut self.outcome {
            Outcome::Refused { kind, reason } | Outcome::Failed { kind, reason } => {
                cut(kind);
                cut(reason);
            }
            Outcome::Done => {}
        }
        match &mut self.who {
            Who::Operator { name, .. } | Who::Host { name, .. } => cut(name),
            Who::Stranger { address } => cut(address),
            Who::Coordinator => {}
        }
        Entry::new(Self::KIND, Self::VERSION, &self)
    }
}

/// What a batch writes and removes.
#[must_use]
pub(crate) fn changes_of(batch: &Batch) -> Vec<RecordChange> {
    let change = |operation: &crate::store::Operation| {
        let removed = match operation.action {
            Action::Check => return None,
            Action::Put(_) => false,
            Action::Delete => true,
        };
        let before = match operation.precondition {
            Precondition::At(version) => Some(version.0),
            Precondition::Absent | Precondition::Any => None,
        };
        Some(RecordChange { record: operation.key.to_string(), before, removed })
    };
    batch.operations().iter().filter_map(change).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::{Key, Version};

    pub(in crate::audit) fn event(object: &str) -> AuditEvent {
        AuditEvent {
            at: Timestamp(1_700_000_000_000),
            who: Who::Operator { uid: 1000, name: "jane".to_owned() },
            what: "delete-host".to_owned(),
            object: object.to_owned(),
            operation: OperationId(Uuid::from_u128(7)),
            outcome: Outcome::Done,
            changes: Vec::new(),
            left_out: 0,
        }
    }

    #[test]
    fn the_form_of_an_event() {
        let done = AuditEvent {
            changes: vec![RecordChange { record: "hosts/7".to_owned(), before: Some(12), removed: true }],
            ..event("hosts/node-7")
        };
        let refused = AuditEvent {
            who: Who::Stranger { address: "192.0.2.1:4711".to_owned() },
            outcome: Outcome::Refused { kind: "denied".to_owned(), reason: "no".to_owned() },
            left_out: 3,
            ..event("join")
        };
        let forms = [done, refused].map(|event| {
            let entry = event.clone().entry().unwrap();
            let stored = crate::store::Stored {
                key: Key::new("audit/1").unwrap(),
                version: Version(1),
                value: entry.as_str().into(),
            };
            assert_eq!(AuditEvent::decode(&stored).unwrap(), event);
            serde_json::from_str::<serde_json::Value>(entry.as_str()).unwrap()
        });
        insta::assert_json_snapshot!(forms);
    }

    #[test]
    fn texts_from_outside_are_cut_and_cannot_steer_a_terminal() {
        let reason = format!("\u{1b}[2J{}", "x".repeat(10_000));
        let loud = AuditEvent {
            outcome: Outcome::Refused { kind: "invalid".to_owned(), reason },
            ..event(&"\u{202e}y".repeat(5_000))
        };
        let entry = loud.entry().unwrap();
        assert!(entry.as_str().len() < 2_000, "{} bytes", entry.as_str().len());
        assert!(!entry.as_str().contains("u001b") && !entry.as_str().contains('\u{202e}'));
    }

    #[test]
    fn what_a_batch_changes_is_listed_with_the_versions_before() {
        let key = |text: &str| Key::new(text).unwrap();
        let batch = Batch::new()
            .check(key("a"), Precondition::Any)
            .put(key("b"), Precondition::Absent, "{}")
            .delete(key("c"), Precondition::At(Version(4)));
        let change =
            |record: &str, before, removed| RecordChange { record: record.to_owned(), before, removed };
        assert_eq!(changes_of(&batch), [change("b", None, false), change("c", Some(4), true)]);
    }
}
