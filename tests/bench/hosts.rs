//! What an agent costs, and what a start costs beside libvirt's own part, on one host of the lab with real libvirt and
//! real QEMU processes.
//!
//! The agent's figures are read from the kernel's own accounting of its process while many domains run. Their guests have an
//! empty disk, so that they sit in firmware and use next to nothing: what is measured is the agent. They are marked as
//! registered in their ledgers, as guests are that have been running for a while. Beside it, the exporter that Debian ships
//! for Prometheus is asked as often as the agent samples.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use reeve_agent::hypervisor::ledger_xml::NAMESPACE;
use reeve_common::clock::{Clock, SystemClock};
use reeve_tests::harness::TestLab;
use reeve_tests::harness::domain::HandmadeDomain;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place, image_volume};

use super::exporter;

use super::figures::{median, print, print_to, resident_mebibytes};

/// Domains that run while the agent is measured.
const DOMAINS: usize = 100;
/// How long it is measured: a dozen of its samples and two of its polls.
const MEASURED_FOR: Duration = Duration::from_secs(60);
/// After so long an agent has let go of what it needed to begin.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// How often memory is looked at: what comes and goes in between is not of long duration.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often agents sample and poll unless the configuration says otherwise; labs do both more often.
const ORDINARY: [(&str, &str); 2] = [
    ("sample-interval = 2 seconds", "sample-interval = 5 seconds"),
    ("poll-frequency = 5 seconds", "poll-frequency = 30 seconds"),
];
/// Starts of an agent of which the middle counts.
const AGENT_STARTS: usize = 5;
/// Pairs of starts, one by the product and one by virsh.
const PAIRS: usize = 7;
/// A hundred QEMUs are started on two processors.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures all of it.
pub(crate) fn measure() -> Result<()> {
    // Guests with an empty disk never register: they must not be terminated while the agent is measured.
    let settings = CoordinatorSettings {
        registration_timeout: Duration::from_secs(3600),
        ..CoordinatorSettings::default()
    };
    let lab = TestLab::with_product("bench", 1, &[Variant::Good], &settings)?;
    make_ordinary(&lab)?;
    promise_enough(&lab)?;
    idle(&lab)?;
    starts(&lab)?;
    poll_until("host1 to be of use", PATIENCE, || {
        let pools = lab.reeve_json(&["host", "show", "host1"])?["pools"].as_array().map_or(0, Vec::len);
        Ok((pools == 3).then_some(()))
    })?;
    lab.run(
        &lab.host(1),
        &[
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "/var/lib/libvirt/reeve/ticrypt-bricks/empty.qcow2",
            "16M",
        ],
    )?;
    define(&lab, "good", &image_volume(Variant::Good), 128)?;
    define(&lab, "empty", "empty.qcow2", 16)?;
    overhead(&lab)?;
    agent(&lab)?;
    lab.finish()
}

/// The lab's smallest profile is too small for so many domains; the coordinator reads a larger one while it runs.
fn promise_enough(lab: &TestLab) -> Result<()> {
    let file = lab.coordinator_configuration();
    let text = std::fs::read_to_string(&file)?;
    let enlarged = text.replacen(
        "cores = 2, memory = 1 GiB",
        "cores = 2, memory = 16 GiB, overcommit { cores = 64.0 }",
        1,
    );
    anyhow::ensure!(enlarged != text, "the lab's small profile has changed: bring this up to date");
    std::fs::write(&file, enlarged)?;
    lab.kill(Daemon::Coordinator, &Place::Coordinator, Signal::SIGHUP)?;
    poll_until("the larger profile", PATIENCE, || {
        let cores = lab.reeve_json(&["host", "show", "host1"])?["capacity"]["millicores"].as_u64();
        // As many as the machine has, up to the profile's two, times the overcommitment.
        Ok(cores.is_some_and(|cores| cores >= 100_000 || cores % 64_000 == 0).then_some(()))
    })
}

/// Lets agents sample and poll as often as they do in an ordinary fleet.
fn make_ordinary(lab: &TestLab) -> Result<()> {
    let file = lab.coordinator_configuration();
    let realm = file.with_file_name("realms").join("lab.conf");
    for (file, (in_lab, ordinary)) in [&file, &realm].into_iter().zip(ORDINARY) {
        let text = std::fs::read_to_string(file)?;
        let changed = text.replacen(in_lab, ordinary, 1);
        anyhow::ensure!(changed != text, "the lab's configuration has changed: bring this up to date");
        std::fs::write(file, changed)?;
    }
    Ok(())
}

/// What an agent without VMs takes.
fn idle(lab: &TestLab) -> Result<()> {
    let pid = lab.daemon_pid(Daemon::Agent, &lab.host(1)).context("the agent does not run")?;
    // A span of time is what is waited for: there is no event.
    std::thread::sleep(SETTLES_WITHIN);
    print("agent-rss/idle", highest_resident_mebibytes(pid, MEASURED_FOR)?, "MiB");
    Ok(())
}

/// The most resident memory that is seen within some time: an agent gives back what it does not use from time to time, and
/// the figure must not depend on when that was.
fn highest_resident_mebibytes(pid: i32, time: Duration) -> Result<f64> {
    let clock = SystemClock;
    let (until, mut highest) = (clock.monotonic() + time, 0.0_f64);
    while clock.monotonic() < until {
        highest = highest.max(resident_mebibytes(&pid.to_string())?);
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(highest)
}

/// From an agent's start until its coordinator has it connected again.
fn starts(lab: &TestLab) -> Result<()> {
    let (clock, host) = (SystemClock, lab.host(1));
    let mut took = Vec::new();
    for _ in 0..AGENT_STARTS {
        lab.kill(Daemon::Agent, &host, Signal::SIGTERM)?;
        lab.wait_for_connection("host1", "suspected")?;
        let begun = clock.monotonic();
        lab.start(Daemon::Agent, &host)?;
        lab.wait_for_connection("host1", "connected")?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    print("agent-start", median(took), "ms");
    Ok(())
}

fn define(lab: &TestLab, name: &str, volume: &str, memory: u32) -> Result<()> {
    create(
        lab,
        "image",
        &format!(r#"{{"name":"{name}","realm":"lab","volume":"{volume}","operating-system":"none"}}"#),
    )?;
    create(
        lab,
        "setup",
        &format!(
            r#"{{"name":"{name}","realm":"lab","image":"{name}","cores":1,"memory":"{memory} MiB","networks":[]}}"#
        ),
    )
}

fn create(lab: &TestLab, kind: &str, definition: &str) -> Result<()> {
    let file = lab.description().directory.join("definition.json");
    std::fs::write(&file, definition)?;
    lab.reeve(&[kind, "create", "-f", &file.to_string_lossy()]).map(drop)
}

fn configure(lab: &TestLab, name: &str, setup: &str) -> Result<()> {
    create(lab, "config", &format!(r#"{{"name":"{name}","setup":"{setup}","owner":"ada","team":"engines"}}"#))
}

/// From `vm start` to the domain that runs in libvirt, over the same for a domain of the same kind defined and started by
/// hand: both have a copy-on-write disk made over the same image.
fn overhead(lab: &TestLab) -> Result<()> {
    let clock = SystemClock;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 0..PAIRS {
        let by_hand = format!("by-hand-{number}");
        let begun = clock.monotonic();
        let domain = HandmadeDomain::define(lab, &lab.host(1), &by_hand, Variant::Good)?;
        domain.start()?;
        theirs.push(begun.elapsed().as_secs_f64());
        domain.remove()?;

        let name = format!("ours-{number}");
        configure(lab, &name, "good")?;
        let begun = clock.monotonic();
        lab.reeve(&["vm", "start", &name, "--no-wait"])?;
        poll_until("the domain to run", PATIENCE, || {
            let state = lab.reeve_json(&["vm", "show", &name])?["state"].clone();
            Ok((state == "registering" || state == "running").then_some(()))
        })?;
        ours.push(begun.elapsed().as_secs_f64());
        lab.reeve(&["vm", "destroy", &name])?;
    }
    print("start-overhead", median(ours) / median(theirs), "times virsh");
    Ok(())
}

/// The agent's resident memory and processor time with many domains running.
fn agent(lab: &TestLab) -> Result<()> {
    let host = lab.host(1);
    for number in 0..DOMAINS {
        let name = format!("idle-{number}");
        configure(lab, &name, "empty")?;
        lab.reeve(&["vm", "start", &name, "--no-wait"])?;
    }
    poll_until("all domains to run", PATIENCE, || {
        let listed = lab.virsh(&host, &["list", "--name"])?;
        Ok((listed.lines().filter(|line| line.contains("idle-")).count() == DOMAINS).then_some(()))
    })?;
    register_all(lab, &host)?;
    let pid = lab.daemon_pid(Daemon::Agent, &host).context("the agent does not run")?;
    std::thread::sleep(SETTLES_WITHIN);
    let mut highest = Ok(0.0);
    let used = share_of_a_core(
        || processor_seconds(pid),
        || highest = highest_resident_mebibytes(pid, MEASURED_FOR),
    )?;
    print(&format!("agent-rss/{DOMAINS}"), highest?, "MiB");
    print_to(3, &format!("agent-cpu/{DOMAINS}"), used * 100.0, "percent of a core");
    exporter::measure(lab, &host, MEASURED_FOR)
}

/// Writes into each ledger that its guest has registered, and starts the agent anew, which then takes them for that.
fn register_all(lab: &TestLab, host: &Place) -> Result<()> {
    lab.kill(Daemon::Agent, host, Signal::SIGTERM)?;
    for name in lab.virsh(host, &["list", "--name"])?.lines().filter(|name| name.contains("idle-")) {
        let ledger = lab.virsh(host, &["metadata", name, "--uri", NAMESPACE, "--config"])?;
        let registered = ledger.trim().replacen("<vm ", "<vm registered-at=\"1\" ", 1);
        let change = ["metadata", name, "--uri", NAMESPACE, "--key", "reeve", "--set", &registered];
        lab.virsh(host, &[&change[..], &["--live", "--config"]].concat())?;
    }
    lab.start(Daemon::Agent, host)?;
    poll_until("all VMs to be registered", PATIENCE, || {
        let running = lab.reeve_json(&["status"])?["vms"]["running"].as_u64();
        Ok((running == u64::try_from(DOMAINS).ok()).then_some(()))
    })
}

/// How much of one core is used while `meanwhile` goes on.
pub(super) fn share_of_a_core(seconds: impl Fn() -> Result<f64>, meanwhile: impl FnOnce()) -> Result<f64> {
    let (begun, before) = (SystemClock.monotonic(), seconds()?);
    meanwhile();
    Ok((seconds()? - before) / begun.elapsed().as_secs_f64())
}

/// User and system time of a process, from `/proc/PID/stat` (fields 14 and 15, in hundredths of a second).
pub(super) fn processor_seconds(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no such fields")?;
    let ticks =
        |index: usize| -> Result<f64> { Ok(fields.split(' ').nth(index).context("no such field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
