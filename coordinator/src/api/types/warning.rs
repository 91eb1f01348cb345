//! Owns the documents of standing warnings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::moment::Moment;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It should be seen to, and nothing fails yet.
    Warning,
    /// Something does not work.
    Failure,
}

impl Severity {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// Where a warning is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WarningState {
    /// It is so, and nobody has said that they know.
    Open,
    /// It is so, and somebody knows.
    Acknowledged,
    /// It is not so any more.
    Gone,
}

impl WarningState {
    /// Its name in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Acknowledged => "acknowledged",
            Self::Gone => "gone",
        }
    }
}

/// Something that is wrong, for as long as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Warning {
    /// Its kind and subject, such as `silent-host/node-1`.
    pub id: String,
    /// What is wrong.
    pub kind: String,
    /// With whom: a host, a realm, `coordinator`, or `others` for those beyond the first fifty of a kind.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: WarningState,
    /// What is wrong, in words.
    pub message: String,
    /// What to do about it, with the command that helps.
    pub advice: String,
    /// How often it has come up: once more each time after it was gone.
    pub count: u64,
    /// When it first came up.
    pub first_seen: Moment,
    /// When it was last so.
    pub last_seen: Moment,
    /// Who has acknowledged it.
    pub acknowledged_by: Option<String>,
    /// When.
    pub acknowledged_at: Option<Moment>,
    /// Since when it is not so any more.
    pub gone_at: Option<Moment>,
}

/// Standing warnings that nobody has acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OpenWarnings {
    /// Something does not work.
    pub failures: usize,
    /// It should be seen to.
    pub warnings: usize,
}
