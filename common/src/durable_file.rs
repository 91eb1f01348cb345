//! Owns how small files that must survive are written and read: whole or not at all, on the disk before the call
//! returns, and secrets only from files that nobody else could have read or written.
//!
//! Must not: know what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// For the owner alone.
pub const PRIVATE_FILE: u32 = 0o600;
/// Readable by all.
pub const PUBLIC_FILE: u32 = 0o644;
/// A directory for the owner alone.
pub const PRIVATE_DIRECTORY: u32 = 0o700;
/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why a file cannot be written or used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system says no.
    #[error("{path}: {doing} failed")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Its words.
        #[source]
        source: io::Error,
    },
    /// It could be read or changed by others.
    #[error("{path} can be read or written by others (mode {mode:04o}): run `chmod {wanted:04o} {path}`")]
    Permissions {
        /// Which file or directory.
        path: PathBuf,
        /// What it has.
        mode: u32,
        /// What it must have at most.
        wanted: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "{path} belongs to user {owner} and this program runs as user {own}: run `chown {own} {path}`, or run it as the other user"
    )]
    Owner {
        /// Which file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        own: u32,
    },
    /// It is not a plain file, or far too long.
    #[error("{path} is no plain file of at most {length_max} bytes")]
    Kind {
        /// Which.
        path: PathBuf,
        /// The most that is read.
        length_max: u64,
    },
    /// It is not text.
    #[error("{path} is not text")]
    Text {
        /// Which.
        path: PathBuf,
    },
}

impl FileError {
    /// Whether it is only that there is no such file.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, doing, source }
}

/// Writes a file beside the old one and puts it in its place when it is on the disk: whatever happens, there is the
/// old one or the new one.
///
/// # Errors
/// [`FileError::Io`]; the old file is still there then.
pub fn write(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(&beside, "removing the remains of an earlier attempt")(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(&beside)
        .map_err(failed(&beside, "creating"))?;
    file.write_all(contents).map_err(failed(&beside, "writing"))?;
    file.sync_all().map_err(failed(&beside, "writing to the disk"))?;
    fs::rename(&beside, path).map_err(failed(path, "putting the new file in place"))?;
    sync_parent(path)
}

/// Makes a directory for the owner alone.
///
/// # Errors
/// [`FileError::Io`], also when it is there already.
pub fn create_private_directory(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().mode(PRIVATE_DIRECTORY).create(path).map_err(failed(path, "creating the directory"))
}

/// Renames a file or directory, on the disk when it returns.
///
/// # Errors
/// [`FileError::Io`].
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(failed(from, "renaming"))?;
    sync_parent(to)
}

/// Removes a directory and what is in it; one that is not there is success.
///
/// # Errors
/// [`FileError::Io`].
pub fn remove_directory(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, "removing")(error)),
        _ => Ok(()),
    }
}

/// Whether anything is at this path. What cannot be looked at is an error, not an absence.
///
/// # Errors
/// [`FileError::Io`].
pub fn exists(path: &Path) -> Result<bool, FileError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path, "looking at it")(error)),
    }
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(failed(parent, "writing the directory to the disk"))
}

/// Reads a text of at most `length_max` bytes.
///
/// # Errors
/// [`FileError`] when it is not there, no plain file, too long or no text.
pub fn read(path: &Path, length_max: u64) -> Result<String, FileError> {
    let (file, _) = open(path, length_max)?;
    read_text(file, path, length_max).map(|text| text.to_string())
}

/// Reads a secret text of at most `length_max` bytes, wiped from memory after use. The file must belong to whoever
/// runs this, and be closed to everybody else.
///
/// # Errors
/// [`FileError`], also when others can read or write it.
pub fn read_private(path: &Path, length_max: u64) -> Result<Zeroizing<String>, FileError> {
    let (file, metadata) = open(path, length_max)?;
    check_private(path, &metadata, PRIVATE_FILE)?;
    read_text(file, path, length_max)
}

/// Checks that a directory belongs to whoever runs this, and is closed to everybody else.
///
/// # Errors
/// [`FileError`] when it does not, or is not.
pub fn check_private_directory(path: &Path) -> Result<(), FileError> {
    let metadata = fs::symlink_metadata(path).map_err(failed(path, "looking at it"))?;
    if !metadata.is_dir() {
        return Err(failed(path, "looking at it")(io::ErrorKind::NotADirectory.into()));
    }
    check_private(path, &metadata, PRIVATE_DIRECTORY)
}

fn check_private(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), FileError> {
    let own = nix::unistd::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(FileError::Owner { path: path.to_owned(), owner: metadata.uid(), own });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(FileError::Permissions { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

fn open(path: &Path, length_max: u64) -> Result<(File, fs::Metadata), FileError> {
    // Not through a symbolic link, and without waiting for a pipe's other end.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(failed(path, "opening"))?;
    let metadata = file.metadata().map_err(failed(path, "looking at it"))?;
    if metadata.is_file() && metadata.len() <= length_max {
        Ok((file, metadata))
    } else {
        Err(FileError::Kind { path: path.to_owned(), length_max })
    }
}

fn read_text(file: File, path: &Path, length_max: u64) -> Result<Zeroizing<String>, FileError> {
    // Room for all of it at once, so that no copy of a secret is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length_max).unwrap_or(0)));
    file.take(length_max).read_to_end(&mut bytes).map_err(failed(path, "reading"))?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(FileError::Text { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let directory = directory();
        let path = directory.path().join("key.pem");
        write(&path, b"one", PRIVATE_FILE).unwrap();
        // The remains of an attempt that was interrupted are in nobody's way.
        fs::write(directory.path().join("key.pem.new"), "half").unwrap();
        write(&path, b"two", PRIVATE_FILE).unwrap();
        assert_eq!(read_private(&path, 10).unwrap().as_str(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE_FILE);
        assert!(!directory.path().join("key.pem.new").exists());
    }

    #[test]
    fn a_secret_that_others_could_have_read_is_refused_with_the_remedy() {
        let directory = directory();
        let path = directory.path().join("key.pem");
        write(&path, b"secret", 0o640).unwrap();
        let error = read_private(&path, 10).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 0600"), "{error}");
        assert_eq!(read(&path, 10).unwrap(), "secret");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = check_private_directory(directory.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 0700"), "{error}");
    }

    #[test]
    fn links_pipes_directories_and_long_files_are_not_read() {
        let directory = directory();
        let path = directory.path().join("file");
        let link = directory.path().join("link");
        write(&path, b"secret", PRIVATE_FILE).unwrap();
        symlink(&path, &link).unwrap();
        assert!(matches!(read_private(&link, 10), Err(FileError::Io { .. })));
        assert!(matches!(read(&path, 5), Err(FileError::Kind { .. })));
        assert!(matches!(read(directory.path(), 10), Err(FileError::Kind { .. })));
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&pipe, 10), Err(FileError::Kind { .. })));
        assert!(read(&directory.path().join("none"), 10).unwrap_err().is_missing());
    }
}
