//! Waiting for VMs: what is shown meanwhile, how it ends, and a coordinator that goes away in the middle.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::scripted::{Scripted, vm};
use crate::typed::reeve;

/// A coordinator whose VM passes through `states`, one at each question for changes.
fn life(states: &'static [&'static str], last: Value) -> Scripted {
    let step = AtomicU64::new(0);
    let at = move |step: u64, last: &Value| {
        let index = usize::try_from(step).unwrap().min(states.len() - 1);
        let more = if index == states.len() - 1 { last.clone() } else { json!({}) };
        vm(states[index], step + 1, &more)
    };
    Scripted::play(move |method, path| {
        if path.contains("/changes?") {
            step.fetch_add(1, Ordering::SeqCst);
        }
        let status = if method == "POST" { 201 } else { 200 };
        Some((status, at(step.load(Ordering::SeqCst), &last)))
    })
}

#[tokio::test]
async fn a_start_is_followed_until_the_guest_has_registered() {
    let registered = json!({"registered-at": "2026-03-01T11:58:04.200Z"});
    let coordinator = life(&["placed", "defining", "registering", "running"], registered);
    let answer = reeve(&coordinator.socket, "vm start web-1").await.ended(0);
    assert_eq!(
        answer.out,
        "web-1-0f8fad5b: running on node-2 after 4.2s; cost +0.2500 (runner-up node-1, cost +0.5000)\n"
    );
    assert_eq!(
        answer.err.lines().collect::<Vec<_>>(),
        [
            "web-1-0f8fad5b: placed on node-2",
            "web-1-0f8fad5b: defining on node-2",
            "web-1-0f8fad5b: registering on node-2",
            "web-1-0f8fad5b: running on node-2"
        ]
    );
}

#[tokio::test]
async fn programs_get_json_and_the_quiet_get_ids() {
    let coordinator = life(&["placed", "running"], json!({}));
    let answer = reeve(&coordinator.socket, "vm start web-1 -o json").await.ended(0);
    assert_eq!(answer.json()[0]["state"], "running");
    let coordinator = life(&["placed", "running"], json!({}));
    let answer = reeve(&coordinator.socket, "vm start web-1 -q").await.ended(0);
    assert_eq!((answer.out.as_str(), answer.err.as_str()), ("0f8fad5b-d9cb-469f-a165-70867728950e\n", ""));
}

#[tokio::test]
async fn a_vm_that_fails_ends_the_wait_with_its_reason() {
    let failed =
        json!({"reason": "the guest did not register in its time and was terminated", "wish": "stop"});
    let coordinator = life(&["placed", "registering", "stopping", "failed"], failed);
    let answer = reeve(&coordinator.socket, "vm start web-1").await.ended(1);
    answer.complains(&[
        "reeve: web-1-0f8fad5b failed on node-2: the guest did not register",
        "reeve vm logs web-1-0f8fad5b",
    ]);
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let coordinator = life(&["placed", "registering"], json!({}));
    let answer = reeve(&coordinator.socket, "vm start web-1 --timeout 50ms").await.ended(7);
    answer.complains(&["still registering on node-2 after 50ms", "goes on by itself"]);
}

#[tokio::test]
async fn without_waiting_the_first_answer_counts() {
    let coordinator = life(&["placed", "running"], json!({}));
    let answer = reeve(&coordinator.socket, "vm start web-1 --no-wait").await.ended(0);
    answer.says(&["web-1-0f8fad5b: placed on node-2; cost +0.2500"]);
}

#[tokio::test]
async fn a_shutdown_is_followed_until_the_vm_is_gone() {
    let stopped = json!({"reason": "shut down on request", "wish": "stop"});
    let coordinator = life(&["stopping", "stopping", "stopped"], stopped);
    let answer = reeve(&coordinator.socket, "vm shutdown web-1").await.ended(0);
    assert_eq!(answer.out, "web-1-0f8fad5b: stopped: shut down on request\n");
}

#[tokio::test]
async fn a_coordinator_that_restarts_is_asked_again() {
    let questions: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&questions);
    let coordinator = Scripted::play(move |method, path| {
        let mut seen = seen.lock().unwrap();
        if path.contains("/changes?") {
            seen.push(path.to_owned());
            // The first question finds nobody, as while it restarts.
            if seen.len() == 1 {
                return None;
            }
        }
        let state = if seen.len() < 2 { "placed" } else { "running" };
        Some((if method == "POST" { 201 } else { 200 }, vm(state, 41, &json!({}))))
    });
    let answer = reeve(&coordinator.socket, "vm start web-1").await.ended(0);
    answer.complains(&["asking again"]);
    let questions = questions.lock().unwrap();
    assert!(questions[0].contains("after=41"), "{questions:?}");
    assert!(
        questions[1].contains("after=0"),
        "news from before the restart would be waited for: {questions:?}"
    );
}

#[tokio::test]
async fn of_several_each_is_told_and_the_first_that_failed_counts() {
    let coordinator = Scripted::play(|method, path| {
        if method == "POST" && path == "/v1/starts" {
            let outcome = |configuration: &str| {
                let problem =
                    json!({"kind": "not-found", "message": "there is no VM configuration", "advice": null});
                json!({"configuration": configuration, "vm": null, "problem": problem})
            };
            return Some((200, json!([outcome("a"), outcome("b")])));
        }
        Some((200, vm("running", 1, &json!({}))))
    });
    let answer = reeve(&coordinator.socket, "vm start a b").await.ended(3);
    assert_eq!(answer.err.matches("there is no VM configuration").count(), 2, "{}", answer.err);
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told_as_such() {
    for (status, document) in [(200, json!({"hosts": 5})), (500, json!("boom")), (302, json!({}))] {
        let coordinator = Scripted::play(move |_, _| Some((status, document.clone())));
        reeve(&coordinator.socket, "host list").await.ended(1).complains(&["same version"]);
    }
    let foreign = json!({"error": {"kind": "conflict", "message": "x\u{1b}[2J", "advice": "y\u{202e}"}});
    let coordinator = Scripted::play(move |_, _| Some((409, foreign.clone())));
    let answer = reeve(&coordinator.socket, "host list").await.ended(4);
    assert!(!answer.err.contains(['\u{1b}', '\u{202e}']), "{:?}", answer.err);
}
