//! Owns the commands about the audit log.

use std::time::Duration;

use super::Run;
use crate::api::types::{AuditPage, AuditRecord};
use crate::cli::arguments::{AuditCommand, Format};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::json;
use crate::cli::show;

/// Records of one answer; what the coordinator gives at most.
const PAGE: u64 = 500;
/// How long the coordinator may hold one question back. Well below its own limit on a request.
const QUESTION_AT_MOST: Duration = Duration::from_secs(20);
/// How long to wait before a coordinator that did not answer is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Run<'_> {
    pub(super) async fn audit(&mut self, command: AuditCommand) -> Result<Exit, Failure> {
        match command {
            AuditCommand::Tail { follow, number } => self.tail(number, follow).await,
            AuditCommand::Verify => {
                let verified = self.client.audit_verification().await?;
                self.print(&show::audit::verification(&self.screen, &verified))?;
                Ok(if verified.whole { Exit::Done } else { Exit::Failed })
            }
        }
    }

    async fn tail(&mut self, number: u64, follow: bool) -> Result<Exit, Failure> {
        let AuditPage { size, records } = self.last_records(number).await?;
        if !follow {
            return self.print(&show::audit::records(&self.screen, &records));
        }
        let mut next = records.last().map_or(size, |last| last.sequence).saturating_add(1);
        let mut is_read = self.print_on(&records, true)?;
        let mut told = false;
        while is_read {
            match self.client.audit_records(next, PAGE, QUESTION_AT_MOST).await {
                Ok(AuditPage { records, .. }) => {
                    told = false;
                    next = records.last().map_or(next, |last| last.sequence.saturating_add(1));
                    is_read = self.print_on(&records, false)?;
                }
                // A coordinator that is restarted is gone on with.
                Err(failure) if failure.exit == Exit::Unreachable => {
                    if !std::mem::replace(&mut told, true) {
                        self.remark(&format!("{}; asking again\n", failure.message));
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(Exit::Done)
    }

    /// The last records, in as many answers as they need.
    async fn last_records(&mut self, number: u64) -> Result<AuditPage, Failure> {
        let mut page = self.client.last_audit_records(number.min(PAGE)).await?;
        while u64::try_from(page.records.len()).is_ok_and(|count| count < number) {
            let Some(first) = page.records.first().map(|first| first.sequence).filter(|first| *first > 1)
            else {
                break;
            };
            let missing = number.saturating_sub(u64::try_from(page.records.len()).unwrap_or(u64::MAX));
            let from = first.saturating_sub(missing.min(PAGE)).max(1);
            let mut before = self.client.audit_records(from, first - from, Duration::ZERO).await?.records;
            if before.is_empty() {
                break;
            }
            before.append(&mut page.records);
            page.records = before;
        }
        Ok(page)
    }

    /// Prints what comes next of a log that is followed, and says whether somebody still reads.
    fn print_on(&mut self, records: &[AuditRecord], first: bool) -> Result<bool, Failure> {
        if self.screen.format == Format::Json {
            let lines: String = records
                .iter()
                .map(|record| serde_json::to_string(record).map_or_else(|_| json(record), |line| line + "\n"))
                .collect();
            return self.is_read(&lines);
        }
        let screen = crate::cli::screen::Screen { header: self.screen.header && first, ..self.screen };
        if records.is_empty() && !first {
            Ok(true)
        } else {
            self.is_read(&show::audit::records(&screen, records))
        }
    }
}
