//! A card is lost.

use tsm_api::se_tsm::wallet::CatalogueList;

use super::reply::Detail;
use super::words::Trouble;
use super::{Session, names, not_here};

impl Session {
    /// From this phone or another one of the rider's, so the card need not be on this one.
    pub(super) async fn lost(&mut self, application: &str, card: Option<String>) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let entries = self.phone.wallet.catalogue(CatalogueList::Recommendation).await?;
        let entry = entries.into_iter().find(|entry| names(&entry.name, &entry.aid, application));
        let entry = entry.ok_or_else(|| not_here(application))?;
        self.begin();
        let number = self.phone.wallet.report_lost(&entry.aid, card).await?;
        self.say(
            format!("{number} is reported lost: terminals refuse it, and only a service hall unlocks it"),
            format!("{number} 已挂失：终端将拒绝该卡，解锁须到营业厅办理"),
        );
        Ok(Detail { aid: Some(entry.aid), ..Detail::default() })
    }
}
