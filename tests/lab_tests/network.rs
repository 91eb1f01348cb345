//! The lab's network, and its partitions.

use anyhow::{Context as _, Result};
use reeve_tests::harness::TestLab;
use reeve_tests::lab::{Direction, Lab, Place};

/// Echo requests sent, a second for each answer, before a place counts as out of reach. The kernel looks at links that
/// came up no more than once a second, and each lab beside this one asks it to: the first of them may be lost.
const ECHOES: usize = 15;

fn one_echo_returns(lab: &Lab, from: &Place, address: std::net::Ipv4Addr) -> bool {
    lab.run(from, &["busybox", "ping", "-c", "1", "-W", "1", &address.to_string()]).is_ok()
}

/// Whether a place that is expected to answer does.
fn reaches(lab: &Lab, from: &Place, address: std::net::Ipv4Addr) -> bool {
    (0..ECHOES).any(|_| one_echo_returns(lab, from, address))
}

/// How many echo requests a place has received in its network namespace.
fn echoes_received(lab: &Lab, place: &Place) -> Result<u64> {
    let counters = lab.run(place, &["cat", "/proc/net/snmp"])?;
    let mut lines = counters.lines().filter(|line| line.starts_with("Icmp:"));
    let (names, values) = (lines.next().context("no names")?, lines.next().context("no values")?);
    let index = names.split(' ').position(|name| name == "InEchos").context("no such counter")?;
    Ok(values.split(' ').nth(index).context("no value")?.parse()?)
}

#[test]
fn every_place_reaches_every_other() -> Result<()> {
    let lab = TestLab::new("network", 2, &[])?;
    let (first, second) = (lab.description().hosts[0].address, lab.description().hosts[1].address);
    let coordinator = lab.description().coordinator_address;
    assert!(reaches(&lab, &lab.host(1), second));
    assert!(reaches(&lab, &lab.host(2), coordinator));
    assert!(reaches(&lab, &Place::Coordinator, first));
    lab.finish()
}

#[test]
fn a_partition_cuts_one_host_until_it_is_healed() -> Result<()> {
    let lab = TestLab::new("partition", 2, &[])?;
    let (coordinator, first) = (lab.description().coordinator_address, lab.host(1));
    lab.heal(&first)?;
    assert_eq!(lab.partition_of(&first)?, None);
    lab.partition(&first, Direction::Both)?;
    assert_eq!(lab.partition_of(&first)?, Some(Direction::Both));
    assert!(!one_echo_returns(&lab, &first, coordinator));
    assert!(reaches(&lab, &lab.host(2), coordinator), "another host was cut off too");
    lab.heal(&first)?;
    assert!(reaches(&lab, &first, coordinator));
    lab.finish()
}

#[test]
fn a_one_way_partition_cuts_one_way() -> Result<()> {
    let lab = TestLab::new("one-way", 1, &[])?;
    let (coordinator, host) = (lab.description().coordinator_address, lab.host(1));
    assert!(reaches(&lab, &host, coordinator));

    let before = echoes_received(&lab, &Place::Coordinator)?;
    lab.partition(&host, Direction::Out)?;
    assert_eq!(lab.partition_of(&host)?, Some(Direction::Out));
    assert!(!one_echo_returns(&lab, &host, coordinator));
    assert_eq!(echoes_received(&lab, &Place::Coordinator)?, before, "its words still arrived");

    lab.partition(&host, Direction::In)?;
    assert_eq!(lab.partition_of(&host)?, Some(Direction::In));
    assert!(!one_echo_returns(&lab, &host, coordinator));
    assert_eq!(echoes_received(&lab, &Place::Coordinator)?, before + 1, "its words did not arrive");

    lab.heal(&host)?;
    assert!(reaches(&lab, &host, coordinator));
    lab.finish()
}
