//! Owns the audit log's readers and its checkpoints: pages of it, its proof, and the signing of how long it is, which is
//! sent to agents as witnesses.
//!
//! ```text
//!   the log grows ──100 records, or 10 s──▶ checkpoint signed ──▶ store ──▶ a few connected agents
//!   an agent connects ──what it keeps──▶ compared with the log: a shorter or another log is said loudly
//! ```
//!
//! Must not: write the log's records; that is `acting`'s.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reeve_common::checkpoint::{Checkpoint, SignedCheckpoint};
use reeve_common::ids::{HostId, HostName};
use reeve_common::logging::messages;
use reeve_common::protocol::{CommandBody, ReplyBody};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Service, ServiceError};
use crate::agents::AgentHandle;
use crate::audit::{
    self, Allowance, AuditError, AuditRecord, CHECKPOINT_AFTER_TIME, CHECKPOINTS, CheckpointRecord, Finding,
    Outcome, VerificationReport, Who,
};
use crate::pki::CheckpointSigner;
use crate::records::Record;
use crate::store::{Batch, Precondition};

/// The most records of one answer: some hundred KiB.
pub const AUDIT_PAGE_MAX: usize = 500;
/// How many agents each checkpoint is sent to. The next one goes to others: in the end every host holds some.
const WITNESSES: usize = 5;
/// Checkpoints are at least so far apart, however fast the log grows.
const CHECKPOINT_PAUSE: Duration = Duration::from_secs(1);
/// How long a witness may take to write a small file and answer.
const WITNESS_PATIENCE: Duration = Duration::from_secs(5);
/// Witnesses asked at the same time.
const ASKED_AT_ONCE: usize = 64;

/// What of the audit log is in memory.
pub(super) struct AuditState {
    signer: CheckpointSigner,
    /// Marked changed with each record.
    grown: watch::Sender<()>,
    strangers: Mutex<Allowance>,
    hosts: Mutex<Allowance>,
    /// Where the next checkpoint goes to begins after this host.
    last_witness: Mutex<HostId>,
    /// What witnesses have shown to be wrong.
    contradictions: Mutex<BTreeMap<HostId, Finding>>,
}

/// What one witness keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessView {
    /// Which host.
    pub host: HostName,
    /// Its checkpoint, if it has any.
    pub held: Option<SignedCheckpoint>,
}

/// What a verification came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerification {
    /// The log, its checkpoints, and what its witnesses say against it.
    pub report: VerificationReport,
    /// The witnesses that answered.
    pub witnesses: Vec<WitnessView>,
    /// Connected hosts that did not.
    pub silent: Vec<HostName>,
}

impl AuditState {
    pub(super) fn new(signer: CheckpointSigner) -> Self {
        Self {
            signer,
            grown: watch::Sender::new(()),
            strangers: Mutex::new(Allowance::new(Duration::ZERO)),
            hosts: Mutex::new(Allowance::new(Duration::ZERO)),
            last_witness: Mutex::new(HostId(0)),
            contradictions: Mutex::new(BTreeMap::new()),
        }
    }

    /// The log has grown.
    pub(super) fn grown(&self) {
        self.grown.send_replace(());
    }

    /// Whether a refusal of this sort may be recorded so long after the service was opened; if so, how many were left out
    /// before it.
    pub(super) fn allow(&self, who: &Who, now: Duration) -> Option<u64> {
        match who {
            Who::Host { .. } => lock(&self.hosts).take(now),
            _ => lock(&self.strangers).take(now),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holds one value that is replaced at once.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(error: &AuditError) -> ServiceError {
    if error.is_retryable() {
        ServiceError::unavailable(crate::chain(error))
    } else {
        ServiceError::internal(crate::chain(error)).advise("`reeve audit verify` says what is wrong with it")
    }
}

impl Service {
    /// Records of the audit log from number `from` on, at most `count` and never more than [`AUDIT_PAGE_MAX`]; the log's
    /// size with it.
    ///
    /// # Errors
    /// [`ServiceError`] when the log cannot be read.
    pub async fn audit_records(
        &self,
        from: u64,
        count: usize,
    ) -> Result<(u64, Vec<AuditRecord>), ServiceError> {
        let head = audit::read_log_head(self.store()).await.map_err(|error| failed(&error))?;
        let records = audit::page(self.store(), from, count.min(AUDIT_PAGE_MAX)).await;
        Ok((head.size, records.map_err(|error| failed(&error))?))
    }

    /// The last records of the audit log.
    ///
    /// # Errors
    /// [`ServiceError`] when the log cannot be read.
    pub async fn last_audit_records(&self, count: usize) -> Result<(u64, Vec<AuditRecord>), ServiceError> {
        let count = count.min(AUDIT_PAGE_MAX);
        let head = audit::read_log_head(self.store()).await.map_err(|error| failed(&error))?;
        let before = u64::try_from(count).unwrap_or(u64::MAX);
        let from = head.size.saturating_sub(before).saturating_add(1);
        let records = audit::page(self.store(), from, count).await;
        Ok((head.size, records.map_err(|error| failed(&error))?))
    }

    /// The same as [`Self::audit_records`], once there is any record, or after `at_most`.
    ///
    /// # Errors
    /// [`ServiceError`] when the log cannot be read.
    pub async fn audit_records_when_there(
        &self,
        from: u64,
        count: usize,
        at_most: Duration,
    ) -> Result<(u64, Vec<AuditRecord>), ServiceError> {
        let mut grown = self.inner.audit.grown.subscribe();
        let until = tokio::time::Instant::now() + at_most;
        loop {
            grown.mark_unchanged();
            let (size, records) = self.audit_records(from, count).await?;
            if !records.is_empty() || count == 0 {
                return Ok((size, records));
            }
            // The sender lives as long as the service; time running out is an answer too.
            if tokio::time::timeout_at(until, grown.changed()).await.is_err() {
                return Ok((size, records));
            }
        }
    }

    /// Proves the audit log: its records, its checkpoints, and what every connected host keeps of it.
    ///
    /// # Errors
    /// [`ServiceError`] when the log cannot be read. What is wrong with it is in the answer.
    pub async fn verify_audit(&self) -> Result<AuditVerification, ServiceError> {
        let key = self.inner.audit.signer.key();
        let mut report = audit::verify(self.store(), Some(key)).await.map_err(|error| failed(&error))?;
        let agents = self.connected_agents();
        let (mut witnesses, mut silent) = (Vec::new(), Vec::new());
        let mut questions = JoinSet::new();
        let mut waiting = agents.into_iter();
        loop {
            while questions.len() < ASKED_AT_ONCE
                && let Some((id, host, agent)) = waiting.next()
            {
                let service = self.clone();
                questions.spawn(async move {
                    let answer = service.ask_witness(id, &agent, None).await;
                    (host, answer)
                });
            }
            match questions.join_next().await {
                Some(Ok((host, Ok(held)))) => witnesses.push(WitnessView { host, held }),
                Some(Ok((host, Err(_)))) => silent.push(host),
                Some(Err(error)) => return Err(ServiceError::internal(error.to_string())),
                None => break,
            }
        }
        witnesses.sort_by(|one, other| one.host.cmp(&other.host));
        silent.sort();
        // What was noticed of hosts that are away now counts as well.
        for finding in lock(&self.inner.audit.contradictions).values() {
            report.add(finding.clone());
        }
        Ok(AuditVerification { report, witnesses, silent })
    }

    /// Signs checkpoints as they come due and sends them to witnesses; never returns.
    pub async fn keep_checkpoints(self) {
        let mut grown = self.inner.audit.grown.subscribe();
        loop {
            match self.checkpoint_if_due().await {
                Ok(Some(signed)) => self.tell_witnesses(signed).await,
                Ok(None) => {}
                Err(error) => {
                    log::error!(MESSAGE_ID:% = messages::AUDIT_NOT_RECORDED;
                        "the audit log has no new checkpoint: {error}")
                }
            }
            tokio::time::sleep(CHECKPOINT_PAUSE).await;
            // Looked at when there is more, and when the time of a record that is there may be up.
            let _ = tokio::time::timeout(CHECKPOINT_AFTER_TIME, grown.changed()).await;
        }
    }

    /// Makes a checkpoint if one is due.
    pub(super) async fn checkpoint_if_due(&self) -> Result<Option<SignedCheckpoint>, ServiceError> {
        let store = self.store();
        let head = audit::read_log_head(store).await.map_err(|error| failed(&error))?;
        let latest = audit::latest_checkpoint(store, head).await.map_err(|error| failed(&error))?;
        let (signed, signed_at) =
            latest.map_or((0, self.inner.started_at), |latest| (latest.head().size, latest.checkpoint.at));
        let now = self.now();
        if !audit::is_due(head.size, signed, now.since(signed_at)) {
            return Ok(None);
        }
        let checkpoint = Checkpoint { head, at: now, epoch: self.inner.epoch };
        let signed = self.inner.audit.signer.sign(checkpoint);
        let text = CheckpointRecord::from(signed)
            .encode()
            .map_err(|error| ServiceError::internal(error.to_string()))?;
        let batch = Batch::new().put(CHECKPOINTS.key(&head.size), Precondition::Absent, text);
        self.store().apply(batch).await.map_err(|error| super::catalogue::store_failed(&error))?;
        Ok(Some(signed))
    }

    async fn tell_witnesses(&self, signed: SignedCheckpoint) {
        let agents = self.connected_agents();
        let after = *lock(&self.inner.audit.last_witness);
        // Those after the last one, and then those from the beginning.
        let (before, rest): (Vec<_>, Vec<_>) = agents.into_iter().partition(|(id, ..)| *id <= after);
        let chosen: Vec<_> = rest.into_iter().chain(before).take(WITNESSES).collect();
        if let Some((id, ..)) = chosen.last() {
            *lock(&self.inner.audit.last_witness) = *id;
        }
        let mut questions = JoinSet::new();
        for (id, host, agent) in chosen {
            let service = self.clone();
            questions.spawn(async move {
                if let Err(error) = service.ask_witness(id, &agent, Some(signed)).await {
                    log::info!(REEVE_HOST:% = host; "host {host} keeps no checkpoint of the audit log now: {error}");
                }
            });
        }
        while questions.join_next().await.is_some() {}
    }

    /// Asks a host that has just connected which checkpoint it keeps.
    pub(crate) async fn meet_witness(&self, host: HostId, agent: &AgentHandle) {
        if let Err(error) = self.ask_witness(host, agent, None).await {
            log::debug!(REEVE_HOST:% = self.host_label(host);
                "host {} was not asked for its checkpoint: {error}", self.host_label(host));
        }
    }

    /// Asks a witness what it keeps, giving it a checkpoint to keep or none, and compares that with the log.
    async fn ask_witness(
        &self,
        host: HostId,
        agent: &AgentHandle,
        checkpoint: Option<SignedCheckpoint>,
    ) -> Result<Option<SignedCheckpoint>, ServiceError> {
        let body = CommandBody::Witness { checkpoint };
        match agent.ask(self, body, WITNESS_PATIENCE).await? {
            ReplyBody::Witnessed { held } => {
                self.follow_witness(host, held).await?;
                Ok(held)
            }
            other => Err(ServiceError::internal(format!("it answered something else: {other:?}"))),
        }
    }

    /// Compares what a witness keeps with the log. A contradiction is said loudly and recorded once; the coordinator goes on.
    pub(super) async fn follow_witness(
        &self,
        host: HostId,
        held: Option<SignedCheckpoint>,
    ) -> Result<(), ServiceError> {
        let Some(held) = held else { return Ok(()) };
        let (store, key) = (self.store(), self.inner.audit.signer.key());
        let record = audit::record_at(store, held.head().size).await;
        // A record that cannot be read is not the one that was signed.
        let record = record.ok().flatten().map(|link| link.hash);
        // Read after the record: the log may only have grown since.
        let here = audit::read_log_head(store).await.map_err(|error| failed(&error))?;
        let name = self.host_label(host);
        let Some(finding) = audit::contradiction(&name, &held, key, here, record) else {
            lock(&self.inner.audit.contradictions).remove(&host);
            return Ok(());
        };
        let words = finding.to_string();
        let known = {
            let mut contradictions = lock(&self.inner.audit.contradictions);
            let same = |before: Finding| std::mem::discriminant(&before) == std::mem::discriminant(&finding);
            contradictions.insert(host, finding.clone()).is_some_and(same)
        };
        if !known {
            log::error!(MESSAGE_ID:% = messages::AUDIT_CONTRADICTED, REEVE_HOST:% = name;
                "the audit log is contradicted by a witness: {words}; `reeve audit verify` says more, and a log restored by \
                 mistake is found in a later backup");
            let witness = Who::Host { id: host, name: name.clone() };
            // After an old backup was restored a whole fleet may contradict; some of it in the log is enough.
            if self.inner.audit.allow(&witness, self.in_service_for()).is_some() {
                let act = self.begin_act(Who::Coordinator, "compare-witness", format!("host {name}"));
                act.end(Outcome::failed("contradicted", words)).await;
            }
        }
        Ok(())
    }

    /// What witnesses have shown to be wrong with the audit log, in words.
    pub(super) fn contradictions(&self) -> BTreeMap<HostId, String> {
        let known = lock(&self.inner.audit.contradictions);
        known.iter().map(|(host, finding)| (*host, finding.to_string())).collect()
    }

    /// How long this service has been open, on a clock that is never set.
    pub(super) fn in_service_for(&self) -> Duration {
        self.inner.clock.monotonic().saturating_duration_since(self.inner.opened)
    }

    /// Every host whose agent is connected, by number.
    fn connected_agents(&self) -> Vec<(HostId, HostName, AgentHandle)> {
        let core = self.core();
        let connected = core
            .hosts
            .iter()
            .filter_map(|(id, entry)| Some((*id, entry.kept.value.name.clone(), entry.agent.clone()?)));
        connected.collect()
    }
}

#[cfg(test)]
#[path = "auditing_tests.rs"]
mod tests;
