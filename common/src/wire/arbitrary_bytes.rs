//! Owns the check that the fuzzer (`common/fuzz`) and the tests feed with arbitrary bytes: whatever arrives, reading it
//! ends, takes no more memory than its limits, and what was understood can be said again.

use super::frame::FrameBuffer;
use super::join;
use super::limits::EVENT_FRAME_MAX;
use super::message::Message;
use super::version::{CURRENT, MIN_SUPPORTED, ProtocolVersion};
use crate::protocol::{Command, Event, Hello, Reply, Welcome};
use crate::utilization::HostSample;

/// What must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A message was understood and cannot be written.
    #[error("a {kind} was read that cannot be written")]
    NotWritable {
        /// What it was read as.
        kind: &'static str,
    },
    /// A message was understood and, written and read again, is another.
    #[error("a {kind} changed by being written and read again")]
    Changed {
        /// What it was read as.
        kind: &'static str,
    },
    /// How the bytes were cut into pieces made a difference.
    #[error("the frames depend on how their bytes arrive")]
    Pieces,
}

/// Reads bytes as a stream of frames and each frame as a message of every kind. The first byte says in pieces of which
/// size the rest arrives. Returns how many messages were understood.
///
/// # Errors
/// [`Violation`] when a rule of the wire is broken.
pub fn check(bytes: &[u8]) -> Result<usize, Violation> {
    let Some((first, stream)) = bytes.split_first() else { return Ok(0) };
    let frames = frames_of(stream, usize::from(*first).max(1));
    if frames != frames_of(stream, stream.len().max(1)) {
        return Err(Violation::Pieces);
    }
    let mut understood = 0;
    for frame in &frames {
        understood += check_frame(frame)?;
    }
    Ok(understood)
}

fn frames_of(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut buffer = FrameBuffer::new(EVENT_FRAME_MAX);
    let mut frames = Vec::new();
    for bytes in stream.chunks(piece) {
        buffer.push(bytes);
        loop {
            match buffer.take() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

/// Reads one frame as a message of every kind, in every version.
///
/// # Errors
/// [`Violation`] when a rule of the wire is broken.
pub fn check_frame(frame: &[u8]) -> Result<usize, Violation> {
    let understood = [
        check_message::<Hello>(frame)?,
        check_message::<Welcome>(frame)?,
        check_message::<Command>(frame)?,
        check_message::<Reply>(frame)?,
        check_message::<Event>(frame)?,
        check_message::<HostSample>(frame)?,
        check_again("join request", join::decode_request(frame), join::encode_request, join::decode_request)?,
        check_again("join answer", join::decode_answer(frame), join::encode_answer, join::decode_answer)?,
    ];
    Ok(understood.into_iter().filter(|understood| *understood).count())
}

fn check_message<M: Message + Clone + PartialEq>(frame: &[u8]) -> Result<bool, Violation> {
    let mut understood = false;
    for version in (MIN_SUPPORTED.0..=CURRENT.0).map(ProtocolVersion) {
        let decode = |bytes: &[u8]| M::decode(version, bytes);
        understood |= check_again(M::KIND, decode(frame), |message: M| message.encode(version), decode)?;
    }
    Ok(understood)
}

fn check_again<M: Clone + PartialEq, D, E>(
    kind: &'static str,
    decoded: Result<M, D>,
    encode: impl Fn(M) -> Result<Vec<u8>, E>,
    decode: impl Fn(&[u8]) -> Result<M, D>,
) -> Result<bool, Violation> {
    let Ok(message) = decoded else { return Ok(false) };
    let bytes = encode(message.clone()).map_err(|_| Violation::NotWritable { kind })?;
    match decode(&bytes) {
        Ok(again) if again == message => Ok(true),
        _ => Err(Violation::Changed { kind }),
    }
}
