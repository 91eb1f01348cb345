//! Owns the SQL: reading and writing single records, and the digest that tells a damaged one.
//!
//! Must not: begin or end transactions; that is the writer's.

use std::path::Path;
use std::sync::Arc;

use ring::digest;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::schema::{OpenError, engine};
use crate::store::Stored;
use crate::store::batch::Version;
use crate::store::key::Key;

/// Bytes of a record's digest: an accident is found with certainty for practical purposes; no secret is kept by it.
const DIGEST_LENGTH: usize = 16;

/// Records of one page: some milliseconds' work.
const PAGE_RECORDS: u32 = 1000;

/// What reading a record can run into.
#[derive(Debug)]
pub(super) enum RowError {
    /// The engine failed.
    Engine(rusqlite::Error),
    /// The record is not what was written.
    Damaged { key: String, reason: &'static str },
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl RowError {
    pub(super) fn into_open_error(self, path: &Path) -> OpenError {
        match self {
            Self::Engine(source) => engine(path, source),
            Self::Damaged { key, reason } => {
                OpenError::Damaged { path: path.to_owned(), problem: format!("the record {key:?}: {reason}") }
            }
        }
    }
}

/// One record.
pub(super) fn select_one(connection: &Connection, key: &Key) -> Result<Option<Stored>, RowError> {
    let mut statement =
        connection.prepare_cached("SELECT key, version, value, digest FROM records WHERE key = ?1")?;
    statement.query_row([key.as_str()], |row| Ok(read_row(row))).optional()?.transpose()
}

/// All records under a prefix, ordered by key.
pub(super) fn select_under(connection: &Connection, prefix: &str) -> Result<Vec<Stored>, RowError> {
    let mut found = Vec::new();
    let (from, to) = bounds(prefix);
    let mut statement = connection.prepare_cached(
        "SELECT key, version, value, digest FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key",
    )?;
    let mut rows = statement.query([from, to])?;
    while let Some(row) = rows.next()? {
        found.push(read_row(row)?);
    }
    Ok(found)
}

/// The first records under a prefix from a key on, ordered by key.
pub(super) fn select_page(
    connection: &Connection,
    prefix: &str,
    from: &Key,
    count_max: usize,
) -> Result<Vec<Stored>, RowError> {
    let (lowest, end) = bounds(prefix);
    let first = lowest.as_str().max(from.as_str());
    let mut statement = connection.prepare_cached(
        "SELECT key, version, value, digest FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3",
    )?;
    let mut rows = statement.query((first, end, i64::try_from(count_max).unwrap_or(i64::MAX)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_row(row)?);
    }
    Ok(found)
}

/// The last records under a prefix, ordered by key.
pub(super) fn select_last(
    connection: &Connection,
    prefix: &str,
    count_max: usize,
) -> Result<Vec<Stored>, RowError> {
    let (from, to) = bounds(prefix);
    let mut statement = connection.prepare_cached(
        "SELECT key, version, value, digest FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key DESC LIMIT ?3",
    )?;
    let mut rows = statement.query((from, to, i64::try_from(count_max).unwrap_or(i64::MAX)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_row(row)?);
    }
    found.reverse();
    Ok(found)
}

/// Between these keys, the second left out, lies exactly what is under a prefix: '0' is the character after '/', and every
/// key is above the empty text and below a character that no key has.
fn bounds(prefix: &str) -> (String, String) {
    match prefix.trim_end_matches('/') {
        "" => (String::new(), "~".to_owned()),
        prefix => (format!("{prefix}/"), format!("{prefix}0")),
    }
}

/// Every record, ordered by key.
pub(super) fn for_each(connection: &Connection, mut visit: impl FnMut(Stored)) -> Result<(), RowError> {
    let mut statement =
        connection.prepare_cached("SELECT key, version, value, digest FROM records ORDER BY key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit(read_row(row)?);
    }
    Ok(())
}

/// Every record, ordered by key, some at a time: whoever writes meanwhile is not kept from carrying the log over.
pub(super) fn for_each_in_pages(
    connection: &Connection,
    mut visit: impl FnMut(Stored),
) -> Result<(), RowError> {
    let mut statement = connection.prepare_cached(
        "SELECT key, version, value, digest FROM records WHERE key > ?1 ORDER BY key LIMIT ?2",
    )?;
    let mut last = String::new();
    loop {
        let before = last.clone();
        let mut rows = statement.query((&before, PAGE_RECORDS))?;
        while let Some(row) = rows.next()? {
            let stored = read_row(row)?;
            stored.key.as_str().clone_into(&mut last);
            visit(stored);
        }
        if last == before {
            return Ok(());
        }
    }
}

fn read_row(row: &Row<'_>) -> Result<Stored, RowError> {
    let key: String = row.get(0)?;
    let damaged = |reason| RowError::Damaged { key: key.clone(), reason };
    let version: i64 = row.get(1)?;
    let version = u64::try_from(version).map_err(|_| damaged("its version is negative"))?;
    let value = row.get_ref(2)?.as_str().map_err(|_| damaged("its value is no text"))?;
    let kept = row.get_ref(3)?.as_blob().map_err(|_| damaged("its digest is no bytes"))?;
    if digest_of(&key, version, value) != kept {
        return Err(damaged("its content does not match its digest"));
    }
    let stored_key = Key::new(key.clone()).map_err(|_| damaged("its key is none"))?;
    Ok(Stored { key: stored_key, version: Version(version), value: Arc::from(value) })
}

/// The version at which a record was last written.
pub(super) fn select_version(connection: &Connection, key: &Key) -> rusqlite::Result<Option<Version>> {
    let mut statement = connection.prepare_cached("SELECT version FROM records WHERE key = ?1")?;
    let version = statement.query_row([key.as_str()], |row| row.get::<_, i64>(0)).optional()?;
    version.map(from_engine).transpose()
}

/// Writes a record.
pub(super) fn put(connection: &Connection, key: &Key, version: Version, value: &str) -> rusqlite::Result<()> {
    let digest = digest_of(key.as_str(), version.0, value);
    let mut statement = connection.prepare_cached(
        "INSERT INTO records (key, version, value, digest) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (key) DO UPDATE SET version = ?2, value = ?3, digest = ?4",
    )?;
    statement.execute((key.as_str(), to_engine(version)?, value, digest)).map(|_| ())
}

/// Removes a record; false when there was none.
pub(super) fn delete(connection: &Connection, key: &Key) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("DELETE FROM records WHERE key = ?1")?;
    statement.execute([key.as_str()]).map(|count| count > 0)
}

/// The store's version.
pub(super) fn read_version(connection: &Connection) -> rusqlite::Result<Version> {
    connection
        .query_row("SELECT value FROM store WHERE name = 'version'", [], |row| row.get::<_, i64>(0))
        .and_then(from_engine)
}

/// Keeps the store's version.
pub(super) fn write_version(connection: &Connection, version: Version) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("UPDATE store SET value = ?1 WHERE name = 'version'")?;
    statement.execute([to_engine(version)?]).map(|_| ())
}

fn from_engine(version: i64) -> rusqlite::Result<Version> {
    u64::try_from(version).map(Version).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, version))
}

fn to_engine(version: Version) -> rusqlite::Result<i64> {
    i64::try_from(version.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Over key, version and value, each after its length, so that no two records give the same bytes.
fn digest_of(key: &str, version: u64, value: &str) -> [u8; DIGEST_LENGTH] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&version.to_le_bytes());
    context.update(&key.len().to_le_bytes());
    context.update(key.as_bytes());
    context.update(value.as_bytes());
    let mut short = [0; DIGEST_LENGTH];
    for (to, from) in short.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    short
}
