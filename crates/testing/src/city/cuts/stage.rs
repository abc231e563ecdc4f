//! A small world with one rider in it, and what he can do with each of his phones: each deed once, without trying
//! again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tsm_api::HexBytes;
use tsm_api::client::Client;
use tsm_api::ids::{OrderId, PaymentId};
use tsm_api::se_tsm::operator;
use tsm_api::se_tsm::wallet::CatalogueList;
use tsm_wallet::service::{Entrance, OnlinePayment, PaidTopUp, Rights, TopUpResult};
use tsm_wallet::{Quiet, WalletError};

use super::point::Next;
use crate::city::Element;
use crate::city::card::Mishap;
use crate::city::delivery::Centre;
use crate::city::desk::{self, CARD_NAME};
use crate::city::keys::TRANSIT;
use crate::city::kiosk::{Cash, Kept};
use crate::city::network::Role;
use crate::city::phone::{Phone, SimWallet};
use crate::city::terminals::{self, TapFault, Tapped};
use crate::city::trace::{Event, Flow as Doing};
use crate::city::world::World;

/// How long a deed may take before its phone is dead.
const LONGEST: Duration = Duration::from_secs(900);
/// Commands after which an arrival breaks that is to be given up.
const ARRIVAL_BREAKS: u64 = 30;
/// The number that all phones belong to.
pub const NUMBER: &str = "8613900000000";
/// The number after the change.
pub const NEW_NUMBER: &str = "8613911111111";

/// Why a deed did not succeed.
#[derive(Debug)]
pub enum Broke {
    /// The wallet said why.
    Wallet(WalletError),
    /// The phone died.
    PhoneDied,
    /// Something else.
    Other(String),
}

impl fmt::Display for Broke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wallet(error) => write!(f, "{error}"),
            Self::PhoneDied => write!(f, "the phone died"),
            Self::Other(why) => write!(f, "{why}"),
        }
    }
}

impl From<WalletError> for Broke {
    fn from(error: WalletError) -> Self {
        Self::Wallet(error)
    }
}

/// The rider, with one of his phones.
pub struct Person {
    /// Which of whose phones.
    pub element: Element,
    /// The phone.
    pub phone: Phone,
    /// Cash that is in a kiosk and not on the card as far as the person knows.
    pub cash: Option<Cash>,
    /// Inside a paid area.
    pub inside: bool,
    wallet: Option<SimWallet>,
}

/// The world of one run.
pub struct Stage {
    /// The world.
    pub world: Arc<World>,
    /// The rider with each phone in turn.
    pub people: Vec<Person>,
    /// What befalls the next tap.
    pub tap_fault: Option<TapFault>,
    /// What the shop on the network has ordered.
    pub shop_orders: Vec<(tsm_domain::OrderId, u32)>,
    /// The gates' operator at the centre.
    pub centre: Centre,
    /// The line of the person in the issuer's hall, once somebody works there.
    pub(super) hall: Option<Client>,
}

fn transit() -> HexBytes {
    TRANSIT.into()
}

impl Stage {
    /// The rider comes in with so many phones, and has nothing else.
    pub fn new(world: &Arc<World>, phones: u8) -> Self {
        let person = |phone| {
            let element = Element { rider: 0, phone };
            Person { element, phone: world.new_phone(element), cash: None, inside: false, wallet: None }
        };
        let people = (0..phones).map(person).collect();
        let centre = world.centre(450);
        Self { world: world.clone(), people, tap_fault: None, shop_orders: Vec::new(), centre, hall: None }
    }

    /// Does something with a person's wallet, which is logged in if it is not.
    pub async fn with_wallet<T>(
        &mut self,
        person: usize,
        doing: Doing,
        work: impl AsyncFnOnce(&mut SimWallet) -> Result<T, WalletError>,
    ) -> Result<T, Broke> {
        let world = self.world.clone();
        let person = &mut self.people[person];
        let number = person.element.rider;
        world.trace.rider(number, Event::Began(doing));
        let wallet = person.wallet.take();
        let phone = &person.phone;
        let work = async {
            let mut wallet = match wallet {
                Some(wallet) => wallet,
                None => phone.start().await?,
            };
            if doing != Doing::Register && wallet.rights() != Some(Rights::Full) {
                log_in(&mut wallet).await?;
            }
            let result = work(&mut wallet).await;
            Ok::<_, WalletError>((wallet, result))
        };
        let ended = tokio::select! {
            biased;
            ended = work => match ended {
                Ok((wallet, result)) => {
                    person.wallet = phone.card.is_powered().then_some(wallet);
                    result.map_err(Broke::Wallet)
                }
                Err(error) => Err(Broke::Wallet(error)),
            },
            () = world.executor.sleep(LONGEST) => Err(Broke::PhoneDied),
        };
        let event = match &ended {
            Ok(_) => Event::Done(doing),
            Err(Broke::PhoneDied) => Event::PhoneDied(doing),
            Err(other) => Event::Failed(doing, other.to_string()),
        };
        world.trace.rider(number, event);
        world.truth.check_orders(number);
        world.truth.check_proven(number);
        ended
    }

    /// The wallet is closed, or the phone switched off and on.
    pub fn close_wallet(&mut self, person: usize) {
        let person = &mut self.people[person];
        person.wallet = None;
        person.phone.set_mortal(false);
        person.phone.cancel_death();
        person.phone.card.calm();
        if !person.phone.card.is_powered() {
            person.phone.card.power_on();
            self.world.trace.rider(person.element.rider, Event::PhoneOn);
        }
    }

    /// Registers the phone to the number.
    pub async fn register(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::Register, async |wallet| {
            let agreement = wallet.agreement().await?;
            let accepted = wallet.accept(&agreement);
            wallet.register(accepted, Some(NUMBER.into()), &mut Quiet).await
        })
        .await?;
        self.with_wallet(person, Doing::Synchronise, async |_| Ok(())).await
    }

    /// Opens the transit card.
    pub async fn open(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::Open, async |wallet| {
            let entries = wallet.catalogue(CatalogueList::Recommendation).await?;
            let entry = entries.into_iter().find(|entry| entry.name == CARD_NAME);
            let entry = entry.ok_or_else(|| WalletError::NotOffered(transit()))?;
            wallet.open_card(&entry, &mut Quiet).await
        })
        .await
    }

    /// Orders a top-up and pays it.
    pub async fn pay(&mut self, person: usize, amount: u32) -> Result<OrderId, Broke> {
        let ordered = self
            .with_wallet(person, Doing::Pay, async |wallet| wallet.order_top_up(&transit(), amount).await)
            .await?;
        let (order, payment): (OrderId, PaymentId) = ordered;
        let number = self.people[person].element.rider;
        self.world.truth.ordered(number, tsm_domain::OrderId::from_uuid(order.0), amount);
        self.with_wallet(person, Doing::Pay, async |wallet| wallet.pay(&transit(), order, payment).await)
            .await?;
        Ok(order)
    }

    /// Carries a paid top-up to the card.
    pub async fn carry(&mut self, person: usize, order: OrderId) -> Result<(), Broke> {
        let paid = PaidTopUp { aid: transit(), order };
        let carried = self
            .with_wallet(person, Doing::TopUp, async |wallet| wallet.top_up(&paid, &mut Quiet).await)
            .await?;
        match carried {
            TopUpResult::Credited { .. } => Ok(()),
            TopUpResult::NotCredited { .. } => Err(Broke::Other("the card was not credited".into())),
        }
    }

    /// Orders, pays and carries a top-up.
    pub async fn top_up(&mut self, person: usize, amount: u32) -> Result<(), Broke> {
        let order = self.pay(person, amount).await?;
        self.carry(person, order).await
    }

    /// Puts cash into a kiosk for the card, or goes on with what is in it.
    pub async fn bring_cash(&mut self, person: usize, amount: u32) -> Result<(), Broke> {
        let rider = &self.people[person];
        let number = rider.element.rider;
        let cash = match rider.cash {
            Some(cash) => cash,
            None => {
                let reading = self.world.truth.reading(rider.element);
                let serial = reading.ok_or_else(|| Broke::Other("there is no card".into()))?.serial;
                self.world.take_cash(number, serial, amount)
            }
        };
        self.world.trace.rider(number, Event::Began(Doing::Cash));
        self.people[person].cash = Some(cash);
        let card = self.people[person].phone.card.clone();
        match self.world.bring_cash(&card, cash).await {
            Kept::OnCard => self.world.trace.rider(number, Event::Done(Doing::Cash)),
            Kept::GivenBack => self.world.trace.rider(number, Event::Cancelled(cash.amount)),
            Kept::Unknown => {
                let why = "the kiosk does not know where the cash is";
                self.world.trace.rider(number, Event::Failed(Doing::Cash, why.into()));
                return Err(Broke::Other(why.into()));
            }
        }
        self.people[person].cash = None;
        Ok(())
    }

    /// Pays a shop's order from the card.
    pub async fn pay_online(&mut self, person: usize, amount: u32) -> Result<(), Broke> {
        let asked = self.world.ask_for_money(amount).await;
        let order = asked.map_err(|error| Broke::Other(format!("the shop could not order: {error}")))?;
        self.shop_orders.push((order, amount));
        let payment = PaymentId(order.as_uuid());
        let paid = self
            .with_wallet(person, Doing::PayOnline, async |wallet| {
                wallet.pay_online(&transit(), payment, &mut Quiet).await
            })
            .await?;
        match paid {
            OnlinePayment::Paid { .. } => Ok(()),
            OnlinePayment::NotPaid | OnlinePayment::Closed => Err(Broke::Other("it is not paid".into())),
        }
    }

    /// Locks the card.
    pub async fn lock(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::Lock, async |wallet| wallet.lock_card(&transit(), &mut Quiet).await)
            .await
    }

    /// Unlocks the card.
    pub async fn unlock(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::Unlock, async |wallet| {
            wallet.unlock_card(&transit(), &mut Quiet).await
        })
        .await
    }

    /// Returns the card, and deletes what is left of it.
    pub async fn give_back(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::Return, async |wallet| {
            wallet.return_card(&transit(), &mut Quiet).await.map(drop)
        })
        .await?;
        self.clean_up(person).await
    }

    /// Parks the card. What is left of it stays on the phone.
    pub async fn park(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::MigrateOut, async |wallet| {
            wallet.migrate_out(&transit(), &mut Quiet).await.map(drop)
        })
        .await
    }

    /// Brings the parked card to this phone.
    pub async fn migrate_in(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::MigrateIn, async |wallet| {
            wallet.migrate_in(&transit(), None, &mut Quiet).await
        })
        .await
    }

    /// The wallet's session is over.
    pub fn forget_session(&mut self, person: usize) {
        self.people[person].wallet = None;
    }

    /// Logs in anew, and deletes what the platform wants deleted.
    pub async fn clean_up(&mut self, person: usize) -> Result<(), Broke> {
        // What is to be deleted is said at a login.
        self.people[person].wallet = None;
        self.with_wallet(person, Doing::Delete, async |wallet| {
            wallet.delete_closed(&mut Quiet).await.map(drop)
        })
        .await
    }

    /// Lets the issuer look at the purse.
    pub async fn synchronise_purse(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::SynchronisePurse, async |wallet| {
            wallet.synchronise_card(&transit(), &mut Quiet).await.map(drop)
        })
        .await
    }

    /// Lets the operator look at the card.
    pub async fn synchronise(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::Synchronise, async |wallet| {
            wallet.synchronise(&mut Quiet).await.map(drop)
        })
        .await
    }

    /// The staff records that the rider has another number.
    pub async fn change_number(&mut self, person: usize) -> Result<(), Broke> {
        let client = Client::new(self.world.network.way(Role::SeTsm, None));
        let se = HexBytes(self.people[person].element.id().to_vec());
        let change = operator::NumberChange { old: NUMBER.into(), new: NEW_NUMBER.into() };
        let failed = |error: tsm_api::client::ClientError| Broke::Other(format!("at the desk: {error}"));
        let hall = desk::hall(&client).await.map_err(failed)?;
        hall.change_number(&se, &change).await.map_err(failed).map(drop)
    }

    /// The hall puts the secure element on the loss list, or takes it off.
    pub async fn list_as_lost(&mut self, person: usize, listing: operator::Listing) -> Result<(), Broke> {
        let client = Client::new(self.world.network.way(Role::SeTsm, None));
        let se = HexBytes(self.people[person].element.id().to_vec());
        let failed = |error: tsm_api::client::ClientError| Broke::Other(format!("at the desk: {error}"));
        let hall = desk::hall(&client).await.map_err(failed)?;
        desk::list_as_lost(&hall, &se, listing).await.map_err(failed)?;
        let rider = self.people[person].element.rider;
        let lost = listing == operator::Listing::On;
        self.world.trace.rider(rider, if lost { Event::Lost } else { Event::Found });
        Ok(())
    }

    /// Opens the wallet of a phone that is lost: it locks the card, and gives no session.
    pub async fn open_while_lost(&mut self, person: usize) -> Result<(), Broke> {
        self.forget_session(person);
        match self.with_wallet(person, Doing::Synchronise, async |_| Ok(())).await {
            Err(Broke::Wallet(WalletError::NoSession)) => {}
            Err(broke) => return Err(broke),
            Ok(()) => return Err(Broke::Other("a lost phone gets a session".into())),
        }
        match self.ride(person, 1) {
            Err(Broke::Other(_)) => Ok(()),
            Err(broke) => Err(broke),
            Ok(()) => Err(Broke::Other("a gate lets the card of a lost phone pass".into())),
        }
    }

    /// Reports the card lost, with the phone itself.
    pub async fn report_lost(&mut self, person: usize) -> Result<(), Broke> {
        self.with_wallet(person, Doing::ReportLost, async |wallet| {
            wallet.report_lost(&transit(), None).await.map(drop)
        })
        .await
    }

    /// The gates of a station fetch the list, and lock the card when it comes.
    pub async fn be_locked_at_gate(&mut self, person: usize) -> Result<(), Broke> {
        for index in 0..terminals::GATES_PER_STATION.into() {
            let fetched = self.world.terminals.fetch_list(index, &self.centre).await;
            fetched.map_err(|error| Broke::Other(format!("a gate has no list: {error}")))?;
        }
        match self.ride(person, 1) {
            Ok(()) => Err(Broke::Other("the gate let a black-listed card pass".into())),
            Err(_) if self.is_blocked(person) => Ok(()),
            Err(broke) => Err(broke),
        }
    }

    /// Whether the phone holds a card that cannot be spent from.
    pub fn is_blocked(&self, person: usize) -> bool {
        let reading = self.world.truth.reading(self.people[person].element);
        reading.is_some_and(|reading| !reading.spendable)
    }

    /// Orders the parked card to this phone, which loses its power while the card is written, and gives it up.
    pub async fn give_arrival_up(&mut self, person: usize) -> Result<(), Broke> {
        self.people[person].phone.card.prepare(ARRIVAL_BREAKS, Mishap::CommandLost);
        if self.migrate_in(person).await.is_ok() {
            return Err(Broke::Other("the arrival was not broken".into()));
        }
        self.close_wallet(person);
        self.settle_open_works(person, Next::Cancel).await?;
        self.wait(60).await;
        self.clean_up(person).await?;
        self.synchronise(person).await
    }

    /// Pays in a shop.
    pub fn buy(&mut self, person: usize, shop: u32, amount: u32) -> Result<(), Broke> {
        let fault = self.tap_fault.take();
        let card = &self.people[person].phone.card;
        let tapped = self.world.terminals.buy(shop, amount, card, fault);
        self.tapped(person, "the shop", tapped)
    }

    /// Goes through the entry gate, or the exit gate.
    pub fn ride(&mut self, person: usize, station: u16) -> Result<(), Broke> {
        let fault = self.tap_fault.take();
        let rider = &self.people[person];
        let (place, tapped) = if rider.inside {
            ("the exit gate", self.world.terminals.leave(station, &rider.phone.card, fault))
        } else {
            ("the entry gate", self.world.terminals.enter(station, &rider.phone.card, fault))
        };
        self.tapped(person, place, tapped)?;
        let rider = &mut self.people[person];
        rider.inside = !rider.inside;
        Ok(())
    }

    fn tapped(&self, person: usize, place: &'static str, tapped: Tapped) -> Result<(), Broke> {
        let number = self.people[person].element.rider;
        match tapped {
            Tapped::Passed(fare, balance) => {
                self.world.trace.rider(number, Event::Passed(place, fare, balance));
                Ok(())
            }
            Tapped::Turned(why) | Tapped::Again(why) => {
                self.world.trace.rider(number, Event::Turned(place, why.clone()));
                Err(Broke::Other(why))
            }
        }
    }

    /// Every terminal delivers what it has, once.
    pub async fn deliver(&self) {
        for index in 0..self.world.terminals.count() {
            self.world.terminals.deliver_one(index, &self.centre).await;
        }
    }

    /// Every terminal delivers a batch, once.
    pub async fn deliver_batches(&self) {
        for index in 0..self.world.terminals.count() {
            self.world.terminals.deliver_batch(index, &self.centre).await;
        }
    }

    /// Time passes.
    pub async fn wait(&self, seconds: u64) {
        self.world.executor.sleep(Duration::from_secs(seconds)).await;
    }
}

async fn log_in(wallet: &mut SimWallet) -> Result<(), WalletError> {
    match wallet.login(&mut Quiet).await? {
        Entrance::Restricted { reason } => Err(reason),
        Entrance::Certified { rights: Rights::Full, .. } => Ok(()),
        Entrance::Certified { .. } => Err(WalletError::NoSession),
    }
}
