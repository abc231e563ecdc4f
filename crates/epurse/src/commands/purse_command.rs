//! All commands of the purse in one type, for the card to match on.

use tsm_iso7816::CommandApdu;

use super::*;
use crate::CommandError;

/// Any command of the purse. SELECT is not here: the card's operating system handles it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurseCommand {
    /// GET BALANCE.
    GetBalance(GetBalance),
    /// INITIALIZE FOR LOAD.
    InitializeForLoad(InitializeForLoad),
    /// CREDIT FOR LOAD.
    CreditForLoad(CreditForLoad),
    /// INITIALIZE FOR PURCHASE and FOR CAPP PURCHASE.
    InitializeForPurchase(InitializeForPurchase),
    /// UPDATE CAPP DATA CACHE.
    UpdateCappDataCache(UpdateCappDataCache),
    /// DEBIT FOR PURCHASE and FOR CAPP PURCHASE.
    DebitForPurchase(DebitForPurchase),
    /// GET TRANSACTION PROOF.
    GetTransactionProof(GetTransactionProof),
    /// INITIALIZE FOR UNLOAD.
    InitializeForUnload(InitializeForUnload),
    /// DEBIT FOR UNLOAD.
    DebitForUnload(DebitForUnload),
    /// INITIALIZE FOR UPDATE.
    InitializeForOverdraft(InitializeForOverdraft),
    /// UPDATE OVERDRAW LIMIT.
    UpdateOverdraftLimit(UpdateOverdraftLimit),
    /// VERIFY.
    VerifyPin(VerifyPin),
    /// CHANGE PIN.
    ChangePin(ChangePin),
    /// RELOAD PIN.
    ReloadPin(ReloadPin),
    /// PIN UNBLOCK.
    UnblockPin(Secured<UnblockPin>),
    /// APPLICATION BLOCK.
    ApplicationBlock(Secured<ApplicationBlock>),
    /// APPLICATION UNBLOCK.
    ApplicationUnblock(Secured<ApplicationUnblock>),
    /// CARD BLOCK.
    CardBlock(Secured<CardBlock>),
    /// READ BINARY.
    ReadBinary(ReadBinary),
    /// READ RECORD.
    ReadRecord(ReadRecord),
    /// UPDATE BINARY.
    UpdateBinary(Secured<UpdateBinary>),
    /// UPDATE RECORD.
    UpdateRecord(Secured<UpdateRecord>),
    /// APPEND RECORD.
    AppendRecord(Secured<AppendRecord>),
    /// GET CHALLENGE.
    GetChallenge(GetChallenge),
    /// GET DATA D001.
    GetPurseStatus(GetPurseStatus),
    /// INTERNAL AUTHENTICATE.
    InternalAuthenticate(InternalAuthenticate),
    /// EXTERNAL AUTHENTICATE.
    ExternalAuthenticate(ExternalAuthenticate),
}

impl TryFrom<&CommandApdu> for PurseCommand {
    type Error = CommandError;

    fn try_from(apdu: &CommandApdu) -> Result<Self, CommandError> {
        match (basic_class(apdu.cla)?, apdu.ins, apdu.p1) {
            (0x80, 0x5C, _) => apdu.try_into().map(Self::GetBalance),
            (0x80, 0x50, 0x00) => apdu.try_into().map(Self::InitializeForLoad),
            (0x80, 0x50, 0x04) => apdu.try_into().map(Self::InitializeForOverdraft),
            (0x80, 0x50, 0x05) => apdu.try_into().map(Self::InitializeForUnload),
            (0x80, 0x50, _) => apdu.try_into().map(Self::InitializeForPurchase),
            (0x80, 0x52, _) => apdu.try_into().map(Self::CreditForLoad),
            (0x80, 0xDC, _) => apdu.try_into().map(Self::UpdateCappDataCache),
            (0x80, 0x54, 0x03) => apdu.try_into().map(Self::DebitForUnload),
            (0x80, 0x54, _) => apdu.try_into().map(Self::DebitForPurchase),
            (0x80, 0x5A, _) => apdu.try_into().map(Self::GetTransactionProof),
            (0x80, 0x58, _) => apdu.try_into().map(Self::UpdateOverdraftLimit),
            (0x80, 0x5E, 0x01) => apdu.try_into().map(Self::ChangePin),
            (0x80, 0x5E, _) => apdu.try_into().map(Self::ReloadPin),
            (0x80, 0xCA, _) => apdu.try_into().map(Self::GetPurseStatus),
            (0x84, 0x24, _) => apdu.try_into().map(Self::UnblockPin),
            (0x84, 0x1E, _) => apdu.try_into().map(Self::ApplicationBlock),
            (0x84, 0x18, _) => apdu.try_into().map(Self::ApplicationUnblock),
            (0x84, 0x16, _) => apdu.try_into().map(Self::CardBlock),
            (0x00, 0x20, _) => apdu.try_into().map(Self::VerifyPin),
            (0x00, 0xB0, _) => apdu.try_into().map(Self::ReadBinary),
            (0x00, 0xB2, _) => apdu.try_into().map(Self::ReadRecord),
            (0x04, 0xD6, _) => apdu.try_into().map(Self::UpdateBinary),
            (0x04, 0xDC, _) => apdu.try_into().map(Self::UpdateRecord),
            (0x04, 0xE2, _) => apdu.try_into().map(Self::AppendRecord),
            (0x00, 0x84, _) => apdu.try_into().map(Self::GetChallenge),
            (0x00, 0x88, _) => apdu.try_into().map(Self::InternalAuthenticate),
            (0x00, 0x82, _) => apdu.try_into().map(Self::ExternalAuthenticate),
            (0x00 | 0x04 | 0x80 | 0x84, ins, _) => Err(CommandError::Instruction(ins)),
            _ => Err(CommandError::Class(apdu.cla)),
        }
    }
}
