//! Owns the questions for hosts' journals.

use axum::Json;
use axum::extract::State;
use reeve_common::clock::Timestamp;
use reeve_common::ids::HostName;
use reeve_common::journal::{JournalCursor, JournalStart};
use serde::Deserialize;

use super::vms::Selector;
use crate::api::answer::Refusal;
use crate::api::conversions::journal_of;
use crate::api::question::{Asked, Named};
use crate::api::types::{JournalPage, ProblemKind, ProblemReport};
use crate::service::Service;

/// Lines that are told when nothing is said of it: what fits a few screens.
const LINES_DEFAULT: u32 = 100;

/// From where on lines are asked for, and how many.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::api) struct JournalQuestion {
    since_ms: Option<u64>,
    cursor: Option<String>,
    count: Option<u32>,
}

impl JournalQuestion {
    fn start(&self) -> Result<JournalStart, Refusal> {
        match (&self.cursor, self.since_ms) {
            (Some(_), Some(_)) => {
                Err(Refusal::new(ProblemKind::Invalid, "a cursor and a time cannot both be begun from")
                    .advise("`cursor` goes on behind lines that are known, `since-ms` begins at a time"))
            }
            (Some(cursor), None) => match JournalCursor::new(cursor) {
                Ok(cursor) => Ok(JournalStart::Behind(cursor)),
                Err(error) => Err(Refusal::new(ProblemKind::Invalid, error.to_string())),
            },
            (None, Some(since)) => Ok(JournalStart::Since(Timestamp(since))),
            (None, None) => Ok(JournalStart::Latest),
        }
    }

    fn count(&self) -> u32 {
        self.count.unwrap_or(LINES_DEFAULT)
    }
}

/// Of which host, from where on and how much.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::api) struct VmJournalQuestion {
    host: Option<HostName>,
    since_ms: Option<u64>,
    cursor: Option<String>,
    count: Option<u32>,
}

/// What the journal of a VM's host says of it. Without a start the latest lines are told, otherwise the first from there on.
#[utoipa::path(get, path = "/v1/vms/{vm}/journal", tag = "vms", params(
    ("vm" = String, Path, description = "Its id, the unique start of its id, its name, or a configuration with one VM"),
    ("host" = Option<String>, Query, description = "Of which host that it was on; the present or last one when left out"),
    ("since-ms" = Option<u64>, Query, description = "Begin at this moment, in milliseconds since 1970"),
    ("cursor" = Option<String>, Query, description = "Go on behind the lines of an earlier answer"),
    ("count" = Option<u32>, Query, description = "How many lines, 100 when left out, at most 500")), responses(
    (status = 200, description = "The lines", body = JournalPage),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn vm_journal(
    State(service): State<Service>,
    Named(Selector(selector)): Named<Selector>,
    Asked(question): Asked<VmJournalQuestion>,
) -> Result<Json<JournalPage>, Refusal> {
    let VmJournalQuestion { host, since_ms, cursor, count } = question;
    let question = JournalQuestion { since_ms, cursor, count };
    let id = service.vm(&selector).await?.view.vm.id;
    let page = service.vm_journal(&id, host.as_ref(), question.start()?, question.count()).await?;
    Ok(Json(journal_of(page)))
}

/// What a host's agent and its libvirt write into its journal. Without a start the latest lines are told, otherwise the first from there on.
#[utoipa::path(get, path = "/v1/hosts/{host}/journal", tag = "hosts", params(
    ("host" = String, Path, description = "The host's name"),
    ("since-ms" = Option<u64>, Query, description = "Begin at this moment, in milliseconds since 1970"),
    ("cursor" = Option<String>, Query, description = "Go on behind the lines of an earlier answer"),
    ("count" = Option<u32>, Query, description = "How many lines, 100 when left out, at most 500")), responses(
    (status = 200, description = "The lines", body = JournalPage),
    (status = "default", description = "What is wrong", body = ProblemReport)))]
pub(in crate::api) async fn host_journal(
    State(service): State<Service>,
    Named(host): Named<HostName>,
    Asked(question): Asked<JournalQuestion>,
) -> Result<Json<JournalPage>, Refusal> {
    Ok(Json(journal_of(service.host_journal(&host, question.start()?, question.count()).await?)))
}
