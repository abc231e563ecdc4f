//! `opentsm wallet lock` and `unlock` (B-8.5.4).

use super::Session;
use super::reply::Detail;
use super::words::Trouble;

impl Session {
    pub(super) async fn lock(&mut self, application: &str) -> Result<Detail, Trouble> {
        let aid = self.log_in_for(application).await?;
        self.phone.wallet.lock_card(&aid, &mut self.shown).await?;
        self.say("the card is locked: it can be read and not spent from", "卡片已锁定：可查询，不可消费");
        Ok(Detail { aid: Some(aid), ..Detail::default() })
    }

    pub(super) async fn unlock(&mut self, application: &str) -> Result<Detail, Trouble> {
        let aid = self.log_in_for(application).await?;
        self.phone.wallet.unlock_card(&aid, &mut self.shown).await?;
        self.say("the card is unlocked", "卡片已解锁");
        Ok(Detail { aid: Some(aid), ..Detail::default() })
    }
}
