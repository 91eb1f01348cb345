//! Owns what can be done to a simulated fleet, and how each deed is told.

use std::fmt;
use std::time::Duration;

use reeve_common::ids::HostId;

use super::administrator::HostCare;
use super::fences::FenceManner;

/// Something that is done to the fleet, or goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// A user starts a VM of this configuration.
    Start(&'static str),
    /// A user asks one of the VMs they know to shut down.
    ShutDown(u64),
    /// A user destroys one of the VMs they know.
    Destroy(u64),
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
    /// An administrator does something to a host.
    Care(HostId, HostCare),
    /// A VM of a lost host is restarted elsewhere by hand (one of those the user knows).
    RestartElsewhere(u64),
    /// A host is added, called by this number, and its machine joins.
    AddHost(u32),
    /// An agent's process is stopped for so long.
    FreezeAgent(HostId, Duration),
    /// An agent is ended in good order, and started again after so long.
    EndAgent(HostId, Duration),
    /// For so long the command that fences a host behaves otherwise than it should.
    FenceFault(HostId, FenceManner, Duration),
    /// Another coordinator takes over while this one lives: some hosts' address leads to the new one at once, for the
    /// others only after so long, and then the old one is ended if it has not found out.
    Promote(Vec<HostId>, Duration),
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

pub(super) const FAILING_CALLS: [FailingCall; 8] = [
    FailingCall::CreateDisk,
    FailingCall::Define,
    FailingCall::WriteLedger,
    FailingCall::Start,
    FailingCall::Look,
    FailingCall::Destroy,
    FailingCall::DeleteDisk,
    FailingCall::Undefine,
];

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
            Self::Care(host, care) => write!(formatter, "host {host} {}", care_words(*care)),
            Self::RestartElsewhere(pick) => {
                write!(
                    formatter,
                    "the user restarts a VM elsewhere (number {pick} of those known, around again)"
                )
            }
            Self::AddHost(number) => write!(formatter, "a host node-{number} is added"),
            Self::FreezeAgent(host, time) => {
                write!(formatter, "the agent of host {host} is stopped (SIGSTOP) for {}", seconds(time))
            }
            Self::EndAgent(host, time) => write!(
                formatter,
                "the agent of host {host} is ended in good order, and started after {}",
                seconds(time)
            ),
            Self::FenceFault(host, manner, time) => {
                write!(formatter, "the fence command of host {host} is {manner:?} for {}", seconds(time))
            }
            Self::Promote(hosts, time) => {
                let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                write!(
                    formatter,
                    "another coordinator takes over; hosts {} find it at once, the others after {}",
                    hosts.join(", "),
                    seconds(time)
                )
            }
        }
    }
}

const fn care_words(care: HostCare) -> &'static str {
    match care {
        HostCare::Schedule(true) => "takes new VMs again",
        HostCare::Schedule(false) => "is to take no new VMs",
        HostCare::Drain => "is emptied",
        HostCare::CancelDrain => "is not to be emptied after all",
        HostCare::Undrain => "may be chosen again after it was emptied",
        HostCare::Fence => "is fenced by hand",
        HostCare::ConfirmOff => "is stated to be off",
        HostCare::Remove => "is removed",
    }
}
