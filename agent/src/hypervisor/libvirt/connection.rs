//! Owns the link to libvirt: a connection for events and those of the lanes, opened together, watched, and opened anew
//! when libvirtd has gone.
//!
//! Must not: know domains or volumes. Calls never wait for a connection: while there is none they fail at once.
//!
//! ```text
//!            opened, events registered
//!   ┌──────┐ ────────────────────────▶ ┌────┐
//!   │ Down │                           │ Up │  (lanes run calls)
//!   └──────┘ ◀──────────────────────── └────┘
//!      │  ▲    closed by the daemon, by a missed keep-alive, or given up because every lane was stuck
//!      └──┘ back-off
//! ```
//!
//! The daemon may exit when idle, be upgraded or be killed at any moment; domains run on. A connection that is given
//! up is left to its lanes' threads, which end when libvirt lets go of their calls.

use reeve_common::logging::messages;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use virt::connect::Connect;
use virt::error::ErrorNumber;

use super::super::{EventSender, HypervisorError, HypervisorEvent, HypervisorResult};
use super::event_loop::{self, EventLoopError};
use super::events::{EventSink, SessionListener};
use super::failure::{self, Failure};
use super::ffi::{self, Listener, Subscription};
use super::lanes::{CallEnd, CallKind, Lanes};

/// Keep-alives are sent when nothing was heard for so long, and the connection is dead when [`KEEP_ALIVE_COUNT`] are
/// unanswered: 20 s, long enough for a host that is short of processor time, short enough for a VM's start not to wait
/// for ever.
const KEEP_ALIVE_INTERVAL_SECONDS: i32 = 5;
const KEEP_ALIVE_COUNT: u32 = 3;
/// The first pause before connecting again; libvirtd is back within a second after an upgrade.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause; a socket on this host costs nothing to try.
const BACK_OFF_MAX: Duration = Duration::from_secs(3);
/// How long the beginning waits for the first attempt, so that an agent whose libvirt is up finds it up.
const FIRST_ATTEMPT_LIMIT: Duration = Duration::from_secs(5);

/// After so long what is only needed at the start has been done, the agent's first report included.
const SETTLED_AFTER: Duration = Duration::from_secs(20);
/// And then so often memory that is free is given back to the system: it takes a millisecond each time.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// And in every so many of these times what is mapped of the program and not in use: that takes some milliseconds, and what
/// is in use comes back by and by.
const TIDIES_FOR_PROGRAM: u32 = 10;

/// Why there can be no connection at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The URI is no URI of libvirt.
    #[error("{uri:?} is no libvirt URI; use for example \"qemu:///system\"")]
    Uri {
        /// As given.
        uri: String,
    },
    /// No event loop.
    #[error("no connection to libvirt can be kept")]
    EventLoop(#[source] EventLoopError),
    /// No thread.
    #[error("no thread for the connection to libvirt can be started")]
    Thread(#[source] std::io::Error),
}

/// A link that comes back by itself.
#[derive(Debug)]
pub(super) struct Connection {
    link: Arc<Link>,
}

#[derive(Debug)]
struct Link {
    uri: String,
    state: RwLock<State>,
    events: Arc<EventSink>,
    control: Mutex<Sender<Control>>,
}

#[derive(Debug, Clone)]
enum State {
    Down(String),
    Up(Arc<Session>),
}

#[derive(Debug)]
struct Session {
    number: u64,
    lanes: Lanes,
}

/// What the link's thread is told. The number is the session's: news of an earlier one are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// The connection is broken.
    Closed(u64),
    /// Calls got no lane for the whole of their limit.
    Stuck(u64),
    /// Nobody needs the connection any more.
    Stop,
}

impl Connection {
    /// Starts to connect, and waits a little for the first attempt.
    pub(super) fn start(uri: &str) -> Result<Self, ConnectionError> {
        let plausible = uri.contains(':') && !uri.contains('\0');
        if !plausible {
            return Err(ConnectionError::Uri { uri: uri.to_owned() });
        }
        ffi::keep_memory_small();
        event_loop::start().map_err(ConnectionError::EventLoop)?;
        let (control, controls) = channel();
        let link = Arc::new(Link {
            uri: uri.to_owned(),
            state: RwLock::new(State::Down("the first connection is being made".to_owned())),
            events: Arc::new(EventSink::default()),
            control: Mutex::new(control),
        });
        let (tried, first_attempt) = sync_channel(1);
        let keeper = Arc::clone(&link);
        std::thread::Builder::new()
            .name("libvirt-link".to_owned())
            .spawn(move || {
                // Nobody waits for the second attempt.
                keeper.keep(&controls, || {
                    let _ = tried.try_send(());
                });
            })
            .map_err(ConnectionError::Thread)?;
        let _ = first_attempt.recv_timeout(FIRST_ATTEMPT_LIMIT);
        Ok(Self { link })
    }

    /// Where events go from now on.
    pub(super) fn subscribe(&self, events: EventSender) {
        self.link.events.subscribe(events);
    }

    /// Tells whoever listens of something that was seen, as libvirt's own events are told.
    pub(super) fn tell(&self, event: HypervisorEvent) {
        self.link.events.send(event);
    }

    /// Whether calls would reach libvirt.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.link.state(), State::Up(_))
    }

    /// Which connection this is, if there is one: a restarted libvirt has another.
    pub(super) fn session(&self) -> Option<u64> {
        match self.link.state() {
            State::Up(session) => Some(session.number),
            State::Down(_) => None,
        }
    }

    /// Runs `work` on the connection, within the limits of its kind.
    pub(super) fn call<T: Send + 'static>(
        &self,
        kind: CallKind,
        work: impl FnOnce(&Connect) -> Result<T, Failure> + Send + 'static,
    ) -> HypervisorResult<T> {
        let session = match self.link.state() {
            State::Down(why) => return Err(HypervisorError::Unreachable(why)),
            State::Up(session) => session,
        };
        match session.lanes.call(kind, work) {
            CallEnd::Done(result) => result,
            CallEnd::Broken(error) => {
                self.link.tell(Control::Closed(session.number));
                Err(error)
            }
            CallEnd::Stuck => {
                self.link.tell(Control::Stuck(session.number));
                let why = "earlier calls to libvirt are stuck; the connection is made anew".to_owned();
                Err(HypervisorError::Failed { doing: kind.doing, why })
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.link.tell(Control::Stop);
    }
}

impl Link {
    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_state(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn tell(&self, control: Control) {
        let _ = self.control.lock().unwrap_or_else(PoisonError::into_inner).send(control);
    }

    fn sender(&self) -> Sender<Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The life of the link, in its own thread.
    fn keep(&self, controls: &Receiver<Control>, mut attempted: impl FnMut()) {
        let mut back_off = BACK_OFF_FIRST;
        for number in 1.. {
            match self.open(number) {
                Ok((session, subscription)) => {
                    back_off = BACK_OFF_FIRST;
                    self.set_state(State::Up(Arc::new(session)));
                    log::info!(MESSAGE_ID:% = messages::LIBVIRT_BACK; "connected to libvirt at {}", self.uri);
                    self.events.send(HypervisorEvent::Connected);
                    attempted();
                    let end = wait_for_end(controls, number);
                    self.close(end, subscription);
                    if end == Control::Stop {
                        return;
                    }
                }
                Err(why) => {
                    self.note_failure(&why);
                    attempted();
                    if stopped_within(controls, back_off) {
                        return;
                    }
                    back_off = (back_off * 2).min(BACK_OFF_MAX);
                }
            }
        }
    }

    /// Opens a connection for events and one for each lane.
    fn open(&self, number: u64) -> Result<(Session, Subscription), String> {
        let (connect, has_daemon) = self.open_one()?;
        let listener: Arc<dyn Listener> =
            Arc::new(SessionListener::new(number, Arc::clone(&self.events), self.sender()));
        let mut subscription =
            Subscription::to_events(&connect, &listener).map_err(|error| failure::words(&error))?;
        if has_daemon {
            subscription.add_close(&listener).map_err(|error| failure::words(&error))?;
        }
        let lanes = Lanes::start(|| self.open_one().map(|(connect, _)| connect))?;
        Ok((Session { number, lanes }, subscription))
    }

    /// Opens a connection, and tells whether there is a daemon at its other end that could fall silent or go away.
    fn open_one(&self) -> Result<(Connect, bool), String> {
        let connect = Connect::open(Some(&self.uri)).map_err(|error| failure::words(&error))?;
        match connect.set_keep_alive(KEEP_ALIVE_INTERVAL_SECONDS, KEEP_ALIVE_COUNT).map_err(Failure::from) {
            Ok(()) => Ok((connect, true)),
            Err(error) if error.is(ErrorNumber::NoSupport) => Ok((connect, false)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn close(&self, end: Control, subscription: Subscription) {
        let why = match end {
            Control::Stuck(_) => "its calls were stuck",
            Control::Closed(_) | Control::Stop => "libvirt closed the connection",
        };
        self.set_state(State::Down(format!("{why}, and a new one is being made")));
        if end != Control::Stop {
            log::warn!(MESSAGE_ID:% = messages::LIBVIRT_UNREACHABLE;
                "the connection to libvirt at {} was lost: {why}", self.uri);
            self.events.send(HypervisorEvent::Disconnected);
        }
        // Taking callbacks back asks the daemon; one that hangs must not keep us from connecting to the next.
        let farewell = std::thread::Builder::new().name("libvirt-farewell".to_owned());
        if let Err(error) = farewell.spawn(move || drop(subscription)) {
            log::warn!("an old connection to libvirt is not tidied up: {error}");
        }
    }

    fn note_failure(&self, why: &str) {
        let known = matches!(self.state(), State::Down(known) if known == why);
        if !known {
            log::warn!(MESSAGE_ID:% = messages::LIBVIRT_UNREACHABLE;
                "libvirt at {} cannot be reached, trying again: {why}", self.uri);
            self.set_state(State::Down(why.to_owned()));
        }
    }
}

/// Waits until this session is at its end, and gives back from time to time what it does not use.
fn wait_for_end(controls: &Receiver<Control>, number: u64) -> Control {
    let (mut quiet, mut tidies) = (SETTLED_AFTER, 0_u32);
    loop {
        match controls.recv_timeout(quiet) {
            Err(RecvTimeoutError::Timeout) => {
                quiet = TIDY_INTERVAL;
                ffi::give_back_free_memory();
                if tidies.is_multiple_of(TIDIES_FOR_PROGRAM) {
                    // Where the kernel does not say what there is, nothing is let go of.
                    ffi::let_go_of_program(&std::fs::read_to_string("/proc/self/smaps").unwrap_or_default());
                }
                tidies = tidies.wrapping_add(1);
            }
            Err(RecvTimeoutError::Disconnected) | Ok(Control::Stop) => return Control::Stop,
            Ok(end) if end == Control::Closed(number) || end == Control::Stuck(number) => return end,
            Ok(_) => {} // of a session that is gone already
        }
    }
}

/// Waits, unless the connection is not needed any more.
fn stopped_within(controls: &Receiver<Control>, pause: Duration) -> bool {
    loop {
        match controls.recv_timeout(pause) {
            Ok(Control::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
            Ok(_) => {} // of a session that is gone already
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Lane;
    use super::*;

    const QUICK: CallKind = CallKind { doing: "testing", lane: Lane::Quick, limit: Duration::from_secs(60) };

    #[test]
    fn what_is_no_uri_is_refused() {
        for uri in ["", "qemu", "qemu:///system\0"] {
            assert!(matches!(Connection::start(uri), Err(ConnectionError::Uri { .. })), "{uri:?}");
        }
    }

    #[test]
    fn calls_fail_at_once_while_there_is_nobody() {
        let connection = Connection::start("qemu+unix:///system?socket=/nonexistent/socket").unwrap();
        let result = connection.call(QUICK, |connect| Ok(connect.hostname()?));
        assert!(
            matches!(&result, Err(HypervisorError::Unreachable(why)) if why.contains("/nonexistent")),
            "{result:?}"
        );
    }

    #[test]
    fn a_stuck_connection_is_replaced() {
        let connection = Connection::start("test:///default").unwrap();
        let (sender, events) = super::super::super::event_queue();
        connection.subscribe(sender);
        let (release, held) = sync_channel::<()>(0);
        let held = Arc::new(Mutex::new(held));
        let stuck_kind = CallKind { lane: Lane::Guest, limit: Duration::from_millis(500), ..QUICK };
        let hold = Arc::clone(&held);
        let first = connection.call(stuck_kind, move |_| {
            let _ = hold.lock().unwrap().recv();
            Ok(())
        });
        assert!(matches!(first, Err(HypervisorError::Failed { .. })), "{first:?}");
        let second = connection.call(stuck_kind, |_| Ok(()));
        assert!(matches!(second, Err(HypervisorError::Failed { .. })), "{second:?}");
        assert_eq!(events.recv(), Some(HypervisorEvent::Disconnected));
        assert_eq!(events.recv(), Some(HypervisorEvent::Connected));
        let guest = CallKind { lane: Lane::Guest, ..QUICK };
        assert!(connection.call(guest, |_| Ok(())).is_ok());
        drop(release);
    }
}
