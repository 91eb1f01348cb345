//! Owns the barest domain that starts: what the probes run to find out what libvirt does not say.

use reeve_common::ids::VmId;

use super::super::xml::{Element, element};
use super::domain_xml::ARCHITECTURE;

/// Enough for firmware and a boot sector.
const MEMORY_MEBIBYTES: u32 = 32;

/// A domain called `name` and its id, without anything that is not needed, and with `device` if there is one.
pub(super) fn bare(name: &str, vm: VmId, domain_type: &str, device: Option<Element>) -> Element {
    let system = element("type").attribute("arch", ARCHITECTURE).attribute("machine", "q35").text("hvm");
    let devices = element("devices")
        .child(element("controller").attribute("type", "usb").attribute("model", "none"))
        .child(element("video").child(element("model").attribute("type", "none")))
        .child(element("memballoon").attribute("model", "none"));
    element("domain")
        .attribute("type", domain_type)
        .child(element("name").text(format!("{name}-{vm}")))
        .child(element("uuid").text(vm))
        .child(element("memory").attribute("unit", "MiB").text(MEMORY_MEBIBYTES))
        .child(element("vcpu").text(1))
        .child(element("os").child(system))
        .child(element("features").child(element("acpi")))
        .child(match device {
            Some(device) => devices.child(device),
            None => devices,
        })
}
