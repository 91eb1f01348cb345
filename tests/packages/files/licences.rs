//! Owns the list of what the programs are built from, with the licences and notices that must go with them. Read from
//! what Cargo knows and from the crates' own files; nothing is looked up elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// What is packed, and the package of the workspace that it is built from.
const PACKED: [(&str, &str); 3] = [
    ("reeve-agent", "reeve-agent"),
    ("reeve-coordinator", "reeve-coordinator"),
    ("reeve", "reeve-coordinator"),
];
/// The machines that packages are built for.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How files with licences and notices begin, in capitals.
const NOTICES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT"];

/// Writes a text for each package.
///
/// # Errors
/// When Cargo does not answer, or a crate does not say its licence.
pub(crate) fn write(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let metadata = metadata()?;
    for (package, crate_name) in PACKED {
        let path = directory.join(format!("{package}.txt"));
        fs::write(&path, text_for(&metadata, crate_name)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn metadata() -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn text_for(metadata: &Value, crate_name: &str) -> Result<String> {
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).map(|package| (text(&package["id"]), package)).collect();
    let mut rows = Vec::new();
    // The same text is often many crates'.
    let mut notices: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for id in linked(metadata, crate_name)? {
        let package = packages.get(id.as_str()).with_context(|| format!("no package {id}"))?;
        if package["source"].is_null() {
            continue;
        }
        let label = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let licence = text(&package["license"]);
        if licence.is_empty() {
            bail!("{label} does not say its licence");
        }
        rows.push(format!("{label}\t{licence}\t{}", text(&package["repository"])));
        for notice in notices_of(Path::new(text(&package["manifest_path"])))? {
            notices.entry(notice).or_default().insert(label.clone());
        }
    }
    rows.sort();
    let mut out = String::from(
        "What this program is built from, besides its own sources: name, version, licence and origin of each crate, and\nbelow them the licences and notices that came with them.\n\n",
    );
    out.push_str(&rows.join("\n"));
    for (notice, of) in &notices {
        let of: Vec<&str> = of.iter().map(String::as_str).collect();
        write!(out, "\n\n{}\nOf {}\n\n{}", "=".repeat(78), of.join(", "), notice)?;
    }
    out.push('\n');
    Ok(out)
}

/// The ids of all crates that become part of a program: of the dependencies not those for building or testing it.
fn linked(metadata: &Value, crate_name: &str) -> Result<BTreeSet<String>> {
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), node)).collect();
    let root = list(&metadata["packages"])
        .find(|package| text(&package["name"]) == crate_name && package["source"].is_null())
        .with_context(|| format!("no crate {crate_name} in the workspace"))?;
    let mut found = BTreeSet::new();
    let mut waiting = VecDeque::from([text(&root["id"]).to_owned()]);
    while let Some(id) = waiting.pop_front() {
        let Some(node) = nodes.get(id.as_str()) else { continue };
        // Whoever is here again has been walked already.
        if !found.insert(id) {
            continue;
        }
        for dependency in list(&node["deps"]) {
            if list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                waiting.push_back(text(&dependency["pkg"]).to_owned());
            }
        }
    }
    Ok(found)
}

fn notices_of(manifest: &Path) -> Result<Vec<String>> {
    let Some(directory) = manifest.parent() else { return Ok(Vec::new()) };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && NOTICES.iter().any(|start| name.starts_with(start)) {
            files.push(path);
        }
    }
    files.sort();
    let read = |path| Ok(String::from_utf8_lossy(&fs::read(path)?).replace('\r', "").trim().to_owned());
    files.iter().map(read).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agent_is_built_from_libvirts_bindings_and_no_test_library_is_in_it() {
        let metadata = metadata().unwrap();
        let agent = text_for(&metadata, "reeve-agent").unwrap();
        let coordinator = text_for(&metadata, "reeve-coordinator").unwrap();
        assert!(agent.contains("virt 0.") && agent.contains("LGPL-2.1"));
        assert!(!coordinator.lines().any(|line| line.starts_with("virt ")));
        for text in [agent, coordinator] {
            assert!(
                !text.contains("proptest ")
                    && text.contains("rustls 0.")
                    && text.contains("Permission is hereby granted")
            );
        }
    }
}
