//! Owns the keeping of what libvirt has found out about the machine's QEMU. Finding out takes each libvirtd several
//! seconds; a kept answer takes none, and libvirt itself checks that it still fits the machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::description::Description;

fn of_host(lab: &Description, host: &str) -> PathBuf {
    lab.host_directory(host).join("cache/qemu/capabilities")
}

/// Whether anything is kept.
pub(crate) fn are_kept(kept: &Path) -> bool {
    fs::read_dir(kept).is_ok_and(|entries| entries.count() > 0)
}

/// Gives a host what is kept.
pub(crate) fn give(lab: &Description, host: &str, kept: &Path) -> Result<()> {
    if are_kept(kept) {
        copy_new(kept, &of_host(lab, host)).context("cannot give libvirt the kept capabilities")?;
    }
    Ok(())
}

/// Keeps what a host's libvirt has found out.
pub(crate) fn keep(lab: &Description, host: &str, kept: &Path) -> Result<()> {
    fs::create_dir_all(kept)?;
    copy_new(&of_host(lab, host), kept).context("cannot keep libvirt's capabilities")?;
    Ok(())
}

/// Copies the files whose contents differ, each whole or not at all.
fn copy_new(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().ends_with(".xml") {
            continue;
        }
        let contents = fs::read(entry.path())?;
        let target = to.join(&name);
        if fs::read(&target).is_ok_and(|there| there == contents) {
            continue;
        }
        let mut beside = tempfile::NamedTempFile::new_in(to)?;
        std::io::Write::write_all(&mut beside, &contents)?;
        beside.persist(&target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_capability_files_are_copied() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("a.xml"), "new").unwrap();
        fs::write(from.path().join("a.xml.new"), "half").unwrap();
        fs::write(to.path().join("a.xml"), "old").unwrap();
        assert!(are_kept(to.path()) && !are_kept(&to.path().join("none")));
        copy_new(from.path(), to.path()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("a.xml")).unwrap(), "new");
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    }
}
