//! The transit purse (JT/T 978, T-Union electronic purse): files, load, purchase, composite
//! purchase, proofs, PIN, blocks, secured updates.
//!
//! One file per group of commands; [`ledger`] is what they count, [`files`] what they store,
//! [`pending`] what they remember between two commands of one channel. Every command is one
//! atomic step: OPEN commits all that it wrote or nothing. A committed transaction voids those
//! begun on other channels and interfaces.
//!
//! Where the published texts are silent the choices are those of decisions D-29 to D-39: GET
//! BALANCE tells usable, limit, used, own; records carry the counter after the transaction; a
//! composite purchase of nothing is counted and logged; a blocked purse still shows its files.

mod block;
mod files;
mod keys;
mod ledger;
mod load;
mod look;
mod objects;
mod overdraft;
mod pending;
mod personalise;
mod pin;
mod proof;
mod purchase;
mod read;
mod secured;
mod status;
mod transaction;
mod unload;

#[cfg(test)]
mod tests;

pub use look::PurseReading;
pub(crate) use look::look;

use tsm_epurse::commands::{BalanceKind, GetBalance, GetBalanceResponse, GetChallenge, PurseCommand};
use tsm_epurse::file::PublicInformation;
use tsm_epurse::select::{PURSE_AID, PURSE_LABEL, PURSE_VERSION, PurseFci};
use tsm_epurse::{Challenge, Sfi};
use tsm_iso7816::{CommandApdu, ResponseApdu, StatusWord};

use self::ledger::{Availability, Ledger};
use super::messaging;
use crate::applet::{Answer, Applet, AppletContext, DirectoryEntry, StoreDataBlock};

/// The priority with which the purse shows in the contactless directory.
const DIRECTORY_PRIORITY: u8 = 2;

/// The transit purse.
#[derive(Debug, Clone, Copy, Default)]
pub struct TransitPurse;

impl Applet for TransitPurse {
    fn install(&mut self, context: &mut AppletContext<'_>, _parameters: &[u8]) -> Result<(), StatusWord> {
        context.set_directory_entry(Some(DirectoryEntry {
            label: PURSE_LABEL.into(),
            priority: DIRECTORY_PRIORITY,
        }));
        Ledger::default().write(context)
    }

    fn select(&mut self, context: &mut AppletContext<'_>) -> Answer {
        context.clear_volatile();
        let ledger = Ledger::read(context)?;
        let status = match ledger.availability {
            Availability::Open => StatusWord::SUCCESS,
            Availability::BlockedForNow => StatusWord::SELECTED_FILE_INVALIDATED,
            Availability::BlockedForEver => return Err(StatusWord::APPLICATION_PERMANENTLY_LOCKED),
            Availability::CardBlocked => return Err(StatusWord::FUNCTION_NOT_SUPPORTED),
        };
        Ok(ResponseApdu::new(file_control_information(context)?, status))
    }

    fn process(&mut self, context: &mut AppletContext<'_>, command: &CommandApdu) -> Answer {
        if let Some(answer) = messaging::process(self, context, command) {
            return answer;
        }
        // Within a channel of its security domain the purse takes what the domain has unwrapped, and the domain
        // protects the answers.
        let in_channel = context.security_level().is_some();
        let command = match in_channel {
            true => PurseCommand::try_from(&context.unwrap(command)?)?,
            false => PurseCommand::try_from(command)?,
        };
        if matches!(command, PurseCommand::GetPurseStatus(_)) && !in_channel {
            return Err(StatusWord::SECURITY_STATUS_NOT_SATISFIED);
        }
        let ledger = Ledger::read(context)?;
        match ledger.availability {
            Availability::Open | Availability::BlockedForNow => dispatch(context, ledger, command),
            Availability::BlockedForEver => Err(StatusWord::APPLICATION_PERMANENTLY_LOCKED),
            Availability::CardBlocked => Err(StatusWord::FUNCTION_NOT_SUPPORTED),
        }
    }

    fn store_data(&mut self, context: &mut AppletContext<'_>, block: &StoreDataBlock<'_>) -> Answer {
        personalise::store_data(context, block)
    }
}

fn dispatch(context: &mut AppletContext<'_>, ledger: Ledger, command: PurseCommand) -> Answer {
    match command {
        PurseCommand::GetBalance(command) => Ok(balance(&ledger, command)),
        PurseCommand::GetChallenge(command) => Ok(challenge(context, command)),
        PurseCommand::InitializeForLoad(command) => load::initialize(context, &ledger, command),
        PurseCommand::CreditForLoad(command) => load::credit(context, ledger, command),
        PurseCommand::InitializeForPurchase(command) => purchase::initialize(context, &ledger, command),
        PurseCommand::UpdateCappDataCache(command) => purchase::update_cache(context, &ledger, command),
        PurseCommand::DebitForPurchase(command) => purchase::debit(context, ledger, command),
        PurseCommand::GetTransactionProof(command) => proof::answer(context, command),
        PurseCommand::InitializeForUnload(command) => unload::initialize(context, &ledger, command),
        PurseCommand::DebitForUnload(command) => unload::debit(context, ledger, command),
        PurseCommand::InitializeForOverdraft(command) => overdraft::initialize(context, &ledger, command),
        PurseCommand::UpdateOverdraftLimit(command) => overdraft::update(context, ledger, command),
        PurseCommand::VerifyPin(command) => pin::verify(context, &ledger, &command),
        PurseCommand::ChangePin(command) => pin::change(context, &ledger, &command),
        PurseCommand::ReloadPin(command) => pin::reload(context, ledger, command),
        PurseCommand::UnblockPin(command) => pin::unblock(context, ledger, command),
        PurseCommand::ApplicationBlock(command) => block::block(context, ledger, command),
        PurseCommand::ApplicationUnblock(command) => block::unblock(context, ledger, command),
        PurseCommand::CardBlock(command) => block::block_card(context, ledger, command),
        PurseCommand::ReadBinary(command) => read::binary(context, command),
        PurseCommand::ReadRecord(command) => read::record(context, &ledger, command),
        PurseCommand::UpdateBinary(command) => secured::update_binary(context, ledger, command),
        PurseCommand::UpdateRecord(command) => secured::update_record(context, ledger, command),
        PurseCommand::AppendRecord(command) => secured::append_record(context, ledger, command),
        PurseCommand::GetPurseStatus(_) => status::answer(context, &ledger),
        PurseCommand::InternalAuthenticate(command) => {
            secured::internal_authenticate(context, &ledger, command)
        }
        PurseCommand::ExternalAuthenticate(command) => {
            secured::external_authenticate(context, ledger, command)
        }
    }
}

/// `6F { 84 DF name, A5 { 9F08, 9F0C EF15 } }`. An instance of a longer AID shows the purse's own
/// name, as real cards do.
fn file_control_information(context: &AppletContext<'_>) -> Result<Vec<u8>, StatusWord> {
    let aid = context.aid();
    let name = if aid.starts_with(PURSE_AID.as_bytes()) { PURSE_AID } else { aid };
    let Ok(content) = files::transparent(context, Sfi::PUBLIC_INFORMATION) else {
        // Before personalisation there is nothing to show but the name.
        let name = tsm_iso7816::tlv::encode(0x84, name.as_bytes());
        return Ok(tsm_iso7816::tlv::encode(0x6F, &name));
    };
    let public_information = PublicInformation::decode(content).map_err(|_| StatusWord::MEMORY_FAILURE)?;
    Ok(PurseFci { name, version: PURSE_VERSION, public_information }.encode())
}

fn balance(ledger: &Ledger, command: GetBalance) -> ResponseApdu {
    let amount = match command.kind {
        BalanceKind::Usable => ledger.state.usable(),
        BalanceKind::OverdraftLimit => ledger.state.overdraft_limit().amount(),
        BalanceKind::UsedOverdraft => ledger.state.overdraft_used(),
        BalanceKind::Purse => ledger.state.purse(),
    };
    ResponseApdu::success(GetBalanceResponse { amount }.encode())
}

/// The next command of secure messaging starts from the first four bytes.
fn challenge(context: &mut AppletContext<'_>, command: GetChallenge) -> ResponseApdu {
    let mut random = vec![0; command.length()];
    context.random(&mut random);
    let first = std::array::from_fn(|index| random[index]);
    pending::give_challenge(context, Challenge::new(first));
    ResponseApdu::success(random)
}
