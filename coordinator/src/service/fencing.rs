//! Owns the fencing of hosts: it is asked for, recorded, carried out, believed or not, and over when the host returns.
//!
//! A host counts as off only when the record that says so is durable, and no longer from the moment its agent connects:
//! that is made durable too before the agent hears anything. A fence command that says "off" is not believed while the
//! host's agent answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_common::ids::{HostId, HostName, OperationId};
use reeve_common::logging::messages;
use reeve_common::mutation::Mutation;

use super::core::{Core, HostEntry, Kept};
use super::{Act, Actor, Service, ServiceError};
use crate::agents::AgentHandle;
use crate::audit::Who;
use crate::config::{FenceMeans, OptionValue};
use crate::fencing::{self, FenceAction};
use crate::model::fence::{Ended, Fence, FenceState, Verdict};
use crate::records::{FENCE_COUNTER, Record, fence_key};
use crate::store::{Batch, Precondition, next_id};

/// Fencings of one host that are remembered, the latest: what happened in a bad night.
pub(super) const FENCES_KEPT: usize = 8;
/// How long the agent of a host that is said to be off has to answer. A live one answers within milliseconds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);

/// What would be done to fence a host, and whether it can be asked.
#[derive(Debug, Clone)]
pub struct FenceTrial {
    /// The host.
    pub host: HostName,
    /// The command.
    pub command: String,
    /// How long each of its runs may take.
    pub timeout: Duration,
    /// What it is told, with secrets left out.
    pub options: BTreeMap<String, String>,
    /// Whether the host is on, as far as the command can say.
    pub is_on: Option<bool>,
    /// Why it cannot say.
    pub problem: Option<String>,
    /// The end of what it wrote.
    pub output: String,
}

impl Service {
    /// Begins to fence a host; how far it is, is in its latest fencing.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, no command to fence it, or one is running already.
    pub async fn begin_fence(&self, name: &HostName, by: &str) -> Result<Fence, ServiceError> {
        let host = self.host_id(name)?;
        let (fence, means) = self.request_fence(host, by).await?;
        let (service, requested) = (self.clone(), fence.clone());
        tokio::spawn(async move { service.carry_out_fence(requested, &means).await });
        Ok(fence)
    }

    /// Fences a host and waits for the outcome. The fencing goes on when nobody waits any more.
    ///
    /// # Errors
    /// As [`Service::begin_fence`].
    pub async fn fence(&self, host: HostId, by: &str) -> Result<Fence, ServiceError> {
        let (fence, means) = self.request_fence(host, by).await?;
        let service = self.clone();
        let carried_out = tokio::spawn(async move { service.carry_out_fence(fence, &means).await });
        carried_out.await.map_err(|error| ServiceError::internal(error.to_string()))
    }

    /// Whether a host can be fenced by a command.
    #[must_use]
    pub fn can_be_fenced(&self, host: HostId) -> bool {
        let config = self.config();
        self.core().hosts.get(&host).is_some_and(|entry| means_of(entry, &config).is_some())
    }

    /// Asks the fence command for a host's status, and says what would be done; nothing is switched off.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, or no command to fence it.
    pub async fn try_fence(&self, name: &HostName) -> Result<FenceTrial, ServiceError> {
        let host = self.host_id(name)?;
        let means = self.means_to_fence(host)?;
        let run = self.inner.fence_commands.run(&means, name, FenceAction::Status).await;
        let (is_on, problem) = match run.ended {
            Ended::Exit(0) => (Some(true), None),
            Ended::Exit(2) => (Some(false), None),
            Ended::Exit(status) => (None, Some(format!("`status` failed with exit status {status}"))),
            Ended::Signal => (None, Some("`status` was ended by a signal".to_owned())),
            Ended::TimedOut => (None, Some("`status` did not end within its time limit".to_owned())),
            Ended::NotStarted(why) => (None, Some(why)),
        };
        let shown = |(option, value): (&String, &OptionValue)| {
            let value = match value {
                OptionValue::Text(_) if fencing::is_secret(option) => "(not shown)".to_owned(),
                OptionValue::Text(text) => text.clone(),
                OptionValue::File(path) => format!("(from {})", path.display()),
            };
            (option.clone(), value)
        };
        Ok(FenceTrial {
            host: name.clone(),
            command: means.command.display().to_string(),
            timeout: means.timeout,
            options: means.options.iter().map(shown).collect(),
            is_on,
            problem,
            output: run.output,
        })
    }

    /// A person states that a host is off. It is recorded as their statement; an agent that answers disproves it.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, or its agent answers.
    pub async fn confirm_off(&self, name: &HostName, actor: &Actor) -> Result<Fence, ServiceError> {
        let host = self.host_id(name)?;
        log::warn!(MESSAGE_ID:% = messages::HOST_CONFIRMED_OFF, REEVE_HOST:% = name, REEVE_OPERATOR:% = actor.name;
            "{} states that host {name} is off: its VMs may be started elsewhere from now on", actor.name);
        let fence = self.record_request(host, &actor.name, None).await?;
        let fence = self.conclude_fence(fence, Verdict::Off).await;
        match fence.state {
            FenceState::Off => Ok(fence),
            FenceState::NotBelieved => {
                Err(ServiceError::conflict(format!("host {name} is not off: its agent answers"))
                    .advise("look at the machine again; `reeve host list` shows which hosts are connected"))
            }
            _ => Err(ServiceError::unavailable(fence.reason.unwrap_or_default()).advise("try again")),
        }
    }

    /// A host's agent has connected: whatever was proved of it is over, durably. `instance` is this life of the agent.
    ///
    /// # Errors
    /// [`ServiceError`] when that cannot be recorded; the agent must not be told anything then.
    pub(crate) async fn end_proofs(&self, host: HostId, instance: OperationId) -> Result<(), ServiceError> {
        if !self.may_be_proved(host) || Mutation::KeepProofOnReturn.is_active() {
            return Ok(());
        }
        // Whoever is writing at this moment that the host is off has finished when this is ours.
        let _writer = self.inner.catalogue_writer.lock().await;
        for fence in self.proofs(host) {
            let same_life = fence.instance == Some(instance);
            let name = fence.host_name.clone();
            if same_life {
                log::error!(MESSAGE_ID:% = messages::FENCE_NOT_BELIEVED, REEVE_HOST:% = name;
                    "host {name} was said to be off by {}, and was not: its agent has run on. VMs that were started elsewhere \
                     meanwhile may have run twice; mend what fences this host before it is trusted again",
                    fence.command.as_deref().unwrap_or(&fence.requested_by));
            }
            self.save_fence(&fence.returned(same_life, self.now())).await?;
        }
        Ok(())
    }

    /// Whether a fencing of the host proves something, or may be on its way to.
    fn may_be_proved(&self, host: HostId) -> bool {
        let core = self.core();
        let fences = core.hosts.get(&host).map(|entry| entry.fences.as_slice()).unwrap_or_default();
        fences.iter().any(|kept| kept.value.is_proof() || !kept.value.state.is_final())
    }

    fn proofs(&self, host: HostId) -> Vec<Fence> {
        let core = self.core();
        let fences = core.hosts.get(&host).map(|entry| entry.fences.as_slice()).unwrap_or_default();
        fences.iter().map(|kept| Fence::clone(&kept.value)).filter(Fence::is_proof).collect()
    }

    fn means_to_fence(&self, host: HostId) -> Result<FenceMeans, ServiceError> {
        let config = self.config();
        let core = self.core();
        let entry =
            core.hosts.get(&host).ok_or_else(|| ServiceError::not_found("host", host, "reeve host list"))?;
        let name = &entry.kept.value.name;
        means_of(entry, &config).ok_or_else(|| {
            ServiceError::conflict(format!("realm {} does not say how host {name} is fenced", entry.kept.value.realm))
                .advise(format!(
                    "write `fence {{ hosts {{ {name} {{ … }} }} }}` in the realm's file; or switch it off by hand, and state that with `reeve host confirm-off {name}`"
                ))
        })
    }

    async fn request_fence(&self, host: HostId, by: &str) -> Result<(Fence, FenceMeans), ServiceError> {
        let means = self.means_to_fence(host)?;
        let command = means.command.display().to_string();
        Ok((self.record_request(host, by, Some(command)).await?, means))
    }

    async fn record_request(
        &self,
        host: HostId,
        by: &str,
        command: Option<String>,
    ) -> Result<Fence, ServiceError> {
        let number = next_id(self.store(), FENCE_COUNTER)
            .await
            .map_err(|error| ServiceError::internal(crate::chain(&error)))?;
        let _writer = self.inner.catalogue_writer.lock().await;
        let fence = {
            let core = self.core();
            let entry = core
                .hosts
                .get(&host)
                .ok_or_else(|| ServiceError::not_found("host", host, "reeve host list"))?;
            let name = &entry.kept.value.name;
            if let Some(latest) = entry.fences.last().filter(|latest| !latest.value.state.is_final()) {
                return Err(ServiceError::conflict(format!(
                    "host {name} is being fenced already, asked for by {}",
                    latest.value.requested_by
                ))
                .advise(format!("`reeve host show {name}` says how far it is")));
            }
            Fence {
                number,
                host,
                host_name: name.clone(),
                requested_at: self.now(),
                requested_by: by.to_owned(),
                command,
                instance: entry.instance,
                state: FenceState::Requested,
                reason: None,
                attempts: 0,
                ended_at: None,
                output: String::new(),
                returned_at: None,
            }
        };
        self.save_fence(&fence).await?;
        Ok(fence)
    }

    async fn carry_out_fence(&self, mut fence: Fence, means: &FenceMeans) -> Fence {
        let name = fence.host_name.clone();
        log::warn!(MESSAGE_ID:% = messages::FENCING_BEGUN, REEVE_HOST:% = name;
            "host {name} is being fenced with {}, asked for by {}",
            means.command.display(), fence.requested_by);
        fence.state = FenceState::Running;
        {
            let _writer = self.inner.catalogue_writer.lock().await;
            if let Err(error) = self.save_fence(&fence).await {
                log::error!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_HOST:% = name;
                    "the fencing of host {name} is not begun: it cannot be recorded: {error}");
                return self.forget_end(fence, &error);
            }
        }
        let done = fencing::switch_off(self.inner.fence_commands.as_ref(), means, &name).await;
        fence.attempts = done.attempts;
        fence.output = done.output;
        let fence = self.conclude_fence(fence, done.verdict).await;
        match fence.state {
            FenceState::Off => {
                log::warn!(MESSAGE_ID:% = messages::HOST_FENCED, REEVE_HOST:% = name;
                    "host {name} is off: it was fenced")
            }
            state => {
                log::error!(MESSAGE_ID:% = messages::FENCING_FAILED, REEVE_HOST:% = name;
                    "host {name} was not fenced ({}): {}. What ran there stays there",
                state.as_str(), fence.reason.as_deref().unwrap_or("no reason is known"))
            }
        }
        fence
    }

    /// Makes durable what a fencing has come to. *Off* is believed unless the host's agent answers.
    async fn conclude_fence(&self, fence: Fence, verdict: Verdict) -> Fence {
        let host = fence.host;
        loop {
            let asked = self.agent_of(host);
            let answers = match &asked {
                _ if Mutation::BelieveOffThoughItAnswers.is_active() => false,
                Some(agent) if verdict == Verdict::Off => agent.answers(self, ANSWER_PATIENCE).await,
                _ => false,
            };
            let _writer = self.inner.catalogue_writer.lock().await;
            let connection = |agent: Option<&AgentHandle>| agent.map(AgentHandle::connection);
            let now_connected = self.agent_of(host);
            if verdict == Verdict::Off
                && !answers
                && connection(now_connected.as_ref()) != connection(asked.as_ref())
            {
                continue; // it has connected meanwhile: it must be asked again
            }
            let now = self.now();
            let ended = match &verdict {
                Verdict::Off if answers => {
                    let why = "it is said to be off, and its agent answers".to_owned();
                    fence.clone().ended(FenceState::NotBelieved, Some(why), now)
                }
                Verdict::Off => fence.clone().ended(FenceState::Off, None, now),
                Verdict::Failed(why) => fence.clone().ended(FenceState::Failed, Some(why.clone()), now),
                Verdict::Unknown(why) => fence.clone().ended(FenceState::Unknown, Some(why.clone()), now),
            };
            if let Err(error) = self.save_fence(&ended).await {
                log::error!(MESSAGE_ID:% = messages::NOT_RECORDED, REEVE_HOST:% = fence.host_name;
                    "what the fencing of host {} has come to cannot be recorded: {error}",
                    fence.host_name);
                return self.forget_end(fence, &error);
            }
            if ended.state == FenceState::Off {
                self.take_for_off(&ended, asked);
            }
            return ended;
        }
    }

    /// Cuts the connection of a host that is off, and tells the scheduler and whoever waits for a proof.
    fn take_for_off(&self, fence: &Fence, agent: Option<AgentHandle>) {
        if let Some(agent) = agent {
            agent.hang_up("this host is off, as its fence command says");
            self.agent_disconnected(fence.host, agent.connection(), Duration::ZERO, "it was fenced");
        }
        if let Some(entry) = self.core().hosts.get_mut(&fence.host) {
            entry.life.see_off(fence.ended_at.unwrap_or(fence.requested_at), &fence.requested_by);
        }
        self.describe_host(fence.host);
        self.inner.fleet_changed.notify_one();
    }

    /// A fencing whose end cannot be recorded proves nothing, and does not stand in the way of the next.
    fn forget_end(&self, fence: Fence, error: &ServiceError) -> Fence {
        let why = format!("its end could not be recorded: {}", error.message);
        let ended = fence.ended(FenceState::Unknown, Some(why), self.now());
        let mut core = self.core();
        let fences = core.hosts.get_mut(&ended.host).map(|entry| &mut entry.fences);
        let kept = fences.and_then(|fences| fences.iter_mut().find(|kept| kept.value.number == ended.number));
        if let Some(kept) = kept {
            kept.value = Arc::new(ended.clone());
        }
        ended
    }

    /// Forgets the fencings of a host that is deleted. What cannot be removed is in nobody's way.
    pub(super) async fn remove_fences(&self, fences: &[Kept<Fence>]) {
        let keys = fences.iter().filter_map(|kept| Some((fence_key(&kept.value).ok()?, kept.version)));
        let batch =
            keys.fold(Batch::new(), |batch, (key, version)| batch.delete(key, Precondition::At(version)));
        if !fences.is_empty()
            && let Err(error) = self.write(batch).await
        {
            log::warn!("the fencings of a deleted host stay in the store: {error}");
        }
    }

    /// Makes a fencing's record durable as it is now, and drops the oldest. The caller holds the writers' lock.
    async fn save_fence(&self, fence: &Fence) -> Result<(), ServiceError> {
        let internal = |error: &dyn std::error::Error| ServiceError::internal(crate::chain(error));
        let text = fence.encode().map_err(|error| internal(&error))?;
        let key = fence_key(fence).map_err(|error| internal(&error))?;
        let before: Vec<Kept<Fence>> = {
            let core = self.core();
            core.hosts.get(&fence.host).map(|entry| entry.fences.clone()).unwrap_or_default()
        };
        let version = before.iter().find(|kept| kept.value.number == fence.number).map(|kept| kept.version);
        let precondition = version.map_or(Precondition::Absent, Precondition::At);
        let mut batch = Batch::new().put(key, precondition, text);
        let excess = if version.is_none() { (before.len() + 1).saturating_sub(FENCES_KEPT) } else { 0 };
        for oldest in before.iter().take(excess) {
            let key = fence_key(&oldest.value).map_err(|error| internal(&error))?;
            batch = batch.delete(key, Precondition::At(oldest.version));
        }
        // What is begun by somebody's wish is their act; how it ends is the coordinator's own finding.
        let act = Act::current().unwrap_or_else(|| {
            let object = format!("host {}: {}", self.host_label(fence.host), fence.state.as_str());
            self.begin_act(Who::Coordinator, "fence-host", object)
        });
        let version = act.scope(self.write(batch)).await?;
        let kept = Kept { version, value: Arc::new(fence.clone()) };
        if let Some(entry) = self.core().hosts.get_mut(&fence.host) {
            entry.fences.drain(..excess);
            match entry.fences.iter_mut().find(|kept| kept.value.number == fence.number) {
                Some(before) => *before = kept,
                None => entry.fences.push(kept),
            }
        }
        Ok(())
    }
}

pub(super) fn means_of(entry: &HostEntry, config: &crate::config::CoordinatorConfig) -> Option<FenceMeans> {
    let host = &entry.kept.value;
    config.realms.get(&host.realm)?.fence.as_ref()?.means(&host.name).cloned()
}

/// Takes a stored fencing into memory, as a coordinator that starts anew must see it.
pub(super) fn take_in(core: &mut Core, kept: &Kept<Fence>, now: reeve_common::clock::Timestamp) {
    let Some(entry) = core.hosts.get_mut(&kept.value.host) else { return };
    let fence = Fence::clone(&kept.value).found(now);
    if fence.is_proof() {
        entry.life.see_off(fence.ended_at.unwrap_or(fence.requested_at), &fence.requested_by);
    }
    entry.fences.push(Kept { version: kept.version, value: Arc::new(fence) });
}

#[cfg(test)]
#[path = "fencing_tests.rs"]
mod tests;
