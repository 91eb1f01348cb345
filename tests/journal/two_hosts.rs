//! A VM that ran on two hosts, one after the other: each host's own journal has its part of the story, and the whole is
//! read from elsewhere.

use reeve_tests::harness::waiting::poll_until;
use serde_json::Value;

use super::place::{Place, apart};
use super::stage::{PATIENCE, SECOND, Stage, Words};

/// The hosts whose lines say these words, in the order of the lines.
fn hosts_that_say<'a>(logs: &'a Value, words: &str) -> Vec<&'a str> {
    let lines = logs["journal"].as_array().unwrap().iter();
    let saying = lines
        .filter(|line| line["source"] == "reeve-agent" && line["text"].as_str().unwrap().contains(words));
    saying.map(|line| line["fields"]["REEVE_HOST"].as_str().unwrap()).collect()
}

#[test]
fn the_journals_of_all_its_hosts_tell_a_vms_story_and_whoever_is_away_is_named() {
    apart(|| {
        let _first = Place::enter();
        let mut stage = Stage::new(Words::Journal, "");
        stage.start_coordinator();
        stage.join();
        stage.start_agent();
        stage.furnish();
        let started = stage.reeve("vm start web");
        let id = started[0]["id"].as_str().unwrap().to_owned();
        // Another machine, with a journal of its own.
        let _second = std::thread::scope(|scope| {
            let entering = scope.spawn(|| {
                let place = Place::enter();
                stage.start_second_agent();
                place
            });
            entering.join().unwrap()
        });

        // The first machine is lost, and the VM starts on the second.
        stage.stop("reeve-agent");
        poll_until("the host to be lost", PATIENCE, || {
            let hosts = stage.ask("host list")?;
            let first = hosts.as_array().unwrap().iter().find(|host| host["name"] == "node-1").unwrap();
            Ok((first["connection"] == "lost").then_some(()))
        })
        .unwrap();
        stage.reeve("host confirm-off node-1 --yes-it-is-off");
        stage.reeve(&format!("vm restart-elsewhere {id}"));
        poll_until("the VM to run on the second host", PATIENCE, || {
            let vm = stage.ask(&format!("vm show {id}"))?;
            Ok((vm["state"] == "running" && vm["host"] == "node-2").then_some(()))
        })
        .unwrap();
        let logs = stage.reeve(&format!("vm logs {id} --since 1h"));
        assert_eq!(logs["hosts"], serde_json::json!(["node-2", "node-1"]));
        assert!(logs["journal-problem"].as_str().unwrap().contains("node-1 is not connected"), "{logs}");
        assert_eq!(hosts_that_say(&logs, "has registered"), ["node-2"], "{logs}");
        let words = stage.reeve_words(&format!("vm logs {id} --since 1h"));
        assert!(words.contains("Missing in the journal:\n  host node-1 is not connected"), "{words}");

        // It comes back, and with it what its journal knows.
        stage.start_agent_again();
        stage.wait_for_reports(2);
        let logs = stage.reeve(&format!("vm logs {id} --since 1h"));
        assert!(logs["journal-problem"].is_null(), "{logs}");
        assert_eq!(hosts_that_say(&logs, "has registered"), ["node-1", "node-2"], "{logs}");
        let last = stage.reeve(&format!("vm logs {id} -n 2"));
        assert_eq!(last["journal"].as_array().unwrap().len(), 2, "{last}");
        // Followed, it is where the VM is now.
        let mut followed = stage.follow(&format!("vm logs {id} -f"));
        stage.reeve(&format!("vm destroy {id}"));
        followed.read_until("is gone");
        drop(followed);
        let past = stage.reeve(&format!("vm logs {id} --since 1h"));
        assert_eq!(hosts_that_say(&past, "has registered"), ["node-1", "node-2"], "{past}");
        let wrong = stage.ask("host logs node-3").unwrap_err().to_string();
        assert!(wrong.contains("reeve host list"), "{wrong}");
        stage.stop(SECOND);
    });
}
