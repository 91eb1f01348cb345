//! Tests of the doctor's words.

use std::path::PathBuf;

use reeve_common::check::{Verdict, worst};
use reeve_common::clock::Timestamp;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn good() -> DoctorFacts {
    let directory = PathBuf::from("/var/lib/reeve-coordinator");
    let private = FileFacts { owner: 7, mode: 0o600 };
    DoctorFacts {
        configuration: Ok(0),
        configuration_file: PathBuf::from("/etc/reeve/coordinator.conf"),
        uid: 0,
        is_running: false,
        advertised: Some("c.example:7443".to_owned()),
        state_directory: (
            directory.clone(),
            Some(FileFacts { owner: 7, mode: 0o700 }),
            Some((10 << 30, 20 << 30)),
        ),
        authority: AuthorityFacts::Good { ends: NOW.after(Duration::from_secs(365 * 24 * 3600)) },
        authority_files: vec![
            (directory.join("pki"), Some(FileFacts { owner: 7, mode: 0o700 })),
            (directory.join("pki/ca.key.pem"), Some(private)),
            (directory.join("pki/ca.pem"), Some(FileFacts { owner: 7, mode: 0o644 })),
        ],
        store: StoreFacts::Read { records: "12 records".to_owned(), problems: Vec::new() },
        ports: vec![Port { key: "agent-listen", address: "0.0.0.0:7443".to_owned(), state: PortState::Free }],
        files_max: 4_096,
        now: NOW,
        synchronised: Some(true),
    }
}

#[test]
fn a_good_coordinator_is_well_in_every_respect() {
    let checks = judge(&good());
    assert_eq!(worst(&checks), Verdict::Ok, "{checks:?}");
    assert_eq!(checks.len(), 9);
}

#[test]
fn each_trouble_has_its_verdict_and_says_what_to_do() {
    type Spoil = fn(&mut DoctorFacts);
    let troubles: [(&str, Verdict, &str, Spoil); 19] = [
        ("configuration", Verdict::Failure, "line 3", |facts| facts.configuration = Err("line 3".to_owned())),
        ("configuration", Verdict::Warning, "2 warnings", |facts| facts.configuration = Ok(2)),
        ("address", Verdict::Warning, "no join line", |facts| facts.advertised = None),
        ("state directory", Verdict::Failure, "is not there", |facts| facts.state_directory.2 = None),
        ("state directory", Verdict::Failure, "1 MiB left", |facts| {
            facts.state_directory.2 = Some((1 << 20, 2 << 20))
        }),
        ("state directory", Verdict::Warning, "less than 10 %", |facts| {
            facts.state_directory.2 = Some((1 << 30, 20 << 30));
        }),
        ("authority", Verdict::Failure, "no certificate authority", |facts| {
            facts.authority = AuthorityFacts::Missing
        }),
        ("authority", Verdict::Failure, "a bad key", |facts| {
            facts.authority = AuthorityFacts::Unusable("a bad key".to_owned());
        }),
        ("authority", Verdict::Warning, "expires at", |facts| {
            facts.authority = AuthorityFacts::Good { ends: NOW }
        }),
        ("files", Verdict::Failure, "can be read by others", |facts| {
            facts.authority_files[1].1 = Some(FileFacts { owner: 7, mode: 0o640 });
        }),
        ("files", Verdict::Failure, "ca.pem can be written", |facts| {
            facts.authority_files[2].1 = Some(FileFacts { owner: 7, mode: 0o664 });
        }),
        ("files", Verdict::Failure, "belongs to user 0", |facts| {
            facts.authority_files[1].1 = Some(FileFacts { owner: 0, mode: 0o600 });
        }),
        ("files", Verdict::Failure, "reeve-coordinator can be written", |facts| {
            facts.state_directory.1 = Some(FileFacts { owner: 7, mode: 0o770 });
        }),
        ("store", Verdict::Failure, "none yet", |facts| facts.store = StoreFacts::Missing),
        ("store", Verdict::Failure, "malformed", |facts| {
            facts.store = StoreFacts::Damaged("malformed".to_owned())
        }),
        ("store", Verdict::Failure, "1 problems: x", |facts| {
            facts.store = StoreFacts::Read { records: String::new(), problems: vec!["x".to_owned()] };
        }),
        ("port", Verdict::Failure, "somebody else", |facts| facts.ports[0].state = PortState::Taken),
        ("open files", Verdict::Warning, "256 may be open", |facts| facts.files_max = 256),
        ("time", Verdict::Warning, "not synchronised", |facts| facts.synchronised = Some(false)),
    ];
    for (about, verdict, words, spoil) in troubles {
        let mut facts = good();
        spoil(&mut facts);
        let checks = judge(&facts);
        let found = checks.iter().find(|check| check.about == about).unwrap();
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert!(found.found.contains(words), "{words} is not in {found:?}");
        assert!(found.advice.is_some(), "{found:?} says not what to do");
    }
}

#[test]
fn without_a_configuration_nothing_else_is_said() {
    let checks = judge(&DoctorFacts { configuration: Err("no such file".to_owned()), ..good() });
    assert_eq!(checks.len(), 1);
}

#[test]
fn ports_of_a_running_coordinator_are_its_own() {
    let with = |state, is_running| {
        let mut facts = DoctorFacts { is_running, ..good() };
        facts.ports[0].state = state;
        judge(&facts).into_iter().find(|check| check.about == "port").unwrap()
    };
    assert_eq!(with(PortState::Ours, true).verdict, Verdict::Ok);
    assert_eq!(with(PortState::NotServed, true).verdict, Verdict::Failure);
    assert_eq!(with(PortState::Impossible("no such address".to_owned()), false).verdict, Verdict::Failure);
}
