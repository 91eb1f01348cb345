//! Owns how lines of a journal are shown: one on a line, as journals are read.

use reeve_common::text::printable;

use crate::api::types::{JournalLevel, JournalLine};

/// The longest text of a line, in bytes.
const TEXT_LENGTH_MAX: usize = 4096;
/// The longest name of a program, in bytes.
const SOURCE_LENGTH_MAX: usize = 64;

/// `2026-03-01T12:00:00.250Z reeve-agent warning: VM … has ended [vm-ended]`
pub(in crate::cli) fn lines(lines: &[JournalLine]) -> String {
    lines.iter().map(line).collect()
}

fn line(line: &JournalLine) -> String {
    let level = match line.level {
        JournalLevel::Error | JournalLevel::Warning => format!(" {}", line.level.as_str()),
        JournalLevel::Notice | JournalLevel::Information | JournalLevel::Debug => String::new(),
    };
    let message =
        line.message.as_ref().map(|message| format!(" [{}]", printable(message, SOURCE_LENGTH_MAX)));
    format!(
        "{} {}{level}: {}{}\n",
        line.at,
        printable(&line.source, SOURCE_LENGTH_MAX),
        printable(&line.text, TEXT_LENGTH_MAX),
        message.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use reeve_common::clock::Timestamp;

    use super::*;
    use crate::api::types::Moment;

    #[test]
    fn a_line_is_one_line_and_cannot_steer_a_terminal() {
        let said = JournalLine {
            at: Moment(Timestamp(1_700_000_000_042)),
            level: JournalLevel::Warning,
            source: "reeve-agent".to_owned(),
            text: "VM is gone\n\u{1b}[2J".to_owned(),
            message: Some("vm-ended".to_owned()),
            fields: std::collections::BTreeMap::new(),
        };
        let quiet = JournalLine { level: JournalLevel::Notice, message: None, ..said.clone() };
        assert_eq!(
            lines(&[said, quiet]),
            "2023-11-14T22:13:20.042Z reeve-agent warning: VM is gone??[2J [vm-ended]\n\
             2023-11-14T22:13:20.042Z reeve-agent: VM is gone??[2J\n"
        );
    }
}
