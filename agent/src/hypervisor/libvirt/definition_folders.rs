//! Owns which folders a libvirt saves its domains' definitions in, as far as the URI it is reached by tells.
//!
//! Must not: look whether they are there. What a URI does not tell is left out and never guessed: a folder of another
//! libvirt would be watched in vain and taken for enough.

use std::path::{Path, PathBuf};

/// Where the system's libvirt has its sockets, and what runs; the second is the first by its old name.
const SYSTEM_SOCKET_FOLDERS: [&str; 2] = ["/run/libvirt", "/var/run/libvirt"];
/// Where the system's libvirt has the definitions by which domains start.
const SYSTEM_PERSISTENT: &str = "/etc/libvirt/qemu";

/// The folders in which a libvirt saves what its domains are; what is not known is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefinitionFolders {
    /// Of domains that run, as they run.
    pub status: Option<PathBuf>,
    /// Of domains that are defined, as they start next.
    pub persistent: Option<PathBuf>,
}

/// The folders of the user whose session's libvirt may be meant, as the XDG base directory specification names them.
#[derive(Debug, Clone, Default)]
pub(super) struct UserFolders {
    /// `XDG_RUNTIME_DIR`
    pub(super) runtime: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`
    pub(super) configuration: Option<PathBuf>,
}

impl DefinitionFolders {
    /// The folders of the libvirt at this URI; none of one on another machine, or that is not QEMU's driver.
    pub(super) fn of(uri: &str, user: &UserFolders) -> Self {
        let Some(("qemu" | "qemu+unix", rest)) = uri.split_once("://") else { return Self::default() };
        // With a host's name in front of it the path is another.
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let socket = parameters.split(['&', ';']).find_map(|parameter| parameter.strip_prefix("socket="));
        let beside_socket = socket.map(|socket| Path::new(socket).parent().unwrap_or(Path::new("")));
        match path {
            "/system" => Self::of_system(beside_socket),
            "/session" => Self::of_session(beside_socket, user),
            _ => Self::default(),
        }
    }

    fn of_system(beside_socket: Option<&Path>) -> Self {
        let [usual, _] = SYSTEM_SOCKET_FOLDERS.map(Path::new);
        let sockets = beside_socket.unwrap_or(usual);
        // One that has its sockets elsewhere has its configuration elsewhere, too.
        let usual = SYSTEM_SOCKET_FOLDERS.iter().any(|folder| sockets == Path::new(folder));
        Self {
            status: Some(sockets.join("qemu")),
            persistent: usual.then(|| PathBuf::from(SYSTEM_PERSISTENT)),
        }
    }

    fn of_session(beside_socket: Option<&Path>, user: &UserFolders) -> Self {
        let usual = user.runtime.as_ref().map(|runtime| runtime.join("libvirt"));
        let sockets = beside_socket.map(Path::to_path_buf).or_else(|| usual.clone());
        let persistent = user.configuration.as_ref().map(|folder| folder.join("libvirt/qemu"));
        Self {
            persistent: persistent.filter(|_| sockets == usual),
            status: sockets.map(|sockets| sockets.join("qemu/run")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(uri: &str) -> [Option<String>; 2] {
        let user = UserFolders {
            runtime: Some(PathBuf::from("/run/user/7")),
            configuration: Some(PathBuf::from("/home/ann/.config")),
        };
        let DefinitionFolders { status, persistent } = DefinitionFolders::of(uri, &user);
        [status, persistent].map(|folder| folder.map(|path| path.display().to_string()))
    }

    fn some(status: &str, persistent: &str) -> [Option<String>; 2] {
        [Some(status.to_owned()), Some(persistent.to_owned())]
    }

    #[test]
    fn the_systems_folders_are_known() {
        let system = some("/run/libvirt/qemu", "/etc/libvirt/qemu");
        for uri in [
            "qemu:///system",
            "qemu+unix:///system",
            "qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
            "qemu+unix:///system?mode=direct&socket=/run/libvirt/virtqemud-sock",
        ] {
            assert_eq!(folders(uri), system, "{uri}");
        }
        let old_name = "qemu+unix:///system?socket=/var/run/libvirt/libvirt-sock";
        assert_eq!(folders(old_name), some("/var/run/libvirt/qemu", "/etc/libvirt/qemu"));
    }

    #[test]
    fn what_runs_is_beside_the_socket_and_the_rest_is_not_guessed() {
        let beside = [Some("/srv/a/qemu".to_owned()), None];
        assert_eq!(folders("qemu+unix:///system?socket=/srv/a/libvirt-sock"), beside);
        let beside = [Some("/srv/a/qemu/run".to_owned()), None];
        assert_eq!(folders("qemu+unix:///session?socket=/srv/a/libvirt-sock"), beside);
    }

    #[test]
    fn a_sessions_folders_are_its_users() {
        let own = some("/run/user/7/libvirt/qemu/run", "/home/ann/.config/libvirt/qemu");
        assert_eq!(folders("qemu:///session"), own);
        let nobodys = DefinitionFolders::of("qemu:///session", &UserFolders::default());
        assert_eq!(nobodys, DefinitionFolders::default());
    }

    #[test]
    fn of_others_nothing_is_known() {
        for uri in [
            "qemu://far/system",
            "qemu+ssh://far/system",
            "qemu+tls:///system",
            "test:///default",
            "qemu",
            "",
        ] {
            assert_eq!(folders(uri), [None, None], "{uri}");
        }
    }
}
