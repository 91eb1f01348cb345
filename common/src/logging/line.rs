//! Owns what a line is made of: a text of bounded length that can neither start a new line nor steer a terminal, its
//! fields, how it looks on standard error, and with which priority it goes to the journal.
//!
//! Must not: write anything.

use std::fmt::Write as _;

use log::Level;
use log::kv::{Error, Key, Source, Value, VisitSource};

use super::messages;
use crate::text::{TEXT_LENGTH_MAX, printable};

/// The field of the VM that a line is about: its id.
pub const VM_FIELD: &str = "REEVE_VM";
/// The field of the host that a line is about: its name.
pub const HOST_FIELD: &str = "REEVE_HOST";
/// The field of the realm that a line is about: its name.
pub const REALM_FIELD: &str = "REEVE_REALM";
/// The field of the operation in the course of which a line was written: its id, as in the audit log.
pub const OPERATION_FIELD: &str = "REEVE_OPERATION";
/// The field that names a message of [`messages`].
pub const MESSAGE_FIELD: &str = "MESSAGE_ID";

/// A line's text; what is longer is cut.
const LINE_LENGTH_MAX: usize = 8 * 1024;
/// Fields of one line: ours have six at most.
const FIELDS_MAX: usize = 32;

/// A line's fields, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn of(source: &dyn Source) -> Self {
        let mut fields = Self::default();
        // Only a visitor can fail, and this one does not.
        let _ = source.visit(&mut fields);
        fields
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Adds a field, unless the line has said it itself or is full.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        if self.0.len() < FIELDS_MAX && self.get(name).is_none() && !value.is_empty() {
            self.0.push((name.to_owned(), printable(value, TEXT_LENGTH_MAX)));
        }
    }

    /// Whom the line is about, as specific as it says; for telling floods apart.
    pub(super) fn subject(&self) -> Option<&str> {
        self.get(VM_FIELD).or_else(|| self.get(HOST_FIELD)).or_else(|| self.get(REALM_FIELD))
    }
}

impl<'pair> VisitSource<'pair> for Fields {
    fn visit_pair(&mut self, key: Key<'pair>, value: Value<'pair>) -> Result<(), Error> {
        self.add(key.as_str(), &value.to_string());
        Ok(())
    }
}

impl Source for Fields {
    fn visit<'pairs>(&'pairs self, visitor: &mut dyn VisitSource<'pairs>) -> Result<(), Error> {
        self.0.iter().try_for_each(|(name, value)| {
            visitor.visit_pair(Key::from_str(name), Value::from(value.as_str()))
        })
    }
}

/// A message's text in one line.
pub(super) fn one_line(text: &str) -> String {
    printable(&text.replace('\n', " | "), LINE_LENGTH_MAX)
}

/// A line on standard error: time, level, text, fields. A message is called by its name there, since nobody looks up a
/// number.
pub(super) fn on_standard_error(now: &str, level: Level, text: &str, fields: &Fields) -> String {
    let mut line = format!("{now} {level:<5} {text}");
    for (name, value) in &fields.0 {
        let known = if name == MESSAGE_FIELD { messages::by_id(value) } else { None };
        // Writing to a string cannot fail.
        let _ = match known {
            Some(message) => write!(line, " message={}", message.name),
            None => write!(line, " {name}={value}"),
        };
    }
    line.push('\n');
    line
}

/// The level to hand to the journal's library so that the entry gets the priority of syslog's words: errors 3,
/// warnings 4, what has a message and is no trouble 5 (notice), other information 6, the rest 7. The library counts
/// one up from there for what is below a warning.
pub(super) const fn journal_level(level: Level, has_message: bool) -> Level {
    match (level, has_message) {
        (Level::Error, _) => Level::Error,
        (Level::Warn, _) => Level::Warn,
        (Level::Info, true) => Level::Info,
        (Level::Info, false) => Level::Debug,
        (Level::Debug | Level::Trace, _) => Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_time_level_message_and_fields() {
        let id = messages::HOST_LOST.to_string();
        let pairs = [("REEVE_VM", "7"), ("REEVE_HOST", "node-3"), ("MESSAGE_ID", id.as_str())];
        assert_eq!(
            on_standard_error("2023-11-14T22:13:20Z", Level::Info, "started", &Fields::of(&pairs)),
            "2023-11-14T22:13:20Z INFO  started REEVE_VM=7 REEVE_HOST=node-3 message=host-lost\n"
        );
    }

    #[test]
    fn what_comes_from_outside_stays_in_its_line() {
        let fields = Fields::of(&[("REEVE_HOST", "a\nERROR forged")]);
        let text = one_line("first\nsecond\u{1b}[2J");
        assert_eq!(
            on_standard_error("now", Level::Warn, &text, &fields),
            "now WARN  first | second?[2J REEVE_HOST=a?ERROR forged\n"
        );
        assert!(one_line(&"x".repeat(1 << 20)).len() <= LINE_LENGTH_MAX + '…'.len_utf8());
        let many: Vec<(String, &str)> = (0..100).map(|number| (format!("F{number}"), "1")).collect();
        let mut fields = Fields::default();
        many.iter().for_each(|(name, value)| fields.add(name, value));
        assert_eq!(fields.0.len(), FIELDS_MAX);
    }

    #[test]
    fn what_a_line_says_itself_goes_before_what_the_process_says() {
        let mut fields = Fields::of(&[("REEVE_HOST", "node-1")]);
        fields.add(HOST_FIELD, "node-2");
        fields.add(REALM_FIELD, "lab");
        assert_eq!(fields, Fields::of(&[("REEVE_HOST", "node-1"), ("REEVE_REALM", "lab")]));
        assert_eq!(fields.subject(), Some("node-1"));
    }
}
