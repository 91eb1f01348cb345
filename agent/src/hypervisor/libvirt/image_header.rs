//! Owns the judgement of an image by its first bytes: whether it is what it claims to be, and nothing that would make
//! QEMU open another file.
//!
//! Must not: read the image. The bytes are a stranger's.

use reeve_common::storage::DiskFormat;
use reeve_common::units::Bytes;
use reeve_common::vm::limits::DRIVE_SIZE_MAX;

/// How many bytes have to be looked at: the fixed part of a version 3 header.
pub(super) const HEADER_LENGTH: usize = 104;
/// What every qcow2 file starts with.
const MAGIC: [u8; 4] = *b"QFI\xfb";
/// Incompatible feature bit 2: the data is in another file.
const FEATURE_DATA_FILE: u64 = 1 << 2;
/// Incompatible feature bit 1: the file is known to be damaged.
const FEATURE_CORRUPT: u64 = 1 << 1;

/// Why an image is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnfitImage {
    #[error("it is said to be qcow2 and does not start like one; state its real format, or upload it again")]
    NotQcow2,
    #[error("it is said to be raw and starts like a qcow2 file; state its real format")]
    NotRaw,
    #[error(
        "it is a version {0} qcow2 file and only 2 and 3 are known; convert it with `qemu-img convert -O qcow2`"
    )]
    Version(u32),
    #[error("it names a backing file, which QEMU would open; flatten it with `qemu-img convert -O qcow2`")]
    BackingFile,
    #[error(
        "it keeps its data in another file, which QEMU would open; flatten it with `qemu-img convert -O qcow2`"
    )]
    DataFile,
    #[error("it is encrypted, and a VM cannot boot from it")]
    Encrypted,
    #[error("it is marked as damaged; check it with `qemu-img check -r all`")]
    Corrupt,
    #[error("its size is {0}, beyond the largest allowed ({DRIVE_SIZE_MAX})")]
    TooLarge(Bytes),
    #[error("it is empty")]
    Empty,
}

/// Judges an image by its first [`HEADER_LENGTH`] bytes (fewer if the file is shorter), and tells the size that its user
/// will see: `length` for a raw image, and what the header says for a qcow2 file.
pub(super) fn judge(header: &[u8], format: DiskFormat, length: Bytes) -> Result<Bytes, UnfitImage> {
    let is_qcow2 = header.starts_with(&MAGIC);
    let capacity = match format {
        DiskFormat::Raw if is_qcow2 => return Err(UnfitImage::NotRaw),
        DiskFormat::Qcow2 if !is_qcow2 => return Err(UnfitImage::NotQcow2),
        DiskFormat::Raw => length,
        DiskFormat::Qcow2 => judge_qcow2(header)?,
    };
    match capacity {
        Bytes(0) => Err(UnfitImage::Empty),
        capacity if capacity > DRIVE_SIZE_MAX => Err(UnfitImage::TooLarge(capacity)),
        capacity => Ok(capacity),
    }
}

fn judge_qcow2(header: &[u8]) -> Result<Bytes, UnfitImage> {
    let version = number::<4>(header, 4).ok_or(UnfitImage::NotQcow2)?;
    let backing_file_offset = number::<8>(header, 8).ok_or(UnfitImage::NotQcow2)?;
    let size = Bytes(number::<8>(header, 24).ok_or(UnfitImage::NotQcow2)?);
    let encryption = number::<4>(header, 32).ok_or(UnfitImage::NotQcow2)?;
    if backing_file_offset != 0 {
        return Err(UnfitImage::BackingFile);
    }
    if encryption != 0 {
        return Err(UnfitImage::Encrypted);
    }
    match version {
        2 => Ok(size),
        3 => {
            let features = number::<8>(header, 72).ok_or(UnfitImage::NotQcow2)?;
            if features & FEATURE_DATA_FILE != 0 {
                Err(UnfitImage::DataFile)
            } else if features & FEATURE_CORRUPT != 0 {
                Err(UnfitImage::Corrupt)
            } else {
                Ok(size)
            }
        }
        other => Err(UnfitImage::Version(u32::try_from(other).unwrap_or(u32::MAX))),
    }
}

/// A big-endian number of `LENGTH` bytes.
fn number<const LENGTH: usize>(header: &[u8], offset: usize) -> Option<u64> {
    let bytes = header.get(offset..offset.checked_add(LENGTH)?)?;
    Some(bytes.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: Bytes = Bytes(10 << 30);

    fn header(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut header = vec![0; HEADER_LENGTH];
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&3_u32.to_be_bytes());
        header[24..32].copy_from_slice(&SIZE.0.to_be_bytes());
        change(&mut header);
        header
    }

    #[allow(clippy::needless_pass_by_value)] // reads better
    fn check(expected: Result<Bytes, UnfitImage>, change: impl FnOnce(&mut [u8])) {
        assert_eq!(judge(&header(change), DiskFormat::Qcow2, Bytes(1)), expected);
    }

    #[test]
    fn only_a_plain_qcow2_file_is_fit() {
        check(Ok(SIZE), |_| {});
        check(Ok(SIZE), |header| header[7] = 2);
        check(Err(UnfitImage::Version(1)), |header| header[7] = 1);
        check(Err(UnfitImage::NotQcow2), |header| header[0] = 0);
        check(Err(UnfitImage::BackingFile), |header| header[15] = 104);
        check(Err(UnfitImage::Encrypted), |header| header[35] = 2);
        check(Err(UnfitImage::DataFile), |header| header[79] = 4);
        check(Err(UnfitImage::Corrupt), |header| header[79] = 2);
        check(Err(UnfitImage::TooLarge(Bytes(1 << 60))), |header| {
            header[24..32].copy_from_slice(&(1_u64 << 60).to_be_bytes());
        });
    }

    #[test]
    fn a_raw_image_is_fit_unless_it_looks_like_another() {
        assert_eq!(judge(b"\xeb\x63\x90", DiskFormat::Raw, SIZE), Ok(SIZE));
        assert_eq!(judge(&header(|_| {}), DiskFormat::Raw, SIZE), Err(UnfitImage::NotRaw));
        assert_eq!(judge(b"", DiskFormat::Raw, Bytes(0)), Err(UnfitImage::Empty));
        assert_eq!(judge(b"x", DiskFormat::Raw, Bytes(1 << 60)), Err(UnfitImage::TooLarge(Bytes(1 << 60))));
    }

    proptest! {
        #[test]
        fn a_cut_header_is_refused(length in 0..80_usize) {
            let whole = header(|_| {});
            prop_assert_eq!(judge(&whole[..length], DiskFormat::Qcow2, SIZE), Err(UnfitImage::NotQcow2));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = judge(&bytes, DiskFormat::Qcow2, SIZE);
            let mut bytes = bytes;
            bytes.splice(..0, MAGIC);
            let _ = judge(&bytes, DiskFormat::Qcow2, SIZE);
        }
    }
}
