//! What the two riders do, step by step, and what each step costs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tsm_api::HexBytes;
use tsm_api::se_tsm::wallet::{CatalogueEntry, CatalogueList};
use tsm_domain::environment::Clock;
use tsm_iso7816::Aid;
use tsm_se::card::SystemRandomness;
use tsm_se::memory::LoadFileLibrary;
use tsm_se::{Interface, SecureElement};
use tsm_terminal::gate::Passage;
use tsm_wallet::WalletError;
use tsm_wallet::service::{Entrance, Rights, TopUpResult};

use super::SharedMeter;
use super::gates::{self, CityGate};
use super::narrator::Narrator;
use crate::city::{City, CityError, ceremony, in_step, se_id};
use crate::environment::SystemClock;
use crate::handset::{Battery, CardCounts, CardLink, Meter, SharedElement, Watched};
use crate::phone::Phone;
use crate::report::{StepCost, yuan};

/// What each rider pays in.
const TOP_UP_FEN: u32 = 5_000;
/// Commands of the opening after which the second phone's battery is taken out: in the middle of LOAD.
const COMMANDS_BEFORE_THE_CUT: u64 = 40;

/// A rider: the phone, its card's two interfaces, and what they have cost so far.
struct Rider<'a> {
    phone: Phone,
    contactless: CardLink,
    element: SharedElement,
    battery: Arc<Battery>,
    meter: SharedMeter,
    suffix: &'static str,
    steps: &'a mut Vec<StepCost>,
}

/// Both riders' days. Returns the gates with what they booked.
pub async fn ride(
    city: &City,
    folder: &Path,
    narrator: &mut Narrator,
    watched: Watched,
    steps: &mut Vec<StepCost>,
) -> Result<[CityGate; 2], CityError> {
    let mut gates = gates::open(&city.terminal_roots).map_err(in_step("opening the gates"))?;
    let library = LoadFileLibrary::new();
    narrator.chapter("The first phone");
    let mut rider = Rider::new(city, 1, "", folder, library.clone(), watched, steps).await?;
    rider.register(narrator, "8613900000001").await?;
    rider.log_in(narrator).await?;
    let card = rider.find("Harbour Transit Card").await?;
    rider.open_card("open_card", &card, narrator).await?;
    rider.pay_and_top_up(&card.aid, narrator).await?;
    rider.take_a_trip(&mut gates, narrator)?;
    rider.read_back(&card.aid, narrator).await?;
    let greeting = rider.find("Greeting Card").await?;
    rider.open_card("download", &greeting, narrator).await?;
    rider.delete(&greeting.aid, narrator).await?;
    rider.try_to_delete_value(&card.aid, narrator).await?;
    narrator.chapter("The second phone, whose battery is taken out");
    let mut rider = Rider::new(city, 2, "_second", folder, library, watched, steps).await?;
    rider.register(narrator, "8613900000002").await?;
    rider.log_in(narrator).await?;
    let card = rider.find("Harbour Transit Card").await?;
    rider.lose_power_while_opening(&card, narrator).await?;
    rider.log_in_again(narrator).await?;
    let card = rider.find("Harbour Transit Card").await?;
    rider.open_card("open_card_resumed", &card, narrator).await?;
    rider.pay_and_top_up(&card.aid, narrator).await?;
    rider.take_a_trip(&mut gates, narrator)?;
    rider.read_back(&card.aid, narrator).await?;
    Ok(gates)
}

impl<'a> Rider<'a> {
    async fn new(
        city: &City,
        number: u32,
        suffix: &'static str,
        folder: &Path,
        library: LoadFileLibrary,
        watched: Watched,
        steps: &'a mut Vec<StepCost>,
    ) -> Result<Self, CityError> {
        let step = "switching a phone on";
        let profile = ceremony::profile(&city.maker, &se_id(number), library);
        let element = SecureElement::create(&profile, Box::new(SystemRandomness)).map_err(in_step(step))?;
        let element = Arc::new(Mutex::new(element));
        let (meter, battery) = (Meter::new(watched), Arc::<Battery>::default());
        let link = |interface| CardLink::here(element.clone(), interface, meter.clone()).on(battery.clone());
        let home = folder.join(format!("phone-{number}"));
        let phone = Phone::start(&city.plan.servers(), &home, link(Interface::Contact)).await;
        let phone = phone.map_err(in_step(step))?;
        let contactless = link(Interface::Contactless);
        Ok(Self { phone, contactless, element, battery, meter, suffix, steps })
    }

    /// What has been spent so far.
    fn spent(&self) -> (CardCounts, u64, u64) {
        let requests = self.phone.requests();
        (self.meter.read(), requests.requests, requests.server_us)
    }

    /// Books what a step has cost since `before`. A name that the first rider used gets this rider's
    /// suffix, so that names stay unique.
    fn book(&mut self, name: &str, before: (CardCounts, u64, u64)) {
        let known = self.steps.iter().any(|step| step.name == name);
        let suffix = if known { self.suffix } else { "" };
        let (card, requests, server_us) = self.spent();
        let card = card - before.0;
        self.steps.push(StepCost {
            name: format!("{name}{suffix}"),
            apdus: card.apdus,
            bytes: card.bytes,
            round_trips: requests - before.1,
            card_us: card.card_us,
            server_us: server_us - before.2,
        });
    }

    async fn register(&mut self, narrator: &mut Narrator, number: &str) -> Result<(), CityError> {
        let step = "registering a phone";
        let before = self.spent();
        let agreement = self.phone.wallet.agreement().await.map_err(in_step(step))?;
        let accepted = self.phone.wallet.accept(&agreement);
        let registered = self.phone.wallet.register(accepted, Some(number.to_owned()), narrator).await;
        registered.map_err(in_step(step))?;
        self.book("register", before);
        narrator
            .happened("registered: the SE-ID was read from the card, number and TOKEN were written to it");
        Ok(())
    }

    async fn log_in(&mut self, narrator: &mut Narrator) -> Result<(), CityError> {
        let before = self.spent();
        self.certify(narrator).await?;
        self.book("login", before);
        narrator.happened("logged in with SE-ID and TOKEN, in one request");
        Ok(())
    }

    async fn log_in_again(&mut self, narrator: &mut Narrator) -> Result<(), CityError> {
        self.certify(narrator).await?;
        narrator.happened("the battery is back; the wallet logs in again");
        Ok(())
    }

    async fn certify(&mut self, narrator: &mut Narrator) -> Result<(), CityError> {
        let step = "logging in";
        match self.phone.wallet.login(narrator).await.map_err(in_step(step))? {
            Entrance::Certified { rights: Rights::Full, .. } => Ok(()),
            Entrance::Certified { .. } => Err(in_step(step)("the platform gave less than full rights")),
            Entrance::Restricted { reason } => Err(in_step(step)(reason)),
        }
    }

    async fn find(&self, name: &str) -> Result<CatalogueEntry, CityError> {
        let step = "looking through the catalogue";
        let list = CatalogueList::Recommendation;
        let entries = self.phone.wallet.catalogue(list).await.map_err(in_step(step))?;
        let found = entries.into_iter().find(|entry| entry.name == name);
        found.ok_or_else(|| in_step(step)(format!("{name} is not offered")))
    }

    async fn open_card(
        &mut self,
        step: &'static str,
        entry: &CatalogueEntry,
        narrator: &mut Narrator,
    ) -> Result<(), CityError> {
        let before = self.spent();
        self.phone.wallet.open_card(entry, narrator).await.map_err(in_step("opening a card"))?;
        self.book(step, before);
        let cost = self.steps.last().expect("the step was just booked");
        let (apdus, round_trips) = (cost.apdus, cost.round_trips);
        narrator.happened(&format!("{} is open: {apdus} APDUs in {round_trips} round trips", entry.name));
        Ok(())
    }

    async fn lose_power_while_opening(
        &mut self,
        entry: &CatalogueEntry,
        narrator: &mut Narrator,
    ) -> Result<(), CityError> {
        let step = "cutting the power";
        let before = self.spent();
        self.battery.fail_after(COMMANDS_BEFORE_THE_CUT);
        match self.phone.wallet.open_card(entry, narrator).await {
            Ok(()) => return Err(in_step(step)("the card was open before the power went")),
            Err(error @ (WalletError::Failed { .. } | WalletError::Unknown | WalletError::Cancelled)) => {
                narrator.happened(&format!("the battery is out in the middle of the download: {error}"));
            }
            Err(error) => return Err(in_step(step)(error)),
        }
        self.book("open_card_cut", before);
        self.battery.restore();
        self.element.lock().unwrap_or_else(PoisonError::into_inner).power_on().map_err(in_step(step))
    }

    async fn pay_and_top_up(&mut self, aid: &HexBytes, narrator: &mut Narrator) -> Result<(), CityError> {
        let step = "topping up";
        let before = self.spent();
        let order = self.phone.wallet.order_top_up(aid, TOP_UP_FEN).await;
        let (order, payment) = order.map_err(in_step("ordering a top-up"))?;
        let paid = self.phone.wallet.pay(aid, order, payment).await.map_err(in_step("paying"))?;
        self.book("pay", before);
        narrator.happened(&format!("paid {} to the payment platform", yuan(i64::from(TOP_UP_FEN))));
        let before = self.spent();
        match self.phone.wallet.top_up(&paid, narrator).await.map_err(in_step(step))? {
            TopUpResult::Credited { balance_fen, .. } => {
                self.book("top_up", before);
                let balance = yuan(i64::from(balance_fen));
                narrator.happened(&format!("topped up: the card proved it, and holds {balance}"));
                Ok(())
            }
            TopUpResult::NotCredited { .. } => Err(in_step(step)("the card was not credited")),
        }
    }

    fn take_a_trip(&mut self, gates: &mut [CityGate; 2], narrator: &mut Narrator) -> Result<(), CityError> {
        let [harbour, lighthouse] = gates;
        let before = self.spent();
        let at = SystemClock.now();
        let passage =
            gates::enter(harbour, &mut self.contactless, at).map_err(in_step("entering at Harbour"))?;
        let Passage::Entered { balance, .. } = passage else {
            return Err(in_step("entering at Harbour")("the gate let the rider out"));
        };
        self.book("tap_in", before);
        narrator.happened(&format!("in at Harbour with {}", yuan(i64::from(balance.fen()))));
        let before = self.spent();
        let at = SystemClock.now();
        let passage =
            gates::leave(lighthouse, &mut self.contactless, at).map_err(in_step("leaving at Lighthouse"))?;
        let Passage::Left { fare, balance, .. } = passage else {
            return Err(in_step("leaving at Lighthouse")("the gate let the rider in"));
        };
        self.book("tap_out", before);
        let (fare, balance) = (yuan(i64::from(fare.fen())), yuan(i64::from(balance.fen())));
        narrator.happened(&format!("out at Lighthouse: {fare} for eight kilometres, {balance} left"));
        Ok(())
    }

    async fn read_back(&mut self, aid: &HexBytes, narrator: &mut Narrator) -> Result<(), CityError> {
        let step = "reading the card back";
        let before = self.spent();
        let aid: Aid = aid.to_aid().map_err(in_step(step))?;
        let view = self.phone.wallet.view_card(&aid).await.map_err(in_step(step))?;
        self.book("read_back", before);
        narrator.happened(&format!(
            "read back without any server: card ending {}, {}, {} transactions, {} trip records",
            view.number_ending,
            yuan(i64::from(view.balance_fen)),
            view.transactions.len(),
            view.trips.len()
        ));
        Ok(())
    }

    async fn delete(&mut self, aid: &HexBytes, narrator: &mut Narrator) -> Result<(), CityError> {
        let step = "deleting an application";
        let ticket = self.deletion_ticket(aid, step).await?;
        let before = self.spent();
        self.phone.wallet.delete(aid, &ticket, narrator).await.map_err(in_step(step))?;
        self.book("delete", before);
        narrator.happened("the greeting card is deleted, and its space is free again");
        Ok(())
    }

    async fn try_to_delete_value(
        &mut self,
        aid: &HexBytes,
        narrator: &mut Narrator,
    ) -> Result<(), CityError> {
        let step = "trying to delete a card that holds money";
        let ticket = self.deletion_ticket(aid, step).await?;
        match self.phone.wallet.delete(aid, &ticket, narrator).await {
            Err(WalletError::Refused(problem)) => {
                narrator.happened(&format!("the transit card may not be deleted: {}", problem.message_en));
                Ok(())
            }
            Ok(()) => Err(in_step(step)("it was deleted")),
            Err(error) => Err(in_step(step)(error)),
        }
    }

    async fn deletion_ticket(&self, aid: &HexBytes, step: &'static str) -> Result<String, CityError> {
        let lists = self.phone.wallet.lists().await.map_err(in_step(step))?;
        let listed = lists.delete.into_iter().find(|listed| listed.aid == *aid);
        listed.map(|listed| listed.ticket).ok_or_else(|| in_step(step)("it is not in the deletion list"))
    }
}
