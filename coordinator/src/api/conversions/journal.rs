//! Owns how lines of hosts' journals become documents.

use reeve_common::journal as domain;
use reeve_common::logging::{MESSAGE_FIELD, messages};

use crate::api::types::{JournalLevel, JournalLine, JournalPage};
use crate::service::HostJournal;

pub(in crate::api) fn journal_of(journal: HostJournal) -> JournalPage {
    let domain::JournalPage { lines, cursor, more } = journal.page;
    JournalPage {
        host: journal.host,
        lines: lines.into_iter().map(line_of).collect(),
        cursor: cursor.map(|cursor| cursor.as_str().to_owned()),
        more,
    }
}

fn line_of(line: domain::JournalLine) -> JournalLine {
    let message = line.fields.iter().find(|(name, _)| name == MESSAGE_FIELD);
    JournalLine {
        at: line.at.into(),
        level: level_of(line.priority),
        source: line.source,
        text: line.text,
        message: message.and_then(|(_, id)| messages::by_id(id)).map(|message| message.name.to_owned()),
        fields: line.fields.into_iter().filter(|(name, _)| name != MESSAGE_FIELD).collect(),
    }
}

/// Syslog's priorities in fewer words: an emergency is an error, too.
const fn level_of(priority: u8) -> JournalLevel {
    match priority {
        0..=3 => JournalLevel::Error,
        4 => JournalLevel::Warning,
        5 => JournalLevel::Notice,
        6 => JournalLevel::Information,
        _ => JournalLevel::Debug,
    }
}
