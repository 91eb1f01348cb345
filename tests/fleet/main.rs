//! Many agents at once: a real coordinator and a process of simulated hosts, each with its own identity and connection.

// A test fails by panicking.
#![allow(clippy::unwrap_used)]

mod failing_disk;

use std::time::Duration;

use reeve_tests::harness::simulated_fleet::{FleetSettings, SimulatedFleet};

/// Enough that a handshake each at the same moment is more than the gate lets in at once.
const HOSTS: u32 = 300;
/// A debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the coordinator may grow by for each agent, with a debug build's larger futures and a margin: a leak or a buffer of
/// a megabyte for each connection is far beyond it.
const KIBIBYTES_EACH_MAX: f64 = 160.0;

fn resident_kibibytes(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether a process has a thread of this name.
fn has_thread(process: u32, name: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let name_of = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
    threads.flatten().filter_map(|thread| name_of(thread).ok()).any(|found| found.trim() == name)
}

#[test]
fn a_fleet_connects_at_once_and_comes_back_to_a_coordinator_that_was_killed() {
    let settings = FleetSettings {
        hosts: HOSTS,
        sample_interval: Duration::from_secs(1),
        lost_after: Duration::from_secs(10),
        agents_log_level: "info",
    };
    let mut fleet = SimulatedFleet::prepare(settings, |_, port| Ok(format!("127.0.0.1:{port}"))).unwrap();
    fleet.start_coordinator().unwrap();
    assert!(has_thread(fleet.coordinator_process().unwrap(), "agents-port"), "workers read the port");
    let before = resident_kibibytes(fleet.coordinator_process().unwrap());
    fleet.start_agents().unwrap();
    fleet.wait_for_all(PATIENCE).unwrap();
    let each = (resident_kibibytes(fleet.coordinator_process().unwrap()) - before) / f64::from(HOSTS);
    assert!(each < KIBIBYTES_EACH_MAX, "{each:.0} KiB for each agent");

    let told_before = fleet.agents_log().len();
    fleet.kill_coordinator().unwrap();
    fleet.start_coordinator().unwrap();
    fleet.wait_for_all(PATIENCE).unwrap();
    let counts = fleet.counts().unwrap();
    assert_eq!((counts.connected, counts.lost), (u64::from(HOSTS), 0), "{counts:?}");

    // Each was told that its connection was over, and nobody found out by silence; each dialled once, and was welcomed.
    let log = fleet.agents_log();
    let count = |words: &str| log[told_before..].matches(words).count();
    let told = count("does not know the connection any more");
    assert_eq!((told, count("nothing was heard")), (HOSTS as usize, 0), "{}", &log[told_before..]);
    let (welcomed, in_vain) = (count("connected to the coordinator at"), count("no welcome from"));
    assert_eq!((welcomed, in_vain), (HOSTS as usize, 0), "{}", &log[told_before..]);
}
