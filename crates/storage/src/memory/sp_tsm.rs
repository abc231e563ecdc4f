//! The SP-TSM's store in memory.

mod arrivals;
mod desk;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;
use tsm_domain::arrival::Arrival;
use tsm_domain::card::{CardOrder, CardOrderState, CardRecord, ProvenPurse};
use tsm_domain::desk::DeskCase;
use tsm_domain::money::{Attempt, Evidence, ProvenObservation, Resolution, Tac, TopUp};
use tsm_domain::security_domain::DomainOnSe;
use tsm_domain::{
    CardNumber, ConversationId, Fen, OperationId, OrderId, PaymentReference, SeId, TerminalNumber,
};
use tsm_iso7816::Aid;

use super::shared::{Shared, has_shared};
use super::{Memory, PlantedBug};
use crate::error::{Result, StorageError};
use crate::rules;
use crate::shared::Fence;
use crate::sp_tsm::arrivals::{check_arrival_follows, check_comes_back};
use crate::sp_tsm::*;

/// What the SP-TSM keeps.
#[derive(Debug, Default)]
pub struct SpTsmState {
    shared: Shared,
    consents: BTreeMap<(ConversationId, ConsentKey), Consent>,
    card_orders: BTreeMap<OrderId, CardOrder>,
    cards: BTreeMap<CardNumber, CardRecord>,
    /// Cards and their orders by the SE that they are on or for.
    cards_on: BTreeMap<SeId, BTreeSet<CardNumber>>,
    orders_for: BTreeMap<SeId, BTreeSet<OrderId>>,
    ordered: BTreeSet<CardNumber>,
    domains: BTreeMap<(SeId, Aid), DomainOnSe>,
    top_ups: BTreeMap<OrderId, TopUpOrder>,
    unpaid: BTreeSet<(jiff::Timestamp, OrderId)>,
    /// Which payment paid which order.
    paid_by: BTreeMap<PaymentReference, OrderId>,
    by_card: BTreeMap<CardNumber, Vec<OrderId>>,
    attempts: BTreeMap<CardNumber, (u32, TerminalNumber)>,
    arrivals: BTreeMap<OperationId, Arrival>,
    holders: BTreeMap<CardNumber, CardHolder>,
    cases: BTreeMap<OperationId, DeskCase>,
    losses_followed: BTreeMap<SeId, u64>,
}

type ConsentKey = u8;

has_shared!(SpTsmState);

const fn consent_key(to: ConsentTo) -> ConsentKey {
    match to {
        ConsentTo::Download => 0,
        ConsentTo::Deletion => 1,
        ConsentTo::Absence => 2,
    }
}

impl SpTsmState {
    fn card(&self, card: CardNumber) -> Result<CardRecord> {
        self.cards.get(&card).cloned().ok_or_else(|| StorageError::unknown("card", card))
    }

    fn put_card(&mut self, card: CardRecord) {
        let moved_from = self.cards.get(&card.card).map(|known| known.se).filter(|se| *se != card.se);
        if let Some(cards) = moved_from.and_then(|se| self.cards_on.get_mut(&se)) {
            cards.remove(&card.card);
        }
        self.cards_on.entry(card.se).or_default().insert(card.card);
        self.cards.insert(card.card, card);
    }

    // An order stays with its SE and its number.
    fn put_card_order(&mut self, order: CardOrder) {
        self.orders_for.entry(order.se).or_default().insert(order.order);
        self.ordered.insert(order.card);
        self.card_orders.insert(order.order, order);
    }

    fn put_top_up(&mut self, row: TopUpOrder) {
        if row.state == TopUpOrderState::AwaitingPayment {
            self.unpaid.insert((row.created_at, row.order));
        } else {
            self.unpaid.remove(&(row.created_at, row.order));
        }
        self.top_ups.insert(row.order, row);
    }

    fn top_up(&self, order: OrderId) -> Result<TopUpOrder> {
        self.top_ups.get(&order).cloned().ok_or_else(|| StorageError::unknown("top-up order", order))
    }

    fn of_card(&self, card: CardNumber) -> impl Iterator<Item = &TopUpOrder> {
        self.by_card.get(&card).into_iter().flatten().filter_map(|order| self.top_ups.get(order))
    }

    fn with(&mut self, with: With) {
        self.shared.put_with(with.deliveries, with.notes, with.incidents);
    }

    // An order, its top-up and its card, for a step under a fence.
    fn for_step(&self, fence: Fence, order: OrderId) -> Result<(TopUpOrder, TopUp, CardRecord)> {
        self.shared.check_fence(fence)?;
        let row = self.top_up(order)?;
        let card = self.card(row.card)?;
        rules::check_card_on(&card, fence)?;
        let top_up = rules::paid(&row)?;
        Ok((row, top_up, card))
    }

    fn save(&mut self, row: TopUpOrder, moved: &TopUp, card: Option<CardRecord>, with: With) {
        self.put_top_up(rules::with_stage(row, moved));
        if let Some(card) = card {
            self.put_card(card);
        }
        self.with(with);
    }

    fn commit(&mut self, fence: Fence, change: SpChange) -> Result<()> {
        self.shared.check_fence(fence)?;
        for card in &change.cards {
            rules::check_card_follows(self.cards.get(&card.card), card)?;
            check_comes_back(self.cards.get(&card.card), card, &change.arrivals)?;
        }
        for order in &change.orders {
            rules::check_order_follows(self.card_orders.get(&order.order), order)?;
        }
        for arrival in &change.arrivals {
            check_arrival_follows(self.arrivals.get(&arrival.operation), arrival)?;
        }
        for arrival in change.arrivals {
            self.arrivals.insert(arrival.operation, arrival);
        }
        for card in change.cards {
            self.put_card(card);
        }
        for order in change.orders {
            self.put_card_order(order);
        }
        for domain in change.domains {
            self.domains.insert((fence.se, domain.aid), domain);
        }
        self.shared.put_with(change.deliveries, change.notes, change.incidents);
        if let Some(end) = change.end {
            self.shared.end(fence, end);
        }
        Ok(())
    }
}

#[async_trait]
impl SpTsmStore for Memory<SpTsmState> {
    async fn record_consent(&self, consent: Consent) -> Result<Consent> {
        self.write(|state| {
            let key = (consent.conversation, consent_key(consent.to));
            Ok(state.consents.entry(key).or_insert(consent).clone())
        })
    }

    async fn consent(&self, conversation: ConversationId, to: ConsentTo) -> Result<Option<Consent>> {
        self.read(|state| Ok(state.consents.get(&(conversation, consent_key(to))).cloned()))
    }

    async fn report_result(
        &self,
        conversation: ConversationId,
        to: ConsentTo,
        result: String,
        with: With,
    ) -> Result<()> {
        self.write(|state| {
            let key = (conversation, consent_key(to));
            let consent =
                state.consents.get_mut(&key).ok_or_else(|| StorageError::unknown("consent", conversation))?;
            if consent.result.is_none() {
                consent.result = Some(result);
                state.with(with);
            }
            Ok(())
        })
    }

    async fn order_card(&self, order: CardOrder, with: With) -> Result<CardOrdered> {
        self.write(|state| {
            if let Some(known) = state.card_orders.get(&order.order) {
                return Ok(CardOrdered::Accepted(known.clone()));
            }
            if state.cards.contains_key(&order.card) || state.ordered.contains(&order.card) {
                return Ok(CardOrdered::NumberTaken);
            }
            state.put_card_order(order.clone());
            if let Some(number) = order.number.clone() {
                state.holders.insert(order.card, CardHolder { number, data: HolderData::Current });
            }
            state.with(with);
            Ok(CardOrdered::Accepted(order))
        })
    }

    async fn card_order(&self, order: OrderId) -> Result<Option<CardOrder>> {
        self.read(|state| Ok(state.card_orders.get(&order).cloned()))
    }

    async fn open_card_order(&self, se: SeId, application: Aid) -> Result<Option<CardOrder>> {
        self.read(|state| {
            let is_open = |order: &&CardOrder| {
                let ended = matches!(order.state, CardOrderState::Told | CardOrderState::GivenUp);
                order.application == application && !ended
            };
            let orders = state.orders_for.get(&se).into_iter().flatten();
            let open = orders.filter_map(|order| state.card_orders.get(order)).filter(is_open);
            Ok(open.max_by_key(|order| (order.created_at, order.order)).cloned())
        })
    }

    async fn commit(&self, fence: Fence, change: SpChange) -> Result<()> {
        self.write(|state| state.commit(fence, change))
    }

    async fn card(&self, card: CardNumber) -> Result<Option<CardRecord>> {
        self.read(|state| Ok(state.cards.get(&card).cloned()))
    }

    async fn cards_on(&self, se: SeId) -> Result<Vec<CardRecord>> {
        self.read(|state| {
            let cards = state.cards_on.get(&se).into_iter().flatten();
            Ok(cards.filter_map(|card| state.cards.get(card)).cloned().collect())
        })
    }

    async fn cards(&self, after: Option<CardNumber>, limit: usize) -> Result<Vec<CardRecord>> {
        self.read(|state| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let later = state.cards.range((from, Bound::Unbounded)).map(|(_, card)| card);
            Ok(later.take(limit).cloned().collect())
        })
    }

    async fn domains_on(&self, se: SeId) -> Result<Vec<DomainOnSe>> {
        self.read(|state| {
            Ok(state.domains.iter().filter(|(key, _)| key.0 == se).map(|(_, row)| *row).collect())
        })
    }

    async fn card_told(&self, order: OrderId) -> Result<CardOrder> {
        self.write(|state| {
            let row = state
                .card_orders
                .get_mut(&order)
                .ok_or_else(|| StorageError::unknown("card order", order))?;
            row.state = row.state.moved_to(CardOrderState::Told)?;
            Ok(row.clone())
        })
    }

    async fn card_closing_told(
        &self,
        card: CardNumber,
        operation: OperationId,
        with: With,
    ) -> Result<CardRecord> {
        self.write(|state| {
            let row = state.card(card)?;
            let Some(told) = rules::closing_told(&row, operation)? else { return Ok(row) };
            state.put_card(told.clone());
            state.with(with);
            Ok(told)
        })
    }

    async fn set_frozen(&self, card: CardNumber, reason: Option<String>, with: With) -> Result<()> {
        self.write(|state| {
            let row = state.card(card)?;
            let row = rules::frozen(row, reason, state.of_card(card));
            state.put_card(row);
            state.with(with);
            Ok(())
        })
    }

    async fn order_top_up(&self, order: TopUpOrder) -> Result<TopUpOrder> {
        self.write(|state| {
            if let Some(known) = state.top_ups.get(&order.order) {
                return Ok(known.clone());
            }
            state.by_card.entry(order.card).or_default().push(order.order);
            state.put_top_up(order.clone());
            Ok(order)
        })
    }

    async fn top_up(&self, order: OrderId) -> Result<Option<TopUpOrder>> {
        self.read(|state| Ok(state.top_ups.get(&order).cloned()))
    }

    async fn open_top_ups(&self, card: CardNumber) -> Result<Vec<TopUpOrder>> {
        self.read(|state| {
            let mut open: Vec<_> = state.of_card(card).filter(|order| order.is_open()).cloned().collect();
            open.sort_by_key(|order| (order.created_at, order.order));
            Ok(open)
        })
    }

    async fn top_ups_of(&self, card: CardNumber, limit: usize) -> Result<Vec<TopUpOrder>> {
        self.read(|state| {
            let mut found: Vec<_> = state.of_card(card).cloned().collect();
            found.sort_by_key(|order| std::cmp::Reverse((order.created_at, order.order)));
            found.truncate(limit);
            Ok(found)
        })
    }

    async fn unpaid_top_ups(&self, before: jiff::Timestamp, limit: usize) -> Result<Vec<TopUpOrder>> {
        self.read(|state| {
            let old = state.unpaid.iter().take_while(|(at, _)| *at < before).take(limit);
            old.map(|(_, order)| state.top_up(*order)).collect()
        })
    }

    async fn close_top_up(&self, order: OrderId) -> Result<TopUpOrder> {
        self.write(|state| {
            let closed = rules::close(state.top_up(order)?)?;
            state.put_top_up(closed.clone());
            Ok(closed)
        })
    }

    async fn order_paid_by(&self, payment: &PaymentReference) -> Result<Option<OrderId>> {
        self.read(|state| Ok(state.paid_by.get(payment).copied()))
    }

    async fn confirm_payment(
        &self,
        order: OrderId,
        payment: PaymentReference,
        amount: Fen,
        with: With,
    ) -> Result<PaymentConfirmed> {
        self.write(|state| {
            let paid_before = state.paid_by.get(&payment).copied();
            let confirmed = rules::confirm(state.top_up(order)?, payment.clone(), amount, paid_before);
            if let PaymentConfirmed::Now(paid) = &confirmed {
                state.put_top_up(paid.clone());
                state.paid_by.insert(payment, order);
                state.with(with);
            }
            Ok(confirmed)
        })
    }

    async fn next_terminal_number(&self, card: CardNumber, station: u16) -> Result<TerminalNumber> {
        self.write(|state| {
            let repeats = state.shared.planted == Some(PlantedBug::RepeatedTerminalNumber);
            let count = state.attempts.get(&card).map_or(0, |(count, _)| *count);
            let count = if repeats { count.max(1) } else { count + 1 };
            let exhausted = |error: tsm_domain::IdError| StorageError::conflict("terminal number", error);
            let terminal = TerminalNumber::for_attempt(station, count).map_err(exhausted)?;
            state.attempts.insert(card, (count, terminal));
            Ok(terminal)
        })
    }

    async fn intend_load(
        &self,
        fence: Fence,
        order: OrderId,
        attempt: Attempt,
        purse_maximum: Fen,
        at: jiff::Timestamp,
        with: With,
    ) -> Result<TopUp> {
        self.write(|state| {
            let (row, top_up, card) = state.for_step(fence, order)?;
            let last_terminal = state.attempts.get(&row.card).map(|(_, terminal)| *terminal);
            let others: Vec<_> =
                state.of_card(row.card).filter(|other| other.order != order).cloned().collect();
            let (moved, card) =
                rules::intend(top_up, card, attempt, purse_maximum, at, last_terminal, &others)?;
            state.save(row, &moved, Some(card), with);
            Ok(moved)
        })
    }

    async fn record_loaded(
        &self,
        fence: Fence,
        order: OrderId,
        terminal: TerminalNumber,
        tac: Tac,
        at: jiff::Timestamp,
        with: With,
    ) -> Result<TopUp> {
        self.write(|state| {
            let (row, top_up, card) = state.for_step(fence, order)?;
            let (moved, card) = rules::loaded(top_up, card, terminal, tac, at)?;
            state.save(row, &moved, Some(card), with);
            Ok(moved)
        })
    }

    async fn settle_attempt(
        &self,
        fence: Fence,
        order: OrderId,
        seen: ProvenObservation,
        evidence: Evidence,
        at: jiff::Timestamp,
        with: WithOutcome,
    ) -> Result<(TopUp, Resolution)> {
        self.write(|state| {
            let (row, top_up, card) = state.for_step(fence, order)?;
            let before = top_up.stage;
            let (moved, card, resolution) = rules::settle(top_up, card, &seen, evidence, at)?;
            let (always, of_outcome) = with.of(before, moved.stage);
            state.save(row, &moved, Some(card), always);
            state.with(of_outcome);
            Ok((moved, resolution))
        })
    }

    async fn top_up_told(&self, order: OrderId) -> Result<TopUp> {
        self.write(|state| {
            let row = state.top_up(order)?;
            let moved = rules::paid(&row)?.told()?;
            state.save(row, &moved, None, With::default());
            Ok(moved)
        })
    }

    async fn cancel_top_up(&self, order: OrderId, with: With) -> Result<TopUp> {
        self.write(|state| {
            let row = state.top_up(order)?;
            let moved = rules::paid(&row)?.cancel()?;
            state.save(row, &moved, None, with);
            Ok(moved)
        })
    }

    async fn record_proven(&self, fence: Fence, card: CardNumber, proven: ProvenPurse) -> Result<()> {
        self.write(|state| {
            state.shared.check_fence(fence)?;
            let row = state.card(card)?;
            rules::check_card_on(&row, fence)?;
            state.put_card(CardRecord { proven: Some(proven), ..row });
            Ok(())
        })
    }
}
