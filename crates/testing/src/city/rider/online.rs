//! A shop on the network: the rider pays its order from the card through the payment platform (B-7.3). Until its
//! outcome is known nothing else is paid from the card.

use tsm_api::HexBytes;
use tsm_api::ids::PaymentId;
use tsm_api::problem::ProblemCode;
use tsm_wallet::Quiet;
use tsm_wallet::service::InterruptedKind;

use super::wallet::{Ended, code_of};
use super::{Rider, work_of};
use crate::city::keys::TRANSIT;
use crate::city::trace::Flow;

impl Rider {
    pub(super) async fn shop_online(&mut self) {
        let amount = self.random.between(1, 900) as u32;
        if self.balance() < amount {
            return;
        }
        let Ok(order) = self.world.ask_for_money(amount).await else { return };
        let (aid, payment): (HexBytes, _) = (TRANSIT.into(), PaymentId(order.as_uuid()));
        self.online = Some(payment);
        let ended = self
            .flow(Flow::PayOnline, async |wallet| wallet.pay_online(&aid, payment, &mut Quiet).await)
            .await;
        if matches!(ended, Ended::Well(_)) {
            self.online = None;
        }
    }

    /// The wallet knows of a purchase whose outcome it did not hear; it is gone on with, or given up.
    pub(super) async fn ask_about_online(&mut self) {
        let gives_up = self.random.once_in(3);
        let ended = self
            .flow(Flow::PayOnline, async |wallet| {
                let works = wallet.interrupted().await?;
                match work_of(&works, &[InterruptedKind::PayOnline]) {
                    Some(work) if gives_up => wallet.cancel_interrupted(&work, &mut Quiet).await.map(drop),
                    Some(work) => wallet.continue_interrupted(&work, &mut Quiet).await.map(drop),
                    None => Ok(()),
                }
            })
            .await;
        match ended {
            Ended::Well(()) => self.online = None,
            // The shop's order has expired unpaid: then nothing of it is open any more.
            Ended::Badly(error) if code_of(&error) == Some(ProblemCode::StateForbids) => self.online = None,
            Ended::Badly(_) | Ended::PhoneDied => {}
        }
    }
}
