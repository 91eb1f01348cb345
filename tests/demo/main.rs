//! The `reeve-demo` program: a coordinator and three hosts on this machine, real guests placed on them, and everything
//! left running for a look around. What is shown is what the product's own command line says.
#![allow(clippy::print_stdout, clippy::print_stderr)] // it is a program for people

mod catalogue;
mod stage;

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use reeve_tests::image::{Builder, Variant};
use reeve_tests::lab::{CoordinatorSettings, Daemon, Lab, NETWORK_DEFAULT, Place, Request, Workspace};
use serde_json::Value;
use stage::Stage;

/// One of each hardware profile.
const HOSTS: usize = 3;

/// Several VMs on several hosts are what the demo is for.
const HOSTS_USED_MIN: usize = 2;

/// A coordinator and three isolated KVM hosts on this machine, with real guests.
#[derive(Debug, Parser)]
#[command(name = "reeve-demo", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Brings everything up, anew if it is up already, and leaves it running.
    Run,
    /// Removes everything.
    Stop,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run => run(),
        Command::Stop => stop(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nreeve-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn stop() -> Result<()> {
    let was_there = Lab::down(&Workspace::locate()?.lab("demo"))?;
    println!("{}", if was_there { "the demo is removed: nothing of it is left" } else { "there is no demo" });
    Ok(())
}

fn run() -> Result<()> {
    let workspace = Workspace::locate()?;
    let directory = workspace.lab("demo");
    let mut stage = Stage::begin();
    play(&mut stage, &workspace).with_context(|| {
        format!("the logs are in {}/log; `make demo-stop` removes the demo", directory.display())
    })
}

fn play(stage: &mut Stage, workspace: &Workspace) -> Result<()> {
    let lab = set_the_scene(stage, workspace)?;
    join_hosts(stage, &lab)?;
    fill_the_catalogue(stage, &lab)?;
    let expected = simulate(stage, &lab)?;
    let vms = start(stage, &lab)?;
    show_where_they_are(stage, &lab, &vms, &expected)?;
    shut_one_down(stage, &lab)?;
    stage.end();
    look_around(&lab, workspace);
    Ok(())
}

fn set_the_scene(stage: &mut Stage, workspace: &Workspace) -> Result<Lab> {
    let directory = workspace.lab("demo");
    if directory.exists() {
        stage.step("Remove the demo of an earlier run", || Lab::down(&directory))?;
    }
    stage.step("Build a bootable guest image from this machine's packages (kept for later)", || {
        Builder::new(&workspace.images()).image(Variant::Good)
    })?;
    let title = format!("Bring up {HOSTS} isolated hosts, each with its own libvirt, joined by a network");
    let lab = stage.step(&title, || {
        let request = Request { directory: directory.clone(), hosts: HOSTS, network: NETWORK_DEFAULT };
        Lab::up(&request, workspace, &[Variant::Good])
    })?;
    stage.step("Found a coordinator: its certificate authority and its store; start it", || {
        lab.found_coordinator(workspace, &CoordinatorSettings::default())
    })?;
    Ok(lab)
}

fn join_hosts(stage: &mut Stage, lab: &Lab) -> Result<()> {
    stage.step("Add the hosts, and let the agent of each join with a single-use line", || {
        for host in &lab.description().hosts {
            lab.add_host(host)?;
            let line = lab.join_token(&host.name)?;
            lab.join(&host.name, &line)?;
            lab.start(Daemon::Agent, &Place::Host(host.name.clone()))?;
        }
        Ok(())
    })?;
    stage.step("Wait until every agent has connected over QUIC", || {
        lab.description().hosts.iter().try_for_each(|host| lab.wait_for_connection(&host.name, "connected"))
    })?;
    stage.show(lab, &["host", "list"])
}

fn fill_the_catalogue(stage: &mut Stage, lab: &Lab) -> Result<()> {
    stage.step("Make an image, two hardware setups and four VM configurations", || {
        for (kind, text) in
            [("image", catalogue::IMAGE), ("setup", catalogue::SETUPS), ("config", catalogue::CONFIGURATIONS)]
        {
            let file = lab.description().directory.join(format!("{kind}s.conf"));
            std::fs::write(&file, text)?;
            lab.reeve(&[kind, "create", "-f", &file.to_string_lossy()])?;
        }
        Ok(())
    })?;
    stage.show(lab, &["config", "list"])
}

/// Shows the placement before it is made; gives the host it would be.
fn simulate(stage: &mut Stage, lab: &Lab) -> Result<String> {
    let explanation = stage.step("Ask where a VM would go, and why: nothing is reserved", || {
        lab.reeve_json(&["setup", "simulate", catalogue::FIRST_SETUP])
    })?;
    stage.show(lab, &["setup", "simulate", catalogue::FIRST_SETUP, "--terms"])?;
    let chosen = explanation["chosen"].as_str().context("no host can take the VM")?;
    Ok(chosen.to_owned())
}

fn start(stage: &mut Stage, lab: &Lab) -> Result<Vec<Value>> {
    let started = stage.step("Start four VMs, and wait until the guest of each has registered", || {
        let command = [&["vm", "start"][..], &catalogue::NAMES, &["--quiet"]].concat();
        lab.reeve_json(&command)
    })?;
    let vms = started.as_array().context("`vm start` gave no list")?.clone();
    ensure!(
        vms.len() == catalogue::NAMES.len(),
        "{} of {} VMs were started",
        vms.len(),
        catalogue::NAMES.len()
    );
    for vm in &vms {
        ensure!(vm["state"] == "running", "{} is {}, not running", vm["name"], vm["state"]);
    }
    Ok(vms)
}

fn show_where_they_are(stage: &Stage, lab: &Lab, vms: &[Value], expected: &str) -> Result<()> {
    stage.show(lab, &["vm", "list"])?;
    for vm in vms {
        stage.show_part(lab, &["vm", "show", vm["id"].as_str().unwrap_or_default()], "Placement:")?;
    }
    let hosts: BTreeSet<&str> = vms.iter().filter_map(|vm| vm["host"].as_str()).collect();
    ensure!(hosts.len() >= HOSTS_USED_MIN, "all VMs are on {hosts:?}");
    let first = vms.iter().find(|vm| vm["configuration"] == catalogue::NAMES[0]);
    let first_host = first.and_then(|vm| vm["host"].as_str()).unwrap_or_default();
    ensure!(first_host == expected, "{expected} was foretold for the first VM, and it is on {first_host}");
    println!(
        "   {} guests registered on {} hosts; the first is where it was foretold.\n",
        vms.len(),
        hosts.len()
    );
    Ok(())
}

fn shut_one_down(stage: &mut Stage, lab: &Lab) -> Result<()> {
    let last = catalogue::NAMES[catalogue::NAMES.len() - 1];
    stage.step(
        &format!("Ask the guest of {last} to shut down, and wait until nothing is left of it"),
        || lab.reeve(&["vm", "shutdown", last, "--quiet"]),
    )?;
    stage.show(lab, &["vm", "past"])?;
    stage.show(lab, &["host", "list"])
}

fn look_around(lab: &Lab, workspace: &Workspace) {
    println!("The rest keeps running. To look around, as root:\n");
    println!("   export REEVE_SOCKET={}", lab.description().socket().display());
    println!("   export PATH={}:$PATH\n", workspace.programs().display());
    for (command, purpose) in [
        ("reeve status", "the fleet at a glance"),
        ("reeve vm list", "what runs where"),
        ("reeve vm show web-1", "one VM's life, and why it is where it is"),
        ("reeve vm logs web-1 --console", "what its guest has said"),
        ("reeve host show host2", "one host as its agent sees it"),
        ("reeve setup simulate batch --terms", "where the next one would go"),
        ("reeve-lab --directory demo status", "what the demo is made of"),
        ("reeve-lab --directory demo exec host3 -- virsh list", "the same VMs as libvirt sees them"),
        ("reeve-lab --directory demo kill coordinator", "VMs outlive it; `start coordinator` brings it back"),
        ("reeve-lab --directory demo partition host2", "host2 becomes lost; `heal host2` brings it back"),
    ] {
        println!("   {command:<53} {purpose}");
    }
    println!("\n`make demo-stop` removes everything; `make demo` begins anew.");
}
