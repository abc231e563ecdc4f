//! One purchase, from INITIALIZE to MAC2, torn or not.
//!
//! ```text
//! settle        a debit that this card left without an answer
//! INITIALIZE    -> balance, counter N, random
//! PSAM 8070     -> terminal's number, MAC1
//! 80DC ..       records, effective with the debit
//! store         the debit is pending, durably
//! 8054          -> TAC, MAC2        no answer: pending until the card comes back
//! PSAM 8072     MAC2 is the card's: the record is complete, durably
//! ```

use tsm_epurse::{
    Amount, DateTime, KeyIndex, Mac, OfflineCounter, TerminalNumber, TerminalSequence,
    commands::{
        DebitForPurchase, DebitForPurchaseResponse, InitializeForPurchase, InitializeForPurchaseResponse,
        PurchaseKind, UpdateCappDataCache,
    },
    psam::{CreditSamForPurchase, InitSamForPurchase, InitSamForPurchaseResponse},
};
use tsm_iso7816::StatusWord;

use crate::{
    card::PurseCard,
    psam::CardKeys,
    reader::{CardReader, ExchangeError, exchange},
    record::{Pending, Purpose, RecordProof, Refusal, TerminalRecord, WrongKey},
    store::{Change, StoreError, TerminalStore},
    terminal::{TapError, Terminal, ask},
};

/// What is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purchase {
    pub(crate) kind: PurchaseKind,
    pub(crate) purpose: Purpose,
    pub(crate) amount: Amount,
    /// What the card must be able to spend; at an entry more than the amount.
    pub(crate) least_balance: Amount,
    pub(crate) at: DateTime,
    pub(crate) fare_version: u32,
}

/// What a record for the card's cache can be made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheFacts {
    pub(crate) terminal: TerminalNumber,
    pub(crate) terminal_sequence: TerminalSequence,
    pub(crate) balance_after: Amount,
}

impl<K: CardKeys, S: TerminalStore> Terminal<K, S> {
    /// Buys. `cache` makes the records that become effective with the debit.
    pub(crate) fn purchase(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        purchase: &Purchase,
        cache: impl FnOnce(&CacheFacts) -> Vec<UpdateCappDataCache>,
    ) -> Result<TerminalRecord, TapError> {
        if !self.state.has_room(&self.limits) {
            return Err(self.refuse(Some(card), purchase.at, Refusal::StoreFull)?);
        }
        let answer = match self.initialize(reader, purchase) {
            Err(TapError::Refused(refusal)) => return Err(self.refuse(Some(card), purchase.at, refusal)?),
            answer => answer?,
        };
        let authorised = self.authorise(card, purchase, &answer)?;
        let record = self.draft(card, purchase, &answer, authorised.terminal_sequence);
        let facts = CacheFacts {
            terminal: self.number(),
            terminal_sequence: authorised.terminal_sequence,
            balance_after: Amount::from_fen(record.balance_fen),
        };
        for update in cache(&facts) {
            exchange(reader, "UPDATE CAPP DATA CACHE", &update.to_apdu())?;
        }
        let pending = Pending { record: record.clone(), purpose: purchase.purpose };
        self.begin_debit(pending)?;
        let debit = DebitForPurchase {
            terminal_sequence: authorised.terminal_sequence,
            at: purchase.at,
            mac1: authorised.mac1,
        };
        let answer = self.debit(reader, card, purchase, &debit)?;
        self.complete(card, purchase, record, &answer)
    }

    /// The debit is pending, durably, before it is sent. When too many are, the oldest becomes a record of unknown
    /// outcome.
    fn begin_debit(&mut self, pending: Pending) -> Result<(), StoreError> {
        let most = self.limits.pending.max(1);
        let too_many = (self.state.pending().len() + 1).saturating_sub(most);
        let mut changes = self.state.giving_up(too_many);
        changes.push(Change::Debiting(pending));
        self.commit(changes)
    }

    fn initialize(
        &self,
        reader: &mut impl CardReader,
        purchase: &Purchase,
    ) -> Result<InitializeForPurchaseResponse, TapError> {
        const COMMAND: &str = "INITIALIZE FOR PURCHASE";
        let command = InitializeForPurchase {
            kind: purchase.kind,
            key_index: KeyIndex::FIRST,
            amount: purchase.amount,
            terminal: self.number(),
        };
        let answer = exchange(reader, COMMAND, &command.to_apdu()).map_err(|error| match error.status() {
            Some(StatusWord::AMOUNT_INSUFFICIENT | StatusWord::INSUFFICIENT_BALANCE) => {
                Refusal::Insufficient { amount_fen: purchase.amount.fen() }.into()
            }
            Some(StatusWord::COUNTER_AT_LIMIT) => Refusal::WornOut.into(),
            Some(StatusWord::APPLICATION_PERMANENTLY_LOCKED) => Refusal::Blocked.into(),
            _ => TapError::from(error),
        })?;
        let answer = InitializeForPurchaseResponse::decode(&answer)
            .map_err(|_| ExchangeError::Answer { command: COMMAND })?;
        // A card whose purse does not cover the amount must have said so itself.
        let needed = purchase.amount.max(purchase.least_balance);
        if answer.balance < needed {
            return Err(Refusal::Insufficient { amount_fen: needed.fen() }.into());
        }
        if answer.counter.next().is_none() {
            return Err(Refusal::WornOut.into());
        }
        Ok(answer)
    }

    /// MAC1 from the PSAM.
    fn authorise(
        &mut self,
        card: &PurseCard,
        purchase: &Purchase,
        answer: &InitializeForPurchaseResponse,
    ) -> Result<InitSamForPurchaseResponse, TapError> {
        const COMMAND: &str = "INIT SAM FOR PURCHASE";
        let command = InitSamForPurchase {
            random: answer.random,
            counter: answer.counter,
            amount: purchase.amount,
            transaction_type: purchase.kind.transaction_type(),
            at: purchase.at,
            key_version: answer.key_version,
            algorithm: answer.algorithm,
            card: card.factor(),
            issuer: card.issuer(),
        };
        let authorised = match ask(&mut self.psam, COMMAND, &command.to_apdu()) {
            Err(TapError::Psam { status, .. })
                if status == StatusWord::ALGORITHM_NOT_SUPPORTED
                    || status == StatusWord::KEY_INDEX_NOT_SUPPORTED =>
            {
                let refusal = Refusal::Algorithm { algorithm: answer.algorithm };
                return Err(self.refuse(Some(card), purchase.at, refusal)?);
            }
            authorised => authorised?,
        };
        InitSamForPurchaseResponse::decode(&authorised)
            .map_err(|_| TapError::Psam { command: COMMAND, status: StatusWord::WRONG_LENGTH })
    }

    fn draft(
        &self,
        card: &PurseCard,
        purchase: &Purchase,
        answer: &InitializeForPurchaseResponse,
        terminal_sequence: TerminalSequence,
    ) -> TerminalRecord {
        let after: OfflineCounter = answer.counter.next().unwrap_or(answer.counter);
        TerminalRecord {
            number: 0,
            card: card.serial(),
            issuer: card.issuer(),
            terminal: self.number(),
            terminal_sequence: terminal_sequence.value(),
            card_counter: after.value(),
            transaction_type: purchase.kind.transaction_type().into(),
            amount_fen: purchase.amount.fen(),
            balance_fen: answer.balance.fen() - purchase.amount.fen(),
            at: purchase.at,
            key_version: answer.key_version.0,
            algorithm: answer.algorithm,
            fare_version: purchase.fare_version,
            tac: None,
            proof: RecordProof::Unknown,
        }
    }

    fn debit(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
        purchase: &Purchase,
        debit: &DebitForPurchase,
    ) -> Result<DebitForPurchaseResponse, TapError> {
        const COMMAND: &str = "DEBIT FOR PURCHASE";
        match exchange(reader, COMMAND, &debit.to_apdu()) {
            Ok(answer) => DebitForPurchaseResponse::decode(&answer)
                .map_err(|_| TapError::Torn(ExchangeError::Answer { command: COMMAND })),
            Err(error @ ExchangeError::Refused { status, .. }) => {
                let terminal_sequence = debit.terminal_sequence.value();
                let mut changes = vec![Change::DidNotHappen { terminal_sequence }];
                let wrong_key = status == StatusWord::MAC_INCORRECT;
                let refusal = Refusal::NotGenuine(WrongKey::Mac1);
                if wrong_key {
                    changes.push(self.refusal(Some(card), purchase.at, refusal));
                }
                self.commit(changes)?;
                Err(if wrong_key { refusal.into() } else { error.into() })
            }
            Err(error) => Err(TapError::Torn(error)),
        }
    }

    fn complete(
        &mut self,
        card: &PurseCard,
        purchase: &Purchase,
        record: TerminalRecord,
        answer: &DebitForPurchaseResponse,
    ) -> Result<TerminalRecord, TapError> {
        let verified = self.verify_mac2(answer.mac2);
        let number = self.state.record_number(0);
        let record = TerminalRecord { number, tac: Some(answer.tac), proof: RecordProof::Mac2, ..record };
        match verified {
            Ok(()) => {
                self.commit(vec![Change::Booked(record.clone())])?;
                Ok(record)
            }
            // Whatever answered does not have the card's key. Nothing is owed and nobody passes.
            Err(StatusWord::MAC_INCORRECT) => {
                let refusal = Refusal::NotGenuine(WrongKey::Mac2);
                let terminal_sequence = record.terminal_sequence;
                let refused = self.refusal(Some(card), purchase.at, refusal);
                self.commit(vec![Change::DidNotHappen { terminal_sequence }, refused])?;
                Err(refusal.into())
            }
            // The PSAM failed, not the card: the centre verifies the TAC.
            Err(status) => {
                self.commit(vec![Change::Booked(TerminalRecord {
                    proof: RecordProof::Recovered,
                    ..record
                })])?;
                Err(TapError::Psam { command: "CREDIT SAM FOR PURCHASE", status })
            }
        }
    }

    pub(crate) fn verify_mac2(&mut self, mac2: Mac) -> Result<(), StatusWord> {
        let status = self.psam.transmit(&CreditSamForPurchase { mac2 }.to_apdu()).status;
        if status.is_success() { Ok(()) } else { Err(status) }
    }
}
