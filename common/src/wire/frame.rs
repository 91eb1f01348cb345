//! Owns how messages are set apart on a stream: four bytes of length, highest first, then as many bytes.
//!
//! The length is refused before anything is allocated for it, and memory grows only with bytes that have arrived. A
//! frame that has begun must end in time.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

/// Bytes of the length in front of each frame.
const HEADER_LENGTH: usize = 4;
/// Room made for what comes next on a stream that is between frames; a quiet stream costs no more than this, and each of ten
/// thousand hosts has three. What a host with few VMs says is smaller; of what is not, the rest is read at once.
const READ_SIZE_MIN: usize = 256;
/// Room made at once for the rest of a long frame, however long it says it is.
const READ_SIZE_MAX: usize = 64 << 10;
/// From its first byte on a frame has this long to arrive whole. The largest one takes 4 s over 10 Mbit/s; what takes
/// much longer is a peer that drips.
pub const FRAME_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It announces more than is allowed here.
    #[error("a frame of {length} bytes was announced, and at most {length_max} are taken here")]
    TooLong {
        /// What was announced.
        length: usize,
        /// What is allowed.
        length_max: usize,
    },
    /// The stream ended inside it.
    #[error("the stream ended in the middle of a frame")]
    Truncated,
    /// It took too long.
    #[error("a frame did not arrive whole within {} s", FRAME_TIMEOUT.as_secs())]
    TooSlow,
    /// The stream failed.
    #[error("the stream failed")]
    Stream(#[source] io::Error),
}

/// Takes frames out of bytes as they come. Knows no stream and no clock.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    length_max: usize,
}

impl FrameBuffer {
    /// Takes frames of at most `length_max` bytes.
    #[must_use]
    pub const fn new(length_max: usize) -> Self {
        Self { bytes: Vec::new(), length_max }
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if it is there whole.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the length is known.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(header) = self.bytes.first_chunk::<HEADER_LENGTH>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        if length > self.length_max {
            return Err(FrameError::TooLong { length, length_max: self.length_max });
        }
        let end = HEADER_LENGTH + length;
        if self.bytes.len() < end {
            return Ok(None);
        }
        let rest = self.bytes.split_off(end);
        let mut frame = std::mem::replace(&mut self.bytes, rest);
        frame.drain(..HEADER_LENGTH);
        Ok(Some(frame))
    }

    /// Makes room for the rest of the frame that has begun, within bounds.
    fn make_room(&mut self) {
        let announced = self.bytes.first_chunk::<HEADER_LENGTH>().map_or(0, |header| {
            usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX).min(self.length_max)
        });
        let missing = announced.saturating_sub(self.bytes.len());
        self.bytes.reserve(missing.clamp(READ_SIZE_MIN, READ_SIZE_MAX));
    }

    /// Whether nothing is waiting for its rest.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the next frame is there whole.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.bytes.split_first_chunk::<HEADER_LENGTH>().is_some_and(|(header, rest)| {
            usize::try_from(u32::from_be_bytes(*header)).is_ok_and(|length| rest.len() >= length)
        })
    }

    /// Changes the limit for frames from now on.
    pub const fn set_length_max(&mut self, length_max: usize) {
        self.length_max = length_max;
    }
}

/// Reads frames from a stream. Cancelling a read loses nothing.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    buffer: FrameBuffer,
    deadline: Option<Instant>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads frames of at most `length_max` bytes from `source`.
    pub const fn new(source: R, length_max: usize) -> Self {
        Self { source, buffer: FrameBuffer::new(length_max), deadline: None }
    }

    /// Changes the limit for frames from now on.
    pub const fn set_length_max(&mut self, length_max: usize) {
        self.buffer.set_length_max(length_max);
    }

    /// Whether the next frame has arrived already and needs no waiting.
    #[must_use]
    pub fn has_frame(&self) -> bool {
        self.buffer.has_frame()
    }

    /// The next frame; none when the stream ended after the last one.
    ///
    /// # Errors
    /// [`FrameError`] when what comes is no frame, or too slow.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        loop {
            if let Some(frame) = self.buffer.take()? {
                self.deadline = None;
                return Ok(Some(frame));
            }
            let between_frames = self.buffer.is_empty();
            self.buffer.make_room();
            let read = self.source.read_buf(&mut self.buffer.bytes);
            let read = if between_frames {
                read.await
            } else {
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + FRAME_TIMEOUT);
                timeout_at(deadline, read).await.map_err(|_| FrameError::TooSlow)?
            };
            match read.map_err(FrameError::Stream)? {
                0 if between_frames => return Ok(None),
                0 => return Err(FrameError::Truncated),
                _ => {}
            }
        }
    }
}

/// Puts the length in front of a message.
///
/// # Errors
/// [`FrameError::TooLong`] when the other side would not take it.
pub fn frame(payload: &[u8], length_max: usize) -> Result<Vec<u8>, FrameError> {
    let too_long = FrameError::TooLong { length: payload.len(), length_max };
    let Ok(length) = u32::try_from(payload.len()) else { return Err(too_long) };
    if payload.len() > length_max {
        return Err(too_long);
    }
    let mut bytes = Vec::with_capacity(HEADER_LENGTH + payload.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Writes one message as a frame.
///
/// # Errors
/// When it is too long, or the stream fails.
pub async fn write_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    payload: &[u8],
    length_max: usize,
) -> Result<(), FrameError> {
    write_all(writer, &frame(payload, length_max)?).await
}

/// Writes frames that were made already, so that they leave together.
pub(super) async fn write_all<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frames: &[u8],
) -> Result<(), FrameError> {
    writer.write_all(frames).await.map_err(FrameError::Stream)?;
    writer.flush().await.map_err(FrameError::Stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_however_the_bytes_come_in() {
        let mut bytes = frame(b"one", 10).unwrap();
        bytes.extend(frame(b"", 10).unwrap());
        bytes.extend(frame(b"three", 10).unwrap());
        assert_eq!(bytes.get(..7).unwrap(), b"\x00\x00\x00\x03one");
        for piece in 1..=bytes.len() {
            let mut buffer = FrameBuffer::new(10);
            let mut frames = Vec::new();
            for chunk in bytes.chunks(piece) {
                buffer.push(chunk);
                while let Some(frame) = buffer.take().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [b"one".to_vec(), Vec::new(), b"three".to_vec()]);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_quiet_stream_keeps_little_and_a_long_frame_gets_its_room_at_once() {
        let mut buffer = FrameBuffer::new(1 << 20);
        buffer.make_room();
        assert!(buffer.bytes.capacity() <= 256, "{} bytes", buffer.bytes.capacity());
        buffer.push(&10_000_u32.to_be_bytes());
        buffer.make_room();
        assert!(buffer.bytes.capacity() >= 10_000, "{} bytes", buffer.bytes.capacity());
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
        let mut buffer = FrameBuffer::new(10);
        buffer.push(&u32::MAX.to_be_bytes());
        assert!(matches!(buffer.take(), Err(FrameError::TooLong { length: 0xffff_ffff, length_max: 10 })));
        assert!(matches!(frame(&[0; 11], 10), Err(FrameError::TooLong { length: 11, .. })));
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_is_an_error() {
        let mut reader = FrameReader::new(&b"\x00\x00\x00\x03one\x00\x00"[..], 10);
        assert_eq!(reader.next().await.unwrap(), Some(b"one".to_vec()));
        assert!(matches!(reader.next().await, Err(FrameError::Truncated)));
        assert!(FrameReader::new(&b""[..], 10).next().await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_drips_is_given_up_and_a_silent_stream_is_not() {
        let (mut sender, receiver) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(receiver, 1 << 20);
        // Silence between frames is nothing: the connection's own timer watches it.
        let long = FRAME_TIMEOUT * 10;
        assert!(tokio::time::timeout(long, reader.next()).await.is_err());
        let drip = tokio::spawn(async move {
            let _ = sender.write_all(&1000_u32.to_be_bytes()).await;
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if sender.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        assert!(matches!(reader.next().await, Err(FrameError::TooSlow)));
        drip.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_read_loses_nothing() {
        let (mut sender, receiver) = tokio::io::duplex(64);
        let mut reader = FrameReader::new(receiver, 10);
        for byte in frame(b"one", 10).unwrap() {
            assert!(tokio::time::timeout(Duration::from_millis(1), reader.next()).await.is_err());
            sender.write_all(&[byte]).await.unwrap();
        }
        assert_eq!(reader.next().await.unwrap(), Some(b"one".to_vec()));
    }
}
