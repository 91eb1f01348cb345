//! The audit log: who did what, when, and what became of it, in records that are only ever added and that prove each
//! other.
//!
//! ```text
//!   a change's batch ──with its record──▶ store: audit/1 ◀─ audit/2 ◀─ audit/3 ◀─ head
//!                                                     ▲                    ▲
//!                        signed checkpoints, in the store and at agents ───┘
//! ```
//!
//! What is recorded: everything that somebody asked to be changed, done or refused, and what hosts do with their identity.
//! What is only read, and what hosts report of their VMs, is not. The log grows for ever; nothing is pruned.
//!
//! What it proves: that no record was edited, removed, put in or put elsewhere before the last checkpoint that a witness
//! holds. It does not prove that everything was recorded, that a coordinator in wrong hands recorded the truth, or anything
//! of records after the last checkpoint; and it tells that something was removed, and does not bring it back.
//!
//! Must not: be reached by another way than through here. `event`, `allowance`, `checkpoints` and `verification` are pure;
//! `reading` reads a store.

mod allowance;
mod checkpoints;
mod event;
pub mod offline;
mod reading;
mod verification;

use crate::store::Collection;

pub use self::allowance::Allowance;
pub use self::checkpoints::{CHECKPOINT_AFTER_RECORDS, CHECKPOINT_AFTER_TIME, CheckpointRecord, is_due};
pub(crate) use self::event::changes_of;
pub use self::event::{AuditEvent, Outcome, RecordChange, Who};
pub use self::reading::{AuditError, AuditRecord, latest_checkpoint, page, read_log_head, record_at, verify};
pub use self::verification::{FINDINGS_MAX, Finding, Verification, VerificationReport, contradiction};

/// The log's records, by number.
pub const AUDIT: Collection = Collection::new("audit");
/// Signed checkpoints, by the log's size.
pub const CHECKPOINTS: Collection = Collection::new("audit-checkpoints");
