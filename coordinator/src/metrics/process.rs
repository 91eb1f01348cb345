//! Owns what the kernel says of the coordinator's process and of the file system where the store is. Each answer takes
//! microseconds.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use reeve_common::machine_facts::room;

use super::picture::{ProcessFacts, StoreSizes};

/// The page size of every machine this runs on; `statm` counts in pages.
const PAGE: u64 = 4096;

/// The coordinator's process; none where `/proc` is not to be had.
#[must_use]
pub fn process_facts() -> Option<ProcessFacts> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let open_files = fs::read_dir("/proc/self/fd").ok()?.count();
    let (open_files_max, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(ProcessFacts {
        resident: pages.saturating_mul(PAGE),
        cpu_seconds: seconds(user.tv_sec(), user.tv_usec()) + seconds(system.tv_sec(), system.tv_usec()),
        open_files: u64::try_from(open_files).unwrap_or(u64::MAX),
        open_files_max,
    })
}

#[allow(clippy::cast_precision_loss)] // processor time, shown with microseconds
fn seconds(whole: i64, micro: i64) -> f64 {
    whole as f64 + micro as f64 / 1e6
}

/// The sizes of the store at `path`; none when it has no files.
#[must_use]
pub fn store_sizes(path: &Path) -> Option<StoreSizes> {
    let database = fs::metadata(path).ok()?.len();
    let log = path.with_extension("sqlite-wal");
    // It is not there while nobody has the store open.
    let write_ahead_log = fs::metadata(log).map_or(0, |metadata| metadata.len());
    let (free, space) = room(path)?;
    Some(StoreSizes { database, write_ahead_log, free, space })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_files() {
        let facts = process_facts().unwrap();
        assert!(facts.resident > 1 << 20 && facts.open_files > 2, "{facts:?}");
        assert!(facts.open_files_max >= facts.open_files && facts.cpu_seconds >= 0.0, "{facts:?}");
    }

    #[test]
    fn a_store_has_a_size_and_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.sqlite");
        assert_eq!(store_sizes(&path), None);
        fs::write(&path, [0; 5000]).unwrap();
        fs::write(directory.path().join("store.sqlite-wal"), [0; 300]).unwrap();
        let sizes = store_sizes(&path).unwrap();
        assert_eq!((sizes.database, sizes.write_ahead_log), (5000, 300));
        assert!(sizes.free > 0 && sizes.space >= sizes.free, "{sizes:?}");
    }
}
