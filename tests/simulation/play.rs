//! Owns the playing of a story: a fleet is set up, what the story says is done to it at its time, then all is made well
//! again and everything must come to rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reeve_agent::hypervisor::simulated::{Call, Fault, FaultKind};
use reeve_common::chance::seed_this_thread;
use reeve_common::ids::{HostId, VmId};
use reeve_common::mutation::Mutation;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::checker::Checker;
use super::coordinator::CoordinatorMachine;
use super::estate::{HOSTS, estate, realm};
use super::machine::Machine;
use super::network::{Network, Side};
use super::store::Disk;
use super::story::{Deed, FailingCall, Step, Story, TURMOIL};
use super::trace::{Entry, Trace, is_broken, take_violations, violated};
use super::user::User;

/// Within so long everything must have come to rest when nothing goes wrong any more: the longest of an agent's pauses (a
/// minute after it was refused), a poll, a registration and a shutdown, and some.
pub const REST_WITHIN: Duration = Duration::from_secs(240);
/// How often it is looked whether it has.
const REST_CHECK: Duration = Duration::from_secs(1);
/// How often the books are looked at though no host has changed.
const WATCH: Duration = Duration::from_millis(500);

/// How a story went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The rules that were broken, the first first.
    pub broken: Vec<String>,
    /// What happened.
    pub entries: Vec<Entry>,
}

/// Plays a story from its beginning to its end, in virtual time.
///
/// # Errors
/// When the simulation itself cannot be set up.
pub fn play(story: &Story, mutation: Option<Mutation>) -> Result<Outcome> {
    // Made before any seed counts: it is the same for all.
    estate()?;
    drop(take_violations());
    seed_this_thread(Some(story.seed));
    break_a_rule(mutation);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("a runtime for the simulation")?;
    let entries = runtime.block_on(perform(story));
    drop(runtime);
    break_a_rule(None);
    seed_this_thread(None);
    Ok(Outcome { broken: take_violations(), entries: entries? })
}

#[cfg(debug_assertions)]
fn break_a_rule(mutation: Option<Mutation>) {
    Mutation::activate(mutation);
}

/// There is nothing to break in such a build.
#[cfg(not(debug_assertions))]
fn break_a_rule(_mutation: Option<Mutation>) {}

struct Stage {
    network: Arc<Network>,
    coordinator: Arc<CoordinatorMachine>,
    machines: BTreeMap<HostId, Arc<Machine>>,
    checker: Arc<Checker>,
    user: Arc<User>,
    trace: Trace,
    chance: Chance,
    /// Requests of users, and faults that pass.
    passing: JoinSet<Result<()>>,
}

async fn perform(story: &Story) -> Result<Vec<Entry>> {
    let trace = Trace::begin();
    let mut stage = Stage::set(story.seed, trace.clone()).await?;
    let began = Instant::now();
    for Step { at, deed } in &story.steps {
        stage.keep_watch_until(began + *at).await;
        if is_broken() {
            return Ok(trace.entries());
        }
        stage.act(deed);
    }
    stage.keep_watch_until(began + TURMOIL).await;
    if is_broken() {
        return Ok(trace.entries());
    }
    stage.mend();
    stage.come_to_rest().await?;
    Ok(trace.entries())
}

impl Stage {
    async fn set(seed: u64, trace: Trace) -> Result<Self> {
        let estate = estate()?;
        let network = Network::new(seed, trace.clone());
        let checker = Checker::new(trace.clone());
        let disk = Disk::new(seed, estate.store().await?);
        let coordinator = CoordinatorMachine::new(estate, disk, Arc::clone(&network));
        let mut machines = BTreeMap::new();
        for host in (1..=HOSTS).map(HostId) {
            let watching = Arc::clone(&checker);
            let watcher = Arc::new(move || watching.look());
            let machine = Machine::new(host, realm()?, seed, Arc::clone(&network), watcher)?;
            checker.watch_host(host, Arc::clone(&machine.hypervisor));
            machine.start_agent();
            machines.insert(host, machine);
        }
        coordinator.start();
        let user = User::new(Arc::clone(&coordinator), Arc::clone(&checker), trace.clone());
        let chance = Chance::new(seed, 4);
        Ok(Self { network, coordinator, machines, checker, user, trace, chance, passing: JoinSet::new() })
    }

    /// Looks at the books until then.
    async fn keep_watch_until(&mut self, end: Instant) {
        while Instant::now() < end && !is_broken() {
            sleep_until(end.min(Instant::now() + WATCH)).await;
            self.look();
        }
    }

    fn look(&mut self) {
        self.checker.watch_books(self.coordinator.office().map(|office| office.service));
        self.checker.look();
        while let Some(ended) = self.passing.try_join_next() {
            if let Err(error) = ended.map_err(anyhow::Error::from).and_then(|result| result) {
                violated(&self.trace, "nothing panics", format!("{error:#}"));
            }
        }
    }

    /// Something begins, and after a while something else ends it.
    fn after(&mut self, time: Duration, end: impl FnOnce() + Send + 'static) {
        self.passing.spawn(async move {
            sleep(time).await;
            end();
            Ok(())
        });
    }

    fn act(&mut self, deed: &Deed) {
        self.trace.tell(super::trace::Place::User, "—", deed.to_string());
        let user = Arc::clone(&self.user);
        let (network, coordinator) = (Arc::clone(&self.network), Arc::clone(&self.coordinator));
        match *deed {
            Deed::Start(configuration) => drop(self.passing.spawn(user.start(configuration))),
            Deed::ShutDown(pick) => self.ask(async move { user.stop(pick, false).await }),
            Deed::Destroy(pick) => self.ask(async move { user.stop(pick, true).await }),
            Deed::Schedule(host, schedule) => drop(self.passing.spawn(user.schedule(host, schedule))),
            Deed::KillCoordinator(time) => {
                self.checker.watch_books(None);
                coordinator.kill();
                let (checker, trace) = (Arc::clone(&self.checker), self.trace.clone());
                self.passing.spawn(async move {
                    sleep(time).await;
                    if let Err(error) = checker.check_promises(coordinator.disk.records()).await {
                        violated(&trace, "every record can be read", format!("{error:#}"));
                    }
                    coordinator.start();
                    Ok(())
                });
            }
            Deed::StopCoordinator(time) => {
                coordinator.set_frozen(true);
                self.after(time, move || coordinator.set_frozen(false));
            }
            Deed::SlowStore(time) => {
                coordinator.disk.set_slow(true);
                self.after(time, move || coordinator.disk.set_slow(false));
            }
            Deed::FullStore(time) => {
                coordinator.disk.set_full(true);
                self.after(time, move || coordinator.disk.set_full(false));
            }
            Deed::Cut(host, time) => {
                for side in [Side::Agent, Side::Coordinator] {
                    self.cut(host, side, time);
                }
            }
            Deed::CutTowardHost(host, time) => self.cut(host, Side::Agent, time),
            Deed::CutTowardCoordinator(host, time) => self.cut(host, Side::Coordinator, time),
            Deed::Break(host) => network.break_connections(host),
            Deed::Slow(host, time) => {
                network.set_slow(host, true);
                self.after(time, move || network.set_slow(host, false));
            }
            Deed::Repeat(host) => network.obedience.repeat(host, &mut self.chance),
            Deed::KillQemu(pick) => self.kill_qemu(pick),
            Deed::SetCoordinatorClock(seconds) => coordinator.clock.set_forward(seconds * 1000),
            Deed::KillAgent(host, _)
            | Deed::KillAgentAt(host, ..)
            | Deed::LosePower(host, _)
            | Deed::LoseLibvirt(host, _)
            | Deed::FailCall(host, ..)
            | Deed::FullDisk(host, _)
            | Deed::SlowDisk(host, _)
            | Deed::SetClock(host, _) => {
                if let Some(machine) = self.machines.get(&host).cloned() {
                    self.act_on(machine, deed);
                }
            }
        }
    }

    fn act_on(&mut self, machine: Arc<Machine>, deed: &Deed) {
        match *deed {
            Deed::KillAgent(_, time) => {
                machine.kill_agent();
                self.after(time, move || machine.start_agent());
            }
            Deed::KillAgentAt(_, calls, made, time) => {
                machine.die_after(calls, made);
                // It is started again some time after it died, and nothing happens if it has not died.
                self.after(Duration::from_secs(5) + time, move || machine.start_agent());
            }
            Deed::LosePower(host, time) => {
                self.checker.excuse_all_on(host);
                machine.lose_power();
                self.after(time, move || {
                    machine.power_up();
                    machine.start_agent();
                });
            }
            Deed::LoseLibvirt(_, time) => {
                machine.hypervisor.set_reachable(false);
                self.after(time, move || machine.power_up());
            }
            Deed::FailCall(_, call, after_effect) => {
                machine
                    .hypervisor
                    .plan_fault(call.into(), Fault { after_effect, kind: FaultKind::Unreachable });
            }
            Deed::FullDisk(_, time) => {
                machine.files.set_full(true);
                self.after(time, move || machine.files.set_full(false));
            }
            Deed::SlowDisk(_, time) => {
                machine.files.set_slow(true);
                self.after(time, move || machine.files.set_slow(false));
            }
            Deed::SetClock(_, seconds) => machine.clock.set_forward(seconds * 1000),
            _ => {}
        }
    }

    fn ask(&mut self, request: impl Future<Output = ()> + Send + 'static) {
        self.passing.spawn(async move {
            request.await;
            Ok(())
        });
    }

    fn cut(&mut self, host: HostId, side: Side, time: Duration) {
        let network = Arc::clone(&self.network);
        network.set_cut(host, side, true);
        self.after(time, move || network.set_cut(host, side, false));
    }

    fn kill_qemu(&mut self, pick: u64) {
        let running: Vec<(Arc<Machine>, VmId)> = self
            .machines
            .values()
            .flat_map(|machine| {
                let domains = machine.hypervisor.look_inside();
                let running = domains.into_iter().filter(|domain| domain.running);
                running.map(|domain| (Arc::clone(machine), domain.vm)).collect::<Vec<_>>()
            })
            .collect();
        let count = u64::try_from(running.len()).unwrap_or_default();
        let chosen = pick.checked_rem(count).and_then(|at| running.get(usize::try_from(at).ok()?));
        if let Some((machine, vm)) = chosen {
            self.checker.excuse(*vm);
            machine.hypervisor.crash(*vm);
        }
    }

    /// All is well again.
    fn mend(&mut self) {
        self.trace.tell(super::trace::Place::User, "—", "nothing goes wrong any more");
        // Faults that pass would pass by themselves; now they are over.
        for host in self.machines.keys() {
            self.network.set_cut(*host, Side::Agent, false);
            self.network.set_cut(*host, Side::Coordinator, false);
            self.network.set_slow(*host, false);
        }
        self.coordinator.disk.set_slow(false);
        self.coordinator.disk.set_full(false);
        self.coordinator.set_frozen(false);
        self.coordinator.start();
        for machine in self.machines.values() {
            machine.files.set_full(false);
            machine.files.set_slow(false);
            machine.forget_death();
            machine.power_up();
            machine.start_agent();
        }
    }

    async fn come_to_rest(&mut self) -> Result<()> {
        let deadline = Instant::now() + REST_WITHIN;
        loop {
            self.keep_watch_until(Instant::now() + REST_CHECK).await;
            if is_broken() {
                return Ok(());
            }
            let Some(why) = self.unfinished() else { break };
            if Instant::now() >= deadline {
                violated(
                    &self.trace,
                    "everything comes to rest",
                    format!("after {} s of peace: {why}", REST_WITHIN.as_secs()),
                );
                return Ok(());
            }
        }
        self.checker.check_promises(self.coordinator.disk.records()).await
    }

    fn unfinished(&self) -> Option<String> {
        if !self.passing.is_empty() {
            return Some("a request is under way".to_owned());
        }
        let Some(office) = self.coordinator.office() else {
            return Some("no coordinator is there".to_owned());
        };
        self.checker
            .unfinished(&office.service)
            .or_else(|| self.machines.values().find_map(|machine| machine.unfinished()))
    }
}

impl From<FailingCall> for Call {
    fn from(call: FailingCall) -> Self {
        match call {
            FailingCall::CreateDisk => Self::CreateSystemDisk,
            FailingCall::Define => Self::Define,
            FailingCall::WriteLedger => Self::WriteLedger,
            FailingCall::Start => Self::Start,
            FailingCall::Look => Self::Domain,
            FailingCall::Destroy => Self::Destroy,
            FailingCall::DeleteDisk => Self::DeleteVolume,
            FailingCall::Undefine => Self::Undefine,
        }
    }
}
