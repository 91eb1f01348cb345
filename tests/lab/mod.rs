//! Owns the lab: several KVM hosts on one machine, each with its own mount, network and host name namespaces, its own
//! libvirtd, virtlogd and QEMU and an unprivileged agent; joined by a bridge in a namespace of its own.
//!
//! ```text
//!            machine's own namespaces: the lab program, the tests, the CLI on the coordinator's socket
//!  ┌ coordinator ────────┐ ┌ host1 ─────────────────────┐ ┌ host2 ─────────────────────┐
//!  │ reeve-coordinator   │ │ reeve-agent  libvirtd  VMs │ │ reeve-agent  libvirtd  VMs │  …
//!  └──────┬ uplink ──────┘ └──────┬ uplink ─────────────┘ └──────┬ uplink ─────────────┘
//!  ┌──────┴───────────────────────┴───── bridge ─────────────────┴───────────────────────┐ switch
//!  └─────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! There is no supervisor: daemons run by themselves and are written down in the lab's directory. A process belongs to
//! a lab if it carries the lab's id in its environment or sees a mount that carries it; so a lab can be taken down
//! whole whatever became of the program that made it. Nothing is ever found by a program's name.
//!
//! Pure: `description`, `plan`, `libvirt_files`, `coordinator_files`. The rest does what they say.

mod assembly;
mod capabilities;
mod clock;
mod coordinator_files;
mod daemons;
mod description;
mod libvirt_files;
mod members;
mod partition;
mod perform;
mod place;
mod plan;
mod power;
mod process;
mod product;
mod record;
mod status;
mod teardown;
mod workspace;

pub use assembly::image_volume;
pub use coordinator_files::{CoordinatorSettings, REALM};
pub use daemons::Daemon;
pub use description::{Description, HostDescription, NETWORK_DEFAULT, Request};
pub use partition::Direction;
pub use place::Place;
pub(crate) use power::network_of;
pub(crate) use process::ProcessIdentity;
pub use record::Lab;
pub use status::PlaceStatus;
pub use teardown::residue;
pub use workspace::Workspace;
