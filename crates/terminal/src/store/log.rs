//! The journal's format.
//!
//! ```text
//! header  8  "OTSMTRM1"
//!         6  the terminal's number
//!         2  zero
//!         8  index of the snapshot
//! frame   4  length of the payload
//!         8  index, one more than the frame before
//!         n  payload: the first a snapshot of the state, the others a line each, as JSON
//!        16  MAC
//! ```
//!
//! All numbers are big endian. Each MAC is the left half of HMAC-SHA-256 over the MAC before it (the first:
//! over the header's), length, index and payload. So no frame can be changed, left out, put elsewhere or taken
//! from another terminal; only a tail can be cut off unseen, and that is what the [anchor](super::anchor) is for.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use tsm_epurse::TerminalNumber;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"OTSMTRM1";
/// How long the header is.
pub const HEADER: usize = 24;
/// Length and index before a payload.
const PREFIX: usize = 12;
/// A frame's length without its payload.
pub const OVERHEAD: usize = PREFIX + CHAIN;
/// The longest payload; a longer one is damage.
pub const LONGEST_PAYLOAD: usize = 64 << 20;
/// The length of a MAC.
pub const CHAIN: usize = 16;

/// The MAC of a frame, on which the next one rests.
pub type ChainMac = [u8; CHAIN];

/// The key of a terminal's store. It stays in the terminal.
#[derive(Clone)]
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl StoreKey {
    /// The key with this value.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The left half of the HMAC over `parts`, one after the other.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> ChainMac {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        let whole = mac.finalize().into_bytes();
        let mut half = [0; CHAIN];
        half.copy_from_slice(&whole[..CHAIN]);
        half
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

/// Writes frames.
#[derive(Debug, Clone)]
pub struct LogWriter {
    key: StoreKey,
    index: u64,
    chain: ChainMac,
}

impl LogWriter {
    /// Begins a journal: its header and a snapshot as its first frame.
    pub fn begin(key: StoreKey, terminal: TerminalNumber, index: u64, snapshot: &[u8]) -> (Self, Vec<u8>) {
        let header = header(terminal, index);
        let chain = key.mac(&[&header]);
        // The snapshot's own frame has the index that its header names.
        let mut writer = Self { key, index: index.wrapping_sub(1), chain };
        let mut bytes = header.to_vec();
        bytes.extend(writer.frame(snapshot));
        (writer, bytes)
    }

    /// The next frame.
    pub fn frame(&mut self, payload: &[u8]) -> Vec<u8> {
        self.index = self.index.wrapping_add(1);
        let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
        bytes.extend(self.index.to_be_bytes());
        bytes.extend(payload);
        self.chain = self.key.mac(&[&self.chain, &bytes]);
        bytes.extend(self.chain);
        bytes
    }

    /// The index of the last frame.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The MAC of the last frame.
    pub const fn chain(&self) -> ChainMac {
        self.chain
    }
}

/// What a journal holds, as far as it holds together.
#[derive(Debug, Clone)]
pub struct ReadLog<'a> {
    /// The payloads, the first a snapshot.
    pub payloads: Vec<&'a [u8]>,
    /// The MAC of each frame.
    pub chain: Vec<ChainMac>,
    /// The index of the snapshot.
    pub first: u64,
    /// How many bytes hold together; what follows is a torn write or damage.
    pub whole: usize,
}

/// Why nothing of a journal can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It does not begin as a journal does.
    #[error("this is not the journal of a terminal")]
    NotAJournal,
    /// It is another terminal's.
    #[error("this is the journal of another terminal")]
    AnotherTerminal,
    /// Its snapshot is torn, changed or under another key.
    #[error("the journal's first frame does not hold together")]
    NoSnapshot,
}

impl ReadLog<'_> {
    /// The index of the last frame.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(self.payloads.len() as u64 - 1)
    }

    /// The MAC of the frame with this index.
    pub fn chain_at(&self, index: u64) -> Option<ChainMac> {
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.chain.get(place).copied()
    }

    /// A writer that goes on behind the last frame.
    pub fn writer(&self, key: StoreKey) -> LogWriter {
        let chain = *self.chain.last().expect("a journal that was read has its snapshot");
        LogWriter { key, index: self.last(), chain }
    }
}

/// Reads a journal up to the first frame that does not hold together.
pub fn read<'a>(bytes: &'a [u8], key: &StoreKey, terminal: TerminalNumber) -> Result<ReadLog<'a>, LogError> {
    let Some((head, mut rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(LogError::NotAJournal);
    };
    if head[..8] != *MAGIC || head[14..16] != [0, 0] {
        return Err(LogError::NotAJournal);
    }
    if head[8..14] != terminal.to_bytes() {
        return Err(LogError::AnotherTerminal);
    }
    let first = u64::from_be_bytes(head[16..].try_into().expect("eight bytes are left of the header"));
    let mut read = ReadLog { payloads: Vec::new(), chain: Vec::new(), first, whole: HEADER };
    let mut chain = key.mac(&[head]);
    let mut index = first;
    while let Some(frame) = next(rest, index, &chain, key) {
        chain = frame.mac;
        read.payloads.push(frame.payload);
        read.chain.push(frame.mac);
        read.whole += frame.length;
        rest = &rest[frame.length..];
        let Some(following) = index.checked_add(1) else { break };
        index = following;
    }
    if read.payloads.is_empty() { Err(LogError::NoSnapshot) } else { Ok(read) }
}

struct Frame<'a> {
    payload: &'a [u8],
    mac: ChainMac,
    length: usize,
}

fn next<'a>(bytes: &'a [u8], index: u64, chain: &ChainMac, key: &StoreKey) -> Option<Frame<'a>> {
    let (prefix, rest) = bytes.split_first_chunk::<PREFIX>()?;
    let length = u32::from_be_bytes(*prefix.first_chunk()?) as usize;
    if length > LONGEST_PAYLOAD || prefix[4..] != index.to_be_bytes() {
        return None;
    }
    let payload = rest.get(..length)?;
    let mac: ChainMac = rest.get(length..length + CHAIN)?.try_into().ok()?;
    let expected = key.mac(&[chain, prefix, payload]);
    bool::from(expected.ct_eq(&mac)).then_some(Frame { payload, mac, length: OVERHEAD + length })
}

fn header(terminal: TerminalNumber, index: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..14].copy_from_slice(&terminal.to_bytes());
    header[16..].copy_from_slice(&index.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMINAL: TerminalNumber = TerminalNumber::new([0x09, 0x99, 0, 0, 0, 0x42]);

    fn key() -> StoreKey {
        StoreKey::new([7; 32])
    }

    fn journal(payloads: &[&[u8]]) -> Vec<u8> {
        let (mut writer, mut bytes) = LogWriter::begin(key(), TERMINAL, 5, b"snapshot");
        for payload in payloads {
            bytes.extend(writer.frame(payload));
        }
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = journal(&[b"one", b"", b"three"]);
        let read = read(&bytes, &key(), TERMINAL).unwrap();
        assert_eq!(read.payloads, [&b"snapshot"[..], b"one", b"", b"three"]);
        assert_eq!((read.first, read.last(), read.whole), (5, 8, bytes.len()));
        let mut writer = read.writer(key());
        let more = [bytes.clone(), writer.frame(b"four")].concat();
        assert_eq!(super::read(&more, &key(), TERMINAL).unwrap().last(), 9);
    }

    /// Cut anywhere, every whole frame is still there, and nothing else.
    #[test]
    fn a_torn_write_loses_its_own_frame_only() {
        let bytes = journal(&[b"one", b"two"]);
        let ends: Vec<_> = [0, 1, 2].map(|frames| journal(&[&b"one"[..], b"two"][..frames]).len()).into();
        for cut in ends[0]..bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let read = read(&bytes[..cut], &key(), TERMINAL).unwrap();
            assert_eq!((read.payloads.len(), read.whole), (whole, ends[whole - 1]), "cut at {cut}");
        }
        for cut in 0..ends[0] {
            assert!(super::read(&bytes[..cut], &key(), TERMINAL).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn any_changed_bit_ends_the_journal_there() {
        let bytes = journal(&[b"one", b"two"]);
        let before_last = journal(&[b"one"]).len();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let found = read(&changed, &key(), TERMINAL).map(|read| read.whole);
            assert!(found.is_err() || found.unwrap() <= before_last, "changed at {place}");
        }
        let other = TerminalNumber::new([0x09, 0x99, 0, 0, 0, 0x43]);
        assert_eq!(read(&bytes, &key(), other).unwrap_err(), LogError::AnotherTerminal);
        assert_eq!(read(&bytes, &StoreKey::new([8; 32]), TERMINAL).unwrap_err(), LogError::NoSnapshot);
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = read(bytes, &key(), TERMINAL);
            let behind = [journal(&[b"one"]), bytes.to_vec()].concat();
            assert!(read(&behind, &key(), TERMINAL).unwrap().payloads.len() >= 2);
        });
    }

    proptest! {
        /// Two frames exchanged, or one left out, are never taken.
        #[test]
        fn order_is_part_of_it(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 2..6)) {
            let parts: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let bytes = journal(&parts);
            let first = journal(&[]).len();
            let second = first + OVERHEAD + parts[0].len();
            let without = [&bytes[..first], &bytes[second..]].concat();
            prop_assert_eq!(read(&without, &key(), TERMINAL).unwrap().payloads.len(), 1);
        }
    }
}
