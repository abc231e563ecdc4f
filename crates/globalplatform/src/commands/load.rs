//! LOAD (GPC 2.3.1, 11.6): blocks of a load file, and the load file's own structure.

use tsm_iso7816::{Aid, CommandApdu, tlv};

use super::{CLA, CommandError, expect_instruction, parameters_error};

/// LOAD: one block of a load file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Whether more blocks follow.
    pub position: BlockPosition,
    /// The block's number, from 00.
    pub number: u8,
    /// The block.
    pub data: Vec<u8>,
}

/// Whether a block is the last (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockPosition {
    /// 00: more blocks follow.
    More,
    /// 80: the last block.
    Last,
}

/// The signature of one security domain over the load file data block hash (E2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DapBlock {
    /// The domain that verifies it.
    pub security_domain: Aid,
    /// The load file data block signature.
    pub signature: Vec<u8>,
}

/// What stands before the load file data block: DAP blocks, then the tag and length of the block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFileHeader {
    /// The DAP blocks, none or several.
    pub dap_blocks: Vec<DapBlock>,
    /// Whether the data block is ciphered (D4) or plain (C4).
    pub cipherment: Cipherment,
    /// Where the data block begins in the load file.
    pub data_offset: usize,
    /// How many bytes the data block has.
    pub data_length: usize,
}

/// Whether a load file data block is ciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipherment {
    /// C4: plain.
    Plain,
    /// D4: ciphered, for a domain with that privilege.
    Ciphered,
}

impl Load {
    /// The instruction byte.
    pub const INS: u8 = 0xE8;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let p1 = match self.position {
            BlockPosition::More => 0x00,
            BlockPosition::Last => 0x80,
        };
        CommandApdu::new(CLA, Self::INS, p1, self.number).with_data(self.data.clone())
    }

    /// The blocks of a load file, `block_size` bytes each but the last.
    ///
    /// `None` when the size is zero, the file is empty or it needs more than 256 blocks.
    pub fn blocks(load_file: &[u8], block_size: usize) -> Option<Vec<Self>> {
        if block_size == 0 || load_file.is_empty() {
            return None;
        }
        let last = load_file.len().div_ceil(block_size) - 1;
        load_file
            .chunks(block_size)
            .enumerate()
            .map(|(number, data)| {
                let position = if number == last { BlockPosition::Last } else { BlockPosition::More };
                Some(Self { position, number: u8::try_from(number).ok()?, data: data.to_vec() })
            })
            .collect()
    }
}

impl TryFrom<&CommandApdu> for Load {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        let position = match command.p1 {
            0x00 => BlockPosition::More,
            0x80 => BlockPosition::Last,
            _ => return Err(parameters_error(command)),
        };
        if command.data.is_empty() {
            return Err(CommandError::Length { found: 0 });
        }
        Ok(Self { position, number: command.p2, data: command.data.clone() })
    }
}

// GPC 2.3.1 table 11-58: load file structure.
/// A whole load file: the DAP blocks, then the load file data block in C4.
pub fn load_file(dap_blocks: &[DapBlock], data_block: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data_block.len() + 8 + dap_blocks.len() * 160);
    for block in dap_blocks {
        let mut value = tlv::encode(0x4F, block.security_domain.as_bytes());
        tlv::write(&mut value, 0xC3, &block.signature);
        tlv::write(&mut out, 0xE2, &value);
    }
    tlv::write(&mut out, 0xC4, data_block);
    out
}

/// The most bytes that may stand before the load file data block.
const HEADER_MAX: usize = 8 * 1024;

impl LoadFileHeader {
    /// Reads the header from the beginning of a load file, as far as its blocks have arrived.
    ///
    /// `Ok(None)` means that the header is not complete yet.
    pub fn parse(received: &[u8]) -> Result<Option<Self>, CommandError> {
        let mut dap_blocks = Vec::new();
        let mut offset = 0;
        loop {
            let Some((tag, length, header)) = object_header(&received[offset..])? else {
                return Ok(None);
            };
            let start = offset + header;
            match tag {
                0xE2 => {
                    let Some(value) = start.checked_add(length).and_then(|end| received.get(start..end))
                    else {
                        if length > HEADER_MAX {
                            return Err(CommandError::Value { field: "DAP block" });
                        }
                        return Ok(None);
                    };
                    dap_blocks.push(DapBlock::parse(value)?);
                    offset = start + length;
                }
                0xC4 => return Ok(Some(Self::new(dap_blocks, Cipherment::Plain, start, length))),
                0xD4 => return Ok(Some(Self::new(dap_blocks, Cipherment::Ciphered, start, length))),
                _ => return Err(CommandError::Value { field: "load file" }),
            }
        }
    }

    const fn new(
        dap_blocks: Vec<DapBlock>,
        cipherment: Cipherment,
        data_offset: usize,
        data_length: usize,
    ) -> Self {
        Self { dap_blocks, cipherment, data_offset, data_length }
    }
}

impl DapBlock {
    fn parse(value: &[u8]) -> Result<Self, CommandError> {
        let aid = tlv::find_one(value, 0x4F)?;
        let security_domain = super::fields::to_aid("security domain AID", aid)?;
        Ok(Self { security_domain, signature: tlv::find_one(value, 0xC3)?.to_vec() })
    }
}

/// Tag, length and header size of the object that begins here, once all of its header is there.
fn object_header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, CommandError> {
    let [tag, first, rest @ ..] = bytes else {
        return Ok(None);
    };
    let count = match first {
        0..=0x7F => return Ok(Some((*tag, usize::from(*first), 2))),
        0x81..=0x83 => usize::from(first & 0x7F),
        _ => return Err(CommandError::Value { field: "load file" }),
    };
    let Some(bytes) = rest.get(..count) else {
        return Ok(None);
    };
    let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    Ok(Some((*tag, length, 2 + count)))
}
