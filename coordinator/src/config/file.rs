//! Owns reading one configuration file: a plain file of bounded size that is text.
//!
//! Must not: know HOCON.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of one file: room for a thousand hardware profiles, little enough that a check of hostile text stays quick.
pub(super) const FILE_BYTES_MAX: u64 = 256 << 10;

/// A file's text, with its name as the administrator would give it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// A line, counted from 1, without its end.
    pub(super) fn line(&self, number: usize) -> Option<&str> {
        self.text.split('\n').nth(number.checked_sub(1)?)
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("it cannot be read: {0}; check its owner and mode")]
    Unreadable(std::io::Error),
    #[error("it is not a plain file")]
    NotPlain,
    #[error("it has more than {} KiB, the most a configuration file may have", FILE_BYTES_MAX >> 10)]
    TooLarge,
    #[error("it is not UTF-8 text, beginning with line {line}")]
    NotText { line: usize },
}

/// Reads a file whole. Never waits: what is not a plain file, such as a pipe, is refused before it is opened.
pub(super) fn read(path: &Path) -> Result<Source, FileError> {
    let metadata = std::fs::metadata(path).map_err(from_io)?;
    if !metadata.is_file() {
        return Err(FileError::NotPlain);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(from_io)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(from_io)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(FileError::TooLarge);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { path: path.to_owned(), text }),
        Err(error) => {
            let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            Err(FileError::NotText { line: good.filter(|byte| **byte == b'\n').count() + 1 })
        }
    }
}

fn from_io(error: std::io::Error) -> FileError {
    match error.kind() {
        std::io::ErrorKind::NotFound => FileError::Missing,
        _ => FileError::Unreadable(error),
    }
}
