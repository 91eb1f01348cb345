//! Owns how the audit log and its proof are shown.

use crate::api::types::{AuditCheckpoint, AuditOutcome, AuditRecord, AuditVerification};
use crate::cli::moments::relative_and_absolute;
use crate::cli::screen::{Column, Screen, Sheet, number, words};

const COLUMNS: [Column; 6] =
    [number("NUMBER"), words("WHEN"), words("WHO"), words("WHAT"), words("OBJECT"), words("OUTCOME")];

/// How many witnesses are named; the rest is counted.
const WITNESSES_SHOWN: usize = 10;

pub(in crate::cli) fn records(screen: &Screen, records: &[AuditRecord]) -> String {
    screen.list(
        records,
        |record| record.sequence.to_string(),
        &COLUMNS,
        |record| {
            vec![
                record.sequence.to_string(),
                record.at.0.to_string(),
                record.name.clone(),
                record.what.clone(),
                record.object.clone(),
                outcome(record),
            ]
        },
    )
}

fn outcome(record: &AuditRecord) -> String {
    let word = match record.outcome {
        AuditOutcome::Done => "done",
        AuditOutcome::Refused => "refused",
        AuditOutcome::Failed => "failed",
    };
    let mut text = word.to_owned();
    if let Some(reason) = &record.reason {
        text.push_str(&format!(": {reason}"));
    }
    if let Some(left_out) = record.left_out {
        text.push_str(&format!(" ({left_out} more before it were not recorded)"));
    }
    text
}

pub(in crate::cli) fn verification(screen: &Screen, verified: &AuditVerification) -> String {
    let word = if verified.whole { "whole" } else { "NOT WHOLE" };
    screen.one(
        verified,
        |_| word.to_owned(),
        |verified| {
            let covered = |checkpoint: &AuditCheckpoint| {
                format!(
                    "{} records, signed {}",
                    checkpoint.size,
                    relative_and_absolute(checkpoint.at, screen.now)
                )
            };
            let uncovered =
                verified.records.saturating_sub(verified.latest.as_ref().map_or(0, |latest| latest.size));
            let held =
                verified.witnesses.iter().filter_map(|witness| Some((witness, witness.held.as_ref()?)));
            let mut held: Vec<_> = held.collect();
            held.sort_by_key(|(_, checkpoint)| std::cmp::Reverse(checkpoint.size));
            let more = held.len().saturating_sub(WITNESSES_SHOWN);
            let silent = verified.silent.len();
            Sheet::new()
                .line("Audit log", word)
                .line("Records", verified.records.to_string())
                .line("Checkpoints", verified.checkpoints.to_string())
                .line("Latest", verified.latest.as_ref().map_or_else(|| "none yet".to_owned(), covered))
                .optional("Not yet signed", Some(format!("{uncovered} records")).filter(|_| uncovered > 0))
                .several(
                    "Witnesses",
                    held.iter()
                        .take(WITNESSES_SHOWN)
                        .map(|(witness, checkpoint)| format!("{}: {}", witness.host, covered(checkpoint)))
                        .chain((more > 0).then(|| format!("and {more} more")))
                        .chain(held.is_empty().then(|| "none".to_owned())),
                )
                .optional("Did not answer", Some(format!("{silent} hosts")).filter(|_| silent > 0))
                .several("Wrong", verified.findings.iter().cloned())
                .optional(
                    "Further faults",
                    Some(verified.further.to_string()).filter(|_| verified.further > 0),
                )
                .render()
        },
    )
}
