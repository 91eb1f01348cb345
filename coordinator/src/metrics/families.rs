//! Owns which families there are: names by Prometheus' conventions (base units, `_total` for what only grows), each with
//! its meaning. Alert rules and the dashboard name these and no others, which a test holds.
//!
//! Must not: be renamed lightly: other people's dashboards depend on them.

use super::exposition::{Family, Kind};

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal $help:literal;)+) => {
        $(#[doc = $help] pub const $constant: Family = Family { name: $name, kind: Kind::$kind, help: $help };)+

        /// All of them, in the order in which they are told.
        pub const ALL: &[Family] = &[$($constant),+];
    };
}

families! {
    BUILD_INFO Gauge "reeve_build_info" "Always 1; the label says the coordinator's version.";
    START_TIME Gauge "reeve_start_time_seconds" "When the coordinator started, in seconds since 1970.";
    EPOCH Gauge "reeve_epoch" "The coordinator's term of office; grows with each start.";
    REALMS Gauge "reeve_realms" "Realms in the configuration.";
    HOSTS Gauge "reeve_hosts" "Hosts by realm, state (enabled, no-scheduler, disabled) and connection.";
    HOSTS_DRAINING Gauge "reeve_hosts_draining" "Hosts that are being emptied, or were and are chosen for nothing new.";
    HOSTS_BLIND Gauge "reeve_hosts_libvirt_unreachable" "Connected hosts whose agent does not reach its libvirt.";
    HOST_INFO Gauge "reeve_host_info" "Always 1; labels say what a host is. Only up to 2000 hosts.";
    HOST_CONNECTED Gauge "reeve_host_connected" "Whether a host's agent is heard: 1 or 0. Only up to 2000 hosts.";
    HOST_SERIES_LEFT_OUT Gauge "reeve_host_series_left_out" "Hosts that are not told one by one because there are too many.";
    VMS Gauge "reeve_vms" "VMs whose life is not over, by realm and recorded state.";
    VMS_ON_LOST_HOSTS Gauge "reeve_vms_on_lost_hosts" "VMs on hosts that are lost: how they do is unknown.";
    CAPACITY_CORES Gauge "reeve_capacity_cores" "Processor time that VMs may be promised, by realm and profile, in cores.";
    USED_CORES Gauge "reeve_used_cores" "Processor time that is promised to VMs, by realm and profile, in cores.";
    CAPACITY_MEMORY Gauge "reeve_capacity_memory_bytes" "Memory that VMs may be promised, by realm and profile.";
    USED_MEMORY Gauge "reeve_used_memory_bytes" "Memory that is promised to VMs, by realm and profile.";
    CAPACITY_DEVICES Gauge "reeve_capacity_devices" "Devices that VMs may be promised, by realm, profile and class.";
    USED_DEVICES Gauge "reeve_used_devices" "Devices that are promised to VMs, shares of them as fractions.";
    DECISIONS Counter "reeve_decisions_total" "Decisions where a VM goes, by outcome (placed, unplaceable).";
    REFUSALS Counter "reeve_refusals_total" "Decisions that found no host, by each reason that kept some host out.";
    DECISION_TIME Histogram "reeve_decision_duration_seconds" "How long a decision took, with its explanation.";
    WRITE_TIME Histogram "reeve_store_write_duration_seconds" "How long it took until a change was durable.";
    WRITES_FAILED Counter "reeve_store_writes_failed_total" "Changes that the store did not take.";
    COMMAND_TIME Histogram "reeve_command_duration_seconds" "From a command to the agent's answer.";
    COMMANDS_FAILED Counter "reeve_commands_failed_total" "Commands without an answer, or refused, by outcome.";
    AGENTS_CONNECTED Counter "reeve_agent_connections_total" "Connections of agents that were welcomed.";
    AGENTS_DISCONNECTED Counter "reeve_agent_disconnections_total" "Connections of agents that ended.";
    AGENTS_REFUSED Counter "reeve_agent_refusals_total" "Agents that were turned away after they had said who they are.";
    AGENTS_WAITING Gauge "reeve_agents_waiting" "Peers in the line at the agents' port, waiting for their handshake.";
    STORE_SIZE Gauge "reeve_store_size_bytes" "Size of the store, by file (database, write-ahead-log).";
    STORE_FREE Gauge "reeve_store_filesystem_free_bytes" "What the coordinator may still write where its store is.";
    STORE_SPACE Gauge "reeve_store_filesystem_size_bytes" "The size of the file system where the store is.";
    CERTIFICATE_DAYS Gauge "reeve_certificate_days_left" "Days until a certificate expires, by certificate (authority, server; host: the connected host's that expires first).";
    WARNINGS Gauge "reeve_warnings" "Standing warnings that nobody has acknowledged, by severity.";
    RESIDENT_MEMORY Gauge "process_resident_memory_bytes" "Memory that the coordinator holds.";
    CPU_SECONDS Counter "process_cpu_seconds_total" "Processor time that the coordinator has used.";
    OPEN_FILES Gauge "process_open_fds" "File descriptors that are open.";
    OPEN_FILES_MAX Gauge "process_max_fds" "File descriptors that may be open.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let names: BTreeSet<&str> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name stands twice");
        for family in ALL {
            let Family { name, kind, help } = *family;
            assert!(name.starts_with("reeve_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}: _total is for counters");
            assert!(
                kind != Kind::Histogram || name.ends_with("_seconds"),
                "{name}: a histogram is of seconds"
            );
            assert!(help.ends_with('.') && help.len() > 10, "{name}: {help:?} says nothing");
            for wrong in ["_ms", "_milli", "_mib", "_kib", "_minutes", "_hours"] {
                assert!(!name.contains(wrong), "{name} is not in a base unit");
            }
        }
    }
}
