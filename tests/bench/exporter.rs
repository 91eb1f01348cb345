//! What the exporter costs that Debian ships for Prometheus and libvirt, on the same host with the same domains, asked as
//! often as the agent samples: the peer that an agent's figure is held against. `packaging/setup-bench.sh` brings it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use reeve_common::clock::{Clock, SystemClock};
use reeve_tests::harness::TestLab;
use reeve_tests::harness::waiting::poll_until;
use reeve_tests::lab::Place;

use super::figures::{print, resident_mebibytes};
use super::hosts::{processor_seconds, share_of_a_core};

const PROGRAM: &str = "prometheus-libvirt-exporter";
/// Where it is unpacked, so that it is no service of this machine's.
const UNPACKED: &str = "/var/cache/reeve-lab/exporter/usr/bin/prometheus-libvirt-exporter";
const ADDRESS: &str = "127.0.0.1:9177";
/// As often as the agent samples.
const INTERVAL: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// The exporter, while it is measured.
struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        // Whoever measures has what they wanted, or has failed already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures it, where it is to be had.
pub(super) fn measure(lab: &TestLab, host: &Place, time: Duration) -> Result<()> {
    let is_there = |program: &&str| Command::new(program).arg("--help").output().is_ok();
    let Some(program) = [PROGRAM, UNPACKED].into_iter().find(is_there) else {
        println!(
            "{PROGRAM} is not there: nothing to hold agent-cpu against (packaging/setup-bench.sh brings it)"
        );
        return Ok(());
    };
    let mut command = lab.command(host, &[program, &format!("--web.listen-address={ADDRESS}")])?;
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("the exporter cannot be started")?;
    let exporter = Exporter(child);
    let ask = || {
        lab.run(
            host,
            &["curl", "--silent", "--fail", "--output", "/dev/null", &format!("http://{ADDRESS}/metrics")],
        )
    };
    poll_until("the exporter to answer", PATIENCE, || Ok(ask().ok().map(drop)))?;
    let pid = pid_of(&exporter)?;
    let used = share_of_a_core(
        || processor_seconds(pid),
        || {
            let clock = SystemClock;
            let until = clock.monotonic() + time;
            while clock.monotonic() < until {
                let next = clock.monotonic() + INTERVAL;
                // One that is too slow to answer is asked the next time.
                let _ = ask();
                std::thread::sleep(next.saturating_duration_since(clock.monotonic()));
            }
        },
    )?;
    print("exporter-cpu/100", used * 100.0, "percent of a core");
    print("exporter-rss/100", resident_mebibytes(&pid.to_string())?, "MiB");
    Ok(())
}

/// The process that serves: the one that was started, or what it has become by entering the host's namespaces.
fn pid_of(exporter: &Exporter) -> Result<i32> {
    let started = i32::try_from(exporter.0.id())?;
    let children =
        std::fs::read_to_string(format!("/proc/{started}/task/{started}/children")).unwrap_or_default();
    Ok(children.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap_or(started))
}
