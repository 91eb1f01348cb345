//! Owns `reeve-coordinator restore`: makes a store of a backup that no coordinator runs on before the hosts were asked.
//!
//! ```text
//!   backup ──▶ store.sqlite.restored: mark, counters moved on ──▶ authority ──▶ old store aside ──▶ in its place
//! ```
//!
//! Whatever happens in between, there is the old store or the new one, and the old one is never removed.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use reeve_common::clock::Timestamp;
use reeve_common::durable_file::{self, FileError};
use reeve_common::ids::Epoch;
use zeroize::Zeroizing;

use super::MADE_AT;
use crate::config::CoordinatorConfig;
use crate::initialise::STATE_DIRECTORY_MODE;
use crate::pki::{Authority, AuthorityError};
use crate::records::{HOST_COUNTER, Record};
use crate::recovery::{EPOCHS_SKIPPED, HOST_NUMBERS_SKIPPED, PendingRecovery, WritingError, pending_key};
use crate::store::{
    BackupError, Batch, OpenError, Precondition, SqliteStore, Store, StoreLock, advance_beyond,
    advance_epoch_beyond, extract, last_epoch, last_id, read_contents,
};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error("the backup cannot be used; the store is as it was")]
    Backup(#[from] BackupError),
    /// It is a store and no backup.
    #[error(
        "{} is a store and no backup: to go back to a store that was set aside, put its file in its place",
        path.display()
    )]
    NotABackup {
        /// Which file.
        path: PathBuf,
    },
    /// There is a store.
    #[error(
        "there is a store at {} already: add --replace to set it aside and put the backup in its place",
        path.display()
    )]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A coordinator runs, or the store cannot be opened.
    #[error("the store cannot be replaced")]
    Store(#[from] OpenError),
    /// The authority in place is another one.
    #[error(
        "the certificate authority in {} is another one than the backup's, and hosts trust one of them: move it away to restore the backup's",
        directory.display()
    )]
    OtherAuthority {
        /// Where.
        directory: PathBuf,
    },
    /// The authority cannot be restored.
    #[error("the certificate authority cannot be restored")]
    Authority(#[from] AuthorityError),
    /// The records cannot be written.
    #[error("the restored records cannot be written")]
    Writing(#[from] WritingError),
    /// The new store was not closed.
    #[error("the restored store has a log left over at {}; the store is as it was, try again", path.display())]
    LogLeft {
        /// The log.
        path: PathBuf,
    },
    /// A file cannot be moved.
    #[error("a file cannot be moved")]
    File(#[from] FileError),
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was made, as far as it says.
    pub made_at: Option<Timestamp>,
    /// How many records it has.
    pub records: usize,
    /// The next coordinator's epoch is above this one.
    pub epoch: Epoch,
    /// Where the store that was there is now.
    pub set_aside: Option<PathBuf>,
    /// Whether the authority's files were missing and are the backup's now.
    pub authority_restored: bool,
}

/// Makes the store of a backup. `chance` is a random number.
///
/// # Errors
/// [`RestoreError`]; the store that is there is still there then.
pub async fn restore(
    config: &CoordinatorConfig,
    backup: &Path,
    replace: bool,
    chance: u64,
    now: Timestamp,
) -> Result<Restored, RestoreError> {
    let contents = read_contents(backup)?;
    if !contents.is_backup {
        return Err(RestoreError::NotABackup { path: backup.to_owned() });
    }
    let made_at = contents.attachments.iter().find(|(name, _)| name == MADE_AT);
    let made_at = made_at.and_then(|(_, text)| text.parse().ok()).map(Timestamp);
    let path = config.store_path();
    if !durable_file::exists(&config.state_directory)? {
        let made =
            DirBuilder::new().recursive(true).mode(STATE_DIRECTORY_MODE).create(&config.state_directory);
        made.map_err(|source| FileError::Io {
            path: config.state_directory.clone(),
            doing: "creating the directory",
            source,
        })?;
    }
    let there = durable_file::exists(&path)?;
    if there && !replace {
        return Err(RestoreError::Exists { path });
    }
    // Held until all is done: no coordinator starts meanwhile.
    let _lock = take_lock(&path)?;
    let authority = check_authority(config, &contents.attachments)?;
    let floor = if there { epoch_of(&path) } else { Epoch(0) };
    let new = suffixed(&path, ".restored");
    extract(backup, &new)?;
    let epoch = mark(&new, made_at, floor, chance, now).await?;
    if let AuthorityInPlace::Missing = authority {
        Authority::import(&config.pki_directory(), &contents.attachments, now)?;
    }
    let set_aside = if there { Some(set_aside(&path, now)?) } else { None };
    // A log that lies there by itself would be taken for the new store's.
    for stray in ["-wal", "-shm"] {
        let stray = suffixed(&path, stray);
        if durable_file::exists(&stray)? {
            durable_file::rename(&stray, &suffixed(&stray, &format!(".stray-{}", now.0)))?;
        }
    }
    durable_file::rename(&new, &path)?;
    Ok(Restored {
        made_at,
        records: contents.records.len(),
        epoch,
        set_aside,
        authority_restored: matches!(authority, AuthorityInPlace::Missing),
    })
}

/// A store whose log is missing is no reason not to replace it.
fn take_lock(path: &Path) -> Result<StoreLock, RestoreError> {
    match StoreLock::take(path) {
        Err(OpenError::MissingLog { lock, .. }) => {
            durable_file::rename(&lock, &suffixed(&lock, ".missed"))?;
            Ok(StoreLock::take(path)?)
        }
        other => Ok(other?),
    }
}

enum AuthorityInPlace {
    Missing,
    Same,
}

fn check_authority(
    config: &CoordinatorConfig,
    saved: &[(String, Zeroizing<String>)],
) -> Result<AuthorityInPlace, RestoreError> {
    let directory = config.pki_directory();
    if !durable_file::exists(&directory)? {
        return Ok(AuthorityInPlace::Missing);
    }
    let same = Authority::export(&directory)?.iter().all(|file| saved.contains(file));
    if same { Ok(AuthorityInPlace::Same) } else { Err(RestoreError::OtherAuthority { directory }) }
}

/// The last epoch of the store that is replaced, as far as it can be read: agents may have obeyed it.
fn epoch_of(path: &Path) -> Epoch {
    let read = read_contents(path).ok().and_then(|contents| {
        let counter = contents.records.into_iter().find(|stored| stored.key.as_str() == "counters/epoch")?;
        crate::store::decode(&counter, "counter", 1..=1).ok()
    });
    Epoch(read.unwrap_or(0))
}

/// Sets the recovery's mark in the new store, and moves its counters beyond what was given out since the backup.
async fn mark(
    new: &Path,
    made_at: Option<Timestamp>,
    floor: Epoch,
    chance: u64,
    now: Timestamp,
) -> Result<Epoch, RestoreError> {
    let store = SqliteStore::open(new)?;
    let epoch = write_mark(&store, made_at, floor, chance, now).await?;
    drop(store);
    let log = suffixed(new, "-wal");
    if durable_file::exists(&log)? {
        return Err(RestoreError::LogLeft { path: log });
    }
    let lock = suffixed(new, ".lock");
    std::fs::remove_file(&lock).map_err(|source| FileError::Io { path: lock, doing: "removing", source })?;
    Ok(epoch)
}

async fn write_mark(
    store: &SqliteStore,
    made_at: Option<Timestamp>,
    floor: Epoch,
    chance: u64,
    now: Timestamp,
) -> Result<Epoch, WritingError> {
    let mark = PendingRecovery { backup_made_at: made_at, since: now };
    store.apply(Batch::new().put(pending_key()?, Precondition::Any, mark.encode()?)).await?;
    let last = floor.max(last_epoch(store).await?);
    let epoch = Epoch(last.0.saturating_add(EPOCHS_SKIPPED).saturating_add(chance % EPOCHS_SKIPPED));
    advance_epoch_beyond(store, epoch).await?;
    let hosts = last_id(store, HOST_COUNTER).await?;
    advance_beyond(store, HOST_COUNTER, hosts.saturating_add(HOST_NUMBERS_SKIPPED)).await?;
    Ok(epoch)
}

/// Moves the store that is there out of the way, its log after it.
fn set_aside(path: &Path, now: Timestamp) -> Result<PathBuf, RestoreError> {
    let aside = suffixed(path, &format!(".before-restore-{}", now.0));
    for part in ["", "-wal", "-shm"] {
        let from = suffixed(path, part);
        if durable_file::exists(&from)? {
            durable_file::rename(&from, &suffixed(&aside, part))?;
        }
    }
    Ok(aside)
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
