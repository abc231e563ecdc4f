//! A credit that a card took in (B-7.4.1.c): recorded once, whatever is lost or repeated on the way.

use std::sync::Arc;

use tsm_api::clearing::{CreditReceipt, CreditReport};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{CardTransaction, LoadProof, Tac, TransactionKey, TransactionType, TransferCode};
use tsm_domain::{CardNumber, Fen, OrderId, TerminalNumber};
use tsm_epurse::host::load::LoadFacts;
use tsm_epurse::{Amount, DateTime, OnlineCounter};
use tsm_keys::KeyError;
use tsm_storage::StorageError;
use tsm_storage::clearing::{Books, Recorded};

use super::Clearing;
use super::access::Institution;
use super::entries::detail_of;
use crate::purse::{card_from_wire, moment};
use crate::server::Call;
use crate::stored;

/// Records a credit.
pub(super) async fn credit(
    centre: Arc<Clearing>,
    call: Call<Institution, CreditReport>,
) -> Result<CreditReceipt, Problem> {
    let Institution(institution) = call.caller;
    let report = call.request;
    let problem = |error: StorageError| stored::problem(&error);
    let card = card_from_wire(&report.card)?;
    centre.known(card).await?;
    let credit = Credit::read(&report, card)?;
    if let Some(tac) = credit.tac {
        centre.verify(&credit, tac)?;
    }
    let transaction = credit.transaction();
    let order = OrderId::from_uuid(report.order.0);
    centre.check_order_is_new(order, transaction.key).await?;
    let books = Books {
        transfers: vec![
            // The payment's own report may be slower; each is booked once.
            centre.for_order(TransferCode::PaymentConfirmed, order, card, transaction.amount),
            centre.for_order(TransferCode::Loaded, order, card, transaction.amount),
        ],
        notes: vec![centre.note(card, &institution, "credit-recorded", &detail_of(&transaction))],
        ..Books::default()
    };
    match centre.store.record_transaction(transaction.clone(), books).await.map_err(problem)? {
        Recorded::New | Recorded::Before => {
            Ok(CreditReceipt { order: report.order, recorded_at: centre.recorded_at(order, card).await? })
        }
        Recorded::Different(_) => {
            let text = "a credit contradicts the one recorded for the same counter".into();
            centre.report("contradicting-credit", transaction.key, text).await?;
            Err(Problem::because(ProblemCode::Duplicate, "Another credit has this card and counter."))
        }
    }
}

impl Clearing {
    fn verify(&self, credit: &Credit, tac: Tac) -> Result<(), Problem> {
        let key = self.tac_key(credit.card)?;
        match self.keys.verify_load_tac(&key, &credit.facts, tsm_epurse::Tac::new(tac.0)) {
            Ok(()) => Ok(()),
            Err(KeyError::CardMac(_)) => {
                Err(Problem::because(ProblemCode::CardUnproven, "The TAC is not the card's."))
            }
            Err(error) => {
                tracing::error!(%error, "the key service refused");
                Err(ProblemCode::Internal.into())
            }
        }
    }

    /// One order credits once: with another counter it is refused.
    async fn check_order_is_new(&self, order: OrderId, key: TransactionKey) -> Result<(), Problem> {
        let problem = |error: StorageError| stored::problem(&error);
        let transfers = self.store.transfers_of(key.card).await.map_err(problem)?;
        let is_booked = |code| transfers.iter().any(|known| known.order == Some(order) && known.code == code);
        if is_booked(TransferCode::TopUpCancelled) {
            return Err(Problem::because(ProblemCode::OrderUsed, "The order was cancelled."));
        }
        if !is_booked(TransferCode::Loaded) {
            return Ok(());
        }
        let recorded = self.store.transactions_of(key.card, usize::MAX).await.map_err(problem)?;
        if recorded.iter().any(|known| known.key == key) {
            return Ok(());
        }
        Err(Problem::because(ProblemCode::OrderUsed, "The order was credited with another counter."))
    }

    async fn recorded_at(&self, order: OrderId, card: CardNumber) -> Result<jiff::Timestamp, Problem> {
        let transfers = self.store.transfers_of(card).await.map_err(|error| stored::problem(&error))?;
        let booked =
            transfers.iter().find(|known| known.order == Some(order) && known.code == TransferCode::Loaded);
        Ok(booked.map_or_else(|| self.now(), |booked| booked.at))
    }
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
