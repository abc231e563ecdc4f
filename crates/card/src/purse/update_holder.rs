//! Writing EF16, the card holder, of a purse that is in use (JT/T 978): UPDATE BINARY with the MAC of the
//! application maintenance key.

use tsm_epurse::Sfi;
use tsm_epurse::commands::UpdateBinary;
use tsm_epurse::file::Holder;
use tsm_iso7816::Aid;
use tsm_keys::{KeyHandle, KeyService};

use super::close::draw_challenge;
use crate::channel::CardChannel;
use crate::error::ProcedureError;
use crate::script::{Command, Script};

/// Writes the file in two exchanges. `key` is the card's application maintenance key.
///
/// The answer carries no MAC: reading the purse under R-MAC shows what it holds.
pub async fn update_holder(
    card: &mut impl CardChannel,
    keys: &dyn KeyService,
    key: &KeyHandle,
    purse: Aid,
    holder: &Holder,
) -> Result<(), ProcedureError> {
    let challenge = draw_challenge(card, purse).await?;
    let command = UpdateBinary { sfi: Sfi::HOLDER, offset: 0, data: holder.encode().to_vec() };
    let protected = keys.secure_messaging(key, challenge, &command.to_apdu())?;
    let mut script = Script::new();
    let ticket = script.transmit(Command::new("UPDATE BINARY of EF16", protected));
    let mut answers = script.run(card).await?;
    answers.take_one(&ticket).map(drop)
}
