//! The whole product on several isolated hosts with real libvirt and real guests: the path from a request to a guest
//! that has registered, and what must survive when its parts are killed, cut off or lied to.

mod adopting;
mod by_hand;
mod checking;
mod clocks;
mod drives;
mod enrolment;
mod failover;
mod faults;
mod first_contact;
mod fleet;
mod hostile;
mod kills;
mod load;
mod measured;
mod outliving;
mod partition;
mod path;
mod recovery;
mod room;
mod self_fencing;
