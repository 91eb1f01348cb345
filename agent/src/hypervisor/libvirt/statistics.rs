//! Owns how libvirt's bulk statistics become samples of our VMs.

use reeve_common::ids::VmId;
use reeve_common::units::Bytes;
use reeve_common::utilization::VmSample;
use virt::connect::Connect;
use virt::sys;

use super::failure::Failure;
use super::ffi::{self, StatisticsRecord};

/// What is asked for.
const GROUPS: u32 = sys::VIR_DOMAIN_STATS_CPU_TOTAL
    | sys::VIR_DOMAIN_STATS_BALLOON
    | sys::VIR_DOMAIN_STATS_INTERFACE
    | sys::VIR_DOMAIN_STATS_BLOCK;
/// Running domains; and of one that is busy only what can be told at once, so that a stuck VM does not hide the rest.
const FLAGS: u32 =
    sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;

/// The samples of all running domains, whoever they belong to.
pub(super) fn samples(connect: &Connect) -> Result<Vec<VmSample>, Failure> {
    Ok(ffi::statistics(connect, GROUPS, FLAGS, is_wanted)?.iter().map(sample).collect())
}

/// What a sample is made of.
fn is_wanted(name: &str) -> bool {
    matches!(name, "cpu.time" | "balloon.rss")
        || [".rd.bytes", ".wr.bytes", ".rx.bytes", ".tx.bytes"].iter().any(|end| name.ends_with(end))
}

fn sample(record: &StatisticsRecord) -> VmSample {
    let one =
        |name: &str| record.values.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value);
    let sum = |group: &str, name: &str| {
        let wanted = |field: &str| {
            let rest = field.strip_prefix(group).and_then(|rest| rest.strip_prefix('.'));
            let number =
                rest.and_then(|rest| rest.strip_suffix(name)).and_then(|rest| rest.strip_suffix('.'));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let values = record.values.iter().filter(|(field, _)| wanted(field));
        Bytes(values.fold(0_u64, |sum, (_, value)| sum.saturating_add(*value)))
    };
    VmSample {
        vm: VmId(record.domain),
        cpu_milliseconds: one("cpu.time") / 1_000_000,
        memory_resident: Bytes(one("balloon.rss").saturating_mul(1024)).mebibytes(),
        disk_read: sum("block", "rd.bytes"),
        disk_written: sum("block", "wr.bytes"),
        network_received: sum("net", "rx.bytes"),
        network_sent: sum("net", "tx.bytes"),
    }
}

#[cfg(test)]
mod tests {
    use reeve_common::units::Mebibytes;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn disks_and_interfaces_are_added_up() {
        let values = [
            ("cpu.time", 5_500_000_000),
            ("cpu.user", 1),
            ("balloon.rss", 3 * 1024),
            ("block.count", 2),
            ("block.0.rd.bytes", 10),
            ("block.1.rd.bytes", 20),
            ("block.10.rd.bytes", u64::MAX),
            ("block.0.wr.bytes", 7),
            ("block.0.rd.reqs", 1000),
            ("net.0.rx.bytes", 1),
            ("net.1.tx.bytes", 2),
        ];
        let wanted = values.iter().filter(|(name, _)| is_wanted(name));
        let values = wanted.map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let sample = sample(&StatisticsRecord { domain: Uuid::nil(), values });
        assert_eq!(sample.cpu_milliseconds, 5500);
        assert_eq!(sample.memory_resident, Mebibytes(3));
        assert_eq!((sample.disk_read, sample.disk_written), (Bytes(u64::MAX), Bytes(7)));
        assert_eq!((sample.network_received, sample.network_sent), (Bytes(1), Bytes(2)));
    }

    #[test]
    fn a_busy_domain_has_a_sample_all_the_same() {
        let sample = sample(&StatisticsRecord { domain: Uuid::nil(), values: Vec::new() });
        assert_eq!(sample.memory_resident, Mebibytes(0));
    }
}
