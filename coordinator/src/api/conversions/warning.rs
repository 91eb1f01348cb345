//! Owns how standing warnings become documents.

use crate::api::types::{Moment, Severity, Warning, WarningState};
use crate::model::warning;

pub(in crate::api) fn warning_of(warning: &warning::Warning) -> Warning {
    let (state, acknowledged, gone_at) = match &warning.state {
        warning::WarningState::Open => (WarningState::Open, None, None),
        warning::WarningState::Acknowledged { by, at } => (WarningState::Acknowledged, Some((by, *at)), None),
        warning::WarningState::Gone { at } => (WarningState::Gone, None, Some(*at)),
    };
    Warning {
        id: warning.id().to_string(),
        kind: warning.kind.to_string(),
        subject: warning.subject.clone(),
        severity: match warning.severity {
            warning::Severity::Warning => Severity::Warning,
            warning::Severity::Failure => Severity::Failure,
        },
        state,
        message: warning.message.clone(),
        advice: warning.advice.clone(),
        count: warning.count,
        first_seen: warning.first_seen.into(),
        last_seen: warning.last_seen.into(),
        acknowledged_by: acknowledged.map(|(by, _)| by.clone()),
        acknowledged_at: acknowledged.map(|(_, at)| at.into()),
        gone_at: gone_at.map(Moment),
    }
}
