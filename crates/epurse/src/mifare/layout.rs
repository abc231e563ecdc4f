//! The memory map (MF1S50 8.6, MF1S70 8.6): sectors of blocks, the last block of each its trailer.

use super::BLOCK_LENGTH;

/// How large the memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capacity {
    /// 1 KiB: 16 sectors of 4 blocks.
    OneK,
    /// 4 KiB: 32 sectors of 4 blocks, then 8 of 16.
    FourK,
}

impl Capacity {
    /// How many sectors there are.
    pub const fn sectors(self) -> u8 {
        match self {
            Self::OneK => 16,
            Self::FourK => 40,
        }
    }

    /// How many blocks there are.
    pub const fn blocks(self) -> u16 {
        match self {
            Self::OneK => 64,
            Self::FourK => 256,
        }
    }

    /// How many bytes there are.
    pub const fn bytes(self) -> usize {
        self.blocks() as usize * BLOCK_LENGTH
    }
}

/// A sector of a memory that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sector(u8);

impl Sector {
    /// Sector `number`, if the memory has it.
    pub const fn new(capacity: Capacity, number: u8) -> Option<Self> {
        if number < capacity.sectors() { Some(Self(number)) } else { None }
    }

    /// The sector's number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// How many blocks it has, the trailer included.
    pub const fn block_count(self) -> u8 {
        if self.0 < 32 { 4 } else { 16 }
    }

    /// Its first block.
    pub const fn first_block(self) -> Block {
        if self.0 < 32 { Block(self.0 * 4) } else { Block(128 + (self.0 - 32) * 16) }
    }

    /// Its last block, which holds keys and access conditions.
    pub const fn trailer(self) -> Block {
        Block(self.first_block().0 + (self.block_count() - 1))
    }

    /// All its blocks, the trailer last.
    pub fn blocks(self) -> impl Iterator<Item = Block> {
        (self.first_block().0..=self.trailer().0).map(Block)
    }
}

/// A block of a memory that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block(u8);

impl Block {
    /// Block 0, which the manufacturer writes once.
    pub const MANUFACTURER: Self = Self(0);

    /// Block `number`, if the memory has it.
    pub const fn new(capacity: Capacity, number: u8) -> Option<Self> {
        if (number as u16) < capacity.blocks() { Some(Self(number)) } else { None }
    }

    /// The block's number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its first byte in the memory.
    pub const fn offset(self) -> usize {
        self.0 as usize * BLOCK_LENGTH
    }

    /// The sector that it belongs to.
    pub const fn sector(self) -> Sector {
        if self.0 < 128 { Sector(self.0 / 4) } else { Sector(32 + (self.0 - 128) / 16) }
    }

    /// Whether it is its sector's trailer.
    pub const fn is_trailer(self) -> bool {
        self.0 == self.sector().trailer().0
    }

    /// Which of the four access conditions of its sector is for it: in a sector of 16 blocks five blocks
    /// share one.
    pub const fn access_group(self) -> u8 {
        let sector = self.sector();
        let within = self.0 - sector.first_block().0;
        if sector.block_count() == 4 { within } else { within / 5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_cover_the_memory_without_gap() {
        for capacity in [Capacity::OneK, Capacity::FourK] {
            let blocks: Vec<u16> = (0..capacity.sectors())
                .flat_map(|number| Sector::new(capacity, number).unwrap().blocks())
                .map(|block| block.number().into())
                .collect();
            assert_eq!(blocks, (0..capacity.blocks()).collect::<Vec<_>>());
        }
        assert_eq!(Capacity::FourK.bytes(), 4096);
        assert_eq!(Sector::new(Capacity::OneK, 16), None);
        assert_eq!(Block::new(Capacity::OneK, 64), None);
    }

    /// Source: MF1S70 data sheet, 8.6 and 8.7.1.
    #[test]
    fn large_sectors_share_access_conditions() {
        let groups = |sector: u8| -> Vec<u8> {
            Sector::new(Capacity::FourK, sector).unwrap().blocks().map(Block::access_group).collect()
        };
        assert_eq!(groups(5), [0, 1, 2, 3]);
        assert_eq!(groups(39), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3]);
        let trailer = Block::new(Capacity::FourK, 143).unwrap();
        assert!(trailer.is_trailer());
        assert_eq!(trailer.sector().number(), 32);
    }
}
