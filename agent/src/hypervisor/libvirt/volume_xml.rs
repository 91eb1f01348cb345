//! Owns libvirt's volume XML: reading what a volume is, and saying what one is to be.
//!
//! Must not: ask libvirt. What is read may describe a file that a guest or a stranger wrote.

use reeve_common::ids::VolumeName;
use reeve_common::storage::{DiskFormat, NewVolume, Volume};
use reeve_common::units::Bytes;

use super::super::xml::element;
use super::domain_xml::DiskPlace;

/// What libvirt tells of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VolumeFacts {
    pub(super) name: String,
    /// Where it is; none for volumes that are neither file nor block device.
    pub(super) place: Option<DiskPlace>,
    pub(super) capacity: Bytes,
    pub(super) allocation: Bytes,
    pub(super) format: String,
    /// The file or device below it.
    pub(super) backing: Option<String>,
    /// When it was last changed, as libvirt writes it; only ever compared.
    pub(super) modified: String,
}

impl VolumeFacts {
    /// Reads a volume's description; `None` when it is not one.
    pub(super) fn read(document: &str) -> Option<Self> {
        let document = roxmltree::Document::parse(document).ok()?;
        let root = document.root_element();
        let find = |path: &[&str]| {
            path.iter().try_fold(root, |node, name| {
                node.children().find(|child| child.is_element() && child.has_tag_name(*name))
            })
        };
        let text = |path: &[&str]| find(path).and_then(|node| node.text()).map(|text| text.trim().to_owned());
        let bytes = |path: &[&str]| text(path).and_then(|number| number.parse().ok()).map(Bytes);
        let path = text(&["target", "path"]);
        let place = match root.attribute("type") {
            Some("file") => path.map(DiskPlace::File),
            Some("block") => path.map(DiskPlace::Block),
            _ => None,
        };
        Some(Self {
            name: text(&["name"])?,
            place,
            capacity: bytes(&["capacity"])?,
            allocation: bytes(&["allocation"]).unwrap_or_default(),
            // Volumes of pools that have no formats (a logical volume, …) are their bytes.
            format: find(&["target", "format"])
                .and_then(|node| node.attribute("type"))
                .unwrap_or("raw")
                .to_owned(),
            backing: text(&["backingStore", "path"]),
            modified: text(&["target", "timestamps", "mtime"]).unwrap_or_default(),
        })
    }

    /// As it is reported; `None` when its name could not be spoken of.
    pub(super) fn report(&self) -> Option<Volume> {
        Some(Volume {
            name: VolumeName::new(self.name.clone()).ok()?,
            capacity: self.capacity,
            allocation: self.allocation,
            format: self.format.clone(),
        })
    }
}

/// An empty volume.
pub(super) fn empty_volume(new: &NewVolume) -> String {
    let allocation = if new.lazy { Bytes(0) } else { new.capacity };
    volume(new.name.as_str(), new.capacity, allocation, new.format.as_str()).to_document()
}

/// A file without content that libvirt knows as a volume.
pub(super) fn empty_file(name: &str) -> String {
    volume(name, Bytes(0), Bytes(0), DiskFormat::Raw.as_str()).to_document()
}

/// A copy-on-write child of an image, with the image's format written down.
pub(super) fn child_volume(
    name: &VolumeName,
    capacity: Bytes,
    image: &str,
    image_format: DiskFormat,
) -> String {
    let backing = element("backingStore")
        .child(element("path").text(image))
        .child(element("format").attribute("type", image_format.as_str()));
    volume(name.as_str(), capacity, Bytes(0), DiskFormat::Qcow2.as_str()).child(backing).to_document()
}

fn volume(name: &str, capacity: Bytes, allocation: Bytes, format: &str) -> super::super::xml::Element {
    element("volume")
        .child(element("name").text(name))
        .child(element("capacity").attribute("unit", "bytes").text(capacity.0))
        .child(element("allocation").attribute("unit", "bytes").text(allocation.0))
        .child(element("target").child(element("format").attribute("type", format)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHILD: &str = "<volume type='file'><name>a</name><key>/p/a</key><source/>
        <capacity unit='bytes'>1024</capacity><allocation unit='bytes'>512</allocation>
        <target><path>/p/a</path><format type='qcow2'/><timestamps><mtime>5.6</mtime></timestamps></target>
        <backingStore><path>/p/image</path><format type='raw'/></backingStore></volume>";

    #[test]
    fn a_volume_is_read() {
        let facts = VolumeFacts::read(CHILD).unwrap();
        assert_eq!(facts.place, Some(DiskPlace::File("/p/a".to_owned())));
        assert_eq!((facts.capacity, facts.allocation), (Bytes(1024), Bytes(512)));
        assert_eq!((facts.format.as_str(), facts.backing.as_deref()), ("qcow2", Some("/p/image")));
        assert_eq!(facts.modified, "5.6");
        assert_eq!(facts.report().unwrap().name.as_str(), "a");
    }

    #[test]
    fn volumes_on_the_network_have_no_place() {
        let facts = VolumeFacts::read(&CHILD.replace("type='file'", "type='network'")).unwrap();
        assert_eq!(facts.place, None);
    }

    #[test]
    fn a_name_that_is_none_is_not_reported() {
        assert_eq!(VolumeFacts::read(&CHILD.replace("<name>a<", "<name>a b<")).unwrap().report(), None);
    }

    #[test]
    fn what_is_written_is_what_was_meant() {
        let child =
            child_volume(&VolumeName::new("child").unwrap(), Bytes(5), "/p/</path><x/>", DiskFormat::Raw);
        let facts = VolumeFacts::read(&child).unwrap();
        assert_eq!(
            (facts.name.as_str(), facts.capacity, facts.format.as_str()),
            ("child", Bytes(5), "qcow2")
        );
        assert_eq!(facts.backing.as_deref(), Some("/p/</path><x/>"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            prop_assert_eq!(VolumeFacts::read(&text), None);
        }
    }
}
