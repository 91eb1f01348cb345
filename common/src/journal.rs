//! Owns what is asked of a host's journal and what is answered, as values: whose lines, from where on, and the lines
//! themselves, some at a time. Whoever follows a journal asks again from behind the last line that it has.
//!
//! Must not: read a journal.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::VmId;

/// The longest mark of a place in a journal: systemd's have about 150 characters.
pub const CURSOR_LENGTH_MAX: usize = 256;
/// The most lines in one answer: what a person reads at once, many times over.
pub const JOURNAL_LINES_MAX: u32 = 500;

/// Whose lines are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JournalSubject {
    /// Lines about one VM, whoever on the host wrote them.
    Vm(VmId),
    /// What the host's agent and libvirt's daemons write.
    Host,
}

/// From where on lines are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JournalStart {
    /// The latest ones.
    Latest,
    /// The first ones from a moment on.
    Since(Timestamp),
    /// The first ones behind a place.
    Behind(JournalCursor),
}

/// A question for a host's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalQuery {
    /// Whose lines.
    pub subject: JournalSubject,
    /// From where on.
    pub start: JournalStart,
    /// At most so many; never more than [`JOURNAL_LINES_MAX`].
    pub lines_max: u32,
}

/// A place in a host's journal, in the journal's own words: it means something to that journal alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JournalCursor(String);

/// A text that is no place in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no place in a journal: it has letters, digits, `=` and `;`, and was given with earlier lines"
)]
pub struct InvalidCursor;

impl JournalCursor {
    /// The text as a cursor, if it looks like one. It may still mean nothing.
    ///
    /// # Errors
    /// [`InvalidCursor`] when it cannot be one, as when it could be taken for an option.
    pub fn new(text: &str) -> Result<Self, InvalidCursor> {
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '=' | ';');
        let starts_well = text.starts_with(|character: char| character.is_ascii_alphanumeric());
        if starts_well && text.len() <= CURSOR_LENGTH_MAX && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCursor)
        }
    }

    /// As the journal writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JournalCursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        Self::new(&text)
    }
}

impl From<JournalCursor> for String {
    fn from(cursor: JournalCursor) -> Self {
        cursor.0
    }
}

/// One line of a journal. All text is made printable and of bounded length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    /// When the journal took it.
    pub at: Timestamp,
    /// How much it matters, as syslog counts: 0 is the worst, 7 is for debugging.
    pub priority: u8,
    /// The program that wrote it.
    pub source: String,
    /// What it says.
    pub text: String,
    /// Whom it is about, and which message it is, by the fields' names.
    pub fields: Vec<(String, String)>,
}

/// Some lines of a journal, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    /// The lines.
    pub lines: Vec<JournalLine>,
    /// The place behind the last of them; none when the journal is empty.
    pub cursor: Option<JournalCursor>,
    /// Whether there are more behind it already.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_can_never_be_an_option_or_a_second_argument() {
        let real = "s=ec3ffe61a18849e592b5789cf664a0bb;i=8c2;b=59887259c213463b97f151a60771cef2;m=361a99366;t=6615dde204f11;x=7a929824ad38f3d8";
        assert_eq!(JournalCursor::new(real).unwrap().as_str(), real);
        let long = "a".repeat(CURSOR_LENGTH_MAX + 1);
        for bad in ["", "-n", "--file=/etc/shadow", "=a", "a b", "a\n", "a\0", "ä", &long] {
            assert_eq!(JournalCursor::new(bad), Err(InvalidCursor), "{bad:?}");
        }
    }
}
