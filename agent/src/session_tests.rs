//! The conversation with a coordinator in memory, in virtual time.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use reeve_common::ids::{Epoch, Generation, VolumeName};
use reeve_common::inventory::HostInventory;
use reeve_common::utilization::HostSample;
use reeve_common::vm::ObservedVm;
use reeve_common::wire::CloseReason;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::test_machine::{EPOCH, Machine, settings};
use crate::vm::driver::{CallKind, Driver};
use crate::vm::sample_values::{realm, running, vm};

/// What the coordinator does with the next dial.
enum Answer {
    Welcome(Epoch),
    Refuse(RefusalCode),
    Silence,
}

/// The coordinator's end of a connection.
struct FarEnd {
    hello: Hello,
    dialled_at: Instant,
    commands: Option<mpsc::Sender<Command>>,
    replies: mpsc::Receiver<Reply>,
    events: mpsc::Receiver<Event>,
    closed: watch::Receiver<Option<RefusalCode>>,
}

struct FakeDial {
    answers: Mutex<VecDeque<Answer>>,
    dials: AtomicU32,
    ends: mpsc::UnboundedSender<FarEnd>,
}

struct FakeLink {
    commands: mpsc::Receiver<Command>,
    voice: FakeVoice,
}

#[derive(Clone)]
struct FakeVoice {
    replies: mpsc::Sender<Reply>,
    events: mpsc::Sender<Event>,
    closed: watch::Sender<Option<RefusalCode>>,
}

fn over() -> LinkError {
    LinkError::Closed(CloseReason::Silent)
}

impl CoordinatorLink for FakeLink {
    type Voice = FakeVoice;

    async fn next_command(&mut self) -> Result<Command, LinkError> {
        self.commands.recv().await.ok_or_else(over)
    }

    fn voice(&self) -> FakeVoice {
        self.voice.clone()
    }
}

impl CoordinatorVoice for FakeVoice {
    async fn reply(&self, reply: Reply) -> Result<(), LinkError> {
        self.replies.send(reply).await.map_err(|_| over())
    }

    async fn tell(&self, event: Event) -> Result<(), LinkError> {
        self.events.send(event).await.map_err(|_| over())
    }

    async fn offer(&self, _sample: HostSample) -> Result<(), LinkError> {
        Ok(())
    }

    async fn closed(&self) -> CloseReason {
        let mut closed = self.closed.subscribe();
        let _ = closed.wait_for(Option::is_some).await;
        CloseReason::Here { code: RefusalCode::Finished, text: String::new() }
    }

    fn close(&self, code: RefusalCode, _text: &str) {
        self.closed.send_replace(Some(code));
    }
}

impl CoordinatorDial for Arc<FakeDial> {
    type Link = FakeLink;

    async fn dial(&self, hello: Hello) -> Result<(FakeLink, Welcome), ConnectError> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], 7443));
        let answer = self.answers.lock().unwrap().pop_front();
        match answer.unwrap_or(Answer::Welcome(EPOCH)) {
            Answer::Refuse(code) => {
                Err(ConnectError::Refused { address, code, text: "as the test wants".to_owned() })
            }
            Answer::Silence => std::future::pending().await,
            Answer::Welcome(epoch) => {
                let (command_sender, commands) = mpsc::channel(32);
                let (reply_sender, replies) = mpsc::channel(32);
                let (event_sender, events) = mpsc::channel(32);
                let (closed_sender, closed) = watch::channel(None);
                let end = FarEnd {
                    hello,
                    dialled_at: Instant::now(),
                    commands: Some(command_sender),
                    replies,
                    events,
                    closed,
                };
                self.ends.send(end).unwrap();
                let voice = FakeVoice { replies: reply_sender, events: event_sender, closed: closed_sender };
                Ok((FakeLink { commands, voice }, Welcome { epoch, realm: settings() }))
            }
        }
    }

    fn address(&self) -> String {
        "coordinator:7443".to_owned()
    }
}

struct FixedInventory;

impl InventorySource for FixedInventory {
    fn current(&self) -> Pin<Box<dyn Future<Output = HostInventory> + Send + '_>> {
        Box::pin(async { HostInventory { hostname: "here".to_owned(), ..HostInventory::default() } })
    }
}

struct NoSamples;

impl SampleSource for NoSamples {
    fn take<'a>(&'a self, _driver: &'a Driver) -> Pin<Box<dyn Future<Output = HostSample> + Send + 'a>> {
        Box::pin(async { HostSample::default() })
    }
}

#[derive(Default)]
struct FakeCertificates {
    due: AtomicBool,
    installed: Mutex<Vec<String>>,
}

impl CertificateRenewal for FakeCertificates {
    fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed)
    }

    fn request(&self) -> Result<String, String> {
        Ok("a request".to_owned())
    }

    fn install(&self, certificate: &str) -> Result<(), String> {
        if certificate == "foreign" {
            return Err("it is somebody else's".to_owned());
        }
        self.due.store(false, Ordering::Relaxed);
        self.installed.lock().unwrap().push(certificate.to_owned());
        Ok(())
    }
}

struct Conversation {
    machine: Machine,
    dial: Arc<FakeDial>,
    ends: mpsc::UnboundedReceiver<FarEnd>,
    certificates: Arc<FakeCertificates>,
    task: JoinHandle<()>,
}

async fn begin(answers: impl IntoIterator<Item = Answer>) -> Conversation {
    let machine = Machine::automatic().await;
    let (sender, ends) = mpsc::unbounded_channel();
    let answers = Mutex::new(answers.into_iter().collect());
    let dial = Arc::new(FakeDial { answers, dials: AtomicU32::new(0), ends: sender });
    let certificates = Arc::new(FakeCertificates::default());
    let session = Session {
        dial: Arc::clone(&dial),
        identity: AgentIdentity {
            host: HostId(7),
            realm: realm(),
            name: "kvm-7".parse().unwrap(),
            instance: OperationId::random(),
        },
        host: machine.host().clone(),
        inventory: Arc::new(FixedInventory),
        samples: Arc::new(NoSamples),
        certificates: Arc::clone(&certificates) as _,
        clock: Arc::clone(&machine.clock),
        seed: 1,
    };
    let task = tokio::spawn(session.run());
    Conversation { machine, dial, ends, certificates, task }
}

impl Conversation {
    async fn next_end(&mut self) -> FarEnd {
        timeout(Duration::from_secs(300), self.ends.recv()).await.unwrap().unwrap()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FarEnd {
    async fn event(&mut self) -> Event {
        timeout(Duration::from_secs(120), self.events.recv()).await.unwrap().unwrap()
    }

    async fn ask(&mut self, body: CommandBody) -> Result<ReplyBody, Refusal> {
        let operation = OperationId::random();
        let command = Command { epoch: EPOCH, operation, body };
        self.commands.as_ref().unwrap().send(command).await.unwrap();
        let reply = timeout(Duration::from_secs(30), self.replies.recv()).await.unwrap().unwrap();
        assert_eq!(reply.operation, operation);
        reply.outcome
    }
}

fn start_vm(number: u128) -> CommandBody {
    CommandBody::EnsureVm { vm: vm(number), generation: Generation(1), desired: running(number) }
}

#[tokio::test(start_paused = true)]
async fn the_first_event_is_a_report_and_changes_follow() {
    let mut conversation = begin([]).await;
    let mut end = conversation.next_end().await;
    assert_eq!(end.hello.host, HostId(7));
    assert_eq!(end.hello.inventory.hostname, "here");
    assert!(
        matches!(end.event().await, Event::Report(report) if report.hypervisor_reachable && report.vms.is_empty())
    );
    assert_eq!(end.ask(start_vm(1)).await, Ok(ReplyBody::Accepted));
    loop {
        conversation.machine.hypervisor.advance();
        if let Event::Vm(observation) = end.event().await
            && matches!(observation.observed, ObservedVm::Running { .. })
        {
            assert_eq!((observation.vm, observation.epoch), (vm(1), EPOCH));
            break;
        }
    }
    assert_eq!(end.ask(CommandBody::Report).await, Ok(ReplyBody::Accepted));
    assert!(matches!(end.event().await, Event::Report(report) if report.vms.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_coordinator_is_dialled_again_soon_and_vms_go_on() {
    let mut conversation = begin([]).await;
    let mut end = conversation.next_end().await;
    end.ask(start_vm(1)).await.unwrap();
    tokio::time::sleep(STABLE_AFTER).await;
    let lost_at = Instant::now();
    end.commands = None;
    let mut again = conversation.next_end().await;
    let away = again.dialled_at.duration_since(lost_at);
    assert!(away <= Duration::from_millis(300), "{away:?}");
    assert_eq!(again.hello.highest_epoch, EPOCH);
    assert_eq!(again.hello.instance, end.hello.instance);
    assert!(matches!(again.event().await, Event::Report(report) if report.vms.len() == 1));
    conversation.machine.until_running(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_is_down_is_dialled_ever_more_patiently() {
    let silence = (0..8).map(|_| Answer::Silence);
    let mut conversation = begin(silence).await;
    let began = Instant::now();
    let end = conversation.next_end().await;
    let away = end.dialled_at.duration_since(began);
    assert!(away > Duration::from_secs(60) && away < Duration::from_secs(150), "{away:?}");
    assert_eq!(conversation.dial.dials.load(Ordering::Relaxed), 9);
}

#[test]
fn who_was_forgotten_waits_in_the_line_as_long_as_a_connection_does_and_others_dial_anew_sooner() {
    let end = |reason| dial_patience_after(&End::Link(LinkError::Closed(reason)));
    assert_eq!(end(CloseReason::Forgotten), DIALLING_TIMEOUT);
    assert_eq!(end(CloseReason::Silent), DIAL_PATIENCE_FIRST);
    assert_eq!(dial_patience_after(&End::Renewed), DIAL_PATIENCE_FIRST);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_needs_somebody_is_tried_again_seldom() {
    for code in [RefusalCode::RemovedHost, RefusalCode::WrongHost, RefusalCode::DuplicateAgent] {
        let mut conversation = begin([Answer::Refuse(code)]).await;
        let began = Instant::now();
        let end = conversation.next_end().await;
        let away = end.dialled_at.duration_since(began);
        assert!(away >= REFUSED_RETRY / 2 && away <= REFUSED_RETRY, "{code}: {away:?}");
    }
    let mut conversation = begin([Answer::Refuse(RefusalCode::ShuttingDown)]).await;
    let began = Instant::now();
    let end = conversation.next_end().await;
    assert!(end.dialled_at.duration_since(began) <= RETRY_FIRST);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_has_been_succeeded_is_not_obeyed() {
    let mut conversation = begin([Answer::Welcome(EPOCH), Answer::Welcome(Epoch(4))]).await;
    let mut first = conversation.next_end().await;
    first.event().await;
    first.commands = None;
    let mut deposed = conversation.next_end().await;
    let began = Instant::now();
    deposed.closed.wait_for(Option::is_some).await.unwrap();
    assert_eq!(*deposed.closed.borrow(), Some(RefusalCode::NotInOffice));
    assert!(deposed.events.try_recv().is_err(), "it was told something");
    let right = conversation.next_end().await;
    assert!(right.dialled_at.duration_since(began) >= REFUSED_RETRY / 2);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_welcomes_and_drops_is_not_dialled_in_a_tight_loop() {
    let mut conversation = begin([]).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        conversation.next_end().await.commands = None;
    }
    let dials = conversation.dial.dials.load(Ordering::Relaxed);
    assert!((6..30).contains(&dials), "{dials} dials in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_within_the_session_and_used_by_the_next_one() {
    let mut conversation = begin([]).await;
    let mut end = conversation.next_end().await;
    conversation.certificates.due.store(true, Ordering::Relaxed);
    let wanted = Event::Request(AgentRequest::RenewCertificate { signing_request: "a request".to_owned() });
    while end.event().await != wanted {}
    let foreign = CommandBody::InstallCertificate { certificate: "foreign".to_owned() };
    assert!(matches!(end.ask(foreign).await, Err(Refusal::Invalid(_))));
    let good = CommandBody::InstallCertificate { certificate: "good".to_owned() };
    assert_eq!(end.ask(good).await, Ok(ReplyBody::Accepted));
    let installed_at = Instant::now();
    let again = conversation.next_end().await;
    assert!(again.dialled_at.duration_since(installed_at) <= RENEWAL_LINGER + Duration::from_millis(10));
    assert_eq!(*end.closed.borrow(), Some(RefusalCode::Finished));
    assert_eq!(*conversation.certificates.installed.lock().unwrap(), ["good"]);
}

#[tokio::test(start_paused = true)]
async fn slow_commands_are_bounded_and_wishes_go_past_them() {
    let mut conversation = begin([]).await;
    let mut end = conversation.next_end().await;
    // Storage is busy with something else, so that none of these ends.
    let (release, released) = std::sync::mpsc::channel::<()>();
    let driver = conversation.machine.host().driver().clone();
    let busy = tokio::spawn(async move {
        let work = driver.call(CallKind::Storage, move |_| {
            let _ = released.recv();
            Ok(())
        });
        work.await
    });
    tokio::task::yield_now().await;
    let commands = end.commands.clone().unwrap();
    let remove =
        CommandBody::DeleteVolume { pool: settings().drives_pool, volume: VolumeName::new("x").unwrap() };
    for _ in 0..SLOW_COMMANDS_MAX {
        let operation = OperationId::random();
        commands.send(Command { epoch: EPOCH, operation, body: remove.clone() }).await.unwrap();
    }
    assert_eq!(end.ask(start_vm(1)).await, Ok(ReplyBody::Accepted));
    assert!(matches!(end.ask(remove).await, Err(Refusal::Failed(why)) if why.contains("repeat")));
    drop(release);
    busy.await.unwrap().unwrap();
    for _ in 0..SLOW_COMMANDS_MAX {
        let reply = timeout(Duration::from_secs(30), end.replies.recv()).await.unwrap().unwrap();
        assert_eq!(reply.outcome, Ok(ReplyBody::Accepted));
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_epoch_cannot_exchange_the_certificate() {
    let mut conversation = begin([]).await;
    let mut end = conversation.next_end().await;
    let body = CommandBody::InstallCertificate { certificate: "good".to_owned() };
    let stale = Command { epoch: Epoch(1), operation: OperationId::random(), body };
    end.commands.as_ref().unwrap().send(stale).await.unwrap();
    let reply = end.replies.recv().await.unwrap();
    assert!(matches!(reply.outcome, Err(Refusal::StaleEpoch { .. })));
    assert!(conversation.certificates.installed.lock().unwrap().is_empty());
}
