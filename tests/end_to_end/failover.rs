//! Hosts that die: their VMs start elsewhere exactly once, never without a proof, and a host that returns is cleared of
//! what has moved. And hosts that are emptied.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon};

use crate::fleet::{Fleet, PATIENCE};

/// A fence command that switches a lab's host off: it kills what runs in the network namespace named in the file beside it,
/// guests and agent; its status looks whether any of it is left.
fn write_fence(directory: &Path) -> Result<PathBuf> {
    let command = directory.join("fence_lab");
    let script = format!(
        r#"#!/bin/sh
wanted=$(cat)
namespace=$(cat {directory}/namespace) || exit 1
victims() {{
  for process in /proc/[0-9]*; do
    [ "$(readlink $process/ns/net)" = "$namespace" ] || continue
    case "$(tr '\0' ' ' < $process/cmdline)" in
    *qemu-system*|*reeve-agent*) echo "${{process#/proc/}}" ;;
    esac
  done
}}
case "$wanted" in
*action=off*) for victim in $(victims); do kill -9 "$victim"; done; echo off ;;
*action=status*) [ -z "$(victims)" ] && exit 2; exit 0 ;;
esac
"#,
        directory = directory.display()
    );
    fs::write(&command, script)?;
    fs::set_permissions(&command, Permissions::from_mode(0o755))?;
    Ok(command)
}

#[test]
fn vms_of_a_host_that_dies_start_elsewhere_once_and_only_with_a_proof() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let command = write_fence(directory.path())?;
    let settings = CoordinatorSettings {
        realm_keys: format!(
            "fence {{ command = {command:?}, timeout = 20 s, hosts {{ host1 {{ }}, host2 {{ }} }} }}"
        ),
        ..CoordinatorSettings::default()
    };
    let fleet = Fleet::new("failover", 3, &[Variant::Good], &settings)?;
    for (name, rule) in [("web", "restart"), ("asked", "ask")] {
        fleet.create(
            "config",
            &format!(
                r#"{{"name":"{name}","setup":"good","owner":"ada","team":"engines","when-host-lost":"{rule}","priority":5}}"#
            ),
        )?;
    }
    // Both on one host: the others are shut for a moment.
    for host in ["host2", "host3"] {
        fleet.lab.reeve(&["host", "set-state", host, "no-scheduler"])?;
    }
    fleet.lab.reeve(&["vm", "start", "web", "asked"])?;
    for host in ["host2", "host3"] {
        fleet.lab.reeve(&["host", "set-state", host, "enabled"])?;
    }
    let (web, asked) = (fleet.vm("web")?, fleet.vm("asked")?);
    ensure!(web["host"] == "host1" && asked["host"] == "host1");
    let (id, asked_id) = (text(&web, "id")?, text(&asked, "id")?);
    let place = fleet.lab.host(1);
    let libvirtd = fleet.lab.daemon_pid(Daemon::Libvirtd, &place).context("no libvirtd")?;
    let namespace = fs::read_link(format!("/proc/{libvirtd}/ns/net"))?;

    // The agent dies and the fence command fails: nothing proves that the guests are dead, and they are not.
    fleet.lab.kill(Daemon::Agent, &place, Signal::SIGKILL)?;
    fleet.lab.wait_for_connection("host1", "lost")?;
    let refused = fleet.lab.try_reeve(&["vm", "restart-elsewhere", "asked"])?;
    ensure!(!refused.status.success(), "it was restarted without a proof");
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("nothing proves"), "{refused:?}");
    poll_until("a fencing that failed", PATIENCE, || {
        let shown = fleet.lab.reeve_json(&["host", "show", "host1"])?;
        Ok((shown["fences"][0]["state"] == "failed").then_some(()))
    })?;
    ensure!(fleet.domains(&id)? == [("host1".to_owned(), true)], "started elsewhere without a proof");
    let vm = fleet.vm("asked")?;
    ensure!(vm["state"] == "unknown" && vm["decision-wanted"] == true, "{vm}");

    // The fence command works now: the guests die, and one of the VMs starts elsewhere by itself, the other by hand.
    fs::write(directory.path().join("namespace"), namespace.to_string_lossy().as_bytes())?;
    fleet.lab.reeve(&["host", "fence", "host1"])?;
    let moved = poll_until("the VM to run elsewhere", PATIENCE, || {
        let vm = fleet.vm("web")?;
        Ok((vm["state"] == "running" && vm["host"] != "host1").then_some(vm))
    })?;
    ensure!(moved["id"] == id.as_str());
    let running =
        |domains: Vec<(String, bool)>| domains.into_iter().filter(|(_, runs)| *runs).collect::<Vec<_>>();
    let new_host = text(&moved, "host")?;
    ensure!(running(fleet.domains(&id)?) == [(new_host.clone(), true)], "it runs once");
    ensure!(running(fleet.domains(&asked_id)?).is_empty(), "nobody asked for that one");
    fleet.lab.reeve(&["vm", "restart-elsewhere", "asked"])?;
    let by_hand = fleet.wait_for_state("asked", &["running"])?;
    ensure!(by_hand["host"] != "host1");

    // The host returns: what it had left is removed, what has moved is untouched.
    fleet.lab.start(Daemon::Agent, &place)?;
    fleet.lab.wait_for_connection("host1", "connected")?;
    poll_until("the leftovers to be removed", PATIENCE, || {
        let left = fleet.domains(&id)?.len() + fleet.domains(&asked_id)?.len();
        Ok((left == 2).then_some(()))
    })?;
    for (id, host) in [(&id, new_host), (&asked_id, text(&by_hand, "host")?)] {
        ensure!(fleet.domains(id)? == [(host, true)], "the new place was disturbed");
        ensure!(fleet.vm(id)?["state"] == "running");
    }
    fleet.lab.finish()
}

#[test]
fn a_host_is_emptied_through_a_restart_of_the_coordinator() -> Result<()> {
    let fleet = Fleet::new("drain", 2, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.lab.reeve(&["host", "set-state", "host2", "no-scheduler"])?;
    for (name, rule) in [("stays-down", "leave"), ("moves", "restart")] {
        fleet.create(
            "config",
            &format!(
                r#"{{"name":"{name}","setup":"good","owner":"ada","team":"engines","when-host-lost":"{rule}"}}"#
            ),
        )?;
    }
    fleet.lab.reeve(&["vm", "start", "stays-down", "moves"])?;
    fleet.lab.reeve(&["host", "set-state", "host2", "enabled"])?;
    let before = fleet.vm("moves")?;
    ensure!(before["host"] == "host1");
    fleet.lab.reeve(&["host", "drain", "host1", "--grace", "20 seconds", "--no-wait"])?;
    fleet.lab.kill(Daemon::Coordinator, &reeve_tests::lab::Place::Coordinator, Signal::SIGKILL)?;
    fleet.lab.start(Daemon::Coordinator, &reeve_tests::lab::Place::Coordinator)?;
    let workflow = poll_until("the host to be empty", PATIENCE + Duration::from_secs(60), || {
        let Ok(shown) = fleet.lab.reeve_json(&["workflow", "show", "1"]) else { return Ok(None) };
        Ok((shown["state"] == "done").then_some(shown))
    })?;
    ensure!(workflow["steps"].as_array().is_some_and(|steps| steps.len() >= 4), "{workflow}");
    let after = poll_until("the VM to run elsewhere", PATIENCE, || {
        let vm = fleet.vm("moves")?;
        Ok((vm["state"] == "running").then_some(vm))
    })?;
    ensure!(after["host"] == "host2" && after["id"] != before["id"], "{after}");
    ensure!(fleet.promised("host1")? == 0);
    let host = fleet.lab.reeve(&["host", "undrain", "host1"])?;
    ensure!(!host.contains("draining"), "{host}");
    fleet.lab.finish()
}

fn text(document: &serde_json::Value, key: &str) -> Result<String> {
    Ok(document[key].as_str().with_context(|| format!("no {key} in {document}"))?.to_owned())
}
