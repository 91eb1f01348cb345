//! One value of every variant of every message, with a name for each. A new variant does not compile here until it
//! has a name, and `golden.rs` fails until it has its bytes.

use std::collections::BTreeSet;
use std::time::Duration;

use reeve_common::checkpoint::{Checkpoint, CheckpointKey, LogHash, LogHead, Signature, SignedCheckpoint};
use reeve_common::clock::Timestamp;
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{
    Epoch, Generation, HostId, OperationId, PoolName, RealmName, VmId, VmName, VolumeName,
};
use reeve_common::inventory::{HostInventory, NumaNodeInventory, Processor};
use reeve_common::journal::{
    JournalCursor, JournalLine, JournalPage, JournalQuery, JournalStart, JournalSubject,
};
use reeve_common::protocol::{
    AgentRequest, Command, CommandBody, Event, Hello, HostReport, Refusal, Reply, ReplyBody, Welcome,
};
use reeve_common::realm::RealmSettings;
use reeve_common::storage::{DiskCache, DiskFormat, LockManager, NewVolume, PoolReport, PoolState, Volume};
use reeve_common::tls::JoinSecret;
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::utilization::{HostSample, VmSample};
use reeve_common::vm::{
    AdoptedVm, AdoptionObstacle, CpuModel, DesiredVm, DomainDescription, DomainDisk, DomainSize,
    DriveAttachment, ForeignDomain, Machine, NetworkInterface, ObservedVm, StopReason, SystemDisk, VirtType,
    VmDescription, VmObservation, VmSpec,
};
use reeve_common::wire::join::{JoinAnswer, JoinRefusal, JoinRequest, Joined};
use uuid::Uuid;

fn vm() -> VmId {
    VmId(Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10))
}

fn operation() -> OperationId {
    OperationId(Uuid::from_u128(0xf0e0_d0c0_b0a0_9080_7060_5040_3020_1000))
}

fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

fn volume(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

fn realm_settings(virt_type: VirtType) -> RealmSettings {
    RealmSettings {
        volumes_pool: pool("volumes"),
        drives_pool: pool("drives"),
        bricks_pool: pool("bricks"),
        poll_frequency: Duration::from_secs(30),
        sample_interval: Duration::from_millis(2500),
        virt_type,
        // So that both are recorded.
        lease: (virt_type == VirtType::Kvm).then_some(Duration::from_secs(30)),
    }
}

pub(crate) fn hello() -> Hello {
    Hello {
        host: HostId(300),
        realm: RealmName::new("lab").unwrap(),
        instance: operation(),
        name: "kvm-7".parse().unwrap(),
        highest_epoch: Epoch(7),
        inventory: HostInventory {
            hostname: "kvm-7".to_owned(),
            architecture: "x86_64".to_owned(),
            cpu_model: "AMD EPYC 7763".to_owned(),
            logical_cpus: 128,
            memory: Mebibytes(515_000),
            kernel: "6.1.0-30-amd64".to_owned(),
            hypervisor: "libvirt 9.0.0, QEMU 7.2.19".to_owned(),
            kvm_usable: true,
            agent_version: "0.1.0".to_owned(),
            processor: Processor {
                models: ["EPYC-Milan", "qemu64"].map(|model| model.parse().unwrap()).into(),
                features: ["aes", "sse4.1"].map(|feature| feature.parse().unwrap()).into(),
            },
            numa_nodes: vec![NumaNodeInventory {
                node: 1,
                logical_cpus: 64,
                memory: Mebibytes(257_000),
                huge_pages: [(HugePageSize(1024), 16)].into(),
            }],
            huge_pages: [(HugePageSize(2), 512), (HugePageSize(1024), 32)].into(),
            pci_devices: [("10de:20b0".parse().unwrap(), 4)].into(),
            mediated_devices: [("nvidia-222".parse().unwrap(), 16)].into(),
        },
    }
}

pub(crate) fn welcomes() -> Vec<(&'static str, Welcome)> {
    [("auto", VirtType::Auto), ("kvm", VirtType::Kvm), ("qemu", VirtType::Qemu)]
        .map(|(name, virt_type)| (name, Welcome { epoch: Epoch(9), realm: realm_settings(virt_type) }))
        .to_vec()
}

fn spec() -> VmSpec {
    VmSpec {
        name: VmName::new("web-0a1b2c3d").unwrap(),
        title: "Web, prüfen".to_owned(),
        realm: RealmName::new("lab").unwrap(),
        vcpus: 2,
        memory: Mebibytes(256),
        virt_type: VirtType::Auto,
        machine: Machine::Q35,
        cpu_model: CpuModel::Default,
        cpu_features: BTreeSet::new(),
        huge_pages: None,
        system_disk: SystemDisk {
            pool: pool("volumes"),
            volume: volume("web-0a1b2c3d.qcow2"),
            image_pool: pool("bricks"),
            image_volume: volume("debian.qcow2"),
            image_format: DiskFormat::Qcow2,
        },
        drives: Vec::new(),
        networks: Vec::new(),
        console: true,
        vnc: false,
        registration_timeout: Duration::from_secs(120),
        origin: String::new(),
    }
}

/// Specifications that between them hold every variant of their parts.
fn specs() -> Vec<VmSpec> {
    let drive = |cache, format, read_only| DriveAttachment {
        pool: pool("drives"),
        volume: volume("home-anna"),
        format,
        cache,
        read_only,
    };
    let mut pc = spec();
    pc.virt_type = VirtType::Kvm;
    pc.machine = Machine::Pc;
    pc.cpu_model = CpuModel::HostPassthrough;
    pc.drives = vec![
        drive(DiskCache::Default, DiskFormat::Raw, false),
        drive(DiskCache::Writethrough, DiskFormat::Qcow2, true),
    ];
    let mut named = spec();
    named.virt_type = VirtType::Qemu;
    named.origin = r#"{"version":1}"#.to_owned();
    named.cpu_features = ["aes", "avx2"].map(|feature| feature.parse().unwrap()).into();
    named.huge_pages = Some(HugePageSize(1024));
    named.cpu_model = CpuModel::Named("Skylake-Server-IBRS".to_owned());
    named.drives = vec![
        drive(DiskCache::Writeback, DiskFormat::Raw, false),
        drive(DiskCache::None, DiskFormat::Raw, false),
    ];
    named.networks = vec![
        NetworkInterface { network: "default".parse().unwrap(), filter: None },
        NetworkInterface { network: "dmz".parse().unwrap(), filter: Some("clean-traffic".parse().unwrap()) },
    ];
    let mut host_model = spec();
    host_model.cpu_model = CpuModel::HostModel;
    vec![spec(), pc, named, host_model]
}

fn adopted() -> AdoptedVm {
    AdoptedVm {
        name: VmName::new("legacy").unwrap(),
        title: "Alt, prüfen".to_owned(),
        realm: RealmName::new("lab").unwrap(),
        vcpus: 4,
        memory: Mebibytes(2048),
        disks: vec![
            DomainDisk {
                source: "/srv/legacy.qcow2".to_owned(),
                volume: Some((pool("srv"), volume("legacy.qcow2"))),
                read_only: false,
            },
            DomainDisk { source: "network:rbd".to_owned(), volume: None, read_only: true },
        ],
        origin: r#"{"version":2}"#.to_owned(),
    }
}

fn foreign() -> ForeignDomain {
    ForeignDomain {
        id: vm(),
        name: "legacy".to_owned(),
        active: true,
        vcpus: 4,
        memory: Mebibytes(2048),
        paused: true,
        obstacle: None,
    }
}

const fn obstacle_is_listed(obstacle: &AdoptionObstacle) {
    // A new obstacle does not compile until it stands here, and then belongs into the list below.
    match obstacle {
        AdoptionObstacle::Off
        | AdoptionObstacle::Transient
        | AdoptionObstacle::Managed(_)
        | AdoptionObstacle::Name
        | AdoptionObstacle::SpoiltLedger => {}
    }
}

fn obstacles() -> Vec<Option<AdoptionObstacle>> {
    let obstacles = vec![
        None,
        Some(AdoptionObstacle::Off),
        Some(AdoptionObstacle::Transient),
        Some(AdoptionObstacle::Managed("urn:other".to_owned())),
        Some(AdoptionObstacle::Name),
        Some(AdoptionObstacle::SpoiltLedger),
    ];
    obstacles.iter().flatten().for_each(obstacle_is_listed);
    obstacles
}

const fn command_name(body: &CommandBody) -> &'static str {
    match body {
        CommandBody::EnsureVm { desired: DesiredVm::Running(_), .. } => "ensure-running",
        CommandBody::EnsureVm { desired: DesiredVm::Stopped { .. }, .. } => "ensure-stopped",
        CommandBody::EnsureVm { desired: DesiredVm::Adopted(_), .. } => "ensure-adopted",
        CommandBody::EnsureVm { desired: DesiredVm::Released, .. } => "ensure-released",
        CommandBody::ForgetVm { .. } => "forget-vm",
        CommandBody::ConfigureRealm(_) => "configure-realm",
        CommandBody::Report => "report",
        CommandBody::ReadConsole { .. } => "read-console",
        CommandBody::ListVolumes { .. } => "list-volumes",
        CommandBody::CreateVolume(_) => "create-volume",
        CommandBody::DeleteVolume { .. } => "delete-volume",
        CommandBody::InstallCertificate { .. } => "install-certificate",
        CommandBody::GrantLease { .. } => "grant-lease",
        CommandBody::DescribeVms { .. } => "describe-vms",
        CommandBody::Witness { checkpoint: Some(_) } => "witness",
        CommandBody::Witness { checkpoint: None } => "witness-asked",
        CommandBody::ReadReport => "read-report",
        CommandBody::DescribeDomain { .. } => "describe-domain",
        CommandBody::ReadJournal(query) => match query.start {
            JournalStart::Latest => "read-journal-latest",
            JournalStart::Since(_) => "read-journal-since",
            JournalStart::Behind(_) => "read-journal-behind",
        },
    }
}

/// Every byte differs from those beside it, so that none can be exchanged unnoticed.
fn checkpoint() -> SignedCheckpoint {
    let bytes = |first: u8| std::array::from_fn(|index| first + u8::try_from(index).unwrap());
    let head = LogHead { size: 300, hash: LogHash(bytes(1)) };
    SignedCheckpoint {
        checkpoint: Checkpoint { head, at: Timestamp(1_700_000_000_000), epoch: Epoch(9) },
        key: CheckpointKey(bytes(65)),
        signature: Signature(std::array::from_fn(|index| 128 + u8::try_from(index).unwrap())),
    }
}

pub(crate) fn commands() -> Vec<(&'static str, Command)> {
    let generation = Generation(5);
    let running = specs().into_iter().map(|spec| CommandBody::EnsureVm {
        vm: vm(),
        generation,
        desired: DesiredVm::Running(Box::new(spec)),
    });
    let bodies = vec![
        CommandBody::EnsureVm {
            vm: vm(),
            generation,
            desired: DesiredVm::Stopped { grace: Duration::from_secs(60) },
        },
        CommandBody::ForgetVm { vm: vm(), generation },
        CommandBody::ConfigureRealm(realm_settings(VirtType::Auto)),
        CommandBody::Report,
        CommandBody::ReadConsole { vm: vm(), length_max: 65_536 },
        CommandBody::ListVolumes { pool: pool("bricks") },
        CommandBody::CreateVolume(NewVolume {
            pool: pool("drives"),
            name: volume("home-anna"),
            capacity: Bytes(1 << 30),
            format: DiskFormat::Raw,
            lazy: true,
        }),
        CommandBody::DeleteVolume { pool: pool("drives"), volume: volume("home-anna") },
        CommandBody::InstallCertificate { certificate: "-----BEGIN CERTIFICATE-----\n".to_owned() },
        CommandBody::GrantLease { number: 77_000, lease: Duration::from_secs(30) },
        CommandBody::DescribeVms { after: None },
        CommandBody::DescribeVms { after: Some(vm()) },
        CommandBody::Witness { checkpoint: Some(checkpoint()) },
        CommandBody::Witness { checkpoint: None },
        CommandBody::ReadReport,
        CommandBody::EnsureVm { vm: vm(), generation, desired: DesiredVm::Adopted(Box::new(adopted())) },
        CommandBody::EnsureVm { vm: vm(), generation, desired: DesiredVm::Released },
        CommandBody::DescribeDomain { domain: vm() },
        CommandBody::ReadJournal(JournalQuery {
            subject: JournalSubject::Host,
            start: JournalStart::Latest,
            lines_max: 100,
        }),
        CommandBody::ReadJournal(JournalQuery {
            subject: JournalSubject::Vm(vm()),
            start: JournalStart::Since(Timestamp(1_700_000_000_000)),
            lines_max: 500,
        }),
        CommandBody::ReadJournal(JournalQuery {
            subject: JournalSubject::Vm(vm()),
            start: JournalStart::Behind(JournalCursor::new("s=ab12;i=8c2").unwrap()),
            lines_max: 1,
        }),
    ];
    running
        .chain(bodies)
        .map(|body| (command_name(&body), Command { epoch: Epoch(9), operation: operation(), body }))
        .collect()
}

const fn reply_name(outcome: &Result<ReplyBody, Refusal>) -> &'static str {
    match outcome {
        Ok(ReplyBody::Accepted) => "accepted",
        Ok(ReplyBody::Superseded { .. }) => "superseded",
        Ok(ReplyBody::Console(_)) => "console",
        Ok(ReplyBody::Volumes(_)) => "volumes",
        Ok(ReplyBody::Descriptions { .. }) => "descriptions",
        Ok(ReplyBody::Witnessed { .. }) => "witnessed",
        Ok(ReplyBody::Report(_)) => "report",
        Ok(ReplyBody::Domain(Some(_))) => "domain",
        Ok(ReplyBody::Domain(None)) => "no-domain",
        Ok(ReplyBody::Journal(_)) => "journal",
        Err(Refusal::StaleEpoch { .. }) => "stale-epoch",
        Err(Refusal::Invalid(_)) => "invalid",
        Err(Refusal::Failed(_)) => "failed",
    }
}

pub(crate) fn replies() -> Vec<(&'static str, Reply)> {
    [
        Ok(ReplyBody::Accepted),
        Ok(ReplyBody::Superseded { current: Generation(6) }),
        Ok(ReplyBody::Console(b"login: ".to_vec())),
        Ok(ReplyBody::Volumes(vec![Volume {
            name: volume("debian.qcow2"),
            capacity: Bytes(2 << 30),
            allocation: Bytes(400 << 20),
            format: "qcow2".to_owned(),
        }])),
        Ok(ReplyBody::Descriptions {
            vms: vec![VmDescription {
                observation: VmObservation {
                    vm: vm(),
                    generation: Generation(5),
                    epoch: Epoch(9),
                    observed: ObservedVm::Stopping,
                },
                stopping_within: Some(Duration::from_secs(60)),
                origin: r#"{"version":1}"#.to_owned(),
            }],
            more: true,
        }),
        Ok(ReplyBody::Witnessed { held: Some(checkpoint()) }),
        Ok(ReplyBody::Witnessed { held: None }),
        Err(Refusal::StaleEpoch { sent: Epoch(8), highest: Epoch(9) }),
        Err(Refusal::Invalid("no such pool".to_owned())),
        Err(Refusal::Failed("libvirt is away".to_owned())),
        Ok(ReplyBody::Report(Box::new(report()))),
        Ok(ReplyBody::Domain(None)),
        Ok(ReplyBody::Journal(JournalPage {
            lines: vec![JournalLine {
                at: Timestamp(1_700_000_000_042),
                priority: 4,
                source: "reeve-agent".to_owned(),
                text: "VM is gone".to_owned(),
                fields: vec![("REEVE_HOST".to_owned(), "node-1".to_owned())],
            }],
            cursor: Some(JournalCursor::new("s=ab12;i=8c3").unwrap()),
            more: true,
        })),
    ]
    .into_iter()
    .chain(obstacles().into_iter().map(|obstacle| {
        let description = DomainDescription {
            domain: ForeignDomain { obstacle, ..foreign() },
            disks: adopted().disks,
            last_generation: Generation(3),
        };
        Ok(ReplyBody::Domain(Some(Box::new(description))))
    }))
    .map(|outcome| (reply_name(&outcome), Reply { operation: operation(), outcome }))
    .collect()
}

fn observation(observed: ObservedVm) -> VmObservation {
    VmObservation { vm: vm(), generation: Generation(5), epoch: Epoch(9), observed }
}

const fn reason_is_listed(reason: &StopReason) {
    // A new reason does not compile until it stands here, and then belongs into the list below.
    match reason {
        StopReason::ShutDown
        | StopReason::DestroyedAfterGrace
        | StopReason::Destroyed
        | StopReason::GuestPowerOff
        | StopReason::Crashed
        | StopReason::RegistrationTimeout
        | StopReason::StartFailed(_)
        | StopReason::FoundStopped
        | StopReason::Released => {}
    }
}

fn reasons() -> Vec<StopReason> {
    let reasons = vec![
        StopReason::ShutDown,
        StopReason::DestroyedAfterGrace,
        StopReason::Destroyed,
        StopReason::GuestPowerOff,
        StopReason::Crashed,
        StopReason::RegistrationTimeout,
        StopReason::StartFailed("no space left".to_owned()),
        StopReason::FoundStopped,
        StopReason::Released,
    ];
    reasons.iter().for_each(reason_is_listed);
    reasons
}

const fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Report(_) => "report",
        Event::Vm(observation) => match observation.observed {
            ObservedVm::Defining => "vm-defining",
            ObservedVm::Starting => "vm-starting",
            ObservedVm::Registering { .. } => "vm-registering",
            ObservedVm::Running { .. } => "vm-running",
            ObservedVm::Paused => "vm-paused",
            ObservedVm::Stopping => "vm-stopping",
            ObservedVm::Ended(_) => "vm-ended",
            ObservedVm::Gone(_) => "vm-gone",
            ObservedVm::Unknown => "vm-unknown",
        },
        Event::Hypervisor { .. } => "hypervisor",
        Event::Request(AgentRequest::RenewCertificate { .. }) => "request-renew-certificate",
        Event::Request(AgentRequest::RenewLease { watchdog: Some(_), .. }) => "request-renew-lease",
        Event::Request(AgentRequest::RenewLease { watchdog: None, .. }) => "request-give-up-lease",
    }
}

fn report() -> HostReport {
    let pool_report = |name: &str, state| PoolReport { name: pool(name), state };
    HostReport {
        hypervisor_reachable: true,
        vms: vec![observation(ObservedVm::Paused)],
        foreign: vec![foreign()],
        pools: vec![
            pool_report("volumes", PoolState::Active { capacity: Bytes(1 << 40), available: Bytes(1 << 39) }),
            pool_report("drives", PoolState::Inactive),
            pool_report("bricks", PoolState::Missing),
        ],
        sizes: vec![DomainSize {
            vm: vm(),
            name: VmName::new("web-0a1b2c3d").unwrap(),
            vcpus: 2,
            memory: Mebibytes(256),
        }],
        answers: vec![operation()],
        lock_manager: LockManager::Unknown,
    }
}

/// What version 2 says otherwise than version 1, in replies.
pub(crate) fn replies_of_version_2() -> Vec<(&'static str, Reply)> {
    let reply = |body| Reply { operation: operation(), outcome: Ok(body) };
    let on = HostReport { lock_manager: LockManager::On, ..report() };
    vec![("report", reply(ReplyBody::Report(Box::new(on)))), ("accepted", reply(ReplyBody::Accepted))]
}

/// The same in events.
pub(crate) fn events_of_version_2() -> Vec<(&'static str, Event)> {
    let with = |lock_manager| Event::Report(HostReport { lock_manager, ..report() });
    vec![
        ("report-lock-manager-unknown", with(LockManager::Unknown)),
        ("report-lock-manager-off", with(LockManager::Off)),
        ("report-lock-manager-on", with(LockManager::On)),
        ("hypervisor", Event::Hypervisor { reachable: true }),
    ]
}

pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let started_at = Timestamp(1_700_000_000_000);
    let mut events = vec![
        Event::Report(report()),
        Event::Vm(observation(ObservedVm::Defining)),
        Event::Vm(observation(ObservedVm::Starting)),
        Event::Vm(observation(ObservedVm::Registering {
            started_at,
            deadline: Timestamp(1_700_000_120_000),
        })),
        Event::Vm(observation(ObservedVm::Running {
            started_at,
            registered_at: Timestamp(1_700_000_009_000),
        })),
        Event::Vm(observation(ObservedVm::Paused)),
        Event::Vm(observation(ObservedVm::Stopping)),
        Event::Vm(observation(ObservedVm::Unknown)),
        Event::Vm(observation(ObservedVm::Ended(StopReason::Crashed))),
        Event::Hypervisor { reachable: false },
        Event::Request(AgentRequest::RenewCertificate {
            signing_request: "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned(),
        }),
        Event::Request(AgentRequest::RenewLease { number: 77_000, watchdog: Some(Duration::from_secs(10)) }),
        Event::Request(AgentRequest::RenewLease { number: 3, watchdog: None }),
    ];
    events.extend(reasons().into_iter().map(|reason| Event::Vm(observation(ObservedVm::Gone(reason)))));
    events.into_iter().map(|event| (event_name(&event), event)).collect()
}

pub(crate) fn host_samples() -> Vec<(&'static str, HostSample)> {
    let empty = HostSample { at: Timestamp(1_700_000_000_000), ..HostSample::default() };
    let full = HostSample {
        cpu_permille: 250,
        memory_used: Mebibytes(4096),
        load_permille: 1500,
        cpu_pressure_permille: Some(1),
        memory_pressure_permille: Some(0),
        io_pressure_permille: Some(70),
        network_received: Bytes(1_000_000),
        network_sent: Bytes(2_000_000),
        vms: vec![VmSample {
            vm: vm(),
            cpu_milliseconds: 12_345,
            memory_resident: Mebibytes(200),
            disk_read: Bytes(10),
            disk_written: Bytes(20),
            network_received: Bytes(30),
            network_sent: Bytes(40),
        }],
        ..empty.clone()
    };
    vec![("empty", empty), ("full", full)]
}

pub(crate) fn join_request() -> JoinRequest {
    JoinRequest {
        secret: JoinSecret::from_bytes(&[0xa5; 32]).unwrap(),
        signing_request: "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned(),
    }
}

const fn answer_name(answer: &JoinAnswer) -> &'static str {
    match answer {
        Ok(_) => "joined",
        Err(JoinRefusal::UnknownToken) => "unknown-token",
        Err(JoinRefusal::UsedToken { .. }) => "used-token",
        Err(JoinRefusal::ExpiredToken { .. }) => "expired-token",
        Err(JoinRefusal::RemovedHost) => "removed-host",
        Err(JoinRefusal::SigningRequest(_)) => "signing-request",
        Err(JoinRefusal::Unavailable(_)) => "unavailable",
    }
}

pub(crate) fn join_answers() -> Vec<(&'static str, JoinAnswer)> {
    let at = Timestamp(1_700_000_000_000);
    let answers: Vec<JoinAnswer> = vec![
        Ok(Joined {
            certificate: "-----BEGIN CERTIFICATE-----\n1".to_owned(),
            authority: "-----BEGIN CERTIFICATE-----\n2".to_owned(),
            agent_address: "coordinator:7443".to_owned(),
            realm: RealmName::new("lab").unwrap(),
            host: HostId(300),
            host_name: "kvm-7".parse().unwrap(),
        }),
        Err(JoinRefusal::UnknownToken),
        Err(JoinRefusal::UsedToken { at }),
        Err(JoinRefusal::ExpiredToken { at }),
        Err(JoinRefusal::RemovedHost),
        Err(JoinRefusal::SigningRequest("it is none".to_owned())),
        Err(JoinRefusal::Unavailable("no store".to_owned())),
    ];
    answers.into_iter().map(|answer| (answer_name(&answer), answer)).collect()
}
