//! Holds what every log line must say of itself: whom it is about, in a field, and which message it is when it is worth an
//! alert; and that each message is really logged, and stands in the journal's catalogue.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use reeve_common::logging::messages;

use super::{Source, assert_none, root, sources};

/// The fields there are: a name that is misspelt would be a field that nobody looks for.
const FIELDS: [&str; 8] = [
    "MESSAGE_ID",
    "REEVE_HOST",
    "REEVE_OPERATION",
    "REEVE_OPERATOR",
    "REEVE_OWNER",
    "REEVE_REALM",
    "REEVE_VM",
    "REEVE_WORKFLOW",
];

/// What a line says when it is about something, and the field that it has then.
const ABOUT: [(&str, &str); 7] = [
    ("VM {", "REEVE_VM"),
    ("domain {vm", "REEVE_VM"),
    ("host {", "REEVE_HOST"),
    ("realm {", "REEVE_REALM"),
    ("workflow {", "REEVE_WORKFLOW"),
    ("{what} is", "REEVE_WORKFLOW"),
    ("a command was refused", "REEVE_OPERATION"),
];

/// One call of a log macro.
#[derive(Debug)]
struct Call {
    place: String,
    level: String,
    /// The fields' names and, behind the semicolon, the rest.
    fields: Vec<String>,
    text: String,
}

/// Finds the calls of log macros in a source, over several lines and with strings in them.
fn calls(source: &Source) -> Vec<Call> {
    let mut found = Vec::new();
    for (at, _) in source.text.match_indices("log::") {
        let behind = &source.text[at + "log::".len()..];
        let Some((level, rest)) = behind.split_once("!(") else { continue };
        if !["error", "warn", "info", "debug", "trace", "log"].contains(&level) {
            continue;
        }
        let (keys, text) = split_call(rest);
        let fields =
            keys.split(',').filter_map(|pair| pair.split_once(':')).map(|(key, _)| key.trim().to_owned());
        let line = source.text[..at].matches('\n').count() + 1;
        found.push(Call {
            place: format!("{}:{line}", source.path),
            level: level.to_owned(),
            fields: fields
                .filter(|field| field.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
                .collect(),
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
        });
    }
    found
}

/// What stands between the parentheses, before and behind the semicolon that ends the fields.
fn split_call(rest: &str) -> (&str, &str) {
    let (mut depth, mut in_string, mut escaped, mut semicolon) = (1, false, false, None);
    for (at, character) in rest.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            ';' if semicolon.is_none() => semicolon = Some(at),
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return semicolon.map_or(("", &rest[..at]), |semicolon| {
                        (&rest[..semicolon], &rest[semicolon + 1..at])
                    });
                }
            }
            _ => {}
        }
    }
    ("", rest)
}

/// Lines that say too little of themselves.
fn silent_about(source: &Source) -> Vec<String> {
    let mut offences = Vec::new();
    // A process of an agent speaks for one host, and says so in every line; see `logging::speak_for`.
    let speaks_for_host = source.is_in("agent/src/");
    for call in calls(source) {
        for (words, field) in ABOUT {
            let said_by_process = speaks_for_host && ["REEVE_HOST", "REEVE_REALM"].contains(&field);
            // An agent obeys within the operation; see `logging::in_operation`.
            if call.text.contains(words) && !call.fields.iter().any(|name| name == field) && !said_by_process
            {
                offences.push(format!("{} says {words:?} and has no {field}", call.place));
            }
        }
        for field in call.fields.iter().filter(|field| !FIELDS.contains(&field.as_str())) {
            offences.push(format!("{} has the field {field}, which nobody knows", call.place));
        }
        if call.level == "error" && !call.fields.iter().any(|field| field == "MESSAGE_ID") {
            offences.push(format!("{} is an error and no message of the catalogue", call.place));
        }
    }
    offences
}

#[test]
fn the_rules_about_lines_can_fail() {
    let source = |text: &str| Source { path: "coordinator/src/a.rs".to_owned(), text: text.to_owned() };
    let count = |text: &str| silent_about(&source(text)).len();
    assert_eq!(count("log::info!(\"VM {vm} is here (or; not)\");"), 1);
    assert_eq!(count("log::info!(REEVE_VM:% = vm;\n  \"VM {vm} is here\");"), 0);
    assert_eq!(count("log::info!(REEVE_VM:% = vm; \"VM {vm} is on host {host}\");"), 1);
    assert_eq!(count("log::error!(\"the disk \\\" is full\");"), 1);
    assert_eq!(count("log::error!(MESSAGE_ID:% = messages::STORE_FULL; \"the disk is full\");"), 0);
    assert_eq!(count("log::info!(REEVE_VN:% = vm; \"a field misspelt\");"), 1);
    assert_eq!(count("log::log!(level, MESSAGE_ID:% = m, REEVE_VM:% = vm;\n \"VM {vm}\");"), 0);
    let agents =
        Source { path: "agent/src/a.rs".to_owned(), text: "log::info!(\"host {host} is here\");".to_owned() };
    assert_eq!(silent_about(&agents), Vec::<String>::new());
}

#[test]
fn every_line_names_in_its_fields_whom_it_is_about_and_every_error_is_a_message() {
    let sources = sources();
    let calls: usize = sources.iter().map(|source| calls(source).len()).sum();
    assert!(calls > 150, "only {calls} log lines were found");
    let offences: Vec<String> = sources.iter().flat_map(silent_about).collect();
    assert_none("a log line says too little of itself", &offences);
}

#[test]
fn every_message_is_logged_somewhere() {
    let sources = sources();
    let table = fs::read_to_string(root().join("common/src/logging/messages.rs")).unwrap();
    let constants: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(" = \""))
        .map(|(constant, _)| constant)
        .filter(|constant| constant.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_'))
        .collect();
    assert_eq!(constants.len(), messages::ALL.len(), "the table is not written as it is read here");
    let used = |constant: &&str| {
        let name = format!("messages::{constant}");
        let users = sources.iter().filter(|source| source.path != "common/src/logging/messages.rs");
        users.into_iter().any(|source| source.code().any(|(_, code)| super::names(&code, &name)))
    };
    let unused: Vec<String> =
        constants.into_iter().filter(|constant| !used(constant)).map(str::to_owned).collect();
    assert_none("a message is never logged", &unused);
}

/// An entry of the catalogue: its header's lines and its paragraphs.
#[derive(Debug, Default)]
struct Entry {
    header: BTreeMap<String, String>,
    paragraphs: Vec<String>,
}

fn catalogue(text: &str) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    for part in text.split("\n-- ").skip(1) {
        let (id, rest) = part.split_once('\n').unwrap();
        let (header, body) = rest.split_once("\n\n").unwrap();
        let header = header.lines().filter_map(|line| line.split_once(": "));
        let entry = Entry {
            header: header.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            paragraphs: body
                .split("\n\n")
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
                .collect(),
        };
        assert!(entries.insert(id.trim().to_owned(), entry).is_none(), "{id} stands twice in the catalogue");
    }
    entries
}

#[test]
fn the_catalogue_and_the_messages_are_the_same() {
    let text = fs::read_to_string(root().join("packaging/journal/reeve.catalog")).unwrap();
    let entries = catalogue(&text);
    let written: BTreeSet<String> = entries.keys().cloned().collect();
    let messages: BTreeSet<String> = messages::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(written, messages, "the catalogue and the messages differ");
    for message in messages::ALL {
        let entry = &entries[&message.to_string()];
        assert_eq!(entry.header["Subject"], message.subject, "{}", message.name);
        assert_eq!(entry.header["Defined-By"], "reeve", "{}", message.name);
        assert!(
            entry.header.contains_key("Support") && entry.header.contains_key("Documentation"),
            "{}",
            message.name
        );
        // What happened, what it means, what to do.
        assert!(entry.paragraphs.len() >= 3, "{} says too little: {:?}", message.name, entry.paragraphs);
        assert!(
            entry.paragraphs.last().unwrap().starts_with("To do: "),
            "{} does not say what to do",
            message.name
        );
        for (_, field) in message.subject.split('@').enumerate().filter(|(place, _)| place % 2 == 1) {
            assert!(FIELDS.contains(&field), "{} stands for a field nobody knows: {field}", message.name);
        }
    }
}
