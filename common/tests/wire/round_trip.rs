//! Every value that may be sent arrives as it was, and what may not be said is refused on the way in.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use reeve_common::clock::Timestamp;
use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{Epoch, Generation, HostId, OperationId, VmId};
use reeve_common::inventory::{HostInventory, NumaNodeInventory, PciId, Processor, limits};
use reeve_common::protocol::{
    Command, CommandBody, Event, Hello, HostReport, Refusal, Reply, ReplyBody, Welcome,
};
use reeve_common::realm::RealmSettings;
use reeve_common::storage::{DiskCache, DiskFormat, LockManager, PoolReport, PoolState, Volume};
use reeve_common::text::printable;
use reeve_common::units::{Bytes, Mebibytes};
use reeve_common::utilization::{HostSample, VmSample};
use reeve_common::vm::{
    AdoptionObstacle, CpuModel, DesiredVm, DomainSize, DriveAttachment, ForeignDomain, Machine,
    NetworkInterface, ObservedVm, StopReason, SystemDisk, VirtType, VmDescription, VmObservation, VmSpec,
};
use reeve_common::wire::message::Message;
use reeve_common::wire::version::CURRENT;
use uuid::Uuid;

use super::samples;

fn arrives<M: Message + Clone + PartialEq + std::fmt::Debug>(message: M) -> Result<(), TestCaseError> {
    let bytes = message.clone().encode(CURRENT).unwrap();
    prop_assert!(bytes.len() <= M::FRAME_MAX);
    prop_assert_eq!(M::decode(CURRENT, &bytes).unwrap(), message);
    Ok(())
}

fn name<N: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>() -> impl Strategy<Value = N> {
    "[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}".prop_map(|text| text.parse().unwrap())
}

fn text() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| printable(&text, 1024))
}

fn vm_id() -> impl Strategy<Value = VmId> {
    any::<u128>().prop_map(|number| VmId(Uuid::from_u128(number)))
}

fn operation() -> impl Strategy<Value = OperationId> {
    any::<u128>().prop_map(|number| OperationId(Uuid::from_u128(number)))
}

fn virt_type() -> impl Strategy<Value = VirtType> {
    prop_oneof![Just(VirtType::Auto), Just(VirtType::Kvm), Just(VirtType::Qemu)]
}

fn interval() -> impl Strategy<Value = Duration> {
    (100_u64..86_400_000).prop_map(Duration::from_millis)
}

fn realm_settings() -> impl Strategy<Value = RealmSettings> {
    let lease = proptest::option::of((1000_u64..86_400_000).prop_map(Duration::from_millis));
    (name(), name(), name(), interval(), interval(), virt_type(), lease).prop_map(
        |(volumes_pool, drives_pool, bricks_pool, poll_frequency, sample_interval, virt_type, lease)| {
            RealmSettings {
                volumes_pool,
                drives_pool,
                bricks_pool,
                poll_frequency,
                sample_interval,
                virt_type,
                lease,
            }
        },
    )
}

fn disk_format() -> impl Strategy<Value = DiskFormat> {
    prop_oneof![Just(DiskFormat::Raw), Just(DiskFormat::Qcow2)]
}

fn drive() -> impl Strategy<Value = DriveAttachment> {
    let cache = prop_oneof![
        Just(DiskCache::Default),
        Just(DiskCache::Writethrough),
        Just(DiskCache::Writeback),
        Just(DiskCache::None)
    ];
    (name(), name(), disk_format(), cache, any::<bool>()).prop_map(
        |(pool, volume, format, cache, read_only)| DriveAttachment { pool, volume, format, cache, read_only },
    )
}

fn cpu_model() -> impl Strategy<Value = CpuModel> {
    prop_oneof![
        Just(CpuModel::Default),
        Just(CpuModel::HostPassthrough),
        Just(CpuModel::HostModel),
        "[A-Za-z0-9._+-]{1,64}".prop_map(CpuModel::Named),
    ]
}

fn system_disk() -> impl Strategy<Value = SystemDisk> {
    (name(), name(), name(), name(), disk_format()).prop_map(
        |(pool, volume, image_pool, image_volume, image_format)| SystemDisk {
            pool,
            volume,
            image_pool,
            image_volume,
            image_format,
        },
    )
}

fn spec() -> impl Strategy<Value = VmSpec> {
    let interface = (name(), proptest::option::of(name()))
        .prop_map(|(network, filter)| NetworkInterface { network, filter });
    let scalars = (1_u32..=288, 1_u64..=(16 << 20), any::<bool>(), any::<bool>(), 0_u64..2_592_000_000);
    let processor =
        (cpu_model(), prop::collection::btree_set(name(), 0..=64), proptest::option::of(page_size()));
    let kinds = (virt_type(), prop_oneof![Just(Machine::Q35), Just(Machine::Pc)], processor);
    let lists =
        (prop::collection::vec(drive(), 0..=8), prop::collection::vec(interface, 0..=4), system_disk());
    (name(), text(), name(), scalars, kinds, lists).prop_map(
        |(
            name,
            title,
            realm,
            (vcpus, memory, console, vnc, timeout),
            kinds,
            (drives, networks, system_disk),
        )| {
            let (virt_type, machine, (cpu_model, cpu_features, huge_pages)) = kinds;
            VmSpec {
                name,
                title,
                realm,
                vcpus,
                memory: Mebibytes(memory),
                virt_type,
                machine,
                cpu_model,
                cpu_features,
                huge_pages,
                system_disk,
                drives,
                networks,
                console,
                vnc,
                registration_timeout: Duration::from_millis(timeout),
                origin: format!("{{\"timeout\":{timeout},\"€\":\"<&'>\"}}"),
            }
        },
    )
}

fn page_size() -> impl Strategy<Value = HugePageSize> {
    (1_u32..=16_384).prop_map(HugePageSize)
}

fn huge_pages() -> impl Strategy<Value = BTreeMap<HugePageSize, u64>> {
    prop::collection::btree_map(page_size(), any::<u64>(), 0..=8)
}

/// The lists of an inventory; the longest ones are as long as they may be.
fn hardware() -> impl Strategy<Value = HostInventory> {
    let node = (any::<u32>(), any::<u32>(), any::<u64>(), huge_pages()).prop_map(
        |(node, logical_cpus, memory, huge_pages)| NumaNodeInventory {
            node,
            logical_cpus,
            memory: Mebibytes(memory),
            huge_pages,
        },
    );
    let id = any::<(u16, u16)>().prop_map(|(vendor, product)| PciId { vendor, product });
    (
        prop::collection::btree_set(name(), 0..=limits::PROCESSOR_MODELS_MAX / 8),
        prop::collection::btree_set(name(), 0..=limits::PROCESSOR_FEATURES_MAX / 8),
        prop::collection::vec(node, 0..=limits::NUMA_NODES_MAX),
        huge_pages(),
        prop::collection::btree_map(id, any::<u32>(), 0..=limits::PCI_IDS_MAX),
        prop::collection::btree_map(name(), any::<u32>(), 0..=limits::MEDIATED_TYPES_MAX / 8),
    )
        .prop_map(|(models, features, numa_nodes, huge_pages, pci_devices, mediated_devices)| {
            HostInventory {
                processor: Processor { models, features },
                numa_nodes,
                huge_pages,
                pci_devices,
                mediated_devices,
                ..HostInventory::default()
            }
        })
}

fn stop_reason() -> impl Strategy<Value = StopReason> {
    prop_oneof![
        Just(StopReason::ShutDown),
        Just(StopReason::GuestPowerOff),
        Just(StopReason::FoundStopped),
        text().prop_map(StopReason::StartFailed),
    ]
}

fn observation() -> impl Strategy<Value = VmObservation> {
    let times = (any::<u64>(), any::<u64>());
    let observed = prop_oneof![
        Just(ObservedVm::Defining),
        Just(ObservedVm::Unknown),
        times.prop_map(|(started, deadline)| ObservedVm::Registering {
            started_at: Timestamp(started),
            deadline: Timestamp(deadline)
        }),
        stop_reason().prop_map(ObservedVm::Ended),
        stop_reason().prop_map(ObservedVm::Gone),
    ];
    (vm_id(), any::<u64>(), any::<u64>(), observed).prop_map(|(vm, generation, epoch, observed)| {
        VmObservation { vm, generation: Generation(generation), epoch: Epoch(epoch), observed }
    })
}

fn report() -> impl Strategy<Value = HostReport> {
    let foreign = (vm_id(), text(), any::<bool>(), any::<u32>(), any::<u64>()).prop_map(
        |(id, name, active, vcpus, memory)| ForeignDomain {
            id,
            name,
            active,
            vcpus,
            memory: Mebibytes(memory),
            paused: false,
            obstacle: None,
        },
    );
    let state = prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(capacity, available)| PoolState::Active {
            capacity: Bytes(capacity),
            available: Bytes(available)
        }),
        Just(PoolState::Inactive),
        Just(PoolState::Missing),
    ];
    let pool = (name(), state).prop_map(|(name, state)| PoolReport { name, state });
    let size = (vm_id(), name(), any::<u32>(), any::<u64>())
        .prop_map(|(vm, name, vcpus, memory)| DomainSize { vm, name, vcpus, memory: Mebibytes(memory) });
    (
        any::<bool>(),
        prop::collection::vec(observation(), 0..20),
        prop::collection::vec(foreign, 0..5),
        prop::collection::vec(pool, 0..4),
        prop::collection::vec(size, 0..4),
        prop::collection::vec(any::<u128>().prop_map(|id| OperationId(Uuid::from_u128(id))), 0..4),
        prop::sample::select(vec![LockManager::Unknown, LockManager::Off, LockManager::On]),
    )
        .prop_map(|(hypervisor_reachable, vms, foreign, pools, sizes, answers, lock_manager)| {
            HostReport { hypervisor_reachable, vms, foreign, pools, sizes, answers, lock_manager }
        })
}

fn vm_sample() -> impl Strategy<Value = VmSample> {
    (vm_id(), any::<[u64; 6]>()).prop_map(|(vm, [cpu, memory, read, written, received, sent])| VmSample {
        vm,
        cpu_milliseconds: cpu,
        memory_resident: Mebibytes(memory),
        disk_read: Bytes(read),
        disk_written: Bytes(written),
        network_received: Bytes(received),
        network_sent: Bytes(sent),
    })
}

proptest! {
    #[test]
    fn hellos(host in any::<u32>(), realm in name(), instance in operation(), epoch in any::<u64>(), texts in prop::collection::vec(text(), 6), cpus in any::<u32>(), memory in any::<u64>(), hardware in hardware(), host_name in name()) {
        let inventory = HostInventory {
            hostname: texts[0].clone(),
            architecture: texts[1].clone(),
            cpu_model: texts[2].clone(),
            logical_cpus: cpus,
            memory: Mebibytes(memory),
            kernel: texts[3].clone(),
            hypervisor: texts[4].clone(),
            kvm_usable: cpus % 2 == 0,
            agent_version: texts[5].clone(),
            ..hardware
        };
        arrives(Hello { host: HostId(host), realm, name: host_name, instance, highest_epoch: Epoch(epoch), inventory })?;
    }

    #[test]
    fn welcomes(epoch in any::<u64>(), realm in realm_settings()) {
        arrives(Welcome { epoch: Epoch(epoch), realm })?;
    }

    #[test]
    fn commands(epoch in any::<u64>(), operation in operation(), vm in vm_id(), generation in any::<u64>(), spec in spec(), grace in 0_u64..2_592_000_000, realm in realm_settings()) {
        let generation = Generation(generation);
        for body in [
            CommandBody::EnsureVm { vm, generation, desired: DesiredVm::Running(Box::new(spec)) },
            CommandBody::EnsureVm { vm, generation, desired: DesiredVm::Stopped { grace: Duration::from_millis(grace) } },
            CommandBody::ConfigureRealm(realm),
            CommandBody::DescribeVms { after: (grace % 2 == 0).then_some(vm) },
        ] {
            arrives(Command { epoch: Epoch(epoch), operation, body })?;
        }
    }

    #[test]
    fn replies(operation in operation(), console in prop::collection::vec(any::<u8>(), 0..4096), why in text(), names in prop::collection::vec((name(), text(), any::<[u64; 2]>()), 0..20)) {
        let volumes = names
            .into_iter()
            .map(|(name, format, [capacity, allocation])| Volume { name, format, capacity: Bytes(capacity), allocation: Bytes(allocation) })
            .collect();
        for outcome in [Ok(ReplyBody::Console(console)), Ok(ReplyBody::Volumes(volumes)), Err(Refusal::Failed(why))] {
            arrives(Reply { operation, outcome })?;
        }
    }

    #[test]
    fn descriptions(operation in operation(), observations in prop::collection::vec((observation(), proptest::option::of(0_u64..2_592_000_000), "[ -~]{0,200}"), 0..64), more in any::<bool>()) {
        let vms = observations
            .into_iter()
            .map(|(observation, within, origin)| VmDescription { observation, stopping_within: within.map(Duration::from_millis), origin })
            .collect();
        arrives(Reply { operation, outcome: Ok(ReplyBody::Descriptions { vms, more }) })?;
    }

    #[test]
    fn events(report in report(), observation in observation()) {
        arrives(Event::Report(report))?;
        arrives(Event::Vm(observation))?;
    }

    #[test]
    fn host_samples(at in any::<u64>(), pressure in any::<[Option<u32>; 3]>(), vms in prop::collection::vec(vm_sample(), 0..30)) {
        let [cpu, memory, io] = pressure;
        arrives(HostSample {
            at: Timestamp(at),
            cpu_pressure_permille: cpu,
            memory_pressure_permille: memory,
            io_pressure_permille: io,
            vms,
            ..HostSample::default()
        })?;
    }

    #[test]
    fn free_text_arrives_harmless_and_cut(why in any::<String>(), times in 1_usize..200) {
        let said = why.repeat(times);
        let outcome = Err(Refusal::Failed(said.clone()));
        let reply = Reply { operation: OperationId(Uuid::nil()), outcome };
        let arrived = Reply::decode(CURRENT, &reply.encode(CURRENT).unwrap()).unwrap();
        prop_assert_eq!(arrived.outcome, Err(Refusal::Failed(printable(&said, 1024))));
    }
}

/// The largest of each kind still fits into its frame.
#[test]
fn the_largest_messages_fit() {
    use reeve_common::wire::limits::{
        CONSOLE_LENGTH_MAX, FOREIGN_DOMAINS_MAX, REPORT_ANSWERS_MAX, VMS_MAX, VOLUMES_MAX,
    };
    let long = "ö".repeat(512);
    let observation = VmObservation {
        vm: VmId(Uuid::max()),
        generation: Generation(u64::MAX),
        epoch: Epoch(u64::MAX),
        observed: ObservedVm::Gone(StopReason::StartFailed(long.clone())),
    };
    let foreign = ForeignDomain {
        id: VmId(Uuid::max()),
        name: long.clone(),
        active: true,
        vcpus: u32::MAX,
        memory: Mebibytes(u64::MAX),
        paused: true,
        obstacle: Some(AdoptionObstacle::Managed("m".repeat(100))),
    };
    let size = DomainSize {
        vm: VmId(Uuid::max()),
        name: "n".repeat(63).parse().unwrap(),
        vcpus: u32::MAX,
        memory: Mebibytes(u64::MAX),
    };
    let report = HostReport {
        hypervisor_reachable: true,
        vms: vec![observation; VMS_MAX],
        foreign: vec![foreign; FOREIGN_DOMAINS_MAX],
        pools: Vec::new(),
        sizes: vec![size; VMS_MAX],
        answers: vec![OperationId(Uuid::max()); REPORT_ANSWERS_MAX],
        lock_manager: LockManager::On,
    };
    arrives(Event::Report(report.clone())).unwrap();
    let volume = Volume {
        name: "v".repeat(63).parse().unwrap(),
        capacity: Bytes(u64::MAX),
        allocation: Bytes(u64::MAX),
        format: "qcow2".to_owned(),
    };
    for body in [
        ReplyBody::Volumes(vec![volume; VOLUMES_MAX]),
        ReplyBody::Console(vec![0xff; CONSOLE_LENGTH_MAX]),
        ReplyBody::Report(Box::new(report)),
    ] {
        arrives(Reply { operation: OperationId(Uuid::max()), outcome: Ok(body) }).unwrap();
    }
}

/// What this side's types allow and the wire does not: refused by the receiver with what is wrong, for the sender may
/// be another release, or no friend.
#[test]
fn what_may_not_be_said_is_refused() {
    let with = |change: &dyn Fn(&mut VmSpec)| {
        let (_, mut command) = samples::commands().remove(0);
        let CommandBody::EnsureVm { desired: DesiredVm::Running(spec), .. } = &mut command.body else {
            panic!("the first sample is no specification")
        };
        change(spec);
        let bytes = command.encode(CURRENT).unwrap();
        reeve_common::text::chain(&Command::decode(CURRENT, &bytes).unwrap_err())
    };
    for (said, words) in [
        (with(&|spec| spec.vcpus = 0), "virtual processors is 0"),
        (with(&|spec| spec.vcpus = 289), "allowed are 1 to 288"),
        (with(&|spec| spec.memory = Mebibytes(0)), "memory in MiB is 0"),
        (with(&|spec| spec.memory = Mebibytes(u64::MAX)), "memory in MiB"),
        (with(&|spec| spec.cpu_model = CpuModel::Named("</cpu>".to_owned())), "processor model"),
        (with(&|spec| spec.cpu_model = CpuModel::Named(String::new())), "processor model"),
        (with(&|spec| spec.registration_timeout = Duration::from_secs(1 << 40)), "registration timeout"),
    ] {
        assert!(said.contains(words), "{said:?} does not say {words:?}");
    }
    let (_, mut welcome) = samples::welcomes().remove(0);
    welcome.realm.sample_interval = Duration::ZERO;
    let error = Welcome::decode(CURRENT, &welcome.encode(CURRENT).unwrap()).unwrap_err();
    assert!(reeve_common::text::chain(&error).contains("sample interval"), "{error}");
}

#[test]
fn names_are_checked_again_on_the_way_in() {
    let (_, bytes) = samples::commands()
        .into_iter()
        .find(|(name, _)| *name == "list-volumes")
        .map(|(name, command)| (name, command.encode(CURRENT).unwrap()))
        .unwrap();
    let spoiled: Vec<_> = bytes.iter().map(|byte| if *byte == b'k' { b'/' } else { *byte }).collect();
    assert_ne!(spoiled, bytes);
    let error = Command::decode(CURRENT, &spoiled).unwrap_err();
    assert!(reeve_common::text::chain(&error).contains("pool name"), "{error}");
}

#[test]
fn an_inventory_at_its_limits_fits_and_what_is_beyond_is_left_out() {
    fn names<N: std::str::FromStr<Err: std::fmt::Debug> + Ord>(
        count: usize,
    ) -> std::collections::BTreeSet<N> {
        (0..count).map(|number| format!("{number:063}").parse().unwrap()).collect()
    }
    let mut hello = samples::hello();
    let processor = &mut hello.inventory.processor;
    processor.models = names(limits::PROCESSOR_MODELS_MAX + 1);
    processor.features = names(limits::PROCESSOR_FEATURES_MAX + 1);
    let ids = (0..=limits::PCI_IDS_MAX)
        .map(|product| PciId { vendor: 1, product: u16::try_from(product).unwrap() });
    hello.inventory.pci_devices = ids.map(|id| (id, u32::MAX)).collect();
    hello.inventory.mediated_devices =
        names(limits::MEDIATED_TYPES_MAX + 1).into_iter().map(|name| (name, u32::MAX)).collect();
    hello.inventory.numa_nodes = vec![hello.inventory.numa_nodes[0].clone(); limits::NUMA_NODES_MAX + 1];
    let bytes = hello.encode(CURRENT).unwrap();
    assert!(bytes.len() <= Hello::FRAME_MAX, "{}", bytes.len());
    let inventory = Hello::decode(CURRENT, &bytes).unwrap().inventory;
    assert_eq!(inventory.processor.features.len(), limits::PROCESSOR_FEATURES_MAX);
    assert_eq!(inventory.mediated_devices.len(), limits::MEDIATED_TYPES_MAX);
}
