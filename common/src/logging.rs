//! Owns where log lines go: the systemd journal with structured fields when it is listening, otherwise lines on
//! standard error.
//!
//! A daemon must not fail because it cannot log: nothing here returns an error, blocks for long or panics.

use std::fmt::Write as _;
use std::io::Write as _;

use log::kv::{Error, Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

use crate::clock::{Clock as _, SystemClock};

/// Chooses the level when nothing else does: `error`, `warn`, `info`, `debug`, `trace` or `off`.
pub const LEVEL_VARIABLE: &str = "REEVE_LOG";
/// Enough to see what is done, not how.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::Info;
/// Libraries may warn; what else they say only interests who debugs them, with `trace`.
const LIBRARY_LEVEL: Level = Level::Warn;
/// Our own crates' names, as the start of a record's target.
const OWN_TARGET: &str = "reeve";
/// A line on standard error; what is longer is cut.
const LINE_LENGTH_MAX: usize = 8 * 1024;

/// Starts logging for the whole process under `identifier`. `level` goes before the variable `REEVE_LOG`. A second call
/// changes nothing but the level.
pub fn init(identifier: &str, level: Option<LevelFilter>) {
    let wanted = std::env::var(LEVEL_VARIABLE).ok();
    let read = wanted.as_deref().map(|text| (text, text.trim().parse::<LevelFilter>()));
    let from_variable = read.as_ref().and_then(|(_, level)| level.as_ref().ok().copied());
    let output = if connected_to_journal() { journal(identifier) } else { Output::StandardError };
    // Set already: somebody else logs, as under a test harness.
    let _ = log::set_boxed_logger(Box::new(Logger { output }));
    log::set_max_level(level.or(from_variable).unwrap_or(DEFAULT_LEVEL));
    if let Some((text, Err(_))) = read {
        log::warn!("{LEVEL_VARIABLE}={text:?} is no level; use error, warn, info, debug, trace or off");
    }
}

fn journal(identifier: &str) -> Output {
    JournalLog::empty().map_or(Output::StandardError, |journal| {
        Output::Journal(journal.with_syslog_identifier(identifier.to_owned()))
    })
}

enum Output {
    Journal(JournalLog),
    StandardError,
}

struct Logger {
    output: Output,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OWN_TARGET)
            || metadata.level() <= LIBRARY_LEVEL
            || log::max_level() == LevelFilter::Trace
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Output::Journal(journal) = &self.output
            && journal.journal_send(record).is_ok()
        {
            return;
        }
        let line = format_line(&SystemClock.now().to_string(), record);
        // Whoever reads the log is gone when this fails too; there is nobody to tell.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// One line: time, level, message, key-values. What comes from outside can neither start a new line nor steer a
/// terminal.
fn format_line(now: &str, record: &Record<'_>) -> String {
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(line, "{}", record.args());
    let _ = record.key_values().visit(&mut Pairs(&mut line));
    let line = crate::text::printable(&line.replace('\n', " | "), LINE_LENGTH_MAX);
    format!("{now} {:<5} {line}\n", record.level())
}

struct Pairs<'line>(&'line mut String);

impl<'pair> VisitSource<'pair> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'pair>, value: Value<'pair>) -> Result<(), Error> {
        let _ = write!(self.0, " {key}={value}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger() -> Logger {
        Logger { output: Output::StandardError }
    }

    #[test]
    fn a_line_holds_time_level_message_and_pairs() {
        let pairs = [("REEVE_VM", "7"), ("REEVE_HOST", "3")];
        let record =
            Record::builder().args(format_args!("started")).level(Level::Info).key_values(&pairs).build();
        assert_eq!(
            format_line("2023-11-14T22:13:20Z", &record),
            "2023-11-14T22:13:20Z INFO  started REEVE_VM=7 REEVE_HOST=3\n"
        );
    }

    #[test]
    fn what_comes_from_outside_stays_in_its_line() {
        let pairs = [("REEVE_HOST", "a\nERROR forged")];
        let record = Record::builder()
            .args(format_args!("first\nsecond\u{1b}[2J"))
            .level(Level::Warn)
            .key_values(&pairs)
            .build();
        assert_eq!(format_line("now", &record), "now WARN  first | second?[2J REEVE_HOST=a | ERROR forged\n");
    }

    #[test]
    fn libraries_are_heard_when_they_warn() {
        let chatty = Metadata::builder().level(Level::Info).target("quinn::connection").build();
        let worried = Metadata::builder().level(Level::Warn).target("quinn::connection").build();
        let own = Metadata::builder().level(Level::Debug).target("reeve_agent::session").build();
        assert!(!logger().enabled(&chatty));
        assert!(logger().enabled(&worried) && logger().enabled(&own));
    }
}
