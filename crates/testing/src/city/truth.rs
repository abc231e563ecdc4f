//! What is so, whatever anybody believes: read from the cards' memories at each command that they serve, and
//! from the payment platform's own records. The checks compare it with what the servers believe.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tsm_domain::money::{CardAccountState, PaymentState, TopUpStage};
use tsm_domain::{CardNumber, OrderId};
use tsm_se::inspect::PurseReading;
use tsm_storage::memory::{MemoryClearing, MemoryPayment, MemorySpTsm};
use tsm_storage::sp_tsm::{SpTsmStore as _, TopUpOrderState};
use tsm_storage::{ClearingStore as _, PaymentStore as _};

use super::executor::Executor;
use super::lock;
use super::servers::Stores;
use super::trace::{Event, Trace};

/// What must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A card took in money that nobody paid, or a second time.
    CreditWithoutPayment {
        /// How much.
        amount: u32,
    },
    /// A payment was given back and is on the card as well.
    RefundedAndCredited {
        /// How much.
        amount: u32,
    },
    /// A card's counter went back or stood still over a transaction.
    CounterWentBack {
        /// Online before and after, offline before and after.
        counters: [u16; 4],
    },
    /// A card was shown a terminal number for a load a second time.
    ReusedTerminalNumber {
        /// The number, in hexadecimal.
        number: String,
    },
    /// MAC2 reached a card, and the issuer had stored no intention.
    CreditWithoutIntention {
        /// The terminal number of the attempt, in hexadecimal.
        number: String,
    },
    /// Two secure elements can spend the same card's money.
    TwoSpendableCopies {
        /// The card's last digits.
        card: String,
    },
    /// The issuer keeps as proven what the card never held.
    BelievedBalance {
        /// What it keeps: balance and online counter.
        believed: (u64, u16),
    },
    /// Money appeared on a card or left it outside any transaction.
    MoneyOutOfNothing {
        /// What it held before and after.
        balances: (u32, u32),
    },
    /// The centre refuses for good what an honest card paid at an honest terminal.
    HonestRefused {
        /// How.
        verdict: String,
    },
    /// A debit that no terminal knows of.
    DebitWithoutRecord {
        /// How much.
        amount: u32,
    },
    /// The books do not add up.
    Books {
        /// Paid in, and found.
        sums: (i128, i128),
    },
    /// The books add up and are not true.
    BooksUntrue {
        /// What is compared, what the books say, and what is so.
        term: (&'static str, i128, i128),
    },
    /// The operator's records and the card's registry differ.
    Inventory {
        /// How.
        difference: String,
    },
    /// The application's state in table S.1 is not that of the card.
    State {
        /// How.
        state: String,
    },
    /// A client list shows the application where table S.2 does not, or does not show it where it does.
    Lists {
        /// How.
        difference: String,
    },
    /// Nothing goes wrong any more, and a rider cannot bring card and servers to agree.
    Unsettled {
        /// Why.
        why: String,
    },
    /// A journal's chain is broken.
    Journal {
        /// Which one and where.
        place: String,
    },
    /// A step that moved money is in no journal.
    Unjournalled {
        /// What.
        what: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreditWithoutPayment { amount } => {
                write!(f, "the card took in {amount} fen, for which there is no payment that waits for it")
            }
            Self::RefundedAndCredited { amount } => {
                write!(f, "{amount} fen were given back to the payer and are on the card as well")
            }
            Self::CounterWentBack { counters: [online, later_online, offline, later_offline] } => write!(
                f,
                "the card's counters went from {online} online and {offline} offline to {later_online} and \
                 {later_offline}"
            ),
            Self::ReusedTerminalNumber { number } => {
                write!(f, "the terminal number {number} was used for a second load of the card")
            }
            Self::CreditWithoutIntention { number } => {
                write!(f, "MAC2 of terminal number {number} reached the card, and no intention was stored")
            }
            Self::TwoSpendableCopies { card } => {
                write!(f, "two secure elements can spend the money of the card that ends in {card}")
            }
            Self::BelievedBalance { believed: (balance, counter) } => write!(
                f,
                "the issuer keeps as proven that the card held {balance} fen at counter {counter}, which it never did"
            ),
            Self::MoneyOutOfNothing { balances: (before, after) } => {
                write!(f, "the card's balance went from {before} to {after} fen outside any transaction")
            }
            Self::HonestRefused { verdict } => {
                write!(f, "the centre refuses what the card paid: {verdict}")
            }
            Self::DebitWithoutRecord { amount } => {
                write!(f, "the card paid {amount} fen, and no terminal keeps a record of it")
            }
            Self::Books { sums: (paid, found) } => {
                write!(f, "the centre's books say that {paid} fen were paid in and find {found}")
            }
            Self::BooksUntrue { term: (what, books, truth) } => {
                write!(f, "the centre's books say {what} {books} fen; in truth it is {truth}")
            }
            Self::Inventory { difference } => {
                write!(f, "the operator's records and the card differ: {difference}")
            }
            Self::State { state } => write!(f, "the recorded state is not the card's: {state}"),
            Self::Lists { difference } => write!(f, "the lists are not those of table S.2: {difference}"),
            Self::Unsettled { why } => write!(f, "nothing goes wrong, and the rider cannot settle: {why}"),
            Self::Journal { place } => write!(f, "the journal is broken: {place}"),
            Self::Unjournalled { what } => write!(f, "the journal does not say {what}"),
        }
    }
}

/// A violation, where and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What.
    pub violation: Violation,
    /// The rider whose card it concerns, if it concerns one.
    pub rider: Option<u32>,
    /// When, in nanoseconds since 1970.
    pub at: i64,
}

/// A card's number as EF15 has it.
type Serial = [u8; 10];

/// One rider's money.
#[derive(Debug, Clone, Default)]
struct Account {
    orders: Vec<Order>,
    reading: Option<PurseReading>,
    /// Every balance that each card held, with its online counter.
    held: BTreeSet<(Serial, u64, u16)>,
    /// Terminal numbers that were announced to each card for loads.
    announced: BTreeSet<(Serial, [u8; 6])>,
    /// What was paid, by the offline counter after it, and at which terminal.
    paid: BTreeMap<(Serial, u16), (u32, [u8; 6])>,
    spent: u64,
    credited: u64,
    /// Paid by debits that no terminal could prove to the centre.
    unproven: u64,
}

#[derive(Debug, Clone)]
struct Order {
    order: OrderId,
    amount: u32,
    /// The card that took it in.
    credited: Option<Serial>,
    money: Money,
}

/// Where an order's money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Money {
    /// At the payment platform, which knows the rest.
    Platform,
    /// In a kiosk.
    Kiosk,
    /// Back in the rider's hand.
    GivenBack,
}

/// What is so.
pub struct Truth {
    executor: Executor,
    trace: Arc<Trace>,
    payments: Arc<MemoryPayment>,
    issuer: Arc<MemorySpTsm>,
    centre: Arc<MemoryClearing>,
    state: Mutex<State>,
}

struct State {
    accounts: Vec<Account>,
    /// Who can spend which card.
    spendable: BTreeMap<Serial, BTreeSet<u32>>,
    /// Who had or has which card.
    holders: BTreeMap<Serial, u32>,
    /// What was on purses that are gone.
    departed: u64,
    found: Option<Found>,
}

/// The sums of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Paid at the platform and not given back.
    pub held: i128,
    /// On cards.
    pub on_cards: i128,
    /// Paid from cards.
    pub spent: i128,
    /// Paid, not given back, and on no card yet.
    pub in_flight: i128,
    /// Paid from cards, and not proven by any terminal.
    pub unproven: i128,
    /// What was on purses that are gone.
    pub departed: i128,
    /// What was given back of payments that had been on cards.
    pub returned: i128,
}

impl Truth {
    /// The truth about so many riders.
    pub fn new(executor: &Executor, trace: &Arc<Trace>, stores: &Stores, riders: u32) -> Self {
        let accounts = (0..riders).map(|_| Account::default()).collect();
        Self {
            executor: executor.clone(),
            trace: trace.clone(),
            payments: stores.payment.clone(),
            issuer: stores.sp_tsm.clone(),
            centre: stores.clearing.clone(),
            state: Mutex::new(State {
                accounts,
                spendable: BTreeMap::new(),
                holders: BTreeMap::new(),
                departed: 0,
                found: None,
            }),
        }
    }

    /// What was found first, if anything was.
    pub fn found(&self) -> Option<Found> {
        lock(&self.state).found.clone()
    }

    /// Something is wrong. The first finding stops the city.
    pub fn find(&self, rider: Option<u32>, violation: Violation) {
        let found = Found { violation, rider, at: self.executor.nanoseconds() };
        lock(&self.state).found.get_or_insert(found);
        self.executor.stop();
    }

    /// A rider has paid, or is about to pay, an order.
    pub fn ordered(&self, rider: u32, order: OrderId, amount: u32) {
        let mut state = lock(&self.state);
        let orders = &mut state.accounts[rider as usize].orders;
        if orders.iter().all(|known| known.order != order) {
            orders.push(Order { order, amount, credited: None, money: Money::Platform });
        }
    }

    /// A kiosk has taken cash.
    pub fn cash_taken(&self, rider: u32, operation: uuid::Uuid, amount: u32) {
        let order =
            Order { order: OrderId::from_uuid(operation), amount, credited: None, money: Money::Kiosk };
        lock(&self.state).accounts[rider as usize].orders.push(order);
    }

    /// A kiosk has given cash back.
    pub fn cash_given_back(&self, operation: uuid::Uuid) {
        let order = OrderId::from_uuid(operation);
        let mut state = lock(&self.state);
        let given_back = state.accounts.iter_mut().enumerate().find_map(|(rider, account)| {
            let known = account.orders.iter_mut().find(|known| known.order == order)?;
            known.money = Money::GivenBack;
            Some((rider as u32, known.amount, known.credited.is_some()))
        });
        drop(state);
        if let Some((rider, amount, true)) = given_back {
            self.find(Some(rider), Violation::RefundedAndCredited { amount });
        }
    }

    /// The card answered INITIALIZE FOR LOAD with this terminal number.
    pub fn announced(&self, rider: u32, number: [u8; 6]) {
        let mut state = lock(&self.state);
        let account = &mut state.accounts[rider as usize];
        let new = account.reading.is_none_or(|reading| account.announced.insert((reading.serial, number)));
        drop(state);
        if !new {
            self.find(Some(rider), Violation::ReusedTerminalNumber { number: hex::encode(number) });
        }
    }

    /// CREDIT FOR LOAD is about to reach a card that was shown this terminal number.
    pub fn about_to_credit(&self, rider: u32, number: [u8; 6]) {
        let serial = lock(&self.state).accounts[rider as usize].reading.map(|reading| reading.serial);
        let Some(Ok(card)) = serial.map(|serial| CardNumber::from_application_serial(&serial)) else {
            return;
        };
        // A store that is down at this moment cannot be asked.
        let Some(Ok(orders)) = self.issuer.open_top_ups(card).now_or_never() else { return };
        let intended = orders.iter().any(|order| match &order.state {
            TopUpOrderState::Paid { stage: TopUpStage::Intended(attempt), .. } => {
                attempt.terminal.to_bcd() == number
            }
            _ => false,
        });
        if !intended {
            self.find(Some(rider), Violation::CreditWithoutIntention { number: hex::encode(number) });
        }
    }

    /// A rider's card was read after a command. `terminal` is the one that last announced a purchase.
    pub fn read(&self, rider: u32, after: Option<PurseReading>, terminal: Option<[u8; 6]>) {
        let mut state = lock(&self.state);
        let before = state.accounts[rider as usize].reading;
        if before == after {
            return;
        }
        state.accounts[rider as usize].reading = after;
        let changed = state.note_spendable(rider, before, after);
        if let Some(after) = after {
            state.holders.insert(after.serial, rider);
            let entry = (after.serial, u64::from(after.state.purse().fen()), after.state.online().value());
            state.accounts[rider as usize].held.insert(entry);
        }
        drop(state);
        if let Err(violation) = changed {
            self.find(Some(rider), violation);
        }
        match (before, after) {
            (None, Some(after)) => self.made(rider, after),
            (Some(before), None) => self.gone(rider, before),
            (Some(before), Some(after)) => self.moved(rider, before, after, terminal.unwrap_or_default()),
            (None, None) => {}
        }
    }

    /// A purse went from its element. Money may go with it only when the centre keeps it.
    fn gone(&self, rider: u32, before: PurseReading) {
        let held = before.state.purse().fen();
        self.trace.rider(rider, Event::PurseGone(held));
        lock(&self.state).departed += u64::from(held);
        let Ok(card) = CardNumber::from_application_serial(&before.serial) else { return };
        // A centre that is down at this moment cannot be asked.
        let Some(Ok(account)) = self.centre.account(card).now_or_never() else { return };
        let kept = account.is_some_and(|row| match row.account.state {
            CardAccountState::Parked { balance } => balance.get() == u64::from(held),
            CardAccountState::RefundPayable { .. } | CardAccountState::Refunded => true,
            _ => false,
        });
        if held > 0 && !kept {
            self.find(Some(rider), Violation::MoneyOutOfNothing { balances: (held, 0) });
        }
    }

    fn made(&self, rider: u32, after: PurseReading) {
        self.trace.rider(rider, Event::PurseMade);
        let held = after.state.purse().fen();
        if held > 0 {
            self.find(Some(rider), Violation::MoneyOutOfNothing { balances: (0, held) });
        }
    }

    fn moved(&self, rider: u32, before: PurseReading, after: PurseReading, terminal: [u8; 6]) {
        let (old, new) = (before.state, after.state);
        let counters = [old.online(), new.online()].map(|counter| counter.value());
        let offline = [old.offline(), new.offline()].map(|counter| counter.value());
        if counters[1] < counters[0] || offline[1] < offline[0] {
            let counters = [counters[0], counters[1], offline[0], offline[1]];
            self.find(Some(rider), Violation::CounterWentBack { counters });
        }
        let (had, has) = (old.purse().fen(), new.purse().fen());
        if has > had && counters[1] == counters[0] + 1 {
            self.trace.rider(rider, Event::Credited(has - had, has));
            self.credited(rider, after.serial, has - had);
        } else if has < had && offline[1] == offline[0] + 1 {
            self.trace.rider(rider, Event::Debited(had - has, has));
            let account = &mut lock(&self.state).accounts[rider as usize];
            account.spent += u64::from(had - has);
            account.paid.insert((after.serial, offline[1]), (had - has, terminal));
        } else if has != had {
            self.find(Some(rider), Violation::MoneyOutOfNothing { balances: (had, has) });
        }
        if before.spendable != after.spendable {
            self.trace.rider(rider, Event::Spendable(after.spendable));
        }
    }

    /// A card took in money: one payment that waits must be for it.
    fn credited(&self, rider: u32, serial: Serial, amount: u32) {
        let mut state = lock(&self.state);
        let account = &mut state.accounts[rider as usize];
        account.credited += u64::from(amount);
        let waiting =
            account.orders.iter_mut().find(|order| order.amount == amount && order.credited.is_none());
        let Some(order) = waiting else {
            drop(state);
            return self.find(Some(rider), Violation::CreditWithoutPayment { amount });
        };
        order.credited = Some(serial);
        let (order, money) = (order.order, order.money);
        drop(state);
        match money {
            Money::Platform => {}
            Money::Kiosk => return,
            Money::GivenBack => return self.find(Some(rider), Violation::RefundedAndCredited { amount }),
        }
        match self.payment(order) {
            None | Some(PaymentState::Paid(_)) => {}
            Some(PaymentState::Refunded { .. }) => {
                self.find(Some(rider), Violation::RefundedAndCredited { amount });
            }
            Some(PaymentState::Created | PaymentState::Closed) => {
                self.find(Some(rider), Violation::CreditWithoutPayment { amount });
            }
        }
    }

    /// The orders whose money is on no card yet.
    pub fn uncredited(&self) -> Vec<(OrderId, u32)> {
        let state = lock(&self.state);
        let orders = state.accounts.iter().flat_map(|account| &account.orders);
        orders
            .filter(|order| order.credited.is_none() && order.money == Money::Platform)
            .map(|order| (order.order, order.amount))
            .collect()
    }

    /// How an order stands at the platform; `None` while the platform cannot be asked.
    fn payment(&self, order: OrderId) -> Option<PaymentState> {
        let row = self.payments.order(order).now_or_never()?.ok()??;
        Some(row.order.state)
    }

    /// What a rider's card holds, if it has a purse.
    pub fn reading(&self, rider: u32) -> Option<PurseReading> {
        lock(&self.state).accounts[rider as usize].reading
    }

    /// A rider's orders against the platform: what was given back is on no card that can be spent from.
    pub fn check_orders(&self, rider: u32) {
        let credited: Vec<(OrderId, u32)> = {
            let state = lock(&self.state);
            let spendable =
                |serial: &Serial| state.spendable.get(serial).is_some_and(|copies| !copies.is_empty());
            let orders = state.accounts[rider as usize].orders.iter();
            let on_cards = orders.filter(|order| order.credited.as_ref().is_some_and(spendable));
            on_cards.map(|order| (order.order, order.amount)).collect()
        };
        for (order, amount) in credited {
            if let Some(PaymentState::Refunded { .. }) = self.payment(order) {
                self.find(Some(rider), Violation::RefundedAndCredited { amount });
            }
        }
    }

    /// What the issuer keeps as proven of a rider's card against what the card ever held.
    pub fn check_proven(&self, rider: u32) {
        let Some(reading) = self.reading(rider) else { return };
        let Ok(card) = CardNumber::from_application_serial(&reading.serial) else { return };
        let Some(Ok(Some(record))) = self.issuer.card(card).now_or_never() else { return };
        let Some(proven) = record.proven else { return };
        let believed = (proven.balance.get(), proven.counter.0);
        let entry = (reading.serial, believed.0, believed.1);
        let held = lock(&self.state).accounts[rider as usize].held.contains(&entry);
        if !held {
            self.find(Some(rider), Violation::BelievedBalance { believed });
        }
    }

    /// A terminal gives up proving a debit of this card at this counter. What the card did is known here.
    pub fn unproven(&self, serial: [u8; 10], counter: u16, terminal: [u8; 6], amount: u32) {
        let mut state = lock(&self.state);
        let Some(rider) = state.holders.get(&serial).copied() else { return };
        let account = &mut state.accounts[rider as usize];
        if account.paid.get(&(serial, counter)) == Some(&(amount, terminal)) {
            account.unproven += u64::from(amount);
        }
    }

    /// What a rider's card paid and no terminal proved.
    pub fn unproven_of(&self, rider: u32) -> u64 {
        lock(&self.state).accounts[rider as usize].unproven
    }

    /// The rider who has or had the card with this number.
    pub fn holder(&self, serial: [u8; 10]) -> Option<u32> {
        lock(&self.state).holders.get(&serial).copied()
    }

    /// The sums over all riders; none while the platform cannot be asked.
    pub fn sums(&self) -> Option<Sums> {
        let mut sums = Sums::default();
        let (accounts, departed) = {
            let state = lock(&self.state);
            (state.accounts.clone(), state.departed)
        };
        sums.departed = i128::from(departed);
        for account in &accounts {
            sums.on_cards += account.reading.map_or(0, |reading| i128::from(reading.state.purse().fen()));
            sums.spent += i128::from(account.spent);
            sums.unproven += i128::from(account.unproven);
            for order in &account.orders {
                if order.money != Money::Platform {
                    if order.credited.is_some() {
                        sums.held += i128::from(order.amount);
                    }
                    continue;
                }
                let row = self.payments.order(order.order).now_or_never()?.ok()?;
                let held = row.map_or(0, |row| i128::from(row.order.held().get()));
                sums.held += held;
                if order.credited.is_none() {
                    sums.in_flight += held;
                } else {
                    sums.returned += i128::from(order.amount) - held;
                }
            }
        }
        Some(sums)
    }

    /// What a rider's card has spent in all.
    pub fn spent(&self, rider: u32) -> u64 {
        lock(&self.state).accounts[rider as usize].spent
    }
}

impl State {
    fn note_spendable(
        &mut self,
        rider: u32,
        before: Option<PurseReading>,
        after: Option<PurseReading>,
    ) -> Result<(), Violation> {
        if let Some(before) = before.filter(|before| before.spendable) {
            self.spendable.entry(before.serial).or_default().remove(&rider);
        }
        let Some(after) = after.filter(|after| after.spendable) else { return Ok(()) };
        let copies = self.spendable.entry(after.serial).or_default();
        copies.insert(rider);
        if copies.len() > 1 {
            let digits = hex::encode(after.serial);
            let card = digits[digits.len() - 4..].to_owned();
            return Err(Violation::TwoSpendableCopies { card });
        }
        Ok(())
    }
}
