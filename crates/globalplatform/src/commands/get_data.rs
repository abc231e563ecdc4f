//! GET DATA (GPC 2.3.1, 11.3).

use tsm_iso7816::CommandApdu;

use super::{CLA, CommandError, expect_instruction};

/// GET DATA: reads one data object of the selected security domain by its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GetData {
    /// The tag, in P1 and P2; a one-byte tag stands in P2.
    pub tag: u16,
}

impl GetData {
    /// The instruction byte, even form.
    pub const INS: u8 = 0xCA;
    /// The instruction byte, odd form, in which the tag list stands in the data field.
    pub const INS_ODD: u8 = 0xCB;

    /// 0042: issuer identification number.
    pub const ISSUER_IDENTIFICATION_NUMBER: Self = Self { tag: 0x0042 };
    /// 0045: card image number.
    pub const CARD_IMAGE_NUMBER: Self = Self { tag: 0x0045 };
    /// 0044: SE-ID, as the mobile operators use this tag.
    pub const SE_ID: Self = Self { tag: 0x0044 };
    /// 0066: card recognition data.
    pub const CARD_RECOGNITION_DATA: Self = Self { tag: 0x0066 };
    /// 00E0: key information template.
    pub const KEY_INFORMATION: Self = Self { tag: 0x00E0 };
    /// 00C1: sequence counter of the default keys.
    pub const SEQUENCE_COUNTER: Self = Self { tag: 0x00C1 };
    /// 00C2: confirmation counter of the receipts.
    pub const CONFIRMATION_COUNTER: Self = Self { tag: 0x00C2 };
    /// 9F7F: card production life cycle data.
    pub const CPLC: Self = Self { tag: 0x9F7F };
    /// FF21: extended card resources.
    pub const EXTENDED_RESOURCES: Self = Self { tag: 0xFF21 };
    /// FF20: extended card resources, as one vendor numbers them.
    pub const EXTENDED_RESOURCES_FF20: Self = Self { tag: 0xFF20 };
    /// 1047: registration TOKEN and IMSI digest.
    pub const TOKEN: Self = Self { tag: 0x1047 };
    /// 2F14: MSISDN.
    pub const MSISDN: Self = Self { tag: 0x2F14 };
    /// 2F00: the applications that belong to the security domain.
    pub const SECURITY_DOMAIN_INFORMATION: Self = Self { tag: 0x2F00 };

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let [p1, p2] = self.tag.to_be_bytes();
        CommandApdu::new(CLA, Self::INS, p1, p2).with_any_response()
    }
}

impl TryFrom<&CommandApdu> for GetData {
    type Error = CommandError;

    /// Reads the even form. Data is ignored: some hosts send an empty tag list (5C 00) with 2F00.
    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        Ok(Self { tag: u16::from_be_bytes([command.p1, command.p2]) })
    }
}
