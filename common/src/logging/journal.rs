//! Owns the way of lines to systemd's journal: a queue, and the one thread that hands them over.
//!
//! ```text
//!   line ──▶ queue ──▶ the writer's thread ──▶ journald
//!              │ full
//!              ▼
//!           counted as lost; the number is told when lines flow again
//! ```
//!
//! A journald that hangs hangs the writer's thread and nobody who logs. A process that is killed takes along what still
//! waits in the queue; one that ends by itself waits for it, a moment.
//!
//! Must not: know what a line is, or how it is written.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Line;

/// Lines that may wait: a burst of a few hundred is written within milliseconds, and so many take 2 MiB at the very most.
const WAITING_MAX: usize = 256;
/// How long the end of the process waits for lines to be written: longer than any burst takes, shorter than systemd's
/// patience.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);
/// The writer formats a line and sends it; a usual stack would only be address space.
const WRITER_STACK: usize = 128 << 10;

/// The journal, as seen by those who log.
#[derive(Debug)]
pub(super) struct Journal {
    queue: SyncSender<Line>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines that were handed over and are not written yet.
    waiting: Mutex<usize>,
    written: Condvar,
    lost: AtomicU64,
}

impl State {
    fn waiting(&self) -> MutexGuard<'_, usize> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_less(&self) {
        let mut waiting = self.waiting();
        *waiting = waiting.saturating_sub(1);
        self.written.notify_all();
    }
}

impl Journal {
    /// Starts the thread that writes lines by `write`, which may block.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(write: impl Fn(&Line) + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = sync_channel(WAITING_MAX);
        let state = Arc::new(State::default());
        let writing = Arc::clone(&state);
        let writer = thread::Builder::new().name("journal-writer".to_owned()).stack_size(WRITER_STACK);
        writer.spawn(move || write_all(&lines, &writing, write))?;
        Ok(Self { queue, state })
    }

    /// Hands a line over, or counts it as lost where too many wait. Never blocks.
    pub(super) fn write(&self, line: Line) {
        *self.state.waiting() += 1;
        if self.queue.try_send(line).is_err() {
            // Before the line is taken back: whoever waits for the end then sees that there is something to tell.
            self.state.lost.fetch_add(1, Ordering::SeqCst);
            self.state.one_less();
        }
    }

    /// Waits, a moment, until what was handed over is written.
    pub(super) fn flush(&self) {
        let waiting = self.state.waiting();
        drop(self.state.written.wait_timeout_while(waiting, FLUSH_PATIENCE, |waiting| *waiting > 0));
    }
}

fn write_all(lines: &Receiver<Line>, state: &State, write: impl Fn(&Line)) {
    while let Ok(line) = lines.recv() {
        write(&line);
        let lost = state.lost.swap(0, Ordering::SeqCst);
        if lost > 0 {
            write(&Line::of_lost(lost));
        }
        state.one_less();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use log::Record;

    use super::super::{MESSAGE_FIELD, messages};
    use super::*;

    fn line(text: &str) -> Line {
        Line::of(&Record::builder().args(format_args!("{text}")).build())
    }

    #[test]
    fn a_journal_that_hangs_holds_nobody_up_and_what_was_lost_is_told_once() {
        const LINES: usize = 10_000;
        let (let_go, gate) = channel::<()>();
        let (told, texts) = channel();
        let journal = Journal::start(move |line| {
            // Hangs until it is let go for good.
            let _ = gate.recv();
            told.send((line.text.clone(), line.fields.clone())).unwrap();
        })
        .unwrap();
        for number in 0..LINES {
            journal.write(line(&number.to_string()));
        }
        drop(let_go);
        journal.flush();
        let written: Vec<_> = texts.try_iter().collect();
        let (lost, lines): (Vec<_>, Vec<_>) =
            written.into_iter().partition(|(_, fields)| fields.get(MESSAGE_FIELD).is_some());
        assert!(lines.len() <= WAITING_MAX + 1, "{} waited", lines.len());
        let missing = LINES - lines.len();
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].0, format!("{missing} lines were not written: the journal did not take them"));
        assert_eq!(lost[0].1.get(MESSAGE_FIELD), Some(messages::LINES_LOST.to_string().as_str()));
        let numbers: Vec<usize> = lines.iter().map(|(text, _)| text.parse().unwrap()).collect();
        assert!(
            numbers.is_sorted() && numbers[0] == 0,
            "what came first is written, in its order: {numbers:?}"
        );
        journal.write(line("again"));
        journal.flush();
        assert_eq!(texts.try_iter().map(|(text, _)| text).collect::<Vec<_>>(), ["again"]);
    }

    #[test]
    fn the_end_waits_for_what_is_under_way_and_not_for_a_journal_that_hangs() {
        let (let_go, gate) = channel::<()>();
        let journal = Journal::start(move |_| {
            let _ = gate.recv();
        })
        .unwrap();
        journal.write(line("stuck"));
        journal.flush();
        assert_eq!(*journal.state.waiting(), 1, "it was waited for in vain, and that ended");
        let_go.send(()).unwrap();
        journal.flush();
        assert_eq!(*journal.state.waiting(), 0);
    }
}
