//! Owns what a support bundle is: which parts it has, how large each may be, and that no secret is in it. Pure but for the
//! file that it becomes.
//!
//! ```text
//!   API documents, metrics, journal ─▶ Part ─▶ redaction ─▶ cut ─▶ archive ─▶ FILE (0600)
//! ```
//!
//! Nothing is put in that holds secrets by its nature: no key, no store, no configuration file, but the configuration in
//! force as the API tells it. Redaction is the net below that.

mod archive;
mod redaction;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use reeve_common::clock::Timestamp;

use self::archive::{Entry, tar};
use self::redaction::redacted;

/// The largest part: the documents of ten thousand hosts are some tens of MiB, and the first of them tell enough.
pub(super) const PART_SIZE_MAX: usize = 16 << 20;
/// The largest bundle: what still goes through a ticket system. What does not fit is named instead.
const BUNDLE_SIZE_MAX: usize = 64 << 20;
/// Only its owner reads it.
const FILE_MODE: u32 = 0o600;

/// One file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name.
    pub(super) name: &'static str,
    /// What is in it.
    pub(super) text: String,
}

/// The bundle's bytes: each part without secrets and cut to its size, below a directory of the bundle's name.
pub(super) fn bundle(directory: &str, parts: Vec<Part>, now: Timestamp) -> Vec<u8> {
    let mut room = BUNDLE_SIZE_MAX;
    let mut left_out = String::new();
    let mut entries = Vec::new();
    for Part { name, text } in parts {
        let text = cut(redacted(&text), PART_SIZE_MAX);
        match room.checked_sub(text.len()) {
            Some(rest) => {
                room = rest;
                entries.push(Entry { name: format!("{directory}/{name}"), bytes: text.into_bytes() });
            }
            None => left_out.push_str(&format!("{name}: {} bytes did not fit\n", text.len())),
        }
    }
    if !left_out.is_empty() {
        entries.push(Entry { name: format!("{directory}/left-out.txt"), bytes: left_out.into_bytes() });
    }
    tar(&entries, now)
}

/// At most so many bytes, cut at a character and marked.
fn cut(mut text: String, length_max: usize) -> String {
    const MARK: &str = "\n[cut here: it is larger than the part of a support bundle may be]\n";
    if text.len() > length_max {
        let mut end = length_max.saturating_sub(MARK.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(MARK);
    }
    text
}

/// Writes a file that is new and its owner's alone.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_bundle_is_a_file_of_its_owner_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle.tar");
        let parts = vec![Part { name: "status.json", text: "{}".to_owned() }];
        write(&path, &bundle("reeve-1", parts, Timestamp(5_000))).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(write(&path, b"x").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        // What tar makes of it.
        let listed =
            std::process::Command::new("tar").arg("-xOf").arg(&path).arg("reeve-1/status.json").output();
        assert_eq!(listed.unwrap().stdout, b"{}");
    }

    #[test]
    fn parts_are_cut_and_the_whole_is_bounded() {
        assert_eq!(cut("short".to_owned(), 100), "short");
        let text = cut("ä".repeat(100), 101);
        assert!(text.len() <= 101 && text.contains("cut here"), "{text}");
        let large = |name| Part { name, text: "x".repeat(PART_SIZE_MAX) };
        let parts = ["a", "b", "c", "d", "e"].map(large).to_vec();
        let bytes = bundle("b", parts, Timestamp(0));
        assert!(bytes.len() < BUNDLE_SIZE_MAX + (1 << 20), "{}", bytes.len());
        assert!(
            String::from_utf8_lossy(&bytes[bytes.len() - 4096..]).contains("e: 16777216 bytes did not fit")
        );
    }
}
