//! Owns the machine that tests of the host and of the session run on: a simulated hypervisor, virtual time, and agents
//! that come and go on it.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::{Clock, Timestamp};
use reeve_common::ids::{Epoch, Generation, OperationId, PoolName, VolumeName};
use reeve_common::protocol::{Command, CommandBody, Refusal, ReplyBody};
use reeve_common::realm::RealmSettings;
use reeve_common::vm::{DesiredVm, ObservedVm, StopReason, VirtType};
use tempfile::TempDir;
use tokio::time::Instant as VirtualInstant;

use crate::host::Host;
use crate::hypervisor::Hypervisor;
use crate::hypervisor::simulated::{GuestMode, GuestPace, SimulatedHypervisor, SimulationSettings};
use crate::state_directory::{StateDirectory, StateError};
use crate::vm::sample_values::{realm, vm};

/// The epoch of the coordinator in most tests.
pub(crate) const EPOCH: Epoch = Epoch(5);

/// Tokio's virtual time as a clock.
#[derive(Debug)]
pub(crate) struct VirtualClock(VirtualInstant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_000_000_000).after(self.0.elapsed())
    }

    fn monotonic(&self) -> std::time::Instant {
        VirtualInstant::now().into_std()
    }
}

/// One machine; agents come and go on it.
pub(crate) struct Machine {
    pub(crate) hypervisor: Arc<SimulatedHypervisor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: TempDir,
    host: Option<Host>,
    watch: Option<tokio::task::JoinHandle<()>>,
}

impl Machine {
    pub(crate) fn new(guests: GuestMode) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(VirtualInstant::now()));
        let settings = SimulationSettings { guests, ..SimulationSettings::default() };
        let hypervisor = Arc::new(SimulatedHypervisor::new(settings, Arc::clone(&clock)).unwrap());
        Self { hypervisor, clock, directory: TempDir::new().unwrap(), host: None, watch: None }
    }

    pub(crate) async fn automatic() -> Self {
        let pace = GuestPace { boot: Duration::from_secs(2), shutdown: Duration::from_secs(1) };
        let mut machine = Self::new(GuestMode::Automatic(pace));
        machine.boot_agent().await;
        machine
    }

    /// Starts an agent, and waits until it has looked around.
    pub(crate) async fn boot_agent(&mut self) {
        // A call that was in flight when the last agent was killed may still hold its state directory.
        let state = loop {
            match StateDirectory::open(self.directory.path()) {
                Ok(state) => break Arc::new(state),
                Err(StateError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(other) => panic!("{other}"),
            }
        };
        let hypervisor: Arc<dyn Hypervisor> = Arc::clone(&self.hypervisor) as _;
        let host = Host::new(realm(), hypervisor, state, Arc::clone(&self.clock));
        host.listen(self.hypervisor.as_ref()).unwrap();
        host.configure(settings());
        let watched = host.clone();
        self.watch = Some(tokio::spawn(async move { watched.keep_watch().await }));
        host.compare().await;
        self.host = Some(host);
    }

    /// Ends the agent as `kill -9` does.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        if let Some(host) = self.host.take() {
            host.let_go();
        }
        // The event thread holds the old host; without its sender it ends.
        self.hypervisor.subscribe(crate::hypervisor::event_queue().0);
    }

    pub(crate) fn host(&self) -> &Host {
        self.host.as_ref().unwrap()
    }

    pub(crate) async fn send(&self, body: CommandBody) -> Result<ReplyBody, Refusal> {
        self.send_from(EPOCH, body).await
    }

    pub(crate) async fn send_from(&self, epoch: Epoch, body: CommandBody) -> Result<ReplyBody, Refusal> {
        let command = Command { epoch, operation: OperationId::random(), body };
        self.host().answer(command).await.outcome
    }

    pub(crate) async fn ensure(
        &self,
        number: u128,
        generation: u64,
        desired: DesiredVm,
    ) -> Result<ReplyBody, Refusal> {
        self.send(CommandBody::EnsureVm { vm: vm(number), generation: Generation(generation), desired }).await
    }

    pub(crate) fn observed(&self, number: u128) -> Option<ObservedVm> {
        let report = self.host().report();
        report.vms.into_iter().find(|told| told.vm == vm(number)).map(|told| told.observed)
    }

    /// Waits, in virtual time, until what is told of a VM is as expected.
    pub(crate) async fn until(
        &self,
        number: u128,
        expected: impl Fn(Option<&ObservedVm>) -> bool,
    ) -> Option<ObservedVm> {
        for _ in 0..20_000 {
            let observed = self.observed(number);
            if expected(observed.as_ref()) {
                return observed;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.hypervisor.advance();
        }
        panic!("VM {number} stays {:?}", self.observed(number));
    }

    pub(crate) async fn until_running(&self, number: u128) {
        self.until(number, |told| matches!(told, Some(ObservedVm::Running { .. }))).await;
    }

    pub(crate) async fn until_gone(&self, number: u128) -> StopReason {
        match self.until(number, |told| matches!(told, Some(ObservedVm::Gone(_)))).await {
            Some(ObservedVm::Gone(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn disks(&self) -> Vec<VolumeName> {
        let volumes = self.hypervisor.volumes(&PoolName::new("volumes").unwrap()).unwrap_or_default();
        volumes.into_iter().map(|volume| volume.name).collect()
    }

    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.hypervisor.domains().unwrap().own, []);
        assert_eq!(self.disks(), []);
    }
}

pub(crate) fn settings() -> RealmSettings {
    RealmSettings {
        volumes_pool: PoolName::new("volumes").unwrap(),
        drives_pool: PoolName::new("drives").unwrap(),
        bricks_pool: PoolName::new("bricks").unwrap(),
        poll_frequency: Duration::from_secs(10),
        sample_interval: Duration::from_secs(5),
        virt_type: VirtType::Qemu,
        lease: None,
    }
}
