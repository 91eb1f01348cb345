//! A coordinator whose machine is lost with all that was on it: with the authority from a backup it is made again out of what
//! the hosts say, and no guest notices.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::checker::{Watch, guest_processes};
use reeve_tests::image::{MEMORY_MIN_MEBIBYTES, Variant};
use reeve_tests::lab::{CoordinatorSettings, Daemon, Place, image_volume};
use uuid::Uuid;

use crate::fleet::Fleet;

/// How many hosts there are, each with guests.
const HOSTS: usize = 3;

#[test]
fn a_lost_coordinator_is_made_again_out_of_its_hosts_and_no_guest_notices() -> Result<()> {
    let fleet = Fleet::new("recovery", HOSTS, &[Variant::Good], &CoordinatorSettings::default())?;
    let names: Vec<String> = (1..=HOSTS + 1).map(|number| format!("web-{number}")).collect();
    names.iter().try_for_each(|name| fleet.configure(name, "good"))?;
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    fleet.lab.reeve(&[&["vm", "start"], &all[..]].concat())?;
    let before = vms(&fleet)?;
    ensure!(before.len() == HOSTS + 1 && before.values().all(|(_, state)| state == "running"), "{before:?}");
    let guests = guest_processes(&fleet.lab);
    let used: std::collections::BTreeSet<&String> = guests.values().map(|(host, _)| host).collect();
    ensure!(guests.len() == HOSTS + 1 && used.len() == HOSTS, "not every host has a guest: {guests:?}");
    let watch = Watch::begin(&fleet.lab);

    // Only the authority was saved.
    let state = fleet.lab.description().coordinator_directory().join("state");
    let saved = tempfile::tempdir()?;
    copy(&state.join("pki"), &saved.path().join("pki"))?;
    fleet.lab.kill(Daemon::Coordinator, &Place::Coordinator, Signal::SIGKILL)?;
    fs::remove_dir_all(&state)?;
    fs::create_dir(&state)?;
    copy(&saved.path().join("pki"), &state.join("pki"))?;

    let said = recover(&fleet, &["--dry-run"])?;
    ensure!(said.contains("Nothing was written"), "{said}");
    let said = recover(&fleet, &[])?;
    println!("{said}");
    for part in [
        "3 hosts have answered; 4 VMs are on them",
        "web-1",
        "web-4",
        "No host can tell these",
        "good",
        "join tokens",
    ] {
        ensure!(said.contains(part), "{part:?} is not told:\n{said}");
    }
    fleet.lab.start(Daemon::Coordinator, &Place::Coordinator)?;
    (1..=HOSTS).try_for_each(|number| fleet.wait_for_host(&format!("host{number}")))?;
    names.iter().try_for_each(|name| fleet.wait_for_state(name, &["running"]).map(drop))?;
    ensure!(vms(&fleet)? == before, "{:?} and before {before:?}", vms(&fleet)?);
    ensure!(guest_processes(&fleet.lab) == guests, "a guest was started, stopped or started anew");

    // It is in office: what it wishes is done.
    for host in 1..=HOSTS {
        fleet.lab.reeve(&["host", "set-state", &format!("host{host}"), "enabled"])?;
    }
    fleet.lab.reeve(&["vm", "shutdown", "web-1"])?;
    fleet.create(
        "image",
        &format!(
            r#"{{"name":"good","realm":"lab","volume":"{}","operating-system":"busybox"}}"#,
            image_volume(Variant::Good)
        ),
    )?;
    fleet.create(
        "setup",
        &format!(
            r#"{{"name":"good","realm":"lab","image":"good","cores":1,"memory":"{MEMORY_MIN_MEBIBYTES} MiB","debug":{{"console":true}}}}"#
        ),
    )?;
    fleet.lab.reeve(&["vm", "start", "web-1"])?;
    fleet.wait_for_state("web-1", &["running"])?;
    let after = guest_processes(&fleet.lab);
    let kept = guests.iter().filter(|(vm, guest)| after.get(vm) == Some(guest)).count();
    ensure!(kept == HOSTS && after.len() == HOSTS + 1, "{after:?} and before {guests:?}");
    let seen = watch.end()?;
    ensure!(seen.is_empty(), "was seen: {}", seen.join("\n"));
    fleet.lab.finish()
}

/// Runs `reeve-coordinator recover` where the coordinator was; what it says.
fn recover(fleet: &Fleet, further: &[&str]) -> Result<String> {
    let program = fleet.lab.description().program_directory().join("reeve-coordinator");
    let configuration = fleet.lab.coordinator_configuration();
    let mut command = vec![
        program.to_string_lossy().into_owned(),
        "recover".to_owned(),
        "--config".to_owned(),
        configuration.to_string_lossy().into_owned(),
        "--hosts".to_owned(),
        HOSTS.to_string(),
        // For a host that nobody thought of; the others are named.
        "--profile".to_owned(),
        "small".to_owned(),
    ];
    for host in &fleet.lab.description().hosts {
        command.extend(["--host-profile".to_owned(), format!("{}={}", host.name, host.profile)]);
    }
    command.extend(further.iter().map(|word| (*word).to_owned()));
    fleet.lab.run(&Place::Coordinator, &command)
}

/// The VMs that are not over: by id, where each is and how it is.
fn vms(fleet: &Fleet) -> Result<BTreeMap<Uuid, (String, String)>> {
    let listed = fleet.lab.reeve_json(&["vm", "list"])?;
    let text = |vm: &serde_json::Value, key: &str| vm[key].as_str().unwrap_or_default().to_owned();
    let vms = listed.as_array().context("no list")?.iter();
    vms.map(|vm| Ok((text(vm, "id").parse()?, (text(vm, "host"), text(vm, "state"))))).collect()
}

/// Copies a directory of files.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
