//! Owns what `journalctl` is asked, and what its answer says: a question as arguments, a line of JSON as a line of the
//! journal.
//!
//! Must not: run anything.

use reeve_common::clock::Timestamp;
use reeve_common::journal::{JournalCursor, JournalLine, JournalQuery, JournalStart, JournalSubject};
use reeve_common::logging::{HOST_FIELD, MESSAGE_FIELD, OPERATION_FIELD, REALM_FIELD, VM_FIELD};
use reeve_common::text::{TEXT_LENGTH_MAX, printable};
use serde_json::Value;

/// Whose lines tell of a host: our own, and those of the daemons that libvirt may consist of.
const HOST_SOURCES: [&str; 8] = [
    "reeve-agent",
    "libvirtd",
    "virtqemud",
    "virtlogd",
    "virtlockd",
    "virtnetworkd",
    "virtstoraged",
    "virtproxyd",
];
/// Fields that are told beside the text.
const TOLD: [&str; 7] =
    [VM_FIELD, HOST_FIELD, REALM_FIELD, OPERATION_FIELD, MESSAGE_FIELD, "REEVE_OPERATOR", "REEVE_WORKFLOW"];
/// What is asked of each entry besides.
const WANTED: &str = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER";
/// The priority of a line that has none: information.
const PRIORITY_UNSAID: u8 = 6;
/// The longest name or value that is told.
const FIELD_LENGTH_MAX: usize = 128;

/// The arguments of `journalctl` for a question. What comes from outside is an id, a number or a cursor that has been
/// checked, and always behind a `=`: none of it can be an option.
pub(super) fn arguments(query: &JournalQuery) -> Vec<String> {
    let mut arguments = common_arguments();
    match &query.start {
        JournalStart::Latest => arguments.push(format!("--lines={}", query.lines_max)),
        // No number of lines: which end of what is left it counts from differs between releases of systemd.
        JournalStart::Since(at) => arguments.push(format!("--since=@{}.{:03}", at.0 / 1000, at.0 % 1000)),
        JournalStart::Behind(cursor) => arguments.push(format!("--after-cursor={}", cursor.as_str())),
    }
    match query.subject {
        JournalSubject::Vm(vm) => arguments.push(format!("{VM_FIELD}={vm}")),
        JournalSubject::Host => {
            arguments.extend(HOST_SOURCES.iter().map(|source| format!("SYSLOG_IDENTIFIER={source}")));
        }
    }
    arguments
}

/// The arguments that show the journal's last entry, whosesoever.
pub(super) fn arguments_for_end() -> Vec<String> {
    let mut arguments = common_arguments();
    arguments.push("--lines=1".to_owned());
    arguments
}

fn common_arguments() -> Vec<String> {
    let fields = TOLD.join(",");
    vec!["--no-pager".to_owned(), "--output=json".to_owned(), format!("--output-fields={WANTED},{fields}")]
}

/// An entry with its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: JournalLine,
    pub(super) cursor: JournalCursor,
}

/// Reads one line of `journalctl`'s JSON; none when it is no entry.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let entry: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| entry.get(name).and_then(text_of);
    let microseconds: u64 = text("__REALTIME_TIMESTAMP")?.parse().ok()?;
    let priority =
        text("PRIORITY").and_then(|priority| priority.parse().ok()).filter(|priority| *priority <= 7);
    let told = TOLD.iter().filter_map(|name| Some(((*name).to_owned(), text(name)?)));
    Some(Entry {
        cursor: JournalCursor::new(&text("__CURSOR")?).ok()?,
        line: JournalLine {
            at: Timestamp(microseconds / 1000),
            priority: priority.unwrap_or(PRIORITY_UNSAID),
            source: printable(&text("SYSLOG_IDENTIFIER").unwrap_or_default(), FIELD_LENGTH_MAX),
            text: printable(
                &text("MESSAGE").unwrap_or_else(|| TOO_LONG.to_owned()).replace('\n', " | "),
                TEXT_LENGTH_MAX,
            ),
            fields: told.map(|(name, value)| (name, printable(&value, FIELD_LENGTH_MAX))).collect(),
        },
    })
}

/// What stands for a text that the journal does not hand out, since it is too long for it.
const TOO_LONG: &str = "(longer than the journal tells)";

/// A field's text: as such, as the bytes of one that is not all printable, or the first of several.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) if parts.iter().all(Value::is_u64) => {
            let bytes: Option<Vec<u8>> =
                parts.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
            Some(String::from_utf8_lossy(&bytes?).into_owned())
        }
        Value::Array(several) => several.first().filter(|first| !first.is_array()).and_then(text_of),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::ids::VmId;

    use super::*;

    fn query(subject: JournalSubject, start: JournalStart) -> Vec<String> {
        arguments(&JournalQuery { subject, start, lines_max: 100 }).split_off(3)
    }

    #[test]
    fn questions_become_arguments() {
        let vm: VmId = "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap();
        let of_vm = "REEVE_VM=0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(query(JournalSubject::Vm(vm), JournalStart::Latest), ["--lines=100", of_vm]);
        let since = JournalStart::Since(Timestamp(1_700_000_000_042));
        assert_eq!(query(JournalSubject::Vm(vm), since), ["--since=@1700000000.042", of_vm]);
        let behind = JournalStart::Behind(JournalCursor::new("s=a;i=1").unwrap());
        let of_host = query(JournalSubject::Host, behind);
        assert_eq!(of_host[..2], ["--after-cursor=s=a;i=1", "SYSLOG_IDENTIFIER=reeve-agent"]);
    }

    #[test]
    fn an_entry_is_read() {
        let json = br#"{"__CURSOR":"s=a;i=1","__REALTIME_TIMESTAMP":"1700000000042999","MESSAGE":"VM x is running\nand well",
            "PRIORITY":"4","SYSLOG_IDENTIFIER":"reeve-agent","REEVE_VM":"x","_BOOT_ID":"b"}"#;
        let entry = read(json).unwrap();
        assert_eq!(entry.cursor.as_str(), "s=a;i=1");
        assert_eq!(
            entry.line,
            JournalLine {
                at: Timestamp(1_700_000_000_042),
                priority: 4,
                source: "reeve-agent".to_owned(),
                text: "VM x is running | and well".to_owned(),
                fields: vec![("REEVE_VM".to_owned(), "x".to_owned())],
            }
        );
    }

    #[test]
    fn strange_entries_are_read_as_far_as_they_go_and_rubbish_is_none() {
        let entry = |fields: &str| {
            read(format!(r#"{{"__CURSOR":"s=a","__REALTIME_TIMESTAMP":"1000"{fields}}}"#).as_bytes())
        };
        let bytes = entry(r#","MESSAGE":[104,105,27,255],"PRIORITY":"9""#).unwrap().line;
        assert_eq!((bytes.text.as_str(), bytes.priority), ("hi?\u{fffd}", 6));
        assert_eq!(entry(r#","MESSAGE":["first","second"]"#).unwrap().line.text, "first");
        assert_eq!(entry(r#","MESSAGE":null"#).unwrap().line.text, TOO_LONG);
        assert!(entry(&format!(r#","MESSAGE":"{}""#, "x".repeat(9999))).unwrap().line.text.len() < 1100);
        assert_eq!(entry(r#","MESSAGE":[[1],[2]]"#).unwrap().line.text, TOO_LONG);
        for bad in ["", "{}", "[]", "nonsense", r#"{"__CURSOR":"--file=x","__REALTIME_TIMESTAMP":"1"}"#] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
