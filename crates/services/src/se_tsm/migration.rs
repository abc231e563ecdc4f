//! What a migration means to the platform (P-5.5.4): both secure elements belong to one number, and the
//! subscription goes with the application. What is on the card is a download here and a deletion there.

use tsm_api::HexBytes;
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::SeId;
use tsm_domain::subscription::{Subscribed, Subscription};

use super::convert::se_id;
use super::stop::Stop;
use super::work::{Known, Work};

impl Work {
    /// Both secure elements must be registered to the same number (P-5.5.4.b).
    pub(super) async fn check_same_number(
        &self,
        known: &Known,
        moved_from: Option<&HexBytes>,
    ) -> Result<(), Stop> {
        let Some(from) = moved_from else { return Ok(()) };
        let from = self.tsm.store.se(se_id(from)?).await?;
        let from = from.and_then(|record| record.binding).map(|binding| binding.number);
        let here = known.record.binding.as_ref().map(|binding| &binding.number);
        if here.is_some() && here == from.as_ref() {
            return Ok(());
        }
        let reason =
            both("The two phones are not registered to the same number.", "两部手机未注册在同一号码下。");
        Err(Problem::because(ProblemCode::NotAllowed, reason).into())
    }

    /// The subscription that the application had where it comes from, now here under the same identity
    /// (P-5.5.4.a); none when there was none, or it is here already.
    pub(super) async fn moved_subscription(
        &self,
        known: &Known,
        from: SeId,
        what: Subscribed,
    ) -> Result<Option<Subscription>, Stop> {
        let Some(binding) = &known.record.binding else { return Ok(None) };
        let there = self.tsm.store.subscriptions_of(from).await?;
        let same =
            |subscription: &Subscription| subscription.what == what && subscription.number == binding.number;
        let newest = there.into_iter().filter(same).max_by_key(|subscription| subscription.since);
        Ok(newest.map(|subscription| subscription.moved_to(self.se)))
    }
}
