//! Owns the commands about the coordinator, realms, profiles, volumes and hosts.

use reeve_common::units::format_duration;

use super::Run;
use crate::api::types::{JoinTokenRequest, NewHost, PoolKind};
use crate::cli::arguments::{HostCommand, ProfileCommand, RealmCommand, VolumeCommand};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::show;

impl Run<'_> {
    pub(super) async fn status(&mut self) -> Result<Exit, Failure> {
        let status = self.client.status().await?;
        self.print(&show::status::status(&self.screen, &status))
    }

    pub(super) async fn realm(&mut self, command: RealmCommand) -> Result<Exit, Failure> {
        let text = match command {
            RealmCommand::List => show::realm::realms(&self.screen, &self.client.realms().await?),
            RealmCommand::FixVms { name, dry_run, timeout } => {
                return self.fix_vms(&name, dry_run, timeout).await;
            }
            RealmCommand::Show { name } => show::realm::realm(&self.screen, &self.client.realm(&name).await?),
        };
        self.print(&text)
    }

    pub(super) async fn profile(&mut self, command: ProfileCommand) -> Result<Exit, Failure> {
        let ProfileCommand::List = command;
        let profiles = self.client.profiles().await?;
        self.print(&show::realm::profiles(&self.screen, &profiles))
    }

    pub(super) async fn volume(&mut self, command: VolumeCommand) -> Result<Exit, Failure> {
        let VolumeCommand::List { realm, pool } = command;
        let kinds = pool.map_or_else(|| PoolKind::ALL.to_vec(), |pool| vec![pool]);
        let mut pools = Vec::new();
        for kind in kinds {
            pools.push(self.client.volumes(&realm, kind).await?);
        }
        self.print(&show::realm::volumes(&self.screen, &pools))
    }

    pub(super) async fn host(&mut self, command: HostCommand) -> Result<Exit, Failure> {
        let host = match command {
            HostCommand::List => {
                let hosts = self.client.hosts().await?;
                return self.print(&show::host::hosts(&self.screen, &hosts));
            }
            HostCommand::JoinToken { name, lifetime } => {
                let lifetime = lifetime.map(|lifetime| format!("{} ms", lifetime.as_millis()));
                let token = self.client.create_join_token(&name, &JoinTokenRequest { lifetime }).await?;
                let (line, hint) = show::host::join_token(&self.screen, &token);
                self.remark(&hint);
                return self.print(&line);
            }
            HostCommand::Fence { name, dry_run } => return self.fence_host(&name, dry_run).await,
            HostCommand::ConfirmOff { name, yes_it_is_off: _ } => return self.confirm_off(&name).await,
            HostCommand::Delete { name } => {
                self.client.delete_host(&name).await?;
                return Ok(self.deleted("host", name.as_str()));
            }
            HostCommand::Show { name } => self.client.host(&name).await?,
            HostCommand::Add { name, realm, profile, uri, state, labels } => {
                let labels = labels.into_iter().collect();
                let host =
                    self.client.add_host(&NewHost { name, realm, profile, uri, state, labels }).await?;
                self.remark(&format!(
                    "host {0} added; `reeve host join-token {0}` lets its agent in\n",
                    host.name
                ));
                host
            }
            HostCommand::Drain { name, grace, cancel, waiting } => {
                return self.drain(&name, grace, cancel, waiting).await;
            }
            HostCommand::Logs { name, part } => return self.host_logs(&name, &part).await,
            HostCommand::Undrain { name } => self.client.undrain_host(&name).await?,
            HostCommand::SetState { name, state } => self.client.set_host_state(&name, state).await?,
        };
        self.print(&show::host::host(&self.screen, &host))
    }
}

/// How long something took, in words.
pub(super) fn took(from: crate::api::types::Moment, to: crate::api::types::Moment) -> String {
    format_duration(to.0.since(from.0))
}
