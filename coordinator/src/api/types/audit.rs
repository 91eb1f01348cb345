//! Owns the documents of the audit log.

use reeve_common::ids::{HostName, OperationId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::Moment;

/// Some of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditPage {
    /// How many records the log has.
    pub size: u64,
    /// Those asked for, in their order.
    pub records: Vec<AuditRecord>,
}

/// One record of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditRecord {
    /// Its number, from 1.
    pub sequence: u64,
    /// When it was asked for.
    pub at: Moment,
    /// By whom: `operator`, `host`, `coordinator` or `stranger`.
    pub actor: AuditActor,
    /// Their name; for a stranger from where.
    pub name: String,
    /// An operator's user id on the coordinator's machine, or a host's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// What was asked: this document's name of the operation, such as `delete-host`, or a word for what hosts do.
    pub what: String,
    /// Of which thing.
    pub object: String,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// Which kind of no, such as `conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for all records of one request.
    #[schema(value_type = String)]
    pub operation: OperationId,
    /// The version of the store that its transaction made.
    pub version: u64,
    /// What was written in the same transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<AuditChange>,
    /// How many refusals of this sort went unrecorded before it, because there were too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
    /// SHA-256 of the record as it is kept, in hexadecimal digits.
    pub hash: String,
}

/// A record of the store that was written or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditChange {
    /// Its key.
    pub record: String,
    /// The version that it had before, where the change depended on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// Whether it was removed.
    #[serde(default)]
    pub removed: bool,
}

/// Which sort of somebody did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditActor {
    /// Somebody at the API.
    Operator,
    /// A host's agent, by its certificate.
    Host,
    /// The coordinator of its own accord.
    Coordinator,
    /// Somebody who has not proved who they are.
    Stranger,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditOutcome {
    /// It was done, in the record's own transaction.
    Done,
    /// It was refused.
    Refused,
    /// It did not succeed, or it is not known whether it did.
    Failed,
}

/// What a verification of the audit log came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditVerification {
    /// Whether nothing is wrong.
    pub whole: bool,
    /// How many records were proved.
    pub records: u64,
    /// The hash of the last one.
    pub head: String,
    /// How many checkpoints were proved or refuted.
    pub checkpoints: u64,
    /// The highest good checkpoint of the log itself. Records after it are covered by no signature yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<AuditCheckpoint>,
    /// What hosts keep as witnesses.
    pub witnesses: Vec<AuditWitness>,
    /// Connected hosts that did not answer.
    #[schema(value_type = Vec<String>)]
    pub silent: Vec<HostName>,
    /// What is wrong, and where; at most a hundred faults.
    pub findings: Vec<String>,
    /// How many faults more there are.
    pub further: u64,
}

/// A signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditCheckpoint {
    /// How many records it covers.
    pub size: u64,
    /// When it was signed.
    pub at: Moment,
    /// The coordinator's term of office.
    pub epoch: u64,
}

/// What a host keeps as a witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AuditWitness {
    /// Which host.
    #[schema(value_type = String)]
    pub host: HostName,
    /// Its checkpoint; none when it has never got one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<AuditCheckpoint>,
}
