//! Owns how VMs are shown.

use std::fmt::Write;

use reeve_common::text::printable;

use super::explanation;
use crate::api::types::{JournalLine, Transition, Vm, VmDetail, VmLog};
use crate::cli::amounts;
use crate::cli::moments::{relative, relative_and_absolute};
use crate::cli::screen::{Screen, Sheet, number, table, words};

/// The longest line of a console that is shown, in bytes; a guest may write one without end.
const CONSOLE_LINE_LENGTH_MAX: usize = 4096;

/// What it is a run of.
fn run_of(vm: &Vm) -> String {
    vm.configuration.as_ref().map_or_else(|| "(adopted)".to_owned(), ToString::to_string)
}

pub(in crate::cli) fn vms(screen: &Screen, vms: &[Vm]) -> String {
    let columns = [
        words("NAME"),
        words("STATE"),
        words("SINCE"),
        words("HOST"),
        number("CORES"),
        number("MEMORY"),
        words("OWNER"),
        words("CONFIGURATION"),
        words("REASON"),
    ];
    screen.list(
        vms,
        |vm| vm.id.to_string(),
        &columns,
        |vm| {
            vec![
                vm.name.to_string(),
                vm.state.as_str().to_owned(),
                relative(vm.state_since, screen.now),
                vm.host.as_ref().map(ToString::to_string).unwrap_or_default(),
                vm.cores.to_string(),
                amounts::memory(vm.memory_mib),
                vm.owner.clone(),
                run_of(vm),
                vm.reason.clone().unwrap_or_default(),
            ]
        },
    )
}

pub(in crate::cli) fn past_vms(screen: &Screen, vms: &[Vm]) -> String {
    let columns = [
        words("NAME"),
        words("STATE"),
        words("ENDED"),
        words("HOST"),
        words("OWNER"),
        words("CONFIGURATION"),
        words("REASON"),
    ];
    screen.list(
        vms,
        |vm| vm.id.to_string(),
        &columns,
        |vm| {
            vec![
                vm.name.to_string(),
                vm.state.as_str().to_owned(),
                vm.ended_at.map(|at| relative(at, screen.now)).unwrap_or_default(),
                vm.host.as_ref().map(ToString::to_string).unwrap_or_default(),
                vm.owner.clone(),
                run_of(vm),
                vm.reason.clone().unwrap_or_default(),
            ]
        },
    )
}

pub(in crate::cli) fn vm(screen: &Screen, detail: &VmDetail) -> String {
    screen.one(
        detail,
        |detail| detail.vm.id.to_string(),
        |detail| {
            let vm = &detail.vm;
            let placement = detail.decision.as_ref().map_or_else(String::new, |decision| {
                format!("{}\n", explanation::summary(&decision.explanation))
            });
            Sheet::new()
                .line("Name", vm.name.as_str())
                .line("Id", vm.id.to_string())
                .line("Title", &*vm.title)
                .line("State", format!("{}, {}", vm.state.as_str(), relative(vm.state_since, screen.now)))
                .optional("Reason", vm.reason.clone())
                .optional("Host", vm.host.as_ref().map(ToString::to_string))
                .line("Configuration", run_of(vm))
                .optional("Setup", vm.setup.as_ref().map(ToString::to_string))
                .line("Realm", vm.realm.as_str())
                .line("Owner", &*vm.owner)
                .line("Team", &*vm.team)
                .optional("Project", vm.project.clone())
                .line("Cores", vm.cores.to_string())
                .line("Memory", amounts::memory(vm.memory_mib))
                .line("Requested", relative_and_absolute(vm.requested_at, screen.now))
                .optional("Registered", vm.registered_at.map(|at| relative_and_absolute(at, screen.now)))
                .optional("Ended", vm.ended_at.map(|at| relative_and_absolute(at, screen.now)))
                .section("Placement", &printable_lines(&placement))
                .section("History", &history(&detail.history))
                .render()
        },
    )
}

fn history(transitions: &[Transition]) -> String {
    let columns = [words("AT"), number("AFTER"), words("STATE"), words("REASON")];
    let Some(first) = transitions.first() else { return String::new() };
    let rows = transitions.iter().map(|transition| {
        let after = transition.at.0.since(first.at.0);
        vec![
            transition.at.0.to_string(),
            format!("+{}.{:03}s", after.as_secs(), after.subsec_millis()),
            transition.state.as_str().to_owned(),
            transition.reason.clone().unwrap_or_else(|| " ".to_owned()),
        ]
    });
    table(None, &columns, rows)
}

/// The end of a console.
pub(in crate::cli) fn console(console: &str) -> String {
    printable_lines(console)
}

/// What happened, then what the host's journal says, then the console.
pub(in crate::cli) fn log(
    screen: &Screen,
    log: &VmLog,
    journal: &[JournalLine],
    journal_problem: Option<&str>,
) -> String {
    screen.one(
        log,
        |log| log.vm.id.to_string(),
        |log| {
            let state = log.vm.reason.as_ref().map_or_else(
                || log.vm.state.as_str().to_owned(),
                |reason| format!("{}: {reason}", log.vm.state.as_str()),
            );
            let host = log.vm.host.as_ref().map(ToString::to_string);
            let mut sheet = Sheet::new()
                .line("VM", format!("{} ({})", log.vm.name, log.vm.id))
                .optional("Host", host)
                .line("State", state)
                .section("History", &history(&log.history));
            match journal_problem {
                Some(problem) if journal.is_empty() => {
                    sheet = sheet.section("Journal", &printable_lines(problem));
                }
                Some(problem) => sheet = sheet.section("Missing in the journal", &printable_lines(problem)),
                None if journal.is_empty() => sheet = sheet.section("Journal", "nothing about it"),
                None => {}
            }
            if log.console.is_none() {
                let problem = log.console_problem.as_deref().unwrap_or("nothing was kept");
                sheet = sheet.section("Console", &printable_lines(problem));
            }
            let mut text = sheet.render();
            // Not indented: they are pasted into searches and reports. Writing to a string cannot fail.
            if !journal.is_empty() {
                let _ = write!(text, "\nJournal:\n{}", super::journal::lines(journal));
            }
            if let Some(console) = &log.console {
                let _ = write!(text, "\nConsole:\n{}", printable_lines(console));
            }
            text
        },
    )
}

/// Foreign text of several lines, each made harmless.
fn printable_lines(text: &str) -> String {
    text.lines()
        .map(|line| format!("{}\n", printable(line.trim_end_matches('\r'), CONSOLE_LINE_LENGTH_MAX)))
        .collect()
}
