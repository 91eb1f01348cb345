//! Owns reading hosts' journals through their agents: whose lines, of which host, and what is said when they cannot be
//! read.
//!
//! Must not: keep any of it. A journal is its host's.

use std::time::Duration;

use reeve_common::ids::{HostId, HostName, VmId};
use reeve_common::journal::{JOURNAL_LINES_MAX, JournalPage, JournalQuery, JournalStart, JournalSubject};
use reeve_common::protocol::{CommandBody, ReplyBody};

use super::{Service, ServiceError};
use crate::model::vm::Vm;

/// How long an agent may take: a little more than it gives itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hosts of one VM whose journals are read at most: a VM that was taken from more of them has a trouble that no journal
/// tells.
const HOSTS_ASKED_MAX: usize = 8;

/// Lines of a host's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostJournal {
    /// Whose journal it is.
    pub host: HostName,
    /// The lines.
    pub page: JournalPage,
}

impl Service {
    /// What the journal of a host says of a VM that is known to have been on it: of `on`, or of the host that the VM is on,
    /// or was on last.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such VM, it was never on that host, or the host's journal cannot be read now.
    pub async fn vm_journal(
        &self,
        id: &VmId,
        on: Option<&HostName>,
        start: JournalStart,
        lines_max: u32,
    ) -> Result<HostJournal, ServiceError> {
        let view = self.vm_detail(*id)?.view;
        let hosts = self.hosts_of(&view.vm);
        let asked = match on {
            Some(on) => hosts.into_iter().find(|(_, name)| name == on),
            None => hosts.into_iter().next(),
        };
        let Some((host, name)) = asked else {
            let where_to = on.map_or_else(|| "a host".to_owned(), |on| format!("host {on}"));
            return Err(ServiceError::conflict(format!("VM {} was never on {where_to}", view.vm.name))
                .advise("`reeve vm show` says where it is, or why it has no place"));
        };
        self.read_journal(host, name, JournalSubject::Vm(*id), start, lines_max).await
    }

    /// The hosts that a VM is known to have been on and that there still are: first where it is or was last, then those
    /// that it was taken from; not more than can be asked in one go.
    pub(super) fn hosts_of(&self, vm: &Vm) -> Vec<(HostId, HostName)> {
        let core = self.core();
        let earlier = vm.request.left.iter().copied().filter(|left| vm.host != Some(*left));
        let all = vm.host.into_iter().chain(earlier);
        let named = all.filter_map(|host| Some((host, core.hosts.get(&host)?.kept.value.name.clone())));
        named.take(HOSTS_ASKED_MAX).collect()
    }

    /// What the journal of a host says of it: its agent's lines and those of libvirt's daemons.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such host, or its journal cannot be read now.
    pub async fn host_journal(
        &self,
        name: &HostName,
        start: JournalStart,
        lines_max: u32,
    ) -> Result<HostJournal, ServiceError> {
        let host = self.host_id(name)?;
        self.read_journal(host, name.clone(), JournalSubject::Host, start, lines_max).await
    }

    async fn read_journal(
        &self,
        host: HostId,
        name: HostName,
        subject: JournalSubject,
        start: JournalStart,
        lines_max: u32,
    ) -> Result<HostJournal, ServiceError> {
        let Some(agent) = self.agent_of(host) else {
            return Err(ServiceError::unavailable(format!("host {name} is not connected")).advise(format!(
                "on the host itself: `journalctl -u reeve-agent`; `reeve host show {name}` says since when"
            )));
        };
        let query = JournalQuery { subject, start, lines_max: lines_max.clamp(1, JOURNAL_LINES_MAX) };
        match agent.ask(self, CommandBody::ReadJournal(query), PATIENCE).await {
            Ok(ReplyBody::Journal(page)) => Ok(HostJournal { host: name, page }),
            Ok(_) => {
                Err(ServiceError::internal(format!("host {name} answered something else than its journal")))
            }
            Err(error) => {
                let message = format!("the journal of host {name} cannot be read: {}", error.message);
                Err(ServiceError { message, ..error })
            }
        }
    }
}
