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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::schema;
    use crate::store::{Batch, Key, Precondition, SqliteStore, Store};

    fn value(connection: &Connection, query: &str) -> Option<i64> {
        connection.query_row(query, [], |row| row.get(0)).ok()
    }

    const IDENTITY: &str = "SELECT value FROM store WHERE name = 'identity'";

    /// Each older form: how it is made of the present one.
    const OLDER: [(i32, &str); 1] =
        [(1, "DELETE FROM store WHERE name = 'identity'; PRAGMA user_version = 1;")];

    #[tokio::test]
    async fn every_older_form_becomes_the_present_one_with_all_its_records() {
        assert_eq!(OLDER.map(|(form, _)| form).to_vec(), (OLDEST_FORM..SCHEMA_VERSION).collect::<Vec<_>>());
        for (form, script) in OLDER {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("store.sqlite");
            let store = SqliteStore::create(&path).unwrap();
            let key = Key::new("vms/1").unwrap();
            store.apply(Batch::new().put(key.clone(), Precondition::Absent, "{}")).await.unwrap();
            drop(store);
            schema::connect(&path).unwrap().execute_batch(script).unwrap();
            let store = SqliteStore::open(&path).unwrap();
            assert_eq!(&*store.get(&key).await.unwrap().unwrap().value, "{}", "form {form}");
            drop(store);
            let connection = schema::connect(&path).unwrap();
            assert_eq!(value(&connection, "PRAGMA user_version"), Some(i64::from(SCHEMA_VERSION)));
            assert!(value(&connection, IDENTITY).is_some());
        }
    }

    #[test]
    fn no_two_stores_have_one_identity() {
        let directory = tempfile::tempdir().unwrap();
        let made = ["a", "b"].map(|name| {
            let path = directory.path().join(name);
            schema::create(&path).unwrap();
            value(&schema::connect(&path).unwrap(), IDENTITY).unwrap()
        });
        assert_ne!(made[0], made[1]);
    }
}
