//! Owns the commands about images, hardware setups, VM configurations and drives.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reeve_common::ids::{ConfigurationName, DriveName, ImageName, RealmName, SetupName};
use reeve_common::units::Bytes;

use super::simulation::SimulateArguments;
use crate::api::types::DiskFormat;

/// A file with definitions.
#[derive(Debug, Args)]
pub(in crate::cli) struct CreateFrom {
    /// A file in HOCON or JSON with one definition or a list of them; - is standard input.
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
}

const IMAGE_EXAMPLE: &str = concat!(
    "Examples:\n  reeve image create -f debian.conf\n  cat debian.conf | reeve image create -f -\n\ndebian.conf:\n",
    include_str!("examples/image.conf")
);

const SETUP_EXAMPLE: &str = concat!(
    "Examples:\n  reeve setup create -f small.conf\n  reeve setup create -f -\n\nsmall.conf:\n",
    include_str!("examples/setup.conf")
);

const CONFIGURATION_EXAMPLE: &str = concat!(
    "Examples:\n  reeve config create -f web.conf\n  reeve config create -f -\n\nweb.conf, with two configurations:\n",
    include_str!("examples/configuration.conf")
);

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ImageCommand {
    /// Makes the images described in a file known.
    #[command(after_help = IMAGE_EXAMPLE)]
    Create(CreateFrom),
    /// Lists the images.
    #[command(after_help = "Example:\n  reeve image list")]
    List,
    /// Shows one image.
    #[command(after_help = "Example:\n  reeve image show debian-12")]
    Show {
        /// The image.
        #[arg(value_name = "IMAGE")]
        name: ImageName,
    },
    /// Forgets an image that no setup uses. Its volume stays.
    #[command(after_help = "Example:\n  reeve image delete debian-12")]
    Delete {
        /// The image.
        #[arg(value_name = "IMAGE")]
        name: ImageName,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SetupCommand {
    /// Makes the hardware setups described in a file.
    #[command(after_help = SETUP_EXAMPLE)]
    Create(CreateFrom),
    /// Lists the hardware setups.
    #[command(after_help = "Example:\n  reeve setup list")]
    List,
    /// Shows one hardware setup.
    #[command(after_help = "Example:\n  reeve setup show small")]
    Show {
        /// The setup.
        #[arg(value_name = "SETUP")]
        name: SetupName,
    },
    /// Deletes a hardware setup that no configuration uses.
    #[command(after_help = "Example:\n  reeve setup delete small")]
    Delete {
        /// The setup.
        #[arg(value_name = "SETUP")]
        name: SetupName,
    },
    /// Says where a VM of this setup would go now and why, host by host, or how many fit; also on a fleet that is not there.
    /// Nothing is reserved.
    #[command(after_help = super::simulation::EXAMPLES)]
    Simulate(SimulateArguments),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConfigurationCommand {
    /// Makes the VM configurations described in a file.
    #[command(after_help = CONFIGURATION_EXAMPLE)]
    Create(CreateFrom),
    /// Lists the VM configurations.
    #[command(after_help = "Example:\n  reeve config list")]
    List,
    /// Shows one VM configuration.
    #[command(after_help = "Example:\n  reeve config show web-1")]
    Show {
        /// The configuration.
        #[arg(value_name = "CONFIGURATION")]
        name: ConfigurationName,
    },
    /// Deletes a VM configuration that has no VM.
    #[command(after_help = "Example:\n  reeve config delete web-1")]
    Delete {
        /// The configuration.
        #[arg(value_name = "CONFIGURATION")]
        name: ConfigurationName,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DriveCommand {
    /// Makes an empty drive in a realm's drives pool.
    #[command(
        after_help = "Examples:\n  reeve drive create results --realm primary --owner ann --team physics --size \"20 GiB\"\n  reeve drive create scratch --realm primary --owner ann --team physics --size 5GiB --format raw"
    )]
    Create {
        /// Its name.
        #[arg(value_name = "DRIVE")]
        name: DriveName,
        /// Its realm.
        #[arg(long)]
        realm: RealmName,
        /// Whose it is.
        #[arg(long)]
        owner: String,
        /// The owner's team.
        #[arg(long)]
        team: String,
        /// Its size, with a unit, such as 20GiB.
        #[arg(long, value_name = "SIZE")]
        size: Bytes,
        /// Its volume's format.
        #[arg(long, value_enum, default_value_t)]
        format: DiskFormat,
    },
    /// Lists the drives.
    #[command(after_help = "Example:\n  reeve drive list")]
    List,
    /// Shows one drive.
    #[command(after_help = "Example:\n  reeve drive show results")]
    Show {
        /// The drive.
        #[arg(value_name = "DRIVE")]
        name: DriveName,
    },
    /// Deletes a drive and all that is on it. It may not be in use.
    #[command(after_help = "Example:\n  reeve drive delete results")]
    Delete {
        /// The drive.
        #[arg(value_name = "DRIVE")]
        name: DriveName,
    },
}
