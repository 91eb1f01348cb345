//! Owns the product's programs on a stage: a coordinator and one agent of a simulated host, each a process, on ports and in
//! directories of their own. Where their words go is the test's.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::lab::Workspace;
use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes this long; what does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What the second machine's agent is called here.
pub(crate) const SECOND: &str = "second-agent";

/// Where a program's words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Into the journal, as under systemd.
    Journal,
    /// Into a file, as at a terminal, with every detail.
    File,
}

pub(crate) struct Stage {
    pub(crate) directory: TempDir,
    pub(crate) agent_port: u16,
    workspace: Workspace,
    words: Words,
    running: Vec<(&'static str, Child)>,
}

impl Stage {
    /// A coordinator that is initialised, with `realm` in its realm's section.
    pub(crate) fn new(words: Words, realm: &str) -> Self {
        let (agents, joining) = (free_port(), free_port());
        let stage = Self {
            directory: tempfile::tempdir().unwrap(),
            agent_port: agents,
            workspace: Workspace::locate().unwrap(),
            words,
            running: Vec::new(),
        };
        let directory = stage.path().display();
        let text = format!(
            "state-directory = \"{directory}/coordinator\"\napi-socket = \"{directory}/api.sock\"\n\
             agent-listen = \"127.0.0.1:{agents}\"\njoin-listen = \"127.0.0.1:{joining}\"\n\
             advertised-address = \"127.0.0.1\"\n\
             realms {{ lab {{ disabled = no, driver = libvirt, name = Lab\n drives.lazy-allocation = on\n{realm} }} }}\n\
             hardware-profiles {{ p {{ cores = 8, memory = 16 GiB }} }}\n"
        );
        fs::write(stage.path().join("coordinator.conf"), text).unwrap();
        stage.run_to_end("reeve-coordinator", &["init", "--config", &stage.at("coordinator.conf")]);
        stage
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.workspace.program(name).unwrap());
        command.env("REEVE_LOG", if self.words == Words::File { "trace" } else { "debug" });
        command.env_remove("JOURNAL_STREAM").stdin(Stdio::null());
        command
    }

    fn words_file(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.path().join(format!("{name}.words"))).unwrap()
    }

    /// Starts a daemon whose standard error is what systemd would make it.
    fn start(&mut self, name: &'static str, arguments: &[&str]) {
        self.start_as(name, name, arguments);
    }

    /// The same under a name by which it is stopped.
    fn start_as(&mut self, name: &'static str, program: &str, arguments: &[&str]) {
        let words = self.words_file(name);
        let mut command = self.program(program);
        if self.words == Words::Journal {
            let file = words.metadata().unwrap();
            command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
        }
        let child = command.args(arguments).stdout(words.try_clone().unwrap()).stderr(words).spawn().unwrap();
        self.running.push((name, child));
    }

    /// Runs a program to its end, its words kept.
    fn run_to_end(&self, name: &'static str, arguments: &[&str]) -> bool {
        let words = self.words_file(name);
        let (out, err) = (words.try_clone().unwrap(), words);
        self.program(name).args(arguments).stdout(out).stderr(err).status().unwrap().success()
    }

    pub(crate) fn start_coordinator(&mut self) {
        self.start("reeve-coordinator", &["run", "--config", &self.at("coordinator.conf")]);
        poll_until("the coordinator to answer", PATIENCE, || Ok(self.ask("status").ok())).unwrap();
    }

    /// Lets this machine join as `node-1`; the join line is answered.
    pub(crate) fn join(&self) -> String {
        self.reeve("host add node-1 --realm lab --profile p");
        let line = self.join_line();
        assert!(self.join_with(&line), "{}", self.words("reeve-agent"));
        line
    }

    pub(crate) fn join_line(&self) -> String {
        self.join_line_of("node-1")
    }

    fn join_line_of(&self, host: &str) -> String {
        let output = self.reeve_command(&format!("host join-token {host}")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn join_with(&self, line: &str) -> bool {
        let state = self.at("agent");
        self.run_to_end("reeve-agent", &["join", line, "--state-directory", &state, "--config", "/dev/null"])
    }

    /// Starts the agent of `node-1` and waits for nothing.
    pub(crate) fn start_agent_again(&mut self) {
        let state = self.at("agent");
        self.start(
            "reeve-agent",
            &["run", "--hypervisor", "simulated", "--state-directory", &state, "--config", "/dev/null"],
        );
    }

    pub(crate) fn start_agent(&mut self) {
        self.start_agent_again();
        poll_until("the host to be connected", PATIENCE, || {
            // Nothing is placed on a host that has not reported yet.
            Ok((self.ask("status")?["hosts"]["reported"] == 1).then_some(()))
        })
        .unwrap_or_else(|error| {
            panic!("{error}: {:?}; {}", self.ask("host list"), self.words("reeve-agent"))
        });
    }

    /// Lets a second machine join as `node-2` and starts its agent, called [`SECOND`] here, from whatever place this
    /// thread is in.
    pub(crate) fn start_second_agent(&mut self) {
        self.reeve("host add node-2 --realm lab --profile p");
        let (line, state) = (self.join_line_of("node-2"), self.at("second"));
        let arguments = ["join", &line, "--state-directory", &state, "--config", "/dev/null"];
        assert!(self.run_to_end("reeve-agent", &arguments), "{}", self.words("reeve-agent"));
        let run = ["run", "--hypervisor", "simulated", "--state-directory", &state, "--config", "/dev/null"];
        self.start_as(SECOND, "reeve-agent", &run);
        self.wait_for_reports(2);
    }

    /// Waits until so many hosts have reported.
    pub(crate) fn wait_for_reports(&self, hosts: u64) {
        poll_until("the hosts to report", PATIENCE, || {
            Ok((self.ask("status")?["hosts"]["reported"] == hosts).then_some(()))
        })
        .unwrap();
    }

    /// A configuration `web` that can be started.
    pub(crate) fn furnish(&self) {
        for (kind, text) in [
            (
                "image",
                r#"{"name":"debian","realm":"lab","volume":"debian.qcow2","operating-system":"Debian"}"#,
            ),
            (
                "setup",
                r#"{"name":"small","realm":"lab","image":"debian","cores":1,"memory":"1 GiB","debug":{"console":true}}"#,
            ),
            ("config", r#"{"name":"web","setup":"small","owner":"ada","team":"engines"}"#),
        ] {
            let file = self.at(&format!("{kind}.json"));
            fs::write(&file, text).unwrap();
            self.reeve(&format!("{kind} create -f {file}"));
        }
    }

    fn reeve_command(&self, line: &str) -> Command {
        let mut command = Command::new(self.workspace.program("reeve").unwrap());
        command.arg("--socket").arg(self.at("api.sock")).args(line.split(' ')).stdin(Stdio::null());
        command
    }

    /// What `reeve` answers as JSON, or what it complains of.
    pub(crate) fn ask(&self, line: &str) -> anyhow::Result<Value> {
        let output = self.reeve_command(&format!("{line} -o json")).output()?;
        anyhow::ensure!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_slice(&output.stdout)?) }
    }

    pub(crate) fn reeve(&self, line: &str) -> Value {
        self.ask(line).unwrap_or_else(|error| panic!("{error}; {}", self.words("reeve-coordinator")))
    }

    /// What `reeve` prints for people.
    pub(crate) fn reeve_words(&self, line: &str) -> String {
        let output = self.reeve_command(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// `reeve` in a form that goes on by itself.
    pub(crate) fn follow(&self, line: &str) -> Followed {
        let mut child =
            self.reeve_command(line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Followed { child, lines }
    }

    /// What a program has said where it does not go to the journal.
    pub(crate) fn words(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(format!("{name}.words"))).unwrap_or_default()
    }

    /// Asks a daemon to end, and waits until it has.
    pub(crate) fn stop(&mut self, name: &str) {
        let at = self.running.iter().position(|(running, _)| *running == name).unwrap();
        let (_, mut child) = self.running.remove(at);
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        poll_until(&format!("{name} to end"), PATIENCE, || Ok(child.try_wait()?)).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A command that prints line after line.
pub(crate) struct Followed {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Followed {
    /// Reads on until a line says `words`; the test's own time limit is the end of it.
    pub(crate) fn read_until(&mut self, words: &str) -> String {
        let mut seen = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(
                self.lines.read_line(&mut line).unwrap(),
                0,
                "it ended before it said {words:?}: {seen}"
            );
            if line.contains(words) {
                return line;
            }
            seen.push_str(&line);
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
