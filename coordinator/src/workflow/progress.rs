//! Owns how a workflow goes on: which steps are due, and what their outcomes make of it. Pure: a record and an outcome
//! in, the next record out.

use reeve_common::clock::Timestamp;

use super::{Step, StepRecord, StepState, Workflow, WorkflowState};

/// How many steps that may overlap are under way at once: VMs that shut down together write together, and a host has one
/// disk; and few enough that a drain that is cancelled has stopped little too much.
pub const STEPS_AT_ONCE: usize = 4;

/// How many steps a workflow may have: its record must stay below what a store takes in one batch (1 MiB).
pub const STEPS_MAX: usize = 2000;

/// How often an undo is tried before a person must look. It is tried each second, so a store that is full for a moment
/// is outlasted.
pub const UNDO_ATTEMPTS_MAX: u32 = 60;

/// Which way a step is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Its action.
    Act,
    /// Its undo.
    Undo,
}

/// A step that is to be carried out now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its place among the steps.
    pub index: usize,
    /// Its action or its undo.
    pub direction: Direction,
}

/// What came of an action or an undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be.
    Done {
        /// What is worth telling of it.
        note: Option<String>,
        /// What is to be done next, before all that follows.
        then: Vec<Step>,
    },
    /// It is on its way; ask again when something has changed.
    NotYet {
        /// What it waits for.
        note: Option<String>,
    },
    /// It could not be done now, and may be done later.
    Retry(String),
    /// It can never be done.
    Failed(String),
}

impl Outcome {
    /// Done, with nothing to tell and nothing to follow.
    pub const DONE: Self = Self::Done { note: None, then: Vec::new() };
}

impl Workflow {
    /// The steps that are to be carried out now: in order, those that may overlap together, at most
    /// [`STEPS_AT_ONCE`]; when it is undone, the latest alone.
    #[must_use]
    pub fn due(&self) -> Vec<Due> {
        match self.state {
            WorkflowState::Running => self.due_actions(),
            WorkflowState::Undoing => {
                let touched =
                    |record: &StepRecord| matches!(record.state, StepState::Begun | StepState::Done);
                let latest = self.steps.iter().rposition(touched);
                latest.map(|index| Due { index, direction: Direction::Undo }).into_iter().collect()
            }
            WorkflowState::Done | WorkflowState::Undone | WorkflowState::Stuck => Vec::new(),
        }
    }

    fn due_actions(&self) -> Vec<Due> {
        let mut due = Vec::new();
        let steps = self.steps.iter().enumerate();
        for (index, record) in steps.filter(|(_, record)| record.state != StepState::Done) {
            let alone = !record.step.may_overlap();
            if due.len() >= STEPS_AT_ONCE || (alone && !due.is_empty()) {
                break;
            }
            due.push(Due { index, direction: Direction::Act });
            if alone {
                break;
            }
        }
        due
    }

    /// Notes that these steps are about to be carried out. This is made durable before anything is done.
    pub fn begin(&mut self, due: &[Due], now: Timestamp) {
        for Due { index, .. } in due {
            if let Some(record) = self.steps.get_mut(*index)
                && record.state == StepState::Waiting
            {
                record.state = StepState::Begun;
                record.begun_at = Some(now);
            }
        }
    }

    /// Takes in what came of the steps that were due, whatever their order.
    pub fn settle(&mut self, mut outcomes: Vec<(Due, Outcome)>, now: Timestamp) {
        // From the end, so that what is inserted moves none that is still to be settled.
        outcomes.sort_by_key(|(due, _)| std::cmp::Reverse(due.index));
        for (due, outcome) in outcomes {
            match due.direction {
                Direction::Act => self.acted(due.index, outcome),
                Direction::Undo => self.undone(due.index, outcome),
            }
        }
        if self.state == WorkflowState::Running
            && self.steps.iter().all(|record| record.state == StepState::Done)
        {
            self.end(WorkflowState::Done, now);
        }
        if self.state == WorkflowState::Undoing && self.due().is_empty() {
            self.end(WorkflowState::Undone, now);
        }
    }

    /// Turns it round: what was begun is undone, what was not is left. One that is stuck is tried again. Says whether
    /// that changes anything.
    pub fn cancel(&mut self, why: &str, now: Timestamp) -> bool {
        match self.state {
            WorkflowState::Running => self.problem = Some(why.to_owned()),
            WorkflowState::Stuck => self.steps.iter_mut().for_each(|record| record.attempts = 0),
            WorkflowState::Undoing | WorkflowState::Done | WorkflowState::Undone => return false,
        }
        self.state = WorkflowState::Undoing;
        self.settle(Vec::new(), now);
        true
    }

    fn acted(&mut self, index: usize, outcome: Outcome) {
        let room = STEPS_MAX.saturating_sub(self.steps.len());
        let Some(record) = self.steps.get_mut(index) else { return };
        match outcome {
            Outcome::Done { then, .. } if then.len() > room => {
                self.turn_round(format!("it would have more than {STEPS_MAX} steps"));
            }
            Outcome::Done { note, then } => {
                record.state = StepState::Done;
                record.note = note;
                let after = index + 1;
                self.steps.splice(after..after, then.into_iter().map(StepRecord::new));
            }
            Outcome::NotYet { note } => record.note = note,
            Outcome::Retry(why) => record.note = Some(why),
            Outcome::Failed(why) => {
                record.note = Some(why.clone());
                self.turn_round(why);
            }
        }
    }

    fn turn_round(&mut self, why: String) {
        if self.state == WorkflowState::Running {
            self.state = WorkflowState::Undoing;
            self.problem = Some(why);
        }
    }

    fn undone(&mut self, index: usize, outcome: Outcome) {
        let Some(record) = self.steps.get_mut(index) else { return };
        match outcome {
            Outcome::Done { note, .. } => {
                record.state = StepState::Undone;
                record.note = note;
            }
            Outcome::NotYet { note } => record.note = note,
            Outcome::Retry(why) => {
                record.attempts = record.attempts.saturating_add(1);
                record.note = Some(why.clone());
                if record.attempts >= UNDO_ATTEMPTS_MAX {
                    self.state = WorkflowState::Stuck;
                    self.problem = Some(format!("it cannot be undone: {why}"));
                }
            }
            Outcome::Failed(why) => {
                record.note = Some(why.clone());
                self.state = WorkflowState::Stuck;
                self.problem = Some(format!("it cannot be undone: {why}"));
            }
        }
    }

    fn end(&mut self, state: WorkflowState, now: Timestamp) {
        self.state = state;
        self.ended_at = Some(now);
    }
}
