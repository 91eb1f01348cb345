//! Owns what is done to a simulated fleet, and when: drawn from a seed, told line by line, and made shorter when it fails.

use std::fmt;
use std::time::Duration;

use reeve_common::ids::HostId;

use super::administrator::HostCare;
use super::chance::Chance;
use super::deed::{Deed, FAILING_CALLS, FailingCall};
use super::estate::{CONFIGURATION_NAMES, Care, HOST_IDS_MAX, HOSTS};
use super::fences::FenceManner;
use super::plot;

/// For so long things are done and go wrong; afterwards all is well again, and everything must come to rest.
pub const TURMOIL: Duration = Duration::from_secs(100);

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// When, from the beginning.
    pub at: Duration,
    /// What.
    pub deed: Deed,
}

/// What is done to a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Where it comes from; delays and ids follow from it too.
    pub seed: u64,
    /// How the realm takes care of hosts that are lost.
    pub care: Care,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Story {
    /// The story of a seed. Each seed has its own temper: which kinds of things go wrong, and how often.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 3);
        let care = chance.pick(&Care::ALL).copied().unwrap_or(Care::Statements);
        let users = chance.within(8..=16);
        let cares = chance.within(0..=6);
        let faults = chance.within(2..=14);
        // Half of all stories know only a few kinds of faults, so that those meet each other often; and half of those know
        // what makes a host lost and the realm care.
        let kinds: Vec<u64> = if chance.permille(500) {
            let losses = if chance.permille(500) { LOSSES.to_vec() } else { Vec::new() };
            let others = (0..chance.within(1..=4)).map(|_| chance.within(0..=FAULT_KINDS - 1));
            losses.into_iter().chain(others).collect()
        } else {
            (0..FAULT_KINDS).collect()
        };
        let mut steps = Vec::new();
        for _ in 0..users {
            let at = chance.milliseconds(500..=90_000);
            steps.push(Step { at, deed: users_deed(&mut chance) });
        }
        for _ in 0..cares {
            let at = chance.milliseconds(2_000..=90_000);
            steps.push(Step { at, deed: care_for(&mut chance) });
        }
        for _ in 0..faults {
            let at = chance.milliseconds(0..=90_000);
            let kind = chance.pick(&kinds).copied().unwrap_or_default();
            steps.push(Step { at, deed: fault(&mut chance, kind) });
        }
        // A plot needs some peace around it to come to its end.
        let mut plotting = Chance::new(seed, 5);
        if plotting.permille(WITH_A_PLOT_PERMILLE) {
            steps.truncate(steps.len() - faults_left_out(faults));
            steps.extend(plot::draw(seed, care, &mut plotting));
        }
        steps.sort_by_key(|step| step.at);
        Self { seed, care, steps }
    }

    /// The same with some steps only.
    #[must_use]
    pub fn with_steps(&self, steps: Vec<Step>) -> Self {
        Self { seed: self.seed, care: self.care, steps }
    }
}

/// So many stories in a thousand have a plot, among what happens by chance.
const WITH_A_PLOT_PERMILLE: u64 = 400;
/// Faults by chance beside a plot.
const FAULTS_BESIDE_A_PLOT_MAX: u64 = 5;

fn faults_left_out(drawn: u64) -> usize {
    usize::try_from(drawn.saturating_sub(FAULTS_BESIDE_A_PLOT_MAX)).unwrap_or_default()
}

fn users_deed(chance: &mut Chance) -> Deed {
    match chance.within(0..=8) {
        0..=4 => Deed::Start(chance.pick(&CONFIGURATION_NAMES).copied().unwrap_or("small")),
        5..=6 => Deed::ShutDown(chance.within(0..=99)),
        _ => Deed::Destroy(chance.within(0..=99)),
    }
}

fn care_for(chance: &mut Chance) -> Deed {
    let host = some_host(chance);
    match chance.within(0..=15) {
        0..=2 => Deed::Care(host, HostCare::Drain),
        3..=4 => Deed::Care(host, HostCare::CancelDrain),
        5 => Deed::Care(host, HostCare::Undrain),
        6..=7 => Deed::Care(host, HostCare::ConfirmOff),
        8 => Deed::Care(host, HostCare::Fence),
        9..=10 => Deed::RestartElsewhere(chance.within(0..=99)),
        11 => {
            Deed::AddHost(u32::try_from(chance.within(4..=u64::from(HOST_IDS_MAX))).unwrap_or(HOST_IDS_MAX))
        }
        12 => Deed::Care(host, HostCare::Remove),
        _ => Deed::Care(host, HostCare::Schedule(chance.permille(500))),
    }
}

const FAULT_KINDS: u64 = 28;
/// The kinds of faults that make a host lost, or spoil the proof that it has stopped.
const LOSSES: [u64; 5] = [7, 22, 23, 24, 25];

fn fault(chance: &mut Chance, kind: u64) -> Deed {
    let host = some_host(chance);
    let short = chance.milliseconds(100..=6_000);
    let long = chance.milliseconds(1_000..=40_000);
    let lost = chance.milliseconds(15_000..=80_000);
    match kind {
        0 | 18 => Deed::KillCoordinator(short),
        1 => Deed::StopCoordinator(long),
        2 => Deed::SlowStore(long),
        3 => Deed::FullStore(long),
        4 => Deed::KillAgent(host, short),
        5 | 6 => Deed::KillAgentAt(host, some_calls(chance), chance.permille(500), short),
        7 => Deed::LosePower(host, long),
        8 => Deed::Cut(host, long),
        9 => Deed::CutTowardHost(host, long),
        10 => Deed::CutTowardCoordinator(host, long),
        11 => Deed::Break(host),
        12 => Deed::Slow(host, long),
        13 => Deed::LoseLibvirt(host, long),
        14 => {
            let call = chance.pick(&FAILING_CALLS).copied().unwrap_or(FailingCall::Start);
            Deed::FailCall(host, call, chance.permille(500))
        }
        15 => {
            if chance.permille(500) {
                Deed::FullDisk(host, long)
            } else {
                Deed::SlowDisk(host, long)
            }
        }
        16 => Deed::KillQemu(chance.within(0..=99)),
        17 => {
            let seconds = i64::try_from(chance.within(0..=7200)).unwrap_or_default() - 3600;
            if chance.permille(500) {
                Deed::SetClock(host, seconds)
            } else {
                Deed::SetCoordinatorClock(seconds)
            }
        }
        22 => Deed::Cut(host, lost),
        23 => Deed::FreezeAgent(host, if chance.permille(500) { lost } else { long }),
        24 => Deed::FenceFault(host, chance.pick(&FenceManner::FAULTS).copied().unwrap_or_default(), lost),
        25 => Deed::LosePower(host, lost),
        26 => Deed::EndAgent(host, if chance.permille(300) { long } else { short }),
        27 => {
            let found = (1..=HOSTS).map(HostId).filter(|_| chance.permille(500)).collect();
            Deed::Promote(found, long)
        }
        _ => Deed::Repeat(host),
    }
}

fn some_calls(chance: &mut Chance) -> u32 {
    u32::try_from(chance.within(0..=12)).unwrap_or_default()
}

/// One of those that are there from the beginning, now and then the first that is added.
fn some_host(chance: &mut Chance) -> HostId {
    if chance.permille(60) {
        return HostId(HOSTS + 1);
    }
    HostId(u32::try_from(chance.within(1..=u64::from(HOSTS))).unwrap_or(1))
}

impl fmt::Display for Story {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "  {:>10}  {}", "", self.care)?;
        for step in &self.steps {
            writeln!(formatter, "  {:>8.3} s  {}", step.at.as_secs_f64(), step.deed)?;
        }
        Ok(())
    }
}
