//! Owns the form of a log in the store: records that are only ever added, numbered from 1, each with the hash of the one
//! before it, and the log's head, which says how many there are and the hash of the last.
//!
//! ```text
//!   audit/…01 ◀─hash─ audit/…02 ◀─hash─ audit/…03 ◀─hash─ log-heads/audit
//! ```
//!
//! ```json
//! {"version":1,"kind":"log-link","record":{"sequence":2,"previous":"9f…","entry":{"version":1,"kind":"…","record":{}}}}
//! ```
//!
//! Number and hash are given inside the store's transaction, by the one that writes: who appends need not know where the
//! log ends, so that any number may append at once. What is hashed is the text as it is kept; nothing has to be written
//! again in the same way to prove it.
//!
//! Must not: know what an entry means, or touch an engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_common::checkpoint::{LogHash, LogHead};
use serde::{Deserialize, Serialize};

use super::Stored;
use super::error::StoreError;
use super::key::{Collection, InvalidKey, Key};
use super::records::{RecordError, decode, encode};

/// Where the heads of all logs lie.
pub(super) const HEADS: Collection = Collection::new("log-heads");
const LINK_KIND: &str = "log-link";
const HEAD_KIND: &str = "log-head";
const FORMAT: u32 = 1;

/// Bytes that appending writes besides the entry, at most: two keys, the link's frame and the head.
pub(super) const APPEND_OVERHEAD_BYTES: usize = 1 << 10;
/// Operations that appending comes to: the link and the head.
pub(super) const APPEND_OPERATIONS: usize = 2;

/// What is added to a log: a record in its envelope. Made from values alone, so that it is always one piece of JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry(Arc<str>);

impl Entry {
    /// A record of this kind and version.
    ///
    /// # Errors
    /// [`RecordError::Unwritable`] when it has no JSON form.
    pub fn new<T: Serialize>(kind: &'static str, version: u32, record: &T) -> Result<Self, RecordError> {
        encode(kind, version, record).map(Self)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An entry and the log it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Which log.
    pub log: Collection,
    /// What is added.
    pub entry: Entry,
}

/// One record of a log, as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub sequence: u64,
    /// The hash of the one before it.
    pub previous: LogHash,
    /// Its own hash.
    pub hash: LogHash,
    /// The entry, as a record of its own: under this link's key and version.
    pub entry: Stored,
}

#[derive(Deserialize)]
struct LinkHeader {
    sequence: u64,
    previous: LogHash,
}

/// Where a log's record of this number lies.
#[must_use]
pub fn link_key(log: Collection, sequence: u64) -> Key {
    log.key(&sequence)
}

/// The same for a log that is known by its prefix.
pub(super) fn link_key_in(log: &str, sequence: u64) -> Result<Key, InvalidKey> {
    Key::new(format!("{log}/{sequence:020}"))
}

/// Where a log's head lies.
#[must_use]
pub fn head_key(log: Collection) -> Key {
    HEADS.key(&log)
}

/// Reads a log's head; that of an empty log when there is none.
///
/// # Errors
/// [`RecordError`] when it is no head.
pub fn read_head(stored: Option<&Stored>) -> Result<LogHead, RecordError> {
    stored.map_or(Ok(LogHead::EMPTY), |stored| decode(stored, HEAD_KIND, FORMAT..=FORMAT))
}

/// Reads a record of a log. It must be, letter by letter, as it is written here: otherwise two texts could pass for one.
///
/// # Errors
/// [`RecordError`] when it is none.
pub fn read_link(stored: &Stored) -> Result<Link, RecordError> {
    let LinkHeader { sequence, previous } = decode(stored, LINK_KIND, FORMAT..=FORMAT)?;
    let entry = stored
        .value
        .strip_prefix(&link_start(sequence, previous))
        .and_then(|rest| rest.strip_suffix(LINK_END))
        .ok_or_else(|| RecordError::Frame { key: stored.key.clone(), kind: LINK_KIND })?;
    let entry = Stored { key: stored.key.clone(), version: stored.version, value: Arc::from(entry) };
    Ok(Link { sequence, previous, hash: LogHash::of(&stored.value), entry })
}

fn link_start(sequence: u64, previous: LogHash) -> String {
    format!(
        "{{\"version\":{FORMAT},\"kind\":\"{LINK_KIND}\",\"record\":{{\"sequence\":{sequence},\"previous\":\"{previous}\",\"entry\":"
    )
}

const LINK_END: &str = "}}";

fn link_text(sequence: u64, previous: LogHash, entry: &Entry) -> String {
    let mut text = link_start(sequence, previous);
    text.push_str(entry.as_str());
    text.push_str(LINK_END);
    text
}

/// A record to be written: where, and what.
pub(super) type Written = (Key, Arc<str>);

/// What is written to append these entries, given what the store has under a key. The outer error is the engine's; the
/// inner one refuses the batch: a log whose head is not its end is not added to, since that would write over evidence.
pub(super) fn writes<E>(
    appends: &[Append],
    mut read: impl FnMut(&Key) -> Result<Option<Stored>, E>,
) -> Result<Result<Vec<Written>, StoreError>, E> {
    let mut heads: BTreeMap<&'static str, (Collection, LogHead)> = BTreeMap::new();
    let mut writes = Vec::with_capacity(appends.len() * APPEND_OPERATIONS);
    for Append { log, entry } in appends {
        let head = match heads.get(log.prefix()) {
            Some((_, head)) => *head,
            None => match read_head(read(&head_key(*log))?.as_ref()) {
                Ok(head) => head,
                Err(_) => return Ok(Err(damaged(&head_key(*log), "it is no log's head"))),
            },
        };
        let Some(sequence) = head.size.checked_add(1) else {
            return Ok(Err(damaged(&head_key(*log), "its numbers are used up")));
        };
        let key = link_key(*log, sequence);
        if read(&key)?.is_some() {
            return Ok(Err(damaged(&key, "the head of its log does not count it")));
        }
        let text = link_text(sequence, head.hash, entry);
        heads.insert(log.prefix(), (*log, LogHead { size: sequence, hash: LogHash::of(&text) }));
        writes.push((key, Arc::from(text)));
    }
    for (log, head) in heads.into_values() {
        match encode(HEAD_KIND, FORMAT, &head) {
            Ok(text) => writes.push((head_key(log), text)),
            Err(_) => return Ok(Err(damaged(&head_key(log), "it cannot be written"))),
        }
    }
    Ok(Ok(writes))
}

fn damaged(key: &Key, reason: &'static str) -> StoreError {
    StoreError::Damaged { key: key.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::super::Version;
    use super::*;

    const LOG: Collection = Collection::new("log");

    fn append(word: &str) -> Append {
        Append { log: LOG, entry: Entry::new("word", 1, &word).unwrap() }
    }

    fn stored(key: &Key, value: &Arc<str>) -> Stored {
        Stored { key: key.clone(), version: Version(3), value: Arc::clone(value) }
    }

    fn appended(words: &[&str], kept: &BTreeMap<Key, Arc<str>>) -> Result<Vec<(Key, Arc<str>)>, StoreError> {
        let appends: Vec<Append> = words.iter().map(|word| append(word)).collect();
        writes(&appends, |key| Ok::<_, ()>(kept.get(key).map(|value| stored(key, value)))).unwrap()
    }

    #[test]
    fn the_form_on_disk_is_fixed() {
        let written = appended(&["a"], &BTreeMap::new()).unwrap();
        let link = format!(
            r#"{{"version":1,"kind":"log-link","record":{{"sequence":1,"previous":"{}","entry":{{"version":1,"kind":"word","record":"a"}}}}}}"#,
            "0".repeat(64)
        );
        let head = format!(
            r#"{{"version":1,"kind":"log-head","record":{{"size":1,"hash":"{}"}}}}"#,
            LogHash::of(&link)
        );
        let texts: Vec<(&str, &str)> = written.iter().map(|(key, text)| (key.as_str(), &**text)).collect();
        assert_eq!(texts, [("log/00000000000000000001", &*link), ("log-heads/log", &*head)]);
    }

    #[test]
    fn entries_of_one_batch_follow_each_other_and_those_before() {
        let kept: BTreeMap<Key, Arc<str>> = appended(&["a"], &BTreeMap::new()).unwrap().into_iter().collect();
        let written = appended(&["b", "c"], &kept).unwrap();
        let links: Vec<Link> = kept
            .iter()
            .chain(written.iter().map(|(key, text)| (key, text)))
            .filter(|(key, _)| key.is_under(LOG.prefix()))
            .map(|(key, value)| read_link(&stored(key, value)).unwrap())
            .collect();
        assert_eq!(links.iter().map(|link| link.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(links.windows(2).all(|pair| pair[1].previous == pair[0].hash));
        let (key, head) = written.last().unwrap();
        let head = read_head(Some(&stored(key, head))).unwrap();
        assert_eq!(head, LogHead { size: 3, hash: links[2].hash });
        assert_eq!(links[2].entry.value, append("c").entry.0);
        assert_eq!(links[2].entry.version, Version(3));
    }

    #[test]
    fn a_log_whose_head_is_behind_is_not_written_over() {
        let mut kept: BTreeMap<Key, Arc<str>> =
            appended(&["a"], &BTreeMap::new()).unwrap().into_iter().collect();
        kept.remove(&head_key(LOG));
        let error = appended(&["b"], &kept).unwrap_err();
        assert!(error.to_string().contains("log/00000000000000000001"), "{error}");
        kept.insert(head_key(LOG), "{}".into());
        assert!(matches!(appended(&["b"], &kept), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_log_known_by_its_prefix_has_its_records_where_they_are_written() {
        assert_eq!(link_key_in(LOG.prefix(), 7).unwrap(), link_key(LOG, 7));
    }

    #[test]
    fn a_record_in_other_words_is_none() {
        let written = appended(&["a"], &BTreeMap::new()).unwrap();
        let (key, text) = written.first().unwrap();
        for other in [text.replace(":1,", ": 1,"), text.replace("}}}", "}} }"), format!("{text} ")] {
            assert!(read_link(&stored(key, &other.into())).is_err());
        }
    }
}
