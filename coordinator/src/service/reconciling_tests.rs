//! The real service with a host whose agent says what the test says: comparisons on demand, and reports that come twice,
//! late or in another order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use reeve_common::clock::{Clock, SystemClock, Timestamp};
use reeve_common::ids::{Epoch, Generation, ProfileName, RealmName};
use reeve_common::inventory::HostInventory;
use reeve_common::protocol::{Command, Hello, Refusal, Reply};
use reeve_common::units::{Mebibytes, Millicores};
use reeve_common::vm::{DesiredVm, DomainDescription, DomainDisk, DomainSize, ForeignDomain, StopReason};
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use reeve_scheduler::HostState;

use super::super::core::VmVersion;
use super::*;
use crate::agents::{AgentLink, LinkFuture};
use crate::model::adoption::NewOwner;
use crate::model::fixture;
use crate::model::host::NewHost;
use crate::model::vm::Vm;
use crate::model::vm_state::VmState;
use crate::pki::Authority;
use crate::store::{Batch, MemoryStore, Precondition};

const NOW: Timestamp = Timestamp(1_000_000);

/// A coordinator with one host and one VM on it that runs.
struct Stage {
    service: Service,
    host: HostId,
    vm: Vm,
    _directory: tempfile::TempDir,
}

fn operator() -> Actor {
    Actor { uid: 0, name: "root".to_owned() }
}

impl Stage {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("coordinator.conf");
        let text = format!(
            "state-directory = {:?}\nrealms {{ primary {{ disabled = no, driver = libvirt, name = R\n drives.lazy-allocation = on }} }}\nhardware-profiles {{ p {{ cores = 4, memory = 8 GiB }} }}",
            directory.path()
        );
        std::fs::write(&file, text).unwrap();
        let (config, _) = crate::config::check(&file).unwrap_or_else(|errors| panic!("{errors}"));
        let authority = Arc::new(Authority::create(&config.pki_directory(), SystemClock.now()).unwrap());
        let store = Arc::new(MemoryStore::new());
        let service = Service::open(config, store, Arc::new(SystemClock), authority).await.unwrap();
        let new = NewHost {
            name: HostName::new("node-1").unwrap(),
            realm: RealmName::new("primary").unwrap(),
            uri: "qemu:///system".to_owned(),
            profile: ProfileName::new("p").unwrap(),
            state: HostState::Enabled,
            labels: BTreeMap::new(),
        };
        let host = service.add_host(new, &operator()).await.unwrap().host.id;
        let mut vm = fixture::vm();
        vm.host = Some(host);
        vm.registered_at = Some(NOW);
        vm.enter(VmState::Running, None, NOW);
        let version = service.write_vm(Batch::new(), &vm, Precondition::Absent).await.unwrap();
        {
            let mut core = service.core();
            let current = VmVersion { version, vm: Arc::new(vm.clone()) };
            core.take_in(current, true);
            core.fleet.restore(vm.id, host, &vm.request);
        }
        Self { service, host, vm, _directory: directory }
    }

    fn record(&self) -> Arc<Vm> {
        self.service.core().any_vm(self.vm.id).unwrap().vm
    }

    fn seen(&self, observed: ObservedVm) -> VmObservation {
        VmObservation { vm: self.vm.id, generation: self.vm.generation, epoch: Epoch(1), observed }
    }

    fn report(&self, observed: ObservedVm) -> HostReport {
        HostReport {
            hypervisor_reachable: true,
            vms: vec![self.seen(observed)],
            foreign: Vec::new(),
            pools: Vec::new(),
            sizes: vec![DomainSize {
                vm: self.vm.id,
                name: self.vm.name.clone(),
                vcpus: 2,
                memory: Mebibytes(2048),
            }],
            answers: Vec::new(),
            lock_manager: LockManager::Unknown,
        }
    }

    /// Connects an agent that reports this whenever it is asked.
    fn connect(&self, report: HostReport) {
        self.connect_with(report, Vec::new());
    }

    /// The same, with the disks of every domain that is not ours.
    fn connect_with(&self, report: HostReport, disks: Vec<DomainDisk>) {
        let hello = Hello {
            host: self.host,
            name: HostName::new("node-1").unwrap(),
            realm: self.vm.realm.clone(),
            instance: OperationId::random(),
            highest_epoch: Epoch(0),
            inventory: HostInventory::default(),
        };
        let link = Arc::new(Agent {
            stage: (self.service.clone(), self.host),
            report,
            disks,
            told: Mutex::default(),
        });
        self.service.agent_connected(self.host, AgentHandle::over(1, link), hello);
    }

    fn used(&self) -> (Millicores, Millicores) {
        let usage = self.service.core().fleet.usage(self.host).unwrap();
        (usage.used.cores, usage.foreign.cores)
    }
}

/// An agent that only knows its report.
struct Agent {
    stage: (Service, HostId),
    report: HostReport,
    disks: Vec<DomainDisk>,
    told: Mutex<Vec<Command>>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl AgentLink for Agent {
    fn request(&self, command: Command, _: Duration) -> LinkFuture<'_, Result<Reply, LinkError>> {
        Box::pin(async move {
            let operation = command.operation;
            self.told.lock().unwrap().push(command.clone());
            let outcome = match command.body {
                CommandBody::ReadReport => Ok(ReplyBody::Report(Box::new(self.report.clone()))),
                CommandBody::Report => {
                    let report = HostReport { answers: vec![operation], ..self.report.clone() };
                    let (service, host) = self.stage.clone();
                    // Events have a stream of their own: the report may come before or after the reply.
                    tokio::spawn(async move { service.follow_report(host, report).await });
                    Ok(ReplyBody::Accepted)
                }
                CommandBody::DescribeDomain { domain } => {
                    let found = self.report.foreign.iter().find(|foreign| foreign.id == domain);
                    Ok(ReplyBody::Domain(found.map(|found| {
                        let disks = self.disks.clone();
                        Box::new(DomainDescription {
                            domain: found.clone(),
                            disks,
                            last_generation: Generation(3),
                        })
                    })))
                }
                _ => Err(Refusal::Invalid("not asked here".to_owned())),
            };
            Ok(Reply { operation, outcome })
        })
    }

    fn received(&self) -> u64 {
        0
    }

    fn close(&self, _: RefusalCode, _: &str) {}

    fn closed(&self) -> LinkFuture<'_, CloseReason> {
        Box::pin(std::future::pending())
    }
}

fn running() -> ObservedVm {
    ObservedVm::Running { started_at: NOW, registered_at: NOW }
}

#[tokio::test]
async fn a_dry_run_tells_and_a_run_repairs() {
    let stage = Stage::new().await;
    let name = HostName::new("node-1").unwrap();
    let unasked = stage.service.fix_vms(&name, false, &operator()).await.unwrap_err();
    assert!(unasked.message.contains("unknown"), "{unasked}");
    stage.connect(stage.report(ObservedVm::Paused));
    let looked = stage.service.fix_vms(&name, true, &operator()).await.unwrap();
    assert_eq!((looked.differences.len(), stage.record().state), (1, VmState::Running));
    let fixed = stage.service.fix_vms(&name, false, &operator()).await.unwrap();
    assert_eq!(fixed.differences, looked.differences);
    assert_eq!(stage.record().state, VmState::Paused);
    let again = stage.service.fix_vms(&name, false, &operator()).await.unwrap();
    assert_eq!((again.same, again.differences), (1, Vec::new()));
    stage.connect(HostReport { hypervisor_reachable: false, ..stage.report(ObservedVm::Unknown) });
    let blind = stage.service.fix_vms(&name, false, &operator()).await.unwrap_err();
    assert!(blind.message.contains("libvirt"), "{blind}");
    assert_eq!(stage.record().state, VmState::Paused, "what cannot be asked is not off");
}

#[tokio::test]
async fn what_nobody_reserved_is_counted_as_used() {
    let stage = Stage::new().await;
    let foreign = |number: u128, active| ForeignDomain {
        id: VmId(uuid::Uuid::from_u128(number)),
        name: "legacy".to_owned(),
        active,
        vcpus: 1,
        memory: Mebibytes(512),
        paused: false,
        obstacle: None,
    };
    let mut report = stage.report(running());
    stage.service.follow_report(stage.host, report.clone()).await;
    assert_eq!(stage.used(), (Millicores(2000), Millicores(0)));
    report.foreign = vec![foreign(1, true), foreign(2, false)];
    stage.service.follow_report(stage.host, report.clone()).await;
    assert_eq!(stage.used(), (Millicores(2000), Millicores(1000)), "one runs");
    // One with a ledger of ours and no record, and ours was given a processor by hand.
    let unmanaged = VmId(uuid::Uuid::from_u128(3));
    report.vms.push(VmObservation { vm: unmanaged, ..stage.seen(running()) });
    report.sizes.push(DomainSize { vm: unmanaged, ..report.sizes[0].clone() });
    report.sizes[0].vcpus = 3;
    stage.service.follow_report(stage.host, report.clone()).await;
    assert_eq!(stage.used(), (Millicores(2000), Millicores(4000)));
    // A host that is full with others' domains takes nothing more.
    assert!(stage.service.core().fleet.fits(stage.host, &stage.vm.request).is_err());
    // Off, it takes nothing; unknown, it may.
    report.vms[1].observed = ObservedVm::Ended(StopReason::Crashed);
    stage.service.follow_report(stage.host, report.clone()).await;
    assert_eq!(stage.used().1, Millicores(2000));
    report.vms[1].observed = ObservedVm::Unknown;
    stage.service.follow_report(stage.host, report).await;
    assert_eq!(stage.used().1, Millicores(4000));
}

fn legacy() -> ForeignDomain {
    ForeignDomain {
        id: VmId(uuid::Uuid::from_u128(77)),
        name: "legacy".to_owned(),
        active: true,
        vcpus: 1,
        memory: Mebibytes(512),
        paused: false,
        obstacle: None,
    }
}

fn whose() -> NewOwner {
    NewOwner { owner: "ada".to_owned(), team: "engines".to_owned(), project: None, title: None }
}

#[tokio::test]
async fn what_is_adopted_changes_the_account_that_it_stands_in_and_no_more() {
    let stage = Stage::new().await;
    let node = HostName::new("node-1").unwrap();
    let mut report = stage.report(running());
    report.foreign = vec![legacy()];
    stage.connect(report.clone());
    stage.service.follow_report(stage.host, report.clone()).await;
    assert_eq!(stage.used(), (Millicores(2000), Millicores(1000)));
    let listed = stage.service.unmanaged_domains();
    assert_eq!((listed.len(), listed[0].obstacle.clone()), (1, None));

    let adopted = stage.service.adopt_vm(&node, "legacy", whose(), &operator()).await.unwrap().view.vm;
    assert_eq!(
        (adopted.id, adopted.host, adopted.generation),
        (legacy().id, Some(stage.host), Generation(4))
    );
    assert_eq!(stage.used(), (Millicores(3000), Millicores(0)), "not counted twice, not for a moment");
    stage.service.follow_report(stage.host, report.clone()).await;
    assert_eq!(stage.used(), (Millicores(3000), Millicores(0)), "nor while its host does not know yet");
    let wish = stage.service.wish_for(stage.host, adopted.id);
    assert!(
        matches!(wish, Some(CommandBody::EnsureVm { desired: DesiredVm::Adopted(told), .. }) if !told.origin.is_empty())
    );
    let again = stage.service.adopt_vm(&node, "legacy", whose(), &operator()).await.unwrap_err();
    assert!(again.message.contains("VM of reeve"), "{again}");

    // Released, its host says that it is nobody's: it counts as others' again, in one step.
    let seen = |generation, observed| VmObservation { vm: adopted.id, generation, epoch: Epoch(1), observed };
    stage.service.follow_vm(stage.host, &seen(Generation(4), running())).await;
    stage.service.release_vm(&adopted.id, &operator()).await.unwrap();
    stage.service.follow_vm(stage.host, &seen(Generation(5), ObservedVm::Gone(StopReason::Released))).await;
    assert_eq!(stage.used(), (Millicores(2000), Millicores(1000)));
    let over = stage.service.core().any_vm(adopted.id).unwrap().vm;
    assert_eq!(over.state, VmState::Stopped);

    // Adopted again it has one record, not two; refused by its host, it is nobody's as before.
    stage.service.adopt_vm(&node, &legacy().id.to_string(), whose(), &operator()).await.unwrap();
    assert!(stage.service.past_vms().is_empty());
    let refusal = Refusal::Invalid("it does not run".to_owned());
    assert!(stage.service.wish_refused(stage.host, adopted.id, &refusal).await);
    let wish = stage.service.wish_for(stage.host, adopted.id);
    assert!(matches!(wish, Some(CommandBody::EnsureVm { desired: DesiredVm::Released, .. })), "{wish:?}");
    stage.service.follow_vm(stage.host, &seen(Generation(9), ObservedVm::Gone(StopReason::Released))).await;
    let failed = stage.service.core().any_vm(adopted.id).unwrap().vm;
    assert_eq!(
        (failed.state, failed.reason.as_deref()),
        (VmState::Failed, Some("could not be adopted: it does not run"))
    );
    assert_eq!(stage.used(), (Millicores(2000), Millicores(1000)));
}

#[tokio::test]
async fn what_stands_against_an_adoption_is_said_and_nothing_is_held() {
    let stage = Stage::new().await;
    let node = HostName::new("node-1").unwrap();
    let mut report = stage.report(running());
    report.foreign = vec![legacy()];
    let unknown = stage.service.adopt_vm(&node, "legacy", whose(), &operator()).await.unwrap_err();
    assert!(unknown.message.contains("legacy on host node-1"), "{unknown}");
    let system = stage.vm.definition.made().unwrap().system_disk.clone();
    let theirs =
        DomainDisk { source: "/x".to_owned(), volume: Some((system.pool, system.volume)), read_only: false };
    stage.connect_with(report.clone(), vec![theirs]);
    stage.service.follow_report(stage.host, report.clone()).await;
    let in_use = stage.service.adopt_vm(&node, "legacy", whose(), &operator()).await.unwrap_err();
    assert!(in_use.message.contains(stage.vm.name.as_str()), "{in_use}");
    assert_eq!(stage.used(), (Millicores(2000), Millicores(1000)));
    let made = stage.service.release_vm(&stage.vm.id, &operator()).await.unwrap_err();
    assert!(made.message.contains("was made by reeve"), "{made}");
}

/// Something a host tells: one VM, or everything.
#[derive(Debug, Clone)]
enum Told {
    Vm(ObservedVm),
    Report(ObservedVm),
    Silence,
    Unreachable,
}

fn observed() -> impl Strategy<Value = ObservedVm> {
    prop_oneof![
        Just(ObservedVm::Defining),
        Just(ObservedVm::Starting),
        Just(ObservedVm::Registering { started_at: NOW, deadline: NOW }),
        Just(running()),
        Just(ObservedVm::Paused),
        Just(ObservedVm::Stopping),
        Just(ObservedVm::Unknown),
        Just(ObservedVm::Ended(StopReason::Crashed)),
        Just(ObservedVm::Gone(StopReason::Crashed)),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        4 => observed().prop_map(Told::Vm),
        4 => observed().prop_map(Told::Report),
        1 => Just(Told::Silence),
        1 => Just(Told::Unreachable),
    ]
}

async fn follow(stage: &Stage, told: &Told) {
    let (service, host) = (&stage.service, stage.host);
    match told {
        Told::Vm(observed) => service.follow_vm(host, &stage.seen(observed.clone())).await,
        Told::Report(observed) => service.follow_report(host, stage.report(observed.clone())).await,
        Told::Silence => {
            let vms = Vec::new();
            service.follow_report(host, HostReport { vms, ..stage.report(ObservedVm::Unknown) }).await;
        }
        Told::Unreachable => service.follow_hypervisor(host, false),
    }
}

/// What of a record must not depend on how often something was told.
fn essence(vm: &Vm) -> (VmState, Generation, Option<StopReason>, bool, Vec<VmState>) {
    let history = vm.history.iter().map(|step| step.state).collect();
    (vm.state, vm.generation, vm.end.clone(), vm.holds_capacity(), history)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Everything told twice, and at any moment something told before once more where it still holds, ends as if each
    /// were told once.
    #[test]
    fn what_is_told_twice_is_told_once(messages in prop::collection::vec((told(), 1_usize..4), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (once, often) = (Stage::new().await, Stage::new().await);
            for (told, times) in &messages {
                follow(&once, told).await;
                for _ in 0..*times {
                    follow(&often, told).await;
                }
                prop_assert_eq!(essence(&once.record()), essence(&often.record()));
                prop_assert_eq!(once.used(), often.used());
            }
            Ok(())
        })?;
    }

    /// In whatever order and however often: what is over stays over, capacity is free only when the host has said that
    /// nothing is left, and a wish to stop is never taken back.
    #[test]
    fn no_order_of_reports_frees_capacity_early_or_brings_a_vm_back(
        messages in prop::collection::vec(told(), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stage = Stage::new().await;
            let (mut gone, mut generation) = (false, stage.vm.generation);
            for told in &messages {
                follow(&stage, told).await;
                gone |= matches!(told, Told::Vm(ObservedVm::Gone(_)) | Told::Report(ObservedVm::Gone(_)));
                let record = stage.record();
                prop_assert_eq!(record.state.is_final(), gone);
                prop_assert_eq!(stage.used().0, if gone { Millicores(0) } else { Millicores(2000) });
                prop_assert!(record.generation >= generation);
                generation = record.generation;
            }
            Ok(())
        })?;
    }
}
