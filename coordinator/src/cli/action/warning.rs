//! Owns the commands about standing warnings.

use super::Run;
use crate::api::types::WarningState;
use crate::cli::arguments::WarningCommand;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::show;

impl Run<'_> {
    pub(super) async fn warning(&mut self, command: WarningCommand) -> Result<Exit, Failure> {
        match command {
            WarningCommand::List { all } => {
                let mut warnings = self.client.warnings().await?;
                warnings.retain(|warning| all || warning.state != WarningState::Gone);
                self.print(&show::warning::warnings(&self.screen, &warnings))
            }
            WarningCommand::Show { id } => {
                let warnings = self.client.warnings().await?;
                match warnings.into_iter().find(|warning| warning.id == id) {
                    Some(warning) => self.print(&show::warning::warning(&self.screen, &warning)),
                    None => Err(Failure::new(Exit::NotFound, format!("there is no warning {id}"))
                        .advise("`reeve warning list --all` shows those there are")),
                }
            }
            WarningCommand::Ack { ids } => {
                let mut exits = Vec::new();
                for id in ids {
                    exits.push(match self.client.acknowledge_warning(&id).await {
                        Ok(warning) => self.print(&show::warning::acknowledged(&self.screen, &warning))?,
                        Err(failure) => self.tell(&failure),
                    });
                }
                Ok(Exit::of_several(exits))
            }
        }
    }
}
