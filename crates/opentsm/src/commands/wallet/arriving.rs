//! A card that is parked at the clearing centre comes to this phone.

use tsm_api::se_tsm::wallet::CatalogueList;

use super::reply::Detail;
use super::words::Trouble;
use super::{Session, names, not_here};
use crate::report::yuan;

impl Session {
    pub(super) async fn parked(&mut self) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let cards = self.phone.wallet.parked_cards().await?;
        if cards.is_empty() {
            self.say("no card is parked", "没有寄存的卡片");
        }
        for card in &cards {
            let (number, balance) = (&card.card_number, yuan(i64::from(card.balance_fen)));
            self.say(
                format!("parked: {number}, {balance}; `migrate-in` brings it here, `return` gives it back"),
                format!("已寄存：{number}，余额 {balance}；可用 migrate-in 迁入本机，或用 return 退卡"),
            );
        }
        let aid = cards.first().map(|card| card.aid.clone());
        let balance_fen = cards.first().map(|card| card.balance_fen);
        Ok(Detail { aid, balance_fen, ..Detail::default() })
    }

    pub(super) async fn migrate_in(
        &mut self,
        application: &str,
        card: Option<String>,
    ) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let entries = self.phone.wallet.catalogue(CatalogueList::Recommendation).await?;
        let entry = entries.into_iter().find(|entry| names(&entry.name, &entry.aid, application));
        let entry = entry.ok_or_else(|| not_here(application))?;
        self.begin();
        self.phone.wallet.migrate_in(&entry.aid, card, &mut self.shown).await?;
        self.end = Some(self.phone.spent());
        let aid = entry.aid.to_aid().map_err(|_| not_here(application))?;
        let view = self.phone.wallet.view_card(&aid).await?;
        let (ending, balance) = (&view.number_ending, yuan(i64::from(view.balance_fen)));
        self.say(
            format!("the card ending {ending} is on this phone, with {balance}"),
            format!("卡号末位 {ending} 的卡片已迁入本机，余额 {balance}"),
        );
        let balance_fen = Some(view.balance_fen);
        Ok(Detail { aid: Some(entry.aid), balance_fen, ..Detail::default() })
    }
}
