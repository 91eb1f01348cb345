//! Owns where log lines go: the systemd journal with structured fields when it is listening, otherwise lines on
//! standard error.
//!
//! ```text
//!   log macros ─▶ Logger ─▶ line.rs ─▶ flood.rs ──▶ journal.rs (a queue, a thread), or standard error
//!                                        └─▶ held ─▶ the summaries' thread, once a minute at most
//! ```
//!
//! A daemon must not fail because it cannot log: nothing here returns an error, blocks for long or panics.

mod flood;
mod journal;
mod line;
pub mod messages;

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use self::flood::{FloodGate, Held, Kind, WINDOW};
use self::journal::Journal;
use self::line::{Fields, journal_level, on_standard_error, one_line};
pub use self::line::{HOST_FIELD, MESSAGE_FIELD, OPERATION_FIELD, REALM_FIELD, VM_FIELD};
pub use self::messages::Message;
use crate::clock::{Clock as _, SystemClock};
use crate::ids::OperationId;

/// Chooses the level when nothing else does: `error`, `warn`, `info`, `debug`, `trace` or `off`.
pub const LEVEL_VARIABLE: &str = "REEVE_LOG";
/// Enough to see what is done, not how.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;
/// Libraries may warn; what else they say only interests who debugs them, with `trace`.
const LIBRARY_LEVEL: Level = Level::Warn;
/// Our own crates' names, as the start of a record's target.
const OWN_TARGET: &str = "reeve";
/// The thread that tells what was held sleeps and formats; a usual stack would only be address space.
const SUMMARIES_STACK: usize = 128 << 10;

/// The host and the realm that this process speaks for, if it is one host's.
static SPEAKS_FOR: OnceLock<(String, String)> = OnceLock::new();

/// Starts logging for the whole process under `identifier`. `level` goes before the variable `REEVE_LOG`. A second call
/// changes nothing but the level.
pub fn init(identifier: &str, level: Option<LevelFilter>) {
    let wanted = std::env::var(LEVEL_VARIABLE).ok();
    let read = wanted.as_deref().map(|text| (text, text.trim().parse::<LevelFilter>()));
    let from_variable = read.as_ref().and_then(|(_, level)| level.as_ref().ok().copied());
    let output = output(identifier);
    GOES_TO_JOURNAL.store(matches!(output, Output::Journal(_)), Ordering::Relaxed);
    let lines = Arc::new(Lines::new(output));
    // Set already: somebody else logs, as under a test harness.
    if log::set_boxed_logger(Box::new(Logger(Arc::clone(&lines)))).is_ok() {
        let summaries =
            std::thread::Builder::new().name("log-summaries".to_owned()).stack_size(SUMMARIES_STACK);
        // Without it what was held is told with the next line of its kind, or never.
        let _ = summaries.spawn(move || lines.keep_telling());
    }
    log::set_max_level(level.or(from_variable).unwrap_or(DEFAULT_LEVEL));
    if let Some((text, Err(_))) = read {
        log::warn!("{LEVEL_VARIABLE}={text:?} is no level; use error, warn, info, debug, trace or off");
    }
}

/// From now on every line of this process is about `host` of `realm` unless it says otherwise. Only the first call
/// counts: a process speaks for one host, or for none.
pub fn speak_for(host: &str, realm: &str) {
    let _ = SPEAKS_FOR.set((host.to_owned(), realm.to_owned()));
}

/// Whom a line is about that does not say it itself.
fn add_speaker(fields: &mut Fields) {
    if let Some((host, realm)) = SPEAKS_FOR.get() {
        fields.add(HOST_FIELD, host);
        fields.add(REALM_FIELD, realm);
    }
}

/// Whether the journal is where lines go.
static GOES_TO_JOURNAL: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    /// The operation that a task works on.
    static OPERATION: OperationId;
}

/// Does `work`, whose lines are about `operation` unless they say otherwise; what it spawns is not within.
pub async fn in_operation<F: Future>(operation: OperationId, work: F) -> F::Output {
    OPERATION.scope(operation, work).await
}

/// Whether lines go to the journal: what is told to a person at a terminal is told there then.
#[must_use]
pub fn goes_to_journal() -> bool {
    GOES_TO_JOURNAL.load(Ordering::Relaxed)
}

/// Tells at once what is held back; for the end of the process.
pub fn finish() {
    log::logger().flush();
}

fn output(identifier: &str) -> Output {
    if !connected_to_journal() {
        return Output::StandardError;
    }
    let journal = JournalLog::empty().and_then(|journal| {
        let journal = journal.with_syslog_identifier(identifier.to_owned());
        Journal::start(move |line: &Line| line.write_to(&journal))
    });
    journal.map_or(Output::StandardError, Output::Journal)
}

enum Output {
    Journal(Journal),
    StandardError,
    /// Kept for whoever looks.
    #[cfg(test)]
    Kept(Mutex<Vec<String>>),
}

/// A line, whole and harmless.
#[derive(Debug, Clone)]
struct Line {
    level: Level,
    target: String,
    place: (&'static str, u32),
    text: String,
    fields: Fields,
}

impl Line {
    fn of(record: &Record<'_>) -> Self {
        let mut fields = Fields::of(record.key_values());
        add_speaker(&mut fields);
        if let Ok(operation) = OPERATION.try_with(ToString::to_string) {
            fields.add(OPERATION_FIELD, &operation);
        }
        Self {
            level: record.level(),
            target: record.target().to_owned(),
            place: (record.file_static().unwrap_or("?"), record.line().unwrap_or(0)),
            text: one_line(&record.args().to_string()),
            fields,
        }
    }

    /// That so many lines found no room on their way to the journal.
    fn of_lost(count: u64) -> Self {
        let text = format!("{count} lines were not written: the journal did not take them");
        let mut fields = Fields::default();
        fields.add(MESSAGE_FIELD, &messages::LINES_LOST.to_string());
        add_speaker(&mut fields);
        let (target, place) = (module_path!().to_owned(), (file!(), line!()));
        Self { level: Level::Warn, target, place, text, fields }
    }

    /// Writes it to the journal, or where that cannot be, on standard error.
    fn write_to(&self, journal: &JournalLog) {
        let written = journal.journal_send(
            &Record::builder()
                .level(journal_level(self.level, self.fields.get(MESSAGE_FIELD).is_some()))
                .target(&self.target)
                .file_static(Some(self.place.0))
                .line(Some(self.place.1))
                .key_values(&self.fields)
                .args(format_args!("{}", self.text))
                .build(),
        );
        if written.is_err() {
            self.write_on_standard_error();
        }
    }

    fn write_on_standard_error(&self) {
        let line = on_standard_error(&SystemClock.now().to_string(), self.level, &self.text, &self.fields);
        // Whoever reads the log is gone when this fails too; there is nobody to tell.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    /// That lines like this one were not written.
    fn summing_up(held: Held<Self>) -> Self {
        let Held { count, last } = held;
        let text = format!("{count} more of the same within {} s, the last: {}", WINDOW.as_secs(), last.text);
        Self { text: one_line(&text), ..last }
    }
}

struct Lines {
    output: Output,
    gate: Mutex<FloodGate<Line>>,
    held: Condvar,
    began: Instant,
    hasher: RandomState,
}

impl Lines {
    fn new(output: Output) -> Self {
        let began = SystemClock.monotonic();
        Self { output, gate: Mutex::default(), held: Condvar::new(), began, hasher: RandomState::new() }
    }

    fn gate(&self) -> MutexGuard<'_, FloodGate<Line>> {
        // It counts: a panic cannot have left it worse than a line too many.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> Duration {
        SystemClock.monotonic().duration_since(self.began)
    }

    /// Whoever asks for details gets all of them; the rest is bounded.
    fn take(&self, line: &Line) {
        if line.level > Level::Info {
            self.write(line);
            return;
        }
        // One place may log several messages, as where a peer is refused.
        let subject = self.hasher.hash_one((line.fields.subject(), line.fields.get(MESSAGE_FIELD)));
        let kind = Kind { place: line.place, subject };
        let (write, told) = self.gate().offer(kind, self.elapsed(), || line.clone());
        if let Some(told) = told {
            self.write(&Line::summing_up(told));
        }
        if write {
            self.write(line);
        } else {
            self.held.notify_one();
        }
    }

    fn write(&self, line: &Line) {
        match &self.output {
            Output::Journal(journal) => journal.write(line.clone()),
            Output::StandardError => line.write_on_standard_error(),
            #[cfg(test)]
            Output::Kept(kept) => {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line.text.clone());
            }
        }
    }

    /// Tells what was held when its time is over, for ever.
    fn keep_telling(&self) {
        let mut gate = self.gate();
        loop {
            let now = self.elapsed();
            let due = gate.take_due(now);
            if !due.is_empty() {
                drop(gate);
                due.into_iter().for_each(|held| self.write(&Line::summing_up(held)));
                gate = self.gate();
                continue;
            }
            gate = match gate.next_due() {
                None => self.held.wait(gate).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let pause = at.saturating_sub(now);
                    self.held
                        .wait_timeout(gate, pause)
                        .map_or_else(|error| error.into_inner().0, |(gate, _)| gate)
                }
            };
        }
    }
}

struct Logger(Arc<Lines>);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OWN_TARGET)
            || metadata.level() <= LIBRARY_LEVEL
            || log::max_level() == LevelFilter::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.take(&Line::of(record));
        }
    }

    fn flush(&self) {
        let held = self.0.gate().take_all();
        held.into_iter().for_each(|held| self.0.write(&Line::summing_up(held)));
        if let Output::Journal(journal) = &self.0.output {
            journal.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_heard_when_they_warn() {
        let logger = Logger(Arc::new(Lines::new(Output::StandardError)));
        let chatty = Metadata::builder().level(Level::Info).target("quinn::connection").build();
        let worried = Metadata::builder().level(Level::Warn).target("quinn::connection").build();
        let own = Metadata::builder().level(Level::Debug).target("reeve_agent::session").build();
        assert!(!logger.enabled(&chatty));
        assert!(logger.enabled(&worried) && logger.enabled(&own));
    }

    #[test]
    fn a_flood_is_written_in_part_and_summed_up_at_the_end_and_details_are_never_held() {
        let logger = Logger(Arc::new(Lines::new(Output::Kept(Mutex::default()))));
        let say = |level: Level, host: &str| {
            let pairs = [(HOST_FIELD, host)];
            let mut record = Record::builder();
            let record = record.level(level).target("reeve_test").file_static(Some("a.rs")).line(Some(1));
            logger.log(&record.key_values(&pairs).args(format_args!("{host} is away")).build());
        };
        for _ in 0..100 {
            say(Level::Warn, "node-1");
            say(Level::Debug, "node-1");
        }
        say(Level::Warn, "node-2");
        logger.flush();
        logger.flush();
        let Output::Kept(kept) = &logger.0.output else { unreachable!() };
        let kept = kept.lock().unwrap();
        let count = |text: &str| kept.iter().filter(|line| *line == text).count();
        assert_eq!(count("node-1 is away"), 110, "ten warnings and a hundred details");
        assert_eq!(count("node-2 is away"), 1, "another host's flood is no reason to be silent");
        assert_eq!(count("90 more of the same within 60 s, the last: node-1 is away"), 1, "{kept:?}");
    }

    #[tokio::test]
    async fn lines_within_an_operation_say_so() {
        let operation = OperationId::random();
        let fields = |pairs: &[(&str, &str)]| {
            Line::of(&Record::builder().args(format_args!("x")).key_values(&pairs).build()).fields
        };
        let (within, own) =
            in_operation(operation, async { (fields(&[]), fields(&[(OPERATION_FIELD, "7")])) }).await;
        assert_eq!(within.get(OPERATION_FIELD), Some(operation.to_string().as_str()));
        assert_eq!(own.get(OPERATION_FIELD), Some("7"), "what a line says itself goes first");
        assert_eq!(fields(&[]).get(OPERATION_FIELD), None);
    }

    #[test]
    fn that_lines_were_lost_is_found_where_the_lines_would_be() {
        speak_for("node-1", "lab");
        let fields = Line::of_lost(3).fields;
        let about = [HOST_FIELD, REALM_FIELD].map(|name| fields.get(name));
        assert_eq!(about, [Some("node-1"), Some("lab")]);
    }

    #[test]
    fn what_is_held_is_summed_up_with_the_last_of_it() {
        let record = Record::builder().args(format_args!("host node-1 is away")).level(Level::Warn).build();
        let summed = Line::summing_up(Held { count: 3, last: Line::of(&record) });
        assert_eq!(summed.text, "3 more of the same within 60 s, the last: host node-1 is away");
        assert_eq!(summed.level, Level::Warn);
    }
}
