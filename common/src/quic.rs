//! Owns every limit of QUIC: windows, streams, queues, timeouts, and how many strangers may knock at once. The
//! library's defaults are made for the open internet and are far too generous for a fleet's own port.
//!
//! Must not: know what is said over a connection, or who says it.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use quinn::{
    AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, Incoming, Runtime as _,
    TokioRuntime, TransportConfig, VarInt,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::admission::LINE_MAX;
use crate::lasting_keys::{LastingKeys, WORD_LIFETIME};
use crate::short_bursts::ShortBursts;

/// The agent sends something this often, heard or not, so that silence means something: twice within the default
/// `suspect-after`, and four times within the default `lost-after`. Where those are shorter the coordinator asks in between.
/// More often would cost a coordinator of ten thousand hosts a good part of a processor, just when all of them come back.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_millis(2500);
/// A connection is given up after this much silence. It is longer than a network's ordinary interruptions: dialling anew
/// costs more than waiting. Whether a host counts as lost by then is not for the connection to say. Both ends look after
/// this themselves (`wire/silence.rs`).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(8);
/// A joining host says one thing and gets one answer; it needs no patience.
pub const JOIN_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// An agent opens one stream both ways, for commands and replies.
const AGENT_BIDIRECTIONAL_STREAMS_MAX: u32 = 1;
/// An agent opens one stream for events and one for samples.
const AGENT_ONE_WAY_STREAMS_MAX: u32 = 2;
/// A joining host opens one stream both ways.
const JOIN_STREAMS_MAX: u32 = 1;

/// What may be on its way unread on one stream. A gigabit link over 10 ms needs 1.2 MB to stay full; reports are
/// smaller than that nearly always, so this is enough for full speed.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same over all streams of a connection: one stream may be full while the others still move.
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Datagrams that were sent or received and not taken: one, with the library's own record of it. They are signs of life
/// (`wire/signs.rs`), and nobody reads them; that something came in is enough.
const DATAGRAM_BUFFER: usize = 64;
/// What may be sent and not yet acknowledged: the other side's window.
const SEND_WINDOW: u64 = 2 << 20;
/// A join request or answer has a few kilobytes.
const JOIN_WINDOW: u32 = 32 << 10;
/// A TLS flight has about 2 KiB; out-of-order handshake data beyond this is an attack.
const CRYPTO_BUFFER_SIZE: usize = 16 << 10;
/// Before the first measurement a round trip is taken to be this long: hosts are in a data centre, not on the moon.
const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);
/// The same for an agent that dials. Three times as long after its first datagram it sends two more, and then ever more seldom.
/// When a whole fleet comes back, most of its hosts wait in a line (`admission.rs`), where nobody answers them and each
/// of these datagrams, of full size, is in vain: with 100 ms a host that waits for five seconds sends nine, with this
/// five. Much longer would be worse again: whose first datagram is lost, as some are in such a flood, is late by three times this.
const DIALLING_ROUND_TRIP: Duration = Duration::from_millis(250);
/// How long an agent that dials waits for the next word of the coordinator: the coordinator may welcome a whole fleet, one
/// by one. Ten thousand hosts take two processors some ten seconds, and slow ones twenty. It ends shortly before an agent
/// would speak up again, 23 s after its first datagram: one that waits for a coordinator that has gone finds the next one
/// sooner by dialling anew.
pub const DIALLING_TIMEOUT: Duration = Duration::from_secs(22);
/// How long an agent's first attempt waits, which has no word yet of whether there is a coordinator: QUIC asks an absent peer
/// ever more seldom, so a fresh attempt finds one that came back sooner than an old one does.
pub const DIALLING_PATIENCE_MIN: Duration = Duration::from_secs(2);
/// QUIC's own limit of silence at the coordinator. The library counts it from a peer's first datagram: whoever has waited
/// longer in the line is dropped without a word when its turn comes, and who comes in shortly before, soon after. So
/// it is longer than anyone waits, and [`IDLE_TIMEOUT`] is looked after by ourselves.
const ACCEPTING_TIMEOUT: Duration = Duration::from_secs(30);
const _: () = assert!(ACCEPTING_TIMEOUT.as_secs() > DIALLING_TIMEOUT.as_secs() + IDLE_TIMEOUT.as_secs() / 2);

/// Connections whose handshake has not begun. All hosts of a fleet come back at once after a coordinator restart; the first
/// packet of one beyond this is not answered and comes again by itself.
const INCOMING_MAX: usize = LINE_MAX + 1024;
/// What the kernel keeps of datagrams that arrived and were not read yet, or were sent and did not leave yet, on a port that
/// a whole fleet dials: some thousand. The kernel may allow less (`net.core.rmem_max`, `wmem_max`); what it drops then
/// comes again.
const SERVER_SOCKET_BUFFER: usize = 4 << 20;
/// Data kept for one connection that nobody has looked at yet: a TLS flight.
const INCOMING_BUFFER_SIZE: u64 = 8 << 10;
/// The same over all such connections.
const INCOMING_BUFFER_SIZE_TOTAL: u64 = 4 << 20;
/// Handshakes being worked on at once on one port, unless it is said otherwise. Each costs a signature, a verification and
/// memory; beyond this peers wait in a line.
const HANDSHAKES_MAX: usize = 256;
/// From this many handshakes on, a peer must first prove that it receives at the address it sends from.
const HANDSHAKES_BEFORE_RETRY: usize = 64;
/// How long a proof of address stays good.
const RETRY_TOKEN_LIFETIME: Duration = Duration::from_secs(10);
/// Between two answers to datagrams of connections that an earlier life of the server had. Nothing is waited for: after a
/// restart a whole fleet asks within one [`KEEP_ALIVE_INTERVAL`], and whoever gets no answer notices only when
/// [`IDLE_TIMEOUT`] is over. The library's 20 ms would tell fifty hosts a second. An answer is smaller than what it answers,
/// so that it can neither amplify a flood nor be answered for ever, and costs one hash.
const RESET_INTERVAL_MIN: Duration = Duration::ZERO;
/// The largest datagram taken: an Ethernet frame's worth and a little, no jumbo frames.
const DATAGRAM_SIZE_MAX: u16 = 1472;

/// An agent's side of a session.
pub(crate) fn agent_transport() -> TransportConfig {
    let mut transport = session_transport(DIALLING_TIMEOUT);
    transport
        .initial_rtt(DIALLING_ROUND_TRIP)
        .keep_alive_interval(Some(KEEP_ALIVE_INTERVAL))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0));
    transport
}

/// The coordinator's side of a session. It need not keep alive: the agent does, and is the one that can dial.
pub(crate) fn coordinator_transport() -> TransportConfig {
    let mut transport = session_transport(ACCEPTING_TIMEOUT);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(AGENT_BIDIRECTIONAL_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(AGENT_ONE_WAY_STREAMS_MAX));
    transport
}

/// Both sides of a join.
pub(crate) fn join_transport() -> TransportConfig {
    let mut transport = common_transport(JOIN_IDLE_TIMEOUT);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(JOIN_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(JOIN_WINDOW))
        .receive_window(VarInt::from_u32(JOIN_WINDOW))
        .send_window(u64::from(JOIN_WINDOW));
    transport
}

fn session_transport(idle: Duration) -> TransportConfig {
    let mut transport = common_transport(idle);
    transport.datagram_receive_buffer_size(Some(DATAGRAM_BUFFER)).datagram_send_buffer_size(DATAGRAM_BUFFER);
    transport
}

fn common_transport(idle: Duration) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .crypto_buffer_size(CRYPTO_BUFFER_SIZE)
        .initial_rtt(INITIAL_ROUND_TRIP)
        // Every path that carries QUIC carries datagrams of 1,200 bytes. To find out whether a larger one fits takes each side
        // four probes and as many answers, as much as all that is said until an agent is welcome, and what is said is small.
        .mtu_discovery_config(None)
        // Only an agent's signs of life are datagrams; see below.
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .allow_spin(false);
    transport
}

/// A server's limits around its TLS configuration.
pub(crate) fn bounded_server(
    crypto: Arc<dyn quinn::crypto::ServerConfig>,
    transport: TransportConfig,
) -> quinn::ServerConfig {
    let mut server = quinn::ServerConfig::with_crypto(crypto);
    server
        .transport_config(Arc::new(transport))
        // A host whose address changes connects anew; following it would let one peer send traffic to another.
        .migration(false)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BUFFER_SIZE)
        .incoming_buffer_size_total(INCOMING_BUFFER_SIZE_TOTAL)
        .retry_token_lifetime(RETRY_TOKEN_LIFETIME);
    // Only a server with lasting keys hands out what lets a returning peer skip the proof of its address.
    server.validation_token.sent(0);
    server
}

/// A socket that connections are made from.
///
/// # Errors
/// When the address cannot be bound.
pub fn client_endpoint(local: SocketAddr) -> io::Result<quinn::Endpoint> {
    let socket = TokioRuntime.wrap_udp_socket(UdpSocket::bind(local)?)?;
    bind(socket, EndpointConfig::default(), None)
}

/// A socket that connections are taken on.
///
/// # Errors
/// When the address cannot be bound.
pub fn server_endpoint(local: SocketAddr, config: quinn::ServerConfig) -> io::Result<quinn::Endpoint> {
    bind(shared_socket(local)?, EndpointConfig::default(), Some(config))
}

/// A socket that many connections are made from.
///
/// # Errors
/// When the address cannot be bound.
pub fn shared_client_endpoint(local: SocketAddr) -> io::Result<quinn::Endpoint> {
    bind(shared_socket(local)?, EndpointConfig::default(), None)
}

/// Lets a server hand out, and believe, the word of an earlier life that a peer was heard at its address, so that a fleet
/// that comes back need not prove it host by host.
pub(crate) fn know_addresses_again(config: &mut quinn::ServerConfig, keys: &LastingKeys) {
    config.token_key(keys.address_tokens());
    config.validation_token.sent(1).lifetime(WORD_LIFETIME).log(keys.spent_tokens());
}

/// The same for a server that is restarted now and then: by its lasting keys it tells the peers of an earlier life's
/// connections that these are over. They notice with their next keep-alive and not only after a long silence.
///
/// # Errors
/// When the address cannot be bound.
pub fn lasting_server_endpoint(
    local: SocketAddr,
    config: quinn::ServerConfig,
    keys: &LastingKeys,
) -> io::Result<quinn::Endpoint> {
    let mut endpoint_config = EndpointConfig::new(keys.resets());
    // The library's own ids carry a mark of this process; packets with another mark are dropped without a word.
    endpoint_config.cid_generator(|| Box::new(PlainConnectionIds)).min_reset_interval(RESET_INTERVAL_MIN);
    bind(shared_socket(local)?, endpoint_config, Some(config))
}

/// Connection ids that are nothing but random.
#[derive(Debug)]
struct PlainConnectionIds;

/// As long as the library's own.
const CONNECTION_ID_LENGTH: usize = 8;

impl ConnectionIdGenerator for PlainConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        // The two ends of a random UUID are random throughout; its middle is not.
        let bytes = *uuid::Uuid::new_v4().as_bytes();
        let mut id = [0; CONNECTION_ID_LENGTH];
        for (to, from) in id.iter_mut().zip(bytes.iter().take(4).chain(bytes.iter().rev().take(4))) {
            *to = *from;
        }
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// A socket for many connections: with room for what all of them receive at once, and with little for each to send.
fn shared_socket(local: SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = UdpSocket::bind(local)?;
    // Less room than asked for is no reason not to serve.
    let _ = setsockopt(&socket, sockopt::RcvBuf, &SERVER_SOCKET_BUFFER);
    let _ = setsockopt(&socket, sockopt::SndBuf, &SERVER_SOCKET_BUFFER);
    Ok(ShortBursts::of(TokioRuntime.wrap_udp_socket(socket)?))
}

fn bind(
    socket: Arc<dyn AsyncUdpSocket>,
    mut config: EndpointConfig,
    server: Option<quinn::ServerConfig>,
) -> io::Result<quinn::Endpoint> {
    config.max_udp_payload_size(DATAGRAM_SIZE_MAX).map_err(io::Error::other)?;
    quinn::Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime))
}

/// Bounds the handshakes in progress on one port.
#[derive(Debug, Clone)]
pub struct HandshakeGate {
    places: Arc<Semaphore>,
    places_max: usize,
    places_before_retry: usize,
}

/// A place at the gate; given back when the handshake has ended, well or not.
#[derive(Debug)]
pub struct HandshakePermit {
    _place: OwnedSemaphorePermit,
}

impl Default for HandshakeGate {
    fn default() -> Self {
        Self::with_places(HANDSHAKES_MAX, HANDSHAKES_BEFORE_RETRY)
    }
}

impl HandshakeGate {
    /// A gate with so many places, that asks for a proof of address from so many taken ones on.
    #[must_use]
    pub fn with_places(places_max: usize, places_before_retry: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places_max)), places_max, places_before_retry }
    }

    /// Whether so many places are taken that peers must prove their address first.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.places_max.saturating_sub(self.places.available_permits()) >= self.places_before_retry
    }

    /// A place, if one is free.
    pub(crate) fn free_place(&self) -> Option<HandshakePermit> {
        Some(HandshakePermit { _place: Arc::clone(&self.places).try_acquire_owned().ok()? })
    }

    /// Waits for a place.
    pub(crate) async fn place(&self) -> HandshakePermit {
        loop {
            // The semaphore is never closed.
            if let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
                return HandshakePermit { _place: place };
            }
        }
    }

    /// Lets a connection attempt in, or answers it at once: under load a peer must prove its address first, and when
    /// all places are taken it is told to come back later.
    #[must_use]
    pub fn admit(&self, incoming: Incoming) -> Option<(Incoming, HandshakePermit)> {
        if self.is_busy() && !incoming.remote_address_validated() && incoming.may_retry() {
            // The only error is "may not retry", which has been asked.
            let _ = incoming.retry();
            return None;
        }
        let Some(place) = self.free_place() else {
            incoming.refuse();
            return None;
        };
        Some((incoming, place))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_connection_of_a_shared_port_keeps_room_for_two_datagrams_at_most() {
        let socket = shared_socket((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        assert!(socket.max_transmit_segments() <= 2, "ten thousand connections keep as much each");
    }
}
