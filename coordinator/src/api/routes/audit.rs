//! Owns the questions about the audit log.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::api::answer::Refusal;
use crate::api::conversions::{audit_page_of, audit_verification_of};
use crate::api::question::Asked;
use crate::api::types::{AuditPage, AuditVerification, ProblemKind, ProblemReport};
use crate::service::{AUDIT_PAGE_MAX, Service};

/// The longest a question for records is held back; well below what any question may take.
const RECORDS_WAIT_MAX: Duration = Duration::from_secs(30);
/// Records of an answer unless something else is asked for.
const RECORDS_DEFAULT: usize = 100;

type Answer<T> = Result<Json<T>, Refusal>;

/// Which records.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::api) struct RecordsQuery {
    from: Option<u64>,
    count: Option<usize>,
    #[serde(default)]
    wait_ms: u64,
}

/// Records of the audit log: from a number on, or the last ones.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "audit_records", params(
    ("from" = Option<u64>, Query, description = "The first record's number; when left out, the last ones are answered"),
    ("count" = Option<usize>, Query, description = "How many at most, 100 unless said, never more than 500"),
    ("wait-ms" = Option<u64>, Query, description = "With `from`: how long to wait when there is none yet, at most 30000")), responses(
    (status = 200, description = "The records, in their order", body = AuditPage),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn records(
    State(service): State<Service>,
    Asked(query): Asked<RecordsQuery>,
) -> Answer<AuditPage> {
    let count = query.count.unwrap_or(RECORDS_DEFAULT);
    if count > AUDIT_PAGE_MAX {
        let message = format!("{count} records are more than the {AUDIT_PAGE_MAX} that one answer holds");
        return Err(Refusal::new(ProblemKind::Invalid, message)
            .advise("ask with `from` for one page after the other"));
    }
    let found = match query.from {
        None => service.last_audit_records(count).await?,
        Some(from) => {
            let at_most = Duration::from_millis(query.wait_ms).min(RECORDS_WAIT_MAX);
            service.audit_records_when_there(from, count, at_most).await?
        }
    };
    Ok(Json(audit_page_of(found)))
}

/// Proves the audit log: its chain, its checkpoints' signatures, and what connected hosts keep of it as witnesses. Takes as
/// long as reading it does.
#[utoipa::path(get, path = "/v1/audit/verification", tag = "audit", operation_id = "audit_verification", responses(
    (status = 200, description = "What was proved, and what is wrong", body = AuditVerification),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn verification(State(service): State<Service>) -> Answer<AuditVerification> {
    Ok(Json(audit_verification_of(service.verify_audit().await?)))
}
