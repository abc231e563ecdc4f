//! The format of the log.
//!
//! ```text
//! header   "OTSMSE" version(2)
//! frame    length(4) payload checksum(8)
//! payload  object*
//! object   owner(2) space(1) object(2) 01 length(4) value      written
//!          owner(2) space(1) object(2) 00                      removed
//! ```
//!
//! Numbers are big-endian; `length` counts the payload, and the checksum is the beginning of the
//! SHA-256 of length and payload. A frame counts only when its checksum is right, and reading
//! stops at the first that is not: such a frame is one the power failed on.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::driver::Chunk;
use super::library::LoadFileLibrary;
use super::{ObjectKey, Space};

/// The version of the format that this build writes. It reads this one and all before it.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: &[u8; 6] = b"OTSMSE";
const HEADER: usize = 8;
const CHECKSUM: usize = 8;
/// What stands before an object's value.
const OBJECT_HEADER: usize = 10;

/// Why a log cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The bytes do not begin as a memory image does.
    #[error("these bytes are not the memory image of a secure element")]
    NotAnImage,
    /// The image was written by a newer build.
    #[error("the memory image has format version {0}, and this build reads up to {FORMAT_VERSION}")]
    NewerVersion(u16),
    /// A frame with a right checksum does not hold objects.
    #[error("the frame at offset {0} of the memory image is malformed")]
    Malformed(usize),
}

/// What a log holds.
pub(super) struct Recovered {
    pub(super) objects: BTreeMap<ObjectKey, Arc<[u8]>>,
    /// How many bytes were read before the end or the first unfinished frame.
    pub(super) valid_bytes: usize,
}

pub(super) fn read(bytes: &[u8], library: &LoadFileLibrary) -> Result<Recovered, LogError> {
    let header = bytes.get(..HEADER).ok_or(LogError::NotAnImage)?;
    if &header[..6] != MAGIC {
        return Err(LogError::NotAnImage);
    }
    let version = u16::from_be_bytes([header[6], header[7]]);
    if version > FORMAT_VERSION {
        return Err(LogError::NewerVersion(version));
    }
    let mut recovered = Recovered { objects: BTreeMap::new(), valid_bytes: HEADER };
    while let Some((payload, end)) = next_frame(bytes, recovered.valid_bytes) {
        replay(payload, &mut recovered.objects, library).ok_or(LogError::Malformed(recovered.valid_bytes))?;
        recovered.valid_bytes = end;
    }
    Ok(recovered)
}

/// The payload of the frame at `offset` and where the next begins, if the frame is whole.
fn next_frame(bytes: &[u8], offset: usize) -> Option<(&[u8], usize)> {
    let rest = &bytes[offset..];
    let length = rest.first_chunk::<4>()?;
    let end = usize::try_from(u32::from_be_bytes(*length)).ok()?.checked_add(4)?;
    let framed = rest.get(..end)?;
    let checksum = rest.get(end..end.checked_add(CHECKSUM)?)?;
    let right = Sha256::digest(framed);
    (checksum == &right[..CHECKSUM]).then_some((&framed[4..], offset + end + CHECKSUM))
}

fn replay(
    mut payload: &[u8],
    objects: &mut BTreeMap<ObjectKey, Arc<[u8]>>,
    library: &LoadFileLibrary,
) -> Option<()> {
    while let Some((header, rest)) = payload.split_first_chunk::<6>() {
        let [owner_high, owner_low, space, object_high, object_low, kind] = *header;
        let key = ObjectKey {
            owner: u16::from_be_bytes([owner_high, owner_low]),
            space: Space::from_byte(space)?,
            object: u16::from_be_bytes([object_high, object_low]),
        };
        payload = match kind {
            0 => {
                objects.remove(&key);
                rest
            }
            1 => {
                let (length, rest) = rest.split_first_chunk::<4>()?;
                let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                objects
                    .insert(key, if key.space == Space::Code { library.share(value) } else { value.into() });
                rest
            }
            _ => return None,
        };
    }
    payload.is_empty().then_some(())
}

/// One frame for `changes`.
pub(super) fn frame<'a>(changes: impl Iterator<Item = (ObjectKey, Option<&'a Arc<[u8]>>)>) -> Vec<Chunk> {
    let mut writer = FrameWriter { chunks: Vec::new(), own: vec![0; 4], length: 0 };
    for (key, value) in changes {
        writer.object(key, value);
    }
    writer.finish()
}

struct FrameWriter {
    chunks: Vec<Chunk>,
    own: Vec<u8>,
    length: u32,
}

impl FrameWriter {
    fn object(&mut self, key: ObjectKey, value: Option<&Arc<[u8]>>) {
        self.own.extend(key.owner.to_be_bytes());
        self.own.push(key.space.to_byte());
        self.own.extend(key.object.to_be_bytes());
        let Some(value) = value else {
            self.own.push(0);
            self.length += 6;
            return;
        };
        self.own.push(1);
        self.own.extend((value.len() as u32).to_be_bytes());
        self.length += object_size(value) as u32;
        if key.space == Space::Code {
            self.chunks.push(Chunk::Own(std::mem::take(&mut self.own)));
            self.chunks.push(Chunk::Shared(Arc::clone(value)));
        } else {
            self.own.extend_from_slice(value);
        }
    }

    fn finish(mut self) -> Vec<Chunk> {
        self.chunks.push(Chunk::Own(self.own));
        let length = self.length.to_be_bytes();
        if let Some(Chunk::Own(first)) = self.chunks.first_mut() {
            first[..4].copy_from_slice(&length);
        }
        let mut digest = Sha256::new();
        for chunk in &self.chunks {
            digest.update(chunk.as_bytes());
        }
        let checksum = digest.finalize();
        if let Some(Chunk::Own(last)) = self.chunks.last_mut() {
            last.extend_from_slice(&checksum[..CHECKSUM]);
        }
        self.chunks
    }
}

/// A log that holds `objects` and nothing else.
pub(super) fn whole(objects: &BTreeMap<ObjectKey, Arc<[u8]>>) -> Vec<Chunk> {
    let mut header = MAGIC.to_vec();
    header.extend(FORMAT_VERSION.to_be_bytes());
    if objects.is_empty() {
        return vec![Chunk::Own(header)];
    }
    let mut chunks = frame(objects.iter().map(|(key, value)| (*key, Some(value))));
    if let Some(Chunk::Own(first)) = chunks.first_mut() {
        header.append(first);
        *first = header;
    }
    chunks
}

/// What one written object takes in the log.
pub(super) fn object_size(value: &[u8]) -> usize {
    OBJECT_HEADER + value.len()
}

/// What `objects` take in the log.
pub(super) fn live_size(objects: &BTreeMap<ObjectKey, Arc<[u8]>>) -> usize {
    objects.values().map(|value| object_size(value)).sum()
}
