//! Migrating a card out (B-7.6.1.b to d): it is blocked and read, the centre keeps all of it, and the phone is
//! told to delete it. Until another phone has claimed it the rider can also have it refunded.

use tsm_api::conversation::{Outcome, OutcomeDetail};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::ClosingPurpose;
use tsm_domain::{Fen, SeId};
use tsm_iso7816::Aid;
use tsm_storage::shared::Fence;

use super::SpTsm;
use super::closing_card::{Place, ToClose, closing_of};
use super::stop::Stop;
use crate::conversation::Session;
use crate::purse::to_wire;

impl SpTsm {
    /// The flow.
    pub(super) async fn migrate_out(
        &self,
        session: &mut Session,
        fence: Fence,
        (se, application, place): (SeId, Aid, Place),
    ) -> Result<Outcome, Stop> {
        let wanted = ToClose { se, application, purpose: ClosingPurpose::Migration, place };
        let card = self.close_card(session, fence, wanted).await?;
        if closing_of(&card)?.purpose != ClosingPurpose::Migration {
            let reason = both("The card was returned and its balance goes back.", "卡片已退卡，余额将退回。");
            return Err(Problem::because(ProblemCode::StateForbids, reason).into());
        }
        let balance = card.proven.map_or(Fen::ZERO, |proven| proven.balance);
        Ok(Outcome::done(OutcomeDetail::MigratedOut { balance_fen: to_wire(balance) }))
    }
}
