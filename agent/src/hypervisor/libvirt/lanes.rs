//! Owns how calls reach libvirt: in four lanes, each a thread with a connection of its own, each call with a limit, and
//! slow ones apart, so that one stuck guest or one long allocation does not blind the agent.
//!
//! Must not: know what the calls do. libvirt's calls block and cannot be interrupted, so each runs in a lane's thread
//! while its caller waits with a limit. A caller that gives up on a call which has not begun takes it back; one that
//! has begun keeps its lane until libvirt lets go.
//!
//! One connection for all lanes would do for libvirtd, which serves five calls of a connection at once. But while one
//! call on it waits for its answer, libvirt's client (9.0) can miss that another has arrived, and leaves that one lying
//! until something else happens on the connection.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reeve_common::units::format_duration;
use virt::connect::Connect;

use super::super::HypervisorError;
use super::failure::{self, Failure};

/// Lanes for calls that end soon. Together with the other two this makes four calls at once: libvirtd has twenty
/// threads for everybody, and more of ours would only wait for each other in its locks.
const QUICK_LANES: usize = 2;
/// Calls that may wait for one kind of lane; more waiting callers than VMs on a large host are a mistake of ours.
const WAITING_MAX: usize = 512;

/// Which lanes a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Ends within seconds.
    Quick,
    /// May take minutes: filling a volume, listing a large pool.
    Slow,
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

/// The lanes of one connection. Their threads end when it is dropped, each after the call it is in.
#[derive(Debug)]
pub(super) struct Lanes {
    quick: SyncSender<Job>,
    slow: SyncSender<Job>,
    guest: SyncSender<Job>,
}

/// How a call ended.
pub(super) enum CallEnd<T> {
    /// With its result.
    Done(Result<T, HypervisorError>),
    /// Its connection is broken.
    Broken(HypervisorError),
    /// It never began: every lane of its kind was busy for the whole limit.
    NeverBegan,
}

impl Lanes {
    /// Starts the lanes on connections that `open` makes.
    pub(super) fn start(open: impl Fn() -> Result<Connect, String>) -> Result<Self, String> {
        Ok(Self {
            quick: start_lanes("libvirt-quick", QUICK_LANES, &open)?,
            slow: start_lanes("libvirt-slow", 1, &open)?,
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
        let ticket = Arc::new(Ticket::default());
        let (reply, answer) = sync_channel(1);
        let job: Job = {
            let ticket = Arc::clone(&ticket);
            Box::new(move |connect| {
                if ticket.begin() {
                    // The caller may have given up meanwhile.
                    let _ = reply.send(match work(connect) {
                        Ok(value) => CallEnd::Done(Ok(value)),
                        Err(failure) if !failure::is_alive(connect) => {
                            CallEnd::Broken(HypervisorError::Unreachable(failure.to_string()))
                        }
                        Err(failure) => CallEnd::Done(Err(failure.into_error(doing))),
                    });
                }
            })
        };
        let queue = match lane {
            Lane::Quick => &self.quick,
            Lane::Slow => &self.slow,
            Lane::Guest => &self.guest,
        };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let why = format!("{WAITING_MAX} calls wait for libvirt already");
                return CallEnd::Done(Err(HypervisorError::Failed { doing, why }));
            }
            Err(TrySendError::Disconnected(_)) => return CallEnd::Broken(broken()),
        }
        match answer.recv_timeout(limit) {
            Ok(end) => end,
            Err(RecvTimeoutError::Disconnected) => CallEnd::Broken(broken()),
            Err(RecvTimeoutError::Timeout) if ticket.take_back() => CallEnd::NeverBegan,
            Err(RecvTimeoutError::Timeout) => {
                let waited = format_duration(limit);
                let why =
                    format!("libvirt has not answered within {waited}; it may still do what it was told");
                CallEnd::Done(Err(HypervisorError::Failed { doing, why }))
            }
        }
    }
}

fn broken() -> HypervisorError {
    HypervisorError::Unreachable("the connection ended during the call".to_owned())
}

fn start_lanes(
    name: &str,
    count: usize,
    open: impl Fn() -> Result<Connect, String>,
) -> Result<SyncSender<Job>, String> {
    let (sender, receiver) = sync_channel::<Job>(WAITING_MAX);
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..count {
        let (receiver, connect) = (Arc::clone(&receiver), open()?);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || drive(&receiver, &connect))
            .map_err(|error| format!("no thread for calls can be started: {error}"))?;
    }
    Ok(sender)
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

/// Whether a call has begun or was taken back; exactly one of the two can happen.
#[derive(Debug, Default)]
struct Ticket(AtomicU8);

impl Ticket {
    const WAITING: u8 = 0;
    const BEGUN: u8 = 1;
    const TAKEN_BACK: u8 = 2;

    fn begin(&self) -> bool {
        self.leave_queue(Self::BEGUN)
    }

    fn take_back(&self) -> bool {
        self.leave_queue(Self::TAKEN_BACK)
    }

    fn leave_queue(&self, to: u8) -> bool {
        self.0.compare_exchange(Self::WAITING, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
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

    #[test]
    fn a_stuck_guest_does_not_hold_up_the_rest() {
        let lanes = Arc::new(lanes());
        let (release, held) = sync_channel::<()>(0);
        let stuck = {
            let lanes = Arc::clone(&lanes);
            std::thread::spawn(move || {
                lanes.call(kind(Lane::Guest, 60_000), move |_| {
                    let _ = held.recv();
                    Ok(())
                })
            })
        };
        // The guest's lane is taken, now or in a moment: what waits for it gives up, and never runs.
        let (ran, running) = sync_channel(1);
        loop {
            let ran = ran.clone();
            let waiting = lanes.call(kind(Lane::Guest, 20), move |_| Ok(ran.send(()).is_ok()));
            if matches!(waiting, CallEnd::NeverBegan) {
                break;
            }
            running.recv().unwrap();
        }
        assert!(matches!(lanes.call(kind(Lane::Quick, 60_000), |_| Ok(7)), CallEnd::Done(Ok(7))));
        release.send(()).unwrap();
        assert!(matches!(stuck.join().unwrap(), CallEnd::Done(Ok(()))));
        assert!(matches!(lanes.call(kind(Lane::Guest, 60_000), |_| Ok(())), CallEnd::Done(Ok(()))));
        assert!(running.try_recv().is_err(), "a call that was taken back ran all the same");
    }

    #[test]
    fn a_call_beyond_its_limit_says_so() {
        let (release, held) = sync_channel::<()>(0);
        let end = lanes().call(kind(Lane::Slow, 20), move |_| {
            let _ = held.recv();
            Ok(())
        });
        drop(release);
        match end {
            CallEnd::Done(Err(HypervisorError::Failed { why, .. })) => assert!(why.contains("20ms"), "{why}"),
            CallEnd::NeverBegan => {} // the thread was not scheduled in time
            CallEnd::Done(other) => panic!("{other:?}"),
            CallEnd::Broken(error) => panic!("{error}"),
        }
    }
}
