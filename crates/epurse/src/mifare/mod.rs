//! Mifare Classic data inside a secure element, and the commands of our Mifare card manager.
//!
//! The memory map, access conditions, sector trailers and value blocks are those of NXP's MF1S50 and
//! MF1S70 data sheets. The card manager answers under AID A0000003964D66344D0002 (P-5.8.10.1); the
//! commands that operators specify for it are not public, so [`commands`] defines ours.
//!
//! The radio part (CRYPTO1, authentication in the air) is not here: a secure element's contactless
//! front end does it.

pub mod access;
pub mod commands;
pub mod image;
pub mod layout;
pub mod trailer;
pub mod value_block;

pub use access::{AccessBits, Condition, KeyUsed, Operation};
pub use image::{MifareApplication, MifareApplicationId, SectorImage};
pub use layout::{Block, Capacity, Sector};
pub use trailer::{MifareKey, SectorTrailer};
pub use value_block::ValueBlock;

use tsm_iso7816::Aid;

/// The Mifare card manager (P-5.8.10.1.c).
pub const CARD_MANAGER_AID: Aid =
    Aid::constant(&[0xA0, 0x00, 0x00, 0x03, 0x96, 0x4D, 0x66, 0x34, 0x4D, 0x00, 0x02]);

/// How many bytes a block has.
pub const BLOCK_LENGTH: usize = 16;
