//! A card leaves the phone, and work that was interrupted is continued or cancelled.

use tsm_api::conversation::RefundStanding;
use tsm_api::se_tsm::wallet::CatalogueList;
use tsm_wallet::service::{Cancellation, Continued, Interrupted, Returned, Rights, TopUpResult};

use super::reply::Detail;
use super::words::Trouble;
use super::{Session, names, not_here};
use crate::report::yuan;

impl Session {
    /// Returns the card on this phone, or one that is parked at the clearing centre.
    pub(super) async fn return_card(
        &mut self,
        application: &str,
        parked: Option<String>,
    ) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let here = self.known(application).filter(|_| parked.is_none());
        let (aid, returned) = match here {
            Some(aid) => {
                let returned = self.phone.wallet.return_card(&aid, &mut self.shown).await?;
                (aid, returned)
            }
            None => {
                let entries = self.phone.wallet.catalogue(CatalogueList::Recommendation).await?;
                let entry = entries.into_iter().find(|entry| names(&entry.name, &entry.aid, application));
                let aid = entry.ok_or_else(|| not_here(application))?.aid;
                let returned = self.phone.wallet.return_parked(&aid, parked).await?;
                (aid, returned)
            }
        };
        self.show_returned(&returned);
        let balance_fen = Some(returned.balance_fen);
        Ok(Detail { aid: Some(aid), balance_fen, ..Detail::default() })
    }

    pub(super) async fn migrate_out(&mut self, application: &str) -> Result<Detail, Trouble> {
        let aid = self.log_in_for(application).await?;
        let balance_fen = self.phone.wallet.migrate_out(&aid, &mut self.shown).await?;
        self.show_parked(balance_fen);
        Ok(Detail { aid: Some(aid), balance_fen: Some(balance_fen), ..Detail::default() })
    }

    pub(super) async fn interrupted(&mut self) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let works = self.interrupted_works().await?;
        if works.is_empty() {
            self.say("nothing was interrupted", "没有未完成的操作");
        }
        self.show_works(&works);
        Ok(Detail { interrupted: Some(works.len()), ..Detail::default() })
    }

    pub(super) async fn continue_work(&mut self) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let works = self.interrupted_works().await?;
        let work = works.iter().find(|work| work.may_continue);
        let work = work.ok_or(Trouble::NothingOpen)?;
        self.begin();
        let mut detail = Detail { aid: Some(work.aid.clone()), ..Detail::default() };
        match self.phone.wallet.continue_interrupted(work, &mut self.shown).await? {
            Continued::Opened => self.say("the card is open", "卡片已开通"),
            Continued::Repersonalised => self.say("the card holds the new number", "卡片已写入新号码"),
            Continued::Locked => self.say("the card is locked", "卡片已锁定"),
            Continued::Unlocked => self.say("the card is unlocked", "卡片已解锁"),
            Continued::Deleted => self.say("the application is deleted", "应用已删除"),
            Continued::PaidOnline(paid) => {
                let shown = self.show_online(paid);
                (detail.paid, detail.balance_fen) = (shown.paid, shown.balance_fen);
            }
            Continued::Returned(returned) => {
                detail.balance_fen = Some(returned.balance_fen);
                self.show_returned(&returned);
            }
            Continued::MigratedOut(balance_fen) => {
                detail.balance_fen = Some(balance_fen);
                self.show_parked(balance_fen);
            }
            Continued::ToppedUp(result) => {
                let (credited, balance_fen) = match result {
                    TopUpResult::Credited { balance_fen, .. } => (true, balance_fen),
                    TopUpResult::NotCredited { balance_fen } => (false, balance_fen),
                };
                (detail.credited, detail.balance_fen) = (Some(credited), Some(balance_fen));
                let balance = yuan(i64::from(balance_fen));
                self.say(format!("the card holds {balance}"), format!("卡内余额 {balance}"));
            }
        }
        Ok(detail)
    }

    pub(super) async fn cancel_work(&mut self) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let works = self.interrupted_works().await?;
        let work = works.iter().find(|work| work.may_cancel).ok_or(Trouble::NothingOpen)?;
        self.begin();
        match self.phone.wallet.cancel_interrupted(work, &mut self.shown).await? {
            Cancellation::Cancelled => {
                self.say("it is cancelled; what was paid for it goes back", "已取消，已支付的款项将原路退回")
            }
            Cancellation::WasDone => self.say(
                "it had been done already, as the card proves; nothing is cancelled",
                "卡片证明该操作已完成，无需取消",
            ),
        }
        Ok(Detail { aid: Some(work.aid.clone()), ..Detail::default() })
    }

    /// What a login leads to: closed cards are deleted, and interrupted work is offered. An issuer who cannot
    /// be asked now keeps nobody from having logged in.
    pub(super) async fn after_login(&mut self) -> Result<Detail, Trouble> {
        if self.phone.wallet.rights() != Some(Rights::Full) {
            return Ok(Detail::default());
        }
        let deleted = self.phone.wallet.delete_closed(&mut self.shown).await?;
        for aid in &deleted {
            self.say(format!("{aid} is deleted from this phone"), format!("{aid} 已从本机删除"));
        }
        self.end = Some(self.phone.spent());
        let works = self.interrupted_works().await.unwrap_or_default();
        self.show_works(&works);
        let (deleted, interrupted) = (Some(deleted.len()), Some(works.len()));
        Ok(Detail { deleted, interrupted, ..Detail::default() })
    }

    async fn interrupted_works(&self) -> Result<Vec<Interrupted>, Trouble> {
        Ok(self.phone.wallet.interrupted().await?)
    }

    fn show_works(&self, works: &[Interrupted]) {
        for work in works {
            let (english, chinese) = self.shown.spoken.interrupted(work);
            self.say(english, chinese);
        }
    }

    fn show_returned(&self, returned: &Returned) {
        let balance = yuan(i64::from(returned.balance_fen));
        let (payments, hall) =
            (yuan(i64::from(returned.to_payments_fen)), yuan(i64::from(returned.at_hall_fen)));
        match returned.standing {
            RefundStanding::OnItsWay => self.say(
                format!("the card is closed; {payments} of {balance} go back to your payments"),
                format!("卡片已退；余额 {balance} 中 {payments} 将原路退回"),
            ),
            RefundStanding::Held => self.say(
                format!(
                    "the card is closed; its {balance} are held until the issuer has clarified a contradiction: \
                     nothing is lost, and {payments} go back to your payments after that"
                ),
                format!("卡片已退；余额 {balance} 因记录不符暂缓退款，待核实后 {payments} 将原路退回，资金不会丢失"),
            ),
        }
        if returned.at_hall_fen > 0 {
            self.say(
                format!("{hall} came in cash and are paid out at a service hall"),
                format!("现金充值部分 {hall} 请到营业厅领取"),
            );
        }
    }

    fn show_parked(&self, balance_fen: u32) {
        let balance = yuan(i64::from(balance_fen));
        self.say(
            format!("the card is parked with {balance}; another phone of yours can take it in"),
            format!("卡片已迁出并寄存，余额 {balance}；可在您的另一部手机迁入"),
        );
    }
}
