//! Owns what definitions of images, hardware setups and VM configurations may say.

use reeve_common::hardware_profile::HugePageSize;
use reeve_common::ids::{
    ConfigurationName, DriveName, ImageName, NetworkName, ProcessorFeature, RealmName, SetupName, VmId,
    VolumeName,
};
use serde::de::DeserializeOwned;

use super::schema::{Choice, Key, Kind, name};
use crate::api::types::{NewConfiguration, NewImage, NewSetup};

/// A kind of thing that is made from a file.
pub(in crate::cli) trait Defined: DeserializeOwned {
    /// What it is called in messages.
    const WHAT: &'static str;
    /// The keys it may have; sealed in this module's words.
    #[doc(hidden)]
    fn keys() -> &'static [Key];
}

const fn required(name: &'static str, kind: Kind) -> Key {
    Key { name, required: true, kind }
}

const fn optional(name: &'static str, kind: Kind) -> Key {
    Key { name, required: false, kind }
}

const IMAGE: &[Key] = &[
    required("name", Kind::Name(name::<ImageName>)),
    required("realm", Kind::Name(name::<RealmName>)),
    required("volume", Kind::Name(name::<VolumeName>)),
    optional("format", Kind::Word(&["qcow2", "raw"])),
    required("operating-system", Kind::Text),
];

const SETUP: &[Key] = &[
    required("name", Kind::Name(name::<SetupName>)),
    required("realm", Kind::Name(name::<RealmName>)),
    required("image", Kind::Name(name::<ImageName>)),
    required("cores", Kind::Count),
    required("memory", Kind::Size),
    optional("devices", Kind::Devices),
    optional("virt-type", Kind::Word(&["auto", "kvm", "qemu"])),
    optional("machine", Kind::Word(&["q35", "pc"])),
    optional("cpu-model", Kind::Text),
    optional("cpu-features", Kind::Names(name::<ProcessorFeature>)),
    optional("numa-nodes", Kind::Count),
    optional("huge-pages", Kind::Parsed(name::<HugePageSize>, "2 MiB or 1 GiB")),
    optional("host-labels", Kind::LabelValues),
    optional("avoid-host-labels", Kind::LabelValues),
    optional("affinity", Kind::Choices(&AFFINITY)),
    optional("networks", Kind::Names(name::<NetworkName>)),
    optional("debug", Kind::Object(DEBUG)),
    optional("labels", Kind::Labels),
];

const AFFINITY: Choice = Choice {
    words: &[],
    keys: &[optional("together", Kind::Choice(&COMPANIONS)), optional("apart", Kind::Choice(&COMPANIONS))],
    example: "{ apart = owner } or { together = { label { app = db } } }",
};

const COMPANIONS: Choice = Choice {
    words: &["owner", "team"],
    keys: &[optional("label", Kind::Labels), optional("vm", Kind::Parsed(name::<VmId>, "the id of a VM"))],
    example: "owner, team, { label { app = db } } or { vm = ID }",
};

const DEBUG: &[Key] = &[optional("console", Kind::Switch), optional("vnc", Kind::Switch)];

const CONFIGURATION: &[Key] = &[
    required("name", Kind::Name(name::<ConfigurationName>)),
    optional("title", Kind::Text),
    required("setup", Kind::Name(name::<SetupName>)),
    required("owner", Kind::Text),
    required("team", Kind::Text),
    optional("project", Kind::Text),
    optional("drives", Kind::Objects(DRIVE_USE)),
    optional("when-host-lost", Kind::Word(&["restart", "leave", "ask"])),
    optional("priority", Kind::Count),
];

const DRIVE_USE: &[Key] =
    &[required("drive", Kind::Name(name::<DriveName>)), optional("read-only", Kind::Switch)];

impl Defined for NewImage {
    const WHAT: &'static str = "an image";
    fn keys() -> &'static [Key] {
        IMAGE
    }
}

impl Defined for NewSetup {
    const WHAT: &'static str = "a setup";
    fn keys() -> &'static [Key] {
        SETUP
    }
}

impl Defined for NewConfiguration {
    const WHAT: &'static str = "a configuration";
    fn keys() -> &'static [Key] {
        CONFIGURATION
    }
}
