//! Owns gathering what a doctor knows: from libvirt, the kernel, the agent's own files, and by dialling the coordinator.
//!
//! Must not: judge, or write anything but the disk of the guest by which KVM is proved.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Group, Uid, User, getgid, getgroups};
use reeve_common::clock::Clock;
use reeve_common::durable_file::FileError;
use reeve_common::machine_facts::{is_time_synchronised, room};
use reeve_common::storage::LockManager as Locks;
use reeve_common::text::{chain, printable};
use reeve_common::tls::check_address;

use super::dialling::dial;
use super::facts::{
    CgroupFacts, ClockFacts, HostFacts, HugePages, IdentityFacts, JournalFacts, KvmFacts, LockManager,
    UserFacts,
};
use crate::configuration::{Configuration, HypervisorKind};
use crate::hypervisor::libvirt::{Examined, KvmTrust, LibvirtHypervisor, LibvirtSettings};
use crate::identity::{HostIdentity, IdentityDirectory, IdentityError};

/// Where libvirt's QEMU driver says which lock manager it uses.
const QEMU_CONFIGURATION: &str = "/etc/libvirt/qemu.conf";
/// Where the journal's files are: kept, or until the next boot.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
/// Words of libvirt's in a finding are cut here.
const WORDS_LENGTH_MAX: usize = 300;

/// Looks at everything. Takes some seconds: a guest is run, and an absent coordinator is waited for.
pub async fn gather(configuration: &Configuration, clock: Arc<dyn Clock>) -> HostFacts {
    let (identity, known) = identity(configuration);
    let address = configuration
        .coordinator
        .clone()
        .or_else(|| known.as_ref().map(|known| known.coordinator.clone()))
        .or_else(|| recorded_address(configuration));
    let credentials = known.as_ref().map(|known| &known.credentials);
    let coordinator = match address {
        Some(address) => {
            let answer = dial(&address, credentials, Arc::clone(&clock)).await;
            Some((address, answer))
        }
        None => None,
    };
    let (uri, trust) = (configuration.libvirt_uri.clone(), configuration.kvm);
    let is_simulated = configuration.hypervisor == HypervisorKind::Simulated;
    let asking = Arc::clone(&clock);
    let hypervisor = tokio::task::spawn_blocking(move || ask_libvirt(&uri, trust, is_simulated, asking));
    let Asked { libvirt, kvm, locks } = hypervisor.await.unwrap_or_else(|error| Asked {
        libvirt: Err(error.to_string()),
        kvm: KvmFacts::NotProbed("libvirt could not be asked".to_owned()),
        locks: Err(LockManager::Unknown("libvirt could not be asked".to_owned())),
    });
    let state = configuration.state_directory.clone();
    HostFacts {
        user: user(),
        identity,
        state_directory: (state.clone(), room(&state).map(|(free, _)| free)),
        libvirt,
        libvirt_uri: configuration.libvirt_uri.clone(),
        kvm,
        lock_manager: lock_manager(locks, fs::read_to_string(QEMU_CONFIGURATION).ok().as_deref()),
        clock: ClockFacts { now: clock.now(), synchronised: is_time_synchronised() },
        coordinator,
        huge_pages: huge_pages(),
        cgroups: cgroups(Path::new("/sys/fs/cgroup")),
        journal: journal(),
    }
}

/// Where the coordinator is by an identity that is another user's: root may read it, and does not use it.
fn recorded_address(configuration: &Configuration) -> Option<String> {
    let path = IdentityDirectory::within(&configuration.state_directory).path().join("host.json");
    let text = fs::read_to_string(path).ok()?;
    let record: serde_json::Value = serde_json::from_str(&text).ok()?;
    record["coordinator"].as_str().filter(|address| check_address(address).is_ok()).map(str::to_owned)
}

fn identity(configuration: &Configuration) -> (IdentityFacts, Option<HostIdentity>) {
    match IdentityDirectory::within(&configuration.state_directory).load() {
        Ok(identity) => {
            let facts = identity.credentials.facts();
            let joined = IdentityFacts::Joined {
                who: format!("host {} ({}) of realm {}", identity.name, identity.host, identity.realm),
                not_before: facts.not_before,
                not_after: facts.not_after,
            };
            (joined, Some(identity))
        }
        Err(IdentityError::NotJoined { .. }) => (IdentityFacts::NotJoined, None),
        Err(error @ IdentityError::File(_)) if is_another_users(&error) => {
            (IdentityFacts::NotReadable(chain(&error)), None)
        }
        Err(error @ IdentityError::File(_)) => (IdentityFacts::WrongFile(chain(&error)), None),
        Err(error) => (IdentityFacts::Unusable(chain(&error)), None),
    }
}

/// Whether whoever runs the doctor may not look at a file, and the agent's own user may.
fn is_another_users(error: &IdentityError) -> bool {
    match error {
        IdentityError::File(FileError::Owner { .. }) => true,
        IdentityError::File(FileError::Io { source, .. }) => source.kind() == ErrorKind::PermissionDenied,
        _ => false,
    }
}

/// What libvirt answered.
struct Asked {
    libvirt: Result<Examined, String>,
    kvm: KvmFacts,
    locks: Result<Locks, LockManager>,
}

fn ask_libvirt(uri: &str, trust: KvmTrust, is_simulated: bool, clock: Arc<dyn Clock>) -> Asked {
    if is_simulated {
        let why = "the configuration says hypervisor = simulated".to_owned();
        let locks = Err(LockManager::Unknown(why.clone()));
        return Asked { libvirt: Err(why), kvm: KvmFacts::NotWanted, locks };
    }
    // What has to be tried is tried here, and no verdict waited for elsewhere.
    let settings = LibvirtSettings {
        uri: uri.to_owned(),
        kvm: KvmTrust::Never,
        looks_for_lock_manager: false,
        ..LibvirtSettings::default()
    };
    let hypervisor = match LibvirtHypervisor::start(&settings, clock) {
        Ok(hypervisor) => hypervisor,
        Err(error) => {
            let locks = Err(LockManager::Unknown("libvirt cannot be used".to_owned()));
            let kvm = no_kvm_asked(trust, "libvirt cannot be used");
            return Asked { libvirt: Err(chain(&error)), kvm, locks };
        }
    };
    let words = |error: &dyn std::error::Error| printable(&chain(error), WORDS_LENGTH_MAX);
    let examined = hypervisor.examine().map_err(|error| words(&error));
    let kvm = match (trust, &examined) {
        (KvmTrust::Never, _) => KvmFacts::NotWanted,
        _ if !Path::new("/dev/kvm").exists() => KvmFacts::NoDevice,
        (_, Err(_)) => KvmFacts::NotProbed("libvirt does not answer".to_owned()),
        (_, Ok(_)) => match hypervisor.probe("kvm") {
            Ok(end) => KvmFacts::Probed(end),
            Err(error) => KvmFacts::NotProbed(words(&error)),
        },
    };
    let locks = match &examined {
        Ok(_) => hypervisor.try_lock_manager().map_err(|error| LockManager::NoGuest(words(&error))),
        Err(_) => Err(LockManager::Unknown("libvirt does not answer".to_owned())),
    };
    Asked { libvirt: examined, kvm, locks }
}

fn no_kvm_asked(trust: KvmTrust, why: &str) -> KvmFacts {
    match trust {
        KvmTrust::Never => KvmFacts::NotWanted,
        _ if !Path::new("/dev/kvm").exists() => KvmFacts::NoDevice,
        _ => KvmFacts::NotProbed(why.to_owned()),
    }
}

fn user() -> UserFacts {
    let uid = Uid::effective();
    let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let mine: Vec<_> = getgroups().unwrap_or_default().into_iter().chain([getgid()]).collect();
    let libvirt = Group::from_name("libvirt").ok().flatten();
    UserFacts {
        name,
        is_root: uid.is_root(),
        in_libvirt_group: libvirt.map(|group| mine.contains(&group.gid)),
    }
}

/// What was tried counts for the libvirt that runs, and the configuration knows the name.
fn lock_manager(tried: Result<Locks, LockManager>, text: Option<&str>) -> LockManager {
    let configured = text.map(configured_lock_manager);
    match (tried, configured) {
        (Ok(Locks::On), Some(Some(name))) => LockManager::Named(name),
        (Ok(Locks::On), _) => LockManager::Unnamed,
        (Ok(Locks::Off), Some(Some(name))) => LockManager::NotInForce(name),
        (Ok(Locks::Off), _) => LockManager::None,
        (Ok(Locks::Unknown), _) => LockManager::Unknown("nothing came of trying".to_owned()),
        (Err(not_tried), _) => not_tried,
    }
}

/// The last line of libvirt's configuration that sets the lock manager.
fn configured_lock_manager(text: &str) -> Option<String> {
    let value = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("lock_manager"))
        .filter_map(|rest| rest.trim_start().strip_prefix('='))
        .map(|value| value.trim().trim_matches('"').to_owned())
        .next_back();
    value.filter(|name| !name.is_empty() && name != "nop").map(|name| printable(&name, 40))
}

fn huge_pages() -> Vec<HugePages> {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let mut pages: Vec<HugePages> = sizes
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size_kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let number = |file: &str| fs::read_to_string(entry.path().join(file)).ok()?.trim().parse().ok();
            Some(HugePages { size_kib, all: number("nr_hugepages")?, free: number("free_hugepages")? })
        })
        .collect();
    pages.sort_by_key(|pages| pages.size_kib);
    pages
}

fn cgroups(root: &Path) -> CgroupFacts {
    if let Ok(text) = fs::read_to_string(root.join("cgroup.controllers")) {
        return CgroupFacts::Unified(text.split_whitespace().map(str::to_owned).collect());
    }
    // Each controller is a directory, several may share one under both their names.
    let names = fs::read_dir(root).into_iter().flatten().flatten();
    let mut controllers: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .flat_map(|name| name.split(',').map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| name != "unified" && name != "systemd")
        .collect();
    controllers.sort();
    controllers.dedup();
    if controllers.is_empty() { CgroupFacts::Missing } else { CgroupFacts::Legacy(controllers) }
}

fn journal() -> JournalFacts {
    let mut found = JournalFacts::Missing;
    for directory in JOURNALS {
        for machine in fs::read_dir(directory).into_iter().flatten().flatten() {
            let file = machine.path().join("system.journal");
            match fs::File::open(&file) {
                Ok(_) => return JournalFacts::Readable,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(_) => found = JournalFacts::NotReadable,
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_manager_is_read_as_libvirt_reads_it() {
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(configured_lock_manager("# lock_manager = \"lockd\"\nuser = \"x\"\n"), None);
        assert_eq!(configured_lock_manager("lock_manager = \"nop\""), None);
        assert_eq!(configured_lock_manager("lock_manager=\"lockd\"\n"), named("lockd"));
        let twice = "lock_manager = \"lockd\"\n  lock_manager = \"sanlock\"\nlock_manager_x = \"y\"\n";
        assert_eq!(configured_lock_manager(twice), named("sanlock"));
    }

    #[test]
    fn what_was_tried_goes_before_what_is_configured() {
        const LOCKD: Option<&str> = Some("lock_manager = \"lockd\"");
        let lockd = || "lockd".to_owned();
        assert_eq!(lock_manager(Ok(Locks::On), LOCKD), LockManager::Named(lockd()));
        assert_eq!(lock_manager(Ok(Locks::On), None), LockManager::Unnamed);
        assert_eq!(lock_manager(Ok(Locks::On), Some("")), LockManager::Unnamed);
        assert_eq!(lock_manager(Ok(Locks::Off), LOCKD), LockManager::NotInForce(lockd()));
        assert_eq!(lock_manager(Ok(Locks::Off), None), LockManager::None);
        let no_guest = LockManager::NoGuest("x".to_owned());
        assert_eq!(lock_manager(Err(no_guest.clone()), LOCKD), no_guest);
    }

    #[test]
    fn both_versions_of_control_groups_are_known() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(cgroups(directory.path()), CgroupFacts::Missing);
        for name in ["cpu,cpuacct", "memory", "unified", "systemd"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let legacy = ["cpu", "cpuacct", "memory"].map(str::to_owned).to_vec();
        assert_eq!(cgroups(directory.path()), CgroupFacts::Legacy(legacy));
        fs::write(directory.path().join("cgroup.controllers"), "cpuset cpu io memory\n").unwrap();
        let unified = ["cpuset", "cpu", "io", "memory"].map(str::to_owned).to_vec();
        assert_eq!(cgroups(directory.path()), CgroupFacts::Unified(unified));
    }
}
