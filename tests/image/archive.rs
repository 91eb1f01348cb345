//! Owns the cpio archive (`newc`) that Linux takes as its initial file system. Pure: files in, bytes out, and the
//! same files give the same bytes.

/// The largest file an archive takes: sizes are 32 bits in this format.
const FILE_LENGTH_MAX: usize = u32::MAX as usize;

/// One thing in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, without a leading slash.
    pub(crate) path: String,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory.
    Directory,
    /// A file, with whether it may be executed.
    File {
        /// Its bytes.
        contents: Vec<u8>,
        /// Whether it is a program.
        executable: bool,
    },
}

impl Entry {
    /// A directory.
    pub(crate) fn directory(path: &str) -> Self {
        Self { path: path.to_owned(), kind: Kind::Directory }
    }

    /// A file that is read.
    pub(crate) fn file(path: &str, contents: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), kind: Kind::File { contents: contents.into(), executable: false } }
    }

    /// A file that is run.
    pub(crate) fn program(path: &str, contents: impl Into<Vec<u8>>) -> Self {
        Self { path: path.to_owned(), kind: Kind::File { contents: contents.into(), executable: true } }
    }
}

/// Why no archive could be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is longer than the archive format can say")]
pub(crate) struct TooLong {
    path: String,
}

/// The archive of these entries, in this order: a directory must stand before what is in it.
pub(crate) fn write(entries: &[Entry]) -> Result<Vec<u8>, TooLong> {
    let mut out = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let (mode, contents): (u32, &[u8]) = match &entry.kind {
            Kind::Directory => (0o040_755, &[]),
            Kind::File { contents, executable: true } => (0o100_755, contents),
            Kind::File { contents, executable: false } => (0o100_644, contents),
        };
        if contents.len() > FILE_LENGTH_MAX {
            return Err(TooLong { path: entry.path.clone() });
        }
        append(&mut out, index + 1, mode, &entry.path, contents);
    }
    append(&mut out, 0, 0, "TRAILER!!!", &[]);
    Ok(out)
}

fn append(out: &mut Vec<u8>, inode: usize, mode: u32, path: &str, contents: &[u8]) {
    let name_length = path.len() + 1;
    // magic, inode, mode, uid, gid, links, time, size, device (2), special device (2), name length, checksum
    let header = format!(
        "070701{inode:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{name_length:08x}{:08x}",
        0,
        0,
        1,
        0,
        contents.len(),
        0,
        0,
        0,
        0,
        0
    );
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(contents);
    pad(out);
}

/// Names and contents begin at multiples of four.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_archive_is_one_that_cpio_reads() {
        let archive = write(&[
            Entry::directory("bin"),
            Entry::program("bin/run", "#!/bin/sh\n"),
            Entry::file("odd", vec![7_u8; 5]),
        ])
        .unwrap();
        let mut child = Command::new("busybox")
            .args(["cpio", "-t"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        let listed = child.wait_with_output().unwrap();
        assert!(listed.status.success());
        assert_eq!(String::from_utf8(listed.stdout).unwrap(), "bin\nbin/run\nodd\n");
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let entries = [Entry::file("a", "b")];
        assert_eq!(write(&entries), write(&entries));
        assert_eq!(&write(&entries).unwrap()[..6], b"070701");
    }
}
