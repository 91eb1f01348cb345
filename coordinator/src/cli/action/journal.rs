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

/// Whose journal is read.
enum Whose<'a> {
    Vm(&'a VmSelector),
    Host(&'a HostName),
}

/// A VM's story with what its host's journal says.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct VmStory<'a> {
    #[serde(flatten)]
    log: &'a VmLog,
    journal: &'a [JournalLine],
    journal_problem: Option<String>,
}

impl Run<'_> {
    /// A host's journal.
    pub(super) async fn host_logs(&mut self, host: &HostName, part: &JournalPart) -> Result<Exit, Failure> {
        let whose = Whose::Host(host);
        let (lines, cursor) = self.part(&whose, part).await?;
        if part.follow {
            self.print_lines(&lines)?;
            return self.follow(&whose, cursor).await;
        }
        self.print_whole(&lines)
    }

    /// A VM's story: what happened, what its host's journal says, and its console.
    pub(super) async fn vm_logs(
        &mut self,
        vm: &VmSelector,
        console_alone: bool,
        part: &JournalPart,
    ) -> Result<Exit, Failure> {
        if part.follow {
            let whose = Whose::Vm(vm);
            let (lines, cursor) = self.part(&whose, part).await?;
            self.print_lines(&lines)?;
            return self.follow(&whose, cursor).await;
        }
        let log = self.client.vm_log(vm).await?;
        if console_alone {
            return self.console(&log);
        }
        let (lines, problem) = match self.part(&Whose::Vm(vm), part).await {
            Ok((lines, _)) => (lines, None),
            // The rest of the story is worth telling all the same.
            Err(failure) => (Vec::new(), Some(failure.message)),
        };
        if self.screen.format == Format::Json {
            return self.print(&json(&VmStory { log: &log, journal: &lines, journal_problem: problem }));
        }
        self.print(&show::vm::log(&self.screen, &log, &lines, problem.as_deref()))
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

    async fn follow(&mut self, whose: &Whose<'_>, mut cursor: Option<String>) -> Result<Exit, Failure> {
        let mut told = false;
        loop {
            let from = cursor.clone().map_or(JournalFrom::Since(self.screen.now), JournalFrom::Behind);
            let more = match self.ask(whose, &from, PAGE).await {
                Ok(page) => {
                    told = false;
                    cursor = page.cursor.or(cursor);
                    self.print_lines(&page.lines)?;
                    page.more && !page.lines.is_empty()
                }
                // A host that is away for a while is gone on with.
                Err(failure) if failure.exit == Exit::Unreachable => {
                    if !std::mem::replace(&mut told, true) {
                        self.remark(&format!("{}; asking again\n", failure.message));
                    }
                    false
                }
                Err(failure) => return Err(failure),
            };
            if !more {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn ask(
        &mut self,
        whose: &Whose<'_>,
        from: &JournalFrom,
        count: u32,
    ) -> Result<JournalPage, Failure> {
        match whose {
            Whose::Vm(vm) => self.client.vm_journal(vm, from, count).await,
            Whose::Host(host) => self.client.host_journal(host, from, count).await,
        }
    }

    fn print_whole(&mut self, lines: &[JournalLine]) -> Result<Exit, Failure> {
        if self.screen.format == Format::Json {
            return self.print(&json(&lines));
        }
        self.print_lines(lines)
    }

    /// One line each, in JSON too: a journal that is followed has no end.
    fn print_lines(&mut self, lines: &[JournalLine]) -> Result<Exit, Failure> {
        let text = match self.screen.format {
            Format::Table => show::journal::lines(lines),
            Format::Json => lines
                .iter()
                .map(|line| serde_json::to_string(line).map_or_else(|_| json(line), |text| text + "\n"))
                .collect(),
        };
        self.print(&text)
    }
}
