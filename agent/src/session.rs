//! Owns the conversation with the coordinator: dialling, greeting, handing commands to the host and its news to the
//! coordinator, and dialling again when the connection ends.
//!
//! ```text
//!            ┌──────── back-off, grown by failures, varied by chance ◀───────┐
//!            ▼                                                               │
//!          dial ── refused for good ─▶ said clearly, tried again seldom ─────┤
//!            │ welcome                                                       │
//!            ▼                                                               │
//!      epoch behind ours? ── yes ─▶ closed: a deposed coordinator ───────────┤
//!            │ no                                                            │
//!            ▼                                                               │
//!   full report first, then: commands in, replies, events and samples out ───┘ the connection ended
//! ```
//!
//! Must not: keep VMs; they go on untouched whether there is a coordinator or not.

use std::sync::Arc;
use std::time::Duration;

use reeve_common::clock::Clock;
use reeve_common::ids::{HostId, HostName, OperationId, RealmName};
use reeve_common::logging::{Message, messages};
use reeve_common::protocol::{
    AgentRequest, Command, CommandBody, Event, Hello, Refusal, Reply, ReplyBody, Welcome,
};
use reeve_common::quic::{DIALLING_PATIENCE_MIN, DIALLING_TIMEOUT};
use reeve_common::text::chain;
use reeve_common::tls::TlsRefusal;
use reeve_common::wire::agent_end::ConnectError;
use reeve_common::wire::{CloseReason, LinkError, RefusalCode};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::back_off::BackOff;
use crate::coordinator_link::{CoordinatorDial, CoordinatorLink, CoordinatorVoice};
use crate::host::Host;
use crate::inventory::InventorySource;
use crate::outbox::Due;
use crate::sampler::SampleSource;

/// The first pause before dialling again: a coordinator that was restarted is back within a second or two.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// The longest pause while the coordinator does not answer: a host should be back soon after it does.
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The pause after a refusal that somebody must do something about first. A removed host's agent does no harm.
const REFUSED_RETRY: Duration = Duration::from_secs(60);

/// How long the first attempt waits for a welcome.
const DIAL_PATIENCE_FIRST: Duration = DIALLING_PATIENCE_MIN;

/// How long later attempts wait: not for ever, for the same reason, and longer than a coordinator needs that is only slow.
const DIAL_PATIENCE_MAX: Duration = Duration::from_secs(12);

/// A session that lasted this long was a success; one that ended sooner counts as a failure, so that a coordinator
/// which welcomes and drops is not dialled in a tight loop.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Commands that take their time (volumes, consoles, reports) worked on at once. More are refused as "repeat later".
const SLOW_COMMANDS_MAX: usize = 16;

/// How often it is looked whether the certificate is due: its life is hours, its last third is long.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);

/// After so many requests without an answer it is a trouble, and said so: they are [`RENEWAL_CHECK`] apart, and an answer
/// takes seconds.
const RENEWALS_UNANSWERED: u32 = 10;

/// How long the session goes on after a new certificate was installed, so that the reply gets out.
const RENEWAL_LINGER: Duration = Duration::from_secs(1);

/// How often a sample is sent before the realm's settings say so. They come with the welcome, so this is a fallback.
const SAMPLE_INTERVAL_UNTOLD: Duration = Duration::from_secs(10);

/// How the certificate that this host proves itself with is renewed.
pub trait CertificateRenewal: Send + Sync + 'static {
    /// Whether it should be renewed now.
    fn is_due(&self) -> bool;

    /// Makes a key and a signing request for it, PEM. May block for some milliseconds.
    ///
    /// # Errors
    /// A chain of errors in one line.
    fn request(&self) -> Result<String, String>;

    /// Takes over the certificate for the last request, durably. May block.
    ///
    /// # Errors
    /// A chain of errors in one line.
    fn install(&self, certificate: &str) -> Result<(), String>;
}

/// Who this agent is.
#[derive(Debug, Clone)]
pub struct AgentIdentity {
    /// The host it speaks for.
    pub host: HostId,
    /// The realm of that host.
    pub realm: RealmName,
    /// Its name.
    pub name: HostName,
    /// This life of the agent.
    pub instance: OperationId,
}

/// What a session needs.
pub struct Session<D> {
    /// How the coordinator is reached.
    pub dial: D,
    /// Who speaks.
    pub identity: AgentIdentity,
    /// The host that obeys.
    pub host: Host,
    /// What the host is.
    pub inventory: Arc<dyn InventorySource>,
    /// How busy it is.
    pub samples: Arc<dyn SampleSource>,
    /// How its certificate is renewed.
    pub certificates: Arc<dyn CertificateRenewal>,
    /// Says how long things took.
    pub clock: Arc<dyn Clock>,
    /// Chance for the pauses.
    pub seed: u64,
}

/// Why a session is over.
#[derive(Debug)]
enum End {
    /// The connection ended.
    Link(LinkError),
    /// There is a new certificate to connect with.
    Renewed,
    /// The coordinator has been succeeded, or was restored from a backup.
    StaleCoordinator(Refusal),
}

/// Whether the coordinator has said that it does not know the connection any more. It is there then, and it has just come
/// back. That is found out when the connection is kept alive, by each host of a fleet at another moment, so that nobody need
/// wait for chance to keep them apart.
const fn is_forgotten(error: &LinkError) -> bool {
    matches!(error, LinkError::Closed(CloseReason::Forgotten))
}

/// How long the first attempt waits after a session. A coordinator that has just said it forgot the connection is there,
/// with a whole fleet at its door: giving up and dialling anew would only lose the place in its line, so this waits as long
/// as the connection itself does.
const fn dial_patience_after(end: &End) -> Duration {
    match end {
        End::Link(error) if is_forgotten(error) => DIALLING_TIMEOUT,
        _ => DIAL_PATIENCE_FIRST,
    }
}

impl<D: CoordinatorDial> Session<D> {
    /// Talks to the coordinator for ever.
    pub async fn run(self) {
        let mut pauses = BackOff::new(RETRY_FIRST, RETRY_MAX, self.seed);
        let mut patience = DIAL_PATIENCE_FIRST;
        loop {
            let pause = match self.greet(patience).await {
                Ok((link, welcome)) => {
                    let began = self.clock.monotonic();
                    let end = self.converse(link, welcome).await;
                    patience = dial_patience_after(&end);
                    if self.clock.monotonic().duration_since(began) >= STABLE_AFTER {
                        pauses.reset();
                    }
                    self.pause_after(&end, &mut pauses)
                }
                Err(error) if error.is_retryable() => {
                    patience = (patience * 2).min(DIAL_PATIENCE_MAX);
                    pauses.after_failure()
                }
                Err(error) => {
                    log::error!(
                        MESSAGE_ID:% = message_of(&error), REEVE_HOST:% = self.identity.name,
                        REEVE_REALM:% = self.identity.realm;
                        "this host is not let in: {}. Its VMs run on; the agent tries again about every {} s",
                        chain(&error), REFUSED_RETRY.as_secs()
                    );
                    pauses.vary(REFUSED_RETRY)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn greet(&self, patience: Duration) -> Result<(D::Link, Welcome), ConnectError> {
        let hello = Hello {
            host: self.identity.host,
            realm: self.identity.realm.clone(),
            name: self.identity.name.clone(),
            instance: self.identity.instance,
            highest_epoch: self.host.highest_epoch(),
            inventory: self.inventory.current().await,
        };
        log::debug!(REEVE_HOST:% = self.identity.name, REEVE_REALM:% = self.identity.realm;
            "dialling the coordinator at {}", self.dial.address());
        match tokio::time::timeout(patience, self.dial.dial(hello)).await {
            Ok(result) => result,
            Err(_) => {
                log::info!(REEVE_HOST:% = self.identity.name, REEVE_REALM:% = self.identity.realm;
                    "no welcome from the coordinator at {} within {patience:?}", self.dial.address());
                let address = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
                Err(ConnectError::NoAnswer { address, seconds: patience.as_secs() })
            }
        }
    }

    fn pause_after(&self, end: &End, pauses: &mut BackOff) -> Duration {
        let (host, realm) = (&self.identity.name, &self.identity.realm);
        match end {
            End::Renewed => {
                log::info!(REEVE_HOST:% = host, REEVE_REALM:% = realm; "connecting again with the renewed certificate");
                Duration::ZERO
            }
            End::StaleCoordinator(refusal) => {
                log::error!(
                    MESSAGE_ID:% = messages::COORDINATOR_NOT_OBEYED, REEVE_HOST:% = host, REEVE_REALM:% = realm;
                    "the coordinator at {} is not obeyed: {refusal}. It has been succeeded, or was restored from an old \
                     backup; VMs run on, and the agent tries again about every {} s",
                    self.dial.address(), REFUSED_RETRY.as_secs()
                );
                pauses.vary(REFUSED_RETRY)
            }
            End::Link(LinkError::Closed(reason)) if !reason.is_retryable() => {
                log::error!(
                    MESSAGE_ID:% = messages::NOT_LET_IN, REEVE_HOST:% = host, REEVE_REALM:% = realm;
                    "the coordinator at {} sent this host away: {reason}. Its VMs run on; the agent tries again about \
                     every {} s",
                    self.dial.address(), REFUSED_RETRY.as_secs()
                );
                pauses.vary(REFUSED_RETRY)
            }
            End::Link(error) => {
                log::warn!(
                    MESSAGE_ID:% = messages::COORDINATOR_DISCONNECTED, REEVE_HOST:% = host, REEVE_REALM:% = realm;
                    "the connection to the coordinator at {} is over: {}. VMs run on; dialling again",
                    self.dial.address(), chain(error)
                );
                let dials_at_once = is_forgotten(error) && !pauses.has_failures();
                let pause = pauses.after_failure();
                if dials_at_once { Duration::ZERO } else { pause }
            }
        }
    }

    /// One connection, from the welcome to its end.
    async fn converse(&self, mut link: D::Link, welcome: Welcome) -> End {
        let voice = link.voice();
        if let Err(refusal) = self.host.take_epoch(welcome.epoch).await {
            voice.close(RefusalCode::NotInOffice, &refusal.to_string());
            return match refusal {
                Refusal::StaleEpoch { .. } => End::StaleCoordinator(refusal),
                other => {
                    log::error!(MESSAGE_ID:% = messages::STATE_NOT_WRITTEN, REEVE_HOST:% = self.identity.name, REEVE_REALM:% = self.identity.realm;
                        "the coordinator's epoch cannot be recorded: {other}");
                    End::Link(LinkError::Closed(voice.closed().await))
                }
            };
        }
        log::info!(
            MESSAGE_ID:% = messages::COORDINATOR_CONNECTED, REEVE_HOST:% = self.identity.name, REEVE_REALM:% = self.identity.realm;
            "connected to the coordinator at {} (epoch {})", self.dial.address(), welcome.epoch
        );
        self.host.configure(welcome.realm);
        self.host.ask_for_lease();
        self.host.outbox().report_due();
        tokio::select! {
            biased;
            end = self.take_commands(&mut link, &voice) => end,
            error = self.tell_events(&voice) => End::Link(error),
            error = self.offer_samples(&voice) => End::Link(error),
            never = self.renew_certificate() => never,
            reason = voice.closed() => End::Link(LinkError::Closed(reason)),
        }
    }

    /// Hands commands to the host. Wishes are judged one after the other, in the order in which they came; what takes
    /// its time is worked on beside them.
    async fn take_commands(&self, link: &mut D::Link, voice: &<D::Link as CoordinatorLink>::Voice) -> End {
        let places = Arc::new(Semaphore::new(SLOW_COMMANDS_MAX));
        let mut slow_ones = JoinSet::new();
        loop {
            let command = match link.next_command().await {
                Ok(command) => command,
                Err(error) => return End::Link(error),
            };
            // Finished ones are only cleared away; each has sent its reply itself.
            while slow_ones.try_join_next().is_some() {}
            // One that comes again was installed, and connected with, before.
            let installs = matches!(command.body, CommandBody::InstallCertificate { .. });
            let repeated = self.host.has_begun(command.operation);
            let reply = if installs {
                self.install_certificate(command).await
            } else if is_slow(&command.body) {
                let operation = command.operation;
                match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let (host, voice) = (self.host.clone(), voice.clone());
                        slow_ones.spawn(async move {
                            let reply = host.answer(command).await;
                            // A connection that ended is noticed by whoever reads from it.
                            let _ = voice.reply(reply).await;
                            drop(place);
                        });
                        continue;
                    }
                    Err(_) => busy(operation),
                }
            } else {
                self.host.answer(command).await
            };
            let installed = installs && !repeated && reply.outcome.is_ok();
            if let Err(error) = voice.reply(reply).await {
                return End::Link(error);
            }
            if installed {
                tokio::time::sleep(RENEWAL_LINGER).await;
                voice.close(RefusalCode::Finished, "connecting again with the renewed certificate");
                return End::Renewed;
            }
        }
    }

    async fn tell_events(&self, voice: &<D::Link as CoordinatorLink>::Voice) -> LinkError {
        loop {
            let event = match self.host.outbox().next().await {
                Due::Report => Event::Report(self.host.due_report()),
                Due::Hypervisor(reachable) => Event::Hypervisor { reachable },
                Due::Vm(observation) => Event::Vm(observation),
                Due::Request(request) => Event::Request(request),
            };
            // What is lost with the connection is in the report that the next one begins with.
            if let Err(error) = voice.tell(event).await {
                return error;
            }
        }
    }

    async fn offer_samples(&self, voice: &<D::Link as CoordinatorLink>::Voice) -> LinkError {
        let mut settings = self.host.settings();
        loop {
            let sample = self.samples.take(self.host.driver()).await;
            if let Err(error) = voice.offer(sample).await {
                return error;
            }
            let told = settings.borrow_and_update().as_ref().map(|settings| settings.sample_interval);
            tokio::select! {
                biased;
                () = tokio::time::sleep(told.unwrap_or(SAMPLE_INTERVAL_UNTOLD)) => {}
                _ = settings.changed() => {}
            }
        }
    }

    /// Asks for a new certificate when the old one nears its end, and again as long as none came.
    async fn renew_certificate(&self) -> End {
        let mut unanswered = 0_u32;
        loop {
            if self.certificates.is_due() {
                if unanswered >= RENEWALS_UNANSWERED {
                    log::warn!(
                        MESSAGE_ID:% = messages::CERTIFICATE_NEAR_END, REEVE_HOST:% = self.identity.name,
                        REEVE_REALM:% = self.identity.realm;
                        "a new certificate was asked for {unanswered} times and none came; without one this host is not \
                         let in any more when the present one ends"
                    );
                }
                unanswered = unanswered.saturating_add(1);
                let certificates = Arc::clone(&self.certificates);
                let made = tokio::task::spawn_blocking(move || certificates.request()).await;
                match made.unwrap_or_else(|error| Err(error.to_string())) {
                    Ok(signing_request) => {
                        log::info!(
                            REEVE_HOST:% = self.identity.name, REEVE_REALM:% = self.identity.realm;
                            "this host's certificate nears its end; asking for a new one"
                        );
                        self.host.outbox().request(AgentRequest::RenewCertificate { signing_request });
                    }
                    Err(why) => log::error!(
                        MESSAGE_ID:% = messages::CERTIFICATE_NOT_RENEWED, REEVE_HOST:% = self.identity.name, REEVE_REALM:% = self.identity.realm;
                        "no request for a new certificate can be made: {why}. The present one goes on until it expires"
                    ),
                }
            }
            tokio::time::sleep(RENEWAL_CHECK).await;
        }
    }

    async fn install_certificate(&self, command: Command) -> Reply {
        let operation = command.operation;
        let CommandBody::InstallCertificate { certificate } = command.body else {
            return Reply { operation, outcome: Err(Refusal::Invalid("this is no certificate".to_owned())) };
        };
        if let Err(refusal) = self.host.take_epoch(command.epoch).await {
            return Reply { operation, outcome: Err(refusal) };
        }
        let certificates = Arc::clone(&self.certificates);
        let (name, realm) = (self.identity.name.clone(), self.identity.realm.clone());
        let work = async move {
            let installed = tokio::task::spawn_blocking(move || certificates.install(&certificate)).await;
            match installed.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(()) => Ok(ReplyBody::Accepted),
                Err(why) => {
                    log::error!(MESSAGE_ID:% = messages::CERTIFICATE_NOT_RENEWED, REEVE_HOST:% = name, REEVE_REALM:% = realm;
                        "the new certificate was not taken: {why}");
                    Err(Refusal::Invalid(why))
                }
            }
        };
        let outcome = self.host.once(operation, work).await;
        Reply { operation, outcome }
    }
}

/// What the journal calls it that this host is not let in.
fn message_of(error: &ConnectError) -> Message {
    match error {
        ConnectError::CertificateRefused { refusal: TlsRefusal::Expired, .. } => {
            messages::CERTIFICATE_EXPIRED
        }
        ConnectError::Refused { code: RefusalCode::VersionMismatch, .. } => messages::VERSION_SKEW,
        _ => messages::NOT_LET_IN,
    }
}

/// Whether a command may take so long that wishes must not wait behind it.
const fn is_slow(body: &CommandBody) -> bool {
    match body {
        CommandBody::EnsureVm { .. }
        | CommandBody::ForgetVm { .. }
        | CommandBody::ConfigureRealm(_)
        | CommandBody::GrantLease { .. }
        | CommandBody::InstallCertificate { .. } => false,
        CommandBody::Report
        | CommandBody::ReadReport
        | CommandBody::DescribeVms { .. }
        | CommandBody::DescribeDomain { .. }
        | CommandBody::ReadConsole { .. }
        | CommandBody::ReadJournal(_)
        | CommandBody::ListVolumes { .. }
        | CommandBody::CreateVolume(_)
        | CommandBody::DeleteVolume { .. }
        | CommandBody::Witness { .. } => true,
    }
}

fn busy(operation: OperationId) -> Reply {
    let why =
        format!("this host is working on {SLOW_COMMANDS_MAX} such commands; repeat it when one is done");
    Reply { operation, outcome: Err(Refusal::Failed(why)) }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
