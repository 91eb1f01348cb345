//! Owns the bringing up of a lab: the order in which its parts are made, and what is checked before.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::unistd::geteuid;

use super::capabilities;
use super::daemons::Daemon;
use super::description::{HostDescription, Request};
use super::libvirt_files::BRICKS_POOL;
use super::place::Place;
use super::plan;
use super::record::Lab;
use super::workspace::Workspace;
use crate::image::{Builder, Variant};

/// What a lab needs besides the product; `packaging/setup.sh` installs it all.
const PROGRAMS: [&str; 15] = [
    "ip",
    "nft",
    "unshare",
    "nsenter",
    "setpriv",
    "setsid",
    "hostname",
    "virsh",
    "virtlogd",
    "libvirtd",
    "qemu-system-x86_64",
    "qemu-img",
    "dnsmasq",
    "mcopy",
    "syslinux",
];

/// Where programs are looked for.
const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

impl Lab {
    /// Makes a lab of hosts on which libvirt runs and the guest images lie in the bricks pool. The product is not
    /// started yet: see `Lab::found_coordinator` and `Lab::join_host`.
    ///
    /// # Errors
    /// When something cannot be made. What was made by then stays, for a look, until [`Lab::down`].
    pub fn up(request: &Request, workspace: &Workspace, images: &[Variant]) -> Result<Self> {
        check_machine()?;
        let (lab, _lock) = Self::create(request)?;
        let builder = Builder::new(&workspace.images());
        lab.perform(&plan::foundation(lab.description()))?;
        for variant in images {
            lab.add_image(&builder, *variant)?;
        }
        lab.perform(&plan::coordinator(lab.description()))?;
        let kept = workspace.capabilities();
        let mut hosts = lab.description().hosts.iter().peekable();
        // When libvirt has to ask QEMU what it can do, one host asks for all.
        if let Some(first) = hosts.next_if(|_| !capabilities::are_kept(&kept)) {
            lab.make_host(first, &kept)?;
        }
        thread::scope(|scope| {
            let makers: Vec<_> = hosts.map(|host| scope.spawn(|| lab.make_host(host, &kept))).collect();
            makers.into_iter().try_for_each(|maker| {
                maker.join().unwrap_or_else(|_| Err(anyhow!("the thread that made a host failed")))
            })
        })?;
        Ok(lab)
    }

    /// Puts a guest image into the bricks pool under the name `guest-VARIANT.qcow2`; hosts whose libvirt runs already
    /// see it when they refresh the pool.
    ///
    /// # Errors
    /// When it cannot be built or copied.
    pub fn add_image(&self, builder: &Builder, variant: Variant) -> Result<()> {
        let image = builder.image(variant)?;
        let target = self.description().shared().join(BRICKS_POOL).join(image_volume(variant));
        fs::copy(&image, &target)
            .with_context(|| format!("cannot copy the image to {}", target.display()))?;
        Ok(())
    }

    fn make_host(&self, host: &HostDescription, kept: &Path) -> Result<()> {
        let make = || -> Result<()> {
            let place = Place::Host(host.name.clone());
            self.perform(&plan::host(self.description(), host))?;
            capabilities::give(self.description(), &host.name, kept)?;
            self.start(Daemon::Virtlogd, &place)?;
            self.start(Daemon::Libvirtd, &place)?;
            capabilities::keep(self.description(), &host.name, kept)
        };
        make().with_context(|| format!("cannot make {}", host.name))
    }
}

/// The name of a guest image in the bricks pool.
#[must_use]
pub fn image_volume(variant: Variant) -> String {
    format!("guest-{}.qcow2", variant.name())
}

/// Says what is missing before anything is made.
fn check_machine() -> Result<()> {
    if !geteuid().is_root() {
        bail!("a lab makes namespaces and mounts, which needs root; run it with sudo");
    }
    let missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|program| {
            !PROGRAM_DIRECTORIES.iter().any(|directory| Path::new(directory).join(program).exists())
        })
        .collect();
    if !missing.is_empty() {
        bail!("these programs are missing: {}; `make setup` installs them", missing.join(", "));
    }
    Ok(())
}
