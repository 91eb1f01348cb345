//! Owns how a part of a log is chosen: how much of it, since when, and whether to go on.

use std::time::Duration;

use clap::Args;
use reeve_common::clock::Timestamp;
use reeve_common::units::parse_duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Which lines of a journal.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct JournalPart {
    /// Go on with lines as they are written, until interrupted.
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    /// All lines since a moment (`2026-03-01T12:00:00Z`) or so long ago (`1h`).
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub(in crate::cli) since: Option<Since>,
    /// How many of the latest lines.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100, conflicts_with = "since", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(in crate::cli) lines: u32,
}

/// Since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Since {
    /// A moment.
    Moment(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl Since {
    /// The moment it means now.
    pub(in crate::cli) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Moment(at) => at,
            Self::Ago(distance) => {
                let milliseconds = u64::try_from(distance.as_millis()).unwrap_or(u64::MAX);
                Timestamp(now.0.saturating_sub(milliseconds))
            }
        }
    }
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(distance) = parse_duration(text) {
        return Ok(Since::Ago(distance));
    }
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    at.map(|at| Since::Moment(Timestamp(at)))
        .ok_or_else(|| "this is a duration, such as 1h, or a moment, such as 2026-03-01T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_moment_or_a_distance() {
        let now = Timestamp(1_700_000_000_000);
        assert_eq!(since("1h").unwrap().at(now), Timestamp(now.0 - 3_600_000));
        assert_eq!(since("2023-11-14T22:13:20Z").unwrap().at(now), now);
        assert_eq!(since("2023-11-14T23:13:20.5+01:00").unwrap().at(now), Timestamp(now.0 + 500));
        assert!(since("yesterday").is_err() && since("-1").is_err() && since("").is_err());
    }
}
