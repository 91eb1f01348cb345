//! Owns the first words on the control stream, over any stream of bytes: QUIC's, or the simulation's.
//!
//! ```text
//!   agent                                   coordinator
//!     │ ── offer:  versions I speak ────────────▶ │   fixed layout for ever, not bincode
//!     │ ◀─ choice: the one we speak, or none ──── │   fixed layout for ever, not bincode
//!     │ ── Hello, in that version ──────────────▶ │
//!     │ ◀───────────────── Welcome, or a close ── │   after the coordinator has looked the host up
//! ```
//!
//! Neither side waits for what it does not need: where `Hello` has the same bytes in every version that the agent offers, it
//! goes out together with the offer, and a coordinator that has both puts its choice in front of the welcome. What stands on
//! the stream is the same; a whole fleet that comes back at once is spared a round trip for each host.
//!
//! Must not: know certificates, or decide whether the host is welcome. The caller bounds the time.

use tokio::io::{AsyncRead, AsyncWrite};

use super::codec::EncodeError;
use super::frame::{FrameError, FrameReader, frame, write_all, write_frame};
use super::message::{Message, MessageError};
use super::version::{ProtocolVersion, VersionRange};
use crate::protocol::{Hello, Welcome};

/// What both fixed messages start with, so that something else on the port is told from another release.
const MAGIC: &[u8; 5] = b"reeve";
/// Says that no version is common.
const NO_VERSION: ProtocolVersion = ProtocolVersion(0);
/// Offers and choices have 9 and 11 bytes; later releases may put more behind, which is skipped.
const OPENING_FRAME_MAX: usize = 256;

/// Why the first words failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The stream does not carry frames.
    #[error("the first words did not come through")]
    Frame(#[from] FrameError),
    /// The stream ended before they were complete.
    #[error("the other side ended the stream before the first words were complete")]
    Ended,
    /// The other side is something else.
    #[error("the other side does not speak this protocol")]
    NotReeve,
    /// No version is common to both sides.
    #[error("this side speaks {ours} of the protocol and the other {theirs}: upgrade the older one")]
    NoCommonVersion {
        /// What this release speaks.
        ours: VersionRange,
        /// What the other side says it speaks.
        theirs: VersionRange,
    },
    /// The other side chose a version that was not offered.
    #[error("the other side chose protocol version {0}, which was not offered")]
    ForeignVersion(ProtocolVersion),
    /// A message makes no sense.
    #[error("the {kind} makes no sense")]
    Message {
        /// Which.
        kind: &'static str,
        /// What is wrong with it.
        #[source]
        source: MessageError,
    },
    /// Our own message is too large.
    #[error("this side's first words cannot be sent")]
    Encode(#[from] EncodeError),
}

/// The agent's part: says hello and waits to be welcomed.
///
/// # Errors
/// [`HandshakeError`]; over QUIC the connection's own end says more when the stream failed.
pub async fn greet<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    hello: Hello,
    ours: VersionRange,
) -> Result<(ProtocolVersion, Welcome), HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    reader.set_length_max(OPENING_FRAME_MAX);
    let mut words = frame(&opening(&[ours.minimum, ours.maximum]), OPENING_FRAME_MAX)?;
    let mut unsaid = Some(hello);
    if is_same_in_all(ours)
        && let Some(hello) = unsaid.take()
    {
        words.extend(frame(&hello.encode(ours.maximum)?, Hello::FRAME_MAX)?);
    }
    write_all(writer, &words).await?;
    let [chosen, minimum, maximum] = read_opening(reader).await?;
    if chosen == NO_VERSION {
        return Err(HandshakeError::NoCommonVersion { ours, theirs: VersionRange { minimum, maximum } });
    }
    if !ours.contains(chosen) {
        return Err(HandshakeError::ForeignVersion(chosen));
    }
    if let Some(hello) = unsaid {
        write_frame(writer, &hello.encode(chosen)?, Hello::FRAME_MAX).await?;
    }
    reader.set_length_max(Welcome::FRAME_MAX);
    Ok((chosen, read_message(reader, chosen).await?))
}

/// Whether a hello has the same bytes in every version of a range, so that it can be said before one is chosen.
fn is_same_in_all(versions: VersionRange) -> bool {
    let form = Hello::form(versions.maximum);
    form.is_some()
        && (versions.minimum.0..versions.maximum.0)
            .all(|version| Hello::form(ProtocolVersion(version)) == form)
}

/// What the coordinator has agreed on with an agent whose hello it has taken.
#[derive(Debug)]
pub struct Agreed {
    /// The version both speak.
    pub version: ProtocolVersion,
    /// The choice of it, where it was not told yet: it goes in front of the welcome.
    choice: Vec<u8>,
}

/// The coordinator's first part: agrees on a version and takes the hello.
///
/// # Errors
/// [`HandshakeError`]; without a common version the agent has been told.
pub async fn receive_hello<R, W>(
    reader: &mut FrameReader<R>,
    writer: &mut W,
    ours: VersionRange,
) -> Result<(Agreed, Hello), HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    reader.set_length_max(OPENING_FRAME_MAX);
    let [minimum, maximum] = read_opening(reader).await?;
    let theirs = VersionRange { minimum, maximum };
    let chosen = ours.common_with(theirs);
    let answer = opening(&[chosen.unwrap_or(NO_VERSION), ours.minimum, ours.maximum]);
    let mut choice = frame(&answer, OPENING_FRAME_MAX)?;
    reader.set_length_max(Hello::FRAME_MAX);
    if chosen.is_none() || !reader.has_frame() {
        write_all(writer, &std::mem::take(&mut choice)).await?;
    }
    let version = chosen.ok_or(HandshakeError::NoCommonVersion { ours, theirs })?;
    let hello = read_message(reader, version).await?;
    Ok((Agreed { version, choice }, hello))
}

/// The coordinator's second part: the agent is welcome.
///
/// # Errors
/// [`HandshakeError`] when it cannot be told so.
pub async fn send_welcome<W: AsyncWrite + Unpin>(
    writer: &mut W,
    agreed: Agreed,
    welcome: Welcome,
) -> Result<(), HandshakeError> {
    let Agreed { version, choice: mut words } = agreed;
    words.extend(frame(&welcome.encode(version)?, Welcome::FRAME_MAX)?);
    Ok(write_all(writer, &words).await?)
}

fn opening(versions: &[ProtocolVersion]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for version in versions {
        bytes.extend_from_slice(&version.0.to_be_bytes());
    }
    bytes
}

async fn read_opening<R: AsyncRead + Unpin, const COUNT: usize>(
    reader: &mut FrameReader<R>,
) -> Result<[ProtocolVersion; COUNT], HandshakeError> {
    let frame = reader.next().await?.ok_or(HandshakeError::Ended)?;
    let mut rest = frame.strip_prefix(MAGIC).ok_or(HandshakeError::NotReeve)?;
    let mut versions = [NO_VERSION; COUNT];
    for version in &mut versions {
        let (bytes, behind) = rest.split_first_chunk::<2>().ok_or(HandshakeError::NotReeve)?;
        *version = ProtocolVersion(u16::from_be_bytes(*bytes));
        rest = behind;
    }
    Ok(versions)
}

async fn read_message<R: AsyncRead + Unpin, M: Message>(
    reader: &mut FrameReader<R>,
    version: ProtocolVersion,
) -> Result<M, HandshakeError> {
    let frame = reader.next().await?.ok_or(HandshakeError::Ended)?;
    M::decode(version, &frame).map_err(|source| HandshakeError::Message { kind: M::KIND, source })
}
