//! Owns how images, hardware setups, VM configurations and drives are shown.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::api::types::{AffinityRule, Companions, Configuration, Drive, Image, Setup, WhenHostLost};
use crate::cli::amounts;
use crate::cli::moments::{relative, relative_and_absolute};
use crate::cli::screen::{Screen, Sheet, number, some_text, words, yes_or_no};

pub(in crate::cli) fn images(screen: &Screen, images: &[Image]) -> String {
    let columns = [
        words("NAME"),
        words("REALM"),
        words("VOLUME"),
        words("FORMAT"),
        words("OPERATING SYSTEM"),
        words("CREATED"),
    ];
    screen.list(
        images,
        |image| image.name.to_string(),
        &columns,
        |image| {
            vec![
                image.name.to_string(),
                image.realm.to_string(),
                image.volume.to_string(),
                image.format.as_str().to_owned(),
                image.operating_system.clone(),
                relative(image.created_at, screen.now),
            ]
        },
    )
}

pub(in crate::cli) fn image(screen: &Screen, image: &Image) -> String {
    screen.one(
        image,
        |image| image.name.to_string(),
        |image| {
            Sheet::new()
                .line("Name", image.name.as_str())
                .line("Realm", image.realm.as_str())
                .line("Volume", image.volume.as_str())
                .line("Format", image.format.as_str())
                .line("Operating system", &*image.operating_system)
                .line("Created", relative_and_absolute(image.created_at, screen.now))
                .render()
        },
    )
}

pub(in crate::cli) fn setups(screen: &Screen, setups: &[Setup]) -> String {
    let columns = [
        words("NAME"),
        words("REALM"),
        words("IMAGE"),
        number("CORES"),
        number("MEMORY"),
        words("DEVICES"),
        words("CREATED"),
    ];
    screen.list(
        setups,
        |setup| setup.name.to_string(),
        &columns,
        |setup| {
            vec![
                setup.name.to_string(),
                setup.realm.to_string(),
                setup.image.to_string(),
                setup.cores.to_string(),
                amounts::memory(setup.memory_mib),
                amounts::devices(&setup.devices),
                relative(setup.created_at, screen.now),
            ]
        },
    )
}

pub(in crate::cli) fn setup(screen: &Screen, setup: &Setup) -> String {
    screen.one(
        setup,
        |setup| setup.name.to_string(),
        |setup| {
            let networks = match &setup.networks {
                None => "the realm's".to_owned(),
                Some(networks) if networks.is_empty() => "none".to_owned(),
                Some(networks) => {
                    networks.iter().map(|network| network.as_str()).collect::<Vec<_>>().join(", ")
                }
            };
            let devices = amounts::devices(&setup.devices);
            let labels = amounts::labels(&setup.labels);
            Sheet::new()
                .line("Name", setup.name.as_str())
                .line("Realm", setup.realm.as_str())
                .line("Image", setup.image.as_str())
                .line("Cores", setup.cores.to_string())
                .line("Memory", amounts::memory(setup.memory_mib))
                .line("Devices", if devices.is_empty() { "none".to_owned() } else { devices })
                .line("Accelerator", setup.virt_type.map_or("the realm's", |virt_type| virt_type.as_str()))
                .line("Machine", setup.machine.as_str())
                .line("Processor model", &*setup.cpu_model)
                .optional("Processor features", some_text(names(&setup.cpu_features)))
                .optional("NUMA nodes", setup.numa_nodes.map(|nodes| nodes.to_string()))
                .optional("Huge pages", setup.huge_pages_mib.map(|size| amounts::memory(u64::from(size))))
                .line("Networks", networks)
                .line("Console kept", yes_or_no(setup.debug.console))
                .line("VNC", yes_or_no(setup.debug.vnc))
                .optional("Labels", some_text(labels))
                .optional("Host labels", some_text(amounts::label_values(&setup.host_labels)))
                .optional("Host labels avoided", some_text(amounts::label_values(&setup.avoid_host_labels)))
                .several("Affinity", setup.affinity.iter().map(affinity))
                .line("Created", relative_and_absolute(setup.created_at, screen.now))
                .render()
        },
    )
}

fn names<N: Display>(names: &BTreeSet<N>) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn affinity(rule: &AffinityRule) -> String {
    let whom = |companions: &Companions| match companions {
        Companions::Owner => "VMs of the same owner".to_owned(),
        Companions::Team => "VMs of the same team".to_owned(),
        Companions::Label(label) => format!("VMs with {}", amounts::labels(label)),
        Companions::Vm(vm) => format!("VM {vm}"),
    };
    match rule {
        AffinityRule::Together(companions) => format!("together with {}", whom(companions)),
        AffinityRule::Apart(companions) => format!("apart from {}", whom(companions)),
    }
}

pub(in crate::cli) fn configurations(screen: &Screen, configurations: &[Configuration]) -> String {
    let columns = [
        words("NAME"),
        words("SETUP"),
        words("OWNER"),
        words("TEAM"),
        words("PROJECT"),
        number("DRIVES"),
        words("TITLE"),
    ];
    screen.list(
        configurations,
        |configuration| configuration.name.to_string(),
        &columns,
        |configuration| {
            vec![
                configuration.name.to_string(),
                configuration.setup.to_string(),
                configuration.owner.clone(),
                configuration.team.clone(),
                configuration.project.clone().unwrap_or_default(),
                configuration.drives.len().to_string(),
                configuration.title.clone(),
            ]
        },
    )
}

pub(in crate::cli) fn configuration(screen: &Screen, configuration: &Configuration) -> String {
    screen.one(
        configuration,
        |configuration| configuration.name.to_string(),
        |configuration| {
            let drives = configuration.drives.iter().map(|used| {
                if used.read_only { format!("{} (read-only)", used.drive) } else { used.drive.to_string() }
            });
            Sheet::new()
                .line("Name", configuration.name.as_str())
                .line("Title", &*configuration.title)
                .line("Setup", configuration.setup.as_str())
                .line("Owner", &*configuration.owner)
                .line("Team", &*configuration.team)
                .optional("Project", configuration.project.clone())
                .several("Drives", drives)
                .line(
                    "When host lost",
                    configuration.when_host_lost.map_or("as the realm says", WhenHostLost::as_str),
                )
                .line("Priority", configuration.priority.to_string())
                .line("Created", relative_and_absolute(configuration.created_at, screen.now))
                .render()
        },
    )
}

pub(in crate::cli) fn drives(screen: &Screen, drives: &[Drive]) -> String {
    let columns = [
        words("NAME"),
        words("REALM"),
        words("OWNER"),
        words("TEAM"),
        number("SIZE"),
        words("FORMAT"),
        words("READY"),
        words("CREATED"),
    ];
    screen.list(
        drives,
        |drive| drive.name.to_string(),
        &columns,
        |drive| {
            vec![
                drive.name.to_string(),
                drive.realm.to_string(),
                drive.owner.clone(),
                drive.team.clone(),
                amounts::size(drive.size_bytes),
                drive.format.as_str().to_owned(),
                yes_or_no(drive.ready).to_owned(),
                relative(drive.created_at, screen.now),
            ]
        },
    )
}

pub(in crate::cli) fn drive(screen: &Screen, drive: &Drive) -> String {
    screen.one(
        drive,
        |drive| drive.name.to_string(),
        |drive| {
            let ready = if drive.ready { "yes" } else { "not yet: its volume is being made" };
            Sheet::new()
                .line("Name", drive.name.as_str())
                .line("Realm", drive.realm.as_str())
                .line("Owner", &*drive.owner)
                .line("Team", &*drive.team)
                .line("Size", amounts::size(drive.size_bytes))
                .line("Format", drive.format.as_str())
                .line("Volume", drive.volume.as_str())
                .line("Ready", ready)
                .line("Created", relative_and_absolute(drive.created_at, screen.now))
                .render()
        },
    )
}
