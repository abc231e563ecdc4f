//! What is so, whatever anybody believes: read from the cards' memories at each command that they serve, and
//! from the payment platform's own records. The checks compare it with what the servers believe.

pub mod bodies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tsm_domain::card::CardOrderState;
use tsm_domain::money::{CardAccountState, PaymentState, TopUpStage};
use tsm_domain::{CardNumber, OrderId};
use tsm_epurse::OverdraftLimit;
use tsm_epurse::card::PurseState;
use tsm_se::inspect::PurseReading;
use tsm_storage::memory::{MemoryClearing, MemoryPayment, MemorySpTsm};
use tsm_storage::sp_tsm::{SpTsmStore as _, TopUpOrderState};
use tsm_storage::{ClearingStore as _, PaymentStore as _};

use self::bodies::Body;
use super::executor::Executor;
use super::lock;
use super::servers::Stores;
use super::trace::{Event, Trace};
use super::violation::{Found, Violation};
use super::{Element, PHONES};

/// A card's number as EF15 has it.
type Serial = [u8; 10];

/// One rider's money.
#[derive(Debug, Clone, Default)]
struct Account {
    orders: Vec<Order>,
    /// What each of the rider's elements holds.
    readings: [Option<PurseReading>; PHONES + 1],
    /// Every balance that each card held, with its online counter.
    held: BTreeSet<(Serial, u64, u16)>,
    /// Terminal numbers that were announced to each card for loads.
    announced: BTreeSet<(Serial, [u8; 6])>,
    /// What was paid, by the offline counter after it, and at which terminal.
    paid: BTreeMap<(Body, u16), (u32, [u8; 6])>,
    spent: u64,
    credited: u64,
    /// What debits took that no terminal could prove to the centre, by the offline counter after them, and at
    /// which terminal.
    unproven: BTreeMap<(Body, u16), (u32, [u8; 6])>,
    /// What terminals have forgotten because the card's copy denied it, or the card what its copy had paid.
    denied: BTreeSet<(Body, u16)>,
    /// Phones that have answered for the card, or changed its answer.
    liars: BTreeSet<Element>,
    /// What was on copies of the rider's cards when they were made.
    copied: u64,
}

/// One card, wherever it is: on an element, on several while it moves, or with the centre.
#[derive(Debug, Clone, Copy)]
struct Purse {
    /// Who has or had it.
    rider: u32,
    /// What it holds by its last transaction.
    state: PurseState,
}

#[derive(Debug, Clone)]
struct Order {
    order: OrderId,
    amount: u32,
    /// The card that took it in.
    credited: Option<Body>,
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
    /// Which elements can spend which card.
    spendable: BTreeMap<Body, BTreeSet<Element>>,
    /// Every card that ever was.
    purses: BTreeMap<Body, Purse>,
    found: Option<Found>,
}

/// The sums of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Paid at the platform and not given back.
    pub held: i128,
    /// On cards, those that the centre keeps included.
    pub on_cards: i128,
    /// Paid from cards.
    pub spent: i128,
    /// Paid, not given back, and on no card yet.
    pub in_flight: i128,
    /// Paid from cards, and not proven by any terminal.
    pub unproven: i128,
    /// What was given back of payments that had been on cards.
    pub returned: i128,
    /// On copies of cards when they were made: nobody paid for it.
    pub copied: i128,
    /// Cash on cards that were copied, for which people have yet to decide whether it is there: it comes into the
    /// books with the card's proof, and these cards prove two things.
    pub disputed: i128,
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
                purses: BTreeMap::new(),
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
            Some((rider as u32, known.amount, known.credited))
        });
        let copied = |body: &Body| state.is_copied(body.serial);
        let is_found = given_back.filter(|(_, _, credited)| credited.is_some_and(|body| !copied(&body)));
        drop(state);
        if let Some((rider, amount, _)) = is_found {
            self.find(Some(rider), Violation::RefundedAndCredited { amount });
        }
    }

    /// The card answered INITIALIZE FOR LOAD with this terminal number.
    pub fn announced(&self, element: Element, number: [u8; 6]) {
        let mut state = lock(&self.state);
        let account = &mut state.accounts[element.rider as usize];
        let reading = account.readings[element.slot()];
        let new = reading.is_none_or(|reading| account.announced.insert((reading.serial, number)));
        drop(state);
        if !new {
            let number = hex::encode(number);
            self.find(Some(element.rider), Violation::ReusedTerminalNumber { number });
        }
    }

    /// CREDIT FOR LOAD is about to reach a card that was shown this terminal number.
    pub fn about_to_credit(&self, element: Element, number: [u8; 6]) {
        let serial = self.reading(element).map(|reading| reading.serial);
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
            let number = hex::encode(number);
            self.find(Some(element.rider), Violation::CreditWithoutIntention { number });
        }
    }

    /// An element was read after a command. `terminal` is the one that last announced a purchase.
    pub fn read(&self, element: Element, after: Option<PurseReading>, terminal: Option<[u8; 6]>) {
        let mut state = lock(&self.state);
        let account = &mut state.accounts[element.rider as usize];
        let before = std::mem::replace(&mut account.readings[element.slot()], after);
        if before == after {
            return;
        }
        if let Some(after) = after {
            let entry = (after.serial, u64::from(after.state.purse().fen()), after.state.online().value());
            account.held.insert(entry);
        }
        let changed = state.note_spendable(element, before, after);
        drop(state);
        if let Err(violation) = changed {
            self.find(Some(element.rider), violation);
        }
        match (before, after) {
            (None, Some(after)) => self.made(element, after),
            // Nothing is lost with a copy that nobody paid for.
            (Some(before), None) if element.is_copy() => {
                let held = before.state.purse().fen();
                let event = Body::in_element(element, before.serial).event(Event::PurseGone(held));
                self.trace.rider(element.rider, event);
            }
            (Some(before), None) => self.gone(element.rider, before),
            (Some(before), Some(after)) => {
                self.moved(element, before, after, terminal.unwrap_or_default());
            }
            (None, None) => {}
        }
    }

    /// A purse went from its element. Money may go with it only when the centre keeps it, or when the card is
    /// on another element by then; what was left behind by a card that moved on is no money.
    fn gone(&self, rider: u32, before: PurseReading) {
        let held = before.state.purse().fen();
        self.trace.rider(rider, Event::PurseGone(held));
        let Ok(card) = CardNumber::from_application_serial(&before.serial) else { return };
        if held == 0 || !lock(&self.state).is_last_copy(rider, &before) {
            return;
        }
        // A centre that is down at this moment cannot be asked.
        let Some(Ok(account)) = self.centre.account(card).now_or_never() else { return };
        let kept = account.as_ref().is_some_and(|row| match row.account.state {
            CardAccountState::Parked { balance } => balance.get() == u64::from(held),
            // What is on its way to an element is the centre's until that element has proven it.
            CardAccountState::Opening { incoming, .. } => incoming.get() == u64::from(held),
            CardAccountState::RefundPayable { .. } | CardAccountState::Refunded => true,
            _ => false,
        });
        if !kept {
            let account = format!("{:?}", account.map(|row| row.account.state));
            self.find(Some(rider), Violation::MoneyGone { held, account });
        }
    }

    /// An element holds a purse. A new card is empty; one that comes from elsewhere is what it was there.
    fn made(&self, element: Element, after: PurseReading) {
        let (rider, body) = (element.rider, Body::in_element(element, after.serial));
        let mut state = lock(&self.state);
        let known = state.purses.get(&body).copied();
        state.purses.entry(body).or_insert(Purse { rider, state: after.state });
        drop(state);
        let held = after.state.purse().fen();
        let Some(known) = known else {
            self.trace.rider(rider, Event::PurseMade);
            if held > 0 {
                self.find(Some(rider), Violation::MoneyOutOfNothing { balances: (0, held) });
            }
            return;
        };
        self.trace.rider(rider, Event::Arrived(held));
        if known.state != after.state {
            let balances = (known.state.purse().fen(), held);
            self.find(Some(rider), Violation::MoneyOutOfNothing { balances });
        }
    }

    fn moved(&self, element: Element, before: PurseReading, after: PurseReading, terminal: [u8; 6]) {
        let (rider, body) = (element.rider, Body::in_element(element, after.serial));
        let (old, new) = (before.state, after.state);
        let unloaded = unloaded(&old, &new);
        if before.spendable != after.spendable {
            self.trace.rider(rider, body.event(Event::Spendable(after.spendable)));
        }
        if old == new {
            return;
        }
        // What the issuer took off the card is the card's until it is given back or put on it again.
        let owned = unloaded.unwrap_or(new);
        let known = lock(&self.state).purses.insert(body, Purse { rider, state: owned });
        if known.is_none_or(|known| known.state != old) {
            self.find(Some(rider), Violation::StaleCopyMoved { card: last_digits(&after.serial) });
        }
        let counters = [old.online(), new.online()].map(|counter| counter.value());
        let offline = [old.offline(), new.offline()].map(|counter| counter.value());
        if counters[1] < counters[0] || offline[1] < offline[0] {
            let counters = [counters[0], counters[1], offline[0], offline[1]];
            self.find(Some(rider), Violation::CounterWentBack { counters });
        }
        let (had, has) = (old.purse().fen(), new.purse().fen());
        if unloaded.is_some() {
            self.trace.rider(rider, body.event(Event::Unloaded(had)));
            let entry = (after.serial, u64::from(had), counters[1]);
            lock(&self.state).accounts[rider as usize].held.insert(entry);
        } else if has > had && counters[1] == counters[0] + 1 {
            self.trace.rider(rider, body.event(Event::Credited(has - had, has)));
            self.credited(rider, body, has - had);
        } else if has <= had && offline[1] == offline[0] + 1 {
            // An entry at a gate takes nothing.
            if has < had {
                self.trace.rider(rider, body.event(Event::Debited(had - has, has)));
            }
            let account = &mut lock(&self.state).accounts[rider as usize];
            account.spent += u64::from(had - has);
            account.paid.insert((body, offline[1]), (had - has, terminal));
        } else if has != had {
            self.find(Some(rider), Violation::MoneyOutOfNothing { balances: (had, has) });
        }
    }

    /// A card took in money: one payment that waits must be for it.
    fn credited(&self, rider: u32, body: Body, amount: u32) {
        let mut state = lock(&self.state);
        let account = &mut state.accounts[rider as usize];
        let waiting =
            account.orders.iter_mut().find(|order| order.amount == amount && order.credited.is_none());
        let Some(order) = waiting else {
            // A card and its copy can show the issuer the same count, one after the other: it loads both.
            let is_other = |known: Body| known.serial == body.serial && known != body;
            let mut orders = account.orders.iter().filter(|order| order.amount == amount);
            if orders.any(|order| order.credited.is_some_and(is_other)) {
                account.copied += u64::from(amount);
                return;
            }
            account.credited += u64::from(amount);
            drop(state);
            return self.find(Some(rider), Violation::CreditWithoutPayment { amount });
        };
        order.credited = Some(body);
        account.credited += u64::from(amount);
        let (order, money) = (order.order, order.money);
        // Whoever has two of a card can show the issuer the one that was not credited.
        let is_copied = state.is_copied(body.serial);
        drop(state);
        if is_copied {
            return;
        }
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

    /// An order's rider and amount, and whether a card has it.
    pub fn order(&self, order: OrderId) -> Option<(u32, u32, bool)> {
        let state = lock(&self.state);
        let accounts = (0..).zip(&state.accounts);
        let all = accounts.flat_map(|(rider, account)| account.orders.iter().map(move |one| (rider, one)));
        let mut of = all.filter(|(_, one)| one.order == order);
        of.next().map(|(rider, one)| (rider, one.amount, one.credited.is_some()))
    }

    /// A phone has said something else than its card.
    pub fn lied(&self, element: Element) {
        lock(&self.state).accounts[element.rider as usize].liars.insert(element);
    }

    /// The phones of a rider that have lied.
    pub fn liars(&self, rider: u32) -> Vec<Element> {
        lock(&self.state).accounts[rider as usize].liars.iter().copied().collect()
    }

    /// How an order stands at the platform; `None` while the platform cannot be asked.
    fn payment(&self, order: OrderId) -> Option<PaymentState> {
        let row = self.payments.order(order).now_or_never()?.ok()??;
        Some(row.order.state)
    }

    /// What an element holds, if it has a purse.
    pub fn reading(&self, element: Element) -> Option<PurseReading> {
        lock(&self.state).accounts[element.rider as usize].readings[element.slot()]
    }

    /// The cards that can be spent from, each with its rider and what it holds.
    pub fn in_use(&self) -> Vec<(u32, Serial, u32)> {
        let state = lock(&self.state);
        let in_use = state.spendable.iter().filter(|(_, copies)| !copies.is_empty());
        let whole = in_use.filter(|(body, _)| !state.is_copied(body.serial));
        let entries = whole.filter_map(|(body, _)| {
            let purse = state.purses.get(body)?;
            Some((purse.rider, body.serial, purse.state.purse().fen()))
        });
        entries.collect()
    }

    /// A rider's orders against the platform: what was given back is on no card that can be spent from.
    pub fn check_orders(&self, rider: u32) {
        let credited: Vec<(OrderId, u32)> = {
            let state = lock(&self.state);
            let spendable = |body: &Body| {
                let copies = state.spendable.get(body).filter(|_| !state.is_copied(body.serial));
                copies.is_some_and(|copies| !copies.is_empty())
            };
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

    /// What the issuer keeps as proven of a rider's cards against what they ever held.
    pub fn check_proven(&self, rider: u32) {
        let readings = lock(&self.state).accounts[rider as usize].readings;
        for serial in readings.iter().flatten().map(|reading| reading.serial) {
            let Ok(card) = CardNumber::from_application_serial(&serial) else { continue };
            let Some(Ok(Some(record))) = self.issuer.card(card).now_or_never() else { continue };
            let Some(proven) = record.proven else { continue };
            let believed = (proven.balance.get(), proven.counter.0);
            let entry = (serial, believed.0, believed.1);
            let held = lock(&self.state).accounts[rider as usize].held.contains(&entry);
            if !held {
                self.find(Some(rider), Violation::BelievedBalance { believed });
            }
        }
    }

    /// A terminal gives up proving a debit of this card at this counter. What the card did is known here.
    pub fn unproven(&self, serial: [u8; 10], counter: u16, terminal: [u8; 6], amount: u32) {
        let mut state = lock(&self.state);
        let Some(rider) = state.holder(serial) else { return };
        let account = &mut state.accounts[rider as usize];
        let mut bodies = Body::both(serial).into_iter();
        let of = bodies.find(|body| {
            let unproven = account.unproven.contains_key(&(*body, counter));
            !unproven && account.paid.get(&(*body, counter)) == Some(&(amount, terminal))
        });
        if let Some(body) = of {
            account.unproven.insert((body, counter), (amount, terminal));
        }
    }

    /// What was paid at these terminals, less what they could not prove.
    pub fn proven_at(&self, is_of: impl Fn([u8; 6]) -> bool) -> i128 {
        let state = lock(&self.state);
        let mut sum = 0;
        for account in &state.accounts {
            let paid = account.paid.values().filter(|(_, terminal)| is_of(*terminal));
            sum += paid.map(|(amount, _)| i128::from(*amount)).sum::<i128>();
            let unproven = account.unproven.values().filter(|(_, terminal)| is_of(*terminal));
            sum -= unproven.map(|(amount, _)| i128::from(*amount)).sum::<i128>();
        }
        sum
    }

    /// What a card paid and no terminal proved.
    pub fn unproven_of(&self, serial: [u8; 10]) -> u64 {
        let state = lock(&self.state);
        let Some(rider) = state.holder(serial) else { return 0 };
        state.accounts[rider as usize].unproven_of(serial).map(|(_, amount)| u64::from(amount)).sum()
    }

    /// The offline counters after debits of a card that no terminal proved.
    pub fn unproven_counters(&self, serial: [u8; 10]) -> Vec<u16> {
        let state = lock(&self.state);
        let Some(rider) = state.holder(serial) else { return Vec::new() };
        state.accounts[rider as usize].unproven_of(serial).map(|(counter, _)| counter).collect()
    }

    /// The terminal that proved what a card paid at this offline counter.
    pub fn proven_by(&self, serial: [u8; 10], counter: u16) -> Option<[u8; 6]> {
        let state = lock(&self.state);
        let account = &state.accounts[state.holder(serial)? as usize];
        let place = (Body::own(serial), counter);
        let (_, terminal) = account.paid.get(&place)?;
        (!account.unproven.contains_key(&place)).then_some(*terminal)
    }

    /// Whether the issuer has opened a card: the centre knows it, or its report is on the way there.
    pub fn is_opened(&self, serial: [u8; 10]) -> bool {
        let Ok(card) = CardNumber::from_application_serial(&serial) else { return false };
        let Some(Ok(Some(record))) = self.issuer.card(card).now_or_never() else { return false };
        let order = self.issuer.card_order(record.order).now_or_never();
        matches!(order, Some(Ok(Some(order))) if matches!(order.state, CardOrderState::Opened | CardOrderState::Told))
    }

    /// The rider who has or had the card with this number.
    pub fn holder(&self, serial: [u8; 10]) -> Option<u32> {
        lock(&self.state).holder(serial)
    }

    /// The sums over all riders; none while the platform cannot be asked.
    pub fn sums(&self) -> Option<Sums> {
        let mut sums = Sums::default();
        let state = lock(&self.state);
        sums.on_cards = state.purses.values().map(|purse| i128::from(purse.state.purse().fen())).sum();
        for account in &state.accounts {
            sums.spent += i128::from(account.spent);
            sums.unproven += i128::from(account.unproven());
            sums.copied += i128::from(account.copied);
            for order in &account.orders {
                let held = self.held(&state, order)?;
                let elsewhere = i128::from(order.amount) - held;
                sums.held += held;
                match (order.money, order.credited) {
                    (Money::Platform, None) => sums.in_flight += held,
                    (Money::Platform | Money::GivenBack, Some(_)) => sums.returned += elsewhere,
                    (Money::Kiosk, Some(_)) => sums.disputed += elsewhere,
                    (Money::Kiosk | Money::GivenBack, None) => {}
                }
            }
        }
        Some(sums)
    }

    /// What of an order was paid in and not given back: at the platform, or as cash that is on a card. None while
    /// somebody cannot be asked.
    fn held(&self, state: &State, order: &Order) -> Option<i128> {
        Some(match (order.money, order.credited) {
            (Money::Platform, _) => {
                let row = self.payments.order(order.order).now_or_never()?.ok()?;
                row.map_or(0, |row| i128::from(row.order.held().get()))
            }
            (Money::Kiosk, Some(_)) if !self.is_disputed(state, order)? => i128::from(order.amount),
            (Money::Kiosk | Money::GivenBack, _) => 0,
        })
    }

    /// Whether the issuer leaves it to people what became of this cash, because card and copy contradict each
    /// other. None while the issuer cannot be asked.
    fn is_disputed(&self, state: &State, order: &Order) -> Option<bool> {
        let Some(body) = order.credited.filter(|body| state.is_copied(body.serial)) else {
            return Some(false);
        };
        let Ok(card) = CardNumber::from_application_serial(&body.serial) else { return Some(false) };
        let known = self.issuer.top_ups_of(card, usize::MAX).now_or_never()?.ok()?;
        let is_disputed = known.iter().any(|known| match &known.state {
            TopUpOrderState::Paid { payment, stage: TopUpStage::Suspicious(..) } => {
                payment.as_cash().is_some_and(|(_, operation)| operation == order.order.as_uuid())
            }
            _ => false,
        });
        Some(is_disputed)
    }

    /// What was paid in for each card and not given back, by what the riders did; none while issuer or platform
    /// cannot be asked. What came to no card and that the issuer does not know is nobody's.
    pub fn held_for_cards(&self) -> Option<BTreeMap<CardNumber, i128>> {
        let state = lock(&self.state);
        let mut held = BTreeMap::new();
        for order in state.accounts.iter().flat_map(|account| &account.orders) {
            // The number of an order with cash is the kiosk's own.
            let of_issuer = self.issuer.top_up(order.order).now_or_never()?.ok()?.map(|order| order.card);
            let of_body =
                order.credited.and_then(|body| CardNumber::from_application_serial(&body.serial).ok());
            let Some(card) = of_issuer.or(of_body) else { continue };
            *held.entry(card).or_default() += self.held(&state, order)?;
        }
        Some(held)
    }

    /// What a rider's cards have spent in all.
    pub fn spent(&self, rider: u32) -> u64 {
        lock(&self.state).accounts[rider as usize].spent
    }
}

impl Account {
    fn unproven(&self) -> u64 {
        self.unproven.values().map(|(amount, _)| u64::from(*amount)).sum()
    }

    /// Offline counter and amount of each debit of a card that no terminal proved.
    fn unproven_of(&self, serial: Serial) -> impl Iterator<Item = (u16, u32)> {
        let of_card = self.unproven.iter().filter(move |((body, _), _)| body.serial == serial);
        of_card.map(|((_, counter), (amount, _))| (*counter, *amount))
    }
}

impl State {
    fn note_spendable(
        &mut self,
        element: Element,
        before: Option<PurseReading>,
        after: Option<PurseReading>,
    ) -> Result<(), Violation> {
        let body = |reading: PurseReading| Body::in_element(element, reading.serial);
        if let Some(before) = before.filter(|before| before.spendable) {
            self.spendable.entry(body(before)).or_default().remove(&element);
        }
        let Some(after) = after.filter(|after| after.spendable) else { return Ok(()) };
        // Only a copy that somebody was seen to make stands beside the card.
        let copies = self.spendable.entry(body(after)).or_default();
        copies.insert(element);
        if copies.len() > 1 {
            return Err(Violation::TwoSpendableCopies { card: last_digits(&after.serial) });
        }
        Ok(())
    }

    /// Whether what an element held is what the card holds, and no other element of this rider holds it.
    fn is_last_copy(&self, rider: u32, copy: &PurseReading) -> bool {
        let purse = self.purses.get(&Body::own(copy.serial));
        let is_latest = purse.is_some_and(|purse| purse.state == copy.state);
        let mut readings = self.accounts[rider as usize].readings[..PHONES].iter().flatten();
        is_latest && readings.all(|reading| reading.serial != copy.serial)
    }
}

/// What a purse is taken to hold that its issuer emptied online, all of it at once: the money that was on it, at
/// the counter after the debit. None for any other change.
fn unloaded(old: &PurseState, new: &PurseState) -> Option<PurseState> {
    let is_unload = old.purse().fen() > 0
        && new.purse().fen() == 0
        && new.online().value() == old.online().value() + 1
        && new.offline() == old.offline();
    let (limit, used) = (new.overdraft_limit(), OverdraftLimit::from_fen(new.overdraft_used().fen())?);
    let owned = PurseState::new(old.purse(), limit, used, new.online(), new.offline()).ok()?;
    is_unload.then_some(owned)
}

fn last_digits(serial: &Serial) -> String {
    let digits = hex::encode(serial);
    digits[digits.len() - 4..].to_owned()
}
