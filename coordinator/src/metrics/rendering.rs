//! Owns how what was counted and gathered becomes the text that Prometheus reads.
//!
//! Must not: look anything up; values in, text out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::HOST_SERIES_MAX;
use super::exposition::{Exposition, Family, count, length};
use super::families as family;
use super::picture::Picture;
use super::recorder::Recorder;
use super::refusal::REASONS;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The text.
#[must_use]
pub fn render(picture: &Picture, recorder: &Recorder) -> String {
    let mut out = Exposition::default();
    out.family(&family::BUILD_INFO).add(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    out.single(&family::START_TIME, count(picture.started_at.0) / 1000.0);
    out.single(&family::EPOCH, count(picture.epoch.0));
    out.single(&family::REALMS, length(picture.realms));
    hosts(&mut out, picture);
    vms(&mut out, picture);
    capacity(&mut out, picture);
    decisions(&mut out, recorder);
    agents(&mut out, recorder);
    store(&mut out, picture, recorder);
    let mut series = out.family(&family::CERTIFICATE_DAYS);
    let host = picture.host_certificate.map(|expires_at| ("host", expires_at));
    for (certificate, expires_at) in picture.certificates.iter().chain(&host) {
        let left = expires_at.since(picture.now).as_secs_f64() - picture.now.since(*expires_at).as_secs_f64();
        series.add(&[("certificate", certificate)], left / DAY.as_secs_f64());
    }
    let mut series = out.family(&family::WARNINGS);
    for (severity, standing) in &picture.warnings {
        series.add(&[("severity", severity)], length(*standing));
    }
    process(&mut out, picture);
    out.into_text()
}

fn load(counter: &AtomicU64) -> f64 {
    count(counter.load(Ordering::Relaxed))
}

fn hosts(out: &mut Exposition, picture: &Picture) {
    let mut series = out.family(&family::HOSTS);
    for ((realm, state, connection), hosts) in &picture.hosts {
        let labels = [("realm", realm.as_str()), ("state", state), ("connection", connection)];
        series.add(&labels, length(*hosts));
    }
    out.single(&family::HOSTS_DRAINING, length(picture.draining));
    out.single(&family::HOSTS_BLIND, length(picture.blind));
    let told = || picture.host_series.iter().take(HOST_SERIES_MAX);
    let mut series = out.family(&family::HOST_INFO);
    for host in told() {
        let labels = [
            ("host", host.name.as_str()),
            ("realm", host.realm.as_str()),
            ("profile", host.profile.as_str()),
            ("agent_version", &*host.agent_version),
            ("hypervisor", &*host.hypervisor),
        ];
        series.add(&labels, 1.0);
    }
    let mut series = out.family(&family::HOST_CONNECTED);
    for host in told() {
        series.add(&[("host", host.name.as_str())], f64::from(u8::from(host.connected)));
    }
    out.single(&family::HOST_SERIES_LEFT_OUT, length(picture.hosts_left_out));
}

fn vms(out: &mut Exposition, picture: &Picture) {
    let mut series = out.family(&family::VMS);
    for (realm, state, vms) in picture.vms.counts() {
        series.add(&[("realm", realm.as_str()), ("state", state.as_str())], length(vms));
    }
    out.single(&family::VMS_ON_LOST_HOSTS, length(picture.vms_on_lost_hosts));
}

fn capacity(out: &mut Exposition, picture: &Picture) {
    type Number = fn(&super::CapacitySum) -> f64;
    let numbers: [(&Family, Number); 4] = [
        (&family::CAPACITY_CORES, |sum| count(sum.millicores) / 1000.0),
        (&family::USED_CORES, |sum| count(sum.millicores_used) / 1000.0),
        (&family::CAPACITY_MEMORY, |sum| count(sum.memory)),
        (&family::USED_MEMORY, |sum| count(sum.memory_used)),
    ];
    for (family, number) in numbers {
        let mut series = out.family(family);
        for ((realm, profile), sum) in &picture.capacity {
            series.add(&[("realm", realm.as_str()), ("profile", profile.as_str())], number(sum));
        }
    }
    for (family, used) in [(&family::CAPACITY_DEVICES, false), (&family::USED_DEVICES, true)] {
        let mut series = out.family(family);
        for ((realm, profile), sum) in &picture.capacity {
            for (class, (all, promised)) in &sum.devices {
                let labels =
                    [("realm", realm.as_str()), ("profile", profile.as_str()), ("class", class.as_str())];
                series.add(&labels, count(if used { *promised } else { *all }) / 1000.0);
            }
        }
    }
}

fn decisions(out: &mut Exposition, recorder: &Recorder) {
    let mut series = out.family(&family::DECISIONS);
    series.add(&[("outcome", "placed")], load(&recorder.placed));
    series.add(&[("outcome", "unplaceable")], load(&recorder.unplaceable));
    let mut series = out.family(&family::REFUSALS);
    for (reason, counted) in REASONS.iter().zip(&recorder.refusals) {
        series.add(&[("reason", reason)], load(counted));
    }
    recorder.decisions.write(&mut out.family(&family::DECISION_TIME));
}

fn agents(out: &mut Exposition, recorder: &Recorder) {
    recorder.commands.write(&mut out.family(&family::COMMAND_TIME));
    let mut series = out.family(&family::COMMANDS_FAILED);
    series.add(&[("outcome", "refused")], load(&recorder.commands_refused));
    series.add(&[("outcome", "no-answer")], load(&recorder.commands_unanswered));
    out.single(&family::AGENTS_CONNECTED, load(&recorder.agents_connected));
    out.single(&family::AGENTS_DISCONNECTED, load(&recorder.agents_disconnected));
    out.single(&family::AGENTS_REFUSED, load(&recorder.agents_refused));
    out.single(&family::AGENTS_WAITING, length(recorder.agents_waiting().load(Ordering::Relaxed)));
}

fn store(out: &mut Exposition, picture: &Picture, recorder: &Recorder) {
    recorder.writes.write(&mut out.family(&family::WRITE_TIME));
    out.single(&family::WRITES_FAILED, load(&recorder.writes_failed));
    let mut series = out.family(&family::STORE_SIZE);
    if let Some(sizes) = picture.store {
        series.add(&[("file", "database")], count(sizes.database));
        series.add(&[("file", "write-ahead-log")], count(sizes.write_ahead_log));
        out.single(&family::STORE_FREE, count(sizes.free));
        out.single(&family::STORE_SPACE, count(sizes.space));
    }
}

fn process(out: &mut Exposition, picture: &Picture) {
    let Some(process) = picture.process else { return };
    out.single(&family::RESIDENT_MEMORY, count(process.resident));
    out.single(&family::CPU_SECONDS, process.cpu_seconds);
    out.single(&family::OPEN_FILES, count(process.open_files));
    out.single(&family::OPEN_FILES_MAX, count(process.open_files_max));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reeve_common::clock::Timestamp;
    use reeve_common::ids::{HostName, ProfileName, RealmName};

    use super::super::picture::{HostSeries, ProcessFacts, StoreSizes};
    use super::super::recorder::DecisionOutcome;
    use super::*;
    use crate::model::vm_state::VmState;

    fn picture() -> Picture {
        let (realm, profile) = (RealmName::new("r").unwrap(), ProfileName::new("p").unwrap());
        let mut picture = Picture {
            now: Timestamp(86_400_000),
            started_at: Timestamp(1_500),
            hosts: [((realm.clone(), "enabled", "connected"), 3)].into(),
            host_series: vec![HostSeries {
                name: HostName::new("node-1").unwrap(),
                realm: realm.clone(),
                profile: profile.clone(),
                agent_version: "0.1.0".to_owned(),
                hypervisor: "libvirt \"9\"".to_owned(),
                connected: true,
            }],
            certificates: vec![("authority", Timestamp(3 * 86_400_000)), ("server", Timestamp(43_200_000))],
            host_certificate: Some(Timestamp(108_000_000)),
            warnings: [("warning", 2)].into(),
            store: Some(StoreSizes { database: 5, write_ahead_log: 6, free: 7, space: 8 }),
            process: Some(ProcessFacts::default()),
            ..Picture::default()
        };
        picture.vms.enter(&realm, VmState::Running);
        let sum = picture.capacity.entry((realm, profile)).or_default();
        sum.millicores = 1_500;
        sum.devices.insert("a100".parse().unwrap(), (4_000, 250));
        picture
    }

    #[test]
    fn every_family_is_told_once_with_its_help() {
        let text = render(&picture(), &Recorder::default());
        let told: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split(' ').next())
            .collect();
        let declared: BTreeSet<&str> = family::ALL.iter().map(|family| family.name).collect();
        assert_eq!(told.iter().copied().collect::<BTreeSet<&str>>(), declared);
        assert_eq!(told.len(), declared.len(), "a family is told twice");
        assert_eq!(text.matches("# HELP ").count(), told.len());
    }

    #[test]
    fn numbers_are_in_base_units() {
        let recorder = Recorder::default();
        recorder.decided(DecisionOutcome::Unplaceable, Duration::from_micros(30), ["cores: 2 asked"]);
        let text = render(&picture(), &recorder);
        for line in [
            "reeve_start_time_seconds 1.5",
            "reeve_hosts{realm=\"r\",state=\"enabled\",connection=\"connected\"} 3",
            "reeve_host_info{host=\"node-1\",realm=\"r\",profile=\"p\",agent_version=\"0.1.0\",hypervisor=\"libvirt \\\"9\\\"\"} 1",
            "reeve_vms{realm=\"r\",state=\"running\"} 1",
            "reeve_capacity_cores{realm=\"r\",profile=\"p\"} 1.5",
            "reeve_used_devices{realm=\"r\",profile=\"p\",class=\"a100\"} 0.25",
            "reeve_decisions_total{outcome=\"unplaceable\"} 1",
            "reeve_refusals_total{reason=\"cores\"} 1",
            "reeve_decision_duration_seconds_bucket{le=\"0.000025\"} 0",
            "reeve_decision_duration_seconds_bucket{le=\"0.00005\"} 1",
            "reeve_certificate_days_left{certificate=\"authority\"} 2",
            "reeve_certificate_days_left{certificate=\"server\"} -0.5",
            "reeve_certificate_days_left{certificate=\"host\"} 0.25",
            "reeve_warnings{severity=\"warning\"} 2",
            "reeve_store_size_bytes{file=\"write-ahead-log\"} 6",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
    }
}
