//! Owns the proof of the audit log in a store's file, without a coordinator: of one that is stopped, or of a backup.
//!
//! Must not: change the file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use reeve_common::checkpoint::CheckpointKey;
use reeve_common::clock::Timestamp;

use super::{AuditError, VerificationReport, verify};
use crate::pki::{Authority, AuthorityError, IssueError};
use crate::store::{OpenError, SqliteStore};

/// Why the log in a file was not proved.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The store cannot be opened.
    #[error("the store cannot be opened; of a coordinator that runs, `reeve audit verify` proves the log")]
    Store(#[from] OpenError),
    /// The key that must have signed is not to be had.
    #[error("the key that signs checkpoints cannot be read")]
    Authority(#[from] AuthorityError),
    /// The key that must have signed is not to be had.
    #[error("the key that signs checkpoints cannot be made")]
    Key(#[from] IssueError),
    /// The log cannot be read.
    #[error("the log in {} cannot be read", path.display())]
    Log {
        /// The store's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: AuditError,
    },
}

/// Proves the log in the store at `path`. Its checkpoints must be signed by the authority in `pki`; without one each must
/// be signed by the key that it names.
///
/// # Errors
/// [`OfflineError`] when it cannot be read. What is wrong with it is in the report.
pub async fn verify_file(
    path: &Path,
    pki: Option<&Path>,
    now: Timestamp,
) -> Result<VerificationReport, OfflineError> {
    let key: Option<CheckpointKey> = match pki {
        Some(pki) => Some(Authority::open(pki, now)?.checkpoint_signer()?.key()),
        None => None,
    };
    let store = SqliteStore::open(path)?;
    verify(&store, key).await.map_err(|source| OfflineError::Log { path: path.to_owned(), source })
}

/// A report as lines for people.
#[must_use]
pub fn words(report: &VerificationReport) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    if report.is_whole() {
        line(format!("The audit log is whole: {} records.", report.records));
    } else {
        line(format!("THE AUDIT LOG IS NOT WHOLE: {} records.", report.records));
    }
    match report.latest {
        Some(signed) => line(format!(
            "Signed up to record {}, at {}, the last of {} checkpoints; hosts that witness it were not asked.",
            signed.head().size,
            signed.checkpoint.at,
            report.checkpoints
        )),
        None => line("None of it is signed yet; hosts that witness it were not asked.".to_owned()),
    }
    for finding in &report.findings {
        line(format!("Wrong: {finding}."));
    }
    if report.further > 0 {
        line(format!("And {} faults more.", report.further));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::event;
    use super::super::{AUDIT, Finding};
    use super::*;
    use crate::store::{Batch, Precondition, Store, link_key};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    #[tokio::test]
    async fn the_log_of_a_stopped_coordinator_is_proved_from_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        let pki = directory.path().join("pki");
        Authority::create(&pki, NOW).unwrap();
        let store = SqliteStore::create(&path).unwrap();
        for number in 0..3 {
            let entry = event(&number.to_string()).entry().unwrap();
            store.apply(Batch::new().append(AUDIT, entry)).await.unwrap();
        }
        let error = verify_file(&path, Some(&pki), NOW).await.unwrap_err();
        assert!(error.to_string().contains("`reeve audit verify`"), "{error}");
        drop(store);
        let report = verify_file(&path, Some(&pki), NOW).await.unwrap();
        assert!(report.is_whole() && report.records == 3);
        assert!(words(&report).starts_with("The audit log is whole: 3 records."));

        let store = SqliteStore::open(&path).unwrap();
        let edited = store.get(&link_key(AUDIT, 2)).await.unwrap().unwrap().value.replace("jane", "mary");
        store.apply(Batch::new().put(link_key(AUDIT, 2), Precondition::Any, edited)).await.unwrap();
        drop(store);
        let report = verify_file(&path, None, NOW).await.unwrap();
        assert_eq!(report.findings, [Finding::Broken { sequence: 3 }]);
        let words = words(&report);
        assert!(
            words.contains("NOT WHOLE") && words.contains("record 3 does not follow record 2"),
            "{words}"
        );
    }
}
