//! One purchase, from INITIALIZE to MAC2, torn or not: what gate and POS have in common.
//!
//! ```text
//! settle        a debit that this card left without an answer
//! INITIALIZE    -> balance, counter N, random
//! PSAM 8070     -> terminal's number, MAC1
//! 80DC ..       records, effective with the debit
//! store         the debit is pending, durably
//! 8054          -> TAC, MAC2        no answer: pending until the card comes back
//! PSAM 8072     MAC2 is the card's: the record is complete
//! ```
//!
//! A torn debit is settled from the card. Its counter still at N: nothing happened. Otherwise its
//! log tells whether transaction N+1 was this one, and its proof gives MAC2 and TAC.

use tsm_epurse::{
    Amount, DateTime, KeyIndex, Mac, OfflineCounter, Tac, TerminalNumber, TerminalSequence,
    TransactionSequence, TransactionType,
    commands::{
        ApplicationBlock, BlockKind, DebitForPurchase, DebitForPurchaseResponse, GetChallenge,
        GetTransactionProof, InitializeForPurchase, InitializeForPurchaseResponse, PurchaseKind,
        TransactionProof, UpdateCappDataCache,
    },
    file::LOG_RECORDS,
    psam::{
        CipherData, CreditSamForPurchase, DeliveryKey, InitSamForPurchase, InitSamForPurchaseResponse,
        select_directory,
    },
};
use tsm_iso7816::{CommandApdu, StatusWord};

use crate::{
    black_list::BlackList,
    card::PurseCard,
    psam::{CardKeys, Psam, PsamProfile},
    reader::{CardReader, ExchangeError, exchange},
    record::{Pending, Purpose, RecordProof, Refusal, RefusalRecord, TerminalRecord, WrongKey},
    state::{Limits, Persistence, PersistenceError, TerminalState},
};

/// The two classes of terminals by their physical make (DB11/T 159.6, 3.7); either can load, take
/// payment and serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TerminalClass {
    /// Class A.
    A,
    /// Class B.
    B,
}

/// Why a tap does not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The terminal does not serve this card, and has recorded why.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The exchange with the card failed before any debit: nothing has happened.
    #[error("the card could not be worked with")]
    Exchange(#[from] ExchangeError),
    /// The debit was sent and its answer lost: the card must come back, and is not charged twice.
    #[error("the card left during its debit; hold it to this terminal again")]
    Torn(#[source] ExchangeError),
    /// The terminal's own PSAM failed.
    #[error("the PSAM refuses {command} with {status}: {}", status.meaning())]
    Psam {
        /// The command.
        command: &'static str,
        /// What it answered.
        status: StatusWord,
    },
    /// The state could not be stored; no debit was sent after that.
    #[error(transparent)]
    Persistence(#[from] PersistenceError),
}

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

/// A terminal with its PSAM, its state and where the state is kept.
#[derive(Debug)]
pub struct Terminal<K, P> {
    class: TerminalClass,
    number: TerminalNumber,
    psam: Psam<K>,
    state: TerminalState,
    persistence: P,
    black_list: BlackList,
    limits: Limits,
}

impl<K: CardKeys, P: Persistence> Terminal<K, P> {
    /// A terminal that goes on where `state` left off. It reads its number from its PSAM.
    pub fn start(
        class: TerminalClass,
        profile: PsamProfile,
        keys: K,
        state: TerminalState,
        persistence: P,
        limits: Limits,
    ) -> Result<Self, TapError> {
        let mut psam = Psam::new(profile, keys, state.psam);
        ask(&mut psam, "SELECT", &select_directory())?;
        let number = ask(&mut psam, "READ BINARY", &CommandApdu::new(0x00, 0xB0, 0x96, 0x00).with_ne(6))?;
        let number = <[u8; 6]>::try_from(number)
            .map_err(|_| TapError::Psam { command: "READ BINARY", status: StatusWord::WRONG_LENGTH })?;
        let number = TerminalNumber::new(number);
        Ok(Self { class, number, psam, state, persistence, black_list: BlackList::default(), limits })
    }

    /// The terminal's class.
    pub const fn class(&self) -> TerminalClass {
        self.class
    }

    /// The terminal's number.
    pub const fn number(&self) -> TerminalNumber {
        self.number
    }

    /// What the terminal keeps.
    pub const fn state(&self) -> &TerminalState {
        &self.state
    }

    /// The list of cards that it does not serve, for the centre to replace.
    pub const fn black_list_mut(&mut self) -> &mut BlackList {
        &mut self.black_list
    }

    /// Forgets the records up to and including `number`: the centre has them.
    pub fn acknowledge(&mut self, number: u64) -> Result<(), PersistenceError> {
        self.state.acknowledge(number);
        self.persist()
    }

    /// Gives up on torn debits whose cards have not come back, at the end of a day.
    pub fn abandon_pending(&mut self) -> Result<(), PersistenceError> {
        self.state.abandon_pending();
        self.persist()
    }

    fn persist(&mut self) -> Result<(), PersistenceError> {
        self.state.psam = self.psam.state();
        self.persistence.store(&self.state)
    }

    /// Finds the purse, and refuses one that is blocked, not valid, or black-listed.
    pub(crate) fn admit(
        &mut self,
        reader: &mut impl CardReader,
        at: DateTime,
    ) -> Result<PurseCard, TapError> {
        let card = match PurseCard::find(reader) {
            Err(TapError::Refused(refusal)) => return Err(self.refuse(None, at, refusal)?),
            found => found?,
        };
        if let Err(refusal) = card.check_validity(at.date) {
            return Err(self.refuse(Some(&card), at, refusal)?);
        }
        if self.black_list.has(card.serial()) {
            let refusal = match self.lock(reader, &card) {
                Ok(()) => Refusal::BlackListedAndLocked,
                Err(_) => Refusal::BlackListed,
            };
            return Err(self.refuse(Some(&card), at, refusal)?);
        }
        Ok(card)
    }

    /// Records a refusal and gives it as the error that the rider sees.
    pub(crate) fn refuse(
        &mut self,
        card: Option<&PurseCard>,
        at: DateTime,
        refusal: Refusal,
    ) -> Result<TapError, TapError> {
        let card = card.map(PurseCard::serial);
        self.state.push_refusal(RefusalRecord { card, at, refusal }, &self.limits);
        self.persist()?;
        Ok(refusal.into())
    }

    /// APPLICATION BLOCK through the PSAM's maintenance key.
    fn lock(&mut self, reader: &mut impl CardReader, card: &PurseCard) -> Result<(), TapError> {
        let usage = DeliveryKey::APPLICATION_MAINTENANCE;
        let delivery = DeliveryKey { usage, key_index: 2, card: card.factor(), issuer: card.issuer() };
        ask(&mut self.psam, "DELIVERY KEY", &delivery.to_apdu())?;
        let challenge = exchange(reader, "GET CHALLENGE", &GetChallenge::Four.to_apdu())?;
        let challenge = <[u8; 4]>::try_from(challenge)
            .map_err(|_| ExchangeError::Answer { command: "GET CHALLENGE" })?
            .into();
        let mut block = ApplicationBlock { kind: BlockKind::Temporary }.to_apdu();
        let padded_message = vec![block.cla, block.ins, block.p1, block.p2, 4, 0x80, 0, 0];
        let mac = ask(&mut self.psam, "CIPHER DATA", &CipherData { challenge, padded_message }.to_apdu())?;
        block.data = mac;
        exchange(reader, "APPLICATION BLOCK", &block)?;
        Ok(())
    }

    /// Finds out what became of a debit that this card left without an answer.
    pub(crate) fn settle(
        &mut self,
        reader: &mut impl CardReader,
        card: &PurseCard,
    ) -> Result<Settled, TapError> {
        let Some(pending) = self.state.pending_of(card.serial()).cloned() else {
            return Ok(Settled::Nothing);
        };
        let found = self.find_out(reader, card, &pending)?;
        self.state.take_pending(card.serial());
        let record = pending.record;
        let at = record.at;
        let settled = match found {
            Found::DidNotHappen => Settled::DidNotHappen,
            Found::CannotTell => {
                self.state.push_record(TerminalRecord { proof: RecordProof::Unknown, ..record });
                Settled::CannotTell
            }
            Found::Forged => {
                self.state.push_record(TerminalRecord { proof: RecordProof::Unknown, ..record });
                return Err(self.refuse(Some(card), at, Refusal::NotGenuine(WrongKey::Mac2))?);
            }
            Found::Happened { tac, proof } => {
                let mut record = TerminalRecord { tac, proof, ..record };
                record.number = self.state.push_record(record.clone());
                Settled::Happened { purpose: pending.purpose, record }
            }
        };
        self.persist()?;
        Ok(settled)
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
            terminal: self.number,
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
            terminal: self.number,
            terminal_sequence: authorised.terminal_sequence,
            balance_after: Amount::from_fen(record.balance_fen),
        };
        for update in cache(&facts) {
            exchange(reader, "UPDATE CAPP DATA CACHE", &update.to_apdu())?;
        }
        let pending = Pending { record: record.clone(), purpose: purchase.purpose };
        self.state.push_pending(pending, &self.limits);
        self.persist()?;
        let debit = DebitForPurchase {
            terminal_sequence: authorised.terminal_sequence,
            at: purchase.at,
            mac1: authorised.mac1,
        };
        let answer = self.debit(reader, card, purchase, &debit)?;
        self.complete(card, purchase, record, &answer)
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
            terminal: self.number,
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
            terminal: self.number,
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
                self.state.take_pending(card.serial());
                if status == StatusWord::MAC_INCORRECT {
                    let refusal = Refusal::NotGenuine(WrongKey::Mac1);
                    return Err(self.refuse(Some(card), purchase.at, refusal)?);
                }
                self.persist()?;
                Err(error.into())
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
        self.state.take_pending(card.serial());
        let mut record = TerminalRecord { tac: Some(answer.tac), proof: RecordProof::Mac2, ..record };
        match verified {
            Ok(()) => {
                record.number = self.state.push_record(record.clone());
                self.persist()?;
                Ok(record)
            }
            // Whatever answered does not have the card's key. Nothing is owed and nobody passes.
            Err(StatusWord::MAC_INCORRECT) => {
                Err(self.refuse(Some(card), purchase.at, Refusal::NotGenuine(WrongKey::Mac2))?)
            }
            // The PSAM failed, not the card: the centre verifies the TAC.
            Err(status) => {
                record.proof = RecordProof::Recovered;
                self.state.push_record(record);
                self.persist()?;
                Err(TapError::Psam { command: "CREDIT SAM FOR PURCHASE", status })
            }
        }
    }

    fn verify_mac2(&mut self, mac2: Mac) -> Result<(), StatusWord> {
        let status = self.psam.transmit(&CreditSamForPurchase { mac2 }.to_apdu()).status;
        if status.is_success() { Ok(()) } else { Err(status) }
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

fn ask<K: CardKeys>(
    psam: &mut Psam<K>,
    command: &'static str,
    apdu: &CommandApdu,
) -> Result<Vec<u8>, TapError> {
    let answer = psam.transmit(apdu);
    if answer.status.is_success() {
        return Ok(answer.data);
    }
    Err(TapError::Psam { command, status: answer.status })
}
