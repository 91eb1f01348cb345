//! Owns what a lab looks like at one moment.

use serde::Serialize;

use super::daemons::Daemon;
use super::partition::Direction;
use super::perform::ANCHOR;
use super::place::Place;
use super::record::Lab;

/// One place of a lab as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlaceStatus {
    /// Its name.
    pub name: String,
    /// Its address in the lab's network.
    pub address: String,
    /// Whether its namespaces are there.
    pub up: bool,
    /// Its daemons that run.
    pub running: Vec<&'static str>,
    /// Its daemons that do not run.
    pub not_running: Vec<&'static str>,
    /// How it is cut off, if it is.
    pub partition: Option<String>,
    /// The domains of its libvirt that run; none if libvirt cannot be asked.
    pub domains: Option<Vec<String>>,
}

impl Lab {
    /// The coordinator's place and all hosts as they are now.
    #[must_use]
    pub fn status(&self) -> Vec<PlaceStatus> {
        let lab = self.description();
        let coordinator = (Place::Coordinator, lab.coordinator_address, &[Daemon::Coordinator][..]);
        let daemons = &[Daemon::Virtlogd, Daemon::Libvirtd, Daemon::Agent][..];
        let hosts = lab.hosts.iter().map(|host| (Place::Host(host.name.clone()), host.address, daemons));
        [coordinator]
            .into_iter()
            .chain(hosts)
            .map(|(place, address, daemons)| {
                let (running, not_running): (Vec<Daemon>, Vec<Daemon>) =
                    daemons.iter().partition(|daemon| self.is_running(**daemon, &place));
                let names = |daemons: Vec<Daemon>| daemons.into_iter().map(Daemon::name).collect();
                PlaceStatus {
                    name: place.name().to_owned(),
                    address: address.to_string(),
                    up: self.process(&place, ANCHOR).is_some(),
                    domains: running.contains(&Daemon::Libvirtd).then(|| self.domains(&place)).flatten(),
                    running: names(running),
                    not_running: names(not_running),
                    partition: self.partition_of(&place).ok().flatten().map(Direction::words),
                }
            })
            .collect()
    }

    fn domains(&self, place: &Place) -> Option<Vec<String>> {
        let listed = self.virsh(place, &["list", "--name"]).ok()?;
        Some(listed.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }
}
