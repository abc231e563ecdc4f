//! Personalising a card again after its holder's number changed (P-5.5.5.b): EF16 is written, and nothing else.
//!
//! ```text
//!         the data are due since the notice, durable
//! start -> the purse is read under R-MAC; a card that has the data already is done
//!       -> SELECT, GET CHALLENGE
//!       -> UPDATE BINARY of EF16 with the card's MAC
//!       -> the purse is read under R-MAC: what it shows counts
//! ```
//!
//! The data stay due until the card has proved them, so a break anywhere is settled by the next run.

use serde_json::json;
use tsm_api::conversation::{Outcome, OutcomeDetail, Stage};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_card::purse::{read_proven, update_holder};
use tsm_domain::SeId;
use tsm_domain::card::{CardRecord, CardState};
use tsm_epurse::KeyRole;
use tsm_epurse::file::Holder;
use tsm_iso7816::Aid;
use tsm_storage::shared::Fence;
use tsm_storage::sp_tsm::{HolderData, With};

use super::SpTsm;
use super::stop::Stop;
use crate::conversation::Session;

impl SpTsm {
    /// The flow.
    pub(super) async fn repersonalise(
        &self,
        session: &mut Session,
        fence: Fence,
        se: SeId,
        application: Aid,
    ) -> Result<Outcome, Stop> {
        let card = self.card_on(se, application).await?.ok_or(ProblemCode::UnknownId)?;
        if card.frozen.is_some() {
            return Err(ProblemCode::SuspiciousCard.into());
        }
        let card = self.settle_lock(session, fence, card).await?;
        if card.state != CardState::Active {
            return Err(ProblemCode::StateForbids.into());
        }
        let done = Outcome::done(OutcomeDetail::Repersonalised { aid: application.into() });
        let holder = self.store.holder(card.card).await?;
        let Some(holder) = holder.filter(|holder| holder.data == HolderData::Due) else { return Ok(done) };
        session.progress.say(Stage::Observing, 10);
        let purse = self.purse_of(&card)?;
        let seen = self.holder_on(session, &card).await?;
        let wanted = purse.holder.of(seen, Some(&holder.number));
        if seen != wanted {
            session.progress.say(Stage::Personalising, 40);
            let key = purse.keys.of_card(&*self.keys, KeyRole::ApplicationMaintenance, card.card)?;
            update_holder(&mut session.card, &*self.keys, &key, application, &wanted).await?;
            session.progress.say(Stage::Observing, 70);
            if self.holder_on(session, &card).await? != wanted {
                let reason = both("The card does not show what was written.", "卡片上没有所写入的内容。");
                return Err(Problem::because(ProblemCode::CardUnproven, reason).into());
            }
        }
        let notes = vec![self.note(card.card, "card-repersonalised", &json!({}))];
        let with = With { notes, ..With::default() };
        self.store.holder_written(card.card, holder.number, with).await?;
        Ok(done)
    }

    /// EF16 as the purse proves it.
    async fn holder_on(&self, session: &mut Session, card: &CardRecord) -> Result<Holder, Stop> {
        let request = self.purse_session(card)?;
        let (_, image) = read_proven(&mut session.card, &*self.keys, &request, card.instance).await?;
        if image.public_information.serial.0 != card.card.application_serial() {
            return Err(Problem::because(
                ProblemCode::CardUnproven,
                both("It is another card.", "这是另一张卡。"),
            )
            .into());
        }
        Ok(image.holder)
    }
}
