//! Owns giving up root's rights before a command touches what belongs to a service: whoever runs `join` or `init` as root
//! works as the owner of the state directory, so that what is made there is the service's and not root's.
//!
//! Must not: be called once there are threads, or give rights to anybody but root.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setgroups, setuid};

/// Why root's rights could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum ServiceUserError {
    /// The directory cannot be looked at.
    #[error("{} cannot be looked at", path.display())]
    Look {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused.
    #[error(
        "root cannot become user {user}, to whom {} belongs: run this as that user, or give the directory to root",
        path.display()
    )]
    Become {
        /// Which directory.
        path: PathBuf,
        /// Whose it is.
        user: String,
        /// What the system said.
        #[source]
        source: nix::Error,
    },
}

/// Works as the owner of `directory` from now on, if this is root's process and the directory somebody else's. Tells who
/// that is. A directory that is not there, or root's own, changes nothing.
///
/// # Errors
/// [`ServiceUserError`]; nothing more should be done then.
pub fn become_owner(directory: &Path) -> Result<Option<String>, ServiceUserError> {
    let metadata = match fs::symlink_metadata(directory) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ServiceUserError::Look { path: directory.to_owned(), source }),
    };
    if !geteuid().is_root() || metadata.uid() == 0 {
        return Ok(None);
    }
    let owner = Uid::from_raw(metadata.uid());
    // An owner without a name has the directory's group and no other.
    let known = User::from_uid(owner).ok().flatten();
    let name = known.as_ref().map_or_else(|| owner.to_string(), |user| user.name.clone());
    let failed = |source| ServiceUserError::Become { path: directory.to_owned(), user: name.clone(), source };
    match &known {
        Some(user) => {
            let name = std::ffi::CString::new(user.name.as_str()).map_err(|_| failed(nix::Error::EINVAL))?;
            initgroups(&name, user.gid).and_then(|()| setgid(user.gid)).map_err(failed)?;
        }
        None => {
            let group = Gid::from_raw(metadata.gid());
            setgroups(&[group]).and_then(|()| setgid(group)).map_err(failed)?;
        }
    }
    // All three identities of the process: there is no way back.
    setuid(owner).map_err(failed)?;
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_or_ones_own_changes_nobody() {
        let before = geteuid();
        assert_eq!(become_owner(Path::new("/nowhere/at/all")).unwrap(), None);
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(become_owner(directory.path()).unwrap(), None);
        assert_eq!(geteuid(), before);
    }
}
