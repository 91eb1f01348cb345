//! Owns reading the audit log out of a store: page by page, so that a log of any length takes little memory.
//!
//! Must not: write.

use reeve_common::checkpoint::{CheckpointKey, LogHead, SignedCheckpoint};

use super::{AUDIT, AuditEvent, CHECKPOINTS, CheckpointRecord, Finding, Verification, VerificationReport};
use crate::records::Record;
use crate::store::{
    Key, Link, RecordError, Store, StoreError, Stored, Version, head_key, link_key, read_head, read_link,
};

/// Records read at once: some hundred KiB.
const PAGE_RECORDS: usize = 512;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store failed.
    #[error("the audit log cannot be read")]
    Store(#[from] StoreError),
    /// A record is not what it must be; `reeve audit verify` tells all that are not.
    #[error("the audit log has a record that cannot be read; `reeve audit verify` says more")]
    Record(#[from] RecordError),
}

impl AuditError {
    /// Whether the same may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Record(_) => false,
        }
    }
}

/// One record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number, from 1.
    pub sequence: u64,
    /// The version of the store that its transaction made.
    pub version: Version,
    /// Its hash.
    pub hash: reeve_common::checkpoint::LogHash,
    /// What it says.
    pub event: AuditEvent,
}

/// How long the log is and how it ends.
///
/// # Errors
/// [`AuditError`] when the store cannot say.
pub async fn read_log_head(store: &dyn Store) -> Result<LogHead, AuditError> {
    Ok(read_head(store.get(&head_key(AUDIT)).await?.as_ref())?)
}

/// At most `count_max` records from number `from` on.
///
/// # Errors
/// [`AuditError`] when one of them cannot be read.
pub async fn page(store: &dyn Store, from: u64, count_max: usize) -> Result<Vec<AuditRecord>, AuditError> {
    let stored = store.page(AUDIT.prefix(), &link_key(AUDIT, from), count_max).await?;
    stored.iter().map(read_record).collect()
}

/// One record as a link of the chain; none when there is none of this number.
///
/// # Errors
/// [`AuditError`] when it cannot be read.
pub async fn record_at(store: &dyn Store, sequence: u64) -> Result<Option<Link>, AuditError> {
    Ok(store.get(&link_key(AUDIT, sequence)).await?.as_ref().map(read_link).transpose()?)
}

fn read_record(stored: &Stored) -> Result<AuditRecord, AuditError> {
    let link = read_link(stored)?;
    let event = AuditEvent::decode(&link.entry)?;
    Ok(AuditRecord { sequence: link.sequence, version: stored.version, hash: link.hash, event })
}

/// The checkpoint of the greatest size, if there is any.
///
/// # Errors
/// [`AuditError`] when it cannot be read.
pub async fn latest_checkpoint(
    store: &dyn Store,
    head: LogHead,
) -> Result<Option<SignedCheckpoint>, AuditError> {
    // One is made every hundred records at least, but for those made while it was not: look ever further back.
    let mut back = 2 * super::CHECKPOINT_AFTER_RECORDS;
    loop {
        let from = head.size.saturating_sub(back);
        let found = store.page(CHECKPOINTS.prefix(), &CHECKPOINTS.key(&from), usize::MAX).await?;
        if let Some(last) = found.last() {
            return Ok(Some(CheckpointRecord::decode(last)?.into()));
        }
        if from == 0 {
            return Ok(None);
        }
        back = back.saturating_mul(8);
    }
}

/// Proves the whole log as it is at this moment. `key` must have signed the checkpoints; none when it is not known.
///
/// # Errors
/// [`AuditError`] when the store fails. Whatever is wrong with the log itself is in the report.
pub async fn verify(store: &dyn Store, key: Option<CheckpointKey>) -> Result<VerificationReport, AuditError> {
    // The head is read first: records that come meanwhile are not looked at.
    let kept = store.get(&head_key(AUDIT)).await?;
    let (head, unreadable_head) = match read_head(kept.as_ref()) {
        Ok(head) => (head, None),
        Err(error) => (LogHead::EMPTY, Some(error)),
    };
    let end = kept.as_ref().map_or(Version(u64::MAX), |stored| stored.version);
    let mut checkpoints = Vec::new();
    let mut unreadable = Vec::new();
    let mut reader = Pages::new(CHECKPOINTS.prefix());
    while let Some(stored) = reader.next(store).await? {
        let place = stored.key.last_segment().parse().unwrap_or(0);
        match CheckpointRecord::decode(&stored) {
            // One that was made since covers what is not looked at.
            Ok(_) if stored.version > end && place > head.size => {}
            Ok(record) => checkpoints.push((place, record.into())),
            Err(error) => unreadable.push((stored.key.to_string(), error)),
        }
    }
    let mut verification = Verification::new(head, checkpoints, key);
    if let Some(error) = unreadable_head {
        verification.unreadable(head_key(AUDIT).as_str(), &error);
    }
    for (what, error) in &unreadable {
        verification.unreadable(what.as_str(), error);
    }
    let mut reader = Pages::new(AUDIT.prefix());
    let mut came_meanwhile = 0;
    while let Some(stored) = reader.next(store).await? {
        let place = stored.key.last_segment().parse().unwrap_or(0);
        if stored.version > end && place > head.size {
            came_meanwhile = place;
        } else {
            verification.take(&stored);
        }
    }
    let mut report = verification.finish();
    if came_meanwhile > 0 {
        let size = read_log_head(store).await?.size;
        if came_meanwhile > size {
            report.add(Finding::BeyondHead { size, sequence: came_meanwhile });
        }
    }
    Ok(report)
}

/// A collection read page by page.
struct Pages {
    prefix: &'static str,
    page: std::vec::IntoIter<Stored>,
    next: Option<Key>,
}

impl Pages {
    fn new(prefix: &'static str) -> Self {
        Self { prefix, page: Vec::new().into_iter(), next: Key::new(format!("{prefix}/0")).ok() }
    }

    async fn next(&mut self, store: &dyn Store) -> Result<Option<Stored>, StoreError> {
        if let Some(stored) = self.page.next() {
            return Ok(Some(stored));
        }
        let Some(from) = self.next.take() else { return Ok(None) };
        let page = store.page(self.prefix, &from, PAGE_RECORDS).await?;
        if page.len() == PAGE_RECORDS {
            // The next key after the last one: nothing lies between a text and the same with the lowest character.
            self.next = page.last().and_then(|last| Key::new(format!("{}-", last.key)).ok());
        }
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}
