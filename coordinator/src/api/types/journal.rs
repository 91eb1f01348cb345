//! Owns what the API says of hosts' journals.

use std::collections::BTreeMap;

use reeve_common::ids::HostName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Moment;

/// Lines of a host's journal, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JournalPage {
    /// Whose journal it is.
    #[schema(value_type = String)]
    pub host: HostName,
    /// The lines.
    pub lines: Vec<JournalLine>,
    /// The place behind the last line, to go on from; none when the journal is empty.
    pub cursor: Option<String>,
    /// Whether there are more lines already.
    pub more: bool,
}

/// One line of a host's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct JournalLine {
    /// When it was written.
    pub at: Moment,
    /// How much it matters.
    pub level: JournalLevel,
    /// The program that wrote it.
    pub source: String,
    /// What it says.
    pub text: String,
    /// The name of the message in the journal's catalogue, when it is one.
    pub message: Option<String>,
    /// Whom it is about: the journal's fields `REEVE_VM`, `REEVE_HOST` and so on.
    pub fields: BTreeMap<String, String>,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JournalLevel {
    /// Something is broken.
    Error,
    /// Something may need a look.
    Warning,
    /// Worth knowing.
    Notice,
    /// What is done.
    Information,
    /// For who looks for a mistake.
    Debug,
}

impl JournalLevel {
    /// The level as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Information => "information",
            Self::Debug => "debug",
        }
    }
}
