//! What every store promises, tried on every store: the same tests run on SQLite and on its twin in memory. What only
//! a file can do (survive, be locked, be damaged, fill its disk) is in `store/file.rs`.

// A test's helper fails by panicking, and a child speaks to its parent by printing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "store/file.rs"]
mod file;
#[path = "store/logs.rs"]
mod logs;
#[path = "store/model.rs"]
mod model;
#[path = "store/soundness.rs"]
mod soundness;

use std::sync::Arc;

use reeve_coordinator::store::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, Change, Collection, Key, MemoryStore, Precondition,
    SqliteStore, Store, StoreError, Version, WatchEnd, next_epoch, next_id,
};

use logs::{
    a_log_whose_head_is_gone_is_not_written_over,
    a_page_holds_what_comes_next_under_its_prefix_and_the_last_ones_are_found,
    a_watcher_of_a_log_sees_each_entry, an_entry_is_written_with_its_batch_or_not_at_all,
    what_is_appended_at_once_stands_one_after_the_other,
};

const VMS: Collection = Collection::new("vms");

/// A store to be tried, and what must outlive it.
struct Subject {
    store: Arc<dyn Store>,
    _directory: Option<tempfile::TempDir>,
}

fn in_memory() -> Subject {
    Subject { store: Arc::new(MemoryStore::new()), _directory: None }
}

fn in_a_file() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::create(&directory.path().join("store.sqlite")).unwrap();
    Subject { store: Arc::new(store), _directory: Some(directory) }
}

macro_rules! on_every_store {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::in_memory().store).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let subject = super::in_a_file();
                super::$test(std::sync::Arc::clone(&subject.store)).await;
            })+
        }
    };
}

on_every_store!(
    a_record_is_read_as_it_was_written,
    a_list_holds_what_is_under_its_prefix_in_order,
    versions_grow_with_every_change_and_only_then,
    a_batch_happens_whole_or_not_at_all,
    a_conflict_names_the_record_and_both_versions,
    a_check_guards_a_batch_without_writing,
    what_is_too_large_is_refused_and_what_is_just_small_enough_is_not,
    of_a_hundred_writers_of_one_version_exactly_one_wins,
    counters_give_no_number_twice,
    a_watcher_sees_each_change_once_in_order,
    a_change_is_in_the_watchers_queue_before_its_writer_is_answered,
    readers_never_see_half_a_batch,
    what_is_appended_at_once_stands_one_after_the_other,
    an_entry_is_written_with_its_batch_or_not_at_all,
    a_watcher_of_a_log_sees_each_entry,
    a_log_whose_head_is_gone_is_not_written_over,
    a_page_holds_what_comes_next_under_its_prefix_and_the_last_ones_are_found,
);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

async fn put(
    store: &dyn Store,
    name: &str,
    precondition: Precondition,
    value: &str,
) -> Result<Version, StoreError> {
    store.apply(Batch::new().put(key(name), precondition, value)).await
}

async fn value_of(store: &dyn Store, name: &str) -> Option<String> {
    store.get(&key(name)).await.unwrap().map(|stored| stored.value.to_string())
}

async fn keys_under(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).await.unwrap().into_iter().map(|stored| stored.key.to_string()).collect()
}

async fn a_record_is_read_as_it_was_written(store: Arc<dyn Store>) {
    assert_eq!(store.get(&key("vms/1")).await.unwrap(), None);
    let odd = "{\"text\":\"ä\u{1f411} ' \\u0000 \\\"\"}\n";
    let version = put(&*store, "vms/1", Precondition::Absent, odd).await.unwrap();
    let stored = store.get(&key("vms/1")).await.unwrap().unwrap();
    assert_eq!((stored.key, stored.version, &*stored.value), (key("vms/1"), version, odd));
    put(&*store, "vms/1", Precondition::At(version), "").await.unwrap();
    assert_eq!(value_of(&*store, "vms/1").await.as_deref(), Some(""));
    store.apply(Batch::new().delete(key("vms/1"), Precondition::Any)).await.unwrap();
    assert_eq!(value_of(&*store, "vms/1").await, None);
}

async fn a_list_holds_what_is_under_its_prefix_in_order(store: Arc<dyn Store>) {
    for name in ["vms/b", "vms", "vms-past/1", "vms/a/x", "vms.x/1", "vms0", "hosts/1", "vms/B"] {
        put(&*store, name, Precondition::Absent, "{}").await.unwrap();
    }
    assert_eq!(keys_under(&*store, VMS.prefix()).await, ["vms/B", "vms/a/x", "vms/b"]);
    assert_eq!(keys_under(&*store, "vms/").await, keys_under(&*store, "vms").await);
    assert_eq!(keys_under(&*store, "vms/a").await, ["vms/a/x"]);
    assert_eq!(keys_under(&*store, "").await.len(), 8);
    for nothing in ["vm", "VMS", "vms/%", "vms'--", "\0"] {
        assert_eq!(keys_under(&*store, nothing).await, Vec::<String>::new(), "{nothing:?}");
    }
}

async fn versions_grow_with_every_change_and_only_then(store: Arc<dyn Store>) {
    let first = put(&*store, "a", Precondition::Any, "1").await.unwrap();
    let second = put(&*store, "b", Precondition::Any, "1").await.unwrap();
    assert!(second > first && first > Version(0));
    let same = store.apply(Batch::new().check(key("a"), Precondition::At(first))).await.unwrap();
    assert_eq!(same, second, "a batch that writes nothing makes no version");
    let same = store.apply(Batch::new().delete(key("gone"), Precondition::Any)).await.unwrap();
    assert_eq!(same, second, "to remove what is not there changes nothing");
    assert_eq!(store.apply(Batch::new()).await.unwrap(), second);
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().version, first);
    // The same value again is a change too: somebody may be waiting for it.
    let third = put(&*store, "a", Precondition::At(first), "1").await.unwrap();
    assert!(third > second);
}

async fn a_batch_happens_whole_or_not_at_all(store: Arc<dyn Store>) {
    put(&*store, "a", Precondition::Any, "old").await.unwrap();
    let before = put(&*store, "c", Precondition::Any, "old").await.unwrap();
    let batch = Batch::new()
        .put(key("a"), Precondition::Any, "new")
        .put(key("b"), Precondition::Absent, "new")
        .delete(key("c"), Precondition::Absent);
    assert!(matches!(store.apply(batch).await, Err(StoreError::Conflict(_))));
    assert_eq!(value_of(&*store, "a").await.as_deref(), Some("old"));
    assert_eq!(value_of(&*store, "b").await, None);
    let batch = Batch::new()
        .put(key("a"), Precondition::Any, "new")
        .put(key("b"), Precondition::Absent, "new")
        .delete(key("c"), Precondition::At(before));
    let version = store.apply(batch).await.unwrap();
    let records = store.list("").await.unwrap();
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|stored| stored.version == version && &*stored.value == "new"));
}

async fn a_conflict_names_the_record_and_both_versions(store: Arc<dyn Store>) {
    let first = put(&*store, "a", Precondition::Absent, "1").await.unwrap();
    let error = put(&*store, "a", Precondition::Absent, "2").await.unwrap_err();
    assert!(!error.is_retryable());
    let conflict = error.conflict().unwrap();
    assert_eq!(
        (&conflict.key, conflict.expected, conflict.found),
        (&key("a"), Precondition::Absent, Some(first))
    );
    let second = put(&*store, "a", Precondition::At(first), "2").await.unwrap();
    let error = put(&*store, "a", Precondition::At(first), "3").await.unwrap_err();
    assert_eq!(error.conflict().unwrap().found, Some(second));
    let error = put(&*store, "b", Precondition::At(first), "3").await.unwrap_err();
    assert_eq!(error.conflict().unwrap().found, None);
    assert_eq!(
        error.to_string(),
        format!("the record b was changed by somebody else: expected version {first}, found no record")
    );
}

async fn a_check_guards_a_batch_without_writing(store: Arc<dyn Store>) {
    let epoch = put(&*store, "counters/epoch", Precondition::Absent, "1").await.unwrap();
    let guarded = |value: &str| {
        Batch::new().check(key("counters/epoch"), Precondition::At(epoch)).put(
            key("vms/1"),
            Precondition::Any,
            value,
        )
    };
    store.apply(guarded("mine")).await.unwrap();
    put(&*store, "counters/epoch", Precondition::At(epoch), "2").await.unwrap();
    assert!(store.apply(guarded("late")).await.is_err(), "a deposed leader wrote");
    assert_eq!(value_of(&*store, "vms/1").await.as_deref(), Some("mine"));
}

async fn what_is_too_large_is_refused_and_what_is_just_small_enough_is_not(store: Arc<dyn Store>) {
    let largest = "x".repeat(BATCH_BYTES_MAX - 1);
    put(&*store, "a", Precondition::Any, &largest).await.unwrap();
    assert_eq!(value_of(&*store, "a").await.unwrap().len(), largest.len());
    let error = put(&*store, "ab", Precondition::Any, &largest).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyBytes { .. }));
    let mut batch = Batch::new();
    for number in 0..BATCH_OPERATIONS_MAX {
        batch = batch.put(key(&format!("many/{number}")), Precondition::Absent, "{}");
    }
    store.apply(batch.clone()).await.unwrap();
    assert_eq!(keys_under(&*store, "many").await.len(), BATCH_OPERATIONS_MAX);
    let error = store.apply(batch.check(key("a"), Precondition::Any)).await.unwrap_err();
    assert!(matches!(error, StoreError::TooManyOperations { .. }));
    let twice = Batch::new().check(key("b"), Precondition::Any).put(key("b"), Precondition::Any, "1");
    assert!(matches!(store.apply(twice).await, Err(StoreError::RepeatedKey { .. })));
}

async fn of_a_hundred_writers_of_one_version_exactly_one_wins(store: Arc<dyn Store>) {
    let version = put(&*store, "seat", Precondition::Absent, "free").await.unwrap();
    let contenders: Vec<_> =
        (0..100)
            .map(|number| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let batch = Batch::new()
                        .put(key("seat"), Precondition::At(version), number.to_string())
                        .put(key(&format!("winners/{number}")), Precondition::Absent, "{}");
                    (number, store.apply(batch).await)
                })
            })
            .collect();
    let mut winners = Vec::new();
    for contender in contenders {
        match contender.await.unwrap() {
            (number, Ok(_)) => winners.push(number),
            (_, Err(error)) => assert!(error.conflict().is_some(), "{error}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?} all won");
    assert_eq!(value_of(&*store, "seat").await, Some(winners[0].to_string()));
    assert_eq!(keys_under(&*store, "winners").await, [format!("winners/{}", winners[0])]);
}

async fn counters_give_no_number_twice(store: Arc<dyn Store>) {
    let askers: Vec<_> = (0..20)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { next_id(&*store, "host").await.unwrap() })
        })
        .collect();
    let mut numbers = Vec::new();
    for asker in askers {
        numbers.push(asker.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<u64>>());
    assert!(next_epoch(&*store).await.unwrap() < next_epoch(&*store).await.unwrap());
}

async fn a_watcher_sees_each_change_once_in_order(store: Arc<dyn Store>) {
    put(&*store, "vms/before", Precondition::Any, "0").await.unwrap();
    let mut watch = store.watch("vms").await.unwrap();
    let writers: Vec<_> = (0..50)
        .map(|number: u32| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let batch = Batch::new()
                    .put(key(&format!("vms/{}", number % 7)), Precondition::Any, number.to_string())
                    .put(key(&format!("hosts/{number}")), Precondition::Any, "{}")
                    .delete(key("vms/nothing"), Precondition::Any);
                store.apply(batch).await.unwrap()
            })
        })
        .collect();
    let mut versions = Vec::new();
    for writer in writers {
        versions.push(writer.await.unwrap());
    }
    let last = store.apply(Batch::new().delete(key("vms/before"), Precondition::Any)).await.unwrap();
    let mut seen: Vec<Change> = Vec::new();
    while seen.last().is_none_or(|change| change.version != last) {
        seen.push(watch.next().await.unwrap());
    }
    assert_eq!(seen.pop(), Some(Change { version: last, key: key("vms/before"), value: None }));
    versions.sort_unstable();
    assert_eq!(seen.iter().map(|change| change.version).collect::<Vec<_>>(), versions);
    for stored in store.list("vms").await.unwrap() {
        let latest = seen.iter().rev().find(|change| change.key == stored.key).unwrap();
        assert_eq!((latest.version, latest.value.as_deref()), (stored.version, Some(&*stored.value)));
    }
}

async fn a_change_is_in_the_watchers_queue_before_its_writer_is_answered(store: Arc<dyn Store>) {
    let mut watch = store.watch("").await.unwrap();
    let version = put(&*store, "a", Precondition::Any, "1").await.unwrap();
    let change = {
        // Polled once and no more: the change must be there already.
        let mut next = std::pin::pin!(watch.next());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        next.as_mut().poll(&mut context)
    };
    let expected = Change { version, key: key("a"), value: Some("1".into()) };
    assert_eq!(change, std::task::Poll::Ready(Ok(expected)));
}

async fn readers_never_see_half_a_batch(store: Arc<dyn Store>) {
    let both = |value: u32| {
        Batch::new().put(key("pair/left"), Precondition::Any, value.to_string()).put(
            key("pair/right"),
            Precondition::Any,
            value.to_string(),
        )
    };
    store.apply(both(0)).await.unwrap();
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for value in 1..200 {
                store.apply(both(value)).await.unwrap();
            }
        })
    };
    while !writer.is_finished() {
        let pair = store.list("pair").await.unwrap();
        assert_eq!((pair[0].version, &pair[0].value), (pair[1].version, &pair[1].value));
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_store_ends_its_watches() {
    for subject in [in_memory(), in_a_file()] {
        let mut watch = subject.store.watch("").await.unwrap();
        drop(subject);
        assert_eq!(watch.next().await, Err(WatchEnd::Closed));
    }
}
