//! The anchor: how far the journal had come when it was last written, so that a missing tail is seen.
//!
//! Two slots of 40 bytes, written in turn, so that a torn write leaves the other one:
//!
//! ```text
//! slot  8  index of the last frame
//!      16  its MAC
//!      16  HMAC-SHA-256 over "anchor", terminal and the two fields, left half
//! ```
//!
//! The anchor is written after the frame that it names. A real terminal keeps it in its PSAM's memory;
//! in a file of its own it shows what happens to the journal, not what happens to both files together. Both put
//! back to an earlier day show at the centre, which numbers what it has of each terminal.

use subtle::ConstantTimeEq as _;
use tsm_epurse::TerminalNumber;

use super::log::{CHAIN, ChainMac, StoreKey};

/// The length of a slot.
pub const SLOT: usize = 8 + CHAIN + CHAIN;

/// How far the journal had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// The index of the last frame.
    pub index: u64,
    /// Its MAC.
    pub chain: ChainMac,
}

impl Anchor {
    /// The slot's bytes.
    pub fn encode(&self, key: &StoreKey, terminal: TerminalNumber) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        bytes[..8].copy_from_slice(&self.index.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.chain);
        let sealed = seal(&bytes[..24], key, terminal);
        bytes[24..].copy_from_slice(&sealed);
        bytes
    }

    /// Where the slot of this anchor stands in its file.
    pub const fn place(&self) -> u64 {
        (self.index % 2) * SLOT as u64
    }

    /// The newer of the two slots that hold together.
    pub fn read(bytes: &[u8], key: &StoreKey, terminal: TerminalNumber) -> Option<Self> {
        let slots = bytes.chunks(SLOT).take(2);
        slots.filter_map(|slot| Self::read_slot(slot, key, terminal)).max_by_key(|anchor| anchor.index)
    }

    fn read_slot(slot: &[u8], key: &StoreKey, terminal: TerminalNumber) -> Option<Self> {
        let slot: &[u8; SLOT] = slot.try_into().ok()?;
        let sealed = seal(&slot[..24], key, terminal);
        if !bool::from(sealed.ct_eq(&slot[24..])) {
            return None;
        }
        let index = u64::from_be_bytes(*slot.first_chunk()?);
        Some(Self { index, chain: slot[8..24].try_into().ok()? })
    }
}

fn seal(fields: &[u8], key: &StoreKey, terminal: TerminalNumber) -> ChainMac {
    key.mac(&[b"anchor", &terminal.to_bytes(), fields])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: TerminalNumber = TerminalNumber::new([0x09, 0x99, 0, 0, 0, 0x42]);

    #[test]
    fn the_newer_slot_counts_and_a_torn_one_does_not() {
        let key = StoreKey::new([7; 32]);
        let slot = |index: u64| Anchor { index, chain: [index as u8; 16] };
        let both = [slot(4).encode(&key, TERMINAL), slot(5).encode(&key, TERMINAL)].concat();
        assert_eq!(Anchor::read(&both, &key, TERMINAL), Some(slot(5)));
        for place in 0..SLOT {
            let mut torn = both.clone();
            torn[SLOT + place] ^= 0x10;
            assert_eq!(Anchor::read(&torn, &key, TERMINAL), Some(slot(4)));
        }
        assert_eq!(Anchor::read(&both, &StoreKey::new([8; 32]), TERMINAL), None);
        assert_eq!((slot(4).place(), slot(5).place()), (0, SLOT as u64));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let key = StoreKey::new([7; 32]);
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = Anchor::read(bytes, &key, TERMINAL);
        });
    }
}
