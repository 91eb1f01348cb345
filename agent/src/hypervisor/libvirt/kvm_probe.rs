//! Owns the proof that guests make progress under KVM on this host.
//!
//! `/dev/kvm` may open, libvirt may offer KVM, firmware may even run, and a guest's kernel still takes minutes for what
//! should be milliseconds: on nested or emulated KVM. So a tiny guest is run once: a boot sector that enters protected
//! mode, counts to 50 million, writes a mark into the next sector of its disk and resets the machine. With hardware
//! virtualisation this ends a second after its start, with software emulation in half a second more; the mark shows
//! that it was the guest which came to an end, and not QEMU.
//!
//! What it does not prove: that a particular operating system boots. What it costs: one short transient domain of 32
//! MiB and one volume of 1 MiB in a file pool of the host, both gone afterwards. If the agent dies in between, libvirt
//! ends the domain with the connection, and the volume is used again by the next probe.

use std::time::Duration;

use reeve_common::ids::VmId;
use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::storage_pool::StoragePool;
use virt::storage_vol::StorageVol;
use virt::sys;

use super::super::xml::{Element, element};
use super::domain_xml::{ARCHITECTURE, DiskPlace};
use super::failure::{self, Failure, failed};
use super::{domains, probe_domain, storage};

/// What the probe's domain and volume are called; a part that is the host's own follows.
pub(super) const NAME: &str = "reeve-kvm-probe";
/// How long the guest may take: ten times what it needs on a busy host.
pub(super) const GUEST_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The smallest disk whose geometry firmware can make sense of, with room to spare.
const DISK_LENGTH: u64 = 1 << 20;
const SECTOR_LENGTH: usize = 512;
/// What the guest writes into the second sector when it has come to its end. It is a part of [`BOOT_CODE`] as well.
const MARK: &[u8] = b"reeve: a guest ran";

/// The boot sector's code and data, loaded by firmware to 0x7c00. In the assembler's words:
///
/// ```text
///          cli; cld; ds = es = ss = 0; sp = 0x7c00; ljmp $0, $1f
///       1: drive = dl; lgdt gdtr; cr0 |= 1; ljmp $8, $protected
///          ; 32 bits
/// protected: ds = 16; ecx = 50_000_000
///       2: dec ecx; jnz 2b; ljmp $24, $back
///          ; 16 bits
///    back: ds = 32; cr0 &= ~1; ljmp $0, $3f
///       3: ds = es = ss = 0; sti
///          ah = 3 (write), al = 1 sector, ch:cl = cylinder 0, sector 2, dl = drive, dh = head 0, bx = mark; int $0x13
///          outb $0x06, $0xcf9 (reset)
///       4: hlt; jmp 4b
///     gdt: null, 32-bit code, 32-bit data, 16-bit code, 16-bit data
///    gdtr: 39, gdt      drive: 0      mark: "reeve: a guest ran"
/// ```
const BOOT_CODE: [u8; 186] = [
    0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0xea, 0x12, 0x7c, //
    0x00, 0x00, 0x88, 0x16, 0xa6, 0x7c, 0x0f, 0x01, 0x16, 0xa0, 0x7c, 0x0f, 0x20, 0xc0, 0x0c, 0x01, //
    0x0f, 0x22, 0xc0, 0xea, 0x28, 0x7c, 0x08, 0x00, 0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0xb9, 0x80, //
    0xf0, 0xfa, 0x02, 0x49, 0x75, 0xfd, 0xea, 0x3d, 0x7c, 0x00, 0x00, 0x18, 0x00, 0xb8, 0x20, 0x00, //
    0x8e, 0xd8, 0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0, 0xea, 0x4f, 0x7c, 0x00, 0x00, 0x31, //
    0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xfb, 0xb8, 0x01, 0x03, 0xb9, 0x02, 0x00, 0x8a, 0x16, //
    0xa6, 0x7c, 0xb6, 0x00, 0xbb, 0xa7, 0x7c, 0xcd, 0x13, 0xb0, 0x06, 0xba, 0xf9, 0x0c, 0xee, 0xf4, //
    0xeb, 0xfd, 0x8d, 0xb4, 0x00, 0x00, 0x66, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, //
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xcf, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00, //
    0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0x00, 0x00, 0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0x00, 0x00, //
    0x27, 0x00, 0x78, 0x7c, 0x00, 0x00, 0x00, 0x72, 0x65, 0x65, 0x76, 0x65, 0x3a, 0x20, 0x61, 0x20, //
    0x67, 0x75, 0x65, 0x73, 0x74, 0x20, 0x72, 0x61, 0x6e, 0x00,
];

/// A probe that is running.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    vm: VmId,
    pool: String,
    volume: String,
}

/// How a probe begins.
pub(super) enum Beginning {
    /// With its guest.
    Begun(Probe),
    /// Not at all: libvirt says that there is no such accelerator.
    NotOffered(String),
}

/// Whether libvirt offers this accelerator, and why not.
pub(super) fn offer(connect: &Connect, domain_type: &str) -> Result<(), String> {
    let capabilities =
        connect.domain_capabilities(None, Some(ARCHITECTURE), Some("q35"), Some(domain_type), 0);
    capabilities.map(drop).map_err(|error| failure::words(&error))
}

/// Starts the guest under the given domain type (`kvm`; the tests say `qemu`).
pub(super) fn begin(connect: &Connect, domain_type: &str) -> Result<Beginning, Failure> {
    if let Err(why) = offer(connect, domain_type) {
        return Ok(Beginning::NotOffered(why));
    }
    let pool = file_pool(connect)?;
    let volume = format!("{NAME}-{}", host_uuid(connect)?);
    let path = prepare_disk(connect, &pool, &volume)?;
    let vm = VmId::random();
    let document = domain(vm, domain_type, &path).to_document();
    connect.create_domain_xml(&document, sys::VIR_DOMAIN_START_AUTODESTROY)?;
    Ok(Beginning::Begun(Probe { vm, pool: pool.name()?, volume }))
}

/// Whether the guest has come to its end.
pub(super) fn has_ended(connect: &Connect, probe: &Probe) -> Result<bool, Failure> {
    Ok(domains::lookup(connect, probe.vm)?.is_none())
}

/// Ends the probe, and tells whether the guest has left its mark.
pub(super) fn finish(connect: &Connect, probe: &Probe) -> Result<bool, Failure> {
    if let Some(domain) = domains::lookup(connect, probe.vm)? {
        match domain.destroy().map_err(Failure::from) {
            Err(error) if !error.is(ErrorNumber::NoDomain) => return Err(error),
            _ => {}
        }
    }
    let pool = connect.lookup_storage_pool_by_name(&probe.pool)?;
    let volume = storage::lookup_volume(&pool, &probe.volume)?
        .ok_or_else(|| failed("probing KVM", "the probe's volume is gone"))?;
    let sectors = storage::read(connect, &volume, 0, 2 * SECTOR_LENGTH)?;
    volume.delete(0)?;
    Ok(sectors.get(SECTOR_LENGTH..).is_some_and(|second| second.starts_with(MARK)))
}

/// Some started pool of files with enough room.
fn file_pool(connect: &Connect) -> Result<StoragePool, Failure> {
    let kinds = sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
        | sys::VIR_CONNECT_LIST_STORAGE_POOLS_DIR
        | sys::VIR_CONNECT_LIST_STORAGE_POOLS_FS
        | sys::VIR_CONNECT_LIST_STORAGE_POOLS_NETFS;
    for pool in connect.list_all_storage_pools(kinds)? {
        if pool.info()?.available >= DISK_LENGTH {
            return Ok(pool);
        }
    }
    Err(failed("probing KVM", "no pool of files is started"))
}

/// What tells two hosts that share a pool apart.
fn host_uuid(connect: &Connect) -> Result<String, Failure> {
    let capabilities = connect.capabilities()?;
    let uuid = roxmltree::Document::parse(&capabilities).ok().and_then(|document| {
        let host = document.root_element().children().find(|node| node.has_tag_name("host"))?;
        let uuid = host.children().find(|node| node.has_tag_name("uuid"))?.text()?;
        uuid::Uuid::parse_str(uuid.trim()).ok()
    });
    let uuid = uuid.ok_or_else(|| failed("probing KVM", "libvirt does not tell the host's UUID"))?;
    Ok(uuid.to_string())
}

fn prepare_disk(connect: &Connect, pool: &StoragePool, name: &str) -> Result<String, Failure> {
    let volume = match storage::lookup_volume(pool, name)? {
        Some(volume) => volume,
        None => StorageVol::create_xml(pool, &disk(name).to_document(), 0)?,
    };
    storage::write(connect, &volume, &disk_start())?;
    match storage::describe(&volume)?.place {
        Some(DiskPlace::File(path)) => Ok(path),
        _ => Err(failed("probing KVM", "the probe's volume is no file")),
    }
}

/// The boot sector, and a second one without the mark.
fn disk_start() -> Vec<u8> {
    let mut sectors = BOOT_CODE.to_vec();
    sectors.resize(SECTOR_LENGTH - 2, 0);
    sectors.extend([0x55, 0xaa]);
    sectors.resize(2 * SECTOR_LENGTH, 0);
    sectors
}

fn disk(name: &str) -> Element {
    element("volume")
        .child(element("name").text(name))
        .child(element("capacity").attribute("unit", "bytes").text(DISK_LENGTH))
        .child(element("target").child(element("format").attribute("type", "raw")))
}

fn domain(vm: VmId, domain_type: &str, path: &str) -> Element {
    let disk = element("disk")
        .attribute("type", "file")
        .attribute("device", "disk")
        .child(element("driver").attribute("name", "qemu").attribute("type", "raw"))
        .child(element("source").attribute("file", path))
        .child(element("backingStore"))
        .child(element("target").attribute("dev", "vda").attribute("bus", "virtio"))
        .child(element("boot").attribute("order", 1));
    probe_domain::bare(NAME, vm, domain_type, Some(disk)).child(element("on_reboot").text("destroy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_is_one() {
        let sectors = disk_start();
        assert_eq!(sectors.len(), 2 * SECTOR_LENGTH);
        assert_eq!(sectors[SECTOR_LENGTH - 2..SECTOR_LENGTH], [0x55, 0xaa]);
        assert!(BOOT_CODE.windows(MARK.len()).any(|window| window == MARK));
        assert!(!sectors[SECTOR_LENGTH..].starts_with(MARK), "the mark must be the guest's own");
    }
}
