//! Owns the doctor's words: what each fact means for a coordinator, and what to do about it. Pure.

use std::time::Duration;

use reeve_common::check::Check;

use super::facts::{AuthorityFacts, DoctorFacts, FileFacts, Port, PortState, StoreFacts};

/// What the store needs to fold its write-ahead log in, to be backed up beside itself, and to grow.
const ROOM_MIN: u64 = 512 << 20;
/// In percent: below this, changes will soon fail.
const ROOM_PERCENT_MIN: u64 = 10;
/// Connections to the API and of whoever reads metrics, the store's files and the journal. Agents take none: all of them
/// come through one socket.
const FILES_MIN: u64 = 1_024;
/// A new authority means that every host joins anew: to be planned ahead.
const AUTHORITY_NOTICE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Permissions of group and others.
const NOT_THE_OWNERS: u32 = 0o077;
/// Permissions to write of group and others.
const WRITTEN_BY_OTHERS: u32 = 0o022;
/// Problems of the store that are told.
const PROBLEMS_TOLD: usize = 3;

/// All that can be said.
#[must_use]
pub fn judge(facts: &DoctorFacts) -> Vec<Check> {
    let mut checks = vec![configuration(facts)];
    if facts.configuration.is_err() {
        return checks;
    }
    checks.push(address(facts));
    checks.push(state_directory(facts));
    checks.push(authority(facts));
    checks.extend(files(facts));
    checks.push(store(&facts.store));
    checks.extend(facts.ports.iter().map(|one| port(one, facts.is_running)));
    checks.push(open_files(facts.files_max));
    checks.push(clock(facts));
    checks
}

fn configuration(facts: &DoctorFacts) -> Check {
    const ABOUT: &str = "configuration";
    let file = facts.configuration_file.display();
    match &facts.configuration {
        Ok(0) => Check::ok(ABOUT, format!("{file} is right")),
        Ok(warnings) => Check::warning(
            ABOUT,
            format!("{file} can be used, with {warnings} warnings"),
            "`reeve-coordinator check` says which",
        ),
        Err(why) => Check::failure(
            ABOUT,
            format!("{file} cannot be used: {why}"),
            "`reeve-coordinator check` shows each mistake with its line",
        ),
    }
}

fn address(facts: &DoctorFacts) -> Check {
    const ABOUT: &str = "address";
    match &facts.advertised {
        Some(address) => Check::ok(ABOUT, format!("join lines say {address}")),
        None => Check::warning(
            ABOUT,
            "no join line can be made: nobody has said under which name hosts reach this machine",
            "set advertised-address in the configuration, and `systemctl restart reeve-coordinator`",
        ),
    }
}

fn state_directory(facts: &DoctorFacts) -> Check {
    const ABOUT: &str = "state directory";
    let (path, _, room) = &facts.state_directory;
    let path = path.display();
    let Some((free, space)) = room else {
        return Check::failure(
            ABOUT,
            format!("{path} is not there"),
            "the package makes it; without one: `install -d -m 0700` and its path, then `reeve-coordinator init`",
        );
    };
    let mebibytes = free >> 20;
    if *free < ROOM_MIN {
        return Check::failure(
            ABOUT,
            format!("{path} has {mebibytes} MiB left: when it is full, nothing can be started or stopped"),
            "make room on its file system",
        );
    }
    if *free < space / 100 * ROOM_PERCENT_MIN {
        return Check::warning(
            ABOUT,
            format!("{path} has {mebibytes} MiB left, less than {ROOM_PERCENT_MIN} % of its file system"),
            "make room before it is full: then nothing can be started or stopped",
        );
    }
    Check::ok(ABOUT, format!("{path} has {mebibytes} MiB left"))
}

fn authority(facts: &DoctorFacts) -> Check {
    const ABOUT: &str = "authority";
    match &facts.authority {
        AuthorityFacts::Missing => Check::failure(
            ABOUT,
            "there is no certificate authority yet",
            "`reeve-coordinator init` makes it, once; or `reeve-coordinator restore FILE` from a backup",
        ),
        AuthorityFacts::NotReadable => Check::warning(
            ABOUT,
            "it cannot be looked at by this user",
            "run this as root or as the coordinator's user: `sudo -u reeve-coordinator reeve-coordinator doctor`",
        ),
        AuthorityFacts::Unusable(why) => Check::failure(
            ABOUT,
            why.clone(),
            "restore the directory pki from a backup, if the message says nothing else",
        ),
        AuthorityFacts::Good { ends } if ends.since(facts.now) < AUTHORITY_NOTICE => Check::warning(
            ABOUT,
            format!("it expires at {ends}; no host can connect from then on"),
            "plan the day on which every host joins anew",
        ),
        AuthorityFacts::Good { ends } => Check::ok(ABOUT, format!("good until {ends}")),
    }
}

/// Whoever can read the authority's key is the fleet, and whoever can write the state directory can become it.
fn files(facts: &DoctorFacts) -> Vec<Check> {
    const ABOUT: &str = "files";
    let (directory, directory_facts, _) = &facts.state_directory;
    let Some(owner) = directory_facts.map(|facts| facts.owner) else { return Vec::new() };
    let mut checks = Vec::new();
    let mut bad = |path: &std::path::Path, why: &str, advice: String| {
        checks.push(Check::failure(ABOUT, format!("{} {why}", path.display()), advice));
    };
    if directory_facts.is_some_and(|facts| facts.mode & WRITTEN_BY_OTHERS != 0) {
        bad(directory, "can be written by others", format!("`chmod go-w {}`", directory.display()));
    }
    for (path, found) in &facts.authority_files {
        let Some(FileFacts { owner: of_file, mode }) = found else { continue };
        if *of_file != owner {
            let why = format!("belongs to user {of_file}, and the directory above it to user {owner}");
            bad(path, &why, format!("`chown {owner} {}`", path.display()));
        }
        let is_secret = path.to_string_lossy().ends_with(".key.pem");
        let forbidden = if is_secret { NOT_THE_OWNERS } else { WRITTEN_BY_OTHERS };
        if mode & forbidden != 0 {
            let why = if is_secret {
                "can be read by others: whoever has it can make itself any host"
            } else {
                "can be written by others"
            };
            let change = if is_secret { "go=" } else { "go-w" };
            bad(path, why, format!("`chmod {change} {}`, and find out who may have read it", path.display()));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(ABOUT, "owners and permissions are right"));
    }
    checks
}

fn store(store: &StoreFacts) -> Check {
    const ABOUT: &str = "store";
    match store {
        StoreFacts::Missing => {
            Check::failure(ABOUT, "there is none yet", "`reeve-coordinator init` makes it, once")
        }
        StoreFacts::NotReadable => Check::warning(
            ABOUT,
            "it cannot be looked at by this user",
            "run this as root or as the coordinator's user: `sudo -u reeve-coordinator reeve-coordinator doctor`",
        ),
        StoreFacts::Damaged(why) => Check::failure(
            ABOUT,
            format!("it cannot be read: {why}"),
            "stop the coordinator, keep the file, and `reeve-coordinator restore` the latest backup; VMs run on",
        ),
        StoreFacts::Read { records, problems } if problems.is_empty() => {
            Check::ok(ABOUT, format!("whole: {records}"))
        }
        StoreFacts::Read { problems, .. } => {
            let told = problems.iter().take(PROBLEMS_TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
            Check::failure(
                ABOUT,
                format!("its records do not hold together, {} problems: {told}", problems.len()),
                "`reeve-coordinator verify` says all of it",
            )
        }
    }
}

fn port(port: &Port, is_running: bool) -> Check {
    const ABOUT: &str = "port";
    let Port { key, address, state } = port;
    match state {
        PortState::Free if is_running => Check::ok(ABOUT, format!("{key} {address}")),
        PortState::Free => Check::ok(ABOUT, format!("{key} {address} is free")),
        PortState::Ours => Check::ok(ABOUT, format!("{key} {address} is served")),
        PortState::NotServed => Check::failure(
            ABOUT,
            format!("{key} {address} is not served, though the coordinator runs"),
            "see `journalctl -u reeve-coordinator`; a changed address needs a restart: `systemctl restart reeve-coordinator`",
        ),
        PortState::Taken => Check::failure(
            ABOUT,
            format!("{key} {address} is in use by somebody else"),
            "`ss -lunpt` says by whom; end it, or choose another address in the configuration",
        ),
        PortState::Impossible(why) => Check::failure(
            ABOUT,
            format!("{key} {address} cannot be had: {why}"),
            "is it an address of this machine? `ip address` lists them",
        ),
    }
}

fn open_files(files_max: u64) -> Check {
    const ABOUT: &str = "open files";
    if files_max < FILES_MIN {
        return Check::warning(
            ABOUT,
            format!("{files_max} may be open at once, and the coordinator may need {FILES_MIN}"),
            "raise LimitNOFILE in the unit, or `ulimit -n`",
        );
    }
    Check::ok(ABOUT, format!("{files_max} may be open at once; agents take none, however many they are"))
}

fn clock(facts: &DoctorFacts) -> Check {
    const ABOUT: &str = "time";
    match facts.synchronised {
        Some(true) => Check::ok(ABOUT, format!("{}, synchronised", facts.now)),
        Some(false) => Check::warning(
            ABOUT,
            format!(
                "{}, not synchronised: certificates are refused once clocks are minutes apart",
                facts.now
            ),
            "`timedatectl set-ntp true`, or start chrony",
        ),
        None => Check::warning(
            ABOUT,
            format!("{}; whether it is synchronised cannot be told", facts.now),
            "install chrony or systemd-timesyncd, unless this machine's clock is kept by its own host",
        ),
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
