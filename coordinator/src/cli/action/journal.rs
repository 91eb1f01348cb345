//! Owns the commands that read hosts' journals: a VM's and a host's. A journal is followed by asking again from behind
//! the last line.

use std::time::Duration;

use reeve_common::ids::HostName;
use serde::Serialize;

use super::Run;
use crate::api::types::{JournalLine, JournalPage, VmLog};
use crate::cli::arguments::{Format, JournalPart};
use crate::cli::client::JournalFrom;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::json;
use crate::cli::selector::VmSelector;
use crate::cli::show;

/// Lines of one answer; what the coordinator gives at most.
const PAGE: u32 = 500;
/// How often a journal that is followed is asked again: soon enough to watch, seldom enough for the host.
const PAUSE: Duration = Duration::from_secs(1);
/// After so many answers with nothing new it is looked whether the VM is on another host by now.
const LOOKS_UNTIL_MOVED: u32 = 3;

/// Whose journal is read.
#[derive(Clone)]
enum Whose<'a> {
    /// A VM's, on the host that it is or was last on.
    Vm(&'a VmSelector),
    /// A VM's, on one of its hosts.
    VmOn(&'a VmSelector, HostName),
    Host(&'a HostName),
}

/// A VM's story with what its hosts' journals say.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct VmStory<'a> {
    #[serde(flatten)]
    log: &'a VmLog,
    journal: &'a [JournalLine],
    journal_problem: Option<String>,
}

/// What the journals of a VM's hosts say.
struct Gathered {
    /// In the order in which it was written.
    lines: Vec<JournalLine>,
    /// Which host could not be asked, and why.
    problem: Option<String>,
    /// The host that it is or was last on, and the place behind its last line.
    latest: Option<(HostName, Option<String>)>,
}

impl Run<'_> {
    /// A host's journal.
    pub(super) async fn host_logs(&mut self, host: &HostName, part: &JournalPart) -> Result<Exit, Failure> {
        let whose = Whose::Host(host);
        let (lines, cursor) = self.part(&whose, part).await?;
        if part.follow {
            return self.follow(whose, lines, cursor).await;
        }
        if lines.is_empty() {
            self.remark(&format!("the journal of host {host} has no lines of its agent or of libvirt\n"));
        }
        self.print_whole(&lines)
    }

    /// A VM's story: what happened, what its hosts' journals say, and its console.
    pub(super) async fn vm_logs(
        &mut self,
        vm: &VmSelector,
        console_alone: bool,
        part: &JournalPart,
    ) -> Result<Exit, Failure> {
        let log = self.client.vm_log(vm).await?;
        if console_alone {
            return self.console(&log);
        }
        let Gathered { lines, problem, latest } = self.gather(vm, &log, part).await;
        if part.follow {
            if let Some(problem) = &problem {
                self.remark(&format!("{problem}\n"));
            }
            let (whose, cursor) = match latest {
                Some((host, cursor)) => (Whose::VmOn(vm, host), cursor),
                None => (Whose::Vm(vm), None),
            };
            return self.follow(whose, lines, cursor).await;
        }
        if self.screen.format == Format::Json {
            return self.print(&json(&VmStory { log: &log, journal: &lines, journal_problem: problem }));
        }
        self.print(&show::vm::log(&self.screen, &log, &lines, problem.as_deref()))
    }

    /// Asks each host that the VM was on. One that does not answer is said, and the rest of the story is told.
    async fn gather(&mut self, vm: &VmSelector, log: &VmLog, part: &JournalPart) -> Gathered {
        let mut gathered = Gathered { lines: Vec::new(), problem: None, latest: None };
        let mut problems = Vec::new();
        let hosts = log.hosts.iter().map(|host| Whose::VmOn(vm, host.clone()));
        let asked = if log.hosts.is_empty() { vec![Whose::Vm(vm)] } else { hosts.collect() };
        for whose in asked {
            let cursor = match self.part(&whose, part).await {
                Ok((mut lines, cursor)) => {
                    gathered.lines.append(&mut lines);
                    cursor
                }
                Err(failure) => {
                    problems.push(failure.message);
                    None
                }
            };
            if let (Whose::VmOn(_, host), None) = (whose, &gathered.latest) {
                gathered.latest = Some((host, cursor));
            }
        }
        // Each host's lines are in order already, and stay so where two were written in the same moment.
        gathered.lines.sort_by_key(|line| line.at);
        if part.since.is_none() {
            let wanted = usize::try_from(part.lines).unwrap_or(usize::MAX);
            gathered.lines.drain(..gathered.lines.len().saturating_sub(wanted));
        }
        gathered.problem = (!problems.is_empty()).then(|| problems.join("\n"));
        gathered
    }

    fn console(&mut self, log: &VmLog) -> Result<Exit, Failure> {
        let Some(console) = &log.console else {
            let why = log.console_problem.as_deref().unwrap_or("nothing was kept");
            return Err(Failure::new(
                Exit::NotFound,
                format!("there is no console output of {}: {why}", log.vm.name),
            )
            .advise("a setup with `debug { console = on }` keeps it"));
        };
        self.print(&show::vm::console(console))
    }

    /// The lines that were asked for, in as many answers as they need, and the place behind them.
    async fn part(
        &mut self,
        whose: &Whose<'_>,
        part: &JournalPart,
    ) -> Result<(Vec<JournalLine>, Option<String>), Failure> {
        let Some(since) = part.since else {
            let page = self.ask(whose, &JournalFrom::Latest, part.lines).await?;
            return Ok((page.lines, page.cursor));
        };
        let mut page = self.ask(whose, &JournalFrom::Since(since.at(self.screen.now)), PAGE).await?;
        let mut lines = std::mem::take(&mut page.lines);
        while page.more
            && let Some(cursor) = page.cursor.clone()
        {
            page = self.ask(whose, &JournalFrom::Behind(cursor), PAGE).await?;
            if page.lines.is_empty() {
                break; // it does not get any further
            }
            lines.append(&mut page.lines);
        }
        Ok((lines, page.cursor))
    }

    /// Goes on behind `lines`, until nobody reads any more.
    async fn follow(
        &mut self,
        mut whose: Whose<'_>,
        lines: Vec<JournalLine>,
        mut cursor: Option<String>,
    ) -> Result<Exit, Failure> {
        let (mut told, mut quiet) = (false, 0);
        let mut is_read = self.print_lines(&lines)?;
        drop(lines);
        while is_read {
            let from = cursor.clone().map_or(JournalFrom::Since(self.screen.now), JournalFrom::Behind);
            let more = match self.ask(&whose, &from, PAGE).await {
                Ok(page) => {
                    told = false;
                    cursor = page.cursor.or(cursor);
                    is_read = self.print_lines(&page.lines)?;
                    quiet = if page.lines.is_empty() { quiet + 1 } else { 0 };
                    page.more && !page.lines.is_empty()
                }
                // A host that is away for a while is gone on with.
                Err(failure) if failure.exit == Exit::Unreachable => {
                    if !std::mem::replace(&mut told, true) {
                        self.remark(&format!("{}; asking again\n", failure.message));
                    }
                    quiet += 1;
                    false
                }
                Err(failure) => return Err(failure),
            };
            if quiet >= LOOKS_UNTIL_MOVED {
                quiet = 0;
                if let Some(moved) = self.moved(&whose).await {
                    (whose, cursor, told) = (moved, None, false);
                    continue;
                }
            }
            if is_read && !more {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(Exit::Done)
    }

    /// Where a VM is that is followed, when that is another host than the one that is asked.
    async fn moved<'v>(&mut self, whose: &Whose<'v>) -> Option<Whose<'v>> {
        let (vm, asked) = match whose {
            Whose::Vm(vm) => (*vm, None),
            Whose::VmOn(vm, host) => (*vm, Some(host)),
            Whose::Host(_) => return None,
        };
        // A coordinator that does not answer is said by the next question.
        let host = self.client.vm(vm).await.ok()?.vm.host?;
        if asked == Some(&host) {
            return None;
        }
        self.remark(&format!("it is on host {host} now\n"));
        Some(Whose::VmOn(vm, host))
    }

    async fn ask(
        &mut self,
        whose: &Whose<'_>,
        from: &JournalFrom,
        count: u32,
    ) -> Result<JournalPage, Failure> {
        match whose {
            Whose::Vm(vm) => self.client.vm_journal(vm, None, from, count).await,
            Whose::VmOn(vm, host) => self.client.vm_journal(vm, Some(host), from, count).await,
            Whose::Host(host) => self.client.host_journal(host, from, count).await,
        }
    }

    fn print_whole(&mut self, lines: &[JournalLine]) -> Result<Exit, Failure> {
        if self.screen.format == Format::Json {
            return self.print(&json(&lines));
        }
        self.print_lines(lines).map(|_| Exit::Done)
    }

    /// One line each, in JSON too: a journal that is followed has no end. Says whether somebody still reads.
    fn print_lines(&mut self, lines: &[JournalLine]) -> Result<bool, Failure> {
        let text = match self.screen.format {
            Format::Table => show::journal::lines(lines),
            Format::Json => lines
                .iter()
                .map(|line| serde_json::to_string(line).map_or_else(|_| json(line), |text| text + "\n"))
                .collect(),
        };
        self.is_read(&text)
    }
}
