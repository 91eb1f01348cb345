//! Owns the product in the lab: founding its coordinator, letting hosts join, and asking it through its command line.
//! Each step stands alone, so that a test can do something else between two of them.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reeve_common::units::Mebibytes;
use serde_json::Value;

use super::coordinator_files::{self, CoordinatorSettings, REALM};
use super::daemons::Daemon;
use super::description::HostDescription;
use super::place::Place;
use super::plan::AGENT_STATE;
use super::record::Lab;
use super::workspace::Workspace;
use crate::harness::waiting::poll_until;

/// What the lab runs of the product.
const PROGRAMS: [&str; 3] = ["reeve-coordinator", "reeve-agent", "reeve"];

/// An agent that starts connects at once; one that was cut off waits for its back-off.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

impl Lab {
    /// Puts the product's programs where the lab runs them.
    ///
    /// # Errors
    /// When one has not been built.
    pub fn install_programs(&self, workspace: &Workspace) -> Result<()> {
        for name in PROGRAMS {
            let (program, target) =
                (workspace.program(name)?, self.description().program_directory().join(name));
            fs::copy(&program, &target)
                .with_context(|| format!("cannot copy {} to {}", program.display(), target.display()))?;
        }
        Ok(())
    }

    /// Writes the coordinator's configuration, anew if it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure_coordinator(&self, settings: &CoordinatorSettings) -> Result<()> {
        let lab = self.description();
        let realms = lab.coordinator_directory().join("realms");
        fs::create_dir_all(&realms)?;
        if let Some(parent) = lab.socket().parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(realms.join(format!("{REALM}.conf")), coordinator_files::realm(settings))?;
        fs::write(self.coordinator_configuration(), coordinator_files::coordinator(lab, settings))?;
        Ok(())
    }

    /// Makes the coordinator's certificate authority and store (`reeve-coordinator init`).
    ///
    /// # Errors
    /// When it refuses.
    pub fn initialise_coordinator(&self) -> Result<String> {
        let program = self.description().program_directory().join("reeve-coordinator");
        let configuration = self.coordinator_configuration();
        self.run(
            &Place::Coordinator,
            &[program.as_os_str(), "init".as_ref(), "--config".as_ref(), configuration.as_os_str()],
        )
    }

    /// Installs, configures, initialises and starts the coordinator.
    ///
    /// # Errors
    /// When one of these fails.
    pub fn found_coordinator(&self, workspace: &Workspace, settings: &CoordinatorSettings) -> Result<()> {
        self.install_programs(workspace)?;
        self.configure_coordinator(settings)?;
        if let Some(space) = settings.state_space {
            self.confine_state(space)?;
        }
        self.initialise_coordinator()?;
        self.start(Daemon::Coordinator, &Place::Coordinator)
    }

    /// Gives the coordinator's state a file system of its own, as large as this. It is there as long as the coordinator's
    /// place.
    fn confine_state(&self, space: Mebibytes) -> Result<()> {
        let directory = coordinator_files::state_directory(self.description());
        fs::create_dir_all(&directory)?;
        let options = format!("size={}m,mode=700", space.0);
        let mark = self.description().mark();
        let mount = ["mount", "-t", "tmpfs", "-o", &options, &mark].map(OsStr::new);
        self.run(&Place::Coordinator, &[&mount[..], &[directory.as_os_str()]].concat()).map(drop)
    }

    /// Fills the file system of the coordinator's state to the last byte, or gives the space back.
    ///
    /// # Errors
    /// When the state has no file system of its own, or the filling is not there.
    pub fn fill_state(&self, full: bool) -> Result<()> {
        let directory = coordinator_files::state_directory(self.description());
        let filling = directory.join("filling");
        let filling = filling.to_string_lossy();
        if !full {
            return self.run(&Place::Coordinator, &["rm", &*filling]).map(drop);
        }
        let kind = self.run(
            &Place::Coordinator,
            &["stat", "--file-system", "--format=%T", &*directory.to_string_lossy()],
        )?;
        ensure!(kind.trim() == "tmpfs", "the coordinator's state lies on the machine's own file system");
        // It ends when there is no space left, which is what it is for.
        let fill = format!("cat /dev/zero > '{filling}' 2>/dev/null || true");
        self.run(&Place::Coordinator, &["sh", "-c", &fill]).map(drop)
    }

    /// Tells the coordinator of a host (`reeve host add`).
    ///
    /// # Errors
    /// When it refuses.
    pub fn add_host(&self, host: &HostDescription) -> Result<()> {
        let add = [
            "host",
            "add",
            &host.name,
            "--realm",
            REALM,
            "--profile",
            &host.profile,
            "--uri",
            "qemu:///system",
        ];
        self.reeve(&add).map(drop)
    }

    /// The line by which a host may join (`reeve host join-token`).
    ///
    /// # Errors
    /// When the coordinator refuses.
    pub fn join_token(&self, host: &str) -> Result<String> {
        Ok(self.reeve(&["--quiet", "host", "join-token", host])?.trim().to_owned())
    }

    /// Lets a host's agent join by a line (`reeve-agent join`, as the agent's own user).
    ///
    /// # Errors
    /// When it is refused; the message has the agent's words.
    pub fn join(&self, host: &str, line: &str) -> Result<()> {
        let mut command = self.as_agent_user()?;
        // By standard input: what is on a command line, every user of a machine can read.
        command.extend(["join", "-", "--state-directory", AGENT_STATE].map(str::to_owned));
        self.run_with_input(&Place::Host(host.to_owned()), &command, &format!("{line}\n")).map(drop)
    }

    /// What `reeve-agent doctor` finds on a host, as the agent's own user; a guest is run to try KVM. The agent may run
    /// meanwhile.
    ///
    /// # Errors
    /// When it says nothing that can be read.
    pub fn doctor(&self, place: &Place) -> Result<Vec<Value>> {
        let mut command = self.as_agent_user()?;
        let what = ["doctor", "--state-directory", AGENT_STATE, "--config", "/dev/null", "-o", "json"];
        command.extend(what.map(str::to_owned));
        let output = self.command(place, &command)?.stdin(Stdio::null()).output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the doctor says: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Adds a host, lets its agent join, and starts the agent.
    ///
    /// # Errors
    /// When one of these fails.
    pub fn bring_in(&self, host: &HostDescription) -> Result<()> {
        self.add_host(host)?;
        let line = self.join_token(&host.name)?;
        self.join(&host.name, &line)?;
        self.start(Daemon::Agent, &Place::Host(host.name.clone()))
    }

    /// Waits until the coordinator calls a host's connection this: `connected`, `lost`, …
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_for_connection(&self, host: &str, wanted: &str) -> Result<()> {
        poll_until(&format!("{host} to be {wanted}"), CONNECT_PATIENCE, || {
            let shown = self.reeve_json(&["host", "show", host])?;
            Ok((shown["connection"] == wanted).then_some(()))
        })
    }

    /// The whole of it: the coordinator, and every host joined and connected.
    ///
    /// # Errors
    /// When one of the steps fails.
    pub fn run_product(&self, workspace: &Workspace, settings: &CoordinatorSettings) -> Result<()> {
        self.found_coordinator(workspace, settings)?;
        for host in &self.description().hosts {
            self.bring_in(host)?;
        }
        self.description().hosts.iter().try_for_each(|host| self.wait_for_connection(&host.name, "connected"))
    }

    /// The product's command line on this lab's coordinator, to be run.
    #[must_use]
    pub fn reeve_command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.marked(&[self.description().program_directory().join("reeve")]);
        command.arg("--socket").arg(self.description().socket()).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the command line to its end, whatever that is.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_reeve<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        self.reeve_command(arguments).output().context("cannot run reeve")
    }

    /// Runs the command line; gives what it wrote.
    ///
    /// # Errors
    /// When it fails; the message has its words.
    pub fn reeve<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let output = self.try_reeve(arguments)?;
        if !output.status.success() {
            let shown: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("`reeve {}` failed ({}): {}", shown.join(" "), output.status, words.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the command line with `-o json`.
    ///
    /// # Errors
    /// When it fails, or writes something else.
    pub fn reeve_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.reeve(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("`reeve {}` wrote no JSON: {text}", arguments.join(" ")))
    }
}
