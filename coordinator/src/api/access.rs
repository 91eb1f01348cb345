//! Owns who may ask: the credentials of the process at the other end of the socket, as the kernel tells them.
//!
//! The socket's mode and group let in root, the service's own user and the members of its group; whoever is in is an
//! administrator. Whoever cannot be told is refused.

use nix::unistd::{Uid, User};
use tokio::net::UnixStream;

use super::answer::Refusal;
use super::types::ProblemKind;
use crate::service::Actor;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything.
    Admin,
}

/// Whoever is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) actor: Actor,
    pub(super) role: Role,
}

/// Whoever is at the other end of `stream`; none when the kernel does not say.
pub(super) fn identify(stream: &UnixStream) -> Option<Peer> {
    match stream.peer_cred() {
        Ok(credentials) => Some(peer(credentials.uid())),
        Err(error) => {
            log::warn!("a connection to the API is refused: its credentials cannot be read: {error}");
            None
        }
    }
}

fn peer(uid: u32) -> Peer {
    let name = match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        // A user that is only known by its number can still be told apart in the log.
        Ok(None) | Err(_) => uid.to_string(),
    };
    Peer { actor: Actor { uid, name }, role: Role::Admin }
}

/// Lets `peer` pass or says why not.
pub(super) fn admit(peer: Option<&Peer>) -> Result<&Peer, Refusal> {
    match peer {
        Some(peer) if peer.role == Role::Admin => Ok(peer),
        _ => Err(Refusal::new(ProblemKind::Denied, "who is asking cannot be told, so nothing is answered")
            .advise("ask through the coordinator's UNIX socket on its own machine")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_who_the_kernel_says() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = identify(&one).unwrap();
        assert_eq!(peer.actor.uid, nix::unistd::getuid().as_raw());
        assert!(admit(Some(&peer)).is_ok());
        assert!(admit(None).is_err());
    }

    #[test]
    fn a_user_without_a_name_is_a_number() {
        assert_eq!(peer(3_999_999_999).actor.name, "3999999999");
    }
}
