//! Owns what is wrong with a set of guests that run at the same time. Pure.

use std::collections::BTreeMap;

use super::processes::Qemu;

/// Two guests that must not run at the same time, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misdeed<'a> {
    pub(super) one: &'a Qemu,
    pub(super) other: &'a Qemu,
    pub(super) words: String,
}

/// Every pair of guests that must not run at the same time.
pub(super) fn misdeeds(qemus: &[Qemu]) -> Vec<Misdeed<'_>> {
    let mut found = Vec::new();
    let (mut guests, mut writers) = (BTreeMap::new(), BTreeMap::new());
    for qemu in qemus {
        if let Some(other) = guests.insert(qemu.vm, qemu) {
            let words = format!("VM {} runs on {} and on {}", qemu.vm, other.host, qemu.host);
            found.push(Misdeed { one: other, other: qemu, words });
        }
        for disk in &qemu.writes {
            if let Some(other) = writers.insert(disk, qemu) {
                let words = format!(
                    "disk {} is written by VM {} on {} and by VM {} on {}",
                    disk.name, other.vm, other.host, qemu.vm, qemu.host
                );
                found.push(Misdeed { one: other, other: qemu, words });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::processes::Disk;
    use super::*;
    use crate::lab::ProcessIdentity;

    fn qemu(pid: i32, vm: u128, disks: &[Disk]) -> Qemu {
        Qemu {
            process: ProcessIdentity { pid, started: 1 },
            host: format!("host{pid}"),
            vm: Uuid::from_u128(vm),
            writes: disks.iter().cloned().collect(),
        }
    }

    #[test]
    fn a_vm_on_two_hosts_and_a_disk_with_two_writers_are_misdeeds() {
        let disk = |inode| Disk::made_up(inode);
        let well = [qemu(1, 1, &[disk(1)]), qemu(2, 2, &[disk(2)])];
        assert_eq!(misdeeds(&well), []);
        let twice = [qemu(1, 1, &[disk(1)]), qemu(2, 1, &[disk(2)])];
        assert!(misdeeds(&twice)[0].words.contains("runs on host1 and on host2"));
        let shared = [qemu(1, 1, &[disk(1)]), qemu(2, 2, &[disk(1), disk(3)])];
        assert_eq!(misdeeds(&shared).len(), 1);
        assert!(misdeeds(&shared)[0].words.starts_with("disk disk-1 is written by VM"));
    }
}
