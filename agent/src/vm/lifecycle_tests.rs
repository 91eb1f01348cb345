//! The whole life of a VM over a tiny model of a host, with a crash or a failure at each step in turn.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{Epoch, Generation, VmName};
use reeve_common::units::Mebibytes;
use reeve_common::vm::{DesiredVm, ObservedVm, StopReason};

use super::*;
use crate::hypervisor::OwnDomain;
use crate::vm::known::Progress;
use crate::vm::outcome::Outcome;
use crate::vm::sample_values::{REGISTRATION_TIMEOUT, running, spec, stopped, vm};

const EPOCH: Epoch = Epoch(3);
const BEGIN: Timestamp = Timestamp(1_000_000);

/// What becomes of the effects of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It happens and the agent dies.
    CrashAfter,
    /// It does not happen, and the agent hears of it.
    FailBefore { retryable: bool },
    /// It happens, and the agent hears that it failed (libvirtd died while answering).
    FailAfter,
    /// It happens, the agent hears that it failed, and libvirt cannot be asked for a while.
    FailAfterAndSilence,
}

/// The host as it is, whoever looks at it.
#[derive(Debug, Default)]
struct World {
    preparation: Option<Preparation>,
    disk: bool,
    domain: Option<(DomainState, LedgerEntry)>,
    tombstone: Option<Tombstone>,
    console_saved: bool,
    /// How often a QEMU came into being.
    starts: u32,
    guest_mute: bool,
    guest_deaf: bool,
    /// Looks that will be answered with "unknown".
    silent_looks: u32,
    effects: Vec<&'static str>,
}

impl World {
    fn look(&mut self) -> Seen {
        if self.silent_looks > 0 {
            self.silent_looks -= 1;
            return Seen::Unknown;
        }
        match &self.domain {
            None => Seen::Absent,
            Some((state, ledger)) => Seen::Present { state: *state, ledger: ledger.clone() },
        }
    }

    fn is_active(&self) -> bool {
        matches!(
            self.domain,
            Some((DomainState::Active | DomainState::Paused | DomainState::ShuttingDown, _))
        )
    }

    fn set_state(&mut self, new: DomainState) {
        if let Some((state, _)) = &mut self.domain {
            *state = new;
        }
    }

    fn carry_out(&mut self, step: &Step) -> Outcome {
        self.effects.push(step.doing());
        match step {
            Step::RecordPreparation(preparation) => self.preparation = Some(preparation.clone()),
            Step::CreateDisk(_) => {
                assert!(self.preparation.is_some() || self.domain.is_some(), "a disk that nobody knows");
                self.disk = true;
            }
            Step::Define(_, ledger) => {
                assert!(!self.is_active() && self.tombstone.is_none());
                let cause = InactiveCause::Unknown;
                self.domain = Some((DomainState::Inactive(cause), ledger.clone()));
            }
            Step::WriteLedger(entry) => match &mut self.domain {
                Some((_, ledger)) => ledger.clone_from(entry),
                None => return failed(false),
            },
            Step::Start => return self.start(),
            Step::Ping(_) => return Outcome::Answered(self.is_active() && !self.guest_mute),
            Step::AskShutdown => {
                if self.is_active() && !self.guest_deaf {
                    self.set_state(DomainState::Inactive(InactiveCause::ShutDown));
                }
            }
            Step::Destroy => {
                if self.is_active() {
                    self.set_state(DomainState::Inactive(InactiveCause::Destroyed));
                }
            }
            Step::SaveConsole => self.console_saved = true,
            Step::DeleteDisk(_) => {
                assert!(!self.is_active(), "the disk of a running VM was deleted");
                self.disk = false;
            }
            Step::WriteTombstone(tombstone) => {
                assert!(!self.is_active() && !self.disk);
                self.tombstone = Some(tombstone.clone());
            }
            Step::Undefine => {
                assert!(!self.is_active(), "a running VM was undefined");
                self.domain = None;
            }
            Step::Release => panic!("what was made here was released"),
            Step::GiveUp(_) | Step::Settle(_) | Step::Wait(_) | Step::Done => {}
        }
        Outcome::Done
    }

    fn start(&mut self) -> Outcome {
        assert!(self.tombstone.is_none(), "a VM was started after its end was recorded");
        if self.is_active() {
            return Outcome::Done;
        }
        if !self.disk || self.domain.is_none() {
            return failed(false);
        }
        assert_eq!(self.starts, 0, "a VM was started twice");
        self.starts += 1;
        self.set_state(DomainState::Active);
        Outcome::Done
    }

    /// What an agent knows when it starts on this host.
    fn remembered(&self, now: Timestamp) -> Option<Known> {
        if let Some((state, ledger)) = self.domain.clone() {
            let name = VmName::new("vm-1").unwrap();
            let known = Known::found(
                OwnDomain { vm: vm(1), name, state, vcpus: 1, memory: Mebibytes(64), ledger },
                now,
            );
            return Some(match self.tombstone.clone() {
                None => known,
                Some(tombstone) => known.buried(tombstone),
            });
        }
        if self.tombstone.is_some() {
            return None;
        }
        self.preparation.clone().map(Known::prepared)
    }

    fn assert_nothing_left(&self) {
        assert!(!self.disk && self.domain.is_none(), "residue: {self:?}");
        assert!(self.tombstone.is_some(), "gone without a notice: {self:?}");
    }
}

fn failed(retryable: bool) -> Outcome {
    Outcome::Failed { why: "it broke".to_owned(), retryable }
}

/// An agent on the host, or none while it is dead.
struct Life {
    world: World,
    known: Option<Known>,
    now: Timestamp,
    observed: Vec<ObservedVm>,
    /// Faults by the number of the effect, counted from the beginning of the world.
    faults: Vec<(usize, Fault)>,
}

impl Life {
    fn new(faults: &[(usize, Fault)]) -> Self {
        Self {
            world: World::default(),
            known: None,
            now: BEGIN,
            observed: Vec::new(),
            faults: faults.to_vec(),
        }
    }

    fn command(&mut self, generation: u64, desired: DesiredVm) {
        let generation = Generation(generation);
        if self.world.tombstone.is_some() {
            return; // the request policy's answer
        }
        match &mut self.known {
            Some(known) => known.adopt(generation, EPOCH, desired, self.now),
            None => self.known = Some(Known::wished(vm(1), generation, EPOCH, desired, self.now)),
        }
    }

    /// Lets the agent work until nothing moves any more. `Err`: it crashed.
    fn work(&mut self) -> Result<(), ()> {
        let Some(known) = &mut self.known else { return Ok(()) };
        let mut look = true;
        for _ in 0..400 {
            if look {
                let seen = self.world.look();
                known.see(seen, self.now);
            }
            let observed = known.observation().observed;
            if self.observed.last() != Some(&observed) {
                self.observed.push(observed);
            }
            let step = next_step(known, self.now);
            match &step {
                Step::Done => {
                    self.known = None;
                    return Ok(());
                }
                Step::Wait(None) => return Ok(()),
                Step::Wait(Some(until)) => {
                    assert!(*until > self.now, "a wait that has no end: {step:?} at {:?}", self.now);
                    self.now = *until;
                    look = true;
                    continue;
                }
                _ => {}
            }
            let number = self.world.effects.len();
            known.begin(&step, self.now);
            let fault = if step.is_effect() {
                self.faults.iter().position(|(at, _)| *at == number).map(|at| self.faults.swap_remove(at).1)
            } else {
                None
            };
            let outcome = match fault {
                None => self.world.carry_out(&step),
                Some(Fault::CrashAfter) => {
                    let _ = self.world.carry_out(&step);
                    self.known = None;
                    return Err(());
                }
                Some(Fault::FailBefore { retryable }) => failed(retryable),
                Some(Fault::FailAfter) => {
                    let _ = self.world.carry_out(&step);
                    failed(true)
                }
                Some(Fault::FailAfterAndSilence) => {
                    let _ = self.world.carry_out(&step);
                    self.world.silent_looks = 3;
                    failed(true)
                }
            };
            self.now = self.now.after(Duration::from_millis(5));
            look = known.record(&step, outcome, self.now);
        }
        panic!("it never comes to rest: {:?}\n{:?}", self.world.effects, self.known);
    }

    /// Works through all crashes; the coordinator repeats `desired` after each restart of the agent.
    fn work_through(&mut self, generation: u64, desired: &DesiredVm) {
        self.command(generation, desired.clone());
        while self.work().is_err() {
            self.now = self.now.after(Duration::from_secs(1));
            self.known = self.world.remembered(self.now);
            // The agent looks around before the coordinator speaks.
            if self.work().is_ok() {
                self.command(generation, desired.clone());
            } else {
                self.known = self.world.remembered(self.now);
                self.command(generation, desired.clone());
            }
        }
    }

    fn assert_once_or_gone(&self) {
        if self.world.tombstone.is_some() {
            assert!(!self.world.is_active());
            self.world.assert_nothing_left();
        } else {
            assert!(self.world.is_active() && self.world.disk && self.world.starts == 1, "{:?}", self.world);
        }
    }
}

const FAULTS: [Fault; 5] = [
    Fault::CrashAfter,
    Fault::FailBefore { retryable: true },
    Fault::FailBefore { retryable: false },
    Fault::FailAfter,
    Fault::FailAfterAndSilence,
];

/// Effects in a life with a fault or two, generously.
const EFFECTS: usize = 22;

fn live_and_stop(faults: &[(usize, Fault)]) -> Life {
    let mut life = Life::new(faults);
    life.work_through(1, &running(1));
    life.assert_once_or_gone();
    life.work_through(2, &stopped(60));
    life.world.assert_nothing_left();
    assert!(life.known.is_none(), "somebody still keeps it: {:?}", life.known);
    life
}

#[test]
fn an_undisturbed_life() {
    let life = live_and_stop(&[]);
    let expected = [
        "recording the start",
        "creating the system disk",
        "defining the domain",
        "writing the domain's ledger",
        "starting the domain",
        "asking the guest for a sign of life",
        "writing the domain's ledger",
        "writing the domain's ledger",
        "asking the guest to shut down",
        "settling the reason",
        "writing the domain's ledger",
        "saving the console",
        "deleting the system disk",
        "recording the end",
        "undefining the domain",
    ];
    assert_eq!(life.world.effects, expected);
    assert!(life.world.console_saved);
    let deadline = |at: &Timestamp| at.after(REGISTRATION_TIMEOUT);
    match life.observed.as_slice() {
        [
            ObservedVm::Defining,
            ObservedVm::Starting,
            ObservedVm::Registering { started_at, deadline: due },
            ObservedVm::Running { started_at: still, registered_at },
            ObservedVm::Stopping,
            ObservedVm::Gone(StopReason::ShutDown),
        ] => {
            assert!(deadline(started_at) == *due && started_at == still && registered_at >= started_at);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fault_at_each_step_leaves_it_there_once_or_gone() {
    for at in 0..EFFECTS {
        for fault in FAULTS {
            live_and_stop(&[(at, fault)]);
        }
    }
}

#[test]
fn one_failure_that_is_no_refusal_is_survived_at_each_step() {
    for at in 0..8 {
        for fault in [Fault::FailBefore { retryable: true }, Fault::FailAfter, Fault::FailAfterAndSilence] {
            let mut life = Life::new(&[(at, fault)]);
            life.work_through(1, &running(1));
            assert!(
                life.world.is_active() && life.world.tombstone.is_none(),
                "{at} {fault:?}: {:?}",
                life.world
            );
        }
    }
}

#[test]
fn two_faults_at_all_steps_leave_it_there_once_or_gone() {
    for first in 0..EFFECTS {
        for second in first..EFFECTS + 6 {
            for fault in FAULTS {
                for other in FAULTS {
                    live_and_stop(&[(first, fault), (second, other)]);
                }
            }
        }
    }
}

#[test]
fn a_crash_before_the_start_is_resumed_and_one_around_it_is_not_repeated() {
    for (at, running_after) in [(0, true), (1, true), (2, true), (3, false), (4, true), (5, true)] {
        let mut life = Life::new(&[(at, Fault::CrashAfter)]);
        life.work_through(1, &running(1));
        assert_eq!(life.world.is_active(), running_after, "crashed after effect {at}: {:?}", life.world);
        life.assert_once_or_gone();
        if !running_after {
            let reason = life.world.tombstone.unwrap().reason;
            assert!(
                matches!(&reason, StopReason::StartFailed(why) if why.contains("restarted")),
                "{reason:?}"
            );
        }
    }
}

#[test]
fn an_agent_that_restarts_starts_nothing_by_itself() {
    for at in 0..3 {
        let mut life = Life::new(&[(at, Fault::CrashAfter)]);
        life.command(1, running(1));
        assert!(life.work().is_err());
        life.known = life.world.remembered(life.now);
        life.work().unwrap();
        assert_eq!(life.world.starts, 0);
        assert!(matches!(life.observed.last(), Some(ObservedVm::Starting | ObservedVm::Defining)));
    }
}

#[test]
fn a_start_that_keeps_failing_is_given_up_with_its_reason() {
    for doing in 0..5 {
        let faults: Vec<_> =
            (doing..doing + 40).map(|at| (at, Fault::FailBefore { retryable: true })).collect();
        let mut life = Life::new(&faults);
        life.command(1, running(1));
        // Removing what is left fails as often, so the agent is patient; in the end it succeeds.
        for _ in 0..60 {
            life.work().unwrap();
            if life.known.is_none() {
                break;
            }
        }
        life.world.assert_nothing_left();
        let reason = life.world.tombstone.unwrap().reason;
        assert_eq!(reason, StopReason::StartFailed("it broke".to_owned()));
        assert_eq!(life.world.starts, 0);
    }
}

#[test]
fn a_guest_that_never_registers_is_terminated_after_its_deadline() {
    let mut life = Life::new(&[]);
    life.world.guest_mute = true;
    life.command(1, running(1));
    life.work().unwrap();
    life.world.assert_nothing_left();
    assert_eq!(life.world.tombstone.as_ref().unwrap().reason, StopReason::RegistrationTimeout);
    let lived = life.now.since(BEGIN);
    assert!(
        lived >= REGISTRATION_TIMEOUT && lived < REGISTRATION_TIMEOUT + Duration::from_secs(15),
        "{lived:?}"
    );
}

#[test]
fn a_guest_that_came_up_while_the_agent_was_dead_is_not_late() {
    let mut life = Life::new(&[(4, Fault::CrashAfter)]);
    life.command(1, running(1));
    assert!(life.work().is_err() && life.world.is_active());
    life.now = life.now.after(REGISTRATION_TIMEOUT * 3);
    life.known = life.world.remembered(life.now);
    life.work().unwrap();
    assert!(matches!(life.observed.last(), Some(ObservedVm::Running { .. })), "{:?}", life.observed);
}

#[test]
fn a_deaf_guest_is_asked_twice_and_destroyed_when_its_time_is_over() {
    let mut life = Life::new(&[]);
    life.world.guest_deaf = true;
    life.command(1, running(1));
    life.work().unwrap();
    let asked_at = life.now;
    life.command(2, stopped(60));
    life.work().unwrap();
    life.world.assert_nothing_left();
    assert_eq!(life.world.tombstone.as_ref().unwrap().reason, StopReason::DestroyedAfterGrace);
    let asked = life.world.effects.iter().filter(|doing| **doing == "asking the guest to shut down").count();
    assert_eq!(asked, 2);
    assert!(life.now.since(asked_at) >= Duration::from_secs(60));
}

#[test]
fn a_stop_without_grace_destroys_at_once_also_after_a_patient_one() {
    let mut life = Life::new(&[]);
    life.world.guest_deaf = true;
    life.command(1, running(1));
    life.work().unwrap();
    let before = life.now;
    life.known.as_mut().unwrap().adopt(Generation(2), EPOCH, stopped(600), life.now);
    life.command(3, stopped(0));
    life.work().unwrap();
    life.world.assert_nothing_left();
    assert_eq!(life.world.tombstone.as_ref().unwrap().reason, StopReason::Destroyed);
    assert_eq!(life.world.tombstone.as_ref().unwrap().generation, Generation(3));
    assert!(life.now.since(before) < Duration::from_secs(2));
}

#[test]
fn what_cannot_be_asked_is_unknown_and_nothing_is_done_to_it() {
    let mut known = Known::wished(vm(1), Generation(1), EPOCH, running(1), BEGIN);
    known.see(Seen::Unknown, BEGIN);
    for wish in [running(1), stopped(0)] {
        known.adopt(Generation(2), EPOCH, wish, BEGIN);
        assert!(matches!(next_step(&known, Timestamp(u64::MAX / 2)), Step::Wait(_)));
        assert_eq!(known.observation().observed, ObservedVm::Unknown);
    }
}

#[test]
fn a_vm_that_ended_by_itself_is_kept_until_it_is_wished_stopped() {
    for (cause, reason) in [
        (InactiveCause::ShutDown, StopReason::GuestPowerOff),
        (InactiveCause::Crashed, StopReason::Crashed),
        (InactiveCause::Destroyed, StopReason::Destroyed),
        (InactiveCause::Unknown, StopReason::FoundStopped),
    ] {
        let mut life = Life::new(&[]);
        life.command(1, running(1));
        life.work().unwrap();
        life.world.set_state(DomainState::Inactive(cause));
        life.work().unwrap();
        assert_eq!(life.observed.last(), Some(&ObservedVm::Ended(reason.clone())));
        life.command(1, running(1));
        life.work().unwrap();
        assert!(life.world.disk && life.world.starts == 1);
        life.command(2, stopped(30));
        life.work().unwrap();
        life.world.assert_nothing_left();
        assert_eq!(life.world.tombstone.unwrap().reason, reason);
    }
}

#[test]
fn a_paused_vm_is_owned_and_told_as_paused() {
    let mut life = Life::new(&[]);
    life.command(1, running(1));
    life.work().unwrap();
    life.world.set_state(DomainState::Paused);
    life.work().unwrap();
    assert_eq!(life.observed.last(), Some(&ObservedVm::Paused));
    life.command(2, stopped(5));
    life.world.guest_deaf = true;
    life.work().unwrap();
    life.world.assert_nothing_left();
}

#[test]
fn a_domain_that_vanished_is_believed_gone_only_after_a_second_look() {
    let mut life = Life::new(&[]);
    life.command(1, running(1));
    life.work().unwrap();
    let before = life.now;
    life.world.domain = None;
    life.work().unwrap();
    assert!(life.now.since(before) >= DOUBT_MAX);
    assert_eq!(life.world.tombstone.as_ref().unwrap().reason, StopReason::FoundStopped);
    life.world.assert_nothing_left();
}

#[test]
fn stopping_what_was_never_there_leaves_a_notice_against_a_late_start() {
    let mut life = Life::new(&[]);
    life.command(2, stopped(60));
    life.work().unwrap();
    life.world.assert_nothing_left();
    assert_eq!(life.world.effects, ["settling the reason", "recording the end"]);
}

#[test]
fn nothing_leads_from_stopping_back_to_running() {
    let mut known = Known::wished(vm(1), Generation(1), EPOCH, stopped(10), BEGIN);
    known.adopt(Generation(9), EPOCH, running(1), BEGIN);
    assert!(known.is_stopping() && known.generation == Generation(9));
    known.adopt(Generation(4), EPOCH, running(1), BEGIN);
    assert_eq!(known.generation, Generation(9));
    assert_eq!(spec(1).registration_timeout, REGISTRATION_TIMEOUT);
    assert_eq!(known.progress, Progress::default());
}
