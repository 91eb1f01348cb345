//! Owns what the lab's coordinator is told: the texts of its configuration files. Pure.

use std::path::PathBuf;
use std::time::Duration;

use reeve_common::units::Mebibytes;

use super::description::Description;
use super::libvirt_files::{NETWORK, POOLS};

/// The lab's only realm.
pub const REALM: &str = "lab";

/// Where agents connect and where hosts join, on the coordinator's address.
const PORTS: (u16, u16) = (7443, 7444);

/// What tests choose differently from one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorSettings {
    /// How long a guest has to register.
    pub registration_timeout: Duration,
    /// How long a guest has to shut down.
    pub shutdown_timeout: Duration,
    /// How long an agent may be silent.
    pub lost_after: Duration,
    /// The terms of the cost function that all hosts are judged by.
    pub cost_terms: &'static str,
    /// The size of the file system that holds the coordinator's state alone; none for a directory of the lab's.
    pub state_space: Option<Mebibytes>,
    /// Further keys of the realm's file.
    pub realm_keys: String,
}

/// The more a host is used, the dearer is more of it.
const COST_TERMS: &str = r#"
    cpu      = "2 * power(cores.load, 2)"
    memory   = "4 * exponential(memory.load, 8)"
    crowding = "power(vms, 2) / 8"
"#;

impl Default for CoordinatorSettings {
    /// Short enough to be waited for, long enough for guests that boot four at a time on two processors.
    fn default() -> Self {
        Self {
            registration_timeout: Duration::from_secs(120),
            shutdown_timeout: Duration::from_secs(30),
            lost_after: Duration::from_secs(10),
            cost_terms: COST_TERMS,
            state_space: None,
            realm_keys: String::new(),
        }
    }
}

/// Where the coordinator keeps its records and its certificate authority.
pub(crate) fn state_directory(lab: &Description) -> PathBuf {
    lab.coordinator_directory().join("state")
}

/// The coordinator's own file, which includes the realm's.
pub(crate) fn coordinator(lab: &Description, settings: &CoordinatorSettings) -> String {
    let address = lab.coordinator_address;
    let (agents, joining) = PORTS;
    format!(
        r#"agent-listen = "{address}:{agents}"
join-listen = "{address}:{joining}"
advertised-address = "{address}"
state-directory = "{state}"
api-socket = "{socket}"
lost-after = {lost_after} milliseconds
sample-interval = 2 seconds

realms {{
  {REALM} {{ include "realms/{REALM}.conf" }}
}}

cost-functions {{
  lab {{{cost_terms}  }}
}}

# Every host of the lab is the whole machine, which may have two processors: more is promised by overcommitment.
hardware-profiles {{
  small {{
    cores = 2, memory = 1 GiB
    reserve {{ memory = 128 MiB }}
    cost-function = lab
  }}
  medium {{
    cores = 2, memory = 2 GiB
    reserve {{ memory = 128 MiB }}
    overcommit {{ cores = 2.0 }}
    cost-function = lab
  }}
  large {{
    cores = 2, memory = 4 GiB
    reserve {{ memory = 256 MiB }}
    overcommit {{ cores = 7.0 }}
    cost-function = lab
  }}
}}
"#,
        state = state_directory(lab).display(),
        socket = lab.socket().display(),
        lost_after = settings.lost_after.as_millis(),
        cost_terms = settings.cost_terms,
    )
}

/// The realm's file.
pub(crate) fn realm(settings: &CoordinatorSettings) -> String {
    let [volumes, drives, bricks] = POOLS;
    format!(
        r#"disabled = false
driver = libvirt
name = "The lab"

volumes-pool = "{volumes}"
drives-pool = "{drives}"
bricks-pool = "{bricks}"

registration-timeout = {registration} milliseconds
shutdown-timeout = {shutdown} milliseconds
poll-frequency = 5 seconds
log-scheduling = on

drives.lazy-allocation = on
drives.cache = "default"
drives.max-size = 1 GiB

# Software emulation: that a machine lets /dev/kvm be opened does not mean that guests run under it.
virt-type = qemu
network = {NETWORK}
network-filter = clean-traffic
{further}
"#,
        registration = settings.registration_timeout.as_millis(),
        shutdown = settings.shutdown_timeout.as_millis(),
        further = settings.realm_keys,
    )
}

#[cfg(test)]
mod tests {
    use super::super::description::{PROFILES, tests::example};
    use super::*;

    #[test]
    fn the_coordinator_takes_the_files() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("realms")).unwrap();
        let file = directory.path().join("coordinator.conf");
        let settings = CoordinatorSettings::default();
        std::fs::write(&file, coordinator(&example(), &settings)).unwrap();
        std::fs::write(directory.path().join("realms/lab.conf"), realm(&settings)).unwrap();
        let (config, _) = reeve_coordinator::config::check(&file).unwrap();
        for profile in PROFILES {
            assert!(config.hardware_profiles.keys().any(|name| name.as_str() == profile), "{profile}");
        }
    }
}
