//! Owns what is in the packages: dependencies, modes, configuration files, and what lintian and rpmlint say of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::built::{CURRENT, NAMES, PREVIOUS, deb, root, rpm};
use super::machine::words;

/// The minor version of the oldest C library that packages are made for: EL 9's. Building on Debian 12, with a newer one, must
/// not raise it by the way.
const C_LIBRARY_OLDEST: u32 = 34;
/// Long before any commit.
const ANOTHER_TIME: Duration = Duration::from_secs(1_000_000_000);

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = words(&output);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn files(package: &Path) -> String {
    run(Command::new("dpkg-deb").arg("--contents").arg(package))
}

fn depends(package: &Path) -> String {
    run(Command::new("dpkg-deb").arg("--field").arg(package).arg("Depends"))
}

#[test]
#[ignore = "needs packages: run `make test-packages`"]
fn only_the_agent_needs_libvirt() {
    let agent = depends(&deb("reeve-agent", CURRENT));
    for needed in ["libvirt0 (>= 9.0.0)", "libvirt-daemon-driver-qemu (>= 9.0.0)", "libc6"] {
        assert!(agent.contains(needed), "{agent}");
    }
    let stage = root().join("target/packages/stage/bin");
    for (name, needs) in [("reeve-agent", true), ("reeve-coordinator", false), ("reeve", false)] {
        let linked = run(Command::new("readelf").arg("--dynamic").arg(stage.join(name)));
        assert_eq!(linked.contains("libvirt"), needs, "{name}: {linked}");
        assert_eq!(depends(&deb(name, CURRENT)).contains("libvirt"), needs, "{name}");
        let required =
            run(Command::new("rpm").args(["--query", "--requires", "--package"]).arg(rpm(name, CURRENT)));
        assert_eq!(required.contains("libvirt-daemon-driver-qemu >= 9.0.0"), needs, "{name}: {required}");
    }
}

/// The newest symbol of the C library that a program needs, which dependencies say by hand.
#[test]
#[ignore = "needs packages: run `make test-packages`"]
fn packages_say_which_c_library_they_need() {
    for name in NAMES {
        let program = root().join("target/packages/stage/bin").join(name);
        let symbols = run(Command::new("readelf").args(["--wide", "--version-info"]).arg(program));
        let newest = symbols
            .split(|character: char| character.is_whitespace() || character == ')')
            .filter_map(|word| word.strip_prefix("GLIBC_2."))
            .filter_map(|minor| minor.split('.').next()?.parse::<u32>().ok())
            .max()
            .unwrap();
        assert!(newest <= C_LIBRARY_OLDEST, "{name} needs glibc 2.{newest}");
        let required =
            run(Command::new("rpm").args(["--query", "--requires", "--package"]).arg(rpm(name, CURRENT)));
        let said = required.lines().find_map(|line| line.strip_prefix("glibc >= 2.")).unwrap();
        assert!(
            newest <= said.parse::<u32>().unwrap(),
            "{name} needs glibc 2.{newest}, and its rpm says 2.{said}"
        );
        let depends = depends(&deb(name, CURRENT));
        let said = depends.split("libc6 (>= 2.").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
        assert!(newest <= said.parse::<u32>().unwrap(), "{name} needs libc6 2.{newest}: {depends}");
    }
}

#[test]
#[ignore = "needs packages: run `make test-packages`"]
fn files_are_roots_and_configuration_is_kept() {
    for (name, kept) in [
        ("reeve-agent", &["/etc/reeve/agent.conf"][..]),
        ("reeve-coordinator", &["/etc/reeve/coordinator.conf", "/etc/reeve/realms/primary.conf"]),
        ("reeve", &[]),
    ] {
        let package = deb(name, CURRENT);
        let listed = files(&package);
        assert!(listed.lines().all(|line| line.contains(" 0/0 ")), "{listed}");
        assert!(!listed.contains("rws") && !listed.contains("-rw-rw"), "{listed}");
        for file in [&format!("./usr/bin/{name}")[..], "copyright", "changelog.Debian.gz", "dependencies.txt"]
        {
            assert!(listed.contains(file), "{name} has no {file}:\n{listed}");
        }
        for shell in
            ["bash-completion/completions/", "fish/vendor_completions.d/", "zsh/vendor-completions/_"]
        {
            assert!(listed.contains(&format!("{shell}{name}")), "{name} has no completions for {shell}");
        }
        let unpacked = tempfile::tempdir().unwrap();
        run(Command::new("dpkg-deb").arg("--control").arg(&package).arg(unpacked.path().join("control")));
        let conffiles =
            std::fs::read_to_string(unpacked.path().join("control/conffiles")).unwrap_or_default();
        assert_eq!(conffiles.lines().collect::<Vec<_>>(), kept, "{name}");
        let configuration =
            run(Command::new("rpm").args(["--query", "--configfiles", "--package"]).arg(rpm(name, CURRENT)));
        assert_eq!(
            configuration.lines().filter(|line| line.starts_with('/')).collect::<Vec<_>>(),
            kept,
            "{name}"
        );
    }
}

#[test]
#[ignore = "needs packages: run `make test-packages`"]
fn lintian_finds_nothing_that_is_not_explained() {
    let packages: Vec<PathBuf> = NAMES.iter().map(|name| deb(name, CURRENT)).collect();
    let said = run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning", "--display-info", "--tag-display-limit", "0"])
        .args(["--suppress-tags-from-file"])
        .arg(root().join("packaging/deb/lintian-suppressed"))
        .args(packages));
    println!("{said}");
}

#[test]
#[ignore = "needs packages: run `make test-packages`"]
fn rpmlint_finds_nothing_that_is_not_explained() {
    let packages: Vec<PathBuf> = NAMES.iter().map(|name| rpm(name, CURRENT)).collect();
    let said = run(Command::new("rpmlint")
        .arg("--config")
        .arg(root().join("packaging/rpm/rpmlint.toml"))
        .args(packages));
    assert!(said.contains("0 errors, 0 warnings"), "{said}");
}

/// Packing again gives the same bytes: nothing of the moment or of a folder's order gets in.
#[test]
#[ignore = "needs packages: run `make test-packages`"]
fn packing_twice_gives_the_same_bytes() {
    let again = root().join("target/packages/again");
    let script = root().join("packaging/build.sh");
    // In another checkout of the same commit the files have other times.
    for file in ["LICENSE", "COST-FUNCTIONS.md", "packaging/coordinator.conf"] {
        let file = std::fs::File::options().append(true).open(root().join(file)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + ANOTHER_TIME).unwrap();
    }
    run(Command::new(script).args(["--profile", "dev", "--no-build", "--output"]).arg(&again));
    for name in NAMES {
        for first in [deb(name, CURRENT), rpm(name, CURRENT)] {
            let second = again.join(first.file_name().unwrap());
            let same = std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap();
            assert!(same, "{} and {} differ", first.display(), second.display());
        }
    }
    std::fs::remove_dir_all(again).unwrap();
    // And a comparison that can fail: another version is another file.
    assert_ne!(std::fs::read(deb("reeve", CURRENT)).unwrap(), std::fs::read(deb("reeve", PREVIOUS)).unwrap());
}
