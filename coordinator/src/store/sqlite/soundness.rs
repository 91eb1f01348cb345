//! Owns whether the store may be gone on with, and the proof of it while it is in use already.
//!
//! ```text
//!   opened at once ── every log ends where its head says ──▶ in use, unproved ── all of it was read ──▶ proved
//!                                                              │                                        │
//!                                                              └── damage, or a write of which nobody ◀─┘
//!                                                                  knows what reached the disk ──▶ failed
//! ```
//!
//! A record that is read is proved by its digest when it is read, so that nothing damaged is ever worked with. What nobody
//! reads (the audit log, decisions, VMs that are over) grows for ever, and whoever waits for a coordinator that was killed
//! does not wait for it to be read.
//!
//! Must not: repair, or let anybody go on once it has failed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use reeve_common::logging::messages;
use rusqlite::{Connection, InterruptHandle};
use tokio::sync::watch;

use super::rows;
use super::schema::{self, OpenError};
use crate::store::chain;
use crate::store::error::StoreError;
use crate::store::key::Key;

/// How long a statement that was interrupted is waited for before it is interrupted again.
const INTERRUPT_PAUSE: Duration = Duration::from_millis(1);

/// What is known of a store in use.
#[derive(Debug, Clone)]
enum State {
    Unproved,
    Proved,
    Failed(StoreError),
}

/// What is known of a store in use, for all that use it.
#[derive(Debug, Clone)]
pub(super) struct Soundness {
    state: Arc<watch::Sender<State>>,
}

impl Soundness {
    /// A store that was read to the end, or is still to be.
    pub(super) fn new(is_proved: bool) -> Self {
        let state = if is_proved { State::Proved } else { State::Unproved };
        Self { state: Arc::new(watch::Sender::new(state)) }
    }

    /// It cannot be gone on with. The first reason counts.
    pub(super) fn fail(&self, error: StoreError) {
        self.state.send_if_modified(|state| {
            let is_first = !matches!(state, State::Failed(_));
            if is_first {
                *state = State::Failed(error);
            }
            is_first
        });
    }

    fn prove(&self) {
        self.state.send_if_modified(|state| {
            let is_news = matches!(state, State::Unproved);
            if is_news {
                *state = State::Proved;
            }
            is_news
        });
    }

    /// Why it cannot be gone on with, if that is so.
    pub(super) fn failure(&self) -> Option<StoreError> {
        match &*self.state.borrow() {
            State::Failed(error) => Some(error.clone()),
            State::Unproved | State::Proved => None,
        }
    }

    /// Returns when it cannot be gone on with any more.
    pub(super) async fn failed(&self) -> StoreError {
        self.wait(|state| matches!(state, State::Failed(_))).await.err().unwrap_or(StoreError::Closed)
    }

    /// Returns when all of it has been read.
    pub(super) async fn proved(&self) -> Result<(), StoreError> {
        self.wait(|state| !matches!(state, State::Unproved)).await
    }

    async fn wait(&self, is_awaited: impl FnMut(&State) -> bool) -> Result<(), StoreError> {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        match state.wait_for(is_awaited).await.as_deref() {
            Ok(State::Failed(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// Reads a store to the end while it is in use.
pub(super) struct Prover {
    thread: Option<JoinHandle<()>>,
    interrupt: InterruptHandle,
    stopped: Arc<AtomicBool>,
}

impl fmt::Debug for Prover {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Prover").field("thread", &self.thread).finish_non_exhaustive()
    }
}

impl Prover {
    /// Begins on a connection of its own.
    pub(super) fn start(path: PathBuf, soundness: Soundness) -> Result<Self, OpenError> {
        let connection = schema::connect_to_read(&path).map_err(|source| schema::engine(&path, source))?;
        let interrupt = connection.get_interrupt_handle();
        let stopped = Arc::new(AtomicBool::new(false));
        let is_stopped = Arc::clone(&stopped);
        let own = path.clone();
        let prove = move || match schema::verify(&own, &connection) {
            Ok(version) => {
                log::info!("the store was read to its end at version {version}, and is whole");
                soundness.prove();
            }
            Err(_) if is_stopped.load(Ordering::Relaxed) => {}
            Err(error) => {
                log::error!(MESSAGE_ID:% = messages::STORE_BROKEN; "{}", crate::chain(&error));
                soundness.fail(failure(&own, error));
            }
        };
        let thread = std::thread::Builder::new().name("store-prover".to_owned()).spawn(prove);
        let thread = thread.map_err(|source| OpenError::Thread { path, source })?;
        Ok(Self { thread: Some(thread), interrupt, stopped })
    }
}

impl Drop for Prover {
    /// Ends it, wherever it is.
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        // An interrupt between two statements goes by unheard.
        while !thread.is_finished() {
            self.interrupt.interrupt();
            std::thread::sleep(INTERRUPT_PAUSE);
        }
        if thread.join().is_err() {
            log::error!(MESSAGE_ID:% = messages::STORE_BROKEN; "the reading of the store to its end ended with a panic");
        }
    }
}

fn failure(path: &Path, error: OpenError) -> StoreError {
    let path = path.to_owned();
    match error {
        OpenError::Engine { source, .. } => StoreError::Read { path, source: Arc::new(source) },
        OpenError::Damaged { problem, .. } => StoreError::Unsound { path, problem },
        error => StoreError::Unsound { path, problem: error.to_string() },
    }
}

/// Sees that every log ends where its head says. Takes as long for a long log as for a short one.
pub(super) fn check_ends(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let damaged = |problem: String| OpenError::Damaged { path: path.to_owned(), problem };
    let read = |key: &Key| rows::select_one(connection, key).map_err(|error| error.into_open_error(path));
    let heads = rows::select_under(connection, chain::HEADS.prefix());
    for stored in heads.map_err(|error| error.into_open_error(path))? {
        let head = chain::read_head(Some(&stored)).map_err(|error| damaged(crate::chain(&error)))?;
        let log = stored.key.as_str().trim_start_matches(chain::HEADS.prefix()).trim_start_matches('/');
        let place = |sequence: u64| {
            let key = chain::link_key_in(log, sequence).map_err(|error| damaged(error.to_string()))?;
            read(&key)
        };
        let last = place(head.size)?.and_then(|stored| chain::read_link(&stored).ok());
        if head.size > 0 && last.is_none_or(|last| last.hash != head.hash) {
            return Err(damaged(format!("the log {log} does not end with its record {}", head.size)));
        }
        if place(head.size.saturating_add(1))?.is_some() {
            return Err(damaged(format!("the log {log} goes on behind its end, record {}", head.size)));
        }
    }
    Ok(())
}
