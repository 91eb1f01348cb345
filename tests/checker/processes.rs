//! Owns the finding of a lab's guests among the machine's processes: QEMU processes by their command lines, whose they are
//! by the network that they see, and which disks they hold open for writing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use nix::sys::signal::Signal;
use uuid::Uuid;

use crate::lab::{Lab, Place, ProcessIdentity, network_of};

/// A file, wherever it is mounted: hosts see the shared pools under paths of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Disk {
    device: u64,
    inode: u64,
    /// Its name, for messages.
    pub(super) name: String,
}

#[cfg(test)]
impl Disk {
    pub(super) fn made_up(inode: u64) -> Self {
        Self { device: 1, inode, name: format!("disk-{inode}") }
    }
}

/// A QEMU that runs a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Qemu {
    /// Its process.
    pub(super) process: ProcessIdentity,
    /// Its host.
    pub(super) host: String,
    /// The domain that it runs.
    pub(super) vm: Uuid,
    /// The disks that it may write.
    pub(super) writes: BTreeSet<Disk>,
}

/// The processes of all guests of a lab by the domain that each runs: its host's name and the process's number. Two of one
/// domain are a defect that [`crate::checker::Watch`] sees; here the last one counts.
#[must_use]
pub fn guest_processes(lab: &Lab) -> BTreeMap<Uuid, (String, i32)> {
    qemus(lab).into_iter().map(|qemu| (qemu.vm, (qemu.host, qemu.process.pid))).collect()
}

/// All guests of a lab now. A process that ends meanwhile may be there or not.
pub(super) fn qemus(lab: &Lab) -> Vec<Qemu> {
    let hosts = lab.description().hosts.iter().filter_map(|host| {
        let anchor = lab.anchor_of(&Place::Host(host.name.clone())).ok()?;
        Some((network_of(anchor)?, host.name.clone()))
    });
    let hosts: BTreeMap<PathBuf, String> = hosts.collect();
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter_map(|pid| {
            let vm = guest_of(&fs::read(format!("/proc/{pid}/cmdline")).ok()?)?;
            let process = ProcessIdentity::of(pid)?;
            let host = hosts.get(&network_of(process)?)?.clone();
            let writes = written(Path::new(&format!("/proc/{pid}")));
            process.is_alive().then_some(Qemu { process, host, vm, writes })
        })
        .collect()
}

/// Kills one guest of a host, as the kernel does when memory runs out. Returns whether there was one.
///
/// # Errors
/// When it cannot be killed.
pub fn kill_a_guest(lab: &Lab, host: &Place) -> Result<bool> {
    let victim = qemus(lab).into_iter().find(|qemu| qemu.host == host.name());
    victim.map_or(Ok(false), |qemu| qemu.process.signal(Signal::SIGKILL).map(|()| true))
}

/// What the names of guests begin with by which the agent finds something out: they are nobody's, and gone in a moment.
const PROBES: &[u8] = b"guest=reeve-lock-probe";

/// The domain that a command line runs; none if it is no QEMU's, or one that was only asked what it can do.
fn guest_of(command_line: &[u8]) -> Option<Uuid> {
    let mut words = command_line.split(|byte| *byte == 0);
    let program = String::from_utf8_lossy(words.next()?).into_owned();
    if !Path::new(&program).file_name()?.to_str()?.starts_with("qemu-system-") {
        return None;
    }
    words.clone().all(|word| !word.starts_with(PROBES)).then_some(())?;
    words.find(|word| *word == b"-uuid")?;
    Uuid::try_parse_ascii(words.next()?).ok()
}

/// The regular files that a process holds open for writing.
fn written(process: &Path) -> BTreeSet<Disk> {
    let Ok(open) = fs::read_dir(process.join("fd")) else { return BTreeSet::new() };
    open.filter_map(|entry| {
        let entry = entry.ok()?;
        let target = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
        let information = fs::read_to_string(process.join("fdinfo").join(entry.file_name())).ok()?;
        let name = fs::read_link(entry.path()).ok()?;
        let is_disk = name.extension().is_none_or(|kind| kind != "log");
        (is_disk && is_writable(&information)).then(|| Disk {
            device: target.dev(),
            inode: target.ino(),
            name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        })
    })
    .collect()
}

/// Whether `/proc/PID/fdinfo/N` says that the file was opened for writing: the lowest two bits of its octal flags.
fn is_writable(information: &str) -> bool {
    let flags = information.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).is_some_and(|flags| flags & 0o3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_known_by_its_command_line() {
        let line = |words: &[&str]| words.join("\0").into_bytes();
        let vm = "0f8fad5b-d9cb-469f-a165-70867728950e";
        let guest = line(&["/usr/bin/qemu-system-x86_64", "-name", "guest=web", "-uuid", vm, "-S"]);
        assert_eq!(guest_of(&guest), Some(Uuid::try_parse(vm).unwrap()));
        assert_eq!(guest_of(&line(&["/usr/bin/qemu-system-x86_64", "-M", "none"])), None);
        assert_eq!(guest_of(&line(&["/bin/sh", "-c", "x", "-uuid", vm])), None);
        let probe = "guest=reeve-lock-probe-7,debug-threads=on";
        assert_eq!(guest_of(&line(&["/usr/bin/qemu-system-x86_64", "-name", probe, "-uuid", vm])), None);
        assert_eq!(guest_of(b""), None);
    }

    #[test]
    fn files_open_for_writing_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.qcow2");
        let own = || written(Path::new("/proc/self")).iter().any(|disk| disk.name == "disk.qcow2");
        let writer = fs::File::create(&path).unwrap();
        assert!(own());
        drop(writer);
        let reader = fs::File::open(&path).unwrap();
        assert!(!own());
        drop(reader);
    }
}
