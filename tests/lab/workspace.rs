//! Owns where things lie in the build directory: the product's programs, and what labs keep between runs.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The build directory of this workspace, found from the program that runs.
#[derive(Debug, Clone)]
pub struct Workspace {
    programs: PathBuf,
    kept: PathBuf,
}

impl Workspace {
    /// Finds it: programs lie in `target/PROFILE`, test programs in `target/PROFILE/deps`.
    ///
    /// # Errors
    /// When the running program does not lie in a build directory.
    pub fn locate() -> Result<Self> {
        let program = env::current_exe().context("cannot find the running program")?;
        Self::around(&program)
    }

    fn around(program: &Path) -> Result<Self> {
        let directory = program.parent().unwrap_or(program);
        let programs =
            if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory };
        let Some(target) = programs.parent() else {
            bail!("{} does not lie in a build directory", program.display());
        };
        Ok(Self { programs: programs.to_owned(), kept: target.join("reeve-lab") })
    }

    /// Where built programs lie.
    #[must_use]
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// One of the product's programs.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        if !path.is_file() {
            bail!("{} is not built; run `cargo build --workspace`", path.display());
        }
        Ok(path)
    }

    /// Built guest images.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.kept.join("images")
    }

    /// What libvirt has found out about the machine's QEMU, kept because it takes seconds to find out.
    #[must_use]
    pub fn capabilities(&self) -> PathBuf {
        self.kept.join("capabilities")
    }

    /// The directory of the lab of this name.
    #[must_use]
    pub fn lab(&self, name: &str) -> PathBuf {
        self.kept.join("labs").join(name)
    }

    /// Where the logs of labs of failed tests are kept.
    #[must_use]
    pub fn failures(&self) -> PathBuf {
        self.kept.join("failures")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tests_find_the_same_directories() {
        let program = Workspace::around(Path::new("/w/target/debug/reeve-lab")).unwrap();
        let test = Workspace::around(Path::new("/w/target/debug/deps/lab-0123")).unwrap();
        assert_eq!(program.lab("x"), Path::new("/w/target/reeve-lab/labs/x"));
        assert_eq!(program.lab("x"), test.lab("x"));
        assert_eq!(program.programs, test.programs);
    }

    #[test]
    fn a_program_that_is_not_built_is_named_with_the_remedy() {
        let error = Workspace::locate().unwrap().program("no-such-program").unwrap_err().to_string();
        assert!(error.contains("cargo build"), "{error}");
    }
}
