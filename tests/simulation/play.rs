//! Owns the playing of a story: a fleet is set up, what the story says is done to it at its time, then all is made well
//! again and everything must come to rest.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reeve_agent::hypervisor::simulated::{Call, Fault, FaultKind};
use reeve_common::chance::seed_this_thread;
use reeve_common::ids::{HostId, HostName, VmId};
use reeve_common::mutation::Mutation;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::checker::Checker;
use super::coordinator::Surroundings;
use super::deed::{Deed, FailingCall};
use super::emptied::check_emptied;
use super::estate::{HOSTS, estate, host_name, realm};
use super::fences::FenceManner;
use super::machine::Machine;
use super::network::{Network, Side};
use super::park::Park;
use super::store::Disk;
use super::story::{Step, Story, TURMOIL};
use super::succession::Succession;
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
    let (trace, performed) = runtime.block_on(async {
        let trace = Trace::begin();
        let performed = perform(story, trace.clone()).await;
        (trace, performed)
    });
    drop(runtime);
    break_a_rule(None);
    seed_this_thread(None);
    performed?;
    if trace.is_held_elsewhere() {
        violated(&trace, "nothing outlives its story", "something of this one is still there");
    }
    Ok(Outcome { broken: take_violations(), entries: trace.entries() })
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
    succession: Arc<Succession>,
    park: Park,
    seed: u64,
    checker: Arc<Checker>,
    user: Arc<User>,
    trace: Trace,
    chance: Chance,
    /// Requests of users, and faults that pass.
    passing: JoinSet<Result<()>>,
}

async fn perform(story: &Story, trace: Trace) -> Result<()> {
    let mut stage = Stage::set(story, trace).await?;
    let began = Instant::now();
    for Step { at, deed } in &story.steps {
        stage.keep_watch_until(began + *at).await;
        if is_broken() {
            return Ok(());
        }
        stage.act(deed);
    }
    stage.keep_watch_until(began + TURMOIL).await;
    if is_broken() {
        return Ok(());
    }
    stage.mend();
    stage.come_to_rest().await
}

/// A hundred thousand stories are played in one process: each must leave nothing behind.
impl Drop for Stage {
    fn drop(&mut self) {
        self.park.let_go();
    }
}

impl Stage {
    async fn set(story: &Story, trace: Trace) -> Result<Self> {
        let (estate, seed, care) = (estate()?, story.seed, story.care);
        let network = Network::new(seed, trace.clone());
        let checker = Checker::new(estate.brake(care)?, trace.clone());
        let disk = Disk::new(seed, estate.store().await?);
        let park = Park::default();
        let surroundings =
            Surroundings { estate, care, seed, network: Arc::clone(&network), park: park.clone() };
        let succession = Succession::new(surroundings, disk);
        let in_office = Arc::downgrade(&succession);
        checker.find_books_by(move || Some(in_office.upgrade()?.current().office()?.service));
        let user = User::new(Arc::clone(&succession), Arc::clone(&checker), trace.clone());
        let chance = Chance::new(seed, 4);
        let stage =
            Self { network, succession, park, seed, checker, user, trace, chance, passing: JoinSet::new() };
        for host in (1..=HOSTS).map(HostId) {
            stage.installer().install(host, host_name(host)?)?;
        }
        stage.succession.current().start();
        Ok(stage)
    }

    fn installer(&self) -> Installer {
        Installer {
            park: self.park.clone(),
            seed: self.seed,
            network: Arc::clone(&self.network),
            checker: Arc::clone(&self.checker),
            succession: Arc::clone(&self.succession),
        }
    }

    /// Looks at the books until then.
    async fn keep_watch_until(&mut self, end: Instant) {
        while Instant::now() < end && !is_broken() {
            sleep_until(end.min(Instant::now() + WATCH)).await;
            self.look();
        }
    }

    fn look(&mut self) {
        let office = self.succession.current().office();
        self.checker.watch_books(office.map(|office| office.service));
        self.checker.look();
        self.checker.look_at_failovers();
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
        let (network, coordinator) = (Arc::clone(&self.network), self.succession.current());
        match *deed {
            Deed::Start(configuration) => drop(self.passing.spawn(user.start(configuration))),
            Deed::ShutDown(pick) => self.ask(async move { user.stop(pick, false).await }),
            Deed::Destroy(pick) => self.ask(async move { user.stop(pick, true).await }),
            Deed::Care(host, care) => {
                if let Some(machine) = self.park.get(host) {
                    self.passing.spawn(user.care_for(machine, care));
                }
            }
            Deed::RestartElsewhere(pick) => self.ask(async move { user.restart_elsewhere(pick).await }),
            Deed::AddHost(number) => self.add_host(number),
            Deed::Promote(ref hosts, time) => self.promote(hosts, time),
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
                self.disturb_all();
                let checker = Arc::clone(&self.checker);
                self.after(time, move || {
                    checker.forget_brake();
                    coordinator.set_frozen(false);
                });
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
            Deed::Break(host) => {
                self.checker.disturb(host);
                network.break_connections(host);
            }
            Deed::Slow(host, time) => {
                self.checker.disturb(host);
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
            | Deed::FreezeAgent(host, _)
            | Deed::EndAgent(host, _)
            | Deed::FenceFault(host, ..)
            | Deed::SetClock(host, _) => {
                if let Some(machine) = self.park.get(host) {
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
            Deed::FreezeAgent(_, time) => {
                machine.set_frozen(true);
                self.after(time, move || machine.set_frozen(false));
            }
            // Its end takes some seconds, unless it is frozen.
            Deed::EndAgent(_, time) => machine.end_agent(Duration::from_secs(5) + time),
            Deed::FenceFault(_, manner, time) => {
                machine.set_fence_manner(manner);
                self.after(time, move || machine.set_fence_manner(FenceManner::Honest));
            }
            Deed::LosePower(_, time) => {
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

    fn disturb_all(&self) {
        self.park.all().iter().for_each(|machine| self.checker.disturb(machine.host));
    }

    /// A host is added, and its machine made and switched on.
    fn add_host(&mut self, number: u32) {
        let (user, installer) = (Arc::clone(&self.user), self.installer());
        self.passing.spawn(async move {
            let name = host_name(HostId(number))?;
            match user.add_host(name.clone()).await? {
                Some(host) => installer.install(host, name),
                None => Ok(()),
            }
        });
    }

    /// Another coordinator takes over. Hosts that find it leave the old one; the others do later.
    fn promote(&mut self, found: &[HostId], time: Duration) {
        // The old one's books do not count any more, and the new one has none yet.
        self.checker.watch_books(None);
        let (before, next) = self.succession.promote();
        self.disturb_all();
        for host in found {
            self.network.lead(*host, next.number);
        }
        let (network, park) = (Arc::clone(&self.network), self.park.clone());
        let succession = Arc::clone(&self.succession);
        self.after(time, move || {
            for machine in park.all() {
                network.lead(machine.host, succession.current().number);
            }
            before.set_frozen(false);
            before.kill();
        });
    }

    fn cut(&mut self, host: HostId, side: Side, time: Duration) {
        self.checker.disturb(host);
        let network = Arc::clone(&self.network);
        network.set_cut(host, side, true);
        self.after(time, move || network.set_cut(host, side, false));
    }

    fn kill_qemu(&mut self, pick: u64) {
        let running: Vec<(Arc<Machine>, VmId)> = self
            .park
            .all()
            .into_iter()
            .flat_map(|machine| {
                let domains = machine.hypervisor.look_inside();
                let running = domains.into_iter().filter(|domain| domain.running);
                running.map(|domain| (Arc::clone(&machine), domain.vm)).collect::<Vec<_>>()
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
        let current = self.succession.current();
        let machines = self.park.all();
        for machine in &machines {
            let host = machine.host;
            self.network.set_cut(host, Side::Agent, false);
            self.network.set_cut(host, Side::Coordinator, false);
            self.network.set_slow(host, false);
            self.network.lead(host, current.number);
        }
        for coordinator in self.succession.all() {
            coordinator.disk.set_slow(false);
            coordinator.disk.set_full(false);
            coordinator.set_frozen(false);
            if coordinator.number != current.number {
                coordinator.kill();
            }
        }
        current.start();
        for machine in machines {
            machine.files.set_full(false);
            machine.files.set_slow(false);
            machine.set_fence_manner(FenceManner::Honest);
            machine.set_frozen(false);
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
        let current = self.succession.current();
        let records = current.disk.records();
        self.checker.check_promises(records).await?;
        match current.office() {
            Some(office) => check_emptied(&office.service, records, &self.user.asked(), &self.trace).await,
            None => Ok(()),
        }
    }

    fn unfinished(&self) -> Option<String> {
        if !self.passing.is_empty() {
            return Some("a request is under way".to_owned());
        }
        let Some(office) = self.succession.current().office() else {
            return Some("no coordinator is there".to_owned());
        };
        self.checker.unfinished(&office.service).or_else(|| {
            let hosts = office.service.host_bookings();
            let is_known = |machine: &&Arc<Machine>| hosts.iter().any(|host| host.host == machine.host);
            self.park.all().iter().filter(is_known).find_map(|machine| machine.unfinished())
        })
    }
}

/// What a machine is made with.
struct Installer {
    park: Park,
    seed: u64,
    network: Arc<Network>,
    checker: Arc<Checker>,
    succession: Arc<Succession>,
}

impl Installer {
    /// Makes a host's machine and switches it on.
    fn install(&self, host: HostId, name: HostName) -> Result<()> {
        let (network, checker) = (Arc::clone(&self.network), Arc::clone(&self.checker));
        network.set_route(host, self.succession.current().number);
        let machine = Machine::new(host, name, realm()?, self.seed, network, checker)?;
        self.checker.watch_host(host, Arc::clone(&machine.hypervisor));
        machine.start_agent();
        self.park.add(machine);
        Ok(())
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
