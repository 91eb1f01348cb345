//! Owns the form of an archive that `tar` reads: POSIX ustar, regular files only. Pure.

use reeve_common::clock::Timestamp;

/// Archives are made of blocks.
const BLOCK: usize = 512;
/// The longest name in a header.
const NAME_LENGTH_MAX: usize = 100;

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The archive's bytes.
pub(super) fn tar(entries: &[Entry], at: Timestamp) -> Vec<u8> {
    let mut archive = Vec::new();
    for entry in entries {
        archive.extend_from_slice(&header(entry, at));
        archive.extend_from_slice(&entry.bytes);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    // Two empty blocks are its end.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn header(entry: &Entry, at: Timestamp) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |from: usize, bytes: &[u8]| {
        if let Some(place) = block.get_mut(from..from + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    let name = entry.name.as_bytes();
    put(0, name.get(..NAME_LENGTH_MAX).unwrap_or(name));
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", entry.bytes.len()).as_bytes());
    put(136, format!("{:011o}\0", at.0 / 1000).as_bytes());
    // The sum is taken with blanks in its place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    if let Some(place) = block.get_mut(148..156) {
        place.copy_from_slice(sum.as_bytes());
    }
    block
}
