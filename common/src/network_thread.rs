//! Owns the thread that takes in the datagrams of a port that many connections share, and hands each to its connection.
//!
//! ```text
//!   network thread    socket ─▶ whose is it? ──▶ queue of each connection
//!                                                      │
//!   worker threads        handshakes, sessions, … ◀────┘ (whenever their turn comes)
//! ```
//!
//! A runtime's workers take their tasks in turn, and reading a socket is one of many: with some hundred handshakes ready to go
//! on, each of half a millisecond, its turn comes a dozen times a second. A fleet that comes back sends more than the kernel
//! keeps in that time, and who is dropped there knocks again only after seconds. A thread that does nothing else has slept
//! when something comes, and the system lets it run at once.
//!
//! Must not: work on a connection. What connections do is done where they were accepted or dialled.

use std::convert::Infallible;
use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A thread for sockets. It ends when this is dropped; sockets that were opened on it are of no use any more then.
#[derive(Debug)]
pub struct NetworkThread {
    runtime: Handle,
    /// Nothing is ever said; that it is gone ends the thread.
    _alive: oneshot::Sender<Infallible>,
}

impl NetworkThread {
    /// Starts it under a name of at most 15 bytes, which is what the system keeps.
    ///
    /// # Errors
    /// When the system gives no thread, or nothing to wait for sockets with.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (alive, over) = oneshot::channel();
        let handle = runtime.handle().clone();
        let work = move || {
            let Err(oneshot::error::RecvError { .. }) = runtime.block_on(over);
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { runtime: handle, _alive: alive })
    }

    /// Opens endpoints so that this thread reads their sockets.
    pub fn open<T>(&self, open: impl FnOnce() -> T) -> T {
        // An endpoint's socket and the task that reads it belong to the runtime in which it is made.
        let _inside = self.runtime.enter();
        open()
    }
}
