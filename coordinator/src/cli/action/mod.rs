//! Owns carrying out each command: asks the coordinator, shows its answer, and says how it ended.

mod adoption;
mod audit;
mod catalogue;
mod cost;
mod debug;
mod fencing;
mod fix_vms;
mod fleet;
mod journal;
mod replay;
mod simulation;
mod vm;
mod wait;
mod warning;
mod workflow;

use std::io::{self, Read, Write};

use super::arguments::Command;
use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::progress::Style;
use super::screen::Screen;
use super::terminal::Terminal;

/// One run of `reeve`: whom it asks, and whom it answers.
pub(super) struct Run<'a> {
    pub(super) client: Client,
    pub(super) screen: Screen,
    pub(super) progress: Style,
    pub(super) terminal: Terminal,
    pub(super) input: &'a mut dyn Read,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
}

impl Run<'_> {
    /// Carries out `command`.
    ///
    /// # Errors
    /// What went wrong as a whole. What went wrong for one of several has been said by then.
    pub(super) async fn carry_out(&mut self, command: Command) -> Result<Exit, Failure> {
        match command {
            Command::Status => self.status().await,
            Command::Realm(command) => self.realm(command).await,
            Command::Profile(command) => self.profile(command).await,
            Command::Cost(command) => self.cost(command).await,
            Command::Volume(command) => self.volume(command).await,
            Command::Host(command) => self.host(command).await,
            Command::Image(command) => self.image(command).await,
            Command::Setup(command) => self.setup(command).await,
            Command::Config(command) => self.configuration(command).await,
            Command::Drive(command) => self.drive(command).await,
            Command::Vm(command) => self.vm(command).await,
            Command::Audit(command) => self.audit(command).await,
            Command::Warning(command) => self.warning(command).await,
            Command::Workflow(command) => self.workflow(command).await,
            Command::Debug(command) => self.debug(command).await,
            Command::Replay(arguments) => self.replay(&arguments),
        }
    }

    /// Writes an answer to standard output.
    fn print(&mut self, text: &str) -> Result<Exit, Failure> {
        self.is_read(text).map(|_| Exit::Done)
    }

    /// Writes to standard output, and says whether somebody still reads: what is followed ends with its reader.
    fn is_read(&mut self, text: &str) -> Result<bool, Failure> {
        match self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            // Whoever read has seen enough, as `head` does.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(Failure::new(Exit::Failed, format!("standard output cannot be written: {error}")))
            }
            Ok(()) => Ok(true),
        }
    }

    /// Tells of a failure of one of several.
    fn tell(&mut self, failure: &Failure) -> Exit {
        // Where standard error is closed nobody is to be told.
        let _ = writeln!(self.err, "{failure}");
        failure.exit
    }

    /// Writes a remark to standard error, unless whoever asked wants no remarks.
    fn remark(&mut self, text: &str) {
        if !self.screen.quiet {
            let _ = self.err.write_all(text.as_bytes());
        }
    }

    /// Says that something was deleted.
    fn deleted(&mut self, what: &str, name: &str) -> Exit {
        self.remark(&format!("{what} {name} deleted\n"));
        Exit::Done
    }
}
