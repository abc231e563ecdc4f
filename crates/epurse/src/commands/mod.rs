//! The purse's commands, one file each: the host writes them with `to_apdu()`, the card reads them
//! with `TryFrom<&CommandApdu>`. JT/T 978 follows PBOC 2.0 part 2.
//!
//! Class 00 is plain, 04 plain with a MAC, 80 the purse's own, 84 the purse's own with a MAC. The card
//! half ignores which logical channel the class byte names.

mod append_record;
mod application_block;
mod application_unblock;
mod card_block;
mod change_pin;
mod credit_for_load;
mod debit_for_purchase;
mod debit_for_unload;
mod external_authenticate;
mod get_balance;
mod get_challenge;
mod get_purse_status;
mod get_transaction_proof;
mod initialize_for_overdraft;
mod initialize_for_purchase;
mod initialize_online;
mod internal_authenticate;
mod pin;
mod purse_command;
mod read_binary;
mod read_record;
mod reload_pin;
mod secured;
mod unblock_pin;
mod update_binary;
mod update_capp_data_cache;
mod update_overdraft_limit;
mod update_record;
mod verify_pin;

pub use append_record::AppendRecord;
pub use application_block::{ApplicationBlock, BlockKind};
pub use application_unblock::ApplicationUnblock;
pub use card_block::CardBlock;
pub use change_pin::ChangePin;
pub use credit_for_load::{CreditForLoad, CreditForLoadResponse};
pub use debit_for_purchase::{DebitForPurchase, DebitForPurchaseResponse};
pub use debit_for_unload::{DebitForUnload, DebitForUnloadResponse};
pub use external_authenticate::ExternalAuthenticate;
pub use get_balance::{BalanceKind, GetBalance, GetBalanceResponse};
pub use get_challenge::GetChallenge;
pub use get_purse_status::{GetPurseStatus, PurseAvailability, PurseStatus};
pub use get_transaction_proof::{GetTransactionProof, TransactionProof};
pub use initialize_for_overdraft::{InitializeForOverdraft, InitializeForOverdraftResponse};
pub use initialize_for_purchase::{InitializeForPurchase, InitializeForPurchaseResponse, PurchaseKind};
pub use initialize_online::{
    InitializeForLoad, InitializeForLoadResponse, InitializeForUnload, InitializeForUnloadResponse,
    InitializeOnline, InitializeOnlineResponse, LOAD, UNLOAD,
};
pub use internal_authenticate::InternalAuthenticate;
pub use pin::{Pin, PinLength};
pub use purse_command::PurseCommand;
pub use read_binary::ReadBinary;
pub use read_record::{ReadRecord, RecordReference};
pub use reload_pin::ReloadPin;
pub use secured::Secured;
pub use unblock_pin::UnblockPin;
pub use update_binary::UpdateBinary;
pub use update_capp_data_cache::UpdateCappDataCache;
pub use update_overdraft_limit::{UpdateOverdraftLimit, UpdateOverdraftLimitResponse};
pub use update_record::UpdateRecord;
pub use verify_pin::VerifyPin;

use tsm_iso7816::{CommandApdu, LogicalChannel};

use crate::{CommandError, LayoutError};

/// P2 of the purse's own commands: the electronic purse (01 would be a deposit).
pub(crate) const PURSE: u8 = 0x02;

/// The class as it is on the basic channel.
pub(crate) fn basic_class(cla: u8) -> Result<u8, CommandError> {
    LogicalChannel::BASIC.apply(cla).map_err(|_| CommandError::Class(cla))
}

/// The command must have this class on some channel, and this instruction.
fn expect(apdu: &CommandApdu, cla: u8, ins: u8) -> Result<(), CommandError> {
    if basic_class(apdu.cla)? != cla {
        return Err(CommandError::Class(apdu.cla));
    }
    if apdu.ins != ins {
        return Err(CommandError::Instruction(apdu.ins));
    }
    Ok(())
}

/// The command must have these parameters.
fn expect_parameters(apdu: &CommandApdu, p1: u8, p2: u8) -> Result<(), CommandError> {
    if (apdu.p1, apdu.p2) != (p1, p2) {
        return Err(CommandError::Parameters(apdu.p1, apdu.p2));
    }
    Ok(())
}

/// The data field must have exactly `N` bytes.
fn data<const N: usize>(apdu: &CommandApdu) -> Result<[u8; N], CommandError> {
    apdu.data.as_slice().try_into().map_err(|_| CommandError::Length { found: apdu.data.len() })
}

/// A layout read from a data field whose length is already checked can only fail by its values.
fn in_data(_: LayoutError) -> CommandError {
    CommandError::Data
}

#[cfg(test)]
mod tests;
