//! Random batches on a store and on the plainest model of one: both must agree on every answer, on what is then in
//! the store, and a watcher who only knows the changes must end with the same picture.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use reeve_coordinator::store::{Action, Batch, Key, Precondition, Store, StoreError, Version, Watch};

use super::{Subject, in_a_file, in_memory, key};

/// Preconditions are chosen before it is known which versions there will be.
#[derive(Debug, Clone)]
enum Wish {
    Absent,
    Current,
    Stale,
    Any,
}

#[derive(Debug, Clone)]
struct Step {
    name: &'static str,
    wish: Wish,
    action: u8,
    value: u8,
}

type Records = BTreeMap<Key, (Version, String)>;

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let name = prop_oneof![Just("a/1"), Just("a/2"), Just("ab/1"), Just("b"), Just("a/1/x")];
    let wish = prop_oneof![
        2 => Just(Wish::Absent),
        4 => Just(Wish::Current),
        1 => Just(Wish::Stale),
        3 => Just(Wish::Any)
    ];
    let step = (name, wish, 0..5_u8, 0..9_u8).prop_map(|(name, wish, action, value)| Step {
        name,
        wish,
        action,
        value,
    });
    prop::collection::vec(prop::collection::vec(step, 0..5), 1..40)
}

fn batch_of(steps: &[Step], records: &Records) -> Batch {
    steps.iter().fold(Batch::new(), |batch, step| {
        let key = key(step.name);
        let found = records.get(&key).map(|(version, _)| *version);
        let precondition = match step.wish {
            Wish::Absent => Precondition::Absent,
            Wish::Current => found.map_or(Precondition::Absent, Precondition::At),
            Wish::Stale => Precondition::At(Version(found.map_or(7, |version| version.0 - 1))),
            Wish::Any => Precondition::Any,
        };
        match step.action {
            0 => batch.check(key, precondition),
            1 => batch.delete(key, precondition),
            _ => batch.put(key, precondition, step.value.to_string()),
        }
    })
}

/// The model: says whether the batch must succeed, and is afterwards as the store must be.
fn apply_to_model(batch: &Batch, records: &mut Records, version: &mut Version) -> bool {
    let names: std::collections::BTreeSet<_> =
        batch.operations().iter().map(|operation| &operation.key).collect();
    let holds = batch.operations().iter().all(|operation| {
        let found = records.get(&operation.key).map(|(version, _)| *version);
        match operation.precondition {
            Precondition::Any => true,
            Precondition::Absent => found.is_none(),
            Precondition::At(at) => found == Some(at),
        }
    });
    if names.len() != batch.len() || !holds {
        return false;
    }
    let next = Version(version.0 + 1);
    for operation in batch.operations() {
        let changed = match &operation.action {
            Action::Check => false,
            Action::Put(value) => {
                records.insert(operation.key.clone(), (next, value.to_string()));
                true
            }
            Action::Delete => records.remove(&operation.key).is_some(),
        };
        if changed {
            *version = next;
        }
    }
    true
}

async fn read_all(store: &dyn Store, prefix: &str) -> Records {
    let records = store.list(prefix).await.unwrap();
    records.into_iter().map(|stored| (stored.key, (stored.version, stored.value.to_string()))).collect()
}

/// Follows the changes until the picture is at `version`.
async fn follow(watch: &mut Watch, picture: &mut Records, changes: usize) {
    for _ in 0..changes {
        let change = watch.next().await.unwrap();
        match change.value {
            Some(value) => drop(picture.insert(change.key, (change.version, value.to_string()))),
            None => {
                assert!(picture.remove(&change.key).is_some(), "what was not there was said to be removed")
            }
        }
    }
}

async fn agree(subject: Subject, batches: &[Vec<Step>]) {
    let store = &*subject.store;
    let mut watch = store.watch("").await.unwrap();
    let (mut records, mut version, mut picture) = (Records::new(), Version(0), Records::new());
    for steps in batches {
        let batch = batch_of(steps, &records);
        let before = records.clone();
        let expected = apply_to_model(&batch, &mut records, &mut version);
        match store.apply(batch).await {
            Ok(after) => assert!(expected && after == version, "{after} after {steps:?}"),
            Err(StoreError::Conflict(_) | StoreError::RepeatedKey { .. }) => assert!(!expected, "{steps:?}"),
            Err(other) => panic!("{other}"),
        }
        let changes = changes_between(&before, &records);
        follow(&mut watch, &mut picture, changes).await;
        assert_eq!(picture, records);
    }
    assert_eq!(read_all(store, "").await, records);
    let under_a: Records = records.into_iter().filter(|(key, _)| key.as_str().starts_with("a/")).collect();
    assert_eq!(read_all(store, "a").await, under_a);
}

fn changes_between(before: &Records, after: &Records) -> usize {
    let written = after.iter().filter(|(key, record)| before.get(*key) != Some(*record)).count();
    written + before.keys().filter(|key| !after.contains_key(*key)).count()
}

fn run(subject: Subject, batches: &[Vec<Step>]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(agree(subject, batches));
}

proptest! {
    // On SQLite every batch costs a sync of the disk.
    #![proptest_config(Config { failure_persistence: None, cases: 48, ..Config::default() })]

    #[test]
    fn sqlite_agrees_with_the_model(batches in steps()) {
        run(in_a_file(), &batches);
    }
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: 1000, ..Config::default() })]

    #[test]
    fn memory_agrees_with_the_model(batches in steps()) {
        run(in_memory(), &batches);
    }
}
