//! Owns the record of one VM: one run of a configuration, from the request to the end.

use std::time::Duration;

use reeve_common::clock::Timestamp;
use reeve_common::ids::{ConfigurationName, Generation, HostId, RealmName, SetupName, VmId, VmName};
use reeve_common::vm::{DesiredVm, StopReason};
use reeve_scheduler::{Assignment, Request};
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::displacement::Displaced;
use super::vm_state::VmState;

/// How many changes of state are kept of one VM. A life has about eight; a guest that is suspended and resumed for
/// ever must not grow its record without end.
pub const HISTORY_MAX: usize = 64;

/// One run of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vm {
    /// Its identity, and its domain's UUID.
    pub id: VmId,
    /// Its name, and its domain's.
    pub name: VmName,
    /// What it is a run of; none when it was adopted.
    pub configuration: Option<ConfigurationName>,
    /// The setup it was made from, as it was called then; none when it was adopted.
    pub setup: Option<SetupName>,
    /// Its realm.
    pub realm: RealmName,
    /// Whose it is.
    pub owner: String,
    /// The owner's team.
    pub team: String,
    /// The project it is tagged with.
    pub project: Option<String>,
    /// What it needs of a host.
    pub request: Request,
    /// What its domain is made of.
    #[serde(rename = "spec")]
    pub definition: Definition,
    /// Where it is in its life.
    pub state: VmState,
    /// Why it is there, where that needs words.
    pub reason: Option<String>,
    /// Its host, once placed.
    pub host: Option<HostId>,
    /// Which of its host's devices and NUMA nodes it has.
    #[serde(default)]
    pub assignment: Assignment,
    /// The hosts it was moved away from that have not confirmed that nothing of it is left there.
    #[serde(default)]
    pub displaced_from: Vec<Displaced>,
    /// What is wished for it.
    pub wish: Wish,
    /// The version of the wish.
    pub generation: Generation,
    /// Why it ended, as far as is known before it is gone from its host.
    pub end: Option<StopReason>,
    /// It ended while it was to run, and nobody has asked for its end since.
    #[serde(default)]
    pub ended_unasked: bool,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When the guest first answered.
    pub registered_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Its life so far, oldest first.
    pub history: Vec<Transition>,
}

/// What is wished for a VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "wish")]
pub enum Wish {
    /// To run.
    Run,
    /// To stop.
    Stop {
        /// How long the guest has before it is destroyed.
        grace: Duration,
    },
    /// Not to be ours any more, and otherwise to stay as it is. Only what was adopted is released.
    Release,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// To what.
    pub state: VmState,
    /// Why, where that needs words.
    pub reason: Option<String>,
}

impl Vm {
    /// The wish as the agent is told it.
    #[must_use]
    pub fn desired(&self) -> DesiredVm {
        match &self.wish {
            Wish::Run => self.definition.desired(),
            Wish::Release => DesiredVm::Released,
            Wish::Stop { grace } => DesiredVm::Stopped { grace: *grace },
        }
    }

    /// Completes a record that was written before pools were asked for: the pools of its disks.
    pub fn complete(&mut self) {
        if self.request.pools.is_empty()
            && let Definition::Made(spec) = &self.definition
        {
            let disk = &spec.system_disk;
            self.request.pools = [disk.pool.clone(), disk.image_pool.clone()].into();
            self.request.pools.extend(spec.drives.iter().map(|drive| drive.pool.clone()));
        }
    }

    /// Whether it holds capacity on its host.
    #[must_use]
    pub const fn holds_capacity(&self) -> bool {
        self.host.is_some() && !self.state.is_final()
    }

    /// Moves to `state`, noting when and why. Nothing happens if it is there already for the same reason.
    pub fn enter(&mut self, state: VmState, reason: Option<String>, now: Timestamp) {
        if self.state == state && self.reason == reason {
            return;
        }
        self.state = state;
        self.reason.clone_from(&reason);
        if state.is_final() {
            self.ended_at = Some(now);
        }
        if self.history.len() >= HISTORY_MAX {
            // The beginning tells more than the middle of a long back and forth.
            self.history.remove(HISTORY_MAX / 2);
        }
        self.history.push(Transition { at: now, state, reason });
    }
}
