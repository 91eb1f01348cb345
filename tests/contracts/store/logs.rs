//! What every store promises of logs: what is appended stands after all there was, with the next number and the hash of
//! the record before it, together with the rest of its batch or not at all.

use std::sync::Arc;

use reeve_common::checkpoint::{LogHash, LogHead};
use reeve_coordinator::store::{
    BATCH_OPERATIONS_MAX, Batch, Collection, Entry, Key, Link, Precondition, SqliteStore, Store, StoreError,
    Version, head_key, link_key, read_head, read_link,
};

use super::{key, keys_under, value_of};

const LOG: Collection = Collection::new("log");

fn entry(word: &str) -> Entry {
    Entry::new("word", 1, &word).unwrap()
}

/// The log, read whole and proved.
async fn proved(store: &dyn Store) -> Vec<Link> {
    let records = store.list(LOG.prefix()).await.unwrap();
    let mut head = LogHead::EMPTY;
    let mut links = Vec::new();
    for record in records {
        let link = read_link(&record).unwrap();
        assert_eq!(record.key, link_key(LOG, link.sequence));
        assert_eq!((link.sequence, link.previous), (head.size + 1, head.hash));
        assert_eq!(link.hash, LogHash::of(&record.value));
        head = LogHead { size: link.sequence, hash: link.hash };
        links.push(link);
    }
    let kept = store.get(&head_key(LOG)).await.unwrap();
    assert_eq!(read_head(kept.as_ref()).unwrap(), head);
    links
}

pub(super) async fn what_is_appended_at_once_stands_one_after_the_other(store: Arc<dyn Store>) {
    let writers: Vec<_> = (0..100_u32)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let batch = Batch::new()
                    .put(key(&format!("vms/{number}")), Precondition::Absent, "{}")
                    .append(LOG, entry(&number.to_string()));
                (number, store.apply(batch).await.unwrap())
            })
        })
        .collect();
    let mut versions = std::collections::BTreeMap::new();
    for writer in writers {
        let (number, version) = writer.await.unwrap();
        versions.insert(entry(&number.to_string()).as_str().to_owned(), version);
    }
    let links = proved(&*store).await;
    assert_eq!(links.len(), 100);
    let found: std::collections::BTreeMap<String, Version> =
        links.iter().map(|link| (link.entry.value.to_string(), link.entry.version)).collect();
    assert_eq!(found, versions, "each entry has the version of the batch that it came with");
    assert!(links.windows(2).all(|pair| pair[0].entry.version < pair[1].entry.version));
}

pub(super) async fn an_entry_is_written_with_its_batch_or_not_at_all(store: Arc<dyn Store>) {
    let alone = store.apply(Batch::new().append(LOG, entry("alone"))).await.unwrap();
    assert!(alone > Version(0), "an entry alone is a change");
    let refused =
        Batch::new().put(key("a"), Precondition::At(Version(77)), "1").append(LOG, entry("refused"));
    assert!(matches!(store.apply(refused).await, Err(StoreError::Conflict(_))));
    assert_eq!(proved(&*store).await.len(), 1);
    let mut full = Batch::new();
    for number in 0..BATCH_OPERATIONS_MAX - 1 {
        full = full.check(key(&number.to_string()), Precondition::Absent);
    }
    let full = full.append(LOG, entry("too much"));
    assert!(matches!(store.apply(full).await, Err(StoreError::TooManyOperations { .. })));
    let two = Batch::new()
        .append(LOG, entry("first"))
        .put(key("a"), Precondition::Absent, "1")
        .append(LOG, entry("second"));
    store.apply(two).await.unwrap();
    let words: Vec<String> = proved(&*store).await.iter().map(|link| link.entry.value.to_string()).collect();
    assert_eq!(words, ["alone", "first", "second"].map(|word| entry(word).as_str().to_owned()));
}

pub(super) async fn a_watcher_of_a_log_sees_each_entry(store: Arc<dyn Store>) {
    let mut watch = store.watch(LOG.prefix()).await.unwrap();
    for word in ["a", "b", "c"] {
        store.apply(Batch::new().append(LOG, entry(word))).await.unwrap();
    }
    for link in proved(&*store).await {
        let change = watch.next().await.unwrap();
        assert_eq!((change.key, change.version), (link.entry.key, link.entry.version));
    }
}

pub(super) async fn a_log_whose_head_is_gone_is_not_written_over(store: Arc<dyn Store>) {
    for word in ["a", "b"] {
        store.apply(Batch::new().append(LOG, entry(word))).await.unwrap();
    }
    store.apply(Batch::new().delete(head_key(LOG), Precondition::Any)).await.unwrap();
    let before = store.get(&link_key(LOG, 1)).await.unwrap();
    let late = Batch::new().put(key("vms/1"), Precondition::Any, "{}").append(LOG, entry("late"));
    let error = store.apply(late).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert_eq!(value_of(&*store, "vms/1").await, None);
    assert_eq!(store.get(&link_key(LOG, 1)).await.unwrap(), before);
    store.apply(Batch::new().put(key("vms/2"), Precondition::Any, "{}")).await.unwrap();
}

pub(super) async fn a_page_holds_what_comes_next_under_its_prefix_and_the_last_ones_are_found(
    store: Arc<dyn Store>,
) {
    for name in ["vms/1", "vms/2", "vms/3", "vms", "vms0", "hosts/1", "vms-past/1"] {
        store.apply(Batch::new().put(key(name), Precondition::Absent, "{}")).await.unwrap();
    }
    let page = async |prefix: &str, from: &str, count_max: usize| -> Vec<String> {
        let found = store.page(prefix, &key(from), count_max).await.unwrap();
        found.into_iter().map(|stored| stored.key.to_string()).collect()
    };
    assert_eq!(page("vms", "vms/2", 9).await, ["vms/2", "vms/3"]);
    assert_eq!(page("vms", "vms/10", 1).await, ["vms/2"]);
    assert_eq!(page("vms", "a", 2).await, ["vms/1", "vms/2"]);
    assert_eq!(page("vms", "vms/4", 9).await, Vec::<String>::new());
    assert_eq!(page("vms", "z", 9).await, Vec::<String>::new());
    assert_eq!(page("vms", "vms/1", 0).await, Vec::<String>::new());
    assert_eq!(page("", "a", 9).await, keys_under(&*store, "").await);
    assert_eq!(page("", "vms/2", 2).await, ["vms/2", "vms/3"]);
    let last = async |prefix: &str, count_max: usize| -> Vec<String> {
        let found = store.last(prefix, count_max).await.unwrap();
        found.into_iter().map(|stored| stored.key.to_string()).collect()
    };
    assert_eq!(last("vms", 2).await, ["vms/2", "vms/3"]);
    assert_eq!(last("vms", 9).await, ["vms/1", "vms/2", "vms/3"]);
    assert_eq!(last("vms", 0).await, Vec::<String>::new());
    assert_eq!(last("nothing", 9).await, Vec::<String>::new());
    assert_eq!(last("", 2).await, ["vms/3", "vms0"]);
}

#[tokio::test]
async fn a_log_goes_on_where_it_was_when_its_store_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    store.apply(Batch::new().append(LOG, entry("a"))).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    store.apply(Batch::new().append(LOG, entry("b"))).await.unwrap();
    assert_eq!(proved(&store).await.len(), 2);
    assert!(Key::new(link_key(LOG, u64::MAX).as_str()).is_ok());
}
