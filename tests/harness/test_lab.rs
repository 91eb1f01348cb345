//! Owns the lab of one test: made fresh, and removed whatever becomes of the test. A test that fails leaves the logs.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::image::Variant;
use crate::lab::{CoordinatorSettings, Lab, NETWORK_DEFAULT, Place, Request, Workspace};

/// A lab that lives as long as its test.
#[derive(Debug)]
pub struct TestLab {
    lab: Lab,
    workspace: Workspace,
    name: String,
    finished: bool,
}

impl TestLab {
    /// Makes a lab of this name, which no other test uses. What an earlier run left under it is removed first.
    ///
    /// # Errors
    /// When the lab cannot be made; what was made is removed again.
    pub fn new(name: &str, hosts: usize, images: &[Variant]) -> Result<Self> {
        let workspace = Workspace::locate()?;
        let directory = workspace.lab(&format!("test-{name}"));
        Lab::down(&directory).context("cannot remove what an earlier run of this test left")?;
        let request = Request { directory: directory.clone(), hosts, network: NETWORK_DEFAULT };
        match Lab::up(&request, &workspace, images) {
            Ok(lab) => Ok(Self { lab, workspace, name: name.to_owned(), finished: false }),
            Err(error) => {
                let kept = keep_logs(&directory, &workspace.failures().join(name));
                let down = Lab::down(&directory);
                Err(error
                    .context(format!("the lab did not come up; logs: {kept:?}; taking it down: {down:?}")))
            }
        }
    }

    /// Makes a lab in which the product runs: a coordinator, and an agent on every host, connected.
    ///
    /// # Errors
    /// When one of these cannot be had.
    pub fn with_product(
        name: &str,
        hosts: usize,
        images: &[Variant],
        settings: &CoordinatorSettings,
    ) -> Result<Self> {
        let lab = Self::new(name, hosts, images)?;
        lab.run_product(&lab.workspace, settings)?;
        Ok(lab)
    }

    /// The place of host `number`, counted from 1.
    #[must_use]
    pub fn host(&self, number: usize) -> Place {
        Place::Host(format!("host{number}"))
    }

    /// Where programs and images are.
    #[must_use]
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Takes the lab down at the end of a test that went well.
    ///
    /// # Errors
    /// When something of the lab is left.
    pub fn finish(mut self) -> Result<()> {
        self.finished = true;
        Lab::down(&self.lab.description().directory).map(drop)
    }
}

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Drop for TestLab {
    #[allow(clippy::print_stderr)] // the only way to tell whoever reads the test's failure
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let directory = &self.lab.description().directory;
        match keep_logs(directory, &self.workspace.failures().join(&self.name)) {
            Ok(kept) => eprintln!("the test {} failed; its lab's logs are in {}", self.name, kept.display()),
            Err(error) => eprintln!("the logs of the lab of {} cannot be kept: {error:#}", self.name),
        }
        if let Err(error) = Lab::down(directory) {
            eprintln!("the lab of {} cannot be taken down: {error:#}", self.name);
        }
    }
}

/// Copies what tells how it went: output, libvirt's logs, guests' consoles, the coordinator's directory.
fn keep_logs(lab: &Path, kept: &Path) -> Result<PathBuf> {
    if kept.exists() {
        fs::remove_dir_all(kept)?;
    }
    copy_tree(&lab.join("log"), &kept.join("log"))?;
    copy_tree(&lab.join("coordinator"), &kept.join("coordinator"))?;
    for host in fs::read_dir(lab.join("hosts")).into_iter().flatten().flatten() {
        copy_tree(&host.path().join("log"), &kept.join(host.file_name()))?;
    }
    Ok(kept.to_owned())
}

/// Copies regular files; sockets and links tell nothing.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
