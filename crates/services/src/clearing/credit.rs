//! A credit that a card took in (B-7.4.1.c): recorded once, whatever is lost or repeated on the way.

use std::sync::Arc;

use tsm_api::clearing::{CreditMeans, CreditReceipt, CreditReport};
use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::{
    CardTransaction, LoadProof, Tac, TransactionKey, TransactionType, TransferCode, TransferRefusal,
};
use tsm_domain::{CardNumber, Fen, OrderId, TerminalNumber};
use tsm_epurse::host::load::LoadFacts;
use tsm_epurse::{Amount, DateTime, OnlineCounter};
use tsm_keys::KeyError;
use tsm_storage::StorageError;
use tsm_storage::clearing::{Books, Recorded};

use super::Clearing;
use super::access::Institution;
use super::entries::{detail_of, refused_entry};
use crate::purse::{card_from_wire, moment};
use crate::server::Call;
use crate::stored;

/// Records a credit.
pub(super) async fn credit(
    centre: Arc<Clearing>,
    call: Call<Institution, CreditReport>,
) -> Result<CreditReceipt, Problem> {
    let Institution(institution, _) = call.caller;
    let report = call.request;
    let card = card_from_wire(&report.card)?;
    centre.check_issuer(&institution, card)?;
    centre.known(card).await?;
    let credit = Credit::read(&report, card)?;
    let transaction = credit.transaction();
    if let Some(tac) = credit.tac {
        centre.verify(&credit, tac, transaction.key).await?;
    }
    let order = OrderId::from_uuid(report.order.0);
    centre.check_order(order, &report.means, &transaction).await?;
    let recorded = centre.record_credit(&institution, order, &report.means, &transaction).await?;
    let booked = centre.transfers_of_order(order, card).await?;
    let booked = booked.iter().find(|known| is_loaded(known.code));
    match (recorded, booked) {
        (Recorded::New | Recorded::Before, Some(booked)) => {
            Ok(CreditReceipt { order: report.order, recorded_at: booked.at })
        }
        // The card's one credit was recorded for another order: this order's money did not reach the card.
        (Recorded::New | Recorded::Before, None) | (Recorded::Different(_), _) => {
            let text = format!("order {order} claims the credit that is recorded for another");
            centre.report("contradicting-credit", transaction.key, text).await?;
            Err(Problem::because(
                ProblemCode::Duplicate,
                both("Another credit has this card and counter.", "该卡同一计数已有另一笔圈存。"),
            ))
        }
    }
}

impl Clearing {
    async fn record_credit(
        &self,
        institution: &str,
        order: OrderId,
        means: &CreditMeans,
        transaction: &CardTransaction,
    ) -> Result<Recorded, Problem> {
        let card = transaction.key.card;
        let entry = |code| self.for_order(code, order, card, transaction.amount);
        loop {
            let paid = self.payment_of(order, card).await?;
            let transfers = match means {
                // Without the payment's own report the issuer's word is booked as such: it is in doubt.
                CreditMeans::Payment => {
                    vec![entry(paid.unwrap_or(TransferCode::PaymentClaimed)), entry(TransferCode::Loaded)]
                }
                // Cash is in the books from the card's proof on, and not before.
                CreditMeans::Cash { .. } => vec![entry(TransferCode::CashLoaded)],
            };
            let notes = vec![self.note(card, institution, "credit-recorded", &detail_of(transaction))];
            let books = Books { transfers, notes, ..Books::default() };
            match self.store.record_transaction(transaction.clone(), books).await {
                Ok(recorded) => return Ok(recorded),
                // The payment's report came between the look and the step.
                Err(StorageError::Transfer(TransferRefusal::ExistsWithDifferences(_)))
                    if paid != self.payment_of(order, card).await? => {}
                Err(error) => return Err(refused_entry(&error)),
            }
        }
    }

    /// In which way an order's payment is booked.
    async fn payment_of(&self, order: OrderId, card: CardNumber) -> Result<Option<TransferCode>, Problem> {
        let booked = self.transfers_of_order(order, card).await?;
        Ok(booked.iter().map(|known| known.code).find(|code| is_payment(*code)))
    }

    async fn verify(&self, credit: &Credit, tac: Tac, key: TransactionKey) -> Result<(), Problem> {
        let tac_key = self.tac_key(credit.card)?;
        match self.keys.verify_load_tac(&tac_key, &credit.facts, tsm_epurse::Tac::new(tac.0)) {
            Ok(()) => Ok(()),
            Err(KeyError::CardMac(_)) => {
                self.report("wrong-tac", key, "a credit was reported with a wrong TAC".into()).await?;
                Err(Problem::because(
                    ProblemCode::CardUnproven,
                    both("The TAC is not the card's.", "TAC 不是该卡所出。"),
                ))
            }
            Err(error) => {
                tracing::error!(%error, "the key service refused");
                Err(ProblemCode::Internal.into())
            }
        }
    }

    /// One order credits once, what was paid for it: with another counter or amount it is refused.
    async fn check_order(
        &self,
        order: OrderId,
        means: &CreditMeans,
        credit: &CardTransaction,
    ) -> Result<(), Problem> {
        let booked = self.transfers_of_order(order, credit.key.card).await?;
        let find = |code| booked.iter().find(|known| known.code == code);
        if find(TransferCode::TopUpCancelled).is_some() {
            return Err(Problem::because(
                ProblemCode::OrderUsed,
                both("The order was cancelled.", "订单已取消。"),
            ));
        }
        let payment = booked.iter().find(|known| is_payment(known.code));
        if let Some(paid) = payment.filter(|paid| paid.amount != credit.amount) {
            let reason = both(
                format!("The order was paid with {} yuan.", paid.amount),
                format!("该订单已支付 {} 元。", paid.amount),
            );
            return Err(Problem::because(ProblemCode::AmountRefused, reason));
        }
        if matches!(means, CreditMeans::Cash { .. }) && payment.is_some() {
            return Err(Problem::because(
                ProblemCode::OrderUsed,
                both("The order was paid, and not with cash.", "订单已支付，且不是现金支付。"),
            ));
        }
        if !booked.iter().any(|known| is_loaded(known.code)) {
            return Ok(());
        }
        let recorded = self.store.transaction(credit.key).await.map_err(|error| stored::problem(&error))?;
        if recorded.is_some() {
            return Ok(());
        }
        Err(Problem::because(
            ProblemCode::OrderUsed,
            both("The order was credited with another counter.", "订单已以另一计数入卡。"),
        ))
    }
}

const fn is_loaded(code: TransferCode) -> bool {
    matches!(code, TransferCode::Loaded | TransferCode::CashLoaded)
}

/// A report in the rules' types.
struct Credit {
    card: CardNumber,
    facts: LoadFacts,
    terminal: TerminalNumber,
    at: jiff::Timestamp,
    tac: Option<Tac>,
}

impl Credit {
    fn read(report: &CreditReport, card: CardNumber) -> Result<Self, Problem> {
        let refused = |field: &str| {
            Problem::because(ProblemCode::ValueRefused, format_args!("The field {field} cannot be read."))
        };
        let terminal: [u8; 6] = report.terminal.as_bytes().try_into().map_err(|_| refused("terminal"))?;
        let date: [u8; 4] = report.date.as_bytes().try_into().map_err(|_| refused("date"))?;
        let time: [u8; 3] = report.time.as_bytes().try_into().map_err(|_| refused("time"))?;
        let tac = report.tac.as_ref().map(|tac| tac.as_bytes().try_into().map(Tac)).transpose();
        let at = DateTime { date: date.into(), time: time.into() };
        let before = report.counter.checked_sub(1).ok_or_else(|| refused("counter"))?;
        if report.amount_fen == 0 || report.balance_fen < report.amount_fen {
            return Err(refused("amount_fen"));
        }
        Ok(Self {
            card,
            facts: LoadFacts {
                balance_after: Amount::from_fen(report.balance_fen),
                counter_before: OnlineCounter::new(before),
                amount: Amount::from_fen(report.amount_fen),
                terminal: terminal.into(),
                at,
            },
            terminal: TerminalNumber::from_bcd(terminal).map_err(|_| refused("terminal"))?,
            at: moment(at).ok_or_else(|| refused("date"))?,
            tac: tac.map_err(|_: std::array::TryFromSliceError| refused("tac"))?,
        })
    }

    fn transaction(&self) -> CardTransaction {
        CardTransaction {
            key: TransactionKey {
                card: self.card,
                counter: self.facts.counter_before.value().saturating_add(1),
                kind: TransactionType::Load,
            },
            amount: Fen::new(self.facts.amount.fen().into()),
            balance_after: Some(Fen::new(self.facts.balance_after.fen().into())),
            terminal: self.terminal,
            at: self.at,
            proof: self.tac.map_or(LoadProof::TacUnavailable, LoadProof::Tac),
        }
    }
}

/// Whether an entry is an order's payment, reported or claimed.
const fn is_payment(code: TransferCode) -> bool {
    matches!(code, TransferCode::PaymentConfirmed | TransferCode::PaymentClaimed)
}
