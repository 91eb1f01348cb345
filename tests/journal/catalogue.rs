//! systemd itself takes the catalogue: every message stands in the database that it makes of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use reeve_common::logging::messages;

pub(crate) fn shipped() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("packaging/journal/reeve.catalog")
}

#[test]
fn systemd_takes_the_catalogue_whole() {
    let root = tempfile::tempdir().unwrap();
    let catalogues = root.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&catalogues).unwrap();
    fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    fs::copy(shipped(), catalogues.join("reeve.catalog")).unwrap();
    let ask = |what: &str| {
        let root = format!("--root={}", root.path().display());
        let output = Command::new("journalctl").args([&root, what]).env("LC_ALL", "C").output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && complaint.is_empty(), "{what}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    };
    ask("--update-catalog");
    let listed = ask("--list-catalog");
    assert_eq!(listed.lines().count(), messages::ALL.len(), "{listed}");
    for message in messages::ALL {
        let line = listed.lines().find(|line| line.starts_with(&message.to_string()));
        let line = line.unwrap_or_else(|| panic!("{} is not in the database:\n{listed}", message.name));
        assert!(line.contains("reeve: ") && line.contains(message.subject), "{line}");
    }
}
