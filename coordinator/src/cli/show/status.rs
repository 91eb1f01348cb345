//! Owns how the coordinator's status is shown.

use crate::api::types::{OpenWarnings, Status};
use crate::cli::moments::relative_and_absolute;
use crate::cli::screen::{Screen, Sheet};

pub(in crate::cli) fn status(screen: &Screen, status: &Status) -> String {
    screen.one(
        status,
        |status| status.version.clone(),
        |status| {
            let hosts = status.hosts;
            let hosts: Vec<String> = [
                ("connected", hosts.connected),
                ("connected and not reported yet", hosts.connected.saturating_sub(hosts.reported)),
                ("suspected", hosts.suspected),
                ("lost", hosts.lost),
                ("fenced", hosts.fenced),
                ("never joined", hosts.never_joined),
            ]
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(word, count)| format!("{count} {word}"))
            .collect();
            let vms = status.vms.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>();
            Sheet::new()
                .line("Version", &*status.version)
                .line("Started", relative_and_absolute(status.started_at, screen.now))
                .line("Epoch", status.epoch.to_string())
                .line("Realms", status.realms.to_string())
                .line("Hosts", counted(status.hosts.total, &hosts))
                .line("VMs", counted(status.vms.values().sum(), &vms))
                .optional("Standing", standing(status.open_warnings))
                .several("Warnings", status.warnings.iter().cloned())
                .render()
        },
    )
}

fn standing(open: OpenWarnings) -> Option<String> {
    let parts = [(open.failures, "failure"), (open.warnings, "warning")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    (!parts.is_empty()).then(|| format!("{} (`reeve warning list`)", parts.join(", ")))
}

fn counted(total: usize, parts: &[String]) -> String {
    if parts.is_empty() { total.to_string() } else { format!("{total}: {}", parts.join(", ")) }
}
