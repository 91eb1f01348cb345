//! Owns the audit log's records and proofs as documents.

use reeve_common::checkpoint::SignedCheckpoint;

use crate::api::types::{
    AuditActor, AuditChange, AuditCheckpoint, AuditOutcome, AuditPage, AuditRecord, AuditVerification,
    AuditWitness,
};
use crate::audit::{self, Outcome, Who};
use crate::service;

pub(in crate::api) fn audit_page_of((size, records): (u64, Vec<audit::AuditRecord>)) -> AuditPage {
    AuditPage { size, records: records.into_iter().map(record_of).collect() }
}

fn record_of(record: audit::AuditRecord) -> AuditRecord {
    let audit::AuditRecord { sequence, version, hash, event } = record;
    let (actor, id, name) = match event.who {
        Who::Operator { uid, name } => (AuditActor::Operator, Some(uid), name),
        Who::Host { id, name } => (AuditActor::Host, Some(id.0), name),
        Who::Coordinator => (AuditActor::Coordinator, None, "coordinator".to_owned()),
        Who::Stranger { address } => (AuditActor::Stranger, None, address),
    };
    let (outcome, kind, reason) = match event.outcome {
        Outcome::Done => (AuditOutcome::Done, None, None),
        Outcome::Refused { kind, reason } => (AuditOutcome::Refused, Some(kind), Some(reason)),
        Outcome::Failed { kind, reason } => (AuditOutcome::Failed, Some(kind), Some(reason)),
    };
    let change = |change: audit::RecordChange| AuditChange {
        record: change.record,
        before: change.before,
        removed: change.removed,
    };
    AuditRecord {
        sequence,
        at: event.at.into(),
        actor,
        name,
        id,
        what: event.what,
        object: event.object,
        outcome,
        kind,
        reason,
        operation: event.operation,
        version: version.0,
        changes: event.changes.into_iter().map(change).collect(),
        left_out: Some(event.left_out).filter(|left_out| *left_out > 0),
        hash: hash.to_string(),
    }
}

pub(in crate::api) fn audit_verification_of(verified: service::AuditVerification) -> AuditVerification {
    let service::AuditVerification { report, witnesses, silent } = verified;
    AuditVerification {
        whole: report.is_whole(),
        records: report.records,
        head: report.head.hash.to_string(),
        checkpoints: report.checkpoints,
        latest: report.latest.as_ref().map(checkpoint_of),
        witnesses: witnesses
            .into_iter()
            .map(|witness| AuditWitness {
                host: witness.host,
                held: witness.held.as_ref().map(checkpoint_of),
            })
            .collect(),
        silent,
        findings: report.findings.iter().map(ToString::to_string).collect(),
        further: report.further,
    }
}

fn checkpoint_of(signed: &SignedCheckpoint) -> AuditCheckpoint {
    AuditCheckpoint {
        size: signed.head().size,
        at: signed.checkpoint.at.into(),
        epoch: signed.checkpoint.epoch.0,
    }
}
