//! Owns the places of a lab: the sets of namespaces in which its commands and daemons run.

use std::fmt;

use super::process::ProcessIdentity;

/// Where something runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The namespace of the bridge that joins the others.
    Switch,
    /// The coordinator's.
    Coordinator,
    /// A host's.
    Host(String),
}

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Namespace {
    Mount,
    Network,
    HostName,
}

impl Namespace {
    const fn option(self) -> &'static str {
        match self {
            Self::Mount => "--mount",
            Self::Network => "--net",
            Self::HostName => "--uts",
        }
    }
}

impl Place {
    /// Its name, which is its host name too.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Switch => "switch",
            Self::Coordinator => "coordinator",
            Self::Host(name) => name,
        }
    }

    /// The switch sees the machine's files; the others can have mounts of their own.
    const fn namespaces(&self) -> &'static [Namespace] {
        match self {
            Self::Switch => &[Namespace::Network, Namespace::HostName],
            Self::Coordinator | Self::Host(_) => &[Namespace::Mount, Namespace::Network, Namespace::HostName],
        }
    }

    /// The command that makes the place and keeps it until it is killed.
    pub(crate) fn making(&self) -> Vec<String> {
        let mut command = vec!["unshare".to_owned()];
        command.extend(self.namespaces().iter().map(|namespace| namespace.option().to_owned()));
        command.extend(["--", "sleep", "infinity"].map(str::to_owned));
        command
    }

    /// What stands before a command for it to run in the place that `anchor` keeps.
    pub(crate) fn entering(&self, anchor: ProcessIdentity) -> Vec<String> {
        let mut command = vec!["nsenter".to_owned(), format!("--target={}", anchor.pid)];
        command.extend(self.namespaces().iter().map(|namespace| namespace.option().to_owned()));
        command.push("--".to_owned());
        command
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_has_no_mounts_of_its_own() {
        let anchor = ProcessIdentity { pid: 7, started: 1 };
        assert_eq!(Place::Switch.making().join(" "), "unshare --net --uts -- sleep infinity");
        assert_eq!(
            Place::Host("host1".to_owned()).entering(anchor).join(" "),
            "nsenter --target=7 --mount --net --uts --"
        );
    }
}
