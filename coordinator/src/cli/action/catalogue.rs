//! Owns the commands about images, hardware setups, VM configurations and drives.

use std::future::Future;

use super::Run;
use crate::api::types::NewDrive;
use crate::cli::arguments::{ConfigurationCommand, CreateFrom, DriveCommand, ImageCommand, SetupCommand};
use crate::cli::client::Client;
use crate::cli::definition::{self, Defined};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::screen::Screen;
use crate::cli::show;

impl Run<'_> {
    pub(super) async fn image(&mut self, command: ImageCommand) -> Result<Exit, Failure> {
        match command {
            ImageCommand::Create(from) => {
                let create = |client: Client, new| async move { client.create_image(&new).await };
                self.create(&from, create, show::catalogue::images).await
            }
            ImageCommand::List => {
                let images = self.client.images().await?;
                self.print(&show::catalogue::images(&self.screen, &images))
            }
            ImageCommand::Show { name } => {
                let image = self.client.image(&name).await?;
                self.print(&show::catalogue::image(&self.screen, &image))
            }
            ImageCommand::Delete { name } => {
                self.client.delete_image(&name).await?;
                Ok(self.deleted("image", name.as_str()))
            }
        }
    }

    pub(super) async fn setup(&mut self, command: SetupCommand) -> Result<Exit, Failure> {
        match command {
            SetupCommand::Create(from) => {
                let create = |client: Client, new| async move { client.create_setup(&new).await };
                self.create(&from, create, show::catalogue::setups).await
            }
            SetupCommand::List => {
                let setups = self.client.setups().await?;
                self.print(&show::catalogue::setups(&self.screen, &setups))
            }
            SetupCommand::Show { name } => {
                let setup = self.client.setup(&name).await?;
                self.print(&show::catalogue::setup(&self.screen, &setup))
            }
            SetupCommand::Delete { name } => {
                self.client.delete_setup(&name).await?;
                Ok(self.deleted("setup", name.as_str()))
            }
            SetupCommand::Simulate(arguments) => self.simulate(arguments).await,
        }
    }

    pub(super) async fn configuration(&mut self, command: ConfigurationCommand) -> Result<Exit, Failure> {
        match command {
            ConfigurationCommand::Create(from) => {
                let create = |client: Client, new| async move { client.create_configuration(&new).await };
                self.create(&from, create, show::catalogue::configurations).await
            }
            ConfigurationCommand::List => {
                let configurations = self.client.configurations().await?;
                self.print(&show::catalogue::configurations(&self.screen, &configurations))
            }
            ConfigurationCommand::Show { name } => {
                let configuration = self.client.configuration(&name).await?;
                self.print(&show::catalogue::configuration(&self.screen, &configuration))
            }
            ConfigurationCommand::Delete { name } => {
                self.client.delete_configuration(&name).await?;
                Ok(self.deleted("configuration", name.as_str()))
            }
        }
    }

    pub(super) async fn drive(&mut self, command: DriveCommand) -> Result<Exit, Failure> {
        match command {
            DriveCommand::Create { name, realm, owner, team, size, format } => {
                let size = format!("{} B", size.0);
                let drive =
                    self.client.create_drive(&NewDrive { name, realm, owner, team, size, format }).await?;
                self.print(&show::catalogue::drive(&self.screen, &drive))
            }
            DriveCommand::List => {
                let drives = self.client.drives().await?;
                self.print(&show::catalogue::drives(&self.screen, &drives))
            }
            DriveCommand::Show { name } => {
                let drive = self.client.drive(&name).await?;
                self.print(&show::catalogue::drive(&self.screen, &drive))
            }
            DriveCommand::Delete { name } => {
                self.client.delete_drive(&name).await?;
                Ok(self.deleted("drive", name.as_str()))
            }
        }
    }

    /// Creates everything a file defines, in its order, and shows what there is now. The first refusal ends it: what
    /// stands behind it may build upon it. What was created before it is shown.
    async fn create<N, T, F>(
        &mut self,
        from: &CreateFrom,
        create: impl Fn(Client, N) -> F,
        show: impl Fn(&Screen, &[T]) -> String,
    ) -> Result<Exit, Failure>
    where
        N: Defined,
        F: Future<Output = Result<T, Failure>>,
    {
        let wanted: Vec<N> = definition::read(&from.file, self.input)?;
        let count = wanted.len();
        let mut created = Vec::new();
        let mut refused = None;
        for new in wanted {
            match create(self.client.clone(), new).await {
                Ok(thing) => created.push(thing),
                Err(failure) => {
                    refused = Some(failure);
                    break;
                }
            }
        }
        let done = created.len();
        if refused.is_none() || done > 0 {
            self.print(&show(&self.screen, &created))?;
        }
        match refused {
            None => Ok(Exit::Done),
            Some(failure) if count == 1 => Err(failure),
            Some(failure) => {
                let exit = self.tell(&failure);
                self.remark(&format!(
                    "       {done} of {count} were created; remove those from the file before the next try\n"
                ));
                Ok(exit)
            }
        }
    }
}
