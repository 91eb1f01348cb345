//! The agent's binary as a person or a service manager meets it: what it says, and with which status it ends.

// The helpers beside the tests fail a test the way the tests do.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reeve-agent"))
        .args(arguments)
        .env_remove("REEVE_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn check(arguments: &[&str], status: i32, says: &[&str]) {
    let output = agent(arguments);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    for part in says {
        assert!(said.contains(part), "{arguments:?} does not say {part:?}: {said}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn help_and_version_are_there() {
    check(&["--help"], 0, &["Examples:", "reeve-agent join", "Exit status:"]);
    check(&["run", "--help"], 0, &["SIGTERM", "--coordinator <HOST:PORT>", "--libvirt-uri"]);
    check(&["join", "--help"], 0, &["LINE", "--replace"]);
    check(&["--version"], 0, &["reeve-agent"]);
}

#[test]
fn wrong_usage_is_told_apart() {
    check(&[], 2, &["Usage"]);
    check(&["run", "--hypervisor", "xen"], 2, &["libvirt and simulated"]);
    check(&["run", "--coordinator", "nowhere"], 2, &["HOST:PORT"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.conf");
    std::fs::write(&file, "hypervisor = simulated\ncolour = red\n").unwrap();
    check(&["run", "--config", text(&file)], 2, &["agent.conf:2", "colour", "allowed keys"]);
    check(&["run", "--config", "/nowhere/agent.conf"], 2, &["/nowhere/agent.conf", "because: No such file"]);
}

#[test]
fn a_machine_that_has_not_joined_is_told_how() {
    let directory = tempfile::tempdir().unwrap();
    check(
        &["run", "--state-directory", text(directory.path()), "--hypervisor", "simulated"],
        3,
        &["has not joined", "reeve host join-token", "reeve-agent join"],
    );
}

#[test]
fn a_join_line_that_is_none_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    for line in ["", "hello", "reeve-join:v1:somewhere", "@/nowhere/line", "-"] {
        let output = agent(&["join", line, "--state-directory", text(&state)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{line:?}: {said}");
        assert!(said.starts_with("reeve-agent: ") && !state.exists(), "{line:?}: {said}");
    }
}

#[test]
fn a_join_line_may_come_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("line");
    std::fs::write(&file, "reeve-join:v1:somewhere\n").unwrap();
    check(&["join", &format!("@{}", text(&file))], 2, &["join line"]);
}
