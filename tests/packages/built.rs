//! Owns where the packages are that `packaging/build.sh` has made.

use std::fs;
use std::path::{Path, PathBuf};

/// The version before this one, as which the same programs are packed to try an upgrade.
pub(crate) const PREVIOUS: &str = "0.0.9";
/// This one.
pub(crate) const CURRENT: &str = env!("CARGO_PKG_VERSION");
/// All packages.
pub(crate) const NAMES: [&str; 3] = ["reeve-agent", "reeve-coordinator", "reeve"];

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The deb of a package in a version.
pub(crate) fn deb(name: &str, version: &str) -> PathBuf {
    only(&format!("{name}_{version}-1_"), ".deb")
}

/// The rpm of a package in a version.
pub(crate) fn rpm(name: &str, version: &str) -> PathBuf {
    only(&format!("{name}-{version}-1."), ".rpm")
}

fn only(start: &str, end: &str) -> PathBuf {
    let directory = root().join("target/packages/trial");
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| {
        panic!("{} cannot be read ({error}): `make test-packages` makes it", directory.display())
    });
    let found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(start) && name.ends_with(end)
        })
        .collect();
    assert_eq!(found.len(), 1, "packages {start}…{end} in {}: {found:?}", directory.display());
    found[0].clone()
}
