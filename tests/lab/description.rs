//! Owns what a lab is to be: its hosts, addresses and directories. Pure; everything else is derived from it, and it is
//! the first thing a lab writes down.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::place::Place;

/// The most hosts one lab takes: their addresses follow the coordinator's within one /24, and each libvirtd takes
/// some 40 MiB.
pub(crate) const HOSTS_MAX: usize = 64;

/// Where the hosts' addresses begin in the lab's network; the coordinator is below them.
const FIRST_HOST_ADDRESS: u8 = 11;

/// The lab's network unless told otherwise: the block reserved for documentation, which no machine uses. It exists
/// only inside the lab's namespaces, so several labs can use the same.
pub const NETWORK_DEFAULT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 0);

/// The length of the network's prefix.
pub(crate) const PREFIX_LENGTH: u8 = 24;

/// The longest path of a UNIX socket is 107 bytes; one byte is kept in hand.
const SOCKET_PATH_LENGTH_MAX: usize = 106;

/// The hardware profiles that hosts get in turn. They differ, so that placement has something to choose.
pub(crate) const PROFILES: [&str; 3] = ["small", "medium", "large"];

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// The lab's own directory; created by the lab, and removed with it.
    pub directory: PathBuf,
    /// How many hosts.
    pub hosts: usize,
    /// The network they are joined by; the last byte does not count.
    pub network: Ipv4Addr,
}

/// A lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Description {
    /// Never used twice: all that belongs to the lab is marked with it.
    pub id: Uuid,
    /// Its directory.
    pub directory: PathBuf,
    /// The coordinator's address.
    pub coordinator_address: Ipv4Addr,
    /// Its hosts.
    pub hosts: Vec<HostDescription>,
}

/// One host of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostDescription {
    /// Its name and host name.
    pub name: String,
    /// What its libvirt says it is.
    pub uuid: Uuid,
    /// Its address in the lab's network.
    pub address: Ipv4Addr,
    /// Its hardware profile.
    pub profile: String,
}

impl Description {
    /// The lab of this id that was asked for.
    ///
    /// # Errors
    /// When there are too few or too many hosts, or the directory cannot be used.
    pub fn new(id: Uuid, request: &Request) -> Result<Self> {
        ensure!(
            (1..=HOSTS_MAX).contains(&request.hosts),
            "a lab has 1 to {HOSTS_MAX} hosts, not {}",
            request.hosts
        );
        ensure!(request.directory.is_absolute(), "{} is not an absolute path", request.directory.display());
        let Some(text) = request.directory.to_str() else {
            bail!("{} is not valid text; choose another directory", request.directory.display());
        };
        let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+@ ".contains(character);
        ensure!(
            text.chars().all(plain),
            "{text} has characters that configuration files quote; choose another directory"
        );
        let [first, second, third, _] = request.network.octets();
        let address = |last| Ipv4Addr::new(first, second, third, last);
        let hosts = (0_u8..)
            .zip(PROFILES.into_iter().cycle())
            .take(request.hosts)
            .map(|(index, profile)| HostDescription {
                name: format!("host{}", index + 1),
                uuid: host_uuid(id, index),
                address: address(FIRST_HOST_ADDRESS + index),
                profile: profile.to_owned(),
            })
            .collect();
        Ok(Self { id, directory: request.directory.clone(), coordinator_address: address(1), hosts })
    }

    /// The host of this name.
    ///
    /// # Errors
    /// Names the hosts there are when there is no such host.
    pub fn host(&self, name: &str) -> Result<&HostDescription> {
        if let Some(host) = self.hosts.iter().find(|host| host.name == name) {
            return Ok(host);
        }
        let known: Vec<&str> = self.hosts.iter().map(|host| host.name.as_str()).collect();
        bail!("the lab has no host {name:?}; its hosts are {}", known.join(", "))
    }

    /// What marks the lab's mounts: the name of their source.
    #[must_use]
    pub fn mark(&self) -> String {
        format!("reeve-lab-{}", self.id)
    }

    /// All places that exist in the lab, the switch first.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let hosts = self.hosts.iter().map(|host| Place::Host(host.name.clone()));
        [Place::Switch, Place::Coordinator].into_iter().chain(hosts).collect()
    }

    /// What the hosts share, as a distributed file system would be.
    #[must_use]
    pub fn shared(&self) -> PathBuf {
        self.directory.join("shared")
    }

    /// What belongs to one host.
    #[must_use]
    pub fn host_directory(&self, host: &str) -> PathBuf {
        self.directory.join("hosts").join(host)
    }

    /// What belongs to the coordinator.
    #[must_use]
    pub fn coordinator_directory(&self) -> PathBuf {
        self.directory.join("coordinator")
    }

    /// The output of daemons.
    #[must_use]
    pub fn log_directory(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// The product's programs as this lab runs them: copies, so that building anew does not change a running lab.
    #[must_use]
    pub fn program_directory(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// The coordinator's API socket. It lies in the lab's directory unless that path is too long for a socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        let inside = self.coordinator_directory().join("api.sock");
        if inside.as_os_str().len() <= SOCKET_PATH_LENGTH_MAX {
            return inside;
        }
        self.socket_refuge().join("api.sock")
    }

    /// Where the socket lies when the lab's own path is too long.
    #[must_use]
    pub fn socket_refuge(&self) -> PathBuf {
        Path::new("/tmp").join(self.mark())
    }
}

/// libvirt needs a UUID of its own for each host: the lab's, with the host's number in its last byte.
fn host_uuid(id: Uuid, index: u8) -> Uuid {
    let mut bytes = *id.as_bytes();
    bytes[15] = index + 1;
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A lab of two hosts that always is the same.
    pub(crate) fn example() -> Description {
        let request =
            Request { directory: PathBuf::from("/labs/example"), hosts: 2, network: NETWORK_DEFAULT };
        Description::new(Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef), &request).unwrap()
    }

    #[test]
    fn hosts_have_addresses_and_uuids_of_their_own() {
        let request =
            Request { directory: PathBuf::from("/x"), hosts: HOSTS_MAX, network: Ipv4Addr::new(10, 9, 8, 7) };
        let lab = Description::new(Uuid::nil(), &request).unwrap();
        let mut addresses: Vec<_> = lab.hosts.iter().map(|host| host.address).collect();
        addresses.push(lab.coordinator_address);
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), HOSTS_MAX + 1);
        assert_eq!(lab.hosts[0].address, Ipv4Addr::new(10, 9, 8, 11));
        assert_ne!(lab.hosts[0].uuid, lab.hosts[1].uuid);
        assert_ne!(lab.hosts[0].profile, lab.hosts[1].profile);
    }

    #[test]
    fn a_lab_without_hosts_or_with_too_many_is_refused() {
        for hosts in [0, HOSTS_MAX + 1] {
            let request = Request { directory: PathBuf::from("/x"), hosts, network: NETWORK_DEFAULT };
            assert!(Description::new(Uuid::nil(), &request).is_err());
        }
    }

    #[test]
    fn a_socket_always_has_a_path_that_fits() {
        let mut lab = example();
        assert_eq!(lab.socket(), Path::new("/labs/example/coordinator/api.sock"));
        lab.directory = PathBuf::from("/").join("long".repeat(40));
        assert!(lab.socket().as_os_str().len() <= SOCKET_PATH_LENGTH_MAX);
    }

    #[test]
    fn an_unknown_host_is_answered_with_the_known_ones() {
        let error = example().host("host9").unwrap_err().to_string();
        assert!(error.contains("host1, host2"), "{error}");
    }
}
