//! Owns the comparison of a whole realm: each host is asked for itself, some at a time, until all have answered or the
//! time is up.

use std::time::Duration;

use reeve_common::ids::{HostName, RealmName};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Run;
use crate::api::types::HostComparisonRequest;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Progress;
use crate::cli::show;
use crate::cli::show::fix_vms::Asked;

/// Hosts asked at a time: each answers within milliseconds if its libvirt does, and waits without cost if not.
const HOSTS_AT_A_TIME: usize = 32;

impl Run<'_> {
    pub(super) async fn fix_vms(
        &mut self,
        realm: &RealmName,
        dry_run: bool,
        timeout: Duration,
    ) -> Result<Exit, Failure> {
        self.client.realm(realm).await?;
        let hosts = self.client.hosts().await?;
        let mut waiting: Vec<HostName> =
            hosts.into_iter().filter(|host| host.realm == *realm).map(|host| host.name).collect();
        waiting.reverse();
        let (until, whole) = (Instant::now() + timeout, waiting.len());
        let mut progress = Progress::new(self.progress, 1);
        let mut asking = JoinSet::new();
        let mut asked: Vec<Asked> = Vec::with_capacity(whole);
        let mut under_way: Vec<HostName> = Vec::new();
        loop {
            while asking.len() < HOSTS_AT_A_TIME
                && let Some(host) = waiting.pop()
            {
                let client = self.client.clone();
                under_way.push(host.clone());
                asking.spawn(async move {
                    let answer = client.compare_host(&host, &HostComparisonRequest { dry_run }).await;
                    (host, answer)
                });
            }
            progress.say(0, &format!("{} of {whole} hosts compared", asked.len()), &mut self.err);
            match timeout_at(until, asking.join_next()).await {
                Ok(Some(Ok((host, answer)))) => {
                    under_way.retain(|other| *other != host);
                    asked.push(Asked::new(host, answer));
                }
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        progress.finish();
        waiting.append(&mut under_way);
        let late = waiting.into_iter().map(|host| {
            let failure = Failure::new(Exit::TimedOut, "it did not answer before the time was up");
            Asked::new(host, Err(failure))
        });
        asked.extend(late);
        asked.sort_by(|left, right| left.host.cmp(&right.host));
        self.print(&show::fix_vms::hosts(&self.screen, &asked))?;
        let unknown: Vec<&str> =
            asked.iter().filter(|host| host.unknown.is_some()).map(|host| host.host.as_str()).collect();
        if asked.iter().any(Asked::has_failed) {
            let failure = Failure::new(Exit::Failed, "not all repairs could be recorded")
                .advise("they are tried again with the hosts' next reports; the coordinator's log says more");
            return Ok(self.tell(&failure));
        }
        if !unknown.is_empty() {
            let which =
                format!("{} of {whole} hosts could not be asked: {}", unknown.len(), unknown.join(", "));
            let failure = Failure::new(Exit::Unreachable, which)
                .advise("what runs there is unknown, and keeps its capacity until they answer");
            return Ok(self.tell(&failure));
        }
        Ok(Exit::Done)
    }
}
