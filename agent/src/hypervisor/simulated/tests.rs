//! What the simulation does beyond the contract that all hypervisors keep (`tests/contracts/hypervisor.rs`): time,
//! faults, and memory that outlives a process.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use reeve_common::clock::SystemClock;
use reeve_common::ids::{Epoch, Generation, RealmName, VmName};
use reeve_common::storage::DiskFormat;
use reeve_common::units::Mebibytes;
use reeve_common::vm::{CpuModel, Machine, SystemDisk};

use super::super::{DomainState, EventReceiver, InactiveCause, LedgerWish, event_queue};
use super::*;

const PING: Duration = Duration::from_secs(1);

/// A clock that a test moves.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Hand {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }
}

struct Scene {
    clock: Arc<Hand>,
    hypervisor: SimulatedHypervisor,
    events: EventReceiver,
}

fn scene(settings: SimulationSettings) -> Scene {
    let clock = Arc::new(Hand::default());
    let hypervisor = SimulatedHypervisor::new(settings, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let (sender, events) = event_queue();
    hypervisor.subscribe(sender);
    Scene { clock, hypervisor, events }
}

fn spec(name: &str) -> VmSpec {
    VmSpec {
        name: VmName::new(name).unwrap(),
        title: String::new(),
        realm: RealmName::new("primary").unwrap(),
        vcpus: 2,
        memory: Mebibytes(1024),
        virt_type: VirtType::Auto,
        machine: Machine::Q35,
        cpu_model: CpuModel::Default,
        cpu_features: BTreeSet::new(),
        huge_pages: None,
        system_disk: SystemDisk {
            pool: PoolName::new("vms").unwrap(),
            volume: VolumeName::new(name).unwrap(),
            image_pool: PoolName::new("bricks").unwrap(),
            image_volume: VolumeName::new("image").unwrap(),
            image_format: DiskFormat::Qcow2,
        },
        drives: Vec::new(),
        networks: Vec::new(),
        console: true,
        vnc: false,
        registration_timeout: Duration::from_secs(60),
        origin: String::new(),
    }
}

fn ledger() -> LedgerEntry {
    LedgerEntry {
        generation: Generation(1),
        epoch: Epoch(1),
        wish: LedgerWish::Running,
        registration_deadline: None,
        started_at: None,
        registered_at: None,
        system_disk: None,
        registration_timeout: Duration::from_secs(60),
        origin: String::new(),
    }
}

fn defined(hypervisor: &SimulatedHypervisor, name: &str) -> VmId {
    let vm = VmId::random();
    hypervisor.create_system_disk(&spec(name)).unwrap();
    hypervisor.define(vm, &spec(name), &ledger()).unwrap();
    vm
}

fn running(hypervisor: &SimulatedHypervisor, name: &str) -> VmId {
    let vm = defined(hypervisor, name);
    hypervisor.start(vm).unwrap();
    vm
}

fn state(hypervisor: &SimulatedHypervisor, vm: VmId) -> DomainState {
    hypervisor.domain(vm).unwrap().unwrap().state
}

#[test]
fn automatic_guests_boot_answer_and_obey_in_their_time() {
    let Scene { clock, hypervisor, events } = scene(SimulationSettings::default());
    let vm = running(&hypervisor, "a");
    let pace = GuestPace::default();
    assert_eq!(hypervisor.next_transition(), Some(Timestamp(0).after(pace.boot)));
    assert!(!hypervisor.guest_ping(vm, PING).unwrap());
    hypervisor.shutdown(vm).unwrap(); // nobody hears the power button yet
    clock.forward(pace.boot);
    assert!(hypervisor.guest_ping(vm, PING).unwrap());
    assert_eq!(hypervisor.next_transition(), None);

    hypervisor.shutdown(vm).unwrap();
    assert_eq!(state(&hypervisor, vm), DomainState::Active);
    events.try_iter().for_each(drop);
    clock.forward(pace.shutdown);
    hypervisor.advance();
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [HypervisorEvent::Domain(vm)]);
    assert_eq!(state(&hypervisor, vm), DomainState::Inactive(InactiveCause::ShutDown));
    assert_eq!(hypervisor.shutdown_requests(vm), 2);
}

#[test]
fn stepped_guests_do_nothing_by_themselves() {
    let settings = SimulationSettings { guests: GuestMode::Stepped, ..SimulationSettings::default() };
    let Scene { clock, hypervisor, events } = scene(settings);
    let vm = running(&hypervisor, "a");
    clock.forward(Duration::from_secs(1 << 20));
    hypervisor.shutdown(vm).unwrap();
    assert_eq!(hypervisor.next_transition(), None);
    assert!(!hypervisor.guest_ping(vm, PING).unwrap());
    assert!(hypervisor.let_guest_answer(vm));
    assert!(hypervisor.guest_ping(vm, PING).unwrap());
    assert!(hypervisor.let_guest_power_off(vm));
    assert!(!hypervisor.let_guest_power_off(vm) && !hypervisor.crash(VmId::random()));
    assert_eq!(state(&hypervisor, vm), DomainState::Inactive(InactiveCause::ShutDown));
    let heard: Vec<_> = events.try_iter().collect();
    assert!(heard.contains(&HypervisorEvent::GuestAgent { vm, connected: true }), "{heard:?}");
}

#[test]
fn a_mute_guest_never_answers() {
    let Scene { clock, hypervisor, .. } = scene(SimulationSettings::default());
    let vm = running(&hypervisor, "a");
    hypervisor.mute_guest(vm);
    assert_eq!(hypervisor.next_transition(), None);
    clock.forward(Duration::from_secs(3600));
    assert!(!hypervisor.guest_ping(vm, PING).unwrap());
    assert_eq!(state(&hypervisor, vm), DomainState::Active);
}

#[test]
fn planned_faults_strike_once_before_or_after_the_effect() {
    let Scene { hypervisor, .. } = scene(SimulationSettings::default());
    let vm = defined(&hypervisor, "a");
    hypervisor.plan_fault(Call::Start, Fault::failed("no memory"));
    hypervisor.plan_fault(Call::Start, Fault::answer_lost());
    assert!(matches!(hypervisor.start(vm), Err(HypervisorError::Failed { why, .. }) if why == "no memory"));
    assert_eq!(state(&hypervisor, vm), DomainState::Inactive(InactiveCause::Unknown));
    assert!(matches!(hypervisor.start(vm), Err(HypervisorError::Unreachable(_))));
    assert_eq!(state(&hypervisor, vm), DomainState::Active, "the answer was lost, not the call");
    hypervisor.start(vm).unwrap();
}

#[test]
fn while_it_is_gone_guests_go_on_and_nobody_is_told() {
    let Scene { clock, hypervisor, events } = scene(SimulationSettings::default());
    let vm = running(&hypervisor, "a");
    hypervisor.set_reachable(false);
    let _ = events.try_iter().count();
    clock.forward(GuestPace::default().boot);
    hypervisor.advance();
    assert_eq!(events.try_iter().count(), 0);
    hypervisor.set_reachable(true);
    assert_eq!(events.try_iter().collect::<Vec<_>>(), [HypervisorEvent::Connected]);
    assert!(hypervisor.guest_ping(vm, PING).unwrap());
}

#[test]
fn a_host_that_lost_power_has_definitions_and_runs_nothing() {
    let Scene { hypervisor, .. } = scene(SimulationSettings::default());
    let vm = running(&hypervisor, "a");
    hypervisor.lose_power();
    assert_eq!(state(&hypervisor, vm), DomainState::Inactive(InactiveCause::Unknown));
}

#[test]
fn domains_run_on_while_the_process_is_restarted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("simulated.json");
    let settings = SimulationSettings { state_file: Some(path.clone()), ..SimulationSettings::default() };
    let before = scene(settings.clone());
    let vm = running(&before.hypervisor, "a");
    let told = before.hypervisor.domains().unwrap();
    drop(before);

    let after = scene(settings.clone());
    assert_eq!(after.hypervisor.domains().unwrap(), told);
    after.clock.forward(GuestPace::default().boot);
    assert!(after.hypervisor.guest_ping(vm, PING).unwrap());
    assert!(String::from_utf8(after.hypervisor.console(vm, 1000).unwrap()).unwrap().contains("guest agent"));

    std::fs::write(&path, "{}").unwrap();
    let spoilt = SimulatedHypervisor::new(settings, Arc::new(Hand::default())).unwrap_err().to_string();
    assert!(spoilt.contains("simulated.json") && spoilt.contains("remove it"), "{spoilt}");
}

#[test]
fn the_daemons_thread_ends_with_the_value() {
    let settings = SimulationSettings {
        guests: GuestMode::Automatic(GuestPace { boot: Duration::ZERO, shutdown: Duration::ZERO }),
        ..SimulationSettings::default()
    };
    let Scene { hypervisor, events, .. } = scene(settings);
    let hypervisor = Arc::new(hypervisor);
    hypervisor.run_by_itself().unwrap();
    let vm = running(&hypervisor, "a");
    let answered = HypervisorEvent::GuestAgent { vm, connected: true };
    // Nobody calls; the thread lets time pass.
    assert!(events.iter().any(|event| event == answered));
    drop(hypervisor);
    // The channel's other end goes with the value, which the thread must not keep.
    assert_eq!(events.iter().filter(|event| *event == answered).count(), 0);
}
