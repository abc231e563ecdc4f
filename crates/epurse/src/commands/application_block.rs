//! APPLICATION BLOCK: 84 1E, always with a MAC.

use tsm_iso7816::CommandApdu;

use super::{data, expect};
use crate::CommandError;

/// P2: whether the block can be lifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockKind {
    /// 00: APPLICATION UNBLOCK lifts it; SELECT answers 6283.
    Temporary,
    /// 01: for ever; commands answer 9303.
    Permanent,
}

/// APPLICATION BLOCK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ApplicationBlock {
    /// Whether it can be lifted.
    pub kind: BlockKind,
}

impl ApplicationBlock {
    /// The command without its MAC.
    pub fn to_apdu(&self) -> CommandApdu {
        let p2 = match self.kind {
            BlockKind::Temporary => 0x00,
            BlockKind::Permanent => 0x01,
        };
        CommandApdu::new(0x84, 0x1E, 0x00, p2)
    }
}

impl TryFrom<&CommandApdu> for ApplicationBlock {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        expect(apdu, 0x84, 0x1E)?;
        let kind = match (apdu.p1, apdu.p2) {
            (0x00, 0x00) => BlockKind::Temporary,
            (0x00, 0x01) => BlockKind::Permanent,
            (p1, p2) => return Err(CommandError::Parameters(p1, p2)),
        };
        data::<0>(apdu)?;
        Ok(Self { kind })
    }
}
