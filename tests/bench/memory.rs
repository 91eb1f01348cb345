//! What the scheduler keeps in memory: 100,000 hosts, 1,000,000 VMs of 2,000 owners, and the scores of 100 setups on all hosts.
//!
//! The figure is by how much a process of its own grows (resident memory, as the kernel counts it) from before the first
//! host to after the last decision, so that it holds everything: descriptions, VMs, scores, and what the allocator wastes.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::figures::print;
use super::workload::Workload;

const HOSTS: u32 = 100_000;
const VMS: usize = 1_000_000;

/// The name by which this program is told to measure itself.
pub(crate) const HERE: &str = "memory-of-this-process";

/// Measures in another process: in this one, what other figures left behind would be used again.
pub(crate) fn measure() -> Result<()> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let status = Command::new(program).arg(HERE).status().context("it cannot be started once more")?;
    ensure!(status.success(), "measuring memory failed: {status}");
    Ok(())
}

/// Measures in this process.
pub(crate) fn measure_here() -> Result<()> {
    let before = super::figures::resident_mebibytes("self")?;
    let mut workload = Workload::empty(HOSTS)?;
    while workload.vms.len() < VMS {
        workload.put_anywhere()?;
    }
    workload.ask_for_all();
    // The list of VMs is the benchmark's own.
    let own = workload.vms.capacity() * size_of_val(&workload.vms[0]);
    let grown = super::figures::resident_mebibytes("self")? - before;
    #[allow(clippy::cast_precision_loss)] // some mebibytes
    print(&format!("memory/{HOSTS}"), grown - own as f64 / f64::from(1 << 20), "MiB");
    Ok(())
}
