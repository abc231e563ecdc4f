//! The two key sets that a purse carries.

/// Which cipher a purse transaction uses.
///
/// The identifiers are those seen in T-Union back offices: 00 and 01. The SM4 formulas have no
/// public standard text; [`crate::crypto`] says what we assume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Algorithm {
    /// 3DES with two keys.
    #[default]
    TripleDes,
    /// SM4 (GB/T 32907).
    Sm4,
}

/// An algorithm identifier that no purse of ours has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("algorithm identifier {0:02X} is neither 3DES (00) nor SM4 (01)")]
pub struct UnknownAlgorithm(pub u8);

impl Algorithm {
    /// The identifier in INITIALIZE answers.
    pub const fn identifier(self) -> u8 {
        match self {
            Self::TripleDes => 0x00,
            Self::Sm4 => 0x01,
        }
    }

    /// The cipher's block length in bytes.
    pub const fn block_length(self) -> usize {
        match self {
            Self::TripleDes => 8,
            Self::Sm4 => 16,
        }
    }
}

impl TryFrom<u8> for Algorithm {
    type Error = UnknownAlgorithm;

    fn try_from(identifier: u8) -> Result<Self, UnknownAlgorithm> {
        match identifier {
            0x00 => Ok(Self::TripleDes),
            0x01 => Ok(Self::Sm4),
            other => Err(UnknownAlgorithm(other)),
        }
    }
}
