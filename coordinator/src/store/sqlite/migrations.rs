//! Owns how an older form of the file becomes the present one: step by step, each in one transaction, forward only.
//!
//! ```text
//!   form 1 ──▶ form 2: the store has an identity, by which another store's log is told from its own
//! ```
//!
//! Must not: change a record; those have versions of their own and are read in every form.

use ring::rand::{SecureRandom as _, SystemRandom};
use rusqlite::Connection;

use super::schema::SCHEMA_VERSION;

/// The oldest form that is read.
pub(super) const OLDEST_FORM: i32 = 1;

/// Brings a file of form `found` to the present one. Nothing happens to one that has it.
pub(super) fn migrate(connection: &Connection, found: i32) -> rusqlite::Result<()> {
    for form in found..SCHEMA_VERSION {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let step = match form {
            1 => give_identity(connection),
            _ => Ok(()),
        };
        let done = step
            .and_then(|()| connection.execute_batch(&format!("PRAGMA user_version = {}; COMMIT", form + 1)));
        if let Err(error) = done {
            // Fails when SQLite has ended the transaction by itself, which is as good.
            let _ = connection.execute_batch("ROLLBACK");
            return Err(error);
        }
        log::info!("the store's form is {} now", form + 1);
    }
    Ok(())
}

/// Gives the store a number that no other has.
pub(super) fn give_identity(connection: &Connection) -> rusqlite::Result<()> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| rusqlite::Error::InvalidQuery)?;
    let identity = i64::from_le_bytes(bytes);
    connection.execute("INSERT OR REPLACE INTO store (name, value) VALUES ('identity', ?1)", [identity])?;
    Ok(())
}
