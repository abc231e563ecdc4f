//! Returning a card and parking it at the centre.

use tsm_api::HexBytes;
use tsm_api::problem::ProblemCode;
use tsm_domain::SeId;
use tsm_storage::sp_tsm::Arrivals as _;
use tsm_wallet::service::InterruptedKind;
use tsm_wallet::{Quiet, WalletError};

use super::moving::Arrival;
use super::wallet::{Ended, code_of};
use super::{Rider, work_of};
use crate::city::PHONES;
use crate::city::checks::now;
use crate::city::counts::Doing;
use crate::city::keys::TRANSIT;
use crate::city::trace::Flow;

/// How far the closing of a card has come, as the rider knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// It is being returned.
    Returning,
    /// It is being parked.
    Parking,
    /// It is parked.
    Parked,
    /// It is given up; what is left of it goes from the phone.
    Deleting,
}

impl Rider {
    /// Gives the card up, or parks it; whoever has a copy of it keeps that.
    pub(super) async fn begin_closing(&mut self, closing: Closing) {
        if self.copying.has_copy() {
            self.world.tally.doing(Doing::CloseCopied);
        }
        self.close(closing).await;
    }

    /// Takes the closing of the card a step on.
    pub(super) async fn close(&mut self, closing: Closing) {
        let aid: HexBytes = TRANSIT.into();
        self.closing = Some(closing);
        self.closing = match closing {
            Closing::Returning => {
                let ended =
                    self.flow(Flow::Return, async |wallet| wallet.return_card(&aid, &mut Quiet).await).await;
                match self.forbidding_arrival(&ended) {
                    Some(arrival) => {
                        self.arrival = Some(arrival);
                        Some(Closing::Parked)
                    }
                    None => self.after_closing(closing, &ended, Closing::Deleting),
                }
            }
            Closing::Parking => {
                let ended = self
                    .flow(Flow::MigrateOut, async |wallet| wallet.migrate_out(&aid, &mut Quiet).await)
                    .await;
                self.after_closing(closing, &ended, Closing::Parked)
            }
            Closing::Parked => self.after_parking().await,
            Closing::Deleting => {
                self.delete_what_is_closed().await;
                let gone = self.reading().is_none();
                self.holds_card &= !gone;
                if gone { None } else { Some(Closing::Deleting) }
            }
        };
    }

    /// A return that is refused because another phone of the rider began to fetch the card, and nobody has ended it.
    fn forbidding_arrival<T>(&self, ended: &Ended<T>) -> Option<Arrival> {
        let Ended::Badly(error) = ended else { return None };
        if code_of(error) != Some(ProblemCode::StateForbids) {
            return None;
        }
        let is_arriving = |phone: &usize| {
            let se = SeId::new(&self.element_of(*phone).id()).ok();
            se.and_then(|se| now(self.world.servers.stores.sp_tsm.open_arrival(se, TRANSIT)).flatten())
                .is_some()
        };
        let to = (0..PHONES).filter(|phone| *phone != self.at).find(is_arriving)?;
        Some(Arrival { from: self.at, to })
    }

    /// A parked card is taken to another phone, or returned from the one that it was on.
    async fn after_parking(&mut self) -> Option<Closing> {
        let is_there = self.reading().is_some();
        match self.random.below(8) {
            0 if is_there => {
                self.cancel_closing().await;
                // A parked card that cannot come back is returned.
                return if self.is_spendable() { None } else { Some(Closing::Returning) };
            }
            1 if is_there => return Some(Closing::Returning),
            2 | 3 if is_there => self.delete_what_is_closed().await,
            _ => {
                let others: Vec<_> = (0..PHONES).filter(|phone| *phone != self.at).collect();
                let to = *self.random.pick(&others);
                self.arrival = Some(Arrival { from: self.at, to });
            }
        }
        Some(Closing::Parked)
    }

    /// Deletes what the operator wants deleted from the phone in use.
    pub(super) async fn delete_what_is_closed(&mut self) {
        // What is to be deleted is said at a login.
        self.hand().wallet = None;
        let _ = self.flow(Flow::Delete, async |wallet| wallet.delete_closed(&mut Quiet).await).await;
    }

    /// Deletes what is left of a card on the phones that it is not on any more. Says whether nothing is left.
    pub(super) async fn tidy_up(&mut self) -> bool {
        let (mut tidy, at) = (true, self.at);
        for phone in (0..PHONES).filter(|phone| *phone != at) {
            if self.reading_of(phone).is_some() {
                self.at = phone;
                self.delete_what_is_closed().await;
                tidy &= self.reading().is_none();
            }
        }
        self.at = at;
        tidy
    }

    fn after_closing<T>(&self, closing: Closing, ended: &Ended<T>, then: Closing) -> Option<Closing> {
        match ended {
            Ended::Well(_) => Some(then),
            // What was left of an arrival that was given up is no card any more: the card is with the centre.
            Ended::Badly(error) if code_of(error) == Some(ProblemCode::UnknownId) => Some(Closing::Parked),
            // Refused before anything happened to the card.
            Ended::Badly(WalletError::Refused(_)) if self.is_spendable() => None,
            Ended::Badly(_) | Ended::PhoneDied => Some(closing),
        }
    }

    /// A closing that the phone did not see begin is taken up again.
    pub(super) async fn take_up_closing(&mut self) {
        let Some(works) = self.interrupted().await else { return };
        self.closing = works.iter().find_map(|work| match work.kind {
            InterruptedKind::Return => Some(Closing::Returning),
            InterruptedKind::MigrationOut => Some(Closing::Parking),
            _ => None,
        });
    }

    async fn cancel_closing(&mut self) {
        let _ = self
            .flow(Flow::CancelClosing, async |wallet| {
                let works = wallet.interrupted().await?;
                let kinds = [InterruptedKind::Return, InterruptedKind::MigrationOut];
                match work_of(&works, &kinds).filter(|work| work.may_cancel) {
                    Some(work) => wallet.cancel_interrupted(&work, &mut Quiet).await.map(drop),
                    None => Ok(()),
                }
            })
            .await;
    }
}
