//! Owns what an administrator reads after a recovery: what was taken in, what needs a look, and what no host can tell.
//! Pure.

use std::collections::BTreeSet;

use reeve_common::ids::{Epoch, HostId};

use super::gathering::HostAnswer;
use super::merging::{Known, Merged};
use crate::model::vm::Vm;

/// Names in one line before the rest is counted: a line that can still be read.
const NAMES_SHOWN: usize = 20;

/// The story of a recovery, a line each.
pub(super) fn tell(
    known: &Known,
    answers: &[HostAnswer],
    merged: &Merged,
    epoch: Option<Epoch>,
) -> Vec<String> {
    let found: usize = answers.iter().map(|answer| answer.vms.len()).sum();
    let mut lines = vec![format!("{} hosts have answered; {found} VMs are on them.", answers.len())];
    for answer in answers {
        let libvirt = if answer.hypervisor_reachable { "" } else { "; its libvirt does not answer" };
        lines.push(format!("  host {} ({}): {} VMs{libvirt}", answer.name, answer.realm, answer.vms.len()));
    }
    let hosts: Vec<String> = merged.hosts.iter().map(|host| host.name.to_string()).collect();
    taken(&mut lines, "hosts, with the state no-scheduler", &hosts);
    let new = |vm: &&Vm| !known.vms.contains_key(&vm.id);
    let vms: Vec<String> =
        merged.vms.iter().filter(new).map(|vm| format!("{} ({})", vm.name, vm.state)).collect();
    taken(&mut lines, "VMs", &vms);
    let changed = merged.vms.len() - vms.len();
    if changed > 0 {
        lines.push(format!("Brought up to date: {changed} VMs."));
    }
    let configurations: Vec<String> =
        merged.configurations.iter().map(|configuration| configuration.name.to_string()).collect();
    taken(&mut lines, "configurations", &configurations);
    if !merged.findings.lines.is_empty() {
        lines.push("Look at these:".to_owned());
        lines.extend(merged.findings.lines.iter().map(|line| format!("  {line}")));
    }
    lines.extend(not_known(known, merged));
    match epoch {
        Some(epoch) => {
            lines.push(format!("Written; the next coordinator's epoch is above {epoch}."));
            lines.push(
                "Next: `systemctl start reeve-coordinator`, or by hand `reeve-coordinator run`; look at `reeve host list` and `reeve vm list`, then `reeve host set-state HOST enabled`."
                    .to_owned(),
            );
        }
        None => lines.push("Nothing was written.".to_owned()),
    }
    lines
}

fn taken(lines: &mut Vec<String>, what: &str, names: &[String]) {
    if !names.is_empty() {
        lines.push(format!("Taken in, {} {what}: {}.", names.len(), listed(names)));
    }
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What must be made anew, by name where the VMs tell it.
fn not_known(known: &Known, merged: &Merged) -> Vec<String> {
    let new: Vec<&Vm> = merged.vms.iter().filter(|vm| !known.vms.contains_key(&vm.id)).collect();
    let names = |of: &dyn Fn(&Vm) -> Vec<String>| -> Vec<String> {
        new.iter().flat_map(|vm| of(vm)).collect::<BTreeSet<_>>().into_iter().collect()
    };
    let setups = names(&|vm| vm.setup.iter().map(ToString::to_string).collect());
    let images = names(&|vm| {
        let made = vm.definition.made().into_iter();
        made.map(|spec| spec.system_disk.image_volume.to_string()).collect()
    });
    let drives = names(&|vm| {
        let made = vm.definition.made().into_iter();
        made.flat_map(|spec| &spec.drives).map(|drive| drive.volume.to_string()).collect()
    });
    let hosts: Vec<HostId> = merged.hosts.iter().map(|host| host.id).collect();
    let mut lines = Vec::new();
    if new.is_empty() && hosts.is_empty() {
        return lines;
    }
    lines.push("No host can tell these; make them anew where they are missing:".to_owned());
    let mut missing = |what: &str, names: &[String]| {
        let which = if names.is_empty() { "none was in use".to_owned() } else { listed(names) };
        lines.push(format!("  {what}: {which}"));
    };
    missing("hardware setups (those that VMs were made from)", &setups);
    missing("images (their volumes)", &images);
    missing("drives (the volumes of those in use)", &drives);
    lines.push("  hosts' labels, states and libvirt URIs; join tokens; VMs that are over; why VMs were placed where they are".to_owned());
    lines.push("  hosts that have not answered, and all that is on them".to_owned());
    lines
}
