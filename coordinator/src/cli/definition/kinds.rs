//! Owns what definitions of images, hardware setups and VM configurations may say.

use reeve_common::ids::{
    ConfigurationName, DeviceClass, DriveName, ImageName, NetworkName, RealmName, SetupName, VolumeName,
};
use serde::de::DeserializeOwned;

use super::schema::{Key, Kind, name};
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
    optional("devices", Kind::Counts(name::<DeviceClass>)),
    optional("virt-type", Kind::Word(&["auto", "kvm", "qemu"])),
    optional("machine", Kind::Word(&["q35", "pc"])),
    optional("cpu-model", Kind::Text),
    optional("networks", Kind::Names(name::<NetworkName>)),
    optional("debug", Kind::Object(DEBUG)),
    optional("labels", Kind::Labels),
];

const DEBUG: &[Key] = &[optional("console", Kind::Switch), optional("vnc", Kind::Switch)];

const CONFIGURATION: &[Key] = &[
    required("name", Kind::Name(name::<ConfigurationName>)),
    optional("title", Kind::Text),
    required("setup", Kind::Name(name::<SetupName>)),
    required("owner", Kind::Text),
    required("team", Kind::Text),
    optional("project", Kind::Text),
    optional("drives", Kind::Objects(DRIVE_USE)),
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
