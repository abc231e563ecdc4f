//! The emulated memory, one object for each sector that differs from the transport configuration.

use tsm_epurse::mifare::image::data_length;
use tsm_epurse::mifare::{BLOCK_LENGTH, Block, Capacity, Sector, SectorImage, SectorTrailer};
use tsm_iso7816::StatusWord;

use crate::applet::{AppletContext, ObjectId};

const CAPACITY: ObjectId = 0x0001;
const SECTORS: ObjectId = 0x0100;

const fn object(sector: Sector) -> ObjectId {
    SECTORS | sector.number() as ObjectId
}

/// Makes an empty memory with a card number of its own in block 0.
pub(super) fn format(context: &mut AppletContext<'_>, capacity: Capacity) -> Result<(), StatusWord> {
    let size = match capacity {
        Capacity::OneK => 0x01,
        Capacity::FourK => 0x04,
    };
    context.write(CAPACITY, &[size])?;
    let mut number = [0; 4];
    context.random(&mut number);
    // A number that begins with 08 says of itself that it is random (ISO/IEC 14443-3, 6.5.4).
    number[0] = 0x08;
    let check = number.iter().fold(0, |check, byte| check ^ byte);
    let mut sector = Content::transport(Block::MANUFACTURER.sector());
    sector.bytes[..4].copy_from_slice(&number);
    sector.bytes[4] = check;
    sector.write(context)
}

/// The size of the memory.
pub(super) fn capacity(context: &AppletContext<'_>) -> Result<Capacity, StatusWord> {
    match context.read(CAPACITY) {
        Some([0x01]) => Ok(Capacity::OneK),
        Some([0x04]) => Ok(Capacity::FourK),
        _ => Err(StatusWord::MEMORY_FAILURE),
    }
}

/// What stands in one sector, its trailer last.
pub(super) struct Content {
    sector: Sector,
    bytes: Vec<u8>,
}

impl Content {
    /// A sector that nobody has taken.
    fn transport(sector: Sector) -> Self {
        let mut bytes = vec![0; data_length(sector)];
        bytes.extend(SectorTrailer::TRANSPORT.encode());
        Self { sector, bytes }
    }

    /// What stands in a sector now.
    pub(super) fn read(context: &AppletContext<'_>, sector: Sector) -> Self {
        match context.read(object(sector)) {
            Some(bytes) => Self { sector, bytes: bytes.to_vec() },
            None => Self::transport(sector),
        }
    }

    /// Writes the sector.
    pub(super) fn write(&self, context: &mut AppletContext<'_>) -> Result<(), StatusWord> {
        context.write(object(self.sector), &self.bytes)
    }

    /// One block of it.
    pub(super) fn block(&self, block: Block) -> &[u8] {
        &self.bytes[self.range(block)]
    }

    /// Replaces one block.
    pub(super) fn set_block(&mut self, block: Block, content: &[u8; BLOCK_LENGTH]) {
        let range = self.range(block);
        self.bytes[range].copy_from_slice(content);
    }

    /// Its keys and access conditions.
    pub(super) fn trailer(&self) -> Result<SectorTrailer, StatusWord> {
        SectorTrailer::decode(self.block(self.sector.trailer())).map_err(|_| StatusWord::MEMORY_FAILURE)
    }

    fn range(&self, block: Block) -> std::ops::Range<usize> {
        let start = block.offset() - self.sector.first_block().offset();
        start..start + BLOCK_LENGTH
    }
}

/// Puts an application's sector in.
pub(super) fn take(context: &mut AppletContext<'_>, image: &SectorImage) -> Result<(), StatusWord> {
    let bytes = [&image.data[..], &image.trailer.encode()].concat();
    Content { sector: image.sector, bytes }.write(context)
}

/// Wipes a sector to the transport configuration.
pub(super) fn wipe(context: &mut AppletContext<'_>, sector: Sector) {
    context.remove(object(sector));
}
