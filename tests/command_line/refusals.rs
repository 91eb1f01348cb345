//! What is refused, with which exit code and in which words.

use std::fs;

use crate::coordinator::Coordinator;
use crate::typed::{reeve, typed};

#[tokio::test]
async fn each_kind_of_no_has_its_exit_code() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    for (line, code, words) in [
        ("host show node-9", 3, "reeve host list"),
        ("realm show nowhere", 3, "nowhere"),
        ("vm show nothing", 3, "reeve vm list"),
        ("vm start nothing", 3, "nothing"),
        ("volume list --realm primary", 5, "connected"),
        ("drive create d --realm primary --owner a --team t --size 600GiB", 2, "500 GiB"),
        ("drive create d --realm primary --owner a --team t --size 10", 2, "unit"),
        ("host add node-2 --realm nowhere --profile r750", 3, "nowhere"),
        ("host add node-2 --realm primary --profile r999", 3, "r999"),
        ("host set-state node-1 off", 2, "no-scheduler"),
        ("setup create -f /nowhere/x.conf", 2, "/nowhere/x.conf"),
        ("vm start", 2, "CONFIGURATION"),
        ("vm shutdown web-1 --timeout never", 2, "minutes"),
        ("frobnicate", 2, "frobnicate"),
    ] {
        let answer = coordinator.reeve(line).await;
        assert_eq!(answer.code, code, "{line}: {}", answer.err);
        answer.complains(&[words]);
    }
}

#[tokio::test]
async fn hostile_names_never_reach_the_coordinator() {
    let coordinator = Coordinator::start().await;
    for name in [
        "</name><x/>",
        "../../etc/passwd",
        "a;reboot",
        "$(reboot)",
        "a\nb",
        "-rf",
        "\u{202e}abc",
        "a b",
        "a?b=c",
        "",
    ] {
        for command in [
            &["host", "show"][..],
            &["setup", "simulate"],
            &["vm", "show"],
            &["vm", "start"],
            &["image", "delete"],
        ] {
            let mut words =
                vec!["reeve".into(), "--socket".into(), coordinator.socket.clone().into_os_string()];
            words.extend(command.iter().map(std::ffi::OsString::from));
            words.push(name.into());
            let answer = typed(words, "").await;
            assert_eq!(answer.code, 2, "{command:?} {name:?}: {}", answer.err);
        }
    }
    let file =
        "name = \"</name><x/>\", realm = primary, volume = \"../x\", operating-system = \"Debian\\u001b[2J\"";
    let answer = coordinator.reeve_with_input("image create -f -", file).await.ended(2);
    let answer =
        answer.complains(&["'<' at position 1", "'.' at position 1", "not printable", "nothing was created"]);
    assert!(!answer.err.contains('\u{1b}'), "{}", answer.err);
}

#[tokio::test]
async fn a_mistake_in_a_file_is_named_with_file_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("small.conf");
    fs::write(
        &file,
        "name = small\nrealm = primary\nimage = debian\ncores = 2\nmemory = 2\nmemroy = 2 GiB\n",
    )
    .unwrap();
    // It is found before anybody is asked.
    let answer =
        reeve(&directory.path().join("no.sock"), &format!("setup create -f {}", file.display())).await;
    answer.ended(2).complains(&[
        "small.conf:5: `memory`",
        "has no unit",
        "small.conf:6: \"memroy\"",
        "did you mean `memory`?",
    ]);
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_by_the_coordinator() {
    let coordinator = Coordinator::start().await.with_a_catalogue().await;
    let setup =
        |more: &str| format!("name = s, realm = primary, image = debian, cores = 2, memory = 2 GiB, {more}");
    for (more, code, words) in [
        ("virt-type = qemu, cpu-model = host-passthrough", 2, "needs KVM"),
        ("cpu-model = \"</model><x/>\"", 2, "cpu-model"),
        ("cores = 4000", 2, "between 1 and 288"),
        ("realm = other", 4, "realm"),
        ("image = nothing", 3, "reeve image list"),
    ] {
        let answer = coordinator.reeve_with_input("setup create -f -", &setup(more)).await;
        assert_eq!(answer.code, code, "{more}: {}", answer.err);
        answer.complains(&[words]);
    }
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("api.sock");
    reeve(&socket, "status").await.ended(5).complains(&[
        "no coordinator listens",
        "systemctl status",
        "--socket",
    ]);
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    reeve(&socket, "status").await.ended(5).complains(&["nobody answers", "journalctl"]);
}

#[tokio::test]
async fn help_is_an_answer_and_the_exit_codes_are_in_it() {
    let help = typed(vec!["reeve".into(), "--help".into()], "").await.ended(0);
    help.says(&[
        "Places virtual machines on KVM hosts",
        "Exit codes:",
        "no host can take the VM",
        "Examples:",
        "reeve setup simulate small",
    ]);
    typed(vec!["reeve".into(), "--version".into()], "").await.ended(0).says(&["reeve 0"]);
    typed(vec!["reeve".into()], "").await.ended(2);
}
