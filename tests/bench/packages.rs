//! How large the packages are that `make packages` has built.

use std::path::Path;

use anyhow::{Context, Result};

use super::figures::print;

/// Where they are, seen from the folder of the project.
const PACKAGES: &str = "target/packages";
const MEBIBYTE: f64 = 1_048_576.0;

/// Prints the size of each, by the name of what it installs and the kind of package.
pub(crate) fn measure() -> Result<()> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the project has no folder")?.join(PACKAGES);
    let mut sizes = Vec::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let entry = entry.with_context(|| format!("{} cannot be read", folder.display()))?;
        if let Some(package) = entry.file_name().to_str().and_then(name) {
            sizes.push((package, entry.metadata()?.len()));
        }
    }
    if sizes.is_empty() {
        println!("there are no packages in {PACKAGES}: nothing to weigh (`make packages` builds them)");
    }
    sizes.sort_unstable();
    for (package, bytes) in sizes {
        let bytes = u32::try_from(bytes).with_context(|| format!("{package} is larger than 4 GiB"))?;
        print(&format!("package-size/{package}"), f64::from(bytes) / MEBIBYTE, "MiB");
    }
    Ok(())
}

/// `reeve-agent_0.1.0-1_amd64.deb` and `reeve-agent-0.1.0-1.x86_64.rpm` are `reeve-agent.deb` and `reeve-agent.rpm`.
fn name(file: &str) -> Option<String> {
    let (stem, kind) = file.rsplit_once('.').filter(|(_, kind)| ["deb", "rpm"].contains(kind))?;
    let version = stem
        .match_indices(['-', '_'])
        .find(|(at, _)| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()))?;
    Some(format!("{}.{kind}", &stem[..version.0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_called_by_what_they_install() {
        let named = |file: &str| name(file).unwrap_or_default();
        assert_eq!(named("reeve-agent_0.1.0-1_amd64.deb"), "reeve-agent.deb");
        assert_eq!(named("reeve-0.1.0-1.x86_64.rpm"), "reeve.rpm");
        assert_eq!((name("stage"), name("notes.txt"), name("reeve.deb")), (None, None, None));
    }
}
