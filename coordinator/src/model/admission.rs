//! Owns the making of a VM out of a configuration: everything looked up and checked before anything is placed. Pure.

use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, Generation, VmId, VmName, VolumeName};
use reeve_common::units::Millicores;
use reeve_common::vm::{CpuModel, DriveAttachment, NetworkInterface, SystemDisk, VmSpec, limits};
use reeve_scheduler::{Assignment, CpuDemand, Request};

use super::configuration::Configuration;
use super::definition::Definition;
use super::drive::Drive;
use super::image::Image;
use super::setup::Setup;
use super::vm::{Transition, Vm, Wish};
use super::vm_state::VmState;
use crate::config::Realm;

/// The end of a system disk's name.
pub(super) const DISK_SUFFIX: &str = ".qcow2";

/// How much of a configuration's name goes into its VMs' names: of 63 characters, room is left for `-`, eight digits
/// of the id, and the longest suffix that a volume of the VM gets (`.console`).
const NAME_PREFIX_MAX: usize = 46;

/// What a VM is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The configuration that is started.
    pub configuration: &'a Configuration,
    /// Its setup.
    pub setup: &'a Setup,
    /// The setup's image.
    pub image: &'a Image,
    /// The configuration's drives, in its order.
    pub drives: &'a [&'a Drive],
    /// The setup's realm.
    pub realm: &'a Realm,
}

/// Why a configuration cannot be started as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The realm is switched off.
    #[error("realm {0} is disabled in the configuration")]
    RealmDisabled(String),
    /// Parts belong to different realms.
    #[error("{what} is in realm {found}, and the setup in realm {expected}: realms never mix")]
    RealmsMix {
        /// Which part.
        what: String,
        /// Its realm.
        found: String,
        /// The setup's.
        expected: String,
    },
    /// The setup contradicts itself.
    #[error("setup {setup}: {problem}")]
    Setup {
        /// Which.
        setup: String,
        /// The contradiction.
        problem: String,
    },
    /// A drive's volume has not been made.
    #[error(
        "drive {0} has no volume yet: delete it and create it again while a host of its realm is connected"
    )]
    DriveNotReady(String),
    /// More drives than fit.
    #[error("{found} drives are more than the {most} that one VM can have")]
    TooManyDrives {
        /// How many.
        found: usize,
        /// How many fit.
        most: usize,
    },
    /// A drive the owner may not use.
    #[error("drive {drive} belongs to {owner}, and the configuration to {user}")]
    NotTheirDrive {
        /// Which.
        drive: String,
        /// Whose it is.
        owner: String,
        /// Who wants it.
        user: String,
    },
    /// Devices are counted when placing, and cannot be handed to a guest yet.
    #[error(
        "setup {0} asks for devices: placements with devices can be simulated, and this version cannot attach them to a VM yet"
    )]
    Devices(String),
    /// NUMA nodes are counted when placing, and a guest cannot be bound to them yet.
    #[error(
        "setup {0} asks for NUMA nodes: placements on NUMA nodes can be simulated, and this version cannot bind a VM to them yet"
    )]
    NumaNodes(String),
    /// A name made from checked parts is no name; never seen.
    #[error("no name can be made for the VM: {0}")]
    Name(String),
}

/// What a VM of `setup` without drives needs of a host in its realm, for whom.
#[must_use]
pub fn request(setup: &Setup, realm: &Realm, owner: &str, team: &str) -> Request {
    Request {
        devices: setup.devices.clone(),
        owner: owner.to_owned(),
        team: team.to_owned(),
        labels: setup.labels.clone(),
        cpu: CpuDemand {
            model: match &setup.cpu_model {
                CpuModel::Named(name) => Some(name.clone()),
                CpuModel::Default | CpuModel::HostPassthrough | CpuModel::HostModel => None,
            },
            features: setup.cpu_features.iter().map(ToString::to_string).collect(),
        },
        numa_nodes: setup.numa_nodes,
        huge_pages: setup.huge_pages,
        host_labels: setup.host_labels.clone(),
        affinity: setup.affinity.clone(),
        pools: [&realm.volumes_pool, &realm.bricks_pool].map(Clone::clone).into(),
        ..Request::new(setup.realm.clone(), Millicores::from_cores(setup.cores), setup.memory)
    }
}

/// What the VM needs of a host, with its drives.
fn request_of(parts: Parts<'_>) -> Request {
    let Parts { configuration, setup, realm, drives, .. } = parts;
    let mut request = request(setup, realm, &configuration.owner, &configuration.team);
    if !drives.is_empty() {
        request.pools.insert(realm.drives_pool.clone());
    }
    request
}

/// Makes a VM, asked for and not yet placed, out of its parts.
///
/// # Errors
/// [`AdmissionError`] when the parts do not fit together.
pub fn admit(id: VmId, parts: Parts<'_>, now: Timestamp) -> Result<Vm, AdmissionError> {
    check(parts)?;
    let Parts { configuration, setup, image, drives, realm } = parts;
    let name = vm_name(&configuration.name, id)?;
    let volume = VolumeName::new(format!("{name}{DISK_SUFFIX}"))
        .map_err(|error| AdmissionError::Name(error.to_string()))?;
    let networks = setup.networks.clone().unwrap_or_else(|| vec![realm.network.clone()]);
    let spec = VmSpec {
        name: name.clone(),
        title: configuration.title.clone(),
        realm: setup.realm.clone(),
        vcpus: setup.cores,
        memory: setup.memory,
        virt_type: setup.virt_type.unwrap_or(realm.virt_type),
        machine: setup.machine,
        cpu_model: setup.cpu_model.clone(),
        cpu_features: setup.cpu_features.clone(),
        huge_pages: setup.huge_pages,
        system_disk: SystemDisk {
            pool: realm.volumes_pool.clone(),
            volume,
            image_pool: realm.bricks_pool.clone(),
            image_volume: image.volume.clone(),
            image_format: image.format,
        },
        drives: drives
            .iter()
            .zip(&configuration.drives)
            .map(|(drive, wanted)| DriveAttachment {
                pool: realm.drives_pool.clone(),
                volume: drive.volume.clone(),
                format: drive.format,
                cache: realm.drives.cache,
                read_only: wanted.read_only,
            })
            .collect(),
        networks: networks
            .into_iter()
            .map(|network| NetworkInterface { network, filter: realm.network_filter.clone() })
            .collect(),
        console: setup.console,
        vnc: setup.vnc,
        registration_timeout: realm.registration_timeout,
        // Given along when it is told: it says more than is decided here.
        origin: String::new(),
    };
    Ok(Vm {
        id,
        name,
        configuration: Some(configuration.name.clone()),
        setup: Some(setup.name.clone()),
        realm: setup.realm.clone(),
        owner: configuration.owner.clone(),
        team: configuration.team.clone(),
        project: configuration.project.clone(),
        request: request_of(parts),
        definition: Definition::Made(spec),
        state: VmState::Requested,
        reason: None,
        host: None,
        assignment: Assignment::default(),
        displaced_from: Vec::new(),
        wish: Wish::Run,
        generation: Generation(1),
        end: None,
        ended_unasked: false,
        requested_at: now,
        registered_at: None,
        ended_at: None,
        history: vec![Transition { at: now, state: VmState::Requested, reason: None }],
    })
}

fn check(parts: Parts<'_>) -> Result<(), AdmissionError> {
    let Parts { configuration, setup, image, drives, realm } = parts;
    if realm.disabled {
        return Err(AdmissionError::RealmDisabled(realm.key.to_string()));
    }
    let mixed = std::iter::once((format!("image {}", image.name), &image.realm))
        .chain(drives.iter().map(|drive| (format!("drive {}", drive.name), &drive.realm)))
        .find(|(_, found)| **found != setup.realm);
    if let Some((what, found)) = mixed {
        return Err(AdmissionError::RealmsMix {
            what,
            found: found.to_string(),
            expected: setup.realm.to_string(),
        });
    }
    if let Some(problem) = setup.problems().first() {
        return Err(AdmissionError::Setup { setup: setup.name.to_string(), problem: problem.to_string() });
    }
    if !setup.devices.is_empty() {
        return Err(AdmissionError::Devices(setup.name.to_string()));
    }
    if setup.numa_nodes.is_some() {
        return Err(AdmissionError::NumaNodes(setup.name.to_string()));
    }
    if drives.len() > limits::DRIVES_MAX {
        return Err(AdmissionError::TooManyDrives { found: drives.len(), most: limits::DRIVES_MAX });
    }
    for drive in drives {
        if !drive.ready {
            return Err(AdmissionError::DriveNotReady(drive.name.to_string()));
        }
        if drive.owner != configuration.owner {
            return Err(AdmissionError::NotTheirDrive {
                drive: drive.name.to_string(),
                owner: drive.owner.clone(),
                user: configuration.owner.clone(),
            });
        }
    }
    Ok(())
}

/// What a run of a configuration is called.
pub(super) fn vm_name(configuration: &ConfigurationName, id: VmId) -> Result<VmName, AdmissionError> {
    let full = configuration.as_str();
    let prefix = full.get(..NAME_PREFIX_MAX).unwrap_or(full);
    let digits = id.to_string();
    let start = digits.get(..8).unwrap_or(&digits);
    VmName::new(format!("{prefix}-{start}")).map_err(|error| AdmissionError::Name(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reeve_common::device::DeviceAmount;
    use reeve_common::hardware_profile::HugePageSize;
    use reeve_common::ids::{NetworkFilterName, NetworkName, PoolName, RealmName};
    use reeve_common::storage::DiskCache;
    use reeve_common::units::Mebibytes;
    use reeve_common::vm::VirtType;
    use reeve_scheduler::{Affinity, AffinityRule, Companions};

    use super::super::failover::{Brake, WhenHostLost};
    use super::super::fixture;
    use super::*;
    use crate::config::DriveRules;

    fn made(vm: &Vm) -> &VmSpec {
        vm.definition.made().unwrap()
    }

    fn realm() -> Realm {
        let pool = |name: &str| PoolName::new(name).unwrap();
        Realm {
            key: RealmName::new("primary").unwrap(),
            disabled: false,
            name: "Primary".to_owned(),
            volumes_pool: pool("ticrypt-vm"),
            drives_pool: pool("ticrypt-vm-drives"),
            bricks_pool: pool("ticrypt-bricks"),
            log_scheduling: false,
            registration_timeout: Duration::from_secs(300),
            poll_frequency: Duration::from_secs(30),
            comparison_frequency: Duration::from_secs(300),
            network_filter: Some(NetworkFilterName::new("clean-traffic").unwrap()),
            drives: DriveRules {
                lazy_allocation: true,
                cache: DiskCache::Writeback,
                min_size: None,
                max_size: None,
            },
            virt_type: VirtType::Qemu,
            network: NetworkName::new("default").unwrap(),
            shutdown_timeout: Duration::from_secs(180),
            when_host_lost: WhenHostLost::Ask,
            brake: Brake::default(),
            fence: None,
            lease: None,
            quotas: reeve_scheduler::Quotas::default(),
        }
    }

    fn drive() -> Drive {
        Drive {
            name: "data".parse().unwrap(),
            realm: RealmName::new("primary").unwrap(),
            owner: "ada".to_owned(),
            team: "engines".to_owned(),
            size: reeve_common::units::Bytes(1 << 30),
            format: reeve_common::storage::DiskFormat::Qcow2,
            volume: VolumeName::new("data").unwrap(),
            created_at: Timestamp(1),
            ready: true,
        }
    }

    fn admit_with(
        change: impl FnOnce(&mut Configuration, &mut Setup, &mut Image, &mut Drive, &mut Realm),
    ) -> Result<Vm, AdmissionError> {
        let (mut configuration, mut setup, mut image, mut drive, mut realm) =
            (fixture::configuration(), fixture::setup(), fixture::image(), drive(), realm());
        configuration.drives =
            vec![super::super::configuration::DriveUse { drive: drive.name.clone(), read_only: true }];
        change(&mut configuration, &mut setup, &mut image, &mut drive, &mut realm);
        let parts = Parts {
            configuration: &configuration,
            setup: &setup,
            image: &image,
            drives: &[&drive],
            realm: &realm,
        };
        admit(fixture::vm().id, parts, Timestamp(10))
    }

    #[test]
    fn a_vm_gets_what_its_setup_and_its_realm_say() {
        let vm = admit_with(|_, _, _, _, _| {}).unwrap();
        assert_eq!(vm.name.as_str(), "web-5f0c0000");
        assert_eq!(made(&vm).virt_type, VirtType::Qemu, "the realm's, as the setup says nothing");
        assert_eq!(made(&vm).drives[0].cache, DiskCache::Writeback);
        assert!(made(&vm).drives[0].read_only);
        assert_eq!(made(&vm).networks[0].filter.as_ref().unwrap().as_str(), "clean-traffic");
        assert_eq!(made(&vm).registration_timeout, Duration::from_secs(300));
        assert_eq!((vm.request.cores, vm.request.memory), (Millicores(2000), Mebibytes(2048)));
    }

    #[test]
    fn a_request_says_all_that_decides_where_the_vm_may_live() {
        let vm = admit_with(|_, setup, _, _, _| {
            setup.cpu_model = CpuModel::Named("EPYC".to_owned());
            setup.cpu_features = ["avx2".parse().unwrap()].into();
            setup.huge_pages = Some(HugePageSize(2));
            setup.affinity = vec![AffinityRule { kind: Affinity::Apart, companions: Companions::Owner }];
        })
        .unwrap();
        assert_eq!(vm.request.cpu.model.as_deref(), Some("EPYC"));
        assert!(vm.request.cpu.features.contains("avx2") && made(&vm).cpu_features.len() == 1);
        assert_eq!(
            (vm.request.huge_pages, made(&vm).huge_pages),
            (Some(HugePageSize(2)), Some(HugePageSize(2)))
        );
        assert_eq!(vm.request.affinity.len(), 1);
        let pools: Vec<&str> = vm.request.pools.iter().map(PoolName::as_str).collect();
        assert_eq!(pools, ["ticrypt-bricks", "ticrypt-vm", "ticrypt-vm-drives"]);
        let without = request(&fixture::setup(), &realm(), "ada", "engines");
        assert!(without.cpu.is_nothing());
        let (configuration, setup, image, realm) =
            (fixture::configuration(), fixture::setup(), fixture::image(), realm());
        let parts =
            Parts { configuration: &configuration, setup: &setup, image: &image, drives: &[], realm: &realm };
        let driveless = admit(fixture::vm().id, parts, Timestamp(10)).unwrap();
        assert_eq!(driveless.request.pools, without.pools, "what is simulated is what is started");
        assert!(!driveless.request.pools.contains(&realm.drives_pool), "it has no disk in the drives' pool");
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_the_reason() {
        let said = |result: Result<Vm, AdmissionError>| result.unwrap_err().to_string();
        let other = || RealmName::new("other").unwrap();
        assert!(
            said(admit_with(|_, _, image, _, _| image.realm = other()))
                .contains("image debian-12 is in realm other")
        );
        assert!(
            said(admit_with(|_, _, _, drive, _| drive.realm = other()))
                .contains("drive data is in realm other")
        );
        assert!(
            said(admit_with(|_, _, _, drive, _| drive.owner = "eve".to_owned())).contains("belongs to eve")
        );
        assert!(said(admit_with(|_, _, _, drive, _| drive.ready = false)).contains("no volume yet"));
        assert!(said(admit_with(|_, _, _, _, realm| realm.disabled = true)).contains("disabled"));
        assert!(said(admit_with(|_, setup, _, _, _| setup.cores = 0)).contains("`cores` is 0"));
        let gpu = [("gpu".parse().unwrap(), DeviceAmount::Whole(1))].into();
        assert!(said(admit_with(|_, setup, _, _, _| setup.devices = gpu)).contains("devices"));
        assert!(said(admit_with(|_, setup, _, _, _| setup.numa_nodes = Some(1))).contains("NUMA nodes"));
    }

    #[test]
    fn the_longest_name_still_makes_good_names() {
        let name = ConfigurationName::new("n".repeat(63)).unwrap();
        let vm = admit_with(|configuration, _, _, _, _| configuration.name = name).unwrap();
        assert!(made(&vm).system_disk.volume.as_str().len() <= 63);
        assert!(VolumeName::new(format!("{}.console", vm.name)).is_ok());
    }
}
