//! Sector trailers (MF1S50 8.6.3): key A, access bits, one user byte, key B.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{
    BLOCK_LENGTH,
    access::{AccessBits, KeyUsed},
};
use crate::{LayoutError, bytes::Fields};

/// A sector key of six bytes. Wiped when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MifareKey([u8; 6]);

impl MifareKey {
    /// How many bytes it has.
    pub const LENGTH: usize = 6;
    /// The key of a sector that nobody has taken, FFFFFFFFFFFF.
    pub const TRANSPORT: Self = Self([0xFF; 6]);

    /// A key from its bytes.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn expose(&self) -> &[u8; 6] {
        &self.0
    }
}

impl PartialEq for MifareKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for MifareKey {}

impl fmt::Debug for MifareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MifareKey(redacted)")
    }
}

/// A sector's trailer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorTrailer {
    /// Bytes 0-5.
    pub key_a: MifareKey,
    /// Bytes 6-8.
    pub access: AccessBits,
    /// Byte 9, free.
    pub user: u8,
    /// Bytes 10-15.
    pub key_b: MifareKey,
}

impl SectorTrailer {
    /// The trailer of a sector that nobody has taken.
    pub const TRANSPORT: Self = Self {
        key_a: MifareKey::TRANSPORT,
        access: AccessBits::TRANSPORT,
        user: 0x69,
        key_b: MifareKey::TRANSPORT,
    };

    /// Whether `key` opens the sector as `used` says. A key B that can be read opens nothing.
    #[must_use]
    pub fn opens(&self, used: KeyUsed, key: &MifareKey) -> bool {
        match used {
            KeyUsed::A => self.key_a == *key,
            KeyUsed::B => self.key_b == *key && !self.access.group(3).key_b_is_readable(),
        }
    }

    /// The block.
    pub fn encode(&self) -> [u8; BLOCK_LENGTH] {
        let mut out = [0; BLOCK_LENGTH];
        out[..6].copy_from_slice(self.key_a.expose());
        out[6..9].copy_from_slice(&self.access.encode());
        out[9] = self.user;
        out[10..].copy_from_slice(self.key_b.expose());
        out
    }

    /// Reads the block.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a sector trailer", bytes, BLOCK_LENGTH)?;
        Ok(Self {
            key_a: MifareKey(fields.array()?),
            access: AccessBits::decode(fields.array()?)?,
            user: fields.byte()?,
            key_b: MifareKey(fields.array()?),
        })
    }

    /// What READ of the trailer answers after authentication with `used`: key A never, key B only where it is
    /// data, access bits where the condition allows.
    pub fn readable(&self, used: KeyUsed) -> [u8; BLOCK_LENGTH] {
        let mut out = self.encode();
        let condition = self.access.group(3);
        out[..6].fill(0);
        if !condition.allows_access_bits_read(used) {
            out[6..10].fill(0);
        }
        if !condition.key_b_is_readable() {
            out[10..].fill(0);
        }
        out
    }

    /// The trailer after WRITE of `new` with `used`, when the condition allows every change.
    pub fn rewritten(&self, new: &Self, used: KeyUsed) -> Option<Self> {
        let condition = self.access.group(3);
        let keys_change = self.key_a != new.key_a || self.key_b != new.key_b;
        let bits_change = self.access != new.access || self.user != new.user;
        let allowed = (!keys_change || condition.allows_keys_write(used))
            && (!bits_change || condition.allows_access_bits_write(used));
        allowed.then(|| new.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mifare::Condition;

    #[test]
    fn a_trailer_reads_back_and_hides_its_keys() {
        let trailer = SectorTrailer::TRANSPORT;
        assert_eq!(hex::encode_upper(trailer.encode()), "FFFFFFFFFFFFFF078069FFFFFFFFFFFF");
        assert_eq!(SectorTrailer::decode(&trailer.encode()), Ok(trailer.clone()));
        assert_eq!(hex::encode_upper(trailer.readable(KeyUsed::A)), "000000000000FF078069FFFFFFFFFFFF");
        assert!(trailer.opens(KeyUsed::A, &MifareKey::TRANSPORT));
        assert!(!trailer.opens(KeyUsed::B, &MifareKey::TRANSPORT), "a readable key B opens nothing");
        assert!(!format!("{trailer:?}").contains("255"));
    }

    #[test]
    fn only_the_key_that_the_condition_names_rewrites() {
        let access = AccessBits([0b100, 0b100, 0b100, 0b011].map(Condition::new));
        let trailer = SectorTrailer { access, key_b: MifareKey::new([1; 6]), ..SectorTrailer::TRANSPORT };
        let new = SectorTrailer { key_a: MifareKey::new([2; 6]), ..trailer.clone() };
        assert_eq!(trailer.rewritten(&new, KeyUsed::A), None);
        assert_eq!(trailer.rewritten(&new, KeyUsed::B), Some(new));
        assert_eq!(hex::encode_upper(trailer.readable(KeyUsed::B)), "00000000000078778869000000000000");
    }
}
