//! The `reeve-lab` program: several isolated hosts on one machine. It only reads arguments and prints results.
#![allow(clippy::print_stdout)] // it is a program for people

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use nix::sys::signal::Signal;
use reeve_common::clock::{Clock as _, SystemClock};
use reeve_tests::image::{Builder, Variant};
use reeve_tests::lab::{
    CoordinatorSettings, Daemon, Direction, Lab, NETWORK_DEFAULT, Place, PlaceStatus, Request, Workspace,
};

/// Several isolated KVM hosts on one machine, each with its own libvirtd, QEMU and agent, joined by a network.
#[derive(Debug, Parser)]
#[command(
    name = "reeve-lab",
    version,
    after_help = "Examples:
  reeve-lab up --hosts 3
  reeve-lab exec host1 -- virsh list --all
  reeve-lab partition host2
  reeve-lab kill agent host1
  reeve-lab down"
)]
struct Arguments {
    /// The lab's directory: a name below the build directory's `reeve-lab/labs`, or a path with a slash.
    #[arg(long, global = true, default_value = "default", value_name = "DIRECTORY")]
    directory: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the hosts, starts libvirt on each, and the coordinator and the agents unless told not to.
    Up {
        /// How many hosts.
        #[arg(long, default_value_t = 3)]
        hosts: usize,
        /// The network that joins them, inside the lab alone; the last byte does not count.
        #[arg(long, default_value_t = NETWORK_DEFAULT)]
        network: Ipv4Addr,
        /// Only the hosts and their libvirt.
        #[arg(long)]
        bare: bool,
    },
    /// Ends and removes everything of the lab, whatever state it is in.
    Down,
    /// What of the lab is up.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Cuts a host, or `coordinator`, from the network.
    Partition {
        /// Which.
        place: String,
        /// Which way nothing gets through any more, as seen from there.
        #[arg(long, value_enum, default_value = "both")]
        direction: Direction,
    },
    /// Mends a host's partition.
    Heal {
        /// Which.
        place: String,
    },
    /// Kills a daemon.
    Kill {
        /// Which.
        #[arg(value_enum)]
        daemon: Daemon,
        /// On which host; not needed for the coordinator.
        host: Option<String>,
        /// By which signal.
        #[arg(long, default_value = "KILL")]
        signal: String,
    },
    /// Starts a daemon that does not run, and waits until it is ready.
    Start {
        /// Which.
        #[arg(value_enum)]
        daemon: Daemon,
        /// On which host; not needed for the coordinator.
        host: Option<String>,
    },
    /// Runs a command on a host, or on `coordinator` or `switch`.
    Exec {
        /// Where.
        place: String,
        /// What.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Builds a guest image, unless it is built already, and prints its path.
    Image {
        /// How the guest behaves.
        #[arg(long, value_enum, default_value = "good")]
        variant: Variant,
    },
}

#[allow(clippy::print_stderr)] // the one place where a failure is shown
fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reeve-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let workspace = Workspace::locate()?;
    let directory = lab_directory(&workspace, &arguments.directory)?;
    let open = || Lab::open(&directory);
    match arguments.command {
        Command::Up { hosts, network, bare } => {
            bring_up(&workspace, &Request { directory, hosts, network }, bare)
        }
        Command::Down => {
            let was_there = Lab::down(&directory)?;
            println!("{}", if was_there { "the lab is down" } else { "there was no lab" });
            Ok(())
        }
        Command::Status { json } => print_status(&open()?, json),
        Command::Partition { place, direction } => {
            let lab = open()?;
            lab.partition(&find_place(&lab, &place)?, direction)
        }
        Command::Heal { place } => {
            let lab = open()?;
            lab.heal(&find_place(&lab, &place)?)
        }
        Command::Kill { daemon, host, signal } => {
            let lab = open()?;
            lab.kill(daemon, &daemon_place(&lab, daemon, host.as_deref())?, parse_signal(&signal)?)
        }
        Command::Start { daemon, host } => {
            let lab = open()?;
            lab.start(daemon, &daemon_place(&lab, daemon, host.as_deref())?)
        }
        Command::Exec { place, command } => {
            let lab = open()?;
            let error = lab.command(&find_place(&lab, &place)?, &command)?.exec();
            Err(error).with_context(|| format!("cannot run {}", command.join(" ")))
        }
        Command::Image { variant } => {
            println!("{}", Builder::new(&workspace.images()).image(variant)?.display());
            Ok(())
        }
    }
}

/// A bare name is one below the build directory; anything else is a path.
fn lab_directory(workspace: &Workspace, given: &Path) -> Result<PathBuf> {
    match given.to_str() {
        Some(name) if !name.contains('/') => Ok(workspace.lab(name)),
        _ => std::path::absolute(given).with_context(|| format!("{} is no usable path", given.display())),
    }
}

fn bring_up(workspace: &Workspace, request: &Request, bare: bool) -> Result<()> {
    let begun = SystemClock.monotonic();
    let lab = Lab::up(request, workspace, &[Variant::Good])?;
    println!("{} hosts are up after {:.1} s", lab.description().hosts.len(), begun.elapsed().as_secs_f64());
    if !bare {
        lab.run_product(workspace, &CoordinatorSettings::default())?;
        println!(
            "the coordinator runs and all agents are connected after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        println!(
            "ask it: {} --socket {}",
            lab.description().program_directory().join("reeve").display(),
            lab.description().socket().display()
        );
    }
    Ok(())
}

fn find_place(lab: &Lab, name: &str) -> Result<Place> {
    let place = match name {
        "switch" => Place::Switch,
        "coordinator" => Place::Coordinator,
        host => Place::Host(lab.description().host(host)?.name.clone()),
    };
    Ok(place)
}

fn daemon_place(lab: &Lab, daemon: Daemon, host: Option<&str>) -> Result<Place> {
    match (daemon, host) {
        (Daemon::Coordinator, _) => Ok(Place::Coordinator),
        (_, Some(host)) => find_place(lab, host),
        (_, None) => bail!("say on which host: reeve-lab kill {} HOST", daemon.name()),
    }
}

/// `KILL`, `SIGKILL` and `kill` are the same.
fn parse_signal(text: &str) -> Result<Signal> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    name.parse().with_context(|| format!("{text} is no signal; KILL, TERM, STOP and CONT are some"))
}

fn print_status(lab: &Lab, json: bool) -> Result<()> {
    let places = lab.status();
    if json {
        println!("{}", serde_json::to_string_pretty(&places)?);
        return Ok(());
    }
    println!("lab {} in {}", lab.description().id, lab.description().directory.display());
    for PlaceStatus { name, address, up, running, not_running, partition, domains } in places {
        let mut facts = vec![if up { "up" } else { "down" }.to_owned()];
        facts.extend(running.iter().map(|daemon| format!("{daemon} runs")));
        facts.extend(not_running.iter().map(|daemon| format!("no {daemon}")));
        facts.extend(partition);
        if let Some(domains) = domains.filter(|domains| !domains.is_empty()) {
            facts.push(format!("domains {}", domains.join(" ")));
        }
        println!("{name:<12} {address:<15} {}", facts.join(", "));
    }
    Ok(())
}
