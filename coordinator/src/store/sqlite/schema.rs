//! Owns the file's form: its tables, its marks (whose file, which form), how it is made, opened and proved whole.
//!
//! Must not: repair or guess. What is not certainly a whole store of a known form is refused with what to do.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::{migrations, rows};
use crate::store::batch::Version;

/// "reev" in ASCII: says in the file's header whose file it is.
pub(super) const APPLICATION_ID: i32 = 0x7265_6576;
/// The form of the tables below.
pub(super) const SCHEMA_VERSION: i32 = 2;
/// How long another program that writes to the file, such as the sqlite3 shell, is waited for: longer than a person's
/// quick look takes, shorter than the patience of those who wait for the writer meanwhile. Tests do not wait.
const BUSY_TIMEOUT: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };
/// Problems of the structure that are asked for; the first says enough, the rest helps an expert.
const INTEGRITY_PROBLEMS_MAX: u32 = 5;

const TABLES: &str = "
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        version INTEGER NOT NULL,
        value TEXT NOT NULL,
        digest BLOB NOT NULL
    ) STRICT;
    CREATE TABLE store (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    INSERT INTO store (name, value) VALUES ('version', 0);
";

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// To be made, and already there.
    #[error("there is a store at {} already; it was left as it is", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// To be opened, and not there.
    #[error("there is no store at {}; make one with `reeve-coordinator init`", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("the store {} is in use by {holder}; only one coordinator may run on it", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
        /// Which process.
        holder: String,
    },
    /// The lock file cannot be opened or locked.
    #[error("the store's lock {} cannot be taken; check the directory's owner and mode", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be made.
    #[error("the store {} cannot be made; check the directory's owner and mode", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The engine failed.
    #[error("the store {} cannot be opened; see to its disk, or restore it from a backup", path.display())]
    Engine {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Some other file.
    #[error("{} is not a store of this service; it was left as it is", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// Made by a later release.
    #[error(
        "the store {} has form {found}, and this release knows forms up to {SCHEMA_VERSION}; run the release that wrote it, or a later one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: i32,
    },
    /// The log beside it belongs to another store.
    #[error(
        "the log {}-wal is another store's: put the one back that belongs to the store, or restore the store from a backup",
        path.display()
    )]
    ForeignLog {
        /// The store's file.
        path: PathBuf,
    },
    /// The log is gone without the store having been closed.
    #[error(
        "the log {}-wal is missing, and the store was not closed when it was last in use: what was written last may be lost; put the log back, or restore the store from a backup; who knows that nothing is lost removes {} and starts again",
        path.display(), lock.display()
    )]
    MissingLog {
        /// The store's file.
        path: PathBuf,
        /// The file that says so.
        lock: PathBuf,
    },
    /// It is not what was written.
    #[error("the store {} is damaged: {problem}; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The thread that writes could not be started.
    #[error("the thread that writes to the store {} cannot be started", path.display())]
    Thread {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the file and its tables in one transaction. A file without a byte, left by a crash in here, may be reused.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |source| OpenError::Create { path: path.to_owned(), source };
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > 0 {
        return Err(OpenError::Exists { path: path.to_owned() });
    }
    drop(file);
    let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};");
    let script = format!("PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE; {TABLES} {marks}");
    let make = || {
        let connection = connect(path)?;
        connection.execute_batch(&script)?;
        migrations::give_identity(&connection)?;
        connection.execute_batch("COMMIT")
    };
    make().map_err(|source| engine(path, source))
}

/// Opens the file for writing and refuses what is not a store of a known form.
pub(super) fn open(path: &Path) -> Result<Connection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    // First, since closing this look at the file would give away the locks of any other connection of this process.
    let own = identity_without_log(path);
    let connection = connect(path).map_err(|source| engine(path, source))?;
    let form = known_form(path, &connection, APPLICATION_ID)?;
    // A file whose log has not been carried over to the end may say nothing by itself; then the log is needed to read it.
    if let Ok(Some(own)) = own {
        check_own_log(path, &connection, own)?;
    }
    prepare_for_writing(&connection)
        .and_then(|()| migrations::migrate(&connection, form))
        .map_err(|source| engine(path, source))?;
    Ok(connection)
}

/// Opens a file for reading, perhaps while it is written to, and says the form of its tables.
pub(super) fn open_to_read(path: &Path, application: i32) -> Result<(Connection, i32), OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { path: path.to_owned() });
    }
    let connection = connect_to_read(path).map_err(|source| engine(path, source))?;
    let form = known_form(path, &connection, application)?;
    Ok((connection, form))
}

/// The form of a file's tables, if it is ours and of a known one.
fn known_form(path: &Path, connection: &Connection, application: i32) -> Result<i32, OpenError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let found = pragma("application_id").map_err(|source| not_a_store(path, source))?;
    if found != application {
        return Err(OpenError::NotAStore { path: path.to_owned() });
    }
    let form = pragma("user_version").map_err(|source| engine(path, source))?;
    if form > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: form });
    }
    if form < migrations::OLDEST_FORM {
        return Err(OpenError::NotAStore { path: path.to_owned() });
    }
    Ok(form)
}

/// SQLite takes any log that lies beside a file for its own. The identity in the file without the log must be that with it.
fn check_own_log(path: &Path, connection: &Connection, own: i64) -> Result<(), OpenError> {
    match identity(connection) {
        Ok(Some(seen)) if seen == own => Ok(()),
        Ok(_) => Err(OpenError::ForeignLog { path: path.to_owned() }),
        Err(source) => Err(engine(path, source)),
    }
}

fn identity_without_log(path: &Path) -> rusqlite::Result<Option<i64>> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_') {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    // Immutable: read as it is, without locks and without its log.
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    identity(&Connection::open_with_flags(uri, flags)?)
}

fn identity(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT value FROM store WHERE name = 'identity'", [], |row| row.get(0)).optional()
}

/// A connection that only reads. Its end does nothing to the log, also if it is the last one: that is the writer's.
pub(super) fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// A connection to a file that is there.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Text that was stored is never run as SQL through a damaged schema.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
    Ok(connection)
}

fn prepare_for_writing(connection: &Connection) -> rusqlite::Result<()> {
    // FULL: each commit is on the disk before it is answered. Checkpoints are the writer's, which looks at their
    // errors; SQLite's automatic ones do not. 64 MiB: what the log is cut back to after a long reader let it grow.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;",
    )
}

/// Reads the whole file once, perhaps while it is written to; returns the store's version.
pub(super) fn verify(path: &Path, connection: &Connection) -> Result<Version, OpenError> {
    let damaged = |problem: String| OpenError::Damaged { path: path.to_owned(), problem };
    let problems = integrity_problems(connection).map_err(|source| engine(path, source))?;
    if !problems.is_empty() {
        return Err(damaged(problems.join("; ")));
    }
    let mut highest = Version::default();
    rows::for_each_in_pages(connection, |stored| highest = highest.max(stored.version))
        .map_err(|error| error.into_open_error(path))?;
    // Read after the records, which may have become more meanwhile.
    let version = rows::read_version(connection).map_err(|source| engine(path, source))?;
    if highest > version {
        return Err(damaged(format!(
            "it has a record of version {highest}, and is itself at version {version}"
        )));
    }
    Ok(version)
}

fn integrity_problems(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({INTEGRITY_PROBLEMS_MAX})"))?;
    let lines =
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").map(|line| line.replace('\n', ", ")).collect())
}

/// A damaged database says so in many codes; what is clearly damage is reported as such.
pub(super) fn engine(path: &Path, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path: path.to_owned(), problem: source.to_string() }
        }
        _ => OpenError::Engine { path: path.to_owned(), source },
    }
}

fn not_a_store(path: &Path, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::NotAStore { path: path.to_owned() },
        _ => engine(path, source),
    }
}
