//! What only a store on a disk can do: survive kill -9, keep a second process out, tell damage, and run out of space.
//! The children are this test program again, running one of its ignored tests.

use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use reeve_coordinator::store::{
    Batch, OpenError, Precondition, SqliteStore, Store, StoreError, Version, next_epoch,
};

use super::{key, put, value_of};

/// Tells a child which store is meant; without it the children's tests do nothing.
const PATH_VARIABLE: &str = "REEVE_TEST_STORE";

fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(child_arguments(test)).env(PATH_VARIABLE, path);
    command
}

fn child_arguments(test: &str) -> [String; 4] {
    [format!("file::{test}"), "--exact".to_owned(), "--ignored".to_owned(), "--nocapture".to_owned()]
}

fn child_path() -> Option<std::path::PathBuf> {
    std::env::var_os(PATH_VARIABLE).map(Into::into)
}

fn open_error(path: &Path) -> OpenError {
    SqliteStore::open(path).map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn what_was_written_is_there_after_closing_and_opening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    let first = put(&store, "a", Precondition::Absent, "1").await.unwrap();
    let epoch = next_epoch(&store).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap().version, first);
    assert!(next_epoch(&store).await.unwrap() > epoch);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner may read a store");
}

#[tokio::test]
async fn versions_are_not_given_out_again_after_everything_was_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    put(&store, "a", Precondition::Absent, "1").await.unwrap();
    let last = store.apply(Batch::new().delete(key("a"), Precondition::Any)).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(put(&store, "a", Precondition::Absent, "1").await.unwrap() > last);
}

#[tokio::test]
async fn a_second_process_is_kept_out_and_told_by_whom() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    let output = child("child_opens", &path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("in use by process {}", std::process::id())), "{said}");
    assert!(matches!(open_error(&path), OpenError::InUse { .. }), "not even this process twice");
    drop(store);
    let output = child("child_opens", &path).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("opened"), "the lock is free again");
}

#[test]
#[ignore = "run by a_second_process_is_kept_out_and_told_by_whom"]
fn child_opens() {
    let Some(path) = child_path() else { return };
    match SqliteStore::open(&path) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn a_store_is_made_once_and_never_over_another_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    assert!(matches!(open_error(&path), OpenError::Missing { .. }));
    drop(SqliteStore::create(&path).unwrap());
    assert!(matches!(SqliteStore::create(&path), Err(OpenError::Exists { .. })));
    drop(SqliteStore::open(&path).unwrap());

    let letter = directory.path().join("letter");
    std::fs::write(
        &letter,
        "Dear Sir, this is more than a hundred bytes of text and no database. ".repeat(20),
    )
    .unwrap();
    assert!(matches!(SqliteStore::create(&letter), Err(OpenError::Exists { .. })));
    assert!(matches!(open_error(&letter), OpenError::NotAStore { .. }), "{}", open_error(&letter));
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(open_error(&empty), OpenError::NotAStore { .. }));
    drop(SqliteStore::create(&empty).unwrap());
    let nowhere = directory.path().join("no/such/directory");
    assert!(matches!(SqliteStore::create(&nowhere), Err(OpenError::Lock { .. })));
}

/// Where SQLite's file format has the application's own version number, and whose file it is.
const USER_VERSION_OFFSET: u64 = 60;
const APPLICATION_ID_OFFSET: u64 = 68;

pub(super) fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_newer_store_and_somebody_elses_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    drop(SqliteStore::create(&path).unwrap());
    overwrite(&path, USER_VERSION_OFFSET, &9_u32.to_be_bytes());
    let error = open_error(&path);
    assert!(matches!(error, OpenError::Newer { found: 9, .. }), "{error}");
    assert!(error.to_string().contains("form 9") && error.to_string().contains("up to 2"), "{error}");
    overwrite(&path, APPLICATION_ID_OFFSET, b"mail");
    assert!(matches!(open_error(&path), OpenError::NotAStore { .. }));
}

#[tokio::test]
async fn a_flipped_bit_in_a_record_is_found_and_the_record_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    for number in 0..50 {
        let value = format!("{{\"state\":\"running-{number}\"}}");
        put(&store, &format!("vms/{number}"), Precondition::Any, &value).await.unwrap();
    }
    drop(store);
    let bytes = std::fs::read(&path).unwrap();
    let needle = b"running-31";
    let offset = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    overwrite(&path, offset as u64, &[needle[0] ^ 1]);
    let error = open_error(&path).to_string();
    assert!(error.contains("vms/31") && error.contains("digest") && error.contains("backup"), "{error}");
}

/// The files of a store in use, as a crash would leave them.
fn as_after_a_crash(path: &Path, parts: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("store.sqlite");
    for part in parts {
        let name = |path: &Path| path.with_extension(format!("sqlite{part}"));
        std::fs::copy(name(path), name(&copy)).unwrap();
    }
    (directory, copy)
}

#[tokio::test]
async fn a_log_that_is_missing_or_another_stores_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let [path, other_path] = ["store.sqlite", "other.sqlite"].map(|name| directory.path().join(name));
    let store = SqliteStore::create(&path).unwrap();
    put(&store, "a", Precondition::Absent, "1").await.unwrap();
    let other = SqliteStore::create(&other_path).unwrap();
    put(&other, "b", Precondition::Absent, "1").await.unwrap();

    let (_whole, copy) = as_after_a_crash(&path, &["", "-wal", ".lock"]);
    assert_eq!(value_of(&SqliteStore::open(&copy).unwrap(), "a").await.as_deref(), Some("1"));

    let (_missing, copy) = as_after_a_crash(&path, &["", ".lock"]);
    let error = open_error(&copy);
    assert!(matches!(error, OpenError::MissingLog { .. }), "{error}");
    assert!(matches!(open_error(&copy), OpenError::MissingLog { .. }), "said once, said again");

    let (_foreign, copy) = as_after_a_crash(&path, &["", ".lock"]);
    std::fs::copy(other_path.with_extension("sqlite-wal"), copy.with_extension("sqlite-wal")).unwrap();
    let error = open_error(&copy);
    assert!(matches!(error, OpenError::ForeignLog { .. }), "{error}");
}

#[tokio::test]
async fn a_store_that_was_closed_needs_no_log() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    put(&store, "a", Precondition::Absent, "1").await.unwrap();
    assert_eq!(store.list("").await.unwrap().len(), 1, "also with a reader's connection");
    drop(store);
    assert!(!path.with_extension("sqlite-wal").exists());
    assert_eq!(value_of(&SqliteStore::open(&path).unwrap(), "a").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn damage_anywhere_in_the_file_is_said_and_never_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let store = SqliteStore::create(&path).unwrap();
    for number in 0..100 {
        put(&store, &format!("vms/{number}"), Precondition::Any, &"x".repeat(500)).await.unwrap();
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    for page in 0..whole.len() / 4096 {
        let mut bytes = whole.clone();
        for byte in bytes.iter_mut().skip(page * 4096 + 100).take(200) {
            *byte ^= 0x55;
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(store) = SqliteStore::open(&path) {
            // The damage lay in bytes that hold nothing.
            assert_eq!(store.list("vms").await.unwrap().len(), 100, "page {page}");
        }
    }
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = open_error(&path).to_string();
    assert!(error.contains("damaged"), "{error}");
}

#[tokio::test]
async fn after_kill_9_every_acknowledged_write_is_there_and_the_store_is_whole() {
    const ROUNDS: usize = 5;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    drop(SqliteStore::create(&path).unwrap());
    let mut acknowledged = Vec::new();
    for round in 1..=ROUNDS {
        let mut child = child("child_writes_until_killed", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut in_this_round = 0;
        // Another count in each round, so that the kill meets another moment of the writer's work.
        for line in lines.by_ref().map_while(Result::ok) {
            in_this_round += usize::from(take_acknowledgement(&line, &mut acknowledged));
            if in_this_round == 40 * round + round {
                break;
            }
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            take_acknowledgement(&line, &mut acknowledged);
        }
        child.wait().unwrap();
        if round % 2 == 0 {
            tear_log(&path);
        }
        let store = SqliteStore::open(&path).unwrap();
        for (name, version) in &acknowledged {
            let stored = store.get(&key(name)).await.unwrap();
            assert_eq!(
                stored.map(|stored| stored.version),
                Some(*version),
                "{name} was acknowledged and is lost"
            );
            assert!(
                value_of(&store, &name.replace("left", "right")).await.is_some(),
                "half of a batch is there"
            );
        }
        assert_eq!(store.list("left").await.unwrap().len(), store.list("right").await.unwrap().len());
    }
    assert!(acknowledged.len() >= 600, "{}", acknowledged.len());
}

/// The beginning of a frame that was not finished when the power went.
fn tear_log(path: &Path) {
    let log = path.with_extension("sqlite-wal");
    std::fs::OpenOptions::new().append(true).open(log).unwrap().write_all(&[0xa5; 1000]).unwrap();
}

fn take_acknowledgement(line: &str, acknowledged: &mut Vec<(String, Version)>) -> bool {
    let Some((name, version)) = line.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' '))
    else {
        return false;
    };
    acknowledged.push((name.to_owned(), Version(version.parse().unwrap())));
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by after_kill_9_every_acknowledged_write_is_there_and_the_store_is_whole"]
async fn child_writes_until_killed() {
    let Some(path) = child_path() else { return };
    let store = std::sync::Arc::new(SqliteStore::open(&path).unwrap());
    let own = std::process::id();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                for number in 0_u64.. {
                    let name = format!("left/{own}-{writer}-{number}");
                    let batch = Batch::new().put(key(&name), Precondition::Absent, "x".repeat(3000)).put(
                        key(&name.replace("left", "right")),
                        Precondition::Absent,
                        "{}",
                    );
                    let version = store.apply(batch).await.unwrap();
                    println!("acknowledged {name} {version}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[test]
fn a_full_disk_is_said_and_what_was_acknowledged_stays() {
    let directory = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    // A small disk of its own, in a mount namespace of its own, which goes with the child.
    let script = r#"mount -t tmpfs -o size=3m none "$1" && shift && exec "$@""#;
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(directory.path()).arg(test);
    command
        .args(child_arguments("child_fills_its_disk"))
        .env(PATH_VARIABLE, directory.path().join("store.sqlite"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("refused and recovered"), "{output:?}");
}

#[tokio::test]
#[ignore = "run by a_full_disk_is_said_and_what_was_acknowledged_stays"]
async fn child_fills_its_disk() {
    let Some(path) = child_path() else { return };
    let ballast = path.with_extension("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let store = SqliteStore::create(&path).unwrap();
    let mut written = 0;
    let error = loop {
        match put(&store, &format!("vms/{written}"), Precondition::Absent, &"x".repeat(60_000)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(written > 5, "{written}");
    assert!(matches!(error, StoreError::NoSpace { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("no space left"), "{error}");
    assert_eq!(store.list("vms").await.unwrap().len(), written, "what failed must not be there");
    std::fs::remove_file(ballast).unwrap();
    put(&store, "vms/more", Precondition::Absent, &"x".repeat(60_000)).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.list("vms").await.unwrap().len(), written + 1);
    println!("refused and recovered");
}

#[tokio::test]
async fn after_a_write_that_failed_for_another_reason_nothing_more_is_written_until_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    // A limit on the size of files makes writes fail with an error that is not "no space"; 512 KiB in sh's blocks.
    let script = r#"trap '' XFSZ; ulimit -f 1024; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(child_arguments("child_meets_an_error")).env(PATH_VARIABLE, &path);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find_map(|line| line.strip_prefix("acknowledged in all "));
    let written: usize = line.unwrap_or_else(|| panic!("{output:?}")).parse().unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let found = store.list("vms").await.unwrap().len();
    assert!(found >= written, "{written} were acknowledged and {found} are there");
    put(&store, "vms/more", Precondition::Absent, "{}").await.unwrap();
}

#[tokio::test]
#[ignore = "run by after_a_write_that_failed_for_another_reason_nothing_more_is_written_until_a_restart"]
async fn child_meets_an_error() {
    let Some(path) = child_path() else { return };
    let store = SqliteStore::create(&path).unwrap();
    let mut written = 0;
    let error = loop {
        match put(&store, &format!("vms/{written}"), Precondition::Absent, &"x".repeat(30_000)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Broken { .. }) && !error.is_retryable(), "{error:?}");
    let again = put(&store, "small", Precondition::Any, "{}").await.unwrap_err();
    assert!(matches!(again, StoreError::Broken { .. }), "a broken store wrote again: {again:?}");
    assert_eq!(store.list("vms").await.unwrap().len(), written, "it can still be read");
    println!("acknowledged in all {written}");
}
