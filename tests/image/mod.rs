//! Owns the guest that the lab boots: a real Linux with a QEMU guest agent on a disk of some 25 MB.
//!
//! ```text
//! recipe (pure: which files, which scripts) ──▶ archive (pure: cpio) ──▶ builder (gathers, FAT, syslinux, qcow2, cache)
//! ```
//! It is put together from packages of the machine, without root, mounts or downloads. Besides the good guest there
//! are ill-behaved ones: the product must survive them all.

mod archive;
mod builder;
mod recipe;

pub use builder::{Builder, MEMORY_MIN_MEBIBYTES};
pub use recipe::Variant;
