//! Transit terminals: gate, POS, top-up terminal and service terminal, each with a PSAM.
//!
//! A terminal is pure logic over a [`reader::CardReader`], a PSAM and a place to keep its state: it
//! reads no clock and no randomness, opens no device and no socket. The time of each transaction is given to it.
//!
//! ```text
//! card  <- reader::CardReader <-  gate | pos | top_up | service
//!                                      |
//!                                  terminal::Terminal   one purchase, torn or not
//!                                   |      |      |
//!                                psam   store   black_list
//!                                          |
//!                                       round -> clearing centre   batches up; lists, fares down
//! ```
//!
//! What it never does: charge a trip twice. A debit whose answer was lost is settled from the
//! card's own counter, log and proof when the card comes back.

mod clock;
mod fares;
mod hex_field;
mod lock;
mod purchase;
mod settle;

pub mod black_list;
pub mod card;
pub mod cash;
pub mod centre_fares;
pub mod gate;
pub mod pos;
pub mod psam;
pub mod reader;
pub mod record;
pub mod round;
pub mod service;
pub mod state;
pub mod steps;
pub mod store;
pub mod terminal;
pub mod timing;
pub mod top_up;
pub mod upload;

pub use black_list::{ListInUse, ListPolicy};
pub use card::PurseCard;
pub use gate::{Gate, GateProfile, Passage, UnmatchedJourney};
pub use pos::{Pos, Receipt};
pub use psam::{CardKeys, KeyAddress, Psam, PsamProfile, RootKeys};
pub use reader::{CardReader, ReaderError};
pub use record::{RecordProof, Refusal, RefusalRecord, TerminalRecord};
pub use state::TerminalState;
pub use store::{FileStore, InMemory, TerminalStore};
pub use terminal::{TapError, Terminal, TerminalClass};
pub use top_up::TopUpTerminal;
