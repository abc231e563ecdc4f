//! Allocation of AIDs by the platform (B-8.3.2, tables 2 and 3).
//!
//! An AID has 16 bytes: RID (5), business and application code (9), reserved (1), sequence (1, 0 to F).
//! Application and security domain AIDs have the same layout.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tsm_iso7816::Aid;

/// An AID in the layout of B-8.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportAid {
    /// The registered application provider identifier.
    pub rid: [u8; 5],
    /// Proprietary id, application type id, institution code and application code.
    pub code: [u8; 9],
    /// 0 to 15.
    pub sequence: u8,
}

/// Why an AID is not in the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportAidError {
    /// It has 16 bytes.
    #[error("a transport AID has 16 bytes, and this has {0}")]
    Length(usize),
    /// The reserved byte is zero.
    #[error("the reserved byte of a transport AID is 00, and this is {0:02X}")]
    Reserved(u8),
    /// The sequence is 0 to F.
    #[error("the sequence of a transport AID is 00 to 0F, and this is {0:02X}")]
    Sequence(u8),
}

/// What an AID is for. Each purpose has a mark of its own in the code, so the kinds never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AidPurpose {
    /// A load file (package).
    LoadFile,
    /// A module (class).
    Module,
    /// An instance.
    Instance,
    /// A security domain.
    SecurityDomain,
}

/// All sequences of one code are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sixteen AIDs of this institution, application and purpose are used up")]
pub struct AidExhausted;

/// Assigns AIDs that no one else has.
#[derive(Debug, Clone)]
pub struct AidAllocator {
    rid: [u8; 5],
    used: BTreeSet<Aid>,
}

impl TransportAid {
    /// The AID.
    pub fn aid(&self) -> Aid {
        let mut bytes = [0; 16];
        bytes[..5].copy_from_slice(&self.rid);
        bytes[5..14].copy_from_slice(&self.code);
        bytes[15] = self.sequence;
        Aid::constant(&bytes)
    }
}

impl TryFrom<Aid> for TransportAid {
    type Error = TransportAidError;

    fn try_from(aid: Aid) -> Result<Self, TransportAidError> {
        let length = aid.as_bytes().len();
        let bytes: [u8; 16] = aid.as_bytes().try_into().map_err(|_| TransportAidError::Length(length))?;
        if bytes[14] != 0 {
            return Err(TransportAidError::Reserved(bytes[14]));
        }
        if bytes[15] > 0x0F {
            return Err(TransportAidError::Sequence(bytes[15]));
        }
        let mut code = [0; 9];
        code.copy_from_slice(&bytes[5..14]);
        Ok(Self { rid: aid.rid(), code, sequence: bytes[15] })
    }
}

impl AidPurpose {
    /// The proprietary id, the first byte of the code.
    pub const fn mark(self) -> u8 {
        match self {
            Self::LoadFile => 0x10,
            Self::Module => 0x20,
            Self::Instance => 0x30,
            Self::SecurityDomain => 0x40,
        }
    }
}

impl AidAllocator {
    /// An allocator under `rid` that knows the AIDs in use, of whatever kind.
    pub fn new(rid: [u8; 5], used: impl IntoIterator<Item = Aid>) -> Self {
        Self { rid, used: used.into_iter().collect() }
    }

    /// A fresh AID. The code is: purpose, application type, institution (4), application (3).
    pub fn assign(
        &mut self,
        purpose: AidPurpose,
        application_type: u8,
        institution: u32,
        application: u32,
    ) -> Result<Aid, AidExhausted> {
        let mut code = [0; 9];
        code[0] = purpose.mark();
        code[1] = application_type;
        code[2..6].copy_from_slice(&institution.to_be_bytes());
        code[6..].copy_from_slice(&application.to_be_bytes()[1..]);
        for sequence in 0..=0x0F {
            let aid = TransportAid { rid: self.rid, code, sequence }.aid();
            if self.used.insert(aid) {
                return Ok(aid);
            }
        }
        Err(AidExhausted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RID: [u8; 5] = [0xA0, 0, 0, 0x06, 0x32];

    /// req: B-8.3.2.a, B-8.3.2.b, P-5.3.2.b
    #[test]
    fn sixteen_bytes_with_a_sequence_of_sixteen() {
        for purpose in [AidPurpose::Instance, AidPurpose::SecurityDomain] {
            let mut allocator = AidAllocator::new(RID, []);
            let assigned: Vec<_> =
                (0..16).map(|_| allocator.assign(purpose, 1, 0x0101_1000, 0x00_00A1).unwrap()).collect();
            let mark = purpose.mark();
            assert_eq!(assigned[0].to_string(), format!("A000000632{mark:02X}01010110000000A10000"));
            assert_eq!(assigned[15].to_string(), format!("A000000632{mark:02X}01010110000000A1000F"));
            assert_eq!(assigned.iter().collect::<BTreeSet<_>>().len(), 16, "each is unique");
            assert_eq!(allocator.assign(purpose, 1, 0x0101_1000, 0x00_00A1), Err(AidExhausted));
            for aid in assigned {
                assert_eq!(TransportAid::try_from(aid).unwrap().aid(), aid);
            }
        }
    }

    /// req: B-8.3.2.c
    #[test]
    fn an_aid_in_use_is_never_assigned() {
        let taken = AidAllocator::new(RID, []).assign(AidPurpose::Instance, 1, 7, 9).unwrap();
        let next = AidAllocator::new(RID, [taken]).assign(AidPurpose::Instance, 1, 7, 9).unwrap();
        assert_ne!(next, taken);
        assert_eq!(TransportAid::try_from(next).unwrap().sequence, 1);
        let other = AidAllocator::new(RID, [taken]).assign(AidPurpose::LoadFile, 1, 7, 9).unwrap();
        assert_eq!(TransportAid::try_from(other).unwrap().sequence, 0, "purposes do not meet");
    }

    #[test]
    fn other_layouts_are_refused() {
        let parse = |text: &str| TransportAid::try_from(text.parse::<Aid>().unwrap());
        assert_eq!(parse("A000000632010105"), Err(TransportAidError::Length(8)));
        assert_eq!(parse("A0000006323001010110000000A10100"), Err(TransportAidError::Reserved(1)));
        assert_eq!(parse("A0000006323001010110000000A10010"), Err(TransportAidError::Sequence(0x10)));
    }
}
