//! Owns how a fleet of simulated hosts joins: one line for each, a few at a time.

use std::path::Path;
use std::sync::Arc;

use reeve_common::clock::Clock;
use reeve_common::tls::{InvalidJoinLine, JoinLine};
use tokio::task::JoinSet;

use super::{HOSTS_MAX, host_directory, next_number};
use crate::enrolment::{self, JoinError};
use crate::identity::IdentityDirectory;

/// Joins under way at the same time: each waits for a transaction of the coordinator's store and writes four files.
const JOINS_MAX: usize = 16;

/// Why a line made no host. Those before it are hosts.
#[derive(Debug, thiserror::Error)]
pub enum FleetJoinError {
    /// A line is none.
    #[error("line {number} is no join line; none was used")]
    Line {
        /// Which, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: InvalidJoinLine,
    },
    /// There are more lines than hosts can be in one process.
    #[error(
        "a fleet has at most {HOSTS_MAX} hosts, and there are {0} lines beside those that have joined; none was used"
    )]
    TooMany(usize),
    /// A host could not join.
    #[error("host {number} of the fleet could not join; lines that were not used can be given again")]
    Join {
        /// Its number.
        number: u32,
        /// Why.
        #[source]
        source: JoinError,
    },
}

/// Makes a host of each line, numbered on from those that have joined before. Answers how many joined now.
///
/// # Errors
/// [`FleetJoinError`] at the first that fails; when a line is none, nothing is done.
pub async fn join(lines: &str, state_directory: &Path, clock: Arc<dyn Clock>) -> Result<u32, FleetJoinError> {
    let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let lines: Vec<JoinLine> = lines
        .map(|(index, line)| {
            line.trim().parse().map_err(|source| FleetJoinError::Line { number: index + 1, source })
        })
        .collect::<Result<_, _>>()?;
    let first = next_number(state_directory);
    let room = usize::try_from(HOSTS_MAX.saturating_sub(first)).unwrap_or(usize::MAX).saturating_add(1);
    if lines.len() > room {
        return Err(FleetJoinError::TooMany(lines.len()));
    }
    let mut joined = 0;
    let mut joins = JoinSet::new();
    for (number, line) in (first..).zip(lines) {
        if joins.len() >= JOINS_MAX {
            joined += finished(joins.join_next().await)?;
        }
        let directory = IdentityDirectory::within(&host_directory(state_directory, number));
        let clock = Arc::clone(&clock);
        joins.spawn(async move {
            let joined = enrolment::join(&line, &directory, false, clock).await;
            joined.map(|_| ()).map_err(|source| FleetJoinError::Join { number, source })
        });
    }
    while !joins.is_empty() {
        joined += finished(joins.join_next().await)?;
    }
    Ok(joined)
}

type Finished = Option<Result<Result<(), FleetJoinError>, tokio::task::JoinError>>;

/// One more, unless the runtime is ending.
fn finished(ended: Finished) -> Result<u32, FleetJoinError> {
    match ended {
        Some(Ok(joined)) => joined.map(|()| 1),
        _ => Ok(0),
    }
}
