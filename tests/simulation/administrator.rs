//! Owns whoever looks after the simulated hosts: takes them out of placement, empties them, says that they are off, has
//! them fenced, adds and removes them, and restarts what was on them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reeve_common::clock::{Clock as _, Timestamp};
use reeve_common::ids::{HostId, HostName, ProfileName};
use reeve_common::tls::JoinLine;
use reeve_coordinator::model::host::NewHost;
use reeve_coordinator::pki::TokenBook as _;
use reeve_coordinator::service::StoredTokens;
use reeve_scheduler::HostState;

use super::coordinator::Office;
use super::estate::realm;
use super::machine::Machine;
use super::trace::Place;
use super::user::{User, actor};

/// How long a join line is good for.
const LINE_LIVES: Duration = Duration::from_secs(600);

/// What is done to a host by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostCare {
    /// It is taken out of placement, or taken back.
    Schedule(bool),
    /// It is emptied.
    Drain,
    /// That is cancelled.
    CancelDrain,
    /// It may be chosen again after it was emptied.
    Undrain,
    /// It is fenced.
    Fence,
    /// Somebody states that it is off: they have looked, or believe so.
    ConfirmOff,
    /// It is removed.
    Remove,
}

impl User {
    /// Does something to a host.
    ///
    /// # Errors
    /// Never.
    pub async fn care_for(self: Arc<Self>, machine: Arc<Machine>, care: HostCare) -> Result<()> {
        let Some(office) = self.office().await else { return Ok(()) };
        let (name, by, service) = (machine.name.clone(), actor(), office.service.clone());
        match care {
            HostCare::Schedule(schedule) => {
                let state = if schedule { HostState::Enabled } else { HostState::NoScheduler };
                self.trace.tell(Place::User, "sets a host", format!("{name} {state}"));
                self.answer(&office, "the host's state", service.set_host_state(&name, state, &by)).await;
            }
            HostCare::Drain => {
                self.trace.tell(Place::User, "empties a host", name.to_string());
                self.checker.drain(machine.host);
                self.answer(&office, "the drain", service.drain_host(&name, None, &by)).await;
            }
            HostCare::CancelDrain => {
                self.trace.tell(Place::User, "cancels a drain", name.to_string());
                self.answer(&office, "the cancelling", service.cancel_drain(&name, &by)).await;
            }
            HostCare::Undrain => {
                self.trace.tell(Place::User, "opens a host", name.to_string());
                self.answer(&office, "the opening", service.undrain_host(&name, &by)).await;
            }
            HostCare::Fence => {
                self.trace.tell(Place::User, "fences a host", name.to_string());
                self.answer(&office, "the fencing", service.begin_fence(&name, "ann")).await;
            }
            HostCare::ConfirmOff => {
                self.trace.tell(Place::User, "states that a host is off", name.to_string());
                if machine.is_powered() {
                    machine.lied_about(office.number);
                }
                self.answer(&office, "the statement", service.confirm_off(&name, &by)).await;
            }
            HostCare::Remove => {
                self.trace.tell(Place::User, "removes a host", name.to_string());
                self.answer(&office, "the removal", service.delete_host(&name, &by)).await;
            }
        }
        Ok(())
    }

    /// Restarts a VM of a lost host elsewhere.
    pub async fn restart_elsewhere(self: Arc<Self>, pick: u64) {
        let Some(office) = self.office().await else { return };
        let Some(vm) = self.known(pick) else { return };
        self.trace.note(Place::User, "restarts elsewhere", Some(vm));
        let by = actor();
        self.answer(&office, "the restart", office.service.restart_elsewhere(&vm, &by)).await;
    }

    /// Adds a host, whose machine joins. Answers its number; none when nobody has said it.
    ///
    /// # Errors
    /// The join line cannot be read.
    pub async fn add_host(self: Arc<Self>, name: HostName) -> Result<Option<HostId>> {
        let Some(office) = self.office().await else { return Ok(None) };
        self.trace.tell(Place::User, "adds a host", name.to_string());
        let new = NewHost {
            name: name.clone(),
            realm: realm()?,
            uri: "simulated:///".to_owned(),
            profile: ProfileName::new("node")?,
            state: HostState::Enabled,
            labels: std::collections::BTreeMap::new(),
        };
        let by = actor();
        let added = self.answer(&office, "the new host", office.service.add_host(new, &by)).await;
        let Some(view) = added else { return Ok(None) };
        let line = office.service.create_join_token(&name, LINE_LIVES, &by);
        let Some(token) = self.answer(&office, "the join line", line).await else { return Ok(None) };
        let joined = join(&office, &token.line, self.succession.current().clock.now()).await?;
        Ok(joined.then_some(view.host.id))
    }
}

/// Whether a machine has joined with this line.
async fn join(office: &Office, line: &str, now: Timestamp) -> Result<bool> {
    let line: JoinLine = line.parse().context("reading a join line")?;
    let tokens = StoredTokens(office.service.clone());
    let redeemed = tokens.redeem(line.secret.hash(), now);
    tokio::select! {
        biased;
        () = office.death() => Ok(false),
        redeemed = redeemed => Ok(redeemed.is_ok()),
    }
}
