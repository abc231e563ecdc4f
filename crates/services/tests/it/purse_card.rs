//! A purse as the card half of the standard makes it, so that what it proves is composed apart from what
//! the centre verifies.

use tsm_api::HexBytes;
use tsm_api::clearing::{Consumption, CreditReport};
use tsm_api::ids::OrderId;
use tsm_domain::CardNumber;
use tsm_epurse::card::PurseState;
use tsm_epurse::card::load::PendingLoad;
use tsm_epurse::card::purchase::PendingPurchase;
use tsm_epurse::commands::{DebitForPurchase, InitializeForLoad, InitializeForPurchase, PurchaseKind};
use tsm_epurse::file::{ApplicationSerial, Holder, Management, PublicInformation};
use tsm_epurse::host::load::LoadSession;
use tsm_epurse::host::purchase::{PurchaseFacts, PurchaseSession};
use tsm_epurse::personalization::PurseStart;
use tsm_epurse::{
    Algorithm, Amount, CardImage, CardRandom, DateTime, IssuerFactor, Key, KeyIndex, KeyRole, KeyVersion,
    OfflineCounter, OnlineCounter, OverdraftLimit, TerminalNumber, TerminalSequence, diversification,
};
use tsm_keys::{KeyAlgorithm, KeyPurpose, KeyReference, SoftwareKeyService};
use tsm_services::purse::PurseKeys;
use tsm_terminal::upload;
use tsm_terminal::{RecordProof, TerminalRecord};
use uuid::Uuid;

pub const PREFIX: &str = "31049990";
pub const ISSUER: IssuerFactor = IssuerFactor::new([0x09, 0x99, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
/// The terminal of the tests' purchases.
pub const TERMINAL: [u8; 6] = [0x09, 0x99, 0, 0, 0, 0x42];

fn root(role: KeyRole) -> Key {
    Key::new(Algorithm::TripleDes, [0x30 + role.index() as u8; 16])
}

/// Where a service finds the purses' keys.
pub fn purse_keys() -> PurseKeys {
    PurseKeys { owner: "city".into(), label: "main".into(), version: 1, issuer: ISSUER }
}

/// Gives a key service the root that verifies TACs, and no other.
pub fn import_tac_root(keys: &SoftwareKeyService) {
    let name = KeyReference::new(KeyPurpose::Purse(KeyRole::Tac), "city", "main", 1).unwrap();
    keys.import_development(&name, KeyAlgorithm::TripleDes, root(KeyRole::Tac).expose()).unwrap();
}

/// A minute of the day of the tests.
pub fn at(minute: u8) -> DateTime {
    DateTime::from_calendar((2026, 11, 20), (8, minute, 0)).unwrap()
}

/// A card.
pub struct PurseCard {
    pub number: CardNumber,
    state: PurseState,
    loads: u32,
    sequence: u32,
}

impl PurseCard {
    pub fn new(own: u64) -> Self {
        let none = OverdraftLimit::NONE;
        let (online, offline) = (OnlineCounter::new(0), OfflineCounter::new(0));
        Self {
            number: CardNumber::compose(PREFIX, own).unwrap(),
            state: PurseState::new(Amount::ZERO, none, none, online, offline).unwrap(),
            loads: 0,
            sequence: 0,
        }
    }

    pub fn wire(&self) -> HexBytes {
        HexBytes(self.number.application_serial().to_vec())
    }

    pub fn balance(&self) -> u32 {
        self.state.purse().fen()
    }

    /// Everything that it holds, as it is read when it is closed.
    pub fn image(&self) -> CardImage {
        let public_information = PublicInformation {
            issuer: ISSUER,
            application_type: PublicInformation::PURSE,
            application_version: PublicInformation::ENABLED,
            serial: ApplicationSerial(self.number.application_serial()),
            enabled_on: at(0).date,
            expires_on: at(0).date,
            issuer_data: [0; 2],
        };
        let management = Management::decode(&[0; 60]).unwrap();
        let start =
            PurseStart { state: self.state, key_version: KeyVersion(1), algorithm: Algorithm::TripleDes };
        CardImage::new(public_information, Holder::ANONYMOUS, management, start, vec![], vec![], [])
    }

    fn key(&self, role: KeyRole) -> Key {
        let factor = ApplicationSerial(self.number.application_serial()).factor();
        diversification::card_key_from_root(&root(role), ISSUER, factor)
    }

    /// Takes a load in, as the SP-TSM reports it.
    pub fn load(&mut self, order: u128, amount_fen: u32) -> CreditReport {
        self.loads += 1;
        let terminal = tsm_domain::TerminalNumber::for_attempt(3001, self.loads).unwrap().to_bcd();
        let command = InitializeForLoad {
            key_index: KeyIndex::FIRST,
            amount: Amount::from_fen(amount_fen),
            terminal: TerminalNumber::new(terminal),
        };
        let (key, random) = (self.key(KeyRole::Load), CardRandom::new([1, 2, 3, self.loads as u8]));
        let (pending, answer) =
            PendingLoad::begin(&key, KeyVersion(1), &self.state, random, &command).unwrap();
        let at = at(self.loads as u8);
        let credit = LoadSession::begin(&key, &command, &answer).unwrap().credit(at);
        let loaded = pending.credit(&self.key(KeyRole::Tac), &self.state, &credit).unwrap();
        self.state = loaded.state;
        CreditReport {
            order: OrderId(Uuid::from_u128(order)),
            card: self.wire(),
            amount_fen,
            balance_fen: self.state.usable().fen(),
            counter: self.state.online().value(),
            terminal: HexBytes(terminal.to_vec()),
            date: HexBytes(at.date.to_bytes().to_vec()),
            time: HexBytes(at.time.to_bytes().to_vec()),
            tac: Some(HexBytes(loaded.proof.tac.to_bytes().to_vec())),
            means: tsm_api::clearing::CreditMeans::Payment,
        }
    }

    /// Pays at a terminal, as the terminal delivers it to the centre.
    pub fn pay(&mut self, kind: PurchaseKind, amount_fen: u32) -> Consumption {
        self.pay_at(kind, amount_fen, (TERMINAL, at(31 + self.sequence as u8)))
    }

    /// Pays at this terminal and time.
    pub fn pay_at(
        &mut self,
        kind: PurchaseKind,
        amount_fen: u32,
        (terminal, at): ([u8; 6], DateTime),
    ) -> Consumption {
        self.sequence += 1;
        let terminal = TerminalNumber::new(terminal);
        let terminal_sequence = TerminalSequence::new(self.sequence);
        let amount = Amount::from_fen(amount_fen);
        let command = InitializeForPurchase { kind, key_index: KeyIndex::FIRST, amount, terminal };
        let (key, random) = (self.key(KeyRole::Purchase), CardRandom::new([9, 8, 7, self.sequence as u8]));
        let (pending, answer) =
            PendingPurchase::begin(&key, KeyVersion(1), &self.state, random, &command).unwrap();
        let transaction_type = kind.transaction_type();
        let facts = PurchaseFacts { amount, transaction_type, terminal, terminal_sequence, at };
        let mac1 = PurchaseSession::begin(&key, random, answer.counter, facts).mac1();
        let debit = DebitForPurchase { terminal_sequence, at, mac1 };
        let purchased = pending.debit(&self.key(KeyRole::Tac), &self.state, &debit).unwrap();
        self.state = purchased.state;
        let record = TerminalRecord {
            number: self.sequence.into(),
            card: ApplicationSerial(self.number.application_serial()),
            issuer: ISSUER,
            terminal,
            terminal_sequence: self.sequence,
            card_counter: self.state.offline().value(),
            transaction_type: transaction_type.into(),
            amount_fen,
            balance_fen: self.state.usable().fen(),
            at,
            key_version: 1,
            algorithm: Algorithm::TripleDes.identifier(),
            fare_version: 1,
            tac: Some(purchased.proof.tac),
            proof: RecordProof::Mac2,
        };
        upload::consumption(&record).unwrap()
    }
}
