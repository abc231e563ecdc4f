//! A rider has another number (P-5.5.5): the SE-TSM says so, and every card of his on that secure element is
//! his under the new one. Cards that hold the number are marked, and personalised again at the next contact.

use std::sync::Arc;

use serde_json::json;
use tsm_api::endpoint::Nothing;
use tsm_api::problem::{Problem, ProblemCode};
use tsm_api::sp_tsm::peer::NumberChanged;
use tsm_domain::{CardNumber, Msisdn, SeId};
use tsm_iso7816::Aid;
use tsm_storage::sp_tsm::{CardHolder, HolderData, With};

use super::SpTsm;
use super::access::Caller;
use super::settings::HolderFile;
use super::stop::Stop;
use crate::purse::se_from_wire;
use crate::server::Call;

/// Takes the notice. Saying it again changes nothing.
pub(super) async fn number_changed(
    tsm: Arc<SpTsm>,
    call: Call<Caller, NumberChanged>,
) -> Result<Nothing, Problem> {
    call.caller.require_se_tsm()?;
    let notice = call.request;
    let se = se_from_wire(&notice.se_id)?;
    let number = |text: &String| {
        text.parse::<Msisdn>().map_err(|error| Problem::because(ProblemCode::ValueRefused, error))
    };
    let change = Renumbered {
        to: number(&notice.msisdn)?,
        formerly: notice.formerly.iter().map(number).collect::<Result<_, _>>()?,
    };
    tsm.renumber(se, &change).await.map_err(Stop::into_problem)?;
    Ok(Nothing {})
}

/// A rider's numbers.
struct Renumbered {
    to: Msisdn,
    formerly: Vec<Msisdn>,
}

impl SpTsm {
    async fn renumber(&self, se: SeId, change: &Renumbered) -> Result<(), Stop> {
        let cards = self.store.cards_on(se).await?;
        let mut own: Vec<_> = cards.iter().map(|card| (card.card, card.instance)).collect();
        // A card that is ordered, or on its way from another phone, is held by him too.
        for product in self.settings.products.iter().filter(|product| product.purse().is_some()) {
            let order = self.store.open_card_order(se, product.application).await?;
            own.extend(order.map(|order| (order.card, order.application)));
            let arrival = self.store.open_arrival(se, product.application).await?;
            own.extend(arrival.map(|arrival| (arrival.card, arrival.application)));
        }
        for (card, instance) in own {
            self.renumber_card(card, instance, change).await?;
        }
        Ok(())
    }

    /// A card that somebody else left on the secure element stays his.
    async fn renumber_card(&self, card: CardNumber, instance: Aid, change: &Renumbered) -> Result<(), Stop> {
        let Some(holder) = self.store.holder(card).await? else { return Ok(()) };
        if !change.formerly.contains(&holder.number) {
            return Ok(());
        }
        let purse = self.settings.product(&instance).and_then(|product| product.purse());
        let data = match purse.map(|purse| purse.holder).unwrap_or_default() {
            HolderFile::Anonymous => HolderData::Current,
            HolderFile::Number { .. } => HolderData::Due,
        };
        let detail = json!({ "to_be_written": data == HolderData::Due });
        let with = With { notes: vec![self.note(card, "holder-renumbered", &detail)], ..With::default() };
        let holder = CardHolder { number: change.to.clone(), data };
        Ok(self.store.set_holder(card, holder, with).await?)
    }
}
