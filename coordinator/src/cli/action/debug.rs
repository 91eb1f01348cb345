//! Owns gathering a support bundle: asks the coordinator for its documents and this machine for its journal.
//!
//! Must not: fail because a part of it cannot be had; that is told in the bundle.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncReadExt as _;

use super::Run;
use crate::cli::arguments::DebugCommand;
use crate::cli::bundle::{PART_SIZE_MAX, Part, bundle, write};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;

/// The documents that are asked for, and what they are called in the bundle.
const DOCUMENTS: [(&str, &str); 13] = [
    ("status.json", "/v1/status"),
    ("configuration.json", "/v1/configuration"),
    ("warnings.json", "/v1/warnings"),
    ("metrics.txt", "/v1/metrics"),
    ("hosts.json", "/v1/hosts"),
    ("vms.json", "/v1/vms"),
    ("past-vms.json", "/v1/past-vms"),
    ("workflows.json", "/v1/workflows"),
    ("realms.json", "/v1/realms"),
    ("profiles.json", "/v1/profiles"),
    ("cost-functions.json", "/v1/cost-functions"),
    ("setups.json", "/v1/setups"),
    ("audit.json", "/v1/audit?count=500"),
];
/// Journal lines: hours of an ordinary day.
const JOURNAL_LINES: &str = "5000";
/// How long the journal may take.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(20);

/// What was made.
#[derive(Debug, Serialize)]
struct Made {
    file: String,
    parts: usize,
    bytes: usize,
    /// What could not be had.
    missing: Vec<String>,
}

impl Run<'_> {
    pub(super) async fn debug(&mut self, command: DebugCommand) -> Result<Exit, Failure> {
        let DebugCommand::Bundle { file } = command;
        let mut problems = String::new();
        let mut parts = vec![Part { name: "versions.txt", text: versions() }];
        for (name, path) in DOCUMENTS {
            match self.client.document(path).await {
                Ok(bytes) => parts.push(Part { name, text: String::from_utf8_lossy(&bytes).into_owned() }),
                Err(failure) => problems.push_str(&format!("{name}: {}\n", failure.message)),
            }
        }
        match journal().await {
            Ok(text) => parts.push(Part { name: "journal.txt", text }),
            Err(why) => problems.push_str(&format!("journal.txt: {why}\n")),
        }
        let count = parts.len();
        let missing = problems.lines().map(str::to_owned).collect();
        if !problems.is_empty() {
            self.remark(&format!("not everything could be had:\n{problems}"));
            parts.push(Part { name: "problems.txt", text: problems });
        }
        let bytes = bundle(&directory_name(&file), parts, self.screen.now);
        write(&file, &bytes).map_err(|error| {
            Failure::new(Exit::Failed, format!("{} cannot be made: {error}", file.display()))
                .advise("name a file that does not exist yet, in a directory that you may write to")
        })?;
        self.remark(
            "only you can read it. It holds no secrets, but names of hosts, VMs and people: look at it before you give it \
             away\n",
        );
        let made = Made { file: file.display().to_string(), parts: count, bytes: bytes.len(), missing };
        self.print(&self.screen.one(
            &made,
            |made| made.file.clone(),
            |made| format!("{}: {} parts, {} KiB\n", made.file, made.parts, made.bytes >> 10),
        ))
    }
}

/// What the parts lie in when the bundle is unpacked.
fn directory_name(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String = stem
        .chars()
        .take(40)
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
        .collect();
    if name.is_empty() { "bundle".to_owned() } else { name }
}

fn versions() -> String {
    let mut text = format!("reeve {}\n", env!("CARGO_PKG_VERSION"));
    if let Ok(names) = nix::sys::utsname::uname() {
        text.push_str(&format!("kernel {}\n", names.release().to_string_lossy()));
    }
    text.push_str(&std::fs::read_to_string("/etc/os-release").unwrap_or_default());
    text
}

/// The coordinator's last journal lines, as far as they fit a part.
async fn journal() -> Result<String, String> {
    let mut reader = tokio::process::Command::new("journalctl")
        .args([
            "--unit=reeve-coordinator",
            "--lines",
            JOURNAL_LINES,
            "--no-pager",
            "--quiet",
            "--output=short-iso",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("journalctl cannot be run: {error}"))?;
    let Some(out) = reader.stdout.take() else { return Err("journalctl says nothing".to_owned()) };
    let mut bytes = Vec::new();
    let limit = u64::try_from(PART_SIZE_MAX).unwrap_or(u64::MAX);
    match tokio::time::timeout(JOURNAL_PATIENCE, out.take(limit).read_to_end(&mut bytes)).await {
        Ok(Ok(_)) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Ok(Err(error)) => Err(format!("journalctl cannot be read: {error}")),
        Err(_) => Err(format!("journalctl has said nothing for {} s", JOURNAL_PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_lie_in_a_directory_of_a_harmless_name() {
        assert_eq!(directory_name(Path::new("/tmp/reeve-bundle.tar")), "reeve-bundle");
        assert_eq!(directory_name(Path::new("../a b/ä..\n.tar")), "----");
        assert_eq!(directory_name(Path::new("/")), "bundle");
    }
}
