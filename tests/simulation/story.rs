//! Owns what is done to a simulated fleet, and when: drawn from a seed, told line by line, and made shorter when it fails.

use std::fmt;
use std::time::Duration;

use reeve_common::ids::HostId;

use super::chance::Chance;
use super::estate::{CONFIGURATION_NAMES, HOSTS};

/// For so long things are done and go wrong; afterwards all is well again, and everything must come to rest.
pub const TURMOIL: Duration = Duration::from_secs(100);

/// Something that is done to the fleet, or goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A user starts a VM of this configuration.
    Start(&'static str),
    /// A user asks one of the VMs they know to shut down.
    ShutDown(u64),
    /// A user destroys one of the VMs they know.
    Destroy(u64),
    /// An administrator takes a host out of placement, or takes it back.
    Schedule(HostId, bool),
    /// The coordinator dies, and is started again after so long.
    KillCoordinator(Duration),
    /// The coordinator's process is stopped for so long.
    StopCoordinator(Duration),
    /// The coordinator's disk is slow for so long.
    SlowStore(Duration),
    /// The coordinator's disk is full for so long.
    FullStore(Duration),
    /// An agent dies, and is started again after so long.
    KillAgent(HostId, Duration),
    /// An agent dies in the middle of its work, after so many more calls, before or after the last has its effect.
    KillAgentAt(HostId, u32, bool, Duration),
    /// A host loses its power for so long.
    LosePower(HostId, Duration),
    /// A host and the coordinator do not hear each other for so long.
    Cut(HostId, Duration),
    /// The host hears nothing for so long, and is heard.
    CutTowardHost(HostId, Duration),
    /// The host is not heard for so long, and hears.
    CutTowardCoordinator(HostId, Duration),
    /// The connection breaks.
    Break(HostId),
    /// A host's path is slow and uneven for so long.
    Slow(HostId, Duration),
    /// libvirt is away for so long.
    LoseLibvirt(HostId, Duration),
    /// A call to libvirt fails: which, and whether it has its effect all the same.
    FailCall(HostId, FailingCall, bool),
    /// A host's own disk is full for so long.
    FullDisk(HostId, Duration),
    /// A host's own disk is slow for so long.
    SlowDisk(HostId, Duration),
    /// The QEMU of one of the VMs that run dies.
    KillQemu(u64),
    /// A host's wall clock is set by so many seconds.
    SetClock(HostId, i64),
    /// The coordinator's wall clock is set by so many seconds.
    SetCoordinatorClock(i64),
    /// A host hears once more what it was told before.
    Repeat(HostId),
}

/// The calls that are made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailingCall {
    /// Making the disk.
    CreateDisk,
    /// Defining the domain.
    Define,
    /// Writing the ledger.
    WriteLedger,
    /// Starting the domain.
    Start,
    /// Looking at one domain.
    Look,
    /// Destroying the domain.
    Destroy,
    /// Removing the disk.
    DeleteDisk,
    /// Removing the definition.
    Undefine,
}

const FAILING_CALLS: [FailingCall; 8] = [
    FailingCall::CreateDisk,
    FailingCall::Define,
    FailingCall::WriteLedger,
    FailingCall::Start,
    FailingCall::Look,
    FailingCall::Destroy,
    FailingCall::DeleteDisk,
    FailingCall::Undefine,
];

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
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Story {
    /// The story of a seed. Each seed has its own temper: which kinds of things go wrong, and how often.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 3);
        let users = chance.within(8..=16);
        let faults = chance.within(2..=14);
        // Half of all stories know only a few kinds of faults, so that those meet each other often.
        let kinds: Vec<u64> = if chance.permille(500) {
            (0..chance.within(1..=4)).map(|_| chance.within(0..=FAULT_KINDS - 1)).collect()
        } else {
            (0..FAULT_KINDS).collect()
        };
        let mut steps = Vec::new();
        for _ in 0..users {
            let at = chance.milliseconds(500..=90_000);
            steps.push(Step { at, deed: users_deed(&mut chance) });
        }
        for _ in 0..faults {
            let at = chance.milliseconds(0..=90_000);
            let kind = chance.pick(&kinds).copied().unwrap_or_default();
            steps.push(Step { at, deed: fault(&mut chance, kind) });
        }
        steps.sort_by_key(|step| step.at);
        Self { seed, steps }
    }

    /// The same with some steps only.
    #[must_use]
    pub fn with_steps(&self, steps: Vec<Step>) -> Self {
        Self { seed: self.seed, steps }
    }
}

fn users_deed(chance: &mut Chance) -> Deed {
    match chance.within(0..=9) {
        0..=4 => Deed::Start(chance.pick(&CONFIGURATION_NAMES).copied().unwrap_or("small")),
        5..=6 => Deed::ShutDown(chance.within(0..=99)),
        7..=8 => Deed::Destroy(chance.within(0..=99)),
        _ => Deed::Schedule(some_host(chance), chance.permille(500)),
    }
}

const FAULT_KINDS: u64 = 22;

fn fault(chance: &mut Chance, kind: u64) -> Deed {
    let host = some_host(chance);
    let short = chance.milliseconds(100..=6_000);
    let long = chance.milliseconds(1_000..=40_000);
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
        _ => Deed::Repeat(host),
    }
}

fn some_calls(chance: &mut Chance) -> u32 {
    u32::try_from(chance.within(0..=12)).unwrap_or_default()
}

fn some_host(chance: &mut Chance) -> HostId {
    HostId(u32::try_from(chance.within(1..=u64::from(HOSTS))).unwrap_or(1))
}

impl fmt::Display for Deed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
        match self {
            Self::Start(name) => write!(formatter, "a VM of configuration {name} is started"),
            Self::ShutDown(pick) => {
                write!(formatter, "the user shuts a VM down (number {pick} of those known, around again)")
            }
            Self::Destroy(pick) => {
                write!(formatter, "the user destroys a VM (number {pick} of those known, around again)")
            }
            Self::Schedule(host, true) => write!(formatter, "host {host} takes new VMs again"),
            Self::Schedule(host, false) => write!(formatter, "host {host} is to take no new VMs"),
            Self::KillCoordinator(time) => {
                write!(formatter, "the coordinator is killed, and started after {}", seconds(time))
            }
            Self::StopCoordinator(time) => {
                write!(formatter, "the coordinator is stopped (SIGSTOP) for {}", seconds(time))
            }
            Self::SlowStore(time) => {
                write!(formatter, "the coordinator's disk is slow for {}", seconds(time))
            }
            Self::FullStore(time) => {
                write!(formatter, "the coordinator's disk is full for {}", seconds(time))
            }
            Self::KillAgent(host, time) => {
                write!(formatter, "the agent of host {host} is killed, and started after {}", seconds(time))
            }
            Self::KillAgentAt(host, calls, made, time) => write!(
                formatter,
                "the agent of host {host} dies {} its call number {calls} from now, and is started after {}",
                if *made { "right after" } else { "right before" },
                seconds(time)
            ),
            Self::LosePower(host, time) => {
                write!(formatter, "host {host} loses its power for {}", seconds(time))
            }
            Self::Cut(host, time) => write!(formatter, "host {host} is cut off for {}", seconds(time)),
            Self::CutTowardHost(host, time) => {
                write!(formatter, "host {host} hears nothing for {}", seconds(time))
            }
            Self::CutTowardCoordinator(host, time) => {
                write!(formatter, "host {host} is not heard for {}", seconds(time))
            }
            Self::Break(host) => write!(formatter, "the connection with host {host} breaks"),
            Self::Slow(host, time) => {
                write!(formatter, "the path to host {host} is slow for {}", seconds(time))
            }
            Self::LoseLibvirt(host, time) => {
                write!(formatter, "libvirt on host {host} is away for {}", seconds(time))
            }
            Self::FailCall(host, call, effect) => write!(
                formatter,
                "the next {call:?} on host {host} fails{}",
                if *effect { " after its effect" } else { "" }
            ),
            Self::FullDisk(host, time) => {
                write!(formatter, "the disk of host {host} is full for {}", seconds(time))
            }
            Self::SlowDisk(host, time) => {
                write!(formatter, "the disk of host {host} is slow for {}", seconds(time))
            }
            Self::KillQemu(pick) => {
                write!(formatter, "the QEMU of a VM dies (number {pick} of those that run, around again)")
            }
            Self::SetClock(host, by) => write!(formatter, "the clock of host {host} is set by {by} s"),
            Self::SetCoordinatorClock(by) => write!(formatter, "the coordinator's clock is set by {by} s"),
            Self::Repeat(host) => write!(formatter, "host {host} hears old commands again"),
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(formatter, "  {:>8.3} s  {}", step.at.as_secs_f64(), step.deed)?;
        }
        Ok(())
    }
}
