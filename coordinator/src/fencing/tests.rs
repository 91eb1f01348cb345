//! Fence commands that are real programs: good ones, and those that fail, hang, babble, fork and lie.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use reeve_common::ids::HostName;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

async fn run(means: &FenceMeans, host: &HostName, action: FenceAction) -> FenceRun {
    Programs.run(means, host, action).await
}
use crate::config::OptionValue;

/// A program in a folder of its own. It is written by another process: a file that this one has open for writing while
/// another test forks cannot be run.
fn program(directory: &TempDir, script: &str) -> PathBuf {
    let path = directory.path().join("fence_test");
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("#!/bin/sh\ncd {}\n{script}", directory.path().display());
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    path
}

fn means(command: PathBuf, timeout: Duration) -> FenceMeans {
    FenceMeans { command, timeout, options: BTreeMap::new() }
}

fn node() -> HostName {
    HostName::new("node-7").unwrap()
}

const PATIENT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(500);

/// A machine that is switched off by a good fence agent; `power` holds whether it is on.
const GOOD: &str = r#"
input=$(cat)
echo "$input" >> told
case "$input" in
  *action=off*) echo off > power; echo "switched off" ;;
  *action=status*) [ "$(cat power 2>/dev/null)" = off ] && exit 2; exit 0 ;;
esac
"#;

/// Whether a process is alive: one that has ended and was not waited for by its parent is not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits until a process that was killed has ended: the kernel takes its moment.
async fn until_dead(pid: &str, name: &str) {
    for _ in 0..1000 {
        if !is_alive(pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{name} lives on");
}

#[tokio::test]
async fn a_good_command_is_told_its_options_and_believed_with_its_status() {
    let directory = TempDir::new().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "pa55word\n").unwrap();
    let mut means = means(program(&directory, GOOD), PATIENT);
    means.options = [
        ("ip".to_owned(), OptionValue::Text("192.0.2.9".to_owned())),
        ("password".to_owned(), OptionValue::File(secret)),
    ]
    .into();
    let status = run(&means, &node(), FenceAction::Status).await;
    assert_eq!(status.ended, Ended::Exit(0), "it is on");
    let fencing = switch_off(&Programs, &means, &node()).await;
    assert_eq!((fencing.verdict, fencing.attempts), (Verdict::Off, 1));
    assert_eq!(fencing.output, "switched off");
    let told = std::fs::read_to_string(directory.path().join("told")).unwrap();
    let off = "action=off\nnodename=node-7\nip=192.0.2.9\npassword=pa55word\n";
    assert!(told.contains(off), "{told}");
}

#[tokio::test]
async fn a_command_that_fails_once_is_tried_again() {
    let directory = TempDir::new().unwrap();
    let script = format!("[ -e tried ] || {{ touch tried; echo busy >&2; exit 1; }}\n{GOOD}");
    let fencing = switch_off(&Programs, &means(program(&directory, &script), PATIENT), &node()).await;
    assert_eq!((fencing.verdict, fencing.attempts), (Verdict::Off, 2));
}

#[tokio::test]
async fn a_command_that_says_ok_while_its_status_says_on_has_failed() {
    let directory = TempDir::new().unwrap();
    let means = means(program(&directory, "cat > /dev/null; exit 0"), PATIENT);
    let off = run(&means, &node(), FenceAction::Off).await;
    assert_eq!(judge_off(&off.ended), Ok(()));
    let status = run(&means, &node(), FenceAction::Status).await;
    assert!(matches!(judge_status(&status.ended), Verdict::Failed(_)));
}

#[tokio::test]
async fn a_host_is_off_when_the_status_says_so_and_not_before() {
    let directory = TempDir::new().unwrap();
    // It says at once that it has switched the host off; that works the second time.
    let script = r#"
case "$(cat)" in
  *action=off*) echo off >> said; exit 0 ;;
  *action=status*) [ "$(wc -l < said)" -ge 2 ] && exit 2; exit 0 ;;
esac
"#;
    let fencing = switch_off(&Programs, &means(program(&directory, script), PATIENT), &node()).await;
    assert_eq!((fencing.verdict, fencing.attempts), (Verdict::Off, 2));
}

#[tokio::test]
async fn a_failing_command_keeps_its_last_words_without_secrets() {
    let directory = TempDir::new().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "pa55word").unwrap();
    let mut means = means(program(&directory, "cat; echo cannot log in >&2; exit 1"), PATIENT);
    means.options = [("password".to_owned(), OptionValue::File(secret.clone()))].into();
    let run_once = run(&means, &node(), FenceAction::Off).await;
    assert_eq!(run_once.ended, Ended::Exit(1));
    assert!(
        run_once.output.ends_with("cannot log in") && !run_once.output.contains("pa55word"),
        "{}",
        run_once.output
    );
    std::fs::remove_file(secret).unwrap();
    let without = run(&means, &node(), FenceAction::Off).await;
    assert!(
        matches!(without.ended, Ended::NotStarted(why) if why.contains("password")),
        "the secret is missing"
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said() {
    let run = run(&means("/nonexistent/fence".into(), PATIENT), &node(), FenceAction::Off).await;
    assert!(matches!(run.ended, Ended::NotStarted(why) if why.contains("/nonexistent/fence")));
}

#[tokio::test]
async fn a_hanging_command_and_its_children_are_killed_at_the_limit() {
    let directory = TempDir::new().unwrap();
    let script = "sleep 1000 & echo $! > child\necho $$ > own\ntrap '' TERM\nwait\nsleep 1000";
    let began = Instant::now();
    let run = run(&means(program(&directory, script), SHORT), &node(), FenceAction::Off).await;
    assert_eq!(run.ended, Ended::TimedOut);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    for name in ["child", "own"] {
        let pid = std::fs::read_to_string(directory.path().join(name)).unwrap();
        until_dead(&pid, name).await;
    }
}

#[tokio::test]
async fn children_that_outlive_their_parent_hold_nobody_up() {
    let directory = TempDir::new().unwrap();
    // One holds the output open, one of its children ignores the first signal.
    let script = "(trap '' HUP TERM; sleep 1000) & echo $! > child\necho done\nexit 0";
    let began = Instant::now();
    let run = run(&means(program(&directory, script), PATIENT), &node(), FenceAction::Off).await;
    assert_eq!((run.ended, run.output.as_str()), (Ended::Exit(0), "done"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    until_dead(&std::fs::read_to_string(directory.path().join("child")).unwrap(), "child").await;
}

#[tokio::test]
async fn a_babbling_command_costs_no_memory() {
    let directory = TempDir::new().unwrap();
    let script = "head -c 1G /dev/zero | tr '\\0' x\necho; echo the end; exit 1";
    let run = run(&means(program(&directory, script), PATIENT), &node(), FenceAction::Off).await;
    assert_eq!(run.ended, Ended::Exit(1));
    assert!(run.output.len() < 5000 && run.output.ends_with("the end"), "{}", run.output.len());
    // The largest this process ever was: a gigabyte would show.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 700 << 10, "{peak} KiB");
}

#[tokio::test]
async fn a_command_that_reads_nothing_is_no_trouble() {
    let directory = TempDir::new().unwrap();
    let mut means = means(program(&directory, "exec < /dev/null; exit 2"), PATIENT);
    for number in 0..200 {
        means.options.insert(format!("option-{number}"), OptionValue::Text("x".repeat(1000)));
    }
    assert_eq!(run(&means, &node(), FenceAction::Status).await.ended, Ended::Exit(2));
}

#[tokio::test]
async fn a_run_that_is_given_up_leaves_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let means = means(program(&directory, "echo $$ > own\nsleep 1000"), PATIENT);
    let own = directory.path().join("own");
    let running = tokio::spawn(async move { run(&means, &node(), FenceAction::Off).await });
    let mut pid = String::new();
    while !pid.ends_with('\n') {
        tokio::time::sleep(Duration::from_millis(5)).await;
        pid = std::fs::read_to_string(&own).unwrap_or_default();
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    until_dead(&pid, "own").await;
}
