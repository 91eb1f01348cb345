//! The product whole, in the lab: real programs, real libvirt, real guests, and what must survive.

mod enrolment;
mod ill_behaved;
mod kills;
mod names;
mod partitions;
mod path;
