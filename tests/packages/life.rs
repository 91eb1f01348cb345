//! Owns the days of daemons that were installed from packages: joining, being read about, reloads, restarts and deaths.
//! Whatever is done to them, the VM goes on.

use std::time::Duration;

use nix::sys::signal::Signal;
use reeve_tests::harness::waiting::poll_until;

use super::site::{Running, Site};

const DAEMONS: [&str; 2] = ["reeve-agent", "reeve-coordinator"];
/// A daemon that was killed is started after two seconds.
const RESTART_PATIENCE: Duration = Duration::from_secs(60);
/// What the issue of hardening is measured by: the agent, the coordinator.
const EXPOSURE_MAX: [f64; 2] = [1.6, 1.3];

/// Initialise, join, start: three commands on each side, and what was not done yet has not failed.
pub(crate) fn first_contact(site: &Site) {
    let machine = &site.machine;
    for daemon in DAEMONS {
        assert_eq!(machine.property(daemon, "ActiveState"), "inactive", "{daemon} before it was set up");
        assert_eq!(machine.property(daemon, "UnitFileState"), "enabled", "{daemon}");
    }
    assert_eq!(machine.run(&["systemctl", "--failed", "--no-legend"]), "");
    site.found_coordinator();
    // Ready means ready: the first question is answered.
    machine.run(&["reeve", "status"]);
    let secrets = "find /var/lib/reeve-coordinator -printf '%u:%m:%f\\n'";
    for line in machine.shell(secrets).lines() {
        assert!(line.starts_with("reeve-coordinator:"), "{line} is not the service's");
        assert!(
            ["600", "700"].iter().any(|mode| line.contains(&format!(":{mode}:")))
                || line.contains(":644:ca.pem"),
            "{line}"
        );
    }
    assert_eq!(
        machine.shell("stat --format=%U:%G:%a /run/reeve-coordinator/api.sock"),
        "reeve-coordinator:reeve:660"
    );
    let line = site.join_line("machine", "enabled");
    machine.run(&["reeve-agent", "join", &line]);
    machine.run(&["systemctl", "start", "reeve-agent"]);
    site.wait_for_connection("machine");
    let owners = machine.shell("find /var/lib/reeve-agent -printf '%u:%m\\n' | sort --unique");
    assert_eq!(owners, "reeve-agent:600\nreeve-agent:700");
    site.add_simulated_host();
    site.fill_catalogue();
    machine.run(&["reeve", "vm", "start", "web-1"]);
    let running = site.running("web-1");
    let groups = machine.run(&["cat", &format!("/proc/{}/cgroup", running.process)]);
    assert!(!groups.contains("reeve-"), "QEMU is in a group of ours: {groups}");
    // The line is made anew every ten seconds.
    for (daemon, words) in DAEMONS.iter().zip(["1 VMs kept", "2 of 2 hosts connected, 1 VMs"]) {
        poll_until(&format!("the status {words:?}"), RESTART_PATIENCE, || {
            Ok(machine.property(daemon, "StatusText").contains(words).then_some(()))
        })
        .unwrap();
    }
    who_may_not(site);
}

/// A stranger cannot ask the coordinator, read keys or pretend to be the service.
fn who_may_not(site: &Site) {
    let machine = &site.machine;
    machine.run(&["useradd", "ann"]);
    let as_ann = |command: &[&str]| machine.refuse(&[&["runuser", "-u", "ann", "--"], command].concat());
    as_ann(&["reeve", "status"]);
    as_ann(&["ls", "/var/lib/reeve-agent"]);
    as_ann(&["cat", "/var/lib/reeve-coordinator/pki/ca.key.pem"]);
    machine.run(&["usermod", "--append", "--groups", "reeve", "ann"]);
    machine.run(&["runuser", "-u", "ann", "--", "reeve", "status"]);
    // And who asked is known by name, through the sandbox.
    machine.run(&["runuser", "-u", "ann", "--", "reeve", "host", "set-state", "old", "no-scheduler"]);
    let audit = machine.run(&["reeve", "audit", "tail"]);
    assert!(audit.contains("ann"), "{audit}");
    // A key that others could have read is refused at the start, with the remedy.
    machine.run(&["systemctl", "stop", "reeve-agent"]);
    machine.shell("chmod 644 /var/lib/reeve-agent/identity/key.pem");
    machine.refuse(&["systemctl", "start", "reeve-agent"]);
    let said = machine.run(&["journalctl", "--unit=reeve-agent", "--lines=20", "--no-pager"]);
    assert!(said.contains("chmod 0600"), "{said}");
    machine.shell("chmod 600 /var/lib/reeve-agent/identity/key.pem");
    // A machine that died while the identity was being exchanged: the start ends the exchange.
    machine.run(&["systemctl", "stop", "reeve-agent"]);
    machine.shell("mv /var/lib/reeve-agent/identity /var/lib/reeve-agent/identity.old");
    machine.run(&["systemctl", "start", "reeve-agent"]);
    site.wait_for_connection("machine");
}

/// What happened to one VM is read with journalctl, on the coordinator and on its host.
pub(crate) fn story_is_read_by_vm(site: &Site) {
    let Running { id, .. } = site.running("web-1");
    let story = site.machine.run(&["journalctl", "--no-pager", "--catalog", &format!("REEVE_VM={id}")]);
    for daemon in DAEMONS {
        assert!(story.contains(&format!("{daemon}[")), "nothing of {daemon} in:\n{story}");
    }
}

/// A good configuration is taken up; a wrong one fails the reload with file and line, and nothing changes.
pub(crate) fn reload(site: &Site) {
    let machine = &site.machine;
    let before: Vec<i32> = DAEMONS.iter().map(|daemon| machine.main_process(daemon)).collect();
    machine.shell("printf '\\nsample-interval = 3 seconds\\n' >>/etc/reeve/coordinator.conf");
    machine.run(&["systemctl", "reload", "reeve-coordinator"]);
    wait_for_line(site, "reeve-coordinator", "the configuration was read anew");
    machine.shell("printf 'colour = red\\n' >>/etc/reeve/coordinator.conf");
    machine.refuse(&["systemctl", "reload", "reeve-coordinator"]);
    wait_for_line(site, "reeve-coordinator", "colour");
    machine.shell("sed -i /colour/d /etc/reeve/coordinator.conf");
    machine.run(&["systemctl", "reload", "reeve-coordinator"]);
    machine.shell("printf 'log-level = debug\\n' >>/etc/reeve/agent.conf");
    machine.run(&["systemctl", "reload", "reeve-agent"]);
    wait_for_line(site, "reeve-agent", "the configuration was read anew");
    for daemon in DAEMONS {
        assert_eq!(machine.property(daemon, "ActiveState"), "active");
    }
    let after: Vec<i32> = DAEMONS.iter().map(|daemon| machine.main_process(daemon)).collect();
    assert_eq!(before, after, "a reload is no restart");
}

fn wait_for_line(site: &Site, unit: &str, words: &str) {
    let unit = format!("--unit={unit}");
    poll_until(&format!("{words:?} in the journal"), RESTART_PATIENCE, || {
        let said = site.machine.run(&["journalctl", &unit, "--lines=50", "--no-pager"]);
        Ok(said.contains(words).then_some(()))
    })
    .unwrap();
}

/// The sandbox as systemd rates it, on the units as they are installed.
pub(crate) fn hardening(site: &Site) {
    for (daemon, most) in DAEMONS.iter().zip(EXPOSURE_MAX) {
        let report = site.machine.run(&["systemd-analyze", "security", "--no-pager", daemon]);
        let line = report.lines().find(|line| line.contains("Overall exposure level")).unwrap();
        let level: f64 = line.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
        println!("{}", line.trim());
        assert!(level <= most, "{report}");
    }
}

/// How long the daemons take from their process to being ready, for whoever reads the test's output.
fn tell_start_times(site: &Site) {
    for daemon in DAEMONS {
        let moment = |name| -> u64 { site.machine.property(daemon, name).parse().unwrap() };
        let (begun, ready) =
            (moment("ExecMainStartTimestampMonotonic"), moment("ActiveEnterTimestampMonotonic"));
        println!("{daemon} was ready {} ms after its process began", ready.saturating_sub(begun) / 1000);
    }
}

/// Restarts and kills of everything, libvirt included.
pub(crate) fn daemons_restart_and_die(site: &Site) {
    let machine = &site.machine;
    let before = site.running("web-1");
    for unit in ["reeve-agent", "reeve-coordinator", "libvirtd"] {
        machine.run(&["systemctl", "restart", unit]);
    }
    tell_start_times(site);
    site.wait_for_connection("machine");
    for daemon in DAEMONS {
        let process = machine.main_process(daemon);
        machine.run(&["systemctl", "kill", "--signal=KILL", daemon]);
        wait_for_another_process(site, daemon, process);
    }
    for daemon in DAEMONS {
        machine.run(&["systemctl", "stop", daemon]);
    }
    assert_eq!(machine.run(&["pgrep", "--full", &format!("qemu-system.*{}", before.id)]), before.process);
    for daemon in DAEMONS.iter().rev() {
        machine.run(&["systemctl", "start", daemon]);
    }
    site.wait_for_connection("machine");
    site.wait_for_connection("old");
    wait_until_running(site, "web-1");
    assert_eq!(site.running("web-1"), before);
}

/// A daemon that hangs gives no signs of life and is replaced.
pub(crate) fn hanging_daemons_are_replaced(site: &Site) {
    let machine = &site.machine;
    let before = site.running("web-1");
    for daemon in DAEMONS {
        let drop_in = format!("/etc/systemd/system/{daemon}.service.d/watchdog.conf");
        machine.write(&drop_in, "[Service]\nWatchdogSec=6\nTimeoutAbortSec=2\n");
    }
    machine.run(&["systemctl", "daemon-reload"]);
    for daemon in DAEMONS {
        machine.run(&["systemctl", "restart", daemon]);
    }
    site.wait_for_connection("machine");
    for daemon in DAEMONS {
        let process = machine.main_process(daemon);
        machine.run(&["kill", &format!("-{}", Signal::SIGSTOP as i32), &process.to_string()]);
        wait_for_another_process(site, daemon, process);
        let said = machine.run(&["journalctl", &format!("--unit={daemon}"), "--lines=40", "--no-pager"]);
        assert!(said.contains("Watchdog timeout"), "{said}");
        machine.run(&["rm", "-r", &format!("/etc/systemd/system/{daemon}.service.d")]);
    }
    machine.run(&["systemctl", "daemon-reload"]);
    for daemon in DAEMONS {
        machine.run(&["systemctl", "restart", daemon]);
    }
    site.wait_for_connection("machine");
    wait_until_running(site, "web-1");
    assert_eq!(site.running("web-1"), before);
}

fn wait_for_another_process(site: &Site, daemon: &str, process: i32) {
    let replaced = poll_until(&format!("{daemon} to be started anew"), RESTART_PATIENCE, || {
        let is_new = ![0, process].contains(&site.machine.main_process(daemon));
        Ok((is_new && site.machine.property(daemon, "ActiveState") == "active").then_some(()))
    });
    if let Err(error) = replaced {
        let said = site.machine.run(&["journalctl", &format!("--unit={daemon}"), "--lines=40", "--no-pager"]);
        panic!("{error:#}:\n{said}");
    }
    site.wait_for_connection("machine");
}

/// A VM is unknown until its host has reported again.
pub(crate) fn wait_until_running(site: &Site, configuration: &str) {
    poll_until(&format!("{configuration} to run"), RESTART_PATIENCE, || {
        Ok((site.ask(&["vm", "show", configuration])["state"] == "running").then_some(()))
    })
    .unwrap();
}
