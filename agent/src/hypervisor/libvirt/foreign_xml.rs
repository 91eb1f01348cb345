//! Owns what the definition of somebody else's domain says that decides whether it can be adopted: who manages it, and
//! which disks it has. Pure.
//!
//! Must not: guess. A definition that cannot be read is an error, never one without disks.

use reeve_common::text::{TEXT_LENGTH_MAX, printable};

use super::super::ledger_xml::NAMESPACE;

/// What desktop tools note about the guest's operating system. It manages nothing.
const NOTES: &str = "http://libosinfo.org/";

/// The longest namespace told; those of known systems have under fifty characters.
const NAMESPACE_LENGTH_MAX: usize = 100;

/// Where a disk's bytes are, as the definition says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DiskSource {
    /// A path on the host.
    Path(String),
    /// A volume of a pool.
    Volume { pool: String, volume: String },
    /// Anything else, such as a network's, in words.
    Other(String),
    /// A drive without a medium.
    Nothing,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignDisk {
    pub(super) source: DiskSource,
    pub(super) read_only: bool,
}

/// Why a definition is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its definition cannot be read: {0}")]
pub(super) struct UnreadableDefinition(String);

/// The namespace of the system that manages the domain, made printable; none when nobody does.
pub(super) fn managed_by(definition: &str) -> Result<Option<String>, UnreadableDefinition> {
    let document = parse(definition)?;
    let metadata = document.root_element().children().filter(|node| node.has_tag_name("metadata"));
    let namespaces = metadata.flat_map(|metadata| metadata.children()).filter_map(|node| {
        let namespace = node.is_element().then(|| node.tag_name().namespace())??;
        (namespace != NAMESPACE && !namespace.starts_with(NOTES)).then_some(namespace)
    });
    Ok(namespaces.map(|namespace| printable(namespace, NAMESPACE_LENGTH_MAX)).next())
}

/// Its disks, in the definition's order. Drives without a medium are left out.
pub(super) fn disks(definition: &str) -> Result<Vec<ForeignDisk>, UnreadableDefinition> {
    let document = parse(definition)?;
    let devices = document.root_element().children().filter(|node| node.has_tag_name("devices"));
    let disks = devices.flat_map(|devices| devices.children()).filter(|node| node.has_tag_name("disk"));
    let disks = disks.map(|disk| {
        let device = disk.attribute("device").unwrap_or("disk");
        let has_medium_to_write = matches!(device, "disk" | "lun" | "floppy");
        let read_only = !has_medium_to_write || disk.children().any(|child| child.has_tag_name("readonly"));
        ForeignDisk { source: source(disk), read_only }
    });
    Ok(disks.filter(|disk| disk.source != DiskSource::Nothing).collect())
}

fn source(disk: roxmltree::Node<'_, '_>) -> DiskSource {
    let Some(source) = disk.children().find(|child| child.has_tag_name("source")) else {
        return DiskSource::Nothing;
    };
    let value = |name| source.attribute(name).map(str::to_owned);
    if let Some(path) = value("file").or_else(|| value("dev")) {
        return DiskSource::Path(path);
    }
    if let (Some(pool), Some(volume)) = (value("pool"), value("volume")) {
        return DiskSource::Volume { pool, volume };
    }
    let kind = disk.attribute("type").unwrap_or("unknown");
    let parts: Vec<String> =
        source.attributes().map(|attribute| format!("{}={}", attribute.name(), attribute.value())).collect();
    DiskSource::Other(printable(&format!("{kind}:{}", parts.join(",")), TEXT_LENGTH_MAX))
}

fn parse(definition: &str) -> Result<roxmltree::Document<'_>, UnreadableDefinition> {
    roxmltree::Document::parse(definition)
        .map_err(|error| UnreadableDefinition(printable(&error.to_string(), TEXT_LENGTH_MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEFINITION: &str = "<domain type='kvm'><name>legacy</name>
      <metadata>
        <libosinfo:libosinfo xmlns:libosinfo='http://libosinfo.org/xmlns/libvirt/domain/1.0'/>
        OTHERS
      </metadata>
      <devices>
        <disk type='file' device='disk'><source file='/srv/a.qcow2'/><target dev='vda'/></disk>
        <disk type='block' device='disk'><source dev='/dev/vg/b'/><readonly/></disk>
        <disk type='volume' device='disk'><source pool='vms' volume='c'/></disk>
        <disk type='network' device='disk'><source protocol='rbd' name='p/d'><host name='x'/></source></disk>
        <disk type='file' device='cdrom'><source file='/srv/cd.iso'/></disk>
        <disk type='file' device='cdrom'><target dev='sda'/></disk>
        <interface type='network'/>
      </devices></domain>";

    #[test]
    fn every_disk_is_seen_and_what_writes_is_told_apart() {
        let disks = disks(DEFINITION).unwrap();
        let path = |path: &str| DiskSource::Path(path.to_owned());
        let told: Vec<(DiskSource, bool)> =
            disks.into_iter().map(|disk| (disk.source, disk.read_only)).collect();
        let volume = DiskSource::Volume { pool: "vms".to_owned(), volume: "c".to_owned() };
        let expected = [
            (path("/srv/a.qcow2"), false),
            (path("/dev/vg/b"), true),
            (volume, false),
            (DiskSource::Other("network:protocol=rbd,name=p/d".to_owned()), false),
            (path("/srv/cd.iso"), true),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn another_systems_metadata_is_seen_and_notes_are_none() {
        assert_eq!(managed_by(DEFINITION), Ok(None));
        let nova = "<nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'/>";
        let managed = managed_by(&DEFINITION.replace("OTHERS", nova)).unwrap();
        assert_eq!(managed.as_deref(), Some("http://openstack.org/xmlns/libvirt/nova/1.1"));
        let ours = format!("<reeve:vm xmlns:reeve='{NAMESPACE}'/>");
        assert_eq!(managed_by(&DEFINITION.replace("OTHERS", &ours)), Ok(None));
        for bad in ["", "<domain>", "<!DOCTYPE a [<!ENTITY b 'c'>]><domain/>"] {
            assert!(managed_by(bad).is_err() && disks(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = (managed_by(&text), disks(&text));
        }
    }
}
