//! Holds workflows to leaving nothing behind: every step fails in turn, a crash comes before and after every write,
//! every action and every undo runs twice.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use reeve_common::clock::Timestamp;
use reeve_common::ids::{HostId, HostName, VmId, VmName};
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp(1_000);

fn stop(number: u128) -> Step {
    Step::StopVm {
        vm: VmId(Uuid::from_u128(number)),
        name: VmName::new(format!("vm-{number}")).unwrap(),
        grace: Duration::from_secs(5),
        then: None,
    }
}

fn workflow(steps: Vec<Step>) -> Workflow {
    let purpose = Purpose::Drain {
        host: HostId(1),
        name: HostName::new("node-1").unwrap(),
        grace: Duration::from_secs(5),
    };
    Workflow {
        id: WorkflowId(1),
        purpose,
        state: WorkflowState::Running,
        steps: steps.into_iter().map(StepRecord::new).collect(),
        problem: None,
        by: "root".to_owned(),
        started_at: NOW,
        ended_at: None,
    }
}

fn drain(vms: u128) -> Workflow {
    let mut steps = vec![Step::MarkDraining { host: HostId(1) }];
    steps.extend((1..=vms).map(stop));
    steps.push(Step::ConfirmEmpty { host: HostId(1) });
    workflow(steps)
}

fn indices(due: &[Due]) -> Vec<usize> {
    due.iter().map(|due| due.index).collect()
}

#[test]
fn a_bounded_number_of_steps_is_under_way_and_their_order_is_kept() {
    let mut workflow = drain(6);
    assert_eq!(indices(&workflow.due()), [0], "nothing is stopped before the host is marked");
    workflow.settle(vec![(workflow.due()[0], Outcome::DONE)], NOW);
    assert_eq!(indices(&workflow.due()), [1, 2, 3, 4]);
    workflow.settle(vec![(Due { index: 2, direction: Direction::Act }, Outcome::DONE)], NOW);
    assert_eq!(indices(&workflow.due()), [1, 3, 4, 5], "one is done, the next in order is begun");
    for index in [1, 3, 4, 5, 6] {
        workflow.settle(vec![(Due { index, direction: Direction::Act }, Outcome::DONE)], NOW);
    }
    assert_eq!(indices(&workflow.due()), [7], "what confirms comes last and alone");
    workflow.settle(vec![(workflow.due()[0], Outcome::DONE)], NOW);
    assert_eq!((workflow.state, workflow.ended_at), (WorkflowState::Done, Some(NOW)));
}

#[test]
fn what_a_step_calls_for_is_done_before_what_follows() {
    let mut workflow = workflow(vec![stop(1), stop(2), Step::ConfirmEmpty { host: HostId(1) }]);
    let due = workflow.due();
    let more = |number| Outcome::Done { note: None, then: vec![stop(number)] };
    workflow.settle(vec![(due[0], more(8)), (due[1], more(9))], NOW);
    let order: Vec<String> = workflow.steps.iter().map(|record| record.step.to_string()).collect();
    assert_eq!(order, ["stop vm-1", "stop vm-8", "stop vm-2", "stop vm-9", "see that the host is empty"]);
    assert_eq!(indices(&workflow.due()), [1, 3]);
}

#[test]
fn what_was_not_begun_stays_when_it_is_cancelled() {
    let mut workflow = drain(6);
    workflow.begin(&workflow.due(), NOW);
    workflow.settle(vec![(workflow.due()[0], Outcome::DONE)], NOW);
    workflow.begin(&workflow.due(), NOW);
    assert!(workflow.cancel("cancelled by ann", NOW));
    let mut undone = Vec::new();
    while let [due] = workflow.due().as_slice() {
        assert_eq!(due.direction, Direction::Undo);
        undone.push(due.index);
        workflow.settle(vec![(*due, Outcome::DONE)], NOW);
    }
    assert_eq!(undone, [4, 3, 2, 1, 0], "the latest first, and nothing that was not begun");
    assert_eq!(workflow.state, WorkflowState::Undone);
    assert_eq!(workflow.problem.as_deref(), Some("cancelled by ann"));
    assert!(!workflow.cancel("again", NOW), "what is over is over");
}

#[test]
fn an_undo_that_cannot_be_done_is_told_and_can_be_tried_again() {
    let mut workflow = drain(0);
    workflow.begin(&workflow.due(), NOW);
    workflow.cancel("cancelled", NOW);
    for _ in 0..UNDO_ATTEMPTS_MAX {
        assert_eq!(workflow.state, WorkflowState::Undoing);
        workflow.settle(vec![(workflow.due()[0], Outcome::Retry("the disk is full".to_owned()))], NOW);
    }
    assert_eq!(workflow.state, WorkflowState::Stuck);
    assert!(workflow.due().is_empty(), "nothing is tried for ever");
    assert_eq!(workflow.problem.as_deref(), Some("it cannot be undone: the disk is full"));
    assert!(workflow.cancel("again", NOW));
    workflow.settle(vec![(workflow.due()[0], Outcome::DONE)], NOW);
    assert_eq!(workflow.state, WorkflowState::Undone);
}

#[test]
fn a_workflow_cannot_grow_without_end() {
    let mut workflow = drain(1);
    workflow.settle(vec![(workflow.due()[0], Outcome::DONE)], NOW);
    let then = (0..u128::try_from(STEPS_MAX).unwrap()).map(stop).collect();
    workflow.settle(vec![(workflow.due()[0], Outcome::Done { note: None, then })], NOW);
    assert_eq!(workflow.state, WorkflowState::Undoing);
    assert!(workflow.steps.len() < STEPS_MAX);
}

/// A world in which each step leaves one thing behind, which its undo takes away.
#[derive(Debug, Default)]
struct World {
    things: BTreeSet<String>,
    /// How many writes of the record still succeed before the process dies.
    writes_left: usize,
    /// The step that fails for good.
    failing: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Crash;

impl World {
    fn write(&mut self, durable: &mut Workflow, next: &Workflow, crash_after: bool) -> Result<(), Crash> {
        let last = self.writes_left == 0;
        if last && !crash_after {
            return Err(Crash);
        }
        *durable = next.clone();
        self.writes_left = self.writes_left.saturating_sub(1);
        if last { Err(Crash) } else { Ok(()) }
    }

    fn carry_out(&mut self, workflow: &Workflow, due: Due) -> Outcome {
        let record = &workflow.steps[due.index];
        assert_ne!(record.state, StepState::Waiting, "nothing is done before it is recorded as begun");
        let thing = record.step.to_string();
        match due.direction {
            Direction::Act if self.failing == Some(due.index) => {
                // It has done half of its work by then.
                self.things.insert(thing);
                Outcome::Failed("no".to_owned())
            }
            Direction::Act => {
                self.things.insert(thing);
                Outcome::DONE
            }
            Direction::Undo => {
                self.things.remove(&thing);
                Outcome::DONE
            }
        }
    }

    /// Works until the end, or until the process dies.
    fn work(&mut self, durable: &mut Workflow, crash_after: bool) -> Result<(), Crash> {
        loop {
            let mut next = durable.clone();
            let due = next.due();
            if due.is_empty() {
                return Ok(());
            }
            next.begin(&due, NOW);
            if next != *durable {
                self.write(durable, &next, crash_after)?;
            }
            // Each twice: the second time finds it done.
            for due in &due {
                self.carry_out(&next, *due);
            }
            let outcomes = due.iter().map(|due| (*due, self.carry_out(&next, *due))).collect();
            next.settle(outcomes, NOW);
            self.write(durable, &next, crash_after)?;
        }
    }
}

/// Fails at `failing`, crashes at write `crash_at`, resumes, and says what is left.
fn story(vms: u128, failing: Option<usize>, crash_at: usize, crash_after: bool) -> (World, Workflow) {
    let mut durable = drain(vms);
    let mut world = World { things: BTreeSet::new(), writes_left: crash_at, failing };
    if world.work(&mut durable, crash_after) == Err(Crash) {
        world.writes_left = usize::MAX;
        world.work(&mut durable, crash_after).unwrap();
    }
    (world, durable)
}

#[test]
fn every_step_fails_in_turn_and_nothing_is_left() {
    let steps = drain(6).steps.len();
    for crash_after in [false, true] {
        for crash_at in 0..2 * steps + 2 {
            for failing in 0..steps {
                let (world, workflow) = story(6, Some(failing), crash_at, crash_after);
                assert_eq!(workflow.state, WorkflowState::Undone, "step {failing}, write {crash_at}");
                assert!(world.things.is_empty(), "step {failing}, write {crash_at}: {:?}", world.things);
            }
            let (world, workflow) = story(6, None, crash_at, crash_after);
            assert_eq!(
                (workflow.state, world.things.len()),
                (WorkflowState::Done, steps),
                "write {crash_at}"
            );
        }
    }
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::DONE),
        1 => (1..9_u128).prop_map(|number| Outcome::Done { note: None, then: vec![stop(number)] }),
        2 => Just(Outcome::NotYet { note: Some("waits".to_owned()) }),
        1 => Just(Outcome::Retry("busy".to_owned())),
        1 => Just(Outcome::Failed("no".to_owned())),
    ]
}

proptest! {
    /// Whatever comes of its steps: it never leaves an end, never begins a step while it is undone, and what it has
    /// begun it remembers.
    #[test]
    fn no_outcome_brings_it_off_its_way(
        outcomes in proptest::collection::vec(any_outcome(), 1..60),
        cancelled_at in 0..80_usize,
    ) {
        let mut workflow = drain(5);
        for (round, outcome) in outcomes.into_iter().enumerate() {
            let before = workflow.clone();
            if round == cancelled_at {
                workflow.cancel("cancelled", NOW);
            }
            let due = workflow.due();
            workflow.begin(&due, NOW);
            workflow.settle(due.into_iter().map(|due| (due, outcome.clone())).collect(), NOW);
            prop_assert!(!before.state.is_final() || workflow.state == before.state);
            prop_assert!(before.state != WorkflowState::Undoing || workflow.state != WorkflowState::Running);
            let begun = |workflow: &Workflow| {
                workflow.steps.iter().filter(|record| record.state == StepState::Begun).count()
            };
            prop_assert!(begun(&workflow) <= STEPS_AT_ONCE);
            prop_assert!(before.state != WorkflowState::Undoing || begun(&workflow) <= begun(&before));
            prop_assert_eq!(workflow.ended_at.is_some(), workflow.state.is_final());
            if workflow.state == WorkflowState::Undone {
                prop_assert!(workflow.steps.iter().all(|record| matches!(record.state, StepState::Waiting | StepState::Undone)));
            }
        }
    }
}
