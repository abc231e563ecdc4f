//! SET STATUS (GPC 2.3.1, 11.10).

use tsm_iso7816::{Aid, CommandApdu};

use super::{CLA, CommandError, expect_instruction, fields::to_aid, parameters_error};

/// SET STATUS: changes the life cycle state of the card, a security domain or an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetStatus {
    /// Whose state.
    pub target: StatusTarget,
    /// The state wanted (P2), with which the target's kind decides what it means.
    pub state: u8,
}

/// Whose state is set (P1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusTarget {
    /// 80: the issuer security domain, and so the card.
    IssuerSecurityDomain,
    /// 40: an application or a supplementary security domain.
    Application(Aid),
    /// 60: a security domain and all applications associated with it.
    SecurityDomainAndApplications(Aid),
    /// 20: a load file. An extension of this project, by which an issuer disables a load file
    /// that was in ROM from the beginning and cannot be deleted (decision D-41).
    LoadFile(Aid),
}

impl SetStatus {
    /// The instruction byte.
    pub const INS: u8 = 0xF0;
    /// P2 that locks an application or security domain (bit 8; the other bits are ignored).
    pub const LOCK: u8 = 0x80;
    /// P2 that unlocks an application or security domain.
    pub const UNLOCK: u8 = 0x00;

    /// The command.
    pub fn to_apdu(&self) -> CommandApdu {
        let (p1, aid) = match &self.target {
            StatusTarget::IssuerSecurityDomain => (0x80, None),
            StatusTarget::Application(aid) => (0x40, Some(aid)),
            StatusTarget::SecurityDomainAndApplications(aid) => (0x60, Some(aid)),
            StatusTarget::LoadFile(aid) => (0x20, Some(aid)),
        };
        CommandApdu::new(CLA, Self::INS, p1, self.state).with_data(aid.map_or(&[][..], Aid::as_bytes))
    }
}

impl TryFrom<&CommandApdu> for SetStatus {
    type Error = CommandError;

    fn try_from(command: &CommandApdu) -> Result<Self, CommandError> {
        expect_instruction(command, Self::INS)?;
        let aid = || to_aid("AID", &command.data);
        let target = match command.p1 {
            // The data field is the AID of the issuer security domain or anything else: ignored.
            0x80 => StatusTarget::IssuerSecurityDomain,
            0x40 => StatusTarget::Application(aid()?),
            0x60 => StatusTarget::SecurityDomainAndApplications(aid()?),
            0x20 => StatusTarget::LoadFile(aid()?),
            _ => return Err(parameters_error(command)),
        };
        Ok(Self { target, state: command.p2 })
    }
}
