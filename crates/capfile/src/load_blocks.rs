//! LOAD data: optional DAP blocks, then the load file data block, cut into blocks
//! (GPC 2.3.1 11.6.2.3, tables 11-58 and 11-59).

use tsm_iso7816::{Aid, tlv};

const TAG_DAP_BLOCK: u32 = 0xE2;
const TAG_DATA_BLOCK: u32 = 0xC4;
const TAG_SECURITY_DOMAIN: u32 = 0x4F;
const TAG_SIGNATURE: u32 = 0xC3;

/// P2 of LOAD counts the blocks in one byte.
const MAX_BLOCKS: usize = 256;

/// A security domain's signature over the load file data block hash (GPC 2.3.1 C.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DapBlock {
    /// The domain that will verify it.
    pub security_domain: Aid,
    /// The signature.
    pub signature: Vec<u8>,
}

/// One LOAD command's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadBlock {
    /// P2: the block's number.
    pub number: u8,
    /// Whether P1 marks the last block.
    pub is_last: bool,
    /// The command data.
    pub data: Vec<u8>,
}

/// Why a load file cannot be cut into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoadBlocksError {
    /// A block has at least one byte.
    #[error("a load block of no bytes carries nothing")]
    EmptyBlocks,
    /// LOAD numbers its blocks in one byte.
    #[error("{bytes} bytes in blocks of {block_size} are {blocks} blocks, and LOAD numbers 256")]
    TooManyBlocks {
        /// The bytes to send.
        bytes: usize,
        /// The block size asked for.
        block_size: usize,
        /// The blocks it would take.
        blocks: usize,
    },
}

/// The blocks of a load, in order.
#[derive(Debug, Clone)]
pub struct LoadBlocks {
    image: Vec<u8>,
    block_size: usize,
    next: usize,
}

impl LoadBlocks {
    /// Cuts DAP blocks and load file data block into blocks of at most `block_size` bytes: what the card and
    /// the secure channel leave of a command's data.
    pub fn new(
        data_block: &[u8],
        dap_blocks: &[DapBlock],
        block_size: usize,
    ) -> Result<Self, LoadBlocksError> {
        if block_size == 0 {
            return Err(LoadBlocksError::EmptyBlocks);
        }
        let mut image = Vec::with_capacity(data_block.len() + 5);
        for dap in dap_blocks {
            let mut value = tlv::encode(TAG_SECURITY_DOMAIN, dap.security_domain.as_bytes());
            value.extend(tlv::encode(TAG_SIGNATURE, &dap.signature));
            image.extend(tlv::encode(TAG_DAP_BLOCK, &value));
        }
        image.extend(tlv::encode(TAG_DATA_BLOCK, data_block));
        let blocks = image.len().div_ceil(block_size);
        if blocks > MAX_BLOCKS {
            return Err(LoadBlocksError::TooManyBlocks { bytes: image.len(), block_size, blocks });
        }
        Ok(Self { image, block_size, next: 0 })
    }

    /// All bytes that the LOAD commands carry together.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    fn block_count(&self) -> usize {
        self.image.len().div_ceil(self.block_size)
    }
}

impl Iterator for LoadBlocks {
    type Item = LoadBlock;

    fn next(&mut self) -> Option<LoadBlock> {
        let data = self.image.chunks(self.block_size).nth(self.next)?.to_vec();
        // `new` saw to it that there are no more than 256 blocks.
        let number = u8::try_from(self.next).ok()?;
        self.next += 1;
        Some(LoadBlock { number, is_last: self.next == self.block_count(), data })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.block_count() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for LoadBlocks {}

/// Why the bytes of all LOAD commands are not a load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadImageError {
    /// Not BER-TLV.
    #[error("the LOAD data is not BER-TLV: {0}")]
    Tlv(#[from] tlv::TlvError),
    /// A DAP block's domain is not an AID.
    #[error("a DAP block names no security domain: {0}")]
    SecurityDomain(#[from] tsm_iso7816::AidError),
    /// An object that does not belong there.
    #[error("the data object {0:X} does not belong in LOAD data")]
    Unexpected(u32),
    /// Something follows the load file data block.
    #[error("data follows the load file data block")]
    Trailing,
    /// There is no load file data block.
    #[error("the LOAD data holds no load file data block (C4)")]
    NoDataBlock,
}

/// The bytes of all LOAD commands, taken apart again: the card's side of [`LoadBlocks`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadImage<'a> {
    /// The DAP blocks in their order.
    pub dap_blocks: Vec<DapBlock>,
    /// The load file data block.
    pub data_block: &'a [u8],
}

impl<'a> LoadImage<'a> {
    /// Reads DAP blocks and the load file data block after them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LoadImageError> {
        let mut dap_blocks = Vec::new();
        let mut data_block = None;
        for object in tlv::Reader::new(bytes) {
            let object = object?;
            if data_block.is_some() {
                return Err(LoadImageError::Trailing);
            }
            match object.tag.0 {
                TAG_DAP_BLOCK => dap_blocks.push(DapBlock {
                    security_domain: Aid::new(tlv::find_one(object.value, TAG_SECURITY_DOMAIN)?)?,
                    signature: tlv::find_one(object.value, TAG_SIGNATURE)?.to_vec(),
                }),
                TAG_DATA_BLOCK => data_block = Some(object.value),
                other => return Err(LoadImageError::Unexpected(other)),
            }
        }
        Ok(Self { dap_blocks, data_block: data_block.ok_or(LoadImageError::NoDataBlock)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dap(length: usize) -> DapBlock {
        let security_domain = Aid::new(&[0xA0, 0, 0, 1, 0x51, 0, 0, 0]).unwrap();
        DapBlock { security_domain, signature: vec![0x5A; length] }
    }

    /// GPC 2.3.1, table 11-58: tags and lengths before the data.
    #[test]
    fn blocks_begin_with_tag_and_length() {
        let blocks: Vec<LoadBlock> = LoadBlocks::new(&[7; 5], &[dap(3)], 10).unwrap().collect();
        let image: Vec<u8> = blocks.iter().flat_map(|block| block.data.clone()).collect();
        let expected = "E20F4F08A000000151000000C3035A5A5AC4050707070707";
        assert_eq!(image, hex::decode(expected).unwrap());
        let numbers: Vec<(u8, bool, usize)> =
            blocks.iter().map(|block| (block.number, block.is_last, block.data.len())).collect();
        assert_eq!(numbers, [(0, false, 10), (1, false, 10), (2, true, 4)]);
        let long = LoadBlocks::new(&[0; 300], &[], 255).unwrap();
        assert_eq!(long.image()[..4], [0xC4, 0x82, 0x01, 0x2C]);
    }

    #[test]
    fn block_numbers_end_at_255() {
        let blocks = LoadBlocks::new(&[0; 252], &[], 1).unwrap();
        assert_eq!((blocks.len(), blocks.last().unwrap().number), (255, 254));
        let error = LoadBlocks::new(&[0; 254], &[], 1).unwrap_err();
        assert_eq!(error, LoadBlocksError::TooManyBlocks { bytes: 257, block_size: 1, blocks: 257 });
        assert_eq!(LoadBlocks::new(&[0], &[], 0).unwrap_err(), LoadBlocksError::EmptyBlocks);
    }

    #[test]
    fn what_is_no_load_is_refused() {
        let cases = ["", "C4", "C40201", "E200C401FF", "4F00", "C400C400", "E20A4F05A000000151C30101"];
        for case in cases {
            assert!(LoadImage::parse(&hex::decode(case).unwrap()).is_err(), "{case}");
        }
    }

    proptest! {
        #[test]
        fn blocks_put_together_are_the_load(
            data in proptest::collection::vec(any::<u8>(), 0..5000),
            signatures in proptest::collection::vec(0usize..130, 0..3),
            block_size in 30usize..300,
        ) {
            let daps: Vec<DapBlock> = signatures.into_iter().map(dap).collect();
            let blocks: Vec<LoadBlock> = LoadBlocks::new(&data, &daps, block_size).unwrap().collect();
            prop_assert!(blocks.iter().all(|block| block.data.len() <= block_size && !block.data.is_empty()));
            prop_assert_eq!(blocks.iter().filter(|block| block.is_last).count(), 1);
            prop_assert!(blocks.last().unwrap().is_last);
            let image: Vec<u8> = blocks.into_iter().flat_map(|block| block.data).collect();
            let load = LoadImage::parse(&image).unwrap();
            prop_assert_eq!(load.data_block, &data[..]);
            prop_assert_eq!(load.dap_blocks, daps);
        }
    }

    #[test]
    fn fuzz_load_image() {
        bolero::check!().for_each(|bytes: &[u8]| drop(LoadImage::parse(bytes)));
    }
}
