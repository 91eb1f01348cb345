//! What an agent costs, and what a start costs beside libvirt's own part, on one host of the lab with real libvirt and
//! real QEMU processes.
//!
//! The agent's figures are read from the kernel's own accounting of its process while many domains run. Their guests have an
//! empty disk, so that they sit in firmware and use next to nothing: what is measured is the agent.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use reeve_common::clock::{Clock, SystemClock};
use reeve_tests::harness::TestLab;
use reeve_tests::harness::domain::HandmadeDomain;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place, image_volume};

use super::figures::{median, print, resident_mebibytes};

/// Domains that run while the agent is measured.
const DOMAINS: usize = 50;
/// How long it is measured: several of its samples and polls.
const MEASURED_FOR: Duration = Duration::from_secs(30);
/// Pairs of starts, one by the product and one by virsh.
const PAIRS: usize = 7;
/// Fifty QEMUs are started on two processors.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures all of it.
pub(crate) fn measure() -> Result<()> {
    // Guests with an empty disk never register: they must not be terminated while the agent is measured.
    let settings = CoordinatorSettings {
        registration_timeout: Duration::from_secs(3600),
        ..CoordinatorSettings::default()
    };
    let lab = TestLab::with_product("bench", 1, &[Variant::Good], &settings)?;
    promise_enough(&lab)?;
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
    let enlarged = text.replacen("cores = 2, memory = 1 GiB", "cores = 128, memory = 64 GiB", 1);
    anyhow::ensure!(enlarged != text, "the lab's small profile has changed: bring this up to date");
    std::fs::write(&file, enlarged)?;
    lab.kill(Daemon::Coordinator, &Place::Coordinator, Signal::SIGHUP)?;
    poll_until("the larger profile", PATIENCE, || {
        let cores = lab.reeve_json(&["host", "show", "host1"])?["capacity"]["millicores"].as_u64();
        Ok((cores == Some(128_000)).then_some(()))
    })
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
    for number in 0..DOMAINS {
        let name = format!("idle-{number}");
        configure(lab, &name, "empty")?;
        lab.reeve(&["vm", "start", &name, "--no-wait"])?;
    }
    poll_until("all domains to run", PATIENCE, || {
        let listed = lab.virsh(&lab.host(1), &["list", "--name"])?;
        Ok((listed.lines().filter(|line| line.contains("idle-")).count() == DOMAINS).then_some(()))
    })?;
    let pid = lab.daemon_pid(Daemon::Agent, &lab.host(1)).context("the agent does not run")?;
    let clock = SystemClock;
    let (begun, before) = (clock.monotonic(), processor_seconds(pid)?);
    // A span of time is what is measured over: there is no event to wait for.
    std::thread::sleep(MEASURED_FOR);
    let used = (processor_seconds(pid)? - before) / begun.elapsed().as_secs_f64();
    print(&format!("agent-rss/{DOMAINS}"), resident_mebibytes(&pid.to_string())?, "MiB");
    print(&format!("agent-cpu/{DOMAINS}"), used * 100.0, "percent of a core");
    Ok(())
}

/// User and system time of a process, from `/proc/PID/stat` (fields 14 and 15, in hundredths of a second).
fn processor_seconds(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no such fields")?;
    let ticks =
        |index: usize| -> Result<f64> { Ok(fields.split(' ').nth(index).context("no such field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
