//! The checker that judges the lab can find something wrong: what must never be is made by hand, behind the product's back.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use reeve_tests::checker::{Acknowledged, Watch, misdeeds_at_rest};
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::image::Variant;
use reeve_tests::lab::{CoordinatorSettings, Daemon};
use uuid::Uuid;

use crate::fleet::{Fleet, PATIENCE};

#[test]
fn a_vm_that_runs_twice_and_a_disk_left_behind_are_found() -> Result<()> {
    let fleet = Fleet::new("checking", 2, &[Variant::Good], &CoordinatorSettings::default())?;
    fleet.configure("web", "good")?;
    fleet.lab.reeve(&["vm", "start", "web"])?;
    let vm = fleet.vm("web")?;
    let id = vm["id"].as_str().context("no id")?;
    let promises: BTreeMap<Uuid, Acknowledged> = [(id.parse()?, Acknowledged::Start)].into();
    let judged = |promises| misdeeds_at_rest(&fleet.lab, promises, 1000);
    ensure!(judged(&promises)?.is_empty(), "{:?}", judged(&promises)?);

    let (here, there) = if vm["host"] == "host1" {
        (fleet.lab.host(1), fleet.lab.host(2))
    } else {
        (fleet.lab.host(2), fleet.lab.host(1))
    };
    // Both agents would put it right, or stand in the way: they look on from afar.
    for place in [&here, &there] {
        fleet.lab.kill(Daemon::Agent, place, Signal::SIGSTOP)?;
    }
    let watch = Watch::begin(&fleet.lab);
    let definition = without_disks(&fleet.lab.virsh(&here, &["dumpxml", "--inactive", id])?);
    fleet.lab.run_with_input(&there, &["virsh", "--quiet", "create", "/dev/stdin"], &definition)?;
    let at_rest = judged(&promises)?;
    fleet.lab.virsh(&there, &["destroy", id])?;
    // QEMU locks its disks, so that a second one on this machine would not start; a file system of a network may not know.
    let disk = format!("/var/lib/libvirt/reeve/ticrypt-vm/{}", volume(&fleet)?);
    let mut writer = fleet
        .lab
        .command(&there, &["bash", "-c", IMPOSTOR, "bash", &disk, &Uuid::new_v4().to_string()])?
        .spawn()?;
    let seen = poll_until("both misdeeds to be seen", PATIENCE, || {
        let seen = watch.so_far();
        let both = ["VM ", "disk "].iter().all(|start| seen.iter().any(|words| words.starts_with(start)));
        Ok(both.then_some(seen))
    });
    writer.kill()?;
    writer.wait()?;
    seen?;
    ensure!(at_rest.iter().any(|words| words.contains("its record says")), "{at_rest:?}");

    std::fs::write(fleet.lab.description().shared().join("ticrypt-vm/forgotten"), "x")?;
    let found = judged(&promises)?;
    ensure!(found == ["the disk forgotten was left behind"], "{found:?}");
    let stopped: BTreeMap<Uuid, Acknowledged> = [(id.parse()?, Acknowledged::Stop)].into();
    ensure!(
        judged(&stopped)?.iter().any(|words| words.contains("Stop was acknowledged")),
        "{:?}",
        judged(&stopped)?
    );
    fleet.lab.finish()
}

/// Takes for a QEMU, and holds a disk open for writing.
const IMPOSTOR: &str =
    r#"exec 3<>"$1"; exec -a qemu-system-impostor bash -c 'read -r < <(exec sleep 600)' bash -uuid "$2""#;

/// A definition without its disks.
fn without_disks(definition: &str) -> String {
    let mut pieces = definition.split("<disk ");
    let before = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(before, |text, piece| text + piece.split_once("</disk>").map_or("", |(_, behind)| behind))
}

/// The only volume in the volumes pool.
fn volume(fleet: &Fleet) -> Result<String> {
    let pool = fleet.lab.description().shared().join("ticrypt-vm");
    let files = std::fs::read_dir(pool)?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = files.collect::<Result<_>>()?;
    names.into_iter().find(|name| name.ends_with(".qcow2")).context("no disk")
}
