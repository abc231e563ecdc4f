//! What became of a debit whose answer was lost, settled from the card.
//!
//! Its counter still at N: nothing happened. Otherwise its log tells whether transaction N+1 was this one, and
//! its proof gives MAC2 and TAC.

use tsm_epurse::{
    Amount, DateTime, KeyIndex, Tac, TransactionSequence, TransactionType,
    commands::{
        GetTransactionProof, InitializeForPurchase, InitializeForPurchaseResponse, PurchaseKind,
        TransactionProof,
    },
    file::LOG_RECORDS,
};
use tsm_iso7816::StatusWord;

use crate::{
    card::PurseCard,
    psam::CardKeys,
    reader::{CardReader, ExchangeError, exchange},
    record::{Pending, Purpose, RecordProof, Refusal, TerminalRecord, WrongKey},
    store::{Change, TerminalStore},
    terminal::{TapError, Terminal},
};

/// How soon a rider comes back to a terminal that stopped in the middle of a tap.
const UNTOLD_S: i64 = 600;

/// What became of a debit without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There was none.
    Nothing,
    /// It did not happen.
    DidNotHappen,
    /// The card has made too many transactions since; the centre will find out.
    CannotTell,
    /// It happened, and is recorded now.
    Happened { purpose: Purpose, record: TerminalRecord },
}

/// What the card says about a debit without an answer.
enum Found {
    DidNotHappen,
    CannotTell,
    Happened {
        tac: Option<Tac>,
        proof: RecordProof,
    },
    /// Its proof has a MAC2 that is not the card's.
    Forged,
}

impl<K: CardKeys, S: TerminalStore> Terminal<K, S> {
    /// Finds out what became of a debit that this card left without an answer.
    pub(crate) fn settle(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        at: DateTime,
    ) -> Result<Settled, TapError> {
        let Some(pending) = self.state.pending_of(card.serial()).cloned() else {
            return Ok(self.tell_untold(card, at));
        };
        let found = self.find_out(reader, card, &pending)?;
        let record = TerminalRecord { number: self.state.record_number(0), ..pending.record };
        match found {
            Found::DidNotHappen => {
                let terminal_sequence = record.terminal_sequence;
                self.commit(vec![Change::DidNotHappen { terminal_sequence }])?;
                Ok(Settled::DidNotHappen)
            }
            Found::CannotTell => {
                self.commit(vec![Change::Booked(TerminalRecord { proof: RecordProof::Unknown, ..record })])?;
                Ok(Settled::CannotTell)
            }
            Found::Forged => {
                let refusal = Refusal::NotGenuine(WrongKey::Mac2);
                let refused = self.refusal(Some(card), record.at, refusal);
                let unknown = Change::Booked(TerminalRecord { proof: RecordProof::Unknown, ..record });
                self.commit(vec![unknown, refused])?;
                Err(refusal.into())
            }
            Found::Happened { tac, proof } => {
                let record = TerminalRecord { tac, proof, ..record };
                self.commit(vec![Change::Booked(record.clone())])?;
                Ok(Settled::Happened { purpose: pending.purpose, record })
            }
        }
    }

    /// A purchase that was recorded in the moment in which the terminal stopped: whoever comes back for it within
    /// minutes is told of it and pays nothing more.
    fn tell_untold(&mut self, card: &PurseCard, at: DateTime) -> Settled {
        let Some(untold) = self.untold.take_if(|untold| untold.record.card == card.serial()) else {
            return Settled::Nothing;
        };
        let passed = at.seconds().zip(untold.record.at.seconds()).map(|(now, then)| now - then);
        if passed.is_some_and(|passed| (0..=UNTOLD_S).contains(&passed)) {
            return Settled::Happened { purpose: untold.purpose, record: untold.record };
        }
        Settled::Nothing
    }

    fn find_out(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        pending: &Pending,
    ) -> Result<Found, TapError> {
        let record = &pending.record;
        let probe = InitializeForPurchase {
            kind: PurchaseKind::Composite,
            key_index: KeyIndex::FIRST,
            amount: Amount::ZERO,
            terminal: self.number(),
        };
        let answer = exchange(reader, "INITIALIZE FOR CAPP PURCHASE", &probe.to_apdu())?;
        let answer = InitializeForPurchaseResponse::decode(&answer)
            .map_err(|_| ExchangeError::Answer { command: "INITIALIZE FOR CAPP PURCHASE" })?;
        if answer.counter.value() < record.card_counter {
            return Ok(Found::DidNotHappen);
        }
        match logged(reader, card, record)? {
            Logged::Other => Ok(Found::DidNotHappen),
            Logged::Overwritten => Ok(Found::CannotTell),
            Logged::This => self.fetch_proof(reader, record),
        }
    }

    fn fetch_proof(
        &mut self,
        reader: &mut impl CardReader,
        record: &TerminalRecord,
    ) -> Result<Found, TapError> {
        let command = GetTransactionProof {
            transaction_type: record.transaction_type.into(),
            sequence: TransactionSequence::new(record.card_counter),
        };
        let proof = match exchange(reader, "GET TRANSACTION PROOF", &command.to_apdu()) {
            Err(ExchangeError::Refused { .. }) => {
                return Ok(Found::Happened { tac: None, proof: RecordProof::LogOnly });
            }
            answer => TransactionProof::decode(&answer?)
                .map_err(|_| ExchangeError::Answer { command: "GET TRANSACTION PROOF" })?,
        };
        // The PSAM still has the session when this card is the first to come after the loss.
        let still_open = self.psam.state().last_sequence == record.terminal_sequence;
        let verified = still_open.then(|| self.verify_mac2(proof.mac2));
        let tac = Some(proof.tac);
        Ok(match verified {
            Some(Ok(())) => Found::Happened { tac, proof: RecordProof::Mac2 },
            Some(Err(StatusWord::MAC_INCORRECT)) => Found::Forged,
            Some(Err(_)) | None => Found::Happened { tac, proof: RecordProof::Recovered },
        })
    }
}

/// What the card's log says about the transaction of a record.
enum Logged {
    This,
    Other,
    Overwritten,
}

fn logged(
    reader: &mut impl CardReader,
    card: &PurseCard,
    record: &TerminalRecord,
) -> Result<Logged, TapError> {
    for number in 1..=LOG_RECORDS as u8 {
        let Some(found) = card.log_record(reader, number)? else {
            // The log is not full, so nothing has been overwritten.
            return Ok(Logged::Other);
        };
        let offline =
            matches!(found.transaction_type, TransactionType::Purchase | TransactionType::CompositePurchase);
        if !offline || found.sequence.value() != record.card_counter {
            continue;
        }
        let this = found.terminal == record.terminal
            && found.at == record.at
            && found.amount.fen() == record.amount_fen
            && u8::from(found.transaction_type) == record.transaction_type;
        return Ok(if this { Logged::This } else { Logged::Other });
    }
    Ok(Logged::Overwritten)
}
