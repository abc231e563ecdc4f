//! What a terminal keeps of its transactions until the centre has them.

use serde::{Deserialize, Serialize};
use tsm_epurse::{DateTime, IssuerFactor, Tac, TerminalNumber, file::ApplicationSerial};

use crate::hex_field;

/// How well a transaction is proven to the terminal. The centre verifies the TAC in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordProof {
    /// The PSAM verified MAC2.
    Mac2,
    /// The answer was lost; the card gave the proof later, and the PSAM could no longer verify its MAC2.
    Recovered,
    /// The answer was lost, and the card's proof has been overwritten: its log shows the transaction.
    LogOnly,
    /// The answer was lost, and the card has not been seen since, or can no longer tell.
    Unknown,
}

/// One purchase, simple or composite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalRecord {
    /// The record's number in this terminal.
    pub number: u64,
    /// The card.
    #[serde(with = "hex_field")]
    pub card: ApplicationSerial,
    /// Its issuer.
    #[serde(with = "hex_field")]
    pub issuer: IssuerFactor,
    /// The terminal.
    #[serde(with = "hex_field")]
    pub terminal: TerminalNumber,
    /// The terminal's transaction number.
    pub terminal_sequence: u32,
    /// The card's offline counter after the transaction (D-30).
    pub card_counter: u16,
    /// 06 simple, 09 composite.
    pub transaction_type: u8,
    /// The amount.
    pub amount_fen: u32,
    /// What could be spent after it.
    pub balance_fen: u32,
    /// When, as it stands under the MACs.
    #[serde(with = "hex_field")]
    pub at: DateTime,
    /// Version of the card's keys.
    pub key_version: u8,
    /// The cipher's identifier.
    pub algorithm: u8,
    /// The fare table used; 0 for none.
    pub fare_version: u32,
    /// The TAC, when it is known.
    #[serde(with = "hex_field::option", default)]
    pub tac: Option<Tac>,
    /// How well it is proven.
    pub proof: RecordProof,
}

/// Which check showed that a card does not have the right key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WrongKey {
    /// The card refused the PSAM's MAC1.
    Mac1,
    /// The PSAM refused the card's MAC2.
    Mac2,
}

/// Why a terminal does not serve a card. Each is told to the rider and kept for the centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No purse that this terminal serves.
    #[error("the card has no transit purse")]
    NoApplication,
    /// The purse is blocked.
    #[error("the purse is blocked")]
    Blocked,
    /// EF15 says that the purse is not enabled.
    #[error("the purse is not enabled")]
    NotEnabled,
    /// Today is outside the purse's validity.
    #[error("the purse is not valid today")]
    OutOfValidity,
    /// On the black list, and locked by this terminal.
    #[error("the card is on the black list and has been locked")]
    BlackListedAndLocked,
    /// On the black list; locking it did not succeed.
    #[error("the card is on the black list")]
    BlackListed,
    /// On the grey list: no value moves until the card has been examined.
    #[error("the card is being examined and moves no value until then")]
    GreyListed,
    /// The terminal's list of cards is older than it may be.
    #[error("the terminal's list of refused cards is too old")]
    ListTooOld,
    /// The purse does not cover the amount.
    #[error("the balance does not cover {amount_fen} fen")]
    Insufficient {
        /// What was asked for.
        amount_fen: u32,
    },
    /// The card's counter is at its limit.
    #[error("the card can make no more transactions")]
    WornOut,
    /// A cipher that the terminal does not have.
    #[error("the card uses algorithm {algorithm:02X}, which this terminal does not have")]
    Algorithm {
        /// Its identifier.
        algorithm: u8,
    },
    /// The card does not have the key that it should.
    #[error("the card does not have the key that it should have ({0:?} is wrong)")]
    NotGenuine(WrongKey),
    /// An entry on a card that has entered already.
    #[error("the card is still inside: it entered at station {station}")]
    StillInside {
        /// Where it entered.
        station: u16,
    },
    /// An exit on a card that has not entered.
    #[error("the card has not entered")]
    NotInside,
    /// The card's transit record is locked.
    #[error("the card's transit record is locked")]
    RecordLocked,
    /// The fare table does not know a station.
    #[error("the fare table does not know station {station}")]
    UnknownStation {
        /// The station.
        station: u16,
    },
    /// The fare table that is due has ended or is not in the terminal: nobody is let in.
    #[error("version {due} of the fare table is due, and the terminal has none that is in force")]
    FaresOutOfDate {
        /// The version.
        due: u32,
    },
    /// The terminal's memory is full of records that the centre has not taken.
    #[error("the terminal must deliver its records first")]
    StoreFull,
}

/// A card that this terminal locked (transaction type 0A).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRecord {
    /// The record's number in this terminal.
    pub number: u64,
    /// The card and what it was locked for.
    pub locking: Locking,
}

/// A card that is being locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locking {
    /// The card.
    #[serde(with = "hex_field")]
    pub card: ApplicationSerial,
    /// Its issuer.
    #[serde(with = "hex_field")]
    pub issuer: IssuerFactor,
    /// When.
    #[serde(with = "hex_field")]
    pub at: DateTime,
    /// The version of the list that it stands on.
    pub list_version: u64,
}

impl LockRecord {
    /// The transaction type under which it is delivered.
    pub const TRANSACTION_TYPE: u8 = 0x0A;
}

/// A refusal as the terminal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// The card, if it came as far as saying its number.
    #[serde(with = "hex_field::option", default)]
    pub card: Option<ApplicationSerial>,
    /// When.
    #[serde(with = "hex_field")]
    pub at: DateTime,
    /// Why.
    pub refusal: Refusal,
}

/// A transaction whose outcome the terminal does not know: its debit was sent and not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The record that it becomes.
    pub record: TerminalRecord,
    /// What the debit was for.
    pub purpose: Purpose,
}

impl Pending {
    /// Whether the PSAM numbered it so.
    pub(crate) const fn is(&self, terminal_sequence: u32) -> bool {
        self.record.terminal_sequence == terminal_sequence
    }
}

/// What a purchase was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A purchase at a POS.
    Sale,
    /// An entry at a station.
    Entry,
    /// An exit at a station.
    Exit,
}
