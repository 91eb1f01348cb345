//! Backups and proofs of them without agents: under load, onto an empty machine, damaged, newer, contradictory.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reeve_common::clock::{Clock as _, SystemClock};
use reeve_common::text::chain;
use reeve_coordinator::backup::{RestoreError, restore, save, verify};
use reeve_coordinator::pki::Authority;
use reeve_coordinator::store::{Batch, Key, Precondition, SqliteStore, Store};
use tokio::runtime::Runtime;

use crate::stage::{Coordinator, Place};

fn put(store: &SqliteStore, key: &str, value: String) {
    let batch = Batch::new().put(Key::new(key).unwrap(), Precondition::Any, value);
    Runtime::new().unwrap().block_on(store.apply(batch)).unwrap();
}

#[test]
fn a_backup_under_load_holds_whole_batches_and_nobody_else_can_read_it() {
    let place = Place::new();
    let store = Arc::new(SqliteStore::open(&place.config().store_path()).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        std::thread::spawn(move || {
            let runtime = Runtime::new().unwrap();
            let mut round = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let both = Batch::new()
                    .put(Key::new(format!("left/{round}")).unwrap(), Precondition::Absent, "x".repeat(2000))
                    .put(Key::new(format!("right/{round}")).unwrap(), Precondition::Absent, "{}");
                runtime.block_on(store.apply(both)).unwrap();
                round += 1;
            }
            round
        })
    };
    for number in 0..5 {
        let backup = place.path().join(format!("backup-{number}"));
        save(&place.config(), &backup, SystemClock.now()).unwrap();
        let mode = std::fs::metadata(&backup).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the authority's key is in it");
        let contents = reeve_coordinator::store::read_contents(&backup).unwrap();
        let under = |prefix| contents.records.iter().filter(|stored| stored.key.is_under(prefix)).count();
        assert_eq!(under("left"), under("right"));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writing.join().unwrap() > 0);
}

#[test]
fn an_empty_machine_gets_store_and_authority_from_one_file() {
    let place = Place::new();
    let other = Place::new();
    let backup = place.path().join("backup");
    save(&place.config(), &backup, SystemClock.now()).unwrap();
    let runtime = Runtime::new().unwrap();
    let restored =
        |replace| runtime.block_on(restore(&other.config(), &backup, replace, 1, SystemClock.now()));
    let refused = restored(true).unwrap_err();
    assert!(matches!(refused, RestoreError::OtherAuthority { .. }), "{refused}");
    std::fs::remove_dir_all(other.config().state_directory).unwrap();
    assert!(restored(false).unwrap().authority_restored);
    let fingerprint = |place: &Place| {
        Authority::open(&place.config().pki_directory(), SystemClock.now()).unwrap().fingerprint()
    };
    assert_eq!(fingerprint(&other), fingerprint(&place));
    let facts = verify(&other.config().store_path(), &other.config()).unwrap().facts.join("\n");
    assert!(facts.contains("reeve-coordinator recover"), "{facts}");
    // A backup is no store, and a store no backup.
    assert!(chain(&SqliteStore::open(&backup).err().unwrap()).contains("not a store"));
    let store = place.config().store_path();
    let error = runtime.block_on(restore(&other.config(), &store, true, 1, SystemClock.now())).unwrap_err();
    assert!(matches!(error, RestoreError::NotABackup { .. }), "{error}");
}

#[test]
fn a_damaged_store_is_not_saved_and_a_damaged_backup_not_restored() {
    let place = Place::new();
    let store = SqliteStore::open(&place.config().store_path()).unwrap();
    put(&store, "vms/1", r#"{"state":"needle-in-the-store"}"#.to_owned());
    drop(store);
    let backup = place.path().join("good");
    save(&place.config(), &backup, SystemClock.now()).unwrap();
    let spoil = |path: &std::path::Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(6).position(|window| window == b"needle").unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    spoil(&place.config().store_path());
    let late = place.path().join("late");
    let error = chain(&save(&place.config(), &late, SystemClock.now()).unwrap_err());
    assert!(error.contains("vms/1") && error.contains("digest"), "{error}");
    assert!(!late.exists() && !place.path().join("late.new").exists());
    spoil(&backup);
    let error = chain(&verify(&backup, &place.config()).unwrap_err());
    assert!(error.contains("vms/1"), "{error}");
    let runtime = Runtime::new().unwrap();
    let error = runtime.block_on(restore(&place.config(), &backup, true, 1, SystemClock.now())).unwrap_err();
    assert!(chain(&error).contains("the store is as it was") && place.config().store_path().exists());
}

#[test]
fn a_record_of_a_later_release_stops_the_start_and_is_named() {
    let place = Place::new();
    let store = SqliteStore::open(&place.config().store_path()).unwrap();
    put(&store, "setups/odd", r#"{"version":99,"kind":"setup","record":{}}"#.to_owned());
    drop(store);
    let error = Coordinator::try_start(&place).err().unwrap();
    for part in ["setups/odd", "version 99", "run the release that wrote it"] {
        assert!(error.contains(part), "{error}");
    }
    let verdict = verify(&place.config().store_path(), &place.config()).unwrap();
    assert!(verdict.problems[0].contains("setups/odd"), "{verdict:?}");
}

#[test]
fn records_that_contradict_each_other_are_named() {
    let place = Place::new();
    let coordinator = Coordinator::start(&place);
    coordinator.furnish(1);
    coordinator.kill(&place);
    let store = SqliteStore::open(&place.config().store_path()).unwrap();
    let batch = Batch::new()
        .delete(Key::new("images/debian").unwrap(), Precondition::Any)
        .delete(Key::new("setups/small").unwrap(), Precondition::Any);
    Runtime::new().unwrap().block_on(store.apply(batch)).unwrap();
    drop(store);
    let problems = verify(&place.config().store_path(), &place.config()).unwrap().problems;
    assert_eq!(problems, ["configuration web is of setup small, which is not there"]);
}

#[test]
fn a_second_coordinator_deposes_the_first_whose_writes_fail() {
    let place = Place::new();
    let authority = Authority::open(&place.config().pki_directory(), SystemClock.now()).unwrap();
    let authority = Arc::new(authority);
    let store: Arc<dyn Store> = Arc::new(reeve_coordinator::store::MemoryStore::new());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let open = || {
            reeve_coordinator::service::Service::open(
                place.config(),
                Arc::clone(&store),
                Arc::new(SystemClock),
                Arc::clone(&authority),
            )
        };
        let (old, new) = (open().await.unwrap(), open().await.unwrap());
        assert!(new.epoch() > old.epoch());
        let image = serde_json::json!({"name": "debian", "realm": "lab", "volume": "debian.qcow2", "format": "qcow2",
            "operating-system": "Debian", "created-at": 1});
        let image: reeve_coordinator::model::image::Image = serde_json::from_value(image).unwrap();
        let error = old.create_image(image.clone(), &crate::stage::actor()).await.unwrap_err();
        assert!(error.to_string().contains("another coordinator has taken over"), "{error}");
        old.deposed().await;
        new.create_image(image, &crate::stage::actor()).await.unwrap();
    });
}
