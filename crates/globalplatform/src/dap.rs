//! Data authentication patterns: signatures of security domains over load files
//! (GPC 2.3.1, 9.2.1 and C.3).

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tsm_iso7816::Aid;

use crate::{
    commands::load::DapBlock,
    signature::{SignatureKeyError, SigningKey, VerifyingKey, WrongSignature},
};

/// The algorithm of a load file data block hash (GPC 2.3.1 C.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HashAlgorithm {
    /// 20 bytes; the default.
    #[default]
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// The algorithm whose hashes have `length` bytes: INSTALL [for load] names it by length alone.
    pub const fn of_length(length: usize) -> Option<Self> {
        match length {
            20 => Some(Self::Sha1),
            32 => Some(Self::Sha256),
            48 => Some(Self::Sha384),
            64 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The hash of a load file data block, which the C4 contains.
    pub fn hash(self, load_file_data_block: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(load_file_data_block).to_vec(),
            Self::Sha256 => Sha256::digest(load_file_data_block).to_vec(),
            Self::Sha384 => Sha384::digest(load_file_data_block).to_vec(),
            Self::Sha512 => Sha512::digest(load_file_data_block).to_vec(),
        }
    }
}

/// Signs a load file for `security_domain`: the signature is over the load file data block hash.
pub fn sign(
    security_domain: Aid,
    key: &SigningKey,
    load_file_data_block_hash: &[u8],
) -> Result<DapBlock, SignatureKeyError> {
    Ok(DapBlock { security_domain, signature: key.sign(load_file_data_block_hash)? })
}

/// Whether a DAP block is right for a load file with this hash.
pub fn verify(
    block: &DapBlock,
    key: &VerifyingKey,
    load_file_data_block_hash: &[u8],
) -> Result<(), WrongSignature> {
    key.verify(load_file_data_block_hash, &block.signature)
}
