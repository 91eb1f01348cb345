//! Owns what the contract is tried on: a hypervisor with some pools, two images, and the deeds that other people can
//! do on its host.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use reeve_agent::hypervisor::libvirt::{DefinitionFolders, KvmTrust, LibvirtHypervisor, LibvirtSettings};
use reeve_agent::hypervisor::simulated::{GuestMode, PoolSetting, SimulatedHypervisor, SimulationSettings};
use reeve_agent::hypervisor::{
    EventReceiver, Hypervisor, HypervisorError, HypervisorEvent, LedgerEntry, LedgerWish, event_queue,
    ledger_xml,
};
use reeve_common::clock::SystemClock;
use reeve_common::ids::{Epoch, Generation, PoolName, RealmName, VmId, VmName, VolumeName};
use reeve_common::storage::DiskFormat;
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::utilization::VmSample;
use reeve_common::vm::{CpuModel, Machine, SystemDisk, VirtType, VmSpec};
use reeve_tests::harness::private_libvirtd::PrivateLibvirtd;
use reeve_tests::harness::waiting::poll_until;

use crate::by_hand::Deed;

/// Pools that are started, two that are not, and one that nobody defined.
pub(crate) const VMS: &str = "vms";
pub(crate) const BRICKS: &str = "bricks";
pub(crate) const ASLEEP: &str = "asleep";
pub(crate) const SLEEPER: &str = "sleeper";
pub(crate) const ABSENT: &str = "absent";

/// A raw image of 1 MiB whose guest says [`SPOKEN`] on its serial port and halts, and an empty qcow2 one.
pub(crate) const SPEAKER: &str = "speaker.img";
pub(crate) const EMPTY: &str = "empty.qcow2";
pub(crate) const IMAGE_LENGTH: Bytes = Bytes(1 << 20);
pub(crate) const SPOKEN: &str = "the guest speaks";

/// The capacity of the simulated pools: little enough to be filled.
const POOL_LENGTH: Bytes = Bytes(10 << 30);

/// The longest wait for what should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The speaker's boot sector: `si = message; while (al = *si++) { wait for 0x3fd & 0x20; out 0x3f8, al }; halt`.
const SPEAKER_CODE: [u8; 34] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x22, 0x7c, 0xac, 0x84, 0xc0, 0x74, 0x12, 0x88, 0xc4, 0xba, 0xfd,
    0x03, 0xec, 0xa8, 0x20, 0x74, 0xf8, 0x88, 0xe0, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xe9, 0xf4, 0xeb, 0xfd,
];

/// A hypervisor to be tried.
pub(crate) trait Subject {
    fn hypervisor(&self) -> &dyn Hypervisor;
    /// Somebody else makes a domain.
    fn add_foreign(&self, id: VmId, name: &str, active: bool);
    /// Somebody else writes into a domain's metadata.
    fn overwrite_ledger(&self, vm: VmId, ledger: &str);
    /// Somebody else does this to a domain.
    fn do_by_hand(&self, vm: VmId, deed: Deed);
    fn pause(&self, vm: VmId);
    /// The domain's QEMU dies.
    fn crash(&self, vm: VmId, name: &VmName);
    fn set_pool_active(&self, pool: &str, active: bool);
    /// An image in [`BRICKS`] that has a backing file.
    fn add_image_with_backing(&self, name: &str);
    /// The domain's definition, where there is one to be read.
    fn document(&self, vm: VmId) -> Option<String>;
    /// The hypervisor goes away while domains run on, and comes back.
    fn go(&mut self);
    fn come_back(&mut self);
    /// Whether guests run real code.
    fn is_real(&self) -> bool;
}

pub(crate) struct Simulated(SimulatedHypervisor);

pub(crate) fn simulated() -> Simulated {
    let pool =
        |name, active, volumes| PoolSetting { name: pool(name), active, capacity: POOL_LENGTH, volumes };
    let images = vec![
        (volume(SPEAKER), IMAGE_LENGTH, DiskFormat::Raw),
        (volume(EMPTY), IMAGE_LENGTH, DiskFormat::Qcow2),
    ];
    let settings = SimulationSettings {
        pools: vec![
            pool(VMS, true, Vec::new()),
            pool(BRICKS, true, images),
            pool(ASLEEP, false, Vec::new()),
            pool(SLEEPER, false, Vec::new()),
        ],
        boundless_storage: false,
        guests: GuestMode::Stepped,
        ..SimulationSettings::default()
    };
    Simulated(SimulatedHypervisor::new(settings, Arc::new(SystemClock)).unwrap())
}

impl Subject for Simulated {
    fn hypervisor(&self) -> &dyn Hypervisor {
        &self.0
    }
    fn add_foreign(&self, id: VmId, name: &str, active: bool) {
        self.0.add_foreign_domain(id, name, active);
    }
    fn overwrite_ledger(&self, vm: VmId, ledger: &str) {
        assert!(self.0.overwrite_ledger(vm, ledger));
    }
    fn do_by_hand(&self, vm: VmId, deed: Deed) {
        let domain = || self.0.domain(vm).unwrap().unwrap();
        assert!(match deed {
            Deed::Start => self.0.start_by_hand(vm),
            Deed::Suspend => self.0.set_paused(vm, true),
            Deed::Resume => self.0.set_paused(vm, false),
            Deed::PlugProcessor => self.0.resize(vm, 2, domain().memory),
            Deed::Destroy => self.0.destroy_by_hand(vm),
            Deed::Redefine(memory) => self.0.resize(vm, 1, memory),
            Deed::SetMemory(memory) => self.0.resize(vm, domain().vcpus, memory),
            Deed::SpoilLedger => self.0.overwrite_ledger(vm, "<vm version='999'/>"),
            Deed::RemoveLedger => self.0.remove_ledger(vm).is_some(),
            Deed::Undefine => self.0.undefine_by_hand(vm),
        });
    }
    fn pause(&self, vm: VmId) {
        assert!(self.0.set_paused(vm, true));
    }
    fn crash(&self, vm: VmId, _: &VmName) {
        assert!(self.0.crash(vm));
    }
    fn set_pool_active(&self, name: &str, active: bool) {
        assert!(self.0.set_pool_active(&pool(name), active));
    }
    fn add_image_with_backing(&self, name: &str) {
        // A system disk is such a volume.
        let mut spec = spec("with-backing");
        spec.system_disk.pool = pool(BRICKS);
        spec.system_disk.volume = volume(name);
        self.0.create_system_disk(&spec).unwrap();
    }
    fn document(&self, _: VmId) -> Option<String> {
        None
    }
    fn go(&mut self) {
        self.0.set_reachable(false);
    }
    fn come_back(&mut self) {
        self.0.set_reachable(true);
    }
    fn is_real(&self) -> bool {
        false
    }
}

pub(crate) struct Libvirt {
    pub(crate) daemon: PrivateLibvirtd,
    pub(crate) hypervisor: LibvirtHypervisor,
}

/// The libvirt that all tests share which leave it standing. It ends with the process.
pub(crate) fn libvirt() -> Arc<Libvirt> {
    static SHARED: OnceLock<Arc<Libvirt>> = OnceLock::new();
    Arc::clone(SHARED.get_or_init(|| Arc::new(libvirt_alone())))
}

/// One of a test's own.
pub(crate) fn libvirt_alone() -> Libvirt {
    let daemon = PrivateLibvirtd::start().unwrap();
    daemon.add_pool(VMS, true).unwrap();
    daemon.add_pool(ASLEEP, false).unwrap();
    daemon.add_pool(SLEEPER, false).unwrap();
    // Put there behind libvirt's back, as an administrator does with cp.
    let bricks = daemon.add_pool(BRICKS, true).unwrap();
    write_speaker(&bricks.join(SPEAKER));
    make_qcow2(&bricks.join(EMPTY), &["1M"]);
    let hypervisor = LibvirtHypervisor::start(&settings(&daemon), Arc::new(SystemClock)).unwrap();
    Libvirt { daemon, hypervisor }
}

/// How a libvirtd of the tests' own is reached: the URI does not tell where it has its configuration.
pub(crate) fn settings(daemon: &PrivateLibvirtd) -> LibvirtSettings {
    let folders = DefinitionFolders {
        status: Some(daemon.path("run/libvirt/qemu")),
        persistent: Some(daemon.path("etc/qemu")),
    };
    LibvirtSettings {
        uri: daemon.uri(),
        kvm: KvmTrust::Never,
        looks_for_lock_manager: false,
        definition_folders: Some(folders),
    }
}

impl Subject for Libvirt {
    fn hypervisor(&self) -> &dyn Hypervisor {
        &self.hypervisor
    }
    fn add_foreign(&self, id: VmId, name: &str, active: bool) {
        let document = format!(
            "<domain type='qemu'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>"
        );
        self.daemon.virsh_with(&["define"], &document).unwrap();
        if active {
            self.daemon.virsh(&["start", name]).unwrap();
        }
    }
    fn overwrite_ledger(&self, vm: VmId, ledger: &str) {
        let (uuid, uri) = (vm.to_string(), ledger_xml::NAMESPACE);
        let arguments = ["metadata", &uuid, "--config", "--uri", uri, "--key", "reeve", "--set", ledger];
        self.daemon.virsh(&arguments).unwrap();
    }
    fn do_by_hand(&self, vm: VmId, deed: Deed) {
        let id = vm.to_string();
        let virsh = |arguments: &[&str]| drop(self.daemon.virsh(arguments).unwrap());
        let ours = ["--config", "--uri", ledger_xml::NAMESPACE];
        match deed {
            Deed::Start => virsh(&["start", &id]),
            Deed::Suspend => virsh(&["suspend", &id]),
            Deed::Resume => virsh(&["resume", &id]),
            Deed::PlugProcessor => virsh(&["setvcpus", &id, "2", "--live"]),
            Deed::Destroy => virsh(&["destroy", &id]),
            Deed::Redefine(memory) => {
                let document = self.daemon.virsh(&["dumpxml", "--inactive", &id]).unwrap();
                let document = document.replace("<vcpu placement='static'>2<", "<vcpu current='1'>2<");
                let (before, rest) = document.split_once("<memory").unwrap();
                let (_, after) = rest.split_once("</currentMemory>").unwrap();
                let document = format!("{before}<memory unit='MiB'>{}</memory>{after}", memory.0);
                self.daemon.virsh_with(&["define"], &document).unwrap();
            }
            Deed::SetMemory(memory) => virsh(&["setmaxmem", &id, &format!("{}M", memory.0), "--config"]),
            Deed::SpoilLedger => {
                let set = ["--key", "reeve", "--set", "<vm version='999'/>"];
                virsh(&[&["metadata", id.as_str()], &ours[..], &set[..]].concat());
            }
            Deed::RemoveLedger => virsh(&[&["metadata", id.as_str()], &ours[..], &["--remove"][..]].concat()),
            Deed::Undefine => virsh(&["undefine", &id]),
        }
    }
    fn pause(&self, vm: VmId) {
        self.daemon.virsh(&["suspend", &vm.to_string()]).unwrap();
    }
    fn crash(&self, _: VmId, name: &VmName) {
        self.daemon.signal_qemu(name.as_str(), Signal::SIGKILL).unwrap();
    }
    fn set_pool_active(&self, pool: &str, active: bool) {
        self.daemon.virsh(&[if active { "pool-start" } else { "pool-destroy" }, pool]).unwrap();
    }
    fn add_image_with_backing(&self, name: &str) {
        let bricks = self.daemon.path("pools").join(BRICKS);
        let backing = bricks.join(EMPTY).to_string_lossy().into_owned();
        make_qcow2(&bricks.join(name), &["-b", &backing, "-F", "qcow2"]);
    }
    fn document(&self, vm: VmId) -> Option<String> {
        Some(self.daemon.virsh(&["dumpxml", &vm.to_string()]).unwrap())
    }
    fn go(&mut self) {
        self.daemon.kill().unwrap();
    }
    fn come_back(&mut self) {
        self.daemon.revive().unwrap();
    }
    fn is_real(&self) -> bool {
        true
    }
}

fn write_speaker(path: &Path) {
    let mut image = SPEAKER_CODE.to_vec();
    image.extend(format!("{SPOKEN}\r\n\0").bytes());
    image.resize(510, 0);
    image.extend([0x55, 0xaa]);
    image.resize(usize::try_from(IMAGE_LENGTH.0).unwrap(), 0);
    fs::write(path, image).unwrap();
}

/// Makes a qcow2 file with qemu-img: the options, and a size or what gives one.
pub(crate) fn make_qcow2(path: &Path, rest: &[&str]) {
    let (options, size): (Vec<&str>, Vec<&str>) = match rest {
        [size] => (Vec::new(), vec![*size]),
        options => (options.to_vec(), Vec::new()),
    };
    let mut command = std::process::Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]).args(options).arg(path).args(size);
    assert!(command.status().unwrap().success());
}

pub(crate) fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

pub(crate) fn volume(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

/// A VM that boots nothing from the empty image: its firmware stays.
pub(crate) fn spec(name: &str) -> VmSpec {
    VmSpec {
        name: VmName::new(name).unwrap(),
        title: format!("The VM {name}"),
        realm: RealmName::new("primary").unwrap(),
        vcpus: 1,
        memory: Mebibytes(32),
        virt_type: VirtType::Qemu,
        machine: Machine::Q35,
        cpu_model: CpuModel::Default,
        cpu_features: BTreeSet::new(),
        huge_pages: None,
        system_disk: SystemDisk {
            pool: pool(VMS),
            volume: volume(name),
            image_pool: pool(BRICKS),
            image_volume: volume(EMPTY),
            image_format: DiskFormat::Qcow2,
        },
        drives: Vec::new(),
        networks: Vec::new(),
        console: false,
        vnc: false,
        registration_timeout: Duration::from_secs(60),
        // Whatever the coordinator gives along comes back as it was.
        origin: r#"{"version":1,"text":"<origin>&amp; \"ä\' ]]>"}"#.to_owned(),
    }
}

pub(crate) fn ledger(spec: &VmSpec) -> LedgerEntry {
    LedgerEntry {
        generation: Generation(1),
        epoch: Epoch(1),
        wish: LedgerWish::Running,
        registration_deadline: None,
        started_at: None,
        registered_at: None,
        system_disk: Some((spec.system_disk.pool.clone(), spec.system_disk.volume.clone())),
        registration_timeout: spec.registration_timeout,
        origin: spec.origin.clone(),
    }
}

/// A VM of this name, defined and not started.
pub(crate) fn defined(subject: &dyn Subject, spec: &VmSpec) -> VmId {
    let vm = VmId::random();
    subject.hypervisor().create_system_disk(spec).unwrap();
    subject.hypervisor().define(vm, spec, &ledger(spec)).unwrap();
    vm
}

/// A VM of this name that runs.
pub(crate) fn running(subject: &dyn Subject, name: &str) -> VmId {
    let vm = defined(subject, &spec(name));
    subject.hypervisor().start(vm).unwrap();
    vm
}

/// Hears a hypervisor. Only one can: on a subject that is shared, one test.
pub(crate) fn listen(hypervisor: &dyn Hypervisor) -> EventReceiver {
    let (sender, events) = event_queue();
    hypervisor.subscribe(sender);
    events
}

/// Waits for an event that fits.
pub(crate) fn hear(events: &EventReceiver, fits: impl Fn(&HypervisorEvent) -> bool) {
    loop {
        let event = events.recv_timeout(PATIENCE).expect("the event did not come");
        if fits(&event) {
            return;
        }
    }
}

/// The statistics; on a machine that is too busy to give them in time, when it does.
pub(crate) fn samples(subject: &dyn Subject) -> Vec<VmSample> {
    let look = || match subject.hypervisor().statistics() {
        Ok(samples) => Ok(Some(samples)),
        Err(HypervisorError::Failed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    };
    poll_until("statistics", PATIENCE, look).unwrap()
}
