//! A phone in this process: wallet core and secure element, with a battery that can be taken out.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tsm_api::HexBytes;
use tsm_api::ids::PaymentId;
use tsm_api::se_tsm::wallet::{CatalogueEntry, CatalogueList};
use tsm_iso7816::Aid;
use tsm_se::{Interface, SecureElement};
use tsm_wallet::service::{Entrance, OnlinePayment, Rights, TopUpResult};
use tsm_wallet::{Interaction, WalletError};

use super::rider::{Deletion, RiderPhone, Seen};
use crate::city::{CityError, in_step};
use crate::handset::{Battery, CardLink, Meter, SharedElement, Watched};
use crate::phone::{Phone, Servers};
use crate::report::Cost;

/// A phone in this process.
pub struct PhoneHere {
    phone: Phone,
    contactless: CardLink,
    element: SharedElement,
    battery: Arc<Battery>,
}

impl PhoneHere {
    /// Switches a phone with this secure element on.
    pub async fn switch_on(
        servers: &Servers,
        home: &Path,
        element: SecureElement,
        watched: Watched,
    ) -> Result<Self, CityError> {
        let element = Arc::new(Mutex::new(element));
        let (meter, battery) = (Meter::new(watched), Arc::<Battery>::default());
        let link = |interface| CardLink::here(element.clone(), interface, meter.clone()).on(battery.clone());
        let phone = Phone::start(servers, home, link(Interface::Contact)).await;
        let phone = phone.map_err(in_step("switching a phone on"))?;
        let contactless = link(Interface::Contactless);
        Ok(Self { phone, contactless, element, battery })
    }

    async fn find(&self, name: &str) -> Result<CatalogueEntry, CityError> {
        let step = "looking through the catalogue";
        let list = CatalogueList::Recommendation;
        let entries = self.phone.wallet.catalogue(list).await.map_err(in_step(step))?;
        let found = entries.into_iter().find(|entry| entry.name == name);
        found.ok_or_else(|| in_step(step)(format!("{name} is not offered")))
    }
}

#[async_trait]
impl RiderPhone for PhoneHere {
    async fn register(&mut self, number: &str, shown: &mut dyn Interaction) -> Result<Cost, CityError> {
        let step = "registering a phone";
        let before = self.phone.spent();
        let agreement = self.phone.wallet.agreement().await.map_err(in_step(step))?;
        let accepted = self.phone.wallet.accept(&agreement);
        let registered = self.phone.wallet.register(accepted, Some(number.to_owned()), shown).await;
        registered.map_err(in_step(step))?;
        Ok(self.phone.spent() - before)
    }

    async fn log_in(&mut self, shown: &mut dyn Interaction) -> Result<Cost, CityError> {
        let step = "logging in";
        let before = self.phone.spent();
        match self.phone.wallet.login(shown).await.map_err(in_step(step))? {
            Entrance::Certified { rights: Rights::Full, .. } => Ok(self.phone.spent() - before),
            Entrance::Certified { .. } => Err(in_step(step)("the platform gave less than full rights")),
            Entrance::Restricted { reason } => Err(in_step(step)(reason)),
        }
    }

    async fn open(&mut self, name: &str, shown: &mut dyn Interaction) -> Result<(HexBytes, Cost), CityError> {
        let entry = self.find(name).await?;
        let before = self.phone.spent();
        self.phone.wallet.open_card(&entry, shown).await.map_err(in_step("opening a card"))?;
        Ok((entry.aid, self.phone.spent() - before))
    }

    async fn lose_power_while_opening(
        &mut self,
        name: &str,
        commands: u64,
        shown: &mut dyn Interaction,
    ) -> Result<(String, Cost), CityError> {
        let step = "cutting the power";
        let entry = self.find(name).await?;
        let before = self.phone.spent();
        self.battery.fail_after(commands);
        match self.phone.wallet.open_card(&entry, shown).await {
            Ok(()) => Err(in_step(step)("the card was open before the power went")),
            Err(error @ (WalletError::Failed { .. } | WalletError::Unknown | WalletError::Cancelled)) => {
                Ok((error.to_string(), self.phone.spent() - before))
            }
            Err(error) => Err(in_step(step)(error)),
        }
    }

    async fn restore_power(&mut self) -> Result<(), CityError> {
        self.battery.restore();
        let mut element = self.element.lock().unwrap_or_else(PoisonError::into_inner);
        element.power_on().map_err(in_step("restoring the power"))
    }

    async fn pay(&mut self, aid: &HexBytes, amount_fen: u32) -> Result<Cost, CityError> {
        let before = self.phone.spent();
        let order = self.phone.wallet.order_top_up(aid, amount_fen).await;
        let (order, payment) = order.map_err(in_step("ordering a top-up"))?;
        self.phone.wallet.pay(aid, order, payment).await.map_err(in_step("paying"))?;
        Ok(self.phone.spent() - before)
    }

    async fn top_up(&mut self, _: &HexBytes, shown: &mut dyn Interaction) -> Result<(u32, Cost), CityError> {
        let step = "topping up";
        let before = self.phone.spent();
        let paid = self.phone.wallet.interrupted_top_up();
        let paid = paid.ok_or_else(|| in_step(step)("nothing has been paid"))?;
        match self.phone.wallet.top_up(&paid, shown).await.map_err(in_step(step))? {
            TopUpResult::Credited { balance_fen, .. } => Ok((balance_fen, self.phone.spent() - before)),
            TopUpResult::NotCredited { .. } => Err(in_step(step)("the card was not credited")),
        }
    }

    async fn pay_online(
        &mut self,
        aid: &HexBytes,
        payment: PaymentId,
        shown: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError> {
        let step = "paying a shop over the network";
        let before = self.phone.spent();
        match self.phone.wallet.pay_online(aid, payment, shown).await.map_err(in_step(step))? {
            OnlinePayment::Paid { balance_fen, .. } => Ok((balance_fen, self.phone.spent() - before)),
            OnlinePayment::NotPaid | OnlinePayment::Closed => Err(in_step(step)("the card did not pay")),
        }
    }

    async fn view(&mut self, aid: &HexBytes) -> Result<(Seen, Cost), CityError> {
        let step = "reading the card back";
        let before = self.phone.spent();
        let aid: Aid = aid.to_aid().map_err(in_step(step))?;
        let view = self.phone.wallet.view_card(&aid).await.map_err(in_step(step))?;
        let seen = Seen {
            number_ending: view.number_ending,
            balance_fen: view.balance_fen,
            transactions: view.transactions.len(),
            trips: view.trips.len(),
        };
        Ok((seen, self.phone.spent() - before))
    }

    async fn delete(&mut self, aid: &HexBytes, shown: &mut dyn Interaction) -> Result<Deletion, CityError> {
        let step = "deleting an application";
        let lists = self.phone.wallet.lists().await.map_err(in_step(step))?;
        let listed = lists.delete.into_iter().find(|listed| listed.aid == *aid);
        let listed = listed.ok_or_else(|| in_step(step)("it is not in the deletion list"))?;
        let before = self.phone.spent();
        match self.phone.wallet.delete(aid, &listed.ticket, shown).await {
            Ok(()) => Ok(Deletion::Done(self.phone.spent() - before)),
            Err(WalletError::Refused(problem)) => Ok(Deletion::Refused(problem.message_en)),
            Err(error) => Err(in_step(step)(error)),
        }
    }

    async fn delete_closed(&mut self, shown: &mut dyn Interaction) -> Result<Option<Cost>, CityError> {
        let step = "deleting a closed card";
        let before = self.phone.spent();
        self.phone.wallet.login(shown).await.map_err(in_step(step))?;
        let gone = self.phone.wallet.delete_closed(shown).await.map_err(in_step(step))?;
        Ok((!gone.is_empty()).then(|| self.phone.spent() - before))
    }

    async fn lock(&mut self, aid: &HexBytes, shown: &mut dyn Interaction) -> Result<Cost, CityError> {
        let before = self.phone.spent();
        self.phone.wallet.lock_card(aid, shown).await.map_err(in_step("locking a card"))?;
        Ok(self.phone.spent() - before)
    }

    async fn unlock(&mut self, aid: &HexBytes, shown: &mut dyn Interaction) -> Result<Cost, CityError> {
        let before = self.phone.spent();
        self.phone.wallet.unlock_card(aid, shown).await.map_err(in_step("unlocking a card"))?;
        Ok(self.phone.spent() - before)
    }

    async fn migrate_out(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError> {
        let before = self.phone.spent();
        let balance =
            self.phone.wallet.migrate_out(aid, shown).await.map_err(in_step("migrating a card out"))?;
        Ok((balance, self.phone.spent() - before))
    }

    async fn migrate_in(&mut self, name: &str, shown: &mut dyn Interaction) -> Result<Cost, CityError> {
        let entry = self.find(name).await?;
        let before = self.phone.spent();
        let arrived = self.phone.wallet.migrate_in(&entry.aid, None, shown).await;
        arrived.map_err(in_step("bringing a card to another phone"))?;
        Ok(self.phone.spent() - before)
    }

    async fn return_card(
        &mut self,
        aid: &HexBytes,
        shown: &mut dyn Interaction,
    ) -> Result<(u32, Cost), CityError> {
        let before = self.phone.spent();
        let returned =
            self.phone.wallet.return_card(aid, shown).await.map_err(in_step("returning a card"))?;
        Ok((returned.balance_fen, self.phone.spent() - before))
    }

    fn hold_to_gate(&mut self) -> Result<&mut CardLink, CityError> {
        Ok(&mut self.contactless)
    }
}
