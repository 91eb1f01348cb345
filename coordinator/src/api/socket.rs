//! Owns the socket's file: made with its mode before anybody can see it, taken over from a coordinator that is gone,
//! never from one that is there, and removed at the end if it is still ours.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Root, the owner and the group's members may connect; nobody else.
const SOCKET_MODE: u32 = 0o660;

/// Why the socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another coordinator is there.
    #[error(
        "a coordinator is listening at {path} already: stop it first, or give this one another `api-socket`"
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket stands there.
    #[error("{path} exists and is no socket: move it away, or name another `api-socket`")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error(
        "the API's socket cannot be made at {path}: does its folder exist, may this user write there, and is the path shorter than 104 characters?"
    )]
    System {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A socket's file that is listened on.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

/// Listens at `path`.
///
/// # Errors
/// [`BindError`] says who or what is in the way.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let system = |source| BindError::System { path: path.to_owned(), source };
    make_way(path)?;
    // Made under another name and renamed: nobody finds it before its mode is right.
    let unfinished = unfinished_name(path);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(system(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished).map_err(system)?;
    let finish = || {
        fs::set_permissions(&unfinished, Permissions::from_mode(SOCKET_MODE))?;
        let inode = inode(&unfinished)?;
        fs::rename(&unfinished, path)?;
        Ok(inode)
    };
    match finish() {
        Ok(inode) => Ok((listener, SocketFile { path: path.to_owned(), inode })),
        Err(error) => {
            // What failed is told; what is left of it would only confuse.
            let _ = fs::remove_file(&unfinished);
            Err(system(error))
        }
    }
}

fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    PathBuf::from(name)
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Sees that nothing alive is at `path`. What a coordinator left that was killed is overwritten by the rename.
fn make_way(path: &Path) -> Result<(), BindError> {
    let system = |source| BindError::System { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match BlockingStream::connect(path) {
        Ok(_) => Err(BindError::Taken { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            log::info!("taking over {} from a coordinator that is gone", path.display());
            Ok(())
        }
        // Its queue is full: somebody is there.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::Taken { path: path.to_owned() })
        }
        Err(error) => Err(system(error)),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another coordinator may have taken the path meanwhile; its socket is not ours to remove.
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_the_owner_and_the_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let (_listener, file) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the unfinished socket stayed");
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_taken_over_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_listener, _file) = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, BindError::Taken { .. }), "{error}");
        assert!(BlockingStream::connect(&path).is_ok(), "the live socket was harmed");
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let (_listener, file) = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let (_successor, _successors_file) = bind(&path).unwrap();
        drop(file);
        assert!(path.exists());
    }
}
