//! What must be so when a flow was broken once and the rider was there once more: nothing is open anywhere, and
//! card, issuer, centre, operator and payment platform say the same.

use futures_util::FutureExt as _;
use tsm_domain::card::{CardRecord, CardState};
use tsm_domain::money::{AccountKind, CardAccountState, ListReason, PaymentState, PurseStage};
use tsm_domain::security_domain::DomainState;
use tsm_domain::{CardNumber, SeId};
use tsm_iso7816::Aid;
use tsm_se::inspect::PurseReading;
use tsm_storage::clearing::Lists as _;
use tsm_storage::se_tsm::Intended;
use tsm_storage::shared::Outbox;
use tsm_storage::sp_tsm::{Arrivals as _, HolderData, SpTsmStore as _};
use tsm_storage::{ClearingStore as _, PaymentStore as _, SeTsmStore as _};

use super::flows::Flow;
use super::stage::{Person, Stage};
use crate::city::checks::now;
use crate::city::keys::TRANSIT;

/// Whether the terminals have delivered all that cards paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// Not yet.
    NotYet,
    /// All of it.
    Everything,
}

fn is_of(reading: &PurseReading, card: &CardRecord) -> bool {
    CardNumber::from_application_serial(&reading.serial) == Ok(card.card)
}

/// Collects what is not in order.
pub(super) struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, what: impl Into<String>) {
        self.0.push(what.into());
    }

    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.add(what());
        }
    }
}

impl Stage {
    /// Everything that is not in order after a flow.
    pub(super) fn findings(&self, flow: Flow, delivered: Delivered) -> Vec<String> {
        let mut findings = Findings(Vec::new());
        self.check_lists_of_centre(flow, &mut findings);
        self.check_outboxes(&mut findings);
        self.check_payments(&mut findings);
        self.check_shop(&mut findings);
        for person in &self.people {
            self.check_issuer(person, delivered, &mut findings);
            self.check_operator(person, &mut findings);
        }
        findings.0
    }

    /// Only a card that is lost is listed so, and then the centre knows that a gate has locked it.
    fn check_lists_of_centre(&self, flow: Flow, findings: &mut Findings) {
        let stores = &self.world.servers.stores;
        let elements = self.people.iter().filter_map(|person| SeId::new(&person.element.id()).ok());
        for card in elements.filter_map(|se| now(stores.sp_tsm.cards_on(se))).flatten() {
            let listing = now(stores.clearing.listing(card.card)).flatten();
            let is_lost = listing.is_some_and(|listing| listing.listed.reason == ListReason::Lost);
            let is_locked = listing.is_some_and(|listing| listing.locked.is_some());
            let fits = match flow {
                Flow::BlackList => is_lost && is_locked,
                Flow::Lost => is_lost && !is_locked,
                _ => !is_lost,
            };
            findings.check(fits, || format!("the centre lists card {} as {listing:?}", card.card));
        }
    }

    fn check_outboxes(&self, findings: &mut Findings) {
        let stores = &self.world.servers.stores;
        let outboxes: [(&str, &dyn Outbox); 4] = [
            ("SE-TSM", &*stores.se_tsm),
            ("SP-TSM", &*stores.sp_tsm),
            ("clearing centre", &*stores.clearing),
            ("payment platform", &*stores.payment),
        ];
        for (owner, outbox) in outboxes {
            let due = outbox.next_delivery_at().now_or_never();
            findings.check(matches!(due, Some(Ok(None))), || {
                let left = now(outbox.due_deliveries(jiff::Timestamp::MAX, 3));
                format!("the {owner} still has something to tell: {left:?}")
            });
        }
    }

    /// Every payment is on a card, or the payer has it.
    fn check_payments(&self, findings: &mut Findings) {
        for (order, amount) in self.world.truth.uncredited() {
            let row = now(self.world.servers.stores.payment.order(order)).flatten();
            let state = row.map(|row| row.order.state);
            let settled = matches!(state, None | Some(PaymentState::Closed | PaymentState::Refunded { .. }));
            findings.check(settled, || {
                format!("a payment of {amount} fen is neither on a card nor given back: {state:?}")
            });
        }
    }

    /// What the shop ordered is paid by the card once, or not at all, and the platform knows which.
    fn check_shop(&self, findings: &mut Findings) {
        for (order, amount) in &self.shop_orders {
            let row = now(self.world.servers.stores.payment.order(*order)).flatten();
            let attempts = row.as_ref().and_then(|row| row.purse.as_ref()).map(|offer| offer.attempts());
            let attempts = attempts.unwrap_or_default();
            let open = attempts.iter().find(|attempt| {
                !matches!(attempt.stage, PurseStage::NotDebited | PurseStage::Told(_) | PurseStage::Booked)
            });
            findings.check(open.is_none(), || format!("what came of a debit is not settled: {open:?}"));
            let paid = row.is_some_and(|row| matches!(row.order.state, PaymentState::Paid(_)));
            let spent = self.world.truth.spent(0);
            findings.check(spent == if paid { u64::from(*amount) } else { 0 }, || {
                format!("the shop's order of {amount} fen is paid: {paid}; the card has paid {spent} fen")
            });
        }
    }

    fn check_issuer(&self, person: &Person, delivered: Delivered, findings: &mut Findings) {
        let Ok(se) = SeId::new(&person.element.id()) else { return };
        let issuer = &self.world.servers.stores.sp_tsm;
        let reading = self.world.truth.reading(person.element);
        let cards = now(issuer.cards_on(se)).unwrap_or_default();
        for card in &cards {
            self.check_card(card, reading.as_ref(), findings);
            if delivered == Delivered::Everything {
                self.check_balance(card, reading.as_ref(), findings);
                self.check_refund(card, findings);
            }
        }
        let held = reading.and_then(|reading| CardNumber::from_application_serial(&reading.serial).ok());
        let known = cards.iter().any(|card| Some(card.card) == held && card.state != CardState::Closed);
        findings.check(held.is_none() || known, || "the issuer does not know the card in the phone".into());
        let open = now(issuer.open_card_order(se, TRANSIT)).flatten();
        findings.check(open.is_none(), || format!("an order for a card is open: {open:?}"));
        let arrival = now(issuer.open_arrival(se, TRANSIT)).flatten();
        findings.check(arrival.is_none(), || format!("an arrival is open: {arrival:?}"));
    }

    fn check_card(&self, card: &CardRecord, reading: Option<&PurseReading>, findings: &mut Findings) {
        let stores = &self.world.servers.stores;
        let name = format!("card {}", card.card);
        findings.check(card.frozen.is_none(), || format!("{name} is frozen: {:?}", card.frozen));
        let open = now(stores.sp_tsm.open_top_ups(card.card)).unwrap_or_default();
        findings.check(open.is_empty(), || format!("a top-up of {name} is open: {open:?}"));
        let holder = now(stores.sp_tsm.holder(card.card)).flatten();
        let is_due = holder.is_some_and(|holder| holder.data == HolderData::Due);
        findings.check(!is_due, || format!("{name} does not hold its holder's new number"));
        let here = reading.filter(|reading| is_of(reading, card));
        let fits = match card.state {
            CardState::Active => here.is_some_and(|reading| reading.spendable),
            CardState::Locked => here.is_some_and(|reading| !reading.spendable),
            CardState::Closed => here.is_none(),
            CardState::Issuing | CardState::Closing | CardState::Parked => false,
        };
        findings.check(fits, || {
            let held = here.map(|reading| reading.spendable);
            format!("the issuer says that {name} is {:?}; in the phone it is spendable: {held:?}", card.state)
        });
        if let (Some(reading), CardState::Active) = (here, card.state) {
            let held = (u64::from(reading.state.purse().fen()), reading.state.online().value());
            let proven = card.proven.map(|proven| (proven.balance.get(), proven.counter.0));
            findings.check(proven == Some(held), || {
                format!("the issuer has {proven:?} as proven of {name}, which holds {held:?}")
            });
        }
        self.check_account(card, findings);
    }

    fn check_account(&self, card: &CardRecord, findings: &mut Findings) {
        let clearing = &self.world.servers.stores.clearing;
        let name = format!("card {}", card.card);
        let account = now(clearing.account(card.card)).flatten().map(|row| row.account);
        let Some(account) = account else {
            // A card whose opening was given up never had one.
            findings
                .check(card.state == CardState::Closed, || format!("the centre has no account of {name}"));
            return;
        };
        findings.check(account.freeze.is_none(), || format!("the centre froze {name}"));
        let fits = match (card.state, &account.state) {
            (CardState::Active | CardState::Locked, CardAccountState::Live { se }) => *se == card.se,
            // It may live in another phone by now, of which that phone's check tells.
            (CardState::Closed, CardAccountState::Live { se }) => *se != card.se,
            (
                CardState::Closed,
                CardAccountState::Parked { .. }
                | CardAccountState::Refunded
                | CardAccountState::RefundPayable { .. },
            ) => true,
            _ => false,
        };
        findings.check(fits, || {
            format!("the issuer says that {name} is {:?}; the centre says {:?}", card.state, account.state)
        });
    }

    fn check_balance(&self, card: &CardRecord, reading: Option<&PurseReading>, findings: &mut Findings) {
        let balance = now(self.world.servers.stores.clearing.balance(card.card, AccountKind::Purse));
        let booked = balance.map(|balance| i128::from(balance.posted.get()));
        let held = reading.filter(|reading| is_of(reading, card));
        let held = held.map_or(0, |reading| i128::from(reading.state.purse().fen()));
        // What the card paid and no terminal can prove stays in the books as its own.
        let unproven = self.world.truth.unproven_of(card.card.application_serial());
        let held = if held > 0 { held + i128::from(unproven) } else { held };
        // What a card that moved holds is said by the check of the phone that has it.
        let elsewhere = card.state == CardState::Closed && booked != Some(0) && self.is_held(card);
        findings.check(elsewhere || booked == Some(held), || {
            format!("the centre books {booked:?} fen on card {}, which holds {held}", card.card)
        });
    }

    /// All that was on the cards here came from payments, which take it back.
    fn check_refund(&self, card: &CardRecord, findings: &mut Findings) {
        let account = now(self.world.servers.stores.clearing.account(card.card)).flatten();
        let owed =
            account.is_some_and(|row| matches!(row.account.state, CardAccountState::RefundPayable { .. }));
        findings.check(!owed, || format!("the balance of card {} is owed, and nobody pays it", card.card));
    }

    fn is_held(&self, card: &CardRecord) -> bool {
        let readings = self.people.iter().filter_map(|person| self.world.truth.reading(person.element));
        readings.into_iter().any(|reading| is_of(&reading, card))
    }

    fn check_operator(&self, person: &Person, findings: &mut Findings) {
        let Ok(se) = SeId::new(&person.element.id()) else { return };
        let operator = &self.world.servers.stores.se_tsm;
        let mut open = now(operator.open_intentions(se)).unwrap_or_default();
        // Which keys a domain holds that nobody has used yet, no registry says; the next opening tries them.
        let domains = now(operator.domains_on(se)).unwrap_or_default();
        let unused = |aid: &Aid| {
            domains.iter().any(|domain| domain.aid == *aid && domain.state == DomainState::Created)
        };
        open.retain(
            |intention| !matches!(&intention.what, Intended::ReplaceKeys { domain, .. } if unused(domain)),
        );
        findings.check(open.is_empty(), || format!("the operator does not know what came of {open:?}"));
        let changing = now(operator.se(se)).flatten().and_then(|record| record.number_change);
        findings.check(changing.is_none(), || "a change of number is under way".into());
    }
}
