//! Owns how calls reach libvirt: in five lanes, each a thread with a connection of its own, each call with a limit, and
//! slow ones apart, so that one stuck guest or one long allocation does not blind the agent.
//!
//! Must not: know what the calls do. libvirt's calls block and cannot be interrupted, so each runs in a lane's thread
//! while its caller waits with a limit. A caller that gives up on a call which has not begun takes it back; one that
//! has begun keeps its lane until libvirt lets go.
//!
//! One connection for all lanes would do for libvirtd, which serves five calls of a connection at once. But while one
//! call on it waits for its answer, libvirt's client (9.0) can miss that another has arrived, and leaves that one lying
//! until something else happens on the connection.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_common::units::format_duration;
use virt::connect::Connect;

use super::super::HypervisorError;
use super::failure::{self, Failure};

/// Lanes for calls that end soon. Together with the other three this makes five calls at once: libvirtd has twenty
/// threads for everybody, and more of ours would only wait for each other in its locks.
const QUICK_LANES: usize = 2;
/// Calls that may wait for one kind of lane; more waiting callers than VMs on a large host are a mistake of ours.
const WAITING_MAX: usize = 512;

/// Which lanes a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Ends within seconds.
    Quick,
    /// May take a minute: listing a large pool.
    Slow,
    /// May take half an hour: filling a volume.
    Fill,
    /// Waits for a guest.
    Guest,
}

/// What is said of a call to the lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallKind {
    /// For messages, such as `starting the domain`.
    pub(super) doing: &'static str,
    /// Where it runs.
    pub(super) lane: Lane,
    /// How long the caller waits at most, the time in the queue included.
    pub(super) limit: Duration,
}

type Job = Box<dyn FnOnce(&Connect) + Send>;

/// The lanes of one session. Their threads end when it is dropped, each after the call it is in.
#[derive(Debug)]
pub(super) struct Lanes {
    quick: Queue,
    slow: Queue,
    fill: Queue,
    guest: Queue,
}

/// The lanes of one kind, and what waits for them.
#[derive(Debug)]
struct Queue {
    jobs: SyncSender<Job>,
    lanes: usize,
    /// Lanes in a call that has outlived its limit.
    overdue: Arc<AtomicUsize>,
}

/// How a call ended.
pub(super) enum CallEnd<T> {
    /// With its result.
    Done(Result<T, HypervisorError>),
    /// Its connection is broken.
    Broken(HypervisorError),
    /// It never began, as every lane of its kind is in a call that has outlived its own limit.
    Stuck,
}

impl Lanes {
    /// Starts the lanes on connections that `open` makes.
    pub(super) fn start(open: impl Fn() -> Result<Connect, String>) -> Result<Self, String> {
        Ok(Self {
            quick: start_lanes("libvirt-quick", QUICK_LANES, &open)?,
            slow: start_lanes("libvirt-slow", 1, &open)?,
            fill: start_lanes("libvirt-fill", 1, &open)?,
            guest: start_lanes("libvirt-guest", 1, &open)?,
        })
    }

    /// Runs `work` in a lane and waits for it, for at most the kind's limit.
    pub(super) fn call<T: Send + 'static>(
        &self,
        kind: CallKind,
        work: impl FnOnce(&Connect) -> Result<T, Failure> + Send + 'static,
    ) -> CallEnd<T> {
        let CallKind { doing, lane, limit } = kind;
        let queue = match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
            Lane::Fill => &self.fill,
            Lane::Guest => &self.guest,
        };
        let ticket = Arc::new(Ticket::default());
        let (reply, answer) = sync_channel(1);
        let job: Job = {
            let (ticket, overdue) = (Arc::clone(&ticket), Arc::clone(&queue.overdue));
            Box::new(move |connect| {
                if !ticket.begin() {
                    return;
                }
                let end = match work(connect) {
                    Ok(value) => CallEnd::Done(Ok(value)),
                    Err(failure) if !failure::is_alive(connect) => {
                        CallEnd::Broken(HypervisorError::Unreachable(failure.to_string()))
                    }
                    Err(failure) => CallEnd::Done(Err(failure.into_error(doing))),
                };
                let _ = reply.send(end); // the caller may have given up meanwhile
                if ticket.end() {
                    overdue.fetch_sub(1, Ordering::AcqRel);
                }
            })
        };
        match queue.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return failed(doing, format!("{WAITING_MAX} calls wait for libvirt already"));
            }
            Err(TrySendError::Disconnected(_)) => return CallEnd::Broken(broken()),
        }
        match answer.recv_timeout(limit) {
            Ok(end) => end,
            Err(RecvTimeoutError::Disconnected) => CallEnd::Broken(broken()),
            Err(RecvTimeoutError::Timeout) => give_up(kind, queue, &ticket, &answer),
        }
    }
}

/// What becomes of a call whose limit is over.
fn give_up<T>(kind: CallKind, queue: &Queue, ticket: &Ticket, answer: &Receiver<CallEnd<T>>) -> CallEnd<T> {
    let waited = format_duration(kind.limit);
    if ticket.take_back() {
        return if queue.overdue.load(Ordering::Acquire) >= queue.lanes {
            CallEnd::Stuck
        } else {
            failed(kind.doing, format!("libvirt was busy with earlier calls for {waited}"))
        };
    }
    // Counted before it is said, so that the lane never takes off what was not put on.
    queue.overdue.fetch_add(1, Ordering::AcqRel);
    if !ticket.overdue() {
        queue.overdue.fetch_sub(1, Ordering::AcqRel);
        if let Ok(end) = answer.try_recv() {
            return end; // it came at the last moment
        }
    }
    failed(kind.doing, format!("libvirt has not answered within {waited}; it may still do what it was told"))
}

fn failed<T>(doing: &'static str, why: String) -> CallEnd<T> {
    CallEnd::Done(Err(HypervisorError::Failed { doing, why }))
}

fn broken() -> HypervisorError {
    HypervisorError::Unreachable("the connection ended during the call".to_owned())
}

fn start_lanes(
    name: &str,
    lanes: usize,
    open: impl Fn() -> Result<Connect, String>,
) -> Result<Queue, String> {
    let (jobs, receiver) = sync_channel::<Job>(WAITING_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..lanes {
        let (receiver, connect) = (Arc::clone(&receiver), open()?);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || drive(&receiver, &connect))
            .map_err(|error| format!("no thread for calls can be started: {error}"))?;
    }
    Ok(Queue { jobs, lanes, overdue: Arc::default() })
}

fn drive(jobs: &Mutex<Receiver<Job>>, connect: &Connect) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(connect),
            Err(_) => return,
        }
    }
}

/// Where a call is.
///
/// ```text
///   waiting ──▶ begun ──▶ ended
///      │          └─────▶ overdue   its caller has given up, its lane is still in it
///      └──▶ taken back
/// ```
#[derive(Debug, Default)]
struct Ticket(AtomicU8);

impl Ticket {
    const WAITING: u8 = 0;
    const BEGUN: u8 = 1;
    const ENDED: u8 = 2;
    const OVERDUE: u8 = 3;
    const TAKEN_BACK: u8 = 4;

    fn begin(&self) -> bool {
        self.change(Self::WAITING, Self::BEGUN)
    }

    fn take_back(&self) -> bool {
        self.change(Self::WAITING, Self::TAKEN_BACK)
    }

    fn overdue(&self) -> bool {
        self.change(Self::BEGUN, Self::OVERDUE)
    }

    /// The call is over; whether it was overdue.
    fn end(&self) -> bool {
        self.0.swap(Self::ENDED, Ordering::AcqRel) == Self::OVERDUE
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event_loop;
    use super::*;

    fn lanes() -> Lanes {
        event_loop::start().unwrap();
        Lanes::start(|| Connect::open(Some("test:///default")).map_err(|error| error.to_string())).unwrap()
    }

    fn kind(lane: Lane, limit_ms: u64) -> CallKind {
        CallKind { doing: "testing", lane, limit: Duration::from_millis(limit_ms) }
    }

    /// A call that stays in its lane until the returned end is dropped, and whose caller has given up.
    fn block(lanes: &Lanes, lane: Lane) -> SyncSender<()> {
        let (release, held) = sync_channel::<()>(0);
        let (begun, begins) = sync_channel(1);
        std::thread::scope(|scope| {
            let stuck = scope.spawn(|| {
                lanes.call(kind(lane, 500), move |_| {
                    let _ = begun.send(());
                    let _ = held.recv();
                    Ok(())
                })
            });
            begins.recv().unwrap();
            let end = stuck.join().unwrap();
            assert!(
                matches!(&end, CallEnd::Done(Err(HypervisorError::Failed { why, .. })) if why.contains("500ms"))
            );
        });
        release
    }

    #[test]
    fn a_stuck_guest_does_not_hold_up_the_rest() {
        let lanes = lanes();
        let release = block(&lanes, Lane::Guest);
        for lane in [Lane::Quick, Lane::Slow, Lane::Fill] {
            assert!(matches!(lanes.call(kind(lane, 60_000), |_| Ok(7)), CallEnd::Done(Ok(7))));
        }
        let (ran, runs) = sync_channel(1);
        let waiting = lanes.call(kind(Lane::Guest, 20), move |_| Ok(ran.send(()).is_ok()));
        assert!(matches!(waiting, CallEnd::Stuck));
        drop(release);
        assert!(matches!(lanes.call(kind(Lane::Guest, 60_000), |_| Ok(())), CallEnd::Done(Ok(()))));
        assert!(runs.try_recv().is_err(), "a call that was taken back ran all the same");
        // Its lane was counted off again: another wait is only a wait.
        assert_eq!(lanes.guest.overdue.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_call_within_its_limit_is_waited_for() {
        let lanes = lanes();
        let (release, held) = sync_channel::<()>(0);
        let (begun, begins) = sync_channel(1);
        std::thread::scope(|scope| {
            let long = scope.spawn(|| {
                lanes.call(kind(Lane::Fill, 60_000), move |_| {
                    let _ = begun.send(());
                    let _ = held.recv();
                    Ok(())
                })
            });
            begins.recv().unwrap();
            let waiting = lanes.call(kind(Lane::Fill, 20), |_| Ok(()));
            assert!(
                matches!(&waiting, CallEnd::Done(Err(HypervisorError::Failed { why, .. })) if why.contains("busy"))
            );
            drop(release);
            assert!(matches!(long.join().unwrap(), CallEnd::Done(Ok(()))));
        });
    }

    #[test]
    fn one_stuck_quick_lane_leaves_the_other() {
        let lanes = lanes();
        let _release = block(&lanes, Lane::Quick);
        assert!(matches!(lanes.call(kind(Lane::Quick, 60_000), |_| Ok(())), CallEnd::Done(Ok(()))));
        let _second = block(&lanes, Lane::Quick);
        assert!(matches!(lanes.call(kind(Lane::Quick, 20), |_| Ok(())), CallEnd::Stuck));
    }
}
