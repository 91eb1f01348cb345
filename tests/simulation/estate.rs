//! Owns what every simulation begins with: the coordinator's configuration and authority, and the records of a small
//! estate with three hosts, a few configurations, and a drive that several of them want.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, anyhow};
use reeve_common::clock::Timestamp;
use reeve_common::ids::{
    ConfigurationName, DriveName, HostId, HostName, ImageName, ProfileName, RealmName, SetupName, VolumeName,
};
use reeve_common::storage::DiskFormat;
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::vm::{CpuModel, Machine};
use reeve_coordinator::config::{self, CoordinatorConfig};
use reeve_coordinator::model::configuration::{Configuration, DriveUse};
use reeve_coordinator::model::drive::Drive;
use reeve_coordinator::model::failover::{Brake, WhenHostLost};
use reeve_coordinator::model::host::Host;
use reeve_coordinator::model::image::Image;
use reeve_coordinator::model::setup::Setup;
use reeve_coordinator::pki::Authority;
use reeve_coordinator::records::{CONFIGURATIONS, DRIVES, HOST_COUNTER, IMAGES, Record, SETUPS, host_key};
use reeve_coordinator::store::{Batch, Key, MemoryStore, Precondition, Store as _, next_id};
use reeve_scheduler::HostState;

/// How many hosts there are at first.
pub const HOSTS: u32 = 3;
/// The highest number that a host gets in a story.
pub const HOST_IDS_MAX: u32 = 12;
/// The drive that several configurations want.
pub const DRIVE: &str = "data";
/// The pool of drives; every host sees the same.
pub const DRIVES_POOL: &str = "drives";
/// The pool of system disks; each host has its own.
pub const VOLUMES_POOL: &str = "volumes";
/// The configurations, by what they are: small, large, two writers of the drive, and a reader.
pub const CONFIGURATION_NAMES: [&str; 5] = ["small", "large", "writer", "rival", "reader"];

/// How a simulated realm deals with hosts that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// A person must state that they are off.
    Statements,
    /// They are fenced by a command; two that are silent of three are too many at once.
    Fences,
    /// They stop by themselves when their lease has run out.
    Leases,
}

impl Care {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Statements, Self::Fences, Self::Leases];

    fn keys(self) -> String {
        match self {
            Self::Statements => String::new(),
            Self::Fences => {
                let hosts: Vec<String> =
                    (1..=HOST_IDS_MAX).map(|host| format!("node-{host} {{ }}")).collect();
                let hosts = hosts.join(", ");
                format!(
                    "fence {{ command = /fence, timeout = 6 seconds, hosts {{ {hosts} }} }}, failover-brake {{ hosts = 1 }}"
                )
            }
            Self::Leases => "self-fencing { lease = 10 seconds }".to_owned(),
        }
    }
}

impl fmt::Display for Care {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Statements => "hosts that are lost wait for a person",
            Self::Fences => "hosts that are lost are fenced",
            Self::Leases => "hosts that are lost stop by themselves",
        })
    }
}

const CONFIGURATION: &str = r#"
sample-interval = 1 hour
measured-age-max = 4 hours
advertised-address = "192.0.2.1"
realms { primary {
  disabled = no, driver = libvirt, name = Simulated
  CARE
  volumes-pool = volumes, drives-pool = drives, bricks-pool = bricks
  registration-timeout = 40 seconds, poll-frequency = 20 seconds, shutdown-timeout = 15 seconds
  drives.lazy-allocation = on
} }
hardware-profiles { node { cores = 8, memory = 16 GiB } }
"#;

/// What does not change from simulation to simulation.
pub struct Estate {
    configs: Vec<(Care, CoordinatorConfig)>,
    /// The authority; nobody needs a certificate of it.
    pub authority: Arc<Authority>,
    records: Vec<(Key, Arc<str>)>,
}

/// The estate, made once for the process.
///
/// # Errors
/// When it cannot be made.
pub fn estate() -> Result<&'static Estate> {
    static ESTATE: OnceLock<Result<Estate, String>> = OnceLock::new();
    ESTATE
        .get_or_init(|| Estate::make().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|why| anyhow!("the simulated estate cannot be made: {why}"))
}

/// The realm.
///
/// # Errors
/// Never.
pub fn realm() -> Result<RealmName> {
    Ok(RealmName::new("primary")?)
}

/// A host's name.
///
/// # Errors
/// Never.
pub fn host_name(host: HostId) -> Result<HostName> {
    Ok(HostName::new(format!("node-{host}"))?)
}

impl Estate {
    fn make() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("coordinator.conf");
        let mut configs = Vec::new();
        for care in Care::ALL {
            let text = CONFIGURATION.replace("CARE", &care.keys());
            std::fs::write(&file, format!("state-directory = {:?}\n{text}", directory.path()))?;
            let (config, _) = config::check(&file).map_err(|errors| anyhow!("{errors}"))?;
            configs.push((care, config));
        }
        let now = Timestamp(1_700_000_000_000);
        let authority =
            Authority::create(&directory.path().join("pki"), now).context("making the authority")?;
        Ok(Self { configs, authority: Arc::new(authority), records: records()? })
    }

    /// The configuration of a realm that takes care of its lost hosts so.
    ///
    /// # Errors
    /// Never.
    pub fn config(&self, care: Care) -> Result<&CoordinatorConfig> {
        let config = self.configs.iter().find(|(of, _)| *of == care).map(|(_, config)| config);
        config.context("the estate has no such configuration")
    }

    /// When so much of the realm is silent that nothing is restarted by itself.
    ///
    /// # Errors
    /// Never.
    pub fn brake(&self, care: Care) -> Result<Brake> {
        let realm = self.config(care)?.realms.get(&realm()?);
        Ok(realm.context("the estate has no realm")?.brake)
    }

    /// A store with the estate's records.
    ///
    /// # Errors
    /// Never.
    pub async fn store(&self) -> Result<MemoryStore> {
        let store = MemoryStore::new();
        let mut batch = Batch::new();
        for (key, text) in &self.records {
            batch = batch.put(key.clone(), Precondition::Absent, Arc::clone(text));
        }
        store.apply(batch).await?;
        for _ in 0..HOSTS {
            next_id(&store, HOST_COUNTER).await?;
        }
        Ok(store)
    }
}

/// What becomes of VMs of a configuration when their host is lost.
#[must_use]
pub fn when_host_lost(configuration: &str) -> WhenHostLost {
    match configuration {
        "small" | "large" | "writer" => WhenHostLost::Restart,
        "rival" => WhenHostLost::Ask,
        _ => WhenHostLost::Leave,
    }
}

fn records() -> Result<Vec<(Key, Arc<str>)>> {
    let at = Timestamp(1_700_000_000_000);
    let realm = realm()?;
    let mut records = Vec::new();
    for host in (1..=HOSTS).map(HostId) {
        let host = Host {
            id: host,
            name: host_name(host)?,
            realm: realm.clone(),
            uri: "simulated:///".to_owned(),
            profile: ProfileName::new("node")?,
            state: HostState::Enabled,
            draining: false,
            labels: BTreeMap::new(),
            added_at: at,
            joined_at: Some(at),
        };
        records.push((host_key(host.id), host.encode()?));
    }
    let image = Image {
        name: ImageName::new("image")?,
        realm: realm.clone(),
        volume: VolumeName::new("image")?,
        format: DiskFormat::Qcow2,
        operating_system: "simulated".to_owned(),
        created_at: at,
    };
    records.push((IMAGES.key(&image.name), image.encode()?));
    for (name, cores, memory) in [("small", 2, 2), ("large", 4, 4)] {
        let setup = Setup {
            name: SetupName::new(name)?,
            realm: realm.clone(),
            image: image.name.clone(),
            cores,
            memory: Mebibytes(memory << 10),
            devices: BTreeMap::new(),
            virt_type: None,
            machine: Machine::default(),
            cpu_model: CpuModel::default(),
            cpu_features: std::collections::BTreeSet::new(),
            numa_nodes: None,
            huge_pages: None,
            host_labels: Vec::new(),
            affinity: Vec::new(),
            networks: None,
            console: false,
            vnc: false,
            labels: BTreeMap::new(),
            created_at: at,
        };
        records.push((SETUPS.key(&setup.name), setup.encode()?));
    }
    let drive = Drive {
        name: DriveName::new(DRIVE)?,
        realm,
        owner: "ann".to_owned(),
        team: "physics".to_owned(),
        size: Bytes(1 << 30),
        format: DiskFormat::Qcow2,
        volume: VolumeName::new(DRIVE)?,
        created_at: at,
        ready: true,
    };
    records.push((DRIVES.key(&drive.name), drive.encode()?));
    for name in CONFIGURATION_NAMES {
        let drives = match name {
            "writer" | "rival" => vec![DriveUse { drive: drive.name.clone(), read_only: false }],
            "reader" => vec![DriveUse { drive: drive.name.clone(), read_only: true }],
            _ => Vec::new(),
        };
        let configuration = Configuration {
            name: ConfigurationName::new(name)?,
            title: name.to_owned(),
            setup: SetupName::new(if name == "large" { "large" } else { "small" })?,
            owner: "ann".to_owned(),
            team: "physics".to_owned(),
            project: None,
            drives,
            when_host_lost: Some(when_host_lost(name)),
            priority: u32::from(name == "writer"),
            created_at: at,
        };
        records.push((CONFIGURATIONS.key(&configuration.name), configuration.encode()?));
    }
    Ok(records)
}
