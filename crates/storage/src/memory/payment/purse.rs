//! Orders paid from a transit card, in memory.

use async_trait::async_trait;
use tsm_domain::money::{CentreWord, PayerToken, PurchaseBegun, PurseAttempt, PurseCard};
use tsm_domain::{CardNumber, DeliveryId, OrderId};

use super::PaymentState;
use crate::error::Result;
use crate::memory::Memory;
use crate::payment::{OnlinePurchases, PaymentRow, ProvenDebit};
use crate::rules::{self, DebitStep, Watch};
use crate::shared::{Delivery, Incident};

impl PaymentState {
    fn card(&self, card: CardNumber) -> PurseCard {
        self.cards.get(&card).cloned().unwrap_or_else(|| PurseCard::new(card))
    }

    fn attempted(&self, order: OrderId, number: u32) -> Result<(PaymentRow, PurseCard)> {
        let row = self.order(order)?;
        let card = self.card(rules::card_of_attempt(&row, number)?);
        Ok((row, card))
    }
}

#[async_trait]
impl OnlinePurchases for Memory<PaymentState> {
    async fn purse_card(&self, card: CardNumber) -> Result<PurseCard> {
        self.read(|state| Ok(state.card(card)))
    }

    async fn intend_purchase(
        &self,
        order: OrderId,
        begun: PurchaseBegun,
        at: jiff::Timestamp,
        watch: Delivery,
    ) -> Result<PurseAttempt> {
        self.write(|state| {
            let (row, card) = (state.order(order)?, state.card(begun.card));
            let (row, card, attempt) = rules::intend_purchase(row, card, begun, at)?;
            state.cards.insert(card.card, card);
            state.save(row, vec![watch]);
            Ok(attempt)
        })
    }

    async fn give_attempt_up(&self, order: OrderId, number: u32, watch: DeliveryId) -> Result<PaymentRow> {
        self.write(|state| {
            let (row, card) = state.attempted(order, number)?;
            let (row, card, fate) = rules::attempt_given_up(row, card, number)?;
            state.cards.insert(card.card, card);
            if fate == Watch::Ends {
                state.shared.end_delivery(watch);
            }
            Ok(state.save(row, Vec::new()))
        })
    }

    async fn prove_debit(&self, proven: ProvenDebit) -> Result<PaymentRow> {
        self.write(|state| {
            let (row, card) = state.attempted(proven.order, proven.number)?;
            let Some(step) = rules::debit_proven(row.clone(), card, proven)? else { return Ok(row) };
            let DebitStep { watch, row, card, deliveries, incident } = step;
            state.cards.insert(card.card, card);
            state.shared.end_delivery(watch);
            state.shared.put_with(Vec::new(), Vec::new(), incident.into_iter().collect());
            Ok(state.save(row, deliveries))
        })
    }

    async fn debit_was_told(
        &self,
        order: OrderId,
        number: u32,
        word: CentreWord,
        incident: Option<Incident>,
    ) -> Result<()> {
        self.write(|state| {
            let (row, card) = state.attempted(order, number)?;
            let (row, card) = rules::debit_told(row, card, number, word)?;
            state.cards.insert(card.card, card);
            state.shared.put_with(Vec::new(), Vec::new(), incident.into_iter().collect());
            state.save(row, Vec::new());
            Ok(())
        })
    }

    async fn orders_addressed_to(&self, payer: PayerToken, limit: usize) -> Result<Vec<PaymentRow>> {
        self.read(|state| {
            let waiting = state.orders.values().filter(|row| row.waits_for() == Some(payer));
            let mut found: Vec<_> = waiting.cloned().collect();
            found.sort_by_key(|row| (row.created_at, row.order.order));
            found.truncate(limit);
            Ok(found)
        })
    }
}
