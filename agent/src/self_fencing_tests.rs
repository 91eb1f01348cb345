//! The lease on a simulated machine: VMs run while it holds, and none when it has run out, whatever happened meanwhile.

use proptest::prelude::*;
use reeve_common::ids::Epoch;
use reeve_common::protocol::{CommandBody, Refusal, ReplyBody};
use tokio::time::Instant;

use super::*;
use crate::hypervisor::simulated::{Call, Fault};
use crate::outbox::Due;
use crate::test_machine::{EPOCH, Machine, settings};
use crate::vm::sample_values::running;

const LEASE: Duration = Duration::from_secs(30);

/// Time since boot that passes with tokio's virtual time, and jumps ahead when a test says that the agent was frozen.
#[derive(Debug)]
struct VirtualBoot {
    began: Instant,
    frozen: Mutex<Duration>,
    boot: &'static str,
}

impl BootClock for VirtualBoot {
    fn since_boot(&self) -> Duration {
        Duration::from_secs(5000) + self.began.elapsed() + *self.frozen.lock().unwrap()
    }

    fn boot_id(&self) -> String {
        self.boot.to_owned()
    }
}

struct Leased {
    machine: Machine,
    clock: Arc<VirtualBoot>,
    keeper: Arc<LeaseKeeper>,
    watchdog: PathBuf,
}

impl Leased {
    async fn new() -> Self {
        let machine = Machine::automatic().await;
        let clock =
            Arc::new(VirtualBoot { began: Instant::now(), frozen: Mutex::default(), boot: "this boot" });
        let watchdog = machine.directory.path().join("watchdog");
        std::fs::write(&watchdog, "").unwrap();
        let keeper = Self::keeper_on(&machine, &clock, Some(&watchdog));
        Self { machine, clock, keeper, watchdog }
    }

    fn keeper_on(machine: &Machine, clock: &Arc<VirtualBoot>, watchdog: Option<&Path>) -> Arc<LeaseKeeper> {
        let choice =
            WatchdogChoice { device: watchdog.map(Path::to_owned), timeout: Some(Duration::from_secs(10)) };
        let keeper = LeaseKeeper::open(machine.directory.path(), Arc::clone(clock) as _, choice, 100);
        keeper.bind(machine.host());
        keeper
    }

    fn tell(&self, lease: Option<Duration>) {
        self.machine.host().configure(reeve_common::realm::RealmSettings { lease, ..settings() });
    }

    /// What the coordinator would hear next of the lease.
    fn question(&self) -> Option<(u64, Option<Duration>)> {
        while let Some(due) = self.machine.host().outbox().take() {
            if let Due::Request(AgentRequest::RenewLease { number, watchdog }) = due {
                return Some((number, watchdog));
            }
        }
        None
    }

    /// One exchange with a coordinator that is there.
    async fn renew(&self) -> Option<Duration> {
        self.keeper.look().await;
        self.keeper.connected();
        let (number, watchdog) = self.question().unwrap();
        self.keeper.granted(number, LEASE);
        watchdog
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.machine.hypervisor.advance();
    }

    fn running(&self) -> usize {
        let own = self.machine.hypervisor.domains().unwrap().own;
        own.iter().filter(|domain| !matches!(domain.state, DomainState::Inactive(_))).count()
    }

    fn signs(&self) -> usize {
        std::fs::read(&self.watchdog).unwrap().len()
    }

    /// Looks until nothing changes any more.
    async fn settle(&self) {
        for _ in 0..5 {
            self.keeper.look().await;
            self.pass(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn vms_run_while_the_lease_is_renewed_and_are_destroyed_when_it_is_not() {
    let leased = Leased::new().await;
    leased.tell(Some(LEASE));
    leased.renew().await;
    assert_eq!(leased.machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(1).await;
    for _ in 0..10 {
        leased.pass(Duration::from_secs(20)).await;
        assert_eq!(leased.renew().await, Some(Duration::from_secs(10)), "a watchdog stands behind it");
        assert_eq!(leased.running(), 1);
    }
    leased.pass(LEASE - Duration::from_secs(1)).await;
    leased.settle().await;
    assert_eq!(leased.running(), 1, "not a second too early");
    leased.pass(Duration::from_secs(2)).await;
    leased.settle().await;
    assert_eq!(leased.running(), 0);
    // Nothing is started, whoever wishes it, before there is a lease again.
    let refused = leased.machine.ensure(2, 1, running(2)).await;
    assert!(matches!(&refused, Err(Refusal::Failed(why)) if why.contains("lease")), "{refused:?}");
    leased.renew().await;
    assert_eq!(leased.machine.ensure(2, 1, running(2)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(2).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Grants that come twice, late, in any order, unasked for, or from a deposed coordinator: the lease is what the latest
    /// question that was answered allows, to the second.
    #[test]
    fn grants_in_any_order_and_number_allow_what_the_latest_answered_question_does(
        heard in prop::collection::vec((0_usize..5, any::<bool>()), 1..12),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let leased = Leased::new().await;
            leased.tell(Some(LEASE));
            let mut questions = Vec::new();
            for _ in 0..3 {
                leased.keeper.connected();
                questions.push(leased.question().unwrap().0);
                leased.pass(Duration::from_secs(5)).await;
            }
            let first_asked_ago = Duration::from_secs(15);
            // Two numbers that were never asked.
            questions.extend([0, u64::MAX]);
            let mut allowed = None;
            for (which, deposed) in heard {
                let epoch = if deposed { Epoch(EPOCH.0 - 1) } else { EPOCH };
                let lease = if deposed { LEASE * 100 } else { LEASE };
                // Whoever is in office was heard first.
                leased.machine.send(CommandBody::Report).await.unwrap();
                let grant = CommandBody::GrantLease { number: questions[which], lease };
                let answer = leased.machine.send_from(epoch, grant).await;
                assert_eq!(answer.is_err(), deposed, "{answer:?}");
                if !deposed && which < 3 {
                    allowed = allowed.max(Some(which));
                }
            }
            let expected = allowed.map_or(LEASE, |which| LEASE + Duration::from_secs(5) * u32::try_from(which).unwrap())
                - first_asked_ago;
            match leased.keeper.standing() {
                Standing::Held { left } => {
                    assert!(left <= expected && expected - left < Duration::from_secs(1), "{left:?}");
                }
                other => panic!("{other:?}"),
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn without_self_fencing_vms_run_on_for_ever() {
    let leased = Leased::new().await;
    leased.tell(None);
    assert_eq!(leased.machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(1).await;
    leased.pass(Duration::from_secs(86_400)).await;
    leased.settle().await;
    assert_eq!((leased.running(), leased.signs()), (1, 0), "and no watchdog is touched");
}

#[tokio::test(start_paused = true)]
async fn who_keeps_no_lease_sleeps_and_wakes_when_the_realm_asks_for_one() {
    let leased = Leased::new().await;
    leased.tell(None);
    assert_eq!(leased.machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(1).await;
    let keeper = Arc::clone(&leased.keeper);
    let keeping = tokio::spawn(async move { keeper.keep().await });
    leased.pass(Duration::from_secs(86_400)).await;
    assert_eq!((leased.running(), leased.signs()), (1, 0));
    leased.tell(Some(LEASE));
    leased.pass(Duration::from_secs(5)).await;
    assert!(leased.signs() > 0, "nobody has looked since");
    leased.pass(LEASE).await;
    assert_eq!(leased.running(), 0, "it was granted nothing");
    keeping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_frozen_agent_looks_at_its_lease_before_it_starts_anything() {
    let leased = Leased::new().await;
    leased.tell(Some(LEASE));
    leased.renew().await;
    assert_eq!(leased.machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(1).await;
    leased.keeper.connected();
    let (before_the_freeze, _) = leased.question().unwrap();
    *leased.clock.frozen.lock().unwrap() = Duration::from_secs(300);
    // The thaw: a command and a grant have been waiting, and this task has not run yet.
    let refused = leased.machine.ensure(2, 1, running(2)).await;
    assert!(matches!(refused, Err(Refusal::Failed(_))), "{refused:?}");
    leased.keeper.granted(before_the_freeze, LEASE);
    let refused = leased.machine.ensure(2, 1, running(2)).await;
    assert!(matches!(refused, Err(Refusal::Failed(_))), "the grant answers an old question");
    let signs = leased.signs();
    leased.settle().await;
    assert_eq!(leased.running(), 0);
    assert!(leased.signs() >= signs);
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_gets_no_sign_while_a_vm_cannot_be_destroyed() {
    let leased = Leased::new().await;
    leased.tell(Some(LEASE));
    leased.renew().await;
    assert_eq!(leased.machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(1).await;
    leased.pass(EARLIER_STARTS).await;
    leased.machine.hypervisor.set_reachable(false);
    let signs = leased.signs();
    leased.settle().await;
    assert_eq!(leased.signs(), signs, "libvirt cannot be asked: nothing is certain");
    leased.machine.hypervisor.set_reachable(true);
    leased.machine.hypervisor.plan_fault(Call::Destroy, Fault::failed("busy"));
    leased.keeper.look().await;
    assert_eq!(leased.signs(), signs, "one is still there");
    leased.settle().await;
    assert_eq!(leased.running(), 0);
    assert!(leased.signs() > signs, "all are off: the machine need not be reset");
}

#[tokio::test(start_paused = true)]
async fn a_start_under_way_counts_as_running() {
    let leased = Leased::new().await;
    leased.tell(Some(LEASE));
    leased.renew().await;
    let passage = leased.machine.host().start_gate().pass().unwrap();
    leased.pass(EARLIER_STARTS).await;
    let signs = leased.signs();
    leased.settle().await;
    assert_eq!(leased.signs(), signs);
    drop(passage);
    leased.settle().await;
    assert!(leased.signs() > signs);
}

#[tokio::test(start_paused = true)]
async fn the_lease_outlives_the_agent_and_not_the_boot() {
    let leased = Leased::new().await;
    leased.tell(Some(LEASE));
    leased.renew().await;
    leased.pass(Duration::from_secs(10)).await;
    let next = Leased::keeper_on(&leased.machine, &leased.clock, None);
    assert!(matches!(next.standing(), Standing::Held { left } if left <= Duration::from_secs(20)));
    leased.pass(Duration::from_secs(20)).await;
    assert_eq!(next.standing(), Standing::RunOut, "killed and started again at the end of its lease");
    let other =
        Arc::new(VirtualBoot { began: Instant::now(), frozen: Mutex::default(), boot: "another boot" });
    assert_eq!(Leased::keeper_on(&leased.machine, &other, None).standing(), Standing::Unbound);
    std::fs::write(leased.machine.directory.path().join("lease.json"), "{").unwrap();
    let damaged = Leased::keeper_on(&leased.machine, &leased.clock, None);
    assert_eq!(damaged.standing(), Standing::RunOut, "what cannot be read is not trusted");
}

#[tokio::test(start_paused = true)]
async fn the_watchdog_is_disarmed_only_with_the_coordinators_word() {
    let leased = Leased::new().await;
    leased.tell(Some(LEASE));
    leased.renew().await;
    assert_eq!(leased.machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(1).await;
    // Nobody answers: it stays armed, and the VM's end is the watchdog's to bring.
    leased.keeper.give_up().await;
    assert!(!std::fs::read(&leased.watchdog).unwrap().ends_with(b"V"));
    let (number, watchdog) = leased.question().unwrap();
    assert_eq!(watchdog, None, "it asks to be let go");
    leased.keeper.granted(number, LEASE);
    leased.keeper.look().await;
    assert!(std::fs::read(&leased.watchdog).unwrap().ends_with(b"V"));
    assert_eq!(leased.running(), 1);
    assert!(!leased.machine.directory.path().join("lease.json").exists());
}

#[tokio::test(start_paused = true)]
async fn a_host_without_a_watchdog_says_so() {
    let leased = Leased::new().await;
    let bare = Leased::keeper_on(&leased.machine, &leased.clock, None);
    bare.told(Some(LEASE));
    bare.look().await;
    bare.connected();
    assert_eq!(leased.question().map(|(_, watchdog)| watchdog), Some(None));
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_was_started_under_a_new_lease_is_not_ended_for_the_old_one() {
    let leased = Leased::new().await;
    leased.tell(Some(LEASE));
    leased.renew().await;
    assert_eq!(leased.machine.ensure(1, 1, running(1)).await, Ok(ReplyBody::Accepted));
    leased.machine.until_running(1).await;
    leased.keeper.connected();
    leased.pass(LEASE + Duration::from_secs(1)).await;
    assert_eq!(leased.keeper.standing(), Standing::RunOut);
    // It begins to end them; before libvirt has come to that, the coordinator has granted another.
    leased.keeper.connected();
    let mut latest = None;
    while let Some((number, _)) = leased.question() {
        latest = Some(number);
    }
    let mut ending = std::pin::pin!(leased.keeper.look());
    assert!(poll_once(ending.as_mut()).is_pending(), "libvirt is being asked what runs");
    leased.keeper.granted(latest.unwrap(), LEASE);
    ending.await;
    leased.settle().await;
    assert_eq!(leased.running(), 1);
}

fn poll_once<F: Future>(work: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    work.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
