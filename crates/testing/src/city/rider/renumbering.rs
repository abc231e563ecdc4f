//! A rider gets another number (P-5.5.5): a hall records it for each of his phones, the secure elements are given
//! it at their next logins, and the card, which holds its holder's number, is personalised again.

use tsm_api::HexBytes;
use tsm_api::se_tsm::operator::NumberChange;
use tsm_domain::se::{Binding, SeRecord};
use tsm_domain::{CardNumber, SeId};
use tsm_storage::SeTsmStore as _;
use tsm_storage::sp_tsm::{Arrivals as _, CardHolder, HolderData};
use tsm_wallet::Quiet;
use tsm_wallet::service::InterruptedKind;

use super::wallet::Ended;
use super::{Rider, work_of};
use crate::city::PHONES;
use crate::city::checks::now;
use crate::city::counts::Doing;
use crate::city::trace::{Event, Flow};
use crate::city::violation::Violation;

/// How far a change of number has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Renumbering {
    /// The hall has to record it for these phones.
    AtHall(Vec<usize>),
    /// The card is to hold the new number.
    OnCard,
}

impl Rider {
    /// The rider's number after so many changes.
    pub(super) fn number_after(&self, changes: u32) -> String {
        format!("861{:02}{:08}", 39 - changes % 10, self.number)
    }

    /// The carrier gives the rider another number.
    pub(super) async fn change_number(&mut self) {
        self.numbers += 1;
        self.world.tally.doing(Doing::ChangeNumber);
        self.world.trace.rider(self.number, Event::Renumbered(self.msisdn()));
        self.renumbering = Some(Renumbering::AtHall((0..PHONES).collect()));
        self.take_up_renumbering().await;
    }

    /// Takes the change a step on.
    pub(super) async fn take_up_renumbering(&mut self) {
        self.renumbering = match self.renumbering.take() {
            Some(Renumbering::AtHall(phones)) => {
                let left = self.go_to_hall(phones).await;
                Some(if left.is_empty() { Renumbering::OnCard } else { Renumbering::AtHall(left) })
            }
            Some(Renumbering::OnCard) => self.repersonalise().await,
            None => None,
        };
    }

    /// Gives the phones for which nobody knows whether the hall has recorded it.
    async fn go_to_hall(&mut self, phones: Vec<usize>) -> Vec<usize> {
        let (old, new) = (self.number_after(self.numbers - 1), self.msisdn());
        let mut left = Vec::new();
        for phone in phones {
            // The hall sees on its screen whose a phone is, also one that never heard that it is registered.
            match self.binding_of(phone) {
                Some(None) => continue,
                Some(Some(_)) => {}
                None => {
                    left.push(phone);
                    continue;
                }
            }
            let se = HexBytes(self.element_of(phone).id().to_vec());
            let change = NumberChange { old: old.clone(), new: new.clone() };
            match self.world.at_hall(async |hall| hall.change_number(&se, &change).await).await {
                Ok(_) => {}
                Err(error) => {
                    self.last_failure = format!("at the hall: {error}");
                    left.push(phone);
                }
            }
        }
        left
    }

    async fn repersonalise(&mut self) -> Option<Renumbering> {
        // The secure element is given the number at a login.
        self.hand().wallet = None;
        let ended = self
            .flow(Flow::Repersonalise, async |wallet| {
                let works = wallet.interrupted().await?;
                match work_of(&works, &[InterruptedKind::Repersonalisation]) {
                    Some(work) => wallet.continue_interrupted(&work, &mut Quiet).await.map(drop),
                    None => Ok(()),
                }
            })
            .await;
        let is_done = matches!(ended, Ended::Well(())) && self.holds_own_number();
        (!is_done).then_some(Renumbering::OnCard)
    }

    fn holder(&self) -> Option<CardHolder> {
        let card = CardNumber::from_application_serial(&self.reading()?.serial).ok()?;
        now(self.world.servers.stores.sp_tsm.holder(card)).flatten()
    }

    /// Whether the issuer knows the card as the rider's, under the number that he has now, and the card as well. A
    /// card that is gone needs none.
    fn holds_own_number(&self) -> bool {
        let number = self.msisdn();
        let is_right =
            |holder: CardHolder| holder.data == HolderData::Current && holder.number.as_str() == number;
        self.reading().is_none() || self.holder().is_some_and(is_right)
    }

    /// Whose a phone is, as the SE-TSM has it. None while it cannot be asked.
    fn binding_of(&self, phone: usize) -> Option<Option<Binding>> {
        Some(self.record_of(phone)?.and_then(|record| record.binding))
    }

    fn record_of(&self, phone: usize) -> Option<Option<SeRecord>> {
        let se = SeId::new(&self.element_of(phone).id()).expect("a SE-ID has a length that fits");
        now(self.world.servers.stores.se_tsm.se(se))
    }

    /// Everybody knows the rider by the number that he has.
    pub(super) fn check_holder(&self) {
        if self.holds_card && !self.holds_own_number() {
            let what =
                format!("the rider's number is {}, and the card is of {:?}", self.msisdn(), self.holder());
            return self.world.truth.find(Some(self.number), Violation::Holder { what });
        }
        for phone in 0..PHONES {
            let Some(record) = self.record_of(phone).flatten() else { continue };
            // A phone that never heard that it is registered does not log in, and would be told at a login.
            let logs_in = self.hands[phone].as_ref().is_some_and(|hand| hand.registered);
            let waits = record.number_change.is_some_and(|change| change.to.as_str() == self.msisdn());
            if waits && !logs_in {
                continue;
            }
            if let Some(binding) = record.binding.filter(|binding| binding.number.as_str() != self.msisdn()) {
                let what =
                    format!("the rider's number is {}, and phone {phone} is {binding:?}", self.msisdn());
                return self.world.truth.find(Some(self.number), Violation::Holder { what });
            }
        }
    }
}
