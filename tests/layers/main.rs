//! Holds the layers of `ARCHITECTURE.md`: reads every source file of the product and looks at what it names. Each rule
//! is shown to be able to fail on an example before it is applied to the sources.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod log_lines;

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, by its path from the workspace's root, without its unit tests.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Its lines with their numbers, without comments and the contents of strings.
    fn code(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, without_comments_and_strings(line)))
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

fn without_comments_and_strings(line: &str) -> String {
    let mut out = String::new();
    let mut in_string = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => {
                characters.next();
            }
            '"' => in_string = !in_string,
            '/' if !in_string && characters.peek() == Some(&'/') => break,
            _ if in_string => {}
            _ => out.push(character),
        }
    }
    out
}

/// Whether `code` names `word` as a whole identifier.
fn names(code: &str, word: &str) -> bool {
    let part_of_identifier = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let ends = word.ends_with("::") || !after.is_some_and(part_of_identifier);
        !before.is_some_and(part_of_identifier) && ends
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["common/src", "agent/src", "coordinator/src", "coordinator/scheduler/src"] {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 40, "the sources were not found: only {} files", files.len());
    files
        .into_iter()
        .map(|file| {
            let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let text = fs::read_to_string(&file).unwrap();
            let end = text.find("\n#[cfg(test)]\nmod ").unwrap_or(text.len());
            Source { path, text: text[..end].to_owned() }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every place in `sources` chosen by `within` that names one of `words`.
fn offences(sources: &[Source], within: impl Fn(&Source) -> bool, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| within(source)) {
        for (number, code) in source.code() {
            found.extend(
                words
                    .iter()
                    .filter(|word| names(&code, word))
                    .map(|word| format!("{}:{number} names {word}", source.path)),
            );
        }
    }
    found
}

fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn the_rules_can_fail() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let bad = [source("common/src/a.rs", "use reeve_agent::x;\n// reeve_agent\nlet a = \"reeve_agent\";")];
    assert_eq!(offences(&bad, |_| true, &["reeve_agent"]), ["common/src/a.rs:1 names reeve_agent"]);
    assert!(
        names("log::info!(x)", "log::") && !names("catalog::info", "log::") && !names("let log = 1", "log::")
    );
    assert!(names("std::fs::read", "fs") && !names("offset", "fs") && !names("my_fs", "fs"));
}

#[test]
fn layers_point_one_way() {
    let sources = sources();
    let layers: [(&str, &[&str]); 4] = [
        ("common/src", &["reeve_scheduler", "reeve_coordinator", "reeve_agent", "reeve_tests"]),
        ("coordinator/scheduler/src", &["reeve_coordinator", "reeve_agent", "reeve_tests"]),
        ("coordinator/src", &["reeve_agent", "reeve_tests"]),
        ("agent/src", &["reeve_scheduler", "reeve_coordinator", "reeve_tests"]),
    ];
    for (folder, forbidden) in layers {
        let found = offences(&sources, |source| source.is_in(folder), forbidden);
        assert_none("a layer names one above it or beside it", &found);
    }
}

/// Files that take values and return values.
const PURE: [&str; 43] = [
    "coordinator/scheduler/src/",
    "coordinator/src/model/",
    "coordinator/src/workflow/",
    "coordinator/src/cli/plot/",
    "coordinator/src/cli/cost_chart/",
    "coordinator/src/replay/",
    "coordinator/src/recovery/merging.rs",
    "coordinator/src/recovery/origin.rs",
    "coordinator/src/recovery/telling.rs",
    "coordinator/src/audit/event.rs",
    "coordinator/src/audit/allowance.rs",
    "coordinator/src/audit/checkpoints.rs",
    "coordinator/src/audit/verification.rs",
    "coordinator/src/store/chain.rs",
    "coordinator/src/service/vm_index.rs",
    "coordinator/src/metrics/exposition.rs",
    "coordinator/src/metrics/rendering.rs",
    "coordinator/src/metrics/refusal.rs",
    "coordinator/src/doctor/facts.rs",
    "coordinator/src/doctor/findings.rs",
    "agent/src/doctor/facts.rs",
    "agent/src/doctor/findings.rs",
    "agent/src/vm/request_policy.rs",
    "agent/src/vm/lifecycle",
    "agent/src/vm/known.rs",
    "agent/src/vm/outcome.rs",
    "agent/src/vm/observation.rs",
    "agent/src/registration.rs",
    "agent/src/back_off.rs",
    "agent/src/reconciler.rs",
    "agent/src/lease.rs",
    "agent/src/hypervisor/ledger_xml.rs",
    "agent/src/hypervisor/libvirt/definition_folders.rs",
    "agent/src/hypervisor/libvirt/domain_xml",
    "agent/src/hypervisor/libvirt/probe_domain.rs",
    "agent/src/hypervisor/libvirt/foreign_xml.rs",
    "agent/src/hypervisor/libvirt/host_xml.rs",
    "common/src/check.rs",
    "common/src/discovered.rs",
    "common/src/hardware_profile.rs",
    "common/src/logging/flood.rs",
    "common/src/logging/messages.rs",
    "agent/src/journal/entry.rs",
];

#[test]
fn pure_files_take_values_and_return_values() {
    let sources = sources();
    for place in PURE {
        assert!(
            sources.iter().any(|source| source.is_in(place)),
            "no file is at {place}: bring this list up to date"
        );
    }
    let pure = |source: &Source| {
        PURE.iter().any(|place| source.is_in(place))
            && !source.path.ends_with("fixture.rs")
            && source.path != "coordinator/src/replay/files.rs"
    };
    // Modules are named with what follows them; a variable may be called `log`.
    let forbidden = [
        "tokio::",
        "fs::",
        "net::",
        "process::",
        "env::",
        "thread::",
        "rand::",
        "log::",
        "SystemTime",
        "Instant",
        "SystemClock",
        "Clock",
        "random",
    ];
    assert_none("a pure file reaches outside", &offences(&sources, pure, &forbidden));
}

#[test]
fn each_foreign_library_has_one_home() {
    let sources = sources();
    let homes: [(&[&str], &str); 3] = [
        (&["virt"], "agent/src/hypervisor/libvirt/"),
        (&["rusqlite"], "coordinator/src/store/sqlite"),
        (&["bincode"], "common/src/wire/codec.rs"),
    ];
    for (words, home) in homes {
        let found = offences(&sources, |source| !source.is_in(home), words);
        assert_none("a library is named outside its home", &found);
    }
    let found =
        offences(&sources, |source| source.path != "agent/src/hypervisor/libvirt/ffi.rs", &["unsafe"]);
    assert_none("unsafe stands outside the one FFI module", &found);
}

#[test]
fn the_service_writes_through_the_one_door_that_records_who_did_it() {
    let door = ["coordinator/src/service/acting.rs", "coordinator/src/service/auditing.rs"];
    let beside = |source: &Source| {
        source.is_in("coordinator/src/service/")
            && !source.path.ends_with("_tests.rs")
            && !door.contains(&source.path.as_str())
    };
    let found = offences(&sources(), beside, &["store().apply", "term.apply"]);
    assert_none("the store is written past the audit log", &found);
}

#[test]
fn every_file_says_what_it_owns() {
    for source in sources() {
        assert!(source.text.starts_with("//!"), "{} does not open with //!", source.path);
    }
}

/// A file that has grown beyond this owns more than one thing.
const LINES_MAX: usize = 600;

#[test]
fn files_stay_readable() {
    let long: Vec<String> = sources()
        .iter()
        .map(|source| (source.path.clone(), source.text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{path} has {lines} lines"))
        .collect();
    assert_none("a file is too long", &long);
}
