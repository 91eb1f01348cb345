//! A store that is opened at once and read to its end while it is in use: damage of what nobody reads is found all the
//! same, and nothing more is written from then on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reeve_coordinator::store::{
    Batch, Collection, Entry, OpenError, Precondition, SqliteStore, Store, StoreError, head_key, link_key,
};
use tokio::time::timeout;

use super::file::overwrite;
use super::{key, put};

/// Reading a small store takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
const LOG: Collection = Collection::new("log");

/// A closed store with records and a log.
async fn written(directory: &Path) -> PathBuf {
    std::fs::create_dir_all(directory).unwrap();
    let path = directory.join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    for number in 0..50 {
        let entry = Entry::new("word", 1, &format!("written-{number}")).unwrap();
        let batch = Batch::new()
            .put(key(&format!("vms/{number}")), Precondition::Absent, "x".repeat(500))
            .append(LOG, entry);
        store.apply(batch).await.unwrap();
    }
    path
}

/// Changes a bit wherever the file has this text; places that hold nothing any more may have it as well.
fn damage(path: &Path, text: &str) {
    let bytes = std::fs::read(path).unwrap();
    let places = bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text.as_bytes());
    let offsets: Vec<usize> = places.map(|(offset, _)| offset).collect();
    assert!(!offsets.is_empty(), "the file does not have {text}");
    for offset in offsets {
        overwrite(path, offset as u64, &[text.as_bytes()[0] ^ 1]);
    }
}

#[tokio::test]
async fn a_store_opened_at_once_is_worked_with_and_proved_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path()).await;
    let store = SqliteStore::open_at_once(&path).unwrap();
    put(&store, "vms/more", Precondition::Absent, "{}").await.unwrap();
    timeout(PATIENCE, store.proved()).await.unwrap().unwrap();
    put(&store, "vms/still-more", Precondition::Absent, "{}").await.unwrap();
    assert!(timeout(Duration::ZERO, store.failed()).await.is_err(), "it has not failed");
    drop(store);
    assert!(!path.with_extension("sqlite-wal").exists(), "it was closed, whoever read it");
    assert_eq!(SqliteStore::open(&path).unwrap().list("vms").await.unwrap().len(), 52);
}

#[tokio::test]
async fn what_is_written_while_a_store_is_proved_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path()).await;
    let store = SqliteStore::open(&path).unwrap();
    for part in 0..30 {
        let batch = (0..100).fold(Batch::new(), |batch, number| {
            batch.put(key(&format!("past/{part}-{number}")), Precondition::Absent, "x".repeat(500))
        });
        store.apply(batch).await.unwrap();
    }
    drop(store);
    let store = SqliteStore::open_at_once(&path).unwrap();
    let mut more = 0;
    while timeout(Duration::ZERO, store.proved()).await.is_err() {
        put(&store, &format!("more/{more}"), Precondition::Absent, "{}").await.unwrap();
        more += 1;
    }
    timeout(PATIENCE, store.proved()).await.unwrap().unwrap();
    put(&store, "more/after", Precondition::Absent, "{}").await.unwrap();
}

#[tokio::test]
async fn damage_of_what_nobody_reads_is_found_and_ends_the_writing() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path()).await;
    damage(&path, "written-31");
    let store = SqliteStore::open_at_once(&path).unwrap();
    let failure = timeout(PATIENCE, store.failed()).await.unwrap();
    let words = failure.to_string();
    assert!(words.contains(link_key(LOG, 32).as_str()) && words.contains("backup"), "{words}");
    assert!(timeout(PATIENCE, store.proved()).await.unwrap().is_err());
    let error = put(&store, "vms/more", Precondition::Absent, "{}").await.unwrap_err();
    assert!(matches!(error, StoreError::Unsound { .. }) && !error.is_retryable(), "{error}");
    assert_eq!(store.list("vms").await.unwrap().len(), 50, "it can still be read");
}

#[tokio::test]
async fn a_log_that_does_not_end_where_its_head_says_is_not_worked_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path()).await;
    damage(&path, "written-49");
    let error = SqliteStore::open_at_once(&path).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    damage(&path, "vritten-49"); // the same bit once more
    drop(SqliteStore::open_at_once(&path).unwrap());

    // One that ends before its head says, and one that goes on behind it.
    for (number, problem) in [(51, "goes on behind"), (50, "does not end")] {
        let path = written(&directory.path().join(number.to_string())).await;
        let store = SqliteStore::open(&path).unwrap();
        let batch = if number == 51 {
            Batch::new().put(link_key(LOG, 51), Precondition::Absent, "{}")
        } else {
            Batch::new().delete(link_key(LOG, 50), Precondition::Any)
        };
        store.apply(batch).await.unwrap();
        assert!(store.get(&head_key(LOG)).await.unwrap().is_some());
        drop(store);
        let error = SqliteStore::open_at_once(&path).map(drop).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn damage_anywhere_is_said_sooner_or_later_and_never_worked_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path()).await;
    let whole = std::fs::read(&path).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut bytes = whole.clone();
        for byte in bytes.iter_mut().skip(page * 4096 + 100).take(200) {
            *byte ^= 0x55;
        }
        std::fs::write(&path, &bytes).unwrap();
        let Ok(store) = SqliteStore::open_at_once(&path) else { continue };
        let listed = store.list("vms").await;
        if timeout(PATIENCE, store.proved()).await.unwrap().is_ok() {
            assert_eq!(listed.unwrap().len(), 50, "the damage lay in bytes that hold nothing: page {page}");
        }
    }
}

#[tokio::test]
async fn closing_a_store_does_not_wait_for_its_proof() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(directory.path()).await;
    for _ in 0..20 {
        drop(SqliteStore::open_at_once(&path).unwrap());
    }
    SqliteStore::open(&path).unwrap();
}
