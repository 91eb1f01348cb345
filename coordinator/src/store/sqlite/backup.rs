//! Owns what a backup is in SQLite's terms: a copy of the store as it was at one moment, made while it is written to,
//! with what else a coordinator cannot do without, in one file that no coordinator takes for its store.
//!
//! ```text
//!   store.sqlite(-wal) ──one read transaction──▶ FILE.new ──attachments, marks, every record read──▶ synced ──▶ FILE
//!   FILE ──▶ a new store beside the old one
//! ```
//!
//! Must not: hold up the writer. In the write-ahead mode a reader never does; only the log grows meanwhile.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reeve_common::durable_file::{self, FileError, PRIVATE_FILE};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use super::schema::{self, APPLICATION_ID, OpenError, SCHEMA_VERSION, engine};
use super::{beside, migrations, rows};
use crate::store::{Stored, Version};

/// "reeb" in ASCII: a backup, which is no store before it has been restored.
const BACKUP_ID: i32 = 0x7265_6562;
/// How often a copy that found the file busy is tried again; each time it is waited for as long as for any other lock.
const COPY_ATTEMPTS_MAX: u32 = 10;
const COPY_PAUSE: Duration = Duration::from_millis(100);

const ATTACHMENTS: &str =
    "CREATE TABLE attachments (name TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL) STRICT;";

/// A text that goes with a store into its backup.
pub type Attachment = (String, Zeroizing<String>);

/// Why there is no backup, or none to be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target is there already.
    #[error("{} is there already: a backup never overwrites anything; choose another name", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("the backup cannot be written")]
    File(#[from] FileError),
    /// The file cannot be made.
    #[error("the file {} cannot be made or written; check its directory and the space there", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store or the backup cannot be read.
    #[error("it cannot be copied")]
    Open(#[from] OpenError),
    /// It is no backup.
    #[error("{} is no backup of this service", path.display())]
    NotABackup {
        /// Which file.
        path: PathBuf,
    },
}

/// Everything in a store's or a backup's file at one moment.
#[derive(Debug)]
pub struct Contents {
    /// Whether it is a backup.
    pub is_backup: bool,
    /// The form of its tables.
    pub form: i32,
    /// The store's version.
    pub version: Version,
    /// All records, in the order of their keys.
    pub records: Vec<Stored>,
    /// What goes with it; nothing in a store.
    pub attachments: Vec<Attachment>,
}

/// Copies the store at `store`, which may be in use, into a new file `target`.
///
/// # Errors
/// [`BackupError`]; nothing is left at `target` then. A store that is damaged is not copied.
pub fn back_up(store: &Path, target: &Path, attachments: &[Attachment]) -> Result<(), BackupError> {
    if durable_file::exists(target)? {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    let (source, _) = schema::open_to_read(store, APPLICATION_ID)?;
    let new = beside(target, ".new");
    let made = copy(&source, &new, |copy| {
        copy.execute_batch(ATTACHMENTS)?;
        for (name, text) in attachments {
            copy.execute("INSERT INTO attachments (name, text) VALUES (?1, ?2)", (name, text.as_str()))?;
        }
        copy.execute_batch(&format!("PRAGMA application_id = {BACKUP_ID};"))
    });
    let done = made.and_then(|()| Ok(durable_file::rename(&new, target)?));
    if done.is_err() {
        // What cannot be removed is removed by the next attempt.
        let _ = fs::remove_file(&new);
    }
    done
}

/// Makes a store at `target` of a backup, in the present form. Nothing may be there.
///
/// # Errors
/// [`BackupError`]; the backup is never changed.
pub fn extract(backup: &Path, target: &Path) -> Result<(), BackupError> {
    let (source, _) = open_backup(backup)?;
    copy(&source, target, |copy| {
        copy.execute_batch(&format!("DROP TABLE attachments; PRAGMA application_id = {APPLICATION_ID};"))?;
        let form = copy.pragma_query_value(None, "user_version", |row| row.get(0))?;
        migrations::migrate(copy, form)?;
        // Another store than the one that was saved: the log of that one is not its own.
        migrations::give_identity(copy)
    })
}

/// Reads all of a store or a backup, which may be in use, after proving it whole.
///
/// # Errors
/// [`BackupError`] says what is wrong with it.
pub fn read_contents(path: &Path) -> Result<Contents, BackupError> {
    let (connection, form, is_backup) = match schema::open_to_read(path, APPLICATION_ID) {
        Ok((connection, form)) => (connection, form, false),
        Err(OpenError::NotAStore { .. }) => {
            let (connection, form) = open_backup(path)?;
            (connection, form, true)
        }
        Err(error) => return Err(error.into()),
    };
    let failed = |source| engine(path, source);
    // One moment for all that is read.
    connection.execute_batch("BEGIN").map_err(failed)?;
    let version = schema::verify(path, &connection)?;
    let mut records = Vec::new();
    rows::for_each(&connection, |stored| records.push(stored))
        .map_err(|error| error.into_open_error(path))?;
    let attachments = if is_backup { read_attachments(&connection).map_err(failed)? } else { Vec::new() };
    Ok(Contents { is_backup, form, version, records, attachments })
}

fn open_backup(path: &Path) -> Result<(Connection, i32), BackupError> {
    schema::open_to_read(path, BACKUP_ID).map_err(|error| match error {
        OpenError::NotAStore { path } => BackupError::NotABackup { path },
        other => other.into(),
    })
}

fn read_attachments(connection: &Connection) -> rusqlite::Result<Vec<Attachment>> {
    let mut statement = connection.prepare("SELECT name, text FROM attachments ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, Zeroizing::new(row.get(1)?))))?;
    rows.collect()
}

/// Copies a database into a new file for its owner alone, finishes the copy, proves it whole, and syncs it.
fn copy(
    source: &Connection,
    target: &Path,
    finish: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), BackupError> {
    let create = |source| BackupError::Create { path: target.to_owned(), source };
    match fs::remove_file(target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(create(error)),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(target).map_err(create)?;
    let failed = |source| engine(target, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(target, flags).map_err(failed)?;
    copy_pages(source, &mut connection).map_err(failed)?;
    // One file without a log beside it, as long as it is a backup.
    let marks = "PRAGMA trusted_schema = OFF; PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL;";
    connection.execute_batch(marks).and_then(|()| finish(&connection)).map_err(failed)?;
    schema::verify(target, &connection)?;
    drop(connection);
    File::open(target).and_then(|file| file.sync_all()).map_err(create)
}

fn copy_pages(source: &Connection, target: &mut Connection) -> rusqlite::Result<()> {
    let backup = Backup::new(source, target)?;
    let mut attempts = 0;
    loop {
        // All pages in one step are one read transaction: what is written meanwhile does not make it begin again.
        match backup.step(-1)? {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ if attempts < COPY_ATTEMPTS_MAX => {
                attempts += 1;
                std::thread::sleep(COPY_PAUSE);
            }
            _ => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(rusqlite::Error::SqliteFailure(busy, None));
            }
        }
    }
}

/// The form of the tables that this release writes.
#[must_use]
pub const fn present_form() -> i32 {
    SCHEMA_VERSION
}
