//! Coming up and going down, in order and not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use reeve_tests::harness::TestLab;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::lab::{Daemon, Description, Lab, Workspace, residue};

const UP_PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_lab_comes_up_and_leaves_nothing() -> Result<()> {
    let lab = TestLab::new("life", 3, &[])?;
    let description = lab.description().clone();
    let places = lab.status();
    assert_eq!(places.len(), 4, "{places:?}");
    for place in &places[1..] {
        assert!(place.up && place.running == ["virtlogd", "libvirtd"], "{place:?}");
        assert_eq!(place.domains.as_deref(), Some(&[][..]));
    }
    assert!(!residue(&description).is_empty(), "residue does not see a lab that is up");
    lab.finish()?;
    assert_eq!(residue(&description), Vec::<String>::new());
    assert!(!Lab::down(&description.directory)?, "it was down already");
    Ok(())
}

/// A host is what the product expects: its own name and identity, shared pools, a filter, an unprivileged way in.
#[test]
fn a_host_is_a_whole_libvirt_host() -> Result<()> {
    let lab = TestLab::new("host", 2, &[])?;
    let (first, second) = (lab.host(1), lab.host(2));
    assert_eq!(lab.virsh(&first, &["hostname"])?.trim(), "host1");
    let uuid = lab.description().host("host2")?.uuid.to_string();
    assert!(lab.virsh(&second, &["capabilities"])?.contains(&uuid));
    assert!(lab.virsh(&first, &["nwfilter-list"])?.contains("clean-traffic"));
    assert!(lab.virsh(&first, &["net-info", "default"])?.contains("Active:         yes"));

    lab.virsh(&first, &["vol-create-as", "ticrypt-vm-drives", "shared", "1M"])?;
    lab.virsh(&second, &["pool-refresh", "ticrypt-vm-drives"])?;
    assert!(lab.virsh(&second, &["vol-list", "ticrypt-vm-drives"])?.contains("shared"));

    let group = lab.run(&first, &["stat", "--format=%G %a", "/run/libvirt/libvirt-sock"])?;
    assert_eq!(group.trim(), "libvirt 770");
    lab.finish()
}

#[test]
fn a_killed_libvirtd_is_started_again() -> Result<()> {
    let lab = TestLab::new("kill", 1, &[])?;
    let host = lab.host(1);
    lab.kill(Daemon::Libvirtd, &host, Signal::SIGKILL)?;
    assert!(!lab.is_running(Daemon::Libvirtd, &host));
    assert!(lab.virsh(&host, &["list"]).is_err());
    assert!(lab.kill(Daemon::Libvirtd, &host, Signal::SIGKILL).is_err(), "nothing was there to be killed");
    lab.start(Daemon::Libvirtd, &host)?;
    lab.start(Daemon::Libvirtd, &host)?;
    assert!(lab.virsh(&host, &["net-list"])?.contains("default"));
    lab.finish()
}

/// `kill -9` of the program that brings a lab up, at each of its stages.
#[test]
fn an_interrupted_lab_is_removed_whole() -> Result<()> {
    let workspace = Workspace::locate()?;
    let directory = workspace.lab("test-interrupted");
    for stage in [
        "lab.json",
        "processes/switch.anchor",
        "processes/coordinator.anchor",
        "processes/host1.anchor",
        "processes/host1.virtlogd",
        "processes/host2.libvirtd",
    ] {
        Lab::down(&directory)?;
        interrupt_at(&directory, stage)?;
        let description = Lab::open(&directory)?.description().clone();
        assert!(Lab::down(&directory)?, "nothing was left of a lab interrupted at {stage}");
        assert_eq!(residue(&description), Vec::<String>::new(), "after an interruption at {stage}");
        assert_no_links_left(&description)?;
    }
    Ok(())
}

fn interrupt_at(directory: &Path, stage: &str) -> Result<()> {
    let mut program = Command::new(env!("CARGO_BIN_EXE_reeve-lab"))
        .args(["up", "--bare", "--hosts", "2", "--directory"])
        .arg(directory)
        .stdout(Stdio::null())
        .spawn()?;
    let reached = poll_until(stage, UP_PATIENCE, || Ok(directory.join(stage).exists().then_some(())));
    program.kill()?;
    program.wait()?;
    reached
}

/// A lab's links live in its namespaces; none may ever show among the machine's own.
fn assert_no_links_left(description: &Description) -> Result<()> {
    let links = fs::read_dir("/sys/class/net")?.collect::<Result<Vec<_>, _>>()?;
    for link in links {
        let name = link.file_name().to_string_lossy().into_owned();
        let ours = name == "uplink" || name == "bridge" || name == "virbr0";
        let port = description.places().iter().any(|place| name == format!("to-{place}"));
        assert!(!ours && !port, "{name} is left among the machine's links");
    }
    Ok(())
}

/// Two labs at once, with the same addresses, do not see each other.
#[test]
fn labs_do_not_meet() -> Result<()> {
    let first = TestLab::new("meet-1", 1, &[])?;
    let second = TestLab::new("meet-2", 1, &[])?;
    first.virsh(&first.host(1), &["vol-create-as", "ticrypt-vm", "mine", "1M"])?;
    second.virsh(&second.host(1), &["pool-refresh", "ticrypt-vm"])?;
    assert!(!second.virsh(&second.host(1), &["vol-list", "ticrypt-vm"])?.contains("mine"));
    first.finish()?;
    assert!(second.virsh(&second.host(1), &["list"]).is_ok(), "taking one lab down hurt the other");
    second.finish()
}
