//! Hosts that join, and those that may not.

use anyhow::Result;
use nix::sys::signal::Signal;
use reeve_tests::harness::TestLab;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::lab::{CoordinatorSettings, Daemon};

use crate::fleet::{Fleet, PATIENCE};

#[test]
fn a_join_line_lets_one_host_in_once() -> Result<()> {
    let lab = TestLab::new("join", 2, &[])?;
    lab.found_coordinator(lab.workspace(), &CoordinatorSettings::default())?;
    let hosts = lab.description().hosts.clone();
    for host in &hosts {
        lab.add_host(host)?;
    }
    let line = lab.join_token("host1")?;
    lab.join("host1", &line)?;
    let reused = lab.join("host2", &line).unwrap_err().to_string();
    assert!(reused.contains("used"), "{reused}");
    lab.start(Daemon::Agent, &lab.host(1))?;
    lab.wait_for_connection("host1", "connected")?;
    assert_eq!(lab.reeve_json(&["host", "show", "host2"])?["connection"], "never-joined");
    lab.finish()
}

/// A deleted host's session ends at once, and its certificate opens nothing any more: the agent is told why, and so is the
/// doctor, who says no hello.
#[test]
fn a_deleted_host_is_out() -> Result<()> {
    let fleet = Fleet::new("deleted", 1, &[], &CoordinatorSettings::default())?;
    let lab = &fleet.lab;
    let host = lab.description().hosts[0].clone();
    lab.reeve(&["host", "delete", "host1"])?;
    lab.add_host(&host)?;
    if lab.is_running(Daemon::Agent, &lab.host(1)) {
        lab.kill(Daemon::Agent, &lab.host(1), Signal::SIGKILL)?;
    }
    lab.start(Daemon::Agent, &lab.host(1))?;
    let log = lab.description().log_directory().join("host1.agent.log");
    let refused = poll_until("the agent to be refused", PATIENCE, || {
        Ok(std::fs::read_to_string(&log)?.lines().any(|line| line.contains("refused")).then_some(()))
    });
    let shown = lab.reeve_json(&["host", "show", "host1"])?;
    assert_eq!(shown["connection"], "never-joined", "an old certificate let the host in");
    refused?;
    let checks = lab.doctor(&lab.host(1))?;
    let found = checks.iter().find(|check| check["about"] == "coordinator").map(|check| &check["found"]);
    let told =
        found.and_then(|found| found.as_str()).is_some_and(|found| found.contains("host 1 was deleted"));
    assert!(told, "the doctor does not see it: {checks:?}");
    fleet.lab.finish()
}
