//! A terminal's transactions (B-7.3.1): each is verified by its TAC through the key service and recorded once.
//! What is wrong is kept aside with a reason and moves no money.

use std::sync::Arc;

use tsm_api::clearing::{Consumption, ConsumptionReceipt, ConsumptionReport, ConsumptionVerdict as Verdict};
use tsm_api::problem::{Problem, ProblemCode};
use tsm_domain::money::{CardTransaction, LoadProof, Tac, TransactionKey, TransactionType, TransferRefusal};
use tsm_domain::{Fen, TerminalNumber};
use tsm_epurse::host::purchase::PurchaseFacts;
use tsm_epurse::{Amount, DateTime, TerminalSequence};
use tsm_keys::KeyError;
use tsm_storage::StorageError;
use tsm_storage::clearing::{Books, Recorded};

use super::Clearing;
use super::access::Institution;
use super::entries::detail_of;
use crate::purse::{card_from_wire, moment};
use crate::server::Call;
use crate::stored;

/// Transactions in one report; more are refused.
const MOST: usize = 1000;

/// Takes a terminal's transactions.
pub(super) async fn consumption(
    centre: Arc<Clearing>,
    call: Call<Institution, ConsumptionReport>,
) -> Result<ConsumptionReceipt, Problem> {
    let Institution(institution) = call.caller;
    let ConsumptionReport { terminal, transactions } = call.request;
    if transactions.len() > MOST {
        return Err(ProblemCode::TooLarge.into());
    }
    let terminal: Option<[u8; 6]> = terminal.as_bytes().try_into().ok();
    let terminal = terminal.and_then(|bytes| TerminalNumber::from_bcd(bytes).ok());
    let terminal = terminal
        .filter(|terminal| centre.terminals.of_operator(&institution, *terminal).is_some())
        .ok_or_else(|| {
            Problem::because(ProblemCode::UnknownId, "No terminal of this institution has this number.")
        })?;
    let mut verdicts = Vec::with_capacity(transactions.len());
    for transaction in &transactions {
        verdicts.push(centre.take(&institution, terminal, transaction).await?);
    }
    Ok(ConsumptionReceipt { verdicts })
}

impl Clearing {
    async fn take(
        &self,
        institution: &str,
        terminal: TerminalNumber,
        reported: &Consumption,
    ) -> Result<Verdict, Problem> {
        let Ok(card) = card_from_wire(&reported.card) else { return Ok(Verdict::UnknownCard) };
        let problem = |error: StorageError| stored::problem(&error);
        if self.store.account(card).await.map_err(problem)?.is_none() {
            return Ok(Verdict::UnknownCard);
        }
        let Some((facts, transaction, tac)) = read(reported, card, terminal) else {
            return Ok(Verdict::Malformed);
        };
        let key = self.tac_key(card)?;
        match self.keys.verify_purchase_tac(&key, &facts, tac) {
            Ok(()) => {}
            Err(KeyError::CardMac(_)) => {
                let text = format!("terminal {terminal} reported a purchase with a wrong TAC");
                self.report("wrong-tac", transaction.key, text).await?;
                return Ok(Verdict::TacWrong);
            }
            Err(error) => {
                tracing::error!(%error, "the key service refused");
                return Err(ProblemCode::Internal.into());
            }
        }
        if let Some(text) = self.check_late_purchase(transaction.key).await? {
            self.report("purchase-after-block", transaction.key, text).await?;
            return Ok(Verdict::Contradicts);
        }
        let verdict = self.record(institution, &facts, transaction).await?;
        self.check_closed(card).await?;
        Ok(verdict)
    }

    async fn record(
        &self,
        institution: &str,
        facts: &PurchaseFacts,
        transaction: CardTransaction,
    ) -> Result<Verdict, Problem> {
        let (key, amount) = (transaction.key, transaction.amount);
        // An entry without a fare is recorded and moves nothing.
        let transfers = if amount.is_zero() { Vec::new() } else { vec![self.spent(key, facts)] };
        let note = self.note(key.card, institution, "purchase-recorded", &detail_of(&transaction));
        let books = Books { transfers, notes: vec![note], ..Books::default() };
        match self.store.record_transaction(transaction, books).await {
            Ok(Recorded::New) => Ok(Verdict::Recorded),
            Ok(Recorded::Before) => Ok(Verdict::Duplicate),
            Ok(Recorded::Different(_)) => {
                let text = "a purchase contradicts the one recorded for the same counter".into();
                self.report("contradicting-purchase", key, text).await?;
                Ok(Verdict::Contradicts)
            }
            Err(StorageError::Transfer(TransferRefusal::ExistsWithDifferences(_))) => {
                let text = "a purchase carries the TAC of one recorded for another counter".into();
                self.report("repeated-tac", key, text).await?;
                Ok(Verdict::Contradicts)
            }
            Err(StorageError::Transfer(TransferRefusal::ExceedsBalance { .. })) => Ok(Verdict::NotYet),
            Err(error) => Err(stored::problem(&error)),
        }
    }
}

/// A reported purchase in the rules' types; none when a field cannot be read.
fn read(
    reported: &Consumption,
    card: tsm_domain::CardNumber,
    terminal: TerminalNumber,
) -> Option<(PurchaseFacts, CardTransaction, tsm_epurse::Tac)> {
    let kind = TransactionType::from_byte(reported.transaction_type)
        .filter(|kind| matches!(kind, TransactionType::Purchase | TransactionType::CompositePurchase))?;
    let date: [u8; 4] = reported.date.as_bytes().try_into().ok()?;
    let time: [u8; 3] = reported.time.as_bytes().try_into().ok()?;
    let tac: [u8; 4] = reported.tac.as_bytes().try_into().ok()?;
    let at = DateTime { date: date.into(), time: time.into() };
    let facts = PurchaseFacts {
        amount: Amount::from_fen(reported.amount_fen),
        transaction_type: kind.to_byte().into(),
        terminal: terminal.to_bcd().into(),
        terminal_sequence: TerminalSequence::new(reported.terminal_counter),
        at,
    };
    let transaction = CardTransaction {
        key: TransactionKey { card, counter: reported.offline_counter, kind },
        amount: Fen::new(reported.amount_fen.into()),
        balance_after: Some(Fen::new(reported.balance_fen.into())),
        terminal,
        at: moment(at)?,
        proof: LoadProof::Tac(Tac(tac)),
    };
    Some((facts, transaction, tac.into()))
}
