//! Owns what has to be made for a lab, as a list of steps in order. Pure: nothing here touches the machine, and the
//! same description gives the same steps.

use std::path::{Path, PathBuf};

use super::description::{Description, HostDescription, PREFIX_LENGTH};
use super::libvirt_files;
use super::place::Place;
use crate::harness::kvm_device::GIVE_KVM_TO_ITS_GROUP;

/// The bridge in the switch.
pub(crate) const BRIDGE: &str = "bridge";

/// The end of the cable in a host or in the coordinator's place.
pub(crate) const UPLINK: &str = "uplink";

/// Where a host sees the product's programs.
pub(crate) const PROGRAMS: &str = "/run/reeve-lab/bin";

/// Where a host sees its agent's state.
pub(crate) const AGENT_STATE: &str = "/run/reeve-lab/agent";

/// The user and group the agent runs as: a number that no package gives out and no service manager assigns.
pub(crate) const AGENT_USER: u32 = 64_999;

/// One thing to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A directory in the lab's own, with its mode and owner.
    Directory { path: PathBuf, mode: u32, owner: Option<u32> },
    /// A file in the lab's own directory.
    File { path: PathBuf, contents: String },
    /// A symbolic link in the lab's own directory.
    Link { path: PathBuf, target: PathBuf },
    /// Copies of the files of a directory of the machine that end in this; none if the directory is missing.
    Copies { from: PathBuf, suffix: &'static str, to: PathBuf },
    /// A copy of a file of the machine with a line behind it.
    Extended { from: PathBuf, line: String, to: PathBuf },
    /// The process that keeps a place.
    Anchor { place: Place },
    /// A pair of interfaces: `port` in the switch, [`UPLINK`] in the place.
    Cable { port: String, place: Place },
    /// A command in a place.
    Run { place: Place, command: Vec<String> },
}

/// The end of a place's cable in the switch.
pub(crate) fn port(place: &Place) -> String {
    format!("to-{}", place.name())
}

/// The directories that exist once, and the switch with its bridge.
pub(crate) fn foundation(lab: &Description) -> Vec<Step> {
    let mut steps = vec![
        directory(lab.log_directory(), 0o755),
        directory(lab.program_directory(), 0o755),
        directory(lab.shared(), 0o755),
        directory(lab.coordinator_directory(), 0o755),
    ];
    steps.extend(libvirt_files::POOLS.map(|pool| directory(lab.shared().join(pool), 0o755)));
    steps.push(Step::Anchor { place: Place::Switch });
    steps.extend(in_place(
        &Place::Switch,
        &[
            &["hostname", Place::Switch.name()],
            &["ip", "link", "set", "lo", "up"],
            &["ip", "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0"],
            &["ip", "link", "set", BRIDGE, "up"],
        ],
    ));
    steps
}

/// The coordinator's place.
pub(crate) fn coordinator(lab: &Description) -> Vec<Step> {
    let place = Place::Coordinator;
    let mut steps = vec![Step::Anchor { place: place.clone() }];
    steps.extend(in_place(&place, &[&["hostname", place.name()], &["ip", "link", "set", "lo", "up"]]));
    steps.extend(cable(&place, lab.coordinator_address));
    steps
}

/// A host's place, with everything libvirtd reads when it starts.
pub(crate) fn host(lab: &Description, host: &HostDescription) -> Vec<Step> {
    let mut steps = host_files(lab, host);
    steps.extend(host_place(lab, host));
    steps
}

/// The place of a host whose files are there: made new, or made again after it lost its power.
pub(crate) fn host_place(lab: &Description, host: &HostDescription) -> Vec<Step> {
    let place = Place::Host(host.name.clone());
    let mut steps = vec![Step::Anchor { place: place.clone() }];
    steps.extend(
        host_mounts(lab, host).into_iter().map(|command| Step::Run { place: place.clone(), command }),
    );
    steps.extend(in_place(&place, &[&["hostname", &host.name], &["ip", "link", "set", "lo", "up"]]));
    steps.extend(cable(&place, host.address));
    steps
}

/// The host's directories outside its mount namespace, and what they hold at first.
fn host_files(lab: &Description, host: &HostDescription) -> Vec<Step> {
    let own = lab.host_directory(&host.name);
    let etc = own.join("etc");
    let mut steps: Vec<Step> = [
        "etc/nwfilter",
        "etc/qemu/networks/autostart",
        "etc/storage/autostart",
        "cache/qemu/capabilities",
        "log/qemu",
    ]
    .map(|path| directory(own.join(path), 0o755))
    .into();
    steps.extend(libvirt_files::POOLS.map(|pool| directory(own.join("lib/reeve").join(pool), 0o755)));
    steps.push(Step::Directory { path: own.join("agent"), mode: 0o700, owner: Some(AGENT_USER) });
    // libvirt's client wants to know its user and group by name.
    let user = format!("reeve-agent:x:{AGENT_USER}:{AGENT_USER}::{AGENT_STATE}:/usr/sbin/nologin");
    for (name, line) in [("passwd", user), ("group", format!("reeve-agent:x:{AGENT_USER}:"))] {
        steps.push(Step::Extended { from: Path::new("/etc").join(name), line, to: own.join(name) });
    }
    steps.push(Step::File { path: own.join("hosts"), contents: host_names(lab) });
    let file = |path: &str, contents: String| Step::File { path: etc.join(path), contents };
    steps.push(file("libvirtd.conf", libvirt_files::libvirtd(host)));
    steps.push(file("qemu.conf", libvirt_files::QEMU.to_owned()));
    steps.push(Step::Copies {
        from: PathBuf::from("/etc/libvirt/nwfilter"),
        suffix: ".xml",
        to: etc.join("nwfilter"),
    });
    // Definitions that libvirtd finds when it starts need no commands afterwards.
    let definitions = libvirt_files::POOLS.map(|pool| ("storage", pool, libvirt_files::pool(pool)));
    let network = ("qemu/networks", libvirt_files::NETWORK, libvirt_files::network());
    for (folder, name, contents) in definitions.into_iter().chain([network]) {
        steps.push(file(&format!("{folder}/{name}.xml"), contents));
        steps.push(Step::Link {
            path: etc.join(folder).join("autostart").join(format!("{name}.xml")),
            target: Path::new("/etc/libvirt").join(folder).join(format!("{name}.xml")),
        });
    }
    steps
}

/// `/etc/hosts`: libvirt looks its own host's name up.
fn host_names(lab: &Description) -> String {
    let coordinator = format!("{} {}\n", lab.coordinator_address, Place::Coordinator.name());
    let hosts = lab.hosts.iter().map(|host| format!("{} {}\n", host.address, host.name));
    ["127.0.0.1 localhost\n".to_owned(), coordinator].into_iter().chain(hosts).collect()
}

/// What a host sees instead of the machine's own. `/sys` is mounted anew since it shows the network of who mounts it;
/// the control groups disappear with the old one, so that libvirt leaves nothing in the machine's.
fn host_mounts(lab: &Description, host: &HostDescription) -> Vec<Vec<String>> {
    let own = lab.host_directory(&host.name);
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut commands = vec![
        words(&["umount", "--lazy", "--recursive", "/sys"]),
        words(&["mount", "-t", "sysfs", &lab.mark(), "/sys"]),
        words(&["mount", "-t", "tmpfs", "-o", "mode=755", &lab.mark(), "/run"]),
        words(&["mkdir", "-p", PROGRAMS, AGENT_STATE]),
    ];
    let mut bind = |from: PathBuf, to: &str| commands.push(words(&["mount", "--bind", &text(from), to]));
    bind(own.join("etc"), "/etc/libvirt");
    bind(own.join("lib"), "/var/lib/libvirt");
    bind(own.join("cache"), "/var/cache/libvirt");
    bind(own.join("log"), "/var/log/libvirt");
    bind(own.join("agent"), AGENT_STATE);
    bind(own.join("hosts"), "/etc/hosts");
    bind(own.join("passwd"), "/etc/passwd");
    bind(own.join("group"), "/etc/group");
    bind(lab.program_directory(), PROGRAMS);
    for pool in libvirt_files::POOLS {
        bind(lab.shared().join(pool), &format!("{}/{pool}", libvirt_files::POOL_ROOT));
    }
    commands.push(words(&["sh", "-c", GIVE_KVM_TO_ITS_GROUP]));
    commands
}

fn cable(place: &Place, address: std::net::Ipv4Addr) -> Vec<Step> {
    let port = port(place);
    let mut steps = vec![Step::Cable { port: port.clone(), place: place.clone() }];
    steps.extend(in_place(
        &Place::Switch,
        &[&["ip", "link", "set", &port, "master", BRIDGE], &["ip", "link", "set", &port, "up"]],
    ));
    let address = format!("{address}/{PREFIX_LENGTH}");
    steps.extend(in_place(
        place,
        &[&["ip", "address", "add", &address, "dev", UPLINK], &["ip", "link", "set", UPLINK, "up"]],
    ));
    steps
}

fn directory(path: PathBuf, mode: u32) -> Step {
    Step::Directory { path, mode, owner: None }
}

fn in_place(place: &Place, commands: &[&[&str]]) -> Vec<Step> {
    commands.iter().map(|command| Step::Run { place: place.clone(), command: words(command) }).collect()
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::example;
    use super::*;

    fn lines(steps: &[Step]) -> String {
        let line = |step: &Step| match step {
            Step::Directory { path, mode, owner } => {
                format!("directory {} {mode:o} {owner:?}", path.display())
            }
            Step::File { path, contents } => format!("file {} ({} bytes)", path.display(), contents.len()),
            Step::Link { path, target } => format!("link {} -> {}", path.display(), target.display()),
            Step::Copies { from, suffix, to } => {
                format!("copies {} *{suffix} {}", from.display(), to.display())
            }
            Step::Extended { from, line, to } => {
                format!("extended {} {line} {}", from.display(), to.display())
            }
            Step::Anchor { place } => format!("anchor {place}"),
            Step::Cable { port, place } => format!("cable {port} {place}"),
            Step::Run { place, command } => format!("{place}$ {}", command.join(" ")),
        };
        steps.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_plan_of_a_lab() {
        let lab = example();
        let whole = [foundation(&lab), coordinator(&lab), host(&lab, &lab.hosts[0])].concat();
        insta::assert_snapshot!(lines(&whole));
    }

    #[test]
    fn no_step_writes_outside_the_lab() {
        let lab = example();
        let steps = [foundation(&lab), coordinator(&lab), host(&lab, &lab.hosts[1])].concat();
        for step in steps {
            match step {
                Step::Directory { path, .. } | Step::File { path, .. } | Step::Link { path, .. } => {
                    assert!(path.starts_with(&lab.directory), "{}", path.display());
                }
                Step::Copies { to, .. } | Step::Extended { to, .. } => {
                    assert!(to.starts_with(&lab.directory))
                }
                Step::Run { place, command } if command[0] == "mount" || command[0] == "umount" => {
                    assert!(
                        matches!(place, Place::Host(_)),
                        "{command:?} would change the machine's own mounts"
                    );
                }
                Step::Anchor { .. } | Step::Cable { .. } | Step::Run { .. } => {}
            }
        }
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        let mut lab = example();
        lab.hosts[0].name = format!("host{}", super::super::description::HOSTS_MAX);
        for place in lab.places() {
            assert!(port(&place).len() <= 15, "{}", port(&place));
        }
    }
}
