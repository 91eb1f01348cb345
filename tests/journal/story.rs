//! A VM's story in a real journal: told by both daemons, found by field, read on the host with `journalctl` and from
//! elsewhere with `reeve`.

use std::fs;
use std::process::{Command, Stdio};

use reeve_common::logging::messages;
use reeve_tests::harness::waiting::poll_until;
use serde_json::Value;

use super::catalogue::shipped;
use super::place::{Place, apart, cover, journalctl};
use super::stage::{PATIENCE, Stage, Words};

fn text<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry[field].as_str().unwrap_or_default()
}

/// The entries of a program.
fn of<'a>(entries: &'a [Value], identifier: &str) -> Vec<&'a Value> {
    entries.iter().filter(|entry| text(entry, "SYSLOG_IDENTIFIER") == identifier).collect()
}

fn texts(page: &Value) -> Vec<String> {
    page.as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_vms_story_is_in_the_journal_and_can_be_read_from_elsewhere_after_its_end() {
    apart(|| {
        let place = Place::enter();
        let mut stage = Stage::new(Words::Journal, "");
        stage.start_coordinator();
        stage.join();
        stage.start_agent();
        stage.furnish();
        let started = stage.reeve("vm start web");
        let id = started[0]["id"].as_str().unwrap().to_owned();

        // On the host, by field: both daemons speak of it, and each line says of which host and realm.
        let of_vm = format!("REEVE_VM={id}");
        let entries = poll_until("the story to be in the journal", PATIENCE, || {
            let entries = place.entries(&[&of_vm]);
            let registered = entries.iter().any(|entry| text(entry, "MESSAGE").contains("has registered"));
            Ok(registered.then_some(entries))
        })
        .unwrap();
        let (agents, coordinators) = (of(&entries, "reeve-agent"), of(&entries, "reeve-coordinator"));
        assert!(agents.len() >= 2 && coordinators.len() >= 3, "{entries:?}");
        for entry in &agents {
            assert_eq!((text(entry, "REEVE_HOST"), text(entry, "REEVE_REALM")), ("node-1", "lab"), "{entry}");
        }
        let requested = coordinators
            .iter()
            .find(|entry| text(entry, "MESSAGE_ID") == messages::VM_REQUESTED.to_string())
            .unwrap_or_else(|| panic!("{coordinators:?}"));
        // A message that is no trouble is a notice, other information is information, a detail is for debugging.
        assert_eq!(text(requested, "PRIORITY"), "5", "{requested}");
        assert_eq!(text(requested, "REEVE_OWNER"), "ada");
        let operation = text(requested, "REEVE_OPERATION");
        assert!(!operation.is_empty(), "an act that somebody asked for has an operation: {requested}");
        let registered =
            agents.iter().find(|entry| text(entry, "MESSAGE").contains("has registered")).unwrap();
        assert_eq!(text(registered, "PRIORITY"), "6");
        let debugged = agents.iter().find(|entry| text(entry, "MESSAGE").ends_with(": done")).unwrap();
        assert_eq!(text(debugged, "PRIORITY"), "7");

        // What a message means is said by `journalctl -x`, with the VM in its place.
        cover("/usr/lib/systemd/catalog");
        fs::create_dir_all("/var/lib/systemd/catalog").unwrap();
        fs::copy(shipped(), "/usr/lib/systemd/catalog/reeve.catalog").unwrap();
        journalctl(&["--update-catalog"]);
        let explained = journalctl(&["-x", "--no-pager", &of_vm]);
        assert!(explained.contains(&format!("Subject: VM {id} was requested")), "{explained}");

        // From elsewhere: the same through the agent.
        let logs = stage.reeve("vm logs web");
        assert!(logs["journal-problem"].is_null(), "{logs}");
        let told = texts(&logs["journal"]);
        assert!(told.iter().any(|line| line.contains("has registered")), "{told:?}");
        let words = stage.reeve_words("vm logs web --since 1h");
        assert!(words.contains("Journal:\n") && words.contains("[vm-requested]"), "{words}");
        let hosts = texts(&stage.reeve("host logs node-1 --since 1h"));
        assert!(hosts.iter().any(|line| line.starts_with("reeve-agent ")), "{hosts:?}");
        assert!(
            !hosts.iter().any(|line| line.contains("going down")),
            "the coordinator's lines are not the host's"
        );
        assert_eq!(texts(&stage.reeve("host logs node-1 -n 3")).len(), 3);

        // Followed: what happens now comes by itself, and nothing twice.
        let mut followed = stage.follow(&format!("vm logs {id} -f -o json"));
        let line: Value = serde_json::from_str(&followed.read_until("has registered")).unwrap();
        assert_eq!(line["fields"]["REEVE_VM"], id.as_str());
        stage.reeve(&format!("vm destroy {id}"));
        followed.read_until("is gone");
        drop(followed);

        // After its end it is read as before.
        let past = texts(&stage.reeve(&format!("vm logs {id} --since 1h"))["journal"]);
        assert!(past.iter().any(|line| line.contains("is gone")), "{past:?}");
        assert!(past.iter().any(|line| line.contains("requested by")), "{past:?}");

        // Nothing went where a person would have to look for it elsewhere.
        stage.stop("reeve-agent");
        stage.stop("reeve-coordinator");
        assert_eq!(stage.words("reeve-agent").lines().filter(|line| line.contains("REEVE_VM")).count(), 0);
        let stopped = place.entries(&[&format!("MESSAGE_ID={}", messages::AGENT_STOPPING)]);
        assert_eq!(stopped.len(), 1, "{stopped:?}");
    });
}

#[test]
fn whoever_may_not_read_the_journal_is_told_in_the_words_that_are_looked_for() {
    apart(|| {
        let _place = Place::enter();
        let output = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "journalctl",
                "-o",
                "json",
                "--no-pager",
            ])
            .arg("--lines=1")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let looked_for = ["insufficient permissions", "not seeing messages from other users"];
        assert!(looked_for.iter().any(|words| said.contains(words)), "{said}");
    });
}

#[test]
fn a_host_that_is_away_is_said_and_the_rest_of_the_story_is_told() {
    apart(|| {
        let _place = Place::enter();
        let mut stage = Stage::new(Words::Journal, "");
        stage.start_coordinator();
        stage.join();
        stage.start_agent();
        stage.furnish();
        stage.reeve("vm start web");
        stage.stop("reeve-agent");
        poll_until("the host to be missed", PATIENCE, || {
            let hosts = stage.ask("host list")?;
            Ok((hosts[0]["connection"] != "connected").then_some(()))
        })
        .unwrap();
        let logs = stage.reeve("vm logs web");
        assert!(logs["journal-problem"].as_str().unwrap().contains("node-1 is not connected"), "{logs}");
        assert!(!logs["history"].as_array().unwrap().is_empty());
        let refused = stage.ask("host logs node-1").unwrap_err().to_string();
        assert!(refused.contains("journalctl -u reeve-agent"), "{refused}");
    });
}
