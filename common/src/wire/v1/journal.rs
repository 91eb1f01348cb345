//! Owns questions for a host's journal and their answers as they are on the wire, protocol version 1.

use serde::{Deserialize, Serialize};

use super::{FreeText, Id, InvalidMessage, from_free_text, from_id, in_range, to_free_text, to_id};
use crate::clock::Timestamp;
use crate::ids::VmId;
use crate::journal as domain;
use crate::text::printable;
use crate::wire::bounded::{List, Text};
use crate::wire::limits::{
    JOURNAL_CURSOR_LENGTH_MAX, JOURNAL_FIELD_LENGTH_MAX, JOURNAL_FIELDS_MAX, JOURNAL_LINES_MAX,
};

/// The least that matters by syslog's count.
const PRIORITY_MAX: u64 = 7;

type Cursor = Text<JOURNAL_CURSOR_LENGTH_MAX>;
type FieldText = Text<{ JOURNAL_FIELD_LENGTH_MAX + '…'.len_utf8() }>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalQuery {
    subject: Subject,
    start: Start,
    lines_max: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Subject {
    Vm(Id),
    Host,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Start {
    Latest,
    Since { milliseconds: u64 },
    Behind(Cursor),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JournalPage {
    lines: List<JournalLine, JOURNAL_LINES_MAX>,
    cursor: Option<Cursor>,
    more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct JournalLine {
    at_milliseconds: u64,
    priority: u8,
    source: FieldText,
    text: FreeText,
    fields: List<Field, JOURNAL_FIELDS_MAX>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Field {
    name: FieldText,
    value: FieldText,
}

fn to_field_text(text: &str) -> FieldText {
    Text(printable(text, JOURNAL_FIELD_LENGTH_MAX))
}

fn from_field_text(text: &FieldText) -> String {
    printable(&text.0, JOURNAL_FIELD_LENGTH_MAX)
}

fn from_cursor(cursor: &Cursor) -> Result<domain::JournalCursor, InvalidMessage> {
    domain::JournalCursor::new(&cursor.0).map_err(|_| InvalidMessage::Form {
        what: "a place in a journal",
        text: printable(&cursor.0, JOURNAL_FIELD_LENGTH_MAX),
    })
}

impl From<domain::JournalQuery> for JournalQuery {
    fn from(query: domain::JournalQuery) -> Self {
        let subject = match query.subject {
            domain::JournalSubject::Vm(vm) => Subject::Vm(to_id(vm.0)),
            domain::JournalSubject::Host => Subject::Host,
        };
        let start = match query.start {
            domain::JournalStart::Latest => Start::Latest,
            domain::JournalStart::Since(at) => Start::Since { milliseconds: at.0 },
            domain::JournalStart::Behind(cursor) => Start::Behind(Text(cursor.as_str().to_owned())),
        };
        Self { subject, start, lines_max: query.lines_max }
    }
}

impl TryFrom<JournalQuery> for domain::JournalQuery {
    type Error = InvalidMessage;

    fn try_from(query: JournalQuery) -> Result<Self, InvalidMessage> {
        let subject = match query.subject {
            Subject::Vm(vm) => domain::JournalSubject::Vm(VmId(from_id(vm))),
            Subject::Host => domain::JournalSubject::Host,
        };
        let start = match query.start {
            Start::Latest => domain::JournalStart::Latest,
            Start::Since { milliseconds } => domain::JournalStart::Since(Timestamp(milliseconds)),
            Start::Behind(cursor) => domain::JournalStart::Behind(from_cursor(&cursor)?),
        };
        // No answer could carry more, so less is asked for rather than the question refused.
        Ok(Self { subject, start, lines_max: query.lines_max.min(domain::JOURNAL_LINES_MAX) })
    }
}

impl From<domain::JournalPage> for JournalPage {
    fn from(page: domain::JournalPage) -> Self {
        let lines = page.lines.into_iter().map(|line| JournalLine {
            at_milliseconds: line.at.0,
            priority: line.priority,
            source: to_field_text(&line.source),
            text: to_free_text(&line.text),
            fields: List(
                line.fields
                    .iter()
                    .take(JOURNAL_FIELDS_MAX)
                    .map(|(name, value)| Field { name: to_field_text(name), value: to_field_text(value) })
                    .collect(),
            ),
        });
        let cursor = page.cursor.map(|cursor| Text(cursor.as_str().to_owned()));
        Self { lines: List(lines.collect()), cursor, more: page.more }
    }
}

impl TryFrom<JournalPage> for domain::JournalPage {
    type Error = InvalidMessage;

    fn try_from(page: JournalPage) -> Result<Self, InvalidMessage> {
        let line = |line: JournalLine| {
            in_range("a line's priority", u64::from(line.priority), 0, PRIORITY_MAX)?;
            let fields = line.fields.0.iter();
            Ok::<_, InvalidMessage>(domain::JournalLine {
                at: Timestamp(line.at_milliseconds),
                priority: line.priority,
                source: from_field_text(&line.source),
                text: from_free_text(&line.text),
                fields: fields
                    .map(|field| (from_field_text(&field.name), from_field_text(&field.value)))
                    .collect(),
            })
        };
        Ok(Self {
            lines: page.lines.0.into_iter().map(line).collect::<Result<_, _>>()?,
            cursor: page.cursor.as_ref().map(from_cursor).transpose()?,
            more: page.more,
        })
    }
}
